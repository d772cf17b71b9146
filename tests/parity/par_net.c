/* par_net.c - parity of making connections: connect, bind, listen, accept, addresses, odd shapes */
#include "tests/parity/parity.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

static char buf[1 << 16];

static struct sockaddr_in loop4(uint32_t addr, uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = port,
				     .sin_addr.s_addr = htonl(addr) };
}

static void used(int x, int y)
{
	pair_warm(x, y, 150);
	SHOW(write(x, "hello", 5));
	SHOW(recv(y, buf, 5, MSG_WAITALL));
	SHOW(close(x));
	SHOW(read(y, buf, 5));
	SHOW(close(y));
}

CASE(refused, F_PLAIN, "ECONNREFUSED, blocking and non-blocking")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 1, &sa, &len), s = socket(AF_INET, SOCK_STREAM, 0);

	close(l);
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	int n = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), err = 0;

	connect(n, (struct sockaddr *)&sa, len);
	say("%s", poll_name(await(n, POLLOUT)));
	len = sizeof(err);
	SHOW(getsockopt(n, SOL_SOCKET, SO_ERROR, &err, &len));
	say("%s", err_name(err));
}

CASE(nonblocking_connect, F_PLAIN, "EINPROGRESS, writable, SO_ERROR 0, EISCONN; then it is used")
{
	struct sockaddr_storage sa;
	socklen_t len, el = sizeof(int);
	int l = listen_any(AF_INET, 4, &sa, &len), err = -1;
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int r = connect(s, (struct sockaddr *)&sa, len);

	say("in progress or done: %d", r == 0 || errno == EINPROGRESS);
	say("%s", poll_name(await(s, POLLOUT)));
	SHOW(getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &el));
	SHOW(err);
	connect(s, (struct sockaddr *)&sa, len);
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	int a = accept(l, NULL, NULL);

	fcntl(s, F_SETFL, 0);
	used(s, a);
}

CASE(accept_flags, F_PLAIN, "accept and accept4: flags, addresses, errors")
{
	struct sockaddr_storage sa, peer;
	socklen_t len, pl = sizeof(peer);
	int l = listen_any(AF_INET, 8, &sa, &len), s[4], a;

	SHOW(fcntl(l, F_SETFL, O_NONBLOCK));
	SHOW(accept(l, NULL, NULL));
	for (int i = 0; i < 4; i++) {
		s[i] = socket(AF_INET, SOCK_STREAM, 0);
		MUST(connect(s[i], (struct sockaddr *)&sa, len));
	}
	await(l, POLLIN);
	a = accept(l, (struct sockaddr *)&peer, &pl);
	say("length %u family %d flags %#x %#x", pl, peer.ss_family, fcntl(a, F_GETFL),
	    fcntl(a, F_GETFD));
	a = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	say("flags %#x %#x", fcntl(a, F_GETFL), fcntl(a, F_GETFD));
	SHOW(read(a, buf, 1));
	SHOW(accept4(l, NULL, NULL, 0x77));
	pl = 4;
	a = accept(l, (struct sockaddr *)&peer, &pl);
	say("length %u ok %d", pl, a >= 0);
	SHOW(accept(l, (struct sockaddr *)&peer, bad_pointer));
	int t = socket(AF_INET, SOCK_STREAM, 0);

	SHOW(accept(t, NULL, NULL));
	SHOW(accept(s[0], NULL, NULL));
	SHOW(accept(-1, NULL, NULL));
}

CASE(backlog, F_PLAIN, "bytes and an end that come before accept")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), s = socket(AF_INET, SOCK_STREAM, 0);

	SHOW(connect(s, (struct sockaddr *)&sa, len));
	SHOW(write(s, buf, 1000));
	SHOW(shutdown(s, SHUT_WR));
	int a = accept(l, NULL, NULL);

	SHOW(recv(a, buf, 1001, MSG_WAITALL));
	SHOW(write(a, buf, 10));
	SHOW(close(a));
	SHOW(recv(s, buf, 11, MSG_WAITALL));
}

CASE(backlog_reset, F_PLAIN, "a connection that is reset before accept")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), s = socket(AF_INET, SOCK_STREAM, 0);
	struct linger lg = { 1, 0 };

	SHOW(connect(s, (struct sockaddr *)&sa, len));
	setsockopt(s, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
	SHOW(close(s));
	int a = accept(l, NULL, NULL);

	say("accepted: %d", a >= 0);
	SHOW(read(a, buf, 1));
	SHOW(read(a, buf, 1));
}

CASE(bind_errors, F_PLAIN, "EADDRINUSE, EINVAL, EADDRNOTAVAIL, EAFNOSUPPORT")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), s = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in away = loop4(0xc0000201, 0);

	(void)l;
	SHOW(bind(s, (struct sockaddr *)&sa, len));
	SHOW(bind(s, (struct sockaddr *)&away, sizeof(away)));
	SHOW(bind(s, (struct sockaddr *)&sa, 3));
	SHOW(bind(s, bad_pointer, len));
	sa.ss_family = AF_UNIX;
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	SHOW(connect(s, (struct sockaddr *)&sa, 1));
	SHOW(connect(s, bad_pointer, len));
	SHOW(connect(-1, (struct sockaddr *)&sa, len));
	SHOW(listen(-1, 1));
	SHOW(socket(AF_INET, 77, 0));
	SHOW(socket(777, SOCK_STREAM, 0));
	SHOW(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
}

static void address(int family, const void *sa, socklen_t len)
{
	int l = socket(family, SOCK_STREAM, 0), s = socket(family, SOCK_STREAM, 0);
	struct sockaddr_storage at;
	socklen_t al = sizeof(at);

	SHOW(bind(l, sa, len));
	SHOW(listen(l, 4));
	SHOW(getsockname(l, (struct sockaddr *)&at, &al));
	SHOW(connect(s, (struct sockaddr *)&at, al));
	int a = accept(l, NULL, NULL);

	if (a >= 0)
		used(s, a);
	close(l);
}

CASE(address_127_0_0_2, F_PLAIN, "another loopback address")
{
	struct sockaddr_in sa = loop4(0x7f000002, 0);

	address(AF_INET, &sa, sizeof(sa));
}

CASE(address_any, F_PLAIN, "bound to 0.0.0.0 and connected to 0.0.0.0")
{
	struct sockaddr_in sa = loop4(0, 0);

	address(AF_INET, &sa, sizeof(sa));
}

CASE(address_any6, F_PLAIN, "bound to :: and connected to ::")
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6 };

	address(AF_INET6, &sa, sizeof(sa));
}

CASE(address_own, F_PLAIN, "an address of the host that is not loopback")
{
	struct ifaddrs *all, *i;

	MUST(getifaddrs(&all));
	for (i = all; i; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET &&
		    !(i->ifa_flags & IFF_LOOPBACK) && i->ifa_flags & IFF_UP)
			break;
	if (!i)
		par_skip("this host has loopback only");
	struct sockaddr_in sa = *(struct sockaddr_in *)i->ifa_addr;

	address(AF_INET, &sa, sizeof(sa));
}

CASE(bound_client, F_PLAIN, "a client bound to an address and a port of its own")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), s = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in me = loop4(0x7f000003, 0), peer;
	socklen_t pl = sizeof(peer);

	SHOW(bind(s, (struct sockaddr *)&me, sizeof(me)));
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	int a = accept(l, (struct sockaddr *)&peer, &pl);

	say("from %s", inet_ntoa(peer.sin_addr));
	used(s, a);
}

CASE(self_connect, F_PLAIN, "a socket connected to itself")
{
	struct sockaddr_in sa = loop4(par_host(), 0);
	socklen_t len = sizeof(sa);
	int s = socket(AF_INET, SOCK_STREAM, 0), good = 0, one = 1;

	SHOW(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	SHOW(bind(s, (struct sockaddr *)&sa, len));
	SHOW(getsockname(s, (struct sockaddr *)&sa, &len));
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	for (int i = 0; i < 200; i++)
		good += write(s, "0123456789", 10) == 10 && recv(s, buf, 10, MSG_WAITALL) == 10;
	SHOW(good);
	SHOW(shutdown(s, SHUT_WR));
	SHOW(read(s, buf, 10));
	SHOW(close(s));
}

CASE(same_ports_again, F_PLAIN, "one 4-tuple used again, closed by reset, 10 times")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), good = 0;
	struct sockaddr_in me = loop4(par_host(), 0);
	socklen_t ml = sizeof(me);
	struct linger lg = { 1, 0 };

	for (int i = 0; i < 10; i++) {
		int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;

		setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		MUST(bind(s, (struct sockaddr *)&me, sizeof(me)));
		MUST(getsockname(s, (struct sockaddr *)&me, &ml));
		MUST(connect(s, (struct sockaddr *)&sa, len));
		int a = accept(l, NULL, NULL);

		pair_warm(s, a, 60);
		good += write(s, "hello", 5) == 5 && recv(a, buf, 5, MSG_WAITALL) == 5;
		setsockopt(s, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
		close(s);
		good += read(a, buf, 1) == -1 && errno == ECONNRESET;
		close(a);
	}
	SHOW(good);
}

CASE(reuseport, F_PLAIN, "two listeners on one port by SO_REUSEPORT, 20 connections")
{
	struct sockaddr_in sa = loop4(par_host(), 0);
	socklen_t len = sizeof(sa);
	int l[2], one = 1, good = 0;

	for (int i = 0; i < 2; i++) {
		l[i] = socket(AF_INET, SOCK_STREAM, 0);
		SHOW(setsockopt(l[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
		SHOW(bind(l[i], (struct sockaddr *)&sa, len));
		SHOW(listen(l[i], 32));
		SHOW(getsockname(l[i], (struct sockaddr *)&sa, &len));
	}
	for (int i = 0; i < 20; i++) {
		int s = socket(AF_INET, SOCK_STREAM, 0);

		MUST(connect(s, (struct sockaddr *)&sa, len));
		struct pollfd p[2] = { { l[0], POLLIN, 0 }, { l[1], POLLIN, 0 } };

		MUST(poll(p, 2, 5000));
		int a = accept(p[0].revents ? l[0] : l[1], NULL, NULL);

		pair_warm(a, s, 20);
		good++;
		close(a);
		close(s);
	}
	SHOW(good);
}

CASE(fast_open, F_PLAIN, "TCP_FASTOPEN and MSG_FASTOPEN; bytes with the connect")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), q = 5;

	setsockopt(l, IPPROTO_TCP, TCP_FASTOPEN, &q, sizeof(q));
	int s = socket(AF_INET, SOCK_STREAM, 0);

	SHOW(sendto(s, "hello", 5, MSG_FASTOPEN, (struct sockaddr *)&sa, len));
	int a = accept(l, NULL, NULL);

	SHOW(recv(a, buf, 5, MSG_WAITALL));
	used(s, a);
}

CASE(fast_open_connect, F_PLAIN, "TCP_FASTOPEN_CONNECT: the first write connects")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), one = 1, s = socket(AF_INET, SOCK_STREAM, 0);

	SHOW(setsockopt(s, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)));
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	SHOW(write(s, "hello", 5));
	int a = accept(l, NULL, NULL);

	SHOW(recv(a, buf, 5, MSG_WAITALL));
	used(s, a);
}

CASE(defer_accept, F_PLAIN, "TCP_DEFER_ACCEPT: accept returns when bytes came")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), t = 5, s = socket(AF_INET, SOCK_STREAM, 0);

	SHOW(setsockopt(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, &t, sizeof(t)));
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	SHOW(write(s, "hello", 5));
	say("%s", poll_name(await(l, POLLIN)));
	int a = accept(l, NULL, NULL);

	SHOW(recv(a, buf, 5, MSG_WAITALL));
	used(s, a);
}

CASE(inherited_options, F_PLAIN, "what an accepted socket inherits from its listener")
{
	struct sockaddr_storage sa;
	socklen_t len, l4 = sizeof(int);
	int l = listen_any(AF_INET, 8, &sa, &len), one = 1, v = -1;
	int s = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(l, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	int size = 40000;

	setsockopt(l, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	int a = accept(l, NULL, NULL);

	SHOW(getsockopt(a, IPPROTO_TCP, TCP_NODELAY, &v, &l4));
	SHOW(v);
	SHOW(getsockopt(a, SOL_SOCKET, SO_KEEPALIVE, &v, &l4));
	SHOW(v);
	SHOW(getsockopt(a, SOL_SOCKET, SO_RCVBUF, &v, &l4));
	SHOW(v);
	used(s, a);
}

CASE(many_connections, F_PLAIN, "150 connections open at once, each used")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 200, &sa, &len), s[150], a[150], good = 0;

	for (int i = 0; i < 150; i++) {
		s[i] = socket(AF_INET, SOCK_STREAM, 0);
		MUST(connect(s[i], (struct sockaddr *)&sa, len));
		MUST(a[i] = accept(l, NULL, NULL));
	}
	for (int j = 0; j < 40; j++)
		for (int i = 0; i < 150; i++) {
			good += write(s[i], &i, sizeof(i)) == sizeof(i);
			int v = -1;

			good += read(a[i], &v, sizeof(v)) == sizeof(v) && v == i;
			good += write(a[i], &v, sizeof(v)) == sizeof(v);
			good += read(s[i], &v, sizeof(v)) == sizeof(v) && v == i;
		}
	SHOW(good);
}

CASE(short_connections, F_PLAIN, "200 connections of one exchange each")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 16, &sa, &len), good = 0;

	for (int i = 0; i < 200; i++) {
		int s = socket(AF_INET, SOCK_STREAM, 0);

		MUST(connect(s, (struct sockaddr *)&sa, len));
		int a = accept(l, NULL, NULL);

		good += write(s, "question", 8) == 8 && read(a, buf, 100) == 8;
		good += write(a, "answer", 6) == 6;
		close(a);
		good += read(s, buf, 100) == 6 && read(s, buf, 100) == 0;
		close(s);
	}
	SHOW(good);
}

CASE(mptcp, F_PLAIN, "a multipath TCP socket, where the kernel has it")
{
	struct sockaddr_in sa = loop4(par_host(), 0);
	socklen_t len = sizeof(sa);
	int l = socket(AF_INET, SOCK_STREAM, 262), s = socket(AF_INET, SOCK_STREAM, 262);

	if (l < 0)
		par_skip("no multipath TCP");
	SHOW(bind(l, (struct sockaddr *)&sa, len));
	SHOW(listen(l, 4));
	SHOW(getsockname(l, (struct sockaddr *)&sa, &len));
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	used(s, accept(l, NULL, NULL));
}

CASE(listen_again, F_PLAIN, "listen twice, a listener's reads, shutdown and a new listen")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 8, &sa, &len), s = socket(AF_INET, SOCK_STREAM, 0);

	SHOW(listen(l, 2));
	SHOW(read(l, buf, 1));
	SHOW(send(l, buf, 1, MSG_NOSIGNAL));
	int n;

	SHOW(ioctl(l, FIONREAD, &n));
	SHOW(shutdown(l, SHUT_RD));
	SHOW(connect(s, (struct sockaddr *)&sa, len));
	SHOW(listen(l, 2));
	SHOW(connect(s, (struct sockaddr *)&sa, len));
}

CASE(resolver, F_PLAIN, "getaddrinfo and /etc/hosts beside connections; no fd is lost")
{
	int low = dup(0);

	close(low);
	struct hostent *h = gethostbyname("localhost");

	say("localhost: %d", h != NULL);
	int again = dup(0);

	say("same lowest fd: %d", low == again);
}

CASE(idle_then_used, F_ANY, "warmed, idle for a while, used again")
{
	for (int i = 0; i < 3; i++) {
		sleep_ms(60);
		conn_same(c, 100);
	}
	conn_warm(c, 100);
	conn_same(c, 10000);
}

CASE(one_way, F_ANY | F_COLD, "bytes flow one way only, then the other way only")
{
	for (int i = 0; i < 300; i++) {
		end_put1(&c->a, 100);
		if (end_get(&c->b, 100) != 100)
			say("short");
	}
	for (int i = 0; i < 300; i++) {
		end_put1(&c->b, 100);
		if (end_get(&c->a, 100) != 100)
			say("short");
	}
	conn_same(c, 1000);
}
