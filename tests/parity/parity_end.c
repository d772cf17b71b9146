/* parity_end.c - connections of the parity programs and what is done at their ends
 *
 * A call for an end in this process is a plain call, in a thread if it was only started. A call
 * for the far end is a message on a pipe: the offset of the function in the program (the servant
 * is the same program, loaded elsewhere), the fd and the buffer; the answer is the result, errno
 * and the buffer. The pipes have numbers from FAR_FD on, out of the way of what cases do to fds.
 *
 * Connections go over the loopback, or, with PARITY_WIRE in the environment, between two addresses that run_parity.sh
 * has made: HERE is this process's, FAR the servant's. On the stack HERE is that of a TAP, and FAR the kernel's side of it; or the two
 * are a veth's ends, and the servant is in the namespace PARITY_FAR_NET. A listener is polled once: one that nobody waits for is not on the stack.
 */
#include "tests/parity/parity_priv.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <sys/uio.h>

#define FAR_FD        200
#define WARM_MESSAGES 200

struct par_far {
	pid_t pid;
	int in, out;
	bool killed;
};

struct msg {
	int64_t fn; /* offset of the function from par_servant; in an answer the result */
	int32_t fd; /* in an answer errno */
	uint32_t len;
};

struct par_job {
	pthread_t thread;
	end_fn *fn;
	int fd;
	long r;
	int err;
	bool done;
	size_t len;
	char buf[PAR_BUF_MAX];
};

static struct par_far the_far;
static bool is_servant;

/* Control pipes -------------------------------------------------------------------------- */

static int pipe_write(int fd, const void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = write(fd, (const char *)buf + done, n - done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -1;
		done += r;
	}
	return 0;
}

static int pipe_read(int fd, void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = read(fd, (char *)buf + done, n - done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -1;
		done += r;
	}
	return 0;
}

static int msg_send(int fd, struct msg m, const void *buf)
{
	return pipe_write(fd, &m, sizeof(m)) || (m.len && pipe_write(fd, buf, m.len)) ? -1 : 0;
}

void par_servant(int in, int out)
{
	static char buf[PAR_BUF_MAX];
	struct msg m;

	is_servant = true;
	while (!pipe_read(in, &m, sizeof(m)) && m.len <= sizeof(buf)) {
		size_t len = m.len;
		end_fn *fn = (end_fn *)((uintptr_t)par_servant + (uintptr_t)m.fn);

		if (len && pipe_read(in, buf, len))
			break;
		errno = 0;
		long r = fn(m.fd, buf, &len);

		if (msg_send(out, (struct msg){ r, errno, (uint32_t)len }, buf))
			break;
	}
	exit(0);
}

static int pipe_high(int p[2])
{
	int q[2];

	if (pipe2(q, O_CLOEXEC))
		return -1;
	for (int i = 0; i < 2; i++) {
		p[i] = fcntl(q[i], F_DUPFD_CLOEXEC, FAR_FD);
		close(q[i]);
	}
	return p[0] < 0 || p[1] < 0 ? -1 : 0;
}

static void far_exec(int in, int out, bool plain)
{
	const char *net = getenv("PARITY_FAR_NET");
	char a[12], b[12];

	if (plain)
		unsetenv("LD_PRELOAD");
	if (net)
		MUST(setns(open(net, O_RDONLY | O_CLOEXEC), CLONE_NEWNET));
	fcntl(in, F_SETFD, 0);
	fcntl(out, F_SETFD, 0);
	snprintf(a, sizeof(a), "%d", in);
	snprintf(b, sizeof(b), "%d", out);
	execl("/proc/self/exe", "servant", "--servant", a, b, (char *)NULL);
	_exit(97);
}

static struct par_far *far_start(bool plain)
{
	int to[2], from[2];

	if (the_far.pid)
		return &the_far;
	MUST(pipe_high(to));
	MUST(pipe_high(from));
	the_far.pid = fork();
	MUST(the_far.pid);
	if (!the_far.pid)
		far_exec(to[0], from[1], plain);
	close(to[0]);
	close(from[1]);
	the_far.in = from[0];
	the_far.out = to[1];
	return &the_far;
}

void par_far_end(void)
{
	int st;

	if (!the_far.pid || the_far.killed)
		return;
	close(the_far.out);
	for (int i = 0; i < 3000; i++) {
		pid_t r = waitpid(the_far.pid, &st, WNOHANG);

		if (r) { /* -1: the case ignores SIGCHLD */
			if (r > 0 && st)
				say("servant: status %#x", st);
			return;
		}
		sleep_ms(1);
	}
	kill(the_far.pid, SIGKILL);
	say("servant: did not end");
}

void end_kill(struct end *e)
{
	if (!e->far)
		par_die("end_kill of an end that is in this process");
	kill(e->far->pid, SIGKILL);
	waitpid(e->far->pid, NULL, 0);
	e->far->killed = true;
}

/* Calls at an end ------------------------------------------------------------------------ */

static void *job_main(void *arg)
{
	struct par_job *j = arg;

	errno = 0;
	j->r = j->fn(j->fd, j->buf, &j->len);
	j->err = errno;
	__atomic_store_n(&j->done, true, __ATOMIC_RELEASE);
	return NULL;
}

void end_start(struct end *e, end_fn *fn, const void *buf, size_t len)
{
	if (e->far) {
		struct msg m = { (int64_t)((uintptr_t)fn - (uintptr_t)par_servant), e->fd,
				 (uint32_t)len };

		MUST(msg_send(e->far->out, m, buf));
		return;
	}
	struct par_job *j = calloc(1, sizeof(*j));

	if (!j)
		par_die("calloc");
	j->fn = fn;
	j->fd = e->fd;
	j->len = len;
	if (len)
		memcpy(j->buf, buf, len);
	e->job = j;
	j->thread = hold(job_main, j);
}

bool end_busy(struct end *e, int ms)
{
	if (e->far) {
		struct pollfd p = { e->far->in, POLLIN, 0 };

		return poll(&p, 1, ms) == 0;
	}
	for (int i = 0; i < ms && !__atomic_load_n(&e->job->done, __ATOMIC_ACQUIRE); i++)
		sleep_ms(1);
	return !__atomic_load_n(&e->job->done, __ATOMIC_ACQUIRE);
}

static long far_join(struct end *e, void *buf, size_t *len)
{
	static char sink[PAR_BUF_MAX];
	struct msg m;

	if (pipe_read(e->far->in, &m, sizeof(m)) || m.len > sizeof(sink) ||
	    (m.len && pipe_read(e->far->in, sink, m.len)))
		par_die("the servant is gone");
	if (buf)
		memcpy(buf, sink, m.len);
	if (len)
		*len = m.len;
	errno = m.fd;
	return m.fn;
}

long end_join(struct end *e, void *buf, size_t *len)
{
	if (e->far)
		return far_join(e, buf, len);
	struct par_job *j = e->job;

	pthread_join(j->thread, NULL);
	if (buf)
		memcpy(buf, j->buf, j->len);
	if (len)
		*len = j->len;
	long r = j->r;
	int err = j->err;

	e->job = NULL;
	free(j);
	errno = err;
	return r;
}

long end_run(struct end *e, end_fn *fn, void *buf, size_t *len)
{
	size_t none = 0;

	if (!e->far)
		return fn(e->fd, buf, len ? len : &none);
	end_start(e, fn, buf, len ? *len : 0);
	return end_join(e, buf, len);
}

/* Bytes ---------------------------------------------------------------------------------- */

struct io {
	uint64_t off;
	int64_t n;
	int32_t dir, once;
	int64_t bad; /* out: offset of the first wrong byte, or -1 */
	int64_t got; /* out: bytes that passed, also where the call failed in the end */
};

static unsigned char pattern(int dir, uint64_t off)
{
	uint64_t x = (off + 1) * 0x9e3779b97f4a7c15ull + (uint64_t)dir * 0x632be59bd9b4e019ull;

	return (unsigned char)(x >> 37 ^ x >> 56);
}

static long io_put(int fd, void *arg, size_t *len)
{
	struct io *io = arg;
	size_t cap = io->n < (16 << 20) ? (size_t)io->n : (16u << 20);
	unsigned char *b = malloc(cap + 1);
	long r = 0;

	(void)len;
	io->got = 0;
	do {
		size_t n = (size_t)(io->n - io->got) < cap ? (size_t)(io->n - io->got) : cap;

		for (size_t i = 0; i < n; i++)
			b[i] = pattern(io->dir, io->off + io->got + i);
		r = write(fd, b, n);
		if (r > 0)
			io->got += r;
	} while (!io->once && r >= 0 && io->got < io->n);
	int err = errno;

	free(b);
	errno = err;
	return r < 0 ? -1 : io->got;
}

static int64_t pattern_bad(const unsigned char *b, int64_t n, int dir, uint64_t off)
{
	for (int64_t i = 0; i < n; i++)
		if (b[i] != pattern(dir, off + i))
			return i;
	return -1;
}

static long io_get(int fd, void *arg, size_t *len)
{
	struct io *io = arg;
	size_t cap = io->n < (1 << 20) ? (size_t)io->n : (1u << 20);
	unsigned char *b = malloc(cap + 1);
	long r = 0;

	(void)len;
	io->got = 0;
	io->bad = -1;
	do {
		size_t n = (size_t)(io->n - io->got) < cap ? (size_t)(io->n - io->got) : cap;

		r = read(fd, b, n);
		if (r > 0 && io->bad < 0) {
			io->bad = pattern_bad(b, r, io->dir, io->off + io->got);
			if (io->bad >= 0)
				io->bad += io->off + io->got;
		}
		if (r > 0)
			io->got += r;
	} while (!io->once && r > 0 && io->got < io->n);
	int err = errno;

	free(b);
	errno = err;
	return r < 0 ? -1 : io->got;
}

static long put(struct end *e, long n, int once)
{
	struct io io = { .off = e->tx, .n = n, .dir = e->dir, .once = once };
	size_t len = sizeof(io);
	long r = end_run(e, io_put, &io, &len);

	e->tx += io.got;
	return r;
}

static long get(struct end *e, long n, int once)
{
	struct io io = { .off = e->rx, .n = n, .dir = !e->dir, .once = once };
	size_t len = sizeof(io);
	long r = end_run(e, io_get, &io, &len);

	e->rx += io.got;
	if (io.bad >= 0)
		say("WRONG BYTE at offset %lld", (long long)io.bad);
	return r;
}

long end_put(struct end *e, long n)
{
	return put(e, n, 0);
}

long end_put1(struct end *e, long n)
{
	return put(e, n, 1);
}

long end_get(struct end *e, long n)
{
	return get(e, n, 0);
}

long end_get1(struct end *e, long n)
{
	return get(e, n, 1);
}

void end_put_start(struct end *e, long n)
{
	struct io io = { .off = e->tx, .n = n, .dir = e->dir };

	end_start(e, io_put, &io, sizeof(io));
	e->tx += n;
}

void end_get_start(struct end *e, long n)
{
	struct io io = { .off = e->rx, .n = n, .dir = !e->dir };

	end_start(e, io_get, &io, sizeof(io));
}

long end_get_join(struct end *e)
{
	struct io io;
	size_t len = sizeof(io);
	long r = end_join(e, &io, &len);

	e->rx += io.got;
	if (io.bad >= 0)
		say("WRONG BYTE at offset %lld", (long long)io.bad);
	return r;
}

void end_fill(struct end *e, void *buf, long n)
{
	for (long i = 0; i < n; i++)
		((unsigned char *)buf)[i] = pattern(e->dir, e->tx++);
}

void end_check(struct end *e, const void *buf, long n)
{
	int64_t bad = n > 0 ? pattern_bad(buf, n, !e->dir, e->rx) : -1;

	if (bad >= 0)
		say("WRONG BYTE at offset %lld", (long long)(e->rx + bad));
	e->rx += n > 0 ? n : 0;
}

/* Other calls ---------------------------------------------------------------------------- */

static long do_close(int fd, void *buf, size_t *len)
{
	(void)buf;
	(void)len;
	return close(fd);
}

int end_close(struct end *e)
{
	return end_run(e, do_close, NULL, NULL);
}

static long do_shutdown(int fd, void *buf, size_t *len)
{
	(void)len;
	return shutdown(fd, *(int *)buf);
}

int end_shutdown(struct end *e, int how)
{
	size_t len = sizeof(how);

	return end_run(e, do_shutdown, &how, &len);
}

static long do_setopt(int fd, void *buf, size_t *len)
{
	int *v = buf;

	(void)len;
	return setsockopt(fd, v[0], v[1], &v[2], sizeof(int));
}

int end_setopt(struct end *e, int level, int opt, int value)
{
	int v[3] = { level, opt, value };
	size_t len = sizeof(v);

	return end_run(e, do_setopt, v, &len);
}

static long do_getopt(int fd, void *buf, size_t *len)
{
	int *v = buf, value = 0;
	socklen_t l = sizeof(value);

	(void)len;
	return getsockopt(fd, v[0], v[1], &value, &l) ? -1 : value;
}

int end_getopt(struct end *e, int level, int opt)
{
	int v[2] = { level, opt };
	size_t len = sizeof(v);

	return end_run(e, do_getopt, v, &len);
}

static long do_poll(int fd, void *buf, size_t *len)
{
	int *v = buf;
	struct pollfd p = { fd, v[0], 0 };
	int r = poll(&p, 1, v[1]);

	(void)len;
	return r < 0 ? r : p.revents;
}

int end_poll(struct end *e, int events, int ms)
{
	int v[2] = { events, ms };
	size_t len = sizeof(v);

	return end_run(e, do_poll, v, &len);
}

int await(int fd, int events)
{
	struct pollfd p = { fd, events, 0 };

	return poll(&p, 1, 5000) < 0 ? -1 : p.revents;
}

static long do_nonblock(int fd, void *buf, size_t *len)
{
	int fl = fcntl(fd, F_GETFL);

	(void)len;
	return fcntl(fd, F_SETFL, *(int *)buf ? fl | O_NONBLOCK : fl & ~O_NONBLOCK);
}

int end_nonblock(struct end *e, bool on)
{
	int v = on;
	size_t len = sizeof(v);

	return end_run(e, do_nonblock, &v, &len);
}

static long do_reset(int fd, void *buf, size_t *len)
{
	struct linger l = { 1, 0 };

	(void)buf;
	(void)len;
	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)) ? -1 : close(fd);
}

int end_reset(struct end *e)
{
	return end_run(e, do_reset, NULL, NULL);
}

/* Making connections --------------------------------------------------------------------- */

#define WIRE_HERE 0x0a090002 /* 10.9.0.2 and fd09::2 */
#define WIRE_FAR  0x0a090001 /* 10.9.0.1 and fd09::1 */

static bool on_wire(void)
{
	return getenv("PARITY_WIRE") != NULL;
}

uint32_t par_host(void)
{
	return on_wire() ? WIRE_HERE : INADDR_LOOPBACK;
}

/* Port 0 of the host that is @far, or of this one. */
static void address_set(int family, bool far, struct sockaddr_storage *sa, socklen_t *len)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)sa;

	memset(sa, 0, sizeof(*sa));
	sa->ss_family = family;
	if (family == AF_INET) {
		((struct sockaddr_in *)sa)->sin_addr.s_addr = htonl(far && on_wire() ? WIRE_FAR
										     : par_host());
		*len = sizeof(struct sockaddr_in);
		return;
	}
	*len = sizeof(struct sockaddr_in6);
	six->sin6_addr = in6addr_loopback;
	if (on_wire()) {
		six->sin6_addr = (struct in6_addr){ .s6_addr = { 0xfd, 0x09 } };
		six->sin6_addr.s6_addr[15] = far ? 1 : 2;
	}
}

/* The servant's end has an address of its own. */
static int bind_far(int fd, int family)
{
	struct sockaddr_storage sa;
	socklen_t len;

	address_set(family, true, &sa, &len);
	return bind(fd, (struct sockaddr *)&sa, len);
}

static int listen_at(struct sockaddr_storage *sa, socklen_t *len, int backlog)
{
	int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd p = { fd, POLLIN, 0 };

	if (fd < 0 || bind(fd, (struct sockaddr *)sa, *len) || listen(fd, backlog) ||
	    getsockname(fd, (struct sockaddr *)sa, len))
		return -1;
	if (on_wire())
		poll(&p, 1, 0);
	return fd;
}

int listen_any(int family, int backlog, struct sockaddr_storage *sa, socklen_t *len)
{
	address_set(family, false, sa, len);
	int fd = listen_at(sa, len, backlog);

	MUST(fd);
	return fd;
}

static long do_connect(int fd, void *buf, size_t *len)
{
	struct sockaddr *sa = buf;
	int one = 1;

	fd = socket(sa->sa_family, SOCK_STREAM, 0);
	if (fd < 0 || (is_servant && on_wire() && bind_far(fd, sa->sa_family)) ||
	    connect(fd, sa, *len))
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static long do_listen(int fd, void *buf, size_t *len)
{
	socklen_t l = *len;

	fd = listen_at(buf, &l, 16);
	return fd;
}

static long do_accept(int fd, void *buf, size_t *len)
{
	int one = 1, s = accept(fd, NULL, NULL);

	(void)buf;
	(void)len;
	if (s >= 0)
		setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(fd);
	return s;
}

/* The address a client of @listener uses: for a mapped pair IPv4, though the listener is IPv6. */
static void address_of(int mapped, struct sockaddr_storage *sa, socklen_t *len)
{
	if (!mapped)
		return;
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_port = ((struct sockaddr_in6 *)sa)->sin6_port,
				  .sin_addr.s_addr = htonl(par_host()) };

	memcpy(sa, &v4, sizeof(v4));
	*len = sizeof(v4);
}

static void conn_accept(struct conn *c, bool mapped)
{
	struct sockaddr_storage sa;
	socklen_t len;

	address_set(mapped ? AF_INET6 : c->family, false, &sa, &len);
	if (mapped)
		((struct sockaddr_in6 *)&sa)->sin6_addr = in6addr_any;
	int l = listen_at(&sa, &len, 16);

	MUST(l);
	address_of(mapped, &sa, &len);
	size_t n = len;

	c->b.fd = end_run(&c->b, do_connect, &sa, &n);
	MUST(c->b.fd);
	c->a.fd = do_accept(l, NULL, NULL);
	MUST(c->a.fd);
}

static void conn_dial(struct conn *c)
{
	struct sockaddr_storage sa;
	socklen_t len;

	address_set(c->family, true, &sa, &len);
	size_t n = len;

	c->b.fd = end_run(&c->b, do_listen, &sa, &n);
	MUST(c->b.fd);
	c->a.fd = do_connect(-1, &sa, &n);
	MUST(c->a.fd);
	c->b.fd = end_run(&c->b, do_accept, NULL, NULL);
	MUST(c->b.fd);
}

static unsigned made_flavour;

void par_conn_make(struct conn *c, unsigned flavour, bool warm)
{
	made_flavour = flavour;
	*c = (struct conn){ .a = { .fd = -1, .dir = 0 }, .b = { .fd = -1, .dir = 1 } };
	c->family = flavour & (F_SELF6 | F_PAIR6) ? AF_INET6 : AF_INET;
	c->warm = warm;
	if (!(flavour & (F_SELF | F_SELF6)))
		c->b.far = far_start(flavour == F_HALF);
	if (flavour == F_DIAL)
		conn_dial(c);
	else
		conn_accept(c, flavour == F_MAPPED);
	if (warm)
		conn_warm(c, WARM_MESSAGES);
}

void conn_open(struct conn *like, struct conn *c)
{
	par_conn_make(c, made_flavour ? made_flavour : F_SELF, like->warm);
}

void pair_open(int fd[2])
{
	struct conn c = { .family = AF_INET };

	conn_accept(&c, false);
	fd[0] = c.a.fd;
	fd[1] = c.b.fd;
}

/* Warming up ----------------------------------------------------------------------------- */

static size_t warm_size(int i)
{
	return i == 100 ? 8192 : (size_t)(i * 7 % 61 + 1);
}

static int all_read(int fd, char *buf, size_t n)
{
	return pipe_read(fd, buf, n);
}

static long do_echo(int fd, void *arg, size_t *len)
{
	char buf[8192];
	int n = *(int *)arg;

	(void)len;
	for (int i = 0; i < n; i++)
		if (all_read(fd, buf, warm_size(i)) || pipe_write(fd, buf, warm_size(i)))
			return -1;
	return n;
}

void pair_warm(int x, int y, int n)
{
	char buf[8192] = { 0 };

	for (int i = 0; i < n; i++)
		if (pipe_write(x, buf, warm_size(i)) || all_read(y, buf, warm_size(i)) ||
		    pipe_write(y, buf, warm_size(i)) || all_read(x, buf, warm_size(i)))
			par_die("pair_warm");
}

void conn_warm(struct conn *c, int n)
{
	char buf[8192] = { 0 };

	if (!c->b.far) {
		pair_warm(c->a.fd, c->b.fd, n);
		return;
	}
	end_start(&c->b, do_echo, &n, sizeof(n));
	for (int i = 0; i < n; i++)
		if (pipe_write(c->a.fd, buf, warm_size(i)) || all_read(c->a.fd, buf, warm_size(i)))
			par_die("conn_warm");
	if (end_join(&c->b, NULL, NULL) != n)
		par_die("conn_warm at the far end");
}

void conn_same(struct conn *c, long n)
{
	end_put_start(&c->a, n);
	long r = end_get(&c->b, n);

	end_join(&c->a, NULL, NULL);
	end_put_start(&c->b, n);
	long s = end_get(&c->a, n);

	end_join(&c->b, NULL, NULL);
	say("carries %ld there, %ld back", r, s);
}
