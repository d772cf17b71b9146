/* direct.h - connections that the stack of this process makes itself, without a kernel connection behind them
 *
 * The descriptor stays a kernel socket: it holds the local port, its flags and most options, and is otherwise
 * unconnected (direct_spare.c: it may have been behind an earlier connection), so that whatever reaches the kernel by another way is told ENOTCONN. A listening socket listens in the
 * kernel as well as on the stack, and both queues are one to the program. Any thread; what is asked of the stack is
 * asked inside the lock of net.h. Memory: a struct direct belongs to its sock and is type-stable, like it.
 */
#ifndef SOCK_DIRECT_H
#define SOCK_DIRECT_H

#include "preload/sock/conf.h"
#include "preload/sock/io.h"
#include "preload/sock/sock.h"
#include "preload/sock/wait.h"

#include <sys/epoll.h>

/* Nothing was done: the kernel serves the call. Also when another thread has closed or lowered the connection just now. */
enum { DIRECT_NOT_OURS = -4098 };

/**
 * direct_connect() - connect(2) where an interface leads to the address and a rule or --path asks for it
 *
 * Return: 0, -errno, or DIRECT_NOT_OURS; then s->why has the reason for the kernel.
 */
int direct_connect(struct sock *s, int fd, const struct sockaddr *to, socklen_t len);

/* connect(2) on a socket that is a direct connection; AF_UNSPEC resets it. Return: 0, -errno or DIRECT_NOT_OURS. */
int direct_connect_more(struct sock *s, const struct sockaddr *to, socklen_t len);

/* Before bind(2): an address of an interface is none of the kernel's, which is told to take it all the same. */
bool direct_bind(struct sock *s, int fd, const struct sockaddr *to, socklen_t len);
/* After a bind(2) that direct_bind() returned true for and that failed. */
void direct_bind_failed(int fd, const struct sockaddr *to);

/* After listen(2), or @found to listen at the start. The stack itself is opened when the program first waits for a connection. */
void direct_listen(struct sock *s, int fd, int backlog, bool found);

/* Before fork: what both will hold. @sign: 1, or -1 when it has failed, or the process ends. */
void direct_listen_share(int sign);

/* Listeners of the program before this one (direct_found.c): at the start. And around an exec: the next one is to find what it needs. */
void direct_found(void);
void direct_found_before(char *const envp[]);
void direct_found_after(void);

/* Before shutdown(2) of a listening socket, which may listen again. */
void direct_listen_stop(struct sock *s);

/* One accept(2). */
struct direct_accepting {
	struct sockaddr *sa; /* the peer's address goes there */
	socklen_t *len;
	int flags;       /* of accept4(2) */
	bool kernels;    /* set when it is a connection of the kernel, which nobody follows yet */
	enum reason why; /* set: for these */
	int listener;    /* this and the rest: direct_accept()'s own, zero */
	struct wait_signals sig;
};

/**
 * direct_accept() - a connection from the stack's queue, or leave to look in the kernel's
 *
 * Waits as accept(2) does until either queue has one. Return: the new descriptor, -errno, or DIRECT_NOT_OURS.
 */
int direct_accept(struct sock *s, int fd, struct direct_accepting *a);

/* Of a listener, what becomes readable when another process hands a connection over, or -1. */
int direct_hand_fd(struct sock *s);
/* It joins the program's epoll set @epfd beside the listener, or leaves it, as epoll_ctl(2). */
void direct_hand_ctl(struct sock *s, int epfd, int op, struct epoll_event *ev);

/* recv and send on a direct connection, as io_recv() and io_send(). */
ssize_t direct_recv(struct sock *s, const struct io_req *r);
ssize_t direct_send(struct sock *s, const struct io_req *r);
ssize_t direct_sendfile(struct sock *s, int in, off64_t *off, size_t n);

/* The next call that asks is told @err. */
void direct_error_keep(struct sock *s, int err);

/* shutdown(2). Return: 0, -errno or DIRECT_NOT_OURS. */
int direct_shutdown(struct sock *s, int how);

/* getsockname(2), getpeername(2). Return: 0, -errno or DIRECT_NOT_OURS. */
int direct_name(struct sock *s, bool peer, struct sockaddr *sa, socklen_t *len);

/* Whether the sock is a connection of the stack, not a listener. */
bool direct_is_connection(const struct sock *s);

/* POLL* bits, @want and hang-up and error. Of a listener: the stack's queue alone. Drives the stack if @drive. */
short direct_ready(struct sock *s, short want, bool drive);

/* A listener is about to be waited for: its stack is opened. Harmless otherwise. */
void direct_arm(struct sock *s);

/* ---- options (direct_opt.c) ---- */

/* Return: false: not for a direct connection; errno is set. */
bool direct_opt_allowed(struct sock *s, int level, int name);
/* Whether a connection of the stack, or what a listener accepts, is another with it. */
bool direct_opt_matters(int level, int name);
/* setsockopt(2) and getsockopt(2) of what the connection keeps by itself. Return: 0, -errno or DIRECT_NOT_OURS. */
int direct_opt_keep(struct sock *s, int level, int name, const void *val, socklen_t len);
int direct_opt_kept(struct sock *s, int level, int name, void *val, socklen_t *len);
/* The kernel has taken it. */
void direct_opt_set(struct sock *s, int level, int name);
/* SO_ERROR and TCP_INFO after the kernel has answered for its own socket. */
void direct_opt_get(struct sock *s, int level, int name, void *val, socklen_t *len);
/* Return: whether @req was answered into @arg. */
bool direct_ioctl(struct sock *s, unsigned long req, int *arg);

/* ---- life ---- */

/**
 * direct_lower() - a connection of the stack goes on in the kernel, under the same descriptors: others are about to have them
 *
 * Return: whether it does; else it stays as it is.
 */
bool direct_lower(struct sock *s, enum reason why);

/* The same where another process is to have it: what cannot be lowered is relayed from now on (direct_relay.c). */
bool direct_share(struct sock *s);

/* Whether it is; its names are direct_name()'s to tell. */
bool direct_relayed(const struct sock *s);

/*
 * Connections that this process has not used yet, and all where no thread tends the stacks, are lowered: they may be the child's to serve. Its parent's it takes. @asks: the child can
 * ask for what it uses, so that what cannot be lowered stays as it is.
 */
void direct_before_fork(bool asks);

/* ---- direct_spare.c ---- */

/* A socket that was used before. @flags as of socket(2). Return: its descriptor, which is followed; -errno; DIRECT_NOT_OURS. */
int direct_socket(bool six, int flags);
void direct_soil_it(struct sock *s);
/* Before anything is done to a descriptor that changes the kernel's socket, or lets somebody else have it. NULL is harmless. */
static inline void direct_soil(struct sock *s)
{
	if (unlikely(conf.direct) && s)
		direct_soil_it(s);
}
/* The same for all descriptors, which somebody else is about to have, or has. */
void direct_soil_all(void);
/* The socket is not used again. */
void direct_hold_end(struct sock *s);
/* In the child after fork. */
void direct_hold_forked(struct sock *s);
struct net_inst;
void direct_spares_forked(struct net_inst *in);
void direct_relays_forked(struct net_inst *in);
void direct_relay_forked(void);

/* Before exec: what children have goes on in the kernel. */
void direct_before_exec(void);

/* ---- connections of the parent's stack (direct_fork.c) ---- */

extern _Atomic bool direct_heir; /* this process may have some */

/* Those of its parent's stack become the kernel's; others are left alone. Return: whether the stack of this process has it. */
bool direct_claim(struct sock *s);
void direct_claim_all(void);

/* Whether the stack of this process has the connection: for every call on a descriptor that goes to the stack or else to the kernel. */
static inline bool direct_has(struct sock *s)
{
	return unlikely(SHM_READ(s->stage) == SOCK_DIRECT) &&
	       (likely(!atomic_load_explicit(&direct_heir, memory_order_relaxed)) ||
		direct_claim(s));
}

/* The same for a listener, too. */
static inline bool direct_at(struct sock *s)
{
	return unlikely(SHM_FOLLOW(s->direct)) &&
	       (SHM_READ(s->stage) != SOCK_DIRECT || direct_has(s));
}

/* Around fork, in the parent; and in the child, before direct_forked(). */
void direct_fork_lock(bool lock);
void direct_fork_child(void);

/* For the thread that tends: what becomes readable when a child or a relay asks, -1: nothing; and an answer to those that have asked. */
int direct_fork_asked(void);
/* And what relays have to do. Return: whether an instance was driven for it. */
bool direct_fork_serve(void);

/* The sock ends. */
void direct_end(struct sock *s);

/* In the child after fork, for each sock. */
void direct_forked(struct sock *s);

/* For net.c, in an instance's lock: that instance's. */
void direct_event(void *user, unsigned events);
void direct_close_all(void);
/* Listeners that were waited for in vain look for their stacks again. */
void direct_arm_all(void);
/* No thread waits here any more: no listener of the program listens here. */
void direct_disarm(void);
/* No thread of the program comes here: other processes with the listeners take what waits. */
void direct_left_alone(void);
/* Whether listeners have connections here that anybody may take; and there: other instances have. */
bool direct_strays(void);
void direct_strays_tell(void);

/* Bits of the instances that a wait for the sock includes. Anywhere. */
unsigned direct_insts(struct sock *s);

#endif
