/* ip_input.c - from a frame to what is in it: link, family, addresses, fragments, protocol */
#include "stack/ip/ip_state.h"

bool ip_source_martian(const struct ip *ip, const union wire_addr *src)
{
	return wire_addr_is_any(src) || wire_addr_is_this_net(src) || wire_addr_is_multicast(src) ||
	       wire_addr_is_broadcast(src) || wire_addr_is_loopback(src) ||
	       ip_addr_local(ip, src) || ip_is_net_broadcast(ip, src);
}

/* Groups matter to neighbour discovery alone. */
static bool group_ours(const struct ip *ip, const union wire_addr *dst)
{
	static const union wire_addr all_nodes = { .b = { 0xff, 0x02, [15] = 1 } };

	if (wire_addr_is_v4(dst))
		return false;
	if (wire_addr_equal(dst, &all_nodes))
		return true;
	for (uint32_t i = 0; i < ip->naddrs; i++) {
		union wire_addr group = wire_nd_group(&ip->addrs[i].addr);

		if (!wire_addr_is_v4(&ip->addrs[i].addr) && wire_addr_equal(dst, &group))
			return true;
	}
	return false;
}

static enum counter addresses_judge(struct ip *ip, struct ip_packet *p,
				    const struct wire_frame_in *frame)
{
	/* Duplicate address detection asks from the unspecified address (RFC 4862 5.4.2). */
	bool dad = p->proto == WIRE_PROTO_ICMP6 && wire_addr_is_any(&p->src) &&
		   wire_addr_is_multicast(&p->dst) && !wire_addr_is_v4(&p->dst);

	if (!dad && !(frame->flags & WIRE_FRAME_SELF) && ip_source_martian(ip, &p->src))
		return CNT_ip_martian_src;
	/* A packet to one address in a frame to many is somebody's trick or mistake (RFC 1122 3.3.6). */
	if (ip_addr_local(ip, &p->dst))
		return p->group ? CNT_ip_link_group : CNT_none;
	if (!group_ours(ip, &p->dst))
		return CNT_ip_martian_dst;
	p->group = true;
	return CNT_none;
}

static enum counter tcp_found(const struct ip_packet *p, const struct wire_frame_in *frame,
			      struct ip_rx *rx)
{
	/* RFC 1122 4.2.3.10: never a connection with a group. */
	if (p->group)
		return CNT_ip_link_group;
	rx->kind = IP_RX_TCP;
	rx->flow.local = p->dst;
	rx->flow.remote = p->src;
	rx->l4 = p->body;
	rx->l4_len = p->body_len;
	rx->ecn = p->ecn;
	rx->joined = p->body < frame->data || p->body >= frame->data + frame->len;
	rx->csum_ok = frame->flags & WIRE_FRAME_TCP_CSUM_OK && !rx->joined;
	return CNT_none;
}

static enum counter protocol_input(struct ip *ip, const struct ip_packet *p,
				   const struct wire_frame_in *frame, struct ip_rx *rx, ztime_t now)
{
	bool v4 = wire_addr_is_v4(&p->dst);

	base_count(ip->counters, CNT_ip_rx_packets);
	if (p->proto == WIRE_PROTO_TCP)
		return tcp_found(p, frame, rx);
	if (p->proto == (v4 ? WIRE_PROTO_ICMP : WIRE_PROTO_ICMP6))
		return ip_icmp_input(ip, p, rx, now);
	if (p->proto != WIRE_IP6_NONE || v4)
		ip_icmp_unreach(ip, p, now);
	return CNT_ip_proto_unknown;
}

static enum counter ip4_input(struct ip *ip, struct ip_packet *p, const struct wire_frame_in *frame,
			      struct ip_rx *rx, ztime_t now)
{
	struct wire_ip4 h;
	enum counter why;

	why = wire_ip4_parse(p->packet, p->packet_len, frame->flags & WIRE_FRAME_IP_CSUM_OK, &h);
	if (why != CNT_none)
		return why;
	p->src = h.src;
	p->dst = h.dst;
	p->packet_len = h.total_len;
	p->body = p->packet + h.hdr_len;
	p->body_len = h.total_len - h.hdr_len;
	p->proto = h.proto;
	p->ecn = h.tos & 3;
	p->hops = h.ttl;
	why = addresses_judge(ip, p, frame);
	if (why == CNT_none && BASE_UNLIKELY(h.mf || h.frag_off)) {
		struct ip_frag f = { .id = h.id, .off = h.frag_off, .more = h.mf };

		why = ip_reass_input(ip, p, &f, now);
	}
	return why == CNT_none ? protocol_input(ip, p, frame, rx, now) : why;
}

/* All headers are in the first fragment, TCP's too: what lacks them hides from firewalls (RFC 8200 4.5, 7112 5). */
static bool ip6_chain_ok(const struct ip_packet *p)
{
	uint8_t proto = p->proto;
	uint32_t at, need;

	if (wire_ip6_upper(p->body, p->body_len, &proto, &at) != CNT_none)
		return false;
	need = proto == WIRE_PROTO_TCP ? WIRE_TCP_HDR_LEN : WIRE_ICMP_LEN;
	return p->body_len - at >= need;
}

static enum counter ip6_fragment(struct ip *ip, struct ip_packet *p, const struct wire_ip6 *h,
				 ztime_t now)
{
	struct ip_frag f = { .id = h->frag_id, .off = h->frag_off, .more = h->mf };
	enum counter why;
	uint32_t at;

	if (!f.off && !ip6_chain_ok(p))
		return CNT_wire_ip6_ext;
	why = ip_reass_input(ip, p, &f, now);
	if (why != CNT_none)
		return why;
	why = wire_ip6_upper(p->body, p->body_len, &p->proto, &at);
	if (why != CNT_none)
		return why;
	p->body += at;
	p->body_len -= at;
	return CNT_none;
}

static enum counter ip6_input(struct ip *ip, struct ip_packet *p, const struct wire_frame_in *frame,
			      struct ip_rx *rx, ztime_t now)
{
	struct wire_ip6 h;
	enum counter why, bad;

	h.problem_at = 0;
	bad = wire_ip6_parse(p->packet, p->packet_len, &h);
	if (bad != CNT_none && !h.problem_at)
		return bad;
	p->src = h.src;
	p->dst = h.dst;
	p->packet_len = WIRE_IP6_LEN + h.payload_len;
	p->body = p->packet + h.body_at;
	p->body_len = p->packet_len - h.body_at;
	p->proto = h.proto;
	p->ecn = h.tclass & 3;
	p->proto_at = h.proto_at;
	p->hops = h.hops;
	p->fragment = h.fragment;
	why = addresses_judge(ip, p, frame);
	if (why == CNT_none && BASE_UNLIKELY(bad != CNT_none)) {
		ip_icmp_problem(ip, p, h.problem, h.problem_at, now);
		return bad;
	}
	/* A fragment that is the whole datagram is no fragment (RFC 6946). */
	if (why == CNT_none && BASE_UNLIKELY(h.mf || h.frag_off))
		why = ip6_fragment(ip, p, &h, now);
	return why == CNT_none ? protocol_input(ip, p, frame, rx, now) : why;
}

static enum counter link_judge(const struct ip *ip, const struct wire_eth *eth)
{
	/* A priority tag (VLAN 0) is no VLAN (802.1Q 6.9.1). */
	bool ours = eth->vlan == ip->cfg.vlan || (eth->vlan == 0 && ip->cfg.vlan == WIRE_VLAN_NONE);

	if (!ours)
		return CNT_wire_eth_vlan;
	if (!wire_mac_is_group(&eth->dst) && !wire_mac_equal(&eth->dst, &ip->cfg.mac))
		return CNT_wire_eth_dst;
	return wire_mac_is_group(&eth->src) ? CNT_wire_eth_dst : CNT_none;
}

static enum counter frame_input(struct ip *ip, const struct wire_frame_in *frame, struct ip_rx *rx,
				ztime_t now)
{
	struct wire_eth eth;
	struct ip_packet p;
	enum counter why = wire_eth_parse(frame->data, frame->len, &eth);

	if (why == CNT_none)
		why = link_judge(ip, &eth);
	if (why != CNT_none)
		return why;
	p.packet = frame->data + eth.hdr_len;
	p.packet_len = frame->len - eth.hdr_len;
	p.mac = eth.src;
	p.group = wire_mac_is_group(&eth.dst);
	p.joined = p.fragment = false;
	switch (eth.type) {
	case WIRE_ETH_IP4: return ip4_input(ip, &p, frame, rx, now);
	case WIRE_ETH_IP6: return ip6_input(ip, &p, frame, rx, now);
	case WIRE_ETH_ARP: return ip_arp_input(ip, p.packet, p.packet_len, p.group, rx, now);
	default: return CNT_wire_eth_type;
	}
}

enum counter ip_input(struct ip *ip, const struct wire_frame_in *frame, struct ip_rx *rx,
		      ztime_t now)
{
	enum counter why;

	rx->kind = IP_RX_NONE;
	why = frame_input(ip, frame, rx, now);
	if (why != CNT_none)
		base_count(ip->counters, why);
	return why;
}
