/* policy_fix.h - what the tests of daemon/policy share: a policy from a string
 *
 * Called by the tests of this folder; memory is static, since each Criterion test is its own process.
 */
#ifndef ZTCP_POLICY_FIX_H
#define ZTCP_POLICY_FIX_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/policy/policy.h"

static inline int fix_user(void *arg, const char *name, uint32_t *id)
{
	(void)arg;
	if (strcmp(name, "redis"))
		return -ENOENT;
	*id = 110;
	return 0;
}

static const struct policy_env fix_env = { .user = fix_user, .group = fix_user };
static uint64_t fix_mem[1 << 16];
static struct policy_error fix_err;

/** fix_parse() - Return: what policy_parse() says of @text; the policy is in fix_mem. */
static inline int fix_parse(const char *text)
{
	struct policy *p = policy_init(fix_mem, sizeof(fix_mem));

	return policy_parse(p, &fix_env, "file", text, strlen(text), 0, &fix_err);
}

/** fix_policy() - Return: the policy of @text, which must be right. */
static inline const struct policy *fix_policy(const char *text)
{
	char line[512];

	cr_assert_eq(fix_parse(text), 0, "%s", policy_error_format(&fix_err, line, sizeof(line)));
	return (const struct policy *)fix_mem;
}

static uint64_t fix_done[1 << 16], fix_scratch[1 << 16];

/** fix_finished() - Return: the policy of @text, compiled. */
static inline const struct policy *fix_finished(const char *text)
{
	const struct policy *p = fix_policy(text);

	cr_assert_leq(policy_finish_scratch(p), sizeof(fix_scratch));
	cr_assert_gt(policy_finish(fix_done, sizeof(fix_done), p, fix_scratch), 0);
	return (const struct policy *)fix_done;
}

/** fix_match() - Return: the answer of a finished policy, or of none. */
static inline struct policy_answer fix_match(const struct policy *p, const struct policy_conn *c)
{
	struct policy_class cls;

	policy_class_read(p, c->proc, &cls);
	return policy_match(p, &cls, c);
}

/** fix_error() - Return: the error line of @text, which must be wrong. */
static inline const char *fix_error(const char *text)
{
	static char line[512];

	cr_assert_lt(fix_parse(text), 0, "no error in: %s", text);
	return policy_error_format(&fix_err, line, sizeof(line));
}

static inline struct policy_addr fix_addr(const char *text)
{
	struct policy_addr a = { 0 };

	cr_assert_eq(policy_addr_parse(&a, text, strlen(text)), 0, "%s", text);
	return a;
}

#endif
