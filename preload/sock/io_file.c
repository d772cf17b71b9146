/* io_file.c - sendfile and splice on a followed connection
 *
 * sendfile() reads the file into a buffer of the thread's, which stays in its cache, and copies on from there: a read
 * straight into the ring would leave the bytes in this core's cache for the peer's to fetch (shm_copy.h), and
 * keep the direction's seat while the file is read. splice() out of the ring writes to the pipe from it; into a
 * socket it takes the kernel path, where pages move without a copy.
 */
#include "preload/sock/io.h"

#include "preload/real.h"
#include "preload/sock/direct.h"
#include "preload/sock/hold.h"
#include "preload/sock/io_priv.h"
#include "preload/sock/span.h"
#include "preload/sock/tap.h"
#include "preload/sock/wait.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

enum {
	FILE_KERNEL = -4097
}; /* no file that can be read here: the kernel is to say so, or to send it */

static ssize_t file_fail(long err)
{
	errno = (int)-err;
	return -1;
}

/* A call that only the kernel serves, counted so that a later lift knows the offset. */
static ssize_t counted(struct sock *s, ssize_t n, _Atomic uint64_t *off, unsigned mark)
{
	if (n > 0)
		atomic_fetch_add(off, (uint64_t)n);
	io_kernel_leave(s, mark);
	return n;
}

/* Whether what is sent now must not go to the kernel. */
static bool sends_elsewhere(const struct sock *s)
{
	const struct shm_conn *c = sock_conn(s);

	return c && (SHM_READ(c->tx.path) == SHM_PATH_RING || SHM_READ(c->tx.recalled));
}

static bool is_pipe(int fd)
{
	struct stat st;

	return sys(SYS_fstat, fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* How much to read for the ring now. Return: bytes, -EAGAIN when it is full, -ESTALE: not on the ring, -errno. */
static ssize_t file_room(struct sock *s, int out, size_t n)
{
	struct shm_conn *c = s->conn;
	bool taken = shm_seat_take(&c->tx.seat, thread_tid());
	ssize_t want = n < THREAD_PIECE ? (ssize_t)n : THREAD_PIECE, room;

	if (sock_of(out) != s)
		room = -EBADF;
	else if (SHM_READ(c->tx.path) != SHM_PATH_RING)
		room = -ESTALE;
	else
		room = shm_ring_room(c, s->view.ctl, (size_t)want);
	if (!room)
		room = shm_ring_grow(sock_arena(s), c, s->view.ctl, n, thread_tid()) ? want
										     : -EAGAIN;
	shm_seat_give(&c->tx.seat, taken);
	return room < want ? room : want;
}

/* Return: bytes that went into the ring; otherwise as file_room(). */
static ssize_t file_to_ring(struct sock *s, int out, const char *buf, size_t n)
{
	struct iovec iov = { (void *)buf, n };
	struct shm_conn *c = s->conn;
	struct tap_mark tap = tap_mark(s);
	bool taken = shm_seat_take(&c->tx.seat, thread_tid());
	ssize_t got;

	if (sock_of(out) != s)
		got = -EBADF;
	else
		got = SHM_READ(c->tx.path) == SHM_PATH_RING ? io_ring_send(s, &iov, n, 0) : -ESTALE;
	if (tap.ns && got > 0)
		tap_ring(s, tap, (size_t)got);
	shm_seat_give(&c->tx.seat, taken);
	if (got > 0 && shm_peer_asleep(s->peer))
		shm_peer_ring(s->peer, &s->view.ctl->bells);
	return got;
}

/* Return: as file_room(), 0 at the file's end, FILE_KERNEL. */
static ssize_t sendfile_piece(struct sock *s, int out, int in, off64_t *off, size_t n)
{
	ssize_t got = file_room(s, out, n);
	char *buf;

	if (got <= 0)
		return got;
	buf = thread_piece_take();
	if (!buf)
		return FILE_KERNEL;
	got = sys(SYS_pread64, in, buf, got, *off);
	if (got > 0)
		got = file_to_ring(s, out, buf, (size_t)got);
	else if (got < 0)
		got = FILE_KERNEL;
	thread_piece_give(buf);
	if (got > 0)
		*off += got;
	return got;
}

static ssize_t sendfile_kernel(struct sock *s, int out, int in, off64_t *off, size_t n)
{
	struct stats_row *row = NULL;
	unsigned mark = hold_mark();
	struct tap_mark tap = tap_mark(s);
	uint64_t seq;
	off64_t from;
	ssize_t got;

	if (SHM_READ(s->stage) != SOCK_SETTLED && sock_row(s))
		row = io_kernel_enter(s, out, &s->tx_busy);
	if (!row)
		return real.sendfile64(out, in, off, n);
	if (sends_elsewhere(s)) {
		hold_end(mark);
		return -ESTALE;
	}
	seq = atomic_load(&row->tx_off);
	from = tap.ns ? (off ? *off : sys(SYS_lseek, in, 0, SEEK_CUR)) : 0;
	got = real.sendfile64(out, in, off, n);
	if (tap.ns && got > 0)
		tap_file(s, tap, seq, in, from, (size_t)got);
	return counted(s, got, &row->tx_off, mark);
}

/* Return: 0 to go on, else what the call answers. */
static ssize_t sendfile_wait(struct sock *s, size_t done, uint64_t deadline,
			     struct wait_signals *sig)
{
	int err;

	if (sock_nonblock(s)) {
		atomic_fetch_add(&s->full_gen, 1);
		if (io_send_burst(s) || wait_unstall(s))
			return 0;
		return done ? (ssize_t)done : file_fail(-EAGAIN);
	}
	err = wait_for(s, POLLOUT, deadline, sig);
	if (err && (err != -EINTR || done || deadline || !wait_restarts(sig)))
		return done ? (ssize_t)done : file_fail(err);
	return 0;
}

static ssize_t sendfile_attached(struct sock *s, int out, int in, off64_t *off, size_t n,
				 struct wait_signals *sig)
{
	uint64_t deadline = io_deadline(SHM_READ(s->row->sndtimeo_us));
	size_t done = 0;

	while (done < n) {
		ssize_t got;

		if (span_attention(s))
			span_attend(s);
		if (SHM_READ(s->conn->tx.path) == SHM_PATH_KERNEL &&
		    !SHM_READ(s->conn->tx.recalled))
			span_lift(s);
		if (SHM_READ(s->conn->tx.path) == SHM_PATH_KERNEL && span_flush(s)) {
			wait_signals_release(sig);
			got = done ? 0 : io_send_told(s, 0);
			if (got)
				return file_fail(got);
			got = sendfile_kernel(s, out, in, off, n - done);
			if (got == -ESTALE)
				continue;
			return got > 0 ? (ssize_t)done + got : done ? (ssize_t)done : got;
		}
		got = sendfile_piece(s, out, in, off, n - done);
		if (got == -ESTALE)
			continue;
		if (got == 0 || (got < 0 && got != -EAGAIN && done))
			break;
		if (got == FILE_KERNEL)
			return got;
		if (got == -EPROTO) {
			span_break(s);
			got = -ECONNRESET;
		}
		if (got < 0 && got != -EAGAIN)
			return file_fail(got);
		if (got > 0) {
			done += (size_t)got;
			continue;
		}
		got = sendfile_wait(s, done, deadline, sig);
		if (got)
			return got;
	}
	if (unlikely(span_attention(s)))
		span_attend(s);
	return (ssize_t)done;
}

/* From where the file stands, which moves on. A file that cannot be told to stand somewhere is the kernel's. */
static ssize_t sendfile_moving(struct sock *s, int out, int in, size_t n, struct wait_signals *sig)
{
	off64_t from = sys(SYS_lseek, in, 0, SEEK_CUR), to = from;
	ssize_t got;

	if (from < 0)
		return FILE_KERNEL;
	got = sendfile_attached(s, out, in, &to, n, sig);
	if (to != from)
		sys(SYS_lseek, in, to, SEEK_SET);
	return got;
}

ssize_t io_sendfile(struct sock *s, int out, int in, off64_t *off, size_t n)
{
	struct wait_signals sig = { .held = false };
	unsigned mark = hold_mark();
	ssize_t got;

	if (direct_has(s))
		return direct_sendfile(s, in, off, n);
	if (!sock_conn(s) || !n || (off && !mem_writable(off, sizeof(*off)))) {
		got = sendfile_kernel(s, out, in, off, n);
		if (got != -ESTALE)
			return got;
	}
	hold_begin(s, &s->users);
	got = off ? sendfile_attached(s, out, in, off, n, &sig)
		  : sendfile_moving(s, out, in, n, &sig);
	wait_signals_release(&sig);
	if (got == FILE_KERNEL) {
		span_lower(s, REASON_OPTION_SOCKET);
		got = sendfile_kernel(s, out, in, off, n);
	}
	hold_end(mark);
	return got == -ESTALE ? file_fail(-EAGAIN) : got;
}

ssize_t io_splice_out(struct sock *s, int in, off64_t *in_off, int out, off64_t *out_off, size_t n,
		      unsigned flags)
{
	struct stats_row *row;
	unsigned mark = hold_mark();

	if (direct_has(s) && !direct_lower(s, REASON_OPTION_SOCKET))
		return file_fail(-EINVAL); /* a program without splice() copies by itself */
	if (!sock_row(s) || SHM_READ(s->stage) == SOCK_SETTLED)
		return real.splice(in, in_off, out, out_off, n, flags);
	for (;;) {
		if (sock_conn(s)) {
			span_lower(s, REASON_OPTION_SOCKET);
			if (!span_flush(s))
				return file_fail(-EAGAIN);
		}
		row = io_kernel_enter(s, out, &s->tx_busy);
		if (!row)
			return real.splice(in, in_off, out, out_off, n, flags);
		if (!sends_elsewhere(s))
			break;
		hold_end(mark); /* another thread has lifted it */
	}
	return counted(s, real.splice(in, in_off, out, out_off, n, flags), &row->tx_off, mark);
}

/* What the ring holds into the pipe. In rx.seat. Return: bytes, 0: none, -errno. */
static ssize_t ring_to_pipe(struct sock *s, int out, size_t n, unsigned flags)
{
	struct shm_conn *c = s->conn;
	uint64_t head = atomic_load_explicit(&c->ctl.head, memory_order_relaxed);
	struct shm_run run;
	int found = shm_ring_peek(&s->view, head, &run);
	uint64_t left = span_left(s, head), limit;
	struct iovec iov;
	long put;

	if (found <= 0)
		return found;
	if (run.len > left)
		run.len = left;
	iov = (struct iovec){ (void *)run.ptr, run.len < n ? run.len : n };
	put = sys(SYS_pwritev2, out, &iov, 1, -1, -1, flags & SPLICE_F_NONBLOCK ? RWF_NOWAIT : 0);
	if (put > 0)
		shm_commit(&c->ctl.head, head, head + (uint64_t)put);
	if (unlikely(left != UINT64_MAX))
		span_cross(s, &limit); /* nonsense is found by the next look */
	return put;
}

/*
 * Only what surely lies there, or the end: the kernel's splice waits where there is nothing. Under rx.lock.
 * Return: bytes, 0 at the end, -errno.
 */
static ssize_t kernel_to_pipe(struct sock *s, int in, off64_t *in_off, int out, off64_t *out_off,
			      size_t n, unsigned flags, bool *again)
{
	ssize_t there = 0, got;

	if (SHM_READ(s->conn->rx.path) == SHM_PATH_KERNEL)
		there = io_kernel_safe(s);
	else if (span_ahead(s) || shm_ring_unread(s->conn, s->view.ctl))
		return -EAGAIN; /* the end is behind these */
	if (there < 0)
		return there == -ESTALE ? -EAGAIN : there;
	if (there && (size_t)there < n)
		n = (size_t)there;
	got = real.splice(in, in_off, out, out_off, n, flags | SPLICE_F_NONBLOCK);
	if (got > 0)
		atomic_fetch_add(&s->row->rx_off, (uint64_t)got);
	if (got == 0)
		*again = false;
	return got < 0 ? -errno : got;
}

/* One look, on the path where the next byte lies. Return: bytes, 0 at the end, -errno. */
static ssize_t splice_once(struct sock *s, int in, off64_t *in_off, int out, off64_t *out_off,
			   size_t n, unsigned flags, bool *again)
{
	struct shm_conn *c = s->conn;
	uint64_t mask = thread_signals_block();
	bool taken = shm_seat_take(&c->rx.seat, thread_tid());
	uint64_t limit;
	ssize_t got = span_cross(s, &limit);

	if (!got && SHM_READ(c->rx.path) == SHM_PATH_RING)
		got = ring_to_pipe(s, out, n, flags);
	if (!got && (SHM_READ(c->rx.path) == SHM_PATH_KERNEL || SHM_READ(s->kernel_bits)))
		got = kernel_to_pipe(s, in, in_off, out, out_off, n, flags, again);
	else if (!got)
		got = -EAGAIN;
	shm_seat_give(&c->rx.seat, taken);
	thread_signals_restore(mask);
	return got;
}

/* A look ends where the ring does, at its last byte or a border. */
static bool splice_goes_on(const struct sock *s)
{
	return span_ahead(s) || (SHM_READ(s->conn->rx.path) == SHM_PATH_RING &&
				 shm_ring_unread(s->conn, s->view.ctl));
}

static ssize_t splice_attached(struct sock *s, int in, off64_t *in_off, int out, off64_t *out_off,
			       size_t n, unsigned flags, struct wait_signals *sig)
{
	uint64_t deadline = io_deadline(SHM_READ(s->row->rcvtimeo_us));
	size_t done = 0;
	int err;
	bool again = !sock_nonblock(s); /* SPLICE_F_NONBLOCK is about the pipe */

	for (;;) {
		ssize_t got = splice_once(s, in, in_off, out, out_off, n - done, flags, &again);

		if (got > 0)
			done += (size_t)got;
		if (got > 0 && done < n && splice_goes_on(s)) { /* but it waits no more */
			flags |= SPLICE_F_NONBLOCK;
			continue;
		}
		if (got >= 0 || done)
			return (ssize_t)done;
		if (got != -EAGAIN || !again)
			return file_fail(got);
		err = wait_for(s, POLLIN, deadline, sig);
		if (err && (err != -EINTR || deadline || !wait_restarts(sig)))
			return file_fail(err);
	}
}

ssize_t io_splice_in(struct sock *s, int in, off64_t *in_off, int out, off64_t *out_off, size_t n,
		     unsigned flags)
{
	unsigned mark = hold_mark();
	struct wait_signals sig = { .held = false };
	struct stats_row *row;
	ssize_t got;

	if (direct_has(s) && !direct_lower(s, REASON_OPTION_SOCKET))
		return file_fail(-EINVAL);
	if (!sock_row(s) || SHM_READ(s->stage) == SOCK_SETTLED || in_off || !is_pipe(out) || !n)
		return real.splice(in, in_off, out, out_off, n, flags);
	while (!sock_conn(s)) {
		row = io_kernel_enter(s, in, &s->rx_busy);
		if (!row)
			return real.splice(in, in_off, out, out_off, n, flags);
		if (!(atomic_load(&row->flags) & STATS_ATTACHED))
			return counted(s, real.splice(in, in_off, out, out_off, n, flags),
				       &row->rx_off, mark);
		hold_end(mark);
		hold_attaching(s, in, row);
	}
	hold_begin(s, &s->users);
	got = splice_attached(s, in, in_off, out, out_off, n, flags, &sig);
	wait_signals_release(&sig);
	hold_end(mark);
	return got;
}
