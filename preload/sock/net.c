/* net.c - the interfaces of the stack in this process, and the stacks on them */
#include "preload/sock/net.h"

#include "preload/real.h"
#include "preload/sock/agent.h"
#include "preload/sock/conf.h"
#include "preload/sock/direct.h"
#include "preload/sock/tend.h"
#include "preload/sock/thread.h"
#include "shm/shm_fd.h"
#include "stack/base/base_check.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum {
	NET_RETRY_MS = 1000, /* between two tries to open an interface */
	NET_TURNS = 16,      /* batches of frames in one go */
	NET_WAITERS = 64, /* threads that can be rung; more of them look again every NET_DEAF_MS */
	NET_DEAF_MS = 1,
	NET_EXIT_MS = 2000,
	NET_HOLD_BYTES = 4096, /* longer answers wait for nobody */
	NET_HOLD_US = 200,     /* nobody should have waited for so long */
	NET_DISTRUST_MS = 1000,
	NET_EXIT_LOOK_MS = 10,
};

#define NET_POOL_BYTES ((size_t)1 << 30)   /* limit of the buffers of one stack */
#define NET_REF_BYTES  ((size_t)256 << 20) /* address space for references to payload */
#define NET_CONNS      (1u << 18)          /* of one stack; memory as they come */

struct net net_of[NET_MAX];
const struct ztcp_stack *net_stack;
_Atomic unsigned net_open_mask;

static _Atomic uint32_t lock;
static _Atomic uint64_t driven; /* times so far; written in the lock */
static uint64_t
	held_since; /* thread_now() when the first answer that waits was written; 0: none does */
static uint64_t hold_again; /* until then none is to wait */
static uint64_t happenings;
static bool happened; /* since the last net_ring() */
static uint64_t
	again; /* thread_now() at which listeners without a stack look for one; 0: none does */

static struct {
	struct policy_ifaces all;
	uint16_t why;
	_Atomic bool read;
} file;

static struct waiter {
	uint32_t tid; /* 0: free */
	int efd;
} waiters[NET_WAITERS];
static bool waiters_full;

/* ---- the file ---- */

static void say(const char *text)
{
	sys(SYS_write, 2, text, strlen(text));
}

static void file_read(void)
{
	struct policy_error err;
	int rc = policy_ifaces_load(conf.interfaces ? conf.interfaces : POLICY_IFACES_FILE,
				    &file.all, &err);

	file.why = REASON_NO_INTERFACE;
	if (rc && (rc != -ENOENT || conf.interfaces)) {
		char line[640], text[512];

		file.why = REASON_BAD_INTERFACES;
		policy_error_format(&err, text, sizeof(text));
		snprintf(line, sizeof(line), "ztcp: %s; no connection goes through a stack\n",
			 text);
		say(line);
	}
}

const struct policy_ifaces *net_ifaces(enum reason *why)
{
	if (unlikely(!atomic_load(&file.read))) {
		bool taken = shm_lock(&lock, thread_tid());

		if (taken && !atomic_load(&file.read)) {
			file_read();
			atomic_store(&file.read, true);
		}
		shm_unlock(&lock, taken);
	}
	*why = (enum reason)file.why;
	return &file.all;
}

/* ---- the lock ---- */

bool net_enter(void)
{
	return shm_lock(&lock, thread_tid());
}

void net_leave(void)
{
	shm_unlock(&lock, true);
}

/* ---- opening ---- */

/* Beside this library, whatever its folder. */
static const struct ztcp_stack *stack_load(void)
{
	const struct ztcp_stack *stack = NULL;
	char path[4096];
	const char *slash;
	Dl_info self;
	void *so;

	if (!dladdr(&lock, &self) || !(slash = strrchr(self.dli_fname, '/')) ||
	    (size_t)(slash - self.dli_fname) + sizeof("/" ZTCP_STACK_LIBRARY) > sizeof(path))
		return NULL;
	memcpy(path, self.dli_fname, (size_t)(slash - self.dli_fname));
	memcpy(path + (slash - self.dli_fname), "/" ZTCP_STACK_LIBRARY,
	       sizeof("/" ZTCP_STACK_LIBRARY));
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (so)
		stack = dlsym(so, ZTCP_STACK_SYMBOL);
	return stack && stack->version == ZTCP_STACK_VERSION ? stack : NULL;
}

/* In the lock: descriptors of the device that is being opened. */
static struct net *opening;

static int fd_keep(int fd)
{
	int copy = (int)sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0), high = shm_fd_hide(fd);

	if (high < 0)
		high = copy;
	else
		sys(SYS_close, copy);
	if (opening->nfds < NET_DEVICE_FDS)
		opening->fds[opening->nfds++] = high;
	return high;
}

/* The device has closed them. */
static void fds_forget(struct net *n)
{
	for (unsigned i = 0; i < n->nfds; i++)
		shm_fd_forget(n->fds[i]);
	n->nfds = 0;
}

static enum reason reason_of(int err)
{
	switch (-err) {
	case EPERM:
	case EACCES: return REASON_DEVICE_REFUSED;
	case EBUSY:
	case EEXIST: return REASON_DEVICE_BUSY;
	case EINVAL: return REASON_BAD_INTERFACES;
	case ENODEV:
	case ENOENT:
	case ENXIO:
	case ENOSYS:
	case EOPNOTSUPP: return REASON_NO_DEVICE;
	default: return REASON_DEVICE_FAILED;
	}
}

static union wire_addr addr_of(const struct policy_net *p)
{
	return p->family == 4 ? wire_addr_v4_bytes(p->ip) : wire_addr_v6_bytes(p->ip);
}

/* Addresses and routes of the file. A gateway without a route leads everywhere. */
static void configure(const struct policy_iface *f, struct ip *ip, ztime_t now)
{
	bool routed[2] = { false, false };

	for (unsigned k = 0; k < f->addrs; k++) {
		union wire_addr a = addr_of(&f->addr[k]);

		net_stack->ip_addr_add(ip, &a, f->addr[k].bits, now);
	}
	for (unsigned k = 0; k < f->routes; k++) {
		const struct policy_net *r = &f->route[k], *g = &f->gateway[r->family == 6];
		union wire_addr to = addr_of(r), via = addr_of(g);

		routed[r->family == 6] = true;
		net_stack->ip_route_add(ip, &to, r->bits, &via, 0);
	}
	for (unsigned k = 0; k < 2; k++) {
		static const union wire_addr any6;
		const union wire_addr any = k ? any6 : wire_addr_v4(0);
		union wire_addr via = addr_of(&f->gateway[k]);

		if (f->gateway[k].family && !routed[k])
			net_stack->ip_route_add(ip, &any, 0, &via, 0);
	}
}

static enum reason stack_start(struct net *n, const struct policy_iface *f,
			       struct zbuf_mem_pool *pool)
{
	ztime_t now = (ztime_t)thread_now();
	struct inst_config cfg;

	net_stack->inst_config_defaults(&cfg);
	if (sys(SYS_getrandom, &cfg.key, sizeof(cfg.key), 0) != sizeof(cfg.key))
		return REASON_DEVICE_FAILED;
	cfg.conns_max = NET_CONNS;
	cfg.listeners_max = 1024;
	cfg.pool_bytes = NET_REF_BYTES;
	if (f->mtu && f->mtu < n->dev->mtu)
		n->dev->mtu = (uint16_t)f->mtu;
	n->z = net_stack->ztcp_new(n->dev, pool, &cfg, now);
	if (!n->z)
		return REASON_STACK_FULL;
	n->in = net_stack->ztcp_inst(n->z);
	n->fd = dev_fd(n->dev);
	n->shared = f->shared;
	configure(f, net_stack->inst_ip(n->in), now);
	return REASON_NONE;
}

static enum reason device_start(struct net *n, const struct policy_iface *f, struct dev_error *err)
{
	struct dev_conf dc = { .agent = agent_lessor, .fd_keep = fd_keep, .hasty = n->retry != 0 };
	struct zbuf_mem_pool *pool;
	enum reason why;
	int rc;

	pool = net_stack->zbuf_mem_pool_new(NET_POOL_BYTES, ZBUF_PAGES_ANY);
	if (!pool)
		return REASON_STACK_FULL;
	net_stack->zbuf_wire_ops(pool, &dc.buf);
	opening = n;
	rc = net_stack->dev_open(f->device, &dc, &n->dev, err);
	why = rc ? reason_of(rc) : stack_start(n, f, pool);
	if (why == REASON_NONE)
		return why;
	if (!rc)
		dev_close(n->dev);
	fds_forget(n);
	net_stack->zbuf_mem_pool_free(pool);
	return why;
}

/* Once for each interface; that another process has the device is no surprise and not told. */
static void explain_failure(struct net *n, const struct policy_iface *f, const char *text)
{
	char line[512];

	if (n->said || n->reason == REASON_DEVICE_BUSY)
		return;
	n->said = true;
	snprintf(line, sizeof(line),
		 "ztcp: interface %s: %s (%s); its connections stay on the kernel\n", f->name,
		 text[0] ? text : reason_sentence(n->reason), reason_name(n->reason));
	say(line);
}

static bool library(void)
{
	if (!net_stack)
		net_stack = stack_load();
	return net_stack;
}

/* For questions to the kernel, which need no lock. */
static bool library_once(void)
{
	bool there;

	if (!net_enter())
		return false;
	there = library();
	net_leave();
	return there;
}

bool net_route_to(unsigned i, const union wire_addr *to, uint32_t ifindex, union wire_addr *from)
{
	return library_once() &&
	       net_stack->dev_route_to(file.all.iface[i].device, to, ifindex, from);
}

bool net_route_of(unsigned i, const union wire_addr *addr)
{
	return library_once() && net_stack->dev_route_of(file.all.iface[i].device, addr);
}

struct net *net_open(unsigned i, enum reason *why)
{
	const struct policy_iface *f = &file.all.iface[i];
	struct dev_error err = { "" };
	struct net *n = &net_of[i];

	if (likely(n->z))
		return n;
	if (thread_now() < n->retry) {
		*why = (enum reason)n->reason;
		return NULL;
	}
	n->reason = (uint16_t)(library() ? device_start(n, f, &err) : REASON_NO_STACK_LIBRARY);
	if (n->reason == REASON_NONE) {
		atomic_fetch_or(&net_open_mask, 1u << i);
		tend_start();
		return n;
	}
	n->z = NULL;
	n->retry = thread_now() + NET_RETRY_MS * UINT64_C(1000000);
	explain_failure(n, f, err.text);
	*why = (enum reason)n->reason;
	return NULL;
}

/* ---- driving ---- */

static void events(struct net *n)
{
	struct inst_event ev;

	while (net_stack->ztcp_event(n->z, &ev)) {
		if (!ev.user)
			continue;
		direct_event(ev.user, ev.events);
		happened = true;
		happenings++;
	}
}

uint64_t net_happenings(void)
{
	return happenings;
}

/* In the lock: nothing waits any longer; it was to be for a moment. */
static void held_end(void)
{
	uint64_t now;

	if (likely(!held_since))
		return;
	now = thread_now();
	if (now - held_since > NET_HOLD_US * UINT64_C(1000))
		hold_again = now + NET_DISTRUST_MS * UINT64_C(1000000);
	held_since = 0;
}

uint64_t net_driven(void)
{
	return atomic_load_explicit(&driven, memory_order_relaxed);
}

static void driven_note(void)
{
	atomic_store_explicit(&driven, net_driven() + 1, memory_order_relaxed);
	tend_driven();
}

void net_drive(void)
{
	for (unsigned i = 0; i < NET_MAX; i++) {
		struct net *n = &net_of[i];

		for (unsigned turn = 0; n->z && turn < NET_TURNS; turn++) {
			unsigned moved = net_stack->ztcp_poll(n->z, (ztime_t)thread_now());

			events(n);
			if (!moved)
				break;
		}
	}
	if (unlikely(again) && thread_now() >= again) {
		again = 0;
		direct_arm_all();
	}
	held_end();
	driven_note();
	net_ring();
}

void net_again(void)
{
	if (!again)
		again = thread_now() + NET_RETRY_MS * UINT64_C(1000000);
}

void net_push(struct net *n)
{
	net_stack->ztcp_flush(n->z, (ztime_t)thread_now());
	events(n);
	held_end();
	driven_note();
	net_ring();
}

void net_round(unsigned events)
{
	thread_self.round = (uint16_t)BASE_MIN(events, UINT16_MAX);
}

void net_push_with(struct net *n, size_t bytes)
{
	struct thread *t = &thread_self;

	if (t->round && bytes)
		t->round--;
	if (!t->round || bytes > NET_HOLD_BYTES) {
		net_push(n);
	} else if (!held_since && bytes) {
		uint64_t now = thread_now();

		if (now < hold_again)
			net_push(n);
		else
			held_since = now;
	}
}

void net_ring(void)
{
	const uint64_t one = 1;

	if (likely(!happened))
		return;
	happened = false;
	for (unsigned i = 0; i < NET_WAITERS; i++) {
		if (waiters[i].tid && waiters[i].tid != thread_tid())
			sys(SYS_write, waiters[i].efd, &one, sizeof(one));
	}
}

static struct waiter *waiter_of(uint32_t tid)
{
	for (unsigned i = 0; i < NET_WAITERS; i++) {
		if (waiters[i].tid == tid)
			return &waiters[i];
	}
	return NULL;
}

void net_waiter_add(int efd)
{
	struct waiter *w = waiter_of(thread_tid());

	if (!w)
		w = waiter_of(0);
	waiters_full = !w;
	if (w)
		*w = (struct waiter){ thread_tid(), efd };
}

void net_waiter_remove(void)
{
	struct waiter *w = waiter_of(thread_tid());

	if (w)
		w->tid = 0;
}

void net_thread_end(void)
{
	tend_sleep(false);
	if (net_any() && net_enter()) {
		net_waiter_remove();
		net_leave();
	}
}

/* ---- sleeping ---- */

uint64_t net_deadline(void)
{
	uint64_t at = UINT64_MAX;

	if (!net_enter())
		return 0;
	for (unsigned i = 0; i < NET_MAX; i++) {
		ztime_t d = net_of[i].z ? net_stack->ztcp_deadline(net_of[i].z) : ZTIME_NEVER;
		uint64_t t = d == ZTIME_NEVER ? UINT64_MAX : d < 0 ? 0 : (uint64_t)d;

		/* a device that nothing can sleep on is looked at again and again */
		if (net_of[i].z && (net_of[i].fd < 0 || waiters_full))
			t = BASE_MIN(t, thread_now() + NET_DEAF_MS * UINT64_C(1000000));
		at = t < at ? t : at;
	}
	if (again && again < at)
		at = again;
	net_leave();
	return at;
}

unsigned net_fds(struct pollfd *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NET_MAX; i++) {
		if (net_of[i].z && net_of[i].fd >= 0)
			p[n++] = (struct pollfd){ .fd = net_of[i].fd, .events = POLLIN };
	}
	return n;
}

int net_sleep(struct pollfd *p, uint64_t until)
{
	struct shm_waker *w = thread_waker();
	struct pollfd set[NET_MAX + 2] = { *p };
	uint64_t at = net_deadline(), now = thread_now();
	struct timespec ts;
	unsigned n = 1;
	int ret, err;

	n += net_fds(set + n);
	if (w)
		set[n++] = (struct pollfd){ .fd = w->efd, .events = POLLIN };
	if (until && until < at)
		at = until;
	at = at > now ? at - now : 0;
	ts = (struct timespec){ (time_t)(at / 1000000000), (long)(at % 1000000000) };
	ret = real.ppoll(set, n, at == UINT64_MAX - now ? NULL : &ts, NULL);
	err = ret < 0 ? -errno : 0;
	p->revents = ret > 0 ? set[0].revents : 0;
	if (ret > 0 && w && set[n - 1].revents)
		shm_waker_drain(w);
	return err == -EINTR ? err : 0;
}

/* ---- fork and end ---- */

void net_fork_lock(bool take)
{
	static bool taken;

	if (take)
		taken = shm_lock(&lock, thread_tid());
	else
		shm_unlock(&lock, taken);
}

void net_forked(void)
{
	atomic_store(&lock, 0);
	again = held_since = 0;
	memset(waiters, 0, sizeof(waiters));
	tend_forked();
	atomic_store(&net_open_mask, 0);
	for (unsigned i = 0; i < NET_MAX; i++) {
		/* the memory stays as it is: the stack in it is the parent's */
		for (unsigned k = 0; net_of[i].z && k < net_of[i].nfds; k++)
			shm_fd_close(net_of[i].fds[k]);
		net_of[i] = (struct net){ .said = net_of[i].said };
	}
}

static bool delivered(void)
{
	for (unsigned i = 0; i < NET_MAX; i++) {
		if (net_of[i].z && net_stack->inst_pool_used(net_of[i].in))
			return false;
	}
	return true;
}

/* What it has named is given back, so that nothing is left for the next one to clear away. */
static void device_end(struct net *n)
{
	struct ztcp *z = n->z;

	if (!z)
		return;
	n->z = NULL;
	n->retry = UINT64_MAX;
	n->reason = REASON_NO_DEVICE;
	net_stack->ztcp_free(z);
	dev_close(n->dev);
	fds_forget(n);
}

void net_exit(void)
{
	uint64_t end = thread_now() + NET_EXIT_MS * UINT64_C(1000000);

	if (!net_any() || !net_enter())
		return;
	direct_close_all();
	for (;;) {
		struct pollfd set[NET_MAX];
		struct timespec ts = { 0, NET_EXIT_LOOK_MS * 1000000 };

		net_drive();
		if (delivered() || thread_now() >= end)
			break;
		sys(SYS_ppoll, set, net_fds(set), &ts, 0, 8);
	}
	for (unsigned i = 0; i < NET_MAX; i++)
		device_end(&net_of[i]);
	atomic_store(&net_open_mask, 0);
	net_leave();
}
