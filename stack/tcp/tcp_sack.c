/* tcp_sack.c - what the SACK option says about our runs in flight (RFC 2018, RFC 2883, RFC 6675 5)
 *
 * Theory of operation: blocks repeat from ACK to ACK, so a block that the last ACK already had is skipped,
 * and a new one is walked from wherever is nearest: the first run, the last, or where the last walk ended.
 * One ACK walks TCP_SACK_STEPS_MAX runs at most; what it leaves undone the next ACK repeats anyway.
 *
 * A run counts as SACKed only as a whole. When a block covers part of it, the run is split at a multiple of
 * the segment size, inwards: peers hold whole segments, and a liar gains nothing.
 */
#include "stack/tcp/tcp_int.h"

/* RFC 2883 4: the first block lies below the ACK, or inside the second block. */
static bool is_dsack(const struct tcb *t, const struct wire_tcp *seg)
{
	const struct wire_tcp_sack *b = seg->sack;

	if (seq_ge(b[0].left, b[0].right))
		return false;
	if (seq_le(b[0].right, seg->ack))
		return seq_le(t->snd_una - b[0].left, BASE_MAX(t->max_wnd, 65535u));
	return seg->nsack > 1 && seq_ge(b[0].left, b[1].left) && seq_le(b[0].right, b[1].right);
}

static bool block_valid(const struct tcb *t, const struct wire_tcp_sack *b)
{
	return seq_lt(b->left, b->right) && seq_le(b->right, t->snd_nxt) &&
	       seq_ge(b->left, t->snd_una) && seq_lt(b->left, t->snd_nxt);
}

static bool block_seen(const struct tcp_loss *l, const struct wire_tcp_sack *b)
{
	for (unsigned i = 0; i < l->sack_n; i++)
		if (l->sack_seen[i].left == b->left && l->sack_seen[i].right == b->right)
			return true;
	return false;
}

/* The run that holds @seq or is the nearest known one before it. */
static struct tcp_sent *walk_start(const struct tcb *t, uint32_t seq, unsigned *steps)
{
	struct tcp_sent *first = tcp_sent_first(t), *last = tcp_sent_last(t);
	struct tcp_sent *cur = t->loss->cursor;
	struct tcp_sent *s = first;
	uint32_t best = seq - first->seq;

	if (cur && seq_le(cur->seq, seq) && seq - cur->seq < best) {
		s = cur;
		best = seq - cur->seq;
	}
	if (last->seq - seq < best || seq_ge(seq, last->seq)) {
		s = last;
		while (seq_gt(s->seq, seq) && tcp_sent_prev(t, s) && (*steps)--)
			s = tcp_sent_prev(t, s);
	}
	return s;
}

/* Where inside @s a block edge at @at may cut: a whole number of segments from its front. */
static uint32_t cut_point(const struct tcb *t, const struct tcp_sent *s, uint32_t at, bool up)
{
	uint32_t off = at - s->seq, mss = t->mss;

	off = (off + (up ? mss - 1 : 0)) / mss * mss;
	return s->seq + off;
}

/* Return: @s, cut so that it lies within @b as far as whole segments do; NULL when none does. */
static struct tcp_sent *cut_to_block(struct tcb *t, struct tcp_sent *s,
				     const struct wire_tcp_sack *b)
{
	if (seq_lt(s->seq, b->left)) {
		uint32_t at = cut_point(t, s, b->left, true);

		if (seq_ge(at, s->end) || !tcp_sent_split(t, s, at))
			return NULL;
		s = tcp_sent_next(t, s);
	}
	if (seq_gt(s->end, b->right)) {
		uint32_t at = cut_point(t, s, b->right, false);

		if (seq_le(at, s->seq) || !tcp_sent_split(t, s, at))
			return NULL;
	}
	return s;
}

/* RFC 8985 6.2 step 3: @s was delivered out of order though never repeated: the network reorders. How far is told to
 * those who ask.
 */
static void run_overtaken(struct tcb *t, const struct tcp_sent *s)
{
	struct tcp_loss *l = t->loss;
	uint32_t far = (l->high_sacked - s->seq) / t->mss;

	t->flags |= TCP_F_REORDER;
	l->reordering = (uint16_t)BASE_MAX(l->reordering, BASE_MIN(far, (uint32_t)UINT16_MAX));
}

static void run_sacked(struct tcb *t, struct tcp_sent *s, struct tcp_ackinfo *ai, ztime_t now)
{
	struct tcp_loss *l = t->loss;

	if (!(s->flags & TCP_SENT_RETRANS) && seq_lt(s->end, l->high_sacked))
		run_overtaken(t, s);
	tcp_sent_delivered(t, s, ai, now);
	tcp_sent_mark_sacked(t, s);
	l->high_sacked = seq_max(l->high_sacked, s->end);
	ai->delivered += s->end - s->seq;
	ai->sacked = true;
}

static void block_apply(struct tcb *t, const struct wire_tcp_sack *b, struct tcp_ackinfo *ai,
			ztime_t now)
{
	unsigned steps = TCP_SACK_STEPS_MAX;
	struct tcp_sent *s = walk_start(t, b->left, &steps);

	for (; s && seq_lt(s->seq, b->right) && steps; s = tcp_sent_next(t, s), steps--) {
		t->loss->cursor = s;
		if (seq_le(s->end, b->left) || s->flags & TCP_SENT_SACKED)
			continue;
		if (seq_lt(s->seq, b->left) || seq_gt(s->end, b->right)) {
			struct tcp_sent *part = cut_to_block(t, s, b);

			if (!part)
				continue;
			s = part;
		}
		run_sacked(t, s, ai, now);
	}
}

void tcp_sack_apply(struct tcb *t, const struct wire_tcp *seg, struct tcp_ackinfo *ai, ztime_t now)
{
	unsigned i = 0;
	struct tcp_loss *l;

	if (is_dsack(t, seg)) {
		ai->dsack = true;
		ai->dsack_end = seg->sack[0].right;
		tcp_count(t, CNT_tcp_dsack_in);
		i = 1;
	}
	if (!t->sent || i == seg->nsack || !tcp_loss_get(t))
		return;
	l = t->loss;
	for (unsigned k = i; k < seg->nsack; k++)
		if (block_valid(t, &seg->sack[k]) && !block_seen(l, &seg->sack[k]))
			block_apply(t, &seg->sack[k], ai, now);
	l->sack_n = 0;
	for (; i < seg->nsack; i++)
		l->sack_seen[l->sack_n++] = seg->sack[i];
}
