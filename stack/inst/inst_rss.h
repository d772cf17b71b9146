/* inst_rss.h - which receive queue a network card chooses for a connection (Toeplitz hash)
 *
 * What it does: computes the card's hash, so that a port can be chosen whose packets come back to
 * the instance that chose it. Called by inst; the table is the caller's memory; pure; any thread.
 */
#ifndef ZTCP_INST_RSS_H
#define ZTCP_INST_RSS_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/wire/wire_addr.h"

#define INST_RSS_KEY_LEN  40
#define INST_RSS_RETA_MAX 512

struct inst_rss_config {
	uint8_t key[INST_RSS_KEY_LEN];
	uint16_t reta_len; /* entries of the redirection table, a power of two; 0: one queue only */
	uint16_t queue;    /* ours */
	uint16_t reta[INST_RSS_RETA_MAX];
};

/**
 * inst_rss_hash() - the hash a card computes for a packet from @flow's remote end to its local end
 *
 * Return: the 32-bit Toeplitz hash over source, destination, source port, destination port.
 */
uint32_t inst_rss_hash(const struct inst_rss_config *rss, const struct wire_flow *flow);

/** inst_rss_ours() - Return: true when @flow's packets arrive on our queue. */
bool inst_rss_ours(const struct inst_rss_config *rss, const struct wire_flow *flow);

/**
 * inst_rss_bits() - part of a hash: @n bytes that stand @at bytes into the hashed tuple
 *
 * The hash is linear: parts are joined by exclusive or, so trying another port costs two bytes
 * only.
 */
uint32_t inst_rss_bits(const struct inst_rss_config *rss, const uint8_t *bytes, unsigned int n,
		       unsigned int at);

#endif
