/* ip_gso_test.c - what is cut comes back whole */
#include "stack/ip/ip_gso.h"

#include <criterion/criterion.h>
#include <string.h>

#include "stack/wire/wire_ip4.h"
#include "stack/wire/wire_ip6.h"

static uint8_t bytes[10000];

static struct wire_frame_out frame(bool v4, uint32_t len, uint16_t gso)
{
	union wire_addr a = v4 ? wire_addr_v4(1) : (union wire_addr){ .b = { 1 } };
	union wire_addr b = v4 ? wire_addr_v4(2) : (union wire_addr){ .b = { 2 } };
	struct wire_ip4 h4 = {
		.src = a, .dst = b, .total_len = (uint16_t)(40 + len), .ttl = 1, .proto = 6
	};
	struct wire_ip6 h6 = {
		.src = a, .dst = b, .payload_len = (uint16_t)(20 + len), .proto = 6
	};
	struct wire_tcp seg = {
		.sport = 1, .dport = 2, .seq = 0xfffff000, .flags = 0xff & ~TCP_SYN & ~TCP_RST
	};
	struct wire_frame_out f = { .l3_at = 14,
				    .len = len,
				    .gso_size = gso,
				    .l4_len = 20,
				    .flags = WIRE_FRAME_TCP_CSUM,
				    .niov = 3 };

	f.l4_at = (uint8_t)(14 +
			    (v4 ? wire_ip4_emit(&h4, f.hdr + 14) : wire_ip6_emit(&h6, f.hdr + 14)));
	f.hdr_len = (uint16_t)(f.l4_at + wire_tcp_emit(&seg, f.hdr + f.l4_at));
	f.iov[0] = (struct wire_tcp_iov){ bytes, 1, NULL };
	f.iov[1] = (struct wire_tcp_iov){ bytes + 1, len - 1 - len / 3, NULL };
	f.iov[2] = (struct wire_tcp_iov){ bytes + len - len / 3, len / 3, NULL };
	return f;
}

static void cut(bool v4, uint32_t len, uint16_t gso)
{
	struct wire_frame_out f = frame(v4, len, gso), piece;
	union wire_addr a = v4 ? wire_addr_v4(1) : (union wire_addr){ .b = { 1 } };
	union wire_addr b = v4 ? wire_addr_v4(2) : (union wire_addr){ .b = { 2 } };
	uint8_t flat[9000];
	uint32_t at = 0;
	struct ip_gso g;

	ip_gso_start(&g, &f);
	while (ip_gso_next(&g, &piece, true)) {
		bool first = at == 0, last = at + piece.len == len;
		struct wire_tcp seg;
		uint32_t n = 0;

		memcpy(flat, piece.hdr + piece.l4_at, 20);
		for (unsigned int i = 0; i < piece.niov; n += piece.iov[i++].len)
			memcpy(flat + 20 + n, piece.iov[i].data, piece.iov[i].len);
		cr_assert_eq(n, piece.len);
		cr_assert_eq(memcmp(flat + 20, bytes + at, n), 0);
		cr_assert(wire_tcp_csum_ok(flat, 20 + n, &a, &b));
		cr_assert_eq(wire_tcp_parse(flat, 20 + n, &seg), CNT_none);
		cr_expect_eq(seg.seq, 0xfffff000 + at);
		cr_expect_eq(!!(seg.flags & TCP_FIN), last);
		cr_expect_eq(!!(seg.flags & TCP_PSH), last);
		cr_expect_eq(!!(seg.flags & TCP_CWR), first);
		if (v4) {
			struct wire_ip4 h;

			cr_expect_eq(wire_ip4_parse(piece.hdr + 14, 40 + n, false, &h), CNT_none);
			cr_expect_eq(h.total_len, 40 + n);
		}
		at += n;
	}
	cr_expect_eq(at, len);
}

Test(ip_gso, ip_gso_next__all_bytes_once_with_right_headers)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + i / 256);
	for (uint32_t len = 1000; len < 8000; len += 777) {
		cut(true, len, 536);
		cut(false, len, 999);
	}
	cut(true, 3 * 536, 536);
}

Test(ip_gso, ip_gso_next__frame_without_payload_comes_once)
{
	struct wire_frame_out f = { .hdr_len = 54 }, piece;
	struct ip_gso g;

	ip_gso_start(&g, &f);
	cr_expect(ip_gso_next(&g, &piece, true));
	cr_expect(!ip_gso_next(&g, &piece, true));
}

static struct wire_tcp data_seg(uint32_t seq, uint32_t len, uint8_t flags)
{
	return (struct wire_tcp){ .seq = seq,
				  .ack = 9,
				  .wnd = 10,
				  .flags = flags,
				  .len = len,
				  .niov = 1,
				  .iov = { { bytes, len, NULL } } };
}

Test(ip_gso, ip_gro_join__only_what_follows_and_looks_the_same)
{
	struct wire_tcp held = data_seg(1, 1000, TCP_ACK), s;

	cr_assert(ip_gro_first(&held));
	s = data_seg(1001, 1000, TCP_ACK);
	cr_expect(ip_gro_join(&held, &s));
	s = data_seg(1001, 1000, TCP_ACK);
	cr_expect(!ip_gro_join(&held, &s), "an old segment");
	s = data_seg(2001, 1001, TCP_ACK);
	cr_expect(!ip_gro_join(&held, &s), "a longer one");
	s = data_seg(2001, 1000, TCP_ACK);
	s.ack = 10;
	cr_expect(!ip_gro_join(&held, &s), "another ack");
	s = data_seg(2001, 1000, TCP_ACK);
	s.ecn = 3;
	cr_expect(!ip_gro_join(&held, &s), "a mark");
	s = data_seg(2001, 1000, TCP_ACK | TCP_FIN);
	cr_expect(!ip_gro_join(&held, &s), "FIN");
	s = data_seg(2001, 1000, TCP_ACK);
	s.opts = TCP_OPT_TS;
	cr_expect(!ip_gro_join(&held, &s), "other options");
	s = data_seg(2001, 500, TCP_ACK | TCP_PSH);
	cr_expect(ip_gro_join(&held, &s));
	cr_expect(held.len == 2500 && held.gso_size == 1000 && held.flags & TCP_PSH);
	s = data_seg(2501, 500, TCP_ACK);
	cr_expect(!ip_gro_join(&held, &s), "a short one ended the train");
}

/* What differs in one field. Return: true when it is merged into 1000 bytes before it. */
static bool joins(void (*change)(struct wire_tcp *))
{
	struct wire_tcp held = data_seg(1, 1000, TCP_ACK), s = data_seg(1001, 1000, TCP_ACK);
	bool joined;

	held.opts = s.opts = TCP_OPT_TS;
	held.ecn = s.ecn = 2;
	held.tsval = s.tsval = 7;
	held.tsecr = s.tsecr = 8;
	if (change)
		change(&s);
	joined = ip_gro_join(&held, &s);
	if (!joined)
		cr_expect(held.len == 1000 && held.niov == 1 && held.flags == TCP_ACK);
	return joined;
}

static void later_tsval(struct wire_tcp *s)
{
	s->tsval++;
}

static void later_tsecr(struct wire_tcp *s)
{
	s->tsecr++;
}

static void wider_window(struct wire_tcp *s)
{
	s->wnd++;
}

static void marked(struct wire_tcp *s)
{
	s->ecn = 3;
}

static void unmarked(struct wire_tcp *s)
{
	s->ecn = 0;
}

static void urgent(struct wire_tcp *s)
{
	s->flags |= TCP_URG;
	s->urg = 5;
}

static void reduced(struct wire_tcp *s)
{
	s->flags |= TCP_CWR;
}

static void echoes(struct wire_tcp *s)
{
	s->flags |= TCP_ECE;
}

static void reset(struct wire_tcp *s)
{
	s->flags |= TCP_RST;
}

static void a_hole(struct wire_tcp *s)
{
	s->seq++;
}

static void empty(struct wire_tcp *s)
{
	s->len = s->niov = 0;
}

static void blocks(struct wire_tcp *s)
{
	s->opts |= TCP_OPT_SACK;
	s->nsack = 1;
}

Test(ip_gso, ip_gro_join__nothing_that_means_something_is_lost)
{
	static void (*const changes[])(struct wire_tcp *) = {
		later_tsval, later_tsecr, wider_window, marked, unmarked, urgent,
		reduced,     echoes,      reset,        a_hole, empty,    blocks
	};

	cr_expect(joins(NULL));
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		cr_expect(!joins(changes[i]), "change %zu", i);
}

Test(ip_gso, ip_gro_join__marked_ones_stay_marked)
{
	struct wire_tcp held = data_seg(1, 1000, TCP_ACK), s = data_seg(1001, 1000, TCP_ACK);

	held.ecn = s.ecn = 3;
	cr_expect(ip_gro_join(&held, &s) && held.ecn == 3 && held.gso_size == 1000);
	s = data_seg(2001, 1000, TCP_ACK);
	s.ecn = 2;
	cr_expect(!ip_gro_join(&held, &s), "what follows is not marked by it");
}

Test(ip_gso, ip_gro_join__never_beyond_what_a_length_field_holds)
{
	struct wire_tcp held = data_seg(1, 9000, TCP_ACK), s;

	while (s = data_seg(held.seq + held.len, 9000, TCP_ACK), ip_gro_join(&held, &s))
		;
	cr_expect(held.len == 63000 || held.niov == WIRE_TCP_IOV_MAX, "%u bytes", held.len);
}
