/* quiet.h - what was asked in vain is not asked again for a while
 *
 * Most peers are not wrapped: then nobody calls us, and nobody is found. So that connections of that kind do
 * not pay for the others, what was asked in vain is not asked again for a while, by none of them; for the
 * longer, the more often it was. patience.c is the caller, on any thread; nothing is owned.
 */
#ifndef SOCK_QUIET_H
#define SOCK_QUIET_H

#include "preload/sock/thread.h"

enum { QUIET_CYCLES = 1 << 14 }; /* about 6 us */

struct quiet {
	_Atomic uint64_t since; /* cycles */
	_Atomic uint32_t vain;  /* how often in a row */
};

/* Whether it was in vain so often, and so short a time ago, that it is left alone. */
static inline bool is_quiet(const struct quiet *q)
{
	return thread_cycles() - atomic_load_explicit(&q->since, memory_order_relaxed) <
	       (uint64_t)atomic_load_explicit(&q->vain, memory_order_relaxed) * QUIET_CYCLES;
}

/* It was asked. @vain: in vain; @most: times of QUIET_CYCLES that it is left alone at most */
static inline void quiet_note(struct quiet *q, bool vain, uint32_t most)
{
	uint32_t n = atomic_load_explicit(&q->vain, memory_order_relaxed);

	atomic_store_explicit(&q->vain,
			      vain && n < most ? n + 1
			      : vain           ? n
					       : 0,
			      memory_order_relaxed);
	atomic_store_explicit(&q->since, thread_cycles(), memory_order_relaxed);
}

#endif
