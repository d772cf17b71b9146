/* tcp_raise.c - a path that takes larger segments again is found by trying (RFC 4821 7, RFC 8899 5.3)
 *
 * Theory of operation: ICMP (tcp_pmtu()) or vanishing segments (tcp_timer.c) have made segments smaller. After
 * cfg.mtu_raise_s one segment is sent as large as the connection began with; what it carries is data of the stream. When it
 * arrives, that is the size from then on. When it alone is lost, that says nothing of congestion (RFC 4821 7.5): the data
 * goes out again in small segments, the window stays, and the next one tried is half way between what is known to
 * arrive and what is not. A search that has come within a few bytes rests for cfg.mtu_raise_s, then begins anew.
 *
 * A segment is tried only when all is well and so much more waits to be sent that its loss is noticed by SACK, without a
 * timeout (RFC 4821 7.4). Who calls: tcp_output.c, tcp_sent.c, tcp_loss.c.
 */
#include "stack/tcp/tcp_step.h"

#define RAISE_STEP_MIN 32 /* bytes: a search is not worth more trials */
#define RAISE_AGAIN_S  10 /* when nothing was heard of the last one, which was lost among others */

static uint16_t seconds(ztime_t now)
{
	return (uint16_t)((uint64_t)now / (uint64_t)ZTIME_SEC);
}

/* The largest payload without options that is known to arrive. */
static uint32_t size_now(const struct tcb *t)
{
	return t->probed_mss ? BASE_MIN(t->probed_mss, t->path_mss) : t->path_mss;
}

/* The largest one that anybody allows. */
static uint32_t size_top(const struct tcb *t)
{
	uint32_t top = BASE_MIN(t->peer_mss, t->top_mss);

	return t->user_mss ? BASE_MIN(top, t->user_mss) : top;
}

static uint32_t size_of(const struct tcb *t, const struct tcp_sent *s)
{
	return s->end - s->seq + (tcp_is(t, TCP_F_TS) ? TCP_TS_OPT_LEN : 0);
}

void tcp_raise_later(struct tcb *t, ztime_t now)
{
	t->raise_high = 0;
	t->raise_s = (uint16_t)(seconds(now) + t->env->cfg.mtu_raise_s);
}

/* Payload bytes to try. */
static uint32_t raise_size(const struct tcb *t)
{
	uint32_t size = t->raise_high ? (size_now(t) + t->raise_high) / 2 : size_top(t);

	return size - (tcp_is(t, TCP_F_TS) ? TCP_TS_OPT_LEN : 0);
}

static bool raise_well(const struct tcb *t, uint32_t len)
{
	return t->ca_state == TCP_CA_OPEN && !tcp_in_trouble(t) &&
	       (t->flags & (TCP_F_SACK | TCP_F_DSACK | TCP_F_URG_SND)) == TCP_F_SACK &&
	       t->snd_end - t->snd_nxt >= len + 3u * t->mss && tcp_peer_room(t) >= len &&
	       t->cc.cwnd >= t->pipe + len;
}

/* Return: bytes of a segment to try now, more than t->mss; 0: none. */
uint32_t tcp_raise_len(struct tcb *t, ztime_t now)
{
	uint32_t len;

	if (!t->env->cfg.mtu_raise_s || size_now(t) >= size_top(t) ||
	    (int16_t)(seconds(now) - t->raise_s) < 0)
		return 0;
	if (t->raise_high && t->raise_high <= size_now(t) + RAISE_STEP_MIN) {
		tcp_raise_later(t, now);
		return 0;
	}
	len = raise_size(t);
	return raise_well(t, len) ? len : 0;
}

/* @len bytes have just been sent in one segment. */
void tcp_raise_sent(struct tcb *t, uint32_t len, ztime_t now)
{
	if (len <= t->mss)
		return; /* they lie in too many runs */
	tcp_sent_last(t)->flags |= TCP_SENT_PROBE;
	t->raise_s = (uint16_t)(seconds(now) + RAISE_AGAIN_S);
	tcp_count(t, CNT_tcp_mtu_probe);
}

void tcp_raise_arrived(struct tcb *t, const struct tcp_sent *s, ztime_t now)
{
	uint32_t size = size_of(t, s);

	if (size <= size_now(t))
		return;
	t->path_mss = BASE_MAX(t->path_mss, (uint16_t)size);
	t->probed_mss = size < t->path_mss ? (uint16_t)size : 0;
	if (t->raise_high <= size)
		t->raise_high = 0;
	t->raise_s = seconds(now);
	tcp_mss_update(t);
	tcp_count(t, CNT_tcp_mtu_raised);
}

/* Runs have been declared lost. Return: true when that is a segment that was tried, and nothing else. */
bool tcp_raise_lost(struct tcb *t, ztime_t now)
{
	struct tcp_sent *s = base_container_of(t->loss->lost, struct tcp_sent, by_time);
	uint32_t size = size_of(t, s);

	if (!(s->flags & TCP_SENT_PROBE) || t->loss->lost_bytes != s->end - s->seq)
		return false;
	s->flags &= (uint16_t)~TCP_SENT_PROBE;
	if (size > size_now(t))
		t->raise_high = (uint16_t)size;
	t->raise_s = (uint16_t)(seconds(now) + 1);
	return true;
}
