/* tcp_open_test.c - SYN options, initial numbers, Fast Open of a client */
#include "tests/unit/stack/tcp/tcp_fix.h"

static struct fix *fresh(struct fix_opt o)
{
	struct fix *f = malloc(sizeof(*f));

	cr_assert_not_null(f);
	fix_init(f, o);
	return f;
}

Test(tcp_open, syn__offers_everything)
{
	struct fix *f = fresh((struct fix_opt){ .ecn = true });
	struct wire_tcp *w;

	fix_connect(f);
	w = next_tx(f);
	cr_assert_eq(w->flags, TCP_SYN | TCP_ECE | TCP_CWR);
	cr_assert_eq(w->opts, TCP_OPT_MSS | TCP_OPT_WSCALE | TCP_OPT_SACK_OK | TCP_OPT_TS);
	cr_assert_eq(w->mss, FIX_MSS);
	cr_assert_eq(w->wnd, 60000);
	fix_end(f);
}

Test(tcp_open, syn__without_ecn_when_it_was_lost)
{
	struct fix *f = fresh((struct fix_opt){ .ecn = true });

	fix_connect(f);
	drop_tx(f);
	tick(f, S(1));
	cr_assert_eq(next_tx(f)->flags, TCP_SYN);
	fix_end(f);
}

Test(tcp_open, options__only_what_both_want)
{
	struct fix *f = fix_established(.no_sack = true);

	cr_assert_not(tcp_is(&f->t, TCP_F_SACK));
	cr_assert_not(tcp_is(&f->t, TCP_F_TS));
	cr_assert_eq(f->t.rcv_wscale, 0);
	fix_end(f);
}

Test(tcp_open, mss__is_the_smallest_of_all_limits)
{
	struct fix *f = fresh((struct fix_opt){ 0 });

	tcp_opt_set(&f->t, TCP_OPT_SET_MAXSEG, 700, f->now);
	fix_connect(f);
	cr_assert_eq(next_tx(f)->mss, 700);
	rx(f, SEG(.seq = (uint32_t)-1, .flags = TCP_SYN, .opts = TCP_OPT_MSS, .mss = 600));
	cr_assert_eq(f->t.mss, 600);
	cr_assert_eq(tcp_opt_set(&f->t, TCP_OPT_SET_MAXSEG, 500, f->now), -EISCONN);
	drop_tx(f);
	fix_end(f);
}

/* What is sent to a peer at @remote that does not say what it takes. */
static uint16_t mss_unsaid(union wire_addr remote)
{
	struct fix *f = fresh((struct fix_opt){ 0 });
	uint16_t mss;

	f->id.remote = remote;
	cr_assert_eq(tcp_connect(&f->t, &f->id, 1440, f->now), 0);
	mss = f->t.peer_mss;
	tcp_abort(&f->t, f->now);
	fix_end(f);
	return mss;
}

Test(tcp_open, mss__is_536_or_1220_when_the_peer_is_silent)
{
	cr_assert_eq(mss_unsaid(wire_addr_v4(0x0a000002)), 536);
	cr_assert_eq(mss_unsaid((union wire_addr){ .b = { 0xfd, [15] = 2 } }), 1220);
}

Test(tcp_open, cwnd__is_one_segment_when_the_syn_was_lost)
{
	struct fix *f = fresh((struct fix_opt){ 0 });

	fix_connect(f);
	tick(f, MS(1500));
	drop_tx(f);
	rx(f, SEG(.seq = (uint32_t)-1, .flags = TCP_SYN, .opts = TCP_OPT_MSS, .mss = 1000));
	cr_assert_eq(f->t.cc.cwnd, 1000);
	cr_assert_eq(tcp_rto_us(&f->t), 3000000); /* RFC 6298 5.7 */
	drop_tx(f);
	fix_end(f);
}

Test(tcp_open, isn__differs_by_flow_and_key_and_moves_with_time)
{
	struct fix *f = fresh((struct fix_opt){ 0 });
	struct wire_flow other = f->id;
	uint32_t a = tcp_isn(&f->env, &f->id, S(1)), b;

	cr_assert_eq(tcp_isn(&f->env, &f->id, S(1) + US(400)), a + 100); /* every 4 us */
	other.rport++;
	b = tcp_isn(&f->env, &other, S(1));
	cr_assert_neq(a, b);
	f->env.key.k0++;
	cr_assert_neq(tcp_isn(&f->env, &f->id, S(1)), a);
	fix_end(f);
}

/* A client with a cookie and 100 bytes queued. */
static struct fix *tfo_client(void)
{
	static const uint8_t cookie[8] = "cookie!";
	struct fix *f = fresh((struct fix_opt){ 0 });
	struct wire_tcp *w;

	cr_assert_eq(tcp_tfo_use(&f->t, cookie, 8), 0);
	cr_assert_eq(fix_app_sends(f, 100), 100);
	fix_connect(f);
	w = next_tx(f);
	cr_assert_eq(w->len, 100);
	cr_assert(w->flags & TCP_SYN && w->opts & TCP_OPT_TFO && w->tfo_len == 8);
	return f;
}

Test(tcp_open, fast_open__data_in_the_syn_is_acknowledged)
{
	struct fix *f = tfo_client();

	rx(f, SEG(.seq = (uint32_t)-1, .ack = 100, .flags = TCP_SYN, .opts = TCP_OPT_MSS,
		  .mss = 1000));
	expect_tx(f, SEG(.seq = 100, .ack = 0));
	cr_assert_eq(f->refs, 0);
	cr_assert_eq(f->cnt.n[CNT_tcp_tfo_out], 1);
	fix_end(f);
}

Test(tcp_open, fast_open__data_refused_goes_again_at_once)
{
	struct fix *f = tfo_client();

	rx(f,
	   SEG(.seq = (uint32_t)-1, .ack = 0, .flags = TCP_SYN, .opts = TCP_OPT_MSS, .mss = 1000));
	expect_tx(f, SEG(.seq = 0, .ack = 0, .len = 100));
	rx(f, SEG(.ack = 100));
	cr_assert_eq(f->refs, 0);
	fix_end(f);
}

Test(tcp_open, fast_open__a_lost_syn_is_repeated_plain)
{
	struct fix *f = tfo_client();
	struct wire_tcp *w;

	tick(f, S(1));
	w = next_tx(f);
	cr_assert_eq(w->len, 0);
	cr_assert_not(w->opts & TCP_OPT_TFO);
	fix_end(f);
}

Test(tcp_open, fast_open__cookies_of_illegal_length_are_refused)
{
	struct fix *f = fresh((struct fix_opt){ 0 });
	const uint8_t cookie[WIRE_TCP_TFO_MAX] = { 0 };

	cr_assert_eq(tcp_tfo_use(&f->t, cookie, 3), -EINVAL);
	cr_assert_eq(tcp_tfo_use(&f->t, cookie, 5), -EINVAL);
	cr_assert_eq(tcp_tfo_use(&f->t, cookie, 0), 0); /* asks for one */
	fix_end(f);
}
