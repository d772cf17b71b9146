/* dpdk_quiet.c - the program's streams while EAL and drivers are told something
 *
 * Theory of operation. EAL prints its usage to stdout when it does not like its arguments, and an error or its log to stderr; both are
 * the program's, whose other threads may be printing. stdout and stderr are variables: for that time they are streams of ours, without
 * a buffer, that drop what this thread writes and hand on what others do. They are never closed, since another thread may have just
 * read the variables. The log goes into a buffer, whose first line belongs to the error that is told; for good, unless the device's text
 * has a --log-level: then somebody wants to read it.
 */
#include <getopt.h>
#include <pthread.h>
#include <rte_log.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "stack/dpdk/dpdk.h"

struct sieve {
	FILE *ours, *programs;
};

static struct sieve out, err;
static FILE *sink;
static _Atomic pthread_t quiet; /* the thread whose output is dropped; 0: none */
static int opterr_was;

static char line[120]; /* the first one since dpdk_quiet_begin() */
static size_t line_len;
static bool line_ends;

static ssize_t sieve_write(void *cookie, const char *text, size_t n)
{
	const struct sieve *s = cookie;

	if (pthread_equal(atomic_load(&quiet), pthread_self()))
		return (ssize_t)n;
	return (ssize_t)fwrite(text, 1, n, s->programs);
}

static ssize_t sink_write(void *cookie, const char *text, size_t n)
{
	(void)cookie;
	if (rte_log_cur_msg_loglevel() > (int)RTE_LOG_ERR)
		return (ssize_t)n;
	for (size_t i = 0; i < n && !line_ends; i++) {
		line_ends = text[i] == '\n' && line_len;
		if (text[i] >= ' ' && line_len < sizeof(line) - 1)
			line[line_len++] = text[i];
	}
	return (ssize_t)n;
}

static FILE *stream(cookie_write_function_t *write, void *cookie)
{
	FILE *f = fopencookie(cookie, "w", (cookie_io_functions_t){ .write = write });

	if (f)
		setvbuf(f, NULL, _IONBF, 0);
	return f;
}

static void sieve_begin(struct sieve *s, FILE **variable)
{
	if (!s->ours)
		s->ours = stream(sieve_write, s);
	s->programs = *variable;
	if (s->ours)
		*variable = s->ours;
}

static void sieve_end(const struct sieve *s, FILE **variable)
{
	if (s->ours && *variable == s->ours)
		*variable = s->programs;
}

void dpdk_quiet_begin(const struct dpdk_args *a)
{
	memset(line, 0, sizeof(line));
	line_len = 0;
	line_ends = false;
	opterr_was = opterr;
	opterr = 0; /* EAL's getopt_long() */
	atomic_store(&quiet, pthread_self());
	sieve_begin(&out, &stdout);
	sieve_begin(&err, &stderr);
	if (dpdk_args_have(a, "--log-level"))
		return;
	if (!sink)
		sink = stream(sink_write, NULL);
	if (sink)
		rte_openlog_stream(sink);
}

const char *dpdk_quiet_end(void)
{
	opterr = opterr_was;
	sieve_end(&out, &stdout);
	sieve_end(&err, &stderr);
	atomic_store(&quiet, 0);
	return line;
}
