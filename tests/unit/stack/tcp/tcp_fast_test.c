/* tcp_fast_test.c - requests and answers the short way: what TCP_XMIT_LONE and TCP_XMIT_QUIET stand for, and who ends them
 *
 * That the short way sends what the complete one would have sent is shown by sim_tcp, which plays every run both ways.
 */
#include "tests/unit/stack/tcp/tcp_fix.h"

/* The application sends @len bytes the short way. Return: whether it was at hand. */
static bool fast_send(struct fix *f, uint32_t len)
{
	static const uint8_t bytes[FIX_MSS];
	struct wire_tcp_iov iov = { bytes, len, NULL };
	uint8_t l4[WIRE_TCP_HDR_MAX];

	cr_assert_eq(tcp_send(&f->t, &iov, 0, f->now), len);
	return tcp_fast_output(&f->t, l4, &iov, f->now);
}

/* The peer's segment comes in the short way. Return: whether it was at hand. */
static bool fast_rx(struct fix *f, uint32_t seq, uint32_t ack, uint32_t len)
{
	struct wire_tcp seg = { .flags = TCP_ACK | TCP_PSH,
				.seq = FIX_IRS + 1 + seq,
				.ack = FIX_ISS + 1 + ack,
				.wnd = 50000,
				.sport = 80,
				.dport = 1000 };
	uint8_t l4[WIRE_TCP_HDR_MAX + FIX_MSS] = { 0 };
	unsigned int hdr = wire_tcp_emit(&seg, l4);

	return tcp_fast_input(&f->t, l4, hdr + len, l4 + hdr, NULL, f->now);
}

/* After a first exchange of the complete way, which leaves blocks for the short one, [10, 110) is under way. */
static struct fix *lone(void)
{
	struct fix *f = fix_established(.cwnd = 10 * FIX_MSS);

	fix_app_sends(f, 5);
	fix_app_sends(f, 5);
	rx_at(f, MS(100), SEG(.ack = 5));
	rx_at(f, MS(100), SEG(.ack = 10));
	drop_tx(f);
	cr_assert(fast_send(f, 100));
	cr_assert_eq(f->t.xmit_mode, TCP_XMIT_LONE);
	return f;
}

static struct fix *quiet(void)
{
	struct fix *f = lone();

	tick(f, MS(100));
	cr_assert(fast_rx(f, 0, 110, 200));
	cr_assert_eq(f->t.xmit_mode, TCP_XMIT_QUIET);
	return f;
}

Test(tcp_fast, lone__the_probe_comes_when_it_would_have_come)
{
	struct fix *f = lone();
	ztime_t pto = US(tcp_rto_us(&f->t)), asked = tcp_deadline(&f->t), sent = f->now;

	cr_assert_lt(asked,
		     sent + pto); /* two round trips and 200 ms would be later than the timeout */
	tick(f, pto - MS(1));
	expect_none(f);
	cr_assert_eq(tcp_deadline(&f->t), sent + pto);
	tick(f, MS(2));
	expect_tx(f, SEG(.seq = 10, .len = 100));
	fix_end(f);
}

Test(tcp_fast, quiet__then_lone_again)
{
	struct fix *f = quiet();
	struct wire_tcp_iov iov;

	cr_assert_eq(tcp_events_take(&f->t) & TCP_EV_READABLE, TCP_EV_READABLE);
	cr_assert_eq(f->t.snd_una, f->t.snd_nxt);
	cr_assert_eq(tcp_deadline(&f->t), f->now + US(f->env.cfg.delack_us));
	cr_assert(tcp_recv_take(&f->t, &iov, f->now));
	cr_assert_eq(iov.len, 200);
	cr_assert(fast_send(f, 300));
	cr_assert_eq(f->t.xmit_mode, TCP_XMIT_LONE);
	cr_assert_eq(f->t.delack_at, ZTIME_NEVER); /* the answer paid it */
	tick(f, MS(100));
	cr_assert(fast_rx(f, 200, 410, 0));
	cr_assert_eq(f->t.pipe, 0);
	drop_tx(f);
	fix_end(f);
}

Test(tcp_fast, in__more_than_the_expected_is_left_to_others)
{
	struct fix *f = lone();

	cr_assert(!fast_rx(f, 1, 110, 10), "not what comes next");
	cr_assert(!fast_rx(f, 0, 50, 10), "half of it");
	cr_assert(!fast_rx(f, 0, 111, 10), "never sent");
	cr_assert_eq(f->t.xmit_mode, TCP_XMIT_TLP);
	cr_assert_eq(f->t.snd_una, FIX_ISS + 11);
	cr_assert(fast_rx(f, 0, 10, 10), "data alone has a short way of its own");
	cr_assert_eq(f->t.rcv_queued, 10);
	cr_assert_eq(f->t.pipe, 100);
	fix_flush(f);
	drop_tx(f);
	fix_end(f);
}

static void by_send(struct fix *f)
{
	struct wire_tcp_iov iov = { (const uint8_t *)"x", 1, NULL };

	tcp_send(&f->t, &iov, 0, f->now);
}

static void by_input(struct fix *f)
{
	struct wire_tcp seg = { .flags = TCP_ACK, .seq = FIX_IRS + 1, .ack = FIX_ISS + 11 };

	seg.wnd = 50000;
	tcp_input(&f->t, &seg, f->now);
}

static void by_output(struct fix *f)
{
	struct wire_tcp out;

	tcp_output(&f->t, &out, 1, f->now);
}

static void by_shutdown_send(struct fix *f)
{
	tcp_shutdown_send(&f->t, f->now);
}

static void by_shutdown_recv(struct fix *f)
{
	tcp_shutdown_recv(&f->t);
}

static void by_close(struct fix *f)
{
	tcp_close(&f->t, f->now);
}

static void by_abort(struct fix *f)
{
	tcp_abort(&f->t, f->now);
}

static void by_pmtu(struct fix *f)
{
	tcp_pmtu(&f->t, 600, f->t.snd_una, f->now);
}

static void by_icmp(struct fix *f)
{
	tcp_icmp_error(&f->t, f->t.snd_una, EHOSTUNREACH, false, f->now);
}

static void by_option(struct fix *f)
{
	tcp_opt_set(&f->t, TCP_OPT_SET_CORK, 1, f->now);
}

Test(tcp_fast, whatever_could_make_it_untrue_ends_it)
{
	static void (*const by[])(struct fix * f) = {
		by_send,  by_input, by_output, by_shutdown_send, by_shutdown_recv,
		by_close, by_abort, by_pmtu,   by_icmp,          by_option,
	};

	for (size_t i = 0; i < BASE_ARRAY_SIZE(by); i++)
		for (unsigned int k = 0; k < 2; k++) {
			struct fix *f = k ? quiet() : lone();
			ztime_t sent = f->now;

			by[i](f);
			cr_assert_neq(f->t.xmit_mode, TCP_XMIT_LONE, "%zu", i);
			cr_assert_neq(f->t.xmit_mode, TCP_XMIT_QUIET, "%zu", i);
			if (f->t.xmit_mode == TCP_XMIT_TLP)
				cr_assert_eq(f->t.xmit_at, sent + US(tcp_rto_us(&f->t)), "%zu", i);
			fix_flush(f);
			drop_tx(f);
			fix_end(f);
		}
}
