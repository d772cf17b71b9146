/* selector_kind.c - kinds of processes: matched here once, so that eBPF need not know paths and patterns
 *
 * Theory of operation: eBPF meets a process whose kind (struct sel_proc) a policy does not know yet, and says so in a
 * ring buffer; or a session begins and ztcpd asks for its process. Either way the kernel's names for the kind are
 * read by iter/task, then the words for them from /proc, then the kernel's names again: the same names
 * before and after mean that the words are theirs, whoever got the process id meanwhile. The policy is asked which
 * rules hold, that set is stored behind the compiled form if no kind had the same before, and map procs
 * gets the reference. Kinds are remembered: a new policy is told of them before it is in force.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bpf/selector_int.h"

enum { KINDS_MAX = SEL_PROCS, CLASSES_MAX = 1024 };

void sel_kinds_free(struct selector *sel)
{
	for (size_t i = 0; i < sel->kinds; i++) {
		free(sel->kind[i].program);
		free(sel->kind[i].cgroup);
	}
	free(sel->kind);
	sel->kind = NULL;
	sel->kinds = 0;
}

/* ---- what a process is ---- */

int sel_event_read(const struct selector *sel, int pid, struct sel_event *e)
{
	union bpf_iter_link_info info = { .task = { .tid = (uint32_t)pid } };
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	int link, iter;
	ssize_t n;

	if (sel->prog[SEL_PROG_KIND] < 0)
		return -EOPNOTSUPP;
	link = bpf_link_create(sel->prog[SEL_PROG_KIND], 0, BPF_TRACE_ITER, &opts);
	if (link < 0)
		return -errno;
	iter = bpf_iter_create(link);
	n = iter < 0 ? -1 : read(iter, e, sizeof(*e));
	if (iter >= 0)
		close(iter);
	close(link);
	return n == (ssize_t)sizeof(*e) ? 0 : -ESRCH;
}

static char *program_read(int pid)
{
	char name[64], path[PATH_MAX];
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/%d/exe", pid);
	n = readlink(name, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return strdup(path);
}

/* Its line of cgroup v2 is "0::/path". */
static char *cgroup_read(int pid)
{
	char name[64], line[4096];
	char *found = NULL;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/cgroup", pid);
	f = fopen(name, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "0::", 3))
			found = strdup(line + 3);
	}
	if (f)
		fclose(f);
	return found ? found : strdup("");
}

/* ---- entering a kind into a policy ---- */

static const char *netns_name(const struct selector *sel, uint64_t cookie)
{
	for (size_t i = 0; i < sel->netns_count; i++)
		if (sel->netns[i].cookie == cookie)
			return sel->netns[i].name;
	return "";
}

void sel_kind_words(const struct selector *sel, const struct sel_kind *k, struct policy_proc *proc)
{
	*proc = (struct policy_proc){
		.program = k->program,
		.cgroup = k->cgroup,
		.netns = netns_name(sel, k->proc.netns),
		.netns_ino = k->proc.netns_ino,
		.uid = k->proc.uid,
		.gid = k->proc.gid,
	};
}

/* Where a set of one chunk-line each is stored already, or UINT32_MAX. */
static uint32_t class_find(const struct sel_slot *s, const struct policy_line *set, uint32_t n)
{
	for (uint32_t at = 0; at + n <= s->trailer.spare_used; at += n) {
		struct policy_line line;
		uint32_t i = 0;

		while (i < n && !sel_line_read(s->map, s->trailer.spare_line + at + i, &line) &&
		       !memcmp(&line, &set[i], sizeof(line)))
			i++;
		if (i == n)
			return at;
	}
	return UINT32_MAX;
}

static int class_store(struct sel_slot *s, const struct policy_line *set, uint32_t n, uint32_t *at)
{
	struct sel_trailer t = s->trailer;
	int rc = 0;

	*at = class_find(s, set, n);
	if (*at != UINT32_MAX)
		return 0;
	if (n > t.spare_count - t.spare_used)
		return -ENOSPC;
	*at = t.spare_used;
	for (uint32_t i = 0; !rc && i < n; i++)
		rc = sel_line_write(s->map, t.spare_line + *at + i, &set[i]);
	t.spare_used += n;
	if (!rc)
		rc = sel_line_write(s->map, s->lines - 1, &t);
	if (!rc)
		s->trailer = t;
	return rc;
}

/* Every chunk gets a line, empty or not, so that sets can be compared line by line. */
static int kind_enter(const struct selector *sel, uint32_t slot, struct sel_slot *s,
		      const struct sel_kind *k)
{
	uint32_t n = (policy_rules(s->policy) + POLICY_CHUNK - 1) / POLICY_CHUNK, at;
	struct policy_class cls;
	struct policy_proc proc;
	struct policy_ref ref;
	struct sel_proc key;
	int rc;

	if (!(s->needs & SEL_NEEDS))
		return 0;
	sel_kind_words(sel, k, &proc);
	policy_class_read(s->policy, &proc, &cls);
	rc = class_store(s, (const struct policy_line *)cls.set, n, &at);
	if (rc)
		return rc;
	ref.first = s->trailer.spare_line - s->sets + at;
	ref.summary = n == 32 ? UINT32_MAX : (1u << n) - 1;
	sel_proc_key(&key, &k->proc, s->needs, slot, s->generation);
	return bpf_map_update_elem(sel->map[SEL_MAP_PROCS], &key, &ref, BPF_ANY) ? -errno : 0;
}

/* Does the policy of this slot judge processes of the namespace? */
static bool slot_serves(const struct selector *sel, uint32_t slot, uint64_t netns)
{
	uint32_t own;

	if (bpf_map_lookup_elem(sel->map[SEL_MAP_SLOTS], &netns, &own))
		own = 0;
	return own == slot;
}

int sel_kinds_enter(struct selector *sel, uint32_t slot, struct sel_slot *s)
{
	for (size_t i = 0; i < sel->kinds; i++) {
		/* a namespace's first policy: its slot is not in the map yet */
		bool serves = slot_serves(sel, slot, sel->kind[i].proc.netns) || slot;
		int rc = serves ? kind_enter(sel, slot, s, &sel->kind[i]) : 0;

		if (rc)
			return rc == -ENOSPC ? 0 : rc; /* the rest is met again */
	}
	return 0;
}

/* All but one. Return: where it is now. */
static struct sel_kind *kinds_forget(struct selector *sel, const struct sel_kind *but)
{
	struct sel_kind kept = *but;

	for (size_t i = 0; i < sel->kinds; i++) {
		if (&sel->kind[i] == but)
			continue;
		free(sel->kind[i].program);
		free(sel->kind[i].cgroup);
	}
	*sel->kind = kept;
	sel->kinds = 1;
	return sel->kind;
}

/*
 * A set that is stored stays as it is while kinds refer to it. So where there is no room for one more, the policy is put
 * into force again with more room; and from the most on, without the kinds that may be gone by now.
 */
static int kind_enter_again(struct selector *sel, uint32_t slot, const struct sel_kind *k)
{
	int rc = -ENOSPC;

	while (rc == -ENOSPC) {
		uint32_t classes = sel_slot_classes(&sel->slot[slot]);

		if (classes < CLASSES_MAX)
			classes *= 2;
		else
			k = kinds_forget(sel, k);
		rc = sel_slot_again(sel, slot, classes);
		if (!rc)
			rc = kind_enter(sel, slot, &sel->slot[slot], k);
	}
	return rc;
}

/* The slot whose policy judges a namespace and asks for kinds; UINT32_MAX: there is none. */
static uint32_t slot_asking(const struct selector *sel, uint64_t netns)
{
	uint32_t slot;

	if (bpf_map_lookup_elem(sel->map[SEL_MAP_SLOTS], &netns, &slot))
		slot = 0;
	return slot < SEL_SLOTS && sel->slot[slot].policy && sel->slot[slot].needs & SEL_NEEDS
		       ? slot
		       : UINT32_MAX; /* SEL_CLOSED among them */
}

static int kind_everywhere(struct selector *sel, const struct sel_kind *k)
{
	uint32_t slot = slot_asking(sel, k->proc.netns);
	int rc;

	if (slot == UINT32_MAX)
		return 0;
	rc = kind_enter(sel, slot, &sel->slot[slot], k);
	return rc == -ENOSPC ? kind_enter_again(sel, slot, k) : rc;
}

bool sel_kind_is_known(struct selector *sel, const struct sel_proc *proc)
{
	struct policy_ref ref;
	struct sel_proc key;
	uint32_t slot;

	if (sel_slots_look(sel))
		return false;
	slot = slot_asking(sel, proc->netns);
	if (slot == UINT32_MAX)
		return true;
	sel_proc_key(&key, proc, sel->slot[slot].needs, slot, sel->slot[slot].generation);
	return !bpf_map_lookup_elem(sel->map[SEL_MAP_PROCS], &key, &ref);
}

static bool same_kind(const struct sel_proc *a, const struct sel_proc *b)
{
	return !memcmp(a, b, sizeof(*a));
}

const struct sel_kind *sel_kind_find(const struct selector *sel, const struct sel_proc *proc)
{
	for (size_t i = 0; i < sel->kinds; i++)
		if (same_kind(&sel->kind[i].proc, proc))
			return &sel->kind[i];
	return NULL;
}

/* Keep it. Return: it, or NULL without memory. */
static struct sel_kind *kind_keep(struct selector *sel, const struct sel_event *e, int pid)
{
	struct sel_kind *grown, *k;

	for (size_t i = 0; i < sel->kinds; i++)
		if (same_kind(&sel->kind[i].proc, &e->proc))
			return &sel->kind[i];
	if (sel->kinds == KINDS_MAX)
		sel_kinds_free(sel);
	grown = realloc(sel->kind, (sel->kinds + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	sel->kind = grown;
	k = &grown[sel->kinds];
	*k = (struct sel_kind){ e->proc, program_read(pid), cgroup_read(pid) };
	if (!k->program || !k->cgroup) {
		free(k->program);
		free(k->cgroup);
		return NULL;
	}
	sel->kinds++;
	return k;
}

int selector_process_add(struct selector *sel, int pid)
{
	struct sel_event before, after;
	const struct sel_kind *k;
	int rc;

	if (!sel)
		return -EOPNOTSUPP;
	for (unsigned tries = 0; tries < 8; tries++) {
		size_t known = sel->kinds;

		rc = sel_event_read(sel, pid, &before);
		if (rc)
			return rc;
		k = kind_keep(sel, &before, pid);
		if (!k)
			return -ENOMEM;
		rc = sel_event_read(sel, pid, &after);
		if (!rc && (sel->kinds == known || same_kind(&before.proc, &after.proc))) {
			sel_lock(sel);
			rc = sel_slots_fresh(sel);
			if (!rc)
				rc = kind_everywhere(sel, k);
			sel_unlock(sel);
			return rc;
		}
		if (sel->kinds > known) { /* its words may be another one's */
			sel->kinds--;
			free(sel->kind[sel->kinds].program);
			free(sel->kind[sel->kinds].cgroup);
		}
	}
	return -ESRCH;
}

int selector_netns_name(struct selector *sel, uint64_t cookie, uint64_t ino, const char *name)
{
	struct sel_netns *grown;
	size_t i = 0;

	if (!sel)
		return -EOPNOTSUPP;
	if (name && strlen(name) > POLICY_TEXT_MAX)
		return -ENAMETOOLONG;
	while (i < sel->netns_count && sel->netns[i].cookie != cookie)
		i++;
	if (!name) {
		if (i < sel->netns_count)
			sel->netns[i] = sel->netns[--sel->netns_count];
		return 0;
	}
	if (i == sel->netns_count) {
		grown = realloc(sel->netns, (i + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		sel->netns = grown;
		sel->netns_count++;
	}
	sel->netns[i].cookie = cookie;
	sel->netns[i].ino = ino;
	snprintf(sel->netns[i].name, sizeof(sel->netns[i].name), "%s", name);
	return 0;
}
