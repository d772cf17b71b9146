/* zbuf.h - reference-counted buffers in memory of our own, and in foreign memory that was
 * registered
 *
 * What it does: hands out buffers of a few sizes from 2 MiB arenas (hugepages where there are
 * some, ordinary pages where not), counts references, and finds a buffer from any pointer into it.
 * Called by instances through struct wire_buf_ops, by devices, and by applications through ztcp.h.
 * Memory: a buffer belongs to whoever holds a reference; arenas belong to the pool and go with it.
 * Threads: any thread may call at any time. A thread allocates and frees from a cache of its own,
 * without a lock; caches and the pool exchange batches under one mutex.
 *
 * Theory of operation
 * An arena holds buffers of one size with their descriptors (struct zbuf) at its head, so a
 * pointer is mapped to its arena by a table of 2 MiB granules and from there to its descriptor by
 * a shift. A foreign region (guest memory, an application's own pool) is registered with a grain
 * and gets descriptors of the same kind, so that sending from it is counted and reported in the
 * same way. The last reference runs the owner's callback: for memory given to a connection that is
 * when the last byte has been acknowledged.
 */
#ifndef ZTCP_ZBUF_H
#define ZTCP_ZBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/wire/wire_frame.h"

#define ZBUF_ARENA_BYTES (2u << 20)
#define ZBUF_SIZE_MAX    65536u /* of one buffer */
#define ZBUF_POOLS_MAX   8      /* pools at a time in a process */

struct zbuf_mem_pool;
struct zbuf; /* one buffer: what owners of frames and runs are, where they come from here */

/*
 * Runs once, on the thread that gave the last reference back, before the memory can be used again.
 */
typedef void (*zbuf_done_fn)(void *arg, void *data, size_t len);

enum zbuf_pages {
	ZBUF_PAGES_ANY,      /* hugepages if the system has some free, else ordinary ones */
	ZBUF_PAGES_ORDINARY, /* never hugepages of the system's pool */
	ZBUF_PAGES_HUGE,     /* hugepages or nothing */
};

/**
 * zbuf_mem_pool_new() - a pool; maps nothing yet
 * @bytes_max: limit for all arenas, at least one arena
 * @pages:     which kind of pages
 *
 * Return: the pool, or NULL and errno (EINVAL, ENOMEM, EMFILE for too many pools).
 */
struct zbuf_mem_pool *zbuf_mem_pool_new(size_t bytes_max, enum zbuf_pages pages);

/**
 * zbuf_mem_pool_free() - unmap the pool
 *
 * Return: 0, or -EBUSY while buffers are out (those in other threads' caches are not counted as
 * out, but these threads must not use the pool any more).
 */
int zbuf_mem_pool_free(struct zbuf_mem_pool *pool);

/**
 * zbuf_mem_pool() - Return: the pool that @ptr's buffer comes from; NULL for foreign memory and
 * any other pointer.
 */
struct zbuf_mem_pool *zbuf_mem_pool(const void *ptr);

/**
 * zbuf_malloc() - a buffer with one reference
 * @len: bytes, 1 to ZBUF_SIZE_MAX; rounded up to a size of the pool
 *
 * Return: its first byte, aligned to 64, or NULL and errno ENOMEM.
 */
void *zbuf_malloc(struct zbuf_mem_pool *pool, size_t len);

/**
 * zbuf_free() - give back one reference
 * @ptr: into a buffer of any pool or region; NULL is ignored
 *
 * A pointer that is not in one, or whose buffer has no reference, stops the program.
 */
void zbuf_free(const void *ptr);

/** zbuf_get() - one more reference to the buffer that @ptr is in. Return: @ptr. */
void *zbuf_get(const void *ptr);

/**
 * zbuf_of() - the buffer that @ptr is in, for who counts references to it often: nothing has to be found then
 *
 * It is good while a reference is held. Return: it, or NULL for memory that is none of ours.
 */
struct zbuf *zbuf_of(const void *ptr);

/** zbuf_ref() - zbuf_get() of a buffer that was found. Return: @z. */
struct zbuf *zbuf_ref(struct zbuf *z);

/** zbuf_put() - zbuf_free() of a buffer that was found. */
void zbuf_put(struct zbuf *z);

/**
 * zbuf_refs() - Return: references to the buffer that @ptr is in, 0 for memory that is none of
 * ours.
 */
uint32_t zbuf_refs(const void *ptr);

/**
 * zbuf_size() - Return: bytes of the buffer that @ptr is in (for a region: its grain), 0 for none
 * of ours.
 */
size_t zbuf_size(const void *ptr);

/** zbuf_left() - Return: bytes from @ptr to the end of its buffer or grain, 0 for none of ours. */
size_t zbuf_left(const void *ptr);

/**
 * zbuf_done_set() - run @done(@arg, buffer, bytes) at the last zbuf_free() of the buffer @ptr is
 * in; once.
 */
void zbuf_done_set(const void *ptr, zbuf_done_fn done, void *arg);

/**
 * zbuf_region_add() - register foreign memory
 * @start: @len bytes that stay mapped until zbuf_region_remove()
 * @grain: bytes a reference count stands for, a power of two, 64 to 1 GiB
 * @done:  runs when a grain's last reference is gone; may be NULL
 *
 * zbuf_get() and zbuf_free() then work on pointers into it; grains start with no reference.
 * Return: 0, -EINVAL, -EEXIST when it overlaps another region, -ENOMEM.
 */
int zbuf_region_add(void *start, size_t len, size_t grain, zbuf_done_fn done, void *arg);

/** zbuf_region_remove() - Return: 0, -ENOENT, -EBUSY while references are out. */
int zbuf_region_remove(void *start);

/**
 * zbuf_wire_ops() - make @pool the source of an instance's buffers. Owners are struct zbuf.
 */
void zbuf_wire_ops(struct zbuf_mem_pool *pool, struct wire_buf_ops *ops);

struct zbuf_stats {
	size_t bytes_huge, bytes_ordinary; /* mapped */
	size_t buffers_out;                /* held by somebody, not in a cache */
	uint64_t refills, returns;         /* batches between caches and the pool */
};

/** zbuf_stats() - what the pool holds; exact when no thread is inside. */
void zbuf_stats(struct zbuf_mem_pool *pool, struct zbuf_stats *stats);

#endif
