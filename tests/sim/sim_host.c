/* sim_host.c - a host of the simulator: the least that can stand around the TCP core
 *
 * Finds the connection of a packet, gives it to tcp_input() or the listener, cuts long output segments
 * into packets, and answers what belongs to nothing. stack/inst does this for real.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/tcp/tcp_int.h"
#include "tests/sim/sim.h"

#define SERVER_PORT 80
#define OUT_MAX     8

static const union wire_addr addrs[2] = {
	{ .b = { [10] = 0xff, 0xff, 10, 0, 0, 1 } },
	{ .b = { [10] = 0xff, 0xff, 10, 0, 0, 2 } },
};

static struct wire_flow flow_of(const struct sim_host *h, uint16_t lport, uint16_t rport)
{
	return (struct wire_flow){
		.local = addrs[h->id], .remote = addrs[!h->id], .lport = lport, .rport = rport
	};
}

/* ---------------------------------------------------------------- environment */

static void *block_more(void *ctx, enum tcp_mem kind)
{
	struct sim_host *h = ctx;
	struct sim *s = h->sim;
	void *p;

	if (h->no_memory && s->faults && sim_chance(&s->rng, h->no_memory)) {
		s->faults--;
		return NULL;
	}
	p = h->stash[kind];
	if (p)
		h->stash[kind] = *(void **)p;
	else if (!(p = malloc(tcp_mem_size[kind])))
		abort();
	return p;
}

/* Blocks of earlier runs are kept, but the pool of a run begins empty, so that it asks for each as the first did. */
static void stash_pool(struct sim_host *h, struct tcp_env *env)
{
	for (unsigned k = 0; k < TCP_MEM_COUNT; k++) {
		void *b;

		while ((b = env->pool.free[k])) {
			env->pool.free[k] = *(void **)b;
			*(void **)b = h->stash[k];
			h->stash[k] = b;
		}
	}
}

void sim_host_free(struct sim_host *h)
{
	stash_pool(h, &h->env);
	stash_pool(h, &h->other);
	for (unsigned k = 0; k < TCP_MEM_COUNT; k++) {
		void *b;

		while ((b = h->stash[k])) {
			h->stash[k] = *(void **)b;
			free(b);
		}
	}
}

/* Payload of ours is owned by &h->buf_refs itself, received payload by its packet. */
static void buf_put(void *ctx, void *owner)
{
	struct sim_host *h = ctx;

	if (owner == &h->buf_refs)
		h->buf_refs--;
	else
		sim_pkt_put(h->sim, owner);
}

void sim_host_init(struct sim *s, uint8_t id)
{
	struct sim_host *h = &s->host[id];
	void *stash[TCP_MEM_COUNT];

	stash_pool(h, &h->env);
	stash_pool(h, &h->other);
	memcpy(stash, h->stash, sizeof(stash));
	memset(h, 0, sizeof(*h));
	memcpy(h->stash, stash, sizeof(stash));
	h->sim = s;
	h->id = id;
	h->env.pool.more = block_more;
	h->env.pool.ctx = h;
	h->env.counters = &h->counters;
	h->env.buf_put = buf_put;
	h->env.buf_ctx = h;
	h->env.key = (struct base_hash_key){ sim_rand(&s->rng), sim_rand(&s->rng) };
	tcp_config_defaults(&h->env.cfg);
}

/* ---------------------------------------------------------------- output */

/* One packet: bytes [@off, @off + @len) of the payload of @out. */
static void emit(struct sim_host *h, const struct wire_tcp *out, uint32_t off, uint32_t len)
{
	struct sim_pkt *p = sim_pkt_new(h->sim);
	struct wire_tcp seg = *out;
	unsigned hdr;
	uint32_t skip = off, done = 0;
	bool last = off + len == out->len;

	seg.seq += off;
	if (!last)
		seg.flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (off)
		seg.flags &= (uint8_t)~TCP_CWR;
	hdr = wire_tcp_emit(&seg, p->bytes);
	for (unsigned i = 0; i < out->niov && done < len; i++) {
		uint32_t n = out->iov[i].len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n = BASE_MIN(n - skip, len - done);
		memcpy(p->bytes + hdr + done, out->iov[i].data + skip, n);
		done += n;
		skip = 0;
	}
	BASE_CHECK(done == len);
	p->len = (uint16_t)(hdr + len);
	p->ecn = out->ecn;
	seg.iov[0] = (struct wire_tcp_iov){ p->bytes + hdr, len, NULL };
	seg.niov = len ? 1 : 0;
	seg.len = len;
	wire_tcp_csum_set(p->bytes, hdr, &seg, &addrs[h->id], &addrs[!h->id]);
	sim_send(h->sim, h->id, p, (uint16_t)len, seg.seq, seg.sport);
}

/* The short way out, where it is at hand. */
static bool emit_fast(struct sim_host *h, struct sim_conn *c)
{
	struct sim_pkt *p;
	struct wire_tcp seg = { .niov = 1 };
	uint8_t l4[WIRE_TCP_HDR_MAX];
	uint32_t hdr;

	if (h->sim->whole || h->sim->now >= tcp_deadline(&c->t) ||
	    !(hdr = tcp_fast_output(&c->t, l4, &seg.iov[0], h->sim->now)))
		return false;
	h->sim->short_out++;
	p = sim_pkt_new(h->sim);
	seg.len = seg.iov[0].len;
	memcpy(p->bytes, l4, hdr);
	base_be16_put(p->bytes, c->flow.lport);
	base_be16_put(p->bytes + 2, c->flow.rport);
	memcpy(p->bytes + hdr, seg.iov[0].data, seg.len);
	p->len = (uint16_t)(hdr + seg.len);
	p->ecn = 0;
	wire_tcp_csum_set(p->bytes, hdr, &seg, &addrs[h->id], &addrs[!h->id]);
	sim_send(h->sim, h->id, p, (uint16_t)seg.len, base_be32_get(p->bytes + 4), c->flow.lport);
	return true;
}

static void emit_all(struct sim_host *h, struct wire_tcp *out, const struct wire_flow *f)
{
	uint32_t step = out->gso_size ? out->gso_size : out->len, off = 0;

	out->sport = f->lport;
	out->dport = f->rport;
	do {
		uint32_t n = BASE_MIN(step, out->len - off);

		emit(h, out, off, n);
		off += n;
	} while (off < out->len);
}

static void emit_whole(struct sim_host *h, struct sim_conn *c)
{
	struct wire_tcp out[OUT_MAX];
	unsigned n, rounds = 0;

	do {
		n = tcp_output(&c->t, out, OUT_MAX, h->sim->now);
		for (unsigned i = 0; i < n; i++)
			emit_all(h, &out[i], &c->flow);
		if (++rounds > 2000)
			sim_fail(h->sim, "tcp_output() does not come to an end");
	} while (n == OUT_MAX && rounds <= 2000);
}

/* Send what the connection has, as an instance does: the complete way only where the short one is not at hand. */
void sim_host_flush(struct sim_host *h, struct sim_conn *c)
{
	if (!emit_fast(h, c))
		emit_whole(h, c);
	if (h->sim->check)
		sim_check_tcb(h->sim, &c->t);
	if (c->t.todo & ~(TCP_DO_SEND | TCP_DO_FORCE) ||
	    (c->t.todo && !tcp_is(&c->t, TCP_F_PACING)))
		sim_fail(h->sim, "todo %02x is left after tcp_output()", c->t.todo);
}

/* Take the "too big" that waits for this host. The server's connections are known by the client's port. */
void sim_host_icmp(struct sim_host *h)
{
	struct sim_icmp *m = &h->sim->icmp[h->id];

	m->pending = false;
	for (unsigned i = 0; i < SIM_CONNS; i++) {
		struct sim_conn *c = &h->conn[i];

		if (!c->used || (h->id == SIM_CLIENT && c->flow.lport != m->port))
			continue;
		if (tcp_pmtu(&c->t, m->mss, m->seq, h->sim->now))
			c->path_mss = m->mss;
		sim_host_flush(h, c);
	}
}

/* Move the initial sequence number of a connection whose SYN is not out yet. */
void sim_rebase(struct tcb *t, uint32_t to)
{
	uint32_t by = to - t->snd_una;
	struct tcp_chunk *c = t->sndq;

	t->snd_una += by;
	t->snd_nxt += by;
	t->snd_end += by;
	t->snd_sml += by;
	t->snd_up += by;
	if (!c)
		return;
	do {
		c->seq += by;
		c = c->next;
	} while (c != t->sndq);
}

void sim_connect(struct sim_host *h, struct sim_conn *c)
{
	struct sim *s = h->sim;

	c->used = true;
	c->flow = flow_of(h, (uint16_t)(40000 + (c - h->conn)), SERVER_PORT);
	tcp_connect(&c->t, &c->flow, c->path_mss, s->now);
	if (s->wrap)
		sim_rebase(&c->t, (uint32_t)-sim_range(&s->rng, 1, 20000));
	sim_app_run(h, c);
	sim_host_flush(h, c);
}

/* ---------------------------------------------------------------- input */

static struct sim_conn *conn_find(struct sim_host *h, const struct wire_tcp *seg)
{
	for (unsigned i = 0; i < SIM_CONNS; i++) {
		struct sim_conn *c = &h->conn[i];

		if (c->used && tcp_state(&c->t) != TCP_ST_CLOSED && c->flow.lport == seg->dport &&
		    c->flow.rport == seg->sport)
			return c;
	}
	return NULL;
}

static void reply(struct sim_host *h, const struct wire_tcp *seg, struct wire_tcp *out)
{
	struct wire_flow f = flow_of(h, seg->dport, seg->sport);

	emit_all(h, out, &f);
}

/* A child takes the place that its port stands for, as the test prepared the application there. */
static void child_open(struct sim_host *h, struct wire_tcp *seg, const struct wire_flow *f)
{
	struct sim *s = h->sim;
	struct sim_conn *c = &h->conn[seg->sport - 40000];
	enum counter why;

	if (seg->sport - 40000 >= SIM_CONNS || c->used) {
		sim_fail(s, "a connection is opened twice");
		return;
	}
	why = tcp_listen_open(&h->listener, &c->t, seg, f, c->path_mss, NULL, s->now);
	base_count(&h->counters, why);
	tcp_opt_set(&c->t, TCP_OPT_SET_KEEPALIVE, 1, s->now);
	c->used = true;
	c->flow = *f;
	if (s->wrap && c->t.todo & TCP_DO_SYN)
		sim_rebase(&c->t, (uint32_t)-sim_range(&s->rng, 1, 20000));
	sim_app_run(h, c);
	sim_host_flush(h, c);
}

/* A segment from an address that is new to us: no connection is known from there (RFC 9293 3.10.7.1). */
static void to_nobody(struct sim_host *h, const struct wire_tcp *seg)
{
	struct wire_tcp out;

	h->sim->answering_stranger = true;
	if (tcp_reset_reply(seg, &out))
		reply(h, seg, &out);
	h->sim->answering_stranger = false;
}

static void to_listener(struct sim_host *h, struct wire_tcp *seg)
{
	struct wire_flow f = flow_of(h, seg->dport, seg->sport);
	struct wire_tcp out;
	enum counter why = CNT_none;
	/* An end whose connection is over has nobody left to listen. */
	bool over = seg->sport - 40000u >= SIM_CONNS || h->conn[seg->sport - 40000].used;

	if (h->id != SIM_SERVER || over) {
		if (tcp_reset_reply(seg, &out))
			reply(h, seg, &out);
		return;
	}
	switch (tcp_listen_input(&h->listener, seg, &f, h->conn[seg->sport - 40000].path_mss,
				 h->sim->now, &why, &out)) {
	case TCP_LISTEN_DROP: break;
	case TCP_LISTEN_REPLY: reply(h, seg, &out); break;
	case TCP_LISTEN_CREATE: child_open(h, seg, &f); break;
	}
	base_count(&h->counters, why);
}

static void owners_put(struct sim_host *h, struct wire_tcp *seg)
{
	for (unsigned i = 0; i < seg->niov; i++)
		if (seg->iov[i].owner)
			sim_pkt_put(h->sim, seg->iov[i].owner);
}

/* Takes @p. */
void sim_host_receive(struct sim_host *h, struct sim_pkt *p)
{
	struct sim *s = h->sim;
	struct sim_conn *c;
	struct wire_tcp seg;
	enum counter why = CNT_wire_tcp_csum;

	if (wire_tcp_csum_ok(p->bytes, p->len, &addrs[!h->id], &addrs[h->id]))
		why = wire_tcp_parse(p->bytes, p->len, &seg);
	if (why != CNT_none) {
		base_count(&h->counters, why);
		sim_pkt_put(s, p);
		return;
	}
	seg.ecn = p->ecn;
	if (seg.niov)
		seg.iov[0].owner = p;
	c = p->moved ? NULL : conn_find(h, &seg);
	if (p->moved) {
		to_nobody(h, &seg);
	} else if (c) {
		if (s->whole || p->ecn == 3 ||
		    !tcp_fast_input(&c->t, p->bytes, p->len, seg.iov[0].data, p, s->now))
			why = tcp_input(&c->t, &seg, s->now);
		else if (s->short_in++, seg.niov)
			seg.iov[0].owner = NULL;
		base_count(&h->counters, why);
		sim_app_run(h, c);
		sim_host_flush(h, c);
	} else {
		to_listener(h, &seg);
	}
	owners_put(h, &seg);
	if (!seg.niov)
		sim_pkt_put(s, p);
}
