/* inst_fuzz.c - an instance in every state against frames, segments, fragments, calls and time
 * from the fuzzer
 *
 * The input is a list of steps: a byte that says what, then its arguments. Segments get right
 * checksums and numbers near the connection's own, so that they reach deep; raw frames test the
 * outer layers. At the end all memory must be back.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/base/base_check.h"
#include "stack/wire/wire_icmp.h"
#include "stack/wire/wire_ip4.h"
#include "tests/lib/fuzz_inst.h"

#define CONNS_MAX 8

struct fuzz {
	struct fuzz_inst i;
	struct inst_listener *listener;
	struct inst_conn *conns[CONNS_MAX];
	struct wire_flow flow;     /* of the segments made here */
	uint32_t snd_nxt, rcv_nxt; /* last seen from the instance: its seq end and ack */
	bool brought;              /* events bring what has come */
};

static uint32_t take(struct fuzz *f, unsigned int n)
{
	return fuzz_inst_take(&f->i, n);
}

static void start(struct fuzz *f)
{
	union wire_addr any = wire_addr_v4(0);

	ip_neigh_add(inst_ip(f->i.in), &f->i.them[0], &fuzz_inst_peer, f->i.now);
	if (inst_listen(f->i.in, &any, 80, 4, NULL, &f->listener))
		abort();
	inst_listener_tcp(f->listener)->tfo_max = 2;
	f->flow.local = f->i.us[0];
	f->flow.remote = f->i.them[0];
	f->flow.lport = 80;
	f->flow.rport = 1000;
}

/* Follow the numbers of the connection that the fuzzer talks to. */
static void watch(struct fuzz *f, const struct wire_frame_out *out)
{
	const uint8_t *tcp = out->hdr + out->l4_at;

	if (!out->l4_len)
		return;
	f->snd_nxt = base_be32_get(tcp + 4) + out->len + (tcp[13] & TCP_SYN ? 1u : 0u);
	if (tcp[13] & TCP_ACK)
		f->rcv_nxt = base_be32_get(tcp + 8);
	if (tcp[13] & TCP_SYN && !(tcp[13] & TCP_ACK)) {
		f->flow.lport = base_be16_get(tcp);
		f->flow.rport = base_be16_get(tcp + 2);
	}
}

static void events(struct fuzz *f)
{
	const struct wire_buf_ops buf = inst_pair_buf_ops(&f->i.bufs);
	struct wire_tcp_iov got;
	struct inst_event ev;

	while (!f->brought && inst_event_take(f->i.in, &ev))
		;
	while (f->brought && inst_event_recv(f->i.in, &ev, &got, f->i.now))
		if (got.len && got.owner)
			buf.put(buf.ctx, got.owner);
}

static void settle(struct fuzz *f)
{
	struct wire_frame_out out[8];
	unsigned int n;

	for (int turns = 0; turns < 100 && (n = inst_output(f->i.in, out, 8, f->i.now)) != 0;
	     turns++)
		for (unsigned int i = 0; i < n; i++)
			watch(f, &out[i]);
	events(f);
}

static void frame_in(struct fuzz *f, const uint8_t *data, size_t len)
{
	fuzz_inst_frame(&f->i, data, len);
	settle(f);
}

static void raw_frame(struct fuzz *f)
{
	uint8_t b[256];
	size_t len = take(f, 1), n;

	n = BASE_MIN(len, (size_t)(f->i.end - f->i.p));
	memcpy(b, f->i.p, n);
	f->i.p += n;
	/* Most frames to us: the outer layers are soon learned. */
	if (n >= 14 && b[0] != 0xff)
		memcpy(b, fuzz_inst_mac.b, 6);
	if (n >= 14)
		memcpy(b + 6, fuzz_inst_peer.b, 6);
	frame_in(f, b, n);
}

static size_t packet_put(struct fuzz *f, uint8_t *b, uint8_t proto, size_t len, uint32_t frag)
{
	struct wire_eth eth = { .dst = fuzz_inst_mac,
				.src = fuzz_inst_peer,
				.type = WIRE_ETH_IP4,
				.vlan = WIRE_VLAN_NONE };
	struct wire_ip4 h = { .src = f->flow.remote,
			      .dst = f->flow.local,
			      .ttl = 64,
			      .proto = proto,
			      .total_len = (uint16_t)(20 + len),
			      .id = 7 };

	h.frag_off = (uint16_t)((frag & 0x1f) * 8);
	h.mf = frag & 0x20;
	h.tos = frag >> 6 & 3;
	return wire_eth_emit(&eth, b) + wire_ip4_emit(&h, b + 14);
}

static void options_take(struct fuzz *f, struct wire_tcp *s)
{
	s->opts = (uint8_t)(take(f, 1) & 0x3f);
	s->mss = (uint16_t)take(f, 2);
	s->wscale = (uint8_t)(take(f, 1) % 16);
	s->tsval = take(f, 2);
	s->tsecr = take(f, 2);
	s->nsack = (uint8_t)(take(f, 1) % 5);
	for (unsigned int i = 0; i < s->nsack; i++) {
		s->sack[i].left = f->snd_nxt - take(f, 1) * 100;
		s->sack[i].right = s->sack[i].left + take(f, 1) * 50;
	}
	if (!s->nsack)
		s->opts &= (uint8_t)~TCP_OPT_SACK;
	s->tfo_len = 8;
}

static void segment(struct fuzz *f, bool with_options)
{
	static uint8_t payload[2048];
	struct wire_tcp s = { .sport = f->flow.rport, .dport = f->flow.lport };
	uint8_t b[2300];
	size_t at;

	s.flags = (uint8_t)take(f, 1);
	s.seq = f->rcv_nxt + (uint32_t)(int8_t)take(f, 1) * 20;
	s.ack = f->snd_nxt + (uint32_t)(int8_t)take(f, 1) * 20;
	s.wnd = (uint16_t)take(f, 2);
	s.urg = s.wnd >> 4;
	s.len = take(f, 2) % 1460;
	if (with_options)
		options_take(f, &s);
	s.niov = 1;
	s.iov[0] = (struct wire_tcp_iov){ .data = payload, .len = s.len };
	at = packet_put(f, b, 6, wire_tcp_hdr_len(&s) + s.len, (uint32_t)(s.wnd & 3) << 6);
	wire_tcp_emit(&s, b + at);
	wire_tcp_csum_set(b + at, wire_tcp_hdr_len(&s), &s, &f->flow.remote, &f->flow.local);
	memset(b + at + wire_tcp_hdr_len(&s), 0, s.len);
	frame_in(f, b, at + wire_tcp_hdr_len(&s) + s.len);
}

static void icmp_error(struct fuzz *f)
{
	uint8_t b[128], *m = b + 34;
	struct wire_ip4 q = {
		.src = f->flow.local, .dst = f->flow.remote, .total_len = 1500, .proto = 6
	};
	struct wire_icmp e = { .type = (uint8_t)take(f, 1),
			       .code = (uint8_t)take(f, 1),
			       .word = take(f, 2),
			       .body = m + 8,
			       .body_len = 28 };

	wire_ip4_emit(&q, m + 8);
	base_be16_put(m + 28, f->flow.lport);
	base_be16_put(m + 30, f->flow.rport);
	base_be32_put(m + 32, f->snd_nxt - take(f, 1) * 100);
	packet_put(f, b, 1, 36, 0);
	wire_icmp_emit(&e, NULL, NULL, m);
	frame_in(f, b, 34 + 36);
}

static void fragment(struct fuzz *f)
{
	uint8_t b[300];
	size_t len = take(f, 1), at;

	at = packet_put(f, b, 6, len, take(f, 1));
	for (size_t i = 0; i < len; i++)
		b[at + i] = (uint8_t)take(f, 1);
	frame_in(f, b, at + len);
}

static struct inst_conn **slot(struct fuzz *f, bool want_free)
{
	unsigned int i = take(f, 1) % CONNS_MAX;

	for (unsigned int k = 0; k < CONNS_MAX; k++, i = (i + 1) % CONNS_MAX)
		if (!f->conns[i] == want_free)
			return &f->conns[i];
	return NULL;
}

static void open_one(struct fuzz *f)
{
	struct inst_conn **c = slot(f, true);
	struct wire_flow flow = f->flow;

	if (!c || !(*c = inst_conn_new(f->i.in, NULL)))
		return;
	flow.lport = 0;
	flow.rport = (uint16_t)(take(f, 1) + 1);
	inst_connect(f->i.in, *c, &flow, f->i.now);
}

static void accept_one(struct fuzz *f)
{
	struct inst_conn **c = slot(f, true);

	if (c)
		*c = inst_accept(f->i.in, f->listener, NULL);
}

static void call(struct fuzz *f)
{
	static uint8_t bytes[4096];
	struct inst_conn **c = slot(f, false);
	uint32_t what = take(f, 1), n = take(f, 2) % sizeof(bytes);

	if (!c)
		return;
	switch (what % 8) {
	case 0:
	case 1: inst_send(f->i.in, *c, bytes, n, what >> 6 & 3, f->i.now); break;
	case 2:
	case 3:
		f->brought = what & 1;
		inst_recv(f->i.in, *c, bytes, n, f->i.now);
		break;
	case 4: inst_shutdown(f->i.in, *c, f->i.now); break;
	case 5:
		inst_close(f->i.in, *c, f->i.now);
		*c = NULL;
		break;
	case 6:
		inst_abort(f->i.in, *c, f->i.now);
		*c = NULL;
		break;
	default:
		tcp_opt_set(inst_conn_tcb(*c), what >> 3 & 15, n, f->i.now);
		inst_conn_kick(f->i.in, *c);
	}
}

static void step(struct fuzz *f)
{
	uint32_t what = take(f, 1);

	switch (what % 12) {
	case 0: raw_frame(f); return;
	case 1:
	case 2:
	case 3: segment(f, false); return;
	case 4:
	case 5: segment(f, true); return;
	case 6: icmp_error(f); return;
	case 7: fragment(f); return;
	case 8: what % 24 == 8 ? open_one(f) : accept_one(f); break;
	case 9:
	case 10: call(f); break;
	default: f->i.now += (ztime_t)take(f, 1) << (take(f, 1) % 32);
	}
	settle(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { 0 };

	fuzz_inst_start(&f.i, data, size);
	start(&f);
	while (f.i.p < f.i.end)
		step(&f);
	fuzz_inst_end(&f.i);
	return 0;
}
