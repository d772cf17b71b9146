/* selector_direct.c - whom a rule `direct` gives a queue of an interface
 *
 * Asked seldom, and by a person's name: so the rules are gone through one by one, as they were read, for what the kernel says of the
 * process at that moment. A bpf= match, which only the kernel can ask, matches nothing here.
 */
#include <bpf/bpf.h>
#include <errno.h>

#include "daemon/bpf/selector_int.h"

/* The kind that a process is of now, in words. Return: 0, and @kind until the next call, or -errno. */
static int kind_of(struct selector *sel, int pid, const struct sel_kind **kind)
{
	struct sel_event e;
	int rc = sel_event_read(sel, pid, &e);

	if (rc)
		return rc;
	*kind = sel_kind_find(sel, &e.proc);
	if (*kind)
		return 0;
	rc = selector_process_add(sel, pid);
	if (!rc)
		rc = sel_event_read(sel, pid, &e);
	if (rc)
		return rc;
	*kind = sel_kind_find(sel, &e.proc);
	return *kind ? 0 : -ESRCH;
}

/* The policy that judges a namespace; NULL: there is none, or nothing is lifted there. */
static const struct policy *policy_of(struct selector *sel, uint64_t netns)
{
	uint32_t slot;

	if (sel_slots_look(sel))
		return NULL;
	if (bpf_map_lookup_elem(sel->map[SEL_MAP_SLOTS], &netns, &slot))
		slot = 0;
	return slot < SEL_SLOTS ? sel->slot[slot].policy : NULL;
}

/* Whether it gives a queue to people that it names. */
static bool gives(const struct policy_rule *r)
{
	const unsigned people = 1u << POLICY_M_USER | 1u << POLICY_M_GROUP;

	return r->verdict == POLICY_DIRECT && r->paths & POLICY_PATH_STACK && r->kinds & people;
}

static int judge(const struct policy *p, const struct policy_conn *c)
{
	for (unsigned i = 0; i < policy_rules(p); i++)
		if (policy_rule_match(p, i, c) > POLICY_M_KINDS)
			return gives(policy_rule_get(p, i)) ? 0 : -EACCES;
	return -EACCES;
}

/* Whether any connection of such a process could be one. */
static int judge_any(const struct policy *p, const struct policy_proc *proc)
{
	static struct policy_class cls;

	policy_class_read(p, proc, &cls);
	for (unsigned i = 0; i < policy_rules(p); i++)
		if (cls.set[i / 64] >> i % 64 & 1 && gives(policy_rule_get(p, i)))
			return 0;
	return -EACCES;
}

int selector_direct(struct selector *sel, int pid, uint32_t uid, uint64_t netns,
		    const struct policy_conn *c)
{
	const struct sel_kind *k;
	const struct policy *p;
	struct policy_proc proc;
	int rc = sel ? kind_of(sel, pid, &k) : -EOPNOTSUPP;

	if (rc)
		return rc;
	p = policy_of(sel, netns);
	if (!p || k->proc.uid != uid || k->proc.netns != netns)
		return -EACCES;
	sel_kind_words(sel, k, &proc);
	if (!c)
		return judge_any(p, &proc);
	return judge(p, &(struct policy_conn){ .proc = &proc,
					       .role = c->role,
					       .local = c->local,
					       .remote = c->remote });
}
