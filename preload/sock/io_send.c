/* io_send.c - sending on an attached connection
 *
 * The direction is either on our ring or in the kernel; each send that finds it in the kernel tries to lift
 * it. What does not fit waits for the peer, or, where the peer has stopped reading, for the kernel's buffers.
 */
#include "preload/sock/io_hot.h"

#include "preload/real.h"
#include "preload/sock/chaos.h"
#include "preload/sock/direct.h"
#include "preload/sock/hold.h"
#include "preload/sock/io_priv.h"
#include "preload/sock/ready.h"
#include "preload/sock/span.h"
#include "preload/sock/tap.h"
#include "preload/sock/wait.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>

enum { SEND_PIECES = 64 }; /* of memory, given to the kernel in one call */

static void send_published(struct sock *s)
{
	if (unlikely(shm_peer_asleep(s->peer)))
		shm_peer_ring(s->peer, &s->view.ctl->bells);
}

ssize_t io_ring_send(struct sock *s, const struct iovec *iov, size_t total, size_t done)
{
	struct shm_conn *c = s->conn;
	size_t skip = done, sent = 0;

	for (int i = 0; done + sent < total; i++) {
		const char *at = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		if (skip >= left) {
			skip -= left;
			continue;
		}
		at += skip;
		left -= skip;
		skip = 0;
		if (left > total - done - sent)
			left = total - done - sent;
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

/*
 * In tx_busy. What has begun is not ended by a signal, and the kernel is given all pieces in one call: to a peer that is
 * gone the first that it sends is its last.
 */
static ssize_t send_pieces(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	struct iovec piece[SEND_PIECES];
	struct msghdr m = { .msg_iov = piece };
	size_t skip = done, total = 0;
	ssize_t n = 0;

	for (int i = 0; i < r->iovs;) {
		for (m.msg_iovlen = total = 0; i < r->iovs && m.msg_iovlen < SEND_PIECES; i++) {
			size_t off = skip < r->iov[i].iov_len ? skip : r->iov[i].iov_len;

			skip -= off;
			piece[m.msg_iovlen++] = (struct iovec){ (char *)r->iov[i].iov_base + off,
								r->iov[i].iov_len - off };
			total += r->iov[i].iov_len - off;
		}
		n = total ? real.sendmsg(sock_fd(s), &m, flags | (done ? MSG_NOSIGNAL : 0)) : 0;
		/* one that goes away is told once: by the next send */
		if (n < 0 && done && errno != EAGAIN && errno != EINTR && errno != EPIPE)
			SHM_WRITE(s->row->send_error, (uint8_t)errno);
		if (n < 0)
			return done ? (ssize_t)done : -1;
		atomic_fetch_add(&s->row->tx_off, (uint64_t)n);
		done += (size_t)n;
		if ((size_t)n < total)
			break;
	}
	return (ssize_t)done;
}

/*
 * The rest of a request through the kernel, after its first @done bytes went through the ring. Return: what the call
 * answers, or IO_MOVED_ON.
 */
static ssize_t send_rest(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	const struct shm_conn *c = s->conn;
	unsigned mark = hold_mark();
	ssize_t n = IO_MOVED_ON;

	if (unlikely(!hold_begin(s, &s->tx_busy)))
		return (ssize_t)done;
	/* another thread may lift it until we are counted */
	if (SHM_READ(c->tx.path) != SHM_PATH_RING && !SHM_READ(c->tx.recalled))
		n = send_pieces(s, r, done, flags);
	hold_end(mark);
	return n;
}

/*
 * The first ring is small, for connections that rest. One that is filled as often as we look here, @since cycles ago
 * for the last time, is too small: each end of it, and each time it was full, takes the longer way.
 */
static void send_often(struct sock *s, uint64_t since)
{
	struct shm_conn *c = s->conn;
	uint32_t tail = (uint32_t)atomic_load_explicit(&c->ctl.tail, memory_order_relaxed);
	uint64_t moved = tail - SHM_READ(s->tail_checked);
	bool taken;

	SHM_WRITE(s->tail_checked, tail);
	if (SHM_READ(c->tx.mask) >= UINT32_C(1) << SHM_RING_LOG2_MIN ||
	    moved < since / IO_CHECK_CYCLES << SHM_RING_LOG2_MIN)
		return;
	taken = shm_seat_take(&c->tx.seat, thread_tid());
	if (sock_conn(s) == c && SHM_READ(c->tx.path) == SHM_PATH_RING)
		shm_ring_grow(sock_arena(s), c, s->view.ctl, 2 << SHM_RING_LOG2_MIN, thread_tid());
	shm_seat_give(&c->tx.seat, taken);
}

/* A direction on its ring looks at the kernel socket now and then: a killed peer says nothing else. */
static void send_check(struct sock *s)
{
	uint64_t now = thread_cycles(), since = now - SHM_READ(s->conn->tx.checked);

	if (unlikely(since >= IO_CHECK_CYCLES)) {
		SHM_WRITE(s->conn->tx.checked, now);
		ready_ask(s, 0);
		tap_look();
		send_often(s, since);
	}
}

bool io_send_burst(struct sock *s)
{
	struct shm_conn *c = s->conn;
	bool taken = shm_seat_take(&c->tx.seat, thread_tid());
	bool ring = SHM_READ(c->tx.path) == SHM_PATH_RING, burst = ring && shm_ring_stuck(c);

	s->burst = burst;
	shm_seat_give(&c->tx.seat, taken);
	if (burst)
		span_lower(s, REASON_STALLED);
	return burst || !ring;
}

/* Nothing fits. Return: 0 to go on, else what the call answers. */
static ssize_t send_wait(struct sock *s, int flags, size_t done, uint64_t deadline,
			 struct wait_signals *sig)
{
	int err;

	if (flags & MSG_DONTWAIT || sock_nonblock(s)) {
		atomic_fetch_add(&s->full_gen, 1);
		if (io_send_burst(s) || wait_unstall(s))
			return 0;
		return done ? (ssize_t)done : io_fail(-EAGAIN);
	}
	err = wait_for(s, POLLOUT, deadline, sig);
	if (err == -EINTR && !done && !deadline && wait_restarts(sig))
		return 0;
	if (err)
		return done ? (ssize_t)done : io_fail(err);
	return 0;
}

/* Bytes that were recalled go first. Return: 0 when none are left, else what the call answers. */
static ssize_t send_recalled(struct sock *s, int flags, size_t done)
{
	struct pollfd p = { .fd = sock_fd(s), .events = POLLOUT };

	while (!span_flush(s)) {
		if (flags & MSG_DONTWAIT || sock_nonblock(s))
			return done ? (ssize_t)done : io_fail(-EAGAIN);
		if (sys(SYS_ppoll, &p, 1, 0, 0, 8) == -EINTR && (done || !wait_restarts(NULL)))
			return done ? (ssize_t)done : io_fail(-EINTR);
	}
	return 0;
}

/*
 * A blocking send is not torn by another thread's, whatever its path: the rest of one may have to go through
 * the kernel. The word holds the thread's id, and whether others wait.
 */
enum { TURN_AWAITED = 1u << 31 };

static void turn_wait(struct sock *s, uint32_t holder)
{
	struct timespec look = { 0, 10000000 };

	if (!(holder & TURN_AWAITED) &&
	    !atomic_compare_exchange_strong(&s->writer, &holder, holder | TURN_AWAITED))
		return;
	holder |= TURN_AWAITED;
	if (sys(SYS_futex, &s->writer, FUTEX_WAIT_PRIVATE, holder, &look, 0, 0) == -ETIMEDOUT &&
	    sys(SYS_tkill, holder & ~TURN_AWAITED, 0) == -ESRCH)
		atomic_compare_exchange_strong(&s->writer, &holder, 0);
}

/* Return: whether it is ours to give; not so in a signal handler, or after a jump out of a call. */
static bool turn_take(struct sock *s)
{
	uint32_t me = thread_tid(), holder = 0;

	while (!atomic_compare_exchange_strong(&s->writer, &holder, me)) {
		if ((holder & ~TURN_AWAITED) == me)
			return false;
		turn_wait(s, holder);
		me |= TURN_AWAITED; /* there may be others still */
		holder = 0;
	}
	return true;
}

static void turn_give(struct sock *s)
{
	if (atomic_exchange(&s->writer, 0) & TURN_AWAITED)
		sys(SYS_futex, &s->writer, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

void io_abandoned(struct sock *s)
{
	if ((atomic_load(&s->writer) & ~TURN_AWAITED) == thread_tid())
		turn_give(s);
}

/* @total: bytes of the request that are there */
static ssize_t ring_or_rest(struct sock *s, const struct io_req *r, size_t total, int flags,
			    struct wait_signals *sig)
{
	struct shm_conn *c = s->conn;
	size_t done = 0;
	uint64_t deadline = io_deadline(SHM_READ(s->row->sndtimeo_us));

	for (;;) {
		struct tap_mark tap = tap_mark(s);
		bool taken, ring;
		ssize_t n;

		if (unlikely(span_attention(s)))
			span_attend(s);
		thread_sits(&thread_self.tx, s);
		taken = shm_seat_take(&c->tx.seat, thread_tid());
		ring = SHM_READ(c->tx.path) == SHM_PATH_RING;
		n = sock_conn(s) != c ? -EBADF : ring ? io_ring_send(s, r->iov, total, done) : 0;
		if (unlikely(tap.ns && n > 0))
			tap_ring(s, tap, (size_t)n);

		shm_seat_give(&c->tx.seat, taken);
		if (n > 0) {
			send_published(s);
			done += (size_t)n;
		}
		if (done == total) {
			if (unlikely(span_attention(s)))
				span_attend(s);
			send_check(s);
			return (ssize_t)done;
		}
		if (n == -EPROTO) {
			span_break(s);
			return io_fail(-ECONNRESET);
		}
		if (n == -EBADF)
			return done ? (ssize_t)done : io_fail(-EBADF);
		if (SHM_READ(c->tx.path) != SHM_PATH_RING) {
			wait_signals_release(sig);
			if (!done)
				return IO_MOVED_ON;
			n = send_recalled(s, flags, done);
			n = n ? n : send_rest(s, r, done, flags);
			if (n != IO_MOVED_ON)
				return n;
			continue;
		}
		send_check(s);
		n = send_wait(s, flags, done, deadline, sig);
		if (n)
			return n;
	}
}

static ssize_t send_ring(struct sock *s, const struct io_req *r, size_t total, int flags)
{
	struct wait_signals sig = { .held = false };
	ssize_t n;

	n = ring_or_rest(s, r, total, flags, &sig);
	wait_signals_release(&sig);
	return n;
}

/* Calls that only the kernel serves, or that only it can refuse as it does. */
static bool send_is_kernel(const struct io_req *r, int flags)
{
	return flags & (MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN) ||
	       (r->msg && r->msg->msg_controllen) ||
	       (r->addr && (r->addr_len > sizeof(struct sockaddr_storage) ||
			    !mem_readable(r->addr, r->addr_len))) ||
	       (r->call == IO_PWRITEV2 &&
		r->flags & ~(RWF_NOWAIT | RWF_HIPRI | RWF_DSYNC | RWF_SYNC));
}

int io_send_told(struct sock *s, int flags)
{
	int err = 0;

	if (unlikely(SHM_READ(s->row->send_error) || sock_error_waits(s))) {
		err = __atomic_exchange_n(&s->row->send_error, 0, __ATOMIC_RELAXED);
		if (!err) /* or another thread was told just now */
			err = sock_error_take(s);
	}
	if (!err && unlikely(SHM_READ(s->kernel_bits)) && ready_reset(s))
		err = sock_reset_tell(s) ? ECONNRESET : EPIPE;
	if (err == EPIPE && !(flags & MSG_NOSIGNAL))
		sys(SYS_tgkill, sys(SYS_getpid), thread_tid(), SIGPIPE);
	return -err;
}

/* On whatever path the direction is. Return: as io_send(), or IO_MOVED_ON. */
static ssize_t send_somehow(struct sock *s, const struct io_req *r, int flags)
{
	ssize_t n;

	if (SHM_READ(s->conn->tx.path) == SHM_PATH_RING) {
		size_t there = mem_prefix(r->iov, r->iovs, SIZE_MAX, false);

		return there && !io_too_long(r->iov, r->iovs) ? send_ring(s, r, there, flags)
							      : io_real(r);
	}
	n = io_send_told(s, flags);
	if (unlikely(n))
		return io_fail((int)n);
	n = SHM_READ(s->conn->tx.recalled) ? send_recalled(s, flags, 0) : 0;
	if (n)
		return n;
	n = io_send_kernel(s, r);
	if (unlikely(n == -1) && errno == ECONNRESET)
		sock_reset_tell(s);
	return n;
}

static ssize_t io_send_attached(struct sock *s, const struct io_req *r)
{
	struct shm_conn *c = s->conn;
	int flags = io_flags(r);
	bool blocks = !(flags & MSG_DONTWAIT) && !sock_nonblock(s), turn;
	ssize_t n;

	for (;;) {
		if (SHM_READ(s->broken))
			return io_fail(-ECONNRESET);
		if (unlikely(span_attention(s)))
			span_attend(s);
		if (unlikely(chaos_on()))
			chaos(s);
		if (flags & MSG_OOB) /* the receiver's count is one byte behind from now on */
			SHM_WRITE(s->pinned, true);
		if (send_is_kernel(r, flags))
			span_lower(s, flags & MSG_OOB ? REASON_URGENT : REASON_OPTION_SOCKET);
		else if (SHM_READ(c->tx.path) == SHM_PATH_KERNEL &&
			 mem_prefix(r->iov, r->iovs, 1, false) && !SHM_READ(c->tx.recalled))
			span_lift(s);
		turn = blocks && turn_take(s);
		n = send_somehow(s, r, flags);
		if (turn)
			turn_give(s);
		if (n != IO_MOVED_ON)
			return n;
	}
}

ssize_t io_send(struct sock *s, const struct io_req *r)
{
	ssize_t n = IO_MOVED_ON;
	unsigned mark;

	thread_cancel_point();
	if (!sock_row(s)) {
		direct_soil(s); /* MSG_FASTOPEN connects */
		return io_real(r);
	}
	if (!sock_conn(s))
		n = io_send_kernel(s, r);
	if (n != IO_MOVED_ON)
		return n;
	mark = hold_mark();
	hold_begin(s, &s->users);
	n = sock_of(r->fd) == s ? io_send_attached(s, r) : io_real(r);
	hold_end(mark);
	return n;
}

/* ---- the shorter way ---- */

ssize_t io_published(struct sock *s, size_t n)
{
	struct shm_conn *c = s->conn;
	unsigned mark = hold_mark();

	/* once the seat is given back another thread's close may end the sock */
	hold_begin(s, &s->users);
	shm_seat_give(&c->tx.seat, true);
	send_published(s);
	if (span_attention(s))
		span_attend(s);
	send_check(s);
	hold_end(mark);
	return (ssize_t)n;
}

ssize_t io_write(struct sock *s, int fd, const struct iovec *iov, int iovs)
{
	struct shm_conn *c = sock_conn(s);
	size_t total = io_total_of(iov, iovs);
	uint64_t at;
	bool taken = false;

	thread_cancel_point();
	if (unlikely(!c || chaos_on() || !total || total > SHM_RING_PIECE ||
		     mem_prefix(iov, iovs, total, false) < total) ||
	    unlikely(!io_enter(s, fd, c, &c->tx.seat, &thread_self.tx)))
		return IO_COLD;
	if (likely(SHM_READ(c->tx.path) == SHM_PATH_RING &&
		   !atomic_load_explicit(&s->writer, memory_order_relaxed)))
		taken = shm_ring_reserve(c, total, &at) ||
			(shm_ring_room(c, s->view.ctl, total) >= (ssize_t)total &&
			 shm_ring_reserve(c, total, &at));
	if (unlikely(!taken)) {
		shm_seat_give(&c->tx.seat, true);
		return IO_COLD;
	}
	for (int i = 0; i < iovs; at += iov[i++].iov_len)
		shm_ring_copy_in(c, at, iov[i].iov_base, iov[i].iov_len);
	io_remember(&s->tx_window, iov->iov_base);
	shm_ring_publish(c);
	SHM_WRITE(s->streak, 0);
	if (unlikely(span_pulse(s) || thread_cycles() - SHM_READ(c->tx.checked) >= IO_CHECK_CYCLES))
		return io_published(s, total);
	shm_seat_give(&c->tx.seat, true);
	return (ssize_t)total;
}
