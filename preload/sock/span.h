/* span.h - which path carries the next byte, and the borders between paths
 *
 * A connection is attached when both ends read each other's block. From then on each sender lifts and lowers
 * its own direction at byte offsets; the receiver crosses the borders in order (contract.h). These are the
 * rare steps; they block signals and take the direction's lock themselves unless they say otherwise.
 */
#ifndef SOCK_SPAN_H
#define SOCK_SPAN_H

#include "preload/sock/sock.h"

/* Move what we send to the ring, if it is not there and may go there. Return: whether it is there now. */
bool span_lift(struct sock *s);

/* Move what we send to the kernel: the ring ends here. Harmless when it is there already. */
void span_lower(struct sock *s, enum reason reason);

/**
 * span_cross() - follow the peer over every border that lies at our offset
 * @limit: set to the bytes that may be read from the current path before the next border (UINT64_MAX: no
 *         border is known)
 *
 * The caller sits in rx.seat. Return: 0, or -EPROTO when the borders make no sense.
 */
int span_cross(struct sock *s, uint64_t *limit);

/* Bytes of the ring from @head on that are for us: none that came after a shutdown of both directions. */
static inline uint64_t span_left(const struct sock *s, uint64_t head)
{
	uint32_t flags = atomic_load_explicit(&s->conn->ctl.flags_rx, memory_order_relaxed);

	return unlikely(flags & SHM_RX_STOP) ? shm_stop_left(flags, head) : UINT64_MAX;
}

/* Whether the peer has announced a border that we have not crossed. */
static inline bool span_ahead(const struct sock *s)
{
	return atomic_load_explicit(&s->view.ctl->span, memory_order_acquire) !=
	       atomic_load_explicit(&s->conn->ctl.span_ack, memory_order_relaxed);
}

/* Read on from the ring when the peer will never answer our recall. Return: whether that is so. */
bool span_thaw(struct sock *s);

/* The ring is not to be read: a recall waits for its answer. Looks whether one can still come. */
static inline bool span_frozen(struct sock *s)
{
	return unlikely(SHM_READ(s->conn->rx.frozen)) && !span_thaw(s);
}

/* Look at what the peer has announced since last time: closed, recalled. Any time. */
void span_attend(struct sock *s);

/* After a publication: the peer sleeps, or has announced something. One load. */
static inline bool span_pulse(const struct sock *s)
{
	return __atomic_load_n((const uint64_t *)s->pulse, __ATOMIC_RELAXED) !=
	       (uint64_t)SHM_READ(s->gen) << 32;
}

/* Whether span_attend() has something to look at. */
static inline bool span_attention(const struct sock *s)
{
	return SHM_READ(s->gen) != atomic_load_explicit(&s->pulse->close_gen, memory_order_relaxed);
}

/**
 * span_flush() - send recalled bytes through the kernel, as many as it takes now
 *
 * Return: true when none are left.
 */
bool span_flush(struct sock *s);

/**
 * span_release() - leave the connection to whoever else will use the kernel socket
 *
 * Both directions go back to the kernel: what we send by lowering, what we have not read by recalling it
 * from the peer. Waits for the peer's answer at most @wait_ms; it comes later where the peer is busy.
 */
void span_release(struct sock *s, enum reason reason, unsigned wait_ms);

/* shutdown(SHUT_WR): the ring ends here; the kernel's FIN follows. */
void span_shutdown(struct sock *s);

/*
 * After a shutdown() by the kernel: where both directions are, what the peer writes from now on is for the kernel, which
 * answers it by a reset.
 */
void span_stop(struct sock *s);

/* The last descriptor is about to be closed. Signals are blocked. */
void span_close(struct sock *s);

/* A call that was receiving never returns: bytes that it took from the kernel may not be counted. In rx.seat. */
void span_recount(struct sock *s);

/* The peer's memory made no sense: the connection is reset. */
void span_break(struct sock *s);

/* Wake whoever of the peer waits for this connection. */
void span_ring_peer(struct sock *s);

#endif
