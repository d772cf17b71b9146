/* direct_io.c - bytes of connections that the stack of this process makes itself */
#include "preload/sock/direct_priv.h"
#include "preload/sock/hold.h"
#include "preload/sock/io_priv.h"
#include "preload/sock/mem.h"
#include "preload/sock/wait.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum {
	PEEK_RUNS = 16,  /* looked at in one go */
	DISCARD = 65536, /* bytes thrown away at once (MSG_TRUNC) */
};

/* Count the thread in. Return: false: another thread closes it. */
static __attribute__((nonnull)) bool held(struct sock *s, int fd, unsigned mark)
{
	hold_begin(s, &s->users);
	if (likely(sock_of(fd) == s && sock_row(s)))
		return true;
	hold_end(mark);
	return false;
}

/* ---- in ---- */

/* Behind the first @from bytes. */
static size_t peek(struct direct *d, char *to, size_t n, size_t from)
{
	const struct tcb *t = net_stack->inst_conn_tcb(d->conn);
	struct wire_tcp_iov run[PEEK_RUNS];
	size_t done = 0;
	unsigned runs;

	do {
		runs = net_stack->tcp_recv_peek(t, (uint32_t)(from + done), run, PEEK_RUNS);
		for (unsigned i = 0; i < runs && done < n; i++) {
			size_t part = run[i].len < n - done ? run[i].len : n - done;

			memcpy(to + done, run[i].data, part);
			done += part;
		}
	} while (runs && done < n);
	return done;
}

/* @from: bytes that a peek has seen already */
static size_t take(struct direct *d, char *to, size_t n, int flags, size_t from)
{
	ztime_t now = (ztime_t)thread_now();
	struct tcb *t = net_stack->inst_conn_tcb(d->conn);

	if (flags & MSG_TRUNC) {
		uint32_t there = net_stack->tcp_readable(t) - (uint32_t)from;
		uint32_t part = there < n ? there : n < DISCARD ? (uint32_t)n : DISCARD;

		if (flags & MSG_PEEK)
			return part;
		if (part)
			net_stack->tcp_recv_done(t, part, now);
		net_stack->inst_conn_kick(d->net->in, d->conn);
		return part;
	}
	if (flags & MSG_PEEK)
		return peek(d, to, n, from);
	return net_stack->inst_recv(d->net->in, d->conn, to, n, now);
}

/* Into one piece of the program's memory, as far as that is there. Return: bytes, 0: none are readable, -EFAULT. */
static ssize_t take_into(struct direct *d, char *to, size_t len, int flags, size_t from)
{
	size_t n = net_stack->tcp_readable(net_stack->inst_conn_tcb(d->conn)) - from;
	struct iovec piece = { to, n < len ? n : len };

	if (!piece.iov_len)
		return 0;
	if (!(flags & MSG_TRUNC))
		piece.iov_len = mem_prefix(&piece, 1, piece.iov_len, true);
	return piece.iov_len ? (ssize_t)take(d, to, piece.iov_len, flags, from) : -EFAULT;
}

/* From @done on, as much as is there. In the lock. Return: bytes, -EAGAIN, 0 at the end, -errno. */
static ssize_t recv_some(struct direct *d, const struct io_req *r, size_t done, int flags)
{
	size_t skip = flags & MSG_PEEK ? 0 : done, got = 0;
	int err;

	for (int i = 0; i < r->iovs; i++) {
		size_t len = r->iov[i].iov_len;
		ssize_t n;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		n = take_into(d, (char *)r->iov[i].iov_base + skip, len - skip, flags,
			      flags & MSG_PEEK ? got : 0);
		if (n < 0 && !got)
			return n;
		got += n > 0 ? (size_t)n : 0;
		if (n < (ssize_t)(len - skip))
			break;
		skip = 0;
	}
	if (got)
		return (ssize_t)got;
	direct_look(d);
	if (net_stack->tcp_eof(net_stack->inst_conn_tcb(d->conn)))
		return 0; /* before an error, as the kernel has it */
	err = done ? -d->error : direct_error_take(d);
	if (err)
		return err;
	return d->rd_shut || d->failed ? 0 : -EAGAIN;
}

/* A call that has moved @done bytes would block; in the lock, which is left. Return: 0 to go on, else what the call answers. */
static ssize_t would_block(bool wait, uint64_t until, size_t done, struct wait_signals *sig)
{
	int n;

	if (!wait) {
		net_leave();
		return -EAGAIN;
	}
	n = direct_wait(NULL, 0, until, sig);
	return n == -EINTR && !done && !until && wait_restarts(sig) ? 0 : n;
}

/* One turn: what memory has, else what the device has. Leaves the lock on any answer but -EAGAIN. */
static ssize_t recv_turn(struct sock *s, const struct io_req *r, size_t done, int flags)
{
	int err;
	struct direct *d = direct_enter(s, &err);
	ssize_t n;

	if (!d)
		return err == -EAGAIN ? -EINTR : err;
	n = recv_some(d, r, done, flags);
	if (n == -EAGAIN) {
		net_drive();
		n = recv_some(d, r, done, flags);
	}
	if (n == -EAGAIN)
		return n;
	if (n > 0 && !(flags & MSG_PEEK)) {
		atomic_fetch_add_explicit(&s->row->rx_off, (uint64_t)n, memory_order_relaxed);
		net_push_with(d->net, d, 0); /* the window has grown */
	}
	net_leave();
	return n;
}

/* Bytes that a call waits for. */
static size_t recv_enough(struct sock *s, size_t total, int flags)
{
	size_t enough = 1;
	int err;
	struct direct *d;

	if (flags & MSG_WAITALL)
		return total;
	d = direct_enter(s, &err);
	if (d) {
		enough = d->lowat < total ? d->lowat : total;
		net_leave();
	}
	return enough;
}

/* recv(fd, buf, 0, 0): waits until there is something, and takes nothing. Read(fd, buf, 0) does not wait. */
static ssize_t recv_nothing(struct sock *s, const struct io_req *r, int flags,
			    struct wait_signals *sig)
{
	uint64_t until = io_deadline(s->row->rcvtimeo_us);
	bool wait = !(flags & MSG_DONTWAIT) && !sock_nonblock(s);
	ssize_t n = 0;

	while (n == 0 && io_is_message(r->call)) {
		struct direct *d;
		int err;

		if (direct_ready(s, POLLIN, true))
			return 0;
		d = direct_enter(s, &err);
		if (!d)
			return io_fail(err == -EAGAIN ? -EINTR : err);
		if (net_stack->tcp_readable(net_stack->inst_conn_tcb(d->conn))) {
			net_leave(); /* fewer than SO_RCVLOWAT are something */
			return 0;
		}
		n = would_block(wait, until, 0, sig);
	}
	return n ? io_fail((int)n) : 0;
}

static ssize_t recv_loop(struct sock *s, const struct io_req *r, int flags,
			 struct wait_signals *sig)
{
	uint64_t until = io_deadline(s->row->rcvtimeo_us);
	size_t total = io_total(r), done = 0, enough = recv_enough(s, total, flags);
	bool wait = !(flags & MSG_DONTWAIT) && !sock_nonblock(s);
	int err;

	for (;;) {
		ssize_t n = recv_turn(s, r, done, flags);

		if (n > 0) {
			done = flags & MSG_PEEK ? (size_t)n : done + (size_t)n;
			if (done >= enough)
				return (ssize_t)done;
			if (!(flags & MSG_PEEK))
				continue;
			if (!direct_enter(s, &err))
				return (ssize_t)done;
			n = -EAGAIN;
		}
		if (n == 0)
			return (ssize_t)done;
		if (n == -EAGAIN) {
			n = would_block(wait, until, done, sig);
			if (n == 0)
				continue;
		}
		return done ? (ssize_t)done : io_fail((int)n);
	}
}

/* A call that has moved nothing, on a connection that another thread has given to the kernel meanwhile. */
static bool lowered_under(const struct sock *s, ssize_t n)
{
	return n < 0 && errno == EBADF && SHM_READ(s->stage) == SOCK_SETTLED;
}

static void answer(const struct io_req *r)
{
	if (r->msg) {
		r->msg->msg_namelen = 0;
		r->msg->msg_controllen = 0;
		r->msg->msg_flags = 0;
	}
	if (r->addr && r->addr_len_out)
		*r->addr_len_out = 0;
}

ssize_t direct_recv(struct sock *s, const struct io_req *r)
{
	struct wait_signals sig = { .held = false };
	unsigned mark = hold_mark();
	int flags = io_flags(r);
	ssize_t n;

	if (flags & MSG_OOB)
		return io_fail(-EINVAL);
	if (flags & MSG_ERRQUEUE)
		return io_fail(-EAGAIN);
	if (io_too_long(r->iov, r->iovs) ||
	    (r->call == IO_PREADV2 && r->flags & ~(RWF_NOWAIT | RWF_HIPRI)))
		return io_real(r);
	if (!held(s, r->fd, mark))
		return io_fail(-EBADF);
	n = io_total(r) ? recv_loop(s, r, flags, &sig) : recv_nothing(s, r, flags, &sig);
	wait_signals_release(&sig);
	if (n >= 0)
		answer(r);
	hold_end(mark);
	if (unlikely(lowered_under(s, n)))
		return io_real(r);
	return n;
}

void direct_error_keep(struct sock *s, int err)
{
	int no;
	struct direct *d = direct_enter(s, &no);

	if (!d)
		return;
	d->error = err;
	direct_event(d, 0);
	net_leave();
}

/* ---- out ---- */

/* From @done on, as much as fits. In the lock. Return: bytes, -EAGAIN, -errno. */
static ssize_t send_some(struct direct *d, const struct io_req *r, size_t total, size_t done,
			 int flags)
{
	const unsigned more = flags & MSG_MORE ? TCP_SEND_MORE : 0;
	size_t skip = done, sent = 0;

	for (int i = 0; done + sent < total; i++) {
		size_t len = r->iov[i].iov_len, left = total - done - sent;
		int64_t n;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		if (len - skip < left)
			left = len - skip;
		n = net_stack->inst_send(d->net->in, d->conn,
					 (const char *)r->iov[i].iov_base + skip, left,
					 done + sent + left < total ? TCP_SEND_MORE : more,
					 (ztime_t)thread_now());
		if (n <= 0)
			return sent ? (ssize_t)sent : n ? (ssize_t)n : -EAGAIN;
		sent += (size_t)n;
		if ((size_t)n < left)
			break;
		skip = 0;
	}
	return (ssize_t)sent;
}

/* In the lock. What is wrong with the connection is told once, and then that it is closed. */
static int send_error(struct direct *d, size_t done)
{
	int err;

	direct_look(d);
	err = done ? -d->error : direct_error_take(d); /* the next call's to tell */
	if (err)
		return err;
	return d->failed || d->wr_shut ? -EPIPE : 0;
}

/* As send_some() */
static ssize_t send_try(struct direct *d, const struct io_req *r, size_t total, size_t done,
			int flags)
{
	int err = send_error(d, done);

	if (err)
		return err;
	return d->stage == DIRECT_CONNECTED ? send_some(d, r, total, done, flags) : -EAGAIN;
}

/* Leaves the lock on any answer but -EAGAIN. */
static ssize_t send_turn(struct sock *s, const struct io_req *r, size_t total, size_t done,
			 int flags)
{
	int err;
	struct direct *d = direct_enter(s, &err);
	ssize_t n;

	if (!d)
		return err == -EAGAIN ? -EINTR : err;
	n = send_try(d, r, total, done, flags);
	if (n == -EAGAIN) {
		net_drive();
		n = send_try(d, r, total, done, flags);
	}
	if (n == -EAGAIN) {
		atomic_fetch_add(&s->full_gen, 1);
		return n;
	}
	if (n > 0) {
		atomic_fetch_add_explicit(&s->row->tx_off, (uint64_t)n, memory_order_relaxed);
		net_push_with(d->net, d, (size_t)n);
	}
	net_leave();
	return n;
}

static ssize_t send_failed(int err, int flags)
{
	if (err == -EPIPE && !(flags & MSG_NOSIGNAL))
		sys(SYS_tgkill, sys(SYS_getpid), thread_tid(), SIGPIPE);
	return io_fail(err);
}

static ssize_t send_loop(struct sock *s, const struct io_req *r, size_t total, int flags,
			 struct wait_signals *sig)
{
	uint64_t until = io_deadline(s->row->sndtimeo_us);
	bool wait = !(flags & MSG_DONTWAIT) && !sock_nonblock(s);
	size_t done = 0;

	for (;;) {
		ssize_t n = send_turn(s, r, total, done, flags);

		if (n > 0) {
			done += (size_t)n;
			if (done == total)
				return (ssize_t)done;
			if (wait)
				continue;
			return (ssize_t)done;
		}
		if (n == -EAGAIN) {
			n = would_block(wait, until, done, sig);
			if (n == 0)
				continue;
		}
		return done ? (ssize_t)done : send_failed((int)n, flags);
	}
}

/* What the kernel refuses before it looks at the connection. */
static bool send_is_wrong(const struct io_req *r)
{
	return io_too_long(r->iov, r->iovs) ||
	       (r->addr && (r->addr_len > sizeof(struct sockaddr_storage) ||
			    !mem_readable(r->addr, r->addr_len))) ||
	       (r->call == IO_PWRITEV2 &&
		r->flags & ~(RWF_NOWAIT | RWF_HIPRI | RWF_DSYNC | RWF_SYNC));
}

/* As sock_cmsg_send() of the kernel; of what that knows, nothing is for a connection of the stack. */
static bool control_is_wrong(const struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c)) {
		if (c->cmsg_len < sizeof(*c) ||
		    c->cmsg_len > m->msg_controllen - (size_t)((char *)c - (char *)m->msg_control))
			return true;
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type != SCM_RIGHTS &&
		    c->cmsg_type != SCM_CREDENTIALS)
			return true;
	}
	return false;
}

/* Nothing to send: only what is wrong with the connection is told. */
static int send_nothing(struct sock *s)
{
	int err;
	struct direct *d = direct_enter(s, &err);

	if (!d)
		return err == -EAGAIN ? 0 : err;
	err = send_error(d, 0);
	net_leave();
	return err;
}

ssize_t direct_send(struct sock *s, const struct io_req *r)
{
	struct wait_signals sig = { .held = false };
	unsigned mark = hold_mark();
	int flags = io_flags(r);
	size_t total = io_total(r), there;
	ssize_t n;

	if (flags & MSG_OOB)
		return direct_lower(s, REASON_URGENT) ? io_real(r) : io_fail(-EOPNOTSUPP);
	if (send_is_wrong(r))
		return io_real(r);
	if (r->msg && r->msg->msg_controllen) {
		if (!mem_readable(r->msg->msg_control, r->msg->msg_controllen))
			return io_fail(-EFAULT);
		if (control_is_wrong(r->msg))
			return io_fail(-EINVAL);
	}
	if (!total) {
		n = send_nothing(s);
		return n ? send_failed((int)n, flags) : 0;
	}
	there = mem_prefix(r->iov, r->iovs, total, false);
	if (!there)
		return io_fail(-EFAULT);
	if (!held(s, r->fd, mark))
		return io_fail(-EBADF);
	n = send_loop(s, r, there, flags, &sig);
	wait_signals_release(&sig);
	hold_end(mark);
	if (unlikely(lowered_under(s, n)))
		return io_real(r);
	return n;
}

/* One piece, from @at; more follow. Return: bytes sent, 0 at the end of the file, -1 with errno. */
static ssize_t file_piece(struct sock *s, int in, off64_t at, size_t n)
{
	char *buf = thread_piece_take();
	struct iovec iov = { buf, n < THREAD_PIECE ? n : THREAD_PIECE };
	ssize_t got;

	if (!buf)
		return io_fail(-ENOMEM);
	got = sys(SYS_pread64, in, buf, iov.iov_len, at);
	if (got > 0) {
		iov.iov_len = (size_t)got;
		got = direct_send(s, &(struct io_req){ .fd = s->fd,
						       .call = IO_SEND,
						       .flags = (size_t)got < n ? MSG_MORE : 0,
						       .iov = &iov,
						       .iovs = 1 });
	} else if (got < 0) {
		got = io_fail((int)got);
	}
	thread_piece_give(buf);
	return got;
}

ssize_t direct_sendfile(struct sock *s, int in, off64_t *off, size_t n)
{
	struct stat st;
	off64_t at;
	size_t done = 0;

	if (sys(SYS_fstat, in, &st) < 0)
		return io_fail(-EBADF);
	if (off && !mem_writable(off, sizeof(*off)))
		return io_fail(-EFAULT);
	if (!S_ISREG(st.st_mode)) {
		ssize_t sent = -EINVAL; /* a program without sendfile() copies by itself */

		if (direct_lower(s, REASON_OPTION_SOCKET))
			sent = sys(SYS_sendfile, s->fd, in, off, n);
		return sent < 0 ? io_fail((int)sent) : sent;
	}
	at = off ? *off : sys(SYS_lseek, in, 0, SEEK_CUR);
	if (at < 0)
		return io_fail(-EINVAL);
	if ((off64_t)n < 0 || at >= st.st_size || (off64_t)n > st.st_size - at)
		n = at < st.st_size ? (size_t)(st.st_size - at) : 0;
	while (done < n) {
		ssize_t got = file_piece(s, in, at + (off64_t)done, n - done);

		if (got < 0 && !done)
			return got;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	if (off)
		*off = at + (off64_t)done;
	else
		sys(SYS_lseek, in, at + (off64_t)done, SEEK_SET);
	return (ssize_t)done;
}

int direct_shutdown(struct sock *s, int how)
{
	int err;
	struct direct *d = direct_enter(s, &err);
	ztime_t now = (ztime_t)thread_now();

	if (!d)
		return err == -EBADF ? DIRECT_NOT_OURS : err;
	err = 0;
	direct_look(d);
	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		err = -EINVAL;
	else if (d->stage != DIRECT_CONNECTED || d->failed || direct_gone(d))
		err = -ENOTCONN;
	if (!err && how != SHUT_WR)
		d->rd_shut =
			true; /* what comes can be read all the same, until this end is shut both ways */
	if (!err && how != SHUT_WR)
		net_stack->tcp_shutdown_recv(net_stack->inst_conn_tcb(d->conn));
	if (!err && how != SHUT_RD && !d->wr_shut) {
		d->wr_shut = true;
		net_stack->inst_shutdown(d->net->in, d->conn, now);
	}
	if (!err) {
		direct_event(d, 0);
		net_push(d->net);
	}
	net_leave();
	return err;
}
