/* net.c - the interfaces of the stack in this process, and the stacks on them */
#include "preload/sock/net.h"

#include "preload/real.h"
#include "preload/sock/agent.h"
#include "preload/sock/conf.h"
#include "preload/sock/direct.h"
#include "preload/sock/publish.h"
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
	NET_EXIT_MS = 2000,
	NET_EXIT_LOOK_MS = 10,
};

#define NET_POOL_BYTES ((size_t)1 << 30)   /* limit of the buffers of one stack */
#define NET_REF_BYTES  ((size_t)256 << 20) /* address space for references to payload */
#define NET_CONNS      (1u << 18)          /* of one stack; memory as they come */

struct net_inst net_insts[NET_INSTS];
const struct ztcp_stack *net_stack;
_Atomic unsigned net_used, net_opened;
_Atomic uint32_t net_listening;

/* Inside it files are read, libraries and devices opened. Behind the instances' locks. */
static _Atomic uint32_t setup;

static struct {
	struct policy_ifaces all;
	uint16_t why;
	_Atomic bool read;
} file;

/* Of each interface: its failure was told. */
static bool said[NET_MAX];

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
		bool taken = shm_lock(&setup, thread_tid());

		if (taken && !atomic_load(&file.read)) {
			file_read();
			atomic_store(&file.read, true);
		}
		shm_unlock(&setup, taken);
	}
	*why = (enum reason)file.why;
	return &file.all;
}

/* ---- the lock ---- */

/* The lock has been given back, or was not to be had. */
static void outside(void)
{
	struct thread *t = &thread_self;
	bool quiet = t->inside_quiet;

	t->inside_quiet = false;
	atomic_signal_fence(memory_order_seq_cst);
	t->inside = NULL;
	if (unlikely(quiet))
		thread_signals_restore(t->inside_mask);
}

bool net_enter(struct net_inst *in)
{
	struct thread *t = &thread_self;

	if (unlikely(t->inside))
		return false;
	/* a handler that jumped away would leave the stack as it is in the middle of its work: they wait */
	if (unlikely(thread_jumps)) {
		t->inside_mask = thread_signals_block();
		t->inside_quiet = true;
	}
	t->inside = in; /* first: a handler that comes now is turned away */
	t->inside_at = __builtin_frame_address(0);
	atomic_signal_fence(memory_order_seq_cst);
	if (unlikely(!shm_lock(&in->lock, thread_tid()))) {
		outside();
		return false;
	}
	if (unlikely(t->net && t->net != net_no(in) + 1))
		atomic_store_explicit(&in->crossed,
				      atomic_load_explicit(&in->crossed, memory_order_relaxed) + 1,
				      memory_order_relaxed);
	return true;
}

/* In the lock of @in. */
static void bells_find(struct net_inst *in)
{
	for (unsigned i = 0; i < NET_MAX; i++)
		if (in->net[i].z)
			in->net[i].bell = net_stack->ztcp_bell(in->net[i].z);
}

/* A listener of @in has a connection that its own threads may not come for (@strays), or one more instance is on an interface. */
static void others_tell(const struct net_inst *in, bool strays)
{
	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (!(atomic_load(&net_used) & 1u << k) || in == &net_insts[k] ||
		    !net_enter(&net_insts[k]))
			continue;
		if (strays)
			direct_strays_tell();
		bells_find(&net_insts[k]);
		net_insts[k].happened = true;
		net_ring();
		net_leave();
	}
}

void net_leave(void)
{
	struct net_inst *in = thread_self.inside;
	bool strays = unlikely(in->strays) && direct_strays(), opened = in->opened;

	in->strays = in->opened = false;
	shm_unlock(&in->lock, true);
	outside();
	if (unlikely(strays || opened))
		others_tell(in, strays);
}

void net_stray(void)
{
	struct net_inst *in = thread_self.inside;

	in->strays = atomic_load(&net_used) & ~(1u << net_no(in));
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

	if (!dladdr(&setup, &self) || !(slash = strrchr(self.dli_fname, '/')) ||
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

/* In setup: descriptors of the device that is being opened. */
static struct net *opening;

/* In setup: of each interface, the instances on it. */
static struct ztcp_group *group[NET_MAX];

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
	case EKEYREJECTED: return REASON_LEASE_REFUSED;
	case EDQUOT: return REASON_LEASE_LIMIT;
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

static const char *number_after(const char *at, unsigned *n)
{
	while (*at == ' ' || *at == '\t')
		at++;
	for (*n = 0; *at >= '0' && *at <= '9' && *n <= UINT16_MAX; at++)
		*n = *n * 10 + (unsigned)(*at - '0');
	return at;
}

/* Ports that the program's own namespace gives to outgoing connections. */
static void ports_read(struct inst_config *cfg)
{
	long fd = sys(SYS_openat, AT_FDCWD, "/proc/sys/net/ipv4/ip_local_port_range",
		      O_RDONLY | O_CLOEXEC);
	char text[32];
	unsigned lo, hi;
	long n;

	if (fd < 0)
		return;
	n = sys(SYS_read, fd, text, sizeof(text) - 1);
	sys(SYS_close, fd);
	text[n > 0 ? n : 0] = '\0';
	number_after(number_after(text, &lo), &hi);
	if (lo < 1 || lo > hi || hi > UINT16_MAX)
		return;
	cfg->port_lo = (uint16_t)lo;
	cfg->port_hi = (uint16_t)hi;
}

/* Whether a device may have queues for several instances. */
static bool has_queues(const struct policy_iface *f)
{
	return (f->shared || strstr(f->device, "queues=")) && !strstr(f->device, "queue=");
}

/* Where several instances may be on an interface they pass on what arrives at the wrong one; without memory for it they do not. */
static void group_join(struct net *n, const struct policy_iface *f)
{
	struct ztcp_group **g = &group[f - file.all.iface];

	if (!has_queues(f))
		return;
	if (!*g)
		*g = net_stack->ztcp_group_new();
	if (*g)
		net_stack->ztcp_join(n->z, *g, fd_keep);
}

static void watch(struct net *n, const struct policy_iface *f)
{
	sock_stats(); /* the tap comes with it */
	tap_net_init(&n->tap, net_no(n->of) * NET_MAX + (unsigned)(n - n->of->net), f->name);
	net_stack->ztcp_watch_set(n->z, &n->tap.watch);
}

static enum reason stack_start(struct net *n, const struct policy_iface *f,
			       struct zbuf_mem_pool *pool)
{
	ztime_t now = (ztime_t)thread_now();
	struct inst_config cfg;

	net_stack->inst_config_defaults(&cfg);
	if (sys(SYS_getrandom, &cfg.key, sizeof(cfg.key), 0) != sizeof(cfg.key))
		return REASON_DEVICE_FAILED;
	ports_read(&cfg);
	cfg.conns_max = NET_CONNS;
	cfg.listeners_max = 1024;
	cfg.pool_bytes = NET_REF_BYTES;
	if (f->mtu && f->mtu < n->dev->mtu)
		n->dev->mtu = (uint16_t)f->mtu;
	n->pool = pool;
	n->z = net_stack->ztcp_new(n->dev, pool, &cfg, now);
	if (!n->z)
		return REASON_STACK_FULL;
	n->in = net_stack->ztcp_inst(n->z);
	watch(n, f);
	n->fd = dev_fd(n->dev);
	n->fd_tables = dev_fd_tables(n->dev);
	n->shared = f->shared;
	configure(f, net_stack->inst_ip(n->in), now);
	group_join(n, f);
	return REASON_NONE;
}

static enum reason device_start(struct net *n, const struct policy_iface *f, bool hasty,
				struct dev_error *err)
{
	struct dev_conf dc = { .agent = agent_lessor, .fd_keep = fd_keep, .hasty = hasty };
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
static void explain_failure(const struct net *n, const struct policy_iface *f, const char *text)
{
	char line[512];

	if (said[f - file.all.iface] || n->reason == REASON_DEVICE_BUSY)
		return;
	said[f - file.all.iface] = true;
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

/* For questions to the kernel, which need no instance. */
static bool library_once(void)
{
	bool there, taken = shm_lock(&setup, thread_tid());

	there = taken && library();
	shm_unlock(&setup, taken);
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

/* @others: have it already, so that a queue is either free or not */
static enum reason open_now(struct net *n, const struct policy_iface *f, bool others,
			    struct dev_error *err)
{
	bool taken = shm_lock(&setup, thread_tid());
	enum reason why = REASON_NO_STACK_LIBRARY;

	if (library())
		why = device_start(n, f, others || n->retry, err);
	shm_unlock(&setup, taken);
	return why;
}

/* An instance but @but that has one of @nets open; -1: none. */
static int inst_with(unsigned nets, unsigned but)
{
	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (k != but && atomic_load(&net_insts[k].open) & nets)
			return (int)k;
	}
	return -1;
}

struct net *net_open(unsigned i, enum reason *why)
{
	const struct policy_iface *f = &file.all.iface[i];
	struct net_inst *in = thread_self.inside;
	struct dev_error err = { "" };
	struct net *n = &in->net[i];
	bool others;

	if (likely(n->z))
		return n;
	if (thread_now() < n->retry) {
		*why = (enum reason)n->reason;
		return NULL;
	}
	*why = REASON_DEVICE_BUSY;
	others = inst_with(1u << i, net_no(in)) >= 0;
	if (others && !has_queues(f))
		return NULL;
	n->of = in;
	n->reason = (uint16_t)open_now(n, f, others, &err);
	if (n->reason == REASON_NONE) {
		atomic_fetch_or(&in->open, 1u << i);
		atomic_fetch_or(&net_opened, 1u << net_no(in));
		in->opened = others;
		bells_find(in);
		tend_start();
		return n;
	}
	n->z = NULL;
	n->retry = thread_now() + NET_RETRY_MS * UINT64_C(1000000);
	explain_failure(n, f, err.text);
	*why = (enum reason)n->reason;
	return NULL;
}

/* ---- whose is which ---- */

/* More of them than processors would only take turns. */
static unsigned insts_max(void)
{
	static _Atomic unsigned max;
	unsigned n = atomic_load(&max);
	uint64_t cpus[16] = { 0 };
	long bytes;

	if (likely(n))
		return n;
	bytes = sys(SYS_sched_getaffinity, 0, sizeof(cpus), cpus);
	for (long i = 0; i < bytes / (long)sizeof(cpus[0]); i++)
		n += (unsigned)__builtin_popcountll(cpus[i]);
	n = n ? BASE_MIN(n, (unsigned)NET_INSTS) : 1;
	atomic_store(&max, n);
	return n;
}

static bool claim(struct net_inst *in)
{
	uint32_t nobody = 0;

	return atomic_compare_exchange_strong(&in->users, &nobody, 1);
}

/* Whether instance @k, which is the calling thread's now, has or gets what no other has. */
static bool inst_begins(unsigned k, unsigned nets)
{
	struct net_inst *in = &net_insts[k];
	enum reason why;
	bool has;

	if (!net_enter(in))
		return false;
	for (unsigned i = 0; i < NET_MAX; i++) {
		if (nets & 1u << i)
			net_open(i, &why);
	}
	has = atomic_load(&in->open) & nets || inst_with(nets, k) < 0;
	net_leave();
	return has;
}

/* Return: 1 + number of the instance that the calling thread is one user more of. */
static uint8_t inst_for(unsigned nets)
{
	int other;

	for (unsigned k = 0; k < insts_max(); k++) {
		if (!claim(&net_insts[k]))
			continue;
		if (inst_begins(k, nets))
			return (uint8_t)(k + 1);
		atomic_fetch_sub(&net_insts[k].users, 1);
		break;
	}
	other = inst_with(nets, NET_INSTS);
	other = other < 0 ? 0 : other;
	atomic_fetch_add(&net_insts[other].users, 1);
	return (uint8_t)(other + 1);
}

void net_join(unsigned nets)
{
	struct thread *t = &thread_self;

	if (likely(t->net) || t->inside)
		return;
	thread_ends_here();
	t->net = inst_for(nets);
	atomic_fetch_add(&net_mine()->joined, 1);
	atomic_fetch_or(&net_used, 1u << net_no(net_mine()));
}

/* ---- driving ---- */

static void events(struct net *n)
{
	struct inst_event ev;

	while (net_stack->ztcp_event(n->z, &ev)) {
		if (!ev.user)
			continue;
		direct_event(ev.user, ev.events);
		n->of->happened = true;
		n->of->happenings++;
	}
}

static void driven_note(struct net_inst *in)
{
	atomic_store_explicit(&in->driven,
			      atomic_load_explicit(&in->driven, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	tend_driven(1u << net_no(in));
}

void net_drive(void)
{
	struct net_inst *in = thread_self.inside;

	for (unsigned i = 0; i < NET_MAX; i++) {
		struct net *n = &in->net[i];

		for (unsigned turn = 0; n->z && turn < NET_TURNS; turn++) {
			unsigned moved = net_stack->ztcp_poll(n->z, (ztime_t)thread_now());

			events(n);
			if (!moved)
				break;
			publish_changed(in);
		}
	}
	if (unlikely(in->again) && thread_now() >= in->again) {
		in->again = 0;
		direct_arm_all();
	}
	net_held_end(in);
	if (unlikely(in->publish_at) && thread_now() >= in->publish_at)
		publish_more(in, thread_now());
	driven_note(in);
	net_ring();
}

void net_again(void)
{
	struct net_inst *in = thread_self.inside;

	if (!in->again)
		in->again = thread_now() + NET_RETRY_MS * UINT64_C(1000000);
}

void net_push(struct net *n)
{
	net_stack->ztcp_flush(n->z, (ztime_t)thread_now());
	publish_changed(n->of);
	events(n);
	net_held_end(n->of);
	driven_note(n->of);
	net_ring();
}

/* With its last thread an instance loses its listeners: what is new on its queue is the kernel's, until a thread takes it up. */
static void part(struct net_inst *in)
{
	if (!net_enter(in))
		return;
	if (atomic_load(&in->users) == 1)
		direct_disarm();
	atomic_fetch_sub(&in->users, 1);
	net_leave();
}

void net_thread_end(void)
{
	struct thread *t = &thread_self;

	t->inside = NULL;
	net_waiters_remove(t->at_devices);
	if (t->net)
		part(net_mine());
	t->net = 0;
}

void net_cut(const void *sp)
{
	const struct thread *t = &thread_self;

	if (t->inside && (uintptr_t)t->inside_at < (uintptr_t)sp)
		net_leave();
	tend_sleep(0);
}

/* ---- fork and end ---- */

void net_fork_lock(bool take)
{
	static bool taken[NET_INSTS + 2];
	_Atomic uint32_t *locks[NET_INSTS + 2];

	for (unsigned k = 0; k < NET_INSTS; k++)
		locks[k] = &net_insts[k].lock;
	locks[NET_INSTS] = &net_listening;
	locks[NET_INSTS + 1] = &setup;
	for (unsigned k = 0; k < NET_INSTS + 2; k++) {
		if (take)
			taken[k] = shm_lock(locks[k], thread_tid());
		else
			shm_unlock(locks[k], taken[k]);
	}
}

/* The memory stays as it is: the stacks in it are the parent's. */
static void inst_forked(struct net_inst *in)
{
	struct base_list conns, spare;

	direct_relays_forked(in);
	conns = in->conns; /* direct_forked() takes them off */
	spare = in->spare;
	for (unsigned i = 0; i < NET_MAX; i++) {
		for (unsigned k = 0; in->net[i].z && k < in->net[i].nfds; k++)
			shm_fd_close(in->net[i].fds[k]);
	}
	direct_spares_forked(in);
	memset(in, 0, sizeof(*in));
	in->conns = conns;
	in->spare = spare;
}

void net_forked(void)
{
	atomic_store(&setup, 0);
	atomic_store(&net_listening, 0);
	memset(group, 0, sizeof(group));
	thread_self.net = 0;
	thread_self.inside = NULL;
	tend_forked();
	atomic_store(&net_used, 0);
	atomic_store(&net_opened, 0);
	for (unsigned k = 0; k < NET_INSTS; k++)
		inst_forked(&net_insts[k]);
}

static bool delivered(const struct net_inst *in)
{
	for (unsigned i = 0; i < NET_MAX; i++) {
		if (in->net[i].z && net_stack->inst_pool_used(in->net[i].in))
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

/* In the lock. */
static void inst_exit(struct net_inst *in, uint64_t end)
{
	direct_close_all();
	for (;;) {
		struct pollfd set[NET_FDS];
		struct timespec ts = { 0, NET_EXIT_LOOK_MS * 1000000 };

		net_drive();
		if (delivered(in) || thread_now() >= end)
			break;
		sys(SYS_ppoll, set, net_fds(set, 1u << net_no(in)), &ts, 0, 8);
	}
	for (unsigned i = 0; i < NET_MAX; i++)
		device_end(&in->net[i]);
	atomic_store(&in->open, 0);
	atomic_fetch_and(&net_opened, ~(1u << net_no(in)));
}

void net_exit(void)
{
	uint64_t end = thread_now() + NET_EXIT_MS * UINT64_C(1000000);

	for (unsigned k = 0; net_any() && k < NET_INSTS; k++) {
		if (!net_enter(&net_insts[k]))
			continue;
		inst_exit(&net_insts[k], end);
		net_leave();
	}
}
