/* dev_wire.h - two devices joined by a wire in memory, in virtual time
 *
 * What it does: what one end sends arrives at the other after the wire's delay, at its rate, in
 * order; a full queue drops. Called by tests, the simulator of whole instances and benches; one
 * thread. Memory: taken at dev_wire_new(), given back when both ends are closed.
 */
#ifndef ZTCP_DEV_WIRE_H
#define ZTCP_DEV_WIRE_H

#include "stack/dev/dev.h"

struct dev_wire_config {
	uint16_t mtu;
	uint32_t depth;    /* frames a direction that may be under way */
	uint64_t rate_bps; /* bits a second; 0: no limit */
	ztime_t delay;     /* one way */
	uint32_t offloads; /* with WIRE_OFFLOAD_TSO long frames cross whole */
};

/**
 * dev_wire_new() - a wire and its two ends
 * @ends: set to the devices; their stations are 02:00:00:00:00:01 and ...:02
 *
 * Return: 0 or -ENOMEM.
 */
int dev_wire_new(const struct dev_wire_config *cfg, struct dev *ends[2]);

#endif
