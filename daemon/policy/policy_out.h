/* policy_out.h - text into a buffer, without stdio; for the files of daemon/policy alone
 *
 * The library may format an error or a rule anywhere, in a signal handler too. Text that does not fit is cut.
 */
#ifndef ZTCP_POLICY_OUT_H
#define ZTCP_POLICY_OUT_H

#include <stddef.h>
#include <stdint.h>

struct policy_out {
	char *buf;
	size_t len;
	size_t pos;
};

/** policy_out_text() - append @s. */
static inline void policy_out_text(struct policy_out *o, const char *s)
{
	while (*s && o->pos + 1 < o->len)
		o->buf[o->pos++] = *s++;
	o->buf[o->pos] = '\0';
}

/** policy_out_number() - append @n in base 10 or 16. */
static inline void policy_out_number(struct policy_out *o, uint64_t n, unsigned base)
{
	char digits[24];
	size_t i = sizeof(digits);

	digits[--i] = '\0';
	do {
		digits[--i] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	policy_out_text(o, digits + i);
}

#endif
