/* ip_plain.h - what nearly every arriving frame is, recognised in a few words
 *
 * What it does: ip_plain4() says whether a frame is one of these: to this station, untagged, IPv4 without options or
 * fragments, its header's checksum right, TCP, not marked by a router, between ends that ip_input() found good before. Such a frame needs none of ip_input()'s work; any other goes there. Called by inst for each frame,
 * inline; written by ip; memory and thread: ip.h.
 */
#ifndef ZTCP_IP_PLAIN_H
#define ZTCP_IP_PLAIN_H

#include <stdint.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/wire/wire_eth.h"
#include "stack/wire/wire_frame.h"
#include "stack/wire/wire_ip4.h"

#define IP_JUDGED   256 /* a power of two */
#define IP_PLAIN_L4 (WIRE_ETH_LEN + WIRE_IP4_LEN)

enum {
	IP_PLAIN_TYPE = 12, /* Ethernet type, version and header length, TOS */
	IP_PLAIN_TOS = 15,
	IP_PLAIN_LEN = 16,
	IP_PLAIN_FRAG = 20,
	IP_PLAIN_PROTO = 23,
	IP_PLAIN_ENDS = 26, /* source, destination */
};

/* Ends that were found good in a generation. */
struct ip_judged {
	uint64_t ends; /* source and destination as they lie in the header */
	uint32_t gen;
};

struct ip_plain {
	uint64_t
		mac48; /* our station as the low bytes of a word; like none when frames are tagged */
	uint32_t gen;  /* a hop or a judgement of another is stale */
	uint8_t link_len;
	struct ip_judged judged[IP_JUDGED];
};

/** ip_word64() - Return: eight bytes as loaded. */
static inline uint64_t ip_word64(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/** ip_word32() - Return: four bytes as loaded. */
static inline uint32_t ip_word32(const uint8_t *p)
{
	uint32_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/** ip_judged_at() - where what was found of @ends is kept. */
static inline uint32_t ip_judged_at(uint64_t ends)
{
	return (uint32_t)(ends * 0x9e3779b97f4a7c15u >> 56) & (IP_JUDGED - 1);
}

/** ip_plain4() - Return: bytes from the TCP header on, at least 20, of a plain frame; else 0. */
static inline uint32_t ip_plain4(const struct ip_plain *ip, const struct wire_frame_in *frame)
{
	const uint32_t ip4_20 = 0x450008; /* in memory order */
	const uint8_t *f = frame->data;
	const struct ip_judged *j;
	uint32_t len;

	if (frame->len < IP_PLAIN_L4 + 20)
		return 0;
	/* One bit beyond the station's address: that the sender is no group. The last byte is the TOS: no CE. */
	if ((ip_word64(f) & 0x1ffffffffffffu) != ip->mac48 ||
	    (ip_word32(f + IP_PLAIN_TYPE) & 0xffffffu) != ip4_20 || (f[IP_PLAIN_TOS] & 3) == 3)
		return 0;
	len = base_be16_get(f + IP_PLAIN_LEN) - (uint32_t)WIRE_IP4_LEN;
	if (len - 20 > frame->len - IP_PLAIN_L4 - 20 || f[IP_PLAIN_PROTO] != 6 ||
	    base_be16_get(f + IP_PLAIN_FRAG) & 0x3fff)
		return 0;
	if (!(frame->flags & WIRE_FRAME_IP_CSUM_OK) && !wire_ip4_csum_ok(f + WIRE_ETH_LEN))
		return 0;
	j = &ip->judged[ip_judged_at(ip_word64(f + IP_PLAIN_ENDS))];
	return j->ends == ip_word64(f + IP_PLAIN_ENDS) && j->gen == ip->gen ? len : 0;
}

#endif
