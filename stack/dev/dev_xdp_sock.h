/* dev_xdp_sock.h - an AF_XDP socket, its memory and its four rings; for dev_xdp.c alone
 *
 * What it does: set-up by bare system calls, and the ring operations. One thread drives all four
 * rings. Memory: xdp_sock_open() maps, xdp_sock_close() unmaps.
 */
#ifndef ZTCP_DEV_XDP_SOCK_H
#define ZTCP_DEV_XDP_SOCK_H

#include <linux/if_xdp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One ring, shared with the kernel: one side moves producer, the other consumer. */
struct xdp_ring {
	uint32_t *producer, *consumer, *flags;
	void *entries;   /* struct xdp_desc (rx, tx) or uint64_t (fill, done) */
	uint32_t mine;   /* our own index, not published yet */
	uint32_t theirs; /* the kernel's, as last seen */
	uint32_t size;
	void *map;
	size_t map_len;
};

struct xdp_sock {
	int fd;
	uint32_t chunk_bytes, rx_chunks, tx_chunks; /* of the UMEM: first those for receiving */
	uint8_t *umem;
	size_t umem_len;
	bool huge;
	struct xdp_ring rx, tx, fill, done;
};

/**
 * xdp_sock_open() - a socket with its rings, bound to nothing yet
 * @s: fd, chunk_bytes, rx_chunks and tx_chunks are set; the rest is filled; closed on failure, too
 *
 * Return: 0 or -errno, and *@step says what failed.
 */
int xdp_sock_open(struct xdp_sock *s, const char **step);

/** xdp_sock_bind() - to a queue: in driver mode without copies where the driver can. Return: 0 or -errno. */
int xdp_sock_bind(struct xdp_sock *s, uint32_t ifindex, uint32_t queue);

/** xdp_sock_close() - the kernel stops to use the memory first. */
void xdp_sock_close(struct xdp_sock *s);

/** xdp_sock_kick() - make the kernel send what is in the tx ring. Return: false when some is left. */
bool xdp_sock_kick(struct xdp_sock *s);

/** xdp_ring_wants() - Return: true when the kernel wants to be called. */
static inline bool xdp_ring_wants(const struct xdp_ring *r)
{
	return __atomic_load_n(r->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP;
}

/** xdp_ring_room() - entries that a ring we fill has room for */
static inline uint32_t xdp_ring_room(struct xdp_ring *r, uint32_t want)
{
	uint32_t room = r->size - (r->mine - r->theirs);

	if (room >= want)
		return room;
	r->theirs = __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE);
	return r->size - (r->mine - r->theirs);
}

/** xdp_ring_filled() - entries that a ring we empty holds */
static inline uint32_t xdp_ring_filled(struct xdp_ring *r)
{
	if (r->theirs == r->mine)
		r->theirs = __atomic_load_n(r->producer, __ATOMIC_ACQUIRE);
	return r->theirs - r->mine;
}

/** xdp_ring_produced() - publish what was written up to r->mine */
static inline void xdp_ring_produced(struct xdp_ring *r)
{
	__atomic_store_n(r->producer, r->mine, __ATOMIC_RELEASE);
}

/** xdp_ring_consumed() - give back what was read up to r->mine */
static inline void xdp_ring_consumed(struct xdp_ring *r)
{
	__atomic_store_n(r->consumer, r->mine, __ATOMIC_RELEASE);
}

static inline struct xdp_desc *xdp_ring_desc(const struct xdp_ring *r, uint32_t at)
{
	return (struct xdp_desc *)r->entries + (at & (r->size - 1));
}

static inline uint64_t *xdp_ring_addr(const struct xdp_ring *r, uint32_t at)
{
	return (uint64_t *)r->entries + (at & (r->size - 1));
}

#endif
