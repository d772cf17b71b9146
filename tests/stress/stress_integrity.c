/* stress_integrity.c - streams in both directions by every kind of call; each byte is checked
 *
 * usage: stress_integrity [--bytes N] [--conns N] [--seed N] [--limit SECONDS] [--each N]
 *
 * Two processes (the second made by exec of this program) and between them a number of connections;
 * one more connection has both ends in the first process. An end is used in one of three styles: a thread
 * that writes and one that reads; one thread with poll and O_NONBLOCK; one thread that asks and answers
 * in turns. Sizes and kinds of calls are random. A connection carries about --each bytes each way and
 * is then ended (shutdown, close, or half-close with the other direction going on) and made anew, until
 * --bytes have passed in all. What must hold: every byte is the one of its stream and offset, and the
 * end of a stream comes exactly after its last byte.
 */
#include "tests/stress/stress_util.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { ROOM = 1 << 18 };

static uint64_t total = 64 << 20, seed = 1, each = 4 << 20;
static unsigned conns = 4, limit = 300;

/* One direction at one end. */
struct lane {
	int fd;
	uint64_t key;  /* of the stream */
	uint64_t size; /* bytes until its end */
	uint64_t rand;
	uint64_t off; /* bytes done */
	int file;     /* for sendfile: the next ROOM bytes of the stream are put there */
	int pipe[2];  /* for splice */
	unsigned char buf[ROOM];
};

/* Where in the stream the @n bytes at @b belong that came instead of those at @off. */
static void tell_origin(const struct lane *l, uint64_t off, const unsigned char *b, size_t n)
{
	const int64_t reach = 8 << 20;
	unsigned char want[16];

	n = n > sizeof(want) ? sizeof(want) : n;
	for (int64_t d = -reach; d <= reach && n >= 8; d++) {
		if ((int64_t)off + d < 0)
			continue;
		stress_fill(l->key, off + d, want, n);
		if (!memcmp(want, b, n)) {
			fprintf(stderr, "stress_integrity: there are the bytes of %+lld\n",
				(long long)d);
			return;
		}
	}
	fprintf(stderr, "stress_integrity: what is there is not of this stream\n");
}

static void wrong(const struct lane *l, const char *what, int kind)
{
	fprintf(stderr,
		"stress_integrity: %s at offset %llu of %llu, call kind %d, stream %llx, seed %llu, "
		"pid %d, errno %s\n",
		what, (unsigned long long)l->off, (unsigned long long)l->size, kind,
		(unsigned long long)l->key, (unsigned long long)seed, getpid(),
		strerrorname_np(errno));
	_exit(1);
}

/* Sizes: mostly small, sometimes up to the room. */
static size_t some(struct lane *l, uint64_t left)
{
	unsigned bits = stress_random(&l->rand) % 18;
	uint64_t n = stress_random(&l->rand) % (2ull << bits) + 1;

	n = n > ROOM ? ROOM : n;
	return n > left ? left : n;
}

static int split(struct lane *l, unsigned char *b, size_t n, struct iovec *v)
{
	size_t x = stress_random(&l->rand) % (n + 1), y = stress_random(&l->rand) % (n - x + 1);

	v[0] = (struct iovec){ b, x };
	v[1] = (struct iovec){ b + x, y };
	v[2] = (struct iovec){ b + x + y, n - x - y };
	return 3;
}

static int wait_for(int fd, int events)
{
	struct pollfd p = { fd, events, 0 };

	return poll(&p, 1, -1);
}

static ssize_t by_sendmmsg(struct lane *l, size_t n)
{
	struct iovec v[3];
	struct mmsghdr m[3];
	ssize_t sum = 0;

	memset(m, 0, sizeof(m));
	split(l, l->buf, n, v);
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1 };
	int r = sendmmsg(l->fd, m, 3, MSG_NOSIGNAL);

	if (r < 0)
		return r;
	for (int i = 0; i < r; i++) {
		sum += m[i].msg_len;
		if (m[i].msg_len < v[i].iov_len)
			break; /* the call ends there: what follows would leave a gap */
	}
	return sum;
}

static ssize_t by_sendfile(struct lane *l, size_t n)
{
	off_t off = 0;

	/* The kernel sends the pages themselves: fresh ones each time, the old may be under way. */
	if (ftruncate(l->file, 0) || pwrite(l->file, l->buf, n, 0) != (ssize_t)n)
		wrong(l, "cannot fill the file", 6);
	return sendfile(l->fd, l->file, &off, n);
}

static ssize_t by_splice(struct lane *l, size_t n)
{
	ssize_t sum = 0;

	n = n > 4096 ? 4096 : n;
	if (write(l->pipe[1], l->buf, n) != (ssize_t)n)
		wrong(l, "cannot fill the pipe", 7);
	while ((size_t)sum < n) {
		ssize_t r = splice(l->pipe[0], NULL, l->fd, NULL, n - sum, 0);

		if (r <= 0)
			return r;
		sum += r;
	}
	return sum;
}

static ssize_t send_some(struct lane *l, int kind, size_t n)
{
	struct iovec v[3];
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 3 };
	ssize_t r;

	switch (kind) {
	case 0: return write(l->fd, l->buf, n);
	case 1: return send(l->fd, l->buf, n, MSG_NOSIGNAL);
	case 2: return writev(l->fd, v, split(l, l->buf, n, v));
	case 3: split(l, l->buf, n, v); return sendmsg(l->fd, &m, MSG_NOSIGNAL);
	case 4: return by_sendmmsg(l, n);
	case 5:
		r = send(l->fd, l->buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0 && errno == EAGAIN)
			return wait_for(l->fd, POLLOUT) < 0 ? -1 : 0;
		return r;
	case 6: return by_sendfile(l, n);
	default: return by_splice(l, n);
	}
}

/* One call that writes up to @n bytes. Return: false if it would have blocked */
static bool write_step(struct lane *l, int kind, size_t n)
{
	stress_fill(l->key, l->off, l->buf, n);
	ssize_t r = send_some(l, kind, n);

	if (r < 0 && errno == EAGAIN)
		return false;
	if (r < 0 && errno != EINTR)
		wrong(l, "write failed", kind);
	if (r > (ssize_t)n)
		wrong(l, "wrote more than asked", kind);
	l->off += r > 0 ? r : 0;
	return true;
}

static int write_kind(struct lane *l)
{
	unsigned dice = stress_random(&l->rand) %
			1024; /* splice is rare: it keeps a connection lowered */

	return dice < 1 ? 7 : dice < 20 ? 6 : (int)(dice % 6);
}

static void write_end(struct lane *l)
{
	if (shutdown(l->fd, SHUT_WR))
		wrong(l, "shutdown failed", -1);
}

static void *write_lane(void *arg)
{
	struct lane *l = arg;

	while (l->off < l->size)
		write_step(l, write_kind(l), some(l, l->size - l->off));
	write_end(l);
	return NULL;
}

static ssize_t by_peek(struct lane *l, size_t n)
{
	ssize_t p = recv(l->fd, l->buf, n, MSG_PEEK);
	long bad = p > 0 ? stress_wrong(l->key, l->off, l->buf, p) : -1;

	if (p <= 0)
		return p;
	if (bad >= 0)
		wrong(l, "wrong byte peeked", 6);
	ssize_t r = recv(l->fd, l->buf, p, MSG_WAITALL);

	if (r != p)
		wrong(l, "what was peeked was not there to read", 6);
	return r;
}

static ssize_t by_epoll(struct lane *l, size_t n)
{
	struct epoll_event e = { stress_random(&l->rand) % 2 ? EPOLLIN | EPOLLET : EPOLLIN, { 0 } };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l->fd, &e))
		wrong(l, "epoll", 8);
	if (epoll_wait(ep, &e, 1, -1) != 1)
		wrong(l, "epoll_wait", 8);
	close(ep);
	return recv(l->fd, l->buf, n, MSG_DONTWAIT);
}

static ssize_t recv_some(struct lane *l, int kind, size_t n)
{
	struct iovec v[3];
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 3 };
	struct mmsghdr mm = { { .msg_iov = v, .msg_iovlen = 3 }, 0 };
	ssize_t r;

	switch (kind) {
	case 0: return read(l->fd, l->buf, n);
	case 1: return recv(l->fd, l->buf, n, 0);
	case 2: return readv(l->fd, v, split(l, l->buf, n, v));
	case 3: split(l, l->buf, n, v); return recvmsg(l->fd, &m, 0);
	case 4: return recv(l->fd, l->buf, n > 9000 ? 9000 : n, MSG_WAITALL);
	case 5:
		if (wait_for(l->fd, POLLIN) < 0)
			return -1;
		return recv(l->fd, l->buf, n, MSG_DONTWAIT);
	case 6: return by_peek(l, n);
	case 7:
		split(l, l->buf, n, v);
		r = recvmmsg(l->fd, &mm, 1, 0, NULL);
		return r == 1 ? (ssize_t)mm.msg_len : r;
	default: return by_epoll(l, n);
	}
}

/* One call that reads up to @n bytes. Return: false at the end of the stream */
static bool read_step(struct lane *l, int kind, size_t n)
{
	ssize_t r = recv_some(l, kind, n);

	if (r < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (r < 0)
		wrong(l, "read failed", kind);
	if (r == 0) {
		if (l->off != l->size)
			wrong(l, "the stream ended too early", kind);
		return false;
	}
	if (l->off + r > l->size)
		wrong(l, "more bytes than were sent", kind);
	long bad = stress_wrong(l->key, l->off, l->buf, r);

	if (bad >= 0) {
		l->off += bad;
		tell_origin(l, l->off, l->buf + bad, r - bad);
		wrong(l, "wrong byte", kind);
	}
	l->off += r;
	return true;
}

static void *read_lane(void *arg)
{
	struct lane *l = arg;
	int kind;

	do {
		unsigned dice = stress_random(&l->rand) % 64;

		kind = dice < 1 ? 8 : (int)(dice % 8);
	} while (read_step(l, kind, some(l, ROOM)));
	return NULL;
}

/* Both directions by one thread that never blocks but in poll. */
static void poll_lanes(struct lane *w, struct lane *r)
{
	bool open = true, more = true;

	if (fcntl(w->fd, F_SETFL, O_NONBLOCK))
		wrong(w, "fcntl", -1);
	while (open || more) {
		struct pollfd p = { w->fd, (open ? POLLIN : 0) | (more ? POLLOUT : 0), 0 };

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			wrong(w, "poll", -1);
		if (open && p.revents & POLLIN)
			open = read_step(r, stress_random(&r->rand) % 8, some(r, ROOM));
		if (more && p.revents & POLLOUT && w->off < w->size)
			write_step(w, stress_random(&w->rand) % 5, some(w, w->size - w->off));
		if (more && w->off == w->size) {
			write_end(w);
			more = false;
		}
	}
}

/* Both sides draw the same sizes: what one writes in its turn the other reads in full. */
static void turn_lanes(struct lane *w, struct lane *r, uint64_t key, int side)
{
	uint64_t rnd = key;

	for (int turn = 0; w->off < w->size || r->off < r->size; turn++) {
		struct lane *l = turn % 2 == side ? w : r;
		uint64_t n = stress_random(&rnd) % (1ull << stress_random(&rnd) % 17) + 1;
		uint64_t to = l->off + n < l->size ? l->off + n : l->size;

		while (l->off < to) {
			if (l == w)
				write_step(w, write_kind(w), some(w, to - w->off));
			else if (!read_step(r, stress_random(&r->rand) % 8, some(r, to - r->off)))
				return;
		}
	}
	write_end(w);
	if (read_step(r, 0, 1))
		wrong(r, "no end where it should be", 0);
}

static struct lane *lane_new(int fd, uint64_t key)
{
	struct lane *l = calloc(1, sizeof(*l));

	if (!l)
		stress_die("calloc");
	l->fd = fd;
	l->key = key;
	l->size = stress_mix(key ^ 1) % (2 * each) + 1;
	l->rand = stress_mix(key ^ (uint64_t)getpid() << 20);
	l->file = memfd_create("stress", MFD_CLOEXEC);
	if (l->file < 0 || pipe2(l->pipe, O_CLOEXEC))
		stress_die("lane");
	return l;
}

static void lane_free(struct lane *l)
{
	close(l->file);
	close(l->pipe[0]);
	close(l->pipe[1]);
	free(l);
}

/* One end of a connection, to the end of both its directions. @side: which of the two it is. */
static void serve(int fd, uint64_t key, int side)
{
	struct lane *w = lane_new(fd, key * 2 + side), *r = lane_new(fd, key * 2 + !side);
	pthread_t t;

	switch (key % 3) {
	case 0:
		if (pthread_create(&t, NULL, write_lane, w))
			stress_die("pthread_create");
		read_lane(r);
		pthread_join(t, NULL);
		break;
	case 1: poll_lanes(w, r); break;
	default: turn_lanes(w, r, key, side);
	}
	close(fd);
	lane_free(w);
	lane_free(r);
}

/* What both processes must agree on: the key and volume of generation @g of connection @i. */
static uint64_t key_of(unsigned i, uint64_t g)
{
	return stress_mix(seed * 1000003 + i * 65537 + g) >> 2;
}

static uint64_t volume(uint64_t key)
{
	return stress_mix((key * 2) ^ 1) % (2 * each) + stress_mix((key * 2 + 1) ^ 1) % (2 * each) +
	       2;
}

struct worker {
	unsigned i;
	int listener; /* -1: connect to port */
	uint16_t port;
	uint64_t moved;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (uint64_t g = 0; w->moved < total / (conns + 1); g++) {
		uint64_t key = key_of(w->i, g);
		int fd = w->listener >= 0 ? accept4(w->listener, NULL, NULL, SOCK_CLOEXEC)
					  : stress_connect(w->port);

		int one = 1;

		if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
			stress_die("accept");
		serve(fd, key, w->listener >= 0);
		w->moved += volume(key);
	}
	return NULL;
}

static void number(char *const *argv, int i, uint64_t *v)
{
	if (!argv[i + 1])
		exit(2);
	*v = strtoull(argv[i + 1], NULL, 0);
}

static void on_alarm(int sig)
{
	static const char text[] = "stress_integrity: stuck: time is over\n";

	(void)sig;
	if (write(2, text, sizeof(text) - 1) < 0)
		_exit(3);
	_exit(1);
}

static pid_t start_peer(char **argv, const uint16_t *port)
{
	char *args[32], list[1024] = "";
	int n = 0;

	for (int i = 0; argv[i] && n < 28; i++)
		args[n++] = argv[i];
	for (unsigned i = 0; i < conns; i++)
		sprintf(list + strlen(list), "%u,", port[i]);
	args[n++] = (char *)"--peer";
	args[n++] = list;
	args[n] = NULL;
	pid_t pid = fork();

	if (!pid) {
		execv("/proc/self/exe", args);
		_exit(127);
	}
	return pid;
}

int main(int argc, char **argv)
{
	uint64_t v;
	const char *peer = NULL;
	uint16_t port[65];
	struct worker w[66];
	pthread_t t[66];
	int st = 0;

	for (int i = 1; i < argc; i += 2) {
		if (!strcmp(argv[i], "--peer") && argv[i + 1]) {
			peer = argv[i + 1];
			continue;
		}
		number(argv, i, &v);
		!strcmp(argv[i], "--bytes")   ? (void)(total = v)
		: !strcmp(argv[i], "--conns") ? (void)(conns = v > 64 ? 64 : v)
		: !strcmp(argv[i], "--seed")  ? (void)(seed = v)
		: !strcmp(argv[i], "--each")  ? (void)(each = v ? v : 1)
		: !strcmp(argv[i], "--limit") ? (void)(limit = v)
					      : exit(2);
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, on_alarm);
	alarm(limit);
	for (unsigned i = 0; i < conns; i++) {
		w[i] = (struct worker){ .i = i, .listener = -1 };
		if (peer) {
			w[i].port = strtoul(peer, (char **)&peer, 10);
			peer++;
		} else {
			w[i].listener = stress_listen(&port[i]);
		}
	}
	pid_t pid = peer ? 0 : start_peer(argv, port);
	unsigned n = conns;

	if (!peer) { /* the connection with both ends here */
		w[n] = (struct worker){ .i = 1000, .listener = stress_listen(&port[conns]) };
		w[n + 1] = (struct worker){ .i = 1000, .listener = -1, .port = port[conns] };
		n += 2;
	}
	for (unsigned i = 0; i < n; i++)
		if (pthread_create(&t[i], NULL, work, &w[i]))
			stress_die("pthread_create");
	uint64_t moved = 0;

	for (unsigned i = 0; i < n; i++) {
		pthread_join(t[i], NULL);
		moved += w[i].listener >= 0 ? w[i].moved : 0;
	}
	if (!peer && (waitpid(pid, &st, 0) != pid || st)) {
		fprintf(stderr, "stress_integrity: the peer ended with status %#x\n", st);
		return 1;
	}
	if (!peer)
		printf("checked %llu bytes, seed %llu\n", (unsigned long long)moved,
		       (unsigned long long)seed);
	return 0;
}
