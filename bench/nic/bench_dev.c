/* bench_dev.c - how many packets a device moves: the ceiling of whatever runs above it
 *
 * usage: bench_dev tx|rx|loop|echo SPEC SECONDS BYTES
 *   tx    sends TCP packets of BYTES (of an Ethernet frame) from 10.9.0.1 to port 7 of 10.9.0.2 as fast as SPEC takes them
 *   rx    has them sent here and counts them; says "ready" first, and begins to measure with the first one
 *   loop  sends, and receives what comes back: for a device that is its own wire
 *   echo  answers each segment that comes to port 7 by its own numbers alone, a request of redis with a value of 3 bytes: what a
 *         client gets from a server that costs nothing but the device; it spins, and yields its processor each time
 * Prints: tx|rx|loop|echo BYTES packets-per-second; for loop those that came back, for echo the answers. Exit: 0, 1, or 77 when SPEC does not open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <time.h>

#include "stack/base/base_bytes.h"
#include "stack/dev/dev_open.h"
#include "stack/wire/wire_csum.h"
#include "stack/zbuf/zbuf.h"

#define BURST     32
#define FRAME_MIN 60
#define FRAME_MAX 1514
#define PATIENCE  ztime_sec(30) /* for the first packet */

struct bench {
	struct dev *dev;
	struct wire_buf_ops buf;
	struct wire_frame_out out[BURST];
	uint8_t payload[FRAME_MAX];
	uint64_t sent, received;
};

static ztime_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * ZTIME_SEC + ts.tv_nsec;
}

/* Everybody's address, so that whoever is there takes it; only an ACK, of a connection that nobody has. */
static void frame_fill(const struct bench *b, struct wire_frame_out *f, unsigned int bytes)
{
	static const uint8_t head[54] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,    0, 0,  0, 0, 9, 0x08, 0x00, /* Ethernet */
		0x45, 0,    0,    0,    0,    0,    0x40, 0, 64, 6, 0, 0, 10,   9,    0,
		1,    10,   9,    0,    2,    0x30, 0x39, 0, 7,  0, 0, 0, 1,    0,    0,
		0,    1,    0x50, 0x10, 0xff, 0xff,
	};

	*f = (struct wire_frame_out){
		.hdr_len = sizeof(head), .l3_at = 14, .l4_at = 34, .l4_len = 20
	};
	memcpy(f->hdr, head, sizeof(head));
	f->hdr[16] = (uint8_t)((bytes - 14) >> 8);
	f->hdr[17] = (uint8_t)(bytes - 14);
	f->len = bytes - (unsigned int)sizeof(head);
	f->niov = 1;
	f->iov[0] = (struct wire_tcp_iov){ .data = b->payload, .len = f->len };
}

static unsigned int take(struct bench *b, ztime_t at)
{
	struct wire_frame_in in[BURST];
	unsigned int n = dev_recv(b->dev, in, BURST, at);

	for (unsigned int i = 0; i < n; i++)
		if (in[i].owner)
			b->buf.put(b->buf.ctx, in[i].owner);
	b->received += n;
	return n;
}

static void run(struct bench *b, bool tx, bool rx, ztime_t until)
{
	for (ztime_t at = now(); at < until; at = now()) {
		for (int k = 0; k < 16; k++) {
			if (tx)
				b->sent += dev_send(b->dev, b->out, BURST, at);
			if (rx)
				take(b, at);
		}
	}
}

/* ---- echo */

#define HEAD 54 /* Ethernet, IPv4 and TCP without options */

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static unsigned int answer(char *to, const char *asked, unsigned int len)
{
	bool config = memmem(asked, len, "CONFIG", 6);
	const char *say = config ? "-ERR\r\n" : "$3\r\nxxx\r\n";
	unsigned int n = 0, one = (unsigned int)strlen(say);

	for (unsigned int i = 0; i < len && n + one <= FRAME_MAX - HEAD; i++)
		if (asked[i] == '*' && (!i || asked[i - 1] == '\n')) {
			memcpy(to + n, say, one);
			n += one;
		}
	return n;
}

static void ip_answer(uint8_t *to, const uint8_t *from, unsigned int len)
{
	static const uint8_t head[12] = { 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6 };
	uint16_t sum;

	memcpy(to, head, sizeof(head));
	base_be16_put(to + 2, (uint16_t)(40 + len));
	memcpy(to + 12, from + 16, 4);
	memcpy(to + 16, from + 12, 4);
	base_be16_put(to + 10, 0);
	sum = wire_csum_fold(wire_csum_add(0, to, 20));
	memcpy(to + 10, &sum, sizeof(sum));
}

/* Return: whether @in asks for an answer, which is in @f and @payload then. */
static bool echo(const struct wire_frame_in *in, struct wire_frame_out *f, char *payload)
{
	const uint8_t *d = in->data, *tcp = d + 34;
	unsigned int total = in->len < HEAD ? 0 : base_be16_get(d + 16), skip, len, n;
	uint8_t flags = tcp[13], say = ACK;

	skip = in->len < HEAD ? 0 : 20u + (tcp[12] >> 4) * 4u;
	if (total < skip || in->len < total + 14 || d[14] != 0x45 || flags & RST)
		return false;
	len = total - skip;
	n = answer(payload, (const char *)d + 14 + skip, len);
	if (!len && !(flags & (SYN | FIN)))
		return false;
	say |= (flags & (SYN | FIN)) | (n ? PSH : 0);
	*f = (struct wire_frame_out){ .hdr_len = HEAD,
				      .l3_at = 14,
				      .l4_at = 34,
				      .l4_len = 20,
				      .flags = WIRE_FRAME_TCP_CSUM };
	memcpy(f->hdr, d + 6, 6);
	memcpy(f->hdr + 6, d, 6);
	memcpy(f->hdr + 12, d + 12, 2);
	ip_answer(f->hdr + 14, d + 14, n);
	memcpy(f->hdr + 34, tcp + 2, 2);
	memcpy(f->hdr + 36, tcp, 2);
	memcpy(f->hdr + 38, tcp + 8, 4);
	base_be32_put(f->hdr + 42, base_be32_get(tcp + 4) + len + !!(flags & (SYN | FIN)));
	f->hdr[46] = 0x50;
	f->hdr[47] = say;
	f->hdr[48] = f->hdr[49] = 0xff;
	f->len = n;
	f->niov = n != 0;
	f->iov[0] = (struct wire_tcp_iov){ .data = (uint8_t *)payload, .len = n };
	return true;
}

static void echo_turn(struct bench *b, ztime_t at)
{
	static char payload[BURST][FRAME_MAX];
	struct wire_frame_in in[BURST];
	unsigned int n = dev_recv(b->dev, in, BURST, at), out = 0;

	for (unsigned int i = 0; i < n; i++) {
		out += echo(&in[i], &b->out[out], payload[out]);
		if (in[i].owner)
			b->buf.put(b->buf.ctx, in[i].owner);
	}
	if (out)
		b->received += dev_send(b->dev, b->out, out, at);
	else
		sched_yield();
}

static int port_take(struct bench *b)
{
	struct wire_flow flow = { .lport = 7 };

	flow.local = wire_addr_v4(0);
	if (dev_steer(b->dev, &flow, true))
		return 1;
	fprintf(stderr, "ready\n");
	return 0;
}

static int rx_begin(struct bench *b)
{
	ztime_t give_up = now() + PATIENCE;

	if (port_take(b))
		return 1;
	while (now() < give_up)
		if (take(b, now())) {
			b->received = 0;
			return 0;
		}
	fprintf(stderr, "nothing came\n");
	return 1;
}

static int measure(struct bench *b, const char *mode, unsigned int seconds, unsigned int bytes)
{
	bool rx = strcmp(mode, "tx") != 0, echoes = !strcmp(mode, "echo");
	bool tx = strcmp(mode, "rx") != 0 && !echoes;
	ztime_t begin;

	for (int i = 0; i < BURST; i++)
		frame_fill(b, &b->out[i], bytes);
	if (echoes ? port_take(b) : rx && !tx && rx_begin(b))
		return 1;
	begin = now();
	while (echoes && now() < begin + ztime_sec(seconds))
		echo_turn(b, now());
	if (!echoes)
		run(b, tx, rx, begin + ztime_sec(seconds));
	printf("%s %u %.0f\n", mode, bytes,
	       (double)(rx ? b->received : b->sent) * ZTIME_SEC / (double)(now() - begin));
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_dev tx|rx|loop|echo SPEC SECONDS BYTES\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct bench b;
	struct zbuf_mem_pool *pool = zbuf_mem_pool_new((size_t)64 << 20, ZBUF_PAGES_ORDINARY);
	struct dev_conf conf = { 0 };
	struct dev_error err;
	unsigned int seconds, bytes;
	int rc;

	if (argc != 5 || !pool ||
	    (strcmp(argv[1], "tx") && strcmp(argv[1], "rx") && strcmp(argv[1], "loop") &&
	     strcmp(argv[1], "echo")))
		return usage();
	seconds = (unsigned int)atoi(argv[3]);
	bytes = (unsigned int)atoi(argv[4]);
	if (!seconds || bytes < FRAME_MIN || bytes > FRAME_MAX)
		return usage();
	zbuf_wire_ops(pool, &b.buf);
	conf.buf = b.buf;
	if (dev_open(argv[2], &conf, &b.dev, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 77;
	}
	rc = measure(&b, argv[1], seconds, bytes);
	dev_close(b.dev);
	zbuf_mem_pool_free(pool);
	return rc;
}
