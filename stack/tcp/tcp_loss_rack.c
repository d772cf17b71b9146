/* tcp_loss_rack.c - RFC 8985: what was sent before something that has arrived, by more than reordering explains, is lost
 *
 * The flight ring is ordered by the time of the last transmission, so only runs sent before the newest
 * delivered one are looked at, retransmissions included.
 */
#include "stack/tcp/tcp_int.h"

/* RFC 8985 6.2 step 4, RACK_update_reo_wnd(). */
static uint32_t reo_wnd_us(const struct tcb *t)
{
	uint32_t quarter, srtt = tcp_srtt_us(t);

	if (!tcp_is(t, TCP_F_REORDER) &&
	    (t->ca_state >= TCP_CA_RECOVERY ||
	     t->loss->sacked_bytes >= TCP_DUPTHRESH * (uint32_t)t->mss))
		return 0;
	if (t->min_rtt_us == UINT32_MAX)
		return srtt;
	quarter = t->min_rtt_us / 4;
	return BASE_MIN(quarter * t->reo_mult, srtt);
}

static bool sent_before(const struct tcp_sent *s, const struct tcp_loss *l)
{
	return s->sent_at < l->rack_sent_at ||
	       (s->sent_at == l->rack_sent_at && seq_lt(s->end, l->rack_end));
}

/* RFC 8985 6.2 step 5, RACK_detect_loss(). */
static void rack_detect(struct tcb *t, const struct tcp_ackinfo *ai, ztime_t now, ztime_t *reo_at)
{
	struct tcp_loss *l = t->loss;
	ztime_t wait = ztime_us((int64_t)l->rack_rtt_us + reo_wnd_us(t)), latest = 0;

	(void)ai;
	if (l->rack_sent_at < 0)
		return;
	while (t->flight) {
		struct tcp_sent *s = base_container_of(t->flight, struct tcp_sent, by_time);

		if (!sent_before(s, l) || s->sent_at + wait > now)
			break;
		tcp_sent_mark_lost(t, s);
	}
	for (struct base_list *n = t->flight; n;) {
		struct tcp_sent *s = base_container_of(n, struct tcp_sent, by_time);

		if (!sent_before(s, l))
			break;
		latest = s->sent_at + wait;
		n = n->next == t->flight ? NULL : n->next;
	}
	if (latest)
		*reo_at = latest;
}

const struct tcp_loss_ops tcp_loss_rack = {
	.name = "rack",
	.detect = rack_detect,
};
