/* tool_why.c - ztcp why PID:FD: why a connection is on its path */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_conn.h"
#include "daemon/tool/tool_json.h"
#include "stack/base/base_reason.h"

#define STATE_LISTEN 10

static bool json;

/* Is the library mapped? The name is that of the file, whatever its folder. */
static bool library_mapped(int pid)
{
	char path[64];
	char line[PATH_MAX + 128];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, "/libztcp_preload.so") != NULL;
	if (f)
		fclose(f);
	return found;
}

static const struct tool_conn *conn_find(const struct tool_view *v, int fd)
{
	for (unsigned i = 0; i < v->conns_count; i++)
		for (unsigned k = 0; k < v->conns[i].holders_count; k++)
			if (v->conns[i].holders[k].fd == fd)
				return &v->conns[i];
	return NULL;
}

/* No row: say what stands in the way of one. */
static const char *unfollowed(const struct tool_proc *p, const struct tool_conn *c)
{
	if (!library_mapped(p->pid))
		return "the program does not run under ztcp_run: the library is not in it";
	if (c->diag->state == STATE_LISTEN)
		return "the socket listens: each connection accepted from it has a reason of its own";
	if (!p->tables_count)
		return "the program has published nothing yet: it has made no connection through the library";
	return "the library does not follow this socket: no rule names it, or it was made past the library";
}

static void why_json(const struct tool_conn *c, const char *sentence)
{
	char local[64], peer[64];
	const struct tool_diag *d = c->diag;

	tool_json_open(NULL, '{');
	tool_json_text("local",
		       tool_diag_end_format(local, sizeof(local), d->family, d->src, d->sport));
	tool_json_text("peer",
		       tool_diag_end_format(peer, sizeof(peer), d->family, d->dst, d->dport));
	tool_json_text("state", tool_diag_state_name(d->state));
	tool_conn_json(c);
	if (c->followed)
		tool_json_number("reason_number", c->row.reason);
	tool_json_text("sentence", sentence);
	tool_json_close('}');
	putchar('\n');
}

static void why_print(const struct tool_conn *c, const char *sentence)
{
	const struct tool_diag *d = c->diag;
	char local[64], peer[64];

	printf("%s %s -> %s\n", tool_diag_state_name(d->state),
	       tool_diag_end_format(local, sizeof(local), d->family, d->src, d->sport),
	       tool_diag_end_format(peer, sizeof(peer), d->family, d->dst, d->dport));
	if (c->followed)
		printf("reason %u %s: %s\n", c->row.reason, tool_conn_reason(c), sentence);
	else
		printf("kernel: %s\n", sentence);
	if (d->state == STATE_LISTEN)
		return;
	if (c->row.stack) {
		printf("the stack has sent %" PRIu64 " bytes and received %" PRIu64 "\n",
		       c->row.tx_stack, c->row.rx_stack);
		return;
	}
	printf("sends on %s: %" PRIu64 " bytes by shm, %" PRIu64 " by the kernel\n",
	       tool_conn_path(c, c->row.tx_lifted), c->row.tx_shm, tool_conn_kernel_tx(c));
	printf("receives on %s: %" PRIu64 " bytes by shm, %" PRIu64 " by the kernel\n",
	       tool_conn_path(c, c->row.rx_lifted), c->row.rx_shm, tool_conn_kernel_rx(c));
	if (c->followed)
		printf("lifted %u times, lowered %u times\n", c->row.lifts, c->row.lowers);
}

/* @fd names no TCP socket: what else is it? */
static int not_tcp(int pid, int fd)
{
	char path[64];
	char link[PATH_MAX] = "";

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		tool_say("process %d has no descriptor %d", pid, fd);
	else
		tool_say(
			"descriptor %d of process %d is no TCP socket that is bound or connected: %s",
			fd, pid, tool_clean(link));
	return TOOL_FAILED;
}

static bool target_read(const char *text, int *pid, int *fd)
{
	char left[16] = "";
	const char *colon = strchr(text, ':');
	uint64_t a, b;

	if (!colon || colon - text >= (long)sizeof(left))
		return false;
	memcpy(left, text, (size_t)(colon - text));
	if (!tool_number(left, INT_MAX, &a) || !a || !tool_number(colon + 1, INT_MAX, &b))
		return false;
	*pid = (int)a;
	*fd = (int)b;
	return true;
}

int tool_why(int argc, char **argv)
{
	const struct tool_conn *c;
	struct tool_view v;
	int pid, fd, opt;
	int rc;

	optind = 1;
	while ((opt = getopt(argc, argv, "+j")) != -1) {
		if (opt != 'j')
			return TOOL_USAGE;
		json = true;
	}
	if (argc - optind != 1 || !target_read(argv[optind], &pid, &fd))
		return tool_usage("usage: ztcp why [-j] PID:FD");
	rc = tool_view_read(&v, &pid, 1);
	c = rc ? NULL : conn_find(&v, fd);
	if (c) {
		const char *sentence = c->followed ? reason_sentence(c->row.reason)
						   : unfollowed(&v.procs[0], c);

		if (json)
			why_json(c, sentence);
		else
			why_print(c, sentence);
	} else if (!rc) {
		rc = not_tcp(pid, fd);
	}
	tool_view_free(&v);
	return rc ? TOOL_FAILED : TOOL_OK;
}
