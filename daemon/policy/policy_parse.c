/* policy_parse.c - from text to rules
 *
 * Theory of operation: a line is blank, a comment, an include, or a rule: a verdict and then key=value words.
 * A word ends at a blank; double quotes keep blanks and commas (\" and \\ inside them). A comma
 * separates values of a match. The parser works on one line at a time and remembers where each value
 * began, so that an error names the column. The first error ends the parse.
 */
#include <errno.h>
#include <string.h>

#include "daemon/policy/policy.h"
#include "daemon/policy/policy_store.h"
#include "daemon/policy/policy_value.h"

struct parser {
	struct policy *p;
	const struct policy_env *env;
	struct policy_error *err;
	unsigned depth;
	uint32_t file;
	unsigned line_no;
	const char *line; /* start of the line */
	const char *end;  /* its end */
	const char *at;   /* next byte to read */
};

/* A rule being read: what its keys have said so far. */
struct draft {
	struct policy_rule rule;
	unsigned keys_seen;
};

struct key {
	const char *name;
	int (*read)(struct parser *ps, struct draft *d, const char *value, const char *at);
	int kind; /* enum policy_match_kind; -1: no match but an option */
};

static void text_set(char *out, size_t size, const char *s, size_t len)
{
	if (len >= size)
		len = size - 1;
	memcpy(out, s, len);
	out[len] = '\0';
}

/* What stands at @at: a word in quotes, made printable. */
static void found_set(const struct parser *ps, const char *at, char *found, size_t size)
{
	const char *end = at;
	size_t len;

	if (at == ps->end || *at == ' ' || *at == '\t') {
		const char *words = at == ps->end ? "the end of the line" : "a blank";

		text_set(found, size, words, strlen(words));
		return;
	}
	while (end < ps->end && *end != ' ' && *end != '\t')
		end++;
	found[0] = '\'';
	text_set(found + 1, size - 2, at, (size_t)(end - at));
	len = strlen(found);
	found[len] = '\'';
	found[len + 1] = '\0';
	for (char *c = found; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

static int fail(struct parser *ps, const char *at, int errnum, const char *expected)
{
	struct policy_error *e = ps->err;
	const char *name = policy_file_name(ps->p, ps->file);

	memset(e, 0, sizeof(*e));
	text_set(e->file, sizeof(e->file), name, strlen(name));
	text_set(e->expected, sizeof(e->expected), expected, strlen(expected));
	e->line = ps->line_no;
	e->col = (unsigned)(at - ps->line) + 1;
	e->errnum = errnum;
	found_set(ps, at, e->found, sizeof(e->found));
	return errnum;
}

static int wrong(struct parser *ps, const char *at, const char *expected)
{
	return fail(ps, at, -EINVAL, expected);
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Return: whether a word follows. */
static bool blanks_skip(struct parser *ps)
{
	while (ps->at < ps->end && blank(*ps->at))
		ps->at++;
	return ps->at < ps->end && *ps->at != '#';
}

/* Return: the length of the letters and dashes at ps->at. */
static size_t name_length(const struct parser *ps)
{
	const char *s = ps->at;

	while (s < ps->end && ((*s >= 'a' && *s <= 'z') || *s == '-'))
		s++;
	return (size_t)(s - ps->at);
}

static bool name_is(const struct parser *ps, size_t len, const char *name)
{
	return strlen(name) == len && !memcmp(ps->at, name, len);
}

static bool word_ends(const struct parser *ps, const char *s)
{
	return s == ps->end || blank(*s);
}

/* Read one value into @buf, up to a comma, a blank or the end of the line. */
static int value_read(struct parser *ps, char *buf, size_t size)
{
	const char *start = ps->at;
	bool quoted = false;
	size_t len = 0;

	for (; ps->at < ps->end; ps->at++) {
		char c = *ps->at;

		if (c == '"') {
			quoted = !quoted;
			continue;
		}
		if (!quoted && (blank(c) || c == ','))
			break;
		if (quoted && c == '\\' && ps->at + 1 < ps->end &&
		    (ps->at[1] == '"' || ps->at[1] == '\\'))
			c = *++ps->at;
		if (len + 1 >= size)
			return wrong(ps, start, "a value of at most 255 bytes");
		buf[len++] = c;
	}
	if (quoted)
		return wrong(ps, ps->end, "a closing quote");
	buf[len] = '\0';
	return len ? 0 : wrong(ps, start, "a value");
}

static int text_add(struct parser *ps, const char *at, const char *s, uint32_t *offset)
{
	struct policy *p = ps->p;
	size_t len = strlen(s) + 1;

	if (len > p->text_max - p->text)
		return fail(ps, at, -ENOSPC, "less text: the policy is full");
	memcpy(policy_store_text(p) + p->text, s, len);
	*offset = p->text;
	p->text += (uint32_t)len;
	return 0;
}

/* Add @v to the values of the rule being read. */
static int val_add(struct parser *ps, struct draft *d, const char *at, const struct policy_val *v)
{
	struct policy *p = ps->p;

	if (p->vals == p->vals_max)
		return fail(ps, at, -ENOSPC, "fewer values: the policy is full");
	policy_store_vals(p)[p->vals++] = *v;
	d->rule.val_count++;
	d->rule.kinds |= (uint16_t)(1u << v->kind);
	return 0;
}

static int val_add_text(struct parser *ps, struct draft *d, const char *at, unsigned kind,
			const char *s)
{
	struct policy_val v = { .kind = (uint8_t)kind };
	int rc = text_add(ps, at, s, &v.text);

	return rc ? rc : val_add(ps, d, at, &v);
}

static int id_read(struct parser *ps, struct draft *d, const char *value, const char *at,
		   unsigned kind)
{
	int (*resolve)(void *, const char *, uint32_t *) = kind == POLICY_M_USER ? ps->env->user
										 : ps->env->group;
	struct policy_val v = { .kind = (uint8_t)kind };
	uint32_t id;

	/* the largest number means "nobody" to the kernel's own calls */
	if (!policy_number_read(value, UINT32_MAX - 1, &v.num)) {
		if (!resolve || resolve(ps->env->arg, value, &id))
			return wrong(ps, at,
				     kind == POLICY_M_USER ? "a user of this system, or a number"
							   : "a group of this system, or a number");
		v.num = id;
	}
	return val_add(ps, d, at, &v);
}

static int key_user(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	return id_read(ps, d, value, at, POLICY_M_USER);
}

static int key_group(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	return id_read(ps, d, value, at, POLICY_M_GROUP);
}

static int key_netns(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	struct policy_val v = { .kind = POLICY_M_NETNS, .family = 1 };

	if (policy_number_read(value, UINT64_MAX, &v.num))
		return v.num ? val_add(ps, d, at, &v) : wrong(ps, at, "an inode number above 0");
	if (!policy_name_check(value))
		return wrong(ps, at, "the name of a network namespace, or its inode number");
	return val_add_text(ps, d, at, POLICY_M_NETNS, value);
}

static int port_read(struct parser *ps, struct draft *d, const char *value, const char *at,
		     unsigned kind)
{
	struct policy_val v = { .kind = (uint8_t)kind };
	const char *expected = policy_port_read(value, &v);

	return expected ? wrong(ps, at, expected) : val_add(ps, d, at, &v);
}

static int key_port(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	return port_read(ps, d, value, at, POLICY_M_PORT);
}

static int key_local_port(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	return port_read(ps, d, value, at, POLICY_M_LOCAL_PORT);
}

static int key_remote_port(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	return port_read(ps, d, value, at, POLICY_M_REMOTE_PORT);
}

static int prefix_read(struct parser *ps, struct draft *d, const char *value, const char *at,
		       unsigned kind)
{
	struct policy_val v = { .kind = (uint8_t)kind };
	const char *expected = policy_prefix_read(value, &v);

	return expected ? wrong(ps, at, expected) : val_add(ps, d, at, &v);
}

static int key_local(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	return prefix_read(ps, d, value, at, POLICY_M_LOCAL);
}

static int key_remote(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	return prefix_read(ps, d, value, at, POLICY_M_REMOTE);
}

static int key_cgroup(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	char path[POLICY_TEXT_MAX + 1];
	size_t len = strlen(value);

	if (value[0] != '/')
		return wrong(ps, at, "the path of a cgroup, from '/'");
	while (len > 1 && value[len - 1] == '/')
		len--;
	text_set(path, sizeof(path), value, len);
	return val_add_text(ps, d, at, POLICY_M_CGROUP, path);
}

static int key_program(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	if (strchr(value, '/') && value[0] != '/' && value[0] != '*')
		return wrong(ps, at, "a program's path from '/', or a name without '/'");
	if (!policy_glob_valid(value))
		return wrong(ps, at,
			     "a pattern with each '[' closed and nothing escaped at its end");
	return val_add_text(ps, d, at, POLICY_M_PROGRAM, value);
}

/* A rule refers to a name's number, so that the names in use are few enough for a mask of answers. */
static int bpf_add(struct parser *ps, struct draft *d, const char *at, const char *name)
{
	struct policy *p = ps->p;
	struct policy_val v = { .kind = POLICY_M_BPF };
	int rc = 0;

	while (v.lo < p->bpfs && strcmp(policy_text(p, p->bpf_name[v.lo]), name))
		v.lo++;
	v.hi = v.lo;
	if (v.lo == POLICY_BPF_MAX)
		return wrong(ps, at, "at most 8 different eBPF matches in a policy");
	if (v.lo == p->bpfs) {
		rc = text_add(ps, at, name, &p->bpf_name[v.lo]);
		p->bpfs += !rc;
	}
	v.text = p->bpf_name[v.lo];
	return rc ? rc : val_add(ps, d, at, &v);
}

static int key_bpf(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	if (!policy_name_check(value))
		return wrong(ps, at, "the name of an eBPF match");
	return bpf_add(ps, d, at, value);
}

static int key_role(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	unsigned role = !strcmp(value, "listen")    ? POLICY_ROLE_LISTEN
			: !strcmp(value, "connect") ? POLICY_ROLE_CONNECT
			: !strcmp(value, "both")    ? POLICY_ROLE_BOTH
						    : 0;

	if (!role)
		return wrong(ps, at, "listen, connect or both");
	d->rule.role |= (uint8_t)role;
	return 0;
}

static int key_path(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	unsigned path = !strcmp(value, "shm")     ? POLICY_PATH_SHM
			: !strcmp(value, "stack") ? POLICY_PATH_STACK
						  : 0;

	if (!path)
		return wrong(ps, at, "shm or stack");
	d->rule.paths |= (uint8_t)path;
	return 0;
}

static int key_threshold(struct parser *ps, struct draft *d, const char *value, const char *at)
{
	uint64_t n;

	if (d->rule.threshold >= 0)
		return wrong(ps, at, "one threshold");
	if (!policy_number_read(value, POLICY_THRESHOLD_MAX, &n))
		return wrong(ps, at, "a number of calls, 0 to 1000000");
	d->rule.threshold = (int32_t)n;
	return 0;
}

static const struct key keys[] = {
	{ "role", key_role, -1 },
	{ "path", key_path, -1 },
	{ "threshold", key_threshold, -1 },
	{ "user", key_user, POLICY_M_USER },
	{ "group", key_group, POLICY_M_GROUP },
	{ "netns", key_netns, POLICY_M_NETNS },
	{ "port", key_port, POLICY_M_PORT },
	{ "local-port", key_local_port, POLICY_M_LOCAL_PORT },
	{ "remote-port", key_remote_port, POLICY_M_REMOTE_PORT },
	{ "local", key_local, POLICY_M_LOCAL },
	{ "remote", key_remote, POLICY_M_REMOTE },
	{ "cgroup", key_cgroup, POLICY_M_CGROUP },
	{ "program", key_program, POLICY_M_PROGRAM },
	{ "bpf", key_bpf, POLICY_M_BPF },
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

static const struct key *key_find(const struct parser *ps, size_t len)
{
	for (unsigned i = 0; i < KEYS; i++)
		if (name_is(ps, len, keys[i].name))
			return &keys[i];
	return NULL;
}

/* An option that says nothing under this verdict is a mistake, not a wish to ignore. */
static int key_allowed(struct parser *ps, const struct key *k, const struct draft *d)
{
	unsigned bit = 1u << (k - keys);

	if (d->keys_seen & bit)
		return wrong(ps, ps->at, "each key once in a rule; more values go behind a comma");
	if (k->read == key_path && d->rule.verdict != POLICY_LIFT &&
	    d->rule.verdict != POLICY_DIRECT)
		return wrong(ps, ps->at, "no path= behind kernel or count");
	if (k->read == key_threshold && d->rule.verdict != POLICY_LIFT)
		return wrong(ps, ps->at, "no threshold= but behind lift");
	return 0;
}

static int values_read(struct parser *ps, const struct key *k, struct draft *d)
{
	char value[POLICY_TEXT_MAX + 1];

	for (unsigned n = 1;; n++) {
		const char *at = ps->at;
		int rc = value_read(ps, value, sizeof(value));

		if (!rc)
			rc = n > POLICY_VALUES_MAX ? wrong(ps, at, "at most 32 values")
						   : k->read(ps, d, value, at);
		if (rc)
			return rc;
		if (ps->at == ps->end || *ps->at != ',')
			return 0;
		ps->at++;
	}
}

static int key_value_read(struct parser *ps, struct draft *d)
{
	size_t len = name_length(ps);
	const struct key *k = key_find(ps, len);
	int rc;

	if (!k)
		return wrong(
			ps, ps->at,
			"role=, path=, threshold=, user=, group=, program=, cgroup=, netns=, local=, remote=, "
			"port=, local-port=, remote-port= or bpf=");
	if (ps->at + len == ps->end || ps->at[len] != '=')
		return wrong(ps, ps->at + len, "'='");
	rc = key_allowed(ps, k, d);
	if (rc)
		return rc;
	d->keys_seen |= 1u << (k - keys);
	ps->at += len + 1;
	return values_read(ps, k, d);
}

/* Values in the order of matching; few, and mostly sorted already. */
static void vals_sort(struct policy_val *v, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		struct policy_val x = v[i];
		unsigned j = i;

		for (; j && v[j - 1].kind > x.kind; j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
}

static int rule_read(struct parser *ps, enum policy_verdict verdict)
{
	struct policy *p = ps->p;
	struct draft d = { .rule = { .verdict = (uint8_t)verdict, .threshold = -1 } };
	int rc;

	if (p->rules == p->rules_max)
		return fail(ps, ps->line, -ENOSPC, "fewer rules: the policy is full");
	d.rule.file = (uint16_t)ps->file;
	d.rule.line = ps->line_no;
	d.rule.val_first = p->vals;
	while (blanks_skip(ps)) {
		rc = key_value_read(ps, &d);
		if (rc)
			return rc;
	}
	if (!d.rule.role)
		d.rule.role = POLICY_ROLE_BOTH;
	if (!d.rule.paths && (verdict == POLICY_LIFT || verdict == POLICY_DIRECT))
		d.rule.paths = POLICY_PATH_ALL;
	vals_sort(policy_store_vals(p) + d.rule.val_first, d.rule.val_count);
	policy_store_rules(p)[p->rules++] = d.rule;
	p->needs |= d.rule.kinds;
	return 0;
}

static int include_read(struct parser *ps)
{
	char pattern[POLICY_FILE_NAME_MAX + 1];
	const char *at;
	int rc;

	if (!blanks_skip(ps))
		return wrong(ps, ps->at, "the name of a file to include");
	at = ps->at;
	rc = value_read(ps, pattern, sizeof(pattern));
	if (rc)
		return rc;
	if (ps->at < ps->end && *ps->at == ',')
		return wrong(ps, ps->at, "one name");
	if (blanks_skip(ps))
		return wrong(ps, ps->at, "the end of the line");
	if (!ps->env->include)
		return wrong(ps, at, "no include here");
	if (ps->depth + 1 >= POLICY_DEPTH_MAX)
		return wrong(ps, at, "at most 8 files that include one another");
	ps->err->line = 0;
	ps->err->found[0] = '\0';
	ps->err->expected[0] = '\0';
	rc = ps->env->include(ps->env->arg, ps->p, policy_file_name(ps->p, ps->file), pattern,
			      ps->depth + 1, ps->err);
	if (rc && !ps->err->line) {
		const char *name = policy_file_name(ps->p, ps->file);

		text_set(ps->err->file, sizeof(ps->err->file), name, strlen(name));
		ps->err->line = ps->line_no;
		ps->err->col = (unsigned)(at - ps->line) + 1;
		ps->err->errnum = rc;
	}
	return rc;
}

/* Bytes that no editor shows would make a rule other than it looks. */
static int bytes_check(struct parser *ps)
{
	for (const char *s = ps->line; s < ps->end; s++)
		if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f)
			return wrong(ps, s, "no control character");
	if (ps->end - ps->line > (long)POLICY_LINE_MAX)
		return wrong(ps, ps->line + POLICY_LINE_MAX, "a line of at most 1024 bytes");
	return 0;
}

static int line_read(struct parser *ps)
{
	static const char words[] = "kernel, lift, direct, count or include";
	int rc = bytes_check(ps);
	size_t len;

	if (rc || !blanks_skip(ps))
		return rc;
	len = name_length(ps);
	if (!word_ends(ps, ps->at + len))
		return wrong(ps, ps->at, words);
	if (name_is(ps, len, "include")) {
		ps->at += len;
		return include_read(ps);
	}
	for (unsigned v = 0; v < POLICY_VERDICTS; v++) {
		if (name_is(ps, len, policy_verdict_name((enum policy_verdict)v))) {
			ps->at += len;
			return rule_read(ps, (enum policy_verdict)v);
		}
	}
	return wrong(ps, ps->at, words);
}

static int file_fail(struct parser *ps, int errnum, const char *expected)
{
	text_set(ps->err->expected, sizeof(ps->err->expected), expected, strlen(expected));
	ps->err->errnum = errnum;
	return errnum;
}

/* Enter the file's name. */
static int file_begin(struct parser *ps, const char *file)
{
	struct policy *p = ps->p;
	size_t len = strlen(file);

	memset(ps->err, 0, sizeof(*ps->err));
	text_set(ps->err->file, sizeof(ps->err->file), file, len);
	if (len > POLICY_FILE_NAME_MAX)
		return file_fail(ps, -EINVAL, "a file name of at most 255 bytes");
	if (p->files == POLICY_FILES_MAX)
		return file_fail(ps, -EINVAL, "at most 256 files in a policy");
	if (len + 1 > p->text_max - p->text)
		return file_fail(ps, -ENOSPC, "less text: the policy is full");
	memcpy(policy_store_text(p) + p->text, file, len + 1);
	ps->file = p->files;
	p->file_name[p->files++] = p->text;
	p->text += (uint32_t)len + 1;
	return 0;
}

int policy_parse(struct policy *p, const struct policy_env *env, const char *file, const char *text,
		 size_t len, unsigned depth, struct policy_error *err)
{
	struct parser ps = { .p = p, .env = env, .err = err, .depth = depth };
	const char *end = text + len;
	int rc = file_begin(&ps, file);

	while (!rc && text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));

		ps.line_no++;
		ps.line = ps.at = text;
		ps.end = nl ? nl : end;
		text = nl ? nl + 1 : end;
		if (ps.end > ps.line && ps.end[-1] == '\r')
			ps.end--;
		rc = line_read(&ps);
	}
	return rc;
}
