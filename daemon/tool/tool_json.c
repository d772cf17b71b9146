/* tool_json.c - JSON on standard output */
#include "daemon/tool/tool_json.h"

#include <inttypes.h>
#include <stdio.h>

static bool comma; /* something stands before on this level */

/* Length of the UTF-8 sequence at @s, or 0. */
static unsigned utf8_length(const unsigned char *s)
{
	unsigned n = s[0] < 0x80                   ? 1
		     : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		     : (s[0] & 0xf0) == 0xe0       ? 3
		     : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
						   : 0;

	for (unsigned i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0; /* overlong, surrogate, beyond Unicode */
	return n;
}

static void string(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	putchar('"');
	while (*s) {
		unsigned n = utf8_length(s);

		if (*s == '"' || *s == '\\')
			printf("\\%c", *s++);
		else if (*s < 0x20 || *s == 0x7f)
			printf("\\u%04x", *s++);
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
}

void tool_json_close(char bracket)
{
	putchar(bracket);
	comma = true;
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
