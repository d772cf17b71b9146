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

/* What tcp_word() has to be for a connection to be healthy; where more has to be, more is looked at. */
#define TCP_FAST_WELL tcp_word_of(0, TCP_ST_ESTABLISHED, 0, TCP_CA_OPEN, 0)

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

/* Payload that comes next is all that can be read. @c: a block */
BASE_INLINE void tcp_fast_text(struct tcb *t, struct tcp_chunk *c, const uint8_t *data,
			       uint32_t len, void *owner)
{
	uint32_t seq = t->rcv_nxt;

	t->rcvq = c;
	c->next = c;
	c->data = data;
	c->owner = owner;
	c->len = len;
	c->seq = seq;
	t->rcv_nxt = seq + len;
	t->rcv_queued = len;
	t->rcv_chunks = 1;
}

/* All of a lone run (TCP_XMIT_LONE) has arrived. Return: the block that its payload was in. */
BASE_INLINE struct tcp_chunk *tcp_fast_lone_over(struct tcb *t, struct tcp_env *env, uint32_t ack,
						 ztime_t now)
{
	struct tcp_sent *s = tcp_sent_first(t);
	struct tcp_chunk *c = t->sndq;

	t->sent = NULL;
	t->flight = NULL;
	t->pipe = 0;
	tcp_rtt_next(t, env, tcp_since_us(s->sent_at, now));
	tcp_mem_put(env, TCP_MEM_SENT, s);
	t->snd_una = ack;
	t->stall_ms = 0;
	t->xmit_mode = TCP_XMIT_QUIET;
	t->xmit_at = ZTIME_NEVER;
	cc_app_limited(&t->cc);
	t->sndq = NULL;
	t->snd_chunks = 0;
	return c;
}

/* What a segment did that went the short way. */
struct tcp_fast_done {
	unsigned int
		told; /* TCP_EV_* to tell, which are not in the connection's own; TCP_FAST_NOT: nothing was touched */
	void *gone; /* the owner of a run that has been acknowledged: to be given back by the caller; or NULL */
};

#define TCP_FAST_NOT 0x8000u

/**
 * tcp_fast_other() - tcp_fast_in() of a connection that has no lone run under way, or of a segment that is not its
 * acknowledgement and what comes next
 */
struct tcp_fast_done tcp_fast_other(struct tcb *t, const uint8_t *l4, uint32_t hdr,
				    const uint8_t *data, uint32_t len, void *owner, ztime_t now);

/**
 * tcp_fast_in() - tcp_fast_input() of a segment that has the shape
 * @hdr:    what tcp_fast_shape() has returned
 * @len:    bytes of payload
 * @now_ms: tcp_now_ms(@now)
 *
 * A lone run is acknowledged, and nothing is owed or waits to be read: then no queue has to be looked at, no
 * acknowledgement is due at once, and the block of what was sent is the block of what has come.
 */
BASE_INLINE struct tcp_fast_done tcp_fast_in(struct tcb *t, struct tcp_env *env, const uint8_t *l4,
					     uint32_t hdr, const uint8_t *data, uint32_t len,
					     void *owner, uint32_t now_ms, ztime_t now)
{
	uint32_t seq = base_be32_get(l4 + TCP_AT_SEQ), ack = base_be32_get(l4 + TCP_AT_ACK);
	struct tcp_fast_done done = { TCP_EV_DRAINED, NULL };
	struct tcp_chunk *c;

	if (BASE_UNLIKELY(tcp_calm(t) != TCP_XMIT_LONE || seq != t->rcv_nxt || ack != t->snd_nxt ||
			  seq != t->rcv_acked || t->rcvq || len > t->rcv_adv - seq ||
			  len > t->rcv_mss || seq_lt(seq, t->snd_wl1)))
		return tcp_fast_other(t, l4, hdr, data, len, owner, now);
	if (hdr > WIRE_TCP_HDR_LEN)
		t->ts_recent = base_be32_get(l4 + TCP_AT_TSVAL);
	base_count(env->counters, CNT_tcp_predicted);
	t->seen_ms = now_ms;
	tcp_window_set(t, seq, base_be16_get(l4 + TCP_AT_WND));
	c = tcp_fast_lone_over(t, env, ack, now);
	done.gone = c->owner;
	if (BASE_UNLIKELY(!len)) {
		tcp_mem_put(env, TCP_MEM_CHUNK, c);
		return done;
	}
	tcp_fast_text(t, c, data, len, owner);
	t->delack_at = now + ztime_us(env->cfg.delack_us);
	done.told = TCP_EV_DRAINED | TCP_EV_READABLE;
	return done;
}

/* ---------------------------------------------------------------- the application */

/**
 * tcp_fast_take() - tcp_recv_take() of a healthy connection whose window need not be told or grow by it
 *
 * Return: false when that is not so, or nothing is there, and nothing was touched.
 */
BASE_INLINE bool tcp_fast_take(struct tcb *t, struct tcp_env *env, struct wire_tcp_iov *iov)
{
	const uint64_t look = tcp_word_of(TCP_F_URG_RCV, 0xff, 0, 0, 0);
	struct tcp_chunk *tail = t->rcvq, *c;
	uint32_t read_seq;

	if (!tail || (tcp_word(t) & look) != TCP_FAST_WELL)
		return false;
	c = tail->next;
	read_seq = t->rcv_nxt - t->rcv_queued + c->len;
	if (BASE_UNLIKELY(tcp_window_much_read(t, read_seq) || tcp_window_small(t)))
		return false;
	*iov = (struct wire_tcp_iov){ c->data, c->len, c->owner };
	t->rcv_chunks--;
	t->rcv_queued -= c->len;
	if (BASE_LIKELY(c == tail))
		t->rcvq = NULL;
	else
		tail->next = c->next;
	tcp_mem_put(env, TCP_MEM_CHUNK, c);
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

	if (t->sndq || !c || (tcp_word(t) & look) != TCP_FAST_WELL || len - 1 >= t->sndbuf)
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

BASE_INLINE void tcp_fast_iov(const struct tcb *t, const struct tcp_chunk *c, uint32_t len,
			      struct wire_tcp_iov *iov)
{
	iov->data = c->data + (t->snd_nxt - c->seq);
	iov->len = len;
	iov->owner = c->owner;
}

/* What is sent now, the run and the acknowledgement that goes with it, is no longer to do. Return: the run. */
BASE_INLINE struct tcp_sent *tcp_fast_flies(struct tcb *t, struct tcp_env *env, struct tcp_chunk *c,
					    uint32_t len, ztime_t now)
{
	struct tcp_sent *s = env->pool.free[TCP_MEM_SENT];
	uint32_t end = t->snd_end;

	env->pool.free[TCP_MEM_SENT] = *(void **)s;
	env->pool.used[TCP_MEM_SENT]++;
	tcp_sent_fill(s, t->snd_nxt, end, c, 0, now);
	t->pipe += len;
	t->unsent = NULL;
	t->snd_nxt = end;
	t->snd_sml = end;
	t->rcv_acked = t->rcv_nxt;
	t->delack_at = ZTIME_NEVER;
	t->todo = 0;
	t->quick = 0;
	return s;
}

/* Nothing is in flight but what has just been sent: see TCP_XMIT_LONE. */
BASE_INLINE void tcp_fast_lone(struct tcb *t, const struct tcp_env *env, struct tcp_sent *s,
			       ztime_t now)
{
	/* No probe is due before: see tcp_tlp_arm(). */
	uint32_t us = BASE_MIN(env->cfg.rto_min_us, (uint32_t)TCP_TLP_DELAY_US);

	base_list_init(&s->by_seq);
	base_list_init(&s->by_time);
	t->sent = &s->by_seq;
	t->flight = &s->by_time;
	t->xmit_mode = TCP_XMIT_LONE;
	t->xmit_at = now + ztime_us(us);
}

/** tcp_fast_more() - tcp_fast_out() of a connection that was not quiet, or was silent for long */
bool tcp_fast_more(struct tcb *t, uint8_t *l4, struct wire_tcp_iov *iov, ztime_t now);

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
	uint32_t len = t->snd_end - t->snd_nxt;
	struct tcp_chunk *c = t->unsent;
	struct tcp_sent *s;

	if (BASE_UNLIKELY(!c))
		return false;
	if (BASE_UNLIKELY(tcp_calm(t) != TCP_XMIT_QUIET || now_ms != t->seen_ms || len >= t->mss ||
			  len > t->snd_wnd || 2 * len > t->cc.cwnd ||
			  !env->pool.free[TCP_MEM_SENT] ||
			  (uint32_t)((uint64_t)now >> 26) > t->slow_tick - 1))
		return tcp_fast_more(t, l4, iov, now);
	tcp_fast_header(t, l4, ts, now_ms);
	tcp_fast_iov(t, c, len, iov);
	s = tcp_fast_flies(t, env, c, len, now);
	tcp_fast_lone(t, env, s, now);
	return true;
}

#endif
