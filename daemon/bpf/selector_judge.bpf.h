/* selector_judge.bpf.h - the selector's maps, and judging a connection; for selector.bpf.c */
#ifndef ZTCP_SELECTOR_JUDGE_BPF_H
#define ZTCP_SELECTOR_JUDGE_BPF_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

#include "daemon/bpf/bpf_kernel.bpf.h"
#include "daemon/bpf/selector_maps.h"
#include "shm/verdict.h"

/* enum policy_verdict and policy_path, which this side cannot include with all of policy.h */
enum { KERNEL, LIFT, DIRECT };
enum { PATH_SHM = 1, PATH_ALL = 3 };

enum {
	AF_INET_ = 2,
	AF_INET6_ = 10,
	TCP_PROTO = 6,
	TCP_STATE_ESTABLISHED = 1,
	TCP_STATE_CLOSE = 7,
	TCP_STATE_LISTEN = 10,
	TCP_FLAG_SYN_ = 2,
	TCP_FLAG_ACK_ = 16,
	SOL_TCP_ = 6,
	TCP_BPF_SOCK_OPS_CB_FLAGS_ = 1008, /* not in Debian 12's headers */
	ENOTCONN_ = 107,
	EINVAL_ = 22,
	ENOSPC_ = 28,
};

/* A frame of its own: the stack of all frames together is 512 bytes. */
#define NOINLINE __attribute__((noinline))

struct form_template {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(key_size, sizeof(uint32_t));
	__uint(value_size, sizeof(struct policy_line));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SEL_SLOTS);
	__type(key, uint32_t);
	__array(values, struct form_template);
} forms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SEL_NAMESPACES);
	__type(key, uint64_t); /* network namespace cookie; 0: where slot 0 is closed */
	__type(value, uint32_t);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SEL_PROCS);
	__type(key, struct sel_proc);
	__type(value, struct policy_ref); /* behind policy_form_head.sets, as others */
} procs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct sel_sock);
} socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SEL_TOKENS);
	__type(key, uint64_t);
	__type(value, struct sel_token);
} tokens SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SEL_TOKENS);
	__type(key, struct sel_tuple);
	__type(value, uint64_t); /* token */
} tuples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SEL_ENDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, uint64_t);
	__type(value, struct sel_end);
} ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sel_conf);
} conf SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct sel_agent);
} agents SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SEL_ENDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, uint64_t); /* cookie of an end */
	__type(value, uint64_t);
} chans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, POLICY_BPF_MAX);
	__type(key, uint32_t);
	__type(value, struct sel_match); /* for user space alone */
} matches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SEL_SEEN);
	__type(key, uint64_t); /* network namespace cookie */
	__type(value, uint32_t);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SEL_NAMESPACES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, uint64_t);           /* network namespace cookie; 0: all others */
	__type(value, struct sel_wrong); /* for user space alone */
} wrongs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

/* ---- judging ---- */

typedef void *policy_eval_form;

static inline __attribute__((always_inline)) const struct policy_line *policy_eval_line(
	policy_eval_form form, uint32_t n)
{
	return bpf_map_lookup_elem(form, &n);
}

#define POLICY_EVAL_LOOP(n, step, arg) bpf_loop(n, step, arg, 0)

#include "daemon/policy/policy_eval.bpf.h"

static inline __attribute__((always_inline)) struct sel_conf *conf_get(void)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(&conf, &zero);
}

static const struct sel_agent *agent_get(void)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(&agents, &zero);
}

/*
 * @task: typed by the kernel (bpf_get_current_task_btf(), iter/task), so that each step is one load: by bpf_probe_read_kernel(), two dozen
 * calls, this took a microsecond. A load from what is not there, as of a kernel thread's mm, gives 0.
 */
static void task_read(struct task_struct *task, struct sel_proc *p)
{
	struct dentry *exe = task->mm->exe_file->f_path.dentry;
	struct net *net = task->nsproxy->net_ns;
	const struct cred *cred = task->cred;
	struct inode *inode = exe->d_inode;

	p->netns = net->net_cookie;
	p->netns_ino = net->ns.inum;
	p->uid = cred->euid.val;
	p->gid = cred->egid.val;
	p->cgroup = task->cgroups->dfl_cgrp->kn->id;
	p->exe_ino = inode->i_ino;
	p->exe_dev = inode->i_sb->s_dev;
	p->exe_name = exe->d_name.hash_len;
	p->slot = 0;
	p->generation = 0;
}

/* Return: 0, or -1 if nobody could be told. */
static NOINLINE int kind_tell(const struct sel_proc *p)
{
	struct sel_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return -1;
	e->proc = *p;
	e->tgid = (uint32_t)(bpf_get_current_pid_tgid() >> 32);
	e->spare = 0;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* A namespace that user space has not been told of: it may have a policy of its own. Called in the process. */
static void netns_look(const struct sel_proc *p)
{
	uint32_t yes = 1;

	if (!bpf_map_lookup_elem(&seen, &p->netns) && !kind_tell(p))
		bpf_map_update_elem(&seen, &p->netns, &yes, BPF_ANY);
}

static void current_read(struct sel_proc *p)
{
	task_read((void *)bpf_get_current_task_btf(), p);
	netns_look(p);
}

/* The set of rules that hold for a kind of process. A first of UINT32_MAX: no rule asks. */
static NOINLINE int class_get(const struct sel_proc *p, const struct policy_form_head *head,
			      uint32_t slot, struct policy_ref *cls)
{
	const struct policy_ref *known;
	struct sel_proc key;

	cls->first = UINT32_MAX;
	cls->summary = UINT32_MAX;
	if (!(head->needs & SEL_NEEDS))
		return 0;
	sel_proc_key(&key, p, head->needs, slot, head->generation);
	known = bpf_map_lookup_elem(&procs, &key);
	if (!known)
		return -1;
	*cls = *known;
	return 0;
}

/* What the walk over chunks needs, in one place for bpf_loop(). */
struct walk {
	struct policy_eval eval;
	struct policy_ref cls;
	uint32_t sets;
	int32_t rule;
};

static long chunk_step(uint32_t c, struct walk *w)
{
	const struct policy_line *own = NULL;

	if (!(w->eval.chunks >> (c & 31) & 1))
		return 0;
	if (w->cls.first != UINT32_MAX) {
		own = policy_eval_chunk(w->eval.form, w->sets, &w->cls, c);
		if (!own)
			return 1;
	}
	w->rule = policy_eval_in_chunk(&w->eval, w->sets, own ? own->w : NULL, c);
	return w->rule >= 0;
}

/* Count a connection for a rule, or with @by -1 take it back. */
static void hit(policy_eval_form form, uint32_t rule, uint64_t by)
{
	const struct policy_line *l;

	if (!rule) {
		struct policy_form_head *head = (void *)policy_eval_line(form, 0);

		if (head)
			__sync_fetch_and_add(&head->default_hits, by);
		return;
	}
	l = policy_eval_line(form, 1 + 2 + (rule - 1) / 4);
	if (l)
		__sync_fetch_and_add(&((struct policy_form_rule *)l)[(rule - 1) & 3].hits, by);
}

static void answer_enter(void *form, uint32_t rule_line, uint32_t rule, struct sel_verdict *v)
{
	const struct policy_line *line = policy_eval_line(form, rule_line + rule / 4);
	const struct policy_form_rule *r;

	if (!line)
		return;
	r = &((const struct policy_form_rule *)line)[rule & 3];
	v->rule = rule + 1;
	v->verdict = r->verdict;
	v->paths = r->paths;
	v->threshold = r->threshold;
}

/* Without a policy everything may be lifted, unless one is about to come or could not be put into force. */
static void default_enter(uint32_t slot, struct sel_verdict *v)
{
	uint64_t all = 0;

	*v = (struct sel_verdict){ .verdict = LIFT, .paths = PATH_ALL, .threshold = -1 };
	if (slot == SEL_CLOSED || bpf_map_lookup_elem(&slots, &all)) {
		v->verdict = KERNEL;
		v->paths = 0;
	}
}

/*
 * A global function: the verifier reads it once and not at each call.
 * Return: 1 if the policy has matches of the user's that are to be asked first; the verdict is "kernel, pending" then.
 */
NOINLINE int judge(const struct sel_proc *p, struct policy_query *q, struct sel_verdict *v)
{
	const struct policy_form_head *head;
	uint32_t slot = 0, *own_slot;
	struct walk w = {};

	if (!p || !q || !v)
		return 0;
	own_slot = bpf_map_lookup_elem(&slots, &p->netns);
	if (own_slot)
		slot = *own_slot;
	w.eval.form = bpf_map_lookup_elem(&forms, &slot);
	if (!w.eval.form) {
		default_enter(slot, v);
		return 0;
	}
	*v = (struct sel_verdict){ .verdict = LIFT, .paths = PATH_ALL, .threshold = -1 };
	head = (const void *)policy_eval_line(w.eval.form, 0);
	if (!head)
		return 0;
	v->slot = (uint8_t)slot;
	v->generation = head->generation;
	if (class_get(p, head, slot, &w.cls)) {
		kind_tell(p);
		v->verdict = KERNEL;
		v->paths = 0;
		v->pending = 1;
		return 0;
	}
	if (head->bpf_count && q->asked != head->generation) {
		v->verdict = KERNEL;
		v->paths = 0;
		v->pending = 1;
		return 1;
	}
	w.rule = -1;
	w.sets = head->sets;
	w.eval.q = q;
	policy_eval_begin(&w.eval, head->role[q->role & 1]);
	w.eval.chunks &= w.cls.summary;
	if (w.eval.chunks)
		bpf_loop((head->rules + POLICY_CHUNK - 1) / POLICY_CHUNK, chunk_step, &w, 0);
	if (w.rule >= 0)
		answer_enter(w.eval.form, head->rule_line, (uint32_t)w.rule, v);
	return 0;
}

/* Count the socket for the rule that decides on it now, and no longer for the one before. */
static void count(const struct sel_verdict *old, bool judged, const struct sel_verdict *now)
{
	uint32_t slot = now->slot;
	void *form = bpf_map_lookup_elem(&forms, &slot);

	if (!form || now->pending)
		return;
	if (judged && !old->pending && old->generation == now->generation &&
	    old->slot == now->slot) {
		if (old->rule == now->rule)
			return;
		hit(form, old->rule, -1);
	}
	hit(form, now->rule, 1);
}

static bool allows(const struct sel_verdict *v)
{
	return v->rule && (v->verdict == LIFT || v->verdict == DIRECT) && v->paths & PATH_SHM;
}

static void end_key(struct policy_eval_end *end, uint32_t family, uint32_t ip4, const uint32_t *ip6,
		    uint32_t port)
{
	bool mapped = family == AF_INET6_ && !ip6[0] && !ip6[1] && ip6[2] == bpf_htonl(0xffff);

	end->port = port;
	end->family = 4;
	end->hi = 0;
	if (family == AF_INET_) {
		end->lo = bpf_ntohl(ip4);
	} else if (mapped) {
		end->lo = bpf_ntohl(ip6[3]);
	} else {
		end->family = 6;
		end->hi = (uint64_t)bpf_ntohl(ip6[0]) << 32 | bpf_ntohl(ip6[1]);
		end->lo = (uint64_t)bpf_ntohl(ip6[2]) << 32 | bpf_ntohl(ip6[3]);
	}
}

#endif
