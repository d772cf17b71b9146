/* dev_route.h - which way the kernel goes, for devices that share its interfaces
 *
 * What it does: asks the kernel by route netlink, as `ip route get` does, so that policy routing, other tables and
 * interfaces that nobody else here knows of count, too. Called before a connection is given to a device, to find out
 * which one it is and whether to open it at all; any thread. One socket, one question, one answer a call; no state.
 */
#ifndef ZTCP_DEV_ROUTE_H
#define ZTCP_DEV_ROUTE_H

#include "stack/dev/dev_open.h"
#include "stack/wire/wire_addr.h"

/**
 * dev_route_to() - does the kernel send to an address by the interface that a device shares
 * @spec:    as for dev_open()
 * @to:      address of another host; the kernel's own are not led to by any
 * @ifindex: the program wants this interface (SO_BINDTODEVICE); 0: any
 * @from:    source address that the program wants, or the any-address; then set to the one that the kernel
 *           takes
 *
 * Return: true if so; false, too, for devices that share none.
 */
bool dev_route_to(const char *spec, const union wire_addr *to, uint32_t ifindex,
		  union wire_addr *from);

/** dev_route_of() - Return: whether the interface that a device shares has @addr for its own. */
bool dev_route_of(const char *spec, const union wire_addr *addr);

#endif
