/* tcp_close_test.c - the table at the head of tcp_close.c, row by row */
#include "tests/unit/stack/tcp/tcp_fix.h"

static void shut(struct fix *f)
{
	tcp_shutdown_send(&f->t, f->now);
	fix_flush(f);
	expect_tx(f, SEG(.seq = 0, .flags = TCP_FIN));
	expect_state(f, TCP_ST_FIN_WAIT_1);
}

Test(tcp_close, active__fin_wait_1_2_time_wait_closed)
{
	struct fix *f = fix_established();

	shut(f);
	rx(f, SEG(.ack = 1));
	expect_state(f, TCP_ST_FIN_WAIT_2);
	rx(f, SEG(.ack = 1, .len = 50)); /* half-closed: the peer still sends */
	cr_assert_eq(tcp_readable(&f->t), 50);
	rx(f, SEG(.seq = 50, .ack = 1, .flags = TCP_FIN));
	expect_state(f, TCP_ST_TIME_WAIT);
	expect_tx(f, SEG(.seq = 1, .ack = 51));
	cr_assert_eq(tcp_readable(&f->t), 50); /* still there to be read */
	tick(f, S(59));
	expect_state(f, TCP_ST_TIME_WAIT);
	tick(f, S(2));
	expect_state(f, TCP_ST_CLOSED);
	cr_assert(tcp_events_take(&f->t) & TCP_EV_CLOSED);
	fix_end(f);
}

Test(tcp_close, simultaneous__closing_time_wait)
{
	struct fix *f = fix_established();

	shut(f);
	rx(f, SEG(.ack = 0, .flags = TCP_FIN));
	expect_state(f, TCP_ST_CLOSING);
	expect_tx(f, SEG(.seq = 1, .ack = 1));
	rx(f, SEG(.seq = 1, .ack = 1));
	expect_state(f, TCP_ST_TIME_WAIT);
	fix_end(f);
}

Test(tcp_close, fin_and_ack_together__straight_to_time_wait)
{
	struct fix *f = fix_established();

	shut(f);
	rx(f, SEG(.ack = 1, .flags = TCP_FIN));
	expect_state(f, TCP_ST_TIME_WAIT);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_close, passive__close_wait_last_ack_closed)
{
	struct fix *f = fix_established();

	rx(f, SEG(.flags = TCP_FIN));
	expect_state(f, TCP_ST_CLOSE_WAIT);
	expect_tx(f, SEG(.ack = 1));
	fix_app_sends(f, 10);
	expect_tx(f, SEG(.seq = 0, .ack = 1, .len = 10));
	tcp_close(&f->t, f->now);
	fix_flush(f);
	expect_state(f, TCP_ST_LAST_ACK);
	expect_tx(f, SEG(.seq = 10, .ack = 1, .flags = TCP_FIN));
	rx(f, SEG(.seq = 1, .ack = 11));
	expect_state(f, TCP_ST_CLOSED);
	fix_end(f);
}

Test(tcp_close, time_wait__a_repeated_fin_is_answered_and_restarts_it)
{
	struct fix *f = fix_established();

	shut(f);
	rx(f, SEG(.ack = 1, .flags = TCP_FIN));
	drop_tx(f);
	tick(f, S(50));
	rx(f, SEG(.ack = 1, .flags = TCP_FIN));
	expect_tx(f, SEG(.seq = 1, .ack = 1));
	tick(f, S(50));
	expect_state(f, TCP_ST_TIME_WAIT);
	fix_end(f);
}

Test(tcp_close, fin__is_retransmitted)
{
	struct fix *f = fix_established();

	shut(f);
	tick(f, S(1));
	expect_tx(f, SEG(.seq = 0, .flags = TCP_FIN));
	drop_tx(f);
	rx(f, SEG(.ack = 1));
	expect_state(f, TCP_ST_FIN_WAIT_2);
	fix_end(f);
}

Test(tcp_close, unread_bytes__are_reset)
{
	struct fix *f = fix_established();

	rx(f, SEG(.len = 10));
	tcp_close(&f->t, f->now);
	fix_flush(f);
	expect_tx(f, SEG(.seq = 0, .ack = 10, .flags = TCP_RST)); /* RFC 2525 2.17 */
	expect_state(f, TCP_ST_CLOSED);
	fix_end(f);
}

Test(tcp_close, orphan__does_not_wait_in_fin_wait_2_for_ever)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_LINGER2_S, 5, f->now);
	tcp_close(&f->t, f->now);
	fix_flush(f);
	drop_tx(f);
	rx(f, SEG(.ack = 1));
	expect_state(f, TCP_ST_FIN_WAIT_2);
	tick(f, S(6));
	expect_state(f, TCP_ST_CLOSED);
	fix_end(f);
}

Test(tcp_close, half_closed__waits_as_long_as_the_application_does)
{
	struct fix *f = fix_established();

	shut(f);
	rx(f, SEG(.ack = 1));
	tick(f, S(3600));
	expect_state(f, TCP_ST_FIN_WAIT_2);
	fix_end(f);
}

Test(tcp_close, abort__resets)
{
	struct fix *f = fix_established();

	fix_app_sends(f, 10);
	drop_tx(f);
	tcp_abort(&f->t, f->now);
	fix_flush(f);
	expect_tx(f, SEG(.seq = 10, .flags = TCP_RST));
	cr_assert_eq(f->refs, 0);
	fix_end(f);
}

Test(tcp_close, syn_sent__closes_without_a_word)
{
	struct fix *f = malloc(sizeof(*f));

	fix_init(f, (struct fix_opt){ 0 });
	fix_connect(f);
	drop_tx(f);
	tcp_close(&f->t, f->now);
	fix_flush(f);
	expect_none(f);
	expect_state(f, TCP_ST_CLOSED);
	fix_end(f);
}

Test(tcp_close, syn_sent__shutdown_waits_for_the_handshake)
{
	struct fix *f = malloc(sizeof(*f));

	fix_init(f, (struct fix_opt){ 0 });
	fix_connect(f);
	drop_tx(f);
	tcp_shutdown_send(&f->t, f->now);
	fix_flush(f);
	rx(f, SEG(.seq = (uint32_t)-1, .flags = TCP_SYN, .opts = TCP_OPT_MSS, .mss = 1000));
	expect_tx(f, SEG(.seq = 0, .flags = TCP_FIN));
	expect_state(f, TCP_ST_FIN_WAIT_1);
	fix_end(f);
}

Test(tcp_close, names__one_for_each_state)
{
	for (int s = 0; s < TCP_ST_COUNT; s++)
		cr_assert_gt(strlen(tcp_state_name((enum tcp_state)s)), 2);
	cr_assert_str_eq(tcp_state_name(TCP_ST_COUNT), "?");
}
