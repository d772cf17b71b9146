/* dev_xdp_test.c - which unfilled checksums are taken as good */
#include <criterion/criterion.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/dev/dev_xdp.h"
#include "stack/wire/wire_csum.h"

#define FRAME4 (14 + 20 + 20 + 6)
#define FRAME6 (14 + 40 + 20 + 6)

/* The pseudo header's sum, as the kernel leaves it where hardware is to add the rest. */
static void partial_put(uint8_t *tcp, uint64_t pseudo)
{
	uint16_t sum = (uint16_t)(0xffff - wire_csum_fold(pseudo));

	memcpy(tcp + 16, &sum, sizeof(sum));
}

static void frame4(uint8_t f[FRAME4])
{
	static const uint8_t ip[20] = { 0x45, 0, 0,  46, 0, 0, 0x40, 0, 64, 6,
					0,    0, 10, 9,  0, 1, 10,   9, 0,  2 };

	memset(f, 0x5a, FRAME4);
	f[12] = 0x08;
	f[13] = 0;
	memcpy(f + 14, ip, sizeof(ip));
	partial_put(f + 34, wire_csum_pseudo4(base_word32(f + 26), base_word32(f + 30), 6, 26));
}

static void frame6(uint8_t f[FRAME6])
{
	union wire_addr src, dst;

	memset(f, 0x5a, FRAME6);
	f[12] = 0x86;
	f[13] = 0xdd;
	f[14] = 0x60;
	f[18] = 0;
	f[19] = 26;
	f[20] = 6;
	src = wire_addr_v6_bytes(f + 22);
	dst = wire_addr_v6_bytes(f + 38);
	partial_put(f + 54, wire_csum_pseudo6(&src, &dst, 6, 26));
}

Test(dev_xdp, the_pseudo_headers_sum_alone_is_good)
{
	uint8_t f4[FRAME4], f6[FRAME6];

	frame4(f4);
	cr_expect(dev_xdp_csum_ok(f4, sizeof(f4)));
	frame6(f6);
	cr_expect(dev_xdp_csum_ok(f6, sizeof(f6)));
	f4[40] ^= 1; /* payload and header may be anything: nobody has summed them */
	cr_expect(dev_xdp_csum_ok(f4, sizeof(f4)));
}

Test(dev_xdp, anything_else_is_left_to_be_verified)
{
	uint8_t f[FRAME4];

	for (unsigned int bit = 0; bit < 16; bit++) {
		frame4(f);
		f[34 + 16 + bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_expect_not(dev_xdp_csum_ok(f, sizeof(f)), "bit %u", bit);
	}
	frame4(f);
	f[29]++; /* another address */
	cr_expect_not(dev_xdp_csum_ok(f, sizeof(f)));
	frame4(f);
	f[23] = 17; /* not TCP */
	cr_expect_not(dev_xdp_csum_ok(f, sizeof(f)));
	frame4(f);
	f[12] = 0x81; /* tagged */
	cr_expect_not(dev_xdp_csum_ok(f, sizeof(f)));
}

Test(dev_xdp, no_frame_is_read_behind_its_end)
{
	uint8_t f4[FRAME4], f6[FRAME6];

	frame4(f4);
	frame6(f6);
	for (uint32_t len = 0; len < sizeof(f4); len++) {
		uint8_t *part = malloc(len ? len : 1);

		memcpy(part, f4, len);
		cr_expect_not(dev_xdp_csum_ok(part, len), "%u bytes", len);
		free(part);
	}
	for (uint32_t len = 0; len < sizeof(f6); len++)
		cr_expect_not(dev_xdp_csum_ok(f6, len), "%u bytes", len);
}
