/* par_io.c - parity of the calls that move bytes: every kind, their flags, their odd arguments */
#include "tests/parity/parity.h"

#include <limits.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/uio.h>

static char buf[1 << 16];

static void *bad_page(void)
{
	void *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		par_die("mmap");
	return p;
}

CASE(read_write, F_ANY | F_SELF6 | F_PAIR6 | F_MAPPED, "read and write, both ways, many sizes")
{
	static const int size[] = { 1, 2, 63, 64, 65, 1000, 4096, 16384, 65536 };

	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		SHOW(end_put1(&c->a, size[i]));
		SHOW(end_get(&c->b, size[i]));
		SHOW(end_put1(&c->b, size[i]));
		SHOW(end_get(&c->a, size[i]));
	}
}

CASE(read_short, F_BOTH, "a read returns what is there and leaves the rest")
{
	SHOW(end_put1(&c->b, 100));
	await(c->a.fd, POLLIN);
	SHOW(end_get1(&c->a, 30));
	SHOW(end_get1(&c->a, 30));
	SHOW(end_get1(&c->a, 1000));
}

CASE(readv_writev, F_ANY, "vectors with empty and odd parts")
{
	char a[10], b[100], d[1];

	end_fill(&c->a, buf, 111);
	struct iovec w[5] = {
		{ buf, 1 }, { buf + 1, 0 }, { buf + 1, 60 }, { NULL, 0 }, { buf + 61, 50 }
	};

	SHOW(writev(c->a.fd, w, 5));
	SHOW(end_get(&c->b, 111));
	SHOW(end_put1(&c->b, 105));
	await(c->a.fd, POLLIN);
	struct iovec r[4] = { { a, 10 }, { NULL, 0 }, { b, 100 }, { d, 1 } };
	long n = readv(c->a.fd, r, 4);

	SHOW(n);
	end_check(&c->a, a, 10);
	end_check(&c->a, b, n - 10);
}

CASE(send_recv, F_ANY, "send, recv, sendto, recvfrom")
{
	end_fill(&c->a, buf, 300);
	SHOW(send(c->a.fd, buf, 100, 0));
	SHOW(sendto(c->a.fd, buf + 100, 200, 0, NULL, 0));
	SHOW(end_get(&c->b, 300));
	SHOW(end_put1(&c->b, 300));
	await(c->a.fd, POLLIN);
	long n = recv(c->a.fd, buf, 100, 0);

	SHOW(n);
	end_check(&c->a, buf, n);
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	n = recvfrom(c->a.fd, buf, sizeof(buf), 0, (struct sockaddr *)&sa, &len);
	SHOW(n);
	say("address length %u", len);
	end_check(&c->a, buf, n);
}

CASE(sendto_address, F_BOTH, "sendto with an address on a connected socket")
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };

	end_fill(&c->a, buf, 10);
	SHOW(sendto(c->a.fd, buf, 10, 0, (struct sockaddr *)&to, sizeof(to)));
	SHOW(end_get(&c->b, 10));
	SHOW(sendto(c->a.fd, buf, 10, 0, (struct sockaddr *)&to, 1 << 20));
	SHOW(sendto(c->a.fd, buf, 10, 0, bad_pointer, sizeof(to)));
}

CASE(sendmsg_recvmsg, F_ANY, "sendmsg and recvmsg, and what they leave in the header")
{
	end_fill(&c->a, buf, 70);
	struct iovec v[2] = { { buf, 20 }, { buf + 20, 50 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };

	SHOW(sendmsg(c->a.fd, &m, 0));
	SHOW(end_get(&c->b, 70));
	SHOW(end_put1(&c->b, 65));
	await(c->a.fd, POLLIN);
	struct sockaddr_storage sa;
	char control[100];

	m = (struct msghdr){ &sa, sizeof(sa), v, 2, control, sizeof(control), -1 };
	SHOW(recvmsg(c->a.fd, &m, 0));
	say("namelen %u controllen %zu flags %#x iovlen %zu %zu", m.msg_namelen, m.msg_controllen,
	    m.msg_flags, v[0].iov_len, v[1].iov_len);
	end_check(&c->a, buf, 65);
}

CASE(sendmmsg_recvmmsg, F_ANY, "several messages in one call")
{
	struct iovec v[4];
	struct mmsghdr m[4];

	end_fill(&c->a, buf, 100);
	memset(m, 0, sizeof(m));
	for (int i = 0; i < 4; i++) {
		v[i] = (struct iovec){ buf + i * 25, 25 };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1 };
	}
	SHOW(sendmmsg(c->a.fd, m, 4, 0));
	say("lengths %u %u %u %u", m[0].msg_len, m[1].msg_len, m[2].msg_len, m[3].msg_len);
	SHOW(end_get(&c->b, 100));
	SHOW(end_put1(&c->b, 60));
	await(c->a.fd, POLLIN);
	for (int i = 0; i < 4; i++)
		m[i].msg_len = 77;
	SHOW(recvmmsg(c->a.fd, m, 4, MSG_WAITFORONE, NULL));
	say("lengths %u %u %u %u", m[0].msg_len, m[1].msg_len, m[2].msg_len, m[3].msg_len);
	end_check(&c->a, buf, 60);
	SHOW(recvmmsg(c->a.fd, m, 4, MSG_DONTWAIT, NULL));
}

CASE(sendmmsg_short, F_BOTH, "several messages, of which the first goes in part: it is the last")
{
	const size_t much = 16 << 20;
	unsigned char *big = calloc(1, much);
	struct iovec v[2] = { { big, much }, { buf, 10 } };
	struct mmsghdr m[2] = { { { .msg_iov = &v[0], .msg_iovlen = 1 }, 77 },
				{ { .msg_iov = &v[1], .msg_iovlen = 1 }, 77 } };

	SHOW(sendmmsg(c->a.fd, m, 2, MSG_DONTWAIT));
	say("in part %d, second %u", m[0].msg_len < much, m[1].msg_len);
	free(big);
}

CASE(recvmmsg_error, F_BOTH, "recvmmsg tells an error before the bytes that came before it")
{
	struct iovec v[2] = { { buf, 60 }, { buf + 60, 60 } };
	struct mmsghdr m[2] = { { .msg_hdr = { .msg_iov = v, .msg_iovlen = 1 } },
				{ .msg_hdr = { .msg_iov = v + 1, .msg_iovlen = 1 } } };

	SHOW(end_put1(&c->b, 100));
	SHOW(end_poll(&c->a, POLLIN, 5000));
	SHOW(end_reset(&c->b));
	await(c->a.fd, POLLERR);
	SHOW(recvmmsg(c->a.fd, m, 2, MSG_DONTWAIT, NULL));
	SHOW(recvmmsg(c->a.fd, m, 2, MSG_DONTWAIT, NULL));
	say("%u and %u bytes", m[0].msg_len, m[1].msg_len);
	end_check(&c->a, buf, 100);
	SHOW(recvmmsg(c->a.fd, m, 2, MSG_DONTWAIT, NULL));
	say("%u bytes", m[0].msg_len);
}

CASE(recvmmsg_timeout, F_BOTH, "recvmmsg with a timeout, which is looked at between messages")
{
	struct iovec v[2] = { { buf, 10 }, { buf + 10, 10 } };
	struct mmsghdr m[2] = { { { .msg_iov = &v[0], .msg_iovlen = 1 }, 0 },
				{ { .msg_iov = &v[1], .msg_iovlen = 1 }, 0 } };
	struct timespec t = { 5, 0 }, bad = { 0, 1000000000 };

	SHOW(end_put1(&c->b, 20));
	await(c->a.fd, POLLIN);
	SHOW(recvmmsg(c->a.fd, m, 2, 0, &t));
	say("time left is less than 5 s: %d", t.tv_sec < 5);
	end_check(&c->a, buf, 20);
	SHOW(recvmmsg(c->a.fd, m, 2, 0, &bad));
	SHOW(recvmmsg(c->a.fd, m, 0, 0, NULL));
}

CASE(zero_length, F_ANY, "calls with nothing to move")
{
	struct iovec v = { buf, 0 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 }, none = { 0 };

	SHOW(write(c->a.fd, buf, 0));
	SHOW(send(c->a.fd, buf, 0, 0));
	SHOW(send(c->a.fd, NULL, 0, 0));
	SHOW(writev(c->a.fd, &v, 1));
	SHOW(writev(c->a.fd, NULL, 0));
	SHOW(sendmsg(c->a.fd, &m, 0));
	SHOW(sendmsg(c->a.fd, &none, 0));
	SHOW(read(c->a.fd, buf, 0));
	SHOW(readv(c->a.fd, &v, 1));
	SHOW(readv(c->a.fd, NULL, 0));
	SHOW(recv(c->a.fd, buf, 0, MSG_DONTWAIT));
	SHOW(recvmsg(c->a.fd, &none, MSG_DONTWAIT));
	SHOW(end_put1(&c->b, 5));
	await(c->a.fd, POLLIN);
	SHOW(recv(c->a.fd, buf, 0, 0));
	SHOW(recvmsg(c->a.fd, &none, 0));
	SHOW(read(c->a.fd, buf, 0));
	SHOW(end_get(&c->a, 5));
}

CASE(bad_pointer, F_BOTH, "EFAULT, and nothing is lost by it")
{
	char *bad = bad_page();
	struct iovec v = { bad, 10 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	SHOW(write(c->a.fd, bad, 10));
	SHOW(send(c->a.fd, bad, 10, 0));
	SHOW(writev(c->a.fd, &v, 1));
	SHOW(writev(c->a.fd, (struct iovec *)bad, 1));
	SHOW(sendmsg(c->a.fd, &m, 0));
	SHOW(sendmsg(c->a.fd, (struct msghdr *)bad, 0));
	SHOW(end_put1(&c->b, 20));
	await(c->a.fd, POLLIN);
	SHOW(read(c->a.fd, bad, 10));
	SHOW(recv(c->a.fd, bad, 10, 0));
	SHOW(recv(c->a.fd, bad, 10, MSG_PEEK));
	SHOW(readv(c->a.fd, &v, 1));
	SHOW(readv(c->a.fd, (struct iovec *)bad, 1));
	SHOW(recvmsg(c->a.fd, &m, 0));
	SHOW(recvmsg(c->a.fd, (struct msghdr *)bad, 0));
	SHOW(end_get(&c->a, 20));
	conn_same(c, 1000);
}

CASE(bad_pointer_big, F_BOTH, "EFAULT with a length that spans good and bad pages is not a crash")
{
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(p + 4096, 4096, PROT_NONE);
	say("survives write: %d", write(c->a.fd, p, 8192) < 8192);
	SHOW(end_put1(&c->b, 6000));
	await(c->a.fd, POLLIN);
	say("survives read: %d", read(c->a.fd, p, 8192) < 6000);
}

CASE(iov_limits, F_BOTH, "EINVAL and EMSGSIZE for vectors out of bounds")
{
	static struct iovec v[IOV_MAX + 1];
	volatile int minus = -1;
	struct msghdr m = { .msg_iov = v, .msg_iovlen = IOV_MAX + 1 };

	for (int i = 0; i <= IOV_MAX; i++)
		v[i] = (struct iovec){ buf, 1 };
	SHOW(writev(c->a.fd, v, minus));
	SHOW(readv(c->a.fd, v, minus));
	SHOW(writev(c->a.fd, v, IOV_MAX + 1));
	SHOW(readv(c->a.fd, v, IOV_MAX + 1));
	SHOW(sendmsg(c->a.fd, &m, 0));
	SHOW(recvmsg(c->a.fd, &m, 0));
	v[0].iov_len = (size_t)-1;
	SHOW(writev(c->a.fd, v, 2));
	SHOW(readv(c->a.fd, v, 2));
	m.msg_iovlen = 2;
	SHOW(sendmsg(c->a.fd, &m, 0));
	v[0].iov_len = 1;
	end_fill(&c->a, buf, 1);
	SHOW(writev(c->a.fd, v, 1));
	SHOW(end_get(&c->b, 1));
	for (int i = 0; i < IOV_MAX; i++)
		end_fill(&c->a, (v[i].iov_base = buf + i), 1);
	SHOW(writev(c->a.fd, v, IOV_MAX));
	SHOW(end_get(&c->b, IOV_MAX));
}

CASE(bad_fd, F_PLAIN, "EBADF and ENOTSOCK")
{
	struct iovec v = { buf, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	int p[2], fds[] = { -1, 999, 1 << 30 };

	for (int i = 0; i < 3; i++) {
		SHOW(read(fds[i], buf, 1));
		SHOW(write(fds[i], buf, 1));
		SHOW(send(fds[i], buf, 1, 0));
		SHOW(recv(fds[i], buf, 1, 0));
		SHOW(readv(fds[i], &v, 1));
		SHOW(sendmsg(fds[i], &m, 0));
		SHOW(recvmsg(fds[i], &m, 0));
		SHOW(close(fds[i]));
		SHOW(shutdown(fds[i], SHUT_RD));
		SHOW(dup(fds[i]));
	}
	MUST(pipe(p));
	SHOW(send(p[1], buf, 1, 0));
	SHOW(recv(p[0], buf, 1, 0));
	SHOW(recvmsg(p[0], &m, 0));
	SHOW(shutdown(p[0], SHUT_RD));
	SHOW(accept(p[0], NULL, NULL));
	SHOW(listen(p[0], 1));
}

CASE(not_connected, F_PLAIN, "reading and writing a socket that is not connected")
{
	int s = socket(AF_INET, SOCK_STREAM, 0);

	SHOW(read(s, buf, 1));
	SHOW(recv(s, buf, 1, MSG_DONTWAIT));
	SHOW(send(s, buf, 1, MSG_NOSIGNAL));
	SHOW(shutdown(s, SHUT_RDWR));
	SHOW(close(s));
	SHOW(read(s, buf, 1));
}

CASE(offset_calls, F_BOTH, "pread, pwrite, preadv2, lseek: ESPIPE, but -1 means a plain read")
{
	struct iovec v = { buf, 4 };

	SHOW(end_put1(&c->b, 8));
	await(c->a.fd, POLLIN);
	SHOW(pread(c->a.fd, buf, 4, 0));
	SHOW(pwrite(c->a.fd, buf, 4, 0));
	SHOW(preadv(c->a.fd, &v, 1, 0));
	SHOW(pwritev(c->a.fd, &v, 1, 0));
	SHOW(preadv2(c->a.fd, &v, 1, 0, 0));
	SHOW(lseek(c->a.fd, 0, SEEK_CUR));
	SHOW(preadv2(c->a.fd, &v, 1, -1, 0));
	end_check(&c->a, buf, 4);
	end_fill(&c->a, buf, 4);
	SHOW(pwritev2(c->a.fd, &v, 1, -1, 0));
	SHOW(end_get(&c->b, 4));
	SHOW(end_get(&c->a, 4));
	SHOW(preadv2(c->a.fd, &v, 1, -1, RWF_NOWAIT));
	SHOW(preadv2(c->a.fd, &v, 1, -1, 0x4000000));
}

CASE(peek, F_ANY, "MSG_PEEK leaves the bytes")
{
	char d[20];

	SHOW(end_put1(&c->b, 20));
	await(c->a.fd, POLLIN);
	SHOW(recv(c->a.fd, buf, 8, MSG_PEEK));
	SHOW(recv(c->a.fd, d, 20, MSG_PEEK));
	say("peeked the same: %d", !memcmp(buf, d, 8));
	SHOW(recv(c->a.fd, d, 5, 0));
	say("read the same: %d", !memcmp(buf, d, 5));
	end_check(&c->a, d, 5);
	SHOW(recv(c->a.fd, d, 3, MSG_PEEK));
	say("then peeked the same: %d", !memcmp(buf + 5, d, 3));
	SHOW(end_get(&c->a, 15));
	SHOW(recv(c->a.fd, d, 3, MSG_PEEK | MSG_DONTWAIT));
}

CASE(peek_across, F_BOTH, "MSG_PEEK sees what several writes left, up to its length")
{
	SHOW(end_put1(&c->b, 10));
	SHOW(end_put1(&c->b, 5000));
	SHOW(end_put1(&c->b, 10));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 5020));
	await(c->a.fd, POLLIN);
	SHOW(recv(c->a.fd, buf, 5015, MSG_PEEK));
	SHOW(recv(c->a.fd, buf, 6000, MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT));
	SHOW(end_get(&c->a, 5020));
}

CASE(peek_pieces, F_BOTH, "MSG_PEEK into several pieces of memory, in the kernel and over a border")
{
	struct iovec v[20];
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 20 };

	SHOW(end_put1(&c->b, 10));
	SHOW(end_setopt(&c->b, SOL_SOCKET, SO_TIMESTAMP, 1));
	SHOW(end_put1(&c->b, 200));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 210));
	await(c->a.fd, POLLIN);
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 1));
	for (int i = 0; i < 20; i++)
		v[i] = (struct iovec){ buf + 7 * i, 7 };
	for (int left = 210; left > 140; left -= 10) {
		SHOW(recvmsg(c->a.fd, &m, MSG_PEEK));
		m.msg_iovlen = left % 20 ? 3 : 20;
		SHOW(end_get(&c->a, 10));
	}
	m.msg_iovlen = 20;
	SHOW(recvmsg(c->a.fd, &m, MSG_PEEK));
	end_check(&c->a, buf, 140);
	c->a.rx -= 140; /* they are there still */
	SHOW(end_get(&c->a, 140));
}

CASE(recall_late, F_SELF, "an option of the kernel's own after bytes went both ways of it")
{
	SHOW(end_put1(&c->b, 10));
	SHOW(end_setopt(&c->b, SOL_SOCKET, SO_TIMESTAMP, 1));
	SHOW(end_put1(&c->b, 5000));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 20));
	await(c->a.fd, POLLIN);
	SHOW(end_get(&c->a, 5010));
	SHOW(end_put1(&c->b, 20));
	await(c->a.fd, POLLIN);
	SHOW(end_get(&c->a, 20));
}

CASE(short_is_last, F_SELF, "after a hang-up, a receive that is short was the last")
{
	SHOW(end_put1(&c->b, 100));
	SHOW(end_setopt(&c->b, SOL_SOCKET, SO_TIMESTAMP, 1));
	SHOW(end_put1(&c->b, 200));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	SHOW(end_shutdown(&c->a, SHUT_WR));
	await(c->a.fd, POLLHUP);
	SHOW(recv(c->a.fd, buf, 50, 0));
	SHOW(read(c->a.fd, buf + 50, 1000));
	end_check(&c->a, buf, 300);
	SHOW(read(c->a.fd, buf, 1000));
}

CASE(burst, F_SELF, "200 KB in many small sends are taken before the peer reads any")
{
	long sent = 0;

	SHOW(end_put1(&c->b, 100));
	SHOW(end_get(&c->a, 100));
	SHOW(end_nonblock(&c->b, true));
	for (long n = 300; sent < 200000 && end_put1(&c->b, n) == n; n = 300 + sent % 1700)
		sent += n;
	SHOW(sent >= 200000);
	SHOW(end_shutdown(&c->b, SHUT_WR));
	SHOW(end_get(&c->a, sent) == sent);
	SHOW(read(c->a.fd, buf, 1));
}

CASE(peek_waitall, F_BOTH, "MSG_PEEK with MSG_WAITALL waits for all of it")
{
	SHOW(end_put1(&c->b, 10));
	end_put_start(&c->b, 20);
	SHOW(recv(c->a.fd, buf, 30, MSG_PEEK | MSG_WAITALL));
	end_join(&c->b, NULL, NULL);
	SHOW(end_get(&c->a, 30));
}

CASE(peek_eof, F_BOTH, "MSG_PEEK at the end of the stream")
{
	SHOW(end_put1(&c->b, 3));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	SHOW(recv(c->a.fd, buf, 3, MSG_PEEK));
	SHOW(end_get(&c->a, 3));
	SHOW(recv(c->a.fd, buf, 3, MSG_PEEK));
	SHOW(recv(c->a.fd, buf, 3, 0));
}

CASE(peek_off, F_BOTH, "SO_PEEK_OFF, where the kernel has it for TCP")
{
	SHOW(end_put1(&c->b, 30));
	await(c->a.fd, POLLIN);
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_PEEK_OFF, 0));
	SHOW(recv(c->a.fd, buf, 10, MSG_PEEK));
	SHOW(recv(c->a.fd, buf + 10, 10, MSG_PEEK));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_PEEK_OFF));
	struct end copy = c->a;

	end_check(&copy, buf, 20);
	SHOW(end_get(&c->a, 30));
}

CASE(dontwait, F_ANY, "MSG_DONTWAIT with nothing there, then with something")
{
	SHOW(recv(c->a.fd, buf, 10, MSG_DONTWAIT));
	SHOW(end_put1(&c->b, 10));
	await(c->a.fd, POLLIN);
	SHOW(recv(c->a.fd, buf, 100, MSG_DONTWAIT));
	end_check(&c->a, buf, 10);
	SHOW(recv(c->a.fd, buf, 100, MSG_DONTWAIT));
	say("still blocking: %d", !(fcntl(c->a.fd, F_GETFL) & O_NONBLOCK));
}

CASE(waitall, F_ANY, "MSG_WAITALL over several writes")
{
	SHOW(end_put1(&c->b, 10));
	end_put_start(&c->b, 5000);
	SHOW(recv(c->a.fd, buf, 5010, MSG_WAITALL));
	end_join(&c->b, NULL, NULL);
	end_check(&c->a, buf, 5010);
}

CASE(waitall_eof, F_BOTH, "MSG_WAITALL ended by the end of the stream")
{
	SHOW(end_put1(&c->b, 100));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	SHOW(recv(c->a.fd, buf, 5010, MSG_WAITALL));
	SHOW(recv(c->a.fd, buf, 5010, MSG_WAITALL));
}

CASE(waitall_nonblock, F_BOTH, "MSG_WAITALL on a non-blocking socket")
{
	end_nonblock(&c->a, true);
	SHOW(recv(c->a.fd, buf, 100, MSG_WAITALL));
	SHOW(end_put1(&c->b, 10));
	await(c->a.fd, POLLIN);
	SHOW(recv(c->a.fd, buf, 100, MSG_WAITALL));
}

CASE(trunc, F_BOTH, "MSG_TRUNC throws received bytes away")
{
	SHOW(end_put1(&c->b, 3000));
	SHOW(end_put1(&c->b, 100));
	await(c->a.fd, POLLIN);
	SHOW(recv(c->a.fd, NULL, 3000, MSG_TRUNC | MSG_WAITALL));
	c->a.rx += 3000;
	SHOW(recv(c->a.fd, NULL, 10, MSG_TRUNC | MSG_PEEK));
	SHOW(end_get(&c->a, 100));
	SHOW(recv(c->a.fd, NULL, 10, MSG_TRUNC | MSG_DONTWAIT));
}

CASE(more, F_BOTH, "MSG_MORE holds back, the next send brings both")
{
	end_fill(&c->a, buf, 30);
	SHOW(send(c->a.fd, buf, 10, MSG_MORE));
	SHOW(send(c->a.fd, buf + 10, 10, MSG_MORE));
	SHOW(send(c->a.fd, buf + 20, 10, 0));
	SHOW(end_get(&c->b, 30));
	end_fill(&c->a, buf, 10);
	SHOW(send(c->a.fd, buf, 10, MSG_MORE));
	SHOW(end_shutdown(&c->a, SHUT_WR));
	SHOW(end_get(&c->b, 11));
}

CASE(errqueue_empty, F_BOTH, "MSG_ERRQUEUE with nothing in it")
{
	struct iovec v = { buf, 10 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	SHOW(end_put1(&c->b, 10));
	await(c->a.fd, POLLIN);
	SHOW(recvmsg(c->a.fd, &m, MSG_ERRQUEUE));
	SHOW(recv(c->a.fd, buf, 10, MSG_ERRQUEUE));
	SHOW(end_get(&c->a, 10));
}

CASE(flags_unknown, F_BOTH, "flags that TCP does not know")
{
	end_fill(&c->a, buf, 8);
	SHOW(send(c->a.fd, buf, 4, MSG_DONTROUTE));
	SHOW(send(c->a.fd, buf + 4, 4, MSG_EOR | MSG_CONFIRM));
	SHOW(end_get(&c->b, 8));
	SHOW(end_put1(&c->b, 8));
	await(c->a.fd, POLLIN);
	SHOW(recv(c->a.fd, buf, 4, MSG_CMSG_CLOEXEC));
	end_check(&c->a, buf, 4);
	SHOW(recv(c->a.fd, buf, 4, MSG_NOSIGNAL));
	end_check(&c->a, buf, 4);
}

CASE(control_send, F_BOTH, "control messages that TCP ignores or refuses on send")
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} u;
	struct iovec v = { buf, 4 };
	struct msghdr m = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u.room)
	};

	memset(&u, 0, sizeof(u));
	u.h.cmsg_len = CMSG_LEN(sizeof(int));
	u.h.cmsg_level = SOL_SOCKET;
	u.h.cmsg_type = SCM_RIGHTS;
	*(int *)CMSG_DATA(&u.h) = 0;
	end_fill(&c->a, buf, 4);
	long n = sendmsg(c->a.fd, &m, 0);

	SHOW(n);
	if (n == 4)
		SHOW(end_get(&c->b, 4));
	u.h.cmsg_type = 12345;
	SHOW(sendmsg(c->a.fd, &m, 0));
	u.h.cmsg_len = 3;
	SHOW(sendmsg(c->a.fd, &m, 0));
}

CASE(control_inq, F_BOTH, "TCP_INQ tells how much is left after a recvmsg")
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} u;
	struct iovec v = { buf, 30 };
	struct msghdr m = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u.room)
	};

	SHOW(end_setopt(&c->a, IPPROTO_TCP, 36 /* TCP_INQ */, 1));
	SHOW(end_put1(&c->b, 100));
	await(c->a.fd, POLLIN);
	SHOW(recvmsg(c->a.fd, &m, 0));
	end_check(&c->a, buf, 30);
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	if (h)
		say("control level %d type %d value %d", h->cmsg_level, h->cmsg_type,
		    *(int *)CMSG_DATA(h));
	SHOW(end_get(&c->a, 70));
}

CASE(big_write, F_ANY | F_PAIR6, "one write of 8 MB while the other end reads")
{
	end_get_start(&c->b, 8 << 20);
	SHOW(end_put1(&c->a, 8 << 20));
	SHOW(end_get_join(&c->b));
}

CASE(big_write_back, F_BOTH | F_DIAL, "one write of 8 MB from the other end")
{
	end_put_start(&c->b, 8 << 20);
	SHOW(end_get(&c->a, 8 << 20));
	SHOW(end_join(&c->b, NULL, NULL));
}

CASE(big_both, F_BOTH, "2 MB each way at the same time")
{
	end_put_start(&c->b, 2 << 20);
	end_put_start(&c->a, 2 << 20);
	SHOW(end_get(&c->a, 2 << 20));
	SHOW(end_join(&c->b, NULL, NULL));
	SHOW(end_get(&c->b, 2 << 20));
	SHOW(end_join(&c->a, NULL, NULL));
}

CASE(write_unread, F_BOTH, "a blocking write that fits the kernel's buffers returns with no reader")
{
	static const int size[] = { 65536, 262144, 1 << 20 };
	long all = 0;

	for (int i = 0; i < 3; i++) {
		SHOW(end_put1(&c->a, size[i]));
		all += size[i];
	}
	SHOW(end_get(&c->b, all));
	conn_same(c, 100000);
}

CASE(write_unread_cold, F_BOTH | F_COLD, "the same as the first thing on a connection")
{
	SHOW(end_put1(&c->a, 1 << 20));
	SHOW(end_get(&c->b, 1 << 20));
	conn_same(c, 100000);
}

CASE(write_unread_small, F_BOTH, "20 000 small writes with no reader, then all is read")
{
	long r = 0;

	for (int i = 0; i < 20000 && r >= 0; i++)
		r = end_put1(&c->a, 16);
	SHOW(r);
	SHOW(end_get(&c->b, 320000));
}

CASE(fill_drain, F_ANY, "non-blocking writes until EAGAIN, then all of it is read")
{
	end_nonblock(&c->a, true);
	long r;

	while ((r = end_put1(&c->a, 10000)) > 0)
		;
	SHOW(r);
	say("took some: %d", c->a.tx > 0);
	say("not writable: %s", poll_name(end_poll(&c->a, POLLOUT, 0)));
	long want = c->a.tx;

	say("all read: %d", end_get(&c->b, want) == want);
	say("writable: %s", poll_name(end_poll(&c->a, POLLOUT, 5000)));
	end_nonblock(&c->a, false);
	conn_same(c, 5000);
}

CASE(fill_drain_twice, F_BOTH, "the same three times over, in the other direction")
{
	end_nonblock(&c->b, true);
	for (int i = 0; i < 3; i++) {
		long from = c->b.tx;

		while (end_put1(&c->b, 30000) > 0)
			;
		say("all read: %d", end_get(&c->a, c->b.tx - from) == (long)(c->b.tx - from));
		say("writable: %s", poll_name(end_poll(&c->b, POLLOUT, 5000)));
	}
}

CASE(ping_pong, F_ANY | F_SELF6 | F_PAIR6 | F_MAPPED, "300 exchanges of growing size")
{
	long sum = 0;

	for (int i = 1; i <= 300; i++) {
		end_put1(&c->a, i);
		sum += end_get(&c->b, i);
		end_put1(&c->b, i * 3);
		sum += end_get(&c->a, i * 3);
	}
	SHOW(sum);
}

CASE(mixed_calls, F_BOTH, "the kinds of calls in turn on one stream")
{
	for (int i = 0; i < 60; i++) {
		struct iovec v[2] = { { buf, 100 }, { buf + 100, 57 } };
		struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
		long n = -1;

		end_fill(&c->a, buf, 157);
		n = i % 4 == 0   ? write(c->a.fd, buf, 157)
		    : i % 4 == 1 ? send(c->a.fd, buf, 157, MSG_NOSIGNAL)
		    : i % 4 == 2 ? writev(c->a.fd, v, 2)
				 : sendmsg(c->a.fd, &m, 0);
		if (n != 157)
			SHOW(n);
		if (end_get(&c->b, 157) != 157)
			say("short");
		end_put1(&c->b, 157);
		await(c->a.fd, POLLIN);
		n = i % 4 == 0   ? read(c->a.fd, buf, 157)
		    : i % 4 == 1 ? recv(c->a.fd, buf, 157, MSG_WAITALL)
		    : i % 4 == 2 ? readv(c->a.fd, v, 2)
				 : recvmsg(c->a.fd, &m, 0);
		if (n != 157)
			SHOW(n);
		end_check(&c->a, buf, n);
	}
	say("all exchanged");
}

CASE(nonblock_kinds, F_SELF, "EAGAIN by O_NONBLOCK, by FIONBIO is in par_opt; every receive call")
{
	struct iovec v = { buf, 10 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct mmsghdr mm = { m, 0 };

	end_nonblock(&c->a, true);
	SHOW(read(c->a.fd, buf, 10));
	SHOW(recv(c->a.fd, buf, 10, 0));
	SHOW(recvfrom(c->a.fd, buf, 10, 0, NULL, NULL));
	SHOW(readv(c->a.fd, &v, 1));
	SHOW(recvmsg(c->a.fd, &m, 0));
	SHOW(recvmmsg(c->a.fd, &mm, 1, 0, NULL));
	SHOW(recv(c->a.fd, buf, 10, MSG_PEEK));
	conn_same(c, 0);
}
