/* tcp_step.h - the small steps that the short way and the complete one have in common
 *
 * What it does: holds, inline, what tcp_fast.c does exactly as tcp_ack.c, tcp_reass.c and tcp_output.c do it, so that
 * it is written once. Who includes it: these files. Memory and thread: tcb.h.
 */
#ifndef ZTCP_TCP_STEP_H
#define ZTCP_TCP_STEP_H

#include "stack/tcp/tcp_int.h"

#define TCP_CHUNK_BYTES 256 /* below this average size the number of blocks is what limits */
#define TCP_CHUNKS_MIN  128

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

	if (seq_lt(seq, t->snd_wl1))
		return;
	t->snd_wl1 = seq;
	if (wnd != t->snd_wnd) {
		t->snd_wnd = wnd;
		t->max_wnd = BASE_MAX(t->max_wnd, wnd);
	}
	t->todo |= TCP_DO_SEND;
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

	return (uint64_t)idle_ms * 1000 > t->rto_us;
}

/* Nagle's rule in Minshall's form: a short segment waits only while another short one is unacknowledged, so that a
 * large write never waits for a delayed ACK of its own middle (RFC 9293 3.7.4).
 */
BASE_INLINE bool tcp_short_ok(const struct tcb *t)
{
	if (tcp_is(t, TCP_F_FIN_QUEUED) || t->todo & TCP_DO_FORCE)
		return true;
	if (t->flags & (TCP_F_CORK | TCP_F_MORE))
		return false;
	if (tcp_is(t, TCP_F_NODELAY))
		return true;
	return seq_le(t->snd_sml, t->snd_una) || seq_gt(t->snd_sml, t->snd_nxt);
}

/* New @data, or a FIN alone, has just been sent. */
BASE_INLINE void tcp_sent_fresh(struct tcb *t, bool data, ztime_t now)
{
	if (BASE_LIKELY(data))
		t->quick = 0; /* we answer: ACKs can ride on answers from now on */
	t->seen_ms = tcp_now_ms(now);
	/* RFC 8985 7.2: a loss probe is timed from the last transmission; RFC 6298 5.1: the RTO runs on. */
	if (t->xmit_mode != TCP_XMIT_RTO && t->xmit_mode != TCP_XMIT_REO)
		tcp_xmit_arm(t, now);
}

/* RFC 7661: a window that is half empty holds nobody back. */
BASE_INLINE void tcp_cwnd_unused(struct tcb *t)
{
	if (2 * tcp_inflight(t) < t->cc.cwnd && !t->unsent)
		t->flags &= ~(uint32_t)TCP_F_CWND_LIMITED;
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
