/* tcp_listen_test.c - listeners: limits, children, SYN cookies, Fast Open, stray segments */
#include "tests/unit/stack/tcp/tcp_fix.h"

#define PEER 7000u

struct world {
	struct fix f; /* its environment and clock */
	struct tcb child[8];
	unsigned n;
	struct wire_tcp out; /* last reply or output */
	enum counter why;
};

static struct world *world_new(uint32_t backlog, uint32_t syn_max)
{
	struct world *w = calloc(1, sizeof(*w));

	cr_assert_not_null(w);
	fix_init(&w->f, (struct fix_opt){ 0 });
	tcp_listen_init(&w->f.l, &w->f.env, backlog, syn_max);
	return w;
}

static void world_end(struct world *w)
{
	for (unsigned i = 0; i < w->n; i++)
		tcp_free(&w->child[i]);
	cr_assert_eq(w->f.l.n_syn, 0);
	cr_assert_eq(w->f.l.n_ready, 0);
	cr_assert_eq(w->f.l.n_tfo, 0);
	for (unsigned k = 0; k < TCP_MEM_COUNT; k++) {
		void *b;

		cr_assert_eq(w->f.env.pool.used[k], 0);
		while ((b = w->f.env.pool.free[k])) {
			w->f.env.pool.free[k] = *(void **)b;
			free(b);
		}
	}
	free(w);
}

static struct wire_tcp syn(void)
{
	return (struct wire_tcp){ .seq = PEER,
				  .flags = TCP_SYN,
				  .wnd = 1000,
				  .mss = 1460,
				  .wscale = 7,
				  .opts = TCP_OPT_MSS | TCP_OPT_WSCALE | TCP_OPT_SACK_OK |
					  TCP_OPT_TS,
				  .tsval = 1 };
}

static struct wire_tcp ack_of(const struct wire_tcp *synack)
{
	return (struct wire_tcp){ .seq = PEER + 1,
				  .ack = synack->seq + 1,
				  .flags = TCP_ACK,
				  .wnd = 1000,
				  .opts = TCP_OPT_TS,
				  .tsval = 2,
				  .tsecr = synack->tsval };
}

static enum tcp_listen_verdict arrive(struct world *w, struct wire_tcp *seg)
{
	enum tcp_listen_verdict v = tcp_listen_input(&w->f.l, seg, &w->f.id, 1460, w->f.now,
						     &w->why, &w->out);

	if (v == TCP_LISTEN_CREATE) {
		struct tcb *t = &w->child[w->n++];

		w->why = tcp_listen_open(&w->f.l, t, seg, &w->f.id, 1460, NULL, w->f.now);
		tcp_output(t, &w->out, 1, w->f.now);
	}
	return v;
}

static enum counter to_child(struct world *w, unsigned i, struct wire_tcp *seg)
{
	enum counter why = tcp_input(&w->child[i], seg, w->f.now);

	tcp_output(&w->child[i], &w->out, 1, w->f.now);
	return why;
}

Test(tcp_listen, handshake__makes_a_child)
{
	struct world *w = world_new(2, 2);
	struct wire_tcp seg = syn();

	cr_assert_eq(arrive(w, &seg), TCP_LISTEN_CREATE);
	cr_assert_eq(w->out.flags, TCP_SYN | TCP_ACK);
	cr_assert_eq(w->out.ack, PEER + 1);
	cr_assert_eq(w->f.l.n_syn, 1);
	seg = ack_of(&w->out);
	cr_assert_eq(to_child(w, 0, &seg), CNT_none);
	cr_assert_eq(tcp_state(&w->child[0]), TCP_ST_ESTABLISHED);
	cr_assert_eq(w->f.l.n_syn, 0);
	cr_assert_eq(w->f.l.n_ready, 1);
	cr_assert_eq(w->child[0].snd_wnd, 1000u << 7);
	cr_assert_eq(w->child[0].mss, 1448);
	tcp_listen_accepted(&w->child[0]);
	cr_assert_eq(w->f.l.n_ready, 0);
	world_end(w);
}

/* RFC 6191, RFC 9293 3.4.3: whatever the clock says, no number of the old connection comes again. */
Test(tcp_listen, time_wait__the_new_connection_begins_beyond_the_old_one)
{
	struct world *w = world_new(4, 4);
	struct tcb old, *t;
	struct wire_tcp seg = syn();
	uint32_t plain;

	cr_assert_eq(arrive(w, &seg), TCP_LISTEN_CREATE);
	plain = w->out.seq;
	for (int32_t ahead = -1000; ahead <= 1000; ahead += 500) {
		seg = syn();
		old = (struct tcb){ .state = TCP_ST_TIME_WAIT, .snd_nxt = plain + (uint32_t)ahead };
		t = &w->child[w->n++];
		w->why = tcp_listen_open(&w->f.l, t, &seg, &w->f.id, 1460, &old, w->f.now);
		cr_assert_eq(tcp_output(t, &w->out, 1, w->f.now), 1);
		cr_expect(seq_gt(w->out.seq, old.snd_nxt), "%d ahead", ahead);
		cr_expect(ahead >= 0 || w->out.seq == plain);
	}
	world_end(w);
}

Test(tcp_listen, backlog__full_ignores_the_last_ack_and_new_syns)
{
	struct world *w = world_new(1, 4);
	struct wire_tcp seg = syn(), last[2];

	for (unsigned i = 0; i < 2; i++) {
		seg = syn();
		cr_assert_eq(arrive(w, &seg), TCP_LISTEN_CREATE);
		last[i] = ack_of(&w->out);
	}
	cr_assert_eq(to_child(w, 0, &last[0]), CNT_none);
	cr_assert_eq(to_child(w, 1, &last[1]), CNT_tcp_accept_full);
	cr_assert_eq(tcp_state(&w->child[1]), TCP_ST_SYN_RCVD);
	seg = syn();
	cr_assert_eq(arrive(w, &seg), TCP_LISTEN_DROP);
	cr_assert_eq(w->why, CNT_tcp_listen_accept_full);
	tcp_listen_accepted(&w->child[0]);
	cr_assert_eq(to_child(w, 1, &last[1]), CNT_none); /* the peer tries again */
	cr_assert_eq(tcp_state(&w->child[1]), TCP_ST_ESTABLISHED);
	world_end(w);
}

Test(tcp_listen, syn_rcvd__syn_again_sends_the_syn_ack_again)
{
	struct world *w = world_new(1, 1);
	struct wire_tcp seg = syn();
	uint32_t iss;

	arrive(w, &seg);
	iss = w->out.seq;
	seg = syn();
	cr_assert_eq(to_child(w, 0, &seg), CNT_tcp_syn_again);
	cr_assert_eq(w->out.flags, TCP_SYN | TCP_ACK);
	cr_assert_eq(w->out.seq, iss);
	world_end(w);
}

Test(tcp_listen, syn_rcvd__rst_returns_to_listening)
{
	struct world *w = world_new(1, 1);
	struct wire_tcp seg = syn();

	arrive(w, &seg);
	seg = (struct wire_tcp){ .seq = PEER + 1, .flags = TCP_RST };
	to_child(w, 0, &seg);
	cr_assert_eq(tcp_state(&w->child[0]), TCP_ST_CLOSED);
	cr_assert_eq(tcp_error(&w->child[0]), 0);
	cr_assert_eq(w->f.l.n_syn, 0);
	world_end(w);
}

Test(tcp_listen, cookies__a_full_syn_queue_keeps_nothing)
{
	struct world *w = world_new(4, 1);
	struct wire_tcp seg = syn();

	arrive(w, &seg);
	for (int i = 0; i < 1000; i++) {
		seg = syn();
		seg.seq += 1000u * (unsigned)i;
		cr_assert_eq(arrive(w, &seg), TCP_LISTEN_REPLY);
	}
	cr_assert_eq(w->n, 1);
	cr_assert_eq(w->f.l.n_syn, 1);
	world_end(w);
}

Test(tcp_listen, cookies__carry_mss_scale_sack_and_time)
{
	struct world *w = world_new(4, 4);
	struct wire_tcp seg = syn();
	const struct tcb *t = &w->child[0];

	w->f.l.cookies = TCP_COOKIES_ALWAYS;
	cr_assert_eq(arrive(w, &seg), TCP_LISTEN_REPLY);
	seg = ack_of(&w->out);
	cr_assert_eq(arrive(w, &seg), TCP_LISTEN_CREATE);
	cr_assert_eq(tcp_state(t), TCP_ST_ESTABLISHED);
	cr_assert_eq(t->peer_mss, 1460);
	cr_assert_eq(t->snd_wscale, 7);
	cr_assert(tcp_is(t, TCP_F_SACK));
	cr_assert(tcp_is(t, TCP_F_TS));
	cr_assert_eq(w->f.cnt.n[CNT_tcp_cookie_ok], 1);
	world_end(w);
}

Test(tcp_listen, cookies__forged_or_stale_ones_are_refused)
{
	struct world *w = world_new(4, 4);
	struct wire_tcp seg = syn(), good;

	w->f.l.cookies = TCP_COOKIES_ALWAYS;
	arrive(w, &seg);
	good = ack_of(&w->out);
	for (uint32_t bit = 0; bit < 32; bit++) {
		seg = good;
		seg.ack = (seg.ack - 1) ^ (1u << bit);
		seg.ack++;
		cr_assert_neq(arrive(w, &seg), TCP_LISTEN_CREATE, "bit %u", bit);
	}
	w->f.now += S(200);
	seg = good;
	cr_assert_eq(arrive(w, &seg), TCP_LISTEN_DROP);
	cr_assert_eq(w->why, CNT_tcp_cookie_bad);
	cr_assert_eq(w->n, 0);
	world_end(w);
}

Test(tcp_listen, fast_open__asked_granted_used)
{
	struct world *w = world_new(4, 4);
	struct wire_tcp seg = syn();
	uint8_t cookie[8];
	static const uint8_t bytes[5];

	w->f.env.cfg.tfo_server = true;
	w->f.l.tfo_max = 2;
	seg.opts |= TCP_OPT_TFO; /* a request */
	arrive(w, &seg);
	cr_assert(w->out.opts & TCP_OPT_TFO);
	cr_assert_eq(w->out.tfo_len, 8);
	memcpy(cookie, w->out.tfo, 8);

	seg = syn();
	seg.opts |= TCP_OPT_TFO;
	seg.tfo_len = 8;
	memcpy(seg.tfo, cookie, 8);
	seg.len = 5;
	seg.niov = 1;
	seg.iov[0] = (struct wire_tcp_iov){ bytes, 5, NULL };
	cr_assert_eq(arrive(w, &seg), TCP_LISTEN_CREATE);
	cr_assert_eq(tcp_readable(&w->child[1]), 5);
	cr_assert(tcp_events_take(&w->child[1]) & TCP_EV_CONNECTED);
	cr_assert_eq(w->out.ack, PEER + 6);
	cr_assert_eq(w->f.l.n_tfo, 1);

	/* The SYN-ACK was lost: the client repeats the SYN alone (RFC 7413 4.2.2), and need not wait for our timer. */
	seg = syn();
	w->out = (struct wire_tcp){ 0 };
	cr_assert_eq(to_child(w, 1, &seg), CNT_tcp_syn_again);
	cr_assert_eq(w->out.flags, TCP_SYN | TCP_ACK);
	cr_assert_eq(w->out.ack, PEER + 6);

	seg.opts |= TCP_OPT_TFO;
	seg.tfo_len = 8;
	memcpy(seg.tfo, cookie, 8);
	seg.len = 5;
	seg.niov = 1;
	seg.iov[0] = (struct wire_tcp_iov){ bytes, 5, NULL };
	seg.tfo[0] ^= 1; /* a wrong cookie: an ordinary handshake */
	seg.seq = PEER;
	seg.flags = TCP_SYN;
	cr_assert_eq(arrive(w, &seg), TCP_LISTEN_CREATE);
	cr_assert_eq(tcp_readable(&w->child[2]), 0);
	cr_assert_eq(w->out.ack, PEER + 1);
	world_end(w);
}

Test(tcp_listen, stray__ack_gets_rst_rst_gets_nothing)
{
	struct world *w = world_new(1, 1);
	struct wire_tcp seg = { .seq = 5, .ack = 77, .flags = TCP_ACK };

	cr_assert_eq(arrive(w, &seg), TCP_LISTEN_REPLY);
	cr_assert_eq(w->out.flags, TCP_RST);
	cr_assert_eq(w->out.seq, 77);
	seg.flags = TCP_RST;
	cr_assert_eq(arrive(w, &seg), TCP_LISTEN_DROP);
	cr_assert_eq(w->why, CNT_tcp_listen_rst);
	world_end(w);
}

Test(tcp_listen, closed_port__rst_acknowledges_a_syn)
{
	struct wire_tcp seg = { .seq = 5, .flags = TCP_SYN }, out;

	cr_assert(tcp_reset_reply(&seg, &out));
	cr_assert_eq(out.flags, TCP_RST | TCP_ACK);
	cr_assert_eq(out.ack, 6);
	seg.flags = TCP_RST;
	cr_assert_not(tcp_reset_reply(&seg, &out));
}
