/* tcp_output_test.c - what may be sent: windows, Nagle, cork, GSO, pacing, FIN, path MTU */
#include "tests/unit/stack/tcp/tcp_fix.h"

Test(tcp_output, window__is_never_overrun)
{
	struct fix *f = fix_established(.cwnd = 100 * FIX_MSS);

	rx(f, SEG(.wnd = 2500));
	fix_app_sends(f, 10 * FIX_MSS);
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	expect_tx(f, SEG(.seq = 1000, .len = FIX_MSS));
	expect_none(
		f); /* 500 bytes of window are less than a segment and than half the largest window */
	rx(f, SEG(.ack = 2000, .wnd = 2500));
	expect_tx(f, SEG(.seq = 2000, .len = FIX_MSS));
	expect_tx(f, SEG(.seq = 3000, .len = FIX_MSS));
	fix_end(f);
}

Test(tcp_output, silly_window__half_of_the_largest_is_enough)
{
	struct fix *f = fix_established();

	rx(f, SEG(.wnd = 600));
	f->t.max_wnd = 600; /* a peer that never had more */
	fix_app_sends(f, 2 * FIX_MSS);
	expect_tx(f, SEG(.seq = 0, .len = 600));
	fix_end(f);
}

Test(tcp_output, silly_window__a_sliver_is_used_when_nothing_better_comes)
{
	struct fix *f = fix_established();

	rx(f, SEG(.wnd = 300));
	fix_app_sends(f, FIX_MSS);
	expect_none(f);
	tick(f, US(tcp_rto_us(&f->t)) - MS(1));
	expect_none(f);
	tick(f, MS(2)); /* the override timer of RFC 9293 3.8.6.2.1 */
	expect_tx(f, SEG(.seq = 0, .len = 300));
	fix_end(f);
}

Test(tcp_output, nagle__one_short_segment_at_a_time)
{
	struct fix *f = fix_established();

	fix_app_sends(f, 10);
	expect_tx(f, SEG(.seq = 0, .len = 10));
	fix_app_sends(f, 10);
	fix_app_sends(f, 10);
	expect_none(f);
	rx(f, SEG(.ack = 10));
	expect_tx(f, SEG(.seq = 10, .len = 20));
	fix_end(f);
}

Test(tcp_output, nagle__minshall_lets_the_tail_of_a_large_write_go)
{
	struct fix *f = fix_established();

	fix_app_sends(f, FIX_MSS + 10);
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	expect_tx(f, SEG(.seq = 1000, .len = 10));
	fix_end(f);
}

Test(tcp_output, nodelay__sends_every_write)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_NODELAY, 1, f->now);
	fix_app_sends(f, 10);
	fix_app_sends(f, 10);
	expect_tx(f, SEG(.seq = 0, .len = 10));
	expect_tx(f, SEG(.seq = 10, .len = 10));
	fix_end(f);
}

Test(tcp_output, cork__holds_short_segments_for_a_timeout)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_CORK, 1, f->now);
	fix_app_sends(f, FIX_MSS + 10);
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	rx_at(f, MS(10), SEG(.ack = 1000));
	tick(f, US(tcp_rto_us(&f->t)) - MS(1));
	expect_none(f);
	tick(f, MS(2));
	expect_tx(f, SEG(.seq = 1000, .len = 10));
	fix_end(f);
}

Test(tcp_output, cork__pulling_it_sends)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_CORK, 1, f->now);
	fix_app_sends(f, 10);
	expect_none(f);
	tcp_opt_set(&f->t, TCP_OPT_SET_CORK, 0, f->now);
	fix_flush(f);
	expect_tx(f, SEG(.seq = 0, .len = 10));
	fix_end(f);
}

Test(tcp_output, more__waits_for_the_rest)
{
	struct fix *f = fix_established();

	fix_app_sends_flags(f, 10, TCP_SEND_MORE);
	expect_none(f);
	fix_app_sends(f, 10);
	expect_tx(f, SEG(.seq = 0, .len = 20));
	fix_end(f);
}

Test(tcp_output, gso__one_descriptor_for_many_segments)
{
	struct fix *f = fix_established(.gso = 8500, .cwnd = 20 * FIX_MSS);
	struct wire_tcp *w;

	f->env.cfg.gso_min_segs = 8;
	fix_app_sends(f, 10 * FIX_MSS);
	w = next_tx(f);
	cr_assert_eq(w->len, 8 * FIX_MSS); /* whole segments */
	cr_assert_eq(w->gso_size, FIX_MSS);
	expect_tx(f, SEG(.seq = 8000, .len = 2 * FIX_MSS));
	rx(f, SEG(.ack = 0, .sack = { { 1000, 8000 } })); /* the first of the eight is lost */
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	drop_tx(f);
	fix_end(f);
}

Test(tcp_output, pacing__spreads_a_window_over_a_round_trip)
{
	struct fix *f = fix_established(.pacing = true, .cwnd = 10 * FIX_MSS);
	unsigned n;

	fix_app_sends(
		f,
		10 * FIX_MSS); /* 100 ms round trip, twice the window in slow start: 5 ms apart */
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	expect_none(f);
	tick(f, MS(4));
	expect_none(f);
	tick(f, MS(2));
	expect_tx(f, SEG(.seq = 1000, .len = FIX_MSS));
	tick(f, MS(50));
	n = f->n_out - f->i_out;
	cr_assert_eq(n, 8);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_output, fin__rides_on_the_last_bytes)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_CORK, 1, f->now);
	fix_app_sends(f, 10);
	tcp_shutdown_send(&f->t, f->now);
	fix_flush(f);
	expect_tx(f, SEG(.seq = 0, .len = 10, .flags = TCP_FIN));
	expect_state(f, TCP_ST_FIN_WAIT_1);
	cr_assert_eq(fix_app_sends(f, 1), -EPIPE);
	fix_end(f);
}

Test(tcp_output, urgent__points_past_the_last_byte)
{
	struct fix *f = fix_established();
	struct wire_tcp *w;

	fix_app_sends_flags(f, 10, TCP_SEND_URGENT);
	w = next_tx(f);
	cr_assert(w->flags & TCP_URG);
	cr_assert_eq(w->urg, 10);
	fix_end(f);
}

/* The pointer counts from its own segment: a device that cuts would copy that of the first into all. */
Test(tcp_output, urgent__no_segment_is_to_be_cut)
{
	struct fix *f = fix_established(.gso = 60000, .cwnd = 20 * FIX_MSS);

	fix_app_sends_flags(f, 5 * FIX_MSS, TCP_SEND_URGENT);
	for (uint32_t i = 0; i < 5; i++) {
		struct wire_tcp *w = next_tx(f);

		cr_assert(w->len == FIX_MSS && !w->gso_size);
		cr_assert(w->flags & TCP_URG);
		cr_assert_eq(w->urg, (5 - i) * FIX_MSS);
	}
	fix_end(f);
}

Test(tcp_output, idle__restarts_with_the_initial_window)
{
	struct fix *f = fix_established(.cwnd = 60 * FIX_MSS);

	tick(f, S(10));
	fix_app_sends(f, 40 * FIX_MSS);
	cr_assert_eq(f->n_out - f->i_out, 10); /* RFC 5681 4.1 */
	drop_tx(f);
	fix_end(f);
}

/* A server sends when a request has come: that must not hide the idle time before it (RFC 5681 4.1). */
Test(tcp_output, idle__ends_with_a_request)
{
	struct fix *f = fix_established(.cwnd = 60 * FIX_MSS);

	rx_at(f, S(10), SEG(.len = 100));
	drop_tx(f);
	fix_app_sends(f, 40 * FIX_MSS);
	cr_assert_eq(f->n_out - f->i_out, 10);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_output, gso__a_slow_flow_sends_two_segments_at_a_time)
{
	struct fix *f = fix_established(.gso = 60000, .cwnd = 20 * FIX_MSS);

	fix_app_sends(f, 5 * FIX_MSS);
	expect_tx(f, SEG(.seq = 0, .len = 2 * FIX_MSS));
	expect_tx(f, SEG(.seq = 2000, .len = 2 * FIX_MSS));
	expect_tx(f, SEG(.seq = 4000, .len = FIX_MSS));
	drop_tx(f);
	fix_end(f);
}

Test(tcp_output, gso__half_a_window_at_most)
{
	struct fix *f = fix_established(.gso = 60000, .cwnd = 20 * FIX_MSS);

	f->env.cfg.gso_min_segs = 60;
	fix_app_sends(f, 20 * FIX_MSS);
	expect_tx(f, SEG(.seq = 0, .len = 10 * FIX_MSS));
	expect_tx(f, SEG(.seq = 10000, .len = 10 * FIX_MSS));
	drop_tx(f);
	fix_end(f);
}

Test(tcp_output, ack__rides_on_data)
{
	struct fix *f = fix_established();

	rx(f, SEG(.len = 100)); /* delayed */
	expect_none(f);
	fix_app_sends(f, 10);
	expect_tx(f, SEG(.seq = 0, .ack = 100, .len = 10));
	tick(f, MS(100));
	expect_none(f);
	fix_end(f);
}

Test(tcp_output, sack__takes_its_room_from_the_payload)
{
	struct fix *f = fix_established();

	rx(f, SEG(.seq = 100, .len = 100));
	drop_tx(f);
	fix_app_sends(f, 2 * FIX_MSS);
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS - 12, .sack = { { 100, 200 } }));
	drop_tx(f);
	fix_end(f);
}

Test(tcp_output, memory__data_waits_for_a_block)
{
	struct fix *f = fix_established();

	f->blocks_left = 1; /* for the chunk, not for the run */
	cr_assert_eq(fix_app_sends(f, 100), 100);
	expect_none(f);
	f->blocks_left = -1;
	tick(f, US(tcp_rto_us(&f->t)) + MS(1));
	expect_tx(f, SEG(.seq = 0, .len = 100));
	fix_end(f);
}

Test(tcp_output, pmtu__large_segments_go_again_in_smaller_ones)
{
	struct fix *f = fix_established();

	fix_app_sends(f, 2 * FIX_MSS);
	drop_tx(f);
	cr_assert_not(tcp_pmtu(&f->t, 500, FIX_ISS - 5, f->now), "a forgery");
	cr_assert_not(tcp_pmtu(&f->t, 60000, FIX_ISS + 1, f->now), "it never gets larger by this");
	cr_assert(tcp_pmtu(&f->t, 500, FIX_ISS + 1, f->now));
	fix_flush(f);
	for (uint32_t i = 0; i < 4; i++)
		expect_tx(f, SEG(.seq = 500 * i, .len = 500));
	fix_end(f);
}

Test(tcp_output, black_hole__smaller_segments_after_three_timeouts)
{
	struct fix *f = fix_established();

	fix_app_sends(f, 2 * FIX_MSS);
	drop_tx(f);
	for (int i = 0; i < 2; i++) {
		while (f->t.backoff == i)
			tick(f, MS(100));
		cr_assert_eq(f->out[f->n_out - 1].len, FIX_MSS);
		drop_tx(f);
	}
	while (f->t.backoff == 2)
		tick(f, MS(100));
	expect_tx(f, SEG(.seq = 0, .len = 512));
	cr_assert_eq(f->cnt.n[CNT_tcp_black_hole], 1);
	drop_tx(f);
	fix_end(f);
}

/* What vanishes then is not too large: the peer throws it away. */
Test(tcp_output, black_hole__is_not_what_a_shut_window_is)
{
	struct fix *f = fix_established();

	fix_app_sends(f, 2 * FIX_MSS);
	rx(f, SEG(.zero_wnd = true));
	while (f->t.backoff < 7)
		tick(f, MS(100));
	cr_assert_eq(f->cnt.n[CNT_tcp_black_hole], 0);
	cr_assert_eq(f->t.mss, FIX_MSS);
	drop_tx(f);
	fix_end(f);
}
