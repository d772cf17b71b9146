/* judge.bpf.c - the selector's judgement as a program that BPF_PROG_TEST_RUN can run
 *
 * The hooks of the product cannot be test-run; so their common function is wrapped here. The packet's bytes are
 * the question and, afterwards, the answer. Its maps are those of a loaded selector (bpf_three.c, bpf_cost.c).
 */
#include "daemon/bpf/selector_judge.bpf.h"
#include "tests/bpf/judge.h"

char _license[] SEC("license") = "GPL";

SEC("tc")
int ztcp_judge(struct __sk_buff *skb)
{
	struct judge_packet *p = (void *)(long)skb->data;
	struct sel_verdict v;
	struct policy_query q;
	struct sel_proc proc;

	if ((void *)(p + 1) > (void *)(long)skb->data_end)
		return 0;
	proc = p->proc;
	q = p->query;
	/* a policy with bpf= matches, whose answers came with the question */
	if (judge(&proc, &q, &v)) {
		q.asked = v.generation;
		judge(&proc, &q, &v);
	}
	p->verdict = v;
	return 1;
}
