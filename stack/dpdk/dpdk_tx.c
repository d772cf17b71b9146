/* dpdk_tx.c - frames as DPDK sends them: a header of our own, and payload where it lies
 *
 * Theory of operation. Payload that has an owner is attached as an external buffer: a second buffer of DPDK's that has no bytes of its own
 * points to it, and holds one reference, which the driver gives back when it is done with the packet. What counts those references for
 * DPDK stands in that buffer's own data, which nobody uses otherwise. Short payload is cheaper to copy than to count.
 */
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <string.h>

#include "stack/base/base_check.h"
#include "stack/dpdk/dpdk.h"

#define ROOM      576u /* of a buffer for headers: what is shorter is copied whole */
#define COPY_MOST (ROOM - WIRE_FRAME_HDR_MAX)
#define CACHE     256
#define PIECE_MAX 32768u /* lengths have 16 bits */

struct tx_ext {
	struct rte_mbuf_ext_shared_info info;
	void (*put)(void *ctx, void *owner);
	void *ctx, *owner;
};

struct rte_mempool *dpdk_tx_pool(const char *name, uint32_t count, int socket)
{
	return rte_pktmbuf_pool_create(name, count, CACHE, 0, RTE_PKTMBUF_HEADROOM + ROOM, socket);
}

static void ext_done(void *addr, void *arg)
{
	struct tx_ext *e = arg;

	(void)addr;
	e->put(e->ctx, e->owner);
}

static struct rte_mbuf *ext_make(const struct dpdk_queue *q, const struct wire_buf_ops *buf,
				 const uint8_t *data, uint16_t len, void *owner)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(q->tx);
	struct tx_ext *e;

	if (!m)
		return NULL;
	e = rte_mbuf_to_priv(m); /* its data begin where a private area would */
	e->info.free_cb = ext_done;
	e->info.fcb_opaque = e;
	rte_mbuf_ext_refcnt_set(&e->info, 1);
	e->put = buf->put;
	e->ctx = buf->ctx;
	e->owner = owner;
	buf->get(buf->ctx, owner);
	/* Drivers of ports in memory read by address; who needs another one has no chains. */
	rte_pktmbuf_attach_extbuf(m, (void *)(uintptr_t)data, (rte_iova_t)(uintptr_t)data, len,
				  &e->info);
	m->data_off = 0;
	m->data_len = len;
	return m;
}

/* Return: the packet, or NULL: it could not be made. */
static struct rte_mbuf *chain_make(const struct dpdk_queue *q, const struct wire_buf_ops *buf,
				   const struct wire_frame_out *f)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(q->tx), *last = head;

	if (!head)
		return NULL;
	memcpy(rte_pktmbuf_mtod(head, uint8_t *), f->hdr, f->hdr_len);
	head->data_len = f->hdr_len;
	head->pkt_len = f->hdr_len + f->len;
	for (unsigned int i = 0; i < f->niov; i++) {
		const struct wire_tcp_iov *iov = &f->iov[i];

		for (uint32_t at = 0, n; at < iov->len; at += n) {
			n = BASE_MIN(iov->len - at, PIECE_MAX);
			last->next = ext_make(q, buf, iov->data + at, (uint16_t)n, iov->owner);
			if (!last->next) {
				rte_pktmbuf_free(head);
				return NULL;
			}
			last = last->next;
			head->nb_segs++;
		}
	}
	return head;
}

/* @last: of the chain @head; it is full, or another follows it. Return: whether there was room for all. */
static bool bytes_add(struct rte_mbuf *head, struct rte_mbuf **last, const uint8_t *data,
		      uint32_t len)
{
	for (uint32_t at = 0, n; at < len; at += n) {
		n = BASE_MIN(len - at, (uint32_t)rte_pktmbuf_tailroom(*last));
		if (!n) {
			struct rte_mbuf *more = rte_pktmbuf_alloc(head->pool);

			if (!more)
				return false;
			*last = (*last)->next = more;
			head->nb_segs++;
			continue;
		}
		memcpy(rte_pktmbuf_mtod_offset(*last, uint8_t *, (*last)->data_len), data + at, n);
		(*last)->data_len = (uint16_t)((*last)->data_len + n);
		head->pkt_len += n;
	}
	return true;
}

/* As flat_make(), in as many buffers as it takes */
static struct rte_mbuf *row_make(const struct dpdk_queue *q, const struct wire_frame_out *f,
				 uint64_t *copied)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(q->copies), *last = head;
	bool all = head && bytes_add(head, &last, f->hdr, f->hdr_len);

	for (unsigned int i = 0; all && i < f->niov; i++)
		all = bytes_add(head, &last, f->iov[i].data, f->iov[i].len);
	if (!all) {
		rte_pktmbuf_free(head);
		return NULL;
	}
	*copied += f->len;
	return head;
}

static struct rte_mbuf *flat_make(const struct dpdk_queue *q, const struct wire_frame_out *f,
				  uint64_t *copied)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->len <= COPY_MOST ? q->tx : q->copies);

	if (!m)
		return NULL;
	if (f->hdr_len + f->len > rte_pktmbuf_tailroom(m)) {
		rte_pktmbuf_free(m);
		return q->segs ? row_make(q, f, copied) : NULL;
	}
	m->data_len = (uint16_t)dev_flatten(f, rte_pktmbuf_mtod(m, uint8_t *));
	m->pkt_len = m->data_len;
	*copied += f->len;
	return m;
}

static bool owned(const struct wire_frame_out *f)
{
	for (unsigned int i = 0; i < f->niov; i++)
		if (!f->iov[i].owner)
			return false;
	return true;
}

struct rte_mbuf *dpdk_tx_make(const struct dpdk_queue *q, const struct wire_buf_ops *buf,
			      const struct wire_frame_out *f, uint64_t *copied)
{
	struct rte_mbuf *m;
	bool v4;

	if (f->len > COPY_MOST && q->chains && owned(f))
		m = chain_make(q, buf, f);
	else
		m = flat_make(q, f, copied);
	if (!m || !(f->flags & WIRE_FRAME_TCP_CSUM))
		return m;
	v4 = f->hdr[f->l3_at] >> 4 == 4;
	m->l2_len = f->l3_at;
	m->l3_len = (uint64_t)(f->l4_at - f->l3_at);
	m->l4_len = f->l4_len;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM | (v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
	if (f->gso_size) {
		m->tso_segsz = f->gso_size;
		m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | (v4 ? RTE_MBUF_F_TX_IP_CKSUM : 0);
	}
	return m;
}
