/* dev_dpdk.h - a port of DPDK as a device: physical, memif, vhost-user, virtio-user, ring, tap, pcap, null
 *
 * What it does: "dpdk:..." is split into words; those that name an option below are ours, the others go to DPDK's EAL as
 * they are. The code is in a plug-in (ZTCP_DPDK_LIBRARY) that links DPDK's libraries and is opened here
 * when such a device is first wanted, so that a program which wants none loads none, and one on a
 * machine without DPDK is told what is missing.
 *
 *     port=N     which of the ports that EAL finds, 0 unless given
 *     queue=N    queue pair of this device, the first free one unless given
 *     queues=N   queue pairs of the port, 1 unless given; the first device to open it decides
 *     mbufs=N    buffers of the queue's pool, 4096 unless given, 1024 of twice the length where long packets come
 *     mtu=N      set on the port; its own unless given
 *
 * With several queues each thread's instance has one of them. Received packets go up in the driver's buffers, short ones lent, others
 * with a reference; when three quarters of the buffers are held, all are lent. What is sent goes down as a header and references to
 * payload of more than a few hundred bytes, where the port takes memory that is not DPDK's own (memif, vhost, ring, tap, pcap, null);
 * elsewhere it is copied. Where the other end leaves cutting to its device (virtio_user, vhost) long packets go and come whole; one that came in
 * several pieces goes up as a segment for each (dev_lro.h). dev.copied counts the bytes of payload that were copied: those of short packets sent, and
 * of packets in several pieces that are no such segment. dev_fd() is the descriptor of the receive interrupt, or -1 where the driver has none: then
 * dev_deadline() says when to look again. What a port whose link is down is given is lost.
 *
 * Called as dev_open.h says. EAL is started once in a process, by the first device, in the process that uses it; all
 * devices of a process name the same EAL arguments. --no-telemetry and --in-memory are given, so that nothing is
 * left in the file system; --no-huge and --no-shconf where the system has no hugepages free.
 */
#ifndef ZTCP_DEV_DPDK_H
#define ZTCP_DEV_DPDK_H

#include "stack/dev/dev_open.h"
#include "stack/zbuf/zbuf.h"

#define ZTCP_DPDK_LIBRARY "libztcp_dpdk.so"
#define ZTCP_DPDK_SYMBOL  "ztcp_dpdk"

/** struct dev_dpdk_host - where the plug-in registers its buffers: zbuf.h of whoever has opened it
 * @region_add, @region_remove, @of, @ref: zbuf_region_add(), zbuf_region_remove(), zbuf_of(), zbuf_ref()
 */
struct dev_dpdk_host {
	int (*region_add)(void *start, size_t len, size_t grain, zbuf_done_fn done, void *arg);
	int (*region_remove)(void *start);
	struct zbuf *(*of)(const void *ptr);
	struct zbuf *(*ref)(struct zbuf *z);
};

/** struct dev_dpdk_plug - the one symbol of the plug-in
 * @bytes: of this struct, as a sign that both were built together
 * @open:  as dev_dpdk_open(), with a constant @host; called by one thread at a time
 */
struct dev_dpdk_plug {
	size_t bytes;
	int (*open)(const char *rest, const struct dev_conf *conf, const struct dev_dpdk_host *host,
		    struct dev **out, struct dev_error *err);
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
