/* par_sys.c - parity of syscall(3): the same calls by number, mixed with the ordinary ones */
#include "tests/parity/parity.h"

#include <linux/close_range.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

static char buf[1 << 16];

CASE(by_number_read_write, F_ANY, "SYS_read and SYS_write between read() and write()")
{
	for (int i = 0; i < 5; i++) {
		end_fill(&c->a, buf, 50);
		SHOW(syscall(SYS_write, c->a.fd, buf, 50L));
		SHOW(end_get(&c->b, 50));
		SHOW(end_put1(&c->b, 50));
		SHOW(syscall(SYS_read, c->a.fd, buf, 50L));
		end_check(&c->a, buf, 50);
		conn_same(c, 500);
	}
}

CASE(by_number_sends, F_ANY, "SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, vectors")
{
	struct iovec v = { buf, 40 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	end_fill(&c->a, buf, 40);
	SHOW(syscall(SYS_sendto, c->a.fd, buf, 40L, 0L, NULL, 0L));
	end_fill(&c->a, buf, 40);
	SHOW(syscall(SYS_sendmsg, c->a.fd, &m, 0L));
	end_fill(&c->a, buf, 40);
	SHOW(syscall(SYS_writev, c->a.fd, &v, 1L));
	SHOW(end_get(&c->b, 120));
	SHOW(end_put1(&c->b, 120));
	await(c->a.fd, POLLIN);
	SHOW(syscall(SYS_recvfrom, c->a.fd, buf, 40L, 0L, NULL, NULL));
	end_check(&c->a, buf, 40);
	SHOW(syscall(SYS_recvmsg, c->a.fd, &m, 0L));
	end_check(&c->a, buf, 40);
	SHOW(syscall(SYS_readv, c->a.fd, &v, 1L));
	end_check(&c->a, buf, 40);
	SHOW(syscall(SYS_recvfrom, c->a.fd, buf, 40L, (long)MSG_DONTWAIT, NULL, NULL));
}

CASE(by_number_mmsg, F_BOTH, "SYS_sendmmsg and SYS_recvmmsg")
{
	struct iovec v[2] = { { buf, 10 }, { buf + 10, 10 } };
	struct mmsghdr m[2] = { { { .msg_iov = &v[0], .msg_iovlen = 1 }, 0 },
				{ { .msg_iov = &v[1], .msg_iovlen = 1 }, 0 } };

	end_fill(&c->a, buf, 20);
	SHOW(syscall(SYS_sendmmsg, c->a.fd, m, 2L, 0L));
	SHOW(end_get(&c->b, 20));
	SHOW(end_put1(&c->b, 20));
	await(c->a.fd, POLLIN);
	SHOW(syscall(SYS_recvmmsg, c->a.fd, m, 2L, 0L, NULL));
	end_check(&c->a, buf, 20);
}

CASE(by_number_polls, F_ANY, "SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6")
{
	struct pollfd p = { c->a.fd, POLLIN, 0 };
	struct timespec ts = { 0, 20000000 };
	struct timeval tv = { 0, 20000 };
	fd_set r;

	SHOW(syscall(SYS_poll, &p, 1L, 20L));
	SHOW(syscall(SYS_ppoll, &p, 1L, &ts, NULL, 8L));
	FD_ZERO(&r);
	FD_SET(c->a.fd, &r);
	SHOW(syscall(SYS_select, c->a.fd + 1L, &r, NULL, NULL, &tv));
	SHOW(end_put1(&c->b, 1));
	p.revents = 0;
	SHOW(syscall(SYS_poll, &p, 1L, 5000L));
	say("%s", poll_name(p.revents));
	ts = (struct timespec){ 5, 0 };
	SHOW(syscall(SYS_ppoll, &p, 1L, &ts, NULL, 8L));
	FD_SET(c->a.fd, &r);
	ts = (struct timespec){ 5, 0 };
	SHOW(syscall(SYS_pselect6, c->a.fd + 1L, &r, NULL, NULL, &ts, NULL));
}

CASE(by_number_epoll, F_ANY, "SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, pwait, pwait2")
{
	int ep = syscall(SYS_epoll_create1, 0L);
	struct epoll_event e = { EPOLLIN, { .u64 = 5 } };
	struct timespec ts = { 5, 0 };

	SHOW(syscall(SYS_epoll_ctl, ep, (long)EPOLL_CTL_ADD, c->a.fd, &e));
	SHOW(syscall(SYS_epoll_wait, ep, &e, 1L, 10L));
	SHOW(end_put1(&c->b, 1));
	SHOW(syscall(SYS_epoll_wait, ep, &e, 1L, 5000L));
	SHOW(syscall(SYS_epoll_pwait, ep, &e, 1L, 5000L, NULL, 8L));
	SHOW(syscall(SYS_epoll_pwait2, ep, &e, 1L, &ts, NULL, 8L));
	say("data %d", (int)e.data.u64);
	SHOW(epoll_wait(ep, &e, 1, 0));
}

CASE(by_number_dups, F_ANY, "SYS_dup, SYS_dup2, SYS_dup3, SYS_fcntl, SYS_close, SYS_close_range")
{
	int d = syscall(SYS_dup, c->a.fd);

	SHOW(syscall(SYS_close, c->a.fd));
	c->a.fd = d;
	conn_same(c, 500);
	SHOW(syscall(SYS_dup2, c->a.fd, 70L));
	SHOW(syscall(SYS_dup3, c->a.fd, 71L, (long)O_CLOEXEC));
	SHOW(syscall(SYS_fcntl, c->a.fd, (long)F_DUPFD, 72L));
	c->a.fd = 70;
	conn_same(c, 500);
	c->a.fd = 72;
	conn_same(c, 500);
	SHOW(syscall(SYS_close_range, 70L, 71L, 0L));
	conn_same(c, 500);
	close(d);
	SHOW(syscall(SYS_close, 72L));
	SHOW(end_get1(&c->b, 1));
	SHOW(syscall(SYS_read, 72L, buf, 1L));
}

CASE(by_number_socket, F_PLAIN, "SYS_socket, SYS_bind, SYS_listen, SYS_connect, SYS_accept4")
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(par_host()) };
	socklen_t len = sizeof(sa);
	int l = syscall(SYS_socket, (long)AF_INET, (long)SOCK_STREAM, 0L);

	SHOW(syscall(SYS_bind, l, &sa, (long)len));
	SHOW(syscall(SYS_listen, l, 4L));
	SHOW(syscall(SYS_getsockname, l, &sa, &len));
	int s = syscall(SYS_socket, (long)AF_INET, (long)SOCK_STREAM, 0L);

	SHOW(syscall(SYS_connect, s, &sa, (long)len));
	int a = syscall(SYS_accept4, l, NULL, NULL, (long)SOCK_CLOEXEC);

	pair_warm(a, s, 200);
	SHOW(syscall(SYS_write, a, "hello", 5L));
	SHOW(read(s, buf, 5));
	SHOW(write(s, "hello", 5));
	SHOW(syscall(SYS_read, a, buf, 5L));
	SHOW(syscall(SYS_shutdown, a, (long)SHUT_WR));
	SHOW(read(s, buf, 5));
	SHOW(syscall(SYS_close, s));
	SHOW(read(a, buf, 5));
}

CASE(by_number_options, F_BOTH, "SYS_setsockopt, SYS_getsockopt, SYS_ioctl, SYS_getpeername")
{
	int v = 1, n = -1;
	socklen_t len = sizeof(v);
	struct sockaddr_storage sa;
	socklen_t sl = sizeof(sa);

	SHOW(syscall(SYS_setsockopt, c->a.fd, (long)SOL_SOCKET, (long)SO_KEEPALIVE, &v, 4L));
	SHOW(syscall(SYS_getsockopt, c->a.fd, (long)SOL_SOCKET, (long)SO_KEEPALIVE, &v, &len));
	SHOW(v);
	SHOW(end_put1(&c->b, 33));
	await(c->a.fd, POLLIN);
	SHOW(syscall(SYS_ioctl, c->a.fd, (long)FIONREAD, &n));
	SHOW(n);
	v = 1;
	SHOW(syscall(SYS_ioctl, c->a.fd, (long)FIONBIO, &v));
	SHOW(end_get(&c->a, 33));
	SHOW(read(c->a.fd, buf, 1));
	SHOW(syscall(SYS_getpeername, c->a.fd, &sa, &sl));
	SHOW(syscall(SYS_setsockopt, c->a.fd, (long)SOL_SOCKET, (long)SO_RCVLOWAT, &v, 1L));
}

CASE(by_number_transfer, F_BOTH, "SYS_sendfile and SYS_splice")
{
	int p[2], f = open("/proc/self/exe", O_RDONLY);

	MUST(pipe(p));
	SHOW(syscall(SYS_sendfile, c->a.fd, f, NULL, 4096L));
	end_fill(&c->a, buf, 100);
	MUST(write(p[1], buf, 100));
	SHOW(syscall(SYS_splice, p[0], NULL, c->a.fd, NULL, 100L, 0L));
	if (!c->b.far)
		SHOW(recv(c->b.fd, buf, 4096, MSG_WAITALL));
	else
		return;
	SHOW(end_get(&c->b, 100));
}

CASE(by_number_fork, F_ANY, "SYS_fork and SYS_clone: both processes use the connection")
{
	pid_t pid = syscall(SYS_fork);

	if (!pid) {
		end_put(&c->a, 10);
		syscall(SYS_exit_group, 0L);
	}
	reap("child", pid);
	c->a.tx += 10;
	SHOW(end_get(&c->b, 10));
	conn_same(c, 1000);
	pid = syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, NULL);
	if (!pid) {
		end_put(&c->a, 10);
		syscall(SYS_exit_group, 0L);
	}
	reap("child", pid);
	c->a.tx += 10;
	SHOW(end_get(&c->b, 10));
	conn_same(c, 1000);
}

CASE(by_number_errors, F_BOTH, "errno of calls by number")
{
	SHOW(syscall(SYS_read, -1L, buf, 1L));
	SHOW(syscall(SYS_write, c->a.fd, bad_pointer, 1L));
	SHOW(syscall(SYS_recvfrom, c->a.fd, buf, 1L, (long)MSG_DONTWAIT, NULL, NULL));
	SHOW(syscall(SYS_preadv2, c->a.fd, NULL, 0L, 0L, 0L, 0L));
	SHOW(syscall(9999L));
	say("ordinary ones pass: %d", syscall(SYS_getpid) == getpid());
}
