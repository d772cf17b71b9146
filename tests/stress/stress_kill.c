/* stress_kill.c - kill -9 of either end at random points: what was written is read, then the end
 *
 * usage: stress_kill [--rounds N] [--seed N] [--max-ms N] [--verbose]
 *
 * Each round a victim (exec of this program) and this process make a connection and use it in one of the
 * ways below, until the victim is killed at a random moment: before, while or after it is lifted. After
 * each write that returned, the victim notes the count in memory it shares with this process. What must
 * hold: this process reads at least that many bytes, each of them right, then gets 0 or ECONNRESET; a
 * writer here gets EPIPE or ECONNRESET; neither takes longer than --max-ms after the kill (default: a
 * guard against hangs only). After all rounds no process, descriptor, mapping or file is left over.
 *
 *   stream  the victim writes without pause, this process reads
 *   echo    this process asks, the victim answers
 *   sink    this process writes without pause, the victim reads
 *   stall   this process writes without pause, the victim does not read
 *   idle    as echo for a while, then nothing; the survivor waits in poll
 */
#include "tests/stress/stress_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum way { STREAM, ECHO, SINK, STALL, IDLE, WAYS };
enum { MESSAGE = 64, IDLE_AFTER = 300, LOG_FD = 190 };

static const char *const way_name[] = { "stream", "echo", "sink", "stall", "idle" };

struct note {
	_Alignas(64) uint64_t written; /* by the victim, after the call returned */
	_Alignas(64) uint32_t started;
};

static struct note *note;
static uint64_t seed = 1;
static int64_t worst_us, sum_us;
static long max_ms = 30000;
static unsigned round_no;
static enum way way;

static void bad(const char *what, uint64_t value)
{
	fprintf(stderr, "stress_kill: round %u (%s), seed %llu: %s %llu, errno %s\n", round_no,
		way_name[way], (unsigned long long)seed, what, (unsigned long long)value,
		strerrorname_np(errno));
	exit(1);
}

/* The victim ------------------------------------------------------------------------------------ */

static void victim_put(int fd, uint64_t key, uint64_t *off, size_t n)
{
	unsigned char b[65536];

	stress_fill(key, *off, b, n);
	for (size_t done = 0; done < n;) {
		ssize_t r = write(fd, b + done, n - done);

		if (r <= 0)
			_exit(0);
		done += r;
		*off += r;
		__atomic_store_n(&note->written, *off, __ATOMIC_RELEASE);
	}
}

static void victim(int fd, uint64_t key)
{
	unsigned char b[65536];
	uint64_t off = 0, rnd = key;

	__atomic_store_n(&note->started, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0;; i++) {
		if (way == STREAM)
			victim_put(fd, key, &off,
				   stress_random(&rnd) % (i % 16 ? 300 : sizeof(b)) + 1);
		if (way == SINK && read(fd, b, sizeof(b)) <= 0)
			_exit(0);
		if (way == STALL)
			pause();
		if (way == ECHO || way == IDLE) {
			if (recv(fd, b, MESSAGE, MSG_WAITALL) != MESSAGE)
				_exit(0);
			victim_put(fd, key, &off, stress_random(&rnd) % 4000 + 1);
		}
	}
}

static int victim_main(char **argv)
{
	uint16_t port = strtoul(argv[2], NULL, 10);
	int dials = atoi(argv[4]), fd;

	way = atoi(argv[3]);
	uint64_t key = strtoull(argv[5], NULL, 16);

	note = mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE, MAP_SHARED, LOG_FD, 0);
	if (note == MAP_FAILED)
		return 1;
	if (dials) {
		fd = stress_connect(port);
	} else {
		uint16_t mine;
		int l = stress_listen(&mine);

		note->written = mine; /* tells the survivor where to connect */
		__atomic_store_n(&note->started, 2, __ATOMIC_RELEASE);
		fd = accept(l, NULL, NULL);
		note->written = 0;
		close(l);
	}
	victim(fd, key);
	return 0;
}

/* The survivor ---------------------------------------------------------------------------------- */

struct killer {
	pid_t pid;
	int64_t at;     /* when to kill */
	int64_t killed; /* when it was done; 0: not yet */
};

static void kill_when_due(struct killer *k)
{
	if (!k->killed && stress_us() >= k->at) {
		kill(k->pid, SIGKILL);
		k->killed = stress_us();
	}
}

static void ended(struct killer *k)
{
	int64_t took = stress_us() - k->killed;

	if (!k->killed)
		bad("the connection ended before the kill, after us", stress_us() - k->at);
	if (took > worst_us)
		worst_us = took;
	sum_us += took;
	if (took > max_ms * 1000)
		bad("the end came late, us", took);
}

static ssize_t one_read(int fd, uint64_t key, uint64_t *off, int flags)
{
	unsigned char b[65536];
	ssize_t r = recv(fd, b, sizeof(b), flags);
	long w = r > 0 ? stress_wrong(key, *off, b, r) : -1;

	if (w >= 0)
		bad("wrong byte at", *off + w);
	*off += r > 0 ? r : 0;
	return r;
}

/* Read to the end; Return: what the last read gave. Blocks, but looks at the clock. */
static ssize_t drain(int fd, struct killer *k, uint64_t key, uint64_t *off)
{
	for (;;) {
		struct pollfd p = { fd, POLLIN, 0 };

		kill_when_due(k);
		int n = poll(&p, 1, k->killed ? (int)max_ms + 1000 : 1);

		if (n < 0)
			bad("poll", errno);
		if (n == 0 && k->killed)
			bad("nothing came after the kill; bytes read", *off);
		if (n == 0)
			continue;
		ssize_t r = one_read(fd, key, off, 0);

		if (r <= 0)
			return r;
	}
}

static ssize_t echo_round(int fd, struct killer *k, uint64_t key, uint64_t *off)
{
	unsigned char ask[MESSAGE] = { 0 };
	uint64_t rnd = key;

	for (unsigned i = 0;; i++) {
		kill_when_due(k);
		if (way == IDLE && i >= IDLE_AFTER)
			return drain(fd, k, key, off);
		if (send(fd, ask, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
			return drain(fd, k, key,
				     off); /* what it wrote before is still to be read */
		uint64_t want = *off + stress_random(&rnd) % 4000 + 1;

		while (*off < want) {
			struct pollfd p = { fd, POLLIN, 0 };

			kill_when_due(k);
			if (poll(&p, 1, k->killed ? (int)max_ms + 1000 : 1) == 0) {
				if (k->killed)
					bad("no answer and no end; bytes read", *off);
				continue;
			}
			ssize_t r = one_read(fd, key, off, 0);

			if (r <= 0)
				return r;
		}
	}
}

/* Write until it fails; the kill comes from a timer signal, as the write may be blocked. */
static struct killer *timed;

static void on_timer(int sig)
{
	(void)sig;
	if (timed && !timed->killed) {
		kill(timed->pid, SIGKILL);
		timed->killed = stress_us();
	}
}

static ssize_t pour(int fd, struct killer *k)
{
	static unsigned char b[100000];
	struct sigaction sa = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	struct itimerspec it = { .it_value = { 0, 1000 } };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	timer_t timer;
	int64_t left = k->at - stress_us();
	ssize_t r;

	timed = k;
	sigaction(SIGUSR1, &sa, NULL);
	if (left > 0)
		it.it_value.tv_nsec = left * 1000 + 1000;
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) || timer_settime(timer, 0, &it, NULL))
		bad("timer", errno);
	alarm(max_ms / 1000 + 5);
	do
		r = send(fd, b, sizeof(b), MSG_NOSIGNAL);
	while (r > 0);
	alarm(0);
	timer_delete(timer);
	timed = NULL;
	if (errno != EPIPE && errno != ECONNRESET)
		bad("a write failed with", errno);
	return 0;
}

static pid_t start_victim(uint16_t port, int dials, uint64_t key)
{
	char p[8], w[8], d[8], k[24];
	pid_t pid = fork();

	if (pid)
		return pid;
	snprintf(p, sizeof(p), "%u", port);
	snprintf(w, sizeof(w), "%d", way);
	snprintf(d, sizeof(d), "%d", dials);
	snprintf(k, sizeof(k), "%llx", (unsigned long long)key);
	execl("/proc/self/exe", "stress_kill", "--victim", p, w, d, k, (char *)NULL);
	_exit(127);
}

static int meet(int l, int dials)
{
	if (dials)
		return accept(l, NULL, NULL);
	while (__atomic_load_n(&note->started, __ATOMIC_ACQUIRE) != 2)
		usleep(100);
	return stress_connect(note->written);
}

static void one_round(int l, uint16_t port, uint64_t *rnd)
{
	uint64_t key = stress_random(rnd) >> 1, off = 0;
	int dials = round_no % 2, st;

	way = round_no / 2 % WAYS;
	memset(note, 0, sizeof(*note));
	pid_t pid = start_victim(port, dials, key);
	int fd = meet(l, dials);

	while (__atomic_load_n(&note->started, __ATOMIC_ACQUIRE) != 1)
		usleep(50);
	/* From at once to well after it was lifted. */
	struct killer k = { pid,
			    stress_us() + (int64_t)(stress_random(rnd) % (1ull << (round_no % 16))),
			    0 };
	ssize_t r = way == SINK || way == STALL ? pour(fd, &k)
		    : way == STREAM             ? drain(fd, &k, key, &off)
						: echo_round(fd, &k, key, &off);
	int err = errno;

	ended(&k);
	errno = err;
	if (r < 0 && errno != ECONNRESET)
		bad("the end was neither 0 nor ECONNRESET but", errno);
	if (r < 0 && way == STREAM)
		bad("a reset, though the victim had nothing unread; bytes", off);
	uint64_t written = __atomic_load_n(&note->written, __ATOMIC_ACQUIRE);

	if (way != SINK && way != STALL && off < written)
		bad("bytes lost", written - off);
	close(fd);
	if (waitpid(pid, &st, 0) != pid || !WIFSIGNALED(st) || WTERMSIG(st) != SIGKILL)
		bad("the victim was not killed but ended with", st);
}

/* Leftovers ------------------------------------------------------------------------------------- */

/* But for what unit tests that run beside have in /dev/shm for a moment. */
static long entries(const char *dir)
{
	DIR *d = opendir(dir);
	long n = 0;

	if (!d)
		return 0;
	for (const struct dirent *e; (e = readdir(d));)
		n += strncmp(e->d_name, "bxfi_", 5) != 0;
	closedir(d);
	return n;
}

static long mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	long n = 0;

	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static void leftover(const char *what, long before, long now, long room)
{
	if (now > before + room) {
		fprintf(stderr, "stress_kill: %s: %ld before, %ld after %u rounds\n", what, before,
			now, round_no);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	unsigned rounds = 50, settle;
	int verbose = 0;

	if (argc == 6 && !strcmp(argv[1], "--victim"))
		return victim_main(argv);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--verbose"))
			verbose = 1;
		else if (i + 1 < argc && !strcmp(argv[i], "--rounds"))
			rounds = strtoul(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--max-ms"))
			max_ms = strtol(argv[++i], NULL, 0);
		else
			return 2;
	}
	int log = memfd_create("stress_kill", 0);

	if (log < 0 || ftruncate(log, sizeof(*note)) || dup2(log, LOG_FD) < 0)
		stress_die("log");
	close(log);
	note = mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE, MAP_SHARED, LOG_FD, 0);
	if (note == MAP_FAILED)
		stress_die("mmap");
	signal(SIGPIPE, SIG_IGN);
	uint64_t rnd = seed;
	uint16_t port;
	int l = stress_listen(&port);
	long fds = 0, maps = 0, files = 0;

	/* The first rounds may leave what is kept for later use; after them nothing may grow. */
	settle = rounds < 20 ? rounds / 2 : 10;
	for (round_no = 0; round_no < rounds; round_no++) {
		if (round_no == settle) {
			fds = entries("/proc/self/fd");
			maps = mappings();
			files = entries("/dev/shm");
		}
		one_round(l, port, &rnd);
		if (verbose)
			printf("round %u %s\n", round_no, way_name[way]);
	}
	leftover("open descriptors", fds, entries("/proc/self/fd"), 4);
	leftover("mappings", maps, mappings(), 16);
	leftover("files in /dev/shm", files, entries("/dev/shm"), 0);
	if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
		bad("a child is left", 0);
	printf("%u rounds, seed %llu: the end came %lld us after the kill at worst, %lld us in the mean\n",
	       rounds, (unsigned long long)seed, (long long)worst_us,
	       (long long)(rounds ? sum_us / rounds : 0));
	return 0;
}
