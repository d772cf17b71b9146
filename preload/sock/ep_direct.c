/* ep_direct.c - members of epoll sets that are connections of the stack of this process
 *
 * Theory of operation. A connection of the stack is not a member of the kernel's set: its descriptor there is an
 * unconnected socket, which has hung up. A listener is a member of both. What happened to a member puts it on the set's
 * list; a wait takes each off, asks what poll() would say, and puts level-triggered ones that had something to say back
 * at the end, as the kernel does. The devices' descriptors are members of the set's side, so that one sleep covers all.
 * A set has a list for each instance that members of it have, used inside that one's lock, which comes after the set's own: a
 * connection's, and for a listener the instance of the thread that has registered it.
 */
#include "preload/sock/direct_priv.h"
#include "preload/sock/ep_item.h"
#include "preload/sock/tend.h"
#include "preload/sock/thread.h"

#include <errno.h>

/* For the instance that the thread is inside of. */
static struct base_list *list_of(struct ep *e)
{
	struct base_list *list = &e->woken[net_no(thread_self.inside)];

	if (unlikely(!list->next))
		base_list_init(list);
	return list;
}

static void ring(struct ep *e)
{
	const uint64_t one = 1;

	sys(SYS_write, e->waker.efd, &one, sizeof(one));
}

static void wake(struct ep_item *it)
{
	struct ep *e = it->e;

	if (!it->queued) {
		it->queued = true;
		base_list_push_tail(list_of(e), &it->woken);
	}
	SHM_WRITE(e->direct_news, e->direct_news + 1);
	if (atomic_load_explicit(&e->direct_sleepers, memory_order_relaxed) || SHM_READ(e->nested))
		ring(e);
}

static void unqueue(struct ep_item *it)
{
	if (it->queued)
		base_list_remove(&it->woken);
	it->queued = false;
}

/*
 * No set's lock: those come before ours. One that is of this instance, in a set that lives, stays so while we are in the lock; any
 * other may be about to become another sock's, and is left alone.
 */
bool ep_direct_woken(struct sock *s)
{
	const unsigned here = net_no(thread_self.inside) + 1;
	bool told = false;
	struct ep_item *it;

	for (it = atomic_load(&s->items); it; it = atomic_load(&it->next)) {
		if (!ep_item_lives(it) ||
		    atomic_load_explicit(&it->direct, memory_order_relaxed) != here || it->s != s ||
		    !it->present || it->disabled)
			continue;
		wake(it);
		told = true;
	}
	return told;
}

/* ---- registrations ---- */

/* Into the lock of an item's instance. Return: false: it has none, or not inside. */
static bool item_enter(const struct ep_item *it)
{
	uint8_t of = atomic_load_explicit(&it->direct, memory_order_relaxed);

	return of && net_enter(&net_insts[of - 1]);
}

/* In the lock, under e->lock, as item_part() is. */
static void item_join(struct ep_item *it)
{
	struct ep *e = it->e;
	unsigned no = net_no(thread_self.inside);

	if (!it->direct) {
		SHM_WRITE(e->directs, e->directs + 1);
		if (e->directs == 1)
			ring(e); /* who sleeps has not counted itself: there was nothing of ours to wait for */
	}
	atomic_store_explicit(&it->direct, (uint8_t)(no + 1), memory_order_relaxed);
	atomic_fetch_or(&e->insts, (uint8_t)(1u << no));
	wake(it);
}

static void item_part(struct ep_item *it)
{
	if (it->direct)
		SHM_WRITE(it->e->directs, it->e->directs - 1);
	atomic_store_explicit(&it->direct, 0, memory_order_relaxed);
	unqueue(it);
}

void ep_direct_drop(struct ep_item *it)
{
	if (!item_enter(it))
		return;
	direct_hand_ctl(it->s, it->e->fd, EPOLL_CTL_DEL, NULL);
	item_part(it);
	net_leave();
}

void ep_direct_end(struct ep *e)
{
	struct base_list *node;

	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (!(e->insts & 1u << k) || !net_enter(&net_insts[k]))
			continue;
		while ((node = base_list_pop_head(list_of(e))))
			base_container_of(node, struct ep_item, woken)->queued = false;
		net_leave();
	}
	e->insts = 0;
	SHM_WRITE(e->directs, 0);
}

static int ctl_fail(int err)
{
	errno = err;
	return -1;
}

/* Into the lock of the instance that a registration by this thread has. */
static bool item_enter_for(const struct ep_item *it)
{
	int err;

	return direct_enter(it->s, &err);
}

/* Under e->lock. */
static int ctl(struct ep *e, int epfd, int op, struct sock *s, int fd, struct epoll_event *ev)
{
	struct ep_item *it = ep_item_find(e, s, fd);
	bool there = it && it->present;

	if (op != EPOLL_CTL_DEL && ep_bad_events(op, ev->events))
		return ctl_fail(EINVAL);
	if ((op == EPOLL_CTL_ADD) == there)
		return ctl_fail(there ? EEXIST : ENOENT);
	if (op == EPOLL_CTL_MOD && it->events & EPOLLEXCLUSIVE)
		return ctl_fail(EINVAL);
	if (!it)
		it = ep_item_add(e, s, fd);
	if (!it || ep_side_open(e))
		return ctl_fail(ENOMEM);
	if (!direct_is_connection(s) && sys(SYS_epoll_ctl, epfd, op, fd, ev) < 0)
		return ctl_fail(op == EPOLL_CTL_ADD ? EEXIST : ENOENT);
	if (op != EPOLL_CTL_ADD ? !item_enter(it) : !item_enter_for(it))
		return ctl_fail(ENOMEM);
	direct_hand_ctl(s, epfd, op, ev);
	if (op == EPOLL_CTL_DEL) {
		it->present = false;
		item_part(it);
	} else {
		ep_item_set(it, ev);
		it->out_seen = UINT32_MAX;
		item_join(it);
	}
	net_leave();
	return 0;
}

int ep_direct_ctl(struct ep *e, int epfd, int op, struct sock *s, int fd, struct epoll_event *ev)
{
	uint64_t mask;
	bool taken;
	int ret;

	/* a connection: no system call, nothing that a signal handler must not meet half done */
	if (likely(e->side >= 0 && direct_is_connection(s))) {
		taken = shm_lock(&e->lock, thread_tid());
		ret = ctl(e, epfd, op, s, fd, ev);
		shm_unlock(&e->lock, taken);
		return ret;
	}
	mask = thread_signals_block();
	taken = shm_lock(&e->lock, thread_tid());
	if (op == EPOLL_CTL_ADD && !direct_is_connection(s))
		direct_arm(s);
	ep_kernel_due(e);
	ret = ctl(e, epfd, op, s, fd, ev);
	shm_unlock(&e->lock, taken);
	thread_signals_restore(mask);
	return ret;
}

/* Under e->lock. */
static void item_adopt(struct ep_item *it)
{
	struct ep *e = it->e;

	if (!it->present || ep_side_open(e) || !item_enter_for(it))
		return;
	if (direct_is_connection(it->s))
		sys(SYS_epoll_ctl, e->fd, EPOLL_CTL_DEL, it->fd, 0);
	it->out_seen = UINT32_MAX;
	direct_hand_ctl(it->s, e->fd, EPOLL_CTL_ADD,
			&(struct epoll_event){ .events = it->events, .data.u64 = it->data });
	ep_kernel_due(e);
	item_join(it);
	net_leave();
}

void ep_direct_adopt(struct sock *s)
{
	uint64_t mask;

	if (likely(!atomic_load(&s->items)) || !s->direct)
		return;
	mask = thread_signals_block();
	ep_item_each(s, item_adopt);
	thread_signals_restore(mask);
}

/* Under e->lock. The socket will not move again, and the kernel may have its registration as the program gave it. */
static void item_to_kernel(struct ep_item *it)
{
	struct epoll_event ev = { .events = it->events, .data.u64 = it->data };

	if (it->disabled)
		ev.events = 0;
	if (it->present)
		sys(SYS_epoll_ctl, it->e->fd, EPOLL_CTL_ADD, it->fd, &ev);
	it->present = false;
	ep_kernel_due(it->e);
}

static void item_lowered(struct ep_item *it)
{
	if (!item_enter(it))
		return;
	item_part(it);
	net_leave();
	item_to_kernel(it);
}

void ep_direct_lowered(struct sock *s)
{
	ep_item_each(s, item_lowered);
}

/* ---- waiting ---- */

/* A listener's word from the kernel and ours are one event. Return: whether there is one already. */
static bool merged(const struct ep_item *it, uint32_t bits, struct epoll_event *ev, int n)
{
	for (int i = 0; i < n; i++) {
		if (ev[i].data.u64 == it->data) {
			ev[i].events |= bits;
			return true;
		}
	}
	return false;
}

static void once(struct ep_item *it)
{
	struct epoll_event none = { .events = 0, .data.u64 = it->data };

	it->disabled = true;
	if (!direct_is_connection(it->s))
		sys(SYS_epoll_ctl, it->e->fd, EPOLL_CTL_MOD, it->fd, &none);
	direct_hand_ctl(it->s, it->e->fd, EPOLL_CTL_MOD, &none);
}

/* In the lock. Return: bits to tell. */
static uint32_t item_bits(const struct ep_item *it)
{
	const struct direct *d = it->s->direct;
	uint32_t bits;

	if (!d || !it->present || it->disabled || !ep_item_lives(it))
		return 0;
	if (!d->at && d->of != thread_self.inside)
		return 0; /* the item waits to be dropped: its socket has become another */
	bits = (uint32_t)direct_bits(it->s->direct) & it->events;
	if (it->events & EPOLLET && it->out_seen == direct_gen(d))
		return 0;
	return bits;
}

/* In the lock. */
static int gather(struct ep *e, struct epoll_event *ev, int n, int max)
{
	struct base_list again;
	struct base_list *node;

	base_list_init(&again);
	while (n < max && (node = base_list_pop_head(list_of(e)))) {
		struct ep_item *it = base_container_of(node, struct ep_item, woken);
		uint32_t bits = item_bits(it);

		it->queued = false;
		if (!bits)
			continue;
		it->out_seen = direct_gen(it->s->direct);
		if (direct_is_connection(it->s) || !merged(it, bits, ev, n))
			ev[n++] = (struct epoll_event){ .events = bits, .data.u64 = it->data };
		if (it->events & EPOLLONESHOT) {
			once(it);
		} else if (!(it->events & EPOLLET)) {
			it->queued = true;
			base_list_push_tail(&again, &it->woken);
		}
	}
	while ((node = base_list_pop_head(&again)))
		base_list_push_tail(list_of(e), node);
	return n;
}

int ep_direct_collect(struct ep *e, struct epoll_event *ev, int n, int max)
{
	int were;

	for (unsigned k = 0, insts = e->insts; insts; k++, insts >>= 1) {
		if (!(insts & 1) || n == max || !net_enter(&net_insts[k]))
			continue;
		net_drive();
		were = n;
		n = gather(e, ev, n, max);
		net_round((unsigned)(n - were));
		net_leave();
	}
	return n;
}

/* In the lock. */
static bool some_ready(struct ep *e)
{
	base_list_for_each_safe(node, list_of(e))
	{
		struct ep_item *it = base_container_of(node, struct ep_item, woken);

		if (item_bits(it))
			return true;
		unqueue(it);
	}
	return false;
}

bool ep_direct_ready(struct ep *e)
{
	bool ready = false;

	for (unsigned k = 0, insts = e->insts; insts && !ready; k++, insts >>= 1) {
		if (!(insts & 1) || !net_enter(&net_insts[k]))
			continue;
		net_drive();
		ready = some_ready(e);
		net_leave();
	}
	return ready;
}

/*
 * The devices of instance @k are to wake who sleeps on the set, each once: to go on telling a set that is not slept on would cost
 * who sends a packet on a veth a walk through two more wait queues.
 */
static void devices_arm(struct ep *e, unsigned k)
{
	unsigned open = atomic_load(&net_insts[k].open);

	for (unsigned i = 0; open && i < NET_MAX; i++) {
		const struct net *n = &net_insts[k].net[i];
		struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = (void *)n };

		if (!(open & 1u << i) || n->fd < 0 ||
		    atomic_fetch_or(&e->armed[k], 1u << i) & 1u << i)
			continue;
		if (sys(SYS_epoll_ctl, e->side, EPOLL_CTL_MOD, n->fd, &ev) != -ENOENT)
			continue;
		sys(SYS_epoll_ctl, e->side, EPOLL_CTL_ADD, n->fd, &ev);
		ev.events = EPOLLIN; /* it seldom says something */
		if (n->fd_tables >= 0)
			sys(SYS_epoll_ctl, e->side, EPOLL_CTL_ADD, n->fd_tables, &ev);
	}
}

bool ep_direct_heard(struct ep *e, const void *from)
{
	const struct net *n = from;
	unsigned k;

	if ((uintptr_t)from < (uintptr_t)net_insts ||
	    (uintptr_t)from >= (uintptr_t)(net_insts + NET_INSTS))
		return false;
	k = net_no(n->of);
	atomic_fetch_and(&e->armed[k], (uint8_t) ~(1u << (n - n->of->net)));
	if (atomic_load(&e->direct_sleepers) || SHM_READ(e->nested))
		devices_arm(e, k); /* who counted itself as asleep before may have found it armed */
	return true;
}

static bool sleep_on(struct ep *e, uint32_t sleepers, int64_t *ns)
{
	bool ready = false;
	uint64_t at, now;

	atomic_fetch_add(&e->direct_sleepers, sleepers); /* before the last look */
	for (unsigned k = 0, insts = e->insts; insts; k++, insts >>= 1) {
		if (!(insts & 1) || !net_enter(&net_insts[k]))
			continue;
		net_drive();
		ready |= some_ready(e);
		devices_arm(e, k);
		net_leave();
	}
	tend_sleep(e->insts);
	at = net_deadline(e->insts);
	now = thread_now();
	at = at > now ? at - now : 0;
	if (at < INT64_MAX && (*ns < 0 || (uint64_t)*ns > at))
		*ns = (int64_t)at;
	return !ready;
}

bool ep_direct_sleep(struct ep *e, int64_t *ns)
{
	return sleep_on(e, 1, ns);
}

void ep_polled(struct ep *e)
{
	if (likely(!ep_directs(e)))
		return;
	SHM_WRITE(e->nested, true);
	for (unsigned k = 0, insts = e->insts; insts; k++, insts >>= 1) {
		if (insts & 1)
			devices_arm(e, k);
	}
}

bool ep_direct_nest_sleep(struct ep *e, int64_t *ns)
{
	SHM_WRITE(e->nested, true);
	return !ep_directs(e) || sleep_on(e, 0, ns);
}

void ep_direct_wake(struct ep *e)
{
	tend_sleep(0);
	atomic_fetch_sub(&e->direct_sleepers, 1);
}

void ep_direct_forked(struct sock *s)
{
	struct ep_item *it;

	for (it = atomic_load(&s->items); it; it = atomic_load(&it->next)) {
		it->heir = it->direct && direct_is_connection(s);
		it->direct = 0;
		it->queued = false;
	}
}

void ep_direct_inherit(struct ep *e)
{
	for (int n = 0; n <= sock_highest(); n++) {
		struct sock *s = sock_of(n);
		struct ep_item *it = s ? atomic_load(&s->items) : NULL;

		for (; it; it = atomic_load(&it->next)) {
			if (it->e != e || !it->heir || !ep_item_lives(it))
				continue;
			direct_claim(s);
			it->heir = false;
			item_to_kernel(it);
		}
	}
}
