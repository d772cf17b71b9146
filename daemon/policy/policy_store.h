/* policy_store.h - how a policy lies in memory; for the files of daemon/policy alone
 *
 * A header, then room for rules, for values, for texts, each of a size fixed by policy_init(). Everything
 * refers to everything else by index or offset. Writing is policy_parse.c's; the caller owns the memory.
 */
#ifndef ZTCP_POLICY_STORE_H
#define ZTCP_POLICY_STORE_H

#include "daemon/policy/policy.h"
#include "daemon/policy/policy_form.h"

/* Room per rule, on average; the text room also holds the files' names. */
#define POLICY_STORE_VALUES 6u
#define POLICY_STORE_TEXT   64u
#define POLICY_STORE_NAMES  4096u

struct policy {
	uint32_t rules_max;
	uint32_t vals_max;
	uint32_t text_max;
	uint32_t rules;
	uint32_t vals;
	uint32_t text;
	uint32_t files;
	uint32_t needs;
	uint32_t bpfs;
	uint32_t bytes; /* of the whole, form and all; 0: not finished */
	uint32_t form;  /* where the compiled form begins, in bytes from here */
	uint32_t spare;
	uint32_t bpf_name[POLICY_BPF_MAX]; /* texts */
	uint32_t file_name[POLICY_FILES_MAX];
};

_Static_assert(sizeof(struct policy) % 8 == 0, "rules follow the header");
_Static_assert(sizeof(struct policy_rule) == 24, "values follow the rules");
_Static_assert(sizeof(struct policy_val) == 24, "texts follow the values");

static inline struct policy_rule *policy_store_rules(const struct policy *p)
{
	return (struct policy_rule *)((char *)p + sizeof(*p));
}

static inline struct policy_val *policy_store_vals(const struct policy *p)
{
	return (struct policy_val *)(policy_store_rules(p) + p->rules_max);
}

static inline char *policy_store_text(const struct policy *p)
{
	return (char *)(policy_store_vals(p) + p->vals_max);
}

/**
 * policy_form_build() - compile; policy_form.c
 * @p:       policy
 * @out:     NULL to ask for the size
 * @lines:   room there
 * @scratch: policy_finish_scratch() bytes, aligned to 8
 *
 * Return: lines of the form, written if there was room; 0: it would be larger than POLICY_FORM_LINES_MAX.
 */
uint32_t policy_form_build(const struct policy *p, struct policy_line *out, uint32_t lines,
			   void *scratch);

#endif
