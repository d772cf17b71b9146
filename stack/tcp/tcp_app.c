/* tcp_app.c - what the application's side calls: bytes in, bytes out, events (RFC 9293 3.10.2 SEND, 3.10.3 RECEIVE) */
#include "stack/tcp/tcp_step.h"

#include <errno.h>
#include <string.h>

#define CHUNKS_MAX 60000 /* blocks one send queue may hold; snd_chunks is 16 bits */

void tcp_init(struct tcb *t, struct tcp_env *env)
{
	const struct tcp_config *cfg = &env->cfg;

	memset(t, 0, sizeof(*t));
	t->env = env;
	/* RFC 8985 7.2, RFC 6298 (2.4): no probe and no timeout is due sooner. */
	env->lone_ns = ztime_us(BASE_MIN(cfg->rto_min_us, (uint32_t)TCP_TLP_DELAY_US));
	t->xmit_at = t->delack_at = ZTIME_NEVER;
	t->sndbuf = cfg->sndbuf_bytes;
	t->rcvbuf = cfg->rcvbuf_bytes;
	t->cc.ops = cfg->cc;
	t->user_timeout_ms = cfg->user_timeout_ms;
	t->keep_idle_s = cfg->keep_idle_s;
	t->keep_intvl_s = cfg->keep_intvl_s;
	t->keep_count = cfg->keep_count;
	t->syn_retries = cfg->syn_retries;
	t->reo_mult = 1;
	if (cfg->pacing)
		t->flags = TCP_F_PACING;
	tcp_rtt_reset(t);
}

enum tcp_state tcp_state(const struct tcb *t)
{
	return (enum tcp_state)t->state;
}

unsigned tcp_events_take(struct tcb *t)
{
	unsigned ev = t->events;

	t->events = 0;
	return ev;
}

int tcp_error(const struct tcb *t)
{
	return t->error;
}

/* ---------------------------------------------------------------- sending */

uint32_t tcp_unacked(const struct tcb *t)
{
	uint32_t una = t->snd_una;

	if (t->state == TCP_ST_SYN_SENT || t->state == TCP_ST_SYN_RCVD)
		una++; /* the SYN is no byte of the application's */
	return t->sndq ? t->snd_end - una : 0;
}

uint32_t tcp_unsent(const struct tcb *t)
{
	return t->unsent ? t->snd_end - t->snd_nxt : 0;
}

uint32_t tcp_send_space(const struct tcb *t)
{
	uint32_t used = tcp_unacked(t);

	if (t->snd_chunks >= CHUNKS_MAX)
		return 0;
	return used < t->sndbuf ? t->sndbuf - used : 0;
}

static BASE_COLD int send_allowed(const struct tcb *t)
{
	if (tcp_is(t, TCP_F_FIN_QUEUED) || t->error)
		return -EPIPE;
	if (t->state == TCP_ST_CLOSED)
		return t->u.tfo && tcp_is(t, TCP_F_ACTIVE) ? 0 : -ENOTCONN;
	if (t->state > TCP_ST_ESTABLISHED && t->state != TCP_ST_CLOSE_WAIT)
		return -EPIPE;
	return 0;
}

/* Bytes that follow in memory what was queued last need no block of their own. */
static BASE_COLD bool chunk_extend(struct tcb *t, const struct wire_tcp_iov *iov, uint32_t len)
{
	struct tcp_chunk *tail = t->sndq;

	if (!iov->owner || tail->owner != iov->owner || tail->data + tail->len != iov->data)
		return false;
	tail->len += len;
	tcp_buf_put(t->env, iov->owner); /* the chunk has a reference already */
	return true;
}

static inline bool chunk_queue(struct tcb *t, const struct wire_tcp_iov *iov, uint32_t len)
{
	struct wire_tcp_iov part = { iov->data, len, iov->owner };
	struct tcp_chunk *c;

	if (t->sndq && chunk_extend(t, iov, len))
		return true;
	c = tcp_chunk_new(t, &part, t->snd_end);
	if (!c)
		return false;
	tcp_chunk_append(&t->sndq, c);
	t->snd_chunks++;
	return true;
}

int64_t tcp_send(struct tcb *t, const struct wire_tcp_iov *iov, unsigned flags, ztime_t now)
{
	uint32_t space = tcp_send_space(t), len = BASE_MIN(iov->len, space);

	(void)now;
	tcp_fast_end(t);
	if (BASE_UNLIKELY(t->state != TCP_ST_ESTABLISHED || tcp_is(t, TCP_F_FIN_QUEUED) ||
			  t->error)) {
		int err = send_allowed(t);

		if (err)
			return err;
	}
	if (BASE_UNLIKELY(len < iov->len))
		t->flags |= TCP_F_SND_FULL;
	if (BASE_UNLIKELY(!len))
		return iov->len ? -EAGAIN : 0;
	if (BASE_UNLIKELY(!chunk_queue(t, iov, len))) {
		t->flags |= TCP_F_SND_FULL;
		return -EAGAIN;
	}
	if (!t->unsent)
		t->unsent = t->sndq;
	t->snd_end += len;
	t->flags = (t->flags & ~(uint32_t)TCP_F_MORE) | (flags & TCP_SEND_MORE ? TCP_F_MORE : 0);
	if (BASE_UNLIKELY(flags & TCP_SEND_URGENT) && len == iov->len) {
		t->snd_up = t->snd_end;
		t->flags |= TCP_F_URG_SND;
	}
	t->todo |= TCP_DO_SEND;
	return len;
}

static unsigned ring_peek(const struct tcp_chunk *tail, uint32_t from, struct wire_tcp_iov *iov,
			  unsigned max)
{
	const struct tcp_chunk *c = tail ? tail->next : NULL;
	unsigned n = 0;

	for (; c && n < max; c = c == tail ? NULL : c->next) {
		uint32_t skip = seq_gt(from, c->seq) ? from - c->seq : 0;

		if (skip < c->len)
			iov[n++] = (struct wire_tcp_iov){ c->data + skip, c->len - skip, c->owner };
	}
	return n;
}

unsigned tcp_unacked_peek(const struct tcb *t, struct wire_tcp_iov *iov, unsigned max)
{
	return ring_peek(t->sndq, t->snd_una, iov, max);
}

/* ---------------------------------------------------------------- receiving */

uint32_t tcp_readable(const struct tcb *t)
{
	return t->rcv_queued;
}

bool tcp_eof(const struct tcb *t)
{
	return tcp_is(t, TCP_F_FIN_RCVD) && !t->rcv_queued;
}

unsigned tcp_recv_peek(const struct tcb *t, uint32_t from, struct wire_tcp_iov *iov, unsigned max)
{
	return t->rcvq ? ring_peek(t->rcvq, t->rcvq->next->seq + from, iov, max) : 0;
}

static uint32_t read_seq(const struct tcb *t)
{
	return t->rcv_nxt - tcp_is(t, TCP_F_FIN_RCVD) - t->rcv_queued;
}

static void read_finish(struct tcb *t, ztime_t now)
{
	if (BASE_UNLIKELY(tcp_is(t, TCP_F_URG_RCV)) && seq_ge(read_seq(t), t->rcv_up))
		t->flags &= ~(uint32_t)TCP_F_URG_RCV;
	tcp_window_read(t, now);
}

static struct tcp_chunk *rcvq_pop(struct tcb *t)
{
	struct tcp_chunk *tail = t->rcvq, *head = tail->next;

	if (head == tail)
		t->rcvq = NULL;
	else
		tail->next = head->next;
	t->rcv_chunks--;
	return head;
}

void tcp_recv_done(struct tcb *t, uint32_t n, ztime_t now)
{
	BASE_CHECK(n <= t->rcv_queued);
	t->rcv_queued -= n;
	while (n) {
		struct tcp_chunk *head = t->rcvq->next;

		if (n < head->len) {
			head->data += n;
			head->seq += n;
			head->len -= n;
			break;
		}
		n -= head->len;
		tcp_chunk_free(t, rcvq_pop(t));
	}
	read_finish(t, now);
}

bool tcp_recv_take(struct tcb *t, struct wire_tcp_iov *iov, ztime_t now)
{
	struct tcp_chunk *c;

	if (!t->rcvq)
		return false;
	c = rcvq_pop(t);
	*iov = (struct wire_tcp_iov){ c->data, c->len, c->owner };
	t->rcv_queued -= c->len;
	tcp_mem_put(t->env, TCP_MEM_CHUNK, c);
	read_finish(t, now);
	return true;
}

bool tcp_urgent_mark(const struct tcb *t, uint32_t *offset)
{
	if (!tcp_is(t, TCP_F_URG_RCV))
		return false;
	*offset = t->rcv_up - 1 - read_seq(t);
	return true;
}

/* ---------------------------------------------------------------- the path speaks */

bool tcp_pmtu(struct tcb *t, uint16_t path_mss, uint32_t seq, ztime_t now)
{
	uint16_t before = t->mss;

	/* RFC 5927 4: a message that quotes nothing in flight is a forgery or late. */
	tcp_fast_end(t);
	if (!tcp_synchronized(t) || !t->sent || seq_lt(seq, t->snd_una) || seq_ge(seq, t->snd_nxt))
		return false;
	if (path_mss >= t->path_mss) /* RFC 1191 3, RFC 8201 4: such a message never raises it */
		return false;
	t->path_mss = BASE_MAX(path_mss, t->env->cfg.mss_min);
	tcp_mss_update(t);
	tcp_raise_later(t, now);
	if (t->mss >= before)
		return true;
	tcp_count(t, CNT_tcp_pmtu);
	tcp_loss_resegment(t, t->snd_una);
	return true;
}

bool tcp_icmp_error(struct tcb *t, uint32_t seq, int err, bool hard, ztime_t now)
{
	(void)now;
	tcp_fast_end(t);
	if (t->state == TCP_ST_CLOSED || seq_lt(seq, t->snd_una) || seq_ge(seq, t->snd_nxt))
		return false;
	if (t->state == TCP_ST_SYN_SENT && hard)
		tcp_fail(t, err);
	else
		t->soft_errno = (uint8_t)err;
	return true;
}
