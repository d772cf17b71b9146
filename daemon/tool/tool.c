/* tool.c - what the subcommands of ztcp share */
#include "daemon/tool/tool.h"

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

char *tool_clean(char *text)
{
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return text;
}
