/* policy_load_test.c - policies from files, and the process as rules see it */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/policy/policy_load.h"

static char dir[] = "/tmp/policy_load_XXXXXX";
static struct policy *policy;
static struct policy_error err;
static char line[1024];

static void setup(void)
{
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
	cr_assert_eq(mkdir("policy.d", 0755), 0);
}

static void teardown(void)
{
	char cmd[128];

	policy_unload(policy);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}

static void file_put(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	cr_assert_not_null(f, "%s", name);
	cr_assert_geq(fputs(text, f), 0);
	fclose(f);
}

static const char *load_error(const char *name)
{
	struct policy *kept = (struct policy *)&err;
	struct policy *p = kept;

	cr_assert_lt(policy_load(name, &p, &err), 0);
	cr_assert_eq(p, kept, "a bad file never replaces a good one");
	return policy_error_format(&err, line, sizeof(line));
}

static void load(const char *name)
{
	cr_assert_eq(policy_load(name, &policy, &err), 0, "%s",
		     policy_error_format(&err, line, sizeof(line)));
}

TestSuite(policy_load, .init = setup, .fini = teardown);

Test(policy_load, policy_load__missing_file)
{
	cr_assert_str_eq(load_error("none"), "none: expected a file that exists");
	cr_assert_eq(err.errnum, -ENOENT);
}

Test(policy_load, policy_load__not_a_file)
{
	cr_assert_str_eq(load_error("policy.d"), "policy.d: expected a file (it is a directory)");
	cr_assert_eq(mkfifo("fifo", 0600), 0);
	cr_assert_str_eq(load_error("fifo"), "fifo: expected a regular file");
}

Test(policy_load, policy_load__what_everybody_may_write)
{
	file_put("policy", "include policy.d/*\n");
	file_put("policy.d/one", "kernel\n");
	cr_assert_eq(chmod("policy.d/one", 0666), 0);
	cr_assert_str_eq(
		load_error("policy.d/one"),
		"policy.d/one: expected a file and a folder that not everybody may write to");
	cr_assert_neq(strstr(load_error("policy"), "policy:1:9: "), NULL);
	cr_assert_eq(chmod("policy.d/one", 0664), 0);
	cr_assert_eq(chmod("policy.d", 01777), 0);
	cr_assert_neq(strstr(load_error("policy"), "not everybody may write"), NULL);
	cr_assert_eq(chmod("policy.d", 0775), 0);
	load("policy");
	cr_assert_eq(policy_rules(policy), 1);
}

Test(policy_load, policy_load__includes_in_sorted_order_at_their_place)
{
	file_put("policy", "kernel port=1\ninclude policy.d/*.rules\nkernel port=2\n");
	file_put("policy.d/b.rules", "kernel port=20\n");
	file_put("policy.d/a.rules", "kernel port=10\nkernel port=11\n");
	file_put("policy.d/B.rules", "kernel port=30\n");
	file_put("policy.d/.hidden.rules", "bad\n");
	file_put("policy.d/a.rules~", "bad\n");
	load("policy");
	cr_assert_eq(policy_rules(policy), 6);
	for (unsigned i = 0; i < 6; i++) {
		static const unsigned want[] = { 1, 30, 10, 11, 20, 2 };

		cr_assert_eq(policy_val_get(policy, i)->lo, want[i], "rule %u", i);
	}
	cr_assert_str_eq(policy_file_name(policy, policy_rule_get(policy, 3)->file),
			 "policy.d/a.rules");
	cr_assert_eq(policy_rule_get(policy, 3)->line, 2);
}

Test(policy_load, policy_load__include_is_relative_to_the_file)
{
	char path[128];

	file_put("policy", "include policy.d/one\n");
	file_put("policy.d/one", "include two\n");
	file_put("policy.d/two", "count\n");
	cr_assert_eq(chdir("/"), 0);
	snprintf(path, sizeof(path), "%s/policy", dir);
	load(path);
	cr_assert_eq(policy_rules(policy), 1);
	cr_assert_eq(policy_rule_get(policy, 0)->verdict, POLICY_COUNT);
}

Test(policy_load, policy_load__include_errors)
{
	file_put("policy", "\ninclude policy.d/none\n");
	cr_assert_str_eq(load_error("policy"),
			 "policy:2:9: expected a file that exists, found policy.d/none");
	file_put("policy", "include policy.d/*\ninclude nowhere/*\nlift\n");
	load("policy");
	file_put("policy", "include policy.d/[\n");
	cr_assert_str_eq(load_error("policy"),
			 "policy:1:9: expected a pattern with each '[' closed, found policy.d/[");
	file_put("policy.d/x", "lift\nlift port=x\n");
	file_put("policy", "include policy.d/*\n");
	cr_assert_str_eq(
		load_error("policy"),
		"policy.d/x:2:11: expected a port or range of ports, 0 to 65535, found 'x'");
	file_put("policy", "include policy\n");
	cr_assert_str_eq(
		load_error("policy"),
		"policy:1:9: expected at most 8 files that include one another, found 'policy'");
}

Test(policy_load, policy_load__names_of_users_and_groups)
{
	file_put("policy", "lift user=root group=root,daemon\n");
	load("policy");
	cr_assert_eq(policy_val_get(policy, 0)->num, 0);
	cr_assert_eq(policy_val_get(policy, 2)->num, 1);
	file_put("policy", "lift user=roo\n");
	cr_assert_str_eq(load_error("policy"),
			 "policy:1:11: expected a user of this system, or a number, found 'roo'");
}

Test(policy_load, policy_load__many_rules)
{
	FILE *f = fopen("policy", "w");

	for (unsigned i = 0; i < POLICY_RULES_MAX; i++)
		fprintf(f, "kernel program=/usr/lib/x/program-%u port=%u remote=10.0.0.0/8\n", i,
			i);
	fclose(f);
	load("policy");
	cr_assert_eq(policy_rules(policy), POLICY_RULES_MAX);
	f = fopen("policy", "a");
	fprintf(f, "kernel\n");
	fclose(f);
	cr_assert_str_eq(
		load_error("policy"),
		"policy:16385:1: expected fewer rules: the policy is full, found 'kernel'");
}

Test(policy_load, policy_load__errno_is_not_touched)
{
	errno = 77;
	load_error("none");
	cr_assert_eq(errno, 77);
}

Test(policy_self, policy_self_read__reads_only_what_rules_need)
{
	static struct policy_self self;
	char exe[4096] = "";
	struct stat st;

	policy_self_read(&self, 0);
	cr_assert_str_eq(self.proc.program, "");
	cr_assert_str_eq(self.proc.cgroup, "");
	cr_assert_eq(self.proc.netns_ino, 0);
	cr_assert_eq(self.proc.uid, geteuid());
	cr_assert_eq(self.proc.gid, getegid());
	policy_self_read(&self, ~0u);
	cr_assert_gt(readlink("/proc/self/exe", exe, sizeof(exe) - 1), 0);
	cr_assert_str_eq(self.proc.program, exe);
	cr_assert_eq(stat("/proc/self/ns/net", &st), 0);
	cr_assert_eq(self.proc.netns_ino, st.st_ino);
	if (self.proc.cgroup[0])
		cr_assert_eq(self.proc.cgroup[0], '/');
}
