/* base_check.h - what must hold, at compile time and at run time
 *
 * What it does: stops at a broken invariant without calling anything, so that pure code may use
 * it. A
 * BASE_CHECK says "a programmer erred", never "a packet was bad": packets get a counted reason.
 * Called by all of stack/; any thread.
 */
#ifndef ZTCP_BASE_CHECK_H
#define ZTCP_BASE_CHECK_H

#define BASE_CHECK(cond)                          \
	do {                                      \
		if (__builtin_expect(!(cond), 0)) \
			__builtin_trap();         \
	} while (0)

#define BASE_BUILD_CHECK(cond) _Static_assert(cond, #cond)

#define BASE_LIKELY(x)   __builtin_expect(!!(x), 1)
#define BASE_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Seldom called: kept out of line, so that whoever calls it needs no registers saved for it. */
#define BASE_COLD __attribute__((noinline, cold))
/* Less often called than what is around it, for the same reason, but as fast as the rest. */
#define BASE_APART __attribute__((noinline))
/* So short, or so often called, that it is to be part of its callers. */
#define BASE_INLINE static inline __attribute__((always_inline))

#define BASE_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BASE_MIN(a, b)     ((a) < (b) ? (a) : (b))
#define BASE_MAX(a, b)     ((a) > (b) ? (a) : (b))

#endif
