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
 * @ts:    whether @t has TCP_F_TS
 *
 * Return: false when it is another segment. The header is tcp_fast_hdr() bytes, at most @bytes.
 */
BASE_INLINE bool tcp_fast_shape(const struct tcb *t, const uint8_t *l4, uint32_t bytes, bool ts)
{
	uint32_t kind = base_word16(l4 + TCP_AT_OFFSET) & ~(uint32_t)TCP_KIND_PSH;

	if (!ts)
		return kind == TCP_KIND_BARE;
	return kind == TCP_KIND_TS && bytes >= TCP_FAST_HDR_TS &&
	       base_word32(l4 + TCP_AT_OPT) == TCP_NOP_NOP_TS &&
	       seq_ge(base_be32_get(l4 + TCP_AT_TSVAL), t->ts_recent);
}

/** tcp_fast_hdr() - Return: bytes of a header with (@ts) or without timestamps. */
BASE_INLINE uint32_t tcp_fast_hdr(bool ts)
{
	return ts ? TCP_FAST_HDR_TS : WIRE_TCP_HDR_LEN;
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
}

/* All of a lone run (TCP_XMIT_LONE), sent @ns ago, has arrived. Return: the block that its payload was in. */
BASE_INLINE struct tcp_chunk *tcp_fast_lone_over(struct tcb *t, uint32_t ack, uint64_t ns)
{
	struct tcp_chunk *c = t->sndq;

	tcp_rtt_next(t, tcp_ns_us(ns));
	t->snd_una = ack;
	t->xmit_mode = TCP_XMIT_QUIET;
	cc_app_limited(&t->cc);
	t->sndq = NULL;
	return c;
}

/* What a segment did that went the short way. */
struct tcp_fast_done {
	/* TCP_EV_* to tell, which are not in the connection's own; TCP_FAST_NOT: nothing was touched */
	unsigned int told;
	/* The owner of a run that has been acknowledged: to be given back by the caller; or NULL */
	void *gone;
};

#define TCP_FAST_NOT 0x8000u

/**
 * tcp_fast_other() - tcp_fast_in() of a connection that has no lone run under way, or of a segment that is not its
 * acknowledgement and what comes next
 */
struct tcp_fast_done tcp_fast_other(struct tcb *t, const uint8_t *l4, bool ts, const uint8_t *data,
				    uint32_t len, void *owner, ztime_t now);

/**
 * tcp_fast_in() - tcp_fast_input() of a segment that has the shape
 * @ts:     as tcp_fast_shape() was told
 * @len:    bytes of payload
 * @text:   whether there are some
 * @now_ms: tcp_now_ms(@now)
 *
 * A lone run is acknowledged before its xmit_at, and nothing waits to be read: then no queue has to be looked at, no
 * acknowledgement is due at once, and the block of what was sent is the block of what has come. The caller counts
 * CNT_tcp_predicted.
 */
BASE_INLINE struct tcp_fast_done tcp_fast_in(struct tcb *t, struct tcp_env *env, const uint8_t *l4,
					     bool ts, const uint8_t *data, uint32_t len, bool text,
					     void *owner, uint32_t now_ms, ztime_t now)
{
	uint32_t seq = base_be32_get(l4 + TCP_AT_SEQ), ack = base_be32_get(l4 + TCP_AT_ACK);
	struct tcp_fast_done done = { TCP_EV_DRAINED, NULL };
	struct tcp_chunk *c;

	if (BASE_UNLIKELY(tcp_calm(t) != TCP_XMIT_LONE || seq != t->rcv_nxt || ack != t->snd_nxt ||
			  t->rcvq || len > t->rcv_adv - seq || len > t->rcv_mss ||
			  now > t->xmit_at))
		return tcp_fast_other(t, l4, ts, data, len, owner, now);
	if (ts)
		t->ts_recent = base_be32_get(l4 + TCP_AT_TSVAL);
	t->seen_ms = now_ms;
	tcp_window_take(t, seq, base_be16_get(l4 + TCP_AT_WND));
	c = tcp_fast_lone_over(t, ack, (uint64_t)(env->lone_ns - (t->xmit_at - now)));
	done.gone = c->owner;
	if (!text) {
		t->snd_chunks = 0;
		tcp_mem_put(env, TCP_MEM_CHUNK, c);
		return done;
	}
	tcp_fast_text(t, c, data, len, owner);
	t->rcv_chunks = 1;
	t->snd_chunks = 0;
	t->delack_at = now + ztime_us(env->cfg.delack_us);
	done.told = TCP_EV_DRAINED | TCP_EV_READABLE;
	return done;
}

/* ---------------------------------------------------------------- the application */

/* @look, a tcp_word_of(): nothing of it is the case. TCP_XMIT_QUIET says as much of whatever is looked for here. */
BASE_INLINE bool tcp_fast_well(const struct tcb *t, uint64_t look)
{
	return BASE_LIKELY(tcp_calm(t) == TCP_XMIT_QUIET) || (tcp_word(t) & look) == TCP_FAST_WELL;
}

/**
 * tcp_fast_take() - tcp_recv_take() of a healthy connection whose window need not be told or grow by it
 *
 * Return: false when that is not so, or nothing is there, and nothing was touched but @iov.
 */
BASE_INLINE bool tcp_fast_take(struct tcb *t, struct tcp_env *env, struct wire_tcp_iov *iov)
{
	const uint64_t look = tcp_word_of(TCP_F_URG_RCV, 0xff, 0, 0, 0);
	struct tcp_chunk *tail = t->rcvq, *c;
	uint32_t left, limit;

	if (!tail || !tcp_fast_well(t, look))
		return false;
	c = tail->next;
	*iov = (struct wire_tcp_iov){ c->data, c->len, c->owner };
	left = t->rcv_queued - iov->len;
	limit = t->rcvbuf / 2;
	/* tcp_window_much_read(), tcp_window_small(): what was advertised is not behind what has come. */
	if (BASE_UNLIKELY(t->rcv_nxt - left - t->tune_seq + 8u * t->rcv_mss > limit ||
			  t->rcv_adv - t->rcv_nxt <= limit))
		return false;
	t->rcv_chunks--;
	t->rcv_queued = left;
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

	if (t->sndq || !c || !tcp_fast_well(t, look) || len - 1 >= t->sndbuf)
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
	const uint16_t kind = (ts ? TCP_KIND_TS : TCP_KIND_BARE) | TCP_KIND_PSH;
	const uint32_t option = TCP_NOP_NOP_TS;

	/* First all that is read: the compiler cannot know that the header lies elsewhere. */
	uint32_t seq = t->snd_nxt, ack = t->rcv_nxt, val = now_ms + t->ts_offset,
		 ecr = t->ts_recent;
	uint16_t wnd = tcp_window_field(t);

	base_be32_put(l4 + TCP_AT_SEQ, seq);
	base_be32_put(l4 + TCP_AT_ACK, ack);
	memcpy(l4 + TCP_AT_OFFSET, &kind, sizeof(kind));
	base_be16_put(l4 + TCP_AT_WND, wnd);
	memset(l4 + WIRE_TCP_CSUM_AT, 0, 4); /* checksum and urgent pointer */
	if (!ts)
		return;
	memcpy(l4 + TCP_AT_OPT, &option, sizeof(option));
	base_be32_put(l4 + TCP_AT_TSVAL, val);
	base_be32_put(l4 + TCP_AT_TSVAL + 4, ecr);
}

/* What is sent now, all that was queued and the acknowledgement that goes with it, is no longer to do. */
BASE_INLINE void tcp_fast_flies(struct tcb *t)
{
	uint32_t end = t->snd_end;

	t->rcv_acked = t->rcv_nxt;
	t->unsent = NULL;
	t->snd_nxt = end;
	t->snd_sml = end;
	t->delack_at = ZTIME_NEVER;
	t->todo = 0;
	t->quick = 0;
}

/* Nothing is in flight but what has just been sent: see TCP_XMIT_LONE. */
BASE_INLINE void tcp_fast_lone(struct tcb *t, const struct tcp_env *env, ztime_t now)
{
	t->xmit_mode = TCP_XMIT_LONE;
	t->xmit_at = now + env->lone_ns;
}

/** tcp_fast_more() - tcp_fast_out() of a connection that was not quiet, or was silent for long */
bool tcp_fast_more(struct tcb *t, uint8_t *l4, struct wire_tcp_iov *iov, ztime_t now);

/**
 * tcp_fast_out() - tcp_fast_output()
 * @l4:     where the TCP header goes
 * @ts:     whether @t has TCP_F_TS
 * @now_ms: tcp_now_ms(@now)
 *
 * No deadline of @t but t->xmit_at has come nearer by it. Not for a connection whose tcp_deadline() has come. Return:
 * false when it is not at hand.
 */
BASE_INLINE bool tcp_fast_out(struct tcb *t, struct tcp_env *env, uint8_t *l4, bool ts,
			      struct wire_tcp_iov *iov, uint32_t now_ms, ztime_t now)
{
	const struct tcp_chunk *c = t->unsent;

	if (BASE_UNLIKELY(!c))
		return false;
	if (BASE_UNLIKELY(tcp_calm(t) != TCP_XMIT_QUIET || now_ms != t->seen_ms ||
			  c->len >= t->mss || c->len > t->snd_wnd))
		return tcp_fast_more(t, l4, iov, now);
	*iov = (struct wire_tcp_iov){ c->data, c->len, c->owner };
	tcp_fast_header(t, l4, ts, now_ms);
	tcp_fast_flies(t);
	tcp_fast_lone(t, env, now);
	return true;
}

#endif
