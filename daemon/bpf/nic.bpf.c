/* nic.bpf.c - the XDP program that shares an interface with the kernel
 *
 * Theory of operation: what an instance has named is redirected to the socket of the queue that it
 * arrived on; everything else passes to the kernel as if nobody were here: ARP, neighbour discovery,
 * ICMP, UDP, TCP of other programs on the same address. Named are flows (connections that an instance has opened) and
 * ports (on which instances listen). Of a port's packets those of a connection that the kernel has go to
 * the kernel, so that a server's old connections live on when its port is taken over, and SYN
 * floods write to no table. What ztcpd has named for a user without privileges is that user's only as far as the
 * kernel's own sockets say so, at each packet: who only once had a port does not get what belongs to its next owner. A queue without a socket passes all: after an instance's death the kernel answers
 * for it, with resets for its connections and a handshake for new ones. ICMP errors that quote a
 * named flow follow it.
 *
 * AF_XDP sockets belong to one queue. A flow's packets that arrive on another queue of the same process go to that queue's socket, whose
 * instance passes them on. On a queue that is none of this process's the kernel would reset the connection, so they are dropped and counted.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "daemon/bpf/bpf_kernel.bpf.h"
#include "stack/base/base_nic.h"

#define FRAGMENT_OFFSET 0x1fff
#define FRAGMENT_MORE   0x2000

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, NIC_QUEUES);
	__type(key, uint32_t);
	__type(value, uint32_t);
} nic_xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NIC_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct nic_flow);
	__type(value, struct nic_lease);
} nic_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NIC_PORTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct nic_port);
	__type(value, struct nic_lease);
} nic_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NIC_QUEUES);
	__type(key, uint32_t);
	__type(value, struct nic_lease);
} nic_queues SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NIC_COUNTS);
	__type(key, uint32_t);
	__type(value, uint64_t);
} nic_counts SEC(".maps");

const volatile uint32_t nic_version = NIC_VERSION;

/* <linux/icmp.h> cannot be had without the C library's headers. */
struct icmp {
	uint8_t type, code;
	uint16_t checksum;
	uint32_t rest;
};

enum { ICMP4_UNREACHABLE = 3, ICMP6_UNREACHABLE = 1, ICMP6_TOO_BIG = 2 };

/* What a packet, or the packet that an ICMP error quotes, says of its connection. */
struct seen {
	struct nic_flow flow;
	bool fragment; /* the first of some */
	bool quoted;
};

static __always_inline void count(enum nic_count what)
{
	uint32_t key = what;
	uint64_t *n = bpf_map_lookup_elem(&nic_counts, &key);

	if (n)
		(*n)++;
}

/* Who in the kernel would have a packet of this connection. */
enum owner {
	OWNER_NONE,
	OWNER_LISTENER,
	OWNER_CONNECTION, /* be it in TIME-WAIT */
};

static __always_inline struct bpf_sock *socket_of(struct xdp_md *ctx, const struct nic_flow *f)
{
	struct bpf_sock_tuple t = {};

	if (f->local[0] == 0 && f->local[1] == 0 && f->local[2] == bpf_htonl(0xffff)) {
		t.ipv4.saddr = f->remote[3];
		t.ipv4.daddr = f->local[3];
		t.ipv4.sport = f->rport;
		t.ipv4.dport = f->lport;
		return bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(t.ipv6.saddr, f->remote, 16);
	__builtin_memcpy(t.ipv6.daddr, f->local, 16);
	t.ipv6.sport = f->rport;
	t.ipv6.dport = f->lport;
	return bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* @uid: of a listener: who made it */
static __always_inline enum owner kernel_owner(struct xdp_md *ctx, const struct nic_flow *f,
					       uint32_t *uid)
{
	struct bpf_sock *sk = socket_of(ctx, f);
	enum owner owner = OWNER_CONNECTION;

	if (!sk)
		return OWNER_NONE;
	if (sk->state == BPF_TCP_LISTEN) {
		struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

		owner = OWNER_LISTENER;
		*uid = tp ? ((struct sock *)tp)->sk_uid.val : NIC_ANYBODY;
	}
	bpf_sk_release(sk);
	return owner;
}

/* A connection that was named. For whom ztcpd has named it, the kernel's sockets come first. */
static __always_inline bool flow_is_kernels(struct xdp_md *ctx, const struct nic_flow *f,
					    const struct nic_lease *lease)
{
	uint32_t uid = NIC_ANYBODY;
	enum owner owner;

	if (lease->uid == NIC_ANYBODY)
		return false;
	owner = kernel_owner(ctx, f, &uid);
	return owner == OWNER_CONNECTION || (owner == OWNER_LISTENER && uid != lease->uid);
}

/* One of a port that was named. For whom ztcpd has named it, the listener must be that user's. */
static __always_inline bool port_is_kernels(struct xdp_md *ctx, const struct nic_flow *f,
					    const struct nic_lease *lease)
{
	uint32_t uid = NIC_ANYBODY;
	enum owner owner = kernel_owner(ctx, f, &uid);

	if (lease->uid == NIC_ANYBODY)
		return owner == OWNER_CONNECTION;
	return owner != OWNER_LISTENER || uid != lease->uid;
}

static __always_inline const struct nic_lease *port_served(struct xdp_md *ctx,
							   const struct nic_flow *f)
{
	const struct nic_lease *lease;
	struct nic_port p = { .port = f->lport, .queue = (uint16_t)ctx->rx_queue_index };

	__builtin_memcpy(p.local, f->local, sizeof(p.local));
	lease = bpf_map_lookup_elem(&nic_ports, &p);
	if (lease)
		return lease;
	if (!(p.local[0] == 0 && p.local[1] == 0 && p.local[2] == bpf_htonl(0xffff)))
		p.local[0] = p.local[1] = p.local[2] = 0;
	p.local[3] = 0;
	return bpf_map_lookup_elem(&nic_ports, &p);
}

/* Whether the queue that a packet has arrived on is one more of the process that has named it. */
static __always_inline bool queue_is_his(uint32_t queue, const struct nic_lease *lease)
{
	const struct nic_lease *here = bpf_map_lookup_elem(&nic_queues, &queue);

	return here && here->pid == lease->pid && here->ns == lease->ns && here->uid == lease->uid;
}

static __always_inline int judge(struct xdp_md *ctx, const struct seen *s)
{
	uint32_t queue = ctx->rx_queue_index;
	const struct nic_lease *lease = bpf_map_lookup_elem(&nic_flows, &s->flow);
	bool kernels;

	if (lease && lease->queue != queue && !queue_is_his(queue, lease)) {
		count(NIC_WRONG_QUEUE);
		return s->quoted ? XDP_PASS : XDP_DROP;
	}
	kernels = lease && flow_is_kernels(ctx, &s->flow, lease);
	if (!lease) {
		lease = port_served(ctx, &s->flow);
		if (!lease) {
			count(NIC_PASSED);
			return XDP_PASS;
		}
		kernels = port_is_kernels(ctx, &s->flow, lease);
	}
	if (kernels) {
		count(NIC_KERNELS);
		return XDP_PASS;
	}
	if (s->fragment) {
		count(NIC_FRAGMENT);
		return XDP_DROP;
	}
	count(s->quoted ? NIC_ERRORS : NIC_TAKEN);
	if (ctx->data_end - ctx->data > NIC_FRAME_MAX)
		count(NIC_LONG);
	return (int)bpf_redirect_map(&nic_xsks, queue, XDP_PASS);
}

static __always_inline void mapped(uint32_t to[4], uint32_t v4)
{
	to[0] = to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = v4;
}

/* A TCP packet of ours that an ICMPv4 error quotes: source and destination change places. */
static __always_inline bool quoted4(struct seen *s, const struct iphdr *ip, const void *end)
{
	const uint16_t *ports = (const void *)ip + sizeof(*ip);

	/* Options in it are rare enough to leave such an error to the kernel. */
	if ((const void *)(ports + 2) > end || ip->ihl != 5 || ip->protocol != IPPROTO_TCP)
		return false;
	mapped(s->flow.local, ip->saddr);
	mapped(s->flow.remote, ip->daddr);
	s->flow.lport = ports[0];
	s->flow.rport = ports[1];
	s->quoted = true;
	return true;
}

static __always_inline bool parse4(struct seen *s, const struct iphdr *ip, const void *end)
{
	const void *l4;
	uint16_t frag;

	if ((const void *)(ip + 1) > end || ip->ihl < 5)
		return false;
	l4 = (const void *)ip + ip->ihl * 4;
	frag = bpf_ntohs(ip->frag_off);
	if (frag & FRAGMENT_OFFSET)
		return false;
	if (ip->protocol == IPPROTO_TCP) {
		const struct tcphdr *tcp = l4;

		if ((const void *)(tcp + 1) > end)
			return false;
		mapped(s->flow.local, ip->daddr);
		mapped(s->flow.remote, ip->saddr);
		s->flow.lport = tcp->dest;
		s->flow.rport = tcp->source;
		s->fragment = frag & FRAGMENT_MORE;
		return true;
	}
	if (ip->protocol == IPPROTO_ICMP && !frag) {
		const struct icmp *icmp = l4;

		return (const void *)(icmp + 1) <= end && icmp->type == ICMP4_UNREACHABLE &&
		       (const void *)(icmp + 1) + sizeof(*ip) <= end &&
		       quoted4(s, (const void *)(icmp + 1), end);
	}
	return false;
}

static __always_inline bool quoted6(struct seen *s, const struct ipv6hdr *ip, const void *end)
{
	const uint16_t *ports = (const void *)(ip + 1);

	if ((const void *)(ports + 2) > end || ip->nexthdr != IPPROTO_TCP)
		return false;
	__builtin_memcpy(s->flow.local, &ip->saddr, 16);
	__builtin_memcpy(s->flow.remote, &ip->daddr, 16);
	s->flow.lport = ports[0];
	s->flow.rport = ports[1];
	s->quoted = true;
	return true;
}

/* Packets with extension headers, fragments among them, are the kernel's. */
static __always_inline bool parse6(struct seen *s, const struct ipv6hdr *ip, const void *end)
{
	if ((const void *)(ip + 1) > end)
		return false;
	if (ip->nexthdr == IPPROTO_TCP) {
		const struct tcphdr *tcp = (const void *)(ip + 1);

		if ((const void *)(tcp + 1) > end)
			return false;
		__builtin_memcpy(s->flow.local, &ip->daddr, 16);
		__builtin_memcpy(s->flow.remote, &ip->saddr, 16);
		s->flow.lport = tcp->dest;
		s->flow.rport = tcp->source;
		return true;
	}
	if (ip->nexthdr == IPPROTO_ICMPV6) {
		const struct icmp *icmp = (const void *)(ip + 1);

		return (const void *)(icmp + 1) <= end &&
		       (icmp->type == ICMP6_UNREACHABLE || icmp->type == ICMP6_TOO_BIG) &&
		       quoted6(s, (const void *)(icmp + 1), end);
	}
	return false;
}

SEC("xdp")
int ztcp_nic(struct xdp_md *ctx)
{
	const void *data = (const void *)(uintptr_t)ctx->data;
	const void *end = (const void *)(uintptr_t)ctx->data_end;
	const struct ethhdr *eth = data;
	struct seen s = {};
	bool tcp = false;

	if ((const void *)(eth + 1) > end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		tcp = parse4(&s, (const void *)(eth + 1), end);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		tcp = parse6(&s, (const void *)(eth + 1), end);
	return tcp ? judge(ctx, &s) : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
