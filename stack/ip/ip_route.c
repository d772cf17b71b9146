/* ip_route.c - static routes with the longest prefix first, hops, source addresses */
#include "stack/ip/ip_state.h"

#include <errno.h>

#define V4_MAPPED_BITS 96

int ip_bits_mapped(const union wire_addr *addr, unsigned int bits)
{
	if (wire_addr_is_v4(addr))
		return bits <= 32 ? (int)bits + V4_MAPPED_BITS : -EINVAL;
	return bits <= 128 ? (int)bits : -EINVAL;
}

/* ::/0 must not catch IPv4, which lives in ::ffff:0:0/96. */
static bool route_matches(const struct ip_route *r, const union wire_addr *dst)
{
	return wire_addr_is_v4(&r->net) == wire_addr_is_v4(dst) &&
	       wire_addr_in_prefix(dst, &r->net, r->bits);
}

const struct ip_route *ip_route_find(const struct ip *ip, const union wire_addr *dst)
{
	for (uint32_t i = 0; i < ip->nroutes; i++)
		if (route_matches(&ip->routes[i], dst))
			return ip->routes[i].elsewhere ? NULL : &ip->routes[i];
	return NULL;
}

static uint32_t route_place(const struct ip *ip, const union wire_addr *net, int bits, bool *equal)
{
	uint32_t i = 0;

	while (i < ip->nroutes && ip->routes[i].bits > bits)
		i++;
	*equal = false;
	for (uint32_t j = i; j < ip->nroutes && ip->routes[j].bits == bits; j++) {
		if (!route_matches(&ip->routes[j], net))
			continue;
		*equal = true;
		return j;
	}
	return i;
}

static int route_put(struct ip *ip, const struct ip_route *r)
{
	bool equal;
	uint32_t at = route_place(ip, &r->net, r->bits, &equal);

	if (!equal) {
		if (ip->nroutes == IP_ROUTES_MAX)
			return -ENOSPC;
		memmove(&ip->routes[at + 1], &ip->routes[at],
			(ip->nroutes++ - at) * sizeof(ip->routes[0]));
	}
	ip->routes[at] = *r;
	ip->plain.gen++;
	return 0;
}

int ip_route_add(struct ip *ip, const union wire_addr *net, unsigned int bits,
		 const union wire_addr *via, uint16_t mtu)
{
	int mapped = ip_bits_mapped(net, bits);

	if (mapped < 0 || wire_addr_is_v4(net) != wire_addr_is_v4(via) ||
	    wire_addr_is_multicast(via))
		return -EINVAL;
	if (mtu && mtu < (wire_addr_is_v4(net) ? IP4_MTU_MIN : IP6_MTU_MIN))
		return -EINVAL;
	return route_put(ip, &(struct ip_route){
				     .net = *net,
				     .via = *via,
				     .mtu = mtu,
				     .bits = (uint8_t)mapped,
				     .on_link = wire_addr_is_any(via),
			     });
}

int ip_route_elsewhere(struct ip *ip, const union wire_addr *net, unsigned int bits)
{
	int mapped = ip_bits_mapped(net, bits);

	if (mapped < 0)
		return -EINVAL;
	return route_put(ip, &(struct ip_route){
				     .net = *net, .bits = (uint8_t)mapped, .elsewhere = true });
}

int ip_route_remove(struct ip *ip, const union wire_addr *net, unsigned int bits)
{
	int mapped = ip_bits_mapped(net, bits);
	bool equal = false;
	uint32_t at;

	if (mapped < 0)
		return -ENOENT;
	at = route_place(ip, net, mapped, &equal);
	if (!equal)
		return -ENOENT;
	memmove(&ip->routes[at], &ip->routes[at + 1], (--ip->nroutes - at) * sizeof(ip->routes[0]));
	ip->plain.gen++;
	return 0;
}

bool ip_is_net_broadcast(const struct ip *ip, const union wire_addr *addr)
{
	if (!wire_addr_is_v4(addr))
		return false;
	for (uint32_t i = 0; i < ip->naddrs; i++) {
		const struct ip_addr_entry *e = &ip->addrs[i];
		uint32_t host_mask;

		if (!wire_addr_is_v4(&e->addr) || e->bits > V4_MAPPED_BITS + 30)
			continue; /* RFC 3021: a /31 has no broadcast address */
		host_mask = (uint32_t)((1ull << (128 - e->bits)) - 1);
		if (wire_addr_in_prefix(addr, &e->addr, e->bits) &&
		    (wire_addr_v4_host(addr) & host_mask) == host_mask)
			return true;
	}
	return false;
}

static unsigned int common_bits(const union wire_addr *a, const union wire_addr *b)
{
	for (unsigned int i = 0; i < 16; i++) {
		unsigned int diff = a->b[i] ^ b->b[i];

		if (diff)
			return i * 8 + (unsigned int)__builtin_clz(diff) - 24;
	}
	return 128;
}

/* The label of RFC 6724 2.1: addresses of one kind belong together. */
static unsigned int label(const union wire_addr *a)
{
	static const struct {
		uint8_t net[4];
		uint8_t bits, label;
	} table[] = {
		{ { 0x20, 0x02 }, 16, 2 },  { { 0x20, 0x01 }, 32, 5 },  { { 0xfc }, 7, 13 },
		{ { 0xfe, 0xc0 }, 10, 11 }, { { 0x3f, 0xfe }, 16, 12 },
	};

	for (unsigned int i = 0; i < BASE_ARRAY_SIZE(table); i++) {
		union wire_addr net = { .b = { 0 } };

		memcpy(net.b, table[i].net, sizeof(table[i].net));
		if (wire_addr_in_prefix(a, &net, table[i].bits))
			return table[i].label;
	}
	return 1; /* all of IPv4 is one kind, and so is the rest */
}

/* How well @e serves as source for @dst: rules 2 (scope), 6 (label) and 8 (longest prefix), the earlier weighing more. */
static unsigned int source_score(const struct ip_addr_entry *e, const union wire_addr *dst)
{
	unsigned int score = 1 + BASE_MIN(common_bits(&e->addr, dst), (unsigned int)e->bits);

	if (label(&e->addr) == label(dst))
		score += 256;
	if (wire_addr_is_link_local(&e->addr) == wire_addr_is_link_local(dst))
		score += 512;
	return score;
}

int ip_source(const struct ip *ip, const union wire_addr *dst, union wire_addr *src)
{
	const struct ip_addr_entry *best = NULL;
	unsigned int best_score = 0;

	for (uint32_t i = 0; i < ip->naddrs; i++) {
		const struct ip_addr_entry *e = &ip->addrs[i];
		unsigned int score;

		if (wire_addr_is_v4(&e->addr) != wire_addr_is_v4(dst))
			continue;
		if (wire_addr_equal(&e->addr, dst)) {
			best = e;
			break; /* rule 1: the same address */
		}
		score = source_score(e, dst);
		if (score > best_score) {
			best = e;
			best_score = score;
		}
	}
	if (!best || !ip_route_find(ip, dst))
		return -ENETUNREACH;
	*src = best->addr;
	return 0;
}

static bool ends_good(const struct ip *ip, const struct wire_flow *flow)
{
	return ip_addr_local(ip, &flow->local) && !ip_source_martian(ip, &flow->remote);
}

int ip_hop_get(struct ip *ip, const struct wire_flow *flow, struct ip_hop *hop, ztime_t now)
{
	const union wire_addr *dst = &flow->remote;
	const struct ip_route *r;
	uint16_t neigh, mtu;

	if (BASE_LIKELY(hop->gen == ip->plain.gen))
		return 0;
	if (ip_addr_local(ip, dst)) {
		*hop = (struct ip_hop){ .neigh = IP_SELF, .mtu = ip->cfg.mtu };
		return 0;
	}
	r = ip_route_find(ip, dst);
	if (!r)
		return -ENETUNREACH;
	neigh = ip_neigh_get(ip, r->on_link ? dst : &r->via);
	if (neigh == IP_NONE)
		return -ENOBUFS;
	mtu = r->mtu ? BASE_MIN(r->mtu, ip->cfg.mtu) : ip->cfg.mtu;
	*hop = (struct ip_hop){
		.gen = ends_good(ip, flow) ? ip->plain.gen : 0,
		.neigh = neigh,
		.mtu = ip_pmtu_find(ip, dst, mtu, now),
	};
	return 0;
}

uint16_t ip_hop_mss(const struct ip_hop *hop, const union wire_addr *dst)
{
	unsigned int headers = WIRE_TCP_HDR_LEN +
			       (wire_addr_is_v4(dst) ? WIRE_IP4_LEN : WIRE_IP6_LEN);

	return (uint16_t)(hop->mtu - headers);
}
