/* policy_form.h - the compiled form of a policy, the same for C and eBPF
 *
 * Theory of operation: a policy of ten thousand rules must be judged in a microsecond, by the library and by
 * eBPF alike, with the same verdict. So both run policy_eval.bpf.h over the same bytes: an array of lines of
 * 64 bytes, which is memory here and an array map there.
 *
 * Each thing that a rule matches on is a dimension. For a dimension the numbers a connection can have there (a
 * port, an address, the answers of eBPF matches) are cut into ranges inside which the same rules match: the edges,
 * sorted, found by binary search. An edge refers to a set of rules, a bit for each. A connection's sets, one per
 * dimension, are intersected; the lowest bit that is left is the first rule that matches.
 *
 * Sets are cut into chunks of 512 rules, a line each. A reference has a summary, one bit for each chunk that is not
 * empty, and only those are stored: where the summaries have no chunk in common nothing is read.
 *
 * What rules ask of the process (program, user, group, cgroup, namespace) does not change from one connection to
 * the next: it is matched once per process, in user space, into a set of its own (struct policy_class).
 *
 *   line 0      struct policy_form_head
 *   lines 1-2   struct policy_dim_at, one a dimension
 *   then        rules (4 a line), edges (2 a line), sets
 *
 * Made by policy_form.c, read by anyone; nothing is written afterwards but the counters, by eBPF.
 */
#ifndef ZTCP_POLICY_FORM_H
#define ZTCP_POLICY_FORM_H

#include <stddef.h>
#include <stdint.h>

#define POLICY_FORM_MAGIC     0x7a706f31u
#define POLICY_FORM_LINES_MAX (1u << 20) /* 64 MiB */
#define POLICY_CHUNK          512u       /* rules in one line of a set */
#define POLICY_CHUNKS_MAX     32u
#define POLICY_BPF_MAX        8u /* different names of eBPF matches in a policy */

/** enum policy_dim - dimensions with a table of edges */
enum policy_dim {
	POLICY_DIM_PORT,
	POLICY_DIM_LOCAL_PORT,
	POLICY_DIM_REMOTE_PORT,
	POLICY_DIM_LOCAL4,
	POLICY_DIM_LOCAL6,
	POLICY_DIM_REMOTE4,
	POLICY_DIM_REMOTE6,
	POLICY_DIM_BPF, /* keys are masks: bit i is the answer of the policy's i-th name */
	POLICY_DIMS
};

struct policy_line {
	uint64_t w[8];
};

/** struct policy_ref - a set of rules
 * @first:   its first line, behind policy_form_head.sets
 * @summary: bit c: chunk c is not empty, and has a line
 */
struct policy_ref {
	uint32_t first;
	uint32_t summary;
};

/** struct policy_form_head - line 0
 * @lines:      all of them
 * @rules:      number of rules
 * @needs:      bits (1u << enum policy_match_kind) in use
 * @rule_line:  first line of rules
 * @sets:       first line of sets
 * @bpf_slot:   for eBPF: where the answer of name i is found; 0xff: not loaded
 * @bpf_count:  names in use
 * @role:       rules for accepted connections, and for those made from here. A first of UINT32_MAX: all of them
 * @generation: for eBPF: which policy this is
 */
struct policy_form_head {
	uint32_t magic;
	uint32_t lines;
	uint32_t rules;
	uint32_t needs;
	uint32_t rule_line;
	uint32_t sets;
	uint8_t bpf_slot[POLICY_BPF_MAX];
	struct policy_ref role[2];
	uint32_t bpf_count;
	uint32_t generation;
	uint64_t default_hits;
};

/** struct policy_dim_at - a dimension's table
 * @line:  first line of edges
 * @count: edges; 0: no rule asks
 * @base:  rules that do not ask, for a connection of which it is not known
 */
struct policy_dim_at {
	uint32_t line;
	uint32_t count;
	struct policy_ref base;
};

/** struct policy_edge - from this key up to the next one the set is @ref */
struct policy_edge {
	uint64_t hi;
	uint64_t lo;
	struct policy_ref ref;
	uint64_t spare;
};

/** struct policy_form_rule - what a rule says; @hits is counted by eBPF */
struct policy_form_rule {
	uint64_t hits;
	int32_t threshold;
	uint8_t verdict;
	uint8_t paths;
	uint16_t spare;
};

_Static_assert(sizeof(struct policy_form_head) == 64, "the head is one line");
_Static_assert(sizeof(struct policy_dim_at) * POLICY_DIMS == 128, "the dimensions are two lines");
_Static_assert(sizeof(struct policy_edge) == 32, "two edges a line");
_Static_assert(sizeof(struct policy_form_rule) == 16, "four rules a line");

#endif
