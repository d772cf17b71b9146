/* selector_match.c - a user's own match functions
 *
 * Theory of operation: a match is two programs made of one function (ztcp_match.h), one for each hook that judges, each in
 * an array of programs under the match's number. A new one is loaded, so verified, for both hooks before it is entered;
 * what is refused was never in force, and the verifier's words are given back. One update replaces the one before. A
 * name's number goes into the policies that use it: they are set again when a name comes or goes.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bpf/selector_int.h"

enum { VERIFIER_BYTES = 1 << 20 };

/* The hooks that judge, the program for each, and where it is entered. */
static const struct {
	enum sel_prog hook;
	enum sel_map map;
	const char *program;
} target[] = { { SEL_PROG_ANSWER, SEL_MAP_ANSWERS, "ztcp_match_answer" },
	       { SEL_PROG_ATTEST, SEL_MAP_ATTESTS, "ztcp_match_attest" } };

#define TARGETS (sizeof(target) / sizeof(target[0]))

static int name_get(const struct selector *sel, uint32_t i, struct sel_match *m)
{
	return bpf_map_lookup_elem(sel->map[SEL_MAP_MATCHES], &i, m) ? -errno : 0;
}

static int name_set(const struct selector *sel, uint32_t i, const char *name)
{
	struct sel_match m = { "" };

	snprintf(m.name, sizeof(m.name), "%s", name);
	return bpf_map_update_elem(sel->map[SEL_MAP_MATCHES], &i, &m, BPF_ANY) ? -errno : 0;
}

/* Number of the match that has a name ("": that is free); POLICY_BPF_MAX: none. */
static uint32_t name_find(const struct selector *sel, const char *name)
{
	struct sel_match m;

	for (uint32_t i = 0; i < POLICY_BPF_MAX; i++)
		if (!name_get(sel, i, &m) && !strncmp(m.name, name, sizeof(m.name)))
			return i;
	return POLICY_BPF_MAX;
}

uint8_t sel_match_slot(const struct selector *sel, const char *name)
{
	uint32_t i = name_find(sel, name);

	return i == POLICY_BPF_MAX ? 0xff : (uint8_t)i;
}

static void match_remove(const struct selector *sel, uint32_t i)
{
	for (unsigned t = 0; t < TARGETS; t++)
		bpf_map_delete_elem(sel->map[target[t].map], &i);
}

static int say(char *log, size_t len, int rc, const char *words)
{
	if (len)
		snprintf(log, len, "%s", words);
	return rc;
}

/* Where the selector writes the question, and nothing but the two programs of ZTCP_MATCH(). */
static int object_check(const struct selector *sel, struct bpf_object *obj)
{
	struct bpf_map *asked = bpf_object__find_map_by_name(obj, "ztcp_asked");
	struct bpf_program *p;
	unsigned programs = 0;

	bpf_object__for_each_program(p, obj) programs++;
	for (unsigned t = 0; t < TARGETS; t++) {
		p = bpf_object__find_program_by_name(obj, target[t].program);
		if (!p)
			return -EINVAL;
		bpf_program__set_autoload(p, sel->prog[target[t].hook] >= 0);
	}
	return !asked || programs != TARGETS ? -EINVAL
					     : bpf_map__reuse_fd(asked, sel->map[SEL_MAP_ASKED]);
}

/* The verifier's reason stands at the end of what it says. */
static int say_end(char *log, size_t len, int rc, const char *words)
{
	size_t n = strlen(words);
	const char *line;

	if (n >= len && len) {
		words += n - len + 1;
		line = strchr(words, '\n');
		words = line ? line + 1 : words;
	}
	return say(log, len, rc, words);
}

static void log_use(struct bpf_object *obj, char *verifier)
{
	struct bpf_program *p = NULL;

	*verifier = '\0';
	while ((p = bpf_object__next_program(obj, p)))
		bpf_program__set_log_buf(p, verifier, VERIFIER_BYTES);
}

/* Put what is loaded into force. */
static int match_enter(const struct selector *sel, struct bpf_object *obj, uint32_t i)
{
	for (unsigned t = 0; t < TARGETS; t++) {
		int fd = bpf_program__fd(bpf_object__find_program_by_name(obj, target[t].program));

		if (sel->prog[target[t].hook] >= 0 &&
		    bpf_map_update_elem(sel->map[target[t].map], &i, &fd, BPF_ANY))
			return -errno;
	}
	return 0;
}

static int match_put(struct selector *sel, const char *name, struct bpf_object *obj, char *log,
		     size_t len)
{
	uint32_t old = name_find(sel, name);
	uint32_t i = old == POLICY_BPF_MAX ? name_find(sel, "") : old;
	int rc;

	if (i == POLICY_BPF_MAX)
		return say(log, len, -ENOSPC, "eight matches are loaded already");
	rc = match_enter(sel, obj, i);
	if (!rc && old == POLICY_BPF_MAX)
		rc = name_set(sel, i, name);
	if (!rc && old == POLICY_BPF_MAX)
		rc = sel_policies_again(sel);
	if (rc && old == POLICY_BPF_MAX)
		match_remove(sel, i);
	return rc ? say(log, len, rc, strerror(-rc)) : 0;
}

static int match_load(struct selector *sel, const char *name, const char *file, char *verifier,
		      char *log, size_t len)
{
	struct bpf_object *obj = bpf_object__open_file(file, NULL);
	int rc;

	if (!obj)
		return say(log, len, -errno,
			   errno == ENOENT || errno == EACCES
				   ? strerror(errno)
				   : "not an eBPF object that can be read");
	log_use(obj, verifier);
	rc = object_check(sel, obj);
	if (rc) {
		say(log, len, rc,
		    "expected one ZTCP_MATCH() and no other program in it (see ztcp_match.h)");
	} else {
		rc = bpf_object__load(obj);
		if (rc)
			say_end(log, len, rc, *verifier ? verifier : strerror(-rc));
	}
	if (!rc)
		rc = sel_slots_fresh(sel);
	if (!rc)
		rc = match_put(sel, name, obj, log, len);
	bpf_object__close(obj);
	return rc;
}

int selector_match_load(struct selector *sel, const char *name, const char *file, char *log,
			size_t len)
{
	char *verifier;
	int rc;

	if (!*sel->dir)
		return say(log, len, -EOPNOTSUPP, "nothing is pinned: a match would not last");
	if (!*name || strlen(name) >= sizeof(((struct sel_match *)0)->name) ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") !=
		    strlen(name) ||
	    *name == '-')
		return say(log, len, -EINVAL, "expected a name of letters, digits, '_', '-', '.'");
	verifier = malloc(VERIFIER_BYTES);
	if (!verifier)
		return say(log, len, -ENOMEM, strerror(ENOMEM));
	sel_lock(sel);
	rc = match_load(sel, name, file, verifier, log, len);
	sel_unlock(sel);
	free(verifier);
	return rc;
}

int selector_match_unload(struct selector *sel, const char *name)
{
	uint32_t i;
	int rc;

	if (!*name)
		return -ENOENT;
	sel_lock(sel);
	i = name_find(sel, name);
	rc = i == POLICY_BPF_MAX ? -ENOENT : sel_slots_fresh(sel);
	if (!rc) {
		match_remove(sel, i);
		rc = name_set(sel, i, "");
	}
	if (!rc)
		rc = sel_policies_again(sel);
	sel_unlock(sel);
	return rc;
}
