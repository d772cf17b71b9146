/* inst_self_test.c - a connection whose two ends are on one instance: nothing of it is seen on the wire */
#include "tests/lib/inst_pair.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "stack/base/base_check.h"

#define PORT  80
#define BYTES (1u << 20)

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 2654435761u >> 13);
}

static struct inst_conn *connect_self(struct inst_pair *p, const union wire_addr *to)
{
	struct inst_conn *c = inst_conn_new(p->in[0], NULL);
	struct wire_flow flow = { .remote = *to, .rport = PORT };

	if (wire_addr_is_v4(to))
		flow.local = wire_addr_v4(0);
	cr_assert_eq(inst_connect(p->in[0], c, &flow, p->now), 0);
	return c;
}

/* Return: bytes that it took, from @at on. */
static uint64_t put(struct inst_pair *p, struct inst_conn *c, uint64_t at)
{
	uint8_t block[4096];
	uint64_t took = 0;

	while (at + took < BYTES) {
		size_t n = BASE_MIN(sizeof(block), (size_t)(BYTES - at - took));
		int64_t r;

		for (size_t i = 0; i < n; i++)
			block[i] = pattern(at + took + i);
		r = inst_send(p->in[0], c, block, n, 0, p->now);
		if (r <= 0)
			break;
		took += (uint64_t)r;
	}
	return took;
}

static uint64_t get(struct inst_pair *p, struct inst_conn *c, uint64_t at)
{
	uint8_t block[8192];
	uint64_t sum = 0;
	size_t n;

	while ((n = inst_recv(p->in[0], c, block, sizeof(block), p->now))) {
		for (size_t i = 0; i < n; i++)
			cr_assert_eq(block[i], pattern(at + sum + i), "byte %lu is wrong",
				     (unsigned long)(at + sum + i));
		sum += n;
	}
	return sum;
}

static void talk(bool v6)
{
	const union wire_addr any = v6 ? (union wire_addr){ 0 } : wire_addr_v4(0);
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct inst_listener *l;
	struct inst_conn *a, *b;
	uint64_t sent = 0, received = 0, frames;

	inst_pair_defaults(&cfg);
	inst_pair_init(&p, &cfg);
	inst_pair_run(&p, p.now + ztime_ms(10)); /* its announcements */
	frames = p.frames[0];
	cr_assert_eq(inst_listen(p.in[0], &any, PORT, 8, NULL, &l), 0);
	a = connect_self(&p, v6 ? &p.addr6[0] : &p.addr4[0]);
	inst_pair_run(&p, p.now + ztime_ms(1));
	b = inst_accept(p.in[0], l, NULL);
	cr_assert(b, "nobody has come");
	for (int i = 0; i < 1000 && received < BYTES; i++) {
		sent += put(&p, a, sent);
		inst_pair_run(&p, p.now + ztime_ms(1));
		received += get(&p, b, received);
	}
	cr_expect_eq(received, BYTES);
	cr_expect_eq(p.frames[0], frames, "the wire has seen some of it");
	cr_expect_eq(inst_counters(p.in[0])->n[CNT_ip_self_full], 0);
	inst_close(p.in[0], a, p.now);
	inst_pair_run(&p, p.now + ztime_ms(1));
	cr_expect(tcp_eof(inst_conn_tcb(b)));
	inst_close(p.in[0], b, p.now);
	inst_listener_close(p.in[0], l, p.now);
	inst_pair_run(&p, p.now + ztime_sec(300));
	cr_expect_eq(inst_conn_count(p.in[0]), 0);
	cr_expect_eq(inst_pair_fini(&p), 0);
}

Test(inst_self, inst_output__a_stream_to_ourselves)
{
	talk(false);
	talk(true);
}

Test(inst_self, inst_connect__nobody_listens_here)
{
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct inst_conn *c;

	inst_pair_defaults(&cfg);
	inst_pair_init(&p, &cfg);
	c = connect_self(&p, &p.addr4[0]);
	inst_pair_run(&p, p.now + ztime_ms(1));
	cr_expect_eq(tcp_error(inst_conn_tcb(c)), ECONNREFUSED);
	inst_close(p.in[0], c, p.now);
	inst_pair_run(&p, p.now + ztime_ms(1));
	cr_expect_eq(inst_pair_fini(&p), 0);
}

Test(inst_self, inst_fini__what_is_on_its_way_is_given_back)
{
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct wire_frame_out out[1];

	inst_pair_defaults(&cfg);
	inst_pair_init(&p, &cfg);
	for (int i = 0; i < 4; i++)
		connect_self(&p, &p.addr4[0]);
	inst_output(p.in[0], out, 1, p.now); /* an announcement, and room for no turn of the rest */
	cr_expect_eq(inst_pair_fini(&p), 0);
}
