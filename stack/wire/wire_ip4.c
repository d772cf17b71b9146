/* wire_ip4.c - IPv4 headers */
#include "stack/wire/wire_ip4.h"

#include "stack/base/base_bytes.h"
#include "stack/wire/wire_csum.h"

enum {
	OPT_END = 0,
	OPT_NOP = 1,
	OPT_LSRR = 131,
	OPT_SSRR = 137,
	FLAG_DF = 0x4000,
	FLAG_MF = 0x2000,
	FRAG_MASK = 0x1fff,
	LEN_AT = 2,
	CSUM_AT = 10,
};

static enum counter options_judge(const uint8_t *o, unsigned int len)
{
	while (len && o[0] != OPT_END) {
		unsigned int one = o[0] == OPT_NOP || len < 2 ? 1 : o[1];

		if (o[0] != OPT_NOP && (len < 2 || one < 2 || one > len))
			return CNT_wire_ip4_options;
		if (o[0] == OPT_LSRR || o[0] == OPT_SSRR)
			return CNT_wire_ip4_options;
		o += one;
		len -= one;
	}
	return CNT_none;
}

enum counter wire_ip4_parse(const uint8_t *bytes, size_t len, bool csum_ok, struct wire_ip4 *ip)
{
	unsigned int hdr_len, total_len, frag;

	if (len < WIRE_IP4_LEN)
		return CNT_wire_ip4_short;
	hdr_len = (bytes[0] & 0x0f) * 4u;
	if (bytes[0] >> 4 != 4 || hdr_len < WIRE_IP4_LEN)
		return CNT_wire_ip4_version;
	total_len = base_be16_get(bytes + LEN_AT);
	if (hdr_len > total_len || total_len > len)
		return CNT_wire_ip4_short;
	if (!csum_ok && wire_csum_fold(wire_csum_add(0, bytes, hdr_len)) != 0)
		return CNT_wire_ip4_csum;
	if (hdr_len > WIRE_IP4_LEN) {
		enum counter why = options_judge(bytes + WIRE_IP4_LEN, hdr_len - WIRE_IP4_LEN);

		if (why != CNT_none)
			return why;
	}
	frag = base_be16_get(bytes + 6);
	ip->src = wire_addr_v4_bytes(bytes + 12);
	ip->dst = wire_addr_v4_bytes(bytes + 16);
	ip->total_len = (uint16_t)total_len;
	ip->id = base_be16_get(bytes + 4);
	ip->frag_off = (uint16_t)((frag & FRAG_MASK) * 8);
	ip->hdr_len = (uint8_t)hdr_len;
	ip->tos = bytes[1];
	ip->ttl = bytes[8];
	ip->proto = bytes[9];
	ip->df = frag & FLAG_DF;
	ip->mf = frag & FLAG_MF;
	return CNT_none;
}

/* Five 32-bit words without options; the checksum field is taken as zero. */
static void csum_set(uint8_t *hdr)
{
	uint32_t w[5];
	uint16_t csum;

	memcpy(w, hdr, sizeof(w));
	csum = wire_csum_fold((uint64_t)w[0] + w[1] + (w[2] & 0xffff) + w[3] + w[4]);
	memcpy(hdr + CSUM_AT, &csum, sizeof(csum));
}

unsigned int wire_ip4_emit(const struct wire_ip4 *ip, uint8_t *out)
{
	unsigned int frag = ip->frag_off / 8u | (ip->df ? FLAG_DF : 0) | (ip->mf ? FLAG_MF : 0);

	out[0] = 0x45;
	out[1] = ip->tos;
	base_be16_put(out + LEN_AT, ip->total_len);
	base_be16_put(out + 4, ip->id);
	base_be16_put(out + 6, (uint16_t)frag);
	out[8] = ip->ttl;
	out[9] = ip->proto;
	memcpy(out + 12, ip->src.b + 12, 4);
	memcpy(out + 16, ip->dst.b + 12, 4);
	csum_set(out);
	return WIRE_IP4_LEN;
}

void wire_ip4_len_set(uint8_t *hdr, uint16_t total_len)
{
	base_be16_put(hdr + LEN_AT, total_len);
	csum_set(hdr);
}
