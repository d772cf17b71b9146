/* tcp_fast.h - header prediction both ways: state from a segment's bytes, and bytes from state
 *
 * Theory of operation: nearly every segment of a healthy connection is one of two. It comes in with the next bytes of
 * the stream, or acknowledges all that is in flight, and has no flag but ACK and PSH and no option but timestamps.
 * Or it goes out with the last bytes that were queued, in one run, and the acknowledgement that is owed. For these
 * two, and for what the application does between them, nothing has to be parsed into values, judged step by step or
 * kept for later steps.
 *
 * Each function first asks whether its case is at hand, touching nothing; then it does what the complete way
 * (tcp_input.c, tcp_app.c, tcp_output.c) does in that case, no more and no less. The complete way stays the one that
 * decides: what is changed there has to be changed here, and the simulator plays every seed both ways and compares
 * the packets (sim_tcp), so that a difference is found.
 *
 * What it does: the functions are inline, because a call and the registers it saves cost as much as the work in
 * them. Who includes it: stack/inst, and tcp_fast.c, which makes ordinary functions of them. @env is the
 * connection's own: whoever embeds it knows where it lies without looking. Memory and thread: tcb.h.
 */
#ifndef ZTCP_TCP_FAST_H
#define ZTCP_TCP_FAST_H

#include "stack/base/base_bytes.h"
#include "stack/tcp/tcp_step.h"

/* In one of these the case is not at hand. */
#define TCP_FAST_NOT_IN                                                               \
	(TCP_F_TLP | TCP_F_RCV_SHUT | TCP_F_ORPHAN | TCP_F_URG_SND | TCP_F_SND_FULL | \
	 TCP_F_FIN_QUEUED)
#define TCP_FAST_NOT_OUT                                                                \
	(TCP_F_PACING | TCP_F_FIN_QUEUED | TCP_F_ECN | TCP_F_ECN_ECHO | TCP_F_URG_SND | \
	 TCP_F_DSACK | TCP_F_CORK | TCP_F_MORE)

enum {
	TCP_AT_SEQ = 4,
	TCP_AT_ACK = 8,
	TCP_AT_OFFSET = 12, /* header length in words, flags, window */
	TCP_AT_WND = 14,
	TCP_AT_OPT = 20,
	TCP_AT_TSVAL = 24,
	TCP_FAST_HDR_TS = WIRE_TCP_HDR_LEN + TCP_TS_OPT_LEN,
	/* Offset and flags of an ACK, as a number in memory order; PSH besides. */
	TCP_KIND_BARE = 0x50 | TCP_ACK << 8,
	TCP_KIND_TS = 0x80 | TCP_ACK << 8,
	TCP_KIND_PSH = TCP_PSH << 8,
};

#define TCP_NOP_NOP_TS 0x0a080101u /* in memory order */

/* ---------------------------------------------------------------- in */

/**
 * tcp_fast_shape() - the options agreed upon and no others, no flag but ACK and PSH, no old timestamp
 * @bytes: from @l4 on, at least WIRE_TCP_HDR_LEN
 *
 * Return: header bytes, at most @bytes; 0 when it is another segment.
 */
BASE_INLINE uint32_t tcp_fast_shape(const struct tcb *t, const uint8_t *l4, uint32_t bytes)
{
	uint32_t kind = base_word16(l4 + TCP_AT_OFFSET) & ~(uint32_t)TCP_KIND_PSH;

	if (BASE_UNLIKELY(!tcp_is(t, TCP_F_TS)))
		return kind == TCP_KIND_BARE ? WIRE_TCP_HDR_LEN : 0;
	if (kind != TCP_KIND_TS || bytes < TCP_FAST_HDR_TS ||
	    base_word32(l4 + TCP_AT_OPT) != TCP_NOP_NOP_TS ||
	    seq_lt(base_be32_get(l4 + TCP_AT_TSVAL), t->ts_recent))
		return 0;
	return TCP_FAST_HDR_TS;
}

/* All that is in flight is one run, sent once, and @ack covers it. */
BASE_INLINE bool tcp_fast_flight_ends(const struct tcb *t, uint32_t ack)
{
	const struct tcp_sent *s = tcp_sent_first(t);

	return s && s->by_seq.next == &s->by_seq && s->end == ack && !s->flags;
}

/* @ack gives a block back before one is needed. */
BASE_INLINE bool tcp_fast_sets_free(const struct tcb *t, uint32_t ack)
{
	const struct tcp_chunk *head = t->sndq ? t->sndq->next : NULL;

	return head && seq_le(head->seq + head->len, ack);
}

/* All that was queued is one run and is acknowledged now: its payload's reference goes back. Return: its block. */
BASE_INLINE struct tcp_chunk *tcp_fast_release(struct tcb *t, struct tcp_env *env, uint32_t ack)
{
	struct tcp_chunk *c = t->sndq;
	void *owner;

	if (BASE_UNLIKELY(c->next != c || c->seq + c->len != ack)) {
		tcp_sndq_release(t);
		return NULL;
	}
	owner = c->owner;
	t->sndq = NULL;
	t->snd_chunks = 0;
	if (BASE_LIKELY(owner))
		env->buf_put(env->buf_ctx, owner);
	return c;
}

/* The run in flight has arrived: its payload goes back, and the round trip is known. Return: a block, or NULL. */
BASE_INLINE struct tcp_chunk *tcp_fast_flight_over(struct tcb *t, struct tcp_env *env, uint32_t ack,
						   unsigned int *told, ztime_t now)
{
	struct tcp_sent *s = tcp_sent_first(t);
	uint32_t delivered = t->pipe, rtt_us = tcp_since_us(s->sent_at, now);

	t->sent = NULL;
	t->flight = NULL;
	t->pipe = 0;
	tcp_rtt_take(t, env, rtt_us);
	tcp_mem_put(env, TCP_MEM_SENT, s);
	t->snd_una = ack;
	t->stall_ms = 0;
	t->xmit_mode = TCP_XMIT_NONE;
	t->backoff = t->dupacks = t->soft_errno = 0;
	t->xmit_at = ZTIME_NEVER;
	if (BASE_LIKELY(t->snd_end == ack))
		*told |= TCP_EV_DRAINED;
	else
		tcp_xmit_arm(t, now);
	if (BASE_UNLIKELY(tcp_is(t, TCP_F_CWND_LIMITED)))
		tcp_ack_growth(t, delivered, rtt_us, now);
	else
		cc_app_limited(&t->cc);
	return tcp_fast_release(t, env, ack);
}

/* @c: a block */
BASE_INLINE void tcp_fast_text(struct tcb *t, struct tcp_env *env, struct tcp_chunk *c,
			       const uint8_t *data, uint32_t len, void *owner, ztime_t now)
{
	struct tcp_chunk *tail = t->rcvq;
	uint32_t seq = t->rcv_nxt;

	c->next = c;
	if (BASE_UNLIKELY(tail)) {
		c->next = tail->next;
		tail->next = c;
	}
	t->rcvq = c;
	c->data = data;
	c->owner = owner;
	c->len = len;
	c->seq = seq;
	t->rcv_nxt = seq + len;
	t->rcv_queued += len;
	t->rcv_chunks++;
	tcp_ack_choose(t, env, seq + len - t->rcv_acked, len, now);
}

/* What tcp_word() has to be for a segment to be plain, TCP_F_TS and others aside. */
#define TCP_FAST_IN_LOOK tcp_word_of(TCP_FAST_NOT_IN, 0xff, 0, 0xff, 0xff)
#define TCP_FAST_IN      tcp_word_of(0, TCP_ST_ESTABLISHED, 0, TCP_CA_OPEN, 0)

/**
 * tcp_fast_in() - tcp_fast_input() of a segment that has the shape
 * @hdr:    what tcp_fast_shape() has returned
 * @len:    bytes of payload
 * @now_ms: tcp_now_ms(@now)
 * @told:   TCP_EV_* to tell are added, and not to the connection's own
 */
BASE_INLINE bool tcp_fast_in(struct tcb *t, struct tcp_env *env, const uint8_t *l4, uint32_t hdr,
			     const uint8_t *data, uint32_t len, void *owner, unsigned int *told,
			     uint32_t now_ms, ztime_t now)
{
	uint32_t seq = base_be32_get(l4 + TCP_AT_SEQ), ack = base_be32_get(l4 + TCP_AT_ACK);
	bool acks = ack != t->snd_una;
	struct tcp_chunk *c = NULL;

	if ((tcp_word(t) & TCP_FAST_IN_LOOK) != TCP_FAST_IN || seq != t->rcv_nxt ||
	    seq_lt(seq, t->snd_wl1) || tcp_in_trouble(t))
		return false;
	if (acks ? !tcp_fast_flight_ends(t, ack) : !len)
		return false;
	if (len && (len > t->rcv_adv - seq || t->rcv_chunks >= TCP_CHUNKS_MIN ||
		    (BASE_UNLIKELY(!env->pool.free[TCP_MEM_CHUNK]) && !tcp_fast_sets_free(t, ack))))
		return false;

	if (hdr > WIRE_TCP_HDR_LEN && seq_le(seq, t->rcv_acked))
		t->ts_recent = base_be32_get(l4 + TCP_AT_TSVAL);
	base_count(env->counters, CNT_tcp_predicted);
	t->seen_ms = now_ms;
	tcp_window_set(t, seq, base_be16_get(l4 + TCP_AT_WND));
	if (BASE_LIKELY(acks))
		c = tcp_fast_flight_over(t, env, ack, told, now);
	else if (!t->sent)
		tcp_flight_empty(t, now);
	if (BASE_LIKELY(len)) {
		if (BASE_UNLIKELY(!c))
			c = tcp_mem_get(env, TCP_MEM_CHUNK);
		tcp_fast_text(t, env, c, data, len, owner, now);
		*told |= TCP_EV_READABLE;
	} else if (c) {
		tcp_mem_put(env, TCP_MEM_CHUNK, c);
	}
	return true;
}

/* ---------------------------------------------------------------- the application */

/** tcp_fast_take() - tcp_recv_take() of a healthy connection. Return: false when it is none, or nothing is there. */
BASE_INLINE bool tcp_fast_take(struct tcb *t, struct tcp_env *env, struct wire_tcp_iov *iov,
			       ztime_t now)
{
	const uint64_t look = tcp_word_of(TCP_F_URG_RCV, 0xff, 0, 0, 0);
	struct tcp_chunk *tail = t->rcvq, *c;

	if (!tail || (tcp_word(t) & look) != TCP_FAST_IN)
		return false;
	c = tail->next;
	*iov = (struct wire_tcp_iov){ c->data, c->len, c->owner };
	t->rcv_chunks--;
	t->rcv_queued -= c->len;
	if (BASE_LIKELY(c == tail))
		t->rcvq = NULL;
	else
		tail->next = c->next;
	tcp_mem_put(env, TCP_MEM_CHUNK, c);
	tcp_window_told(t, now);
	return true;
}

/**
 * tcp_fast_send() - tcp_send() of a run that all fits, nothing being queued before it
 *
 * Return: false when that is not so, and nothing was touched.
 */
BASE_INLINE bool tcp_fast_send(struct tcb *t, struct tcp_env *env, const struct wire_tcp_iov *iov)
{
	const uint64_t look = tcp_word_of(TCP_F_FIN_QUEUED | TCP_F_MORE, 0xff, 0, 0, 0);
	struct tcp_chunk *c = env->pool.free[TCP_MEM_CHUNK];
	uint32_t len = iov->len;

	if (t->sndq || !c || (tcp_word(t) & look) != TCP_FAST_IN || len - 1 >= t->sndbuf)
		return false;
	env->pool.free[TCP_MEM_CHUNK] = *(void **)c;
	env->pool.used[TCP_MEM_CHUNK]++;
	c->next = c;
	c->data = iov->data;
	c->owner = iov->owner;
	c->len = len;
	c->seq = t->snd_end;
	t->sndq = c;
	t->unsent = c;
	t->snd_chunks = 1;
	t->snd_end += len;
	t->todo |= TCP_DO_SEND;
	return true;
}

/* ---------------------------------------------------------------- out */

#define TCP_FAST_OUT_LOOK tcp_word_of(TCP_FAST_NOT_OUT, 0xff, 0xff & ~TCP_DO_ACK, 0xff, 0)
#define TCP_FAST_OUT      tcp_word_of(0, TCP_ST_ESTABLISHED, TCP_DO_SEND, TCP_CA_OPEN, 0)

/* Nothing is due, and there has been no silence that the window would have to shrink for. */
BASE_INLINE bool tcp_fast_in_time(const struct tcb *t, uint32_t now_ms, ztime_t now)
{
	uint32_t slow = (uint32_t)((uint64_t)now >> 26);

	if (now >= t->xmit_at || now >= t->delack_at || slow > t->slow_tick - 1)
		return false;
	return BASE_LIKELY(now_ms == t->seen_ms) || t->sent || !tcp_idle(t, now);
}

/* All that is queued and unsent lies in one run and may go now as one short segment. Return: its length, else 0. */
BASE_INLINE uint32_t tcp_fast_last_run(const struct tcb *t, const struct tcp_env *env,
				       uint64_t word, uint32_t now_ms, ztime_t now)
{
	uint32_t len = t->snd_end - t->snd_nxt;

	if ((word & TCP_FAST_OUT_LOOK) != TCP_FAST_OUT || tcp_in_trouble(t) || !t->unsent ||
	    t->unsent != t->sndq || !env->pool.free[TCP_MEM_SENT])
		return 0;
	if (len >= t->mss || seq_gt(t->snd_end, t->snd_una + t->snd_wnd) ||
	    2 * (t->pipe + len) > t->cc.cwnd)
		return 0;
	/* What tcp_short_ok() says of such a word. */
	if (!(word & TCP_F_NODELAY) && seq_gt(t->snd_sml, t->snd_una) &&
	    seq_le(t->snd_sml, t->snd_nxt))
		return 0;
	return tcp_fast_in_time(t, now_ms, now) ? len : 0;
}

/* @ts: whether the timestamp option is there */
BASE_INLINE void tcp_fast_header(struct tcb *t, uint8_t *l4, bool ts, uint32_t now_ms)
{
	uint32_t kind = ts ? TCP_KIND_TS | TCP_KIND_PSH : TCP_KIND_BARE | TCP_KIND_PSH;
	uint32_t wnd = tcp_window_field(t);

	base_be32_put(l4 + TCP_AT_SEQ, t->snd_nxt);
	base_be32_put(l4 + TCP_AT_ACK, t->rcv_nxt);
	kind |= (wnd >> 8 | (wnd & 0xff) << 8) << 16;
	memcpy(l4 + TCP_AT_OFFSET, &kind, sizeof(kind));
	memset(l4 + WIRE_TCP_CSUM_AT, 0, 4); /* checksum and urgent pointer */
	if (!ts)
		return;
	kind = TCP_NOP_NOP_TS;
	memcpy(l4 + TCP_AT_OPT, &kind, sizeof(kind));
	base_be32_put(l4 + TCP_AT_TSVAL, now_ms + t->ts_offset);
	base_be32_put(l4 + TCP_AT_TSVAL + 4, t->ts_recent);
}

/* The run @c is in flight from now on. */
BASE_INLINE void tcp_fast_flies(struct tcb *t, struct tcp_env *env, struct tcp_chunk *c,
				uint32_t len, ztime_t now)
{
	struct tcp_sent *s = env->pool.free[TCP_MEM_SENT];
	uint32_t end = t->snd_end;

	env->pool.free[TCP_MEM_SENT] = *(void **)s;
	env->pool.used[TCP_MEM_SENT]++;
	tcp_sent_fill(s, t->snd_nxt, end, c, 0, now);
	if (BASE_LIKELY(!t->sent)) {
		base_list_init(&s->by_seq);
		base_list_init(&s->by_time);
		t->sent = &s->by_seq;
		t->flight = &s->by_time;
	} else {
		tcp_sent_append(t, s);
	}
	t->pipe += len;
	t->unsent = NULL;
	t->snd_nxt = end;
	t->snd_sml = end;
}

/* tcp_sent_fresh() of data in a flight that is well. */
BASE_INLINE void tcp_fast_arm(struct tcb *t, struct tcp_env *env, uint64_t word, ztime_t now)
{
	const uint64_t tlp = TCP_F_SACK | TCP_F_TLP;

	if (t->xmit_mode == TCP_XMIT_RTO || t->xmit_mode == TCP_XMIT_REO)
		return;
	if (BASE_LIKELY((word & tlp) == TCP_F_SACK && t->srtt_us8 &&
			env->cfg.loss == &tcp_loss_rack))
		tcp_tlp_arm(t, now);
	else
		tcp_rto_arm(t, now);
}

/**
 * tcp_fast_out() - tcp_fast_output()
 * @l4:     where the TCP header goes
 * @ts:     whether @t has TCP_F_TS
 * @now_ms: tcp_now_ms(@now)
 *
 * No deadline of @t but t->xmit_at has come nearer by it. Return: false when it is not at hand.
 */
BASE_INLINE bool tcp_fast_out(struct tcb *t, struct tcp_env *env, uint8_t *l4, bool ts,
			      struct wire_tcp_iov *iov, uint32_t now_ms, ztime_t now)
{
	uint64_t word = tcp_word(t);
	uint32_t len = tcp_fast_last_run(t, env, word, now_ms, now);
	struct tcp_chunk *c = t->unsent;

	if (BASE_UNLIKELY(!len))
		return false;
	tcp_fast_header(t, l4, ts, now_ms);
	iov->data = c->data + (t->snd_nxt - c->seq);
	iov->len = len;
	iov->owner = c->owner;
	tcp_fast_flies(t, env, c, len, now);
	t->rcv_acked = t->rcv_nxt;
	t->delack_at = ZTIME_NEVER;
	t->todo = 0;
	t->quick = 0;
	t->seen_ms = now_ms;
	tcp_fast_arm(t, env, word, now);
	if (BASE_UNLIKELY(word & TCP_F_CWND_LIMITED))
		tcp_cwnd_used(t);
	return true;
}

#endif
