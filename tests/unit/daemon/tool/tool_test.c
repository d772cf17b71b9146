/* tool_test.c - what the subcommands of ztcp share: numbers, growing arrays, strings that others wrote */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tool/tool.h"

Test(tool, tool_utf8_length__as_unicode_has_it)
{
	static const struct {
		const char *text;
		unsigned length;
	} table[] = {
		{ "a", 1 },
		{ "\x7f", 1 },
		{ "\xc2\x80", 2 },
		{ "\xc1\xbf", 0 },
		{ "\x80", 0 },
		{ "\xc3", 0 },
		{ "\xe0\xa0\x80", 3 },
		{ "\xe0\x9f\xbf", 0 },
		{ "\xed\x9f\xbf", 3 },
		{ "\xed\xa0\x80", 0 },
		{ "\xef\xbf\xbd", 3 },
		{ "\xe2\x82", 0 },
		{ "\xf0\x90\x80\x80", 4 },
		{ "\xf0\x8f\xbf\xbf", 0 },
		{ "\xf4\x8f\xbf\xbf", 4 },
		{ "\xf4\x90\x80\x80", 0 },
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xff", 0 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		cr_assert_eq(tool_utf8_length(table[i].text), table[i].length, "row %zu", i);
}

Test(tool, tool_clean__leaves_nothing_that_a_terminal_obeys)
{
	char text[] = "a\x1b[31m\xc2\x9b\xc3\xa9\xff\n\x7f\xe2\x82\xac";

	cr_assert_str_eq(tool_clean(text), "a?[31m??\xc3\xa9???\xe2\x82\xac");
}

Test(tool, tool_grow__keeps_what_is_there)
{
	int *array = NULL;

	for (int i = 0; i < 1000; i++) {
		array = tool_grow(array, (size_t)i, sizeof(*array));
		array[i] = i;
	}
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(array[i], i);
	free(array);
}

Test(tool, tool_pids_read__limits)
{
	char *args[300];
	struct tool_pids pids;

	for (int i = 0; i < 299; i++)
		args[i] = (char *)"7";
	args[299] = NULL;
	cr_assert_not(tool_pids_read(&pids, args));
	args[256] = NULL;
	cr_assert(tool_pids_read(&pids, args));
	cr_assert_eq(pids.count, 256);
	args[0] = (char *)"0";
	cr_assert_not(tool_pids_read(&pids, args));
	args[0] = (char *)"2147483648";
	cr_assert_not(tool_pids_read(&pids, args));
}
