/* inst_state.h - the inside of struct inst; for stack/inst alone
 *
 * What it does: shows the memory and the calls between the files of this folder. Memory and
 * thread: as in inst.h.
 */
#ifndef ZTCP_INST_STATE_H
#define ZTCP_INST_STATE_H

#include "stack/base/base_check.h"
#include "stack/inst/inst.h"
#include "stack/inst/inst_flow.h"
#include "stack/inst/inst_wheel.h"
#include "stack/ip/ip_plain.h"
#include "stack/tcp/tcp_fast.h"

#define INST_NONE        UINT32_MAX
#define INST_LISTEN_NONE UINT16_MAX
#define INST_MOVED_MAX   16 /* connections given away that are remembered */
#define INST_MOVED_MS    1000
#define INST_SEGS_MAX    16    /* segments asked of a connection in one turn */
#define INST_GSO_BYTES   65435 /* of a frame that the device cuts: all headers fit beside them */
#define INST_GRO_MAX     4     /* connections whose segments are merged at a time */
#define INST_FILL_BYTES  16384 /* buffer into which short payload is copied, one after the other */
#define INST_STEPS_MAX   256   /* timers moved or fired in one turn */
#define INST_SELF_TURNS  64    /* there and back of bytes to an address of ours in one call */
#define INST_LISTEN_HASH 256

enum inst_conn_flag {
	INST_C_READY = 0x01,  /* on the ready list */
	INST_C_EVENT = 0x02,  /* on the event list */
	INST_C_TABLE = 0x04,  /* in the flow table */
	INST_C_ORPHAN = 0x08, /* the application has let go, or never had it */
	INST_C_CHILD = 0x10,  /* passive and not accepted: listener holds */
	INST_C_DEAD = 0x40,   /* dropped; the slot waits for the lists to let go */
	INST_C_QUEUED = 0x20, /* on its listener's accept queue (linked like events) */
	INST_C_V4 = 0x80,     /* its flow is IPv4's */
};

struct inst_conn {
	struct tcb tcb;
	struct wire_flow flow; /* spare: next of the event list or the accept queue */
	struct ip_hop hop;
	struct inst_timer timer; /* spare: TCP_EV_* to be told */
	uint32_t ready_next;
	uint16_t listener;
	uint8_t flags;
	uint8_t unused;
	void *user;
};

BASE_BUILD_CHECK(sizeof(struct inst_conn) == INST_CONN_BYTES);

struct inst_listener {
	struct tcp_listener tcp;
	union wire_addr local;
	void *user;
	uint32_t accept_head, accept_tail;
	uint32_t children; /* connections that hold this slot */
	uint16_t port;
	uint16_t next_hash;
	bool used, closing;
	bool told; /* INST_EV_ACCEPT is due */
	bool quiet;
};

/* A buffer that is filled by small pieces, each with its own reference. */
struct inst_fill {
	void *owner;
	uint8_t *data;
	uint32_t at, size;
};

struct inst_gro {
	uint32_t conn; /* INST_NONE: free */
	struct wire_tcp seg;
};

struct inst_list {
	uint32_t head, tail;
};

/* Given away: what was on its way here is not to be answered by a reset. */
struct inst_moved {
	struct wire_flow flow;
	ztime_t until;
};

struct inst {
	struct base_counters counters;
	struct inst_config cfg;
	struct tcp_env env;
	struct ip *ip;
	const struct ip_plain *plain;
	struct inst_conn *conns;
	uint32_t conns_made; /* slots ever used */
	uint32_t conns_free; /* list by ready_next */
	uint32_t conns_used;
	struct inst_list ready, events;
	struct inst_flow flow;
	struct inst_wheel wheel;
	struct inst_listener *listeners;
	uint16_t listen_head[INST_LISTEN_HASH];
	uint32_t listeners_told;
	char *pool_at, *pool_end;
	struct inst_fill tx_fill, rx_fill;
	struct inst_pass pass;
	const struct inst_passed *touring; /* what inst_passed() is busy with, or NULL */
	uint32_t port_next;
	struct inst_moved moved[INST_MOVED_MAX];
	unsigned int moved_next;
	unsigned int gro_used;
	struct inst_gro gro[INST_GRO_MAX];
	struct wire_tcp segs[INST_SEGS_MAX];
};

static inline uint32_t inst_index(const struct inst *in, const struct inst_conn *c)
{
	return (uint32_t)(c - in->conns);
}

/** inst_conn_flow_set() - name @c's connection; its place in lists stays. */
static inline void inst_conn_flow_set(struct inst_conn *c, const struct wire_flow *flow)
{
	uint32_t spare = c->flow.spare;

	c->flow = *flow;
	c->flow.spare = spare;
	c->flags &= (uint8_t)~INST_C_V4;
	if (wire_addr_is_v4(&flow->remote))
		c->flags |= INST_C_V4;
}

/* Put slot @i, which is on none, at the end of @list, linked by @next. */
#define inst_list_append(in, list, c, i, next)               \
	do {                                                 \
		(c)->next = INST_NONE;                       \
		if (BASE_LIKELY((list).tail == INST_NONE))   \
			(list).head = (i);                   \
		else                                         \
			(in)->conns[(list).tail].next = (i); \
		(list).tail = (i);                           \
	} while (0)

/** inst_ready_push() - @c has something to do in the next inst_output(). */
BASE_INLINE void inst_ready_push(struct inst *in, struct inst_conn *c)
{
	uint32_t i;

	if (c->flags & INST_C_READY)
		return;
	i = inst_index(in, c);
	c->flags |= INST_C_READY;
	inst_list_append(in, in->ready, c, i, ready_next);
}

/** inst_event_push() - tell the application @events of @c. */
BASE_INLINE void inst_event_push(struct inst *in, struct inst_conn *c, unsigned int events)
{
	uint32_t i;

	c->timer.spare |= (uint16_t)events;
	if (c->flags & INST_C_EVENT)
		return;
	i = inst_index(in, c);
	c->flags |= INST_C_EVENT;
	inst_list_append(in, in->events, c, i, flow.spare);
}

/* inst_conn.c */

/** inst_conn_alloc() - a zeroed slot. Return: it, or NULL. */
struct inst_conn *inst_conn_alloc(struct inst *in);

/** inst_conn_drop() - give back all that @c holds but its slot: inst_conn_reap() frees that. */
void inst_conn_drop(struct inst *in, struct inst_conn *c);

/** inst_conn_leave() - out of the flow table. */
void inst_conn_leave(struct inst *in, struct inst_conn *c);

/** inst_conn_reap() - drop @c if it is closed and nobody's. Return: true when it was. */
bool inst_conn_reap(struct inst *in, struct inst_conn *c);

/** inst_events_sweep() - let go of connections at the head of the event list whose owner has left. */
void inst_events_sweep(struct inst *in);

/** inst_conn_enter() - put @c, whose flow is set, into the table. */
void inst_conn_enter(struct inst *in, struct inst_conn *c);

/**
 * inst_conn_settle() - take @c's events after any call of its machine; frees a connection that is
 * over.
 */
void inst_conn_settle(struct inst *in, struct inst_conn *c, ztime_t now);

/** inst_conn_find() - Return: the connection of @flow, or NULL. */
struct inst_conn *inst_conn_find(struct inst *in, const struct wire_flow *flow);

/* inst_listen.c */

/**
 * inst_listen_input() - a segment without a connection; @old is in TIME-WAIT and may be replaced,
 * or NULL. Return: CNT_inst_passed: nobody knows it here, and it was not answered: inst_pass_segment() is due.
 */
enum counter inst_listen_input(struct inst *in, struct wire_tcp *seg, const struct wire_flow *flow,
			       struct inst_conn *old, ztime_t now);

/** inst_listening() - Return: true when somebody listens at @flow's local end. */
bool inst_listening(struct inst *in, const struct wire_flow *flow);

/** inst_listen_settle() - the events of a child that nobody has accepted. */
void inst_listen_settle(struct inst *in, struct inst_conn *c, unsigned int events, ztime_t now);

/** inst_listen_forget() - child @c is gone. */
void inst_listen_forget(struct inst *in, struct inst_conn *c);

/** inst_listen_event() - take the next listener that has to be told. Return: false when none. */
bool inst_listen_event(struct inst *in, struct inst_event *ev);

/* inst_pass.c */

/** inst_pass_may() - Return: whether another instance may know more of what is being taken in. */
bool inst_pass_may(const struct inst *in);

/* To the next instance. Return: what is to be counted. */
enum counter inst_pass_segment(struct inst *in, const struct ip_rx *rx);
enum counter inst_pass_error(struct inst *in, const struct ip_error *e);
enum counter inst_pass_heard(struct inst *in, const struct ip_heard *heard);

/* inst_port.c */

/** inst_port_pick() - choose flow->lport. Return: 0 or -EADDRNOTAVAIL. */
int inst_port_pick(struct inst *in, struct wire_flow *flow, ztime_t now);

/* inst_input.c */

/** inst_errors_input() - tell connections that IP has found a way closed. */
void inst_errors_input(struct inst *in, const struct ip_error *e, unsigned int n, ztime_t now);

/* inst_io.c */

/**
 * inst_fill_copy() - copy up to @len bytes into the buffer. Return: bytes in *@iov, 0 without a
 * buffer.
 */
uint32_t inst_fill_copy(struct inst *in, struct inst_fill *fill, const uint8_t *data, uint32_t len,
			struct wire_tcp_iov *iov);

/** inst_fill_back() - what inst_fill_copy() gave last is not needed. */
void inst_fill_back(struct inst *in, struct inst_fill *fill, const struct wire_tcp_iov *iov);

/** inst_fill_drop() - give the buffer back. */
void inst_fill_drop(struct inst *in, struct inst_fill *fill);

#endif
