/* ip_ask.c - who has this address: ARP (RFC 826, 5227) and neighbour discovery (RFC 4861) */
#include "stack/ip/ip_state.h"

#define ARP_DEFEND_EVERY (10 * ZTIME_SEC) /* RFC 5227 1.1: DEFEND_INTERVAL */

static const struct wire_mac mac_everybody = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

static void arp_send(struct ip *ip, const struct wire_arp *arp, const struct wire_mac *to)
{
	struct wire_frame_out *f = ip_answer_new(ip);

	if (!f)
		return;
	ip_eth_put(ip, f, to, WIRE_ETH_ARP);
	f->hdr_len = (uint16_t)(f->l3_at + wire_arp_emit(arp, f->hdr + f->l3_at));
	ip_answer_push(ip);
}

static void nd_send(struct ip *ip, const struct wire_nd *nd, uint8_t type,
		    const union wire_addr *src, const union wire_addr *dst,
		    const struct wire_mac *to)
{
	struct wire_frame_out *f = ip_answer_new(ip);
	struct wire_icmp m = { .type = type, .word = nd->flags };
	uint8_t body[WIRE_ND_BODY_LEN];

	if (!f)
		return;
	m.body = body;
	m.body_len = wire_nd_emit(nd, type, body);
	ip_eth_put(ip, f, to, WIRE_ETH_IP6);
	ip_header_put(f, src, dst, WIRE_PROTO_ICMP6, WIRE_ICMP_LEN + m.body_len, WIRE_ND_HOPS);
	wire_icmp_emit(&m, src, dst, f->hdr + f->l4_at);
	memcpy(f->hdr + f->l4_at + WIRE_ICMP_LEN, body, m.body_len);
	f->hdr_len = (uint16_t)(f->l4_at + WIRE_ICMP_LEN + m.body_len);
	ip_answer_push(ip);
}

static void arp_ask(struct ip *ip, const struct ip_neigh *n)
{
	struct wire_arp arp = {
		.op = WIRE_ARP_REQUEST,
		.sender_mac = ip->cfg.mac,
		.target = n->addr,
	};

	if (ip_source(ip, &n->addr, &arp.sender) != 0)
		return;
	base_count(ip->counters, CNT_ip_arp_requests);
	arp_send(ip, &arp, n->state == NEIGH_PROBE ? &n->mac : &mac_everybody);
}

static void nd_ask(struct ip *ip, const struct ip_neigh *n)
{
	struct wire_nd nd = { .target = n->addr, .has_mac = true, .mac = ip->cfg.mac };
	union wire_addr group = wire_nd_group(&n->addr);
	struct wire_mac group_mac = wire_nd_group_mac(&group);
	union wire_addr src;

	if (ip_source(ip, &n->addr, &src) != 0)
		return;
	base_count(ip->counters, CNT_ip_nd_solicits);
	if (n->state == NEIGH_PROBE)
		nd_send(ip, &nd, WIRE_ICMP6_NS, &src, &n->addr, &n->mac);
	else
		nd_send(ip, &nd, WIRE_ICMP6_NS, &src, &group, &group_mac);
}

void ip_ask(struct ip *ip, const struct ip_neigh *n)
{
	if (wire_addr_is_v4(&n->addr))
		arp_ask(ip, n);
	else
		nd_ask(ip, n);
}

void ip_announce(struct ip *ip, const union wire_addr *addr)
{
	static const union wire_addr all_nodes = { .b = { 0xff, 0x02, [15] = 1 } };
	struct wire_mac all_nodes_mac = wire_nd_group_mac(&all_nodes);
	struct wire_nd nd = {
		.target = *addr,
		.flags = WIRE_ND_OVERRIDE,
		.has_mac = true,
		.mac = ip->cfg.mac,
	};
	/* An announcement is a request for oneself (RFC 5227 2.3). */
	struct wire_arp arp = {
		.op = WIRE_ARP_REQUEST,
		.sender_mac = ip->cfg.mac,
		.sender = *addr,
		.target = *addr,
	};

	if (wire_addr_is_v4(addr))
		arp_send(ip, &arp, &mac_everybody);
	else
		nd_send(ip, &nd, WIRE_ICMP6_NA, addr, &all_nodes, &all_nodes_mac);
}

void ip_announce_again(struct ip *ip, ztime_t now)
{
	if (now < ip->announce_at)
		return;
	ip->announce_at = ZTIME_NEVER;
	for (uint32_t i = 0; i < ip->naddrs; i++) {
		if (ip->addrs[i].again)
			ip_announce(ip, &ip->addrs[i].addr);
		ip->addrs[i].again = false;
	}
	ip_deadline_set(ip);
}

static void arp_answer(struct ip *ip, const struct wire_arp *ask)
{
	struct wire_arp arp = {
		.op = WIRE_ARP_REPLY,
		.sender_mac = ip->cfg.mac,
		.sender = ask->target,
		.target_mac = ask->sender_mac,
		.target = ask->sender,
	};

	base_count(ip->counters, CNT_ip_arp_replies);
	arp_send(ip, &arp, &ask->sender_mac);
}

/* An answer: it may be another instance that has asked. */
static void heard_input(struct ip *ip, struct ip_rx *rx, const struct ip_heard *heard, ztime_t now)
{
	ip_heard(ip, heard, now);
	rx->heard = *heard;
	rx->kind = IP_RX_HEARD;
}

/* Another station speaks as @addr: say once more whose it is, but not again and again (RFC 5227 2.4 c). */
static enum counter arp_defend(struct ip *ip, const union wire_addr *addr, ztime_t now)
{
	struct ip_addr_entry *e = ip_addr_find(ip, addr);

	if (!e->defended_at || now - e->defended_at >= ARP_DEFEND_EVERY) {
		e->defended_at = now;
		ip_announce(ip, addr);
	}
	return CNT_ip_arp_conflict;
}

/* Take in what the sender says of itself. A probe has no sender address and says nothing about one (RFC 5227). */
static void arp_learn(struct ip *ip, const struct wire_arp *arp, bool group, struct ip_rx *rx,
		      ztime_t now)
{
	/* A reply to all, or about another's question, proves nothing of us being heard. */
	bool asked = !group && ip_addr_local(ip, &arp->target);
	const struct ip_heard heard = { arp->sender, arp->sender_mac, asked, true };

	if (wire_addr_is_any(&arp->sender))
		return;
	if (arp->op == WIRE_ARP_REPLY)
		heard_input(ip, rx, &heard, now);
	else
		ip_neigh_heard(ip, &arp->sender, &arp->sender_mac, false, now);
}

enum counter ip_arp_input(struct ip *ip, const uint8_t *bytes, size_t len, bool group,
			  struct ip_rx *rx, ztime_t now)
{
	struct wire_arp arp;
	enum counter why = wire_arp_parse(bytes, len, &arp);

	if (why != CNT_none)
		return why;
	if (ip_addr_local(ip, &arp.sender)) {
		/* Our own words may come back. By the MAC alone they are not known: a TAP's two ends share one. */
		if (wire_mac_equal(&arp.sender_mac, &ip->cfg.mac))
			return CNT_ip_arp_not_us;
		return arp_defend(ip, &arp.sender, now);
	}
	arp_learn(ip, &arp, group, rx, now);
	if (!ip_addr_local(ip, &arp.target))
		return CNT_ip_arp_not_us;
	if (arp.op == WIRE_ARP_REQUEST)
		arp_answer(ip, &arp);
	return CNT_none;
}

static void nd_answer(struct ip *ip, const struct ip_packet *p, const struct wire_nd *ask)
{
	static const union wire_addr all_nodes = { .b = { 0xff, 0x02, [15] = 1 } };
	struct wire_mac all_nodes_mac = wire_nd_group_mac(&all_nodes);
	struct wire_nd nd = {
		.target = ask->target,
		.flags = WIRE_ND_OVERRIDE,
		.has_mac = true,
		.mac = ip->cfg.mac,
	};

	base_count(ip->counters, CNT_ip_nd_adverts);
	if (wire_addr_is_any(&p->src)) {
		nd_send(ip, &nd, WIRE_ICMP6_NA, &ask->target, &all_nodes, &all_nodes_mac);
		return;
	}
	nd.flags |= WIRE_ND_SOLICITED;
	nd_send(ip, &nd, WIRE_ICMP6_NA, &ask->target, &p->src, ask->has_mac ? &ask->mac : &p->mac);
}

static enum counter advert_input(struct ip *ip, const struct ip_packet *p, const struct wire_nd *nd,
				 struct ip_rx *rx, ztime_t now)
{
	/* A reply to a unicast question may leave out the address (RFC 4861 4.4). */
	const struct ip_heard heard = { nd->target, nd->has_mac ? nd->mac : p->mac,
					nd->flags & WIRE_ND_SOLICITED, nd->has_mac };

	if (ip_addr_local(ip, &nd->target))
		return CNT_ip_nd_conflict; /* RFC 4862 5.4.4: somebody else's, and nothing to be done */
	heard_input(ip, rx, &heard, now);
	return CNT_none;
}

enum counter ip_nd_input(struct ip *ip, const struct ip_packet *p, const struct wire_icmp *m,
			 struct ip_rx *rx, ztime_t now)
{
	struct wire_nd nd;
	enum counter why = wire_nd_parse(m, p->hops, &p->src, &p->dst, &nd);

	/* None of these messages needs fragments; who sends them so hides from those who guard the link (RFC 6980 5). */
	if (p->fragment || why != CNT_none)
		return CNT_wire_nd_bad;
	if (m->type == WIRE_ICMP6_NA)
		return advert_input(ip, p, &nd, rx, now);
	if (!ip_addr_local(ip, &nd.target))
		return CNT_ip_nd_not_us;
	if (nd.has_mac)
		ip_neigh_heard(ip, &p->src, &nd.mac, false, now);
	nd_answer(ip, p, &nd);
	return CNT_none;
}
