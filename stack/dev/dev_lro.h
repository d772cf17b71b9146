/* dev_lro.h - a long TCP packet that arrived in pieces, as the segments that it stands for
 *
 * What it does: a virtual link's other end leaves cutting to its device (TSO), and so packets of up to 64 KB arrive, in as many of the
 * driver's buffers as they fill. Where the headers lie in the first piece, each piece of payload becomes a segment of
 * its own by a header before it, so that nothing is copied and nobody above knows of pieces. Called by devices; one thread. Memory: the
 * caller's. What the packet says is not trusted: a packet that is not exactly as long as it says, or is no plain segment of data, is refused.
 */
#ifndef ZTCP_DEV_LRO_H
#define ZTCP_DEV_LRO_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/wire/wire_frame.h"

/** struct dev_lro - headers, and how far the payload has been given out */
struct dev_lro {
	uint32_t at, len; /* of payload */
	uint16_t hdr_len;
	bool v4;
	uint8_t hdr[WIRE_FRAME_HDR_MAX];
};

/**
 * dev_lro_start() - read the headers
 * @piece: the packet's first @len bytes
 * @whole: bytes of the packet
 * @ip_ok: the IPv4 header's sum has been verified
 *
 * Return: whether it may be cut: untagged, without IP options, extension headers or fragments, TCP with no flags but ACK, PSH, FIN
 * and those of ECN, and payload; all headers in the first piece.
 */
bool dev_lro_start(struct dev_lro *l, const uint8_t *piece, uint32_t len, uint32_t whole,
		   bool ip_ok);

/**
 * dev_lro_next() - the headers of the segment that the next @len bytes of payload make
 * @hdr: l->hdr_len bytes, written; sums of IP and TCP are not right
 * @len: 1 at least, no more than are left
 */
void dev_lro_next(struct dev_lro *l, uint8_t *hdr, uint32_t len);

#endif
