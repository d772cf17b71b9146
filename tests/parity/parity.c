/* parity.c - the parity programs' main(): list and run cases, print, small tools
 *
 * `prog --list` prints a line for each case and flavour, `prog NAME.FLAVOUR` runs one of them in
 * this process, `prog --servant IN OUT` is the far end that parity_end.c starts by exec.
 */
#include "tests/parity/parity.h"
#include "tests/parity/parity_priv.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <time.h>

void *volatile bad_pointer = (void *)8;
static struct par_case *cases, **cases_end = &cases;

static const struct {
	unsigned bit;
	const char *name;
} flavours[] = {
	{ F_PLAIN, "plain" }, { F_SELF, "self" },   { F_PAIR, "pair" },     { F_DIAL, "dial" },
	{ F_SELF6, "self6" }, { F_PAIR6, "pair6" }, { F_MAPPED, "mapped" }, { F_HALF, "half" },
};

void par_register(struct par_case *pc)
{
	*cases_end = pc;
	cases_end = &pc->next;
}

/* What other processes than the case's own print is marked: the runner sets it apart, because
 * the order of lines of two processes is nobody's promise. */
static const char *mark(void)
{
	const char *pid = getenv("PARITY_PID");

	return pid && atol(pid) != getpid() ? "| " : "";
}

void say(const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int keep = errno, n = snprintf(line, sizeof(line), "%s", mark());

	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - 1 - n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, n) != n)
		_exit(98);
	errno = keep;
}

const char *err_name(int err)
{
	const char *name = err ? strerrorname_np(err) : "0";

	return name ? name : "unknown errno";
}

void show(const char *what, long r)
{
	if (r == -1)
		say("%s = -1 %s", what, err_name(errno));
	else
		say("%s = %ld", what, r);
}

void par_die(const char *what)
{
	say("harness: %s: %s", what, err_name(errno));
	_exit(99);
}

void par_skip(const char *why)
{
	say("skip: %s", why);
	_exit(77);
}

const char *poll_name(unsigned mask)
{
	static const struct {
		unsigned bit;
		const char *name;
	} bits[] = {
		{ POLLIN, "IN" },         { POLLPRI, "PRI" },       { POLLOUT, "OUT" },
		{ POLLERR, "ERR" },       { POLLHUP, "HUP" },       { POLLNVAL, "NVAL" },
		{ POLLRDNORM, "RDNORM" }, { POLLRDBAND, "RDBAND" }, { POLLWRNORM, "WRNORM" },
		{ POLLWRBAND, "WRBAND" }, { POLLRDHUP, "RDHUP" },
	};
	static _Thread_local char text[4][96];
	static _Thread_local unsigned turn;
	char *out = text[turn++ % 4];

	out[0] = 0;
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		if (!(mask & bits[i].bit))
			continue;
		if (out[0])
			strcat(out, "|");
		strcat(out, bits[i].name);
	}
	return out[0] ? out : "none";
}

int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

void say_waited(const char *what, int64_t t0, int ms)
{
	say("%s: %s", what, now_us() - t0 >= (ms - 1) * 1000LL ? "not too early" : "TOO EARLY");
}

void say_waited_ticks(const char *what, int64_t t0, int ms)
{
	say_waited(what, t0, ms - 10);
}

void sleep_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

void await_reset(int fd)
{
	struct sockaddr_storage sa;

	sleep_ms(50);
	for (int i = 0; i < 5000 && par_host() != INADDR_LOOPBACK; i++) {
		socklen_t len = sizeof(sa);

		if (getpeername(fd, (struct sockaddr *)&sa, &len))
			return;
		sleep_ms(1);
	}
}

void reap(const char *who, pid_t pid)
{
	int st;

	if (waitpid(pid, &st, 0) != pid)
		say("%s: not waited for: %s", who, err_name(errno));
	else if (WIFSIGNALED(st))
		say("%s: signal %s", who, sigabbrev_np(WTERMSIG(st)));
	else
		say("%s: exit %d", who, WEXITSTATUS(st));
}

pthread_t hold(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, arg))
		par_die("pthread_create");
	return t;
}

static void list(void)
{
	for (struct par_case *pc = cases; pc; pc = pc->next)
		for (size_t i = 0; i < sizeof(flavours) / sizeof(flavours[0]); i++)
			if (pc->flavours & flavours[i].bit)
				say("%s.%s\t%s\t%s", pc->name, flavours[i].name,
				    flavours[i].bit == F_PLAIN  ? "plain"
				    : pc->flavours & F_COLD     ? "cold"
				    : flavours[i].bit == F_HALF ? "half"
								: "warm",
				    pc->about);
}

static void run(struct par_case *pc, unsigned flavour)
{
	struct conn c = { .a.fd = -1, .b.fd = -1 };
	char pid[12];

	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("PARITY_PID", pid, 1);
	if (flavour != F_PLAIN)
		par_conn_make(&c, flavour, !(pc->flavours & F_COLD));
	pc->run(&c);
	say("end");
	par_far_end();
	exit(0);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--servant"))
		par_servant(atoi(argv[2]), atoi(argv[3]));
	if (argc >= 3 && !strcmp(argv[1], "--exec"))
		return par_exec_main(argc - 2, argv + 2);
	if (argc != 2) {
		fprintf(stderr, "usage: %s --list | CASE.FLAVOUR\n", argv[0]);
		return 2;
	}
	if (!strcmp(argv[1], "--list")) {
		list();
		return 0;
	}
	for (struct par_case *pc = cases; pc; pc = pc->next) {
		size_t n = strlen(pc->name);

		if (strncmp(argv[1], pc->name, n) || argv[1][n] != '.')
			continue;
		for (size_t i = 0; i < sizeof(flavours) / sizeof(flavours[0]); i++)
			if (pc->flavours & flavours[i].bit &&
			    !strcmp(argv[1] + n + 1, flavours[i].name))
				run(pc, flavours[i].bit);
	}
	fprintf(stderr, "%s: no case %s\n", argv[0], argv[1]);
	return 2;
}

__attribute__((weak)) int par_exec_main(int argc, char **argv)
{
	(void)argc;
	say("harness: this program has nothing to run by --exec %s", argv[0]);
	return 99;
}
