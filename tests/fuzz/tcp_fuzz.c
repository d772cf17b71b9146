/* tcp_fuzz.c - segments, calls and time from the fuzzer into a connection in any state
 *
 * The first byte names the state, the second the options agreed on; a script of the right segments leads there. Then
 * each step is a segment with numbers near the edges that the code compares, a call, or time. After every step the
 * invariants of tests/sim/sim_check.c must hold, and at the end all memory must be back.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/tcp/tcp_int.h"
#include "tests/sim/sim.h"

#define PEER_ISS 5000u
#define MSS      1460

enum place {
	SYN_SENT,
	SYN_RCVD,
	ESTABLISHED,
	FLIGHT,
	RECOVERY,
	TIMEOUT,
	ZERO_WINDOW,
	ISLANDS,
	FIN_WAIT_1,
	FIN_WAIT_2,
	CLOSE_WAIT,
	CLOSING,
	LAST_ACK,
	TIME_WAIT,
	LISTEN,
	PLACES
};

struct fuzz {
	const uint8_t *p, *end;
	struct tcp_env env;
	struct base_counters counters;
	struct tcp_listener listener;
	struct tcb t;
	struct wire_flow id;
	ztime_t now;
	long refs; /* to buffers, that the machine holds */
	bool open;
};

static uint8_t bytes[70000];

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	(void)s;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	abort();
}

static uint32_t take(struct fuzz *f, unsigned n)
{
	uint32_t v = 0;

	for (; n && f->p < f->end; n--)
		v = v << 8 | *f->p++;
	return v;
}

static void *block_more(void *ctx, enum tcp_mem kind)
{
	void *p = malloc(tcp_mem_size[kind]);

	(void)ctx;
	if (!p)
		abort();
	return p;
}

static void buf_put(void *ctx, void *owner)
{
	(void)owner;
	((struct fuzz *)ctx)->refs--;
}

static void drain(struct fuzz *f)
{
	struct wire_tcp out[8];

	for (int i = 0; i < 200 && f->open && tcp_output(&f->t, out, 8, f->now) == 8; i++)
		;
	tcp_events_take(&f->t);
}

/* What the fuzzer sends belongs to a buffer with one reference, which is given back unless it was kept. */
static void segment_in(struct fuzz *f, struct wire_tcp *s)
{
	enum counter why = CNT_none;
	struct wire_tcp reply;

	if (s->niov)
		f->refs++;
	if (f->open && tcp_state(&f->t) != TCP_ST_CLOSED) {
		why = tcp_input(&f->t, s, f->now);
	} else if (!f->open && tcp_listen_input(&f->listener, s, &f->id, MSS, f->now, &why,
						&reply) == TCP_LISTEN_CREATE) {
		tcp_listen_open(&f->listener, &f->t, s, &f->id, MSS, NULL, f->now);
		f->open = true;
	}
	if (s->niov && s->iov[0].owner)
		f->refs--;
	if (f->open)
		tcp_listen_accepted(&f->t);
	drain(f);
}

/* The right segment: @flags from where the peer is, @len bytes from @off on. */
static void right(struct fuzz *f, uint8_t flags, uint32_t ack, uint32_t off, uint32_t len,
		  uint16_t wnd)
{
	struct wire_tcp s = { .seq = (f->open ? f->t.rcv_nxt : PEER_ISS) + off, .ack = ack };

	s.flags = flags;
	s.wnd = wnd;
	s.len = len;
	s.niov = len != 0;
	s.iov[0] = (struct wire_tcp_iov){ bytes, len, f };
	if (flags & TCP_SYN) {
		s.seq = PEER_ISS;
		s.opts = TCP_OPT_MSS | TCP_OPT_WSCALE | TCP_OPT_SACK_OK | TCP_OPT_TS;
		s.mss = MSS;
		s.wscale = 3;
		s.tsval = 1;
	} else if (f->open && tcp_is(&f->t, TCP_F_TS)) {
		s.opts = TCP_OPT_TS;
		s.tsval = f->t.ts_recent;
		s.tsecr = tcp_tsval(&f->t, f->now);
	}
	segment_in(f, &s);
}

static void send(struct fuzz *f, uint32_t len)
{
	struct wire_tcp_iov iov = { bytes, len, f };

	f->refs++;
	if (tcp_send(&f->t, &iov, 0, f->now) <= 0)
		f->refs--;
	drain(f);
}

static void sack(struct fuzz *f, uint32_t from, uint32_t to)
{
	struct wire_tcp s = {
		.seq = f->t.rcv_nxt, .ack = f->t.snd_una, .flags = TCP_ACK, .wnd = 8000
	};

	s.opts = TCP_OPT_SACK | (tcp_is(&f->t, TCP_F_TS) ? TCP_OPT_TS : 0);
	s.tsval = f->t.ts_recent;
	s.nsack = 1;
	s.sack[0] = (struct wire_tcp_sack){ f->t.snd_una + from, f->t.snd_una + to };
	segment_in(f, &s);
}

static void time_pass(struct fuzz *f, ztime_t d)
{
	f->now += d;
	drain(f);
}

/* ---- the way to each state */

static void way_established(struct fuzz *f)
{
	tcp_connect(&f->t, &f->id, MSS, f->now);
	f->open = true;
	drain(f);
	time_pass(f, ztime_ms(20));
	right(f, TCP_SYN | TCP_ACK, f->t.snd_nxt, 0, 0, 60000);
}

static void way_sending(struct fuzz *f, enum place to)
{
	if (to == ZERO_WINDOW)
		right(f, TCP_ACK, f->t.snd_nxt, 0, 0, 0);
	send(f, 20000);
	if (to == RECOVERY)
		for (uint32_t i = 2; i < 6; i++)
			sack(f, i * 1000, i * 1000 + 1000);
	if (to == TIMEOUT || to == ZERO_WINDOW)
		time_pass(f, ztime_sec(1));
	if (to == TIMEOUT)
		time_pass(f, ztime_sec(3));
}

static void way_closing(struct fuzz *f, enum place to)
{
	if (to == CLOSE_WAIT || to == LAST_ACK)
		right(f, TCP_FIN | TCP_ACK, f->t.snd_nxt, 0, 0, 8000);
	if (to != CLOSE_WAIT) {
		tcp_shutdown_send(&f->t, f->now);
		drain(f);
	}
	if (to == FIN_WAIT_2 || to == TIME_WAIT)
		right(f, TCP_ACK, f->t.snd_nxt, 0, 0, 8000);
	if (to == CLOSING)
		right(f, TCP_FIN | TCP_ACK, f->t.snd_una, 0, 0, 8000);
	if (to == TIME_WAIT)
		right(f, TCP_FIN | TCP_ACK, f->t.snd_nxt, 0, 0, 8000);
}

static void way(struct fuzz *f, enum place to)
{
	if (to == SYN_RCVD) {
		right(f, TCP_SYN, 0, 0, 0, 60000);
	} else if (to == SYN_SENT) {
		tcp_connect(&f->t, &f->id, MSS, f->now);
		f->open = true;
		drain(f);
	} else if (to != LISTEN) {
		way_established(f);
		if (to >= FLIGHT && to <= ZERO_WINDOW)
			way_sending(f, to);
		for (uint32_t i = 1; to == ISLANDS && i < 4; i++)
			right(f, TCP_ACK, f->t.snd_nxt, i * 3000, 1000, 8000);
		if (to >= FIN_WAIT_1)
			way_closing(f, to);
	}
}

/* ---- steps */

static uint32_t near(struct fuzz *f, const uint32_t *edge, unsigned n)
{
	static const int32_t off[16] = { 0,    0,    -1,    1,    2,     100,    -100,    500,
					 1000, 1448, -1448, 1460, 65535, -65535, 1 << 20, 1 << 30 };
	uint32_t b = take(f, 1);

	return edge[(b >> 4) % n] + (uint32_t)off[b & 15];
}

static void options(struct fuzz *f, struct wire_tcp *s)
{
	uint32_t edge[] = { f->t.snd_una, f->t.snd_nxt, f->t.snd_una + f->t.mss };

	s->opts |= (uint8_t)take(f, 1);
	s->mss = (uint16_t)take(f, 2);
	s->wscale = (uint8_t)(take(f, 1) % 15);
	s->tfo_len = (uint8_t)(take(f, 1) % (WIRE_TCP_TFO_MAX + 1));
	s->nsack = (uint8_t)(take(f, 1) % (WIRE_TCP_SACK_MAX + 1));
	for (unsigned i = 0; i < s->nsack; i++) {
		s->sack[i].left = near(f, edge, 3);
		s->sack[i].right = s->sack[i].left + take(f, 1) * 50;
	}
	if (!s->nsack)
		s->opts &= (uint8_t)~TCP_OPT_SACK;
}

static void segment(struct fuzz *f, bool with_options)
{
	uint32_t seqs[] = { f->t.rcv_nxt, f->t.rcv_adv, PEER_ISS },
		 acks[] = { f->t.snd_una, f->t.snd_nxt };
	struct wire_tcp s = { .flags = (uint8_t)take(f, 1) };

	s.seq = near(f, seqs, 3);
	s.ack = near(f, acks, 2);
	s.wnd = (uint16_t)(take(f, 1) << 8);
	s.urg = (uint16_t)(s.wnd >> 5);
	s.ecn = s.wnd >> 8 & 3;
	s.len = take(f, 1) * 16;
	if (f->open && tcp_is(&f->t, TCP_F_TS)) {
		s.opts = TCP_OPT_TS;
		s.tsval = f->t.ts_recent + (uint32_t)(int8_t)take(f, 1);
		s.tsecr = tcp_tsval(&f->t, f->now) - take(f, 1);
	}
	if (with_options)
		options(f, &s);
	s.niov = s.len != 0;
	s.iov[0] = (struct wire_tcp_iov){ bytes, s.len, f };
	segment_in(f, &s);
}

static void read_some(struct fuzz *f, uint32_t n)
{
	struct wire_tcp_iov iov;

	if (n & 1) {
		tcp_recv_done(&f->t, BASE_MIN(n * 64, tcp_readable(&f->t)), f->now);
	} else if (tcp_recv_take(&f->t, &iov, f->now) && iov.owner) {
		f->refs--;
	}
}

static void call(struct fuzz *f)
{
	uint32_t what = take(f, 1), n = take(f, 1);

	switch (what % 10) {
	case 0:
	case 1: send(f, n * 100 + 1); break;
	case 2:
	case 3: read_some(f, n); break;
	case 4: tcp_shutdown_send(&f->t, f->now); break;
	case 5: tcp_close(&f->t, f->now); break;
	case 6: tcp_pmtu(&f->t, (uint16_t)(n * 40), f->t.snd_nxt - (what >> 4), f->now); break;
	case 7: tcp_icmp_error(&f->t, f->t.snd_una, 113, n & 1, f->now); break;
	case 8: tcp_opt_set(&f->t, (enum tcp_opt)(what >> 4), n * 40, f->now); break;
	default:
		if (n < 8)
			tcp_abort(&f->t, f->now);
	}
	drain(f);
}

static void step(struct fuzz *f)
{
	uint32_t what = take(f, 1);

	if (what % 8 < 3)
		segment(f, false);
	else if (what % 8 < 5)
		segment(f, true);
	else if (what % 8 < 7)
		time_pass(f, (ztime_t)take(f, 1) << (what >> 3));
	else if (f->open)
		call(f);
	if (f->open)
		sim_check_tcb(NULL, &f->t);
}

static void start(struct fuzz *f)
{
	uint8_t place = (uint8_t)take(f, 1), bits = (uint8_t)take(f, 1);
	struct tcp_config *cfg = &f->env.cfg;

	tcp_config_defaults(cfg);
	cfg->sack = !(bits & 1);
	cfg->timestamps = !(bits & 2);
	cfg->window_scale = !(bits & 4);
	cfg->ecn = bits & 8;
	cfg->pacing = bits & 16;
	cfg->cc = bits & 32 ? &cc_reno : &cc_cubic;
	cfg->loss = bits & 64 ? &tcp_loss_sack : &tcp_loss_rack;
	cfg->gso_max_bytes = bits & 128 ? 16384 : 0;
	cfg->tfo_server = true;
	f->env.pool.more = block_more;
	f->env.counters = &f->counters;
	f->env.buf_put = buf_put;
	f->env.buf_ctx = f;
	f->env.key = (struct base_hash_key){ 1, 2 };
	f->now = 1000 * ZTIME_SEC;
	f->id.local = wire_addr_v4(0x0a000001);
	f->id.remote = wire_addr_v4(0x0a000002);
	f->id.lport = 80;
	f->id.rport = 1000;
	tcp_listen_init(&f->listener, &f->env, 4, 4);
	f->listener.tfo_max = 2;
	f->listener.cookies = place & 128 ? TCP_COOKIES_ALWAYS : TCP_COOKIES_AUTO;
	tcp_init(&f->t, &f->env);
	way(f, (enum place)(place % 128 % PLACES));
}

static void end(struct fuzz *f)
{
	tcp_free(&f->t);
	for (unsigned k = 0; k < TCP_MEM_COUNT; k++) {
		void *b;

		if (f->env.pool.used[k])
			sim_fail(NULL, "%u blocks of kind %u are lost\n", f->env.pool.used[k], k);
		while ((b = f->env.pool.free[k])) {
			f->env.pool.free[k] = *(void **)b;
			free(b);
		}
	}
	if (f->refs)
		sim_fail(NULL, "%ld references are lost\n", f->refs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { .p = data, .end = data + size };

	start(&f);
	while (f.p < f.end)
		step(&f);
	end(&f);
	return 0;
}
