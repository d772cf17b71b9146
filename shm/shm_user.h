/* shm_user.h - whether a user id that the kernel tells is the caller's own user
 *
 * What it does: users that a user namespace has no number for are all shown to its processes as one, 65534. A process that has
 * this number there itself cannot tell them from its own user, so nobody is. Who calls: shm_chan.c, shm_agent.c, and preload/sock about what
 * inet_diag says. Memory: none. Threads: any.
 */
#ifndef SHM_USER_H
#define SHM_USER_H

#include <stdbool.h>
#include <stdint.h>

/** SHM_USER_UNMAPPED - how a user without a number in the own user namespace looks (/proc/sys/kernel/overflowuid, as it is by default) */
enum { SHM_USER_UNMAPPED = 65534 };

/** shm_user_is_own() - Return: whether @uid, of SO_PEERCRED or inet_diag, is the effective user and can be nobody else. */
bool shm_user_is_own(uint32_t uid);

#endif
