/* wire_test.c - each protocol: what is written can be read, what is wrong has its reason */
#include <criterion/criterion.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/wire/wire_arp.h"
#include "stack/wire/wire_csum.h"
#include "stack/wire/wire_eth.h"
#include "stack/wire/wire_icmp.h"
#include "stack/wire/wire_ip4.h"
#include "stack/wire/wire_ip6.h"
#include "stack/wire/wire_nd.h"
#include "stack/wire/wire_tcp.h"

static const union wire_addr a6 = { .b = { 0xfd, [15] = 1 } }, b6 = { .b = { 0xfd, [15] = 2 } };

static union wire_addr a4(void)
{
	return wire_addr_v4(0x0a000001);
}

/* ---- addresses */

Test(wire_addr, kinds)
{
	union wire_addr v4 = wire_addr_v4(0xe0000001), any = { 0 }, lo = { .b = { [15] = 1 } };
	union wire_addr mapped_any = wire_addr_v4(0), cast = wire_addr_v4(0xffffffff);
	union wire_addr ll = { .b = { 0xfe, 0x80, [15] = 9 } }, group = { .b = { 0xff, 2 } };

	cr_expect(wire_addr_is_v4(&v4) && !wire_addr_is_v4(&a6));
	cr_expect_eq(wire_addr_v4_host(&v4), 0xe0000001);
	cr_expect(wire_addr_is_multicast(&v4) && wire_addr_is_multicast(&group));
	cr_expect(wire_addr_is_any(&any) && wire_addr_is_any(&mapped_any));
	cr_expect(!wire_addr_is_any(&lo) && wire_addr_is_loopback(&lo));
	cr_expect(wire_addr_is_broadcast(&cast) && wire_addr_is_link_local(&ll));
}

Test(wire_addr, wire_addr_in_prefix__any_length)
{
	union wire_addr net = wire_addr_v4(0x0a010200), in = wire_addr_v4(0x0a0103ff);

	cr_expect(wire_addr_in_prefix(&in, &net, 96 + 23));
	cr_expect(!wire_addr_in_prefix(&in, &net, 96 + 24));
	cr_expect(wire_addr_in_prefix(&a6, &net, 0));
	cr_expect(!wire_addr_in_prefix(&a6, &b6, 128) && wire_addr_in_prefix(&a6, &b6, 126));
}

/* ---- checksum */

static uint16_t csum_slow(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return __builtin_bswap16((uint16_t)~sum);
}

Test(wire_csum, wire_csum_add__equals_the_definition_at_any_length_and_place)
{
	uint8_t b[200];

	for (int i = 0; i < 200; i++)
		b[i] = (uint8_t)(i * 151 + 77);
	for (size_t at = 0; at < 9; at++)
		for (size_t n = 0; n < 190; n++)
			cr_assert_eq(wire_csum_fold(wire_csum_add(0, b + at, n)),
				     csum_slow(b + at, n), "at %zu, %zu bytes", at, n);
	memset(b, 0xff, sizeof(b));
	cr_expect_eq(wire_csum_fold(wire_csum_add(0, b, 200)), csum_slow(b, 200));
}

Test(wire_csum, wire_csum_join__parts_of_odd_length)
{
	uint8_t b[100];

	for (int i = 0; i < 100; i++)
		b[i] = (uint8_t)(i * 37 + 5);
	for (size_t cut = 0; cut <= 100; cut++) {
		bool odd = false;
		uint64_t sum = wire_csum_join(0, b, cut / 3, &odd);

		sum = wire_csum_join(sum, b + cut / 3, cut - cut / 3, &odd);
		sum = wire_csum_join(sum, b + cut, 100 - cut, &odd);
		cr_assert_eq(wire_csum_fold(sum), csum_slow(b, 100), "cut at %zu", cut);
	}
}

/* Zero has two forms in one's complement (RFC 1071, 1624): a sum that comes out as zero may be sent as either. */
Test(wire_csum, both_forms_of_zero_are_right_and_nothing_is_not)
{
	struct wire_ip4 h = { .total_len = 20, .ttl = 64, .proto = 6 }, r;
	uint8_t b[20], nothing[40] = { 0 };
	struct wire_icmp m;
	uint16_t sum;

	h.src = a4();
	h.dst = wire_addr_v4(0x0a000002);
	wire_ip4_emit(&h, b);
	memcpy(&sum, b + 10, 2);
	memset(b + 10, 0, 2);
	/* The identification takes what the sum was: what remains for it is zero. */
	memcpy(b + 4, &sum, 2);
	cr_expect_eq(wire_ip4_parse(b, 20, false, &r), CNT_none, "0x0000");
	memset(b + 10, 0xff, 2);
	cr_expect_eq(wire_ip4_parse(b, 20, false, &r), CNT_none, "0xffff");
	b[11] = 0xfe;
	cr_expect_eq(wire_ip4_parse(b, 20, false, &r), CNT_wire_ip4_csum);
	cr_expect_eq(wire_icmp_parse(nothing, sizeof(nothing), &m), CNT_wire_icmp_csum,
		     "all zeros are no message");
}

/* ---- Ethernet, ARP */

Test(wire_eth, round_trip_with_and_without_tag)
{
	struct wire_eth e = { { { 1, 2, 3, 4, 5, 6 } }, { { 7, 8, 9, 10, 11, 12 } }, 0x0800, 5, 0 },
			r;
	uint8_t b[18];

	cr_expect_eq(wire_eth_emit(&e, b), 18);
	cr_assert_eq(wire_eth_parse(b, 18, &r), CNT_none);
	cr_expect(r.vlan == 5 && r.type == 0x0800 && r.hdr_len == 18);
	cr_expect_eq(wire_eth_parse(b, 17, &r), CNT_wire_eth_short);
	e.vlan = WIRE_VLAN_NONE;
	cr_expect_eq(wire_eth_emit(&e, b), 14);
	cr_assert_eq(wire_eth_parse(b, 14, &r), CNT_none);
	cr_expect(r.vlan == WIRE_VLAN_NONE && r.hdr_len == 14 && wire_mac_equal(&r.src, &e.src));
	cr_expect_eq(wire_eth_parse(b, 13, &r), CNT_wire_eth_short);
}

Test(wire_arp, round_trip_and_refusals)
{
	struct wire_arp a = { WIRE_ARP_REQUEST, { { 2, 2 } }, { { 4, 4 } }, a4(), wire_addr_v4(7) },
			r;
	static const struct {
		int at;
		uint8_t value;
	} wrong[] = { { 1, 6 }, { 2, 9 }, { 4, 8 }, { 5, 16 }, { 7, 3 }, { 7, 0 }, { 8, 1 } };
	uint8_t b[28];

	cr_expect_eq(wire_arp_emit(&a, b), 28);
	cr_assert_eq(wire_arp_parse(b, 28, &r), CNT_none);
	cr_expect(wire_addr_equal(&r.sender, &a.sender) && wire_addr_equal(&r.target, &a.target));
	cr_expect_eq(wire_arp_parse(b, 27, &r), CNT_wire_arp_bad);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		wire_arp_emit(&a, b);
		b[wrong[i].at] = wrong[i].value;
		cr_expect_eq(wire_arp_parse(b, 28, &r), CNT_wire_arp_bad, "byte %d", wrong[i].at);
	}
}

/* ---- IPv4 */

static struct wire_ip4 ip4_any(void)
{
	return (struct wire_ip4){ .src = a4(),
				  .dst = wire_addr_v4(0x0a000002),
				  .total_len = 120,
				  .id = 9,
				  .tos = 3,
				  .ttl = 7,
				  .proto = 6,
				  .df = true };
}

Test(wire_ip4, round_trip_and_refusals)
{
	struct wire_ip4 h = ip4_any(), r;
	uint8_t b[120] = { 0 };

	cr_expect_eq(wire_ip4_emit(&h, b), 20);
	cr_assert_eq(wire_ip4_parse(b, 120, false, &r), CNT_none);
	cr_expect(r.total_len == 120 && r.hdr_len == 20 && r.df && !r.mf && r.tos == 3);
	cr_expect_eq(wire_ip4_parse(b, 19, false, &r), CNT_wire_ip4_short);
	cr_expect_eq(wire_ip4_parse(b, 119, false, &r), CNT_wire_ip4_short);
	b[8]++;
	cr_expect_eq(wire_ip4_parse(b, 120, false, &r), CNT_wire_ip4_csum);
	cr_expect_eq(wire_ip4_parse(b, 120, true, &r), CNT_none);
	b[0] = 0x44;
	cr_expect_eq(wire_ip4_parse(b, 120, true, &r), CNT_wire_ip4_version);
	b[0] = 0x65;
	cr_expect_eq(wire_ip4_parse(b, 120, true, &r), CNT_wire_ip4_version);
}

Test(wire_ip4, options__skipped_but_for_source_routes)
{
	struct wire_ip4 h = ip4_any(), r;
	uint8_t b[120] = { 0 };

	wire_ip4_emit(&h, b);
	b[0] = 0x46;
	memcpy(b + 20, "\x01\x01\x01\x00", 4);
	cr_assert_eq(wire_ip4_parse(b, 120, true, &r), CNT_none);
	cr_expect_eq(r.hdr_len, 24);
	memcpy(b + 20, "\x83\x03\x04\x00", 4);
	cr_expect_eq(wire_ip4_parse(b, 120, true, &r), CNT_wire_ip4_options);
	memcpy(b + 20, "\x44\x09\x05\x00", 4);
	cr_expect_eq(wire_ip4_parse(b, 120, true, &r), CNT_wire_ip4_options);
	memcpy(b + 20, "\x44\x01\x05\x00", 4);
	cr_expect_eq(wire_ip4_parse(b, 120, true, &r), CNT_wire_ip4_options);
}

/* ---- IPv6 */

static size_t ip6_with(uint8_t *b, uint8_t proto, const char *ext, size_t n)
{
	struct wire_ip6 h = {
		.src = a6, .dst = b6, .payload_len = (uint16_t)(n + 4), .hops = 64, .proto = proto
	};

	wire_ip6_emit(&h, b);
	memcpy(b + 40, ext, n);
	memset(b + 40 + n, 0x55, 4);
	return 44 + n;
}

Test(wire_ip6, extension_headers)
{
	static const struct {
		uint8_t proto;
		const char *ext;
		size_t n;
		enum counter why;
		unsigned int body_at;
	} cases[] = {
		{ 6, "", 0, CNT_none, 40 },
		{ 0, "\x06\x00\x01\x04\x00\x00\x00\x00", 8, CNT_none, 48 },
		{ 60, "\x06\x00\x00\x00\x00\x00\x00\x00", 8, CNT_none, 48 },
		{ 43, "\x06\x00\x02\x00\x00\x00\x00\x00", 8, CNT_none, 48 },
		{ 43, "\x06\x00\x02\x01\x00\x00\x00\x00", 8, CNT_wire_ip6_ext, 0 },
		{ 60, "\x00\x00\x01\x04\x00\x00\x00\x00\x06\x00\x01\x04\x00\x00\x00\x00", 16,
		  CNT_wire_ip6_ext, 0 },
		{ 60, "\x06\x00\x81\x04\x00\x00\x00\x00", 8, CNT_wire_ip6_ext, 0 },
		{ 60, "\x06\x00\x01\x05\x00\x00\x00\x00", 8, CNT_wire_ip6_ext, 0 },
		{ 60, "\x06\x09\x01\x04\x00\x00\x00\x00", 8, CNT_wire_ip6_ext, 0 },
		{ 44, "\x06\x00\x00\x01\x12\x34\x56\x78", 8, CNT_none, 48 },
		{ 44, "\x2c\x00\x00\x00\x12\x34\x56\x78\x06\x00\x00\x01\x12\x34\x56\x78", 16,
		  CNT_wire_ip6_ext, 0 },
	};
	struct wire_ip6 r;
	uint8_t b[100];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t n = ip6_with(b, cases[i].proto, cases[i].ext, cases[i].n);
		enum counter why = wire_ip6_parse(b, n, &r);

		cr_expect_eq(why, cases[i].why, "case %zu: %s", i, base_counter_name(why));
		if (why == CNT_none)
			cr_expect(r.body_at == cases[i].body_at && r.proto == 6, "case %zu", i);
	}
	cr_expect(ip6_with(b, 44, cases[9].ext, 8) && wire_ip6_parse(b, 52, &r) == CNT_none);
	cr_expect(r.fragment && r.mf && r.frag_id == 0x12345678);
}

Test(wire_ip6, chains__as_long_as_eight_and_no_jumbograms)
{
	struct wire_ip6 r;
	uint8_t ext[80], b[140];
	uint32_t at;
	uint8_t proto;

	for (unsigned int n = 1; n <= 10; n++) {
		enum counter want = n <= WIRE_IP6_EXT_MAX ? CNT_none : CNT_wire_ip6_ext;

		memset(ext, 0, sizeof(ext));
		for (unsigned int i = 0; i < n; i++)
			ext[i * 8] = i + 1 < n ? WIRE_IP6_DEST : 6;
		cr_expect_eq(wire_ip6_parse(b, ip6_with(b, WIRE_IP6_DEST, (char *)ext, n * 8), &r),
			     want, "%u headers", n);
		proto = WIRE_IP6_DEST;
		cr_expect_eq(wire_ip6_upper(ext, n * 8, &proto, &at), want);
		if (want == CNT_none)
			cr_expect(proto == 6 && at == n * 8);
		for (uint32_t len = 0; len < n * 8; len++) {
			proto = WIRE_IP6_DEST;
			cr_expect_eq(wire_ip6_upper(ext, len, &proto, &at), CNT_wire_ip6_ext);
		}
	}
	/* RFC 2675: length 0 and the option 0xc2. Its length is not believed. */
	ip6_with(b, WIRE_IP6_HOP_BY_HOP, "\x06\x00\xc2\x04\x00\x01\x00\x00", 8);
	b[4] = b[5] = 0;
	cr_expect_eq(wire_ip6_parse(b, 52, &r), CNT_wire_ip6_ext);
}

Test(wire_ip6, refusals)
{
	struct wire_ip6 r;
	uint8_t b[100];
	size_t n = ip6_with(b, 6, "", 0);

	cr_expect_eq(wire_ip6_parse(b, 39, &r), CNT_wire_ip6_short);
	cr_expect_eq(wire_ip6_parse(b, n - 1, &r), CNT_wire_ip6_short);
	b[0] = 0x40;
	cr_expect_eq(wire_ip6_parse(b, n, &r), CNT_wire_ip6_version);
	ip6_with(b, 6, "", 0);
	memset(b + 8, 0, 16);
	b[18] = b[19] = 0xff; /* ::ffff:0.0.0.0 */
	cr_expect_eq(wire_ip6_parse(b, n, &r), CNT_wire_ip6_version);
}

/* ---- ICMP, neighbour discovery */

Test(wire_icmp, round_trip_and_refusals)
{
	struct wire_icmp m = { .type = 8,
			       .word = 0x00010002,
			       .body = (const uint8_t *)"abc",
			       .body_len = 3 },
			 r;
	uint8_t b[11];

	wire_icmp_emit(&m, NULL, NULL, b);
	memcpy(b + 8, "abc", 3);
	cr_assert_eq(wire_icmp_parse(b, 11, &r), CNT_none);
	cr_expect(r.type == 8 && r.word == m.word && r.body_len == 3);
	cr_expect_eq(wire_icmp_parse(b, 7, &r), CNT_wire_icmp_short);
	cr_expect_eq(wire_icmp6_parse(b, 11, &a6, &b6, &r), CNT_wire_icmp_csum);
	wire_icmp_emit(&m, &a6, &b6, b);
	cr_expect_eq(wire_icmp6_parse(b, 11, &a6, &b6, &r), CNT_none);
}

Test(wire_nd, rules_of_rfc4861)
{
	struct wire_nd nd = { .target = b6, .has_mac = true, .mac = { { 2, 0, 0, 0, 0, 9 } } }, r;
	union wire_addr group = wire_nd_group(&b6), any = { 0 };
	uint8_t body[24];
	struct wire_icmp m = { .type = WIRE_ICMP6_NS, .body = body };

	m.body_len = wire_nd_emit(&nd, WIRE_ICMP6_NS, body);
	cr_expect_eq(m.body_len, 24);
	cr_expect_eq(wire_nd_parse(&m, 255, &a6, &group, &r), CNT_none);
	cr_expect(r.has_mac && wire_mac_equal(&r.mac, &nd.mac));
	cr_expect_eq(wire_nd_parse(&m, 254, &a6, &group, &r), CNT_wire_nd_bad);
	/* From the unspecified address: no address option, and to the group. */
	cr_expect_eq(wire_nd_parse(&m, 255, &any, &group, &r), CNT_wire_nd_bad);
	m.body_len = 16;
	cr_expect_eq(wire_nd_parse(&m, 255, &any, &group, &r), CNT_none);
	cr_expect_eq(wire_nd_parse(&m, 255, &any, &b6, &r), CNT_wire_nd_bad);
	m.code = 1;
	cr_expect_eq(wire_nd_parse(&m, 255, &a6, &group, &r), CNT_wire_nd_bad);
	m = (struct wire_icmp){
		.type = WIRE_ICMP6_NA, .word = WIRE_ND_SOLICITED, .body = body, .body_len = 16
	};
	cr_expect_eq(wire_nd_parse(&m, 255, &b6, &a6, &r), CNT_none);
	cr_expect_eq(wire_nd_parse(&m, 255, &b6, &group, &r), CNT_wire_nd_bad);
	m.body_len = 24;
	body[17] = 0;
	cr_expect_eq(wire_nd_parse(&m, 255, &b6, &a6, &r), CNT_wire_nd_bad);
}

/* ---- TCP */

static struct wire_tcp tcp_full(void)
{
	return (struct wire_tcp){
		.sport = 1,
		.dport = 2,
		.seq = 3,
		.ack = 4,
		.wnd = 5,
		.urg = 6,
		.flags = TCP_SYN | TCP_ACK,
		.opts = TCP_OPT_MSS | TCP_OPT_WSCALE | TCP_OPT_SACK_OK | TCP_OPT_TS | TCP_OPT_TFO,
		.mss = 1460,
		.wscale = 7,
		.tsval = 11,
		.tsecr = 12,
		.tfo_len = 8,
		.tfo = { 1, 2, 3, 4, 5, 6, 7, 8 },
	};
}

Test(wire_tcp, round_trip__all_options)
{
	struct wire_tcp s = tcp_full(), r;
	uint8_t b[64];
	unsigned int n = wire_tcp_emit(&s, b);

	cr_expect_eq(n, wire_tcp_hdr_len(&s));
	cr_assert_eq(wire_tcp_parse(b, n, &r), CNT_none);
	cr_expect_eq(r.opts, s.opts);
	cr_expect(r.mss == 1460 && r.wscale == 7 && r.tsval == 11 && r.tsecr == 12);
	cr_expect(r.tfo_len == 8 && memcmp(r.tfo, s.tfo, 8) == 0);
	cr_expect(r.seq == 3 && r.ack == 4 && r.wnd == 5 && r.urg == 6 && r.flags == s.flags);
}

Test(wire_tcp, round_trip__sack_takes_what_room_is_left)
{
	struct wire_tcp s = { .sport = 1,
			      .dport = 2,
			      .flags = TCP_ACK,
			      .opts = TCP_OPT_TS | TCP_OPT_SACK,
			      .nsack = 4,
			      .sack = { { 1, 2 }, { 3, 4 }, { 5, 6 }, { 7, 8 } } },
			r;
	uint8_t b[64];
	unsigned int n = wire_tcp_emit(&s, b);

	cr_expect_eq(n, 60);
	cr_assert_eq(wire_tcp_parse(b, n, &r), CNT_none);
	cr_expect_eq(r.nsack, 3);
	s.opts = TCP_OPT_SACK;
	n = wire_tcp_emit(&s, b);
	cr_expect_eq(n, 56);
	cr_assert_eq(wire_tcp_parse(b, n, &r), CNT_none);
	cr_expect(r.nsack == 4 && r.sack[3].left == 7 && r.sack[3].right == 8);
}

Test(wire_tcp, wire_tcp_parse__refusals)
{
	struct wire_tcp s = { .sport = 1, .dport = 2, .flags = TCP_ACK }, r;
	uint8_t b[40] = { 0 };

	wire_tcp_emit(&s, b);
	cr_expect_eq(wire_tcp_parse(b, 19, &r), CNT_wire_tcp_short);
	b[12] = 0x40;
	cr_expect_eq(wire_tcp_parse(b, 20, &r), CNT_wire_tcp_offset);
	b[12] = 0x60;
	cr_expect_eq(wire_tcp_parse(b, 20, &r), CNT_wire_tcp_offset);
	b[12] = 0x50;
	for (int flags = 0; flags < 256; flags++) {
		bool syn = flags & TCP_SYN, bad = !(flags & 0x17) || (syn && flags & 0x05);

		b[13] = (uint8_t)flags;
		cr_expect_eq(wire_tcp_parse(b, 20, &r) == CNT_none, !bad, "flags %#x", flags);
	}
	b[13] = TCP_ACK;
	b[0] = b[1] = 0;
	cr_expect_eq(wire_tcp_parse(b, 20, &r), CNT_wire_tcp_port);
}

Test(wire_tcp, wire_tcp_parse__options)
{
	static const struct {
		const char *bytes; /* 8 of them */
		enum counter why;
		uint8_t opts;
	} cases[] = {
		{ "\x01\x01\x01\x01\x01\x01\x01\x01", CNT_none, 0 },
		{ "\x00\x02\x04\x05\xb4\x00\x00\x00", CNT_none, 0 },
		{ "\x02\x04\x05\xb4\x00\x00\x00\x00", CNT_none, TCP_OPT_MSS },
		{ "\x02\x03\x05\xb4\x00\x00\x00\x00", CNT_wire_tcp_options, 0 },
		{ "\x03\x03\x20\x00\x00\x00\x00\x00", CNT_none, TCP_OPT_WSCALE },
		{ "\x03\x02\x00\x00\x00\x00\x00\x00", CNT_wire_tcp_options, 0 },
		{ "\x04\x02\x00\x00\x00\x00\x00\x00", CNT_none, TCP_OPT_SACK_OK },
		{ "\x04\x03\x00\x00\x00\x00\x00\x00", CNT_wire_tcp_options, 0 },
		{ "\x05\x06\x00\x00\x00\x00\x00\x00", CNT_none, 0 },
		{ "\x08\x08\x00\x00\x00\x00\x00\x00", CNT_wire_tcp_options, 0 },
		{ "\x4d\x08\x00\x00\x00\x00\x00\x00", CNT_none, 0 },
		{ "\x4d\x09\x00\x00\x00\x00\x00\x00", CNT_wire_tcp_options, 0 },
		{ "\x4d\x01\x00\x00\x00\x00\x00\x00", CNT_wire_tcp_options, 0 },
		{ "\x01\x01\x01\x01\x01\x01\x01\x02", CNT_wire_tcp_options, 0 },
		{ "\x22\x02\x00\x00\x00\x00\x00\x00", CNT_none, TCP_OPT_TFO },
		{ "\x22\x06\x01\x02\x03\x04\x00\x00", CNT_none, TCP_OPT_TFO },
		{ "\x22\x04\x01\x02\x00\x00\x00\x00", CNT_none, 0 },
		{ "\x22\x07\x01\x02\x03\x04\x05\x00", CNT_none, 0 },
	};
	struct wire_tcp s = { .sport = 1, .dport = 2, .flags = TCP_ACK }, r;
	uint8_t b[40];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		wire_tcp_emit(&s, b);
		b[12] = 0x70;
		memcpy(b + 20, cases[i].bytes, 8);
		cr_expect_eq(wire_tcp_parse(b, 28, &r), cases[i].why, "case %zu", i);
		if (cases[i].why == CNT_none)
			cr_expect_eq(r.opts, cases[i].opts, "case %zu", i);
	}
	b[12] = 0x70;
	memcpy(b + 20, "\x03\x03\x20\x03\x03\x05\x00\x00", 8);
	cr_expect_eq(wire_tcp_parse(b, 28, &r), CNT_none);
	cr_expect_eq(r.wscale, 14, "the first counts, and is at most 14");
}

Test(wire_tcp, checksum__set_verified_and_offloaded)
{
	uint8_t payload[] = "hello, world", b[64];
	struct wire_tcp s = { .sport = 1,
			      .dport = 2,
			      .flags = TCP_ACK,
			      .len = 12,
			      .niov = 2,
			      .iov = { { payload, 5, NULL }, { payload + 5, 7, NULL } } };
	union wire_addr src = a4(), dst = wire_addr_v4(2);
	unsigned int n = wire_tcp_emit(&s, b);
	uint16_t csum;

	wire_tcp_csum_set(b, n, &s, &src, &dst);
	memcpy(b + n, payload, 12);
	cr_expect(wire_tcp_csum_ok(b, n + 12, &src, &dst));
	b[n]++;
	cr_expect(!wire_tcp_csum_ok(b, n + 12, &src, &dst));
	b[n]--;
	/* What a device does: sum of all that is there, pseudo header included. */
	wire_tcp_csum_offload(b, n, 12, &src, &dst);
	csum = wire_csum_fold(wire_csum_add(0, b, n + 12));
	memcpy(b + 16, &csum, 2);
	cr_expect(wire_tcp_csum_ok(b, n + 12, &src, &dst));
}
