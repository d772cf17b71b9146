/* par_dup.c - parity of fd numbers: the dup families, close_range, reuse of numbers, flags */
#include "tests/parity/parity.h"

#include <arpa/inet.h>
#include <linux/close_range.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static char buf[1 << 16];

/* Move the case's end to another number. */
static void moved(struct conn *c, int to)
{
	c->a.fd = to;
	conn_same(c, 3000);
}

CASE(dup_close, F_ANY, "dup, use both numbers, close the first, then the second")
{
	int d = dup(c->a.fd), first = c->a.fd;

	say("higher: %d", d > first);
	SHOW(end_put1(&c->b, 20));
	await(d, POLLIN);
	SHOW(end_get1(&c->a, 5));
	c->a.fd = d;
	SHOW(end_get1(&c->a, 50));
	SHOW(close(first));
	conn_same(c, 5000);
	SHOW(end_close(&c->a));
	SHOW(end_get1(&c->b, 1));
}

CASE(dup2_free, F_BOTH, "dup2 to a free number")
{
	SHOW(dup2(c->a.fd, 77));
	moved(c, 77);
	SHOW(dup2(77, 77));
	SHOW(dup2(-1, 78));
	SHOW(dup2(77, -1));
	SHOW(dup2(77, 1 << 30));
	moved(c, 77);
}

CASE(dup2_itself, F_BOTH, "dup2 and dup3 of a number to itself")
{
	say("same number: %d", dup2(c->a.fd, c->a.fd) == c->a.fd);
	SHOW(dup3(c->a.fd, c->a.fd, 0));
	SHOW(dup3(c->a.fd, 79, 0x12345));
	conn_same(c, 1000);
}

CASE(dup3_cloexec, F_BOTH, "dup3 with O_CLOEXEC")
{
	SHOW(dup3(c->a.fd, 80, O_CLOEXEC));
	SHOW(fcntl(80, F_GETFD));
	SHOW(fcntl(c->a.fd, F_GETFD));
	moved(c, 80);
}

CASE(dupfd, F_BOTH, "F_DUPFD and F_DUPFD_CLOEXEC")
{
	SHOW(fcntl(c->a.fd, F_DUPFD, 90));
	SHOW(fcntl(c->a.fd, F_DUPFD, 90));
	SHOW(fcntl(c->a.fd, F_DUPFD_CLOEXEC, 90));
	SHOW(fcntl(90, F_GETFD));
	SHOW(fcntl(92, F_GETFD));
	SHOW(fcntl(c->a.fd, F_DUPFD, -1));
	SHOW(fcntl(c->a.fd, F_DUPFD, 1 << 30));
	moved(c, 91);
	moved(c, 92);
}

CASE(dup2_over_connection, F_BOTH, "dup2 onto another connection closes that one")
{
	struct conn d;

	conn_open(c, &d);
	say("onto: %d", dup2(c->a.fd, d.a.fd) == d.a.fd);
	SHOW(end_get1(&d.b, 1));
	c->a.fd = d.a.fd;
	conn_same(c, 3000);
}

CASE(dup2_pipe_over, F_BOTH,
     "dup2 of a pipe onto a connection closes it; the number is a pipe then")
{
	int p[2];

	MUST(pipe(p));
	say("onto: %d", dup2(p[0], c->a.fd) == c->a.fd);
	SHOW(end_get1(&c->b, 1));
	SHOW(write(p[1], "abc", 3));
	SHOW(read(c->a.fd, buf, 10));
	SHOW(send(c->a.fd, buf, 1, 0));
}

CASE(dup2_over_pipe, F_BOTH, "dup2 of a connection onto a pipe's number")
{
	int p[2];

	MUST(pipe(p));
	say("onto: %d", dup2(c->a.fd, p[1]) == p[1]);
	SHOW(read(p[0], buf, 1));
	moved(c, p[1]);
}

CASE(swap, F_BOTH, "two connections swap their numbers")
{
	struct conn d;

	conn_open(c, &d);
	int t = dup(c->a.fd);

	say("%d", dup2(d.a.fd, c->a.fd) == c->a.fd && dup2(t, d.a.fd) == d.a.fd);
	close(t);
	t = c->a.fd;
	c->a.fd = d.a.fd;
	d.a.fd = t;
	conn_same(c, 2000);
	conn_same(&d, 2000);
}

CASE(nonblock_shared, F_BOTH, "O_NONBLOCK belongs to the description, FD_CLOEXEC to the number")
{
	int d = dup(c->a.fd);

	SHOW(fcntl(d, F_SETFL, O_NONBLOCK));
	SHOW(read(c->a.fd, buf, 1));
	SHOW(fcntl(d, F_SETFD, FD_CLOEXEC));
	SHOW(fcntl(c->a.fd, F_GETFD));
	SHOW(fcntl(c->a.fd, F_SETFL, 0));
	say("blocking again: %d", !(fcntl(d, F_GETFL) & O_NONBLOCK));
}

CASE(shutdown_shared, F_BOTH, "shutdown through one number counts for all")
{
	int d = dup(c->a.fd);

	SHOW(shutdown(d, SHUT_WR));
	SHOW(send(c->a.fd, buf, 1, MSG_NOSIGNAL));
	SHOW(end_get1(&c->b, 1));
	SHOW(close(d));
	SHOW(end_put1(&c->b, 5));
	SHOW(end_get(&c->a, 5));
}

CASE(many_dups, F_BOTH, "40 numbers for one connection, closed in turn")
{
	int d[40];

	for (int i = 0; i < 40; i++)
		MUST(d[i] = dup(c->a.fd));
	close(c->a.fd);
	for (int i = 0; i < 40; i++) {
		c->a.fd = d[(i * 7) % 40];
		end_put1(&c->a, 100);
		if (end_get(&c->b, 100) != 100)
			say("lost at %d", i);
	}
	for (int i = 0; i < 39; i++)
		close(d[i]);
	moved(c, d[39]);
	SHOW(close(d[39]));
	SHOW(end_get1(&c->b, 1));
}

CASE(reuse_pipe, F_BOTH, "a closed connection's number given to a pipe, a file, a socket")
{
	int p[2], n = c->a.fd;

	SHOW(end_put1(&c->a, 10));
	SHOW(close(n));
	MUST(pipe(p));
	say("reused: %d", p[0] == n || p[1] == n);
	SHOW(write(p[1], "xyz", 3));
	SHOW(read(p[0], buf, 10));
	close(p[0]);
	close(p[1]);
	int f = open("/dev/zero", O_RDONLY);

	SHOW(read(f, buf, 10));
	SHOW(recv(f, buf, 10, 0));
	close(f);
	int u = socket(AF_INET, SOCK_DGRAM, 0);

	SHOW(recv(u, buf, 1, MSG_DONTWAIT));
	close(u);
	SHOW(end_get(&c->b, 11));
}

CASE(reuse_connection, F_BOTH, "numbers reused by 30 connections in turn")
{
	for (int i = 0; i < 30; i++) {
		struct conn d;
		struct conn cold = *c;

		cold.warm = i % 3 == 0;
		conn_open(&cold, &d);
		end_put1(&d.a, 100 + i);
		if (end_get(&d.b, 100 + i) != 100 + i)
			say("lost at %d", i);
		end_close(&d.a);
		if (end_get1(&d.b, 1) != 0)
			say("no end at %d", i);
		end_close(&d.b);
	}
	conn_same(c, 2000);
}

CASE(close_range_all, F_BOTH, "close_range closes connections as close does")
{
	struct conn d;

	conn_open(c, &d);
	SHOW(dup2(c->a.fd, 60));
	SHOW(dup2(d.a.fd, 61));
	close(c->a.fd);
	close(d.a.fd);
	SHOW(end_put1(&c->b, 5));
	SHOW(close_range(60, 70, 0));
	SHOW(read(60, buf, 1));
	SHOW(write(61, buf, 1));
	SHOW(end_get1(&d.b, 1));
	SHOW(end_get1(&c->b, 1));
}

CASE(close_range_part, F_BOTH, "close_range of some numbers leaves the connection")
{
	SHOW(dup2(c->a.fd, 60));
	SHOW(dup2(c->a.fd, 65));
	close(c->a.fd);
	SHOW(close_range(60, 64, 0));
	SHOW(close_range(66, 69, 0));
	moved(c, 65);
	SHOW(close_range(70, 60, 0));
	SHOW(close_range(60, 70, 0x100));
	moved(c, 65);
}

CASE(close_range_cloexec, F_BOTH, "close_range with CLOSE_RANGE_CLOEXEC only marks")
{
	SHOW(dup2(c->a.fd, 60));
	SHOW(close_range(60, 60, CLOSE_RANGE_CLOEXEC));
	SHOW(fcntl(60, F_GETFD));
	moved(c, 60);
}

CASE(close_range_unshare, F_BOTH, "close_range with CLOSE_RANGE_UNSHARE")
{
	SHOW(dup2(c->a.fd, 60));
	SHOW(close_range(61, 70, CLOSE_RANGE_UNSHARE));
	moved(c, 60);
	SHOW(close_range(60, 60, CLOSE_RANGE_UNSHARE));
	SHOW(read(60, buf, 1));
}

CASE(closefrom_all, F_BOTH, "closefrom closes what is above")
{
	SHOW(dup2(c->a.fd, 300));
	close(c->a.fd);
	closefrom(300);
	SHOW(read(300, buf, 1));
	SHOW(end_get1(&c->b, 1));
}

CASE(close_twice, F_BOTH, "the second close is EBADF")
{
	SHOW(close(c->a.fd));
	SHOW(close(c->a.fd));
	SHOW(fcntl(c->a.fd, F_GETFD));
	SHOW(write(c->a.fd, buf, 1));
	SHOW(end_get1(&c->b, 1));
}

CASE(lowest_number, F_BOTH, "the lowest free number is given, as the kernel does")
{
	int a = dup(0), b;

	close(a);
	b = dup(c->a.fd);
	say("same: %d", a == b);
	close(b);
	int s = socket(AF_INET, SOCK_STREAM, 0);

	say("same: %d", a == s);
	close(s);
}

CASE(rlimit_room, F_BOTH, "the library's own fds do not take low numbers")
{
	int low = dup(0);

	say("lowest free number is small: %d", low < 12);
	say("two connections in a row: %d", c->a.fd < 12);
}

CASE(fd_high, F_BOTH, "a number of 1000")
{
	SHOW(fcntl(c->a.fd, F_DUPFD, 1000));
	close(c->a.fd);
	moved(c, 1000);
	say("poll: %s", poll_name(end_poll(&c->a, POLLIN | POLLOUT, 0)));
}

CASE(socketpair_untouched, F_PLAIN, "AF_UNIX, UDP, pipes with the same calls")
{
	int s[2], p[2];
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);

	SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	SHOW(write(s[0], "abcd", 4));
	SHOW(recv(s[1], buf, 2, MSG_PEEK));
	SHOW(read(dup(s[1]), buf, 10));
	SHOW(shutdown(s[0], SHUT_WR));
	SHOW(read(s[1], buf, 10));
	int u = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	SHOW(bind(u, (struct sockaddr *)&sa, sizeof(sa)));
	SHOW(getsockname(u, (struct sockaddr *)&sa, &len));
	SHOW(connect(u, (struct sockaddr *)&sa, len));
	SHOW(write(u, "hello", 5));
	await(u, POLLIN);
	SHOW(recv(u, buf, 2, MSG_TRUNC));
	SHOW(recv(u, buf, 2, 0));
	SHOW(pipe2(p, O_NONBLOCK));
	SHOW(read(p[0], buf, 1));
	SHOW(write(p[1], "q", 1));
	SHOW(read(p[0], buf, 5));
	SHOW(close(p[0]));
}

CASE(raw_close, F_BOTH, "a number closed and reused by raw system calls behind libc's back")
{
	int n = c->a.fd, keep = dup(n), p[2];

	SHOW(syscall(SYS_close, n));
	MUST(syscall(SYS_pipe2, p, 0));
	SHOW(write(p[1], "abc", 3));
	SHOW(read(p[0], buf, 10));
	close(p[0]);
	close(p[1]);
	moved(c, keep);
}
