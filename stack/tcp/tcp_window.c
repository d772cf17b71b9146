/* tcp_window.c - what the receiver tells the sender: when to acknowledge and how much may come
 *
 * Theory of operation: rcv_adv is the right edge that the peer has been promised. It never moves left, so a
 * smaller buffer or the rounding of the window scale only stops it from moving right (RFC 7323 2.4). It moves right in
 * steps worth a segment (RFC 9293 3.8.6.2.2). ACKs are sent for every second full segment, at once while a
 * connection is young or something is missing, else after cfg.delack_us at the latest (RFC 9293 3.8.6.3).
 * The buffer grows with what the application reads in a round trip, up to cfg.rcvbuf_max_bytes.
 */
#include "stack/tcp/tcp_step.h"

uint8_t tcp_window_scale(uint32_t bytes)
{
	uint8_t scale = 0;

	while (scale < WIRE_TCP_WSCALE_MAX && bytes >> scale > 65535)
		scale++;
	return scale;
}

/* The window field of the segment being sent; moves rcv_adv. */
uint16_t tcp_window_offer(struct tcb *t)
{
	return tcp_window_field(t);
}

/* Dynamic right-sizing: twice what is read in one round trip, so that the window is never what holds the peer back. */
static void window_grow(struct tcb *t, uint64_t per_rtt)
{
	const struct tcp_config *cfg = &t->env->cfg;
	uint64_t want = 2 * per_rtt + 16ull * t->rcv_mss;

	if (cfg->autotune && !tcp_is(t, TCP_F_RCVBUF_SET) && want > t->rcvbuf)
		t->rcvbuf = (uint32_t)BASE_MIN(want, (uint64_t)BASE_MAX(cfg->rcvbuf_max_bytes,
									t->rcvbuf));
}

/* Half of the buffer's worth has been read since tune_ms. In how many round trips? One is the least that is looked at,
 * and a millisecond. (After more than a minute the low bits of the time tell less than it was; a slow reader's buffer
 * then may grow without need.)
 */
void tcp_window_measure(struct tcb *t, uint32_t read_seq, ztime_t now)
{
	uint32_t now_ms = tcp_now_ms(now), ms = (uint16_t)(now_ms - t->tune_ms);
	uint64_t per_rtt = read_seq - t->tune_seq;

	if (!ms || ms * 1000 < tcp_srtt_us(t))
		return;
	if (ms * 1000 >= 2 * tcp_srtt_us(t))
		per_rtt = per_rtt * BASE_MAX(tcp_srtt_us(t), 1000u) / (ms * 1000);
	if (per_rtt + 8u * t->rcv_mss > t->rcvbuf / 2)
		window_grow(t, per_rtt);
	t->tune_ms = (uint16_t)now_ms;
	t->tune_seq = read_seq;
}

void tcp_window_read(struct tcb *t, ztime_t now)
{
	if (tcp_can_receive(t))
		tcp_window_told(t, now);
}

/* Largest packet seen is the best guess of the peer's segment size. */
void tcp_rcv_mss_learn(struct tcb *t, uint32_t size)
{
	t->rcv_mss = (uint16_t)BASE_MIN(size, (uint32_t)t->path_mss);
}

void tcp_ack_policy(struct tcb *t, uint32_t size, ztime_t now)
{
	tcp_ack_choose(t, t->env, t->rcv_nxt - t->rcv_acked, size, now);
}
