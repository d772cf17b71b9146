/* wire_csum.h - the internet checksum (RFC 1071)
 *
 * What it does: partial sums over bytes anywhere, joined at even offsets and folded at the end, so
 * that header and payload can be summed apart. Called by wire, ip and devices without offload;
 * pure; any thread.
 * A partial sum is a 64-bit accumulator of 32-bit little-endian words: fewer than 2^32 words fit
 * without loss.
 */
#ifndef ZTCP_WIRE_CSUM_H
#define ZTCP_WIRE_CSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/wire/wire_addr.h"

/**
 * wire_csum_add() - add @len bytes to a partial sum
 * @sum:  0, or an earlier partial sum over an even number of bytes
 * @data: borrowed, any alignment
 * @len:  bytes; an odd length is padded with a zero byte and must be the last part
 *
 * Return: the new partial sum.
 */
uint64_t wire_csum_add(uint64_t sum, const void *data, size_t len);

/**
 * wire_csum_join() - add a part of a message that is scattered over parts of any length
 * @odd: whether the parts so far make an odd number of bytes; false before the first; updated
 *
 * Return: the new partial sum.
 */
uint64_t wire_csum_join(uint64_t sum, const void *data, size_t len, bool *odd);

/** wire_csum_word() - add eight bytes, as loaded, to a partial sum. Return: the new one. */
static inline uint64_t wire_csum_word(uint64_t sum, uint64_t word)
{
	return sum + (word & 0xffffffffu) + (word >> 32);
}

/** wire_csum_pseudo4() - the same for IPv4 addresses as loaded. */
static inline uint64_t wire_csum_pseudo4(uint32_t src, uint32_t dst, uint8_t proto, uint32_t len)
{
	return (uint64_t)__builtin_bswap32(len) + ((uint64_t)proto << 24) + src + dst;
}

/** wire_csum_pseudo6() - the same for IPv6 addresses. */
static inline uint64_t wire_csum_pseudo6(const union wire_addr *src, const union wire_addr *dst,
					 uint8_t proto, uint32_t len)
{
	uint64_t sum = (uint64_t)__builtin_bswap32(len) + ((uint64_t)proto << 24);

	sum = wire_csum_word(sum, src->q[0]);
	sum = wire_csum_word(sum, src->q[1]);
	sum = wire_csum_word(sum, dst->q[0]);
	return wire_csum_word(sum, dst->q[1]);
}

/**
 * wire_csum_pseudo() - Return: partial sum of the pseudo header for @proto over @len bytes (v4 or
 * v6).
 */
static inline uint64_t wire_csum_pseudo(const union wire_addr *src, const union wire_addr *dst,
					uint8_t proto, uint32_t len)
{
	if (wire_addr_is_v4(src))
		return wire_csum_pseudo4(src->w[3], dst->w[3], proto, len);
	return wire_csum_pseudo6(src, dst, proto, len);
}

/**
 * wire_csum_fold() - end a partial sum
 *
 * Return: the checksum in memory order: store it with memcpy, without a byte swap. A correct
 * message, its checksum included, gives 0.
 */
static inline uint16_t wire_csum_fold(uint64_t sum)
{
	uint32_t low;

	/* Added to itself with the halves exchanged, a word has the end-around sum in its upper half. */
	sum += sum << 32 | sum >> 32;
	low = (uint32_t)(sum >> 32);
	low += low << 16 | low >> 16;
	return (uint16_t) ~(low >> 16);
}

/** wire_csum_fold32() - wire_csum_fold() of a sum that fits in 32 bits. */
static inline uint16_t wire_csum_fold32(uint32_t sum)
{
	sum += sum << 16 | sum >> 16;
	return (uint16_t) ~(sum >> 16);
}

/** wire_csum_ends4() - Return: the partial sum of two IPv4 addresses as loaded, in 17 bits. */
static inline uint32_t wire_csum_ends4(uint32_t src, uint32_t dst)
{
	uint64_t sum = (uint64_t)src + dst;
	uint32_t low = (uint32_t)sum + (uint32_t)(sum >> 32); /* cannot carry again */

	return (low & 0xffff) + (low >> 16);
}

#endif
