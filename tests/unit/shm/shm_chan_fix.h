/* shm_chan_fix.h - what the tests of channels share: a process that becomes two, and waits for mail
 *
 * Each test runs in a process of its own, which becomes two by fork before anything of the channel exists.
 */
#ifndef SHM_CHAN_FIX_H
#define SHM_CHAN_FIX_H

#include "shm/shm_chan.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000 };

extern uint16_t port;
extern int go[2]; /* a byte from the one lets the other go on */

/* In the child, where Criterion cannot count: the line that failed is the exit status. */
#define NEED(ok)                                   \
	do {                                       \
		if (!(ok))                         \
			_exit(__LINE__ % 250 + 1); \
	} while (0)

uint32_t tid(void);

/* Before the test becomes two: a port, and the pipe for let_go(). */
void setup(void);

/* By the parent: one child_waits() ends. */
void let_go(void);
void child_waits(void);
void child_ends_well(pid_t pid);

/* A child that does not outlive the test. */
pid_t split(void);

/* Poll the channels until a message comes. */
bool heard(struct shm_msg *msg, struct shm_peer **from, int ms);

/* Whether the peer's HELLO has come. */
bool known(const struct shm_peer *peer);

#endif
