/* policy_store.h - how a policy lies in memory; for the files of daemon/policy alone
 *
 * A header, then room for rules, for values, for texts, each of a size fixed by policy_init(). Everything
 * refers to everything else by index or offset. Writing is policy_parse.c's; the caller owns the memory.
 */
#ifndef ZTCP_POLICY_STORE_H
#define ZTCP_POLICY_STORE_H

#include "daemon/policy/policy.h"

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

#endif
