/* par_ep.h - epoll in one line each, for par_epoll.c and par_epoll_many.c
 *
 * Static helpers over parity.h; on any thread.
 */
#ifndef TESTS_PARITY_PAR_EP_H
#define TESTS_PARITY_PAR_EP_H

#include "tests/parity/parity.h"

#include <sys/epoll.h>

static char ep_buf[1 << 16];

static inline int ep_new(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);

	MUST(ep);
	return ep;
}

static inline int ep_ctl(int ep, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { events, { .u64 = data } };

	return epoll_ctl(ep, op, fd, &e);
}

static inline int ep_add(int ep, int fd, uint32_t events, uint64_t data)
{
	return ep_ctl(ep, EPOLL_CTL_ADD, fd, events, data);
}

/* One wait; says how many events came and each of them, in order of their data. */
static inline int ep_say(int ep, int ms)
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

static inline long late_put(int fd, void *arg, size_t *len)
{
	(void)len;
	sleep_ms(*(int *)arg);
	return write(fd, "late!", 5);
}

static inline void late(struct conn *c, int ms)
{
	end_start(&c->b, late_put, &ms, sizeof(ms));
}

/* Bytes that have surely arrived. */
static inline void arrive(struct conn *c, long n)
{
	int had = 0;

	end_put1(&c->b, n);
	for (int i = 0; i < 5000; i++) {
		had = recv(c->a.fd, ep_buf, sizeof(ep_buf), MSG_PEEK | MSG_DONTWAIT);
		if (had >= n)
			return;
		sleep_ms(1);
	}
	say("only %d of %ld arrived", had, n);
}

#endif
