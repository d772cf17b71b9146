/* par_listen.c - parity of listening sockets whose clients come from the far end: readiness, queues, options, ends */
#include "tests/parity/parity.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>

enum {
	SOON_MS = 100, /* a connection that the far end has is in the queue by then */
	LONG_MS = 5000,
	DIALS_MAX = 24,
};

static struct sockaddr_storage sa;
static socklen_t sa_len;
static char byte;

/* ---- the far end's part ---- */

static long far_connect(int fd, void *buf, size_t *len)
{
	const struct sockaddr *to = buf;

	fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, to, (socklen_t)*len)) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

/* Four begin at once, and stay open. */
static long far_many(int fd, void *buf, size_t *len)
{
	(void)len;
	for (int i = 0; i < 4; i++) {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(fd, buf, sizeof(struct sockaddr_in));
	}
	return 0;
}

/* Another end in the same place. */
static struct end dial(struct conn *c)
{
	struct end e = c->b;
	size_t len = sa_len;
	struct sockaddr_storage to = sa;

	e.fd = (int)end_run(&c->b, far_connect, &to, &len);
	e.tx = e.rx = 0;
	return e;
}

static int dials(struct conn *c, struct end *e, int n)
{
	int ok = 0;

	for (int i = 0; i < n; i++) {
		e[i] = dial(c);
		ok += e[i].fd >= 0;
	}
	sleep_ms(SOON_MS);
	return ok;
}

/* One that nobody waits for is not on the stack. */
static void looked_at(int l)
{
	struct pollfd p = { l, POLLIN, 0 };

	poll(&p, 1, 0);
}

static int listener(int backlog)
{
	return listen_any(AF_INET, backlog, &sa, &sa_len);
}

/* All that wait, closed again. */
static int accept_all(int l)
{
	int n = 0, fl = fcntl(l, F_GETFL), fd;

	fcntl(l, F_SETFL, fl | O_NONBLOCK);
	for (; (fd = accept(l, NULL, NULL)) >= 0; n++)
		close(fd);
	fcntl(l, F_SETFL, fl);
	return n;
}

/* ---- readiness ---- */

static int set_of(int l, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u64 = 7 };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev));
	return ep;
}

static void told(const char *what, int ep, int ms)
{
	struct epoll_event ev = { 0 };
	int n = epoll_wait(ep, &ev, 1, ms);

	say("%s: %d %s", what, n, n > 0 ? poll_name(ev.events) : "");
}

CASE(level, F_PAIR | F_HALF, "epoll: a listener is told until its queue is empty")
{
	int l = listener(8), ep = set_of(l, EPOLLIN);
	struct end e[2];

	told("nobody", ep, 0);
	SHOW(dials(c, e, 2));
	told("two wait", ep, LONG_MS);
	told("again", ep, LONG_MS);
	close(accept(l, NULL, NULL));
	told("one waits", ep, LONG_MS);
	SHOW(accept_all(l));
	told("empty", ep, 0);
}

CASE(edge, F_PAIR | F_HALF, "epoll: EPOLLET on a listener")
{
	int l = listener(8), ep = set_of(l, EPOLLIN | EPOLLET);
	struct end e[2], more[1];

	SHOW(dials(c, e, 2));
	told("two wait", ep, LONG_MS);
	told("the same", ep, 0);
	close(accept(l, NULL, NULL));
	told("one left", ep, 0);
	SHOW(dials(c, more, 1));
	told("another", ep, LONG_MS);
	SHOW(accept_all(l));
	told("empty", ep, 0);
}

CASE(oneshot, F_PAIR | F_HALF, "epoll: EPOLLONESHOT on a listener")
{
	int l = listener(8), ep = set_of(l, EPOLLIN | EPOLLONESHOT);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 8 };
	struct end e[2];

	SHOW(dials(c, e, 1));
	told("one waits", ep, LONG_MS);
	SHOW(dials(c, e + 1, 1));
	told("disarmed", ep, SOON_MS);
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, l, &ev));
	told("armed", ep, LONG_MS);
	SHOW(accept_all(l));
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, l, &ev));
	told("empty", ep, 0);
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, l, NULL));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, l, NULL));
}

CASE(exclusive, F_PAIR | F_HALF, "epoll: EPOLLEXCLUSIVE in two sets")
{
	int l = listener(8), x = set_of(l, EPOLLIN | EPOLLEXCLUSIVE);
	int y = set_of(l, EPOLLIN | EPOLLEXCLUSIVE);
	struct epoll_event ev = { .events = EPOLLIN };
	struct end e[1];

	SHOW(epoll_ctl(x, EPOLL_CTL_MOD, l, &ev));
	SHOW(dials(c, e, 1));
	say("told: %d", epoll_wait(x, &ev, 1, 0) + epoll_wait(y, &ev, 1, 0) > 0);
	SHOW(accept_all(l));
	told("x", x, 0);
	told("y", y, 0);
}

static void *poller(void *arg)
{
	struct pollfd p = { *(int *)arg, POLLIN | POLLOUT, 0 };
	int n = poll(&p, 1, LONG_MS);

	say("poll: %d %s", n, poll_name(p.revents));
	return NULL;
}

CASE(poll_select, F_PAIR | F_HALF, "poll by a thread, and select, on a listener")
{
	int l = listener(8);
	struct timeval tv = { 0, 0 }, five = { 5, 0 };
	struct end e[1];
	pthread_t t = hold(poller, &l);
	fd_set in;

	sleep_ms(50);
	SHOW(dials(c, e, 1));
	pthread_join(t, NULL);
	FD_ZERO(&in);
	FD_SET(l, &in);
	SHOW(select(l + 1, &in, NULL, NULL, &five));
	SHOW(accept_all(l));
	FD_SET(l, &in);
	SHOW(select(l + 1, &in, NULL, NULL, &tv));
}

/* ---- the queue ---- */

CASE(time_out, F_PAIR | F_HALF, "accept: SO_RCVTIMEO, O_NONBLOCK; accept4's flags")
{
	int l = listener(8), s;
	struct timeval tv = { 0, 150000 };
	struct end e[2];

	SHOW(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	int64_t t0 = now_us();

	SHOW(accept(l, NULL, NULL));
	say_waited_ticks("accept", t0, 150);
	SHOW(dials(c, e, 2));
	s = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	say("flags %#x %#x", fcntl(s, F_GETFL), fcntl(s, F_GETFD));
	s = accept4(l, NULL, NULL, 0);
	say("flags %#x %#x", fcntl(s, F_GETFL), fcntl(s, F_GETFD));
	fcntl(l, F_SETFL, O_NONBLOCK);
	SHOW(accept(l, NULL, NULL));
	SHOW(accept4(l, NULL, NULL, 0x77));
}

CASE(listen_twice, F_PAIR | F_HALF, "listen again with another backlog")
{
	int l = listener(1);
	struct end e[4];

	SHOW(listen(l, 8));
	SHOW(dials(c, e, 4));
	SHOW(accept_all(l));
	SHOW(listen(l, 0));
	SHOW(dials(c, e, 1));
	SHOW(accept_all(l));
}

CASE(overflow, F_PAIR | F_HALF, "more clients than the backlog: none is lost")
{
	int l = listener(2), n = 0;

	size_t len = sizeof(struct sockaddr_in);

	end_run(&c->b, far_many, &sa, &len);
	sleep_ms(SOON_MS);
	for (; n < 4 && await(l, POLLIN) == POLLIN; n++)
		close(accept(l, NULL, NULL));
	SHOW(n);
}

CASE(shutdown_listener, F_PAIR | F_HALF, "shutdown of a listener, and a new listen")
{
	int l = listener(8);
	struct end e[2];

	SHOW(dials(c, e, 1));
	SHOW(shutdown(l, SHUT_WR));
	SHOW(shutdown(l, SHUT_RD));
	SHOW(end_get1(&e[0], 1));
	say("%s", poll_name(await(l, POLLIN)));
	SHOW(accept(l, NULL, NULL));
	e[1] = dial(c);
	show("dial", e[1].fd < 0 ? -1 : 0);
	SHOW(listen(l, 8));
	SHOW(dials(c, e, 1));
	SHOW(accept_all(l));
}

CASE(close_waiting, F_PAIR | F_HALF,
     "a listener is closed while connections wait, in the kernel's queue too")
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	socklen_t len = sizeof(any);
	int l = socket(AF_INET, SOCK_STREAM, 0), near = socket(AF_INET, SOCK_STREAM, 0);
	struct end e[2];

	SHOW(bind(l, (struct sockaddr *)&any, sizeof(any)));
	SHOW(listen(l, 8));
	looked_at(l);
	MUST(getsockname(l, (struct sockaddr *)&any, &len));
	any.sin_addr.s_addr = htonl(par_host());
	memcpy(&sa, &any, sizeof(any));
	sa_len = sizeof(any);
	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	SHOW(dials(c, e, 2));
	SHOW(connect(near, (struct sockaddr *)&any, sizeof(any)));
	close(accept(l, NULL, NULL));
	SHOW(close(l));
	sleep_ms(SOON_MS);
	say("%d ended",
	    (end_get1(&e[0], 1) <= 0) + (end_get1(&e[1], 1) <= 0) + (read(near, &byte, 1) <= 0));
	e[0] = dial(c);
	show("dial", e[0].fd < 0 ? -1 : 0);
}

/* ---- numbers and processes ---- */

CASE(dup_listener, F_PAIR | F_HALF, "a listener's other number serves on")
{
	int l = listener(8), other = dup(l), ep = set_of(other, EPOLLIN);
	struct end e[2];

	SHOW(dials(c, e, 1));
	SHOW(close(l));
	told("the other", ep, LONG_MS);
	SHOW(dials(c, e + 1, 1));
	SHOW(accept_all(other));
	told("empty", ep, 0);
	SHOW(close(other));
	told("closed", ep, 0);
}

static void worker(int l)
{
	for (;;) {
		int s = accept(l, NULL, NULL);

		if (s < 0 || read(s, &byte, 1) != 1 || write(s, &byte, 1) != 1)
			_exit(1);
		close(s);
	}
}

CASE(prefork, F_PAIR | F_HALF, "three forked children serve one listener; one is killed")
{
	int l = listener(32), answered = 0;
	struct end e;
	pid_t pid[3];

	for (int i = 0; i < 3; i++) {
		pid[i] = fork();
		if (!pid[i])
			worker(l);
	}
	for (int i = 0; i < DIALS_MAX; i++) {
		if (i == DIALS_MAX / 2) {
			kill(pid[0], SIGKILL);
			reap("worker", pid[0]);
		}
		e = dial(c);
		e.dir = i & 1;
		end_put(&e, 1);
		e.dir = !e.dir; /* the same byte comes back */
		answered += end_get(&e, 1) == 1;
		end_close(&e);
	}
	SHOW(answered);
	for (int i = 1; i < 3; i++) {
		kill(pid[i], SIGTERM);
		reap("worker", pid[i]);
	}
}

static int listener_reuse(void)
{
	int l = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(l, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	SHOW(bind(l, (struct sockaddr *)&sa, sa_len));
	SHOW(listen(l, 32));
	looked_at(l);
	return l;
}

CASE(reuse_port, F_PAIR | F_HALF, "two listeners on one port, 16 clients; then one listener")
{
	int l = listener(32), x, y;
	struct end e[DIALS_MAX];

	close(l); /* its port is free, and known */
	x = listener_reuse();
	y = listener_reuse();
	SHOW(dials(c, e, 16));
	SHOW(accept_all(x) + accept_all(y));
	SHOW(close(x));
	SHOW(dials(c, e, 8));
	SHOW(accept_all(y));
}

CASE(in_use, F_PAIR | F_HALF, "EADDRINUSE beside a listener, with and without SO_REUSEADDR")
{
	int l = listener(8), s = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	struct end e[1];

	SHOW(bind(s, (struct sockaddr *)&sa, sa_len));
	SHOW(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	SHOW(bind(s, (struct sockaddr *)&sa, sa_len));
	SHOW(close(l));
	SHOW(bind(s, (struct sockaddr *)&sa, sa_len));
	SHOW(listen(s, 8));
	SHOW(dials(c, e, 1));
	SHOW(accept_all(s));
}

static int option(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) ? -1 : v;
}

CASE(options, F_PAIR | F_HALF, "what a listener says of itself")
{
	int s = socket(AF_INET, SOCK_STREAM, 0), l = listener(8), n = -1;
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);
	struct end e[1];

	SHOW(option(s, SOL_SOCKET, SO_ACCEPTCONN));
	SHOW(option(l, SOL_SOCKET, SO_ACCEPTCONN));
	SHOW(dials(c, e, 1));
	SHOW(option(l, SOL_SOCKET, SO_ERROR));
	SHOW(option(l, SOL_SOCKET, SO_TYPE));
	SHOW(getsockopt(l, IPPROTO_TCP, TCP_INFO, &ti, &len));
	say("state %u, at most %u", ti.tcpi_state, ti.tcpi_sacked);
	SHOW(ioctl(l, FIONREAD, &n));
	len = sizeof(sa);
	SHOW(getpeername(l, (struct sockaddr *)&sa, &len));
	SHOW(read(l, &byte, 1));
	SHOW(send(l, &byte, 1, MSG_NOSIGNAL));
	SHOW(accept_all(l));
}
