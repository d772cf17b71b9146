/* tool_json.c - JSON on standard output */
#include "daemon/tool/tool_json.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/tool/tool.h"

static bool comma; /* something stands before on this level */
static unsigned depth;

static void string(const char *s)
{
	putchar('"');
	while (*s) {
		unsigned n = tool_utf8_length(s);

		if (*s == '"' || *s == '\\')
			printf("\\%c", *s++);
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			printf("\\u%04x", (unsigned)*s++);
		else if (!n && *s++)
			fputs("\\ufffd", stdout);
		else
			for (; n; n--)
				putchar(*s++);
	}
	putchar('"');
}

static void begin(const char *key)
{
	if (comma)
		fputs(", ", stdout);
	comma = true;
	if (key) {
		string(key);
		fputs(": ", stdout);
	}
}

void tool_json_open(const char *key, char bracket)
{
	begin(key);
	putchar(bracket);
	comma = false;
	depth++;
}

void tool_json_close(char bracket)
{
	putchar(bracket);
	comma = --depth > 0; /* what comes after the outermost is a text of its own */
}

void tool_json_text(const char *key, const char *text)
{
	begin(key);
	string(text);
}

void tool_json_number(const char *key, uint64_t number)
{
	begin(key);
	printf("%" PRIu64, number);
}

void tool_json_signed(const char *key, int64_t number)
{
	begin(key);
	printf("%" PRId64, number);
}

void tool_json_real(const char *key, double number)
{
	begin(key);
	printf("%.3f", number);
}

void tool_json_bool(const char *key, bool yes)
{
	begin(key);
	fputs(yes ? "true" : "false", stdout);
}
