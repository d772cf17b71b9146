/* dpdk_dev.c - a queue pair of a port as a device
 *
 * Theory of operation. While packets come the queue is polled. A driver that has receive interrupts is asked for one when
 * there were none for IDLE, so that busy ends do not signal each other; what the interrupt's descriptor holds is read before the
 * queue is looked at once more, so that no signal is lost. Without interrupts dev_deadline() says when to look again: soon after
 * a packet, more and more seldom later.
 *
 * A port whose link is down takes everything and sends nothing, as a cable that is not plugged in; so does one whose ring has been
 * full for FULL, as its other end has stopped. TCP sends again what is lost; a frame that stays would stop its timers, too.
 *
 * A received packet that the stack would copy anyway is lent, and given back with the next dpdk_recv(); a longer one goes up with a
 * reference to its buffer (dpdk_pool.c). What is sent is made in dpdk_tx.c.
 */
#include <fcntl.h>
#include <rte_eal.h>
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
#include "stack/dev/dev_lro.h"
#include "stack/dpdk/dpdk.h"
#include "stack/ip/ip_gso.h"

#define BURST      64
#define IDLE       ztime_us(50)
#define PAUSE_MIN  ztime_us(20)
#define PAUSE_MAX  ztime_ms(2)
#define PAUSE_PART 8 /* of the time since the last packet */
#define FULL       ztime_ms(10)
#define RESTART    ZTIME_SEC
#define WINDOW     ZTIME_MS /* between two looks whether the driver's thread is to run */
#define LEND_BELOW 320      /* frames that are as short are not worth a reference */
#define PIECES_MAX 16       /* of a packet that are handed up where they lie */

struct dpdk {
	struct dev dev;
	struct dpdk_queue q;
	struct wire_buf_ops buf;
	int fd;          /* of the receive interrupt; -1: the driver has none */
	bool counts;     /* it is an eventfd, which is read to be silent */
	bool armed;      /* the interrupt is on */
	ztime_t busy_at; /* the last packet */
	ztime_t look_at; /* the last look */
	ztime_t armed_at;
	ztime_t full_at;    /* the ring is full since; 0: it is not */
	ztime_t restart_at; /* of a port whose link is down; 0: it is up */
	ztime_t window_at;
	struct rte_mbuf *lent[BURST]; /* until the next dpdk_recv() */
	uint16_t nlent;
	struct rte_mbuf
		*got[BURST]; /* received; of those from gone on nothing has been handed up */
	uint16_t ngot, gone;
	struct dpdk_inside inside;
};

/*
 * GOOD's bit is in NONE as well: the port answers for the bytes, but their field was never filled in. So come packets that a
 * virtual link's other end was to leave to its device (vhost).
 */
static uint8_t csum_flags(const struct rte_mbuf *m)
{
	uint8_t flags = 0;

	if (m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		flags |= WIRE_FRAME_IP_CSUM_OK;
	if (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		flags |= WIRE_FRAME_TCP_CSUM_OK;
	return flags;
}

/* In several pieces. Return: false without a buffer: the packet is lost, as where a ring is full. */
static bool frame_copy(struct dpdk *d, const struct rte_mbuf *m, struct wire_frame_in *f)
{
	uint32_t len = rte_pktmbuf_pkt_len(m), at = 0;
	uint8_t flags = csum_flags(m), *data;
	void *owner = d->buf.alloc(d->buf.ctx, len, &data);

	if (!owner)
		return false;
	for (; m && at < len; m = m->next) {
		uint32_t n = BASE_MIN((uint32_t)rte_pktmbuf_data_len(m), len - at);

		rte_memcpy(data + at, rte_pktmbuf_mtod(m, void *), n);
		at += n;
	}
	*f = (struct wire_frame_in){ .data = data, .len = at, .owner = owner, .flags = flags };
	d->dev.copied += at;
	return true;
}

/* Whether the stack may keep the buffer: it is one of this queue's, nobody else has it, and enough are left to receive in. */
static bool may_keep(const struct dpdk *d, const struct rte_mbuf *m)
{
	const struct dpdk_pool *pool = d->q.rx;

	return pool->grain && m->pool == pool->mp && RTE_MBUF_DIRECT(m) &&
	       rte_mbuf_refcnt_read(m) == 1 &&
	       pool->given - atomic_load_explicit(&pool->back, memory_order_relaxed) <
		       pool->count / 4 * 3;
}

/* @m, a buffer with @n bytes from @data on, is the frame's now, or lent. */
static void frame_fill(struct dpdk *d, struct rte_mbuf *m, uint8_t *data, uint32_t n, uint8_t flags,
		       struct wire_frame_in *f)
{
	*f = (struct wire_frame_in){ .data = data, .len = n, .flags = flags };
	if (n < LEND_BELOW || !may_keep(d, m)) {
		d->lent[d->nlent++] = m;
	} else {
		f->owner = dpdk_host->ref(dpdk_host->of(data));
		d->q.rx->given++;
	}
}

/* Whether headers can stand before each piece, whose sum the other end has left out or the port has verified. */
static bool may_cut(const struct rte_mbuf *m, struct dev_lro *l)
{
	uint8_t flags = csum_flags(m);
	uint32_t whole = rte_pktmbuf_pkt_len(m), sum = rte_pktmbuf_data_len(m);

	if (!(flags & WIRE_FRAME_TCP_CSUM_OK) ||
	    !dev_lro_start(l, rte_pktmbuf_mtod(m, uint8_t *), rte_pktmbuf_data_len(m), whole,
			   flags & WIRE_FRAME_IP_CSUM_OK))
		return false;
	for (m = m->next; m; m = m->next) {
		sum += rte_pktmbuf_data_len(m);
		if (rte_pktmbuf_headroom(m) < l->hdr_len)
			return false;
	}
	return sum == whole;
}

/* Each piece becomes a frame. Return: frames. */
static unsigned int frames_cut(struct dpdk *d, struct rte_mbuf *m, struct dev_lro *l,
			       struct wire_frame_in *f)
{
	const uint8_t flags = WIRE_FRAME_IP_CSUM_OK | WIRE_FRAME_TCP_CSUM_OK;
	uint32_t skip = l->hdr_len; /* the first piece has headers of its own */
	unsigned int n = 0;

	for (struct rte_mbuf *next; m; m = next, skip = 0) {
		uint32_t len = rte_pktmbuf_data_len(m) - skip;
		uint8_t *hdr = rte_pktmbuf_mtod(m, uint8_t *) + skip - l->hdr_len;

		next = m->next;
		m->next = NULL;
		m->nb_segs = 1;
		if (len) {
			dev_lro_next(l, hdr, len);
			frame_fill(d, m, hdr, l->hdr_len + len, flags, &f[n++]);
		} else {
			d->lent[d->nlent++] = m;
		}
	}
	return n;
}

/* @m becomes frames, or is lent, or given back. Return: frames. */
static unsigned int frames_take(struct dpdk *d, struct rte_mbuf *m, unsigned int max,
				struct wire_frame_in *f)
{
	struct dev_lro l;
	bool taken;

	if (BASE_LIKELY(m->nb_segs == 1)) {
		frame_fill(d, m, rte_pktmbuf_mtod(m, uint8_t *), m->data_len, csum_flags(m), f);
		return 1;
	}
	if (m->nb_segs <= BASE_MIN(max, PIECES_MAX) && may_cut(m, &l))
		return frames_cut(d, m, &l, f);
	taken = frame_copy(d, m, f);
	d->lent[d->nlent++] = m;
	return taken;
}

/* What has been received goes up as far as there is room. Return: frames. */
static unsigned int hand_up(struct dpdk *d, struct wire_frame_in *frames, unsigned int max)
{
	unsigned int n = 0;

	while (d->gone < d->ngot && n < max) {
		struct rte_mbuf *m = d->got[d->gone];
		uint16_t pieces = BASE_MIN(m->nb_segs, PIECES_MAX);

		/* Each piece may be lent, also one that makes no frame. */
		if (d->nlent + pieces > BURST || (n && pieces > max - n))
			break;
		n += frames_take(d, m, max - n, &frames[n]);
		d->gone++;
	}
	return n;
}

static void lent_back(struct dpdk *d)
{
	if (d->nlent)
		rte_pktmbuf_free_bulk(d->lent, d->nlent);
	d->nlent = 0;
}

/* Return: packets that were received; nothing is left of those before. */
static uint16_t burst(struct dpdk *d, unsigned int max)
{
	uint16_t got = 0;

	d->gone = 0;
	max = BASE_MIN(max, BURST);
	if (!d->q.gated) {
		d->ngot = rte_eth_rx_burst(d->q.port, d->q.queue, d->got, (uint16_t)max);
		return d->ngot;
	}
	if (dpdk_gate_enter(&d->inside)) {
		if (BASE_LIKELY(!dpdk_queue_stopped(&d->q)))
			got = rte_eth_rx_burst(d->q.port, d->q.queue, d->got, (uint16_t)max);
		dpdk_gate_leave(&d->inside);
	}
	d->ngot = got;
	return got;
}

static void disarm(struct dpdk *d)
{
	d->armed = false;
	rte_eth_dev_rx_intr_disable(d->q.port, d->q.queue);
}

/* Nothing has come for a while. Return: packets that came before the interrupt was on. */
static uint16_t arm(struct dpdk *d, unsigned int max, ztime_t now)
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
	return burst(d, max);
}

/* DPDK says nothing until its level is what it was. */
static uint32_t log_off(void)
{
	uint32_t level = rte_log_get_global_level();

	rte_log_set_global_level(RTE_LOG_EMERG);
	return level;
}

/* Drivers of links that end with their peer do not look for another one by themselves. */
static void restart(struct dpdk *d, ztime_t now)
{
	uint32_t level;

	if (!dpdk_queue_stopped(&d->q) && dpdk_queue_linked(&d->q)) {
		d->restart_at = 0;
		return;
	}
	d->restart_at = now + RESTART;
	level = log_off();
	dpdk_queue_restart(&d->q);
	rte_log_set_global_level(level);
}

static void tend(struct dpdk *d, ztime_t now)
{
	if (now >= d->window_at) {
		d->window_at = now + WINDOW;
		dpdk_gate_window();
	}
	if (d->restart_at && now >= d->restart_at)
		restart(d, now);
}

/* Return: whether there are packets to hand up. */
static bool look(struct dpdk *d, unsigned int max, ztime_t now)
{
	uint16_t got;

	if (d->gone < d->ngot)
		return true;
	got = burst(d, max);
	if (!got && d->fd >= 0 && now - d->busy_at >= IDLE && now - d->armed_at >= IDLE)
		got = arm(d, max, now);
	return got;
}

static unsigned int dpdk_recv(struct dev *dev, struct wire_frame_in *frames, unsigned int max,
			      ztime_t now)
{
	struct dpdk *d = base_container_of(dev, struct dpdk, dev);

	lent_back(d);
	d->look_at = now;
	if (d->q.gated)
		tend(d, now);
	if (!look(d, max, now)) {
		if (d->q.reconnects && !d->restart_at && now - d->busy_at >= RESTART &&
		    !dpdk_queue_linked(&d->q))
			d->restart_at = now + RESTART; /* the driver is still busy with it */
		return 0;
	}
	d->busy_at = now;
	if (d->armed)
		disarm(d);
	return hand_up(d, frames, max);
}

/* Nothing was taken. Return: whether what is offered is lost, as on a cable that leads nowhere. */
static bool is_lost(struct dpdk *d, ztime_t now)
{
	if (!d->full_at)
		d->full_at = now;
	return now - d->full_at >= FULL || !dpdk_queue_linked(&d->q);
}

/* What the driver finds wrong in a packet is lost; it makes the others fit for it. */
static uint16_t prepare(const struct dpdk *d, struct rte_mbuf **mbufs, uint16_t n)
{
	uint16_t good = 0;

	while (good < n) {
		good += rte_eth_tx_prepare(d->q.port, d->q.queue, &mbufs[good],
					   (uint16_t)(n - good));
		if (good < n) {
			rte_pktmbuf_free(mbufs[good]);
			memmove(&mbufs[good], &mbufs[good + 1], (--n - good) * sizeof(mbufs[0]));
		}
	}
	return n;
}

/* Return: how many it took, all of which it frees some time. */
static uint16_t transmit(struct dpdk *d, struct rte_mbuf **mbufs, uint16_t n)
{
	uint16_t took = 0;

	if (!d->q.gated)
		return rte_eth_tx_burst(d->q.port, d->q.queue, mbufs, n);
	if (!dpdk_gate_enter(&d->inside))
		return 0;
	if (BASE_LIKELY(!dpdk_queue_stopped(&d->q)))
		took = rte_eth_tx_burst(d->q.port, d->q.queue, mbufs, n);
	dpdk_gate_leave(&d->inside);
	return took;
}

/* @whole: frames with a gso_size, too, else up to the first. Return: frames done with. *@made: packets made of them */
static unsigned int send_burst(struct dpdk *d, const struct wire_frame_out *frames, unsigned int n,
			       bool whole, unsigned int *made)
{
	struct rte_mbuf *mbufs[BURST];
	uint16_t fit, took;

	*made = 0;
	while (*made < BURST && *made < n && (whole || !frames[*made].gso_size) &&
	       (mbufs[*made] = dpdk_tx_make(&d->q, &d->buf, &frames[*made], &d->dev.copied)))
		++*made;
	if (!*made)
		return 0;
	fit = d->q.tx_csum ? prepare(d, mbufs, (uint16_t)*made) : (uint16_t)*made;
	took = transmit(d, mbufs, fit);
	if (took < fit)
		rte_pktmbuf_free_bulk(&mbufs[took], fit - took);
	return took + (*made - fit);
}

/* For a peer that takes no long packets. What finds no room is lost, as TCP sends it again. */
static void send_cut(struct dpdk *d, const struct wire_frame_out *f)
{
	struct rte_mbuf *mbufs[BURST];
	struct wire_frame_out piece;
	struct ip_gso g;
	uint16_t n, fit, took;

	ip_gso_start(&g, f);
	do {
		for (n = 0; n < BURST && ip_gso_next(&g, &piece, false); n++)
			if (!(mbufs[n] = dpdk_tx_make(&d->q, &d->buf, &piece, &d->dev.copied)))
				break;
		fit = prepare(d, mbufs, n);
		took = transmit(d, mbufs, fit);
		if (took < fit)
			rte_pktmbuf_free_bulk(&mbufs[took], fit - took);
	} while (n == BURST && took == fit);
}

static unsigned int dpdk_send(struct dev *dev, const struct wire_frame_out *frames, unsigned int n,
			      ztime_t now)
{
	struct dpdk *d = base_container_of(dev, struct dpdk, dev);
	const bool whole = dpdk_queue_takes_long(&d->q);
	unsigned int sent = 0, made;

	if (d->q.gated)
		tend(d, now);
	while (sent < n) {
		unsigned int took;

		if (!whole && frames[sent].gso_size) {
			send_cut(d, &frames[sent++]);
			continue;
		}
		took = send_burst(d, &frames[sent], n - sent, whole, &made);

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

	if (d->gone < d->ngot)
		return d->look_at;
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

	lent_back(d);
	if (d->gone < d->ngot)
		rte_pktmbuf_free_bulk(&d->got[d->gone], d->ngot - d->gone);
	if (d->q.gated)
		dpdk_gate_remove(&d->inside);
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

static uint64_t pool_bytes(const struct rte_mempool *mp)
{
	return mp ? (uint64_t)mp->populated_size *
			       (mp->header_size + mp->elt_size + mp->trailer_size)
		  : 0;
}

static void memory_count(struct dev *d, const struct dpdk_queue *q)
{
	uint64_t bytes = pool_bytes(q->rx->mp) + pool_bytes(q->tx);

	if (q->copies != q->rx->mp)
		bytes += pool_bytes(q->copies);
	*(rte_eal_has_hugepages() ? &d->bytes_huge : &d->bytes_ordinary) = bytes;
}

struct dev *dpdk_dev_new(const struct dpdk_queue *q, const struct dev_conf *conf)
{
	struct dpdk *d = aligned_alloc(_Alignof(struct dpdk), sizeof(*d));

	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->dev = (struct dev){
		.ops = &dpdk_ops,
		.mac = q->mac,
		.mtu = q->mtu,
		.offloads = (q->tx_csum ? WIRE_OFFLOAD_TX_CSUM : 0u) |
			    (q->tso ? WIRE_OFFLOAD_TSO : 0u),
		.placed = q->node >= 0,
		.node = (uint16_t)BASE_MAX(q->node, 0),
		.rss = q->rss,
	};
	memory_count(&d->dev, q);
	d->q = *q;
	d->buf = conf->buf;
	if (q->gated)
		dpdk_gate_add(&d->inside);
	interrupt_find(d);
	return &d->dev;
}
