/* selector_int.h - what the files of the selector's library share; for selector*.c alone */
#ifndef ZTCP_SELECTOR_INT_H
#define ZTCP_SELECTOR_INT_H

#include "daemon/bpf/selector.h"
#include "daemon/bpf/selector_maps.h"

enum sel_map {
	SEL_MAP_FORMS,
	SEL_MAP_SLOTS,
	SEL_MAP_PROCS,
	SEL_MAP_SOCKS,
	SEL_MAP_TOKENS,
	SEL_MAP_TUPLES,
	SEL_MAP_ENDS,
	SEL_MAP_CONF,
	SEL_MAP_AGENTS,
	SEL_MAP_CHANS,
	SEL_MAP_MATCHES,
	SEL_MAP_ASKED,
	SEL_MAP_ANSWERS,
	SEL_MAP_ATTESTS,
	SEL_MAP_SEEN,
	SEL_MAP_EVENTS,
	SEL_MAP_WRONGS,
	SEL_MAPS
};

enum sel_prog { SEL_PROG_ANSWER, SEL_PROG_CLAIM, SEL_PROG_ATTEST, SEL_PROG_KIND, SEL_PROGS };

struct ring_buffer;

/** struct sel_kind - a kind of process that was met, in words; kept so that a new policy knows it at once */
struct sel_kind {
	struct sel_proc proc;
	char *program;
	char *cgroup;
};

/** struct sel_netns - what rules call a namespace */
struct sel_netns {
	uint64_t cookie;
	uint64_t ino;
	char name[POLICY_TEXT_MAX + 1];
};

/** struct sel_slot - a policy in force, as this process knows it
 * @policy: bare copy; NULL: the slot is free
 * @map:    its lines
 * @lines:  of the map
 */
struct sel_slot {
	struct policy *policy;
	int map;
	uint32_t lines;
	uint32_t generation;
	uint32_t needs;
	uint32_t sets;
	struct sel_trailer trailer;
	uint8_t bpf_slot[POLICY_BPF_MAX];
};

struct selector {
	char dir[256]; /* "": nothing is pinned */
	int lock;      /* the folder, for flock */
	int map[SEL_MAPS];
	int prog[SEL_PROGS]; /* -1: lacking */
	int link[SEL_PROGS];
	struct ring_buffer *ring;
	void (*met)(void *arg, int pid); /* of the selector_poll() under way */
	void *met_arg;
	unsigned events; /* learned in it */
	struct sel_slot slot[SEL_SLOTS];
	uint32_t generation; /* of the newest policy that slot[] knows */
	struct sel_kind *kind;
	size_t kinds;
	struct sel_netns *netns;
	size_t netns_count;
};

/** sel_lock() - keep other processes from changing pinned maps; sel_unlock() lets them. */
void sel_lock(const struct selector *sel);
void sel_unlock(const struct selector *sel);

/** sel_fd_open() - Return: descriptor of what is pinned as DIR/@name, or -errno. */
int sel_fd_open(const char *dir, const char *name);

/** sel_slots_read() - take up the policies that are in force already. Return: 0 or -errno. */
int sel_slots_read(struct selector *sel);

/** sel_slots_fresh() - read them again if another process has changed one; under the lock. Return: 0 or -errno. */
int sel_slots_fresh(struct selector *sel);

/** sel_slots_look() - the same for who does not hold the lock, and is content with what was so a moment ago. */
int sel_slots_look(struct selector *sel);

/** sel_slot_free() - forget one. */
void sel_slot_free(struct sel_slot *s);

/** sel_slot_netns() - Return: 0 and the namespace of a slot (0 for slot 0), or -ENOENT. */
int sel_slot_netns(const struct selector *sel, uint32_t slot, uint64_t *netns);

/** sel_slot_classes() - different sets of kinds of processes that a policy in force has room for. */
uint32_t sel_slot_classes(const struct sel_slot *s);

/** sel_slot_again() - put the policy of a slot into force again, with room for @classes. Return: 0 or -errno. */
int sel_slot_again(struct selector *sel, uint32_t slot, uint32_t classes);

/** sel_policies_again() - set all policies in force again: names of matches have changed. Return: 0 or -errno. */
int sel_policies_again(struct selector *sel);

/** sel_event_read() - the kernel's names for the kind of a process. Return: 0, -ESRCH, -errno. */
int sel_event_read(const struct selector *sel, int pid, struct sel_event *e);

/** sel_kinds_enter() - enter all kinds of processes that were met into a policy that is about to be in force. */
int sel_kinds_enter(struct selector *sel, uint32_t slot, struct sel_slot *s);

/** sel_kind_is_known() - whether the policies in force need not be told of this kind, which the kernel names so. */
bool sel_kind_is_known(struct selector *sel, const struct sel_proc *proc);

/** sel_kind_find() - one that was met, or NULL. Borrowed until the next call that meets one. */
const struct sel_kind *sel_kind_find(const struct selector *sel, const struct sel_proc *proc);

/** sel_kind_words() - what rules ask of such a process; borrowed from @sel and @k. */
void sel_kind_words(const struct selector *sel, const struct sel_kind *k, struct policy_proc *proc);

/** sel_kinds_free() - forget them. */
void sel_kinds_free(struct selector *sel);

/** sel_match_slot() - Return: number of a loaded match, or 0xff. */
uint8_t sel_match_slot(const struct selector *sel, const char *name);

/** sel_line_read(), sel_line_write() - one line of a policy's map. Return: 0 or -errno. */
int sel_line_read(int map, uint32_t line, void *out);
int sel_line_write(int map, uint32_t line, const void *in);

#endif
