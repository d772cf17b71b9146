/* par_opt.c - parity of socket options, ioctls, fcntl and of what a socket says about itself */
#include "tests/parity/parity.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>

static char buf[1 << 16];

static int timeo_set(int fd, int opt, int ms)
{
	struct timeval t = { ms / 1000, ms % 1000 * 1000 };

	return setsockopt(fd, SOL_SOCKET, opt, &t, sizeof(t));
}

CASE(rcvtimeo, F_ANY, "SO_RCVTIMEO: every receive call gives EAGAIN, never too early")
{
	SHOW(timeo_set(c->a.fd, SO_RCVTIMEO, 40));
	int64_t t0 = now_us();

	SHOW(read(c->a.fd, buf, 1));
	say_waited_ticks("read", t0, 40);
	t0 = now_us();
	SHOW(recv(c->a.fd, buf, 1, MSG_PEEK));
	say_waited_ticks("recv peek", t0, 40);
	struct iovec v = { buf, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	t0 = now_us();
	SHOW(recvmsg(c->a.fd, &m, 0));
	say_waited_ticks("recvmsg", t0, 40);
	SHOW(end_put1(&c->b, 5));
	SHOW(end_get(&c->a, 5));
	SHOW(end_put1(&c->b, 5));
	t0 = now_us();
	SHOW(recv(c->a.fd, buf, 10, MSG_WAITALL));
	say_waited_ticks("recv waitall", t0, 40);
}

CASE(rcvtimeo_data, F_BOTH, "SO_RCVTIMEO: data that comes in time is read")
{
	SHOW(timeo_set(c->a.fd, SO_RCVTIMEO, 5000));
	end_get_start(&c->a, 10);
	sleep_ms(20);
	SHOW(end_put1(&c->b, 10));
	SHOW(end_get_join(&c->a));
	struct timeval t;
	socklen_t len = sizeof(t);

	SHOW(getsockopt(c->a.fd, SOL_SOCKET, SO_RCVTIMEO, &t, &len));
	say("timeout %ld s %ld us", (long)t.tv_sec, (long)t.tv_usec);
	t = (struct timeval){ 0, 1000000 };
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_RCVTIMEO, &t, 4));
	t = (struct timeval){ -1, 0 };
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	SHOW(timeo_set(c->a.fd, SO_RCVTIMEO, 0));
	SHOW(end_put1(&c->b, 10));
	SHOW(end_get(&c->a, 10));
}

CASE(sndtimeo, F_ANY, "SO_SNDTIMEO: a write into full buffers gives up, what it took arrives")
{
	SHOW(timeo_set(c->a.fd, SO_SNDTIMEO, 50));
	int64_t t0 = now_us();
	long r, calls = 0;

	do
		r = end_put1(&c->a, 1 << 20);
	while (r == 1 << 20 && ++calls < 100);
	say("gave up: %d", r < 1 << 20);
	say_waited_ticks("write", t0, 50);
	while (r > 0)
		r = end_put1(&c->a, 1 << 20);
	SHOW(r);
	long all = c->a.tx;

	say("all read: %d", end_get(&c->b, all) == all);
	SHOW(timeo_set(c->a.fd, SO_SNDTIMEO, 0));
	conn_same(c, 1000);
}

CASE(rcvlowat_poll, F_ANY, "SO_RCVLOWAT: poll is silent below the mark")
{
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 100));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_RCVLOWAT));
	SHOW(end_put1(&c->b, 60));
	say("below: %s", poll_name(end_poll(&c->a, POLLIN, 30)));
	SHOW(end_put1(&c->b, 40));
	say("reached: %s", poll_name(end_poll(&c->a, POLLIN, 5000)));
	SHOW(end_get(&c->a, 100));
	SHOW(end_put1(&c->b, 10));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 1));
	say("lowered: %s", poll_name(end_poll(&c->a, POLLIN, 5000)));
	SHOW(end_get(&c->a, 10));
}

CASE(rcvlowat_read, F_BOTH, "SO_RCVLOWAT: a read waits for the mark, a non-blocking one does not")
{
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 100));
	SHOW(end_put1(&c->b, 60));
	end_put_start(&c->b, 100); /* a reader that took 60 is only woken by 100 more */
	long n = end_get1(&c->a, 500);

	end_join(&c->b, NULL, NULL);
	SHOW(n);
	SHOW(end_put1(&c->b, 7));
	for (int i = 0, unread = 0; i < 5000 && !ioctl(c->a.fd, FIONREAD, &unread) && !unread; i++)
		sleep_ms(1);
	SHOW(recv(c->a.fd, buf, 500, MSG_DONTWAIT));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	say("end: %s", poll_name(await(c->a.fd, POLLIN)));
}

static long trickle(int fd, void *arg, size_t *len)
{
	int n = *(int *)arg;
	long sent = 0;

	(void)len;
	for (int i = 0; i < n; i++, sleep_ms(1))
		sent += write(fd, "0123456789", 10);
	return sent;
}

CASE(rcvlowat_more, F_ANY,
     "SO_RCVLOWAT above what a read asks for, and changed while bytes are there")
{
	struct epoll_event e = { .events = EPOLLIN };
	int ep = epoll_create1(0), n = 3;

	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 1000));
	end_start(&c->b, trickle, &n, sizeof(n));
	SHOW(end_join(&c->b, NULL, NULL));
	SHOW(epoll_wait(ep, &e, 1, 20));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 30));
	SHOW(epoll_wait(ep, &e, 1, 5000));
	SHOW(recv(c->a.fd, buf, 100, 0));
	SHOW(epoll_wait(ep, &e, 1, 20));
	end_start(&c->b, trickle, &n, sizeof(n));
	SHOW(epoll_wait(ep, &e, 1, 5000));
	SHOW(end_join(&c->b, NULL, NULL));
	SHOW(recv(c->a.fd, buf, 10, 0));
	SHOW(epoll_wait(ep, &e, 1, 20));
	SHOW(recv(c->a.fd, buf, 100, MSG_DONTWAIT));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 1));
	conn_same(c, 5000);
}

CASE(rcvlowat_odd, F_BOTH, "SO_RCVLOWAT: 0, negative and large values")
{
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 0));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_RCVLOWAT));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVLOWAT, 2000));
	SHOW(end_put1(&c->b, 10));
	SHOW(end_get(&c->a, 10));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_SNDLOWAT, 10));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_SNDLOWAT));
}

CASE(buffers, F_BOTH, "SO_SNDBUF and SO_RCVBUF read back as the kernel gives them")
{
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_SNDBUF, 20000));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_SNDBUF));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_RCVBUF, 30000));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_RCVBUF));
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_SNDBUF, 1));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_SNDBUF));
	conn_same(c, 200000);
}

CASE(sndbuf_bounds, F_BOTH, "a small SO_SNDBUF and SO_RCVBUF bound what is taken unread")
{
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_SNDBUF, 16384));
	SHOW(end_setopt(&c->b, SOL_SOCKET, SO_RCVBUF, 16384));
	end_nonblock(&c->a, true);
	while (end_put1(&c->a, 4096) > 0)
		;
	say("took less than 8 MB: %d", c->a.tx < 8 << 20);
	long all = c->a.tx;

	say("all read: %d", end_get(&c->b, all) == all);
}

CASE(levels, F_ANY, "options that are only kept: set and read back")
{
	static const struct {
		const char *name;
		int level, opt, value;
	} o[] = {
		{ "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ "SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1 },
		{ "SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1 },
		{ "SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 3 },
		{ "SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, 0 },
		{ "SO_DONTROUTE", SOL_SOCKET, SO_DONTROUTE, 1 },
		{ "SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP, 0 },
		{ "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 0 },
		{ "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1 },
		{ "TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 100 },
		{ "TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 10 },
		{ "TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 5 },
		{ "TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 30000 },
		{ "TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, 10 },
		{ "TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK, 1 },
		{ "TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1 << 20 },
		{ "TCP_THIN_LINEAR_TIMEOUTS", IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1 },
		{ "TCP_WINDOW_CLAMP", IPPROTO_TCP, TCP_WINDOW_CLAMP, 65536 },
		{ "IP_TOS", IPPROTO_IP, IP_TOS, 0x10 },
		{ "IP_TTL", IPPROTO_IP, IP_TTL, 17 },
	};

	for (size_t i = 0; i < sizeof(o) / sizeof(o[0]); i++) {
		int r = end_setopt(&c->a, o[i].level, o[i].opt, o[i].value);

		show(o[i].name, r);
		show(" reads", end_getopt(&c->a, o[i].level, o[i].opt));
	}
	conn_same(c, 10000);
}

CASE(facts, F_ANY | F_PAIR6, "SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, SO_ERROR")
{
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_TYPE));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_DOMAIN));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_PROTOCOL));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ACCEPTCONN));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
	SHOW(end_getopt(&c->a, IPPROTO_TCP, TCP_CORK));
}

CASE(option_errors, F_BOTH, "options: bad pointers, lengths, levels and names")
{
	int v = 1;
	socklen_t len = 2;

	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_KEEPALIVE, &v, 2));
	SHOW(setsockopt(c->a.fd, IPPROTO_TCP, TCP_NODELAY, &v, 2));
	SHOW(setsockopt(c->a.fd, IPPROTO_TCP, TCP_NODELAY, bad_pointer, 4));
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, 9999, &v, 4));
	SHOW(setsockopt(c->a.fd, IPPROTO_TCP, 9999, &v, 4));
	SHOW(setsockopt(c->a.fd, 9999, 1, &v, 4));
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_TYPE, &v, 4));
	SHOW(getsockopt(c->a.fd, SOL_SOCKET, SO_TYPE, &v, &len));
	say("length %u", len);
	len = sizeof(v);
	SHOW(getsockopt(c->a.fd, SOL_SOCKET, 9999, &v, &len));
	SHOW(getsockopt(c->a.fd, IPPROTO_TCP, 9999, &v, &len));
	SHOW(getsockopt(c->a.fd, SOL_SOCKET, SO_TYPE, bad_pointer, &len));
	SHOW(getsockopt(c->a.fd, SOL_SOCKET, SO_TYPE, &v, bad_pointer));
	len = -1;
	SHOW(getsockopt(c->a.fd, SOL_SOCKET, SO_TYPE, &v, &len));
	SHOW(getsockopt(-1, SOL_SOCKET, SO_TYPE, &v, &len));
}

CASE(congestion, F_BOTH, "TCP_CONGESTION, TCP_MAXSEG and TCP_ULP by name")
{
	char name[32] = "";
	socklen_t len = sizeof(name);

	SHOW(setsockopt(c->a.fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
	SHOW(getsockopt(c->a.fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
	say("congestion %s", name);
	SHOW(setsockopt(c->a.fd, IPPROTO_TCP, TCP_CONGESTION, "no-such", 7));
	SHOW(setsockopt(c->a.fd, IPPROTO_TCP, TCP_ULP, "no-such", 7));
	say("maxseg is positive: %d", end_getopt(&c->a, IPPROTO_TCP, TCP_MAXSEG) > 0);
	conn_same(c, 10000);
}

CASE(tcp_info, F_ANY, "TCP_INFO: state and plausible values")
{
	struct tcp_info i;
	socklen_t len = sizeof(i);

	SHOW(end_put(&c->a, 5000));
	SHOW(end_get(&c->b, 5000));
	SHOW(getsockopt(c->a.fd, IPPROTO_TCP, TCP_INFO, &i, &len));
	say("state %d, length is all of it: %d", i.tcpi_state, len == sizeof(i));
	say("rtt %d cwnd %d mss %d", i.tcpi_rtt > 0, i.tcpi_snd_cwnd > 0, i.tcpi_snd_mss > 0);
	len = 1;
	SHOW(getsockopt(c->a.fd, IPPROTO_TCP, TCP_INFO, &i, &len));
	say("length %u", len);
	SHOW(end_shutdown(&c->b, SHUT_WR));
	await(c->a.fd, POLLIN);
	len = sizeof(i);
	SHOW(getsockopt(c->a.fd, IPPROTO_TCP, TCP_INFO, &i, &len));
	say("state %d", i.tcpi_state);
}

CASE(cookie, F_BOTH, "SO_COOKIE, SO_INCOMING_CPU stay answerable; the cookie is stable")
{
	uint64_t x = 0, y = 0;
	socklen_t len = sizeof(x);

	SHOW(getsockopt(c->a.fd, SOL_SOCKET, SO_COOKIE, &x, &len));
	conn_warm(c, 50);
	SHOW(getsockopt(c->a.fd, SOL_SOCKET, SO_COOKIE, &y, &len));
	say("same %d, set %d", x == y, x != 0);
	say("cpu known: %d", end_getopt(&c->a, SOL_SOCKET, SO_INCOMING_CPU) >= 0);
}

CASE(filter, F_BOTH, "SO_ATTACH_FILTER and SO_DETACH_FILTER on a busy connection")
{
	struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, 0xffffffff) };
	struct sock_fprog p = { 1, all };

	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p)));
	conn_same(c, 30000);
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_DETACH_FILTER, &p, sizeof(p)));
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_DETACH_FILTER, &p, sizeof(p)));
	conn_same(c, 30000);
	conn_warm(c, 100);
}

CASE(filter_unread, F_BOTH, "SO_ATTACH_FILTER with unread bytes on both sides")
{
	struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, 0xffffffff) };
	struct sock_fprog p = { 1, all };

	SHOW(end_put(&c->a, 9000));
	SHOW(end_put(&c->b, 7000));
	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p)));
	SHOW(end_put(&c->a, 500));
	SHOW(end_put(&c->b, 300));
	SHOW(end_get(&c->b, 9500));
	SHOW(end_get(&c->a, 7300));
}

CASE(cork, F_BOTH, "TCP_CORK: nothing is lost, uncorking sends")
{
	SHOW(end_setopt(&c->a, IPPROTO_TCP, TCP_CORK, 1));
	SHOW(end_put1(&c->a, 10));
	SHOW(end_put1(&c->a, 10));
	SHOW(end_setopt(&c->a, IPPROTO_TCP, TCP_CORK, 0));
	SHOW(end_get(&c->b, 20));
	SHOW(end_setopt(&c->a, IPPROTO_TCP, TCP_CORK, 1));
	SHOW(end_put1(&c->a, 10));
	SHOW(end_get(&c->b, 10));
}

CASE(names, F_ANY | F_SELF6 | F_PAIR6, "getsockname and getpeername: the two ends agree")
{
	struct sockaddr_storage s, p;
	socklen_t sl = sizeof(s), pl = sizeof(p);

	SHOW(getsockname(c->a.fd, (struct sockaddr *)&s, &sl));
	SHOW(getpeername(c->a.fd, (struct sockaddr *)&p, &pl));
	say("family %d %d length %u %u", s.ss_family, p.ss_family, sl, pl);
	say("ports differ: %d",
	    ((struct sockaddr_in *)&s)->sin_port != ((struct sockaddr_in *)&p)->sin_port);
	sl = 4;
	SHOW(getsockname(c->a.fd, (struct sockaddr *)&s, &sl));
	say("length %u", sl);
	SHOW(getsockname(c->a.fd, bad_pointer, &sl));
	sl = -1;
	SHOW(getpeername(c->a.fd, (struct sockaddr *)&s, &sl));
	SHOW(end_reset(&c->b));
	await(c->a.fd, POLLIN);
	pl = sizeof(p);
	SHOW(getpeername(c->a.fd, (struct sockaddr *)&p, &pl));
	SHOW(getsockname(c->a.fd, (struct sockaddr *)&s, &pl));
}

CASE(mapped_names, F_MAPPED, "a v4-mapped peer is named as such")
{
	struct sockaddr_in6 p;
	socklen_t len = sizeof(p);
	char text[64];

	SHOW(getpeername(c->a.fd, (struct sockaddr *)&p, &len));
	say("family %d %s", p.sin6_family, inet_ntop(AF_INET6, &p.sin6_addr, text, sizeof(text)));
	conn_same(c, 20000);
}

CASE(fionread, F_ANY, "FIONREAD (SIOCINQ) is exact at every step")
{
	int n = -1;

	SHOW(ioctl(c->a.fd, FIONREAD, &n));
	say("%d", n);
	SHOW(end_put1(&c->b, 100));
	await(c->a.fd, POLLIN);
	SHOW(ioctl(c->a.fd, FIONREAD, &n));
	say("%d", n);
	SHOW(end_get(&c->a, 40));
	SHOW(ioctl(c->a.fd, SIOCINQ, &n));
	say("%d", n);
	SHOW(end_put1(&c->b, 10000));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	while (!(end_poll(&c->a, POLLRDHUP, 5000) & POLLRDHUP))
		;
	SHOW(ioctl(c->a.fd, FIONREAD, &n));
	say("%d", n);
	SHOW(end_get(&c->a, 10061));
	SHOW(ioctl(c->a.fd, FIONREAD, &n));
	say("%d", n);
	SHOW(ioctl(c->a.fd, FIONREAD, bad_pointer));
}

static int outq_reaches_zero(int fd, unsigned long which)
{
	int n = -1;

	for (int i = 0; i < 5000; i++) {
		if (ioctl(fd, which, &n))
			return -1;
		if (!n)
			return 1;
		sleep_ms(1);
	}
	return 0;
}

CASE(outq, F_ANY, "SIOCOUTQ and SIOCOUTQNSD reach 0 when all was read")
{
	int n = -1;

	SHOW(outq_reaches_zero(c->a.fd, SIOCOUTQ));
	SHOW(end_put1(&c->a, 5000));
	SHOW(end_get(&c->b, 5000));
	SHOW(outq_reaches_zero(c->a.fd, SIOCOUTQ));
	SHOW(outq_reaches_zero(c->a.fd, SIOCOUTQNSD));
	end_nonblock(&c->a, true);
	while (end_put1(&c->a, 30000) > 0)
		;
	SHOW(ioctl(c->a.fd, SIOCOUTQ, &n));
	say("full buffers leave something: %d", n > 0);
	say("all read: %d", end_get(&c->b, c->a.tx - 5000) > 0);
	SHOW(outq_reaches_zero(c->a.fd, SIOCOUTQ));
}

CASE(fionbio, F_BOTH, "FIONBIO and O_NONBLOCK are one flag")
{
	int on = 1, off = 0;

	SHOW(ioctl(c->a.fd, FIONBIO, &on));
	say("O_NONBLOCK %d", !!(fcntl(c->a.fd, F_GETFL) & O_NONBLOCK));
	SHOW(read(c->a.fd, buf, 1));
	SHOW(ioctl(c->a.fd, FIONBIO, &off));
	say("O_NONBLOCK %d", !!(fcntl(c->a.fd, F_GETFL) & O_NONBLOCK));
	end_get_start(&c->a, 5);
	SHOW(end_put1(&c->b, 5));
	SHOW(end_get_join(&c->a));
	SHOW(fcntl(c->a.fd, F_SETFL, O_NONBLOCK));
	SHOW(read(c->a.fd, buf, 1));
	SHOW(ioctl(c->a.fd, FIONBIO, bad_pointer));
}

CASE(fcntl_values, F_BOTH, "F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_GETOWN and unknown commands")
{
	SHOW(fcntl(c->a.fd, F_GETFL));
	SHOW(fcntl(c->a.fd, F_SETFL, O_NONBLOCK));
	SHOW(fcntl(c->a.fd, F_GETFL));
	SHOW(fcntl(c->a.fd, F_SETFL, 0));
	SHOW(fcntl(c->a.fd, F_GETFL));
	SHOW(fcntl(c->a.fd, F_SETFD, FD_CLOEXEC));
	SHOW(fcntl(c->a.fd, F_GETFD));
	SHOW(fcntl(c->a.fd, F_GETOWN));
	SHOW(fcntl(c->a.fd, 9999, 0));
	SHOW(fcntl(c->a.fd, F_GETPIPE_SZ));
	SHOW(fcntl(c->a.fd, F_ADD_SEALS, 0));
	SHOW(fcntl(-1, F_GETFL));
	conn_same(c, 1000);
}

CASE(ioctl_unknown, F_BOTH, "ioctls that a socket does not know")
{
	int v = 0;

	SHOW(ioctl(c->a.fd, TCGETS, buf));
	SHOW(ioctl(c->a.fd, 0x12345678, &v));
	SHOW(isatty(c->a.fd));
	SHOW(ioctl(c->a.fd, SIOCATMARK, &v));
	say("at mark %d", v);
	SHOW(ioctl(c->a.fd, SIOCGPGRP, &v));
	say("group %d", v);
	conn_same(c, 1000);
}

CASE(fstat_socket, F_BOTH, "fstat and /proc/self/fd call it a socket, the same one all the time")
{
	struct stat x, y;
	char path[64], l[64];

	SHOW(fstat(c->a.fd, &x));
	conn_warm(c, 20);
	SHOW(fstat(c->a.fd, &y));
	say("socket %d, same inode %d, size %ld", S_ISSOCK(x.st_mode), x.st_ino == y.st_ino,
	    (long)x.st_size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", c->a.fd);
	long n = readlink(path, l, sizeof(l) - 1);

	say("%.8s", n > 0 ? l : "none");
	SHOW(open(path, O_RDWR));
	SHOW(ftruncate(c->a.fd, 0));
	SHOW(fsync(c->a.fd));
}

static volatile sig_atomic_t sigio_seen;

static void on_sigio(int sig)
{
	(void)sig;
	sigio_seen++;
}

CASE(sigio, F_BOTH, "O_ASYNC: data brings SIGIO")
{
	signal(SIGIO, on_sigio);
	SHOW(fcntl(c->a.fd, F_SETOWN, getpid()));
	SHOW(fcntl(c->a.fd, F_SETFL, O_ASYNC | O_NONBLOCK));
	SHOW(end_put1(&c->b, 10));
	for (int i = 0; i < 2000 && !sigio_seen; i++)
		sleep_ms(1);
	say("SIGIO came: %d", sigio_seen > 0);
	SHOW(end_get(&c->a, 10));
	sigio_seen = 0;
	SHOW(end_put1(&c->b, 10));
	for (int i = 0; i < 2000 && !sigio_seen; i++)
		sleep_ms(1);
	say("SIGIO came again: %d", sigio_seen > 0);
}

static volatile sig_atomic_t sigurg_seen;

static void on_sigurg(int sig)
{
	(void)sig;
	sigurg_seen++;
}

static long oob_send(int fd, void *b, size_t *len)
{
	(void)b;
	(void)len;
	return send(fd, "!", 1, MSG_OOB);
}

CASE(oob, F_ANY, "urgent data: SIGURG, POLLPRI, the mark, the byte")
{
	int mark = -1;

	signal(SIGURG, on_sigurg);
	SHOW(fcntl(c->a.fd, F_SETOWN, getpid()));
	SHOW(end_put1(&c->b, 10));
	SHOW(end_run(&c->b, oob_send, NULL, NULL));
	say("poll: %s", poll_name(await(c->a.fd, POLLPRI)));
	for (int i = 0; i < 2000 && !sigurg_seen; i++)
		sleep_ms(1);
	say("SIGURG: %d", sigurg_seen > 0);
	SHOW(recv(c->a.fd, buf, 1, MSG_OOB | MSG_PEEK));
	SHOW(recv(c->a.fd, buf, 1, MSG_OOB));
	say("byte %c", buf[0]);
	SHOW(recv(c->a.fd, buf, 1, MSG_OOB));
	SHOW(ioctl(c->a.fd, SIOCATMARK, &mark));
	say("at mark %d", mark);
	SHOW(end_put1(&c->b, 20));
	SHOW(end_get(&c->a, 10));
	SHOW(ioctl(c->a.fd, SIOCATMARK, &mark));
	say("at mark %d", mark);
	SHOW(end_get(&c->a, 20));
	SHOW(recv(c->a.fd, buf, 1, MSG_OOB));
	conn_same(c, 3000);
}

CASE(oob_inline, F_BOTH, "SO_OOBINLINE: the urgent byte comes in the stream")
{
	int mark = -1;

	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_OOBINLINE, 1));
	SHOW(end_put1(&c->b, 5));
	SHOW(end_run(&c->b, oob_send, NULL, NULL));
	SHOW(await(c->a.fd, POLLPRI) & POLLPRI);
	SHOW(recv(c->a.fd, buf, 1, MSG_OOB));
	SHOW(end_get1(&c->a, 100));
	SHOW(ioctl(c->a.fd, SIOCATMARK, &mark));
	say("at mark %d", mark);
	SHOW(recv(c->a.fd, buf, 10, 0));
	say("byte %c", buf[0]);
	SHOW(end_put1(&c->b, 100));
	SHOW(end_get(&c->a, 100));
}

CASE(oob_unread, F_BOTH, "urgent data sent and received with a lot unread before it")
{
	SHOW(end_put(&c->b, 50000));
	SHOW(end_run(&c->b, oob_send, NULL, NULL));
	SHOW(end_put(&c->b, 1000));
	say("poll: %s", poll_name(await(c->a.fd, POLLPRI) & POLLPRI));
	SHOW(recv(c->a.fd, buf, 1, MSG_OOB));
	say("byte %c", buf[0]);
	SHOW(end_get(&c->a, 51000));
}

CASE(oob_none, F_BOTH, "MSG_OOB with no urgent data")
{
	SHOW(recv(c->a.fd, buf, 1, MSG_OOB));
	SHOW(end_put1(&c->b, 5));
	SHOW(recv(c->a.fd, buf, 1, MSG_OOB));
	SHOW(end_get(&c->a, 5));
}
