/* inst_flow_test.c - flow table against brute force; RSS hash against its published vectors */
#include "stack/inst/inst_flow.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "stack/inst/inst_rss.h"

enum { N = 3000 };

static struct wire_flow flows[N];
static bool in[N];

static void flow_make(uint32_t i)
{
	memset(&flows[i], 0, sizeof(flows[i]));
	flows[i].local = wire_addr_v4(0x0a000001);
	flows[i].remote = wire_addr_v4(0x0b000000 + i / 7);
	if (i % 5 == 0)
		flows[i].local.b[0] = flows[i].remote.b[0] = 0x20;
	flows[i].lport = 80;
	flows[i].rport = (uint16_t)(1000 + i % 7);
}

Test(inst_flow, random_adds_and_removes__finds_exactly_what_is_in)
{
	uint32_t n = inst_flow_buckets(N);
	struct inst_flow_bucket *buckets = aligned_alloc(64, n * sizeof(*buckets));
	struct base_hash_key key = { 1, 2 };
	const struct wire_flow *next;
	struct inst_flow f;
	uint32_t walked = 0;

	memset(buckets, 0, n * sizeof(*buckets));
	inst_flow_init(&f, buckets, n, &key, flows, sizeof(flows[0]));
	for (uint32_t i = 0; i < N; i++)
		flow_make(i);
	srand(7);
	for (int round = 0; round < 60000; round++) {
		uint32_t i = (uint32_t)rand() % N, found;

		found = inst_flow_find(&f, &flows[i], inst_flow_hash(&f, &flows[i]));
		cr_assert_eq(found, in[i] ? i : INST_FLOW_NONE, "flow %u", i);
		if (in[i])
			inst_flow_remove(&f, i);
		else
			inst_flow_add(&f, i);
		in[i] = !in[i];
	}
	for (uint32_t at = 0; (next = inst_flow_next(&f, &at)); walked++)
		cr_assert(in[next - flows], "flow %td was removed", next - flows);
	cr_expect_eq(walked, f.count);
	for (uint32_t i = 0; i < N; i++)
		if (in[i])
			inst_flow_remove(&f, i);
	cr_expect_eq(f.count, 0);
	for (uint32_t b = 0; b < n; b++)
		cr_expect_eq(buckets[b].passed, 0, "bucket %u remembers", b);
	free(buckets);
}

Test(inst_flow, inst_flow_hash__another_key_another_hash)
{
	struct inst_flow a, b;
	struct base_hash_key ka = { 1, 2 }, kb = { 1, 3 };

	flow_make(1);
	inst_flow_init(&a, NULL, 1, &ka, flows, sizeof(flows[0]));
	inst_flow_init(&b, NULL, 1, &kb, flows, sizeof(flows[0]));
	cr_expect_neq(inst_flow_hash(&a, &flows[1]), inst_flow_hash(&b, &flows[1]));
}

/* The verification suite that Microsoft publishes for receive side scaling. */
static struct inst_rss_config rss_example(void)
{
	return (struct inst_rss_config){
		.key = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
			 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
			 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
			 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa },
	};
}

static uint32_t ip(unsigned int a, unsigned int b, unsigned int c, unsigned int d)
{
	return a << 24 | b << 16 | c << 8 | d;
}

Test(inst_rss, inst_rss_hash__published_vectors_ipv4)
{
	static const struct {
		uint8_t dst[4], src[4];
		uint16_t dport, sport;
		uint32_t hash;
	} cases[] = {
		{ { 161, 142, 100, 80 }, { 66, 9, 149, 187 }, 1766, 2794, 0x51ccc178 },
		{ { 65, 69, 140, 83 }, { 199, 92, 111, 2 }, 4739, 14230, 0xc626b0ea },
		{ { 12, 22, 207, 184 }, { 24, 19, 198, 95 }, 38024, 12898, 0x5c2b394a },
		{ { 209, 142, 163, 6 }, { 38, 27, 205, 30 }, 2217, 48228, 0xafc7327f },
		{ { 202, 188, 127, 2 }, { 153, 39, 163, 191 }, 1303, 44251, 0x10e828a2 },
	};
	struct inst_rss_config rss = rss_example();

	for (size_t i = 0; i < 5; i++) {
		const uint8_t *s = cases[i].src, *d = cases[i].dst;
		struct wire_flow f;

		f.local = wire_addr_v4(ip(d[0], d[1], d[2], d[3]));
		f.remote = wire_addr_v4(ip(s[0], s[1], s[2], s[3]));
		f.lport = cases[i].dport;
		f.rport = cases[i].sport;
		cr_expect_eq(inst_rss_hash(&rss, &f), cases[i].hash, "case %zu", i);
	}
}

Test(inst_rss, inst_rss_hash__published_vector_ipv6)
{
	struct inst_rss_config rss = rss_example();
	struct wire_flow f = {
		.local = { .b = { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0,
				  0, 1 } },
		.remote = { .b = { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0,
				   0, 7 } },
		.rport = 2794,
		.lport = 1766,
	};

	cr_expect_eq(inst_rss_hash(&rss, &f), 0x40207d3d);
}
