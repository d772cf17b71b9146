/* wire_addr.h - internet and Ethernet addresses, and the pair of ends that names a connection
 *
 * What it does: one 16-byte address for both families: IPv4 is held as ::ffff:a.b.c.d (RFC 4291
 * 2.5.5.2), so that a flow is one fixed-size key. Called by everything above base; plain values,
 * any thread.
 */
#ifndef ZTCP_WIRE_ADDR_H
#define ZTCP_WIRE_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "stack/base/base_bytes.h"

#define WIRE_MAC_LEN 6

struct wire_mac {
	uint8_t b[WIRE_MAC_LEN];
};

union wire_addr {
	uint8_t b[16]; /* network order */
	uint32_t w[4];
	uint64_t q[2];
};

/* A connection as this host sees it. Ports in host order. */
struct wire_flow {
	union wire_addr local, remote;
	uint16_t lport, rport;
	uint32_t spare; /* whoever keeps the flow may use it: no part of the connection's name */
};

#define WIRE_ADDR_V4_MARK 0xffff0000u /* word 2 of a mapped address, as loaded on little endian */

/** wire_addr_v4() - the mapped form of the IPv4 address @host (host order). */
static inline union wire_addr wire_addr_v4(uint32_t host)
{
	return (union wire_addr){ .w = { 0, 0, WIRE_ADDR_V4_MARK, __builtin_bswap32(host) } };
}

/** wire_addr_v4_bytes() - the mapped form of the 4 bytes at @p, in network order. */
static inline union wire_addr wire_addr_v4_bytes(const void *p)
{
	return wire_addr_v4(base_be32_get(p));
}

/** wire_addr_v6_bytes() - the 16 bytes at @p. */
static inline union wire_addr wire_addr_v6_bytes(const void *p)
{
	union wire_addr a;

	memcpy(a.b, p, sizeof(a.b));
	return a;
}

/** wire_addr_is_v4() - Return: true when @a is a mapped IPv4 address. */
static inline bool wire_addr_is_v4(const union wire_addr *a)
{
	return a->q[0] == 0 && a->w[2] == WIRE_ADDR_V4_MARK;
}

/** wire_addr_v4_host() - Return: the IPv4 address inside @a, host order. */
static inline uint32_t wire_addr_v4_host(const union wire_addr *a)
{
	return __builtin_bswap32(a->w[3]);
}

/** wire_addr_equal() - Return: true when both are the same address. */
static inline bool wire_addr_equal(const union wire_addr *a, const union wire_addr *b)
{
	return a->q[0] == b->q[0] && a->q[1] == b->q[1];
}

/** wire_addr_is_any() - Return: true for :: and for 0.0.0.0. */
static inline bool wire_addr_is_any(const union wire_addr *a)
{
	return a->q[0] == 0 && (a->q[1] == 0 || (a->w[2] == WIRE_ADDR_V4_MARK && a->w[3] == 0));
}

/** wire_addr_is_this_net() - Return: true for 0.0.0.0/8, which names a host on "this" network (RFC 1122 3.2.1.3 b). */
static inline bool wire_addr_is_this_net(const union wire_addr *a)
{
	return wire_addr_is_v4(a) && a->b[12] == 0;
}

/** wire_addr_is_multicast() - Return: true for 224.0.0.0/4 and ff00::/8. */
static inline bool wire_addr_is_multicast(const union wire_addr *a)
{
	return wire_addr_is_v4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}

/** wire_addr_is_broadcast() - Return: true for 255.255.255.255. */
static inline bool wire_addr_is_broadcast(const union wire_addr *a)
{
	return wire_addr_is_v4(a) && a->w[3] == 0xffffffffu;
}

/** wire_addr_is_loopback() - Return: true for 127.0.0.0/8 and ::1. */
static inline bool wire_addr_is_loopback(const union wire_addr *a)
{
	if (wire_addr_is_v4(a))
		return a->b[12] == 127;
	return a->q[0] == 0 && a->w[2] == 0 && a->w[3] == 0x01000000u;
}

/** wire_addr_is_link_local() - Return: true for 169.254.0.0/16 and fe80::/10. */
static inline bool wire_addr_is_link_local(const union wire_addr *a)
{
	if (wire_addr_is_v4(a))
		return a->b[12] == 169 && a->b[13] == 254;
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

/**
 * wire_addr_in_prefix() - Return: true when the first @bits (0 to 128, mapped) of both are equal.
 */
static inline bool wire_addr_in_prefix(const union wire_addr *a, const union wire_addr *net,
				       unsigned int bits)
{
	unsigned int whole = bits / 8, rest = bits % 8;

	if (memcmp(a->b, net->b, whole) != 0)
		return false;
	return rest == 0 || ((a->b[whole] ^ net->b[whole]) >> (8 - rest)) == 0;
}

/** wire_flow_equal() - Return: true when both name the same connection. */
static inline bool wire_flow_equal(const struct wire_flow *a, const struct wire_flow *b)
{
	return wire_addr_equal(&a->remote, &b->remote) && wire_addr_equal(&a->local, &b->local) &&
	       a->lport == b->lport && a->rport == b->rport;
}

/** wire_mac_equal() - Return: true when both are the same station. */
static inline bool wire_mac_equal(const struct wire_mac *a, const struct wire_mac *b)
{
	return memcmp(a->b, b->b, WIRE_MAC_LEN) == 0;
}

/** wire_mac_is_group() - Return: true for multicast and broadcast station addresses. */
static inline bool wire_mac_is_group(const struct wire_mac *m)
{
	return m->b[0] & 1;
}

#endif
