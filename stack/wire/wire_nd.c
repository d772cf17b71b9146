/* wire_nd.c - neighbour discovery messages and the addresses they go to */
#include "stack/wire/wire_nd.h"

#include "stack/base/base_bytes.h"

enum { OPT_SOURCE_MAC = 1, OPT_TARGET_MAC = 2, TARGET_LEN = 16 };

static enum counter options_read(const uint8_t *o, uint32_t len, uint8_t want, struct wire_nd *nd)
{
	while (len) {
		if (len < 8 || o[1] == 0 || o[1] * 8u > len)
			return CNT_wire_nd_bad;
		if (o[0] == want && !nd->has_mac) {
			memcpy(nd->mac.b, o + 2, WIRE_MAC_LEN);
			nd->has_mac = !wire_mac_is_group(&nd->mac);
		}
		len -= o[1] * 8u;
		o += o[1] * 8u;
	}
	return CNT_none;
}

/* RFC 4861 7.1.1 and 7.1.2, but for the option rules. */
static bool message_ok(const struct wire_icmp *m, const union wire_addr *src,
		       const union wire_addr *dst, const struct wire_nd *nd)
{
	if (wire_addr_is_multicast(&nd->target) || wire_addr_is_v4(&nd->target))
		return false;
	if (m->type == WIRE_ICMP6_NA)
		return !(nd->flags & WIRE_ND_SOLICITED && wire_addr_is_multicast(dst));
	if (wire_addr_is_any(src)) {
		union wire_addr group = wire_nd_group(&nd->target);

		return wire_addr_equal(dst, &group);
	}
	return true;
}

enum counter wire_nd_parse(const struct wire_icmp *m, uint8_t hops, const union wire_addr *src,
			   const union wire_addr *dst, struct wire_nd *nd)
{
	bool ns = m->type == WIRE_ICMP6_NS;
	struct wire_nd r = { .flags = ns ? 0 : m->word & 7u << 29 };
	enum counter why;

	if (hops != WIRE_ND_HOPS || m->code != 0 || m->body_len < TARGET_LEN)
		return CNT_wire_nd_bad;
	r.target = wire_addr_v6_bytes(m->body);
	if (!message_ok(m, src, dst, &r))
		return CNT_wire_nd_bad;
	why = options_read(m->body + TARGET_LEN, m->body_len - TARGET_LEN,
			   ns ? OPT_SOURCE_MAC : OPT_TARGET_MAC, &r);
	if (why == CNT_none && ns && r.has_mac && wire_addr_is_any(src))
		why = CNT_wire_nd_bad;
	if (why == CNT_none)
		*nd = r;
	return why;
}

unsigned int wire_nd_emit(const struct wire_nd *nd, uint8_t type, uint8_t *out)
{
	memcpy(out, nd->target.b, TARGET_LEN);
	if (!nd->has_mac)
		return TARGET_LEN;
	out[16] = type == WIRE_ICMP6_NS ? OPT_SOURCE_MAC : OPT_TARGET_MAC;
	out[17] = 1;
	memcpy(out + 18, nd->mac.b, WIRE_MAC_LEN);
	return WIRE_ND_BODY_LEN;
}

union wire_addr wire_nd_group(const union wire_addr *a)
{
	union wire_addr g = { .b = { 0xff, 0x02, [11] = 1, [12] = 0xff } };

	memcpy(g.b + 13, a->b + 13, 3);
	return g;
}

struct wire_mac wire_nd_group_mac(const union wire_addr *a)
{
	return (struct wire_mac){ { 0x33, 0x33, a->b[12], a->b[13], a->b[14], a->b[15] } };
}
