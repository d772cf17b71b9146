/* policy_form.c - compile a policy (policy_form.h)
 *
 * Theory of operation: for each dimension the values of all rules become events: from this key on a value holds, from
 * that key on it does not. Sorted by key they are walked once, with a count per rule of the values that hold
 * now; where a count leaves or reaches zero, the rule's bit changes, and where bits changed an edge is written with
 * the set as it is. A key at which no value holds refers to the base, the rules that do not ask.
 * A first run without memory counts the lines that a second one writes.
 */
#include <string.h>

#include "daemon/policy/policy.h"
#include "daemon/policy/policy_store.h"

#define SET_WORDS (POLICY_CHUNKS_MAX * POLICY_CHUNK / 64)

_Static_assert(POLICY_RULES_MAX == SET_WORDS * 64, "a set has a bit for each rule");

struct event {
	uint64_t hi;
	uint64_t lo;
	uint32_t rule;
	int32_t step; /* +1: a value of the rule begins to hold; -1: it ends */
};

struct set {
	uint64_t w[SET_WORDS];
};

struct builder {
	const struct policy *p;
	struct policy_line *out; /* NULL: only count */
	struct policy_form_head head;
	struct policy_dim_at dim[POLICY_DIMS];
	uint32_t lines;  /* written so far, head and all */
	struct set set;  /* of the key that the walk is at */
	struct set base; /* rules that do not ask */
	struct policy_ref base_ref;
	uint32_t holding;    /* values that hold at the key */
	struct event *event; /* scratch */
	uint16_t *count;     /* scratch: values that hold, of each rule */
};

size_t policy_finish_scratch(const struct policy *p)
{
	return sizeof(struct builder) + (2 * (size_t)p->vals + 1) * sizeof(struct event) +
	       p->rules * sizeof(uint16_t);
}

static void bit_set(struct set *s, uint32_t rule, bool on)
{
	uint64_t bit = 1ull << (rule % 64);

	if (on)
		s->w[rule / 64] |= bit;
	else
		s->w[rule / 64] &= ~bit;
}

/* Write a set. */
static struct policy_ref set_write(struct builder *b, const struct set *s)
{
	struct policy_ref ref = { .first = b->lines - b->head.sets };

	for (uint32_t c = 0; c * POLICY_CHUNK < b->head.rules; c++) {
		const uint64_t *w = s->w + c * (POLICY_CHUNK / 64);
		uint64_t any = 0;

		for (unsigned i = 0; i < POLICY_CHUNK / 64; i++)
			any |= w[i];
		if (!any)
			continue;
		ref.summary |= 1u << c;
		if (b->out)
			memcpy(b->out[b->lines].w, w, sizeof(b->out->w));
		b->lines++;
	}
	return ref;
}

static void edge_write(struct builder *b, struct policy_dim_at *at, const struct event *e,
		       struct policy_ref ref)
{
	uint32_t i = at->count++;

	if (b->out) {
		struct policy_edge *edge = (struct policy_edge *)&b->out[at->line] + i;

		*edge = (struct policy_edge){ .hi = e->hi, .lo = e->lo, .ref = ref };
	}
}

static int event_order(const struct event *a, const struct event *b)
{
	if (a->hi != b->hi)
		return a->hi < b->hi ? -1 : 1;
	return a->lo < b->lo ? -1 : a->lo > b->lo;
}

static void sift(struct event *e, size_t i, size_t n)
{
	for (;;) {
		size_t child = 2 * i + 1;
		struct event x = e[i];

		if (child >= n)
			return;
		if (child + 1 < n && event_order(&e[child], &e[child + 1]) < 0)
			child++;
		if (event_order(&e[i], &e[child]) >= 0)
			return;
		e[i] = e[child];
		e[child] = x;
		i = child;
	}
}

static void events_sort(struct event *e, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift(e, i, n);
	while (n > 1) {
		struct event x = e[--n];

		e[n] = e[0];
		e[0] = x;
		sift(e, 0, n);
	}
}

static uint64_t bytes_be(const uint8_t *ip, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *ip++;
	return v;
}

/* The first key behind a range; false: there is none. */
static bool key_next(struct event *e)
{
	return ++e->lo || ++e->hi;
}

static void prefix_range(const struct policy_val *v, struct event *from, struct event *to)
{
	unsigned rest = (v->family == 4 ? 32 : 128) - v->bits;

	if (v->family == 4) {
		from->lo = bytes_be(v->ip, 4);
	} else {
		from->hi = bytes_be(v->ip, 8);
		from->lo = bytes_be(v->ip + 8, 8);
	}
	to->hi = from->hi | (rest > 64 ? ~0ull >> (128 - rest) : 0);
	to->lo = from->lo | (rest >= 64 ? ~0ull : (1ull << rest) - 1);
}

/* Does a value belong to the dimension? Then its first and its last key. */
static bool range_get(const struct policy_val *v, enum policy_dim dim, struct event *from,
		      struct event *to)
{
	static const uint8_t kind[POLICY_DIMS] = {
		[POLICY_DIM_PORT] = POLICY_M_PORT,
		[POLICY_DIM_LOCAL_PORT] = POLICY_M_LOCAL_PORT,
		[POLICY_DIM_REMOTE_PORT] = POLICY_M_REMOTE_PORT,
		[POLICY_DIM_LOCAL4] = POLICY_M_LOCAL,
		[POLICY_DIM_LOCAL6] = POLICY_M_LOCAL,
		[POLICY_DIM_REMOTE4] = POLICY_M_REMOTE,
		[POLICY_DIM_REMOTE6] = POLICY_M_REMOTE,
		[POLICY_DIM_BPF] = POLICY_M_BPF,
	};

	if (v->kind != kind[dim])
		return false;
	if (v->kind == POLICY_M_LOCAL || v->kind == POLICY_M_REMOTE) {
		bool four = dim == POLICY_DIM_LOCAL4 || dim == POLICY_DIM_REMOTE4;

		if (v->family != (four ? 4 : 6))
			return false;
		prefix_range(v, from, to);
	} else {
		from->lo = v->lo;
		to->lo = v->hi;
	}
	return true;
}

static size_t events_collect(struct builder *b, enum policy_dim dim)
{
	size_t n = 0;

	for (uint32_t i = 0; i < b->head.rules; i++) {
		const struct policy_rule *r = policy_rule_get(b->p, i);

		for (uint32_t k = 0; k < r->val_count; k++) {
			struct event from = { .rule = i, .step = 1 },
				     to = { .rule = i, .step = -1 };

			if (!range_get(policy_val_get(b->p, r->val_first + k), dim, &from, &to))
				continue;
			b->event[n++] = from;
			if (key_next(&to))
				b->event[n++] = to;
		}
	}
	events_sort(b->event, n);
	return n;
}

/* One value more or less holds. */
static void step(struct builder *b, const struct event *e)
{
	uint16_t *count = &b->count[e->rule];

	*count = (uint16_t)(*count + e->step);
	b->holding += (uint32_t)e->step;
	bit_set(&b->set, e->rule, *count);
}

/* The walk over the sorted events, with an edge at 0. */
static void edges_write(struct builder *b, struct policy_dim_at *at, size_t events)
{
	static const struct event zero;
	size_t i = 0;

	memset(b->count, 0, b->head.rules * sizeof(*b->count));
	b->set = b->base;
	b->holding = 0;
	if (!events || event_order(&b->event[0], &zero))
		edge_write(b, at, &zero, at->base);
	while (i < events) {
		const struct event *first = &b->event[i];

		for (; i < events && !event_order(first, &b->event[i]); i++)
			step(b, &b->event[i]);
		edge_write(b, at, first, b->holding ? set_write(b, &b->set) : at->base);
	}
}

static void base_collect(struct builder *b, enum policy_match_kind kind)
{
	memset(&b->base, 0, sizeof(b->base));
	for (uint32_t i = 0; i < b->head.rules; i++)
		if (!(policy_rule_get(b->p, i)->kinds & 1u << kind))
			bit_set(&b->base, i, true);
}

/* For eBPF matches the keys are masks of answers, all of them. */
static void masks_write(struct builder *b, struct policy_dim_at *at)
{
	for (uint32_t mask = 0; mask < 1u << b->head.bpf_count; mask++) {
		struct event key = { .lo = mask };

		b->set = b->base;
		for (uint32_t i = 0; i < b->head.rules; i++) {
			const struct policy_rule *r = policy_rule_get(b->p, i);

			for (uint32_t k = 0; k < r->val_count; k++) {
				const struct policy_val *v = policy_val_get(b->p, r->val_first + k);

				if (v->kind == POLICY_M_BPF && mask >> v->lo & 1)
					bit_set(&b->set, i, true);
			}
		}
		edge_write(b, at, &key, set_write(b, &b->set));
	}
}

static const uint8_t dim_kind[POLICY_DIMS] = {
	POLICY_M_PORT,  POLICY_M_LOCAL_PORT, POLICY_M_REMOTE_PORT, POLICY_M_LOCAL,
	POLICY_M_LOCAL, POLICY_M_REMOTE,     POLICY_M_REMOTE,      POLICY_M_BPF,
};

/* Room for edges is taken before the sets: at most one for each event, and one at 0. */
static void edges_place(struct builder *b)
{
	for (unsigned d = 0; d < POLICY_DIMS; d++) {
		size_t most;

		if (!(b->p->needs & 1u << dim_kind[d]))
			continue;
		most = d == POLICY_DIM_BPF ? 1u << b->head.bpf_count
					   : events_collect(b, (enum policy_dim)d) + 1;
		b->dim[d].line = b->lines;
		b->lines += (uint32_t)(most + 1) / 2;
	}
}

static void dims_write(struct builder *b)
{
	for (unsigned d = 0; d < POLICY_DIMS && b->lines <= POLICY_FORM_LINES_MAX; d++) {
		struct policy_dim_at *at = &b->dim[d];

		if (!(b->p->needs & 1u << dim_kind[d]))
			continue;
		base_collect(b, (enum policy_match_kind)dim_kind[d]);
		at->base = set_write(b, &b->base);
		if (d == POLICY_DIM_BPF)
			masks_write(b, at);
		else
			edges_write(b, at, events_collect(b, (enum policy_dim)d));
	}
}

static void roles_write(struct builder *b)
{
	for (unsigned role = 0; role < 2; role++) {
		uint8_t mine = role ? POLICY_ROLE_CONNECT : POLICY_ROLE_LISTEN;
		bool all = b->head.rules > 0;

		memset(&b->set, 0, sizeof(b->set));
		for (uint32_t i = 0; i < b->head.rules; i++) {
			bool has = policy_rule_get(b->p, i)->role & mine;

			bit_set(&b->set, i, has);
			all &= has;
		}
		b->head.role[role] = set_write(b, &b->set);
		if (all)
			b->head.role[role].first = UINT32_MAX;
	}
}

static void rules_write(struct builder *b)
{
	for (uint32_t i = 0; b->out && i < b->head.rules; i++) {
		const struct policy_rule *r = policy_rule_get(b->p, i);
		struct policy_form_rule *to =
			(struct policy_form_rule *)&b->out[b->head.rule_line] + i;

		*to = (struct policy_form_rule){ .threshold = r->threshold,
						 .verdict = r->verdict,
						 .paths = r->paths };
	}
}

/* Return: lines of the whole; with b->out they are written. */
static uint32_t build(struct builder *b)
{
	b->head = (struct policy_form_head){
		.magic = POLICY_FORM_MAGIC,
		.rules = b->p->rules,
		.needs = b->p->needs,
		.bpf_count = b->p->bpfs,
		.rule_line = 1 + (sizeof(b->dim) + 63) / 64,
	};
	memset(b->head.bpf_slot, 0xff, sizeof(b->head.bpf_slot));
	memset(b->dim, 0, sizeof(b->dim));
	b->lines = b->head.rule_line + (b->p->rules + 3) / 4;
	edges_place(b);
	b->head.sets = b->lines;
	rules_write(b);
	roles_write(b);
	dims_write(b);
	b->head.lines = b->lines;
	if (b->out) {
		memcpy(&b->out[0], &b->head, sizeof(b->head));
		memcpy(&b->out[1], b->dim, sizeof(b->dim));
	}
	return b->lines;
}

uint32_t policy_form_build(const struct policy *p, struct policy_line *out, uint32_t lines,
			   void *scratch)
{
	struct builder *b = scratch;
	uint32_t need;

	b->p = p;
	b->out = NULL;
	b->event = (struct event *)(b + 1);
	b->count = (uint16_t *)(b->event + 2 * (size_t)p->vals + 1);
	need = build(b);
	if (need > POLICY_FORM_LINES_MAX)
		return 0;
	if (!out || lines < need)
		return need;
	memset(out, 0, need * sizeof(*out));
	b->out = out;
	return build(b);
}
