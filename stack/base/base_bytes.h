/* base_bytes.h - big-endian numbers at any address
 *
 * What it does: reads and writes network order without alignment or aliasing assumptions. Called by
 * wire and ip; the caller has checked that the bytes are there; any thread.
 */
#ifndef ZTCP_BASE_BYTES_H
#define ZTCP_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

/** base_word16() - Return: two bytes as loaded. */
static inline uint16_t base_word16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/** base_word32() - Return: four bytes as loaded. */
static inline uint32_t base_word32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/** base_word64() - Return: eight bytes as loaded. */
static inline uint64_t base_word64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/** base_be16_get() - Return: the 16-bit number at @p. */
static inline uint16_t base_be16_get(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap16(v);
}

/** base_be32_get() - Return: the 32-bit number at @p. */
static inline uint32_t base_be32_get(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

/** base_be16_put() - write @v at @p. */
static inline void base_be16_put(void *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, sizeof(v));
}

/** base_be32_put() - write @v at @p. */
static inline void base_be32_put(void *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof(v));
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the byte swaps assume little endian");

#endif
