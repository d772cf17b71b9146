/* tcp_input.c - SEGMENT ARRIVES (RFC 9293 3.10.7): all control flow of the receiver is in this file
 *
 * Theory of operation: tcp_input() is the RFC's list. Each of its eight steps is a function that may drop the
 * segment by returning why; none of them calls another step. What the steps do to the connection lives in files of
 * its own: tcp_ack.c (fifth), tcp_reass.c (seventh), tcp_close.c (eighth and every change of state).
 *
 * A segment that is exactly what had to come next cannot fail the first four steps, so it starts at
 * the fifth (header prediction). That is a short cut through tests, not a second way of processing.
 *
 * Nothing is sent here: t->todo says what tcp_output() shall send.
 */
#include "stack/tcp/tcp_step.h"

#include <errno.h>
#include <string.h>

/* ---------------------------------------------------------------- pieces */

/* RFC 7323 4.3 (2) and 5.5: remember the timestamp to echo. Return: nothing; the segment has passed PAWS. */
static void ts_remember(struct tcb *t, const struct wire_tcp *seg)
{
	if (tcp_is(t, TCP_F_TS) && seq_le(seg->seq, t->rcv_acked) &&
	    seq_ge(seg->tsval, t->ts_recent))
		t->ts_recent = seg->tsval;
}

/* In the middle of a healthy connection: nothing but ACK and PSH, next in order, inside the window, timestamp not
 * older, acknowledging something that was sent.
 */
static bool predicted(const struct tcb *t, const struct wire_tcp *seg)
{
	uint8_t opts = tcp_is(t, TCP_F_TS) ? TCP_OPT_TS : 0;

	return t->state == TCP_ST_ESTABLISHED && (seg->flags & ~TCP_PSH) == TCP_ACK &&
	       seg->seq == t->rcv_nxt && seg->len <= t->rcv_adv - t->rcv_nxt && seg->opts == opts &&
	       (!opts || seq_ge(seg->tsval, t->ts_recent)) &&
	       seg->ack - t->snd_una <= t->snd_nxt - t->snd_una && seg->ecn != 3;
}

/* A handshake's ACK of something never sent: a RST from there, and we go on. */
static void bad_ack(struct tcb *t, const struct wire_tcp *seg)
{
	t->snd_wl1 = seg->ack;
	t->todo |= TCP_DO_RST_ACK;
}

/* ---------------------------------------------------------------- SYN-SENT (3.10.7.3) */

/* The peer's SYN while ours is out and unacknowledged: simultaneous open. */
static void syn_sent_crossed(struct tcb *t)
{
	t->flags &= ~(uint32_t)TCP_F_ECN; /* RFC 3168 6.1.1 knows no crossed set-up */
	t->flags |= TCP_F_SIMULT;
	tcp_set_state(t, TCP_ST_SYN_RCVD);
	t->todo |= TCP_DO_SYN;
}

static void syn_sent_take_syn(struct tcb *t, const struct wire_tcp *seg)
{
	t->rcv_nxt = seg->seq + 1;
	t->rcv_adv += t->rcv_nxt; /* it was kept relative */
	t->rcv_acked = t->rcv_nxt;
	tcp_peer_options(t, seg);
}

static void syn_sent_fast_open(struct tcb *t, const struct wire_tcp *seg)
{
	struct tcp_tfo *tfo = t->u.tfo;
	struct tcp_sent *s = tcp_sent_first(t);

	if (tfo && seg->opts & TCP_OPT_TFO && seg->tfo_len) {
		tfo->got_len = seg->tfo_len;
		memcpy(tfo->got, seg->tfo, seg->tfo_len);
		t->events |= TCP_EV_TFO;
	}
	if (s && seq_gt(seg->ack, s->seq))
		tcp_count(t, CNT_tcp_tfo_out);
	else if (s && tcp_loss_get(t)) /* the SYN alone was taken: the data goes again, now */
		tcp_sent_mark_lost(t, s);
}

/* Our SYN, and perhaps Fast Open data behind it, has arrived. */
static void syn_sent_acked(struct tcb *t, uint32_t ack, ztime_t now)
{
	struct tcp_ackinfo ai = { .rtt_us = -1, .rack_sent_at = -1 };

	tcp_sent_acked(t, ack, &ai, now);
	t->snd_una = ack;
	tcp_sndq_release(t);
	if (t->sent)
		tcp_xmit_arm(t, now);
}

static enum counter input_syn_sent(struct tcb *t, struct wire_tcp *seg, ztime_t now)
{
	bool ack_ok = seg->flags & TCP_ACK && seq_gt(seg->ack, t->snd_una) &&
		      seq_le(seg->ack, t->snd_nxt);

	/* first check the ACK bit */
	if (seg->flags & TCP_ACK && !ack_ok) {
		if (!(seg->flags & TCP_RST))
			bad_ack(t, seg);
		return CNT_tcp_synsent_ack;
	}
	/* second check the RST bit */
	if (seg->flags & TCP_RST) {
		if (!ack_ok)
			return CNT_tcp_synsent_rst;
		tcp_fail(t, ECONNREFUSED);
		return CNT_tcp_rst_in;
	}
	/* third check the security: compartments are not implemented by anyone. fourth check the SYN bit */
	if (!(seg->flags & TCP_SYN))
		return CNT_tcp_synsent_no_syn;
	syn_sent_take_syn(t, seg);
	if (!ack_ok) {
		syn_sent_crossed(t);
		return CNT_none;
	}
	if (!(seg->flags & TCP_ECE) || seg->flags & TCP_CWR)
		t->flags &= ~(uint32_t)TCP_F_ECN; /* RFC 3168 6.1.1: not an ECN-setup SYN-ACK */
	syn_sent_fast_open(t, seg);
	tcp_set_established(t, seg, now);
	syn_sent_acked(t, seg->ack, now);
	/* The final ACK goes at once unless there is data to carry it. */
	t->todo |= TCP_DO_ACK;
	if (seg->len) { /* RFC 7413 3: the listener may answer with data */
		seg->seq++;
		seg->flags &= (uint8_t)~TCP_SYN;
		return tcp_text(t, seg, now);
	}
	return CNT_none;
}

/* ---------------------------------------------------------------- first: sequence number */

/* RFC 7323 5.3 R1: protection against wrapped sequence numbers. An idle time of 24 days makes the clock meaningless. */
static enum counter paws(struct tcb *t, const struct wire_tcp *seg, ztime_t now)
{
	const uint32_t outdated_ms = 24u * 24 * 3600 * 1000;

	if (!tcp_is(t, TCP_F_TS) || seg->flags & TCP_RST)
		return CNT_none;
	if (!(seg->opts & TCP_OPT_TS))
		return CNT_tcp_no_ts;
	if (seq_ge(seg->tsval, t->ts_recent))
		return CNT_none;
	if (tcp_now_ms(now) - t->seen_ms > outdated_ms) {
		t->ts_recent = seg->tsval;
		return CNT_none;
	}
	tcp_challenge(t, now);
	return CNT_tcp_paws;
}

/* Four cases of RFC 9293 3.4: does any of it lie in the window? One number more than the RFC says is taken for a bare
 * ACK: a peer whose whole window is lost numbers its ACKs exactly at the right edge, and if both ends were in that state
 * and refused them, each would wait for the other's timer.
 */
static bool acceptable(const struct tcb *t, const struct wire_tcp *seg)
{
	uint32_t wnd = tcp_rcv_wnd(t), space = wire_tcp_space(seg);

	if (!space)
		return seq_in(seg->seq, t->rcv_nxt, wnd + 1);
	return seq_in(seg->seq, t->rcv_nxt, wnd) || seq_in(seg->seq + space - 1, t->rcv_nxt, wnd) ||
	       (seq_lt(seg->seq, t->rcv_nxt) && seq_ge(seg->seq + space, t->rcv_nxt + wnd) && wnd);
}

/* A segment that is not acceptable is answered with an ACK, except a RST. */
static enum counter refuse(struct tcb *t, const struct wire_tcp *seg, ztime_t now)
{
	bool old = seq_lt(seg->seq, t->rcv_nxt);

	if (seg->flags & TCP_RST)
		return old ? CNT_tcp_old : CNT_tcp_beyond;
	if (t->state == TCP_ST_TIME_WAIT && seg->flags & TCP_FIN)
		tcp_time_wait(t, now); /* eighth: the peer missed our ACK: 2 MSL again */
	if (old && seg->len && !(seg->flags & TCP_SYN) &&
	    tcp_is(t, TCP_F_SACK)) { /* RFC 2883 4.1 */
		t->dsack = (struct wire_tcp_sack){ seg->seq,
						   seq_min(seg->seq + seg->len, t->rcv_nxt) };
		t->flags |= TCP_F_DSACK;
	}
	/* Bare ACKs could be answered by bare ACKs for ever, and a SYN costs who guesses nothing (RFC 5961 4.2): those
	 * are limited.
	 */
	if (wire_tcp_space(seg) && !(seg->flags & TCP_SYN))
		t->todo |= TCP_DO_ACK;
	else
		tcp_challenge(t, now);
	return old ? CNT_tcp_old : CNT_tcp_beyond;
}

/* Leave of @seg what lies in the window. */
static void trim(struct tcb *t, struct wire_tcp *seg)
{
	uint32_t end = seg->seq + seg->len;
	int32_t beyond = seq_diff(end, t->rcv_adv);

	if (beyond < 0 || !seg->len)
		return;
	tcp_trim_back(seg, BASE_MIN((uint32_t)beyond, seg->len));
	seg->flags &= (uint8_t)~TCP_FIN; /* its number lies beyond the last byte's */
}

/* The peer's SYN once more: it has not heard our answer. A Fast Open child has taken what came behind it. */
static bool syn_again(const struct tcb *t, const struct wire_tcp *seg)
{
	if (t->state != TCP_ST_SYN_RCVD || !(seg->flags & TCP_SYN))
		return false;
	return seg->seq + 1 == t->rcv_nxt ||
	       (tcp_is(t, TCP_F_TFO_CHILD) && !(seg->flags & TCP_ACK) &&
		seq_lt(seg->seq, t->rcv_nxt));
}

static enum counter first_sequence(struct tcb *t, struct wire_tcp *seg, ztime_t now)
{
	enum counter why = paws(t, seg, now);

	if (why != CNT_none)
		return why;
	/* A SYN-ACK that crossed ours holds its ACK behind a SYN we already have. */
	if (tcp_is(t, TCP_F_SIMULT) && t->state == TCP_ST_SYN_RCVD && seg->flags & TCP_SYN &&
	    seg->flags & TCP_ACK && seg->seq + 1 == t->rcv_nxt) {
		seg->flags &= (uint8_t)~TCP_SYN;
		seg->seq++;
	}
	if (syn_again(t, seg)) {
		t->todo |= TCP_DO_SYN;
		return CNT_tcp_syn_again;
	}
	if (!acceptable(t, seg)) {
		/* RFC 9293 3.10.7.4: a zero window still takes valid ACKs, URGs and RSTs. */
		if (tcp_rcv_wnd(t) || seg->seq != t->rcv_nxt)
			return refuse(t, seg, now);
		tcp_trim_back(seg, seg->len);
		seg->flags &= (uint8_t)~TCP_FIN;
		t->todo |= TCP_DO_ACK;
		tcp_count(t, CNT_tcp_zero_window);
	}
	trim(t, seg);
	return CNT_none;
}

/* ---------------------------------------------------------------- second: RST, fourth: SYN */

static enum counter second_rst(struct tcb *t, const struct wire_tcp *seg, ztime_t now)
{
	if (BASE_LIKELY(!(seg->flags & TCP_RST)))
		return CNT_none;
	if (seg->seq != t->rcv_nxt) { /* RFC 5961 3.2 */
		tcp_challenge(t, now);
		return CNT_tcp_rst_window;
	}
	if (t->state == TCP_ST_TIME_WAIT)
		return CNT_tcp_rst_time_wait;
	switch ((enum tcp_state)t->state) {
	case TCP_ST_SYN_RCVD:
		if (tcp_is(t, TCP_F_ACTIVE))
			tcp_fail(t, ECONNREFUSED);
		else if (tcp_is(t, TCP_F_TFO_CHILD)) /* the application has it already */
			tcp_fail(t, ECONNRESET);
		else /* back to LISTEN, where the listener has been all the time */
			tcp_finish(t);
		break;
	case TCP_ST_CLOSE_WAIT: tcp_fail(t, EPIPE); break;
	case TCP_ST_ESTABLISHED:
	case TCP_ST_FIN_WAIT_1:
	case TCP_ST_FIN_WAIT_2: tcp_fail(t, ECONNRESET); break;
	case TCP_ST_CLOSING:
	case TCP_ST_LAST_ACK: tcp_finish(t); break;
	case TCP_ST_CLOSED:
	case TCP_ST_SYN_SENT:
	case TCP_ST_TIME_WAIT:
	case TCP_ST_COUNT: break;
	}
	return CNT_tcp_rst_in;
}

/* RFC 5961 4.2: a SYN in the window proves nothing; who really lost state will answer the ACK with RST. */
static enum counter fourth_syn(struct tcb *t, const struct wire_tcp *seg, ztime_t now)
{
	if (BASE_LIKELY(!(seg->flags & TCP_SYN)))
		return CNT_none;
	tcp_challenge(t, now);
	return CNT_tcp_syn_window;
}

/* RFC 6191 2, RFC 9293 3.6.1: a SYN that cannot be a late one of the old connection may take its place. With timestamps in the
 * new connection alone it always may: what is late has none, and is not taken (RFC 7323 3.2).
 */
static bool time_wait_reuse(const struct tcb *t, const struct wire_tcp *seg)
{
	bool ts = seg->opts & TCP_OPT_TS && t->env->cfg.timestamps;

	if (t->state != TCP_ST_TIME_WAIT || (seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
		return false;
	if (ts && !tcp_is(t, TCP_F_TS))
		return true;
	if (ts)
		return seq_gt(seg->tsval, t->ts_recent) ||
		       (seg->tsval == t->ts_recent && seq_gt(seg->seq, t->rcv_nxt));
	return seq_gt(seg->seq, t->rcv_nxt);
}

/* ---------------------------------------------------------------- fifth: ACK */

static enum counter syn_rcvd_ack(struct tcb *t, const struct wire_tcp *seg, ztime_t now)
{
	struct tcp_listener *l = tcp_is(t, TCP_F_ACTIVE) ? NULL : t->u.parent;

	if (!(seq_gt(seg->ack, t->snd_una) && seq_le(seg->ack, t->snd_nxt))) {
		bad_ack(t, seg);
		return CNT_tcp_synrcvd_ack;
	}
	if (l && !tcp_is(t, TCP_F_TFO_CHILD) && l->n_ready >= l->backlog)
		return CNT_tcp_accept_full;
	tcp_set_established(t, seg, now);
	if (!t->sent) /* nothing but our SYN is out */
		t->snd_una++;
	return CNT_none;
}

static bool our_fin_acked(const struct tcb *t)
{
	return tcp_is(t, TCP_F_FIN_SENT) && t->snd_una == t->snd_nxt;
}

static enum counter fifth_ack(struct tcb *t, const struct wire_tcp *seg, ztime_t now)
{
	enum counter why;

	if (BASE_UNLIKELY(!(seg->flags & TCP_ACK)))
		return CNT_tcp_no_ack;
	if (BASE_UNLIKELY(t->state == TCP_ST_SYN_RCVD)) {
		why = syn_rcvd_ack(t, seg, now);
		if (why != CNT_none)
			return why;
	}
	why = tcp_ack(t, seg, now);
	if (BASE_UNLIKELY(why == CNT_none && our_fin_acked(t)))
		tcp_fin_acked(t, now);
	return why;
}

/* ---------------------------------------------------------------- sixth: URG */

static void sixth_urg(struct tcb *t, const struct wire_tcp *seg)
{
	uint32_t up = seg->seq + seg->urg;

	if (BASE_LIKELY(!(seg->flags & TCP_URG)) || !tcp_can_receive(t))
		return;
	if (tcp_is(t, TCP_F_URG_RCV) && !seq_gt(up, t->rcv_up))
		return;
	if (seq_le(up, t->rcv_nxt - t->rcv_queued))
		return; /* read past already */
	t->rcv_up = up;
	t->flags |= TCP_F_URG_RCV;
	t->events |= TCP_EV_URGENT;
}

/* ---------------------------------------------------------------- seventh: text */

/* RFC 3168 6.1.3 */
static void ecn_receive(struct tcb *t, const struct wire_tcp *seg)
{
	if (seg->flags & TCP_CWR)
		t->flags &= ~(uint32_t)TCP_F_ECN_ECHO;
	if (seg->ecn != 3)
		return;
	t->flags |= TCP_F_ECN_ECHO;
	t->todo |= TCP_DO_ACK;
	tcp_count(t, CNT_tcp_ecn_ce);
}

/* RFC 1122 4.2.2.13: bytes come behind a shutdown of both directions, as behind a close. What came before stays readable. */
static bool shut_both_ways(const struct tcb *t)
{
	return tcp_is(t, TCP_F_RCV_SHUT) && tcp_is(t, TCP_F_FIN_QUEUED);
}

static enum counter seventh_text(struct tcb *t, struct wire_tcp *seg, ztime_t now)
{
	if (tcp_is(t, TCP_F_ECN))
		ecn_receive(t, seg);
	if (!seg->len)
		return CNT_none;
	if (BASE_UNLIKELY(!tcp_can_receive(t))) /* a FIN came before: this cannot be */
		return CNT_tcp_state_data;
	if (BASE_UNLIKELY(tcp_is(t, TCP_F_ORPHAN)) && seq_gt(seg->seq + seg->len, t->rcv_nxt)) {
		tcp_finish(t);
		/* A RST from where the peer is: ours may be ahead of it (RFC 5961 3). */
		bad_ack(t, seg);
		return CNT_tcp_after_close;
	}
	if (BASE_UNLIKELY(shut_both_ways(t)) && seq_gt(seg->seq + seg->len, t->rcv_nxt)) {
		tcp_fail(t, ECONNRESET);
		bad_ack(t, seg);
		return CNT_tcp_after_close;
	}
	return tcp_text(t, seg, now);
}

/* ---------------------------------------------------------------- the eight steps */

enum counter tcp_input(struct tcb *t, struct wire_tcp *seg, ztime_t now)
{
	uint32_t fin_at = seg->seq + seg->len;
	enum counter why;

	tcp_fast_end(t);
	if (BASE_LIKELY(predicted(t, seg))) {
		tcp_count(t, CNT_tcp_predicted);
	} else {
		if (t->state == TCP_ST_CLOSED)
			return CNT_tcp_closed;
		if (t->state == TCP_ST_SYN_SENT)
			return input_syn_sent(t, seg, now);
		if (time_wait_reuse(t, seg))
			return CNT_tcp_time_wait_reuse;
		if ((why = first_sequence(t, seg, now)) != CNT_none)
			return why;
		if ((why = second_rst(t, seg, now)) != CNT_none)
			return why;
		/* third, security and compartment, is nobody's */
		if ((why = fourth_syn(t, seg, now)) != CNT_none)
			return why;
	}
	tcp_seen(t, now);
	if ((why = fifth_ack(t, seg, now)) != CNT_none)
		return why;
	/* Not before: who cannot know our numbers must not set it (RFC 5961 5). */
	ts_remember(t, seg);
	if (BASE_UNLIKELY(t->state == TCP_ST_CLOSED))
		return CNT_none; /* LAST-ACK is over */
	sixth_urg(t, seg);
	if ((why = seventh_text(t, seg, now)) != CNT_none)
		return why;
	if (BASE_UNLIKELY(seg->flags & TCP_FIN) && t->rcv_nxt == fin_at &&
	    !tcp_is(t, TCP_F_FIN_RCVD))
		tcp_fin_in(t, now); /* eighth */
	else if (BASE_UNLIKELY(seg->flags & TCP_FIN))
		tcp_ooo_fin(t, fin_at);
	return CNT_none;
}
