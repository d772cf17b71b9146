/* wire_nd.h - neighbour solicitations and advertisements (RFC 4861)
 *
 * What it does: parse and emit the body of these two ICMPv6 messages. Called by ip; the message is
 * borrowed; pure; any thread.
 */
#ifndef ZTCP_WIRE_ND_H
#define ZTCP_WIRE_ND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/wire/wire_addr.h"
#include "stack/wire/wire_icmp.h"

#define WIRE_ND_BODY_LEN 24  /* target and one link-layer address option */
#define WIRE_ND_HOPS     255 /* proves that the message comes from this link */

enum wire_nd_flag {
	WIRE_ND_ROUTER = 1u << 31,
	WIRE_ND_SOLICITED = 1u << 30,
	WIRE_ND_OVERRIDE = 1u << 29,
};

struct wire_nd {
	union wire_addr target;
	uint32_t flags; /* enum wire_nd_flag; 0 in a solicitation */
	bool has_mac;
	struct wire_mac mac; /* source (NS) or target (NA) link-layer address */
};

/**
 * wire_nd_parse() - read a solicitation or an advertisement
 * @m:    parsed message of type WIRE_ICMP6_NS or WIRE_ICMP6_NA
 * @hops: of the packet
 * @src:  of the packet
 * @dst:  of the packet
 * @nd:   set on success only
 *
 * Return: CNT_none, or CNT_wire_nd_bad by the rules of RFC 4861 7.1.
 */
enum counter wire_nd_parse(const struct wire_icmp *m, uint8_t hops, const union wire_addr *src,
			   const union wire_addr *dst, struct wire_nd *nd);

/**
 * wire_nd_emit() - write the body, with the address option that @type calls for when @nd->has_mac
 *
 * Return: bytes written, 16 or WIRE_ND_BODY_LEN.
 */
unsigned int wire_nd_emit(const struct wire_nd *nd, uint8_t type, uint8_t *out);

/** wire_nd_group() - Return: the solicited-node multicast address of @a (RFC 4291 2.7.1). */
union wire_addr wire_nd_group(const union wire_addr *a);

/** wire_nd_group_mac() - Return: the station address of multicast address @a (RFC 2464 7). */
struct wire_mac wire_nd_group_mac(const union wire_addr *a);

#endif
