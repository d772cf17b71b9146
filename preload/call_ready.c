/* call_ready.c - overrides that wait for readiness */
#include "preload/call.h"
#include "preload/sock/direct.h"
#include "preload/sock/ep.h"
#include "preload/sock/mem.h"
#include "preload/sock/pollset.h"
#include "preload/sock/thread.h"

#include <errno.h>
#include <limits.h>

/* libc says that poll() only writes to its array, and gcc believes it of ours */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#define NS_PER_S INT64_C(1000000000)

static int64_t ns_of_ms(int ms)
{
	return ms < 0 ? -1 : ms * INT64_C(1000000);
}

/* Very long ones are for ever. A bad one is the kernel's to refuse: the caller checks. */
static int64_t ns_of_timespec(const struct timespec *ts)
{
	if (!ts || ts->tv_sec > INT64_MAX / NS_PER_S - 1)
		return -1;
	return ts->tv_sec * NS_PER_S + ts->tv_nsec;
}

static bool bad_timespec(const struct timespec *ts)
{
	return ts && (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= NS_PER_S);
}

/* Times that libc touches, too. */
static bool fault(const struct timespec *ts)
{
	if (!ts || mem_readable(ts, sizeof(*ts)))
		return false;
	errno = EFAULT;
	return true;
}

static bool bad_mask(const sigset_t *mask)
{
	return mask && !mem_readable(mask, sizeof(uint64_t));
}

/* Whether an array is, as most are, on the page that the stack is at: then it is there. */
static inline bool on_this_page(const struct pollfd *fds, nfds_t n)
{
	enum { PAGE = 1 << MEM_PAGE_SHIFT };
	char place;
	uintptr_t here = (uintptr_t)&place & ~(uintptr_t)(PAGE - 1);

	return n <= PAGE / sizeof(*fds) && (uintptr_t)(fds + n) - here <= PAGE &&
	       (uintptr_t)fds >= here;
}

/* Whether all members of an array that is there are the kernel's. */
static inline bool kernel_members(const struct pollfd *fds, nfds_t n)
{
	for (; n; n--, fds++) {
		if (unlikely((unsigned)fds->fd < SOCK_TABLE &&
			     (sock_of(fds->fd) || ep_of(fds->fd))))
			return false;
	}
	return true;
}

/* Whether an array is nothing to us: all its members are the kernel's, or it is not there. */
static bool kernel_set(struct pollfd *fds, nfds_t n)
{
	return n > INT_MAX / sizeof(*fds) || !mem_writable(fds, n * sizeof(*fds)) ||
	       kernel_members(fds, n);
}

static __attribute__((noinline)) int poll_ours(struct pollfd *fds, nfds_t n, int timeout)
{
	struct pollset_guard g;
	int ret;

	thread_cancel_point();
	pollset_enter(&g, fds, n);
	ret = likely(!g.lifted) ? real.poll(fds, n, timeout)
				: pollset_wait(fds, n, ns_of_ms(timeout), NULL);
	pollset_leave(&g);
	return ret;
}

static __attribute__((noinline)) int poll_elsewhere(struct pollfd *fds, nfds_t n, int timeout)
{
	return kernel_set(fds, n) ? real.poll(fds, n, timeout) : poll_ours(fds, n, timeout);
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	if (unlikely(!on_this_page(fds, n)))
		return poll_elsewhere(fds, n, timeout);
	return likely(kernel_members(fds, n)) ? real.poll(fds, n, timeout)
					      : poll_ours(fds, n, timeout);
}

EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct pollset_guard g;
	int ret;

	if (fault(timeout))
		return -1;
	if (bad_timespec(timeout) || bad_mask(mask) || likely(kernel_set(fds, n)))
		return real.ppoll(fds, n, timeout, mask);
	thread_cancel_point();
	pollset_enter(&g, fds, n);
	ret = likely(!g.lifted) ? real.ppoll(fds, n, timeout, mask)
				: pollset_wait(fds, n, ns_of_timespec(timeout), mask);
	pollset_leave(&g);
	return ret;
}

EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	if (size / sizeof(*fds) < n)
		return real.__poll_chk(fds, n, timeout, size);
	return poll(fds, n, timeout);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
		       const sigset_t *mask, size_t size)
{
	if (size / sizeof(*fds) < n)
		return real.__ppoll_chk(fds, n, timeout, mask, size);
	return ppoll(fds, n, timeout, mask);
}

/* Sets of the kernel's size for @n descriptors, which it writes to; no set is none. */
static bool bad_set(fd_set *set, int n)
{
	return set && !mem_writable(set, ((size_t)n + 63) / 64 * 8);
}

static bool bad_sets(int n, fd_set *rd, fd_set *wr, fd_set *ex)
{
	return bad_set(rd, n) || bad_set(wr, n) || bad_set(ex, n);
}

EXPORT int select(int n, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *timeout)
{
	struct pollset_guard g;
	int64_t ns = -1, left;
	int ret;

	if (timeout && !mem_writable(timeout, sizeof(*timeout))) {
		errno = EFAULT; /* libc touches it, too */
		return -1;
	}
	if (n <= 0 || bad_sets(n, rd, wr, ex) ||
	    (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
		return real.select(n, rd, wr, ex, timeout);
	thread_cancel_point();
	pollset_select_enter(&g, n, rd, wr, ex);
	if (likely(!g.lifted)) {
		ret = real.select(n, rd, wr, ex, timeout);
		pollset_leave(&g);
		return ret;
	}
	if (timeout && timeout->tv_sec < INT64_MAX / NS_PER_S - 1)
		ns = timeout->tv_sec * NS_PER_S + timeout->tv_usec * INT64_C(1000);
	ret = pollset_select(n, rd, wr, ex, ns, NULL, &left);
	if (timeout) { /* Linux leaves what is left */
		timeout->tv_sec = left / NS_PER_S;
		timeout->tv_usec = left % NS_PER_S / 1000;
	}
	pollset_leave(&g);
	return ret;
}

EXPORT int pselect(int n, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *timeout,
		   const sigset_t *mask)
{
	struct pollset_guard g;
	int64_t left;
	int ret;

	if (fault(timeout))
		return -1;
	if (n <= 0 || bad_sets(n, rd, wr, ex) || bad_timespec(timeout) || bad_mask(mask))
		return real.pselect(n, rd, wr, ex, timeout, mask);
	thread_cancel_point();
	pollset_select_enter(&g, n, rd, wr, ex);
	ret = likely(!g.lifted)
		      ? real.pselect(n, rd, wr, ex, timeout, mask)
		      : pollset_select(n, rd, wr, ex, ns_of_timespec(timeout), mask, &left);
	pollset_leave(&g);
	return ret;
}

EXPORT int epoll_create1(int flags)
{
	int fd = real.epoll_create1(flags);

	if (fd >= 0)
		ep_open(fd);
	return fd;
}

EXPORT int epoll_create(int size)
{
	int fd = real.epoll_create(size);

	if (fd >= 0)
		ep_open(fd);
	return fd;
}

EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct ep *e = ep_of(epfd);

	if (unlikely(conf.direct) && sock_of(fd) && (!e || !direct_is_connection(sock_of(fd))))
		direct_soil(sock_of(fd)); /* it stays in the set as long as it is open */
	if (!e)
		return real.epoll_ctl(epfd, op, fd, ev);
	return ep_ctl(epfd, op, fd, ev, e);
}

EXPORT int epoll_wait(int epfd, struct epoll_event *ev, int max, int timeout)
{
	struct ep *e = ep_of(epfd);

	return likely(e) ? ep_wait_ms(epfd, ev, max, timeout, e)
			 : real.epoll_wait(epfd, ev, max, timeout);
}

EXPORT int epoll_pwait(int epfd, struct epoll_event *ev, int max, int timeout, const sigset_t *mask)
{
	struct ep *e = ep_of(epfd);
	int n;

	if (e && ep_lifted(e))
		return mask ? ep_wait(e, epfd, ev, max, ns_of_ms(timeout), mask)
			    : ep_wait_ms(epfd, ev, max, timeout, e);
	n = real.epoll_pwait(epfd, ev, max, timeout, mask);
	return likely(!e || !ep_joined(e)) || n <= 0
		       ? n
		       : ep_resume(e, epfd, ev, n, max, ns_of_ms(timeout), mask);
}

EXPORT int epoll_pwait2(int epfd, struct epoll_event *ev, int max, const struct timespec *timeout,
			const sigset_t *mask)
{
	struct ep *e = ep_of(epfd);
	int n;

	if (e && ep_lifted(e) && !bad_timespec(timeout))
		return ep_wait(e, epfd, ev, max, ns_of_timespec(timeout), mask);
	n = real.epoll_pwait2(epfd, ev, max, timeout, mask);
	return likely(!e || !ep_joined(e)) || n <= 0
		       ? n
		       : ep_resume(e, epfd, ev, n, max, ns_of_timespec(timeout), mask);
}

EXPORT int __poll(struct pollfd *fds, nfds_t n, int timeout) __attribute__((alias("poll")));
EXPORT int __select(int n, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *timeout)
	__attribute__((alias("select")));
