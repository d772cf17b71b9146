/* zbuf_state.h - the inside of pools and regions; for stack/zbuf alone
 *
 * What it does: descriptors, the granule table, and the calls between the two files. Threads: as
 * in zbuf.h.
 */
#ifndef ZTCP_ZBUF_STATE_H
#define ZTCP_ZBUF_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "stack/base/base_check.h"
#include "stack/zbuf/zbuf.h"

#define ZBUF_CLASSES     6
#define ZBUF_CACHE_SLOTS 64
#define ZBUF_BATCH       32

/* Descriptor of one buffer or grain. */
struct zbuf {
	_Atomic uint32_t refs;
	uint32_t unused;
	union {
		struct zbuf_region *region; /* while somebody has it; a grain's always */
		struct zbuf *next;          /* in the pool's free list */
	};
	zbuf_done_fn done; /* before the buffer is free again, or NULL; a grain always has one */
	void *arg;
};

/* An arena, or a foreign region. Found through the granule table; immutable once published. */
struct zbuf_region {
	char *start; /* of buffer 0 */
	size_t len;
	unsigned int shift; /* log2 of bytes a buffer */
	unsigned int size_class;
	struct zbuf_mem_pool *pool; /* NULL: foreign */
	uint32_t slot, use;         /* the pool's */
	struct zbuf *bufs;
	struct zbuf_region *next; /* of the pool, or of all foreign ones */
	void *map;                /* arenas: what to unmap */
	bool huge;
};

struct zbuf_cache {
	_Atomic uint32_t count[ZBUF_CLASSES]; /* written by its thread alone */
	struct zbuf *slots[ZBUF_CLASSES][ZBUF_CACHE_SLOTS];
};

/** zbuf_region_find() - Return: the region that @ptr lies in, or NULL. No lock. */
struct zbuf_region *zbuf_region_find(const void *ptr);

/** zbuf_region_publish() - make @r known to zbuf_region_find(). Return: 0, -EEXIST or -ENOMEM. */
int zbuf_region_publish(struct zbuf_region *r);

/** zbuf_region_forget() - undo zbuf_region_publish(). */
void zbuf_region_forget(struct zbuf_region *r);

/** zbuf_desc() - Return: the descriptor of the buffer that @ptr is in. */
static inline struct zbuf *zbuf_desc(const struct zbuf_region *r, const void *ptr)
{
	return &r->bufs[(size_t)((const char *)ptr - r->start) >> r->shift];
}

/** zbuf_data() - Return: first byte of @z's buffer. */
static inline char *zbuf_data(const struct zbuf_region *r, const struct zbuf *z)
{
	return r->start + ((size_t)(z - r->bufs) << r->shift);
}

#endif
