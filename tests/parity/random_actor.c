/* random_actor.c - a process that makes the calls of the random tester, one at a time (random_calls.h) */
#include "tests/parity/random_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

static unsigned char buf[RC_BYTES];
static volatile sig_atomic_t signals;
static struct rc_rep rep;
static int self;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

static void text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void text(const char *fmt, ...)
{
	size_t at = strlen(rep.text);
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(rep.text + at, sizeof(rep.text) - at, fmt, ap);
	va_end(ap);
	errno = err;
}

static unsigned char pattern(uint64_t key, uint64_t off)
{
	uint64_t x = (key + 1) * 0x9e3779b97f4a7c15u ^ (off / 7 + 1) * 0xbf58476d1ce4e5b9u;

	return (unsigned char)((x ^ x >> 29) + off);
}

static void fill(const struct rc_req *q)
{
	for (long i = 0; i < q->n; i++)
		buf[i] = pattern(q->key, q->off + (uint64_t)i);
}

static void check(const struct rc_req *q, long n)
{
	for (long i = 0; i < n; i++) {
		if (buf[i] != pattern(q->key, q->off + (uint64_t)i)) {
			text(" WRONG BYTE %ld", i);
			return;
		}
	}
}

/* @n bytes of buf in three parts, the second of which may be empty. */
static int parts(struct iovec *iov, long n)
{
	long first = n / 3, second = n % 5 ? n / 4 : 0;

	iov[0] = (struct iovec){ buf, (size_t)first };
	iov[1] = (struct iovec){ buf + first, (size_t)second };
	iov[2] = (struct iovec){ buf + first + second, (size_t)(n - first - second) };
	return 3;
}

/* Several messages of one call; Return: their bytes, or -1. */
static long many(const struct rc_req *q, bool out)
{
	struct iovec iov[3];
	struct mmsghdr m[3];
	long sum = 0;
	int r;

	memset(m, 0, sizeof(m));
	parts(iov, q->n);
	for (int i = 0; i < 3; i++) {
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	r = out ? sendmmsg(q->fd, m, 3, (int)q->flags) : recvmmsg(q->fd, m, 3, (int)q->flags, NULL);
	if (r < 0)
		return -1;
	for (int i = 0; i < r; i++) {
		text(" %u", m[i].msg_len);
		/* Bytes of a later message lie where they belong only if the earlier ones are full. */
		if (!out && sum != (unsigned char *)iov[i].iov_base - buf)
			memmove(buf + sum, iov[i].iov_base, m[i].msg_len);
		sum += m[i].msg_len;
	}
	return sum;
}

static long do_read(const struct rc_req *q)
{
	struct iovec iov[3];
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)parts(iov, q->n) };
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	long r;

	memset(buf, 0xee, sizeof(buf));
	switch (q->how) {
	case 0: r = read(q->fd, buf, (size_t)q->n); break;
	case 1: r = readv(q->fd, iov, 3); break;
	case 2: r = recv(q->fd, buf, (size_t)q->n, (int)q->flags); break;
	case 3:
		r = recvfrom(q->fd, buf, (size_t)q->n, (int)q->flags, (struct sockaddr *)&sa, &len);
		if (r >= 0)
			text(" from %u", len);
		break;
	case 4:
		r = recvmsg(q->fd, &m, (int)q->flags);
		if (r >= 0)
			text(" flags %x", (unsigned)m.msg_flags);
		break;
	case 5: r = many(q, false); break;
	default: r = preadv2(q->fd, iov, 3, -1, 0);
	}
	if (r > 0 && !(q->how >= 2 && q->flags & MSG_TRUNC))
		check(q, r);
	return r;
}

static long do_write(const struct rc_req *q)
{
	struct iovec iov[3];
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)parts(iov, q->n) };

	fill(q);
	switch (q->how) {
	case 0: return write(q->fd, buf, (size_t)q->n);
	case 1: return writev(q->fd, iov, 3);
	case 2: return send(q->fd, buf, (size_t)q->n, (int)q->flags);
	case 3: return sendto(q->fd, buf, (size_t)q->n, (int)q->flags, NULL, 0);
	case 4: return sendmsg(q->fd, &m, (int)q->flags);
	case 5: return many(q, true);
	default: return pwritev2(q->fd, iov, 3, -1, 0);
	}
}

static long do_sendfile(const struct rc_req *q)
{
	int f = memfd_create("random", MFD_CLOEXEC);
	off_t at = 3;
	long r;

	fill(q);
	if (pwrite(f, buf, (size_t)q->n, q->how ? at : 0) != q->n)
		abort();
	r = sendfile(q->fd, f, q->how ? &at : NULL, (size_t)q->n);
	text(" at %ld, %ld", (long)at, (long)lseek(f, 0, SEEK_CUR));
	close(f);
	return r;
}

/* From a pipe into the socket. */
static long do_splice_in(const struct rc_req *q)
{
	int p[2];
	long r;

	fill(q);
	if (pipe2(p, O_CLOEXEC) < 0 || write(p[1], buf, (size_t)q->n) != q->n)
		abort();
	r = splice(p[0], NULL, q->fd, NULL, (size_t)q->n, 0);
	close(p[0]);
	close(p[1]);
	return r;
}

/* From the socket into a pipe until @n bytes came: how many at a time is not said anywhere. */
static long do_splice_out(const struct rc_req *q)
{
	int p[2];
	long sum = 0, r = 0;

	if (pipe2(p, O_CLOEXEC) < 0)
		abort();
	while (sum < q->n && (r = splice(q->fd, NULL, p[1], NULL, (size_t)(q->n - sum), 0)) > 0) {
		if (read(p[0], buf + sum, (size_t)r) != r)
			abort();
		sum += r;
	}
	check(q, sum);
	close(p[0]);
	close(p[1]);
	return sum ? sum : r;
}

static const char *const bit_names[] = { "IN",   "PRI",    "OUT",    "ERR",    "HUP",
					 "NVAL", "RDNORM", "RDBAND", "WRNORM", "WRBAND",
					 "MSG",  NULL,     NULL,     "RDHUP" };

static void bits(unsigned mask)
{
	const char *sep = ":";

	for (unsigned i = 0; i < sizeof(bit_names) / sizeof(*bit_names); i++) {
		if (mask & 1u << i && bit_names[i]) {
			text("%s%s", sep, bit_names[i]);
			sep = "|";
		}
	}
}

static long do_poll(const struct rc_req *q)
{
	struct timespec zero = { 0, 0 };
	struct pollfd p[RC_FDS];
	long r;

	for (int i = 0; i < q->sets; i++)
		p[i] = (struct pollfd){ q->fds[i], (short)q->events[i], 0 };
	r = q->how == 1 ? ppoll(p, (nfds_t)q->sets, &zero, NULL)
			: poll(p, (nfds_t)q->sets, q->how ? -1 : 0);
	for (int i = 0; i < q->sets; i++) {
		text(" %d", q->fds[i]);
		bits((unsigned short)p[i].revents);
	}
	return r;
}

static long do_select(const struct rc_req *q)
{
	struct timespec nothing = { 0, 0 };
	struct timeval zero = { 0, 0 };
	fd_set s[3];
	int top = 0;
	long r;

	for (int k = 0; k < 3; k++)
		FD_ZERO(&s[k]);
	for (int i = 0; i < q->sets; i++) {
		for (int k = 0; k < 3; k++)
			if (q->events[i] & 1 << k)
				FD_SET(q->fds[i], &s[k]);
		if (q->fds[i] >= top)
			top = q->fds[i] + 1;
	}
	r = q->how ? pselect(top, &s[0], &s[1], &s[2], &nothing, NULL)
		   : select(top, &s[0], &s[1], &s[2], &zero);
	for (int i = 0; r >= 0 && i < q->sets; i++)
		text(" %d:%d%d%d", q->fds[i], !!FD_ISSET(q->fds[i], &s[0]),
		     !!FD_ISSET(q->fds[i], &s[1]), !!FD_ISSET(q->fds[i], &s[2]));
	return r;
}

static int by_data(const void *x, const void *y)
{
	const struct epoll_event *a = x, *b = y;

	return a->data.u64 < b->data.u64 ? -1 : a->data.u64 > b->data.u64;
}

static long do_ep_wait(const struct rc_req *q)
{
	struct timespec zero = { 0, 0 };
	struct epoll_event e[32];
	long r;

	if (q->how == 0)
		r = epoll_wait(q->fd, e, 32, 0);
	else if (q->how == 1)
		r = epoll_pwait(q->fd, e, 32, 0, NULL);
	else
		r = epoll_pwait2(q->fd, e, 32, &zero, NULL);
	if (r > 0)
		qsort(e, (size_t)r, sizeof(*e), by_data);
	for (long i = 0; i < r; i++) {
		text(" %d@%d", (int)(e[i].data.u64 & 0xffff), (int)(e[i].data.u64 >> 16));
		bits(e[i].events);
	}
	return r;
}

static long do_ep_ctl(const struct rc_req *q)
{
	struct epoll_event e = { .events = q->flags, .data.u64 = q->key };

	return epoll_ctl(q->fd, q->how, q->a, &e);
}

static long do_getopt(const struct rc_req *q)
{
	unsigned char v[64];
	socklen_t len = q->n > (long)sizeof(v) ? sizeof(v) : (socklen_t)q->n;
	int r;

	memset(v, 0xee, sizeof(v));
	r = getsockopt(q->fd, q->a, q->b, v, &len);
	text(" [%u]", len);
	for (socklen_t i = 0; r == 0 && i < len && i < 16; i++)
		text("%02x", v[i]);
	return r;
}

static long do_accept(const struct rc_req *q)
{
	rep.sa_len = sizeof(rep.sa);
	if (q->how)
		return accept4(q->fd, (struct sockaddr *)&rep.sa, &rep.sa_len, (int)q->flags);
	return accept(q->fd, (struct sockaddr *)&rep.sa, &rep.sa_len);
}

static long do_name(const struct rc_req *q)
{
	rep.sa_len = sizeof(rep.sa);
	if (q->how)
		return getpeername(q->fd, (struct sockaddr *)&rep.sa, &rep.sa_len);
	return getsockname(q->fd, (struct sockaddr *)&rep.sa, &rep.sa_len);
}

/* What the director waits for: readiness, unread bytes, the kernel's state and, of a listener, who waits in it. */
static long do_state(const struct rc_req *q)
{
	struct pollfd p = { q->fd, POLLIN | POLLOUT | POLLRDHUP, 0 };
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int inq = -1;

	poll(&p, 1, 0);
	ioctl(q->fd, FIONREAD, &inq);
	if (q->a)
		getsockopt(q->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	rep.x[0] = (unsigned short)p.revents;
	rep.x[1] = inq;
	rep.x[2] = info.tcpi_state;
	rep.x[3] = (int)info.tcpi_unacked;
	return 0;
}

/* Bytes that have come, TCP's state; bytes that are not acknowledged, which in the end is none. */
static long do_counts(const struct rc_req *q)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int out = -1;

	if (getsockopt(q->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return -1;
	for (int i = 0; i < 2000 && ioctl(q->fd, SIOCOUTQ, &out) == 0 && out; i++)
		usleep(1000);
	text(" state %d, %d out", info.tcpi_state, out);
	if (q->a)
		text(", %llu came", (unsigned long long)info.tcpi_bytes_received);
	return 0;
}

static long do_give(const struct rc_req *q)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &q->fd, sizeof(int));
	return sendmsg(RC_RIGHTS, &m, 0);
}

static long do_take(const struct rc_req *q)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(RC_RIGHTS + 1, &m, (int)q->flags) < 0 || !CMSG_FIRSTHDR(&m))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return fd;
}

static long do_fork(const struct rc_req *q)
{
	pid_t pid = fork();

	if (pid == 0)
		rc_actor(q->a, 1);
	return pid;
}

static long do_exec(void)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", self);
	execl("/proc/self/exe", "random_calls", "--actor", name, (char *)NULL);
	return -1;
}

static long do_misc(const struct rc_req *q)
{
	int v = q->b;

	switch (q->op) {
	case RC_DUP: return dup(q->fd);
	case RC_DUP2: return q->how ? dup3(q->fd, q->a, (int)q->flags) : dup2(q->fd, q->a);
	case RC_DUPFD: return fcntl(q->fd, q->how ? F_DUPFD_CLOEXEC : F_DUPFD, q->a);
	case RC_FLAGS: return q->how ? fcntl(q->fd, F_GETFD) : fcntl(q->fd, F_GETFL);
	case RC_NONBLOCK:
		return q->how ? ioctl(q->fd, FIONBIO, &v)
			      : fcntl(q->fd, F_SETFL, v ? O_NONBLOCK : 0);
	case RC_CLOEXEC:
		return q->how ? ioctl(q->fd, v ? FIOCLEX : FIONCLEX)
			      : fcntl(q->fd, F_SETFD, v ? FD_CLOEXEC : 0);
	case RC_INQ:
		v = -1;
		if (ioctl(q->fd, FIONREAD, &v) < 0)
			return -1;
		text(" %d", v);
		return 0;
	case RC_SHUTDOWN: return shutdown(q->fd, q->how);
	case RC_CLOSE: return close(q->fd);
	case RC_EP_NEW: return epoll_create1((int)q->flags);
	default: abort();
	}
}

static long act(const struct rc_req *q)
{
	switch (q->op) {
	case RC_SOCKET: return socket(q->a, SOCK_STREAM | (int)q->flags, 0);
	case RC_BIND: return bind(q->fd, (const struct sockaddr *)&q->sa, q->sa_len);
	case RC_LISTEN: return listen(q->fd, q->a);
	case RC_CONNECT: return connect(q->fd, (const struct sockaddr *)&q->sa, q->sa_len);
	case RC_ACCEPT: return do_accept(q);
	case RC_READ: return do_read(q);
	case RC_WRITE: return do_write(q);
	case RC_SENDFILE: return do_sendfile(q);
	case RC_SPLICE_IN: return do_splice_in(q);
	case RC_SPLICE_OUT: return do_splice_out(q);
	case RC_SETOPT: return setsockopt(q->fd, q->a, q->b, &q->sa, (socklen_t)q->n);
	case RC_GETOPT: return do_getopt(q);
	case RC_NAME: return do_name(q);
	case RC_POLL: return do_poll(q);
	case RC_SELECT: return do_select(q);
	case RC_EP_CTL: return do_ep_ctl(q);
	case RC_EP_WAIT: return do_ep_wait(q);
	case RC_FORK: return do_fork(q);
	case RC_EXEC: return do_exec();
	case RC_GIVE: return do_give(q);
	case RC_TAKE: return do_take(q);
	case RC_STATE: return do_state(q);
	case RC_COUNTS: return do_counts(q);
	default: return do_misc(q);
	}
}

static void *act_apart(void *arg)
{
	errno = 0;
	rep.ret = act(arg);
	rep.err = rep.ret == -1 ? errno : 0;
	return NULL;
}

void rc_actor(int me, int ready)
{
	pthread_t thread;
	struct rc_req q;

	self = me;
	signal(SIGPIPE, on_signal);
	signal(SIGCHLD, SIG_IGN);
	alarm(120);
	memset(&rep, 0, sizeof(rep));
	rep.ret = getpid();
	while (!ready || send(RC_RPC + me, &rep, sizeof(rep), MSG_NOSIGNAL) == sizeof(rep)) {
		ready = 1;
		if (recv(RC_RPC + me, &q, sizeof(q), 0) != sizeof(q) || q.op == RC_EXIT)
			break;
		memset(&rep, 0, sizeof(rep));
		signals = 0;
		if (!q.apart || pthread_create(&thread, NULL, act_apart, &q))
			act_apart(&q);
		else
			pthread_join(thread, NULL);
		rep.signals = signals;
	}
	_exit(0);
}
