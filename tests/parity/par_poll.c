/* par_poll.c - parity of select, pselect, poll and ppoll: masks, mixed sets, timeouts, errors */
#include "tests/parity/parity.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static char buf[1 << 16];

CASE(poll_read, F_ANY | F_PAIR6, "poll: nothing, data, part of it read, all of it read")
{
	say("%s", poll_name(end_poll(&c->a, POLLIN, 0)));
	SHOW(end_put1(&c->b, 10));
	say("%s", poll_name(end_poll(&c->a, POLLIN, 5000)));
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM, 0)));
	SHOW(end_get1(&c->a, 4));
	say("%s", poll_name(end_poll(&c->a, POLLIN, 0)));
	SHOW(end_get1(&c->a, 40));
	say("%s", poll_name(end_poll(&c->a, POLLIN, 0)));
}

CASE(poll_write, F_ANY, "poll: writable until full, again when read")
{
	say("%s", poll_name(end_poll(&c->a, POLLOUT, 0)));
	end_nonblock(&c->a, true);
	while (end_put1(&c->a, 20000) > 0)
		;
	say("%s", poll_name(end_poll(&c->a, POLLOUT | POLLIN, 0)));
	long all = c->a.tx;

	say("all read: %d", end_get(&c->b, all) == all);
	say("%s", poll_name(end_poll(&c->a, POLLOUT, 5000)));
}

CASE(poll_no_events, F_BOTH, "poll with no events asked: only errors are told")
{
	SHOW(end_put1(&c->b, 10));
	await(c->a.fd, POLLIN);
	say("%s", poll_name(end_poll(&c->a, 0, 0)));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	say("%s", poll_name(end_poll(&c->a, 0, 20)));
	SHOW(end_shutdown(&c->a, SHUT_WR));
	say("%s", poll_name(end_poll(&c->a, 0, 5000)));
}

static long late_put(int fd, void *arg, size_t *len)
{
	(void)len;
	sleep_ms(*(int *)arg);
	return write(fd, "late!", 5);
}

static void late(struct conn *c, int ms)
{
	end_start(&c->b, late_put, &ms, sizeof(ms));
}

CASE(poll_wakes, F_ANY, "poll waits and is woken by data, then by the end")
{
	late(c, 20);
	say("%s", poll_name(end_poll(&c->a, POLLIN, 5000)));
	end_join(&c->b, NULL, NULL);
	SHOW(read(c->a.fd, buf, 10));
	end_poll(&c->a, POLLIN, 10);
	SHOW(end_close(&c->b));
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLRDHUP, 5000)));
}

CASE(poll_timeout, F_BOTH, "timeouts are never too short")
{
	struct pollfd p = { c->a.fd, POLLIN, 0 };
	struct timespec ts = { 0, 35000000 };
	struct timeval tv = { 0, 35000 };
	fd_set r;
	int64_t t0 = now_us();

	SHOW(poll(&p, 1, 35));
	say_waited("poll", t0, 35);
	t0 = now_us();
	SHOW(ppoll(&p, 1, &ts, NULL));
	say_waited("ppoll", t0, 35);
	FD_ZERO(&r);
	FD_SET(c->a.fd, &r);
	t0 = now_us();
	SHOW(select(c->a.fd + 1, &r, NULL, NULL, &tv));
	say_waited("select", t0, 35);
	say("time left: %ld, set empty: %d", (long)(tv.tv_sec + tv.tv_usec),
	    !FD_ISSET(c->a.fd, &r));
	FD_SET(c->a.fd, &r);
	t0 = now_us();
	SHOW(pselect(c->a.fd + 1, &r, NULL, NULL, &ts, NULL));
	say_waited("pselect", t0, 35);
	say("untouched: %ld", ts.tv_nsec);
}

CASE(sleepers, F_PLAIN, "poll and select with no fds are a sleep")
{
	struct timeval tv = { 0, 25000 };
	struct timespec ts = { 0, 25000000 };
	int64_t t0 = now_us();

	SHOW(poll(NULL, 0, 25));
	say_waited("poll", t0, 25);
	t0 = now_us();
	SHOW(select(0, NULL, NULL, NULL, &tv));
	say_waited("select", t0, 25);
	t0 = now_us();
	SHOW(pselect(0, NULL, NULL, NULL, &ts, NULL));
	say_waited("pselect", t0, 25);
}

CASE(poll_infinite, F_ANY, "poll with -1 and other negative times waits until data comes")
{
	struct pollfd p = { c->a.fd, POLLIN, 0 };

	late(c, 30);
	SHOW(poll(&p, 1, -1));
	end_join(&c->b, NULL, NULL);
	SHOW(read(c->a.fd, buf, 10));
	late(c, 30);
	SHOW(poll(&p, 1, -7));
	end_join(&c->b, NULL, NULL);
	SHOW(read(c->a.fd, buf, 10));
	late(c, 30);
	SHOW(ppoll(&p, 1, NULL, NULL));
	end_join(&c->b, NULL, NULL);
	SHOW(read(c->a.fd, buf, 10));
}

CASE(select_kinds, F_ANY, "select: the three sets and the count")
{
	fd_set r, w, e;
	struct timeval tv = { 5, 0 };
	int n = c->a.fd + 1;

	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&e);
	FD_SET(c->a.fd, &r);
	FD_SET(c->a.fd, &w);
	FD_SET(c->a.fd, &e);
	SHOW(select(n, &r, &w, &e, &tv));
	say("%d %d %d", FD_ISSET(c->a.fd, &r), FD_ISSET(c->a.fd, &w), FD_ISSET(c->a.fd, &e));
	SHOW(end_put1(&c->b, 10));
	await(c->a.fd, POLLIN);
	FD_SET(c->a.fd, &r);
	FD_SET(c->a.fd, &e);
	SHOW(select(n, &r, &w, &e, &tv));
	say("%d %d %d", FD_ISSET(c->a.fd, &r), FD_ISSET(c->a.fd, &w), FD_ISSET(c->a.fd, &e));
	SHOW(select(c->a.fd, &r, &w, NULL, &(struct timeval){ 0, 0 }));
	say("%d %d", FD_ISSET(c->a.fd, &r), FD_ISSET(c->a.fd, &w));
}

CASE(select_wakes, F_ANY, "select waits, data wakes it; the rest of the time is told")
{
	fd_set r;
	struct timeval tv = { 20, 0 };

	FD_ZERO(&r);
	FD_SET(c->a.fd, &r);
	late(c, 30);
	SHOW(select(c->a.fd + 1, &r, NULL, NULL, &tv));
	say("set %d, less than 20 s left: %d", FD_ISSET(c->a.fd, &r), tv.tv_sec < 20);
	end_join(&c->b, NULL, NULL);
	SHOW(read(c->a.fd, buf, 10));
	late(c, 30);
	SHOW(select(c->a.fd + 1, &r, NULL, NULL, NULL));
	end_join(&c->b, NULL, NULL);
}

CASE(select_end, F_BOTH, "select: the end of the stream and a reset are readable and writable")
{
	fd_set r, w;
	struct timeval tv = { 0, 0 };

	SHOW(end_reset(&c->b));
	await(c->a.fd, POLLERR);
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(c->a.fd, &r);
	FD_SET(c->a.fd, &w);
	SHOW(select(c->a.fd + 1, &r, &w, NULL, &tv));
	SHOW(read(c->a.fd, buf, 1));
}

CASE(errors, F_BOTH, "EBADF, EINVAL, EFAULT, POLLNVAL")
{
	struct pollfd p[2] = { { c->a.fd, POLLIN, 0 }, { 999, POLLIN, 0 } };
	struct timeval tv = { -1, 0 };
	struct timespec ts = { 0, 1000000000 };
	fd_set r;

	SHOW(end_put1(&c->b, 1));
	await(c->a.fd, POLLIN);
	SHOW(poll(p, 2, 5000));
	say("%s %s", poll_name(p[0].revents), poll_name(p[1].revents));
	p[0].fd = -1;
	p[0].revents = 77;
	SHOW(poll(p, 2, 0));
	say("%s %s", poll_name(p[0].revents), poll_name(p[1].revents));
	volatile nfds_t many = 1 << 30;

	SHOW(poll(p, many, 0));
	SHOW(poll(bad_pointer, 1, 0));
	FD_ZERO(&r);
	FD_SET(c->a.fd, &r);
	SHOW(select(c->a.fd + 1, &r, NULL, NULL, &tv));
	SHOW(pselect(c->a.fd + 1, &r, NULL, NULL, &ts, NULL));
	SHOW(ppoll(p, 2, &ts, NULL));
	SHOW(select(-1, &r, NULL, NULL, NULL));
	FD_SET(500, &r);
	SHOW(select(501, &r, NULL, NULL, NULL));
	SHOW(select(c->a.fd + 1, bad_pointer, NULL, NULL, NULL));
	SHOW(end_get(&c->a, 1));
}

CASE(mixed_set, F_ANY, "a connection beside pipe, eventfd, timerfd, signalfd, AF_UNIX and UDP")
{
	int p[2], s[2], ev = eventfd(0, 0), tm = timerfd_create(CLOCK_MONOTONIC, 0);
	sigset_t set;
	struct itimerspec soon = { .it_value = { 0, 1000000 } };
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int sg = signalfd(-1, &set, 0), u = socket(AF_INET, SOCK_DGRAM, 0);

	MUST(pipe(p));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	MUST(bind(u, (struct sockaddr *)&sa, len));
	MUST(getsockname(u, (struct sockaddr *)&sa, &len));
	MUST(connect(u, (struct sockaddr *)&sa, len));
	struct pollfd f[7] = { { c->a.fd, POLLIN, 0 }, { p[0], POLLIN, 0 }, { ev, POLLIN, 0 },
			       { tm, POLLIN, 0 },      { sg, POLLIN, 0 },   { s[0], POLLIN, 0 },
			       { u, POLLIN, 0 } };

	SHOW(poll(f, 7, 10));
	for (int i = 0; i < 7; i++) {
		if (i == 0)
			end_put1(&c->b, 1);
		if (i == 1)
			MUST(write(p[1], "x", 1));
		if (i == 2)
			MUST(eventfd_write(ev, 1));
		if (i == 3)
			MUST(timerfd_settime(tm, 0, &soon, NULL));
		if (i == 4)
			raise(SIGUSR1);
		if (i == 5)
			MUST(write(s[1], "x", 1));
		if (i == 6)
			MUST(write(u, "x", 1));
		await(f[i].fd, POLLIN);
		SHOW(poll(f, 7, 5000));
		for (int j = 0; j < 7; j++)
			if (f[j].revents)
				say("member %d: %s", j, poll_name(f[j].revents));
	}
	SHOW(end_get(&c->a, 1));
	SHOW(poll(f, 7, 0));
}

CASE(mixed_wakes, F_ANY, "a pipe wakes a poll that waits for a connection too")
{
	int p[2];

	MUST(pipe(p));
	pid_t pid = fork();

	if (!pid) {
		sleep_ms(40);
		_exit(write(p[1], "x", 1) != 1);
	}
	struct pollfd f[2] = { { c->a.fd, POLLIN, 0 }, { p[0], POLLIN, 0 } };

	SHOW(poll(f, 2, 5000));
	say("%s %s", poll_name(f[0].revents), poll_name(f[1].revents));
	reap("child", pid);
	conn_same(c, 1000);
}

CASE(same_twice, F_BOTH, "one fd several times in a set, with different wishes")
{
	int d = dup(c->a.fd);
	struct pollfd f[4] = { { c->a.fd, POLLIN, 0 },
			       { c->a.fd, POLLOUT, 0 },
			       { d, POLLIN | POLLOUT, 0 },
			       { -5, POLLIN, 0 } };

	SHOW(poll(f, 4, 0));
	SHOW(end_put1(&c->b, 3));
	await(c->a.fd, POLLIN);
	SHOW(poll(f, 4, 0));
	for (int i = 0; i < 4; i++)
		say("%s", poll_name(f[i].revents));
}

CASE(many, F_SELF, "30 connections, every third has data")
{
	struct conn d[30];
	struct pollfd f[30];
	struct conn cold = *c;

	for (int i = 0; i < 30; i++) {
		cold.warm = i % 2;
		conn_open(&cold, &d[i]);
		f[i] = (struct pollfd){ d[i].a.fd, POLLIN, 0 };
	}
	SHOW(poll(f, 30, 0));
	for (int i = 0; i < 30; i += 3) {
		end_put1(&d[i].b, 5);
		await(d[i].a.fd, POLLIN);
	}
	SHOW(poll(f, 30, 5000));
	int wrong = 0;

	for (int i = 0; i < 30; i++)
		wrong += f[i].revents != (i % 3 ? 0 : POLLIN);
	SHOW(wrong);
}

CASE(rdhup, F_ANY, "POLLRDHUP only where asked for")
{
	SHOW(end_shutdown(&c->b, SHUT_WR));
	say("%s", poll_name(end_poll(&c->a, POLLRDHUP, 5000)));
	say("%s", poll_name(end_poll(&c->a, POLLIN, 0)));
	say("%s", poll_name(end_poll(&c->a, POLLOUT, 0)));
}

CASE(listener, F_PLAIN, "a listener is readable when a connection waits; a new socket's state")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 4, &sa, &len), s = socket(AF_INET, SOCK_STREAM, 0);
	struct pollfd p = { l, POLLIN | POLLOUT, 0 }, q = { s, POLLIN | POLLOUT, 0 };

	SHOW(poll(&p, 1, 0));
	SHOW(poll(&q, 1, 0));
	say("%s", poll_name(q.revents));
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	SHOW(poll(&p, 1, 5000));
	say("%s", poll_name(p.revents));
	SHOW(poll(&q, 1, 0));
	say("%s", poll_name(q.revents));
	close(accept(l, NULL, NULL));
	SHOW(poll(&p, 1, 0));
}

static void on_usr1(int sig)
{
	(void)sig;
}

CASE(ppoll_mask, F_ANY, "ppoll and pselect let a blocked signal in, and put the mask back")
{
	sigset_t block, open;
	struct pollfd p = { c->a.fd, POLLIN, 0 };
	struct timespec ts = { 5, 0 };
	fd_set r;

	signal(SIGUSR1, on_usr1);
	sigemptyset(&open);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR1);
	SHOW(poll(&p, 1, 10));
	SHOW(ppoll(&p, 1, &ts, &open));
	raise(SIGUSR1);
	FD_ZERO(&r);
	FD_SET(c->a.fd, &r);
	SHOW(pselect(c->a.fd + 1, &r, NULL, NULL, &ts, &open));
	sigprocmask(SIG_BLOCK, NULL, &block);
	say("blocked again: %d", sigismember(&block, SIGUSR1));
}

CASE(ppoll_mask_ready, F_BOTH, "ppoll with data ready and a signal pending")
{
	sigset_t block, open;
	struct pollfd p = { c->a.fd, POLLIN, 0 };
	struct timespec ts = { 5, 0 };

	signal(SIGUSR1, on_usr1);
	sigemptyset(&open);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	SHOW(end_put1(&c->b, 3));
	await(c->a.fd, POLLIN);
	SHOW(ppoll(&p, 1, &ts, &open));
	SHOW(end_get(&c->a, 3));
}

static void *poll_five(void *arg)
{
	struct pollfd p = { *(int *)arg, POLLIN, 0 };
	int good = 0;
	char x;

	for (int i = 0; i < 5; i++)
		good += poll(&p, 1, 5000) == 1 && read(p.fd, &x, 1) == 1;
	return (void *)(intptr_t)good;
}

CASE(poll_threads, F_BOTH, "two threads poll two connections at once")
{
	struct conn d;
	void *r, *s;

	conn_open(c, &d);
	pthread_t t = hold(poll_five, &c->a.fd), u = hold(poll_five, &d.a.fd);

	for (int i = 0; i < 5; i++) {
		end_put1(&c->b, 1);
		end_put1(&d.b, 1);
		sleep_ms(2);
	}
	pthread_join(t, &r);
	pthread_join(u, &s);
	SHOW((intptr_t)r + (intptr_t)s);
}

CASE(poll_spin_turns, F_ANY, "100 turns of poll and read by 1 byte")
{
	int good = 0;

	for (int i = 0; i < 100; i++) {
		end_put1(&c->b, 1);
		good += end_poll(&c->a, POLLIN, 5000) == POLLIN && end_get1(&c->a, 10) == 1;
	}
	SHOW(good);
}
