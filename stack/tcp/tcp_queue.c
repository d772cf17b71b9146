/* tcp_queue.c - runs of payload by reference: the rings of the send and the receive queue
 *
 * A queue is a ring of chunks known by its tail (tail->next is the head), so one pointer in the tcb serves
 * both ends. Each chunk holds one reference to the owner of its bytes, given back when the chunk goes.
 */
#include "stack/tcp/tcp_int.h"

/* No block is left in the pool. */
BASE_COLD void *tcp_mem_more(struct tcp_env *env, enum tcp_mem kind)
{
	struct tcp_pool *pool = &env->pool;
	void *p = pool->more(pool->ctx, kind);

	if (!p) {
		base_count(env->counters, CNT_tcp_no_block);
		return NULL;
	}
	pool->made[kind]++;
	pool->used[kind]++;
	return p;
}

void tcp_chunk_free(struct tcb *t, struct tcp_chunk *c)
{
	tcp_buf_put(t->env, c->owner);
	tcp_mem_put(t->env, TCP_MEM_CHUNK, c);
}

void tcp_ring_free(struct tcb *t, struct tcp_chunk **tail, uint16_t *count)
{
	struct tcp_chunk *c = *tail, *next;

	if (!c)
		return;
	do {
		next = c->next;
		tcp_chunk_free(t, c);
		(*count)--;
		c = next;
	} while (c != *tail);
	*tail = NULL;
}

/* The chunk of the send queue that holds @seq, from @c on; NULL when it is past the last. */
struct tcp_chunk *tcp_chunk_after(const struct tcb *t, struct tcp_chunk *c, uint32_t seq)
{
	while (c && seq_ge(seq, c->seq + c->len))
		c = c == t->sndq ? NULL : c->next;
	return c;
}

/* Give back what snd_una has passed. */
void tcp_sndq_release(struct tcb *t)
{
	struct tcp_chunk *tail = t->sndq;

	while (tail) {
		struct tcp_chunk *head = tail->next;

		if (seq_gt(head->seq + head->len, t->snd_una))
			return;
		if (head == tail)
			t->sndq = tail = NULL;
		else
			tail->next = head->next;
		if (t->unsent == head)
			t->unsent = NULL;
		t->snd_chunks--;
		tcp_chunk_free(t, head);
	}
}

/* Borrow [@seq, @seq + @len) from the send queue into @out. Return: bytes, fewer when it takes too many runs. */
uint32_t tcp_gather(const struct tcb *t, const struct tcp_chunk *c, uint32_t seq, uint32_t len,
		    struct wire_tcp *out)
{
	uint32_t done = 0;
	unsigned n = 0;

	while (c && done < len && n < WIRE_TCP_IOV_MAX) {
		uint32_t skip = seq + done - c->seq;
		uint32_t part = BASE_MIN(c->len - skip, len - done);

		out->iov[n++] = (struct wire_tcp_iov){ c->data + skip, part, c->owner };
		done += part;
		c = c == t->sndq ? NULL : c->next;
	}
	out->niov = (uint8_t)n;
	out->len = done;
	return done;
}

/* Forget the first @n payload bytes of a received segment. Runs that become empty stay the caller's. */
void tcp_trim_front(struct wire_tcp *seg, uint32_t n)
{
	seg->seq += n;
	seg->len -= n;
	for (unsigned i = 0; n; i++) {
		uint32_t part = BASE_MIN(n, seg->iov[i].len);

		seg->iov[i].data += part;
		seg->iov[i].len -= part;
		n -= part;
	}
}

void tcp_trim_back(struct wire_tcp *seg, uint32_t n)
{
	seg->len -= n;
	for (unsigned i = seg->niov; n; i--) {
		uint32_t part = BASE_MIN(n, seg->iov[i - 1].len);

		seg->iov[i - 1].len -= part;
		n -= part;
	}
}
