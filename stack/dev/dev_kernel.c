/* dev_kernel.c - addresses, routes and neighbours of the kernel, for an instance on the kernel's interface */
#include "stack/dev/dev_kernel.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "stack/base/base_bytes.h"
#include "stack/base/base_check.h"
#include "stack/base/base_sys.h"
#include "stack/dev/dev_lease.h"
#include "stack/dev/dev_nl.h"
#include "stack/wire/wire_arp.h"
#include "stack/wire/wire_icmp.h"

#define BUFFER_BYTES     32768 /* the kernel never fills more of a dump into one read */
#define LOOK_EVERY       ZTIME_MS
#define READS_MAX        64 /* a tick, so that a flood of messages does not hold the instance */
#define DUMP_PATIENCE_US 200000
#define ND_TARGET_AT     (14 + 40 + 8)

struct route {
	union wire_addr net, via;
	uint32_t metric, ifindex;
	uint16_t mtu;
	uint8_t bits;
	bool usable;
};

struct address {
	union wire_addr addr;
	uint8_t bits;
};

struct tables {
	struct route routes[IP_ROUTES_MAX];
	struct address addrs[IP_ADDRS_MAX];
	unsigned int nroutes, naddrs;
	bool full; /* the kernel has more */
};

struct dev_kernel {
	int fd;
	int lease; /* session by which ztcpd asks for us; -1 */
	uint32_t ifindex, mtu, seq;
	struct ip *ip;
	ztime_t next;            /* look at the socket then */
	bool changed;            /* addresses or routes */
	struct tables have, now; /* what @ip was told; what is being read */
	_Alignas(8) uint8_t buffer[BUFFER_BYTES];
};

/* ---- reading tables */

static uint16_t mtu_of(const struct dev_kernel *k, const struct dev_nl *m)
{
	uint32_t mtu = m->mtu && m->mtu < k->mtu ? m->mtu : k->mtu;
	uint32_t least = wire_addr_is_v4(&m->addr) ? IP4_MTU_MIN : IP6_MTU_MIN;

	return (uint16_t)BASE_MIN(mtu < least ? least : mtu, 65535u);
}

static struct route *route_find(struct tables *t, const union wire_addr *net, unsigned int bits)
{
	for (unsigned int i = 0; i < t->nroutes; i++)
		if (t->routes[i].bits == bits && wire_addr_equal(&t->routes[i].net, net))
			return &t->routes[i];
	return NULL;
}

/* Of equal ones (link-local networks) ours is meant. */
static bool route_better(const struct dev_kernel *k, const struct route *old,
			 const struct dev_nl *m)
{
	return m->metric < old->metric ||
	       (m->metric == old->metric && m->ifindex == k->ifindex && old->ifindex != k->ifindex);
}

static void route_note(struct dev_kernel *k, const struct dev_nl *m)
{
	struct tables *t = &k->now;
	struct route *r = route_find(t, &m->addr, m->bits);

	if (r && !route_better(k, r, m))
		return;
	if (!r && t->nroutes == IP_ROUTES_MAX) {
		t->full = true;
		return;
	}
	r = r ? r : &t->routes[t->nroutes++];
	*r = (struct route){
		.net = m->addr,
		.via = m->via,
		.metric = m->metric,
		.ifindex = m->ifindex,
		.mtu = mtu_of(k, m),
		.bits = m->bits,
		.usable = m->usable && m->ifindex == k->ifindex,
	};
}

static void addr_note(struct dev_kernel *k, const struct dev_nl *m)
{
	struct tables *t = &k->now;

	if (m->ifindex != k->ifindex || !m->usable)
		return;
	if (t->naddrs == IP_ADDRS_MAX) {
		t->full = true;
		return;
	}
	t->addrs[t->naddrs++] = (struct address){ m->addr, m->bits };
}

/* What comes unasked. */
static void event(struct dev_kernel *k, const struct dev_nl *m, ztime_t now)
{
	switch (m->kind) {
	case DEV_NL_NEIGH:
		if (m->ifindex == k->ifindex && m->usable && !m->gone)
			ip_neigh_add(k->ip, &m->addr, &m->mac, now);
		break;
	case DEV_NL_LINK:
		if (m->ifindex != k->ifindex)
			break;
		k->mtu = m->mtu ? m->mtu : k->mtu;
		k->changed = true;
		break;
	case DEV_NL_ADDR:
	case DEV_NL_ROUTE: k->changed = true; break;
	default: break;
	}
}

static long messages_read(struct dev_kernel *k, int flags)
{
	struct sockaddr_nl from;
	socklen_t len = sizeof(from);
	long n = sys(SYS_recvfrom, k->fd, k->buffer, sizeof(k->buffer), flags, &from, &len);

	/* Only the kernel is believed. */
	return n > 0 && from.nl_pid != 0 ? 0 : n;
}

/* Return: 1 when the dump has ended, 0 to go on, -errno. */
static int dump_take(struct dev_kernel *k, size_t len, ztime_t now)
{
	struct dev_nl m;
	size_t at = 0, used;

	for (; (used = dev_nl_parse(k->buffer + at, len - at, k->ifindex, &m)); at += used) {
		if (m.seq != k->seq)
			event(k, &m, now);
		else if (m.kind == DEV_NL_DONE)
			return 1;
		else if (m.kind == DEV_NL_ERROR)
			return m.err ? m.err : 1;
		else if (m.kind == DEV_NL_ADDR)
			addr_note(k, &m);
		else if (m.kind == DEV_NL_ROUTE)
			route_note(k, &m);
		else
			event(k, &m, now);
	}
	return 0;
}

static int dump(struct dev_kernel *k, unsigned int type, unsigned int family, ztime_t now)
{
	struct {
		struct nlmsghdr h;
		struct rtmsg r; /* the longest of the three; all begin with the family */
	} req = {
		.h = { .nlmsg_len = sizeof(req),
		       .nlmsg_type = (uint16_t)type,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		       .nlmsg_seq = ++k->seq },
		.r.rtm_family = (uint8_t)family,
	};
	long n = sys(SYS_sendto, k->fd, &req, sizeof(req), 0, NULL, 0);
	int rc = 0;

	while (!rc && n >= 0) {
		n = messages_read(k, 0);
		if (n == -ENOBUFS) { /* messages were lost; the dump itself was not */
			k->changed = true;
			n = 0;
		}
		if (n > 0)
			rc = dump_take(k, (size_t)n, now);
	}
	return rc > 0 ? 0 : rc ? rc : (int)n;
}

/* ---- writing into struct ip */

static void routes_drop(struct dev_kernel *k)
{
	for (unsigned int i = 0; i < k->have.nroutes; i++)
		if (k->now.full ||
		    !route_find(&k->now, &k->have.routes[i].net, k->have.routes[i].bits))
			ip_route_remove(k->ip, &k->have.routes[i].net, k->have.routes[i].bits);
}

static void addrs_set(struct dev_kernel *k, ztime_t now)
{
	for (unsigned int i = 0; i < k->have.naddrs; i++) {
		const struct address *a = &k->have.addrs[i];
		bool stays = false;

		for (unsigned int j = 0; j < k->now.naddrs; j++)
			stays |= wire_addr_equal(&a->addr, &k->now.addrs[j].addr) &&
				 a->bits == k->now.addrs[j].bits;
		if (!stays)
			ip_addr_remove(k->ip, &a->addr);
	}
	for (unsigned int i = 0; i < k->now.naddrs; i++) {
		const struct address *a = &k->now.addrs[i];

		/* It brings a route of its own, which the kernel may not have. */
		if (!ip_addr_add(k->ip, &a->addr, a->bits, now))
			ip_route_remove(k->ip, &a->addr, a->bits);
	}
}

static void routes_set(struct dev_kernel *k)
{
	for (unsigned int i = 0; !k->now.full && i < k->now.nroutes; i++) {
		const struct route *r = &k->now.routes[i];
		int rc;

		if (r->usable)
			rc = ip_route_add(k->ip, &r->net, r->bits, &r->via, r->mtu);
		else
			rc = ip_route_elsewhere(k->ip, &r->net, r->bits);
		k->now.full |= rc == -ENOSPC;
	}
}

/* A table that cannot be read to the end is none: its destinations are the kernel's. */
static int tables_read(struct dev_kernel *k, ztime_t now)
{
	int rc;

	k->changed = false;
	memset(&k->now, 0, sizeof(k->now));
	rc = dump(k, RTM_GETADDR, AF_UNSPEC, now);
	if (!rc)
		rc = dump(k, RTM_GETROUTE, AF_INET, now);
	if (!rc)
		rc = dump(k, RTM_GETROUTE, AF_INET6, now);
	k->now.full |= rc != 0;
	routes_drop(k);
	addrs_set(k, now);
	routes_set(k);
	k->have = k->now;
	if (k->have.full) {
		memset(&k->now, 0, sizeof(k->now));
		routes_drop(k);
		k->have.nroutes = 0;
	}
	return rc;
}

/* ---- questions */

struct question {
	struct nlmsghdr h;
	struct ndmsg n;
	struct rtattr a;
	uint8_t addr[16];
};

static void question_fill(struct question *q, const struct dev_kernel *k,
			  const union wire_addr *addr, unsigned int type, unsigned int flags)
{
	bool v4 = wire_addr_is_v4(addr);
	uint16_t len = v4 ? 4 : 16;

	*q = (struct question){
		.h = { .nlmsg_len = (uint32_t)(offsetof(struct question, addr) + len),
		       .nlmsg_type = (uint16_t)type,
		       .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) },
		.n = { .ndm_family = v4 ? AF_INET : AF_INET6, .ndm_ifindex = (int)k->ifindex },
		.a = { .rta_len = (uint16_t)(sizeof(struct rtattr) + len), .rta_type = NDA_DST },
	};
	memcpy(q->addr, v4 ? addr->b + 12 : addr->b, len);
}

/* What the kernel knows, and that it is used: the kernel verifies, or finds out, and tells. */
static void ask(struct dev_kernel *k, const union wire_addr *addr)
{
	struct question q;

	question_fill(&q, k, addr, RTM_GETNEIGH, 0);
	sys(SYS_sendto, k->fd, &q, q.h.nlmsg_len, MSG_DONTWAIT, NULL, 0);
	k->next = ZTIME_PAST;
	if (k->lease >= 0) {
		dev_lease_neigh(k->lease, addr->b);
		return;
	}
	question_fill(&q, k, addr, RTM_NEWNEIGH, NLM_F_CREATE);
	q.n.ndm_flags = NTF_USE;
	sys(SYS_sendto, k->fd, &q, q.h.nlmsg_len, MSG_DONTWAIT, NULL, 0);
}

static bool nd_takes(struct dev_kernel *k, const struct wire_frame_out *f)
{
	const uint8_t *icmp = f->hdr + f->l4_at;
	union wire_addr target;

	if (f->l4_len || f->hdr[f->l3_at + 6] != WIRE_PROTO_ICMP6 || f->hdr_len <= f->l4_at)
		return false;
	if (icmp[0] == WIRE_ICMP6_NS && f->hdr_len >= f->l4_at + 24) {
		target = wire_addr_v6_bytes(icmp + 8);
		ask(k, &target);
		return true;
	}
	return icmp[0] == WIRE_ICMP6_NA;
}

bool dev_kernel_takes(struct dev_kernel *k, const struct wire_frame_out *f)
{
	struct wire_arp arp;

	if (BASE_LIKELY(f->l4_len))
		return false;
	switch (base_be16_get(f->hdr + 12)) {
	case WIRE_ETH_ARP:
		if (wire_arp_parse(f->hdr + f->l3_at, f->hdr_len - f->l3_at, &arp) == CNT_none &&
		    arp.op == WIRE_ARP_REQUEST && !wire_addr_equal(&arp.sender, &arp.target))
			ask(k, &arp.target);
		return true;
	case WIRE_ETH_IP6: return nd_takes(k, f);
	default: return false;
	}
}

/* ---- life */

void dev_kernel_tick(struct dev_kernel *k, ztime_t now)
{
	struct dev_nl m;
	long n = 1;

	if (BASE_LIKELY(now < k->next) || !k->ip)
		return;
	k->next = now + LOOK_EVERY;
	for (int reads = 0; n > 0 && reads < READS_MAX; reads++) {
		size_t at = 0, used;

		n = messages_read(k, MSG_DONTWAIT);
		for (;
		     n > 0 && (used = dev_nl_parse(k->buffer + at, (size_t)n - at, k->ifindex, &m));
		     at += used)
			event(k, &m, now);
	}
	k->changed |= n == -ENOBUFS;
	if (BASE_UNLIKELY(k->changed))
		tables_read(k, now);
}

int dev_kernel_follow(struct dev_kernel *k, struct ip *ip, ztime_t now)
{
	int rc;

	k->ip = ip;
	rc = tables_read(k, now);
	return rc ? rc : dump(k, RTM_GETNEIGH, AF_UNSPEC, now);
}

void dev_kernel_lease(struct dev_kernel *k, int session)
{
	k->lease = session;
}

int dev_kernel_fd(const struct dev_kernel *k)
{
	return k->fd;
}

void dev_kernel_close(struct dev_kernel *k)
{
	if (!k)
		return;
	if (k->fd >= 0)
		sys(SYS_close, k->fd);
	free(k);
}

static int sock_open(struct dev_kernel *k)
{
	struct timeval patience = { .tv_usec = DUMP_PATIENCE_US };
	struct sockaddr_nl a = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
			     RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
	};
	int rc = (int)sys(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (rc < 0)
		return rc;
	k->fd = rc;
	rc = (int)sys(SYS_setsockopt, k->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return rc ? rc : (int)sys(SYS_bind, k->fd, &a, sizeof(a));
}

int dev_kernel_open(const struct dev_link *link, const struct dev_conf *conf, struct dev_kernel **k,
		    struct dev_error *err)
{
	struct dev_kernel *new = calloc(1, sizeof(*new));
	int rc;

	if (!new)
		return dev_fail(err, -ENOMEM, "%s: no memory", link->name);
	new->fd = new->lease = -1;
	new->ifindex = link->ifindex;
	new->mtu = link->mtu;
	rc = sock_open(new);
	if (rc) {
		dev_kernel_close(new);
		return dev_fail(err, rc, "%s: ask the kernel for routes: %s", link->name,
				strerror(-rc));
	}
	new->fd = dev_fd_keep(conf, new->fd);
	*k = new;
	return 0;
}
