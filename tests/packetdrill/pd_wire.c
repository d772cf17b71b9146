/* pd_wire.c - script numbers to wire numbers and back */
#include "pd_wire.h"

#include <stdio.h>
#include <string.h>

#include "stack/base/base_check.h"
#include "stack/wire/wire_icmp.h"
#include "stack/wire/wire_ip4.h"
#include "stack/wire/wire_ip6.h"

#define HOST_PORT 8080
#define PEER_PORT 40000

void pd_peer_init(struct pd_peer *p, bool v6)
{
	memset(p, 0, sizeof(*p));
	p->host = v6 ? (union wire_addr){ .b = { 0xfd, 0x3d, [15] = 1 } }
		     : wire_addr_v4(0xc0a80001);
	p->peer = v6 ? (union wire_addr){ .b = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } }
		     : wire_addr_v4(0xc0000201);
	p->host_port = HOST_PORT;
	p->peer_port = PEER_PORT;
}

void pd_peer_syn(struct pd_peer *p, const struct pd_tcp *t)
{
	if (p->syn_known && p->syn_seq == t->seg.seq && !p->established)
		return;
	p->peer_port += p->syn_known;
	p->syn_known = p->live = true;
	p->syn_seq = t->seg.seq;
	p->isn_known = p->ts_known = p->established = false;
}

/* The script's numbers of our side into those of the host's. */
static struct wire_tcp to_wire(const struct pd_peer *p, const struct pd_tcp *t, bool from_host)
{
	struct wire_tcp s = t->seg;

	s.sport = from_host ? p->host_port : p->peer_port;
	s.dport = from_host ? p->peer_port : p->host_port;
	if (from_host) {
		s.seq += p->isn;
		return s;
	}
	if (t->has_ack)
		s.ack += p->isn;
	if (s.opts & TCP_OPT_TS && s.tsecr)
		s.tsecr += p->ts_offset;
	for (unsigned int i = 0; i < s.nsack; i++) {
		s.sack[i].left += p->isn;
		s.sack[i].right += p->isn;
	}
	return s;
}

static size_t ip_put(const union wire_addr *src, const union wire_addr *dst, uint8_t proto,
		     size_t len, uint8_t ecn, uint8_t *out)
{
	struct wire_ip4 ip4 = { .src = *src,
				.dst = *dst,
				.total_len = (uint16_t)(20 + len),
				.ttl = 64,
				.proto = proto,
				.tos = ecn,
				.df = true };
	struct wire_ip6 ip6 = { .src = *src,
				.dst = *dst,
				.payload_len = (uint16_t)len,
				.hops = 64,
				.proto = proto,
				.tclass = ecn };

	return wire_addr_is_v4(dst) ? wire_ip4_emit(&ip4, out) : wire_ip6_emit(&ip6, out);
}

static size_t icmp_build(const struct pd_peer *p, const struct pd_tcp *t, uint8_t *out)
{
	static const struct {
		const char *name;
		uint8_t type4, code4, type6, code6;
	} types[] = {
		{ "frag_needed", 3, 4, 2, 0 },         { "packet_too_big", 3, 4, 2, 0 },
		{ "host_unreachable", 3, 1, 1, 3 },    { "net_unreachable", 3, 0, 1, 0 },
		{ "port_unreachable", 3, 3, 1, 4 },    { "protocol_unreachable", 3, 2, 1, 4 },
		{ "address_unreachable", 3, 1, 1, 3 }, { "admin_prohibited", 3, 13, 1, 1 },
		{ "time_exceeded", 11, 0, 3, 0 },
	};
	bool v4 = wire_addr_is_v4(&p->host);
	struct wire_tcp seg = to_wire(p, t, true);
	struct wire_icmp m = { .word = t->icmp_mtu };
	uint8_t quote[120];
	size_t at;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(types); i++)
		if (strcmp(types[i].name, t->icmp_type) == 0) {
			m.type = v4 ? types[i].type4 : types[i].type6;
			m.code = v4 ? types[i].code4 : types[i].code6;
		}
	seg.flags |= TCP_ACK;
	at = ip_put(&p->host, &p->peer, WIRE_PROTO_TCP, 20 + seg.len, 0, quote);
	at += wire_tcp_emit(&seg, quote + at);
	m.body = quote;
	m.body_len = (uint32_t)at;
	at = ip_put(&p->peer, &p->host, v4 ? WIRE_PROTO_ICMP : WIRE_PROTO_ICMP6, 8 + m.body_len, 0,
		    out);
	at += wire_icmp_emit(&m, v4 ? NULL : &p->peer, v4 ? NULL : &p->host, out + at);
	memcpy(out + at, quote, m.body_len);
	return at + m.body_len;
}

size_t pd_peer_build(const struct pd_peer *p, const struct pd_tcp *t, uint8_t *out)
{
	struct wire_tcp seg = to_wire(p, t, false);
	size_t at, hdr;

	if (t->icmp)
		return icmp_build(p, t, out);
	hdr = wire_tcp_hdr_len(&seg);
	at = ip_put(&p->peer, &p->host, WIRE_PROTO_TCP, hdr + seg.len, t->any_ecn ? 0 : seg.ecn,
		    out);
	wire_tcp_emit(&seg, out + at);
	memset(out + at + hdr, 0, seg.len);
	seg.niov = seg.len != 0;
	seg.iov[0] = (struct wire_tcp_iov){ .data = out + at + hdr, .len = seg.len };
	wire_tcp_csum_set(out + at, (unsigned int)hdr, &seg, &p->peer, &p->host);
	return at + hdr + seg.len;
}

static const char *ip_read(const uint8_t *packet, size_t len, union wire_addr *src,
			   union wire_addr *dst, const uint8_t **l4, size_t *l4_len, uint8_t *ecn)
{
	struct wire_ip4 h4;
	struct wire_ip6 h6;

	if (packet[0] >> 4 == 4) {
		if (wire_ip4_parse(packet, len, false, &h4) != CNT_none)
			return "bad IPv4 header";
		*src = h4.src;
		*dst = h4.dst;
		*l4 = packet + h4.hdr_len;
		*l4_len = h4.total_len - h4.hdr_len;
		*ecn = h4.tos & 3;
		return h4.proto == WIRE_PROTO_TCP ? NULL : "not TCP";
	}
	if (wire_ip6_parse(packet, len, &h6) != CNT_none)
		return "bad IPv6 header";
	*src = h6.src;
	*dst = h6.dst;
	*l4 = packet + h6.body_at;
	*l4_len = 40u + h6.payload_len - h6.body_at;
	*ecn = h6.tclass & 3;
	return h6.proto == WIRE_PROTO_TCP ? NULL : "not TCP";
}

/* The first segment of a connection tells its port, its numbers and its clock. */
static void learn(struct pd_peer *p, const struct wire_tcp *s, const struct pd_tcp *want)
{
	if (!p->live && s->flags & TCP_SYN) {
		p->live = true;
		p->host_port = s->sport;
		p->peer_port = s->dport;
	}
	if (!p->isn_known && s->flags & TCP_SYN) {
		p->isn = s->seq;
		p->isn_known = true;
	}
	if (!p->ts_known && s->opts & TCP_OPT_TS && want && want->seg.opts & TCP_OPT_TS) {
		p->ts_offset = s->tsval - want->seg.tsval;
		p->ts_known = true;
	}
	if (!(s->flags & TCP_SYN) && s->flags & TCP_ACK)
		p->established = true;
}

const char *pd_peer_read(struct pd_peer *p, const uint8_t *packet, size_t len,
			 const struct pd_tcp *want, struct pd_tcp *t)
{
	union wire_addr src, dst;
	const uint8_t *l4;
	size_t l4_len;
	uint8_t ecn;
	const char *bad = ip_read(packet, len, &src, &dst, &l4, &l4_len, &ecn);

	memset(t, 0, sizeof(*t));
	if (bad)
		return bad;
	if (wire_tcp_parse(l4, l4_len, &t->seg) != CNT_none)
		return "bad TCP header";
	if (!wire_tcp_csum_ok(l4, l4_len, &src, &dst))
		return "bad TCP checksum";
	learn(p, &t->seg, want);
	t->seg.ecn = ecn;
	t->has_ack = t->seg.flags & TCP_ACK;
	t->has_wnd = true;
	if (t->seg.sport != p->host_port || t->seg.dport != p->peer_port)
		return "of another connection";
	/* The answer to a segment of no connection has that segment's numbers, not ours. */
	t->seg.seq -= p->isn_known ? p->isn : 0;
	if (t->seg.opts & TCP_OPT_TS)
		t->seg.tsval -= p->ts_offset;
	return NULL;
}

static int opts_print(const struct pd_tcp *t, char *to, size_t room)
{
	const struct wire_tcp *s = &t->seg;
	int n = 0;

#define ADD(...) n += snprintf(to + n, n < (int)room ? room - (size_t)n : 0, __VA_ARGS__)
	if (s->opts & TCP_OPT_MSS)
		ADD(",mss %u", s->mss);
	if (s->opts & TCP_OPT_SACK_OK)
		ADD(",sackOK");
	if (s->opts & TCP_OPT_TS)
		ADD(",TS val %u ecr %u", s->tsval, s->tsecr);
	if (s->opts & TCP_OPT_WSCALE)
		ADD(",wscale %u", s->wscale);
	if (s->opts & TCP_OPT_TFO) {
		ADD(",FO ");
		for (unsigned int i = 0; i < s->tfo_len; i++)
			ADD("%02x", s->tfo[i]);
	}
	if (s->opts & TCP_OPT_SACK) {
		ADD(",sack");
		for (unsigned int i = 0; i < s->nsack; i++)
			ADD(" %u:%u", s->sack[i].left, s->sack[i].right);
	}
#undef ADD
	return n;
}

void pd_tcp_print(const struct pd_tcp *t, char *to, size_t room)
{
	static const char *const ecn[] = { "", "[ect1] ", "[ect0] ", "[ce] " };
	static const char letters[] = "FSRP.UEW";
	const struct wire_tcp *s = &t->seg;
	char flags[9], opts[200];
	unsigned int k = 0;
	int n;

	for (unsigned int i = 0; i < 8; i++)
		if (s->flags & 1u << i)
			flags[k++] = letters[i];
	flags[k] = 0;
	opts[0] = opts[1] = 0;
	opts_print(t, opts, sizeof(opts));
	n = snprintf(to, room, "%s%s %u:%u(%u)", ecn[s->ecn & 3], flags, s->seq, s->seq + s->len,
		     s->len);
	if (t->has_ack)
		n += snprintf(to + n, room - (size_t)n, " ack %u", s->ack);
	if (t->has_wnd)
		n += snprintf(to + n, room - (size_t)n, " win %u", s->wnd);
	if (s->flags & TCP_URG)
		n += snprintf(to + n, room - (size_t)n, " urg %u", s->urg);
	if (opts[0])
		snprintf(to + n, room - (size_t)n, " <%s>", opts + 1);
}
