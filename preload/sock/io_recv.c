/* io_recv.c - receiving on an attached connection
 *
 * The direction is either on the peer's ring or in the kernel. A call takes its lock, moves what is there,
 * across borders as far as they lie behind bytes that are there, and lets go of the lock to wait.
 */
#include "preload/sock/io_hot.h"

#include "preload/sock/chaos.h"
#include "preload/sock/direct.h"
#include "preload/sock/hold.h"
#include "preload/sock/io_priv.h"
#include "preload/sock/ready.h"
#include "preload/sock/span.h"
#include "preload/sock/wait.h"

#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { PEEK_PIECES = 16 }; /* pieces of memory that need no room of their own */

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
	const uint64_t left = span_left(s, from);
	size_t got = 0;

	if (max > left)
		max = left;
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
		if (!discard && !mem_writable(piece.iov_base, piece.iov_len)) {
			piece.iov_len = mem_prefix(&piece, 1, piece.iov_len, true);
			if (!piece.iov_len)
				return got ? (ssize_t)got : -EFAULT;
		}
		if (!discard)
			memcpy(piece.iov_base, run.ptr, piece.iov_len);
		got += piece.iov_len;
	}
	return (ssize_t)got;
}

/* In rx.seat. Return: bytes, 0 when there are none, -EPROTO. */
static ssize_t ring_recv(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	struct shm_conn *c = s->conn;

	for (;;) {
		uint64_t head = atomic_load_explicit(&c->ctl.head, memory_order_relaxed);
		struct io_place at = io_place(r, done);
		const bool stops = span_left(s, head) != UINT64_MAX;
		uint64_t limit;
		ssize_t n;

		/* the next call has the short way, unless more_behind() has to look at each */
		if (!SHM_READ(s->kernel_bits) && !span_ahead(s) && sock_rcvlowat(s) <= 1 && !stops)
			shm_ring_learn(c, &s->view, head);
		n = ring_copy(s, &at, head, UINT64_MAX, flags & MSG_TRUNC);
		if (n > 0 && !shm_commit(&c->ctl.head, head, head + (uint64_t)n))
			continue;
		if (unlikely(stops))
			span_cross(s, &limit); /* nonsense is found by the next look */
		return n;
	}
}

ssize_t io_kernel_safe(struct sock *s)
{
	const bool ring = SHM_READ(s->conn->rx.path) == SHM_PATH_RING;
	uint64_t limit;
	ssize_t n;

	if (unlikely(chaos_on()))
		chaos_linger();
	n = sys(SYS_recvfrom, sock_fd(s), 0, INT_MAX, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT, 0, 0);
	if (n == -EAGAIN || (n <= 0 && ring))
		return n;
	if (span_cross(s, &limit) < 0)
		return -EPROTO;
	/* the end and an error, too: the peer may have lifted, written and closed since the path was looked at */
	if (SHM_READ(s->conn->rx.path) != SHM_PATH_KERNEL) {
		if (n < 0)
			sock_error_keep(s, (int)-n); /* the kernel tells it once */
		return -ESTALE;
	}
	return n >= 0 && limit < (uint64_t)n ? (ssize_t)limit : n;
}

/*
 * All pieces of memory in one call, at most @max bytes: a second one would see the same bytes again. If @behind is set,
 * what lies behind these goes there.
 */
static ssize_t kernel_peek(struct sock *s, struct io_place *at, int flags, uint64_t max,
			   struct io_place *behind)
{
	const int most = at->left + (behind ? behind->left : 0);
	const size_t bytes = (size_t)most * sizeof(struct iovec);
	struct iovec few[PEEK_PIECES], *piece = few;
	struct msghdr m = { 0 };
	ssize_t n;

	if (most > PEEK_PIECES) {
		long addr = sys(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (addr < 0 && addr > -4096)
			return addr;
		piece = (struct iovec *)addr;
	}
	m.msg_iov = piece;
	for (; max && io_piece(at, max, &piece[m.msg_iovlen]); m.msg_iovlen++)
		max -= piece[m.msg_iovlen].iov_len;
	while (behind && io_piece(behind, SIZE_MAX, &piece[m.msg_iovlen]))
		m.msg_iovlen++;
	n = sys(SYS_recvmsg, sock_fd(s), &m, flags);
	if (piece != few)
		sys(SYS_munmap, piece, bytes);
	return n;
}

/* The kernel part: never waits, never reads past a border, is no cancellation point. Return: as recv, -errno. */
static ssize_t kernel_recv(struct sock *s, const struct io_req *r, size_t done, int flags,
			   uint64_t limit)
{
	struct io_place at = io_place(r, done);
	struct iovec piece = { 0 };
	ssize_t n;

	flags = (flags & ~MSG_WAITALL) | MSG_DONTWAIT;
	if (flags & MSG_PEEK)
		return kernel_peek(s, &at, flags, limit, NULL);
	if (limit == UINT64_MAX) {
		n = io_kernel_safe(s);
		if (n <= 0)
			return n;
		limit = (uint64_t)n;
	}
	io_piece(&at, limit < SSIZE_MAX ? (size_t)limit : SSIZE_MAX, &piece);
	n = sys(SYS_recvfrom, sock_fd(s), piece.iov_base, piece.iov_len, flags, 0, 0);
	if (n > 0)
		atomic_fetch_add(&s->row->rx_off, (uint64_t)n);
	return n;
}

/*
 * An error that the kernel has told already is said now. A peer that was killed with bytes of ours unread makes the kernel's TCP
 * answer with a reset: say so, once.
 */
static ssize_t end_of_stream(struct sock *s, ssize_t n)
{
	if (!n && unlikely(sock_error_waits(s)))
		n = -sock_error_take(s);
	if (n == -ECONNRESET)
		sock_reset_tell(s);
	if (n || sock_reset_told(s) || !ready_reset(s) || !sock_reset_tell(s))
		return n;
	return -ECONNRESET;
}

/* The kernel knows whether the ring will ever hold more. In rx.seat. */
static ssize_t ring_end(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	if (!(SHM_READ(s->kernel_bits) & POLLRDHUP))
		ready_ask(s, POLLIN);
	if (!SHM_READ(s->kernel_bits) || shm_ring_unread(s->conn, s->view.ctl) || span_ahead(s))
		return -EAGAIN;
	return end_of_stream(s, kernel_recv(s, r, done, flags, UINT64_MAX));
}

static bool end_is_near(struct sock *s)
{
	uint32_t now = thread_cycles_low();

	if (SHM_READ(s->kernel_bits) ||
	    atomic_load_explicit(&s->view.ctl->flags_tx, memory_order_relaxed) & SHM_TX_FIN)
		return true;
	if (now - SHM_READ(s->conn->ctl.checked) < IO_CHECK_CYCLES)
		return false;
	SHM_WRITE(s->conn->ctl.checked, now);
	return true;
}

/*
 * The peer has lifted and lowered since: @here bytes and what is behind the ring's lie in the kernel one after the
 * other, so one look has to see both. Return: as recv, or -EAGAIN; IO_COLD: there is no such ring.
 */
static ssize_t peek_round(struct sock *s, const struct io_req *r, int flags, uint64_t here)
{
	const struct shm_ctl *peer = s->view.ctl;
	uint32_t span = atomic_load_explicit(&peer->span, memory_order_acquire);
	uint64_t lift = atomic_load_explicit(&peer->lift, memory_order_relaxed);
	uint64_t ring = atomic_load_explicit(&peer->lower, memory_order_relaxed) - lift;
	struct io_place at = io_place(r, 0), behind, middle = io_place(r, here);
	ssize_t n, more;

	if (span - atomic_load_explicit(&s->conn->ctl.span_ack, memory_order_relaxed) != 2 ||
	    ring > INT_MAX)
		return IO_COLD;
	behind = io_place(r, here + ring);
	n = kernel_peek(s, &at, (flags & ~MSG_WAITALL) | MSG_DONTWAIT, here, &behind);
	if (n < (ssize_t)here)
		return n;
	more = ring_copy(s, &middle, lift, ring, flags & MSG_TRUNC);
	if (more < (ssize_t)ring)
		return (ssize_t)here + (more > 0 ? more : 0);
	return n + more;
}

/* MSG_PEEK sees over a border: bytes on both sides of it lie in the socket, as far as the program knows. */
static ssize_t peek(struct sock *s, const struct io_req *r, int flags, uint64_t limit)
{
	struct shm_conn *c = s->conn;
	struct io_place at = io_place(r, 0);
	bool ring = SHM_READ(c->rx.path) == SHM_PATH_RING;
	uint64_t here = ring ? c->ctl.head : atomic_load(&s->row->rx_off);
	ssize_t n = IO_COLD, more = 0;

	if (!ring && limit != UINT64_MAX)
		n = peek_round(s, r, flags, limit);
	if (n != IO_COLD)
		return n;
	if (ring)
		n = ring_copy(s, &at, here, limit, flags & MSG_TRUNC);
	else
		n = kernel_recv(s, r, 0, flags, limit);
	/* as in io_kernel_safe() */
	if (!ring && n != -EAGAIN && limit == UINT64_MAX && span_ahead(s)) {
		uint64_t border = atomic_load(&s->view.ctl->lift);

		if (n < 0 && n != -EFAULT)
			sock_error_keep(s, (int)-n);
		if (n <= 0)
			return -ESTALE;
		if (border - here <= (uint64_t)n) {
			limit = border - here;
			n = (ssize_t)limit;
		}
	}
	if (n < 0 || (n == 0 && limit) || (uint64_t)n < limit)
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

	if (SHM_READ(s->broken))
		return -ECONNRESET;
	for (;;) {
		/* first: what thaws is behind the peer's last border */
		const bool frozen = span_frozen(s);

		if (span_cross(s, &limit) < 0)
			return -EPROTO;
		if (frozen && SHM_READ(c->rx.path) == SHM_PATH_RING)
			return -EAGAIN;
		if (flags & MSG_PEEK)
			n = peek(s, r, flags, limit);
		else if (SHM_READ(c->rx.path) == SHM_PATH_KERNEL)
			n = end_of_stream(s, kernel_recv(s, r, done, flags, limit));
		else
			n = ring_recv(s, r, done, flags);
		if (n == -ESTALE) /* crossed meanwhile */
			continue;
		if (n || SHM_READ(c->rx.path) == SHM_PATH_KERNEL)
			return n;
		if (span_ahead(s))
			continue;
		return end_is_near(s) ? ring_end(s, r, done, flags) : -EAGAIN;
	}
}

static void recv_consumed(struct sock *s)
{
	if (io_space_wanted(s) && shm_peer_asleep(s->peer))
		shm_peer_ring(s->peer, &s->view.ctl->bells);
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
static ssize_t recv_wait(struct sock *s, int flags, size_t done, uint64_t deadline,
			 struct wait_signals *sig)
{
	int err;

	if (flags & MSG_DONTWAIT || sock_nonblock(s))
		return done ? (ssize_t)done : io_fail(-EAGAIN);
	SHM_WRITE(s->streak, SHM_READ(s->streak) + 1);
	err = wait_for(s, POLLIN, deadline, sig);
	if (err == -EINTR && !done && !deadline && wait_restarts(sig))
		return 0;
	if (err)
		return done ? (ssize_t)done : io_fail(err);
	return 0;
}

/* recv(fd, buf, 0, 0): waits until there is something, and takes nothing. Read(fd, buf, 0) does not wait. */
static ssize_t recv_nothing(struct sock *s, const struct io_req *r, int flags, uint64_t deadline,
			    struct wait_signals *sig)
{
	if (!io_is_message(r->call))
		return 0;
	while (!ready_bytes(s) && !(ready_now(s, POLLIN) & (POLLIN | POLLHUP | POLLERR))) {
		ssize_t n = recv_wait(s, flags, 0, deadline, sig);

		if (n)
			return n;
	}
	recv_answer(r);
	return 0;
}

/* Calls that run in the kernel alone, on a connection whose other calls do not. */
static bool recv_is_kernel(const struct sock *s, const struct io_req *r, int flags)
{
	return flags & (MSG_OOB | MSG_ERRQUEUE) || SHM_READ(s->conn->rx.direct) ||
	       (r->call == IO_PREADV2 && r->flags & ~(RWF_NOWAIT | RWF_HIPRI)) ||
	       io_too_long(r->iov, r->iovs);
}

/*
 * Whether bytes lie behind those that were just read: over a border, in the next ring, in the next piece of memory.
 * A receive that fills less than its buffer says that there is nothing more, and programs rely on it: with edges
 * (epoll(7)), and after a hang-up (libuv). A look only, as an error must stay for the next call.
 */
static bool more_behind(struct sock *s, const struct io_req *r, bool ring)
{
	struct shm_conn *c = s->conn;
	uint64_t limit;
	bool taken, more;
	int kernel = 0;

	if (!span_ahead(s) && !SHM_READ(s->kernel_bits) && (ring || r->iovs == 1))
		return false;
	taken = shm_seat_take(&c->rx.seat, thread_tid());
	if (span_cross(s, &limit) < 0) /* the next look says so */
		more = true;
	else if (SHM_READ(c->rx.path) == SHM_PATH_RING)
		more = shm_ring_unread(c, s->view.ctl);
	else
		more = sys(SYS_ioctl, sock_fd(s), SIOCINQ, &kernel) == 0 && kernel;
	shm_seat_give(&c->rx.seat, taken);
	return more;
}

/* Whether the peer has answered a recall: all that comes is the kernel's, with what only it knows of the socket. */
static bool recv_recalled(struct sock *s)
{
	struct shm_seat *seat = &s->conn->rx.seat;
	bool taken;
	uint64_t limit;

	if (likely(!SHM_READ(s->conn->rx.frozen)))
		return false;
	taken = shm_seat_take(seat, thread_tid());
	span_cross(s, &limit); /* nonsense is found by the next look */
	shm_seat_give(seat, taken);
	return SHM_READ(s->conn->rx.direct);
}

static ssize_t recv_attached(struct sock *s, const struct io_req *r, struct wait_signals *sig)
{
	struct shm_conn *c = s->conn;
	int flags = io_flags(r);
	size_t total = io_total(r), done = 0;
	size_t low = flags & MSG_WAITALL ? total : sock_rcvlowat(s);
	uint64_t deadline = io_deadline(SHM_READ(s->row->rcvtimeo_us));
	bool more = false; /* there may be bytes behind a border */

	if (recv_is_kernel(s, r, flags))
		return io_real(r);
	if (!total)
		return recv_nothing(s, r, flags, deadline, sig);
	if (unlikely(chaos_on()))
		chaos(s);
	for (;;) {
		bool taken, ring;
		ssize_t n;

		if (unlikely(recv_recalled(s)) && !done) {
			wait_signals_release(sig);
			return io_real(r);
		}
		thread_sits(&thread_self.rx, s);
		taken = shm_seat_take(&c->rx.seat, thread_tid());
		n = sock_conn(s) == c ? recv_once(s, r, done, flags) : -EBADF;
		ring = SHM_READ(c->rx.path) == SHM_PATH_RING;
		shm_seat_give(&c->rx.seat, taken);
		if (unlikely(span_attention(s)))
			span_attend(s);
		if (n > 0) {
			recv_consumed(s);
			done = flags & MSG_PEEK ? (size_t)n : done + (size_t)n;
			if (done == (size_t)n)
				recv_answer(r);
			more = done < total && !(flags & MSG_PEEK) && more_behind(s, r, ring);
			if (done == total || (done >= low && !more))
				return (ssize_t)done;
			if (!(flags & MSG_PEEK))
				continue;
			n = -EAGAIN;
		}
		if (n == 0 || (done >= low && done && more)) {
			recv_answer(r); /* the end of the stream is an answer like any other */
			return (ssize_t)done;
		}
		if (n == -EPROTO) {
			span_break(s);
			n = -ECONNRESET;
		}
		if (n == -EAGAIN && !done && unlikely(sock_error_waits(s)))
			n = -sock_error_take(s);
		if (n == 0)
			continue; /* another thread was told */
		if (n != -EAGAIN && n != -EINTR) {
			if (done && n != -EFAULT && n != -EBADF) /* the next call tells it */
				sock_error_keep(s, (int)-n);
			return done ? (ssize_t)done : io_fail((int)n);
		}
		if (SHM_READ(c->rx.direct)) {
			wait_signals_release(sig);
			return done ? (ssize_t)done : io_real(r);
		}
		n = recv_wait(s, flags, done, deadline, sig);
		if (n)
			return n;
	}
}

static ssize_t io_recv_attached(struct sock *s, const struct io_req *r)
{
	struct wait_signals sig = { .held = false };
	ssize_t n;

	n = recv_attached(s, r, &sig);
	wait_signals_release(&sig);
	return n;
}

ssize_t io_recv(struct sock *s, const struct io_req *r)
{
	unsigned mark;
	ssize_t n;

	thread_cancel_point();
	if (!sock_row(s))
		return io_real(r);
	while (!sock_conn(s)) {
		n = io_recv_kernel(s, r);
		if (n != IO_MOVED_ON)
			return n;
	}
	mark = hold_mark();
	hold_begin(s, &s->users);
	n = sock_of(r->fd) == s ? io_recv_attached(s, r) : io_real(r);
	hold_end(mark);
	return n;
}

void io_error_keep(struct sock *s, int err)
{
	unsigned mark;

	if (direct_has(s)) {
		direct_error_keep(s, err);
		return;
	}
	mark = hold_mark();
	hold_begin(s, &s->users);
	if (sock_conn(s)) {
		sock_error_keep(s, err);
		sock_stir(s);
		span_lower(s, REASON_LIFTED); /* the next send is the kernel's, or is told */
	}
	hold_end(mark);
}

/* ---- the shorter way ---- */

intptr_t io_errno_at;

/* Nothing there, nothing announced, the kernel asked not long ago. */
static bool is_quiet(const struct sock *s, const struct shm_conn *c)
{
	const struct shm_ctl *peer = s->view.ctl;
	const struct stats_row *row = s->row;

	/* another thread's close may have taken the row: nobody is held here */
	return row && atomic_load_explicit(&row->flags, memory_order_relaxed) & STATS_NONBLOCK &&
	       /* neither a border nor the end */
	       shm_ring_pair(&peer->span) ==
		       atomic_load_explicit(&c->ctl.span_ack, memory_order_relaxed) &&
	       !span_attention(s) && !SHM_READ(s->kernel_bits) &&
	       SHM_READ(c->rx.path) == SHM_PATH_RING && !SHM_READ(c->rx.frozen) &&
	       !sock_error_waits(s) &&
	       thread_cycles_low() - SHM_READ(c->ctl.checked) < IO_CHECK_CYCLES;
}

/* Until the peer says something, or it is time to ask the kernel, io_hot_read() knows the answer by itself. */
static void quiet_begin(struct sock *s, const struct shm_conn *c, uint64_t tail)
{
	const struct stats_row *row = s->row;

	/* another process may change O_NONBLOCK */
	if (!row || atomic_load(&row->refs) != 1 || atomic_load(&thread_cancels))
		return;
	io_errno_at = (char *)&errno - (char *)__builtin_thread_pointer();
	SHM_WRITE(s->quiet_from, SHM_READ(c->ctl.checked));
	atomic_store(&s->quiet_tail, tail);
	atomic_store(&s->quiet_pair, c->ctl.span_ack); /* a full fence; pairs with sock_stir() */
	if (!is_quiet(s, c) || atomic_load(&row->refs) != 1 || atomic_load(&thread_cancels))
		sock_stir(s);
}

ssize_t io_consumed(struct sock *s, size_t n)
{
	struct shm_conn *c = s->conn;
	unsigned mark = hold_mark();

	/* once the seat is given back another thread's close may end the sock */
	hold_begin(s, &s->users);
	shm_seat_give(&c->rx.seat, true);
	recv_consumed(s);
	hold_end(mark);
	return (ssize_t)n;
}

ssize_t io_read(struct sock *s, int fd, const struct iovec *iov, int iovs)
{
	struct shm_conn *c = sock_conn(s);
	uint64_t head, tail;
	size_t n, done = 0;

	thread_cancel_point();
	if (unlikely(!c || chaos_on() || !io_total_of(iov, iovs) || io_too_long(iov, iovs)))
		return IO_COLD;
	tail = atomic_load_explicit(&s->view.ctl->tail, memory_order_acquire);
	if (tail == atomic_load_explicit(&c->ctl.head, memory_order_relaxed)) {
		if (!is_quiet(s, c))
			return IO_COLD;
		quiet_begin(s, c, tail);
		errno = EAGAIN;
		return -1;
	}
	if (unlikely(!io_enter(s, fd, c, &c->rx.seat, &thread_self.rx)))
		return IO_COLD;
	n = shm_ring_known(c, &s->view, &head);
	for (int i = 0; i < iovs && done < n; i++) {
		size_t piece = iov[i].iov_len < n - done ? iov[i].iov_len : n - done;

		if (unlikely(!mem_writable(iov[i].iov_base, piece)))
			break;
		shm_ring_copy_out(c, head + done, iov[i].iov_base, piece);
		done += piece;
	}
	if (done)
		io_remember(&s->rx_window, iov->iov_base);
	if (unlikely(!done || !shm_commit(&c->ctl.head, head, head + done))) {
		shm_seat_give(&c->rx.seat, true);
		return IO_COLD;
	}
	if (unlikely(io_space_wanted(s)))
		return io_consumed(s, done);
	shm_seat_give(&c->rx.seat, true);
	return (ssize_t)done;
}
