/* tool_sum.h - connections added up, by process and by reason
 *
 * A connection that several processes hold counts for the one that is listed first. Called by stat and
 * metrics; one thread; tool_sums_free() gives the memory back.
 */
#ifndef ZTCP_TOOL_SUM_H
#define ZTCP_TOOL_SUM_H

#include "daemon/tool/tool_conn.h"

/** struct tool_sum - the followed connections of one process that have one reason
 * @conns:  all of them
 * @lifted: with a direction on shm now
 */
struct tool_sum {
	const struct tool_proc *proc;
	unsigned reason;
	unsigned conns;
	unsigned lifted;
	uint64_t shm_tx;
	uint64_t shm_rx;
	uint64_t kernel_tx;
	uint64_t kernel_rx;
	uint64_t lifts;
	uint64_t lowers;
};

struct tool_sums {
	struct tool_sum *sum;
	unsigned count;
};

/** tool_sums_make() - @by_reason: a sum for each process and reason; else one for each process. */
void tool_sums_make(struct tool_sums *sums, const struct tool_view *v, bool by_reason);

void tool_sums_free(struct tool_sums *sums);

#endif
