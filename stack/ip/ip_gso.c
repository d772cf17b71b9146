/* ip_gso.c - cutting and merging as a device with TSO and LRO would */
#include "stack/ip/ip_gso.h"

#include "stack/base/base_bytes.h"
#include "stack/base/base_check.h"
#include "stack/wire/wire_csum.h"
#include "stack/wire/wire_ip4.h"

#define GRO_BYTES_MAX 65535u

void ip_gso_start(struct ip_gso *g, const struct wire_frame_out *frame)
{
	*g = (struct ip_gso){ .frame = frame };
}

static void gso_runs(struct ip_gso *g, struct wire_frame_out *piece, uint32_t len)
{
	piece->niov = 0;
	piece->len = len;
	while (len) {
		const struct wire_tcp_iov *from = &g->frame->iov[g->iov];
		uint32_t n = BASE_MIN(len, from->len - g->skip);

		piece->iov[piece->niov++] = (struct wire_tcp_iov){ .data = from->data + g->skip,
								   .len = n,
								   .owner = from->owner };
		len -= n;
		g->skip += n;
		if (g->skip == from->len) {
			g->iov++;
			g->skip = 0;
		}
	}
}

static void gso_addresses(const struct wire_frame_out *f, union wire_addr *src,
			  union wire_addr *dst)
{
	const uint8_t *l3 = f->hdr + f->l3_at;

	if (l3[0] >> 4 == 4) {
		*src = wire_addr_v4_bytes(l3 + 12);
		*dst = wire_addr_v4_bytes(l3 + 16);
	} else {
		*src = wire_addr_v6_bytes(l3 + 8);
		*dst = wire_addr_v6_bytes(l3 + 24);
	}
}

static void gso_csum(struct wire_frame_out *f, bool csum)
{
	uint8_t *tcp = f->hdr + f->l4_at;
	union wire_addr src, dst;

	gso_addresses(f, &src, &dst);
	if (!csum) {
		wire_tcp_csum_offload(tcp, f->l4_len, f->len, &src, &dst);
		return;
	}
	base_be16_put(tcp + WIRE_TCP_CSUM_AT, 0);
	wire_tcp_csum_runs(tcp, f->l4_len, f->iov, f->niov, f->len, &src, &dst);
	f->flags &= (uint8_t)~WIRE_FRAME_TCP_CSUM;
}

/* FIN and PSH belong to the last packet, CWR to the first (RFC 3168 6.1.2). */
static void gso_headers(const struct ip_gso *g, struct wire_frame_out *piece)
{
	const struct wire_frame_out *f = g->frame;
	uint8_t *l3 = piece->hdr + f->l3_at, *l4 = piece->hdr + f->l4_at;
	bool last = g->at + piece->len == f->len;

	if (l3[0] >> 4 == 4)
		wire_ip4_len_set(l3, (uint16_t)(WIRE_IP4_LEN + f->l4_len + piece->len));
	else
		base_be16_put(l3 + 4, (uint16_t)(f->l4_len + piece->len));
	base_be32_put(l4 + 4, base_be32_get(l4 + 4) + g->at);
	if (!last)
		l4[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (g->at)
		l4[13] &= (uint8_t)~TCP_CWR;
}

bool ip_gso_next(struct ip_gso *g, struct wire_frame_out *piece, bool csum)
{
	const struct wire_frame_out *f = g->frame;
	uint32_t len = f->gso_size ? BASE_MIN(f->gso_size, f->len - g->at) : f->len;

	if (g->at == f->len && (f->len || g->iov))
		return false;
	memcpy(piece, f, offsetof(struct wire_frame_out, iov));
	memcpy(piece->hdr, f->hdr, f->hdr_len);
	if (!f->len)
		g->iov = 1; /* an empty frame is given once */
	gso_runs(g, piece, len);
	if (f->gso_size) {
		piece->gso_size = 0;
		gso_headers(g, piece);
	}
	if (f->flags & WIRE_FRAME_TCP_CSUM && (csum || f->gso_size))
		gso_csum(piece, csum);
	g->at += len;
	return true;
}

bool ip_gro_first(const struct wire_tcp *seg)
{
	return seg->len && (seg->flags & ~TCP_PSH) == TCP_ACK &&
	       (seg->opts == 0 || seg->opts == TCP_OPT_TS);
}

static bool gro_same_header(const struct wire_tcp *a, const struct wire_tcp *b)
{
	if (a->ack != b->ack || a->wnd != b->wnd || a->opts != b->opts || a->ecn != b->ecn)
		return false;
	return !(a->opts & TCP_OPT_TS) || (a->tsval == b->tsval && a->tsecr == b->tsecr);
}

bool ip_gro_join(struct wire_tcp *held, const struct wire_tcp *seg)
{
	uint32_t each = held->gso_size ? held->gso_size : held->len;

	/* A short packet or a push ends the train: what follows waits for its own turn. */
	if (held->flags & TCP_PSH || held->len % each || !ip_gro_first(seg) || seg->len > each)
		return false;
	if (seg->seq != held->seq + held->len || !gro_same_header(held, seg))
		return false;
	if (held->niov + seg->niov > WIRE_TCP_IOV_MAX || held->len + seg->len > GRO_BYTES_MAX)
		return false;
	memcpy(&held->iov[held->niov], seg->iov, seg->niov * sizeof(seg->iov[0]));
	held->niov += seg->niov;
	held->len += seg->len;
	held->flags |= seg->flags;
	held->gso_size = (uint16_t)each;
	return true;
}
