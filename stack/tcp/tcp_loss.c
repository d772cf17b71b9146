/* tcp_loss.c - recovering from loss: what is common to all ways of detecting it
 *
 * Theory of operation. An episode begins when something is found lost (RECOVERY), when the peer echoes a
 * congestion mark (CWR), or when the retransmission timer runs out (LOSS); it ends when all that was in flight at
 * its beginning has been acknowledged (`recover`, RFC 6582). At the beginning congestion control names ssthresh; during
 * RECOVERY and CWR Proportional Rate Reduction (RFC 6937) walks cwnd down to it, one ACK at a time; after a
 * timeout cwnd restarts at one segment.
 *
 * What is lost is decided by a table of one function (struct tcp_loss_ops): RACK (RFC 8985) or the byte count
 * of RFC 6675 where the peer has SACK, NewReno (RFC 6582) where not. Lost runs wait on loss->lost;
 * tcp_output.c sends them as cwnd permits.
 *
 * A reduction is taken back when the peer reports every retransmission as a duplicate (RFC 2883, RFC 3708)
 * when the first ACK after it echoes an older timestamp (RFC 3522), or when after a timeout something arrives that
 * was not sent again (RFC 5682): then nothing had been lost.
 */
#include "stack/tcp/tcp_int.h"

#define REO_MULT_MAX 16
#define REO_PERSIST  16 /* RFC 8985 6.2: recoveries after which reo_wnd is small again */

bool tcp_loss_get(struct tcb *t)
{
	struct tcp_loss *l = t->loss;

	if (l)
		return true;
	l = tcp_mem_get(t->env, TCP_MEM_LOSS);
	if (!l)
		return false;
	*l = (struct tcp_loss){
		.recover = t->snd_una - 1,
		.high_sacked = t->snd_una,
		.dsack_round = t->snd_una,
		.rack_sent_at = -1,
	};
	t->loss = l;
	return true;
}

void tcp_loss_put(struct tcb *t)
{
	if (!t->loss)
		return;
	tcp_mem_put(t->env, TCP_MEM_LOSS, t->loss);
	t->loss = NULL;
	t->ca_state = TCP_CA_OPEN;
}

static const struct tcp_loss_ops *loss_ops(const struct tcb *t)
{
	return tcp_is(t, TCP_F_SACK) ? t->env->cfg.loss : &tcp_loss_newreno;
}

/* ---------------------------------------------------------------- an episode */

static void episode_begin(struct tcb *t, enum tcp_ca state, enum cc_signal why)
{
	struct tcp_loss *l = t->loss;
	uint32_t flight = BASE_MIN(t->snd_nxt - t->snd_una, t->cc.cwnd);

	l->undo_cc = t->cc;
	l->undo_ok = why != CC_SIGNAL_ECN;
	l->undo_ts_ok = false;
	l->undo_retrans = 0;
	l->recover = t->snd_nxt;
	l->prr_delivered = l->prr_out = 0;
	l->prr_pipe = BASE_MAX(flight, 1u);
	t->cc.ops->congestion(&t->cc, why, flight, t->mss);
	if (tcp_is(t, TCP_F_ECN))
		t->flags |= TCP_F_ECN_CWR; /* RFC 3168 6.1.2: for whatever reason */
	t->ca_state = state;
}

static void episode_end(struct tcb *t)
{
	if (tcp_in_recovery(t))
		t->cc.cwnd = t->cc.ssthresh; /* RFC 6937 3 */
	if (t->ca_state == TCP_CA_RECOVERY && t->reo_persist && !--t->reo_persist)
		t->reo_mult = 1;
	if (!tcp_is(t, TCP_F_SACK))
		t->loss->sacked_bytes = 0;
	t->ca_state = TCP_CA_OPEN;
}

static void recovery_enter(struct tcb *t)
{
	tcp_count(t, CNT_tcp_recovery);
	if (t->ca_state == TCP_CA_CWR) {
		t->ca_state = TCP_CA_RECOVERY; /* this window has paid already */
		return;
	}
	episode_begin(t, TCP_CA_RECOVERY, CC_SIGNAL_LOSS);
}

void tcp_loss_ecn(struct tcb *t, ztime_t now)
{
	(void)now;
	if (t->ca_state != TCP_CA_OPEN || !tcp_loss_get(t))
		return;
	episode_begin(t, TCP_CA_CWR, CC_SIGNAL_ECN);
	tcp_count(t, CNT_tcp_ecn_cwr);
}

/* RFC 6937 3: how much may be sent now for what has just been delivered. @safe: the ACK advances and shows no new
 * loss, so that the network can take a segment more (RFC 9937 6, SafeACK); else no more than has left it.
 */
static void prr_ack(struct tcb *t, uint32_t delivered, bool safe)
{
	struct tcp_loss *l = t->loss;
	uint32_t pipe = tcp_inflight(t), ssthresh = t->cc.ssthresh, can = 0;

	l->prr_delivered += delivered;
	if (pipe > ssthresh) {
		uint64_t due = ((uint64_t)l->prr_delivered * ssthresh + l->prr_pipe - 1) /
			       l->prr_pipe;

		can = due > l->prr_out ? (uint32_t)(due - l->prr_out) : 0;
	} else {
		uint32_t slack = l->prr_delivered > l->prr_out ? l->prr_delivered - l->prr_out : 0;

		can = BASE_MAX(slack, delivered) + (safe ? t->mss : 0);
		can = BASE_MIN(can, ssthresh - pipe);
	}
	if (!l->prr_out)
		can = BASE_MAX(can, (uint32_t)t->mss); /* the fast retransmit itself */
	t->cc.cwnd = BASE_MAX(pipe + can, (uint32_t)t->mss);
}

/* ---------------------------------------------------------------- false alarms */

static void undo(struct tcb *t)
{
	struct tcp_loss *l = t->loss;
	uint32_t cwnd = BASE_MAX(t->cc.cwnd, l->undo_cc.cwnd);

	t->cc = l->undo_cc;
	t->cc.cwnd = cwnd;
	l->undo_ok = l->undo_ts_ok = false;
	while (l->lost)
		tcp_sent_unmark(t, base_container_of(l->lost, struct tcp_sent, by_time));
	if (!tcp_is(t, TCP_F_SACK))
		l->sacked_bytes = 0;
	t->ca_state = TCP_CA_OPEN;
	t->flags |= TCP_F_REORDER; /* late is all it was */
	t->flags &= ~(uint32_t)TCP_F_ECN_CWR;
	tcp_count(t, CNT_tcp_undo);
}

/* RFC 3522: the first ACK that advances after the first retransmission tells which copy filled the hole. */
static void undo_by_timestamp(struct tcb *t, const struct tcp_ackinfo *ai)
{
	struct tcp_loss *l = t->loss;

	if (!l->undo_ts_ok || !ai->acked || !ai->tsecr_ok || !tcp_is(t, TCP_F_TS))
		return;
	l->undo_ts_ok = false;
	if (l->undo_ok && t->ca_state != TCP_CA_OPEN && seq_lt(ai->tsecr, l->undo_tsval))
		undo(t);
}

static void undo_by_dsack(struct tcb *t, const struct tcp_ackinfo *ai)
{
	struct tcp_loss *l = t->loss;

	if (!ai->dsack)
		return;
	/* RFC 8985 6.2 step 4: a needless retransmission: wait longer for stragglers, once a round trip. */
	if (seq_ge(t->snd_una, l->dsack_round)) {
		t->reo_mult += t->reo_mult < REO_MULT_MAX;
		t->reo_persist = REO_PERSIST;
		l->dsack_round = t->snd_nxt;
	}
	if (l->undo_ok && l->undo_retrans && !--l->undo_retrans)
		undo(t);
}

/* RFC 5682 2.1 and 3.1, steps 2 and 3: after the first segment was repeated and acknowledged, new data goes out. When the
 * peer then has something that was in flight at the timeout and was sent once, it had been on its way all the time.
 */
static void frto_ack(struct tcb *t, const struct tcp_ackinfo *ai)
{
	struct tcp_loss *l = t->loss;
	bool advances = ai->acked && seq_lt(t->snd_una, l->recover);

	if (t->ca_state != TCP_CA_LOSS || l->frto == TCP_FRTO_NONE)
		return;
	if (l->frto == TCP_FRTO_HEAD) {
		l->frto = advances && t->unsent && tcp_peer_room(t) ? TCP_FRTO_NEW : TCP_FRTO_NONE;
	} else if (ai->original && !ai->repeated && l->undo_ok) {
		l->frto = TCP_FRTO_NONE;
		tcp_count(t, CNT_tcp_frto);
		undo(t);
	} else if (ai->dup || ai->sacked) {
		l->frto = TCP_FRTO_NONE; /* a real one: step 3a */
		t->cc.cwnd = 3u * t->mss;
	}
}

/* ---------------------------------------------------------------- events */

static void rack_advance(struct tcp_loss *l, const struct tcp_ackinfo *ai, ztime_t now)
{
	if (ai->rack_sent_at < l->rack_sent_at || ai->rack_sent_at < 0 ||
	    (ai->rack_sent_at == l->rack_sent_at && seq_le(ai->rack_end, l->rack_end)))
		return;
	l->rack_sent_at = ai->rack_sent_at;
	l->rack_end = ai->rack_end;
	l->rack_rtt_us = (uint32_t)((now - ai->rack_sent_at) / ZTIME_US);
}

static void loss_detect(struct tcb *t, const struct tcp_ackinfo *ai, ztime_t now)
{
	ztime_t reo_at = ZTIME_NEVER;

	loss_ops(t)->detect(t, ai, now, &reo_at);
	if (t->loss->lost && (t->ca_state == TCP_CA_OPEN || t->ca_state == TCP_CA_CWR) &&
	    !tcp_raise_lost(t, now))
		recovery_enter(t);
	if (reo_at != ZTIME_NEVER) {
		t->xmit_mode = TCP_XMIT_REO;
		t->xmit_at = reo_at;
	} else if (t->xmit_mode == TCP_XMIT_REO) {
		tcp_rto_arm(t, now);
	}
	t->todo |= TCP_DO_SEND;
}

/* An ACK while something is amiss. */
void tcp_loss_ack(struct tcb *t, struct tcp_ackinfo *ai, ztime_t now)
{
	struct tcp_loss *l = t->loss;
	uint32_t sacked = l->sacked_bytes, lost;

	rack_advance(l, ai, now);
	undo_by_timestamp(t, ai);
	undo_by_dsack(t, ai);
	frto_ack(t, ai);
	if (t->ca_state != TCP_CA_OPEN && seq_ge(t->snd_una, l->recover))
		episode_end(t);
	if (!t->sent)
		return;
	lost = l->lost_bytes;
	loss_detect(t, ai, now);
	/* Without SACK a duplicate ACK delivers a segment, which the next advance must not count again (RFC 6937). */
	if (!tcp_is(t, TCP_F_SACK)) {
		int64_t sum = (int64_t)ai->acked + l->sacked_bytes - sacked;

		ai->delivered = sum > 0 ? (uint32_t)sum : 0;
	}
	if (!tcp_in_recovery(t))
		return;
	prr_ack(t, ai->delivered, ai->acked && l->lost_bytes <= lost);
	if (!tcp_is(t, TCP_F_SACK) &&
	    ai->acked) /* RFC 6582 3.2 step 5: a partial ACK sends the next hole at once */
		t->cc.cwnd = BASE_MAX(t->cc.cwnd, tcp_inflight(t) + t->mss);
}

/* RFC 8985 6.3: the reordering window of the oldest suspect is over. */
void tcp_loss_reo_timeout(struct tcb *t, ztime_t now)
{
	const struct tcp_ackinfo none = { .rtt_us = -1, .rack_sent_at = -1 };

	t->xmit_mode = TCP_XMIT_NONE;
	if (!t->loss || !t->sent) {
		tcp_xmit_arm(t, now);
		return;
	}
	loss_detect(t, &none, now);
	if (tcp_in_recovery(t))
		prr_ack(t, 0, false);
	if (t->xmit_mode != TCP_XMIT_REO)
		tcp_rto_arm(t, now);
}

/* RFC 2018 8: SACK is advice; a first run that is SACKed but never acknowledged shows that it was withdrawn. */
static void renege_check(struct tcb *t)
{
	struct tcp_sent *s = tcp_sent_first(t);

	if (s && s->flags & TCP_SENT_SACKED)
		tcp_count(t, CNT_tcp_reneged);
	else
		return;
	for (; s; s = tcp_sent_next(t, s))
		if (s->flags & TCP_SENT_SACKED)
			tcp_sent_mark_lost(t, s);
	t->loss->sack_n = 0;
}

/* RFC 6298 5.4, RFC 5681 3.1: all that is not known to have arrived counts as lost. */
void tcp_loss_timeout(struct tcb *t, ztime_t now)
{
	(void)now;
	if (!t->sent || !tcp_loss_get(t))
		return;
	if (!tcp_is(t, TCP_F_SACK))
		t->loss->sacked_bytes = 0;
	/* RFC 5681: a segment that was sent again by the timer already does not lower ssthresh once more. */
	if (t->ca_state != TCP_CA_LOSS) {
		episode_begin(t, TCP_CA_LOSS, CC_SIGNAL_RTO);
		t->loss->frto = TCP_FRTO_HEAD;
	} else {
		t->loss->frto = TCP_FRTO_NONE; /* RFC 5682 2.1 step 1: not for a repeated timeout */
	}
	t->loss->recover = t->snd_nxt;
	t->cc.cwnd = t->mss;
	t->min_rtt_us = UINT32_MAX; /* the path may have changed */
	t->flags &= ~(uint32_t)(TCP_F_TLP | TCP_F_TLP_RETRANS);
	t->dupacks = 0;
	renege_check(t);
	for (struct tcp_sent *s = tcp_sent_first(t); s; s = tcp_sent_next(t, s))
		if (!(s->flags & TCP_SENT_SACKED))
			tcp_sent_mark_lost(t, s); /* again if it was, for the order by number */
	t->todo |= TCP_DO_SEND;
	tcp_count(t, CNT_tcp_rto);
}

/* RFC 8985 7.4: what the loss probe found. */
void tcp_loss_tlp_ack(struct tcb *t, const struct tcp_ackinfo *ai)
{
	bool plain_dup = ai->dup && !ai->sacked && !ai->acked;
	bool twice = ai->dsack && ai->dsack_end == t->tlp_end;

	if (seq_lt(t->snd_una, t->tlp_end))
		return;
	if (tcp_is(t, TCP_F_TLP_RETRANS) && !twice && !plain_dup) {
		if (!seq_gt(t->snd_una, t->tlp_end))
			return; /* the original or the probe? the next ACK tells */
		/* The probe repaired a loss: congestion control must hear of it. */
		tcp_count(t, CNT_tcp_tlp_recovered);
		if (t->ca_state == TCP_CA_OPEN && t->sent && tcp_loss_get(t))
			episode_begin(t, TCP_CA_CWR, CC_SIGNAL_LOSS);
	}
	t->flags &= ~(uint32_t)(TCP_F_TLP | TCP_F_TLP_RETRANS);
}

/* The path takes smaller segments than before: what is in flight in larger ones, from @seq on, is lost. */
void tcp_loss_resegment(struct tcb *t, uint32_t seq)
{
	if (!tcp_loss_get(t))
		return;
	for (struct tcp_sent *s = tcp_sent_first(t); s; s = tcp_sent_next(t, s))
		if (seq_gt(s->end, seq) && s->end - s->seq > t->mss &&
		    !(s->flags & (TCP_SENT_SACKED | TCP_SENT_LOST)))
			tcp_sent_mark_lost(t, s);
	t->todo |= TCP_DO_SEND;
}
