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

/**
 * wire_csum_pseudo() - Return: partial sum of the pseudo header for @proto over @len bytes (v4 or
 * v6).
 */
uint64_t wire_csum_pseudo(const union wire_addr *src, const union wire_addr *dst, uint8_t proto,
			  uint32_t len);

/**
 * wire_csum_fold() - end a partial sum
 *
 * Return: the checksum in memory order: store it with memcpy, without a byte swap. A correct
 * message, its checksum included, gives 0.
 */
uint16_t wire_csum_fold(uint64_t sum);

#endif
