/* base_counters.h - one list of things that happened, which is also the list of drop reasons
 *
 * What it does: turns counters.def into an enum, and a block of 64-bit counts. A function that may
 * refuse a packet returns an enum counter: CNT_none, or the reason, which its caller counts once.
 * The block belongs to one instance and is written by its thread alone; readers elsewhere see
 * each count whole, perhaps a little old. Owner of the memory: whoever embeds the block.
 */
#ifndef ZTCP_BASE_COUNTERS_H
#define ZTCP_BASE_COUNTERS_H

#include <stdint.h>

enum counter {
#define COUNTER(name, text) CNT_##name,
#include "stack/base/counters.def"
#undef COUNTER
	CNT_COUNT
};

struct base_counters {
	uint64_t n[CNT_COUNT];
};

/** base_count() - one more of @what. */
static inline void base_count(struct base_counters *c, enum counter what)
{
	c->n[what]++;
}

/** base_count_add() - @by more of @what. */
static inline void base_count_add(struct base_counters *c, enum counter what, uint64_t by)
{
	c->n[what] += by;
}

/**
 * base_counter_name() - Return: the identifier of @what as in counters.def, or "?" out of range.
 */
const char *base_counter_name(enum counter what);

/** base_counter_text() - Return: the sentence that explains @what, or "?" out of range. */
const char *base_counter_text(enum counter what);

#endif
