/* publish.h - what `ztcp ss` and `ztcp stat` show of the stacks, kept where they can read it at any time
 *
 * What it does: writes the TCP of connections, and counters, neighbours and memory of each stack, into the table of
 * shm/stats.h. Called by net.c inside the lock of the instance, by whichever thread drives. Memory: the table's.
 *
 * Theory of operation. Nothing is written with a packet. Driving an instance notes that something has changed; the first
 * drive after PUBLISH_MS since the last time writes its stacks and PUBLISH_CONNS connections, and the next ones
 * follow until each has had its turn. A thread that sleeps meanwhile is woken for it, so that what is to be read is never
 * older than that, and a process that is stopped, or spins elsewhere, has it there all the same.
 */
#ifndef SOCK_PUBLISH_H
#define SOCK_PUBLISH_H

#include "preload/sock/net.h"

/* The round begins. */
void publish_begin(struct net_inst *in);

/* It was driven, and something moved: in->publish_at is when that is to be written; 0: nothing has changed. */
static inline void publish_changed(struct net_inst *in)
{
	in->publish_dirty = true;
	if (__builtin_expect(!in->publish_at, 0))
		publish_begin(in);
}

/* It is time. */
void publish_more(struct net_inst *in, uint64_t now);

#endif
