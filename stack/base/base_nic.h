/* base_nic.h - what lies in the maps of the program that shares a network interface with the kernel
 *
 * What it does: the layout that daemon/bpf/nic.bpf.c (in the kernel), its loader and an AF_XDP
 * device agree on, and where the maps are pinned. Whoever opens them there may write flows and
 * sockets: root alone; for others ztcpd does (base_lease.h). Addresses are 16 bytes, IPv4 mapped; ports in
 * network order, as packets have them. A change needs a new NIC_VERSION.
 */
#ifndef ZTCP_BASE_NIC_H
#define ZTCP_BASE_NIC_H

#include <stdint.h>

#define NIC_PIN_DIR "/sys/fs/bpf/ztcp-nic" /* a folder "<netns cookie>-<ifindex>" each interface */
#define NIC_PIN_AT \
	"/proc/1/root" /* before it, where this mount namespace lacks it: ip netns exec has a /sys of its own */
#define NIC_PIN_NAME "%s/%llx-%u"
#define NIC_VERSION  3

enum {
	NIC_QUEUES = 64,
	NIC_FLOWS = 1 << 18,
	NIC_PORTS = 4096,
	NIC_FRAME_MAX = 3840, /* what fits a page behind the headroom that the kernel keeps */
};

/** struct nic_flow - a connection, as its end here sees it; key of map nic_flows */
struct nic_flow {
	uint32_t local[4];
	uint32_t remote[4];
	uint16_t lport;
	uint16_t rport;
};

/** struct nic_port - a port that the instance on @queue serves; key of map nic_ports
 * @local: an address of ours; all zero or ::ffff:0.0.0.0: any of that family
 */
struct nic_port {
	uint32_t local[4];
	uint16_t port;
	uint16_t queue;
};

/** struct nic_lease - whose it is; value of nic_flows and nic_ports, and of nic_queues, by queue, for those with a socket
 * @queue: where its packets must arrive
 * @pid:   process, as its own PID namespace numbers it (of a lease: as ztcpd's does)
 * @ns:    inode of that namespace; 0 of a lease. What arrives at another queue of the same process is given to that, which passes it on
 * @uid:   NIC_ANYBODY: named by one who may write these maps. Else by ztcpd for this user: a packet for which the
 *         kernel has a connection, or a listener of somebody else, stays the kernel's
 */
struct nic_lease {
	uint32_t queue;
	uint32_t pid;
	uint32_t ns;
	uint32_t uid;
};

#define NIC_ANYBODY UINT32_MAX

/* Sockets, by queue: map nic_xsks. What the program did, one counter each, by processor: nic_counts. */
enum nic_count {
	NIC_TAKEN,  /* given to an instance */
	NIC_PASSED, /* TCP that nobody named */
	NIC_KERNELS, /* to a served port, but of a connection that the kernel has, or of another user's listener */
	NIC_WRONG_QUEUE, /* of a named flow, on a queue that is none of its process's: dropped */
	NIC_FRAGMENT, /* first fragment of a named flow: dropped, it cannot be told from others later */
	NIC_ERRORS, /* ICMP errors that quote a named flow: given to its instance */
	NIC_LONG, /* of those given, longer than NIC_FRAME_MAX: lost (the kernel's own mode, docs/nic.md) */
	NIC_COUNTS
};

#endif
