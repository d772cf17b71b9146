/* tcp_timer_test.c - back-off, giving up, probes, keep-alive, user timeout, delayed ACK */
#include "tests/unit/stack/tcp/tcp_fix.h"

Test(tcp_timer, rto__doubles_and_gives_up)
{
	struct fix *f = fix_established(.no_sack = true);
	ztime_t at[20], start;
	unsigned n = 0;

	fix_app_sends(f, 100);
	drop_tx(f);
	start = f->now;
	while (tcp_state(&f->t) != TCP_ST_CLOSED && n < 20) {
		at[n] = tcp_deadline(&f->t);
		tick(f, at[n++] - f->now);
		drop_tx(f);
	}
	cr_assert_eq(n, 16);                  /* 15 retransmissions and the end */
	cr_assert_eq(at[0] - start, MS(300)); /* SRTT 100 ms and four times its variance */
	for (unsigned i = 1; i + 1 < n && at[i] - at[i - 1] < S(60); i++)
		cr_assert_eq(at[i + 1] - at[i], BASE_MIN(2 * (at[i] - at[i - 1]), S(120)));
	cr_assert_eq(tcp_error(&f->t), ETIMEDOUT);
	fix_end(f);
}

Test(tcp_timer, rto__progress_ends_the_back_off)
{
	struct fix *f = fix_established(.no_sack = true);

	fix_app_sends(f, 2 * FIX_MSS);
	tick(f, S(2));
	cr_assert_gt(f->t.backoff, 0);
	drop_tx(f);
	rx(f, SEG(.ack = 1000));
	cr_assert_eq(f->t.backoff, 0);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_timer, syn__retries_then_times_out)
{
	struct fix *f = malloc(sizeof(*f));
	unsigned n = 0;

	fix_init(f, (struct fix_opt){ 0 });
	tcp_opt_set(&f->t, TCP_OPT_SET_SYNCNT, 3, f->now);
	fix_connect(f);
	while (tcp_state(&f->t) == TCP_ST_SYN_SENT) {
		n += f->n_out - f->i_out;
		drop_tx(f);
		tick(f, tcp_deadline(&f->t) - f->now);
	}
	cr_assert_eq(n, 4);
	cr_assert_eq(f->now, S(1000) + S(1 + 2 + 4 + 8));
	cr_assert_eq(tcp_error(&f->t), ETIMEDOUT);
	fix_end(f);
}

Test(tcp_timer, syn__icmp_says_why)
{
	struct fix *f = malloc(sizeof(*f));

	fix_init(f, (struct fix_opt){ 0 });
	fix_connect(f);
	drop_tx(f);
	cr_assert(tcp_icmp_error(&f->t, FIX_ISS, EHOSTUNREACH, false, f->now));
	expect_state(f, TCP_ST_SYN_SENT); /* soft: only remembered */
	tick(f, S(200));
	drop_tx(f);
	cr_assert_eq(tcp_error(&f->t), EHOSTUNREACH);
	fix_end(f);
}

Test(tcp_timer, icmp__hard_error_does_not_kill_an_established_connection)
{
	struct fix *f = fix_established();

	fix_app_sends(f, 10);
	drop_tx(f);
	cr_assert_not(tcp_icmp_error(&f->t, FIX_ISS - 100, ECONNREFUSED, true, f->now));
	cr_assert(tcp_icmp_error(&f->t, FIX_ISS + 1, ECONNREFUSED, true, f->now));
	expect_state(f, TCP_ST_ESTABLISHED); /* RFC 5927 5.2 */
	fix_end(f);
}

Test(tcp_timer, persist__probes_a_shut_window_for_ever_while_answered)
{
	struct fix *f = fix_established();

	rx(f, SEG(.zero_wnd = true));
	fix_app_sends(f, 100);
	expect_none(f);
	for (int i = 0; i < 40; i++) {
		tick(f, tcp_deadline(&f->t) - f->now);
		expect_tx(f, SEG(.seq = (uint32_t)-1));
		rx(f, SEG(.zero_wnd = true));
	}
	expect_state(f, TCP_ST_ESTABLISHED);
	rx(f, SEG(.wnd = 1000));
	expect_tx(f, SEG(.seq = 0, .len = 100));
	fix_end(f);
}

Test(tcp_timer, persist__gives_up_when_nobody_answers)
{
	struct fix *f = fix_established();

	rx(f, SEG(.zero_wnd = true));
	fix_app_sends(f, 100);
	for (int i = 0; i < 30 && tcp_state(&f->t) != TCP_ST_CLOSED; i++)
		tick(f, tcp_deadline(&f->t) - f->now);
	cr_assert_eq(tcp_error(&f->t), ETIMEDOUT);
	cr_assert_eq(f->cnt.n[CNT_tcp_probe_window], 15);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_timer, keepalive__probes_then_resets)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_KEEPIDLE_S, 10, f->now);
	tcp_opt_set(&f->t, TCP_OPT_SET_KEEPINTVL_S, 2, f->now);
	tcp_opt_set(&f->t, TCP_OPT_SET_KEEPCNT, 2, f->now);
	tcp_opt_set(&f->t, TCP_OPT_SET_KEEPALIVE, 1, f->now);
	tick(f, S(9));
	expect_none(f);
	tick(f, S(2));
	expect_tx(f, SEG(.seq = (uint32_t)-1));
	rx(f, SEG()); /* it lives */
	tick(f, S(9));
	expect_none(f);
	tick(f, S(10));
	expect_tx(f, SEG(.seq = (uint32_t)-1));
	expect_tx(f, SEG(.seq = (uint32_t)-1));
	expect_tx(f, SEG(.seq = 0, .flags = TCP_RST));
	cr_assert_eq(tcp_error(&f->t), ETIMEDOUT);
	fix_end(f);
}

Test(tcp_timer, keepalive__an_answer_starts_the_idle_time_anew)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_KEEPIDLE_S, 10, f->now);
	tcp_opt_set(&f->t, TCP_OPT_SET_KEEPALIVE, 1, f->now); /* 75 s between probes */
	tick(f, S(11));
	expect_tx(f, SEG(.seq = (uint32_t)-1));
	rx(f, SEG());
	tick(f, S(11));
	expect_tx(f, SEG(.seq = (uint32_t)-1));
	fix_end(f);
}

Test(tcp_timer, user_timeout__bounds_unacknowledged_data)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_USER_TIMEOUT_MS, 5000, f->now);
	fix_app_sends(f, 100);
	tick(f, S(4));
	expect_state(f, TCP_ST_ESTABLISHED);
	tick(f, S(8));
	expect_state(f, TCP_ST_CLOSED);
	cr_assert_eq(tcp_error(&f->t), ETIMEDOUT);
	drop_tx(f);
	fix_end(f);
}

/* RFC 5482: the timeouts double, but the last one does not pass the moment that was asked for. */
Test(tcp_timer, user_timeout__does_not_wait_for_the_next_timeout)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_USER_TIMEOUT_MS, 5000, f->now);
	fix_app_sends(f, 100);
	tick(f, MS(4990));
	expect_state(f, TCP_ST_ESTABLISHED);
	tick(f, MS(500)); /* counted from the probe on, which comes before */
	expect_state(f, TCP_ST_CLOSED);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_timer, user_timeout__bounds_a_shut_window)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_USER_TIMEOUT_MS, 5000, f->now);
	rx(f, SEG(.zero_wnd = true));
	fix_app_sends(f, 100);
	tick(f, MS(4990));
	expect_state(f, TCP_ST_ESTABLISHED);
	tick(f, MS(500));
	expect_state(f, TCP_ST_CLOSED);
	cr_assert_eq(tcp_error(&f->t), ETIMEDOUT);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_timer, delayed_ack__every_second_full_segment_or_40_ms)
{
	struct fix *f = fix_established();

	rx(f, SEG(.seq = 0, .len = FIX_MSS));
	expect_none(f);
	rx(f, SEG(.seq = 1000, .len = FIX_MSS));
	expect_tx(f, SEG(.ack = 2000));
	rx(f, SEG(.seq = 2000, .len = FIX_MSS));
	tick(f, MS(39));
	expect_none(f);
	tick(f, MS(1));
	expect_tx(f, SEG(.ack = 3000));
	fix_end(f);
}

Test(tcp_timer, quickack__answers_each)
{
	struct fix *f = fix_established();

	tcp_opt_set(&f->t, TCP_OPT_SET_QUICKACK, 1, f->now);
	rx(f, SEG(.seq = 0, .len = 10));
	expect_tx(f, SEG(.ack = 10));
	fix_end(f);
}
