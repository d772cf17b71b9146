/* pollset.c - poll() and select() with attached connections in the set
 *
 * Attached members are looked at in memory; the rest goes to the kernel. To sleep, the set is copied: an
 * attached member keeps only what the kernel alone can say (hang-up, error, a direction that is not lifted),
 * and the thread's doorbell and the channels join. Members of the stack in this process are asked in its memory; of them the
 * kernel sees listeners alone, and the stack's devices join.
 */
#include "preload/sock/pollset.h"

#include "preload/real.h"
#include "preload/sock/direct.h"
#include "preload/sock/ep.h"
#include "preload/sock/hold.h"
#include "preload/sock/lift.h"
#include "preload/sock/net.h"
#include "preload/sock/ready.h"
#include "preload/sock/tend.h"
#include "preload/sock/thread.h"
#include "preload/sock/wait.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
	POLL_STACK = 128,    /* a handler may have little stack: larger sets lie elsewhere */
	POLL_HANDS = 16,     /* listeners that other processes hand connections to */
	POLL_HANDS_MS = 100, /* where there are more of them, they are looked at so often */
	POLL_EXTRA = 2 + NET_FDS + POLL_HANDS, /* doorbell, channels and devices */
	SPIN_WORTH_NS = 200000,       /* shorter timeouts go straight to the kernel's exact timer */
	POLL_KERNEL_CYCLES = 1 << 16, /* the kernel's members get a look this often in a spin */
	POLL_CLOSERS = 64,            /* threads whose closes are waited for, at a time */
	POLL_CLOSER_GONE = 1024, /* looks after which it is asked whether the closer still lives */
};

/* For a close that was left by a jump out of a handler: it never ends. */
#define POLL_CLOSING_NS UINT64_C(10000000000)

struct pollset {
	struct pollfd *fds;
	nfds_t n;
	struct pollfd *copy; /* n + POLL_EXTRA */
	struct sock *only;   /* the one attached member, or NULL when there are several */
	struct wait_signals sig;
	bool mixed;      /* the kernel has members of its own */
	bool waited;     /* the answer is not the one of the first look */
	bool stacked;    /* a member is, or in this wait was, a connection of the stack */
	unsigned insts;  /* instances of the stack that have members, a bit each */
	unsigned sleeps; /* and those on whose devices it sleeps */
};

/* Room for @n entries: @stack, which has POLL_STACK, the thread's piece, or mapped. Return: NULL: no memory. */
static struct pollfd *array_take(struct pollfd *stack, nfds_t n)
{
	size_t bytes = n * sizeof(*stack);
	long addr;

	if (n <= POLL_STACK)
		return stack;
	if (bytes <= THREAD_PIECE)
		return (struct pollfd *)thread_piece_take();
	addr = sys(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return addr < 0 && addr > -4096 ? NULL : (struct pollfd *)addr;
}

/* Keeps errno. */
static void array_give(struct pollfd *array, nfds_t n)
{
	size_t bytes = n * sizeof(*array);

	if (n <= POLL_STACK)
		return;
	if (bytes <= THREAD_PIECE)
		thread_piece_give((char *)array);
	else
		sys(SYS_munmap, array, bytes);
}

static struct sock *attached(int fd)
{
	struct sock *s = sock_of(fd);

	return s && sock_conn(s) ? s : NULL;
}

static struct ep *nested(int fd)
{
	struct ep *e = ep_of(fd);

	return e && ep_lifted(e) ? e : NULL;
}

/* Of the stack in this process. */
static struct sock *on_stack(int fd)
{
	struct sock *s = fd >= 0 ? sock_of(fd) : NULL;

	return s && direct_at(s) ? s : NULL;
}

static void guard_begin(struct pollset_guard *g)
{
	g->mark = hold_mark();
	g->lifted = false;
}

/* Return: false: it was being attached, or another thread has closed it. Look again. */
static bool guard_try(struct pollset_guard *g, struct sock *s, int fd)
{
	unsigned mark = hold_mark();
	struct stats_row *row;

	if (sock_conn(s) || !sock_row(s) || SHM_READ(s->stage) >= SOCK_SETTLED) {
		const bool stack = direct_at(s);

		g->lifted |= sock_conn(s) != NULL || stack;
		if (stack && !direct_is_connection(s))
			direct_arm(s);
		return true;
	}
	if (!hold_begin(s, &s->rx_busy)) {
		sock_settle(s, REASON_NO_MEMORY);
		return true;
	}
	row = sock_row(s);
	if (likely(sock_of(fd) == s && row && !(atomic_load(&row->flags) & STATS_ATTACHED)))
		return true; /* pairs with sock_end_here() and attach() */
	hold_end(mark);
	if (row)
		hold_attaching(s, fd, row);
	return false;
}

static void guard_one(struct pollset_guard *g, int fd)
{
	struct sock *s;

	do {
		s = fd >= 0 ? sock_of(fd) : NULL;
	} while (s && !guard_try(g, s, fd));
	if (!s)
		g->lifted |= fd >= 0 && nested(fd);
}

void pollset_enter(struct pollset_guard *g, const struct pollfd *fds, nfds_t n)
{
	guard_begin(g);
	for (nfds_t i = 0; i < n; i++)
		guard_one(g, fds[i].fd);
}

void pollset_leave(struct pollset_guard *g)
{
	hold_end(g->mark);
}

/* Bits of the members that memory can tell. Return: how many have some. */
static int look(struct pollset *p)
{
	int ready = 0;

	for (nfds_t i = 0; i < p->n; i++) {
		struct pollfd *f = &p->fds[i];
		struct sock *s = f->fd >= 0 ? attached(f->fd) : NULL, *d = on_stack(f->fd);
		struct ep *e = f->fd >= 0 && !s ? nested(f->fd) : NULL;

		f->revents = 0;
		if (s)
			f->revents = ready_now(s, f->events);
		else if (d)
			f->revents = direct_ready(d, f->events, true);
		else if (e && f->events & POLLIN && ep_ready(e))
			f->revents = POLLIN;
		ready += f->revents != 0;
	}
	return ready;
}

/* Whether look() may find more than it did. No system call. */
static bool changed(const struct pollset *p)
{
	for (nfds_t i = 0; i < p->n; i++) {
		const struct pollfd *f = &p->fds[i];
		struct sock *s = f->fd >= 0 ? attached(f->fd) : NULL;

		/* bytes below the mark are nothing to a wait */
		if (s && wait_ready(s, f->events) &&
		    (sock_rcvlowat(s) <= 1 || ready_now(s, f->events)))
			return true;
		if (on_stack(f->fd) && direct_ready(on_stack(f->fd), f->events, true))
			return true;
		if (!s && f->fd >= 0 && nested(f->fd) && ep_ready(nested(f->fd)))
			return true;
	}
	return false;
}

static short kernel_part(struct sock *s, short events)
{
	const struct shm_conn *c = s->conn;
	short ev = events & (POLLPRI | POLLRDBAND);

	if (!(SHM_READ(s->kernel_bits) & POLLRDHUP)) {
		ev |= POLLRDHUP; /* whatever was asked: a killed peer may mean an error */
		if (events & (POLLIN | POLLRDNORM | POLLRDHUP))
			ev |= POLLIN;
	}
	if (events & (POLLOUT | POLLWRNORM) && SHM_READ(c->tx.path) == SHM_PATH_KERNEL)
		ev |= POLLOUT;
	return ev;
}

/* The set as the kernel shall see it. */
static void copy_set(struct pollset *p)
{
	p->only = NULL;
	p->mixed = false;
	p->insts = 0;
	for (nfds_t i = 0; i < p->n; i++) {
		struct sock *s = p->fds[i].fd >= 0 ? attached(p->fds[i].fd) : NULL;

		p->copy[i] = (struct pollfd){ .fd = p->fds[i].fd, .events = p->fds[i].events };
		if (s) {
			p->copy[i].events = kernel_part(s, p->fds[i].events);
			p->only = s;
		} else if (on_stack(p->fds[i].fd)) {
			p->insts |= direct_insts(on_stack(p->fds[i].fd));
			if (direct_is_connection(on_stack(p->fds[i].fd))) {
				p->copy[i].fd = -1; /* to the kernel it has hung up */
				p->stacked = true;
			} else {
				p->mixed = true;
			}
		} else if (p->fds[i].fd >= 0) {
			p->mixed = true;
		}
	}
}

/* What threads are closing at the moment: the thread, the first and the last number; 0: a free place. */
static _Atomic uint64_t closing[POLL_CLOSERS];

_Static_assert(SOCK_TABLE == 1 << 20, "a number fits where it is packed");

int pollset_closing(unsigned first, unsigned last)
{
	uint64_t mine = (uint64_t)thread_tid() << 40 | (uint64_t)first << 20 |
			(last < SOCK_TABLE ? last : SOCK_TABLE - 1);

	for (int i = 0; first < SOCK_TABLE && i < POLL_CLOSERS; i++) {
		uint64_t free = 0;

		if (atomic_compare_exchange_strong(&closing[i], &free, mine))
			return i;
	}
	return -1;
}

void pollset_closed(int place)
{
	if (place >= 0)
		atomic_store(&closing[place], 0);
}

/* Whether another thread is closing @fd. One that was cancelled has not ended it: @look whether it lives. */
static bool is_closing(unsigned fd, bool look)
{
	for (int i = 0; i < POLL_CLOSERS; i++) {
		uint64_t word = atomic_load(&closing[i]);
		uint32_t tid = (uint32_t)(word >> 40);

		if (!word || fd < (word >> 20 & (SOCK_TABLE - 1)) || fd > (word & (SOCK_TABLE - 1)))
			continue;
		if (tid != thread_tid() && !(look && sys(SYS_tkill, tid, 0) == -ESRCH))
			return true;
	}
	return false;
}

/*
 * The kernel says that @f, which we know nothing of, has hung up. When another thread is closing a connection of the
 * stack, it is no more ours, and its number not closed yet: wait for that, as the kernel would have said POLLNVAL or
 * nothing. Return: its bits.
 */
static short closing_end(struct pollfd f)
{
	const uint64_t begun = thread_now();
	struct timespec zero = { 0, 0 };
	unsigned looks = 0;

	while (f.revents & POLLHUP && is_closing((unsigned)f.fd, !(++looks % POLL_CLOSER_GONE)) &&
	       thread_now() - begun < POLL_CLOSING_NS) {
		sys(SYS_sched_yield);
		if (sys(SYS_ppoll, &f, 1, &zero, 0, 8) < 0)
			return 0;
	}
	return sock_of(f.fd) ? 0 : f.revents;
}

/* What the kernel said of its own members goes to the program's array; of ours, to the socks. */
static int merge(struct pollset *p)
{
	int ready = 0;

	for (nfds_t i = 0; i < p->n; i++) {
		struct sock *s = p->fds[i].fd >= 0 ? attached(p->fds[i].fd) : NULL;
		struct ep *e = p->fds[i].fd >= 0 && !s ? nested(p->fds[i].fd) : NULL;
		short revents = p->copy[i].revents;

		if (s) {
			if (revents)
				ready_heard(s, revents);
			p->fds[i].revents = ready_now(s, p->fds[i].events);
		} else if (on_stack(p->fds[i].fd)) {
			p->fds[i].revents = (short)(revents | direct_ready(on_stack(p->fds[i].fd),
									   p->fds[i].events, true));
		} else if (e) {
			bool ready = revents ? ep_readable(e, p->fds[i].fd) : ep_ready(e);

			p->fds[i].revents = ready ? POLLIN & p->fds[i].events : 0;
		} else if (unlikely(p->stacked && revents & POLLHUP)) {
			p->fds[i].revents = closing_end(p->copy[i]);
		} else {
			p->fds[i].revents = revents;
		}
		ready += p->fds[i].revents != 0;
	}
	return ready;
}

static int ask_kernel(struct pollset *p)
{
	struct timespec zero = { 0, 0 };
	long n;

	copy_set(p);
	n = sys(SYS_ppoll, p->copy, p->n, &zero, 0, 8);
	if (n < 0) {
		errno = (int)-n;
		return -1;
	}
	return merge(p);
}

/* The nested sets go to sleep at @now (ns), or, when that is zero, wake. */
static void nested_sleep(struct pollset *p, uint64_t now)
{
	for (nfds_t i = 0; i < p->n; i++) {
		struct ep *e = p->fds[i].fd >= 0 ? nested(p->fds[i].fd) : NULL;

		if (e && now) {
			shm_waker_sleep(ep_waker(e), thread_tid(), now);
			ep_polled(e);
		} else if (e) {
			shm_waker_wake(ep_waker(e), thread_tid());
		}
	}
}

static void want_space(struct pollset *p, bool want)
{
	for (nfds_t i = 0; i < p->n; i++) {
		struct sock *s = p->fds[i].fd >= 0 ? attached(p->fds[i].fd) : NULL;

		if (s && p->fds[i].events & (POLLOUT | POLLWRNORM))
			wait_want_space(s, want);
	}
}

static bool unstall(struct pollset *p)
{
	bool waiting = false;

	for (nfds_t i = 0; i < p->n; i++) {
		struct sock *s = p->fds[i].fd >= 0 ? attached(p->fds[i].fd) : NULL;

		if (s && p->fds[i].events & (POLLOUT | POLLWRNORM) &&
		    SHM_READ(s->conn->tx.path) == SHM_PATH_RING) {
			wait_unstall(s);
			waiting = true;
		}
	}
	return waiting;
}

static bool deaf(const struct pollset *p, const struct shm_waker *w)
{
	for (nfds_t i = 0; i < p->n; i++) {
		struct sock *s = p->fds[i].fd >= 0 ? attached(p->fds[i].fd) : NULL;

		if (s && wait_deaf(s, w))
			return true;
	}
	return false;
}

static void watch_all(struct pollset *p, struct shm_waker *w)
{
	for (nfds_t i = 0; i < p->n; i++) {
		struct sock *s = p->fds[i].fd >= 0 ? attached(p->fds[i].fd) : NULL;

		if (s)
			wait_watch(s, w);
	}
}

/*
 * Devices of members, and the thread's own, join the set, and the thread those who are rung. Return: their number; @ns is cut to what
 * is due.
 */
static unsigned devices_join(struct pollset *p, const struct shm_waker *w, int64_t *ns)
{
	uint64_t at, now = thread_now();

	p->sleeps = p->insts | net_mine_open();
	if (!p->sleeps)
		return 0;
	net_waiters_add(p->sleeps, w ? w->efd : -1);
	at = net_deadline(p->sleeps);
	at = at > now ? at - now : 0;
	if (at < INT64_MAX && (*ns < 0 || (uint64_t)*ns > at))
		*ns = (int64_t)at;
	return net_fds(p->copy + p->n + 2, p->sleeps);
}

/* Of listeners, what other processes hand over by joins the set behind the first @n. Return: how many there are then. */
static nfds_t hands_join(struct pollset *p, nfds_t n, int64_t *ns)
{
	unsigned hands = 0;

	for (nfds_t i = 0; p->insts && i < p->n; i++) {
		struct sock *s = on_stack(p->fds[i].fd);
		int fd = s && p->fds[i].events & POLLIN ? direct_hand_fd(s) : -1;

		if (fd < 0)
			continue;
		if (++hands <= POLL_HANDS)
			p->copy[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
		else if (*ns < 0 || *ns > POLL_HANDS_MS * INT64_C(1000000))
			*ns = POLL_HANDS_MS * INT64_C(1000000);
	}
	return n;
}

/* Return: as ppoll; 0 with time left means: look again. */
static int sleep_once(struct pollset *p, int64_t ns, const sigset_t *mask)
{
	struct shm_waker *w = thread_waker();
	uint64_t begun = thread_now();
	const sigset_t *lets;
	struct timespec ts;
	nfds_t all;
	int n = 0, saved;
	bool left;

	wait_signals_hold(&p->sig);
	copy_set(p);
	p->copy[p->n] = (struct pollfd){ .fd = w ? w->efd : -1, .events = POLLIN };
	p->copy[p->n + 1] = (struct pollfd){ .fd = shm_chan_fd(), .events = POLLIN };
	if (w) {
		watch_all(p, w);
		thread_waker_mend(w);
		shm_waker_sleep(w, thread_tid(), begun);
		if (deaf(p, w) && (ns < 0 || ns > WAIT_DEAF_MS * INT64_C(1000000)))
			ns = WAIT_DEAF_MS * INT64_C(1000000);
	}
	nested_sleep(p, begun);
	want_space(p, true);
	all = p->n + 2 + devices_join(p, w, &ns);
	all = hands_join(p, all, &ns);
	lets = wait_signals_mask(&p->sig, mask, &left);
	ns = wait_left_ns(ns, left);
	ts = (struct timespec){ ns / 1000000000, ns % 1000000000 };
	if (!changed(p))
		n = wait_poll(p->copy, all, ns < 0 ? NULL : &ts, lets);
	saved = errno;
	if (unlikely(p->sleeps))
		net_waiters_remove(p->sleeps);
	want_space(p, false);
	nested_sleep(p, 0);
	if (w) {
		shm_waker_wake(w, thread_tid());
		if (n > 0 && p->copy[p->n].revents)
			shm_waker_drain(w);
	}
	if (n > 0 && p->copy[p->n + 1].revents)
		lift_service();
	wait_spin_end(false, thread_now() - begun);
	errno = saved;
	return n;
}

static int spin(struct pollset *p)
{
	struct wait_spin w;
	uint64_t kernel = thread_cycles();

	wait_spin_begin(&w, p->only ? p->only->peer : NULL, &p->sig);
	if (!w.budget || p->insts)
		return 0;
	do {
		int n = 0;

		if (changed(p)) {
			n = look(p);
			if (n)
				wait_spin_end(true, 0);
		}
		if (!n && thread_cycles() - kernel > POLL_KERNEL_CYCLES) {
			n = ask_kernel(p);
			kernel = thread_cycles();
		}
		if (n)
			return n;
	} while (wait_spin_turn(&w));
	return 0;
}

static int pollset_loop(struct pollset *p, int64_t timeout_ns, const sigset_t *mask)
{
	uint64_t deadline = timeout_ns > 0 ? thread_now() + (uint64_t)timeout_ns : 0;

	copy_set(p);
	for (;;) {
		int64_t ns = timeout_ns;
		/* ours alone may keep us busy: then the kernel is asked now and then */
		int n = !p->mixed && thread_cycles() - thread_self.poll_turn < POLL_KERNEL_CYCLES
				? look(p)
				: 0;

		if (!n) {
			n = ask_kernel(p);
			thread_self.poll_turn = thread_cycles();
		}
		if (n)
			return n;
		if (unlikely(wait_signals_came(&p->sig, mask))) { /* and nothing else has */
			errno = EINTR;
			return -1;
		}
		if (timeout_ns == 0)
			return 0;
		if (deadline) {
			uint64_t now = thread_now();

			if (now >= deadline)
				return 0;
			ns = (int64_t)(deadline - now);
		}
		p->waited = true;
		if (ns < 0 || ns > SPIN_WORTH_NS)
			n = spin(p);
		if (n)
			return n;
		if (unstall(p) && (ns < 0 || ns > WAIT_STALL_MS * INT64_C(1000000)))
			ns = WAIT_STALL_MS * INT64_C(1000000);
		n = sleep_once(p, ns, mask);
		if (n < 0)
			return n;
	}
}

/* p->copy: room for p->n + POLL_EXTRA */
static int wait_in(struct pollset *p, int64_t timeout_ns, const sigset_t *mask)
{
	int ret = pollset_loop(p, timeout_ns, mask);

	wait_signals_release(&p->sig);
	return ret;
}

int pollset_wait(struct pollfd *fds, nfds_t n, int64_t timeout_ns, const sigset_t *mask)
{
	struct pollfd stack[POLL_STACK], *copy = array_take(stack, n + POLL_EXTRA);
	struct pollset p = { .fds = fds, .n = n, .copy = copy };
	int ret;

	if (!copy) {
		errno = ENOMEM;
		return -1;
	}
	ret = wait_in(&p, timeout_ns, mask);
	array_give(copy, n + POLL_EXTRA);
	return ret;
}

/* ---- select ---- */

enum { WORD = 8 * sizeof(unsigned long) };

/* fd_set without its bound: programs do use larger ones, allocated by themselves. */
static bool bit_get(const fd_set *set, int fd)
{
	return set && ((const unsigned long *)set)[fd / WORD] >> fd % WORD & 1;
}

static void bit_put(fd_set *set, int fd, bool on)
{
	unsigned long *w = &((unsigned long *)set)[fd / WORD];

	if (on)
		*w |= 1UL << fd % WORD;
	else
		*w &= ~(1UL << fd % WORD);
}

void pollset_select_enter(struct pollset_guard *g, int n, const fd_set *rd, const fd_set *wr,
			  const fd_set *ex)
{
	guard_begin(g);
	for (int at = 0; at < n; at += WORD) {
		unsigned long any = 0;

		any |= rd ? ((const unsigned long *)rd)[at / WORD] : 0;
		any |= wr ? ((const unsigned long *)wr)[at / WORD] : 0;
		any |= ex ? ((const unsigned long *)ex)[at / WORD] : 0;
		for (; any; any &= any - 1) {
			int fd = at + __builtin_ctzl(any);

			if (fd < n)
				guard_one(g, fd);
		}
	}
}

static short select_events(int fd, const fd_set *rd, const fd_set *wr, const fd_set *ex)
{
	return (short)((bit_get(rd, fd) ? POLLIN : 0) | (bit_get(wr, fd) ? POLLOUT : 0) |
		       (bit_get(ex, fd) ? POLLPRI : 0));
}

/* Into @fds, or NULL to count them. Return: how many. */
static nfds_t to_poll(struct pollfd *fds, int n, const fd_set *rd, const fd_set *wr,
		      const fd_set *ex)
{
	nfds_t used = 0;

	for (int fd = 0; fd < n; fd++) {
		short ev = select_events(fd, rd, wr, ex);

		if (ev && fds)
			fds[used] = (struct pollfd){ .fd = fd, .events = ev };
		used += ev != 0;
	}
	return used;
}

/*
 * select(2) counts bits. Where poll says POLLNVAL it says EBADF; of a number that was closed @late, while it waited, all
 * that it was asked.
 */
static int from_poll(const struct pollfd *fds, nfds_t used, bool late, fd_set *rd, fd_set *wr,
		     fd_set *ex)
{
	int count = 0;

	for (nfds_t i = 0; i < used && !late; i++) {
		if (fds[i].revents & POLLNVAL) {
			errno = EBADF;
			return -1;
		}
	}
	for (nfds_t i = 0; i < used; i++) {
		const struct pollfd *f = &fds[i];
		bool in = f->events & POLLIN &&
			  f->revents & (POLLIN | POLLRDNORM | POLLHUP | POLLERR | POLLNVAL);
		bool out = f->events & POLLOUT &&
			   f->revents & (POLLOUT | POLLWRNORM | POLLERR | POLLNVAL);
		bool pri = f->events & POLLPRI && f->revents & (POLLPRI | POLLNVAL);

		if (f->events & POLLIN)
			bit_put(rd, f->fd, in);
		if (f->events & POLLOUT)
			bit_put(wr, f->fd, out);
		if (f->events & POLLPRI)
			bit_put(ex, f->fd, pri);
		count += in + out + pri;
	}
	return count;
}

int pollset_select(int n, fd_set *rd, fd_set *wr, fd_set *ex, int64_t timeout_ns,
		   const sigset_t *mask, int64_t *left_ns)
{
	nfds_t used = to_poll(NULL, n, rd, wr, ex), room = 2 * used + POLL_EXTRA;
	struct pollfd stack[POLL_STACK], *fds = array_take(stack, room);
	uint64_t begun = thread_now();
	struct pollset p = { .fds = fds, .n = used, .copy = fds + used };
	int ret;

	if (!fds) {
		errno = ENOMEM;
		return -1;
	}
	to_poll(fds, n, rd, wr, ex);
	ret = wait_in(&p, timeout_ns, mask);
	if (ret >= 0)
		ret = from_poll(fds, used, p.waited, rd, wr, ex);
	array_give(fds, room);
	*left_ns = timeout_ns - (int64_t)(thread_now() - begun);
	if (*left_ns < 0)
		*left_ns = 0;
	return ret;
}
