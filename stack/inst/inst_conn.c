/* inst_conn.c - the life of a connection in an instance
 *
 * A slot is made by inst_conn_new() or by a listener, is in the flow table from the moment its
 * flow is known, and is freed when TCP says CLOSED and the application has let go, whichever comes
 * last. Lists link slots by index.
 */
#include "stack/inst/inst_state.h"

#include <errno.h>

struct inst_conn *inst_conn_alloc(struct inst *in)
{
	struct inst_conn *c;

	if (in->conns_free != INST_NONE) {
		c = &in->conns[in->conns_free];
		in->conns_free = c->ready_next;
	} else if (in->conns_made < in->cfg.conns_max) {
		c = &in->conns[in->conns_made++];
	} else {
		base_count(&in->counters, CNT_inst_conns_full);
		return NULL;
	}
	memset(c, 0, sizeof(*c));
	c->ready_next = c->flow.spare = INST_NONE;
	c->listener = INST_LISTEN_NONE;
	in->conns_used++;
	return c;
}

void inst_conn_drop(struct inst *in, struct inst_conn *c)
{
	if (c->listener != INST_LISTEN_NONE)
		inst_listen_forget(in, c);
	tcp_free(&c->tcb);
	inst_conn_leave(in, c);
	inst_wheel_cancel(&in->wheel, inst_index(in, c));
	c->flags |= INST_C_DEAD;
}

void inst_conn_leave(struct inst *in, struct inst_conn *c)
{
	if (!(c->flags & INST_C_TABLE))
		return;
	inst_flow_remove(&in->flow, inst_index(in, c));
	c->flags &= (uint8_t)~INST_C_TABLE;
}

bool inst_conn_reap(struct inst *in, struct inst_conn *c)
{
	if (!(c->flags & INST_C_ORPHAN) || c->flags & INST_C_QUEUED ||
	    tcp_state(&c->tcb) != TCP_ST_CLOSED)
		return false;
	if (!(c->flags & INST_C_DEAD))
		inst_conn_drop(in, c);
	/* While a list still names it, the slot cannot be used again. */
	if (!(c->flags & (INST_C_READY | INST_C_EVENT))) {
		c->tcb.env = NULL;
		c->ready_next = in->conns_free;
		in->conns_free = inst_index(in, c);
		in->conns_used--;
	}
	return true;
}

void inst_conn_kick(struct inst *in, struct inst_conn *c)
{
	inst_ready_push(in, c);
}

void inst_conn_settle(struct inst *in, struct inst_conn *c, ztime_t now)
{
	unsigned int events = tcp_events_take(&c->tcb);

	if (BASE_LIKELY(!events))
		return;
	if (c->flags & INST_C_CHILD) {
		inst_listen_settle(in, c, events, now);
		return;
	}
	if (!(c->flags & INST_C_ORPHAN)) {
		inst_event_push(in, c, events);
		return;
	}
	/* A reset may still have to be sent: the slot goes after its turn. */
	if (events & TCP_EV_CLOSED)
		inst_conn_kick(in, c);
}

struct inst_conn *inst_conn_find(struct inst *in, const struct wire_flow *flow)
{
	uint32_t i = inst_flow_find(&in->flow, flow, inst_flow_hash(&in->flow, flow));

	return i == INST_FLOW_NONE ? NULL : &in->conns[i];
}

bool inst_has(const struct inst *in, const struct wire_flow *flow)
{
	return inst_flow_find(&in->flow, flow, inst_flow_hash(&in->flow, flow)) != INST_FLOW_NONE;
}

bool inst_lives(const struct inst *in, const struct wire_flow *flow)
{
	uint32_t i = inst_flow_find(&in->flow, flow, inst_flow_hash(&in->flow, flow));

	return i != INST_FLOW_NONE && in->conns[i].tcb.state != TCP_ST_TIME_WAIT;
}

const struct wire_flow *inst_next(const struct inst *in, uint32_t *at)
{
	return inst_flow_next(&in->flow, at);
}

void inst_conn_enter(struct inst *in, struct inst_conn *c)
{
	inst_flow_add(&in->flow, inst_index(in, c));
	c->flags |= INST_C_TABLE;
}

struct inst_conn *inst_conn_new(struct inst *in, void *user)
{
	struct inst_conn *c = inst_conn_alloc(in);

	if (!c)
		return NULL;
	c->user = user;
	tcp_init(&c->tcb, &in->env);
	return c;
}

struct tcb *inst_conn_tcb(struct inst_conn *c)
{
	return &c->tcb;
}

const struct wire_flow *inst_conn_flow(const struct inst_conn *c)
{
	return &c->flow;
}

void inst_conn_user_set(struct inst_conn *c, void *user)
{
	c->user = user;
}

/* Both ends known, ours, and not in use. */
static int flow_complete(struct inst *in, struct wire_flow *flow, ztime_t now)
{
	if (wire_addr_is_any(&flow->local)) {
		int err = ip_source(in->ip, &flow->remote, &flow->local);

		if (err)
			return err;
	}
	if (!ip_addr_local(in->ip, &flow->local) ||
	    wire_addr_is_v4(&flow->local) != wire_addr_is_v4(&flow->remote))
		return -EADDRNOTAVAIL;
	if (flow->rport == 0 || wire_addr_is_multicast(&flow->remote) ||
	    wire_addr_is_broadcast(&flow->remote))
		return -ENETUNREACH;
	if (flow->lport == 0)
		return inst_port_pick(in, flow, now);
	return inst_conn_find(in, flow) ? -EADDRINUSE : 0;
}

int inst_connect(struct inst *in, struct inst_conn *c, const struct wire_flow *flow, ztime_t now)
{
	struct wire_flow f = *flow;
	int err = flow_complete(in, &f, now);

	if (!err)
		err = ip_hop_get(in->ip, &f, &c->hop, now);
	if (!err)
		err = tcp_connect(&c->tcb, &f, ip_hop_mss(&c->hop, &f.remote), now);
	if (err)
		return err;
	inst_conn_flow_set(c, &f);
	inst_conn_enter(in, c);
	inst_conn_kick(in, c);
	return 0;
}

int inst_adopt(struct inst *in, struct inst_conn *c, const struct wire_flow *flow,
	       const struct tcp_record *rec, const struct wire_tcp_iov *unread,
	       unsigned int nunread, const struct wire_tcp_iov *unacked, unsigned int nunacked,
	       ztime_t now)
{
	int err;

	if (inst_conn_find(in, flow))
		return -EADDRINUSE;
	err = tcp_record_put(&c->tcb, rec, unread, nunread, unacked, nunacked, now);
	if (err)
		return err;
	inst_conn_flow_set(c, flow);
	inst_conn_enter(in, c);
	inst_conn_kick(in, c);
	inst_conn_settle(in, c, now);
	return 0;
}

int inst_shutdown(struct inst *in, struct inst_conn *c, ztime_t now)
{
	int err = tcp_shutdown_send(&c->tcb, now);

	inst_conn_kick(in, c);
	return err;
}

/* From here the slot is ours; it is freed when its turn finds the machine CLOSED. */
static void conn_orphan(struct inst *in, struct inst_conn *c)
{
	c->flags |= INST_C_ORPHAN;
	inst_conn_kick(in, c);
}

int inst_release(struct inst *in, struct inst_conn *c, struct tcp_record *rec,
		 struct wire_tcp_iov *unread, unsigned int *nunread, struct wire_tcp_iov *unacked,
		 unsigned int *nunacked, ztime_t now)
{
	const struct wire_buf_ops *buf = &in->cfg.buf;
	int err;

	if (c->tcb.rcv_chunks > *nunread || c->tcb.snd_chunks > *nunacked)
		return -ENOSPC;
	err = tcp_record_take(&c->tcb, rec, now);
	if (err)
		return err;
	*nunacked = tcp_unacked_peek(&c->tcb, unacked, *nunacked);
	for (unsigned int i = 0; i < *nunacked; i++)
		if (unacked[i].owner)
			buf->get(buf->ctx, unacked[i].owner);
	*nunread = 0;
	while (tcp_recv_take(&c->tcb, &unread[*nunread], now))
		(*nunread)++;
	in->moved[in->moved_next++ % INST_MOVED_MAX] =
		(struct inst_moved){ c->flow, now + INST_MOVED_MS * ZTIME_MS };
	inst_conn_drop(in, c);
	conn_orphan(in, c);
	return 0;
}

void inst_close(struct inst *in, struct inst_conn *c, ztime_t now)
{
	tcp_close(&c->tcb, now);
	conn_orphan(in, c);
}

void inst_abort(struct inst *in, struct inst_conn *c, ztime_t now)
{
	tcp_abort(&c->tcb, now);
	conn_orphan(in, c);
}
