/* dev_lease.h - a device's session with ztcpd, which gives it a queue, or looks after what it leaves behind
 *
 * What it does: the messages of stack/base/base_lease.h. Who has the right to take a queue tells ztcpd that it has one, and
 * where its connections lie; who has not asks ztcpd for one, and for each port and connection. Called by
 * devices that share an interface with the kernel; waits for ztcpd a second at most. Memory:
 * descriptors are the caller's, who closes the session last. Threads: one at a time on a session.
 */
#ifndef ZTCP_DEV_LEASE_H
#define ZTCP_DEV_LEASE_H

#include <stdbool.h>

#include "stack/base/base_lease.h"
#include "stack/dev/dev_open.h"

/**
 * dev_lease_watch() - have the queue looked after when this process has died
 * @flows: and @ports: maps of the selector on the interface
 *
 * Return: the session; -1: nobody looks after it, which changes nothing else.
 */
int dev_lease_watch(const struct dev_conf *conf, uint32_t ifindex, uint32_t queue, int flows,
		    int ports);

/** dev_lease_table() - where the connections lie: in @memory, which ztcpd then holds, too. */
void dev_lease_table(int session, int memory, const struct lease_table *t);

/**
 * dev_lease_ask() - ask for a queue of an interface
 * @session: set on success
 *
 * Return: an AF_XDP socket, to be given memory and mapped, and then dev_lease_bind(). -ENOTCONN: there is nobody to ask; -EACCES: no
 * rule allows it; -EDQUOT: this user has enough; -ENOENT: the selector is not on the interface; another -errno.
 */
int dev_lease_ask(const struct dev_conf *conf, uint32_t ifindex, int *session);

/**
 * dev_lease_bind() - to a queue
 * @queue: or LEASE_QUEUE_ANY; set on success
 *
 * Return: 0; -EBUSY: it is taken, or all are; another -errno.
 */
int dev_lease_bind(int session, uint32_t *queue);

/** dev_lease_name() - packets of @flow are to come here (@on), or no longer. Return: 0; -EACCES, -EDQUOT as above; -errno. */
int dev_lease_name(int session, const struct nic_flow *flow, bool on);

/** dev_lease_neigh() - the kernel is to look for a neighbour: 16 bytes, IPv4 mapped. */
void dev_lease_neigh(int session, const uint8_t addr[16]);

#endif
