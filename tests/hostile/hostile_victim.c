/* hostile_victim.c - the program under attack: one connection to the hostile peer, one that must not suffer
 *
 * usage: ztcp_run hostile_victim PORT busy|quiet
 *
 * Connects to 127.0.0.1:PORT and exchanges some messages, so that the connection is lifted. Then one thread
 * reads that connection in blocking calls until it ends. The main thread goes on with a connection of this
 * process with itself, checks every byte of it and says so on standard output, a byte for each exchange;
 * "busy" also writes to the hostile connection without waiting. Ends with status 0 some exchanges after the
 * hostile connection has.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WARM = 40, MESSAGE = 32, LATER = 20, ANSWER_MS = 500 };

static int foe;
static _Atomic int foe_ended;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in sa = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("hostile_victim: connect");
	return fd;
}

/* Both ends of a connection of this process with itself. */
static void own_pair(int pair[2])
{
	struct sockaddr_in sa = loopback(0);
	socklen_t len = sizeof(sa);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	if (l < 0 || bind(l, (struct sockaddr *)&sa, len) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&sa, &len))
		die("hostile_victim: listen");
	pair[0] = connect_to(ntohs(sa.sin_port));
	pair[1] = accept(l, NULL, NULL);
	if (pair[1] < 0)
		die("hostile_victim: accept");
	close(l);
}

static void exchange(const int pair[2], unsigned i)
{
	char out[200], in[200];

	memset(out, (int)(i * 31 + 7), sizeof(out));
	for (unsigned way = 0; way < 2; way++) {
		if (write(pair[way], out, sizeof(out)) != sizeof(out) ||
		    recv(pair[!way], in, sizeof(in), MSG_WAITALL) != sizeof(in))
			die("hostile_victim: the healthy connection failed");
		if (memcmp(in, out, sizeof(in)) != 0) {
			fprintf(stderr, "hostile_victim: a wrong byte on the healthy connection\n");
			exit(1);
		}
	}
	if (write(1, ".", 1) != 1)
		exit(1);
}

static void *reads(void *arg)
{
	char b[1000];

	while (read(foe, b, sizeof(b)) > 0)
		;
	foe_ended = 1;
	return arg;
}

static int answered(void)
{
	struct pollfd p = { .fd = foe, .events = POLLIN };
	char b[MESSAGE];

	return poll(&p, 1, ANSWER_MS) == 1 && recv(foe, b, sizeof(b), MSG_DONTWAIT) > 0;
}

int main(int argc, char **argv)
{
	const struct timespec pause_ms = { 0, 1000000 };
	char b[MESSAGE] = { 0 };
	pthread_t t;
	int pair[2];

	if (argc != 3)
		return 2;
	foe = connect_to((uint16_t)atoi(argv[1]));
	own_pair(pair);
	for (unsigned i = 0; i < WARM; i++) {
		exchange(pair, i);
		if (send(foe, b, sizeof(b), MSG_NOSIGNAL) != sizeof(b) || !answered())
			break; /* attached: the peer has something else in mind than to answer */
		nanosleep(&pause_ms, NULL);
	}
	if (pthread_create(&t, NULL, reads, NULL))
		die("hostile_victim: thread");
	for (unsigned i = 0, left = LATER; left; i++) {
		left -= foe_ended != 0;
		exchange(pair, i);
		if (strcmp(argv[2], "busy") == 0 && !foe_ended)
			send(foe, b, sizeof(b), MSG_NOSIGNAL | MSG_DONTWAIT);
		nanosleep(&pause_ms, NULL);
	}
	pthread_join(t, NULL);
	return 0;
}
