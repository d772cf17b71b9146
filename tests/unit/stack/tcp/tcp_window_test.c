/* tcp_window_test.c - the window we offer: never back, in steps, as large as the reader deserves */
#include "tests/unit/stack/tcp/tcp_fix.h"

Test(tcp_window, offer__shrinks_with_what_is_unread_and_never_moves_left)
{
	struct fix *f = fix_established(.rcvbuf = 8000);
	uint32_t edge = f->t.rcv_adv;

	for (uint32_t i = 0; i < 6; i++) {
		rx(f, SEG(.seq = 1000 * i, .len = 1000));
		cr_assert(seq_ge(f->t.rcv_adv, edge));
		edge = f->t.rcv_adv;
	}
	cr_assert_eq(tcp_rcv_wnd(&f->t), 2000);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_window, offer__a_smaller_buffer_does_not_take_back_a_promise)
{
	struct fix *f = fix_established(.rcvbuf = 60000);
	uint32_t edge = f->t.rcv_adv;

	tcp_opt_set(&f->t, TCP_OPT_SET_RCVBUF, 4096, f->now);
	rx(f, SEG(.len = 2000));
	tick(f, MS(50));
	cr_assert_eq(f->t.rcv_adv, edge);
	cr_assert_eq(rx(f, SEG(.seq = 2000, .len = 30000)), CNT_none);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_window, update__is_sent_when_the_reader_has_made_room)
{
	struct fix *f = fix_established(.rcvbuf = 8000);

	rx(f, SEG(.len = 8000));
	drop_tx(f);
	cr_assert_eq(tcp_rcv_wnd(&f->t), 0);
	fix_app_reads(f, 500);
	expect_none(f); /* not for a sliver */
	fix_app_reads(f, 3500);
	expect_tx(f, SEG(.ack = 8000));
	cr_assert_eq(tcp_rcv_wnd(&f->t), 4000);
	fix_end(f);
}

Test(tcp_window, scale__covers_the_largest_buffer)
{
	cr_assert_eq(tcp_window_scale(65535), 0);
	cr_assert_eq(tcp_window_scale(65536), 1);
	cr_assert_eq(tcp_window_scale(6 << 20), 7);
	cr_assert_eq(tcp_window_scale(UINT32_MAX), 14);
}

Test(tcp_window, tuning__grows_with_what_is_read_in_a_round_trip)
{
	struct fix *f = fix_established(.rcvbuf = 16000);

	f->env.cfg.autotune = true;
	f->env.cfg.rcvbuf_max_bytes = 100000;
	tick(f, MS(101));
	for (uint32_t i = 0; i < 12; i++) {
		rx(f, SEG(.seq = 1000 * i, .len = 1000));
		fix_app_reads(f, 1000);
	}
	tick(f, MS(101));
	rx(f, SEG(.seq = 12000, .len = 1000));
	fix_app_reads(f, 1000);
	cr_assert_gt(f->t.rcvbuf, 30000);
	cr_assert_leq(f->t.rcvbuf, 100000);
	drop_tx(f);
	fix_end(f);
}
