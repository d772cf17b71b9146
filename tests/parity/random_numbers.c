/* random_numbers.c - the director's calls on one number: dup, flags, options, names, shutdown, close */
#include "tests/parity/random_director.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

void op_dup(int p, int fd)
{
	struct rc_req q = { .op = RC_DUP, .fd = fd };
	int d = rd_procs[p].fd[fd];

	if (rd_numbers(p) >= FDS - 16)
		return;
	switch (rd_rnd(3)) {
	case 0:
		rd_call(p, &q);
		rd_say(p, "dup(%d)", fd);
		break;
	case 1:
		q.op = RC_DUPFD;
		q.how = rd_rnd(2);
		q.a = rd_rnd(20);
		rd_call(p, &q);
		rd_say(p, "F_DUPFD(%d, %d, %d)", fd, q.a, q.how);
		break;
	default:
		q.op = RC_DUP2;
		q.how = rd_rnd(2);
		q.flags = q.how && rd_one_in(2) ? O_CLOEXEC : 0;
		q.a = rd_one_in(2) ? rd_any_fd(p, M_ALL) : 20 + rd_rnd(20);
		rd_call(p, &q);
		rd_say(p, "dup%d(%d, %d, %x)", 2 + q.how, fd, q.a, q.flags);
		if (rd_rep.ret < 0 || q.a == fd)
			return;
		if (rd_procs[p].fd[q.a] >= 0) {
			rd_descs[d].refs++;
			rd_fd_drop(p, q.a);
			rd_descs[d].refs--;
		}
	}
	if (rd_rep.ret >= 0)
		rd_fd_set(p, rd_rep.ret, d, (q.op == RC_DUPFD && q.how) || q.flags & O_CLOEXEC);
}

void op_flags(int p, int fd)
{
	static const enum rc_op ops[] = { RC_FLAGS, RC_NONBLOCK, RC_CLOEXEC, RC_INQ };
	struct rc_req q = { .op = ops[rd_rnd(4)], .fd = fd, .how = rd_rnd(2), .b = rd_rnd(2) };
	struct desc *x = rd_desc(p, fd);

	if (x && x->kind == K_EPOLL && q.op == RC_NONBLOCK)
		return;
	rd_call(p, &q);
	rd_say(p, "%s(%d, %d, %d)",
	       q.op == RC_FLAGS      ? "flags"
	       : q.op == RC_NONBLOCK ? "nonblock"
	       : q.op == RC_CLOEXEC  ? "cloexec"
				     : "inq",
	       fd, q.how, q.b);
	if (x && rd_rep.ret == 0 && q.op == RC_NONBLOCK)
		x->nonblock = q.b;
	if (x && rd_rep.ret == 0 && q.op == RC_CLOEXEC)
		rd_procs[p].cloexec[fd] = q.b;
}

/* Options whose value is the program's alone, with two values for each. */
static const int options[][4] = {
	{ SOL_SOCKET, SO_KEEPALIVE, 0, 1 },
	{ SOL_SOCKET, SO_REUSEADDR, 0, 1 },
	{ SOL_SOCKET, SO_PRIORITY, 2, 4 },
	{ SOL_SOCKET, SO_MARK, 0, 77 },
	{ SOL_SOCKET, SO_TIMESTAMP, 0, 1 },
	{ SOL_SOCKET, SO_DONTROUTE, 0, 0 },
	{ SOL_SOCKET, SO_OOBINLINE, 0, 1 },
	{ SOL_SOCKET, SO_SNDBUF, 300000, 500000 },
	{ SOL_SOCKET, 999, 0, 1 },
	{ IPPROTO_TCP, TCP_NODELAY, 1, 7 },
	{ IPPROTO_TCP, TCP_KEEPIDLE, 50, 9 },
	{ IPPROTO_TCP, TCP_KEEPINTVL, 5, 0 },
	{ IPPROTO_TCP, TCP_KEEPCNT, 4, 200 },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, 0, 30000 },
	{ IPPROTO_TCP, TCP_LINGER2, 5, 9 },
	{ IPPROTO_TCP, TCP_SYNCNT, 3, 0 },
	{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, 100000 },
	{ IPPROTO_TCP, 999, 0, 1 },
	{ IPPROTO_IP, IP_TOS, 0, 0x10 },
	{ IPPROTO_IP, IP_TTL, 64, 3000 },
	{ IPPROTO_IPV6, IPV6_V6ONLY, 0, 1 },
	{ IPPROTO_IPV6, IPV6_TCLASS, 0, 8 },
};
static const int looked_at[] = { SO_TYPE,  SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN,
				 SO_ERROR, SO_LINGER, SO_RCVTIMEO };

void op_option(int p, int fd)
{
	const int *o = options[rd_rnd((int)(sizeof(options) / sizeof(*options)))];
	struct rc_req q = { .op = RC_GETOPT,
			    .fd = fd,
			    .a = o[0],
			    .b = o[1],
			    .n = rd_one_in(4) ? 1 + rd_rnd(20) : 4 };
	struct desc *x = rd_desc(p, fd);

	if (rd_one_in(3) && x && !(o[1] == IPV6_V6ONLY && o[0] == IPPROTO_IPV6)) {
		op_setopt(p, fd, o[0], o[1], o[2 + rd_rnd(2)]);
		return;
	}
	if (rd_one_in(3)) {
		q.a = SOL_SOCKET;
		q.b = looked_at[rd_rnd((int)(sizeof(looked_at) / sizeof(*looked_at)))];
		q.n = q.b == SO_LINGER ? 8 : q.b == SO_RCVTIMEO ? 16 : 4;
	} else if (o[1] == SO_SNDBUF && o[0] == SOL_SOCKET) {
		return; /* grows by itself until it is set */
	}
	rd_call(p, &q);
	rd_say(p, "getsockopt(%d, %d, %d, %ld)", fd, q.a, q.b, q.n);
}

void op_linger(int p, int fd)
{
	struct desc *x = rd_desc(p, fd);
	struct linger l = { rd_one_in(4) ? 0 : 1, 0 };
	struct rc_req q = {
		.op = RC_SETOPT, .fd = fd, .a = SOL_SOCKET, .b = SO_LINGER, .n = sizeof(l)
	};

	memcpy(&q.sa, &l, sizeof(l));
	rd_call(p, &q);
	rd_say(p, "SO_LINGER(%d, %d)", fd, l.l_onoff);
	if (rd_rep.ret == 0 && x->kind == K_CONN)
		rd_side(x)->linger0 = l.l_onoff;
}

void op_name(int p, int fd)
{
	struct rc_req q = { .op = RC_NAME, .fd = fd, .how = rd_rnd(2) };
	const unsigned char *a = (const unsigned char *)&rd_rep.sa;

	rd_call(p, &q);
	rd_rep.text[0] = 0;
	if (rd_rep.ret == 0)
		snprintf(rd_rep.text, sizeof(rd_rep.text), " %u: %d %02x%02x%02x%02x %02x",
			 rd_rep.sa_len, rd_rep.sa.ss_family, a[4], a[5], a[6], a[7],
			 rd_rep.sa.ss_family == AF_INET6 ? a[23] : 0);
	rd_say(p, "%s(%d)", q.how ? "getpeername" : "getsockname", fd);
}

void op_shutdown(int p, int fd)
{
	struct rc_req q = { .op = RC_SHUTDOWN, .fd = fd, .how = rd_one_in(20) ? 3 : rd_rnd(3) };
	struct desc *x = rd_desc(p, fd);

	if (x && x->kind == K_LISTEN)
		return;
	rd_call(p, &q);
	rd_say(p, "shutdown(%d, %d)", fd, q.how);
	if (x && x->kind == K_CONN && rd_rep.ret == 0) {
		rd_side(x)->shut_rd |= q.how != SHUT_WR;
		rd_side(x)->shut_wr |= q.how != SHUT_RD;
	}
}

void op_close(int p, int fd)
{
	struct rc_req q = { .op = RC_CLOSE, .fd = fd };

	rd_call(p, &q);
	rd_say(p, "close(%d)", fd);
	if (rd_desc(p, fd))
		rd_fd_drop(p, fd);
}
