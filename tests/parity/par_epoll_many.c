/* par_epoll_many.c - parity of epoll in company: nested, several sets, dups, threads, other kinds of fds */
#include "tests/parity/par_ep.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static char buf[1 << 16];

CASE(nested, F_ANY, "an epoll in an epoll: the outer one tells of data in the inner one")
{
	int in = ep_new(), out = ep_new();

	SHOW(ep_add(in, c->a.fd, EPOLLIN, 1));
	SHOW(ep_add(out, in, EPOLLIN, 2));
	ep_say(out, 0);
	arrive(c, 10);
	ep_say(out, 5000);
	ep_say(in, 0);
	SHOW(end_get(&c->a, 10));
	ep_say(out, 0);
	late(c, 20);
	ep_say(out, 5000);
	end_join(&c->b, NULL, NULL);
	ep_say(in, 0);
}

CASE(nested_edge, F_BOTH, "the inner epoll is in the outer one by edge")
{
	int in = ep_new(), out = ep_new();

	SHOW(ep_add(in, c->a.fd, EPOLLIN, 1));
	SHOW(ep_add(out, in, EPOLLIN | EPOLLET, 2));
	arrive(c, 10);
	ep_say(out, 5000);
	ep_say(out, 0);
	arrive(c, 5);
	ep_say(out, 5000);
}

CASE(nested_three, F_BOTH, "three levels, and a loop is refused")
{
	int x = ep_new(), y = ep_new(), z = ep_new();

	SHOW(ep_add(x, c->a.fd, EPOLLIN, 1));
	SHOW(ep_add(y, x, EPOLLIN, 2));
	SHOW(ep_add(z, y, EPOLLIN, 3));
	SHOW(ep_add(x, z, EPOLLIN, 4));
	arrive(c, 1);
	ep_say(z, 5000);
	ep_say(y, 0);
	ep_say(x, 0);
}

CASE(nested_ends, F_PLAIN,
     "5000 epolls are closed with another one in them, and 5000 while in another one")
{
	int in = ep_new(), out = ep_new(), good = 0;

	for (int i = 0; i < 5000; i++) {
		int a = ep_new(), b = ep_new();

		good += ep_add(a, in, EPOLLIN, 1) == 0;
		good += ep_add(out, b, EPOLLIN, 2) == 0;
		close(a);
		close(b);
	}
	SHOW(good);
	SHOW(ep_add(out, in, EPOLLIN, 3));
	ep_say(out, 0);
}

static void *nest_and_close(void *arg)
{
	long good = 0;

	for (int i = 0; i < 3000; i++) {
		int in = ep_new();

		good += ep_add(*(int *)arg, in, EPOLLIN, 1) == 0;
		close(in);
	}
	return (void *)good;
}

CASE(nested_threads, F_BOTH, "3 threads put epolls into one and close them, a fourth waits for it")
{
	int in = ep_new(), out = ep_new(), told = 0;
	pthread_t t[3];
	void *good;

	SHOW(ep_add(in, c->a.fd, EPOLLIN, 1));
	SHOW(ep_add(out, in, EPOLLIN, 2));
	arrive(c, 1);
	for (int i = 0; i < 3; i++)
		t[i] = hold(nest_and_close, &out);
	for (int i = 0; i < 3000; i++) {
		struct epoll_event e = { 0 };

		told += epoll_wait(out, &e, 1, 0) == 1 && e.data.u64 == 2;
	}
	SHOW(told);
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], &good);
		SHOW((long)good);
	}
	SHOW(end_get(&c->a, 1));
	ep_say(out, 0);
}

CASE(poll_of_epoll, F_ANY, "poll and select on an epoll fd")
{
	int ep = ep_new();
	struct pollfd p = { ep, POLLIN | POLLOUT, 0 };
	fd_set r;
	struct timeval tv = { 5, 0 };

	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	SHOW(poll(&p, 1, 0));
	arrive(c, 1);
	SHOW(poll(&p, 1, 5000));
	say("%s", poll_name(p.revents));
	FD_ZERO(&r);
	FD_SET(ep, &r);
	SHOW(select(ep + 1, &r, NULL, NULL, &tv));
	SHOW(end_get(&c->a, 1));
	SHOW(poll(&p, 1, 0));
	late(c, 20);
	SHOW(poll(&p, 1, 5000));
	end_join(&c->b, NULL, NULL);
	SHOW(read(c->a.fd, buf, 10));
	FD_SET(ep, &r);
	late(c, 20);
	SHOW(select(ep + 1, &r, NULL, NULL, &tv));
	end_join(&c->b, NULL, NULL);
}

CASE(two_sets, F_ANY, "one fd in two epolls with different modes")
{
	int x = ep_new(), y = ep_new();

	SHOW(ep_add(x, c->a.fd, EPOLLIN, 1));
	SHOW(ep_add(y, c->a.fd, EPOLLIN | EPOLLOUT | EPOLLET, 2));
	ep_say(x, 0);
	ep_say(y, 0);
	arrive(c, 10);
	ep_say(x, 5000);
	ep_say(y, 5000);
	ep_say(x, 0);
	ep_say(y, 0);
	SHOW(close(x));
	arrive(c, 15);
	ep_say(y, 5000);
}

CASE(dup_member, F_ANY, "a dup'ed number in the set beside the first; the first is closed")
{
	int ep = ep_new(), d = dup(c->a.fd);

	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	SHOW(ep_add(ep, d, EPOLLIN, 2));
	arrive(c, 5);
	ep_say(ep, 5000);
	SHOW(close(c->a.fd));
	ep_say(ep, 0);
	c->a.fd = d;
	SHOW(end_get(&c->a, 5));
	ep_say(ep, 0);
	SHOW(close(d));
	SHOW(end_get1(&c->b, 1));
	ep_say(ep, 20);
}

CASE(close_member, F_ANY, "a closed member leaves the set; its number used again is not in it")
{
	int ep = ep_new(), n = c->a.fd;

	SHOW(ep_add(ep, n, EPOLLIN, 1));
	arrive(c, 5);
	SHOW(close(n));
	ep_say(ep, 20);
	struct conn d;

	conn_open(c, &d);
	SHOW(dup2(d.a.fd, 88));
	if (d.a.fd != n)
		dup2(d.a.fd, n);
	ep_say(ep, 0);
	SHOW(ep_add(ep, n, EPOLLIN, 3));
	arrive(&d, 5);
	ep_say(ep, 5000);
}

CASE(close_epoll, F_ANY, "the epoll fd is closed: the connection goes on; its number used again")
{
	int ep = ep_new(), e2;

	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	arrive(c, 5);
	ep_say(ep, 0);
	SHOW(close(ep));
	SHOW(end_get(&c->a, 5));
	e2 = ep_new();
	say("number used again: %d", e2 == ep);
	ep_say(e2, 0);
	SHOW(ep_add(e2, c->a.fd, EPOLLIN, 2));
	arrive(c, 5);
	ep_say(e2, 5000);
}

CASE(dup_epoll, F_BOTH, "a dup of the epoll fd is the same set")
{
	int ep = ep_new(), d = dup(ep);

	SHOW(ep_add(d, c->a.fd, EPOLLIN | EPOLLET, 1));
	arrive(c, 5);
	ep_say(ep, 5000);
	ep_say(d, 0);
	SHOW(close(ep));
	arrive(c, 6);
	ep_say(d, 5000);
}

static int woken;

static void *wait_once(void *arg)
{
	struct epoll_event e;
	int n = epoll_wait(*(int *)arg, &e, 1, 5000);

	__atomic_fetch_add(&woken, 1, __ATOMIC_RELEASE);
	return (void *)(intptr_t)(n == 1 ? (int)e.data.u32 : -n - 1);
}

CASE(add_wakes, F_ANY, "ADD of a ready fd by another thread wakes epoll_wait")
{
	int ep = ep_new();
	void *r;

	arrive(c, 5);
	pthread_t t = hold(wait_once, &ep);

	sleep_ms(20);
	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 9));
	pthread_join(t, &r);
	SHOW((intptr_t)r);
}

CASE(mod_wakes, F_BOTH, "MOD by another thread wakes epoll_wait")
{
	int ep = ep_new();
	void *r;

	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 8));
	pthread_t t = hold(wait_once, &ep);

	sleep_ms(20);
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLOUT, 9));
	pthread_join(t, &r);
	SHOW((intptr_t)r);
}

struct pool {
	int ep;
	int left;
	int served;
};

static void *pool_worker(void *arg)
{
	struct pool *p = arg;
	struct epoll_event e;
	char x[8];

	while (__atomic_load_n(&p->left, __ATOMIC_ACQUIRE) > 0) {
		if (epoll_wait(p->ep, &e, 1, 20) != 1)
			continue;
		if (recv(e.data.fd, x, 8, MSG_DONTWAIT) == 8) {
			__atomic_fetch_add(&p->served, 1, __ATOMIC_ACQ_REL);
			__atomic_fetch_sub(&p->left, 1, __ATOMIC_ACQ_REL);
		}
		struct epoll_event again = { EPOLLIN | EPOLLONESHOT, { .fd = e.data.fd } };

		epoll_ctl(p->ep, EPOLL_CTL_MOD, e.data.fd, &again);
	}
	return NULL;
}

CASE(threads_oneshot, F_BOTH, "one epoll, 4 threads, oneshot: each message is served once")
{
	struct conn d[6];
	struct pool p = { ep_new(), 60, 0 };
	pthread_t t[4];

	for (int i = 0; i < 6; i++) {
		struct epoll_event e = { EPOLLIN | EPOLLONESHOT, { 0 } };

		conn_open(c, &d[i]);
		e.data.fd = d[i].a.fd;
		MUST(epoll_ctl(p.ep, EPOLL_CTL_ADD, d[i].a.fd, &e));
	}
	for (int i = 0; i < 4; i++)
		t[i] = hold(pool_worker, &p);
	for (int i = 0; i < 60; i++)
		end_put1(&d[i % 6].b, 8);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	SHOW(p.served);
}

CASE(threads_edge_wakes_one, F_BOTH, "two threads in epoll_wait, edge: one arrival wakes one")
{
	int ep = ep_new();
	void *r, *s;

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLET, 1));
	pthread_t t = hold(wait_once, &ep), u = hold(wait_once, &ep);

	sleep_ms(20);
	arrive(c, 3);
	/* arrivals that nobody has been told of are one event */
	for (int i = 0; i < 5000 && !__atomic_load_n(&woken, __ATOMIC_ACQUIRE); i++)
		sleep_ms(1);
	sleep_ms(20);
	say("woken: %d", __atomic_load_n(&woken, __ATOMIC_ACQUIRE));
	arrive(c, 4);
	pthread_join(t, &r);
	pthread_join(u, &s);
	SHOW((intptr_t)r + (intptr_t)s);
}

CASE(maxevents_turns, F_BOTH, "level with maxevents of 1: ready members come in turns")
{
	struct conn d[4];
	int ep = ep_new(), seen[4] = { 0 };
	struct epoll_event e;

	for (int i = 0; i < 4; i++) {
		conn_open(c, &d[i]);
		arrive(&d[i], 5);
		SHOW(ep_add(ep, d[i].a.fd, EPOLLIN, i));
	}
	for (int i = 0; i < 40; i++)
		if (epoll_wait(ep, &e, 1, 5000) == 1)
			seen[e.data.u32]++;
	say("%d %d %d %d", seen[0] > 4, seen[1] > 4, seen[2] > 4, seen[3] > 4);
}

CASE(fair_to_kernel, F_BOTH, "pipes and eventfds are not starved by busy connections")
{
	struct conn d[3];
	int ep = ep_new(), ev = eventfd(0, 0), p[2], seen[5] = { 0 };
	struct epoll_event e;

	MUST(pipe(p));
	for (int i = 0; i < 3; i++) {
		conn_open(c, &d[i]);
		arrive(&d[i], 5);
		MUST(ep_add(ep, d[i].a.fd, EPOLLIN, i));
	}
	MUST(eventfd_write(ev, 1));
	MUST(write(p[1], "x", 1));
	MUST(ep_add(ep, ev, EPOLLIN, 3));
	MUST(ep_add(ep, p[0], EPOLLIN, 4));
	for (int i = 0; i < 500; i++)
		if (epoll_wait(ep, &e, 1, 5000) == 1)
			seen[e.data.u32]++;
	for (int i = 0; i < 5; i++)
		say("member %d seen: %d", i, seen[i] > 0);
}

CASE(mixed_set, F_ANY, "a connection beside pipe, eventfd, timerfd, signalfd and AF_UNIX")
{
	int ep = ep_new(), p[2], s[2], ev = eventfd(0, 0), tm = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec soon = { .it_value = { 0, 1000000 } };
	sigset_t set;
	uint64_t x;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int sg = signalfd(-1, &set, 0);

	MUST(pipe(p));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	int fd[6] = { c->a.fd, p[0], ev, tm, sg, s[0] };

	for (int i = 0; i < 6; i++)
		MUST(ep_add(ep, fd[i], EPOLLIN, i));
	ep_say(ep, 10);
	MUST(write(p[1], "x", 1));
	ep_say(ep, 5000);
	MUST(eventfd_write(ev, 1));
	ep_say(ep, 5000);
	MUST(timerfd_settime(tm, 0, &soon, NULL));
	await(tm, POLLIN);
	ep_say(ep, 5000);
	raise(SIGUSR1);
	ep_say(ep, 5000);
	arrive(c, 5);
	ep_say(ep, 5000);
	MUST(write(s[1], "x", 1));
	ep_say(ep, 5000);
	MUST(read(ev, &x, 8));
	MUST(read(tm, &x, 8));
	MUST(read(p[0], buf, 1));
	ep_say(ep, 0);
}

CASE(mixed_wakes, F_ANY,
     "while waiting for a connection: a pipe, then a timer, then the connection")
{
	int ep = ep_new(), p[2], tm = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec soon = { .it_value = { 0, 30000000 } };
	uint64_t x;

	MUST(pipe(p));
	MUST(ep_add(ep, c->a.fd, EPOLLIN, 1));
	MUST(ep_add(ep, p[0], EPOLLIN, 2));
	MUST(ep_add(ep, tm, EPOLLIN, 3));
	MUST(timerfd_settime(tm, 0, &soon, NULL));
	ep_say(ep, 5000);
	MUST(read(tm, &x, 8));
	pid_t pid = fork();

	if (!pid) {
		sleep_ms(30);
		_exit(write(p[1], "x", 1) != 1);
	}
	ep_say(ep, 5000);
	reap("child", pid);
	MUST(read(p[0], buf, 1));
	late(c, 30);
	ep_say(ep, 5000);
	end_join(&c->b, NULL, NULL);
}

CASE(exclusive, F_BOTH, "EPOLLEXCLUSIVE delivers, to at least one of two sets")
{
	int x = ep_new(), y = ep_new();

	SHOW(ep_add(x, c->a.fd, EPOLLIN | EPOLLEXCLUSIVE, 1));
	SHOW(ep_add(y, c->a.fd, EPOLLIN | EPOLLEXCLUSIVE, 2));
	arrive(c, 5);
	struct epoll_event e;

	say("at least one: %d", epoll_wait(x, &e, 1, 5000) + epoll_wait(y, &e, 1, 0) >= 1);
	SHOW(end_get(&c->a, 5));
	SHOW(ep_ctl(x, EPOLL_CTL_DEL, c->a.fd, 0, 0));
	late(c, 10);
	ep_say(y, 5000);
	end_join(&c->b, NULL, NULL);
}

CASE(exclusive_listener, F_PLAIN, "EPOLLEXCLUSIVE on a listener in two sets")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), x = ep_new(), y = ep_new();
	struct epoll_event e;

	SHOW(ep_add(x, l, EPOLLIN | EPOLLEXCLUSIVE, 1));
	SHOW(ep_add(y, l, EPOLLIN | EPOLLEXCLUSIVE, 2));
	int s = socket(AF_INET, SOCK_STREAM, 0);

	SHOW(connect(s, (struct sockaddr *)&sa, len));
	say("at least one: %d", epoll_wait(x, &e, 1, 1000) + epoll_wait(y, &e, 1, 0) >= 1);
	int a = accept(l, NULL, NULL), fd[2] = { a, s };

	pair_warm(fd[0], fd[1], 100);
	SHOW(write(a, "x", 1));
	SHOW(read(s, buf, 10));
}

CASE(connecting, F_PLAIN, "a connect under way, a fresh socket and a listener in one set")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), ep = ep_new();
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	SHOW(ep_add(ep, s, EPOLLIN | EPOLLOUT, 1));
	ep_say(ep, 0);
	SHOW(ep_add(ep, l, EPOLLIN, 2));
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	await(s, POLLOUT);
	await(l, POLLIN);
	ep_say(ep, 5000);
	int a = accept4(l, NULL, NULL, SOCK_NONBLOCK);

	SHOW(ep_add(ep, a, EPOLLIN | EPOLLET, 3));
	ep_say(ep, 0);
	SHOW(write(s, "hello", 5));
	await(a, POLLIN);
	ep_say(ep, 5000);
}

CASE(registered_before_warm, F_ANY | F_COLD,
     "in the set since before the first byte, level and edge")
{
	int x = ep_new(), y = ep_new();

	SHOW(ep_add(x, c->a.fd, EPOLLIN, 1));
	SHOW(ep_add(y, c->a.fd, EPOLLIN | EPOLLET, 2));
	conn_warm(c, 200);
	struct epoll_event e;

	SHOW(epoll_wait(x, &e, 1, 0));
	epoll_wait(y, &e, 1, 0);
	SHOW(epoll_wait(y, &e, 1, 0));
	arrive(c, 5);
	ep_say(x, 5000);
	ep_say(y, 5000);
	SHOW(end_get(&c->a, 5));
	ep_say(x, 0);
	ep_say(y, 0);
}

CASE(server_loop, F_PAIR | F_DIAL | F_HALF | F_PAIR6, "an edge-driven echo loop with 8 connections")
{
	struct conn d[8];
	int ep = ep_new();
	long echoed = 0;

	for (int i = 0; i < 8; i++) {
		struct conn cold = *c;

		cold.warm = i & 1;
		conn_open(&cold, &d[i]);
		end_nonblock(&d[i].a, true);
		MUST(ep_add(ep, d[i].a.fd, EPOLLIN | EPOLLRDHUP | EPOLLET, i));
	}
	for (int turn = 0; turn < 40; turn++) {
		for (int i = 0; i < 8; i++)
			end_put1(&d[i].b, 100);
		for (long need = 800; need > 0;) {
			struct epoll_event e[3];
			int n = epoll_wait(ep, e, 3, 5000);

			if (n <= 0) {
				say("stuck in turn %d", turn);
				return;
			}
			for (int i = 0; i < n; i++) {
				ssize_t got;
				int fd = d[e[i].data.u32].a.fd;

				while ((got = read(fd, buf, 64)) > 0) {
					need -= got;
					echoed += write(fd, buf, got);
				}
			}
		}
		for (int i = 0; i < 8; i++) {
			d[i].b.dir ^= 1;
			end_get(&d[i].b, 100);
			d[i].b.dir ^= 1;
		}
	}
	SHOW(echoed);
}

CASE(rcvlowat, F_BOTH, "SO_RCVLOWAT holds back epoll's event")
{
	int ep = ep_new();

	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 50));
	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	arrive(c, 20);
	ep_say(ep, 20);
	end_put1(&c->b, 30);
	ep_say(ep, 5000);
}
