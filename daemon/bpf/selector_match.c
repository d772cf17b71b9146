/* selector_match.c - a user's own match functions
 *
 * Theory of operation: the selector has a number of empty global functions, ztcp_match_0 and so on. A user's function is
 * an extension (freplace) of one of them: the kernel verifies it against the signature and for the helpers of each
 * program it goes into, and jumps to it instead. One more function than names is kept free: a new version is loaded,
 * verified and attached there; then the policies are set again with the new number, each by one update; then the
 * old one goes. What is refused was never attached, and the verifier's words are given back.
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

/* The programs that judge, each with its own copy of the functions. */
static const struct {
	enum sel_prog prog;
	const char *suffix;
} target[] = { { SEL_PROG_ANSWER, "answer" }, { SEL_PROG_ATTEST, "attest" } };

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

/* Number of the function that has a name ("": that is free); SEL_MATCHES: none. */
static uint32_t name_find(const struct selector *sel, const char *name)
{
	struct sel_match m;

	for (uint32_t i = 0; i < SEL_MATCHES; i++)
		if (!name_get(sel, i, &m) && !strncmp(m.name, name, sizeof(m.name)))
			return i;
	return SEL_MATCHES;
}

uint8_t sel_match_slot(const struct selector *sel, const char *name)
{
	uint32_t i = name_find(sel, name);

	return i == SEL_MATCHES ? 0xff : (uint8_t)i;
}

static unsigned names_count(const struct selector *sel)
{
	struct sel_match m;
	unsigned n = 0;

	for (uint32_t i = 0; i < SEL_MATCHES; i++)
		n += !name_get(sel, i, &m) && *m.name;
	return n;
}

static void pin_path(const struct selector *sel, uint32_t i, unsigned t, char *path, size_t size)
{
	snprintf(path, size, "%s/match_%u_%s", sel->dir, i, target[t].suffix);
}

static void match_remove(const struct selector *sel, uint32_t i)
{
	char path[PATH_MAX];

	for (unsigned t = 0; t < TARGETS; t++) {
		pin_path(sel, i, t, path, sizeof(path));
		unlink(path);
	}
	name_set(sel, i, "");
}

static int say(char *log, size_t len, int rc, const char *words)
{
	if (len)
		snprintf(log, len, "%s", words);
	return rc;
}

/* Its one program, which must be ztcp_match. */
static struct bpf_program *program_find(struct bpf_object *obj, char *log, size_t len)
{
	struct bpf_program *p = bpf_object__next_program(obj, NULL);

	if (!p || bpf_object__next_program(obj, p) || strcmp(bpf_program__name(p), "ztcp_match")) {
		say(log, len, 0,
		    "expected one function in the object, ztcp_match (see ztcp_match.h)");
		return NULL;
	}
	return p;
}

/* Load one extension. @link: set to its link, pinned. */
static int extension_load(const struct selector *sel, struct bpf_object *obj, uint32_t i,
			  unsigned t, char *verifier, char *log, size_t len)
{
	struct bpf_program *p = program_find(obj, log, len);
	struct bpf_link *link;
	char name[32], path[PATH_MAX];
	int rc;

	if (!p)
		return -EINVAL;
	snprintf(name, sizeof(name), "ztcp_match_%u", i);
	bpf_program__set_type(p, BPF_PROG_TYPE_EXT);
	bpf_program__set_log_buf(p, verifier, VERIFIER_BYTES);
	bpf_program__set_log_level(p, 1);
	rc = bpf_program__set_attach_target(p, sel->prog[target[t].prog], name);
	if (!rc)
		rc = bpf_object__load(obj);
	if (rc)
		return say(log, len, rc, *verifier ? verifier : strerror(-rc));
	link = bpf_program__attach_freplace(p, 0, NULL);
	if (!link)
		return say(log, len, -errno, strerror(errno));
	pin_path(sel, i, t, path, sizeof(path));
	rc = bpf_link__pin(link, path);
	bpf_link__destroy(link);
	return rc ? say(log, len, rc, "its link cannot be pinned") : 0;
}

static int match_load(const struct selector *sel, uint32_t i, const char *file, char *verifier,
		      char *log, size_t len)
{
	for (unsigned t = 0; t < TARGETS; t++) {
		struct bpf_object *obj;
		int rc;

		if (sel->prog[target[t].prog] < 0)
			continue;
		obj = bpf_object__open_file(file, NULL);
		if (!obj)
			return say(log, len, -errno, "not an eBPF object that can be read");
		*verifier = '\0';
		rc = extension_load(sel, obj, i, t, verifier, log, len);
		bpf_object__close(obj);
		if (rc)
			return rc;
	}
	return 0;
}

static int match_put(struct selector *sel, const char *name, const char *file, char *verifier,
		     char *log, size_t len)
{
	uint32_t old = name_find(sel, name), i = name_find(sel, "");
	int rc;

	if (i == SEL_MATCHES || (old == SEL_MATCHES && names_count(sel) >= POLICY_BPF_MAX))
		return say(log, len, -ENOSPC, "eight matches are loaded already");
	rc = match_load(sel, i, file, verifier, log, len);
	if (rc) {
		match_remove(sel, i);
		return rc;
	}
	if (old != SEL_MATCHES)
		name_set(sel, old, "-"); /* no rule can have that name */
	rc = name_set(sel, i, name);
	if (!rc)
		rc = sel_policies_again(sel);
	if (old != SEL_MATCHES)
		match_remove(sel, old);
	return rc ? say(log, len, rc, strerror(-rc)) : 0;
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
	rc = sel_slots_fresh(sel);
	if (!rc)
		rc = match_put(sel, name, file, verifier, log, len);
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
	rc = i == SEL_MATCHES ? -ENOENT : sel_slots_fresh(sel);
	if (!rc) {
		name_set(sel, i, "-");
		rc = sel_policies_again(sel);
		match_remove(sel, i);
	}
	sel_unlock(sel);
	return rc;
}
