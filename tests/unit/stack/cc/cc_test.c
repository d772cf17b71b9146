/* cc_test.c - the first slow start by round trips (HyStart++, RFC 9406) */
#include <criterion/criterion.h>

#include "stack/cc/cc.h"

#define MSS 1000

struct fix {
	struct cc cc;
	uint32_t una;
	ztime_t now;
};

static struct fix fix_init(const struct cc_ops *ops)
{
	struct fix f = {
		.cc = { .ops = ops, .cwnd = 10 * MSS, .ssthresh = UINT32_MAX },
		.una = 0xffff0000, /* wraps */
		.now = ZTIME_SEC,
	};

	ops->init(&f.cc);
	return f;
}

/* A window is acknowledged in @acks pieces that all measure @rtt_us. */
static void round_trip(struct fix *f, uint32_t rtt_us, uint32_t acks)
{
	uint32_t window = f->cc.cwnd, end = f->una + window;

	for (uint32_t i = 1; i <= acks; i++) {
		struct cc_ack ack = {
			.acked = window * i / acks - window * (i - 1) / acks,
			.mss = MSS,
			.srtt_us = rtt_us,
			.rtt_us = rtt_us,
			.una = end - window + window * i / acks,
			.next = end,
			.now = f->now,
		};

		ack.next += ack.una == end ? f->cc.cwnd : 0;
		f->una = ack.una;
		f->cc.ops->ack(&f->cc, &ack);
	}
	f->now += ztime_us(rtt_us);
}

Test(cc, hystart__doubles_while_round_trips_stay)
{
	struct fix f = fix_init(&cc_reno);

	for (int i = 0; i < 6; i++)
		round_trip(&f, 100000 + 10000 * (i == 3), 10);
	cr_expect_eq(f.cc.cwnd, 640 * MSS, "an eighth more is 12.5 ms");
	cr_expect_eq(f.cc.ssthresh, UINT32_MAX);
}

Test(cc, hystart__no_verdict_on_fewer_than_eight_samples)
{
	struct fix f = fix_init(&cc_reno);

	for (int i = 0; i < 6; i++)
		round_trip(&f, 100000 * (unsigned int)(i + 1), 7);
	cr_expect_eq(f.cc.ssthresh, UINT32_MAX);
	cr_expect_eq(f.cc.u.hystart.base_us, 0);
}

Test(cc, hystart__not_for_less_than_four_milliseconds)
{
	struct fix f = fix_init(&cc_cubic);

	for (int i = 0; i < 6; i++)
		round_trip(&f, 100 + 790 * (unsigned int)i, 10);
	cr_expect_eq(f.cc.cwnd, 640 * MSS);
	for (int i = 0; i < 2; i++)
		round_trip(&f, 8200, 10);
	cr_expect_neq(f.cc.u.hystart.base_us, 0, "4.15 ms more");
}

Test(cc, hystart__five_conservative_rounds_end_the_first_slow_start)
{
	const struct cc_ops *const all[] = { &cc_reno, &cc_cubic };

	for (int k = 0; k < 2; k++) {
		struct fix f = fix_init(all[k]);
		uint32_t before;

		round_trip(&f, 50000, 10);
		round_trip(&f, 60000, 10);
		cr_assert_eq(f.cc.u.hystart.base_us, 60000);
		for (int i = 0; i < 4; i++) {
			before = f.cc.cwnd;
			round_trip(&f, 60000, 10);
			cr_expect_eq(f.cc.ssthresh, i < 3 ? UINT32_MAX : f.cc.cwnd);
			cr_expect_leq(before + before / 4 - f.cc.cwnd, 10, "rounded");
		}
		before = f.cc.cwnd;
		round_trip(&f, 60000, 10);
		cr_expect_lt(f.cc.cwnd, before + 2 * MSS, "%s avoids congestion now", all[k]->name);
	}
}

Test(cc, hystart__goes_on_when_the_round_trip_shrinks)
{
	struct fix f = fix_init(&cc_reno);
	uint32_t before;

	round_trip(&f, 50000, 10);
	round_trip(&f, 60000, 10);
	cr_assert_neq(f.cc.u.hystart.base_us, 0);
	round_trip(&f, 50000, 10);
	before = f.cc.cwnd;
	round_trip(&f, 50000, 10);
	cr_expect_eq(f.cc.cwnd, 2 * before);
}

Test(cc, hystart__a_loss_leaves_nothing_of_it_to_cubic)
{
	struct fix f = fix_init(&cc_cubic);

	round_trip(&f, 50000, 10);
	f.cc.ops->congestion(&f.cc, CC_SIGNAL_LOSS, f.cc.cwnd, MSS);
	cr_expect_eq(f.cc.ssthresh, 14 * MSS);
	cr_expect_eq(f.cc.u.cubic.w_max, 20 * MSS);
	cr_expect_eq(f.cc.u.cubic.fraction, 0);
}
