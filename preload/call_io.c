/* call_io.c - overrides that move bytes */
#include "preload/call.h"
#include "preload/sock/io_hot.h"
#include "preload/sock/mem.h"
#include "preload/sock/thread.h"

#include <errno.h>

#define ONE(buf, n) (&(struct iovec){ (void *)(buf), (n) })

/* Flags that change nothing where bytes are there, or fit. */
enum {
	RECV_PLAIN = MSG_NOSIGNAL | MSG_DONTWAIT,
	SEND_PLAIN = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE,
};

enum { IOV_MOST = 1024 }; /* UIO_MAXIOV */

/* Vectors and headers that are not there, or too long: the kernel is to say so. */
static bool bad_vector(const struct iovec *iov, int n)
{
	return n <= 0 || n > IOV_MOST || !mem_readable(iov, (size_t)n * sizeof(*iov));
}

static bool bad_message(const struct msghdr *msg)
{
	return !mem_readable(msg, sizeof(*msg)) || msg->msg_iovlen > IOV_MOST ||
	       !mem_readable(msg->msg_iov, msg->msg_iovlen * sizeof(*msg->msg_iov));
}

/* ---- in ---- */

/*
 * What the short ways leave over. Their arguments are in an order in which few of them have to be moved, as the
 * callers are counted by the instruction (bench/micro).
 */
static __attribute__((noinline)) ssize_t recv_cold(int fd, void *buf, int flags, struct sock *s,
						   size_t n, enum io_call call)
{
	ssize_t got = IO_COLD;

	if (sock_conn(s) && !(flags & ~RECV_PLAIN))
		got = io_read(s, fd, ONE(buf, n), 1);
	if (got != IO_COLD)
		return got;
	return io_recv(
		s, &(struct io_req){
			   .fd = fd, .call = call, .flags = flags, .iov = ONE(buf, n), .iovs = 1 });
}

static __attribute__((noinline)) ssize_t recv_rest(int fd, void *buf, int flags, struct sock *s,
						   size_t n, enum io_call call)
{
	struct stats_row *row = io_settled(s);
	ssize_t got;

	if (unlikely(!row))
		return recv_cold(fd, buf, flags, s, n, call);
	got = call == IO_READ ? real.read(fd, buf, n) : real.recv(fd, buf, n, flags);
	return io_count_settled(s, fd, flags, &row->rx_off, got);
}

/*
 * Apart from read(), which needs few registers to tell that there is nothing. @place keeps the others where read()
 * has them.
 */
static __attribute__((noipa)) ssize_t read_hot(int fd, void *buf, size_t place, struct sock *s,
					       size_t n)
{
	(void)place;
	if (likely(io_hot_read(s, buf, &n)))
		return io_hot_read_done(s, n);
	return recv_rest(fd, buf, 0, s, n, IO_READ);
}

EXPORT ssize_t read(int fd, void *buf, size_t n)
{
	struct sock *s = sock_of(fd);

	if (!s)
		return real.read(fd, buf, n);
	if (unlikely(!n))
		return recv_rest(fd, buf, 0, s, n, IO_READ);
	if (!io_hot_quiet(s))
		return read_hot(fd, buf, n, s, n);
	io_errno(EAGAIN);
	return -1;
}

EXPORT ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	struct sock *s = sock_of(fd);

	if (!s)
		return real.recv(fd, buf, n, flags);
	if (unlikely(flags & ~RECV_PLAIN || !n))
		return recv_rest(fd, buf, flags, s, n, IO_RECV);
	if (io_hot_quiet(s)) {
		io_errno(EAGAIN);
		return -1;
	}
	if (likely(io_hot_read(s, buf, &n)))
		return io_hot_read_done(s, n);
	return recv_rest(fd, buf, flags, s, n, IO_RECV);
}

static __attribute__((noinline)) ssize_t recvfrom_rest(struct sock *s, int fd, void *buf, size_t n,
						       int flags, struct sockaddr *from,
						       socklen_t *len)
{
	const struct io_req r = { .fd = fd,
				  .call = IO_RECVFROM,
				  .flags = flags,
				  .iov = ONE(buf, n),
				  .iovs = 1,
				  .addr = from,
				  .addr_len_out = len };
	ssize_t got = IO_COLD;

	if (sock_conn(s) && !(flags & ~RECV_PLAIN) && mem_writable(len, sizeof(*len)))
		got = io_read(s, fd, r.iov, 1);
	if (got >= 0)
		*len = 0; /* else the kernel's answer stands: MSG_ERRQUEUE may tell an address */
	return got == IO_COLD ? io_recv(s, &r) : got;
}

EXPORT ssize_t recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from,
			socklen_t *len)
{
	struct sock *s = sock_of(fd);

	if (!s)
		return real.recvfrom(fd, buf, n, flags, from, len);
	if (!from)
		return recv(fd, buf, n, flags);
	if (unlikely(flags & ~RECV_PLAIN || !n || !mem_writable(len, sizeof(*len))))
		return recvfrom_rest(s, fd, buf, n, flags, from, len);
	if (io_hot_quiet(s)) {
		io_errno(EAGAIN);
		return -1;
	}
	if (unlikely(!io_hot_read(s, buf, &n)))
		return recvfrom_rest(s, fd, buf, n, flags, from, len);
	*len = 0; /* TCP has no address to tell */
	return io_hot_read_done(s, n);
}

EXPORT ssize_t readv(int fd, const struct iovec *iov, int n)
{
	struct sock *s = sock_of(fd);
	struct stats_row *row;
	ssize_t got;

	if (likely(!s))
		return real.readv(fd, iov, n);
	row = io_settled(s);
	if (row)
		return io_count_settled(s, fd, 0, &row->rx_off, real.readv(fd, iov, n));
	if (bad_vector(iov, n))
		return real.readv(fd, iov, n);
	got = io_read(s, fd, iov, n);
	if (got != IO_COLD)
		return got;
	return io_recv(s, &(struct io_req){ .fd = fd, .call = IO_READV, .iov = iov, .iovs = n });
}

EXPORT ssize_t preadv64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	struct sock *s = sock_of(fd);

	if (likely(!s) || off != -1 || bad_vector(iov, n))
		return real.preadv64v2(fd, iov, n, off, flags);
	return io_recv(s, &(struct io_req){ .fd = fd,
					    .call = IO_PREADV2,
					    .iov = iov,
					    .iovs = n,
					    .off = off,
					    .flags = flags });
}

EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return preadv64v2(fd, iov, n, off, flags);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct sock *s = sock_of(fd);
	struct stats_row *row;
	ssize_t got;

	if (likely(!s))
		return real.recvmsg(fd, msg, flags);
	row = io_settled(s);
	if (row)
		return io_count_settled(s, fd, flags, &row->rx_off, real.recvmsg(fd, msg, flags));
	if (bad_message(msg))
		return real.recvmsg(fd, msg, flags);
	got = flags & ~RECV_PLAIN ? IO_COLD : io_read(s, fd, msg->msg_iov, (int)msg->msg_iovlen);
	if (got >= 0) {
		msg->msg_namelen = 0;
		msg->msg_controllen = 0;
		msg->msg_flags = 0;
	}
	if (got != IO_COLD)
		return got;
	return io_recv(s, &(struct io_req){ .fd = fd,
					    .call = IO_RECVMSG,
					    .flags = flags,
					    .iov = msg->msg_iov,
					    .iovs = (int)msg->msg_iovlen,
					    .msg = msg });
}

static bool bad_messages(struct mmsghdr *vec, unsigned n)
{
	return !mem_writable(vec, (n < IOV_MOST ? n : IOV_MOST) * sizeof(*vec));
}

static bool bad_time(struct timespec *timeout)
{
	return timeout && !mem_writable(timeout, sizeof(*timeout));
}

/* A pending error comes before the first message, also where bytes are left. Return: whether there was one, in errno. */
static bool error_first(int fd, int flags)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (flags & MSG_ERRQUEUE || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || !err)
		return false;
	errno = err;
	return true;
}

/* recvmmsg(2) on a stream: message after message until one would wait, or the time is up. */
static int receive_many(struct sock *s, int fd, struct mmsghdr *vec, unsigned n, int flags,
			uint64_t until)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		ssize_t got = recvmsg(fd, &vec[i].msg_hdr, flags & ~MSG_WAITFORONE);

		if (got < 0 && i && errno != EAGAIN && errno != EINTR)
			io_error_keep(s, errno);
		if (got < 0)
			return i ? (int)i : -1;
		vec[i].msg_len = (unsigned)got;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (until && thread_now() >= until)
			return (int)i + 1;
	}
	return (int)i;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *vec, unsigned n, int flags, struct timespec *timeout)
{
	struct sock *s = sock_of(fd);
	uint64_t until = 0, now;
	int got;

	if (likely(!s) || !sock_row(s) || bad_messages(vec, n) || bad_time(timeout))
		return real.recvmmsg(fd, vec, n, flags, timeout);
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000) {
			errno = EINVAL;
			return -1;
		}
		until = thread_now() + (uint64_t)timeout->tv_sec * 1000000000u +
			(uint64_t)timeout->tv_nsec;
	}
	got = (int)io_recv_many(s, fd, vec, n, flags, timeout);
	if (got != IO_COLD)
		return got;
	if (error_first(fd, flags))
		return -1;
	got = receive_many(s, fd, vec, n < IOV_MOST ? n : IOV_MOST, flags, until);
	if (timeout && got > 0) {
		now = thread_now();
		timeout->tv_sec = until > now ? (time_t)((until - now) / 1000000000u) : 0;
		timeout->tv_nsec = until > now ? (long)((until - now) % 1000000000u) : 0;
	}
	return got;
}

EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t size)
{
	return likely(!sock_of(fd)) || n > size ? real.__read_chk(fd, buf, n, size)
						: read(fd, buf, n);
}

EXPORT ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
	return likely(!sock_of(fd)) || n > size ? real.__recv_chk(fd, buf, n, size, flags)
						: recv(fd, buf, n, flags);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags,
			      struct sockaddr *from, socklen_t *len)
{
	return likely(!sock_of(fd)) || n > size
		       ? real.__recvfrom_chk(fd, buf, n, size, flags, from, len)
		       : recvfrom(fd, buf, n, flags, from, len);
}

/* ---- out ---- */

static __attribute__((noinline)) ssize_t send_cold(struct sock *s, const struct io_req *r)
{
	ssize_t sent = IO_COLD;

	if (sock_conn(s) && !(r->flags & ~SEND_PLAIN))
		sent = io_write(s, r->fd, r->iov, r->iovs);
	return sent == IO_COLD ? io_send(s, r) : sent;
}

static __attribute__((noinline)) ssize_t send_rest(int fd, const void *buf, int flags,
						   struct sock *s, size_t n, enum io_call call)
{
	struct stats_row *row = io_settled(s);
	ssize_t sent;

	if (unlikely(!row))
		return send_cold(s, &(struct io_req){ .fd = fd,
						      .call = call,
						      .flags = flags,
						      .iov = ONE(buf, n),
						      .iovs = 1 });
	sent = call == IO_WRITE ? real.write(fd, buf, n) : real.send(fd, buf, n, flags);
	return io_count_settled(s, fd, flags, &row->tx_off, sent);
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
	struct sock *s = sock_of(fd);

	if (!s)
		return real.write(fd, buf, n);
	if (likely(io_hot_write(s, buf, n)))
		return io_hot_write_done(s, n);
	return send_rest(fd, buf, 0, s, n, IO_WRITE);
}

EXPORT ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	struct sock *s = sock_of(fd);

	if (!s)
		return real.send(fd, buf, n, flags);
	if (likely(!(flags & ~SEND_PLAIN) && io_hot_write(s, buf, n)))
		return io_hot_write_done(s, n);
	return send_rest(fd, buf, flags, s, n, IO_SEND);
}

/* TCP has no use for an address, but the kernel looks whether it is one. */
static inline bool sendto_is_plain(int flags, const struct sockaddr *to, socklen_t len)
{
	return !(flags & ~SEND_PLAIN) && len <= sizeof(struct sockaddr_storage) &&
	       mem_readable(to, len);
}

static __attribute__((noinline)) ssize_t sendto_rest(struct sock *s, int fd, const void *buf,
						     size_t n, int flags, const struct sockaddr *to,
						     socklen_t len)
{
	const struct io_req r = { .fd = fd,
				  .call = IO_SENDTO,
				  .flags = flags,
				  .iov = ONE(buf, n),
				  .iovs = 1,
				  .addr = (struct sockaddr *)to,
				  .addr_len = len };

	return sendto_is_plain(flags, to, len) ? send_cold(s, &r) : io_send(s, &r);
}

EXPORT ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to,
		      socklen_t len)
{
	struct sock *s = sock_of(fd);

	if (!s)
		return real.sendto(fd, buf, n, flags, to, len);
	if (!to)
		return send(fd, buf, n, flags);
	if (likely(sendto_is_plain(flags, to, len) && io_hot_write(s, buf, n)))
		return io_hot_write_done(s, n);
	return sendto_rest(s, fd, buf, n, flags, to, len);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
	struct sock *s = sock_of(fd);
	struct stats_row *row;
	ssize_t sent;

	if (likely(!s))
		return real.writev(fd, iov, n);
	row = io_settled(s);
	if (row)
		return io_count_settled(s, fd, 0, &row->tx_off, real.writev(fd, iov, n));
	if (bad_vector(iov, n))
		return real.writev(fd, iov, n);
	sent = io_write(s, fd, iov, n);
	if (sent != IO_COLD)
		return sent;
	return io_send(s, &(struct io_req){ .fd = fd, .call = IO_WRITEV, .iov = iov, .iovs = n });
}

EXPORT ssize_t pwritev64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	struct sock *s = sock_of(fd);

	if (likely(!s) || off != -1 || bad_vector(iov, n))
		return real.pwritev64v2(fd, iov, n, off, flags);
	return io_send(s, &(struct io_req){ .fd = fd,
					    .call = IO_PWRITEV2,
					    .iov = iov,
					    .iovs = n,
					    .off = off,
					    .flags = flags });
}

EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return pwritev64v2(fd, iov, n, off, flags);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct sock *s = sock_of(fd);
	struct stats_row *row;
	ssize_t sent = IO_COLD;

	if (unlikely(!s && mem_readable(msg, sizeof(*msg)) && msg->msg_controllen))
		call_passing(msg);
	if (likely(!s))
		return real.sendmsg(fd, msg, flags);
	row = io_settled(s);
	if (row)
		return io_count_settled(s, fd, flags, &row->tx_off, real.sendmsg(fd, msg, flags));
	if (bad_message(msg))
		return real.sendmsg(fd, msg, flags);
	if (!(flags & ~SEND_PLAIN) && !msg->msg_controllen && !msg->msg_name)
		sent = io_write(s, fd, msg->msg_iov, (int)msg->msg_iovlen);
	if (sent != IO_COLD)
		return sent;
	return io_send(s, &(struct io_req){ .fd = fd,
					    .call = IO_SENDMSG,
					    .flags = flags,
					    .iov = msg->msg_iov,
					    .iovs = (int)msg->msg_iovlen,
					    .msg = (struct msghdr *)msg });
}

EXPORT int sendmmsg(int fd, struct mmsghdr *vec, unsigned n, int flags)
{
	struct sock *s = sock_of(fd);
	unsigned i;

	if (n > IOV_MOST)
		n = IOV_MOST;
	if (!s && !bad_messages(vec, n)) {
		for (i = 0; i < n; i++) {
			if (vec[i].msg_hdr.msg_controllen)
				call_passing(&vec[i].msg_hdr);
		}
	}
	if (likely(!s) || !sock_row(s) || bad_messages(vec, n))
		return real.sendmmsg(fd, vec, n, flags);
	for (i = 0; i < n; i++) {
		ssize_t sent = sendmsg(fd, &vec[i].msg_hdr, flags);

		if (sent < 0)
			return i ? (int)i : -1;
		vec[i].msg_len = (unsigned)sent;
		/* one that went in part is the last: the next one's bytes would take the place of its rest */
		if ((size_t)sent <
		    io_total_of(vec[i].msg_hdr.msg_iov, (int)vec[i].msg_hdr.msg_iovlen))
			return (int)i + 1;
	}
	return (int)i;
}

EXPORT ssize_t sendfile64(int out, int in, off64_t *off, size_t n)
{
	struct sock *s = sock_of(out);
	struct stats_row *row;

	if (likely(!s))
		return real.sendfile64(out, in, off, n);
	row = io_settled(s);
	if (row)
		return io_count_settled(s, out, 0, &row->tx_off, real.sendfile64(out, in, off, n));
	return io_sendfile(s, out, in, off, n);
}

EXPORT ssize_t sendfile(int out, int in, off_t *off, size_t n)
{
	return sendfile64(out, in, off, n);
}

EXPORT ssize_t splice(int in, off64_t *in_off, int out, off64_t *out_off, size_t n, unsigned flags)
{
	struct sock *from = sock_of(in), *to = sock_of(out);

	if (from)
		return io_splice_in(from, in, in_off, out, out_off, n, flags);
	if (to)
		return io_splice_out(to, in, in_off, out, out_off, n, flags);
	return real.splice(in, in_off, out, out_off, n, flags);
}

EXPORT ssize_t __read(int fd, void *buf, size_t n) __attribute__((alias("read")));
EXPORT ssize_t __write(int fd, const void *buf, size_t n) __attribute__((alias("write")));
EXPORT ssize_t __send(int fd, const void *buf, size_t n, int flags) __attribute__((alias("send")));
EXPORT int __sendmmsg(int fd, struct mmsghdr *vec, unsigned n, int flags)
	__attribute__((alias("sendmmsg")));
