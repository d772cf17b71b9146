/* ip_test.c - one IP layer against hand-made frames */
#include "tests/unit/stack/ip/ip_fix.h"

/* ---- ip_ask.c */

Test(ip_ask, arp__request_for_us_is_answered)
{
	struct wire_frame_out out;
	struct wire_eth eth;
	struct wire_arp arp;
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(rx_arp(&f, &them, WIRE_ARP_REQUEST, &f.them4, &f.us4), CNT_none);
	cr_assert(answer(&f, &out, &eth));
	cr_assert_eq(wire_arp_parse(out.hdr + 14, out.hdr_len - 14u, &arp), CNT_none);
	cr_expect(arp.op == WIRE_ARP_REPLY && wire_addr_equal(&arp.sender, &f.us4));
	cr_expect(wire_mac_equal(&eth.dst, &them) && wire_mac_equal(&arp.sender_mac, &us));
	cr_expect_eq(rx_arp(&f, &them, WIRE_ARP_REQUEST, &f.them4, &f.them4), CNT_ip_arp_not_us);
	cr_expect(!answer(&f, &out, &eth));
	/* the kernel's end of DPDK's TAP has the port's own MAC */
	cr_expect_eq(rx_arp(&f, &us, WIRE_ARP_REQUEST, &f.them4, &f.us4), CNT_none);
	cr_expect(answer(&f, &out, &eth) && wire_mac_equal(&eth.dst, &us));
	fix_end(&f);
}

Test(ip_ask, arp__conflict_is_counted_and_defended)
{
	struct wire_frame_out out;
	struct wire_eth eth;
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(rx_arp(&f, &them, WIRE_ARP_REQUEST, &f.us4, &f.us4), CNT_ip_arp_conflict);
	cr_assert(answer(&f, &out, &eth));
	cr_expect(wire_mac_equal(&eth.dst, &all));
	cr_expect_eq(rx_arp(&f, &them, WIRE_ARP_REPLY, &f.us4, &f.us4), CNT_ip_arp_conflict);
	cr_expect(!answer(&f, &out, &eth));
	fix_end(&f);
}

Test(ip_ask, ip_addr_add__announces)
{
	union wire_addr more4 = wire_addr_v4(0x0a000009), more6 = { .b = { 0xfd, [15] = 9 } };
	struct wire_frame_out out;
	struct wire_eth eth;
	struct fix f;

	fix_init(&f, NULL);
	cr_assert_eq(ip_addr_add(f.ip, &more4, 24, f.now), 0);
	cr_assert(answer(&f, &out, &eth) && eth.type == WIRE_ETH_ARP);
	cr_assert_eq(ip_addr_add(f.ip, &more6, 64, f.now), 0);
	cr_assert(answer(&f, &out, &eth) && eth.type == WIRE_ETH_IP6);
	cr_expect_eq(ip_addr_add(f.ip, &more6, 64, f.now), -EEXIST);
	cr_expect_eq(ip_addr_remove(f.ip, &more4), 0);
	cr_expect_eq(ip_addr_remove(f.ip, &more4), -ENOENT);
	cr_expect(!ip_addr_local(f.ip, &more4));
	fix_end(&f);
}

Test(ip_ask, ip_addr_add__announces_once_more_after_two_seconds)
{
	union wire_addr more4 = wire_addr_v4(0x0a000009), gone4 = wire_addr_v4(0x0a00000a);
	struct wire_frame_out out;
	struct ip_error err;
	struct wire_eth eth;
	struct fix f;

	fix_init(&f, NULL);
	cr_assert_eq(ip_addr_add(f.ip, &more4, 24, f.now), 0);
	cr_assert_eq(ip_addr_add(f.ip, &gone4, 24, f.now), 0);
	cr_assert(answer(&f, &out, &eth) && answer(&f, &out, &eth));
	cr_assert_eq(ip_addr_remove(f.ip, &gone4), 0);
	cr_expect_eq(ip_deadline(f.ip), f.now + 2 * ZTIME_SEC);
	ip_tick(f.ip, &err, 1, f.now + 2 * ZTIME_SEC - 1);
	cr_expect(!answer(&f, &out, &eth), "not yet");
	ip_tick(f.ip, &err, 1, f.now + 2 * ZTIME_SEC);
	cr_assert(answer(&f, &out, &eth) && eth.type == WIRE_ETH_ARP &&
		  wire_mac_equal(&eth.dst, &all));
	cr_expect_eq(base_be32_get(out.hdr + out.l3_at + 14), 0x0a000009);
	cr_expect(!answer(&f, &out, &eth), "only what is ours");
	cr_expect_eq(ip_deadline(f.ip), ZTIME_NEVER);
	fix_end(&f);
}

static enum counter rx_nd(struct fix *f, uint8_t type, uint32_t flags, const union wire_addr *src,
			  const union wire_addr *dst, const union wire_addr *target)
{
	struct wire_nd nd = { .target = *target, .has_mac = true, .mac = them };
	struct wire_ip6 h = { .src = *src, .dst = *dst, .hops = 255, .proto = 58 };
	struct wire_icmp m = { .type = type, .word = flags };
	uint8_t b[128];
	struct ip_rx rx;

	m.body = b + 62;
	m.body_len = wire_nd_emit(&nd, type, b + 62);
	h.payload_len = (uint16_t)(8 + m.body_len);
	eth_put(b, &us, WIRE_ETH_IP6);
	wire_ip6_emit(&h, b + 14);
	wire_icmp_emit(&m, src, dst, b + 54);
	return rx_frame(f, b, 62 + m.body_len, &rx);
}

Test(ip_ask, nd__solicitation_is_answered_and_advert_resolves)
{
	union wire_addr group, other = { .b = { 0xfd, [15] = 77 } };
	struct wire_frame_out out;
	struct ip_hop hop = { 0 };
	struct wire_eth eth;
	struct fix f;

	fix_init(&f, NULL);
	group = wire_nd_group(&f.us6);
	cr_expect_eq(rx_nd(&f, WIRE_ICMP6_NS, 0, &f.them6, &group, &f.us6), CNT_none);
	cr_assert(answer(&f, &out, &eth));
	cr_expect_eq(out.hdr[54], WIRE_ICMP6_NA);
	cr_expect_eq(rx_nd(&f, WIRE_ICMP6_NS, 0, &f.them6, &f.us6, &other), CNT_ip_nd_not_us);
	cr_expect_eq(tx(&f, &f.them6, &hop, &out), 0);
	cr_assert(answer(&f, &out, &eth) && out.hdr[54] == WIRE_ICMP6_NS);
	cr_expect_eq(rx_nd(&f, WIRE_ICMP6_NA, WIRE_ND_SOLICITED, &f.them6, &f.us6, &f.them6),
		     CNT_none);
	cr_assert(answer(&f, &out, &eth), "the waiting segment");
	cr_expect(out.l4_len && wire_mac_equal(&eth.dst, &them));
	fix_end(&f);
}

/* ---- ip_neigh.c */

Test(ip_neigh, frames_wait_in_order_and_only_so_many)
{
	struct wire_frame_out out;
	struct ip_hop hop = { 0 };
	struct wire_eth eth;
	struct fix f;

	fix_init(&f, NULL);
	for (int i = 0; i < IP_PENDING_PER_NEIGH; i++)
		cr_expect_eq(tx(&f, &f.them4, &hop, &out), 0);
	cr_expect_eq(tx(&f, &f.them4, &hop, &out), -ENOBUFS);
	cr_expect_eq(f.c.n[CNT_ip_pending_full], 1);
	cr_assert(answer(&f, &out, &eth) && eth.type == WIRE_ETH_ARP);
	cr_expect(!answer(&f, &out, &eth), "asked once");
	rx_arp(&f, &them, WIRE_ARP_REPLY, &f.them4, &f.us4);
	for (int i = 0; i < IP_PENDING_PER_NEIGH; i++)
		cr_assert(answer(&f, &out, &eth) && wire_mac_equal(&eth.dst, &them));
	cr_expect(!answer(&f, &out, &eth));
	cr_expect_eq(tx(&f, &f.them4, &hop, &out), 1);
	fix_end(&f);
}

Test(ip_neigh, silence__three_questions_then_error)
{
	struct wire_frame_out out;
	struct ip_hop hop = { 0 };
	struct ip_error e[4];
	struct wire_eth eth;
	struct fix f;

	fix_init(&f, NULL);
	tx(&f, &f.them4, &hop, &out);
	for (int i = 0; i < 3; i++) {
		cr_assert(answer(&f, &out, &eth), "question %d", i);
		cr_expect_eq(ip_deadline(f.ip), f.now + ZTIME_SEC);
		f.now += ZTIME_SEC;
		if (i < 2)
			cr_expect_eq(ip_tick(f.ip, e, 4, f.now), 0);
	}
	cr_assert_eq(ip_tick(f.ip, e, 4, f.now), 1);
	cr_expect(e[0].err == EHOSTUNREACH && e[0].seq == 7 && e[0].flow.lport == 1000);
	cr_expect(wire_addr_equal(&e[0].flow.remote, &f.them4));
	cr_expect_eq(ip_deadline(f.ip), ZTIME_NEVER);
	fix_end(&f);
}

Test(ip_neigh, old_knowledge_is_probed_by_unicast_while_in_use)
{
	struct wire_frame_out out;
	struct ip_hop hop = { 0 };
	struct ip_error e[4];
	struct wire_eth eth;
	struct fix f;

	fix_init(&f, NULL);
	cr_assert_eq(ip_neigh_add(f.ip, &f.them4, &them, f.now), 0);
	cr_expect_eq(tx(&f, &f.them4, &hop, &out), 1);
	cr_expect(!answer(&f, &out, &eth));
	f.now += 31 * ZTIME_SEC;
	cr_expect_eq(tx(&f, &f.them4, &hop, &out), 1);
	cr_assert(answer(&f, &out, &eth));
	cr_expect(eth.type == WIRE_ETH_ARP && wire_mac_equal(&eth.dst, &them));
	rx_arp(&f, &them, WIRE_ARP_REPLY, &f.them4, &f.us4);
	cr_expect_eq(ip_deadline(f.ip), ZTIME_NEVER);
	/* The next time nobody answers: asked by broadcast, then forgotten. */
	f.now += 31 * ZTIME_SEC;
	tx(&f, &f.them4, &hop, &out);
	for (int i = 0; i < 6; i++) {
		f.now += ZTIME_SEC;
		ip_tick(f.ip, e, 4, f.now);
	}
	answers_drop(&f);
	cr_expect_eq(f.c.n[CNT_ip_neigh_failed], 1);
	cr_expect_eq(tx(&f, &f.them4, &hop, &out), 0);
	fix_end(&f);
}

/* A frame to them4 goes to @mac. */
static bool goes_to(struct fix *f, const struct wire_mac *mac)
{
	struct wire_frame_out out;
	struct ip_hop hop = { 0 };
	struct wire_eth eth;

	if (tx(f, &f->them4, &hop, &out) != 1)
		return false;
	wire_eth_parse(out.hdr, out.hdr_len, &eth);
	return wire_mac_equal(&eth.dst, mac);
}

Test(ip_neigh, claim_of_another_station__the_known_one_stays_while_it_answers)
{
	struct wire_frame_out out;
	struct ip_error e[4];
	struct wire_eth eth;
	struct fix f;

	fix_init(&f, NULL);
	cr_assert_eq(ip_neigh_add(f.ip, &f.them4, &them, f.now), 0);
	for (int round = 0; round < 3; round++) {
		f.now += 2 * ZTIME_SEC;
		for (int i = 0; i < 100; i++)
			rx_arp(&f, &thief, i % 2 + WIRE_ARP_REQUEST, &f.them4, &f.them4);
		cr_expect(goes_to(&f, &them), "while it is asked");
		cr_assert(answer(&f, &out, &eth) && wire_mac_equal(&eth.dst, &them));
		cr_expect(!answer(&f, &out, &eth), "asked once");
		rx_arp(&f, &them, WIRE_ARP_REPLY, &f.them4, &f.us4);
		for (int i = 0; i < 100; i++)
			rx_arp(&f, &thief, WIRE_ARP_REPLY, &f.them4, &f.us4);
		cr_expect(goes_to(&f, &them));
		cr_expect(!answer(&f, &out, &eth), "at most one question a second");
	}
	cr_expect_eq(f.c.n[CNT_ip_neigh_claims], 600);
	/* The next time it is silent: all are asked. */
	f.now += 2 * ZTIME_SEC;
	rx_arp(&f, &thief, WIRE_ARP_REQUEST, &f.them4, &f.them4);
	cr_assert(answer(&f, &out, &eth) && wire_mac_equal(&eth.dst, &them));
	f.now += ZTIME_SEC;
	cr_expect_eq(ip_tick(f.ip, e, 4, f.now), 0);
	cr_assert(answer(&f, &out, &eth) && wire_mac_equal(&eth.dst, &all));
	rx_arp(&f, &thief, WIRE_ARP_REPLY, &f.them4, &f.us4);
	cr_expect(goes_to(&f, &thief));
	cr_expect_eq(ip_deadline(f.ip), ZTIME_NEVER);
	fix_end(&f);
}

static void two_neighbours(struct ip_config *cfg)
{
	cfg->neigh_max = 2;
}

Test(ip_neigh, full_table__idle_ones_give_way)
{
	struct wire_frame_out out;
	struct fix f;

	fix_init(&f, two_neighbours);
	for (uint32_t i = 2; i < 20; i++) {
		union wire_addr a = wire_addr_v4(0x0a000000 + i);
		struct ip_hop hop = { 0 };

		cr_assert_eq(ip_neigh_add(f.ip, &a, &them, f.now), 0, "neighbour %u", i);
		cr_expect_eq(tx(&f, &a, &hop, &out), 1);
	}
	cr_expect_eq(f.c.n[CNT_ip_neigh_evicted], 16);
	fix_end(&f);
}

/* ---- ip_output.c */

/* How many of @n segments with @flags are sent. */
static int replies(struct fix *f, uint8_t flags, int n)
{
	struct wire_flow flow = { .local = f->us4, .remote = f->them4, .lport = 1, .rport = 2 };
	struct wire_tcp seg = { .flags = flags };
	struct wire_frame_out out;
	int sent = 0;

	for (int i = 0; i < n; i++) {
		ip_reply(f->ip, &flow, &seg, f->now);
		while (ip_answer_take(f->ip, &out))
			sent++;
	}
	return sent;
}

Test(ip_output, ip_reply__a_storm_is_not_answered_by_one)
{
	struct fix f;

	fix_init(&f, NULL);
	cr_assert_eq(ip_neigh_add(f.ip, &f.them4, &them, f.now), 0);
	cr_expect_eq(replies(&f, TCP_RST, 5000), 1000);
	cr_expect_eq(f.c.n[CNT_ip_reset_limited], 4000);
	cr_expect_eq(replies(&f, TCP_SYN | TCP_ACK, 5000), 5000, "cookies");
	f.now += ztime_ms(1);
	cr_expect_eq(replies(&f, TCP_RST, 5000), 10);
	fix_end(&f);
}

/* ---- ip_route.c */

Test(ip_route, longest_prefix_wins)
{
	union wire_addr any = wire_addr_v4(0), net = wire_addr_v4(0x0b000000);
	union wire_addr gw1 = wire_addr_v4(0x0a0000fe), gw2 = wire_addr_v4(0x0a0000fd);
	union wire_addr far = wire_addr_v4(0x08080808), near = wire_addr_v4(0x0b000005);
	struct wire_frame_out out;
	struct wire_arp arp;
	struct wire_eth eth;
	struct ip_hop hop = { 0 };
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(tx(&f, &far, &hop, &out), -ENETUNREACH);
	cr_expect_eq(ip_route_add(f.ip, &any, 0, &gw1, 0), 0);
	cr_expect_eq(ip_route_add(f.ip, &net, 8, &gw2, 1400), 0);
	cr_expect_eq(ip_route_add(f.ip, &net, 33, &gw2, 0), -EINVAL);
	cr_expect_eq(tx(&f, &near, &hop, &out), 0);
	cr_expect_eq(hop.mtu, 1400);
	cr_assert(answer(&f, &out, &eth));
	wire_arp_parse(out.hdr + 14, 28, &arp);
	cr_expect(wire_addr_equal(&arp.target, &gw2));
	cr_expect_eq(ip_route_remove(f.ip, &net, 8), 0);
	cr_expect_eq(ip_route_remove(f.ip, &net, 8), -ENOENT);
	cr_expect_eq(tx(&f, &near, &hop, &out), 0);
	cr_expect_eq(hop.mtu, 1500);
	cr_assert(answer(&f, &out, &eth));
	wire_arp_parse(out.hdr + 14, 28, &arp);
	cr_expect(wire_addr_equal(&arp.target, &gw1));
	fix_end(&f);
}

Test(ip_route, what_lies_elsewhere_has_no_way)
{
	union wire_addr any = wire_addr_v4(0), net = wire_addr_v4(0x0b000000);
	union wire_addr gw = wire_addr_v4(0x0a0000fe), far = wire_addr_v4(0x08080808);
	union wire_addr near = wire_addr_v4(0x0b000005), src;
	struct wire_frame_out out;
	struct ip_hop hop = { 0 };
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(ip_route_add(f.ip, &any, 0, &gw, 0), 0);
	cr_expect_eq(ip_route_elsewhere(f.ip, &net, 33), -EINVAL);
	cr_expect_eq(ip_route_elsewhere(f.ip, &net, 8), 0);
	cr_expect_eq(ip_source(f.ip, &near, &src), -ENETUNREACH);
	cr_expect_eq(tx(&f, &near, &hop, &out), -ENETUNREACH);
	cr_expect_eq(ip_source(f.ip, &far, &src), 0);
	cr_expect_eq(ip_route_remove(f.ip, &net, 8), 0);
	cr_expect_eq(ip_source(f.ip, &near, &src), 0, "the shorter prefix serves again");
	fix_end(&f);
}

Test(ip_route, ip_source__same_scope_then_longest_prefix)
{
	union wire_addr ll = { .b = { 0xfe, 0x80, [15] = 5 } },
			far_ll = { .b = { 0xfe, 0x80, [15] = 8 } };
	union wire_addr other = { .b = { 0xfd, 1, [15] = 5 } },
			near_other = { .b = { 0xfd, 1, [15] = 6 } };
	union wire_addr src;
	struct fix f;

	fix_init(&f, NULL);
	cr_assert_eq(ip_addr_add(f.ip, &ll, 64, f.now), 0);
	cr_assert_eq(ip_addr_add(f.ip, &other, 64, f.now), 0);
	cr_expect(ip_source(f.ip, &far_ll, &src) == 0 && wire_addr_equal(&src, &ll));
	cr_expect(ip_source(f.ip, &f.them6, &src) == 0 && wire_addr_equal(&src, &f.us6));
	cr_expect(ip_source(f.ip, &near_other, &src) == 0 && wire_addr_equal(&src, &other));
	cr_expect(ip_source(f.ip, &f.them4, &src) == 0 && wire_addr_equal(&src, &f.us4));
	answers_drop(&f);
	fix_end(&f);
}

/* ---- ip_pmtu.c */

Test(ip_pmtu, learned_lowered_and_forgotten)
{
	struct ip_hop hop = { 0 };
	struct wire_flow flow;
	struct fix f;

	fix_init(&f, NULL);
	flow = (struct wire_flow){ .local = f.us4, .remote = f.them4 };
	ip_hop_get(f.ip, &flow, &hop, f.now);
	cr_expect_eq(ip_hop_mss(&hop, &f.them4), 1460);
	cr_expect_eq(ip_pmtu_learn(f.ip, &f.them4, 1300, f.now), 1300);
	cr_expect_eq(ip_pmtu_learn(f.ip, &f.them4, 1400, f.now), 1300, "never raised");
	ip_hop_get(f.ip, &flow, &hop, f.now);
	cr_expect_eq(ip_hop_mss(&hop, &f.them4), 1260);
	cr_expect_eq(ip_pmtu_learn(f.ip, &f.them4, 1, f.now), IP4_MTU_MIN);
	cr_expect_eq(ip_pmtu_learn(f.ip, &f.them6, 1, f.now), IP6_MTU_MIN);
	hop.gen = 0;
	f.now += 601 * ZTIME_SEC;
	ip_hop_get(f.ip, &flow, &hop, f.now);
	cr_expect_eq(hop.mtu, 1500);
	fix_end(&f);
}

/* ---- ip_input.c */

Test(ip_input, martians)
{
	static const struct {
		uint32_t src, dst;
		enum counter why;
	} cases[] = {
		{ 0x0a000002, 0x0a000001, CNT_none },
		{ 0x00000000, 0x0a000001, CNT_ip_martian_src },
		{ 0xe0000001, 0x0a000001, CNT_ip_martian_src },
		{ 0xffffffff, 0x0a000001, CNT_ip_martian_src },
		{ 0x7f000001, 0x0a000001, CNT_ip_martian_src },
		{ 0x0a000001, 0x0a000001, CNT_ip_martian_src },
		{ 0x0a0000ff, 0x0a000001, CNT_ip_martian_src },
		{ 0x0a000002, 0x0a000003, CNT_ip_martian_dst },
		{ 0x0a000002, 0x0a0000ff, CNT_ip_martian_dst },
		{ 0x0a000002, 0xe0000001, CNT_ip_martian_dst },
	};
	uint8_t tcp[20] = { 0 };
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		union wire_addr src = wire_addr_v4(cases[i].src), dst = wire_addr_v4(cases[i].dst);
		enum counter why = rx4(&f, &src, &dst, 6, tcp, 20, &rx);

		cr_expect_eq(why, cases[i].why, "case %zu: %s", i, base_counter_name(why));
		cr_expect_eq(rx.kind, why == CNT_none ? IP_RX_TCP : IP_RX_NONE);
	}
	fix_end(&f);
}

Test(ip_input, link__other_stations_groups_and_vlans)
{
	struct wire_ip4 h = { .ttl = 64, .proto = 6 };
	struct wire_mac other = { { 2, 9 } };
	uint8_t tcp[20] = { 0 };
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	h.src = f.them4;
	h.dst = f.us4;
	cr_expect_eq(rx4_full(&f, h, tcp, 20, &other, &rx), CNT_wire_eth_dst);
	cr_expect_eq(rx4_full(&f, h, tcp, 20, &all, &rx), CNT_ip_link_group);
	cr_expect_eq(rx4_full(&f, h, tcp, 20, &us, &rx), CNT_none);
	cr_expect_eq(f.c.n[CNT_ip_link_group], 1);
	fix_end(&f);
}

Test(ip_input, unknown_protocol_is_told_and_limited)
{
	struct wire_frame_out out;
	struct wire_eth eth;
	unsigned int told = 0;
	uint8_t udp[20] = { 0 };
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	for (int i = 0; i < 100; i++) {
		cr_expect_eq(rx4(&f, &f.them4, &f.us4, 17, udp, 20, &rx), CNT_ip_proto_unknown);
		while (answer(&f, &out, &eth)) {
			cr_expect_eq(out.hdr[34], WIRE_ICMP_UNREACH);
			cr_expect_eq(out.hdr[35], WIRE_UNREACH_PORT);
			told++;
		}
	}
	cr_expect_eq(told, 10);
	cr_expect_eq(f.c.n[CNT_ip_icmp_limited], 90);
	f.now += ZTIME_SEC;
	rx4(&f, &f.them4, &f.us4, 99, udp, 20, &rx);
	cr_assert(answer(&f, &out, &eth));
	cr_expect_eq(out.hdr[35], WIRE_UNREACH_PROTO);
	fix_end(&f);
}

/* ---- ip_icmp.c */

Test(ip_icmp, echo__same_bytes_back)
{
	uint8_t m[108];
	struct wire_icmp ask = { .type = 8, .word = 0x12345678, .body = m + 8, .body_len = 100 }, r;
	struct wire_frame_out out;
	struct wire_eth eth;
	uint8_t flat[200];
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	memset(m, 0x5a, sizeof(m));
	wire_icmp_emit(&ask, NULL, NULL, m);
	cr_expect_eq(rx4(&f, &f.them4, &f.us4, 1, m, 108, &rx), CNT_none);
	cr_assert(answer(&f, &out, &eth));
	memcpy(flat, out.hdr, out.hdr_len);
	memcpy(flat + out.hdr_len, out.iov[0].data, out.iov[0].len);
	cr_assert_eq(wire_icmp_parse(flat + 34, 108, &r), CNT_none);
	cr_expect(r.type == 0 && r.word == ask.word && memcmp(r.body, m + 8, 100) == 0);
	m[20]++;
	cr_expect_eq(rx4(&f, &f.them4, &f.us4, 1, m, 108, &rx), CNT_wire_icmp_csum);
	fix_end(&f);
}

static enum counter rx_error(struct fix *f, uint8_t type, uint8_t code, uint32_t word,
			     const union wire_addr *quoted_src, struct ip_rx *rx)
{
	struct wire_ip4 q = {
		.src = *quoted_src, .dst = f->them4, .total_len = 1500, .ttl = 60, .proto = 6
	};
	uint8_t m[8 + 28];
	struct wire_icmp e = {
		.type = type, .code = code, .word = word, .body = m + 8, .body_len = 28
	};

	wire_ip4_emit(&q, m + 8);
	base_be16_put(m + 28, 1000);
	base_be16_put(m + 30, 2000);
	base_be32_put(m + 32, 77);
	wire_icmp_emit(&e, NULL, NULL, m);
	return rx4(f, &f->them4, &f->us4, 1, m, sizeof(m), rx);
}

Test(ip_icmp, errors__say_which_connection_and_how_bad)
{
	static const struct {
		uint8_t type, code;
		uint32_t word;
		int err;
		bool hard;
		uint32_t mtu;
	} cases[] = {
		{ 3, 0, 0, ENETUNREACH, false, 0 },    { 3, 1, 0, EHOSTUNREACH, false, 0 },
		{ 3, 2, 0, ENOPROTOOPT, true, 0 },     { 3, 3, 0, ECONNREFUSED, true, 0 },
		{ 3, 4, 1400, EMSGSIZE, false, 1400 }, { 3, 4, 0, EMSGSIZE, false, 1492 },
		{ 3, 13, 0, EHOSTUNREACH, false, 0 },  { 11, 0, 0, EHOSTUNREACH, false, 0 },
		{ 12, 0, 0, EPROTO, false, 0 },
	};
	union wire_addr stranger = wire_addr_v4(0x0a000044);
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_expect_eq(rx_error(&f, cases[i].type, cases[i].code, cases[i].word, &f.us4, &rx),
			     CNT_none);
		cr_assert_eq(rx.kind, IP_RX_ERROR, "case %zu", i);
		cr_expect_eq(rx.error.err, cases[i].err, "case %zu", i);
		cr_expect_eq(rx.error.hard, cases[i].hard, "case %zu", i);
		cr_expect_eq(rx.error.mtu, cases[i].mtu, "case %zu", i);
		cr_expect(rx.error.seq == 77 && rx.error.flow.lport == 1000 &&
			  rx.error.flow.rport == 2000);
	}
	cr_expect_eq(rx_error(&f, 3, 3, 0, &stranger, &rx), CNT_ip_icmp_quote);
	cr_expect_eq(rx_error(&f, 5, 0, 0, &f.us4, &rx), CNT_ip_icmp_ignored);
	fix_end(&f);
}

/* ---- ip_reass.c */

static enum counter rx_frag(struct fix *f, uint16_t id, uint32_t off, size_t len, bool more,
			    uint8_t tos, struct ip_rx *rx)
{
	struct wire_ip4 h = { .src = f->them4,
			      .dst = f->us4,
			      .ttl = 64,
			      .proto = 6,
			      .id = id,
			      .frag_off = (uint16_t)off,
			      .mf = more,
			      .tos = tos };
	uint8_t body[4096];

	for (size_t i = 0; i < len; i++)
		body[i] = (uint8_t)((off + i) * 7 + (off + i) / 256);
	return rx4_full(f, h, body, len, &us, rx);
}

Test(ip_reass, any_order_and_a_copy)
{
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(rx_frag(&f, 1, 2000, 100, false, 1, &rx), CNT_ip_reass_wait);
	cr_expect_eq(rx_frag(&f, 1, 0, 1000, true, 3, &rx), CNT_ip_reass_wait);
	cr_expect_eq(rx_frag(&f, 1, 0, 1000, true, 1, &rx), CNT_ip_reass_wait);
	cr_expect_eq(rx_frag(&f, 2, 0, 1000, true, 1, &rx), CNT_ip_reass_wait);
	cr_expect_eq(rx_frag(&f, 1, 1000, 1000, true, 1, &rx), CNT_none);
	cr_assert(rx.kind == IP_RX_TCP && rx.l4_len == 2100 && rx.joined);
	cr_expect_eq(rx.ecn, 3, "a mark on any fragment is one on the datagram");
	for (uint32_t i = 0; i < 2100; i++)
		cr_assert_eq(rx.l4[i], (uint8_t)(i * 7 + i / 256), "byte %u", i);
	fix_end(&f);
}

Test(ip_reass, what_is_thrown_away)
{
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	rx_frag(&f, 1, 0, 1000, true, 0, &rx);
	cr_expect_eq(rx_frag(&f, 1, 504, 1000, true, 0, &rx), CNT_ip_reass_overlap);
	cr_expect_eq(rx_frag(&f, 1, 1000, 100, false, 0, &rx), CNT_ip_reass_wait, "begun anew");
	cr_expect_eq(rx_frag(&f, 2, 0, 1001, true, 0, &rx), CNT_ip_reass_bad);
	cr_expect_eq(rx_frag(&f, 3, 65528, 100, false, 0, &rx), CNT_ip_reass_bad);
	rx_frag(&f, 4, 1000, 100, false, 0, &rx);
	cr_expect_eq(rx_frag(&f, 4, 1104, 96, true, 0, &rx), CNT_ip_reass_bad, "past the end");
	for (uint32_t i = 0; i < 64; i++)
		cr_expect_eq(rx_frag(&f, 5, i * 16, 8, true, 0, &rx), CNT_ip_reass_wait);
	cr_expect_eq(rx_frag(&f, 5, 64 * 16, 8, true, 0, &rx), CNT_ip_reass_many);
	fix_end(&f);
}

Test(ip_reass, slots_are_few_and_old_ones_end)
{
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	for (uint16_t id = 0; id < 6; id++, f.now++)
		rx_frag(&f, id, 0, 800, true, 0, &rx);
	cr_expect_eq(f.c.n[CNT_ip_reass_evicted], 2);
	f.now += 31 * ZTIME_SEC;
	cr_expect_eq(rx_frag(&f, 5, 800, 8, false, 0, &rx), CNT_ip_reass_wait);
	cr_expect_geq(f.c.n[CNT_ip_reass_timeout], 1);
	fix_end(&f);
}

static void no_reass(struct ip_config *cfg)
{
	cfg->reass_max = 0;
}

Test(ip_reass, switched_off)
{
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, no_reass);
	cr_expect_eq(rx_frag(&f, 1, 0, 800, true, 0, &rx), CNT_ip_reass_off);
	fix_end(&f);
}

Test(ip_core, ip_size__configurations_out_of_range)
{
	struct ip_config cfg;

	ip_config_defaults(&cfg);
	cr_expect_neq(ip_size(&cfg), 0);
	cfg.mtu = 500;
	cr_expect_eq(ip_size(&cfg), 0);
	ip_config_defaults(&cfg);
	cfg.pmtu_max = 100;
	cr_expect_eq(ip_size(&cfg), 0);
	ip_config_defaults(&cfg);
	cfg.vlan = 4095;
	cr_expect_eq(ip_size(&cfg), 0);
}
