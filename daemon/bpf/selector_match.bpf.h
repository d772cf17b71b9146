/* selector_match.bpf.h - asking a user's own matches; for selector.bpf.c
 *
 * Theory of operation: each match is a program of its own (ztcp_match.h), once for either hook that judges, in an array
 * of programs. The connection is written into storage of the socket; a function calls the program at the match's number
 * in its own place (a tail call: it comes back to that function's caller); the answer is read from the storage.
 * A number without a program is a call that does not happen: the answer stays "no". Two tasks that ask about one
 * socket at once may see each other's process there, as the socket's verdict is whoever asked last, too.
 */
#ifndef ZTCP_SELECTOR_MATCH_BPF_H
#define ZTCP_SELECTOR_MATCH_BPF_H

#include "daemon/bpf/selector_judge.bpf.h"
#include "daemon/bpf/ztcp_match.h"

struct programs {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, POLICY_BPF_MAX);
	__type(key, uint32_t);
	__type(value, uint32_t);
};

struct programs answers SEC(".maps"), attests SEC(".maps");

/* What these two return is nobody's answer: the verifier wants an int of functions that a program is called in place of. */
static NOINLINE int match_answer(struct bpf_sockopt *ctx, uint32_t number)
{
	bpf_tail_call(ctx, &answers, number);
	return 0;
}

static NOINLINE int match_attest(struct bpf_sock_ops *ctx, uint32_t number)
{
	bpf_tail_call(ctx, &attests, number);
	return 0;
}

static void conn_end(__u32 ip[4], const struct policy_eval_end *end)
{
	if (end->family == 4) {
		ip[0] = bpf_htonl((uint32_t)end->lo);
		ip[1] = ip[2] = ip[3] = 0;
		return;
	}
	*(uint64_t *)&ip[0] = bpf_cpu_to_be64(end->hi);
	*(uint64_t *)&ip[2] = bpf_cpu_to_be64(end->lo);
}

static void conn_write(struct ztcp_conn *conn, const struct sel_proc *p,
		       const struct policy_query *q)
{
	conn->role = q->role;
	conn->family = q->local.family ? q->local.family : q->remote.family;
	conn->local_port = q->local.port;
	conn->remote_port = q->remote.port;
	conn_end(conn->local, &q->local);
	conn_end(conn->remote, &q->remote);
	conn->uid = p->uid;
	conn->gid = p->gid;
	conn->netns = p->netns;
	conn->cgroup = p->cgroup;
	conn->exe_ino = p->exe_ino;
}

/* Ask the matches of the policy that @v names. @answer: which hook this is. */
static inline __attribute__((always_inline)) void matches_ask(void *ctx, struct bpf_sock *sk,
							      bool answer, const struct sel_proc *p,
							      struct policy_query *q,
							      const struct sel_verdict *v)
{
	struct ztcp_asked *asked = bpf_sk_storage_get(&ztcp_asked, sk, NULL,
						      BPF_SK_STORAGE_GET_F_CREATE);
	uint32_t slot = v->slot;
	const struct policy_form_head *head;
	void *form = bpf_map_lookup_elem(&forms, &slot);

	head = form ? (const void *)policy_eval_line(form, 0) : NULL;
	if (!asked || !head || head->generation != v->generation)
		return;
	q->bpf = 0;
	q->asked = v->generation;
	conn_write(&asked->conn, p, q);
	for (uint32_t i = 0; i < POLICY_BPF_MAX && i < head->bpf_count; i++) {
		asked->holds = 0;
		if (answer)
			match_answer(ctx, head->bpf_slot[i]);
		else
			match_attest(ctx, head->bpf_slot[i]);
		q->bpf |= (asked->holds & 1) << i;
	}
}

static NOINLINE void judge_answer(struct bpf_sockopt *ctx, struct bpf_sock *sk, struct sel_sock *s,
				  struct policy_query *q)
{
	if (judge(&s->proc, q, &s->verdict)) {
		matches_ask(ctx, sk, true, &s->proc, q, &s->verdict);
		judge(&s->proc, q, &s->verdict);
	}
}

static NOINLINE void judge_attest(struct bpf_sock_ops *ctx, struct sel_sock *s,
				  struct policy_query *q)
{
	struct bpf_sock *sk = ctx->sk;

	if (judge(&s->proc, q, &s->verdict) && sk) {
		matches_ask(ctx, sk, false, &s->proc, q, &s->verdict);
		judge(&s->proc, q, &s->verdict);
	}
}

#endif
