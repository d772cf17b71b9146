/* tool_metrics.c - ztcp metrics: the open connections as OpenMetrics text
 *
 * Gauges only: what is published is of open connections, so that a sum goes down when one closes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_json.h"
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

/* What tells the samples of one process apart. */
struct tag {
	const char *name;
	const char *value;
};

static void sample_json(const struct tool_sum *s, const struct tag *tag, unsigned tags,
			uint64_t value)
{
	tool_json_open(NULL, '{');
	tool_json_number("pid", (uint64_t)s->proc->pid);
	tool_json_text("program", s->proc->comm);
	for (unsigned i = 0; i < tags; i++)
		tool_json_text(tag[i].name, tag[i].value);
	tool_json_number("value", value);
	tool_json_close('}');
}

/* @out: NULL: JSON on standard output, here and below */
static void sample(FILE *out, const char *metric, const struct tool_sum *s, const struct tag *tag,
		   unsigned tags, uint64_t value)
{
	if (!out) {
		sample_json(s, tag, tags, value);
		return;
	}
	fprintf(out, "%s{pid=\"%d\",", metric, s->proc->pid);
	label(out, "program", s->proc->comm);
	for (unsigned i = 0; i < tags; i++) {
		putc(',', out);
		label(out, tag[i].name, tag[i].value);
	}
	fprintf(out, "} %" PRIu64 "\n", value);
}

static void family(FILE *out, const char *metric, const char *unit, const char *help)
{
	if (!out) {
		tool_json_open(NULL, '{');
		tool_json_text("name", metric);
		tool_json_text("type", "gauge");
		tool_json_text("unit", unit);
		tool_json_text("help", help);
		tool_json_open("samples", '[');
		return;
	}
	fprintf(out, "# TYPE %s gauge\n", metric);
	if (*unit)
		fprintf(out, "# UNIT %s %s\n", metric, unit);
	fprintf(out, "# HELP %s %s\n", metric, help);
}

static void family_end(FILE *out)
{
	if (out)
		return;
	tool_json_close(']');
	tool_json_close('}');
}

static void connections_print(FILE *out, const struct tool_sums *by_reason)
{
	char number[16];

	family(out, "ztcp_connections", "",
	       "Open TCP connections that a program under ztcp_run follows.");
	for (unsigned i = 0; i < by_reason->count; i++) {
		struct tag reason = { "reason", reason_name(by_reason->sum[i].reason) };

		if (*reason.value ==
		    '?') { /* of another version, or nonsense; series must differ all the same */
			snprintf(number, sizeof(number), "%u", by_reason->sum[i].reason);
			reason.value = number;
		}
		sample(out, "ztcp_connections", &by_reason->sum[i], &reason, 1,
		       by_reason->sum[i].conns);
	}
	family_end(out);
}

static void bytes_print(FILE *out, const struct tool_sum *s)
{
	const uint64_t bytes[2][2] = { { s->shm_tx, s->shm_rx }, { s->kernel_tx, s->kernel_rx } };
	static const char *const path[2] = { "shm", "kernel" };
	static const char *const direction[2] = { "sent", "received" };

	for (unsigned i = 0; i < 4; i++) {
		struct tag tag[2] = { { "path", path[i / 2] }, { "direction", direction[i % 2] } };

		sample(out, "ztcp_connection_bytes", s, tag, 2, bytes[i / 2][i % 2]);
	}
}

static void sums_print(FILE *out, const struct tool_sums *sums)
{
	family(out, "ztcp_lifted_connections", "",
	       "Open connections with at least one direction on the shm path.");
	for (unsigned i = 0; i < sums->count; i++)
		sample(out, "ztcp_lifted_connections", &sums->sum[i], NULL, 0, sums->sum[i].lifted);
	family_end(out);
	family(out, "ztcp_connection_bytes", "bytes", "Payload that open connections carried.");
	for (unsigned i = 0; i < sums->count; i++)
		bytes_print(out, &sums->sum[i]);
	family_end(out);
	family(out, "ztcp_connection_lifts", "", "How often open connections were lifted.");
	for (unsigned i = 0; i < sums->count; i++)
		sample(out, "ztcp_connection_lifts", &sums->sum[i], NULL, 0, sums->sum[i].lifts);
	family_end(out);
	family(out, "ztcp_connection_lowers", "", "How often open connections were lowered.");
	for (unsigned i = 0; i < sums->count; i++)
		sample(out, "ztcp_connection_lowers", &sums->sum[i], NULL, 0, sums->sum[i].lowers);
	family_end(out);
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

static int json_print(void)
{
	int err;

	tool_json_open(NULL, '[');
	err = metrics_print(NULL);
	tool_json_close(']');
	putchar('\n');
	return err ? TOOL_FAILED : TOOL_OK;
}

int tool_metrics(int argc, char **argv)
{
	bool json = false;
	int opt;

	optind = 1;
	while ((opt = getopt(argc, argv, "+j")) != -1) {
		if (opt != 'j')
			return TOOL_USAGE;
		json = true;
	}
	if (optind < argc)
		return tool_usage("metrics: no argument belongs behind it, found '%s'",
				  argv[optind]);
	if (json)
		return json_print();
	if (metrics_print(stdout))
		return TOOL_FAILED;
	puts("# EOF");
	return TOOL_OK;
}
