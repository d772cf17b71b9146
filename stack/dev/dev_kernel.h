/* dev_kernel.h - addresses, routes and neighbours of the kernel, for an instance on the kernel's interface
 *
 * What it does: keeps a struct ip as the kernel's tables say for one interface. Called by devices that share an
 * interface, on the thread that drives the instance; one netlink socket each. Memory: its own.
 *
 * Theory of operation. The kernel owns ARP and neighbour discovery: it hears the answers, so it must ask the
 * questions. A question of the instance is not sent but asked of the kernel, whose entry, now
 * or when it is resolved, comes back as a message. Neighbours are taken over one by one; on any change of
 * addresses or routes both are read anew as a whole and compared, which is simple and seldom. Of a
 * prefix the route with the lowest metric counts. Routes by way of other interfaces, and those that forbid, are
 * known as "not by this one", so that their destinations are the kernel's. Policy routing (ip rule) and the tables
 * besides main are not looked at. When the kernel has more routes than struct ip holds, there are none: all is the kernel's.
 */
#ifndef ZTCP_DEV_KERNEL_H
#define ZTCP_DEV_KERNEL_H

#include "stack/dev/dev_link.h"
#include "stack/ip/ip.h"

struct dev_kernel;

/** dev_kernel_open() - a netlink socket. Return: 0 and *@k; -errno and @err. */
int dev_kernel_open(const struct dev_link *link, const struct dev_conf *conf, struct dev_kernel **k,
		    struct dev_error *err);

/** dev_kernel_close() - NULL is harmless; what it has put into a struct ip stays. */
void dev_kernel_close(struct dev_kernel *k);

/** dev_kernel_fd() - Return: descriptor that is readable when the kernel has said something. */
int dev_kernel_fd(const struct dev_kernel *k);

/** dev_kernel_lease() - ztcpd has the right to ask the kernel for neighbours, the process has not; @session is the caller's. */
void dev_kernel_lease(struct dev_kernel *k, int session);

/** dev_kernel_follow() - fill @ip, and keep it. Return: 0 or -errno. */
int dev_kernel_follow(struct dev_kernel *k, struct ip *ip, ztime_t now);

/** dev_kernel_tick() - take over what has changed; at most once a millisecond it costs a system call. */
void dev_kernel_tick(struct dev_kernel *k, ztime_t now);

/**
 * dev_kernel_takes() - is a frame one that the kernel must send in our place
 *
 * ARP and neighbour discovery: a question is asked of the kernel; the rest is the kernel's own business
 * and dropped. Return: true when the frame is not to be sent.
 */
bool dev_kernel_takes(struct dev_kernel *k, const struct wire_frame_out *f);

#endif
