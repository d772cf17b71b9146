/* tool_conn.h - connections: the kernel's socket, the processes that hold it, and what they publish of it
 *
 * A process is believed only about sockets that the kernel says it holds: rows are found by the cookie of a
 * socket among its own descriptors. Memory is the view's. One thread.
 */
#ifndef ZTCP_TOOL_CONN_H
#define ZTCP_TOOL_CONN_H

#include "daemon/tool/tool_diag.h"
#include "daemon/tool/tool_proc.h"
#include "daemon/tool/tool_stats.h"

/** struct tool_holder - a descriptor that names a connection */
struct tool_holder {
	const struct tool_proc *proc;
	int fd;
};

/** struct tool_conn - one TCP socket
 * @diag:   the kernel's view
 * @row:    the view of a process under ztcp; @followed: there is one
 * @holders: who holds it
 */
struct tool_conn {
	const struct tool_diag *diag;
	struct tool_row row;
	bool followed;
	struct tool_holder *holders;
	unsigned holders_count;
};

/** struct tool_view - all of it at one time */
struct tool_view {
	struct tool_proc *procs;
	int procs_count;
	struct tool_diag *diags;
	unsigned diags_count;
	struct tool_conn *conns; /* sorted by namespace, then inode */
	unsigned conns_count;
	unsigned unseen_netns; /* namespaces that could not be asked */
};

/**
 * tool_view_read() - look at processes and their connections
 * @v:    filled; tool_view_free() gives it back
 * @pids: NULL: every process that publishes; else these, whether or not they do
 * @count: of @pids
 *
 * Return: 0, or -errno after a line on standard error.
 */
int tool_view_read(struct tool_view *v, const int *pids, unsigned count);

void tool_view_free(struct tool_view *v);

/**
 * tool_view_show() - read all of it and have it shown
 * @pids: words that name processes, up to a NULL; none: every process that publishes
 *
 * Return: an exit status of the tool.
 */
int tool_view_show(char **pids, void (*show)(const struct tool_view *v));

/** tool_conn_kernel_tx() - Return: payload bytes that the kernel sent, without repetitions. */
uint64_t tool_conn_kernel_tx(const struct tool_conn *c);

/** tool_conn_kernel_rx() - Return: payload bytes that the kernel received in order. */
uint64_t tool_conn_kernel_rx(const struct tool_conn *c);

/** tool_conn_path() - Return: "stack", "shm" or "kernel" for one direction. */
const char *tool_conn_path(const struct tool_conn *c, bool lifted);

/** tool_conn_reason() - Return: name of its reason; "-" if no process follows it. */
const char *tool_conn_reason(const struct tool_conn *c);

/** tool_conn_json() - print the members that each JSON object of a connection has: path, reason, bytes by path */
void tool_conn_json(const struct tool_conn *c);

#endif
