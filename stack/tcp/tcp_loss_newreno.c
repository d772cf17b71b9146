/* tcp_loss_newreno.c - RFC 6582: a peer without SACK; the third duplicate ACK, then one hole for each partial ACK
 *
 * Each duplicate ACK says that one segment has left the network, but not which: loss->sacked_bytes counts
 * them, so that the pipe shrinks and new data is clocked out as in limited transmit (RFC 3042).
 */
#include "stack/tcp/tcp_int.h"

static void head_lost(struct tcb *t)
{
	struct tcp_sent *s = tcp_sent_first(t);

	if (!s || s->flags & (TCP_SENT_LOST | TCP_SENT_RETRANS))
		return;
	if (s->end - s->seq > t->mss && !tcp_sent_split(t, s, s->seq + t->mss))
		return;
	tcp_sent_mark_lost(t, s);
}

static void newreno_detect(struct tcb *t, const struct tcp_ackinfo *ai, ztime_t now,
			   ztime_t *reo_at)
{
	struct tcp_loss *l = t->loss;
	uint32_t mss = t->mss;

	(void)now, (void)reo_at;
	if (ai->acked) { /* the hole, and segments that duplicates have stood for */
		uint32_t counted = ai->acked > mss ? ai->acked - mss : 0;

		l->sacked_bytes -= BASE_MIN(l->sacked_bytes, counted);
	}
	if (t->ca_state == TCP_CA_LOSS)
		return; /* everything is marked already */
	if (ai->dup && l->sacked_bytes + 2 * mss <= t->snd_nxt - t->snd_una)
		l->sacked_bytes += mss;
	if (t->ca_state == TCP_CA_RECOVERY) {
		if (ai->acked)
			head_lost(t); /* RFC 6582 3.2 step 5: a partial acknowledgment */
		return;
	}
	/* RFC 6582 3.2 step 2: not for duplicates of what the last recovery itself sent. */
	if (t->dupacks >= TCP_DUPTHRESH && seq_gt(t->snd_una, l->recover))
		head_lost(t);
}

const struct tcp_loss_ops tcp_loss_newreno = {
	.name = "newreno",
	.detect = newreno_detect,
};
