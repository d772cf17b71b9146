/* dev_fault.c - loss, duplication, corruption and reordering on the sending side of a device */
#include "stack/dev/dev_fault.h"

#include <stdlib.h>

#include "stack/base/base_list.h"

#define HELD_MAX 256

struct held {
	ztime_t at; /* 0: free */
	struct wire_frame_out frame;
	uint8_t *data;
};

struct fault {
	struct dev dev;
	struct dev *inner;
	struct dev_fault_config cfg;
	uint64_t state;
	ztime_t now;
	struct held held[HELD_MAX];
	uint8_t scratch[DEV_FRAME_MAX];
};

/* SplitMix64: one state word, any seed. */
static uint64_t chance_next(struct fault *f)
{
	uint64_t z = f->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static bool chance(struct fault *f, uint32_t millionths)
{
	return millionths && chance_next(f) % 1000000 < millionths;
}

/* A flat packet as a frame: the inner device sees one header-less run of bytes. */
static struct wire_frame_out flat_frame(const uint8_t *data, size_t len)
{
	return (struct wire_frame_out){
		.len = (uint32_t)len,
		.niov = 1,
		.iov = { { .data = data, .len = (uint32_t)len } },
	};
}

static void flat_send(struct fault *f, const uint8_t *data, size_t len)
{
	struct wire_frame_out frame = flat_frame(data, len);

	dev_send(f->inner, &frame, 1, f->now);
}

static bool hold(struct fault *f, const uint8_t *data, size_t len)
{
	for (int i = 0; i < HELD_MAX; i++) {
		struct held *h = &f->held[i];

		if (h->at)
			continue;
		h->data = malloc(len);
		if (!h->data)
			return false;
		memcpy(h->data, data, len);
		h->frame = flat_frame(h->data, len);
		h->at = f->now + 1 + (ztime_t)(chance_next(f) % (uint64_t)(f->cfg.jitter + 1));
		return true;
	}
	return false;
}

static void packet_send(void *ctx, const uint8_t *packet, size_t len)
{
	struct fault *f = ctx;

	if (chance(f, f->cfg.loss))
		return;
	if (chance(f, f->cfg.corrupt)) {
		uint64_t where = chance_next(f);

		((uint8_t *)packet)[where % len] ^= (uint8_t)(1u << (where >> 32) % 8);
	}
	if (chance(f, f->cfg.dup))
		flat_send(f, packet, len);
	if (!chance(f, f->cfg.reorder) || !hold(f, packet, len))
		flat_send(f, packet, len);
}

static void held_release(struct fault *f, ztime_t now)
{
	for (int i = 0; i < HELD_MAX; i++) {
		struct held *h = &f->held[i];

		if (!h->at || h->at > now)
			continue;
		dev_send(f->inner, &h->frame, 1, now);
		free(h->data);
		h->at = 0;
	}
}

static unsigned int fault_send(struct dev *d, const struct wire_frame_out *frames, unsigned int n,
			       ztime_t now)
{
	struct fault *f = base_container_of(d, struct fault, dev);

	f->now = now;
	held_release(f, now);
	for (unsigned int i = 0; i < n; i++)
		dev_split(&frames[i], f->scratch, packet_send, f);
	return n;
}

static unsigned int fault_recv(struct dev *d, struct wire_frame_in *frames, unsigned int max,
			       ztime_t now)
{
	struct fault *f = base_container_of(d, struct fault, dev);

	held_release(f, now);
	return dev_recv(f->inner, frames, max, now);
}

static ztime_t fault_deadline(const struct dev *d)
{
	const struct fault *f = base_container_of(d, const struct fault, dev);
	ztime_t at = dev_deadline(f->inner);

	for (int i = 0; i < HELD_MAX; i++)
		if (f->held[i].at)
			at = ztime_min(at, f->held[i].at);
	return at;
}

static int fault_fd(const struct dev *d)
{
	return dev_fd(base_container_of(d, const struct fault, dev)->inner);
}

static void fault_close(struct dev *d)
{
	struct fault *f = base_container_of(d, struct fault, dev);

	for (int i = 0; i < HELD_MAX; i++)
		if (f->held[i].at)
			free(f->held[i].data);
	dev_close(f->inner);
	free(f);
}

static const struct dev_ops fault_ops = {
	.recv = fault_recv,
	.send = fault_send,
	.deadline = fault_deadline,
	.fd = fault_fd,
	.close = fault_close,
};

struct dev *dev_fault_new(struct dev *inner, const struct dev_fault_config *cfg)
{
	struct fault *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->dev = (struct dev){
		.ops = &fault_ops,
		.mac = inner->mac,
		.mtu = inner->mtu,
	};
	f->inner = inner;
	f->cfg = *cfg;
	f->state = cfg->seed;
	return &f->dev;
}

void dev_fault_set(struct dev *d, const struct dev_fault_config *cfg)
{
	base_container_of(d, struct fault, dev)->cfg = *cfg;
}
