/* tap.h - copying out what is sent, while `ztcp tcpdump` asks for it
 *
 * Costs nothing while nobody asks: whether somebody does is looked at where a call goes through the kernel anyway, and
 * every few milliseconds on a lifted connection. While it is on, all sends take the longer way (conf.cold). Any
 * thread; a record is written under a lock of the process's, with signals blocked.
 */
#ifndef SOCK_TAP_H
#define SOCK_TAP_H

#include "preload/sock/conf.h"
#include "preload/sock/sock.h"

#include <sys/uio.h>

/* Make the segment, with the statistics table. Without it the process cannot be listened to. */
void tap_make(void);

/* Look whether somebody asks now. Cheap. */
void tap_look(void);

static inline bool tap_on(void)
{
	return __builtin_expect(conf.cold & CONF_COLD_TAP, 0);
}

/* The time that a record of what is sent next will bear; 0 while nobody asks. */
uint64_t tap_time(void);

/* The last @n bytes that were published on the ring. Under tx.lock. */
void tap_ring(struct sock *s, uint64_t ns, size_t n);

/* @n bytes of @iov went through the kernel, from offset @seq on. */
void tap_kernel(struct sock *s, uint64_t ns, uint64_t seq, const struct iovec *iov, int iovs,
		size_t n);

/* @n bytes of a file went through the kernel; @off: where they lay in it. */
void tap_file(struct sock *s, uint64_t ns, uint64_t seq, int in, off64_t off, size_t n);

/* The direction ends. */
void tap_fin(struct sock *s);

/* In the child after fork: a segment of its own comes with its own table. */
void tap_forked(void);

#endif
