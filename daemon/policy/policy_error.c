/* policy_error.c - an error as one line of text, without stdio: the library may format it anywhere */
#include "daemon/policy/policy.h"
#include "daemon/policy/policy_out.h"

char *policy_error_format(const struct policy_error *err, char *buf, size_t len)
{
	struct policy_out o = { buf, len, 0 };

	policy_out_text(&o, err->file);
	if (err->line) {
		policy_out_text(&o, ":");
		policy_out_number(&o, err->line, 10);
	}
	if (err->line && err->col) {
		policy_out_text(&o, ":");
		policy_out_number(&o, err->col, 10);
	}
	policy_out_text(&o, ": expected ");
	policy_out_text(&o, err->expected);
	/* of a whole file, what was found is its name, which stands in front */
	if (err->found[0] && err->line) {
		policy_out_text(&o, ", found ");
		policy_out_text(&o, err->found);
	}
	return buf;
}
