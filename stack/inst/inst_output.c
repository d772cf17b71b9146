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

	while ((i = inst_wheel_fire(&in->wheel, now, &steps)) != INST_WHEEL_NONE)
		inst_conn_kick(in, &in->conns[i]);
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

static inline void conn_arm(struct inst *in, struct inst_conn *c)
{
	ztime_t want = tcp_deadline(&c->tcb);
	uint32_t i;

	if (BASE_LIKELY(want == ZTIME_NEVER || inst_wheel_by(&c->timer, want)))
		return;
	i = inst_index(in, c);
	if (want < inst_wheel_armed(&in->wheel, i))
		inst_wheel_arm(&in->wheel, i, want);
}

/* The short way (tcp_fast.c). Return: frames filled, or -1 when it is not at hand. */
static int fast_output(struct inst *in, struct inst_conn *c, struct wire_frame_out *out,
		       ztime_t now)
{
	uint32_t hdr;

	out->l4_at = in->l4_at[wire_addr_is_v4(&c->flow.remote)];
	hdr = tcp_fast_output(&c->tcb, out->hdr + out->l4_at, out->iov, now);
	if (!hdr)
		return -1;
	out->l4_len = (uint8_t)hdr;
	out->niov = 1;
	out->len = out->iov[0].len;
	out->gso_size = 0;
	return ip_send(in->ip, &c->hop, &c->flow, out, 0, now) == 1;
}

/* Return: frames filled; a connection that could send more is put at the end of the ready list. */
static unsigned int conn_output(struct inst *in, struct inst_conn *c, struct wire_frame_out *out,
				unsigned int max, ztime_t now)
{
	unsigned int ask = BASE_MIN(max, (unsigned int)INST_SEGS_MAX);
	unsigned int got, n = 0;
	int sent;

	if (BASE_UNLIKELY(c->flags & INST_C_DEAD)) {
		inst_conn_reap(in, c);
		return 0;
	}
	sent = fast_output(in, c, out, now);
	if (BASE_LIKELY(sent >= 0)) {
		conn_arm(in, c);
		return (unsigned int)sent;
	}
	got = tcp_output(&c->tcb, in->segs, ask, now);
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

static struct inst_conn *ready_pop(struct inst *in)
{
	struct inst_conn *c = &in->conns[in->ready.head];

	in->ready.head = c->ready_next;
	if (in->ready.head == INST_NONE)
		in->ready.tail = INST_NONE;
	c->flags &= (uint8_t)~INST_C_READY;
	return c;
}

unsigned int inst_output(struct inst *in, struct wire_frame_out *out, unsigned int max, ztime_t now)
{
	unsigned int n = 0;
	uint32_t last;

	if (BASE_UNLIKELY(in->events.head != INST_NONE))
		inst_events_sweep(in);
	if (BASE_UNLIKELY(ip_deadline(in->ip) <= now || inst_wheel_deadline(&in->wheel) <= now)) {
		timers_fire(in, now);
		n = answers_take(in, out, max);
	}
	last = in->ready.tail;
	while (n < max && in->ready.head != INST_NONE) {
		bool end = in->ready.head == last;

		n += conn_output(in, ready_pop(in), &out[n], max - n, now);
		if (end)
			break;
	}
	/*
	 * A neighbour was asked, or found: that frame is first in the next call, if this one had
	 * none.
	 */
	if (!n)
		n = answers_take(in, out, max);
	base_count_add(&in->counters, CNT_inst_tx_frames, n);
	return n;
}

ztime_t inst_deadline(const struct inst *in)
{
	if (in->ready.head != INST_NONE)
		return 0;
	return ztime_min(inst_wheel_deadline(&in->wheel), ip_deadline(in->ip));
}
