/* apps_talk.c - a server and a client whose printed account is the same whatever carries the bytes
 *
 *     apps_talk server PORT CONNECTIONS
 *     apps_talk client PORT CONNECTIONS [fill|fill-after|bound]
 *
 * Each connection does ping-pongs of many sizes, then 2 MB both ways at once, then a half-close.
 * fill: the client first uses up all descriptors but those it needs itself, so that a library has none
 * left; fill-after: it does so after the talk and tells how many it got.  The descriptor that the
 * next open would get is printed too: a program can see when another one in its process takes some.
 * bound: the client limits its own address space once it is connected, as vsftpd does, and then asks for memory.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 120, BULK = 2 << 20, CONNECTIONS_MAX = 64, CHUNK = 65536 };

static const size_t sizes[] = { 1, 2, 63, 64, 65, 500, 4096, 16000, 65536, 100000 };

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	fflush(stdout);
	exit(1);
}

static uint8_t pattern(unsigned conn, size_t at)
{
	return (uint8_t)(conn * 37 + at * 11 + (at >> 8) * 3 + (at >> 16));
}

static void fill(uint8_t *buf, unsigned conn, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = pattern(conn, at + i);
}

static void check(const uint8_t *buf, unsigned conn, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i] != pattern(conn, at + i)) {
			printf("connection %u: wrong byte at %zu\n", conn, at + i);
			fflush(stdout);
			exit(1);
		}
}

static void write_all(int fd, const uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0)
			die("write");
		buf += n;
		len -= (size_t)n;
	}
}

static void read_all(int fd, uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = read(fd, buf, len);

		if (n < 0)
			die("read");
		if (n == 0) {
			printf("end of file, %zu bytes missing\n", len);
			exit(1);
		}
		buf += n;
		len -= (size_t)n;
	}
}

static int next_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY);

	if (fd < 0)
		die("open");
	close(fd);
	return fd;
}

/* BULK bytes out and BULK bytes in at once, by poll and non-blocking calls */
static void bulk(int fd, unsigned conn, size_t at)
{
	static uint8_t buf[CHUNK];
	size_t out = 0, in = 0;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	while (out < BULK || in < BULK) {
		struct pollfd p = { .fd = fd,
				    .events = (short)((in < BULK ? POLLIN : 0) |
						      (out < BULK ? POLLOUT : 0)) };
		ssize_t n;

		if (poll(&p, 1, 60000) != 1)
			die("poll");
		if (p.revents & POLLOUT) {
			size_t len = BULK - out < CHUNK ? BULK - out : CHUNK;

			fill(buf, conn, at + out, len);
			n = send(fd, buf, len, MSG_NOSIGNAL);
			if (n < 0 && errno != EAGAIN)
				die("send");
			out += n > 0 ? (size_t)n : 0;
		}
		if (p.revents & POLLIN) {
			n = recv(fd, buf, sizeof(buf), 0);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				die("recv");
			if (n > 0)
				check(buf, conn, at + in, (size_t)n);
			in += n > 0 ? (size_t)n : 0;
		}
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

static void talk(int fd, unsigned conn)
{
	static uint8_t buf[100000];
	size_t at = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t len = sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];

		fill(buf, conn, at, len);
		write_all(fd, buf, len);
		memset(buf, 0, len);
		read_all(fd, buf, len);
		check(buf, conn, at, len);
		at += len;
	}
	bulk(fd, conn, at);
	shutdown(fd, SHUT_WR);
	if (read(fd, buf, 1) != 0)
		die("end of file expected");
	printf("connection %u: %zu bytes each way\n", conn, at + BULK);
}

/* dup() until there is no more: how many, and the errno */
static int use_up(int *last, int keep)
{
	int n = 0, fd;

	while ((fd = dup(0)) >= 0) {
		*last = fd;
		n++;
	}
	printf("%d descriptors, then: %s\n", n, strerror(errno));
	for (int i = 0; i < keep && n > 0; i++)
		close(*last - i);
	return n;
}

/* 200 MB of address space in all are plenty for a program of this size */
static void bound(void)
{
	const struct rlimit l = { 200 << 20, 200 << 20 };
	void *mem;

	close(epoll_create1(0));
	if (setrlimit(RLIMIT_AS, &l))
		die("setrlimit");
	mem = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	printf("64 MB of memory: %s\n", mem == MAP_FAILED ? strerror(errno) : "granted");
	if (mem != MAP_FAILED)
		munmap(mem, 64 << 20);
}

static int client(struct sockaddr_in *to, unsigned conns, const char *how)
{
	int fd[CONNECTIONS_MAX], last = 0;

	printf("next descriptor %d\n", next_descriptor());
	if (strcmp(how, "fill") == 0)
		use_up(&last, (int)conns);
	for (unsigned i = 0; i < conns; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (fd[i] < 0 || connect(fd[i], (struct sockaddr *)to, sizeof(*to)))
			die("connect");
	}
	if (strcmp(how, "bound") == 0)
		bound();
	for (unsigned i = 0; i < conns; i++)
		talk(fd[i], i);
	if (strcmp(how, "fill") != 0)
		printf("next descriptor %d\n", next_descriptor());
	if (strcmp(how, "fill-after") == 0)
		use_up(&last, 0);
	for (unsigned i = 0; i < conns; i++)
		if (close(fd[i]))
			die("close");
	return 0;
}

struct peer {
	uint8_t buf[CHUNK];
	size_t have, total;
};

/* writes what is held back; true when nothing is left */
static int flush(int fd, struct peer *p)
{
	ssize_t n = send(fd, p->buf, p->have, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN)
		die("server: send");
	if (n > 0) {
		memmove(p->buf, p->buf + n, p->have - (size_t)n);
		p->have -= (size_t)n;
	}
	return p->have == 0;
}

/* echoes; true when the connection has ended */
static int serve(int ep, int fd, struct peer *p)
{
	struct epoll_event ev = { .data.fd = fd };
	ssize_t n;

	if (p->have && !flush(fd, p))
		return 0;
	n = recv(fd, p->buf, sizeof(p->buf), 0);
	if (n == 0)
		return 1;
	if (n < 0 && errno != EAGAIN)
		die("server: recv");
	if (n > 0) {
		p->have = (size_t)n;
		p->total += (size_t)n;
	}
	ev.events = p->have == 0 || flush(fd, p) ? EPOLLIN : EPOLLOUT;
	epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
	return 0;
}

static int server(struct sockaddr_in *at, unsigned conns)
{
	struct peer *peers[1024] = { 0 };
	struct epoll_event ev = { .events = EPOLLIN };
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0), ep = epoll_create1(0);
	unsigned ended = 0, accepted = 0;
	size_t total = 0;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)at, sizeof(*at)) || listen(listener, CONNECTIONS_MAX))
		die("server: bind");
	ev.data.fd = listener;
	epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
	while (ended < conns) {
		if (epoll_wait(ep, &ev, 1, 60000) != 1)
			die("server: epoll_wait");
		if (ev.data.fd == listener) {
			int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

			if (fd < 0 || fd >= 1024)
				die("server: accept");
			peers[fd] = calloc(1, sizeof(*peers[fd]));
			if (!peers[fd])
				die("server: calloc");
			ev.events = EPOLLIN;
			ev.data.fd = fd;
			epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
			accepted++;
		} else if (serve(ep, ev.data.fd, peers[ev.data.fd])) {
			total += peers[ev.data.fd]->total;
			free(peers[ev.data.fd]);
			close(ev.data.fd);
			ended++;
		}
	}
	printf("%u connections, %zu bytes, next descriptor %d\n", accepted, total,
	       next_descriptor());
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	unsigned conns = argc > 3 ? (unsigned)atoi(argv[3]) : 0;

	if (conns < 1 || conns > CONNECTIONS_MAX) {
		fprintf(stderr,
			"usage: apps_talk server|client PORT CONNECTIONS [fill|fill-after|bound]\n");
		return 2;
	}
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons((uint16_t)atoi(argv[2]));
	if (strcmp(argv[1], "server") == 0)
		return server(&addr, conns);
	return client(&addr, conns, argc > 4 ? argv[4] : "");
}
