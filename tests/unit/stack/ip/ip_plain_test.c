/* ip_plain_test.c - what is taken for plain is what ip_input() would have found */
#include "stack/ip/ip_plain.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/ip/ip.h"

enum { BODY = 40, FRAME = IP_PLAIN4_L4 + BODY };

static const struct wire_mac us = { { 2, 0, 0, 0, 0, 1 } }, them = { { 2, 0, 0, 0, 0, 2 } };

struct fix {
	struct ip *ip;
	void *mem;
	struct base_counters c;
	union wire_addr local;
	uint8_t frame[IP_PLAIN6_L4 + BODY + 6];
};

static void fix_init(struct fix *f, uint16_t vlan)
{
	struct ip_config cfg;

	memset(f, 0, sizeof(*f));
	ip_config_defaults(&cfg);
	cfg.mac = us;
	cfg.vlan = vlan;
	f->mem = aligned_alloc(64, ip_size(&cfg));
	f->ip = ip_init(f->mem, &cfg, &f->c);
	f->local = wire_addr_v4(0x0a000001);
	cr_assert_eq(ip_addr_add(f->ip, &f->local, 24, ZTIME_SEC), 0);
	memcpy(f->frame, us.b, WIRE_MAC_LEN);
	memcpy(f->frame + WIRE_MAC_LEN, them.b, WIRE_MAC_LEN);
	base_be16_put(f->frame + IP_PLAIN_TYPE, WIRE_ETH_IP4);
	wire_ip4_put(f->frame + WIRE_ETH_LEN, __builtin_bswap32(0x0a000002), f->local.w[3],
		     WIRE_IP4_LEN + BODY, 0, 64, WIRE_PROTO_TCP);
}

static struct wire_frame_in frame_of(const struct fix *f, uint32_t len, uint8_t flags)
{
	return (struct wire_frame_in){ .data = f->frame, .len = len, .flags = flags };
}

static uint32_t plain(const struct fix *f, uint32_t len, uint8_t flags)
{
	struct wire_frame_in in = frame_of(f, len, flags);
	uint32_t bytes;

	return ip_plain4(ip_plain(f->ip), &in, &bytes) && ip_plain4_sum_ok(&in) ? bytes : 0;
}

static uint32_t plain6(const struct fix *f, uint32_t len, uint8_t flags)
{
	struct wire_frame_in in = frame_of(f, len, flags);
	uint32_t bytes;

	return ip_plain6(ip_plain(f->ip), &in, &bytes) ? bytes : 0;
}

/* Whether bit @at is one of the addresses, which end the header, and so is the IPv4 checksum that it breaks. */
static bool ends_turned(unsigned int headers, unsigned int at)
{
	unsigned int addrs = headers == IP_PLAIN4_L4 ? 8 : 32;

	return at / 8 >= headers - addrs && at / 8 < headers;
}

static enum counter input(struct fix *f, uint32_t len, uint8_t flags, struct ip_rx *rx)
{
	struct wire_frame_in in = frame_of(f, len, flags);

	return ip_input(f->ip, &in, rx, ZTIME_SEC);
}

static void fix_end(struct fix *f)
{
	ip_fini(f->ip);
	free(f->mem);
}

static bool fresh(const struct fix *f, const struct ip_hop *hop)
{
	return ip_plain_fresh(ip_plain(f->ip), hop);
}

Test(ip_plain, ip_plain_fresh__until_something_changes_and_never_for_ends_that_are_not_good)
{
	union wire_addr other = wire_addr_v4(0x0a000009);
	struct wire_flow flow;
	struct ip_hop hop = { 0 };
	struct fix f;

	fix_init(&f, WIRE_VLAN_NONE);
	cr_expect_eq(plain(&f, FRAME, 0), BODY);
	cr_expect_eq(plain(&f, FRAME + 6, 0), BODY, "padded");
	flow = (struct wire_flow){ .local = f.local, .remote = wire_addr_v4(0x0a000002) };
	cr_expect_not(fresh(&f, &hop));
	cr_expect_eq(ip_hop_get(f.ip, &flow, &hop, ZTIME_SEC), 0);
	cr_expect(fresh(&f, &hop));
	cr_expect_eq(ip_addr_add(f.ip, &other, 24, ZTIME_SEC), 0);
	cr_expect_not(fresh(&f, &hop), "addresses have changed");
	cr_expect_eq(ip_hop_get(f.ip, &flow, &hop, ZTIME_SEC), 0);
	cr_expect(fresh(&f, &hop));
	cr_expect_eq(ip_addr_remove(f.ip, &f.local), 0);
	cr_expect_eq(ip_hop_get(f.ip, &flow, &hop, ZTIME_SEC), 0);
	cr_expect_not(fresh(&f, &hop), "the local end is ours no more");
	flow = (struct wire_flow){ .local = other, .remote = wire_addr_v4(0x0a0000ff) };
	cr_expect_eq(ip_hop_get(f.ip, &flow, &hop, ZTIME_SEC), 0);
	cr_expect_not(fresh(&f, &hop), "nothing may come from a broadcast address");
	fix_end(&f);
}

Test(ip_plain, ip_plain4__never_where_frames_are_tagged)
{
	struct ip_rx rx;
	struct fix f;

	fix_init(&f, 7);
	cr_expect_eq(input(&f, FRAME, 0, &rx), CNT_wire_eth_vlan);
	cr_expect_eq(plain(&f, FRAME, 0), 0);
	fix_end(&f);
}

/* Every bit of @headers turned, every length, both kinds of device. */
static void every_bit(struct fix *f, unsigned int headers,
		      uint32_t (*judge)(const struct fix *f, uint32_t len, uint8_t flags))
{
	unsigned int taken = 0;
	struct ip_rx rx;

	for (unsigned int bit = 0; bit <= headers * 8; bit++) {
		if (bit < headers * 8)
			f->frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
		for (uint32_t len = 0; len <= headers + BODY + 6; len++) {
			uint8_t flags = len % 2 ? WIRE_FRAME_IP_CSUM_OK : 0;
			uint32_t got = judge(f, len, flags);

			if (!got)
				continue;
			taken++;
			if (ends_turned(headers, bit))
				continue; /* ip_plain_fresh() says that */
			cr_assert_eq(input(f, len, flags, &rx), CNT_none, "bit %u", bit);
			cr_assert_eq(rx.kind, IP_RX_TCP);
			cr_assert_eq(rx.l4, f->frame + headers);
			cr_assert_eq(rx.l4_len, got);
			cr_assert_neq(rx.ecn, 3);
			cr_assert(!rx.joined);
		}
		if (bit < headers * 8)
			f->frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	cr_expect_gt(taken, 100);
}

Test(ip_plain, ip_plain4__whatever_it_takes_ip_input_takes_the_same)
{
	struct fix f;

	fix_init(&f, WIRE_VLAN_NONE);
	every_bit(&f, IP_PLAIN4_L4, plain);
	fix_end(&f);
}

Test(ip_plain, ip_plain6__whatever_it_takes_ip_input_takes_the_same)
{
	union wire_addr us6 = { .b = { 0xfd, [15] = 1 } }, them6 = { .b = { 0xfd, [15] = 2 } };
	struct wire_ip6 ip6 = {
		.src = them6, .dst = us6, .payload_len = BODY, .hops = 64, .proto = WIRE_PROTO_TCP
	};
	struct fix f;

	fix_init(&f, WIRE_VLAN_NONE);
	cr_assert_eq(ip_addr_add(f.ip, &us6, 64, ZTIME_SEC), 0);
	base_be16_put(f.frame + IP_PLAIN_TYPE, WIRE_ETH_IP6);
	wire_ip6_emit(&ip6, f.frame + WIRE_ETH_LEN);
	every_bit(&f, IP_PLAIN6_L4, plain6);
	fix_end(&f);
}
