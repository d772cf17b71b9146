/* sim_forge.c - a stranger who knows the ends and guesses well: forged segments into either host
 *
 * Numbers are drawn near the edges that the code compares (una, nxt, the windows), flags and options at random, SACK blocks
 * anywhere in and around the flight. What such a run must keep: every invariant of sim_check.c, no crash, no
 * leak. Bytes are not compared: a segment that is valid in every respect is the peer's for all TCP can tell.
 */
#include "stack/tcp/tcp_int.h"
#include "tests/sim/sim.h"

static uint8_t noise[4096];

static uint32_t near(struct sim *s, const uint32_t *edge, unsigned n)
{
	static const int32_t off[] = { 0, 0, 0, -1, 1, 2, 100, -100, 1000, -1000, 70000, -70000 };
	uint32_t base = edge[sim_rand(&s->rng) % n];

	if (sim_chance(&s->rng, 300))
		return (uint32_t)sim_rand(&s->rng);
	return base + (uint32_t)off[sim_rand(&s->rng) % BASE_ARRAY_SIZE(off)];
}

static uint8_t flags_draw(struct sim *s)
{
	static const uint8_t usual[] = { TCP_ACK,           TCP_ACK,           TCP_ACK,
					 TCP_ACK | TCP_PSH, TCP_ACK | TCP_FIN, TCP_RST,
					 TCP_SYN,           TCP_SYN | TCP_ACK, TCP_ACK | TCP_URG,
					 TCP_ACK | TCP_ECE, TCP_ACK | TCP_CWR };

	if (sim_chance(&s->rng, 1000))
		return (uint8_t)sim_rand(&s->rng);
	return usual[sim_rand(&s->rng) % BASE_ARRAY_SIZE(usual)];
}

static void sack_draw(struct sim *s, const struct tcb *t, struct wire_tcp *seg)
{
	uint32_t edge[] = { t->snd_una, t->snd_nxt, t->snd_una + t->mss, t->snd_nxt - t->mss };

	seg->opts |= TCP_OPT_SACK;
	seg->nsack = (uint8_t)sim_range(&s->rng, 1, WIRE_TCP_SACK_MAX);
	for (unsigned i = 0; i < seg->nsack; i++) {
		seg->sack[i].left = near(s, edge, 4);
		seg->sack[i].right = seg->sack[i].left + (uint32_t)sim_range(&s->rng, 0, 4000);
	}
}

static void seg_draw(struct sim *s, const struct tcb *t, struct wire_tcp *seg)
{
	uint32_t seq[] = { t->rcv_nxt, t->rcv_nxt, t->rcv_adv }, ack[] = { t->snd_una, t->snd_nxt };
	struct sim_rng *r = &s->rng;

	memset(seg, 0, sizeof(*seg));
	seg->seq = near(s, seq, 3);
	seg->ack = near(s, ack, 2);
	seg->flags = flags_draw(s);
	seg->wnd = (uint16_t)(sim_chance(r, 3000) ? 0 : sim_rand(r));
	seg->urg = (uint16_t)sim_range(r, 0, 2000);
	seg->ecn = (uint8_t)sim_range(r, 0, 3);
	seg->len = sim_chance(r, 5000) ? (uint32_t)sim_range(r, 0, 3000) : 0;
	seg->niov = seg->len ? 1 : 0;
	seg->iov[0] = (struct wire_tcp_iov){ noise, seg->len, NULL };
	if (seg->niov && seg->len > 2 && sim_chance(r, 2000)) { /* as merged packets come */
		uint32_t cut = (uint32_t)sim_range(r, 1, seg->len - 1);

		seg->iov[0].len = cut;
		seg->iov[1] = (struct wire_tcp_iov){ noise + cut, seg->len - cut, NULL };
		seg->niov = 2;
	}
	if (tcp_is(t, TCP_F_TS) != sim_chance(r, 500)) {
		seg->opts |= TCP_OPT_TS;
		seg->tsval = t->ts_recent + (uint32_t)sim_range(r, 0, 20) - 5;
		seg->tsecr = tcp_tsval(t, s->now) - (uint32_t)sim_range(r, 0, 2000);
	}
	if (seg->flags & TCP_SYN) {
		seg->opts |= (uint8_t)(sim_rand(r) &
				       (TCP_OPT_MSS | TCP_OPT_WSCALE | TCP_OPT_SACK_OK));
		seg->mss = (uint16_t)sim_rand(r);
		seg->wscale = (uint8_t)sim_range(r, 0, 14);
	}
	if (sim_chance(r, 3000))
		sack_draw(s, t, seg);
}

/* One forged segment into a connection that is alive, or a forged ICMP message. */
void sim_forge(struct sim *s)
{
	struct sim_host *h = &s->host[sim_rand(&s->rng) & 1];
	struct sim_conn *c = &h->conn[sim_rand(&s->rng) % s->nconn];
	struct wire_tcp seg;
	uint32_t edge[2];

	s->forged--;
	if (!c->used || tcp_state(&c->t) == TCP_ST_CLOSED)
		return;
	edge[0] = c->t.snd_una;
	edge[1] = c->t.snd_nxt;
	if (sim_chance(&s->rng, 300)) {
		tcp_pmtu(&c->t, (uint16_t)sim_rand(&s->rng), near(s, edge, 2), s->now);
	} else if (sim_chance(&s->rng, 300)) {
		tcp_icmp_error(&c->t, near(s, edge, 2), 113, sim_chance(&s->rng, 5000), s->now);
	} else {
		seg_draw(s, &c->t, &seg);
		base_count(&h->counters, tcp_input(&c->t, &seg, s->now));
	}
	sim_app_run(h, c);
	sim_host_flush(h, c);
}
