/* base_hash.h - keyed hash for everything a stranger on the network can choose
 *
 * What it does: SipHash-2-4 (Aumasson and Bernstein), for initial sequence numbers (RFC 6528), SYN
 * and Fast Open cookies, and the flow table, so that nobody without the key can aim at a bucket or
 * a number. Called by tcp, ip and inst; pure; any thread. The key is given by the owner of the
 * instance.
 */
#ifndef ZTCP_BASE_HASH_H
#define ZTCP_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct base_hash_key {
	uint64_t k0, k1;
};

/**
 * base_hash_sip24() - SipHash-2-4 of a byte string
 * @key:  128 secret bits
 * @data: borrowed; @len bytes, any alignment
 * @len:  bytes, 0 is allowed
 *
 * Return: 64 bits that cannot be told from random without the key.
 */
uint64_t base_hash_sip24(const struct base_hash_key *key, const void *data, size_t len);

/**
 * base_hash_sip24_words() - the same hash of @n 64-bit words, without the byte handling
 *
 * Equals base_hash_sip24() of those words' 8 * @n bytes in memory on a little-endian machine.
 */
uint64_t base_hash_sip24_words(const struct base_hash_key *key, const uint64_t *words, size_t n);

#endif
