/* bench_inst.c - what a request and its answer cost in an instance, and what an idle connection
 * costs in memory
 *
 * usage: bench_inst WORKLOAD CONNECTIONS TURNS    what callgrind counts in server_turn()
 *        bench_inst idle CONNECTIONS              as many established connections; prints bytes for
 *                                                 each end
 *
 * Client and server are two instances in this process; frames are handed over in memory, as a card
 * that sums would. A turn is the whole of what a server does for one request on an established
 * connection, from the call that gives the frame in to the frame out:
 *
 *     request    one 64-byte request comes in one frame, whose buffer (a zbuf) is the instance's;
 *                it also acknowledges the answer before, whose reference is given back. The event
 *                is taken, the request by reference, and its buffer freed; a 64-byte answer is
 *                sent by reference. One frame goes out: the answer, and the acknowledgement.
 *     request6   the same over IPv6
 *     copy       the same by inst_recv() and inst_send(), which copy: frames are lent
 *     receive    64 KiB in 45 frames of one burst, taken by reference; acknowledgements go out
 *     send       64 KiB of answer for a request of 64 bytes; frames of up to 64 KiB go out to be
 *                cut by the card; acknowledgements come in
 *     plain      request, over a card that neither sums nor cuts, without timestamps: what lwIP can do
 *     lwip       the same frames, answered by lwIP (liblwip, its raw API); ZTCP_LWIP_SIDE names the
 *                shared object made of lwip_side.c
 *
 * Connections take turns, and each is asked every millisecond of virtual time however many there are, so
 * that timers do the same for each.
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bench/micro/lwip_side.h"
#include "stack/base/base_check.h"
#include "stack/dev/dev.h"
#include "stack/inst/inst.h"
#include "stack/ip/ip_gso.h"
#include "stack/zbuf/zbuf.h"

#define MESSAGE        64
#define BULK           65160 /* 45 segments of 1448 bytes */
#define PORTS_A_CLIENT 60000 /* connections to one port of the server */
#define FRAMES         64
#define ASKED_EVERY    ZTIME_MS

struct end {
	struct inst *in;
	void *mem;
	size_t bytes;
	struct inst_conn **conns;
};

enum { WORK_V6 = 1, WORK_COPY = 2, WORK_PLAIN = 4, WORK_LWIP = 8 };

/* What a turn consists of. */
static const struct workload {
	const char *name;
	uint32_t request, answer; /* bytes */
	unsigned int how;
} workloads[] = {
	{ "request", MESSAGE, MESSAGE, 0 },
	{ "request6", MESSAGE, MESSAGE, WORK_V6 },
	{ "copy", MESSAGE, MESSAGE, WORK_COPY },
	{ "receive", BULK, 0, 0 },
	{ "send", MESSAGE, BULK, 0 },
	{ "plain", MESSAGE, MESSAGE, WORK_PLAIN },
	{ "lwip", MESSAGE, MESSAGE, WORK_PLAIN | WORK_LWIP },
};

static const struct workload *work = &workloads[0];
static struct zbuf_mem_pool *pool;
static struct wire_buf_ops ops; /* of the pool */
static struct end client, server;
static ztime_t now = ZTIME_SEC;
static char *answer;            /* what the server sends */
static struct zbuf *answer_buf; /* where it lies */
static uint64_t answered; /* requests the server has answered, or bytes it took where it does not */
static uint32_t asked;    /* bytes of the request that is coming in */
static uint64_t in_server; /* nanoseconds */
static const struct lwip_side *lwip;

static void fail(const char *what)
{
	fprintf(stderr, "bench_inst: %s\n", what);
	exit(1);
}

static union wire_addr end_addr(uint8_t last)
{
	if (work->how & WORK_V6)
		return (union wire_addr){ .b = { 0xfd, [15] = last } };
	return wire_addr_v4(0x0a000000u + last);
}

static void end_init(struct end *e, uint32_t conns, uint8_t last)
{
	struct inst_config cfg;
	union wire_addr addr = end_addr(last), other = end_addr((uint8_t)(3 - last));
	struct wire_mac peer = { { 2, 0, 0, 0, 0, (uint8_t)(3 - last) } };

	inst_config_defaults(&cfg);
	cfg.conns_max = conns + 1;
	cfg.listeners_max = 1024;
	cfg.pool_bytes = (1 << 20) +
			 (size_t)conns * 256; /* an answer under way on each at a time */
	cfg.syn_max = 1 << 20;
	cfg.key = (struct base_hash_key){ last, 77 };
	cfg.ip.mac = (struct wire_mac){ { 2, 0, 0, 0, 0, last } };
	/* A card that sums and cuts, as every one does. */
	cfg.ip.offloads = WIRE_OFFLOAD_TX_CSUM | WIRE_OFFLOAD_TSO;
	if (work->how & WORK_PLAIN)
		cfg.ip.offloads = cfg.tcp.timestamps = 0;
	if (!(work->how & WORK_COPY))
		cfg.copy_below = 0;
	cfg.buf = ops;
	e->bytes = inst_size(&cfg);
	e->mem = mmap(NULL, e->bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!e->bytes || e->mem == MAP_FAILED)
		fail("no memory");
	e->in = inst_init(e->mem, &cfg, now);
	e->conns = calloc(conns, sizeof(struct inst_conn *));
	if (ip_addr_add(inst_ip(e->in), &addr, work->how & WORK_V6 ? 64 : 24, now) ||
	    ip_neigh_add(inst_ip(e->in), &other, &peer, now))
		fail("address");
}

/* A frame as the other side's device would give it: in a buffer that goes with it, or lent. */
static struct wire_frame_in frame_in(const struct wire_frame_out *f, uint8_t *store)
{
	struct wire_frame_in in = { .flags = WIRE_FRAME_IP_CSUM_OK | WIRE_FRAME_TCP_CSUM_OK };

	if (work->how & WORK_PLAIN)
		in.flags = 0;
	in.len = f->hdr_len + f->len;
	if (!(work->how & (WORK_COPY | WORK_LWIP)))
		in.owner = ops.alloc(ops.ctx, in.len, &store);
	if (!store)
		fail("no buffer");
	in.data = store;
	dev_flatten(f, store);
	return in;
}

/* What a card makes of frames that are longer than the link takes. */
static unsigned int carry(const struct wire_frame_out *out, unsigned int n,
			  struct wire_frame_in *in)
{
	static uint8_t store[FRAMES][2048];
	unsigned int got = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct wire_frame_out piece;
		struct ip_gso gso;

		ip_gso_start(&gso, &out[i]);
		while (ip_gso_next(&gso, &piece, false)) {
			if (got == FRAMES)
				fail("more frames than fit");
			in[got] = frame_in(&piece, store[got]);
			got++;
		}
	}
	return got;
}

/* What lwIP wants sent. Return: frames, lent until the next call. */
static unsigned int lwip_out(struct wire_frame_in *in)
{
	static uint8_t store[FRAMES][2048];
	unsigned int n = 0;

	while (n < FRAMES && (in[n].len = lwip->take(store[n], sizeof(store[n]))) != 0) {
		in[n].data = store[n];
		in[n].owner = NULL;
		in[n].flags = 0;
		n++;
	}
	return n;
}

static void exchange(struct end *from, struct end *to)
{
	struct wire_frame_out out[FRAMES];
	struct wire_frame_in in[FRAMES];
	unsigned int n;

	while ((n = inst_output(from->in, out, FRAMES / 2, now)) != 0)
		inst_input(to->in, in, carry(out, n, in), now);
}

static void events_drop(struct end *e)
{
	struct inst_event ev;

	while (inst_event_take(e->in, &ev))
		;
}

static void listen_all(uint32_t conns, struct inst_listener **l)
{
	union wire_addr any = work->how & WORK_V6 ? (union wire_addr){ { 0 } } : wire_addr_v4(0);

	for (uint32_t i = 0; i * PORTS_A_CLIENT < conns; i++)
		if (inst_listen(server.in, &any, (uint16_t)(1000 + i), 1024, NULL, &l[i]))
			fail("listen");
}

static void connect_one(uint32_t i)
{
	struct wire_flow flow = { .local = end_addr(1), .remote = end_addr(2) };

	flow.lport = (uint16_t)(1024 + i % PORTS_A_CLIENT);
	flow.rport = (uint16_t)(1000 + i / PORTS_A_CLIENT);
	client.conns[i] = inst_conn_new(client.in, NULL);
	if (!client.conns[i] || inst_connect(client.in, client.conns[i], &flow, now))
		fail("connect");
}

/* In groups, so that no queue overflows. */
static void connect_all(uint32_t conns, struct inst_listener **l)
{
	listen_all(conns, l);
	for (uint32_t at = 0; at < conns;) {
		uint32_t first = at;

		for (; at < conns && at < first + 256 &&
		       at / PORTS_A_CLIENT == first / PORTS_A_CLIENT;
		     at++)
			connect_one(at);
		now += ztime_us(10);
		exchange(&client, &server);
		exchange(&server, &client);
		exchange(&client, &server);
		events_drop(&client);
		events_drop(&server);
		for (uint32_t i = first; i < at; i++) {
			server.conns[i] = inst_accept(server.in, l[i / PORTS_A_CLIENT], NULL);
			if (!server.conns[i])
				fail("accept");
		}
	}
}

static uint64_t nanoseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The request has come in pieces, or bytes are not answered. Return: true when one is complete. */
static BASE_COLD bool request_pieces(uint32_t len)
{
	asked += len;
	if (asked < work->request)
		return false;
	asked = 0;
	return true;
}

/* @got: the first of what has come */
static inline void answer_ref(struct inst *in, struct inst_conn *c, struct wire_tcp_iov *got,
			      ztime_t t)
{
	struct wire_tcp_iov iov;
	uint32_t len = work->answer;

	zbuf_put(got->owner);
	while (BASE_UNLIKELY(got->len != work->request || asked) && !request_pieces(got->len)) {
		if (!inst_recv_iov(in, c, got, t))
			return;
		zbuf_put(got->owner);
	}
	answered++;
	if (BASE_UNLIKELY(!len))
		return;
	iov.data = (const uint8_t *)answer;
	iov.len = len;
	iov.owner = answer_buf; /* with the reference that request() took */
	if (inst_send_iov(in, c, &iov, 0, t) != len)
		fail("the answer was not taken");
}

static BASE_COLD void copy_turn(struct inst *in, ztime_t t)
{
	struct inst_event ev;
	char bytes[256];
	size_t n;

	while (inst_event_take(in, &ev)) {
		if (!(ev.events & TCP_EV_READABLE))
			continue;
		n = inst_recv(in, ev.conn, bytes, sizeof(bytes), t);
		answered += n != 0;
		if (n)
			inst_send(in, ev.conn, bytes, n, 0, t);
	}
}

static BASE_COLD unsigned int lwip_turn(const struct wire_frame_in *in, unsigned int frames)
{
	for (unsigned int i = 0; i < frames; i++)
		answered = lwip->turn((uint8_t *)in[i].data, in[i].len);
	return 0;
}

/* The whole of what a server does for one request. Counted by name. */
static __attribute__((noinline)) unsigned int server_turn(const struct wire_frame_in *in,
							  unsigned int frames,
							  struct wire_frame_out *out)
{
	struct inst *i = server.in;
	ztime_t t = now;
	struct inst_event ev;
	struct wire_tcp_iov got;

	if (BASE_UNLIKELY(work->how & WORK_LWIP))
		return lwip_turn(in, frames);
	inst_input(i, in, frames, t);
	if (BASE_UNLIKELY(work->how & WORK_COPY))
		copy_turn(i, t);
	while (inst_event_recv(i, &ev, &got, t))
		if (BASE_LIKELY(got.len))
			answer_ref(i, ev.conn, &got, t);
	return inst_output(i, out, FRAMES, t);
}

static uint32_t client_take(struct inst_conn *c)
{
	struct wire_tcp_iov got;
	uint32_t sum = 0;

	while (inst_recv_iov(client.in, c, &got, now)) {
		sum += got.len;
		zbuf_put(got.owner);
	}
	return sum;
}

static void request(struct inst_conn *c)
{
	static const char bytes[BULK] = { 1 };
	struct wire_frame_out out[FRAMES];
	struct wire_frame_in in[FRAMES];
	uint64_t goal = answered + 1, begin;
	uint32_t got = 0;
	unsigned int n, turns = 0;

	/* The application's reference to what it sends again and again is its own business. */
	if (work->answer && !(work->how & (WORK_COPY | WORK_LWIP)))
		zbuf_ref(answer_buf);
	if (inst_send(client.in, c, bytes, work->request, 0, now) != work->request)
		fail("the request was not taken");
	/* A window that has to open first makes it several turns. */
	while (answered < goal || got < work->answer) {
		if (turns++ == 1000)
			fail("no answer");
		n = inst_output(client.in, out, 1 + work->request / 65536, now);
		n = carry(out, n, in);
		begin = nanoseconds();
		n = server_turn(in, n, out);
		in_server += nanoseconds() - begin;
		n = work->how & WORK_LWIP ? lwip_out(in) : carry(out, n, in);
		inst_input(client.in, in, n, now);
		got += client_take(c);
	}
	events_drop(&client);
}

/* Nanoseconds that looking at the clock takes, of those that are between two looks. */
static double clock_cost(void)
{
	uint64_t begin = nanoseconds();

	for (int i = 0; i < 100000; i++)
		nanoseconds();
	return (double)(nanoseconds() - begin) / 100000;
}

static void run(uint32_t conns, uint32_t turns)
{
	ztime_t step = BASE_MAX(ASKED_EVERY / conns, (ztime_t)1);
	uint64_t young = BASE_MAX(2ull * conns, 100ull);

	/* First past the quick acknowledgements of young connections, and windows wide open. */
	for (uint64_t i = 0; i < young + turns; i++) {
		if (i == young)
			in_server = 0;
		if (lwip && i % 64 == 0)
			lwip->timers();
		request(client.conns[i % conns]);
		now += step;
	}
	printf("%.1f ns for a turn in the server\n", (double)in_server / turns - clock_cost());
}

static size_t resident(void)
{
	size_t pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*u %zu", &pages) != 1)
		fail("/proc/self/statm");
	fclose(f);
	return pages * 4096;
}

static void lwip_open(void)
{
	const char *path = getenv("ZTCP_LWIP_SIDE");
	void *so = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	const struct lwip_side *(*side)(void) = so ? dlsym(so, "lwip_side") : NULL;

	if (!side)
		fail(so || !path ? "ZTCP_LWIP_SIDE is not set, or no lwip_side" : dlerror());
	lwip = side();
}

static void lwip_connect_all(uint32_t conns)
{
	static const uint8_t mac[] = { 2, 0, 0, 0, 0, 2 };
	struct wire_frame_out out[FRAMES];
	struct wire_frame_in in[FRAMES];

	lwip_open();
	if (lwip->init(mac, 0x0a000002, 1000, (uint16_t)(1 + conns / PORTS_A_CLIENT), MESSAGE))
		fail("lwip");
	for (uint32_t i = 0; i < conns; i++) {
		unsigned int n;

		connect_one(i);
		while ((n = inst_output(client.in, out, FRAMES / 2, now)) != 0) {
			server_turn(in, carry(out, n, in), out);
			while ((n = lwip_out(in)) != 0)
				inst_input(client.in, in, n, now);
		}
		events_drop(&client);
		now += ztime_us(10);
	}
}

static bool work_choose(const char *name)
{
	for (size_t i = 0; i < BASE_ARRAY_SIZE(workloads); i++)
		if (strcmp(workloads[i].name, name) == 0) {
			work = &workloads[i];
			return true;
		}
	return strcmp(name, "idle") == 0;
}

int main(int argc, char **argv)
{
	static struct inst_listener *l[1024];
	uint32_t conns = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	uint32_t turns = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	bool idle = argc == 3;
	size_t before;

	if (argc < 3 || !work_choose(argv[1]) || idle != !strcmp(argv[1], "idle") || !conns ||
	    (!idle && !turns) || conns > 1024u * PORTS_A_CLIENT) {
		fprintf(stderr,
			"usage: bench_inst WORKLOAD CONNECTIONS TURNS | idle CONNECTIONS\n");
		return 2;
	}
	pool = zbuf_mem_pool_new((size_t)1 << 30, ZBUF_PAGES_ORDINARY);
	zbuf_wire_ops(pool, &ops);
	answer = zbuf_malloc(pool, ZBUF_SIZE_MAX);
	answer_buf = zbuf_of(answer);
	end_init(&client, conns, 1);
	end_init(&server, conns, 2);
	before = resident();
	if (work->how & WORK_LWIP)
		lwip_connect_all(conns);
	else
		connect_all(conns, l);
	if (!idle) {
		run(conns, turns);
		return 0;
	}
	/* The tables of pointers here are the bench's, not the stack's. */
	printf("%.1f bytes an idle connection (%u connections, both ends resident, %zu MiB)\n",
	       (double)(resident() - before - 2 * (size_t)conns * sizeof(void *)) / (2.0 * conns),
	       conns, (resident() - before) >> 20);
	return 0;
}
