/* inst_flow.c - flow table: one cache line a probe */
#include "stack/inst/inst_flow.h"

#include "stack/base/base_check.h"

#define FULL_PERCENT 75

BASE_BUILD_CHECK(sizeof(struct inst_flow_bucket) == 64);

uint32_t inst_flow_buckets(uint32_t max)
{
	return (uint32_t)((uint64_t)max * 100 / (INST_FLOW_WAYS * FULL_PERCENT)) + 1;
}

void inst_flow_init(struct inst_flow *f, struct inst_flow_bucket *buckets, uint32_t n,
		    const struct base_hash_key *key, const struct wire_flow *first, size_t stride)
{
	*f = (struct inst_flow){
		.buckets = buckets,
		.n = n,
		.flows = (const char *)first,
		.stride = stride,
	};
	/* However the key was chosen, these are spread over all bits; the last one is a multiplier. */
	for (uint64_t i = 0; i < BASE_ARRAY_SIZE(f->secret); i++)
		f->secret[i] = base_hash_sip24_words(key, &i, 1) | (i == 2);
}

static bool flow_same(const struct wire_flow *flow, const void *key)
{
	return wire_flow_equal(flow, key);
}

uint32_t inst_flow_find(const struct inst_flow *f, const struct wire_flow *flow, uint64_t hash)
{
	return inst_flow_walk(f, f->flows, f->stride, hash, flow_same, flow);
}

static int bucket_free_way(const struct inst_flow_bucket *b)
{
	for (int k = 0; k < INST_FLOW_WAYS; k++)
		if (!b->tag[k])
			return k;
	return -1;
}

void inst_flow_add(struct inst_flow *f, uint32_t i)
{
	uint64_t hash = inst_flow_hash(f, inst_flow_at(f, i));
	uint32_t at = inst_flow_home(f, hash);
	int k;

	BASE_CHECK(f->count < (uint64_t)f->n * INST_FLOW_WAYS);
	while ((k = bucket_free_way(&f->buckets[at])) < 0) {
		f->buckets[at].passed++;
		at = inst_flow_after(f, at);
	}
	f->buckets[at].tag[k] = inst_flow_tag(hash);
	f->buckets[at].index[k] = i;
	f->count++;
}

void inst_flow_remove(struct inst_flow *f, uint32_t i)
{
	uint64_t hash = inst_flow_hash(f, inst_flow_at(f, i));
	uint32_t home = inst_flow_home(f, hash), tag = inst_flow_tag(hash);

	for (uint32_t at = home;; at = inst_flow_after(f, at)) {
		struct inst_flow_bucket *b = &f->buckets[at];

		for (int k = 0; k < INST_FLOW_WAYS; k++) {
			if (b->tag[k] != tag || b->index[k] != i)
				continue;
			b->tag[k] = 0;
			for (uint32_t p = home; p != at; p = inst_flow_after(f, p))
				f->buckets[p].passed--;
			f->count--;
			return;
		}
		BASE_CHECK(b->passed);
	}
}

const struct wire_flow *inst_flow_next(const struct inst_flow *f, uint32_t *at)
{
	while (*at < f->n * INST_FLOW_WAYS) {
		const struct inst_flow_bucket *b = &f->buckets[*at / INST_FLOW_WAYS];
		uint32_t way = (*at)++ % INST_FLOW_WAYS;

		if (b->tag[way])
			return inst_flow_at(f, b->index[way]);
	}
	return NULL;
}
