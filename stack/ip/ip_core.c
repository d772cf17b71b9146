/* ip_core.c - the memory of an ip, and its addresses */
#include "stack/ip/ip_state.h"

#include <errno.h>

static size_t align64(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

void ip_config_defaults(struct ip_config *cfg)
{
	*cfg = (struct ip_config){
		.mtu = 1500,
		.vlan = WIRE_VLAN_NONE,
		.neigh_max = 256,
		.pmtu_max = 256,
		.reass_max = 4,
	};
}

static bool config_ok(const struct ip_config *cfg)
{
	return cfg->mtu >= 576 && cfg->neigh_max >= 1 && cfg->neigh_max <= 4096 &&
	       cfg->pmtu_max >= 4 && cfg->pmtu_max <= 65536 &&
	       (cfg->pmtu_max & (cfg->pmtu_max - 1)) == 0 && cfg->reass_max <= 64 &&
	       (cfg->vlan == WIRE_VLAN_NONE || cfg->vlan <= WIRE_VLAN_MAX);
}

size_t ip_size(const struct ip_config *cfg)
{
	if (!config_ok(cfg))
		return 0;
	return align64(sizeof(struct ip)) + align64(cfg->neigh_max * sizeof(struct ip_neigh)) +
	       align64(cfg->neigh_max * sizeof(uint16_t)) +
	       align64(cfg->neigh_max * sizeof(struct ip_link)) +
	       align64(cfg->pmtu_max * sizeof(struct ip_pmtu)) +
	       align64(cfg->reass_max * sizeof(struct ip_reass));
}

static void *carve(char **at, size_t bytes)
{
	void *p = *at;

	*at += align64(bytes);
	return p;
}

struct ip *ip_init(void *mem, const struct ip_config *cfg, struct base_counters *counters)
{
	char *at = mem;
	struct ip *ip = carve(&at, sizeof(*ip));

	BASE_CHECK(config_ok(cfg));
	memset(ip, 0, sizeof(*ip));
	ip->cfg = *cfg;
	ip->counters = counters;
	ip->plain.gen = 1;
	ip->neigh = carve(&at, cfg->neigh_max * sizeof(*ip->neigh));
	ip->neigh_head = carve(&at, cfg->neigh_max * sizeof(*ip->neigh_head));
	ip->plain.links = carve(&at, cfg->neigh_max * sizeof(*ip->plain.links));
	ip->plain.sums = cfg->offloads & WIRE_OFFLOAD_TX_CSUM;
	ip->pmtu = carve(&at, cfg->pmtu_max * sizeof(*ip->pmtu));
	ip->reass = carve(&at, cfg->reass_max * sizeof(*ip->reass));
	memset(ip->pmtu, 0, cfg->pmtu_max * sizeof(*ip->pmtu));
	for (uint32_t i = 0; i < cfg->reass_max; i++)
		ip->reass[i].until = 0;
	ip->plain.link_len = cfg->vlan == WIRE_VLAN_NONE ? WIRE_ETH_LEN
							 : WIRE_ETH_LEN + WIRE_VLAN_LEN;
	ip->plain.deadline = ZTIME_NEVER;
	ip->announce_at = ZTIME_NEVER;
	ip->plain.mac48 = UINT64_MAX;
	if (cfg->vlan == WIRE_VLAN_NONE) {
		ip->plain.mac48 = 0;
		memcpy(&ip->plain.mac48, cfg->mac.b, WIRE_MAC_LEN);
	}
	ip_neigh_init(ip);
	return ip;
}

void ip_fini(struct ip *ip)
{
	struct wire_frame_out f;

	while (ip_answer_take(ip, &f))
		;
	ip_neigh_fini(ip);
	ip_self_fini(ip);
}

struct ip_addr_entry *ip_addr_find(struct ip *ip, const union wire_addr *addr)
{
	for (uint32_t i = 0; i < ip->naddrs; i++)
		if (wire_addr_equal(&ip->addrs[i].addr, addr))
			return &ip->addrs[i];
	return NULL;
}

bool ip_addr_local(const struct ip *ip, const union wire_addr *addr)
{
	return ip_addr_find((struct ip *)ip, addr) != NULL;
}

static bool addr_usable(const union wire_addr *addr)
{
	return !wire_addr_is_any(addr) && !wire_addr_is_this_net(addr) &&
	       !wire_addr_is_multicast(addr) && !wire_addr_is_broadcast(addr) &&
	       !wire_addr_is_loopback(addr);
}

int ip_addr_add(struct ip *ip, const union wire_addr *addr, unsigned int bits, ztime_t now)
{
	union wire_addr on_link = wire_addr_is_v4(addr) ? wire_addr_v4(0) : (union wire_addr){ 0 };
	int mapped = ip_bits_mapped(addr, bits);
	int err;

	if (mapped < 0 || !addr_usable(addr))
		return -EINVAL;
	if (ip_addr_find(ip, addr))
		return -EEXIST;
	if (ip->naddrs == IP_ADDRS_MAX)
		return -ENOSPC;
	err = ip_route_add(ip, addr, bits, &on_link, 0);
	if (err)
		return err;
	ip->addrs[ip->naddrs++] =
		(struct ip_addr_entry){ .addr = *addr, .bits = (uint8_t)mapped, .again = true };
	ip->announce_at = now + IP_ANNOUNCE_EVERY;
	ip->plain.gen++;
	ip_announce(ip, addr);
	return 0;
}

int ip_addr_remove(struct ip *ip, const union wire_addr *addr)
{
	struct ip_addr_entry *e = ip_addr_find(ip, addr);

	if (!e)
		return -ENOENT;
	*e = ip->addrs[--ip->naddrs];
	ip->plain.gen++;
	return 0;
}

uint8_t ip_l4_at(const struct ip *ip, bool v4)
{
	return (uint8_t)(ip->plain.link_len + (v4 ? WIRE_IP4_LEN : WIRE_IP6_LEN));
}

const struct ip_plain *ip_plain(const struct ip *ip)
{
	return &ip->plain;
}
