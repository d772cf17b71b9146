/* tcp_timer.c - what happens when nothing happens (RFC 6298, 8985 7, 9293 3.8, RFC 1122 4.2.3.5, RFC 5482)
 *
 * Theory of operation: a connection has three deadlines. xmit_at belongs to one of four purposes at a time
 * (xmit_mode): retransmission, tail loss probe, reordering window, zero-window probe. delack_at bounds the delay of an
 * ACK. slow_tick is, by state, the keep-alive clock, the patience of a closed socket in FIN-WAIT-2, or 2 MSL. A
 * paced flow with data to send has its pacing clock besides. tcp_output() calls tcp_timer_run() when the
 * earliest has come; being called late only delays, being called early does nothing.
 */
#include "stack/tcp/tcp_step.h"

#include <errno.h>

#define BLACK_HOLE_TIMEOUTS 3       /* RFC 4821 7.7 asks for more than one */
#define OVERRIDE_US         1000000 /* RFC 9293 3.8.6.2.1: what is held back waits no longer */

/* ---------------------------------------------------------------- arming */

static uint32_t rto_backed_off_us(const struct tcb *t)
{
	uint64_t us = (uint64_t)tcp_rto_us(t) << BASE_MIN(t->backoff, (uint8_t)20);

	return (uint32_t)BASE_MIN(us, (uint64_t)t->env->cfg.rto_max_us);
}

/* RFC 5482: no clock runs beyond the moment at which the connection is given up. */
static uint32_t user_timeout_cut(const struct tcb *t, uint32_t us, ztime_t now)
{
	uint32_t stood_ms = tcp_now_ms(now) - t->stall_ms, left_ms;

	if (BASE_LIKELY(!t->user_timeout_ms || !t->stall_ms))
		return us;
	left_ms = stood_ms < t->user_timeout_ms ? t->user_timeout_ms - stood_ms : 1;
	return (uint32_t)BASE_MIN((uint64_t)us, (uint64_t)left_ms * 1000);
}

void tcp_rto_arm(struct tcb *t, ztime_t now)
{
	t->xmit_mode = TCP_XMIT_RTO;
	t->xmit_at = now + ztime_us(user_timeout_cut(t, rto_backed_off_us(t), now));
}

static void persist_arm(struct tcb *t, ztime_t now)
{
	uint32_t us = rto_backed_off_us(t);

	if (tcp_peer_room(t))
		us = BASE_MIN(us, (uint32_t)OVERRIDE_US);
	t->xmit_mode = TCP_XMIT_PERSIST;
	t->xmit_at = now + ztime_us(user_timeout_cut(t, us, now));
}

static BASE_COLD void nothing_sent(struct tcb *t, ztime_t now)
{
	if (tcp_can_transmit(t) && (t->unsent || tcp_fin_unsent(t))) {
		if (t->xmit_mode != TCP_XMIT_PERSIST)
			persist_arm(t, now);
		return;
	}
	t->xmit_mode = TCP_XMIT_NONE;
	t->xmit_at = ZTIME_NEVER;
}

/* Set the clock for whatever is outstanding now. */
void tcp_xmit_arm(struct tcb *t, ztime_t now)
{
	if (BASE_LIKELY(t->sent))
		tcp_xmit_arm_sent(t, now);
	else
		nothing_sent(t, now);
}

void tcp_keep_arm(struct tcb *t, ztime_t now)
{
	if (t->state != TCP_ST_ESTABLISHED && t->state != TCP_ST_CLOSE_WAIT &&
	    t->state != TCP_ST_FIN_WAIT_2)
		return;
	if (t->state == TCP_ST_FIN_WAIT_2 && tcp_is(t, TCP_F_ORPHAN))
		return;
	t->slow_tick = 0;
	if (tcp_is(t, TCP_F_KEEPALIVE))
		tcp_slow_set(t, now + ztime_sec(t->probes ? t->keep_intvl_s : t->keep_idle_s));
}

/* A paced flow sends nothing before this. With nothing in flight there is nothing to keep a distance from. */
ztime_t tcp_pace_at(const struct tcb *t)
{
	const struct tcp_sent *last;

	if (!t->flight)
		return 0;
	last = base_container_of(t->flight->prev, struct tcp_sent, by_time);
	return last->sent_at + last->gap_ns;
}

ztime_t tcp_deadline(const struct tcb *t)
{
	ztime_t at = ztime_min(t->delack_at, tcp_slow_at(t));

	if (t->xmit_mode != TCP_XMIT_QUIET)
		at = ztime_min(at, t->xmit_at);
	if (BASE_UNLIKELY(tcp_is(t, TCP_F_PACING)) && t->todo & TCP_DO_SEND)
		at = ztime_min(at, tcp_pace_at(t));
	return at;
}

/* ---------------------------------------------------------------- giving up */

static void give_up(struct tcb *t)
{
	tcp_count(t, CNT_tcp_timeout);
	tcp_fail(t, t->soft_errno ? t->soft_errno : ETIMEDOUT);
}

/* RFC 5482: how long data may stay unacknowledged, when the application has said. */
static bool user_timeout(struct tcb *t, ztime_t now)
{
	uint32_t now_ms = tcp_now_ms(now);

	if (!t->stall_ms) /* the first time: it has been standing since it was sent */
		t->stall_ms = (now_ms - tcp_rto_us(t) / 1000) | 1;
	return t->user_timeout_ms && now_ms - t->stall_ms >= t->user_timeout_ms;
}

static uint8_t retries_max(const struct tcb *t)
{
	const struct tcp_config *cfg = &t->env->cfg;

	if (t->state == TCP_ST_SYN_SENT)
		return t->syn_retries;
	if (t->state == TCP_ST_SYN_RCVD)
		return cfg->synack_retries;
	return tcp_is(t, TCP_F_ORPHAN) ? cfg->orphan_retries : cfg->data_retries;
}

/* RFC 9293 3.8.6.1: a peer that answers may keep its window shut for ever. */
static bool peer_lives(const struct tcb *t, ztime_t now)
{
	uint32_t quiet_ms = tcp_now_ms(now) - t->seen_ms;

	return tcp_synchronized(t) && !t->snd_wnd && !tcp_is(t, TCP_F_ORPHAN) &&
	       quiet_ms < 2 * (rto_backed_off_us(t) / 1000);
}

/* ---------------------------------------------------------------- xmit_at */

static void syn_timeout(struct tcb *t, ztime_t now)
{
	t->backoff++;
	t->todo |= TCP_DO_SYN;
	tcp_rto_arm(t, now);
}

/* RFC 4821 7.7, without ICMP: the same segment vanishes again and again, so try smaller ones. A peer that has shut its window
 * throws away what is in flight, of whatever size.
 */
static void black_hole_check(struct tcb *t, ztime_t now)
{
	struct tcp_sent *s = tcp_sent_first(t);
	uint32_t floor = t->env->cfg.mss_floor, len = BASE_MIN(s->end - s->seq, (uint32_t)t->mss);

	if (t->backoff % BLACK_HOLE_TIMEOUTS || t->mss <= floor || len <= floor || !t->snd_wnd)
		return;
	t->probed_mss = (uint16_t)BASE_MAX(len / 2, floor);
	tcp_mss_update(t);
	tcp_raise_later(t, now);
	tcp_count(t, CNT_tcp_black_hole);
}

static void rto_timeout(struct tcb *t, ztime_t now)
{
	if (user_timeout(t, now) || (t->backoff >= retries_max(t) && !peer_lives(t, now))) {
		give_up(t);
		return;
	}
	if (t->state == TCP_ST_SYN_SENT || t->state == TCP_ST_SYN_RCVD) {
		syn_timeout(t, now);
		return;
	}
	tcp_loss_timeout(t, now);
	if (t->backoff < UINT8_MAX)
		t->backoff++;
	black_hole_check(t, now);
	tcp_rto_arm(t, now);
}

/* The window is shut, or Nagle or a cork holds the last bytes. */
static void persist_timeout(struct tcb *t, ztime_t now)
{
	t->xmit_mode = TCP_XMIT_NONE;
	t->xmit_at = ZTIME_NEVER;
	if (t->sent || !(t->unsent || tcp_fin_unsent(t)))
		return;
	if (tcp_peer_room(t)) {
		t->flags &= ~(uint32_t)TCP_F_MORE; /* it did not come in time */
		t->todo |= TCP_DO_FORCE | TCP_DO_SEND;
		persist_arm(t, now);
		return;
	}
	if (user_timeout(t, now) || t->probes >= retries_max(t)) {
		give_up(t);
		return;
	}
	t->probes++;
	if (t->backoff < UINT8_MAX)
		t->backoff++;
	t->todo |= TCP_DO_PROBE;
	tcp_count(t, CNT_tcp_probe_window);
	persist_arm(t, now);
}

static void xmit_timeout(struct tcb *t, ztime_t now)
{
	switch ((enum tcp_xmit_mode)t->xmit_mode) {
	case TCP_XMIT_NONE: t->xmit_at = ZTIME_NEVER; break;
	case TCP_XMIT_RTO: rto_timeout(t, now); break;
	case TCP_XMIT_TLP:
		t->todo |= TCP_DO_TLP;
		tcp_rto_arm(t, now);
		break;
	case TCP_XMIT_REO: tcp_loss_reo_timeout(t, now); break;
	case TCP_XMIT_PERSIST: persist_timeout(t, now); break;
	case TCP_XMIT_LONE: /* tcp_output() has ended them */
	case TCP_XMIT_QUIET: break;
	}
}

/* ---------------------------------------------------------------- slow_tick */

static void keep_timeout(struct tcb *t, ztime_t now)
{
	uint32_t quiet_ms = tcp_now_ms(now) - t->seen_ms;

	if (!tcp_is(t, TCP_F_KEEPALIVE) || t->sent || t->unsent) {
		tcp_keep_arm(t, now); /* unacknowledged data tells as much (RFC 9293 3.8.4) */
		return;
	}
	if (!t->probes && quiet_ms < t->keep_idle_s * 1000u) {
		tcp_slow_set(t, now + ztime_ms(t->keep_idle_s * 1000u - quiet_ms));
		return;
	}
	if (t->user_timeout_ms ? quiet_ms >= t->user_timeout_ms && t->probes
			       : t->probes >= t->keep_count) {
		tcp_count(t, CNT_tcp_timeout);
		tcp_reset_out(t, ETIMEDOUT);
		return;
	}
	t->probes++;
	t->todo |= TCP_DO_PROBE;
	tcp_count(t, CNT_tcp_probe_keep);
	tcp_keep_arm(t, now);
}

static void slow_timeout(struct tcb *t, ztime_t now)
{
	t->slow_tick = 0;
	switch ((enum tcp_state)t->state) {
	case TCP_ST_TIME_WAIT: tcp_finish(t); break;
	case TCP_ST_FIN_WAIT_2:
		if (tcp_is(t, TCP_F_ORPHAN))
			tcp_finish(t);
		else
			keep_timeout(t, now);
		break;
	case TCP_ST_ESTABLISHED:
	case TCP_ST_CLOSE_WAIT: keep_timeout(t, now); break;
	case TCP_ST_CLOSED:
	case TCP_ST_SYN_SENT:
	case TCP_ST_SYN_RCVD:
	case TCP_ST_FIN_WAIT_1:
	case TCP_ST_CLOSING:
	case TCP_ST_LAST_ACK:
	case TCP_ST_COUNT: break;
	}
}

/* Run every deadline that has come. */
void tcp_timer_run(struct tcb *t, ztime_t now)
{
	if (now >= t->delack_at) {
		t->delack_at = ZTIME_NEVER;
		t->todo |= TCP_DO_ACK;
	}
	if (now >= t->xmit_at)
		xmit_timeout(t, now);
	if (now >= tcp_slow_at(t))
		slow_timeout(t, now);
}
