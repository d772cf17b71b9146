/* selector_policy.c - policies into maps, and their counters out of them
 *
 * Theory of operation: a policy in force is one array map of lines: the compiled form, room for the sets of kinds of
 * processes (selector_kind.c), the policy itself for those who read it later, and a trailer that says where these
 * begin. It is made aside, whole, with the counters of rules that were there before; then one update of the map of
 * maps puts it in the place of the old one, which the kernel frees when the last walk over it has ended.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bpf/selector_int.h"

enum {
	TRAILER_MAGIC = 0x7a747431,
	CLASSES_AT_FIRST = 64, /* different sets of kinds of processes there is room for */
	RULE_TEXT = 1200,
};

int sel_line_read(int map, uint32_t line, void *out)
{
	return bpf_map_lookup_elem(map, &line, out) ? -errno : 0;
}

int sel_line_write(int map, uint32_t line, const void *in)
{
	return bpf_map_update_elem(map, &line, in, BPF_ANY) ? -errno : 0;
}

void sel_slot_free(struct sel_slot *s)
{
	free(s->policy);
	if (s->map >= 0)
		close(s->map);
	*s = (struct sel_slot){ .map = -1 };
}

int sel_slot_netns(const struct selector *sel, uint32_t slot, uint64_t *netns)
{
	uint64_t key, *from = NULL;
	uint32_t number;

	*netns = 0;
	if (!slot)
		return 0;
	while (!bpf_map_get_next_key(sel->map[SEL_MAP_SLOTS], from, &key)) {
		from = &key;
		if (!bpf_map_lookup_elem(sel->map[SEL_MAP_SLOTS], &key, &number) &&
		    number == slot) {
			*netns = key;
			return 0;
		}
	}
	return -ENOENT;
}

/* ---- reading ---- */

static int lines_read(int map, uint32_t first, uint32_t count, struct policy_line *out)
{
	for (uint32_t i = 0; i < count; i++) {
		int rc = sel_line_read(map, first + i, out + i);

		if (rc)
			return rc;
	}
	return 0;
}

static int slot_open(const struct selector *sel, uint32_t slot, struct sel_slot *s)
{
	struct bpf_map_info info = { 0 };
	uint32_t id, len = sizeof(info);

	if (bpf_map_lookup_elem(sel->map[SEL_MAP_FORMS], &slot, &id))
		return -errno;
	s->map = bpf_map_get_fd_by_id(id);
	if (s->map < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(s->map, &info, &len))
		return -errno;
	s->lines = info.max_entries;
	return 0;
}

static int slot_read(const struct selector *sel, uint32_t slot, struct sel_slot *s)
{
	struct policy_form_head head;
	struct policy_line *text;
	uint32_t lines;
	int rc = slot_open(sel, slot, s);

	if (!rc)
		rc = sel_line_read(s->map, 0, &head);
	if (!rc)
		rc = sel_line_read(s->map, s->lines - 1, &s->trailer);
	if (rc)
		return rc;
	if (s->trailer.magic != TRAILER_MAGIC || s->trailer.text_line >= s->lines)
		return -EPROTO;
	lines = s->lines - 1 - s->trailer.text_line;
	text = malloc(lines * sizeof(*text));
	rc = text ? lines_read(s->map, s->trailer.text_line, lines, text) : -ENOMEM;
	s->policy = (struct policy *)text;
	s->generation = head.generation;
	s->needs = head.needs;
	s->sets = head.sets;
	memcpy(s->bpf_slot, head.bpf_slot, sizeof(s->bpf_slot));
	return rc;
}

static int generation_read(const struct selector *sel, struct sel_agent *a)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(sel->map[SEL_MAP_AGENTS], &zero, a) ? -errno : 0;
}

int sel_slots_fresh(struct selector *sel)
{
	struct sel_agent a;
	int rc = generation_read(sel, &a);

	if (rc || a.generation == sel->generation)
		return rc;
	for (uint32_t i = 0; i < SEL_SLOTS; i++)
		sel_slot_free(&sel->slot[i]);
	return sel_slots_read(sel);
}

int sel_slots_look(struct selector *sel)
{
	int rc;

	sel_lock(sel);
	rc = sel_slots_fresh(sel);
	sel_unlock(sel);
	return rc;
}

int sel_slots_read(struct selector *sel)
{
	struct sel_agent a;
	int err = generation_read(sel, &a);

	if (err)
		return err;
	sel->generation = a.generation;
	for (uint32_t i = 0; i < SEL_SLOTS; i++) {
		int rc = slot_read(sel, i, &sel->slot[i]);

		if (rc) {
			sel_slot_free(&sel->slot[i]);
			if (rc != -ENOENT)
				return rc;
		}
	}
	return 0;
}

/* ---- writing ---- */

/* Every change has a number: other processes see that what they know is old. */
static int generation_next(struct selector *sel, uint32_t *generation)
{
	struct sel_agent a;
	uint32_t zero = 0;
	int rc = generation_read(sel, &a);

	if (rc)
		return rc;
	*generation = sel->generation = ++a.generation;
	return bpf_map_update_elem(sel->map[SEL_MAP_AGENTS], &zero, &a, BPF_EXIST) ? -errno : 0;
}

static struct policy *bare_copy(const struct policy *p)
{
	size_t bytes = policy_bare(NULL, 0, p);
	struct policy *q = malloc(bytes);

	if (q)
		policy_bare(q, bytes, p);
	return q;
}

static struct policy_form_rule *form_rule(struct policy_line *lines, uint32_t i)
{
	const struct policy_form_head *head = (const struct policy_form_head *)lines;

	return (struct policy_form_rule *)(lines + head->rule_line) + i;
}

static int hits_read(const struct sel_slot *s, uint32_t rule, uint64_t *hits)
{
	struct policy_form_rule four[4];
	struct policy_form_head head;
	int rc = sel_line_read(s->map, 0, &head);

	if (rc)
		return rc;
	*hits = head.default_hits;
	if (rule == UINT32_MAX)
		return 0;
	rc = sel_line_read(s->map, head.rule_line + rule / 4, four);
	*hits = four[rule % 4].hits;
	return rc;
}

/* Rules with the same words keep their counts. Rules mostly stay where they are: look on from the last one found. */
static void hits_keep(const struct sel_slot *old, const struct policy *p, struct policy_line *lines)
{
	struct policy_form_head *head = (struct policy_form_head *)lines;
	uint32_t n = policy_rules(old->policy), at = 0;
	char a[RULE_TEXT], b[RULE_TEXT];

	if (!old->policy)
		return;
	hits_read(old, UINT32_MAX, &head->default_hits);
	for (uint32_t i = 0; n && i < policy_rules(p); i++) {
		policy_rule_format(p, i, a, sizeof(a));
		for (uint32_t tries = 0; tries < n && tries < 1024; tries++) {
			uint32_t k = (at + tries) % n;

			policy_rule_format(old->policy, k, b, sizeof(b));
			if (strcmp(a, b))
				continue;
			hits_read(old, k, &form_rule(lines, i)->hits);
			at = k + 1;
			break;
		}
	}
}

static int names_find(const struct selector *sel, const struct policy *p, uint8_t *slot)
{
	int rc = 0;

	memset(slot, 0xff, POLICY_BPF_MAX);
	for (unsigned i = 0; i < policy_bpf_count(p); i++) {
		slot[i] = sel_match_slot(sel, policy_bpf_name(p, i));
		if (slot[i] == 0xff)
			rc = -ENOENT;
	}
	return rc;
}

/* Lines of one set: a chunk each, and a policy without rules has one too. */
static uint32_t set_lines(const struct policy *p)
{
	uint32_t chunks = (policy_rules(p) + POLICY_CHUNK - 1) / POLICY_CHUNK;

	return chunks ? chunks : 1;
}

uint32_t sel_slot_classes(const struct sel_slot *s)
{
	return s->trailer.spare_count / set_lines(s->policy);
}

/* The whole map's lines: form, room, policy, trailer. */
static struct policy_line *lines_make(const struct policy *p, uint32_t classes, struct sel_slot *s)
{
	const struct policy_form_head *form = (const struct policy_form_head *)policy_form(p);
	size_t bytes = policy_bare(NULL, 0, p);
	struct policy_line *lines;

	s->trailer = (struct sel_trailer){
		.magic = TRAILER_MAGIC,
		.spare_line = form->lines,
		.spare_count = classes * set_lines(p),
		.text_bytes = (uint32_t)bytes,
	};
	s->trailer.text_line = s->trailer.spare_line + s->trailer.spare_count;
	s->lines = s->trailer.text_line + (uint32_t)((bytes + 63) / 64) + 1;
	lines = calloc(s->lines, sizeof(*lines));
	if (!lines)
		return NULL;
	memcpy(lines, form, form->lines * sizeof(*lines));
	policy_bare(lines + s->trailer.text_line, bytes, p);
	memcpy(lines + s->lines - 1, &s->trailer, sizeof(s->trailer));
	return lines;
}

static int map_fill(struct sel_slot *s, const struct policy_line *lines)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	uint32_t *keys = malloc(s->lines * sizeof(*keys)), count = s->lines;
	int rc = keys ? 0 : -ENOMEM;

	s->map = rc ? -1
		    : bpf_map_create(BPF_MAP_TYPE_ARRAY, "ztcp_form", sizeof(uint32_t),
				     sizeof(*lines), s->lines, &opts);
	if (!rc && s->map < 0)
		rc = -errno;
	for (uint32_t i = 0; !rc && i < s->lines; i++)
		keys[i] = i;
	if (!rc && bpf_map_update_batch(s->map, keys, lines, &count, NULL))
		rc = -errno;
	free(keys);
	return rc;
}

/* A policy's map, not in force yet. */
static int slot_make(struct selector *sel, uint32_t number, const struct policy *p,
		     const uint8_t *bpf_slot, uint32_t classes, struct sel_slot *s)
{
	struct policy_line *lines;
	struct policy_form_head *head;
	int rc = generation_next(sel, &s->generation);

	lines = rc ? NULL : lines_make(p, classes, s);
	s->policy = lines ? bare_copy(p) : NULL;
	if (!s->policy) {
		free(lines);
		return rc ? rc : -ENOMEM;
	}
	head = (struct policy_form_head *)lines;
	head->generation = s->generation;
	memcpy(head->bpf_slot, bpf_slot, sizeof(head->bpf_slot));
	memcpy(s->bpf_slot, bpf_slot, sizeof(s->bpf_slot));
	s->needs = head->needs;
	s->sets = head->sets;
	hits_keep(&sel->slot[number], p, lines);
	rc = map_fill(s, lines);
	free(lines);
	return rc ? rc : sel_kinds_enter(sel, number, s);
}

static bool slot_is(const struct sel_slot *s, const struct policy *p, const uint8_t *bpf_slot)
{
	struct policy *bare;
	bool same;

	if (!s->policy || s->trailer.text_bytes != policy_bare(NULL, 0, p) ||
	    memcmp(s->bpf_slot, bpf_slot, sizeof(s->bpf_slot)))
		return false;
	bare = bare_copy(p);
	same = bare && !memcmp(bare, s->policy, s->trailer.text_bytes);
	free(bare);
	return same;
}

static int slot_find(const struct selector *sel, uint64_t netns, uint32_t *slot, bool *fresh)
{
	*fresh = false;
	*slot = 0;
	if (!netns)
		return 0;
	if (!bpf_map_lookup_elem(sel->map[SEL_MAP_SLOTS], &netns, slot) && *slot != SEL_CLOSED)
		return 0;
	*fresh = true;
	for (*slot = 1; *slot < SEL_SLOTS; (*slot)++)
		if (!sel->slot[*slot].policy)
			return 0;
	return -ENOSPC;
}

/* It has no policy, or its policy lies in slot 0: nothing says that it is closed. */
static int opened(struct selector *sel, uint64_t netns)
{
	return bpf_map_delete_elem(sel->map[SEL_MAP_SLOTS], &netns) && errno != ENOENT ? -errno : 0;
}

static int policy_drop(struct selector *sel, uint64_t netns)
{
	uint32_t slot, generation;
	bool fresh;
	int rc = slot_find(sel, netns, &slot, &fresh);

	if (rc || fresh || !sel->slot[slot].policy)
		return opened(sel, netns);
	rc = generation_next(sel, &generation);
	if (netns)
		rc = opened(sel, netns);
	if (bpf_map_delete_elem(sel->map[SEL_MAP_FORMS], &slot) && errno != ENOENT)
		rc = -errno;
	sel_slot_free(&sel->slot[slot]);
	return rc;
}

static int policy_put(struct selector *sel, uint64_t netns, const struct policy *p)
{
	struct sel_slot made = { .map = -1 };
	uint8_t bpf_slot[POLICY_BPF_MAX];
	int rc, missing = names_find(sel, p, bpf_slot);
	uint32_t slot;
	bool fresh;

	rc = slot_find(sel, netns, &slot, &fresh);
	if (rc)
		return rc;
	if (slot_is(&sel->slot[slot], p, bpf_slot))
		return missing;
	rc = slot_make(sel, slot, p, bpf_slot, CLASSES_AT_FIRST, &made);
	if (!rc && bpf_map_update_elem(sel->map[SEL_MAP_FORMS], &slot, &made.map, BPF_ANY))
		rc = -errno;
	if (!rc && fresh && bpf_map_update_elem(sel->map[SEL_MAP_SLOTS], &netns, &slot, BPF_ANY))
		rc = -errno;
	if (!rc && !netns)
		rc = opened(sel, 0);
	if (rc) {
		sel_slot_free(&made);
		return rc;
	}
	sel_slot_free(&sel->slot[slot]);
	sel->slot[slot] = made;
	return missing;
}

int selector_policy_close(struct selector *sel, uint64_t netns, const char *why)
{
	uint32_t slot, closed = SEL_CLOSED;
	struct sel_wrong wrong = { 0 };
	bool fresh;
	int rc;

	if (!sel)
		return -EOPNOTSUPP;
	snprintf(wrong.text, sizeof(wrong.text), "%s", why);
	sel_lock(sel);
	rc = sel_slots_fresh(sel);
	if (!rc && bpf_map_update_elem(sel->map[SEL_MAP_WRONGS], &netns, &wrong, BPF_ANY))
		rc = -errno;
	if (!rc && slot_find(sel, netns, &slot, &fresh))
		fresh = true; /* no slot is free */
	if (!rc && (netns ? !fresh : !!sel->slot[0].policy))
		rc = -EEXIST;
	if (!rc && bpf_map_update_elem(sel->map[SEL_MAP_SLOTS], &netns, &closed, BPF_ANY))
		rc = -errno;
	sel_unlock(sel);
	return rc;
}

int selector_policy_set(struct selector *sel, uint64_t netns, const struct policy *p)
{
	int rc;

	if (!sel)
		return -EOPNOTSUPP;
	sel_lock(sel);
	rc = sel_slots_fresh(sel);
	if (!rc)
		rc = p ? policy_put(sel, netns, p) : policy_drop(sel, netns);
	if (!rc || rc == -ENOENT) /* in force, with a match that is not loaded */
		bpf_map_delete_elem(sel->map[SEL_MAP_WRONGS], &netns);
	sel_unlock(sel);
	return rc;
}

int selector_policies_keep(struct selector *sel, bool (*wanted)(void *arg, uint64_t netns),
			   void *arg)
{
	uint64_t gone[SEL_NAMESPACES], key, *from = NULL;
	int rc, n = 0;

	if (!sel)
		return -EOPNOTSUPP;
	sel_lock(sel);
	rc = sel_slots_fresh(sel);
	while (!rc && n < SEL_NAMESPACES &&
	       !bpf_map_get_next_key(sel->map[SEL_MAP_SLOTS], from, &key)) {
		if (key && !wanted(arg, key))
			gone[n++] = key;
		from = &key;
	}
	for (int i = 0; !rc && i < n; i++) {
		bpf_map_delete_elem(sel->map[SEL_MAP_WRONGS], &gone[i]);
		rc = policy_drop(sel, gone[i]);
	}
	sel_unlock(sel);
	return rc ? rc : n;
}

/* A policy from a bare one: compiled again. */
static struct policy *finished(const struct policy *bare)
{
	void *scratch = malloc(policy_finish_scratch(bare));
	size_t need = scratch ? policy_finish(NULL, 0, bare, scratch) : 0;
	struct policy *p = need ? malloc(need) : NULL;

	if (p)
		policy_finish(p, need, bare, scratch);
	free(scratch);
	return p;
}

int sel_slot_again(struct selector *sel, uint32_t slot, uint32_t classes)
{
	struct sel_slot made = { .map = -1 };
	struct policy *p = finished(sel->slot[slot].policy);
	int rc = p ? slot_make(sel, slot, p, sel->slot[slot].bpf_slot, classes, &made) : -ENOMEM;

	if (!rc && bpf_map_update_elem(sel->map[SEL_MAP_FORMS], &slot, &made.map, BPF_ANY))
		rc = -errno;
	free(p);
	if (rc) {
		sel_slot_free(&made);
		return rc;
	}
	sel_slot_free(&sel->slot[slot]);
	sel->slot[slot] = made;
	return 0;
}

int sel_policies_again(struct selector *sel)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < SEL_SLOTS; i++) {
		uint64_t netns;
		struct policy *p;

		if (!sel->slot[i].policy || !policy_bpf_count(sel->slot[i].policy) ||
		    sel_slot_netns(sel, i, &netns))
			continue;
		p = finished(sel->slot[i].policy);
		rc = p ? policy_put(sel, netns, p) : -ENOMEM;
		if (rc == -ENOENT) /* a name that is not loaded is no fault of this change */
			rc = 0;
		free(p);
	}
	return rc;
}

/* ---- counters ---- */

static void rules_tell(const struct sel_slot *s, uint64_t netns,
		       void (*f)(void *arg, const struct selector_rule *rule), void *arg)
{
	char text[RULE_TEXT];
	struct selector_rule r = { .netns = netns, .text = text };

	for (uint32_t i = 0; i < policy_rules(s->policy); i++) {
		const struct policy_rule *rule = policy_rule_get(s->policy, i);

		r.rule = i;
		r.line = rule->line;
		r.file = policy_file_name(s->policy, rule->file);
		policy_rule_format(s->policy, i, text, sizeof(text));
		if (!hits_read(s, i, &r.hits))
			f(arg, &r);
	}
	r.rule = UINT32_MAX;
	r.line = 0;
	r.file = "";
	snprintf(text, sizeof(text), "lift");
	if (!hits_read(s, UINT32_MAX, &r.hits))
		f(arg, &r);
}

int selector_each_rule(struct selector *sel, void (*f)(void *arg, const struct selector_rule *rule),
		       void *arg)
{
	if (!sel)
		return -EOPNOTSUPP;
	for (uint32_t i = 0; i < SEL_SLOTS; i++) {
		struct sel_slot s = { .map = -1 };
		uint64_t netns;
		int rc = slot_read(sel, i, &s);

		if (!rc && !sel_slot_netns(sel, i, &netns))
			rules_tell(&s, netns, f, arg);
		sel_slot_free(&s);
		if (rc && rc != -ENOENT)
			return rc;
	}
	return 0;
}

int selector_each_wrong(struct selector *sel,
			void (*f)(void *arg, const struct selector_wrong *wrong), void *arg)
{
	uint64_t key, *from = NULL;

	if (!sel)
		return -EOPNOTSUPP;
	while (!bpf_map_get_next_key(sel->map[SEL_MAP_WRONGS], from, &key)) {
		struct sel_wrong text;
		uint32_t slot = 0;

		from = &key;
		if (bpf_map_lookup_elem(sel->map[SEL_MAP_WRONGS], &key, &text))
			continue;
		text.text[sizeof(text.text) - 1] = '\0';
		f(arg,
		  &(struct selector_wrong){
			  .netns = key,
			  .text = text.text,
			  .closed = !bpf_map_lookup_elem(sel->map[SEL_MAP_SLOTS], &key, &slot) &&
				    slot == SEL_CLOSED });
	}
	return 0;
}
