/* layer_fuzz.c - any bytes to one layer of an instance that has a connection with data in flight
 *
 * Built once for each LAYER. The input is a list of packets: a byte of choices, a byte of length, that many bytes. What lies
 * around them is right (addresses, lengths, checksums), so that they reach the layer; some are preceded by the quotation
 * of what the connection has in flight. At the end all memory must be back.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/base/base_check.h"
#include "stack/wire/wire_csum.h"
#include "stack/wire/wire_eth.h"
#include "stack/wire/wire_icmp.h"
#include "stack/wire/wire_ip4.h"
#include "stack/wire/wire_ip6.h"
#include "tests/lib/fuzz_inst.h"

#define LAYER_OPTIONS 1 /* of TCP segments */
#define LAYER_IP      2
#define LAYER_NEIGH   3 /* ARP and neighbour discovery */
#define LAYER_ICMP    4
#define LAYER_FRAG    5

#define ROOM 2048

struct fuzz {
	struct fuzz_inst i;
	struct inst_listener *listener;
	uint32_t seq[2], ack[2]; /* what the connection of each family expects */
	bool v6;                 /* the family of the packet being made */
};

static uint32_t take(struct fuzz *f, unsigned int n)
{
	return fuzz_inst_take(&f->i, n);
}

/* ---- the instance */

static void watch(struct fuzz *f, const struct wire_frame_out *out)
{
	const uint8_t *tcp = out->hdr + out->l4_at;

	if (!out->l4_len)
		return;
	f->ack[out->hdr[12] == 0x86] = base_be32_get(tcp + 4) + out->len +
				       (tcp[13] & TCP_SYN ? 1u : 0u);
}

static void settle(struct fuzz *f)
{
	struct wire_frame_out out[8];
	struct inst_conn *c;
	struct inst_event ev;
	unsigned int n;

	for (int turns = 0; turns < 50; turns++) {
		while (inst_event_take(f->i.in, &ev))
			;
		if ((c = inst_accept(f->i.in, f->listener, NULL)))
			inst_send(f->i.in, c, "something in flight", 19, 0, f->i.now);
		n = inst_output(f->i.in, out, 8, f->i.now);
		if (!n)
			return;
		for (unsigned int i = 0; i < n; i++)
			watch(f, &out[i]);
	}
}

static void frame_in(struct fuzz *f, const uint8_t *data, size_t len)
{
	fuzz_inst_frame(&f->i, data, len);
	settle(f);
}

/* ---- what lies around the fuzzer's bytes */

static size_t eth_put(uint8_t *b, uint16_t type)
{
	struct wire_eth eth = {
		.dst = fuzz_inst_mac, .src = fuzz_inst_peer, .type = type, .vlan = WIRE_VLAN_NONE
	};

	return wire_eth_emit(&eth, b);
}

/* Ethernet and IP before @len bytes of @proto. Return: where these begin. */
static size_t ip_put(struct fuzz *f, uint8_t *b, uint8_t proto, size_t len, uint8_t hops)
{
	struct wire_ip4 h4 = { .src = f->i.them[0],
			       .dst = f->i.us[0],
			       .ttl = hops,
			       .proto = proto,
			       .total_len = (uint16_t)(WIRE_IP4_LEN + len) };
	struct wire_ip6 h6 = { .src = f->i.them[1],
			       .dst = f->i.us[1],
			       .hops = hops,
			       .proto = proto,
			       .payload_len = (uint16_t)len };
	size_t at = eth_put(b, f->v6 ? WIRE_ETH_IP6 : WIRE_ETH_IP4);

	return at + (f->v6 ? wire_ip6_emit(&h6, b + at) : wire_ip4_emit(&h4, b + at));
}

static void csum_put(struct fuzz *f, uint8_t *l4, size_t len, uint8_t proto, size_t field)
{
	uint64_t sum = 0;

	base_be16_put(l4 + field, 0);
	if (proto != WIRE_PROTO_ICMP)
		sum = wire_csum_pseudo(&f->i.them[f->v6], &f->i.us[f->v6], proto, (uint32_t)len);
	base_be16_put(l4 + field, wire_csum_fold(wire_csum_add(sum, l4, len)));
}

/* A header without options at @l4, for the connection of this family. */
static void tcp_head(struct fuzz *f, uint8_t *l4, uint16_t lport, uint8_t flags)
{
	memset(l4, 0, 20);
	base_be16_put(l4, 1000);
	base_be16_put(l4 + 2, lport);
	base_be32_put(l4 + 4, f->seq[f->v6]);
	base_be32_put(l4 + 8, f->ack[f->v6]);
	l4[12] = 0x50;
	l4[13] = flags;
	base_be16_put(l4 + 14, 60000);
}

static void tcp_send_in(struct fuzz *f, uint8_t *b, size_t at, size_t len)
{
	csum_put(f, b + at, len, 6, 16);
	frame_in(f, b, at + len);
}

/* ---- one packet of the fuzzer's for each layer */

static void options_in(struct fuzz *f, uint32_t how, const uint8_t *p, size_t n)
{
	uint8_t b[ROOM];
	size_t opts = BASE_MIN(n, (size_t)40), hdr = 20 + (opts + 3) / 4 * 4, at;
	bool syn = how & 2;

	at = ip_put(f, b, 6, hdr + (n - opts), 64);
	tcp_head(f, b + at, 80, syn ? TCP_SYN : TCP_ACK);
	if (syn)
		base_be16_put(b + at, (uint16_t)(2000 + (how >> 4)));
	b[at + 12] = (uint8_t)(hdr / 4 << 4);
	memset(b + at + 20, 0, hdr - 20);
	memcpy(b + at + 20, p, opts);
	memcpy(b + at + hdr, p + opts, n - opts);
	tcp_send_in(f, b, at, hdr + (n - opts));
	if (!syn)
		f->seq[f->v6] += (uint32_t)(n - opts);
}

static void ip_in(struct fuzz *f, uint32_t how, const uint8_t *p, size_t n)
{
	uint8_t b[ROOM];
	size_t at = eth_put(b, f->v6 ? WIRE_ETH_IP6 : WIRE_ETH_IP4), ihl;

	memset(b + at, 0, 60);
	memcpy(b + at, p, n);
	b[at] = (uint8_t)((f->v6 ? 0x60 : 0x40) | (b[at] & 15));
	if (n >= 40 && how & 2) /* to us, from the neighbour: most must get beyond that check */
		memcpy(b + at + (f->v6 ? 8 : 12), f->v6 ? f->i.them[1].b : f->i.them[0].b + 12,
		       f->v6 ? 16 : 4);
	if (n >= 40 && how & 2)
		memcpy(b + at + (f->v6 ? 24 : 16), f->v6 ? f->i.us[1].b : f->i.us[0].b + 12,
		       f->v6 ? 16 : 4);
	ihl = (size_t)(b[at] & 15) * 4;
	if (!f->v6 && ihl >= 20) {
		base_be16_put(b + at + 10, 0);
		base_be16_put(b + at + 10, wire_csum_fold(wire_csum_add(0, b + at, ihl)));
	}
	frame_in(f, b, at + n);
}

static void neigh_in(struct fuzz *f, uint32_t how, const uint8_t *p, size_t n)
{
	uint8_t b[ROOM];
	size_t at;

	if (!f->v6) {
		at = eth_put(b, WIRE_ETH_ARP);
		memcpy(b + at, p, n);
		if (n >= 8 && how & 2)
			memcpy(b + at, "\0\1\10\0\6\4", 6);
		frame_in(f, b, at + n);
		return;
	}
	n = BASE_MAX(n, (size_t)8);
	at = ip_put(f, b, WIRE_PROTO_ICMP6, n, 255);
	memcpy(b + at, p, n);
	b[at] = (uint8_t)(WIRE_ICMP6_RS + b[at] % 5);
	b[at + 1] = 0;
	csum_put(f, b + at, n, WIRE_PROTO_ICMP6, 2);
	frame_in(f, b, at + n);
}

static void icmp_in(struct fuzz *f, uint32_t how, const uint8_t *p, size_t n)
{
	uint8_t b[ROOM], quoted[ROOM], proto = f->v6 ? WIRE_PROTO_ICMP6 : WIRE_PROTO_ICMP;
	size_t quote = how & 2 ? (f->v6 ? 48 : 28) : 0, at, len;
	union wire_addr from = f->i.them[f->v6];

	n = BASE_MAX(n, (size_t)8);
	len = n + quote;
	if (quote) { /* what we sent: the addresses and ports the other way round */
		f->i.them[f->v6] = f->i.us[f->v6];
		f->i.us[f->v6] = from;
		ip_put(f, quoted, 6, 20, 64);
		f->i.us[f->v6] = f->i.them[f->v6];
		f->i.them[f->v6] = from;
		base_be16_put(quoted + 14 + quote - 8, 80);
		base_be16_put(quoted + 14 + quote - 6, 1000);
		base_be32_put(quoted + 14 + quote - 4, f->ack[f->v6] - 10);
	}
	at = ip_put(f, b, proto, len, 64);
	memcpy(b + at, p, 8);
	memcpy(b + at + 8, quoted + 14, quote);
	memcpy(b + at + 8 + quote, p + 8, n - 8);
	csum_put(f, b + at, len, proto, 2);
	frame_in(f, b, at + len);
}

/* Offset, more and identification are the fuzzer's; so are the bytes. */
static void frag_in(struct fuzz *f, uint32_t how, const uint8_t *p, size_t n)
{
	uint8_t b[ROOM];
	uint16_t off = (uint16_t)((how >> 2 & 31) * 8);
	size_t at;

	if (f->v6) {
		at = ip_put(f, b, WIRE_IP6_FRAGMENT, n + 8, 64);
		memset(b + at, 0, 8);
		b[at] = 6;
		base_be16_put(b + at + 2, (uint16_t)(off | (how & 2) >> 1));
		base_be32_put(b + at + 4, p[0] & 3u);
		memcpy(b + at + 8, p, n);
		frame_in(f, b, at + 8 + n);
		return;
	}
	at = ip_put(f, b, 6, n, 64);
	base_be16_put(b + at - 16, p[0] & 3u);
	base_be16_put(b + at - 14, (uint16_t)(off / 8 | (how & 2) << 12));
	base_be16_put(b + at - 10, 0);
	base_be16_put(b + at - 10, wire_csum_fold(wire_csum_add(0, b + at - 20, 20)));
	memcpy(b + at, p, n);
	frame_in(f, b, at + n);
}

static void layer_in(struct fuzz *f, uint32_t how, const uint8_t *p, size_t n)
{
	static void (*const layers[])(struct fuzz *, uint32_t, const uint8_t *, size_t) = {
		[LAYER_OPTIONS] = options_in, [LAYER_IP] = ip_in,     [LAYER_NEIGH] = neigh_in,
		[LAYER_ICMP] = icmp_in,       [LAYER_FRAG] = frag_in,
	};

	layers[LAYER](f, how, p, n);
}

static void step(struct fuzz *f)
{
	uint32_t how = take(f, 1);
	size_t n = take(f, 1), have;
	uint8_t piece[256] = { 0 };

	if (how == 255) {
		f->i.now += (ztime_t)n << 24;
		settle(f);
		return;
	}
	have = BASE_MIN(n, (size_t)(f->i.end - f->i.p));
	memcpy(piece, f->i.p, have);
	f->i.p += have;
	f->v6 = how & 1;
	layer_in(f, how, piece, n);
}

/* ---- life */

static void handshake(struct fuzz *f, bool v6)
{
	uint8_t b[ROOM];
	size_t at;

	f->v6 = v6;
	for (int i = 0; i < 2; i++) {
		at = ip_put(f, b, 6, 20, 64);
		tcp_head(f, b + at, 80, i ? TCP_ACK : TCP_SYN);
		tcp_send_in(f, b, at, 20);
		f->seq[v6] += !i;
	}
}

static void start(struct fuzz *f)
{
	union wire_addr any = { .q = { 0, 0 } };

	if (LAYER != LAYER_NEIGH) {
		ip_neigh_add(inst_ip(f->i.in), &f->i.them[0], &fuzz_inst_peer, f->i.now);
		ip_neigh_add(inst_ip(f->i.in), &f->i.them[1], &fuzz_inst_peer, f->i.now);
	}
	if (inst_listen(f->i.in, &f->i.us[0], 80, 4, NULL, &f->listener))
		abort();
	handshake(f, false);
	inst_listener_close(f->i.in, f->listener, f->i.now);
	if (inst_listen(f->i.in, &any, 80, 4, NULL, &f->listener))
		abort();
	inst_listener_tcp(f->listener)->tfo_max = 2;
	handshake(f, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { 0 };

	fuzz_inst_start(&f.i, data, size);
	start(&f);
	while (f.i.p < f.i.end)
		step(&f);
	fuzz_inst_end(&f.i);
	return 0;
}
