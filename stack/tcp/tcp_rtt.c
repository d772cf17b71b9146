/* tcp_rtt.c - the retransmission timeout from round trips (RFC 6298, RFC 7323 4)
 *
 * SRTT is kept times 8 and RTTVAR times 4, so that the gains 1/8 and 1/4 lose nothing to integers.
 */
#include "stack/tcp/tcp_step.h"

/* (2.2) */
BASE_COLD void tcp_rtt_first(struct tcb *t, uint32_t us)
{
	t->min_rtt_us = BASE_MIN(t->min_rtt_us, us);
	t->srtt_us8 = us * 8;
	t->rttvar_us4 = us * 2;
}

void tcp_rtt_sample(struct tcb *t, int64_t rtt_us)
{
	if (rtt_us >= 0)
		tcp_rtt_take(t, (uint32_t)BASE_MIN(rtt_us, (int64_t)TCP_RTT_US_MAX));
}

void tcp_rtt_reset(struct tcb *t)
{
	t->srtt_us8 = 0;
	t->rttvar_us4 = 0;
	t->rto_first_us = t->env->cfg.rto_initial_us;
	t->min_rtt_us = UINT32_MAX;
}
