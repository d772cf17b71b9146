/* dev_route.c - which way the kernel goes, for devices that share its interfaces */
#include "stack/dev/dev_route.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "stack/base/base_sys.h"

#define SHARED       "xdp:"
#define ANSWER_BYTES 1024 /* of one route: some attributes, metrics among them */

/* Attributes of a question: two addresses and an interface at most. */
struct question {
	struct nlmsghdr h;
	struct rtmsg r;
	uint8_t attrs[64];
};

struct answer {
	uint32_t type, oif;
	union wire_addr source;
	bool sourced;
};

/* Return: number of the interface that @spec shares, 0: none. */
static uint32_t ifindex_of(const char *spec)
{
	struct ifreq req = { 0 };
	size_t len;
	int s, rc;

	if (strncmp(spec, SHARED, sizeof(SHARED) - 1))
		return 0;
	spec += sizeof(SHARED) - 1;
	len = strcspn(spec, ",");
	if (!len || len >= sizeof(req.ifr_name))
		return 0;
	memcpy(req.ifr_name, spec, len);
	s = (int)sys(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return 0;
	rc = (int)sys(SYS_ioctl, s, SIOCGIFINDEX, &req);
	sys(SYS_close, s);
	return rc ? 0 : (uint32_t)req.ifr_ifindex;
}

static void attr_add(struct question *q, uint16_t type, const void *value, uint16_t len)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)q + NLMSG_ALIGN(q->h.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), value, len);
	q->h.nlmsg_len = NLMSG_ALIGN(q->h.nlmsg_len) + a->rta_len;
}

static void addr_add(struct question *q, uint16_t type, const union wire_addr *addr)
{
	bool v4 = q->r.rtm_family == AF_INET;

	attr_add(q, type, v4 ? addr->b + 12 : addr->b, v4 ? 4 : 16);
}

static void question_begin(struct question *q, const union wire_addr *to, uint32_t flags)
{
	bool v4 = wire_addr_is_v4(to);

	*q = (struct question){
		.h = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
		       .nlmsg_type = RTM_GETROUTE,
		       .nlmsg_flags = NLM_F_REQUEST,
		       .nlmsg_seq = 1 },
		.r = { .rtm_family = v4 ? AF_INET : AF_INET6,
		       .rtm_dst_len = v4 ? 32 : 128,
		       .rtm_flags = flags },
	};
	addr_add(q, RTA_DST, to);
}

static bool answer_read(struct answer *a, const struct nlmsghdr *h, size_t len)
{
	const struct rtmsg *r = NLMSG_DATA(h);
	const struct rtattr *at = RTM_RTA(r);
	size_t left;

	if (!NLMSG_OK(h, len) || h->nlmsg_type != RTM_NEWROUTE ||
	    h->nlmsg_len < NLMSG_LENGTH(sizeof(*r)))
		return false;
	*a = (struct answer){ .type = r->rtm_type };
	left = RTM_PAYLOAD(h);
	for (; RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		if (at->rta_type == RTA_OIF && RTA_PAYLOAD(at) == sizeof(a->oif))
			memcpy(&a->oif, RTA_DATA(at), sizeof(a->oif));
		if (at->rta_type != RTA_PREFSRC)
			continue;
		a->sourced = true;
		if (r->rtm_family == AF_INET && RTA_PAYLOAD(at) == 4)
			a->source = wire_addr_v4_bytes(RTA_DATA(at));
		else if (r->rtm_family == AF_INET6 && RTA_PAYLOAD(at) == 16)
			a->source = wire_addr_v6_bytes(RTA_DATA(at));
		else
			a->sourced = false;
	}
	return true;
}

/* Return: false when the kernel has no way at all, or is not to be asked. */
static bool ask(const struct question *q, struct answer *a)
{
	_Alignas(8) char buf[ANSWER_BYTES];
	int s = (int)sys(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	long n;

	if (s < 0)
		return false;
	n = sys(SYS_sendto, s, q, q->h.nlmsg_len, 0, NULL, 0);
	if (n > 0) /* the answer lies there before the question's call has returned */
		n = sys(SYS_recvfrom, s, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL);
	sys(SYS_close, s);
	return n > 0 && answer_read(a, (const struct nlmsghdr *)(const void *)buf, (size_t)n);
}

bool dev_route_to(const char *spec, const union wire_addr *to, uint32_t ifindex,
		  union wire_addr *from)
{
	uint32_t shared = ifindex_of(spec);
	struct question q;
	struct answer a;

	if (!shared)
		return false;
	question_begin(&q, to, 0);
	if (!wire_addr_is_any(from)) {
		q.r.rtm_src_len = q.r.rtm_dst_len;
		addr_add(&q, RTA_SRC, from);
	}
	if (ifindex)
		attr_add(&q, RTA_OIF, &ifindex, sizeof(ifindex));
	if (!ask(&q, &a) || a.type != RTN_UNICAST || a.oif != shared)
		return false;
	if (wire_addr_is_any(from) && a.sourced)
		*from = a.source;
	return true;
}

bool dev_route_of(const char *spec, const union wire_addr *addr)
{
	uint32_t shared = ifindex_of(spec);
	struct question q;
	struct answer a;

	if (!shared)
		return false;
	question_begin(&q, addr, RTM_F_FIB_MATCH); /* the entry, which names the interface */
	return ask(&q, &a) && a.type == RTN_LOCAL && a.oif == shared;
}
