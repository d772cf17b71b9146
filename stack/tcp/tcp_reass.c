/* tcp_reass.c - received text into its place: RFC 9293 3.10.7.4 seventh, RFC 2018, RFC 2883
 *
 * Theory of operation: text at rcv_nxt goes to the end of the receive queue. Text beyond it waits in
 * islands (struct tcp_range), each an unbroken run, most recently grown first, which is the order in which
 * RFC 2018 wants them reported. When rcv_nxt reaches an island its chunks move over as they are.
 *
 * Limits: text is only taken inside the advertised window, an island list has TCP_OOO_RANGES_MAX entries,
 * and both queues together as many chunks as the buffer has room for segments of TCP_CHUNK_BYTES; a peer that
 * sends dust in order to pin buffers finds its segments dropped, to be sent again.
 */
#include "stack/tcp/tcp_step.h"

static struct tcp_chunk *take(struct tcb *t, struct wire_tcp_iov *iov, uint32_t seq)
{
	struct tcp_chunk *c = tcp_chunk_new(t, iov, seq);

	t->rcv_chunks += c != NULL;
	return c;
}

static void range_free(struct tcb *t, struct tcp_range *r)
{
	tcp_ring_free(t, &r->tail, &t->rcv_chunks);
	tcp_mem_put(t->env, TCP_MEM_RANGE, r);
}

/* ---------------------------------------------------------------- in order */

static void queue_chunk(struct tcb *t, struct tcp_chunk *c)
{
	t->rcv_nxt = c->seq + c->len;
	tcp_chunk_append(&t->rcvq, c);
	t->rcv_queued += c->len;
	t->events |= TCP_EV_READABLE;
}

/* Text that is next in order goes before text that is not: give up the island that grew least recently. The peer
 * sends it again (RFC 2018 8 allows it).
 */
static bool island_give_up(struct tcb *t)
{
	struct tcp_range **p = &t->ooo, *r;

	if (!t->ooo)
		return false;
	while ((*p)->next)
		p = &(*p)->next;
	r = *p;
	*p = NULL;
	range_free(t, r);
	return true;
}

static struct tcp_chunk *take_next(struct tcb *t, struct wire_tcp_iov *iov, enum counter *why)
{
	struct tcp_chunk *c = NULL;

	do {
		*why = CNT_tcp_rcv_full;
		if (BASE_UNLIKELY(tcp_chunks_full(t)))
			continue;
		*why = CNT_tcp_rcv_memory;
		c = take(t, iov, t->rcv_nxt);
	} while (BASE_UNLIKELY(!c) && island_give_up(t));
	return c;
}

static enum counter in_order(struct tcb *t, struct wire_tcp *seg)
{
	for (unsigned i = 0; i < seg->niov; i++) {
		struct tcp_chunk *c;
		enum counter why;

		if (!seg->iov[i].len)
			continue;
		c = take_next(t, &seg->iov[i], &why);
		if (BASE_UNLIKELY(!c))
			return why;
		queue_chunk(t, c);
	}
	return CNT_none;
}

/* ---------------------------------------------------------------- islands */

static void range_unlink(struct tcb *t, struct tcp_range *r)
{
	struct tcp_range **p = &t->ooo;

	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
}

/* Cut @n bytes off the front of an island that rcv_nxt or a neighbour has overtaken. */
static void range_trim(struct tcb *t, struct tcp_range *r, uint32_t to)
{
	while (r->tail) {
		struct tcp_chunk *head = r->tail->next;

		if (seq_gt(head->seq + head->len, to)) {
			uint32_t skip = seq_gt(to, head->seq) ? to - head->seq : 0;

			head->data += skip;
			head->seq += skip;
			head->len -= skip;
			break;
		}
		if (head == r->tail)
			r->tail = NULL;
		else
			r->tail->next = head->next;
		tcp_chunk_free(t, head);
		t->rcv_chunks--;
	}
	r->left = seq_max(r->left, to);
}

/* Move what rcv_nxt has reached from the islands to the queue, and take a FIN that waited with the last. */
static void islands_join(struct tcb *t, ztime_t now)
{
	struct tcp_range *r = t->ooo;

	while (r) {
		if (seq_gt(r->left, t->rcv_nxt)) {
			r = r->next;
			continue;
		}
		range_unlink(t, r);
		range_trim(t, r, t->rcv_nxt);
		while (r->tail) {
			struct tcp_chunk *head = r->tail->next;

			if (head == r->tail)
				r->tail = NULL;
			else
				r->tail->next = head->next;
			queue_chunk(t, head);
		}
		if (r->fin && t->rcv_nxt == r->right)
			tcp_fin_in(t, now);
		range_free(t, r);
		r = t->ooo; /* rcv_nxt has moved: others may be reached now */
	}
}

static struct tcp_range *range_new(struct tcb *t, uint32_t seq)
{
	struct tcp_range *r;
	unsigned n = 0;

	for (r = t->ooo; r; r = r->next)
		n++;
	if (n >= TCP_OOO_RANGES_MAX)
		return NULL;
	r = tcp_mem_get(t->env, TCP_MEM_RANGE);
	if (!r)
		return NULL;
	*r = (struct tcp_range){ .left = seq, .right = seq };
	return r;
}

/* The island whose right edge @seq continues, if any. */
static struct tcp_range *range_ending_at(const struct tcb *t, uint32_t seq)
{
	for (struct tcp_range *r = t->ooo; r; r = r->next)
		if (seq_le(r->left, seq) && seq_ge(r->right, seq))
			return r;
	return NULL;
}

/* Two islands become one: a FIN is at its end or, against what is already here, nowhere. */
static bool range_fin(const struct tcp_range *r, const struct tcp_range *o)
{
	if (r->right == o->right)
		return r->fin || o->fin;
	return seq_gt(o->right, r->right) ? o->fin : r->fin;
}

/* @r has grown to the right: swallow the islands it now touches. Their overlapping bytes are dropped. */
static void range_merge(struct tcb *t, struct tcp_range *r)
{
	struct tcp_range *o = t->ooo;

	while (o) {
		struct tcp_range *next = o->next;

		if (o != r && seq_ge(o->left, r->left) && seq_le(o->left, r->right)) {
			range_unlink(t, o);
			r->fin = range_fin(r, o);
			range_trim(t, o, r->right);
			if (o->tail) {
				struct tcp_chunk *head = o->tail->next;

				if (r->tail) {
					o->tail->next = r->tail->next;
					r->tail->next = head;
				}
				r->tail = o->tail;
				r->right = o->right;
				o->tail = NULL;
			}
			range_free(t, o);
			next = t->ooo;
		}
		o = next;
	}
}

static void dsack_note(struct tcb *t, uint32_t left, uint32_t right)
{
	if (!tcp_is(t, TCP_F_SACK) || left == right)
		return;
	t->dsack = (struct wire_tcp_sack){ left, right };
	t->flags |= TCP_F_DSACK;
}

/* Drop from the front of @seg what an island already has. Return: that island, NULL when @seg touches none. */
static struct tcp_range *range_for(struct tcb *t, struct wire_tcp *seg)
{
	struct tcp_range *r = range_ending_at(t, seg->seq);

	if (r && seq_lt(seg->seq, r->right)) {
		uint32_t known = BASE_MIN(r->right - seg->seq, seg->len);

		dsack_note(t, seg->seq, seg->seq + known);
		tcp_trim_front(seg, known);
	}
	return r;
}

/* @r is what was heard of last. */
static void range_first(struct tcb *t, struct tcp_range *r)
{
	range_unlink(t, r);
	r->next = t->ooo;
	t->ooo = r;
}

static enum counter out_of_order(struct tcb *t, struct wire_tcp *seg)
{
	struct tcp_range *r;
	enum counter why = CNT_none;
	bool fresh;

	t->todo |= TCP_DO_ACK; /* RFC 5681 4.2: at once, so that the sender learns of the hole */
	r = range_for(t, seg);
	if (!seg->len) {
		range_first(t, r); /* RFC 2883 4 (3): the block around the duplicate follows it */
		return CNT_tcp_rcv_known;
	}
	fresh = !r;
	if (fresh)
		r = range_new(t, seg->seq);
	if (!r)
		return CNT_tcp_ooo_ranges;
	if (r->fin)
		return CNT_tcp_state_data;
	for (unsigned i = 0; i < seg->niov && why == CNT_none; i++) {
		struct tcp_chunk *c;

		if (!seg->iov[i].len)
			continue;
		c = tcp_chunks_full(t) ? NULL : take(t, &seg->iov[i], r->right);
		if (!c) {
			why = CNT_tcp_rcv_memory;
			break;
		}
		tcp_chunk_append(&r->tail, c);
		r->right += c->len;
	}
	if (!r->tail) {
		tcp_mem_put(t->env, TCP_MEM_RANGE, r);
		return why;
	}
	r->fin = why == CNT_none && (seg->flags & TCP_FIN);
	if (fresh) {
		r->next = t->ooo;
		t->ooo = r;
	}
	range_first(t, r);
	range_merge(t, r);
	return why;
}

/* A FIN at @at that is not next: kept with the island it ends, if there is one; reported in any case. */
void tcp_ooo_fin(struct tcb *t, uint32_t at)
{
	t->todo |= TCP_DO_ACK;
	for (struct tcp_range *r = t->ooo; r; r = r->next)
		if (r->right == at)
			r->fin = true;
}

void tcp_ooo_free(struct tcb *t)
{
	while (t->ooo) {
		struct tcp_range *r = t->ooo;

		t->ooo = r->next;
		range_free(t, r);
	}
}

/* SACK blocks for the next ACK: the duplicate first (RFC 2883 4), then islands, newest first. */
unsigned tcp_ooo_blocks(const struct tcb *t, struct wire_tcp_sack *out, unsigned max)
{
	unsigned n = 0;

	if (tcp_is(t, TCP_F_DSACK))
		out[n++] = t->dsack;
	for (const struct tcp_range *r = t->ooo; r && n < max; r = r->next)
		out[n++] = (struct wire_tcp_sack){ r->left, r->right + r->fin };
	return n;
}

uint32_t tcp_ooo_bytes(const struct tcb *t)
{
	uint32_t sum = 0;

	for (const struct tcp_range *r = t->ooo; r; r = r->next)
		sum += r->right - r->left;
	return sum;
}

/* Seventh: process the segment text. @seg lies within the window but for what is old at its front. */
enum counter tcp_text(struct tcb *t, struct wire_tcp *seg, ztime_t now)
{
	enum counter why;

	if (BASE_UNLIKELY(seq_lt(seg->seq, t->rcv_nxt))) {
		uint32_t old = t->rcv_nxt - seg->seq;

		dsack_note(t, seg->seq, t->rcv_nxt);
		tcp_trim_front(seg, BASE_MIN(old, seg->len));
	}
	if (BASE_UNLIKELY(seg->seq != t->rcv_nxt))
		return out_of_order(t, seg);
	why = in_order(t, seg);
	if (BASE_UNLIKELY(why != CNT_none)) {
		t->todo |= TCP_DO_ACK;
		return why;
	}
	if (BASE_UNLIKELY(t->ooo != NULL)) {
		islands_join(t, now);
		t->todo |= TCP_DO_ACK; /* RFC 5681 4.2: a hole was filled */
	}
	tcp_ack_policy(t, seg->gso_size ? seg->gso_size : seg->iov[0].len, now);
	return CNT_none;
}
