/* ztcp_group_test.c - frames that arrive at the wrong instance of an interface come to the right one */
#include "stack/include/ztcp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_list.h"
#include "stack/dev/dev_wire.h"
#include "stack/dev/ztcp_group.h"

enum { CLIENT, FIRST, SECOND, HOSTS };
enum { CONNS = 12, FRAMES = 512, FRAME_BYTES = 1514, BYTES = 100000 };

struct fix;

/* One of two queues of the server's end of the wire. */
struct queue {
	struct dev dev;
	struct fix *f;
	unsigned int head, tail;
	uint32_t len[FRAMES];
	uint8_t data[FRAMES][FRAME_BYTES];
};

struct fix {
	struct zbuf_mem_pool *pool;
	struct dev *wire[2];
	struct queue *queue[2];
	struct ztcp_group *group;
	struct ztcp *z[HOSTS];
	union wire_addr addr[2];
	struct inst_listener *l[HOSTS];
	unsigned int (*choose)(struct fix *f); /* queue that a frame arrives on */
	unsigned int arrived;
	ztime_t now;
	size_t got[HOSTS];
	unsigned int accepted[HOSTS], closed[HOSTS];
};

static unsigned int by_turns(struct fix *f)
{
	return f->arrived & 1;
}

static unsigned int by_chance(struct fix *f)
{
	return (f->arrived * 2654435761u) >> 13 & 1;
}

static unsigned int to_first(struct fix *f)
{
	(void)f;
	return 0;
}

static void spray(struct fix *f)
{
	struct wire_frame_in in[32];
	unsigned int n = dev_recv(f->wire[1], in, 32, f->now);

	for (unsigned int i = 0; i < n; i++, f->arrived++) {
		struct queue *q = f->queue[f->choose(f)];
		unsigned int at = q->tail++ % FRAMES;

		cr_assert_leq(q->tail - q->head, (unsigned int)FRAMES);
		cr_assert_leq(in[i].len, (uint32_t)FRAME_BYTES);
		memcpy(q->data[at], in[i].data, in[i].len);
		q->len[at] = in[i].len;
	}
}

static unsigned int queue_recv(struct dev *d, struct wire_frame_in *frames, unsigned int max,
			       ztime_t now)
{
	struct queue *q = base_container_of(d, struct queue, dev);
	unsigned int n = 0;

	(void)now;
	spray(q->f);
	for (; n < max && q->head != q->tail; n++, q->head++)
		frames[n] = (struct wire_frame_in){ .data = q->data[q->head % FRAMES],
						    .len = q->len[q->head % FRAMES] };
	return n;
}

static unsigned int queue_send(struct dev *d, const struct wire_frame_out *frames, unsigned int n,
			       ztime_t now)
{
	return dev_send(base_container_of(d, struct queue, dev)->f->wire[1], frames, n, now);
}

static ztime_t queue_deadline(const struct dev *d)
{
	return dev_deadline(base_container_of(d, const struct queue, dev)->f->wire[1]);
}

static int queue_fd(const struct dev *d)
{
	(void)d;
	return -1;
}

static void queue_close(struct dev *d)
{
	free(base_container_of(d, struct queue, dev));
}

static const struct dev_ops queue_ops = {
	.recv = queue_recv,
	.send = queue_send,
	.deadline = queue_deadline,
	.fd = queue_fd,
	.close = queue_close,
};

static struct dev *queue_new(struct fix *f, unsigned int no)
{
	struct queue *q = calloc(1, sizeof(*q));

	q->dev = *f->wire[1];
	q->dev.ops = &queue_ops;
	q->f = f;
	f->queue[no] = q;
	return &q->dev;
}

static uint64_t counted(const struct fix *f, unsigned int host, enum counter what)
{
	return inst_counters(ztcp_inst(f->z[host]))->n[what];
}

/* Both members know each other by then. */
static void start(struct fix *f, unsigned int (*choose)(struct fix *f))
{
	struct dev_wire_config wire = { .mtu = 1500, .depth = 256, .delay = 1000 };
	struct inst_config cfg;

	memset(f, 0, sizeof(*f));
	f->now = ZTIME_SEC;
	f->choose = choose;
	f->pool = zbuf_mem_pool_new(64 << 20, ZBUF_PAGES_ANY);
	f->group = ztcp_group_new();
	cr_assert_eq(dev_wire_new(&wire, f->wire), 0);
	inst_config_defaults(&cfg);
	for (unsigned int i = 0; i < HOSTS; i++) {
		struct dev *dev = i == CLIENT ? f->wire[0] : queue_new(f, i - FIRST);

		cfg.key.k0 = i;
		f->addr[i != CLIENT] = wire_addr_v4(0x0a000001u + (i != CLIENT));
		f->z[i] = ztcp_new(dev, f->pool, &cfg, f->now);
		cr_assert_eq(ip_addr_add(inst_ip(ztcp_inst(f->z[i])), &f->addr[i != CLIENT], 24,
					 f->now),
			     0);
		if (i != CLIENT)
			cr_assert_eq(ztcp_join(f->z[i], f->group, NULL), 0);
	}
	cr_expect_geq(ztcp_bell(f->z[FIRST]), 0);
	cr_expect_eq(ztcp_bell(f->z[CLIENT]), -1);
}

static void end(struct fix *f)
{
	for (unsigned int i = 0; i < HOSTS; i++)
		ztcp_free(f->z[i]);
	ztcp_group_free(f->group);
	for (unsigned int i = 0; i < 2; i++) {
		dev_close(&f->queue[i]->dev);
		dev_close(f->wire[i]);
	}
	cr_expect_eq(zbuf_mem_pool_free(f->pool), 0, "buffers are left");
}

static void listen_on(struct fix *f, unsigned int host, uint16_t port)
{
	union wire_addr any = wire_addr_v4(0);

	cr_assert_eq(ztcp_listen(f->z[host], &any, port, 64, NULL, &f->l[host]), 0);
}

static void events(struct fix *f, unsigned int host)
{
	struct inst_event ev;

	while (ztcp_event(f->z[host], &ev)) {
		uint8_t data[4096];
		size_t n;

		if (ev.events & INST_EV_ACCEPT) {
			while (inst_accept(ztcp_inst(f->z[host]), f->l[host], f))
				f->accepted[host]++;
			continue;
		}
		f->closed[host] += !!(ev.events & TCP_EV_CLOSED);
		while ((n = inst_recv(ztcp_inst(f->z[host]), ev.conn, data, sizeof(data),
				      f->now)) != 0) {
			for (size_t i = 0; i < n; i++)
				cr_assert_eq(data[i], 'x');
			f->got[host] += n;
		}
	}
}

static void run(struct fix *f, ztime_t until)
{
	while (f->now < until) {
		unsigned int moved = 0;
		ztime_t at = ZTIME_NEVER;

		for (unsigned int i = 0; i < HOSTS; i++)
			moved += ztcp_poll(f->z[i], f->now);
		for (unsigned int i = 0; i < HOSTS; i++) {
			events(f, i);
			at = ztime_min(at, ztcp_deadline(f->z[i]));
		}
		if (!moved)
			f->now = at > until ? until : ztime_max(at, f->now + 1);
	}
}

static void send_all(struct fix *f, unsigned int host, struct inst_conn *const *c, unsigned int n)
{
	static uint8_t data[BYTES];
	size_t sent[CONNS] = { 0 };
	ztime_t until = f->now + 60 * ZTIME_SEC;
	bool more = true;

	memset(data, 'x', sizeof(data));
	while (more && f->now < until) {
		more = false;
		for (unsigned int i = 0; i < n; i++) {
			int64_t did = inst_send(ztcp_inst(f->z[host]), c[i], data, BYTES - sent[i],
						0, f->now);

			sent[i] += did > 0 ? (size_t)did : 0;
			more |= sent[i] < BYTES;
		}
		run(f, f->now + ztime_ms(1));
	}
	cr_expect(!more, "not all was sent");
	run(f, f->now + 5 * ZTIME_SEC);
}

static void connect_all(struct fix *f, unsigned int host, unsigned int to, struct inst_conn **c)
{
	for (unsigned int i = 0; i < CONNS; i++) {
		c[i] = ztcp_connect(f->z[host], &f->addr[to], 7, f, f->now);
		cr_assert_not_null(c[i]);
	}
	run(f, f->now + 5 * ZTIME_SEC);
	for (unsigned int i = 0; i < CONNS; i++)
		cr_assert_eq(tcp_state(inst_conn_tcb(c[i])), TCP_ST_ESTABLISHED);
}

Test(ztcp_group, accepted__served_by_who_has_begun_wherever_frames_arrive)
{
	struct inst_conn *c[CONNS];
	struct fix f;

	start(&f, by_chance);
	listen_on(&f, FIRST, 7);
	listen_on(&f, SECOND, 7);
	connect_all(&f, CLIENT, 1, c);
	send_all(&f, CLIENT, c, CONNS);
	cr_expect_eq(f.accepted[FIRST] + f.accepted[SECOND], CONNS);
	cr_expect_gt(f.accepted[FIRST], 0);
	cr_expect_gt(f.accepted[SECOND], 0);
	cr_expect_eq(f.got[FIRST] + f.got[SECOND], (size_t)CONNS * BYTES);
	cr_expect_eq(counted(&f, CLIENT, CNT_inst_passed), 0);
	cr_expect_gt(counted(&f, FIRST, CNT_inst_passed), 0);
	cr_expect_eq(counted(&f, FIRST, CNT_inst_passed), counted(&f, SECOND, CNT_inst_pass_taken));
	cr_expect_eq(counted(&f, SECOND, CNT_inst_passed), counted(&f, FIRST, CNT_inst_pass_taken));
	end(&f);
}

/* ARP's answers among them: the second one asks, the first one hears. */
Test(ztcp_group, opened__served_though_all_arrives_elsewhere)
{
	struct inst_conn *c[CONNS];
	struct fix f;

	start(&f, to_first);
	listen_on(&f, CLIENT, 7);
	connect_all(&f, SECOND, 0, c);
	send_all(&f, SECOND, c, CONNS);
	cr_expect_eq(f.got[CLIENT], (size_t)CONNS * BYTES);
	cr_expect_eq(counted(&f, SECOND, CNT_inst_rx_frames), 0);
	end(&f);
}

Test(ztcp_group, listener_of_one__is_found_by_what_arrives_at_the_other)
{
	struct inst_conn *c[CONNS];
	struct fix f;

	start(&f, to_first);
	listen_on(&f, SECOND, 7);
	connect_all(&f, CLIENT, 1, c);
	cr_expect_eq(f.accepted[SECOND], CONNS);
	end(&f);
}

Test(ztcp_group, nobodys_segment__is_reset_once_by_where_it_has_arrived)
{
	struct inst_conn *c;
	struct fix f;

	start(&f, by_turns);
	c = ztcp_connect(f.z[CLIENT], &f.addr[1], 9, &f, f.now);
	cr_assert_not_null(c);
	run(&f, f.now + 5 * ZTIME_SEC);
	cr_expect_eq(f.closed[CLIENT], 1);
	cr_expect_eq(tcp_error(inst_conn_tcb(c)), ECONNREFUSED);
	cr_expect_eq(counted(&f, FIRST, CNT_inst_no_connection) +
			     counted(&f, SECOND, CNT_inst_no_connection),
		     1);
	end(&f);
}

/* An ICMP error is told to who has the connection. */
Test(ztcp_group, error__comes_to_the_connection_it_quotes)
{
	struct inst_passed p = { .kind = INST_PASSED_ERROR, .origin = 0, .hops = 1 };
	struct inst_conn *c;
	struct fix f;

	start(&f, to_first);
	c = ztcp_connect(f.z[SECOND], &f.addr[0], 7, &f, f.now);
	cr_assert_not_null(c);
	p.error =
		(struct ip_error){ .flow = *inst_conn_flow(c), .err = ECONNREFUSED, .hard = true };
	p.error.seq = 0;
	inst_passed(ztcp_inst(f.z[FIRST]), &p, f.now); /* has come round, and is nobody's there */
	cr_expect_eq(counted(&f, FIRST, CNT_ip_icmp_quote), 1);
	p.origin = 1;
	inst_passed(ztcp_inst(f.z[FIRST]), &p, f.now);
	cr_expect_eq(counted(&f, FIRST, CNT_inst_passed), 1);
	ztcp_poll(f.z[SECOND], f.now);
	cr_expect_eq(counted(&f, SECOND, CNT_inst_pass_taken), 1);
	cr_expect_eq(counted(&f, SECOND, CNT_ip_icmp_quote), 0);
	end(&f);
}

Test(ztcp_group, full_ring__is_counted_and_keeps_no_buffer)
{
	struct inst_conn *c[CONNS];
	struct fix f;

	start(&f, to_first);
	listen_on(&f, SECOND, 7);
	connect_all(&f, CLIENT, 1, c);
	for (unsigned int turn = 0; turn < 300; turn++) { /* the second one looks away */
		cr_assert_not_null(ztcp_connect(f.z[CLIENT], &f.addr[1], 7, &f, f.now));
		ztcp_poll(f.z[CLIENT], f.now);
		f.now += ztime_us(10);
		ztcp_poll(f.z[FIRST], f.now);
	}
	cr_expect_gt(counted(&f, FIRST, CNT_inst_pass_full), 0);
	end(&f);
}

Test(ztcp_group, member_that_leaves__is_asked_no_more_and_its_place_is_taken)
{
	struct fix f;
	struct inst_config cfg;

	start(&f, to_first);
	ztcp_free(f.z[SECOND]);
	cr_expect_eq(ztcp_bell(f.z[FIRST]), -1);
	inst_config_defaults(&cfg);
	f.z[SECOND] = ztcp_new(&f.queue[1]->dev, f.pool, &cfg, f.now);
	cr_assert_eq(ztcp_join(f.z[SECOND], f.group, NULL), 0);
	cr_expect_geq(ztcp_bell(f.z[FIRST]), 0);
	end(&f);
}

/* ---- threads */

enum { SENDERS = 3, EACH = 20000 };

static void *sender(void *arg)
{
	struct inst_pass pass = ztcp_box_pass(arg);
	struct inst_passed p = { .origin = pass.me };

	for (uint32_t i = 0; i < EACH; i++) {
		p.l4_len = i;
		while (!pass.put(pass.ctx, &p))
			sched_yield();
	}
	return NULL;
}

/* Senders that share one member: each one's come in order. */
Test(ztcp_group, rings__lose_nothing_between_threads)
{
	struct ztcp_group *g = ztcp_group_new();
	struct ztcp_box *to = ztcp_box_open(g, NULL), *from = ztcp_box_open(g, NULL);
	uint32_t next[SENDERS] = { 0 }, taken = 0;
	struct inst_passed p;
	pthread_t t[SENDERS];

	for (int i = 0; i < SENDERS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, sender, from), 0);
	while (taken < SENDERS * EACH) {
		if (!ztcp_box_rung(to)) {
			sched_yield();
			continue;
		}
		ztcp_box_answer(to);
		while (ztcp_box_take(to, &p)) {
			unsigned int k = 0;

			while (k < SENDERS && next[k] != p.l4_len)
				k++;
			cr_assert_lt(k, (unsigned int)SENDERS, "out of order: %u", p.l4_len);
			next[k]++;
			taken++;
		}
	}
	for (int i = 0; i < SENDERS; i++)
		pthread_join(t[i], NULL);
	cr_expect(!ztcp_box_take(to, &p));
	ztcp_box_close(from);
	ztcp_box_close(to);
	ztcp_group_free(g);
}
