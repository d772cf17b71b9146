/* tool_stat.c - ztcp stat: the open connections of each process, added up */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_json.h"
#include "daemon/tool/tool_sum.h"
#include "stack/base/base_reason.h"

static bool json;

static void sum_print(const struct tool_sum *s)
{
	printf("%7d %-15s %7u %7u %16" PRIu64 " %16" PRIu64 " %16" PRIu64 " %16" PRIu64 " %7" PRIu64
	       " %7" PRIu64 "\n",
	       s->proc->pid, s->proc->comm, s->conns, s->lifted, s->shm_tx, s->shm_rx, s->kernel_tx,
	       s->kernel_rx, s->lifts, s->lowers);
}

static void reasons_json(const struct tool_sums *by_reason, const struct tool_proc *proc)
{
	tool_json_open("reasons", '{');
	for (unsigned i = 0; i < by_reason->count; i++)
		if (by_reason->sum[i].proc == proc)
			tool_json_number(reason_name(by_reason->sum[i].reason),
					 by_reason->sum[i].conns);
	tool_json_close('}');
}

static void sum_json(const struct tool_sum *s, const struct tool_sums *by_reason)
{
	tool_json_open(NULL, '{');
	tool_json_number("pid", (uint64_t)s->proc->pid);
	tool_json_text("program", s->proc->comm);
	tool_json_number("connections", s->conns);
	tool_json_number("lifted", s->lifted);
	tool_json_number("shm_sent", s->shm_tx);
	tool_json_number("shm_received", s->shm_rx);
	tool_json_number("kernel_sent", s->kernel_tx);
	tool_json_number("kernel_received", s->kernel_rx);
	tool_json_number("lifts", s->lifts);
	tool_json_number("lowers", s->lowers);
	reasons_json(by_reason, s->proc);
	tool_json_close('}');
}

static void view_print(const struct tool_view *v)
{
	struct tool_sums sums, by_reason;

	tool_sums_make(&sums, v, false);
	tool_sums_make(&by_reason, v, true);
	if (json) {
		tool_json_open(NULL, '[');
		for (unsigned i = 0; i < sums.count; i++)
			sum_json(&sums.sum[i], &by_reason);
		tool_json_close(']');
		putchar('\n');
	} else {
		printf("%7s %-15s %7s %7s %16s %16s %16s %16s %7s %7s\n", "Pid", "Program", "Conns",
		       "Lifted", "Shm-Sent", "Shm-Received", "Kernel-Sent", "Kernel-Received",
		       "Lifts", "Lowers");
		for (unsigned i = 0; i < sums.count; i++)
			sum_print(&sums.sum[i]);
	}
	tool_sums_free(&by_reason);
	tool_sums_free(&sums);
}

int tool_stat(int argc, char **argv)
{
	struct tool_pids pids;
	struct tool_view v;
	int opt, rc;

	optind = 1;
	while ((opt = getopt(argc, argv, "+j")) != -1) {
		if (opt != 'j')
			return TOOL_USAGE;
		json = true;
	}
	if (!tool_pids_read(&pids, argv + optind))
		return TOOL_USAGE;
	rc = tool_view_read(&v, pids.count ? pids.pid : NULL, pids.count);
	if (!rc)
		view_print(&v);
	tool_view_free(&v);
	return rc ? TOOL_FAILED : TOOL_OK;
}
