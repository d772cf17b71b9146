/* dev_tap.h - a TAP interface as a device, by plain read and write
 *
 * What it does: the kernel's TCP/IP on one side of a virtual Ethernet, an instance on the other. It
 * works in every network namespace where CAP_NET_ADMIN is had, and needs nothing else; two system
 * calls a packet make it slow. Called like any device; one thread. Memory: received frames are in
 * buffers from conf.buf and have an owner. The interface goes with the device.
 */
#ifndef ZTCP_DEV_TAP_H
#define ZTCP_DEV_TAP_H

#include "stack/dev/dev_open.h"

/**
 * dev_tap_open() - make an interface
 * @rest: "NAME[,mtu=N]"; mtu, of both sides, 576 to 65521, is 1500 unless given. The interface's
 *        address is set by its administrator, and it is up already
 *
 * Parameters and result otherwise as dev_open().
 */
int dev_tap_open(const char *rest, const struct dev_conf *conf, struct dev **out,
		 struct dev_error *err);

#endif
