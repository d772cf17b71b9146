/* direct.h - connections that the stack of this process makes itself, without a kernel connection behind them
 *
 * The descriptor stays a kernel socket: it holds the local port, its flags and its options, and is otherwise
 * unconnected, so that whatever reaches the kernel by another way is told ENOTCONN. A listening socket listens in the
 * kernel as well as on the stack, and both queues are one to the program. Any thread; what is asked of the stack is
 * asked inside the lock of net.h. Memory: a struct direct belongs to its sock and is type-stable, like it.
 */
#ifndef SOCK_DIRECT_H
#define SOCK_DIRECT_H

#include "preload/sock/io.h"
#include "preload/sock/sock.h"

enum { DIRECT_NOT_OURS = -4098 }; /* nothing was done: the kernel serves the call */

/**
 * direct_connect() - connect(2) where an interface leads to the address and a rule or --path asks for it
 *
 * Return: 0, -errno, or DIRECT_NOT_OURS; then s->why has the reason for the kernel.
 */
int direct_connect(struct sock *s, int fd, const struct sockaddr *to, socklen_t len);

/* connect(2) on a socket that is a direct connection; AF_UNSPEC resets it. Return: 0 or -errno. */
int direct_connect_more(struct sock *s, const struct sockaddr *to, socklen_t len);

/* Before bind(2): an address of an interface is none of the kernel's, which is told to take it all the same. */
bool direct_bind(struct sock *s, int fd, const struct sockaddr *to, socklen_t len);
/* After a bind(2) that direct_bind() returned true for and that failed. */
void direct_bind_failed(int fd, const struct sockaddr *to);

/* After listen(2). The stack itself is opened when the program first waits for a connection. */
void direct_listen(struct sock *s, int fd, int backlog);

/* Before shutdown(2) of a listening socket, which may listen again. */
void direct_listen_stop(struct sock *s);

/**
 * direct_accept() - a connection from the stack's queue, or leave to look in the kernel's
 * @sa, @len: filled with the peer's address
 * @flags:    of accept4(2)
 *
 * Waits as accept(2) does until either queue has one. Return: the new descriptor, -errno, or DIRECT_NOT_OURS.
 */
int direct_accept(struct sock *s, int fd, struct sockaddr *sa, socklen_t *len, int flags);

/* Why connections that this listener accepts from the kernel are there. */
enum reason direct_accept_reason(const struct sock *s);

/* recv and send on a direct connection, as io_recv() and io_send(). */
ssize_t direct_recv(struct sock *s, const struct io_req *r);
ssize_t direct_send(struct sock *s, const struct io_req *r);
ssize_t direct_sendfile(struct sock *s, int in, off64_t *off, size_t n);

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
/* The kernel has taken it. */
void direct_opt_set(struct sock *s, int level, int name);
/* SO_ERROR and TCP_INFO after the kernel has answered for its own socket. */
void direct_opt_get(struct sock *s, int level, int name, void *val, socklen_t *len);
/* Return: whether @req was answered into @arg. */
bool direct_ioctl(struct sock *s, unsigned long req, int *arg);

/* ---- life ---- */

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
/* Whether listeners have connections here that anybody may take; and there: other instances have. */
bool direct_strays(void);
void direct_strays_tell(void);

/* Bits of the instances that a wait for the sock includes. Anywhere. */
unsigned direct_insts(struct sock *s);

#endif
