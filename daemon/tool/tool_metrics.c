/* tool_metrics.c - ztcp metrics: the open connections as OpenMetrics text
 *
 * Gauges only: what is published is of open connections, so that a sum goes down when one closes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_sum.h"
#include "stack/base/base_reason.h"

/* A label's value: backslash, quote and line feed are escaped; the name was cleaned of control characters. */
static void label(const char *name, const char *value)
{
	printf("%s=\"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			putchar('\\');
		putchar(*value);
	}
	putchar('"');
}

static void sample(const char *metric, const struct tool_sum *s, const char *rest, uint64_t value)
{
	printf("%s{pid=\"%d\",", metric, s->proc->pid);
	label("program", s->proc->comm);
	printf("%s} %" PRIu64 "\n", rest, value);
}

static void family(const char *metric, const char *unit, const char *help)
{
	printf("# TYPE %s gauge\n", metric);
	if (*unit)
		printf("# UNIT %s %s\n", metric, unit);
	printf("# HELP %s %s\n", metric, help);
}

static void connections_print(const struct tool_sums *by_reason)
{
	char rest[64];

	family("ztcp_connections", "",
	       "Open TCP connections that a program under ztcp_run follows.");
	for (unsigned i = 0; i < by_reason->count; i++) {
		const char *name = reason_name(by_reason->sum[i].reason);

		if (*name ==
		    '?') /* of another version, or nonsense; series must differ all the same */
			snprintf(rest, sizeof(rest), ",reason=\"%u\"", by_reason->sum[i].reason);
		else
			snprintf(rest, sizeof(rest), ",reason=\"%s\"", name);
		sample("ztcp_connections", &by_reason->sum[i], rest, by_reason->sum[i].conns);
	}
}

static void sums_print(const struct tool_sums *sums)
{
	family("ztcp_lifted_connections", "",
	       "Open connections with at least one direction on the shm path.");
	for (unsigned i = 0; i < sums->count; i++)
		sample("ztcp_lifted_connections", &sums->sum[i], "", sums->sum[i].lifted);
	family("ztcp_connection_bytes", "bytes", "Payload that open connections carried.");
	for (unsigned i = 0; i < sums->count; i++) {
		const struct tool_sum *s = &sums->sum[i];

		sample("ztcp_connection_bytes", s, ",path=\"shm\",direction=\"sent\"", s->shm_tx);
		sample("ztcp_connection_bytes", s, ",path=\"shm\",direction=\"received\"",
		       s->shm_rx);
		sample("ztcp_connection_bytes", s, ",path=\"kernel\",direction=\"sent\"",
		       s->kernel_tx);
		sample("ztcp_connection_bytes", s, ",path=\"kernel\",direction=\"received\"",
		       s->kernel_rx);
	}
	family("ztcp_connection_lifts", "", "How often open connections were lifted.");
	for (unsigned i = 0; i < sums->count; i++)
		sample("ztcp_connection_lifts", &sums->sum[i], "", sums->sum[i].lifts);
	family("ztcp_connection_lowers", "", "How often open connections were lowered.");
	for (unsigned i = 0; i < sums->count; i++)
		sample("ztcp_connection_lowers", &sums->sum[i], "", sums->sum[i].lowers);
}

int tool_metrics(int argc, char **argv)
{
	struct tool_sums sums;
	struct tool_view v;

	if (argc > 1)
		return tool_usage("metrics: no argument belongs behind it, found '%s'", argv[1]);
	if (tool_view_read(&v, NULL, 0))
		return TOOL_FAILED;
	tool_sums_make(&sums, &v, true);
	connections_print(&sums);
	tool_sums_free(&sums);
	tool_sums_make(&sums, &v, false);
	sums_print(&sums);
	tool_sums_free(&sums);
	puts("# EOF");
	tool_view_free(&v);
	return TOOL_OK;
}
