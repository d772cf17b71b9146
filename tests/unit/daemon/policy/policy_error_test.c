/* policy_error_test.c - an error as a line */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/policy/policy.h"

Test(policy_error, policy_error_format__leaves_out_what_is_not_known)
{
	struct policy_error e = {
		.file = "f", .line = 4294967295u, .col = 10, .expected = "x", .found = "'y'"
	};
	char buf[128];

	cr_assert_str_eq(policy_error_format(&e, buf, sizeof(buf)),
			 "f:4294967295:10: expected x, found 'y'");
	e.col = 0;
	e.found[0] = '\0';
	cr_assert_str_eq(policy_error_format(&e, buf, sizeof(buf)), "f:4294967295: expected x");
	e.line = 0;
	cr_assert_str_eq(policy_error_format(&e, buf, sizeof(buf)), "f: expected x");
	strcpy(e.found, "f");
	cr_assert_str_eq(policy_error_format(&e, buf, sizeof(buf)), "f: expected x");
}

Test(policy_error, policy_error_format__cuts)
{
	struct policy_error e = { .file = "file", .line = 1, .expected = "x" };
	char buf[6] = "ABCDE";

	cr_assert_str_eq(policy_error_format(&e, buf, 5), "file");
	cr_assert_str_eq(policy_error_format(&e, buf, 1), "");
	cr_assert_eq(buf[5], '\0');
}
