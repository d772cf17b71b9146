/* direct_listen.c - listening on the stack of this process and in the kernel at once
 *
 * listen() notes what is wanted; the stack is opened when the program first waits for a connection, so that a master
 * process that only hands its sockets to workers never opens a device. Where that fails, the kernel's queue alone serves, and it is
 * tried again now and then: the process that had the device may have ended.
 */
#include "preload/sock/direct_priv.h"
#include "preload/sock/ep.h"
#include "preload/sock/thread.h"
#include "preload/sock/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>

/* Return: a bit for each interface that a listener at @local is reached by. */
static unsigned interfaces_of(const struct policy_ifaces *all, const struct policy_addr *local)
{
	static const uint8_t any[16];
	const union wire_addr at = direct_wire_of(local);

	if (memcmp(local->ip, any, sizeof(any)) == 0)
		return (1u << all->count) - 1;
	if (policy_iface_of(all, local) >= 0)
		return 1u << policy_iface_of(all, local);
	for (unsigned i = 0; i < all->count; i++) {
		if (all->iface[i].shared && net_route_of(i, &at))
			return 1u << i;
	}
	return 0;
}

void direct_listen(struct sock *s, int fd, int backlog)
{
	struct sockaddr_storage sa;
	const struct policy_ifaces *all;
	static const uint8_t any[16];
	struct policy_addr local;
	struct direct *d;
	int only = 0;
	socklen_t len = sizeof(only);
	enum reason why;
	unsigned nets;

	all = net_ifaces(&why);
	if (!all->count || s->row || !direct_name_of(fd, &sa))
		return;
	policy_addr_set(&local, &sa);
	if (!direct_wanted(POLICY_ROLE_LISTEN, &local, NULL, &why))
		return;
	nets = interfaces_of(all, &local);
	if (!nets || !net_enter())
		return;
	d = s->direct ? s->direct : direct_alloc();
	if (d) {
		d->sock = s;
		d->nets = (uint8_t)nets;
		d->backlog = backlog > 0 ? backlog : 1;
		d->six = sa.ss_family == AF_INET6;
		d->flow.local = direct_wire_of(&local);
		d->flow.lport = local.port;
		d->families = local.family == 4 ? 1 : 2;
		sys(SYS_getsockopt, fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len);
		if (d->six && memcmp(local.ip, any, sizeof(any)) == 0 && !only)
			d->families = 3;
		SHM_PUBLISH(s->direct, d);
	}
	net_leave();
	ep_direct_adopt(s);
}

static void listen_on(struct direct *d, unsigned i)
{
	enum reason why = REASON_NONE;
	struct net *n = net_open(i, &why);

	d->why = (uint16_t)why;
	for (unsigned k = 0; n && k < 2; k++) {
		union wire_addr at = d->flow.local;

		if (!(d->families & 1u << k) || d->listener[i][k])
			continue;
		if (wire_addr_is_any(&at) && k == 0)
			at = wire_addr_v4(0);
		if (net_stack->ztcp_listen(n->z, &at, d->flow.lport, (uint32_t)d->backlog, d,
					   &d->listener[i][k])) {
			d->listener[i][k] = NULL;
			d->why = REASON_STACK_FULL;
		}
	}
}

void direct_listen_arm(struct direct *d)
{
	bool lacks = false;

	d->armed = true;
	for (unsigned i = 0; i < NET_MAX; i++) {
		if (d->nets & 1u << i && !d->listener[i][0] && !d->listener[i][1])
			listen_on(d, i);
		lacks |= d->nets & 1u << i && !d->listener[i][0] && !d->listener[i][1];
	}
	if (lacks)
		net_again();
}

void direct_arm(struct sock *s)
{
	int err;
	struct direct *d = direct_enter(s, &err);

	if (!d)
		return;
	if (!d->conn)
		direct_listen_arm(d);
	net_leave();
}

enum reason direct_accept_reason(const struct sock *s)
{
	return s->direct ? (enum reason)s->direct->why : REASON_NONE;
}

unsigned direct_waiting(const struct direct *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NET_MAX; i++) {
		for (unsigned k = 0; k < 2; k++) {
			if (d->listener[i][k])
				n += net_stack->inst_listener_tcp(d->listener[i][k])->n_ready;
		}
	}
	return n;
}

/* The first of the queue. In the lock. */
static bool accept_one(const struct direct *d, struct direct *to)
{
	for (unsigned i = 0; i < NET_MAX; i++) {
		for (unsigned k = 0; k < 2; k++) {
			if (!d->listener[i][k])
				continue;
			to->net = &net_of[i];
			to->conn = net_stack->inst_accept(to->net->in, d->listener[i][k], to);
			if (to->conn)
				return true;
		}
	}
	return false;
}

/* Options that an accepted socket has from its listener. */
static void inherit(int from, int to)
{
	static const struct {
		int level, name;
		socklen_t size;
	} opts[] = {
		{ IPPROTO_TCP, 1 /* TCP_NODELAY */, sizeof(int) },
		{ SOL_SOCKET, SO_KEEPALIVE, sizeof(int) },
		{ SOL_SOCKET, SO_LINGER, sizeof(struct linger) },
		{ SOL_SOCKET, SO_RCVTIMEO, sizeof(struct timeval) },
		{ SOL_SOCKET, SO_SNDTIMEO, sizeof(struct timeval) },
	};

	for (unsigned i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
		uint64_t val[2] = { 0, 0 };
		socklen_t len = opts[i].size;

		if (sys(SYS_getsockopt, from, opts[i].level, opts[i].name, val, &len) == 0 &&
		    (val[0] || val[1]))
			sys(SYS_setsockopt, to, opts[i].level, opts[i].name, val, len);
	}
}

/* In the lock; something waits. Return: the new descriptor or -errno. */
static int take_one(struct direct *d, int listener, struct sockaddr *sa, socklen_t *len, int flags)
{
	int fd = (int)sys(SYS_socket, d->six ? AF_INET6 : AF_INET, SOCK_STREAM | flags, 0);
	struct direct *to = fd >= 0 ? direct_alloc() : NULL;
	struct sockaddr_storage full;
	struct sock *s = NULL;

	if (fd >= 0)
		inherit(listener, fd);
	if (to && accept_one(d, to)) {
		to->six = d->six;
		to->stage = DIRECT_CONNECTED;
		to->told = true;
		to->flow = *net_stack->inst_conn_flow(to->conn);
		s = sock_open(fd);
	}
	if (s && direct_become(s, to, STATS_ACCEPT)) {
		direct_name_copy(sa, len, &full,
				 direct_sockaddr_of(d->six, &to->flow.remote, to->flow.rport,
						    &full));
		return fd;
	}
	if (to && to->conn)
		net_stack->inst_abort(to->net->in, to->conn, (ztime_t)thread_now());
	if (to)
		direct_free(to);
	if (fd >= 0)
		sys(SYS_close, fd);
	return fd < 0 ? fd : -ENOBUFS;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec zero = { 0, 0 };

	return sys(SYS_ppoll, &p, 1, &zero, 0, 8) > 0;
}

int direct_accept(struct sock *s, int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
	int mode = -1, err;

	for (;;) {
		struct direct *d = direct_enter(s, &err);

		if (!d || d->conn) {
			if (d)
				net_leave();
			return DIRECT_NOT_OURS;
		}
		direct_listen_arm(d);
		net_drive();
		if (direct_waiting(d)) {
			err = take_one(d, fd, sa, len, flags);
			net_leave();
			return err;
		}
		if (mode < 0)
			mode = (int)sys(SYS_fcntl, fd, F_GETFL);
		if (mode & O_NONBLOCK || !net_any() || readable(fd)) {
			net_leave();
			return DIRECT_NOT_OURS;
		}
		err = direct_wait(fd, 0);
		if (err == -EINTR && !wait_restarts(NULL))
			return err;
	}
}

void direct_listen_end(struct direct *d, ztime_t now)
{
	for (unsigned i = 0; i < NET_MAX; i++) {
		for (unsigned k = 0; k < 2; k++) {
			if (d->listener[i][k])
				net_stack->ztcp_listener_close(net_of[i].z, d->listener[i][k], now);
			d->listener[i][k] = NULL;
		}
	}
}
