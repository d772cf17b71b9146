/* shm_ring.c - a connection's rings: the first, a larger one, none */
#include "shm/shm_ring.h"

static void ring_use(struct shm_arena *arena, struct shm_conn *c, unsigned slot, uint32_t ref)
{
	/* a write that we interrupted goes on in the old ring */
	uint64_t tail = atomic_load_explicit(&c->tx.resv, memory_order_relaxed);

	atomic_store_explicit(&c->ctl.base[slot], tail, memory_order_relaxed);
	atomic_store_explicit(&c->ctl.ring[slot], ref, memory_order_release);
	SHM_WRITE(c->tx.slot, (uint8_t)slot);
	SHM_WRITE(c->tx.ring, (char *)arena->head + shm_ring_offset(ref));
	SHM_WRITE(c->tx.mask, (UINT32_C(1) << shm_ring_log2(ref)) - 1);
	c->tx.limit = tail;
}

int shm_ring_open(struct shm_arena *arena, struct shm_conn *c, uint32_t tid)
{
	uint32_t ref = shm_arena_ring_alloc(arena, SHM_RING_LOG2_MIN, tid);

	if (!ref)
		return -ENOMEM;
	atomic_store_explicit(&c->ctl.base[1], UINT64_MAX, memory_order_relaxed);
	ring_use(arena, c, 0, ref);
	return 0;
}

void shm_ring_close(struct shm_arena *arena, struct shm_conn *c, uint32_t tid)
{
	for (unsigned slot = 0; slot < 2; slot++) {
		shm_arena_ring_free(arena,
				    atomic_load_explicit(&c->ctl.ring[slot], memory_order_relaxed),
				    tid);
		atomic_store_explicit(&c->ctl.ring[slot], 0, memory_order_relaxed);
	}
}

void shm_ring_unwrite(struct shm_conn *c)
{
	uint64_t tail = atomic_load_explicit(&c->ctl.tail, memory_order_relaxed);
	uint64_t resv = atomic_load_explicit(&c->tx.resv, memory_order_relaxed);

	if (resv == tail || resv == SHM_TX_CLOSED)
		return;
	if (c->tx.path != SHM_PATH_RING)
		atomic_store_explicit(&c->tx.resv, SHM_TX_CLOSED, memory_order_relaxed);
	else if (atomic_load_explicit(&c->ctl.base[c->tx.slot], memory_order_relaxed) <= tail)
		atomic_store_explicit(&c->tx.resv, tail, memory_order_relaxed);
	else /* a handler has begun another ring behind it: the stream has to get there */
		shm_ring_publish(c);
}

static unsigned grown_log2(const struct shm_conn *c, size_t want)
{
	unsigned log2 = shm_ring_log2(atomic_load_explicit(&c->ctl.ring[c->tx.slot],
							   memory_order_relaxed)) +
			2;

	/* not the size of a message but their number: there is no telling how many there will be */
	if (want <= (size_t)c->tx.mask + 1 && log2 < SHM_RING_LOG2_MANY)
		log2 = SHM_RING_LOG2_MANY;
	while (log2 < SHM_RING_LOG2_GROW && (UINT64_C(1) << log2) < want)
		log2++;
	return log2 < SHM_RING_LOG2_GROW ? log2 : SHM_RING_LOG2_GROW;
}

bool shm_ring_grow(struct shm_arena *arena, struct shm_conn *c, const struct shm_ctl *peer,
		   size_t want, uint32_t tid)
{
	unsigned other = !c->tx.slot;
	unsigned log2 = grown_log2(c, want);
	uint32_t ref;

	if ((UINT64_C(1) << log2) <= c->tx.mask + 1)
		return false;
	if (shm_ring_room(c, peer, SIZE_MAX) < 0 ||
	    c->tx.head_seen < atomic_load_explicit(&c->ctl.base[c->tx.slot], memory_order_relaxed))
		return false;
	ref = shm_arena_ring_alloc(arena, log2, tid);
	if (!ref)
		return false;
	/* nothing is in the current one yet: two rings from one offset on could not be told apart */
	if (atomic_load_explicit(&c->tx.resv, memory_order_relaxed) ==
	    atomic_load_explicit(&c->ctl.base[c->tx.slot], memory_order_relaxed))
		other = c->tx.slot;
	shm_arena_ring_free(arena, atomic_load_explicit(&c->ctl.ring[other], memory_order_relaxed),
			    tid);
	ring_use(arena, c, other, ref);
	return true;
}

bool shm_ring_stuck(const struct shm_conn *c)
{
	return c->tx.mask + 1 < UINT32_C(1) << SHM_RING_LOG2_GROW &&
	       c->tx.head_seen <
		       atomic_load_explicit(&c->ctl.base[c->tx.slot], memory_order_relaxed);
}
