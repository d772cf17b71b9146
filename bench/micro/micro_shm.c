/* micro_shm.c - one operation many times in one thread, for callgrind to count
 *
 * Both ends of every connection are in this process, and nothing ever has to wait: valgrind runs
 * one thread at a time and its clock has little to do with the program's, so a count taken while
 * something spins or sleeps would mean nothing.
 *
 * What is counted is only what runs inside the functions whose names begin with "measured_";
 * bench/micro/run gives that pattern to callgrind, runs N and 3N operations and divides the
 * difference by 2N, so that whatever happens once (lazy binding, the first use of a ring) is left
 * out. Everything that prepares an operation or cleans up after it is outside of these functions.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS_MAX = 32, MANY = 16, MESSAGE = 64, WARM = 400 };

/* near[i] and far[i] are the two ends of connection i; every near end is in the epoll set. */
static struct {
	int conns;
	int listener, epoll;
	struct sockaddr_in addr;
	int near[CONNS_MAX], far[CONNS_MAX];
	int pipe[2];
	char buf[4096];
} b;

static void die(const char *what)
{
	fprintf(stderr, "micro_shm: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void check(int ok, const char *what)
{
	if (!ok)
		die(what);
}

#define MEASURED __attribute__((noinline, noclone)) static

MEASURED ssize_t measured_write(int fd)
{
	return write(fd, b.buf, MESSAGE);
}

MEASURED ssize_t measured_read(int fd)
{
	return read(fd, b.buf, MESSAGE);
}

MEASURED ssize_t measured_sendto(int fd)
{
	return sendto(fd, b.buf, MESSAGE, 0, (struct sockaddr *)&b.addr, sizeof(b.addr));
}

MEASURED ssize_t measured_recvfrom(int fd)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);

	return recvfrom(fd, b.buf, MESSAGE, 0, (struct sockaddr *)&from, &len);
}

MEASURED int measured_epoll_wait(struct epoll_event *ev)
{
	return epoll_wait(b.epoll, ev, CONNS_MAX, 1000);
}

MEASURED int measured_poll(struct pollfd *p)
{
	return poll(p, 1, 0);
}

MEASURED int measured_short_connection(void)
{
	int c = socket(AF_INET, SOCK_STREAM, 0), s;

	if (c < 0 || connect(c, (struct sockaddr *)&b.addr, sizeof(b.addr)) < 0)
		return -1;
	s = accept4(b.listener, NULL, NULL, SOCK_NONBLOCK);
	if (s < 0 || close(c) < 0)
		return -1;
	return close(s);
}

static void send_one(int fd)
{
	check(write(fd, b.buf, MESSAGE) == MESSAGE, "write");
}

static void drain_one(int fd)
{
	check(read(fd, b.buf, MESSAGE) == MESSAGE, "read");
}

static void op_write(int i)
{
	check(measured_write(b.near[i % b.conns]) == MESSAGE, "write");
	drain_one(b.far[i % b.conns]);
}

static void op_read(int i)
{
	send_one(b.far[i % b.conns]);
	check(measured_read(b.near[i % b.conns]) == MESSAGE, "read");
}

static void op_sendto(int i)
{
	check(measured_sendto(b.near[i % b.conns]) == MESSAGE, "sendto");
	drain_one(b.far[i % b.conns]);
}

static void op_recvfrom(int i)
{
	send_one(b.far[i % b.conns]);
	check(measured_recvfrom(b.near[i % b.conns]) == MESSAGE, "recvfrom");
}

static void op_would_block(int i)
{
	check(measured_read(b.near[i % b.conns]) < 0 && errno == EAGAIN, "read of nothing");
}

static void epoll_of(int i, int n)
{
	struct epoll_event ev[CONNS_MAX];
	int k;

	for (k = 0; k < n; k++)
		send_one(b.far[(i + k) % b.conns]);
	check(measured_epoll_wait(ev) == n, "epoll_wait");
	for (k = 0; k < n; k++)
		drain_one(ev[k].data.fd);
}

static void op_epoll_one(int i)
{
	epoll_of(i, 1);
}

static void op_epoll_many(int i)
{
	epoll_of(i, MANY);
}

static void op_pipe_write(int i)
{
	(void)i;
	check(measured_write(b.pipe[1]) == MESSAGE, "write to the pipe");
	drain_one(b.pipe[0]);
}

static void op_pipe_read(int i)
{
	(void)i;
	send_one(b.pipe[1]);
	check(measured_read(b.pipe[0]) == MESSAGE, "read from the pipe");
}

static void op_pipe_poll(int i)
{
	struct pollfd p = { .fd = b.pipe[0], .events = POLLIN };

	(void)i;
	check(measured_poll(&p) == 0, "poll of the pipe");
}

static void op_short_connection(int i)
{
	(void)i;
	check(measured_short_connection() == 0, "connect, accept, close");
}

static void connection_open(int i)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int one = 1;

	b.far[i] = socket(AF_INET, SOCK_STREAM, 0);
	check(b.far[i] >= 0, "socket");
	check(connect(b.far[i], (struct sockaddr *)&b.addr, sizeof(b.addr)) == 0, "connect");
	b.near[i] = accept4(b.listener, NULL, NULL, SOCK_NONBLOCK);
	check(b.near[i] >= 0, "accept4");
	check(fcntl(b.far[i], F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
	setsockopt(b.far[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(b.near[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	ev.data.fd = b.near[i];
	check(epoll_ctl(b.epoll, EPOLL_CTL_ADD, b.near[i], &ev) == 0, "epoll_ctl");
}

/* Bytes on their way through the kernel are there at once or soon: wait for them by poll. */
static void exchange(int from, int to)
{
	struct pollfd p = { .fd = to, .events = POLLIN };

	send_one(from);
	check(poll(&p, 1, 5000) == 1, "poll");
	drain_one(to);
}

/* Open all connections and use them both ways until they have been lifted. */
static void set_up(void)
{
	socklen_t len = sizeof(b.addr);
	int i, k;

	b.addr.sin_family = AF_INET;
	b.addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	b.listener = socket(AF_INET, SOCK_STREAM, 0);
	check(b.listener >= 0, "socket");
	check(bind(b.listener, (struct sockaddr *)&b.addr, len) == 0, "bind");
	check(listen(b.listener, CONNS_MAX) == 0, "listen");
	check(getsockname(b.listener, (struct sockaddr *)&b.addr, &len) == 0, "getsockname");
	b.epoll = epoll_create1(0);
	check(b.epoll >= 0 && pipe(b.pipe) == 0, "epoll_create1, pipe");
	for (i = 0; i < b.conns; i++)
		connection_open(i);
	for (k = 0; k < WARM; k++) {
		struct epoll_event ev[CONNS_MAX];

		for (i = 0; i < b.conns; i++) {
			exchange(b.far[i], b.near[i]);
			exchange(b.near[i], b.far[i]);
		}
		epoll_wait(b.epoll, ev, CONNS_MAX, 0);
	}
}

static const struct {
	const char *name;
	void (*run)(int i);
	int conns;
} operations[] = {
	{ "write", op_write, 1 },
	{ "read", op_read, 1 },
	{ "sendto", op_sendto, 1 },
	{ "recvfrom", op_recvfrom, 1 },
	{ "would_block", op_would_block, 1 },
	{ "epoll_one", op_epoll_one, 1 },
	{ "epoll_one_of_32", op_epoll_one, CONNS_MAX },
	{ "epoll_many", op_epoll_many, MANY },
	{ "pipe_write", op_pipe_write, 1 },
	{ "pipe_read", op_pipe_read, 1 },
	{ "pipe_poll", op_pipe_poll, 1 },
	{ "short_connection", op_short_connection, 1 },
};

int main(int argc, char **argv)
{
	size_t k;
	int i, n;

	if (argc != 3 || (n = atoi(argv[2])) <= 0) {
		fprintf(stderr, "usage: micro_shm OPERATION COUNT\n");
		return 2;
	}
	for (k = 0; k < sizeof(operations) / sizeof(operations[0]); k++) {
		if (strcmp(argv[1], operations[k].name) != 0)
			continue;
		b.conns = operations[k].conns;
		set_up();
		for (i = 0; i < n; i++)
			operations[k].run(i);
		return 0;
	}
	fprintf(stderr, "micro_shm: no operation '%s'\n", argv[1]);
	return 2;
}
