/* par_epoll.c - parity of epoll: level, edge, oneshot, exclusive, nesting, several sets and threads */
#include "tests/parity/parity.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>

static char buf[1 << 16];

static int ep_new(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);

	MUST(ep);
	return ep;
}

static int ep_ctl(int ep, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = {events, {.u64 = data}};

	return epoll_ctl(ep, op, fd, &e);
}

static int ep_add(int ep, int fd, uint32_t events, uint64_t data)
{
	return ep_ctl(ep, EPOLL_CTL_ADD, fd, events, data);
}

/* One wait; says how many events came and each of them, in order of their data. */
static int ep_say(int ep, int ms)
{
	struct epoll_event e[16];
	int n = epoll_wait(ep, e, 16, ms);

	say("events: %d", n);
	for (uint64_t d = 0; d < 100 && n > 0; d++)
		for (int i = 0; i < n; i++)
			if (e[i].data.u64 == d)
				say("  %d: %s", (int)d, poll_name(e[i].events));
	return n;
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

/* Bytes that have surely arrived. */
static void arrive(struct conn *c, long n)
{
	int had = 0;

	end_put1(&c->b, n);
	for (int i = 0; i < 2000; i++) {
		had = recv(c->a.fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);
		if (had >= n)
			return;
		sleep_ms(1);
	}
	say("only %d of %ld arrived", had, n);
}

CASE(level, F_ANY | F_PAIR6, "level: told until all is read")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	ep_say(ep, 0);
	arrive(c, 10);
	ep_say(ep, 5000);
	ep_say(ep, 0);
	SHOW(end_get1(&c->a, 4));
	ep_say(ep, 0);
	SHOW(end_get1(&c->a, 40));
	ep_say(ep, 0);
}

CASE(level_out, F_ANY, "level: writable, until full")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLOUT, 1));
	ep_say(ep, 0);
	ep_say(ep, 0);
	end_nonblock(&c->a, true);
	while (end_put1(&c->a, 20000) > 0)
		;
	ep_say(ep, 0);
	say("all read: %d", end_get(&c->b, c->a.tx) > 0);
	ep_say(ep, 5000);
}

CASE(edge, F_ANY | F_PAIR6, "edge: told once for each arrival")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLET, 1));
	ep_say(ep, 0);
	arrive(c, 10);
	ep_say(ep, 5000);
	ep_say(ep, 0);
	SHOW(end_get1(&c->a, 4));
	ep_say(ep, 0);
	arrive(c, 7);
	ep_say(ep, 5000);
	ep_say(ep, 0);
	SHOW(end_get(&c->a, 13));
	ep_say(ep, 0);
}

CASE(edge_unread, F_ANY, "edge: a second arrival with the first unread is told again")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLET, 1));
	arrive(c, 10);
	ep_say(ep, 5000);
	arrive(c, 5);
	ep_say(ep, 5000);
	ep_say(ep, 0);
}

CASE(edge_merged, F_BOTH, "edge: two arrivals before one wait are one event")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLET, 1));
	arrive(c, 10);
	arrive(c, 5);
	ep_say(ep, 5000);
	ep_say(ep, 0);
}

CASE(edge_out, F_ANY, "edge: writable once at the start, then when room came back")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLOUT | EPOLLET, 1));
	ep_say(ep, 0);
	ep_say(ep, 0);
	end_nonblock(&c->a, true);
	while (end_put1(&c->a, 20000) > 0)
		;
	ep_say(ep, 0);
	say("all read: %d", end_get(&c->b, c->a.tx) > 0);
	ep_say(ep, 5000);
	SHOW(end_put1(&c->a, 10));
}

CASE(edge_both, F_ANY, "edge for in and out: an arrival tells both that are true")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLOUT | EPOLLET, 1));
	ep_say(ep, 0);
	arrive(c, 10);
	ep_say(ep, 5000);
	ep_say(ep, 0);
}

CASE(edge_data_before, F_ANY, "edge: data that was there before ADD is told")
{
	int ep = ep_new();

	arrive(c, 10);
	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLET, 1));
	ep_say(ep, 0);
	ep_say(ep, 0);
}

CASE(edge_mod, F_ANY, "edge: MOD tells again what is true")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLET, 1));
	arrive(c, 10);
	ep_say(ep, 5000);
	ep_say(ep, 0);
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLIN | EPOLLET, 2));
	ep_say(ep, 0);
	ep_say(ep, 0);
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLOUT | EPOLLET, 3));
	ep_say(ep, 0);
}

CASE(edge_end, F_ANY, "edge: the end of the stream is an event of its own")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLRDHUP | EPOLLET, 1));
	arrive(c, 10);
	ep_say(ep, 5000);
	SHOW(end_get(&c->a, 10));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	ep_say(ep, 5000);
	ep_say(ep, 0);
	SHOW(end_get1(&c->a, 1));
	ep_say(ep, 0);
}

CASE(edge_loop, F_ANY, "edge: 100 messages drained to EAGAIN each time, none is missed")
{
	int ep = ep_new(), good = 0;
	struct epoll_event e;

	end_nonblock(&c->a, true);
	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLET, 1));
	for (int i = 0; i < 100; i++) {
		end_put1(&c->b, 200);
		long got = 0;

		while (got < 200 && epoll_wait(ep, &e, 1, 5000) == 1)
			for (long n; (n = end_get1(&c->a, 64)) > 0;)
				got += n;
		good += got == 200;
	}
	SHOW(good);
}

CASE(oneshot, F_ANY, "oneshot: told once, silent until MOD")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLONESHOT, 1));
	arrive(c, 10);
	ep_say(ep, 5000);
	ep_say(ep, 0);
	arrive(c, 15);
	ep_say(ep, 20);
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLIN | EPOLLONESHOT, 2));
	ep_say(ep, 5000);
	ep_say(ep, 0);
	SHOW(end_get(&c->a, 25));
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLIN | EPOLLONESHOT, 3));
	ep_say(ep, 0);
	arrive(c, 1);
	ep_say(ep, 5000);
}

CASE(oneshot_edge, F_BOTH, "oneshot and edge together, re-armed with data still there")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLET | EPOLLONESHOT, 1));
	arrive(c, 10);
	ep_say(ep, 5000);
	SHOW(end_get1(&c->a, 5));
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLIN | EPOLLET | EPOLLONESHOT, 2));
	ep_say(ep, 5000);
	ep_say(ep, 0);
}

CASE(oneshot_hup, F_BOTH, "oneshot that has fired: a hang-up is not told either")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLONESHOT, 1));
	arrive(c, 1);
	ep_say(ep, 5000);
	SHOW(end_reset(&c->b));
	await(c->a.fd, POLLERR);
	ep_say(ep, 20);
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLIN | EPOLLONESHOT, 2));
	ep_say(ep, 5000);
}

CASE(no_events, F_BOTH, "events of 0: only errors and hang-ups")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, 0, 1));
	arrive(c, 5);
	ep_say(ep, 10);
	SHOW(end_reset(&c->b));
	ep_say(ep, 5000);
}

CASE(masks, F_ANY, "the masks at each step of an orderly end")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1));
	ep_say(ep, 0);
	arrive(c, 5);
	ep_say(ep, 0);
	SHOW(end_shutdown(&c->b, SHUT_WR));
	await(c->a.fd, POLLRDHUP);
	ep_say(ep, 0);
	SHOW(end_get(&c->a, 5));
	ep_say(ep, 0);
	SHOW(end_shutdown(&c->a, SHUT_WR));
	await(c->a.fd, POLLHUP);
	ep_say(ep, 0);
}

CASE(rdhup_not_asked, F_BOTH, "RDHUP is not told unless asked for, IN is")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	ep_say(ep, 5000);
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLRDHUP, 2));
	ep_say(ep, 0);
}

CASE(reset_mask, F_ANY, "the mask after a reset")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1));
	SHOW(end_reset(&c->b));
	await(c->a.fd, POLLERR);
	ep_say(ep, 5000);
	SHOW(read(c->a.fd, buf, 1));
	ep_say(ep, 0);
}

CASE(ctl_errors, F_BOTH, "what epoll_ctl refuses")
{
	int ep = ep_new(), file = open("/etc/passwd", O_RDONLY), p[2];
	struct epoll_event e = {EPOLLIN, {.u64 = 1}};

	MUST(pipe(p));
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, c->a.fd, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, c->a.fd, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	SHOW(epoll_ctl(ep, 9, c->a.fd, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, c->a.fd, bad_pointer));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, file, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, 999, &e));
	SHOW(epoll_ctl(999, EPOLL_CTL_ADD, c->a.fd, &e));
	SHOW(epoll_ctl(p[0], EPOLL_CTL_ADD, c->a.fd, &e));
	SHOW(epoll_ctl(c->a.fd, EPOLL_CTL_ADD, p[0], &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, c->a.fd, NULL));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, c->a.fd, NULL));
	e.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	e.events = EPOLLIN | EPOLLEXCLUSIVE;
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, c->a.fd, &e));
	e.events = EPOLLIN;
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, c->a.fd, &e));
}

CASE(wait_errors, F_BOTH, "what epoll_wait refuses")
{
	int ep = ep_new(), p[2];
	struct epoll_event e;
	volatile int zero = 0;

	MUST(pipe(p));
	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	arrive(c, 1);
	SHOW(epoll_wait(ep, &e, zero, 0));
	SHOW(epoll_wait(ep, &e, zero - 1, 0));
	SHOW(epoll_wait(999, &e, 1, 0));
	SHOW(epoll_wait(p[0], &e, 1, 0));
	SHOW(epoll_wait(c->a.fd, &e, 1, 0));
	SHOW(epoll_wait(ep, bad_pointer, 1, 0));
	SHOW(epoll_create(zero));
	SHOW(epoll_create1(0x77));
	say("create: %d", epoll_create(1) >= 0);
	SHOW(read(ep, buf, 1));
	SHOW(epoll_wait(ep, &e, 1, 0));
}

CASE(data_kept, F_BOTH, "all 64 bits of data come back; MOD changes them")
{
	int ep = ep_new();
	struct epoll_event e;

	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 0xfedcba9876543210ull));
	arrive(c, 1);
	SHOW(epoll_wait(ep, &e, 1, 5000));
	say("%llx", (unsigned long long)e.data.u64);
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLIN, 7));
	SHOW(epoll_wait(ep, &e, 1, 5000));
	say("%llx", (unsigned long long)e.data.u64);
}

CASE(del_stops, F_ANY, "DEL, then ADD again with data waiting")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	arrive(c, 10);
	SHOW(ep_ctl(ep, EPOLL_CTL_DEL, c->a.fd, 0, 0));
	ep_say(ep, 20);
	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 2));
	ep_say(ep, 5000);
}

CASE(mod_wish, F_ANY, "MOD from in to out and back")
{
	int ep = ep_new();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	ep_say(ep, 0);
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLOUT, 2));
	ep_say(ep, 0);
	SHOW(ep_ctl(ep, EPOLL_CTL_MOD, c->a.fd, EPOLLIN, 3));
	ep_say(ep, 0);
	arrive(c, 3);
	ep_say(ep, 5000);
}

CASE(timeout, F_ANY, "epoll_wait's timeouts are never too short")
{
	int ep = ep_new();
	struct epoll_event e;
	struct timespec ts = {0, 30500000};
	int64_t t0 = now_us();

	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	SHOW(epoll_wait(ep, &e, 1, 30));
	say_waited("epoll_wait", t0, 30);
	t0 = now_us();
	SHOW(epoll_pwait(ep, &e, 1, 30, NULL));
	say_waited("epoll_pwait", t0, 30);
	t0 = now_us();
	SHOW(epoll_pwait2(ep, &e, 1, &ts, NULL));
	say_waited("epoll_pwait2", t0, 30);
	ts = (struct timespec){0, 1};
	SHOW(epoll_pwait2(ep, &e, 1, &ts, NULL));
	ts = (struct timespec){0, 1000000000};
	SHOW(epoll_pwait2(ep, &e, 1, &ts, NULL));
	ts = (struct timespec){-1, 0};
	SHOW(epoll_pwait2(ep, &e, 1, &ts, NULL));
	late(c, 20);
	SHOW(epoll_pwait2(ep, &e, 1, NULL, NULL));
	end_join(&c->b, NULL, NULL);
	SHOW(read(c->a.fd, buf, 10));
	late(c, 20);
	SHOW(epoll_wait(ep, &e, 1, -1));
	end_join(&c->b, NULL, NULL);
}

static void on_usr1(int sig)
{
	(void)sig;
}

CASE(pwait_mask, F_ANY, "epoll_pwait and epoll_pwait2 let a blocked signal in")
{
	int ep = ep_new();
	struct epoll_event e;
	struct timespec ts = {5, 0};
	sigset_t block, open;

	signal(SIGUSR1, on_usr1);
	sigemptyset(&open);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	SHOW(ep_add(ep, c->a.fd, EPOLLIN, 1));
	raise(SIGUSR1);
	SHOW(epoll_wait(ep, &e, 1, 10));
	SHOW(epoll_pwait(ep, &e, 1, 5000, &open));
	raise(SIGUSR1);
	SHOW(epoll_pwait2(ep, &e, 1, &ts, &open));
	sigprocmask(SIG_BLOCK, NULL, &open);
	say("blocked again: %d", sigismember(&open, SIGUSR1));
	arrive(c, 2);
	SHOW(epoll_pwait(ep, &e, 1, 5000, &open));
}

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

CASE(poll_of_epoll, F_ANY, "poll and select on an epoll fd")
{
	int ep = ep_new();
	struct pollfd p = {ep, POLLIN | POLLOUT, 0};
	fd_set r;
	struct timeval tv = {5, 0};

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

static void *wait_once(void *arg)
{
	struct epoll_event e;
	int n = epoll_wait(*(int *)arg, &e, 1, 5000);

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
		struct epoll_event again = {EPOLLIN | EPOLLONESHOT, {.fd = e.data.fd}};

		epoll_ctl(p->ep, EPOLL_CTL_MOD, e.data.fd, &again);
	}
	return NULL;
}

CASE(threads_oneshot, F_BOTH, "one epoll, 4 threads, oneshot: each message is served once")
{
	struct conn d[6];
	struct pool p = {ep_new(), 60, 0};
	pthread_t t[4];

	for (int i = 0; i < 6; i++) {
		struct epoll_event e = {EPOLLIN | EPOLLONESHOT, {0}};

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
	sleep_ms(50);
	arrive(c, 4);
	pthread_join(t, &r);
	pthread_join(u, &s);
	SHOW((intptr_t)r + (intptr_t)s);
}

CASE(maxevents_turns, F_BOTH, "level with maxevents of 1: ready members come in turns")
{
	struct conn d[4];
	int ep = ep_new(), seen[4] = {0};
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
	int ep = ep_new(), ev = eventfd(0, 0), p[2], seen[5] = {0};
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
	int ep = ep_new(), p[2], s[2], ev = eventfd(0, 0),
	    tm = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec soon = {.it_value = {0, 1000000}};
	sigset_t set;
	uint64_t x;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int sg = signalfd(-1, &set, 0);

	MUST(pipe(p));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	int fd[6] = {c->a.fd, p[0], ev, tm, sg, s[0]};

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

CASE(mixed_wakes, F_ANY, "while waiting for a connection: a pipe, then a timer, then the connection")
{
	int ep = ep_new(), p[2], tm = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec soon = {.it_value = {0, 30000000}};
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
	int a = accept(l, NULL, NULL), fd[2] = {a, s};

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

CASE(registered_before_warm, F_ANY | F_COLD, "in the set since before the first byte, level and edge")
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
