/* sim_move.c - a live connection lifted from one instance to another of the same host, queues and all
 *
 * As the lower and the lift do it: a record, the unread and the unacknowledged bytes, and nothing else. What was out of order
 * or being repaired must come right by itself.
 */
#include "stack/tcp/tcp_int.h"
#include "tests/sim/sim.h"

#define RUNS_MAX 2048

static struct wire_tcp_iov unread[RUNS_MAX], unacked[RUNS_MAX];

/* The references that the record's bytes need are ours until tcp_record_put() has taken them. */
static unsigned unacked_get(struct sim_host *h, const struct tcb *t)
{
	unsigned n = tcp_unacked_peek(t, unacked, RUNS_MAX);

	for (unsigned i = 0; i < n; i++)
		if (unacked[i].owner == &h->buf_refs)
			h->buf_refs++;
	return n;
}

void sim_move(struct sim_host *h, struct sim_conn *c)
{
	struct tcp_env *to = c->t.env == &h->env ? &h->other : &h->env;
	uint16_t no_memory = h->no_memory;
	struct tcp_record rec;
	unsigned n_unread = 0, n_unacked;
	int err;

	if (!c->used || c->app.closed || !c->app.connected || c->t.rcv_chunks > RUNS_MAX ||
	    c->t.snd_chunks > RUNS_MAX || tcp_record_take(&c->t, &rec, h->sim->now))
		return;
	n_unacked = unacked_get(h, &c->t);
	while (tcp_recv_take(&c->t, &unread[n_unread], h->sim->now))
		n_unread++;
	tcp_free(&c->t);
	tcp_init(&c->t, to);
	h->no_memory = 0;
	err = tcp_record_put(&c->t, &rec, unread, n_unread, unacked, n_unacked, h->sim->now);
	h->no_memory = no_memory;
	if (err)
		sim_fail(h->sim, "a record is refused with %d", err);
	tcp_opt_set(&c->t, TCP_OPT_SET_KEEPALIVE, 1, h->sim->now);
	h->sim->lifted++;
	sim_app_run(h, c);
	sim_host_flush(h, c);
}
