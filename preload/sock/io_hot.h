/* io_hot.h - the short ways: read and write of a few bytes on a ring
 *
 * Nearly every read() and write() of a lifted connection is one of three things: a few bytes are there, a
 * few bytes fit, or a moment ago there was nothing and there still is nothing. They are told by a handful
 * of loads and done without a stack frame; where it is anything else, nothing is done. The
 * overrides in call_io.c are the callers, on any thread and in signal handlers.
 *
 * To be here at all, the direction must be the calling thread's own (struct shm_seat), and its ring known: the slow
 * ways take the one away and clear the other (rx.ring, tx.limit) before they change anything.
 */
#ifndef SOCK_IO_HOT_H
#define SOCK_IO_HOT_H

#include "preload/sock/io.h"
#include "preload/sock/mem.h"
#include "preload/sock/span.h"
#include "preload/sock/thread.h"

#include <errno.h>

enum {
	IO_HOT_MAX = 128, /* bytes */
	/* How often a busy direction looks at the kernel socket, in cycles: about 3 ms. */
	IO_CHECK_CYCLES = 1 << 23,
};

/* Where errno is: the same distance from every thread's pointer, as libc is there from the start. */
extern intptr_t io_errno_at __attribute__((visibility("hidden")));

/* errno = @err, without a call. */
static inline void io_errno(int err)
{
#if defined(__x86_64__)
	__asm__ volatile("movl %1, %%fs:(%0)" : : "r"(io_errno_at), "i"(err) : "memory");
#else
	errno = err;
#endif
}

/* Whether the program's buffer is there, as far as the connection remembers. */
static inline bool io_hot_there(const _Atomic uint64_t *window, const void *buf)
{
	return mem_in_window(window, buf, IO_HOT_MAX);
}

typedef uint64_t io_word __attribute__((may_alias, aligned(1)));
typedef uint32_t io_half __attribute__((may_alias, aligned(1)));
typedef uint16_t io_quarter __attribute__((may_alias, aligned(1)));
typedef uint64_t io_vector __attribute__((vector_size(16), may_alias, aligned(1)));

/* memcpy() of 1 to IO_HOT_MAX bytes; everything is loaded before it is stored, in overlapping halves. */
static inline __attribute__((always_inline)) void io_copy(char *to, const char *from, size_t n)
{
	const char *from_end = from + n;
	char *to_end = to + n;

	if (n >= 32) {
		io_vector a = *(const io_vector *)from, b = *(const io_vector *)(from + 16);
		io_vector y = *(const io_vector *)(from_end - 32);
		io_vector z = *(const io_vector *)(from_end - 16);

		if (n > 64) {
			io_vector c = *(const io_vector *)(from + 32);
			io_vector d = *(const io_vector *)(from + 48);
			io_vector w = *(const io_vector *)(from_end - 64);
			io_vector x = *(const io_vector *)(from_end - 48);

			*(io_vector *)(to + 32) = c;
			*(io_vector *)(to + 48) = d;
			*(io_vector *)(to_end - 64) = w;
			*(io_vector *)(to_end - 48) = x;
		}
		*(io_vector *)to = a;
		*(io_vector *)(to + 16) = b;
		*(io_vector *)(to_end - 32) = y;
		*(io_vector *)(to_end - 16) = z;
	} else if (n >= 16) {
		io_vector a = *(const io_vector *)from, z = *(const io_vector *)(from_end - 16);

		*(io_vector *)to = a;
		*(io_vector *)(to_end - 16) = z;
	} else if (n >= 8) {
		io_word a = *(const io_word *)from, z = *(const io_word *)(from_end - 8);

		*(io_word *)to = a;
		*(io_word *)(to_end - 8) = z;
	} else if (n >= 4) {
		io_half a = *(const io_half *)from, z = *(const io_half *)(from_end - 4);

		*(io_half *)to = a;
		*(io_half *)(to_end - 4) = z;
	} else if (n >= 2) {
		io_quarter a = *(const io_quarter *)from, z = *(const io_quarter *)(from_end - 2);

		*(io_quarter *)to = a;
		*(io_quarter *)(to_end - 2) = z;
	} else {
		*to = *from;
	}
}

/* Whether the peer waits for room. */
static inline bool io_space_wanted(const struct sock *s)
{
	return atomic_load_explicit(&s->view.ctl->flags_tx, memory_order_relaxed) &
	       SHM_TX_WANT_SPACE;
}

/* Bytes were read and the peer waits for room: leave the seat and wake it. Return: @n. */
ssize_t io_consumed(struct sock *s, size_t n);

/* Bytes were written and the peer sleeps, or has announced something: leave the seat and see to it. Return: @n. */
ssize_t io_published(struct sock *s, size_t n);

/* Nothing was there a moment ago, and the peer has said nothing since. */
static inline bool io_hot_quiet(const struct sock *s)
{
	const struct shm_ctl *peer = SHM_FOLLOW(s->view.ctl);

	return shm_is64(&s->quiet_tail, atomic_load_explicit(&peer->tail, memory_order_acquire)) &&
	       shm_is64(&s->quiet_pair, shm_ring_pair(&peer->span)) &&
	       SHM_SINCE(thread_cycles_low(), s->quiet_from) <= IO_CHECK_CYCLES;
}

/*
 * *@n, which is not zero, is cut to what is there, if something is, whatever the answer: reading less is allowed, and
 * a register fewer is needed.
 *
 * Return: whether *@n bytes were read; io_hot_read_done() then leaves the seat and is the call's answer.
 */
static inline __attribute__((always_inline)) bool io_hot_read(struct sock *s, void *buf, size_t *n)
{
	struct shm_conn *c = SHM_FOLLOW(s->hot);
	uint64_t head, at;

	thread_sits(&thread_self.rx, s);
	if (unlikely(!shm_seat_enter(&c->rx.seat, thread_self.seat)))
		return false;
	at = atomic_load_explicit(&s->view.ctl->tail, memory_order_acquire);
	if (unlikely(shm_ring_pair(s->view.ctl->ring) != c->rx.rings))
		goto cold;
	head = atomic_load_explicit(&c->ctl.head, memory_order_relaxed);
	at -= head;
	if (unlikely(at - 1 > c->rx.mask))
		goto cold;
	if (*n > at)
		*n = at;
	at = head & c->rx.mask;
	if (unlikely(*n > IO_HOT_MAX || at + *n - 1 > c->rx.mask ||
		     !io_hot_there(&s->rx_window, buf) || !c->rx.ring))
		goto cold;
	io_copy(buf, c->rx.ring + at, *n);
	if (unlikely(!shm_commit(&c->ctl.head, head, head + *n)))
		goto cold;
	atomic_store_explicit(&s->quiet_tail, head + *n, memory_order_relaxed);
	return true;
cold:
	shm_seat_leave(&c->rx.seat);
	return false;
}

static inline ssize_t io_hot_read_done(struct sock *s, size_t n)
{
	if (unlikely(io_space_wanted(s)))
		return io_consumed(s, n);
	shm_seat_leave(&s->hot->rx.seat);
	return (ssize_t)n;
}

/* As far as the peer was last seen, @n bytes do not fit at @at: it may have read on. In the direction's seat. */
static inline __attribute__((always_inline)) bool io_hot_room(struct sock *s, struct shm_conn *c,
							      uint64_t at, size_t n)
{
	uint64_t head = atomic_load_explicit(&s->view.ctl->head, memory_order_acquire);

	/* nonsense, a handler on top of a write, not on the ring: not for here */
	if (head > at || head < c->tx.head_seen || !c->tx.limit)
		return false;
	SHM_WRITE(c->tx.head_seen, head);
	c->tx.limit = shm_ring_limit(c, head);
	return at + n <= c->tx.limit;
}

/*
 * A blocking send of another thread that waits with a part of its bytes written has taken the seat away, so this
 * does not write between its parts.
 *
 * Return: whether all @n bytes were written; io_hot_write_done() then leaves the seat and is the call's answer.
 */
static inline __attribute__((always_inline)) bool io_hot_write(struct sock *s, const void *buf,
							       size_t n)
{
	struct shm_conn *c = SHM_FOLLOW(s->hot);
	uint64_t at, pos;

	thread_sits_at(
		&thread_self.tx); /* whose seat it is, a jump finds out: no register is left */
	if (unlikely(n - 1 >= IO_HOT_MAX || !io_hot_there(&s->tx_window, buf) ||
		     !shm_seat_enter(&c->tx.seat, thread_self.seat)))
		return false;
	at = atomic_load_explicit(&c->tx.resv, memory_order_relaxed);
	if (unlikely(at + n > c->tx.limit) && !io_hot_room(s, c, at, n))
		goto cold;
	pos = at & c->tx.mask;
	if (unlikely(pos + n - 1 > c->tx.mask ||
		     SHM_SINCE(thread_cycles_low(), c->tx.checked) >= IO_CHECK_CYCLES ||
		     !shm_commit(&c->tx.resv, at, at + n)))
		goto cold;
	io_copy(c->tx.ring + pos, buf, n);
	shm_ring_publish(c);
	return true;
cold:
	shm_seat_leave(&c->tx.seat);
	return false;
}

static inline ssize_t io_hot_write_done(struct sock *s, size_t n)
{
	SHM_WRITE(s->streak, 0);
	if (unlikely(span_pulse(s)))
		return io_published(s, n);
	shm_seat_leave(&s->hot->tx.seat);
	return (ssize_t)n;
}

#endif
