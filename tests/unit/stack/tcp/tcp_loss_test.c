/* tcp_loss_test.c - RACK, RFC 6675, NewReno; PRR, undo, timeout, tail loss probe */
#include "tests/unit/stack/tcp/tcp_fix.h"

/* Ten segments out, ten milliseconds of round trip. */
static struct fix *ten_out(struct fix_opt o)
{
	struct fix *f = fix_established_opt(o);

	fix_app_sends(f, 10 * FIX_MSS);
	cr_assert_eq(f->n_out, 10);
	drop_tx(f);
	tick(f, MS(10));
	return f;
}

#define ten(...) ten_out((struct fix_opt){ __VA_ARGS__ })

Test(tcp_loss, rack__third_sacked_segment_starts_recovery)
{
	struct fix *f = ten(.cwnd = 10 * FIX_MSS);

	rx(f, SEG(.ack = 0, .sack = { { 1000, 2000 } }));
	rx(f, SEG(.ack = 0, .sack = { { 1000, 3000 } }));
	cr_assert_eq(f->t.ca_state, TCP_CA_OPEN);
	expect_none(f);
	rx(f, SEG(.ack = 0, .sack = { { 1000, 4000 } }));
	cr_assert_eq(f->t.ca_state, TCP_CA_RECOVERY);
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	cr_assert_eq(f->t.cc.ssthresh, 5 * FIX_MSS);
	fix_end(f);
}

Test(tcp_loss, rack__waits_a_quarter_rtt_when_the_network_reorders)
{
	struct fix *f = ten(.cwnd = 10 * FIX_MSS);

	f->t.flags |= TCP_F_REORDER;
	rx(f, SEG(.ack = 0, .sack = { { 1000, 6000 } }));
	expect_none(f);
	cr_assert_eq(f->t.xmit_mode, TCP_XMIT_REO);
	tick(f, MS(2)); /* a quarter of 10 ms is not over */
	expect_none(f);
	tick(f, MS(1));
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	fix_end(f);
}

Test(tcp_loss, rack__a_lost_retransmission_is_seen)
{
	struct fix *f = ten(.cwnd = 10 * FIX_MSS);

	rx(f, SEG(.ack = 0, .sack = { { 1000, 5000 } }));
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	rx(f, SEG(.ack = 0, .sack = { { 1000, 9000 } }));
	drop_tx(f);
	fix_app_sends(f, 5 * FIX_MSS); /* what PRR allows goes out after the retransmission */
	rx_at(f, MS(10), SEG(.ack = 0, .sack = { { 1000, 10000 } }));
	drop_tx(f);
	fix_app_sends(f, 5 * FIX_MSS);
	rx_at(f, MS(15), SEG(.ack = 0, .sack = { { 1000, f->t.snd_nxt - FIX_ISS - 1 } }));
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS)); /* again, without waiting for the timer */
	drop_tx(f);
	cr_assert_eq(f->cnt.n[CNT_tcp_rto], 0);
	fix_end(f);
}

Test(tcp_loss, rack__recovery_ends_at_the_recovery_point)
{
	struct fix *f = ten(.cwnd = 10 * FIX_MSS);

	rx(f, SEG(.ack = 0, .sack = { { 1000, 4000 } }));
	drop_tx(f);
	rx(f, SEG(.ack = 0, .sack = { { 1000, 10000 } }));
	cr_assert_eq(f->t.ca_state, TCP_CA_RECOVERY);
	rx_at(f, MS(10), SEG(.ack = 10000));
	cr_assert_eq(f->t.ca_state, TCP_CA_OPEN);
	cr_assert_eq(f->t.cc.cwnd, 5 * FIX_MSS);
	cr_assert_null(f->t.loss); /* nothing in flight: its block is back */
	fix_end(f);
}

Test(tcp_loss, prr__sends_one_segment_for_two_delivered)
{
	struct fix *f = fix_established(.cwnd = 20 * FIX_MSS);
	unsigned before;

	fix_app_sends(f, 40 * FIX_MSS);
	drop_tx(f);
	rx_at(f, MS(10), SEG(.ack = 0, .sack = { { 1000, 4000 } }));
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	drop_tx(f);
	before = f->t.retransmits;
	for (uint32_t i = 5; i <= 14; i++)
		rx(f, SEG(.ack = 0, .sack = { { 1000, i * 1000 } }));
	/* 14 delivered in all, reduction to one half: seven sent, the retransmission among them. */
	cr_assert_geq(f->n_out - f->i_out, 5);
	cr_assert_leq(f->n_out - f->i_out, 7);
	cr_assert_eq(f->t.retransmits, before);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_loss, sack__three_segments_above_without_any_clock)
{
	struct fix *f = ten(.loss = &tcp_loss_sack, .cwnd = 10 * FIX_MSS);

	rx(f, SEG(.ack = 0, .sack = { { 2000, 4000 } }));
	expect_none(f);
	rx(f, SEG(.ack = 0, .sack = { { 2000, 5000 } }));
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	rx(f, SEG(.ack = 0, .sack = { { 2000, 8000 } }));
	expect_tx(f, SEG(.seq = 1000, .len = FIX_MSS));
	drop_tx(f);
	fix_end(f);
}

Test(tcp_loss, newreno__third_duplicate_then_one_hole_per_partial_ack)
{
	struct fix *f = ten(.no_sack = true, .cwnd = 10 * FIX_MSS);

	rx(f, SEG(.ack = 0));
	rx(f, SEG(.ack = 0));
	expect_none(f);
	rx(f, SEG(.ack = 0));
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	expect_none(f);
	rx(f, SEG(.ack = 3000)); /* partial: segment 3 is missing too */
	expect_tx(f, SEG(.seq = 3000, .len = FIX_MSS));
	rx(f, SEG(.ack = 10000));
	cr_assert_eq(f->t.ca_state, TCP_CA_OPEN);
	cr_assert_eq(f->t.retransmits, 2);
	fix_end(f);
}

Test(tcp_loss, newreno__limited_transmit_sends_new_data_on_the_first_two)
{
	struct fix *f = fix_established(.no_sack = true, .cwnd = 4 * FIX_MSS);

	fix_app_sends(f, 10 * FIX_MSS);
	drop_tx(f);
	tick(f, MS(10));
	rx(f, SEG(.ack = 0));
	expect_tx(f, SEG(.seq = 4000, .len = FIX_MSS));
	rx(f, SEG(.ack = 0));
	expect_tx(f, SEG(.seq = 5000, .len = FIX_MSS));
	drop_tx(f);
	fix_end(f);
}

Test(tcp_loss, newreno__window_changes_are_no_duplicates)
{
	struct fix *f = ten(.no_sack = true);

	for (uint16_t i = 0; i < 5; i++)
		rx(f, SEG(.ack = 0, .wnd = (uint16_t)(40000 + i)));
	expect_none(f);
	cr_assert_eq(f->t.ca_state, TCP_CA_OPEN);
	fix_end(f);
}

Test(tcp_loss, timeout__one_segment_then_slow_start)
{
	struct fix *f = ten(.cwnd = 10 * FIX_MSS, .no_sack = true);

	tick(f, S(1));
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	cr_assert_eq(f->t.cc.cwnd, FIX_MSS);
	cr_assert_eq(f->t.cc.ssthresh, 5 * FIX_MSS);
	drop_tx(f);
	rx(f, SEG(.ack = 1000));
	expect_tx(f, SEG(.seq = 1000, .len = FIX_MSS));
	expect_tx(f, SEG(.seq = 2000, .len = FIX_MSS));
	fix_end(f);
}

Test(tcp_loss, timeout__sacked_runs_are_not_sent_again)
{
	struct fix *f = ten(.cwnd = 10 * FIX_MSS);

	rx(f, SEG(.ack = 0, .sack = { { 1000, 3000 } }));
	tick(f, S(2));
	drop_tx(f);
	rx(f, SEG(.ack = 3000));
	expect_tx(f, SEG(.seq = 3000, .len = FIX_MSS));
	drop_tx(f);
	fix_end(f);
}

Test(tcp_loss, timeout__reneging_is_noticed)
{
	struct fix *f = ten(.cwnd = 10 * FIX_MSS);

	rx(f, SEG(.ack = 0, .sack = { { 1000, 3000 } }));
	rx(f, SEG(.ack = 1000)); /* and not 3000: it has thrown them away */
	tick(f, S(3));
	cr_assert_eq(f->cnt.n[CNT_tcp_reneged], 1);
	drop_tx(f);
	rx(f, SEG(.ack = 1000));
	cr_assert_eq(f->t.loss->sacked_bytes, 0);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_loss, undo__dsack_of_every_retransmission_takes_it_back)
{
	struct fix *f = ten(.cwnd = 10 * FIX_MSS);

	rx(f, SEG(.ack = 0, .sack = { { 1000, 4000 } }));
	expect_tx(f, SEG(.seq = 0, .len = FIX_MSS));
	cr_assert_eq(f->t.cc.ssthresh, 5 * FIX_MSS);
	rx(f, SEG(.ack = 4000)); /* it had only been late */
	rx(f, SEG(.ack = 4000, .sack = { { 0, 1000 } }));
	cr_assert_eq(f->cnt.n[CNT_tcp_undo], 1);
	cr_assert_eq(f->t.cc.ssthresh, UINT32_MAX);
	cr_assert_geq(f->t.cc.cwnd, 10 * FIX_MSS);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_loss, undo__timestamp_shows_that_the_original_arrived)
{
	struct fix *f = fix_established(.ts = true, .cwnd = 4 * FIX_MSS);
	uint32_t first;

	fix_app_sends(f, 4 * FIX_MSS);
	first = f->out[0].tsval;
	drop_tx(f);
	tick(f, S(1));
	cr_assert_geq(f->cnt.n[CNT_tcp_rto], 1);
	drop_tx(f);
	rx(f, SEG(.ack = 1000, .tsval = FIX_TS0 + 2000, .tsecr = first));
	cr_assert_eq(f->cnt.n[CNT_tcp_undo], 1);
	cr_assert_eq(f->t.ca_state, TCP_CA_OPEN);
	cr_assert_geq(f->t.cc.cwnd, 4 * FIX_MSS);
	cr_assert_eq(f->t.loss->lost_bytes, 0);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_loss, tlp__repeats_the_last_segment_after_two_rtts)
{
	struct fix *f = fix_established(.cwnd = 10 * FIX_MSS);

	fix_app_sends(f, 3 * FIX_MSS);
	drop_tx(f);
	cr_assert_eq(f->t.xmit_mode, TCP_XMIT_TLP);
	tick(f, MS(199));
	expect_none(f);
	tick(f, MS(2));
	expect_tx(f, SEG(.seq = 2000, .len = FIX_MSS));
	cr_assert_eq(f->t.xmit_mode, TCP_XMIT_RTO);
	cr_assert_eq(f->t.cc.cwnd, 10 * FIX_MSS);
	fix_end(f);
}

Test(tcp_loss, tlp__prefers_new_data)
{
	struct fix *f = fix_established(.cwnd = 3 * FIX_MSS);

	fix_app_sends(f, 4 * FIX_MSS);
	drop_tx(f);
	tick(f, MS(201));
	expect_tx(f, SEG(.seq = 3000, .len = FIX_MSS)); /* beyond cwnd, once */
	fix_end(f);
}

Test(tcp_loss, tlp__a_repaired_loss_is_told_to_congestion_control)
{
	struct fix *f = fix_established(.cwnd = 10 * FIX_MSS);

	fix_app_sends(f, 3 * FIX_MSS);
	tick(f, MS(201));
	drop_tx(f);
	rx(f, SEG(.ack = 3000)); /* the original or the probe? */
	fix_app_sends(f, FIX_MSS);
	drop_tx(f);
	rx(f, SEG(.ack = 4000)); /* no D-SACK came: the probe */
	cr_assert_eq(f->cnt.n[CNT_tcp_tlp_recovered], 1);
	fix_end(f);
}

Test(tcp_loss, tlp__a_needless_probe_costs_nothing)
{
	struct fix *f = fix_established(.cwnd = 10 * FIX_MSS);

	fix_app_sends(f, 3 * FIX_MSS);
	tick(f, MS(201));
	drop_tx(f);
	rx(f, SEG(.ack = 3000));
	rx(f, SEG(.ack = 3000, .sack = { { 2000, 3000 } })); /* D-SACK */
	fix_app_sends(f, FIX_MSS);
	drop_tx(f);
	rx(f, SEG(.ack = 4000));
	cr_assert_eq(f->cnt.n[CNT_tcp_tlp_recovered], 0);
	cr_assert_eq(f->t.cc.ssthresh, UINT32_MAX);
	fix_end(f);
}

/* RFC 8985 7.4.2: only a duplicate of the probe shows that it was needless. */
Test(tcp_loss, tlp__another_duplicate_says_nothing_of_the_probe)
{
	struct fix *f = fix_established(.cwnd = 10 * FIX_MSS);

	fix_app_sends(f, 3 * FIX_MSS);
	tick(f, MS(201));
	drop_tx(f);
	rx(f, SEG(.ack = 3000));
	rx(f, SEG(.ack = 3000, .sack = { { 0, 1000 } }));
	fix_app_sends(f, FIX_MSS);
	drop_tx(f);
	rx(f, SEG(.ack = 4000));
	cr_assert_eq(f->cnt.n[CNT_tcp_tlp_recovered], 1);
	fix_end(f);
}
