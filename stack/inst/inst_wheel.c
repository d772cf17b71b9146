/* inst_wheel.c - hashed hierarchical timer wheel over objects in one array */
#include "stack/inst/inst_wheel.h"

#include <string.h>

#include "stack/base/base_check.h"

#define SLOT_BITS      6
#define AHEAD_MAX_TICK (1u << 30)
#define NEVER_TICK     UINT64_MAX

static inline struct inst_timer *timer_of(const struct inst_wheel *w, uint32_t i)
{
	return (struct inst_timer *)(void *)(w->timers + (size_t)i * w->stride);
}

/* A deadline between two ticks fires at the later one: never early. */
static uint64_t tick_of(ztime_t t)
{
	return t <= 0 ? 0 : ((uint64_t)t + (1u << INST_WHEEL_SHIFT) - 1) >> INST_WHEEL_SHIFT;
}

void inst_wheel_init(struct inst_wheel *w, void *first, size_t stride, ztime_t now)
{
	w->tick = now <= 0 ? 0 : (uint64_t)now >> INST_WHEEL_SHIFT;
	w->timers = first;
	w->soonest = NEVER_TICK;
	w->stride = stride;
	memset(w->used, 0, sizeof(w->used));
	memset(w->head, 0xff, sizeof(w->head));
}

static unsigned int level_of(uint64_t now, uint64_t when)
{
	uint64_t differ = (now ^ when) | (INST_WHEEL_SLOTS - 1);

	return (63u - (unsigned int)__builtin_clzll(differ)) / SLOT_BITS;
}

static uint64_t slot_tick(const struct inst_wheel *w, unsigned int level, unsigned int slot)
{
	uint64_t above = w->tick >> (level * SLOT_BITS) & ~(uint64_t)(INST_WHEEL_SLOTS - 1);

	return (above | slot) << (level * SLOT_BITS);
}

static void wheel_put(struct inst_wheel *w, uint32_t i, uint64_t when)
{
	struct inst_timer *t = timer_of(w, i);
	unsigned int level = level_of(w->tick, when);
	unsigned int slot = when >> (level * SLOT_BITS) & (INST_WHEEL_SLOTS - 1);
	uint32_t *head = &w->head[level][slot];

	BASE_CHECK(level < INST_WHEEL_LEVELS);
	t->tick = (uint32_t)when;
	t->slot = (uint16_t)(level * INST_WHEEL_SLOTS + slot + 1);
	t->prev = INST_WHEEL_NONE;
	t->next = *head;
	if (*head != INST_WHEEL_NONE)
		timer_of(w, *head)->prev = i;
	*head = i;
	w->used[level] |= 1ull << slot;
	if (slot_tick(w, level, slot) < w->soonest)
		w->soonest = slot_tick(w, level, slot);
}

void inst_wheel_cancel(struct inst_wheel *w, uint32_t i)
{
	struct inst_timer *t = timer_of(w, i);
	unsigned int level, slot;

	if (!t->slot)
		return;
	level = (t->slot - 1u) / INST_WHEEL_SLOTS;
	slot = (t->slot - 1u) % INST_WHEEL_SLOTS;
	t->slot = 0;
	if (t->next != INST_WHEEL_NONE)
		timer_of(w, t->next)->prev = t->prev;
	if (t->prev != INST_WHEEL_NONE)
		timer_of(w, t->prev)->next = t->next;
	else
		w->head[level][slot] = t->next;
	if (w->head[level][slot] == INST_WHEEL_NONE)
		w->used[level] &= ~(1ull << slot);
}

void inst_wheel_arm(struct inst_wheel *w, uint32_t i, ztime_t when)
{
	uint64_t tick;

	inst_wheel_cancel(w, i);
	if (when == ZTIME_NEVER)
		return;
	tick = tick_of(when);
	if (tick < w->tick)
		tick = w->tick;
	if (tick - w->tick > AHEAD_MAX_TICK)
		tick = w->tick + AHEAD_MAX_TICK;
	wheel_put(w, i, tick);
}

static uint64_t tick_full(const struct inst_wheel *w, const struct inst_timer *t)
{
	return w->tick + (uint64_t)(int64_t)(int32_t)(t->tick - (uint32_t)w->tick);
}

ztime_t inst_wheel_armed(const struct inst_wheel *w, uint32_t i)
{
	const struct inst_timer *t = timer_of(w, i);

	return t->slot ? (ztime_t)(tick_full(w, t) << INST_WHEEL_SHIFT) : ZTIME_NEVER;
}

/*
 * The slot that comes first. Levels are in order but for one whose slot the hand has reached and
 * whose objects have not all moved down yet: its start has passed, so it is before all others.
 * Return: its tick, or NEVER_TICK when no slot is in use.
 */
static uint64_t wheel_next(const struct inst_wheel *w, unsigned int *level, unsigned int *slot)
{
	uint64_t first = NEVER_TICK;

	*level = *slot = 0;
	for (unsigned int l = 0; l < INST_WHEEL_LEVELS; l++) {
		unsigned int s;
		uint64_t at;

		if (!w->used[l])
			continue;
		s = (unsigned int)__builtin_ctzll(w->used[l]);
		at = slot_tick(w, l, s);
		if (at > first)
			continue;
		*level = l;
		*slot = s;
		first = at;
	}
	return first;
}

/* One step at a due slot. Return: the object that fires, or INST_WHEEL_NONE when it moved down. */
static uint32_t wheel_step(struct inst_wheel *w, unsigned int level, unsigned int slot,
			   uint64_t tick)
{
	uint32_t i = w->head[level][slot];
	uint64_t when;

	if (tick > w->tick)
		w->tick = tick;
	when = tick_full(w, timer_of(w, i));
	inst_wheel_cancel(w, i);
	if (when <= w->tick)
		return i;
	wheel_put(w, i, when);
	return INST_WHEEL_NONE;
}

uint32_t inst_wheel_fire(struct inst_wheel *w, ztime_t now, unsigned int *steps)
{
	uint64_t now_tick = now <= 0 ? 0 : (uint64_t)now >> INST_WHEEL_SHIFT;
	unsigned int level, slot;

	while (*steps && now_tick >= w->soonest) {
		uint64_t tick = wheel_next(w, &level, &slot);
		uint32_t i;

		w->soonest = tick;
		if (tick > now_tick) {
			/* With nothing left behind it the hand may jump. */
			w->tick = now_tick;
			break;
		}
		(*steps)--;
		i = wheel_step(w, level, slot, tick);
		if (i != INST_WHEEL_NONE)
			return i;
	}
	return INST_WHEEL_NONE;
}

ztime_t inst_wheel_deadline(const struct inst_wheel *w)
{
	return w->soonest == NEVER_TICK ? ZTIME_NEVER : (ztime_t)(w->soonest << INST_WHEEL_SHIFT);
}
