/* direct_listen.c - listening on the stack of this process and in the kernel at once
 *
 * listen() notes what is wanted; the stack is opened when the program first waits for a connection, so that a master
 * process that only hands its sockets to workers never opens a device. Where that fails, the kernel's queue alone serves, and it is
 * tried again now and then: the process that had the device may have ended.
 *
 * Each instance whose thread waits for a listener serves it on its own queue. Its thread comes for these connections when an epoll set of
 * the instance tells it of them. Otherwise it may be busy for long (accept() in several threads, each of which then serves its
 * connection), and they stray: whoever waits for the listener is told, and takes one.
 */
#include "preload/sock/direct_priv.h"
#include "preload/sock/ep.h"
#include "preload/sock/thread.h"
#include "preload/sock/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>

struct listener {
	struct direct d;
	struct direct_at at[NET_INSTS];
};

/* In net_listening, outside of instances with signals blocked. */
static struct base_list listeners = { &listeners, &listeners };
static struct base_list spare = { &spare, &spare };

static struct listener *listener_map(void)
{
	long addr = sys(SYS_mmap, 0, sizeof(struct listener), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return addr < 0 && addr > -4096 ? NULL : (struct listener *)addr;
}

static struct direct *listener_new(void)
{
	struct base_list *node = base_list_pop_head(&spare);
	struct listener *l;

	if (node) {
		l = base_container_of(node, struct listener, d.all);
		memset(l, 0, sizeof(*l));
	} else {
		l = listener_map();
		if (!l)
			return NULL;
	}
	l->d.at = l->at;
	l->d.give = l->d.take = -1;
	base_list_push_tail(&listeners, &l->d.all);
	return &l->d;
}

static struct direct_at *at_here(const struct direct *d)
{
	return &d->at[net_no(thread_self.inside)];
}

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

static bool open_here(struct direct *d);

/* Of a wildcard, 1: IPv4, 2: IPv6. */
static uint8_t families_of(int fd, const struct policy_addr *local)
{
	static const uint8_t any[16];
	socklen_t len = sizeof(int);
	int only = 0;

	if (local->family == 4)
		return 1;
	sys(SYS_getsockopt, fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len);
	return memcmp(local->ip, any, sizeof(any)) == 0 && !only ? 3 : 2;
}

static void listen_note(struct sock *s, const struct direct *want, bool found)
{
	uint64_t mask = thread_signals_block();
	bool taken = shm_lock(&net_listening, thread_tid());
	struct direct *d = s->direct ? s->direct : listener_new();

	if (d) {
		d->sock = want->sock;
		d->nets = want->nets;
		d->backlog = want->backlog;
		d->six = want->six;
		d->flow = want->flow;
		d->families = want->families;
		if (!d->hand)
			direct_hand_open(d, found);
		SHM_PUBLISH(s->direct, d);
	}
	shm_unlock(&net_listening, taken);
	thread_signals_restore(mask);
}

/* Stacks that listen already. */
static void backlog_set(const struct direct *d)
{
	for (unsigned n = 0; n < NET_INSTS * NET_MAX * 2; n++) {
		const unsigned k = n / 2 / NET_MAX;
		struct inst_listener *l;

		if (!(atomic_load(&net_used) & 1u << k) || !net_enter(&net_insts[k]))
			continue;
		l = d->at[k].listener[n / 2 % NET_MAX][n % 2];
		if (l)
			net_stack->inst_listener_tcp(l)->backlog = (uint32_t)d->backlog;
		net_leave();
	}
}

void direct_listen(struct sock *s, int fd, int backlog, bool found)
{
	struct sockaddr_storage sa;
	const struct policy_ifaces *all;
	struct policy_addr local;
	const struct direct *before = SHM_FOLLOW(s->direct);
	enum reason why;
	unsigned nets;

	all = net_ifaces(&why);
	if (!all->count || s->row || !direct_name_of(fd, &sa))
		return;
	policy_addr_set(&local, &sa);
	if (!direct_wanted(POLICY_ROLE_LISTEN, &local, NULL, &why))
		return;
	nets = interfaces_of(all, &local);
	if (!nets || thread_self.inside)
		return;
	listen_note(s,
		    &(struct direct){ .sock = s,
				      .nets = (uint8_t)nets,
				      .backlog = backlog > 0 ? backlog : 1,
				      .six = sa.ss_family == AF_INET6,
				      .flow.local = direct_wire_of(&local),
				      .flow.lport = local.port,
				      .families = families_of(fd, &local) },
		    found);
	if (before)
		backlog_set(before);
	if (net_mine_open() && SHM_FOLLOW(s->direct) && net_enter(net_mine())) {
		open_here(s->direct);
		net_leave();
	}
	ep_direct_adopt(s);
}

static void listen_on(struct direct *d, unsigned i)
{
	struct direct_at *at = at_here(d);
	enum reason why = REASON_NONE;
	struct net *n = net_open(i, &why);
	int err;

	at->why = (uint16_t)why;
	for (unsigned k = 0; n && k < 2; k++) {
		union wire_addr to = d->flow.local;

		if (!(d->families & 1u << k) || at->listener[i][k])
			continue;
		if (wire_addr_is_any(&to) && k == 0)
			to = wire_addr_v4(0);
		err = net_stack->ztcp_listen(n->z, &to, d->flow.lport, (uint32_t)d->backlog, d,
					     &at->listener[i][k]);
		if (!err)
			direct_hand_serves(d, true);
		if (err) {
			at->listener[i][k] = NULL;
			at->why = err == -EACCES   ? REASON_LEASE_REFUSED
				  : err == -EDQUOT ? REASON_LEASE_LIMIT
						   : REASON_STACK_FULL;
		}
	}
}

void direct_listen_arm(struct direct *d)
{
	struct direct_at *at = at_here(d);
	bool lacks = false;

	at->armed = true;
	if (direct_hand_stranger(d) || at->given_up) {
		at->why = REASON_PASSED;
		direct_hand_give_up(d);
		if (direct_hand_stranger(d) || at->given_up)
			return;
	}
	for (unsigned i = 0; i < NET_MAX; i++) {
		if (d->nets & 1u << i && !at->listener[i][0] && !at->listener[i][1])
			listen_on(d, i);
		lacks |= d->nets & 1u << i && !at->listener[i][0] && !at->listener[i][1];
	}
	if (lacks)
		net_again();
}

/* A listener, in the lock of the thread's instance, which it gets if it has none. Return: NULL: it is none, or not in the lock. */
static struct direct *listener_enter(struct sock *s, int *err)
{
	struct direct *d = SHM_FOLLOW(s->direct);

	if (d && d->at)
		net_join(d->nets);
	d = direct_enter(s, err);
	if (d && !d->at) {
		net_leave();
		return NULL;
	}
	return d;
}

void direct_arm(struct sock *s)
{
	int err;
	struct direct *d = listener_enter(s, &err);

	if (!d)
		return;
	direct_listen_arm(d);
	net_leave();
}

static enum reason accept_reason(const struct sock *s)
{
	const struct direct *d = SHM_FOLLOW(s->direct);

	return d && d->at ? (enum reason)d->at[net_no(net_mine())].why : REASON_NONE;
}

/* In this instance. */
static bool queue_waits(const struct direct *d)
{
	const struct direct_at *at = at_here(d);

	for (unsigned i = 0; i < NET_MAX; i++) {
		for (unsigned k = 0; k < 2; k++) {
			if (at->listener[i][k] &&
			    net_stack->inst_listener_tcp(at->listener[i][k])->n_ready)
				return true;
		}
	}
	return false;
}

bool direct_waiting(const struct direct *d)
{
	return queue_waits(d) || atomic_load_explicit(&d->strays, memory_order_relaxed) ||
	       direct_handed(d);
}

uint32_t direct_gen(const struct direct *d)
{
	return d->at ? at_here(d)->gen : d->gen;
}

void direct_listen_event(struct direct *d, bool told)
{
	at_here(d)->gen++;
	if (told && thread_self.net == net_no(thread_self.inside) + 1)
		return;
	if (!(atomic_load(&net_used) & ~(1u << net_no(thread_self.inside))))
		return;
	atomic_fetch_or(&d->strays, 1u << net_no(thread_self.inside));
	net_stray();
}

/* In an instance's lock: @f of each listener, until one says so. */
static bool each_listener(bool (*f)(struct direct *d))
{
	bool taken = shm_lock(&net_listening, thread_tid()), so = false;

	base_list_for_each(node, &listeners)
	{
		so = f(base_container_of(node, struct direct, all));
		if (so)
			break;
	}
	shm_unlock(&net_listening, taken);
	return so;
}

static bool strays_here(struct direct *d)
{
	return atomic_load(&d->strays) & 1u << net_no(thread_self.inside);
}

static bool hand_waiting(struct direct *d)
{
	direct_hand_waiting(d);
	return false;
}

void direct_left_alone(void)
{
	each_listener(hand_waiting);
}

bool direct_strays(void)
{
	return each_listener(strays_here);
}

static bool stray_tell(struct direct *d)
{
	if (atomic_load(&d->strays) && at_here(d)->armed && d->sock) {
		at_here(d)->gen++;
		ep_direct_woken(d->sock);
	}
	return false;
}

void direct_strays_tell(void)
{
	each_listener(stray_tell);
}

/* The first of the queue. In the lock. */
static bool accept_one(const struct direct *d, struct direct *to)
{
	struct direct_at *at = at_here(d);

	for (unsigned i = 0; i < NET_MAX; i++) {
		for (unsigned k = 0; k < 2; k++) {
			if (!at->listener[i][k])
				continue;
			to->net = &thread_self.inside->net[i];
			to->conn = net_stack->inst_accept(to->net->in, at->listener[i][k], to);
			if (to->conn)
				return true;
		}
	}
	return false;
}

/* Bits of SO_BUF_LOCK: <linux/socket.h> and libc's header exclude each other. */
enum { LOCK_SNDBUF = 1, LOCK_RCVBUF = 2 };

/* The sizes of buffers that the program has set. The kernel gives back the double. */
static void inherit_buffers(int from, int to)
{
	int locks = 0, size;
	socklen_t len = sizeof(locks);

	if (sys(SYS_getsockopt, from, SOL_SOCKET, SO_BUF_LOCK, &locks, &len) < 0)
		return;
	for (int i = 0; i < 2; i++) {
		int name = i ? SO_RCVBUF : SO_SNDBUF;

		len = sizeof(size);
		if (!(locks & (i ? LOCK_RCVBUF : LOCK_SNDBUF)) ||
		    sys(SYS_getsockopt, from, SOL_SOCKET, name, &size, &len) < 0)
			continue;
		size /= 2;
		sys(SYS_setsockopt, to, SOL_SOCKET, name, &size, sizeof(size));
	}
}

void direct_inherit(int from, int to)
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
	inherit_buffers(from, to);
}

/* Return: -errno. */
static int take_failed(struct direct *to, int fd)
{
	if (to && to->conn)
		net_stack->inst_abort(to->net->in, to->conn, (ztime_t)thread_now());
	if (to)
		direct_free(to);
	if (fd < 0)
		return fd;
	sock_close(fd);
	sys(SYS_close, fd);
	return -ENOBUFS;
}

/* The first of the queue becomes @s. In the lock. */
static bool take_into(struct direct *d, struct direct *to, struct sock *s,
		      const struct direct_accepting *a, bool fresh)
{
	if (fresh)
		SHM_WRITE(s->fresh, SOCK_FRESH_OPTIONS);
	else
		direct_inherit(a->listener, s->fd);
	if (!accept_one(d, to))
		return false;
	to->six = d->six;
	to->stage = DIRECT_CONNECTED;
	to->told = true;
	to->flow = *net_stack->inst_conn_flow(to->conn);
	return direct_become(s, to, STATS_ACCEPT, a->flags & SOCK_NONBLOCK);
}

/* In the lock; something waits. Return: the new descriptor or -errno. */
static int take_one(struct direct *d, const struct direct_accepting *a)
{
	const bool fresh = d->sock && SHM_READ(d->sock->fresh) & SOCK_FRESH_OPTIONS;
	struct direct *to = direct_alloc();
	struct sockaddr_storage full;
	struct sock *s = NULL;
	int fd = -ENOBUFS;

	if (to)
		s = direct_spare_accept(d->six, a->flags, fresh, &fd);
	if (!s || !take_into(d, to, s, a, fresh))
		return take_failed(to, fd);
	direct_name_copy(a->sa, a->len, &full,
			 direct_sockaddr_of(d->six, &to->flow.remote, to->flow.rport, &full));
	return fd;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec zero = { 0, 0 };

	return sys(SYS_ppoll, &p, 1, &zero, 0, 8) > 0;
}

/* The last one may have been taken. In the lock. */
static void strays_end(struct direct *d)
{
	if (unlikely(strays_here(d)) && !queue_waits(d))
		atomic_fetch_and(&d->strays, ~(1u << net_no(thread_self.inside)));
}

/* One that strays, of another instance. Return: the new descriptor, -errno, DIRECT_NOT_OURS: none. */
static int take_stray(struct sock *s, const struct direct_accepting *a)
{
	struct direct *d = SHM_FOLLOW(s->direct);
	int got = DIRECT_NOT_OURS;

	for (unsigned k = 0; got == DIRECT_NOT_OURS && d && k < NET_INSTS; k++) {
		if (!(atomic_load(&d->strays) & 1u << k) || !net_enter(&net_insts[k]))
			continue;
		if (SHM_FOLLOW(s->direct) == d && queue_waits(d))
			got = take_one(d, a);
		strays_end(d);
		net_leave();
	}
	return got;
}

/* One that another process has handed over. Return: its descriptor, -1: none. */
static int take_handed(struct direct *d, struct direct_accepting *a)
{
	int fd = direct_hand_take(d, a->flags);

	if (likely(fd < 0))
		return -1;
	direct_inherit(a->listener, fd);
	sys(SYS_getpeername, fd, a->sa, a->len);
	a->kernels = true;
	a->why = REASON_PASSED;
	return fd;
}

/*
 * Of the kernel's queue, for who waits: other processes with the listener that have seen the same connection come do not block
 * there, deaf to the stack, when it has gone. In the lock. Return: the new descriptor, -errno, DIRECT_NOT_OURS: none.
 */
static int take_kernels(const struct direct *d, struct direct_accepting *a)
{
	bool taken = direct_hand_lock(d);
	int fd = DIRECT_NOT_OURS;

	if (readable(a->listener))
		fd = (int)sys(SYS_accept4, a->listener, a->sa, a->len, a->flags);
	direct_hand_unlock(d, taken);
	a->kernels = fd >= 0;
	return fd;
}

/* What is there at once. In the lock, which is left on any answer but DIRECT_NOT_OURS. */
static int accept_now(struct sock *s, struct direct *d, struct direct_accepting *a)
{
	int got = DIRECT_NOT_OURS;

	net_drive();
	if (queue_waits(d)) {
		got = take_one(d, a);
		strays_end(d);
		net_leave();
		return got;
	}
	if (atomic_load(&d->strays)) {
		net_leave();
		got = take_stray(s, a);
		return got == DIRECT_NOT_OURS ? -EAGAIN : got;
	}
	got = take_handed(d, a);
	if (likely(got < 0))
		return DIRECT_NOT_OURS;
	net_leave();
	return got;
}

/* In the lock, which is left. Return: 0 to look again, or what accept(2) answers. */
static int accept_wait(const struct direct *d, uint64_t until, struct direct_accepting *a)
{
	struct pollfd p[NET_SLEEP_OWN] = { { .fd = a->listener, .events = POLLIN },
					   { .fd = d->take, .events = POLLIN } };
	int err = direct_wait(p, NET_SLEEP_OWN, until, &a->sig);

	return err == -EINTR && !until && wait_restarts(&a->sig) ? 0 : err;
}

static uint64_t accept_until(int fd)
{
	struct timeval tv = { 0, 0 };
	socklen_t len = sizeof(tv);

	sys(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len);
	if (tv.tv_sec <= 0 && tv.tv_usec <= 0)
		return 0;
	return thread_now() + (uint64_t)tv.tv_sec * 1000000000 + (uint64_t)tv.tv_usec * 1000;
}

static int accept_loop(struct sock *s, struct direct_accepting *a)
{
	uint64_t until = 0;
	int mode = -1, err;

	for (;;) {
		struct direct *d = listener_enter(s, &err);

		if (!d)
			return DIRECT_NOT_OURS;
		direct_listen_arm(d);
		err = accept_now(s, d, a);
		if (err == -EAGAIN)
			continue;
		if (err != DIRECT_NOT_OURS)
			return err;
		if (mode < 0) {
			mode = (int)sys(SYS_fcntl, a->listener, F_GETFL);
			until = mode & O_NONBLOCK ? 0 : accept_until(a->listener);
		}
		if (mode & O_NONBLOCK || !d->hand) {
			net_leave();
			return DIRECT_NOT_OURS;
		}
		err = take_kernels(d, a);
		if (err != DIRECT_NOT_OURS) {
			net_leave();
			return err;
		}
		err = accept_wait(d, until, a);
		if (err)
			return err;
	}
}

int direct_accept(struct sock *s, int fd, struct direct_accepting *a)
{
	int ret;

	a->listener = fd;
	a->why = accept_reason(s);
	ret = accept_loop(s, a);
	wait_signals_release(&a->sig);
	return ret;
}

void direct_listen_close(struct direct *d)
{
	struct direct_at *at = at_here(d);

	for (unsigned i = 0; i < NET_MAX; i++) {
		for (unsigned k = 0; k < 2; k++) {
			if (at->listener[i][k])
				net_stack->ztcp_listener_close(thread_self.inside->net[i].z,
							       at->listener[i][k],
							       (ztime_t)thread_now());
			at->listener[i][k] = NULL;
		}
	}
	at->armed = at->given_up = false;
	direct_hand_serves(d, false);
	atomic_fetch_and(&d->strays, ~(1u << net_no(thread_self.inside)));
}

/* On each instance that is in use, in its lock. */
static void close_everywhere(struct direct *d)
{
	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (!(atomic_load(&net_used) & 1u << k) || !net_enter(&net_insts[k]))
			continue;
		if (d->nets) /* else it is shut down, for all */
			direct_hand_over(d);
		direct_listen_close(d);
		direct_arm_all(); /* one of the same port takes its place */
		net_drive();
		net_leave();
	}
}

void direct_listen_hand(struct direct *d)
{
	direct_hand_share(d, 1);
	close_everywhere(d);
	direct_hand_share(d, -1);
}

/* Nobody finds it any more; who has found it before is in one of the locks. */
void direct_listen_end(struct direct *d)
{
	uint64_t mask;
	bool taken;

	close_everywhere(d);
	mask = thread_signals_block();
	taken = shm_lock(&net_listening, thread_tid());
	d->sock = NULL;
	direct_hand_close(d);
	base_list_remove(&d->all);
	base_list_push_head(&spare, &d->all);
	shm_unlock(&net_listening, taken);
	thread_signals_restore(mask);
}

static bool open_here(struct direct *d)
{
	for (unsigned i = 0; i < NET_MAX; i++) {
		const struct net *n = &thread_self.inside->net[i];

		if (d->nets & 1u << i && n->z && !n->shared)
			listen_on(d, i);
	}
	return false;
}

void direct_listen_open(void)
{
	each_listener(open_here);
}

unsigned direct_listened(void)
{
	uint64_t mask = thread_signals_block();
	bool taken = shm_lock(&net_listening, thread_tid());
	unsigned nets = 0;

	base_list_for_each(node, &listeners)
		nets |= base_container_of(node, struct direct, all)->nets;
	shm_unlock(&net_listening, taken);
	thread_signals_restore(mask);
	return nets;
}

void direct_listen_stop(struct sock *s)
{
	struct direct *d = SHM_FOLLOW(s->direct);

	if (!d || !d->at)
		return;
	d->nets = 0;
	close_everywhere(d);
}

static bool arm_again(struct direct *d)
{
	if (at_here(d)->armed)
		direct_listen_arm(d);
	return false;
}

void direct_arm_all(void)
{
	each_listener(arm_again);
}

static bool disarm(struct direct *d)
{
	direct_hand_over(d);
	direct_listen_close(d);
	return false;
}

void direct_disarm(void)
{
	each_listener(disarm);
}

void direct_listen_forked(struct direct *d)
{
	memset(d->at, 0, NET_INSTS * sizeof(*d->at));
	atomic_store(&d->strays, 0);
}

void direct_listen_share(int sign)
{
	uint64_t mask = thread_signals_block();
	bool taken = shm_lock(&net_listening, thread_tid());

	base_list_for_each(node, &listeners)
		direct_hand_share(base_container_of(node, struct direct, all), sign);
	shm_unlock(&net_listening, taken);
	thread_signals_restore(mask);
}
