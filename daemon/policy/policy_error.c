/* policy_error.c - an error as one line of text, without stdio: the library may format it anywhere */
#include <string.h>

#include "daemon/policy/policy.h"

struct out {
	char *buf;
	size_t len;
	size_t pos;
};

static void put(struct out *o, const char *s)
{
	while (*s && o->pos + 1 < o->len)
		o->buf[o->pos++] = *s++;
	o->buf[o->pos] = '\0';
}

static void put_number(struct out *o, unsigned n)
{
	char digits[12];
	size_t i = sizeof(digits);

	digits[--i] = '\0';
	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	put(o, digits + i);
}

char *policy_error_format(const struct policy_error *err, char *buf, size_t len)
{
	struct out o = { buf, len, 0 };

	put(&o, err->file);
	if (err->line) {
		put(&o, ":");
		put_number(&o, err->line);
	}
	if (err->line && err->col) {
		put(&o, ":");
		put_number(&o, err->col);
	}
	put(&o, ": expected ");
	put(&o, err->expected);
	if (err->found[0]) {
		put(&o, ", found ");
		put(&o, err->found);
	}
	return buf;
}
