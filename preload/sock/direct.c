/* direct.c - the life of connections that the stack of this process makes itself */
#include "preload/sock/direct.h"

#include "preload/real.h"
#include "preload/sock/conf.h"
#include "preload/sock/direct_priv.h"
#include "preload/sock/ep.h"
#include "preload/sock/hold.h"
#include "preload/sock/mem.h"
#include "preload/sock/tend.h"
#include "preload/sock/thread.h"
#include "preload/sock/wait.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

enum {
	SLAB = 64,
	PORT_TRIES = 32, /* ports that the stack has free and the kernel has not */
};

/* ---- memory ---- */

static struct direct *slab(void)
{
	long addr = sys(SYS_mmap, 0, SLAB * sizeof(struct direct), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return addr < 0 && addr > -4096 ? NULL : (struct direct *)addr;
}

static struct base_list *conns_of(struct net_inst *in)
{
	if (unlikely(!in->conns.next)) {
		base_list_init(&in->conns);
		base_list_init(&in->spare);
	}
	return &in->conns;
}

struct direct *direct_alloc(void)
{
	struct net_inst *in = thread_self.inside;
	struct base_list *conns = conns_of(in), *node = base_list_pop_head(&in->spare);
	struct direct *d;

	if (!node) {
		d = slab();
		if (!d)
			return NULL;
		for (unsigned i = 0; i < SLAB; i++)
			base_list_push_tail(&in->spare, &d[i].all);
		node = base_list_pop_head(&in->spare);
	}
	d = base_container_of(node, struct direct, all);
	memset(d, 0, sizeof(*d));
	d->of = in;
	d->forks = direct_fork_no();
	d->linger_s = -1;
	d->lowat = 1;
	base_list_push_tail(conns, &d->all);
	in->conns_count++;
	return d;
}

struct direct *direct_next(void)
{
	struct net_inst *in = thread_self.inside;
	struct base_list *node = base_list_pop_head(&in->conns);

	base_list_push_tail(&in->conns, node);
	return base_container_of(node, struct direct, all);
}

void direct_free(struct direct *d)
{
	d->sock = NULL;
	d->conn = NULL;
	base_list_remove(&d->all);
	d->of->conns_count--;
	base_list_push_head(&d->of->spare, &d->all);
}

struct direct *direct_enter(struct sock *s, int *err)
{
	for (;;) {
		struct direct *d = SHM_FOLLOW(s->direct);

		*err = -EBADF;
		if (unlikely(!d))
			return NULL;
		if (unlikely(!d->of && !d->at)) { /* the kernel's, after this */
			direct_claim(s);
			return NULL;
		}
		*err = -EAGAIN; /* a handler on top of its own thread's call */
		if (unlikely(!net_enter(d->at ? net_mine() : d->of)))
			return NULL;
		if (likely(SHM_FOLLOW(s->direct) == d && (d->at || d->of == thread_self.inside)))
			return d;
		net_leave(); /* it has just become another */
	}
}

unsigned direct_insts(struct sock *s)
{
	struct direct *d = SHM_FOLLOW(s->direct);

	return d && (d->at || d->of) ? 1u << net_no(d->at ? net_mine() : d->of) : 0;
}

bool direct_wanted(enum policy_role role, const struct policy_addr *local,
		   const struct policy_addr *remote, enum reason *why)
{
	struct policy_conn pc = { .proc = &conf.self.proc, .role = role, .local = *local };
	struct policy_answer a;

	if (remote)
		pc.remote = *remote;
	if (!conf.policy)
		return conf.path == OPTIONS_PATH_STACK;
	a = policy_match(conf.policy, &conf.cls, &pc);
	*why = REASON_POLICY;
	if (a.verdict == POLICY_DIRECT || conf.path == OPTIONS_PATH_STACK)
		return a.paths & POLICY_PATH_STACK;
	*why = REASON_NONE; /* nobody has asked for it */
	return false;
}

/* ---- connecting ---- */

/* Whether an address beyond a gateway is in truth one of the kernel's own. */
static bool is_kernels(const struct policy_addr *a, const struct sockaddr *to, socklen_t len)
{
	long fd = sys(SYS_socket, to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sa;
	struct policy_addr own = { 0 };

	if (fd < 0)
		return false;
	if (sys(SYS_connect, fd, to, len) == 0 && direct_name_of((int)fd, &sa))
		policy_addr_set(&own, &sa);
	sys(SYS_close, fd);
	return own.family == a->family && memcmp(own.ip, a->ip, sizeof(a->ip)) == 0;
}

/* An interface by which the kernel itself would go; @from is set to its source address. Return: its index or -1. */
static int shared_for(const struct policy_ifaces *all, const struct sock *s, int fd,
		      const struct policy_addr *local, const struct policy_addr *remote,
		      union wire_addr *from)
{
	const union wire_addr to = direct_wire_of(remote);
	uint32_t ifindex = 0;
	socklen_t len = sizeof(ifindex);

	if (!(s->fresh & SOCK_FRESH_OPTIONS))
		sys(SYS_getsockopt, fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, &len);
	for (unsigned i = 0; i < all->count && !wire_addr_is_link_local(&to); i++) {
		*from = local->family == remote->family ? direct_wire_of(local)
			: remote->family == 4           ? wire_addr_v4(0)
							: (union wire_addr){ { 0 } };
		if (all->iface[i].shared && net_route_to(i, &to, ifindex, from))
			return (int)i;
	}
	return -1;
}

/* The interface whose own address @remote is, where this process has it or will have it: other processes go by the kernel. */
static int own_for(const struct policy_ifaces *all, const struct policy_addr *remote)
{
	int i = policy_iface_of(all, remote);
	unsigned open = i < 0 ? 0 : direct_listened();

	for (unsigned k = 0; i >= 0 && k < NET_INSTS; k++)
		open |= atomic_load(&net_insts[k].open);
	return i >= 0 && open & 1u << i ? i : -1;
}

/* What the program has bound the socket to. */
static bool bound_to(const struct sock *s, int fd, sa_family_t family, struct sockaddr_storage *sa)
{
	if (!(s->fresh & SOCK_FRESH_NAME))
		return direct_name_of(fd, sa);
	memset(sa, 0, sizeof(*sa));
	sa->ss_family = family;
	return true;
}

/*
 * The interface for a connection; of a shared one @from is set, too. Return: its index, or -1 and @why (NONE: the
 * stack is not asked for).
 */
static int interface_for(const struct sock *s, int fd, const struct sockaddr *to, socklen_t len,
			 struct policy_addr *local, struct policy_addr *remote,
			 union wire_addr *from, enum reason *why)
{
	const struct policy_ifaces *all = net_ifaces(why);
	struct sockaddr_storage bound;
	static const uint8_t any[16];
	bool linked = true;
	int i;

	policy_addr_set(remote, to);
	if (!bound_to(s, fd, to->sa_family, &bound))
		return -1;
	policy_addr_set(local, &bound);
	if (remote->family == 4 ? remote->ip[0] == 127 : remote->family != 6)
		return -1;
	i = policy_iface_to(all, remote, &linked);
	if (i < 0)
		i = own_for(all, remote);
	if (!all->count || !direct_wanted(POLICY_ROLE_CONNECT, local, remote, why))
		return -1;
	*why = REASON_NO_INTERFACE;
	if (i < 0)
		return shared_for(all, s, fd, local, remote, from);
	*why = REASON_OTHER_ADDRESS;
	if (memcmp(local->ip, any, sizeof(any)) != 0 && policy_iface_of(all, local) != i)
		return -1;
	*why = REASON_NO_INTERFACE;
	return linked || !is_kernels(remote, to, len) ? i : -1;
}

/*
 * The kernel's socket takes the port that the stack has chosen, so that nobody else does. On a device of our own nobody
 * else has the address. Return: 0 or -errno.
 */
static int port_hold(struct direct *d, int fd)
{
	struct sockaddr_storage sa;

	if (!d->net->shared)
		return 0;
	return (int)sys(SYS_bind, fd, &sa,
			direct_sockaddr_of(d->six, &d->flow.local, d->flow.lport, &sa));
}

/* Return: 0 or -errno; @d->conn is set on success. */
static int open_on(struct direct *d, const struct wire_flow *want)
{
	ztime_t now = (ztime_t)thread_now();
	struct inst_conn *c = net_stack->inst_conn_new(d->net->in, d);
	int err;

	if (!c)
		return -ENOBUFS;
	err = net_stack->inst_connect(d->net->in, c, want, now);
	if (err) {
		net_stack->inst_abort(d->net->in, c, now);
		return err;
	}
	d->conn = c;
	d->flow = *net_stack->inst_conn_flow(c);
	return 0;
}

static int open_and_hold(struct direct *d, int fd, const struct wire_flow *want)
{
	int err = open_on(d, want);

	for (unsigned i = 0; !err && !want->lport && i < PORT_TRIES; i++) {
		err = port_hold(d, fd);
		if (err != -EADDRINUSE)
			break;
		net_stack->inst_abort(d->net->in, d->conn, (ztime_t)thread_now());
		d->conn = NULL;
		err = open_on(d, want);
	}
	if (!err)
		err = net_stack->ztcp_steer(d->net->z, &d->flow);
	if (err && d->conn) {
		net_stack->inst_abort(d->net->in, d->conn, (ztime_t)thread_now());
		d->conn = NULL;
	}
	return err;
}

/* Times to wait, as they were set before anybody followed them. */
static void times_read(struct stats_row *row, int fd)
{
	struct timeval tv;
	socklen_t len = sizeof(tv);

	if (sys(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len) == 0)
		row->rcvtimeo_us = (uint32_t)(tv.tv_sec * 1000000 + tv.tv_usec);
	len = sizeof(tv);
	if (sys(SYS_getsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &tv, &len) == 0)
		row->sndtimeo_us = (uint32_t)(tv.tv_sec * 1000000 + tv.tv_usec);
}

static void row_fill(struct sock *s, const struct direct *d, bool nonblock)
{
	struct stats_row *row = s->row;

	if (nonblock)
		atomic_fetch_or(&row->flags, STATS_NONBLOCK);
	row->tx_path = row->rx_path = STATS_PATH_STACK;
	row->reason = REASON_DIRECT;
	memcpy(row->local, d->flow.local.b, 16);
	memcpy(row->remote, d->flow.remote.b, 16);
	row->ports = d->flow.lport | (uint32_t)d->flow.rport << 16;
	atomic_store(&stats_tcp_of(sock_stats(), row)->turn,
		     0); /* what stands there is another's */
}

bool direct_become(struct sock *s, struct direct *d, enum stats_role role, bool nonblock)
{
	const bool fresh = s->fresh & SOCK_FRESH_OPTIONS;

	sock_connected(s, role, NULL);
	if (!s->row)
		return false;
	SHM_WRITE(s->pinned, true);
	d->sock = s;
	row_fill(s, d, nonblock);
	if (!fresh) {
		times_read(s->row, s->fd);
		direct_opt_all(d, s->fd);
	}
	SHM_PUBLISH(s->direct, d);
	SHM_PUBLISH(s->stage, SOCK_DIRECT);
	return true;
}

static enum reason connect_why(int err)
{
	switch (err) {
	case -EADDRINUSE: return REASON_NONE;
	case -ENETUNREACH: return REASON_NO_INTERFACE;
	case -EADDRNOTAVAIL: return REASON_OTHER_ADDRESS;
	case -EACCES: return REASON_LEASE_REFUSED;
	case -EDQUOT: return REASON_LEASE_LIMIT;
	default: return REASON_STACK_FULL;
	}
}

/* On a shared interface the kernel can open what the stack could not, unless the stack has that very connection. */
static bool kernel_can(const struct net *n, int err, const struct wire_flow *want)
{
	return n->shared ? err != -EADDRINUSE || !want->lport : err == -ENOBUFS;
}

/*
 * The stack for a connection by interface @i: the thread's own, or another's where it cannot have one. Return: it, and the thread is
 * inside; or NULL and @why.
 */
static struct net *connect_net(unsigned i, enum reason *why)
{
	struct net *n;

	net_join(1u << i);
	if (!net_enter(net_mine()))
		return NULL;
	n = net_open(i, why);
	if (n)
		return n;
	net_leave();
	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (!(atomic_load(&net_insts[k].open) & 1u << i) || !net_enter(&net_insts[k]))
			continue;
		n = &net_insts[k].net[i];
		if (n->z)
			return n;
		net_leave();
	}
	return NULL;
}

/* Return: 0: under way; -errno; DIRECT_NOT_OURS. */
static int connect_start(struct sock *s, int fd, int i, const struct wire_flow *want,
			 sa_family_t family)
{
	const long nonblock = sys(SYS_fcntl, fd, F_GETFL);
	enum reason why = REASON_STACK_FULL;
	struct direct *d = NULL;
	struct net *n;
	bool as_made;
	int err;

	n = connect_net((unsigned)i, &why);
	if (n && !n->shared && !n->listens) {
		n->listens = true;
		direct_listen_open();
	}
	if (n)
		d = direct_alloc();
	if (!d) {
		s->why = (uint16_t)why;
		if (n)
			net_leave();
		return DIRECT_NOT_OURS;
	}
	d->net = n;
	d->six = family == AF_INET6;
	d->stage = DIRECT_CONNECTING;
	if (n->shared) /* it will be bound */
		direct_soil(s);
	as_made = s->fresh & SOCK_FRESH_AS_MADE;
	err = open_and_hold(d, fd, want);
	if (!err && !direct_become(s, d, STATS_CONNECT, nonblock > 0 && nonblock & O_NONBLOCK)) {
		net_stack->inst_abort(n->in, d->conn, (ztime_t)thread_now());
		err = -ENOBUFS;
	}
	if (err) {
		direct_free(d);
		s->why = (uint16_t)connect_why(err);
		err = s->row || !kernel_can(n, err, want) ? err : DIRECT_NOT_OURS;
	} else {
		if (as_made)
			direct_hold(s, fd);
		net_push(n);
	}
	net_leave();
	return err;
}

/* In the lock. Return: 0, -errno, -EAGAIN: not yet. */
static int connect_state(struct direct *d, bool again)
{
	int err;

	direct_look(d);
	err = direct_error_take(d);
	if (err)
		return err;
	if (d->failed)
		return -ECONNABORTED;
	if (d->stage == DIRECT_CONNECTING)
		return -EAGAIN;
	err = again && d->told ? -EISCONN : 0;
	d->told = true;
	return err;
}

static int connect_wait(struct sock *s)
{
	uint64_t until = s->row->sndtimeo_us ? thread_now() + s->row->sndtimeo_us * UINT64_C(1000)
					     : 0;
	struct wait_signals sig = { .held = false };
	bool first = true;
	unsigned mark = hold_mark();
	int err;

	hold_begin(s, &s->users);
	for (;;) {
		struct direct *d = direct_enter(s, &err);

		if (!d)
			break;
		net_drive();
		err = connect_state(d, true);
		if (err != -EAGAIN || sock_nonblock(s)) {
			net_leave();
			if (err == -EAGAIN)
				err = atomic_fetch_or(&s->asked_to, 1) ? -EALREADY : -EINPROGRESS;
			break;
		}
		atomic_fetch_or(&s->asked_to, 1);
		err = direct_wait(NULL, 0, until, &sig);
		if (err == -EAGAIN)
			err = first ? -EINPROGRESS : -EALREADY;
		if (err == -EINTR && !until && wait_restarts(&sig))
			err = 0;
		if (err)
			break;
	}
	wait_signals_release(&sig);
	hold_end(mark);
	return err;
}

int direct_connect(struct sock *s, int fd, const struct sockaddr *to, socklen_t len)
{
	struct policy_addr local, remote;
	struct wire_flow want = { 0 };
	enum reason why;
	int i, err;

	if (!mem_readable(to, len) || len < sizeof(struct sockaddr_in) ||
	    (to->sa_family != AF_INET && to->sa_family != AF_INET6) ||
	    (to->sa_family == AF_INET6 && len < sizeof(struct sockaddr_in6)) || s->direct)
		return DIRECT_NOT_OURS;
	i = interface_for(s, fd, to, len, &local, &remote, &want.local, &why);
	if (i < 0) {
		s->why = conf.path == OPTIONS_PATH_STACK || why != REASON_NO_INTERFACE
				 ? (uint16_t)why
				 : REASON_NONE;
		return DIRECT_NOT_OURS;
	}
	want.remote = direct_wire_of(&remote);
	want.rport = remote.port;
	want.lport = local.port;
	if (local.port && policy_iface_of(net_ifaces(&why), &local) == i)
		want.local = direct_wire_of(&local);
	else if (remote.family == 4 && wire_addr_is_any(&want.local))
		want.local = wire_addr_v4(0);
	err = connect_start(s, fd, i, &want, to->sa_family);
	if (err)
		return err;
	ep_direct_adopt(s);
	if (!sock_nonblock(s))
		return connect_wait(s);
	atomic_store(&s->asked_to, 1);
	return -EINPROGRESS; /* the kernel never says more of a first call, even to an address of its own */
}

/* In the lock: as the kernel's tcp_disconnect(), but that the socket cannot be connected again. */
static int disconnect(struct direct *d)
{
	direct_look(d);
	if (d->stage == DIRECT_CONNECTED && !direct_gone(d)) {
		d->error = ECONNRESET;
		d->failed = true;
	}
	net_stack->tcp_abort(net_stack->inst_conn_tcb(d->conn), (ztime_t)thread_now());
	net_stack->inst_conn_kick(d->net->in, d->conn);
	direct_event(d, 0);
	net_push(d->net);
	return 0;
}

int direct_connect_more(struct sock *s, const struct sockaddr *to, socklen_t len)
{
	struct direct *d;
	int err;

	if (len < sizeof(to->sa_family) || !mem_readable(to, sizeof(to->sa_family)) ||
	    to->sa_family != AF_UNSPEC) {
		err = connect_wait(s);
		return err == -EBADF ? DIRECT_NOT_OURS : err;
	}
	d = direct_enter(s, &err);
	if (!d)
		return err == -EBADF ? DIRECT_NOT_OURS : err;
	err = disconnect(d);
	net_leave();
	return err;
}

/* ---- state ---- */

void direct_look(struct direct *d)
{
	const struct tcb *t = net_stack->inst_conn_tcb(d->conn);
	int err = net_stack->tcp_error(t);

	if (err && !d->failed) {
		d->failed = true;
		d->error = err;
	}
	if (d->stage == DIRECT_CONNECTING && net_stack->tcp_state(t) != TCP_ST_SYN_SENT &&
	    net_stack->tcp_state(t) != TCP_ST_SYN_RCVD && net_stack->tcp_state(t) != TCP_ST_CLOSED)
		d->stage = DIRECT_CONNECTED;
}

int direct_error_take(struct direct *d)
{
	int err = d->error;

	d->error = 0;
	return -err;
}

/* To the kernel a socket in TIME-WAIT is closed. */
bool direct_gone(const struct direct *d)
{
	enum tcp_state st = net_stack->tcp_state(net_stack->inst_conn_tcb(d->conn));

	return st == TCP_ST_CLOSED || st == TCP_ST_TIME_WAIT;
}

/* The peer has sent its FIN, however much before it is unread. */
static bool fin_came(const struct direct *d)
{
	switch (net_stack->tcp_state(net_stack->inst_conn_tcb(d->conn))) {
	case TCP_ST_CLOSE_WAIT:
	case TCP_ST_CLOSING:
	case TCP_ST_LAST_ACK:
	case TCP_ST_TIME_WAIT:
	case TCP_ST_CLOSED: return true;
	default: return false;
	}
}

/* As tcp_poll() of the kernel has it. */
short direct_bits(struct direct *d)
{
	const struct tcb *t;
	bool gone, end;
	short bits = 0;

	if (d->at)
		return direct_waiting(d) ? POLLIN | POLLRDNORM : 0;
	direct_look(d);
	t = net_stack->inst_conn_tcb(d->conn);
	gone = direct_gone(d);
	end = d->rd_shut || fin_came(d);
	if (d->stage == DIRECT_CONNECTING && !gone)
		return 0;
	if (gone || (end && d->wr_shut))
		bits |= POLLHUP;
	if (end)
		bits |= POLLRDHUP;
	if (end || net_stack->tcp_readable(t) >= d->lowat)
		bits |= POLLIN | POLLRDNORM;
	if (gone || d->wr_shut || net_stack->tcp_send_space(t))
		bits |= POLLOUT | POLLWRNORM;
	if (d->error)
		bits |= POLLERR;
	return bits;
}

short direct_ready(struct sock *s, short want, bool drive)
{
	int err;
	struct direct *d = direct_enter(s, &err);
	short bits;

	if (!d)
		return 0;
	if (drive)
		net_drive();
	bits = direct_bits(d);
	net_leave();
	return (short)(bits & (want | POLLHUP | POLLERR));
}

bool direct_is_connection(const struct sock *s)
{
	return SHM_READ(s->stage) == SOCK_DIRECT;
}

/* A turn of the wire is often shorter than a sleep. Return: true, and the lock is left, when something happened. */
static bool spin(struct wait_signals *sig)
{
	struct net_inst *in = thread_self.inside;
	const uint64_t seen = in->happenings;
	struct wait_spin w;

	wait_spin_begin(&w, NULL, sig);
	wait_spin_wire(&w);
	while (w.budget && in->happenings == seen) {
		net_leave(); /* for the others */
		w.budget = wait_spin_turn(&w) ? w.budget : 0;
		if (!net_enter(in))
			return true;
		net_drive();
	}
	if (in->happenings == seen)
		return false;
	wait_spin_end(true, 0);
	net_leave();
	return true;
}

int direct_wait(struct pollfd *p, unsigned np, uint64_t until, struct wait_signals *sig)
{
	unsigned insts = 1u << net_no(thread_self.inside);
	struct shm_waker *w = thread_waker();
	const sigset_t *mask;
	uint64_t begun;
	bool left;
	int err;

	if (!np && spin(sig))
		return 0;
	begun = thread_now();
	if (w)
		net_waiter_add(w->efd);
	tend_sleep(insts);
	net_leave();
	wait_signals_hold(sig);
	mask = wait_signals_mask(sig, NULL, &left);
	err = net_sleep(p, np, wait_left_until(until, left), insts, mask);
	wait_spin_end(false, thread_now() - begun);
	net_waiters_remove(insts);
	if (!err && until && thread_now() >= until)
		err = -EAGAIN;
	return err;
}

void direct_event(void *user, unsigned events)
{
	struct direct *d = user;
	bool told;

	(void)events;
	d->gen += !d->at;
	if (unlikely(d->relayed)) {
		direct_relay_due(d);
		return;
	}
	told = d->sock && ep_direct_woken(d->sock);
	if (unlikely(d->at))
		direct_listen_event(d, told);
}

/* ---- the end ---- */

/* In the lock. */
static void let_go(struct direct *d)
{
	ztime_t now = (ztime_t)thread_now();

	if (d->linger_s == 0)
		net_stack->inst_abort(d->net->in, d->conn, now);
	else
		net_stack->inst_close(d->net->in, d->conn, now);
}

/* In the lock: nobody here has it any more. Children that do get it. */
static void end_one(struct direct *d, struct sock *s, bool ends)
{
	if (!s || !direct_fork_shared(d, s->row)) {
		let_go(d);
	} else if (!direct_lower_away(d, s, ends)) {
		let_go(d);
		direct_fork_give(d->forks, s->row, -1);
	}
}

void direct_end(struct sock *s)
{
	int err;
	struct direct *d = SHM_FOLLOW(s->direct);

	if (d && !d->of && !d->at) /* the parent's, and not used here */
		SHM_PUBLISH(s->direct, NULL);
	d = direct_enter(s, &err);
	if (!d)
		return;
	SHM_PUBLISH(s->direct, NULL);
	if (d->at) {
		net_leave();
		direct_listen_end(d);
		return;
	}
	end_one(d, s, false);
	if (likely(!d->relayed)) {
		direct_spare_give(d, s);
		direct_free(d);
	}
	net_drive();
	net_leave();
}

static void conns_close(void)
{
	base_list_for_each_safe(node, conns_of(thread_self.inside))
	{
		struct direct *d = base_container_of(node, struct direct, all);

		if (d->sock)
			SHM_PUBLISH(d->sock->direct, NULL);
		end_one(d, d->sock, true);
		direct_free(d);
	}
}

void direct_close_all(void)
{
	direct_disarm();
	conns_close();
	direct_relays_close();
}

void direct_forked(struct sock *s)
{
	struct direct *d = s->direct;

	direct_hold_forked(s);
	if (!d)
		return;
	if (d->at) { /* opened anew when this process waits for it */
		direct_listen_forked(d);
		return;
	}
	base_list_remove(&d->all); /* the other's, as are all that it points to */
	if (atomic_load(&direct_heir)) {
		d->of = NULL;
		return;
	}
	/* what is left is an unconnected socket that nobody follows */
	atomic_fetch_sub(&s->row->refs, 1);
	SHM_PUBLISH(s->row, NULL);
	SHM_PUBLISH(s->direct, NULL);
	SHM_PUBLISH(s->stage, SOCK_SETTLED);
}
