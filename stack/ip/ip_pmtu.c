/* ip_pmtu.c - what is known of path MTUs (RFC 1191, 8201)
 *
 * A hash table with four places a destination; the entry that expires first gives way. An entry
 * lives ten minutes, after which the link's MTU is tried again (RFC 1191 6.3).
 */
#include "stack/ip/ip_state.h"

#define PMTU_WAYS 4
#define PMTU_LIFE (600 * ZTIME_SEC)

static struct ip_pmtu *pmtu_set(const struct ip *ip, const union wire_addr *dst)
{
	uint64_t hash = base_hash_sip24_words(&ip->cfg.key, dst->q, 2);

	return &ip->pmtu[hash & (ip->cfg.pmtu_max - 1) & ~(uint64_t)(PMTU_WAYS - 1)];
}

static struct ip_pmtu *pmtu_lookup(const struct ip *ip, const union wire_addr *dst, ztime_t now)
{
	struct ip_pmtu *set = pmtu_set(ip, dst);

	for (int i = 0; i < PMTU_WAYS; i++)
		if (set[i].mtu && set[i].until > now && wire_addr_equal(&set[i].dst, dst))
			return &set[i];
	return NULL;
}

uint16_t ip_pmtu_find(const struct ip *ip, const union wire_addr *dst, uint16_t link, ztime_t now)
{
	const struct ip_pmtu *e = pmtu_lookup(ip, dst, now);

	return e ? BASE_MIN(e->mtu, link) : link;
}

static struct ip_pmtu *pmtu_make(struct ip *ip, const union wire_addr *dst, ztime_t now)
{
	struct ip_pmtu *set = pmtu_set(ip, dst), *oldest = set;

	for (int i = 0; i < PMTU_WAYS; i++) {
		if (!set[i].mtu || set[i].until <= now)
			return &set[i];
		if (set[i].until < oldest->until)
			oldest = &set[i];
	}
	return oldest;
}

uint16_t ip_pmtu_learn(struct ip *ip, const union wire_addr *dst, uint32_t mtu, ztime_t now)
{
	uint32_t floor = wire_addr_is_v4(dst) ? IP4_MTU_MIN : IP6_MTU_MIN;
	const struct ip_route *r = ip_route_find(ip, dst);
	uint16_t link = r && r->mtu ? BASE_MIN(r->mtu, ip->cfg.mtu) : ip->cfg.mtu;
	uint16_t known = ip_pmtu_find(ip, dst, link, now);
	struct ip_pmtu *e;

	mtu = BASE_MAX(mtu, floor);
	if (mtu >= known)
		return known;
	e = pmtu_lookup(ip, dst, now);
	if (!e)
		e = pmtu_make(ip, dst, now);
	*e = (struct ip_pmtu){ .dst = *dst, .mtu = (uint16_t)mtu, .until = now + PMTU_LIFE };
	base_count(ip->counters, CNT_ip_pmtu_lowered);
	ip->plain.gen++;
	return e->mtu;
}
