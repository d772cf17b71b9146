/* wire_ip4.h - IPv4 header (RFC 791)
 *
 * What it does: parse, judge and emit. Called by ip on both ways; the packet is borrowed; pure;
 * any thread.
 */
#ifndef ZTCP_WIRE_IP4_H
#define ZTCP_WIRE_IP4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/wire/wire_addr.h"

#define WIRE_IP4_LEN     20
#define WIRE_IP4_LEN_MAX 60

struct wire_ip4 {
	union wire_addr src, dst;
	uint16_t total_len;
	uint16_t id;
	uint16_t frag_off; /* bytes, a multiple of 8 */
	uint8_t hdr_len;
	uint8_t tos; /* DSCP and ECN */
	uint8_t ttl;
	uint8_t proto;
	bool df, mf;
};

/**
 * wire_ip4_parse() - read a header
 * @bytes:   the packet; @len may exceed its total length (Ethernet padding)
 * @csum_ok: the device has already verified the header checksum
 * @ip:      set on success only; hdr_len <= total_len <= @len
 *
 * Options are skipped, but source routes are refused (RFC 7126 4.3, 4.4).
 *
 * Return: CNT_none, or the reason to drop the packet.
 */
enum counter wire_ip4_parse(const uint8_t *bytes, size_t len, bool csum_ok, struct wire_ip4 *ip);

/** wire_ip4_emit() - write a header without options, checksum included. Return: WIRE_IP4_LEN. */
unsigned int wire_ip4_emit(const struct wire_ip4 *ip, uint8_t *out);

/**
 * wire_ip4_len_set() - give an emitted header another total length, and the checksum that goes
 * with it.
 */
void wire_ip4_len_set(uint8_t *hdr, uint16_t total_len);

#endif
