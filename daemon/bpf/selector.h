/* selector.h - the eBPF selector, seen from user space: load, fill, read and remove it
 *
 * What: the programs of selector.bpf.c judge connections in the kernel by the compiled policy
 * (policy_form.h), answer shm/verdict.h's socket options, and attest which two sockets are the ends of one
 * connection on this host. This library loads them, or takes up the ones that are pinned, and fills their maps.
 * Who calls: ztcpd; `ztcp rules`, `ztcp rule` and `ztcp policy load` (as root).
 * Memory: a struct selector is one allocation of ours; maps, programs and links belong to the kernel and stay
 * pinned in the folder until selector_detach().
 * All of it takes NULL for a selector that could not be had, and says -EOPNOTSUPP (selector_fd(): -ENOENT).
 * Threads: one thread per struct selector. Several processes may have it open; who changes something locks
 * the pin folder (flock) meanwhile.
 */
#ifndef ZTCP_SELECTOR_H
#define ZTCP_SELECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/policy/policy.h"

#define SELECTOR_PIN_DIR "/sys/fs/bpf/ztcp"

struct selector;

/** enum selector_part - what may be lacking on a kernel; the rest then serves */
enum selector_part {
	SELECTOR_PART_ANSWER, /* getsockopt: without it nothing works, the library judges alone */
	SELECTOR_PART_CLAIM,  /* setsockopt: no pairing of processes */
	SELECTOR_PART_ATTEST, /* sockops: no attestation, no pairing; counters only of who asks */
	SELECTOR_PART_KINDS, /* iter/task: policies with rules about processes keep all on the kernel */
	SELECTOR_PART_PIN, /* bpffs: nothing outlives the process */
	SELECTOR_PARTS
};

/** struct selector_report - what selector_open() found
 * @lack:    one entry a missing part: which, -errno, and in words
 * @lacks:   entries used
 * @adopted: programs and maps of an earlier process were taken up
 * @anew:    why they were not, and all was made anew; NULL: they were, or there were none
 */
struct selector_report {
	struct {
		enum selector_part part;
		int err;
		char why[160];
	} lack[SELECTOR_PARTS];
	unsigned lacks;
	bool adopted;
	const char *anew;
};

/** selector_part_name() - Return: a word for people; "?" for nonsense. */
const char *selector_part_name(enum selector_part part);

/**
 * selector_open() - load the programs and attach them to a cgroup, or take up the pinned ones
 * @out:     set on success; given back by selector_close()
 * @pin_dir: folder for pins, made if need be in a bpffs, which is mounted only on the usual /sys/fs/bpf; NULL: SELECTOR_PIN_DIR
 * @cgroup:  folder of cgroup v2; NULL: the root of the hierarchy wherever it is mounted
 * @rep:     filled in either case
 *
 * A pinned selector of another version is detached and replaced. One that is new keeps everything on the kernel until
 * selector_policy_set() for all namespaces, be it with no policy.
 * Return: 0, perhaps with something lacking; -errno if not even SELECTOR_PART_ANSWER works.
 */
int selector_open(struct selector **out, const char *pin_dir, const char *cgroup,
		  struct selector_report *rep);

/**
 * selector_attach() - only take up a pinned selector, for tools
 *
 * Return: 0; -ENOENT: nothing is pinned at @pin_dir; -EPROTO: another version; another -errno.
 */
int selector_attach(struct selector **out, const char *pin_dir);

/** selector_cgroup_open() - a folder of cgroup v2; NULL: its root, wherever it is mounted. Return: a descriptor or -errno. */
int selector_cgroup_open(const char *cgroup);

/** selector_close() - forget it; what is pinned goes on working. NULL is harmless. */
void selector_close(struct selector *sel);

/**
 * selector_detach() - remove programs, maps and pins: nothing is left
 *
 * Return: 0, also if there is nothing; -errno, of which pin_dir_error() tells: a folder of others stays as it is.
 */
int selector_detach(const char *pin_dir);

/**
 * selector_policy_set() - the policy of a network namespace from now on
 * @sel:    selector
 * @netns:  SO_NETNS_COOKIE; 0: of all namespaces without one of their own
 * @p:      policy; borrowed for the call; NULL: drop it (a namespace then has the policy of all others)
 *
 * The compiled policy is made aside and put in its place by one map update. Rules that stood in the old one
 * with the same words keep their counts. The same policy again changes nothing.
 * Return: 0; -E2BIG: too many overlapping ranges; -ENOSPC: too many namespaces; -ENOENT: @p names a bpf= match that
 * is not loaded (it is set all the same, and nothing matches there); another -errno, and the old one stays.
 */
int selector_policy_set(struct selector *sel, uint64_t netns, const struct policy *p);

/**
 * selector_policy_close() - a namespace's policy cannot be read or set: nothing is lifted until selector_policy_set()
 * @netns: as there
 * @why:   in words; selector_each_wrong() tells it until then, also where a policy stays in force
 *
 * Return: 0; -EEXIST: one is in force already, and stays; another -errno.
 */
int selector_policy_close(struct selector *sel, uint64_t netns, const char *why);

/**
 * selector_policies_keep() - drop the policies of namespaces that are there no more
 * @wanted: asked of each namespace that has one; false: drop it
 * @arg:    handed to @wanted
 *
 * For a successor: what went while no daemon ran.
 * Return: how many were dropped, or -errno.
 */
int selector_policies_keep(struct selector *sel, bool (*wanted)(void *arg, uint64_t netns),
			   void *arg);

/**
 * selector_netns_name() - tell what netns= rules call a namespace; before selector_policy_set()
 * @cookie: SO_NETNS_COOKIE
 * @ino:    inode of its file
 * @name:   under /run/netns; NULL: it is gone
 *
 * Return: 0 or -errno.
 */
int selector_netns_name(struct selector *sel, uint64_t cookie, uint64_t ino, const char *name);

/**
 * selector_process_add() - learn what rules ask of a process before it connects
 * @pid: of a running process, as this PID namespace numbers it
 *
 * Programs and cgroups are names that eBPF cannot match: user space matches them once per kind of process. A
 * process of an unknown kind is told so to selector_poll(), and its connections stay on the kernel for
 * the fraction of a millisecond that takes. Called when a session begins, its first connection is judged right.
 * Return: 0 or -errno (-ESRCH: it is gone).
 */
int selector_process_add(struct selector *sel, int pid);

/**
 * selector_direct() - does a rule `direct path=stack` that names users or groups give a process this connection
 * @pid: of a running process, as this PID namespace numbers it
 * @uid: its effective user as of before; another one now is refused
 * @netns: cookie of the network namespace in which it has, or is to have, the queue; if it is in another one now it is refused
 * @c:   role, local and, unless it is a listener, remote; NULL: is there any that a rule could give it
 *
 * The first rule that matches decides, as ever. Return: 0; -EACCES: no; -ESRCH: it is gone; another -errno.
 */
int selector_direct(struct selector *sel, int pid, uint32_t uid, uint64_t netns,
		    const struct policy_conn *c);

/** selector_fd() - Return: descriptor to poll for reading, owned by @sel; -errno: there is none. */
int selector_fd(const struct selector *sel);

/**
 * selector_poll() - learn the processes that eBPF met: of an unknown kind, or in an unknown network namespace
 * @met: called for each with its process id in the initial PID namespace; it may be gone; NULL: nobody asks
 * @arg: handed to @met
 *
 * Never sleeps, and leaves some for the next call when there are many: selector_fd() is readable then.
 * Return: 0 or -errno.
 */
int selector_poll(struct selector *sel, void (*met)(void *arg, int pid), void *arg);

/** selector_agent_set() - the suffix of ztcpd's name, for verdict_answer.agent. Return: 0 or -errno. */
int selector_agent_set(struct selector *sel, uint64_t agent);

/** struct selector_conn - what the kernel knows of one attested socket
 * @cookie:   SO_COOKIE
 * @peer:     SO_COOKIE of the other end
 * @secret:   of its last VERDICT_CLAIM; 0: not claimed
 * @chan:     selector_chan_set()
 * @netns:    network namespace cookie of the process that made or accepted it
 * @tgid:     who claimed it, as the initial PID namespace numbers it
 * @uid:      effective user who claimed it, as the initial user namespace numbers it; before: who made the socket
 * @role:     enum policy_role
 * @verdict:  enum policy_verdict, by the last judgement
 * @paths:    POLICY_PATH_* bits
 * @attested: both ends live, tokens matched, and rules (not defaults) allow shm at both
 * @by_rule:  a rule decided at this end
 */
struct selector_conn {
	uint64_t cookie;
	uint64_t peer;
	uint64_t secret;
	uint64_t chan;
	uint64_t netns;
	uint32_t tgid;
	uint32_t uid;
	uint8_t role;
	uint8_t verdict;
	uint8_t paths;
	bool attested;
	bool by_rule;
};

/** selector_conn_get() - Return: 0 and @out filled; -ENOENT: not one end of a connection on this host, or closed. */
int selector_conn_get(struct selector *sel, uint64_t cookie, struct selector_conn *out);

/** selector_chan_set() - enter the channel's cookie into a socket's verdict. Return: 0, -ENOENT, -errno. */
int selector_chan_set(struct selector *sel, uint64_t cookie, uint64_t chan);

/** struct selector_rule - one rule of a policy in force, with what it decided
 * @netns: as for selector_policy_set()
 * @rule:  index from 0; UINT32_MAX: the default, where no rule matches
 * @line:  of the file
 * @hits:  connections decided
 * @text:  the rule in words, "kernel port=22"; borrowed for the call
 * @file:  borrowed for the call
 */
struct selector_rule {
	uint64_t netns;
	uint32_t rule;
	uint32_t line;
	uint64_t hits;
	const char *text;
	const char *file;
};

/** selector_each_rule() - call @f for each rule of each policy in force, in order. Return: 0 or -errno. */
int selector_each_rule(struct selector *sel, void (*f)(void *arg, const struct selector_rule *rule),
		       void *arg);

/** struct selector_wrong - a policy that could not be put into force
 * @netns:  as for selector_policy_set()
 * @closed: nothing is lifted there; otherwise the policy before is in force
 * @text:   why, with file and line where it has them; borrowed for the call
 */
struct selector_wrong {
	uint64_t netns;
	bool closed;
	const char *text;
};

/** selector_each_wrong() - call @f for each namespace whose policy is wrong. Return: 0 or -errno. */
int selector_each_wrong(struct selector *sel,
			void (*f)(void *arg, const struct selector_wrong *wrong), void *arg);

/**
 * selector_match_load() - put a user's ztcp_match() into force under a name
 * @name: for bpf= in rules; it need not be named by one yet
 * @file: eBPF object made of one ZTCP_MATCH() (daemon/bpf/ztcp_match.h)
 * @log:  on failure what is wrong: the verifier's own words
 * @len:  bytes of @log
 *
 * It is loaded and verified first, and then replaces the one of that name at once.
 * Return: 0; -ENOSPC: eight are loaded; -errno, and the one before stays.
 */
int selector_match_load(struct selector *sel, const char *name, const char *file, char *log,
			size_t len);

/** selector_match_unload() - Return: 0, -ENOENT, -errno. */
int selector_match_unload(struct selector *sel, const char *name);

#endif
