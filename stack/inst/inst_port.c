/* inst_port.c - a local port whose packets come back to this instance (RFC 6056 algorithm 3, RSS)
 *
 * A keyed hash of the other three parts of the flow gives the place to start, so ports to one peer
 * are hard to guess and differ from those to another. The Toeplitz hash is linear: each try costs
 * two bytes of it. One that waits in TIME-WAIT is taken again when a late segment can be told by its timestamp (RFC 6191).
 */
#include "stack/inst/inst_state.h"

#include <errno.h>

#define PORT_TRIES_MAX 8192 /* work is bounded: 1/64 of these fit with 64 queues */

static bool queue_ours(const struct inst_rss_config *rss, uint32_t rest, uint16_t port,
		       unsigned int at)
{
	uint8_t bytes[2] = { (uint8_t)(port >> 8), (uint8_t)port };

	if (rss->reta_len == 0)
		return true;
	rest ^= inst_rss_bits(rss, bytes, 2, at);
	return rss->reta[rest & (rss->reta_len - 1u)] == rss->queue;
}

/* What is chosen is seen by the peer: the flow table's own hash would give away what it must not. */
static uint64_t flow_sip(const struct inst *in, const struct wire_flow *flow)
{
	uint64_t words[5] = { flow->local.q[0], flow->local.q[1], flow->remote.q[0],
			      flow->remote.q[1], flow->rport };

	return base_hash_sip24_words(&in->env.key, words, BASE_ARRAY_SIZE(words));
}

/*
 * Whether nothing is known by this flow; a connection whose time of waiting may end ends. A port that somebody listens on is
 * no connection's: one to that listener would be its own other end (RFC 9293 3.5, simultaneous open), and accepted by nobody.
 */
static bool port_free(struct inst *in, const struct wire_flow *flow, ztime_t now)
{
	struct inst_conn *c = inst_conn_find(in, flow);

	if (inst_listening(in, flow))
		return false;
	if (!c)
		return true;
	if (!(c->flags & INST_C_ORPHAN) || !tcp_time_wait_may_end(&c->tcb, now))
		return false;
	tcp_abort(&c->tcb, now);
	inst_conn_leave(in, c);
	inst_conn_kick(in, c);
	base_count(&in->counters, CNT_inst_ports_again);
	return true;
}

int inst_port_pick(struct inst *in, struct wire_flow *flow, ztime_t now)
{
	uint32_t range = (uint32_t)in->cfg.port_hi - in->cfg.port_lo + 1;
	uint32_t tries = BASE_MIN(range, (uint32_t)PORT_TRIES_MAX);
	unsigned int at = wire_addr_is_v4(&flow->remote) ? 10 : 34;
	uint32_t start, rest;

	flow->lport = 0;
	start = (uint32_t)flow_sip(in, flow) + in->port_next;
	rest = inst_rss_hash(&in->cfg.rss, flow);
	for (uint32_t i = 0; i < tries; i++) {
		uint16_t port = (uint16_t)(in->cfg.port_lo + (start + i) % range);

		if (!queue_ours(&in->cfg.rss, rest, port, at))
			continue;
		flow->lport = port;
		if (!port_free(in, flow, now))
			continue;
		in->port_next += i + 1;
		return 0;
	}
	flow->lport = 0;
	base_count(&in->counters, CNT_inst_ports_full);
	return -EADDRNOTAVAIL;
}
