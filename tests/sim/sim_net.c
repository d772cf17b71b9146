/* sim_net.c - packets and links: a heap of arrivals, and everything a network may do to a packet */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

struct sim_pkt *sim_pkt_new(struct sim *s)
{
	struct sim_pkt *p = s->free_pkts;

	if (p)
		s->free_pkts = p->next;
	else if (!(p = malloc(sizeof(*p))))
		abort();
	p->refs = 1;
	p->moved = false;
	s->pkts_out++;
	return p;
}

void sim_pkt_put(struct sim *s, struct sim_pkt *p)
{
	if (--p->refs)
		return;
	p->next = s->free_pkts;
	s->free_pkts = p;
	s->pkts_out--;
}

static bool earlier(const struct sim_pkt *a, const struct sim_pkt *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void heap_push(struct sim *s, struct sim_pkt *p)
{
	uint32_t i = s->heap_n++;

	if (s->heap_n > s->heap_cap) {
		s->heap_cap = s->heap_cap ? 2 * s->heap_cap : 256;
		s->heap = realloc(s->heap, s->heap_cap * sizeof(*s->heap));
		if (!s->heap)
			abort();
	}
	p->order = s->order++;
	for (; i && earlier(p, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = p;
}

struct sim_pkt *sim_next(struct sim *s)
{
	struct sim_pkt *top = s->heap[0], *last = s->heap[--s->heap_n];
	uint32_t i = 0, kid;

	while ((kid = 2 * i + 1) < s->heap_n) {
		if (kid + 1 < s->heap_n && earlier(s->heap[kid + 1], s->heap[kid]))
			kid++;
		if (!earlier(s->heap[kid], last))
			break;
		s->heap[i] = s->heap[kid];
		i = kid;
	}
	s->heap[i] = last;
	return top;
}

ztime_t sim_next_at(const struct sim *s)
{
	return s->heap_n ? s->heap[0]->at : ZTIME_NEVER;
}

/* One fault of the run's allowance, with a chance. */
static bool fault(struct sim *s, uint16_t chance)
{
	if (!s->faults || !sim_chance(&s->rng, chance))
		return false;
	s->faults--;
	return true;
}

static void trace(struct sim *s, uint8_t from, const struct sim_pkt *p, const char *what)
{
	const uint8_t *b = p->bytes;
	uint64_t h = s->hash ^ (uint64_t)s->now ^ (uint64_t)from << 56 ^ (uint64_t)what[0] << 48;

	for (unsigned i = 0; i < 20; i++)
		h = (h ^ b[i]) * 0x100000001b3ull;
	s->hash = (h ^ p->len) * 0x100000001b3ull;
	if (s->verbose)
		printf("%12.6f %c %-8s %5u>%-5u seq %10u ack %10u flags %02x wnd %5u len %u ecn %u\n",
		       (double)s->now / 1e9, from ? 'S' : 'C', what, base_be16_get(b),
		       base_be16_get(b + 2), base_be32_get(b + 4), base_be32_get(b + 8), b[13],
		       base_be16_get(b + 14), p->len - (b[12] >> 4) * 4, p->ecn);
}

static void arrive(struct sim *s, uint8_t from, struct sim_pkt *p, ztime_t at)
{
	struct sim_link *l = &s->link[from];

	p->dst = !from;
	p->at = at;
	if (l->jitter && fault(s, l->reorder))
		p->at += (ztime_t)sim_range(&s->rng, 0, (uint64_t)l->jitter);
	heap_push(s, p);
}

static void duplicate(struct sim *s, uint8_t from, const struct sim_pkt *p, ztime_t at)
{
	struct sim_pkt *copy = sim_pkt_new(s);

	copy->len = p->len;
	copy->ecn = p->ecn;
	copy->moved = p->moved;
	memcpy(copy->bytes, p->bytes, p->len);
	arrive(s, from, copy, at + (ztime_t)sim_range(&s->rng, 0, (uint64_t)s->link[from].delay));
}

/* A packet of @payload bytes starting at @seq leaves host @from. Takes @p. */
void sim_send(struct sim *s, uint8_t from, struct sim_pkt *p, uint16_t payload, uint32_t seq,
	      uint16_t sport)
{
	struct sim_link *l = &s->link[from];
	ztime_t start = ztime_max(s->now, l->free_at), done;
	uint64_t queued = (uint64_t)((start - s->now) / 1000) * l->rate_bps / 1000000;

	if (s->addr_changed && from == SIM_SERVER && !s->answering_stranger) {
		trace(s, from, p, "nobody");
		sim_pkt_put(s, p);
		return;
	}
	p->moved = s->addr_changed && from == SIM_CLIENT;
	if (l->mss_max && payload > l->mss_max) {
		trace(s, from, p, "big");
		sim_pkt_put(s, p);
		if (l->icmp)
			s->icmp[from] = (struct sim_icmp){ true, sport, l->mss_max, seq };
		return;
	}
	if (queued + p->len > l->queue_bytes || fault(s, l->loss)) {
		trace(s, from, p, "lost");
		l->dropped++;
		sim_pkt_put(s, p);
		return;
	}
	if (p->ecn && ((l->mark_bytes && queued > l->mark_bytes) || fault(s, l->mark)))
		p->ecn = 3;
	if (fault(s, l->corrupt))
		p->bytes[sim_rand(&s->rng) % p->len] ^= (uint8_t)(1u << (sim_rand(&s->rng) % 8));
	trace(s, from, p, p->ecn == 3 ? "marked" : "sent");
	done = start + (ztime_t)((uint64_t)(p->len + 40) * (uint64_t)ZTIME_SEC / l->rate_bps);
	l->free_at = done;
	l->carried += p->len;
	if (fault(s, l->dup))
		duplicate(s, from, p, done + l->delay);
	arrive(s, from, p, done + l->delay);
}
