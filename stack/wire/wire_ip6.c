/* wire_ip6.c - IPv6 headers */
#include "stack/wire/wire_ip6.h"

#include "stack/base/base_bytes.h"

enum {
	OPT_PAD1 = 0,
	OPT_PADN = 1,
	OPT_ROUTER_ALERT = 5,
	OPT_ACTION = 0xc0, /* zero: skip an option that is not known */
};

static enum counter options_judge(const uint8_t *o, unsigned int len)
{
	while (len) {
		if (o[0] == OPT_PAD1) {
			o++;
			len--;
			continue;
		}
		if (len < 2 || o[1] + 2u > len)
			return CNT_wire_ip6_ext;
		if (o[0] & OPT_ACTION)
			return CNT_wire_ip6_ext;
		len -= o[1] + 2u;
		o += o[1] + 2u;
	}
	return CNT_none;
}

static enum counter fragment_read(const uint8_t *h, struct wire_ip6 *ip)
{
	uint16_t word = base_be16_get(h + 2);

	if (ip->fragment)
		return CNT_wire_ip6_ext;
	ip->fragment = true;
	ip->frag_off = word & 0xfff8;
	ip->mf = word & 1;
	ip->frag_id = base_be32_get(h + 4);
	return CNT_none;
}

/* One extension header of @ext_len bytes at @h. */
static enum counter ext_judge(const uint8_t *h, unsigned int ext_len, unsigned int place,
			      struct wire_ip6 *ip)
{
	switch (ip->proto) {
	case WIRE_IP6_HOP_BY_HOP:
		return place ? CNT_wire_ip6_ext : options_judge(h + 2, ext_len - 2);
	case WIRE_IP6_DEST: return options_judge(h + 2, ext_len - 2);
	case WIRE_IP6_ROUTING: return h[3] ? CNT_wire_ip6_ext : CNT_none;
	default: return fragment_read(h, ip);
	}
}

static bool is_ext(uint8_t proto)
{
	return proto == WIRE_IP6_HOP_BY_HOP || proto == WIRE_IP6_DEST ||
	       proto == WIRE_IP6_ROUTING || proto == WIRE_IP6_FRAGMENT;
}

static enum counter ext_walk(const uint8_t *bytes, unsigned int end, struct wire_ip6 *ip)
{
	unsigned int at = WIRE_IP6_LEN;
	enum counter why;

	for (unsigned int place = 0; is_ext(ip->proto); place++) {
		const uint8_t *h = bytes + at;
		unsigned int ext_len;

		if (place == WIRE_IP6_EXT_MAX || at + 8 > end)
			return CNT_wire_ip6_ext;
		ext_len = ip->proto == WIRE_IP6_FRAGMENT ? WIRE_IP6_FRAG_LEN : (h[1] + 1u) * 8;
		if (at + ext_len > end)
			return CNT_wire_ip6_ext;
		why = ext_judge(h, ext_len, place, ip);
		if (why != CNT_none)
			return why;
		ip->proto = h[0];
		at += ext_len;
		/* What follows in a later fragment is not a header. */
		if (ip->fragment && ip->frag_off)
			break;
	}
	ip->body_at = (uint16_t)at;
	return CNT_none;
}

enum counter wire_ip6_parse(const uint8_t *bytes, size_t len, struct wire_ip6 *ip)
{
	struct wire_ip6 r = { .body_at = WIRE_IP6_LEN };
	enum counter why = CNT_none;

	if (len < WIRE_IP6_LEN)
		return CNT_wire_ip6_short;
	if (bytes[0] >> 4 != 6)
		return CNT_wire_ip6_version;
	r.payload_len = base_be16_get(bytes + 4);
	if (WIRE_IP6_LEN + (size_t)r.payload_len > len)
		return CNT_wire_ip6_short;
	r.tclass = (uint8_t)(base_be16_get(bytes) >> 4);
	r.proto = bytes[6];
	r.hops = bytes[7];
	r.src = wire_addr_v6_bytes(bytes + 8);
	r.dst = wire_addr_v6_bytes(bytes + 24);
	/* A mapped address on the wire would pass for IPv4 inside (RFC 4942 2.2). */
	if (wire_addr_is_v4(&r.src) || wire_addr_is_v4(&r.dst))
		return CNT_wire_ip6_version;
	if (is_ext(r.proto))
		why = ext_walk(bytes, WIRE_IP6_LEN + r.payload_len, &r);
	if (why == CNT_none)
		*ip = r;
	return why;
}

unsigned int wire_ip6_emit(const struct wire_ip6 *ip, uint8_t *out)
{
	base_be32_put(out, 6u << 28 | (uint32_t)ip->tclass << 20);
	base_be16_put(out + 4, ip->payload_len);
	out[6] = ip->proto;
	out[7] = ip->hops;
	memcpy(out + 8, ip->src.b, 16);
	memcpy(out + 24, ip->dst.b, 16);
	return WIRE_IP6_LEN;
}
