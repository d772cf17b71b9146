/* par_rights.c - parity of connections that move between processes: SCM_RIGHTS, pidfd_getfd
 *
 * Run as `prog --exec echo FD`, the program is an echo server for a connection that it was given.
 */
#include "tests/parity/parity.h"
#include "tests/parity/parity_priv.h"

#include <sys/syscall.h>
#include <sys/uio.h>

static char buf[1 << 16];

int par_exec_main(int argc, char **argv)
{
	char b[4096];
	int fd = argc > 1 ? atoi(argv[1]) : 0;
	ssize_t n;

	while ((n = read(fd, b, sizeof(b))) > 0)
		if (write(fd, b, n) != n)
			return 2;
	return 0;
}

static void exec_echo(int fd)
{
	char number[12];

	snprintf(number, sizeof(number), "%d", fd);
	execl("/proc/self/exe", "parity", "--exec", "echo", number, (char *)NULL);
	_exit(96);
}

union rights {
	struct cmsghdr h;
	char room[CMSG_SPACE(2 * sizeof(int))];
};

static int rights_send(int via, const int *fd, int n)
{
	union rights u;
	struct iovec v = { (void *)"f", 1 };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = &u,
			    .msg_controllen = CMSG_SPACE(n * sizeof(int)) };

	memset(&u, 0, sizeof(u));
	u.h.cmsg_len = CMSG_LEN(n * sizeof(int));
	u.h.cmsg_level = SOL_SOCKET;
	u.h.cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(&u.h), fd, n * sizeof(int));
	return sendmsg(via, &m, 0);
}

static int rights_recv(int via, int *fd, int n)
{
	union rights u;
	char x;
	struct iovec v = { &x, 1 };
	struct msghdr m = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u)
	};

	if (recvmsg(via, &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
		return -1;
	memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), n * sizeof(int));
	return 0;
}

CASE(rights_same_process, F_ANY, "passed to oneself: the received number works, also after a close")
{
	int s[2], d = -1;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	SHOW(rights_send(s[0], &c->a.fd, 1));
	SHOW(rights_recv(s[1], &d, 1));
	SHOW(end_put1(&c->a, 100));
	int old = c->a.fd;

	c->a.fd = d;
	SHOW(end_put1(&c->a, 100));
	SHOW(end_get(&c->b, 200));
	SHOW(close(old));
	conn_same(c, 3000);
}

CASE(rights_in_flight, F_ANY, "passed, closed by the sender while in flight, with unread bytes")
{
	int s[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	SHOW(end_put1(&c->b, 2000));
	SHOW(end_put1(&c->a, 1000));
	SHOW(rights_send(s[0], &c->a.fd, 1));
	SHOW(close(c->a.fd));
	SHOW(end_put1(&c->b, 500));
	SHOW(rights_recv(s[1], &c->a.fd, 1));
	SHOW(end_get(&c->a, 2500));
	SHOW(end_get(&c->b, 1000));
	conn_same(c, 3000);
}

/* A worker that was forked before the connection existed takes it over and serves it. */
static void worker(int via, struct conn *c)
{
	int fd;

	if (rights_recv(via, &fd, 1))
		_exit(1);
	struct end e = c->a;

	e.fd = fd;
	e.dir = 0;
	long r = end_get(&e, 1000);

	say("worker got %ld", r);
	end_put(&e, 1000);
	say("worker end %ld", end_get1(&e, 1));
	_exit(0);
}

static void passed(struct conn *c, bool unread)
{
	int s[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pid_t pid = fork();

	if (!pid) {
		close(s[0]);
		worker(s[1], c);
	}
	struct conn d;

	conn_open(c, &d);
	if (unread)
		SHOW(end_put1(&d.b, 700));
	SHOW(rights_send(s[0], &d.a.fd, 1));
	SHOW(close(d.a.fd));
	SHOW(end_put1(&d.b, unread ? 300 : 1000));
	SHOW(end_get(&d.b, 1000));
	SHOW(end_shutdown(&d.b, SHUT_WR));
	reap("worker", pid);
	SHOW(end_get1(&d.b, 1));
}

CASE(rights_worker, F_ANY, "a busy connection handed to an older process")
{
	passed(c, false);
}

CASE(rights_worker_unread, F_ANY, "a busy connection with unread bytes handed to an older process")
{
	passed(c, true);
}

CASE(rights_shared, F_ANY, "passed and kept: both processes use it in turn")
{
	int s[2], fd;
	char x;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pid_t pid = fork();

	if (!pid) {
		close(s[0]);
		if (rights_recv(s[1], &fd, 1))
			_exit(1);
		for (int i = 0; i < 10; i++) {
			MUST(read(s[1], &x, 1));
			MUST(read(fd, buf, 10));
			MUST(write(fd, buf, 10));
			MUST(write(s[1], "x", 1));
		}
		_exit(0);
	}
	struct conn d;
	int good = 0;

	conn_open(c, &d);
	SHOW(rights_send(s[0], &d.a.fd, 1));
	for (int i = 0; i < 10; i++) {
		end_put(&d.b, 10);
		MUST(write(s[0], "x", 1));
		MUST(read(s[0], &x, 1));
		end_put(&d.b, 10);
		d.a.rx += 10;
		good += end_get(&d.a, 10) == 10;
		good += end_poll(&d.b, POLLIN, 5000) & POLLIN;
	}
	SHOW(good);
	reap("child", pid);
}

CASE(rights_after_end, F_ANY,
     "passed once the peer has closed: the rest can be read here, and the end")
{
	int s[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	SHOW(end_put1(&c->b, 500));
	SHOW(end_get(&c->a, 500));
	SHOW(end_close(&c->b));
	await(c->a.fd, POLLIN);
	SHOW(rights_send(s[0], &c->a.fd, 1));
	say("%s", poll_name(await(c->a.fd, POLLIN | POLLRDHUP)));
	SHOW(end_get1(&c->a, 100));
	SHOW(end_nonblock(&c->a, true));
	SHOW(end_get1(&c->a, 100));
}

CASE(rights_by_child, F_ANY,
     "a child passes it on and ends, the parent goes on, then the third writes")
{
	int s[2];
	char x;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pid_t third = fork();

	if (!third) {
		struct end e = c->a;

		close(s[0]);
		if (rights_recv(s[1], &e.fd, 1))
			_exit(1);
		e.dir = 0;
		MUST(read(s[1], &x, 1));
		end_put(&e, 1000);
		MUST(read(s[1], &x, 1));
		_exit(0);
	}
	struct conn d;

	conn_open(c, &d);
	pid_t child = fork();

	if (!child)
		_exit(rights_send(s[0], &d.a.fd, 1) != 1);
	reap("child", child);
	conn_warm(&d, 300);
	MUST(write(s[0], "x", 1));
	SHOW(end_get(&d.b, 1000));
	MUST(write(s[0], "x", 1));
	reap("third", third);
	SHOW(end_put1(&d.b, 10));
	SHOW(end_get1(&d.a, 100));
}

CASE(rights_listener, F_PLAIN, "a listener passed to another process, which accepts")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int s[2], fd;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pid_t pid = fork();

	if (!pid) {
		if (rights_recv(s[1], &fd, 1))
			_exit(1);
		exec_echo(accept(fd, NULL, NULL));
	}
	int l = listen_any(AF_INET, 4, &sa, &len);

	SHOW(rights_send(s[0], &l, 1));
	close(l);
	int x = socket(AF_INET, SOCK_STREAM, 0);

	SHOW(connect(x, (struct sockaddr *)&sa, len));
	int good = 0;

	for (int i = 0; i < 100; i++)
		good += write(x, "0123456789", 10) == 10 && recv(x, buf, 10, MSG_WAITALL) == 10;
	SHOW(good);
	SHOW(shutdown(x, SHUT_WR));
	reap("child", pid);
}

CASE(rights_both_ends, F_SELF, "both ends passed in one message to an older process")
{
	int s[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pid_t pid = fork();

	if (!pid) {
		int fd[2];

		if (rights_recv(s[1], fd, 2))
			_exit(1);
		struct conn d = *c;

		d.a.fd = fd[0];
		d.b.fd = fd[1];
		d.a.rx = d.b.tx = d.b.rx = 0;
		d.a.tx = 300;
		end_get(&d.b, 300);
		conn_same(&d, 2000);
		_exit(0);
	}
	struct conn d;

	conn_open(c, &d);
	SHOW(end_put1(&d.a, 300));
	int fd[2] = { d.a.fd, d.b.fd };

	SHOW(rights_send(s[0], fd, 2));
	close(fd[0]);
	close(fd[1]);
	reap("child", pid);
}

CASE(pidfd_getfd_take, F_BOTH, "pidfd_getfd of one's own connection")
{
	int pf = syscall(SYS_pidfd_open, getpid(), 0);

	if (pf < 0)
		par_skip("no pidfd_open");
	int d = syscall(SYS_pidfd_getfd, pf, c->a.fd, 0);

	if (d < 0)
		par_skip("pidfd_getfd is not allowed");
	SHOW(end_put1(&c->b, 100));
	SHOW(end_put1(&c->a, 100));
	close(c->a.fd);
	c->a.fd = d;
	SHOW(end_get(&c->a, 100));
	SHOW(end_get(&c->b, 100));
	conn_same(c, 1000);
}
