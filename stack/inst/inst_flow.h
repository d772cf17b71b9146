/* inst_flow.h - which connection a segment belongs to: open addressing, one cache line a probe
 *
 * What it does: maps a flow to the index of an object in one array that holds the flows. Called by
 * inst; the array and the table are the caller's memory; one thread; keyed, so that strangers
 * cannot aim at a bucket.
 *
 * Theory of operation
 * A bucket is one cache line: seven 32-bit tags, seven indices, and a count of entries that wanted
 * this bucket but lie further on. A search ends at the first bucket whose count is zero, so
 * nothing is left behind by a removal and the table never has to be cleaned. Sized for at most 70
 * % of the places.
 */
#ifndef ZTCP_INST_FLOW_H
#define ZTCP_INST_FLOW_H

#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_bytes.h"
#include "stack/base/base_check.h"
#include "stack/base/base_hash.h"
#include "stack/wire/wire_addr.h"

#define INST_FLOW_WAYS 7
#define INST_FLOW_NONE UINT32_MAX

struct inst_flow_bucket {
	uint32_t tag[INST_FLOW_WAYS]; /* 0: free */
	uint32_t passed;
	uint32_t index[INST_FLOW_WAYS];
	uint32_t unused;
} __attribute__((aligned(64)));

struct inst_flow {
	struct inst_flow_bucket *buckets;
	uint32_t n; /* buckets */
	uint32_t count;
	uint64_t secret[3]; /* made from the key; the last one is odd */
	const char *flows;  /* of object 0 */
	size_t stride;
};

/** inst_flow_buckets() - Return: buckets for @max flows. */
uint32_t inst_flow_buckets(uint32_t max);

/**
 * inst_flow_init() - empty table
 * @buckets: @n of them, zeroed
 * @first:   flow of object 0; the others follow each @stride bytes
 */
void inst_flow_init(struct inst_flow *f, struct inst_flow_bucket *buckets, uint32_t n,
		    const struct base_hash_key *key, const struct wire_flow *first, size_t stride);

static inline uint64_t inst_flow_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

/** inst_flow_ports() - Return: both ports as they lie in a segment of @flow that arrives. */
static inline uint32_t inst_flow_ports(const struct wire_flow *flow)
{
	return __builtin_bswap32((uint32_t)flow->rport << 16 | flow->lport);
}

/* The lowest bits of a hash, and so of a tag, which says that it is none of an empty place, tell the families apart. */
#define INST_FLOW_V4 3u
#define INST_FLOW_V6 1u

/** inst_flow_hash4() - inst_flow_hash() of addresses and ports as they lie in an IPv4 packet. */
static inline uint64_t inst_flow_hash4(const struct inst_flow *f, uint64_t ends, uint32_t ports)
{
	uint64_t h = (f->secret[0] + (uint32_t)ends) * (f->secret[1] + (ends >> 32));

	h += f->secret[2] * ports;
	return h | INST_FLOW_V4;
}

/** inst_flow_hash6() - the same for IPv6: both halves of each address. */
static inline uint64_t inst_flow_hash6(const struct inst_flow *f, uint64_t l0, uint64_t l1,
				       uint64_t r0, uint64_t r1, uint32_t ports)
{
	uint64_t h = inst_flow_mix(inst_flow_mix(f->secret[0] ^ r0, f->secret[1] ^ r1) ^ l1,
				   inst_flow_mix(f->secret[1] ^ l0, f->secret[2] ^ ports));

	return (inst_flow_mix(h ^ f->secret[1], f->secret[2]) & ~(uint64_t)3) | INST_FLOW_V6;
}

/**
 * inst_flow_hash() - Return: keyed hash of @flow
 *
 * For IPv4 a sum of products of the words and secrets, modulo 2^64, whose upper half is strongly universal: for
 * two flows, whoever chose them, all pairs of values are equally likely (multilinear hashing in Motzkin's form, Lemire and
 * Kaser 2014). It says where to look. The lower half, the tag, only has to tell apart what lies there; a tag of two
 * flows that differ in their ports alone differs, as the secret is odd. For IPv6 products of 128 bits, whose halves are
 * joined. Neither is SipHash, and they run for every segment. What they have to withstand is less: nobody
 * is ever shown a hash or part of one, collisions are all there is to gain, and a bucket takes seven before the next
 * one is looked at. Sums that others are shown (sequence numbers, cookies, ports) stay with SipHash. A device's own RSS
 * hash is not used: its key is public knowledge on many cards.
 */
static inline uint64_t inst_flow_hash(const struct inst_flow *f, const struct wire_flow *flow)
{
	uint32_t ports = inst_flow_ports(flow);

	if (wire_addr_is_v4(&flow->remote))
		return inst_flow_hash4(f, (uint64_t)flow->local.w[3] << 32 | flow->remote.w[3],
				       ports);
	return inst_flow_hash6(f, flow->local.q[0], flow->local.q[1], flow->remote.q[0],
			       flow->remote.q[1], ports);
}

/* Any number of buckets, without a division. */
static inline uint32_t inst_flow_home(const struct inst_flow *f, uint64_t hash)
{
	return (uint32_t)((hash >> 32) * f->n >> 32);
}

static inline uint32_t inst_flow_after(const struct inst_flow *f, uint32_t at)
{
	return at + 1 == f->n ? 0 : at + 1;
}

static inline uint32_t inst_flow_tag(uint64_t hash)
{
	return (uint32_t)hash;
}

static inline const struct wire_flow *inst_flow_at(const struct inst_flow *f, uint32_t i)
{
	return (const struct wire_flow *)(const void *)(f->flows + (size_t)i * f->stride);
}

/**
 * inst_flow_find() - Return: index of the object with @flow (whose hash is @hash), or
 * INST_FLOW_NONE.
 */
uint32_t inst_flow_find(const struct inst_flow *f, const struct wire_flow *flow, uint64_t hash);

/* Whether a flow is the one that @key describes, in whatever form the caller has it. */
typedef bool inst_flow_same(const struct wire_flow *flow, const void *key);

BASE_INLINE const struct wire_flow *inst_flow_of(const char *flows, size_t stride, uint32_t i)
{
	return (const struct wire_flow *)(const void *)(flows + i * stride);
}

/* The walk of all complete searches; a constant @same is inline. Return: an index, or INST_FLOW_NONE. */
BASE_INLINE uint32_t inst_flow_walk(const struct inst_flow *f, const char *flows, size_t stride,
				    uint64_t hash, inst_flow_same *same, const void *key)
{
	uint32_t tag = inst_flow_tag(hash), i;

	for (uint32_t at = inst_flow_home(f, hash);; at = inst_flow_after(f, at)) {
		const struct inst_flow_bucket *b = &f->buckets[at];

		for (int k = 0; k < INST_FLOW_WAYS; k++) {
			if (b->tag[k] != tag)
				continue;
			i = b->index[k];
			if (BASE_LIKELY(same(inst_flow_of(flows, stride, i), key)))
				return i;
		}
		if (BASE_LIKELY(!b->passed))
			return INST_FLOW_NONE;
	}
}

/* The first entry with the tag in the first bucket is nearly always it. Return: its flow; NULL when it is not. */
BASE_INLINE const struct wire_flow *inst_flow_first(const struct inst_flow *f, const char *flows,
						    size_t stride, uint64_t hash,
						    inst_flow_same *same, const void *key,
						    uint32_t *i)
{
	const struct inst_flow_bucket *b = &f->buckets[inst_flow_home(f, hash)];
	const struct wire_flow *flow;
	uint32_t tag = inst_flow_tag(hash);
	size_t k = 0;

	if (BASE_UNLIKELY(b->tag[0] != tag)) {
		for (k = 1; k < INST_FLOW_WAYS && b->tag[k] != tag; k++)
			;
		if (k == INST_FLOW_WAYS)
			return NULL;
	}
	*i = b->index[k];
	flow = inst_flow_of(flows, stride, *i);
	return BASE_LIKELY(same(flow, key)) ? flow : NULL;
}

/* Addresses and ports of a packet that arrives, as a flow holds them. */
struct inst_flow_key {
	uint64_t r0, r1, l0, l1; /* IPv4: the 32 bits of r1 and l1 */
	uint32_t ports;
};

BASE_INLINE bool inst_flow_same4(const struct wire_flow *flow, const void *key)
{
	const struct inst_flow_key *k = key;

	/* The tag has said that both are mapped. */
	return flow->remote.w[3] == (uint32_t)k->r1 && flow->local.w[3] == (uint32_t)k->l1 &&
	       base_word32(&flow->lport) == k->ports;
}

BASE_INLINE bool inst_flow_same6(const struct wire_flow *flow, const void *key)
{
	const struct inst_flow_key *k = key;

	return flow->remote.q[0] == k->r0 && flow->remote.q[1] == k->r1 &&
	       flow->local.q[0] == k->l0 && flow->local.q[1] == k->l1 &&
	       base_word32(&flow->lport) == k->ports;
}

/**
 * inst_flow_find4() - inst_flow_find() of addresses and ports as they lie in an IPv4 packet that
 * arrives
 * @flows:  flow of object 0, as inst_flow_init() was told
 * @stride: a constant: what it was told
 * @i:      set to its index
 *
 * Return: its flow; NULL when there is none, and for the few that lie elsewhere than first at home.
 */
BASE_INLINE const struct wire_flow *inst_flow_find4(const struct inst_flow *f, const char *flows,
						    size_t stride, uint64_t ends, uint32_t ports,
						    uint32_t *i)
{
	const struct inst_flow_key key = {
		.r1 = (uint32_t)ends,
		.l1 = ends >> 32,
		.ports = __builtin_bswap32(ports),
	};

	return inst_flow_first(f, flows, stride, inst_flow_hash4(f, ends, ports), inst_flow_same4,
			       &key, i);
}

/** inst_flow_find6() - the same for IPv6. @ends: source and destination as they lie there */
BASE_INLINE const struct wire_flow *inst_flow_find6(const struct inst_flow *f, const char *flows,
						    size_t stride, const uint8_t *ends,
						    uint32_t ports, uint32_t *i)
{
	const struct inst_flow_key key = {
		.r0 = base_word64(ends),
		.r1 = base_word64(ends + 8),
		.l0 = base_word64(ends + 16),
		.l1 = base_word64(ends + 24),
		.ports = __builtin_bswap32(ports),
	};
	uint64_t hash = inst_flow_hash6(f, key.l0, key.l1, key.r0, key.r1, ports);

	return inst_flow_first(f, flows, stride, hash, inst_flow_same6, &key, i);
}

/**
 * inst_flow_add() - put object @i, whose flow is not in the table. The caller keeps within the
 * size.
 */
void inst_flow_add(struct inst_flow *f, uint32_t i);

/** inst_flow_next() - walk; @at is 0 at first. Return: the next flow, or NULL at the end. */
const struct wire_flow *inst_flow_next(const struct inst_flow *f, uint32_t *at);

/** inst_flow_remove() - take object @i out; it must be in. */
void inst_flow_remove(struct inst_flow *f, uint32_t i);

#endif
