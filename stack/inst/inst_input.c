/* inst_input.c - frames in: find the connection, merge neighbours, run the machine
 *
 * In a burst, segments of one connection that follow each other are merged (GRO) and go up as one
 * when another segment of it does not fit, or at the end of the burst. Payload goes up by
 * reference when its frame has an owner; short payload and lent bytes are copied into the
 * instance's own buffer first.
 */
#include "stack/inst/inst_state.h"

#include <errno.h>

#include "stack/base/base_bytes.h"
#include "stack/ip/ip_gso.h"

static void seg_put(struct inst *in, struct wire_tcp *seg)
{
	for (unsigned int i = 0; i < seg->niov; i++)
		if (seg->iov[i].owner)
			in->cfg.buf.put(in->cfg.buf.ctx, seg->iov[i].owner);
}

/* A SYN may take the place of @c, which is in TIME-WAIT, if somebody listens for it. */
static BASE_COLD enum counter time_wait_input(struct inst *in, struct inst_conn *c,
					      struct wire_tcp *seg, ztime_t now)
{
	struct wire_flow flow = c->flow;

	if (inst_listening(in, &flow))
		return inst_listen_input(in, seg, &flow, c, now);
	tcp_time_wait_stay(&c->tcb, now);
	return CNT_tcp_syn_window;
}

static void conn_input(struct inst *in, struct inst_conn *c, struct wire_tcp *seg, ztime_t now)
{
	enum counter why = tcp_input(&c->tcb, seg, now);

	if (BASE_UNLIKELY(why == CNT_tcp_time_wait_reuse))
		why = time_wait_input(in, c, seg, now);
	if (BASE_UNLIKELY(why != CNT_none))
		base_count(&in->counters, why);
	seg_put(in, seg);
	inst_conn_kick(in, c);
	inst_conn_settle(in, c, now);
}

static void gro_flush(struct inst *in, struct inst_gro *g, ztime_t now)
{
	uint32_t i = g->conn;

	if (i == INST_NONE)
		return;
	g->conn = INST_NONE;
	in->gro_used--;
	if (g->seg.gso_size)
		base_count_add(&in->counters, CNT_inst_gro_merged, g->seg.len / g->seg.gso_size);
	conn_input(in, &in->conns[i], &g->seg, now);
}

static struct inst_gro *gro_find(struct inst *in, uint32_t conn)
{
	for (unsigned int k = 0; k < INST_GRO_MAX; k++)
		if (in->gro[k].conn == conn)
			return &in->gro[k];
	return NULL;
}

/* Return: true when @seg has been taken. */
static bool gro_input(struct inst *in, struct inst_conn *c, struct wire_tcp *seg, ztime_t now)
{
	struct inst_gro *g = gro_find(in, inst_index(in, c));

	if (g && ip_gro_join(&g->seg, seg))
		return true;
	if (g)
		gro_flush(in, g, now);
	if (!ip_gro_first(seg) || seg->flags & TCP_PSH)
		return false;
	g = gro_find(in, INST_NONE);
	if (!g) {
		g = &in->gro[seg->ack % INST_GRO_MAX];
		gro_flush(in, g, now);
	}
	g->conn = inst_index(in, c);
	g->seg = *seg;
	in->gro_used++;
	return true;
}

/* Payload that is lent, or not worth the whole frame, goes into our own buffer. */
static bool payload_own(struct inst *in, struct wire_tcp *seg, void **owner)
{
	const uint8_t *data = seg->iov[0].data;
	uint32_t left = seg->len;

	if (*owner && left >= in->cfg.copy_below) {
		seg->iov[0].owner = *owner;
		*owner = NULL;
		return true;
	}
	seg->niov = 0;
	while (left) {
		struct wire_tcp_iov *iov = &seg->iov[seg->niov];
		uint32_t n = 0;

		if (seg->niov < WIRE_TCP_IOV_MAX)
			n = inst_fill_copy(in, &in->rx_fill, data, left, iov);
		if (!n) {
			seg_put(in, seg);
			return false;
		}
		seg->niov++;
		data += n;
		left -= n;
	}
	return true;
}

/* Segments of @c wait to be merged with this one, or it with those after it. */
static BASE_COLD bool fast_waits(struct inst *in, const struct inst_conn *c, const uint8_t *l4,
				 uint32_t len)
{
	return (len && !(l4[13] & TCP_PSH)) || (in->gro_used && gro_find(in, inst_index(in, c)));
}

/* Something has come in for @c: it has to have a turn, and perhaps the application is told. */
static BASE_APART void fast_tell_some(struct inst *in, struct inst_conn *c, unsigned int told,
				      ztime_t now)
{
	c->tcb.events |= (uint16_t)told;
	inst_ready_push(in, c);
	if (c->flags & (INST_C_CHILD | INST_C_ORPHAN))
		inst_conn_settle(in, c, now);
	else if (c->tcb.events)
		inst_event_push(in, c, tcp_events_take(&c->tcb));
}

/* @told: TCP_EV_*; @c is slot @i */
BASE_INLINE void fast_tell(struct inst *in, struct inst_conn *c, uint32_t i, unsigned int told,
			   ztime_t now)
{
	const unsigned int listed = INST_C_READY | INST_C_EVENT;

	if (BASE_UNLIKELY(c->flags & (listed | INST_C_CHILD | INST_C_ORPHAN) || !told)) {
		fast_tell_some(in, c, told, now);
		return;
	}
	c->flags |= listed;
	c->timer.spare = (uint16_t)told;
	inst_list_append(in, in->ready, c, i, ready_next);
	inst_list_append(in, in->events, c, i, flow.spare);
}

/* There is no payload; or it is lent, or not worth the whole frame, and is copied. As fast_input(). */
static BASE_APART bool fast_copied(struct inst *in, struct inst_conn *c, const uint8_t *l4, bool ts,
				   uint32_t len, void *owner, ztime_t now)
{
	struct wire_tcp_iov iov = { l4 + tcp_fast_hdr(ts), len, NULL };
	struct tcp_fast_done done = { TCP_FAST_NOT, NULL };

	if (!len || inst_fill_copy(in, &in->rx_fill, iov.data, len, &iov) == len)
		done = tcp_fast_in(&c->tcb, &in->env, l4, ts, iov.data, len, len != 0, iov.owner,
				   tcp_now_ms(now), now);
	if (done.told == TCP_FAST_NOT) {
		if (len)
			inst_fill_back(in, &in->rx_fill, &iov);
		return false;
	}
	base_count(&in->counters, CNT_tcp_predicted);
	fast_tell(in, c, inst_index(in, c), done.told, now);
	if (owner)
		in->cfg.buf.put(in->cfg.buf.ctx, owner);
	if (done.gone)
		in->cfg.buf.put(in->cfg.buf.ctx, done.gone);
	return true;
}

/*
 * The short way (tcp_fast.h). @owner goes with the payload, or is given back. Return: false when it is not at hand and
 * nothing was touched.
 */
BASE_INLINE bool fast_input_as(struct inst *in, struct inst_conn *c, uint32_t i, const uint8_t *l4,
			       uint32_t l4_len, void *owner, bool ts, bool burst, uint32_t now_ms,
			       ztime_t now)
{
	uint32_t hdr = tcp_fast_hdr(ts), len = l4_len - hdr;
	struct tcp_fast_done done;

	if (BASE_UNLIKELY(!tcp_fast_shape(&c->tcb, l4, l4_len, ts) ||
			  (burst && fast_waits(in, c, l4, len))))
		return false;
	/* copy_below is not 0. */
	if (BASE_UNLIKELY(!owner))
		return fast_copied(in, c, l4, ts, len, owner, now);
	if (BASE_UNLIKELY(len < in->cfg.copy_below))
		return fast_copied(in, c, l4, ts, len, owner, now);
	done = tcp_fast_in(&c->tcb, &in->env, l4, ts, l4 + hdr, len, true, owner, now_ms, now);
	if (BASE_UNLIKELY(done.told == TCP_FAST_NOT))
		return false;
	base_count(&in->counters, CNT_tcp_predicted);
	fast_tell(in, c, i, done.told, now);
	if (BASE_LIKELY(done.gone))
		in->cfg.buf.put(in->cfg.buf.ctx, done.gone);
	return true;
}

static BASE_APART bool fast_input_bare(struct inst *in, struct inst_conn *c, const uint8_t *l4,
				       uint32_t l4_len, void *owner, bool burst, ztime_t now)
{
	return fast_input_as(in, c, inst_index(in, c), l4, l4_len, owner, false, burst,
			     tcp_now_ms(now), now);
}

BASE_INLINE bool fast_input(struct inst *in, struct inst_conn *c, uint32_t i, const uint8_t *l4,
			    uint32_t l4_len, void *owner, bool burst, uint32_t now_ms, ztime_t now)
{
	if (BASE_LIKELY(tcp_is(&c->tcb, TCP_F_TS)))
		return fast_input_as(in, c, i, l4, l4_len, owner, true, burst, now_ms, now);
	return fast_input_bare(in, c, l4, l4_len, owner, burst, now);
}

/* The complete way: parsed, perhaps merged with its neighbours. @c may be NULL. */
static enum counter segment_parse(struct inst *in, struct inst_conn *c, const struct ip_rx *rx,
				  void **owner, bool burst, ztime_t now)
{
	struct wire_tcp seg;
	enum counter why = wire_tcp_parse(rx->l4, rx->l4_len, &seg);

	if (why != CNT_none)
		return why;
	seg.ecn = rx->ecn;
	/* What nobody will keep is not copied. */
	if (seg.len && (c || inst_listening(in, &rx->flow)) && !payload_own(in, &seg, owner))
		return CNT_inst_no_buffer;
	if (BASE_UNLIKELY(!c)) {
		why = inst_listen_input(in, &seg, &rx->flow, NULL, now);
		if (why == CNT_inst_passed)
			why = inst_pass_segment(in, rx);
		seg_put(in, &seg);
		return why;
	}
	if (!burst || !gro_input(in, c, &seg, now))
		conn_input(in, c, &seg, now);
	return CNT_none;
}

static enum counter segment_input(struct inst *in, struct ip_rx *rx, void **owner, bool burst,
				  ztime_t now)
{
	struct inst_conn *c;

	if (BASE_UNLIKELY(rx->l4_len < WIRE_TCP_HDR_LEN))
		return CNT_wire_tcp_short;
	if (!rx->csum_ok &&
	    !wire_tcp_csum_ok(rx->l4, rx->l4_len, &rx->flow.remote, &rx->flow.local))
		return CNT_wire_tcp_csum;
	rx->flow.rport = base_be16_get(rx->l4);
	rx->flow.lport = base_be16_get(rx->l4 + 2);
	c = inst_conn_find(in, &rx->flow);
	if (c && rx->ecn != 3 &&
	    fast_input(in, c, inst_index(in, c), rx->l4, rx->l4_len, *owner, burst, tcp_now_ms(now),
		       now)) {
		*owner = NULL;
		return CNT_none;
	}
	return segment_parse(in, c, rx, owner, burst, now);
}

static void error_input(struct inst *in, const struct ip_error *e, ztime_t now)
{
	struct inst_conn *c = inst_conn_find(in, &e->flow);
	unsigned int headers = WIRE_TCP_HDR_LEN + (wire_addr_is_v4(&e->flow.remote) ? 20u : 40u);

	if (!c) {
		base_count(&in->counters,
			   inst_pass_may(in) ? inst_pass_error(in, e) : CNT_ip_icmp_quote);
		return;
	}
	if (e->err != EMSGSIZE) {
		tcp_icmp_error(&c->tcb, e->seq, e->err, e->hard, now);
	} else if (e->mtu > headers &&
		   tcp_pmtu(&c->tcb, (uint16_t)(e->mtu - headers), e->seq, now)) {
		ip_pmtu_learn(in->ip, &c->flow.remote, e->mtu, now);
	}
	inst_conn_kick(in, c);
	inst_conn_settle(in, c, now);
}

static BASE_COLD void frame_input(struct inst *in, const struct wire_frame_in *frame, bool burst,
				  ztime_t now)
{
	void *owner = frame->owner;
	struct ip_rx rx;
	enum counter why = CNT_none;

	ip_input(in->ip, frame, &rx, now);
	if (BASE_LIKELY(rx.kind == IP_RX_TCP)) {
		/* A reassembled datagram does not lie in the frame. */
		void *none = NULL;

		why = segment_input(in, &rx, rx.joined ? &none : &owner, burst, now);
	} else if (rx.kind == IP_RX_ERROR) {
		error_input(in, &rx.error, now);
	} else if (rx.kind == IP_RX_HEARD && inst_pass_may(in)) {
		why = inst_pass_heard(in, &rx.heard);
	}
	if (BASE_UNLIKELY(why != CNT_none))
		base_count(&in->counters, why);
	if (owner)
		in->cfg.buf.put(in->cfg.buf.ctx, owner);
}

/* As plain_csum_ok() */
static BASE_APART bool plain_sum(const struct wire_frame_in *frame, const uint8_t *l4, uint32_t len,
				 bool v4)
{
	const uint8_t *ends4 = frame->data + IP_PLAIN4_ENDS, *ends6 = frame->data + IP_PLAIN6_ENDS;
	uint64_t sum;

	if (v4 && !ip_plain4_sum_ok(frame))
		return false;
	if (frame->flags & WIRE_FRAME_TCP_CSUM_OK)
		return true;
	sum = (uint64_t)__builtin_bswap32(len) + ((uint64_t)WIRE_PROTO_TCP << 24);
	sum = v4 ? wire_csum_add(sum, ends4, 8) : wire_csum_add(sum, ends6, 32);
	return wire_csum_fold(wire_csum_add(sum, l4, len)) == 0;
}

/* The device has summed the headers and the segment, or it is done here. */
BASE_INLINE bool plain_csum_ok(const struct wire_frame_in *frame, const uint8_t *l4, uint32_t len,
			       bool v4)
{
	const uint8_t need = WIRE_FRAME_TCP_CSUM_OK | (v4 ? WIRE_FRAME_IP_CSUM_OK : 0);

	return BASE_LIKELY((frame->flags & need) == need) || plain_sum(frame, l4, len, v4);
}

/* The segment of a plain frame is not plain itself, or waits for others. */
static BASE_APART void plain_parse(struct inst *in, struct inst_conn *c, const uint8_t *l4,
				   uint32_t len, uint8_t ecn, void *owner, bool burst, ztime_t now)
{
	struct ip_rx rx = { .l4 = l4, .l4_len = len, .ecn = ecn };
	enum counter why = segment_parse(in, c, &rx, &owner, burst, now);

	if (BASE_UNLIKELY(why != CNT_none))
		base_count(&in->counters, why);
	if (owner)
		in->cfg.buf.put(in->cfg.buf.ctx, owner);
}

/* It does not lie where it is looked for first. As plain_find() */
static BASE_APART struct inst_conn *plain_search(struct inst *in, const struct wire_frame_in *frame,
						 bool v4, uint32_t *i)
{
	const uint8_t *f = frame->data, *l4 = f + (v4 ? IP_PLAIN4_L4 : IP_PLAIN6_L4);
	struct wire_flow flow = { .rport = base_be16_get(l4), .lport = base_be16_get(l4 + 2) };

	if (v4) {
		flow.remote = wire_addr_v4(base_be32_get(f + IP_PLAIN4_ENDS));
		flow.local = wire_addr_v4(base_be32_get(f + IP_PLAIN4_ENDS + 4));
	} else {
		memcpy(&flow.remote, f + IP_PLAIN6_ENDS, sizeof(flow.remote));
		memcpy(&flow.local, f + IP_PLAIN6_ENDS + sizeof(flow.remote), sizeof(flow.local));
	}
	*i = inst_flow_find(&in->flow, &flow, inst_flow_hash(&in->flow, &flow));
	return *i == INST_FLOW_NONE ? NULL : &in->conns[*i];
}

/* The connection that a plain frame is for, slot *@i. Return: NULL when IP has to look at the frame. */
BASE_INLINE struct inst_conn *plain_find(struct inst *in, const struct wire_frame_in *frame,
					 uint32_t len, bool v4, uint32_t *i)
{
	const uint8_t *l4 = frame->data + (v4 ? IP_PLAIN4_L4 : IP_PLAIN6_L4);
	const char *flows = (const char *)&in->conns->flow;
	const size_t stride = sizeof(struct inst_conn);
	uint64_t ends = base_word64(frame->data + IP_PLAIN4_ENDS);
	const struct wire_flow *found;
	struct inst_conn *c;

	if (BASE_UNLIKELY(!plain_csum_ok(frame, l4, len, v4)))
		return NULL;
	if (v4)
		found = inst_flow_find4(&in->flow, flows, stride, ends, base_word32(l4), i);
	else
		found = inst_flow_find6(&in->flow, flows, stride, frame->data + IP_PLAIN6_ENDS,
					base_word32(l4), i);
	if (BASE_LIKELY(found))
		c = (struct inst_conn *)((uintptr_t)found - offsetof(struct inst_conn, flow));
	else if (!(c = plain_search(in, frame, v4, i)))
		return NULL;
	if (BASE_UNLIKELY(!ip_plain_fresh(in->plain, &c->hop)))
		return NULL;
	/* A mapped address on the wire is no IPv4 (RFC 4942 2.2). */
	return v4 || !(c->flags & INST_C_V4) ? c : NULL;
}

BASE_INLINE void plain_input(struct inst *in, const struct wire_frame_in *frame, uint32_t len,
			     bool v4, bool burst, uint32_t now_ms, ztime_t now)
{
	const uint8_t *f = frame->data, *l4 = f + (v4 ? IP_PLAIN4_L4 : IP_PLAIN6_L4);
	struct inst_conn *c;
	uint32_t i;

	if (BASE_UNLIKELY(!(c = plain_find(in, frame, len, v4, &i)))) {
		frame_input(in, frame, burst, now);
		return;
	}
	base_count(&in->counters, CNT_ip_rx_packets);
	if (BASE_UNLIKELY(!fast_input(in, c, i, l4, len, frame->owner, burst, now_ms, now)))
		plain_parse(in, c, l4, len,
			    v4 ? f[IP_PLAIN4_TOS] & 3 : f[IP_PLAIN_TYPE + 3] >> 4 & 3, frame->owner,
			    burst, now);
}

static BASE_APART void plain6_input(struct inst *in, const struct wire_frame_in *frame, bool burst,
				    ztime_t now)
{
	uint32_t len;

	if (BASE_LIKELY(ip_plain6(in->plain, frame, &len)))
		plain_input(in, frame, len, false, burst, tcp_now_ms(now), now);
	else
		frame_input(in, frame, burst, now);
}

/* What nearly every frame is goes to its connection at once. */
BASE_INLINE void frame_any(struct inst *in, const struct wire_frame_in *frame, bool burst,
			   uint32_t now_ms, ztime_t now)
{
	uint32_t len;

	if (BASE_LIKELY(ip_plain4(in->plain, frame, &len)))
		plain_input(in, frame, len, true, burst, now_ms, now);
	else
		plain6_input(in, frame, burst, now);
}

/* Several frames, whose segments are merged where the device has not. */
static BASE_APART void burst_input(struct inst *in, const struct wire_frame_in *frames,
				   unsigned int n, ztime_t now)
{
	bool merge = !(in->cfg.ip.offloads & WIRE_OFFLOAD_GRO);

	base_count_add(&in->counters, CNT_inst_rx_frames, n);
	for (const struct wire_frame_in *end = frames + n; frames < end; frames++)
		frame_any(in, frames, merge, tcp_now_ms(now), now);
	for (unsigned int k = 0; in->gro_used && k < INST_GRO_MAX; k++)
		gro_flush(in, &in->gro[k], now);
}

void inst_errors_input(struct inst *in, const struct ip_error *e, unsigned int n, ztime_t now)
{
	for (unsigned int i = 0; i < n; i++)
		error_input(in, &e[i], now);
}

void inst_input(struct inst *in, const struct wire_frame_in *frames, unsigned int n, ztime_t now)
{
	if (BASE_UNLIKELY(n != 1)) {
		burst_input(in, frames, n, now);
		return;
	}
	base_count(&in->counters, CNT_inst_rx_frames);
	frame_any(in, frames, false, tcp_now_ms(now), now);
}

static void passed_segment(struct inst *in, const struct inst_passed *p, ztime_t now)
{
	struct ip_rx rx = {
		.flow = p->flow, .l4 = p->l4, .l4_len = p->l4_len, .ecn = p->ecn, .csum_ok = true
	};
	void *owner = p->owner;
	enum counter why = segment_input(in, &rx, &owner, false, now);

	if (why != CNT_none)
		base_count(&in->counters, why);
	if (owner)
		in->cfg.buf.put(in->cfg.buf.ctx, owner);
}

static void passed_heard(struct inst *in, const struct inst_passed *p, ztime_t now)
{
	if (!inst_pass_may(in))
		return; /* it was the first to hear it */
	ip_heard(in->ip, &p->heard, now);
	base_count(&in->counters, inst_pass_heard(in, &p->heard));
}

void inst_passed(struct inst *in, const struct inst_passed *p, ztime_t now)
{
	base_count(&in->counters, CNT_inst_pass_taken);
	in->touring = p;
	switch ((enum inst_passed_kind)p->kind) {
	case INST_PASSED_SEGMENT: passed_segment(in, p, now); break;
	case INST_PASSED_ERROR: error_input(in, &p->error, now); break;
	case INST_PASSED_HEARD: passed_heard(in, p, now); break;
	}
	in->touring = NULL;
}
