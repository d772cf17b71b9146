/* agent.h - the messages between a process and ztcpd
 *
 * One session per process: an AF_UNIX SOCK_SEQPACKET socket, connected to an abstract name that ztcpd binds in
 * each network namespace it serves, so that no mount has to be shared. ztcpd is asked to be
 * introduced to the process behind the other end of a connection that the selector has attested.
 *
 *   CLAIM    to ztcpd   "I hold this socket, and have claimed it with this secret" (VERDICT_CLAIM)
 *   PAIRED   to both    "this channel leads to who holds the other end", with the channel's descriptor if it is new
 *   REFUSED  to one     a reason
 *
 * A process that has a queue of an interface opens another session for it, with messages of stack/base/base_lease.h.
 *
 * ztcpd believes the selector's record of the socket: claimed by the process whose session this is, with
 * this secret. The process believes its own socket's verdict: the channel is the one that ztcpd entered there.
 */
#ifndef SHM_AGENT_H
#define SHM_AGENT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "shm/contract.h"

enum { AGENT_VERSION = 1 };

enum agent_msg_type {
	AGENT_MSG_CLAIM = 1,
	AGENT_MSG_PAIRED,
	AGENT_MSG_REFUSED,
};

enum agent_flag {
	AGENT_FRESH = 1, /* CLAIM: the channel named last time is gone, make a new one */
};

struct agent_msg {
	uint32_t type;
	uint32_t version;
	uint64_t cookie; /* SO_COOKIE of the process's own TCP socket */
	uint64_t secret; /* CLAIM: what the socket was claimed with; else 0 */
	uint64_t
		chan; /* SO_COOKIE of the process's end of the channel; CLAIM with AGENT_FRESH: the gone one */
	uint64_t
		domain; /* PAIRED: whom the peer may share an arena with; 0: the process's own kind */
	uint32_t number; /* the process's own number of the connection, echoed by ztcpd */
	uint32_t peer;   /* PAIRED: the other process's number of it */
	uint32_t flags;  /* CLAIM: AGENT_* */
	uint32_t reason; /* REFUSED: enum reason */
};

_Static_assert(sizeof(struct agent_msg) == 56, "messages have one size");

/*
 * The abstract name of the ztcpd that calls itself @agent. Who speaks another version, here or in what it shares with
 * its peer, finds nobody, and is introduced to nobody who would not understand it. Return: length for bind() and connect().
 */
static inline socklen_t agent_name(struct sockaddr_un *sa, uint64_t agent)
{
	int n = snprintf(sa->sun_path + 1, sizeof(sa->sun_path) - 1, "ztcpd/%d.%d/%016llx",
			 AGENT_VERSION, SHM_VERSION, (unsigned long long)agent);

	sa->sun_family = AF_UNIX;
	sa->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (unsigned)n);
}

#endif
