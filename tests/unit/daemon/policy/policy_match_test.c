/* policy_match_test.c - which rule decides */
#include <criterion/criterion.h>

#include "tests/unit/daemon/policy/policy_fix.h"

static const struct policy_proc proc = {
	.program = "/usr/bin/redis-server",
	.cgroup = "/system.slice/redis.service",
	.netns = "blue",
	.netns_ino = 4026531840,
	.uid = 110,
	.gid = 120,
};

static bool bpf_says(void *arg, const char *name)
{
	return !strcmp(name, arg);
}

/* An accepted connection of redis. */
static struct policy_conn conn(void)
{
	return (struct policy_conn){
		.proc = &proc,
		.role = POLICY_ROLE_LISTEN,
		.local = fix_addr("10.1.2.3:6379"),
		.remote = fix_addr("10.9.8.7:40000"),
		.bpf = bpf_says,
		.bpf_arg = (void *)"yes",
	};
}

static struct policy_answer judge(const char *text, const struct policy_conn *c)
{
	return fix_match(fix_finished(text), c);
}

Test(policy_match, policy_match__no_policy_lifts)
{
	struct policy_conn c = conn();
	struct policy_answer a = fix_match(NULL, &c);

	cr_assert_eq(a.verdict, POLICY_LIFT);
	cr_assert_eq(a.paths, POLICY_PATH_ALL);
	cr_assert_eq(a.rule, -1);
	cr_assert_null(a.file);
}

Test(policy_match, policy_match__no_rule_that_matches_lifts)
{
	struct policy_conn c = conn();

	cr_assert_eq(judge("kernel port=1\n", &c).verdict, POLICY_LIFT);
	cr_assert_eq(judge("kernel port=1\n", &c).rule, -1);
}

Test(policy_match, policy_match__first_match_wins)
{
	struct policy_conn c = conn();
	struct policy_answer a = judge("kernel port=1\n\ndirect path=shm port=6379\nkernel\n", &c);

	cr_assert_eq(a.verdict, POLICY_DIRECT);
	cr_assert_eq(a.paths, POLICY_PATH_SHM);
	cr_assert_eq(a.rule, 1);
	cr_assert_eq(a.line, 3);
	cr_assert_str_eq(a.file, "file");
	cr_assert_eq(judge("lift threshold=0\n", &c).threshold, 0);
	cr_assert_eq(judge("lift\n", &c).threshold, -1);
	cr_assert_eq(judge("count\n", &c).verdict, POLICY_COUNT);
}

/* Every key, matching and not, for the connection of conn(). */
static const struct {
	const char *match;
	bool hit;
} table[] = {
	{ "role=listen", true },
	{ "role=connect", false },
	{ "role=both", true },
	{ "role=listen,connect", true },
	{ "user=redis", true },
	{ "user=0,110", true },
	{ "user=0", false },
	{ "group=120", true },
	{ "group=110", false },
	{ "netns=blue", true },
	{ "netns=red", false },
	{ "netns=4026531840", true },
	{ "netns=4026531841", false },
	{ "netns=red,4026531840", true },
	{ "port=6379", true },
	{ "port=40000", false },
	{ "local-port=6379", true },
	{ "local-port=6000-6378,6380", false },
	{ "local-port=6000-6379", true },
	{ "local-port=6379-7000", true },
	{ "remote-port=40000", true },
	{ "remote-port=6379", false },
	{ "local=10.1.2.3", true },
	{ "local=10.1.2.2", false },
	{ "local=10.1.2.2/31", true },
	{ "local=10.1.2.0/31", false },
	{ "local=10.0.0.0/8", true },
	{ "local=11.0.0.0/8", false },
	{ "local=0.0.0.0/0", true },
	{ "local=::/0", false },
	{ "local=::ffff:10.0.0.0/104", true },
	{ "remote=10.1.2.3", false },
	{ "remote=10.9.0.0/16", true },
	{ "remote=::1,10.9.8.7", true },
	{ "cgroup=/", true },
	{ "cgroup=/system.slice", true },
	{ "cgroup=/system", false },
	{ "cgroup=/system.slice/redis.service", true },
	{ "cgroup=/system.slice/redis.service/x", false },
	{ "program=redis-server", true },
	{ "program=redis", false },
	{ "program=redis-*", true },
	{ "program=/usr/bin/*", true },
	{ "program=/usr/*", false },
	{ "program=/usr/**", true },
	{ "program=/bin/x,*/bin/redis-serve?", false },
	{ "program=**/bin/redis-serve?", true },
	{ "bpf=yes", true },
	{ "bpf=no", false },
	{ "bpf=no,yes", true },
	{ "user=110 port=6379 remote=10.0.0.0/8 program=redis-*", true },
	{ "user=110 port=6379 remote=11.0.0.0/8 program=redis-*", false },
	{ "user=111 port=6379 remote=10.0.0.0/8 program=redis-*", false },
};

Test(policy_match, policy_match__every_key)
{
	struct policy_conn c = conn();
	char text[256];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		snprintf(text, sizeof(text), "kernel %s\n", table[i].match);
		cr_assert_eq(judge(text, &c).verdict == POLICY_KERNEL, table[i].hit, "%s",
			     table[i].match);
	}
}

Test(policy_match, policy_match__ip6)
{
	struct policy_conn c = conn();

	c.local = fix_addr("[2001:db8:1:2::3]:80");
	c.remote = fix_addr("[::ffff:192.0.2.1]:1");
	cr_assert_eq(judge("kernel local=2001:db8::/32\n", &c).verdict, POLICY_KERNEL);
	cr_assert_eq(judge("kernel local=2001:db8:1:2::/63\n", &c).verdict, POLICY_KERNEL);
	cr_assert_eq(judge("kernel local=2001:db8:1::/64\n", &c).verdict, POLICY_LIFT);
	cr_assert_eq(judge("kernel local=2001:db8:1:2::3\n", &c).verdict, POLICY_KERNEL);
	cr_assert_eq(judge("kernel local=2001:db8:1:2::2\n", &c).verdict, POLICY_LIFT);
	cr_assert_eq(judge("kernel remote=192.0.2.0/24\n", &c).verdict, POLICY_KERNEL,
		     "mapped is IPv4");
	cr_assert_eq(judge("kernel remote=::/0\n", &c).verdict, POLICY_LIFT, "mapped is not IPv6");
}

Test(policy_match, policy_match__port_is_that_of_the_listening_side)
{
	struct policy_conn c = conn();

	c.role = POLICY_ROLE_CONNECT;
	cr_assert_eq(judge("kernel port=40000\n", &c).verdict, POLICY_KERNEL);
	cr_assert_eq(judge("kernel port=6379\n", &c).verdict, POLICY_LIFT);
	cr_assert_eq(judge("kernel local-port=6379\n", &c).verdict, POLICY_KERNEL);
}

Test(policy_match, policy_match__what_is_not_known_matches_nothing)
{
	const struct policy_proc nothing = { .uid = 7, .gid = 8 };
	const char *const rules[] = { "remote=0.0.0.0/0", "remote=::/0", "remote-port=0-65535",
				      "local=0.0.0.0/0",  "cgroup=/",    "program=**",
				      "netns=blue",       "netns=1",     "bpf=yes" };
	struct policy_conn c = { .proc = &nothing, .role = POLICY_ROLE_CONNECT };
	char text[64];

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		snprintf(text, sizeof(text), "kernel %s\n", rules[i]);
		cr_assert_eq(judge(text, &c).verdict, POLICY_LIFT, "%s", rules[i]);
	}
}

Test(policy_match, policy_rule_match__says_what_fails_first)
{
	struct policy_conn c = conn();
	const struct policy *p = fix_policy(
		"lift role=connect\nlift user=1 port=1\nlift user=110 port=1\nlift bpf=no\nlift\n");

	cr_assert_eq(policy_rule_match(p, 0, &c), POLICY_M_KINDS);
	cr_assert_eq(policy_rule_match(p, 1, &c), POLICY_M_USER);
	cr_assert_eq(policy_rule_match(p, 2, &c), POLICY_M_PORT);
	cr_assert_eq(policy_rule_match(p, 3, &c), POLICY_M_BPF);
	cr_assert_eq(policy_rule_match(p, 4, &c), POLICY_M_KINDS + 1);
}

Test(policy_match, policy_process_may_lift__is_exact_about_the_process)
{
	cr_assert(policy_process_may_lift(NULL, &proc));
	cr_assert(policy_process_may_lift(fix_policy(""), &proc));
	cr_assert(!policy_process_may_lift(fix_policy("kernel\n"), &proc));
	cr_assert(!policy_process_may_lift(fix_policy("lift user=1\nkernel\n"), &proc));
	cr_assert(policy_process_may_lift(fix_policy("lift user=110\nkernel\n"), &proc));
	cr_assert(policy_process_may_lift(fix_policy("lift port=1\nkernel\n"), &proc));
	cr_assert(policy_process_may_lift(fix_policy("kernel port=1\n"), &proc));
	cr_assert(policy_process_may_lift(fix_policy("kernel role=listen\n"), &proc));
	cr_assert(policy_process_may_lift(fix_policy("count\nkernel\n"), &proc));
	cr_assert(policy_process_may_lift(fix_policy("kernel user=1\n"), &proc));
	cr_assert(!policy_process_may_lift(fix_policy("kernel program=redis-*\nlift\n"), &proc));
	cr_assert(policy_process_may_lift(fix_policy("kernel program=redis-* bpf=x\n"), &proc));
}

/* Whatever the connection is, the answer for the process may not be stricter than that for the connection. */
Test(policy_match, policy_process_may_lift__agrees_with_policy_match)
{
	const char *const rules[] = { "kernel user=110\n",
				      "kernel port=6379\n",
				      "lift user=1\n",
				      "kernel\n",
				      "lift program=redis-* role=connect\n",
				      "count cgroup=/system.slice\n",
				      "" };
	struct policy_conn c = conn();
	const size_t n = sizeof(rules) / sizeof(rules[0]);
	char text[256];

	for (size_t i = 0; i < n * n * n; i++) {
		const struct policy *p;

		snprintf(text, sizeof(text), "%s%s%s", rules[i % n], rules[i / n % n],
			 rules[i / n / n]);
		p = fix_finished(text);
		for (c.role = POLICY_ROLE_LISTEN; c.role <= POLICY_ROLE_CONNECT; c.role++)
			if (fix_match(p, &c).verdict != POLICY_KERNEL)
				cr_assert(policy_process_may_lift(p, &proc), "%s", text);
	}
}
