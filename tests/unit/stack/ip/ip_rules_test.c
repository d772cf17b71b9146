/* ip_rules_test.c - what the RFCs say of hosts that are lied to: fragments, extension headers, neighbours, errors */
#include "tests/unit/stack/ip/ip_fix.h"

/* ---- frames */

/* An IPv6 packet whose first header after the fixed one is @proto, with @len bytes at @body. */
static enum counter rx6_to(struct fix *f, const union wire_addr *dst, const struct wire_mac *mac,
			   uint8_t proto, uint8_t hops, const void *body, size_t len,
			   struct ip_rx *rx)
{
	struct wire_ip6 h = { .src = f->them6,
			      .dst = *dst,
			      .hops = hops,
			      .proto = proto,
			      .payload_len = (uint16_t)len };
	uint8_t b[2048];

	eth_put(b, mac, WIRE_ETH_IP6);
	wire_ip6_emit(&h, b + 14);
	if (len)
		memcpy(b + 54, body, len);
	return rx_frame(f, b, 54 + len, rx);
}

static enum counter rx6(struct fix *f, uint8_t proto, const void *body, size_t len,
			struct ip_rx *rx)
{
	return rx6_to(f, &f->us6, &us, proto, 64, body, len, rx);
}

static uint8_t byte_at(size_t at)
{
	return (uint8_t)(at * 7 + at / 256);
}

/* A fragment of a datagram whose fragmentable part begins with a header of @proto. */
static enum counter rx6_frag(struct fix *f, uint8_t proto, uint32_t off, bool more,
			     const uint8_t *part, size_t len, struct ip_rx *rx)
{
	uint8_t b[1500] = { proto };

	base_be16_put(b + 2, (uint16_t)(off | more));
	base_be32_put(b + 4, 77);
	memcpy(b + 8, part, len);
	return rx6(f, WIRE_IP6_FRAGMENT, b, 8 + len, rx);
}

/* The next frame of its own, headers and payload in one. Return: bytes, 0 for none. */
static size_t answer_flat(struct fix *f, uint8_t *flat)
{
	struct wire_frame_out out;
	size_t n;

	if (!ip_answer_take(f->ip, &out))
		return 0;
	n = out.hdr_len;
	memcpy(flat, out.hdr, n);
	if (out.niov)
		memcpy(flat + n, out.iov[0].data, out.iov[0].len);
	return n + (out.niov ? out.iov[0].len : 0);
}

/* ---- fragments (RFC 791, 8200 4.5, 6946, 6980, 7112) */

static enum counter rx4_frag(struct fix *f, uint8_t proto, uint32_t off, bool more, size_t len,
			     struct ip_rx *rx)
{
	struct wire_ip4 h = { .src = f->them4,
			      .dst = f->us4,
			      .ttl = 64,
			      .proto = proto,
			      .id = 5,
			      .frag_off = (uint16_t)off,
			      .mf = more };
	uint8_t body[1480];

	for (size_t i = 0; i < len; i++)
		body[i] = byte_at(off + i);
	return rx4_full(f, h, body, len, &us, rx);
}

Test(ip_reass, bytes_beyond_the_end_do_not_stand_for_those_that_miss)
{
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	/* 104 bytes that lie beyond the end, and the last 96: 200 in all, but the first 104 have never come. */
	cr_expect_eq(rx4_frag(&f, 6, 1000, true, 104, &rx), CNT_ip_reass_wait);
	cr_expect_eq(rx4_frag(&f, 6, 104, false, 96, &rx), CNT_ip_reass_bad);
	cr_expect_eq(rx.kind, IP_RX_NONE);
	fix_end(&f);
}

Test(ip_reass, overlaps_of_every_kind_end_the_datagram)
{
	static const struct {
		uint32_t off, len;
		bool more;
	} second[] = {
		{ 0, 96, true },   { 96, 104, true }, { 104, 48, true },  { 96, 200, true },
		{ 192, 8, false }, { 0, 400, true },  { 120, 80, false },
	};
	struct ip_rx rx;

	for (size_t i = 0; i < sizeof(second) / sizeof(second[0]); i++) {
		struct fix f;
		uint8_t tail[100];

		fix_init(&f, NULL);
		cr_expect_eq(rx4_frag(&f, 6, 96, true, 104, &rx), CNT_ip_reass_wait);
		memset(tail, 0xee, sizeof(tail)); /* other bytes than before: no copy */
		struct wire_ip4 h = { .src = f.them4,
				      .dst = f.us4,
				      .ttl = 64,
				      .proto = 6,
				      .id = 5,
				      .frag_off = (uint16_t)second[i].off,
				      .mf = second[i].more };
		uint8_t body[400];
		memset(body, 0xee, sizeof(body));
		enum counter why = rx4_full(&f, h, body, second[i].len, &us, &rx);
		if (i == 0)
			cr_expect_eq(why, CNT_ip_reass_wait, "side by side");
		else
			cr_expect(why == CNT_ip_reass_overlap, "case %zu: %s", i,
				  base_counter_name(why));
		fix_end(&f);
	}
}

Test(ip_reass, v6__headers_behind_the_fragment_header_are_read_when_all_is_there)
{
	uint8_t whole[8 + 600];
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	memcpy(whole, "\x06\x00\x01\x04\x00\x00\x00\x00", 8); /* destination options, then TCP */
	for (size_t i = 8; i < sizeof(whole); i++)
		whole[i] = byte_at(i);
	cr_expect_eq(rx6_frag(&f, WIRE_IP6_DEST, 304, false, whole + 304, sizeof(whole) - 304, &rx),
		     CNT_ip_reass_wait);
	cr_expect_eq(rx6_frag(&f, WIRE_IP6_DEST, 0, true, whole, 304, &rx), CNT_none);
	cr_assert(rx.kind == IP_RX_TCP && rx.l4_len == 600 && rx.joined);
	cr_expect_eq(memcmp(rx.l4, whole + 8, 600), 0);
	/* An atomic one has nothing to do with others of its name. */
	cr_expect_eq(rx6_frag(&f, 6, 0, true, whole + 8, 304, &rx), CNT_ip_reass_wait);
	cr_expect_eq(rx6_frag(&f, WIRE_IP6_DEST, 0, false, whole, sizeof(whole), &rx), CNT_none);
	cr_expect(rx.kind == IP_RX_TCP && rx.l4_len == 600 && !rx.joined);
	cr_expect_eq(rx6_frag(&f, 6, 304, false, whole + 312, 296, &rx), CNT_none);
	cr_expect(rx.kind == IP_RX_TCP && rx.l4_len == 600 && rx.joined);
	fix_end(&f);
}

Test(ip_reass, v6__first_fragment_without_all_headers_is_dropped)
{
	uint8_t part[64] = { 6, 0, 1, 4 };
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(rx6_frag(&f, 6, 0, true, part, 16, &rx), CNT_wire_ip6_ext, "half of TCP");
	cr_expect_eq(rx6_frag(&f, WIRE_IP6_DEST, 0, true, part, 24, &rx), CNT_wire_ip6_ext);
	part[1] = 9; /* 80 bytes of options, of which 64 are there */
	cr_expect_eq(rx6_frag(&f, WIRE_IP6_DEST, 0, true, part, 64, &rx), CNT_wire_ip6_ext);
	part[0] = WIRE_IP6_FRAGMENT, part[1] = 0;
	cr_expect_eq(rx6_frag(&f, WIRE_IP6_DEST, 0, true, part, 64, &rx), CNT_wire_ip6_ext,
		     "a fragment in a fragment");
	part[0] = 6;
	cr_expect_eq(rx6_frag(&f, WIRE_IP6_HOP_BY_HOP, 0, true, part, 64, &rx), CNT_wire_ip6_ext);
	cr_expect_eq(rx6_frag(&f, WIRE_IP6_DEST, 0, true, part, 64, &rx), CNT_ip_reass_wait);
	fix_end(&f);
}

static size_t na_put(const union wire_addr *src, const union wire_addr *dst,
		     const union wire_addr *target, const struct wire_mac *mac, uint32_t flags,
		     uint8_t *out)
{
	struct wire_nd nd = { .target = *target, .has_mac = mac != NULL };
	struct wire_icmp m = { .type = WIRE_ICMP6_NA, .word = flags, .body = out + 8 };

	if (mac)
		nd.mac = *mac;
	m.body_len = wire_nd_emit(&nd, WIRE_ICMP6_NA, out + 8);
	wire_icmp_emit(&m, src, dst, out);
	return 8 + m.body_len;
}

/* An advertisement of @target from @mac, or without an address when that is NULL; @frag: behind a fragment header */
static enum counter rx_na(struct fix *f, const union wire_addr *target, const struct wire_mac *mac,
			  uint32_t flags, bool frag)
{
	uint8_t b[64] = { WIRE_PROTO_ICMP6 };
	size_t at = frag ? 8 : 0, n = na_put(&f->them6, &f->us6, target, mac, flags, b + at);
	struct ip_rx rx;

	return rx6_to(f, &f->us6, &us, frag ? WIRE_IP6_FRAGMENT : WIRE_PROTO_ICMP6, 255, b, at + n,
		      &rx);
}

Test(ip_ask, nd__never_behind_a_fragment_header)
{
	struct wire_frame_out out;
	struct ip_hop hop = { 0 };
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(tx(&f, &f.them6, &hop, &out), 0);
	answers_drop(&f);
	cr_expect_eq(rx_na(&f, &f.them6, &them, WIRE_ND_SOLICITED, true), CNT_wire_nd_bad);
	cr_expect_eq(tx(&f, &f.them6, &hop, &out), 0, "still not known");
	cr_expect_eq(rx_na(&f, &f.them6, &them, WIRE_ND_SOLICITED, false), CNT_none);
	cr_expect_eq(tx(&f, &f.them6, &hop, &out), 1);
	fix_end(&f);
}

/* ---- neighbours (RFC 826, 5227, 4861, 6583) */

Test(ip_ask, nd__who_was_asked_by_all_has_to_say_where_he_is)
{
	struct wire_frame_out out;
	struct ip_hop hop = { 0 };
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(tx(&f, &f.them6, &hop, &out), 0);
	cr_expect_eq(rx_na(&f, &f.them6, NULL, WIRE_ND_SOLICITED, false), CNT_none);
	cr_expect_eq(tx(&f, &f.them6, &hop, &out), 0);
	cr_expect_eq(rx_na(&f, &f.them6, &them, WIRE_ND_SOLICITED, false), CNT_none);
	answers_drop(&f);
	/* Asked by unicast it may leave that out. */
	f.now += 31 * ZTIME_SEC;
	cr_expect_eq(tx(&f, &f.them6, &hop, &out), 1);
	cr_expect_neq(ip_deadline(f.ip), ZTIME_NEVER);
	answers_drop(&f);
	cr_expect_eq(rx_na(&f, &f.them6, NULL, WIRE_ND_SOLICITED, false), CNT_none);
	cr_expect_eq(ip_deadline(f.ip), ZTIME_NEVER, "no question is out");
	fix_end(&f);
}

Test(ip_ask, nd__another_station_advertises_our_address)
{
	struct wire_frame_out out;
	struct wire_eth eth;
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(rx_na(&f, &f.us6, &thief, WIRE_ND_OVERRIDE, false), CNT_ip_nd_conflict);
	cr_expect(!answer(&f, &out, &eth));
	fix_end(&f);
}

Test(ip_ask, arp__an_address_is_defended_once_in_ten_seconds)
{
	union wire_addr more4 = wire_addr_v4(0x0a000009);
	struct wire_frame_out out;
	struct wire_eth eth;
	int defended = 0;
	struct fix f;

	fix_init(&f, NULL);
	cr_assert_eq(ip_addr_add(f.ip, &more4, 24, f.now), 0);
	answers_drop(&f);
	for (int i = 0; i < 40; i++, f.now += ZTIME_SEC) {
		for (int k = 0; k < 10; k++)
			rx_arp(&f, &thief, k % 2 + WIRE_ARP_REQUEST, &f.us4, &f.them4);
		while (answer(&f, &out, &eth)) {
			cr_expect(wire_mac_equal(&eth.dst, &all) && eth.type == WIRE_ETH_ARP);
			defended++;
		}
	}
	cr_expect_eq(defended, 4);
	cr_expect_eq(f.c.n[CNT_ip_arp_conflict], 400);
	rx_arp(&f, &thief, WIRE_ARP_REQUEST, &f.us4, &f.us4);
	answers_drop(&f);
	rx_arp(&f, &thief, WIRE_ARP_REQUEST, &more4, &more4);
	cr_expect(answer(&f, &out, &eth), "each address by itself");
	cr_expect_eq(rx_arp(&f, &us, WIRE_ARP_REPLY, &f.us4, &f.us4), CNT_ip_arp_not_us,
		     "our own words");
	fix_end(&f);
}

/* An ARP reply to all stations, of them4 at @mac. */
static void rx_arp_told_all(struct fix *f, const struct wire_mac *mac)
{
	struct wire_arp a = {
		.op = WIRE_ARP_REPLY, .sender_mac = *mac, .sender = f->them4, .target = f->us4
	};
	struct ip_rx rx;
	uint8_t b[42];

	eth_put(b, &all, WIRE_ETH_ARP);
	wire_arp_emit(&a, b + 14);
	rx_frame(f, b, 42, &rx);
}

Test(ip_ask, arp__a_reply_to_all_proves_nothing)
{
	struct wire_frame_out out;
	struct ip_hop hop = { 0 };
	struct wire_eth eth;
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(tx(&f, &f.them4, &hop, &out), 0);
	answers_drop(&f);
	rx_arp_told_all(&f, &them);
	cr_assert(answer(&f, &out, &eth) && out.l4_len, "what waits goes to who says so");
	cr_expect_eq(tx(&f, &f.them4, &hop, &out), 1);
	answers_drop(&f);
	f.now++;
	cr_expect_eq(tx(&f, &f.them4, &hop, &out), 1);
	cr_assert_neq(ip_deadline(f.ip), ZTIME_NEVER, "but it is asked by itself");
	fix_end(&f);
}

static void eight_neighbours(struct ip_config *cfg)
{
	cfg->neigh_max = 8;
}

Test(ip_neigh, a_search_for_stations_that_are_not_there_displaces_none_that_are)
{
	union wire_addr a[4];
	struct wire_frame_out out;
	struct ip_error e[8];
	struct fix f;

	fix_init(&f, eight_neighbours);
	for (uint32_t i = 0; i < 4; i++) {
		a[i] = wire_addr_v4(0x0a000010 + i);
		cr_assert_eq(ip_neigh_add(f.ip, &a[i], &them, f.now), 0);
	}
	for (uint32_t i = 0; i < 1000; i++, f.now += ztime_us(10)) {
		union wire_addr nobody = wire_addr_v4(0x0a000040 + i % 150);
		struct ip_hop hop = { 0 };

		cr_assert_neq(tx(&f, &nobody, &hop, &out), 1);
		answers_drop(&f);
	}
	for (uint32_t i = 0; i < 4; i++) {
		struct ip_hop hop = { 0 };

		cr_expect_eq(tx(&f, &a[i], &hop, &out), 1, "neighbour %u", i);
	}
	/* The last ones looked for are found. */
	union wire_addr last = wire_addr_v4(0x0a000040 + 999 % 150);
	struct ip_hop hop = { 0 };

	rx_arp(&f, &them, WIRE_ARP_REPLY, &last, &f.us4);
	answers_drop(&f);
	cr_expect_eq(tx(&f, &last, &hop, &out), 1);
	for (int i = 0; i < 8; i++, f.now += ZTIME_SEC)
		ip_tick(f.ip, e, 8, f.now);
	answers_drop(&f);
	cr_expect_eq(ip_deadline(f.ip), ZTIME_NEVER, "nobody is asked for ever");
	fix_end(&f);
}

Test(ip_neigh, one_that_was_never_asked_for_gives_its_place_back)
{
	struct fix f;

	fix_init(&f, eight_neighbours);
	for (uint32_t i = 0; i < 100; i++) {
		struct wire_flow flow = { .local = f.us4, .remote = wire_addr_v4(0x0a000010 + i) };
		struct ip_hop hop = { 0 };

		cr_assert_eq(ip_hop_get(f.ip, &flow, &hop, f.now), 0, "way %u", i);
	}
	fix_end(&f);
}

/* ---- addresses and links (RFC 1122 3.2.1.3, 3.3.6; 6724) */

Test(ip_input, a_packet_to_one_in_a_frame_to_all)
{
	struct wire_ip4 h = { .ttl = 64, .proto = WIRE_PROTO_ICMP };
	struct wire_icmp ask = { .type = WIRE_ICMP_ECHO };
	struct wire_mac group = { { 0x33, 0x33, 0, 0, 0, 1 } };
	struct wire_frame_out out;
	uint8_t m[40] = { 0 };
	struct wire_eth eth;
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	h.src = f.them4;
	h.dst = f.us4;
	wire_icmp_emit(&ask, NULL, NULL, m);
	cr_expect_eq(rx4_full(&f, h, m, 8, &all, &rx), CNT_ip_link_group);
	h.proto = 17;
	cr_expect_eq(rx4_full(&f, h, m, 8, &all, &rx), CNT_ip_link_group);
	cr_expect_eq(rx6_to(&f, &f.us6, &group, 6, 64, m, 20, &rx), CNT_ip_link_group);
	cr_expect(!answer(&f, &out, &eth), "nobody is told");
	fix_end(&f);
}

Test(ip_input, source_of_this_network)
{
	union wire_addr zero = wire_addr_v4(0x00000005), reserved = wire_addr_v4(0xf0000005);
	uint8_t tcp[20] = { 0 };
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(rx4(&f, &zero, &f.us4, 6, tcp, 20, &rx), CNT_ip_martian_src);
	cr_expect_eq(rx4(&f, &reserved, &f.us4, 6, tcp, 20, &rx), CNT_none, "as the kernel");
	cr_expect_eq(ip_addr_add(f.ip, &zero, 24, f.now), -EINVAL);
	fix_end(&f);
}

Test(ip_input, runts_and_padding)
{
	uint8_t b[100];
	struct wire_ip4 h = { .ttl = 64, .proto = 6, .total_len = 40 };
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	h.src = f.them4;
	h.dst = f.us4;
	memset(b, 0x99, sizeof(b));
	eth_put(b, &us, WIRE_ETH_IP4);
	wire_ip4_emit(&h, b + 14);
	for (size_t n = 0; n < 54; n++)
		cr_expect_neq(rx_frame(&f, b, n, &rx), CNT_none, "%zu bytes", n);
	for (size_t n = 54; n <= 100; n++) {
		cr_assert_eq(rx_frame(&f, b, n, &rx), CNT_none);
		cr_expect_eq(rx.l4_len, 20, "%zu bytes", n);
	}
	fix_end(&f);
}

Test(ip_input, tags__priority_passes_where_none_is_due)
{
	static const struct {
		uint16_t tag;
		uint16_t inner;
		enum counter why;
	} cases[] = {
		{ 0xe000, WIRE_ETH_IP4, CNT_none },
		{ 0x1000, WIRE_ETH_IP4, CNT_none },
		{ 0x0001, WIRE_ETH_IP4, CNT_wire_eth_vlan },
		{ 0x0fff, WIRE_ETH_IP4, CNT_wire_eth_vlan },
		{ 0x0000, WIRE_ETH_VLAN, CNT_wire_eth_type },
	};
	struct wire_ip4 h = { .ttl = 64, .proto = 6, .total_len = 40 };
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	h.src = f.them4;
	h.dst = f.us4;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t b[60] = { 0 };

		eth_put(b, &us, WIRE_ETH_VLAN);
		base_be16_put(b + 14, cases[i].tag);
		base_be16_put(b + 16, cases[i].inner);
		wire_ip4_emit(&h, b + 18);
		cr_expect_eq(rx_frame(&f, b, sizeof(b), &rx), cases[i].why, "case %zu", i);
	}
	fix_end(&f);
}

Test(ip_route, ip_source__kind_of_address_before_prefix)
{
	union wire_addr global = { .b = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } };
	union wire_addr six4 = { .b = { 0x20, 0x02, 1, 1, [15] = 1 } };
	union wire_addr to_six4 = { .b = { 0x20, 0x02, 9, 9, [15] = 7 } };
	union wire_addr to_local = { .b = { 0xfc, 1, [15] = 7 } };
	union wire_addr far = { .b = { 0x20, 0x03, [15] = 7 } }, any = { 0 };
	union wire_addr a = wire_addr_v4(0x0a010001), b = wire_addr_v4(0x0a010203);
	union wire_addr to = wire_addr_v4(0x0a010002), src;
	struct fix f;

	fix_init(&f, NULL);
	cr_assert_eq(ip_addr_add(f.ip, &six4, 64, f.now), 0);
	cr_assert_eq(ip_addr_add(f.ip, &global, 64, f.now), 0);
	cr_assert_eq(ip_route_add(f.ip, &any, 0, &f.them6, 0), 0);
	cr_expect(ip_source(f.ip, &far, &src) == 0 && wire_addr_equal(&src, &global),
		  "not the 6to4 address, though more of its bits are the same");
	cr_expect(ip_source(f.ip, &to_six4, &src) == 0 && wire_addr_equal(&src, &six4));
	cr_expect(ip_source(f.ip, &to_local, &src) == 0 && wire_addr_equal(&src, &f.us6));
	/* Bits beyond the source's own prefix do not count: the first of two equal ones stays. */
	cr_assert_eq(ip_addr_add(f.ip, &b, 16, f.now), 0);
	cr_assert_eq(ip_addr_add(f.ip, &a, 16, f.now), 0);
	cr_expect(ip_source(f.ip, &to, &src) == 0 && wire_addr_equal(&src, &b));
	answers_drop(&f);
	fix_end(&f);
}

/* ---- errors (RFC 1122 3.2.2, 1191, 4443, 5927, 8200 4.2, 8201) */

Test(ip_icmp, v6__what_is_wrong_is_told_with_its_place)
{
	static const struct {
		uint8_t proto;
		const char *bytes;
		size_t n;
		int code; /* -1: nothing is said */
		uint32_t at;
	} cases[] = {
		{ 99, "12345678", 8, WIRE_PARAM6_NEXT, 6 },
		{ 60, "\x63\x00\x01\x04\x00\x00\x00\x00zzzzzzzz", 16, WIRE_PARAM6_NEXT, 40 },
		{ 60, "\x06\x00\x01\x00\x81\x02\x00\x00zzzzzzzz", 16, WIRE_PARAM6_OPTION, 44 },
		{ 0, "\x06\x00\xc2\x04\x00\x01\x00\x00zzzzzzzz", 16, WIRE_PARAM6_OPTION, 42 },
		{ 60, "\x06\x00\x41\x04\x00\x00\x00\x00zzzzzzzz", 16, -1, 0 },
		{ 43, "\x06\x00\x00\x01\x00\x00\x00\x00zzzzzzzz", 16, WIRE_PARAM6_HEADER, 42 },
		{ 59, "", 0, -1, 0 },
	};
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t flat[1600];
		struct wire_icmp m;
		size_t n;

		f.now += ZTIME_SEC;
		cr_expect_neq(rx6(&f, cases[i].proto, cases[i].bytes, cases[i].n, &rx), CNT_none);
		n = answer_flat(&f, flat);
		cr_expect_eq(n != 0, cases[i].code >= 0, "case %zu", i);
		if (!n)
			continue;
		cr_assert_eq(wire_icmp6_parse(flat + 54, n - 54, &f.us6, &f.them6, &m), CNT_none);
		cr_expect_eq(m.type, WIRE_ICMP6_PARAM);
		cr_expect_eq((int)m.code, cases[i].code, "case %zu", i);
		cr_expect_eq(m.word, cases[i].at, "case %zu: %u", i, m.word);
		cr_expect_eq(m.body_len, 40 + cases[i].n);
	}
	fix_end(&f);
}

Test(ip_icmp, errors_quote_as_much_as_may_be)
{
	uint8_t body[1400] = { 0 }, flat[1600];
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(rx4(&f, &f.them4, &f.us4, 17, body, sizeof(body), &rx), CNT_ip_proto_unknown);
	cr_expect_eq(answer_flat(&f, flat), 14 + 576);
	cr_expect_eq(rx6(&f, 17, body, sizeof(body), &rx), CNT_ip_proto_unknown);
	cr_expect_eq(answer_flat(&f, flat), 14 + 1280);
	fix_end(&f);
}

Test(ip_icmp, errors_are_not_about_what_came_in_parts)
{
	struct wire_frame_out out;
	struct wire_eth eth;
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	cr_expect_eq(rx4_frag(&f, 17, 0, true, 800, &rx), CNT_ip_reass_wait);
	cr_expect_eq(rx4_frag(&f, 17, 800, false, 800, &rx), CNT_ip_proto_unknown);
	cr_expect(!answer(&f, &out, &eth));
	fix_end(&f);
}

Test(ip_icmp, echo_in_fragments__v4_is_cut_to_what_fits)
{
	uint8_t m[2000] = { 0 }, flat[1600];
	struct wire_icmp ask = {
		.type = WIRE_ICMP_ECHO, .word = 3, .body = m + 8, .body_len = 1992
	};
	struct wire_icmp r;
	struct wire_ip4 h = { .ttl = 64, .proto = WIRE_PROTO_ICMP, .id = 1 };
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	h.src = f.them4;
	h.dst = f.us4;
	for (size_t i = 8; i < sizeof(m); i++)
		m[i] = byte_at(i);
	wire_icmp_emit(&ask, NULL, NULL, m);
	h.mf = true;
	cr_expect_eq(rx4_full(&f, h, m, 1000, &us, &rx), CNT_ip_reass_wait);
	h.mf = false;
	h.frag_off = 1000;
	cr_expect_eq(rx4_full(&f, h, m + 1000, 1000, &us, &rx), CNT_none);
	cr_assert_eq(answer_flat(&f, flat), 14 + 1500);
	cr_assert_eq(wire_icmp_parse(flat + 34, 1480, &r), CNT_none);
	cr_expect(r.type == WIRE_ICMP_ECHO_REPLY && r.word == 3);
	cr_expect_eq(memcmp(r.body, m + 8, 1472), 0);
	fix_end(&f);
}

/* An ICMPv6 error that quotes a segment of ours. */
static enum counter rx_error6(struct fix *f, uint8_t type, uint8_t code, uint32_t word,
			      uint8_t proto, struct ip_rx *rx)
{
	struct wire_ip6 q = { .src = f->us6, .dst = f->them6, .payload_len = 20, .proto = proto };
	uint8_t m[8 + 60] = { 0 };
	struct wire_icmp e = {
		.type = type, .code = code, .word = word, .body = m + 8, .body_len = 60
	};

	wire_ip6_emit(&q, m + 8);
	base_be16_put(m + 48, 1000);
	base_be16_put(m + 50, 2000);
	base_be32_put(m + 52, 77);
	wire_icmp_emit(&e, &f->them6, &f->us6, m);
	return rx6(f, WIRE_PROTO_ICMP6, m, sizeof(m), rx);
}

Test(ip_icmp, errors6__what_is_believed)
{
	static const struct {
		uint8_t type, code;
		uint32_t word;
		int err; /* 0: ignored */
		bool hard;
	} cases[] = {
		{ 1, 0, 0, ENETUNREACH, false },
		{ 1, 1, 0, EACCES, true },
		{ 1, 3, 0, EHOSTUNREACH, false },
		{ 1, 4, 0, ECONNREFUSED, true },
		{ 2, 0, 1400, EMSGSIZE, false },
		{ 2, 0, 1280, EMSGSIZE, false },
		{ 2, 0, 1279, 0, false },
		{ 2, 0, 0, 0, false },
		{ 2, 0, 0xffffffff, EMSGSIZE, false },
		{ 3, 0, 0, EHOSTUNREACH, false },
		{ 4, 0, 4, EPROTO, false },
		{ 4, 1, 6, EPROTO, true },
	};
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum counter why = rx_error6(&f, cases[i].type, cases[i].code, cases[i].word, 6,
					     &rx);

		cr_expect_eq(why, cases[i].err ? CNT_none : CNT_ip_icmp_ignored, "case %zu", i);
		cr_assert_eq(rx.kind, cases[i].err ? IP_RX_ERROR : IP_RX_NONE, "case %zu", i);
		if (rx.kind != IP_RX_ERROR)
			continue;
		cr_expect_eq(rx.error.err, cases[i].err, "case %zu", i);
		cr_expect_eq(rx.error.hard, cases[i].hard, "case %zu", i);
		cr_expect(rx.error.seq == 77 && rx.error.flow.lport == 1000);
	}
	cr_expect_eq(rx_error6(&f, 2, 0, 1300, 44, &rx), CNT_ip_icmp_quote, "we send no fragments");
	fix_end(&f);
}

Test(ip_icmp, errors__a_later_fragment_is_no_header)
{
	struct wire_ip4 q = { .total_len = 1500, .ttl = 60, .proto = 6, .frag_off = 8 };
	uint8_t m[8 + 28] = { 0 };
	struct wire_icmp e = { .type = 3, .code = 3, .body = m + 8, .body_len = 28 };
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	q.src = f.us4;
	q.dst = f.them4;
	wire_ip4_emit(&q, m + 8);
	wire_icmp_emit(&e, NULL, NULL, m);
	cr_expect_eq(rx4(&f, &f.them4, &f.us4, 1, m, sizeof(m), &rx), CNT_ip_icmp_quote);
	fix_end(&f);
}

Test(ip_icmp, redirects_and_routers_change_nothing)
{
	static const uint8_t types[] = { WIRE_ICMP6_RS, WIRE_ICMP6_RA, WIRE_ICMP6_REDIRECT };
	union wire_addr far = { .b = { 0x20, 0x01, [15] = 9 } }, src;
	uint8_t m[64];
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, NULL);
	for (size_t i = 0; i < sizeof(types); i++) {
		struct wire_icmp r = { .type = types[i], .body = m + 8, .body_len = 56 };

		memset(m, 0, sizeof(m));
		wire_icmp_emit(&r, &f.them6, &f.us6, m);
		cr_expect_eq(rx6_to(&f, &f.us6, &us, WIRE_PROTO_ICMP6, 255, m, sizeof(m), &rx),
			     CNT_ip_icmp_ignored);
		cr_expect_eq(rx.kind, IP_RX_NONE);
		cr_expect_eq(ip_source(f.ip, &far, &src), -ENETUNREACH);
	}
	fix_end(&f);
}
