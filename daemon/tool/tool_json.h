/* tool_json.h - JSON on standard output
 *
 * A writer that keeps track of commas. Every function takes the key first: NULL inside an array and at
 * the top. Strings may hold any bytes: what is not UTF-8 becomes U+FFFD. One thread.
 */
#ifndef ZTCP_TOOL_JSON_H
#define ZTCP_TOOL_JSON_H

#include <stdbool.h>
#include <stdint.h>

void tool_json_open(const char *key, char bracket); /* '{' or '[' */
void tool_json_close(char bracket);                 /* '}' or ']' */
void tool_json_text(const char *key, const char *text);
void tool_json_number(const char *key, uint64_t number);
void tool_json_signed(const char *key, int64_t number);
void tool_json_real(const char *key, double number);
void tool_json_bool(const char *key, bool yes);

#endif
