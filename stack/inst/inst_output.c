/* inst_output.c - frames out: what IP wants sent, then each connection's turn
 *
 * A connection gets one turn in a call, since a second one would end the loan of the payload of
 * the first. Its timer is left alone when it is armed for earlier than needed: it fires, finds
 * nothing due, and is armed again, which spares the wheel the moves that each acknowledgement
 * would cost.
 */
#include "stack/inst/inst_state.h"

#define IP_ERRORS_MAX 8

static void timers_fire(struct inst *in, ztime_t now)
{
	unsigned int steps = INST_STEPS_MAX;
	struct ip_error errors[IP_ERRORS_MAX];
	uint32_t i;

	while ((i = inst_wheel_fire(&in->wheel, now, &steps)) != INST_WHEEL_NONE) {
		tcp_fast_end(&in->conns[i].tcb); /* its timers are the complete way's */
		inst_conn_kick(in, &in->conns[i]);
	}
	inst_errors_input(in, errors, ip_tick(in->ip, errors, IP_ERRORS_MAX, now), now);
}

static unsigned int answers_take(struct inst *in, struct wire_frame_out *out, unsigned int max)
{
	unsigned int n = 0;

	/*
	 * The last one given is good until the next is taken, so one with payload ends the batch.
	 */
	while (n < max && ip_answer_take(in->ip, &out[n]))
		if (out[n++].niov)
			break;
	return n;
}

static BASE_APART void conn_arm(struct inst *in, struct inst_conn *c)
{
	ztime_t want = tcp_deadline(&c->tcb);
	uint32_t i;

	if (BASE_LIKELY(want == ZTIME_NEVER || inst_wheel_by(&c->timer, want)))
		return;
	i = inst_index(in, c);
	if (want < inst_wheel_armed(&in->wheel, i))
		inst_wheel_arm(&in->wheel, i, want);
}

/* The deadline of @c that has moved nearer. */
BASE_INLINE void xmit_arm(struct inst *in, struct inst_conn *c)
{
	if (BASE_UNLIKELY(!inst_wheel_by(&c->timer, c->tcb.xmit_at)))
		conn_arm(in, c);
}

/*
 * The short way (tcp_fast.h) of a connection of IPv4 (@v4) and timestamps (@ts), on links of @l3_at bytes.
 * Return: frames filled, or -1 when it is not at hand.
 */
BASE_INLINE int fast_output_as(struct inst *in, struct inst_conn *c, struct wire_frame_out *out,
			       bool v4, bool ts, uint8_t l3_at, uint32_t now_ms, ztime_t now)
{
	uint8_t l4_at = (uint8_t)(l3_at + (v4 ? WIRE_IP4_LEN : WIRE_IP6_LEN));
	uint8_t l4_len = ts ? TCP_FAST_HDR_TS : WIRE_TCP_HDR_LEN;
	struct ip_link *link;

	if (!tcp_fast_out(&c->tcb, &in->env, out->hdr + l4_at, ts, out->iov, now_ms, now))
		return -1;
	xmit_arm(in, c);
	out->gso_size = 0;
	out->niov = 1;
	out->len = out->iov[0].len;
	link = ip_plain_link(in->plain, &c->hop, now);
	if (BASE_LIKELY(link)) {
		ip_plain_headers(link, l3_at, &c->flow, v4, out, l4_len, 0);
		return 1;
	}
	out->l4_at = l4_at;
	out->l4_len = l4_len;
	return ip_send(in->ip, &c->hop, &c->flow, out, 0, now) == 1;
}

/* What is not as most connections are. */
static BASE_APART int fast_output_other(struct inst *in, struct inst_conn *c,
					struct wire_frame_out *out, uint32_t now_ms, ztime_t now)
{
	bool ts = tcp_is(&c->tcb, TCP_F_TS);

	if (c->flags & INST_C_DEAD) {
		inst_conn_reap(in, c);
		return 0;
	}
	if (c->flags & INST_C_V4)
		return fast_output_as(in, c, out, true, ts, in->plain->link_len, now_ms, now);
	return fast_output_as(in, c, out, false, ts, in->plain->link_len, now_ms, now);
}

BASE_INLINE int fast_output(struct inst *in, struct inst_conn *c, struct wire_frame_out *out,
			    uint32_t now_ms, ztime_t now)
{
	if (BASE_LIKELY((c->flags & (INST_C_V4 | INST_C_DEAD)) == INST_C_V4 &&
			tcp_is(&c->tcb, TCP_F_TS) && in->plain->link_len == WIRE_ETH_LEN))
		return fast_output_as(in, c, out, true, true, WIRE_ETH_LEN, now_ms, now);
	return fast_output_other(in, c, out, now_ms, now);
}

/* The complete way. Return: frames filled. */
static BASE_APART unsigned int conn_output_all(struct inst *in, struct inst_conn *c,
					       struct wire_frame_out *out, unsigned int max,
					       ztime_t now)
{
	unsigned int ask = BASE_MIN(max, (unsigned int)INST_SEGS_MAX);
	unsigned int got = tcp_output(&c->tcb, in->segs, ask, now), n = 0;

	for (unsigned int i = 0; i < got; i++)
		n += ip_output(in->ip, &c->hop, &c->flow, &in->segs[i], &out[n], now) == 1;
	if (inst_conn_reap(in, c))
		return n;
	inst_conn_settle(in, c, now);
	if (got == ask)
		inst_conn_kick(in, c);
	conn_arm(in, c);
	return n;
}

/* Return: frames filled; a connection that could send more is put at the end of the ready list. */
BASE_INLINE unsigned int conn_output(struct inst *in, struct inst_conn *c,
				     struct wire_frame_out *out, unsigned int max, uint32_t now_ms,
				     ztime_t now)
{
	int sent;

	sent = fast_output(in, c, out, now_ms, now);
	if (BASE_LIKELY(sent >= 0))
		return (unsigned int)sent;
	return conn_output_all(in, c, out, max, now);
}

BASE_INLINE struct inst_conn *ready_pop(struct inst *in)
{
	struct inst_conn *c = &in->conns[in->ready.head];

	in->ready.head = c->ready_next;
	if (in->ready.head == INST_NONE)
		in->ready.tail = INST_NONE;
	c->flags &= (uint8_t)~INST_C_READY;
	return c;
}

/* What was sent to an address of ours. No frame is out: its payload could go away here. Return: whether there was any. */
static bool self_input(struct inst *in, ztime_t now)
{
	struct wire_frame_in f;
	bool any = false;

	for (unsigned int k = 0; k < IP_SELF_MAX && ip_self_take(in->ip, &f); k++) {
		inst_input(in, &f, 1, now);
		any = true;
	}
	return any;
}

/* Nothing is due. */
BASE_INLINE bool output_early(const struct inst *in, ztime_t now)
{
	return in->plain->deadline > now && !inst_wheel_due(&in->wheel, now);
}

/* Something is due, or not one connection alone has a turn. Return: frames filled. */
static BASE_APART unsigned int output_all(struct inst *in, struct wire_frame_out *out,
					  unsigned int max, uint32_t now_ms, ztime_t now)
{
	uint32_t last, head;
	unsigned int n = 0;

	if (!output_early(in, now)) {
		self_input(in, now);
		timers_fire(in, now);
		n = answers_take(in, out, max);
	}
	last = in->ready.tail;
	while (n < max && (head = in->ready.head) != INST_NONE) {
		n += conn_output(in, ready_pop(in), &out[n], max - n, now_ms, now);
		if (head == last)
			break;
	}
	return n;
}

BASE_INLINE unsigned int output_ready(struct inst *in, struct wire_frame_out *out, unsigned int max,
				      ztime_t now)
{
	uint32_t now_ms = tcp_now_ms(now), head = in->ready.head;
	struct inst_conn *c;

	if (BASE_UNLIKELY(head != in->ready.tail || head == INST_NONE || !output_early(in, now)))
		return output_all(in, out, max, now_ms, now);
	c = &in->conns[head];
	in->ready = (struct inst_list){ INST_NONE, INST_NONE };
	c->flags &= (uint8_t)~INST_C_READY;
	return conn_output(in, c, out, max, now_ms, now);
}

/* No connection had a frame. A neighbour was asked, or found: that frame is first now. Or there are bytes to ourselves
 * alone, and nothing from outside to call us again.
 */
static BASE_APART unsigned int output_late(struct inst *in, struct wire_frame_out *out,
					   unsigned int max, ztime_t now)
{
	unsigned int n = answers_take(in, out, max);

	for (unsigned int k = 0; !n && k < INST_SELF_TURNS && self_input(in, now); k++) {
		n = output_ready(in, out, max, now);
		if (!n)
			n = answers_take(in, out, max);
	}
	return n;
}

unsigned int inst_output(struct inst *in, struct wire_frame_out *out, unsigned int max, ztime_t now)
{
	unsigned int n;

	if (BASE_UNLIKELY(in->events.head != INST_NONE))
		inst_events_sweep(in);
	n = output_ready(in, out, max, now);
	if (BASE_UNLIKELY(!n))
		n = output_late(in, out, max, now);
	base_count_add(&in->counters, CNT_inst_tx_frames, n);
	return n;
}

ztime_t inst_deadline(const struct inst *in)
{
	if (in->ready.head != INST_NONE)
		return 0;
	return ztime_min(inst_wheel_deadline(&in->wheel), ip_deadline(in->ip));
}
