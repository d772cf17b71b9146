/* tcp_info.c - a connection described: for people, and for moving it elsewhere
 *
 * A struct tcp_record holds what TCP_REPAIR gives and takes. Bytes are not in it: the caller moves the unread and
 * the unacknowledged ones beside it. What a record does not carry is found again: round trip, congestion
 * window, and anything out of order.
 */
#include "stack/tcp/tcp_step.h"

#include <errno.h>

static uint32_t retransmitted_now(const struct tcb *t)
{
	uint32_t sum = 0;

	for (struct tcp_sent *s = tcp_sent_first(t); s; s = tcp_sent_next(t, s))
		if ((s->flags & (TCP_SENT_RETRANS | TCP_SENT_SACKED | TCP_SENT_LOST)) ==
		    TCP_SENT_RETRANS)
			sum += s->end - s->seq;
	return sum;
}

void tcp_info(const struct tcb *t, struct tcp_info_rec *info)
{
	*info = (struct tcp_info_rec){
		.state = (enum tcp_state)t->state,
		.ca_state = t->ca_state,
		.backoff = t->backoff,
		.probes = t->probes,
		.snd_wscale = t->snd_wscale,
		.rcv_wscale = t->rcv_wscale,
		.sack = tcp_is(t, TCP_F_SACK),
		.timestamps = tcp_is(t, TCP_F_TS),
		.ecn = tcp_is(t, TCP_F_ECN),
		.wscale = tcp_is(t, TCP_F_WSCALE),
		.rto_us = tcp_rto_us(t),
		.srtt_us = tcp_srtt_us(t),
		.rttvar_us = t->rttvar_us4 >> 2,
		.min_rtt_us = t->min_rtt_us == UINT32_MAX ? 0 : t->min_rtt_us,
		.mss = t->mss,
		.rcv_mss = t->rcv_mss,
		.path_mss = t->path_mss,
		.cwnd = t->cc.cwnd,
		.ssthresh = t->cc.ssthresh,
		.snd_wnd = t->snd_wnd,
		.rcv_wnd = tcp_rcv_wnd(t),
		.pipe = t->xmit_mode == TCP_XMIT_LONE ? t->snd_nxt - t->snd_una : tcp_inflight(t),
		.sacked = t->loss ? t->loss->sacked_bytes : 0,
		.lost = t->loss ? t->loss->lost_bytes : 0,
		.retransmitted_now = retransmitted_now(t),
		.reordering = t->loss ? t->loss->reordering : 0,
		.rcvbuf = t->rcvbuf,
		.sndbuf = t->sndbuf,
		.readable = t->rcv_queued,
		.unsent = tcp_unsent(t),
		.unacked = tcp_unacked(t),
		.pacing_rate = cc_pacing_rate(&t->cc, tcp_srtt_us(t)),
		.retransmits = t->retransmits,
		.cc = t->cc.ops->name,
		.loss = tcp_is(t, TCP_F_SACK) ? t->env->cfg.loss->name : tcp_loss_newreno.name,
	};
}

/* ---------------------------------------------------------------- records */

static bool movable(enum tcp_state s)
{
	return s == TCP_ST_ESTABLISHED || s == TCP_ST_CLOSE_WAIT || s == TCP_ST_FIN_WAIT_1 ||
	       s == TCP_ST_FIN_WAIT_2 || s == TCP_ST_CLOSING || s == TCP_ST_LAST_ACK;
}

static bool state_fin_sent(enum tcp_state s)
{
	return s == TCP_ST_FIN_WAIT_1 || s == TCP_ST_FIN_WAIT_2 || s == TCP_ST_CLOSING ||
	       s == TCP_ST_LAST_ACK;
}

static bool state_fin_rcvd(enum tcp_state s)
{
	return s == TCP_ST_CLOSE_WAIT || s == TCP_ST_CLOSING || s == TCP_ST_LAST_ACK;
}

int tcp_record_take(struct tcb *t, struct tcp_record *rec, ztime_t now)
{
	if (!movable((enum tcp_state)t->state))
		return -EAGAIN;
	tcp_fast_end(t);
	*rec = (struct tcp_record){
		.state = (enum tcp_state)t->state,
		.snd_una = t->snd_una,
		.snd_nxt = t->snd_nxt,
		.snd_wl1 = t->snd_wl1,
		.snd_wnd = t->snd_wnd,
		.max_wnd = t->max_wnd,
		.rcv_nxt = t->rcv_nxt,
		.rcv_wnd = tcp_rcv_wnd(t),
		.rcv_wup = t->rcv_nxt,
		.mss = t->peer_mss,
		.path_mss = t->path_mss,
		.snd_wscale = t->snd_wscale,
		.rcv_wscale = t->rcv_wscale,
		.wscale_ok = tcp_is(t, TCP_F_WSCALE),
		.sack_ok = tcp_is(t, TCP_F_SACK),
		.ts_ok = tcp_is(t, TCP_F_TS),
		.ecn_ok = tcp_is(t, TCP_F_ECN),
		.ts_val = tcp_tsval(t, now),
		.ts_recent = t->ts_recent,
		.srtt_us = tcp_srtt_us(t),
		.cwnd = t->cc.cwnd,
		.ssthresh = t->cc.ssthresh,
	};
	tcp_ooo_free(t);
	t->xmit_mode = TCP_XMIT_NONE;
	t->xmit_at = t->delack_at = ZTIME_NEVER;
	t->slow_tick = 0;
	t->todo = 0;
	return 0;
}

static bool record_valid(const struct tcp_record *r, uint64_t unread, uint64_t unacked)
{
	uint32_t flight = r->snd_nxt - r->snd_una;

	/* A FIN that was sent is the last number of the flight, unless it is acknowledged (FIN-WAIT-2); one that
	 * still waits behind unsent bytes is in no number yet.
	 */
	if (!movable(r->state) || r->snd_wscale > 14 || r->rcv_wscale > 14 || flight > 1u << 30 ||
	    r->mss < 88 || r->path_mss < 88 || unread > 1u << 30)
		return false;
	if (r->state == TCP_ST_FIN_WAIT_2)
		return !flight && !unacked;
	return unacked <= 1u << 30 && unacked + state_fin_sent(r->state) >= flight;
}

static void record_numbers(struct tcb *t, const struct tcp_record *r, ztime_t now)
{
	tcp_set_state(t, r->state);
	t->snd_una = r->snd_una;
	t->snd_nxt = r->snd_una; /* until the flight is rebuilt */
	t->snd_end = r->snd_una;
	t->snd_sml = t->snd_up = r->snd_una;
	t->snd_wl1 = r->snd_wl1;
	t->snd_wnd = r->snd_wnd;
	t->max_wnd = BASE_MAX(r->max_wnd, r->snd_wnd);
	t->rcv_nxt = r->rcv_nxt;
	t->rcv_adv = seq_max(r->rcv_wup + r->rcv_wnd, r->rcv_nxt);
	t->rcv_acked = r->rcv_nxt;
	t->peer_mss = r->mss;
	t->path_mss = r->path_mss;
	t->top_mss = r->path_mss;
	t->rcv_mss = BASE_MIN(r->path_mss, 536);
	t->snd_wscale = r->wscale_ok ? r->snd_wscale : 0;
	t->rcv_wscale = r->wscale_ok ? r->rcv_wscale : 0;
	t->rcv_adv = seq_min(t->rcv_adv, t->rcv_nxt + (65535u << t->rcv_wscale));
	t->flags |= TCP_F_ACTIVE | (r->wscale_ok ? TCP_F_WSCALE : 0) |
		    (r->sack_ok ? TCP_F_SACK : 0) | (r->ts_ok ? TCP_F_TS : 0) |
		    (r->ecn_ok ? TCP_F_ECN : 0) | (state_fin_rcvd(r->state) ? TCP_F_FIN_RCVD : 0) |
		    (state_fin_sent(r->state) ? TCP_F_FIN_QUEUED : 0) |
		    (r->state == TCP_ST_FIN_WAIT_2 ? TCP_F_FIN_SENT : 0);
	t->ts_offset = r->ts_val - tcp_now_ms(now);
	t->ts_recent = r->ts_recent;
	t->rcvbuf = BASE_MAX(t->rcvbuf, r->rcv_wnd);
	t->tune_seq = r->rcv_nxt;
	t->seen_ms = tcp_now_ms(now);
	t->tune_ms = (uint16_t)t->seen_ms;
	tcp_mss_update(t);
	tcp_cwnd_begin(t);
	if (r->srtt_us)
		tcp_rtt_sample(t, r->srtt_us);
	if (r->cwnd) {
		t->cc.cwnd = BASE_MAX(r->cwnd, (uint32_t)t->mss);
		t->cc.ssthresh = r->ssthresh ? r->ssthresh : UINT32_MAX;
	}
}

/* Queue without taking the references yet, so that a failure leaves them to the caller. */
static bool queue_all(struct tcb *t, const struct wire_tcp_iov *iov, unsigned n, uint32_t seq,
		      struct tcp_chunk **tail, uint16_t *count)
{
	for (unsigned i = 0; i < n; i++) {
		struct wire_tcp_iov part = iov[i];
		struct tcp_chunk *c;

		if (!part.len)
			continue;
		c = tcp_chunk_new(t, &part, seq);
		if (!c)
			return false;
		tcp_chunk_append(tail, c);
		(*count)++;
		seq += c->len;
	}
	return true;
}

static void forget_owners(struct tcp_chunk *tail)
{
	struct tcp_chunk *c = tail;

	if (!c)
		return;
	do {
		c->owner = NULL;
		c = c->next;
	} while (c != tail);
}

static uint64_t iov_sum(const struct wire_tcp_iov *iov, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += iov[i].len;
	return sum;
}

/* What was in flight at the old place may have been lost on the way here: one run, timed by an RTO from now. */
static bool flight_rebuild(struct tcb *t, const struct tcp_record *r, ztime_t now)
{
	uint32_t data_nxt = seq_min(r->snd_nxt, t->snd_end);
	bool fin = seq_gt(r->snd_nxt, t->snd_end);

	if (r->snd_nxt == r->snd_una)
		return true;
	if (!tcp_sent_add(t, r->snd_una, r->snd_nxt, t->unsent,
			  TCP_SENT_RETRANS | (fin ? TCP_SENT_FIN : 0), now))
		return false;
	t->unsent = tcp_chunk_after(t, t->unsent, data_nxt);
	t->snd_nxt = r->snd_nxt;
	if (fin)
		t->flags |= TCP_F_FIN_SENT;
	tcp_rto_arm(t, now);
	return true;
}

int tcp_record_put(struct tcb *t, const struct tcp_record *rec, const struct wire_tcp_iov *unread,
		   unsigned nunread, const struct wire_tcp_iov *unacked, unsigned nunacked,
		   ztime_t now)
{
	uint64_t in = iov_sum(unread, nunread), out = iov_sum(unacked, nunacked);
	uint32_t fin_rcvd = state_fin_rcvd(rec->state);

	if (t->state != TCP_ST_CLOSED || !record_valid(rec, in, out))
		return -EINVAL;
	record_numbers(t, rec, now);
	if (!queue_all(t, unread, nunread, rec->rcv_nxt - fin_rcvd - (uint32_t)in, &t->rcvq,
		       &t->rcv_chunks) ||
	    !queue_all(t, unacked, nunacked, rec->snd_una, &t->sndq, &t->snd_chunks))
		goto fail;
	t->rcv_queued = (uint32_t)in;
	t->snd_end = rec->snd_una + (uint32_t)out;
	t->unsent = t->sndq ? t->sndq->next : NULL;
	if (!flight_rebuild(t, rec, now))
		goto fail;
	t->events |= TCP_EV_CONNECTED | TCP_EV_WRITABLE | (in ? TCP_EV_READABLE : 0) |
		     (fin_rcvd ? TCP_EV_EOF : 0);
	t->todo = TCP_DO_SEND;
	tcp_keep_arm(t, now);
	return 0;
fail:
	forget_owners(t->rcvq);
	forget_owners(t->sndq);
	tcp_free(t);
	tcp_init(t, t->env);
	return -ENOBUFS;
}
