/* ready.c - readiness of an attached connection */
#include "preload/sock/ready.h"

#include "preload/sock/span.h"
#include "preload/sock/thread.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>

enum {
	READY_STICKY = POLLRDHUP | POLLHUP, /* an error goes away when it has been told */
	READY_END = READY_STICKY | POLLERR,
};

bool ready_room(struct sock *s)
{
	struct shm_conn *c = s->conn;
	uint64_t size = (uint64_t)SHM_READ(c->tx.mask) + 1;
	ssize_t room = shm_ring_room_guess(c, s->view.ctl, size / 3);

	if (room < 0 || (uint64_t)room >= size / 3)
		return true; /* nonsense is found by the send */
	/* a larger ring may be had once the reader has crossed the last change */
	return size < UINT64_C(1) << SHM_RING_LOG2_GROW &&
	       atomic_load_explicit(&s->view.ctl->head, memory_order_relaxed) >=
		       c->ctl.base[SHM_READ(c->tx.slot)];
}

void ready_look(struct sock *s)
{
	struct shm_seat *seat = &s->conn->rx.seat;
	bool taken = shm_seat_take(seat, thread_tid());

	/* before they cut the length to what is in the ring */
	s->conn->rx.ring = NULL;
	s->conn->rx.rings = UINT64_MAX;
	shm_seat_give(seat, taken);
	sock_stir(s);
}

uint64_t ready_ring_bytes(const struct sock *s)
{
	const struct shm_ctl *peer = s->view.ctl;
	const bool ring = SHM_READ(s->conn->rx.path) == SHM_PATH_RING;
	/* head first: another thread may read on between the two */
	uint64_t from = atomic_load_explicit(ring ? &s->conn->ctl.head : &peer->lift,
					     memory_order_acquire);
	uint64_t tail = ring || span_ahead(s)
				? atomic_load_explicit(&peer->tail, memory_order_acquire)
				: from;

	if (tail <= from)
		return 0;
	return tail - from < span_left(s, from) ? tail - from : span_left(s, from);
}

uint64_t ready_bytes(const struct sock *s)
{
	uint64_t ring = ready_ring_bytes(s);
	int kernel = 0;

	sys(SYS_ioctl, sock_fd(s), SIOCINQ, &kernel);
	return ring + (uint64_t)kernel;
}

/*
 * Whether a wait sees what the ring holds: all of SO_RCVLOWAT. What lies behind a border counts: the kernel speaks up for
 * its own part only, so a wait looks again now and then (wait_deaf()).
 */
static bool ring_tells(const struct sock *s)
{
	uint64_t unread = shm_ring_unread(s->conn, s->view.ctl);

	return unread && (unread >= sock_rcvlowat(s) ||
			  (span_ahead(s) && ready_bytes(s) >= sock_rcvlowat(s)));
}

void ready_heard(struct sock *s, short revents)
{
	if (revents & READY_STICKY & ~SHM_READ(s->kernel_bits)) {
		__atomic_fetch_or(&s->kernel_bits, (short)(revents & READY_STICKY),
				  __ATOMIC_RELAXED);
		ready_look(s);
	}
	/* A peer that hung up without a word was killed: the kernel knows what becomes of our bytes. */
	if (revents & READY_END &&
	    !(atomic_load_explicit(&s->view.ctl->flags_tx, memory_order_acquire) & SHM_TX_FIN))
		span_lower(s, REASON_LIFTED);
}

short ready_ask(struct sock *s, short want)
{
	struct pollfd p = { .fd = sock_fd(s), .events = (short)(want | POLLRDHUP) };
	struct timespec zero = { 0, 0 };

	if (sys(SYS_ppoll, &p, 1, &zero, 0, 8) <= 0)
		return 0;
	ready_heard(s, p.revents);
	return p.revents;
}

/* Whether the kernel's POLLRDHUP is the peer's doing: shutdown(SHUT_RD) on this side says it, too. */
static bool peer_ended(const struct sock *s)
{
	struct tcp_info ti = { .tcpi_state = TCP_CLOSE };
	socklen_t len = sizeof(ti);

	sys(SYS_getsockopt, sock_fd(s), IPPROTO_TCP, TCP_INFO, &ti, &len);
	return ti.tcpi_state != TCP_ESTABLISHED && ti.tcpi_state != TCP_FIN_WAIT1 &&
	       ti.tcpi_state != TCP_FIN_WAIT2;
}

bool ready_reset(const struct sock *s)
{
	const struct shm_ctl *peer = s->view.ctl;
	const struct shm_conn *c = s->conn;
	uint64_t read = atomic_load(&peer->head), lift = atomic_load(&c->ctl.lift);

	if (read < lift) /* the peer has not crossed to this span, or nothing was in it */
		read = lift;
	return SHM_READ(s->kernel_bits) & POLLRDHUP && SHM_READ(c->tx.ring) &&
	       /* what we were sent behind our own end has made the kernel reset: it says so itself */
	       !(atomic_load(&c->ctl.flags_rx) & SHM_RX_STOP) && !(peer->flags_tx & SHM_TX_FIN) &&
	       !SHM_READ(c->tx.recalled) && read < atomic_load(&c->ctl.tail) && peer_ended(s);
}

short ready_now(struct sock *s, short want)
{
	struct shm_conn *c = s->conn;
	short kernel = POLLPRI, bits;

	if (span_attention(s))
		span_attend(s);
	if (SHM_READ(s->broken))
		return (short)(want | POLLERR | POLLHUP);
	bits = SHM_READ(s->kernel_bits);
	if (bits) {
		bits |= POLLIN | POLLRDNORM;
		if (ready_reset(s))
			bits |= sock_reset_told(s) ? POLLHUP : POLLHUP | POLLERR;
		kernel |= POLLIN; /* and an error, which only the kernel knows */
	} else if (atomic_load_explicit(&s->view.ctl->flags_tx, memory_order_relaxed) &
		   SHM_TX_FIN) {
		kernel |= POLLIN; /* its FIN is on the way */
	}
	if (span_ahead(s)) {
		bool taken = shm_seat_take(&c->rx.seat, thread_tid());
		uint64_t limit;

		span_cross(s, &limit);
		shm_seat_give(&c->rx.seat, taken);
	}
	if (SHM_READ(c->rx.path) == SHM_PATH_RING && !span_frozen(s)) {
		if (ring_tells(s))
			bits |= POLLIN | POLLRDNORM;
	} else {
		kernel |= POLLIN;
		if (sock_rcvlowat(s) > 1 && span_ahead(s) && !span_frozen(s) &&
		    ready_bytes(s) >= sock_rcvlowat(s))
			bits |= POLLIN | POLLRDNORM;
	}
	if (SHM_READ(c->tx.path) == SHM_PATH_RING) {
		if (want & (POLLOUT | POLLWRNORM) && ready_room(s))
			bits |= POLLOUT | POLLWRNORM;
	} else if (want & (POLLOUT | POLLWRNORM)) {
		kernel |= POLLOUT;
	}
	kernel &= (short)(want | POLLIN);
	if (kernel & (POLLIN | POLLOUT | POLLPRI)) {
		short asked = ready_ask(s, kernel);

		/* what came since the look above is not behind the end: programs take the one without the other as it */
		if (asked & POLLRDHUP)
			asked |= POLLIN;
		if (asked & POLLIN)
			asked |= POLLRDNORM;
		if (asked & POLLOUT)
			asked |= POLLWRNORM;
		bits |= asked;
	}
	if (unlikely(sock_error_waits(s))) /* the kernel has told it us, and we not the program */
		bits |= POLLERR;
	return (short)(bits & (want | POLLHUP | POLLERR | POLLNVAL));
}
