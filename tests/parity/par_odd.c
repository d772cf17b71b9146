/* par_odd.c - parity of odd places: little stack, stops, bounds, calls that do not wait, numbers taken from under a call */
#include "tests/parity/parity.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

static char buf[1 << 16];
static volatile sig_atomic_t seen;

static void on_signal(int sig)
{
	(void)sig;
	seen++;
}

static void handle(int sig, void (*fn)(int), int flags)
{
	struct sigaction sa = { .sa_handler = fn, .sa_flags = flags };

	MUST(sigaction(sig, &sa, NULL));
}

static void say_seen(const char *what, long r)
{
	show(what, r);
	say("seen: %d", (int)seen);
}

/* ---- masks ---- */

CASE(mask_now, F_ANY, "ppoll, pselect and epoll_pwait that do not wait, with a signal held back")
{
	struct timespec zero = { 0, 0 }, second = { 1, 0 };
	struct pollfd p = { c->a.fd, POLLIN, 0 };
	struct epoll_event e = { .events = EPOLLIN };
	int ep = epoll_create1(0);
	sigset_t none, usr1;
	fd_set rd;

	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	handle(SIGUSR1, on_signal, 0);
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	raise(SIGUSR1);
	say_seen("poll", poll(&p, 1, 0));
	say_seen("ppoll", ppoll(&p, 1, &zero, &none));
	raise(SIGUSR1);
	FD_ZERO(&rd);
	FD_SET(c->a.fd, &rd);
	say_seen("pselect", pselect(c->a.fd + 1, &rd, NULL, NULL, &zero, &none));
	raise(SIGUSR1);
	say_seen("epoll_pwait, 0", epoll_pwait(ep, &e, 1, 0, &none));
	say_seen("epoll_pwait", epoll_pwait(ep, &e, 1, 1000, &none));
	raise(SIGUSR1);
	say_seen("ppoll, 1 s", ppoll(&p, 1, &second, &none));
	/* what is there comes first */
	SHOW(end_put1(&c->b, 5));
	await(c->a.fd, POLLIN);
	raise(SIGUSR1);
	say_seen("ppoll, ready", ppoll(&p, 1, &zero, &none));
	FD_SET(c->a.fd, &rd);
	say_seen("pselect, ready", pselect(c->a.fd + 1, &rd, NULL, NULL, &zero, &none));
	say_seen("epoll_pwait, ready", epoll_pwait(ep, &e, 1, 1000, &none));
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
	say("seen: %d", (int)seen);
	SHOW(end_get(&c->a, 5));
	conn_same(c, 500);
}

/* ---- stops ---- */

/* The far end stops this process and lets it go on, and writes at last. */
static long stop_and_go(int fd, void *arg, size_t *len)
{
	pid_t pid = *(pid_t *)arg;

	(void)len;
	sleep_ms(80);
	kill(pid, SIGSTOP);
	sleep_ms(80);
	kill(pid, SIGCONT);
	sleep_ms(150);
	return write(fd, "late!", 5);
}

CASE(stopped, F_PAIR | F_DIAL, "a process that is stopped in a call and goes on")
{
	struct epoll_event e = { .events = EPOLLIN };
	struct pollfd p = { c->a.fd, POLLIN, 0 };
	int ep = epoll_create1(0);
	pid_t self = getpid();

	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	for (int kind = 0; kind < 3; kind++) {
		end_start(&c->b, stop_and_go, &self, sizeof(self));
		if (kind == 1)
			SHOW(poll(&p, 1, 5000));
		else if (kind == 2)
			SHOW(epoll_wait(ep, &e, 1, 5000));
		SHOW(recv(c->a.fd, buf, 100, 0));
		SHOW(end_join(&c->b, NULL, NULL));
	}
	conn_same(c, 500);
}

/* ---- little stack ---- */

static struct {
	int fd, ep, many[40];
	long r[8];
} job;

static long echo_five(int fd, void *arg, size_t *len)
{
	(void)len;
	for (int i = 0; i < *(int *)arg; i++) {
		char b[5];

		if (recv(fd, b, 5, MSG_WAITALL) != 5 || write(fd, b, 5) != 5)
			return -1;
	}
	return 0;
}

/* Every kind of call, each with an answer to wait for, which may come while a call is looking: some numbers are ready then. */
static void all_calls(int sig)
{
	struct pollfd p[40];
	struct epoll_event e;
	struct timeval five = { 5, 0 };
	fd_set rd;
	char b[5];

	(void)sig;
	for (int i = 0; i < 40; i++)
		p[i] = (struct pollfd){ job.many[i], POLLIN, 0 };
	job.r[0] = write(job.fd, "12345", 5);
	job.r[1] = poll(p, 40, 5000) > 0;
	job.r[2] = recv(job.fd, b, 5, MSG_WAITALL);
	job.r[3] = send(job.fd, "12345", 5, 0);
	job.r[4] = epoll_wait(job.ep, &e, 1, 5000);
	job.r[5] = read(job.fd, b, 5);
	job.r[6] = write(job.fd, "12345", 5);
	FD_ZERO(&rd);
	for (int i = 0; i < 40; i++)
		FD_SET(job.many[i], &rd);
	job.r[7] = select(job.many[39] + 1, &rd, NULL, NULL, &five) > 0;
	recv(job.fd, b, 5, MSG_WAITALL);
}

static void job_make(struct conn *c)
{
	struct epoll_event e = { .events = EPOLLIN };

	job.fd = c->a.fd;
	job.ep = epoll_create1(0);
	MUST(epoll_ctl(job.ep, EPOLL_CTL_ADD, c->a.fd, &e));
	for (int i = 0; i < 40; i++)
		MUST(job.many[i] = i ? dup(c->a.fd) : c->a.fd);
}

static void job_say(struct conn *c)
{
	for (int i = 0; i < 8; i++)
		say("%d: %ld", i, job.r[i]);
	SHOW(end_join(&c->b, NULL, NULL));
	conn_same(c, 500);
}

CASE(small_stack_handler, F_PAIR | F_DIAL | F_HALF,
     "a handler with 5 KB of stack beside its frame uses the connection")
{
	size_t size = (size_t)sysconf(_SC_MINSIGSTKSZ) + 5120;
	char *at = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t st = { .ss_size = size };
	int n = 3;

	/* what is too much is a fault: below it nothing is mapped */
	st.ss_sp = at + (1 << 19);
	MUST(mprotect(st.ss_sp, (size + 4095) & ~4095ul, PROT_READ | PROT_WRITE));
	MUST(sigaltstack(&st, NULL));
	handle(SIGUSR1, all_calls, SA_ONSTACK);
	job_make(c);
	end_start(&c->b, echo_five, &n, sizeof(n));
	raise(SIGUSR1);
	job_say(c);
}

static void *small_thread(void *arg)
{
	(void)arg;
	all_calls(0);
	return NULL;
}

CASE(small_stack_thread, F_PAIR | F_DIAL | F_HALF, "a thread with the smallest stack there is")
{
	pthread_attr_t attr;
	pthread_t t;
	int n = 3;

	job_make(c);
	end_start(&c->b, echo_five, &n, sizeof(n));
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN);
	if (pthread_create(&t, &attr, small_thread, NULL))
		par_die("pthread_create");
	pthread_join(t, NULL);
	job_say(c);
}

/* ---- numbers taken from under a call ---- */

CASE(dup2_under_read, F_BOTH, "dup2 onto the number of a connection that a thread reads")
{
	int pipes[2];

	MUST(pipe(pipes));
	end_get_start(&c->a, 5);
	sleep_ms(200);
	SHOW(dup2(pipes[0], c->a.fd) == c->a.fd);
	say("still reads: %d", end_busy(&c->a, 30));
	SHOW(end_put1(&c->b, 5));
	SHOW(end_get_join(&c->a));
	SHOW(write(pipes[1], "pipe", 4));
	SHOW(read(c->a.fd, buf, 10));
	SHOW(end_get1(&c->b, 1));
}

CASE(close_range_under_read, F_BOTH,
     "close_range over the number of a connection that a thread reads")
{
	end_get_start(&c->a, 5);
	sleep_ms(200);
	SHOW(close_range((unsigned)c->a.fd, (unsigned)c->a.fd, 0));
	say("still reads: %d", end_busy(&c->a, 30));
	SHOW(end_put1(&c->b, 5));
	SHOW(end_get_join(&c->a));
	SHOW(end_get1(&c->b, 1));
}

/* ---- transfers ---- */

CASE(transfer_timeo, F_ANY, "sendfile keeps to SO_SNDTIMEO, splice to SO_RCVTIMEO")
{
	struct timeval t = { 0, 150000 };
	int f = memfd_create("par", 0), pipes[2];
	int64_t t0 = now_us();
	off_t off = 0;
	ssize_t n;

	MUST(ftruncate(f, 16 << 20));
	MUST(pipe(pipes));
	MUST(setsockopt(c->a.fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
	MUST(setsockopt(c->a.fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	SHOW(splice(c->a.fd, NULL, pipes[1], NULL, 100, 0));
	say_waited_ticks("splice", t0, 150);
	t0 = now_us();
	while ((n = sendfile(c->a.fd, f, &off, (16 << 20) - off)) > 0)
		;
	SHOW(n);
	say("some: %d", off > 0 && off < 16 << 20);
	say_waited_ticks("sendfile", t0, 150);
}

CASE(vectors_of_ones, F_BOTH, "1024 parts of one byte each way")
{
	struct iovec iov[IOV_MAX];
	ssize_t n;

	end_fill(&c->a, buf, IOV_MAX);
	for (int i = 0; i < IOV_MAX; i++)
		iov[i] = (struct iovec){ buf + i, 1 };
	SHOW(n = writev(c->a.fd, iov, IOV_MAX));
	SHOW(end_get(&c->b, n));
	SHOW(end_put1(&c->b, IOV_MAX));
	await(c->a.fd, POLLIN);
	SHOW(readv(c->a.fd, iov, IOV_MAX));
	end_check(&c->a, buf, IOV_MAX);
	conn_same(c, 500);
}

/* ---- fork in a crowd ---- */

enum { CROWD = 3 };

static volatile bool crowd_ends;

static void *crowd_talk(void *arg)
{
	const int *fd = arg;
	long turns = 0;
	char b[100] = { 0 };

	while (!crowd_ends) {
		if (write(fd[0], b, 100) != 100 || recv(fd[1], b, 100, MSG_WAITALL) != 100 ||
		    write(fd[1], b, 70) != 70 || recv(fd[0], b, 70, MSG_WAITALL) != 70)
			return (void *)-1L;
		turns++;
	}
	return (void *)(long)(turns > 0);
}

CASE(fork_in_crowd, F_PAIR, "20 forks, with and without exec, while threads use connections")
{
	pthread_t t[CROWD];
	int fd[CROWD][2];
	void *end;

	for (int i = 0; i < CROWD; i++) {
		pair_open(fd[i]);
		pair_warm(fd[i][0], fd[i][1], 300);
		fcntl(fd[i][0], F_SETFD, FD_CLOEXEC);
		fcntl(fd[i][1], F_SETFD, FD_CLOEXEC);
		t[i] = hold(crowd_talk, fd[i]);
	}
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			if (i % 2)
				execl("/bin/true", "true", (char *)NULL);
			_exit(write(c->a.fd, "12345", 5) == 5 ? 0 : 1);
		}
		MUST(waitpid(pid, &status, 0));
		if (status)
			say("%d: status %x", i, (unsigned)status);
	}
	crowd_ends = true;
	for (int i = 0; i < CROWD; i++) {
		pthread_join(t[i], &end);
		say("talked: %ld", (long)end);
	}
}

/* ---- bounds that a program sets itself ---- */

static void limit_numbers(rlim_t soft)
{
	struct rlimit r;

	MUST(getrlimit(RLIMIT_NOFILE, &r));
	r.rlim_cur = soft;
	MUST(setrlimit(RLIMIT_NOFILE, &r));
}

CASE(nofile_polled, F_ANY, "as many descriptors are polled as RLIMIT_NOFILE allows")
{
	struct pollfd p[6];
	rlim_t soft = 6;

	limit_numbers(soft);
	for (nfds_t n = 1; n <= 6; n++) {
		for (nfds_t i = 0; i < n; i++)
			p[i] = (struct pollfd){ i ? -1 : c->a.fd, POLLIN, 0 };
		say("%d", (int)n);
		SHOW(poll(p, n, 0));
		SHOW(poll(p, n, 20));
		SHOW(end_put1(&c->b, 1));
		SHOW(poll(p, n, 5000));
		SHOW(end_get1(&c->a, 1));
	}
	limit_numbers(256);
}

CASE(nofile_none, F_ANY, "with RLIMIT_NOFILE at 2, 1 and 0 what is open goes on, and times out")
{
	struct timeval tv = { 0, 50000 };
	struct pollfd p = { c->a.fd, POLLIN, 0 };
	char x;

	MUST(setsockopt(c->a.fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	for (int soft = 2; soft >= 0; soft--) {
		limit_numbers((rlim_t)soft);
		say("%d", soft);
		SHOW(recv(c->a.fd, &x, 1, 0));
		SHOW(poll(&p, 1, 20));
		for (int i = 0; i < 20; i++) {
			end_put1(&c->b, 1);
			end_get1(&c->a, 1);
			end_put1(&c->a, 1);
			end_get1(&c->b, 1);
		}
	}
	limit_numbers(256);
}

static long memory_kb(void)
{
	char line[256];
	long kb = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "VmRSS:", 6))
			kb = strtol(line + 6, NULL, 10);
	}
	if (f)
		fclose(f);
	return kb;
}

CASE(locked_later, F_PLAIN,
     "mlockall(MCL_FUTURE) before the first connection does not fill the memory")
{
	int fd[2];
	long before;

	if (mlockall(MCL_FUTURE)) {
		say("not allowed");
		return;
	}
	before = memory_kb();
	pair_open(fd);
	pair_warm(fd[0], fd[1], 600);
	say("a few more: %d", memory_kb() - before < 150000);
	MUST(munlockall());
	MUST(close(fd[0]));
	MUST(close(fd[1]));
}

CASE(locked_now, F_SELF | F_PAIR,
     "mlockall(MCL_CURRENT) with a connection makes the program's memory, and little else")
{
	enum { OWN = 256 };
	unsigned char there[OWN];
	char *own = mmap(NULL, OWN * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0);
	long before = memory_kb(), resident = 0;

	if (own == MAP_FAILED || mlockall(MCL_CURRENT)) {
		say("not allowed");
		return;
	}
	MUST(mincore(own, OWN * 4096, there));
	for (int i = 0; i < OWN; i++)
		resident += there[i] & 1;
	say("resident: %ld, a few more: %d", resident, memory_kb() - before < 150000);
	MUST(munlockall());
	conn_same(c, 1000);
}

/* Every thread of the process. */
static void refuse_membarrier(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };

	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog));
}

CASE(membarrier_refused, F_SELF | F_PAIR,
     "a seccomp filter refuses membarrier later on: who sleeps is woken all the same")
{
	refuse_membarrier();
	for (int i = 0; i < 300; i++) {
		end_get_start(&c->a, 30);
		if (i % 3 == 0)
			usleep(300);
		end_put(&c->b, 30);
		if (end_get_join(&c->a) != 30)
			say("round %d", i);
		end_get_start(&c->b, 30000);
		end_put(&c->a, 30000);
		if (end_get_join(&c->b) != 30000)
			say("round %d back", i);
	}
	conn_same(c, 1000);
}

/* ---- calls that do not wait: cancelled, jumped out of ---- */

static void *ready_call(void *arg)
{
	int fd = job.fd, how = *(int *)arg;
	struct iovec v = { buf, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct pollfd p = { fd, POLLIN, 0 };
	struct timeval tv = { 1, 0 };
	struct epoll_event e;
	fd_set set;
	ssize_t r = -2;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	pthread_cancel(pthread_self());
	switch (how) {
	case 0: r = read(fd, buf, 1); break;
	case 1: r = write(fd, buf, 1); break;
	case 2: r = recv(fd, buf, 1, MSG_PEEK); break;
	case 3: r = send(fd, buf, 1, MSG_DONTWAIT); break;
	case 4: r = readv(fd, &v, 1); break;
	case 5: r = writev(fd, &v, 1); break;
	case 6: r = recvmsg(fd, &m, 0); break;
	case 7: r = sendmsg(fd, &m, 0); break;
	case 8: r = poll(&p, 1, 0); break;
	case 9: r = ppoll(&p, 1, NULL, NULL); break;
	case 10: r = select(fd + 1, &set, NULL, NULL, &tv); break;
	case 11: r = epoll_wait(job.ep, &e, 1, 0); break;
	default: r = epoll_pwait(job.ep, &e, 1, 1000, NULL); break;
	}
	return (void *)(long)(r == -2);
}

CASE(cancel_ready, F_ANY, "pthread_cancel ends calls that find all they want at once")
{
	struct epoll_event e = { .events = EPOLLIN };

	job.fd = c->a.fd;
	job.ep = epoll_create1(0);
	MUST(epoll_ctl(job.ep, EPOLL_CTL_ADD, job.fd, &e));
	SHOW(end_put1(&c->b, 100));
	MUST(poll(&(struct pollfd){ job.fd, POLLIN, 0 }, 1, 5000));
	for (int how = 0; how <= 12; how++) {
		pthread_t t = hold(ready_call, &how);
		void *r;

		pthread_join(t, &r);
		say("%d: %d", how, r == PTHREAD_CANCELED);
	}
	SHOW(end_get1(&c->a, 100));
	conn_same(c, 500);
}

enum { JUMPS = 200, MARK = 100 };

/* Answers each run of MARK bytes of 0xee by a byte. */
static long answer_marks(int fd, void *arg, size_t *len)
{
	static unsigned char in[1 << 16];
	int marks = 0, run = 0;

	(void)arg;
	(void)len;
	while (marks < JUMPS) {
		ssize_t n = read(fd, in, sizeof(in));

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++) {
			run = in[i] == 0xee ? run + 1 : 0;
			if (run == MARK && write(fd, "k", 1) == 1)
				marks++;
		}
	}
	return marks;
}

static sigjmp_buf out;

static void on_jump(int sig)
{
	(void)sig;
	siglongjmp(out, 1);
}

CASE(jump_out_busy, F_PAIR | F_DIAL,
     "siglongjmp out of writes that do not wait; the connection goes on")
{
	static const size_t sizes[] = { 64, 1000, 16384 };
	volatile int answered = 0;
	char mark[MARK], x;

	memset(mark, 0xee, sizeof(mark));
	handle(SIGALRM, on_jump, 0);
	end_start(&c->b, answer_marks, NULL, 0);
	for (volatile int i = 0; i < JUMPS; i++) {
		struct itimerval t = { .it_value = { 0, 200 + i % 97 * 7 } };
		struct pollfd p = { c->a.fd, POLLIN, 0 };

		if (!sigsetjmp(out, 1)) {
			MUST(setitimer(ITIMER_REAL, &t, NULL));
			while (write(c->a.fd, buf, sizes[i % 3]) > 0)
				;
			say("not reached");
		}
		/* a mark of its own, whatever the last write has left */
		if (write(c->a.fd, buf, 1) == 1 && write(c->a.fd, mark, MARK) == MARK &&
		    poll(&p, 1, 5000) == 1 && read(c->a.fd, &x, 1) == 1)
			answered++;
	}
	say("answered: %d", answered);
	SHOW(end_join(&c->b, NULL, NULL));
}
