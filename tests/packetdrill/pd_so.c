/* pd_so.c - a host for the packetdrill tool: packetdrill --so_filename=libztcp_packetdrill.so
 * --so_flags='cc=reno' SCRIPT
 *
 * Without flags it is what google/packetdrill's scripts expect: settings as the sysctls of the network namespace
 * have them, which their defaults.sh sets, and segments as a card with TSO gets them.
 *
 * Time is virtual: it moves in usleep(), in netdev_receive() up to the next packet, and by a
 * microsecond whenever it is asked for, as the tool spins until its time has come. One lock
 * covers the host; a call that has to wait sleeps on a condition that every packet and every move
 * of the clock signals.
 */
#include "pd_so.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pd_host.h"

#define FD_BASE      500
#define EPOLLS       4
#define EPOLL_FDS    16
#define EPOLL_FIRST  1000
#define FLAGS_UNSAID "host_sysctls=1 gso=65535"
#define SILENCE_MAX  (3600 * ZTIME_SEC) /* no packet in so long: there will be none */

struct epoll {
	bool used;
	struct watch {
		int fd;         /* 0: free */
		uint32_t edges; /* when it was last told */
		bool told;
		struct epoll_event ev;
	} watched[EPOLL_FDS];
};

struct so {
	pthread_mutex_t lock;
	pthread_cond_t moved, settled;
	pthread_t waiter; /* the tool has one thread for calls that wait */
	bool waiting;     /* it is in such a call */
	bool looking;     /* something has moved, and it has not looked yet */
	bool returned;    /* it has its answer: the clock stands still until it could take it */
	struct pd_host *host;
	struct epoll epolls[EPOLLS];
};

static struct so *enter(pd_self self)
{
	struct so *s = self;

	pthread_mutex_lock(&s->lock);
	return s;
}

/* Let a call that waits see what has moved before anything else moves. */
static void settle(struct so *s)
{
	if (!s->waiting)
		return;
	if (pthread_equal(s->waiter, pthread_self())) {
		s->waiting = s->looking = false;
		s->returned = true;
		pthread_cond_broadcast(&s->settled);
		return;
	}
	s->looking = true;
	pthread_cond_broadcast(&s->moved);
	while (s->looking)
		pthread_cond_wait(&s->settled, &s->lock);
}

/* Return: @rc as a system call does. */
static ssize_t leave(struct so *s, ssize_t rc)
{
	settle(s);
	pthread_mutex_unlock(&s->lock);
	if (rc >= 0)
		return rc;
	errno = (int)-rc;
	return -1;
}

static void wait_move(struct so *s)
{
	s->waiter = pthread_self();
	s->waiting = true;
	s->looking = false;
	pthread_cond_broadcast(&s->settled);
	while (!s->looking)
		pthread_cond_wait(&s->moved, &s->lock);
}

/* The tool closes descriptors by the kernel's close() too: each number of ours is taken there. */
static int number_taken(int fd)
{
	int null = fd < 0 ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0 && null != fd) {
		dup2(null, fd);
		close(null);
	}
	return fd;
}

static void so_free(pd_self self)
{
	struct so *s = self;

	pd_host_free(s->host);
	free(s);
}

static int so_socket(pd_self self, int domain, int type, int protocol)
{
	struct so *s = enter(self);

	return (int)leave(s, number_taken(pd_socket(s->host, domain, type, protocol)));
}

static int so_bind(pd_self self, int fd, const struct sockaddr *a, socklen_t len)
{
	struct so *s = enter(self);

	return (int)leave(s, pd_bind(s->host, fd, a, len));
}

static int so_listen(pd_self self, int fd, int backlog)
{
	struct so *s = enter(self);

	return (int)leave(s, pd_listen(s->host, fd, backlog));
}

static int so_accept(pd_self self, int fd, struct sockaddr *a, socklen_t *len)
{
	struct so *s = enter(self);
	int rc;

	while ((rc = pd_accept(s->host, fd, a, len)) == -EAGAIN && !pd_nonblocking(s->host, fd))
		wait_move(s);
	return (int)leave(s, number_taken(rc));
}

static int so_connect(pd_self self, int fd, const struct sockaddr *a, socklen_t len)
{
	struct so *s = enter(self);
	int rc = pd_connect(s->host, fd, a, len);

	while ((rc == -EINPROGRESS || rc == -EALREADY) && !pd_nonblocking(s->host, fd)) {
		wait_move(s);
		rc = pd_connect(s->host, fd, a, len);
	}
	return (int)leave(s, rc);
}

static ssize_t so_recv(pd_self self, int fd, void *buf, size_t len, int flags)
{
	struct so *s = enter(self);
	ssize_t rc;

	while ((rc = pd_read(s->host, fd, buf, len, flags)) == -EAGAIN &&
	       !pd_nonblocking(s->host, fd) && !(flags & MSG_DONTWAIT))
		wait_move(s);
	return leave(s, rc);
}

static ssize_t so_send(pd_self self, int fd, const void *buf, size_t len, int flags)
{
	struct so *s = enter(self);
	size_t done = 0;
	ssize_t rc;

	for (;;) {
		rc = pd_write(s->host, fd, (const char *)buf + done, len - done, flags);
		done += rc > 0 ? (size_t)rc : 0;
		if ((rc < 0 && rc != -EAGAIN) || done == len || pd_nonblocking(s->host, fd) ||
		    flags & MSG_DONTWAIT)
			break;
		wait_move(s);
	}
	return leave(s, done ? (ssize_t)done : rc);
}

static ssize_t so_read(pd_self self, int fd, void *buf, size_t len)
{
	return so_recv(self, fd, buf, len, 0);
}

static ssize_t so_write(pd_self self, int fd, const void *buf, size_t len)
{
	return so_send(self, fd, buf, len, 0);
}

/* The first piece may wait; the others take what is there. */
static ssize_t pieces_recv(pd_self self, int fd, const struct iovec *v, int n, int flags)
{
	ssize_t sum = 0;

	for (int i = 0; i < n; i++) {
		ssize_t rc = so_recv(self, fd, v[i].iov_base, v[i].iov_len,
				     flags | (sum ? MSG_DONTWAIT : 0));

		if (rc < 0)
			return sum ? sum : rc;
		sum += rc;
		if ((size_t)rc < v[i].iov_len)
			break;
	}
	return sum;
}

static ssize_t pieces_send(pd_self self, int fd, const struct iovec *v, int n, int flags)
{
	ssize_t sum = 0;

	for (int i = 0; i < n; i++) {
		ssize_t rc = so_send(self, fd, v[i].iov_base, v[i].iov_len,
				     flags | (i + 1 < n ? MSG_MORE : 0));

		if (rc < 0)
			return sum ? sum : rc;
		sum += rc;
		if ((size_t)rc < v[i].iov_len)
			break;
	}
	return sum;
}

static ssize_t so_readv(pd_self self, int fd, const struct iovec *v, int n)
{
	return pieces_recv(self, fd, v, n, 0);
}

static ssize_t so_writev(pd_self self, int fd, const struct iovec *v, int n)
{
	return pieces_send(self, fd, v, n, 0);
}

static ssize_t so_recvfrom(pd_self self, int fd, void *buf, size_t len, int flags,
			   struct sockaddr *a, socklen_t *alen)
{
	(void)a;
	if (alen)
		*alen = 0;
	return so_recv(self, fd, buf, len, flags);
}

static ssize_t so_recvmsg(pd_self self, int fd, struct msghdr *m, int flags)
{
	m->msg_namelen = 0;
	m->msg_controllen = 0;
	m->msg_flags = 0;
	return pieces_recv(self, fd, m->msg_iov, (int)m->msg_iovlen, flags);
}

static ssize_t so_sendto(pd_self self, int fd, const void *buf, size_t len, int flags,
			 const struct sockaddr *a, socklen_t alen)
{
	if (flags & MSG_FASTOPEN && a) {
		struct so *s = enter(self);

		return leave(s, pd_fast_open(s->host, fd, a, alen, buf, len, flags));
	}
	return so_send(self, fd, buf, len, flags);
}

static ssize_t so_sendmsg(pd_self self, int fd, const struct msghdr *m, int flags)
{
	return pieces_send(self, fd, m->msg_iov, (int)m->msg_iovlen, flags);
}

static int so_fcntl(pd_self self, int fd, int cmd, ...)
{
	struct so *s = enter(self);
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return (int)leave(s, pd_fcntl(s->host, fd, cmd, arg));
}

static int so_ioctl(pd_self self, int fd, unsigned long request, ...)
{
	struct so *s = enter(self);
	va_list ap;
	int *arg;

	va_start(ap, request);
	arg = va_arg(ap, int *);
	va_end(ap);
	return (int)leave(s, pd_ioctl(s->host, fd, request, arg));
}

static int so_close(pd_self self, int fd)
{
	struct so *s = enter(self);

	if (fd >= FD_BASE)
		close(fd);
	if (fd >= EPOLL_FIRST && fd < EPOLL_FIRST + EPOLLS) {
		s->epolls[fd - EPOLL_FIRST].used = false;
		return (int)leave(s, 0);
	}
	return (int)leave(s, pd_close(s->host, fd));
}

static int so_shutdown(pd_self self, int fd, int how)
{
	struct so *s = enter(self);

	return (int)leave(s, pd_shutdown(s->host, fd, how));
}

static int so_getsockopt(pd_self self, int fd, int level, int name, void *v, socklen_t *len)
{
	struct so *s = enter(self);

	return (int)leave(s, pd_getsockopt(s->host, fd, level, name, v, len));
}

static int so_setsockopt(pd_self self, int fd, int level, int name, const void *v, socklen_t len)
{
	struct so *s = enter(self);

	return (int)leave(s, pd_setsockopt(s->host, fd, level, name, v, len));
}

/* Time-outs are in virtual time. */
static bool waited_enough(struct so *s, ztime_t begin, int timeout_ms)
{
	return timeout_ms == 0 ||
	       (timeout_ms > 0 && pd_now(s->host) >= begin + ztime_ms(timeout_ms));
}

static int so_poll(pd_self self, struct pollfd *fds, nfds_t n, int timeout)
{
	struct so *s = enter(self);
	ztime_t begin = pd_now(s->host);
	int rc;

	while ((rc = pd_poll(s->host, fds, (unsigned int)n)) == 0 &&
	       !waited_enough(s, begin, timeout))
		wait_move(s);
	return (int)leave(s, rc);
}

static int so_netdev_send(pd_self self, const void *packet, size_t len)
{
	struct so *s = enter(self);

	pd_packet_in(s->host, packet, len);
	return (int)leave(s, 0);
}

static int so_netdev_receive(pd_self self, void *packet, size_t *len, long long *usecs)
{
	struct so *s = enter(self);
	struct pd_packet p;

	pd_advance(s->host, pd_now(s->host) + SILENCE_MAX, true);
	p = pd_packet_out(s->host);
	if (!p.data) {
		*len = 0;
		return (int)leave(s, 0);
	}
	if (p.len < *len)
		*len = p.len;
	memcpy(packet, p.data, *len);
	*usecs = p.at / ZTIME_US;
	free(p.data);
	return (int)leave(s, 0);
}

static int so_usleep(pd_self self, useconds_t usec)
{
	struct so *s = enter(self);

	if (s->returned) { /* the tool notes when a call returned, in real time after it has */
		s->returned = false;
		pthread_mutex_unlock(&s->lock);
		usleep(2000);
		pthread_mutex_lock(&s->lock);
	}
	pd_advance(s->host, pd_now(s->host) + ztime_us(usec), false);
	return (int)leave(s, 0);
}

static int so_gettimeofday(pd_self self, struct timeval *tv, struct timezone *tz)
{
	struct so *s = enter(self);
	ztime_t us;

	(void)tz;
	pd_advance(s->host, pd_now(s->host) + ZTIME_US, false);
	us = pd_now(s->host) / ZTIME_US;
	tv->tv_sec = us / 1000000;
	tv->tv_usec = us % 1000000;
	return (int)leave(s, 0);
}

static int so_epoll_create(pd_self self, int size)
{
	struct so *s = enter(self);

	for (int i = 0; size > 0 && i < EPOLLS; i++) {
		if (s->epolls[i].used)
			continue;
		memset(&s->epolls[i], 0, sizeof(s->epolls[i]));
		s->epolls[i].used = true;
		return (int)leave(s, number_taken(EPOLL_FIRST + i));
	}
	return (int)leave(s, size > 0 ? -EMFILE : -EINVAL);
}

static struct epoll *epoll_get(struct so *s, int epfd)
{
	int i = epfd - EPOLL_FIRST;

	return i >= 0 && i < EPOLLS && s->epolls[i].used ? &s->epolls[i] : NULL;
}

static int epoll_change(struct epoll *e, int op, int fd, const struct epoll_event *ev)
{
	int at = -1, room = -1;

	for (int i = 0; i < EPOLL_FDS; i++) {
		at = e->watched[i].fd == fd ? i : at;
		room = !e->watched[i].fd ? i : room;
	}
	if (op == EPOLL_CTL_ADD && at >= 0)
		return -EEXIST;
	if (op != EPOLL_CTL_ADD && at < 0)
		return -ENOENT;
	at = at < 0 ? room : at;
	if (at < 0)
		return -ENOSPC;
	e->watched[at].fd = op == EPOLL_CTL_DEL ? 0 : fd;
	if (op != EPOLL_CTL_DEL)
		e->watched[at].ev = *ev;
	e->watched[at].told = false;
	return 0;
}

static int so_epoll_ctl(pd_self self, int epfd, int op, int fd, struct epoll_event *ev)
{
	struct so *s = enter(self);
	struct epoll *e = epoll_get(s, epfd);

	return (int)leave(s, e ? epoll_change(e, op, fd, ev) : -EBADF);
}

/* Edge triggered: nothing has happened since it was told. */
static bool watch_quiet(struct so *s, struct watch *w)
{
	uint32_t edges = pd_edges(s->host, w->fd);
	bool quiet = w->ev.events & EPOLLET && w->told && w->edges == edges;

	w->told = true;
	w->edges = edges;
	return quiet;
}

/* EPOLLIN and its like have the values of POLLIN and its like. */
static int epoll_collect(struct so *s, struct epoll *e, struct epoll_event *out, int max)
{
	int n = 0;

	for (int i = 0; i < EPOLL_FDS && n < max; i++) {
		struct watch *w = &e->watched[i];
		struct pollfd p = { .fd = w->fd, .events = (short)w->ev.events };

		if (!p.fd || !pd_poll(s->host, &p, 1) || p.revents & POLLNVAL || watch_quiet(s, w))
			continue;
		out[n] = w->ev;
		out[n++].events = (unsigned short)p.revents;
	}
	return n;
}

static int so_epoll_wait(pd_self self, int epfd, struct epoll_event *out, int max, int timeout)
{
	struct so *s = enter(self);
	struct epoll *e = epoll_get(s, epfd);
	ztime_t begin = pd_now(s->host);
	int n;

	if (!e || max <= 0)
		return (int)leave(s, e ? -EINVAL : -EBADF);
	while ((n = epoll_collect(s, e, out, max)) == 0 && !waited_enough(s, begin, timeout))
		wait_move(s);
	return (int)leave(s, n);
}

static int so_pipe(pd_self self, int fds[2])
{
	(void)self;
	(void)fds;
	errno = ENOSYS;
	return -1;
}

static ssize_t so_splice(pd_self self, int in, loff_t *in_at, int out, loff_t *out_at, size_t len,
			 unsigned int flags)
{
	(void)in;
	(void)in_at;
	(void)out;
	(void)out_at;
	(void)len;
	(void)flags;
	return so_pipe(self, NULL);
}

/*
 * Scripts with code of their own make the tool ask the kernel for TCP_INFO. Where this object is preloaded,
 * the question comes here.
 */
static struct so *asked;

__attribute__((visibility("default"))) int getsockopt(int fd, int level, int name, void *v,
						      socklen_t *len)
{
	if (asked && fd >= FD_BASE)
		return so_getsockopt(asked, fd, level, name, v, len);
	return (int)syscall(SYS_getsockopt, fd, level, name, v, len);
}

__attribute__((visibility("default"))) void packetdrill_interface_init(
	const char *flags, struct packetdrill_interface *ifc)
{
	struct so *s = calloc(1, sizeof(*s));
	char bad[64], settings[512];

	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->moved, NULL);
	pthread_cond_init(&s->settled, NULL);
	snprintf(settings, sizeof(settings), "fd_base=%d %s", FD_BASE,
		 flags && *flags ? flags : FLAGS_UNSAID);
	s->host = pd_host_new(settings, bad);
	if (!s->host) {
		fprintf(stderr, "ztcp packetdrill: setting '%s' is not known\n", bad);
		exit(2);
	}
	asked = s;
	*ifc = (struct packetdrill_interface){
		.userdata = s,
		.free = so_free,
		.socket = so_socket,
		.bind = so_bind,
		.listen = so_listen,
		.accept = so_accept,
		.connect = so_connect,
		.read = so_read,
		.readv = so_readv,
		.recv = so_recv,
		.recvfrom = so_recvfrom,
		.recvmsg = so_recvmsg,
		.write = so_write,
		.writev = so_writev,
		.send = so_send,
		.sendto = so_sendto,
		.sendmsg = so_sendmsg,
		.fcntl = so_fcntl,
		.ioctl = so_ioctl,
		.close = so_close,
		.shutdown = so_shutdown,
		.getsockopt = so_getsockopt,
		.setsockopt = so_setsockopt,
		.poll = so_poll,
		.netdev_send = so_netdev_send,
		.netdev_receive = so_netdev_receive,
		.usleep = so_usleep,
		.gettimeofday = so_gettimeofday,
		.epoll_create = so_epoll_create,
		.epoll_ctl = so_epoll_ctl,
		.epoll_wait = so_epoll_wait,
		.pipe = so_pipe,
		.splice = so_splice,
	};
}
