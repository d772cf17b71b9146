/* bench_inst.c - what a request and its answer cost in an instance, and what an idle connection
 * costs in memory
 *
 * usage: bench_inst echo CONNECTIONS REQUESTS    64-byte requests and answers, round robin;
 * callgrind counts server_turn()
 *        bench_inst idle CONNECTIONS             as many established connections; prints bytes for
 * each end
 *
 * Client and server are two instances in this process; frames are handed over in memory.
 * server_turn() is a frame in, read, write, and a frame out: data and acknowledgement in both
 * directions.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "stack/dev/dev.h"
#include "stack/inst/inst.h"
#include "stack/zbuf/zbuf.h"

#define MESSAGE        64
#define PORTS_A_CLIENT 60000 /* connections to one port of the server */
#define FRAMES_A_TURN  64
#define FRAMES         64

struct end {
	struct inst *in;
	void *mem;
	size_t bytes;
	struct inst_conn **conns;
};

static struct zbuf_mem_pool *pool;
static struct end client, server;
static ztime_t now = ZTIME_SEC;

static void fail(const char *what)
{
	fprintf(stderr, "bench_inst: %s\n", what);
	exit(1);
}

static void end_init(struct end *e, uint32_t conns, uint8_t last)
{
	struct inst_config cfg;
	union wire_addr addr = wire_addr_v4(0x0a000000u + last),
			other = wire_addr_v4(0x0a000003u - last);
	struct wire_mac peer = { { 2, 0, 0, 0, 0, (uint8_t)(3 - last) } };

	inst_config_defaults(&cfg);
	cfg.conns_max = conns + 1;
	cfg.listeners_max = 1024;
	cfg.pool_bytes = (1 << 20) +
			 (size_t)conns * 256; /* an answer under way on each at a time */
	cfg.syn_max = 1 << 20;
	cfg.key = (struct base_hash_key){ last, 77 };
	cfg.ip.mac = (struct wire_mac){ { 2, 0, 0, 0, 0, last } };
	/* A card that sums, as every one does. */
	cfg.ip.offloads = WIRE_OFFLOAD_TX_CSUM;
	zbuf_wire_ops(pool, &cfg.buf);
	e->bytes = inst_size(&cfg);
	e->mem = mmap(NULL, e->bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!e->bytes || e->mem == MAP_FAILED)
		fail("no memory");
	e->in = inst_init(e->mem, &cfg, now);
	e->conns = calloc(conns, sizeof(struct inst_conn *));
	if (ip_addr_add(inst_ip(e->in), &addr, 24, now) ||
	    ip_neigh_add(inst_ip(e->in), &other, &peer, now))
		fail("address");
}

/* Frames as the other side's device would give them. */
static unsigned int carry(const struct wire_frame_out *out, unsigned int n,
			  struct wire_frame_in *in, uint8_t (*store)[2048])
{
	for (unsigned int i = 0; i < n; i++)
		in[i] = (struct wire_frame_in){
			.data = store[i],
			.len = (uint32_t)dev_flatten(&out[i], store[i]),
			.flags = WIRE_FRAME_IP_CSUM_OK | WIRE_FRAME_TCP_CSUM_OK,
		};
	return n;
}

static void exchange(struct end *from, struct end *to)
{
	static uint8_t store[FRAMES][2048];
	struct wire_frame_out out[FRAMES];
	struct wire_frame_in in[FRAMES];
	unsigned int n;

	while ((n = inst_output(from->in, out, FRAMES, now)) != 0)
		inst_input(to->in, in, carry(out, n, in, store), now);
}

static void events_drop(struct end *e)
{
	struct inst_event ev;

	while (inst_event_take(e->in, &ev))
		;
}

static void listen_all(uint32_t conns, struct inst_listener **l)
{
	union wire_addr any = wire_addr_v4(0);

	for (uint32_t i = 0; i * PORTS_A_CLIENT < conns; i++)
		if (inst_listen(server.in, &any, (uint16_t)(1000 + i), 1024, NULL, &l[i]))
			fail("listen");
}

static void connect_one(uint32_t i)
{
	struct wire_flow flow = { .local = wire_addr_v4(0x0a000001),
				  .remote = wire_addr_v4(0x0a000002) };

	flow.lport = (uint16_t)(1024 + i % PORTS_A_CLIENT);
	flow.rport = (uint16_t)(1000 + i / PORTS_A_CLIENT);
	client.conns[i] = inst_conn_new(client.in, NULL);
	if (!client.conns[i] || inst_connect(client.in, client.conns[i], &flow, now))
		fail("connect");
}

/* In groups, so that no queue overflows. */
static void connect_all(uint32_t conns, struct inst_listener **l)
{
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

/* The whole of what a server does for one request. Counted by name. */
static __attribute__((noinline)) unsigned int server_turn(const struct wire_frame_in *in,
							  unsigned int frames,
							  struct wire_frame_out *out)
{
	struct inst_event ev;
	char bytes[256];
	size_t n;

	inst_input(server.in, in, frames, now);
	while (inst_event_take(server.in, &ev)) {
		n = inst_recv(server.in, ev.conn, bytes, sizeof(bytes), now);
		if (n)
			inst_send(server.in, ev.conn, bytes, n, 0, now);
	}
	return inst_output(server.in, out, FRAMES_A_TURN, now);
}

static void request(struct inst_conn *c)
{
	static uint8_t store[FRAMES_A_TURN][2048];
	struct wire_frame_out out[FRAMES_A_TURN];
	struct wire_frame_in in[FRAMES_A_TURN];
	char bytes[MESSAGE] = { 1 };
	unsigned int n;

	inst_send(client.in, c, bytes, MESSAGE, 0, now);
	now += ztime_us(1);
	/* Delayed acknowledgements of other connections may fill a turn: then the next has it. */
	for (int turns = 0; inst_recv(client.in, c, bytes, MESSAGE, now) != MESSAGE; turns++) {
		if (turns == 1000)
			fail("no answer");
		n = inst_output(client.in, out, FRAMES_A_TURN, now);
		n = server_turn(in, carry(out, n, in, store), out);
		inst_input(client.in, in, carry(out, n, in, store), now);
	}
	events_drop(&client);
}

static uint64_t nanoseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void echo(uint32_t conns, uint32_t requests)
{
	uint64_t begin;

	for (uint32_t i = 0; i < conns; i++)
		request(client.conns[i]); /* past the first quick acknowledgements */
	begin = nanoseconds();
	for (uint32_t i = 0; i < requests; i++)
		request(client.conns[i % conns]);
	if (requests)
		printf("%" PRIu64 " ns for a request and its answer in both instances\n",
		       (nanoseconds() - begin) / requests);
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

int main(int argc, char **argv)
{
	static struct inst_listener *l[1024];
	uint32_t conns = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	size_t before;

	if (argc < 3 || !conns || conns > 1024u * PORTS_A_CLIENT) {
		fprintf(stderr, "usage: bench_inst echo CONNECTIONS REQUESTS | idle CONNECTIONS\n");
		return 2;
	}
	pool = zbuf_mem_pool_new((size_t)1 << 30, ZBUF_PAGES_ORDINARY);
	end_init(&client, conns, 1);
	end_init(&server, conns, 2);
	before = resident();
	listen_all(conns, l);
	connect_all(conns, l);
	if (strcmp(argv[1], "echo") == 0 && argc == 4) {
		echo(conns, (uint32_t)strtoul(argv[3], NULL, 10));
		return 0;
	}
	/* The tables of pointers here are the bench's, not the stack's. */
	printf("%.1f bytes an idle connection (%u connections, both ends resident, %zu MiB)\n",
	       (double)(resident() - before - 2 * (size_t)conns * sizeof(void *)) / (2.0 * conns),
	       conns, (resident() - before) >> 20);
	return 0;
}
