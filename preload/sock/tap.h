/* tap.h - copying out what is sent, and what passes the stacks' devices, while `ztcp tcpdump` asks for it
 *
 * Costs nothing while nobody asks: whether somebody does is looked at where a call goes through the kernel anyway, every
 * few milliseconds on a lifted connection, and beside each use of a stack's device (struct ztcp_watch). While it is on, all
 * sends take the longer way (conf.cold). Any thread; a record is written under a lock of the process's, with signals blocked.
 */
#ifndef SOCK_TAP_H
#define SOCK_TAP_H

#include "preload/sock/conf.h"
#include "preload/sock/sock.h"
#include "stack/include/ztcp.h"

#include <sys/uio.h>

/* Make the segment, with the statistics table. Without it the process cannot be listened to. */
void tap_make(void);

/* Look whether somebody asks now. Cheap. */
void tap_look(void);

static inline bool tap_on(void)
{
	return __builtin_expect(conf.cold & CONF_COLD_TAP, 0);
}

/* Where a connection is before a send: what is read while it goes on is not acknowledged by it. */
struct tap_mark {
	uint64_t ns; /* CLOCK_REALTIME; 0: nobody asks */
	uint64_t ack;
};

/* Before each send: what its record will bear. */
struct tap_mark tap_mark(struct sock *s);

/* The last @n bytes that were published on the ring. Under tx.lock. */
void tap_ring(struct sock *s, struct tap_mark m, size_t n);

/* @n bytes of @iov went through the kernel, from offset @seq on. */
void tap_kernel(struct sock *s, struct tap_mark m, uint64_t seq, const struct iovec *iov, int iovs,
		size_t n);

/* @n bytes of a file went through the kernel; @off: where they lay in it. */
void tap_file(struct sock *s, struct tap_mark m, uint64_t seq, int in, off64_t off, size_t n);

/* The direction ends. */
void tap_fin(struct sock *s);

/* Of a stack, from its start on; in its instance's lock. */
struct tap_net {
	struct ztcp_watch watch;
	uint16_t no;      /* in the process's table */
	const char *name; /* of the interface */
	uint64_t no_next; /* as in struct tap_frame */
	uint64_t bytes;
};

/* What @t->watch is to be for a stack that begins. */
void tap_net_init(struct tap_net *t, unsigned no, const char *name);

/* In the child after fork: a segment of its own comes with its own table. */
void tap_forked(void);

#endif
