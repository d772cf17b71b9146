/* shm_bell.h - how a sleeping waiter is woken by a peer
 *
 * A waker belongs to whoever sleeps: a thread in a blocking call, or an epoll with any number of threads in
 * epoll_wait(). It is an eventfd that sits in the set the kernel sleeps on, and a bell number in each arena
 * whose connections it waits for. Going to sleep costs a membarrier, so that a sender pays for no fence:
 * either it sees the bell asleep, or the sleeper sees its bytes. A process that sleeps often is wary instead
 * (shm_bell.c): its senders pay.
 *
 * Protocol of the sleeper: shm_waker_sleep(), look once more, sleep in the kernel, shm_waker_wake().
 */
#ifndef SHM_BELL_H
#define SHM_BELL_H

#include "shm/shm_arena.h"

enum { SHM_ARENAS = 16 }; /* our own, those for strangers, and those inherited over fork */

struct shm_waker {
	_Atomic uint32_t lock;
	uint32_t sleepers;        /* threads between sleep and wake */
	int efd;                  /* hidden eventfd, non-blocking; -1: none */
	uint8_t bell[SHM_ARENAS]; /* bell number in each arena, 0: none */
};

/* Return: 0, or -errno of eventfd(). */
int shm_waker_open(struct shm_waker *w);
void shm_waker_close(struct shm_waker *w, uint32_t tid);

/* In the child after fork: what closed wakers left is the parent's. */
void shm_bell_forked(void);

/* The waker's bell in an arena, made when there is none. Return: its number, 0 when there are no more. */
unsigned shm_waker_bell(struct shm_waker *w, unsigned arena, uint32_t tid);

/* Say at @now (ns) that a thread is about to sleep; afterwards every publication rings. A full fence. */
void shm_waker_sleep(struct shm_waker *w, uint32_t tid, uint64_t now);
void shm_waker_wake(struct shm_waker *w, uint32_t tid);

/* Forget that the eventfd was rung. */
void shm_waker_drain(struct shm_waker *w);

#endif
