/* zbuf_race_test.c - threads that free each other's buffers; a plain program for TSan */
#include "stack/zbuf/zbuf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 20000, SLOTS = 64 };

static struct zbuf_mem_pool *pool;
static _Atomic(char *) slots[SLOTS];
static atomic_int failures;

/* Leaves a buffer in a slot and frees what was there: mostly another thread's. */
static void *worker(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		size_t len = 1 + (seed = seed * 1103515245 + 12345) / 65536 % 3000;
		char *mine = zbuf_malloc(pool, len), *old;

		if (!mine)
			continue;
		memset(mine, (int)(len % 251), len);
		zbuf_get(mine);
		old = atomic_exchange(&slots[seed / 7 % SLOTS], mine);
		if (mine[len - 1] != (char)(len % 251))
			atomic_fetch_add(&failures, 1);
		zbuf_free(mine);
		zbuf_free(old);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	struct zbuf_stats stats;

	pool = zbuf_mem_pool_new(64 << 20, ZBUF_PAGES_ORDINARY);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, worker, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SLOTS; i++)
		zbuf_free(slots[i]);
	zbuf_stats(pool, &stats);
	if (atomic_load(&failures) || stats.buffers_out || zbuf_mem_pool_free(pool) != 0) {
		printf("failures %d, buffers out %zu\n", atomic_load(&failures), stats.buffers_out);
		return 1;
	}
	return 0;
}
