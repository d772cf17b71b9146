/* chaos.c - lifting, lowering and lingering at random */
#include "preload/sock/chaos.h"

#include "preload/sock/span.h"
#include "preload/sock/thread.h"

enum { CHAOS_ODDS = 8, CHAOS_LINGER_US = 2000 };

static uint64_t chaos_next(void)
{
	uint64_t x = thread_self.random ? thread_self.random
					: conf.chaos * 0x9e3779b97f4a7c15u + thread_tid();

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	thread_self.random = x;
	return x;
}

void chaos(struct sock *s)
{
	if (conf.chaos && s->conn && chaos_next() % CHAOS_ODDS == 0)
		span_lower(s, REASON_CHAOS);
}

void chaos_linger(void)
{
	if (conf.chaos && chaos_next() % CHAOS_ODDS == 0) {
		struct timespec t = { 0, (long)(chaos_next() % CHAOS_LINGER_US) * 1000 };

		sys(SYS_nanosleep, &t, NULL);
	}
}
