/* tcp_step.h - the small steps that the short way and the complete one have in common
 *
 * What it does: holds, inline, what tcp_fast.c does exactly as tcp_ack.c, tcp_reass.c and tcp_output.c do it, so that
 * it is written once. Who includes it: these files. Memory and thread: tcb.h.
 */
#ifndef ZTCP_TCP_STEP_H
#define ZTCP_TCP_STEP_H

#include "stack/tcp/tcp_int.h"

#define TCP_CHUNK_BYTES  256 /* below this average size the number of blocks is what limits */
#define TCP_CHUNKS_MIN   128
#define TCP_TLP_DELAY_US 200000 /* RFC 8985 7.2 TLP.max_ack_delay */

/* A peer may not pin more blocks than its window is worth: see tcp_reass.c. */
BASE_INLINE bool tcp_chunks_full(const struct tcb *t)
{
	uint32_t limit = BASE_MAX(t->rcvbuf / TCP_CHUNK_BYTES, (uint32_t)TCP_CHUNKS_MIN);

	return t->rcv_chunks >= BASE_MIN(limit, 60000u);
}

/* RFC 9293 3.10.7.4: take the window of the newest segment. SND.WL2 is not needed: an ACK below snd_una never gets
 * here, so SND.WL2 =< SEG.ACK always holds.
 */
BASE_INLINE void tcp_window_take(struct tcb *t, uint32_t seq, uint16_t field)
{
	uint32_t wnd = (uint32_t)field << t->snd_wscale;

	t->snd_wl1 = seq;
	if (wnd != t->snd_wnd) {
		t->snd_wnd = wnd;
		t->max_wnd = BASE_MAX(t->max_wnd, wnd);
	}
}

BASE_INLINE void tcp_window_set(struct tcb *t, uint32_t seq, uint16_t field)
{
	tcp_window_take(t, seq, field);
	t->todo |= TCP_DO_SEND;
}

/* ---------------------------------------------------------------- what the receiver tells */

BASE_INLINE uint32_t tcp_window_room(const struct tcb *t)
{
	uint32_t room = t->rcv_queued < t->rcvbuf ? t->rcvbuf - t->rcv_queued : 0;

	return BASE_MIN(room, 65535u << t->rcv_wscale);
}

BASE_INLINE uint32_t tcp_window_step(const struct tcb *t)
{
	return BASE_MIN(t->rcvbuf / 2, (uint32_t)t->mss);
}

/* tcp_window_offer() */
BASE_INLINE uint16_t tcp_window_field(struct tcb *t)
{
	uint32_t wnd = t->rcv_adv - t->rcv_nxt, room;

	/* Nearly always: more than half is open, and less than a segment could be added. What was told fits its field. */
	room = t->rcvbuf - wnd;
	if (BASE_LIKELY(room < t->mss && (int32_t)room < (int32_t)wnd))
		return (uint16_t)(wnd >> t->rcv_wscale);
	wnd = tcp_rcv_wnd(t);
	room = tcp_window_room(t);

	if (room >= wnd + tcp_window_step(t))
		wnd = room;
	wnd >>= t->rcv_wscale;
	wnd = BASE_MIN(wnd, 65535u);
	t->rcv_adv = seq_max(t->rcv_adv, t->rcv_nxt + (wnd << t->rcv_wscale));
	return (uint16_t)wnd;
}

/* What has been read up to @read_seq since tune_ms is near half of the buffer. */
BASE_INLINE bool tcp_window_much_read(const struct tcb *t, uint32_t read_seq)
{
	return read_seq - t->tune_seq + 8u * t->rcv_mss > t->rcvbuf / 2;
}

/* Half of the window is used up. */
BASE_INLINE bool tcp_window_small(const struct tcb *t)
{
	return 2 * tcp_rcv_wnd(t) <= t->rcvbuf;
}

/* The application has read: tell the peer when its window had become small. */
BASE_INLINE void tcp_window_told(struct tcb *t, ztime_t now)
{
	uint32_t read_seq = t->rcv_nxt - t->rcv_queued;

	if (BASE_UNLIKELY(tcp_window_much_read(t, read_seq)))
		tcp_window_measure(t, read_seq, now);
	if (BASE_UNLIKELY(tcp_window_small(t))) {
		uint32_t wnd = tcp_rcv_wnd(t), room = tcp_window_room(t);

		if (room >= 2 * wnd && room - wnd >= tcp_window_step(t))
			t->todo |= TCP_DO_ACK;
	}
}

/* In-order data has just been taken, in packets of @size bytes, and @owed of it are not acknowledged. */
BASE_INLINE void tcp_ack_choose(struct tcb *t, const struct tcp_env *env, uint32_t owed,
				uint32_t size, ztime_t now)
{
	if (BASE_UNLIKELY(size > t->rcv_mss))
		tcp_rcv_mss_learn(t, size);
	if (t->quick || owed >= 2u * t->rcv_mss || t->ooo || tcp_is(t, TCP_F_QUICKACK)) {
		t->quick -= t->quick > 0;
		t->todo |= TCP_DO_ACK;
		return;
	}
	if (t->delack_at == ZTIME_NEVER)
		t->delack_at = now + ztime_us(env->cfg.delack_us);
}

/* ---------------------------------------------------------------- what an ACK tells */

/* RFC 6298 (2.3); @us is at most 100 s, and there was a round trip before. */
BASE_INLINE void tcp_rtt_next(struct tcb *t, uint32_t us)
{
	uint32_t m = us + (us < 1), smoothed = t->srtt_us8, var = t->rttvar_us4;
	int32_t err = (int32_t)(m - (smoothed >> 3));

	if (BASE_UNLIKELY(m < t->min_rtt_us))
		t->min_rtt_us = m;
	t->srtt_us8 = smoothed + (uint32_t)err;
	t->rttvar_us4 = var - (var >> 2) + (uint32_t)__builtin_abs(err);
}

BASE_INLINE void tcp_rtt_take(struct tcb *t, uint32_t us)
{
	if (BASE_UNLIKELY(!t->srtt_us8))
		tcp_rtt_first(t, us + !us);
	else
		tcp_rtt_next(t, us);
}

/* RFC 6298 (2.2) and (2.3): the timeout that follows from the round trips; before there is one, what was set. The minimum
 * is on top of the round trip, since it is there for peers that delay an acknowledgement as long (2.4).
 */
BASE_INLINE uint32_t tcp_rto_us(const struct tcb *t)
{
	const struct tcp_config *cfg = &t->env->cfg;
	uint32_t rto = (t->srtt_us8 >> 3) + BASE_MAX(t->rttvar_us4, cfg->rto_min_us);

	if (BASE_UNLIKELY(!t->srtt_us8))
		return t->rto_first_us;
	return BASE_MIN(rto, cfg->rto_max_us);
}

BASE_INLINE void tcp_space_tell(struct tcb *t)
{
	if (t->snd_una == t->snd_nxt && t->snd_nxt == t->snd_end)
		t->events |= TCP_EV_DRAINED;
	if (BASE_UNLIKELY(tcp_is(t, TCP_F_SND_FULL)) && tcp_send_space(t) >= t->sndbuf / 3) {
		t->flags &= ~(uint32_t)TCP_F_SND_FULL;
		t->events |= TCP_EV_WRITABLE;
	}
}

/* snd_una has moved: whatever was counted for want of that starts anew. */
BASE_INLINE void tcp_ack_progress(struct tcb *t)
{
	t->backoff = 0;
	t->stall_ms = 0;
	t->soft_errno = 0;
	t->dupacks = 0;
	t->todo |= TCP_DO_SEND;
	tcp_space_tell(t);
}

/* What is being sent acknowledges all that has come. */
BASE_INLINE void tcp_ack_paid(struct tcb *t)
{
	t->rcv_acked = t->rcv_nxt;
	t->delack_at = ZTIME_NEVER;
	t->todo &= (uint8_t)~TCP_DO_ACK;
}

/* Nothing was sent or heard for a timeout: the network's state is unknown (RFC 5681 4.1). */
BASE_INLINE bool tcp_idle(const struct tcb *t, ztime_t now)
{
	uint32_t idle_ms = tcp_now_ms(now) - t->seen_ms;

	return (uint64_t)idle_ms * 1000 > tcp_rto_us(t);
}

/* A segment has come. When it ends an idle time, what we send now is the first after it: a server's answer. */
BASE_INLINE void tcp_seen(struct tcb *t, ztime_t now)
{
	if (BASE_UNLIKELY(!t->sent && tcp_idle(t, now)))
		tcp_idle_restart(t);
	t->seen_ms = tcp_now_ms(now);
}

/* A run that is being sent for the first time. */
BASE_INLINE void tcp_sent_fill(struct tcp_sent *s, uint32_t seq, uint32_t end,
			       struct tcp_chunk *chunk, uint32_t flags, ztime_t now)
{
	s->sent_at = now;
	s->chunk = chunk;
	s->seq = seq;
	s->end = end;
	s->gap_ns = 0;
	s->flags = (uint16_t)flags;
	s->retrans = 0;
}

/* Nagle's rule in Minshall's form: a short segment waits only while another short one is unacknowledged, so that a
 * large write never waits for a delayed ACK of its own middle (RFC 9293 3.7.4).
 */
BASE_INLINE bool tcp_nagle_ok(const struct tcb *t)
{
	return tcp_is(t, TCP_F_NODELAY) || seq_le(t->snd_sml, t->snd_una) ||
	       seq_gt(t->snd_sml, t->snd_nxt);
}

BASE_INLINE bool tcp_short_ok(const struct tcb *t)
{
	if (tcp_is(t, TCP_F_FIN_QUEUED) || t->todo & TCP_DO_FORCE)
		return true;
	if (t->flags & (TCP_F_CORK | TCP_F_MORE))
		return false;
	return tcp_nagle_ok(t);
}

/* RFC 8985 7.2: a probe needs a healthy flight and a round trip to time it by. */
BASE_INLINE bool tcp_tlp_wanted(const struct tcb *t)
{
	return (t->flags & (TCP_F_SACK | TCP_F_TLP)) == TCP_F_SACK && t->srtt_us8 &&
	       t->ca_state == TCP_CA_OPEN && t->env->cfg.loss == &tcp_loss_rack &&
	       (!t->loss || !(t->loss->sacked_bytes | t->loss->lost_bytes));
}

/* A probe for what is in flight now. */
BASE_INLINE void tcp_tlp_arm(struct tcb *t, ztime_t now)
{
	uint32_t pto_us = t->srtt_us8 >> 2, rto_us = tcp_rto_us(t); /* twice SRTT */

	if (t->pipe <= t->mss)
		pto_us += TCP_TLP_DELAY_US; /* a single segment may meet a delayed ACK */
	pto_us = BASE_MIN(pto_us, rto_us);  /* never later than the timeout would have come */
	t->xmit_mode = TCP_XMIT_TLP;
	t->xmit_at = now + ztime_us(BASE_MAX(pto_us, 1000u));
}

/* Out of TCP_XMIT_LONE and TCP_XMIT_QUIET, if it is in one of them. */
BASE_INLINE void tcp_fast_end(struct tcb *t)
{
	if (t->xmit_mode >= TCP_XMIT_LONE)
		tcp_fast_leave(t);
}

/* Set the clock for what is in flight now. */
BASE_INLINE void tcp_xmit_arm_sent(struct tcb *t, ztime_t now)
{
	if (BASE_LIKELY(tcp_tlp_wanted(t)))
		tcp_tlp_arm(t, now);
	else
		tcp_rto_arm(t, now);
}

/* New @data, or a FIN alone, has just been sent. */
BASE_INLINE void tcp_sent_fresh(struct tcb *t, bool data, ztime_t now)
{
	if (BASE_LIKELY(data))
		t->quick = 0; /* we answer: ACKs can ride on answers from now on */
	t->seen_ms = tcp_now_ms(now);
	/* RFC 8985 7.2: a loss probe is timed from the last transmission; RFC 6298 5.1: the RTO runs on. */
	if (t->xmit_mode != TCP_XMIT_RTO && t->xmit_mode != TCP_XMIT_REO)
		tcp_xmit_arm_sent(t, now);
}

/* RFC 7661 4.3: a window that is no more than half used holds nobody back; one that is used more may grow in slow start even when
 * it did not hold the last segment back, or a sender of small flights would never get past the initial window.
 */
BASE_INLINE void tcp_cwnd_used(struct tcb *t)
{
	if (2 * tcp_inflight(t) <= t->cc.cwnd) {
		if (!t->unsent)
			t->flags &= ~(uint32_t)TCP_F_CWND_LIMITED;
	} else if (cc_slow_start(&t->cc)) {
		t->flags |= TCP_F_CWND_LIMITED;
	}
}

/* Nothing is in flight any more: no timer runs unless something waits to be sent. */
BASE_INLINE void tcp_flight_empty(struct tcb *t, ztime_t now)
{
	if (BASE_UNLIKELY(t->unsent || tcp_fin_unsent(t))) {
		tcp_xmit_arm(t, now);
		return;
	}
	t->xmit_mode = TCP_XMIT_NONE;
	t->xmit_at = ZTIME_NEVER;
}

#endif
