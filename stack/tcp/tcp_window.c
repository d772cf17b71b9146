/* tcp_window.c - what the receiver tells the sender: when to acknowledge and how much may come
 *
 * Theory of operation: rcv_adv is the right edge that the peer has been promised. It never moves left, so a
 * smaller buffer or the rounding of the window scale only stops it from moving right (RFC 7323 2.4). It moves right in
 * steps worth a segment (RFC 9293 3.8.6.2.2). ACKs are sent for every second full segment, at once while a
 * connection is young or something is missing, else after cfg.delack_us at the latest (RFC 9293 3.8.6.3).
 * The buffer grows with what the application reads in a round trip, up to cfg.rcvbuf_max_bytes.
 */
#include "stack/tcp/tcp_int.h"

uint8_t tcp_window_scale(uint32_t bytes)
{
	uint8_t scale = 0;

	while (scale < WIRE_TCP_WSCALE_MAX && bytes >> scale > 65535)
		scale++;
	return scale;
}

static uint32_t window_room(const struct tcb *t)
{
	uint32_t room = t->rcv_queued < t->rcvbuf ? t->rcvbuf - t->rcv_queued : 0;
	uint32_t most = 65535u << t->rcv_wscale;

	return BASE_MIN(room, most);
}

static uint32_t window_step(const struct tcb *t)
{
	return BASE_MIN(t->rcvbuf / 2, (uint32_t)t->mss);
}

/* The window field of the segment being sent; moves rcv_adv. */
uint16_t tcp_window_offer(struct tcb *t)
{
	uint32_t wnd = tcp_rcv_wnd(t), room = window_room(t);

	if (room >= wnd + window_step(t))
		wnd = room;
	wnd >>= t->rcv_wscale;
	wnd = BASE_MIN(wnd, 65535u);
	t->rcv_adv = seq_max(t->rcv_adv, t->rcv_nxt + (wnd << t->rcv_wscale));
	return (uint16_t)wnd;
}

/* Dynamic right-sizing: twice what is read in one round trip, so that the window is never what holds the peer back. */
static void window_tune(struct tcb *t, ztime_t now)
{
	const struct tcp_config *cfg = &t->env->cfg;
	uint16_t now_ms = (uint16_t)tcp_now_ms(now);
	uint32_t read_seq = t->rcv_nxt - t->rcv_queued;
	uint32_t rtt_ms = BASE_MAX(tcp_srtt_us(t) / 1000, 1u);
	uint64_t want;

	if ((uint16_t)(now_ms - t->tune_ms) < rtt_ms)
		return;
	want = 2ull * (read_seq - t->tune_seq) + 16ull * t->rcv_mss;
	t->tune_ms = now_ms;
	t->tune_seq = read_seq;
	if (cfg->autotune && !tcp_is(t, TCP_F_RCVBUF_SET) && want > t->rcvbuf)
		t->rcvbuf = (uint32_t)BASE_MIN(want, (uint64_t)BASE_MAX(cfg->rcvbuf_max_bytes,
									t->rcvbuf));
}

/* The application has read: tell the peer when its window had become small. */
void tcp_window_read(struct tcb *t, ztime_t now)
{
	uint32_t wnd = tcp_rcv_wnd(t), room;

	if (!tcp_can_receive(t))
		return;
	window_tune(t, now);
	room = window_room(t);
	if (room >= 2 * wnd && room - wnd >= window_step(t))
		t->todo |= TCP_DO_ACK;
}

/* Largest packet seen is the best guess of the peer's segment size. */
static void rcv_mss_learn(struct tcb *t, uint32_t size)
{
	if (size > t->rcv_mss)
		t->rcv_mss = (uint16_t)BASE_MIN(size, (uint32_t)t->path_mss);
}

/* In-order data has just been taken, in packets of @size bytes. */
void tcp_ack_policy(struct tcb *t, uint32_t size, ztime_t now)
{
	uint32_t owed = t->rcv_nxt - t->rcv_acked;

	rcv_mss_learn(t, size);
	if (t->quick || owed >= 2u * t->rcv_mss || t->ooo || tcp_is(t, TCP_F_QUICKACK)) {
		t->quick -= t->quick > 0;
		t->todo |= TCP_DO_ACK;
		return;
	}
	if (t->delack_at == ZTIME_NEVER)
		t->delack_at = now + ztime_us(t->env->cfg.delack_us);
}
