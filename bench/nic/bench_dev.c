/* bench_dev.c - how many packets a device moves: the ceiling of whatever runs above it
 *
 * usage: bench_dev tx|rx|loop SPEC SECONDS BYTES
 *   tx    sends TCP packets of BYTES (of an Ethernet frame) from 10.9.0.1 to port 7 of 10.9.0.2 as fast as SPEC takes them
 *   rx    has them sent here and counts them; says "ready" first, and begins to measure with the first one
 *   loop  sends, and receives what comes back: for a device that is its own wire
 * Prints: tx|rx|loop BYTES packets-per-second; for loop those that came back. Exit: 0, 1, or 77 when SPEC does not open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stack/dev/dev_open.h"
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

static int rx_begin(struct bench *b)
{
	struct wire_flow flow = { .lport = 7 };
	ztime_t give_up = now() + PATIENCE;

	flow.local = wire_addr_v4(0);
	if (dev_steer(b->dev, &flow, true))
		return 1;
	fprintf(stderr, "ready\n");
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
	bool rx = strcmp(mode, "tx") != 0, tx = strcmp(mode, "rx") != 0;
	ztime_t begin;

	for (int i = 0; i < BURST; i++)
		frame_fill(b, &b->out[i], bytes);
	if (rx && !tx && rx_begin(b))
		return 1;
	begin = now();
	run(b, tx, rx, begin + ztime_sec(seconds));
	printf("%s %u %.0f\n", mode, bytes,
	       (double)(rx ? b->received : b->sent) * ZTIME_SEC / (double)(now() - begin));
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_dev tx|rx|loop SPEC SECONDS BYTES\n");
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
	    (strcmp(argv[1], "tx") && strcmp(argv[1], "rx") && strcmp(argv[1], "loop")))
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
