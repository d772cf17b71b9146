/* dev_wire.c - two devices joined by a wire in memory, in virtual time */
#include "stack/dev/dev_wire.h"

#include <errno.h>
#include <stdlib.h>

#include "stack/base/base_list.h"

struct slot {
	ztime_t at;
	uint32_t len;
	uint8_t *data; /* room for one frame */
};

/* Frames under way in one direction: a ring. */
struct lane {
	struct slot *slots;
	uint64_t put, got;
	uint64_t lent;   /* given by the last recv(): these slots are not reused before the next */
	ztime_t free_at; /* the sender's transmitter */
};

struct wire;

struct end {
	struct dev dev;
	struct wire *wire;
	unsigned int side;
};

struct wire {
	struct dev_wire_config cfg;
	struct end ends[2];
	struct lane lanes[2]; /* by sender */
	size_t frame_max;
	unsigned int open;
	uint8_t scratch[DEV_FRAME_MAX];
};

static void lane_put(void *ctx, const uint8_t *frame, size_t len)
{
	struct end *e = ctx;
	struct wire *w = e->wire;
	struct lane *l = &w->lanes[e->side];
	struct slot *s = &l->slots[l->put % w->cfg.depth];
	ztime_t takes = w->cfg.rate_bps ? (ztime_t)(len * 8 * 1000000000ull / w->cfg.rate_bps) : 0;

	if (l->put - (l->got - l->lent) >= w->cfg.depth || len > w->frame_max)
		return; /* the queue is full: as on any wire, it is gone */
	memcpy(s->data, frame, len);
	s->len = (uint32_t)len;
	l->free_at += takes;
	s->at = l->free_at + w->cfg.delay;
	l->put++;
}

static unsigned int wire_send(struct dev *d, const struct wire_frame_out *frames, unsigned int n,
			      ztime_t now)
{
	struct end *e = base_container_of(d, struct end, dev);
	struct wire *w = e->wire;
	struct lane *l = &w->lanes[e->side];

	if (l->free_at < now)
		l->free_at = now;
	for (unsigned int i = 0; i < n; i++) {
		if (w->cfg.offloads & WIRE_OFFLOAD_TSO)
			lane_put(e, w->scratch, dev_flatten(&frames[i], w->scratch));
		else
			dev_split(&frames[i], w->scratch, lane_put, e);
	}
	return n;
}

static unsigned int wire_recv(struct dev *d, struct wire_frame_in *frames, unsigned int max,
			      ztime_t now)
{
	struct end *e = base_container_of(d, struct end, dev);
	struct lane *l = &e->wire->lanes[!e->side];
	unsigned int n = 0;

	while (n < max && l->got < l->put) {
		struct slot *s = &l->slots[l->got % e->wire->cfg.depth];

		if (s->at > now)
			break;
		frames[n++] = (struct wire_frame_in){
			.data = s->data,
			.len = s->len,
			.flags = d->offloads & WIRE_OFFLOAD_TX_CSUM
					 ? WIRE_FRAME_IP_CSUM_OK | WIRE_FRAME_TCP_CSUM_OK
					 : 0,
		};
		l->got++;
	}
	l->lent = n;
	return n;
}

static ztime_t wire_deadline(const struct dev *d)
{
	const struct end *e = base_container_of(d, const struct end, dev);
	const struct lane *l = &e->wire->lanes[!e->side];

	return l->got == l->put ? ZTIME_NEVER : l->slots[l->got % e->wire->cfg.depth].at;
}

static int wire_fd(const struct dev *d)
{
	(void)d;
	return -1;
}

static void wire_free(struct wire *w)
{
	for (int side = 0; side < 2; side++) {
		struct lane *l = &w->lanes[side];

		for (uint32_t i = 0; l->slots && i < w->cfg.depth; i++)
			free(l->slots[i].data);
		free(l->slots);
	}
	free(w);
}

static void wire_close(struct dev *d)
{
	struct wire *w = base_container_of(d, struct end, dev)->wire;

	if (--w->open == 0)
		wire_free(w);
}

static const struct dev_ops wire_ops = {
	.recv = wire_recv,
	.send = wire_send,
	.deadline = wire_deadline,
	.fd = wire_fd,
	.close = wire_close,
};

static int lane_init(struct wire *w, struct lane *l)
{
	l->slots = calloc(w->cfg.depth, sizeof(*l->slots));
	for (uint32_t i = 0; l->slots && i < w->cfg.depth; i++) {
		l->slots[i].data = malloc(w->frame_max);
		if (!l->slots[i].data)
			return -ENOMEM;
	}
	return l->slots ? 0 : -ENOMEM;
}

int dev_wire_new(const struct dev_wire_config *cfg, struct dev *ends[2])
{
	struct wire *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->cfg = *cfg;
	w->open = 2;
	w->frame_max = cfg->offloads & WIRE_OFFLOAD_TSO ? DEV_FRAME_MAX : cfg->mtu + 18u;
	if (lane_init(w, &w->lanes[0]) || lane_init(w, &w->lanes[1])) {
		wire_free(w);
		return -ENOMEM;
	}
	for (unsigned int side = 0; side < 2; side++) {
		w->ends[side] = (struct end){
			.dev = { .ops = &wire_ops,
				 .mac = { { 2, 0, 0, 0, 0, (uint8_t)(side + 1) } },
				 .mtu = cfg->mtu,
				 .offloads = cfg->offloads },
			.wire = w,
			.side = side,
		};
		ends[side] = &w->ends[side].dev;
	}
	return 0;
}
