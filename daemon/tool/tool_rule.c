/* tool_rule.c - ztcp rules | rule load | rule unload | policy load: the policies that the selector has in force */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bpf/pin_dir.h"
#include "daemon/bpf/selector.h"
#include "daemon/policy/policy_load.h"
#include "daemon/tool/tool.h"
#include "daemon/tool/tool_json.h"
#include "daemon/tool/tool_netns.h"
#include "daemon/tool/tool_rule.h"

enum { LOG_BYTES = 1 << 16 };

static struct selector *selector_of(const char *pin_dir)
{
	struct selector *sel = NULL;
	int rc = selector_attach(&sel, pin_dir);

	if (rc == -ENOENT)
		tool_say("no selector is loaded: is ztcpd running?");
	else if (rc == -EPERM || rc == -EACCES)
		tool_say("the selector can be read by root alone");
	else if (rc == -EPROTO)
		tool_say("the selector that is loaded is of another version");
	else if (rc)
		tool_say("the selector: %s", pin_dir_error(rc));
	return sel;
}

/* ---- rules ---- */

struct listing {
	bool json;
	uint64_t netns;
	unsigned count;
};

static void netns_json(uint64_t netns)
{
	const char *name = tool_netns_name(netns);

	tool_json_number("netns", netns);
	if (name)
		tool_json_text("netns_name", name);
}

/* By its name, where it has one. */
static void netns_print(uint64_t netns, const char *more)
{
	const char *name = tool_netns_name(netns);

	if (!netns)
		printf("all other network namespaces%s\n", more);
	else if (name)
		printf("network namespace %s%s\n", name, more);
	else
		printf("network namespace %llu%s\n", (unsigned long long)netns, more);
}

static void rule_json(const struct selector_rule *r)
{
	tool_json_open(NULL, '{');
	netns_json(r->netns);
	tool_json_signed("rule", r->rule == UINT32_MAX ? -1 : (long long)r->rule);
	tool_json_text("file", r->file);
	tool_json_number("line", r->line);
	tool_json_text("text", r->text);
	tool_json_number("connections", r->hits);
	tool_json_close('}');
}

static void wrong_print(void *arg, const struct selector_wrong *w)
{
	struct listing *l = arg;

	l->count++;
	if (l->json) {
		tool_json_open(NULL, '{');
		netns_json(w->netns);
		tool_json_text("wrong", w->text);
		tool_json_bool("closed", w->closed);
		tool_json_close('}');
		return;
	}
	netns_print(w->netns, ": wrong policy");
	printf("%12s  %s; %s\n", "-", w->text,
	       w->closed ? "nothing is lifted" : "the one before is in force");
}

static void rule_print(void *arg, const struct selector_rule *r)
{
	struct listing *l = arg;

	if (l->json) {
		rule_json(r);
		return;
	}
	if (!l->count++ || r->netns != l->netns)
		netns_print(r->netns, "");
	l->netns = r->netns;
	if (r->rule == UINT32_MAX)
		printf("%12llu  no rule matches: %s\n", (unsigned long long)r->hits, r->text);
	else
		printf("%12llu  %s:%u: %s\n", (unsigned long long)r->hits, r->file, r->line,
		       r->text);
}

int tool_rules(int argc, char **argv)
{
	struct listing l = { 0 };
	const char *pin = NULL;
	struct selector *sel;
	int opt, rc;

	optind = 1;
	while ((opt = getopt(argc, argv, "+jp:")) != -1) {
		if (opt == 'j')
			l.json = true;
		else if (opt == 'p')
			pin = optarg;
		else
			return TOOL_USAGE;
	}
	if (optind != argc)
		return tool_usage("usage: ztcp rules [-j] [-p PIN_FOLDER]");
	sel = selector_of(pin);
	if (!sel)
		return TOOL_FAILED;
	if (l.json)
		tool_json_open(NULL, '[');
	rc = selector_each_rule(sel, rule_print, &l);
	if (!rc)
		rc = selector_each_wrong(sel, wrong_print, &l);
	if (l.json) {
		tool_json_close(']');
		putchar('\n');
	}
	if (rc)
		tool_say("the rules in force: %s", strerror(-rc));
	else if (!l.count && !l.json)
		puts("no policy file: every connection of a user within a network namespace may be lifted, no other");
	selector_close(sel);
	return rc ? TOOL_FAILED : TOOL_OK;
}

/* ---- rule load, unload ---- */

/* The name of a match whose file is my.bpf.o: my. */
static void name_of_file(const char *file, char *name, size_t size)
{
	const char *slash = strrchr(file, '/');

	snprintf(name, size, "%s", slash ? slash + 1 : file);
	name[strcspn(name, ".")] = '\0';
}

/* @loaded: or unloaded. @refused: why it was not; NULL: it was. */
static void match_json(const char *name, bool loaded, const char *refused)
{
	tool_json_open(NULL, '{');
	tool_json_text("bpf", name);
	tool_json_bool("loaded", loaded);
	if (refused)
		tool_json_text("refused", refused);
	tool_json_close('}');
	putchar('\n');
}

static int rule_load(struct selector *sel, const char *file, const char *name, bool json)
{
	static char log[LOG_BYTES];
	char own[64];
	int rc;

	name_of_file(file, own, sizeof(own));
	name = name ? name : own;
	rc = selector_match_load(sel, name, file, log, sizeof(log));
	if (json) {
		match_json(name, !rc, rc ? log : NULL);
	} else if (rc) {
		tool_say("%s is refused:", file);
		fprintf(stderr, "%s%s", log, *log && log[strlen(log) - 1] == '\n' ? "" : "\n");
	} else {
		printf("bpf=%s\n", name);
	}
	return rc ? TOOL_FAILED : TOOL_OK;
}

static int rule_unload(struct selector *sel, const char *name, bool json)
{
	int rc = selector_match_unload(sel, name);

	if (!rc && json)
		match_json(name, false, NULL);
	if (!rc)
		return TOOL_OK;
	tool_say("%s: %s", name, rc == -ENOENT ? "no match of that name is loaded" : strerror(-rc));
	return TOOL_FAILED;
}

int tool_rule(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *pin = NULL;
	bool load = !strcmp(what, "load"), json = false;
	struct selector *sel;
	int opt, left, status;

	optind = 2;
	while (argc > 1 && (opt = getopt(argc, argv, "+jp:")) != -1) {
		if (opt == 'j')
			json = true;
		else if (opt == 'p')
			pin = optarg;
		else
			return TOOL_USAGE;
	}
	left = argc - optind;
	if (!(load && (left == 1 || left == 2)) && !(!strcmp(what, "unload") && left == 1))
		return tool_usage(
			"usage: ztcp rule load [-j] [-p PIN_FOLDER] FILE.bpf.o [NAME], or ztcp rule unload [-j] [-p PIN_FOLDER] NAME");
	sel = selector_of(pin);
	if (!sel)
		return TOOL_FAILED;
	status = load ? rule_load(sel, argv[optind], left == 2 ? argv[optind + 1] : NULL, json)
		      : rule_unload(sel, argv[optind], json);
	selector_close(sel);
	return status;
}

/* ---- policy load ---- */

static void loaded_print(const char *file, unsigned rules, bool json)
{
	if (!json) {
		printf("%s: %u rule%s in force\n", file, rules, rules == 1 ? "" : "s");
		return;
	}
	tool_json_open(NULL, '{');
	tool_json_text("file", file);
	tool_json_number("rules", rules);
	tool_json_close('}');
	putchar('\n');
}

int tool_policy_set(const struct policy *p, const char *file, const char *netns, const char *pin,
		    bool json)
{
	uint64_t cookie = 0;
	struct selector *sel = selector_of(pin);
	int rc;

	if (sel && netns) {
		cookie = tool_netns_cookie(netns);
		if (!cookie)
			tool_say("%s: no such network namespace, or no right to enter it", netns);
	}
	if (!sel || (netns && !cookie)) {
		selector_close(sel);
		return TOOL_FAILED;
	}
	rc = selector_policy_set(sel, cookie, p);
	if (rc == -ENOENT)
		tool_say("%s: a bpf= match of it is not loaded, and matches nothing", file);
	else if (rc)
		tool_say("%s: %s", file, strerror(-rc));
	else
		loaded_print(file, policy_rules(p), json);
	selector_close(sel);
	return rc ? TOOL_FAILED : TOOL_OK;
}
