/* selector_maps.h - what lies in the selector's maps, for selector.bpf.c and selector*.c alike
 *
 * A change of any of these needs a new SEL_VERSION: pinned maps of another version are not taken up.
 */
#ifndef ZTCP_SELECTOR_MAPS_H
#define ZTCP_SELECTOR_MAPS_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/policy/policy_form.h"

enum {
	SEL_VERSION = 4,
	SEL_SLOTS = 64, /* policies; 0 is that of all namespaces without one of their own */
	SEL_CLOSED =
		0xff, /* instead of a slot: a policy should be in force and is not: nothing is lifted */
	SEL_NAMESPACES = 1024,
	SEL_NEEDS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 |
		    1 << 9, /* policy_needs() about the process */
	SEL_PROCS = 16384,
	SEL_TOKENS = 65536,
	SEL_ENDS = 1 << 20,
	SEL_SEEN = 4096,
	SEL_OPTION_BYTES = 16,
	SEL_OPTION_KIND = 254, /* RFC 6994: shared, told apart by the two bytes behind the length */
	SEL_OPTION_SYN = 1,
	SEL_OPTION_SYNACK = 2,
};

/** struct sel_proc - a kind of process: all that rules ask of one, as the kernel names it; key of map procs
 * @netns:    network namespace cookie
 * @exe_ino:  executable: inode, device, and a hash of its name and folder
 * @cgroup:   id in the default hierarchy
 * @uid:      effective, as the initial user namespace numbers it
 * Parts that no rule of the policy asks for are 0, so that kinds are few.
 */
struct sel_proc {
	uint64_t netns;
	uint64_t exe_ino;
	uint64_t exe_name;
	uint64_t cgroup;
	uint32_t exe_dev;
	uint32_t netns_ino;
	uint32_t uid;
	uint32_t gid;
	uint32_t slot;
	uint32_t generation;
};

/** sel_proc_key() - what of @p a policy asks, as the key of map procs */
static inline __attribute__((always_inline)) void sel_proc_key(struct sel_proc *key,
							       const struct sel_proc *p,
							       uint32_t needs, uint32_t slot,
							       uint32_t generation)
{
	*key = (struct sel_proc){ .slot = slot, .generation = generation };
	if (needs & 1 << 0)
		key->uid = p->uid;
	if (needs & 1 << 1)
		key->gid = p->gid;
	if (needs & 1 << 2) {
		key->netns = p->netns;
		key->netns_ino = p->netns_ino;
	}
	if (needs & 1 << 8)
		key->cgroup = p->cgroup;
	if (needs & 1 << 9) {
		key->exe_ino = p->exe_ino;
		key->exe_dev = p->exe_dev;
		key->exe_name = p->exe_name;
	}
}

/** struct sel_match - the name of a user's match; "": none */
struct sel_match {
	char name[64];
};

/** struct sel_wrong - why a policy could not be put into force */
struct sel_wrong {
	char text[512];
};

/** struct sel_trailer - the last line of a policy's map, for user space
 * @spare_line: first line of sets of kinds of processes, behind the form
 * @spare_used: lines used of them
 * @text_line:  first line of the policy itself (policy_bare())
 */
struct sel_trailer {
	uint32_t magic;
	uint32_t spare_line;
	uint32_t spare_count;
	uint32_t spare_used;
	uint32_t text_line;
	uint32_t text_bytes;
	uint32_t spare[10];
};

_Static_assert(sizeof(struct sel_trailer) == sizeof(struct policy_line), "a line");

/** struct sel_event - a kind of process that procs does not have, in ring buffer events; also what iter/task writes */
struct sel_event {
	struct sel_proc proc; /* whole, not only what the policy asks */
	uint32_t tgid;        /* in the initial PID namespace */
	uint32_t spare;
};

/** struct sel_verdict - the judgement of a socket */
struct sel_verdict {
	uint32_t rule; /* from 1; 0: the default */
	int32_t threshold;
	uint32_t generation;
	uint8_t verdict;
	uint8_t paths;
	uint8_t pending;
	uint8_t slot;
};

/** struct sel_sock - a socket's own storage; accepted sockets begin with a copy of the listener's
 * @proc:  who made it, or listens
 * @role:  1 + policy_query.role; 0: not known
 * @token: in the SYN it sent; 0: none
 * @cookie: its SO_COOKIE, which the socket options' programs cannot ask for; 0: no connection of our time
 * @older: it was connected, or accepted, when it was first met
 */
struct sel_sock {
	struct sel_proc proc;
	struct sel_verdict verdict;
	uint64_t token;
	uint64_t cookie;
	uint32_t role;
	uint16_t judged;
	uint16_t older;
};

/** struct sel_token - a SYN that carries our option, until both ends are known; key: the token
 * @cookie:     of the connecting socket
 * @syn_seq:    sequence number of the SYN, network byte order: who rewrites it is no address translator but
 *              an end of its own
 * @answer:     token of the SYN-ACK; 0: not answered
 * @answer_seq: its sequence number
 * @confirmed:  the connecting end has seen the answer
 * @uid, @netns, @verdict: of the connecting end, for its struct sel_end
 */
struct sel_token {
	uint64_t cookie;
	uint64_t answer;
	uint32_t syn_seq;
	uint32_t answer_seq;
	uint32_t confirmed;
	uint32_t uid;
	uint64_t netns;
	struct sel_verdict verdict;
};

/** struct sel_tuple - a connection at its accepting end; key of map tuples */
struct sel_tuple {
	uint64_t netns;
	uint32_t local[4];
	uint32_t remote[4];
	uint16_t local_port;
	uint16_t remote_port;
	uint32_t spare;
};

/** struct sel_end - an attested end; key: its cookie. Goes when its connection is half closed. */
struct sel_end {
	uint64_t peer;
	uint64_t secret;
	uint64_t netns;
	uint32_t tgid;
	uint32_t uid;
	struct sel_verdict verdict;
	uint32_t role;
	uint32_t spare;
};

/** struct sel_conf - the one element of map conf, which only eBPF writes once it is made
 * @key: of the hash that tokens are made by, random, never told
 */
struct sel_conf {
	uint64_t key[2];
	uint64_t count; /* of tokens */
	uint32_t version;
	uint32_t spare;
};

/** struct sel_agent - the one element of map agents, which only user space writes */
struct sel_agent {
	uint64_t agent;
	uint32_t generation; /* of the newest policy */
	uint32_t attests;    /* new connections are attested: the program of sockops is there */
};

#endif
