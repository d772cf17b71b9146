/* dev_fault.c - loss, duplication, corruption and reordering around a device, in both directions */
#include "stack/dev/dev_fault.h"

#include <stdlib.h>

#include "stack/base/base_list.h"

#define HELD_MAX  512
#define READY_MAX 256

/* A packet that is kept back, or that waits to be received. */
struct held {
	ztime_t at; /* 0: free */
	size_t len;
	uint8_t *data;
};

struct fault;

/* One direction. */
struct way {
	struct fault *fault;
	void (*emit)(struct fault *f, uint8_t *data, size_t len); /* takes @data */
	struct held held[HELD_MAX];
	unsigned int nheld;
	ztime_t free_at; /* when the last packet has passed the bottleneck */
};

struct fault {
	struct dev dev;
	struct dev *inner;
	struct dev_fault_config cfg;
	uint64_t state;
	ztime_t now;
	struct way out, in;
	struct held ready[READY_MAX]; /* ring of received packets */
	unsigned int ready_put, ready_got;
	unsigned int lent; /* of the ring, since the last recv */
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

static void out_emit(struct fault *f, uint8_t *data, size_t len)
{
	/* A flat packet is a frame without a header of its own. */
	struct wire_frame_out frame = {
		.len = (uint32_t)len,
		.niov = 1,
		.iov = { { .data = data, .len = (uint32_t)len } },
	};

	dev_send(f->inner, &frame, 1, f->now);
	free(data);
}

static void in_emit(struct fault *f, uint8_t *data, size_t len)
{
	struct held *h = &f->ready[f->ready_put % READY_MAX];

	if (f->ready_put - f->ready_got == READY_MAX) {
		free(data); /* the queue is full: lost, as on any wire */
		return;
	}
	*h = (struct held){ .at = 1, .len = len, .data = data };
	f->ready_put++;
}

static uint8_t *copy(const uint8_t *data, size_t len)
{
	uint8_t *c = malloc(len);

	if (c)
		memcpy(c, data, len);
	return c;
}

/* Through the queue and the bottleneck. Return: when @len bytes have passed, 0 when the queue is full. */
static ztime_t bottleneck(struct way *w, size_t len)
{
	struct fault *f = w->fault;
	ztime_t start = ztime_max(f->now, w->free_at);
	uint64_t rate = f->cfg.rate_bps, queued;

	if (!rate)
		return f->now;
	queued = (uint64_t)(start - f->now) / 1000 * rate / 1000000;
	if (queued + len > f->cfg.queue_bytes)
		return 0;
	w->free_at = start + (ztime_t)(len * (uint64_t)ZTIME_SEC / rate);
	return w->free_at;
}

static bool hold(struct way *w, uint8_t *data, size_t len)
{
	struct fault *f = w->fault;
	ztime_t passed = bottleneck(w, len);

	if (!passed)
		return false;

	for (int i = 0; i < HELD_MAX; i++) {
		struct held *h = &w->held[i];

		if (h->at)
			continue;
		h->data = data;
		h->len = len;
		h->at = passed + 1 + f->cfg.delay;
		if (chance(f, f->cfg.reorder))
			h->at += (ztime_t)(chance_next(f) % (uint64_t)(f->cfg.jitter + 1));
		w->nheld++;
		return true;
	}
	return false;
}

static void pass(struct way *w, const uint8_t *packet, size_t len)
{
	struct fault *f = w->fault;
	uint8_t *c = copy(packet, len);

	if (!c)
		return;
	if (chance(f, f->cfg.corrupt)) {
		uint64_t where = chance_next(f);

		c[where % len] ^= (uint8_t)(1u << (where >> 32) % 8);
	}
	if (!f->cfg.delay && !f->cfg.reorder && !f->cfg.rate_bps)
		w->emit(f, c, len);
	else if (!hold(w, c, len))
		free(c);
}

static void packet_treat(void *ctx, const uint8_t *packet, size_t len)
{
	struct way *w = ctx;

	if (chance(w->fault, w->fault->cfg.loss))
		return;
	if (chance(w->fault, w->fault->cfg.dup))
		pass(w, packet, len);
	pass(w, packet, len);
}

static struct held *held_first(struct way *w)
{
	struct held *first = NULL;

	for (int i = 0; w->nheld && i < HELD_MAX; i++)
		if (w->held[i].at && (!first || w->held[i].at < first->at))
			first = &w->held[i];
	return first;
}

static void held_release(struct way *w, ztime_t now)
{
	struct held *h;

	while ((h = held_first(w)) && h->at <= now) {
		h->at = 0;
		w->nheld--;
		w->emit(w->fault, h->data, h->len);
	}
}

static unsigned int fault_send(struct dev *d, const struct wire_frame_out *frames, unsigned int n,
			       ztime_t now)
{
	struct fault *f = base_container_of(d, struct fault, dev);

	f->now = now;
	for (unsigned int i = 0; i < n; i++)
		dev_split(&frames[i], f->scratch, packet_treat, &f->out);
	held_release(&f->out, now);
	return n;
}

static void ready_free(struct fault *f, unsigned int n)
{
	for (; n; n--)
		free(f->ready[f->ready_got++ % READY_MAX].data);
}

static void inner_take(struct fault *f, ztime_t now)
{
	struct wire_frame_in frames[16];
	unsigned int n = dev_recv(f->inner, frames, 16, now);

	for (unsigned int i = 0; i < n; i++) {
		packet_treat(&f->in, frames[i].data, frames[i].len);
		if (frames[i].owner)
			f->cfg.put(f->cfg.ctx, frames[i].owner);
	}
}

static unsigned int fault_recv(struct dev *d, struct wire_frame_in *frames, unsigned int max,
			       ztime_t now)
{
	struct fault *f = base_container_of(d, struct fault, dev);
	unsigned int n = 0;

	f->now = now;
	ready_free(f, f->lent);
	held_release(&f->out, now);
	inner_take(f, now);
	held_release(&f->in, now);
	for (; n < max && f->ready_got + n != f->ready_put; n++) {
		const struct held *h = &f->ready[(f->ready_got + n) % READY_MAX];

		frames[n] = (struct wire_frame_in){ .data = h->data, .len = (uint32_t)h->len };
	}
	f->lent = n;
	return n;
}

static ztime_t fault_deadline(const struct dev *d)
{
	struct fault *f = (struct fault *)base_container_of(d, const struct fault, dev);
	struct held *out = held_first(&f->out), *in = held_first(&f->in);
	ztime_t at = dev_deadline(f->inner);

	if (f->ready_got + f->lent != f->ready_put)
		return 0;
	at = out ? ztime_min(at, out->at) : at;
	return in ? ztime_min(at, in->at) : at;
}

static int fault_fd(const struct dev *d)
{
	return dev_fd(base_container_of(d, const struct fault, dev)->inner);
}

static int fault_fd_tables(const struct dev *d)
{
	return dev_fd_tables(base_container_of(d, const struct fault, dev)->inner);
}

static int fault_steer(struct dev *d, const struct wire_flow *flow, bool on)
{
	return dev_steer(base_container_of(d, struct fault, dev)->inner, flow, on);
}

static void way_free(struct way *w)
{
	for (int i = 0; i < HELD_MAX; i++)
		if (w->held[i].at)
			free(w->held[i].data);
}

static void fault_close(struct dev *d)
{
	struct fault *f = base_container_of(d, struct fault, dev);

	way_free(&f->out);
	way_free(&f->in);
	ready_free(f, f->ready_put - f->ready_got);
	dev_close(f->inner);
	free(f);
}

static int fault_follow(struct dev *d, struct ip *ip, ztime_t now)
{
	return dev_follow(base_container_of(d, struct fault, dev)->inner, ip, now);
}

static const struct dev_ops fault_ops = {
	.recv = fault_recv,
	.send = fault_send,
	.deadline = fault_deadline,
	.fd = fault_fd,
	.fd_tables = fault_fd_tables,
	.steer = fault_steer,
	.follow = fault_follow,
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
	f->out.fault = f->in.fault = f;
	f->out.emit = out_emit;
	f->in.emit = in_emit;
	f->cfg = *cfg;
	f->state = cfg->seed;
	return &f->dev;
}

void dev_fault_set(struct dev *d, const struct dev_fault_config *cfg)
{
	base_container_of(d, struct fault, dev)->cfg = *cfg;
}
