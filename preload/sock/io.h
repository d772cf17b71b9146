/* io.h - bytes of a followed connection, in and out
 *
 * The overrides hand every transfer on a followed descriptor here as one request; it runs on whatever path
 * its direction has at that moment. Return values and errno are the kernel's. Any thread.
 */
#ifndef SOCK_IO_H
#define SOCK_IO_H

#include "preload/sock/sock.h"

#include <sys/uio.h>

/* Which libc function was called: on the kernel path it is called with its own arguments. */
enum io_call {
	IO_READ,
	IO_READV,
	IO_RECV,
	IO_RECVFROM,
	IO_RECVMSG,
	IO_PREADV2,
	IO_WRITE,
	IO_WRITEV,
	IO_SEND,
	IO_SENDTO,
	IO_SENDMSG,
	IO_PWRITEV2,
};

/* One transfer. All memory is the caller's. */
struct io_req {
	int fd;
	enum io_call call;
	int flags;               /* MSG_* or RWF_* */
	const struct iovec *iov; /* the payload, for every kind of call */
	int iovs;
	struct msghdr *msg;      /* IO_RECVMSG, IO_SENDMSG */
	struct sockaddr *addr;   /* IO_RECVFROM, IO_SENDTO; may be NULL */
	socklen_t *addr_len_out; /* IO_RECVFROM */
	socklen_t addr_len;      /* IO_SENDTO */
	off64_t off;             /* IO_PREADV2, IO_PWRITEV2 */
};

/* Bytes of all entries together. */
static inline size_t io_total_of(const struct iovec *iov, int n)
{
	size_t total = 0;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

/* Return: bytes, or -1 with errno. */
ssize_t io_recv(struct sock *s, const struct io_req *r);
ssize_t io_send(struct sock *s, const struct io_req *r);

/**
 * io_recv_many() - recvmmsg(2) on a connection that is the kernel's
 *
 * Return: as recvmmsg(2), or IO_COLD: it is not the kernel's (any more), nothing was done.
 */
ssize_t io_recv_many(struct sock *s, int fd, struct mmsghdr *vec, unsigned n, int flags,
		     struct timespec *timeout);

/* Of a connection that is not the kernel's: the next call that asks is told @err. */
void io_error_keep(struct sock *s, int err);

enum { IO_COLD = -4097 };

/*
 * No flags, on a ring, nobody else inside: what io_hot.h finds too large, or shared with other threads. Return: as
 * readv(2) and writev(2), or IO_COLD: nothing was done.
 */
ssize_t io_read(struct sock *s, int fd, const struct iovec *iov, int iovs);
ssize_t io_write(struct sock *s, int fd, const struct iovec *iov, int iovs);

/* The thread has left a call on @s without returning from it: a turn that it had is over. */
void io_abandoned(struct sock *s);

/*
 * The row of a connection that stays in the kernel: libc's own function and a count are all that a call on
 * it needs. NULL: it may be lifted, or another thread has closed it.
 */
static inline struct stats_row *io_settled(const struct sock *s)
{
	return sock_is_settled(s) ? sock_row(s) : NULL;
}

/* After such a call by @fd, of which @n came: counted at @off of the row, for the statistics alone. Return: @n. */
static inline ssize_t io_count_settled(const struct sock *s, int fd, int flags,
				       _Atomic uint64_t *off, ssize_t n)
{
	if (n > 0 && sock_of(fd) == s && !(flags & (MSG_PEEK | MSG_ERRQUEUE)))
		atomic_store_explicit(off,
				      atomic_load_explicit(off, memory_order_relaxed) + (uint64_t)n,
				      memory_order_relaxed);
	return n;
}

/* sendfile(2) to and splice(2) from and to a followed connection. */
ssize_t io_sendfile(struct sock *s, int out, int in, off64_t *off, size_t n);
ssize_t io_splice_out(struct sock *s, int in, off64_t *in_off, int out, off64_t *out_off, size_t n,
		      unsigned flags);
ssize_t io_splice_in(struct sock *s, int in, off64_t *in_off, int out, off64_t *out_off, size_t n,
		     unsigned flags);

#endif
