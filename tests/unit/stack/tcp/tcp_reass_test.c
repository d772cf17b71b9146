/* tcp_reass_test.c - text into its place; islands, D-SACK, limits */
#include "tests/unit/stack/tcp/tcp_fix.h"

/*  0    100    200    300    400
 *  |     |######|      |######|        two islands, the newest first in the SACK option
 */
Test(tcp_reass, islands__are_reported_newest_first)
{
	struct fix *f = fix_established();

	rx(f, SEG(.seq = 100, .len = 100));
	expect_tx(f, SEG(.ack = 0, .sack = { { 100, 200 } }));
	rx(f, SEG(.seq = 300, .len = 100));
	expect_tx(f, SEG(.ack = 0, .sack = { { 300, 400 }, { 100, 200 } }));
	rx(f, SEG(.seq = 200, .len = 50));
	expect_tx(f, SEG(.ack = 0, .sack = { { 100, 250 }, { 300, 400 } }));
	cr_assert_eq(tcp_readable(&f->t), 0);
	fix_end(f);
}

/*  |######|      |######|
 *     |##############|          one segment joins both: only its middle is new
 */
Test(tcp_reass, islands__join_when_the_gap_fills)
{
	struct fix *f = fix_established();

	rx(f, SEG(.seq = 100, .len = 100));
	rx(f, SEG(.seq = 300, .len = 100));
	drop_tx(f);
	rx(f, SEG(.seq = 150, .len = 200));
	expect_tx(f, SEG(.ack = 0, .sack = { { 150, 200 }, { 100, 400 } })); /* D-SACK first */
	rx(f, SEG(.seq = 0, .len = 100));
	expect_tx(f, SEG(.ack = 400));
	cr_assert_eq(tcp_readable(&f->t), 400);
	cr_assert_null(f->t.ooo);
	fix_end(f);
}

Test(tcp_reass, islands__a_segment_that_covers_one_replaces_it)
{
	struct fix *f = fix_established();

	rx(f, SEG(.seq = 200, .len = 50));
	drop_tx(f);
	rx(f, SEG(.seq = 100, .len = 300));
	expect_tx(f, SEG(.ack = 0, .sack = { { 100, 400 } }));
	cr_assert_eq(tcp_ooo_bytes(&f->t), 300);
	fix_end(f);
}

Test(tcp_reass, islands__are_limited_in_number)
{
	struct fix *f = fix_established();

	for (uint32_t i = 1; i <= TCP_OOO_RANGES_MAX + 5; i++)
		rx(f, SEG(.seq = 20 * i, .len = 10));
	cr_assert_eq(f->why, CNT_tcp_ooo_ranges);
	cr_assert_eq(f->env.pool.used[TCP_MEM_RANGE], TCP_OOO_RANGES_MAX);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_reass, dust__cannot_pin_more_blocks_than_the_limit)
{
	struct fix *f = fix_established(.rcvbuf = 60000);
	uint32_t n = 0;

	while (rx(f, SEG(.seq = n, .len = 1)) == CNT_none)
		n++;
	cr_assert_eq(f->why, CNT_tcp_rcv_full);
	cr_assert_eq(n, 60000 / 256);
	cr_assert_eq(tcp_readable(&f->t), n);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_reass, dust__out_of_order_gives_way_to_what_is_next)
{
	struct fix *f = fix_established(.rcvbuf = 4096); /* 128 blocks */

	for (uint32_t i = 0; i < 40; i++)
		for (uint32_t k = 0; k < 4; k++)
			rx(f, SEG(.seq = 1000 + 40 * i + 5 * k, .len = 5));
	drop_tx(f);
	cr_assert_eq(f->t.rcv_chunks, 128);
	cr_assert_eq(rx(f, SEG(.seq = 0, .len = 100)), CNT_none);
	cr_assert_eq(tcp_readable(&f->t), 100);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_reass, memory__no_block_means_dropped_and_sent_again)
{
	struct fix *f = fix_established();

	f->blocks_left = 0;
	cr_assert_eq(rx(f, SEG(.len = 100)), CNT_tcp_rcv_memory);
	expect_tx(f, SEG(.ack = 0));
	f->blocks_left = -1;
	cr_assert_eq(rx(f, SEG(.len = 100)), CNT_none);
	cr_assert_eq(tcp_readable(&f->t), 100);
	fix_end(f);
}

Test(tcp_reass, duplicate__the_island_around_it_follows)
{
	struct fix *f = fix_established();

	rx(f, SEG(.seq = 100, .len = 100));
	rx(f, SEG(.seq = 300, .len = 100));
	drop_tx(f);
	cr_assert_eq(rx(f, SEG(.seq = 120, .len = 30)), CNT_tcp_rcv_known);
	expect_tx(f, SEG(.ack = 0, .sack = { { 120, 150 }, { 100, 200 }, { 300, 400 } }));
	fix_end(f);
}

Test(tcp_reass, filling_a_hole__is_acknowledged_at_once)
{
	struct fix *f = fix_established();

	rx(f, SEG(.seq = 100, .len = 100));
	drop_tx(f);
	rx(f, SEG(.seq = 0, .len = 50));
	expect_tx(f, SEG(.ack = 50, .sack = { { 100, 200 } }));
	fix_end(f);
}

Test(tcp_reass, shut__bytes_are_acknowledged_and_can_be_read)
{
	struct fix *f = fix_established();

	tcp_shutdown_recv(&f->t);
	rx(f, SEG(.len = 100));
	tick(f, MS(50));
	expect_tx(f, SEG(.ack = 100));
	cr_assert_eq(tcp_readable(&f->t), 100);
	fix_end(f);
}

/*         |######|      was there
 *  |######F             says that the stream ends where more of it begins: the FIN counts for nothing
 */
Test(tcp_reass, islands__a_fin_before_known_bytes_does_not_move_behind_them)
{
	struct fix *f = fix_established(.rcvbuf = 8000);

	rx(f, SEG(.seq = 7000, .len = 1000));
	rx(f, SEG(.seq = 6000, .len = 1000, .flags = TCP_FIN));
	drop_tx(f);
	cr_assert_eq(f->t.ooo->right, f->t.rcv_adv);
	cr_assert(!f->t.ooo->fin);
	for (uint32_t i = 0; i < 6; i++)
		rx(f, SEG(.seq = 1000 * i, .len = 1000));
	cr_assert_eq(tcp_readable(&f->t), 8000);
	cr_assert(!tcp_is(&f->t, TCP_F_FIN_RCVD));
	drop_tx(f);
	fix_end(f);
}
