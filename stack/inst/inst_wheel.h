/* inst_wheel.h - hashed hierarchical timer wheel over objects in one array
 *
 * What it does: one deadline an object, armed, moved and cancelled in constant time, for millions
 * of objects. Called by inst; the array and the wheel are the caller's memory; one thread.
 *
 * Theory of operation
 * Time is counted in ticks of 2^13 ns (8 us). Level l has 64 slots of 64^l ticks. A deadline goes
 * into the level of the highest bit group in which it differs from the current tick, so that
 * nothing is ever put behind the hand, and a bit map a level tells the next slot in use without
 * looking at empty ones. When the hand reaches a slot of a higher level, its objects move down,
 * one for each step of the caller: work is bounded. Objects are named by index, which halves the
 * links. A deadline more than about 2 hours ahead is kept as 2 hours: it fires early and the owner
 * arms it again.
 */
#ifndef ZTCP_INST_WHEEL_H
#define ZTCP_INST_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_time.h"

#define INST_WHEEL_SHIFT  13
#define INST_WHEEL_SLOTS  64
#define INST_WHEEL_LEVELS 9
#define INST_WHEEL_NONE   UINT32_MAX

struct inst_timer {
	uint32_t next, prev;
	uint32_t tick;  /* low bits of the deadline */
	uint16_t slot;  /* level * 64 + slot + 1; 0: not armed */
	uint16_t spare; /* the object's own: two bytes that padding would waste */
};

struct inst_wheel {
	uint64_t tick;    /* everything before has been fired */
	uint64_t soonest; /* nothing fires before; perhaps a little early, after a cancel */
	char *timers;     /* of object 0 */
	size_t stride;
	uint64_t used[INST_WHEEL_LEVELS];
	uint32_t head[INST_WHEEL_LEVELS][INST_WHEEL_SLOTS];
};

/** inst_wheel_init() - empty wheel for objects whose timers lie at @first, @first + @stride, ... */
void inst_wheel_init(struct inst_wheel *w, void *first, size_t stride, ztime_t now);

/**
 * inst_wheel_arm() - fire object @i at @when, or less than one tick after it
 *
 * Replaces an earlier deadline. @when ZTIME_NEVER cancels.
 */
void inst_wheel_arm(struct inst_wheel *w, uint32_t i, ztime_t when);

/** inst_wheel_cancel() - object @i has no deadline. */
void inst_wheel_cancel(struct inst_wheel *w, uint32_t i);

/** inst_wheel_armed() - Return: when object @i fires, or ZTIME_NEVER. */
ztime_t inst_wheel_armed(const struct inst_wheel *w, uint32_t i);

/**
 * inst_wheel_by() - Return: true when object @i fires at @when or before, so that it need not be
 * armed for it. False is also possible when they are hours apart.
 */
static inline bool inst_wheel_by(const struct inst_timer *t, ztime_t when)
{
	return t->slot && (int32_t)((uint32_t)((uint64_t)when >> INST_WHEEL_SHIFT) - t->tick) >= 0;
}

/** inst_wheel_due() - Return: true when inst_wheel_fire() may have something to do. */
static inline bool inst_wheel_due(const struct inst_wheel *w, ztime_t now)
{
	return (uint64_t)now >> INST_WHEEL_SHIFT >= w->soonest;
}

/**
 * inst_wheel_fire() - take one object whose deadline has come
 * @steps: work allowed: objects moved or fired; lowered by what was done
 *
 * Return: its index, its timer now not armed; INST_WHEEL_NONE when none is due or @steps ran out.
 */
uint32_t inst_wheel_fire(struct inst_wheel *w, ztime_t now, unsigned int *steps);

/**
 * inst_wheel_deadline() - Return: when inst_wheel_fire() may have something to do, or ZTIME_NEVER.
 */
ztime_t inst_wheel_deadline(const struct inst_wheel *w);

#endif
