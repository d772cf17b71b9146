/* tool_metrics.c - ztcp metrics: the open connections as OpenMetrics text
 *
 * Gauges only: what is published is of open connections, so that a sum goes down when one closes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_metrics.h"
#include "daemon/tool/tool_sum.h"
#include "stack/base/base_reason.h"

/* A label's value: backslash, quote and line feed are escaped; the name was cleaned of control characters. */
static void label(FILE *out, const char *name, const char *value)
{
	fprintf(out, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			putc('\\', out);
		putc(*value, out);
	}
	putc('"', out);
}

static void sample(FILE *out, const char *metric, const struct tool_sum *s, const char *rest,
		   uint64_t value)
{
	fprintf(out, "%s{pid=\"%d\",", metric, s->proc->pid);
	label(out, "program", s->proc->comm);
	fprintf(out, "%s} %" PRIu64 "\n", rest, value);
}

static void family(FILE *out, const char *metric, const char *unit, const char *help)
{
	fprintf(out, "# TYPE %s gauge\n", metric);
	if (*unit)
		fprintf(out, "# UNIT %s %s\n", metric, unit);
	fprintf(out, "# HELP %s %s\n", metric, help);
}

static void connections_print(FILE *out, const struct tool_sums *by_reason)
{
	char rest[64];

	family(out, "ztcp_connections", "",
	       "Open TCP connections that a program under ztcp_run follows.");
	for (unsigned i = 0; i < by_reason->count; i++) {
		const char *name = reason_name(by_reason->sum[i].reason);

		if (*name ==
		    '?') /* of another version, or nonsense; series must differ all the same */
			snprintf(rest, sizeof(rest), ",reason=\"%u\"", by_reason->sum[i].reason);
		else
			snprintf(rest, sizeof(rest), ",reason=\"%s\"", name);
		sample(out, "ztcp_connections", &by_reason->sum[i], rest, by_reason->sum[i].conns);
	}
}

static void sums_print(FILE *out, const struct tool_sums *sums)
{
	family(out, "ztcp_lifted_connections", "",
	       "Open connections with at least one direction on the shm path.");
	for (unsigned i = 0; i < sums->count; i++)
		sample(out, "ztcp_lifted_connections", &sums->sum[i], "", sums->sum[i].lifted);
	family(out, "ztcp_connection_bytes", "bytes", "Payload that open connections carried.");
	for (unsigned i = 0; i < sums->count; i++) {
		const struct tool_sum *s = &sums->sum[i];

		sample(out, "ztcp_connection_bytes", s, ",path=\"shm\",direction=\"sent\"",
		       s->shm_tx);
		sample(out, "ztcp_connection_bytes", s, ",path=\"shm\",direction=\"received\"",
		       s->shm_rx);
		sample(out, "ztcp_connection_bytes", s, ",path=\"kernel\",direction=\"sent\"",
		       s->kernel_tx);
		sample(out, "ztcp_connection_bytes", s, ",path=\"kernel\",direction=\"received\"",
		       s->kernel_rx);
	}
	family(out, "ztcp_connection_lifts", "", "How often open connections were lifted.");
	for (unsigned i = 0; i < sums->count; i++)
		sample(out, "ztcp_connection_lifts", &sums->sum[i], "", sums->sum[i].lifts);
	family(out, "ztcp_connection_lowers", "", "How often open connections were lowered.");
	for (unsigned i = 0; i < sums->count; i++)
		sample(out, "ztcp_connection_lowers", &sums->sum[i], "", sums->sum[i].lowers);
}

int metrics_print(FILE *out)
{
	struct tool_sums sums;
	struct tool_view v;
	int err = tool_view_read(&v, NULL, 0);

	if (err)
		return err;
	tool_sums_make(&sums, &v, true);
	connections_print(out, &sums);
	tool_sums_free(&sums);
	tool_sums_make(&sums, &v, false);
	sums_print(out, &sums);
	tool_sums_free(&sums);
	tool_view_free(&v);
	return 0;
}

int tool_metrics(int argc, char **argv)
{
	if (argc > 1)
		return tool_usage("metrics: no argument belongs behind it, found '%s'", argv[1]);
	if (metrics_print(stdout))
		return TOOL_FAILED;
	puts("# EOF");
	return tool_end(TOOL_OK);
}
