/* policy_eval.bpf.h - evaluate a compiled policy (policy_form.h); one text for C and eBPF
 *
 * The includer defines, before: the type policy_eval_form, and
 *	const struct policy_line *policy_eval_line(policy_eval_form form, uint32_t n)
 * which returns NULL where there is no such line; every use checks that: eBPF's verifier asks for it, and a form from
 * elsewhere does no harm; and the macro
 *	POLICY_EVAL_LOOP(n, step, arg)		call step(i, arg) for i from 0 to n - 1 until it returns 1
 * Comparisons are made without branches: a processor predicts them badly, and the verifier would follow
 * each of them.
 */
#ifndef ZTCP_POLICY_EVAL_H
#define ZTCP_POLICY_EVAL_H

#include <stdbool.h>

#include "daemon/policy/policy_form.h"

#define POLICY_EVAL_STEPS  21 /* a table has fewer edges than 1 << this */
#define POLICY_EVAL_INLINE static inline __attribute__((always_inline))

/** enum policy_eval_ref - the sets that are intersected, besides that of the process */
enum policy_eval_ref {
	POLICY_REF_PORT, /* the first three: as in enum policy_dim */
	POLICY_REF_LOCAL_PORT,
	POLICY_REF_REMOTE_PORT,
	POLICY_REF_LOCAL,
	POLICY_REF_REMOTE,
	POLICY_REF_BPF,
	POLICY_REF_ROLE, /* the last: it has no table */
	POLICY_REFS,
	POLICY_REF_ROOM = 8
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
 * @role:  0: accepted here, or listening; 1: made from here
 * @bpf:   answers of the policy's eBPF matches
 * @asked: for eBPF: policy_form_head.generation of the policy whose matches gave @bpf; 0: none was asked
 */
struct policy_query {
	struct policy_eval_end local;
	struct policy_eval_end remote;
	uint32_t role;
	uint32_t bpf;
	uint32_t asked;
	uint32_t spare;
};

/* What a - b - less borrows: 1 or 0. The empty asm keeps the compiler from making a branch of it. */
POLICY_EVAL_INLINE uint64_t policy_eval_borrow(uint64_t a, uint64_t b, uint64_t less)
{
	uint64_t r = ((~a & b) | (~(a ^ b) & (a - b - less))) >> 63;

	__asm__ volatile("" : "+r"(r));
	return r;
}

POLICY_EVAL_INLINE const struct policy_edge *policy_eval_edge(policy_eval_form form, uint32_t line,
							      uint32_t i)
{
	const struct policy_line *l = policy_eval_line(form, line + i / 2);

	return l ? (const struct policy_edge *)l + (i & 1) : NULL;
}

/* Which table answers for set @i, and what it is asked. */
struct policy_eval_key {
	uint64_t hi;
	uint64_t lo;
	uint32_t dim;
	uint16_t known;
	uint16_t wide; /* hi counts */
};

/* A search under way: the edge looked for is one of @left from @from on. */
struct policy_eval_search {
	policy_eval_form form;
	uint64_t hi;
	uint64_t lo;
	uint32_t line;
	uint32_t left;
	uint32_t from;
	uint32_t wide; /* keys have a hi that is not 0: those of IPv6 */
};

/* 1 if the edge's key is not above the one looked for. */
POLICY_EVAL_INLINE uint32_t policy_eval_reached(const struct policy_edge *e,
						const struct policy_eval_search *s)
{
	uint64_t above = policy_eval_borrow(s->lo, e->lo, 0);

	if (s->wide)
		above = policy_eval_borrow(s->hi, e->hi, above);
	return 1 ^ (uint32_t)above;
}

/* Halve what is left. Return: 1 to stop. */
static long policy_eval_step(uint32_t step, struct policy_eval_search *s)
{
	uint32_t half = s->left / 2;
	const struct policy_edge *e;

	(void)step;
	if (!half)
		return 1;
	e = policy_eval_edge(s->form, s->line, s->from + half);
	if (!e)
		return 1;
	s->from += half * policy_eval_reached(e, s);
	s->left -= half;
	return 0;
}

/* The set of a key: that of the last edge not above it. The first edge's key is 0. */
POLICY_EVAL_INLINE void policy_eval_find(policy_eval_form form, const struct policy_dim_at *at,
					 const struct policy_eval_key *key, struct policy_ref *ref)
{
	struct policy_eval_search s = { .form = form,
					.hi = key->hi,
					.lo = key->lo,
					.line = at->line,
					.left = at->count,
					.wide = key->wide };
	const struct policy_edge *e;

	POLICY_EVAL_LOOP(POLICY_EVAL_STEPS, policy_eval_step, &s);
	e = policy_eval_edge(form, s.line, s.from);
	if (e)
		*ref = e->ref;
}

/** struct policy_eval - an evaluation under way
 * @form:   set before policy_eval_begin()
 * @q:      connection, borrowed
 * @ref:    the set of each table. One that no rule asks has a first of UINT32_MAX and is left out
 * @chunks: those that all sets have, a bit each
 */
struct policy_eval {
	policy_eval_form form;
	const struct policy_query *q;
	struct policy_ref ref[POLICY_REF_ROOM];
	uint32_t chunks;
	uint32_t spare;
};

POLICY_EVAL_INLINE void policy_eval_key_get(const struct policy_query *q, uint32_t i,
					    struct policy_eval_key *key)
{
	bool remote = i == POLICY_REF_REMOTE || i == POLICY_REF_REMOTE_PORT ||
		      (i == POLICY_REF_PORT && q->role);
	const struct policy_eval_end *end = remote ? &q->remote : &q->local;

	key->hi = 0;
	key->lo = end->port;
	key->dim = i;
	key->known = end->family != 0;
	key->wide = 0;
	if (i == POLICY_REF_LOCAL || i == POLICY_REF_REMOTE) {
		key->hi = end->hi;
		key->lo = end->lo;
		key->dim = remote ? POLICY_DIM_REMOTE4 : POLICY_DIM_LOCAL4;
		key->wide = end->family == 6;
		key->dim += key->wide;
	} else if (i == POLICY_REF_BPF) {
		key->lo = q->bpf;
		key->dim = POLICY_DIM_BPF;
		key->known = 1;
	}
}

/* Find set @i. */
static long policy_eval_ref_step(uint32_t i, struct policy_eval *e)
{
	struct policy_ref ref = { UINT32_MAX, UINT32_MAX };
	const struct policy_line *line;
	const struct policy_dim_at *at;
	struct policy_eval_key key;

	policy_eval_key_get(e->q, i, &key);
	line = policy_eval_line(e->form, 1 + key.dim / 4 % 2);
	if (!line)
		return 1;
	at = (const struct policy_dim_at *)line + (key.dim & 3);
	if (at->count) {
		ref = at->base;
		if (key.known)
			policy_eval_find(e->form, at, &key, &ref);
		e->chunks &= ref.summary;
	}
	__asm__ volatile("" : "+r"(i)); /* the verifier shall see the mask */
	e->ref[i & (POLICY_REF_ROOM - 1)] = ref;
	return 0;
}

/**
 * policy_eval_begin() - find the sets of a connection
 * @e:    filled; form and q are set before
 * @role: from policy_form_head.role
 */
POLICY_EVAL_INLINE void policy_eval_begin(struct policy_eval *e, struct policy_ref role)
{
	e->ref[POLICY_REF_ROLE] = role;
	e->chunks = role.summary;
	POLICY_EVAL_LOOP(POLICY_REF_ROLE, policy_eval_ref_step, e);
}

/* Bits in a word; eBPF has no instruction for it. */
POLICY_EVAL_INLINE uint32_t policy_eval_bits(uint64_t w)
{
	w -= w >> 1 & 0x5555555555555555ull;
	w = (w & 0x3333333333333333ull) + (w >> 2 & 0x3333333333333333ull);
	w = (w + (w >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (uint32_t)(w * 0x0101010101010101ull >> 56);
}

/* Number of the lowest bit of @w, which is not 0. */
POLICY_EVAL_INLINE uint32_t policy_eval_lowest(uint64_t w)
{
	return policy_eval_bits((w & (0 - w)) - 1);
}

/* The line of chunk @c in a set that has it. */
POLICY_EVAL_INLINE const struct policy_line *policy_eval_chunk(policy_eval_form form, uint32_t sets,
							       const struct policy_ref *ref,
							       uint32_t c)
{
	uint32_t before = ref->summary & ((1u << (c & 31)) - 1);

	return policy_eval_line(form, sets + ref->first + policy_eval_bits(before));
}

/**
 * policy_eval_in_chunk() - the first rule that is in all sets
 * @e:    from policy_eval_begin()
 * @sets: policy_form_head.sets
 * @own:  chunk of the process's set; NULL: no rule asks about the process
 * @c:    chunk: one of @e->chunks
 *
 * Return: its number, or -1.
 */
POLICY_EVAL_INLINE int32_t policy_eval_in_chunk(const struct policy_eval *e, uint32_t sets,
						const uint64_t *own, uint32_t c)
{
	uint64_t w[8];

	for (int i = 0; i < 8; i++)
		w[i] = own ? own[i] : ~0ull;
	for (int r = 0; r < POLICY_REFS; r++) {
		const struct policy_line *l;

		if (e->ref[r].first == UINT32_MAX)
			continue;
		l = policy_eval_chunk(e->form, sets, &e->ref[r], c);
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
