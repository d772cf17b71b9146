/* base_lease.h - the messages between an instance's device and ztcpd: who has a queue, and where its connections lie
 *
 * What it does: one session of a process with ztcpd (shm/agent.h says how it is connected) for each device that
 * shares an interface with the kernel. Messages are datagrams of one size; ztcpd tells them from its others by type.
 *
 * Who may write the selector's maps takes a queue itself, and has it looked after:
 *
 *   WATCH   to ztcpd   "queue N of this interface is mine", with the selector's maps of flows and ports: who has
 *                      their descriptors may write them anyway, so nothing is believed that could do harm
 *
 * Who may not gets a queue as a lease:
 *
 *   ASK     to ztcpd   "a queue of this interface"; the answer brings an AF_XDP socket, which is the process's to give memory and
 *                      map the rings of
 *   BIND    to ztcpd   "now": ztcpd binds the socket and enters it; the answer says to which queue
 *   NAME    to ztcpd   packets of a connection, or, with rport 0, of a port are to come to the queue
 *   UNNAME  to ztcpd   and no longer
 *   NEIGH   to ztcpd   "the kernel is to look for this neighbour", flow.remote; not answered
 *
 * And both of them:
 *
 *   TABLE   to ztcpd   where in a memfd, which comes along, the instance keeps its connections; not answered
 *   ANSWER  to all others: the message itself, with rc
 *
 * When the session or the process ends, in whatever way, ztcpd reads the memfd, resets what was open, and takes back
 * what the queue's instance has named. Nothing is written for it meanwhile: the memory is the instance's own.
 */
#ifndef ZTCP_BASE_LEASE_H
#define ZTCP_BASE_LEASE_H

#include <stdint.h>

#include "stack/base/base_nic.h"

enum { LEASE_VERSION = 2 };

enum lease_type {
	LEASE_WATCH = 16,
	LEASE_TABLE,
	LEASE_ANSWER,
	LEASE_ASK,
	LEASE_BIND,
	LEASE_NAME,
	LEASE_UNNAME,
	LEASE_NEIGH,
};

#define LEASE_QUEUE_ANY UINT32_MAX

/** struct lease_table - connections in memory: @count entries, each @stride bytes, the first at @at
 * @local, @remote:     where in an entry the addresses lie: 16 bytes, IPv4 mapped
 * @lport, @rport:      ports, 2 bytes in host order
 * @snd_nxt, @rcv_nxt:  sequence numbers, 4 bytes in host order
 * @state:              one byte
 * @open:               a bit for each state in which there is a peer to be told
 */
struct lease_table {
	uint64_t at;
	uint32_t stride, count;
	uint16_t local, remote, lport, rport;
	uint16_t snd_nxt, rcv_nxt;
	uint16_t state, unused;
	uint32_t open, spare;
};

/** struct lease_name - what is asked for, and a number by which the answer is known */
struct lease_name {
	struct nic_flow flow; /* NAME, UNNAME, NEIGH */
	uint32_t serial;
};

struct lease_msg {
	uint32_t type;    /* enum lease_type */
	uint32_t version; /* LEASE_VERSION */
	int32_t rc;       /* ANSWER: 0, -EACCES: no rule, -EDQUOT: a limit, or another -errno */
	uint32_t ifindex; /* WATCH, ASK */
	uint32_t queue;   /* WATCH; BIND: or LEASE_QUEUE_ANY; its answer */
	uint32_t pid;     /* WATCH: as struct nic_lease has it */
	union {
		struct lease_table table; /* TABLE */
		struct lease_name name;   /* all others */
	};
};

_Static_assert(sizeof(struct lease_table) == 40 && sizeof(struct lease_name) == 40 &&
		       sizeof(struct lease_msg) == 64,
	       "messages have one size, which is not that of struct agent_msg");

#endif
