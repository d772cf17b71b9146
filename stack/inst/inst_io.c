/* inst_io.c - bytes between the application and a connection
 *
 * Copies go into a buffer shared by all connections of the instance, one piece after the other,
 * each with its own reference: a short message costs its length and a reference, and an idle
 * connection no buffer at all.
 */
#include "stack/inst/inst_state.h"

#include <errno.h>

void inst_fill_drop(struct inst *in, struct inst_fill *fill)
{
	if (fill->owner)
		in->cfg.buf.put(in->cfg.buf.ctx, fill->owner);
	*fill = (struct inst_fill){ 0 };
}

static bool fill_fresh(struct inst *in, struct inst_fill *fill)
{
	inst_fill_drop(in, fill);
	fill->owner = in->cfg.buf.alloc(in->cfg.buf.ctx, INST_FILL_BYTES, &fill->data);
	if (!fill->owner) {
		base_count(&in->counters, CNT_inst_no_buffer);
		return false;
	}
	fill->size = INST_FILL_BYTES;
	return true;
}

uint32_t inst_fill_copy(struct inst *in, struct inst_fill *fill, const uint8_t *data, uint32_t len,
			struct wire_tcp_iov *iov)
{
	uint32_t n;

	if (fill->at == fill->size && !fill_fresh(in, fill))
		return 0;
	n = BASE_MIN(len, fill->size - fill->at);
	*iov = (struct wire_tcp_iov){ .data = fill->data + fill->at,
				      .len = n,
				      .owner = fill->owner };
	memcpy(fill->data + fill->at, data, n);
	fill->at += n;
	in->cfg.buf.get(in->cfg.buf.ctx, fill->owner);
	return n;
}

void inst_fill_back(struct inst *in, struct inst_fill *fill, const struct wire_tcp_iov *iov)
{
	if (fill->at < iov->len || iov->data != fill->data + (fill->at - iov->len))
		return; /* nothing was copied */
	fill->at -= iov->len;
	in->cfg.buf.put(in->cfg.buf.ctx, iov->owner);
}

/* One piece; bytes that TCP did not take are given back to the buffer. Return: as tcp_send(). */
static int64_t send_piece(struct inst *in, struct inst_conn *c, const uint8_t *data, uint32_t len,
			  unsigned int flags, ztime_t now)
{
	struct wire_tcp_iov iov;
	int64_t taken;

	if (!inst_fill_copy(in, &in->tx_fill, data, len, &iov))
		return -ENOBUFS;
	if (iov.len < len)
		flags |= TCP_SEND_MORE;
	taken = tcp_send(&c->tcb, &iov, flags, now);
	if (taken <= 0) {
		in->tx_fill.at -= iov.len;
		in->cfg.buf.put(in->cfg.buf.ctx, iov.owner);
	} else {
		in->tx_fill.at -= iov.len - (uint32_t)taken;
	}
	return taken;
}

static BASE_APART int64_t sent(struct inst *in, struct inst_conn *c, int64_t n)
{
	inst_ready_push(in, c);
	return n;
}

/* A short message on a healthy connection (tcp_fast.h): one piece, and there is room for it. Return: false when it is not. */
BASE_INLINE bool fast_send(struct inst *in, struct inst_conn *c, const void *data, size_t len)
{
	struct inst_fill *fill = &in->tx_fill;
	struct wire_tcp_iov iov;

	/* Nothing does not fit, either: there may be no buffer yet. */
	if (len - 1 >= fill->size - fill->at)
		return false;
	iov = (struct wire_tcp_iov){ fill->data + fill->at, (uint32_t)len, fill->owner };
	if (!tcp_fast_send(&c->tcb, &in->env, &iov))
		return false;
	memcpy(fill->data + fill->at, data, len);
	fill->at += (uint32_t)len;
	in->cfg.buf.get(in->cfg.buf.ctx, fill->owner);
	return true;
}

static BASE_APART int64_t send_all(struct inst *in, struct inst_conn *c, const void *data,
				   size_t len, unsigned int flags, ztime_t now)
{
	const uint8_t *p = data;
	size_t done = 0;

	while (done < len) {
		uint32_t space = tcp_send_space(&c->tcb);
		size_t ask = BASE_MIN(len - done, (size_t)(space ? space : 1));
		int64_t n;

		/* The urgent byte is the last one (RFC 6093 1). */
		n = send_piece(in, c, p + done, (uint32_t)BASE_MIN(ask, (size_t)UINT32_MAX),
			       ask == len - done ? flags : flags & ~(unsigned int)TCP_SEND_URGENT,
			       now);
		if (n <= 0) {
			if (!done)
				return n;
			break;
		}
		done += (size_t)n;
	}
	inst_ready_push(in, c);
	return (int64_t)done;
}

int64_t inst_send(struct inst *in, struct inst_conn *c, const void *data, size_t len,
		  unsigned int flags, ztime_t now)
{
	if (BASE_UNLIKELY(flags || !fast_send(in, c, data, len)))
		return send_all(in, c, data, len, flags, now);
	return BASE_LIKELY(c->flags & INST_C_READY) ? (int64_t)len : sent(in, c, (int64_t)len);
}

static BASE_APART int64_t send_iov_all(struct inst *in, struct inst_conn *c,
				       const struct wire_tcp_iov *iov, unsigned int flags,
				       ztime_t now)
{
	int64_t n = tcp_send(&c->tcb, iov, flags, now);

	if (n > 0)
		inst_ready_push(in, c);
	return n;
}

int64_t inst_send_iov(struct inst *in, struct inst_conn *c, const struct wire_tcp_iov *iov,
		      unsigned int flags, ztime_t now)
{
	if (BASE_UNLIKELY(flags || !tcp_fast_send(&c->tcb, &in->env, iov)))
		return send_iov_all(in, c, iov, flags, now);
	return BASE_LIKELY(c->flags & INST_C_READY) ? iov->len : sent(in, c, iov->len);
}

/* Runs that fit whole. Return: bytes. */
BASE_INLINE size_t fast_recv(struct inst *in, struct inst_conn *c, uint8_t *to, size_t len)
{
	const struct tcb *t = &c->tcb;
	struct wire_tcp_iov iov;
	size_t done = 0;

	while (t->rcvq && t->rcvq->next->len <= len - done &&
	       tcp_fast_take(&c->tcb, &in->env, &iov)) {
		memcpy(to + done, iov.data, iov.len);
		done += iov.len;
		if (BASE_LIKELY(iov.owner))
			in->cfg.buf.put(in->cfg.buf.ctx, iov.owner);
	}
	return done;
}

size_t inst_recv(struct inst *in, struct inst_conn *c, void *data, size_t len, ztime_t now)
{
	struct wire_tcp_iov iov[WIRE_TCP_IOV_MAX];
	uint8_t *to = data;
	size_t done = fast_recv(in, c, to, len);

	while (done < len && c->tcb.rcvq) {
		unsigned int n = tcp_recv_peek(&c->tcb, 0, iov, WIRE_TCP_IOV_MAX);
		uint32_t got = 0;

		for (unsigned int i = 0; i < n && done < len; i++) {
			uint32_t part = (uint32_t)BASE_MIN((size_t)iov[i].len, len - done);

			memcpy(to + done, iov[i].data, part);
			done += part;
			got += part;
		}
		if (!got)
			break;
		tcp_recv_done(&c->tcb, got, now);
	}
	if (done)
		inst_ready_push(in, c);
	return done;
}

static BASE_APART bool recv_iov_all(struct inst *in, struct inst_conn *c, struct wire_tcp_iov *iov,
				    ztime_t now)
{
	if (!tcp_recv_take(&c->tcb, iov, now))
		return false;
	inst_ready_push(in, c);
	return true;
}

static BASE_APART bool taken_iov(struct inst *in, struct inst_conn *c)
{
	inst_ready_push(in, c);
	return true;
}

bool inst_recv_iov(struct inst *in, struct inst_conn *c, struct wire_tcp_iov *iov, ztime_t now)
{
	if (BASE_UNLIKELY(!tcp_fast_take(&c->tcb, &in->env, iov)))
		return recv_iov_all(in, c, iov, now);
	return BASE_LIKELY(c->flags & INST_C_READY) || taken_iov(in, c);
}
