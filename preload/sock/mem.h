/* mem.h - whether the memory that a call names is there
 *
 * The kernel answers EFAULT for a pointer to nothing; code of ours that touches it would end the program. So the
 * overrides ask here before they touch what the caller named, and leave a bad one to the kernel. Asking costs a few
 * instructions for a page that this thread has asked about before, and one cheap system call for another.
 *
 * What is known of a page is forgotten when any thread unmaps, remaps or protects memory (mem_changed(), from the
 * overrides of these calls in call_mem.c). Memory that is unmapped behind libc's back, with a system call by
 * number, is not forgotten. Any thread, signal handlers too.
 */
#ifndef SOCK_MEM_H
#define SOCK_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	MEM_PAGE_SHIFT =
		12,     /* the smallest page there is: asking about a part of a page is right too */
	MEM_KNOWN = 32, /* pages that a thread remembers, for each use */
};

/* What a thread knows of the program's memory for one use, reading or writing. */
struct mem_known {
	uint64_t page[MEM_KNOWN]; /* mem_key() of pages that were there */
};

extern __thread struct mem_known mem_self[2] __attribute__((tls_model("initial-exec")));
extern _Atomic uint32_t mem_gen __attribute__((visibility("hidden")));

/* Mappings have changed: what was there may not be any more. */
static inline void mem_changed(void)
{
	atomic_fetch_add_explicit(&mem_gen, 1, memory_order_release);
}

/* Never zero: an empty slot matches nothing. */
static inline uint64_t mem_key(uintptr_t page)
{
	return (uint64_t)page |
	       (uint64_t)(atomic_load_explicit(&mem_gen, memory_order_acquire) | 1u << 27) << 36;
}

/* Ask the kernel about what is not known. */
bool mem_ask(uintptr_t p, size_t n, bool write);

static inline bool mem_there(const void *p, size_t n, bool write)
{
	uintptr_t page = (uintptr_t)p >> MEM_PAGE_SHIFT;

	if (__builtin_expect(((uintptr_t)p + n - 1) >> MEM_PAGE_SHIFT == page &&
				     mem_self[write].page[page % MEM_KNOWN] == mem_key(page),
			     1))
		return true;
	return mem_ask((uintptr_t)p, n, write);
}

/*
 * mem_readable() - whether @n bytes at @p can be read; mem_writable() - and written.
 *
 * Nothing is changed by asking. No bytes are always there.
 */
static inline bool mem_readable(const void *p, size_t n)
{
	return !n || mem_there(p, n, false);
}

static inline bool mem_writable(void *p, size_t n)
{
	return !n || mem_there(p, n, true);
}

/*
 * mem_prefix() - how many bytes of a request's memory are there before the first that is not
 * @iov: itself known to be there
 * @limit: more than this is not touched, and not asked about
 *
 * The kernel, too, moves what comes before a bad page and tells how much that was.
 */
size_t mem_prefix(const struct iovec *iov, int n, size_t limit, bool write);

#endif
