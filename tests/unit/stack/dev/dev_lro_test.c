/* dev_lro_test.c - where a long packet is cut, its segments are what the sender meant; what is not exactly one is refused */
#include <criterion/criterion.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/dev/dev_lro.h"
#include "stack/wire/wire_eth.h"
#include "stack/wire/wire_ip4.h"

#define L4_4    (14 + 20)
#define L4_6    (14 + 40)
#define OPTIONS 12 /* timestamps */
#define SEQ     0xfffffff0u
#define WHOLE   20000u
#define FIRST   1000u /* of it in the first piece */
#define ALL     (TCP_ACK | TCP_PSH | TCP_FIN | TCP_ECE | TCP_CWR)

static void tcp_fill(uint8_t *l4, uint8_t flags)
{
	memset(l4, 0x11, 20 + OPTIONS);
	base_be32_put(l4 + 4, SEQ);
	l4[12] = (20 + OPTIONS) / 4 << 4;
	l4[13] = flags;
}

static void packet4(uint8_t f[FIRST], uint8_t flags)
{
	static const uint8_t ip[20] = { 0x45, 0, 0,  0, 0, 0, 0x40, 0, 64, 6,
					0,    0, 10, 9, 0, 1, 10,   9, 0,  2 };

	memset(f, 0x5a, FIRST);
	base_be16_put(f + 12, WIRE_ETH_IP4);
	memcpy(f + 14, ip, sizeof(ip));
	wire_ip4_len_set(f + 14, WHOLE - 14);
	tcp_fill(f + L4_4, flags);
}

static void packet6(uint8_t f[FIRST], uint8_t flags)
{
	memset(f, 0x5a, FIRST);
	base_be16_put(f + 12, WIRE_ETH_IP6);
	f[14] = 0x60;
	base_be16_put(f + 18, WHOLE - L4_6);
	f[20] = 6;
	tcp_fill(f + L4_6, flags);
}

static bool start4(const uint8_t *f)
{
	struct dev_lro l;

	return dev_lro_start(&l, f, FIRST, WHOLE, true);
}

static bool start6(const uint8_t *f)
{
	struct dev_lro l;

	return dev_lro_start(&l, f, FIRST, WHOLE, false);
}

/* Pieces of 966 bytes, 10 000 and the rest. */
static void cut(const uint8_t *f, uint32_t l4_at, uint32_t len_at, uint32_t len_from)
{
	const uint32_t hdr = l4_at + 20 + OPTIONS;
	const uint32_t pieces[] = { FIRST - hdr, 10000, WHOLE - FIRST - 10000 };
	const uint8_t flags[] = { TCP_ACK | TCP_ECE | TCP_CWR, TCP_ACK | TCP_ECE,
				  TCP_ACK | TCP_ECE | TCP_PSH | TCP_FIN };
	uint8_t out[WIRE_FRAME_HDR_MAX];
	uint32_t seq = SEQ;
	struct dev_lro l;

	cr_assert(dev_lro_start(&l, f, FIRST, WHOLE, true));
	cr_expect_eq(l.hdr_len, hdr);
	cr_expect_eq(l.len, WHOLE - hdr);
	for (unsigned int i = 0; i < 3; i++) {
		memset(out, 0, sizeof(out));
		dev_lro_next(&l, out, pieces[i]);
		cr_expect_eq(base_be32_get(out + l4_at + 4), seq, "sequence number of piece %u", i);
		cr_expect_eq(base_be16_get(out + len_at), hdr - len_from + pieces[i],
			     "length of piece %u", i);
		cr_expect_eq(out[l4_at + 13], flags[i], "flags of piece %u: %x", i,
			     out[l4_at + 13]);
		cr_expect_arr_eq(out + l4_at + 14, f + l4_at + 14, hdr - l4_at - 14);
		cr_expect_arr_eq(out, f, 14);
		for (uint32_t at = hdr; at < sizeof(out); at++)
			cr_assert_eq(out[at], 0, "written behind the headers");
		seq += pieces[i];
	}
	cr_expect_eq(l.at, l.len);
}

Test(dev_lro, each_piece_has_its_place_and_its_flags)
{
	uint8_t f[FIRST];

	packet4(f, ALL);
	cut(f, L4_4, 16, 14);
	packet6(f, ALL);
	cut(f, L4_6, 18, L4_6);
}

Test(dev_lro, in_place_is_as_elsewhere)
{
	uint8_t f[FIRST], out[WIRE_FRAME_HDR_MAX];
	struct dev_lro a, b;

	packet4(f, ALL);
	cr_assert(dev_lro_start(&a, f, FIRST, WHOLE, true));
	b = a;
	dev_lro_next(&a, out, 900);
	dev_lro_next(&b, f, 900);
	cr_expect_arr_eq(f, out, a.hdr_len);
}

Test(dev_lro, a_sum_that_nobody_has_looked_at_is_verified)
{
	uint8_t f[FIRST];
	struct dev_lro l;

	packet4(f, TCP_ACK);
	f[14 + 8] ^= 1;
	cr_expect(dev_lro_start(&l, f, FIRST, WHOLE, true));
	cr_expect_not(dev_lro_start(&l, f, FIRST, WHOLE, false));
	packet4(f, TCP_ACK);
	memset(f + 14 + 10, 0, 2);
	cr_expect_not(dev_lro_start(&l, f, FIRST, WHOLE, false));
}

Test(dev_lro, lengths_that_do_not_fit_are_refused)
{
	uint8_t f[FIRST];
	struct dev_lro l;

	packet4(f, TCP_ACK);
	for (uint32_t len = 0; len < L4_4 + 20 + OPTIONS; len++)
		cr_expect_not(dev_lro_start(&l, f, len, WHOLE, true), "%u bytes", len);
	cr_expect_not(dev_lro_start(&l, f, FIRST, WHOLE - 1, true));
	cr_expect_not(dev_lro_start(&l, f, FIRST, WHOLE + 1, true), "padding");
	cr_expect_not(dev_lro_start(&l, f, FIRST, FIRST - 1, true));
	packet6(f, TCP_ACK);
	cr_expect_not(dev_lro_start(&l, f, FIRST, WHOLE + 1, true));
	for (unsigned int words = 0; words < 5; words++) {
		packet4(f, TCP_ACK);
		f[L4_4 + 12] = (uint8_t)(words << 4);
		cr_expect_not(start4(f), "a header of %u words", words);
	}
	packet4(f, TCP_ACK); /* headers alone */
	wire_ip4_len_set(f + 14, 20 + 20 + OPTIONS);
	cr_expect_not(dev_lro_start(&l, f, L4_4 + 20 + OPTIONS, L4_4 + 20 + OPTIONS, true));
	packet4(f, TCP_ACK); /* 60 bytes of header, of which 54 are in the piece */
	f[L4_4 + 12] = 0xf0;
	cr_expect_not(dev_lro_start(&l, f, L4_4 + 54, WHOLE, true));
}

Test(dev_lro, what_is_no_plain_segment_of_data_is_refused)
{
	static const uint8_t bad[] = { TCP_SYN | TCP_ACK, TCP_RST | TCP_ACK, TCP_URG | TCP_ACK,
				       TCP_PSH, 0 };
	uint8_t f[FIRST];

	packet4(f, TCP_ACK);
	cr_expect(start4(f));
	packet6(f, TCP_ACK);
	cr_expect(start6(f));
	for (unsigned int i = 0; i < sizeof(bad); i++) {
		packet4(f, bad[i]);
		cr_expect_not(start4(f), "flags %x", bad[i]);
	}
	packet4(f, TCP_ACK);
	base_be16_put(f + 12, WIRE_ETH_VLAN);
	cr_expect_not(start4(f));
	packet4(f, TCP_ACK);
	f[14] = 0x46; /* options */
	cr_expect_not(start4(f));
	packet4(f, TCP_ACK);
	f[14 + 6] = 0x20; /* more fragments */
	cr_expect_not(start4(f));
	packet4(f, TCP_ACK);
	f[14 + 7] = 1; /* a later one */
	cr_expect_not(start4(f));
	packet4(f, TCP_ACK);
	f[14 + 9] = 17;
	cr_expect_not(start4(f));
	packet6(f, TCP_ACK);
	f[20] = 44;
	cr_expect_not(start6(f));
	packet6(f, TCP_ACK);
	f[14] = 0x40;
	cr_expect_not(start6(f));
}
