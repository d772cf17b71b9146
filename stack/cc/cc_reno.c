/* cc_reno.c - RFC 5681: half the window on loss, one segment a round trip otherwise */
#include "stack/base/base_check.h"
#include "stack/cc/cc.h"

#define CWND_MAX (1u << 30)

static void reno_init(struct cc *cc)
{
	cc->u.reno.acked = 0;
}

static void reno_ack(struct cc *cc, const struct cc_ack *ack)
{
	uint32_t left;

	left = cc_slow_start_ack(cc, ack);
	if (!left)
		return;
	/* RFC 5681 3.1: one SMSS for each window of bytes acknowledged. */
	cc->u.reno.acked += left;
	if (cc->u.reno.acked < cc->cwnd)
		return;
	cc->u.reno.acked -= cc->cwnd;
	cc->cwnd = BASE_MIN(cc->cwnd + ack->mss, CWND_MAX);
}

static void reno_congestion(struct cc *cc, enum cc_signal why, uint32_t pipe, uint32_t mss)
{
	(void)why;
	cc->ssthresh = BASE_MAX(pipe / 2, 2 * mss); /* RFC 5681 equation (4) */
	cc->u.reno.acked = 0;
}

const struct cc_ops cc_reno = {
	.name = "reno",
	.init = reno_init,
	.ack = reno_ack,
	.congestion = reno_congestion,
};
