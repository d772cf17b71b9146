/* dev_xdp.h - one queue of a kernel interface as a device, by AF_XDP, shared with the kernel
 *
 * What it does: an XDP program that `ztcp nic attach` (or ztcpd) has put on the interface gives this
 * queue's socket the packets of flows and ports that dev_steer() has named, and leaves all others to
 * the kernel. Called like any device; one thread, but received buffers may be given back by any.
 *
 * Theory of operation. The device owns a UMEM: chunks for receiving, registered as a zbuf region,
 * and chunks for sending. A received frame goes up in its chunk; the last zbuf_free() puts it on a
 * list, and the next dev_recv() gives it to the kernel again. When most chunks are out (an application that
 * does not read), frames are lent for one call instead and so copied: a slow reader costs itself, not
 * the queue. Sent frames are gathered into a chunk, for the kernels that this runs on take one piece
 * a packet. The kernel is asked to send once a burst; where the driver says so, to receive, too.
 *
 * Checksums that virtual links leave unfilled. A sender on the same machine (the other end of a veth, the host of
 * a virtio device) hands over TCP packets with only the pseudo header's sum in the checksum
 * field, as its own hardware would have done the rest. On such interfaces, and no others, a packet
 * whose field equals exactly that sum is taken as good; any other is verified as always. No link was
 * crossed that could have damaged the former, and a damaged one passes by chance no more often than the
 * checksum itself lets it.
 */
#ifndef ZTCP_DEV_XDP_H
#define ZTCP_DEV_XDP_H

#include "stack/dev/dev_open.h"

/**
 * dev_xdp_open() - bind to a queue
 * @rest: "IFNAME[,queue=N][,chunks=N]": the first queue that is free unless given; chunks for receiving, a power of two
 *        from 256 to 65536, 2048 unless given
 *
 * Needs the selector on the interface, and root or CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF, or else a ztcpd that gives this user a queue.
 * Parameters and result otherwise as dev_open(); -ENOENT: no selector; -EBUSY: the queue is taken, or all are;
 * -EKEYREJECTED: ztcpd has no rule for this process; -EDQUOT: it has given this user enough; -EMSGSIZE: the MTU is over the limit.
 */
int dev_xdp_open(const char *rest, const struct dev_conf *conf, struct dev **out,
		 struct dev_error *err);

/**
 * dev_xdp_csum_ok() - is a TCP checksum one that a virtual link has left unfilled
 * @frame: from the Ethernet header on, untagged
 *
 * Return: true when the field holds the pseudo header's sum and nothing else.
 */
bool dev_xdp_csum_ok(const uint8_t *frame, uint32_t len);

#endif
