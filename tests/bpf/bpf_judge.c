/* bpf_judge.c - judge made-up connections in the kernel */
#include "tests/bpf/bpf_judge.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bpf/selector_int.h"
#include "judge.skel.h"
#include "tests/bpf/bpf_lib.h"

static struct judge_bpf *skel;

void bpf_judge_begin(void)
{
	static const struct {
		const char *name;
		enum sel_map map;
	} maps[] = { { "forms", SEL_MAP_FORMS },     { "slots", SEL_MAP_SLOTS },
		     { "procs", SEL_MAP_PROCS },     { "events", SEL_MAP_EVENTS },
		     { "matches", SEL_MAP_MATCHES }, { "seen", SEL_MAP_SEEN } };

	skel = judge_bpf__open();
	CHECK(skel);
	for (unsigned i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
		CHECK(!bpf_map__reuse_fd(bpf_object__find_map_by_name(skel->obj, maps[i].name),
					 lib.sel->map[maps[i].map]));
	CHECK(!judge_bpf__load(skel));
}

void bpf_judge_end(void)
{
	judge_bpf__destroy(skel);
}

struct sel_proc bpf_judge_kind(unsigned number, const struct policy_proc *proc)
{
	struct sel_proc key = { .netns = 1000 + number,
				.exe_ino = number,
				.cgroup = number,
				.netns_ino = (uint32_t)proc->netns_ino,
				.uid = proc->uid,
				.gid = proc->gid };
	struct sel_kind *k;

	lib.sel->kind = realloc(lib.sel->kind, (lib.sel->kinds + 1) * sizeof(*k));
	k = &lib.sel->kind[lib.sel->kinds++];
	*k = (struct sel_kind){ key, strdup(proc->program), strdup(proc->cgroup) };
	CHECK(!selector_netns_name(lib.sel, key.netns, proc->netns_ino, proc->netns));
	return key;
}

static struct policy_eval_end_packet end_packet(const struct policy_addr *a)
{
	struct policy_eval_end_packet e = { .port = a->port, .family = a->family };

	for (unsigned i = 0; i < (a->family == 6 ? 16u : 4u); i++) {
		if (a->family == 6 && i < 8)
			e.hi = e.hi << 8 | a->ip[i];
		else
			e.lo = e.lo << 8 | a->ip[i];
	}
	return e;
}

struct sel_verdict bpf_judge_run(const struct sel_proc *proc, const struct policy_conn *c,
				 const struct policy *p, unsigned repeat, unsigned *ns)
{
	struct judge_packet in = { .proc = *proc }, out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = &in, .data_size_in = sizeof(in),
		    .data_out = &out, .data_size_out = sizeof(out), .repeat = (int)repeat);

	in.query.local = end_packet(&c->local);
	in.query.remote = end_packet(&c->remote);
	in.query.role = c->role == POLICY_ROLE_CONNECT;
	for (unsigned i = 0; p && i < policy_bpf_count(p); i++)
		in.query.bpf |= (uint32_t)c->bpf(c->bpf_arg, policy_bpf_name(p, i)) << i;
	CHECK(!bpf_prog_test_run_opts(bpf_program__fd(skel->progs.ztcp_judge), &opts));
	CHECK(opts.retval == 1);
	if (ns)
		*ns = opts.duration;
	return out.verdict;
}
