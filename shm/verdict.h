/* verdict.h - what a process asks the selector of its own socket, and what it tells it
 *
 * The selector's eBPF programs answer two socket options of a level that the kernel does not know; without
 * them the kernel says ENOPROTOOPT. Only who holds a socket can ask or claim it, and only the kernel and ztcpd
 * write the answer: so nothing in it has to be believed on the word of another process. Used by the library, by
 * ztcpd and by daemon/bpf; numbers are in host byte order.
 *
 *   getsockopt(fd, VERDICT_LEVEL, VERDICT_ANSWER, &answer, &len)     or VERDICT_ANSWER | VERDICT_ACCEPTED
 *   setsockopt(fd, VERDICT_LEVEL, VERDICT_CLAIM, &secret, 8)     the caller is whom ztcpd may hand a channel
 *   setsockopt(fd, VERDICT_LEVEL, VERDICT_LISTEN, NULL, 0)    a listener that is older than the selector is seen from now on
 */
#ifndef SHM_VERDICT_H
#define SHM_VERDICT_H

#include <stddef.h>
#include <stdint.h>

enum {
	VERDICT_LEVEL = 0x7a74,
	VERDICT_ANSWER = 1,
	VERDICT_CLAIM = 2, /* of an attested socket only, else ENOTCONN */
	VERDICT_ACCEPTED =
		4, /* it was accepted: asked where the listener is older than the selector */
	VERDICT_LISTEN = 8,
	VERDICT_VERSION = 1,
};

enum verdict_flag {
	VERDICT_BY_RULE = 1, /* a rule decided, not the default of an empty policy */
	VERDICT_ATTESTED =
		2,           /* the other end is on this host, and a rule allows the lift at both */
	VERDICT_PENDING = 4, /* the kind of process is not known yet: kernel for now, ask again */
	VERDICT_OLDER = 8,   /* the connection, or its listener, was there before the selector */
};

struct verdict_answer {
	uint32_t version;
	uint8_t verdict;   /* enum policy_verdict */
	uint8_t paths;     /* POLICY_PATH_* */
	uint16_t flags;    /* VERDICT_* */
	int32_t threshold; /* calls to see before a lift; -1: the rule does not say */
	uint32_t rule;     /* number of the rule that decided, from 1; 0: none */
	uint64_t cookie;   /* SO_COOKIE of this socket */
	uint64_t peer;     /* SO_COOKIE of the attested other end, else 0 */
	uint64_t chan;  /* SO_COOKIE of the channel's socket that ztcpd handed out for it, else 0 */
	uint64_t agent; /* ztcpd listens at agent_name(); 0: no daemon was ever there */
	uint32_t
		peer_uid; /* owner of the attested other end, as the initial user namespace has it */
	uint32_t reason;  /* enum reason for not being attested; 0: none */
	uint64_t spare;
};

_Static_assert(sizeof(struct verdict_answer) == 64 && offsetof(struct verdict_answer, cookie) == 16,
	       "the answer has one layout in eBPF and C");

#endif
