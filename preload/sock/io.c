/* io.c - bytes of a followed connection, in and out
 *
 * Each direction of an attached connection is either on its ring or in the kernel. A call takes the
 * direction's lock, moves what can be moved, and lets go of the lock to wait. Connections that are not
 * attached go straight to the kernel; the only trace is a count, so that no lift happens while a thread is
 * inside, and the offsets, so that a lift knows where the stream stands.
 */
#include "preload/sock/io.h"

#include "preload/real.h"
#include "preload/sock/chaos.h"
#include "preload/sock/lift.h"
#include "preload/sock/ready.h"
#include "preload/sock/span.h"
#include "preload/sock/thread.h"
#include "preload/sock/wait.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>

enum {
	IO_CHECK_CYCLES =
		1 << 23,     /* how often a busy direction looks at the kernel socket: about 3 ms */
	IO_MOVED_ON = -4096, /* the direction has changed its path: begin again */
};

/* Addresses that no program has mapped: the kernel answers EFAULT for them, and so must we. */
static bool io_bad_pointer(const void *p)
{
	return (uintptr_t)p < 4096 || (uintptr_t)p >> 47;
}

static bool io_bad_memory(const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len &&
		    (io_bad_pointer(iov[i].iov_base) || iov[i].iov_len > SSIZE_MAX))
			return true;
	}
	return false;
}

static ssize_t io_real(const struct io_req *r)
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

static bool io_is_message(enum io_call call)
{
	return call != IO_READ && call != IO_READV && call != IO_PREADV2 && call != IO_WRITE &&
	       call != IO_WRITEV && call != IO_PWRITEV2;
}

/* MSG_* flags of a request; the plain calls have none. */
static int io_flags(const struct io_req *r)
{
	if (r->call == IO_PREADV2 || r->call == IO_PWRITEV2)
		return r->flags & RWF_NOWAIT ? MSG_DONTWAIT : 0;
	return io_is_message(r->call) ? r->flags : 0;
}

static size_t io_total(const struct io_req *r)
{
	size_t total = 0;

	for (int i = 0; i < r->iovs; i++)
		total += r->iov[i].iov_len;
	return total;
}

static ssize_t io_fail(int err)
{
	errno = -err;
	return -1;
}

static uint64_t io_deadline(uint32_t timeout_us)
{
	return timeout_us ? thread_now() + timeout_us * UINT64_C(1000) : 0;
}

/*
 * A call that may sleep keeps its sock. A signal handler may jump out of it, or the thread may be cancelled:
 * the hold is then found by the thread's next such call, from a frame that lies above, or by its end.
 */
struct hold {
	struct sock *outer;
	void *frame;
};

static void hold_begin(struct sock *s, struct hold *h)
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

static void hold_end(struct sock *s, const struct hold *h)
{
	struct thread *t = &thread_self;
	int saved = errno;

	t->held = h->outer;
	t->held_frame = h->frame;
	sock_put(s);
	errno = saved;
}

/* ---- not attached ---- */

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

static ssize_t io_recv_kernel(struct sock *s, const struct io_req *r)
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

static ssize_t io_send_kernel(struct sock *s, const struct io_req *r)
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

/* ---- receiving on an attached connection ---- */

/* A cursor over the request's memory. */
struct io_place {
	const struct iovec *iov;
	int left;   /* entries from iov on */
	size_t off; /* into the first */
};

static struct io_place io_place(const struct io_req *r, size_t done)
{
	struct io_place p = { r->iov, r->iovs, done };

	while (p.left && p.off >= p.iov->iov_len) {
		p.off -= p.iov->iov_len;
		p.iov++;
		p.left--;
	}
	return p;
}

/* The next piece of memory, at most @max bytes of it; false at the end. */
static bool io_piece(struct io_place *p, size_t max, struct iovec *piece)
{
	while (p->left && p->off == p->iov->iov_len) {
		p->off = 0;
		p->iov++;
		p->left--;
	}
	if (!p->left)
		return false;
	piece->iov_base = (char *)p->iov->iov_base + p->off;
	piece->iov_len = p->iov->iov_len - p->off;
	if (piece->iov_len > max)
		piece->iov_len = max;
	p->off += piece->iov_len;
	return true;
}

/* Ring bytes from offset @from, at most @max, into memory (or nowhere: tcp(7), MSG_TRUNC). Consumes nothing. */
static ssize_t ring_copy(struct sock *s, struct io_place *at, uint64_t from, uint64_t max,
			 bool discard)
{
	size_t got = 0;

	while (got < max) {
		struct shm_run run;
		struct iovec piece;
		int found = shm_ring_peek(&s->view, from + got, &run);

		if (found < 0)
			return found;
		if (!found)
			break;
		if (run.len > max - got)
			run.len = max - got;
		if (!io_piece(at, run.len, &piece))
			break;
		if (!discard)
			memcpy(piece.iov_base, run.ptr, piece.iov_len);
		got += piece.iov_len;
	}
	return (ssize_t)got;
}

/* Under rx.lock. Return: bytes, 0 when there are none, -EPROTO. */
static ssize_t ring_recv(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	struct shm_conn *c = s->conn;

	for (;;) {
		uint64_t head = atomic_load_explicit(&c->ctl.head, memory_order_relaxed);
		struct io_place at = io_place(r, done);
		ssize_t n;

		shm_ring_learn(c, &s->view, head); /* the next call has the short way */
		n = ring_copy(s, &at, head, UINT64_MAX, flags & MSG_TRUNC);

		if (n <= 0 || shm_commit(&c->ctl.head, head, head + (uint64_t)n))
			return n;
	}
}

/* The kernel part: never waits, never reads past a border, is no cancellation point. Return: as recv, -errno. */
static ssize_t kernel_recv(struct sock *s, const struct io_req *r, size_t done, int flags,
			   uint64_t limit)
{
	struct io_place at = io_place(r, done);
	struct iovec piece = { 0 };
	ssize_t n;

	flags = (flags & ~MSG_WAITALL) | MSG_DONTWAIT;
	if (r->call == IO_RECVMSG && !done && limit == UINT64_MAX) {
		n = sys(SYS_recvmsg, s->fd, r->msg, flags);
	} else if (r->call == IO_RECVFROM && !done && limit == UINT64_MAX) {
		n = sys(SYS_recvfrom, s->fd, r->iov->iov_base, r->iov->iov_len, flags, r->addr,
			r->addr_len_out);
	} else {
		io_piece(&at, limit < SSIZE_MAX ? (size_t)limit : SSIZE_MAX, &piece);
		n = sys(SYS_recvfrom, s->fd, piece.iov_base, piece.iov_len, flags, 0, 0);
	}
	if (n > 0 && !(flags & (MSG_PEEK | MSG_ERRQUEUE)))
		atomic_fetch_add(&s->row->rx_off, (uint64_t)n);
	return n;
}

/* A peer that was killed with bytes of ours unread makes the kernel's TCP answer with a reset: say so, once. */
static ssize_t end_of_stream(struct sock *s, ssize_t n)
{
	if (n || s->reset_told || !ready_reset(s))
		return n;
	s->reset_told = true;
	return -ECONNRESET;
}

/* The kernel knows whether the ring will ever hold more. Under rx.lock. */
static ssize_t ring_end(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	if (!(s->kernel_bits & POLLRDHUP))
		ready_ask(s, POLLIN);
	if (!s->kernel_bits || shm_ring_unread(s->conn, s->view.ctl) || span_ahead(s))
		return -EAGAIN;
	return end_of_stream(s, kernel_recv(s, r, done, flags, UINT64_MAX));
}

static bool end_is_near(struct sock *s)
{
	uint64_t now = thread_cycles();

	if (s->kernel_bits ||
	    atomic_load_explicit(&s->view.ctl->flags_tx, memory_order_relaxed) & SHM_TX_FIN)
		return true;
	if (now - s->conn->rx.checked < IO_CHECK_CYCLES)
		return false;
	s->conn->rx.checked = now;
	return true;
}

/* MSG_PEEK sees over a border: bytes on both sides of it lie in the socket, as far as the program knows. */
static ssize_t peek(struct sock *s, const struct io_req *r, int flags, uint64_t limit)
{
	struct shm_conn *c = s->conn;
	struct io_place at = io_place(r, 0);
	bool ring = c->rx.path == SHM_PATH_RING;
	uint64_t here = ring ? c->ctl.head : atomic_load(&s->row->rx_off);
	ssize_t n, more = 0;

	if (ring)
		n = ring_copy(s, &at, here, limit, flags & MSG_TRUNC);
	else
		n = kernel_recv(s, r, 0, flags, limit);
	if (n <= 0 || (uint64_t)n < limit)
		return n;
	/* all up to the border: go on behind it */
	at = io_place(r, (size_t)n);
	if (ring)
		more = kernel_recv(s, r, (size_t)n, flags, UINT64_MAX);
	else
		more = ring_copy(s, &at, here + limit, UINT64_MAX, flags & MSG_TRUNC);
	return more > 0 ? n + more : n;
}

/* One look at whatever path the direction has. Return: bytes, 0 at the end, -EAGAIN, -errno. */
static ssize_t recv_once(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	struct shm_conn *c = s->conn;
	uint64_t limit;
	ssize_t n;

	if (s->broken)
		return -ECONNRESET;
	for (;;) {
		if (span_cross(s, &limit) < 0)
			return -EPROTO;
		if (c->rx.frozen)
			return -EAGAIN;
		if (flags & MSG_PEEK)
			n = peek(s, r, flags, limit);
		else if (c->rx.path == SHM_PATH_KERNEL)
			n = end_of_stream(s, kernel_recv(s, r, done, flags, limit));
		else
			n = ring_recv(s, r, done, flags);
		if (n || c->rx.path == SHM_PATH_KERNEL)
			return n;
		if (span_ahead(s))
			continue;
		return end_is_near(s) ? ring_end(s, r, done, flags) : -EAGAIN;
	}
}

static void recv_consumed(struct sock *s)
{
	if (unlikely(atomic_load_explicit(&s->view.ctl->flags_tx, memory_order_relaxed) &
		     SHM_TX_WANT_SPACE) &&
	    shm_peer_asleep(s->peer))
		shm_peer_ring(s->peer,
			      atomic_load_explicit(&s->view.ctl->bells, memory_order_relaxed));
}

/* What recvmsg() and recvfrom() tell beside the bytes: for TCP, nothing. */
static void recv_answer(const struct io_req *r)
{
	if (r->msg) {
		r->msg->msg_namelen = 0;
		r->msg->msg_controllen = 0;
		r->msg->msg_flags = 0;
	}
	if (r->addr && r->addr_len_out)
		*r->addr_len_out = 0;
}

/* After -EAGAIN: wait as the call asks. Return: 0 to go on, else what the call answers. */
static ssize_t recv_wait(struct sock *s, int flags, size_t done, uint64_t deadline)
{
	int err;

	if (flags & MSG_DONTWAIT || sock_nonblock(s))
		return done ? (ssize_t)done : io_fail(-EAGAIN);
	s->streak++;
	err = wait_for(s, POLLIN, deadline);
	if (err == -EINTR && !deadline && wait_restarts())
		return 0;
	if (err)
		return done ? (ssize_t)done : io_fail(err);
	return 0;
}

/* recv(fd, buf, 0, 0): waits until there is something, and takes nothing. Read(fd, buf, 0) does not wait. */
static ssize_t recv_nothing(struct sock *s, const struct io_req *r, int flags, uint64_t deadline)
{
	if (!io_is_message(r->call))
		return 0;
	while (!(ready_now(s, POLLIN) & (POLLIN | POLLHUP | POLLERR))) {
		ssize_t n = recv_wait(s, flags, 0, deadline);

		if (n)
			return n;
	}
	return 0;
}

/* Calls that run in the kernel alone, on a connection whose other calls do not. */
static bool recv_is_kernel(const struct sock *s, const struct io_req *r, int flags)
{
	return flags & (MSG_OOB | MSG_ERRQUEUE) || s->conn->rx.direct ||
	       (r->call == IO_PREADV2 && r->flags & ~(RWF_NOWAIT | RWF_HIPRI)) ||
	       (!(flags & MSG_TRUNC) && io_bad_memory(r->iov, r->iovs));
}

static ssize_t io_recv_attached(struct sock *s, const struct io_req *r)
{
	struct shm_conn *c = s->conn;
	int flags = io_flags(r);
	size_t total = io_total(r), done = 0;
	uint64_t deadline = io_deadline(s->row->rcvtimeo_us);
	bool more = false; /* there may be bytes behind a border */

	if (recv_is_kernel(s, r, flags))
		return io_real(r);
	if (!total)
		return recv_nothing(s, r, flags, deadline);
	if (unlikely(chaos_on()))
		chaos(s);
	for (;;) {
		bool taken = shm_lock(&c->rx.lock, thread_tid());
		ssize_t n = s->conn == c ? recv_once(s, r, done, flags) : -EBADF;
		bool ring = c->rx.path == SHM_PATH_RING;

		shm_unlock(&c->rx.lock, taken);
		if (unlikely(span_attention(s)))
			span_attend(s);
		if (n > 0) {
			recv_consumed(s);
			done = flags & MSG_PEEK ? (size_t)n : done + (size_t)n;
			if (ring && done == (size_t)n)
				recv_answer(r);
			more = !ring && !(flags & MSG_PEEK) && (span_ahead(s) || r->iovs > 1);
			if (done == total || !(flags & MSG_WAITALL || more))
				return (ssize_t)done;
			if (!(flags & MSG_PEEK))
				continue;
			n = -EAGAIN;
		}
		if (n == 0 || (done && more && !(flags & MSG_WAITALL)))
			return (ssize_t)done;
		if (n == -EPROTO) {
			span_break(s);
			n = -ECONNRESET;
		}
		if (n != -EAGAIN && n != -EINTR)
			return done ? (ssize_t)done : io_fail((int)n);
		if (c->rx.direct)
			return done ? (ssize_t)done : io_real(r);
		n = recv_wait(s, flags, done, deadline);
		if (n)
			return n;
	}
}

ssize_t io_recv(struct sock *s, const struct io_req *r)
{
	struct hold h;
	ssize_t n;

	if (!s->row)
		return io_real(r);
	if (!s->conn) {
		n = io_recv_kernel(s, r);
		if (n != IO_MOVED_ON)
			return n;
		while (!s->conn) /* attach() is about to set it */
			sys(SYS_sched_yield);
	}
	hold_begin(s, &h);
	n = sock_of(r->fd) == s ? io_recv_attached(s, r) : io_real(r);
	hold_end(s, &h);
	return n;
}

/* ---- sending on an attached connection ---- */

static void send_published(struct sock *s)
{
	if (unlikely(shm_peer_asleep(s->peer)))
		shm_peer_ring(s->peer,
			      atomic_load_explicit(&s->view.ctl->bells, memory_order_relaxed));
}

/* From @done on, as much as fits. Under tx.lock. Return: bytes, -EAGAIN when full, -EPROTO. */
static ssize_t ring_send(struct sock *s, const struct iovec *iov, int iovs, size_t done)
{
	struct shm_conn *c = s->conn;
	size_t skip = done, sent = 0;

	for (int i = 0; i < iovs; i++) {
		const char *at = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		if (skip >= left) {
			skip -= left;
			continue;
		}
		at += skip;
		left -= skip;
		skip = 0;
		while (left) {
			ssize_t n = shm_ring_write(c, s->view.ctl, at, left);

			if (n == 0 &&
			    shm_ring_grow(sock_arena(s), c, s->view.ctl, left, thread_tid()))
				continue;
			if (n <= 0)
				return sent ? (ssize_t)sent : n ? n : -EAGAIN;
			sent += (size_t)n;
			at += n;
			left -= (size_t)n;
		}
	}
	return (ssize_t)sent;
}

/* The rest of a request through the kernel, after its first @done bytes went through the ring. */
static ssize_t send_rest(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	size_t skip = done;
	ssize_t n;
	int i = 0;

	while (i < r->iovs && skip >= r->iov[i].iov_len)
		skip -= r->iov[i++].iov_len;
	while (i < r->iovs) {
		n = real.send(s->fd, (const char *)r->iov[i].iov_base + skip,
			      r->iov[i].iov_len - skip, flags);
		if (n < 0)
			return done ? (ssize_t)done : -1;
		atomic_fetch_add(&s->row->tx_off, (uint64_t)n);
		done += (size_t)n;
		skip += (size_t)n;
		if (skip < r->iov[i].iov_len)
			break;
		skip = 0;
		i++;
	}
	return (ssize_t)done;
}

/* A direction on its ring looks at the kernel socket now and then: a killed peer says nothing else. */
static void send_check(struct sock *s)
{
	uint64_t now = thread_cycles();

	if (unlikely(now - s->conn->tx.checked >= IO_CHECK_CYCLES)) {
		s->conn->tx.checked = now;
		ready_ask(s, 0);
	}
}

/* Nothing fits. Return: 0 to go on, else what the call answers. */
static ssize_t send_wait(struct sock *s, int flags, size_t done, uint64_t deadline)
{
	int err;

	if (flags & MSG_DONTWAIT || sock_nonblock(s)) {
		atomic_fetch_add(&s->full_gen, 1);
		if (wait_unstall(s))
			return 0;
		return done ? (ssize_t)done : io_fail(-EAGAIN);
	}
	err = wait_for(s, POLLOUT, deadline);
	if (err == -EINTR && !deadline && wait_restarts())
		return 0;
	if (err)
		return done ? (ssize_t)done : io_fail(err);
	return 0;
}

/* Bytes that were recalled go first. Return: 0 when none are left, else what the call answers. */
static ssize_t send_recalled(struct sock *s, int flags, size_t done)
{
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };

	while (!span_flush(s)) {
		if (flags & MSG_DONTWAIT || sock_nonblock(s))
			return done ? (ssize_t)done : io_fail(-EAGAIN);
		if (sys(SYS_ppoll, &p, 1, 0, 0, 8) == -EINTR && !wait_restarts())
			return done ? (ssize_t)done : io_fail(-EINTR);
	}
	return 0;
}

/* A blocking send that does not fit at once is not torn by another thread's. */
static void turn_take(struct sock *s)
{
	struct timespec look = { 0, 10000000 };
	uint32_t me = thread_tid(), holder = 0;

	while (!atomic_compare_exchange_strong(&s->writer, &holder, me)) {
		if (holder == me) /* a signal handler, or a call that was jumped out of */
			return;
		if (sys(SYS_futex, &s->writer, FUTEX_WAIT_PRIVATE, holder, &look, 0, 0) ==
			    -ETIMEDOUT &&
		    sys(SYS_tkill, holder, 0) == -ESRCH)
			atomic_compare_exchange_strong(&s->writer, &holder, 0);
		holder = 0;
	}
}

static void turn_give(struct sock *s)
{
	if (atomic_load_explicit(&s->writer, memory_order_relaxed) != thread_tid())
		return;
	atomic_store(&s->writer, 0);
	sys(SYS_futex, &s->writer, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static ssize_t send_ring(struct sock *s, const struct io_req *r, int flags)
{
	struct shm_conn *c = s->conn;
	size_t total = io_total(r), done = 0;
	uint64_t deadline = io_deadline(s->row->sndtimeo_us);

	for (;;) {
		bool taken = shm_lock(&c->tx.lock, thread_tid());
		bool ring = c->tx.path == SHM_PATH_RING;
		ssize_t n = s->conn != c ? -EBADF : ring ? ring_send(s, r->iov, r->iovs, done) : 0;

		shm_unlock(&c->tx.lock, taken);
		if (n > 0) {
			send_published(s);
			done += (size_t)n;
		}
		if (done == total) {
			send_check(s);
			return (ssize_t)done;
		}
		if (n == -EPROTO) {
			span_break(s);
			return io_fail(-ECONNRESET);
		}
		if (n == -EBADF)
			return done ? (ssize_t)done : io_fail(-EBADF);
		if (c->tx.path != SHM_PATH_RING) {
			if (!done)
				return IO_MOVED_ON;
			n = send_recalled(s, flags, done);
			return n ? n : send_rest(s, r, done, flags);
		}
		send_check(s);
		n = send_wait(s, flags, done, deadline);
		if (n)
			return n;
	}
}

/* Calls that only the kernel serves, or that only it can refuse as it does. */
static bool send_is_kernel(const struct io_req *r, int flags)
{
	return flags & (MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN) ||
	       (r->msg && r->msg->msg_controllen) ||
	       (r->addr &&
		(io_bad_pointer(r->addr) || r->addr_len > sizeof(struct sockaddr_storage))) ||
	       (r->call == IO_PWRITEV2 &&
		r->flags & ~(RWF_NOWAIT | RWF_HIPRI | RWF_DSYNC | RWF_SYNC));
}

static ssize_t io_send_ring(struct sock *s, const struct io_req *r, int flags)
{
	bool blocks = !(flags & MSG_DONTWAIT) && !sock_nonblock(s);
	ssize_t n;

	if (blocks)
		turn_take(s);
	n = send_ring(s, r, flags);
	if (blocks)
		turn_give(s);
	return n;
}

static ssize_t io_send_attached(struct sock *s, const struct io_req *r)
{
	struct shm_conn *c = s->conn;
	int flags = io_flags(r);
	ssize_t n;

	for (;;) {
		if (s->broken)
			return io_fail(-ECONNRESET);
		if (unlikely(span_attention(s)))
			span_attend(s);
		if (unlikely(chaos_on()))
			chaos(s);
		if (send_is_kernel(r, flags))
			span_lower(s, flags & MSG_OOB ? REASON_URGENT : REASON_OPTION_SOCKET);
		else if (c->tx.path == SHM_PATH_KERNEL && !io_bad_memory(r->iov, r->iovs) &&
			 !c->tx.recalled)
			span_lift(s);
		if (c->tx.path == SHM_PATH_RING) {
			if (io_bad_memory(r->iov, r->iovs) || !io_total(r))
				return io_real(r);
			n = io_send_ring(s, r, flags);
		} else {
			n = c->tx.recalled ? send_recalled(s, flags, 0) : 0;
			if (n)
				return n;
			n = io_send_kernel(s, r);
		}
		if (n != IO_MOVED_ON)
			return n;
	}
}

ssize_t io_send(struct sock *s, const struct io_req *r)
{
	ssize_t n = IO_MOVED_ON;
	struct hold h;

	if (!s->row)
		return io_real(r);
	if (!s->conn)
		n = io_send_kernel(s, r);
	if (n != IO_MOVED_ON)
		return n;
	hold_begin(s, &h);
	n = sock_of(r->fd) == s ? io_send_attached(s, r) : io_real(r);
	hold_end(s, &h);
	return n;
}

/* ---- the two hot calls ---- */

/* Published; somebody is to be woken, or looked at. */
static __attribute__((noinline)) void write_pulse(struct sock *s)
{
	send_published(s);
	if (span_attention(s)) {
		sock_get(s);
		span_attend(s);
		sock_put(s);
	}
}

/* The lock, if nobody has it and the sock is what it was. */
static inline bool hot_enter(const struct sock *s, int fd, const struct shm_conn *c,
			     _Atomic uint32_t *lock)
{
	uint32_t free = 0;

	if (unlikely(!atomic_compare_exchange_strong_explicit(
		    lock, &free, thread_tid(), memory_order_acquire, memory_order_relaxed)))
		return false;
	if (likely(atomic_load_explicit(&sock_table[fd], memory_order_relaxed) == s &&
		   s->conn == c))
		return true;
	shm_unlock(lock, true);
	return false;
}

/* Nothing there, nothing announced, the kernel asked not long ago. */
static inline bool read_is_vain(const struct sock *s, const struct shm_conn *c)
{
	const struct shm_ctl *peer = s->view.ctl;

	return sock_nonblock(s) &&
	       /* neither a border nor the end */
	       shm_ring_pair(&peer->span) ==
		       atomic_load_explicit(&c->ctl.span_ack, memory_order_relaxed) &&
	       s->gen == atomic_load_explicit(&s->pulse->close_gen, memory_order_relaxed) &&
	       !s->kernel_bits && c->rx.path == SHM_PATH_RING && !c->rx.frozen &&
	       thread_cycles() - c->rx.checked < IO_CHECK_CYCLES;
}

ssize_t io_read(struct sock *s, int fd, void *buf, size_t n)
{
	struct shm_conn *c = s->conn;
	size_t got = 0;

	if (unlikely(!c || chaos_on() || !n))
		return IO_NOT_SIMPLE;
	if (atomic_load_explicit(&s->view.ctl->tail, memory_order_acquire) ==
	    atomic_load_explicit(&c->ctl.head, memory_order_relaxed)) {
		if (!read_is_vain(s, c))
			return IO_NOT_SIMPLE;
		errno = EAGAIN;
		return -1;
	}
	if (unlikely(!hot_enter(s, fd, c, &c->rx.lock)))
		return IO_NOT_SIMPLE;
	if (likely(c->rx.path == SHM_PATH_RING && !c->rx.frozen))
		got = shm_ring_get(c, &s->view, buf, n);
	shm_unlock(&c->rx.lock, true);
	if (unlikely(!got))
		return IO_NOT_SIMPLE;
	recv_consumed(s);
	return (ssize_t)got;
}

ssize_t io_write(struct sock *s, int fd, const void *buf, size_t n)
{
	struct shm_conn *c = s->conn;
	bool done = false;

	if (unlikely(!c || chaos_on() || !n) || unlikely(!hot_enter(s, fd, c, &c->tx.lock)))
		return IO_NOT_SIMPLE;
	if (likely(c->tx.path == SHM_PATH_RING &&
		   !atomic_load_explicit(&s->writer, memory_order_relaxed))) {
		done = shm_ring_put(c, buf, n);
		if (!done && shm_ring_room(c, s->view.ctl, n) >= (ssize_t)n)
			done = shm_ring_put(c, buf, n);
	}
	shm_unlock(&c->tx.lock, true);
	if (unlikely(!done))
		return IO_NOT_SIMPLE;
	s->streak = 0;
	if (unlikely(span_pulse(s)))
		write_pulse(s);
	send_check(s);
	return (ssize_t)n;
}
