/* tool.h - what the subcommands of ztcp share
 *
 * Called by the files of daemon/tool; one thread. A subcommand gets its own argv (argv[0] is its name)
 * and returns the exit status: 0 done, 1 no or failed, 2 wrong usage.
 */
#ifndef ZTCP_TOOL_H
#define ZTCP_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOOL_OK, TOOL_FAILED, TOOL_USAGE };

int tool_policy(int argc, char **argv);
int tool_ss(int argc, char **argv);
int tool_why(int argc, char **argv);

/** tool_say() - one line on standard error: "ztcp: ..." */
void tool_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** tool_usage() - the same, and TOOL_USAGE to return. */
int tool_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** tool_end() - Return: @status, or TOOL_FAILED if standard output could not take what was printed. */
int tool_end(int status);

/** tool_number() - a decimal number up to @max and nothing else. Return: whether @text is one. */
bool tool_number(const char *text, uint64_t max, uint64_t *num);

/**
 * tool_grow() - room for one more element
 * @array: NULL or what tool_grow() returned before
 * @count: elements in use
 * @size:  bytes of one
 *
 * Return: the array, perhaps elsewhere. Ends the program if there is no memory.
 */
void *tool_grow(void *array, size_t count, size_t size);

/** tool_clean() - replace what a terminal might obey in a string that others wrote. Return: @text. */
char *tool_clean(char *text);

#endif
