/* par_thread.c - parity of threads: a connection shared, handed over, raced for, closed in use */
#include "tests/parity/parity.h"

#include <netinet/in.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>

static char buf[1 << 16];

static void *serve_one(void *arg)
{
	int fd = *(int *)arg;
	char b[256];
	ssize_t n;
	long sum = 0;

	while ((n = read(fd, b, sizeof(b))) > 0)
		sum += write(fd, b, n);
	return (void *)sum;
}

CASE(accept_and_hand_over, F_PLAIN, "accepted in one thread, served in another, 8 connections")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 16, &sa, &len), s[8], a[8], good = 0;
	pthread_t t[8];

	for (int i = 0; i < 8; i++) {
		s[i] = socket(AF_INET, SOCK_STREAM, 0);
		MUST(connect(s[i], (struct sockaddr *)&sa, len));
		MUST(a[i] = accept(l, NULL, NULL));
		t[i] = hold(serve_one, &a[i]);
	}
	for (int j = 0; j < 150; j++)
		for (int i = 0; i < 8; i++)
			good += write(s[i], "0123456789", 10) == 10 &&
				recv(s[i], buf, 10, MSG_WAITALL) == 10;
	SHOW(good);
	for (int i = 0; i < 8; i++) {
		void *sum;

		shutdown(s[i], SHUT_WR);
		pthread_join(t[i], &sum);
		if ((long)sum != 1500)
			say("served %ld", (long)sum);
	}
}

CASE(hand_over_busy, F_ANY, "a busy connection moves through 6 threads in turn")
{
	for (int i = 0; i < 6; i++) {
		void *sum;
		pthread_t t = hold(serve_one, &c->a.fd);

		for (int j = 0; j < 20; j++) {
			end_put(&c->b, 30);
			c->b.dir ^= 1;
			end_get(&c->b, 30);
			c->b.dir ^= 1;
		}
		pthread_cancel(t);
		pthread_join(t, &sum);
	}
	c->b.rx = 0;
	c->a.rx = c->b.tx;
	SHOW(c->b.tx);
	conn_same(c, 1000);
}

struct half {
	struct end *e;
	long n;
	int size;
	long moved;
};

static long least(long x, long y)
{
	return x < y ? x : y;
}

static void *writes(void *arg)
{
	struct half *h = arg;

	while (h->moved < h->n) {
		long r = end_put1(h->e, least(h->size, h->n - h->moved));

		if (r <= 0)
			break;
		h->moved += r;
	}
	return NULL;
}

static void *reads(void *arg)
{
	struct half *h = arg;

	while (h->moved < h->n) {
		long r = end_get1(h->e, least(h->size, h->n - h->moved));

		if (r <= 0)
			break;
		h->moved += r;
	}
	return NULL;
}

CASE(full_duplex, F_SELF | F_SELF6, "4 threads: each end written by one and read by another")
{
	struct end ar = c->a, aw = c->a, br = c->b, bw = c->b;
	struct half h[4] = { { &aw, 400000, 1000, 0 },
			     { &ar, 300000, 700, 0 },
			     { &bw, 300000, 1000, 0 },
			     { &br, 400000, 5000, 0 } };
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		t[i] = hold(i % 2 ? reads : writes, &h[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	say("%ld %ld %ld %ld", h[0].moved, h[1].moved, h[2].moved, h[3].moved);
}

static long sum_of;
static int source;

static void *sums(void *arg)
{
	char b[100];
	ssize_t n;

	while ((n = read(source, b, sizeof(b))) > 0)
		for (ssize_t i = 0; i < n; i++)
			__atomic_fetch_add(&sum_of, (unsigned char)b[i], __ATOMIC_RELAXED);
	return arg;
}

static long put_known(int fd, void *arg, size_t *len)
{
	char b[1000];
	long sum = 0;

	(void)arg;
	(void)len;
	for (int i = 0; i < 200; i++) {
		memset(b, i, sizeof(b));
		sum += 1000L * i;
		if (write(fd, b, sizeof(b)) != sizeof(b))
			return -1;
	}
	shutdown(fd, SHUT_WR);
	return sum;
}

CASE(readers_share, F_ANY, "4 threads read one stream: every byte is read once")
{
	pthread_t t[4];

	source = c->a.fd;
	for (int i = 0; i < 4; i++)
		t[i] = hold(sums, NULL);
	SHOW(end_run(&c->b, put_known, NULL, NULL));
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	SHOW(sum_of);
}

struct records {
	int fd;
	char mark;
	int size;
	int n;
};

static void *put_records(void *arg)
{
	struct records *r = arg;
	char *b = malloc(r->size);

	memset(b, r->mark, r->size);
	for (int i = 0; i < r->n; i++)
		if (write(r->fd, b, r->size) != r->size)
			break;
	free(b);
	return NULL;
}

/* Read to the end; count the records that are torn. */
static long check_records(int fd, void *arg, size_t *len)
{
	int size = *(int *)arg;
	char *b = malloc(size);
	long good = 0;

	(void)len;
	while (recv(fd, b, size, MSG_WAITALL) == size) {
		int same = 1;

		for (int i = 1; i < size; i++)
			same &= b[i] == b[0];
		good += same;
	}
	free(b);
	return good;
}

static void writers(struct conn *c, int size, int n)
{
	struct records r[4];
	pthread_t t[4];

	end_start(&c->b, check_records, &size, sizeof(size));
	for (int i = 0; i < 4; i++) {
		r[i] = (struct records){ c->a.fd, 'a' + i, size, n };
		t[i] = hold(put_records, &r[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	SHOW(end_shutdown(&c->a, SHUT_WR));
	say("whole records: %ld", end_join(&c->b, NULL, NULL));
}

CASE(writers_share, F_ANY, "4 threads write small records: each stays whole")
{
	writers(c, 50, 300);
}

CASE(writers_share_medium, F_ANY, "4 threads write 3000-byte records: each stays whole")
{
	writers(c, 3000, 60);
}

static void *put_end(void *arg)
{
	struct half *h = arg;

	h->moved = end_put(h->e, h->n);
	return NULL;
}

CASE(dups_in_threads, F_BOTH, "each thread has its own dup: written in turns by two")
{
	struct end d = c->a;

	d.fd = dup(c->a.fd);
	for (int i = 0; i < 20; i++) {
		struct half h = { i % 2 ? &d : &c->a, 500, 0, 0 };

		h.e->tx = c->a.tx > d.tx ? c->a.tx : d.tx;
		pthread_join(hold(put_end, &h), NULL);
		if (h.moved != 500)
			say("short");
	}
	SHOW(end_get(&c->b, 10000));
}

CASE(many_threads, F_SELF, "12 threads, each with a connection of its own")
{
	struct conn d[12];
	struct half h[24];
	pthread_t t[24];
	long sum = 0;

	for (int i = 0; i < 12; i++) {
		struct conn cold = *c;

		cold.warm = i % 2;
		conn_open(&cold, &d[i]);
		h[2 * i] = (struct half){ &d[i].a, 50000, 333, 0 };
		h[2 * i + 1] = (struct half){ &d[i].b, 50000, 1000, 0 };
	}
	for (int i = 0; i < 24; i++)
		t[i] = hold(i % 2 ? reads : writes, &h[i]);
	for (int i = 0; i < 24; i++) {
		pthread_join(t[i], NULL);
		sum += h[i].moved;
	}
	SHOW(sum);
}

struct race {
	int fd;
	int go;
	int r, e;
};

static void *race_close(void *arg)
{
	struct race *r = arg;

	while (!__atomic_load_n(&r->go, __ATOMIC_ACQUIRE))
		;
	r->r = close(r->fd);
	return NULL;
}

CASE(close_races_write, F_BOTH,
     "close in one thread while another writes, 30 times; fds stay right")
{
	int odd = 0;

	for (int i = 0; i < 30; i++) {
		struct conn d;
		struct conn cold = *c;

		cold.warm = i % 3 == 0;
		conn_open(&cold, &d);
		struct race r = { d.a.fd, 0, 0, 0 };
		pthread_t t = hold(race_close, &r);
		ssize_t n = 0;

		__atomic_store_n(&r.go, 1, __ATOMIC_RELEASE);
		while ((n = send(r.fd, buf, 10, MSG_NOSIGNAL | MSG_DONTWAIT)) == 10)
			;
		odd += n == -1 && errno != EBADF && errno != EAGAIN;
		pthread_join(t, NULL);
		odd += r.r != 0;
		end_close(&d.b);
	}
	SHOW(odd);
	conn_same(c, 1000);
}

static void *close_twice(void *arg)
{
	struct race *r = arg;

	while (!__atomic_load_n(&r->go, __ATOMIC_ACQUIRE))
		;
	for (int i = 0; i < 2; i++)
		if (!close(r->fd))
			__atomic_fetch_add(&r->r, 1, __ATOMIC_RELAXED);
	return NULL;
}

CASE(close_races_close, F_BOTH, "3 threads close one number: exactly one succeeds")
{
	int odd = 0;

	for (int i = 0; i < 20; i++) {
		struct conn d;

		conn_open(c, &d);
		struct race r = { d.a.fd, 0, 0, 0 };
		pthread_t t[3];

		for (int j = 0; j < 3; j++)
			t[j] = hold(close_twice, &r);
		__atomic_store_n(&r.go, 1, __ATOMIC_RELEASE);
		for (int j = 0; j < 3; j++)
			pthread_join(t[j], NULL);
		odd += r.r != 1;
		odd += end_get1(&d.b, 1) != 0;
		end_close(&d.b);
	}
	SHOW(odd);
}

CASE(shutdown_races_read, F_BOTH, "shutdown while another thread reads, 20 times")
{
	int odd = 0;

	for (int i = 0; i < 20; i++) {
		struct conn d;

		conn_open(c, &d);
		end_get_start(&d.a, 1);
		shutdown(d.a.fd, SHUT_RDWR);
		odd += end_get_join(&d.a) != 0;
		odd += end_get1(&d.b, 1) != 0;
		end_close(&d.a);
		end_close(&d.b);
	}
	SHOW(odd);
}

static void *leave(void *arg)
{
	struct half *h = arg;

	h->moved = end_put(h->e, h->n);
	pthread_exit(NULL);
}

CASE(thread_ends, F_ANY, "the thread that warmed and wrote ends; another goes on")
{
	struct half h = { &c->a, 5000, 0, 0 };

	pthread_join(hold(leave, &h), NULL);
	SHOW(end_get(&c->b, 5000));
	conn_same(c, 5000);
}

struct dispatch {
	int in;
	long served;
};

static void *dispatched(void *arg)
{
	struct dispatch *d = arg;
	int ep = epoll_create1(0), fd;
	struct epoll_event e[4];
	char b[100];

	e[0] = (struct epoll_event){ EPOLLIN, { .fd = d->in } };
	epoll_ctl(ep, EPOLL_CTL_ADD, d->in, &e[0]);
	for (;;) {
		int n = epoll_wait(ep, e, 4, 5000);

		for (int i = 0; i < n; i++) {
			ssize_t got = read(e[i].data.fd, e[i].data.fd == d->in ? (void *)&fd : b,
					   e[i].data.fd == d->in ? sizeof(fd) : sizeof(b));

			if (e[i].data.fd != d->in) {
				if (got > 0)
					d->served += write(e[i].data.fd, b, got);
				else
					close(e[i].data.fd);
				continue;
			}
			if (got <= 0)
				return NULL;
			struct epoll_event add = { EPOLLIN, { .fd = fd } };

			epoll_ctl(ep, EPOLL_CTL_ADD, fd, &add);
		}
		if (n <= 0)
			return NULL;
	}
}

CASE(memcached_style, F_PLAIN, "one thread accepts and hands numbers by pipe to 3 epoll threads")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 16, &sa, &len), s[9], good = 0;
	int p[3][2];
	struct dispatch d[3];
	pthread_t t[3];

	for (int i = 0; i < 3; i++) {
		MUST(pipe(p[i]));
		d[i] = (struct dispatch){ p[i][0], 0 };
		t[i] = hold(dispatched, &d[i]);
	}
	for (int i = 0; i < 9; i++) {
		s[i] = socket(AF_INET, SOCK_STREAM, 0);
		MUST(connect(s[i], (struct sockaddr *)&sa, len));
		int a = accept4(l, NULL, NULL, SOCK_NONBLOCK);

		MUST(write(p[i % 3][1], &a, sizeof(a)));
	}
	for (int j = 0; j < 100; j++)
		for (int i = 0; i < 9; i++)
			good += write(s[i], "0123456789", 10) == 10 &&
				recv(s[i], buf, 10, MSG_WAITALL) == 10;
	SHOW(good);
	for (int i = 0; i < 9; i++)
		close(s[i]);
	for (int i = 0; i < 3; i++)
		close(p[i][1]);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	SHOW(d[0].served + d[1].served + d[2].served);
}

enum { SHORT_CONNS = 4000, SHORT_BYTES = 7 };

static int short_turn; /* the connection that its server is about to close */

static void spin_ns(long ns)
{
	struct timespec t0, t;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	do
		clock_gettime(CLOCK_MONOTONIC, &t);
	while ((t.tv_sec - t0.tv_sec) * 1000000000 + t.tv_nsec - t0.tv_nsec < ns);
}

static void *serve_short(void *arg)
{
	int l = *(int *)arg;
	long sum = 0;

	for (int i = 0; i < SHORT_CONNS; i++) {
		int a = accept(l, NULL, NULL);

		for (int j = 0; j < SHORT_BYTES; j++)
			sum += write(a, "x", 1);
		/* no two alike: some meet the other end while it looks for this one */
		__atomic_store_n(&short_turn, i + 1, __ATOMIC_RELEASE);
		spin_ns(i % 128 * 300);
		close(a);
	}
	return (void *)sum;
}

CASE(short_of_two_threads, F_PLAIN, "an end is closed at the moment in which the other is lifted")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 16, &sa, &len);
	pthread_t t = hold(serve_short, &l);
	long read_all = 0, wrote = 0;
	void *sum;

	for (int i = 0; i < SHORT_CONNS; i++) {
		int s = socket(AF_INET, SOCK_STREAM, 0), n = 0;

		MUST(connect(s, (struct sockaddr *)&sa, len));
		while (n < SHORT_BYTES && read(s, buf, 1) == 1)
			n++;
		read_all += n == SHORT_BYTES;
		while (__atomic_load_n(&short_turn, __ATOMIC_ACQUIRE) <= i)
			sched_yield();
		wrote += write(s, buf, 1);
		close(s);
	}
	SHOW(read_all);
	SHOW(wrote);
	pthread_join(t, &sum);
	say("served %ld", (long)sum);
}
