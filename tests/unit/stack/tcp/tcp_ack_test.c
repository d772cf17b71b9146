/* tcp_ack_test.c - step five: what an ACK does to the sender */
#include "tests/unit/stack/tcp/tcp_fix.h"

Test(tcp_ack, advance__releases_payload_and_tells)
{
	struct fix *f = fix_established();

	fix_app_sends(f, 2 * FIX_MSS);
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	expect_tx(f, SEG(.seq = FIX_MSS, .len = FIX_MSS));
	cr_assert_eq(f->refs, 1);
	rx_at(f, MS(50), SEG(.ack = FIX_MSS));
	cr_assert_eq(tcp_unacked(&f->t), FIX_MSS);
	cr_assert_eq(f->refs, 1); /* the one chunk still has bytes out */
	rx(f, SEG(.ack = 2 * FIX_MSS));
	cr_assert_eq(f->refs, 0);
	cr_assert(tcp_events_take(&f->t) & TCP_EV_DRAINED);
	cr_assert_eq(f->t.pipe, 0);
	fix_end(f);
}

Test(tcp_ack, future__is_answered_and_changes_nothing)
{
	struct fix *f = fix_established();

	fix_app_sends(f, 100);
	drop_tx(f);
	cr_assert_eq(rx(f, SEG(.ack = 101)), CNT_tcp_ack_future);
	expect_tx(f, SEG(.seq = 100, .ack = 0));
	cr_assert_eq(tcp_unacked(&f->t), 100);
	fix_end(f);
}

Test(tcp_ack, old__beyond_the_largest_window_is_challenged)
{
	struct fix *f = fix_established();

	cr_assert_eq(rx(f, SEG(.ack = (uint32_t)-60000, .len = 10)), CNT_tcp_ack_old);
	expect_tx(f, SEG(.ack = 0));
	cr_assert_eq(tcp_readable(&f->t), 0);
	cr_assert_eq(rx(f, SEG(.ack = (uint32_t)-10, .len = 10)), CNT_none); /* merely late */
	cr_assert_eq(tcp_readable(&f->t), 10);
	fix_end(f);
}

Test(tcp_ack, window__newest_segment_wins)
{
	struct fix *f = fix_established();

	rx(f, SEG(.seq = 0, .len = 10, .wnd = 30000));
	cr_assert_eq(f->t.snd_wnd, 30000);
	rx(f, SEG(.seq = 0, .len = 5, .wnd = 999)); /* an old segment */
	cr_assert_eq(f->t.snd_wnd, 30000);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_ack, rtt__is_taken_from_what_was_sent_once)
{
	struct fix *f = fix_established();
	uint32_t srtt = tcp_srtt_us(&f->t);

	cr_assert_eq(srtt, 100000); /* the handshake took 100 ms */
	fix_app_sends(f, 100);
	drop_tx(f);
	rx_at(f, MS(20), SEG(.ack = 100));
	cr_assert_eq(tcp_srtt_us(&f->t), 90000); /* 7/8 of 100 and 1/8 of 20 */
	cr_assert_eq(f->t.min_rtt_us, 20000);
	fix_end(f);
}

Test(tcp_ack, rtt__karn_a_repeated_segment_gives_none)
{
	struct fix *f = fix_established();

	fix_app_sends(f, 100);
	tick(f, S(2));
	drop_tx(f);
	rx(f, SEG(.ack = 100));
	cr_assert_eq(tcp_srtt_us(&f->t), 100000);
	fix_end(f);
}

Test(tcp_ack, cwnd__grows_by_what_is_acknowledged_in_slow_start)
{
	struct fix *f = fix_established(.cwnd = 4 * FIX_MSS);

	fix_app_sends(f, 20 * FIX_MSS);
	cr_assert_eq(f->n_out, 4);
	drop_tx(f);
	rx_at(f, MS(10), SEG(.ack = 2 * FIX_MSS));
	cr_assert_eq(f->t.cc.cwnd, 6 * FIX_MSS);
	cr_assert_eq(f->n_out - f->i_out, 4); /* two for those gone, two for the growth */
	drop_tx(f);
	fix_end(f);
}

Test(tcp_ack, cwnd__does_not_grow_when_the_application_is_the_limit)
{
	struct fix *f = fix_established(.cwnd = 20 * FIX_MSS);

	fix_app_sends(f, 2 * FIX_MSS);
	drop_tx(f);
	rx_at(f, MS(10), SEG(.ack = 2 * FIX_MSS));
	cr_assert_eq(f->t.cc.cwnd, 20 * FIX_MSS);
	fix_end(f);
}

Test(tcp_ack, ecn__echo_reduces_once_a_window_and_cwr_answers)
{
	struct fix *f = fix_established(.ecn = true, .cwnd = 10 * FIX_MSS);

	fix_app_sends(f, 30 * FIX_MSS);
	cr_assert_eq(f->out[0].ecn, 2); /* ECT(0) */
	drop_tx(f);
	rx_at(f, MS(10), SEG(.ack = FIX_MSS, .flags = TCP_ECE));
	cr_assert_eq(f->t.ca_state, TCP_CA_CWR);
	cr_assert_eq(f->t.cc.ssthresh, 4500); /* half of the nine segments that are out */
	rx(f, SEG(.ack = 2 * FIX_MSS, .flags = TCP_ECE));
	rx(f, SEG(.ack = 3 * FIX_MSS, .flags = TCP_ECE));
	cr_assert_eq(f->t.cc.ssthresh, 4500);
	cr_assert_eq(f->cnt.n[CNT_tcp_ecn_cwr], 1);
	cr_assert(next_tx(f)->flags & TCP_CWR);
	drop_tx(f);
	fix_end(f);
}
