/* ip_icmp.c - echo, errors received and errors sent, none faster than a limit (RFC 792, 4443, 1812
 * 4.3.2.8)
 *
 * What an error does to a connection is TCP's business: here it is only found out which one is
 * quoted.
 */
#include "stack/ip/ip_state.h"

#include <errno.h>

#define ECHO_PER_S      1000
#define ERROR_PER_S     100
#define ERROR_QUOTE_MAX 548 /* an error is at most 576 bytes of IPv4 (RFC 1812 4.3.2.3) */
#define QUOTE_TCP_LEN   8   /* ports and sequence number */

bool ip_bucket_take(struct ip_bucket *b, uint32_t per_s, ztime_t now)
{
	ztime_t each = ZTIME_SEC / per_s;
	ztime_t back = (now - b->at) / each;
	uint32_t full = per_s / 10;

	if (b->at == 0 || back >= full) {
		b->tokens = full;
		b->at = now;
	} else if (back > 0) {
		b->tokens = BASE_MIN(b->tokens + (uint32_t)back, full);
		b->at += back * each;
	}
	if (!b->tokens)
		return false;
	b->tokens--;
	return true;
}

/* Answers go back to the station the packet came from: no look-up, no waiting. */
static enum counter icmp_answer(struct ip *ip, const struct ip_packet *p, const struct wire_icmp *m)
{
	struct wire_frame_out *f = ip_answer_new(ip);
	bool v4 = wire_addr_is_v4(&p->dst);

	if (!f)
		return CNT_none;
	ip_eth_put(ip, f, &p->mac, v4 ? WIRE_ETH_IP4 : WIRE_ETH_IP6);
	ip_header_put(f, &p->dst, &p->src, v4 ? WIRE_PROTO_ICMP : WIRE_PROTO_ICMP6,
		      WIRE_ICMP_LEN + m->body_len, IP_HOPS);
	wire_icmp_emit(m, v4 ? NULL : &p->dst, v4 ? NULL : &p->src, f->hdr + f->l4_at);
	f->hdr_len = (uint16_t)(f->l4_at + WIRE_ICMP_LEN);
	if (ip_payload_copy(ip, f, m->body, m->body_len))
		ip_answer_push(ip);
	return CNT_none;
}

static enum counter icmp_echo(struct ip *ip, const struct ip_packet *p, const struct wire_icmp *ask,
			      uint8_t reply, ztime_t now)
{
	struct wire_icmp m = *ask;
	unsigned int hdr = wire_addr_is_v4(&p->dst) ? WIRE_IP4_LEN : WIRE_IP6_LEN;

	/* A reassembled echo would have to be sent in fragments, which are never made here. */
	if (p->group || hdr + WIRE_ICMP_LEN + ask->body_len > ip->cfg.mtu)
		return CNT_ip_icmp_ignored;
	if (!ip_bucket_take(&ip->echo_bucket, ECHO_PER_S, now))
		return CNT_ip_icmp_limited;
	m.type = reply;
	m.code = 0;
	base_count(ip->counters, CNT_ip_icmp_echo);
	return icmp_answer(ip, p, &m);
}

/* RFC 1191 7.1: routers of old say nothing; the next lower common size is a good guess. */
static uint32_t mtu_plateau(uint32_t total_len)
{
	static const uint16_t plateaus[] = { 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296 };

	for (unsigned int i = 0; i < BASE_ARRAY_SIZE(plateaus); i++)
		if (plateaus[i] < total_len)
			return plateaus[i];
	return IP4_MTU_MIN;
}

static bool error4_read(const struct wire_icmp *m, struct ip_error *e)
{
	uint32_t quoted = base_be16_get(m->body + 2);

	if (m->type == WIRE_ICMP_TIME) {
		e->err = EHOSTUNREACH;
		return true;
	}
	if (m->type == WIRE_ICMP_PARAM) {
		e->err = EPROTO;
		e->hard = true;
		return true;
	}
	if (m->type != WIRE_ICMP_UNREACH)
		return false;
	switch (m->code) {
	case WIRE_UNREACH_NET:
	case WIRE_UNREACH_ADMIN_NET: e->err = ENETUNREACH; return true;
	case WIRE_UNREACH_PROTO:
		e->err = ENOPROTOOPT;
		e->hard = true;
		return true;
	case WIRE_UNREACH_PORT:
		e->err = ECONNREFUSED;
		e->hard = true;
		return true;
	case WIRE_UNREACH_TOO_BIG:
		e->err = EMSGSIZE;
		e->mtu = m->word & 0xffff ? m->word & 0xffff : mtu_plateau(quoted);
		return true;
	default: e->err = EHOSTUNREACH; return true;
	}
}

static bool error6_read(const struct wire_icmp *m, struct ip_error *e)
{
	switch (m->type) {
	case WIRE_ICMP6_UNREACH:
		e->hard = m->code == WIRE_UNREACH6_PORT || m->code == WIRE_UNREACH6_ADMIN;
		e->err = m->code == WIRE_UNREACH6_PORT    ? ECONNREFUSED
			 : m->code == WIRE_UNREACH6_ADMIN ? EACCES
			 : m->code == WIRE_UNREACH6_ROUTE ? ENETUNREACH
							  : EHOSTUNREACH;
		return true;
	case WIRE_ICMP6_TOO_BIG:
		e->err = EMSGSIZE;
		e->mtu = m->word;
		return true;
	case WIRE_ICMP6_TIME: e->err = EHOSTUNREACH; return true;
	case WIRE_ICMP6_PARAM:
		e->err = EPROTO;
		e->hard = true;
		return true;
	default: return false;
	}
}

/*
 * The quoted packet is one of ours, so it has no extension headers. Return: where its TCP header
 * starts, or 0.
 */
static unsigned int quote_read(const struct wire_icmp *m, bool v4, struct ip_error *e)
{
	const uint8_t *q = m->body;
	unsigned int hdr = v4 ? WIRE_IP4_LEN : WIRE_IP6_LEN;

	if (m->body_len < hdr || q[0] >> 4 != (v4 ? 4 : 6))
		return 0;
	if (v4) {
		hdr = (q[0] & 0x0f) * 4u;
		e->flow.local = wire_addr_v4_bytes(q + 12);
		e->flow.remote = wire_addr_v4_bytes(q + 16);
	} else {
		e->flow.local = wire_addr_v6_bytes(q + 8);
		e->flow.remote = wire_addr_v6_bytes(q + 24);
	}
	if (hdr < WIRE_IP4_LEN || m->body_len < hdr + QUOTE_TCP_LEN ||
	    q[v4 ? 9 : 6] != WIRE_PROTO_TCP)
		return 0;
	return hdr;
}

static enum counter icmp_error(struct ip *ip, const struct wire_icmp *m, bool v4, struct ip_rx *rx)
{
	struct ip_error e = { 0 };
	unsigned int at = quote_read(m, v4, &e);

	if (!at || !ip_addr_local(ip, &e.flow.local))
		return CNT_ip_icmp_quote;
	if (!(v4 ? error4_read(m, &e) : error6_read(m, &e)))
		return CNT_ip_icmp_ignored;
	e.flow.lport = base_be16_get(m->body + at);
	e.flow.rport = base_be16_get(m->body + at + 2);
	e.seq = base_be32_get(m->body + at + 4);
	rx->error = e;
	rx->kind = IP_RX_ERROR;
	return CNT_none;
}

static enum counter icmp4_input(struct ip *ip, const struct ip_packet *p, struct ip_rx *rx,
				ztime_t now)
{
	struct wire_icmp m;
	enum counter why = wire_icmp_parse(p->body, p->body_len, &m);

	if (why != CNT_none)
		return why;
	switch (m.type) {
	case WIRE_ICMP_ECHO: return icmp_echo(ip, p, &m, WIRE_ICMP_ECHO_REPLY, now);
	case WIRE_ICMP_UNREACH:
	case WIRE_ICMP_TIME:
	case WIRE_ICMP_PARAM: return icmp_error(ip, &m, true, rx);
	default: return CNT_ip_icmp_ignored;
	}
}

static enum counter icmp6_input(struct ip *ip, const struct ip_packet *p, struct ip_rx *rx,
				ztime_t now)
{
	struct wire_icmp m;
	enum counter why = wire_icmp6_parse(p->body, p->body_len, &p->src, &p->dst, &m);

	if (why != CNT_none)
		return why;
	switch (m.type) {
	case WIRE_ICMP6_ECHO: return icmp_echo(ip, p, &m, WIRE_ICMP6_ECHO_REPLY, now);
	case WIRE_ICMP6_NS:
	case WIRE_ICMP6_NA: return ip_nd_input(ip, p, &m, rx, now);
	case WIRE_ICMP6_UNREACH:
	case WIRE_ICMP6_TOO_BIG:
	case WIRE_ICMP6_TIME:
	case WIRE_ICMP6_PARAM: return icmp_error(ip, &m, false, rx);
	default: return CNT_ip_icmp_ignored;
	}
}

enum counter ip_icmp_input(struct ip *ip, const struct ip_packet *p, struct ip_rx *rx, ztime_t now)
{
	return wire_addr_is_v4(&p->dst) ? icmp4_input(ip, p, rx, now) : icmp6_input(ip, p, rx, now);
}

/*
 * RFC 1122 3.2.2.1 (protocol unreachable), RFC 4443 2.4 (never about a group, an unspecified
 * source).
 */
void ip_icmp_unreach(struct ip *ip, const struct ip_packet *p, ztime_t now)
{
	bool v4 = wire_addr_is_v4(&p->dst), udp = p->proto == 17;
	struct wire_icmp m = {
		.type = v4    ? WIRE_ICMP_UNREACH
			: udp ? WIRE_ICMP6_UNREACH
			      : WIRE_ICMP6_PARAM,
		.code = v4    ? (udp ? WIRE_UNREACH_PORT : WIRE_UNREACH_PROTO)
			: udp ? WIRE_UNREACH6_PORT
			      : 1,
		.body = p->packet,
		.body_len = BASE_MIN(p->packet_len, (uint32_t)ERROR_QUOTE_MAX),
	};

	if (p->group || wire_addr_is_any(&p->src))
		return;
	if (!v4 && !udp)
		m.word = 6; /* offset of the next-header field */
	if (!ip_bucket_take(&ip->error_bucket, ERROR_PER_S, now)) {
		base_count(ip->counters, CNT_ip_icmp_limited);
		return;
	}
	base_count(ip->counters, CNT_ip_icmp_errors);
	icmp_answer(ip, p, &m);
}
