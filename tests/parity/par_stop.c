/* par_stop.c - parity of writing to a peer that has shut down both ways and keeps its descriptor */
#include "tests/parity/parity.h"

#include <signal.h>
#include <sys/epoll.h>

/* The peer is shut down both ways: the first call that sends passes, the next says EPIPE. */
static void stopped(struct conn *c, long n)
{
	char peek[8];

	signal(SIGPIPE, SIG_IGN);
	await(c->a.fd, POLLRDHUP);
	SHOW(end_put1(&c->a, n));
	await_reset(c->a.fd);
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT | POLLRDHUP, 0)));
	SHOW(end_put1(&c->a, n));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
	SHOW(end_get1(&c->a, 1));
	SHOW(recv(c->a.fd, peek, sizeof(peek), MSG_PEEK));
	SHOW(end_put1(&c->a, 1));
}

CASE(stop_write, F_BOTH,
     "the peer shut down both ways and stays: what is written is answered by a reset")
{
	SHOW(end_shutdown(&c->b, SHUT_RDWR));
	stopped(c, 7);
	SHOW(end_get1(&c->b, 1));
	SHOW(end_get1(&c->b, 1));
}

CASE(stop_write_more, F_BOTH, "the same with more than a few bytes")
{
	SHOW(end_shutdown(&c->b, SHUT_RDWR));
	stopped(c, 20000);
	SHOW(end_getopt(&c->b, SOL_SOCKET, SO_ERROR));
	SHOW(end_get1(&c->b, 1));
}

CASE(stop_in_turn, F_BOTH, "the same where it shut down one way after the other")
{
	SHOW(end_put1(&c->a, 5));
	SHOW(end_shutdown(&c->b, SHUT_RD));
	SHOW(end_put1(&c->a, 5));
	SHOW(end_get(&c->b, 10));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	stopped(c, 100);
}

CASE(stop_unread, F_BOTH, "what arrived before that can still be read, and then the reset")
{
	SHOW(end_put1(&c->a, 10));
	SHOW(end_poll(&c->b, POLLIN, 5000));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	SHOW(end_shutdown(&c->b, SHUT_RD));
	SHOW(end_get1(&c->b, 3));
	stopped(c, 1000);
	SHOW(end_get1(&c->b, 3));
	SHOW(end_get1(&c->b, 100));
	SHOW(end_get1(&c->b, 100));
	SHOW(end_get1(&c->b, 100));
}

CASE(stop_unread_quiet, F_BOTH, "the same where nothing more is sent: no reset")
{
	SHOW(end_put1(&c->a, 3000));
	SHOW(end_poll(&c->b, POLLIN, 5000));
	SHOW(end_shutdown(&c->b, SHUT_RDWR));
	await(c->a.fd, POLLRDHUP);
	SHOW(end_get1(&c->a, 1));
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT | POLLRDHUP, 0)));
	SHOW(end_get(&c->b, 3000));
	SHOW(end_get1(&c->b, 100));
	SHOW(end_shutdown(&c->a, SHUT_WR));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
	SHOW(end_close(&c->b));
	SHOW(end_get1(&c->a, 1));
}

CASE(stop_border, F_BOTH, "the same with bytes in the kernel, too")
{
	SHOW(end_put1(&c->a, 300));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_TIMESTAMP, 1));
	SHOW(end_put1(&c->a, 300));
	SHOW(end_setopt(&c->b, SOL_SOCKET, SO_RCVLOWAT, 600));
	SHOW(end_poll(&c->b, POLLIN, 5000));
	SHOW(end_shutdown(&c->b, SHUT_RDWR));
	stopped(c, 10);
	SHOW(end_get(&c->b, 600));
	SHOW(end_get1(&c->b, 100));
	SHOW(end_get1(&c->b, 100));
}

CASE(stop_own, F_BOTH,
     "the end that is reset so is told once, and the peer has not read what it had sent")
{
	SHOW(end_put1(&c->a, 10));
	SHOW(end_poll(&c->b, POLLIN, 5000));
	SHOW(shutdown(c->a.fd, SHUT_RDWR));
	SHOW(end_poll(&c->b, POLLRDHUP, 5000));
	SHOW(end_put1(&c->b, 7));
	SHOW(end_poll(&c->b, POLLHUP, 5000) & POLLHUP);
	SHOW(end_get1(&c->a, 1));
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT | POLLRDHUP, 0)));
	SHOW(end_get1(&c->a, 1));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
	SHOW(end_get1(&c->b, 10));
}

CASE(stop_epoll, F_BOTH, "an epoll set with edges hears of that reset")
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
	int ep = epoll_create1(0);

	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	SHOW(end_shutdown(&c->b, SHUT_RDWR));
	await(c->a.fd, POLLRDHUP);
	SHOW(epoll_wait(ep, &e, 1, 5000));
	say("%s", poll_name(e.events));
	SHOW(epoll_wait(ep, &e, 1, 0));
	SHOW(end_put1(&c->a, 7));
	await(c->a.fd, POLLHUP);
	SHOW(epoll_wait(ep, &e, 1, 5000));
	say("%s", poll_name(e.events));
	SHOW(epoll_wait(ep, &e, 1, 0));
	close(ep);
}
