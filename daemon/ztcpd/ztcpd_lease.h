/* ztcpd_lease.h - what the two halves of leases share: giving them (ztcpd_grant.c), and cleaning up behind them
 *
 * For ztcpd_lease.c and ztcpd_grant.c alone; the daemon's one thread. Memory: a lease is ztcpd_lease.c's, from the first
 * message of its session until all is cleaned up.
 */
#ifndef ZTCPD_LEASE_H
#define ZTCPD_LEASE_H

#include "daemon/ztcpd/lease_rule.h"
#include "daemon/ztcpd/ztcpd.h"

enum stage {
	STAGE_ASKED,       /* a socket was handed out */
	STAGE_CLEAR_PORTS, /* it is bound; what names its queue is a dead one's */
	STAGE_CLEAR_FLOWS,
	STAGE_HELD,
	STAGE_PORTS, /* it has ended */
	STAGE_MEMORY,
	STAGE_FLOWS,
	STAGE_DONE,
};

/* A walk through a map. */
struct cursor {
	bool begun, more;
	uint32_t taken;
	char next[sizeof(struct nic_flow)];
};

struct lease {
	struct source process; /* pidfd */
	struct lease *next;
	struct asker who;
	uint32_t ifindex;
	uint64_t netns;
	struct nic_lease whose;
	struct nic_maps maps;
	struct resetter out;
	struct lease_table table;
	int memory;     /* -1: not told */
	uint32_t entry; /* of the table: the next to look at */
	uint32_t ports;
	struct nic_port *port; /* that it has, or had */
	struct cursor cursor;
	enum stage stage;
	bool granted; /* by us: it can name nothing itself */
	/* of one that is granted */
	int xsk;         /* its socket, until it is entered; -1 */
	int diag, route; /* netlink, in its namespace; -1 */
	uint32_t names;  /* that it has now */
	uint32_t serial; /* of the BIND under way */
};

/* ---- ztcpd_grant.c ---- */

/* A socket for a lease whose namespace and maps are known; -EACCES: no rule gives it one. */
int grant_ask(struct ztcpd *d, struct lease *l);

/* In the namespace of the asker. */
void grant_open(struct lease *l);
void grant_close(struct lease *l);

/* To the queue that is asked for, or the first that is free. Return: 0; -EBUSY; -errno. */
int grant_bind(struct lease *l, uint32_t queue);

/* Its queue is clear: enter it, and tell. */
void grant_finish(struct ztcpd *d, struct lease *l);

/* Return: what is to be answered. */
int grant_name(struct ztcpd *d, struct lease *l, const struct nic_flow *flow);
int grant_unname(struct lease *l, const struct nic_flow *flow);
void grant_neigh(struct lease *l, const uint32_t addr[4]);

/* ---- ztcpd_lease.c ---- */

bool lease_port_note(struct lease *l, const struct nic_port *port);

#endif
