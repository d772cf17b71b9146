/* net.h - the interfaces of the stack in this process, and the stacks on them
 *
 * What it does: reads the file of interfaces, opens libztcp_stack.so and an interface's device when the first
 * connection needs them, and drives the stacks from the calls of the program's own threads. Called by
 * direct*.c and by waits. Memory: the stacks' own; given back by the end of the process.
 *
 * Theory of operation. A thread that listens or connects has an instance: a stack on each interface that it uses, each with a
 * queue of the device to itself. Where the devices have no more queues, and beyond the number of processors, threads share one. A
 * connection belongs to the instance that made it. Everything of an instance is used inside its lock, which its own thread finds free: other threads may
 * call on its connections, and that is counted. No thread is inside two. A signal handler that meets its own thread inside any is
 * told so and does nothing. The locks' place in the order of locks is behind those of epoll sets.
 *
 * What arrives at the queue of one instance and is another's is passed on (ztcp_join()): no lock of the other is taken for it.
 *
 * A thread that has to wait says so under the lock (net_waiter_add), sleeps on the devices'
 * descriptors and its own doorbell, and is rung by whichever thread takes in what it waits for. The stack's
 * deadline bounds the sleep, so its timers run while any thread waits.
 */
#ifndef SOCK_NET_H
#define SOCK_NET_H

#include "daemon/policy/policy_iface.h"
#include "preload/sock/sock.h"
#include "preload/sock/tap.h"
#include "preload/sock/thread.h"
#include "stack/base/base_list.h"
#include "stack/include/ztcp_stack.h"

#include <poll.h>
#include <signal.h>

enum {
	NET_MAX = POLICY_IFACES_MAX,
	NET_DEVICE_FDS = 12, /* descriptors that one device has at most */
	NET_INSTS = 8,
	NET_FDS = 3 * NET_INSTS * NET_MAX, /* to sleep on: devices, tables and doorbells */
	NET_SLEEP_OWN = 2,
	NET_SPARES = 64,  /* of a family, in one instance */
	NET_WAITERS = 64, /* threads that can be rung; more of them look again every NET_DEAF_MS */
};

struct net_inst;

struct net {
	struct ztcp *z; /* NULL: not open */
	struct net_inst *of;
	struct inst *in;
	struct dev *dev;
	struct zbuf_mem_pool *pool;
	struct tap_net tap;
	int fd;          /* of the device; -1: none to sleep on */
	int fd_tables;   /* of what the kernel says of its tables, likewise */
	int bell;        /* of other instances on the interface, likewise */
	uint16_t reason; /* enum reason for not being open */
	bool shared;     /* with the kernel, which holds ports and serves what the stack does not */
	bool listens;    /* for all listeners, waited for or not (direct_listen_open()) */
	uint8_t nfds;
	int fds[NET_DEVICE_FDS]; /* all of the device's, for a child to close */
	uint64_t retry;          /* thread_now() before which it is not tried again */
};

/* Sockets of the kernel for connections to come: direct_spare.c. */
struct net_spares {
	uint16_t n, made; /* that wait here; that there are */
	struct net_spare {
		int hidden;
		bool nonblock;
	} spare[NET_SPARES];
};

struct net_waiter {
	uint32_t tid; /* 0: free */
	int efd;
};

/* All but the atomics is used inside the lock. */
struct net_inst {
	_Alignas(128) _Atomic uint32_t lock;
	_Atomic uint32_t users; /* threads whose instance it is; 0: whoever wants one may have it */
	_Atomic uint32_t joined;   /* threads whose instance it is or was */
	_Atomic uint32_t sleepers; /* threads asleep on its devices */
	_Atomic unsigned open;     /* interfaces, a bit each */
	_Atomic uint64_t driven;   /* times so far */
	_Atomic uint64_t crossed;  /* times that a thread of another instance was inside */
	uint64_t held_since;       /* thread_now() when the first answer that waits was written, */
	uint64_t held_last;        /* and the last one */
	uint64_t hold_again;       /* until then none is to wait */
	unsigned held;             /* answers that wait */
	uint64_t happenings;       /* events that were told so far */
	uint64_t
		again; /* thread_now() at which listeners without a stack look for one; 0: none does */
	uint64_t publish_at; /* as in publish.h */
	uint64_t published;
	uint32_t publish_left; /* connections that have not had their turn */
	uint32_t conns_count;
	bool publish_dirty;
	bool happened; /* since the last net_ring() */
	bool strays;   /* threads of other instances are to hear of it, once the lock is left */
	bool opened;   /* likewise: one more instance is on an interface of theirs */
	bool waiters_full;
	struct net net[NET_MAX];
	struct base_list conns, spare; /* direct.c's */
	struct base_list relays;       /* direct_relay.c's */
	struct net_spares spares[2];   /* IPv4, IPv6 */
	struct net_waiter waiters[NET_WAITERS];
};

extern struct net_inst net_insts[NET_INSTS];
extern const struct ztcp_stack *net_stack; /* set once an interface was open */
extern _Atomic unsigned net_used;          /* instances that some thread has or had, a bit each */
extern _Atomic unsigned net_opened;        /* of these, those with an open interface */
extern _Atomic uint32_t net_listening; /* lock of direct_listen.c's, behind those of instances */

static inline unsigned net_no(const struct net_inst *in)
{
	return (unsigned)(in - net_insts);
}

/* Whether any stack runs in this process. */
static inline bool net_any(void)
{
	return atomic_load_explicit(&net_opened, memory_order_relaxed) != 0;
}

/* The instance of the calling thread; of one that has none, the first. */
static inline struct net_inst *net_mine(void)
{
	return &net_insts[thread_self.net ? thread_self.net - 1 : 0];
}

/* The calling thread's instance if it has one with a device, as a bit. */
static inline unsigned net_mine_open(void)
{
	return thread_self.net ? 1u << (thread_self.net - 1) & net_opened : 0;
}

/* The interfaces of this process's file, read on first use; what is wrong with it is said once. Empty without one. */
const struct policy_ifaces *net_ifaces(enum reason *why);

/*
 * The calling thread gets an instance, unless it has one: the devices of interfaces @nets are opened for it, where they have a queue
 * left; else it shares one that has them.
 */
void net_join(unsigned nets);

/* Into the lock of @in. Return: false: this thread is inside one already, or is not ours. */
bool net_enter(struct net_inst *in);
void net_leave(void);

/* dev_route_to() and dev_route_of() of interface @i, which is one that is shared with the kernel. Outside the lock. */
bool net_route_to(unsigned i, const union wire_addr *to, uint32_t ifindex, union wire_addr *from);
bool net_route_of(unsigned i, const union wire_addr *addr);

/* ---- inside the lock ---- */

/* The stack of this instance on interface @i, opened if need be. Return: it, or NULL and @why. */
struct net *net_open(unsigned i, enum reason *why);

/* Take in what has arrived, run what is due, send what is ready; direct_event() is called for what happened. */
void net_drive(void);

/* Send what is ready, without looking for what has arrived. */
void net_push(struct net *n);

/*
 * The same where the thread answers events that net_round() has announced: short answers wait for each other (net_hold.c), so
 * that the device is asked to send once. @whose: the connection; @bytes: of an answer, 0: none was given.
 */
void net_push_with(struct net *n, const void *whose, size_t bytes);

/* The calling thread is told of @events at once, in this turn of its loop. */
void net_round(unsigned events);

/* No answer of @in waits any longer: all that is ready has been sent. */
void net_held_end(struct net_inst *in);

/* A listener could not get its stack: net_drive() tries again in a while. */
void net_again(void);

/* Somebody waits for what has happened: ring all but the calling thread. */
void net_ring(void);

/* The calling thread is about to sleep on @efd. It is forgotten by the thread's end at the latest. */
void net_waiter_add(int efd);
void net_waiter_remove(void);

/* Threads of other instances are to hear of a listener's connection: direct_strays_tell() for each, after net_leave(). */
void net_stray(void);

/* ---- anywhere ---- */

/* For these, @insts has a bit for each instance. */

/* thread_now() at which a stack wants to be driven; UINT64_MAX: never. */
uint64_t net_deadline(unsigned insts);

/* Descriptors of devices to sleep on, into @p with room for NET_FDS. Return: how many. */
unsigned net_fds(struct pollfd *p, unsigned insts);

/* net_waiter_add() and net_waiter_remove() in each, and tend_sleep(). */
void net_waiters_add(unsigned insts, int efd);
void net_waiters_remove(unsigned insts);

/**
 * net_sleep() - sleep on some descriptors, the devices and the thread's doorbell
 * @p:     @np descriptors with their events, NET_SLEEP_OWN at most; revents are set
 * @until: thread_now() time, 0: for ever; the stacks' deadlines come first
 * @mask:  as ppoll(2)
 *
 * The thread is a waiter already. Return: 0 or -EINTR.
 */
int net_sleep(struct pollfd *p, unsigned np, uint64_t until, unsigned insts, const sigset_t *mask);

/* The thread ends. */
void net_thread_end(void);

/*
 * The stack is about to be cut off at @sp: a call that lies below it waits no longer, and does not keep the lock. What it
 * was about to change may be half done: the connection is served on.
 */
void net_cut(const void *sp);

/* Around fork, in the parent; and in the child: its parent's stacks are none of its own. */
void net_fork_lock(bool lock);
void net_forked(void);

/* The process ends: connections are closed, and what was written is delivered, within a bounded time. */
void net_exit(void);

#endif
