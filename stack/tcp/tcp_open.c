/* tcp_open.c - the handshake: numbers, options and SYN segments (RFC 9293 3.5, 3.10.1, RFC 6528, RFC 7323 2, RFC 7413)
 *
 * Who calls: tcp_connect() by the application's side, tcp_listen_open() for a passive child, tcp_out_syn() by
 * tcp_output(). A passive child and a simultaneous open differ only in flags.
 */
#include "stack/tcp/tcp_int.h"

#include <errno.h>
#include <string.h>

/* RFC 6528 3: ISN = M + F(addresses, ports, secret), where M moves every 4 microseconds. */
uint32_t tcp_isn(const struct tcp_env *env, const struct wire_flow *id, ztime_t now)
{
	uint64_t w[5] = { id->local.q[0], id->local.q[1], id->remote.q[0], id->remote.q[1],
			  (uint64_t)id->lport << 16 | id->rport };

	return (uint32_t)base_hash_sip24_words(&env->key, w, 5) + (uint32_t)(now / (4 * ZTIME_US));
}

/* A clock of its own for each pair of ends (RFC 7323 5.4): the same one each time, so that a SYN cookie needs no memory of it. */
uint32_t tcp_ts_offset(const struct tcp_env *env, const struct wire_flow *id)
{
	uint64_t w[4] = { id->local.q[0], id->local.q[1], id->remote.q[0], id->remote.q[1] };

	return (uint32_t)(base_hash_sip24_words(&env->key, w, 4) >> 32);
}

/* RFC 9293 3.7.1: what a peer takes that has not said. */
uint16_t tcp_mss_unsaid(const struct wire_flow *id)
{
	return wire_addr_is_v4(&id->remote) ? 536 : 1220;
}

/* Numbers and limits of a connection that begins; options have been set on @t before. */
void tcp_begin(struct tcb *t, const struct wire_flow *id, uint32_t iss, uint16_t path_mss,
	       ztime_t now)
{
	const struct tcp_config *cfg = &t->env->cfg;
	struct tcp_chunk *c = t->sndq;

	if (c) { /* bytes queued for Fast Open were numbered from 0 */
		do {
			c->seq += iss + 1;
			c = c->next;
		} while (c != t->sndq);
	}
	t->snd_end += iss + 1;
	t->snd_una = iss;
	t->snd_nxt = iss + 1;
	t->snd_sml = t->snd_up = iss;
	t->path_mss = BASE_MAX(path_mss, cfg->mss_min);
	t->top_mss = t->path_mss;
	t->peer_mss = tcp_mss_unsaid(id);
	t->rcv_mss = BASE_MIN(t->path_mss, 536);
	t->rcv_wscale = cfg->window_scale
				? tcp_window_scale(BASE_MAX(cfg->rcvbuf_max_bytes, t->rcvbuf))
				: 0;
	t->seen_ms = tcp_now_ms(now);
	tcp_mss_update(t);
}

int tcp_connect(struct tcb *t, const struct wire_flow *id, uint16_t path_mss, ztime_t now)
{
	if (t->state != TCP_ST_CLOSED || t->error)
		return -EISCONN;
	tcp_begin(t, id, tcp_isn(t->env, id, now), path_mss, now);
	t->ts_offset = tcp_ts_offset(t->env, id);
	t->flags |= TCP_F_ACTIVE;
	if (t->env->cfg.ecn && !tcp_is(t, TCP_F_NO_ECN))
		t->flags |= TCP_F_ECN;
	tcp_set_state(t, TCP_ST_SYN_SENT);
	t->todo = TCP_DO_SYN;
	t->tune_seq = tcp_syn_stamp(now);
	tcp_rto_arm(t, now);
	tcp_count(t, CNT_tcp_connect);
	return 0;
}

/* Size of a full segment from every limit there is (RFC 9293 3.7.1, RFC 6691). */
void tcp_mss_update(struct tcb *t)
{
	uint32_t m = BASE_MIN(t->peer_mss, t->path_mss);

	if (t->user_mss)
		m = BASE_MIN(m, t->user_mss);
	if (t->probed_mss)
		m = BASE_MIN(m, t->probed_mss);
	m = BASE_MAX(m, t->env->cfg.mss_min); /* options alone take up to 40 bytes */
	if (tcp_is(t, TCP_F_TS))
		m -= TCP_TS_OPT_LEN;
	t->mss = (uint16_t)m;
	t->cc.cwnd = BASE_MAX(t->cc.cwnd, m); /* never less than one segment, or nothing could go */
}

/* What the peer's SYN or SYN-ACK offers and we want too. */
void tcp_peer_options(struct tcb *t, const struct wire_tcp *syn)
{
	const struct tcp_config *cfg = &t->env->cfg;

	t->flags &= ~(uint32_t)(TCP_F_TS | TCP_F_SACK | TCP_F_WSCALE);
	if (syn->opts & TCP_OPT_MSS)
		t->peer_mss = BASE_MAX(syn->mss, cfg->mss_min);
	if (syn->opts & TCP_OPT_TS && cfg->timestamps) {
		t->flags |= TCP_F_TS;
		t->ts_recent = syn->tsval;
	}
	if (syn->opts & TCP_OPT_SACK_OK && cfg->sack)
		t->flags |= TCP_F_SACK;
	if (syn->opts & TCP_OPT_WSCALE && cfg->window_scale) {
		t->flags |= TCP_F_WSCALE;
		t->snd_wscale = syn->wscale;
	} else {
		t->rcv_wscale = 0;
	}
	tcp_mss_update(t);
}

void tcp_cwnd_begin(struct tcb *t)
{
	uint32_t segments = t->env->cfg.init_cwnd;

	/* RFC 5681 3.1: when the SYN was lost, one segment. RFC 6298 5.7: and no less than three seconds of RTO. */
	if (t->backoff) {
		segments = 1;
		t->rto_first_us = BASE_MAX(t->rto_first_us, 3u * t->env->cfg.rto_initial_us);
	}
	t->cc.cwnd = BASE_MAX(cc_initial_window(t->mss, segments), (uint32_t)t->mss);
	t->cc.ssthresh = UINT32_MAX;
	t->cc.ops->init(&t->cc);
}

/* ---------------------------------------------------------------- SYN segments */

static void syn_options(struct tcb *t, struct wire_tcp *out, ztime_t now)
{
	const struct tcp_config *cfg = &t->env->cfg;
	bool answer = t->state == TCP_ST_SYN_RCVD;

	out->opts = TCP_OPT_MSS;
	out->mss = t->user_mss ? BASE_MIN(t->user_mss, t->path_mss) : t->path_mss;
	if (answer ? tcp_is(t, TCP_F_WSCALE) : cfg->window_scale) {
		out->opts |= TCP_OPT_WSCALE;
		out->wscale = t->rcv_wscale;
	}
	if (answer ? tcp_is(t, TCP_F_SACK) : cfg->sack)
		out->opts |= TCP_OPT_SACK_OK;
	if (answer ? tcp_is(t, TCP_F_TS) : cfg->timestamps) {
		out->opts |= TCP_OPT_TS;
		out->tsval = tcp_tsval(t, now);
		out->tsecr = answer ? t->ts_recent : 0;
	}
}

/* RFC 7413 4.2.1: the cookie, and with it the first bytes. Only in the first SYN: a repeated one is plain. */
static void syn_fast_open(struct tcb *t, struct wire_tcp *out, ztime_t now)
{
	const struct tcp_tfo *tfo = t->u.tfo;
	uint32_t room = out->mss - 40u, len = BASE_MIN(t->snd_end - t->snd_nxt, room);
	struct tcp_sent *s;

	if (!tcp_is(t, TCP_F_ACTIVE) || !tfo || t->backoff)
		return;
	out->opts |= TCP_OPT_TFO;
	out->tfo_len = tfo->use_len;
	memcpy(out->tfo, tfo->cookie, tfo->use_len);
	if (!tfo->use_len || !len || t->sent)
		return;
	s = tcp_sent_add(t, t->snd_nxt, t->snd_nxt + len, t->unsent, 0, now);
	if (!s)
		return;
	len = tcp_gather(t, t->unsent, t->snd_nxt, len, out);
	t->pipe -= s->end - (s->seq + len);
	s->end = s->seq + len;
	t->snd_nxt = s->end;
	t->unsent = tcp_chunk_after(t, t->unsent, t->snd_nxt);
}

/* The cookie that a passive child owes its client. */
static void syn_cookie_grant(struct tcb *t, struct wire_tcp *out)
{
	const struct tcp_listener *l = t->u.parent;

	if (!l || !tcp_is(t, TCP_F_TFO_GRANT))
		return;
	out->opts |= TCP_OPT_TFO;
	out->tfo_len = 8;
	memcpy(out->tfo, &t->cc.u, 8);
}

unsigned tcp_out_syn(struct tcb *t, struct wire_tcp *out, ztime_t now)
{
	uint32_t wnd = BASE_MIN(t->rcvbuf, 65535u);
	bool answer = t->state == TCP_ST_SYN_RCVD;

	t->todo &= (uint8_t) ~(TCP_DO_SYN | TCP_DO_ACK);
	if (!answer && t->state != TCP_ST_SYN_SENT)
		return 0;
	out->seq = t->snd_una;
	out->ack = answer ? t->rcv_nxt : 0;
	out->wnd = (uint16_t)wnd;
	out->urg = 0;
	out->flags = answer ? TCP_SYN | TCP_ACK : TCP_SYN;
	out->ecn = 0;
	out->nsack = 0;
	out->len = 0;
	out->niov = 0;
	out->gso_size = 0;
	/* RFC 3168 6.1.1: a SYN that was lost may have been lost for its ECN bits. */
	if (tcp_is(t, TCP_F_ECN) && (answer || !t->backoff))
		out->flags |= answer ? TCP_ECE : TCP_ECE | TCP_CWR;
	syn_options(t, out, now);
	if (answer) {
		t->rcv_adv = seq_max(t->rcv_adv, t->rcv_nxt + wnd);
		t->rcv_acked = t->rcv_nxt;
		syn_cookie_grant(t, out);
	} else {
		t->rcv_adv = wnd; /* relative until the peer's number is known */
		syn_fast_open(t, out, now);
	}
	return 1;
}
