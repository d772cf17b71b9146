/* bench_pair.c - TCP between two ports in one process, each thread with a queue of both: what a queue carries, and whether two carry twice
 *
 * usage: bench_pair rr|bulk THREADS SECONDS SERVER CLIENT
 *   rr    CONNS connections a thread; a request of 64 bytes is answered by 64, and then asked again
 *   bulk  one connection a thread; the client sends buffers of 45 segments by reference, the server takes them by reference
 * SERVER and CLIENT are two ports of one DPDK (net_memif, say) that are each other's peers, with as many queues as threads. A thread drives
 * a server's and a client's instance, so that no thread waits for another and each can have a processor to itself.
 * Every byte is compared with what was sent.
 *
 * Prints: MODE THREADS rounds-or-bytes-per-second copied crossed
 *   copied   bytes of payload that the devices copied
 *   crossed  buffers that came back in another thread than the one that has the queue
 * Exit: 0, 1 when bytes are wrong or nothing moves, or 77 when a port does not open.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stack/cc/cc.h"
#include "stack/dev/dev_open.h"
#include "stack/include/ztcp.h"

#define THREADS  8
#define CONNS    32
#define MESSAGE  64
#define BULK     65160u /* 45 segments of 1448 bytes: none is short */
#define AHEAD    4      /* buffers that are sent and not acknowledged */
#define PORT     7
#define PATIENCE ztime_sec(30)

struct end {
	struct dev *dev;
	struct zbuf_mem_pool *pool;
	struct ztcp *z;
	uint64_t copied; /* when it was closed */
};

struct worker {
	_Alignas(128) pthread_t thread;
	unsigned int number;
	struct end server, client;
	struct inst_conn *conns[CONNS];
	uint64_t moved, up; /* connections that are up */
	uint64_t at;        /* bytes received by the server */
	unsigned int out;   /* bulk buffers that are on their way */
	_Atomic uint64_t crossed;
	bool wrong;
};

static struct {
	const char *specs[2];
	bool bulk;
	unsigned int threads, seconds;
	uint8_t *pattern;
	pthread_barrier_t open, begin;
	_Atomic int failed;
	struct worker workers[THREADS];
} b;

static _Thread_local struct worker *self;

static ztime_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * ZTIME_SEC + ts.tv_nsec;
}

/* ---- the client */

static void bulk_back(void *arg, void *data, size_t len)
{
	struct worker *w = arg;

	(void)data;
	(void)len;
	if (w != self)
		atomic_fetch_add(&w->crossed, 1);
	else
		w->out--;
}

static bool bulk_send(struct worker *w)
{
	uint8_t *data = zbuf_malloc(w->client.pool, BULK);

	if (!data)
		return false;
	memcpy(data, b.pattern, BULK);
	zbuf_done_set(data, bulk_back, w);
	w->out++;
	/* The connection's space is a multiple of what it is given. */
	if (ztcp_send_ref(w->client.z, w->conns[0], data, BULK, 0, now()) != BULK)
		w->wrong = true;
	zbuf_free(data);
	return true;
}

static void ask(struct worker *w, struct inst_conn *c)
{
	if (inst_send(ztcp_inst(w->client.z), c, b.pattern, MESSAGE, 0, now()) != MESSAGE)
		w->wrong = true;
}

static void client_event(struct worker *w, struct inst_event *ev)
{
	const void *data;
	uint32_t n;

	if (ev->user == w && ev->events & TCP_EV_CONNECTED) {
		w->up++;
		if (!b.bulk)
			ask(w, ev->conn);
		inst_conn_user_set(ev->conn, &w->up);
	}
	while ((n = ztcp_recv_ref(w->client.z, ev->conn, &data, now()))) {
		w->wrong |= n != MESSAGE || memcmp(data, b.pattern, n);
		zbuf_free(data);
		w->moved++;
		ask(w, ev->conn);
	}
}

/* ---- the server */

static void server_take(struct worker *w, struct inst_conn *c)
{
	const void *data;
	uint32_t n;

	while ((n = ztcp_recv_ref(w->server.z, c, &data, now()))) {
		if (!b.bulk) {
			w->wrong |= n != MESSAGE;
			inst_send(ztcp_inst(w->server.z), c, data, n, 0, now());
		} else {
			uint32_t from = w->at % BULK, first = n < BULK - from ? n : BULK - from;

			w->wrong |= memcmp(data, b.pattern + from, first) ||
				    memcmp((const char *)data + first, b.pattern, n - first);
			w->at += n;
			w->moved += n;
		}
		zbuf_free(data);
	}
}

static void server_event(struct worker *w, struct inst_event *ev)
{
	struct inst_conn *c;

	if (ev->listener)
		while ((c = inst_accept(ztcp_inst(w->server.z), ev->listener, w)))
			server_take(w, c);
	else
		server_take(w, ev->conn);
}

/* ---- both */

static void turn(struct worker *w)
{
	struct inst_event ev;

	ztcp_poll(w->server.z, now());
	while (ztcp_event(w->server.z, &ev))
		server_event(w, &ev);
	ztcp_flush(w->server.z, now());
	ztcp_poll(w->client.z, now());
	while (ztcp_event(w->client.z, &ev))
		client_event(w, &ev);
	while (b.bulk && w->up && w->out < AHEAD && bulk_send(w))
		;
	ztcp_flush(w->client.z, now());
}

static int end_open(struct end *e, const char *spec, uint32_t address)
{
	union wire_addr addr = wire_addr_v4(address);
	struct dev_conf conf = { 0 };
	struct inst_config cfg;
	struct dev_error err;

	e->pool = zbuf_mem_pool_new((size_t)256 << 20, ZBUF_PAGES_ORDINARY);
	if (!e->pool)
		return 1;
	zbuf_wire_ops(e->pool, &conf.buf);
	if (dev_open(spec, &conf, &e->dev, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 77;
	}
	inst_config_defaults(&cfg);
	cfg.tcp.sndbuf_bytes = 2 * AHEAD * BULK;
	cfg.key = (struct base_hash_key){ address, self->number };
	e->z = ztcp_new(e->dev, e->pool, &cfg, now());
	if (!e->z)
		return 1;
	return ip_addr_add(inst_ip(ztcp_inst(e->z)), &addr, 24, now()) ? 1 : 0;
}

static int worker_open(struct worker *w)
{
	union wire_addr to = wire_addr_v4(0x0a090002);
	struct inst_listener *l;
	int rc = end_open(&w->server, b.specs[0], 0x0a090002);

	if (!rc)
		rc = end_open(&w->client, b.specs[1], 0x0a090001);
	if (!rc && ztcp_listen(w->server.z, &to, PORT, CONNS, w, &l))
		rc = 1;
	for (unsigned int i = 0; !rc && i < (b.bulk ? 1 : CONNS); i++) {
		w->conns[i] = ztcp_connect(w->client.z, &to, PORT, w, now());
		rc = !w->conns[i];
	}
	return rc;
}

static void worker_close(struct worker *w)
{
	struct end *ends[] = { &w->client, &w->server };

	for (unsigned int i = 0; i < 2; i++) {
		if (ends[i]->z)
			ztcp_free(ends[i]->z);
		if (!ends[i]->dev)
			continue;
		ends[i]->copied = ends[i]->dev->copied;
		dev_close(ends[i]->dev);
	}
}

static void run(struct worker *w)
{
	ztime_t give_up = now() + PATIENCE, until;

	while (w->up < (b.bulk ? 1 : CONNS) && now() < give_up)
		turn(w);
	pthread_barrier_wait(&b.begin);
	w->moved = 0;
	for (until = now() + ztime_sec(b.seconds); now() < until;)
		for (int i = 0; i < 16; i++)
			turn(w);
}

/* Ports are opened one after the other, and closed when nobody is on them any more. */
static void *worker_main(void *arg)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	struct worker *w = arg;
	int rc;

	self = w;
	pthread_mutex_lock(&one);
	rc = worker_open(w);
	pthread_mutex_unlock(&one);
	if (rc)
		atomic_store(&b.failed, rc);
	pthread_barrier_wait(&b.open);
	if (!atomic_load(&b.failed))
		run(w);
	pthread_barrier_wait(&b.open);
	pthread_mutex_lock(&one);
	worker_close(w);
	pthread_mutex_unlock(&one);
	return NULL;
}

static int report(void)
{
	uint64_t moved = 0, copied = 0, crossed = 0;
	int rc = atomic_load(&b.failed);

	for (unsigned int i = 0; !rc && i < b.threads; i++) {
		const struct worker *w = &b.workers[i];

		if (w->wrong || !w->moved) {
			fprintf(stderr, "thread %u: %s\n", i,
				w->wrong ? "not what was sent" : "nothing came");
			rc = 1;
		}
		moved += w->moved;
		crossed += atomic_load(&w->crossed);
		copied += w->server.copied + w->client.copied;
	}
	if (!rc)
		printf("%s %u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", b.bulk ? "bulk" : "rr",
		       b.threads, moved / b.seconds, copied, crossed);
	return rc;
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_pair rr|bulk THREADS SECONDS SERVER CLIENT\n");
	return 2;
}

int main(int argc, char **argv)
{
	if (argc != 6 || (strcmp(argv[1], "rr") && strcmp(argv[1], "bulk")))
		return usage();
	b.bulk = !strcmp(argv[1], "bulk");
	b.threads = (unsigned int)atoi(argv[2]);
	b.seconds = (unsigned int)atoi(argv[3]);
	if (!b.threads || b.threads > THREADS || !b.seconds)
		return usage();
	b.specs[0] = argv[4];
	b.specs[1] = argv[5];
	b.pattern = malloc(BULK);
	if (!b.pattern)
		return 1;
	for (unsigned int i = 0; i < BULK; i++)
		b.pattern[i] = (uint8_t)(i * 2654435761u >> 24);
	pthread_barrier_init(&b.open, NULL, b.threads);
	pthread_barrier_init(&b.begin, NULL, b.threads);
	for (unsigned int i = 0; i < b.threads; i++) {
		b.workers[i].number = i;
		pthread_create(&b.workers[i].thread, NULL, worker_main, &b.workers[i]);
	}
	for (unsigned int i = 0; i < b.threads; i++)
		pthread_join(b.workers[i].thread, NULL);
	return report();
}
