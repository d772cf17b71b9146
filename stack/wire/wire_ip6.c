/* wire_ip6.c - IPv6 headers */
#include "stack/wire/wire_ip6.h"

#include "stack/base/base_bytes.h"
#include "stack/wire/wire_icmp.h"

enum {
	OPT_PAD1 = 0,
	OPT_ACTION = 0xc0, /* zero: skip an option that is not known */
	OPT_TELL = 0x80,
	PROTO_AT = 6,
};

/* What the sender is told, when he is to be told anything. @at: byte of the packet */
static enum counter problem(struct wire_ip6 *ip, uint8_t code, unsigned int at)
{
	ip->problem = code;
	ip->problem_at = (uint16_t)at;
	return CNT_wire_ip6_ext;
}

/* An option that is not known and not to be skipped: 01 says nothing, 10 and 11 ask for an answer (RFC 8200 4.2). */
static enum counter option_refuse(struct wire_ip6 *ip, uint8_t type, unsigned int at)
{
	return type & OPT_TELL ? problem(ip, WIRE_PARAM6_OPTION, at) : CNT_wire_ip6_ext;
}

/* The options of an extension header, from byte @at of the packet. */
static enum counter options_judge(const uint8_t *o, unsigned int len, unsigned int at,
				  struct wire_ip6 *ip)
{
	const uint8_t *begin = o;

	while (len) {
		if (o[0] == OPT_PAD1) {
			o++;
			len--;
			continue;
		}
		if (len < 2 || o[1] + 2u > len)
			return CNT_wire_ip6_ext;
		if (o[0] & OPT_ACTION)
			return option_refuse(ip, o[0], at + (unsigned int)(o - begin));
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

/* One extension header of @ext_len bytes at @h, byte @at of the packet. */
static enum counter ext_judge(const uint8_t *h, unsigned int ext_len, unsigned int at, bool first,
			      struct wire_ip6 *ip)
{
	switch (ip->proto) {
	case WIRE_IP6_HOP_BY_HOP:
		if (!first)
			return CNT_wire_ip6_ext;
		return options_judge(h + 2, ext_len - 2, at + 2, ip);
	case WIRE_IP6_DEST: return options_judge(h + 2, ext_len - 2, at + 2, ip);
	case WIRE_IP6_ROUTING:
		/* No type is known here: one with something left is refused, its type pointed at (RFC 8200 4.4). */
		return h[3] ? problem(ip, WIRE_PARAM6_HEADER, at + 2) : CNT_none;
	default: return fragment_read(h, ip);
	}
}

static bool is_ext(uint8_t proto)
{
	return proto == WIRE_IP6_HOP_BY_HOP || proto == WIRE_IP6_DEST ||
	       proto == WIRE_IP6_ROUTING || proto == WIRE_IP6_FRAGMENT;
}

/* What stands behind it is a part of something, not a header. */
static bool is_part(const struct wire_ip6 *ip)
{
	return ip->fragment && (ip->mf || ip->frag_off);
}

/* The headers from byte @at on, up to @end. ip->proto is the first one's. */
static enum counter ext_walk(const uint8_t *bytes, unsigned int at, unsigned int end,
			     struct wire_ip6 *ip)
{
	const unsigned int begin = at;
	enum counter why;

	for (unsigned int place = 0; is_ext(ip->proto); place++) {
		const uint8_t *h = bytes + at;
		unsigned int ext_len;

		if (place == WIRE_IP6_EXT_MAX || at + 8 > end)
			return CNT_wire_ip6_ext;
		ext_len = ip->proto == WIRE_IP6_FRAGMENT ? WIRE_IP6_FRAG_LEN : (h[1] + 1u) * 8;
		if (at + ext_len > end)
			return CNT_wire_ip6_ext;
		why = ext_judge(h, ext_len, at, at == begin && begin == WIRE_IP6_LEN, ip);
		if (why != CNT_none)
			return why;
		ip->proto_at = (uint16_t)at;
		ip->proto = h[0];
		at += ext_len;
		if (is_part(ip))
			break;
	}
	ip->body_at = (uint16_t)at;
	return CNT_none;
}

enum counter wire_ip6_parse(const uint8_t *bytes, size_t len, struct wire_ip6 *ip)
{
	struct wire_ip6 r = { .body_at = WIRE_IP6_LEN, .proto_at = PROTO_AT };
	enum counter why = CNT_none;

	if (len < WIRE_IP6_LEN)
		return CNT_wire_ip6_short;
	if (bytes[0] >> 4 != 6)
		return CNT_wire_ip6_version;
	r.payload_len = base_be16_get(bytes + 4);
	if (WIRE_IP6_LEN + (size_t)r.payload_len > len)
		return CNT_wire_ip6_short;
	r.tclass = (uint8_t)(base_be16_get(bytes) >> 4);
	r.proto = bytes[PROTO_AT];
	r.hops = bytes[7];
	r.src = wire_addr_v6_bytes(bytes + 8);
	r.dst = wire_addr_v6_bytes(bytes + 24);
	/* A mapped address on the wire would pass for IPv4 inside (RFC 4942 2.2). */
	if (wire_addr_is_v4(&r.src) || wire_addr_is_v4(&r.dst))
		return CNT_wire_ip6_version;
	if (is_ext(r.proto))
		why = ext_walk(bytes, WIRE_IP6_LEN, WIRE_IP6_LEN + r.payload_len, &r);
	if (why == CNT_none || r.problem_at)
		*ip = r;
	return why;
}

enum counter wire_ip6_upper(const uint8_t *bytes, uint32_t len, uint8_t *proto, uint32_t *at)
{
	struct wire_ip6 r = { .proto = *proto, .fragment = true }; /* none within a fragment */
	enum counter why = ext_walk(bytes, 0, len, &r);

	if (why != CNT_none)
		return why;
	*proto = r.proto;
	*at = r.body_at;
	return CNT_none;
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
