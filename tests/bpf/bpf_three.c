/* bpf_three.c - random policies: the same verdict from the rules, from the library's matcher, and from eBPF
 *
 * All kinds of matches, those of the user's own eBPF among them. Each policy is written to a file and read by the
 * library's loader, judged rule after rule (the grammar's own meaning), by the compiled form, and by eBPF in the
 * kernel with the same form.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/policy/policy_load.h"
#include "tests/bpf/bpf_judge.h"
#include "tests/bpf/bpf_lib.h"
#include "tests/lib/policy_gen.h"

enum { KINDS = 4, CONNS = 8, RULES = 24 };

static const struct policy_proc procs[KINDS] = {
	{ "/usr/bin/redis-server", "/a/b", "blue", 4026531840, 0, 1 },
	{ "/usr/bin/nginx", "/system.slice/x.service", "red", 4026531840, 2, 2 },
	{ "/opt/app", "/", "", 7, 3, 3 },
	{ "/bin/a/b", "/a/b/c/d", "green", 8, 1, 0 },
};
static struct sel_proc kind[KINDS];

/* What the user's matches a, b, c say of this connection: a bit each. */
static bool match_says(void *arg, const char *name)
{
	return *(unsigned *)arg >> (name[0] - 'a') & 1;
}

static void compare(const struct policy *p, struct policy_gen *g, const char *text)
{
	static struct policy_class cls;
	unsigned k = policy_gen_next(g) % KINDS, family = policy_gen_next(g) % 2 ? 4 : 6;
	unsigned says = policy_gen_next(g);
	struct policy_conn c = {
		.proc = &procs[k],
		.role = policy_gen_next(g) % 2 ? POLICY_ROLE_LISTEN : POLICY_ROLE_CONNECT,
		.local = policy_gen_addr(g, policy_gen_next(g) % 8 ? family : 0),
		.remote = policy_gen_addr(g, policy_gen_next(g) % 8 ? family : 0),
		.bpf = match_says,
		.bpf_arg = &says,
	};
	struct policy_answer lib_says;
	struct sel_verdict bpf_says;
	int rules_say = policy_gen_first(p, &c);

	policy_class_read(p, &procs[k], &cls);
	lib_says = policy_match(p, &cls, &c);
	bpf_says = bpf_judge_run(&kind[k], &c, p, 1, NULL);
	CHECK(lib_says.rule == rules_say && (int)bpf_says.rule - 1 == rules_say,
	      "rules %d, library %d, eBPF %d%s, process %u, policy:\n%s", rules_say, lib_says.rule,
	      (int)bpf_says.rule - 1, bpf_says.pending ? " pending" : "", k, text);
	CHECK(bpf_says.verdict == lib_says.verdict && bpf_says.paths == lib_says.paths &&
	      bpf_says.threshold == lib_says.threshold);
}

/* Seeds @first, @first + @step and so on up to @last. */
static void seeds(unsigned first, unsigned step, unsigned last)
{
	static char text[RULES * 512];

	bpf_lib_begin("three");
	bpf_judge_begin();
	for (unsigned i = 0; i < KINDS; i++)
		kind[i] = bpf_judge_kind(i, &procs[i]);
	for (unsigned seed = first; seed <= last; seed += step) {
		struct policy_gen g = { .seed = seed, .process = true, .bpf = seed % 2 };
		struct policy *p;
		int rc;

		policy_gen_text(&g, 1 + seed % RULES, text, sizeof(text));
		p = bpf_lib_policy_load(text);
		rc = selector_policy_set(lib.sel, 0, p); /* the matches themselves are not loaded */
		CHECK(!rc || (rc == -ENOENT && policy_bpf_count(p)));
		for (unsigned i = 0; i < CONNS; i++)
			compare(p, &g, text);
		policy_unload(p);
	}
	bpf_judge_end();
	bpf_lib_end();
}

/* bpf_three [POLICIES [PROCESSES]]: a policy costs little but a wait for the kernel, which lets go of the one before after all
 * programs that may still read it; several processes wait at the same time.
 */
int main(int argc, char **argv)
{
	unsigned policies = argc > 1 ? (unsigned)atoi(argv[1]) : 10000;
	unsigned processes = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
	int status, result = 0;

	for (unsigned i = 1; i <= processes; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			seeds(i, processes, policies);
			exit(0);
		}
	}
	while (wait(&status) > 0) {
		if (!WIFEXITED(status) || (WEXITSTATUS(status) && WEXITSTATUS(status) != 77))
			result = 1;
		else if (WEXITSTATUS(status) && !result)
			result = 77;
	}
	if (!result)
		printf("%u policies, %u connections\n", policies, policies * CONNS);
	return result;
}
