/* policy_iface.h - interfaces of the stack: their devices, addresses and routes, by lines in text
 *
 * What: parser of /etc/ztcp/interfaces (docs/interfaces.md). A line is one interface: the device that carries
 * it, its addresses, and where the rest of its networks is reached. Pure: no system call, no clock, no malloc.
 * Who calls: the preload library (before a connection is given to the stack) and `ztcp policy check`, both by
 * policy_ifaces_load() of policy_load.h.
 * Memory: the caller's; plain values, nothing inside points anywhere.
 * Threads: constant after policy_ifaces_parse(); any number may look.
 */
#ifndef ZTCP_POLICY_IFACE_H
#define ZTCP_POLICY_IFACE_H

#include "daemon/policy/policy.h"

#define POLICY_IFACES_MAX      8u   /* interfaces in the file */
#define POLICY_IFACE_NAME_MAX  15u  /* bytes of a name */
#define POLICY_IFACE_ADDRS_MAX 8u   /* addresses of one */
#define POLICY_IFACE_ROUTES    16u  /* networks behind its gateways */
#define POLICY_IFACE_MTU_MIN   576u /* 1280 with an IPv6 address */
#define POLICY_IFACE_MTU_MAX   65535u

/** struct policy_net - an address with the length of its network's prefix
 * @family: 4 or 6; 0: none
 * @bits:   0 to 32 or 128
 * @ip:     network byte order; IPv4 in the first four bytes
 */
struct policy_net {
	uint8_t family;
	uint8_t bits;
	uint8_t ip[16];
};

/** struct policy_iface - one interface
 * @name:    by which reasons and tools name it
 * @device:  what carries its frames, as the stack's devices read it: "tap:zt0"
 * @addr:    @addrs addresses of its own
 * @gateway: for IPv4 and IPv6; family 0: none
 * @route:   @routes networks that are reached by its gateways
 * @mtu:     longest IP packet; 0: the device's
 * @line:    of the file, from 1
 * @shared:  the kernel has the interface, too: addresses, routes and MTU are the kernel's, none is given here
 */
struct policy_iface {
	char name[POLICY_IFACE_NAME_MAX + 1];
	char device[POLICY_TEXT_MAX + 1];
	struct policy_net addr[POLICY_IFACE_ADDRS_MAX];
	struct policy_net gateway[2];
	struct policy_net route[POLICY_IFACE_ROUTES];
	unsigned addrs, routes, mtu, line;
	bool shared;
};

struct policy_ifaces {
	struct policy_iface iface[POLICY_IFACES_MAX];
	unsigned count;
};

/**
 * policy_ifaces_parse() - read a text
 * @out:  filled; worthless after an error
 * @file: name for errors
 * @text: need not end in NUL; borrowed for the call
 * @len:  bytes
 * @err:  filled on error
 *
 * A gateway without a route of its family leads everywhere. Return: 0 or -EINVAL.
 */
int policy_ifaces_parse(struct policy_ifaces *out, const char *file, const char *text, size_t len,
			struct policy_error *err);

/**
 * policy_iface_to() - the interface that leads to an address: the longest prefix wins, then the first line
 * @linked: set to whether the address is on the link itself, not behind a gateway; may be NULL
 *
 * An address that belongs to an interface of the file is led to by none. Return: its index, or -1.
 */
int policy_iface_to(const struct policy_ifaces *all, const struct policy_addr *to, bool *linked);

/** policy_iface_of() - Return: index of the interface that has this address for its own, or -1. */
int policy_iface_of(const struct policy_ifaces *all, const struct policy_addr *addr);

#endif
