/* net.h - the interfaces of the stack in this process, and the stacks on them
 *
 * What it does: reads the file of interfaces, opens libztcp_stack.so and an interface's device when the first
 * connection needs them, and drives the stacks from the calls of the program's own threads. Called by
 * direct*.c and by waits. One lock covers all stacks of the process and all that direct.c keeps: any thread may
 * call; a signal handler that meets its own thread inside is told so and does nothing. Its place in the order of locks is
 * behind those of epoll sets. Memory: the stacks' own; given back by the end of the process.
 *
 * Theory of operation. A thread that has to wait says so under the lock (net_waiter_add), sleeps on the devices'
 * descriptors and its own doorbell, and is rung by whichever thread takes in what it waits for. The stack's
 * deadline bounds the sleep, so its timers run while any thread waits.
 */
#ifndef SOCK_NET_H
#define SOCK_NET_H

#include "daemon/policy/policy_iface.h"
#include "preload/sock/sock.h"
#include "stack/include/ztcp_stack.h"

#include <poll.h>

enum {
	NET_MAX = POLICY_IFACES_MAX,
	NET_DEVICE_FDS = 8, /* descriptors that one device has at most */
};

struct net {
	struct ztcp *z; /* NULL: not open */
	struct inst *in;
	struct dev *dev;
	int fd;          /* of the device; -1: none to sleep on */
	uint16_t reason; /* enum reason for not being open */
	bool said;
	bool shared; /* with the kernel, which holds ports and serves what the stack does not */
	uint8_t nfds;
	int fds[NET_DEVICE_FDS]; /* all of the device's, for a child to close */
	uint64_t retry;          /* thread_now() before which it is not tried again */
};

extern struct net net_of[NET_MAX];
extern const struct ztcp_stack *net_stack; /* set once an interface was open */
extern _Atomic unsigned net_open_mask;     /* a bit for each open one */

/* Whether any stack runs in this process. */
static inline bool net_any(void)
{
	return atomic_load_explicit(&net_open_mask, memory_order_relaxed) != 0;
}

/* The interfaces of this process's file, read on first use; what is wrong with it is said once. Empty without one. */
const struct policy_ifaces *net_ifaces(enum reason *why);

/* Into the lock. Return: false: this thread is inside already, or is not ours. */
bool net_enter(void);
void net_leave(void);

/* dev_route_to() and dev_route_of() of interface @i, which is one that is shared with the kernel. Outside the lock. */
bool net_route_to(unsigned i, const union wire_addr *to, uint32_t ifindex, union wire_addr *from);
bool net_route_of(unsigned i, const union wire_addr *addr);

/* ---- inside the lock ---- */

/* The stack on interface @i, opened if need be. Return: it, or NULL and @why. */
struct net *net_open(unsigned i, enum reason *why);

/* Take in what has arrived, run what is due, send what is ready; direct_event() is called for what happened. */
void net_drive(void);

/* How often they were driven, by any thread. Anywhere. */
uint64_t net_driven(void);

/* Events that were told so far. */
uint64_t net_happenings(void);

/* Send what is ready, without looking for what has arrived. */
void net_push(struct net *n);

/*
 * The same where the thread answers events that net_round() has announced: short answers wait for each other, so
 * that the device is asked to send once. The answer to the last event takes all along, and so does any
 * net_drive(). A thread that has let one wait for long is not believed for a while.
 */
void net_push_with(struct net *n, size_t bytes);

/* The calling thread is told of @events at once, in this turn of its loop. */
void net_round(unsigned events);

/* A listener could not get its stack: net_drive() tries again in a while. */
void net_again(void);

/* Somebody waits for what has happened: ring all but the calling thread. */
void net_ring(void);

/* The calling thread is about to sleep on @efd. It is forgotten by the thread's end at the latest. */
void net_waiter_add(int efd);
void net_waiter_remove(void);

/* ---- anywhere ---- */

/* thread_now() at which a stack wants to be driven; UINT64_MAX: never. */
uint64_t net_deadline(void);

/* Descriptors of devices to sleep on, into @p with room for NET_MAX. Return: how many. */
unsigned net_fds(struct pollfd *p);

/**
 * net_sleep() - sleep on one descriptor, the devices and the thread's doorbell
 * @p:     one descriptor with its events; fd -1: none
 * @until: thread_now() time, 0: for ever; the stacks' deadlines come first
 *
 * The thread is a waiter already. Return: 0 or -EINTR.
 */
int net_sleep(struct pollfd *p, uint64_t until);

/* The thread ends. */
void net_thread_end(void);

/* Around fork, in the parent; and in the child: its parent's stacks are none of its own. */
void net_fork_lock(bool lock);
void net_forked(void);

/* The process ends: connections are closed, and what was written is delivered, within a bounded time. */
void net_exit(void);

#endif
