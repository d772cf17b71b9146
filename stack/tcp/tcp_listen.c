/* tcp_listen.c - LISTEN and CLOSED: segments that belong to no connection (RFC 9293 3.10.7.1, 3.10.7.2, RFC 4987, RFC 7413 4.2)
 *
 * Theory of operation: a listener is three counts and their limits. A SYN makes a half-open child, at most
 * syn_max of them; beyond that SYN cookies answer without keeping anything. A child whose handshake is done counts against the
 * backlog until the application takes it; while the backlog is full new SYNs are dropped and last ACKs
 * are ignored, so that the peer tries again. A SYN with a valid Fast Open cookie makes a child that
 * is ready at once.
 */
#include "stack/tcp/tcp_int.h"

#include <string.h>

#define COOKIE_TIME (ztime_sec(128)) /* cookies are believed so long after the last overflow */

void tcp_listen_init(struct tcp_listener *l, struct tcp_env *env, uint32_t backlog,
		     uint32_t syn_max)
{
	*l = (struct tcp_listener){
		.env = env,
		.backlog = BASE_MAX(backlog, 1u),
		.syn_max = BASE_MAX(syn_max, 1u),
		.overflow_at = -1,
	};
}

void tcp_listen_accepted(struct tcb *t)
{
	if (tcp_is(t, TCP_F_ACTIVE) || !t->u.parent || !tcp_is(t, TCP_F_READY_CHILD))
		return;
	t->u.parent->n_ready--;
	t->flags &= ~(uint32_t)TCP_F_READY_CHILD;
	if (!tcp_is(t, TCP_F_TFO_CHILD))
		t->u.parent = NULL;
}

/* ---------------------------------------------------------------- RST */

void tcp_reset_fill(struct wire_tcp *out, uint32_t seq, uint32_t ack, uint8_t flags)
{
	out->seq = seq;
	out->ack = ack;
	out->wnd = 0;
	out->urg = 0;
	out->flags = flags;
	out->opts = 0;
	out->ecn = 0;
	out->nsack = 0;
	out->len = 0;
	out->gso_size = 0;
	out->niov = 0;
}

bool tcp_reset_reply(const struct wire_tcp *seg, struct wire_tcp *reply)
{
	if (seg->flags & TCP_RST)
		return false;
	if (seg->flags & TCP_ACK)
		tcp_reset_fill(reply, seg->ack, 0, TCP_RST);
	else
		tcp_reset_fill(reply, 0, seg->seq + wire_tcp_space(seg), TCP_RST | TCP_ACK);
	return true;
}

/* ---------------------------------------------------------------- a segment arrives */

static bool tfo_cookie_ok(const struct tcp_listener *l, const struct wire_tcp *seg,
			  const struct wire_flow *id)
{
	uint64_t mac = tcp_tfo_mac(l->env, id);

	return l->env->cfg.tfo_server && l->tfo_max && seg->opts & TCP_OPT_TFO &&
	       seg->tfo_len == sizeof(mac) && !memcmp(seg->tfo, &mac, sizeof(mac)) &&
	       l->n_tfo < l->tfo_max;
}

static enum tcp_listen_verdict listen_syn(struct tcp_listener *l, const struct wire_tcp *seg,
					  const struct wire_flow *id, uint16_t path_mss,
					  ztime_t now, enum counter *why, struct wire_tcp *reply)
{
	if (l->n_ready >= l->backlog) {
		*why = CNT_tcp_listen_accept_full;
		return TCP_LISTEN_DROP;
	}
	if (l->cookies != TCP_COOKIES_ALWAYS &&
	    (l->n_syn < l->syn_max || tfo_cookie_ok(l, seg, id)))
		return TCP_LISTEN_CREATE;
	if (l->cookies == TCP_COOKIES_NEVER) {
		*why = CNT_tcp_listen_syn_full;
		return TCP_LISTEN_DROP;
	}
	l->overflow_at = now;
	tcp_cookie_reply(l, seg, id, path_mss, now, reply);
	base_count(l->env->counters, CNT_tcp_cookie_sent);
	return TCP_LISTEN_REPLY;
}

static enum tcp_listen_verdict listen_ack(struct tcp_listener *l, const struct wire_tcp *seg,
					  const struct wire_flow *id, ztime_t now,
					  enum counter *why, struct wire_tcp *reply)
{
	bool asked = l->cookies == TCP_COOKIES_ALWAYS ||
		     (l->overflow_at >= 0 && now - l->overflow_at < COOKIE_TIME);
	struct wire_tcp syn;

	if (asked && tcp_cookie_check(l, seg, id, now, &syn)) {
		if (l->n_ready < l->backlog)
			return TCP_LISTEN_CREATE;
		*why = CNT_tcp_accept_full;
		return TCP_LISTEN_DROP;
	}
	/* With cookies out, this may be a later segment of a connection whose first one was lost: a RST would kill it, while
	 * silence lets the first one come again.
	 */
	*why = asked ? CNT_tcp_cookie_bad : CNT_tcp_listen_ack;
	if (asked)
		return TCP_LISTEN_DROP;
	tcp_reset_reply(seg, reply);
	return TCP_LISTEN_REPLY;
}

enum tcp_listen_verdict tcp_listen_input(struct tcp_listener *l, const struct wire_tcp *seg,
					 const struct wire_flow *id, uint16_t path_mss, ztime_t now,
					 enum counter *why, struct wire_tcp *reply)
{
	*why = CNT_none;
	/* first check for a RST, second for an ACK, third for a SYN */
	if (seg->flags & TCP_RST) {
		*why = CNT_tcp_listen_rst;
		return TCP_LISTEN_DROP;
	}
	if ((seg->flags & (TCP_ACK | TCP_SYN)) == TCP_ACK)
		return listen_ack(l, seg, id, now, why, reply);
	if (seg->flags & TCP_ACK) {
		*why = CNT_tcp_listen_ack;
		tcp_reset_reply(seg, reply);
		return TCP_LISTEN_REPLY;
	}
	if (seg->flags & TCP_SYN)
		return listen_syn(l, seg, id, path_mss, now, why, reply);
	*why = CNT_tcp_listen_other;
	return TCP_LISTEN_DROP;
}

/* ---------------------------------------------------------------- children */

/* RFC 6191: the new connection's numbers lie beyond those of the one it replaces. */
static uint32_t child_iss(const struct tcp_env *env, const struct wire_flow *id,
			  const struct tcb *old, ztime_t now)
{
	uint32_t iss = tcp_isn(env, id, now);

	if (old && seq_le(iss, old->snd_nxt))
		iss = old->snd_nxt + 65536;
	return iss;
}

static void child_init(struct tcp_listener *l, struct tcb *t, const struct wire_tcp *syn,
		       const struct wire_flow *id, uint32_t iss, uint16_t path_mss, ztime_t now)
{
	tcp_init(t, l->env);
	t->user_mss = (uint16_t)l->maxseg;
	t->u.parent = l;
	t->ts_offset = tcp_ts_offset(l->env, id);
	tcp_begin(t, id, iss, path_mss, now);
	tcp_set_state(t, TCP_ST_SYN_RCVD);
	t->rcv_nxt = syn->seq + 1;
	t->rcv_adv = t->rcv_nxt;
	t->rcv_acked = t->rcv_nxt;
	tcp_peer_options(t, syn);
	/* RFC 3168 6.1.1: an ECN-setup SYN has both bits. */
	if (l->env->cfg.ecn && (syn->flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR))
		t->flags |= TCP_F_ECN;
	base_count(l->env->counters, CNT_tcp_accept);
}

/* RFC 7413 4.2.2: data in the SYN is taken before the handshake is done. */
static enum counter child_fast_open(struct tcp_listener *l, struct tcb *t, struct wire_tcp *seg,
				    ztime_t now)
{
	l->n_syn--;
	l->n_tfo++;
	l->n_ready++;
	t->flags |= TCP_F_TFO_CHILD | TCP_F_READY_CHILD;
	t->events |= TCP_EV_CONNECTED;
	t->snd_wnd = t->max_wnd = seg->wnd;
	t->snd_wl1 = seg->seq;
	t->rcv_adv = t->rcv_nxt + BASE_MIN(t->rcvbuf, 65535u);
	tcp_cwnd_begin(t);
	tcp_count(t, CNT_tcp_tfo_in);
	if (!seg->len)
		return CNT_none;
	seg->seq++; /* the SYN */
	return tcp_text(t, seg, now);
}

/* A SYN: half-open. */
static enum counter open_syn(struct tcp_listener *l, struct tcb *t, struct wire_tcp *seg,
			     const struct wire_flow *id, uint16_t path_mss, const struct tcb *old,
			     ztime_t now)
{
	bool tfo = tfo_cookie_ok(l, seg, id);
	uint64_t mac;

	child_init(l, t, seg, id, child_iss(l->env, id, old, now), path_mss, now);
	l->n_syn++;
	t->todo = TCP_DO_SYN;
	t->tune_seq = tcp_syn_stamp(now);
	tcp_rto_arm(t, now);
	if (seg->opts & TCP_OPT_TFO && l->env->cfg.tfo_server && l->tfo_max && !tfo) {
		mac = tcp_tfo_mac(l->env, id);
		memcpy(&t->cc.u, &mac, sizeof(mac)); /* congestion control begins later */
		t->flags |= TCP_F_TFO_GRANT;
		if (seg->tfo_len)
			base_count(l->env->counters, CNT_tcp_tfo_bad);
	}
	return tfo ? child_fast_open(l, t, seg, now) : CNT_none;
}

/* The ACK of a SYN cookie: what the SYN said is in it. */
static enum counter open_cookie(struct tcp_listener *l, struct tcb *t, struct wire_tcp *seg,
				const struct wire_flow *id, uint16_t path_mss, ztime_t now)
{
	struct wire_tcp syn;

	if (!tcp_cookie_check(l, seg, id, now, &syn)) {
		tcp_init(t, l->env);
		return CNT_tcp_cookie_bad;
	}
	child_init(l, t, &syn, id, seg->ack - 1, path_mss, now);
	l->n_syn++;
	t->rcv_adv = t->rcv_nxt +
		     BASE_MIN(t->rcvbuf, 65535u); /* what the cookie's SYN-ACK offered */
	t->tune_seq = 0;                          /* the round trip is not known */
	base_count(l->env->counters, CNT_tcp_cookie_ok);
	return tcp_input(t, seg, now);
}

enum counter tcp_listen_open(struct tcp_listener *l, struct tcb *t, struct wire_tcp *seg,
			     const struct wire_flow *id, uint16_t path_mss, const struct tcb *old,
			     ztime_t now)
{
	if (seg->flags & TCP_SYN)
		return open_syn(l, t, seg, id, path_mss, old, now);
	return open_cookie(l, t, seg, id, path_mss, now);
}
