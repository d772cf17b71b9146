/* publish.c - what `ztcp ss` and `ztcp stat` show of the stacks, kept where they can read it at any time */
#include "preload/sock/publish.h"

#include "preload/sock/direct_priv.h"
#include "shm/stats.h"
#include "stack/base/base_check.h"

#include <stddef.h>
#include <string.h>

enum {
	PUBLISH_MS = 10,
	PUBLISH_CONNS = 64, /* in one go */
};

_Static_assert((int)CNT_COUNT <= (int)STATS_COUNTERS, "all counters have a place");
_Static_assert((int)NET_INSTS *NET_MAX <= (int)STATS_NETS, "all stacks have a place");

void publish_begin(struct net_inst *in)
{
	in->publish_at = in->published + PUBLISH_MS * UINT64_C(1000000);
}

static void neighs_write(struct stats_net *to, const struct ip *ip, uint64_t now)
{
	struct ip_neigh_info info;
	unsigned at = 0, n = 0;

	while (n < STATS_NEIGHS && (at = net_stack->ip_neigh_info(ip, at, &info))) {
		struct stats_neigh *to_n = &to->neigh[n++];
		uint64_t heard = info.confirmed_at < 0 ? 0 : (uint64_t)info.confirmed_at;

		memcpy(to_n->addr, info.addr.b, sizeof(to_n->addr));
		memcpy(to_n->mac, info.mac.b, sizeof(to_n->mac));
		strncpy(to_n->state, info.state, sizeof(to_n->state) - 1);
		to_n->age_ms = heard < now ? (uint32_t)((now - heard) / 1000000) : 0;
	}
	to->neighs = n;
}

static void net_write(struct stats_net *to, const struct net *n, const struct policy_iface *f,
		      uint64_t now)
{
	struct zbuf_stats mem = { 0 };

	stats_turn_begin(&to->turn);
	to->open = n->z != NULL;
	to->at_ns = now;
	strncpy(to->name, f->name, sizeof(to->name) - 1);
	strncpy(to->device, f->device, sizeof(to->device) - 1);
	if (n->z) {
		memcpy(to->mac, n->dev->mac.b, sizeof(to->mac));
		to->mtu = n->dev->mtu;
		to->shared = n->shared;
		to->offloads = n->dev->offloads;
		to->conns = net_stack->inst_conn_count(n->in);
		to->blocks = net_stack->inst_pool_used(n->in);
		net_stack->zbuf_stats(n->pool, &mem);
		to->bytes_huge = mem.bytes_huge + n->dev->bytes_huge;
		to->bytes_ordinary = mem.bytes_ordinary + n->dev->bytes_ordinary;
		to->buffers_out = mem.buffers_out;
		to->refills = mem.refills;
		to->returns = mem.returns;
		to->counters = CNT_COUNT;
		memcpy(to->counter, net_stack->inst_counters(n->in)->n,
		       CNT_COUNT * sizeof(uint64_t));
		neighs_write(to, net_stack->inst_ip(n->in), now);
	}
	stats_turn_end(&to->turn);
}

static void conn_write(struct stats_head *table, struct direct *d, uint64_t now)
{
	const struct tcb *t = net_stack->inst_conn_tcb(d->conn);
	struct stats_tcp *to = stats_tcp_of(table, d->sock->row);

	stats_turn_begin(&to->turn);
	to->at_ns = now;
	to->rqueue = net_stack->tcp_readable(t);
	to->wqueue = net_stack->tcp_unacked(t);
	to->info_bytes = direct_info(d, to->info, sizeof(to->info), to->cong, sizeof(to->cong));
	stats_turn_end(&to->turn);
}

static void nets_write(struct stats_head *table, const struct net_inst *in, uint64_t now)
{
	enum reason why;
	const struct policy_ifaces *all = net_ifaces(&why);

	for (unsigned i = 0; i < NET_MAX; i++) {
		struct stats_net *to = stats_net_of(table, net_no(in) * NET_MAX + i);

		if (in->net[i].z || to->open)
			net_write(to, &in->net[i], &all->iface[i], now);
	}
}

void publish_more(struct net_inst *in, uint64_t now)
{
	struct stats_head *table = sock_stats();

	in->published = now;
	if (in->publish_dirty && !in->publish_left) {
		in->publish_dirty = false;
		in->publish_left = in->conns_count;
	}
	if (table)
		nets_write(table, in, now);
	in->publish_left = BASE_MIN(in->publish_left, in->conns_count);
	for (unsigned i = 0; table && in->publish_left && i < PUBLISH_CONNS; i++) {
		struct direct *d = direct_next();

		in->publish_left--;
		if (d->conn && d->sock && d->sock->row)
			conn_write(table, d, now);
	}
	in->publish_at = (in->publish_left || in->publish_dirty) && table
				 ? now + PUBLISH_MS * UINT64_C(1000000)
				 : 0;
}
