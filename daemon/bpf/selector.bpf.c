/* selector.bpf.c - the selector: judge, answer, attest
 *
 * Theory of operation
 *
 * Judge. A connection is judged by the policy of its process's network namespace (map slots, else slot 0): a compiled
 * form (policy_form.h) that policy_eval.bpf.h walks, as it does in user space. What rules ask of the process was
 * matched in user space for its kind and lies in map procs; a kind that is not there is told to user space, and the
 * verdict is "kernel, pending". Connecting sockets are judged when they connect, accepted ones when they
 * are established, by what the listener was; and again whenever their process asks, by what it is now.
 *
 * Answer. getsockopt(VERDICT_LEVEL, VERDICT_ANSWER) on a socket gives shm/verdict.h's struct; setsockopt(VERDICT_CLAIM)
 * enters a secret and the caller. Both take an array lookup and a walk, no privilege, and only who holds the socket
 * can call them.
 *
 * Attest. Where a rule (not the default) allows a lift to shm, the SYN carries a token in an experimental option. A
 * listener's side that finds the token in its map of living SYNs - so it was sent on this host - and with
 * the same sequence number - so nobody in between ends TCP - answers with a token of its own in the SYN-ACK. The
 * connecting side confirms when that answer comes, with its sequence number. Then both cookies are known, and the
 * two become ends (map ends). A token serves once. One that is echoed is of the wrong type; one that is stripped,
 * made up or replayed is not found, or is found used: no attestation, nothing else. A SYN that is sent again goes without,
 * for boxes that drop what they do not know. Tokens are SipHash of a counter under a key that never leaves the map.
 */
#include "daemon/bpf/selector_attest.bpf.h"

char _license[] SEC("license") = "GPL";

SEC("sockops")
int ztcp_attest(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB: connecting(ctx); break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB: listening(ctx); break;
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB: option_length(ctx); break;
	case BPF_SOCK_OPS_WRITE_HDR_OPT_CB: option_write(ctx); break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB: connected(ctx); break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB: accepted(ctx); break;
	case BPF_SOCK_OPS_STATE_CB:
		/* half closed is closed: an orphan may stay in FIN_WAIT2 for a minute */
		if (ctx->args[1] != TCP_STATE_ESTABLISHED)
			closed(ctx);
		break;
	default: break;
	}
	return 1;
}

/* ---- answering ---- */

static void query_sk(const struct bpf_sock *sk, uint32_t role, struct policy_query *q)
{
	uint32_t local[4] = { sk->src_ip6[0], sk->src_ip6[1], sk->src_ip6[2], sk->src_ip6[3] };
	uint32_t remote[4] = { sk->dst_ip6[0], sk->dst_ip6[1], sk->dst_ip6[2], sk->dst_ip6[3] };

	end_key(&q->local, sk->family, sk->src_ip4, local, sk->src_port);
	end_key(&q->remote, sk->family, sk->dst_ip4, remote, bpf_ntohs(sk->dst_port));
	if (!q->remote.port && !q->remote.hi && !q->remote.lo)
		q->remote.family = 0;
	q->role = role;
	q->bpf = 0;
	q->asked = 0;
	q->spare = 0;
}

/* Whether both ends live and rules allow shm at both; enters this end's state by the way. */
static bool attested(const struct sel_sock *s, struct verdict_answer *a)
{
	uint64_t cookie = s->cookie;
	struct sel_end *end = bpf_map_lookup_elem(&ends, &cookie);
	uint64_t other, *chan = bpf_map_lookup_elem(&chans, &cookie);
	struct sel_end *peer;

	if (!end)
		return false;
	end->verdict = s->verdict;
	end->netns = s->proc.netns;
	if (!end->tgid)
		end->uid = s->proc.uid;
	a->chan = chan ? *chan : 0;
	other = end->peer;
	peer = bpf_map_lookup_elem(&ends, &other);
	if (!peer || !allows(&s->verdict) || !allows(&peer->verdict))
		return false;
	a->peer = other;
	a->peer_uid = peer->uid;
	return true;
}

/* The role of a socket. One that is met here first, and is no longer new, is older than the selector. */
static uint32_t role_of(const struct bpf_sockopt *ctx, struct bpf_sock *sk, struct sel_sock *s)
{
	if (s->role)
		return s->role;
	s->role = sk->state == TCP_STATE_LISTEN || ctx->optname & VERDICT_ACCEPTED ? 1 : 2;
	s->older = sk->state != TCP_STATE_LISTEN && sk->state != TCP_STATE_CLOSE;
	return s->role;
}

/* Judge the socket by what its process is now. Frames are kept short: a user's match needs the rest of the stack. */
static NOINLINE struct sel_sock *sock_judge(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	struct sel_sock *s = bpf_sk_storage_get(&socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	struct sel_verdict old;
	struct policy_query q;

	if (!s)
		return NULL;
	old = s->verdict;
	current_read(&s->proc);
	query_sk(sk, role_of(ctx, sk, s) == 2, &q);
	judge_answer(ctx, sk, s, &q);
	if (sk->state != TCP_STATE_LISTEN && q.remote.family) {
		count(&old, s->judged, &s->verdict);
		s->judged = 1;
	}
	return s;
}

static NOINLINE void answer(const struct sel_sock *s, struct verdict_answer *a)
{
	const struct sel_agent *c = agent_get();

	*a = (struct verdict_answer){ .version = VERDICT_VERSION };
	if (!s || !c)
		return;
	a->verdict = s->verdict.verdict;
	a->paths = s->verdict.paths;
	a->threshold = s->verdict.threshold;
	a->rule = s->verdict.rule;
	a->cookie = s->cookie;
	a->agent = c->agent;
	if (s->verdict.rule)
		a->flags |= VERDICT_BY_RULE;
	if (s->verdict.pending)
		a->flags |= VERDICT_PENDING;
	if (s->older && c->attests)
		a->flags |= VERDICT_OLDER;
	if (attested(s, a))
		a->flags |= VERDICT_ATTESTED;
}

SEC("cgroup/getsockopt")
int ztcp_answer(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct verdict_answer *a;
	struct sel_sock *s;

	if (ctx->level != VERDICT_LEVEL) {
		if (ctx->optlen > 4096)
			ctx->optlen =
				0; /* longer than what we are given: the kernel's own answer stands */
		return 1;
	}
	if ((ctx->optname & ~VERDICT_ACCEPTED) != VERDICT_ANSWER || !sk ||
	    sk->protocol != TCP_PROTO || ctx->optlen < (int)sizeof(*a))
		return 1;
	s = sock_judge(ctx, sk);
	a = ctx->optval; /* read now: the verifier forgets it where a user's match is called */
	if ((void *)(a + 1) > ctx->optval_end)
		return 1;
	answer(s, a);
	ctx->optlen = sizeof(*a);
	__asm__ volatile("" ::: "memory"); /* the verifier wants two stores */
	ctx->retval = 0;
	return 1;
}

/* It was listening before our time: from now on its SYNs are seen. Kernels before 6.12 refuse. */
static NOINLINE int listener_see(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct sel_sock *s;
	int flags = 0;

	if (!sk || sk->state != TCP_STATE_LISTEN)
		return -EINVAL_;
	s = bpf_sk_storage_get(&socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s || bpf_getsockopt(sk, SOL_TCP_, TCP_BPF_SOCK_OPS_CB_FLAGS_, &flags, sizeof(flags)))
		return -EINVAL_;
	s->role = 1;
	current_read(&s->proc);
	flags |= BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;
	return bpf_setsockopt(sk, SOL_TCP_, TCP_BPF_SOCK_OPS_CB_FLAGS_, &flags, sizeof(flags));
}

SEC("cgroup/setsockopt")
int ztcp_claim(struct bpf_sockopt *ctx)
{
	uint64_t *secret = ctx->optval;
	struct bpf_sock *sk = ctx->sk;
	struct sel_end *end, *peer;
	struct sel_sock *s;
	struct sel_proc p;
	uint64_t cookie;

	if (ctx->level != VERDICT_LEVEL) {
		if (ctx->optlen > 4096)
			ctx->optlen = 0;
		return 1;
	}
	if (ctx->optname == VERDICT_LISTEN) {
		if (listener_see(ctx)) {
			bpf_set_retval(-EINVAL_);
			return 0;
		}
		ctx->optlen = -1;
		return 1;
	}
	if (ctx->optname != VERDICT_CLAIM || !sk)
		return 1;
	if (ctx->optlen < (int)sizeof(*secret) || (void *)(secret + 1) > ctx->optval_end) {
		bpf_set_retval(-EINVAL_);
		return 0;
	}
	s = bpf_sk_storage_get(&socks, sk, NULL, 0);
	cookie = s ? s->cookie : 0;
	end = bpf_map_lookup_elem(&ends, &cookie);
	peer = end ? bpf_map_lookup_elem(&ends, &end->peer) : NULL;
	if (!peer) {
		bpf_set_retval(-ENOTCONN_);
		return 0;
	}
	current_read(&p);
	end->secret = *secret;
	end->uid = p.uid;
	end->tgid = (uint32_t)(bpf_get_current_pid_tgid() >> 32);
	ctx->optlen = -1; /* answered here */
	return 1;
}

/* ---- the kind of a process that user space asks about ---- */

SEC("iter/task")
int ztcp_kind(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct sel_event e = {};

	if (!task || BPF_CORE_READ(task, group_leader) != task)
		return 0;
	task_read(task, &e.proc);
	e.tgid = (uint32_t)BPF_CORE_READ(task, tgid);
	bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
	return 0;
}
