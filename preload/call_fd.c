/* call_fd.c - overrides that copy, close and change descriptors */
#include "preload/call.h"
#include "preload/sock/diag.h"
#include "preload/sock/direct.h"
#include "preload/sock/ep.h"
#include "preload/sock/opt.h"
#include "preload/sock/pollset.h"
#include "preload/sock/span.h"
#include "preload/sock/thread.h"
#include "shm/shm_fd.h"

#include <errno.h>
#include <linux/close_range.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

enum { RELEASE_MS = 100 };

/* What a number stood for is gone, before the kernel gives the number to somebody else. */
static void forget(int fd)
{
	if (likely(!sock_of(fd) && !ep_of(fd)))
		return;
	if (call_is_foreign())
		return;
	if (sock_of(fd))
		sock_close(fd);
	else
		ep_close(fd);
}

/* Before that, for pollset_closed() when the kernel has done its part. Negative: none of them needs it. */
static int closing(int fd)
{
	struct sock *s = sock_of(fd);

	return likely(!s || SHM_READ(s->stage) != SOCK_DIRECT) || call_is_foreign()
		       ? -1
		       : pollset_closing((unsigned)fd, (unsigned)fd);
}

static void remember_copy(int fd, int copy)
{
	if (copy < 0)
		return;
	if (call_is_foreign()) { /* a vfork child prepares an exec: the number is not in our table */
		if (sock_of(fd) && sock_of(fd)->row)
			span_release(sock_of(fd), REASON_PASSED, RELEASE_MS);
		return;
	}
	forget(copy);
	if (sock_of(fd))
		sock_dup(sock_of(fd), copy);
	else
		ep_dup(fd, copy);
}

EXPORT int close(int fd)
{
	int place, ret;

	if (unlikely(shm_fd_hidden(fd))) {
		errno = EBADF;
		return -1;
	}
	place = closing(fd);
	forget(fd);
	if (likely(place < 0))
		return real.close(fd);
	ret = real.close(fd);
	pollset_closed(place);
	return ret;
}

/* Calls @f on each run of numbers between ours. */
static int between_hidden(unsigned first, unsigned last, int flags)
{
	while (first <= last) {
		int ours = first > INT32_MAX ? -1 : shm_fd_next_hidden((int)first);

		if (ours < 0 || (unsigned)ours > last)
			return real.close_range(first, last, flags);
		if ((unsigned)ours > first &&
		    real.close_range(first, (unsigned)ours - 1, flags) < 0)
			return -1;
		first = (unsigned)ours + 1;
	}
	return 0;
}

static void forget_range(unsigned first, unsigned last)
{
	for (unsigned fd = first; fd <= last && fd < SOCK_TABLE && (int)fd <= sock_highest(); fd++)
		forget((int)fd);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	int place = -1, ret;

	if (first > last || flags & ~(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE))
		return real.close_range(first, last, flags);
	if (flags & CLOSE_RANGE_CLOEXEC)
		return between_hidden(first, last, flags);
	if (!call_is_foreign())
		place = pollset_closing(first, last);
	forget_range(first, last);
	ret = between_hidden(first, last, flags);
	pollset_closed(place);
	return ret;
}

EXPORT void closefrom(int from)
{
	if (close_range(from > 0 ? (unsigned)from : 0, ~0u, 0) < 0)
		real.closefrom(from);
}

EXPORT int dup(int fd)
{
	int copy = real.dup(fd);

	if (unlikely(sock_of(fd) || ep_of(fd)))
		remember_copy(fd, copy);
	return copy;
}

/* A number of ours for the socket that @fd names; -1: it is none that we follow. */
static int known_as(int fd)
{
	uint64_t cookie = diag_cookie(fd);

	for (int n = 0; cookie && n <= sock_highest(); n++)
		if (n != fd && sock_of(n) && diag_cookie(n) == cookie)
			return n;
	return -1;
}

/*
 * What is taken from this process, or is shared with the one it is taken from since a fork, is one more copy. A connection
 * of another process goes on without us: what we have is its socket in the kernel. (libc has this call since 2.36.)
 */
EXPORT int pidfd_getfd(int pidfd, int fd, unsigned flags)
{
	int copy = (int)real.syscall(SYS_pidfd_getfd, pidfd, fd, flags), saved = errno, known;

	if (copy < 0)
		return copy;
	known = known_as(copy);
	if (known >= 0)
		remember_copy(known, copy);
	errno = saved;
	return copy;
}

/* libc's streams use these numbers from inside, where nobody can be overridden. */
static void stdio_release(struct sock *s)
{
	if (sock_row(s))
		span_release(s, REASON_STDIO, RELEASE_MS);
	SHM_WRITE(s->pinned, true);
}

static void stdio_copy(int copy)
{
	if (unlikely(copy >= 0 && copy <= 2 && sock_of(copy) && !call_is_foreign()))
		stdio_release(sock_of(copy));
}

EXPORT int dup2(int fd, int to)
{
	int copy, place;

	if (unlikely(shm_fd_hidden(to) || shm_fd_hidden(fd))) {
		errno = EBADF;
		return -1;
	}
	place = closing(to);
	if (fd != to && sys(SYS_fcntl, fd, F_GETFD) >= 0)
		forget(to);
	copy = real.dup2(fd, to);
	if (unlikely(fd != to && (sock_of(fd) || ep_of(fd))))
		remember_copy(fd, copy);
	pollset_closed(place);
	stdio_copy(copy);
	return copy;
}

EXPORT int dup3(int fd, int to, int flags)
{
	int copy, place;

	if (unlikely(shm_fd_hidden(to) || shm_fd_hidden(fd))) {
		errno = EBADF;
		return -1;
	}
	place = closing(to);
	if (fd != to && !(flags & ~O_CLOEXEC) && sys(SYS_fcntl, fd, F_GETFD) >= 0)
		forget(to);
	copy = real.dup3(fd, to, flags);
	if (unlikely(fd != to && (sock_of(fd) || ep_of(fd))))
		remember_copy(fd, copy);
	pollset_closed(place);
	stdio_copy(copy);
	return copy;
}

/* Whether a descriptor is as it was, but for O_NONBLOCK. */
static bool leaves_as_is(int cmd, long arg)
{
	return cmd == F_GETFL || cmd == F_GETFD || cmd == F_SETFD || cmd == F_DUPFD ||
	       cmd == F_DUPFD_CLOEXEC ||
	       (cmd == F_SETFL && !(arg & ~(long)(O_NONBLOCK | O_ACCMODE | O_LARGEFILE)));
}

EXPORT int fcntl64(int fd, int cmd, ...)
{
	struct sock *s = sock_of(fd);
	va_list ap;
	void *arg;
	int ret;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (unlikely(!leaves_as_is(cmd, (long)arg)))
		direct_soil(s);
	ret = real.fcntl64(fd, cmd, arg);
	if (likely(!s && !ep_of(fd)) || ret < 0)
		return ret;
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		remember_copy(fd, ret);
	else if (s && cmd == F_SETFL)
		opt_set_flags(s, (long)arg);
	return ret;
}

EXPORT int fcntl(int fd, int cmd, ...) __attribute__((alias("fcntl64")));

EXPORT int ioctl(int fd, unsigned long req, ...)
{
	struct sock *s = sock_of(fd);
	va_list ap;
	void *arg;
	int ret;

	va_start(ap, req);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (likely(!s))
		return real.ioctl(fd, req, arg);
	if (opt_ioctl(s, req, arg, &ret))
		return ret;
	if (req != FIONBIO && req != FIONREAD)
		direct_soil(s);
	ret = real.ioctl(fd, req, arg);
	if (ret == 0 && req == FIONBIO)
		opt_set_nonblock(s, *(int *)arg);
	else if (ret == 0 && req == FIOASYNC && *(int *)arg)
		span_release(s, REASON_ASYNC, RELEASE_MS);
	return ret;
}

/*
 * stdio reads and writes inside libc, where nobody can be overridden: a stream on a followed socket is one
 * whose transfers come back here.
 */
static ssize_t stream_read(void *cookie, char *buf, size_t n)
{
	return read((int)(intptr_t)cookie, buf, n);
}

static ssize_t stream_write(void *cookie, const char *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t sent = write((int)(intptr_t)cookie, buf + done, n - done);

		if (sent < 0)
			return (ssize_t)done;
		done += (size_t)sent;
	}
	return (ssize_t)done;
}

static int stream_seek(void *cookie, off64_t *off, int whence)
{
	(void)cookie;
	(void)off;
	(void)whence;
	errno = ESPIPE;
	return -1;
}

static int stream_close(void *cookie)
{
	return close((int)(intptr_t)cookie);
}

static FILE *stream_open(int fd, const char *mode)
{
	const cookie_io_functions_t calls = { stream_read, stream_write, stream_seek,
					      stream_close };
	FILE *f = fopencookie((void *)(intptr_t)fd, mode, calls);

	if (f)
		f->_fileno = fd; /* for fileno(3) */
	return f;
}

EXPORT FILE *fdopen(int fd, const char *mode)
{
	if (likely(!sock_of(fd)) || call_is_foreign() || !mode || !strchr("rwa", *mode))
		return real.fdopen(fd, mode);
	return stream_open(fd, mode);
}

EXPORT int vdprintf(int fd, const char *format, va_list ap)
{
	char *text;
	int n;

	if (likely(!sock_of(fd)) || call_is_foreign())
		return real.vdprintf(fd, format, ap);
	n = vasprintf(&text, format, ap);
	if (n < 0)
		return n;
	if (stream_write((void *)(intptr_t)fd, text, (size_t)n) < n)
		n = -1;
	free(text);
	return n;
}

EXPORT int dprintf(int fd, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vdprintf(fd, format, ap);
	va_end(ap);
	return n;
}

EXPORT int __vdprintf_chk(int fd, int flag, const char *format, va_list ap)
{
	if (likely(!sock_of(fd)) || call_is_foreign())
		return real.__vdprintf_chk(fd, flag, format, ap);
	return vdprintf(fd, format, ap);
}

EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = __vdprintf_chk(fd, flag, format, ap);
	va_end(ap);
	return n;
}

/* A stream made before we followed the socket closes its number inside libc. */
EXPORT int fclose(FILE *f)
{
	int fd = f ? fileno(f) : -1;
	struct sock *s = fd >= 0 ? sock_of(fd) : NULL;
	int ret = real.fclose(f);

	if (unlikely(s && sock_of(fd) == s && sys(SYS_fcntl, fd, F_GETFD) < 0))
		forget(fd);
	return ret;
}

EXPORT int __close(int fd) __attribute__((alias("close")));
EXPORT int __dup2(int fd, int to) __attribute__((alias("dup2"), copy(dup2)));
EXPORT int __fcntl(int fd, int cmd, ...) __attribute__((alias("fcntl64")));
