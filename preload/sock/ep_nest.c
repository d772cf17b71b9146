/* ep_nest.c - epoll sets inside epoll sets
 *
 * The kernel sees an inner set become readable when one of its kernel members does or its bell rings; only
 * we know what its attached members hold. So an inner set is registered with the kernel under a random
 * value of ours, and what the program is told is decided here, by looking into the inner set.
 *
 * One lock for the lists of all sets, since a walk goes down through several of them and the end of a set goes
 * through all. It is taken before any set's own (ep.lock), never inside one. Handlers may walk on top of their own
 * thread's walk; who changes a list blocks signals.
 */
#include "preload/sock/ep_item.h"

#include "preload/real.h"
#include "preload/sock/tend.h"
#include "preload/sock/thread.h"

#include <errno.h>
#include <poll.h>

static _Atomic uint32_t nest_lock;

static bool nest_enter(void)
{
	return shm_lock(&nest_lock, thread_tid());
}

static void nest_leave(bool taken)
{
	shm_unlock(&nest_lock, taken);
}

void ep_nest_fork_lock(bool lock)
{
	static bool taken;

	if (lock)
		taken = nest_enter();
	else
		nest_leave(taken);
}

void ep_nest_forked(void)
{
	atomic_store(&nest_lock, 0);
}

static struct ep_inner *inner_find(const struct ep *e, int fd)
{
	struct ep_inner *in = e->inner;

	while (in && in->fd != fd)
		in = in->next;
	return in;
}

static void inner_unlink(struct ep *e, struct ep_inner *in)
{
	struct ep_inner **p = &e->inner;

	while (*p != in)
		p = &(*p)->next;
	SHM_WRITE(*p, in->next);
	ep_inner_free(in);
}

static void inner_set(struct ep_inner *in, const struct epoll_event *ev)
{
	in->events = ev->events;
	in->data = ev->data.u64;
	in->seen = UINT64_MAX;
	in->disabled = false;
}

/* With nest_lock held. */
static int nest_ctl(struct ep *e, int epfd, int op, int fd, struct ep *inner,
		    struct epoll_event *ev)
{
	struct ep_inner *in = inner_find(e, fd);
	struct epoll_event ours = { 0 };
	int ret;

	if (!in && op == EPOLL_CTL_ADD) {
		in = ep_inner_alloc();
		if (!in) {
			errno = ENOMEM;
			return -1;
		}
		*in = (struct ep_inner){ .e = inner, .fd = fd, .next = e->inner };
		sys(SYS_getrandom, &in->magic, sizeof(in->magic), 0);
		SHM_WRITE(e->inner, in);
		ours = (struct epoll_event){ .events = ev->events, .data.u64 = in->magic };
		ret = real.epoll_ctl(epfd, op, fd, &ours);
		if (ret < 0)
			inner_unlink(e, in);
		else
			inner_set(in, ev);
		return ret;
	}
	if (!in || op == EPOLL_CTL_DEL) {
		ret = real.epoll_ctl(epfd, op, fd, ev);
		if (in && ret == 0)
			inner_unlink(e, in);
		return ret;
	}
	ours = (struct epoll_event){ .events = ev->events, .data.u64 = in->magic };
	ret = real.epoll_ctl(epfd, op, fd, &ours);
	if (ret == 0 && op == EPOLL_CTL_MOD)
		inner_set(in, ev);
	return ret;
}

int ep_nest_ctl(struct ep *e, int epfd, int op, int fd, struct ep *inner, struct epoll_event *ev)
{
	uint64_t mask = thread_signals_block();
	bool taken = nest_enter();
	int ret = nest_ctl(e, epfd, op, fd, inner, ev);

	nest_leave(taken);
	thread_signals_restore(mask);
	return ret;
}

bool ep_nest_lifted(const struct ep *e)
{
	bool taken = nest_enter();
	const struct ep_inner *in = e->inner;

	while (in && !ep_lifted(in->e))
		in = in->next;
	nest_leave(taken);
	return in;
}

/* Changes whenever an attached member, at any depth, has got new bytes, by its ring or by the kernel. */
static uint64_t ep_sum(struct ep *e)
{
	bool taken = shm_lock(&e->lock, thread_tid());
	uint64_t sum = e->hots + e->heard + SHM_READ(e->direct_news);

	for (uint32_t i = 0; i < e->hots; i++)
		sum += atomic_load_explicit(&e->hot[i].sock->view.ctl->tail, memory_order_relaxed) +
		       (uint64_t)SHM_READ(e->hot[i].sock->kernel_bits);
	shm_unlock(&e->lock, taken);
	for (const struct ep_inner *in = e->inner; in; in = in->next)
		sum += ep_sum(in->e);
	return sum;
}

/* By its kernel members, now that our own entry in it is quiet. */
static bool kernel_says(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec zero = { 0, 0 };

	return sys(SYS_ppoll, &p, 1, &zero, 0, 8) == 1 && p.revents & POLLIN;
}

bool ep_readable(struct ep *e, int fd)
{
	ep_side_drain(e);
	return ep_ready(e) || kernel_says(fd);
}

static bool inner_by_memory(struct ep_inner *in)
{
	if (in->disabled || !(in->events & EPOLLIN) || !ep_lifted(in->e) || !ep_ready(in->e))
		return false;
	return !(in->events & EPOLLET) || ep_sum(in->e) != in->seen;
}

static void inner_report(struct ep_inner *in, struct epoll_event *ev)
{
	ep_side_drain(in->e); /* the kernel's word on what is reported here is no edge of its own */
	in->seen = ep_sum(in->e);
	in->disabled = in->events & EPOLLONESHOT;
	ev->events = EPOLLIN;
	ev->data.u64 = in->data;
}

int ep_nest_translate(struct ep *e, struct epoll_event *ev, int n)
{
	bool taken = nest_enter();

	for (int i = 0; i < n; i++) {
		struct ep_inner *in = e->inner;

		while (in && in->magic != ev[i].data.u64)
			in = in->next;
		if (!in)
			continue;
		ep_side_drain(in->e);
		/* one that memory vouches for is reported by ep_nest_collect() */
		if (inner_by_memory(in) || in->disabled || !kernel_says(in->fd)) {
			ev[i--] = ev[--n];
			continue;
		}
		inner_report(in, &ev[i]);
	}
	nest_leave(taken);
	return n;
}

int ep_nest_collect(struct ep *e, struct epoll_event *ev, int n, int max)
{
	bool taken = nest_enter();

	for (struct ep_inner *in = e->inner; in && n < max; in = in->next) {
		if (inner_by_memory(in))
			inner_report(in, &ev[n++]);
	}
	nest_leave(taken);
	return n;
}

bool ep_nest_ready(struct ep *e)
{
	bool taken = nest_enter();
	struct ep_inner *in = e->inner;

	while (in && !inner_by_memory(in))
		in = in->next;
	nest_leave(taken);
	return in;
}

bool ep_nest_sleep(struct ep *e, uint32_t tid, uint64_t now, int64_t *ns)
{
	bool taken, quiet = true;

	if (likely(!ep_nests(e)))
		return true;
	taken = nest_enter();
	for (struct ep_inner *in = e->inner; in; in = in->next) {
		if (ep_joined(in->e) && in->e->side >= 0)
			shm_waker_sleep(&in->e->waker, tid, now);
		quiet &= ep_direct_nest_sleep(in->e, ns);
		quiet &= ep_nest_sleep(in->e, tid, now, ns);
	}
	nest_leave(taken);
	return quiet;
}

void ep_nest_wake(struct ep *e, uint32_t tid)
{
	bool taken;

	if (likely(!ep_nests(e)))
		return;
	tend_sleep(0);
	taken = nest_enter();
	for (struct ep_inner *in = e->inner; in; in = in->next) {
		if (ep_joined(in->e) && in->e->side >= 0)
			shm_waker_wake(&in->e->waker, tid);
		ep_nest_wake(in->e, tid);
	}
	nest_leave(taken);
}

static struct ep *closing; /* under nest_lock */

static void forget_member(struct ep *e)
{
	for (struct ep_inner *in = e->inner, *next; in; in = next) {
		next = in->next;
		if (in->e == closing || e == closing)
			inner_unlink(e, in);
	}
}

void ep_nest_forget(struct ep *e)
{
	bool taken = nest_enter();

	closing = e;
	ep_each(forget_member);
	forget_member(e); /* without a number it is not among them any more */
	nest_leave(taken);
}
