/* interop_host.c - a host made of one instance on a device, beside the kernel's TCP or another
 * such host; driven by interop.sh and tests/nic
 *
 * usage: interop_host [options] serve                    HTTP on port 80 until killed
 *        interop_host [options] get ADDR PORT PATH       body of an HTTP answer to standard output
 *        interop_host [options] send ADDR PORT BYTES     bytes, FIN, then prints what comes back
 * (half-close)
 *        interop_host pattern BYTES                      the bytes that all sides send and expect
 *        interop_host ksink PORT SECONDS                 kernel socket: wait SECONDS, read to the
 * end, answer "N ok\n" options: --mtu N --loss P --reorder P --corrupt P --dup P (millionths)
 * --delay US --jitter US --seed N
 *          --no-ts --no-ws --no-sack --cc reno|cubic --pcap FILE
 *          --dev SPEC  the device, as dev_open() takes it; "tap:zt0" unless given
 *          --host N    last byte of the address, 2 unless given
 *
 * get, send and serve say at their end how many frames came and went, a long one that the device cuts as one.
 *
 * On a device that shares the kernel's interface it has the kernel's addresses and routes.
 * Otherwise it is 10.9.0.N and fd09::N; everything else is reached by way of 10.9.0.1, fd09::1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "stack/base/base_check.h"
#include "stack/cc/cc.h"
#include "stack/dev/dev_fault.h"
#include "stack/dev/dev_open.h"
#include "stack/dev/dev_pcap.h"
#include "stack/inst/inst.h"
#include "stack/zbuf/zbuf.h"

#define BATCH   64
#define REQUEST 4096

/* One connection of ours: what has come and what is to go. */
struct peer {
	struct inst_conn *conn;
	char request[REQUEST];
	size_t have;
	uint64_t to_send, sent;     /* pattern bytes */
	uint64_t to_recv, received; /* pattern bytes of a POST */
	bool serving, bad, in_body, answered, shut, client;
};

struct host {
	struct inst *in;
	struct dev *dev;
	struct zbuf_mem_pool *pool;
	struct inst_listener *listeners[2];
	struct peer *client;
	int rc; /* of a client, when done */
	bool done;
};

static struct {
	uint16_t mtu;
	struct dev_fault_config fault;
	bool no_ts, no_ws, no_sack;
	const char *cc, *pcap, *dev;
	uint8_t host;
} opt = { .mtu = 1500, .fault = { .seed = 1 }, .host = 2 };

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static ztime_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * ZTIME_SEC + ts.tv_nsec;
}

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)((at * 0x9e3779b97f4a7c15ull) >> 56);
}

static void pattern_fill(uint8_t *to, size_t n, uint64_t at)
{
	for (size_t i = 0; i < n; i++)
		to[i] = pattern(at + i);
}

static bool pattern_ok(const uint8_t *p, size_t n, uint64_t at)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != pattern(at + i))
			return false;
	return true;
}

/* ---- one connection */

static void peer_free(struct host *h, struct peer *p, ztime_t now)
{
	inst_close(h->in, p->conn, now);
	if (p->client)
		h->done = true;
	free(p);
}

/* Pattern bytes as far as the queue takes them. Return: true when all have been taken. */
static bool peer_fill(struct host *h, struct peer *p, ztime_t now)
{
	uint8_t block[16384];

	while (p->sent < p->to_send) {
		size_t n = BASE_MIN(sizeof(block), (size_t)(p->to_send - p->sent));
		int64_t took;

		pattern_fill(block, n, p->sent);
		took = inst_send(h->in, p->conn, block, n, 0, now);
		if (took <= 0)
			return false;
		p->sent += (uint64_t)took;
	}
	return true;
}

static void peer_say(struct host *h, struct peer *p, const char *text, ztime_t now)
{
	inst_send(h->in, p->conn, text, strlen(text), 0, now);
}

/* GET /N gives N pattern bytes; POST reads Content-Length pattern bytes. */
static void request_start(struct host *h, struct peer *p, ztime_t now)
{
	const char *length = strcasestr(p->request, "content-length:");
	char head[160];

	p->in_body = true;
	if (strncmp(p->request, "POST ", 5) == 0) {
		p->to_recv = length ? strtoull(length + 15, NULL, 10) : 0;
		if (strcasestr(p->request, "100-continue"))
			peer_say(h, p, "HTTP/1.1 100 Continue\r\n\r\n", now);
		return;
	}
	p->to_send = strncmp(p->request, "GET /", 5) == 0 ? strtoull(p->request + 5, NULL, 10) : 0;
	p->answered = true;
	snprintf(head, sizeof(head),
		 "HTTP/1.1 200 OK\r\nContent-Length: %" PRIu64 "\r\nConnection: close\r\n\r\n",
		 p->to_send);
	peer_say(h, p, head, now);
}

static void body_take(struct peer *p, const uint8_t *data, size_t n)
{
	p->bad |= !pattern_ok(data, n, p->received);
	p->received += n;
}

static void request_read(struct host *h, struct peer *p, const uint8_t *data, size_t n, ztime_t now)
{
	size_t part;
	char *end;

	if (p->in_body) {
		body_take(p, data, n);
		return;
	}
	part = BASE_MIN(n, REQUEST - 1 - p->have);
	memcpy(p->request + p->have, data, part);
	p->have += part;
	p->request[p->have] = 0;
	end = strstr(p->request, "\r\n\r\n");
	if (!end)
		return;
	request_start(h, p, now);
	end += 4;
	body_take(p, (uint8_t *)end, p->have - (size_t)(end - p->request));
	body_take(p, data + part, n - part);
}

static void server_turn(struct host *h, struct peer *p, ztime_t now)
{
	uint8_t block[16384];
	size_t n;

	while ((n = inst_recv(h->in, p->conn, block, sizeof(block), now)))
		request_read(h, p, block, n, now);
	if (p->in_body && !p->answered && p->received >= p->to_recv) {
		p->answered = true;
		peer_say(h, p,
			 p->bad ? "HTTP/1.1 400 Bad\r\nContent-Length: 4\r\n\r\nbad\n"
				: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
			 now);
	}
	if ((p->answered && peer_fill(h, p, now)) || tcp_eof(inst_conn_tcb(p->conn)) ||
	    tcp_error(inst_conn_tcb(p->conn)))
		peer_free(h, p, now);
}

static void client_output(struct peer *p, const uint8_t *data, size_t n)
{
	const uint8_t *end = data;

	if (!p->in_body && p->have) { /* the head of an HTTP answer ends in an empty line */
		end = memmem(data, n, "\r\n\r\n", 4);
		if (!end)
			return;
		end += 4;
		p->in_body = true;
	}
	fwrite(end, 1, n - (size_t)(end - data), stdout);
}

static void client_turn(struct host *h, struct peer *p, ztime_t now)
{
	uint8_t block[16384];
	size_t n;

	if (peer_fill(h, p, now) && !p->shut && p->to_send) {
		inst_shutdown(h->in, p->conn, now);
		p->shut = true;
	}
	while ((n = inst_recv(h->in, p->conn, block, sizeof(block), now)))
		client_output(p, block, n);
	if (tcp_error(inst_conn_tcb(p->conn))) {
		fprintf(stderr, "connection: %s\n", strerror(tcp_error(inst_conn_tcb(p->conn))));
		h->rc = 1;
		peer_free(h, p, now);
	} else if (tcp_eof(inst_conn_tcb(p->conn))) {
		peer_free(h, p, now);
	}
}

/* ---- the loop */

static void accept_all(struct host *h, struct inst_listener *l, ztime_t now)
{
	struct inst_conn *c;

	while ((c = inst_accept(h->in, l, NULL))) {
		struct peer *p = calloc(1, sizeof(*p));

		p->conn = c;
		p->serving = true;
		inst_conn_user_set(c, p);
		server_turn(h, p, now);
	}
}

static void events(struct host *h, ztime_t now)
{
	struct inst_event ev;

	while (inst_event_take(h->in, &ev)) {
		if (ev.events & INST_EV_ACCEPT)
			accept_all(h, ev.listener, now);
		else if (ev.user && ((struct peer *)ev.user)->client)
			client_turn(h, ev.user, now);
		else if (ev.user)
			server_turn(h, ev.user, now);
	}
}

static void turn(struct host *h)
{
	struct wire_frame_out out[BATCH];
	struct wire_frame_in in[BATCH];
	ztime_t now = clock_now();
	unsigned int n = dev_recv(h->dev, in, BATCH, now);

	inst_input(h->in, in, n, now);
	events(h, now);
	while ((n = inst_output(h->in, out, BATCH, now)) != 0) {
		dev_send(h->dev, out, n, now);
		events(h, now);
	}
}

static void wait(struct host *h)
{
	ztime_t at = ztime_min(inst_deadline(h->in), dev_deadline(h->dev));
	ztime_t left = at == ZTIME_NEVER ? ZTIME_SEC : at - clock_now();
	struct pollfd p[] = { { .fd = dev_fd(h->dev), .events = POLLIN },
			      { .fd = dev_fd_tables(h->dev), .events = POLLIN } };
	struct timespec ts;

	/* A device that is polled has nothing to wait on. */
	left = left < 0 ? 0 : BASE_MIN(left, p[0].fd < 0 ? ztime_us(20) : ZTIME_SEC);
	ts = (struct timespec){ left / ZTIME_SEC, left % ZTIME_SEC };
	ppoll(p, 2, &ts, NULL);
}

static void run(struct host *h, ztime_t until)
{
	while (!stop && !h->done && clock_now() < until) {
		turn(h);
		wait(h);
	}
}

/* ---- set-up */

static int die(const char *what)
{
	perror(what);
	return errno == EPERM || errno == EACCES || errno == ENOENT ? 77 : 1;
}

static void config(struct inst_config *cfg, struct host *h)
{
	inst_config_defaults(cfg);
	zbuf_wire_ops(h->pool, &cfg->buf);
	cfg->key = (struct base_hash_key){ (uint64_t)clock_now(), (uint64_t)getpid() };
	cfg->ip.mtu = opt.mtu;
	cfg->pool_bytes = 64 << 20;
	cfg->tcp.timestamps = !opt.no_ts;
	cfg->tcp.window_scale = !opt.no_ws;
	cfg->tcp.sack = !opt.no_sack;
	if (opt.cc)
		cfg->tcp.cc = strcmp(opt.cc, "reno") == 0 ? &cc_reno : &cc_cubic;
}

static void addresses(struct host *h, ztime_t now)
{
	static const union wire_addr any6;
	union wire_addr a4 = wire_addr_v4(0x0a090000u | opt.host), gw4 = wire_addr_v4(0x0a090001);
	union wire_addr a6 = { .b = { 0xfd, 0x09, [15] = opt.host } },
			gw6 = { .b = { 0xfd, 0x09, [15] = 1 } };
	union wire_addr any4 = wire_addr_v4(0);
	struct ip *ip = inst_ip(h->in);

	if (dev_follow(h->dev, ip, now) == 0)
		return;
	ip_addr_add(ip, &a4, 24, now);
	ip_addr_add(ip, &a6, 64, now);
	if (opt.host == 1)
		return;
	ip_route_add(ip, &any4, 0, &gw4, 0);
	ip_route_add(ip, &any6, 0, &gw6, 0);
}

/* Copies of packets lose what the device says of them: only where something is to happen to them. */
static bool faulty(void)
{
	const struct dev_fault_config *f = &opt.fault;

	return f->loss || f->reorder || f->corrupt || f->dup || f->delay || f->jitter ||
	       f->rate_bps || f->queue_bytes;
}

static int host_init(struct host *h)
{
	struct dev_conf conf = { 0 };
	struct wire_buf_ops buf;
	struct inst_config cfg;
	struct dev_error err;
	char tap[32];
	void *mem;
	FILE *f;
	int rc;

	h->pool = zbuf_mem_pool_new((size_t)1 << 30, ZBUF_PAGES_ORDINARY);
	zbuf_wire_ops(h->pool, &buf);
	conf.buf = buf;
	snprintf(tap, sizeof(tap), "tap:zt0,mtu=%u", opt.mtu);
	rc = dev_open(opt.dev ? opt.dev : tap, &conf, &h->dev, &err);
	if (rc) {
		fprintf(stderr, "%s\n", err.text);
		return rc == -EPERM || rc == -EACCES || rc == -ENOENT ? 77 : 1;
	}
	if (opt.pcap && (f = fopen(opt.pcap, "wb")))
		h->dev = dev_pcap_new(h->dev, f);
	opt.fault.put = buf.put;
	opt.fault.ctx = buf.ctx;
	config(&cfg, h);
	cfg.ip.mac = h->dev->mac;
	cfg.ip.mtu = h->dev->mtu;
	if (!faulty() && !opt.pcap) /* what comes between cuts nothing and sums nothing up */
		cfg.ip.offloads = h->dev->offloads;
	if (faulty())
		h->dev = dev_fault_new(h->dev, &opt.fault);
	mem = aligned_alloc(64, (inst_size(&cfg) + 63) & ~(size_t)63);
	if (!mem)
		return die("memory");
	memset(mem, 0, inst_size(&cfg));
	h->in = inst_init(mem, &cfg, clock_now());
	addresses(h, clock_now());
	return 0;
}

/*
 * Stops only when all that was sent has been acknowledged, then checks that nothing was left
 * behind.
 */
static int host_end(struct host *h)
{
	const struct base_counters *c = inst_counters(h->in);
	struct zbuf_stats stats;
	void *mem = h->in;
	int rc = h->rc;

	h->done = false;
	stop = 0;
	run(h, clock_now() + ztime_ms(300));
	fprintf(stderr, "frames: %" PRIu64 " in %" PRIu64 " out\n", c->n[CNT_inst_rx_frames],
		c->n[CNT_inst_tx_frames]);
	inst_fini(h->in);
	free(mem);
	dev_close(h->dev);
	zbuf_stats(h->pool, &stats);
	if (stats.buffers_out) {
		fprintf(stderr, "%zu buffers left\n", stats.buffers_out);
		rc = 1;
	}
	zbuf_mem_pool_free(h->pool);
	return rc;
}

static void ready(void)
{
	fprintf(stderr, "ready\n");
}

/* The interface needs its kernel side before anything can be sent: the script says when. */
static void ready_wait(void)
{
	char byte;

	ready();
	if (read(STDIN_FILENO, &byte, 1) < 0)
		perror("stdin");
}

static bool steer(struct host *h, const struct wire_flow *flow)
{
	int rc = dev_steer(h->dev, flow, true);

	if (rc)
		fprintf(stderr, "steer: %s\n", strerror(-rc));
	return rc == 0;
}

static bool steer_port(struct host *h, const union wire_addr *any)
{
	struct wire_flow flow = { .lport = 80 };

	flow.local = *any;
	return steer(h, &flow);
}

static int serve(struct host *h)
{
	static const union wire_addr any6;
	union wire_addr any4 = wire_addr_v4(0);

	if (inst_listen(h->in, &any4, 80, 128, NULL, &h->listeners[0]) ||
	    inst_listen(h->in, &any6, 80, 128, NULL, &h->listeners[1]))
		return 1;
	if (!steer_port(h, &any4) || !steer_port(h, &any6))
		return 1;
	ready();
	run(h, ZTIME_NEVER);
	return host_end(h);
}

static bool address(const char *text, union wire_addr *a)
{
	uint8_t b[16];

	if (inet_pton(AF_INET, text, b) == 1)
		*a = wire_addr_v4_bytes(b);
	else if (inet_pton(AF_INET6, text, b) == 1)
		*a = wire_addr_v6_bytes(b);
	else
		return false;
	return true;
}

static int client(struct host *h, char **argv)
{
	struct wire_flow flow;
	struct peer *p;
	int err;

	memset(&flow, 0, sizeof(flow));
	if (!address(argv[1], &flow.remote))
		return 2;
	p = calloc(1, sizeof(*p));
	if (!p)
		return 1;
	if (wire_addr_is_v4(&flow.remote))
		flow.local = wire_addr_v4(0);
	flow.rport = (uint16_t)atoi(argv[2]);
	p->client = true;
	ready_wait();
	p->conn = inst_conn_new(h->in, p);
	err = inst_connect(h->in, p->conn, &flow, clock_now());
	if (err) {
		fprintf(stderr, "connect: %s\n", strerror(-err));
		return 1;
	}
	if (!steer(h, inst_conn_flow(p->conn))) {
		free(p);
		return 1;
	}
	if (strcmp(argv[0], "get") == 0) {
		p->have = (size_t)snprintf(p->request, REQUEST,
					   "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", argv[3], argv[1]);
		inst_send(h->in, p->conn, p->request, p->have, 0, clock_now());
	} else {
		p->to_send = strtoull(argv[3], NULL, 10);
	}
	run(h, clock_now() + ztime_sec(600));
	fflush(stdout);
	if (!h->done) {
		fprintf(stderr, "not done in time\n");
		h->rc = 1;
	}
	return host_end(h);
}

static int pattern_print(uint64_t bytes)
{
	uint8_t block[65536];

	for (uint64_t at = 0; at < bytes; at += sizeof(block)) {
		size_t n = BASE_MIN(sizeof(block), (size_t)(bytes - at));

		pattern_fill(block, n, at);
		fwrite(block, 1, n, stdout);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}

/* The kernel's end of "send": a slow reader. */
static int ksink(uint16_t port, unsigned int seconds)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int l = socket(AF_INET6, SOCK_STREAM, 0), one = 1, c;
	static uint8_t block[65536];
	uint64_t got = 0;
	ztime_t begin;
	bool ok = true;
	ssize_t n;

	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, (struct sockaddr *)&a, sizeof(a)) || listen(l, 8))
		return die("ksink");
	ready();
	c = accept(l, NULL, NULL);
	sleep(seconds);
	begin = clock_now();
	while ((n = read(c, block, sizeof(block))) > 0) {
		ok &= pattern_ok(block, (size_t)n, got);
		got += (uint64_t)n;
	}
	dprintf(c, "%" PRIu64 " %s\n", got, ok && n == 0 ? "ok" : "bad");
	fprintf(stderr, "%" PRIu64 " ms\n", (uint64_t)((clock_now() - begin) / ZTIME_MS));
	close(c);
	return ok && n == 0 ? 0 : 1;
}

/* Return: options consumed (with their value), 0 for none of ours. */
static int option(char **a)
{
	uint32_t n = a[1] ? (uint32_t)strtoul(a[1], NULL, 10) : 0;

	if (strcmp(a[0], "--mtu") == 0)
		opt.mtu = (uint16_t)n;
	else if (strcmp(a[0], "--loss") == 0)
		opt.fault.loss = n;
	else if (strcmp(a[0], "--reorder") == 0)
		opt.fault.reorder = n;
	else if (strcmp(a[0], "--corrupt") == 0)
		opt.fault.corrupt = n;
	else if (strcmp(a[0], "--dup") == 0)
		opt.fault.dup = n;
	else if (strcmp(a[0], "--delay") == 0)
		opt.fault.delay = ztime_us(n);
	else if (strcmp(a[0], "--jitter") == 0)
		opt.fault.jitter = ztime_us(n);
	else if (strcmp(a[0], "--rate") == 0)
		opt.fault.rate_bps = n;
	else if (strcmp(a[0], "--queue") == 0)
		opt.fault.queue_bytes = n;
	else if (strcmp(a[0], "--seed") == 0)
		opt.fault.seed = n;
	else if (strcmp(a[0], "--cc") == 0)
		opt.cc = a[1];
	else if (strcmp(a[0], "--pcap") == 0)
		opt.pcap = a[1];
	else if (strcmp(a[0], "--dev") == 0)
		opt.dev = a[1];
	else if (strcmp(a[0], "--host") == 0)
		opt.host = (uint8_t)n;
	else if (strcmp(a[0], "--no-ts") == 0)
		return opt.no_ts = true, 1;
	else if (strcmp(a[0], "--no-ws") == 0)
		return opt.no_ws = true, 1;
	else if (strcmp(a[0], "--no-sack") == 0)
		return opt.no_sack = true, 1;
	else
		return 0;
	return 2;
}

static int usage(void)
{
	fprintf(stderr, "usage: interop_host [options] serve | get ADDR PORT PATH | "
			"send ADDR PORT BYTES | pattern BYTES | ksink PORT SECONDS\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct host h = { 0 };
	int at = 1, used, rc;

	while (at < argc && (used = option(&argv[at])) != 0)
		at += used;
	argc -= at;
	argv += at;
	if (argc < 1)
		return usage();
	if (argc == 2 && strcmp(argv[0], "pattern") == 0)
		return pattern_print(strtoull(argv[1], NULL, 10));
	if (argc == 3 && strcmp(argv[0], "ksink") == 0)
		return ksink((uint16_t)atoi(argv[1]), (unsigned int)atoi(argv[2]));
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	rc = host_init(&h);
	if (rc)
		return rc;
	if (strcmp(argv[0], "serve") == 0)
		return serve(&h);
	if (argc == 4 && (strcmp(argv[0], "get") == 0 || strcmp(argv[0], "send") == 0))
		return client(&h, argv);
	return usage();
}
