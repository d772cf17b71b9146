/* policy_glob.c - match a program's path against a pattern
 *
 * Theory of operation: one walk over the path with at most two places to go back to: the last `**`, and
 * the last `*` after it. Only the last star of a kind need ever be retried: an earlier one that took
 * more would leave the later one less to choose from. A `*` may not pass a '/', so that when it is
 * exhausted the `**` before it takes one byte more.
 */
#include <string.h>

#include "daemon/policy/policy.h"
#include "daemon/policy/policy_value.h"

/* After "[": does @c belong to the set? @end is set behind its "]". NULL: the set is not closed. */
static const char *set_match(const char *s, char c, bool *in)
{
	bool negated = *s == '!' || *s == '^';
	bool found = false;
	bool first = true;

	if (negated)
		s++;
	for (; *s != ']' || first; first = false) {
		unsigned char lo, hi;

		if (*s == '\\')
			s++;
		if (!*s)
			return NULL;
		lo = hi = (unsigned char)*s++;
		if (s[0] == '-' && s[1] && s[1] != ']') {
			s += s[1] == '\\' ? 2 : 1;
			if (!*s)
				return NULL;
			hi = (unsigned char)*s++;
		}
		found |= lo <= (unsigned char)c && (unsigned char)c <= hi;
	}
	*in = found != negated;
	return s + 1;
}

bool policy_glob_valid(const char *pat)
{
	bool in;

	while (pat && *pat) {
		if (*pat == '[')
			pat = set_match(pat + 1, 'x', &in);
		else if (*pat == '\\')
			pat = pat[1] ? pat + 2 : NULL;
		else
			pat++;
	}
	return pat;
}

/* One element of the pattern that is no star against one byte. Return: behind it, or NULL if it differs. */
static const char *one_match(const char *pat, char c)
{
	bool in = false;

	if (*pat == '[') {
		pat = set_match(pat + 1, c, &in);
		return in && c != '/' ? pat : NULL;
	}
	if (*pat == '?')
		return c != '/' ? pat + 1 : NULL;
	if (*pat == '\\' && pat[1])
		pat++;
	return *pat == c ? pat + 1 : NULL;
}

static bool whole_match(const char *pat, const char *s)
{
	const char *star = NULL,
		   *star_s = NULL; /* last *: pattern behind it, and where it ends for now */
	const char *deep = NULL, *deep_s = NULL; /* the same for ** */

	for (;;) {
		const char *next;

		if (pat[0] == '*' && pat[1] == '*') {
			deep = pat += 2;
			deep_s = s;
			star = NULL;
			continue;
		}
		if (*pat == '*') {
			star = ++pat;
			star_s = s;
			continue;
		}
		if (!*s && !*pat)
			return true;
		next = *s && *pat ? one_match(pat, *s) : NULL;
		if (next) {
			pat = next;
			s++;
		} else if (star && *star_s && *star_s != '/') {
			pat = star;
			s = ++star_s;
		} else if (deep && *deep_s) {
			pat = deep;
			s = ++deep_s;
			star = NULL;
		} else {
			return false;
		}
	}
}

bool policy_glob_match(const char *pat, const char *path)
{
	const char *slash;

	if (!strchr(pat, '/') && strncmp(pat, "**", 2)) {
		slash = strrchr(path, '/');
		if (slash)
			path = slash + 1;
	}
	return whole_match(pat, path);
}
