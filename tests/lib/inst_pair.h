/* inst_pair.h - two instances on the ends of a wire, in virtual time; for tests and benches
 *
 * What it does: makes both hosts, moves frames, jumps the clock to the next thing that happens.
 * Owner of all memory: the pair. One thread.
 */
#ifndef ZTCP_TESTS_INST_PAIR_H
#define ZTCP_TESTS_INST_PAIR_H

#include "stack/dev/dev.h"
#include "stack/dev/dev_wire.h"
#include "stack/inst/inst.h"

#define INST_PAIR_FRAMES 64

struct inst_pair;

struct inst_pair_config {
	struct inst_config inst; /* for both sides */
	struct dev_wire_config wire;
	/* Called for each event; NULL: events are left in the instance. */
	void (*event)(struct inst_pair *p, unsigned int side, const struct inst_event *ev);
};

struct inst_pair {
	struct inst_pair_config cfg;
	struct inst *in[2];
	struct dev *dev[2];
	void *mem[2];
	union wire_addr addr4[2], addr6[2];
	ztime_t now;
	uint64_t frames[2];         /* sent by each side */
	int64_t buffers;            /* out now */
	int64_t buffers_fail_after; /* allocations that still succeed; -1: all */
	void *ctx;                  /* the test's */
};

/** inst_pair_defaults() - fast wire, 1500 bytes, 10 us each way. */
void inst_pair_defaults(struct inst_pair_config *cfg);

/** inst_pair_init() - hosts 10.0.0.1 and 10.0.0.2, fd00::1 and fd00::2, started at 1 s. */
void inst_pair_init(struct inst_pair *p, const struct inst_pair_config *cfg);

/** inst_pair_fini() - stop both; checks that no buffer is left. Return: buffers left. */
int64_t inst_pair_fini(struct inst_pair *p);

/**
 * inst_pair_step() - move frames and time once, not beyond @until. Return: false when nothing
 * happens before.
 */
bool inst_pair_step(struct inst_pair *p, ztime_t until);

/** inst_pair_run() - step until @until; the clock stands there after. */
void inst_pair_run(struct inst_pair *p, ztime_t until);

/** inst_pair_connect() - side 0 connects to side 1. Return: side 0's connection. */
struct inst_conn *inst_pair_connect(struct inst_pair *p, uint16_t port, bool v6, void *user);

/** inst_pair_buf_ops() - counted buffers from malloc. */
struct wire_buf_ops inst_pair_buf_ops(struct inst_pair *p);

#endif
