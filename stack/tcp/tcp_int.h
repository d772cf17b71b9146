/* tcp_int.h - what the files of stack/tcp share and nobody else sees
 *
 * What it does: declares the steps of the machine by the file that holds them, and the small inline
 * pieces every step needs. Who includes it: stack/tcp/ *.c and the unit tests. Memory and thread: tcb.h.
 */
#ifndef ZTCP_TCP_INT_H
#define ZTCP_TCP_INT_H

#include <string.h>

#include "stack/tcp/tcb.h"

#define TCP_TS_OPT_LEN     12 /* timestamp option with its padding */
#define TCP_RTT_US_MAX     100000000
#define TCP_OOO_RANGES_MAX 64   /* islands kept; also bounds the work of one segment */
#define TCP_DUPTHRESH      3    /* RFC 5681 3.2 */
#define TCP_SACK_STEPS_MAX 4096 /* runs that the SACK blocks of one ACK may walk over */

/* What one ACK did; filled by tcp_ack.c and tcp_sack.c, read by the loss recovery. */
struct tcp_ackinfo {
	uint32_t prior_una;
	uint32_t acked;       /* bytes newly covered by the cumulative ACK */
	uint32_t delivered;   /* bytes newly known to be at the peer */
	int64_t rtt_us;       /* of the oldest run newly delivered and never repeated; -1: none */
	ztime_t rack_sent_at; /* newest transmission among the delivered runs; -1: none */
	uint32_t rack_end;
	uint32_t dsack_end;
	bool dup;      /* a duplicate ACK as in RFC 5681 2 */
	bool dsack;    /* it reported a duplicate */
	bool sacked;   /* it SACKed something new */
	bool original; /* it covers something of before the timeout that was sent once (RFC 5682) */
	bool repeated; /* it covers something that was sent more than once */
	bool tsecr_ok; /* tsecr below is valid */
	uint32_t tsecr;
};

/* Loss detection as a small table: what is lost? Recovery itself (tcp_loss.c) is common. */
struct tcp_loss_ops {
	const char *name;
	/* After an ACK: move runs that are lost from flight to loss->lost with tcp_sent_mark_lost(). May set
	 * *@reo_at to when it must look again. t->loss is there.
	 */
	void (*detect)(struct tcb *t, const struct tcp_ackinfo *ai, ztime_t now, ztime_t *reo_at);
};

extern const struct tcp_loss_ops tcp_loss_rack;
extern const struct tcp_loss_ops tcp_loss_sack;
extern const struct tcp_loss_ops tcp_loss_newreno;

/* ---------------------------------------------------------------- pieces */

static inline void tcp_count(struct tcb *t, enum counter c)
{
	base_count(t->env->counters, c);
}

void *tcp_mem_more(struct tcp_env *env, enum tcp_mem kind); /* tcp_queue.c */

/* A block is there that nobody has kept back. */
BASE_INLINE bool tcp_mem_left(const struct tcp_pool *pool, enum tcp_mem kind)
{
	return pool->used[kind] < pool->made[kind];
}

/* A block that is left, or has been kept back, and counts as used. */
BASE_INLINE void *tcp_mem_pop(struct tcp_pool *pool, enum tcp_mem kind)
{
	void *p = pool->free[kind];

	BASE_CHECK(p); /* as made and used say */
	pool->free[kind] = *(void **)p;
	return p;
}

BASE_INLINE void *tcp_mem_get(struct tcp_env *env, enum tcp_mem kind)
{
	if (BASE_UNLIKELY(!tcp_mem_left(&env->pool, kind)))
		return tcp_mem_more(env, kind);
	env->pool.used[kind]++;
	return tcp_mem_pop(&env->pool, kind);
}

static inline void tcp_mem_put(struct tcp_env *env, enum tcp_mem kind, void *p)
{
	*(void **)p = env->pool.free[kind];
	env->pool.free[kind] = p;
	env->pool.used[kind]--;
}

static inline void tcp_buf_put(struct tcp_env *env, void *owner)
{
	if (owner)
		env->buf_put(env->buf_ctx, owner);
}

/* state, todo, ca_state, probes and flags as tcp_word() gives them. */
#define tcp_word_of(flags, state, todo, ca_state, probes)                                 \
	((uint64_t)(uint32_t)(flags) | (uint64_t)(state) << 32 | (uint64_t)(todo) << 40 | \
	 (uint64_t)(ca_state) << 48 | (uint64_t)(probes) << 56)

BASE_INLINE uint64_t tcp_word(const struct tcb *t)
{
	uint64_t word;

	memcpy(&word, &t->flags, sizeof(word));
	return word;
}

/* xmit_mode, and nothing when timeouts, duplicate ACKs and ICMP have left none of their marks. */
BASE_INLINE uint32_t tcp_calm(const struct tcb *t)
{
	uint32_t word;

	memcpy(&word, &t->xmit_mode, sizeof(word));
	return word;
}

/* Something is missing on either side. */
BASE_INLINE bool tcp_in_trouble(const struct tcb *t)
{
	return (uintptr_t)t->loss | (uintptr_t)t->ooo;
}

/* At most TCP_RTT_US_MAX microseconds, without a division: one too many in six seconds. */
BASE_INLINE uint32_t tcp_ns_us(uint64_t ns)
{
	return (uint32_t)(ns * 4294968u >> 32);
}

/* A round trip, bounded. */
BASE_INLINE uint32_t tcp_since_us(ztime_t from, ztime_t now)
{
	uint64_t ns = (uint64_t)(now - from);

	return tcp_ns_us(BASE_MIN(ns, (uint64_t)TCP_RTT_US_MAX * 1000));
}

static inline uint32_t tcp_now_ms(ztime_t now)
{
	return (uint32_t)((uint64_t)now / (uint64_t)ZTIME_MS);
}

/* When the SYN was sent, in tune_seq; 0 stands for "unknown". */
static inline uint32_t tcp_syn_stamp(ztime_t now)
{
	uint32_t us = (uint32_t)(now / ZTIME_US);

	return us ? us : 1;
}

/* The slow clock: 2^26 ns (67 ms) a tick, rounded up, 0 for never; nine years fit. */
static inline void tcp_slow_set(struct tcb *t, ztime_t at)
{
	t->slow_tick = at == ZTIME_NEVER ? 0 : (uint32_t)((uint64_t)at >> 26) + 1;
}

static inline ztime_t tcp_slow_at(const struct tcb *t)
{
	return t->slow_tick ? (ztime_t)((uint64_t)t->slow_tick << 26) : ZTIME_NEVER;
}

static inline uint32_t tcp_tsval(const struct tcb *t, ztime_t now)
{
	return tcp_now_ms(now) + t->ts_offset;
}

static inline bool tcp_is(const struct tcb *t, uint32_t flag)
{
	return t->flags & flag;
}

static inline uint32_t tcp_rcv_wnd(const struct tcb *t)
{
	int32_t room = seq_diff(t->rcv_adv, t->rcv_nxt);

	return room > 0 ? (uint32_t)room : 0;
}

static inline uint32_t tcp_srtt_us(const struct tcb *t)
{
	return t->srtt_us8 >> 3;
}

static inline struct tcp_sent *tcp_sent_first(const struct tcb *t)
{
	return t->sent ? base_container_of(t->sent, struct tcp_sent, by_seq) : NULL;
}

static inline struct tcp_sent *tcp_sent_last(const struct tcb *t)
{
	return t->sent ? base_container_of(t->sent->prev, struct tcp_sent, by_seq) : NULL;
}

/* Return: the run after @s, NULL after the last. */
static inline struct tcp_sent *tcp_sent_next(const struct tcb *t, const struct tcp_sent *s)
{
	return s->by_seq.next == t->sent
		       ? NULL
		       : base_container_of(s->by_seq.next, struct tcp_sent, by_seq);
}

static inline struct tcp_sent *tcp_sent_prev(const struct tcb *t, const struct tcp_sent *s)
{
	return &s->by_seq == t->sent ? NULL
				     : base_container_of(s->by_seq.prev, struct tcp_sent, by_seq);
}

/* A ring known by its first node, NULL when empty. */
static inline void tcp_ring_append(struct base_list **ring, struct base_list *node)
{
	if (!*ring) {
		base_list_init(node);
		*ring = node;
		return;
	}
	base_list_insert((*ring)->prev, node);
}

static inline void tcp_ring_remove(struct base_list **ring, struct base_list *node)
{
	if (node->next == node) {
		*ring = NULL;
		return;
	}
	if (*ring == node)
		*ring = node->next;
	base_list_remove(node);
}

/* NewReno cannot say which segments duplicate ACKs stand for, only how many bytes have left the network. */
static inline uint32_t tcp_inflight(const struct tcb *t)
{
	uint32_t gone;

	if (BASE_LIKELY(!t->loss) || tcp_is(t, TCP_F_SACK))
		return t->pipe;
	gone = t->loss->sacked_bytes;
	return gone < t->pipe ? t->pipe - gone : 0;
}

/* Bytes that the peer's window still takes. */
static inline uint32_t tcp_peer_room(const struct tcb *t)
{
	int32_t room = seq_diff(t->snd_una + t->snd_wnd, t->snd_nxt);

	return room > 0 ? (uint32_t)room : 0;
}

static inline bool tcp_in_recovery(const struct tcb *t)
{
	return t->ca_state == TCP_CA_RECOVERY || t->ca_state == TCP_CA_CWR;
}

static inline bool tcp_synchronized(const struct tcb *t)
{
	return t->state >= TCP_ST_ESTABLISHED;
}

/* States in which the peer may still send data. */
static inline bool tcp_can_receive(const struct tcb *t)
{
	const uint32_t states = 1u << TCP_ST_ESTABLISHED | 1u << TCP_ST_FIN_WAIT_1 |
				1u << TCP_ST_FIN_WAIT_2;

	return states >> t->state & 1;
}

/* States in which queued data and our FIN may go out. */
static inline bool tcp_can_transmit(const struct tcb *t)
{
	const uint32_t states = 1u << TCP_ST_ESTABLISHED | 1u << TCP_ST_CLOSE_WAIT |
				1u << TCP_ST_FIN_WAIT_1 | 1u << TCP_ST_CLOSING |
				1u << TCP_ST_LAST_ACK;

	if (BASE_LIKELY(states >> t->state & 1))
		return true;
	return t->state == TCP_ST_SYN_RCVD && tcp_is(t, TCP_F_TFO_CHILD); /* RFC 7413 4.2 */
}

static inline uint32_t tcp_fin_unsent(const struct tcb *t)
{
	return (t->flags & (TCP_F_FIN_QUEUED | TCP_F_FIN_SENT)) == TCP_F_FIN_QUEUED;
}

/* ---------------------------------------------------------------- tcp_sent.c: what is in flight */

struct tcp_sent *tcp_sent_add(struct tcb *t, uint32_t seq, uint32_t end, struct tcp_chunk *chunk,
			      uint32_t flags, ztime_t now);
bool tcp_sent_split(struct tcb *t, struct tcp_sent *s, uint32_t at);
void tcp_sent_append(struct tcb *t, struct tcp_sent *s);
void tcp_sent_mark_sacked(struct tcb *t, struct tcp_sent *s);
void tcp_sent_mark_lost(struct tcb *t, struct tcp_sent *s);
void tcp_sent_unmark(struct tcb *t, struct tcp_sent *s);
void tcp_sent_again(struct tcb *t, struct tcp_sent *s, ztime_t now);
void tcp_sent_delivered(struct tcb *t, const struct tcp_sent *s, struct tcp_ackinfo *ai,
			ztime_t now);
void tcp_sent_acked(struct tcb *t, uint32_t ack, struct tcp_ackinfo *ai, ztime_t now);
void tcp_sent_free_all(struct tcb *t);

/* ---------------------------------------------------------------- tcp_queue.c: payload runs */

/* Takes the reference: @iov->owner is NULL after success. */
BASE_INLINE struct tcp_chunk *tcp_chunk_new(struct tcb *t, struct wire_tcp_iov *iov, uint32_t seq)
{
	struct tcp_chunk *c = tcp_mem_get(t->env, TCP_MEM_CHUNK);

	if (BASE_UNLIKELY(!c))
		return NULL;
	c->data = iov->data;
	c->len = iov->len;
	c->owner = iov->owner;
	c->seq = seq;
	iov->owner = NULL;
	return c;
}

BASE_INLINE void tcp_chunk_append(struct tcp_chunk **tail, struct tcp_chunk *c)
{
	c->next = c;
	if (*tail) {
		c->next = (*tail)->next;
		(*tail)->next = c;
	}
	*tail = c;
}

struct tcp_chunk *tcp_chunk_after(const struct tcb *t, struct tcp_chunk *c, uint32_t seq);
void tcp_chunk_free(struct tcb *t, struct tcp_chunk *c);
void tcp_ring_free(struct tcb *t, struct tcp_chunk **tail, uint16_t *count);
void tcp_sndq_release(struct tcb *t);
uint32_t tcp_gather(const struct tcb *t, const struct tcp_chunk *c, uint32_t seq, uint32_t len,
		    struct wire_tcp *out);
void tcp_trim_front(struct wire_tcp *seg, uint32_t n);
void tcp_trim_back(struct wire_tcp *seg, uint32_t n);

/* ---------------------------------------------------------------- the receiver */

enum counter tcp_text(struct tcb *t, struct wire_tcp *seg, ztime_t now); /* tcp_reass.c */
void tcp_ooo_free(struct tcb *t);
void tcp_ooo_fin(struct tcb *t, uint32_t at);
unsigned tcp_ooo_blocks(const struct tcb *t, struct wire_tcp_sack *out, unsigned max);
uint32_t tcp_ooo_bytes(const struct tcb *t);
void tcp_ack_policy(struct tcb *t, uint32_t size, ztime_t now); /* tcp_window.c */
uint16_t tcp_window_offer(struct tcb *t);
void tcp_window_read(struct tcb *t, ztime_t now);
void tcp_window_measure(struct tcb *t, uint32_t read_seq, ztime_t now);
void tcp_rcv_mss_learn(struct tcb *t, uint32_t size);
uint8_t tcp_window_scale(uint32_t bytes);

/* ---------------------------------------------------------------- the sender */

enum counter tcp_ack(struct tcb *t, const struct wire_tcp *seg, ztime_t now); /* tcp_ack.c */
void tcp_window_update(struct tcb *t, const struct wire_tcp *seg);
void tcp_ack_growth(struct tcb *t, uint32_t delivered, uint32_t rtt_us, ztime_t now);
void tcp_sack_apply(struct tcb *t, const struct wire_tcp *seg, struct tcp_ackinfo *ai, ztime_t now);
bool tcp_loss_get(struct tcb *t); /* tcp_loss.c */
void tcp_loss_put(struct tcb *t);
void tcp_loss_ack(struct tcb *t, struct tcp_ackinfo *ai, ztime_t now);
void tcp_loss_ecn(struct tcb *t, ztime_t now);
void tcp_loss_timeout(struct tcb *t, ztime_t now);
void tcp_loss_reo_timeout(struct tcb *t, ztime_t now);
void tcp_loss_tlp_ack(struct tcb *t, const struct tcp_ackinfo *ai);
void tcp_loss_resegment(struct tcb *t, uint32_t seq);
void tcp_rtt_sample(struct tcb *t, int64_t rtt_us); /* tcp_rtt.c */
void tcp_rtt_first(struct tcb *t, uint32_t us);
void tcp_rtt_reset(struct tcb *t);
void tcp_reset_fill(struct wire_tcp *out, uint32_t seq, uint32_t ack,
		    uint8_t flags);                                    /* tcp_listen.c */
void tcp_out_header(struct tcb *t, struct wire_tcp *out, ztime_t now); /* tcp_output.c */
void tcp_idle_restart(struct tcb *t);

/* What an ACK delivered counts for the congestion window. */
static inline void tcp_ack_congestion(struct tcb *t, const struct tcp_ackinfo *ai, ztime_t now)
{
	if (!ai->delivered)
		return;
	if (BASE_LIKELY(!tcp_is(t, TCP_F_CWND_LIMITED)))
		cc_app_limited(&t->cc);
	else
		tcp_ack_growth(t, ai->delivered, ai->rtt_us > 0 ? (uint32_t)ai->rtt_us : 0, now);
}

/* ---------------------------------------------------------------- the end of the short way, tcp_fast.c */

ztime_t tcp_fast_timer(struct tcb *t);
void tcp_fast_leave(struct tcb *t);

/* ---------------------------------------------------------------- timers, tcp_timer.c */

void tcp_timer_run(struct tcb *t, ztime_t now);
void tcp_xmit_arm(struct tcb *t, ztime_t now);
void tcp_rto_arm(struct tcb *t, ztime_t now);
ztime_t tcp_pace_at(const struct tcb *t);
void tcp_keep_arm(struct tcb *t, ztime_t now);

/* ---------------------------------------------------------------- state changes, tcp_close.c */

void tcp_set_state(struct tcb *t, enum tcp_state s);
void tcp_set_established(struct tcb *t, const struct wire_tcp *seg, ztime_t now);
void tcp_fail(struct tcb *t, int err);
void tcp_reset_out(struct tcb *t, int err);
void tcp_finish(struct tcb *t);
void tcp_fin_in(struct tcb *t, ztime_t now);
void tcp_fin_acked(struct tcb *t, ztime_t now);
void tcp_time_wait(struct tcb *t, ztime_t now);
void tcp_parent_leave(struct tcb *t);
bool tcp_challenge(struct tcb *t, ztime_t now);

/* ---------------------------------------------------------------- larger segments again, tcp_raise.c */

void tcp_raise_later(struct tcb *t, ztime_t now);
uint32_t tcp_raise_len(struct tcb *t, ztime_t now);
void tcp_raise_sent(struct tcb *t, uint32_t len, ztime_t now);
void tcp_raise_arrived(struct tcb *t, const struct tcp_sent *s, ztime_t now);
bool tcp_raise_lost(struct tcb *t, ztime_t now);

/* Something has made segments smaller than they began. */
static inline bool tcp_lowered(const struct tcb *t)
{
	return t->probed_mss || t->path_mss < t->top_mss;
}

/* ---------------------------------------------------------------- handshake, tcp_open.c */

unsigned tcp_out_syn(struct tcb *t, struct wire_tcp *out, ztime_t now);
uint32_t tcp_isn(const struct tcp_env *env, const struct wire_flow *id, ztime_t now);
uint32_t tcp_ts_offset(const struct tcp_env *env, const struct wire_flow *id);
void tcp_peer_options(struct tcb *t, const struct wire_tcp *syn);
void tcp_mss_update(struct tcb *t);
void tcp_begin(struct tcb *t, const struct wire_flow *id, uint32_t iss, uint16_t path_mss,
	       ztime_t now);
uint16_t tcp_mss_unsaid(const struct wire_flow *id);
void tcp_cwnd_begin(struct tcb *t);

/* ---------------------------------------------------------------- SYN cookies, tcp_cookie.c */

void tcp_cookie_reply(const struct tcp_listener *l, const struct wire_tcp *syn,
		      const struct wire_flow *id, uint16_t path_mss, ztime_t now,
		      struct wire_tcp *out);
bool tcp_cookie_check(const struct tcp_listener *l, const struct wire_tcp *ack,
		      const struct wire_flow *id, ztime_t now, struct wire_tcp *syn);
uint64_t tcp_tfo_mac(const struct tcp_env *env, const struct wire_flow *id);

#endif
