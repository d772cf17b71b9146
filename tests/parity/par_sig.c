/* par_sig.c - parity of signals: EINTR, SA_RESTART, masks, handlers that use the socket, cancellation */
#include "tests/parity/parity.h"

#include <netinet/in.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

static char buf[1 << 16];
static volatile sig_atomic_t seen;

static void on_alarm(int sig)
{
	(void)sig;
	seen++;
}

static void handle(int sig, void (*fn)(int), int flags)
{
	struct sigaction sa = { .sa_handler = fn, .sa_flags = flags };

	MUST(sigaction(sig, &sa, NULL));
}

/* One SIGALRM in @ms milliseconds. */
static void alarm_ms(int ms)
{
	struct itimerval t = { .it_value = { 0, ms * 1000 } };

	seen = 0;
	MUST(setitimer(ITIMER_REAL, &t, NULL));
}

/* The same every @ms milliseconds, in case one comes before the call that it shall end. */
static void alarm_every(int ms)
{
	struct itimerval t = { { 0, ms * 1000 }, { 0, ms * 1000 } };

	seen = 0;
	MUST(setitimer(ITIMER_REAL, &t, NULL));
}

static void alarm_off(void)
{
	struct itimerval t = { { 0, 0 }, { 0, 0 } };

	MUST(setitimer(ITIMER_REAL, &t, NULL));
}

static long late_put(int fd, void *arg, size_t *len)
{
	(void)len;
	sleep_ms(*(int *)arg);
	return write(fd, "late!", 5);
}

/* The far end must be another process: a thread of this one could take the signal. */
static void late(struct conn *c, int ms)
{
	end_start(&c->b, late_put, &ms, sizeof(ms));
}

CASE(eintr_reads, F_ANY, "a handler without SA_RESTART ends every receive call with EINTR")
{
	struct iovec v = { buf, 10 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct mmsghdr mm = { m, 0 };

	handle(SIGALRM, on_alarm, 0);
	alarm_every(20);
	SHOW(read(c->a.fd, buf, 10));
	SHOW(recv(c->a.fd, buf, 10, 0));
	SHOW(recv(c->a.fd, buf, 10, MSG_WAITALL));
	SHOW(recv(c->a.fd, buf, 10, MSG_PEEK));
	SHOW(recvfrom(c->a.fd, buf, 10, 0, NULL, NULL));
	SHOW(readv(c->a.fd, &v, 1));
	SHOW(recvmsg(c->a.fd, &m, 0));
	SHOW(recvmmsg(c->a.fd, &mm, 1, 0, NULL));
	alarm_off();
	say("signals: %d", seen >= 8);
	conn_same(c, 2000);
}

/*
 * A wait begins by looking at memory, or at a device, for some time. A signal that comes before the call does, on a busy
 * machine, ends nothing; then the next one has to. Whether the first of them came inside the call is seen from the stack
 * that it has interrupted: a call that the case makes itself lies below what the case uses.
 */
static char
	*volatile outside; /* the case's own end of the stack; NULL: it has not got to the call */
static volatile sig_atomic_t inside;

static void on_first(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *at = context;

	(void)sig;
	(void)info;
	if (!seen++)
		inside = outside && (char *)at->uc_mcontext.gregs[REG_RSP] < outside;
}

static void handle_first(void)
{
	struct sigaction sa = { .sa_sigaction = on_first, .sa_flags = SA_SIGINFO };

	MUST(sigaction(SIGALRM, &sa, NULL));
}

/* Not inlined: where it calls from is the same in each round, and it needs no stack but what it has from the start. */
static __attribute__((noinline)) long wait_by(int kind, int fd, int ep)
{
	struct pollfd p = { fd, POLLIN, 0 };
	struct epoll_event e;
	char *here;
	long r;

	__asm__ volatile("mov %%rsp, %0" : "=r"(here));
	outside = here;
	r = kind == 0 ? read(fd, buf, 1) : kind == 1 ? poll(&p, 1, -1) : epoll_wait(ep, &e, 1, -1);
	outside = NULL;
	return r;
}

CASE(eintr_early, F_ANY, "a signal in the first 200 us of a wait ends it with EINTR, 300 times")
{
	struct epoll_event e = { .events = EPOLLIN };
	int ep = epoll_create1(0), ended = 0, again = 0;

	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	handle_first();
	for (int i = 0; i < 300; i++) {
		struct itimerval t = { { 0, 20000 }, { 0, 40 + i * 7 % 160 } };
		long r;

		end_put(&c->b, 10);
		end_get(&c->a, 10);
		seen = inside = 0;
		MUST(setitimer(ITIMER_REAL, &t, NULL));
		r = wait_by(i % 3, c->a.fd, ep);
		ended += r == -1 && errno == EINTR;
		alarm_off();
		again += seen > 1 && inside;
	}
	SHOW(ended);
	say("at the first signal: %s", again <= 30 ? "nearly always" : "seldom");
	close(ep);
	conn_same(c, 1000);
}

CASE(restart_read, F_PAIR | F_DIAL | F_HALF, "SA_RESTART: read goes on after the handler")
{
	handle(SIGALRM, on_alarm, SA_RESTART);
	alarm_ms(20);
	late(c, 80);
	SHOW(read(c->a.fd, buf, 10));
	end_join(&c->b, NULL, NULL);
	say("signals %d", (int)seen);
	alarm_ms(20);
	late(c, 80);
	SHOW(recv(c->a.fd, buf, 5, MSG_WAITALL));
	end_join(&c->b, NULL, NULL);
	say("signals %d", (int)seen);
}

CASE(timeo_not_restarted, F_ANY, "with SO_RCVTIMEO even SA_RESTART gives EINTR")
{
	struct timeval t = { 5, 0 };

	SHOW(setsockopt(c->a.fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	handle(SIGALRM, on_alarm, SA_RESTART);
	alarm_every(20);
	SHOW(read(c->a.fd, buf, 10));
	alarm_off();
	say("signals: %d", seen >= 1);
}

CASE(waitall_partial, F_PAIR | F_DIAL, "a signal in MSG_WAITALL returns what is there")
{
	handle(SIGALRM, on_alarm, 0);
	SHOW(end_put1(&c->b, 7));
	await(c->a.fd, POLLIN);
	alarm_every(20);
	SHOW(recv(c->a.fd, buf, 100, MSG_WAITALL));
	alarm_off();
	end_check(&c->a, buf, 7);
	conn_same(c, 1000);
}

CASE(eintr_write, F_PAIR | F_DIAL, "a blocked write is ended by a signal; what it took arrives")
{
	static char big[16 << 20];

	handle(SIGALRM, on_alarm, 0);
	end_fill(&c->a, big, sizeof(big));
	alarm_every(50);
	ssize_t n = write(c->a.fd, big, sizeof(big));

	say("partial: %d", n > 0 && n < (ssize_t)sizeof(big));
	ssize_t r;

	do
		r = write(c->a.fd, big + n, sizeof(big) - n);
	while (r > 0 && (n += r) < (ssize_t)sizeof(big));
	alarm_off();
	SHOW(r);
	say("arrives: %d", end_get(&c->b, n) == n);
}

CASE(restart_write, F_PAIR | F_DIAL, "SA_RESTART: a write that has taken nothing goes on")
{
	handle(SIGALRM, on_alarm, SA_RESTART);
	end_nonblock(&c->a, true);
	while (end_put1(&c->a, 65536) > 0)
		;
	long full = c->a.tx;

	end_nonblock(&c->a, false);
	alarm_ms(20);
	end_get_start(&c->b, full);
	SHOW(end_put1(&c->a, 1000));
	say("arrives: %d", end_get_join(&c->b) == full);
	SHOW(end_get(&c->b, 1000));
}

CASE(eintr_waits, F_ANY, "poll, select and epoll_wait give EINTR, SA_RESTART or not")
{
	int ep = epoll_create1(0);
	struct epoll_event e = { EPOLLIN, { 0 } };
	struct pollfd p = { c->a.fd, POLLIN, 0 };
	struct timespec ts = { 5, 0 };
	fd_set r;

	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	for (int restart = 0; restart < 2; restart++) {
		handle(SIGALRM, on_alarm, restart ? SA_RESTART : 0);
		alarm_every(20);
		SHOW(poll(&p, 1, 5000));
		SHOW(ppoll(&p, 1, &ts, NULL));
		FD_ZERO(&r);
		FD_SET(c->a.fd, &r);
		SHOW(select(c->a.fd + 1, &r, NULL, NULL, NULL));
		SHOW(pselect(c->a.fd + 1, &r, NULL, NULL, &ts, NULL));
		SHOW(epoll_wait(ep, &e, 1, 5000));
		SHOW(epoll_pwait(ep, &e, 1, -1, NULL));
		SHOW(epoll_pwait2(ep, &e, 1, &ts, NULL));
		alarm_off();
	}
	conn_same(c, 1000);
}

static long echo(int fd, void *arg, size_t *len)
{
	char b;

	(void)arg;
	(void)len;
	while (read(fd, &b, 1) == 1 && b != 'q')
		if (write(fd, &b, 1) != 1)
			return -1;
	return 0;
}

/* How often this thread was pushed off its processor: then a signal may have come before the call, natively too. */
static long pushed(void)
{
	struct rusage u;

	MUST(getrusage(RUSAGE_THREAD, &u));
	return u.ru_nivcsw;
}

/*
 * A call that is answered at once, and one that only a signal ends: 30 us later, or else 10 ms.
 * Return: 1 for the first, -1 for the second, 0 where it tells nothing.
 */
static int ended_soon(struct conn *c, int kind, int ep)
{
	struct itimerval t = { { 0, 10000 }, { 0, 30 } };
	long r, before;

	for (int i = 0; i < 10; i++)
		if (write(c->a.fd, "p", 1) != 1 || read(c->a.fd, buf, 1) != 1)
			par_die("echo");
	seen = inside = 0;
	before = pushed();
	MUST(setitimer(ITIMER_REAL, &t, NULL));
	r = wait_by(kind, c->a.fd, ep);
	alarm_off();
	if (r != -1 || errno != EINTR)
		par_die("not EINTR");
	return pushed() != before || !inside ? 0 : seen == 1 ? 1 : -1;
}

CASE(eintr_soon, F_PAIR | F_DIAL, "a signal soon after a call has begun to wait ends it")
{
	static const char *const name[] = { "read", "poll", "epoll_wait" };
	enum { ROUNDS = 40 };
	int ep = epoll_create1(0);
	struct epoll_event e = { EPOLLIN, { 0 } };

	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	handle_first();
	end_start(&c->b, echo, NULL, 0);
	for (int kind = 0; kind < 3; kind++) {
		int soon = 0;

		for (int i = 0; i < ROUNDS; i++)
			soon += ended_soon(c, kind, ep);
		/* on a busy machine nearly all may tell nothing: then a single late one is chance */
		say("%s: %d", name[kind], soon > -ROUNDS / 4);
	}
	SHOW(write(c->a.fd, "q", 1));
	SHOW(end_join(&c->b, NULL, NULL));
}

CASE(restart_partial, F_PAIR | F_DIAL, "SA_RESTART: what has taken some bytes returns them")
{
	static char big[16 << 20];
	ssize_t n;

	handle(SIGALRM, on_alarm, SA_RESTART);
	SHOW(end_put1(&c->b, 7));
	await(c->a.fd, POLLIN);
	alarm_every(20);
	SHOW(recv(c->a.fd, buf, 100, MSG_WAITALL));
	end_check(&c->a, buf, 7);
	end_fill(&c->a, big, sizeof(big));
	n = write(c->a.fd, big, sizeof(big));
	alarm_off();
	say("partial: %d", n > 0 && n < (ssize_t)sizeof(big));
	say("arrives: %d", end_get(&c->b, n) == n);
}

CASE(eintr_accept, F_PLAIN, "accept: EINTR without SA_RESTART")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 4, &sa, &len);

	handle(SIGALRM, on_alarm, 0);
	alarm_every(20);
	SHOW(accept(l, NULL, NULL));
	SHOW(accept4(l, NULL, NULL, SOCK_CLOEXEC));
	alarm_off();
}

CASE(blocked_signal, F_PAIR | F_DIAL, "a blocked signal ends nothing; it comes when let in")
{
	sigset_t set;

	handle(SIGALRM, on_alarm, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	alarm_ms(10);
	late(c, 60);
	SHOW(read(c->a.fd, buf, 10));
	end_join(&c->b, NULL, NULL);
	say("signals %d", (int)seen);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	say("signals %d", (int)seen);
}

CASE(ignored_signal, F_PAIR | F_DIAL, "an ignored signal ends nothing")
{
	handle(SIGALRM, SIG_IGN, 0);
	alarm_every(10);
	late(c, 60);
	SHOW(read(c->a.fd, buf, 10));
	end_join(&c->b, NULL, NULL);
	struct pollfd p = { c->a.fd, POLLIN, 0 };

	SHOW(poll(&p, 1, 60));
	alarm_off();
}

static struct conn *used;

static void on_write(int sig)
{
	int keep = errno;

	(void)sig;
	if (write(used->a.fd, "!", 1) == 1)
		seen++;
	errno = keep;
}

static long count(int fd, void *arg, size_t *len)
{
	static char b[65536];
	long sum = 0;
	ssize_t n;

	(void)arg;
	(void)len;
	while ((n = read(fd, b, sizeof(b))) > 0)
		sum += n;
	return n < 0 ? -1 : sum;
}

CASE(handler_writes, F_PAIR | F_DIAL | F_HALF,
     "a handler writes to the socket that is being written")
{
	long bytes = 0;

	used = c;
	handle(SIGALRM, on_write, SA_RESTART);
	end_start(&c->b, count, NULL, 0);
	alarm_every(1);
	for (int64_t t0 = now_us(); now_us() - t0 < 80000 || !seen;) {
		ssize_t n = write(c->a.fd, "0123456789", 10);

		bytes += n > 0 ? n : 0;
	}
	alarm_off();
	bytes += seen;
	SHOW(end_shutdown(&c->a, SHUT_WR));
	say("all arrived: %d", end_join(&c->b, NULL, NULL) == bytes);
}

static void on_read(int sig)
{
	char x;
	int keep = errno;

	(void)sig;
	if (recv(used->a.fd, &x, 1, MSG_DONTWAIT) == 1)
		seen++;
	errno = keep;
}

CASE(handler_reads, F_PAIR | F_DIAL, "a handler reads from the socket that is being read")
{
	long sum = 0;

	used = c;
	handle(SIGALRM, on_read, SA_RESTART);
	end_put_start(&c->b, 200000);
	alarm_every(1);
	while (sum + seen < 200000) {
		ssize_t n = recv(c->a.fd, buf, 10, MSG_DONTWAIT);

		sum += n > 0 ? n : 0;
	}
	alarm_off();
	end_join(&c->b, NULL, NULL);
	say("all: %d", sum + seen == 200000);
	SHOW(recv(c->a.fd, buf, 10, MSG_DONTWAIT));
}

CASE(handler_polls, F_PAIR | F_DIAL, "a handler reads while the program polls")
{
	used = c;
	handle(SIGALRM, on_read, SA_RESTART);
	alarm_every(5);
	late(c, 60);
	for (int i = 0; i < 100; i++) {
		struct pollfd p = { c->a.fd, POLLIN, 0 };
		int r = poll(&p, 1, 5000);

		if (r == 1 || seen == 5)
			break;
	}
	alarm_off();
	end_join(&c->b, NULL, NULL);
	ssize_t n = recv(c->a.fd, buf, 10, MSG_DONTWAIT);

	say("all: %d", (n > 0 ? n : 0) + seen == 5);
}

static sigjmp_buf out;

static void on_jump(int sig)
{
	(void)sig;
	siglongjmp(out, 1);
}

CASE(jump_out, F_ANY, "siglongjmp out of a blocked read, then of poll; the connection is whole")
{
	handle(SIGALRM, on_jump, 0);
	for (int i = 0; i < 5; i++) {
		if (!sigsetjmp(out, 1)) {
			alarm_ms(20);
			if (i % 2) {
				struct pollfd p = { c->a.fd, POLLIN, 0 };

				poll(&p, 1, 5000);
			} else {
				read(c->a.fd, buf, 1) == 1 ? say("read?") : (void)0;
			}
			say("not reached");
		}
		conn_same(c, 500);
	}
}

CASE(jump_out_close, F_PAIR | F_DIAL | F_COLD,
     "siglongjmp out of calls on a connection that was hardly used; its close is seen")
{
	handle(SIGALRM, on_jump, 0);
	for (volatile int i = 0; i < 4; i++) {
		if (!sigsetjmp(out, 1)) {
			struct pollfd p = { c->a.fd, POLLIN, 0 };
			struct timeval tv = { 5, 0 };
			fd_set r;

			FD_ZERO(&r);
			FD_SET(c->a.fd, &r);
			alarm_ms(20);
			if (i == 0)
				read(c->a.fd, buf, 1) == 1 ? say("read?") : (void)0;
			else if (i == 1)
				poll(&p, 1, 5000);
			else if (i == 2)
				select(c->a.fd + 1, &r, NULL, NULL, &tv);
			else
				recv(c->a.fd, buf, 1, 0) == 1 ? say("read?") : (void)0;
			say("not reached");
		}
	}
	SHOW(end_close(&c->a));
	SHOW(end_get1(&c->b, 1));
}

CASE(jump_out_of_write, F_PAIR | F_DIAL, "siglongjmp out of a blocked write")
{
	static char big[16 << 20];

	handle(SIGALRM, on_jump, 0);
	if (!sigsetjmp(out, 1)) {
		alarm_ms(50);
		say("not reached %zd", write(c->a.fd, big, sizeof(big)));
	}
	SHOW(end_shutdown(&c->a, SHUT_WR));
	say("something arrived: %d", end_run(&c->b, count, NULL, NULL) > 0);
}

struct victim {
	int fd;
	int how;
};

static void *blocked(void *arg)
{
	struct victim *v = arg;
	struct epoll_event e = { EPOLLIN, { 0 } };
	struct pollfd p = { v->fd, POLLIN, 0 };
	char x;

	if (v->how == 0)
		return read(v->fd, &x, 1) == 1 ? arg : NULL;
	if (v->how == 1)
		return poll(&p, 1, -1) == 1 ? arg : NULL;
	if (v->how == 2)
		return recv(v->fd, &x, 1, 0) == 1 ? arg : NULL;
	int ep = epoll_create1(0);

	epoll_ctl(ep, EPOLL_CTL_ADD, v->fd, &e);
	return epoll_wait(ep, &e, 1, -1) == 1 ? arg : NULL;
}

CASE(cancel_close, F_PAIR | F_DIAL | F_COLD,
     "pthread_cancel ends calls on a connection that was hardly used; its close is seen")
{
	for (int i = 0; i < 3; i++) {
		struct victim v = { c->a.fd, i };
		void *r = NULL;
		pthread_t t = hold(blocked, &v);

		sleep_ms(20);
		SHOW(pthread_cancel(t));
		MUST(pthread_join(t, &r));
		say("cancelled: %d", r == PTHREAD_CANCELED);
	}
	SHOW(end_close(&c->a));
	SHOW(end_get1(&c->b, 1));
}

CASE(cancel, F_ANY, "pthread_cancel ends read, poll, recv and epoll_wait; the connection is whole")
{
	for (int i = 0; i < 4; i++) {
		struct victim v = { c->a.fd, i };
		void *r = NULL;
		pthread_t t = hold(blocked, &v);

		sleep_ms(20);
		SHOW(pthread_cancel(t));
		pthread_join(t, &r);
		say("cancelled: %d", r == PTHREAD_CANCELED);
		conn_same(c, 500);
	}
}

CASE(signal_thread, F_ANY, "pthread_kill ends the read of that thread only")
{
	struct conn d;
	struct victim v = { c->a.fd, 0 }, w;
	void *r;

	handle(SIGUSR1, on_alarm, 0);
	conn_open(c, &d);
	w = (struct victim){ d.a.fd, 0 };
	pthread_t t = hold(blocked, &v), u = hold(blocked, &w);

	/* one that comes before the thread waits ends nothing, natively neither */
	do {
		sleep_ms(20);
		pthread_kill(t, SIGUSR1);
		sleep_ms(20);
	} while (pthread_tryjoin_np(t, &r) == EBUSY);
	say("interrupted: %d", r == NULL);
	SHOW(end_put1(&d.b, 1));
	pthread_join(u, &r);
	say("read: %d", r == &w);
	d.a.rx++;
	conn_same(c, 500);
	conn_same(&d, 500);
}

/* ---- whose a signal to the process is ---- */

/* What comes between a thread's look and its sleep may go astray, architecture.md: once in a thousand; unmended it is 4 of 20 and more. */
enum { WHOSE_ROUNDS = 20, WHOSE_STRAY = 2 };

static volatile sig_atomic_t whose_other, whose_stop, whose_last;
static int whose_pipe[2];
static sem_t whose_begun, whose_end;

static void on_whose(int sig)
{
	const int saved = errno;

	whose_other += gettid() != getpid();
	whose_last = sig == SIGUSR2;
	sem_post(&whose_end);
	errno = saved;
}

/* At the far end: a byte each millisecond until something comes. */
static long drip(int fd, void *arg, size_t *len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	(void)arg, (void)len;
	while (poll(&p, 1, 1) == 0)
		MUST(write(fd, "", 1));
	return 0;
}

/* A thread that wakes for each byte, by every kind of wait. */
static void *whose_wakes(void *arg)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };
	int ep = epoll_create1(0);
	char byte;

	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, p.fd, &ev));
	sem_post(&whose_begun);
	for (unsigned i = 0; !whose_stop; i++) {
		if (i % 3 == 0)
			poll(&p, 1, -1);
		else if (i % 3 == 1)
			epoll_wait(ep, &ev, 1, -1);
		(void)!read(p.fd, &byte, 1);
	}
	close(ep);
	return NULL;
}

/* Wants the CPU of the main thread, so that this comes late to what it is woken for. */
static void *whose_hog(void *arg)
{
	sem_post(&whose_begun);
	while (!whose_stop)
		;
	return arg;
}

/* One signal after the other: the next when the last has been handled. */
static void whose_send(pid_t to)
{
	const struct timespec gap = { 0, 5000000 };
	char byte;

	for (int i = 0; i <= WHOSE_ROUNDS; i++) {
		clock_nanosleep(CLOCK_MONOTONIC, 0, &gap, NULL);
		if (kill(to, i < WHOSE_ROUNDS ? SIGUSR1 : SIGUSR2) ||
		    read(whose_pipe[0], &byte, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

/* As a server whose main thread waits without end, and handles signals there only. */
CASE(main_takes, F_PAIR | F_DIAL,
     "a signal to the process is the main thread's, which waits, whatever another thread does")
{
	pthread_t wakes, hog;
	cpu_set_t all, one;
	pid_t child;
	int status;

	MUST(pipe(whose_pipe));
	MUST(sem_init(&whose_begun, 0, 0));
	MUST(sem_init(&whose_end, 0, 0));
	handle(SIGUSR1, on_whose, SA_RESTART);
	handle(SIGUSR2, on_whose, SA_RESTART);
	end_start(&c->b, drip, NULL, 0);
	MUST(sched_getaffinity(0, sizeof(all), &all));
	MUST(-pthread_create(&wakes, NULL, whose_wakes, &c->a.fd));
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	MUST(sched_setaffinity(0, sizeof(one), &one));
	MUST(-pthread_create(&hog, NULL, whose_hog, NULL));
	sem_wait(&whose_begun); /* a thread that begins changes its mask, natively too */
	sem_wait(&whose_begun);
	child = fork();
	MUST(child);
	if (child == 0) {
		sched_setaffinity(0, sizeof(all), &all);
		whose_send(getppid());
	}
	MUST(setpriority(PRIO_PROCESS, 0, 10));
	while (!whose_last) { /* told when the handler has ended: while it runs the signal is another thread's */
		while (sem_wait(&whose_end) < 0)
			;
		MUST(write(whose_pipe[1], "", 1));
	}
	whose_stop = 1;
	pthread_join(hog, NULL);
	sched_setaffinity(0, sizeof(all), &all);
	pthread_join(wakes, NULL);
	MUST(waitpid(child, &status, 0));
	say("%d signals sent, status %d, in another thread: %s", WHOSE_ROUNDS + 1, status,
	    whose_other <= WHOSE_STRAY ? "hardly any" : "many");
	MUST(write(c->a.fd, "", 1));
	end_join(&c->b, NULL, NULL);
}

static void on_fork(int sig)
{
	pid_t pid = fork();

	(void)sig;
	if (!pid)
		_exit(0);
	seen++;
}

CASE(handler_forks, F_PAIR | F_DIAL, "a handler forks while the program writes")
{
	used = c;
	signal(SIGCHLD, SIG_IGN);
	handle(SIGALRM, on_fork, SA_RESTART);
	end_get_start(&c->b, 300000);
	alarm_every(5);
	for (int i = 0; i < 300; i++)
		if (end_put(&c->a, 1000) != 1000)
			say("short");
	while (!seen)
		;
	alarm_off();
	SHOW(end_get_join(&c->b));
}

CASE(alarm_storm, F_PAIR | F_DIAL | F_HALF, "a signal every millisecond while 2 MB go each way")
{
	handle(SIGALRM, on_alarm, SA_RESTART);
	alarm_every(1);
	end_get_start(&c->b, 2 << 20);
	for (long done = 0; done < 2 << 20;) {
		long r = end_put1(&c->a, (2 << 20) - done);

		if (r <= 0)
			break;
		done += r;
	}
	say("there: %d", end_get_join(&c->b) == 2 << 20);
	end_put_start(&c->b, 2 << 20);
	say("back: %d", end_get(&c->a, 2 << 20) == 2 << 20);
	alarm_off();
	end_join(&c->b, NULL, NULL);
}
