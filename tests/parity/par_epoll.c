/* par_epoll.c - parity of epoll on one connection: level, edge, oneshot, masks, errors, timeouts */
#include "tests/parity/par_ep.h"

#include <signal.h>
#include <time.h>

static char buf[1 << 16];

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

/* epoll(7): with edges, a read of less than was asked for means that nothing is left. */
CASE(edge_short, F_SELF, "edge: a short read has taken all that there is")
{
	int ep = ep_new();
	char got[1000];

	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLET, 1));
	arrive(c, 100);
	SHOW(end_setopt(&c->b, SOL_SOCKET, SO_TIMESTAMP, 1));
	arrive(c, 200);
	ep_say(ep, 5000);
	SHOW(read(c->a.fd, got, 50));
	SHOW(read(c->a.fd, got, sizeof(got)));
	ep_say(ep, 0);
	arrive(c, 10);
	ep_say(ep, 5000);
	SHOW(read(c->a.fd, got, sizeof(got)));
}

CASE(edge_often, F_BOTH,
     "edge: 60 times MOD, an arrival, another one behind its rest: each is told once")
{
	int ep = ep_new(), fd = c->a.fd, told = 0, twice = 0;
	struct epoll_event e;

	SHOW(ep_add(ep, fd, EPOLLIN | EPOLLET, 1));
	for (int i = 0; i < 60; i++) {
		ep_ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 1);
		twice += epoll_wait(ep, &e, 1, 0);
		arrive(c, 10);
		told += epoll_wait(ep, &e, 1, 5000);
		twice += epoll_wait(ep, &e, 1, 0);
		end_get1(&c->a, 4);
		twice += epoll_wait(ep, &e, 1, 0);
		arrive(c, 7);
		told += epoll_wait(ep, &e, 1, 5000);
		twice += epoll_wait(ep, &e, 1, 0);
		end_get(&c->a, 13);
		twice += epoll_wait(ep, &e, 1, 0);
	}
	say("told %d, once more %d", told, twice);
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
	struct epoll_event e = { EPOLLIN, { .u64 = 1 } };

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

CASE(once_beside_zero, F_BOTH | F_COLD, "a member whose data is 0 beside a oneshot one is told")
{
	int ep = ep_new(), pipes[2];
	char x;

	MUST(pipe(pipes));
	SHOW(ep_add(ep, c->a.fd, EPOLLIN | EPOLLONESHOT, 5));
	SHOW(ep_add(ep, pipes[0], EPOLLIN, 0));
	SHOW(write(pipes[1], "x", 1));
	ep_say(ep, 5000);
	SHOW(read(pipes[0], &x, 1));
	SHOW(end_put1(&c->b, 10));
	ep_say(ep, 5000);
	ep_say(ep, 0);
	close(pipes[0]);
	close(pipes[1]);
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
	struct timespec ts = { 0, 30500000 };
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
	ts = (struct timespec){ 0, 1 };
	SHOW(epoll_pwait2(ep, &e, 1, &ts, NULL));
	ts = (struct timespec){ 0, 1000000000 };
	SHOW(epoll_pwait2(ep, &e, 1, &ts, NULL));
	ts = (struct timespec){ -1, 0 };
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
	struct timespec ts = { 5, 0 };
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
