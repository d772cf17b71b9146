/* base_seq.h - 32-bit sequence number arithmetic (RFC 9293 3.4)
 *
 * What it does: compares points in a space of 2^32 that wraps. Called by the TCP core and its
 * tests; owns no memory; any thread. A comparison is meaningful only for points less than 2^31
 * apart, which
 * RFC 7323 2.2 guarantees by bounding the window to 2^30.
 */
#ifndef ZTCP_BASE_SEQ_H
#define ZTCP_BASE_SEQ_H

#include <stdbool.h>
#include <stdint.h>

/** seq_diff() - signed distance from @b to @a. Return: a - b, in [-2^31, 2^31). */
static inline int32_t seq_diff(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

/** seq_lt() - Return: true when @a comes before @b. */
static inline bool seq_lt(uint32_t a, uint32_t b)
{
	return seq_diff(a, b) < 0;
}

/** seq_le() - Return: true when @a comes before @b or is @b. */
static inline bool seq_le(uint32_t a, uint32_t b)
{
	return seq_diff(a, b) <= 0;
}

/** seq_gt() - Return: true when @a comes after @b. */
static inline bool seq_gt(uint32_t a, uint32_t b)
{
	return seq_diff(a, b) > 0;
}

/** seq_ge() - Return: true when @a comes after @b or is @b. */
static inline bool seq_ge(uint32_t a, uint32_t b)
{
	return seq_diff(a, b) >= 0;
}

/** seq_max() - Return: the later of two points. */
static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
	return seq_gt(a, b) ? a : b;
}

/** seq_min() - Return: the earlier of two points. */
static inline uint32_t seq_min(uint32_t a, uint32_t b)
{
	return seq_lt(a, b) ? a : b;
}

/** seq_in() - Return: true when @s lies in the half-open range [@start, @start + @len). */
static inline bool seq_in(uint32_t s, uint32_t start, uint32_t len)
{
	return s - start < len;
}

#endif
