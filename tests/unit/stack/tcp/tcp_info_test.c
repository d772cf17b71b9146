/* tcp_info_test.c - a connection described, and moved from one tcb to another in mid-stream */
#include "tests/unit/stack/tcp/tcp_fix.h"

/* Move the connection of @f into a fresh tcb, bytes and all. */
static int move(struct fix *f)
{
	struct wire_tcp_iov in[8], out[8];
	struct tcp_record rec;
	unsigned n_in, n_out;
	struct tcb to;
	int err;

	err = tcp_record_take(&f->t, &rec, f->now);
	if (err)
		return err;
	n_in = tcp_recv_peek(&f->t, 0, in, 8);
	n_out = tcp_unacked_peek(&f->t, out, 8);
	for (unsigned i = 0; i < n_in; i++)
		f->refs++;
	for (unsigned i = 0; i < n_out; i++)
		f->refs++;
	tcp_init(&to, &f->env);
	err = tcp_record_put(&to, &rec, in, n_in, out, n_out, f->now);
	tcp_free(&f->t);
	f->t = to;
	fix_flush(f);
	return err;
}

Test(tcp_info, record__both_queues_survive_the_move)
{
	struct fix *f = fix_established(.ts = true, .wscale = 3);

	fix_app_sends(f, 3 * FIX_MSS);
	rx(f, SEG(.len = 70));
	drop_tx(f);
	cr_assert_eq(move(f), 0);
	expect_state(f, TCP_ST_ESTABLISHED);
	cr_assert_eq(tcp_readable(&f->t), 70);
	cr_assert_eq(tcp_unacked(&f->t), 3 * FIX_MSS);
	cr_assert_eq(tcp_unsent(&f->t), 0);
	expect_none(f);
	rx(f, SEG(.seq = 70, .ack = 1000, .len = 30));
	cr_assert_eq(tcp_readable(&f->t), 100);
	cr_assert_eq(tcp_unacked(&f->t), 2 * FIX_MSS);
	tick(f, S(1)); /* what was in flight is timed again */
	cr_assert_gt(f->n_out, 0);
	drop_tx(f);
	rx(f, SEG(.seq = 100, .ack = 3000));
	cr_assert_eq(tcp_unacked(&f->t), 0);
	fix_app_sends(f, 10);
	expect_tx(f, SEG(.seq = 3000, .ack = 100, .len = 10));
	fix_end(f);
}

Test(tcp_info, record__unsent_bytes_go_out_at_the_new_place)
{
	struct fix *f = fix_established(.cwnd = 2 * FIX_MSS);

	fix_app_sends(f, 5 * FIX_MSS);
	drop_tx(f);
	cr_assert_eq(move(f), 0);
	cr_assert_eq(tcp_unsent(&f->t), 3 * FIX_MSS);
	rx(f, SEG(.ack = 2000));
	expect_tx(f, SEG(.seq = 2000, .len = FIX_MSS));
	drop_tx(f);
	fix_end(f);
}

Test(tcp_info, record__half_closed_states_move_too)
{
	struct fix *f = fix_established();

	fix_app_sends(f, 10);
	tcp_shutdown_send(&f->t, f->now);
	fix_flush(f);
	drop_tx(f);
	cr_assert_eq(move(f), 0);
	expect_state(f, TCP_ST_FIN_WAIT_1);
	rx(f, SEG(.ack = 11));
	expect_state(f, TCP_ST_FIN_WAIT_2);
	cr_assert_eq(move(f), 0);
	rx(f, SEG(.ack = 11, .flags = TCP_FIN));
	expect_state(f, TCP_ST_TIME_WAIT);
	cr_assert_eq(move(f), -EAGAIN);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_info, record__peers_fin_is_remembered)
{
	struct fix *f = fix_established();

	rx(f, SEG(.len = 10, .flags = TCP_FIN));
	drop_tx(f);
	cr_assert_eq(move(f), 0);
	expect_state(f, TCP_ST_CLOSE_WAIT);
	cr_assert_eq(tcp_readable(&f->t), 10);
	fix_app_reads(f, 10);
	cr_assert(tcp_eof(&f->t));
	fix_app_sends(f, 10);
	expect_tx(f, SEG(.seq = 0, .ack = 11, .len = 10));
	fix_end(f);
}

Test(tcp_info, record__nonsense_is_refused_and_nothing_is_taken)
{
	struct fix *f = fix_established();
	struct tcp_record rec;
	struct wire_tcp_iov iov = { (const uint8_t *)"x", 1, f };
	uint32_t made[TCP_MEM_COUNT];
	struct tcb to;

	fix_app_sends(f, 100);
	drop_tx(f);
	cr_assert_eq(tcp_record_take(&f->t, &rec, f->now), 0);
	tcp_init(&to, &f->env);
	cr_assert_eq(tcp_record_put(&to, &rec, NULL, 0, &iov, 1, f->now),
		     -EINVAL); /* too few bytes */
	rec.snd_wscale = 15;
	cr_assert_eq(tcp_record_put(&to, &rec, NULL, 0, &iov, 1, f->now), -EINVAL);
	rec.snd_wscale = 0;
	rec.snd_nxt = rec.snd_una + 1;
	memcpy(made, f->env.pool.made, sizeof(made)); /* none are left */
	memcpy(f->env.pool.made, f->env.pool.used, sizeof(made));
	f->blocks_left = 0;
	cr_assert_eq(tcp_record_put(&to, &rec, NULL, 0, &iov, 1, f->now), -ENOBUFS);
	cr_assert_eq(tcp_state(&to), TCP_ST_CLOSED);
	f->blocks_left = -1;
	memcpy(f->env.pool.made, made, sizeof(made));
	fix_end(f);
}

Test(tcp_info, info__tells_what_is)
{
	struct fix *f = fix_established(.wscale = 4);
	struct tcp_info_rec i;

	fix_app_sends(f, 3 * FIX_MSS);
	rx(f, SEG(.ack = 0, .sack = { { 1000, 2000 } }));
	drop_tx(f);
	tcp_info(&f->t, &i);
	cr_assert_eq(i.state, TCP_ST_ESTABLISHED);
	cr_assert_eq(i.mss, FIX_MSS);
	cr_assert_eq(i.sacked, FIX_MSS);
	cr_assert_eq(i.unacked, 3 * FIX_MSS);
	cr_assert_eq(i.pipe, 2 * FIX_MSS);
	cr_assert_eq(i.snd_wscale, 4);
	cr_assert_str_eq(i.cc, "reno");
	cr_assert_str_eq(i.loss, "rack");
	fix_end(f);
}
