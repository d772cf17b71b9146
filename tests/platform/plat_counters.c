/* plat_counters.c - TCP_INFO counts exactly the bytes that were written and read
 *
 * Before a connection is lifted, these counters show whether any byte passed that the library has
 * not seen. So, on both sides and in every state in which a lift may come:
 *   written  == tcpi_bytes_sent - tcpi_bytes_retrans + tcpi_notsent_bytes
 *   received == read + FIONREAD, and one more when the peer's FIN has come
 * where neither a SYN nor one's own FIN is counted in the sums.
 */
#include "tests/platform/plat.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stddef.h>
#include <sys/ioctl.h>

static char buf[1 << 20];

struct count {
	long written;
	long read;
	int fin; /* the peer's FIN has been received */
};

static struct tcp_info info(int fd)
{
	struct tcp_info i;
	socklen_t len = sizeof(i);

	memset(&i, 0, sizeof(i));
	FACT(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len) == 0);
	FACT(len >= offsetof(struct tcp_info, tcpi_bytes_retrans) + 8);
	return i;
}

static void check(int fd, struct count c)
{
	struct tcp_info i = info(fd);
	int queued = -1;

	FACT(ioctl(fd, SIOCINQ, &queued) == 0);
	FACT((long)(i.tcpi_bytes_sent - i.tcpi_bytes_retrans + i.tcpi_notsent_bytes) == c.written);
	FACT((long)i.tcpi_bytes_received == c.read + queued + c.fin);
}

static void put(int fd, struct count *c, long n)
{
	FACT(write(fd, buf, n) == n);
	c->written += n;
}

static void get(int fd, struct count *c, long n)
{
	FACT(recv(fd, buf, n, MSG_WAITALL) == n);
	c->read += n;
}

static void checked(int family, int which)
{
	int fd[2];
	struct count c[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	plat_pair(family, fd);
	int x = fd[which], y = fd[!which];
	struct count *cx = &c[which], *cy = &c[!which];

	check(x, *cx);
	check(y, *cy);
	for (int i = 0; i < 200; i++) {
		put(x, cx, i * 37 % 3000 + 1);
		check(x, *cx);
		check(y, *cy);
		get(y, cy, i * 37 % 3000 + 1);
		check(y, *cy);
	}
	put(x, cx, 300000); /* part of it may be not sent yet */
	check(x, *cx);
	check(y, *cy);
	get(y, cy, 300000);
	put(y, cy, 10);
	FACT(recv(x, buf, 10, MSG_PEEK | MSG_WAITALL) == 10);
	check(x, *cx);
	FACT(shutdown(x, SHUT_WR) == 0);
	check(x, *cx);
	FACT(recv(y, buf, 1, 0) == 0);
	cy->fin = 1;
	check(y, *cy);
	put(y, cy, 500);
	get(x, cx, 510);
	check(x, *cx);
	check(y, *cy);
	FACT(shutdown(y, SHUT_WR) == 0);
	FACT(recv(x, buf, 1, 0) == 0);
	cx->fin = 1;
	check(x, *cx);
	check(y, *cy);
	close(x);
	close(y);
}

/* bytes_acked counts the SYN on the side that connected: the library must not use it for sums. */
static void acked(void)
{
	int fd[2];

	plat_pair(AF_INET, fd);
	printf("bytes_acked at once: connected %llu, accepted %llu\n",
	       (unsigned long long)info(fd[0]).tcpi_bytes_acked,
	       (unsigned long long)info(fd[1]).tcpi_bytes_acked);
	FACT(info(fd[0]).tcpi_bytes_acked <= 1 && info(fd[1]).tcpi_bytes_acked <= 1);
}

/* With buffers full, the part that was not sent is counted by notsent and nothing else. */
static void full(void)
{
	int fd[2];
	struct count c[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
	ssize_t n;

	plat_pair(AF_INET, fd);
	while ((n = send(fd[0], buf, 100000, MSG_DONTWAIT)) > 0)
		c[0].written += n;
	FACT(info(fd[0]).tcpi_notsent_bytes > 0);
	check(fd[0], c[0]);
	check(fd[1], c[1]);
	while (c[1].read < c[0].written)
		get(fd[1], &c[1],
		    c[0].written - c[1].read < 50000 ? c[0].written - c[1].read : 50000);
	check(fd[0], c[0]);
	check(fd[1], c[1]);
}

int main(void)
{
	alarm(50);
	for (int which = 0; which < 2; which++) {
		checked(AF_INET, which);
		checked(AF_INET6, which);
	}
	acked();
	full();
	return 0;
}
