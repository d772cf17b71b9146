/* stress_epoll.c - threads in one epoll set while its members come, change, are closed and go
 *
 * usage: ztcp_run stress_epoll [--exchanges N] [--seed N]
 *
 * The echo server has one epoll set and several threads in epoll_wait() on it; each registration is EPOLLONESHOT, so
 * that one thread at a time serves a connection. Clients, threads of a second process, exchange checked bytes, and
 * close after a few exchanges to begin anew; the server closes what has ended while other threads look at the set.
 * One more thread registers and takes away a connection of its own that stays full, and so waits for room. All
 * exchanges must end, with the right bytes.
 */
#include "tests/stress/stress_util.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/wait.h>

enum { SERVERS = 4, CLIENTS = 4, EACH = 40, PIECE = 512, WAIT_MS = 200, FDS = 4096 };

static uint64_t exchanges = 20000, seed = 1;
static int set, listener;
static uint16_t port;
static bool stop;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_ACQUIRE);
}

/* The client's process --------------------------------------------------------------------------- */

static void *client(void *arg)
{
	uint64_t key = seed * 1000 + (uint64_t)(intptr_t)arg, rnd = key;
	unsigned char b[PIECE];

	for (uint64_t done = 0; done < exchanges / CLIENTS;) {
		int fd = stress_connect(port);
		uint64_t off = 0, each = stress_random(&rnd) % (2 * EACH) + 1;

		for (uint64_t i = 0; i < each; i++, done++) {
			size_t n = stress_random(&rnd) % sizeof(b) + 1;

			stress_fill(key, off, b, n);
			if (write(fd, b, n) != (ssize_t)n)
				stress_die("write");
			memset(b, 0, n);
			if (recv(fd, b, n, MSG_WAITALL) != (ssize_t)n)
				stress_die("an answer is missing");
			if (stress_wrong(key, off, b, n) >= 0) {
				fprintf(stderr, "stress_epoll: a wrong byte, seed %llu\n",
					(unsigned long long)seed);
				exit(1);
			}
			off += n;
		}
		close(fd);
	}
	return NULL;
}

static int clients(void)
{
	pthread_t t[CLIENTS];

	for (intptr_t i = 0; i < CLIENTS; i++)
		if (pthread_create(&t[i], NULL, client, (void *)i))
			stress_die("pthread_create");
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(t[i], NULL);
	return 0;
}

/* The server ------------------------------------------------------------------------------------- */

static uint32_t
	handed; /* what a thread did before it armed a descriptor is seen by whom it is told to */
static uint32_t arming[FDS]; /* threads that are in epoll_ctl() for a descriptor */
static bool served[FDS];     /* told, and not armed again yet */

static void arm(int op, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events | EPOLLONESHOT, .data.fd = fd };

	__atomic_fetch_add(&handed, 1, __ATOMIC_ACQ_REL);
	__atomic_store_n(&served[fd], false, __ATOMIC_RELEASE);
	__atomic_fetch_add(&arming[fd], 1, __ATOMIC_RELAXED);
	if (epoll_ctl(set, op, fd, &ev))
		stress_die("epoll_ctl");
	__atomic_fetch_sub(&arming[fd], 1, __ATOMIC_RELEASE);
}

/* Who armed it for us may still be on its way out of the call: to TSan that is a race of the two for the descriptor. */
static void finish(int fd)
{
	while (__atomic_load_n(&arming[fd], __ATOMIC_ACQUIRE))
		sched_yield();
	__atomic_store_n(&served[fd], false, __ATOMIC_RELEASE);
	close(fd);
}

static void serve(int fd)
{
	char b[PIECE];
	ssize_t n;

	if (__atomic_exchange_n(&served[fd], true, __ATOMIC_ACQ_REL)) {
		fprintf(stderr, "stress_epoll: descriptor %d was told to two threads\n", fd);
		exit(1);
	}
	if (fd == listener) {
		int c = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;

		if (c < 0)
			stress_die("accept");
		setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		arm(EPOLL_CTL_ADD, c, EPOLLIN);
		arm(EPOLL_CTL_MOD, listener, EPOLLIN);
		return;
	}
	n = recv(fd, b, sizeof(b), MSG_DONTWAIT);
	if (n > 0 && send(fd, b, (size_t)n, MSG_NOSIGNAL) != n)
		stress_die("send");
	if (n > 0 || (n < 0 && errno == EAGAIN))
		arm(EPOLL_CTL_MOD, fd, EPOLLIN);
	else if (n == 0)
		finish(fd);
	else
		stress_die("recv");
}

static void *server(void *arg)
{
	struct epoll_event ev[4];

	(void)arg;
	while (!stopped()) {
		int n = epoll_wait(set, ev, 4, WAIT_MS);

		if (n < 0 && errno != EINTR)
			stress_die("epoll_wait");
		__atomic_fetch_add(&handed, 1, __ATOMIC_ACQ_REL);
		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd >= 0)
				serve(ev[i].data.fd);
		}
	}
	return NULL;
}

/* Members that wait for room, and are taken away. */
static void *full(void *arg)
{
	static char b[1 << 16];
	uint16_t at;
	int l = stress_listen(&at);

	(void)arg;
	while (!stopped()) {
		int fd = stress_connect(at), other = accept(l, NULL, NULL);
		struct epoll_event ev = { .events = EPOLLOUT | EPOLLET, .data.fd = -1 };

		if (other < 0)
			stress_die("accept");
		for (int i = 0; i < 100; i++)
			if (write(fd, b, 1) != 1 || read(other, b, 1) != 1)
				stress_die("one byte");
		while (send(fd, b, sizeof(b), MSG_DONTWAIT) > 0)
			;
		for (int i = 0; i < 20; i++) {
			if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev))
				stress_die("a member that is full");
			recv(other, b, 4096, MSG_DONTWAIT);
			usleep(500);
			if (epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL))
				stress_die("a member that goes");
		}
		if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev))
			stress_die("a member that is closed");
		close(other);
		close(fd);
	}
	close(l);
	return NULL;
}

static void options(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--exchanges"))
			exchanges = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--clients"))
			port = (uint16_t)strtoul(argv[i + 1], NULL, 0);
		else
			exit(2);
	}
}

static pid_t clients_start(char **argv)
{
	char p[8], n[24], s[24];
	pid_t pid = fork();

	if (pid)
		return pid;
	snprintf(p, sizeof(p), "%u", port);
	snprintf(n, sizeof(n), "%llu", (unsigned long long)exchanges);
	snprintf(s, sizeof(s), "%llu", (unsigned long long)seed);
	execl("/proc/self/exe", argv[0], "--clients", p, "--exchanges", n, "--seed", s,
	      (char *)NULL);
	_exit(127);
}

int main(int argc, char **argv)
{
	pthread_t t[SERVERS + 1];
	int st = 0;
	pid_t pid;

	options(argc, argv);
	if (port)
		return clients();
	listener = stress_listen(&port);
	pid = clients_start(argv);
	set = epoll_create1(EPOLL_CLOEXEC);
	if (pid < 0 || set < 0)
		stress_die("start");
	arm(EPOLL_CTL_ADD, listener, EPOLLIN);
	for (int i = 0; i <= SERVERS; i++)
		if (pthread_create(&t[i], NULL, i < SERVERS ? server : full, NULL))
			stress_die("pthread_create");
	waitpid(pid, &st, 0);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i <= SERVERS; i++)
		pthread_join(t[i], NULL);
	if (st) {
		fprintf(stderr, "stress_epoll: the clients ended with status %#x\n", st);
		return 1;
	}
	printf("%llu exchanges, seed %llu\n", (unsigned long long)exchanges,
	       (unsigned long long)seed);
	return 0;
}
