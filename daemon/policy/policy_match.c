/* policy_match.c - which rule decides
 *
 * Theory of operation: rules are tried in order. A rule's values are sorted by kind of match, kinds by
 * what they cost; within a kind one value must match, and all kinds must. What is not known (a family
 * of 0, a NULL path) matches nothing, so that a rule that asks for it does not decide.
 */
#include <string.h>

#include "daemon/policy/policy.h"
#include "daemon/policy/policy_store.h"

#define PROCESS_KINDS                                                        \
	(1u << POLICY_M_USER | 1u << POLICY_M_GROUP | 1u << POLICY_M_NETNS | \
	 1u << POLICY_M_CGROUP | 1u << POLICY_M_PROGRAM)

static bool prefix_match(const struct policy_val *v, const struct policy_addr *a)
{
	unsigned bytes = v->bits / 8;
	unsigned rest = v->bits % 8;

	if (v->family != a->family || memcmp(v->ip, a->ip, bytes))
		return false;
	return !rest || !((v->ip[bytes] ^ a->ip[bytes]) >> (8 - rest));
}

static bool port_match(const struct policy_val *v, const struct policy_addr *a)
{
	return a->family && v->lo <= a->port && a->port <= v->hi;
}

static bool cgroup_match(const char *rule, const char *path)
{
	size_t len = strlen(rule);

	if (!path || !*path)
		return false;
	if (len == 1) /* the root: all are below it */
		return true;
	return !strncmp(rule, path, len) && (!path[len] || path[len] == '/');
}

static bool netns_match(const struct policy *p, const struct policy_val *v,
			const struct policy_proc *proc)
{
	if (v->family)
		return proc->netns_ino && proc->netns_ino == v->num;
	return proc->netns && *proc->netns && !strcmp(policy_text(p, v->text), proc->netns);
}

static bool process_match(const struct policy *p, const struct policy_val *v,
			  const struct policy_proc *proc)
{
	switch ((enum policy_match_kind)v->kind) {
	case POLICY_M_USER: return proc->uid == v->num;
	case POLICY_M_GROUP: return proc->gid == v->num;
	case POLICY_M_NETNS: return netns_match(p, v, proc);
	case POLICY_M_CGROUP: return cgroup_match(policy_text(p, v->text), proc->cgroup);
	case POLICY_M_PROGRAM:
		return proc->program && *proc->program &&
		       policy_glob_match(policy_text(p, v->text), proc->program);
	default: return false;
	}
}

static bool val_match(const struct policy *p, const struct policy_val *v,
		      const struct policy_conn *c)
{
	switch ((enum policy_match_kind)v->kind) {
	case POLICY_M_PORT:
		return port_match(v, c->role == POLICY_ROLE_LISTEN ? &c->local : &c->remote);
	case POLICY_M_LOCAL_PORT: return port_match(v, &c->local);
	case POLICY_M_REMOTE_PORT: return port_match(v, &c->remote);
	case POLICY_M_LOCAL: return prefix_match(v, &c->local);
	case POLICY_M_REMOTE: return prefix_match(v, &c->remote);
	case POLICY_M_BPF: return c->bpf && c->bpf(c->bpf_arg, policy_text(p, v->text));
	default: return process_match(p, v, c->proc);
	}
}

unsigned policy_rule_match(const struct policy *p, unsigned i, const struct policy_conn *c)
{
	const struct policy_rule *r = policy_rule_get(p, i);
	const struct policy_val *v = policy_val_get(p, r->val_first);
	const struct policy_val *end = v + r->val_count;

	if (!(r->role & c->role))
		return POLICY_M_KINDS;
	while (v < end) {
		unsigned kind = v->kind;
		bool matched = false;

		for (; v < end && v->kind == kind; v++)
			matched = matched || val_match(p, v, c);
		if (!matched)
			return kind;
	}
	return POLICY_M_KINDS + 1;
}

/* Do all matches on the process hold, whatever the connection is? */
static bool rule_process_match(const struct policy *p, const struct policy_rule *r,
			       const struct policy_proc *proc)
{
	const struct policy_val *v = policy_val_get(p, r->val_first);
	unsigned met = 0;

	for (unsigned i = 0; i < r->val_count; i++) {
		unsigned bit = 1u << v[i].kind;

		if ((bit & PROCESS_KINDS) && !(met & bit) && process_match(p, &v[i], proc))
			met |= bit;
	}
	return met == (r->kinds & PROCESS_KINDS);
}

bool policy_process_may_lift(const struct policy *p, const struct policy_proc *proc)
{
	for (unsigned i = 0; i < policy_rules(p); i++) {
		const struct policy_rule *r = policy_rule_get(p, i);

		if (!rule_process_match(p, r, proc))
			continue;
		if (r->verdict != POLICY_KERNEL)
			return true;
		if (r->role == POLICY_ROLE_BOTH && !(r->kinds & ~PROCESS_KINDS))
			return false; /* decides for every connection; no later rule is reached */
	}
	return true;
}

void policy_class_read(const struct policy *p, const struct policy_proc *proc,
		       struct policy_class *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < policy_rules(p); i++) {
		if (!rule_process_match(p, policy_rule_get(p, i), proc))
			continue;
		out->set[i / 64] |= 1ull << (i % 64);
		out->summary |= 1u << (i / POLICY_CHUNK);
	}
}

/* The compiled form is our own: it needs no check of its borders. */
typedef const struct policy_line *policy_eval_form;

static inline const struct policy_line *policy_eval_line(policy_eval_form form, uint32_t n)
{
	return &form[n];
}

#define POLICY_EVAL_LOOP(n, step, arg)                          \
	for (uint32_t i_ = 0; i_ < (n) && !step(i_, arg); i_++) \
		;

#include "daemon/policy/policy_eval.bpf.h"

static uint64_t bytes_be(const uint8_t *ip, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *ip++;
	return v;
}

static struct policy_eval_end end_key(const struct policy_addr *a)
{
	return (struct policy_eval_end){
		.hi = a->family == 6 ? bytes_be(a->ip, 8) : 0,
		.lo = a->family == 6 ? bytes_be(a->ip + 8, 8) : bytes_be(a->ip, 4),
		.port = a->port,
		.family = a->family,
	};
}

/* The answers of the eBPF matches that rules name, as a mask. */
static uint32_t bpf_ask(const struct policy *p, const struct policy_conn *c)
{
	uint32_t mask = 0;

	for (unsigned i = 0; c->bpf && i < policy_bpf_count(p); i++)
		mask |= (uint32_t)c->bpf(c->bpf_arg, policy_bpf_name(p, i)) << i;
	return mask;
}

/* Return: number of the first rule that matches, or -1. */
static int first_match(const struct policy *p, const struct policy_class *cls,
		       const struct policy_conn *c)
{
	const struct policy_line *form = policy_form(p);
	const struct policy_form_head *head = (const struct policy_form_head *)form;
	const struct policy_query q = {
		.local = end_key(&c->local),
		.remote = end_key(&c->remote),
		.role = c->role == POLICY_ROLE_CONNECT,
		.bpf = bpf_ask(p, c),
	};
	struct policy_eval e = { .form = form, .q = &q };
	int rule = -1;

	policy_eval_begin(&e, head->role[q.role]);
	for (uint32_t left = e.chunks & cls->summary; rule < 0 && left; left &= left - 1) {
		uint32_t chunk = policy_eval_lowest(left);

		rule = policy_eval_in_chunk(&e, head->sets, cls->set + chunk * (POLICY_CHUNK / 64),
					    chunk);
	}
	return rule;
}

struct policy_answer policy_match(const struct policy *p, const struct policy_class *cls,
				  const struct policy_conn *c)
{
	struct policy_answer a = {
		.verdict = POLICY_LIFT, .paths = POLICY_PATH_ALL, .threshold = -1, .rule = -1
	};
	const struct policy_rule *r;

	if (p)
		a.rule = first_match(p, cls, c);
	if (a.rule < 0)
		return a;
	r = policy_rule_get(p, (unsigned)a.rule);
	a.verdict = (enum policy_verdict)r->verdict;
	a.paths = r->paths;
	a.threshold = r->threshold;
	a.line = r->line;
	a.file = policy_file_name(p, r->file);
	return a;
}
