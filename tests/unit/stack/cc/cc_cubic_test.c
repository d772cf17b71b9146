/* cc_cubic_test.c - RFC 9438: the curve against its formula, the Reno-friendly region */
#include <criterion/criterion.h>
#include <math.h>

#include "stack/cc/cc.h"

#define MSS 1000

static struct cc reduced(uint32_t w_max, uint32_t mss)
{
	struct cc cc = { .ops = &cc_cubic, .cwnd = w_max, .ssthresh = UINT32_MAX };

	cc.ops->init(&cc);
	cc.ops->congestion(&cc, CC_SIGNAL_LOSS, w_max, mss);
	cc.cwnd = cc.ssthresh;
	return cc;
}

/* Acknowledge whole windows, one each round trip, for @ms. */
static void run(struct cc *cc, uint32_t mss, uint32_t rtt_ms, uint32_t from_ms, uint32_t ms)
{
	for (uint32_t t = 0; t < ms; t += rtt_ms) {
		uint32_t window = cc->cwnd;

		for (uint32_t a = 0; a < window; a += mss) {
			struct cc_ack ack = { .acked = mss,
					      .mss = mss,
					      .srtt_us = rtt_ms * 1000,
					      .now = ztime_ms(from_ms + t) +
						     ztime_us((int64_t)rtt_ms * 1000 * a /
							      window) };

			cc->ops->ack(cc, &ack);
		}
	}
}

Test(cc_cubic, congestion__reduces_to_seven_tenths)
{
	struct cc cc = reduced(100 * MSS, MSS);

	cr_assert_eq(cc.ssthresh, 70 * MSS);
	cr_assert_eq(cc.u.cubic.w_max, 100 * MSS);
}

Test(cc_cubic, congestion__fast_convergence_gives_room)
{
	struct cc cc = reduced(100 * MSS, MSS);

	cc.cwnd = 80 * MSS; /* it never came back to 100 */
	cc.ops->congestion(&cc, CC_SIGNAL_LOSS, cc.cwnd, MSS);
	cr_assert_eq(cc.u.cubic.w_max, 68 * MSS); /* 80 * (1 + 0.7) / 2 */
}

/* Windows large and round trips long enough for the cubic to be ahead of Reno all the time. */
Test(cc_cubic, avoidance__follows_the_formula)
{
	const double w_max = 2000, c = 0.4, k = cbrt(w_max * 0.3 / c);
	struct cc cc = reduced((uint32_t)w_max * MSS, MSS);

	for (uint32_t t = 0; t < 20000; t += 2000) {
		double want;

		run(&cc, MSS, 100, 1000 + t, 2000);
		want = c * pow((t + 2000) / 1000.0 - k, 3) + w_max;
		cr_assert_lt(fabs(cc.cwnd / (double)MSS - want), want * 0.02, "%u ms: %u, not %.0f",
			     t, cc.cwnd / MSS, want);
	}
}

Test(cc_cubic, avoidance__is_no_slower_than_reno)
{
	struct cc cc = reduced(20 * MSS, MSS);

	/* 10 ms round trip: the cubic alone would need 2.5 s to come back to 20 segments. */
	run(&cc, MSS, 10, 1000, 200);
	cr_assert_gt(cc.cwnd, 14 * MSS + 20 * MSS * 529 / 1000 * 8 / 10);
}

Test(cc_cubic, avoidance__never_more_than_half_a_window_in_a_round_trip)
{
	struct cc cc = reduced(20 * MSS, MSS);
	uint32_t before = cc.cwnd;

	run(&cc, MSS, 100, 1000, 100);
	before = cc.cwnd;
	run(&cc, MSS, 100, 900000, 100); /* a curve that has run on for ever */
	cr_assert_leq(cc.cwnd, before + before / 2 + MSS);
}

Test(cc_cubic, application_limited__time_does_not_count)
{
	struct cc cc = reduced(100 * MSS, MSS);
	uint32_t before;

	run(&cc, MSS, 100, 1000, 500);
	before = cc.cwnd;
	cc_app_limited(&cc);
	cr_assert_eq(cc.cwnd, before);
	run(&cc, MSS, 100, 60000, 100);
	cr_assert_lt(cc.cwnd,
		     before + 10 * MSS); /* no jump to where the curve would be after a minute */
}
