/* ztcp_run.c - run a program with its TCP connections accelerated
 *
 * Theory of operation: options become environment variables (stack/base/options.def), the library goes
 * to the front of LD_PRELOAD, and execvp() makes this process the program: exit status, signals, process
 * id, terminal and standard streams are the program's own, because nothing stays behind. What would keep
 * the library out of the program (no dynamic loader, set-id bits, another machine, ...) is said in
 * one line before, and the program runs all the same. Exit status when no program is run: 2 wrong option or
 * policy, 126 found but not executable, 127 not found, as env(1).
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "daemon/policy/policy_load.h"
#include "preload/run/run_prog.h"
#include "stack/base/options.h"

#define LIBRARY "libztcp_preload.so"

#define EXIT_WRONG     2
#define EXIT_NOT_RUN   126
#define EXIT_NOT_FOUND 127

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	char line[3 * PATH_MAX];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	fprintf(stderr, "ztcp_run: %s\n", line); /* one write: lines of others do not mix in */
}

static void __attribute__((noreturn)) usage_wrong(const char *what, const char *arg)
{
	say("%s '%s'; see ztcp_run --help", what, arg);
	exit(EXIT_WRONG);
}

/* "spin", "spin=..." of options.def, with underscores as dashes. Return: the rest behind the name, or NULL. */
static const char *name_match(const char *arg, const char *name)
{
	for (; *name; name++, arg++)
		if (*arg != (*name == '_' ? '-' : *name))
			return NULL;
	return !*arg || *arg == '=' ? arg : NULL;
}

static const char *value_form(const struct options_spec *s)
{
	switch (s->type) {
	case OPTIONS_TYPE_PATH: return "=auto|kernel|shm|stack";
	case OPTIONS_TYPE_NUMBER: return "=N";
	case OPTIONS_TYPE_FILE: return "=FILE";
	case OPTIONS_TYPE_REPORT: return "[=FILE]";
	case OPTIONS_TYPE_FLAG: break;
	}
	return "";
}

static void help_line(const char *option, const char *form, const char *doc)
{
	char left[64];

	snprintf(left, sizeof(left), "%s%s", option, form);
	printf("  %-30s %s\n", left, doc);
}

static int help(void)
{
	printf("usage: ztcp_run [options] [--] program [args]\n\n"
	       "Run a program, and the programs that it starts, with TCP connections accelerated.\n\n");
	for (unsigned i = 0; i < OPTIONS_COUNT; i++) {
		const struct options_spec *s = &options_table()[i];
		char option[32];

		if (s->hook)
			continue;
		snprintf(option, sizeof(option), "--%s", s->name);
		for (char *c = option; *c; c++)
			*c = *c == '_' ? '-' : *c;
		help_line(option, value_form(s), s->doc);
		if (s->type == OPTIONS_TYPE_NUMBER)
			printf("  %-30s (%lld to %lld, default %lld)\n", "", (long long)s->min,
			       (long long)s->max, (long long)s->def);
	}
	help_line("-V, --version", "", "print the version");
	help_line("-h, --help", "", "print this");
	printf("\nEach option is also an environment variable:");
	for (unsigned i = 0; i < OPTIONS_COUNT; i++)
		if (!options_table()[i].hook)
			printf(" %s", options_table()[i].env);
	printf(".\nExit status: the program's; 2 wrong option or policy, 126 the program cannot be run, 127 not "
	       "found.\n");
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void value_wrong(const char *where, const struct options_spec *s, const char *text)
{
	switch (s->type) {
	case OPTIONS_TYPE_PATH:
		say("%s: expected auto, kernel, shm or stack, found '%s'", where, text);
		break;
	case OPTIONS_TYPE_NUMBER:
		say("%s: expected a number from %lld to %lld, found '%s'", where, (long long)s->min,
		    (long long)s->max, text);
		break;
	case OPTIONS_TYPE_FLAG: say("%s: expected 0 or 1, found '%s'", where, text); break;
	case OPTIONS_TYPE_FILE:
	case OPTIONS_TYPE_REPORT: say("%s: expected a file name, found '%s'", where, text); break;
	}
	exit(EXIT_WRONG);
}

static void env_put(const char *name, const char *value)
{
	if (setenv(name, value, 1)) {
		say("%s: %s", name, strerror(errno));
		exit(EXIT_WRONG);
	}
}

/* A file named here is used in other folders, by programs that have changed theirs. */
static void file_put(const char *env, const char *text)
{
	char path[PATH_MAX];
	char here[PATH_MAX];

	if (text[0] == '/' || !getcwd(here, sizeof(here))) {
		env_put(env, text);
		return;
	}
	if (snprintf(path, sizeof(path), "%s/%s", here, text) >= (int)sizeof(path)) {
		say("%s: %s", text, strerror(ENAMETOOLONG));
		exit(EXIT_WRONG);
	}
	env_put(env, path);
}

/* Check one value and put it where the library finds it. */
static void option_set(enum options_id id, const char *where, const char *text)
{
	const struct options_spec *s = &options_table()[id];
	struct options_value v;

	if (!options_value_parse(id, text, &v))
		value_wrong(where, s, text);
	if (v.text)
		file_put(s->env, v.text);
	else
		env_put(s->env, text);
}

/* Take the option argv[i]. Return: the index behind it and its value. */
static int option_take(char **argv, int i)
{
	for (unsigned id = 0; id < OPTIONS_COUNT; id++) {
		const struct options_spec *s = &options_table()[id];
		const char *rest = s->hook ? NULL : name_match(argv[i] + 2, s->name);
		char where[40];

		if (!rest)
			continue;
		snprintf(where, sizeof(where), "--%s", s->name);
		if (s->type == OPTIONS_TYPE_FLAG && *rest)
			usage_wrong("no value belongs behind", where);
		if (*rest)
			option_set(id, where, rest + 1);
		else if (s->type == OPTIONS_TYPE_FLAG || s->type == OPTIONS_TYPE_REPORT)
			option_set(id, where, "1");
		else if (argv[i + 1])
			option_set(id, where, argv[++i]);
		else
			usage_wrong("a value is missing behind", where);
		return i + 1;
	}
	usage_wrong("unknown option", argv[i]);
}

/* Return: the index of the program's name. */
static int options_take(char **argv)
{
	int i = 1;

	while (argv[i] && argv[i][0] == '-' && strcmp(argv[i], "-")) {
		if (!strcmp(argv[i], "--"))
			return i + 1;
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			exit(help());
		if (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-V")) {
			printf("ztcp_run " ZTCP_VERSION "\n");
			exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
		}
		if (argv[i][1] != '-')
			usage_wrong("unknown option", argv[i]);
		i = option_take(argv, i);
	}
	return i;
}

/* What came by the environment is held to the same rules as what came by options. */
static void environment_check(void)
{
	for (unsigned id = 0; id < OPTIONS_COUNT; id++) {
		const struct options_spec *s = &options_table()[id];
		const char *text = getenv(s->env);
		struct options_value v;

		if (text && !options_value_parse(id, text, &v))
			value_wrong(s->env, s, text);
	}
}

static void policy_check(void)
{
	const char *given = getenv(options_table()[OPTIONS_policy].env);
	struct policy *p = NULL;
	struct policy_error err;
	char line[512];
	int rc = policy_load(given ? given : POLICY_DEFAULT_FILE, &p, &err);

	policy_unload(p);
	if (!rc || (!given && rc == -ENOENT))
		return;
	policy_error_format(&err, line, sizeof(line));
	if (given) {
		say("%s", line);
		exit(EXIT_WRONG);
	}
	say("%s; no connection is accelerated", line);
}

/* Where this program is. "" if that cannot be told. */
static void own_folder(char *dir, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", dir, size - 1);
	const char *exec_name = (const char *)getauxval(AT_EXECFN);
	char *slash;

	dir[n > 0 ? n : 0] = '\0';
	if (n <= 0 && exec_name && !realpath(exec_name, dir))
		dir[0] = '\0';
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
}

/* Return: whether the library was found; else a line has said why not. */
static bool library_find(char *path, size_t size, const char *program)
{
	char dir[PATH_MAX];
	char beside[PATH_MAX + sizeof("/../lib/" LIBRARY)];
	char resolved[PATH_MAX];

	own_folder(dir, sizeof(dir));
	snprintf(beside, sizeof(beside), "%s/../lib/" LIBRARY, dir);
	if (realpath(beside, resolved) || realpath(ZTCP_LIBDIR "/" LIBRARY, resolved)) {
		if (strpbrk(resolved, ": ")) {
			say("%s: LD_PRELOAD cannot hold this name, it has a blank or colon; %s runs without "
			    "acceleration",
			    resolved, program);
			return false;
		}
		snprintf(path, size, "%s", resolved);
		return true;
	}
	say(LIBRARY " is neither in %s/../lib nor in " ZTCP_LIBDIR "; %s runs without acceleration",
	    dir, program);
	return false;
}

static bool is_our_library(const char *word, size_t len)
{
	static const char name[] = LIBRARY;
	const size_t n = sizeof(name) - 1;

	return len >= n && !memcmp(word + len - n, name, n) &&
	       (len == n || word[len - n - 1] == '/');
}

/* Our library first, once; then what was there, in its order. */
static void preload_set(const char *library)
{
	const char *old = getenv("LD_PRELOAD");
	size_t size = strlen(library) + (old ? strlen(old) : 0) + 2;
	char *list = malloc(size);
	size_t at;

	if (!list) {
		say("%s", strerror(ENOMEM));
		exit(EXIT_WRONG);
	}
	at = (size_t)snprintf(list, size, "%s", library);
	while (old && *old) {
		size_t len = strcspn(old, ": ");

		if (len && !is_our_library(old, len))
			at += (size_t)snprintf(list + at, size - at, ":%.*s", (int)len, old);
		old += len + strspn(old + len, ": ");
	}
	env_put("LD_PRELOAD", list);
	free(list);
}

static bool only_this(void)
{
	const char *only = getenv(options_table()[OPTIONS_only].env);

	return only && !strcmp(only, "1");
}

static void accelerate(const char *program)
{
	static struct run_prog prog;
	char library[PATH_MAX];
	char sentence[2 * PATH_MAX + 128];

	if (!library_find(library, sizeof(library), program))
		return;
	run_prog_inspect(&prog, program);
	if (prog.why != RUN_WHY_FINE)
		say("%s: it runs without acceleration",
		    run_prog_sentence(&prog, sentence, sizeof(sentence)));
	/* under --only the library takes itself out of the environment: if it is loaded */
	if (prog.preload && !(prog.why != RUN_WHY_FINE && only_this()))
		preload_set(library);
}

int main(int argc, char **argv)
{
	int i = argc ? options_take(argv) : 0;
	int failure;

	if (!argv[i]) {
		say("which program? see ztcp_run --help");
		return EXIT_WRONG;
	}
	environment_check();
	policy_check();
	accelerate(argv[i]);
	execvp(argv[i], argv + i);
	failure = errno;
	say("%s: %s", argv[i], strerror(failure));
	return failure == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
}
