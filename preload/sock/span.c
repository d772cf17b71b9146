/* span.c - lifting, lowering, crossing, recalling */
#include "preload/sock/span.h"

#include "preload/sock/conf.h"
#include "preload/sock/diag.h"
#include "preload/sock/ep.h"
#include "preload/sock/thread.h"

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>

enum { SPAN_BORDERS = 8 }; /* crossed in one call: the peer does not keep us */

struct span_guard {
	uint64_t mask;
	bool taken;
};

static struct span_guard span_enter(struct shm_seat *seat)
{
	struct span_guard g = { .mask = thread_signals_block() };

	g.taken = shm_seat_take(seat, thread_tid());
	return g;
}

static void span_leave(struct shm_seat *seat, const struct span_guard *g)
{
	shm_seat_give(seat, g->taken);
	thread_signals_restore(g->mask);
}

/* Peers look closer at every connection of ours. */
static void span_announce(struct sock *s)
{
	atomic_fetch_add_explicit(&sock_arena(s)->head->pulse.close_gen, 1, memory_order_release);
}

/* The process's totals outlive its connections. */
static void count(bool lift)
{
	struct stats_head *table = sock_stats();

	if (table && lift)
		SHM_ADD(table->lifted, 1);
	else if (table)
		SHM_ADD(table->lowered, 1);
}

void span_ring_peer(struct sock *s)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (shm_peer_asleep(s->peer))
		shm_peer_ring(s->peer, &s->view.ctl->bells);
}

static bool may_lift(const struct sock *s)
{
	const struct shm_conn *c = s->conn;

	return SHM_READ(c->tx.path) == SHM_PATH_KERNEL && !SHM_READ(s->pinned) &&
	       !sock_error_waits(s) && !SHM_READ(s->broken) && !SHM_READ(c->tx.recalled) &&
	       !SHM_READ(s->peer->gone) && !(c->ctl.flags_tx & SHM_TX_FIN) &&
	       /* a peer that hung up without a word was killed: as ready_heard() */
	       (!(SHM_READ(s->kernel_bits) & POLLRDHUP) ||
		atomic_load_explicit(&s->view.ctl->flags_tx, memory_order_acquire) & SHM_TX_FIN) &&
	       atomic_load_explicit(&s->view.ctl->state, memory_order_acquire) ==
		       SHM_CONN_ATTACHED &&
	       s->view.ctl->cookie == s->peer_cookie && /* not another's by now: it never joined */
	       /* a process that we share the block with has passed the connection on */
	       !(atomic_load_explicit(&c->ctl.flags_rx, memory_order_relaxed) & SHM_RX_RECALL) &&
	       !(atomic_load_explicit(&s->view.ctl->flags_rx, memory_order_relaxed) &
		 (SHM_RX_RECALL | SHM_RX_STOP)) &&
	       atomic_load_explicit(&s->view.ctl->span_ack, memory_order_acquire) == c->ctl.span;
}

/*
 * A thread was cancelled, or a handler jumped away, between the kernel's taking of its bytes and their counting: the kernel
 * knows how many they were. Nobody may be in a kernel call of this direction. Return: whether tx_off is right.
 */
static bool tx_counted(struct sock *s)
{
	uint64_t sent;

	if (likely(!SHM_READ(s->conn->tx.doubt)))
		return true;
	if (!diag_sent(s, &sent))
		return false;
	atomic_store(&s->row->tx_off, s->row->tx_shm + sent);
	SHM_WRITE(s->conn->tx.doubt, false);
	return true;
}

/*
 * No thread may be between its look at tx.path and the end of its kernel call. Those of another process that shares the
 * connection are not seen: it stays where it is as long as there is one.
 */
static bool tx_claim(struct sock *s)
{
	SHM_WRITE(s->conn->tx.path, SHM_PATH_RING);
	atomic_thread_fence(
		memory_order_seq_cst); /* pairs with the counting in io_kernel_enter() */
	if (atomic_load(&s->tx_busy) == 0 && atomic_load(&s->row->refs) == 1 && tx_counted(s))
		return true;
	SHM_WRITE(s->conn->tx.path, SHM_PATH_KERNEL);
	return false;
}

/* The ring ends at @at, which is the tail or, on a recall, what the peer has read. In tx.seat. */
static void lower_at(struct sock *s, uint64_t at, enum reason reason)
{
	struct shm_conn *c = s->conn;
	uint64_t tail;

	SHM_WRITE(s->row->tx_shm, s->row->tx_shm + (at - atomic_load(&c->ctl.lift)));
	atomic_store(&s->row->tx_off, at);
	atomic_store_explicit(&c->ctl.lower, at, memory_order_relaxed);
	atomic_store_explicit(&c->ctl.span, c->ctl.span + 1, memory_order_release);
	shm_ring_mark(c, true);
	SHM_WRITE(c->tx.path, SHM_PATH_KERNEL);
	c->tx.limit =
		0; /* off the short way; a write that we interrupted before it began notices too */
	tail = atomic_load(&c->ctl.tail);
	atomic_compare_exchange_strong(&c->tx.resv, &tail, SHM_TX_CLOSED);
	SHM_WRITE(s->row->tx_path, 0);
	SHM_WRITE(s->row->lowers, s->row->lowers + 1);
	count(false);
	SHM_WRITE(s->row->reason, (uint16_t)reason);
}

/* The ring of a new span. Return: whether there is one. */
static bool tx_ring(struct sock *s)
{
	struct shm_conn *c = s->conn;

	if (!c->tx.ring && shm_ring_open(sock_arena(s), c, thread_tid()))
		return false;
	if (s->burst) /* no larger one to be had: the next burst goes to the kernel too */
		shm_ring_grow(sock_arena(s), c, s->view.ctl, SIZE_MAX, thread_tid());
	s->burst = false;
	return true;
}

bool span_lift(struct sock *s)
{
	struct shm_conn *c = s->conn;
	struct span_guard g = span_enter(&c->tx.seat);
	bool lifted = SHM_READ(c->tx.path) == SHM_PATH_RING;

	if (!lifted && may_lift(s) && tx_claim(s)) {
		uint64_t at = atomic_load(&s->row->tx_off);

		atomic_store_explicit(&c->ctl.tail, at, memory_order_relaxed);
		SHM_WRITE(c->tx.head_seen, at);
		c->tx.limit = at;
		atomic_store_explicit(&c->tx.resv, at, memory_order_relaxed);
		if (!tx_ring(s)) {
			SHM_WRITE(c->tx.path, SHM_PATH_KERNEL);
			SHM_WRITE(s->row->reason, REASON_NO_MEMORY);
			SHM_WRITE(s->pinned, true);
		} else {
			shm_ring_mark(c, false);
			atomic_store_explicit(&c->ctl.lift, at, memory_order_relaxed);
			atomic_store_explicit(&c->ctl.span, c->ctl.span + 1, memory_order_release);
			SHM_WRITE(s->row->tx_path, 1);
			SHM_WRITE(s->row->lifts, s->row->lifts + 1);
			count(true);
			SHM_WRITE(s->row->reason, REASON_LIFTED);
			lifted = true;
			/* Asked for the kernel path in this moment? The peer then relies on an empty span. */
			atomic_thread_fence(
				memory_order_seq_cst); /* pairs with freeze(), span_stop() */
			if (atomic_load(&s->view.ctl->flags_rx) & (SHM_RX_RECALL | SHM_RX_STOP)) {
				lower_at(s, at, REASON_PEER_LOWERED);
				lifted = false;
			}
		}
	}
	span_leave(&c->tx.seat, &g);
	return lifted;
}

void span_lower(struct sock *s, enum reason reason)
{
	struct shm_conn *c = s->conn;
	struct span_guard g = span_enter(&c->tx.seat);

	if (SHM_READ(c->tx.path) == SHM_PATH_RING)
		lower_at(s, atomic_load(&c->ctl.tail), reason);
	span_leave(&c->tx.seat, &g);
	span_ring_peer(s);
}

void span_shutdown(struct sock *s)
{
	span_announce(s);
	span_lower(s, REASON_SHUTDOWN);
}

static void cross_to_ring(struct sock *s, uint32_t span, uint64_t lift)
{
	struct shm_conn *c = s->conn;

	atomic_store_explicit(&c->ctl.head, lift, memory_order_relaxed);
	SHM_WRITE(c->rx.path, SHM_PATH_RING);
	SHM_WRITE(s->row->rx_path, 1);
	if (SHM_READ(s->row->reason) == REASON_WARMING)
		SHM_WRITE(s->row->reason, REASON_LIFTED);
	atomic_store_explicit(&c->ctl.span_ack, span, memory_order_release);
}

static void cross_to_kernel(struct sock *s, uint32_t span, uint64_t lower)
{
	struct shm_conn *c = s->conn;

	SHM_WRITE(s->row->rx_shm, s->row->rx_shm + (lower - atomic_load(&s->row->rx_off)));
	atomic_store(&s->row->rx_off, lower);
	SHM_WRITE(c->rx.path, SHM_PATH_KERNEL);
	c->rx.ring = NULL;
	SHM_WRITE(s->row->rx_path, 0);
	if (atomic_load(&c->ctl.flags_rx) & SHM_RX_RECALL) { /* it stays: the peer lifts no more */
		SHM_WRITE(c->rx.frozen, false);
		SHM_WRITE(c->rx.direct, true);
	}
	ep_crossed(s);
	atomic_store_explicit(&c->ctl.span_ack, span, memory_order_release);
}

/* The ring is read up to where the kernel was shut down both ways: that has the rest of the stream, for good. */
static void cross_at_stop(struct sock *s)
{
	struct shm_conn *c = s->conn;
	uint64_t head = atomic_load_explicit(&c->ctl.head, memory_order_relaxed);

	if (SHM_READ(c->rx.path) != SHM_PATH_RING || span_left(s, head))
		return;
	SHM_WRITE(c->rx.direct, true);
	cross_to_kernel(s, atomic_load(&s->view.ctl->span), head);
}

int span_cross(struct sock *s, uint64_t *limit)
{
	struct shm_conn *c = s->conn;
	const struct shm_ctl *peer = s->view.ctl;

	*limit = UINT64_MAX;
	for (unsigned borders = 0; borders < SPAN_BORDERS; borders++) {
		uint32_t span, ack;
		uint64_t at, border;
		bool ring;

		cross_at_stop(s);
		span = atomic_load_explicit(&peer->span, memory_order_acquire);
		ack = atomic_load_explicit(&c->ctl.span_ack, memory_order_relaxed);
		ring = SHM_READ(c->rx.path) == SHM_PATH_RING;
		if (span == ack)
			return 0;
		if (SHM_READ(c->rx.direct)) { /* no border matters any more */
			atomic_store_explicit(&c->ctl.span_ack, span, memory_order_release);
			return 0;
		}
		if (peer->cookie != s->peer_cookie && !ring) {
			/* an end that never joined has given its block to another connection */
			SHM_WRITE(s->pinned, true);
			SHM_WRITE(c->rx.direct, true);
			return 0;
		}
		if (span - ack > (ring ? 1u : 2u))
			return -EPROTO;
		at = ring ? atomic_load_explicit(&c->ctl.head, memory_order_relaxed)
			  : atomic_load_explicit(&s->row->rx_off, memory_order_relaxed);
		border = atomic_load_explicit(ring ? &peer->lower : &peer->lift,
					      memory_order_relaxed);
		if (border < at)
			return -EPROTO;
		/* an honest sender lowers at its tail */
		if (ring && border - at > atomic_load(&peer->tail) - at)
			return -EPROTO;
		if (border > at) {
			*limit = border - at;
			return 0;
		}
		if (ring)
			cross_to_kernel(s, ack + 1, border);
		else if (peer->cookie != s->peer_cookie)
			return -EPROTO; /* not the block any more that we agreed on */
		else
			cross_to_ring(s, ack + 1, border);
	}
	return 0;
}

/* Lowered before the recall came, and the ring not read to its end: the bytes in it may be wanted back. */
static bool lowered_unread(struct sock *s)
{
	struct shm_conn *c = s->conn;

	return !SHM_READ(c->tx.recalled) && c->ctl.span && !(c->ctl.flags_tx & SHM_TX_KEPT) &&
	       atomic_load(&s->view.ctl->span_ack) != c->ctl.span;
}

/* The ring ends earlier than announced; or, when newer bytes, or the end, are with the kernel, it does not. In tx.seat. */
static void retract(struct sock *s)
{
	struct shm_conn *c = s->conn;
	uint64_t lower = atomic_load(&c->ctl.lower);
	uint64_t head = atomic_load_explicit(&s->view.ctl->head, memory_order_acquire);

	if (head < atomic_load(&c->ctl.lift))
		head = atomic_load(&c->ctl.lift);
	c->tx.recall = head;
	SHM_WRITE(c->tx.recalled, true);
	atomic_thread_fence(
		memory_order_seq_cst); /* pairs with the counting in io_kernel_enter() */
	if (c->ctl.flags_tx & SHM_TX_FIN || atomic_load(&s->tx_busy) || !tx_counted(s) ||
	    atomic_load(&s->row->tx_off) != lower || head >= lower) {
		SHM_WRITE(c->tx.recalled, false);
		atomic_fetch_or(&c->ctl.flags_tx, SHM_TX_KEPT);
		span_announce(s);
		return;
	}
	SHM_WRITE(s->row->tx_shm, s->row->tx_shm - (lower - head));
	atomic_store(&s->row->tx_off, head);
	atomic_store_explicit(&c->ctl.lower, head, memory_order_release);
	SHM_WRITE(s->pinned, true);
}

/* A sender's answer to a recall: what the peer has not read goes through the kernel instead. */
static void serve_recall(struct sock *s)
{
	struct shm_conn *c = s->conn;
	struct span_guard g = span_enter(&c->tx.seat);

	if (SHM_READ(c->tx.path) == SHM_PATH_RING) {
		uint64_t tail = atomic_load(&c->ctl.tail);
		uint64_t head = atomic_load_explicit(&s->view.ctl->head, memory_order_acquire);

		/* the peer may have lifted and recalled before it read a byte: then its head is older */
		if (head < atomic_load(&c->ctl.lift))
			head = atomic_load(&c->ctl.lift);
		if (head <= tail) {
			c->tx.recall = head;
			SHM_WRITE(c->tx.recalled, head < tail);
			lower_at(s, head, REASON_PEER_LOWERED);
			SHM_WRITE(s->pinned, true);
		}
	} else if (lowered_unread(s)) {
		retract(s);
	}
	span_leave(&c->tx.seat, &g);
	if (SHM_READ(s->broken))
		return;
	span_flush(s);
	span_ring_peer(s);
}

bool span_flush(struct sock *s)
{
	struct shm_conn *c = s->conn;
	struct span_guard g = span_enter(&c->tx.seat);
	const struct shm_view own = { &c->ctl, (const char *)sock_arena(s)->head,
				      sock_arena(s)->bytes };

	while (c->tx.recalled) {
		struct shm_run run;
		long n;

		if (c->tx.recall == atomic_load(&c->ctl.tail) ||
		    shm_ring_peek(&own, c->tx.recall, &run) != 1) {
			SHM_WRITE(c->tx.recalled, false);
			break;
		}
		n = sys(SYS_sendto, sock_fd(s), run.ptr, run.len, MSG_DONTWAIT | MSG_NOSIGNAL, 0,
			0);
		if (n <= 0) {
			if (n != -EAGAIN && n != -EINTR)
				/* the connection is gone: so are the bytes */
				SHM_WRITE(c->tx.recalled, false);
			break;
		}
		c->tx.recall += (uint64_t)n;
		atomic_fetch_add(&s->row->tx_off, (uint64_t)n);
	}
	span_leave(&c->tx.seat, &g);
	return !SHM_READ(c->tx.recalled);
}

/* Some of what the peer has not read, from @from on, once, through the kernel. In tx.seat. */
static void send_unread(struct sock *s, uint64_t from)
{
	struct shm_conn *c = s->conn;
	const struct shm_view own = { &c->ctl, (const char *)sock_arena(s)->head,
				      sock_arena(s)->bytes };
	struct shm_run run;

	if (from < atomic_load(&c->ctl.lift))
		from = atomic_load(&c->ctl.lift);
	if (from < atomic_load(&c->ctl.tail) && shm_ring_peek(&own, from, &run) == 1)
		sys(SYS_sendto, sock_fd(s), run.ptr, run.len, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
}

/*
 * A closed peer reads nothing more: only the kernel can say what becomes of our bytes. Those that came into the ring
 * after it had looked are answered by a reset, as they would be natively; one piece is enough. Where it has reset the
 * connection itself, a send here would take the error that the program is to be told: so its end is awaited, which
 * follows at once.
 */
static void leave_closed(struct sock *s)
{
	struct timespec most = { 0, 10000000 };
	struct pollfd p = { .fd = sock_fd(s), .events = POLLRDHUP };
	struct span_guard g;

	if (SHM_READ(s->conn->tx.path) != SHM_PATH_RING)
		return;
	sys(SYS_ppoll, &p, 1, &most, 0, 8);
	g = span_enter(&s->conn->tx.seat);
	if (SHM_READ(s->conn->tx.path) == SHM_PATH_RING) {
		lower_at(s, atomic_load(&s->conn->ctl.tail), REASON_LIFTED);
		if ((p.revents & (POLLRDHUP | POLLERR)) == POLLRDHUP &&
		    s->view.ctl->cookie == s->peer_cookie)
			send_unread(s,
				    atomic_load_explicit(&s->view.ctl->head, memory_order_acquire));
	}
	span_leave(&s->conn->tx.seat, &g);
}

/*
 * The peer is shut down both ways: what it had then it may still read; the kernel answers the rest by a reset. Of that,
 * what is in the ring already reaches the kernel as one piece, as in leave_closed().
 */
static void leave_stopped(struct sock *s, uint32_t flags)
{
	struct shm_conn *c = s->conn;
	struct pollfd p = { .fd = sock_fd(s) };
	struct timespec zero = { 0, 0 };
	struct span_guard g;

	if (SHM_READ(c->tx.path) != SHM_PATH_RING)
		return;
	/* not where a send would take the error that the program is to be told */
	sys(SYS_ppoll, &p, 1, &zero, 0, 8);
	g = span_enter(&c->tx.seat);
	if (SHM_READ(c->tx.path) == SHM_PATH_RING) {
		uint64_t tail = atomic_load(&c->ctl.tail);

		SHM_WRITE(s->pinned, true);
		atomic_fetch_or(&c->ctl.flags_tx, SHM_TX_KEPT); /* nothing is sent again */
		lower_at(s, tail, REASON_PEER_LOWERED);
		if (!(p.revents & POLLERR))
			send_unread(s, tail - shm_stop_behind(flags, tail));
	}
	span_leave(&c->tx.seat, &g);
}

void span_attend(struct sock *s)
{
	const struct shm_ctl *peer = s->view.ctl;
	uint32_t flags;

	SHM_WRITE(s->gen, atomic_load_explicit(&s->pulse->close_gen, memory_order_acquire));
	flags = atomic_load_explicit(&peer->flags_rx, memory_order_acquire);
	if (flags & SHM_RX_STOP)
		leave_stopped(s, flags);
	if (flags & SHM_RX_RECALL)
		serve_recall(s);
	if (atomic_load_explicit(&peer->state, memory_order_acquire) == SHM_CONN_CLOSED)
		leave_closed(s);
}

/* Stop reading the ring; the peer will send the rest another way. */
static bool freeze(struct sock *s)
{
	struct shm_conn *c = s->conn;
	struct span_guard g = span_enter(&c->rx.seat);
	uint64_t limit;
	int err;

	atomic_fetch_or(&c->ctl.flags_rx, SHM_RX_RECALL); /* a full fence; pairs with may_lift() */
	err = span_cross(s, &limit);
	c->rx.ring = NULL; /* off the short way */
	sock_stir(s);
	if (!err && SHM_READ(c->rx.path) == SHM_PATH_RING)
		SHM_WRITE(c->rx.frozen, true);
	else if (!err && SHM_READ(c->rx.path) == SHM_PATH_KERNEL && limit == UINT64_MAX)
		SHM_WRITE(c->rx.direct, true);
	span_leave(&c->rx.seat, &g);
	return SHM_READ(c->rx.frozen);
}

void span_stop(struct sock *s)
{
	struct shm_conn *c = s->conn;
	struct pollfd p = { .fd = sock_fd(s) };
	struct timespec zero = { 0, 0 };
	struct span_guard g;
	uint32_t flags;
	uint64_t limit;

	if (sys(SYS_ppoll, &p, 1, &zero, 0, 8) <= 0 || !(p.revents & POLLHUP))
		return;
	g = span_enter(&c->rx.seat);
	flags = atomic_load(&c->ctl.flags_rx);
	if (!(flags & (SHM_RX_RECALL | SHM_RX_STOP))) {
		/* a full fence; pairs with span_lift() */
		atomic_fetch_or(&c->ctl.flags_rx, shm_stop_at(atomic_load(&s->view.ctl->tail)));
		c->rx.ring = NULL; /* off the short way */
		if (!span_cross(s, &limit) && SHM_READ(c->rx.path) == SHM_PATH_KERNEL &&
		    limit == UINT64_MAX)
			SHM_WRITE(c->rx.direct, true);
	}
	span_leave(&c->rx.seat, &g);
	sock_stir(s);
	span_announce(s);
	span_ring_peer(s);
}

bool span_thaw(struct sock *s)
{
	struct shm_conn *c = s->conn;

	if (!SHM_READ(s->peer->gone) &&
	    !(atomic_load_explicit(&s->view.ctl->flags_tx, memory_order_acquire) & SHM_TX_KEPT) &&
	    atomic_load_explicit(&s->view.ctl->state, memory_order_acquire) != SHM_CONN_CLOSED)
		return false;
	SHM_WRITE(c->rx.frozen, false);
	sock_stir(s);
	return true;
}

static bool answered(struct sock *s)
{
	struct shm_conn *c = s->conn;
	struct span_guard g = span_enter(&c->rx.seat);
	uint64_t limit;

	span_cross(s, &limit);
	span_leave(&c->rx.seat, &g);
	return SHM_READ(c->rx.path) == SHM_PATH_KERNEL || !span_frozen(s);
}

void span_release(struct sock *s, enum reason reason, unsigned wait_ms)
{
	uint64_t until = thread_now() + wait_ms * UINT64_C(1000000);

	SHM_WRITE(s->pinned, true);
	if (!s->conn) {
		sock_settle(s, reason);
		return;
	}
	span_lower(s, reason);
	if (!freeze(s))
		return;
	span_announce(s);
	span_ring_peer(s);
	if (s->peer->self) {
		struct stats_row *row = s->row;
		struct sock *other = sock_at(s->twin);

		/* both ends are ours: answer ourselves */
		if (other && other->conn && other->row != row && &other->conn->ctl == s->view.ctl)
			span_attend(other);
		if (other)
			sock_put(other);
	}
	while (!answered(s) && thread_now() < until && !SHM_READ(s->peer->gone))
		sys(SYS_sched_yield);
}

/* Whether the ring holds bytes that nobody will read. In rx.seat. */
static bool left_unread(struct sock *s)
{
	const struct shm_conn *c = s->conn;
	uint64_t limit;

	/* a span that begins here may not have been looked at */
	return span_cross(s, &limit) < 0 || (SHM_READ(c->rx.path) == SHM_PATH_RING &&
					     !span_frozen(s) && shm_ring_unread(c, s->view.ctl));
}

void span_close(struct sock *s)
{
	struct shm_conn *c = s->conn;
	uint32_t tid = thread_tid();
	bool tx, rx;

	/* what the peer has asked for before we go */
	span_attend(s);
	tx = shm_seat_take(&c->tx.seat, tid);
	rx = shm_seat_take(&c->rx.seat, tid);
	if (SHM_READ(s->broken) || left_unread(s)) {
		struct linger reset = { 1, 0 };

		sys(SYS_setsockopt, sock_fd(s), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	}
	atomic_fetch_or(&c->ctl.flags_tx, SHM_TX_FIN);
	atomic_store_explicit(&c->ctl.state, SHM_CONN_CLOSED, memory_order_release);
	shm_seat_give(&c->rx.seat, rx);
	shm_seat_give(&c->tx.seat, tx);
	span_announce(s);
	span_ring_peer(s);
}

void span_recount(struct sock *s)
{
	uint64_t taken;

	if (SHM_READ(s->conn->rx.path) == SHM_PATH_KERNEL && diag_taken(s, &taken))
		atomic_store(&s->row->rx_off, s->row->rx_shm + taken);
}

void span_break(struct sock *s)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	struct shm_conn *c = s->conn;
	struct span_guard g = span_enter(&c->tx.seat);
	bool rx = shm_seat_take(&c->rx.seat, thread_tid());
	bool first = !s->broken;

	SHM_WRITE(s->broken, true);
	SHM_WRITE(s->pinned, true);
	SHM_WRITE(c->tx.path, SHM_PATH_KERNEL); /* off the short ways */
	SHM_WRITE(c->rx.path, SHM_PATH_KERNEL);
	c->tx.limit = 0;
	c->rx.ring = NULL;
	sock_stir(s);
	shm_seat_give(&c->rx.seat, rx);
	span_leave(&c->tx.seat, &g);
	if (!first)
		return;
	SHM_WRITE(s->row->reason, REASON_PEER_NONSENSE);
	sys(SYS_connect, sock_fd(s), &none, sizeof(none)); /* RST: the kernel tells the other end */
}
