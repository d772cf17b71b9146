/* inst_port_test.c - chosen ports come back to our queue, differ, and run out with an error */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/lib/inst_pair.h"

static void rss_set(struct inst_config *cfg, uint16_t queues, uint16_t queue)
{
	for (unsigned int i = 0; i < INST_RSS_KEY_LEN; i++)
		cfg->rss.key[i] = (uint8_t)(i * 59 + 17);
	cfg->rss.reta_len = 128;
	for (unsigned int i = 0; i < 128; i++)
		cfg->rss.reta[i] = (uint16_t)(i % queues);
	cfg->rss.queue = queue;
}

Test(inst_port, chosen_ports_hash_to_our_queue)
{
	struct inst_pair_config cfg;
	struct inst_pair p;
	bool seen[65536] = { false };

	inst_pair_defaults(&cfg);
	rss_set(&cfg.inst, 16, 5);
	inst_pair_init(&p, &cfg);
	for (int i = 0; i < 200; i++) {
		struct inst_conn *c = inst_pair_connect(&p, 80, i % 2, NULL);
		const struct wire_flow *f = inst_conn_flow(c);

		cr_expect(inst_rss_ours(&cfg.inst.rss, f), "connection %d", i);
		cr_expect(i % 2 || !seen[f->lport], "port %u twice", f->lport);
		seen[f->lport] |= i % 2 == 0;
	}
	cr_expect_eq(inst_pair_fini(&p), 0);
}

/* Two instances that choose among the ports 40000 to 40009. */
static void ten_ports(struct inst_pair *p,
		      void (*event)(struct inst_pair *, unsigned int, const struct inst_event *))
{
	struct inst_pair_config cfg;

	inst_pair_defaults(&cfg);
	cfg.inst.port_lo = 40000;
	cfg.inst.port_hi = 40009;
	cfg.event = event ? event : cfg.event;
	inst_pair_init(p, &cfg);
}

Test(inst_port, all_in_use)
{
	struct wire_flow flow;
	struct inst_pair p;
	struct inst_conn *c;

	ten_ports(&p, NULL);
	for (int i = 0; i < 10; i++)
		inst_pair_connect(&p, 80, false, NULL);
	c = inst_conn_new(p.in[0], NULL);
	memset(&flow, 0, sizeof(flow));
	flow.local = wire_addr_v4(0);
	flow.remote = p.addr4[1];
	flow.rport = 80;
	cr_expect_eq(inst_connect(p.in[0], c, &flow, p.now), -EADDRNOTAVAIL);
	cr_expect_eq(inst_counters(p.in[0])->n[CNT_inst_ports_full], 1);
	flow.rport = 81;
	cr_expect_eq(inst_connect(p.in[0], c, &flow, p.now), 0, "another peer port is free");
	cr_expect_eq(inst_pair_fini(&p), 0);
}

Test(inst_port, a_listeners_is_not_chosen)
{
	struct wire_flow flow = { .rport = 40003 };
	struct inst_pair p;
	struct inst_listener *l;
	struct inst_conn *c;

	ten_ports(&p, NULL);
	flow.local = wire_addr_v4(0);
	flow.remote = p.addr4[0];
	cr_assert_eq(inst_listen(p.in[0], &p.addr4[0], 40003, 16, NULL, &l), 0);
	for (int i = 0; i < 9; i++) {
		c = inst_conn_new(p.in[0], NULL);
		cr_assert_eq(inst_connect(p.in[0], c, &flow, p.now), 0);
		cr_expect_neq(inst_conn_flow(c)->lport, 40003, "connected with itself");
	}
	c = inst_conn_new(p.in[0], NULL);
	cr_expect_eq(inst_connect(p.in[0], c, &flow, p.now), -EADDRNOTAVAIL);
	inst_listener_close(p.in[0], l, p.now);
	cr_expect_eq(inst_pair_fini(&p), 0);
}

/* The far side accepts, and closes when we do. */
static void far_event(struct inst_pair *p, unsigned int side, const struct inst_event *ev)
{
	if (side == 0)
		return;
	if (ev->events & INST_EV_ACCEPT)
		while (inst_accept(p->in[1], ev->listener, p))
			;
	else if (tcp_eof(inst_conn_tcb(ev->conn)))
		inst_close(p->in[1], ev->conn, p->now);
}

Test(inst_port, taken_again_out_of_time_wait)
{
	struct wire_flow flow = { .rport = 80 };
	struct inst_pair p;
	struct inst_listener *l;
	struct inst_conn *c;

	ten_ports(&p, far_event);
	flow.local = wire_addr_v4(0);
	flow.remote = p.addr4[1];
	cr_assert_eq(inst_listen(p.in[1], &p.addr4[1], 80, 16, NULL, &l), 0);
	for (int i = 0; i < 10; i++) {
		c = inst_pair_connect(&p, 80, false, NULL);
		inst_pair_run(&p, p.now + ztime_ms(2));
		inst_close(p.in[0], c, p.now);
		inst_pair_run(&p, p.now + ztime_ms(2));
	}
	c = inst_conn_new(p.in[0], NULL);
	cr_expect_eq(inst_connect(p.in[0], c, &flow, p.now), -EADDRNOTAVAIL, "too soon");
	inst_pair_run(&p, p.now + ztime_ms(200));
	for (int i = 0; i < 10; i++) {
		c = inst_pair_connect(&p, 80, false, NULL);
		inst_pair_run(&p, p.now + ztime_ms(2));
		cr_expect_eq(tcp_state(inst_conn_tcb(c)), TCP_ST_ESTABLISHED);
	}
	cr_expect_eq(inst_counters(p.in[0])->n[CNT_inst_ports_again], 10);
	cr_expect_eq(inst_pair_fini(&p), 0);
}

/* Nobody listens where the active end is: a SYN there is answered, and ends no TIME-WAIT (RFC 6191, RFC 5961 4.2). */
Test(inst_port, time_wait_without_a_listener_stays)
{
	struct wire_flow flow;
	struct inst_pair p;
	struct inst_listener *l;
	struct inst_conn *c;

	ten_ports(&p, far_event);
	cr_assert_eq(inst_listen(p.in[1], &p.addr4[1], 80, 16, NULL, &l), 0);
	c = inst_pair_connect(&p, 80, false, NULL);
	inst_pair_run(&p, p.now + ztime_ms(2));
	flow = *inst_conn_flow(c);
	inst_close(p.in[0], c, p.now);
	inst_pair_run(&p, p.now + ztime_ms(20));
	cr_assert_eq(inst_conn_count(p.in[0]), 1, "in TIME-WAIT");
	cr_assert_eq(inst_conn_count(p.in[1]), 0);
	c = inst_conn_new(p.in[1], NULL);
	flow = (struct wire_flow){
		.local = flow.remote, .remote = flow.local, .lport = flow.rport, .rport = flow.lport
	};
	cr_assert_eq(inst_connect(p.in[1], c, &flow, p.now), 0);
	inst_pair_run(&p, p.now + ztime_ms(20));
	cr_expect_eq(inst_conn_count(p.in[0]), 1);
	cr_expect_eq(inst_counters(p.in[0])->n[CNT_tcp_challenge], 1);
	cr_expect_eq(tcp_state(inst_conn_tcb(c)), TCP_ST_SYN_SENT);
	cr_expect_eq(inst_pair_fini(&p), 0);
}
