/* tcp_rtt.c - the retransmission timeout from round trips (RFC 6298, RFC 7323 4)
 *
 * SRTT is kept times 8 and RTTVAR times 4, so that the gains 1/8 and 1/4 lose nothing to integers.
 */
#include "stack/tcp/tcp_int.h"

#define CLOCK_GRANULARITY_US 1000 /* G: callers may run timers this late */

static void rto_set(struct tcb *t)
{
	const struct tcp_config *cfg = &t->env->cfg;
	uint32_t var = BASE_MAX(t->rttvar_us4, CLOCK_GRANULARITY_US);

	t->rto_us = BASE_MAX(tcp_srtt_us(t) + var, cfg->rto_min_us);
	t->rto_us = BASE_MIN(t->rto_us, cfg->rto_max_us);
}

void tcp_rtt_sample(struct tcb *t, int64_t rtt_us)
{
	uint32_t m;
	int32_t err;

	if (rtt_us < 0)
		return;
	m = (uint32_t)BASE_MIN(BASE_MAX(rtt_us, 1), 100 * 1000000);
	t->min_rtt_us = BASE_MIN(t->min_rtt_us, m);
	if (!t->srtt_us8) { /* (2.2) */
		t->srtt_us8 = m * 8;
		t->rttvar_us4 = m * 2;
		rto_set(t);
		return;
	}
	err = (int32_t)m - (int32_t)tcp_srtt_us(t); /* (2.3) */
	t->srtt_us8 = (uint32_t)((int32_t)t->srtt_us8 + err);
	if (!t->srtt_us8)
		t->srtt_us8 = 1;
	if (err < 0)
		err = -err;
	t->rttvar_us4 = (uint32_t)((int32_t)t->rttvar_us4 + err - (int32_t)(t->rttvar_us4 >> 2));
	rto_set(t);
}

void tcp_rtt_reset(struct tcb *t)
{
	t->srtt_us8 = 0;
	t->rttvar_us4 = 0;
	t->rto_us = t->env->cfg.rto_initial_us;
	t->min_rtt_us = UINT32_MAX;
}
