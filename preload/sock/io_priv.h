/* io_priv.h - what the files of io share
 *
 * Private to io*.c: requests as the kernel sees them, the way through the kernel, and what keeps a sock while
 * a call sleeps.
 */
#ifndef SOCK_IO_PRIV_H
#define SOCK_IO_PRIV_H

#include "preload/sock/io_hot.h"
#include "preload/sock/thread.h"

#include <errno.h>
#include <limits.h>

enum { IO_MOVED_ON = -4096 }; /* the direction has changed its path: begin again */

/* Longer than any memory: the kernel's to refuse. */
static inline bool io_too_long(const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len > SSIZE_MAX)
			return true;
	}
	return false;
}

/* The buffer is there: the short way takes the connection's word for it the next time. */
static inline void io_remember(_Atomic uint64_t *window, const void *buf)
{
	if (likely(!atomic_load_explicit(&thread_cancels, memory_order_relaxed)))
		atomic_store_explicit(window, mem_window(buf), memory_order_relaxed);
}

static inline bool io_is_message(enum io_call call)
{
	return call != IO_READ && call != IO_READV && call != IO_PREADV2 && call != IO_WRITE &&
	       call != IO_WRITEV && call != IO_PWRITEV2;
}

/* MSG_* flags of a request; the plain calls have none. */
static inline int io_flags(const struct io_req *r)
{
	if (r->call == IO_PREADV2 || r->call == IO_PWRITEV2)
		return r->flags & RWF_NOWAIT ? MSG_DONTWAIT : 0;
	return io_is_message(r->call) ? r->flags : 0;
}

static inline size_t io_total(const struct io_req *r)
{
	return io_total_of(r->iov, r->iovs);
}

static inline ssize_t io_fail(int err)
{
	errno = -err;
	return -1;
}

static inline uint64_t io_deadline(uint32_t timeout_us)
{
	return timeout_us ? thread_now() + timeout_us * UINT64_C(1000) : 0;
}

/* The libc function that was called, with its own arguments. */
ssize_t io_real(const struct io_req *r);

/*
 * The way through the kernel of a connection that is not attached (receive), or whose sending is not lifted.
 * Return: as io_real(), or IO_MOVED_ON.
 */
ssize_t io_recv_kernel(struct sock *s, const struct io_req *r);
ssize_t io_send_kernel(struct sock *s, const struct io_req *r);

/**
 * io_kernel_enter() - count the thread in before a call through the kernel
 * @busy: s->tx_busy or s->rx_busy
 *
 * Return: the sock's row; NULL when another thread has closed it meanwhile, or there is no memory to remember the
 * count: the call is the kernel's alone, and nothing is to be given back.
 */
struct stats_row *io_kernel_enter(struct sock *s, int fd, _Atomic uint32_t *busy);

/* After a call that moved bytes: give back what is held from @mark on; perhaps lift. Keeps errno. */
void io_kernel_leave(struct sock *s, unsigned mark);

/**
 * io_kernel_safe() - how much of what the kernel holds lies before the next border
 *
 * The peer may lift, lower and write to the kernel again while we are on our way there; but it announces a border
 * before it writes what lies behind it, or closes, so a look at the borders after a look at the kernel is enough. In rx.seat.
 *
 * Return: bytes, 0 at the end, -EAGAIN, -ESTALE when the kernel is not the path any more, -errno.
 */
ssize_t io_kernel_safe(struct sock *s);

/* From @done on of @total bytes, as much as fits into the ring. In tx.seat. Return: bytes, -EAGAIN when full, -EPROTO. */
ssize_t io_ring_send(struct sock *s, const struct iovec *iov, size_t total, size_t done);

/**
 * io_send_burst() - let the kernel have the rest of a burst
 *
 * A burst fills small rings before the peer has looked at the larger of the two; there is no third. The kernel takes
 * such a burst, and programs that end the connection next rely on that. Return: whether what we send is the kernel's now.
 */
bool io_send_burst(struct sock *s);

/**
 * io_send_told() - what a send through the kernel has to tell first
 *
 * An error that the kernel has told the library, or that of a peer that was killed with bytes unread. Return: 0 or -errno; SIGPIPE
 * was raised as the kernel does.
 */
int io_send_told(struct sock *s, int flags);

/* Into the direction's seat, if nobody else is there and the sock is what it was. */
static inline bool io_enter(struct sock *s, int fd, const struct shm_conn *c, struct shm_seat *seat,
			    struct thread_seat *at)
{
	thread_tid();
	thread_sits(at, s);
	if (unlikely(!shm_seat_try(seat, thread_self.seat)))
		return false;
	if (likely(sock_of(fd) == s && sock_conn(s) == c))
		return true;
	shm_seat_give(seat, true);
	return false;
}

#endif
