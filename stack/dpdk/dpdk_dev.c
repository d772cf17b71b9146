/* dpdk_dev.c - a queue pair of a port as a device */
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <stdlib.h>

#include "stack/base/base_list.h"
#include "stack/dpdk/dpdk.h"

#define BURST 64

struct dpdk {
	struct dev dev;
	struct dpdk_queue q;
	struct wire_buf_ops buf;
};

static uint8_t csum_flags(const struct rte_mbuf *m)
{
	uint8_t flags = 0;

	if ((m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		flags |= WIRE_FRAME_IP_CSUM_OK;
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		flags |= WIRE_FRAME_TCP_CSUM_OK;
	return flags;
}

/* Return: false without a buffer: the packet is lost, as where a ring is full. */
static bool frame_copy(struct dpdk *d, const struct rte_mbuf *m, struct wire_frame_in *f)
{
	uint32_t len = rte_pktmbuf_pkt_len(m), at = 0;
	uint8_t *data;
	void *owner = d->buf.alloc(d->buf.ctx, len, &data);

	if (!owner)
		return false;
	*f = (struct wire_frame_in){
		.data = data, .len = len, .owner = owner, .flags = csum_flags(m)
	};
	for (; m && at < len; m = m->next) {
		rte_memcpy(data + at, rte_pktmbuf_mtod(m, void *), rte_pktmbuf_data_len(m));
		at += rte_pktmbuf_data_len(m);
	}
	return true;
}

static unsigned int dpdk_recv(struct dev *dev, struct wire_frame_in *frames, unsigned int max,
			      ztime_t now)
{
	struct dpdk *d = base_container_of(dev, struct dpdk, dev);
	struct rte_mbuf *mbufs[BURST];
	uint16_t got = rte_eth_rx_burst(d->q.port, d->q.queue, mbufs,
					(uint16_t)(max < BURST ? max : BURST));
	unsigned int n = 0;

	(void)now;
	for (uint16_t i = 0; i < got; i++)
		n += frame_copy(d, mbufs[i], &frames[n]);
	if (got)
		rte_pktmbuf_free_bulk(mbufs, got);
	return n;
}

static struct rte_mbuf *packet_make(struct dpdk *d, const struct wire_frame_out *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(d->q.pool);

	if (!m)
		return NULL;
	if (f->hdr_len + f->len > rte_pktmbuf_tailroom(m)) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	m->data_len = (uint16_t)dev_flatten(f, rte_pktmbuf_mtod(m, uint8_t *));
	m->pkt_len = m->data_len;
	if (f->flags & WIRE_FRAME_TCP_CSUM) {
		m->l2_len = f->l3_at;
		m->l3_len = (uint64_t)(f->l4_at - f->l3_at);
		m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM |
			       (f->hdr[f->l3_at] >> 4 == 4 ? RTE_MBUF_F_TX_IPV4
							   : RTE_MBUF_F_TX_IPV6);
	}
	return m;
}

static unsigned int dpdk_send(struct dev *dev, const struct wire_frame_out *frames, unsigned int n,
			      ztime_t now)
{
	struct dpdk *d = base_container_of(dev, struct dpdk, dev);
	unsigned int sent = 0;

	(void)now;
	while (sent < n) {
		struct rte_mbuf *mbufs[BURST];
		unsigned int made = 0, took;

		while (made < BURST && sent + made < n &&
		       (mbufs[made] = packet_make(d, &frames[sent + made])))
			made++;
		took = made ? rte_eth_tx_burst(d->q.port, d->q.queue, mbufs, (uint16_t)made) : 0;
		if (took < made)
			rte_pktmbuf_free_bulk(&mbufs[took], made - took);
		sent += took;
		if (!took || took < made)
			break;
	}
	return sent;
}

static ztime_t dpdk_deadline(const struct dev *dev)
{
	(void)dev;
	return ZTIME_NEVER;
}

static int dpdk_fd(const struct dev *dev)
{
	(void)dev;
	return -1;
}

static void dpdk_close(struct dev *dev)
{
	struct dpdk *d = base_container_of(dev, struct dpdk, dev);

	dpdk_queue_close(&d->q);
	free(d);
}

static const struct dev_ops dpdk_ops = {
	.recv = dpdk_recv,
	.send = dpdk_send,
	.deadline = dpdk_deadline,
	.fd = dpdk_fd,
	.close = dpdk_close,
};

struct dev *dpdk_dev_new(const struct dpdk_queue *q, const struct dev_conf *conf)
{
	struct dpdk *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->dev = (struct dev){
		.ops = &dpdk_ops,
		.mac = q->mac,
		.mtu = q->mtu,
		.offloads = q->tx_csum ? WIRE_OFFLOAD_TX_CSUM : 0,
	};
	d->q = *q;
	d->buf = conf->buf;
	return &d->dev;
}
