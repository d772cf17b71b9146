/* options.h - options.def as code: identifiers, a table, a parser of one value
 *
 * What: turns the list into enum options_id and options_table(), and reads one value strictly.
 * Who calls: ztcp_run for its command line, the library for its environment, once at start.
 * Memory: values borrow the text they were read from. Pure; any thread.
 *
 *	struct options_value v;
 *	const char *text = getenv(options_table()[OPTIONS_spin].env);
 *
 *	options_value_default(OPTIONS_spin, &v);
 *	if (text && !options_value_parse(OPTIONS_spin, text, &v))
 *		v keeps the default: ztcp_run has refused such a value before
 *	spin_us = v.num;
 */
#ifndef ZTCP_OPTIONS_H
#define ZTCP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum options_path {
	OPTIONS_PATH_AUTO,
	OPTIONS_PATH_KERNEL,
	OPTIONS_PATH_SHM,
	OPTIONS_PATH_STACK,
	OPTIONS_PATHS
};

enum options_type {
	OPTIONS_TYPE_PATH,
	OPTIONS_TYPE_NUMBER,
	OPTIONS_TYPE_FILE,
	OPTIONS_TYPE_REPORT,
	OPTIONS_TYPE_FLAG
};

enum options_id {
#define OPTION(name, env, type, def, min, max, doc) OPTIONS_##name,
#include "stack/base/options.def"
#undef OPTION
	OPTIONS_COUNT
};

/** struct options_spec - one line of options.def
 * @hook: for tests: not an option of ztcp_run
 */
struct options_spec {
	const char *name;
	const char *env;
	const char *doc;
	int64_t def;
	int64_t min;
	int64_t max;
	enum options_type type;
	bool hook;
};

/** struct options_value - one value, read
 * @set:  it was given
 * @num:  OPTIONS_PATH_*, the number, or for FLAG and REPORT whether it is on
 * @text: FILE and REPORT: the file's name, borrowed; NULL: none (REPORT: standard error)
 */
struct options_value {
	bool set;
	int64_t num;
	const char *text;
};

/** options_table() - Return: OPTIONS_COUNT rows, by enum options_id. */
static inline const struct options_spec *options_table(void)
{
	static const struct options_spec table[OPTIONS_COUNT] = {
#define OPTION(name, env, type, def, min, max, doc) \
	{ #name, env, doc, def, min, max, OPTIONS_TYPE_##type, false },
#define HOOK(name, env, type, def, min, max, doc) \
	{ #name, env, doc, def, min, max, OPTIONS_TYPE_##type, true },
#include "stack/base/options.def"
#undef HOOK
#undef OPTION
	};

	return table;
}

/** options_path_name() - Return: the word for a path; "?" for nonsense. */
static inline const char *options_path_name(int64_t path)
{
	static const char *const names[OPTIONS_PATHS] = { "auto", "kernel", "shm", "stack" };

	return path >= 0 && path < OPTIONS_PATHS ? names[path] : "?";
}

/** options_value_default() - @v as if option @id was not given. */
static inline void options_value_default(enum options_id id, struct options_value *v)
{
	v->set = false;
	v->num = options_table()[id].def;
	v->text = NULL;
}

/**
 * options_number_parse() - a decimal number and nothing else
 * @text: no sign, no blanks
 * @min:  smallest allowed, at least 0
 * @max:  largest allowed
 * @num:  set only on success
 *
 * Return: whether @text is such a number.
 */
static inline bool options_number_parse(const char *text, int64_t min, int64_t max, int64_t *num)
{
	int64_t n = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > (INT64_MAX - (*text - '0')) / 10)
			return false;
		n = n * 10 + (*text - '0');
	}
	if (n < min || n > max)
		return false;
	*num = n;
	return true;
}

static inline bool options_path_parse(const char *text, int64_t *num)
{
	for (int i = 0; i < OPTIONS_PATHS; i++) {
		if (!strcmp(text, options_path_name(i))) {
			*num = i;
			return true;
		}
	}
	return false;
}

/**
 * options_value_parse() - read the value of an option
 * @id:   which
 * @text: borrowed; @v may point into it
 * @v:    set only on success
 *
 * Return: whether @text is a value of this option.
 */
static inline bool options_value_parse(enum options_id id, const char *text,
				       struct options_value *v)
{
	const struct options_spec *spec = &options_table()[id];
	struct options_value r = { .set = true };

	switch (spec->type) {
	case OPTIONS_TYPE_PATH:
		if (!options_path_parse(text, &r.num))
			return false;
		break;
	case OPTIONS_TYPE_NUMBER:
		if (!options_number_parse(text, spec->min, spec->max, &r.num))
			return false;
		break;
	case OPTIONS_TYPE_FLAG:
		if (!options_number_parse(text, 0, 1, &r.num))
			return false;
		break;
	case OPTIONS_TYPE_FILE:
	case OPTIONS_TYPE_REPORT:
		if (!*text)
			return false;
		r.num = 1;
		r.text = spec->type == OPTIONS_TYPE_REPORT && !strcmp(text, "1") ? NULL : text;
		break;
	}
	*v = r;
	return true;
}

#endif
