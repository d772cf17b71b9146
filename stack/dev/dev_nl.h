/* dev_nl.h - what the kernel says by route netlink, as values
 *
 * What it does: reads one message after the other out of a buffer. Called by dev_kernel.c with what
 * a netlink socket gave, and by a fuzzer with anything; pure; any thread. Memory: the caller's.
 */
#ifndef ZTCP_DEV_NL_H
#define ZTCP_DEV_NL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/wire/wire_addr.h"

enum dev_nl_kind {
	DEV_NL_OTHER, /* of no interest */
	DEV_NL_DONE,  /* a dump has ended */
	DEV_NL_ERROR, /* err says what a request came to */
	DEV_NL_LINK,
	DEV_NL_ADDR,
	DEV_NL_ROUTE,
	DEV_NL_NEIGH,
};

/** struct dev_nl - one message
 * @kind:    which of the others are set
 * @gone:    it is no more
 * @usable:  link: up; address: not tentative; route: by unicast through ifindex, otherwise nobody is to be reached
 *           by it here; neighbour: mac is good
 * @bits:    address, route: prefix length
 * @err:     0 or -errno
 * @seq:     of the request that it answers
 * @ifindex: route: of a next hop, the caller's own interface if one is; 0: none
 * @metric:  route: the lowest one of a prefix is in force
 * @mtu:     link, route; 0: not told
 * @addr:    address, network, neighbour
 * @via:     route: gateway, or any-address for "on the link"
 */
struct dev_nl {
	enum dev_nl_kind kind;
	bool gone;
	bool usable;
	uint8_t bits;
	int err;
	uint32_t seq;
	uint32_t ifindex;
	uint32_t metric;
	uint32_t mtu;
	struct wire_mac mac;
	union wire_addr addr;
	union wire_addr via;
};

/**
 * dev_nl_parse() - the next message
 * @buf:     @len bytes, aligned to 4
 * @ifindex: the caller's interface, which is preferred where a route has several next hops
 * @m:       filled unless 0 is returned
 *
 * Return: bytes to go on after; 0 when what is left is no whole message.
 */
size_t dev_nl_parse(const void *buf, size_t len, uint32_t ifindex, struct dev_nl *m);

#endif
