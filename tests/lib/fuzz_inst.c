/* fuzz_inst.c - a small instance whose frames, calls and time a fuzzer's input decides */
#include "tests/lib/fuzz_inst.h"

#include <stdlib.h>
#include <string.h>

const struct wire_mac fuzz_inst_mac = { { 2, 0, 0, 0, 0, 1 } };
const struct wire_mac fuzz_inst_peer = { { 2, 0, 0, 0, 0, 2 } };

uint32_t fuzz_inst_take(struct fuzz_inst *f, unsigned int n)
{
	uint32_t v = 0;

	for (; n && f->p < f->end; n--)
		v = v << 8 | *f->p++;
	return v;
}

static void config(struct fuzz_inst *f, struct inst_config *cfg)
{
	inst_config_defaults(cfg);
	cfg->conns_max = 16;
	cfg->listeners_max = 4;
	cfg->pool_bytes = 64 << 10;
	cfg->ip.neigh_max = 8;
	cfg->ip.reass_max = 2;
	cfg->ip.mac = fuzz_inst_mac;
	cfg->tcp.ecn = cfg->tcp.tfo_server = true;
	cfg->syn_max = 4;
	cfg->buf = inst_pair_buf_ops(&f->bufs);
}

void fuzz_inst_start(struct fuzz_inst *f, const uint8_t *data, size_t size)
{
	struct inst_config cfg;
	static void *mem;

	*f = (struct fuzz_inst){ .p = data, .end = data + size, .now = ZTIME_SEC };
	f->bufs.buffers_fail_after = -1;
	config(f, &cfg);
	if (!mem)
		mem = aligned_alloc(64, (inst_size(&cfg) + 63) & ~(size_t)63);
	memset(mem, 0, inst_size(&cfg));
	f->in = inst_init(mem, &cfg, f->now);
	f->us[0] = wire_addr_v4(0x0a000001);
	f->them[0] = wire_addr_v4(0x0a000002);
	f->us[1] = (union wire_addr){ .b = { 0xfd, [15] = 1 } };
	f->them[1] = (union wire_addr){ .b = { 0xfd, [15] = 2 } };
	ip_addr_add(inst_ip(f->in), &f->us[0], 24, f->now);
	ip_addr_add(inst_ip(f->in), &f->us[1], 64, f->now);
}

void fuzz_inst_frame(struct fuzz_inst *f, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct wire_frame_in in = { .data = copy, .len = (uint32_t)len };

	memcpy(copy, data, len);
	inst_input(f->in, &in, 1, f->now);
	free(copy);
}

void fuzz_inst_end(struct fuzz_inst *f)
{
	inst_fini(f->in);
	if (f->bufs.buffers || inst_pool_used(f->in))
		abort();
}
