/* dev_nl_test.c - messages of route netlink as the kernel writes them, and as it never would */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "stack/dev/dev_nl.h"

#define OURS 7u

/* A message under construction. */
struct text {
	_Alignas(8) uint8_t b[1024];
	size_t len;
};

static struct nlmsghdr *head(struct text *t)
{
	return (struct nlmsghdr *)t->b;
}

static void begin(struct text *t, unsigned int type, const void *body, size_t len)
{
	memset(t, 0, sizeof(*t));
	head(t)->nlmsg_type = (uint16_t)type;
	head(t)->nlmsg_seq = 99;
	memcpy(t->b + NLMSG_HDRLEN, body, len);
	t->len = NLMSG_HDRLEN + NLMSG_ALIGN(len);
	head(t)->nlmsg_len = (uint32_t)t->len;
}

static void add(struct text *t, unsigned int type, const void *value, size_t len)
{
	struct rtattr a = { .rta_len = (uint16_t)(sizeof(a) + len), .rta_type = (uint16_t)type };

	memcpy(t->b + t->len, &a, sizeof(a));
	memcpy(t->b + t->len + sizeof(a), value, len);
	t->len += RTA_ALIGN(a.rta_len);
	head(t)->nlmsg_len = (uint32_t)t->len;
}

static void add_u32(struct text *t, unsigned int type, uint32_t value)
{
	add(t, type, &value, sizeof(value));
}

static const uint8_t net4[] = { 10, 1, 2, 0 }, gw4[] = { 10, 0, 0, 1 };
static const uint8_t mac[] = { 2, 4, 6, 8, 10, 12 };

static struct dev_nl parsed(const struct text *t)
{
	struct dev_nl m;

	cr_assert_eq(dev_nl_parse(t->b, t->len, OURS, &m), t->len);
	return m;
}

static void route(struct text *t, unsigned int type, unsigned int table)
{
	struct rtmsg r = { .rtm_family = AF_INET,
			   .rtm_dst_len = 24,
			   .rtm_type = (uint8_t)type,
			   .rtm_table = (uint8_t)table };

	begin(t, RTM_NEWROUTE, &r, sizeof(r));
	add(t, RTA_DST, net4, 4);
}

static bool is(const union wire_addr *a, const uint8_t v4[4])
{
	union wire_addr b = wire_addr_v4_bytes(v4);

	return wire_addr_equal(a, &b);
}

Test(dev_nl, a_route_with_gateway_metric_and_mtu)
{
	uint8_t metrics[8] = { 8, 0, RTAX_MTU, 0, 0x78, 0x05 }; /* 1400 */
	struct dev_nl m;
	struct text t;

	route(&t, RTN_UNICAST, RT_TABLE_MAIN);
	add(&t, RTA_GATEWAY, gw4, 4);
	add_u32(&t, RTA_OIF, OURS);
	add_u32(&t, RTA_PRIORITY, 100);
	add(&t, RTA_METRICS, metrics, sizeof(metrics));
	m = parsed(&t);
	cr_expect_eq(m.kind, DEV_NL_ROUTE);
	cr_expect(m.usable && !m.gone);
	cr_expect_eq(m.seq, 99);
	cr_expect_eq(m.bits, 24);
	cr_expect_eq(m.ifindex, OURS);
	cr_expect_eq(m.metric, 100);
	cr_expect_eq(m.mtu, 1400);
	cr_expect(is(&m.addr, net4) && is(&m.via, gw4));
	head(&t)->nlmsg_type = RTM_DELROUTE;
	cr_expect(parsed(&t).gone);
}

Test(dev_nl, routes_that_forbid_are_told_and_other_tables_are_not)
{
	struct text t;

	route(&t, RTN_UNREACHABLE, RT_TABLE_MAIN);
	cr_expect_eq(parsed(&t).kind, DEV_NL_ROUTE);
	cr_expect_not(parsed(&t).usable);
	route(&t, RTN_UNICAST, RT_TABLE_LOCAL);
	cr_expect_eq(parsed(&t).kind, DEV_NL_OTHER);
	route(&t, RTN_UNICAST, RT_TABLE_MAIN);
	add_u32(&t, RTA_TABLE, 1000);
	cr_expect_eq(parsed(&t).kind, DEV_NL_OTHER);
	route(&t, RTN_MULTICAST, RT_TABLE_MAIN);
	cr_expect_eq(parsed(&t).kind, DEV_NL_OTHER);
}

Test(dev_nl, of_several_next_hops_ours_is_taken)
{
	struct {
		struct rtnexthop h;
		struct rtattr a;
		uint8_t gw[4];
	} hops[2] = {
		{ { .rtnh_len = 16, .rtnh_ifindex = 3 }, { 8, RTA_GATEWAY }, { 10, 3, 0, 1 } },
		{ { .rtnh_len = 16, .rtnh_ifindex = (int)OURS },
		  { 8, RTA_GATEWAY },
		  { 10, 0, 0, 1 } },
	};
	struct text t;
	struct dev_nl m;

	route(&t, RTN_UNICAST, RT_TABLE_MAIN);
	add(&t, RTA_MULTIPATH, hops, sizeof(hops));
	m = parsed(&t);
	cr_expect(m.usable);
	cr_expect_eq(m.ifindex, OURS);
	cr_expect(is(&m.via, gw4));
	hops[1].h.rtnh_ifindex = 4;
	route(&t, RTN_UNICAST, RT_TABLE_MAIN);
	add(&t, RTA_MULTIPATH, hops, sizeof(hops));
	cr_expect_eq(parsed(&t).ifindex, 3, "none is ours: the first");
}

Test(dev_nl, neighbours_are_usable_with_an_address_in_a_good_state)
{
	struct ndmsg n = { .ndm_family = AF_INET,
			   .ndm_ifindex = (int)OURS,
			   .ndm_state = NUD_STALE };
	struct dev_nl m;
	struct text t;

	begin(&t, RTM_NEWNEIGH, &n, sizeof(n));
	add(&t, NDA_DST, gw4, 4);
	add(&t, NDA_LLADDR, mac, 6);
	m = parsed(&t);
	cr_expect_eq(m.kind, DEV_NL_NEIGH);
	cr_expect(m.usable);
	cr_expect_eq(memcmp(m.mac.b, mac, 6), 0);
	n.ndm_state = NUD_FAILED;
	begin(&t, RTM_NEWNEIGH, &n, sizeof(n));
	add(&t, NDA_DST, gw4, 4);
	add(&t, NDA_LLADDR, mac, 6);
	cr_expect_not(parsed(&t).usable);
	n.ndm_state = NUD_REACHABLE;
	begin(&t, RTM_NEWNEIGH, &n, sizeof(n));
	add(&t, NDA_DST, gw4, 4);
	cr_expect_not(parsed(&t).usable, "no station");
}

Test(dev_nl, addresses_and_links)
{
	struct ifaddrmsg a = { .ifa_family = AF_INET, .ifa_prefixlen = 8, .ifa_index = OURS };
	struct ifinfomsg l = { .ifi_index = (int)OURS, .ifi_flags = IFF_UP };
	struct dev_nl m;
	struct text t;

	begin(&t, RTM_NEWADDR, &a, sizeof(a));
	add(&t, IFA_ADDRESS, gw4, 4);
	add(&t, IFA_LOCAL, net4, 4);
	cr_expect(parsed(&t).usable && parsed(&t).kind == DEV_NL_ADDR);
	m = parsed(&t);
	cr_expect(is(&m.addr, net4), "ours, not the other end's");
	add_u32(&t, IFA_FLAGS, IFA_F_TENTATIVE);
	cr_expect_not(parsed(&t).usable);
	a.ifa_prefixlen = 33;
	begin(&t, RTM_NEWADDR, &a, sizeof(a));
	add(&t, IFA_LOCAL, net4, 4);
	cr_expect_eq(parsed(&t).kind, DEV_NL_OTHER, "no such prefix");
	begin(&t, RTM_NEWLINK, &l, sizeof(l));
	add_u32(&t, IFLA_MTU, 9000);
	cr_expect(parsed(&t).kind == DEV_NL_LINK && parsed(&t).usable && parsed(&t).mtu == 9000);
}

Test(dev_nl, errors_ends_and_nonsense)
{
	struct nlmsgerr e = { .error = -ENOENT };
	struct dev_nl m;
	struct text t;

	begin(&t, NLMSG_ERROR, &e, sizeof(e));
	m = parsed(&t);
	cr_expect(m.kind == DEV_NL_ERROR && m.err == -ENOENT);
	begin(&t, NLMSG_DONE, "", 0);
	cr_expect_eq(parsed(&t).kind, DEV_NL_DONE);
	begin(&t, RTM_NEWROUTE, "", 1);
	cr_expect_eq(parsed(&t).kind, DEV_NL_OTHER, "short");
	for (uint32_t len = 0; len < NLMSG_HDRLEN; len++) {
		head(&t)->nlmsg_len = len;
		cr_expect_eq(dev_nl_parse(t.b, t.len, OURS, &m), 0);
	}
	head(&t)->nlmsg_len = (uint32_t)t.len + 1;
	cr_expect_eq(dev_nl_parse(t.b, t.len, OURS, &m), 0, "longer than what is there");
}
