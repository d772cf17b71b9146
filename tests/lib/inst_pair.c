/* inst_pair.c - two instances on the ends of a wire, in virtual time */
#include "tests/lib/inst_pair.h"

#include <stdlib.h>
#include <string.h>

struct buf {
	struct inst_pair *pair;
	uint32_t refs;
	uint8_t data[];
};

static void *buf_alloc(void *ctx, uint32_t len, uint8_t **data)
{
	struct inst_pair *p = ctx;
	struct buf *b;

	if (p->buffers_fail_after == 0)
		return NULL;
	if (p->buffers_fail_after > 0)
		p->buffers_fail_after--;
	b = malloc(sizeof(*b) + len);
	b->pair = p;
	b->refs = 1;
	p->buffers++;
	*data = b->data;
	return b;
}

static void buf_get(void *ctx, void *owner)
{
	(void)ctx;
	((struct buf *)owner)->refs++;
}

static void buf_put(void *ctx, void *owner)
{
	struct buf *b = owner;

	(void)ctx;
	if (b->refs == 0)
		abort();
	if (--b->refs)
		return;
	b->pair->buffers--;
	free(b);
}

struct wire_buf_ops inst_pair_buf_ops(struct inst_pair *p)
{
	return (struct wire_buf_ops){ buf_alloc, buf_get, buf_put, p };
}

void inst_pair_defaults(struct inst_pair_config *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	inst_config_defaults(&cfg->inst);
	cfg->wire = (struct dev_wire_config){ .mtu = 1500, .depth = 1024, .delay = ztime_us(10) };
}

static void host_init(struct inst_pair *p, unsigned int side)
{
	struct inst_config cfg = p->cfg.inst;
	size_t size;

	cfg.key = (struct base_hash_key){ 0x0123456789abcdefull + side, 0xfedcba9876543210ull };
	cfg.buf = inst_pair_buf_ops(p);
	cfg.ip.mac = p->dev[side]->mac;
	cfg.ip.mtu = p->dev[side]->mtu;
	cfg.ip.offloads = p->dev[side]->offloads;
	size = inst_size(&cfg);
	if (!size)
		abort();
	p->mem[side] = aligned_alloc(64, (size + 63) & ~(size_t)63);
	memset(p->mem[side], 0, size);
	p->in[side] = inst_init(p->mem[side], &cfg, p->now);
	p->addr4[side] = wire_addr_v4(0x0a000001u + side);
	p->addr6[side] = (union wire_addr){ .b = { 0xfd, [15] = (uint8_t)(1 + side) } };
	if (ip_addr_add(inst_ip(p->in[side]), &p->addr4[side], 24, p->now) ||
	    ip_addr_add(inst_ip(p->in[side]), &p->addr6[side], 64, p->now))
		abort();
}

void inst_pair_init(struct inst_pair *p, const struct inst_pair_config *cfg)
{
	memset(p, 0, sizeof(*p));
	p->cfg = *cfg;
	p->now = ZTIME_SEC;
	p->buffers_fail_after = -1;
	if (dev_wire_new(&cfg->wire, p->dev) != 0)
		abort();
	host_init(p, 0);
	host_init(p, 1);
}

int64_t inst_pair_fini(struct inst_pair *p)
{
	for (int side = 0; side < 2; side++) {
		inst_fini(p->in[side]);
		free(p->mem[side]);
	}
	dev_close(p->dev[0]);
	dev_close(p->dev[1]);
	return p->buffers;
}

static void side_events(struct inst_pair *p, unsigned int side)
{
	struct inst_event ev;

	while (p->cfg.event && inst_event_take(p->in[side], &ev))
		p->cfg.event(p, side, &ev);
}

static unsigned int side_turn(struct inst_pair *p, unsigned int side)
{
	struct wire_frame_in in[INST_PAIR_FRAMES];
	struct wire_frame_out out[INST_PAIR_FRAMES];
	unsigned int done = dev_recv(p->dev[side], in, INST_PAIR_FRAMES, p->now), n;

	if (done)
		inst_input(p->in[side], in, done, p->now);
	side_events(p, side);
	while ((n = inst_output(p->in[side], out, INST_PAIR_FRAMES, p->now)) != 0) {
		dev_send(p->dev[side], out, n, p->now);
		p->frames[side] += n;
		done += n;
		side_events(p, side);
	}
	return done;
}

static ztime_t pair_deadline(const struct inst_pair *p)
{
	ztime_t at = ZTIME_NEVER;

	for (int side = 0; side < 2; side++) {
		at = ztime_min(at, inst_deadline(p->in[side]));
		at = ztime_min(at, dev_deadline(p->dev[side]));
	}
	return at;
}

bool inst_pair_step(struct inst_pair *p, ztime_t until)
{
	ztime_t at;

	if (side_turn(p, 0) + side_turn(p, 1))
		return true;
	at = pair_deadline(p);
	if (at > until)
		return false;
	/*
	 * A deadline that has passed and led to nothing would stop the clock: a tick brings it on.
	 */
	p->now = at > p->now ? at : p->now + 1;
	return true;
}

void inst_pair_run(struct inst_pair *p, ztime_t until)
{
	while (p->now <= until && inst_pair_step(p, until))
		;
	if (p->now < until)
		p->now = until;
}

struct inst_conn *inst_pair_connect(struct inst_pair *p, uint16_t port, bool v6, void *user)
{
	static const union wire_addr any6;
	struct inst_conn *c = inst_conn_new(p->in[0], user);
	struct wire_flow flow;

	flow.local = v6 ? any6 : wire_addr_v4(0);
	flow.remote = v6 ? p->addr6[1] : p->addr4[1];
	flow.lport = 0;
	flow.rport = port;
	if (!c || inst_connect(p->in[0], c, &flow, p->now) != 0)
		abort();
	return c;
}
