/* policy_load.c - a policy from its files
 *
 * Theory of operation: files are read whole and parsed in order into a small policy; if that is too
 * small, once more into the largest. What comes out is copied to memory of exactly its size. An include's
 * pattern is expanded in the last part of its name; names are sorted by bytes so that the order is
 * the same everywhere. Names of users and groups come from /etc/passwd and /etc/group alone: libc's
 * look-up allocates, loads modules and opens sockets, none of which the library may do.
 */
#include "daemon/policy/policy_load.h"

#include <errno.h>
#include <string.h>

#include "daemon/policy/policy_sys.h"
#include "daemon/policy/policy_value.h"

#define RULES_AT_FIRST 64u
#define DIR_NAMES_MAX  POLICY_FILES_MAX
#define NAME_BYTES     256u

struct text {
	char *at;
	size_t len;
	size_t mapped;
};

static void text_set(char *out, size_t size, const char *s)
{
	size_t len = strlen(s);

	if (len >= size)
		len = size - 1;
	memcpy(out, s, len);
	out[len] = '\0';
}

/* The few errors that a person can act on, in words; libc's own words would load a locale. */
static const char *error_words(int errnum)
{
	switch (-errnum) {
	case ENOENT: return "a file that exists";
	case EACCES: return "a file that may be read (permission denied)";
	case EPERM: return "a file and a folder that not everybody may write to";
	case EISDIR: return "a file (it is a directory)";
	case EINVAL: return "a regular file";
	case EFBIG: return "a file of at most 4 MiB";
	case ELOOP: return "a file (too many symbolic links)";
	case EMFILE:
	case ENFILE: return "a file that can be opened (too many files are open)";
	case ENOMEM: return "memory for the policy";
	case ENOTDIR: return "a folder that exists";
	case E2BIG: return "a pattern that at most 256 files match";
	case ENAMETOOLONG: return "a file name of at most 255 bytes";
	default: return "a file that can be read";
	}
}

/* An error of a whole file; the include line's place is put in by the parser. */
static int file_fail(struct policy_error *err, const char *file, int errnum)
{
	err->line = 0;
	err->col = 0;
	err->errnum = errnum;
	text_set(err->file, sizeof(err->file), *file ? file : "''");
	text_set(err->expected, sizeof(err->expected), error_words(errnum));
	text_set(err->found, sizeof(err->found), file);
	return errnum;
}

static int fd_slurp(int fd, struct text *t)
{
	struct stat st;
	int rc = policy_sys_stat(fd, "", &st);

	if (rc)
		return rc;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (st.st_mode & S_IWOTH) /* anybody would decide */
		return -EPERM;
	if (st.st_size > (off_t)POLICY_FILE_BYTES_MAX)
		return -EFBIG;
	t->mapped = (size_t)st.st_size + 1;
	t->at = policy_sys_map(t->mapped);
	if (!t->at)
		return -ENOMEM;
	while (t->len < (size_t)st.st_size) {
		long n = policy_sys_read(fd, t->at + t->len, (size_t)st.st_size - t->len);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
		if (!n)
			break;
		t->len += (size_t)n;
	}
	return 0;
}

static void text_free(struct text *t)
{
	policy_sys_unmap(t->at, t->mapped);
}

static int file_read(const char *file, struct text *t)
{
	int fd = policy_sys_open(file, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	int rc;

	*t = (struct text){ 0 };
	if (fd < 0)
		return fd;
	rc = fd_slurp(fd, t);
	policy_sys_close(fd);
	if (rc) {
		text_free(t);
		*t = (struct text){ 0 };
	}
	return rc;
}

/* In lines of name:x:number:..., the number of a name. */
static int id_find(const char *file, const char *name, uint32_t *id)
{
	size_t len = strlen(name);
	struct text t;
	int rc = file_read(file, &t);
	const char *s, *end;

	if (rc)
		return rc;
	rc = -ENOENT;
	end = t.at + t.len;
	for (s = t.at; rc && s < end;) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));
		const char *stop = nl ? nl : end;
		const char *second =
			(size_t)(stop - s) > len && s[len] == ':' && !memcmp(s, name, len)
				? memchr(s + len + 1, ':', (size_t)(stop - s) - len - 1)
				: NULL;
		char digits[16] = "";
		uint64_t n;

		if (second) {
			for (size_t i = 0; i + 1 < sizeof(digits) && second + 1 + i < stop &&
					   second[1 + i] != ':';
			     i++)
				digits[i] = second[1 + i];
			if (policy_number_read(digits, UINT32_MAX - 1, &n)) {
				*id = (uint32_t)n;
				rc = 0;
			}
		}
		s = stop + 1;
	}
	text_free(&t);
	return rc;
}

static int user_find(void *arg, const char *name, uint32_t *id)
{
	(void)arg;
	return id_find("/etc/passwd", name, id);
}

static int group_find(void *arg, const char *name, uint32_t *id)
{
	(void)arg;
	return id_find("/etc/group", name, id);
}

/* One include pattern at work. */
struct listing {
	const char *pattern; /* of the last part */
	unsigned count;
	char names[DIR_NAMES_MAX][NAME_BYTES];
};

static int listing_add(void *arg, const char *name)
{
	struct listing *l = arg;
	unsigned i;

	if (name[0] == '.' || strlen(name) >= NAME_BYTES || !policy_glob_match(l->pattern, name))
		return 0;
	if (l->count == DIR_NAMES_MAX)
		return -E2BIG;
	for (i = l->count++; i && strcmp(l->names[i - 1], name) > 0; i--)
		memcpy(l->names[i], l->names[i - 1], NAME_BYTES);
	text_set(l->names[i], NAME_BYTES, name);
	return 0;
}

static int include(void *arg, struct policy *p, const char *from, const char *pattern,
		   unsigned depth, struct policy_error *err);

static int file_parse(struct policy *p, const char *file, unsigned depth, struct policy_error *err)
{
	const struct policy_env env = { NULL, include, user_find, group_find };
	struct text t;
	int rc = file_read(file, &t);

	if (rc)
		return file_fail(err, file, rc);
	rc = policy_parse(p, &env, file, t.at, t.len, depth, err);
	text_free(&t);
	return rc;
}

/* Join a folder and a name. Return: 0 or -ENAMETOOLONG. */
static int name_join(char *out, size_t size, const char *dir, size_t dir_len, const char *name)
{
	size_t len = strlen(name);

	if (dir_len + len + 1 > size)
		return -ENAMETOOLONG;
	memcpy(out, dir, dir_len);
	memcpy(out + dir_len, name, len + 1);
	return 0;
}

/* Any file that anybody adds would be taken. */
static int folder_check(const char *dir)
{
	struct stat st;
	int rc = policy_sys_stat(AT_FDCWD, dir, &st);

	return rc || !(st.st_mode & S_IWOTH) ? rc : -EPERM;
}

/* The files of folder @path[0..dir_len) whose names match @path + dir_len. */
static int pattern_parse(struct policy *p, const char *path, size_t dir_len, unsigned depth,
			 struct policy_error *err)
{
	char name[POLICY_FILE_NAME_MAX + 1];
	struct listing *l = policy_sys_map(sizeof(*l));
	int rc = 0;

	if (!l)
		return file_fail(err, path, -ENOMEM);
	l->pattern = path + dir_len;
	memcpy(name, path, dir_len);
	memcpy(name + dir_len, ".", 2);
	rc = dir_len + 2 <= sizeof(name) ? folder_check(name) : -ENAMETOOLONG;
	if (!rc)
		rc = policy_sys_each(name, listing_add, l);
	if (rc == -ENOENT) /* an empty policy.d and none at all mean the same */
		rc = 0;
	else if (rc)
		rc = file_fail(err, path, rc);
	for (unsigned i = 0; !rc && i < l->count; i++) {
		rc = name_join(name, sizeof(name), path, dir_len, l->names[i]);
		rc = rc ? file_fail(err, path, rc) : file_parse(p, name, depth, err);
	}
	policy_sys_unmap(l, sizeof(*l));
	return rc;
}

static int include(void *arg, struct policy *p, const char *from, const char *pattern,
		   unsigned depth, struct policy_error *err)
{
	char path[POLICY_FILE_NAME_MAX + 1];
	const char *slash = strrchr(from, '/');
	size_t from_dir = pattern[0] != '/' && slash ? (size_t)(slash - from) + 1 : 0;
	int rc = name_join(path, sizeof(path), from, from_dir, pattern);

	(void)arg;
	if (rc)
		return file_fail(err, pattern, rc);
	slash = strrchr(path, '/');
	slash = slash ? slash + 1 : path;
	if (strpbrk(slash, "*?[")) {
		if (!policy_glob_valid(slash)) {
			file_fail(err, pattern, -EINVAL);
			text_set(err->expected, sizeof(err->expected),
				 "a pattern with each '[' closed");
			return -EINVAL;
		}
		return pattern_parse(p, path, (size_t)(slash - path), depth, err);
	}
	return file_parse(p, path, depth, err);
}

/* A policy in memory of its own: as large as it need be, and compiled. */
static int finish(const char *file, const struct policy *p, struct policy **out,
		  struct policy_error *err)
{
	size_t scratch_bytes = policy_finish_scratch(p);
	void *scratch = policy_sys_map(scratch_bytes);
	size_t need = scratch ? policy_finish(NULL, 0, p, scratch) : 0;
	void *exact = need ? policy_sys_map(need) : NULL;
	int rc = 0;

	if (exact) {
		policy_finish(exact, need, p, scratch);
		*out = exact;
	} else if (scratch && !need) {
		rc = file_fail(err, file, -E2BIG);
		text_set(err->expected, sizeof(err->expected),
			 "rules whose ranges overlap less (64 MiB when compiled)");
	} else {
		rc = file_fail(err, file, -ENOMEM);
	}
	policy_sys_unmap(scratch, scratch_bytes);
	return rc;
}

static int load_with(const char *file, unsigned rules, struct policy **out,
		     struct policy_error *err)
{
	size_t bytes = policy_size(rules);
	void *mem = policy_sys_map(bytes);
	struct policy *p = policy_init(mem, bytes);
	int rc;

	if (!p)
		return file_fail(err, file, -ENOMEM);
	rc = file_parse(p, file, 0, err);
	if (!rc)
		rc = finish(file, p, out, err);
	policy_sys_unmap(mem, bytes);
	return rc;
}

int policy_load(const char *file, struct policy **out, struct policy_error *err)
{
	int rc;

	memset(err, 0, sizeof(*err));
	rc = load_with(file, RULES_AT_FIRST, out, err);
	if (rc == -ENOSPC)
		rc = load_with(file, POLICY_RULES_MAX, out, err);
	return rc;
}

void policy_unload(struct policy *p)
{
	if (p)
		policy_sys_unmap(p, policy_bytes(p));
}

int policy_ifaces_load(const char *file, struct policy_ifaces *out, struct policy_error *err)
{
	struct policy_ifaces *read = policy_sys_map(sizeof(*read));
	struct text t = { 0 };
	int rc;

	memset(err, 0, sizeof(*err));
	if (!read)
		return file_fail(err, file, -ENOMEM);
	rc = file_read(file, &t);
	rc = rc ? file_fail(err, file, rc) : policy_ifaces_parse(read, file, t.at, t.len, err);
	if (!rc)
		*out = *read;
	text_free(&t);
	policy_sys_unmap(read, sizeof(*read));
	return rc;
}
