/* dev_dpdk.h - a port of DPDK as a device: physical, memif, vhost-user, virtio-user, ring, tap, pcap, null
 *
 * What it does: "dpdk:..." is split into words; those that name an option below are ours, the others go to DPDK's EAL as
 * they are. The code is in a plug-in (ZTCP_DPDK_LIBRARY) that links DPDK's libraries and is opened here
 * when such a device is first wanted, so that a program which wants none loads none, and one on a
 * machine without DPDK is told what is missing.
 *
 *     port=N     which of the ports that EAL finds, 0 unless given
 *     queue=N    queue pair of this device, 0 unless given
 *     queues=N   queue pairs of the port, 1 unless given; the first device to open it decides
 *     mbufs=N    buffers of the queue's pool, 8192 unless given
 *     mtu=N      set on the port; its own unless given
 *
 * Received packets are copied into buffers of conf.buf, sent ones into buffers of DPDK: so any driver serves, also those
 * that need all memory to be DPDK's own. dev_fd() is the descriptor of the receive interrupt, or -1 where the driver has none: then
 * dev_deadline() says when to look again. What a port whose link is down is given is lost.
 *
 * Called as dev_open.h says. EAL is started once in a process, by the first device, in the process that uses it; all
 * devices of a process name the same EAL arguments. --no-telemetry and --in-memory are given, so that nothing is
 * left in the file system; --no-huge and --no-shconf where the system has no hugepages free.
 */
#ifndef ZTCP_DEV_DPDK_H
#define ZTCP_DEV_DPDK_H

#include "stack/dev/dev_open.h"

#define ZTCP_DPDK_LIBRARY "libztcp_dpdk.so"
#define ZTCP_DPDK_SYMBOL  "ztcp_dpdk"

/** struct dev_dpdk_plug - the one symbol of the plug-in
 * @bytes: of this struct, as a sign that both were built together
 * @open:  as dev_dpdk_open(); called by one thread at a time
 */
struct dev_dpdk_plug {
	size_t bytes;
	int (*open)(const char *rest, const struct dev_conf *conf, struct dev **out,
		    struct dev_error *err);
};

/**
 * dev_dpdk_open() - open the plug-in, then the port
 * @rest: words, as above
 *
 * Parameters and result otherwise as dev_open(); -ENOENT: the plug-in or a library of DPDK is missing.
 */
int dev_dpdk_open(const char *rest, const struct dev_conf *conf, struct dev **out,
		  struct dev_error *err);

#endif
