/* ztcp_group.c - the instances of one process on one interface, and the rings between them */
#include "stack/dev/ztcp_group.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "stack/base/base_check.h"
#include "stack/base/base_sys.h"

#define GROUP_MAX INST_PASS_HOPS
#define RING      256u

struct cell {
	_Atomic uint32_t turn; /* its place: free for who fills it; one more: filled */
	struct inst_passed p;
};

struct ztcp_box {
	/* Read by all, written when somebody joins or leaves. */
	struct ztcp_group *group;
	unsigned int no;
	int bell;
	_Atomic bool used;
	/* The owner's. */
	_Alignas(64) uint32_t head;
	/* Whoever passes something on. */
	_Alignas(64) _Atomic uint32_t tail;
	_Atomic bool rung; /* there is, or will be, something in the doorbell */
	_Alignas(64) struct cell cells[RING];
};

struct ztcp_group {
	_Atomic uint32_t members;
	_Atomic(struct ztcp_box *) box[GROUP_MAX]; /* made when first needed, and kept */
};

/* ---- the ring */

static bool box_put(struct ztcp_box *b, const struct inst_passed *p)
{
	uint32_t at = atomic_load_explicit(&b->tail, memory_order_relaxed);
	struct cell *c;

	for (;;) {
		int32_t late;

		c = &b->cells[at % RING];
		late = (int32_t)(atomic_load_explicit(&c->turn, memory_order_acquire) - at);
		if (late < 0)
			return false; /* of the last lap, and not taken yet */
		if (late > 0)
			at = atomic_load_explicit(&b->tail, memory_order_relaxed);
		else if (atomic_compare_exchange_weak_explicit(
				 &b->tail, &at, at + 1, memory_order_relaxed, memory_order_relaxed))
			break;
	}
	c->p = *p;
	atomic_store_explicit(&c->turn, at + 1, memory_order_release);
	return true;
}

bool ztcp_box_take(struct ztcp_box *b, struct inst_passed *p)
{
	struct cell *c = &b->cells[b->head % RING];

	if (atomic_load_explicit(&c->turn, memory_order_acquire) != b->head + 1)
		return false;
	*p = c->p;
	atomic_store_explicit(&c->turn, b->head + RING, memory_order_release);
	b->head++;
	return true;
}

/* ---- the doorbell */

static void ring(struct ztcp_box *b)
{
	const uint64_t one = 1;

	if (!atomic_exchange(&b->rung, true))
		sys(SYS_write, b->bell, &one, sizeof(one));
}

bool ztcp_box_rung(const struct ztcp_box *b)
{
	return atomic_load_explicit(&b->rung, memory_order_relaxed);
}

/* Who has said that it is rung may not have done so yet: then it stays said until he has. */
void ztcp_box_answer(struct ztcp_box *b)
{
	uint64_t count;

	if (sys(SYS_read, b->bell, &count, sizeof(count)) == sizeof(count))
		atomic_exchange(&b->rung, false);
}

int ztcp_box_bell(const struct ztcp_box *b)
{
	return atomic_load_explicit(&b->group->members, memory_order_relaxed) > 1 ? b->bell : -1;
}

/* ---- the others */

static bool pass_others(void *ctx)
{
	const struct ztcp_box *b = ctx;

	return atomic_load_explicit(&b->group->members, memory_order_relaxed) > 1;
}

static bool pass_put(void *ctx, const struct inst_passed *p)
{
	const struct ztcp_box *b = ctx;

	for (unsigned int k = 1; k < GROUP_MAX; k++) {
		struct ztcp_box *to = atomic_load_explicit(&b->group->box[(b->no + k) % GROUP_MAX],
							   memory_order_acquire);

		if (!to || !atomic_load_explicit(&to->used, memory_order_acquire))
			continue;
		if (!box_put(to, p))
			return false;
		ring(to);
		return true;
	}
	return false;
}

struct inst_pass ztcp_box_pass(struct ztcp_box *b)
{
	return (struct inst_pass){ pass_others, pass_put, b, (uint8_t)b->no };
}

/* ---- members */

struct ztcp_group *ztcp_group_new(void)
{
	return calloc(1, sizeof(struct ztcp_group));
}

static void box_free(struct ztcp_box *b)
{
	struct inst_passed p;

	while (ztcp_box_take(b, &p))
		if (p.owner)
			zbuf_put(p.owner);
	sys(SYS_close, b->bell);
	free(b);
}

void ztcp_group_free(struct ztcp_group *g)
{
	for (unsigned int i = 0; i < GROUP_MAX; i++)
		if (atomic_load(&g->box[i]))
			box_free(atomic_load(&g->box[i]));
	free(g);
}

static struct ztcp_box *box_new(struct ztcp_group *g, unsigned int no, int (*fd_keep)(int fd))
{
	struct ztcp_box *b = aligned_alloc(_Alignof(struct ztcp_box), sizeof(*b));

	if (!b)
		return NULL;
	memset(b, 0, sizeof(*b));
	b->group = g;
	b->no = no;
	for (uint32_t i = 0; i < RING; i++)
		atomic_init(&b->cells[i].turn, i);
	b->bell = (int)sys(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->bell < 0) {
		errno = -b->bell;
		free(b);
		return NULL;
	}
	if (fd_keep)
		b->bell = fd_keep(b->bell);
	return b;
}

/* One that a former member has left, or a new one. */
struct ztcp_box *ztcp_box_open(struct ztcp_group *g, int (*fd_keep)(int fd))
{
	for (unsigned int i = 0; i < GROUP_MAX; i++) {
		struct ztcp_box *b = atomic_load(&g->box[i]);

		if (b && atomic_load(&b->used))
			continue;
		if (!b && !(b = box_new(g, i, fd_keep)))
			return NULL;
		atomic_store(&b->used, true);
		atomic_store(&g->box[i], b);
		atomic_fetch_add(&g->members, 1);
		return b;
	}
	errno = ENOSPC;
	return NULL;
}

void ztcp_box_close(struct ztcp_box *b)
{
	atomic_store(&b->used, false);
	atomic_fetch_sub(&b->group->members, 1);
}
