/* inst_wheel_test.c - timers against a list that is sorted the slow way */
#include "stack/inst/inst_wheel.h"

#include <criterion/criterion.h>
#include <string.h>

enum { N = 500 };

static struct inst_timer timers[N];
static ztime_t want[N];
static struct inst_wheel w;
static uint64_t seed = 1;

static uint64_t chance(void)
{
	return (seed = seed * 6364136223846793005ull + 1442695040888963407ull) >> 16;
}

static ztime_t tick_up(ztime_t t)
{
	ztime_t tick = (ztime_t)1 << INST_WHEEL_SHIFT;

	return (t + tick - 1) / tick * tick;
}

/* Fires all that is due; each must be due, and none may be left. */
static unsigned int fire_all(ztime_t now)
{
	unsigned int steps = 100000, n = 0;
	uint32_t i;

	while ((i = inst_wheel_fire(&w, now, &steps)) != INST_WHEEL_NONE) {
		cr_assert_leq(want[i], now, "timer %u early by %ld", i, (long)(want[i] - now));
		want[i] = ZTIME_NEVER;
		n++;
	}
	for (int k = 0; k < N; k++)
		cr_assert(want[k] == ZTIME_NEVER || tick_up(want[k]) > now, "timer %d is late", k);
	return n;
}

static void start(ztime_t now)
{
	memset(timers, 0, sizeof(timers));
	for (int i = 0; i < N; i++)
		want[i] = ZTIME_NEVER;
	inst_wheel_init(&w, timers, sizeof(timers[0]), now);
}

Test(inst_wheel, random__fires_each_in_time_and_once)
{
	ztime_t now = (ztime_t)0xffffff0000000; /* near a carry into high levels */

	start(now);
	for (int round = 0; round < 20000; round++) {
		uint32_t i = (uint32_t)(chance() % N);

		switch (chance() % 4) {
		case 0:
		case 1:
			want[i] = now + (ztime_t)(chance() % (1ull << (chance() % 42)));
			inst_wheel_arm(&w, i, want[i]);
			break;
		case 2:
			want[i] = ZTIME_NEVER;
			inst_wheel_cancel(&w, i);
			break;
		default: now += (ztime_t)(chance() % (1ull << (chance() % 34))); fire_all(now);
		}
		cr_assert(inst_wheel_armed(&w, i) == ZTIME_NEVER ||
			  inst_wheel_armed(&w, i) >= want[i] || want[i] - now > ztime_sec(8000));
	}
}

Test(inst_wheel, inst_wheel_deadline__never_later_than_the_first)
{
	ztime_t now = ztime_sec(1);

	start(now);
	cr_expect_eq(inst_wheel_deadline(&w), ZTIME_NEVER);
	for (int i = 0; i < N; i++) {
		want[i] = now + (ztime_t)(chance() % 3600000000000ull);
		inst_wheel_arm(&w, (uint32_t)i, want[i]);
	}
	for (;;) {
		ztime_t first = ZTIME_NEVER, at = inst_wheel_deadline(&w);

		for (int i = 0; i < N; i++)
			first = ztime_min(first, want[i]);
		if (first == ZTIME_NEVER)
			break;
		cr_assert_leq(at, tick_up(first));
		now = ztime_max(at, now + 1);
		fire_all(now);
	}
	cr_expect_eq(inst_wheel_deadline(&w), ZTIME_NEVER);
}

Test(inst_wheel, inst_wheel_fire__work_is_bounded)
{
	unsigned int steps = 10, n = 0;

	start(0);
	for (uint32_t i = 0; i < 100; i++)
		inst_wheel_arm(&w, i, want[i] = ztime_ms(5));
	while (inst_wheel_fire(&w, ztime_ms(6), &steps) != INST_WHEEL_NONE)
		n++;
	cr_expect_eq(steps, 0);
	cr_expect_leq(n, 10);
	cr_expect_leq(inst_wheel_deadline(&w), ztime_ms(6), "the rest is still due");
}
