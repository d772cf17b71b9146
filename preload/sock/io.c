/* io.c - bytes of a followed connection through the kernel
 *
 * Connections that are not attached go straight to the kernel; the only trace is a count, so that no lift
 * happens while a thread is inside, and the offsets, so that a lift knows where the stream stands.
 */
#include "preload/sock/io.h"

#include "preload/real.h"
#include "preload/sock/io_priv.h"
#include "preload/sock/lift.h"
#include "preload/sock/span.h"

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

void io_hold_begin(struct sock *s, struct io_hold *h)
{
	struct thread *t = &thread_self;

	if (t->held && (void *)h > t->held_frame) {
		struct sock *left = t->held;

		t->held = NULL;
		sock_put(left);
	}
	h->outer = t->held;
	h->frame = t->held_frame;
	sock_get(s);
	t->held = s;
	t->held_frame = h;
}

void io_hold_end(struct sock *s, const struct io_hold *h)
{
	struct thread *t = &thread_self;
	int saved = errno;

	t->held = h->outer;
	t->held_frame = h->frame;
	sock_put(s);
	errno = saved;
}

static void io_kernel_leave(struct sock *s, _Atomic uint32_t *busy)
{
	int saved = errno;

	if (likely(++s->row->ops < s->next_try || s->dead)) {
		sock_leave(s, busy);
	} else {
		sock_get(s);
		sock_leave(s, busy);
		lift_step(s);
		sock_put(s);
	}
	errno = saved;
}

ssize_t io_recv_kernel(struct sock *s, const struct io_req *r)
{
	struct stats_row *row = s->row;
	ssize_t n;

	if (s->stage == SOCK_SETTLED) {
		n = io_real(r);
		if (n > 0 && sock_of(r->fd) == s && !(io_flags(r) & (MSG_PEEK | MSG_ERRQUEUE)))
			atomic_store_explicit(&row->rx_off, row->rx_off + (uint64_t)n,
					      memory_order_relaxed);
		return n;
	}
	atomic_fetch_add(&s->rx_busy, 1); /* pairs with attach() */
	if (atomic_load(&row->flags) & STATS_ATTACHED) {
		sock_leave(s, &s->rx_busy);
		return IO_MOVED_ON;
	}
	n = io_real(r);
	if (n > 0 && !(io_flags(r) & (MSG_PEEK | MSG_ERRQUEUE)))
		atomic_fetch_add(&row->rx_off, (uint64_t)n);
	io_kernel_leave(s, &s->rx_busy);
	return n;
}

ssize_t io_send_kernel(struct sock *s, const struct io_req *r)
{
	struct stats_row *row = s->row;
	ssize_t n;

	if (s->stage == SOCK_SETTLED) {
		n = io_real(r);
		if (n > 0 && sock_of(r->fd) == s)
			atomic_store_explicit(&row->tx_off, row->tx_off + (uint64_t)n,
					      memory_order_relaxed);
		return n;
	}
	atomic_fetch_add(&s->tx_busy, 1); /* pairs with tx_claim() */
	if (s->conn && (s->conn->tx.path == SHM_PATH_RING || s->conn->tx.recalled)) {
		sock_leave(s, &s->tx_busy);
		return IO_MOVED_ON;
	}
	n = io_real(r);
	if (n > 0)
		atomic_fetch_add(&row->tx_off, (uint64_t)n);
	io_kernel_leave(s, &s->tx_busy);
	return n;
}
