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
		12, /* the smallest page there is: asking about a part of a page is right too */
	MEM_KNOWN = 256, /* pages that a thread remembers, for each use: one or two a connection */
};

/* What a thread knows of the program's memory for one use, reading or writing. */
struct mem_known {
	uint64_t page[MEM_KNOWN]; /* mem_key() of pages that were there */
};

extern __thread struct mem_known mem_self[2] __attribute__((tls_model("initial-exec")));

/* How often mappings have changed, above the bits of an address; never zero. */
extern _Atomic uint64_t mem_gen __attribute__((visibility("hidden")));

#define MEM_GEN (UINT64_C(1) << 48)

/* Mappings have changed: what was there may not be any more. */
static inline void mem_changed(void)
{
	if (!(atomic_fetch_add(&mem_gen, MEM_GEN) + MEM_GEN))
		atomic_fetch_add(&mem_gen, MEM_GEN);
}

static inline uint64_t mem_key(uintptr_t page)
{
	return page | atomic_load_explicit(&mem_gen, memory_order_acquire);
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
 * A window is a page that was there when it was taken, for a caller that keeps one beside what it works on and
 * can afford four instructions. Zero is none.
 *
 * mem_window() - of the page that @p, which is known to be there, is on
 * mem_in_window() - whether @p and at least @room bytes behind it are in the window
 */
static inline uint64_t mem_window(const void *p)
{
	return ((uintptr_t)p & ~(((uintptr_t)1 << MEM_PAGE_SHIFT) - 1)) -
	       atomic_load_explicit(&mem_gen, memory_order_relaxed);
}

/* A relaxed load and a difference: the compiler makes two instructions of it. */
static inline uint64_t mem_less(uint64_t value, const _Atomic uint64_t *word)
{
#if defined(__x86_64__)
	__asm__("subq %1, %0" : "+r"(value) : "m"(*word) : "cc");
	return value;
#else
	return value - atomic_load_explicit(word, memory_order_relaxed);
#endif
}

static inline bool mem_in_window(const _Atomic uint64_t *window, const void *p, size_t room)
{
	return mem_less(mem_less((uintptr_t)p, window), &mem_gen) <=
	       ((size_t)1 << MEM_PAGE_SHIFT) - room;
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
