/* zbuf_region.c - from a pointer to its buffer: granule table, foreign regions
 *
 * The table has two levels over 47-bit addresses in granules of 2 MiB. A granule may hold parts of
 * several foreign regions, so its entry heads a short list of places. Readers take no lock:
 * entries are published with a release store (paired with the acquire loads in
 * zbuf_region_find()), and removed only when the caller says nobody uses the region; a removed
 * place is kept, empty, and used again.
 */
#include "stack/zbuf/zbuf.h"

#include <errno.h>
#include <stdlib.h>

#include "stack/zbuf/zbuf_state.h"

#define GRANULE_SHIFT 21
#define LEVEL_BITS    13
#define LEVEL_SIZE    (1u << LEVEL_BITS)

struct place {
	_Atomic(struct zbuf_region *) region; /* &nowhere: free */
	struct place *_Atomic next;
};

struct leaf {
	struct place places[LEVEL_SIZE];
};

static struct leaf *_Atomic leaves[LEVEL_SIZE];
static struct zbuf_region nowhere; /* holds nothing */
static struct zbuf_region *foreign;
static pthread_mutex_t region_lock = PTHREAD_MUTEX_INITIALIZER;

/* Addresses beyond the table share places with others, where region_find() sees that they do not lie. */
static inline struct place *place_of(uintptr_t addr)
{
	uintptr_t granule = addr >> GRANULE_SHIFT;
	struct leaf *leaf = atomic_load_explicit(&leaves[granule >> LEVEL_BITS & (LEVEL_SIZE - 1)],
						 memory_order_acquire);

	return leaf ? &leaf->places[granule & (LEVEL_SIZE - 1)] : NULL;
}

static inline bool region_holds(const struct zbuf_region *r, const void *ptr)
{
	return (size_t)((const char *)ptr - r->start) < r->len;
}

/* Several foreign regions lie in one granule. */
static BASE_COLD struct zbuf_region *region_search(struct place *p, const void *ptr)
{
	for (; p; p = atomic_load_explicit(&p->next, memory_order_acquire)) {
		struct zbuf_region *r = atomic_load_explicit(&p->region, memory_order_acquire);

		if (region_holds(r, ptr))
			return r;
	}
	return NULL;
}

/* Nearly every pointer lies in the first region of its granule. */
struct zbuf_region *zbuf_region_find(const void *ptr)
{
	struct place *p = place_of((uintptr_t)ptr);
	struct zbuf_region *r;

	if (BASE_UNLIKELY(!p))
		return NULL;
	r = atomic_load_explicit(&p->region, memory_order_acquire);
	return BASE_LIKELY(region_holds(r, ptr)) ? r : region_search(p, ptr);
}

static struct place *place_make(uintptr_t addr)
{
	uintptr_t granule = addr >> GRANULE_SHIFT;
	struct leaf *_Atomic *slot;

	if (granule >> (2 * LEVEL_BITS))
		return NULL;
	slot = &leaves[granule >> LEVEL_BITS];
	if (!atomic_load_explicit(slot, memory_order_acquire)) {
		struct leaf *leaf = calloc(1, sizeof(*leaf));

		if (!leaf)
			return NULL;
		for (size_t i = 0; i < LEVEL_SIZE; i++)
			atomic_init(&leaf->places[i].region, &nowhere);
		atomic_store_explicit(slot, leaf, memory_order_release);
	}
	return place_of(addr);
}

static int place_put(struct place *p, struct zbuf_region *r)
{
	struct place *fresh;

	for (;; p = p->next) {
		if (atomic_load_explicit(&p->region, memory_order_relaxed) == &nowhere) {
			atomic_store_explicit(&p->region, r, memory_order_release);
			return 0;
		}
		if (!p->next)
			break;
	}
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	atomic_init(&fresh->region, r);
	atomic_store_explicit(&p->next, fresh, memory_order_release);
	return 0;
}

static void place_remove(struct place *p, const struct zbuf_region *r)
{
	for (; p; p = p->next)
		if (atomic_load_explicit(&p->region, memory_order_relaxed) == r)
			atomic_store_explicit(&p->region, &nowhere, memory_order_release);
}

static uintptr_t granule_start(const void *ptr)
{
	return (uintptr_t)ptr & ~(((uintptr_t)1 << GRANULE_SHIFT) - 1);
}

void zbuf_region_forget(struct zbuf_region *r)
{
	pthread_mutex_lock(&region_lock);
	for (uintptr_t at = granule_start(r->start); at < (uintptr_t)(r->start + r->len);
	     at += (uintptr_t)1 << GRANULE_SHIFT)
		place_remove(place_of(at), r);
	pthread_mutex_unlock(&region_lock);
}

int zbuf_region_publish(struct zbuf_region *r)
{
	int err = 0;

	pthread_mutex_lock(&region_lock);
	for (uintptr_t at = granule_start(r->start); !err && at < (uintptr_t)(r->start + r->len);
	     at += (uintptr_t)1 << GRANULE_SHIFT) {
		struct place *p = place_make(at);

		err = p ? place_put(p, r) : -ENOMEM;
	}
	pthread_mutex_unlock(&region_lock);
	if (err)
		zbuf_region_forget(r);
	return err;
}

static bool foreign_overlaps(const char *start, const char *end)
{
	for (const struct zbuf_region *r = foreign; r; r = r->next)
		if (start < r->start + r->len && r->start < end)
			return true;
	return zbuf_region_find(start) || zbuf_region_find(end - 1);
}

static bool grain_ok(size_t grain)
{
	return grain >= 64 && grain <= (size_t)1 << 30 && (grain & (grain - 1)) == 0;
}

static void region_free(struct zbuf_region *r)
{
	free(r->bufs);
	free(r);
}

static void nobody_asked(void *arg, void *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
}

static size_t grains(const struct zbuf_region *r)
{
	return (r->len + ((size_t)1 << r->shift) - 1) >> r->shift;
}

static void grains_lay_out(struct zbuf_region *r, zbuf_done_fn done, void *arg)
{
	for (size_t i = 0; i < grains(r); i++)
		r->bufs[i] = (struct zbuf){ .region = r,
					    .done = done ? done : nobody_asked,
					    .arg = arg };
}

int zbuf_region_add(void *start, size_t len, size_t grain, zbuf_done_fn done, void *arg)
{
	struct zbuf_region *r;
	int err;

	if (!start || len == 0 || !grain_ok(grain))
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct zbuf_region){
		.start = start,
		.len = len,
		.shift = (unsigned int)__builtin_ctzll(grain),
		.bufs = calloc((len + grain - 1) / grain, sizeof(struct zbuf)),
	};
	if (!r->bufs) {
		region_free(r);
		return -ENOMEM;
	}
	grains_lay_out(r, done, arg);
	pthread_mutex_lock(&region_lock);
	err = foreign_overlaps(r->start, r->start + r->len) ? -EEXIST : 0;
	if (!err) {
		r->next = foreign;
		foreign = r;
	}
	pthread_mutex_unlock(&region_lock);
	if (!err)
		err = zbuf_region_publish(r);
	if (err == -ENOMEM)
		zbuf_region_remove(start);
	else if (err)
		region_free(r);
	return err;
}

static bool region_busy(const struct zbuf_region *r)
{
	for (size_t i = 0; i < grains(r); i++)
		if (atomic_load_explicit(&r->bufs[i].refs, memory_order_relaxed))
			return true;
	return false;
}

int zbuf_region_remove(void *start)
{
	struct zbuf_region **link = &foreign, *r;

	pthread_mutex_lock(&region_lock);
	while ((r = *link) && r->start != start)
		link = &r->next;
	if (r && !region_busy(r))
		*link = r->next;
	pthread_mutex_unlock(&region_lock);
	if (!r)
		return -ENOENT;
	if (region_busy(r))
		return -EBUSY;
	zbuf_region_forget(r);
	region_free(r);
	return 0;
}

struct zbuf *zbuf_of(const void *ptr)
{
	struct zbuf_region *r = zbuf_region_find(ptr);

	return BASE_LIKELY(r) ? zbuf_desc(r, ptr) : NULL;
}

void *zbuf_get(const void *ptr)
{
	struct zbuf *z = zbuf_of(ptr);

	BASE_CHECK(z);
	zbuf_ref(z);
	return (void *)(uintptr_t)ptr;
}

void zbuf_free(const void *ptr)
{
	struct zbuf *z;

	if (!ptr)
		return;
	z = zbuf_of(ptr);
	BASE_CHECK(z);
	zbuf_put(z);
}

uint32_t zbuf_refs(const void *ptr)
{
	struct zbuf_region *r = zbuf_region_find(ptr);

	return r ? atomic_load_explicit(&zbuf_desc(r, ptr)->refs, memory_order_relaxed) : 0;
}

size_t zbuf_size(const void *ptr)
{
	struct zbuf_region *r = zbuf_region_find(ptr);

	return r ? (size_t)1 << r->shift : 0;
}

size_t zbuf_left(const void *ptr)
{
	struct zbuf_region *r = zbuf_region_find(ptr);
	const char *end;

	if (!r)
		return 0;
	end = zbuf_data(r, zbuf_desc(r, ptr)) + ((size_t)1 << r->shift);
	return (size_t)(BASE_MIN(end, (const char *)r->start + r->len) - (const char *)ptr);
}

void zbuf_done_set(const void *ptr, zbuf_done_fn done, void *arg)
{
	struct zbuf_region *r = zbuf_region_find(ptr);
	struct zbuf *z;

	BASE_CHECK(r && r->pool);
	z = zbuf_desc(r, ptr);
	z->done = done;
	z->arg = arg;
}

struct zbuf_mem_pool *zbuf_mem_pool(const void *ptr)
{
	struct zbuf_region *r = zbuf_region_find(ptr);

	return r ? r->pool : NULL;
}
