/* ztcp_native_test.c - two programs on the native interface copy nothing and leave nothing */
#include "stack/include/ztcp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_sys.h"
#include "stack/dev/dev_wire.h"

struct fix {
	struct zbuf_mem_pool *pool;
	struct dev *dev[2];
	struct ztcp *z[2];
	union wire_addr addr[2];
	struct inst_listener *l;
	struct inst_conn *child;
	ztime_t now;
	size_t got, brought; /* bytes; events that brought some */
	uint8_t sum;
};

static void note(struct fix *f, const void *data, uint32_t n)
{
	cr_expect_eq(zbuf_mem_pool(data), f->pool);
	for (uint32_t i = 0; i < n; i++)
		f->sum += ((const uint8_t *)data)[i];
	f->got += n;
}

static void take(struct fix *f)
{
	const void *data;
	uint32_t n;

	while (f->child && (n = ztcp_recv_ref(f->z[1], f->child, &data, f->now)) != 0) {
		note(f, data, n);
		zbuf_free(data);
	}
}

/* The server's events bring the first of what has come. */
static void events(struct fix *f)
{
	struct wire_tcp_iov text;
	struct inst_event ev;

	while (ztcp_event_recv(f->z[1], &ev, &text, f->now)) {
		if (ev.events & INST_EV_ACCEPT) {
			cr_expect_eq(text.len, 0);
			f->child = inst_accept(ztcp_inst(f->z[1]), f->l, NULL);
		} else if (text.len) {
			cr_expect_eq(ev.conn, f->child);
			note(f, text.data, text.len);
			zbuf_put(text.owner);
			f->brought++;
		}
	}
}

static void run(struct fix *f, ztime_t until)
{
	struct inst_event ev;

	while (f->now < until) {
		unsigned int moved = ztcp_poll(f->z[0], f->now) + ztcp_poll(f->z[1], f->now);
		ztime_t at;

		while (ztcp_event(f->z[0], &ev))
			;
		events(f);
		take(f);
		if (moved)
			continue;
		at = ztime_min(ztcp_deadline(f->z[0]), ztcp_deadline(f->z[1]));
		f->now = at > until ? until : ztime_max(at, f->now + 1);
	}
}

static void start(struct fix *f)
{
	struct dev_wire_config wire = { .mtu = 1500, .depth = 256, .delay = 1000 };
	union wire_addr any = wire_addr_v4(0);
	struct inst_config cfg;

	memset(f, 0, sizeof(*f));
	f->now = ZTIME_SEC;
	f->pool = zbuf_mem_pool_new(64 << 20, ZBUF_PAGES_ANY);
	cr_assert_eq(dev_wire_new(&wire, f->dev), 0);
	inst_config_defaults(&cfg);
	cfg.conns_max = 16;
	for (int i = 0; i < 2; i++) {
		f->z[i] = ztcp_new(f->dev[i], f->pool, &cfg, f->now);
		cr_assert_not_null(f->z[i]);
		f->addr[i] = wire_addr_v4(0x0a000001u + (uint32_t)i);
		cr_assert_eq(ip_addr_add(inst_ip(ztcp_inst(f->z[i])), &f->addr[i], 24, f->now), 0);
	}
	cr_assert_eq(inst_listen(ztcp_inst(f->z[1]), &any, 7, 4, NULL, &f->l), 0);
}

static void end(struct fix *f)
{
	for (int i = 0; i < 2; i++) {
		ztcp_free(f->z[i]);
		dev_close(f->dev[i]);
	}
	cr_expect_eq(zbuf_mem_pool_free(f->pool), 0, "buffers are left");
}

static void count_done(void *arg, void *data, size_t len)
{
	(void)data;
	(void)len;
	(*(int *)arg)++;
}

Test(ztcp_native, ztcp_send_ref__done_runs_when_the_last_byte_is_acknowledged)
{
	struct inst_conn *c;
	uint8_t sum = 0;
	int done = 0;
	char *buf;
	struct fix f;

	start(&f);
	c = ztcp_connect(f.z[0], &f.addr[1], 7, NULL, f.now);
	cr_assert_not_null(c);
	run(&f, f.now + ztime_ms(1));
	buf = zbuf_malloc(f.pool, 60000);
	for (int i = 0; i < 60000; i++)
		sum += (uint8_t)(buf[i] = (char)(i * 7));
	zbuf_done_set(buf, count_done, &done);
	cr_assert_eq(ztcp_send_ref(f.z[0], c, buf, 60000, 0, f.now), 60000);
	zbuf_free(buf);
	cr_expect_eq(done, 0);
	ztcp_poll(f.z[0], f.now);
	cr_expect_eq(done, 0, "sent is not acknowledged");
	run(&f, f.now + ztime_ms(100));
	cr_expect_eq(done, 1);
	cr_expect(f.got == 60000 && f.sum == sum);
	cr_expect_gt(f.brought, 0);
	end(&f);
}

Test(ztcp_native, ztcp_send_ref__registered_memory_grain_by_grain)
{
	char *mem = aligned_alloc(4096, 64 << 10);
	struct inst_conn *c;
	struct fix f;
	int done = 0;

	start(&f);
	memset(mem, 3, 64 << 10);
	cr_assert_eq(zbuf_region_add(mem, 64 << 10, 4096, count_done, &done), 0);
	c = ztcp_connect(f.z[0], &f.addr[1], 7, NULL, f.now);
	run(&f, f.now + ztime_ms(1));
	cr_assert_eq(ztcp_send_ref(f.z[0], c, mem + 100, 20000, 0, f.now), 20000);
	cr_expect_eq(zbuf_region_remove(mem), -EBUSY);
	run(&f, f.now + ztime_ms(100));
	cr_expect_eq(f.got, 20000);
	cr_expect_eq(done, 5, "%d grains", done);
	cr_expect_eq(zbuf_region_remove(mem), 0);
	cr_expect_eq(ztcp_send_ref(f.z[0], c, mem, 10, 0, f.now), -EFAULT);
	free(mem);
	end(&f);
}

Test(ztcp_native, ztcp_connect__errors)
{
	union wire_addr far = wire_addr_v4(0x08080808);
	struct fix f;

	start(&f);
	errno = 0;
	cr_expect_null(ztcp_connect(f.z[0], &far, 7, NULL, f.now));
	cr_expect_eq(errno, ENETUNREACH);
	run(&f, f.now + ztime_ms(1));
	cr_expect_eq(inst_conn_count(ztcp_inst(f.z[0])), 0);
	end(&f);
}

/* What a device that shares an interface is told. */
static struct {
	unsigned int named, dropped;
	int answer;
	struct wire_flow flow;
} told;

static int steer_note(struct dev *d, const struct wire_flow *flow, bool on)
{
	(void)d;
	if (on && told.answer)
		return told.answer;
	*(on ? &told.named : &told.dropped) += 1;
	told.flow = *flow;
	return 0;
}

static void start_steered(struct fix *f, struct dev_ops *ops)
{
	start(f);
	*ops = *f->dev[0]->ops;
	ops->steer = steer_note;
	f->dev[0]->ops = ops;
}

Test(ztcp_native, ztcp_connect__the_device_is_told_until_the_connection_is_gone)
{
	struct inst_conn *c;
	struct dev_ops ops;
	struct fix f;

	start_steered(&f, &ops);
	c = ztcp_connect(f.z[0], &f.addr[1], 7, NULL, f.now);
	cr_assert_not_null(c);
	cr_expect_eq(told.named, 1);
	cr_expect(wire_addr_equal(&told.flow.local, &f.addr[0]));
	cr_expect(wire_addr_equal(&told.flow.remote, &f.addr[1]));
	cr_expect(told.flow.rport == 7 && told.flow.lport != 0);
	run(&f, f.now + ztime_ms(100));
	inst_close(ztcp_inst(f.z[0]), c, f.now);
	run(&f, f.now + ztime_sec(5));
	cr_expect_eq(told.dropped, 0, "the other end has not closed, or may say so again");
	inst_close(ztcp_inst(f.z[1]), f.child, f.now);
	f.child = NULL;
	run(&f, f.now + ztime_sec(300));
	ztcp_poll(f.z[0], f.now);
	cr_expect_eq(told.dropped, 1);
	cr_assert_not_null(ztcp_connect(f.z[0], &f.addr[1], 7, NULL, f.now));
	end(&f);
	cr_expect_eq(told.named, 2);
	cr_expect_eq(told.dropped, 2, "what lives at the end is taken back, too");
}

Test(ztcp_native, ztcp_connect__a_device_that_cannot_steer_more_refuses)
{
	struct dev_ops ops;
	struct fix f;

	start_steered(&f, &ops);
	told.answer = -ENOSPC;
	errno = 0;
	cr_expect_null(ztcp_connect(f.z[0], &f.addr[1], 7, NULL, f.now));
	cr_expect_eq(errno, ENOSPC);
	run(&f, f.now + ztime_sec(300));
	cr_expect_eq(inst_conn_count(ztcp_inst(f.z[0])), 0);
	cr_expect_eq(told.dropped, 0);
	end(&f);
}

Test(ztcp_native, ztcp_listener_close__connections_that_came_by_the_port_stay_named)
{
	const union wire_addr any = wire_addr_v4(0);
	struct inst_listener *l;
	struct inst_conn *c;
	struct dev_ops ops;
	struct fix f;

	start_steered(&f,
		      &ops); /* the first one listens here, as the device that is told is its own */
	cr_assert_eq(ztcp_listen(f.z[0], &any, 8, 4, NULL, &l), 0);
	cr_expect_eq(told.named, 1);
	cr_expect(told.flow.lport == 8 && told.flow.rport == 0);
	c = ztcp_connect(f.z[1], &f.addr[0], 8, NULL, f.now);
	cr_assert_not_null(c);
	run(&f, f.now + ztime_ms(100));
	cr_expect_eq(told.named, 1, "the port's name is enough");
	ztcp_listener_close(f.z[0], l, f.now);
	cr_expect_eq(told.named, 2);
	cr_expect_eq(told.dropped, 1);
	cr_expect(told.flow.lport == 8 && told.flow.rport == 0, "last of all the port");
	run(&f, f.now + ztime_sec(300));
	ztcp_poll(f.z[0], f.now);
	cr_expect_eq(told.dropped, 2, "nobody had accepted it");
	end(&f);
}

Test(ztcp_native, ztcp_listen__a_device_that_takes_no_port_refuses)
{
	const union wire_addr any = wire_addr_v4(0);
	struct inst_listener *l;
	struct dev_ops ops;
	struct fix f;

	start_steered(&f, &ops);
	told.answer = -ENOSPC;
	cr_expect_eq(ztcp_listen(f.z[0], &any, 8, 4, NULL, &l), -ENOSPC);
	told.answer = 0;
	cr_expect_eq(ztcp_listen(f.z[0], &any, 8, 4, NULL, &l), 0, "the port is free again");
	end(&f);
}

/* The kernel's word for where the pages of @mem come from; @node: the first of those that it prefers. */
static int policy_of(const void *mem, unsigned int *node)
{
	unsigned long nodes[1024 / (8 * sizeof(long))] = { 0 };
	int mode = -1;

	cr_assert_eq(sys(SYS_get_mempolicy, &mode, nodes, 8 * sizeof(nodes), mem, MPOL_F_ADDR), 0);
	for (*node = 0; *node < 1024; ++*node)
		if (nodes[*node / (8 * sizeof(long))] >> *node % (8 * sizeof(long)) & 1)
			break;
	return mode;
}

/* Of a device on @node, or of one without. */
static struct ztcp *placed(struct fix *f, bool placed, uint16_t node)
{
	struct inst_config cfg;

	inst_config_defaults(&cfg);
	cfg.conns_max = 16;
	ztcp_free(f->z[0]);
	f->dev[0]->placed = placed;
	f->dev[0]->node = node;
	f->z[0] = ztcp_new(f->dev[0], f->pool, &cfg, f->now);
	cr_assert_not_null(f->z[0]);
	return f->z[0];
}

Test(ztcp_native, ztcp_new__lies_on_the_node_of_the_device)
{
	unsigned int node;
	struct fix f;

	start(&f);
	if (sys(SYS_get_mempolicy, 0, 0, 0, 0, 0) == -ENOSYS)
		cr_skip_test("a kernel without nodes");
	cr_expect_eq(policy_of(placed(&f, false, 0), &node), MPOL_DEFAULT);
	cr_expect_eq(policy_of(placed(&f, true, 0), &node), MPOL_PREFERRED);
	cr_expect_eq(node, 0);
	cr_expect_eq(policy_of(placed(&f, true, 200), &node), MPOL_DEFAULT,
		     "there is no such node: it lies where it lies");
	cr_expect_eq(policy_of(placed(&f, true, UINT16_MAX), &node), MPOL_DEFAULT);
	end(&f);
}
