/* pollset.h - poll() and select() over sets that hold attached connections or epolls with such members
 *
 * Any thread; state lives on its stack and among what it holds (hold.h).
 */
#ifndef SOCK_POLLSET_H
#define SOCK_POLLSET_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/select.h>

/* Sockets that must not be attached while a thread sleeps on them in the kernel. */
struct pollset_guard {
	unsigned mark; /* hold.h */
	bool lifted;   /* some descriptor needs us */
};

/**
 * pollset_enter() - look through a set before it is waited on
 *
 * Afterwards @g->lifted tells whether the wait is pollset_wait()'s or the kernel's own.
 */
void pollset_enter(struct pollset_guard *g, const struct pollfd *fds, nfds_t n);
void pollset_select_enter(struct pollset_guard *g, int n, const fd_set *rd, const fd_set *wr,
			  const fd_set *ex);
/* After the wait; keeps errno. */
void pollset_leave(struct pollset_guard *g);

/**
 * pollset_closing() - the thread is about to close numbers, or to give them another meaning
 *
 * For connections of the stack, before the table forgets them: a poll that sleeps on one sees, until the kernel's
 * number is gone too, a socket there that never was connected. It waits instead, until pollset_closed().
 *
 * Return: for pollset_closed(); negative: too many threads do so, no poll waits.
 */
int pollset_closing(unsigned first, unsigned last);
void pollset_closed(int place);

/**
 * pollset_wait() - ppoll(2)
 * @timeout_ns: negative: for ever
 * @mask:       NULL: leave the signal mask alone
 *
 * Return: descriptors with revents, 0 at the timeout, -1 with errno.
 */
int pollset_wait(struct pollfd *fds, nfds_t n, int64_t timeout_ns, const sigset_t *mask);

/* pselect(2) by way of pollset_wait(). @left_ns is set to what remains of the timeout. */
int pollset_select(int n, fd_set *rd, fd_set *wr, fd_set *ex, int64_t timeout_ns,
		   const sigset_t *mask, int64_t *left_ns);

#endif
