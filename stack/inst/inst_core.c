/* inst_core.c - the memory of an instance */
#include "stack/inst/inst_state.h"

BASE_BUILD_CHECK(offsetof(struct inst_conn, tcb) == 0);

static size_t align64(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

void inst_config_defaults(struct inst_config *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	ip_config_defaults(&cfg->ip);
	tcp_config_defaults(&cfg->tcp);
	cfg->conns_max = 4096;
	cfg->listeners_max = 64;
	cfg->pool_bytes = 4 << 20;
	cfg->port_lo = 32768;
	cfg->port_hi = 60999;
	cfg->syn_max = 1024;
	cfg->copy_below = 256;
}

static bool config_ok(const struct inst_config *cfg)
{
	return cfg->conns_max >= 1 && cfg->conns_max <= 1u << 30 && cfg->listeners_max >= 1 &&
	       cfg->listeners_max <= 4096 && cfg->port_lo >= 1 && cfg->port_lo <= cfg->port_hi &&
	       cfg->rss.reta_len <= INST_RSS_RETA_MAX &&
	       (cfg->rss.reta_len & (cfg->rss.reta_len - 1)) == 0 && ip_size(&cfg->ip) != 0;
}

size_t inst_size(const struct inst_config *cfg)
{
	if (!config_ok(cfg))
		return 0;
	return align64(sizeof(struct inst)) + ip_size(&cfg->ip) +
	       align64((size_t)cfg->conns_max * sizeof(struct inst_conn)) +
	       (size_t)inst_flow_buckets(cfg->conns_max) * sizeof(struct inst_flow_bucket) +
	       align64(cfg->listeners_max * sizeof(struct inst_listener)) +
	       align64(cfg->pool_bytes);
}

static void *carve(char **at, size_t bytes)
{
	void *p = *at;

	*at += align64(bytes);
	return p;
}

/* Blocks of one kind stay of that kind: tcp keeps them in free lists. */
static void *pool_more(void *ctx, enum tcp_mem kind)
{
	struct inst *in = ctx;
	size_t bytes = (tcp_mem_size[kind] + 7u) & ~7u;
	void *p = in->pool_at;

	if ((size_t)(in->pool_end - in->pool_at) < bytes)
		return NULL;
	in->pool_at += bytes;
	return p;
}

static void env_init(struct inst *in)
{
	struct tcp_env *env = &in->env;

	env->counters = &in->counters;
	env->key = (struct base_hash_key){ in->cfg.key.k0 ^ 1, in->cfg.key.k1 };
	env->pool.more = pool_more;
	env->pool.ctx = in;
	env->buf_put = in->cfg.buf.put;
	env->buf_ctx = in->cfg.buf.ctx;
	env->cfg = in->cfg.tcp;
	if (in->cfg.ip.offloads & WIRE_OFFLOAD_TSO && !env->cfg.gso_max_bytes)
		env->cfg.gso_max_bytes = INST_GSO_BYTES;
}

struct inst *inst_init(void *mem, const struct inst_config *cfg, ztime_t now)
{
	char *at = mem;
	struct inst *in = carve(&at, sizeof(*in));
	uint32_t nbuckets = inst_flow_buckets(cfg->conns_max);
	struct inst_flow_bucket *buckets;

	BASE_CHECK(config_ok(cfg));
	in->cfg = *cfg;
	in->cfg.copy_below = BASE_MAX(cfg->copy_below, 1u); /* nothing is not kept */
	in->cfg.ip.key = cfg->key;
	in->cfg.ip.buf = cfg->buf;
	env_init(in);
	in->ip = ip_init(carve(&at, ip_size(&cfg->ip)), &in->cfg.ip, &in->counters);
	in->plain = ip_plain(in->ip);
	in->conns = carve(&at, (size_t)cfg->conns_max * sizeof(*in->conns));
	buckets = carve(&at, (size_t)nbuckets * sizeof(*buckets));
	in->listeners = carve(&at, cfg->listeners_max * sizeof(*in->listeners));
	in->pool_at = carve(&at, cfg->pool_bytes);
	in->pool_end = in->pool_at + cfg->pool_bytes;
	in->conns_free = INST_NONE;
	in->ready = in->events = (struct inst_list){ INST_NONE, INST_NONE };
	inst_flow_init(&in->flow, buckets, nbuckets, &cfg->key, &in->conns[0].flow,
		       sizeof(*in->conns));
	inst_wheel_init(&in->wheel, &in->conns[0].timer, sizeof(*in->conns), now);
	memset(in->listen_head, 0xff, sizeof(in->listen_head));
	for (unsigned int i = 0; i < INST_GRO_MAX; i++)
		in->gro[i].conn = INST_NONE;
	return in;
}

void inst_fini(struct inst *in)
{
	for (uint32_t i = 0; i < in->conns_made; i++)
		if (in->conns[i].tcb.env)
			inst_conn_drop(in, &in->conns[i]);
	inst_fill_drop(in, &in->tx_fill);
	inst_fill_drop(in, &in->rx_fill);
	ip_fini(in->ip);
}

struct ip *inst_ip(struct inst *in)
{
	return in->ip;
}

const struct base_counters *inst_counters(const struct inst *in)
{
	return &in->counters;
}

uint32_t inst_conn_count(const struct inst *in)
{
	return in->conns_used;
}

uint32_t inst_pool_used(const struct inst *in)
{
	uint32_t sum = 0;

	for (int kind = 0; kind < TCP_MEM_COUNT; kind++)
		sum += in->env.pool.used[kind];
	return sum;
}
