/* base_time.h - the one unit of time inside the stack: signed 64-bit nanoseconds
 *
 * What it does: names the type and its conversions. The origin is the caller's (a monotonic clock,
 * or zero in a simulation); nothing here reads a clock. Called by all of stack/; any thread.
 * Nanoseconds, because pacing at 100 Gb/s spaces segments by 120 ns; 2^63 ns last 292 years.
 */
#ifndef ZTCP_BASE_TIME_H
#define ZTCP_BASE_TIME_H

#include <stdint.h>

typedef int64_t ztime_t;

#define ZTIME_NEVER INT64_MAX /* a deadline that does not come */
#define ZTIME_PAST  INT64_MIN /* before anything */
#define ZTIME_US    ((ztime_t)1000)
#define ZTIME_MS    ((ztime_t)1000 * 1000)
#define ZTIME_SEC   ((ztime_t)1000 * 1000 * 1000)

/** ztime_us() - @n microseconds as a time. */
static inline ztime_t ztime_us(int64_t n)
{
	return n * ZTIME_US;
}

/** ztime_ms() - @n milliseconds as a time. */
static inline ztime_t ztime_ms(int64_t n)
{
	return n * ZTIME_MS;
}

/** ztime_sec() - @n seconds as a time. */
static inline ztime_t ztime_sec(int64_t n)
{
	return n * ZTIME_SEC;
}

/** ztime_min() - Return: the earlier of two deadlines. */
static inline ztime_t ztime_min(ztime_t a, ztime_t b)
{
	return a < b ? a : b;
}

/** ztime_max() - Return: the later of two deadlines. */
static inline ztime_t ztime_max(ztime_t a, ztime_t b)
{
	return a > b ? a : b;
}

/** ztime_add() - @t plus @d, where never stays never. Return: the sum, saturated at ZTIME_NEVER. */
static inline ztime_t ztime_add(ztime_t t, ztime_t d)
{
	ztime_t sum;

	return t == ZTIME_NEVER || __builtin_add_overflow(t, d, &sum) ? ZTIME_NEVER : sum;
}

#endif
