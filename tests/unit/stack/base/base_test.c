/* base_test.c - sequence numbers, time, lists, hash, counters */
#include <criterion/criterion.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/base/base_counters.h"
#include "stack/base/base_hash.h"
#include "stack/base/base_list.h"
#include "stack/base/base_seq.h"
#include "stack/base/base_time.h"

Test(base_seq, comparisons__wrap)
{
	cr_expect(seq_lt(0xfffffff0u, 5));
	cr_expect(seq_gt(5, 0xfffffff0u));
	cr_expect(seq_le(7, 7) && seq_ge(7, 7));
	cr_expect_eq(seq_diff(5, 0xfffffffbu), 10);
	cr_expect_eq(seq_max(0xfffffff0u, 5), 5);
	cr_expect_eq(seq_min(0xfffffff0u, 5), 0xfffffff0u);
	cr_expect(seq_in(2, 0xfffffffeu, 5) && !seq_in(3, 0xfffffffeu, 5));
	cr_expect(!seq_in(7, 7, 0));
}

Test(base_time, ztime_add__never_stays_never)
{
	cr_expect_eq(ztime_add(ZTIME_NEVER, 1), ZTIME_NEVER);
	cr_expect_eq(ztime_add(ZTIME_NEVER - 5, 6), ZTIME_NEVER);
	cr_expect_eq(ztime_add(5, 6), 11);
	cr_expect_eq(ztime_ms(3), ztime_us(3000));
	cr_expect_eq(ztime_sec(2), ztime_ms(2000));
	cr_expect_eq(ztime_min(3, 4), 3);
	cr_expect_eq(ztime_max(3, 4), 4);
}

Test(base_list, order_and_removal)
{
	struct base_list list, n[3];
	int i = 0;

	base_list_init(&list);
	cr_expect(base_list_empty(&list));
	cr_expect_null(base_list_pop_head(&list));
	base_list_push_tail(&list, &n[1]);
	base_list_push_tail(&list, &n[2]);
	base_list_push_head(&list, &n[0]);
	base_list_for_each(pos, &list) cr_expect_eq(pos, &n[i++]);
	cr_expect_eq(i, 3);
	base_list_remove(&n[1]);
	base_list_remove(&n[1]);
	cr_expect(base_list_empty(&n[1]));
	base_list_for_each_safe(pos, &list) base_list_remove(pos);
	cr_expect(base_list_empty(&list));
}

/* The vectors of the SipHash paper, appendix A, and of its reference program. */
Test(base_hash, base_hash_sip24__published_vectors)
{
	struct base_hash_key key = { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull };
	uint8_t in[64];

	for (int i = 0; i < 64; i++)
		in[i] = (uint8_t)i;
	cr_expect_eq(base_hash_sip24(&key, in, 15), 0xa129ca6149be45e5ull);
	cr_expect_eq(base_hash_sip24(&key, in, 0), 0x726fdb47dd0e0e31ull);
	cr_expect_eq(base_hash_sip24(&key, in, 1), 0x74f839c593dc67fdull);
	cr_expect_eq(base_hash_sip24(&key, in, 8), 0x93f5f5799a932462ull);
}

Test(base_hash, base_hash_sip24_words__equals_bytes)
{
	struct base_hash_key key = { 1, 2 };
	uint64_t words[5] = { 3, 4, 5, 6, ~0ull };

	for (size_t n = 0; n <= 5; n++)
		cr_expect_eq(base_hash_sip24_words(&key, words, n),
			     base_hash_sip24(&key, words, 8 * n));
}

Test(base_counters, each_has_a_name_of_its_own_and_a_sentence)
{
	for (int i = 0; i < CNT_COUNT; i++) {
		cr_expect_gt(strlen(base_counter_text(i)), 10);
		for (int k = 0; k < i; k++)
			cr_expect_str_neq(base_counter_name(i), base_counter_name(k));
	}
	cr_expect_str_eq(base_counter_name(CNT_COUNT), "?");
	cr_expect_str_eq(base_counter_text(CNT_COUNT), "?");
	cr_expect_str_eq(base_counter_name(CNT_wire_tcp_csum), "wire_tcp_csum");
}

Test(base_bytes, round_trip_at_odd_addresses)
{
	uint8_t b[8] = { 0 };

	base_be16_put(b + 1, 0x1234);
	base_be32_put(b + 3, 0x56789abcu);
	cr_expect_eq(memcmp(b, "\x00\x12\x34\x56\x78\x9a\xbc\x00", 8), 0);
	cr_expect_eq(base_be16_get(b + 1), 0x1234);
	cr_expect_eq(base_be32_get(b + 3), 0x56789abcu);
}
