/* inst_event.c - what the application is told
 *
 * Connections with something to tell are in a list, each once, with what it is; listeners come after them. A slot whose
 * owner has left stays in the list until it is its turn.
 */
#include "stack/inst/inst_state.h"

/* @c is the first. */
BASE_INLINE void event_pop(struct inst *in, struct inst_conn *c)
{
	in->events.head = c->flow.spare;
	if (BASE_LIKELY(in->events.head == INST_NONE))
		in->events.tail = INST_NONE;
	c->flags &= (uint8_t)~INST_C_EVENT;
}

void inst_events_sweep(struct inst *in)
{
	while (in->events.head != INST_NONE) {
		struct inst_conn *c = &in->conns[in->events.head];

		if (!(c->flags & INST_C_ORPHAN))
			return;
		event_pop(in, c);
		inst_conn_kick(in, c);
	}
}

/* Who has left is told nothing. Return: the first connection in the list, or NULL. */
BASE_INLINE struct inst_conn *event_first(struct inst *in)
{
	uint32_t head = in->events.head;

	if (head == INST_NONE)
		return NULL;
	if (BASE_LIKELY(!(in->conns[head].flags & INST_C_ORPHAN)))
		return &in->conns[head];
	inst_events_sweep(in);
	return in->events.head == INST_NONE ? NULL : &in->conns[in->events.head];
}

BASE_INLINE void event_give(struct inst *in, struct inst_conn *c, struct inst_event *ev)
{
	event_pop(in, c);
	ev->conn = c;
	ev->listener = NULL;
	ev->user = c->user;
	ev->events = c->timer.spare;
	c->timer.spare = 0;
}

static bool event_listener(struct inst *in, struct inst_event *ev)
{
	return in->listeners_told && inst_listen_event(in, ev);
}

bool inst_event_take(struct inst *in, struct inst_event *ev)
{
	struct inst_conn *c = event_first(in);

	if (!c)
		return event_listener(in, ev);
	event_give(in, c, ev);
	return true;
}

/* Only listeners have something to tell, or nobody. */
static BASE_APART bool recv_listener(struct inst *in, struct inst_event *ev,
				     struct wire_tcp_iov *iov)
{
	iov->len = 0;
	return event_listener(in, ev);
}

/* Nothing is at hand. */
static BASE_APART bool recv_other(struct inst *in, struct inst_conn *c, struct wire_tcp_iov *iov,
				  ztime_t now)
{
	if (!inst_recv_iov(in, c, iov, now))
		*iov = (struct wire_tcp_iov){ 0 };
	return true;
}

bool inst_event_recv(struct inst *in, struct inst_event *ev, struct wire_tcp_iov *iov, ztime_t now)
{
	struct inst_conn *c = event_first(in);

	if (!c)
		return recv_listener(in, ev, iov);
	event_give(in, c, ev);
	if (BASE_UNLIKELY(!tcp_fast_take(&c->tcb, &in->env, iov)))
		return recv_other(in, c, iov, now);
	inst_ready_push(in, c);
	return true;
}
