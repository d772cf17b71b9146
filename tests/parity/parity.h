/* parity.h - harness of the parity programs: cases, connections and the far end of each of them
 *
 * A parity program is plain C with a list of cases. Every case prints normalised lines; the runner
 * (run_parity.sh) runs it natively and under ztcp_run and compares what was printed. So a case
 * never judges: the kernel's own answer, printed in the native run, is what is expected.
 *
 * A case is written once and gets a connection in several flavours. Its end `a` is always in
 * this process. Its end `b` is in this process too (self) or in a servant, a second process
 * made by exec of the same program, which runs functions sent to it over two pipes. The
 * functions end_*() hide the difference. Unless the case is cold, a few hundred small messages
 * have passed in both directions before it starts, so that the connection has been lifted.
 *
 * Used by the programs in this folder and, for the servant, by tests/stress. Single-threaded
 * except where a case makes threads; say() may be called from any of them.
 */
#ifndef TESTS_PARITY_PARITY_H
#define TESTS_PARITY_PARITY_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

/** Flavours of the connection a case is given; a case runs once for each bit. */
enum par_flavour {
	F_PLAIN = 1 << 0,  /* no connection: the case makes what it needs */
	F_SELF = 1 << 1,   /* both ends in this process, IPv4 */
	F_PAIR = 1 << 2,   /* the servant connects, this process accepts, IPv4 */
	F_DIAL = 1 << 3,   /* the servant accepts, this process connects, IPv4 */
	F_SELF6 = 1 << 4,  /* as F_SELF over IPv6 */
	F_PAIR6 = 1 << 5,  /* as F_PAIR over IPv6 */
	F_MAPPED = 1 << 6, /* as F_PAIR; an IPv6 listener, the servant comes over IPv4 */
	F_HALF = 1 << 7,   /* as F_PAIR; the servant runs without the library */
	F_COLD = 1 << 8,   /* no flavour: the connection is not warmed up */
	F_BOTH = F_SELF | F_PAIR,
	F_ANY = F_SELF | F_PAIR | F_DIAL | F_HALF,
};

#define PAR_BUF_MAX 65536 /* most bytes that go to or come from a function at the far end */

struct par_far;
struct par_job;

/** One end of a connection; tx and rx count the patterned bytes that went through it. */
struct end {
	struct par_far *far; /* NULL: in this process */
	struct par_job *job; /* a call that end_start() began */
	int fd;              /* valid in the process that holds the end */
	int dir;             /* which pattern it sends: 0 or 1 */
	uint64_t tx;
	uint64_t rx;
};

struct conn {
	struct end a;
	struct end b;
	int family;
	bool warm; /* the case is not cold: connections it makes itself should be warmed too */
};

struct par_case {
	const char *name;
	unsigned flavours;
	const char *about;
	void (*run)(struct conn *c);
	struct par_case *next;
};

void par_register(struct par_case *pc);

/** CASE() - define and register a case; @c is its connection (unused in plain cases) */
#define CASE(fn, flavours, about)                                                      \
	static void case_##fn(struct conn *c);                                         \
	static struct par_case entry_##fn = { #fn, flavours, about, case_##fn, NULL }; \
	__attribute__((constructor)) static void register_##fn(void)                   \
	{                                                                              \
		par_register(&entry_##fn);                                             \
	}                                                                              \
	static void case_##fn(struct conn *c __attribute__((unused)))

/**
 * say() - print one line with a single write, so that lines of several processes stay whole
 *
 * A line of another process than the case's own starts with "| "; the runner moves these to the
 * end, in the order in which they came.
 */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** show() - print "what = result", with the name of errno where the result is -1; keeps errno */
void show(const char *what, long r);
#define SHOW(expr) show(#expr, (long)(expr))

/** par_die() - the harness itself failed (not the subject): say so and exit 99 */
void par_die(const char *what) __attribute__((noreturn));
#define MUST(expr)                      \
	do {                            \
		if ((long)(expr) < 0)   \
			par_die(#expr); \
	} while (0)

/** par_skip() - this machine cannot run the case: say why and exit 77 */
void par_skip(const char *why) __attribute__((noreturn));

/** bad_pointer - points nowhere; volatile, so that the compiler does not know */
extern void *volatile bad_pointer;

/** poll_name() - poll or epoll bits as text; four results stay valid in each thread */
const char *poll_name(unsigned mask);
/** err_name() - name of an errno value, "0" for none */
const char *err_name(int err);

/* Connections ---------------------------------------------------------------------------- */

/** A function to run where an end is; @buf carries @len bytes in and, changed, out again */
typedef long end_fn(int fd, void *buf, size_t *len);

/** end_run() - run @fn where @e is; Return: its result, with its errno */
long end_run(struct end *e, end_fn *fn, void *buf, size_t *len);
/** end_start() - begin @fn where @e is (in a thread or the servant), without waiting */
void end_start(struct end *e, end_fn *fn, const void *buf, size_t len);
/** end_join() - wait for what end_start() began; @buf may be NULL */
long end_join(struct end *e, void *buf, size_t *len);
/** end_busy() - true if the started call has not ended after @ms milliseconds */
bool end_busy(struct end *e, int ms);

/** end_put() - write @n patterned bytes, however many calls it takes; Return: @n, or -1 */
long end_put(struct end *e, long n);
/** end_put1() - the same with a single write() */
long end_put1(struct end *e, long n);
/** end_get() - read exactly @n bytes, fewer only at the end of the stream, and check them */
long end_get(struct end *e, long n);
/** end_get1() - the same with a single read() of at most @n */
long end_get1(struct end *e, long n);
/** end_check() - check @n bytes that the case itself received at @e */
void end_check(struct end *e, const void *buf, long n);
/** end_fill() - the next @n bytes of the pattern that @e sends, to be sent by the case itself */
void end_fill(struct end *e, void *buf, long n);
/** end_put_start(), end_get_start() - end_put() and end_get() begun with end_start() */
void end_put_start(struct end *e, long n);
void end_get_start(struct end *e, long n);
long end_get_join(struct end *e);

int end_close(struct end *e);
int end_shutdown(struct end *e, int how);
int end_setopt(struct end *e, int level, int opt, int value);
int end_getopt(struct end *e, int level, int opt);
/** end_poll() - poll the end alone; Return: revents, 0 after @ms milliseconds, or -1 */
int end_poll(struct end *e, int events, int ms);
/** end_nonblock() - set or clear O_NONBLOCK */
int end_nonblock(struct end *e, bool on);
/** end_reset() - close it so that the other end is reset (SO_LINGER of 0) */
int end_reset(struct end *e);
/** end_kill() - SIGKILL the servant that holds the end and wait until it is gone */
void end_kill(struct end *e);

/** await() - poll @fd for @events for at most 5 s; Return: revents, 0 if nothing came */
int await(int fd, int events);

/** conn_open() - a further connection like the case's own, warmed up as that one was */
void conn_open(struct conn *like, struct conn *c);
/** conn_warm() - exchange @n small messages each way and leave nothing unread */
void conn_warm(struct conn *c, int n);
/** conn_same() - say whether both ends still carry bytes: @n each way, checked */
void conn_same(struct conn *c, long n);

/** par_host() - address of IPv4, in host order, that this host answers to: 127.0.0.1, or the stack's (parity_end.c) */
uint32_t par_host(void);

/** listen_any() - a listening socket on a free port of par_host(); *@sa is filled */
int listen_any(int family, int backlog, struct sockaddr_storage *sa, socklen_t *len);
/** pair_open() - an in-process IPv4 connection as two plain numbers, not warmed up */
void pair_open(int fd[2]);
/** pair_warm() - warm up a connection whose two ends are in this process */
void pair_warm(int x, int y, int n);

/* Time, children ------------------------------------------------------------------------- */

/** now_us() - the monotonic clock in microseconds */
int64_t now_us(void);
/** say_waited() - say whether at least @ms passed since @t0 (1 ms of rounding is forgiven) */
void say_waited(const char *what, int64_t t0, int ms);

/**
 * say_waited_ticks() - the same of a socket's time-out (SO_RCVTIMEO, SO_SNDTIMEO)
 *
 * The kernel counts it in ticks, and its count may be one behind when the call begins: the kernel itself was seen to be
 * early by that much in a guest that had not run for a while. A tick is 10 ms at most.
 */
void say_waited_ticks(const char *what, int64_t t0, int ms);
void sleep_ms(int ms);
/**
 * await_reset() - wait until a reset that was provoked has come
 *
 * It comes without delay over the loopback, and when the stack's thread has its turn over a wire.
 */
void await_reset(int fd);
/** reap() - wait for a child and say how it ended */
void reap(const char *who, pid_t pid);
/** hold() - run @fn(@arg) in a thread of its own */
pthread_t hold(void *(*fn)(void *), void *arg);

#endif
