/* random_more.c - the director's calls that came later: seeds below RD_MORE_FROM do not draw them, so that what these are known for stays */
#include "tests/parity/random_director.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* SO_RCVTIMEO, SO_SNDTIMEO: short ones, as a receive that would wait runs into them. */
static void op_timeout(int p, int fd)
{
	struct timeval t = { 0, rd_one_in(3) ? 0 : 15000 };
	struct rc_req q = { .op = RC_SETOPT,
			    .fd = fd,
			    .a = SOL_SOCKET,
			    .b = rd_one_in(3) ? SO_SNDTIMEO : SO_RCVTIMEO,
			    .n = sizeof(t) };

	memcpy(&q.sa, &t, sizeof(t));
	rd_call(p, &q);
	rd_say(p, "%s(%d, %ld us)", q.b == SO_SNDTIMEO ? "SO_SNDTIMEO" : "SO_RCVTIMEO", fd,
	       (long)t.tv_usec);
	if (rd_rep.ret == 0 && q.b == SO_RCVTIMEO)
		rd_desc(p, fd)->rcvtimeo = t.tv_usec;
}

static void op_lowat(int p, int fd)
{
	static const int values[] = { 1, 1, 2, 50, 1500 };
	int value = values[rd_rnd(5)];

	if (op_setopt(p, fd, SOL_SOCKET, SO_RCVLOWAT, value) == 0)
		rd_desc(p, fd)->lowat = value;
}

/* Held back and let go: whether it comes sooner is not looked at. */
static void op_cork(int p, int fd)
{
	const struct desc *x = rd_desc(p, fd);

	if ((x->kind == K_CONN && rd_conns[x->conn].s[1 - x->side].closed) ||
	    op_setopt(p, fd, IPPROTO_TCP, TCP_CORK, 1) < 0)
		return;
	for (int i = rd_rnd(3); i >= 0; i--)
		op_write(p, fd, 1 + rd_rnd(900), rd_one_in(3) ? RC_SENDFILE : RC_WRITE);
	if (rd_one_in(3))
		op_setopt(p, fd, IPPROTO_TCP, TCP_NODELAY, 1);
	op_setopt(p, fd, IPPROTO_TCP, TCP_CORK, 0);
}

/* The way web servers do: a header, and behind it a file. */
static void op_header(int p, int fd)
{
	struct desc *x = rd_desc(p, fd);
	struct rc_req q = { .op = RC_WRITE,
			    .fd = fd,
			    .how = 2,
			    .flags = MSG_MORE | MSG_NOSIGNAL,
			    .n = 1 + rd_rnd(300) };

	if (x->kind != K_CONN || rd_conns[x->conn].s[1 - x->side].closed ||
	    rd_conns[x->conn].s[1 - x->side].unread + 6000 > UNREAD_MAX ||
	    rd_conns[x->conn].s[1 - x->side].chunks + 2 > CHUNKS_MAX)
		return;
	q.key = rd_key(x, true);
	q.off = rd_side(x)->tx;
	rd_call(p, &q);
	rd_say(p, "send(%d, %ld, %x)", fd, q.n, q.flags);
	rd_wrote(x, rd_rep.ret);
	op_write(p, fd, 1 + rd_rnd(5000), RC_SENDFILE);
}

/* What the peer has sent, read or not; and that all of ours has arrived. */
static void op_counts(int p, int fd)
{
	struct rc_req q = { .op = RC_COUNTS, .fd = fd };
	struct desc *x = rd_desc(p, fd);

	if (x->kind != K_CONN || rd_side(x)->reset || rd_conns[x->conn].s[1 - x->side].closed)
		return;
	q.a = !x->handed;
	rd_call(p, &q);
	rd_say(p, "counts(%d)", fd);
}

/* Another end of the connection, at another actor than @p. Return: whether there is one. */
static bool far_end(const struct desc *x, int p, int *q, int *fd)
{
	for (int d = 0; d < rd_ndescs; d++) {
		const struct desc *y = &rd_descs[d];

		if (y->refs <= 0 || y->kind != K_CONN || y->conn != x->conn || y->side == x->side)
			continue;
		for (*q = 0; rd_holder(d, q, fd); ++*q)
			if (*q != p)
				return true;
	}
	return false;
}

static bool alone_and_well(const struct desc *x)
{
	const struct side *s = rd_conns[x->conn].s;

	for (int i = 0; i < 2; i++)
		if (s[i].shut_rd || s[i].shut_wr || s[i].closed || s[i].reset)
			return false;
	return x->refs == 1 && !s[x->side].unread;
}

/* Somebody waits for what another process does a moment later. */
static void op_awaited(int p, int fd)
{
	struct desc *x = rd_desc(p, fd), *y;
	struct rc_req q = { .fd = fd };
	int other, far, what = rd_rnd(4);
	struct rc_rep waited;

	if (x->kind != K_CONN || x->nonblock || x->rcvtimeo || !alone_and_well(x) ||
	    !far_end(x, p, &other, &far))
		return;
	y = rd_desc(other, far);
	q.n = 1 + rd_rnd(rd_one_in(3) ? 20000 : 100);
	q.key = rd_key(x, false);
	q.off = rd_side(x)->rx;
	if (rd_one_in(3)) {
		q.op = RC_POLL;
		q.how = 2;
		q.sets = 1;
		q.fds[0] = fd;
		q.events[0] = POLLRDHUP | (q.n >= x->lowat ? POLLIN : 0);
		if (what && !(q.events[0] & POLLIN))
			return;
	} else {
		q.op = RC_READ;
		q.how = 2 + 2 * rd_rnd(2);
		q.flags = MSG_WAITALL;
	}
	rd_tell(p, &q);
	usleep((unsigned)rd_rnd(3) * 700);
	if (what) {
		struct rc_req w = { .op = RC_WRITE,
				    .fd = far,
				    .how = rd_rnd(7),
				    .n = q.n,
				    .key = q.key,
				    .off = q.off };

		if (rd_call(other, &w) != w.n)
			rd_say(other, "awaited write(%d, %ld)", far, w.n);
		rd_wrote(y, rd_rep.ret);
	} else if (rd_one_in(2) || y->refs > 1) {
		struct rc_req w = { .op = RC_SHUTDOWN, .fd = far, .how = SHUT_WR };

		rd_call(other, &w);
		rd_say(other, "awaited shutdown(%d)", far);
		rd_side(y)->shut_wr = true;
	} else {
		struct rc_req w = { .op = RC_CLOSE, .fd = far };

		rd_call(other, &w);
		rd_say(other, "awaited close(%d)", far);
		rd_fd_drop(other, far);
	}
	rd_answer(p);
	waited = rd_rep;
	rd_say(p, "await %s(%d, %ld)", q.op == RC_POLL ? "poll" : "recv", fd, q.n);
	if (q.op == RC_READ)
		rd_took(x, waited.ret, 0);
}

void op_later(int p, int what)
{
	int fd = rd_any_fd(p, rd_one_in(15) ? M_SOCK : 1 << K_CONN);

	if (fd < 0)
		return;
	if (what < 5)
		op_timeout(p, fd);
	else if (what < 9)
		op_lowat(p, fd);
	else if (what < 13)
		op_cork(p, fd);
	else if (what < 17)
		op_header(p, fd);
	else if (what < 22)
		op_counts(p, fd);
	else
		op_awaited(p, fd);
}
