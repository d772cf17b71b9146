/* dev_fault.h - a device around any other, on whose way packets are lost, doubled, delayed,
 * reordered and damaged
 *
 * What it does: treats each packet, both ways, by chance from a seed, so that a run can be
 * repeated. Called like any device; one thread. Memory: its own; the inner device is closed with
 * it.
 */
#ifndef ZTCP_DEV_FAULT_H
#define ZTCP_DEV_FAULT_H

#include "stack/dev/dev.h"

/* Chances are in millionths. */
struct dev_fault_config {
	uint64_t seed;
	uint32_t loss, dup, corrupt, reorder;
	ztime_t delay;        /* of each packet, each way */
	ztime_t jitter;       /* a reordered packet is held back by up to this besides */
	uint32_t rate_bps;    /* bytes a second, each way; 0: no limit */
	uint32_t queue_bytes; /* of the buffer before that limit; what does not fit is lost */
	/*
	 * Gives back the owner of a frame that @inner gave with one; not needed where it lends all.
	 */
	void (*put)(void *ctx, void *owner);
	void *ctx;
};

/**
 * dev_fault_new() - wrap @inner
 *
 * Return: the device, or NULL without memory (@inner is then untouched).
 */
struct dev *dev_fault_new(struct dev *inner, const struct dev_fault_config *cfg);

/** dev_fault_set() - other chances from now on; the seed goes on where it is. */
void dev_fault_set(struct dev *d, const struct dev_fault_config *cfg);

#endif
