/* wire_icmp.c - ICMP and ICMPv6 messages */
#include "stack/wire/wire_icmp.h"

#include "stack/base/base_bytes.h"
#include "stack/wire/wire_csum.h"

static enum counter icmp_read(const uint8_t *bytes, size_t len, uint64_t sum, struct wire_icmp *m)
{
	if (len < WIRE_ICMP_LEN)
		return CNT_wire_icmp_short;
	if (wire_csum_fold(wire_csum_add(sum, bytes, len)) != 0)
		return CNT_wire_icmp_csum;
	m->type = bytes[0];
	m->code = bytes[1];
	m->word = base_be32_get(bytes + 4);
	m->body = bytes + WIRE_ICMP_LEN;
	m->body_len = (uint32_t)(len - WIRE_ICMP_LEN);
	return CNT_none;
}

enum counter wire_icmp_parse(const uint8_t *bytes, size_t len, struct wire_icmp *m)
{
	return icmp_read(bytes, len, 0, m);
}

enum counter wire_icmp6_parse(const uint8_t *bytes, size_t len, const union wire_addr *src,
			      const union wire_addr *dst, struct wire_icmp *m)
{
	return icmp_read(bytes, len, wire_csum_pseudo(src, dst, WIRE_PROTO_ICMP6, (uint32_t)len),
			 m);
}

unsigned int wire_icmp_emit(const struct wire_icmp *m, const union wire_addr *src,
			    const union wire_addr *dst, uint8_t *out)
{
	uint64_t sum = 0;
	uint16_t csum = 0;

	out[0] = m->type;
	out[1] = m->code;
	memcpy(out + 2, &csum, sizeof(csum));
	base_be32_put(out + 4, m->word);
	if (src)
		sum = wire_csum_pseudo(src, dst, WIRE_PROTO_ICMP6, WIRE_ICMP_LEN + m->body_len);
	sum = wire_csum_add(sum, out, WIRE_ICMP_LEN);
	csum = wire_csum_fold(wire_csum_add(sum, m->body, m->body_len));
	memcpy(out + 2, &csum, sizeof(csum));
	return WIRE_ICMP_LEN;
}
