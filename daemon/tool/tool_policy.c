/* tool_policy.c - ztcp policy check|explain|load: is a policy right, and which rule decides
 *
 * The loader and the matcher are those of the library, so that what is said here is what it does.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/policy/policy_load.h"
#include "daemon/tool/tool.h"
#include "daemon/tool/tool_json.h"
#include "daemon/tool/tool_rule.h"
#include "daemon/tool/tool_proc.h"

static bool json;
static bool verbose;

static int error_print(const struct policy_error *err)
{
	char line[512];

	if (!json) {
		tool_say("%s", policy_error_format(err, line, sizeof(line)));
		return TOOL_FAILED;
	}
	tool_json_open(NULL, '{');
	tool_json_bool("ok", false);
	tool_json_text("file", err->file);
	tool_json_number("line", err->line);
	tool_json_number("column", err->col);
	tool_json_text("expected", err->expected);
	tool_json_text("found", err->found);
	tool_json_close('}');
	putchar('\n');
	return TOOL_FAILED;
}

static void ok_print(const char *file, const char *what, unsigned count)
{
	char many[16];

	snprintf(many, sizeof(many), "%ss", what);
	if (json) {
		tool_json_open(NULL, '{');
		tool_json_bool("ok", true);
		tool_json_text("file", file);
		tool_json_number(many, count);
		tool_json_close('}');
		putchar('\n');
	} else {
		printf("%s: %u %s\n", file, count, count == 1 ? what : many);
	}
}

/* @may_lack: that there is no such file is no error. */
static int check_interfaces(const char *file, bool may_lack)
{
	static struct policy_ifaces all;
	struct policy_error err;
	int rc = policy_ifaces_load(file, &all, &err);

	if (rc == -ENOENT && may_lack)
		return TOOL_OK;
	if (rc)
		return error_print(&err);
	ok_print(file, "interface", all.count);
	return TOOL_OK;
}

/* No file is as right as an empty one, but for the default it must be said: a misspelt name looks the same. */
static void none_print(const char *file)
{
	if (!json) {
		printf("%s: no such file; every connection may be lifted, as by an empty one\n",
		       file);
		return;
	}
	tool_json_open(NULL, '{');
	tool_json_bool("ok", true);
	tool_json_text("file", file);
	tool_json_bool("exists", false);
	tool_json_number("rules", 0);
	tool_json_close('}');
	putchar('\n');
}

/* @may_lack: that there is no such file is no error. */
static int check(const char *file, bool may_lack)
{
	struct policy_error err;
	struct policy *p;
	int rc = policy_load(file, &p, &err);

	if (rc == -ENOENT && may_lack && !err.line) {
		none_print(file);
		return TOOL_OK;
	}
	if (rc)
		return error_print(&err);
	ok_print(file, "rule", policy_rules(p));
	policy_unload(p);
	return TOOL_OK;
}

/* The files of the machine; as JSON, an array of both. */
static int check_usual(void)
{
	int policy, ifaces;

	if (json)
		tool_json_open(NULL, '[');
	policy = check(POLICY_DEFAULT_FILE, true);
	ifaces = check_interfaces(POLICY_IFACES_FILE, true);
	if (json) {
		tool_json_close(']');
		putchar('\n');
	}
	return policy ? policy : ifaces;
}

/* What explain is asked about. */
struct question {
	struct policy_conn conn;
	struct policy_proc proc;
	struct tool_proc_facts facts;
	char netns[POLICY_TEXT_MAX + 1];
	const char *bpf[8];
	unsigned bpfs;
};

static bool bpf_yes(void *arg, const char *name)
{
	const struct question *q = arg;

	for (unsigned i = 0; i < q->bpfs; i++)
		if (!strcmp(q->bpf[i], name))
			return true;
	return false;
}

static bool user_set(struct question *q, const char *value)
{
	struct passwd *pw = getpwnam(value);
	uint64_t n;

	if (!pw && !tool_number(value, UINT32_MAX - 1, &n))
		return false;
	q->proc.uid = pw ? pw->pw_uid : (uint32_t)n;
	return true;
}

static bool group_set(struct question *q, const char *value)
{
	struct group *gr = getgrnam(value);
	uint64_t n;

	if (!gr && !tool_number(value, UINT32_MAX - 1, &n))
		return false;
	q->proc.gid = gr ? gr->gr_gid : (uint32_t)n;
	return true;
}

static bool netns_set(struct question *q, const char *value)
{
	char path[PATH_MAX];
	struct stat st;

	if (tool_number(value, UINT64_MAX, &q->proc.netns_ino))
		return true;
	if (strlen(value) > POLICY_TEXT_MAX || strchr(value, '/'))
		return false;
	snprintf(q->netns, sizeof(q->netns), "%s", value);
	q->proc.netns = q->netns;
	snprintf(path, sizeof(path), "/run/netns/%s", value);
	if (!stat(path, &st))
		q->proc.netns_ino = st.st_ino;
	return true;
}

static bool pid_set(struct question *q, const char *value)
{
	uint64_t pid;

	if (!tool_number(value, INT_MAX, &pid) || tool_proc_facts_read(&q->facts, (int)pid))
		return false;
	q->proc.program = q->facts.program;
	q->proc.cgroup = q->facts.cgroup;
	q->proc.netns_ino = q->facts.netns_ino;
	q->proc.uid = q->facts.uid;
	q->proc.gid = q->facts.gid;
	return true;
}

static bool word_set(struct question *q, const char *word)
{
	const char *value = strchr(word, '=');
	size_t len;

	if (!value || !value[1])
		return false;
	len = (size_t)(value++ - word);
#define KEY(name) (len == strlen(name) && !memcmp(word, name, len))
	if (KEY("role")) {
		q->conn.role = !strcmp(value, "listen") ? POLICY_ROLE_LISTEN : POLICY_ROLE_CONNECT;
		return q->conn.role == POLICY_ROLE_LISTEN || !strcmp(value, "connect");
	}
	if (KEY("local"))
		return !policy_addr_parse(&q->conn.local, value, strlen(value));
	if (KEY("remote"))
		return !policy_addr_parse(&q->conn.remote, value, strlen(value));
	if (KEY("program")) {
		q->proc.program = value;
		return true;
	}
	if (KEY("cgroup")) {
		q->proc.cgroup = value;
		return *value == '/';
	}
	if (KEY("user"))
		return user_set(q, value);
	if (KEY("group"))
		return group_set(q, value);
	if (KEY("netns"))
		return netns_set(q, value);
	if (KEY("pid"))
		return pid_set(q, value);
	if (KEY("bpf") && q->bpfs < sizeof(q->bpf) / sizeof(q->bpf[0])) {
		q->bpf[q->bpfs++] = value;
		return true;
	}
#undef KEY
	return false;
}

static void paths_name(unsigned paths, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s", paths & POLICY_PATH_SHM ? "shm" : "",
		 paths == POLICY_PATH_ALL ? "," : "", paths & POLICY_PATH_STACK ? "stack" : "");
}

/* Why each rule before the one that decides does not match. */
static void others_print(const struct policy *p, const struct question *q,
			 const struct policy_answer *a)
{
	unsigned end = a->rule < 0 ? policy_rules(p) : (unsigned)a->rule;

	for (unsigned i = 0; i < end; i++) {
		const struct policy_rule *r = policy_rule_get(p, i);
		unsigned kind = policy_rule_match(p, i, &q->conn);
		const char *differs = kind == POLICY_M_KINDS ? "role" : policy_match_name(kind);

		if (json) {
			tool_json_open(NULL, '{');
			tool_json_text("file", policy_file_name(p, r->file));
			tool_json_number("line", r->line);
			tool_json_text("differs", differs);
			tool_json_close('}');
		} else {
			printf("%s:%u: %s, but %s= differs\n", policy_file_name(p, r->file),
			       r->line, policy_verdict_name(r->verdict), differs);
		}
	}
}

static void answer_print(const struct policy_answer *a)
{
	char paths[16];

	paths_name(a->paths, paths, sizeof(paths));
	if (a->rule < 0)
		printf("no rule matches: ");
	else
		printf("%s:%u: ", a->file, a->line);
	printf("%s", policy_verdict_name(a->verdict));
	if (a->paths)
		printf(" path=%s", paths);
	if (a->threshold >= 0)
		printf(" threshold=%d", a->threshold);
	putchar('\n');
}

static void answer_json(const struct policy *p, const struct question *q,
			const struct policy_answer *a)
{
	char paths[16];

	paths_name(a->paths, paths, sizeof(paths));
	tool_json_open(NULL, '{');
	tool_json_text("verdict", policy_verdict_name(a->verdict));
	tool_json_text("path", paths);
	tool_json_signed("threshold", a->threshold);
	tool_json_signed("rule", a->rule);
	if (a->rule >= 0) {
		tool_json_text("file", a->file);
		tool_json_number("line", a->line);
	}
	if (verbose) {
		tool_json_open("others", '[');
		others_print(p, q, a);
		tool_json_close(']');
	}
	tool_json_close('}');
	putchar('\n');
}

static int explain(const char *file, char **words)
{
	static struct question q;
	static struct policy_class cls;
	struct policy_error err;
	struct policy_answer a;
	struct policy *p;

	q.proc.uid = geteuid();
	q.proc.gid = getegid();
	q.conn = (struct policy_conn){
		.proc = &q.proc, .role = POLICY_ROLE_CONNECT, .bpf = bpf_yes, .bpf_arg = &q
	};
	for (; *words; words++)
		if (!word_set(&q, *words))
			return tool_usage(
				"'%s': expected role=listen|connect, local=ADDRESS[:PORT], remote=ADDRESS[:PORT], "
				"program=PATH, user=, group=, cgroup=/PATH, netns=, bpf=NAME or pid=PID",
				*words);
	if (policy_load(file, &p, &err))
		return error_print(&err);
	policy_class_read(p, &q.proc, &cls);
	a = policy_match(p, &cls, &q.conn);
	if (json) {
		answer_json(p, &q, &a);
	} else {
		if (verbose)
			others_print(p, &q, &a);
		answer_print(&a);
	}
	policy_unload(p);
	return TOOL_OK;
}

static int load(const char *file, const char *netns, const char *pin)
{
	struct policy_error err;
	struct policy *p;
	int status;

	if (policy_load(file, &p, &err))
		return error_print(&err);
	status = tool_policy_set(p, file, netns, pin, json);
	policy_unload(p);
	return status;
}

int tool_policy(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *netns = NULL, *pin = NULL;
	bool interfaces = false;
	int opt;

	optind = 2;
	while ((opt = getopt(argc, argv, "+ijvn:p:")) != -1) {
		if (opt == 'j')
			json = true;
		else if (opt == 'i')
			interfaces = true;
		else if (opt == 'v')
			verbose = true;
		else if (opt == 'n')
			netns = optarg;
		else if (opt == 'p')
			pin = optarg;
		else
			return TOOL_USAGE;
	}
	if (!strcmp(what, "check") && interfaces && argc - optind <= 1)
		return check_interfaces(optind < argc ? argv[optind] : POLICY_IFACES_FILE, false);
	if (!strcmp(what, "check") && argc - optind == 1)
		return check(argv[optind], false);
	if (!strcmp(what, "check") && argc == optind)
		return check_usual();
	if (!strcmp(what, "explain") && optind < argc)
		return explain(argv[optind], argv + optind + 1);
	if (!strcmp(what, "load") && argc - optind <= 1)
		return load(optind < argc ? argv[optind] : POLICY_DEFAULT_FILE, netns, pin);
	return tool_usage(
		"usage: ztcp policy check [-j] [-i] [FILE], ztcp policy explain [-j] [-v] FILE KEY=VALUE..., or "
		"ztcp policy load [-j] [-n NETNS] [-p PIN_FOLDER] [FILE]");
}
