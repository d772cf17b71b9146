/* policy.c - the memory of a policy and what others may read of it */
#include "daemon/policy/policy.h"

#include <string.h>

#include "daemon/policy/policy_store.h"

#define RULE_BYTES                                                                      \
	(sizeof(struct policy_rule) + POLICY_STORE_VALUES * sizeof(struct policy_val) + \
	 POLICY_STORE_TEXT)

size_t policy_size(unsigned rules)
{
	return sizeof(struct policy) + POLICY_STORE_NAMES + rules * RULE_BYTES;
}

struct policy *policy_init(void *mem, size_t bytes)
{
	struct policy *p = mem;
	size_t rules;

	if (!mem || bytes < policy_size(1))
		return NULL;
	rules = (bytes - policy_size(0)) / RULE_BYTES;
	if (rules > POLICY_RULES_MAX)
		rules = POLICY_RULES_MAX;
	memset(p, 0, sizeof(*p));
	p->rules_max = (uint32_t)rules;
	p->vals_max = p->rules_max * POLICY_STORE_VALUES;
	p->text_max = p->rules_max * POLICY_STORE_TEXT + POLICY_STORE_NAMES;
	return p;
}

/* Bytes of a policy without its form, when there is room for nothing more. */
static size_t exact_bytes(const struct policy *p)
{
	return sizeof(*p) + p->rules * sizeof(struct policy_rule) +
	       p->vals * sizeof(struct policy_val) + (p->text + 7) / 8 * 8;
}

size_t policy_finish(void *mem, size_t bytes, const struct policy *p, void *scratch)
{
	size_t form = exact_bytes(p);
	uint32_t lines = policy_form_build(p, NULL, 0, scratch);
	size_t need = form + lines * sizeof(struct policy_line);
	struct policy *q = mem;

	if (!lines || !q || bytes < need)
		return lines ? need : 0;
	*q = *p;
	q->rules_max = p->rules;
	q->vals_max = p->vals;
	q->text_max = (p->text + 7) / 8 * 8;
	q->form = (uint32_t)form;
	q->bytes = (uint32_t)need;
	memcpy(policy_store_rules(q), policy_store_rules(p), p->rules * sizeof(struct policy_rule));
	memcpy(policy_store_vals(q), policy_store_vals(p), p->vals * sizeof(struct policy_val));
	memset(policy_store_text(q), 0, q->text_max);
	memcpy(policy_store_text(q), policy_store_text(p), p->text);
	policy_form_build(p, (struct policy_line *)((char *)q + form), lines, scratch);
	return need;
}

size_t policy_bare(void *mem, size_t bytes, const struct policy *p)
{
	size_t need = exact_bytes(p);
	struct policy *q = mem;

	if (!q || bytes < need)
		return need;
	memcpy(q, p, need);
	q->form = 0;
	q->bytes = 0;
	return need;
}

size_t policy_bytes(const struct policy *p)
{
	return p->bytes;
}

const struct policy_line *policy_form(const struct policy *p)
{
	return p->form ? (const struct policy_line *)((const char *)p + p->form) : NULL;
}

unsigned policy_bpf_count(const struct policy *p)
{
	return p ? p->bpfs : 0;
}

const char *policy_bpf_name(const struct policy *p, unsigned i)
{
	return policy_text(p, p->bpf_name[i]);
}

unsigned policy_needs(const struct policy *p)
{
	return p ? p->needs : 0;
}

unsigned policy_rules(const struct policy *p)
{
	return p ? p->rules : 0;
}

int policy_threshold_min(const struct policy *p)
{
	int min = -1;

	for (unsigned i = 0; i < policy_rules(p); i++) {
		const struct policy_rule *r = policy_rule_get(p, i);
		int threshold = r->verdict == POLICY_DIRECT ? 0 : r->threshold;

		if (threshold >= 0 && (min < 0 || threshold < min))
			min = threshold;
	}
	return min;
}

const struct policy_rule *policy_rule_get(const struct policy *p, unsigned i)
{
	return &policy_store_rules(p)[i];
}

const struct policy_val *policy_val_get(const struct policy *p, unsigned i)
{
	return &policy_store_vals(p)[i];
}

const char *policy_text(const struct policy *p, uint32_t offset)
{
	return policy_store_text(p) + offset;
}

const char *policy_file_name(const struct policy *p, unsigned i)
{
	return policy_text(p, p->file_name[i]);
}

const char *policy_verdict_name(enum policy_verdict v)
{
	static const char *const names[POLICY_VERDICTS] = { "kernel", "lift", "direct", "count" };

	return (unsigned)v < POLICY_VERDICTS ? names[v] : "?";
}

const char *policy_match_name(enum policy_match_kind k)
{
	static const char *const names[POLICY_M_KINDS] = {
		[POLICY_M_USER] = "user",
		[POLICY_M_GROUP] = "group",
		[POLICY_M_NETNS] = "netns",
		[POLICY_M_PORT] = "port",
		[POLICY_M_LOCAL_PORT] = "local-port",
		[POLICY_M_REMOTE_PORT] = "remote-port",
		[POLICY_M_LOCAL] = "local",
		[POLICY_M_REMOTE] = "remote",
		[POLICY_M_CGROUP] = "cgroup",
		[POLICY_M_PROGRAM] = "program",
		[POLICY_M_BPF] = "bpf",
	};

	return (unsigned)k < POLICY_M_KINDS ? names[k] : "?";
}
