/* par_seq.c - parity of short sequences of calls that random ones (run_random.py) have shown to differ */
#include "tests/parity/parity.h"

#include <signal.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/uio.h>

static char buf[1 << 16];

CASE(sendfile_burst, F_BOTH,
     "non-blocking sendfile of many small files with no reader: all is taken")
{
	long sent = 0;

	SHOW(end_put1(&c->b, 100));
	SHOW(end_get(&c->a, 100));
	end_nonblock(&c->a, true);
	while (sent < 100000) {
		long part = 300 + sent % 1700, n;
		int f = memfd_create("parity", MFD_CLOEXEC);

		end_fill(&c->a, buf, part);
		MUST(write(f, buf, part));
		MUST(lseek(f, 0, SEEK_SET));
		n = sendfile(c->a.fd, f, NULL, part);
		close(f);
		if (n != part) {
			say("at %ld: %ld of %ld", sent, n, part);
			break;
		}
		sent += n;
	}
	SHOW(end_shutdown(&c->a, SHUT_WR));
	SHOW(end_get(&c->b, sent));
}

/* By the kernel: MSG_ZEROCOPY without SO_ZEROCOPY changes nothing else. */
static long put_kernel(int fd, void *bytes, size_t *n)
{
	return send(fd, bytes, *n, MSG_ZEROCOPY);
}

static void b_by_kernel(struct conn *c, size_t n)
{
	end_fill(&c->b, buf, (long)n);
	SHOW(end_run(&c->b, put_kernel, buf, &n));
}

/* @got bytes at the reader were looked at. */
static void peeked(struct conn *c, long got)
{
	end_check(&c->a, buf, got);
	c->a.rx -= (uint64_t)got; /* they are there still */
}

CASE(peek_between, F_BOTH,
     "MSG_PEEK sees bytes in the kernel, behind them in shared memory, then in the kernel again")
{
	static const long sizes[] = { 10, 490, 491, 700, 991, 1600, 5000 };
	struct iovec v[3] = { { buf, 7 }, { buf + 7, 600 }, { buf + 607, 5000 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 3 };
	int low = 1690;

	b_by_kernel(c, 500);
	SHOW(end_get(&c->a, 10));
	SHOW(end_put1(&c->b, 500));
	b_by_kernel(c, 700);
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)));
	SHOW(await(c->a.fd, POLLIN));
	low = 1;
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)));
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		memset(buf, 0, sizeof(buf));
		SHOW(recv(c->a.fd, buf, sizes[i], MSG_PEEK));
		peeked(c, sizes[i] < 1690 ? sizes[i] : 1690);
	}
	memset(buf, 0, sizeof(buf));
	SHOW(recvmsg(c->a.fd, &m, MSG_PEEK));
	peeked(c, 1690);
	SHOW(recv(c->a.fd, buf, 5000, MSG_PEEK | MSG_TRUNC));
	SHOW(recv(c->a.fd, buf, 1000, MSG_PEEK | MSG_TRUNC));
	SHOW(end_get(&c->a, 1690));
	conn_same(c, 1000);
}

/* A child meets the reset behind bytes, and ends. */
static void child_meets_reset(struct conn *c)
{
	pid_t pid;

	SHOW(end_put1(&c->b, 500));
	SHOW(end_poll(&c->a, POLLIN, 5000));
	SHOW(end_reset(&c->b));
	await(c->a.fd, POLLERR);
	pid = fork();
	if (!pid) {
		SHOW(recv(c->a.fd, buf, 1000, MSG_WAITALL));
		_exit(0);
	}
	reap("child", pid);
}

CASE(reset_of_child, F_BOTH,
     "a child's short receive meets a reset: its parent is told by SO_ERROR")
{
	child_meets_reset(c);
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT, 0)));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
	SHOW(read(c->a.fd, buf, 1));
}

CASE(reset_of_child_write, F_BOTH, "the same, told by the parent's send")
{
	signal(SIGPIPE, SIG_IGN);
	child_meets_reset(c);
	SHOW(write(c->a.fd, buf, 1));
	SHOW(write(c->a.fd, buf, 1));
}

CASE(reset_of_child_once, F_BOTH, "the same, told to the child: not to the parent again")
{
	pid_t pid;

	signal(SIGPIPE, SIG_IGN);
	child_meets_reset(c);
	pid = fork();
	if (!pid) {
		SHOW(read(c->a.fd, buf, 1));
		SHOW(read(c->a.fd, buf, 1));
		_exit(0);
	}
	reap("second child", pid);
	SHOW(read(c->a.fd, buf, 1));
	SHOW(write(c->a.fd, buf, 1));
}

CASE(recvmmsg_then_error, F_BOTH,
     "an error that ends recvmmsg behind a message is the next call's to tell")
{
	struct iovec v[3] = { { buf, 60 }, { bad_pointer, 60 }, { buf + 60, 60 } };
	struct mmsghdr m[3];

	memset(m, 0, sizeof(m));
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1 };
	for (int turn = 0; turn < 4; turn++) {
		SHOW(end_put1(&c->b, 100));
		SHOW(end_poll(&c->a, POLLIN, 5000));
		SHOW(recvmmsg(c->a.fd, m, 3, MSG_DONTWAIT, NULL));
		say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT, 0)));
		if (turn == 0)
			SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
		if (turn == 1)
			SHOW(recvmmsg(c->a.fd, m, 1, MSG_DONTWAIT, NULL));
		if (turn == 2)
			SHOW(write(c->a.fd, buf, 1));
		SHOW(recv(c->a.fd, buf, 1000, MSG_DONTWAIT));
		SHOW(recv(c->a.fd, buf, 1000, MSG_DONTWAIT));
		SHOW(recv(c->a.fd, buf, 1000, MSG_DONTWAIT));
	}
}

CASE(recvmmsg_then_reset, F_BOTH, "the same with a reset")
{
	struct iovec v[2] = { { buf, 60 }, { buf + 60, 60 } };
	struct mmsghdr m[3];

	memset(m, 0, sizeof(m));
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i % 2], .msg_iovlen = 1 };
	SHOW(end_put1(&c->b, 100));
	SHOW(end_poll(&c->a, POLLIN, 5000));
	SHOW(end_reset(&c->b));
	await(c->a.fd, POLLERR);
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
	SHOW(recvmmsg(c->a.fd, m, 3, MSG_DONTWAIT, NULL));
	SHOW(recvmmsg(c->a.fd, m, 3, MSG_DONTWAIT, NULL));
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT, 0)));
}

CASE(peek_runs, F_BOTH, "MSG_PEEK sees 40 messages that have come one by one")
{
	for (int i = 0; i < 40; i++)
		MUST(end_put1(&c->b, 50 + i));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 2780));
	SHOW(await(c->a.fd, POLLIN));
	memset(buf, 0, sizeof(buf));
	SHOW(recv(c->a.fd, buf, 5000, MSG_PEEK));
	peeked(c, 2780);
	SHOW(end_get(&c->a, 2780));
}

/* Small bytes both ways first, so that what carries them in shared memory is small, too. */
static void small_talk(struct conn *c)
{
	SHOW(end_put1(&c->b, 100));
	SHOW(end_get(&c->a, 100));
	SHOW(end_put1(&c->a, 100));
	SHOW(end_get(&c->b, 100));
}

CASE(sndtimeo_short, F_BOTH, "with a short SO_SNDTIMEO, 60 KB are taken before the peer reads any")
{
	struct timeval t = { 0, 5000 };
	long sent = 0;

	small_talk(c);
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
	for (long n = 100; sent < 60000 && end_put1(&c->a, n) == n; n = 100 + sent % 1700)
		sent += n;
	SHOW(sent >= 60000);
	SHOW(end_get(&c->b, sent) == sent);
}

CASE(info_unread, F_BOTH, "TCP_INFO counts what has come, read or not")
{
	unsigned long long before = 0;

	small_talk(c);
	for (int i = 0; i < 4; i++) {
		struct tcp_info info;
		socklen_t len = sizeof(info);

		MUST(getsockopt(c->a.fd, IPPROTO_TCP, TCP_INFO, &info, &len));
		say("%llu came", i ? (unsigned long long)info.tcpi_bytes_received - before : 0);
		before = info.tcpi_bytes_received;
		if (i == 2) {
			SHOW(end_get(&c->a, 900));
			continue;
		}
		SHOW(end_put1(&c->b, 700 + i));
		SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, i < 2 ? 700 + 701 * i : 501 + 703));
		SHOW(await(c->a.fd, POLLIN));
	}
}

CASE(outq_unread, F_BOTH, "SIOCOUTQ reaches 0 though the peer reads nothing")
{
	int out = -1;

	small_talk(c);
	end_nonblock(&c->a, true);
	for (int i = 0; i < 180 && out; i++) {
		if (end_put1(&c->a, 300) != 300)
			say("at %d", i);
		for (int ms = 0; ms < 2000 && ioctl(c->a.fd, SIOCOUTQ, &out) == 0 && out; ms++)
			sleep_ms(1);
		say("%d", out);
		out = !out;
	}
	SHOW(end_get(&c->b, 54000));
}

CASE(shut_rd_burst, F_BOTH | F_COLD,
     "an end that has shut down receiving sends into small rings: all is taken")
{
	struct iovec v[3] = { { buf, 724 }, { buf, 543 }, { buf, 906 } };

	end_nonblock(&c->a, true);
	SHOW(end_put1(&c->b, 6529));
	await(c->a.fd, POLLIN);
	SHOW(end_get(&c->a, 8));
	SHOW(shutdown(c->a.fd, SHUT_RD));
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT | POLLRDHUP, 0)));
	sleep_ms(30); /* the library looks at the kernel now and then only */
	SHOW(writev(c->a.fd, v, 3));
}

/* The peer is killed with bytes unread. */
static void killed_unread(struct conn *c)
{
	signal(SIGPIPE, SIG_IGN);
	SHOW(end_put1(&c->a, 5730));
	end_kill(&c->b);
	await(c->a.fd, POLLRDHUP);
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT, 0)));
}

CASE(killed_unread_write, F_PAIR | F_DIAL,
     "the peer is killed with bytes unread: the next send tells")
{
	killed_unread(c);
	SHOW(write(c->a.fd, buf, 177));
	SHOW(write(c->a.fd, buf, 100));
	SHOW(read(c->a.fd, buf, 100));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
}

CASE(killed_unread_sendfile, F_PAIR | F_DIAL, "the same, told by sendfile")
{
	int f = memfd_create("parity", MFD_CLOEXEC);

	MUST(ftruncate(f, 1000));
	killed_unread(c);
	SHOW(sendfile(c->a.fd, f, NULL, 177));
	SHOW(sendfile(c->a.fd, f, NULL, 177));
	SHOW(write(c->a.fd, buf, 100));
}

CASE(killed_unread_error, F_PAIR | F_DIAL, "the same, told by SO_ERROR")
{
	killed_unread(c);
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT, 0)));
	SHOW(write(c->a.fd, buf, 177));
	SHOW(read(c->a.fd, buf, 100));
}

CASE(killed_unread_both, F_PAIR | F_DIAL, "the same with bytes in the kernel, too: told once")
{
	signal(SIGPIPE, SIG_IGN);
	for (int call = 0; call < 3; call++) {
		struct conn d;

		conn_open(c, &d);
		end_fill(&d.a, buf, 500);
		SHOW(send(d.a.fd, buf, 500, MSG_ZEROCOPY));
		SHOW(end_get(&d.b, 10));
		SHOW(end_put1(&d.a, 500));
		if (call == 2)
			end_kill(&d.b);
		else
			SHOW(end_reset(&d.b));
		await_reset(d.a.fd);
		if (call != 1)
			SHOW(end_getopt(&d.a, SOL_SOCKET, SO_ERROR));
		SHOW(read(d.a.fd, buf, 100));
		SHOW(read(d.a.fd, buf, 100));
		say("%s", poll_name(end_poll(&d.a, POLLIN | POLLOUT, 0)));
		close(d.a.fd);
	}
}

CASE(peek_nothing, F_BOTH, "a receive of no bytes does not wait for SO_RCVLOWAT")
{
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 1500));
	SHOW(end_put1(&c->b, 15));
	for (int n = -1, i = 0; i < 5000 && ioctl(c->a.fd, FIONREAD, &n) == 0 && n < 15; i++)
		sleep_ms(1);
	SHOW(recv(c->a.fd, buf, 0, MSG_DONTWAIT));
	SHOW(recv(c->a.fd, buf, 0, MSG_PEEK));
	SHOW(recv(c->a.fd, buf, 0, MSG_WAITALL));
	SHOW(end_get(&c->a, 15));
	SHOW(recv(c->a.fd, buf, 0, MSG_DONTWAIT));
}

CASE(killed_write, F_PAIR | F_DIAL,
     "the peer is killed with nothing unread: a write that it answers by a reset, then EPIPE")
{
	signal(SIGPIPE, SIG_IGN);
	end_kill(&c->b);
	await(c->a.fd, POLLRDHUP);
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT | POLLRDHUP, 0)));
	SHOW(end_put1(&c->a, 9000));
	await_reset(c->a.fd);
	say("%s", poll_name(end_poll(&c->a, POLLIN | POLLOUT | POLLRDHUP, 0)));
	SHOW(end_put1(&c->a, 10));
	SHOW(read(c->a.fd, buf, 10));
}
