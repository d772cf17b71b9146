/* cc_reno_test.c - RFC 5681 by the window, and what all algorithms share */
#include <criterion/criterion.h>

#include "stack/cc/cc.h"

#define MSS 1000

static struct cc start(uint32_t cwnd, uint32_t ssthresh)
{
	struct cc cc = { .ops = &cc_reno, .cwnd = cwnd, .ssthresh = ssthresh };

	cc.ops->init(&cc);
	return cc;
}

static void acked(struct cc *cc, uint32_t bytes)
{
	struct cc_ack a = { .acked = bytes, .mss = MSS, .srtt_us = 100000 };

	cc->ops->ack(cc, &a);
}

Test(cc_reno, slow_start__doubles_in_a_round_trip)
{
	struct cc cc = start(10 * MSS, UINT32_MAX);

	for (int i = 0; i < 5; i++)
		acked(&cc, 2 * MSS);
	cr_assert_eq(cc.cwnd, 20 * MSS);
}

Test(cc_reno, slow_start__stops_at_ssthresh)
{
	struct cc cc = start(10 * MSS, 12 * MSS);

	acked(&cc, 10 * MSS);
	cr_assert_eq(cc.cwnd, 12 * MSS);
}

Test(cc_reno, avoidance__adds_one_segment_a_round_trip)
{
	struct cc cc = start(20 * MSS, 10 * MSS);

	for (int i = 0; i < 20; i++)
		acked(&cc, MSS);
	cr_assert_eq(cc.cwnd, 21 * MSS);
	for (int i = 0; i < 21; i++)
		acked(&cc, MSS);
	cr_assert_eq(cc.cwnd, 22 * MSS);
}

Test(cc_reno, congestion__half_of_what_is_in_flight_but_two_segments)
{
	struct cc cc = start(20 * MSS, UINT32_MAX);

	cc.ops->congestion(&cc, CC_SIGNAL_LOSS, 14 * MSS, MSS);
	cr_assert_eq(cc.ssthresh, 7 * MSS);
	cr_assert_eq(cc.cwnd, 20 * MSS); /* moving cwnd is the core's */
	cc.ops->congestion(&cc, CC_SIGNAL_RTO, MSS, MSS);
	cr_assert_eq(cc.ssthresh, 2 * MSS);
}

Test(cc, initial_window__of_rfc_6928)
{
	cr_assert_eq(cc_initial_window(1460, 10), 14600);
	cr_assert_eq(cc_initial_window(536, 10), 5360);
	cr_assert_eq(cc_initial_window(8960, 10), 17920); /* two large ones */
	cr_assert_eq(cc_initial_window(1460, 1), 1460);
}

Test(cc, pacing_rate__spreads_the_window)
{
	struct cc cc = start(100000, UINT32_MAX);

	cr_assert_eq(cc_pacing_rate(&cc, 100000), 2000000); /* twice a window in 100 ms */
	cc.ssthresh = 50000;
	cr_assert_eq(cc_pacing_rate(&cc, 100000), 1200000);
	cr_assert_eq(cc_pacing_rate(&cc, 0), UINT64_MAX);
}

Test(cc, find__by_name)
{
	cr_assert_eq(cc_find("reno"), &cc_reno);
	cr_assert_eq(cc_find("cubic"), &cc_cubic);
	cr_assert_null(cc_find("vegas"));
}
