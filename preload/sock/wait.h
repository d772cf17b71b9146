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
#include "preload/sock/span.h"

#include <poll.h>
#include <signal.h>

enum {
	WAIT_STALL_MS = 20,
	WAIT_DEAF_MS = 1,
	WAIT_LEFT_MS = 1,
	WAIT_MAIN_MS = 1000,
};

/*
 * A call that waits in the kernel is ended by a handler that runs. One that spins would not know of it, so what spins for
 * longer than a system call takes to begin, or goes to sleep, holds signals back; the sleep lets them in, by the mask that
 * ppoll() and its like take, and the kernel says EINTR. Held until the call returns: a signal that came ends it even where
 * the first thing that it waited for was not the last. Signals that a fault raises, and libc's own, are let in at all times.
 *
 * A thread whose mask changes is given what waits for the whole process, even where the kernel has woken the main thread for
 * it. So other threads first look whether something waits that the main thread does not block, and go on holding that back,
 * for WAIT_MAIN_MS at most.
 */
struct wait_signals {
	bool held;
	sigset_t mask; /* the thread's own, while they are held; libc's tail is unset */
	sigset_t
		lets; /* what a sleep is given instead while some are left to the main thread; the same */
	uint64_t left_since; /* thread_now(), 0: none are */
};

void wait_signals_hold(struct wait_signals *sig);

/* To be called before a call of the kernel's own that may wait, and at the end. What has come, runs now, or in the main thread. */
void wait_signals_release(struct wait_signals *sig);

/*
 * Let those in that have come, by the caller's @mask or, where they are held, the thread's own.
 * Return: whether a handler ran.
 */
bool wait_signals_came(struct wait_signals *sig, const sigset_t *mask);

/*
 * What a sleep in the kernel is given: the caller's @mask, the thread's own, or NULL; and more where signals are left to the
 * main thread. @left: set to whether some are: it is to look again after WAIT_LEFT_MS.
 */
const sigset_t *wait_signals_mask(struct wait_signals *sig, const sigset_t *mask, bool *left);

/* @until (thread_now(), 0: none), or, with signals @left to the main thread, when these are to be looked at again. */
uint64_t wait_left_until(uint64_t until, bool left);

/* The same of a time to sleep; @ns < 0: without end. */
static inline int64_t wait_left_ns(int64_t ns, bool left)
{
	return left && (ns < 0 || ns > WAIT_LEFT_MS * INT64_C(1000000))
		       ? WAIT_LEFT_MS * INT64_C(1000000)
		       : ns;
}

/**
 * wait_poll() - ppoll(2) on what the program waits for, and behind that what it does not know of
 * @ts: may be changed
 *
 * A program may have bounded its descriptors (RLIMIT_NOFILE) to what it polls, and the kernel takes no more of them: then
 * what is beyond is left out, and the sleep is short. Return: as ppoll(); 0 may be early: look again.
 */
int wait_poll(struct pollfd *p, nfds_t n, struct timespec *ts, const sigset_t *mask);

/* A bounded spin. */
struct wait_spin {
	uint64_t start, last; /* ns */
	uint64_t looked;      /* ns; for signals that are held back */
	uint64_t budget;
	struct wait_signals *sig;
	unsigned turns; /* since the last look at the clock */
	bool yields;    /* the peer runs on our CPU */
	bool wire;      /* the other end may run on it */
};

/*
 * Begin to spin for something that @peer will do (NULL: more than one peer); @sig: of the whole call, NULL: signals are let
 * in and end nothing.
 */
void wait_spin_begin(struct wait_spin *w, const struct shm_peer *peer, struct wait_signals *sig);

/*
 * What is spun for comes by a device. Nobody tells where its other end runs; where that is this CPU a spin keeps it from
 * answering. So the CPU is yielded now and then, and each turn while somebody else was found to run.
 */
void wait_spin_wire(struct wait_spin *w);

/* The look that goes with this turn took as long as @pauses do: the clock is to be looked at sooner. */
static inline void wait_spin_long(struct wait_spin *w, unsigned pauses)
{
	w->turns += pauses;
}

/* One turn: pause or yield. Return: false when the budget is used up or the CPU is wanted by others. */
bool wait_spin_turn(struct wait_spin *w);

/* Tell the thread whether spinning paid, so that the next budget fits. */
void wait_spin_end(bool paid, uint64_t slept_ns);

/**
 * wait_for() - wait until a call on the connection may get further
 * @want:     POLLIN or POLLOUT
 * @deadline: thread_now() time, 0: none
 *
 * @sig:      of the whole call
 *
 * Return: 0 when the call is to be tried again, -EAGAIN at the deadline, -EINTR after a signal.
 */
int wait_for(struct sock *s, short want, uint64_t deadline, struct wait_signals *sig);

/*
 * After -EINTR: whether the kernel would have restarted the call (every handler that may run has SA_RESTART).
 * @sig: of the whole call, NULL: none are held.
 */
bool wait_restarts(const struct wait_signals *sig);

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
 * one process that has forked since, or both sides are shared with forked processes; or the kernel to speak up for its
 * part of what SO_RCVLOWAT waits for. Such a wait looks again every WAIT_DEAF_MS. Asked after wait_watch().
 */
static inline bool wait_deaf(const struct sock *s, const struct shm_waker *w)
{
	const struct shm_peer *p = s->peer;

	if (unlikely(!w->bell[shm_self_arena_of(s->conn)]))
		return true;
	if (unlikely(sock_rcvlowat(s) > 1 &&
		     (SHM_READ(s->conn->rx.path) != SHM_PATH_RING || span_ahead(s))))
		return true;
	if (likely(!p->self && !SHM_READ(p->untold) && !SHM_READ(p->gone) && !p->shared))
		return false;
	if (p->self)
		return sock_has_forked();
	return SHM_READ(p->untold) || SHM_READ(p->gone) || atomic_load(&p->head->forked);
}

#endif
