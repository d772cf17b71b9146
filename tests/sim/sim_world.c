/* sim_world.c - a run: drawn from its seed, driven event by event, judged at its end
 *
 * Properties of every run: each byte arrives exactly once and in order (sim_app.c checks while reading); both ends
 * close; no block, buffer, packet or timer is left; memory stays below a bound; the run ends before a generous
 * limit of virtual time and of events.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/tcp/tcp_step.h"
#include "tests/sim/sim.h"

#define BLOCKS_MAX 4000 /* of one kind on one host: far above what the largest buffers need */
#define EVENTS_MAX 200000
#define TIME_MAX   ztime_sec(4 * 3600)
#define FAULTS_MAX 150

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (s->why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
}

/* ---------------------------------------------------------------- drawing a run */

static void draw_config(struct sim *s, struct sim_host *h)
{
	struct tcp_config *cfg = &h->env.cfg;
	struct sim_rng *r = &s->rng;

	cfg->sack = !sim_chance(r, 2500);
	cfg->timestamps = !sim_chance(r, 2500);
	cfg->window_scale = !sim_chance(r, 2500);
	cfg->ecn = sim_chance(r, 4000);
	cfg->pacing = sim_chance(r, 2000);
	cfg->autotune = sim_chance(r, 5000);
	cfg->cc = sim_chance(r, 5000) ? &cc_cubic : &cc_reno;
	cfg->loss = sim_chance(r, 7000) ? &tcp_loss_rack : &tcp_loss_sack;
	cfg->gso_max_bytes = sim_chance(r, 5000) ? 16384 : 0;
	cfg->rcvbuf_bytes = (uint32_t)(1u << sim_range(r, 11, 17));
	cfg->rcvbuf_max_bytes = (uint32_t)(1u << sim_range(r, 16, 22));
	cfg->sndbuf_bytes = (uint32_t)(1u << sim_range(r, 11, 18));
	cfg->delack_us = (uint32_t)sim_range(r, 0, 200000);
	cfg->time_wait_ms = 2000;
	cfg->fin_wait2_ms = 600000;
	cfg->init_cwnd = (uint8_t)sim_range(r, 1, 10);
	/* Nobody gives up: within the limit of faults everything gets through. */
	cfg->syn_retries = cfg->synack_retries = 200; /* above FAULTS_MAX */
	cfg->data_retries = cfg->orphan_retries = 200;
	cfg->rto_max_us = (uint32_t)sim_range(r, 1, 60) * 1000000;
	cfg->keep_idle_s = 20;
	cfg->mtu_raise_s = (uint16_t)sim_range(r, 0, 3);
	cfg->keep_intvl_s = 5;
	cfg->keep_count = 200;
	cfg->tfo_server = s->tfo;
	h->no_memory = sim_chance(r, 1000) ? 500 : 0;
}

static uint16_t draw_chance(struct sim_rng *r)
{
	static const uint16_t chances[] = { 0, 0, 0, 10, 100, 300, 1000, 3000 };

	return chances[sim_rand(r) % BASE_ARRAY_SIZE(chances)];
}

static void draw_link(struct sim *s, struct sim_link *l)
{
	struct sim_rng *r = &s->rng;

	*l = (struct sim_link){
		.rate_bps = 20000ull << sim_range(r, 0, 14),
		.delay = (ztime_t)sim_range(r, 1, 1u << sim_range(r, 3, 17)) * ZTIME_US,
		.jitter = (ztime_t)sim_range(r, 1, 1u << sim_range(r, 3, 17)) * ZTIME_US,
		.queue_bytes = (uint32_t)sim_range(r, 6000, 200000),
		.loss = draw_chance(r),
		.dup = draw_chance(r),
		.reorder = draw_chance(r),
		.corrupt = draw_chance(r) / 2,
		.mark = draw_chance(r),
		.icmp = sim_chance(r, 5000),
	};
}

static void draw_app(struct sim *s, struct sim_app *a, uint64_t to_send, uint64_t to_get)
{
	struct sim_rng *r = &s->rng;

	*a = (struct sim_app){
		.to_send = to_send,
		.to_get = to_get,
		.write_max = (uint32_t)(1u << sim_range(r, 4, 16)),
		.read_max = (uint32_t)(1u << sim_range(r, 4, 16)),
		.pause = draw_chance(r),
		.more = 500,
		.abort_at = UINT64_MAX,
		.half_close = sim_chance(r, 5000),
		.close_first = sim_chance(r, 3000),
	};
	a->write_max = BASE_MAX(a->write_max, (uint32_t)(to_send / 400));
	a->read_max = BASE_MAX(a->read_max, (uint32_t)(to_get / 400));
}

static uint64_t draw_size(struct sim_rng *r)
{
	return sim_chance(r, 1500) ? 0 : sim_range(r, 1, 1u << sim_range(r, 2, 17));
}

static void draw_options(struct sim *s, struct sim_conn *c)
{
	struct sim_rng *r = &s->rng;

	tcp_opt_set(&c->t, TCP_OPT_SET_NODELAY, sim_chance(r, 5000), s->now);
	tcp_opt_set(&c->t, TCP_OPT_SET_QUICKACK, sim_chance(r, 2000), s->now);
	tcp_opt_set(&c->t, TCP_OPT_SET_KEEPALIVE, 1, s->now);
}

/* The pair of ends that will be one connection. One of them speaks first, or both. */
static void draw_conn(struct sim *s, unsigned i, uint16_t mss)
{
	struct sim_conn *c = &s->host[SIM_CLIENT].conn[i], *p = &s->host[SIM_SERVER].conn[i];
	uint64_t up = draw_size(&s->rng), down = draw_size(&s->rng);

	/* A lost ACK of a SYN cookie is made good by data that follows; a client with none would wait for ever. */
	if (s->host[SIM_SERVER].listener.cookies == TCP_COOKIES_ALWAYS)
		up = BASE_MAX(up, 1u);
	draw_app(s, &c->app, up, down);
	draw_app(s, &p->app, down, up);
	c->app.key = p->app.peer_key = sim_rand(&s->rng) & 0xffffff;
	p->app.key = c->app.peer_key = sim_rand(&s->rng) & 0xffffff;
	c->app.half_close |= !p->app.half_close; /* somebody must begin to close */
	c->path_mss = p->path_mss = mss;
	c->start_at = s->now + (ztime_t)sim_range(&s->rng, 0, 200) * ZTIME_MS;
	tcp_init(&c->t, &s->host[SIM_CLIENT].env);
	draw_options(s, c);
	if (sim_chance(&s->rng, 500)) {
		struct sim_conn *who = sim_chance(&s->rng, 5000) ? c : p;

		c->doomed = p->doomed = true;
		who->app.abort_at = sim_range(&s->rng, 0, who->app.to_get);
	}
}

/* RFC 7413: the client has the server's cookie from an earlier life, or a wrong one, or asks for one. */
static void draw_fast_open(struct sim *s)
{
	struct sim_host *server = &s->host[SIM_SERVER];

	server->listener.tfo_max = 3;
	for (unsigned i = 0; i < s->nconn; i++) {
		struct sim_conn *c = &s->host[SIM_CLIENT].conn[i];
		struct wire_flow f = { .remote = { .b = { [10] = 0xff, 0xff, 10, 0, 0, 1 } } };
		uint64_t mac = tcp_tfo_mac(&server->env, &f);
		uint64_t kind = sim_range(&s->rng, 0, 2);

		mac ^= kind == 1;
		tcp_tfo_use(&c->t, (const uint8_t *)&mac, kind == 2 ? 0 : sizeof(mac));
		if (c->t.u.tfo)
			sim_app_run(&s->host[SIM_CLIENT], c); /* queue before connect */
	}
}

/* Somebody forges segments: only invariants and an end are asked for. */
static void draw_hostile(struct sim *s)
{
	s->check = s->hostile = true;
	s->end = s->now + ztime_sec(900);
	s->forged = (uint32_t)sim_range(&s->rng, 1, 60);
	for (unsigned h = 0; h < 2; h++)
		for (unsigned i = 0; i < s->nconn; i++) {
			s->host[h].conn[i].doomed = true;
			s->host[h].conn[i].app.blind = true;
		}
}

/* The host has a second instance with the same settings, and now and then a connection goes there. */
static void draw_moves(struct sim *s)
{
	for (unsigned h = 0; h < 2; h++) {
		struct tcp_pool *pool = &s->host[h].other.pool;

		s->host[h].other = s->host[h].env;
		memset(pool->free, 0, sizeof(pool->free));
		memset(pool->used, 0, sizeof(pool->used));
	}
	s->moves = sim_chance(&s->rng, 1500) ? (uint8_t)sim_range(&s->rng, 1, 6) : 0;
	s->move_at = s->moves ? s->now + (ztime_t)sim_range(&s->rng, 0, 3000) * ZTIME_MS
			      : ZTIME_NEVER;
	s->addr_at = ZTIME_NEVER;
	s->addr_changed = false;
}

/* As when a translator on the way forgets the client: what it sends comes from somewhere else from then on, and what is sent
 * to its old address reaches nobody. No connection survives that; both ends must find out.
 */
static void draw_address_change(struct sim *s)
{
	s->addr_at = s->now + (ztime_t)sim_range(&s->rng, 0, 3000) * ZTIME_MS;
	for (unsigned h = 0; h < 2; h++)
		for (unsigned i = 0; i < s->nconn; i++)
			s->host[h].conn[i].doomed = true;
}

static void draw_run(struct sim *s, uint64_t seed)
{
	static const uint16_t sizes[] = { 216, 536, 1000, 1460, 1460, 4000, 8960 };
	struct sim_rng *r = &s->rng;
	uint16_t mss;

	r->s = seed;
	s->now = (ztime_t)sim_range(r, 1, 1ull << 50);
	s->order = s->events = s->hash = s->short_in = s->short_out = 0;
	s->events_max = EVENTS_MAX;
	s->end = s->now + TIME_MAX;
	s->faults = (uint32_t)sim_range(r, 0, FAULTS_MAX);
	s->why[0] = 0;
	s->check = seed % 8 == 0;
	s->forged = 0;
	s->hostile = false;
	s->wrap = sim_chance(r, 5000);
	s->tfo = sim_chance(r, 1000);
	s->nconn = (unsigned)sim_range(r, 1, 2);
	sim_host_init(s, SIM_CLIENT);
	sim_host_init(s, SIM_SERVER);
	draw_config(s, &s->host[SIM_CLIENT]);
	draw_config(s, &s->host[SIM_SERVER]);
	tcp_listen_init(&s->host[SIM_SERVER].listener, &s->host[SIM_SERVER].env, 3, 3);
	s->host[SIM_SERVER].listener.cookies = sim_chance(r, 2000) ? TCP_COOKIES_ALWAYS
								   : TCP_COOKIES_AUTO;
	/* A SYN cookie is believed for two minutes: its ACK must come through within them. */
	if (s->host[SIM_SERVER].listener.cookies == TCP_COOKIES_ALWAYS)
		s->host[SIM_CLIENT].env.cfg.rto_max_us = 1000000;
	mss = sizes[sim_rand(r) % BASE_ARRAY_SIZE(sizes)];
	draw_link(s, &s->link[0]);
	draw_link(s, &s->link[1]);
	s->link[0].queue_bytes += 2u * mss;
	s->link[1].queue_bytes += 2u * mss;
	for (unsigned i = 0; i < s->nconn; i++)
		draw_conn(s, i, mss);
	memset(s->icmp, 0, sizeof(s->icmp));
	draw_moves(s);
	s->mtu_at = ZTIME_NEVER;
	if (mss > 1000 && sim_chance(r, 1000)) {
		s->mtu_at = s->now + (ztime_t)sim_range(r, 0, 3000) * ZTIME_MS;
		s->mtu_mss = (uint16_t)sim_range(r, 560, mss);
		s->mtu_again = sim_chance(r, 5000) ? (uint16_t)sim_range(r, s->mtu_mss, mss) : 0;
	}
	if (s->tfo)
		draw_fast_open(s);
	if (sim_chance(r, 500))
		draw_hostile(s);
	if (sim_chance(r, 200))
		draw_address_change(s);
}

/* ---------------------------------------------------------------- driving it */

/* When the complete way would have something to do: the short one may ask to be called earlier, for nothing, and the
 * application must not get a turn more by it.
 */
static ztime_t due_at(const struct sim_conn *c)
{
	struct tcb t = c->t;

	if (t.xmit_mode >= TCP_XMIT_LONE)
		tcp_fast_timer(&t);
	return tcp_deadline(&t);
}

static ztime_t next_deadline(const struct sim *s)
{
	ztime_t at = sim_next_at(s);

	for (unsigned h = 0; h < 2; h++)
		for (unsigned i = 0; i < s->nconn; i++) {
			const struct sim_conn *c = &s->host[h].conn[i];

			if (!c->used) {
				if (h == SIM_CLIENT)
					at = ztime_min(at, c->start_at);
				continue;
			}
			at = ztime_min(at, due_at(c));
			at = ztime_min(at, sim_app_wake(c, s->now));
		}
	if (s->icmp[0].pending || s->icmp[1].pending)
		at = ztime_min(at, s->now + s->link[0].delay);
	if (at == ZTIME_NEVER)
		return s->mtu_at; /* nothing is left but the path, which is part of no connection */
	return ztime_min(ztime_min(at, s->mtu_at), ztime_min(s->move_at, s->addr_at));
}

static void run_due(struct sim *s, struct sim_host *h, struct sim_conn *c)
{
	if (!c->used) {
		if (h->id == SIM_CLIENT && c->start_at <= s->now)
			sim_connect(h, c);
		return;
	}
	if (due_at(c) <= s->now || c->app.write_at == s->now || c->app.read_at == s->now) {
		sim_host_flush(h, c);
		sim_app_run(h, c);
		sim_host_flush(h, c);
	}
}

static void mtu_change(struct sim *s)
{
	s->mtu_at = ZTIME_NEVER;
	for (unsigned d = 0; d < 2; d++)
		s->link[d].mss_max = s->mtu_mss;
	if (!s->mtu_again)
		return;
	s->mtu_mss = s->mtu_again; /* a better path, after a while */
	s->mtu_again = 0;
	s->mtu_at = s->now + (ztime_t)sim_range(&s->rng, 0, 3000) * ZTIME_MS;
}

static void move_one(struct sim *s)
{
	struct sim_host *h = &s->host[sim_rand(&s->rng) & 1];

	s->move_at = --s->moves ? s->now + (ztime_t)sim_range(&s->rng, 0, 2000) * ZTIME_MS
				: ZTIME_NEVER;
	sim_move(h, &h->conn[sim_rand(&s->rng) % s->nconn]);
}

static void check_memory(struct sim *s)
{
	for (unsigned h = 0; h < 2; h++)
		for (unsigned k = 0; k < TCP_MEM_COUNT; k++)
			if (s->host[h].env.pool.used[k] > BLOCKS_MAX)
				sim_fail(s, "host %u holds %u blocks of kind %u", h,
					 s->host[h].env.pool.used[k], k);
}

/* Until nothing is left to happen. */
void sim_loop(struct sim *s)
{
	ztime_t at;

	while (!s->why[0] && (at = next_deadline(s)) != ZTIME_NEVER) {
		if (at > s->end && s->hostile)
			return;
		if (at > s->end) {
			sim_fail(s, "still busy after %lld s", (long long)(TIME_MAX / ZTIME_SEC));
			return;
		}
		if (++s->events > s->events_max) {
			sim_fail(s, "still busy after %llu events", (unsigned long long)s->events);
			return;
		}
		s->now = ztime_max(s->now, at);
		while (s->heap_n && s->heap[0]->at <= s->now && !s->why[0]) {
			struct sim_pkt *p = sim_next(s);

			sim_host_receive(&s->host[p->dst], p);
		}
		if (s->forged && sim_chance(&s->rng, 2000))
			sim_forge(s);
		if (s->mtu_at <= s->now)
			mtu_change(s);
		if (s->move_at <= s->now)
			move_one(s);
		if (s->addr_at <= s->now) {
			s->addr_at = ZTIME_NEVER;
			s->addr_changed = true;
		}
		for (unsigned h = 0; h < 2; h++)
			if (s->icmp[h].pending)
				sim_host_icmp(&s->host[h]);
		for (unsigned h = 0; h < 2; h++)
			for (unsigned i = 0; i < s->nconn; i++)
				run_due(s, &s->host[h], &s->host[h].conn[i]);
		check_memory(s);
	}
}

/* ---------------------------------------------------------------- judging it */

static void check_conn(struct sim *s, const struct sim_host *h, const struct sim_conn *c)
{
	const struct sim_app *a = &c->app;

	if (!c->used) {
		if (!c->doomed)
			sim_fail(s, "host %u was never connected", h->id);
		return;
	}
	if (tcp_state(&c->t) != TCP_ST_CLOSED)
		sim_fail(s, "host %u ends in %s", h->id, tcp_state_name(tcp_state(&c->t)));
	if (tcp_deadline(&c->t) != ZTIME_NEVER)
		sim_fail(s, "host %u has a timer left", h->id);
	if (c->doomed)
		return;
	if (a->got != a->to_get || a->sent != a->to_send)
		sim_fail(s, "host %u got %llu of %llu bytes", h->id, (unsigned long long)a->got,
			 (unsigned long long)a->to_get);
	if (!a->closed)
		sim_fail(s, "host %u has not closed", h->id);
}

static void check_host(struct sim *s, struct sim_host *h)
{
	for (unsigned i = 0; i < s->nconn; i++) {
		check_conn(s, h, &h->conn[i]);
		if (h->conn[i].used || h->id == SIM_CLIENT)
			tcp_free(&h->conn[i].t);
	}
	for (unsigned k = 0; k < TCP_MEM_COUNT; k++)
		if (h->env.pool.used[k] + h->other.pool.used[k])
			sim_fail(s, "host %u has lost %u blocks of kind %u", h->id,
				 h->env.pool.used[k] + h->other.pool.used[k], k);
	if (h->buf_refs)
		sim_fail(s, "host %u has lost %u references", h->id, h->buf_refs);
	if (h->id == SIM_SERVER && (h->listener.n_syn || h->listener.n_ready || h->listener.n_tfo))
		sim_fail(s, "the listener still counts %u %u %u", h->listener.n_syn,
			 h->listener.n_ready, h->listener.n_tfo);
}

void sim_check_end(struct sim *s)
{
	check_host(s, &s->host[SIM_CLIENT]);
	check_host(s, &s->host[SIM_SERVER]);
	if (s->pkts_out)
		sim_fail(s, "%u packets are lost by the hosts", s->pkts_out);
}

/* After a failure: leave nothing to the next run. */
void sim_clear(struct sim *s)
{
	for (unsigned h = 0; h < 2; h++)
		for (unsigned i = 0; i < s->nconn; i++)
			if (s->host[h].conn[i].t.env)
				tcp_free(&s->host[h].conn[i].t);
	while (s->heap_n)
		sim_pkt_put(s, sim_next(s));
}

/* One run. Return: true when every property held; else s->why. */
bool sim_run(struct sim *s, uint64_t seed)
{
	draw_run(s, seed);
	sim_loop(s);
	/* Forged bytes can leave two ends that disagree for good, as two real hosts would: they are given up. */
	if (s->hostile && !s->why[0])
		sim_clear(s);
	if (!s->why[0])
		sim_check_end(s);
	if (!s->why[0])
		return true;
	sim_clear(s);
	return false;
}

void sim_free(struct sim *s)
{
	struct sim_pkt *p;

	while ((p = s->free_pkts)) {
		s->free_pkts = p->next;
		free(p);
	}
	free(s->heap);
	for (unsigned h = 0; h < 2; h++)
		sim_host_free(&s->host[h]);
}
