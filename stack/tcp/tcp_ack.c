/* tcp_ack.c - fifth: check the ACK field (RFC 9293 3.10.7.4, RFC 5961 5, RFC 5681, RFC 7323 4)
 *
 * Theory of operation: an ACK does up to five things, in this order, each a function: the SACK option marks runs, the
 * cumulative number removes runs and gives back payload, the window moves, loss recovery or congestion
 * control hears what was delivered, and the retransmission timer is set anew. Everything the later
 * steps need to know is collected in struct tcp_ackinfo.
 *
 * Who calls: tcp_input() for connections past the handshake. State changes that an acknowledged FIN means
 * are made in tcp_input.c.
 */
#include "stack/tcp/tcp_step.h"

void tcp_window_update(struct tcb *t, const struct wire_tcp *seg)
{
	if (seq_ge(seg->seq, t->snd_wl1))
		tcp_window_set(t, seg->seq, seg->wnd);
}

/* RFC 5681 2: a duplicate acknowledgment. */
static bool ack_is_dup(const struct tcb *t, const struct wire_tcp *seg)
{
	return t->sent && !seg->len && !(seg->flags & (TCP_SYN | TCP_FIN)) &&
	       seg->ack == t->snd_una && (uint32_t)seg->wnd << t->snd_wscale == t->snd_wnd;
}

static void ack_advance(struct tcb *t, uint32_t ack, struct tcp_ackinfo *ai, ztime_t now)
{
	ai->acked = ack - t->snd_una;
	tcp_sent_acked(t, ack, ai, now);
	t->snd_una = ack;
	tcp_sndq_release(t);
	if (BASE_UNLIKELY(tcp_is(t, TCP_F_URG_SND) && seq_ge(ack, t->snd_up)))
		t->flags &= ~(uint32_t)TCP_F_URG_SND;
	tcp_ack_progress(t);
}

void tcp_ack_growth(struct tcb *t, uint32_t delivered, uint32_t rtt_us, ztime_t now)
{
	struct cc_ack ca = {
		.acked = delivered,
		.mss = t->mss,
		.srtt_us = tcp_srtt_us(t),
		.rtt_us = rtt_us,
		.una = t->snd_una,
		.next = t->snd_nxt,
		.now = now,
	};

	t->cc.ops->ack(&t->cc, &ca);
}

/* RFC 3168 6.1.2: the peer says that a packet of ours met congestion. */
static void ack_ecn(struct tcb *t, const struct wire_tcp *seg, ztime_t now)
{
	if (seg->flags & TCP_ECE && tcp_is(t, TCP_F_ECN) && t->sent)
		tcp_loss_ecn(t, now);
}

/* What MSG_MORE holds waits for more no longer than until an acknowledgement comes, as the kernel's does: the rest may
 * be long in coming, and the network is idle meanwhile.
 */
static void ack_more(struct tcb *t)
{
	if (!tcp_is(t, TCP_F_CORK) && tcp_nagle_ok(t) && tcp_unsent(t) <= tcp_peer_room(t))
		t->todo |= TCP_DO_FORCE;
}

static void ack_timer(struct tcb *t, const struct tcp_ackinfo *ai, ztime_t now)
{
	if (t->xmit_mode == TCP_XMIT_REO && t->loss && t->sent)
		return; /* loss recovery has set it */
	if (ai->acked || ai->sacked || !t->sent)
		tcp_xmit_arm(t, now); /* RFC 6298 5.2, 5.3 */
}

/* Nothing is amiss and something was acknowledged: what happens for nearly every ACK. */
static void ack_healthy(struct tcb *t, const struct tcp_ackinfo *ai, ztime_t now)
{
	tcp_rtt_sample(t, ai->rtt_us);
	if (ai->acked)
		tcp_ack_congestion(t, ai, now);
}

static void ack_troubled(struct tcb *t, struct tcp_ackinfo *ai, ztime_t now)
{
	tcp_rtt_sample(t, ai->rtt_us);
	if (ai->dup && t->dupacks < UINT8_MAX)
		t->dupacks++;
	if (tcp_is(t, TCP_F_TLP))
		tcp_loss_tlp_ack(t, ai);
	if (t->loss || (ai->dup && tcp_loss_get(t)))
		tcp_loss_ack(t, ai, now);
	/* RFC 5681 3.2: duplicate ACKs before the fast retransmit do not open the window. */
	if (t->ca_state == TCP_CA_LOSS || (t->ca_state == TCP_CA_OPEN && ai->acked))
		tcp_ack_congestion(t, ai, now);
	if (t->loss && !t->sent)
		tcp_loss_put(t);
}

enum counter tcp_ack(struct tcb *t, const struct wire_tcp *seg, ztime_t now)
{
	struct tcp_ackinfo ai = {
		.prior_una = t->snd_una,
		.rtt_us = -1,
		.rack_sent_at = -1,
		.tsecr_ok = (seg->opts & TCP_OPT_TS) && seg->tsecr,
		.tsecr = seg->tsecr,
	};

	if (BASE_UNLIKELY(t->probes)) { /* the peer lives */
		t->probes = 0;
		tcp_keep_arm(t, now);
	}
	if (BASE_UNLIKELY(seq_gt(seg->ack, t->snd_nxt))) {
		tcp_challenge(t, now); /* limited: two ends that disagree would go on for ever */
		return CNT_tcp_ack_future;
	}
	if (BASE_UNLIKELY(seq_lt(seg->ack, t->snd_una))) {
		/* RFC 5961 5.2: older than any window we ever saw cannot be a late segment of this connection. */
		if (t->snd_una - seg->ack > t->max_wnd) {
			tcp_challenge(t, now);
			return CNT_tcp_ack_old;
		}
		return CNT_none; /* a late ACK: its text still counts */
	}
	ai.dup = ack_is_dup(t, seg);
	if (BASE_UNLIKELY(seg->opts & TCP_OPT_SACK) && tcp_is(t, TCP_F_SACK))
		tcp_sack_apply(t, seg, &ai, now);
	if (seg->ack != t->snd_una)
		ack_advance(t, seg->ack, &ai, now);
	tcp_window_update(t, seg);
	if (BASE_UNLIKELY(tcp_is(t, TCP_F_MORE)) && ai.acked)
		ack_more(t);
	ack_ecn(t, seg, now);
	if (BASE_LIKELY(!t->loss && !ai.dup && !tcp_is(t, TCP_F_TLP)))
		ack_healthy(t, &ai, now);
	else
		ack_troubled(t, &ai, now);
	ack_timer(t, &ai, now);
	return CNT_none;
}
