/* random_sets.c - the director's looks at several descriptors: poll, select, epoll */
#include "tests/parity/random_director.h"

#include <poll.h>
#include <sys/epoll.h>

/* Whether the peer has bytes of @x's unread, so that a ring may be full. */
static bool may_be_full(const struct desc *x)
{
	return x->kind == K_CONN && rd_conns[x->conn].s[1 - x->side].unread > 0;
}

void op_poll(int p)
{
	static const int masks[] = { POLLIN,  POLLOUT, POLLIN | POLLOUT,  POLLIN | POLLRDHUP,
				     POLLPRI, 0,       0xffff & ~POLLNVAL };
	struct rc_req q = { .op = rd_one_in(3) ? RC_SELECT : RC_POLL,
			    .how = rd_rnd(2),
			    .sets = 1 + rd_rnd(5) };

	for (int i = 0; i < q.sets; i++) {
		q.fds[i] = rd_any_fd(p, M_ALL);
		if (q.fds[i] < 0)
			return;
		q.events[i] = q.op == RC_SELECT ? 1 + rd_rnd(7) : masks[rd_rnd(7)];
		if (may_be_full(rd_desc(p, q.fds[i])))
			q.events[i] &= q.op == RC_SELECT ? ~2
							 : ~(POLLOUT | POLLWRNORM | POLLWRBAND);
	}
	rd_call(p, &q);
	rd_say(p, "%s", q.op == RC_SELECT ? "select" : "poll");
}

void op_ep_new(int p)
{
	struct rc_req q = { .op = RC_EP_NEW, .flags = rd_one_in(2) ? EPOLL_CLOEXEC : 0 };

	if (rd_live(1 << K_EPOLL) > 5 || rd_numbers(p) >= FDS - 16)
		return;
	rd_call(p, &q);
	rd_say(p, "epoll_create1(%x)", q.flags);
	if (rd_rep.ret >= 0)
		rd_fd_set(p, rd_rep.ret, rd_desc_new(K_EPOLL), q.flags);
}

void op_ep_ctl(int p)
{
	static const unsigned masks[] = { EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT,
					  EPOLLIN | EPOLLRDHUP, 0 };
	struct rc_req q = { .op = RC_EP_CTL,
			    .fd = rd_any_fd(p, rd_one_in(30) ? M_ALL : 1 << K_EPOLL),
			    .a = rd_any_fd(p, M_ALL) };

	q.how = rd_one_in(2) ? EPOLL_CTL_ADD : rd_one_in(3) ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
	q.flags = masks[rd_rnd(5)] | (rd_one_in(3) ? EPOLLET : 0) |
		  (rd_one_in(5) ? EPOLLONESHOT : 0);
	q.key = (uint64_t)q.a | (uint64_t)rd_now << 16;
	if (q.fd < 0 || q.a < 0)
		return;
	if (q.flags & EPOLLET)
		q.flags &= ~(unsigned)EPOLLOUT;
	rd_desc(p, q.a)->out_awaited |= q.flags & EPOLLOUT;
	rd_call(p, &q);
	rd_say(p, "epoll_ctl(%d, %d, %d, %x)", q.fd, q.how, q.a, q.flags);
}

void op_ep_wait(int p, int fd)
{
	struct rc_req q = { .op = RC_EP_WAIT, .fd = fd, .how = rd_rnd(3) };

	for (int d = 0; d < rd_ndescs; d++)
		if (rd_descs[d].out_awaited && may_be_full(&rd_descs[d]))
			return;
	rd_call(p, &q);
	rd_say(p, "epoll_wait(%d)", fd);
}
