/* inst_rss.c - Toeplitz hash: one window of 32 key bits for each set bit of the tuple */
#include "stack/inst/inst_rss.h"

#include "stack/base/base_bytes.h"

static uint64_t key_window(const struct inst_rss_config *rss, unsigned int at)
{
	return (uint64_t)base_be32_get(rss->key + at) << 8 | rss->key[at + 4];
}

uint32_t inst_rss_bits(const struct inst_rss_config *rss, const uint8_t *bytes, unsigned int n,
		       unsigned int at)
{
	uint32_t hash = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t window = key_window(rss, at + i);

		for (unsigned int bit = 0; bit < 8; bit++)
			if (bytes[i] & 0x80u >> bit)
				hash ^= (uint32_t)(window >> (8 - bit));
	}
	return hash;
}

uint32_t inst_rss_hash(const struct inst_rss_config *rss, const struct wire_flow *flow)
{
	bool v4 = wire_addr_is_v4(&flow->remote);
	unsigned int skip = v4 ? 12 : 0, len = v4 ? 4 : 16;
	uint8_t ports[4];
	uint32_t hash;

	base_be16_put(ports, flow->rport);
	base_be16_put(ports + 2, flow->lport);
	hash = inst_rss_bits(rss, flow->remote.b + skip, len, 0);
	hash ^= inst_rss_bits(rss, flow->local.b + skip, len, len);
	return hash ^ inst_rss_bits(rss, ports, 4, 2 * len);
}

bool inst_rss_ours(const struct inst_rss_config *rss, const struct wire_flow *flow)
{
	if (rss->reta_len == 0)
		return true;
	return rss->reta[inst_rss_hash(rss, flow) & (rss->reta_len - 1u)] == rss->queue;
}
