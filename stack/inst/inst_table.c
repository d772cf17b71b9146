/* inst_table.c - where an instance's connections lie in its memory
 *
 * Who outlives the process (ztcpd) resets them. It reads what the instance goes by itself, so that a connection
 * costs nothing for it.
 */
#include "stack/base/base_lease.h"
#include "stack/inst/inst_state.h"

#define TCB_AT(field)  (offsetof(struct inst_conn, tcb) + offsetof(struct tcb, field))
#define FLOW_AT(field) (offsetof(struct inst_conn, flow) + offsetof(struct wire_flow, field))

void inst_table(const struct inst *in, const void *base, struct lease_table *t)
{
	*t = (struct lease_table){
		.at = (uint64_t)((const char *)in->conns - (const char *)base),
		.stride = sizeof(struct inst_conn),
		.count = in->cfg.conns_max,
		.local = FLOW_AT(local),
		.remote = FLOW_AT(remote),
		.lport = FLOW_AT(lport),
		.rport = FLOW_AT(rport),
		.snd_nxt = TCB_AT(snd_nxt),
		.rcv_nxt = TCB_AT(rcv_nxt),
		.state = TCB_AT(state),
		.open = ((1u << TCP_ST_COUNT) - 1) & ~(1u << TCP_ST_CLOSED) &
			~(1u << TCP_ST_TIME_WAIT),
	};
}
