/* tcp_option_test.c - limits and effects of the options, and the size of an idle connection */
#include "tests/unit/stack/tcp/tcp_fix.h"

Test(tcp_option, set_get__keeps_the_value)
{
	static const struct {
		enum tcp_opt opt;
		uint32_t value;
	} cases[] = {
		{ TCP_OPT_SET_NODELAY, 1 },     { TCP_OPT_SET_KEEPIDLE_S, 33 },
		{ TCP_OPT_SET_KEEPCNT, 5 },     { TCP_OPT_SET_USER_TIMEOUT_MS, 12345 },
		{ TCP_OPT_SET_SNDBUF, 100000 }, { TCP_OPT_SET_RCVBUF, 200000 },
		{ TCP_OPT_SET_LINGER2_S, 9 },   { TCP_OPT_SET_PACING, 1 },
	};
	struct fix *f = fix_established();

	for (size_t i = 0; i < BASE_ARRAY_SIZE(cases); i++) {
		cr_assert_eq(tcp_opt_set(&f->t, cases[i].opt, cases[i].value, f->now), 0);
		cr_assert_eq(tcp_opt_get(&f->t, cases[i].opt), cases[i].value);
	}
	fix_end(f);
}

Test(tcp_option, set__refuses_what_is_out_of_range)
{
	struct fix *f = fix_established();

	cr_assert_eq(tcp_opt_set(&f->t, TCP_OPT_SET_NODELAY, 2, f->now), -EINVAL);
	cr_assert_eq(tcp_opt_set(&f->t, TCP_OPT_SET_KEEPIDLE_S, 0, f->now), -EINVAL);
	cr_assert_eq(tcp_opt_set(&f->t, TCP_OPT_SET_KEEPCNT, 128, f->now), -EINVAL);
	cr_assert_eq(tcp_opt_set(&f->t, TCP_OPT_SET_COUNT, 1, f->now), -EINVAL);
	cr_assert_eq(tcp_opt_get(&f->t, TCP_OPT_SET_COUNT), -EINVAL);
	fix_end(f);
}

Test(tcp_option, send_buffer__is_the_limit_of_the_queue_and_tells_when_there_is_room)
{
	struct fix *f = fix_established(.cwnd = 20 * FIX_MSS);

	tcp_opt_set(&f->t, TCP_OPT_SET_SNDBUF, 4096, f->now);
	cr_assert_eq(fix_app_sends(f, 5000), 4096);
	cr_assert_eq(fix_app_sends(f, 1), -EAGAIN);
	drop_tx(f);
	tcp_events_take(&f->t);
	rx(f, SEG(.ack = 1000));
	cr_assert_not(tcp_events_take(&f->t) & TCP_EV_WRITABLE);
	rx(f, SEG(.ack = 3000));
	cr_assert(tcp_events_take(&f->t) & TCP_EV_WRITABLE);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_option, idle__a_connection_that_was_busy_holds_no_block)
{
	struct fix *f = fix_established(.cwnd = 10 * FIX_MSS);

	fix_app_sends(f, 10 * FIX_MSS);
	rx(f, SEG(.seq = 500, .len = 100));
	rx(f, SEG(.ack = 0, .sack = { { 1000, 4000 } }));
	rx(f, SEG(.ack = 10000, .len = 500));
	fix_app_reads(f, 600);
	drop_tx(f);
	for (unsigned k = 0; k < TCP_MEM_COUNT; k++)
		cr_assert_eq(f->env.pool.used[k], 0, "kind %u", k);
	cr_assert_leq(sizeof(struct tcb), 304);
	fix_end(f);
}
