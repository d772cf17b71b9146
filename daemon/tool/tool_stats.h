/* tool_stats.h - what a process publishes of its connections, read with suspicion
 *
 * The table (shm/stats.h) and the arena (shm/contract.h) are memory that another process writes while it is
 * read, and may fill with anything. It is copied by read calls, which a shrinking file cannot harm;
 * counts that make no sense become 0. The process need not run: nobody is asked. One thread.
 */
#ifndef ZTCP_TOOL_STATS_H
#define ZTCP_TOOL_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/tcp.h>

#include "daemon/tool/tool_proc.h"
#include "shm/stats.h"

/** struct tool_row - one connection, as its process sees it
 * @cookie:  of the kernel socket; 0: not asked for yet, then @fd tells it
 * @fd:      descriptor; 0 if @cookie tells it
 * @foreign: from the table of another process, inherited by fork
 * @reason:  number of stack/base/reasons.def, perhaps unknown here
 * @tx_shm, @rx_shm: bytes through shared memory
 * @stack:   the stack of its process carries it; then @tx_stack, @rx_stack count its bytes, and @local, @remote
 *           (IPv4 as v4-mapped), @lport and @rport are its ends: the kernel knows none; @info, @cong and the queues are
 *           its TCP as the process published it last
 */
struct tool_row {
	uint64_t cookie;
	int fd;
	uint16_t reason;
	bool foreign;
	bool accepted;
	bool tx_lifted;
	bool rx_lifted;
	uint32_t ops;
	uint32_t lifts;
	uint32_t lowers;
	uint64_t tx_shm;
	uint64_t rx_shm;
	bool stack;
	uint64_t tx_stack;
	uint64_t rx_stack;
	uint8_t local[16];
	uint8_t remote[16];
	uint16_t lport;
	uint16_t rport;
	struct tcp_info info; /* zero behind @info_bytes */
	unsigned info_bytes;
	uint32_t rqueue;
	uint32_t wqueue;
	char cong[16];
};

/** struct tool_rows - all rows of all tables of a process, sorted for tool_rows_find() */
struct tool_rows {
	struct tool_row *row;
	unsigned count;
};

/** tool_rows_read() - @rows is filled, perhaps with nothing; tool_rows_free() gives it back. */
void tool_rows_read(struct tool_rows *rows, const struct tool_proc *p);

/** tool_nets_read() - the stacks of a process. Return: how many, in *@nets, which free() gives back. */
unsigned tool_nets_read(struct stats_net **nets, const struct tool_proc *p);

void tool_rows_free(struct tool_rows *rows);

/** tool_rows_find() - Return: the row of the kernel socket @cookie that descriptor @fd names, or NULL. */
const struct tool_row *tool_rows_find(const struct tool_rows *rows, uint64_t cookie, int fd);

#endif
