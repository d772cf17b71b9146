/* sim_check.c - what must be true of a connection between any two calls
 *
 * The core keeps sums (pipe, SACKed, lost, queued) and rings by hand; here they are counted afresh. Besides, liveness: whatever
 * is in flight or cannot be sent yet has a timer. Called after every call on a connection in every eighth run, and in
 * every run with forged segments.
 */
#include "stack/tcp/tcp_int.h"
#include "tests/sim/sim.h"

#define MUST(cond)                                                      \
	do {                                                            \
		if (!(cond)) {                                          \
			sim_fail(s, "%s in %s is broken: %s", __func__, \
				 tcp_state_name(tcp_state(t)), #cond);  \
			return;                                         \
		}                                                       \
	} while (0)

static void scoreboard(struct sim *s, const struct tcb *t)
{
	uint32_t pipe = 0, sacked = 0, lost = 0, in_flight = 0, n = 0;
	uint32_t at = t->snd_una + (t->state == TCP_ST_SYN_SENT || t->state == TCP_ST_SYN_RCVD);
	ztime_t before = 0;

	for (struct tcp_sent *r = tcp_sent_first(t); r; r = tcp_sent_next(t, r)) {
		uint32_t len = r->end - r->seq;

		MUST(r->seq == at && len);
		MUST((r->flags & (TCP_SENT_SACKED | TCP_SENT_LOST)) !=
		     (TCP_SENT_SACKED | TCP_SENT_LOST));
		at = r->end;
		if (r->flags & TCP_SENT_SACKED)
			sacked += len;
		else if (r->flags & TCP_SENT_LOST)
			lost += len;
		else {
			pipe += len;
			in_flight++;
		}
	}
	MUST(at == t->snd_nxt || t->state == TCP_ST_CLOSED || t->state == TCP_ST_TIME_WAIT ||
	     (t->xmit_mode == TCP_XMIT_LONE && !t->sent));
	MUST(pipe == t->pipe);
	MUST(!t->loss || !tcp_is(t, TCP_F_SACK) || sacked == t->loss->sacked_bytes);
	MUST(t->loss ? lost == t->loss->lost_bytes : !lost && !sacked);
	for (struct base_list *b = t->flight; b; b = b->next == t->flight ? NULL : b->next) {
		struct tcp_sent *r = base_container_of(b, struct tcp_sent, by_time);

		MUST(!(r->flags & (TCP_SENT_SACKED | TCP_SENT_LOST)));
		MUST(r->sent_at >= before);
		before = r->sent_at;
		n++;
	}
	MUST(n == in_flight);
}

/* A ring of chunks without a gap. Return: its bytes. */
static uint32_t ring_bytes(const struct tcp_chunk *tail, uint32_t *first, uint32_t *count, bool *ok)
{
	const struct tcp_chunk *c = tail ? tail->next : NULL;
	uint32_t sum = 0, at = c ? c->seq : 0;

	*first = at;
	for (; c; c = c == tail ? NULL : c->next) {
		*ok = *ok && c->seq == at && c->len;
		at += c->len;
		sum += c->len;
		(*count)++;
	}
	return sum;
}

static void send_queue(struct sim *s, const struct tcb *t)
{
	uint32_t first, count = 0, sum;
	bool ok = true;

	sum = ring_bytes(t->sndq, &first, &count, &ok);
	MUST(ok);
	MUST(count == t->snd_chunks);
	MUST(!sum || first + sum == t->snd_end);
	MUST(!t->unsent || (seq_le(t->unsent->seq, t->snd_nxt) &&
			    seq_gt(t->unsent->seq + t->unsent->len, t->snd_nxt)));
	MUST(t->unsent || !t->sndq || seq_ge(t->snd_nxt, t->snd_end));
}

/* What TCP_XMIT_LONE and TCP_XMIT_QUIET stand for. */
static void fast(struct sim *s, const struct tcb *t)
{
	const uint32_t not = TCP_F_TLP | TCP_F_RCV_SHUT | TCP_F_ORPHAN | TCP_F_URG_SND |
			     TCP_F_SND_FULL | TCP_F_FIN_QUEUED | TCP_F_PACING | TCP_F_ECN |
			     TCP_F_ECN_ECHO | TCP_F_DSACK | TCP_F_CORK | TCP_F_MORE |
			     TCP_F_QUICKACK | TCP_F_CWND_LIMITED;

	if (t->xmit_mode != TCP_XMIT_LONE && t->xmit_mode != TCP_XMIT_QUIET)
		return;
	MUST(t->state == TCP_ST_ESTABLISHED && t->ca_state == TCP_CA_OPEN && !t->probes);
	MUST((t->flags & (not | TCP_F_SACK)) == TCP_F_SACK);
	MUST(!t->loss && !t->ooo && t->srtt_us8 && t->env->cfg.loss == &tcp_loss_rack);
	MUST(!t->sndq || t->sndq->next == t->sndq);
	MUST(!t->sent && !t->flight && !t->pipe && !t->stall_ms && seq_le(t->snd_wl1, t->rcv_nxt));
	MUST(t->env->pool.used[TCP_MEM_SENT] && t->env->pool.free[TCP_MEM_SENT]);
	MUST(t->cc.cwnd >= 2u * t->mss);
	if (t->xmit_mode == TCP_XMIT_LONE) {
		MUST(!t->quick && t->rcv_acked == t->rcv_nxt && t->delack_at == ZTIME_NEVER);
		MUST(t->sndq && seq_le(t->sndq->seq, t->snd_una) && !t->unsent &&
		     t->snd_nxt == t->snd_end && t->sndq->seq + t->sndq->len == t->snd_end);
	} else {
		MUST(t->unsent == t->sndq && t->snd_una == t->snd_nxt);
		MUST(!t->sndq ||
		     (t->sndq->seq == t->snd_nxt && t->sndq->len == t->snd_end - t->snd_nxt));
	}
}

static void receive_queue(struct sim *s, const struct tcb *t)
{
	uint32_t first, count = 0, sum;
	bool ok = true;

	sum = ring_bytes(t->rcvq, &first, &count, &ok);
	MUST(sum == t->rcv_queued);
	MUST(!sum || first + sum + !!tcp_is(t, TCP_F_FIN_RCVD) == t->rcv_nxt);
	for (const struct tcp_range *r = t->ooo; r; r = r->next) {
		MUST(ring_bytes(r->tail, &first, &count, &ok) == r->right - r->left);
		MUST(first == r->left && seq_gt(r->left, t->rcv_nxt));
		MUST(seq_le(r->right + r->fin, t->rcv_adv));
		for (const struct tcp_range *o = r->next; o; o = o->next)
			MUST(seq_gt(o->left, r->right) || seq_lt(o->right, r->left));
	}
	MUST(ok);
	MUST(count == t->rcv_chunks);
	MUST(seq_ge(t->rcv_adv, t->rcv_nxt) || t->state == TCP_ST_SYN_SENT ||
	     tcp_is(t, TCP_F_FIN_RCVD));
}

static void liveness(struct sim *s, const struct tcb *t)
{
	bool waiting = t->sent || t->unsent || tcp_fin_unsent(t);

	MUST((t->xmit_mode == TCP_XMIT_NONE) == (t->xmit_at == ZTIME_NEVER));
	MUST(tcp_rcv_wnd(t) >> t->rcv_wscale <= 65535);
	if (t->state == TCP_ST_SYN_SENT || t->state == TCP_ST_SYN_RCVD ||
	    (tcp_can_transmit(t) && waiting))
		MUST(t->xmit_at != ZTIME_NEVER || t->todo);
	if (t->state == TCP_ST_TIME_WAIT)
		MUST(t->slow_tick);
	MUST(t->cc.cwnd >= t->mss || t->state <= TCP_ST_SYN_RCVD);
}

void sim_check_tcb(struct sim *s, const struct tcb *t)
{
	scoreboard(s, t);
	if (t->state != TCP_ST_CLOSED) {
		send_queue(s, t);
		liveness(s, t);
		fast(s, t);
	}
	receive_queue(s, t);
}
