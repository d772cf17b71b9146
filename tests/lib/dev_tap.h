/* dev_tap.h - a TAP interface as a device, by plain read and write; for tests
 *
 * What it does: the kernel's TCP on one side of a virtual Ethernet, an instance on the other.
 * Called like any device; one thread. Needs CAP_NET_ADMIN. Received frames are in buffers from
 * @buf and have an owner.
 */
#ifndef ZTCP_TESTS_DEV_TAP_H
#define ZTCP_TESTS_DEV_TAP_H

#include "stack/dev/dev.h"

/**
 * dev_tap_new() - make interface @name
 * @mtu: of our side; the interface's own is set by its administrator
 *
 * Return: the device, or NULL and errno.
 */
struct dev *dev_tap_new(const char *name, uint16_t mtu, const struct wire_buf_ops *buf);

#endif
