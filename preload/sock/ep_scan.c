/* ep_scan.c - the hot array: what attached members of an epoll set have to say
 *
 * Theory of operation. An entry points to two words, chosen whenever something about its member changes
 * (ep_hot_aim), so that a scan has one question for each of them: do the words differ?
 *
 *   member                                 *tail                  *mark
 *   level, waits for bytes                 the peer's tail        our head
 *   edge, waits for bytes                  the peer's tail        the tail that was told last
 *   waits for room, or in some odd state   what is no offset      our head            (always look)
 *   not registered, or oneshot and told    what is no offset      the same            (never look)
 *
 * The two are read one after the other, so those that are to be equal do not move.
 *
 * A level member with bytes is then told without another look (plain); all else takes scan_one(), and makes
 * the set odd: one that is not has the short way, ep_wait_ms(). What moves no bytes (a border, the peer's end) is looked for when the kernel's members have their turn or when nothing
 * else was found: such a look touches two more lines for each member.
 */
#include "preload/sock/conf.h"
#include "preload/sock/ep_item.h"
#include "preload/sock/ready.h"
#include "preload/sock/span.h"
#include "preload/sock/thread.h"
#include "preload/sock/wait.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>

enum { HOT_FIRST = 64 };

static const _Atomic uint64_t no_offset = UINT64_MAX;

/* ---- the array ---- */

/* Old arrays are not unmapped: another thread may be scanning them. They halve in size, so twice is the bound. */
static bool hot_grow(struct ep *e)
{
	uint32_t max = e->hot_max ? e->hot_max * 2 : HOT_FIRST;
	long addr = sys(SYS_mmap, 0, max * sizeof(*e->hot), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct ep_hot *hot = (struct ep_hot *)addr;

	if (addr < 0 && addr > -4096)
		return false;
	if (e->hots)
		memcpy(hot, e->hot, e->hots * sizeof(*hot));
	for (uint32_t i = 0; i < e->hots; i++) {
		if (e->hot[i].mark == &e->hot[i].seen)
			hot[i].mark = &hot[i].seen;
	}
	e->hot = hot;
	e->hot_max = max;
	return true;
}

bool ep_hot_add(struct ep_item *it)
{
	struct ep *e = it->e;
	struct ep_hot *h;

	if (e->hots == e->hot_max && !hot_grow(e))
		return false;
	h = &e->hot[e->hots];
	*h = (struct ep_hot){ .item = it, .conn = it->s->conn, .sock = it->s, .seen = UINT64_MAX };
	ep_hot_aim(h, true);
	SHM_WRITE(it->hot, (int)e->hots);
	SHM_WRITE(e->hots, e->hots + 1);
	return true;
}

void ep_hot_remove(struct ep_item *it)
{
	struct ep *e = it->e;
	struct ep_hot *to = &e->hot[it->hot], *last = &e->hot[e->hots - 1];

	e->odd -= to->odd;
	if (to != last) {
		*to = *last;
		if (last->mark == &last->seen)
			to->mark = &to->seen;
		SHM_WRITE(to->item->hot, (int)(to - e->hot));
	}
	SHM_WRITE(e->hots, e->hots - 1);
	SHM_WRITE(it->hot, -1);
}

void ep_hot_aim(struct ep_hot *h, bool look)
{
	const struct ep_item *it = h->item;
	const _Atomic uint64_t *head = &h->conn->ctl.head;
	const bool edge = it->events & EPOLLET;
	uint32_t bits = it->events & (EPOLLIN | EPOLLRDNORM);

	it->e->odd -= h->odd;
	h->data = it->data;
	h->plain = h->edge = 0;
	h->mark = head;
	if (!it->present || it->disabled) {
		h->tail = h->mark = &no_offset;
	} else if (look || unlikely(sock_rcvlowat(it->s) > 1)) {
		h->tail = &no_offset;
	} else {
		h->tail = &it->s->view.ctl->tail;
		if (it->events & EPOLLONESHOT || SHM_READ(h->conn->rx.path) != SHM_PATH_RING ||
		    SHM_READ(h->conn->rx.frozen))
			bits = 0;
		if (edge) {
			h->mark = &h->seen;
			h->edge = (uint16_t)bits;
		} else {
			h->plain = bits;
		}
	}
	h->odd = h->tail != h->mark && !h->plain;
	it->e->odd += h->odd;
}

/* ---- one member ---- */

static inline bool hot_says(const struct ep_hot *h)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
	bool differ;
	uint64_t tail;

	/* any load here is an acquire; the compiler would use two where the second needs none of its own */
	__asm__ volatile("mov %2, %1\n\tcmp %3, %1"
			 : "=@ccne"(differ), "=&r"(tail)
			 : "m"(*h->tail), "m"(*h->mark)
			 : "memory");
	return differ;
#else
	return atomic_load_explicit(h->tail, memory_order_acquire) !=
	       atomic_load_explicit(h->mark, memory_order_relaxed);
#endif
}

/* Something else than bytes: a border, the end. */
static inline bool hot_odd(const struct ep_hot *h)
{
	return h->tail != h->mark &&
	       (shm_ring_pair(&h->sock->view.ctl->span) !=
			atomic_load_explicit(&h->conn->ctl.span_ack, memory_order_relaxed) ||
		SHM_READ(h->sock->gen) !=
			atomic_load_explicit(&h->sock->pulse->close_gen, memory_order_relaxed) ||
		((h->plain || h->edge) && SHM_READ(h->conn->rx.path) != SHM_PATH_RING));
}

/* Whether an edge has passed since the member was last reported. */
static bool item_edge(struct ep_hot *h, uint32_t bits, bool consume)
{
	struct ep_item *it = h->item;
	struct sock *s = h->sock;
	uint64_t tail = atomic_load_explicit(&s->view.ctl->tail, memory_order_relaxed);
	uint32_t full = atomic_load_explicit(&s->full_gen, memory_order_relaxed);
	bool edge = it->edge || SHM_READ(s->kernel_bits) != it->kernel_seen;

	/* on the ring, or there behind what the kernel still holds */
	edge |= bits & EPOLLIN && tail != atomic_load_explicit(&h->seen, memory_order_relaxed);
	edge |= bits & EPOLLOUT && full != it->out_seen;
	if (edge && consume) {
		it->edge = false;
		atomic_store_explicit(&h->seen, tail, memory_order_relaxed);
		it->kernel_seen = SHM_READ(s->kernel_bits);
		if (bits & EPOLLOUT)
			it->out_seen = full;
	}
	return edge;
}

/* What poll() would say, and where to look from now on. */
static uint32_t item_bits(struct ep_hot *h)
{
	const struct ep_item *it = h->item;
	struct sock *s = h->sock;
	const struct shm_conn *c = h->conn;
	uint32_t bits = (uint32_t)ready_now(s, (short)(it->events & 0x3fff));

	if (it->events & EPOLLOUT && !(bits & EPOLLOUT))
		wait_want_space(s, true);
	ep_hot_aim(h, it->events & EPOLLOUT || bits & (EPOLLPRI | EPOLLERR | EPOLLHUP) ||
			      SHM_READ(s->kernel_bits) ||
			      (bits && SHM_READ(c->rx.path) == SHM_PATH_KERNEL));
	return bits;
}

/* An edge-triggered member that has reported all there is, in a state where nothing else can have come. */
static inline bool edge_is_old(const struct ep_hot *h)
{
	const struct ep_item *it = h->item;
	const struct sock *s = h->sock;

	return it->events & EPOLLET && !it->edge && SHM_READ(s->kernel_bits) == it->kernel_seen &&
	       SHM_READ(h->conn->rx.path) == SHM_PATH_RING &&
	       SHM_READ(h->conn->tx.path) == SHM_PATH_RING &&
	       atomic_load_explicit(&s->view.ctl->tail, memory_order_acquire) ==
		       atomic_load_explicit(&h->seen, memory_order_relaxed) &&
	       atomic_load_explicit(&s->full_gen, memory_order_relaxed) == it->out_seen &&
	       !hot_odd(h);
}

/* A new edge of bytes alone. Return: whether there are some. */
static inline bool edge_take(struct ep_hot *h)
{
	uint64_t tail = atomic_load_explicit(h->tail, memory_order_acquire);

	h->item->edge = false;
	atomic_store_explicit(&h->seen, tail, memory_order_relaxed);
	return tail != atomic_load_explicit(&h->conn->ctl.head, memory_order_relaxed);
}

/* A member whose words differ, or that is looked at in full. Return: the bits to tell. */
static __attribute__((noinline)) uint32_t scan_one(struct ep_hot *h)
{
	struct ep_item *it = h->item;
	uint32_t bits;

	if (h->edge && !hot_odd(h))
		return edge_take(h) ? h->edge : 0;
	if (!it->present || it->disabled || edge_is_old(h))
		return 0;
	bits = item_bits(h) & it->events;
	if (!bits) {
		it->edge = false; /* nothing is true: what becomes so is an edge of its own */
		return 0;
	}
	if (it->events & EPOLLET && !item_edge(h, bits, true))
		return 0;
	if (it->events & EPOLLONESHOT) {
		it->disabled = true;
		ep_hot_aim(h, false);
	}
	return bits;
}

/* ---- all of them ---- */

/* Whether bytes that the kernel has, or is about to speak of, may be told. */
static inline bool edge_of_kernel(const struct ep_hot *h)
{
	return h->item->events & EPOLLET &&
	       (SHM_READ(h->conn->rx.path) == SHM_PATH_KERNEL || span_ahead(h->sock));
}

int ep_scan(struct ep *e, struct epoll_event *ev, int max, bool odd)
{
	uint32_t n = e->hots;
	uint32_t i = e->start < n ? e->start : 0;
	bool heard = false;
	int got = 0;

	for (uint32_t k = 0; k < n && got < max; k++, i = i + 1 == n ? 0 : i + 1) {
		struct ep_hot *h = &e->hot[i];
		uint32_t bits;

		if (odd && hot_odd(h))
			ep_hot_aim(h, true);
		if (!hot_says(h))
			continue;
		if (!h->plain && !heard && edge_of_kernel(h)) {
			/* its word on what is told now must not be another edge afterwards */
			ep_side_hear(e);
			heard = true;
			if (i >= e->hots)
				break;
			h = &e->hot[i]; /* more of them: the array may be another */
		}
		bits = h->plain ? h->plain : scan_one(h);
		if (!bits)
			continue;
		ev[got].events = bits;
		ev[got++].data.u64 = h->data;
	}
	if (got == max)
		e->start = i;
	return got;
}

static inline struct epoll_event *quick_one(const struct ep_hot *h, struct epoll_event *ev)
{
	if (!hot_says(h))
		return ev;
	ev->events = h->plain;
	ev->data.u64 = h->data;
	return ev + 1;
}

/* Under e->lock. Return: events. */
static inline int quick_scan(const struct ep *e, struct epoll_event *ev)
{
	const struct ep_hot *h = e->hot;
	struct epoll_event *at = ev;
	uint32_t n = e->hots;

	for (; n >= 4; n -= 4, h += 4) {
		at = quick_one(h, at);
		at = quick_one(h + 1, at);
		at = quick_one(h + 2, at);
		at = quick_one(h + 3, at);
	}
	for (; n; n--, h++)
		at = quick_one(h, at);
	return (int)(at - ev);
}

/* No memory of a program: the kernel is to say so. */
static inline bool bad_array(const struct epoll_event *ev)
{
	return (uintptr_t)ev - 4096 >= (UINT64_C(1) << 47) - 4096;
}

/* Under e->lock, which it gives back. */
static __attribute__((noinline)) int ep_wait_odd(int epfd, struct epoll_event *ev, int max,
						 int timeout, struct ep *e)
{
	int n = ep_scan(e, ev, max, false);

	shm_unlock(&e->lock, true);
	return n ? n : ep_wait_as(epfd, ev, max, timeout, e);
}

/* All that it calls comes last, so that few registers are saved: it is counted by the instruction (bench/micro). */
int ep_wait_ms(int epfd, struct epoll_event *ev, int max, int timeout, struct ep *e)
{
	uint32_t free = 0, tid = thread_self.tid;
	int n;

	if (unlikely((uint32_t)max < SHM_READ(e->hots) || bad_array(ev) || !tid ||
		     thread_cycles() >= SHM_READ(e->until)))
		return ep_wait_as(epfd, ev, max, timeout, e);
	if (unlikely(!atomic_compare_exchange_strong_explicit(
		    &e->lock, &free, tid, memory_order_acquire, memory_order_relaxed)))
		return ep_wait_as(epfd, ev, max, timeout, e);
	if (unlikely(e->odd))
		return ep_wait_odd(epfd, ev, max, timeout, e);
	n = quick_scan(e, ev);
	if (unlikely(e->odd)) /* since a moment ago, by a handler */
		return ep_wait_odd(epfd, ev, max, timeout, e);
	shm_unlock(&e->lock, true);
	return likely(n) ? n : ep_wait_as(epfd, ev, max, timeout, e);
}

bool ep_changed(struct ep *e)
{
	uint32_t holder = 0, tid = thread_tid();
	bool taken = atomic_compare_exchange_strong_explicit(&e->lock, &holder, tid,
							     memory_order_acquire,
							     memory_order_relaxed);
	bool changed = !taken && holder != tid;

	for (uint32_t i = 0; !changed && i < e->hots; i++)
		changed = hot_says(&e->hot[i]) || hot_odd(&e->hot[i]);
	shm_unlock(&e->lock, taken);
	return changed;
}

bool ep_scan_ready(struct ep *e)
{
	for (uint32_t i = 0; i < e->hots; i++) {
		struct ep_hot *h = &e->hot[i];
		const struct ep_item *it = h->item;
		uint32_t bits;

		if ((!hot_says(h) && !hot_odd(h)) || !it->present || it->disabled)
			continue;
		bits = item_bits(h) & it->events;
		if (bits && (!(it->events & EPOLLET) || item_edge(h, bits, false)))
			return true;
	}
	return false;
}
