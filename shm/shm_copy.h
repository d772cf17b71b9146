/* shm_copy.h - copying much into memory that another core reads next
 *
 * An ordinary copy leaves the bytes in the writer's cache, and the reader fetches them from there line by line: where
 * the two cores share no cache that is several times slower than memory, which prefetches. So long copies go
 * past the caches; short ones are latency alone and stay in them. Measured: docs/performance.md. Any thread.
 */
#ifndef SHM_COPY_H
#define SHM_COPY_H

#include "shm/contract.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

enum {
	/* Bytes from which a copy goes past the caches. */
	SHM_COPY_STREAM = 3072,
};

#if defined(__x86_64__)
/* @lines cache lines to @to, which is aligned to one; visible before any later store. */
static inline void shm_copy_lines(char *to, const char *from, size_t lines)
{
	for (; lines; lines--, to += SHM_LINE, from += SHM_LINE) {
		__m128i a = _mm_loadu_si128((const __m128i *)from);
		__m128i b = _mm_loadu_si128((const __m128i *)(from + 16));
		__m128i c = _mm_loadu_si128((const __m128i *)(from + 32));
		__m128i d = _mm_loadu_si128((const __m128i *)(from + 48));

		_mm_stream_si128((__m128i *)to, a);
		_mm_stream_si128((__m128i *)(to + 16), b);
		_mm_stream_si128((__m128i *)(to + 32), c);
		_mm_stream_si128((__m128i *)(to + 48), d);
	}
	_mm_sfence(); /* these stores keep no order by themselves (Intel SDM 3A, 9.2.2) */
}
#else
static inline void shm_copy_lines(char *to, const char *from, size_t lines)
{
	memcpy(to, from, lines * SHM_LINE);
}
#endif

/* memcpy() into a ring. */
static inline void shm_copy(char *to, const char *from, size_t n)
{
	size_t lead = -(uintptr_t)to % SHM_LINE;

	if (__builtin_expect(n < SHM_COPY_STREAM, 1)) {
		memcpy(to, from, n);
		return;
	}
	memcpy(to, from, lead);
	to += lead;
	from += lead;
	n -= lead;
	shm_copy_lines(to, from, n / SHM_LINE);
	memcpy(to + n / SHM_LINE * SHM_LINE, from + n / SHM_LINE * SHM_LINE, n % SHM_LINE);
}

#endif
