/* tcp_loss_sack.c - RFC 6675: a run is lost when more than two segments above it have been SACKed
 *
 * Kept beside RACK for comparison and for links that reorder by distance rather than by time. What this
 * rule cannot see, a retransmission that is lost again, the timer finds.
 */
#include "stack/tcp/tcp_int.h"

static void sack_detect(struct tcb *t, const struct tcp_ackinfo *ai, ztime_t now, ztime_t *reo_at)
{
	struct tcp_loss *l = t->loss;
	uint32_t above = l->sacked_bytes, enough = (TCP_DUPTHRESH - 1) * (uint32_t)t->mss;
	struct tcp_sent *s = tcp_sent_first(t);

	(void)ai, (void)now, (void)reo_at;
	/* RFC 6675 4 IsLost(): bytes SACKed above exceed (DupThresh - 1) * SMSS. */
	for (; s && above > enough; s = tcp_sent_next(t, s)) {
		if (s->flags & TCP_SENT_SACKED)
			above -= s->end - s->seq;
		else if (!(s->flags & (TCP_SENT_LOST | TCP_SENT_RETRANS)))
			tcp_sent_mark_lost(t, s);
	}
	/* RFC 6675 5 (1): the third duplicate ACK starts recovery even when segments are small. */
	s = tcp_sent_first(t);
	if (t->dupacks >= TCP_DUPTHRESH && t->ca_state == TCP_CA_OPEN && s && !s->flags)
		tcp_sent_mark_lost(t, s);
}

const struct tcp_loss_ops tcp_loss_sack = {
	.name = "sack",
	.detect = sack_detect,
};
