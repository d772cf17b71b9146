/* policy_parse_test.c - what is a rule, and what is said of text that is none */
#include <criterion/criterion.h>

#include "tests/unit/daemon/policy/policy_fix.h"

Test(policy_parse, policy_parse__blank_lines_and_comments_are_no_rules)
{
	const struct policy *p = fix_policy("# one\n\n \t \n\t# two\r\n\r\nlift # all\nkernel");

	cr_assert_eq(policy_rules(p), 2);
	cr_assert_eq(policy_rule_get(p, 0)->line, 6);
	cr_assert_eq(policy_rule_get(p, 1)->line, 7);
}

Test(policy_parse, policy_parse__empty_text)
{
	cr_assert_eq(policy_rules(fix_policy("")), 0);
}

Test(policy_parse, policy_parse__defaults_of_a_rule)
{
	const struct policy *p = fix_policy("lift\nkernel\ndirect path=shm\ncount\n");
	const struct policy_rule *r = policy_rule_get(p, 0);

	cr_assert_eq(r->role, POLICY_ROLE_BOTH);
	cr_assert_eq(r->paths, POLICY_PATH_ALL);
	cr_assert_eq(r->threshold, -1);
	cr_assert_eq(r->val_count, 0);
	cr_assert_eq(policy_rule_get(p, 1)->paths, 0);
	cr_assert_eq(policy_rule_get(p, 2)->paths, POLICY_PATH_SHM);
	cr_assert_eq(policy_rule_get(p, 3)->verdict, POLICY_COUNT);
}

Test(policy_parse, policy_parse__every_key)
{
	const struct policy *p = fix_policy(
		"lift path=shm,stack threshold=4 role=listen user=redis,1 group=0 program=/usr/bin/* "
		"cgroup=/a/b/ netns=blue,4026531840 local=127.0.0.0/8 remote=::/0 port=6379 local-port=1-2 "
		"remote-port=0-65535 bpf=mine\n");
	const struct policy_rule *r = policy_rule_get(p, 0);
	unsigned last = 0;

	cr_assert_eq(r->kinds, (1u << POLICY_M_KINDS) - 1);
	cr_assert_eq(r->threshold, 4);
	cr_assert_eq(r->role, POLICY_ROLE_LISTEN);
	cr_assert_eq(r->val_count, 13);
	for (unsigned i = 0; i < r->val_count; i++) {
		cr_assert_geq(policy_val_get(p, i)->kind, last, "values are sorted by kind");
		last = policy_val_get(p, i)->kind;
	}
}

static const char *first_text(const char *text)
{
	const struct policy *p = fix_policy(text);

	return policy_text(p, policy_val_get(p, 0)->text);
}

Test(policy_parse, policy_parse__quotes)
{
	cr_assert_str_eq(first_text("lift program=\"/opt/my app/x,y\"\n"), "/opt/my app/x,y");
	cr_assert_str_eq(first_text("lift program=/opt/\"my app\"/x # c\n"), "/opt/my app/x");
	cr_assert_str_eq(first_text("lift program=\"/a\\\"b\\\\c\\*\"\n"), "/a\"b\\c\\*");
	cr_assert_str_eq(first_text("lift program=/a#b\n"), "/a#b");
	cr_assert_str_eq(first_text("lift cgroup=/x///\n"), "/x");
	cr_assert_str_eq(first_text("lift cgroup=/\n"), "/");
}

/* Each wrong text with its whole message: file, line, column, what was expected, what was found. */
static const struct {
	const char *text;
	const char *error;
} wrong[] = {
	{ "\n  life\n", "file:2:3: expected kernel, lift, direct, count or include, found 'life'" },
	{ "lift#x\n", "file:1:1: expected kernel, lift, direct, count or include, found 'lift#x'" },
	{ "Lift\n", "file:1:1: expected kernel, lift, direct, count or include, found 'Lift'" },
	{ "lift port\n", "file:1:10: expected '=', found the end of the line" },
	{ "lift port 1\n", "file:1:10: expected '=', found a blank" },
	{ "lift prt=1\n",
	  "file:1:6: expected role=, path=, threshold=, user=, group=, program=, cgroup=, netns=, "
	  "local=, remote=, port=, local-port=, remote-port= or bpf=, found 'prt=1'" },
	{ "lift port=\n", "file:1:11: expected a value, found the end of the line" },
	{ "lift port=1,\n", "file:1:13: expected a value, found the end of the line" },
	{ "lift port=1,,2\n", "file:1:13: expected a value, found ',2'" },
	{ "lift port=80a\n",
	  "file:1:11: expected a port or range of ports, 0 to 65535, found '80a'" },
	{ "lift port=65536\n",
	  "file:1:11: expected a port or range of ports, 0 to 65535, found '65536'" },
	{ "lift port=9-8\n",
	  "file:1:11: expected a range whose first port is not above its last, found '9-8'" },
	{ "lift port=1 port=2\n",
	  "file:1:13: expected each key once in a rule; more values go behind a comma, found 'port=2'" },
	{ "kernel path=shm\n",
	  "file:1:8: expected no path= behind kernel or count, found 'path=shm'" },
	{ "direct threshold=1\n",
	  "file:1:8: expected no threshold= but behind lift, found 'threshold=1'" },
	{ "lift threshold=1000001\n",
	  "file:1:16: expected a number of calls, 0 to 1000000, found '1000001'" },
	{ "lift threshold=1,2\n", "file:1:18: expected one threshold, found '2'" },
	{ "lift path=kernel\n", "file:1:11: expected shm or stack, found 'kernel'" },
	{ "lift role=server\n", "file:1:11: expected listen, connect or both, found 'server'" },
	{ "lift user=nobody\n",
	  "file:1:11: expected a user of this system, or a number, found 'nobody'" },
	{ "lift user=4294967295\n",
	  "file:1:11: expected a user of this system, or a number, found '4294967295'" },
	{ "lift group=-1\n",
	  "file:1:12: expected a group of this system, or a number, found '-1'" },
	{ "lift local=10.1\n", "file:1:12: expected an IPv4 or IPv6 prefix, found '10.1'" },
	{ "lift local=10.0.0.1/8\n",
	  "file:1:12: expected a prefix with no bit set behind its length, found '10.0.0.1/8'" },
	{ "lift remote=0.0.0.0/33\n",
	  "file:1:13: expected a prefix length from 0 to 32, found '0.0.0.0/33'" },
	{ "lift remote=::/129\n",
	  "file:1:13: expected a prefix length from 0 to 128, found '::/129'" },
	{ "lift cgroup=a\n", "file:1:13: expected the path of a cgroup, from '/', found 'a'" },
	{ "lift netns=0\n", "file:1:12: expected an inode number above 0, found '0'" },
	{ "lift netns=a/b\n",
	  "file:1:12: expected the name of a network namespace, or its inode number, found 'a/b'" },
	{ "lift program=bin/x\n",
	  "file:1:14: expected a program's path from '/', or a name without '/', found 'bin/x'" },
	{ "lift program=/x[a\n",
	  "file:1:14: expected a pattern with each '[' closed and nothing escaped at its end, found '/x[a'" },
	{ "lift program=\"/x\n", "file:1:17: expected a closing quote, found the end of the line" },
	{ "lift bpf=a:b\n", "file:1:10: expected the name of an eBPF match, found 'a:b'" },
	{ "lift \x01\n", "file:1:6: expected no control character, found '?'" },
	{ "include\n",
	  "file:1:8: expected the name of a file to include, found the end of the line" },
	{ "include a b\n", "file:1:11: expected the end of the line, found 'b'" },
	{ "include a,b\n", "file:1:10: expected one name, found ',b'" },
	{ "include a\n", "file:1:9: expected no include here, found 'a'" },
};

Test(policy_parse, policy_parse__errors_say_where_and_what)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert_str_eq(fix_error(wrong[i].text), wrong[i].error, "got: %s",
				 fix_error(wrong[i].text));
}

Test(policy_parse, policy_parse__a_rule_before_the_error_stays_out_of_reach_of_the_old_policy)
{
	static uint64_t other[4096];
	struct policy *good = policy_init(other, sizeof(other));
	struct policy_error err;

	cr_assert_eq(policy_parse(good, &fix_env, "good", "kernel\n", 7, 0, &err), 0);
	cr_assert_eq(fix_parse("lift\nbad\n"), -EINVAL);
	cr_assert_eq(policy_rules(good), 1);
	cr_assert_eq(policy_rule_get(good, 0)->verdict, POLICY_KERNEL);
}

Test(policy_parse, policy_parse__limits)
{
	char line[2 * POLICY_LINE_MAX];
	size_t n;

	memset(line, ' ', sizeof(line));
	line[POLICY_LINE_MAX] = '\0';
	cr_assert_eq(fix_parse(line), 0);
	memset(line, ' ', sizeof(line));
	line[POLICY_LINE_MAX + 1] = '\0';
	cr_assert_str_eq(fix_error(line),
			 "file:1:1025: expected a line of at most 1024 bytes, found a blank");

	n = (size_t)sprintf(line, "lift port=0");
	for (unsigned i = 1; i < POLICY_VALUES_MAX; i++)
		n += (size_t)sprintf(line + n, ",%u", i);
	cr_assert_eq(fix_parse(line), 0);
	sprintf(line + n, ",1");
	cr_assert_not_null(strstr(fix_error(line), "expected at most 32 values, found '1'"));

	n = (size_t)sprintf(line, "lift cgroup=/");
	memset(line + n, 'x', POLICY_TEXT_MAX - 1);
	line[n + POLICY_TEXT_MAX - 1] = '\0';
	cr_assert_eq(fix_parse(line), 0);
	strcat(line, "x");
	cr_assert_not_null(
		strstr(fix_error(line), "file:1:13: expected a value of at most 255 bytes"));
}

Test(policy_parse, policy_parse__too_many_files)
{
	struct policy *p = policy_init(fix_mem, sizeof(fix_mem));

	for (unsigned i = 0; i < POLICY_FILES_MAX; i++)
		cr_assert_eq(policy_parse(p, &fix_env, "f", "lift", 4, 0, &fix_err), 0);
	cr_assert_eq(policy_parse(p, &fix_env, "f", "lift", 4, 0, &fix_err), -EINVAL);
	cr_assert_str_eq(fix_err.expected, "at most 256 files in a policy");
}

static int include_self(void *arg, struct policy *p, const char *from, const char *pattern,
			unsigned depth, struct policy_error *err)
{
	const struct policy_env env = { arg, include_self, NULL, NULL };
	unsigned *deepest = arg;

	cr_assert_str_eq(from, depth == 1 ? "top" : "self");
	if (!strcmp(pattern, "missing"))
		return strcpy(err->expected, "a file that exists"), -ENOENT;
	*deepest = depth;
	return policy_parse(p, &env, "self", "kernel\ninclude self\n", 20, depth, err);
}

Test(policy_parse, policy_parse__an_include_of_itself_ends)
{
	struct policy *p = policy_init(fix_mem, sizeof(fix_mem));
	unsigned deepest = 0;
	const struct policy_env env = { &deepest, include_self, NULL, NULL };
	char line[512];

	cr_assert_eq(policy_parse(p, &env, "top", "include self\n", 13, 0, &fix_err), -EINVAL);
	cr_assert_eq(deepest, POLICY_DEPTH_MAX - 1);
	cr_assert_str_eq(
		policy_error_format(&fix_err, line, sizeof(line)),
		"self:2:9: expected at most 8 files that include one another, found 'self'");
}

Test(policy_parse, policy_parse__an_error_of_a_whole_include_has_the_place_of_its_line)
{
	struct policy *p = policy_init(fix_mem, sizeof(fix_mem));
	unsigned deepest = 0;
	const struct policy_env env = { &deepest, include_self, NULL, NULL };
	char line[512];

	cr_assert_eq(policy_parse(p, &env, "top", "lift\n include missing\n", 22, 0, &fix_err),
		     -ENOENT);
	cr_assert_str_eq(policy_error_format(&fix_err, line, sizeof(line)),
			 "top:2:10: expected a file that exists");
	cr_assert_eq(fix_err.errnum, -ENOENT);
}
