/* tend.h - a thread that tends the stacks while the program's own threads do not
 *
 * What it does: takes in, acknowledges, repeats and runs timers while the program computes, or waits for something else.
 * Started with the first device of a process, by net.c; it ends with the last. Memory: a stack of its own. All signals are
 * blocked in it but those that the C library keeps to itself.
 *
 * Theory of operation. It must not compete with the program: two threads on one instance cost more than one. So it looks
 * for each instance whether somebody has driven it since a while ago, and steps in only where nobody has; it steps back as soon as
 * somebody does. Where a thread of the program sleeps on the devices itself there is nothing to do at all: with all instances so, it sleeps
 * until one of these threads wakes up, and an idle program stays idle.
 */
#ifndef SOCK_TEND_H
#define SOCK_TEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* In the lock of net.h, after a device was opened. Without a thread the program drives alone. */
void tend_start(void);

/* Whether there is one. */
bool tend_runs(void);

/* In the child after fork: there is no such thread. */
void tend_forked(void);

/* It sleeps until one of these instances is driven, a bit each. */
extern _Atomic unsigned tend_asleep;
void tend_rouse(void);

/* These instances were driven, or a sleep ends: who sleeps for want of anything to do has another look. */
static inline void tend_driven(unsigned insts)
{
	if (atomic_load_explicit(&tend_asleep, memory_order_relaxed) & insts)
		tend_rouse();
}

/* The calling thread begins a sleep that includes the devices of these instances, a bit each; 0: it ends. */
void tend_sleep(unsigned insts);

#endif
