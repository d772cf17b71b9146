/* dev_lease.h - a device's session with ztcpd, which looks after what it leaves behind
 *
 * What it does: tells ztcpd whose a queue is and where its connections lie (stack/base/base_lease.h). Called by
 * devices that share an interface with the kernel, when they open; waits for ztcpd a second at most. Memory:
 * the session's descriptor is the caller's, who closes it last.
 */
#ifndef ZTCP_DEV_LEASE_H
#define ZTCP_DEV_LEASE_H

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

#endif
