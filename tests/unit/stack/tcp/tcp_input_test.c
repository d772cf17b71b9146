/* tcp_input_test.c - the eight steps of RFC 9293 3.10.7.4 and SYN-SENT, case by case */
#include "tests/unit/stack/tcp/tcp_fix.h"

Test(tcp_input, predicted__next_in_order_takes_the_short_cut)
{
	struct fix *f = fix_established();

	cr_assert_eq(rx(f, SEG(.len = 100)), CNT_none);
	cr_assert_eq(f->cnt.n[CNT_tcp_predicted], 1);
	cr_assert_eq(tcp_readable(&f->t), 100);
	cr_assert(tcp_events_take(&f->t) & TCP_EV_READABLE);
	fix_end(f);
}

Test(tcp_input, first_sequence__old_segment_is_acknowledged_and_dropped)
{
	struct fix *f = fix_established();

	rx(f, SEG(.len = 500));
	cr_assert_eq(rx(f, SEG(.seq = 0, .len = 500)), CNT_tcp_old);
	expect_tx(f, SEG(.ack = 500, .sack = { { 0, 500 } })); /* a D-SACK (RFC 2883) */
	cr_assert_eq(tcp_readable(&f->t), 500);
	fix_end(f);
}

Test(tcp_input, first_sequence__overlap_delivers_only_what_is_new)
{
	struct fix *f = fix_established(.no_sack = true);

	rx(f, SEG(.len = 500));
	cr_assert_eq(rx(f, SEG(.seq = 300, .len = 500)), CNT_none);
	cr_assert_eq(tcp_readable(&f->t), 800);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_input, first_sequence__beyond_the_window_is_refused)
{
	struct fix *f = fix_established();

	cr_assert_eq(rx(f, SEG(.seq = 60001, .len = 10)), CNT_tcp_beyond);
	expect_tx(f, SEG(.ack = 0));
	fix_end(f);
}

Test(tcp_input, first_sequence__right_of_the_window_is_cut_off)
{
	struct fix *f = fix_established(.rcvbuf = 4096);
	uint32_t wnd = tcp_rcv_wnd(&f->t);

	cr_assert_eq(rx(f, SEG(.len = wnd + 500, .flags = TCP_FIN)), CNT_none);
	cr_assert_eq(tcp_readable(&f->t), wnd);
	expect_state(f, TCP_ST_ESTABLISHED); /* the FIN lay beyond */
	drop_tx(f);
	fix_end(f);
}

Test(tcp_input, first_sequence__bare_ack_at_the_right_edge_counts)
{
	struct fix *f = fix_established();
	uint32_t wnd = tcp_rcv_wnd(&f->t);

	fix_app_sends(f, 100);
	drop_tx(f);
	cr_assert_eq(rx(f, SEG(.seq = wnd, .ack = 100)), CNT_none);
	cr_assert_eq(tcp_unacked(&f->t), 0);
	cr_assert_eq(rx(f, SEG(.seq = wnd + 1, .ack = 100)), CNT_tcp_beyond);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_input, first_sequence__zero_window_still_takes_acks)
{
	struct fix *f = fix_established(.rcvbuf = 4096);

	fix_app_sends(f, 100);
	rx(f, SEG(.len = tcp_rcv_wnd(&f->t)));
	drop_tx(f);
	cr_assert_eq(tcp_rcv_wnd(&f->t), 0);
	cr_assert_eq(rx(f, SEG(.seq = 4096, .ack = 100, .len = 1)), CNT_none);
	cr_assert_eq(f->cnt.n[CNT_tcp_zero_window], 1);
	cr_assert_eq(tcp_unacked(&f->t), 0);
	expect_tx(f, SEG(.seq = 100, .ack = 4096));
	fix_end(f);
}

Test(tcp_input, first_sequence__paws_drops_an_old_timestamp)
{
	struct fix *f = fix_established(.ts = true);

	rx_at(f, MS(10), SEG(.len = 100));
	drop_tx(f);
	cr_assert_eq(rx(f, SEG(.seq = 100, .len = 100, .tsval = FIX_TS0 - 1)), CNT_tcp_paws);
	expect_tx(f, SEG(.ack = 100));
	cr_assert_eq(tcp_readable(&f->t), 100);
	fix_end(f);
}

Test(tcp_input, first_sequence__paws_believes_any_clock_after_24_days)
{
	struct fix *f = fix_established(.ts = true);

	f->now += S(25 * 24 * 3600);
	cr_assert_eq(rx(f, SEG(.len = 100, .tsval = FIX_TS0 - 1)), CNT_none);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_input, second_rst__only_the_exact_number_resets)
{
	struct fix *f = fix_established();

	cr_assert_eq(rx(f, SEG(.seq = 10, .flags = TCP_RST)), CNT_tcp_rst_window);
	expect_tx(f, SEG(.ack = 0)); /* the challenge of RFC 5961 */
	expect_state(f, TCP_ST_ESTABLISHED);
	cr_assert_eq(rx(f, SEG(.seq = 0, .flags = TCP_RST)), CNT_tcp_rst_in);
	expect_state(f, TCP_ST_CLOSED);
	cr_assert_eq(tcp_error(&f->t), ECONNRESET);
	fix_end(f);
}

Test(tcp_input, second_rst__after_the_peers_fin_is_a_broken_pipe)
{
	struct fix *f = fix_established();

	rx(f, SEG(.flags = TCP_FIN));
	drop_tx(f);
	rx(f, SEG(.seq = 1, .flags = TCP_RST));
	cr_assert_eq(tcp_error(&f->t), EPIPE);
	fix_end(f);
}

Test(tcp_input, fourth_syn__is_challenged_never_obeyed)
{
	struct fix *f = fix_established();

	cr_assert_eq(rx(f, SEG(.seq = 5, .flags = TCP_SYN)), CNT_tcp_syn_window);
	expect_tx(f, SEG(.ack = 0));
	expect_state(f, TCP_ST_ESTABLISHED);
	fix_end(f);
}

Test(tcp_input, challenge__is_limited_per_second)
{
	struct fix *f = fix_established();

	for (int i = 0; i < 50; i++)
		rx(f, SEG(.seq = 10, .flags = TCP_RST));
	cr_assert_eq(f->n_out - f->i_out, f->env.cfg.challenge_per_s);
	cr_assert_gt(f->cnt.n[CNT_tcp_challenge_held], 0);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_input, fifth_ack__without_ack_bit_is_dropped)
{
	struct fix *f = fix_established();

	cr_assert_eq(rx(f, SEG(.len = 10, .noack = true)), CNT_tcp_no_ack);
	cr_assert_eq(tcp_readable(&f->t), 0);
	fix_end(f);
}

Test(tcp_input, sixth_urg__marks_the_byte_and_leaves_it_in_the_stream)
{
	struct fix *f = fix_established();
	uint32_t at;

	rx(f, SEG(.len = 10, .flags = TCP_URG, .urg = 4));
	cr_assert(tcp_events_take(&f->t) & TCP_EV_URGENT);
	cr_assert(tcp_urgent_mark(&f->t, &at));
	cr_assert_eq(at, 3); /* RFC 6093: the pointer is one past the urgent byte */
	fix_app_reads(f, 4);
	cr_assert_not(tcp_urgent_mark(&f->t, &at));
	cr_assert_eq(tcp_readable(&f->t), 6);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_input, seventh_text__after_close_is_answered_with_rst)
{
	struct fix *f = fix_established();

	tcp_close(&f->t, f->now);
	fix_flush(f);
	expect_tx(f, SEG(.seq = 0, .flags = TCP_FIN));
	cr_assert_eq(rx(f, SEG(.len = 10)), CNT_tcp_after_close);
	expect_tx(f, SEG(.seq = 0, .flags = TCP_RST)); /* where the peer is */
	expect_state(f, TCP_ST_CLOSED);
	fix_end(f);
}

Test(tcp_input, seventh_text__after_a_shutdown_of_both_ways_is_answered_with_rst)
{
	struct fix *f = fix_established();

	rx(f, SEG(.len = 10));
	tcp_shutdown_recv(&f->t);
	cr_assert_eq(rx(f, SEG(.seq = 10, .len = 10)), CNT_none);
	tcp_shutdown_send(&f->t, f->now);
	fix_flush(f);
	drop_tx(f);
	cr_assert_eq(rx(f, SEG(.seq = 5, .len = 15)), CNT_tcp_old); /* nothing new */
	drop_tx(f);
	expect_state(f, TCP_ST_FIN_WAIT_1);
	cr_assert_eq(rx(f, SEG(.seq = 20, .len = 10)), CNT_tcp_after_close);
	expect_tx(f, SEG(.seq = 0, .flags = TCP_RST));
	expect_state(f, TCP_ST_CLOSED);
	cr_assert_eq(tcp_error(&f->t), ECONNRESET);
	cr_assert_eq(tcp_readable(&f->t), 20);
	fix_app_reads(f, 20);
	fix_end(f);
}

Test(tcp_input, seventh_text__a_fin_alone_ends_what_is_shut_both_ways)
{
	struct fix *f = fix_established();

	tcp_shutdown_send(&f->t, f->now);
	tcp_shutdown_recv(&f->t);
	fix_flush(f);
	drop_tx(f);
	cr_assert_eq(rx(f, SEG(.ack = 1, .flags = TCP_FIN)), CNT_none);
	expect_state(f, TCP_ST_TIME_WAIT);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_input, seventh_text__congestion_mark_is_echoed_until_cwr)
{
	struct fix *f = fix_established(.ecn = true);

	rx(f, SEG(.len = 10, .ecn = 3));
	expect_tx(f, SEG(.ack = 10, .flags = TCP_ECE));
	rx_at(f, MS(50), SEG(.seq = 10, .len = 10, .ecn = 2));
	tick(f, MS(50));
	expect_tx(f, SEG(.ack = 20, .flags = TCP_ECE));
	rx(f, SEG(.seq = 20, .len = 10, .ecn = 2, .flags = TCP_CWR));
	tick(f, MS(50));
	expect_tx(f, SEG(.ack = 30));
	fix_end(f);
}

Test(tcp_input, eighth_fin__ends_the_stream_after_its_bytes)
{
	struct fix *f = fix_established();

	cr_assert_eq(rx(f, SEG(.len = 10, .flags = TCP_FIN)), CNT_none);
	expect_tx(f, SEG(.ack = 11));
	expect_state(f, TCP_ST_CLOSE_WAIT);
	cr_assert_not(tcp_eof(&f->t));
	fix_app_reads(f, 10);
	cr_assert(tcp_eof(&f->t));
	fix_end(f);
}

Test(tcp_input, eighth_fin__out_of_order_waits_for_the_hole)
{
	struct fix *f = fix_established();

	rx(f, SEG(.seq = 100, .len = 10, .flags = TCP_FIN));
	expect_tx(f, SEG(.ack = 0, .sack = { { 100, 111 } }));
	expect_state(f, TCP_ST_ESTABLISHED);
	rx(f, SEG(.len = 100));
	expect_tx(f, SEG(.ack = 111));
	expect_state(f, TCP_ST_CLOSE_WAIT);
	fix_end(f);
}

Test(tcp_input, eighth_fin__alone_and_early_is_reported_and_kept_with_its_island)
{
	struct fix *f = fix_established();

	rx(f, SEG(.seq = 200, .flags = TCP_FIN)); /* no island ends there: forgotten */
	expect_tx(f, SEG(.ack = 0));
	rx(f, SEG(.seq = 100, .len = 100));
	drop_tx(f);
	rx(f, SEG(.seq = 200, .flags = TCP_FIN));
	expect_tx(f, SEG(.ack = 0, .sack = { { 100, 201 } }));
	rx(f, SEG(.len = 100));
	expect_tx(f, SEG(.ack = 201));
	expect_state(f, TCP_ST_CLOSE_WAIT);
	fix_end(f);
}

Test(tcp_input, syn_sent__refused)
{
	struct fix *f = malloc(sizeof(*f));

	fix_init(f, (struct fix_opt){ 0 });
	fix_connect(f);
	expect_tx(f, SEG(.seq = (uint32_t)-1, .flags = TCP_SYN, .noack = true));
	cr_assert_eq(rx(f, SEG(.flags = TCP_RST, .noack = true)), CNT_tcp_synsent_rst);
	expect_state(f, TCP_ST_SYN_SENT);
	rx(f, SEG(.flags = TCP_RST, .ack = 0));
	expect_state(f, TCP_ST_CLOSED);
	cr_assert_eq(tcp_error(&f->t), ECONNREFUSED);
	fix_end(f);
}

Test(tcp_input, syn_sent__ack_of_nothing_is_reset)
{
	struct fix *f = malloc(sizeof(*f));

	fix_init(f, (struct fix_opt){ 0 });
	fix_connect(f);
	drop_tx(f);
	cr_assert_eq(rx(f, SEG(.seq = (uint32_t)-1, .ack = 77, .flags = TCP_SYN)),
		     CNT_tcp_synsent_ack);
	expect_tx(f, SEG(.seq = 77, .flags = TCP_RST));
	expect_state(f, TCP_ST_SYN_SENT);
	fix_end(f);
}

Test(tcp_input, syn_sent__simultaneous_open)
{
	struct fix *f = malloc(sizeof(*f));

	fix_init(f, (struct fix_opt){ 0 });
	fix_connect(f);
	drop_tx(f);
	rx(f, SEG(.seq = (uint32_t)-1, .flags = TCP_SYN, .noack = true, .opts = TCP_OPT_MSS,
		  .mss = 1000));
	expect_state(f, TCP_ST_SYN_RCVD);
	expect_tx(f, SEG(.seq = (uint32_t)-1, .ack = 0, .flags = TCP_SYN));
	rx(f,
	   SEG(.seq = (uint32_t)-1, .ack = 0, .flags = TCP_SYN)); /* the peer's SYN-ACK, crossed */
	expect_state(f, TCP_ST_ESTABLISHED);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_input, time_wait__newer_syn_takes_over_older_does_not)
{
	struct fix *f = fix_established();

	tcp_shutdown_send(&f->t, f->now);
	fix_flush(f);
	rx(f, SEG(.ack = 1, .flags = TCP_FIN));
	expect_state(f, TCP_ST_TIME_WAIT);
	drop_tx(f);
	cr_assert_neq(rx(f, SEG(.seq = (uint32_t)-5, .flags = TCP_SYN, .noack = true)),
		      CNT_tcp_time_wait_reuse);
	expect_state(f, TCP_ST_TIME_WAIT);
	cr_assert_eq(rx(f, SEG(.seq = 5000, .flags = TCP_SYN, .noack = true)),
		     CNT_tcp_time_wait_reuse);
	tcp_time_wait_end(&f->t);
	expect_state(f, TCP_ST_CLOSED);
	drop_tx(f);
	fix_end(f);
}

/* RFC 6191 2: only the new connection would have timestamps. */
Test(tcp_input, time_wait__a_syn_with_timestamps_takes_over_one_without)
{
	struct fix *f = fix_established();

	tcp_shutdown_send(&f->t, f->now);
	fix_flush(f);
	rx(f, SEG(.ack = 1, .flags = TCP_FIN));
	drop_tx(f);
	cr_assert_eq(rx(f, SEG(.seq = (uint32_t)-5, .flags = TCP_SYN, .noack = true,
			       .opts = TCP_OPT_TS, .tsval = 1)),
		     CNT_tcp_time_wait_reuse);
	f->env.cfg.timestamps = false; /* it would have none, either */
	cr_assert_neq(rx(f, SEG(.seq = (uint32_t)-5, .flags = TCP_SYN, .noack = true,
				.opts = TCP_OPT_TS, .tsval = 1)),
		      CNT_tcp_time_wait_reuse);
	drop_tx(f);
	fix_end(f);
}

/* RFC 5961 4.2: whatever its number is. */
Test(tcp_input, challenge__is_limited_for_a_syn_out_of_the_window)
{
	struct fix *f = fix_established();

	for (int i = 0; i < 50; i++)
		rx(f, SEG(.seq = (uint32_t)-1000 + (uint32_t)(i % 2) * 1000000, .flags = TCP_SYN,
			  .noack = true));
	cr_assert_eq(f->n_out - f->i_out, f->env.cfg.challenge_per_s);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_input, time_wait__rst_does_not_kill_it)
{
	struct fix *f = fix_established();

	tcp_shutdown_send(&f->t, f->now);
	fix_flush(f);
	rx(f, SEG(.ack = 1, .flags = TCP_FIN));
	drop_tx(f);
	cr_assert_eq(rx(f, SEG(.seq = 1, .flags = TCP_RST)), CNT_tcp_rst_time_wait);
	expect_state(f, TCP_ST_TIME_WAIT);
	fix_end(f);
}
