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
#include "stack/wire/wire_csum.h"

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

/** wire_ip4_csum_ok() - Return: true when the checksum of a header without options is right. */
static inline bool wire_ip4_csum_ok(const uint8_t *hdr)
{
	uint32_t w[5];

	memcpy(w, hdr, sizeof(w));
	return wire_csum_fold((uint64_t)w[0] + w[1] + w[2] + w[3] + w[4]) == 0;
}

/**
 * wire_ip4_put_sum() - wire_ip4_put() when the sum of the addresses is known
 * @ends: wire_csum_ends4() of them
 */
static inline void wire_ip4_put_sum(uint8_t *out, uint32_t src, uint32_t dst, uint32_t ends,
				    uint16_t total_len, uint8_t tos, uint8_t ttl, uint8_t proto)
{
	const uint32_t frag = 0x40; /* no fragments */
	uint32_t first = 0x45u | (uint32_t)tos << 8, len = __builtin_bswap16(total_len);
	uint32_t life = ttl | (uint32_t)proto << 8, zero_frag = frag << 16;

	life |= (uint32_t)wire_csum_fold32(ends + (first + frag + life) + len) << 16;
	first |= len << 16;
	memcpy(out, &first, sizeof(first));
	memcpy(out + 4, &zero_frag, sizeof(zero_frag));
	memcpy(out + 8, &life, sizeof(life));
	memcpy(out + 12, &src, sizeof(src));
	memcpy(out + 16, &dst, sizeof(dst));
}

/**
 * wire_ip4_put() - write the header of an atomic datagram (RFC 6864 4.1): no options, no fragments,
 * no identification
 * @src: network order, as loaded; so is @dst
 */
static inline void wire_ip4_put(uint8_t *out, uint32_t src, uint32_t dst, uint16_t total_len,
				uint8_t tos, uint8_t ttl, uint8_t proto)
{
	wire_ip4_put_sum(out, src, dst, wire_csum_ends4(src, dst), total_len, tos, ttl, proto);
}

/**
 * wire_ip4_len_set() - give an emitted header another total length, and the checksum that goes
 * with it.
 */
void wire_ip4_len_set(uint8_t *hdr, uint16_t total_len);

#endif
