/* dpdk_dev.c - a queue pair of a port as a device
 *
 * Theory of operation. While packets come the queue is polled. A driver that has receive interrupts is asked for one when
 * there were none for IDLE, so that busy ends do not signal each other; what the interrupt's descriptor holds is read before the
 * queue is looked at once more, so that no signal is lost. Without interrupts dev_deadline() says when to look again: soon after
 * a packet, more and more seldom later.
 *
 * A port whose link is down takes everything and sends nothing, as a cable that is not plugged in; so does one whose ring has been
 * full for FULL, as its other end has stopped. TCP sends again what is lost; a frame that stays would stop its timers, too.
 */
#include <fcntl.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stack/base/base_check.h"
#include "stack/base/base_list.h"
#include "stack/base/base_sys.h"
#include "stack/dpdk/dpdk.h"

#define BURST      64
#define IDLE       ztime_us(50)
#define PAUSE_MIN  ztime_us(20)
#define PAUSE_MAX  ztime_ms(2)
#define PAUSE_PART 8 /* of the time since the last packet */
#define FULL       ztime_ms(10)
#define RESTART    ZTIME_SEC

struct dpdk {
	struct dev dev;
	struct dpdk_queue q;
	struct wire_buf_ops buf;
	int fd;          /* of the receive interrupt; -1: the driver has none */
	bool counts;     /* it is an eventfd, which is read to be silent */
	bool armed;      /* the interrupt is on */
	bool stopped;    /* the port could not be started again yet */
	ztime_t busy_at; /* the last packet */
	ztime_t look_at; /* the last look */
	ztime_t armed_at;
	ztime_t full_at;    /* the ring is full since; 0: it is not */
	ztime_t restart_at; /* of a port whose link is down; 0: it is up */
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

static uint16_t burst(const struct dpdk *d, struct rte_mbuf **mbufs, unsigned int max)
{
	return rte_eth_rx_burst(d->q.port, d->q.queue, mbufs, (uint16_t)BASE_MIN(max, BURST));
}

static void disarm(struct dpdk *d)
{
	d->armed = false;
	rte_eth_dev_rx_intr_disable(d->q.port, d->q.queue);
}

/* Nothing has come for a while. Return: packets that came before the interrupt was on. */
static uint16_t arm(struct dpdk *d, struct rte_mbuf **mbufs, unsigned int max, ztime_t now)
{
	uint64_t count;

	if (!d->armed && rte_eth_dev_rx_intr_enable(d->q.port, d->q.queue)) {
		d->fd = -1;
		return 0;
	}
	d->armed = true;
	d->armed_at = now;
	if (d->counts)
		sys(SYS_read, d->fd, &count, sizeof(count));
	return burst(d, mbufs, max);
}

/* DPDK says nothing until its level is what it was. */
static uint32_t log_off(void)
{
	uint32_t level = rte_log_get_global_level();

	rte_log_set_global_level(RTE_LOG_EMERG);
	return level;
}

static bool link_up(const struct dpdk *d)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(d->q.port, &link) == 0 && link.link_status;
}

/* Drivers of links that end with their peer do not look for another one by themselves. */
static void restart(struct dpdk *d, ztime_t now)
{
	uint32_t level;

	if (!d->stopped && link_up(d)) {
		d->restart_at = 0;
		return;
	}
	d->restart_at = now + RESTART;
	if (!dpdk_queue_alone(&d->q))
		return;
	level = log_off();
	if (!d->stopped)
		rte_eth_dev_stop(d->q.port);
	d->armed = false;
	d->stopped = rte_eth_dev_start(d->q.port) != 0;
	rte_log_set_global_level(level);
}

static unsigned int dpdk_recv(struct dev *dev, struct wire_frame_in *frames, unsigned int max,
			      ztime_t now)
{
	struct dpdk *d = base_container_of(dev, struct dpdk, dev);
	struct rte_mbuf *mbufs[BURST];
	unsigned int n = 0;
	uint16_t got;

	d->look_at = now;
	if (BASE_UNLIKELY(d->restart_at && now >= d->restart_at))
		restart(d, now);
	if (BASE_UNLIKELY(d->stopped))
		return 0;
	got = burst(d, mbufs, max);
	if (!got && d->fd >= 0 && now - d->busy_at >= IDLE && now - d->armed_at >= IDLE)
		got = arm(d, mbufs, max, now);
	if (!got) {
		if (d->q.reconnects && !d->restart_at && now - d->busy_at >= RESTART && !link_up(d))
			d->restart_at = now + RESTART; /* the driver is still busy with it */
		return 0;
	}
	d->busy_at = now;
	if (d->armed)
		disarm(d);
	for (uint16_t i = 0; i < got; i++)
		n += frame_copy(d, mbufs[i], &frames[n]);
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

/* Nothing was taken. Return: whether what is offered is lost, as on a cable that leads nowhere. */
static bool is_lost(struct dpdk *d, ztime_t now)
{
	if (!d->full_at)
		d->full_at = now;
	return now - d->full_at >= FULL || !link_up(d);
}

static uint16_t send_burst(struct dpdk *d, const struct wire_frame_out *frames, unsigned int n,
			   unsigned int *made)
{
	struct rte_mbuf *mbufs[BURST];
	uint16_t took;

	*made = 0;
	while (*made < BURST && *made < n && (mbufs[*made] = packet_make(d, &frames[*made])))
		++*made;
	took = *made ? rte_eth_tx_burst(d->q.port, d->q.queue, mbufs, (uint16_t)*made) : 0;
	if (took < *made)
		rte_pktmbuf_free_bulk(&mbufs[took], *made - took);
	return took;
}

static unsigned int dpdk_send(struct dev *dev, const struct wire_frame_out *frames, unsigned int n,
			      ztime_t now)
{
	struct dpdk *d = base_container_of(dev, struct dpdk, dev);
	unsigned int sent = 0, made;

	if (BASE_UNLIKELY(d->stopped))
		return n;
	while (sent < n) {
		uint16_t took = send_burst(d, &frames[sent], n - sent, &made);

		if (took)
			d->full_at = 0;
		else if (is_lost(d, now))
			return n;
		sent += took;
		if (!took || took < made)
			break;
	}
	return sent;
}

static ztime_t dpdk_deadline(const struct dev *dev)
{
	const struct dpdk *d = base_container_of(dev, struct dpdk, dev);
	ztime_t pause = (d->look_at - d->busy_at) / PAUSE_PART;

	if (d->armed)
		return ZTIME_NEVER;
	if (d->fd >= 0)
		return BASE_MAX(d->look_at, d->busy_at + IDLE);
	return d->look_at + BASE_MIN(BASE_MAX(pause, PAUSE_MIN), PAUSE_MAX);
}

static int dpdk_fd(const struct dev *dev)
{
	return base_container_of(dev, struct dpdk, dev)->fd;
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

static bool is_eventfd(int fd)
{
	char link[40], name[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name));
	return n > 0 && memmem(name, (size_t)n, "[eventfd]", 9);
}

/* Only drivers that have an interrupt and can turn it on have a descriptor to sleep on. */
static void interrupt_find(struct dpdk *d)
{
	uint32_t level = log_off(); /* to have none is no error */

	d->fd = rte_eth_dev_rx_intr_ctl_q_get_fd(d->q.port, d->q.queue);
	rte_log_set_global_level(level);
	if (d->fd < 0 || rte_eth_dev_rx_intr_enable(d->q.port, d->q.queue)) {
		d->fd = -1;
		return;
	}
	disarm(d);
	d->counts = is_eventfd(d->fd);
	if (d->counts)
		fcntl(d->fd, F_SETFL, fcntl(d->fd, F_GETFL) | O_NONBLOCK);
}

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
	interrupt_find(d);
	return &d->dev;
}
