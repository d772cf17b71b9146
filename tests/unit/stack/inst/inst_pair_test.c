/* inst_pair_test.c - whole instances over a wire: connect, stream, close, refuse, lose, run out */
#include "tests/lib/inst_pair.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_check.h"
#include "stack/dev/dev_fault.h"

#define PORT 80

/* What a test watches on both sides. */
struct watch {
	struct inst_listener *listener;
	struct inst_conn *conn[2];
	unsigned int seen[2]; /* TCP_EV_* */
	uint64_t to_send, sent, received;
	uint64_t sum_sent, sum_received;
	bool close_after, echo, lazy;
	unsigned int accepted;
};

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 2654435761u >> 13);
}

static void stream_send(struct inst_pair *p, struct watch *w)
{
	uint8_t block[4096];

	while (w->sent < w->to_send) {
		size_t n = BASE_MIN(sizeof(block), (size_t)(w->to_send - w->sent));
		int64_t took;

		for (size_t i = 0; i < n; i++)
			block[i] = pattern(w->sent + i);
		took = inst_send(p->in[0], w->conn[0], block, n, 0, p->now);
		if (took <= 0)
			return;
		w->sent += (uint64_t)took;
	}
	if (w->close_after) {
		inst_close(p->in[0], w->conn[0], p->now);
		w->conn[0] = NULL;
		w->close_after = false;
	}
}

static void stream_recv(struct inst_pair *p, struct watch *w)
{
	uint8_t block[8192];
	size_t n;

	while (!w->lazy && (n = inst_recv(p->in[1], w->conn[1], block, sizeof(block), p->now))) {
		for (size_t i = 0; i < n; i++)
			cr_assert_eq(block[i], pattern(w->received + i), "byte %lu is wrong",
				     (unsigned long)(w->received + i));
		w->received += n;
		if (w->echo)
			inst_send(p->in[1], w->conn[1], block, n, 0, p->now);
	}
	if (tcp_eof(inst_conn_tcb(w->conn[1]))) {
		inst_close(p->in[1], w->conn[1], p->now);
		w->conn[1] = NULL;
	}
}

static void on_event(struct inst_pair *p, unsigned int side, const struct inst_event *ev)
{
	struct watch *w = p->ctx;

	if (ev->events & INST_EV_ACCEPT) {
		struct inst_conn *c;

		while ((c = inst_accept(p->in[1], ev->listener, w))) {
			w->conn[1] = c;
			w->accepted++;
		}
		return;
	}
	w->seen[side] |= ev->events;
	if (side == 0 && w->conn[0] && ev->events & (TCP_EV_CONNECTED | TCP_EV_WRITABLE))
		stream_send(p, w);
	if (side == 1 && w->conn[1] && ev->events & (TCP_EV_READABLE | TCP_EV_EOF))
		stream_recv(p, w);
	if (side == 1 && w->conn[1] && ev->events & TCP_EV_CLOSED) {
		inst_close(p->in[1], w->conn[1], p->now);
		w->conn[1] = NULL;
	}
}

static void start(struct inst_pair *p, struct inst_pair_config *cfg, struct watch *w, bool v6)
{
	union wire_addr any = v6 ? (union wire_addr){ 0 } : wire_addr_v4(0);

	memset(w, 0, sizeof(*w));
	cfg->event = on_event;
	inst_pair_init(p, cfg);
	p->ctx = w;
	cr_assert_eq(inst_listen(p->in[1], &any, PORT, 8, w, &w->listener), 0);
	w->conn[0] = inst_pair_connect(p, PORT, v6, w);
}

/* Nothing may be left but the listener. */
static void end(struct inst_pair *p, struct watch *w)
{
	inst_listener_close(p->in[1], w->listener, p->now);
	inst_pair_run(p, p->now + ztime_sec(300));
	for (int side = 0; side < 2; side++) {
		cr_expect_eq(inst_conn_count(p->in[side]), 0, "side %d keeps connections", side);
		cr_expect_eq(inst_pool_used(p->in[side]), 0, "side %d keeps blocks", side);
	}
	cr_expect_eq(inst_pair_fini(p), 0, "buffers are left");
}

/* Return: frames that the sender's instance gave to its device. */
static uint64_t stream(struct inst_pair_config *cfg, bool v6, uint64_t bytes, ztime_t patience)
{
	uint64_t frames;
	struct inst_pair p;
	struct watch w;

	start(&p, cfg, &w, v6);
	w.to_send = bytes;
	w.close_after = true;
	inst_pair_run(&p, p.now + patience);
	cr_expect_eq(w.received, bytes, "%lu of %lu bytes came", (unsigned long)w.received,
		     (unsigned long)bytes);
	cr_expect(w.seen[1] & TCP_EV_EOF);
	frames = inst_counters(p.in[0])->n[CNT_inst_tx_frames];
	/* A wire that cuts gives bursts, which are merged. */
	if (!(cfg->wire.offloads & WIRE_OFFLOAD_TSO) && !cfg->wire.rate_bps)
		cr_expect_gt(inst_counters(p.in[1])->n[CNT_inst_gro_merged], 0);
	end(&p, &w);
	return frames;
}

Test(inst_pair, stream__ipv4)
{
	struct inst_pair_config cfg;

	inst_pair_defaults(&cfg);
	stream(&cfg, false, 10 << 20, ztime_sec(10));
}

Test(inst_pair, stream__ipv6)
{
	struct inst_pair_config cfg;

	inst_pair_defaults(&cfg);
	stream(&cfg, true, 10 << 20, ztime_sec(10));
}

Test(inst_pair, stream__long_frames_whole_over_a_device_with_offloads)
{
	struct inst_pair_config cfg;

	inst_pair_defaults(&cfg);
	cfg.wire.offloads = WIRE_OFFLOAD_TX_CSUM | WIRE_OFFLOAD_TSO;
	cr_expect_lt(stream(&cfg, false, 10 << 20, ztime_sec(10)), (10 << 20) / 1460 / 4);
}

Test(inst_pair, stream__long_frames_cut_in_software)
{
	struct inst_pair_config cfg;

	inst_pair_defaults(&cfg);
	cfg.inst.tcp.gso_max_bytes = 60000;
	cr_expect_lt(stream(&cfg, true, 10 << 20, ztime_sec(10)), (10 << 20) / 1460 / 4);
}

Test(inst_pair, stream__small_mtu_and_vlan)
{
	struct inst_pair_config cfg;

	inst_pair_defaults(&cfg);
	cfg.wire.mtu = 576;
	cfg.inst.ip.vlan = 7;
	stream(&cfg, false, 1 << 20, ztime_sec(10));
}

Test(inst_pair, stream__jumbo)
{
	struct inst_pair_config cfg;

	inst_pair_defaults(&cfg);
	cfg.wire.mtu = 9000;
	stream(&cfg, true, 10 << 20, ztime_sec(10));
}

Test(inst_pair, stream__slow_wire_with_short_queue_loses_and_recovers)
{
	struct inst_pair_config cfg;

	inst_pair_defaults(&cfg);
	cfg.wire.rate_bps = 20000000;
	cfg.wire.delay = ztime_ms(10);
	cfg.wire.depth = 64;
	stream(&cfg, false, 8 << 20, ztime_sec(60));
}

/* Release a connection and adopt it again, as another instance would. */
static void move(struct inst_pair *p, struct watch *w, unsigned int side)
{
	static struct wire_tcp_iov unread[4096], unacked[4096];
	unsigned int n_unread = 4096, n_unacked = 4096;
	struct inst_conn *c = w->conn[side];
	struct wire_flow flow = *inst_conn_flow(c);
	struct tcp_record rec;

	cr_assert_eq(inst_release(p->in[side], c, &rec, unread, &n_unread, unacked, &n_unacked,
				  p->now),
		     0);
	w->conn[side] = inst_conn_new(p->in[side], w);
	cr_assert_eq(inst_adopt(p->in[side], w->conn[side], &flow, &rec, unread, n_unread, unacked,
				n_unacked, p->now),
		     0);
}

Test(inst_pair, stream__moved_in_the_middle)
{
	struct dev_fault_config fault = {
		.seed = 5, .loss = 20000, .reorder = 20000, .jitter = ztime_ms(1)
	};
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct watch w;

	inst_pair_defaults(&cfg);
	start(&p, &cfg, &w, false);
	p.dev[0] = dev_fault_new(p.dev[0], &fault);
	w.to_send = 4 << 20;
	for (unsigned int i = 1; i < 200 && w.received < w.to_send; i++) {
		inst_pair_run(&p, p.now + ztime_ms(i));
		if (w.conn[0] && w.conn[1])
			move(&p, &w, i & 1);
	}
	w.close_after = true;
	stream_send(&p, &w);
	inst_pair_run(&p, p.now + ztime_sec(60));
	cr_expect_eq(w.received, w.to_send, "%lu of %lu bytes came", (unsigned long)w.received,
		     (unsigned long)w.to_send);
	end(&p, &w);
}

Test(inst_pair, release__says_what_cannot_move)
{
	struct inst_pair_config cfg;
	struct wire_tcp_iov iov[1];
	unsigned int none = 0, one = 1;
	struct tcp_record rec;
	struct inst_pair p;
	struct watch w;

	inst_pair_defaults(&cfg);
	start(&p, &cfg, &w, false);
	cr_assert_eq(inst_release(p.in[0], w.conn[0], &rec, iov, &none, iov, &one, p.now), -EAGAIN);
	w.lazy = true;
	w.to_send = 100;
	inst_pair_run(&p, p.now + ztime_ms(100));
	none = 0;
	cr_assert_eq(inst_release(p.in[1], w.conn[1], &rec, iov, &none, iov, &one, p.now), -ENOSPC);
	w.lazy = false;
	stream_recv(&p, &w);
	inst_close(p.in[0], w.conn[0], p.now);
	inst_pair_run(&p, p.now + ztime_sec(1));
	end(&p, &w);
}

Test(inst_pair, stream__lossy)
{
	struct dev_fault_config fault = { .seed = 7,
					  .loss = 20000,
					  .dup = 10000,
					  .corrupt = 5000,
					  .reorder = 20000,
					  .jitter = ztime_ms(3) };
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct watch w;

	inst_pair_defaults(&cfg);
	cfg.wire.delay = ztime_ms(2);
	start(&p, &cfg, &w, false);
	p.dev[0] = dev_fault_new(p.dev[0], &fault);
	p.dev[1] = dev_fault_new(p.dev[1], &fault);
	w.to_send = 4 << 20;
	w.close_after = true;
	inst_pair_run(&p, p.now + ztime_sec(600));
	cr_expect_eq(w.received, 4 << 20, "%lu bytes came", (unsigned long)w.received);
	end(&p, &w);
}

Test(inst_pair, inst_connect__refused_by_reset)
{
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct watch w;
	struct inst_conn *c;

	inst_pair_defaults(&cfg);
	start(&p, &cfg, &w, false);
	c = inst_pair_connect(&p, PORT + 1, false, &w);
	inst_pair_run(&p, p.now + ztime_ms(100));
	cr_expect_eq(tcp_error(inst_conn_tcb(c)), ECONNREFUSED);
	cr_expect_eq(inst_counters(p.in[1])->n[CNT_inst_no_connection], 1);
	inst_close(p.in[0], c, p.now);
	w.close_after = true;
	stream_send(&p, &w);
	end(&p, &w);
}

Test(inst_pair, inst_connect__neighbour_that_does_not_answer)
{
	struct wire_flow flow = { .local = wire_addr_v4(0),
				  .remote = wire_addr_v4(0x0a000063),
				  .rport = 80 };
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct inst_conn *c;

	inst_pair_defaults(&cfg);
	inst_pair_init(&p, &cfg);
	c = inst_conn_new(p.in[0], NULL);
	cr_assert_eq(inst_connect(p.in[0], c, &flow, p.now), 0);
	inst_pair_run(&p, p.now + ztime_sec(5));
	cr_expect_eq(tcp_error(inst_conn_tcb(c)), EHOSTUNREACH);
	cr_expect_eq(inst_counters(p.in[0])->n[CNT_ip_neigh_failed], 1);
	cr_expect_eq(inst_counters(p.in[0])->n[CNT_ip_arp_requests], 3);
	inst_close(p.in[0], c, p.now);
	inst_pair_run(&p, p.now + ztime_sec(1));
	cr_expect_eq(inst_conn_count(p.in[0]), 0);
	cr_expect_eq(inst_pair_fini(&p), 0);
}

Test(inst_pair, inst_connect__addresses_that_cannot_be)
{
	struct wire_flow flow = { .local = wire_addr_v4(0),
				  .remote = wire_addr_v4(0x08080808),
				  .rport = 80 };
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct inst_conn *c;

	inst_pair_defaults(&cfg);
	inst_pair_init(&p, &cfg);
	c = inst_conn_new(p.in[0], NULL);
	cr_expect_eq(inst_connect(p.in[0], c, &flow, p.now), -ENETUNREACH);
	flow.remote = wire_addr_v4(0xe0000001);
	flow.local = p.addr4[0];
	cr_expect_eq(inst_connect(p.in[0], c, &flow, p.now), -ENETUNREACH);
	flow.remote = p.addr4[1];
	flow.local = wire_addr_v4(0x0a000009);
	cr_expect_eq(inst_connect(p.in[0], c, &flow, p.now), -EADDRNOTAVAIL);
	inst_close(p.in[0], c, p.now);
	inst_pair_run(&p, p.now + 1);
	cr_expect_eq(inst_conn_count(p.in[0]), 0);
	cr_expect_eq(inst_pair_fini(&p), 0);
}

Test(inst_pair, inst_listener_close__resets_who_was_not_accepted)
{
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct watch w = { 0 };
	union wire_addr any = wire_addr_v4(0);

	inst_pair_defaults(&cfg);
	inst_pair_init(&p, &cfg);
	cr_assert_eq(inst_listen(p.in[1], &any, PORT, 8, NULL, &w.listener), 0);
	w.conn[0] = inst_pair_connect(&p, PORT, false, NULL);
	inst_pair_run(&p, p.now + ztime_ms(10));
	cr_expect_eq(tcp_state(inst_conn_tcb(w.conn[0])), TCP_ST_ESTABLISHED);
	inst_listener_close(p.in[1], w.listener, p.now);
	inst_pair_run(&p, p.now + ztime_ms(10));
	cr_expect_eq(tcp_error(inst_conn_tcb(w.conn[0])), ECONNRESET);
	inst_close(p.in[0], w.conn[0], p.now);
	inst_pair_run(&p, p.now + ztime_ms(10));
	cr_expect_eq(inst_conn_count(p.in[0]), 0);
	cr_expect_eq(inst_conn_count(p.in[1]), 0);
	cr_expect_eq(inst_listen(p.in[1], &any, PORT, 8, NULL, &w.listener), 0);
	cr_expect_eq(inst_pair_fini(&p), 0);
}

Test(inst_pair, inst_listen__same_port_twice)
{
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct inst_listener *l;
	union wire_addr any4 = wire_addr_v4(0), any6 = { 0 };

	inst_pair_defaults(&cfg);
	inst_pair_init(&p, &cfg);
	cr_expect_eq(inst_listen(p.in[0], &any4, 80, 1, NULL, &l), 0);
	cr_expect_eq(inst_listen(p.in[0], &any4, 80, 1, NULL, &l), -EADDRINUSE);
	cr_expect_eq(inst_listen(p.in[0], &any6, 80, 1, NULL, &l), 0);
	cr_expect_eq(inst_listen(p.in[0], &p.addr4[0], 80, 1, NULL, &l), 0);
	cr_expect_eq(inst_listen(p.in[0], &p.addr4[1], 80, 1, NULL, &l), -EADDRNOTAVAIL);
	cr_expect_eq(inst_pair_fini(&p), 0);
}

/* Short connections, one after the other, from ports that are used again. */
Test(inst_pair, churn__connections_come_and_go)
{
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct watch w;

	inst_pair_defaults(&cfg);
	cfg.inst.port_lo = 40000;
	cfg.inst.port_hi = 40063;
	cfg.inst.conns_max = 128;
	start(&p, &cfg, &w, false);
	for (int i = 0; i < 60; i++) {
		uint64_t before = w.received;

		w.sent = w.received = 0;
		w.to_send = 100;
		w.close_after = true;
		inst_pair_run(&p, p.now + ztime_ms(5));
		cr_assert_eq(w.received, 100, "connection %d: %lu after %lu", i,
			     (unsigned long)w.received, (unsigned long)before);
		w.conn[0] = inst_pair_connect(&p, PORT, false, &w);
	}
	w.to_send = 0;
	w.close_after = true;
	inst_pair_run(&p, p.now + ztime_ms(5));
	cr_expect_eq(w.accepted, 61);
	end(&p, &w);
}

/* A reader that does not read: zero window for a minute, then all bytes. */
Test(inst_pair, stream__zero_window_for_a_minute)
{
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct watch w;

	inst_pair_defaults(&cfg);
	start(&p, &cfg, &w, false);
	w.lazy = true;
	w.to_send = 8 << 20;
	w.close_after = true;
	inst_pair_run(&p, p.now + ztime_sec(60));
	cr_expect_lt(w.sent, w.to_send);
	cr_expect_eq(w.received, 0);
	w.lazy = false;
	stream_recv(&p, &w);
	inst_pair_run(&p, p.now + ztime_sec(60));
	cr_expect_eq(w.received, w.to_send);
	end(&p, &w);
}

/*
 * No allocation of a buffer succeeds for a while: packets are dropped and counted, nothing is lost
 * or leaked.
 */
Test(inst_pair, stream__without_buffers_for_a_while)
{
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct watch w;

	inst_pair_defaults(&cfg);
	start(&p, &cfg, &w, false);
	w.to_send = 2 << 20;
	w.close_after = true;
	p.buffers_fail_after = 20;
	inst_pair_run(&p, p.now + ztime_ms(50));
	p.buffers_fail_after = -1;
	if (w.conn[0])
		stream_send(&p, &w);
	inst_pair_run(&p, p.now + ztime_sec(60));
	cr_expect_eq(w.received, w.to_send);
	end(&p, &w);
}
