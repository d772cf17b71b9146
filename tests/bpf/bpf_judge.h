/* bpf_judge.h - judge made-up connections in the kernel by a loaded selector's maps (judge.bpf.c) */
#ifndef TESTS_BPF_JUDGE_H
#define TESTS_BPF_JUDGE_H

#include "daemon/policy/policy.h"
#include "tests/bpf/judge.h"

/** bpf_judge_begin() - load it onto the maps of lib.sel. */
void bpf_judge_begin(void);

/** bpf_judge_end() - let go. */
void bpf_judge_end(void);

/** bpf_judge_kind() - make a kind of process known, as if it had been met. @number: its name as the kernel has it. */
struct sel_proc bpf_judge_kind(unsigned number, const struct policy_proc *proc);

/**
 * bpf_judge_run() - the kernel's verdict
 * @proc:   from bpf_judge_kind()
 * @c:      connection; its process is not looked at
 * @p:      policy in force, whose bpf= matches @c answers; NULL: it has none
 * @repeat: runs
 * @ns:     set to the time of one run; may be NULL
 */
struct sel_verdict bpf_judge_run(const struct sel_proc *proc, const struct policy_conn *c,
				 const struct policy *p, unsigned repeat, unsigned *ns);

#endif
