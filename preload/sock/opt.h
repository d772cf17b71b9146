/* opt.h - what descriptor and socket options mean for a followed connection
 *
 * The kernel socket always gets the call too, so that it agrees when a direction is lowered. Any thread.
 */
#ifndef SOCK_OPT_H
#define SOCK_OPT_H

#include "preload/sock/sock.h"

/* A setsockopt(2) on @s is about to be made, and was taken: what only the kernel serves lowers it for good. */
void opt_before_set(struct sock *s, int level, int name);
void opt_after_set(struct sock *s, int level, int name, const void *val, socklen_t len);

/* getsockopt(TCP_INFO): add what went through shared memory. */
void opt_tcp_info(struct sock *s, void *val, socklen_t len);

/* getsockopt(SO_ERROR): one that the kernel has told us already. */
void opt_error(struct sock *s, int *err);

/* ioctl(2) answers that depend on the rings. Return: true when *@ret and *@arg hold the answer. */
bool opt_ioctl(struct sock *s, unsigned long req, void *arg, int *ret);

/* fcntl(F_SETFL) or ioctl(FIONBIO) succeeded. */
void opt_set_flags(struct sock *s, long flags);
void opt_set_nonblock(struct sock *s, bool on);

#endif
