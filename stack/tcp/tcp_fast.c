/* tcp_fast.c - header prediction where more is under way than one request: see tcp_fast.h */
#include "stack/tcp/tcp_fast.h"

/* ---------------------------------------------------------------- the end of the short way */

/* The clock of TCP_XMIT_LONE and TCP_XMIT_QUIET as the complete way has it. Return: when the run was sent. */
ztime_t tcp_fast_timer(struct tcb *t)
{
	ztime_t sent_at = t->xmit_at - t->env->lone_ns;

	if (t->xmit_mode == TCP_XMIT_LONE) {
		t->pipe = t->snd_nxt - t->snd_una;
		tcp_tlp_arm(t, sent_at);
	} else {
		t->xmit_mode = TCP_XMIT_NONE;
		t->xmit_at = ZTIME_NEVER;
	}
	return sent_at;
}

/* The run gets the block that was kept back for it; when there is none, what its end has changed may let something go out. */
BASE_COLD void tcp_fast_leave(struct tcb *t)
{
	bool lone = t->xmit_mode == TCP_XMIT_LONE;
	ztime_t sent_at = tcp_fast_timer(t);
	struct tcp_sent *s;

	if (!lone) {
		t->env->pool.used[TCP_MEM_SENT]--;
		t->todo |= TCP_DO_SEND;
		return;
	}
	s = tcp_mem_pop(&t->env->pool, TCP_MEM_SENT);
	tcp_sent_fill(s, t->snd_una, t->snd_nxt, t->sndq, 0, sent_at);
	tcp_sent_append(t, s);
}

/* ---------------------------------------------------------------- in */

/* In one of these the case is not at hand. */
#define NOT_IN                                                                        \
	(TCP_F_TLP | TCP_F_RCV_SHUT | TCP_F_ORPHAN | TCP_F_URG_SND | TCP_F_SND_FULL | \
	 TCP_F_FIN_QUEUED | TCP_F_MORE)

/* What tcp_word() has to be for a segment to be plain, TCP_F_TS and others aside. */
#define IN_LOOK tcp_word_of(NOT_IN, 0xff, 0, 0xff, 0xff)

/* All that is in flight is one run, sent once, and @ack covers it. */
static bool flight_ends(const struct tcb *t, uint32_t ack)
{
	const struct tcp_sent *s = tcp_sent_first(t);

	return s && s->by_seq.next == &s->by_seq && s->end == ack && !s->flags;
}

/* @ack gives a block back before one is needed. */
static bool sets_free(const struct tcb *t, uint32_t ack)
{
	const struct tcp_chunk *head = t->sndq ? t->sndq->next : NULL;

	return head && seq_le(head->seq + head->len, ack);
}

/* The run in flight has arrived: its payload goes back, and the round trip is known. Return: TCP_EV_* to tell. */
static unsigned int flight_over(struct tcb *t, uint32_t ack, ztime_t now)
{
	struct tcp_sent *s = tcp_sent_first(t);
	uint32_t delivered = t->pipe, rtt_us = tcp_since_us(s->sent_at, now);
	bool drained = t->snd_end == ack;

	t->sent = NULL;
	t->flight = NULL;
	t->pipe = 0;
	tcp_rtt_take(t, rtt_us);
	tcp_mem_put(t->env, TCP_MEM_SENT, s);
	t->snd_una = ack;
	t->stall_ms = 0;
	t->xmit_mode = TCP_XMIT_NONE;
	t->backoff = t->dupacks = t->soft_errno = 0;
	t->xmit_at = ZTIME_NEVER;
	if (!drained)
		tcp_xmit_arm(t, now);
	if (tcp_is(t, TCP_F_CWND_LIMITED))
		tcp_ack_growth(t, delivered, rtt_us, now);
	else
		cc_app_limited(&t->cc);
	tcp_sndq_release(t);
	return drained ? TCP_EV_DRAINED : 0;
}

static void text_append(struct tcb *t, const uint8_t *data, uint32_t len, void *owner, ztime_t now)
{
	struct tcp_chunk *c = tcp_mem_get(t->env, TCP_MEM_CHUNK);

	*c = (struct tcp_chunk){ .data = data, .owner = owner, .len = len, .seq = t->rcv_nxt };
	tcp_chunk_append(&t->rcvq, c);
	t->rcv_nxt += len;
	t->rcv_queued += len;
	t->rcv_chunks++;
	tcp_ack_policy(t, len, now);
}

struct tcp_fast_done tcp_fast_other(struct tcb *t, const uint8_t *l4, bool ts, const uint8_t *data,
				    uint32_t len, void *owner, ztime_t now)
{
	uint32_t seq = base_be32_get(l4 + TCP_AT_SEQ), ack = base_be32_get(l4 + TCP_AT_ACK);
	struct tcp_fast_done done = { 0, NULL }, not = { TCP_FAST_NOT, NULL };
	bool acks = ack != t->snd_una;

	tcp_fast_end(t);
	if ((tcp_word(t) & IN_LOOK) != TCP_FAST_WELL || seq != t->rcv_nxt ||
	    seq_lt(seq, t->snd_wl1) || tcp_in_trouble(t))
		return not ;
	if (acks ? !flight_ends(t, ack) : !len)
		return not ;
	if (len && (len > t->rcv_adv - seq || t->rcv_chunks >= TCP_CHUNKS_MIN ||
		    (!t->env->pool.free[TCP_MEM_CHUNK] && !sets_free(t, ack))))
		return not ;

	if (ts && seq_le(seq, t->rcv_acked))
		t->ts_recent = base_be32_get(l4 + TCP_AT_TSVAL);
	tcp_seen(t, now);
	tcp_window_set(t, seq, base_be16_get(l4 + TCP_AT_WND));
	if (acks)
		done.told = flight_over(t, ack, now);
	else if (!t->sent)
		tcp_flight_empty(t, now);
	if (!len)
		return done;
	text_append(t, data, len, owner, now);
	done.told |= TCP_EV_READABLE;
	return done;
}

bool tcp_fast_input(struct tcb *t, const uint8_t *l4, uint32_t bytes, const uint8_t *data,
		    void *owner, ztime_t now)
{
	bool ts = tcp_is(t, TCP_F_TS);
	struct tcp_fast_done done;

	if (!tcp_fast_shape(t, l4, bytes, ts))
		return false;
	done = tcp_fast_in(t, t->env, l4, ts, data, bytes - tcp_fast_hdr(ts),
			   bytes > tcp_fast_hdr(ts), owner, tcp_now_ms(now), now);
	if (done.told == TCP_FAST_NOT)
		return false;
	tcp_count(t, CNT_tcp_predicted);
	t->events |= (uint16_t)done.told;
	tcp_buf_put(t->env, done.gone);
	return true;
}

/* ---------------------------------------------------------------- out */

#define NOT_OUT                                                                         \
	(TCP_F_PACING | TCP_F_FIN_QUEUED | TCP_F_ECN | TCP_F_ECN_ECHO | TCP_F_URG_SND | \
	 TCP_F_DSACK | TCP_F_CORK | TCP_F_MORE)
#define OUT_LOOK tcp_word_of(NOT_OUT, 0xff, 0xff & ~TCP_DO_ACK, 0xff, 0)
#define OUT      tcp_word_of(0, TCP_ST_ESTABLISHED, TCP_DO_SEND, TCP_CA_OPEN, 0)

/* All that is queued and unsent lies in one run and may go now as one short segment. Return: its length, else 0. */
static uint32_t last_run(const struct tcb *t)
{
	uint32_t len = t->snd_end - t->snd_nxt;

	if ((tcp_word(t) & OUT_LOOK) != OUT || tcp_in_trouble(t) || t->unsent != t->sndq ||
	    !tcp_mem_left(&t->env->pool, TCP_MEM_SENT))
		return 0;
	if (len >= t->mss || seq_gt(t->snd_end, t->snd_una + t->snd_wnd) ||
	    2 * (t->pipe + len) > t->cc.cwnd || !tcp_short_ok(t))
		return 0;
	return len;
}

/* Nothing is due, and there has been no silence that the window would have to shrink for. */
static bool in_time(const struct tcb *t, ztime_t now)
{
	return now < t->xmit_at && now < t->delack_at && now < tcp_slow_at(t) &&
	       (t->sent || !tcp_idle(t, now));
}

/* The conditions that TCP_XMIT_LONE stands for, besides those of last_run(). */
static bool is_lone(const struct tcb *t)
{
	const uint32_t look = TCP_F_SACK | TCP_F_QUICKACK | TCP_F_TLP | TCP_F_RCV_SHUT |
			      TCP_F_ORPHAN | TCP_F_SND_FULL | TCP_F_CWND_LIMITED | TCP_F_URG_RCV;

	return !t->sent && !tcp_calm(t) && !t->probes && (t->flags & look) == TCP_F_SACK &&
	       t->srtt_us8 && t->env->cfg.loss == &tcp_loss_rack && !t->stall_ms &&
	       seq_le(t->snd_wl1, t->rcv_nxt) && t->cc.cwnd >= 2u * t->mss;
}

bool tcp_fast_more(struct tcb *t, uint8_t *l4, struct wire_tcp_iov *iov, ztime_t now)
{
	struct tcp_chunk *c = t->unsent;
	uint32_t len;

	tcp_fast_end(t);
	len = last_run(t);
	if (!len || !in_time(t, now))
		return false;
	tcp_fast_header(t, l4, tcp_is(t, TCP_F_TS), tcp_now_ms(now));
	*iov = (struct wire_tcp_iov){ c->data + (t->snd_nxt - c->seq), len, c->owner };
	t->seen_ms = tcp_now_ms(now);
	if (is_lone(t)) {
		t->env->pool.used[TCP_MEM_SENT]++;
		tcp_fast_flies(t);
		tcp_fast_lone(t, t->env, now);
		return true;
	}
	tcp_sent_add(t, t->snd_nxt, t->snd_end, c, 0, now);
	tcp_fast_flies(t);
	if (tcp_is(t, TCP_F_CWND_LIMITED))
		tcp_cwnd_used(t);
	if (t->xmit_mode != TCP_XMIT_RTO && t->xmit_mode != TCP_XMIT_REO)
		tcp_xmit_arm_sent(t, now); /* as tcp_sent_fresh() */
	return true;
}

uint32_t tcp_fast_output(struct tcb *t, uint8_t *l4, struct wire_tcp_iov *iov, ztime_t now)
{
	bool ts = tcp_is(t, TCP_F_TS);

	if (!tcp_fast_out(t, t->env, l4, ts, iov, tcp_now_ms(now), now))
		return 0;
	return tcp_fast_hdr(ts);
}
