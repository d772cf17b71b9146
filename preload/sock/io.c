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
#include <poll.h>
#include <string.h>

enum {
	IO_CHECK_CYCLES = 1 << 21, /* how often a busy direction looks at the kernel socket: under 1 ms */
	IO_MOVED_ON = -4096,       /* the direction has changed its path: begin again */
};

/* Addresses that no program has mapped: the kernel answers EFAULT for them, and so must we. */
static bool io_bad_memory(const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		uintptr_t at = (uintptr_t)iov[i].iov_base;

		if (iov[i].iov_len && (at < 4096 || at >> 47 || iov[i].iov_len > SSIZE_MAX))
			return true;
	}
	return false;
}

static ssize_t io_real(const struct io_req *r, int extra)
{
	switch (r->call) {
	case IO_READ:
		if (extra)
			return real.recv(r->fd, r->iov->iov_base, r->iov->iov_len, extra);
		return real.read(r->fd, r->iov->iov_base, r->iov->iov_len);
	case IO_READV:
	case IO_PREADV2:
		if (extra) {
			struct msghdr mh = {.msg_iov = (struct iovec *)r->iov, .msg_iovlen = (size_t)r->iovs};

			return real.recvmsg(r->fd, &mh, extra);
		}
		return r->call == IO_READV ? real.readv(r->fd, r->iov, r->iovs)
					   : real.preadv64v2(r->fd, r->iov, r->iovs, r->off, r->flags);
	case IO_RECV:
		return real.recv(r->fd, r->iov->iov_base, r->iov->iov_len, r->flags | extra);
	case IO_RECVFROM:
		return real.recvfrom(r->fd, r->iov->iov_base, r->iov->iov_len, r->flags | extra, r->addr,
				     r->addr_len_out);
	case IO_RECVMSG:
		return real.recvmsg(r->fd, r->msg, r->flags | extra);
	case IO_WRITE:
		return real.write(r->fd, r->iov->iov_base, r->iov->iov_len);
	case IO_WRITEV:
		return real.writev(r->fd, r->iov, r->iovs);
	case IO_PWRITEV2:
		return real.pwritev64v2(r->fd, r->iov, r->iovs, r->off, r->flags);
	case IO_SEND:
		return real.send(r->fd, r->iov->iov_base, r->iov->iov_len, r->flags);
	case IO_SENDTO:
		return real.sendto(r->fd, r->iov->iov_base, r->iov->iov_len, r->flags, r->addr, r->addr_len);
	case IO_SENDMSG:
		return real.sendmsg(r->fd, r->msg, r->flags);
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

/* ---- not attached ---- */

static void io_kernel_leave(struct sock *s, _Atomic uint32_t *busy)
{
	int saved = errno;

	atomic_fetch_sub(busy, 1);
	if (unlikely(++s->row->ops >= s->next_try))
		lift_step(s);
	errno = saved;
}

static ssize_t io_recv_kernel(struct sock *s, const struct io_req *r)
{
	struct stats_row *row = s->row;
	ssize_t n;

	if (s->stage == SOCK_SETTLED) {
		n = io_real(r, 0);
		if (n > 0 && !(io_flags(r) & (MSG_PEEK | MSG_ERRQUEUE)))
			atomic_store_explicit(&row->rx_off, row->rx_off + (uint64_t)n, memory_order_relaxed);
		return n;
	}
	atomic_fetch_add(&row->rx_busy, 1); /* pairs with attach() */
	if (atomic_load(&row->flags) & STATS_ATTACHED) {
		atomic_fetch_sub(&row->rx_busy, 1);
		return IO_MOVED_ON;
	}
	n = io_real(r, 0);
	if (n > 0 && !(io_flags(r) & (MSG_PEEK | MSG_ERRQUEUE)))
		atomic_fetch_add(&row->rx_off, (uint64_t)n);
	io_kernel_leave(s, &row->rx_busy);
	return n;
}

static ssize_t io_send_kernel(struct sock *s, const struct io_req *r)
{
	struct stats_row *row = s->row;
	ssize_t n;

	if (s->stage == SOCK_SETTLED) {
		n = io_real(r, 0);
		if (n > 0)
			atomic_store_explicit(&row->tx_off, row->tx_off + (uint64_t)n, memory_order_relaxed);
		return n;
	}
	atomic_fetch_add(&row->tx_busy, 1); /* pairs with tx_claim() */
	if (s->conn && (s->conn->tx.path == SHM_PATH_RING || s->conn->tx.recalled)) {
		atomic_fetch_sub(&row->tx_busy, 1);
		return IO_MOVED_ON;
	}
	n = io_real(r, 0);
	if (n > 0)
		atomic_fetch_add(&row->tx_off, (uint64_t)n);
	io_kernel_leave(s, &row->tx_busy);
	return n;
}

/* ---- receiving on an attached connection ---- */

/* Up to @len bytes of the ring into the request, @done of which are filled. Under rx.lock. */
static ssize_t ring_recv(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	struct shm_conn *c = s->conn;
	uint64_t peek = atomic_load_explicit(&c->ctl.head, memory_order_relaxed);
	size_t skip = done, got = 0;

	for (int i = 0; i < r->iovs; i++) {
		char *at = r->iov[i].iov_base;
		size_t left = r->iov[i].iov_len;

		if (skip >= left) {
			skip -= left;
			continue;
		}
		at += skip;
		left -= skip;
		skip = 0;
		while (left) {
			struct shm_run run;
			int found;

			if (!(flags & (MSG_PEEK | MSG_TRUNC))) {
				ssize_t n = shm_ring_read(c, &s->view, at, left);

				if (n < 0)
					return got ? (ssize_t)got : n;
				if (n == 0)
					return (ssize_t)got;
				got += (size_t)n;
				at += n;
				left -= (size_t)n;
				continue;
			}
			found = shm_ring_peek(&s->view, peek, &run);
			if (found <= 0)
				return got || !found ? (ssize_t)got : found;
			if (run.len > left)
				run.len = left;
			if (!(flags & MSG_TRUNC)) /* tcp(7): MSG_TRUNC discards */
				memcpy(at, run.ptr, run.len);
			peek += run.len;
			if (!(flags & MSG_PEEK))
				atomic_store_explicit(&c->ctl.head, peek, memory_order_release);
			got += run.len;
			at += run.len;
			left -= run.len;
		}
	}
	return (ssize_t)got;
}

/* The kernel part: never waits, never reads past a border. Under rx.lock. Return: as recv, -errno. */
static ssize_t kernel_recv(struct sock *s, const struct io_req *r, size_t done, int flags, uint64_t limit)
{
	size_t skip = done;
	ssize_t n;

	if (!done && limit == UINT64_MAX) {
		n = io_real(r, MSG_DONTWAIT);
	} else {
		int i = 0;
		size_t len;

		while (i < r->iovs && skip >= r->iov[i].iov_len)
			skip -= r->iov[i++].iov_len;
		if (i == r->iovs)
			return 0;
		len = r->iov[i].iov_len - skip;
		if (len > limit)
			len = (size_t)limit;
		n = real.recv(r->fd, (char *)r->iov[i].iov_base + skip, len,
			      (flags & ~MSG_WAITALL) | MSG_DONTWAIT);
	}
	if (n < 0)
		return -errno;
	if (!(flags & (MSG_PEEK | MSG_ERRQUEUE)))
		atomic_fetch_add(&s->row->rx_off, (uint64_t)n);
	return n;
}

/* The kernel knows whether the ring will ever hold more. Under rx.lock. */
static ssize_t ring_end(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	if (!(s->kernel_bits & POLLRDHUP))
		ready_ask(s, POLLIN);
	if (!s->kernel_bits || shm_ring_unread(s->conn, s->view.ctl) || span_ahead(s))
		return -EAGAIN;
	return kernel_recv(s, r, done, flags, UINT64_MAX); /* end of file, or the error */
}

static bool end_is_near(struct sock *s)
{
	uint64_t now = thread_cycles();

	if (s->kernel_bits || atomic_load_explicit(&s->view.ctl->flags_tx, memory_order_relaxed) & SHM_TX_FIN)
		return true;
	if (now - s->conn->rx.checked < IO_CHECK_CYCLES)
		return false;
	s->conn->rx.checked = now;
	return true;
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
		if (c->rx.path == SHM_PATH_KERNEL)
			return kernel_recv(s, r, done, flags, limit);
		n = ring_recv(s, r, done, flags);
		if (n)
			return n;
		if (span_ahead(s))
			continue;
		return end_is_near(s) ? ring_end(s, r, done, flags) : -EAGAIN;
	}
}

static void recv_consumed(struct sock *s)
{
	if (unlikely(atomic_load_explicit(&s->view.ctl->flags_tx, memory_order_relaxed) & SHM_TX_WANT_SPACE) &&
	    shm_peer_asleep(s->peer))
		shm_peer_ring(s->peer, atomic_load_explicit(&s->view.ctl->bells, memory_order_relaxed));
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
	err = wait_for(s, POLLIN, deadline);
	if (err == -EINTR && !deadline && wait_restarts())
		return 0;
	if (err)
		return done ? (ssize_t)done : io_fail(err);
	return 0;
}

static ssize_t io_recv_attached(struct sock *s, const struct io_req *r)
{
	struct shm_conn *c = s->conn;
	int flags = io_flags(r);
	size_t total = io_total(r), done = 0;
	uint64_t deadline = io_deadline(s->row->rcvtimeo_us);

	if (flags & (MSG_OOB | MSG_ERRQUEUE) || io_bad_memory(r->iov, r->iovs) || !total)
		return io_real(r, 0);
	if (unlikely(chaos_on()))
		chaos(s);
	for (;;) {
		bool taken = shm_lock(&c->rx.lock, thread_tid());
		ssize_t n = sock_of(r->fd) == s ? recv_once(s, r, done, flags) : -EBADF;

		shm_unlock(&c->rx.lock, taken);
		if (unlikely(span_attention(s)))
			span_attend(s);
		if (n > 0) {
			recv_consumed(s);
			done += (size_t)n;
			if (done == total || !(flags & MSG_WAITALL) || flags & MSG_PEEK)
				break;
			continue;
		}
		if (n == 0)
			break;
		if (n == -EPROTO) {
			span_break(s);
			n = -ECONNRESET;
		}
		if (n != -EAGAIN && n != -EINTR)
			return done ? (ssize_t)done : io_fail((int)n);
		n = recv_wait(s, flags, done, deadline);
		if (n)
			return n;
	}
	recv_answer(r);
	return (ssize_t)done;
}

ssize_t io_recv(struct sock *s, const struct io_req *r)
{
	ssize_t n;

	if (!s->row)
		return io_real(r, 0);
	if (!s->conn) {
		n = io_recv_kernel(s, r);
		if (n != IO_MOVED_ON)
			return n;
		while (!s->conn) /* attach() is about to set it */
			sys(SYS_sched_yield);
	}
	sock_get(s);
	n = io_recv_attached(s, r);
	sock_put(s);
	return n;
}

/* ---- sending on an attached connection ---- */

static void send_published(struct sock *s)
{
	if (unlikely(shm_peer_asleep(s->peer)))
		shm_peer_ring(s->peer, atomic_load_explicit(&s->view.ctl->bells, memory_order_relaxed));
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

			if (n == 0 && shm_ring_grow(sock_arena(s), c, s->view.ctl, left, thread_tid()))
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
		n = real.send(r->fd, (const char *)r->iov[i].iov_base + skip, r->iov[i].iov_len - skip, flags);
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
	struct pollfd p = {.fd = s->fd, .events = POLLOUT};

	while (!span_flush(s)) {
		if (flags & MSG_DONTWAIT || sock_nonblock(s))
			return done ? (ssize_t)done : io_fail(-EAGAIN);
		if (sys(SYS_ppoll, &p, 1, 0, 0, 8) == -EINTR && !wait_restarts())
			return done ? (ssize_t)done : io_fail(-EINTR);
	}
	return 0;
}

static ssize_t io_send_ring(struct sock *s, const struct io_req *r, int flags)
{
	struct shm_conn *c = s->conn;
	size_t total = io_total(r), done = 0;
	uint64_t deadline = io_deadline(s->row->sndtimeo_us);

	for (;;) {
		bool taken = shm_lock(&c->tx.lock, thread_tid());
		bool ring = c->tx.path == SHM_PATH_RING;
		ssize_t n = sock_of(r->fd) != s ? -EBADF : ring ? ring_send(s, r->iov, r->iovs, done) : 0;

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
		if (flags & (MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN) || (r->msg && r->msg->msg_controllen))
			span_lower(s, flags & MSG_OOB ? REASON_URGENT : REASON_OPTION_SOCKET);
		else if (c->tx.path == SHM_PATH_KERNEL && !io_bad_memory(r->iov, r->iovs) && !c->tx.recalled)
			span_lift(s);
		if (c->tx.path == SHM_PATH_RING) {
			if (io_bad_memory(r->iov, r->iovs) || !io_total(r))
				return io_real(r, 0);
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

	if (!s->row)
		return io_real(r, 0);
	if (!s->conn)
		n = io_send_kernel(s, r);
	if (n != IO_MOVED_ON)
		return n;
	sock_get(s);
	n = io_send_attached(s, r);
	sock_put(s);
	return n;
}

/* ---- the two hot calls ---- */

ssize_t io_read(struct sock *s, int fd, void *buf, size_t n, int flags, enum io_call call)
{
	struct shm_conn *c = s->conn;

	if (likely(c && c->rx.path == SHM_PATH_RING && !flags && n && !chaos_on())) {
		bool taken = shm_lock(&c->rx.lock, thread_tid());
		ssize_t got = 0;

		if (likely(sock_of(fd) == s && s->conn == c && c->rx.path == SHM_PATH_RING && !c->rx.frozen))
			got = shm_ring_read(c, &s->view, buf, n);
		if (unlikely(got > 0 && (size_t)got < n)) { /* the ring wraps, or changes */
			ssize_t more = shm_ring_read(c, &s->view, (char *)buf + got, n - (size_t)got);

			got += more > 0 ? more : 0;
		}
		shm_unlock(&c->rx.lock, taken);
		if (likely(got > 0)) {
			recv_consumed(s);
			return got;
		}
		if (got == 0 && sock_nonblock(s) && !span_ahead(s) && !span_attention(s) && !end_is_near(s)) {
			errno = EAGAIN;
			return -1;
		}
	}
	return io_recv(s, &(struct io_req){.fd = fd,
					   .call = call,
					   .flags = flags,
					   .iov = &(struct iovec){buf, n},
					   .iovs = 1});
}

ssize_t io_write(struct sock *s, int fd, const void *buf, size_t n, int flags, enum io_call call)
{
	struct shm_conn *c = s->conn;

	if (likely(c && c->tx.path == SHM_PATH_RING && !(flags & ~(MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE)) &&
		   n && !span_attention(s) && !chaos_on())) {
		bool taken = shm_lock(&c->tx.lock, thread_tid());
		ssize_t sent = 0;

		if (likely(sock_of(fd) == s && s->conn == c && c->tx.path == SHM_PATH_RING &&
			   shm_ring_room(c, s->view.ctl, n) >= (ssize_t)n))
			sent = shm_ring_write(c, s->view.ctl, buf, n);
		shm_unlock(&c->tx.lock, taken);
		if (likely(sent == (ssize_t)n)) {
			send_published(s);
			send_check(s);
			return sent;
		}
		if (sent > 0) { /* a large one goes out in pieces */
			send_published(s);
			n -= (size_t)sent;
			ssize_t more = io_send(s, &(struct io_req){.fd = fd,
								   .call = call,
								   .flags = flags,
								   .iov = &(struct iovec){(char *)buf + sent, n},
								   .iovs = 1});
			return more > 0 ? sent + more : sent;
		}
	}
	return io_send(s, &(struct io_req){.fd = fd,
					   .call = call,
					   .flags = flags,
					   .iov = &(struct iovec){(void *)buf, n},
					   .iovs = 1});
}
