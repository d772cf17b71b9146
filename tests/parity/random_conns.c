/* random_conns.c - the director's calls that make connections: socket, bind, listen, connect, accept */
#include "tests/parity/random_director.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

int op_socket(int p, int family)
{
	struct rc_req q = { .op = RC_SOCKET, .a = family };
	int d;

	if (rd_live(M_ALL) >= 2 * LIVE_MAX || rd_numbers(p) >= FDS - 16)
		return -1;
	q.flags = (unsigned)((rd_one_in(3) ? SOCK_NONBLOCK : 0) |
			     (rd_one_in(4) ? SOCK_CLOEXEC : 0));
	rd_call(p, &q);
	rd_say(p, "socket(%d, %x)", family, q.flags);
	if (rd_rep.ret < 0)
		return -1;
	d = rd_desc_new(K_FRESH);
	rd_descs[d].family = family;
	rd_descs[d].nonblock = q.flags & SOCK_NONBLOCK;
	rd_fd_set(p, rd_rep.ret, d, q.flags & SOCK_CLOEXEC);
	return (int)rd_rep.ret;
}

static void address(struct rc_req *q, int family, int how)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&q->sa;
	struct sockaddr_in *four = (struct sockaddr_in *)&q->sa;

	if (family == AF_INET) {
		four->sin_family = AF_INET;
		four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		q->sa_len = sizeof(*four);
	} else {
		six->sin6_family = AF_INET6;
		six->sin6_addr = how ? in6addr_any : in6addr_loopback;
		q->sa_len = sizeof(*six);
	}
}

void op_bind(int p, int fd)
{
	struct rc_req q = { .op = RC_BIND, .fd = fd };
	struct desc *x = rd_desc(p, fd);

	address(&q, x && x->family == AF_INET6 ? AF_INET6 : AF_INET, rd_one_in(2));
	rd_call(p, &q);
	rd_say(p, "bind(%d)", fd);
}

void op_listen(int p, int fd)
{
	struct rc_req q = { .op = RC_LISTEN, .fd = fd, .a = QUEUE + 1 };
	struct desc *x = rd_desc(p, fd);

	rd_call(p, &q);
	rd_say(p, "listen(%d)", fd);
	if (rd_rep.ret == 0 && x && x->kind == K_FRESH) {
		q.op = RC_NAME;
		rd_call(p, &q);
		x->kind = K_LISTEN;
		x->sa = rd_rep.sa;
		x->sa_len = rd_rep.sa_len;
	}
}

/* Where a socket of @family finds the listener. */
static void reach(struct rc_req *q, const struct desc *l, int family)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&l->sa;
	in_port_t port = six->sin6_port; /* where that of IPv4 is, too */
	struct sockaddr_in6 *to = (struct sockaddr_in6 *)&q->sa;

	address(q, family, 0);
	if (family == AF_INET6 &&
	    (l->family == AF_INET || (IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr) && rd_one_in(2))))
		memcpy(&to->sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16);
	to->sin6_port = port;
}

int op_any_listener(void)
{
	int found[DESCS], n = 0;

	for (int d = 0; d < rd_ndescs; d++)
		if (rd_descs[d].refs > 0 && rd_descs[d].kind == K_LISTEN &&
		    rd_descs[d].queued < QUEUE)
			found[n++] = d;
	return n ? found[rd_rnd(n)] : -1;
}

void op_connect(int p, int fd, int to)
{
	struct rc_req q = { .op = RC_CONNECT, .fd = fd };
	struct desc *x = rd_desc(p, fd), *l = &rd_descs[to];
	int family = x && x->family ? x->family : AF_INET;
	bool alien = family == AF_INET && l->family == AF_INET6 &&
		     !IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)&l->sa)->sin6_addr);

	/* Once it was reset, connect() may begin anew. */
	if (rd_nconns == CONNS || alien ||
	    (x && x->kind == K_CONN && rd_side(x)->reset && !(rd_more && x->side == 1)))
		return;
	reach(&q, l, family);
	rd_call(p, &q);
	rd_say(p, "connect(%d, listener %d)", fd, to);
	if (x && x->kind == K_FRESH && (rd_rep.ret == 0 || rd_rep.err == EINPROGRESS)) {
		x->kind = K_CONN;
		x->conn = rd_nconns++;
		x->side = 0;
		l->queue[l->queued++] = x->conn;
	}
}

int op_accept(int p, int fd)
{
	struct rc_req q = { .op = RC_ACCEPT, .fd = fd, .how = rd_rnd(2) };
	struct desc *l = rd_desc(p, fd), *x;
	int d;

	if (l && l->kind == K_LISTEN && !l->queued && !l->nonblock)
		return -1;
	q.flags = (unsigned)(q.how ? (rd_one_in(3) ? SOCK_NONBLOCK : 0) |
					     (rd_one_in(4) ? SOCK_CLOEXEC : 0)
				   : 0);
	rd_call(p, &q);
	rd_say(p, "accept(%d, %x)", fd, q.flags);
	if (rd_rep.ret < 0 || !l || !l->queued)
		return -1;
	d = rd_desc_new(K_CONN);
	x = &rd_descs[d];
	x->conn = l->queue[0];
	x->side = 1;
	x->family = l->family;
	x->lowat = l->lowat;
	x->rcvtimeo = l->rcvtimeo;
	x->nonblock = q.flags & SOCK_NONBLOCK;
	memmove(l->queue, l->queue + 1, sizeof(*l->queue) * (size_t)--l->queued);
	rd_fd_set(p, rd_rep.ret, d, q.flags & SOCK_CLOEXEC);
	return (int)rd_rep.ret;
}

long op_setopt(int p, int fd, int level, int opt, int value)
{
	struct rc_req q = { .op = RC_SETOPT, .fd = fd, .a = level, .b = opt, .n = sizeof(int) };

	memcpy(&q.sa, &value, sizeof(value));
	rd_call(p, &q);
	rd_say(p, "setsockopt(%d, %d, %d, %d)", fd, level, opt, value);
	return rd_rep.ret;
}

/* All of it: a listener at hand, a connection to it from one actor, accepted where the listener is. */
void op_new_connection(void)
{
	int l = op_any_listener(), p, fd, q = 0, lfd, n;

	if (l < 0 || rd_live(1 << K_CONN) >= LIVE_MAX)
		return;
	p = rd_any_proc();
	fd = op_socket(p, rd_descs[l].family == AF_INET && rd_one_in(4) ? AF_INET6
									: rd_descs[l].family);
	if (fd < 0)
		return;
	if (rd_one_in(2))
		op_setopt(p, fd, IPPROTO_TCP, TCP_NODELAY, 1);
	op_connect(p, fd, l);
	rd_settle();
	if (!rd_holder(l, &q, &lfd) || rd_one_in(12))
		return;
	n = op_accept(q, lfd);
	if (n >= 0)
		op_setopt(q, n, IPPROTO_TCP, TCP_NODELAY, 1);
}

void op_listener(int family)
{
	int p = rd_rnd(2), fd = rd_live(1 << K_LISTEN) < 4 ? op_socket(p, family) : -1;

	if (fd < 0)
		return;
	op_bind(p, fd);
	op_listen(p, fd);
}
