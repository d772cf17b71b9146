/* ep_item.c - memory of epoll sets and items */
#include "preload/sock/ep_item.h"

#include "preload/sock/thread.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

/* Mapped a slab at a time: programs may bound their address space. */
enum {
	EP_MAX = 65536,
	EP_SLAB = 64,
	ITEM_MAX = 1 << 21,
	ITEM_SLAB = 1024,
	TAG_TURN = 24, /* bits of the number: ITEM_MAX fits */
	TAG_OURS = 40, /* and where those of the turn end */
	INNER_MAX = 4096,
	EP_LIFE = offsetof(struct ep, hots),
};

#define ITEM_NOBODYS UINT64_MAX /* an id that no set has */

static struct {
	_Atomic uint32_t lock; /* not for items */
	struct ep *ep[EP_MAX / EP_SLAB], *ep_free;
	uint32_t eps;
	uint64_t ids;
	struct ep_item *_Atomic item[ITEM_MAX / ITEM_SLAB];
	_Atomic uint64_t
		item_free; /* number of the first, from 1; above it a count against reuse */
	_Atomic uint32_t items;
	_Atomic uint64_t tag; /* what is above TAG_OURS in all of them; 0: not chosen yet */
	struct ep_inner *inner, *inner_free;
	uint32_t inners;
} mem;

static void *map(size_t bytes)
{
	long addr = sys(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return addr < 0 && addr > -4096 ? NULL : (void *)addr;
}

/* One that was never used. Under mem.lock. */
static struct ep *ep_fresh(void)
{
	struct ep **slab = &mem.ep[mem.eps / EP_SLAB];

	if (mem.eps == EP_MAX)
		return NULL;
	if (!*slab)
		*slab = map(EP_SLAB * sizeof(**slab));
	if (!*slab)
		return NULL;
	SHM_PUBLISH(mem.eps, mem.eps + 1); /* ep_each() looks without the lock */
	return &(*slab)[(mem.eps - 1) % EP_SLAB];
}

struct ep *ep_alloc(void)
{
	uint64_t mask = thread_signals_block();
	bool taken = shm_lock(&mem.lock, thread_tid());
	struct ep *e = mem.ep_free;

	if (e)
		mem.ep_free = e->next;
	else
		e = ep_fresh();
	if (e) {
		memset((char *)e + EP_LIFE, 0, sizeof(*e) - EP_LIFE);
		sys(SYS_getrandom, &e->magic, sizeof(e->magic), 0);
		atomic_store(&e->id, ++mem.ids);
	}
	shm_unlock(&mem.lock, taken);
	thread_signals_restore(mask);
	return e;
}

void ep_free(struct ep *e)
{
	bool taken = shm_lock(&mem.lock, thread_tid());

	atomic_store(&e->id, 0);
	e->next = mem.ep_free;
	mem.ep_free = e;
	shm_unlock(&mem.lock, taken);
}

void ep_each(void (*f)(struct ep *e))
{
	for (uint32_t i = 0; i < SHM_FOLLOW(mem.eps); i++) {
		struct ep *e = &mem.ep[i / EP_SLAB][i % EP_SLAB];

		if (SHM_FOLLOW(e->numbers))
			f(e);
	}
}

/* ---- items: no lock, so that a handler may come at any time ---- */

/* The slab with this index, mapped if it is not yet. */
static struct ep_item *item_slab(uint32_t i)
{
	struct ep_item *slab = atomic_load_explicit(&mem.item[i], memory_order_acquire);
	struct ep_item *none = NULL;

	if (likely(slab))
		return slab;
	slab = map(ITEM_SLAB * sizeof(*slab));
	if (!slab || atomic_compare_exchange_strong(&mem.item[i], &none, slab))
		return slab;
	sys(SYS_munmap, slab, ITEM_SLAB * sizeof(*slab));
	return none;
}

/* @n: the item's number, from 1 */
static struct ep_item *item_at(uint32_t n)
{
	return item_slab((n - 1) / ITEM_SLAB) + (n - 1) % ITEM_SLAB;
}

static struct ep_item *item_alloc(void)
{
	uint64_t top = atomic_load(&mem.item_free);
	uint32_t n;

	while ((n = (uint32_t)top) != 0) {
		struct ep_item *it = item_at(n);
		uint64_t next = ((top >> 32) + 1) << 32 |
				atomic_load_explicit(&it->free_next, memory_order_relaxed);

		if (atomic_compare_exchange_weak(&mem.item_free, &top, next))
			return it;
	}
	n = atomic_load(&mem.items);
	while (n < ITEM_MAX && item_slab(n / ITEM_SLAB)) {
		if (atomic_compare_exchange_weak(&mem.items, &n, n + 1)) {
			struct ep_item *it = item_at(n + 1);

			it->number = n + 1;
			return it;
		}
	}
	return NULL;
}

void ep_item_free(struct ep_item *it)
{
	uint64_t top = atomic_load(&mem.item_free), now;

	atomic_store(&it->id, 0);
	do {
		atomic_store_explicit(&it->free_next, (uint32_t)top, memory_order_relaxed);
		now = ((top >> 32) + 1) << 32 | it->number;
	} while (!atomic_compare_exchange_weak(&mem.item_free, &top, now));
}

/* A random value that no pointer has: what a program registers is not taken for one of ours. */
static uint64_t tag_choose(void)
{
	uint64_t random = 0, none = 0;

	sys(SYS_getrandom, &random, sizeof(random), 0);
	random = (random | UINT64_C(1) << 63) >> TAG_OURS << TAG_OURS;
	return atomic_compare_exchange_strong(&mem.tag, &none, random) ? random : none;
}

uint64_t ep_item_tag(const struct ep_item *it)
{
	uint64_t tag = atomic_load(&mem.tag);

	return (tag ? tag : tag_choose()) | (uint64_t)(uint16_t)(it->turn + 1) << TAG_TURN |
	       it->number;
}

static struct ep_item *tag_item(const struct ep *e, uint64_t tag)
{
	uint32_t n = tag & ((1 << TAG_TURN) - 1);
	struct ep_item *it = n && n <= atomic_load(&mem.items) ? item_at(n) : NULL;

	if (!it || atomic_load(&it->id) != atomic_load(&e->id) || it->hot >= 0 || !it->present ||
	    it->turn != (uint16_t)(tag >> TAG_TURN))
		return NULL;
	return it;
}

int ep_item_untag(struct ep *e, struct epoll_event *ev, int n)
{
	uint64_t ours = atomic_load(&mem.tag) >> TAG_OURS;
	int left = 0;

	for (int i = 0; i < n; i++) {
		struct epoll_event one = ev[i];

		if (one.data.u64 >> TAG_OURS == ours) {
			struct ep_item *it = tag_item(e, one.data.u64);

			if (!it)
				continue;
			it->disabled = true;
			one.data.u64 = it->data;
		}
		ev[left++] = one;
	}
	return left;
}

struct ep_item *ep_item_find(const struct ep *e, const struct sock *s, int fd)
{
	uint64_t id = atomic_load_explicit(&e->id, memory_order_relaxed);
	struct ep_item *it = atomic_load_explicit(&s->items, memory_order_acquire);

	while (it && (atomic_load_explicit(&it->id, memory_order_acquire) != id || it->fd != fd))
		it = atomic_load_explicit(&it->next, memory_order_acquire);
	return it;
}

/* One of a set that is gone; it is of no set until the caller has filled it in, but keeps its place in the list. */
static struct ep_item *item_stale(const struct sock *s)
{
	struct ep_item *it;

	for (it = atomic_load(&s->items); it; it = atomic_load(&it->next)) {
		uint64_t was = atomic_load(&it->id);

		if (was && was != ITEM_NOBODYS && atomic_load(&it->e->id) != was &&
		    atomic_compare_exchange_strong(&it->id, &was, ITEM_NOBODYS))
			return it;
	}
	return NULL;
}

struct ep_item *ep_item_add(struct ep *e, struct sock *s, int fd)
{
	struct ep_item *stale = item_stale(s);
	struct ep_item *it = stale ? stale : item_alloc(), *first;

	if (!it)
		return NULL;
	SHM_WRITE(it->e, e);
	SHM_WRITE(it->s, s);
	it->fd = fd;
	it->hot = -1;
	it->direct = 0;
	it->queued = false;
	it->heir = false;
	it->present = false;
	/* last: who reads it first, as ep_direct_woken() does, sees nothing of a former life */
	atomic_store(&it->id, atomic_load(&e->id));
	if (stale)
		return it;
	first = atomic_load(&s->items);
	do
		atomic_store(&it->next, first);
	while (!atomic_compare_exchange_weak(&s->items, &first, it));
	return it;
}

void ep_memory_forked(void)
{
	atomic_store(&mem.lock, 0);
	ep_nest_forked();
}

struct ep_inner *ep_inner_alloc(void)
{
	bool taken = shm_lock(&mem.lock, thread_tid());
	struct ep_inner *in = NULL;

	if (!mem.inner)
		mem.inner = map(INNER_MAX * sizeof(*in));
	if (mem.inner_free) {
		in = mem.inner_free;
		mem.inner_free = in->next;
	} else if (mem.inner && mem.inners < INNER_MAX) {
		in = &mem.inner[mem.inners++];
	}
	shm_unlock(&mem.lock, taken);
	return in;
}

void ep_inner_free(struct ep_inner *in)
{
	bool taken = shm_lock(&mem.lock, thread_tid());

	in->next = mem.inner_free;
	mem.inner_free = in;
	shm_unlock(&mem.lock, taken);
}

void ep_fork_lock(bool lock)
{
	static bool taken;

	if (lock) {
		ep_nest_fork_lock(true); /* in the order of locks */
		taken = shm_lock(&mem.lock, thread_tid());
	} else {
		shm_unlock(&mem.lock, taken);
		ep_nest_fork_lock(false);
	}
}
