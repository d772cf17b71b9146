/* wait.h - waiting for one attached connection: spin a little, then sleep in the kernel
 *
 * Used by blocking calls. The spin is bounded and adapts: it is given up at once where the peer shares our
 * CPU (then the CPU is yielded to it) or where we were pushed off it, and halved while it does not pay. Where other
 * programs want the CPU there is none for a while.
 * The sleep is one ppoll() on the connection's own descriptor, the thread's doorbell and the channels.
 */
#ifndef SOCK_WAIT_H
#define SOCK_WAIT_H

#include "preload/sock/sock.h"

#include <poll.h>

/* A bounded spin. */
struct wait_spin {
	uint64_t start, last; /* ns */
	uint64_t budget;
	unsigned turns;
	bool yields; /* the peer runs on our CPU */
};

/* Begin to spin for something that @peer will do (NULL: more than one peer). */
void wait_spin_begin(struct wait_spin *w, const struct shm_peer *peer);

/* One turn: pause or yield. Return: false when the budget is used up or the CPU is wanted by others. */
bool wait_spin_turn(struct wait_spin *w);

/* Tell the thread whether spinning paid, so that the next budget fits. */
void wait_spin_end(bool paid, uint64_t slept_ns);

/**
 * wait_for() - wait until a call on the connection may get further
 * @want:     POLLIN or POLLOUT
 * @deadline: thread_now() time, 0: none
 *
 * Return: 0 when the call is to be tried again, -EAGAIN at the deadline, -EINTR after a signal.
 */
int wait_for(struct sock *s, short want, uint64_t deadline);

/* After -EINTR: whether the kernel would have restarted the call (every handler has SA_RESTART). */
bool wait_restarts(void);

/* Put @w's bell on the connection, so that the peer rings it. */
void wait_watch(struct sock *s, struct shm_waker *w);

/* Whether a receive (POLLIN) or send (POLLOUT) may get further by what memory tells; no system call. */
bool wait_ready(struct sock *s, short want);

/* Say and take back that a sender of ours waits for room. */
void wait_want_space(struct sock *s, bool want);

/* Nothing was sent for long because the peer does not read: leave the rest to the kernel's buffers. */
bool wait_unstall(struct sock *s);

/*
 * Whether the peer may be unable to ring @w: there are no more bells, it was not told this one, both ends were in
 * one process that has forked since, or both sides are shared with forked processes. Such a wait looks again
 * every WAIT_DEAF_MS. Asked after wait_watch().
 */
static inline bool wait_deaf(const struct sock *s, const struct shm_waker *w)
{
	const struct shm_peer *p = s->peer;

	if (unlikely(!w->bell[shm_self_arena_of(s->conn)]))
		return true;
	if (likely(!p->self && !SHM_READ(p->untold) && !SHM_READ(p->gone) && !p->shared))
		return false;
	if (p->self)
		return sock_has_forked();
	return SHM_READ(p->untold) || SHM_READ(p->gone) || atomic_load(&p->head->forked);
}

enum {
	WAIT_STALL_MS = 20,
	WAIT_DEAF_MS = 1,
};

#endif
