/* bpf_cost.c - what a judgement costs in eBPF and in the library, with policies of different shapes
 *
 * Prints shape, rules, nanoseconds of one judgement in eBPF and in C, and memory of the compiled form; then what a process
 * pays for its verdict: the getsockopt() that has it judged anew, and the same call where the kernel itself answers. Run by bench/micro.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/policy/policy_load.h"
#include "tests/bpf/bpf_judge.h"
#include "tests/bpf/bpf_lib.h"
#include "tests/lib/policy_gen.h"

enum { REPEAT = 2000, CONNS = 200 };

static struct policy_gen gen = { .seed = 7, .process = true };

static size_t prefix_rule(char *s, unsigned i)
{
	return (size_t)sprintf(s, "lift remote=10.%u.%u.%u/32 port=%u\n", i >> 16 & 255,
			       i >> 8 & 255, i & 255, 1 + i % 65535);
}

static size_t port_rule(char *s, unsigned i)
{
	return (size_t)sprintf(s, "kernel local-port=%u-%u remote-port=%u user=%u\n", i, i + 50,
			       (i * 7) % 65536, i % 100);
}

static size_t any_rule(char *s, unsigned i)
{
	(void)i;
	return policy_gen_text(&gen, 1, s, 512);
}

/* Rules come in pairs of which each half shuts out the other: every chunk must be looked at. */
static size_t contrary_rule(char *s, unsigned i)
{
	return (size_t)sprintf(s, i % 2 ? "kernel port=7 remote=11.0.0.0/8\n"
					: "kernel port=8 remote=10.0.0.0/8\n");
}

static const struct {
	const char *name;
	size_t (*rule)(char *s, unsigned i);
} shape[] = { { "prefix and port", prefix_rule },
	      { "port ranges", port_rule },
	      { "of every kind", any_rule },
	      { "contrary", contrary_rule } };

static struct policy_conn connection(const struct policy_proc *proc)
{
	unsigned family = policy_gen_next(&gen) % 4 ? 4 : 6;
	struct policy_conn c = {
		.proc = proc,
		.role = policy_gen_next(&gen) % 2 ? POLICY_ROLE_LISTEN : POLICY_ROLE_CONNECT,
		.local = policy_gen_addr(&gen, family),
		.remote = policy_gen_addr(&gen, family),
	};

	if (family == 4 && policy_gen_next(&gen) % 2) {
		c.remote = (struct policy_addr){ .family = 4, .port = 7, .ip = { 10, 0, 3, 4 } };
		c.role = POLICY_ROLE_CONNECT;
	}
	return c;
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double in_c(const struct policy *p, const struct policy_class *cls,
		   const struct policy_conn *c)
{
	double begun = now_ns();
	unsigned sum = 0;

	for (unsigned i = 0; i < REPEAT; i++)
		sum += (unsigned)policy_match(p, cls, c).rule;
	__asm__ volatile("" : : "r"(sum));
	return (now_ns() - begun) / REPEAT;
}

/* One call, in the best of some turns: the worse ones were interrupted. */
static double asking(int fd, int level, int name)
{
	double best = 1e18;

	for (unsigned turn = 0; turn < 20; turn++) {
		double begun = now_ns();

		for (unsigned i = 0; i < REPEAT; i++) {
			struct verdict_answer a;
			socklen_t len = level == SOL_SOCKET ? sizeof(int) : sizeof(a);

			CHECK(!getsockopt(fd, level, name, &a, &len));
		}
		begun = (now_ns() - begun) / REPEAT;
		best = begun < best ? begun : best;
	}
	return best;
}

static void verdict_cost(const char *what, const char *policy)
{
	int fd[2];

	CHECK(!bpf_lib_policy(0, policy));
	bpf_lib_pair("127.0.0.1", fd);
	CHECK(bpf_lib_answer(fd[0]).version == VERDICT_VERSION);
	printf("getsockopt() %-18s verdict %4.0f ns  SO_TYPE %4.0f ns\n", what,
	       asking(fd[0], VERDICT_LEVEL, VERDICT_ANSWER), asking(fd[0], SOL_SOCKET, SO_TYPE));
	close(fd[0]);
	close(fd[1]);
}

static void measure(const char *name, const struct policy *p, const struct sel_proc *kind,
		    const struct policy_proc *proc)
{
	static struct policy_class cls;
	double bpf = 0, most = 0, c_sum = 0;

	policy_class_read(p, proc, &cls);
	for (unsigned i = 0; i < CONNS; i++) {
		struct policy_conn c = connection(proc);
		unsigned ns;

		bpf_judge_run(kind, &c, NULL, REPEAT, &ns);
		bpf += ns;
		most = ns > most ? ns : most;
		c_sum += in_c(p, &cls, &c);
	}
	printf("%-18s %6u rules  eBPF %5.0f ns (worst connection %5.0f)  C %5.0f ns  %7.2f MiB\n",
	       name, policy_rules(p), bpf / CONNS, most, c_sum / CONNS,
	       (double)policy_bytes(p) / (1 << 20));
}

int main(int argc, char **argv)
{
	unsigned rules = argc > 1 ? (unsigned)atoi(argv[1]) : 10000;
	const struct policy_proc proc = {
		"/usr/bin/redis-server", "/a/b", "blue", 4026531840, 0, 1
	};
	char *text = malloc((size_t)rules * 512 + 512);
	struct sel_proc kind;

	bpf_lib_begin("cost");
	bpf_judge_begin();
	kind = bpf_judge_kind(0, &proc);
	for (unsigned s = 0; s < sizeof(shape) / sizeof(shape[0]); s++) {
		struct policy *p;
		size_t n = 0;

		for (unsigned i = 0; i < rules; i++)
			n += shape[s].rule(text + n, i);
		p = bpf_lib_policy_load(text);
		CHECK(!selector_policy_set(lib.sel, 0, p));
		measure(shape[s].name, p, &kind, &proc);
		policy_unload(p);
	}
	free(text);
	if (bpf_lib_pids_seen()) {
		verdict_cost("without a rule", "");
		verdict_cost("by one rule", "lift path=shm port=1-65535\n");
		verdict_cost("by program and user", "lift path=shm program=bpf_* user=0\nkernel\n");
	}
	bpf_judge_end();
	bpf_lib_end();
	return 0;
}
