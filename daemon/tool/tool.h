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
int tool_stat(int argc, char **argv);
int tool_metrics(int argc, char **argv);
int tool_top(int argc, char **argv);
int tool_tcpdump(int argc, char **argv);
int tool_enable(int argc, char **argv);
int tool_disable(int argc, char **argv);
int tool_nic(int argc, char **argv);

/** tool_say() - one line on standard error: "ztcp: ..." */
void tool_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** tool_usage() - the same, and TOOL_USAGE to return. */
int tool_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** tool_end() - Return: @status, or TOOL_FAILED if standard output could not take what was printed. */
int tool_end(int status);

/** tool_number() - a decimal number up to @max and nothing else. Return: whether @text is one. */
bool tool_number(const char *text, uint64_t max, uint64_t *num);

/** struct tool_pids - processes named on the command line */
struct tool_pids {
	int pid[256];
	unsigned count;
};

/** tool_pids_read() - @args ends with NULL. Return: false after a line on standard error. */
bool tool_pids_read(struct tool_pids *pids, char **args);

/**
 * tool_grow() - room for one more element
 * @array: NULL or what tool_grow() returned before
 * @count: elements in use
 * @size:  bytes of one
 *
 * Return: the array, perhaps elsewhere. Ends the program if there is no memory.
 */
void *tool_grow(void *array, size_t count, size_t size);

/** tool_utf8_length() - Return: bytes of the UTF-8 character at @text, 0 if it begins none. */
unsigned tool_utf8_length(const char *text);

/** tool_clean() - replace what a terminal might obey, or not understand, in what others wrote. Return: @text. */
char *tool_clean(char *text);

#endif
