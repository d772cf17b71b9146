/* wire_tcp.c - parse and emit TCP headers
 *
 * Options are laid out as most hosts do, so that 32-bit fields stay aligned and middleboxes meet nothing new:
 * MSS, SACK permitted with timestamps (or two NOPs), window scale, Fast Open, SACK blocks last because they
 * take what room is left.
 */
#include "stack/wire/wire_tcp.h"

#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/base/base_check.h"
#include "stack/wire/wire_csum.h"

enum {
	KIND_END = 0,
	KIND_NOP = 1,
	KIND_MSS = 2,
	KIND_WS = 3,
	KIND_SACK_OK = 4,
	KIND_SACK = 5,
	KIND_TS = 8,
	KIND_TFO = 34,
	KIND_EXP = 254,
	EXP_TFO_MAGIC = 0xf989, /* RFC 7413 4.1.1 */
	CSUM_AT = 16,
	NOP_NOP_TS = KIND_NOP << 24 | KIND_NOP << 16 | KIND_TS << 8 | 10,
};

static enum counter opt_mss(const uint8_t *o, unsigned int len, struct tcp_seg *seg)
{
	if (len != 4)
		return CNT_wire_tcp_options;
	seg->mss = base_be16_get(o + 2);
	seg->opts |= TCP_OPT_MSS;
	return CNT_none;
}

static enum counter opt_ws(const uint8_t *o, unsigned int len, struct tcp_seg *seg)
{
	if (len != 3)
		return CNT_wire_tcp_options;
	seg->ws = BASE_MIN(o[2], TCP_WS_MAX);
	seg->opts |= TCP_OPT_WS;
	return CNT_none;
}

static enum counter opt_sack_ok(unsigned int len, struct tcp_seg *seg)
{
	if (len != 2)
		return CNT_wire_tcp_options;
	seg->opts |= TCP_OPT_SACK_OK;
	return CNT_none;
}

/* SACK is advice (RFC 2018 8): a block list that cannot be read is as good as none. */
static enum counter opt_sack(const uint8_t *o, unsigned int len, struct tcp_seg *seg)
{
	unsigned int n = (len - 2) / 8;

	if ((len - 2) % 8 || n == 0 || n > TCP_SACK_MAX)
		return CNT_none;
	for (unsigned int i = 0; i < n; i++) {
		seg->sack[i].left = base_be32_get(o + 2 + 8 * i);
		seg->sack[i].right = base_be32_get(o + 6 + 8 * i);
	}
	seg->nsack = (uint8_t)n;
	seg->opts |= TCP_OPT_SACK;
	return CNT_none;
}

static enum counter opt_ts(const uint8_t *o, unsigned int len, struct tcp_seg *seg)
{
	if (len != 10)
		return CNT_wire_tcp_options;
	seg->tsval = base_be32_get(o + 2);
	seg->tsecr = base_be32_get(o + 6);
	seg->opts |= TCP_OPT_TS;
	return CNT_none;
}

/* RFC 7413 4.1.1: a cookie of an illegal length is ignored like an unknown option. */
static enum counter opt_tfo(const uint8_t *cookie, unsigned int len, uint8_t opts,
			    struct tcp_seg *seg)
{
	if (len && (len < 4 || len > TCP_COOKIE_MAX || len % 2))
		return CNT_none;
	memcpy(seg->cookie, cookie, len);
	seg->cookie_len = (uint8_t)len;
	seg->opts |= opts;
	return CNT_none;
}

static enum counter opt_one(const uint8_t *o, unsigned int len, struct tcp_seg *seg)
{
	switch (o[0]) {
	case KIND_MSS:
		return seg->opts & TCP_OPT_MSS ? CNT_none : opt_mss(o, len, seg);
	case KIND_WS:
		return seg->opts & TCP_OPT_WS ? CNT_none : opt_ws(o, len, seg);
	case KIND_SACK_OK:
		return opt_sack_ok(len, seg);
	case KIND_SACK:
		return seg->opts & TCP_OPT_SACK ? CNT_none : opt_sack(o, len, seg);
	case KIND_TS:
		return seg->opts & TCP_OPT_TS ? CNT_none : opt_ts(o, len, seg);
	case KIND_TFO:
		return seg->opts & TCP_OPT_TFO ? CNT_none : opt_tfo(o + 2, len - 2, TCP_OPT_TFO, seg);
	case KIND_EXP:
		if (len < 4 || base_be16_get(o + 2) != EXP_TFO_MAGIC || seg->opts & TCP_OPT_TFO)
			return CNT_none;
		return opt_tfo(o + 4, len - 4, TCP_OPT_TFO | TCP_OPT_TFO_EXP, seg);
	default:
		return CNT_none;
	}
}

static enum counter opts_parse(const uint8_t *o, unsigned int len, struct tcp_seg *seg)
{
	enum counter why = CNT_none;

	while (len && why == CNT_none) {
		if (o[0] == KIND_END)
			break;
		if (o[0] == KIND_NOP) {
			o++;
			len--;
			continue;
		}
		if (len < 2 || o[1] < 2 || o[1] > len)
			return CNT_wire_tcp_options;
		why = opt_one(o, o[1], seg);
		len -= o[1];
		o += o[1];
	}
	return why;
}

/* Nearly every segment of an established connection carries exactly NOP NOP timestamps. */
static bool opts_parse_ts_only(const uint8_t *o, unsigned int len, struct tcp_seg *seg)
{
	if (len != 12 || base_be32_get(o) != NOP_NOP_TS)
		return false;
	seg->tsval = base_be32_get(o + 4);
	seg->tsecr = base_be32_get(o + 8);
	seg->opts = TCP_OPT_TS;
	return true;
}

static enum counter flags_judge(uint8_t flags)
{
	uint8_t kind = flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK);

	if (kind == 0 || (kind & TCP_SYN && kind & (TCP_FIN | TCP_RST)))
		return CNT_wire_tcp_flags;
	return CNT_none;
}

enum counter wire_tcp_parse(const uint8_t *bytes, size_t len, struct tcp_seg *seg)
{
	unsigned int hdr_len;
	enum counter why;

	if (len < TCP_HDR_LEN)
		return CNT_wire_tcp_short;
	hdr_len = (bytes[12] >> 4) * 4u;
	if (hdr_len < TCP_HDR_LEN || hdr_len > len)
		return CNT_wire_tcp_offset;
	why = flags_judge(bytes[13]);
	if (why != CNT_none)
		return why;
	seg->sport = base_be16_get(bytes);
	seg->dport = base_be16_get(bytes + 2);
	if (seg->sport == 0 || seg->dport == 0)
		return CNT_wire_tcp_port;
	seg->seq = base_be32_get(bytes + 4);
	seg->ack = base_be32_get(bytes + 8);
	seg->flags = bytes[13];
	seg->wnd = base_be16_get(bytes + 14);
	seg->urg = base_be16_get(bytes + 18);
	seg->opts = 0;
	seg->ecn = IP_ECN_NOT;
	seg->ws = seg->nsack = seg->cookie_len = 0;
	seg->mss = 0;
	seg->tsval = seg->tsecr = 0;
	seg->gso_size = 0;
	seg->zbuf = NULL;
	seg->data = bytes + hdr_len;
	seg->len = (uint32_t)(len - hdr_len);
	if (hdr_len == TCP_HDR_LEN ||
	    opts_parse_ts_only(bytes + TCP_HDR_LEN, hdr_len - TCP_HDR_LEN, seg))
		return CNT_none;
	return opts_parse(bytes + TCP_HDR_LEN, hdr_len - TCP_HDR_LEN, seg);
}

bool wire_tcp_csum_ok(const uint8_t *bytes, size_t len, const union wire_addr *src,
		      const union wire_addr *dst)
{
	uint64_t sum = wire_csum_pseudo(src, dst, WIRE_PROTO_TCP, (uint32_t)len);

	return wire_csum_fold(wire_csum_add(sum, bytes, len)) == 0;
}

static unsigned int tfo_len(const struct tcp_seg *seg)
{
	unsigned int len = seg->cookie_len + (seg->opts & TCP_OPT_TFO_EXP ? 4 : 2);

	return (len + 3) & ~3u;
}

/* Bytes of options besides SACK blocks. */
static unsigned int opts_fixed_len(const struct tcp_seg *seg)
{
	unsigned int len = 0;

	if (seg->opts & TCP_OPT_MSS)
		len += 4;
	if (seg->opts & TCP_OPT_TS)
		len += 12;
	else if (seg->opts & TCP_OPT_SACK_OK)
		len += 4;
	if (seg->opts & TCP_OPT_WS)
		len += 4;
	if (seg->opts & TCP_OPT_TFO)
		len += tfo_len(seg);
	return len;
}

static unsigned int sack_fit(const struct tcp_seg *seg, unsigned int fixed)
{
	unsigned int room = TCP_HDR_LEN_MAX - TCP_HDR_LEN - fixed;

	if (!(seg->opts & TCP_OPT_SACK) || room < 12)
		return 0;
	return BASE_MIN((room - 4) / 8, (unsigned int)seg->nsack);
}

unsigned int wire_tcp_hdr_len(const struct tcp_seg *seg)
{
	unsigned int fixed = opts_fixed_len(seg);
	unsigned int blocks = sack_fit(seg, fixed);

	return TCP_HDR_LEN + fixed + (blocks ? 4 + 8 * blocks : 0);
}

static uint8_t *emit_ts(const struct tcp_seg *seg, uint8_t *o)
{
	o[0] = seg->opts & TCP_OPT_SACK_OK ? KIND_SACK_OK : KIND_NOP;
	o[1] = seg->opts & TCP_OPT_SACK_OK ? 2 : KIND_NOP;
	o[2] = KIND_TS;
	o[3] = 10;
	base_be32_put(o + 4, seg->tsval);
	base_be32_put(o + 8, seg->tsecr);
	return o + 12;
}

static uint8_t *emit_tfo(const struct tcp_seg *seg, uint8_t *o)
{
	unsigned int padded = tfo_len(seg);
	uint8_t *p = o;

	memset(o, KIND_NOP, padded);
	if (seg->opts & TCP_OPT_TFO_EXP) {
		p[0] = KIND_EXP;
		p[1] = (uint8_t)(4 + seg->cookie_len);
		base_be16_put(p + 2, EXP_TFO_MAGIC);
		p += 4;
	} else {
		p[0] = KIND_TFO;
		p[1] = (uint8_t)(2 + seg->cookie_len);
		p += 2;
	}
	memcpy(p, seg->cookie, seg->cookie_len);
	return o + padded;
}

static uint8_t *emit_sack(const struct tcp_seg *seg, unsigned int blocks, uint8_t *o)
{
	o[0] = KIND_NOP;
	o[1] = KIND_NOP;
	o[2] = KIND_SACK;
	o[3] = (uint8_t)(2 + 8 * blocks);
	o += 4;
	for (unsigned int i = 0; i < blocks; i++, o += 8) {
		base_be32_put(o, seg->sack[i].left);
		base_be32_put(o + 4, seg->sack[i].right);
	}
	return o;
}

static uint8_t *emit_syn_opts(const struct tcp_seg *seg, uint8_t *o)
{
	if (seg->opts & TCP_OPT_MSS) {
		o[0] = KIND_MSS;
		o[1] = 4;
		base_be16_put(o + 2, seg->mss);
		o += 4;
	}
	if (seg->opts & TCP_OPT_TS) {
		o = emit_ts(seg, o);
	} else if (seg->opts & TCP_OPT_SACK_OK) {
		base_be32_put(o, KIND_NOP << 24 | KIND_NOP << 16 | KIND_SACK_OK << 8 | 2);
		o += 4;
	}
	if (seg->opts & TCP_OPT_WS) {
		base_be32_put(o, (uint32_t)(KIND_NOP << 24 | KIND_WS << 16 | 3 << 8) | seg->ws);
		o += 4;
	}
	return seg->opts & TCP_OPT_TFO ? emit_tfo(seg, o) : o;
}

static uint8_t *emit_opts(const struct tcp_seg *seg, uint8_t *o)
{
	unsigned int blocks = sack_fit(seg, opts_fixed_len(seg));

	o = emit_syn_opts(seg, o);
	return blocks ? emit_sack(seg, blocks, o) : o;
}

unsigned int wire_tcp_emit(const struct tcp_seg *seg, uint8_t *hdr)
{
	uint8_t *end = hdr + TCP_HDR_LEN;

	if (seg->opts == TCP_OPT_TS)
		end = emit_ts(seg, end);
	else if (seg->opts)
		end = emit_opts(seg, end);
	base_be16_put(hdr, seg->sport);
	base_be16_put(hdr + 2, seg->dport);
	base_be32_put(hdr + 4, seg->seq);
	base_be32_put(hdr + 8, seg->ack);
	hdr[12] = (uint8_t)((end - hdr) / 4 << 4);
	hdr[13] = seg->flags;
	base_be16_put(hdr + 14, seg->wnd);
	base_be16_put(hdr + CSUM_AT, 0);
	base_be16_put(hdr + 18, seg->urg);
	return (unsigned int)(end - hdr);
}

void wire_tcp_csum_set(uint8_t *hdr, unsigned int hdr_len, const void *payload, uint32_t len,
		       const union wire_addr *src, const union wire_addr *dst)
{
	uint64_t sum = wire_csum_pseudo(src, dst, WIRE_PROTO_TCP, hdr_len + len);
	uint16_t csum;

	sum = wire_csum_add(sum, hdr, hdr_len);
	csum = wire_csum_fold(wire_csum_add(sum, payload, len));
	memcpy(hdr + CSUM_AT, &csum, sizeof(csum));
}

void wire_tcp_csum_offload(uint8_t *hdr, unsigned int hdr_len, uint32_t len,
			   const union wire_addr *src, const union wire_addr *dst)
{
	uint16_t csum = (uint16_t)~wire_csum_fold(
		wire_csum_pseudo(src, dst, WIRE_PROTO_TCP, hdr_len + len));

	memcpy(hdr + CSUM_AT, &csum, sizeof(csum));
}
