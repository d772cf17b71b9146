/* ip_self.c - packets to an address of ours: they never see the device
 *
 * A frame is copied, headers and payload, into a buffer of its own and waits until the instance takes it in as if it had
 * arrived. It is sent whole, whatever its gso_size, and its sums are not looked at. What does not find room
 * is dropped, and sent again by TCP.
 */
#include "stack/ip/ip_state.h"

#include <errno.h>

static int self_push(struct ip *ip, const struct wire_frame_out *f)
{
	struct wire_frame_in *in = &ip->self[ip->self_put % IP_SELF_MAX];
	uint32_t at = f->hdr_len;
	uint8_t *data;

	if (ip->self_put - ip->self_got == IP_SELF_MAX)
		return -ENOBUFS;
	in->owner = ip->cfg.buf.alloc(ip->cfg.buf.ctx, f->hdr_len + f->len, &data);
	if (!in->owner)
		return -ENOBUFS;
	memcpy(data, f->hdr, f->hdr_len);
	for (unsigned int k = 0; k < f->niov; k++) {
		memcpy(data + at, f->iov[k].data, f->iov[k].len);
		at += f->iov[k].len;
	}
	in->data = data;
	in->len = at;
	in->flags = WIRE_FRAME_IP_CSUM_OK | WIRE_FRAME_TCP_CSUM_OK | WIRE_FRAME_SELF;
	ip->self_put++;
	ip_deadline_set(ip);
	return 0;
}

int ip_self_send(struct ip *ip, const struct wire_flow *flow, struct wire_frame_out *f, uint8_t ecn)
{
	bool v4 = wire_addr_is_v4(&flow->remote);
	struct ip_link link = { .used = false };
	struct wire_eth eth = {
		.dst = ip->cfg.mac,
		.src = ip->cfg.mac,
		.type = v4 ? WIRE_ETH_IP4 : WIRE_ETH_IP6,
		.vlan = ip->cfg.vlan,
	};

	wire_eth_emit(&eth, link.header);
	ip_plain_headers(&link, ip->plain.link_len, flow, v4, f, f->l4_len, ecn);
	if (self_push(ip, f) == 0)
		return 0;
	base_count(ip->counters, CNT_ip_self_full);
	return -ENOBUFS;
}

bool ip_self_take(struct ip *ip, struct wire_frame_in *frame)
{
	if (ip->self_put == ip->self_got)
		return false;
	*frame = ip->self[ip->self_got++ % IP_SELF_MAX];
	ip_deadline_set(ip);
	return true;
}

void ip_self_fini(struct ip *ip)
{
	struct wire_frame_in f;

	while (ip_self_take(ip, &f))
		ip->cfg.buf.put(ip->cfg.buf.ctx, f.owner);
}
