/* dev_pcap.c - a capture of what passes a device */
#include "stack/dev/dev_pcap.h"

#include <stdlib.h>

#include "stack/base/base_list.h"

#define PCAP_MAGIC_NS   0xa1b23c4du
#define PCAP_LINK_ETHER 1

struct pcap {
	struct dev dev;
	struct dev *inner;
	FILE *out;
	ztime_t now;
	uint8_t scratch[DEV_FRAME_MAX];
};

static void record_write(void *ctx, const uint8_t *frame, size_t len)
{
	struct pcap *p = ctx;
	uint32_t head[4] = {
		(uint32_t)(p->now / ZTIME_SEC),
		(uint32_t)(p->now % ZTIME_SEC),
		(uint32_t)len,
		(uint32_t)len,
	};

	fwrite(head, sizeof(head), 1, p->out);
	fwrite(frame, len, 1, p->out);
}

static unsigned int pcap_send(struct dev *d, const struct wire_frame_out *frames, unsigned int n,
			      ztime_t now)
{
	struct pcap *p = base_container_of(d, struct pcap, dev);
	unsigned int sent = dev_send(p->inner, frames, n, now);

	p->now = now;
	for (unsigned int i = 0; i < sent; i++)
		dev_split(&frames[i], p->scratch, record_write, p);
	return sent;
}

static unsigned int pcap_recv(struct dev *d, struct wire_frame_in *frames, unsigned int max,
			      ztime_t now)
{
	struct pcap *p = base_container_of(d, struct pcap, dev);
	unsigned int n = dev_recv(p->inner, frames, max, now);

	p->now = now;
	for (unsigned int i = 0; i < n; i++)
		record_write(p, frames[i].data, frames[i].len);
	return n;
}

static ztime_t pcap_deadline(const struct dev *d)
{
	return dev_deadline(base_container_of(d, const struct pcap, dev)->inner);
}

static int pcap_fd(const struct dev *d)
{
	return dev_fd(base_container_of(d, const struct pcap, dev)->inner);
}

static int pcap_fd_tables(const struct dev *d)
{
	return dev_fd_tables(base_container_of(d, const struct pcap, dev)->inner);
}

static int pcap_steer(struct dev *d, const struct wire_flow *flow, bool on)
{
	return dev_steer(base_container_of(d, struct pcap, dev)->inner, flow, on);
}

static void pcap_close(struct dev *d)
{
	struct pcap *p = base_container_of(d, struct pcap, dev);

	fflush(p->out);
	dev_close(p->inner);
	free(p);
}

static int pcap_follow(struct dev *d, struct ip *ip, ztime_t now)
{
	return dev_follow(base_container_of(d, struct pcap, dev)->inner, ip, now);
}

static const struct dev_ops pcap_ops = {
	.recv = pcap_recv,
	.send = pcap_send,
	.deadline = pcap_deadline,
	.fd = pcap_fd,
	.fd_tables = pcap_fd_tables,
	.steer = pcap_steer,
	.follow = pcap_follow,
	.close = pcap_close,
};

struct dev *dev_pcap_new(struct dev *inner, FILE *out)
{
	/* Magic, version 2.4, no zone, no accuracy, longest frame, link type. */
	const uint32_t head[6] = {
		PCAP_MAGIC_NS, 2 | 4 << 16, 0, 0, DEV_FRAME_MAX, PCAP_LINK_ETHER
	};
	struct pcap *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->dev = *inner;
	p->dev.ops = &pcap_ops;
	p->inner = inner;
	p->out = out;
	fwrite(head, sizeof(head), 1, out);
	return &p->dev;
}
