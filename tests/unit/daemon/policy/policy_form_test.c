/* policy_form_test.c - the compiled form answers as the rules do, looked at one after the other */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "daemon/policy/policy_form.h"
#include "tests/lib/policy_gen.h"
#include "tests/unit/daemon/policy/policy_fix.h"

static bool bpf_says(void *arg, const char *name)
{
	return *(const unsigned *)arg >> (*name - 'a') & 1;
}

static struct policy *finished(const char *text)
{
	size_t bytes = policy_size(POLICY_RULES_MAX);
	struct policy *p = policy_init(malloc(bytes), bytes), *q;
	struct policy_error err;
	char line[512];
	void *scratch;
	size_t need;

	cr_assert_eq(policy_parse(p, &fix_env, "file", text, strlen(text), 0, &err), 0, "%s",
		     policy_error_format(&err, line, sizeof(line)));
	scratch = malloc(policy_finish_scratch(p));
	need = policy_finish(NULL, 0, p, scratch);
	cr_assert_gt(need, 0);
	q = malloc(need);
	cr_assert_eq(policy_finish(q, need, p, scratch), need);
	free(scratch);
	free(p);
	return q;
}

static void compare(const struct policy *p, struct policy_gen *g, unsigned conns)
{
	static struct policy_class cls;
	const struct policy_proc procs[] = {
		{ "/usr/bin/redis-server", "/a/b", "blue", 4026531840, 0, 1 },
		{ "/usr/bin/nginx", "/system.slice/x.service", "red", 4026531840, 2, 2 },
		{ "", "/", "", 7, 3, 3 },
	};

	for (unsigned i = 0; i < conns; i++) {
		unsigned mask = policy_gen_next(g), family = policy_gen_next(g) % 2 ? 4 : 6;
		struct policy_conn c = {
			.proc = &procs[policy_gen_next(g) % 3],
			.role = policy_gen_next(g) % 2 ? POLICY_ROLE_LISTEN : POLICY_ROLE_CONNECT,
			.local = policy_gen_addr(g, policy_gen_next(g) % 8 ? family : 0),
			.remote = policy_gen_addr(g, policy_gen_next(g) % 8 ? family : 0),
			.bpf = bpf_says,
			.bpf_arg = &mask,
		};

		policy_class_read(p, c.proc, &cls);
		cr_assert_eq(policy_match(p, &cls, &c).rule, policy_gen_first(p, &c));
	}
}

Test(policy_form, policy_match__random_policies_as_the_rules_say)
{
	static char text[512 * 64];

	for (unsigned seed = 1; seed <= 2000; seed++) {
		struct policy_gen g = { .seed = seed, .process = true, .bpf = true };
		struct policy *p;

		policy_gen_text(&g, 1 + seed % 40, text, sizeof(text));
		p = finished(text);
		compare(p, &g, 50);
		free(p);
	}
}

/* Many chunks, and rules of every kind in each. */
Test(policy_form, policy_match__thousands_of_rules_as_the_rules_say)
{
	const unsigned rules = 5000;
	struct policy_gen g = { .seed = 1, .process = true, .bpf = true };
	char *text = malloc(512 * rules);
	struct policy *p;

	policy_gen_text(&g, rules, text, 512 * rules);
	p = finished(text);
	compare(p, &g, 200);
	free(p);
	free(text);
}

/* One prefix and one port each: the last of ten thousand is found, and nothing is stored twice. */
Test(policy_form, policy_match__ten_thousand_prefixes)
{
	static char text[10000 * 64];
	static struct policy_class cls;
	struct policy_proc proc = { .uid = 1 };
	struct policy_conn c = { .proc = &proc, .role = POLICY_ROLE_CONNECT };
	struct policy *p;
	size_t n = 0;

	for (unsigned i = 0; i < 10000; i++)
		n += (size_t)sprintf(text + n, "kernel remote=10.%u.%u.0/24 port=%u\n", i >> 8,
				     i & 255, 1000 + i);
	p = finished(text);
	cr_assert_lt(policy_bytes(p), 8u << 20);
	policy_class_read(p, &proc, &cls);
	for (unsigned i = 0; i < 10000; i += 37) {
		c.remote = (struct policy_addr){ .family = 4,
						 .port = (uint16_t)(1000 + i),
						 .ip = { 10, (uint8_t)(i >> 8), (uint8_t)i, 9 } };
		cr_assert_eq(policy_match(p, &cls, &c).rule, (int)i);
		c.remote.port++;
		cr_assert_eq(policy_match(p, &cls, &c).rule, -1);
	}
	free(p);
}

/* The last address, the last port and the longest prefix have no key behind them. */
Test(policy_form, policy_match__ends_of_the_ranges)
{
	struct policy *p = finished("kernel remote=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\n"
				    "kernel remote=255.255.255.255\n"
				    "kernel port=65535\n"
				    "count remote=::/0\n");
	struct policy_gen g = { .seed = 3 };

	compare(p, &g, 2000);
	free(p);
}

Test(policy_form, policy_finish__refuses_what_would_be_too_large)
{
	const unsigned rules = 16000;
	char *text = malloc(512 * rules);
	size_t bytes = policy_size(POLICY_RULES_MAX), n = 0;
	struct policy *p = policy_init(malloc(bytes), bytes);
	struct policy_error err;
	void *scratch;

	for (unsigned i = 0; i < rules; i++)
		n += (size_t)sprintf(text + n,
				     "kernel local-port=%u-%u,%u-%u remote-port=%u-%u port=%u-%u\n",
				     i, i + 20000, i + 1, i + 30001, i, i + 40000, i, i + 25000);
	cr_assert_eq(policy_parse(p, &fix_env, "f", text, n, 0, &err), 0);
	scratch = malloc(policy_finish_scratch(p));
	cr_assert_eq(policy_finish(NULL, 0, p, scratch), 0);
	free(scratch);
	free(p);
	free(text);
}
