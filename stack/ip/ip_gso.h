/* ip_gso.h - one long segment into packets, and packets into one long segment, in software
 *
 * What it does: ip_gso_next() cuts a frame with gso_size for a device that cannot (TSO);
 * ip_gro_join() merges an arriving segment into the one before, so that TCP is run once for both.
 * Called by dev (cut) and inst (merge); pure; any thread; memory is the caller's, payload is
 * referenced.
 */
#ifndef ZTCP_IP_GSO_H
#define ZTCP_IP_GSO_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/wire/wire_frame.h"

struct ip_gso {
	const struct wire_frame_out *frame;
	uint32_t at;   /* payload bytes already in pieces */
	uint8_t iov;   /* run that holds byte @at */
	uint32_t skip; /* bytes of that run before @at */
};

/** ip_gso_start() - begin to cut @frame, which must outlive the cutting. */
void ip_gso_start(struct ip_gso *g, const struct wire_frame_out *frame);

/**
 * ip_gso_next() - the next packet
 * @piece: filled; a frame without gso_size comes out as it is
 * @csum:  true: the TCP checksum is computed here; false: the device does it
 *
 * Return: false when all payload has been given.
 */
bool ip_gso_next(struct ip_gso *g, struct wire_frame_out *piece, bool csum);

/** ip_gro_first() - Return: true when @seg may begin a merged segment: plain data, no surprises. */
bool ip_gro_first(const struct wire_tcp *seg);

/**
 * ip_gro_join() - append @seg to @held
 * @held: of the same connection, for which ip_gro_first() was true
 *
 * Return: true when done, and the references of @seg's runs are now @held's; false when @held must
 * go up first.
 */
bool ip_gro_join(struct wire_tcp *held, const struct wire_tcp *seg);

#endif
