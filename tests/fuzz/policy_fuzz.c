/* policy_fuzz.c - any bytes as a policy
 *
 * What must hold: an error names a place inside the text; a policy that was taken can be read back whole;
 * the compiled copy answers as the rules do, looked at one after the other; the shortcut for a process is never stricter than the rules. Included
 * names are answered by the text itself, so that depth and fullness are reached too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/policy/policy.h"

#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static uint64_t mem[1 << 14];
static const char *whole;
static size_t whole_len;

static int name_id(void *arg, const char *name, uint32_t *id)
{
	(void)arg;
	*id = (uint32_t)strlen(name);
	return name[0] == 'x' ? -ENOENT : 0;
}

static int include(void *arg, struct policy *p, const char *from, const char *pattern,
		   unsigned depth, struct policy_error *err)
{
	const struct policy_env env = { arg, include, name_id, name_id };

	MUST(depth < POLICY_DEPTH_MAX && *from && *pattern);
	if (pattern[0] == 'n')
		return -ENOENT;
	return policy_parse(p, &env, pattern, whole, whole_len, depth, err);
}

static bool bpf(void *arg, const char *name)
{
	(void)arg;
	return strlen(name) % 2;
}

/* Every value of every rule lies inside the policy. */
static void rules_check(const struct policy *p)
{
	for (unsigned i = 0; i < policy_rules(p); i++) {
		const struct policy_rule *r = policy_rule_get(p, i);

		MUST(r->verdict < POLICY_VERDICTS && r->role && r->line);
		MUST(!!r->paths == (r->verdict == POLICY_LIFT || r->verdict == POLICY_DIRECT));
		MUST(*policy_file_name(p, r->file));
		for (unsigned k = 0; k < r->val_count; k++) {
			const struct policy_val *v = policy_val_get(p, r->val_first + k);

			MUST(v->kind < POLICY_M_KINDS &&
			     (r->kinds & policy_needs(p) & 1u << v->kind));
			MUST(!k || v[-1].kind <= v->kind);
			if (v->kind == POLICY_M_PROGRAM || v->kind == POLICY_M_CGROUP ||
			    v->kind == POLICY_M_BPF)
				MUST(strlen(policy_text(p, v->text)) <= POLICY_TEXT_MAX);
			if (v->kind == POLICY_M_LOCAL || v->kind == POLICY_M_REMOTE)
				MUST(v->bits <= (v->family == 4 ? 32 : 128));
		}
	}
}

/* What the rules say, one after the other: -1 or the first that matches. */
static int first_rule(const struct policy *p, const struct policy_conn *c)
{
	for (unsigned i = 0; i < policy_rules(p); i++)
		if (policy_rule_match(p, i, c) > POLICY_M_KINDS)
			return (int)i;
	return -1;
}

static void match_check(const struct policy *p, const struct policy *q)
{
	static struct policy_class cls;
	static const char *const addrs[] = { "127.0.0.1:80", "10.1.2.3:65535", "[::1]:0",
					     "[2001:db8::1]:6379" };
	struct policy_proc proc = { "/usr/bin/redis-server", "/a/b", "blue", 4026531840, 0, 3 };
	struct policy_conn c = { .proc = &proc, .bpf = bpf };

	policy_class_read(q, &proc, &cls);
	for (unsigned i = 0; i < 32; i++) {
		struct policy_answer a;

		c.role = i & 1 ? POLICY_ROLE_LISTEN : POLICY_ROLE_CONNECT;
		policy_addr_parse(&c.local, addrs[i >> 1 & 3], strlen(addrs[i >> 1 & 3]));
		policy_addr_parse(&c.remote, addrs[i >> 3 & 3], strlen(addrs[i >> 3 & 3]));
		a = policy_match(q, &cls, &c);
		MUST(a.rule == first_rule(p, &c));
		MUST(a.rule < 0 || a.verdict == policy_rule_get(p, (unsigned)a.rule)->verdict);
		MUST(a.verdict == POLICY_KERNEL || policy_process_may_lift(p, &proc));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct policy_env env = { NULL, include, name_id, name_id };
	struct policy *p = policy_init(mem, policy_size(256));
	struct policy_error err;
	struct policy *q;
	void *scratch;
	size_t need;
	char line[32];
	int rc;

	whole = (const char *)data;
	whole_len = size;
	rc = policy_parse(p, &env, "top", whole, whole_len, 0, &err);
	if (rc) {
		MUST(err.errnum == rc && err.line <= size + 1 && err.col <= size + 1);
		MUST(err.file[0]);
		MUST(strlen(policy_error_format(&err, line, sizeof(line))) < sizeof(line));
		return 0;
	}
	rules_check(p);
	scratch = malloc(policy_finish_scratch(p));
	need = policy_finish(NULL, 0, p, scratch);
	MUST(need);
	q = malloc(need);
	MUST(policy_finish(q, need, p, scratch) == need);
	free(scratch);
	rules_check(q);
	match_check(p, q);
	free(q);
	return 0;
}
