/* ip_fix.h - an IP layer with two addresses, and frames to give it; for the tests of stack/ip
 *
 * What it does: struct fix is one layer of 10.0.0.1 and fd00::1 on a link where 10.0.0.2 and fd00::2 are; rx*() give it frames of
 * theirs, tx() sends, answer() takes what it sends of itself. Memory: fix_end() fails the test when a buffer is left.
 */
#ifndef ZTCP_TEST_IP_FIX_H
#define ZTCP_TEST_IP_FIX_H

#include "stack/ip/ip.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_bytes.h"
#include "stack/wire/wire_arp.h"
#include "stack/wire/wire_csum.h"
#include "stack/wire/wire_icmp.h"
#include "stack/wire/wire_ip4.h"
#include "stack/wire/wire_ip6.h"
#include "stack/wire/wire_nd.h"

static const struct wire_mac us = { { 2, 0, 0, 0, 0, 1 } }, them = { { 2, 0, 0, 0, 0, 2 } };
static const struct wire_mac all = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
static const struct wire_mac thief = { { 2, 0, 0, 0, 0, 3 } };

struct fix {
	struct ip *ip;
	void *mem;
	struct base_counters c;
	ztime_t now;
	int buffers;
	union wire_addr us4, them4, us6, them6;
};

static inline void *buf_alloc(void *ctx, uint32_t len, uint8_t **data)
{
	struct fix *f = ctx;

	f->buffers++;
	return *data = malloc(len);
}

static inline void buf_get(void *ctx, void *owner)
{
	(void)ctx;
	(void)owner;
}

static inline void buf_put(void *ctx, void *owner)
{
	struct fix *f = ctx;

	f->buffers--;
	free(owner);
}

static inline void answers_drop(struct fix *f)
{
	struct wire_frame_out out;

	while (ip_answer_take(f->ip, &out))
		;
}

static inline void fix_init(struct fix *f, void (*tune)(struct ip_config *))
{
	struct ip_config cfg;
	struct ip_error err;

	memset(f, 0, sizeof(*f));
	ip_config_defaults(&cfg);
	cfg.mac = us;
	cfg.buf = (struct wire_buf_ops){ buf_alloc, buf_get, buf_put, f };
	if (tune)
		tune(&cfg);
	f->mem = aligned_alloc(64, ip_size(&cfg));
	memset(f->mem, 0xa5, ip_size(&cfg)); /* the layer must not need zeroed memory */
	f->ip = ip_init(f->mem, &cfg, &f->c);
	f->now = ZTIME_SEC;
	f->us4 = wire_addr_v4(0x0a000001);
	f->them4 = wire_addr_v4(0x0a000002);
	f->us6 = (union wire_addr){ .b = { 0xfd, [15] = 1 } };
	f->them6 = (union wire_addr){ .b = { 0xfd, [15] = 2 } };
	cr_assert_eq(ip_addr_add(f->ip, &f->us4, 24, f->now), 0);
	cr_assert_eq(ip_addr_add(f->ip, &f->us6, 64, f->now), 0);
	f->now += 2 * ZTIME_SEC; /* both announcements are over */
	cr_assert_eq(ip_tick(f->ip, &err, 1, f->now), 0);
	answers_drop(f);
}

static inline void fix_end(struct fix *f)
{
	ip_fini(f->ip);
	cr_expect_eq(f->buffers, 0, "%d buffers left", f->buffers);
	free(f->mem);
}

static inline enum counter rx_frame(struct fix *f, const uint8_t *frame, size_t len,
				    struct ip_rx *rx)
{
	struct wire_frame_in in = { .data = frame, .len = (uint32_t)len };

	return ip_input(f->ip, &in, rx, f->now);
}

static inline size_t eth_put(uint8_t *b, const struct wire_mac *dst, uint16_t type)
{
	struct wire_eth e = { .dst = *dst, .src = them, .type = type, .vlan = WIRE_VLAN_NONE };

	return wire_eth_emit(&e, b);
}

/* An IPv4 packet with @len bytes of body. */
static inline enum counter rx4_full(struct fix *f, struct wire_ip4 h, const void *body, size_t len,
				    const struct wire_mac *dst, struct ip_rx *rx)
{
	uint8_t *b = malloc(34 + len);
	enum counter why;

	h.total_len = (uint16_t)(20 + len);
	eth_put(b, dst, WIRE_ETH_IP4);
	wire_ip4_emit(&h, b + 14);
	if (len)
		memcpy(b + 34, body, len);
	why = rx_frame(f, b, 34 + len, rx);
	free(b);
	return why;
}

static inline enum counter rx4(struct fix *f, const union wire_addr *src,
			       const union wire_addr *dst, uint8_t proto, const void *body,
			       size_t len, struct ip_rx *rx)
{
	struct wire_ip4 h = { .src = *src, .dst = *dst, .ttl = 64, .proto = proto };

	return rx4_full(f, h, body, len, &us, rx);
}

static inline enum counter rx_arp(struct fix *f, const struct wire_mac *mac, enum wire_arp_op op,
				  const union wire_addr *sender, const union wire_addr *target)
{
	struct wire_arp a = { .op = op, .sender_mac = *mac, .sender = *sender, .target = *target };
	struct ip_rx rx;
	uint8_t b[42];

	eth_put(b, op == WIRE_ARP_REQUEST ? &all : &us, WIRE_ETH_ARP);
	wire_arp_emit(&a, b + 14);
	return rx_frame(f, b, 42, &rx);
}

/* A bare ACK to @to. Return: as ip_output(). */
static inline int tx(struct fix *f, const union wire_addr *to, struct ip_hop *hop,
		     struct wire_frame_out *out)
{
	struct wire_tcp seg = { .flags = TCP_ACK, .seq = 7 };
	struct wire_flow flow = { .local = wire_addr_is_v4(to) ? f->us4 : f->us6,
				  .remote = *to,
				  .lport = 1000,
				  .rport = 2000 };

	return ip_output(f->ip, hop, &flow, &seg, out, f->now);
}

static inline bool answer(struct fix *f, struct wire_frame_out *out, struct wire_eth *eth)
{
	if (!ip_answer_take(f->ip, out))
		return false;
	wire_eth_parse(out->hdr, out->hdr_len, eth);
	return true;
}

#endif
