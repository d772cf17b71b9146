/* tcp_fast.c - header prediction both ways: state from a segment's bytes, and bytes from state
 *
 * Theory of operation: nearly every segment of a healthy connection is one of two. It comes in with the next bytes of
 * the stream, or acknowledges all that is in flight, and has no flag but ACK and PSH and no option but timestamps.
 * Or it goes out with the last bytes that were queued, in one run, and the acknowledgement that is owed. For these
 * two nothing has to be parsed into values, judged step by step or kept for later steps.
 *
 * Each function first asks whether its case is at hand, touching nothing; then it does what the complete way
 * (tcp_input.c, tcp_output.c) does in that case, no more and no less. The complete way stays the one that decides:
 * what is changed there has to be changed here, and the simulator plays every seed both ways and compares the
 * packets (sim_tcp), so that a difference is found.
 */
#include "stack/base/base_bytes.h"
#include "stack/tcp/tcp_step.h"

/* In one of these the case is not at hand. */
#define NOT_IN                                                                        \
	(TCP_F_TLP | TCP_F_RCV_SHUT | TCP_F_ORPHAN | TCP_F_URG_SND | TCP_F_SND_FULL | \
	 TCP_F_FIN_QUEUED)
#define NOT_OUT                                                                         \
	(TCP_F_PACING | TCP_F_FIN_QUEUED | TCP_F_ECN | TCP_F_ECN_ECHO | TCP_F_URG_SND | \
	 TCP_F_DSACK | TCP_F_CORK | TCP_F_MORE)

enum {
	AT_SEQ = 4,
	AT_ACK = 8,
	AT_OFFSET = 12, /* header length in words, flags, window */
	AT_WND = 14,
	AT_OPT = 20,
	AT_TSVAL = 24,
	/* Offset and flags of an ACK, as a number in memory order; PSH besides. */
	ACK_BARE = 0x50 | TCP_ACK << 8,
	ACK_TS = 0x80 | TCP_ACK << 8,
	ACK_PSH = TCP_PSH << 8,
};

#define NOP_NOP_TS 0x0a080101u /* in memory order */

static inline uint32_t le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint16_t le16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* ---------------------------------------------------------------- in */

/* The options agreed upon and no others; a timestamp that is not old. Return: header bytes, 0 when it is another. */
static inline uint32_t shape(const struct tcb *t, const uint8_t *l4, uint32_t bytes)
{
	uint32_t kind = le16(l4 + AT_OFFSET) & ~(uint32_t)ACK_PSH;

	if (!tcp_is(t, TCP_F_TS))
		return kind == ACK_BARE && bytes >= WIRE_TCP_HDR_LEN ? WIRE_TCP_HDR_LEN : 0;
	if (kind != ACK_TS || bytes < WIRE_TCP_HDR_LEN + TCP_TS_OPT_LEN ||
	    le32(l4 + AT_OPT) != NOP_NOP_TS || seq_lt(base_be32_get(l4 + AT_TSVAL), t->ts_recent))
		return 0;
	return WIRE_TCP_HDR_LEN + TCP_TS_OPT_LEN;
}

/* All that is in flight is one run, sent once, and @ack covers it. */
static inline bool flight_ends(const struct tcb *t, uint32_t ack)
{
	const struct tcp_sent *s = tcp_sent_first(t);

	return s && s->by_seq.next == &s->by_seq && s->end == ack && !s->flags;
}

/* There is a block, or @ack sets one free before it is needed. */
static inline bool chunk_at_hand(const struct tcb *t, uint32_t ack)
{
	const struct tcp_chunk *head;

	if (t->env->pool.free[TCP_MEM_CHUNK])
		return true;
	head = t->sndq ? t->sndq->next : NULL;
	return head && seq_le(head->seq + head->len, ack);
}

static inline bool text_fits(const struct tcb *t, uint32_t len, uint32_t ack)
{
	return len <= t->rcv_adv - t->rcv_nxt && chunk_at_hand(t, ack) && !tcp_chunks_full(t);
}

/* The run in flight has arrived: its blocks and payload go back, and the round trip is known. */
static inline void flight_over(struct tcb *t, uint32_t ack, ztime_t now)
{
	struct tcp_sent *s = tcp_sent_first(t);
	uint32_t delivered = s->end - s->seq;
	int64_t rtt_us = (now - s->sent_at) / ZTIME_US;

	t->sent = t->flight = NULL;
	t->pipe -= delivered;
	tcp_mem_put(t->env, TCP_MEM_SENT, s);
	t->snd_una = ack;
	tcp_sndq_release(t);
	tcp_ack_progress(t);
	tcp_rtt_sample(t, rtt_us);
	tcp_ack_congestion(t, delivered, now);
}

static inline void text_append(struct tcb *t, const uint8_t *data, uint32_t len, void *owner,
			       ztime_t now)
{
	struct wire_tcp_iov iov = { data, len, owner };
	struct tcp_chunk *c = tcp_chunk_new(t, &iov, t->rcv_nxt);

	t->rcv_chunks++;
	t->rcv_nxt += len;
	t->rcv_queued += len;
	tcp_chunk_append(&t->rcvq, c);
	t->events |= TCP_EV_READABLE;
	tcp_ack_policy(t, len, now);
}

bool tcp_fast_input(struct tcb *t, const uint8_t *l4, uint32_t bytes, const uint8_t *data,
		    void *owner, ztime_t now)
{
	uint32_t hdr = shape(t, l4, bytes), seq = base_be32_get(l4 + AT_SEQ);
	uint32_t ack = base_be32_get(l4 + AT_ACK), len = bytes - hdr;

	if (!hdr || t->state != TCP_ST_ESTABLISHED || seq != t->rcv_nxt || t->flags & NOT_IN ||
	    t->probes || t->loss || t->ooo)
		return false;
	if (ack != t->snd_una ? !flight_ends(t, ack) : !len)
		return false;
	if (len && !text_fits(t, len, ack))
		return false;

	if (hdr > WIRE_TCP_HDR_LEN && seq_le(seq, t->rcv_acked))
		t->ts_recent = base_be32_get(l4 + AT_TSVAL);
	tcp_count(t, CNT_tcp_predicted);
	t->seen_ms = tcp_now_ms(now);
	tcp_window_take(t, seq, base_be16_get(l4 + AT_WND));
	if (ack != t->snd_una)
		flight_over(t, ack, now);
	if (!t->sent)
		tcp_flight_empty(t, now);
	if (len)
		text_append(t, data, len, owner, now);
	return true;
}

/* ---------------------------------------------------------------- out */

/* All that is queued and unsent lies in one run and may go now as one short segment. Return: its length, else 0. */
static inline uint32_t last_run(const struct tcb *t, ztime_t now)
{
	uint32_t len = t->snd_end - t->snd_nxt;
	const struct tcp_chunk *c = t->unsent;

	if ((t->todo & ~TCP_DO_ACK) != TCP_DO_SEND || t->state != TCP_ST_ESTABLISHED ||
	    t->flags & NOT_OUT || t->loss || t->ooo || t->ca_state != TCP_CA_OPEN || !c ||
	    !t->env->pool.free[TCP_MEM_SENT])
		return 0;
	if (len >= t->mss || len > tcp_peer_room(t) || t->pipe + len > t->cc.cwnd ||
	    c->seq + c->len != t->snd_end)
		return 0;
	if (now >= tcp_deadline(t) || !tcp_short_ok(t) || (!t->sent && tcp_idle(t, now)))
		return 0;
	return len;
}

static inline void hdr_put(struct tcb *t, uint8_t *l4, bool ts, ztime_t now)
{
	uint32_t kind = ts ? ACK_TS | ACK_PSH : ACK_BARE | ACK_PSH;

	base_be32_put(l4 + AT_SEQ, t->snd_nxt);
	base_be32_put(l4 + AT_ACK, t->rcv_nxt);
	kind |= (uint32_t)__builtin_bswap16(tcp_window_offer(t)) << 16;
	memcpy(l4 + AT_OFFSET, &kind, sizeof(kind));
	memset(l4 + AT_OFFSET + 4, 0, 4); /* checksum and urgent pointer */
	if (!ts)
		return;
	kind = NOP_NOP_TS;
	memcpy(l4 + AT_OPT, &kind, sizeof(kind));
	base_be32_put(l4 + AT_TSVAL, tcp_tsval(t, now));
	base_be32_put(l4 + AT_TSVAL + 4, t->ts_recent);
}

uint32_t tcp_fast_output(struct tcb *t, uint8_t *l4, struct wire_tcp_iov *iov, ztime_t now)
{
	uint32_t len = last_run(t, now);
	struct tcp_chunk *c = t->unsent;
	bool ts = tcp_is(t, TCP_F_TS);

	if (!len)
		return 0;
	tcp_sent_add(t, t->snd_nxt, t->snd_end, c, 0, now);
	hdr_put(t, l4, ts, now);
	*iov = (struct wire_tcp_iov){ c->data + (t->snd_nxt - c->seq), len, c->owner };
	tcp_ack_paid(t);
	t->unsent = NULL;
	t->snd_nxt = t->snd_sml = t->snd_end;
	tcp_sent_fresh(t, true, now);
	t->todo = 0;
	tcp_cwnd_unused(t);
	return ts ? WIRE_TCP_HDR_LEN + TCP_TS_OPT_LEN : WIRE_TCP_HDR_LEN;
}
