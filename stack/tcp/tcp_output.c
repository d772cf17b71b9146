/* tcp_output.c - what may be sent now (RFC 9293 3.8.6, 3.10.8; RFC 5681, RFC 1122 4.2.3.4)
 *
 * Theory of operation. tcp_output() first runs the timers that are due, then fills segments in the order of
 * their urgency: a reset; the handshake; lost runs; new data; a loss probe; a window or keep-alive
 * probe; and, when none of these carried the acknowledgement that is owed, a bare ACK. Every
 * segment but a SYN is made by tcp_out_header(), which also pays whatever acknowledgement is due.
 *
 * New data goes out when the peer's window, the congestion window, the pacing clock and Nagle's rule allow it;
 * each of these is one function. With cfg.gso_max_bytes a segment may be longer than the MSS: a whole number of
 * segments, which the device or stack/inst cuts.
 */
#include "stack/tcp/tcp_step.h"

/* ---------------------------------------------------------------- headers */

static void out_sack(struct tcb *t, struct wire_tcp *out)
{
	/* 40 bytes of options: three blocks beside a timestamp, four without (RFC 2018 3). */
	out->nsack = (uint8_t)tcp_ooo_blocks(t, out->sack, tcp_is(t, TCP_F_TS) ? 3 : 4);
	out->opts |= TCP_OPT_SACK;
	t->flags &= ~(uint32_t)TCP_F_DSACK;
}

/* All of a segment but its payload: seq is snd_nxt until the caller says otherwise. Pays the ACK that is owed. */
void tcp_out_header(struct tcb *t, struct wire_tcp *out, ztime_t now)
{
	out->seq = t->snd_nxt;
	out->ack = t->rcv_nxt;
	out->wnd = tcp_window_offer(t);
	out->urg = 0;
	out->flags = TCP_ACK;
	out->opts = 0;
	out->ecn = 0;
	out->nsack = 0;
	out->len = 0;
	out->gso_size = 0;
	out->niov = 0;
	if (tcp_is(t, TCP_F_TS)) {
		out->opts = TCP_OPT_TS;
		out->tsval = tcp_tsval(t, now);
		out->tsecr = t->ts_recent;
	}
	if (BASE_UNLIKELY(t->ooo || tcp_is(t, TCP_F_DSACK)) && tcp_is(t, TCP_F_SACK))
		out_sack(t, out);
	if (BASE_UNLIKELY(tcp_is(t, TCP_F_ECN_ECHO)))
		out->flags |= TCP_ECE;
	tcp_ack_paid(t);
}

/* SACK blocks take room from the payload. */
static uint32_t segment_room(const struct tcb *t)
{
	uint32_t room = t->mss, n;
	struct wire_tcp_sack sack[WIRE_TCP_SACK_MAX];

	BASE_CHECK(room > 4 + 8 * WIRE_TCP_SACK_MAX); /* tcp_mss_update() */
	if (BASE_LIKELY(!t->ooo && !tcp_is(t, TCP_F_DSACK)) || !tcp_is(t, TCP_F_SACK))
		return room;
	n = tcp_ooo_blocks(t, sack, tcp_is(t, TCP_F_TS) ? 3 : 4);
	room -= 4 + 8 * n;
	BASE_CHECK(room);
	return room;
}

static void out_urgent(const struct tcb *t, struct wire_tcp *out)
{
	uint32_t off = t->snd_up - out->seq;

	if (!tcp_is(t, TCP_F_URG_SND) || !seq_gt(t->snd_up, out->seq))
		return;
	out->flags |= TCP_URG;
	out->urg = (uint16_t)BASE_MIN(off, 65535u);
}

/* ---------------------------------------------------------------- may it be sent? */

static uint32_t cwnd_room(const struct tcb *t)
{
	uint32_t inflight = tcp_inflight(t);

	return t->cc.cwnd > inflight ? t->cc.cwnd - inflight : 0;
}

/* RFC 5681 4.1: after an idle time the network's state is unknown again. */
BASE_COLD void tcp_idle_restart(struct tcb *t)
{
	uint32_t iw = cc_initial_window(t->mss, t->env->cfg.init_cwnd);

	if (t->env->cfg.idle_restart)
		t->cc.cwnd = BASE_MIN(t->cc.cwnd, iw);
}

/* The longest segment that the device may cut: a millisecond's worth at the flow's rate, so that a slow one does not
 * send all its window at once, and at least cfg.gso_min_segs. Two make a window in any case, or one loss would take all
 * of it, and with it all ACKs that clock.
 */
static uint32_t burst_max(const struct tcb *t, uint32_t mss)
{
	const struct tcp_config *cfg = &t->env->cfg;
	uint32_t gso = BASE_MIN(cfg->gso_max_bytes, t->cc.cwnd / 2), srtt_us = tcp_srtt_us(t);
	uint64_t ms_worth;

	/* The pieces of a cut segment would all have the pointer of the first. */
	if (gso < 2 * mss || BASE_UNLIKELY(tcp_is(t, TCP_F_URG_SND)))
		return mss;
	/* It sends a window in a round trip at least: nearly always enough, and nothing is divided to know it. */
	if (BASE_UNLIKELY((uint64_t)t->cc.cwnd * 1000 < (uint64_t)gso * srtt_us)) {
		ms_worth = cc_pacing_rate(&t->cc, srtt_us) / 1000;
		ms_worth = BASE_MAX(ms_worth, (uint64_t)cfg->gso_min_segs * mss);
		gso = (uint32_t)BASE_MIN((uint64_t)gso, ms_worth);
	}
	return gso - gso % mss;
}

/* Bytes of new data for one segment; 0: not now. */
static uint32_t new_len(struct tcb *t, uint32_t mss)
{
	uint32_t avail = t->snd_end - t->snd_nxt, peer = tcp_peer_room(t), cwnd = cwnd_room(t);
	uint32_t room = BASE_MIN(peer, cwnd), burst, len, tail;

	/* Nearly always: a short rest that fits everywhere. Its tail is all of it, for Nagle to judge. */
	if (BASE_LIKELY(avail <= room && avail < mss))
		return tcp_short_ok(t) ? avail : 0;
	BASE_CHECK(mss);
	burst = burst_max(t, mss);
	len = BASE_MIN(avail, room);
	if (len < avail && cwnd < peer)
		t->flags |= TCP_F_CWND_LIMITED;
	len = BASE_MIN(len, burst);
	tail = len % mss;
	if (len == avail)
		return tail && !tcp_short_ok(t) ? len - tail : len;
	/* RFC 9293 3.8.6.2.1: not a sliver of a window, unless it is half of the largest there ever was. */
	if (len < mss && len == peer && (len >= t->max_wnd / 2 || t->todo & TCP_DO_FORCE))
		return len;
	return len - tail;
}

static bool pace_held(const struct tcb *t, ztime_t now)
{
	return tcp_is(t, TCP_F_PACING) && now < tcp_pace_at(t);
}

/* The run just sent is followed by silence as long as its bytes take at the pacing rate. */
static void pace_charge(struct tcb *t, struct tcp_sent *s, uint32_t len)
{
	uint64_t rate = cc_pacing_rate(&t->cc, tcp_srtt_us(t)), ns;

	if (rate == UINT64_MAX || !rate)
		return;
	ns = (uint64_t)len * (uint64_t)ZTIME_SEC / rate;
	s->gap_ns = (uint32_t)BASE_MIN(ns, (uint64_t)UINT32_MAX);
}

/* ---------------------------------------------------------------- sending */

static void out_account(struct tcb *t, struct tcp_sent *s, uint32_t len)
{
	if (BASE_UNLIKELY(tcp_in_recovery(t)))
		t->loss->prr_out += len;
	if (BASE_UNLIKELY(tcp_is(t, TCP_F_PACING)))
		pace_charge(t, s, len);
}

/* Put the FIN on the last segment, or send it alone. */
static bool fin_fits(const struct tcb *t, const struct wire_tcp *out)
{
	return tcp_fin_unsent(t) && t->snd_nxt + out->len == t->snd_end &&
	       tcp_peer_room(t) > out->len;
}

/* What a segment of new data carries besides, seldom: the FIN, ECN bits, the urgent pointer. Return: 1 for the FIN, else 0. */
static uint32_t out_new_extra(struct tcb *t, struct tcp_sent *s, struct wire_tcp *out)
{
	bool fin = fin_fits(t, out);

	if (fin) {
		s->flags = TCP_SENT_FIN;
		out->flags |= TCP_FIN;
		t->flags |= TCP_F_FIN_SENT;
	}
	if (tcp_is(t, TCP_F_ECN) && out->len) {
		out->ecn = 2; /* ECT(0): on new data only (RFC 3168 6.1.4, 6.1.5) */
		if (tcp_is(t, TCP_F_ECN_CWR))
			out->flags |= TCP_CWR;
		t->flags &= ~(uint32_t)TCP_F_ECN_CWR;
	}
	out_urgent(t, out);
	out_account(t, s, out->len);
	return fin;
}

/* One segment of @len new bytes, with the FIN when it is its turn. Return: 1, or 0 when blocks are out. */
static unsigned out_new(struct tcb *t, struct wire_tcp *out, uint32_t len, uint32_t mss,
			ztime_t now)
{
	const uint32_t extra = TCP_F_FIN_QUEUED | TCP_F_ECN | TCP_F_URG_SND | TCP_F_PACING;
	struct tcp_sent *s = tcp_sent_add(t, t->snd_nxt, t->snd_nxt + len, t->unsent, 0, now);
	uint32_t end;

	if (BASE_UNLIKELY(!s))
		return 0;
	tcp_out_header(t, out, now);
	len = tcp_gather(t, t->unsent, t->snd_nxt, len, out);
	end = t->snd_nxt + len;
	if (BASE_UNLIKELY(t->flags & extra) || BASE_UNLIKELY(tcp_in_recovery(t)))
		end += out_new_extra(t, s, out);
	t->pipe += end - s->end;
	s->end = end;
	if (len < mss) {
		t->snd_sml = t->snd_nxt + len;
	} else if (len > mss) {
		BASE_CHECK(mss); /* segment_room() */
		out->gso_size = (uint16_t)mss;
		out->flags |=
			TCP_PSH; /* who merges packets at the other end need not wait for more */
		if (len % mss)
			t->snd_sml = t->snd_nxt + len;
	}
	t->unsent = tcp_chunk_after(t, t->unsent, t->snd_nxt + len);
	t->snd_nxt = end;
	if (!t->unsent && len && !tcp_is(t, TCP_F_MORE))
		out->flags |= TCP_PSH;
	return 1;
}

static unsigned out_fresh(struct tcb *t, struct wire_tcp *out, unsigned max, ztime_t now)
{
	bool data = t->unsent;
	unsigned n = 0;

	if (!t->sent && t->unsent && tcp_idle(t, now))
		tcp_idle_restart(t);
	do {
		uint32_t mss = segment_room(t), len, tried = 0;

		if (BASE_UNLIKELY(n == max) || pace_held(t, now))
			break;
		if (BASE_UNLIKELY(tcp_lowered(t)))
			tried = tcp_raise_len(t, now);
		if (BASE_UNLIKELY(tried))
			len = mss = tried;
		else
			len = t->unsent ? new_len(t, mss) : 0;
		/* A bare FIN is no load on the network: the congestion window does not hold it. */
		if (!len && (t->unsent || !tcp_peer_room(t)))
			break;
		if (!out_new(t, &out[n], len, mss, now))
			break;
		if (BASE_UNLIKELY(tried))
			tcp_raise_sent(t, out[n].len, now);
		n++;
	} while (t->unsent || BASE_UNLIKELY(tcp_fin_unsent(t)));
	if (n)
		tcp_sent_fresh(t, data, now);
	return n;
}

/* Send the run @s once more. Return: 1, or 0 when it cannot be done now. */
static unsigned out_again(struct tcb *t, struct tcp_sent *s, struct wire_tcp *out, ztime_t now)
{
	uint32_t fin = !!(s->flags & TCP_SENT_FIN), len = s->end - s->seq - fin;
	uint32_t got, mss = segment_room(t), most = tcp_is(t, TCP_F_URG_SND) ? mss : len;

	tcp_out_header(t, out, now);
	out->seq = s->seq;
	got = len ? tcp_gather(t, s->chunk, s->seq, BASE_MIN(len, most), out) : 0;
	if (got < len) {
		if (!tcp_sent_split(t, s, s->seq + got)) {
			t->todo |= TCP_DO_ACK; /* the header above paid it, and is not sent */
			return 0;
		}
		fin = 0;
	}
	if (fin)
		out->flags |= TCP_FIN;
	if (out->len > mss)
		out->gso_size = (uint16_t)mss;
	if (got && seq_ge(s->end, t->snd_end))
		out->flags |= TCP_PSH;
	out_urgent(t, out);
	if (t->loss && t->ca_state != TCP_CA_OPEN) {
		if (!t->loss->undo_retrans && t->loss->undo_ok && !t->loss->prr_out) {
			t->loss->undo_tsval = tcp_tsval(t, now);
			t->loss->undo_ts_ok = true;
		}
		t->loss->undo_retrans += (got + t->mss - 1) / t->mss;
	}
	tcp_sent_again(t, s, now);
	out_account(t, s, s->end - s->seq);
	t->retransmits += t->retransmits < UINT16_MAX;
	tcp_count(t, CNT_tcp_retransmit);
	return 1;
}

/* Lost runs, lowest first. At least one segment when nothing at all is in flight. */
static unsigned out_lost(struct tcb *t, struct wire_tcp *out, unsigned max, ztime_t now)
{
	unsigned n = 0;

	while (n < max && t->loss && t->loss->lost && !pace_held(t, now)) {
		struct tcp_sent *s = base_container_of(t->loss->lost, struct tcp_sent, by_time);
		uint32_t room = cwnd_room(t), mss = segment_room(t), allowed;

		if (room < BASE_MIN(s->end - s->seq, mss)) {
			t->flags |= TCP_F_CWND_LIMITED;
			if (tcp_inflight(t))
				break;
		}
		/* A peer that took its window back gets one segment at a time, as a probe (RFC 9293 3.8.6.1). */
		if (seq_gt(s->end, t->snd_una + t->snd_wnd) && s->seq != t->snd_una)
			break;
		allowed = BASE_MIN(BASE_MAX(room - room % mss, mss), burst_max(t, mss));
		if (s->end - s->seq > allowed && !tcp_sent_split(t, s, s->seq + allowed))
			break;
		if (!out_again(t, s, &out[n], now))
			break;
		n++;
	}
	if (n && t->xmit_mode != TCP_XMIT_REO)
		tcp_rto_arm(t, now);
	return n;
}

/* RFC 8985 7.3: new data if there is some, else the last segment again. */
static unsigned out_tlp(struct tcb *t, struct wire_tcp *out, ztime_t now)
{
	uint32_t mss = segment_room(t), len = BASE_MIN(t->snd_end - t->snd_nxt, mss);
	struct tcp_sent *s;
	unsigned n = 0;

	t->todo &= (uint8_t)~TCP_DO_TLP;
	if (!t->sent)
		return 0;
	if (t->unsent && tcp_peer_room(t) >= len) {
		n = out_new(t, out, len, mss, now);
		t->flags &= ~(uint32_t)TCP_F_TLP_RETRANS;
	} else {
		s = tcp_sent_last(t);
		if (s->flags & (TCP_SENT_SACKED | TCP_SENT_LOST))
			return 0;
		if (s->end - s->seq > mss &&
		    !tcp_sent_split(t, s, s->end - 1 - (s->end - s->seq - 1) % mss))
			return 0;
		n = out_again(t, tcp_sent_last(t), out, now);
		t->flags |= TCP_F_TLP_RETRANS;
	}
	if (!n)
		return 0;
	t->flags |= TCP_F_TLP;
	t->tlp_end = t->snd_nxt;
	tcp_count(t, CNT_tcp_tlp);
	tcp_rto_arm(t, now);
	return n;
}

/* RFC 5682 2.1 step 2b: new data instead of what seems lost. Return: false when there is none that can go. */
static bool frto_new(struct tcb *t, struct wire_tcp *out, unsigned max, unsigned *n, ztime_t now)
{
	if (t->loss->frto != TCP_FRTO_NEW)
		return false;
	if (t->unsent)
		*n = out_fresh(t, out, max, now);
	if (*n || t->pipe)
		return true;
	t->loss->frto = TCP_FRTO_NONE;
	return false;
}

static unsigned out_data(struct tcb *t, struct wire_tcp *out, unsigned max, ztime_t now)
{
	unsigned n = 0;

	if (BASE_UNLIKELY(t->loss && t->loss->lost) && !frto_new(t, out, max, &n, now))
		n = out_lost(t, out, max, now);
	if (BASE_UNLIKELY(t->todo & TCP_DO_TLP) && n < max)
		n += out_tlp(t, out + n, now);
	if (t->unsent || tcp_fin_unsent(t))
		n += out_fresh(t, out + n, max - n, now);
	if (n == max)
		return n;
	if (!pace_held(t, now))
		t->todo &= (uint8_t) ~(TCP_DO_SEND | TCP_DO_FORCE);
	if (t->xmit_mode == TCP_XMIT_NONE)
		tcp_xmit_arm(t, now); /* the window may be shut: probe it */
	tcp_cwnd_used(t);
	return n;
}

/* An old sequence number that the peer must answer with an ACK (RFC 9293 3.8.4, 3.8.6.1). */
static unsigned out_probe(struct tcb *t, struct wire_tcp *out, ztime_t now)
{
	tcp_out_header(t, out, now);
	out->seq = t->snd_una - 1;
	t->todo &= (uint8_t)~TCP_DO_PROBE;
	return 1;
}

static unsigned out_reset(struct tcb *t, struct wire_tcp *out, ztime_t now)
{
	tcp_out_header(t, out, now);
	out->flags = TCP_RST | TCP_ACK;
	out->wnd = 0;
	t->todo = 0;
	tcp_count(t, CNT_tcp_rst_out);
	return 1;
}

/* RFC 9293 3.10.7.3, 3.10.7.4: <SEQ=SEG.ACK><CTL=RST>. */
static unsigned out_reset_ack(struct tcb *t, struct wire_tcp *out)
{
	tcp_reset_fill(out, t->snd_wl1, 0, TCP_RST);
	t->todo &= (uint8_t)~TCP_DO_RST_ACK;
	return 1;
}

/* ---------------------------------------------------------------- the whole */

/* What is seldom to do: resets, handshake, probes. Return: segments; *@last: nothing may follow. */
static unsigned out_seldom(struct tcb *t, struct wire_tcp *out, unsigned max, ztime_t now,
			   bool *last)
{
	unsigned n = 0;

	*last = t->todo & TCP_DO_RST;
	if (*last)
		return out_reset(t, out, now);
	if (t->todo & TCP_DO_RST_ACK)
		n = out_reset_ack(t, out);
	if (n < max && t->todo & TCP_DO_SYN)
		n += tcp_out_syn(t, out + n, now);
	return n;
}

unsigned tcp_output(struct tcb *t, struct wire_tcp *out, unsigned max, ztime_t now)
{
	unsigned n = 0;
	bool last;

	tcp_fast_end(t);
	if (BASE_UNLIKELY(now >= tcp_deadline(t)))
		tcp_timer_run(t, now);
	if (!t->todo)
		return 0;
	if (BASE_UNLIKELY(t->todo & (TCP_DO_RST | TCP_DO_RST_ACK | TCP_DO_SYN))) {
		n = out_seldom(t, out, max, now, &last);
		if (last)
			return n;
	}
	if (t->todo & (TCP_DO_SEND | TCP_DO_TLP)) {
		if (tcp_can_transmit(t))
			n += out_data(t, out + n, max - n, now);
		else
			t->todo &= (uint8_t) ~(TCP_DO_SEND | TCP_DO_FORCE | TCP_DO_TLP);
	}
	if (BASE_LIKELY(!(t->todo & (TCP_DO_PROBE | TCP_DO_ACK))))
		return n;
	if (n < max && t->todo & TCP_DO_PROBE)
		n += out_probe(t, out + n, now);
	if (n < max && t->todo & TCP_DO_ACK) {
		tcp_out_header(t, out + n, now);
		n++;
	}
	return n;
}
