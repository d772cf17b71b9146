/* ip_output.c - headers in front of a segment, and the queue of IP's own frames */
#include "stack/ip/ip_state.h"

#include <errno.h>

#define RESET_PER_S 10000

struct wire_frame_out *ip_answer_new(struct ip *ip)
{
	struct wire_frame_out *f;

	if (ip->answer_put - ip->answer_got == IP_ANSWERS_MAX) {
		base_count(ip->counters, CNT_ip_answers_full);
		return NULL;
	}
	f = &ip->answers[ip->answer_put % IP_ANSWERS_MAX];
	f->l4_len = f->flags = f->niov = 0;
	f->gso_size = 0;
	f->len = 0;
	return f;
}

void ip_answer_push(struct ip *ip)
{
	ip->answer_put++;
	ip_deadline_set(ip);
}

bool ip_answer_take(struct ip *ip, struct wire_frame_out *out)
{
	const struct wire_frame_out *f;

	if (ip->answer_owner) {
		ip->cfg.buf.put(ip->cfg.buf.ctx, ip->answer_owner);
		ip->answer_owner = NULL;
	}
	if (ip->answer_put == ip->answer_got)
		return false;
	f = &ip->answers[ip->answer_got++ % IP_ANSWERS_MAX];
	ip_deadline_set(ip);
	*out = *f;
	if (f->niov)
		ip->answer_owner = f->iov[0].owner;
	return true;
}

bool ip_payload_copy(struct ip *ip, struct wire_frame_out *f, const uint8_t *data, uint32_t len)
{
	uint8_t *to;
	void *owner;

	f->len = len;
	f->niov = 0;
	if (len == 0)
		return true;
	owner = ip->cfg.buf.alloc(ip->cfg.buf.ctx, len, &to);
	if (!owner) {
		base_count(ip->counters, CNT_ip_no_buffer);
		return false;
	}
	memcpy(to, data, len);
	f->iov[0] = (struct wire_tcp_iov){ .data = to, .len = len, .owner = owner };
	f->niov = 1;
	return true;
}

void ip_eth_put(const struct ip *ip, struct wire_frame_out *f, const struct wire_mac *dst,
		uint16_t type)
{
	struct wire_eth eth = {
		.dst = *dst,
		.src = ip->cfg.mac,
		.type = type,
		.vlan = ip->cfg.vlan,
	};

	f->l3_at = (uint8_t)wire_eth_emit(&eth, f->hdr);
	f->hdr_len = f->l3_at;
}

void ip_header_put(struct wire_frame_out *f, const union wire_addr *src, const union wire_addr *dst,
		   uint8_t proto, uint32_t len, uint8_t hops)
{
	uint8_t *at = f->hdr + f->l3_at;
	unsigned int n;

	if (wire_addr_is_v4(dst)) {
		/* An atomic datagram needs no identification (RFC 6864 4.1). */
		struct wire_ip4 ip4 = {
			.src = *src,
			.dst = *dst,
			.total_len = (uint16_t)(WIRE_IP4_LEN + len),
			.ttl = hops,
			.proto = proto,
			.df = true,
		};

		n = wire_ip4_emit(&ip4, at);
	} else {
		struct wire_ip6 ip6 = {
			.src = *src,
			.dst = *dst,
			.payload_len = (uint16_t)len,
			.hops = hops,
			.proto = proto,
		};

		n = wire_ip6_emit(&ip6, at);
	}
	f->l4_at = (uint8_t)(f->l3_at + n);
	f->hdr_len = f->l4_at;
}

/* A device that does not sum. */
static BASE_COLD void csum_whole(struct wire_frame_out *f, const struct wire_flow *flow)
{
	f->flags = 0;
	memset(f->hdr + f->l4_at + WIRE_TCP_CSUM_AT, 0, 2);
	wire_tcp_csum_runs(f->hdr + f->l4_at, f->l4_len, f->iov, f->niov, f->len, &flow->local,
			   &flow->remote);
}

static BASE_COLD int hop_renew(struct ip *ip, struct ip_hop *hop, const struct wire_flow *flow,
			       ztime_t now)
{
	int err = ip_hop_get(ip, flow, hop, now);

	if (err)
		base_count(ip->counters, err == -ENOBUFS ? CNT_ip_neigh_full : CNT_ip_no_route);
	return err;
}

int ip_send(struct ip *ip, struct ip_hop *hop, const struct wire_flow *flow,
	    struct wire_frame_out *out, uint8_t ecn, ztime_t now)
{
	bool ready;

	if (BASE_UNLIKELY(!ip_plain_fresh(&ip->plain, hop))) {
		int err = hop_renew(ip, hop, flow, now);

		if (err)
			return err;
		if (hop->neigh == IP_SELF)
			return ip_self_send(ip, flow, out, ecn);
	}
	ready = ip_neigh_use(ip, hop->neigh, now);
	ip_plain_headers(&ip->plain.links[hop->neigh], ip->plain.link_len, flow,
			 wire_addr_is_v4(&flow->remote), out, out->l4_len, ecn);
	if (BASE_UNLIKELY(!ip->plain.sums && !out->gso_size))
		csum_whole(out, flow);
	return BASE_LIKELY(ready) ? 1 : ip_neigh_wait(ip, hop->neigh, out);
}

int ip_output(struct ip *ip, struct ip_hop *hop, const struct wire_flow *flow, struct wire_tcp *seg,
	      struct wire_frame_out *out, ztime_t now)
{
	out->l4_at = ip_l4_at(ip, wire_addr_is_v4(&flow->remote));
	out->l4_len = (uint8_t)wire_tcp_emit(seg, out->hdr + out->l4_at);
	out->len = seg->len;
	out->niov = seg->niov;
	memcpy(out->iov, seg->iov, seg->niov * sizeof(seg->iov[0]));
	out->gso_size = seg->gso_size && seg->len > seg->gso_size ? seg->gso_size : 0;
	return ip_send(ip, hop, flow, out, seg->ecn, now);
}

void ip_reply(struct ip *ip, const struct wire_flow *flow, struct wire_tcp *seg, ztime_t now)
{
	struct wire_frame_out f, *answer;
	struct ip_hop hop = { 0 };

	BASE_CHECK(seg->len == 0);
	if (seg->flags & TCP_RST && !ip_bucket_take(&ip->reset_bucket, RESET_PER_S, now)) {
		base_count(ip->counters, CNT_ip_reset_limited);
		return;
	}
	/* Not into the queue at once: asking for the neighbour may put a question there. */
	if (ip_output(ip, &hop, flow, seg, &f, now) != 1)
		return;
	answer = ip_answer_new(ip);
	if (!answer)
		return;
	*answer = f;
	ip_answer_push(ip);
}
