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
#define ERROR4_MAX      576         /* bytes of an error, all headers included (RFC 1812 4.3.2.3) */
#define ERROR6_MAX      IP6_MTU_MIN /* RFC 4443 2.4 c */
#define QUOTE_TCP_LEN   8           /* ports and sequence number */
#define QUOTE4_OFF_MASK 0x1fff

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
	bool v4 = wire_addr_is_v4(&p->dst);
	uint32_t room = ip->cfg.mtu - (v4 ? WIRE_IP4_LEN : WIRE_IP6_LEN) - WIRE_ICMP_LEN;

	/* What came in fragments would have to go in fragments, which are never made here: then IPv4 wants it cut (RFC 1122
	 * 3.2.2.6), IPv6 all or nothing (RFC 4443 4.2).
	 */
	if (p->group || (!v4 && ask->body_len > room))
		return CNT_ip_icmp_ignored;
	m.body_len = BASE_MIN(m.body_len, room);
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
		e->err = EPROTO; /* soft (RFC 1122 4.2.3.9) */
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
		return e->mtu >= IP6_MTU_MIN; /* else it must be discarded (RFC 8201 4) */
	case WIRE_ICMP6_TIME: e->err = EHOSTUNREACH; return true;
	case WIRE_ICMP6_PARAM:
		e->err = EPROTO;
		e->hard = m->code == WIRE_PARAM6_NEXT; /* nobody there takes TCP */
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
	if (v4 && base_be16_get(q + 6) & QUOTE4_OFF_MASK)
		return 0; /* a later fragment's bytes are no header */
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
 * Tell the sender of @p, whose packet is quoted. Never about a group, a source that is nobody (RFC 1122 3.2.2, 4443 2.4 e);
 * nor about what came in parts, of which only the last one is still there to be quoted.
 */
static void icmp_tell(struct ip *ip, const struct ip_packet *p, struct wire_icmp *m, ztime_t now)
{
	bool v4 = wire_addr_is_v4(&p->dst);
	uint32_t most = v4 ? ERROR4_MAX - WIRE_IP4_LEN : ERROR6_MAX - WIRE_IP6_LEN;

	if (p->group || p->joined || wire_addr_is_any(&p->src))
		return;
	if (!ip_bucket_take(&ip->error_bucket, ERROR_PER_S, now)) {
		base_count(ip->counters, CNT_ip_icmp_limited);
		return;
	}
	m->body = p->packet;
	m->body_len = BASE_MIN(p->packet_len, most - WIRE_ICMP_LEN);
	base_count(ip->counters, CNT_ip_icmp_errors);
	icmp_answer(ip, p, m);
}

void ip_icmp_unreach(struct ip *ip, const struct ip_packet *p, ztime_t now)
{
	bool udp = p->proto == WIRE_PROTO_UDP;
	struct wire_icmp m = { .type = WIRE_ICMP_UNREACH };

	if (wire_addr_is_v4(&p->dst)) {
		m.code = udp ? WIRE_UNREACH_PORT : WIRE_UNREACH_PROTO;
	} else if (udp) {
		m.type = WIRE_ICMP6_UNREACH;
		m.code = WIRE_UNREACH6_PORT;
	} else {
		ip_icmp_problem(ip, p, WIRE_PARAM6_NEXT, p->proto_at, now);
		return;
	}
	icmp_tell(ip, p, &m, now);
}

void ip_icmp_problem(struct ip *ip, const struct ip_packet *p, uint8_t code, uint16_t at,
		     ztime_t now)
{
	struct wire_icmp m = { .type = WIRE_ICMP6_PARAM, .code = code, .word = at };

	icmp_tell(ip, p, &m, now);
}
