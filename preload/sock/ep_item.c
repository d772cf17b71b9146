/* ep_item.c - memory of epoll sets */
#include "preload/sock/ep_item.h"

#include "preload/sock/thread.h"

#include <string.h>
#include <sys/mman.h>

enum {
	EP_MAX = 65536,
	ITEM_MAX = 1 << 21,
	INNER_MAX = 4096,
	HOT_FIRST = 64,
};

static struct {
	_Atomic uint32_t lock;
	struct ep *ep, *ep_free;
	uint32_t eps;
	struct ep_item *item, *item_free;
	uint32_t items;
	struct ep_inner *inner, *inner_free;
	uint32_t inners;
} mem;

static void *map(size_t bytes)
{
	long addr = sys(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return addr < 0 && addr > -4096 ? NULL : (void *)addr;
}

struct ep *ep_alloc(void)
{
	uint64_t mask = thread_signals_block();
	bool taken = shm_lock(&mem.lock, thread_tid());
	struct ep *e = NULL;

	if (!mem.ep)
		mem.ep = map(EP_MAX * sizeof(*e));
	if (mem.ep_free) {
		e = mem.ep_free;
		mem.ep_free = e->next;
	} else if (mem.ep && mem.eps < EP_MAX) {
		e = &mem.ep[mem.eps++];
	}
	if (e) {
		struct ep_hot *hot = e->hot;
		uint32_t max = e->hot_max;

		memset(e, 0, sizeof(*e));
		e->hot = hot;
		e->hot_max = max;
	}
	shm_unlock(&mem.lock, taken);
	thread_signals_restore(mask);
	return e;
}

void ep_free(struct ep *e)
{
	bool taken = shm_lock(&mem.lock, thread_tid());

	e->numbers = 0;
	e->next = mem.ep_free;
	mem.ep_free = e;
	shm_unlock(&mem.lock, taken);
}

void ep_each(void (*f)(struct ep *e))
{
	for (uint32_t i = 0; i < mem.eps; i++) {
		if (mem.ep[i].numbers)
			f(&mem.ep[i]);
	}
}

struct ep_item *ep_item_alloc(struct ep *e, struct sock *s, int fd)
{
	bool taken = shm_lock(&mem.lock, thread_tid());
	struct ep_item *it = NULL;

	if (!mem.item)
		mem.item = map(ITEM_MAX * sizeof(*it));
	if (mem.item_free) {
		it = mem.item_free;
		mem.item_free = it->next;
	} else if (mem.item && mem.items < ITEM_MAX) {
		it = &mem.item[mem.items++];
	}
	shm_unlock(&mem.lock, taken);
	if (!it)
		return NULL;
	*it = (struct ep_item){
		.e = e, .s = s, .fd = fd, .hot = -1, .next_of_sock = s->items, .next = e->items
	};
	s->items = it;
	if (e->items)
		e->items->prev = it;
	e->items = it;
	return it;
}

void ep_hot_remove(struct ep_item *it)
{
	struct ep *e = it->e;
	uint32_t i = (uint32_t)it->hot;

	e->hot[i] = e->hot[--e->hots];
	if (i < e->hots)
		e->hot[i].item->hot = (int)i;
	it->hot = -1;
}

void ep_item_free(struct ep_item *it)
{
	struct ep_item **p = &it->s->items;
	bool taken;

	if (it->hot >= 0)
		ep_hot_remove(it);
	while (*p && *p != it)
		p = &(*p)->next_of_sock;
	if (*p)
		*p = it->next_of_sock;
	if (it->next)
		it->next->prev = it->prev;
	if (it->prev)
		it->prev->next = it->next;
	else
		it->e->items = it->next;
	it->e = NULL;
	it->hot = -1;
	taken = shm_lock(&mem.lock, thread_tid());
	it->next = mem.item_free;
	mem.item_free = it;
	shm_unlock(&mem.lock, taken);
}

/* Old arrays are not unmapped: another thread may be scanning them. They halve in size, so twice is the bound. */
static bool hot_grow(struct ep *e)
{
	uint32_t max = e->hot_max ? e->hot_max * 2 : HOT_FIRST;
	struct ep_hot *hot = map(max * sizeof(*hot));

	if (!hot)
		return false;
	if (e->hots)
		memcpy(hot, e->hot, e->hots * sizeof(*hot));
	e->hot = hot;
	e->hot_max = max;
	return true;
}

bool ep_hot_add(struct ep_item *it)
{
	struct ep *e = it->e;

	if (e->hots == e->hot_max && !hot_grow(e))
		return false;
	e->hot[e->hots] = (struct ep_hot){ .peer = it->s->view.ctl,
					   .conn = it->s->conn,
					   .sock = it->s,
					   .item = it,
					   .data = it->data,
					   .look = true };
	it->hot = (int)e->hots++;
	return true;
}

void ep_memory_forked(void)
{
	atomic_store(&mem.lock, 0);
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

	if (lock)
		taken = shm_lock(&mem.lock, thread_tid());
	else
		shm_unlock(&mem.lock, taken);
}
