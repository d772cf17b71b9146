/* ep.c - epoll sets that hold attached connections
 *
 * Theory of operation. An item is a registration of a followed socket. While its socket is not attached the
 * registration is the program's own, in the program's epoll; that of a oneshot one has a tag in place of the
 * program's word, so that a thread that brings the kernel's event after it has moved leaves it to us. On attach
 * it moves to the side epoll (events edge-triggered, data: the item) and gets an entry in the hot array, which a
 * wait scans (ep_scan.c): one line of the peer's memory per member tells whether anything changed. The side,
 * which also holds the doorbell and the channels, is itself a member of the program's epoll under a random value
 * (magic), so one kernel call sleeps on everything.
 *
 * While attached members keep a wait busy, the kernel's members get their turn every conf.turn cycles, and
 * with every wait while they are busy too; the two take turns in coming first.
 *
 * A set that is a member of another (nested) is looked into by the outer one's wait: the kernel only knows
 * of its bells.
 */
#include "preload/sock/ep.h"

#include "preload/real.h"
#include "preload/sock/conf.h"
#include "preload/sock/direct.h"
#include "preload/sock/ep_item.h"
#include "preload/sock/lift.h"
#include "preload/sock/mem.h"
#include "preload/sock/net.h"
#include "preload/sock/ready.h"
#include "preload/sock/span.h"
#include "preload/sock/thread.h"
#include "preload/sock/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

enum {
	EP_KERNEL_QUIET = 4, /* empty answers in a row before the kernel is asked less often */
	EP_SIDE_BATCH = 32,
	EP_LOOK_PAUSE = 32, /* members that are looked at in the time of a pause or two */
	EP_SIDE_EVENTS = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET,
};

struct ep *_Atomic ep_table[SOCK_TABLE];

/* ---- birth and death ---- */

void ep_open(int fd)
{
	struct ep *e;

	if ((unsigned)fd >= SOCK_TABLE)
		return;
	ep_close(fd);
	e = ep_alloc();
	if (!e)
		return;
	e->fd = fd;
	e->side = -1;
	e->waker.efd = -1;
	SHM_PUBLISH(e->numbers, 1);
	atomic_store_explicit(&ep_table[fd], e, memory_order_release);
}

void ep_dup(int fd, int to)
{
	struct ep *e = ep_of(fd);

	if (!e || (unsigned)to >= SOCK_TABLE)
		return;
	SHM_ADD(e->numbers, 1);
	atomic_store_explicit(&ep_table[to], e, memory_order_release);
}

static void ep_end(struct ep *e)
{
	uint64_t mask = thread_signals_block();
	bool taken;

	ep_nest_forget(e); /* whose lock comes before this one */
	taken = shm_lock(&e->lock, thread_tid());
	ep_direct_end(e);
	for (uint32_t i = 0; i < e->hots; i++)
		e->hot[i].item->hot = -1;
	shm_fd_close(e->side);
	if (e->waker.efd >= 0)
		shm_waker_close(&e->waker, thread_tid());
	SHM_WRITE(e->hots, 0);
	shm_unlock(&e->lock, taken);
	ep_free(e);
	thread_signals_restore(mask);
}

void ep_close(int fd)
{
	struct ep *e = ep_of(fd);

	if (!e)
		return;
	atomic_store_explicit(&ep_table[fd], NULL, memory_order_release);
	if (SHM_SUB(e->numbers, 1) == 0)
		ep_end(e);
}

bool ep_lifted(const struct ep *e)
{
	return SHM_READ(e->hots) != 0 || ep_directs(e) != 0 ||
	       (unlikely(ep_nests(e)) && ep_nest_lifted(e));
}

bool ep_joined(const struct ep *e)
{
	return SHM_READ(e->side) >= 0 || ep_nests(e) || SHM_READ(e->tagged) || SHM_READ(e->shared);
}

struct shm_waker *ep_waker(struct ep *e)
{
	return &e->waker;
}

/* ---- the side ---- */

static int side_ctl(struct ep *e, int op, int fd, uint32_t events, void *data)
{
	struct epoll_event ev = { .events = events, .data.ptr = data };

	return (int)sys(SYS_epoll_ctl, e->side, op, fd, &ev);
}

int ep_side_open(struct ep *e)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int err;

	if (e->side >= 0)
		return 0;
	err = shm_waker_open(&e->waker);
	if (err)
		return err;
	SHM_WRITE(e->side, shm_fd_hide((int)sys(SYS_epoll_create1, EPOLL_CLOEXEC)));
	if (e->side < 0)
		return e->side;
	ev.data.u64 = e->magic;
	side_ctl(e, EPOLL_CTL_ADD, e->waker.efd, EPOLLIN | EPOLLET, &e->waker);
	side_ctl(e, EPOLL_CTL_ADD, shm_chan_fd(), EPOLLIN, e);
	return (int)sys(SYS_epoll_ctl, e->fd, EPOLL_CTL_ADD, e->side, &ev);
}

bool ep_item_lift(struct ep_item *it)
{
	struct ep *e = it->e;

	if (it->hot >= 0)
		return true;
	if (ep_side_open(e) || !ep_hot_add(it))
		return false;
	ep_kernel_due(e);
	SHM_WRITE(e->moves, e->moves + 1);
	sys(SYS_epoll_ctl, e->fd, EPOLL_CTL_DEL, it->fd, 0);
	side_ctl(e, EPOLL_CTL_ADD, it->fd, EP_SIDE_EVENTS, it);
	wait_watch(it->s, &e->waker);
	/* a thread may be asleep on the set as it was, without us */
	sys(SYS_write, e->waker.efd, &(uint64_t){ 1 }, 8);
	return true;
}

void ep_item_each(struct sock *s, void (*f)(struct ep_item *it))
{
	for (struct ep_item *it = atomic_load(&s->items), *next; it; it = next) {
		struct ep *e = SHM_READ(it->e);
		bool taken = shm_lock(&e->lock, thread_tid());

		next = NULL;
		if (SHM_READ(it->s) == s && SHM_READ(it->e) == e && atomic_load(&it->id)) {
			next = atomic_load(&it->next);
			if (ep_item_lives(it))
				f(it);
		}
		shm_unlock(&e->lock, taken);
	}
}

static void item_attached(struct ep_item *it)
{
	if (it->present)
		ep_item_lift(it);
}

void ep_attached(struct sock *s)
{
	atomic_thread_fence(memory_order_seq_cst); /* pairs with ctl_missed() */
	ep_item_each(s, item_attached);
}

void ep_crossed(const struct sock *s)
{
	/* an item may become another sock's meanwhile: its set is asked once more than needed */
	for (struct ep_item *it = atomic_load(&s->items); it; it = atomic_load(&it->next))
		SHM_WRITE(it->e->until, 0);
}

static void item_look(struct ep_item *it)
{
	if (it->hot < 0)
		return;
	it->edge |= (ready_now(it->s, POLLIN) & POLLIN) != 0;
	ep_hot_aim(&it->e->hot[it->hot], true);
	if (SHM_READ(it->e->waker.sleepers))
		sys(SYS_write, it->e->waker.efd, &(uint64_t){ 1 }, 8);
}

void ep_look(struct sock *s)
{
	ep_item_each(s, item_look);
}

void ep_forget(struct sock *s)
{
	struct ep_item *it = atomic_exchange(&s->items, NULL), *next;

	for (; it; it = next) {
		struct ep *e = it->e;
		bool taken = shm_lock(&e->lock, thread_tid());

		next = atomic_load(&it->next);
		if (ep_item_lives(it) && it->hot >= 0) {
			side_ctl(e, EPOLL_CTL_DEL, it->fd, 0, NULL);
			ep_hot_remove(it);
		}
		if (ep_item_lives(it))
			ep_direct_drop(it);
		ep_item_free(it);
		shm_unlock(&e->lock, taken);
	}
}

/* What only the kernel can tell of attached members, bells and channels. Under e->lock. Return: whether there may be more. */
static bool side_harvest(struct ep *e)
{
	struct epoll_event ev[EP_SIDE_BATCH];
	long n = sys(SYS_epoll_pwait, e->side, ev, EP_SIDE_BATCH, 0, 0, 8);

	for (long i = 0; i < n; i++) {
		struct ep_item *it = ev[i].data.ptr;

		if (ev[i].data.ptr == &e->waker || ep_direct_heard(e, ev[i].data.ptr))
			continue;
		if (ev[i].data.ptr == e) {
			lift_service();
			continue;
		}
		if (it->e != e || it->hot < 0 || !ep_item_lives(it))
			continue;
		ready_heard(it->s, (short)(ev[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)));
		e->heard += (ev[i].events & ~(uint32_t)EPOLLOUT) != 0;
		it->edge |= ev[i].events & ~(uint32_t)EPOLLOUT ||
			    (it->events & EPOLLOUT &&
			     SHM_READ(it->s->conn->tx.path) == SHM_PATH_KERNEL);
		ep_hot_aim(&e->hot[it->hot], true);
	}
	return n == EP_SIDE_BATCH;
}

void ep_side_hear(struct ep *e)
{
	for (uint32_t n = 0; n <= e->hots && side_harvest(e); n += EP_SIDE_BATCH)
		;
}

/* ---- epoll_ctl ---- */

static int ctl_fail(int err)
{
	errno = err;
	return -1;
}

void ep_item_set(struct ep_item *it, const struct epoll_event *ev)
{
	it->events = ev->events | EPOLLERR | EPOLLHUP;
	it->data = ev->data.u64;
	it->present = true;
	it->disabled = false;
	it->edge = true;
	it->kernel_seen = 0;
	it->out_seen = atomic_load_explicit(&it->s->full_gen, memory_order_relaxed) - 1;
	if (it->hot >= 0)
		ep_hot_aim(&it->e->hot[it->hot], true);
}

bool ep_bad_events(int op, uint32_t events)
{
	const uint32_t exclusive_ok = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP |
				      EPOLLET | EPOLLEXCLUSIVE;

	return events & EPOLLEXCLUSIVE && (op != EPOLL_CTL_ADD || events & ~exclusive_ok);
}

/* A registration that the kernel has: the connection is not attached. Under e->lock. @it: ours, if there is one. */
static int ctl_kernel(struct ep *e, int epfd, int op, struct sock *s, int fd,
		      struct epoll_event *ev, struct ep_item *it)
{
	bool once = op != EPOLL_CTL_DEL && ev->events & EPOLLONESHOT && !SHM_READ(e->shared);
	struct epoll_event by_tag;

	if (once && !it)
		it = ep_item_add(e, s, fd);
	if (once && it) {
		by_tag.events = ev->events;
		by_tag.data.u64 = ep_item_tag(it);
		SHM_WRITE(e->tagged, true);
	}
	if (real.epoll_ctl(epfd, op, fd, once && it ? &by_tag : ev) < 0)
		return -1;
	if (op == EPOLL_CTL_DEL) {
		if (it)
			it->present = false;
		return 0;
	}
	if (!it)
		it = ep_item_add(e, s, fd);
	if (!it) {
		sock_settle(s, REASON_NO_MEMORY);
		return 0;
	}
	it->turn++;
	ep_item_set(it, ev);
	return 0;
}

/* Attached by another thread while it was registered with the kernel: it was not among those that moved. */
static void ctl_missed(struct ep *e, struct sock *s)
{
	atomic_thread_fence(memory_order_seq_cst); /* pairs with ep_attached() */
	if (unlikely(sock_conn(s))) {
		uint64_t mask = thread_signals_block();

		ep_attached(s);
		thread_signals_restore(mask);
	}
	ep_kernel_due(e);
}

/* An attached connection's: in memory alone. What is deleted keeps its place: many programs add it again. */
static int ctl_attached(struct ep *e, int op, struct sock *s, int fd, struct epoll_event *ev)
{
	struct ep_item *it = ep_item_find(e, s, fd);

	if (op != EPOLL_CTL_DEL && ep_bad_events(op, ev->events))
		return ctl_fail(EINVAL);
	if (op == EPOLL_CTL_ADD && it && it->present)
		return ctl_fail(EEXIST);
	if (op != EPOLL_CTL_ADD && (!it || !it->present))
		return ctl_fail(ENOENT);
	if (op == EPOLL_CTL_DEL) {
		it->present = false;
		if (it->hot >= 0)
			ep_hot_aim(&e->hot[it->hot], false);
		else /* attached in this moment: it has not moved yet */
			sys(SYS_epoll_ctl, e->fd, EPOLL_CTL_DEL, fd, 0);
		return 0;
	}
	if (op == EPOLL_CTL_MOD && it->events & EPOLLEXCLUSIVE)
		return ctl_fail(EINVAL);
	if (!it)
		it = ep_item_add(e, s, fd);
	if (!it || !ep_item_lift(it))
		return ctl_fail(ENOMEM);
	ep_item_set(it, ev);
	/* somebody may sleep on the set without having looked at the new bits */
	if (SHM_READ(e->waker.sleepers))
		sys(SYS_write, e->waker.efd, &(uint64_t){ 1 }, 8);
	return 0;
}

/* A member that has no place yet. */
static int ctl_slow(struct ep *e, int op, struct sock *s, int fd, struct epoll_event *ev)
{
	uint64_t mask = thread_signals_block();
	bool taken = shm_lock(&e->lock, thread_tid());
	int ret;

	ep_kernel_due(e);
	ret = ctl_attached(e, op, s, fd, ev);
	shm_unlock(&e->lock, taken);
	thread_signals_restore(mask);
	return ret;
}

/*
 * A connection in the kernel. Signals are let in: a handler that comes while its own thread is at it lets
 * the kernel have the registration for good, and with it the connection.
 */
static int ctl_plain(struct ep *e, int epfd, int op, struct sock *s, int fd, struct epoll_event *ev)
{
	bool taken;
	int ret;

	taken = shm_lock(&e->lock, thread_tid());
	if (unlikely(!taken)) {
		sock_settle(s, REASON_BUSY);
		return real.epoll_ctl(epfd, op, fd, ev);
	}
	/* another thread may have attached it since the caller looked: then the kernel may not have it any more */
	if (unlikely(sock_conn(s))) {
		shm_unlock(&e->lock, true);
		return ctl_slow(e, op, s, fd, ev);
	}
	ret = ctl_kernel(e, epfd, op, s, fd, ev, ep_item_find(e, s, fd));
	shm_unlock(&e->lock, true);
	ctl_missed(e, s);
	return ret;
}

/* What is left of ep_ctl(). */
static __attribute__((noinline)) int ctl_followed(int epfd, int op, int fd, struct epoll_event *ev,
						  struct ep *e)
{
	struct sock *s = sock_of(fd);
	struct ep *inner = s ? NULL : ep_of(fd);
	const struct ep_item *it;
	bool taken;
	int ret;

	if (unlikely(SHM_READ(e->inherited)))
		ep_own(e);
	if ((!s && !inner) || op < EPOLL_CTL_ADD || op > EPOLL_CTL_MOD ||
	    (op != EPOLL_CTL_DEL && !mem_readable(ev, sizeof(*ev)))) {
		ep_kernel_due(e);
		return real.epoll_ctl(epfd, op, fd, ev);
	}
	if (inner) {
		ep_kernel_due(e);
		return ep_nest_ctl(e, epfd, op, fd, inner, ev);
	}
	if (direct_at(s))
		return ep_direct_ctl(e, epfd, op, s, fd, ev);
	if (!sock_conn(s))
		return ctl_plain(e, epfd, op, s, fd, ev);
	it = ep_item_find(e, s, fd);
	if (!it || SHM_READ(it->hot) < 0)
		return ctl_slow(e, op, s, fd, ev);
	taken = shm_lock(&e->lock, thread_tid());
	ret = ctl_attached(e, op, s, fd, ev);
	shm_unlock(&e->lock, taken);
	return ret;
}

int ep_ctl(int epfd, int op, int fd, struct epoll_event *ev, struct ep *e)
{
	const struct sock *s = sock_of(fd);

	if (!s || !sock_is_settled(s) || unlikely(SHM_READ(e->inherited)))
		return ctl_followed(epfd, op, fd, ev, e);
	ep_kernel_due(e);
	return real.epoll_ctl(epfd, op, fd, ev);
}

/* ---- asking the kernel ---- */

/* Take our own entries out of what the kernel reported, and our tags. */
static int ep_translate(struct ep *e, struct epoll_event *ev, int n)
{
	int left = 0;

	for (int i = 0; i < n; i++) {
		if (ev[i].data.u64 != e->magic)
			ev[left++] = ev[i]; /* in the kernel's order */
	}
	if (left < n) { /* by more than one where the set is shared with another process */
		bool taken = shm_lock(&e->lock, thread_tid());

		side_harvest(e);
		shm_unlock(&e->lock, taken);
		n = left;
	}
	if (SHM_READ(e->tagged)) {
		bool taken = shm_lock(&e->lock, thread_tid());

		n = ep_item_untag(e, ev, n);
		shm_unlock(&e->lock, taken);
	}
	return unlikely(ep_nests(e)) ? ep_nest_translate(e, ev, n) : n;
}

void ep_side_drain(struct ep *e)
{
	bool taken;

	if (SHM_READ(e->side) < 0)
		return;
	taken = shm_lock(&e->lock, thread_tid());
	side_harvest(e);
	shm_unlock(&e->lock, taken);
}

static void kernel_asked(struct ep *e, bool some)
{
	if (some || ep_nests(e) || unlikely(atomic_load(&thread_cancels)))
		ep_kernel_due(e);
	else if (SHM_READ(e->kernel_quiet) < EP_KERNEL_QUIET)
		SHM_WRITE(e->kernel_quiet, (uint8_t)(SHM_READ(e->kernel_quiet) + 1));
	else
		SHM_WRITE(e->until, thread_cycles() + conf.turn);
}

void ep_no_short_ways(void)
{
	ep_each(ep_kernel_due);
}

static int ep_kernel(struct ep *e, int epfd, struct epoll_event *ev, int max)
{
	long n = sys(SYS_epoll_pwait, epfd, ev, max, 0, 0, 8);

	n = n > 0 ? ep_translate(e, ev, (int)n) : 0;
	kernel_asked(e, n > 0);
	return (int)n;
}

static int ep_ours(struct ep *e, struct epoll_event *ev, int max)
{
	bool taken = shm_lock(&e->lock, thread_tid());
	int n = ep_scan(e, ev, max, true);

	shm_unlock(&e->lock, taken);
	return n;
}

static int ep_gather(struct ep *e, int epfd, struct epoll_event *ev, int max)
{
	bool due = thread_cycles() >= SHM_READ(e->until);
	int n = 0;

	if (unlikely(ep_nests(e)))
		n = ep_nest_collect(e, ev, n, max);
	if (unlikely(ep_directs(e)) && !SHM_READ(e->kernel_last)) {
		n = ep_direct_collect(e, ev, n, max);
		SHM_WRITE(e->kernel_last, n == max); /* they take turns */
	}
	if (n == max)
		return n;
	if (due && !SHM_READ(e->kernel_last)) {
		uint32_t moves = SHM_READ(e->moves);

		n += ep_kernel(e, epfd, ev + n, max - n);
		SHM_WRITE(e->kernel_last, n == max);
		/* one that has moved just now may be among the kernel's: it must not be reported twice */
		return n == max || (n && moves != SHM_READ(e->moves))
			       ? n
			       : n + ep_ours(e, ev + n, max - n);
	}
	n += ep_ours(e, ev + n, max - n);
	if (due && n < max)
		n += ep_kernel(e, epfd, ev + n, max - n);
	SHM_WRITE(e->kernel_last, false);
	return n;
}

bool ep_ready(struct ep *e)
{
	bool ready, taken;

	if (unlikely(SHM_READ(e->inherited)))
		ep_own(e);
	taken = shm_lock(&e->lock, thread_tid());
	ready = ep_scan_ready(e);
	shm_unlock(&e->lock, taken);
	return ready || (unlikely(ep_directs(e)) && ep_direct_ready(e)) ||
	       (unlikely(ep_nests(e)) && ep_nest_ready(e));
}

/* ---- waiting ---- */

static int64_t ns_left(uint64_t deadline)
{
	uint64_t now = thread_now();

	return deadline > now ? (int64_t)(deadline - now) : 0;
}

static int kernel_wait(int epfd, struct epoll_event *ev, int max, int64_t ns, const sigset_t *mask)
{
	struct timespec ts = { ns / 1000000000, ns % 1000000000 };
	int n = real.epoll_pwait2(epfd, ev, max, ns < 0 ? NULL : &ts, mask);

	if (n < 0 && errno == ENOSYS)
		n = real.epoll_pwait(epfd, ev, max, ns < 0 ? -1 : (int)((ns + 999999) / 1000000),
				     mask);
	return n;
}

/* Members that wait for room: is one stalled? Return: whether there are any. */
static bool ep_unstall(struct ep *e)
{
	bool taken = shm_lock(&e->lock, thread_tid()), waiting = false;

	/* those that were told that there is none are looked at in full: without odd ones there are none */
	for (uint32_t i = 0; e->odd && i < e->hots; i++) {
		struct ep_item *it = e->hot[i].item;

		if (it->events & EPOLLOUT && it->present && !it->disabled &&
		    SHM_READ(it->s->conn->tx.path) == SHM_PATH_RING && !ready_room(it->s)) {
			waiting = true;
			wait_unstall(it->s);
		}
	}
	shm_unlock(&e->lock, taken);
	return waiting;
}

static bool ep_deaf(struct ep *e)
{
	bool taken = shm_lock(&e->lock, thread_tid()), deaf = false;

	for (uint32_t i = 0; !deaf && i < e->hots; i++)
		deaf = wait_deaf(e->hot[i].sock, &e->waker);
	shm_unlock(&e->lock, taken);
	return deaf;
}

static int64_t sooner(int64_t ns, int64_t ms)
{
	return ns < 0 || ns > ms * 1000000 ? ms * 1000000 : ns;
}

static int ep_spin(struct ep *e, int epfd, struct epoll_event *ev, int max, uint64_t deadline,
		   struct wait_signals *sig)
{
	uint64_t asked = thread_cycles();
	struct wait_spin w;
	bool taken = shm_lock(&e->lock, thread_tid()), some; /* a member keeps its peer */
	int n;

	wait_spin_begin(&w, e->hots ? e->hot[0].sock->peer : NULL, sig);
	some = e->hots || ep_directs(e);
	shm_unlock(&e->lock, taken);
	if (!w.budget || !some)
		return 0;
	if (ep_directs(e))
		wait_spin_wire(&w);
	do {
		wait_spin_long(&w, SHM_READ(e->hots) / EP_LOOK_PAUSE);
		if (!ep_changed(e) && !(unlikely(ep_nests(e)) && ep_nest_ready(e)) &&
		    !(unlikely(ep_directs(e)) && ep_direct_ready(e)) &&
		    thread_cycles() - asked < conf.turn / 2)
			continue;
		n = ep_gather(e, epfd, ev, max);
		asked = thread_cycles();
		if (n) {
			wait_spin_end(true, 0);
			return n;
		}
		if (deadline && !ns_left(deadline))
			return 0;
	} while (wait_spin_turn(&w));
	return 0;
}

/* Sleep in the kernel on everything. Return: events, 0: look again or time is up, -1 with errno. */
static int ep_sleep(struct ep *e, int epfd, struct epoll_event *ev, int max, uint64_t deadline,
		    const sigset_t *mask, struct wait_signals *sig)
{
	uint64_t begun = thread_now();
	int64_t ns = deadline ? ns_left(deadline) : -1;
	int n = 0, saved;
	bool sleeps, direct, bell, left;

	wait_signals_hold(sig);
	if (ep_unstall(e))
		ns = sooner(ns, WAIT_STALL_MS);
	if (ep_deaf(e))
		ns = sooner(ns, WAIT_DEAF_MS);
	bell = SHM_READ(e->side) >= 0; /* another thread may be about to open it */
	if (bell)
		shm_waker_sleep(&e->waker, thread_tid(), begun);
	sleeps = ep_nest_sleep(e, thread_tid(), begun, &ns);
	sleeps &= (!ep_changed(e) || !ep_ready(e)) && !ep_nest_ready(e);
	direct = ep_directs(e) != 0;
	if (direct)
		sleeps &= ep_direct_sleep(e, &ns);
	if (sleeps) {
		mask = wait_signals_mask(sig, mask, &left);
		n = kernel_wait(epfd, ev, max, wait_left_ns(ns, left), mask);
	}
	saved = errno;
	if (direct)
		ep_direct_wake(e);
	if (bell)
		shm_waker_wake(&e->waker, thread_tid());
	ep_nest_wake(e, thread_tid());
	wait_spin_end(false, thread_now() - begun);
	if (n > 0)
		n = ep_translate(e, ev, n);
	if (sleeps)
		kernel_asked(e, n > 0);
	errno = saved;
	return n;
}

/* Nothing was there. Return: as ep_wait(). */
static int ep_block(struct ep *e, int epfd, struct epoll_event *ev, int max, uint64_t deadline,
		    const sigset_t *mask, struct wait_signals *sig)
{
	uint32_t moves;
	int n, more;

	for (;;) {
		n = ep_spin(e, epfd, ev, max, deadline, sig);
		if (n)
			return n;
		moves = SHM_READ(e->moves);
		n = ep_sleep(e, epfd, ev, max, deadline, mask, sig);
		if (n < 0)
			return n;
		if (!n)
			more = ep_gather(e, epfd, ev, max);
		else /* as in ep_gather(); and the kernel has been asked just now */
			more = n < max && moves == SHM_READ(e->moves) ? ep_ours(e, ev + n, max - n)
								      : 0;
		if (n + more)
			return n + more;
		if (unlikely(wait_signals_came(sig, mask))) { /* and nothing else has */
			errno = EINTR;
			return -1;
		}
		if (deadline && !ns_left(deadline))
			return 0;
	}
}

int ep_wait(struct ep *e, int epfd, struct epoll_event *ev, int max, int64_t timeout_ns,
	    const sigset_t *mask)
{
	struct wait_signals sig = { .held = false };
	uint64_t deadline = 0;
	int n;

	thread_cancel_point();
	if (unlikely(SHM_READ(e->inherited)))
		ep_own(e);
	if (max <= 0 || (uintptr_t)ev < 4096 || (uintptr_t)ev >> 47) {
		if (max <= 0 || !ep_directs(e) || !ep_direct_ready(e))
			return kernel_wait(epfd, ev, max, timeout_ns, mask);
		errno = EFAULT;
		return -1;
	}
	n = ep_gather(e, epfd, ev, max);
	if (n)
		return n;
	if (timeout_ns == 0) {
		n = ep_kernel(e, epfd, ev, max);
		return n ? n : ep_gather(e, epfd, ev, max);
	}
	if (timeout_ns > 0)
		deadline = thread_now() + (uint64_t)timeout_ns;
	n = ep_block(e, epfd, ev, max, deadline, mask, &sig);
	wait_signals_release(&sig);
	return n;
}

int ep_resume(struct ep *e, int epfd, struct epoll_event *ev, int n, int max, int64_t timeout_ns,
	      const sigset_t *mask)
{
	n = ep_translate(e, ev, n);
	return n ? n : ep_wait(e, epfd, ev, max, timeout_ns, mask);
}

int ep_wait_as(int epfd, struct epoll_event *ev, int max, int timeout, struct ep *e)
{
	int64_t ns = timeout < 0 ? -1 : timeout * INT64_C(1000000);
	int n;

	if (ep_lifted(e))
		return ep_wait(e, epfd, ev, max, ns, NULL);
	n = real.epoll_wait(epfd, ev, max, timeout);
	return likely(!ep_joined(e)) || n <= 0 ? n : ep_resume(e, epfd, ev, n, max, ns, NULL);
}
