/* zbuf_pool.c - pools: arenas, free lists, one cache a thread, reference counts
 *
 * A thread's caches hang off one thread-local pointer and are given back by a key's destructor
 * when the thread ends. A cache works like a stack: what was freed last is warm and is given
 * first. Empty, it takes half its slots from the pool; full, it gives half of them.
 */
#include "stack/zbuf/zbuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stack/zbuf/zbuf_state.h"

#define ARENA_HEAD 64 /* a pointer to the region, before the descriptors */

/* 256, 1 K, 2 K, 4 K, 16 K, 64 K */
static const uint8_t class_shift[ZBUF_CLASSES] = { 8, 10, 11, 12, 14, 16 };

struct zbuf_mem_pool {
	pthread_mutex_t lock;
	size_t bytes_max, bytes_huge, bytes_ordinary;
	enum zbuf_pages pages;
	unsigned int slot; /* in every thread's table */
	uint32_t use;      /* pool_uses[slot] while it lives */
	struct zbuf_region *arenas;
	struct zbuf *free[ZBUF_CLASSES];
	size_t made, kept; /* buffers; those of them in free */
	uint64_t refills, returns;
	struct zbuf_cache *caches[1024];
	unsigned int ncaches;
};

static struct zbuf_mem_pool *pools[ZBUF_POOLS_MAX];
static uint32_t pool_uses[ZBUF_POOLS_MAX]; /* tells a thread that its cache is of an earlier pool */
static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

struct thread_caches {
	struct zbuf_cache *cache[ZBUF_POOLS_MAX];
	uint32_t use[ZBUF_POOLS_MAX];
};

/* What a thread has before it has anything: uses begin with 1. */
static struct thread_caches none;
/* Eight bytes of the storage that every thread has from its start: found without a call, also in a shared object. */
static __thread struct thread_caches *mine __attribute__((tls_model("initial-exec"))) = &none;

static unsigned int class_of(size_t len)
{
	unsigned int c = 0;

	while (((size_t)1 << class_shift[c]) < len)
		c++;
	return c;
}

/* ---- arenas */

static void *map_aligned(void)
{
	char *p = mmap(NULL, 2 * (size_t)ZBUF_ARENA_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t head;

	if (p == MAP_FAILED)
		return NULL;
	head = -(uintptr_t)p & (ZBUF_ARENA_BYTES - 1);
	if (head)
		munmap(p, head);
	munmap(p + head + ZBUF_ARENA_BYTES, ZBUF_ARENA_BYTES - head);
	/* Transparent hugepages are a gain where they come by themselves; no matter if not. */
	madvise(p + head, ZBUF_ARENA_BYTES, MADV_HUGEPAGE);
	return p + head;
}

static void *map_arena(enum zbuf_pages pages, bool *huge)
{
	void *p = MAP_FAILED;

	if (pages != ZBUF_PAGES_ORDINARY)
		p = mmap(NULL, ZBUF_ARENA_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT, -1, 0);
	*huge = p != MAP_FAILED;
	if (*huge)
		return p;
	return pages == ZBUF_PAGES_HUGE ? NULL : map_aligned();
}

/*
 * Descriptors first, then buffers on a 4 KiB border. A descriptor finds its region at the arena's
 * start.
 */
static struct zbuf_region *region_of(const struct zbuf *z)
{
	uintptr_t arena = (uintptr_t)z & ~(uintptr_t)(ZBUF_ARENA_BYTES - 1);

	return *(struct zbuf_region **)arena;
}

static void arena_lay_out(struct zbuf_region *r, unsigned int size_class)
{
	size_t bytes = (size_t)1 << class_shift[size_class];
	size_t n = ZBUF_ARENA_BYTES / (bytes + sizeof(struct zbuf));
	size_t head;

	do {
		head = (ARENA_HEAD + n * sizeof(struct zbuf) + 4095) & ~(size_t)4095;
	} while (head + n * bytes > ZBUF_ARENA_BYTES && n--);
	*(struct zbuf_region **)r->map = r;
	r->bufs = (struct zbuf *)(void *)((char *)r->map + ARENA_HEAD);
	r->start = (char *)r->map + head;
	r->len = n * bytes;
	r->shift = class_shift[size_class];
	r->size_class = size_class;
}

static size_t arena_count(const struct zbuf_region *r)
{
	return r->len >> r->shift;
}

static void free_put(struct zbuf_mem_pool *pool, unsigned int k, struct zbuf *z)
{
	z->next = pool->free[k];
	pool->free[k] = z;
	pool->kept++;
}

static struct zbuf *free_take(struct zbuf_mem_pool *pool, unsigned int k)
{
	struct zbuf *z = pool->free[k];

	pool->free[k] = z->next;
	pool->kept--;
	return z;
}

static bool arena_add(struct zbuf_mem_pool *pool, unsigned int size_class)
{
	struct zbuf_region *r;

	if (pool->bytes_huge + pool->bytes_ordinary + ZBUF_ARENA_BYTES > pool->bytes_max)
		return false;
	r = calloc(1, sizeof(*r));
	if (!r)
		return false;
	r->map = map_arena(pool->pages, &r->huge);
	if (!r->map) {
		free(r);
		return false;
	}
	r->pool = pool;
	r->slot = pool->slot;
	r->use = pool->use;
	arena_lay_out(r, size_class);
	if (zbuf_region_publish(r) != 0) {
		munmap(r->map, ZBUF_ARENA_BYTES);
		free(r);
		return false;
	}
	for (size_t i = arena_count(r); i-- > 0;)
		free_put(pool, size_class, &r->bufs[i]);
	pool->made += arena_count(r);
	r->next = pool->arenas;
	pool->arenas = r;
	*(r->huge ? &pool->bytes_huge : &pool->bytes_ordinary) += ZBUF_ARENA_BYTES;
	return true;
}

/* ---- caches */

/* Only its thread writes: no locked instruction. */
static inline uint32_t cache_count(const struct zbuf_cache *c, unsigned int k)
{
	return atomic_load_explicit(&c->count[k], memory_order_relaxed);
}

static inline void cache_push(struct zbuf_cache *c, unsigned int k, uint32_t n, struct zbuf *z)
{
	c->slots[k][n] = z;
	atomic_store_explicit(&c->count[k], n + 1, memory_order_relaxed);
}

static inline struct zbuf *cache_pop(struct zbuf_cache *c, unsigned int k, uint32_t n)
{
	atomic_store_explicit(&c->count[k], n - 1, memory_order_relaxed);
	return c->slots[k][n - 1];
}

static BASE_COLD void cache_return(struct zbuf_mem_pool *pool, struct zbuf_cache *c, unsigned int k,
				   unsigned int n)
{
	pthread_mutex_lock(&pool->lock);
	for (; n; n--)
		free_put(pool, k, cache_pop(c, k, cache_count(c, k)));
	pool->returns++;
	pthread_mutex_unlock(&pool->lock);
}

/* A thread ends: what it kept goes back, and its caches are free for the next. */
static void thread_end(void *arg)
{
	struct thread_caches *t = arg;

	pthread_mutex_lock(&pools_lock);
	for (unsigned int i = 0; i < ZBUF_POOLS_MAX; i++) {
		struct zbuf_mem_pool *pool = pools[i];

		if (!pool || !t->cache[i] || t->use[i] != pool_uses[i])
			continue;
		for (unsigned int k = 0; k < ZBUF_CLASSES; k++)
			if (cache_count(t->cache[i], k))
				cache_return(pool, t->cache[i], k, cache_count(t->cache[i], k));
		for (unsigned int j = 0; j < pool->ncaches; j++)
			if (pool->caches[j] == t->cache[i])
				pool->caches[j] = pool->caches[--pool->ncaches];
		free(t->cache[i]);
	}
	pthread_mutex_unlock(&pools_lock);
	if (mine == t)
		mine = &none;
	free(t);
}

static void key_make(void)
{
	pthread_key_create(&key, thread_end);
}

static BASE_COLD struct zbuf_cache *cache_make(struct zbuf_mem_pool *pool)
{
	struct zbuf_cache *c = NULL;

	if (mine == &none) {
		struct thread_caches *t = calloc(1, sizeof(*t));

		if (!t)
			return NULL;
		mine = t;
		pthread_setspecific(key, t);
	}
	pthread_mutex_lock(&pools_lock);
	if (pool->ncaches < BASE_ARRAY_SIZE(pool->caches))
		c = calloc(1, sizeof(*c));
	if (c) {
		pool->caches[pool->ncaches++] = c;
		mine->cache[pool->slot] = c;
		mine->use[pool->slot] = pool_uses[pool->slot];
	}
	pthread_mutex_unlock(&pools_lock);
	return c;
}

/* @slot, @use: the pool's. Return: this thread's cache, or NULL when it has none yet. */
static inline struct zbuf_cache *cache_of(uint32_t slot, uint32_t use)
{
	struct thread_caches *t = mine;

	return BASE_LIKELY(t->use[slot] == use) ? t->cache[slot] : NULL;
}

static BASE_COLD bool cache_refill(struct zbuf_mem_pool *pool, struct zbuf_cache *c, unsigned int k)
{
	pthread_mutex_lock(&pool->lock);
	if (pool->free[k] || arena_add(pool, k)) {
		while (pool->free[k] && cache_count(c, k) < ZBUF_BATCH)
			cache_push(c, k, cache_count(c, k), free_take(pool, k));
		pool->refills++;
	}
	pthread_mutex_unlock(&pool->lock);
	return cache_count(c, k) != 0;
}

static inline struct zbuf *buffer_new(struct zbuf_mem_pool *pool, size_t len, uint8_t **data)
{
	struct zbuf_cache *c;
	struct zbuf *z;
	unsigned int k;

	if (len == 0 || len > ZBUF_SIZE_MAX)
		return NULL;
	k = class_of(len);
	c = cache_of(pool->slot, pool->use);
	if (BASE_UNLIKELY(!c))
		c = cache_make(pool);
	if (!c || (!cache_count(c, k) && !cache_refill(pool, c, k)))
		return NULL;
	z = cache_pop(c, k, cache_count(c, k));
	z->region = region_of(z);
	z->done = NULL;
	atomic_store_explicit(&z->refs, 1, memory_order_relaxed);
	*data = (uint8_t *)zbuf_data(z->region, z);
	return z;
}

void *zbuf_malloc(struct zbuf_mem_pool *pool, size_t len)
{
	uint8_t *data;

	if (buffer_new(pool, len, &data))
		return data;
	errno = ENOMEM;
	return NULL;
}

/* The thread has no cache, or it is full. */
static BASE_APART void pool_put_other(struct zbuf_region *r, struct zbuf *z)
{
	struct zbuf_cache *c = cache_of(r->slot, r->use);
	unsigned int k = r->size_class;

	if (!c)
		c = cache_make(r->pool);
	if (!c) {
		pthread_mutex_lock(&r->pool->lock);
		free_put(r->pool, k, z);
		pthread_mutex_unlock(&r->pool->lock);
		return;
	}
	if (cache_count(c, k) == ZBUF_CACHE_SLOTS)
		cache_return(r->pool, c, k, ZBUF_BATCH);
	cache_push(c, k, cache_count(c, k), z);
}

/* A buffer without references goes back. */
static inline void pool_put(struct zbuf_region *r, struct zbuf *z)
{
	struct thread_caches *t = mine;
	unsigned int k = r->size_class;
	struct zbuf_cache *c;
	uint32_t n;

	if (BASE_UNLIKELY(t->use[r->slot] != r->use)) {
		pool_put_other(r, z);
		return;
	}
	c = t->cache[r->slot];
	n = cache_count(c, k);
	if (BASE_LIKELY(n < ZBUF_CACHE_SLOTS))
		cache_push(c, k, n, z);
	else
		pool_put_other(r, z);
}

/* ---- references */

/* A new reference is made out of an old one: nothing has to be ordered. */
struct zbuf *zbuf_ref(struct zbuf *z)
{
	atomic_fetch_add_explicit(&z->refs, 1, memory_order_relaxed);
	return z;
}

/* The owner's callback, before the buffer can be used again. */
static BASE_APART void owner_tell(struct zbuf *z)
{
	struct zbuf_region *r = z->region;
	char *data = zbuf_data(r, z);
	size_t len = (size_t)1 << r->shift, left = (size_t)(r->start + r->len - data);
	zbuf_done_fn done = z->done;
	bool pooled = r->pool;

	if (pooled)
		z->done = NULL;
	done(z->arg, data, BASE_MIN(len, left)); /* may be the end of a foreign region */
	if (pooled)
		pool_put(r, z);
}

/*
 * Release: what this holder did to the bytes; acquire: what all others did, for whoever is last. Who holds the only
 * reference is alone with it, and needs no locked instruction.
 */
static inline bool ref_last(struct zbuf *z)
{
	uint32_t before = atomic_load_explicit(&z->refs, memory_order_acquire);

	if (before == 1) {
		atomic_store_explicit(&z->refs, 0, memory_order_relaxed);
		return true;
	}
	before = atomic_fetch_sub_explicit(&z->refs, 1, memory_order_acq_rel);
	BASE_CHECK(before);
	return before == 1;
}

BASE_INLINE void buffer_put(struct zbuf *z)
{
	if (!ref_last(z))
		return;
	if (BASE_UNLIKELY(z->done))
		owner_tell(z);
	else
		pool_put(z->region, z);
}

void zbuf_put(struct zbuf *z)
{
	buffer_put(z);
}

/* ---- pools */

/* Called with both locks held. */
static size_t pool_out(const struct zbuf_mem_pool *pool)
{
	size_t in = pool->kept;

	for (unsigned int i = 0; i < pool->ncaches; i++)
		for (unsigned int k = 0; k < ZBUF_CLASSES; k++)
			in += cache_count(pool->caches[i], k);
	return pool->made - in;
}

struct zbuf_mem_pool *zbuf_mem_pool_new(size_t bytes_max, enum zbuf_pages pages)
{
	struct zbuf_mem_pool *pool;
	unsigned int slot = 0;

	if (bytes_max < ZBUF_ARENA_BYTES) {
		errno = EINVAL;
		return NULL;
	}
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pthread_once(&key_once, key_make);
	pthread_mutex_init(&pool->lock, NULL);
	pool->bytes_max = bytes_max;
	pool->pages = pages;
	pthread_mutex_lock(&pools_lock);
	while (slot < ZBUF_POOLS_MAX && pools[slot])
		slot++;
	if (slot < ZBUF_POOLS_MAX) {
		pool->slot = slot;
		pools[slot] = pool;
		pool->use = ++pool_uses[slot];
	}
	pthread_mutex_unlock(&pools_lock);
	if (slot == ZBUF_POOLS_MAX) {
		free(pool);
		errno = EMFILE;
		return NULL;
	}
	return pool;
}

static void arenas_unmap(struct zbuf_mem_pool *pool)
{
	while (pool->arenas) {
		struct zbuf_region *r = pool->arenas;

		pool->arenas = r->next;
		zbuf_region_forget(r);
		munmap(r->map, ZBUF_ARENA_BYTES);
		free(r);
	}
}

int zbuf_mem_pool_free(struct zbuf_mem_pool *pool)
{
	bool out;

	pthread_mutex_lock(&pools_lock);
	pthread_mutex_lock(&pool->lock);
	out = pool_out(pool) != 0;
	pthread_mutex_unlock(&pool->lock);
	if (out) {
		pthread_mutex_unlock(&pools_lock);
		return -EBUSY;
	}
	pools[pool->slot] = NULL;
	pool_uses[pool->slot]++;
	for (unsigned int i = 0; i < pool->ncaches; i++)
		free(pool->caches[i]);
	pthread_mutex_unlock(&pools_lock);
	arenas_unmap(pool);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
	return 0;
}

void zbuf_stats(struct zbuf_mem_pool *pool, struct zbuf_stats *stats)
{
	pthread_mutex_lock(&pools_lock);
	pthread_mutex_lock(&pool->lock);
	*stats = (struct zbuf_stats){
		.bytes_huge = pool->bytes_huge,
		.bytes_ordinary = pool->bytes_ordinary,
		.buffers_out = pool_out(pool),
		.refills = pool->refills,
		.returns = pool->returns,
	};
	pthread_mutex_unlock(&pool->lock);
	pthread_mutex_unlock(&pools_lock);
}

/* ---- for instances */

static void *ops_alloc(void *ctx, uint32_t len, uint8_t **data)
{
	return buffer_new(ctx, len, data);
}

static void ops_get(void *ctx, void *owner)
{
	(void)ctx;
	zbuf_ref(owner);
}

static void ops_put(void *ctx, void *owner)
{
	(void)ctx;
	buffer_put(owner);
}

void zbuf_wire_ops(struct zbuf_mem_pool *pool, struct wire_buf_ops *ops)
{
	*ops = (struct wire_buf_ops){
		.alloc = ops_alloc,
		.get = ops_get,
		.put = ops_put,
		.ctx = pool,
	};
}
