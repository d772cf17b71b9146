/* dpdk_pool.c - buffers of DPDK that are buffers of ours, so that what a driver received goes up as it is
 *
 * Theory of operation. A driver wants its buffers in a pool of DPDK; the stack wants any pointer into a buffer to lead to its reference
 * count. So the pool's memory is registered as a foreign region (zbuf.h), whose grain is a power of two, and the pool's objects
 * are made as long as the grain. Whether they then lie one grain apart is DPDK's affair and is looked at, not assumed. The last
 * reference gives the buffer back to the pool, on whatever thread.
 *
 * A pool whose device is closed while somebody holds a buffer waits in a list until that one has come back.
 */
#include <errno.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_check.h"
#include "stack/dpdk/dpdk.h"

#define CACHE 256

static struct dpdk_pool *waited_for;

static uint32_t power_of_two(uint32_t n)
{
	uint32_t p = 1024;

	while (p < n)
		p *= 2;
	return p;
}

static void back(void *arg, void *data, size_t len)
{
	struct dpdk_pool *pool = arg;

	(void)len;
	atomic_fetch_add_explicit(&pool->back, 1, memory_order_relaxed);
	rte_pktmbuf_free((struct rte_mbuf *)(void *)((uint8_t *)data + pool->hdr));
}

struct layout {
	uint8_t *first, *last;
	uint32_t off; /* objects that lie elsewhere */
	struct dpdk_pool *pool;
};

static void ends_find(struct rte_mempool *mp, void *arg, void *obj, unsigned int i)
{
	struct layout *l = arg;
	uint8_t *at = (uint8_t *)obj - l->pool->hdr;

	(void)mp;
	(void)i;
	if (!l->first || at < l->first)
		l->first = at;
	if (at > l->last)
		l->last = at;
}

static void place_check(struct rte_mempool *mp, void *arg, void *obj, unsigned int i)
{
	struct layout *l = arg;

	(void)mp;
	(void)i;
	l->off += ((uint8_t *)obj - l->pool->hdr - l->first) % l->pool->grain != 0;
}

/* Where the objects do not lie as they should, or too far apart, the pool serves all the same: grain 0. */
static int region_add(struct dpdk_pool *pool, uint32_t grain)
{
	struct layout l = { .pool = pool };
	size_t len;

	pool->grain = grain;
	rte_mempool_obj_iter(pool->mp, ends_find, &l);
	rte_mempool_obj_iter(pool->mp, place_check, &l);
	len = (size_t)(l.last - l.first) + grain;
	pool->start = l.first;
	if (l.off || len > (size_t)2 * pool->count * grain) {
		pool->grain = 0;
		return 0;
	}
	return dpdk_host->region_add(l.first, len, grain, back, pool);
}

static struct rte_mempool *mempool_new(const char *name, uint32_t count, uint32_t grain, int socket)
{
	struct rte_pktmbuf_pool_private priv = { 0 };
	struct rte_mempool_objsz size;
	uint32_t elt = grain;
	struct rte_mempool *mp;

	rte_mempool_calc_obj_size(grain / 2, RTE_MEMPOOL_F_NO_SPREAD, &size);
	elt -= size.header_size + size.trailer_size;
	priv.mbuf_data_room_size = (uint16_t)BASE_MIN(elt - sizeof(struct rte_mbuf), 65535u);
	mp = rte_mempool_create_empty(name, count, elt, CACHE, sizeof(priv), socket,
				      RTE_MEMPOOL_F_NO_SPREAD);
	if (!mp)
		return NULL;
	rte_pktmbuf_pool_init(mp, &priv);
	if (rte_mempool_populate_default(mp) < 0) {
		rte_mempool_free(mp);
		rte_errno = ENOMEM;
		return NULL;
	}
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
	return mp;
}

static bool try_free(struct dpdk_pool *pool)
{
	if (pool->grain && dpdk_host->region_remove(pool->start) == -EBUSY)
		return false;
	rte_mempool_free(pool->mp);
	free(pool);
	return true;
}

static void waited_for_look(void)
{
	struct dpdk_pool *pool = waited_for, *next;

	waited_for = NULL;
	for (; pool; pool = next) {
		next = pool->next;
		dpdk_pool_free(pool);
	}
}

void dpdk_pool_free(struct dpdk_pool *pool)
{
	if (!pool || try_free(pool))
		return;
	pool->next = waited_for;
	waited_for = pool;
}

struct dpdk_pool *dpdk_pool_new(const char *name, uint32_t count, uint32_t room, int socket)
{
	uint32_t grain = power_of_two(room + RTE_PKTMBUF_HEADROOM + sizeof(struct rte_mbuf) +
				      RTE_MEMPOOL_ALIGN);
	struct dpdk_pool *pool;
	int rc;

	waited_for_look();
	pool = aligned_alloc(_Alignof(struct dpdk_pool), sizeof(*pool));
	if (!pool) {
		rte_errno = ENOMEM;
		return NULL;
	}
	memset(pool, 0, sizeof(*pool));
	pool->mp = mempool_new(name, count, grain, socket);
	if (!pool->mp) {
		free(pool);
		return NULL;
	}
	pool->count = count;
	pool->hdr = pool->mp->header_size;
	rc = region_add(pool, grain);
	if (rc) {
		rte_mempool_free(pool->mp);
		free(pool);
		rte_errno = -rc;
		return NULL;
	}
	return pool;
}
