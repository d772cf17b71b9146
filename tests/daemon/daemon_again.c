/* daemon_again.c - how soon after a kill -9 of ztcpd its successor serves, and a new connection is lifted again
 *
 *	daemon_again KILLS CLIENT... -- ZTCPD...
 *	daemon_again --client HOST PORT
 *
 * Starts ZTCPD and CLIENT, and KILLS times: kills ztcpd, starts it again, and has the client make connections to a
 * redis-server, one after the other, until one is lifted. The client, which stands on another user's and namespace's side, is
 * this program again: a lifted connection is one that answers and whose kernel socket no longer counts what is sent, seen
 * by a system call of our own that nobody intercepts. Nothing here is judged by time; the times are printed, and of the
 * slowest how long ztcpd and the client stood ready and waited for a processor, which a busy machine costs.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	READY_FD = 3,
	WAIT_MS = 30000, /* ends a hang */
	ASKS = 200,      /* questions on one connection */
	STILL = 4,       /* answers in a row that the kernel has not carried */
	KILLS_MAX = 10000,
};

struct result {
	uint64_t lifted_ns;
	uint64_t waited_ns; /* by the client */
	uint32_t connections;
};

static int die(const char *what)
{
	fprintf(stderr, "daemon_again: %s: %s\n", what, strerror(errno));
	exit(2);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* For how long a process has been ready to run and did not, in all its life. */
static uint64_t waited_ns(pid_t pid)
{
	unsigned long long ran, waited = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%llu %llu", &ran, &waited) != 2)
		waited = 0;
	if (f)
		fclose(f);
	return waited;
}

/* ---- the client ---- */

/* getsockopt() by our own hand: on every path the kernel's socket alone is asked. */
static uint64_t kernel_sent(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	long ret = SYS_getsockopt;
	register void *value __asm__("r10") = &info;
	register socklen_t *size __asm__("r8") = &len;

	__asm__ volatile("syscall"
			 : "+a"(ret)
			 : "D"((long)fd), "S"((long)IPPROTO_TCP), "d"((long)TCP_INFO), "r"(value),
			   "r"(size)
			 : "rcx", "r11", "memory");
	if (ret < 0)
		die("TCP_INFO");
	return info.tcpi_bytes_acked + info.tcpi_notsent_bytes + info.tcpi_unacked;
}

static void ask(int fd)
{
	char answer[7];

	if (send(fd, "PING\r\n", 6, MSG_NOSIGNAL) != 6)
		die("a request failed");
	for (size_t got = 0; got < sizeof(answer);) {
		ssize_t n = recv(fd, answer + got, sizeof(answer) - got, 0);

		if (n <= 0)
			die("an answer failed");
		got += (size_t)n;
	}
	if (memcmp(answer, "+PONG\r\n", sizeof(answer)))
		die("a wrong answer");
}

/* One connection. Return: when it was seen to be lifted; 0: it was not. */
static uint64_t connection(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t before = 0, lifted = 0;
	unsigned still = 0;

	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)))
		die("connect");
	for (unsigned i = 0; i < ASKS && still < STILL; i++) {
		uint64_t sent;

		ask(fd);
		sent = kernel_sent(fd);
		if (sent != before)
			still = 0;
		else if (!still++)
			lifted = now_ns();
		before = sent;
	}
	close(fd);
	return still == STILL ? lifted : 0;
}

static int client(const char *host, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	char go;

	if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
		return 2;
	while (read(STDIN_FILENO, &go, 1) == 1) {
		uint64_t end = now_ns() + WAIT_MS * UINT64_C(1000000);
		uint64_t before = waited_ns(getpid());
		struct result r = { 0 };

		while (!r.lifted_ns && now_ns() < end) {
			r.lifted_ns = connection(&to);
			r.connections++;
		}
		r.waited_ns = waited_ns(getpid()) - before;
		if (write(STDOUT_FILENO, &r, sizeof(r)) != sizeof(r))
			return 2;
	}
	return 0;
}

/* ---- who kills and looks ---- */

/* A child with these descriptors, where they are not negative; it does not outlive us, unless it changes its user. */
static pid_t begin(char **argv, int in, int out, int ready)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	assert(argv[0]);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || (in >= 0 && dup2(in, STDIN_FILENO) < 0) ||
	    (out >= 0 && dup2(out, STDOUT_FILENO) < 0) || (ready >= 0 && dup2(ready, READY_FD) < 0))
		die("dup2");
	execvp(argv[0], argv);
	die(argv[0]);
	return -1;
}

static void await(int fd, const char *what)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, WAIT_MS) != 1) {
		errno = ETIMEDOUT;
		die(what);
	}
}

/* Start ztcpd. Return: nanoseconds until it said that it serves. */
static uint64_t serve(char **ztcpd, pid_t *pid)
{
	uint64_t begun = now_ns();
	int ready[2];
	char line;

	if (pipe2(ready, O_CLOEXEC))
		die("pipe");
	*pid = begin(ztcpd, -1, -1, ready[1]);
	close(ready[1]);
	await(ready[0], "ztcpd does not start");
	if (read(ready[0], &line, 1) != 1)
		die("ztcpd ended");
	close(ready[0]);
	return now_ns() - begun;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void tell(const char *what, uint64_t *ns, unsigned n)
{
	unsigned middle = n / 2;

	qsort(ns, n, sizeof(*ns), by_size);
	printf("%s after %.1f ms, %.1f at most\n", what, (double)ns[middle] / 1e6,
	       (double)ns[n - 1] / 1e6);
}

static void rounds(unsigned kills, char **ztcpd, pid_t *pid, int go, int told)
{
	static uint64_t serves[KILLS_MAX], lifted[KILLS_MAX];
	uint64_t slowest = 0, waited[2] = { 0 };
	unsigned connections = 0;

	for (unsigned i = 0; i < kills; i++) {
		uint64_t begun;
		struct result r;

		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
		begun = now_ns();
		serves[i] = serve(ztcpd, pid);
		if (write(go, "g", 1) != 1)
			die("the client has ended");
		await(told, "the client says nothing");
		if (read(told, &r, sizeof(r)) != sizeof(r))
			die("the client has ended");
		if (!r.lifted_ns) {
			errno = ETIMEDOUT;
			die("no connection is lifted any more");
		}
		lifted[i] = r.lifted_ns - begun;
		if (lifted[i] > slowest) {
			slowest = lifted[i];
			waited[0] = waited_ns(*pid);
			waited[1] = r.waited_ns;
		}
		connections += r.connections;
	}
	printf("%u kills, %u connections until all were lifted again\n", kills, connections);
	tell("it serves", serves, kills);
	tell("a new connection is lifted", lifted, kills);
	printf("the slowest time ztcpd waited %.1f ms for a processor, and the client %.1f ms\n",
	       (double)waited[0] / 1e6, (double)waited[1] / 1e6);
}

int main(int argc, char **argv)
{
	int go[2], told[2], status, kills = argc > 2 ? atoi(argv[1]) : 0;
	char **ztcpd = argv + (argc > 2 ? 2 : argc);
	pid_t its, daemon;

	if (argc == 4 && !strcmp(argv[1], "--client"))
		return client(argv[2], argv[3]);
	while (*ztcpd && strcmp(*ztcpd, "--"))
		ztcpd++;
	if (kills < 1 || kills > KILLS_MAX || ztcpd == argv + 2 || !*ztcpd || !ztcpd[1])
		return 2;
	*ztcpd++ = NULL;
	if (pipe2(go, O_CLOEXEC) || pipe2(told, O_CLOEXEC))
		die("pipe");
	serve(ztcpd, &daemon);
	its = begin(argv + 2, go[0], told[1], -1);
	close(go[0]);
	close(told[1]);
	rounds((unsigned)kills, ztcpd, &daemon, go[1], told[0]);
	close(go[1]);
	kill(daemon, SIGTERM);
	waitpid(daemon, NULL, 0);
	return waitpid(its, &status, 0) == its && status == 0 ? 0 : 1;
}
