/* inst_listen.c - listening ports, half-open children, the accept queue
 *
 * A child holds its listener's slot until it is accepted or gone, so a listener that is closed
 * keeps its slot (and the counts TCP has a pointer to) until the last child has left.
 */
#include "stack/inst/inst_state.h"

#include <errno.h>

static uint16_t *listen_chain(struct inst *in, uint16_t port)
{
	return &in->listen_head[port % INST_LISTEN_HASH];
}

static bool listener_same(const struct inst_listener *l, const union wire_addr *local,
			  uint16_t port)
{
	return l->port == port && wire_addr_is_v4(&l->local) == wire_addr_is_v4(local) &&
	       (wire_addr_is_any(&l->local) || wire_addr_is_any(local) ||
		wire_addr_equal(&l->local, local));
}

/* One bound to the address itself is preferred to one bound to all. */
static struct inst_listener *listener_find(struct inst *in, const union wire_addr *local,
					   uint16_t port)
{
	struct inst_listener *best = NULL;

	for (uint16_t i = *listen_chain(in, port); i != INST_LISTEN_NONE;
	     i = in->listeners[i].next_hash) {
		struct inst_listener *l = &in->listeners[i];

		if (!listener_same(l, local, port))
			continue;
		if (!wire_addr_is_any(&l->local))
			return l;
		best = l;
	}
	return best;
}

bool inst_listening(struct inst *in, const struct wire_flow *flow)
{
	return listener_find(in, &flow->local, flow->lport) != NULL;
}

static bool listen_conflict(struct inst *in, const union wire_addr *local, uint16_t port)
{
	for (uint16_t i = *listen_chain(in, port); i != INST_LISTEN_NONE;
	     i = in->listeners[i].next_hash)
		if (in->listeners[i].port == port &&
		    wire_addr_equal(&in->listeners[i].local, local))
			return true;
	return false;
}

int inst_listen(struct inst *in, const union wire_addr *local, uint16_t port, uint32_t backlog,
		void *user, struct inst_listener **out)
{
	uint16_t *head = listen_chain(in, port);
	uint32_t i = 0;

	if (port == 0 || (!wire_addr_is_any(local) && !ip_addr_local(in->ip, local)))
		return -EADDRNOTAVAIL;
	if (listen_conflict(in, local, port))
		return -EADDRINUSE;
	while (i < in->cfg.listeners_max && in->listeners[i].used)
		i++;
	if (i == in->cfg.listeners_max)
		return -ENOBUFS;
	in->listeners[i] = (struct inst_listener){
		.local = *local,
		.port = port,
		.user = user,
		.accept_head = INST_NONE,
		.accept_tail = INST_NONE,
		.next_hash = *head,
		.used = true,
	};
	tcp_listen_init(&in->listeners[i].tcp, &in->env, BASE_MAX(backlog, 1u), in->cfg.syn_max);
	*head = (uint16_t)i;
	*out = &in->listeners[i];
	return 0;
}

struct tcp_listener *inst_listener_tcp(struct inst_listener *l)
{
	return &l->tcp;
}

struct wire_flow inst_listener_flow(const struct inst_listener *l)
{
	return (struct wire_flow){ .local = l->local, .lport = l->port };
}

void inst_listener_quiet(struct inst_listener *l)
{
	l->quiet = true;
}

static enum counter child_open(struct inst *in, struct inst_listener *l, struct wire_tcp *seg,
			       const struct wire_flow *flow, struct inst_conn *old,
			       const struct ip_hop *hop, ztime_t now)
{
	struct inst_conn *c = inst_conn_alloc(in);
	enum counter why;

	if (!c)
		return CNT_inst_conns_full_syn;
	why = tcp_listen_open(&l->tcp, &c->tcb, seg, flow, ip_hop_mss(hop, &flow->remote),
			      old ? &old->tcb : NULL, now);
	if (old) {
		tcp_time_wait_end(&old->tcb);
		inst_conn_leave(in, old);
	}
	inst_conn_flow_set(c, flow);
	c->hop = *hop;
	c->flags |= INST_C_CHILD | INST_C_ORPHAN;
	c->listener = (uint16_t)(l - in->listeners);
	l->children++;
	inst_conn_enter(in, c);
	inst_conn_kick(in, c);
	inst_conn_settle(in, c, now);
	return why;
}

static enum counter no_listener(struct inst *in, struct wire_tcp *seg, const struct wire_flow *flow,
				ztime_t now)
{
	struct wire_tcp reply;

	if (tcp_reset_reply(seg, &reply)) {
		reply.niov = 0;
		ip_reply(in->ip, flow, &reply, now);
	}
	return CNT_inst_no_connection;
}

/* A handshake begins where somebody listens; all else may be of a connection of another instance. */
static bool others_first(const struct inst *in, const struct inst_listener *l,
			 const struct wire_tcp *seg)
{
	bool begins = (seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;

	return (!l || l->quiet || !begins) && inst_pass_may(in);
}

/* A new connection of the same name is not meant. */
static bool has_moved(const struct inst *in, const struct wire_tcp *seg,
		      const struct wire_flow *flow, ztime_t now)
{
	for (unsigned int i = 0; i < INST_MOVED_MAX && !(seg->flags & TCP_SYN); i++) {
		const struct inst_moved *m = &in->moved[i];

		if (now < m->until && wire_flow_equal(&m->flow, flow))
			return true;
	}
	return false;
}

enum counter inst_listen_input(struct inst *in, struct wire_tcp *seg, const struct wire_flow *flow,
			       struct inst_conn *old, ztime_t now)
{
	struct inst_listener *l = listener_find(in, &flow->local, flow->lport);
	bool others = !old && others_first(in, l, seg);
	enum counter why = CNT_none;
	struct ip_hop hop = { 0 };
	struct wire_tcp reply;

	if (BASE_UNLIKELY(in->moved_next) && has_moved(in, seg, flow, now))
		return CNT_inst_moved;
	if (!l)
		return others ? CNT_inst_passed : no_listener(in, seg, flow, now);
	if (BASE_UNLIKELY(l->quiet))
		return others ? CNT_inst_passed : CNT_inst_listener_quiet;
	if (ip_hop_get(in->ip, flow, &hop, now) != 0)
		return CNT_ip_no_route;
	switch (tcp_listen_input(&l->tcp, seg, flow, ip_hop_mss(&hop, &flow->remote), now, &why,
				 &reply)) {
	case TCP_LISTEN_CREATE: return child_open(in, l, seg, flow, old, &hop, now);
	case TCP_LISTEN_REPLY:
		if (others)
			return CNT_inst_passed;
		reply.niov = 0;
		ip_reply(in->ip, flow, &reply, now);
		if (old) /* a cookie, whose ACK is the listener's */
			tcp_time_wait_end(&old->tcb);
		return why;
	case TCP_LISTEN_DROP: break;
	}
	return others ? CNT_inst_passed : why;
}

static void accept_push(struct inst *in, struct inst_listener *l, struct inst_conn *c)
{
	uint32_t i = inst_index(in, c);

	c->flags |= INST_C_QUEUED;
	c->flow.spare = INST_NONE;
	if (l->accept_tail == INST_NONE)
		l->accept_head = i;
	else
		in->conns[l->accept_tail].flow.spare = i;
	l->accept_tail = i;
	in->listeners_told += !l->told;
	l->told = true;
}

static void accept_unlink(struct inst *in, struct inst_listener *l, uint32_t i)
{
	uint32_t prev = INST_NONE, at = l->accept_head;

	while (at != i) {
		prev = at;
		at = in->conns[at].flow.spare;
	}
	if (prev == INST_NONE)
		l->accept_head = in->conns[i].flow.spare;
	else
		in->conns[prev].flow.spare = in->conns[i].flow.spare;
	if (l->accept_tail == i)
		l->accept_tail = prev;
}

void inst_listen_settle(struct inst *in, struct inst_conn *c, unsigned int events, ztime_t now)
{
	struct inst_listener *l = &in->listeners[c->listener];

	c->timer.spare |= (uint16_t)events;
	if (l->closing && !(events & TCP_EV_CLOSED)) {
		tcp_abort(&c->tcb, now);
		inst_conn_kick(in, c);
		return;
	}
	if (events & TCP_EV_CLOSED && !(c->flags & INST_C_QUEUED)) {
		inst_conn_kick(in, c); /* freed after its turn */
		return;
	}
	if (events & TCP_EV_CONNECTED && !(c->flags & INST_C_QUEUED))
		accept_push(in, l, c);
}

static void listener_leave(struct inst_listener *l)
{
	if (--l->children == 0 && l->closing)
		l->used = false;
}

void inst_listen_forget(struct inst *in, struct inst_conn *c)
{
	struct inst_listener *l = &in->listeners[c->listener];

	if (c->flags & INST_C_QUEUED)
		accept_unlink(in, l, inst_index(in, c));
	c->listener = INST_LISTEN_NONE;
	tcp_free(&c->tcb); /* still counts at the listener: before the slot may go */
	listener_leave(l);
}

bool inst_listen_event(struct inst *in, struct inst_event *ev)
{
	for (uint32_t i = 0; i < in->cfg.listeners_max; i++) {
		struct inst_listener *l = &in->listeners[i];

		if (!l->told)
			continue;
		l->told = false;
		in->listeners_told--;
		*ev = (struct inst_event){ .listener = l,
					   .user = l->user,
					   .events = INST_EV_ACCEPT };
		return true;
	}
	return false;
}

struct inst_conn *inst_accept(struct inst *in, struct inst_listener *l, void *user)
{
	struct inst_conn *c;

	if (l->accept_head == INST_NONE)
		return NULL;
	c = &in->conns[l->accept_head];
	accept_unlink(in, l, l->accept_head);
	tcp_listen_accepted(&c->tcb);
	c->flags &= (uint8_t) ~(INST_C_CHILD | INST_C_QUEUED | INST_C_ORPHAN);
	c->listener = INST_LISTEN_NONE;
	c->user = user;
	listener_leave(l);
	/* What happened while it waited. */
	if (c->timer.spare)
		inst_event_push(in, c, 0);
	return c;
}

void inst_listener_close(struct inst *in, struct inst_listener *l, ztime_t now)
{
	uint16_t *link = listen_chain(in, l->port);
	uint16_t i = (uint16_t)(l - in->listeners);

	while (*link != i)
		link = &in->listeners[*link].next_hash;
	*link = l->next_hash;
	in->listeners_told -= l->told;
	l->told = false;
	l->closing = true;
	while (l->accept_head != INST_NONE) {
		struct inst_conn *c = &in->conns[l->accept_head];

		accept_unlink(in, l, l->accept_head);
		c->flags &= (uint8_t)~INST_C_QUEUED;
		tcp_abort(&c->tcb, now);
		inst_conn_kick(in, c);
	}
	if (!l->children)
		l->used = false;
}
