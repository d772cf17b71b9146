/* wire_tcp.c - parse and emit TCP headers
 *
 * Options are laid out as most hosts do, so that 32-bit fields stay aligned and middleboxes meet
 * nothing new: MSS, SACK permitted with timestamps (or two NOPs), window scale, Fast Open, SACK
 * blocks last because they take what room is left.
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
	NOP_NOP_TS = KIND_NOP << 24 | KIND_NOP << 16 | KIND_TS << 8 | 10,
};

static enum counter opt_mss(const uint8_t *o, unsigned int len, struct wire_tcp *seg)
{
	if (len != 4)
		return CNT_wire_tcp_options;
	seg->mss = base_be16_get(o + 2);
	seg->opts |= TCP_OPT_MSS;
	return CNT_none;
}

static enum counter opt_ws(const uint8_t *o, unsigned int len, struct wire_tcp *seg)
{
	if (len != 3)
		return CNT_wire_tcp_options;
	seg->wscale = BASE_MIN(o[2], WIRE_TCP_WSCALE_MAX);
	seg->opts |= TCP_OPT_WSCALE;
	return CNT_none;
}

static enum counter opt_sack_ok(unsigned int len, struct wire_tcp *seg)
{
	if (len != 2)
		return CNT_wire_tcp_options;
	seg->opts |= TCP_OPT_SACK_OK;
	return CNT_none;
}

/* SACK is advice (RFC 2018 8): a block list that cannot be read is as good as none. */
static enum counter opt_sack(const uint8_t *o, unsigned int len, struct wire_tcp *seg)
{
	unsigned int n = (len - 2) / 8;

	if ((len - 2) % 8 || n == 0 || n > WIRE_TCP_SACK_MAX)
		return CNT_none;
	for (unsigned int i = 0; i < n; i++) {
		seg->sack[i].left = base_be32_get(o + 2 + 8 * i);
		seg->sack[i].right = base_be32_get(o + 6 + 8 * i);
	}
	seg->nsack = (uint8_t)n;
	seg->opts |= TCP_OPT_SACK;
	return CNT_none;
}

static enum counter opt_ts(const uint8_t *o, unsigned int len, struct wire_tcp *seg)
{
	if (len != 10)
		return CNT_wire_tcp_options;
	seg->tsval = base_be32_get(o + 2);
	seg->tsecr = base_be32_get(o + 6);
	seg->opts |= TCP_OPT_TS;
	return CNT_none;
}

/* RFC 7413 4.1.1: a cookie of an illegal length is ignored like an unknown option. */
static enum counter opt_tfo(const uint8_t *cookie, unsigned int len, struct wire_tcp *seg)
{
	if (len && (len < 4 || len > WIRE_TCP_TFO_MAX || len % 2))
		return CNT_none;
	memcpy(seg->tfo, cookie, len);
	seg->tfo_len = (uint8_t)len;
	seg->opts |= TCP_OPT_TFO;
	return CNT_none;
}

static enum counter opt_one(const uint8_t *o, unsigned int len, struct wire_tcp *seg)
{
	switch (o[0]) {
	case KIND_MSS: return seg->opts & TCP_OPT_MSS ? CNT_none : opt_mss(o, len, seg);
	case KIND_WS: return seg->opts & TCP_OPT_WSCALE ? CNT_none : opt_ws(o, len, seg);
	case KIND_SACK_OK: return opt_sack_ok(len, seg);
	case KIND_SACK: return seg->opts & TCP_OPT_SACK ? CNT_none : opt_sack(o, len, seg);
	case KIND_TS: return seg->opts & TCP_OPT_TS ? CNT_none : opt_ts(o, len, seg);
	case KIND_TFO: return seg->opts & TCP_OPT_TFO ? CNT_none : opt_tfo(o + 2, len - 2, seg);
	default: return CNT_none;
	}
}

static enum counter opts_parse(const uint8_t *o, unsigned int len, struct wire_tcp *seg)
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
static bool opts_parse_ts_only(const uint8_t *o, unsigned int len, struct wire_tcp *seg)
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

static inline void payload_set(struct wire_tcp *seg, const uint8_t *data, uint32_t len)
{
	seg->len = len;
	seg->niov = len != 0;
	seg->iov[0] = (struct wire_tcp_iov){ .data = data, .len = len };
}

enum counter wire_tcp_parse(const uint8_t *bytes, size_t len, struct wire_tcp *seg)
{
	unsigned int hdr_len;
	enum counter why;

	if (len < WIRE_TCP_HDR_LEN)
		return CNT_wire_tcp_short;
	hdr_len = (bytes[12] >> 4) * 4u;
	if (hdr_len < WIRE_TCP_HDR_LEN || hdr_len > len)
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
	seg->ecn = 0;
	seg->gso_size = 0;
	payload_set(seg, bytes + hdr_len, (uint32_t)(len - hdr_len));
	if (hdr_len == WIRE_TCP_HDR_LEN ||
	    opts_parse_ts_only(bytes + WIRE_TCP_HDR_LEN, hdr_len - WIRE_TCP_HDR_LEN, seg))
		return CNT_none;
	return opts_parse(bytes + WIRE_TCP_HDR_LEN, hdr_len - WIRE_TCP_HDR_LEN, seg);
}

bool wire_tcp_csum_ok(const uint8_t *bytes, size_t len, const union wire_addr *src,
		      const union wire_addr *dst)
{
	uint64_t sum = wire_csum_pseudo(src, dst, WIRE_PROTO_TCP, (uint32_t)len);

	return wire_csum_fold(wire_csum_add(sum, bytes, len)) == 0;
}

static unsigned int tfo_len(const struct wire_tcp *seg)
{
	return (seg->tfo_len + 2 + 3) & ~3u;
}

/* Bytes of options besides SACK blocks. */
static unsigned int opts_fixed_len(const struct wire_tcp *seg)
{
	unsigned int len = 0;

	if (seg->opts & TCP_OPT_MSS)
		len += 4;
	if (seg->opts & TCP_OPT_TS)
		len += 12;
	else if (seg->opts & TCP_OPT_SACK_OK)
		len += 4;
	if (seg->opts & TCP_OPT_WSCALE)
		len += 4;
	if (seg->opts & TCP_OPT_TFO)
		len += tfo_len(seg);
	return len;
}

static unsigned int sack_fit(const struct wire_tcp *seg, unsigned int fixed)
{
	unsigned int room = WIRE_TCP_OPT_MAX - fixed;

	if (!(seg->opts & TCP_OPT_SACK) || room < 12)
		return 0;
	return BASE_MIN((room - 4) / 8, (unsigned int)seg->nsack);
}

unsigned int wire_tcp_hdr_len(const struct wire_tcp *seg)
{
	unsigned int fixed = opts_fixed_len(seg);
	unsigned int blocks = sack_fit(seg, fixed);

	return WIRE_TCP_HDR_LEN + fixed + (blocks ? 4 + 8 * blocks : 0);
}

static uint8_t *emit_ts(const struct wire_tcp *seg, uint8_t *o)
{
	o[0] = seg->opts & TCP_OPT_SACK_OK ? KIND_SACK_OK : KIND_NOP;
	o[1] = seg->opts & TCP_OPT_SACK_OK ? 2 : KIND_NOP;
	o[2] = KIND_TS;
	o[3] = 10;
	base_be32_put(o + 4, seg->tsval);
	base_be32_put(o + 8, seg->tsecr);
	return o + 12;
}

static uint8_t *emit_tfo(const struct wire_tcp *seg, uint8_t *o)
{
	unsigned int padded = tfo_len(seg);

	memset(o, KIND_NOP, padded);
	o[0] = KIND_TFO;
	o[1] = (uint8_t)(2 + seg->tfo_len);
	memcpy(o + 2, seg->tfo, seg->tfo_len);
	return o + padded;
}

static uint8_t *emit_sack(const struct wire_tcp *seg, unsigned int blocks, uint8_t *o)
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

static uint8_t *emit_syn_opts(const struct wire_tcp *seg, uint8_t *o)
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
	if (seg->opts & TCP_OPT_WSCALE) {
		base_be32_put(o, (uint32_t)(KIND_NOP << 24 | KIND_WS << 16 | 3 << 8) | seg->wscale);
		o += 4;
	}
	return seg->opts & TCP_OPT_TFO ? emit_tfo(seg, o) : o;
}

static uint8_t *emit_opts(const struct wire_tcp *seg, uint8_t *o)
{
	unsigned int blocks = sack_fit(seg, opts_fixed_len(seg));

	o = emit_syn_opts(seg, o);
	return blocks ? emit_sack(seg, blocks, o) : o;
}

unsigned int wire_tcp_emit(const struct wire_tcp *seg, uint8_t *hdr)
{
	uint8_t *end = hdr + WIRE_TCP_HDR_LEN;

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
	base_be16_put(hdr + WIRE_TCP_CSUM_AT, 0);
	base_be16_put(hdr + 18, seg->urg);
	return (unsigned int)(end - hdr);
}

void wire_tcp_csum_runs(uint8_t *hdr, unsigned int hdr_len, const struct wire_tcp_iov *iov,
			unsigned int niov, uint32_t len, const union wire_addr *src,
			const union wire_addr *dst)
{
	uint64_t sum = wire_csum_pseudo(src, dst, WIRE_PROTO_TCP, hdr_len + len);
	bool odd = false;
	uint16_t csum;

	sum = wire_csum_add(sum, hdr, hdr_len);
	for (unsigned int i = 0; i < niov; i++)
		sum = wire_csum_join(sum, iov[i].data, iov[i].len, &odd);
	csum = wire_csum_fold(sum);
	memcpy(hdr + WIRE_TCP_CSUM_AT, &csum, sizeof(csum));
}

void wire_tcp_csum_set(uint8_t *hdr, unsigned int hdr_len, const struct wire_tcp *seg,
		       const union wire_addr *src, const union wire_addr *dst)
{
	wire_tcp_csum_runs(hdr, hdr_len, seg->iov, seg->niov, seg->len, src, dst);
}
