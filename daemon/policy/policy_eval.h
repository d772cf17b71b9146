/* policy_eval.h - evaluate a compiled policy (policy_form.h); one text for C and eBPF
 *
 * The includer defines, before: the type policy_eval_form, and
 *	const struct policy_line *policy_eval_line(policy_eval_form form, uint32_t n)
 * which returns NULL where there is no such line; every use checks that: eBPF's verifier asks for it, and a form from
 * elsewhere does no harm. Comparisons are made without branches: a processor predicts them badly, and
 * the verifier would follow each of them.
 */
#ifndef ZTCP_POLICY_EVAL_H
#define ZTCP_POLICY_EVAL_H

#include "daemon/policy/policy_form.h"

#define POLICY_EVAL_STEPS  21 /* a table has fewer edges than 1 << this */
#define POLICY_EVAL_INLINE static inline __attribute__((always_inline))

/** enum policy_eval_ref - the sets that are intersected, besides that of the process */
enum policy_eval_ref {
	POLICY_REF_ROLE,
	POLICY_REF_PORT,
	POLICY_REF_LOCAL_PORT,
	POLICY_REF_REMOTE_PORT,
	POLICY_REF_LOCAL,
	POLICY_REF_REMOTE,
	POLICY_REF_BPF,
	POLICY_REFS
};

/** struct policy_eval_end - one end of a connection as keys; IPv4 lies in @lo alone
 * @port:   host byte order
 * @family: 4, 6, or 0: not known
 */
struct policy_eval_end {
	uint64_t hi;
	uint64_t lo;
	uint32_t port;
	uint32_t family;
};

/** struct policy_query - a connection as keys
 * @role: 0: accepted here, or listening; 1: made from here
 * @bpf:  answers of the policy's eBPF matches
 */
struct policy_query {
	struct policy_eval_end local;
	struct policy_eval_end remote;
	uint32_t role;
	uint32_t bpf;
};

/* 1 if a < b, else 0. The empty asm keeps the compiler from making a branch of it. */
POLICY_EVAL_INLINE uint64_t policy_eval_less(uint64_t a, uint64_t b)
{
	uint64_t r = ((~a & b) | (~(a ^ b) & (a - b))) >> 63;

	__asm__ volatile("" : "+r"(r));
	return r;
}

/* 1 if the edge's key is not above the one looked for. */
POLICY_EVAL_INLINE uint64_t policy_eval_reached(const struct policy_edge *e, uint64_t hi,
						uint64_t lo)
{
	uint64_t above = policy_eval_less(hi, e->hi);
	uint64_t below = policy_eval_less(e->hi, hi);

	return 1 ^ (above | ((1 ^ below) & policy_eval_less(lo, e->lo)));
}

POLICY_EVAL_INLINE const struct policy_edge *policy_eval_edge(policy_eval_form form, uint32_t line,
							      uint32_t i)
{
	const struct policy_line *l = policy_eval_line(form, line + i / 2);

	return l ? (const struct policy_edge *)l + (i & 1) : NULL;
}

/* The set of a key: that of the last edge not above it. The first edge's key is 0. */
POLICY_EVAL_INLINE void policy_eval_find(policy_eval_form form, const struct policy_dim_at *at,
					 uint64_t hi, uint64_t lo, struct policy_ref *ref)
{
	uint32_t left = at->count, from = 0, line = at->line;
	const struct policy_edge *e;

	for (int step = 0; step < POLICY_EVAL_STEPS && left > 1; step++) {
		uint32_t half = left / 2;

		e = policy_eval_edge(form, line, from + half);
		if (!e)
			return;
		from += half * (uint32_t)policy_eval_reached(e, hi, lo);
		left -= half;
	}
	e = policy_eval_edge(form, line, from);
	if (e)
		*ref = e->ref;
}

/* A set without lines matches nothing; one that no rule asks about is left out, by a first of UINT32_MAX. */
POLICY_EVAL_INLINE void policy_eval_dim(policy_eval_form form, const struct policy_dim_at *at,
					uint32_t known, uint64_t hi, uint64_t lo,
					struct policy_ref *ref)
{
	ref->first = UINT32_MAX;
	ref->summary = UINT32_MAX;
	if (!at->count)
		return;
	*ref = at->base;
	if (known)
		policy_eval_find(form, at, hi, lo, ref);
}

POLICY_EVAL_INLINE const struct policy_dim_at *policy_eval_dim_at(policy_eval_form form,
								  uint32_t dim)
{
	const struct policy_line *l = policy_eval_line(form, 1 + dim / 4);

	return l ? (const struct policy_dim_at *)l + (dim & 3) : NULL;
}

POLICY_EVAL_INLINE void policy_eval_end_refs(policy_eval_form form,
					     const struct policy_eval_end *end, uint32_t dim4,
					     uint32_t dim_port, struct policy_ref *ref,
					     struct policy_ref *port_ref)
{
	const struct policy_dim_at *addr = policy_eval_dim_at(form,
							      end->family == 6 ? dim4 + 1 : dim4);
	const struct policy_dim_at *port = policy_eval_dim_at(form, dim_port);

	if (addr)
		policy_eval_dim(form, addr, end->family, end->hi, end->lo, ref);
	if (port)
		policy_eval_dim(form, port, end->family, 0, end->port, port_ref);
}

/**
 * policy_eval_refs() - the sets of a connection
 * @form: compiled policy
 * @head: its line 0
 * @q:    connection
 * @ref:  POLICY_REFS of them, filled
 *
 * Return: the chunks that all have, one bit each.
 */
POLICY_EVAL_INLINE uint32_t policy_eval_refs(policy_eval_form form,
					     const struct policy_form_head *head,
					     const struct policy_query *q, struct policy_ref *ref)
{
	const struct policy_dim_at *at = policy_eval_dim_at(form, POLICY_DIM_PORT);
	const struct policy_eval_end *server = q->role ? &q->remote : &q->local;

	ref[POLICY_REF_ROLE] = head->role[q->role & 1];
	if (at)
		policy_eval_dim(form, at, server->family, 0, server->port, &ref[POLICY_REF_PORT]);
	policy_eval_end_refs(form, &q->local, POLICY_DIM_LOCAL4, POLICY_DIM_LOCAL_PORT,
			     &ref[POLICY_REF_LOCAL], &ref[POLICY_REF_LOCAL_PORT]);
	policy_eval_end_refs(form, &q->remote, POLICY_DIM_REMOTE4, POLICY_DIM_REMOTE_PORT,
			     &ref[POLICY_REF_REMOTE], &ref[POLICY_REF_REMOTE_PORT]);
	at = policy_eval_dim_at(form, POLICY_DIM_BPF);
	if (at)
		policy_eval_dim(form, at, 1, 0, q->bpf, &ref[POLICY_REF_BPF]);
	return ref[0].summary & ref[1].summary & ref[2].summary & ref[3].summary & ref[4].summary &
	       ref[5].summary & ref[6].summary;
}

/* The line of chunk @c in a set that has it. */
POLICY_EVAL_INLINE const struct policy_line *policy_eval_chunk(policy_eval_form form, uint32_t sets,
							       const struct policy_ref *ref,
							       uint32_t c)
{
	uint32_t before = ref->summary & ((1u << (c & 31)) - 1);

	return policy_eval_line(form, sets + ref->first + (uint32_t)__builtin_popcount(before));
}

/* Number of the lowest bit of @w, which is not 0. */
POLICY_EVAL_INLINE uint32_t policy_eval_lowest(uint64_t w)
{
	return (uint32_t)__builtin_ctzll(w);
}

/**
 * policy_eval_in_chunk() - the first rule that is in all sets
 * @form: compiled policy
 * @sets: policy_form_head.sets
 * @ref:  from policy_eval_refs()
 * @own:  chunk of the process's set
 * @c:    chunk: all sets have it
 *
 * Return: its number, or -1.
 */
POLICY_EVAL_INLINE int32_t policy_eval_in_chunk(policy_eval_form form, uint32_t sets,
						const struct policy_ref *ref, const uint64_t *own,
						uint32_t c)
{
	uint64_t w[8];

	for (int i = 0; i < 8; i++)
		w[i] = own[i];
	for (int r = 0; r < POLICY_REFS; r++) {
		const struct policy_line *l;

		if (ref[r].first == UINT32_MAX)
			continue;
		l = policy_eval_chunk(form, sets, &ref[r], c);
		if (!l)
			return -1;
		for (int i = 0; i < 8; i++)
			w[i] &= l->w[i];
	}
	for (uint32_t i = 0; i < 8; i++)
		if (w[i])
			return (int32_t)(c * POLICY_CHUNK + i * 64 + policy_eval_lowest(w[i]));
	return -1;
}

#endif
