/* ep.h - epoll sets that hold attached connections
 *
 * The program's epoll fd stays a real one and keeps all that the kernel serves. When a registered connection
 * is attached, its registration moves to a second kernel epoll of ours (the side), edge-triggered, which
 * with the set's doorbell is a member of the program's; its readiness is then computed from the rings, by
 * scanning the set's attached members. A set without attached members costs nothing: calls go to the kernel.
 *
 * One struct ep per epoll fd and process; any number of threads may wait on it. Its lock covers the member
 * list and the scan, never a sleep.
 */
#ifndef SOCK_EP_H
#define SOCK_EP_H

#include "preload/sock/sock.h"

#include <stdatomic.h>
#include <sys/epoll.h>

struct ep;
extern struct ep *_Atomic ep_table[];

static inline struct ep *ep_of(int fd)
{
	if (unlikely((unsigned)fd >= SOCK_TABLE))
		return NULL;
	return atomic_load_explicit(&ep_table[fd], memory_order_relaxed);
}

/* The program made an epoll. */
void ep_open(int fd);
void ep_close(int fd);
void ep_dup(int fd, int to);

/* epoll_ctl(2) on a set of ours; no argument moves on the way through. Return: 0, or -1 with errno. */
int ep_ctl(int epfd, int op, int fd, struct epoll_event *ev, struct ep *e);

/* Whether waiting on this set needs us. */
bool ep_lifted(const struct ep *e);

/* Whether the set has an entry of ours that a wait must not show to the program. */
bool ep_joined(const struct ep *e);

/* A wait that began in the kernel alone has seen @n events, perhaps ours: go on as ep_wait() would. */
int ep_resume(struct ep *e, int epfd, struct epoll_event *ev, int n, int max, int64_t timeout_ns,
	      const sigset_t *mask);

/* epoll_wait(2) on any set of ours; first the short way, of attached members that have bytes. */
int ep_wait_ms(int epfd, struct epoll_event *ev, int max, int timeout, struct ep *e);

/* The same without the short way. */
int ep_wait_as(int epfd, struct epoll_event *ev, int max, int timeout, struct ep *e);

/**
 * ep_wait() - epoll_pwait2(2) on a set that ep_lifted()
 * @timeout_ns: negative: for ever
 * @mask:       NULL: leave the signal mask alone
 */
int ep_wait(struct ep *e, int epfd, struct epoll_event *ev, int max, int64_t timeout_ns,
	    const sigset_t *mask);

/* Whether a wait on the set would return at once because of an attached member; for poll() on an epoll. */
bool ep_ready(struct ep *e);
/* The kernel has said that a wait on the set would return: whether that is so, our own entry in it aside. */
bool ep_readable(struct ep *e, int fd);
struct shm_waker *ep_waker(struct ep *e);
/* A poll() is about to sleep on the set: from now on the kernel's set is readable whenever a device has something for its members. */
void ep_polled(struct ep *e);

/* The next wait on any set asks the kernel too. */
void ep_no_short_ways(void);

/*
 * The bytes of @s come from the kernel now: no wait goes on taking its offsets for bytes, which the next lift changes before
 * there are any. In rx.seat; takes no lock.
 */
void ep_crossed(const struct sock *s);

/* A connection was attached: its registrations move to the side. */
void ep_attached(struct sock *s);

/* A connection's last descriptor goes. */
void ep_forget(struct sock *s);

/* A socket has become the stack's: its registrations with it. */
void ep_direct_adopt(struct sock *s);

/* Something happened to a connection or listener of the stack. In the lock of net.h. */
bool ep_direct_woken(struct sock *s);

/* In the child after fork: no registration of @s is the stack's. */
void ep_direct_forked(struct sock *s);

/* Around fork, in the parent, as sock_fork_lock(). */
void ep_fork_lock(bool lock);

/* Before fork, in the parent: sets that parent and child will share. */
void ep_share(void);

/* In the child after fork. */
void ep_forked(void);

/* What a wait sees of the sock has changed otherwise than by bytes: look at it in full. Signals are blocked. */
void ep_look(struct sock *s);

/* The sock has become one of the kernel's: so do its registrations. Outside of instances, signals blocked. */
void ep_direct_lowered(struct sock *s);

#endif
