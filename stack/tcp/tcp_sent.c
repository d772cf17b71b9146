/* tcp_sent.c - the runs of sequence space in flight: the scoreboard of RFC 6675 and the clock of RFC 8985
 *
 * Theory of operation: whatever one tcp_output() segment carried is one run [seq, end). A run is always in
 * the ring by sequence number, and in exactly one of three places besides:
 *
 *     in flight  t->flight, ordered by when it was last sent; its length counts in t->pipe
 *     lost       t->loss->lost, waiting to be sent again; counts in loss->lost_bytes
 *     SACKed     in neither; counts in loss->sacked_bytes
 *
 * so pipe is kept, never computed, and RACK looks only at what was sent before the newest delivery. A run
 * is split when only part of it is SACKed or sent again, always at a multiple of the segment size, so a
 * hostile peer cannot make one block per byte.
 */
#include "stack/tcp/tcp_step.h"

/* The newest of all. */
void tcp_sent_append(struct tcb *t, struct tcp_sent *s)
{
	tcp_ring_append(&t->sent, &s->by_seq);
	tcp_ring_append(&t->flight, &s->by_time);
}

struct tcp_sent *tcp_sent_add(struct tcb *t, uint32_t seq, uint32_t end, struct tcp_chunk *chunk,
			      uint32_t flags, ztime_t now)
{
	struct tcp_sent *s = tcp_mem_get(t->env, TCP_MEM_SENT);

	if (!s)
		return NULL;
	tcp_sent_fill(s, seq, end, chunk, flags, now);
	tcp_sent_append(t, s);
	t->pipe += end - seq;
	return s;
}

/* The ring that holds @s->by_time; NULL for a SACKed run. */
static struct base_list **time_ring(struct tcb *t, const struct tcp_sent *s)
{
	if (s->flags & TCP_SENT_SACKED)
		return NULL;
	return s->flags & TCP_SENT_LOST ? &t->loss->lost : &t->flight;
}

/* Split @s at @at, strictly inside it. Return: false when no block is left. */
bool tcp_sent_split(struct tcb *t, struct tcp_sent *s, uint32_t at)
{
	struct tcp_sent *r = tcp_mem_get(t->env, TCP_MEM_SENT);

	if (!r)
		return false;
	*r = *s;
	r->seq = at;
	r->chunk = tcp_chunk_after(t, s->chunk, at);
	s->end = at;
	s->flags &= (uint16_t) ~(TCP_SENT_FIN | TCP_SENT_PROBE);
	r->flags &= (uint16_t)~TCP_SENT_PROBE;
	base_list_insert(&s->by_seq, &r->by_seq);
	if (time_ring(t, s))
		base_list_insert(&s->by_time, &r->by_time);
	return true;
}

/* Take @s out of the account it is in. */
static void sent_leave(struct tcb *t, struct tcp_sent *s)
{
	uint32_t len = s->end - s->seq;

	if (s->flags & TCP_SENT_SACKED) {
		t->loss->sacked_bytes -= len;
		return;
	}
	if (s->flags & TCP_SENT_LOST)
		t->loss->lost_bytes -= len;
	else
		t->pipe -= len;
	tcp_ring_remove(time_ring(t, s), &s->by_time);
}

/* Like sent_leave() for the bytes before @seq only; the rest stays where it is. */
static void sent_shrink(struct tcb *t, struct tcp_sent *s, uint32_t seq)
{
	uint32_t len = seq - s->seq;

	if (s->flags & TCP_SENT_SACKED)
		t->loss->sacked_bytes -= len;
	else if (s->flags & TCP_SENT_LOST)
		t->loss->lost_bytes -= len;
	else
		t->pipe -= len;
	s->seq = seq;
	s->chunk = tcp_chunk_after(t, s->chunk, seq);
}

void tcp_sent_mark_sacked(struct tcb *t, struct tcp_sent *s)
{
	sent_leave(t, s);
	s->flags = (uint16_t)((s->flags & ~TCP_SENT_LOST) | TCP_SENT_SACKED);
	t->loss->sacked_bytes += s->end - s->seq;
}

void tcp_sent_mark_lost(struct tcb *t, struct tcp_sent *s)
{
	sent_leave(t, s);
	s->flags = (uint16_t)((s->flags & ~TCP_SENT_SACKED) | TCP_SENT_LOST);
	t->loss->lost_bytes += s->end - s->seq;
	tcp_ring_append(&t->loss->lost, &s->by_time);
}

/* Into flight, which stays ordered by time: after the last run sent no later than @s. */
static void flight_insert(struct tcb *t, struct tcp_sent *s)
{
	struct base_list *pos = t->flight;

	tcp_ring_append(&t->flight, &s->by_time);
	if (!pos)
		return;
	for (pos = s->by_time.prev; pos != &s->by_time; pos = pos->prev)
		if (base_container_of(pos, struct tcp_sent, by_time)->sent_at <= s->sent_at)
			break;
	if (pos == s->by_time.prev)
		return;
	tcp_ring_remove(&t->flight, &s->by_time);
	BASE_CHECK(t->flight);    /* @pos is still in it */
	if (pos == &s->by_time) { /* the oldest of all */
		base_list_insert(t->flight->prev, &s->by_time);
		t->flight = &s->by_time;
		return;
	}
	base_list_insert(pos, &s->by_time);
}

/* A lost run turns out not to be. */
void tcp_sent_unmark(struct tcb *t, struct tcp_sent *s)
{
	sent_leave(t, s);
	s->flags &= (uint16_t)~TCP_SENT_LOST;
	t->pipe += s->end - s->seq;
	flight_insert(t, s);
}

/* @s, lost or in flight, is being transmitted once more. */
void tcp_sent_again(struct tcb *t, struct tcp_sent *s, ztime_t now)
{
	sent_leave(t, s);
	s->flags = (uint16_t)((s->flags & ~(TCP_SENT_LOST | TCP_SENT_PROBE)) | TCP_SENT_RETRANS);
	s->sent_at = now;
	s->retrans++;
	t->pipe += s->end - s->seq;
	tcp_ring_append(&t->flight, &s->by_time);
}

/* A run that was sent once and is at the peer gives a round trip (Karn), and the newest one moves RACK (RFC 8985
 * 6.2 step 2). A repeated run tells nothing unless the echoed timestamp proves which copy arrived.
 */
void tcp_sent_delivered(struct tcb *t, const struct tcp_sent *s, struct tcp_ackinfo *ai,
			ztime_t now)
{
	uint32_t rtt_us = tcp_since_us(s->sent_at, now);

	if (s->flags & TCP_SENT_RETRANS) {
		ai->repeated = true;
		if (ai->tsecr_ok && seq_lt(ai->tsecr, tcp_tsval(t, s->sent_at)))
			return;
		if (rtt_us < t->min_rtt_us)
			return;
	} else {
		if (rtt_us > ai->rtt_us)
			ai->rtt_us = rtt_us;
		if (BASE_UNLIKELY(s->flags & TCP_SENT_PROBE))
			tcp_raise_arrived(t, s, now);
		if (BASE_UNLIKELY(t->loss))
			ai->original |= seq_le(s->end, t->loss->recover);
	}
	if (s->sent_at > ai->rack_sent_at ||
	    (s->sent_at == ai->rack_sent_at && seq_gt(s->end, ai->rack_end))) {
		ai->rack_sent_at = s->sent_at;
		ai->rack_end = s->end;
	}
}

/* Everything before @ack has arrived. */
void tcp_sent_acked(struct tcb *t, uint32_t ack, struct tcp_ackinfo *ai, ztime_t now)
{
	struct tcp_sent *s;

	while ((s = tcp_sent_first(t)) && seq_lt(s->seq, ack)) {
		uint32_t len = seq_min(s->end, ack) - s->seq;

		if (!(s->flags & TCP_SENT_SACKED)) {
			ai->delivered += len;
			tcp_sent_delivered(t, s, ai, now);
		}
		if (seq_gt(s->end, ack)) {
			sent_shrink(t, s, ack);
			return;
		}
		sent_leave(t, s);
		tcp_ring_remove(&t->sent, &s->by_seq);
		if (t->loss && t->loss->cursor == s)
			t->loss->cursor = NULL;
		tcp_mem_put(t->env, TCP_MEM_SENT, s);
	}
}

void tcp_sent_free_all(struct tcb *t)
{
	struct tcp_sent *s;

	while ((s = tcp_sent_first(t))) {
		tcp_ring_remove(&t->sent, &s->by_seq);
		tcp_mem_put(t->env, TCP_MEM_SENT, s);
	}
	t->flight = NULL;
	t->pipe = 0;
	if (t->loss) {
		t->loss->lost = NULL;
		t->loss->lost_bytes = t->loss->sacked_bytes = 0;
		t->loss->cursor = NULL;
	}
}
