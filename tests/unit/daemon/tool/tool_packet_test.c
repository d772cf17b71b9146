/* tool_packet_test.c - packets made of pieces, and how many conversations are remembered for it */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/tool/tool_packet.h"

enum { ALL = 65536, ENDED = 1024 };

static struct tool_packet out[4];
static bool alone;          /* an end does not know the other */
static uint64_t stride = 1; /* of cookies */
static uint64_t claimed;    /* what all say that the cookie of their other end is */
static bool one_port;
static unsigned translated; /* what is added to the connecting end's port on its way */

/* A piece of conversation @n; end 1 accepted. Return: packets. */
static unsigned piece(struct tool_flows *f, uint64_t n, unsigned me, unsigned kind, uint64_t seq,
		      uint64_t ack)
{
	static const uint8_t byte[1];
	struct tool_piece p = { .rec = { .kind = kind, .len = 1, .ns = 1000 + n },
				.len = 1,
				.data = byte };
	struct tap_record *r = &p.rec;
	struct shm_end end[2] = { 0 };

	for (unsigned i = 0; i < 2; i++) {
		memcpy(end[i].addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0", 15);
		end[i].addr[15] = 1;
	}
	end[0].port = (uint16_t)(one_port ? 80 : n);
	end[1].addr[13] = (uint8_t)(n >> 24);
	end[1].addr[14] = (uint8_t)(n >> 16);
	end[1].port = 6379;
	r->flags = TAP_SHM | (me ? TAP_ACCEPTED : 0);
	r->cookie = (2 * n + 1 + me) * stride;
	r->peer = alone ? 0 : claimed ? claimed : (2 * n + 2 - me) * stride;
	r->seq = seq;
	r->ack = ack;
	r->local = end[me];
	r->remote = end[!me];
	if (me)
		r->remote.port = (uint16_t)(r->remote.port + translated);
	return tool_packets_make(f, &p, out);
}

Test(tool_packet, tool_packets_make__ends_that_both_closed_are_forgotten)
{
	struct tool_flows *f = tool_flows_make();

	for (uint64_t n = 0; n < 10 * ENDED; n++) {
		cr_assert_eq(piece(f, n, 0, TAP_BYTES, 0, 0), 4); /* with a handshake */
		cr_assert_eq(piece(f, n, 1, TAP_FIN, 0, 1), 1);
		cr_assert_eq(piece(f, n, 0, TAP_FIN, 1, 0), 1);
		cr_assert_leq(tool_flows_count(f), ENDED);
	}
	cr_assert_eq(tool_flows_count(f), ENDED);
	tool_flows_free(f);
}

Test(tool_packet, tool_packets_make__late_piece_belongs_to_what_has_ended)
{
	struct tool_flows *f = tool_flows_make();
	uint32_t seq;

	piece(f, 1, 0, TAP_BYTES, 0, 0);
	seq = out[3].seq;
	piece(f, 1, 1, TAP_FIN, 0, 2);
	piece(f, 1, 0, TAP_FIN, 2, 0);
	cr_assert_eq(piece(f, 1, 0, TAP_BYTES, 1, 0), 1);
	cr_assert_eq(out[0].seq, seq + 1);
	cr_assert_eq(tool_flows_count(f), 1);
	tool_flows_free(f);
}

Test(tool_packet, tool_packets_make__half_closed_one_lives)
{
	struct tool_flows *f = tool_flows_make();
	uint32_t seq;

	piece(f, 0, 0, TAP_BYTES, 0, 0);
	seq = out[3].seq;
	piece(f, 0, 1, TAP_FIN, 0, 1);
	for (uint64_t n = 1; n < 3 * ENDED; n++) {
		piece(f, n, 0, TAP_FIN, 0, 0);
		piece(f, n, 1, TAP_FIN, 0, 0);
	}
	cr_assert_eq(piece(f, 0, 0, TAP_BYTES, 1, 0), 1);
	cr_assert_eq(out[0].seq, seq + 1);
	tool_flows_free(f);
}

Test(tool_packet, tool_packets_make__whichever_is_quiet_for_longest_is_forgotten)
{
	struct tool_flows *f = tool_flows_make();
	uint32_t seq;

	alone = true;
	piece(f, 0, 0, TAP_BYTES, 0, 0);
	seq = out[3].seq;
	for (uint64_t n = 1; n <= ALL + 10; n++) {
		piece(f, n, 0, TAP_BYTES, 0, 0);
		if (n == ALL / 2)
			piece(f, 0, 0, TAP_BYTES, 1, 0);
		cr_assert_leq(tool_flows_count(f), ALL);
	}
	cr_assert_eq(tool_flows_count(f), ALL);
	cr_assert_eq(piece(f, 0, 0, TAP_BYTES, 2, 0), 1);
	cr_assert_eq(out[0].seq, seq + 2, "one that is in use was forgotten");
	cr_assert_eq(piece(f, 1, 0, TAP_BYTES, 0, 0), 4, "the first that was quiet is still known");
	tool_flows_free(f);
}

Test(tool_packet, tool_packets_make__ends_that_see_other_ports_are_one_conversation)
{
	struct tool_flows *f = tool_flows_make();
	uint32_t seq;

	translated = 1000;
	for (uint64_t n = 1; n <= ENDED; n++) {
		unsigned first = n & 1;

		cr_assert_eq(piece(f, n, first, TAP_BYTES, 0, 0), 4);
		seq = out[3].seq;
		cr_assert_eq(piece(f, n, !first, TAP_BYTES, 0, 1), 1);
		cr_assert_eq(out[0].ack, seq + 1);
		cr_assert_eq(tool_flows_count(f), n);
	}
	for (uint64_t n = 1; n <= ENDED; n++) {
		cr_assert_eq(piece(f, n, 1, TAP_FIN, 1, 1), 1);
		cr_assert_eq(piece(f, n, 0, TAP_FIN, 1, 1), 1);
	}
	cr_assert_eq(tool_flows_count(f), ENDED);
	tool_flows_free(f);
}

/* Whoever publishes makes up ports, addresses and cookies as it likes. */
Test(tool_packet, tool_packets_make__nobody_chooses_a_bucket)
{
	enum { PORTS, SAME, PEER, ADDRESSES, WAYS };

	for (unsigned way = 0; way < WAYS; way++) {
		struct tool_flows *f = tool_flows_make();

		alone = way == SAME || way == ADDRESSES;
		one_port = way == SAME;
		stride = 1 << 16; /* cookies differ in high bits alone */
		claimed = way == PEER;
		for (uint64_t n = 1; n <= ALL / 4; n++)
			piece(f, way == ADDRESSES ? n << 16 | 80 : n, 0, TAP_BYTES, 0, 0);
		cr_assert_eq(tool_flows_count(f), ALL / 4);
		cr_assert_leq(tool_flows_farthest(f), way == SAME ? 64 : 30); /* 4 in the mean */
		tool_flows_free(f);
	}
}
