/* io.c - bytes of a followed connection through the kernel
 *
 * Connections that are not attached go straight to the kernel; the only trace is a count, so that no lift
 * happens while a thread is inside, and the offsets, so that a lift knows where the stream stands.
 */
#include "preload/sock/io.h"

#include "preload/real.h"
#include "preload/sock/direct.h"
#include "preload/sock/hold.h"
#include "preload/sock/io_priv.h"
#include "preload/sock/lift.h"
#include "preload/sock/patience.h"
#include "preload/sock/span.h"
#include "preload/sock/tap.h"

ssize_t io_real(const struct io_req *r)
{
	switch (r->call) {
	case IO_READ: return real.read(r->fd, r->iov->iov_base, r->iov->iov_len);
	case IO_READV: return real.readv(r->fd, r->iov, r->iovs);
	case IO_PREADV2: return real.preadv64v2(r->fd, r->iov, r->iovs, r->off, r->flags);
	case IO_RECV: return real.recv(r->fd, r->iov->iov_base, r->iov->iov_len, r->flags);
	case IO_RECVFROM:
		return real.recvfrom(r->fd, r->iov->iov_base, r->iov->iov_len, r->flags, r->addr,
				     r->addr_len_out);
	case IO_RECVMSG: return real.recvmsg(r->fd, r->msg, r->flags);
	case IO_WRITE: return real.write(r->fd, r->iov->iov_base, r->iov->iov_len);
	case IO_WRITEV: return real.writev(r->fd, r->iov, r->iovs);
	case IO_PWRITEV2: return real.pwritev64v2(r->fd, r->iov, r->iovs, r->off, r->flags);
	case IO_SEND: return real.send(r->fd, r->iov->iov_base, r->iov->iov_len, r->flags);
	case IO_SENDTO:
		return real.sendto(r->fd, r->iov->iov_base, r->iov->iov_len, r->flags, r->addr,
				   r->addr_len);
	case IO_SENDMSG: return real.sendmsg(r->fd, r->msg, r->flags);
	}
	errno = ENOSYS;
	return -1;
}

/* One more call on the kernel path has moved bytes. */
static bool lift_is_due(struct sock *s)
{
	uint32_t ops = atomic_load_explicit(&s->row->ops, memory_order_relaxed) + 1;

	atomic_store_explicit(&s->row->ops, ops, memory_order_relaxed);
	return ops >= atomic_load_explicit(&s->next_try, memory_order_relaxed) && !sock_is_dead(s);
}

/* The sock is still counted in: nothing of it goes away before hold_end(). */
void io_kernel_leave(struct sock *s, unsigned mark)
{
	int saved;

	if (likely(!lift_is_due(s))) {
		hold_end(mark);
		return;
	}
	saved = errno;
	sock_get(s);
	hold_end(mark);
	lift_step(s);
	sock_put(s);
	errno = saved;
}

struct stats_row *io_kernel_enter(struct sock *s, int fd, _Atomic uint32_t *busy)
{
	unsigned mark = hold_mark();

	if (unlikely(!hold_begin(s, busy))) {
		sock_settle(s, REASON_NO_MEMORY);
		return NULL;
	}
	if (unlikely(sock_of(fd) != s)) { /* pairs with sock_end_here() */
		hold_end(mark);
		return NULL;
	}
	return sock_row(s);
}

ssize_t io_recv_kernel(struct sock *s, const struct io_req *r)
{
	struct stats_row *row = sock_row(s);
	unsigned mark = hold_mark();
	ssize_t n;

	if (SHM_READ(s->stage) == SOCK_SETTLED && row)
		return io_count_settled(s, r->fd, io_flags(r), &row->rx_off, io_real(r));
	if (direct_has(s))
		return direct_recv(s, r);
	row = io_kernel_enter(s, r->fd, &s->rx_busy);
	if (!row)
		return io_real(r);
	if (atomic_load(&row->flags) & STATS_ATTACHED) {
		hold_end(mark);
		hold_attaching(s, r->fd, row);
		return IO_MOVED_ON;
	}
	n = io_real(r);
	if (n > 0 && !(io_flags(r) & (MSG_PEEK | MSG_ERRQUEUE))) {
		atomic_fetch_add(&row->rx_off, (uint64_t)n);
		patience_received(s);
	}
	io_kernel_leave(s, mark);
	return n;
}

ssize_t io_recv_many(struct sock *s, int fd, struct mmsghdr *vec, unsigned n, int flags,
		     struct timespec *timeout)
{
	const bool settled = SHM_READ(s->stage) == SOCK_SETTLED && !sock_conn(s);
	struct stats_row *row;
	unsigned mark = hold_mark();
	size_t bytes = 0;
	int got;

	if (sock_conn(s) || direct_has(s))
		return IO_COLD;
	row = settled ? sock_row(s) : io_kernel_enter(s, fd, &s->rx_busy);
	if (!settled && row && atomic_load(&row->flags) & STATS_ATTACHED) {
		hold_end(mark);
		hold_attaching(s, fd, row);
		return IO_COLD;
	}
	got = real.recvmmsg(fd, vec, n, flags, timeout);
	if (!row)
		return got;
	for (int i = 0; i < got && !(flags & (MSG_PEEK | MSG_ERRQUEUE)); i++)
		bytes += vec[i].msg_len;
	atomic_fetch_add(&row->rx_off, bytes);
	if (settled)
		return got;
	if (bytes)
		patience_received(s);
	io_kernel_leave(s, mark);
	return got;
}

ssize_t io_send_kernel(struct sock *s, const struct io_req *r)
{
	struct stats_row *row = sock_row(s);
	unsigned mark = hold_mark();
	struct tap_mark tap = tap_mark(s);
	uint64_t seq;
	const struct shm_conn *c;
	ssize_t n;

	if (SHM_READ(s->stage) == SOCK_SETTLED && row)
		return io_count_settled(s, r->fd, io_flags(r), &row->tx_off, io_real(r));
	if (direct_has(s))
		return direct_send(s, r);
	row = io_kernel_enter(s, r->fd, &s->tx_busy);
	if (!row)
		return io_real(r);
	c = sock_conn(s);
	if (c && (SHM_READ(c->tx.path) == SHM_PATH_RING || SHM_READ(c->tx.recalled))) {
		hold_end(mark);
		return IO_MOVED_ON;
	}
	seq = atomic_load(&row->tx_off);
	n = io_real(r);
	if (n > 0) {
		atomic_fetch_add(&row->tx_off, (uint64_t)n);
		patience_sent(s);
	}
	if (tap.ns && n > 0)
		tap_kernel(s, tap, seq, r->iov, r->iovs, (size_t)n);
	io_kernel_leave(s, mark);
	return n;
}
