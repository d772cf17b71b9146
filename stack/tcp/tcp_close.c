/* tcp_close.c - every way a connection changes state towards its end (RFC 9293 3.6, 3.10.4, 3.10.5, 3.10.7.4 eighth)
 *
 * state        | tcp_close()          | peer's FIN       | our FIN acked | RST in        | gives up
 * -------------+----------------------+------------------+---------------+---------------+---------
 * SYN_SENT     | CLOSED               | -                | -             | CLOSED, err   | CLOSED, err
 * SYN_RCVD     | FIN_WAIT_1 (4)       | -                | -             | CLOSED (1)    | CLOSED, err
 * ESTABLISHED  | FIN_WAIT_1 (2)       | CLOSE_WAIT       | -             | CLOSED, err   | CLOSED, err
 * FIN_WAIT_1   | orphan               | CLOSING          | FIN_WAIT_2    | CLOSED, err   | CLOSED, err
 * FIN_WAIT_2   | orphan, timed        | TIME_WAIT        | -             | CLOSED, err   | CLOSED
 * CLOSE_WAIT   | LAST_ACK (2)         | -                | -             | CLOSED, err   | CLOSED, err
 * CLOSING      | orphan               | -                | TIME_WAIT     | CLOSED        | CLOSED, err
 * LAST_ACK     | orphan               | -                | CLOSED        | CLOSED        | CLOSED, err
 * TIME_WAIT    | orphan               | 2 MSL again      | -             | ignored (3)   | CLOSED
 *
 * (1) a passive child vanishes, an active opener is refused. (2) RST and CLOSED when bytes that were never read are
 * thrown away (RFC 2525 2.17). (3) RFC 1337. (4) when the handshake is done.
 *
 * An orphan is a connection that the application has closed: nobody reads its events, so it holds no received data,
 * gives up sooner, and answers late data with RST (RFC 1122 4.2.2.13).
 */
#include "stack/tcp/tcp_step.h"

#include <errno.h>

#define TIME_WAIT_LEAST_MS \
	100           /* our timestamps have grown since, by more than the slow clock is wrong */
#define QUICK_ACKS 16 /* while we only receive: an initial window, and some */

static const char *const state_names[TCP_ST_COUNT] = {
	[TCP_ST_CLOSED] = "CLOSED",         [TCP_ST_SYN_SENT] = "SYN_SENT",
	[TCP_ST_SYN_RCVD] = "SYN_RCVD",     [TCP_ST_ESTABLISHED] = "ESTABLISHED",
	[TCP_ST_FIN_WAIT_1] = "FIN_WAIT_1", [TCP_ST_FIN_WAIT_2] = "FIN_WAIT_2",
	[TCP_ST_CLOSE_WAIT] = "CLOSE_WAIT", [TCP_ST_CLOSING] = "CLOSING",
	[TCP_ST_LAST_ACK] = "LAST_ACK",     [TCP_ST_TIME_WAIT] = "TIME_WAIT",
};

const char *tcp_state_name(enum tcp_state s)
{
	return (unsigned)s < TCP_ST_COUNT ? state_names[s] : "?";
}

void tcp_set_state(struct tcb *t, enum tcp_state s)
{
	t->state = (uint8_t)s;
}

/* ---------------------------------------------------------------- the listener's account */

/* A passive child no longer counts for its listener. */
void tcp_parent_leave(struct tcb *t)
{
	struct tcp_listener *l;

	if (tcp_is(t, TCP_F_ACTIVE) || !t->u.parent)
		return;
	l = t->u.parent;
	t->u.parent = NULL;
	if (tcp_is(t, TCP_F_READY_CHILD))
		l->n_ready--;
	else if (t->state == TCP_ST_SYN_RCVD && !tcp_is(t, TCP_F_TFO_CHILD))
		l->n_syn--;
	if (tcp_is(t, TCP_F_TFO_CHILD))
		l->n_tfo--;
	t->flags &= ~(uint32_t)TCP_F_READY_CHILD;
}

/* The handshake of a child is done: half-open no more, but not accepted yet. A Fast Open child was ready before. */
static void parent_established(struct tcb *t)
{
	struct tcp_listener *l = tcp_is(t, TCP_F_ACTIVE) ? NULL : t->u.parent;

	if (l && tcp_is(t, TCP_F_TFO_CHILD)) {
		l->n_tfo--;
		if (!tcp_is(t, TCP_F_READY_CHILD))
			t->u.parent = NULL;
	} else if (l) {
		l->n_syn--;
		l->n_ready++;
		t->flags |= TCP_F_READY_CHILD;
	}
	t->flags &= ~(uint32_t)(TCP_F_TFO_CHILD | TCP_F_TFO_GRANT);
}

/* ---------------------------------------------------------------- established */

void tcp_set_established(struct tcb *t, const struct wire_tcp *seg, ztime_t now)
{
	uint32_t wnd = seg->wnd;

	if (!(seg->flags & TCP_SYN))
		wnd <<= t->snd_wscale; /* the window of a SYN is never scaled (RFC 7323 2.2) */
	tcp_set_state(t, TCP_ST_ESTABLISHED);
	t->snd_wnd = t->max_wnd = wnd;
	t->snd_wl1 = seg->seq;
	if (!t->backoff && t->tune_seq)
		tcp_rtt_sample(t, (uint32_t)(now / ZTIME_US) - t->tune_seq);
	tcp_cwnd_begin(t);
	t->backoff = 0;
	t->stall_ms = 0;
	t->soft_errno = 0;
	t->quick = QUICK_ACKS; /* a new peer's window grows by our ACKs */
	t->tune_seq = t->rcv_nxt;
	t->tune_ms = (uint16_t)tcp_now_ms(now);
	t->xmit_mode = TCP_XMIT_NONE;
	t->xmit_at = ZTIME_NEVER;
	parent_established(t);
	if (tcp_is(t, TCP_F_FIN_QUEUED))
		tcp_set_state(t, TCP_ST_FIN_WAIT_1); /* shut down while the handshake went on */
	t->events |= TCP_EV_CONNECTED | TCP_EV_WRITABLE;
	t->todo |= TCP_DO_SEND;
	tcp_keep_arm(t, now);
	tcp_count(t, CNT_tcp_established);
}

/* ---------------------------------------------------------------- the end */

static void timers_stop(struct tcb *t)
{
	t->xmit_mode = TCP_XMIT_NONE;
	t->xmit_at = t->delack_at = ZTIME_NEVER;
	t->slow_tick = 0;
}

/* Everything about sending goes; what was received stays readable. */
static void sender_free(struct tcb *t)
{
	tcp_sent_free_all(t);
	tcp_ring_free(t, &t->sndq, &t->snd_chunks);
	t->unsent = NULL;
	tcp_loss_put(t);
	t->flags &= ~(uint32_t)(TCP_F_TLP | TCP_F_TLP_RETRANS | TCP_F_URG_SND);
}

static void receiver_free(struct tcb *t)
{
	tcp_ooo_free(t);
	tcp_ring_free(t, &t->rcvq, &t->rcv_chunks);
	t->rcv_queued = 0;
}

void tcp_finish(struct tcb *t)
{
	tcp_fast_end(t);
	tcp_parent_leave(t);
	sender_free(t);
	tcp_ooo_free(t);
	if (tcp_is(t, TCP_F_ORPHAN))
		receiver_free(t);
	timers_stop(t);
	t->todo &= TCP_DO_RST;
	tcp_set_state(t, TCP_ST_CLOSED);
	t->events |= TCP_EV_CLOSED;
}

void tcp_fail(struct tcb *t, int err)
{
	t->error = (uint8_t)err;
	t->events |= TCP_EV_ERROR;
	tcp_count(t, CNT_tcp_close_error);
	tcp_finish(t);
}

/* RST to the peer, and failed with @err (0: the application wanted it). */
void tcp_reset_out(struct tcb *t, int err)
{
	if (t->state != TCP_ST_SYN_SENT && t->state != TCP_ST_TIME_WAIT &&
	    t->state != TCP_ST_CLOSED)
		t->todo |= TCP_DO_RST;
	if (err)
		tcp_fail(t, err);
	else
		tcp_finish(t);
}

void tcp_free(struct tcb *t)
{
	tcp_finish(t);
	receiver_free(t);
	t->todo = 0;
	if (tcp_is(t, TCP_F_ACTIVE) && t->u.tfo) {
		tcp_mem_put(t->env, TCP_MEM_TFO, t->u.tfo);
		t->u.tfo = NULL;
	}
}

/* ---------------------------------------------------------------- FIN */

void tcp_time_wait(struct tcb *t, ztime_t now)
{
	tcp_parent_leave(t);
	sender_free(t);
	tcp_ooo_free(t);
	t->xmit_mode = TCP_XMIT_NONE;
	t->xmit_at = ZTIME_NEVER;
	tcp_set_state(t, TCP_ST_TIME_WAIT);
	tcp_slow_set(t, now + ztime_ms(t->env->cfg.time_wait_ms));
}

bool tcp_time_wait_may_end(const struct tcb *t, ztime_t now)
{
	return t->state == TCP_ST_TIME_WAIT && tcp_is(t, TCP_F_TS) &&
	       tcp_slow_at(t) + ztime_ms(TIME_WAIT_LEAST_MS) <=
		       now + ztime_ms(t->env->cfg.time_wait_ms);
}

void tcp_time_wait_end(struct tcb *t)
{
	tcp_finish(t);
}

void tcp_time_wait_stay(struct tcb *t, ztime_t now)
{
	tcp_challenge(t, now);
}

static void fin_wait2_enter(struct tcb *t, ztime_t now)
{
	uint32_t ms = t->linger2_s ? t->linger2_s * 1000u : t->env->cfg.fin_wait2_ms;

	tcp_set_state(t, TCP_ST_FIN_WAIT_2);
	if (tcp_is(t, TCP_F_ORPHAN))
		tcp_slow_set(t, now + ztime_ms(ms));
	else
		tcp_keep_arm(t, now);
}

/* Eighth: the peer's FIN is next in order. */
void tcp_fin_in(struct tcb *t, ztime_t now)
{
	t->rcv_nxt++;
	t->flags |= TCP_F_FIN_RCVD;
	t->todo |= TCP_DO_ACK;
	t->events |= TCP_EV_EOF;
	tcp_ooo_free(t); /* nothing can lie beyond a FIN */
	switch ((enum tcp_state)t->state) {
	case TCP_ST_ESTABLISHED: tcp_set_state(t, TCP_ST_CLOSE_WAIT); break;
	case TCP_ST_FIN_WAIT_1: /* had our FIN been acknowledged, the state were FIN_WAIT_2 by now */
		tcp_set_state(t, TCP_ST_CLOSING);
		break;
	case TCP_ST_FIN_WAIT_2: tcp_time_wait(t, now); break;
	case TCP_ST_CLOSED:
	case TCP_ST_SYN_SENT:
	case TCP_ST_SYN_RCVD: /* its ACK has been taken before: not this state any more */
	case TCP_ST_CLOSE_WAIT:
	case TCP_ST_CLOSING:
	case TCP_ST_LAST_ACK:
	case TCP_ST_TIME_WAIT:
	case TCP_ST_COUNT: break;
	}
}

/* Fifth: the peer has acknowledged our FIN. */
void tcp_fin_acked(struct tcb *t, ztime_t now)
{
	if (t->state == TCP_ST_FIN_WAIT_1)
		fin_wait2_enter(t, now);
	else if (t->state == TCP_ST_CLOSING)
		tcp_time_wait(t, now);
	else if (t->state == TCP_ST_LAST_ACK)
		tcp_finish(t);
}

/* ---------------------------------------------------------------- the application's calls */

int tcp_shutdown_send(struct tcb *t, ztime_t now)
{
	(void)now;
	tcp_fast_end(t);
	switch ((enum tcp_state)t->state) {
	case TCP_ST_ESTABLISHED: tcp_set_state(t, TCP_ST_FIN_WAIT_1); break;
	case TCP_ST_CLOSE_WAIT: tcp_set_state(t, TCP_ST_LAST_ACK); break;
	case TCP_ST_SYN_SENT: /* the FIN waits for the handshake, and so does the change of state */
	case TCP_ST_SYN_RCVD: break;
	case TCP_ST_FIN_WAIT_1:
	case TCP_ST_FIN_WAIT_2:
	case TCP_ST_CLOSING:
	case TCP_ST_LAST_ACK:
	case TCP_ST_TIME_WAIT: return 0;
	case TCP_ST_CLOSED:
	case TCP_ST_COUNT: return -ENOTCONN;
	}
	t->flags |= TCP_F_FIN_QUEUED;
	t->todo |= TCP_DO_SEND;
	return 0;
}

void tcp_shutdown_recv(struct tcb *t)
{
	tcp_fast_end(t);
	t->flags |= TCP_F_RCV_SHUT;
}

void tcp_close(struct tcb *t, ztime_t now)
{
	bool unread = t->rcv_queued || t->ooo;

	tcp_fast_end(t);
	t->flags |= TCP_F_ORPHAN;
	if (t->state == TCP_ST_CLOSED || t->state == TCP_ST_SYN_SENT) {
		tcp_finish(t);
		return;
	}
	if (unread && t->state != TCP_ST_TIME_WAIT) {
		tcp_reset_out(t, 0);
		return;
	}
	receiver_free(t);
	tcp_parent_leave(t);
	tcp_shutdown_send(t, now);
	if (t->state == TCP_ST_FIN_WAIT_2)
		fin_wait2_enter(t, now);
	if (t->state == TCP_ST_FIN_WAIT_1 || t->state == TCP_ST_CLOSING ||
	    t->state == TCP_ST_LAST_ACK)
		t->slow_tick = 0;
}

void tcp_abort(struct tcb *t, ztime_t now)
{
	(void)now;
	tcp_fast_end(t);
	t->flags |= TCP_F_ORPHAN;
	tcp_reset_out(t, 0);
}

/* RFC 5961 7: answer what looks like a blind attack with an ACK, but not faster than the limit. */
bool tcp_challenge(struct tcb *t, ztime_t now)
{
	uint8_t second = (uint8_t)(now / ZTIME_SEC);

	if (second != t->challenge_s) {
		t->challenge_s = second;
		t->challenges = 0;
	}
	if (t->challenges >= t->env->cfg.challenge_per_s) {
		tcp_count(t, CNT_tcp_challenge_held);
		return false;
	}
	t->challenges++;
	t->todo |= TCP_DO_ACK;
	tcp_count(t, CNT_tcp_challenge);
	return true;
}
