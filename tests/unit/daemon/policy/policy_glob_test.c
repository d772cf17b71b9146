/* policy_glob_test.c - patterns of paths */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/policy/policy.h"
#include "daemon/policy/policy_value.h"

static const struct {
	const char *pat;
	const char *path;
	bool match;
} table[] = {
	{ "/a/b", "/a/b", true },
	{ "/a/b", "/a/bc", false },
	{ "/a/b", "/a/", false },
	{ "b", "/a/b", true },
	{ "b", "b", true },
	{ "*", "/a/b", true },
	{ "b*", "/a/bcd", true },
	{ "/*", "/a", true },
	{ "/*", "/a/b", false },
	{ "/*/b", "/a/b", true },
	{ "/*/b", "/a/c/b", false },
	{ "/**/b", "/a/c/b", true },
	{ "/**", "/a/c/b", true },
	{ "**", "/a/c/b", true },
	{ "**b", "/a/c/b", true },
	{ "/**b", "/b", true },
	{ "/**/b", "/b", false },
	{ "/a/?", "/a/b", true },
	{ "/a?b", "/a/b", false },
	{ "/[ab]", "/b", true },
	{ "/[!ab]", "/b", false },
	{ "/[!ab]", "/c", true },
	{ "/a[!x]b", "/a/b", false },
	{ "/[a-c]x", "/bx", true },
	{ "/[]x]", "/]", true },
	{ "/[]-a]", "/^", true },
	{ "/\\*", "/*", true },
	{ "/\\*", "/x", false },
	{ "/[\\]]", "/]", true },
	{ "/*.d/*", "/x.d/y", true },
	{ "/*a*b", "/xaxxb", true },
	{ "/*a*b", "/xaxxbc", false },
	{ "/**/x*/y", "/a/b/xc/y", true },
	{ "/**/x*/y", "/xa/xb/c/xd/y", true },
	{ "/**/x*/y", "/a/b/xc/z/y", false },
	{ "/a*", "/a", true },
	{ "/a**", "/a", true },
	{ "", "", true },
	{ "", "/a", false },
	{ "/[a", "/a", false },
	{ "/x[a-", "/xa", false },
};

Test(policy_glob, policy_glob_match__table)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		cr_assert_eq(policy_glob_match(table[i].pat, table[i].path), table[i].match,
			     "%s on %s", table[i].pat, table[i].path);
}

Test(policy_glob, policy_glob_valid__sets_and_escapes)
{
	cr_assert(policy_glob_valid("/a*[b]\\["));
	cr_assert(policy_glob_valid(""));
	cr_assert(!policy_glob_valid("["));
	cr_assert(!policy_glob_valid("/[a"));
	cr_assert(!policy_glob_valid("/[]"));
	cr_assert(!policy_glob_valid("/[a-"));
	cr_assert(!policy_glob_valid("/a\\"));
	cr_assert(!policy_glob_valid("/[a\\"));
}

/* What the walk should mean, written as the recursion that it avoids. */
static bool plain_match(const char *pat, const char *s)
{
	if (!*pat)
		return !*s;
	if (pat[0] == '*' && pat[1] == '*') {
		for (;; s++) {
			if (plain_match(pat + 2, s))
				return true;
			if (!*s)
				return false;
		}
	}
	if (*pat == '*') {
		for (;; s++) {
			if (plain_match(pat + 1, s))
				return true;
			if (!*s || *s == '/')
				return false;
		}
	}
	if (*pat == '?')
		return *s && *s != '/' && plain_match(pat + 1, s + 1);
	return *s == *pat && plain_match(pat + 1, s + 1);
}

Test(policy_glob, policy_glob_match__as_plain_recursion_on_random_patterns)
{
	static const char pat_bytes[] = "ab/*?*";
	static const char path_bytes[] = "ab/a";
	unsigned seed = 7;

	for (int round = 0; round < 200000; round++) {
		char pat[10] = "/", path[12] = "/";

		for (size_t i = 1; i < sizeof(pat) - 1; i++) {
			seed = seed * 1103515245 + 12345;
			pat[i] = (seed >> 16) % 8 < 6 ? pat_bytes[(seed >> 16) % 8] : '\0';
			if (!pat[i])
				break;
		}
		for (size_t i = 1; i < sizeof(path) - 1; i++) {
			seed = seed * 1103515245 + 12345;
			path[i] = (seed >> 20) % 9 ? path_bytes[(seed >> 16) % 4] : '\0';
			if (!path[i])
				break;
		}
		cr_assert_eq(policy_glob_match(pat, path), plain_match(pat, path), "%s on %s", pat,
			     path);
	}
}
