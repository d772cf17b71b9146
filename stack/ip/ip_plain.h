/* ip_plain.h - what nearly every frame is, recognised or written in a few words
 *
 * What it does: ip_plain4() and ip_plain6() say whether a frame is one of these: to this station, untagged, TCP over
 * IPv4 without options or fragments, or over IPv6 without extension headers; not marked by a router. Such a frame of a connection whose way is fresh (ip_plain_fresh(): its ends were judged with it) needs
 * none of ip_input()'s work; any other goes there. ip_plain_headers() writes what ip_send() would, where nothing has to be
 * asked (ip_plain_link()). Called by inst for each frame, inline; written by ip; memory and thread: ip.h.
 */
#ifndef ZTCP_IP_PLAIN_H
#define ZTCP_IP_PLAIN_H

#include <stdint.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/base/base_check.h"
#include "stack/ip/ip.h"
#include "stack/wire/wire_csum.h"
#include "stack/wire/wire_eth.h"
#include "stack/wire/wire_frame.h"
#include "stack/wire/wire_ip4.h"
#include "stack/wire/wire_ip6.h"

enum {
	IP_PLAIN_TYPE = 12, /* Ethernet type and what follows */
	IP_PLAIN4_TOS = 15,
	IP_PLAIN4_LEN = 16,
	IP_PLAIN4_FRAG = 20, /* flags, offset, TTL, protocol */
	IP_PLAIN4_ENDS = 26, /* source, destination */
	IP_PLAIN4_L4 = WIRE_ETH_LEN + WIRE_IP4_LEN,
	IP_PLAIN6_LEN = 18, /* payload length, next header */
	IP_PLAIN6_ENDS = 22,
	IP_PLAIN6_L4 = WIRE_ETH_LEN + WIRE_IP6_LEN,
};

/* How frames get to a neighbour. */
struct ip_link {
	ztime_t good_until; /* it has answered, and need not be asked before; else ZTIME_PAST */
	uint8_t header[WIRE_ETH_LEN + WIRE_VLAN_LEN];
	bool used; /* since the last look of the evictor */
};

struct ip_plain {
	uint64_t
		mac48; /* our station as the low bytes of a word; like none when frames are tagged */
	struct ip_link *links; /* by struct ip_hop's neigh */
	ztime_t deadline;      /* ip_deadline() */
	uint32_t gen;          /* a hop of another is stale; never 0 */
	uint8_t link_len;
	bool sums; /* the device sums what is sent */
};

/** ip_plain_fresh() - Return: true when @hop and its connection's ends are good as they are. */
BASE_INLINE bool ip_plain_fresh(const struct ip_plain *ip, const struct ip_hop *hop)
{
	return hop->gen == ip->gen;
}

/* To us. One bit beyond the station's address: that the sender is no group. */
BASE_INLINE bool ip_plain_ours(const struct ip_plain *ip, const uint8_t *f)
{
	return (base_word64(f) & 0x1ffffffffffffu) == ip->mac48;
}

/**
 * ip_plain4() - Return: true when it is a plain IPv4 frame. Its sum is not looked at.
 * @bytes: set to those from the TCP header on, at least 20
 */
BASE_INLINE bool ip_plain4(const struct ip_plain *ip, const struct wire_frame_in *frame,
			   uint32_t *bytes)
{
	/* In memory order. Neither marked nor ECT(1), by one bit. */
	const uint32_t kind = 0x1ffffff, ip4_20 = 0x450008;
	const uint32_t proto = 0xff00ff3f, tcp = 0x6000000; /* no fragment; any TTL, any DF */
	const uint8_t *f = frame->data;
	uint32_t type, len;

	if (frame->len < IP_PLAIN4_L4 + 20)
		return false;
	type = base_word32(f + IP_PLAIN_TYPE);
	if (!ip_plain_ours(ip, f) || (type & kind) != ip4_20 ||
	    (base_word32(f + IP_PLAIN4_FRAG) & proto) != tcp)
		return false;
	len = base_be16_get(f + IP_PLAIN4_LEN) - (uint32_t)WIRE_IP4_LEN;
	*bytes = len;
	return len - 20 <= frame->len - IP_PLAIN4_L4 - 20;
}

/** ip_plain4_sum_ok() - Return: true when the sum of the IPv4 header of a frame that ip_plain4() has taken is right. */
BASE_INLINE bool ip_plain4_sum_ok(const struct wire_frame_in *frame)
{
	return frame->flags & WIRE_FRAME_IP_CSUM_OK || wire_ip4_csum_ok(frame->data + WIRE_ETH_LEN);
}

/** ip_plain6() - Return: true when it is a plain IPv6 frame. @bytes: as ip_plain4() */
BASE_INLINE bool ip_plain6(const struct ip_plain *ip, const struct wire_frame_in *frame,
			   uint32_t *bytes)
{
	const uint32_t ip6 = 0x60dd86; /* in memory order */
	const uint8_t *f = frame->data;
	uint32_t type, len;

	if (frame->len < IP_PLAIN6_L4 + 20)
		return false;
	type = base_word32(f + IP_PLAIN_TYPE);
	/* The lowest bits of the traffic class are in the middle of the next byte. */
	if (!ip_plain_ours(ip, f) || (type & 0xf0ffff) != ip6 || (type >> 28 & 3) == 3 ||
	    f[IP_PLAIN6_LEN + 2] != WIRE_PROTO_TCP)
		return false;
	len = base_be16_get(f + IP_PLAIN6_LEN);
	*bytes = len;
	return len - 20 <= frame->len - IP_PLAIN6_L4 - 20;
}

/* The IPv6 header of a segment. Return: sum of the pseudo header. */
BASE_INLINE uint64_t ip_plain_put6(uint8_t *l3, const struct wire_flow *flow, uint32_t body,
				   uint8_t ecn)
{
	uint32_t w[2] = { 0x60u | (uint32_t)ecn << 12, (uint32_t)__builtin_bswap16((uint16_t)body) |
							       WIRE_PROTO_TCP << 16 |
							       (uint32_t)IP_HOPS << 24 };

	memcpy(l3, w, sizeof(w));
	memcpy(l3 + sizeof(w), &flow->local, sizeof(flow->local));
	memcpy(l3 + sizeof(w) + sizeof(flow->local), &flow->remote, sizeof(flow->remote));
	return wire_csum_pseudo6(&flow->local, &flow->remote, WIRE_PROTO_TCP, body);
}

/* The IPv4 header of a segment. Return: sum of the pseudo header. */
BASE_INLINE uint64_t ip_plain_put4(uint8_t *l3, const struct wire_flow *flow, uint32_t body,
				   uint8_t ecn)
{
	uint32_t local = flow->local.w[3], remote = flow->remote.w[3];
	uint32_t ends = wire_csum_ends4(local, remote);

	wire_ip4_put_sum(l3, local, remote, ends, (uint16_t)(WIRE_IP4_LEN + body), ecn, IP_HOPS,
			 WIRE_PROTO_TCP);
	return ends + __builtin_bswap16((uint16_t)body) + ((uint32_t)WIRE_PROTO_TCP << 8);
}

/**
 * ip_plain_headers() - the other headers of a frame whose TCP header is there
 * @l3_at: bytes of the link's header
 * @v4:    the family of @flow
 *
 * As ip_send(), from @link to the TCP checksum that a device that sums wants.
 */
BASE_INLINE void ip_plain_headers(struct ip_link *link, uint8_t l3_at, const struct wire_flow *flow,
				  bool v4, struct wire_frame_out *out, uint8_t l4_len, uint8_t ecn)
{
	uint8_t l4_at = (uint8_t)(l3_at + (v4 ? WIRE_IP4_LEN : WIRE_IP6_LEN));
	uint8_t *l3 = out->hdr + l3_at, *l4 = out->hdr + l4_at;
	uint32_t body = (uint32_t)l4_len + out->len;
	uint32_t ports = __builtin_bswap32(base_word32(&flow->lport)); /* the other way round */
	uint64_t sum;
	uint16_t csum;

	link->used = true;
	memcpy(out->hdr, link->header, l3_at == WIRE_ETH_LEN ? 16 : sizeof(link->header));
	sum = v4 ? ip_plain_put4(l3, flow, body, ecn) : ip_plain_put6(l3, flow, body, ecn);
	ports = ports << 16 | ports >> 16;
	memcpy(l4, &ports, sizeof(ports));
	csum = (uint16_t) ~(v4 ? wire_csum_fold32((uint32_t)sum) : wire_csum_fold(sum));
	memcpy(l4 + WIRE_TCP_CSUM_AT, &csum, sizeof(csum));
	out->l3_at = l3_at;
	out->l4_at = l4_at;
	out->hdr_len = (uint16_t)(l4_at + l4_len);
	out->l4_len = l4_len;
	out->flags = WIRE_FRAME_TCP_CSUM;
}

/**
 * ip_plain_link() - how a frame gets out without asking anybody
 *
 * Return: NULL when ip_send() has to find out.
 */
BASE_INLINE struct ip_link *ip_plain_link(const struct ip_plain *ip, const struct ip_hop *hop,
					  ztime_t now)
{
	struct ip_link *link = &ip->links[hop->neigh];

	return ip_plain_fresh(ip, hop) && now <= link->good_until && ip->sums ? link : NULL;
}

#endif
