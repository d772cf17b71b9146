/* shm_ring.h - bytes into our ring and out of the peer's
 *
 * A ring serves stream offsets: byte x lies at x modulo the ring's size. The sender may give a connection
 * a second, larger ring when the first is too small; both are live until the reader has crossed over.
 * Called in the direction's seat (or nested in a signal handler on the holder's thread); neither
 * call blocks, and one message costs the peer one line of control and the lines of its bytes.
 */
#ifndef SHM_RING_H
#define SHM_RING_H

#include "shm/shm_arena.h"
#include "shm/shm_conn.h"
#include "shm/shm_copy.h"
#include "shm/shm_lock.h"
#include "shm/shm_word.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

enum {
	/* A writer of much publishes in pieces, so that the reader copies out while it copies in. */
	SHM_RING_PIECE = 16384,
	/* Rings beyond this no longer fit a core's cache and get slower; measured, see docs/performance.md. */
	SHM_RING_LOG2_GROW = 18,
	/* After the first ring, for a writer that does not wait for its reader: 2 KiB at least. */
	SHM_RING_LOG2_MANY = 11,
};

/* tx.resv while the direction is not on its ring: beyond every limit. */
#define SHM_TX_CLOSED (UINT64_C(1) << 63)

/* What a reader needs to know of its peer. */
struct shm_view {
	const struct shm_ctl *ctl; /* the peer's block */
	const char *base;          /* the peer's arena */
	uint64_t bytes;            /* its size */
};

/* Bytes published by the peer that this end has not consumed. Untrusted: may be anything. */
static inline uint64_t shm_ring_unread(const struct shm_conn *c, const struct shm_ctl *peer)
{
	return atomic_load_explicit(&peer->tail, memory_order_acquire) -
	       atomic_load_explicit(&c->ctl.head, memory_order_relaxed);
}

/* A receiver's word that it stops at @at. */
static inline uint32_t shm_stop_at(uint64_t at)
{
	return SHM_RX_STOP | (uint32_t)(at & SHM_RX_STOP_MASK) << SHM_RX_STOP_SHIFT;
}

/* Bytes between @head, which is not behind the stop, and that. */
static inline uint64_t shm_stop_left(uint32_t flags, uint64_t head)
{
	return ((flags >> SHM_RX_STOP_SHIFT) - head) & SHM_RX_STOP_MASK;
}

/* Bytes between the stop and @tail, which is not before that. */
static inline uint64_t shm_stop_behind(uint32_t flags, uint64_t tail)
{
	return (tail - (flags >> SHM_RX_STOP_SHIFT)) & SHM_RX_STOP_MASK;
}

/* Offset up to which the ring has room once the peer has read up to @head. */
static inline uint64_t shm_ring_limit(const struct shm_conn *c, uint64_t head)
{
	uint64_t base = atomic_load_explicit(&c->ctl.base[SHM_READ(c->tx.slot)],
					     memory_order_relaxed);

	return (head > base ? head : base) + SHM_READ(c->tx.mask) + 1;
}

/**
 * shm_ring_room() - bytes that can be written now
 * @want: stop asking the peer once this much is known to be free
 *
 * Return: bytes free, 0 when full, -EPROTO when the peer claims to have read what was never written.
 */
static inline ssize_t shm_ring_room(struct shm_conn *c, const struct shm_ctl *peer, size_t want)
{
	uint64_t tail = atomic_load_explicit(&c->tx.resv, memory_order_relaxed);
	uint64_t head;

	c->tx.limit = shm_ring_limit(c, c->tx.head_seen);
	if (c->tx.limit - tail >= want)
		return (ssize_t)(c->tx.limit - tail);
	head = atomic_load_explicit(&peer->head,
				    memory_order_acquire); /* pairs with the reader's commit */
	if (head > c->tx.head_seen) {
		if (head > atomic_load_explicit(&c->ctl.tail, memory_order_relaxed))
			return -EPROTO;
		SHM_WRITE(c->tx.head_seen, head);
		c->tx.limit = shm_ring_limit(c, head);
	}
	return (ssize_t)(c->tx.limit - tail);
}

/*
 * Bytes that could be written now, for whoever only looks: without the direction's seat, so it is a guess where
 * somebody writes meanwhile. Return: as shm_ring_room().
 */
static inline ssize_t shm_ring_room_guess(const struct shm_conn *c, const struct shm_ctl *peer,
					  size_t want)
{
	uint64_t head = SHM_READ(c->tx.head_seen);
	uint64_t tail = atomic_load_explicit(&c->ctl.tail, memory_order_relaxed);
	uint64_t limit = shm_ring_limit(c, head);

	if (limit < tail || limit - tail < want) {
		head = atomic_load_explicit(&peer->head, memory_order_acquire);
		tail = atomic_load_explicit(&c->ctl.tail, memory_order_relaxed);
		if (head > tail)
			return -EPROTO;
		limit = shm_ring_limit(c, head);
	}
	return limit > tail ? (ssize_t)(limit - tail) : 0;
}

/*
 * Make what was written visible, with what handlers have written on top of it meanwhile. Release: the bytes
 * before the offset that covers them; pairs with shm_ring_read().
 */
static inline void shm_ring_publish(struct shm_conn *c)
{
	uint64_t end;

	do {
		end = atomic_load_explicit(&c->tx.resv, memory_order_relaxed);
		atomic_store_explicit(&c->ctl.tail, end, memory_order_release);
		atomic_signal_fence(memory_order_seq_cst);
	} while (__builtin_expect(atomic_load_explicit(&c->tx.resv, memory_order_relaxed) != end,
				  0));
}

/* Forget what was taken and not published: its writer will not go on. In tx.seat. */
void shm_ring_unwrite(struct shm_conn *c);

/* Copy into the ring at @at, wrapping. The caller has made sure of the room. */
static inline void shm_ring_copy_in(struct shm_conn *c, uint64_t at, const void *buf, size_t n)
{
	uint64_t pos = at & c->tx.mask;
	size_t first = (uint64_t)c->tx.mask + 1 - pos;

	if (__builtin_expect(n <= first, 1)) {
		shm_copy(c->tx.ring + pos, buf, n);
		return;
	}
	shm_copy(c->tx.ring + pos, buf, first);
	shm_copy(c->tx.ring, (const char *)buf + first, n - first);
}

/**
 * shm_ring_reserve() - take the next @len bytes of the ring, if they are known to be free
 * @at: their offset, when the answer is true
 *
 * To be filled by shm_ring_copy_in() and made visible by shm_ring_publish().
 */
static inline bool shm_ring_reserve(struct shm_conn *c, size_t len, uint64_t *at)
{
	*at = atomic_load_explicit(&c->tx.resv, memory_order_relaxed);
	/* a handler on top of a write leaves it to what it interrupted to publish: not the short way */
	return *at == atomic_load_explicit(&c->ctl.tail, memory_order_relaxed) &&
	       len <= SHM_RING_PIECE && *at + len <= c->tx.limit &&
	       shm_commit(&c->tx.resv, *at, *at + len);
}

/**
 * shm_ring_put() - publish @len bytes if they are known to fit
 *
 * Return: whether they are published; if not, shm_ring_write() knows why.
 */
static inline bool shm_ring_put(struct shm_conn *c, const void *buf, size_t len)
{
	uint64_t at;

	if (__builtin_expect(!shm_ring_reserve(c, len, &at), 0))
		return false;
	shm_ring_copy_in(c, at, buf, len);
	shm_ring_publish(c);
	return true;
}

/**
 * shm_ring_write() - publish up to @len bytes
 *
 * Return: bytes written, 0 when the ring is full, -EPROTO on nonsense from the peer.
 */
static inline ssize_t shm_ring_write(struct shm_conn *c, const struct shm_ctl *peer,
				     const void *buf, size_t len)
{
	for (;;) {
		uint64_t at = atomic_load_explicit(&c->tx.resv, memory_order_relaxed);
		/* a handler on top of a write: what it interrupted goes on and publishes for both */
		bool nested = at != atomic_load_explicit(&c->ctl.tail, memory_order_relaxed);
		ssize_t room = shm_ring_room(c, peer, len < SHM_RING_PIECE ? len : SHM_RING_PIECE);
		size_t n = len < SHM_RING_PIECE ? len : SHM_RING_PIECE;

		if (__builtin_expect(room <= 0, 0))
			return room;
		if (n > (size_t)room)
			n = (size_t)room;
		if (__builtin_expect(!shm_commit(&c->tx.resv, at, at + n), 0))
			continue;
		shm_ring_copy_in(c, at, buf, n);
		if (!nested)
			shm_ring_publish(c);
		return (ssize_t)n;
	}
}

/**
 * shm_ring_grow() - give the connection a larger ring
 * @want: bytes the caller still has to write
 *
 * Return: true when there is room now; false while the reader has not crossed the last change, at the
 * largest size, or when the arena is full.
 */
bool shm_ring_grow(struct shm_arena *arena, struct shm_conn *c, const struct shm_ctl *peer,
		   size_t want, uint32_t tid);

/* After a write that found no room: whether the ring could be larger once the peer reads from it. In tx.seat. */
bool shm_ring_stuck(const struct shm_conn *c);

/* The first ring of a connection. Return: 0 or -ENOMEM. */
int shm_ring_open(struct shm_arena *arena, struct shm_conn *c, uint32_t tid);

/* Say, or take back, that the ring being filled ends at a border. In tx.seat. */
static inline void shm_ring_mark(struct shm_conn *c, bool ends)
{
	_Atomic uint32_t *word = &c->ctl.ring[c->tx.slot];
	uint32_t ref = atomic_load_explicit(word, memory_order_relaxed);

	ref = ends ? ref | SHM_RING_ENDS : ref & ~SHM_RING_ENDS;
	atomic_store_explicit(word, ref, memory_order_release);
}

/* Give the rings back. The peer must be done with them. */
void shm_ring_close(struct shm_arena *arena, struct shm_conn *c, uint32_t tid);

/* A contiguous run of published bytes in the peer's ring. */
struct shm_run {
	const char *ptr;
	size_t len;
};

/**
 * shm_ring_peek() - the first contiguous bytes at @head
 * @run: set when the answer is 1
 *
 * Return: 1, 0 when there is nothing, -EPROTO on nonsense from the peer.
 */
static inline int shm_ring_peek(const struct shm_view *peer, uint64_t head, struct shm_run *run)
{
	uint64_t tail = atomic_load_explicit(&peer->ctl->tail, memory_order_acquire);
	uint64_t b0, b1, limit, size, offset, pos;
	uint32_t ref;
	unsigned slot;

	if (tail == head)
		return 0;
	b0 = atomic_load_explicit(&peer->ctl->base[0], memory_order_relaxed);
	b1 = atomic_load_explicit(&peer->ctl->base[1], memory_order_relaxed);
	slot = b0 > head || (b1 <= head && b1 > b0);
	limit = slot ? b0 : b1;
	limit = limit > head && limit < tail ? limit : tail;
	ref = atomic_load_explicit(&peer->ctl->ring[slot], memory_order_relaxed);
	size = UINT64_C(1) << (shm_ring_log2(ref) & 31);
	offset = shm_ring_offset(ref);
	if (__builtin_expect(limit - head > size || shm_ring_log2(ref) > SHM_RING_LOG2_MAX ||
				     offset + size > peer->bytes,
			     0))
		return -EPROTO;
	pos = head & (size - 1);
	run->ptr = peer->base + offset + pos;
	run->len = limit - head < size - pos ? limit - head : size - pos;
	return 1;
}

static inline uint64_t shm_ring_pair(const _Atomic uint32_t *first)
{
	return __atomic_load_n((const uint64_t *)first, __ATOMIC_RELAXED);
}

/* Remember the ring that serves the bytes at @head, if there are some and no other ring is announced. */
static inline void shm_ring_learn(struct shm_conn *c, const struct shm_view *peer, uint64_t head)
{
	struct shm_run run;
	uint64_t b0, b1, mask;
	uint32_t ref;
	unsigned slot;

	c->rx.ring = NULL;
	c->rx.rings = shm_ring_pair(peer->ctl->ring); /* before they are looked at */
	if (shm_ring_peek(peer, head, &run) != 1)
		return;
	b0 = atomic_load_explicit(&peer->ctl->base[0], memory_order_relaxed);
	b1 = atomic_load_explicit(&peer->ctl->base[1], memory_order_relaxed);
	slot = b0 > head || (b1 <= head && b1 > b0);
	ref = atomic_load_explicit(&peer->ctl->ring[slot], memory_order_relaxed);
	mask = (UINT64_C(1) << (shm_ring_log2(ref) & 31)) - 1;
	/* the words may have changed since the run was checked: then they do not lead to it */
	if ((slot ? b0 : b1) > head && (slot ? b0 : b1) != UINT64_MAX)
		return;
	if (shm_ring_log2(ref) > SHM_RING_LOG2_MAX ||
	    shm_ring_offset(ref) + mask + 1 > peer->bytes ||
	    peer->base + shm_ring_offset(ref) + (head & mask) != run.ptr)
		return;
	c->rx.ring = peer->base + shm_ring_offset(ref);
	c->rx.mask = (uint32_t)mask;
}

/**
 * shm_ring_known() - bytes that can be read from the ring that the last look has found
 * @head: set to their offset
 *
 * Return: 0 when there are none, or shm_ring_learn() has to look first.
 */
static inline size_t shm_ring_known(const struct shm_conn *c, const struct shm_view *peer,
				    uint64_t *head)
{
	uint64_t n;

	*head = atomic_load_explicit(&c->ctl.head, memory_order_relaxed);
	n = atomic_load_explicit(&peer->ctl->tail, memory_order_acquire) - *head;
	return c->rx.ring && shm_ring_pair(peer->ctl->ring) == c->rx.rings &&
			       n <= (uint64_t)c->rx.mask + 1
		       ? n
		       : 0;
}

/* Copy @n known bytes at @at out of the ring, wrapping. */
static inline void shm_ring_copy_out(const struct shm_conn *c, uint64_t at, void *buf, size_t n)
{
	uint64_t pos = at & c->rx.mask;
	size_t first = (uint64_t)c->rx.mask + 1 - pos;

	if (__builtin_expect(n <= first, 1)) {
		memcpy(buf, c->rx.ring + pos, n);
		return;
	}
	memcpy(buf, c->rx.ring + pos, first);
	memcpy((char *)buf + first, c->rx.ring, n - first);
}

/**
 * shm_ring_get() - consume up to @len bytes if that is simple: the ring is known
 *
 * Return: bytes read; 0: none, or not simple.
 */
static inline size_t shm_ring_get(struct shm_conn *c, const struct shm_view *peer, void *buf,
				  size_t len)
{
	uint64_t head;
	size_t n = shm_ring_known(c, peer, &head);

	if (n > len)
		n = len;
	if (__builtin_expect(!n, 0))
		return 0;
	shm_ring_copy_out(c, head, buf, n);
	return shm_commit(&c->ctl.head, head, head + n) ? n : 0;
}

/**
 * shm_ring_read() - consume up to @len bytes
 *
 * Return: bytes read, 0 when the ring is empty, -EPROTO on nonsense from the peer.
 */
static inline ssize_t shm_ring_read(struct shm_conn *c, const struct shm_view *peer, void *buf,
				    size_t len)
{
	for (;;) {
		uint64_t head = atomic_load_explicit(&c->ctl.head, memory_order_relaxed);
		struct shm_run run;
		int found = shm_ring_peek(peer, head, &run);

		if (found <= 0)
			return found;
		if (run.len > len)
			run.len = len;
		memcpy(buf, run.ptr, run.len);
		/* release: the copy before the room; pairs with shm_ring_room() */
		if (__builtin_expect(shm_commit(&c->ctl.head, head, head + run.len), 1))
			return (ssize_t)run.len;
	}
}

#endif
