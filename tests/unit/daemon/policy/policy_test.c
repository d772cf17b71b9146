/* policy_test.c - the memory of a policy */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/daemon/policy/policy_fix.h"

Test(policy, policy_size__holds_as_many_rules_as_asked)
{
	const char *line = "lift program=/usr/bin/redis-server,/usr/bin/x port=1,2\n";
	struct policy *p = policy_init(fix_mem, policy_size(100));

	for (int i = 0; i < 100; i++)
		cr_assert_eq(policy_parse(p, &fix_env, "f", line, strlen(line), 0, &fix_err), 0,
			     "rule %d", i);
	cr_assert_eq(policy_rules(p), 100);
	cr_assert_eq(policy_parse(p, &fix_env, "f", line, strlen(line), 0, &fix_err), -ENOSPC);
	cr_assert_eq(fix_err.errnum, -ENOSPC);
}

Test(policy, policy_init__too_little_memory)
{
	cr_assert_null(policy_init(fix_mem, policy_size(1) - 1));
	cr_assert_null(policy_init(NULL, 1 << 20));
	cr_assert_not_null(policy_init(fix_mem, policy_size(1)));
}

Test(policy, policy_finish__is_the_same_and_no_larger_than_said)
{
	const struct policy *p = fix_policy(
		"lift user=redis remote=10.0.0.0/8\nkernel program=*/x\ncount\n");
	void *scratch = malloc(policy_finish_scratch(p));
	size_t bytes = policy_finish(NULL, 0, p, scratch);
	struct policy *q = malloc(bytes); /* of the exact size, so that ASan sees a byte too many */

	cr_assert_eq(policy_bytes(p), 0);
	cr_assert_null(policy_form(p));
	cr_assert_eq(policy_finish(q, bytes - 1, p, scratch), bytes);
	cr_assert_eq(policy_finish(q, bytes, p, scratch), bytes);
	memset(fix_mem, 0xee, sizeof(fix_mem));
	cr_assert_eq(policy_bytes(q), bytes);
	cr_assert_eq(policy_rules(q), 3);
	cr_assert_str_eq(policy_file_name(q, policy_rule_get(q, 2)->file), "file");
	cr_assert_str_eq(policy_text(q, policy_val_get(q, policy_rule_get(q, 1)->val_first)->text),
			 "*/x");
	cr_assert_eq(policy_val_get(q, 0)->num, 110);
	cr_assert_eq(policy_parse(q, &fix_env, "f", "lift\n", 5, 0, &fix_err), -ENOSPC);
	free(q);
	free(scratch);
}

Test(policy, policy_needs__is_the_union_of_all_rules)
{
	cr_assert_eq(policy_needs(NULL), 0);
	cr_assert_eq(policy_needs(fix_policy("lift\n")), 0);
	cr_assert_eq(policy_needs(fix_policy("lift user=1\nkernel cgroup=/a remote=::1\n")),
		     1u << POLICY_M_USER | 1u << POLICY_M_CGROUP | 1u << POLICY_M_REMOTE);
}

Test(policy, policy_threshold_min__of_all_rules)
{
	cr_assert_eq(policy_threshold_min(NULL), -1);
	cr_assert_eq(policy_threshold_min(fix_policy("lift\nkernel\n")), -1);
	cr_assert_eq(policy_threshold_min(
			     fix_policy("lift threshold=9\nlift threshold=4 port=1\nlift\n")),
		     4);
	cr_assert_eq(policy_threshold_min(fix_policy("lift threshold=9\ndirect port=1\n")), 0);
}

Test(policy, policy_name__each_verdict_and_match_has_one)
{
	for (unsigned i = 0; i < POLICY_VERDICTS; i++)
		cr_assert_str_neq(policy_verdict_name(i), "?");
	for (unsigned i = 0; i < POLICY_M_KINDS; i++)
		cr_assert_str_neq(policy_match_name(i), "?");
	cr_assert_str_eq(policy_verdict_name(POLICY_VERDICTS), "?");
	cr_assert_str_eq(policy_match_name(POLICY_M_KINDS), "?");
}

Test(policy, policy_rule_format__is_read_as_the_same_rule)
{
	static const char *const lines[] = {
		"kernel",
		"lift path=shm threshold=7 role=listen user=110 port=80,443-444",
		"direct path=stack role=connect netns=blue,77 remote=10.0.0.0/8,0:0:0:0:0:0:0:1",
		"count local=192.0.2.1 cgroup=/a/b program=\"/opt/my app/x\",\"a\\\"b,c\" bpf=x,y",
	};
	char text[512];

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_assert_str_eq(policy_rule_format(fix_policy(lines[i]), 0, text, sizeof(text)),
				 lines[i]);
	cr_assert_str_eq(policy_rule_format(fix_policy("kernel port=1"), 0, text, 9), "kernel p");
}
