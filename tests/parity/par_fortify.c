/* par_fortify.c - parity of the fortified entry points (built with -O2 -D_FORTIFY_SOURCE=2)
 *
 * Where the size of the buffer is known and the length is not, glibc's headers make read(),
 * recv(), recvfrom(), poll() and ppoll() calls of __read_chk() and so on.
 */
#include "tests/parity/parity.h"

#include <signal.h>
#include <sys/select.h>
#include <sys/wait.h>

#if !defined(__USE_FORTIFY_LEVEL) || __USE_FORTIFY_LEVEL < 1
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#error "par_fortify.c must be compiled with -O2 -D_FORTIFY_SOURCE=2"
#endif
#endif

static volatile size_t len_of = 64;
static volatile nfds_t one = 1;

CASE(read_chk, F_ANY, "__read_chk")
{
	char b[128];

	SHOW(end_put1(&c->b, 100));
	await(c->a.fd, POLLIN);
	ssize_t n = read(c->a.fd, b, len_of);

	SHOW(n);
	end_check(&c->a, b, n);
	SHOW(end_get(&c->a, 36));
}

CASE(recv_chk, F_ANY, "__recv_chk, with flags")
{
	char b[128];

	SHOW(recv(c->a.fd, b, len_of, MSG_DONTWAIT));
	SHOW(end_put1(&c->b, 100));
	await(c->a.fd, POLLIN);
	SHOW(recv(c->a.fd, b, len_of, MSG_PEEK));
	ssize_t n = recv(c->a.fd, b, len_of, MSG_WAITALL);

	SHOW(n);
	end_check(&c->a, b, n);
}

CASE(recvfrom_chk, F_ANY, "__recvfrom_chk")
{
	char b[128];
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	SHOW(end_put1(&c->b, 100));
	await(c->a.fd, POLLIN);
	ssize_t n = recvfrom(c->a.fd, b, len_of, 0, (struct sockaddr *)&sa, &len);

	SHOW(n);
	say("length %u", len);
	end_check(&c->a, b, n);
}

CASE(poll_chk, F_ANY, "__poll_chk and __ppoll_chk")
{
	struct pollfd p[2] = { { c->a.fd, POLLIN, 0 }, { -1, 0, 0 } };
	struct timespec ts = { 0, 20000000 };

	SHOW(poll(p, one, 20));
	SHOW(ppoll(p, one, &ts, NULL));
	SHOW(end_put1(&c->b, 1));
	SHOW(poll(p, one, 5000));
	say("%s", poll_name(p[0].revents));
	SHOW(ppoll(p, one, &ts, NULL));
	say("%s", poll_name(p[0].revents));
}

CASE(fdelt_chk, F_BOTH, "FD_SET's check and select")
{
	fd_set r;
	struct timeval tv = { 5, 0 };
	volatile int fd = c->a.fd;

	FD_ZERO(&r);
	FD_SET(fd, &r);
	SHOW(end_put1(&c->b, 1));
	SHOW(select(fd + 1, &r, NULL, NULL, &tv));
	say("%d", !!FD_ISSET(fd, &r));
}

static void overflow(struct conn *c, int which)
{
	char b[16];
	struct pollfd p[1] = { { c->a.fd, POLLIN, 0 } };

	signal(SIGABRT, SIG_DFL);
	dup2(open("/dev/null", O_WRONLY), 2);
	if (which == 0)
		_exit(read(c->a.fd, b, len_of) == 64);
	if (which == 1)
		_exit(recv(c->a.fd, b, len_of, 0) == 64);
	if (which == 2)
		_exit(recvfrom(c->a.fd, b, len_of, 0, NULL, NULL) == 64);
	if (which == 3)
		_exit(poll(p, one + 1, 0));
	_exit(ppoll(p, one + 1, NULL, NULL));
}

CASE(overflows, F_BOTH, "a length over the buffer's size ends the program, as natively")
{
	SHOW(end_put1(&c->b, 100));
	await(c->a.fd, POLLIN);
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (!pid)
			overflow(c, i);
		reap("child", pid);
	}
	SHOW(end_get(&c->a, 100));
}

CASE(exchange, F_ANY, "200 exchanges through the fortified calls")
{
	char b[64];
	long sum = 0;

	for (int i = 0; i < 200; i++) {
		len_of = i % 60 + 1;
		end_put1(&c->b, len_of);
		struct pollfd p[1] = { { c->a.fd, POLLIN, 0 } };

		poll(p, one, 5000);
		ssize_t n = i % 2 ? read(c->a.fd, b, len_of) : recv(c->a.fd, b, len_of, 0);

		end_check(&c->a, b, n);
		sum += n;
		sum += end_put1(&c->a, 3) + end_get(&c->b, 3);
	}
	SHOW(sum);
}
