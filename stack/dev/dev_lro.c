/* dev_lro.c - cut a long packet where its pieces end */
#include "stack/dev/dev_lro.h"

#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/wire/wire_csum.h"
#include "stack/wire/wire_eth.h"
#include "stack/wire/wire_ip4.h"
#include "stack/wire/wire_ip6.h"

enum {
	TYPE_AT = 12,
	IP4_LEN_AT = 2,
	IP4_FRAG_AT = 6, /* flags, offset */
	IP4_PROTO_AT = 9,
	IP6_LEN_AT = 4,
	IP6_NEXT_AT = 6,
	SEQ_AT = 4,
	OFF_AT = 12,
	FLAGS_AT = 13,
};

/* @l3: WIRE_IP4_LEN bytes at least; @whole: from there on. Return: as dev_lro_start() */
static bool ip4_plain(const uint8_t *l3, uint32_t whole, bool ip_ok)
{
	if (l3[0] != 0x45 || l3[IP4_PROTO_AT] != WIRE_PROTO_TCP)
		return false;
	if (base_be16_get(l3 + IP4_LEN_AT) != whole || base_be16_get(l3 + IP4_FRAG_AT) & 0x3fff)
		return false;
	return ip_ok || wire_ip4_csum_ok(l3);
}

static bool ip6_plain(const uint8_t *l3, uint32_t whole)
{
	return l3[0] >> 4 == 6 && l3[IP6_NEXT_AT] == WIRE_PROTO_TCP &&
	       base_be16_get(l3 + IP6_LEN_AT) + (uint32_t)WIRE_IP6_LEN == whole;
}

bool dev_lro_start(struct dev_lro *l, const uint8_t *piece, uint32_t len, uint32_t whole,
		   bool ip_ok)
{
	const uint8_t may = TCP_ACK | TCP_PSH | TCP_FIN | TCP_ECE | TCP_CWR;
	const uint8_t *l3 = piece + WIRE_ETH_LEN, *l4;
	uint32_t l4_at, hdr_len;
	uint16_t type;

	if (len < WIRE_ETH_LEN + WIRE_IP6_LEN + WIRE_TCP_HDR_LEN || whole < len)
		return false;
	type = base_be16_get(piece + TYPE_AT);
	l->v4 = type == WIRE_ETH_IP4;
	if (!(l->v4 ? ip4_plain(l3, whole - WIRE_ETH_LEN, ip_ok)
		    : type == WIRE_ETH_IP6 && ip6_plain(l3, whole - WIRE_ETH_LEN)))
		return false;
	l4_at = WIRE_ETH_LEN + (l->v4 ? WIRE_IP4_LEN : WIRE_IP6_LEN);
	l4 = piece + l4_at;
	hdr_len = l4_at + (l4[OFF_AT] >> 4) * 4u;
	if (hdr_len < l4_at + WIRE_TCP_HDR_LEN || hdr_len > len || hdr_len >= whole)
		return false;
	if (!(l4[FLAGS_AT] & TCP_ACK) || l4[FLAGS_AT] & ~may)
		return false;
	l->at = 0;
	l->len = whole - hdr_len;
	l->hdr_len = (uint16_t)hdr_len;
	memcpy(l->hdr, piece, hdr_len);
	return true;
}

/* FIN and PSH belong to the last segment, CWR to the first (RFC 3168 6.1.2). */
void dev_lro_next(struct dev_lro *l, uint8_t *hdr, uint32_t len)
{
	uint8_t *l3 = hdr + WIRE_ETH_LEN;
	uint8_t *l4 = l3 + (l->v4 ? WIRE_IP4_LEN : WIRE_IP6_LEN);
	uint32_t body = (uint32_t)(l->hdr_len - (l4 - hdr)) + len;

	memcpy(hdr, l->hdr, l->hdr_len);
	if (l->v4)
		base_be16_put(l3 + IP4_LEN_AT, (uint16_t)(WIRE_IP4_LEN + body));
	else
		base_be16_put(l3 + IP6_LEN_AT, (uint16_t)body);
	base_be32_put(l4 + SEQ_AT, base_be32_get(l4 + SEQ_AT) + l->at);
	if (l->at)
		l4[FLAGS_AT] &= (uint8_t)~TCP_CWR;
	l->at += len;
	if (l->at < l->len)
		l4[FLAGS_AT] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
}
