/* tool_sum.c - connections added up, by process and by reason */
#include "daemon/tool/tool_sum.h"

#include <stdlib.h>

#include "daemon/tool/tool.h"

static struct tool_sum *sum_of(struct tool_sums *s, const struct tool_proc *proc, unsigned reason)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->sum[i].proc == proc && s->sum[i].reason == reason)
			return &s->sum[i];
	s->sum = tool_grow(s->sum, s->count, sizeof(*s->sum));
	s->sum[s->count] = (struct tool_sum){ .proc = proc, .reason = reason };
	return &s->sum[s->count++];
}

void tool_sums_make(struct tool_sums *sums, const struct tool_view *v, bool by_reason)
{
	*sums = (struct tool_sums){ 0 };
	for (unsigned i = 0; i < v->conns_count; i++) {
		const struct tool_conn *c = &v->conns[i];
		struct tool_sum *s;

		if (!c->followed)
			continue;
		s = sum_of(sums, c->holders[0].proc, by_reason ? c->row.reason : 0);
		s->conns++;
		s->lifted += c->row.tx_lifted || c->row.rx_lifted;
		s->shm_tx += c->row.tx_shm;
		s->shm_rx += c->row.rx_shm;
		s->kernel_tx += tool_conn_kernel_tx(c);
		s->kernel_rx += tool_conn_kernel_rx(c);
		s->lifts += c->row.lifts;
		s->lowers += c->row.lowers;
	}
}

void tool_sums_free(struct tool_sums *sums)
{
	free(sums->sum);
}
