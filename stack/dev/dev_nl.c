/* dev_nl.c - what the kernel says by route netlink, as values */
#include "stack/dev/dev_nl.h"

#include <linux/if.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "stack/base/base_bytes.h"

#define NEIGH_VALID   (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY)
#define ADDR_UNUSABLE (IFA_F_TENTATIVE | IFA_F_DADFAILED)
#define TYPES         (RTA_MAX + 1) /* the highest attribute of any message here */

/* Attributes by type: where the value lies, and how long it is. */
struct attrs {
	const uint8_t *at[TYPES];
	uint16_t len[TYPES];
};

static void attrs_read(struct attrs *a, const uint8_t *p, size_t len)
{
	struct rtattr h;

	memset(a, 0, sizeof(*a));
	while (len >= sizeof(h)) {
		size_t whole;

		memcpy(&h, p, sizeof(h));
		if (h.rta_len < sizeof(h) || h.rta_len > len)
			return;
		h.rta_type &= NLA_TYPE_MASK;
		if (h.rta_type < TYPES) {
			a->at[h.rta_type] = p + sizeof(h);
			a->len[h.rta_type] = (uint16_t)(h.rta_len - sizeof(h));
		}
		whole = RTA_ALIGN((size_t)h.rta_len);
		if (whole >= len)
			return;
		p += whole;
		len -= whole;
	}
}

/* Return: false, and @value as it was, when there is none. */
static bool attr_u32(const struct attrs *a, unsigned int type, uint32_t *value)
{
	if (a->len[type] < sizeof(*value))
		return false;
	*value = base_word32(a->at[type]);
	return true;
}

/* An IPv4 address inside IPv6 (RFC 4291, 2.5.5.2) is none: it would be taken for IPv4, with a prefix of up to 128 bits. */
static bool attr_addr(const struct attrs *a, unsigned int type, unsigned int family,
		      union wire_addr *addr)
{
	union wire_addr six;

	if (family == AF_INET && a->len[type] == 4) {
		*addr = wire_addr_v4_bytes(a->at[type]);
		return true;
	}
	if (family != AF_INET6 || a->len[type] != 16)
		return false;
	six = wire_addr_v6_bytes(a->at[type]);
	if (wire_addr_is_v4(&six))
		return false;
	*addr = six;
	return true;
}

static union wire_addr any_of(unsigned int family)
{
	static const union wire_addr any6;

	return family == AF_INET ? wire_addr_v4(0) : any6;
}

static bool family_ours(unsigned int family)
{
	return family == AF_INET || family == AF_INET6;
}

static void link_read(struct dev_nl *m, const uint8_t *p, size_t len)
{
	struct ifinfomsg h;
	struct attrs a;

	if (len < sizeof(h))
		return;
	memcpy(&h, p, sizeof(h));
	attrs_read(&a, p + NLMSG_ALIGN(sizeof(h)), len - NLMSG_ALIGN(sizeof(h)));
	m->kind = DEV_NL_LINK;
	m->ifindex = (uint32_t)h.ifi_index;
	m->usable = h.ifi_flags & IFF_UP;
	attr_u32(&a, IFLA_MTU, &m->mtu);
	if (a.len[IFLA_ADDRESS] == WIRE_MAC_LEN)
		memcpy(m->mac.b, a.at[IFLA_ADDRESS], WIRE_MAC_LEN);
}

static void addr_read(struct dev_nl *m, const uint8_t *p, size_t len)
{
	struct ifaddrmsg h;
	struct attrs a;
	uint32_t flags;

	if (len < sizeof(h))
		return;
	memcpy(&h, p, sizeof(h));
	attrs_read(&a, p + NLMSG_ALIGN(sizeof(h)), len - NLMSG_ALIGN(sizeof(h)));
	flags = h.ifa_flags;
	attr_u32(&a, IFA_FLAGS, &flags);
	if (!family_ours(h.ifa_family) ||
	    (!attr_addr(&a, IFA_LOCAL, h.ifa_family, &m->addr) &&
	     !attr_addr(&a, IFA_ADDRESS, h.ifa_family, &m->addr)) ||
	    h.ifa_prefixlen > (h.ifa_family == AF_INET ? 32 : 128))
		return;
	m->kind = DEV_NL_ADDR;
	m->ifindex = h.ifa_index;
	m->bits = h.ifa_prefixlen;
	m->usable = !(flags & ADDR_UNUSABLE);
}

/* The next hop by way of @ifindex, else the first. Return: false when it cannot be used here. */
static bool hops_read(struct dev_nl *m, const uint8_t *p, size_t len, unsigned int family,
		      uint32_t ifindex)
{
	bool usable = false;

	while (len >= sizeof(struct rtnexthop)) {
		struct rtnexthop h;
		struct attrs a;
		size_t whole;

		memcpy(&h, p, sizeof(h));
		if (h.rtnh_len < sizeof(h) || h.rtnh_len > len)
			break;
		if (!m->ifindex || (uint32_t)h.rtnh_ifindex == ifindex) {
			attrs_read(&a, p + sizeof(h), h.rtnh_len - sizeof(h));
			m->ifindex = (uint32_t)h.rtnh_ifindex;
			m->via = any_of(family);
			attr_addr(&a, RTA_GATEWAY, family, &m->via);
			usable = !a.at[RTA_VIA];
		}
		whole = RTNH_ALIGN((size_t)h.rtnh_len);
		if (m->ifindex == ifindex || whole >= len)
			break;
		p += whole;
		len -= whole;
	}
	return usable;
}

static uint32_t route_mtu(const struct attrs *a)
{
	struct attrs metrics;
	uint32_t mtu = 0;

	if (!a->at[RTA_METRICS])
		return 0;
	attrs_read(&metrics, a->at[RTA_METRICS], a->len[RTA_METRICS]);
	attr_u32(&metrics, RTAX_MTU, &mtu);
	return mtu;
}

static void route_fill(struct dev_nl *m, const struct rtmsg *h, const struct attrs *a,
		       uint32_t ifindex)
{
	m->kind = DEV_NL_ROUTE;
	m->bits = h->rtm_dst_len;
	m->addr = m->via = any_of(h->rtm_family);
	attr_addr(a, RTA_DST, h->rtm_family, &m->addr);
	attr_u32(a, RTA_PRIORITY, &m->metric);
	m->mtu = route_mtu(a);
	m->usable = h->rtm_type == RTN_UNICAST;
	if (a->at[RTA_MULTIPATH]) {
		m->usable &= hops_read(m, a->at[RTA_MULTIPATH], a->len[RTA_MULTIPATH],
				       h->rtm_family, ifindex);
		return;
	}
	attr_u32(a, RTA_OIF, &m->ifindex);
	attr_addr(a, RTA_GATEWAY, h->rtm_family, &m->via);
	if (a->at[RTA_VIA] || a->at[RTA_ENCAP])
		m->usable = false; /* a gateway of the other family, or a tunnel */
}

/* The main table's, as far as they lead somewhere or forbid it. */
static void route_read(struct dev_nl *m, const uint8_t *p, size_t len, uint32_t ifindex)
{
	struct rtmsg h;
	struct attrs a;
	uint32_t table;

	if (len < sizeof(h))
		return;
	memcpy(&h, p, sizeof(h));
	attrs_read(&a, p + NLMSG_ALIGN(sizeof(h)), len - NLMSG_ALIGN(sizeof(h)));
	table = h.rtm_table;
	attr_u32(&a, RTA_TABLE, &table);
	if (!family_ours(h.rtm_family) || table != RT_TABLE_MAIN || h.rtm_flags & RTM_F_CLONED ||
	    h.rtm_src_len || h.rtm_tos || h.rtm_dst_len > (h.rtm_family == AF_INET ? 32 : 128))
		return;
	switch (h.rtm_type) {
	case RTN_UNICAST:
	case RTN_BLACKHOLE:
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
	case RTN_THROW: route_fill(m, &h, &a, ifindex); break;
	default: break;
	}
}

static void neigh_read(struct dev_nl *m, const uint8_t *p, size_t len)
{
	struct ndmsg h;
	struct attrs a;

	if (len < sizeof(h))
		return;
	memcpy(&h, p, sizeof(h));
	attrs_read(&a, p + NLMSG_ALIGN(sizeof(h)), len - NLMSG_ALIGN(sizeof(h)));
	if (!family_ours(h.ndm_family) || h.ndm_flags & NTF_PROXY ||
	    !attr_addr(&a, NDA_DST, h.ndm_family, &m->addr))
		return;
	m->kind = DEV_NL_NEIGH;
	m->ifindex = (uint32_t)h.ndm_ifindex;
	m->usable = h.ndm_state & NEIGH_VALID && a.len[NDA_LLADDR] == WIRE_MAC_LEN;
	if (m->usable)
		memcpy(m->mac.b, a.at[NDA_LLADDR], WIRE_MAC_LEN);
}

static void error_read(struct dev_nl *m, const uint8_t *p, size_t len)
{
	struct nlmsgerr e;

	if (len < sizeof(e))
		return;
	memcpy(&e, p, sizeof(e));
	m->kind = DEV_NL_ERROR;
	m->err = e.error;
}

static void body_read(struct dev_nl *m, unsigned int type, const uint8_t *p, size_t len,
		      uint32_t ifindex)
{
	switch (type) {
	case NLMSG_DONE: m->kind = DEV_NL_DONE; break;
	case NLMSG_ERROR: error_read(m, p, len); break;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		link_read(m, p, len);
		m->gone = type == RTM_DELLINK;
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		addr_read(m, p, len);
		m->gone = type == RTM_DELADDR;
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		route_read(m, p, len, ifindex);
		m->gone = type == RTM_DELROUTE;
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		neigh_read(m, p, len);
		m->gone = type == RTM_DELNEIGH;
		break;
	default: break;
	}
}

size_t dev_nl_parse(const void *buf, size_t len, uint32_t ifindex, struct dev_nl *m)
{
	const uint8_t *p = buf;
	struct nlmsghdr h;
	size_t whole;

	if (len < sizeof(h))
		return 0;
	memcpy(&h, p, sizeof(h));
	if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > len)
		return 0;
	memset(m, 0, sizeof(*m));
	m->seq = h.nlmsg_seq;
	body_read(m, h.nlmsg_type, p + sizeof(h), h.nlmsg_len - sizeof(h), ifindex);
	whole = NLMSG_ALIGN((size_t)h.nlmsg_len);
	return whole < len ? whole : len;
}
