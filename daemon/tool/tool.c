/* tool.c - what the subcommands of ztcp share */
#include "daemon/tool/tool.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/policy/policy_value.h"

static void say(const char *format, va_list ap)
{
	char line[8192];

	vsnprintf(line, sizeof(line), format, ap);
	fprintf(stderr, "ztcp: %s\n", line);
}

void tool_say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(format, ap);
	va_end(ap);
}

int tool_usage(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(format, ap);
	va_end(ap);
	return TOOL_USAGE;
}

int tool_end(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	perror("ztcp: standard output");
	return TOOL_FAILED;
}

bool tool_number(const char *text, uint64_t max, uint64_t *num)
{
	return policy_number_read(text, max, num);
}

bool tool_pids_read(struct tool_pids *pids, char **args)
{
	const unsigned max = sizeof(pids->pid) / sizeof(pids->pid[0]);

	for (pids->count = 0; *args; args++) {
		uint64_t pid;

		if (!tool_number(*args, INT_MAX, &pid) || !pid) {
			tool_say("'%s': expected the id of a process", *args);
			return false;
		}
		if (pids->count == max) {
			tool_say("at most %u processes", max);
			return false;
		}
		pids->pid[pids->count++] = (int)pid;
	}
	return true;
}

void *tool_grow(void *array, size_t count, size_t size)
{
	/* double at each power of two; the first step is for eight */
	if (count && (count < 8 || (count & (count - 1))))
		return array;
	array = realloc(array, (count ? 2 * count : 8) * size);
	if (!array) {
		perror("ztcp");
		exit(TOOL_FAILED);
	}
	return array;
}

unsigned tool_utf8_length(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned n = s[0] < 0x80   ? 1
		     : s[0] < 0xc2 ? 0
		     : s[0] < 0xe0 ? 2
		     : s[0] < 0xf0 ? 3
		     : s[0] < 0xf5 ? 4
				   : 0;

	for (unsigned i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0; /* overlong, surrogate, beyond Unicode */
	return n;
}

char *tool_clean(char *text)
{
	for (char *c = text; *c;) {
		unsigned n = tool_utf8_length(c);

		/* C0, DEL, and C1 in two bytes */
		if (!n || (unsigned char)*c < 0x20 || *c == 0x7f ||
		    (n == 2 && c[0] == '\xc2' && (unsigned char)c[1] < 0xa0))
			*c++ = '?';
		else
			c += n;
	}
	return text;
}
