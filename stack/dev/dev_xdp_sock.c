/* dev_xdp_sock.c - an AF_XDP socket, its memory and its four rings */
#include "stack/dev/dev_xdp_sock.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "stack/base/base_sys.h"

#define HUGE_BYTES ((size_t)2 << 20)
#define KICKS_MAX  64 /* the kernel sends 32 packets a call; more than a ring holds */

static bool failed(const void *map)
{
	return (uintptr_t)map > (uintptr_t)-4096;
}

static void *map_new(size_t len, int flags, int fd, uint64_t offset)
{
	return (void *)sys(SYS_mmap, NULL, len, PROT_READ | PROT_WRITE, flags, fd, offset);
}

/* Not for children: the pages are the kernel's to write to. */
static int umem_map(struct xdp_sock *s)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;

	s->umem_len = (size_t)s->chunk_bytes * (s->rx_chunks + s->tx_chunks);
	s->umem_len = (s->umem_len + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
	s->umem = map_new(s->umem_len, flags | MAP_HUGETLB, -1, 0);
	s->huge = !failed(s->umem);
	if (failed(s->umem))
		s->umem = map_new(s->umem_len, flags, -1, 0);
	if (failed(s->umem)) {
		int rc = (int)(intptr_t)s->umem;

		s->umem = NULL;
		return rc;
	}
	sys(SYS_madvise, s->umem, s->umem_len, MADV_DONTFORK);
	return 0;
}

static int option(struct xdp_sock *s, int name, const void *value, size_t len)
{
	return (int)sys(SYS_setsockopt, s->fd, SOL_XDP, name, value, len);
}

static int umem_register(struct xdp_sock *s)
{
	struct xdp_umem_reg reg = {
		.addr = (uint64_t)(uintptr_t)s->umem,
		.len = (uint64_t)s->chunk_bytes * (s->rx_chunks + s->tx_chunks),
		.chunk_size = s->chunk_bytes,
	};

	return option(s, XDP_UMEM_REG, &reg, sizeof(reg));
}

static int ring_map(struct xdp_sock *s, struct xdp_ring *r, const struct xdp_ring_offset *off,
		    uint64_t page, size_t entry)
{
	char *map;

	r->map_len = off->desc + r->size * entry;
	map = map_new(r->map_len, MAP_SHARED | MAP_POPULATE, s->fd, page);
	if (failed(map))
		return (int)(intptr_t)map;
	r->map = map;
	r->producer = (uint32_t *)(map + off->producer);
	r->consumer = (uint32_t *)(map + off->consumer);
	r->flags = (uint32_t *)(map + off->flags);
	r->entries = map + off->desc;
	sys(SYS_madvise, map, r->map_len, MADV_DONTFORK);
	return 0;
}

static int rings_map(struct xdp_sock *s)
{
	struct xdp_mmap_offsets off;
	socklen_t len = sizeof(off);
	int rc;

	s->fill.size = s->rx.size = s->rx_chunks;
	s->done.size = s->tx.size = s->tx_chunks;
	rc = option(s, XDP_UMEM_FILL_RING, &s->fill.size, sizeof(s->fill.size));
	rc = rc ? rc : option(s, XDP_UMEM_COMPLETION_RING, &s->done.size, sizeof(s->done.size));
	rc = rc ? rc : option(s, XDP_RX_RING, &s->rx.size, sizeof(s->rx.size));
	rc = rc ? rc : option(s, XDP_TX_RING, &s->tx.size, sizeof(s->tx.size));
	if (rc)
		return rc;
	rc = (int)sys(SYS_getsockopt, s->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len);
	if (rc || len != sizeof(off))
		return rc ? rc : -EPROTO;
	rc = ring_map(s, &s->fill, &off.fr, XDP_UMEM_PGOFF_FILL_RING, sizeof(uint64_t));
	if (!rc)
		rc = ring_map(s, &s->done, &off.cr, XDP_UMEM_PGOFF_COMPLETION_RING,
			      sizeof(uint64_t));
	if (!rc)
		rc = ring_map(s, &s->rx, &off.rx, XDP_PGOFF_RX_RING, sizeof(struct xdp_desc));
	if (!rc)
		rc = ring_map(s, &s->tx, &off.tx, XDP_PGOFF_TX_RING, sizeof(struct xdp_desc));
	return rc;
}

int xdp_sock_open(struct xdp_sock *s, const char **step)
{
	int rc;

	*step = "map memory for packets";
	rc = umem_map(s);
	if (!rc) {
		*step = "register memory for packets (ulimit -l?)";
		rc = umem_register(s);
	}
	if (!rc) {
		*step = "make the rings";
		rc = rings_map(s);
	}
	if (rc)
		xdp_sock_close(s);
	return rc;
}

int xdp_sock_bind(struct xdp_sock *s, uint32_t ifindex, uint32_t queue)
{
	struct sockaddr_xdp to = {
		.sxdp_family = AF_XDP,
		.sxdp_flags =
			XDP_USE_NEED_WAKEUP, /* neither copy nor zero-copy: the best there is */
		.sxdp_ifindex = ifindex,
		.sxdp_queue_id = queue,
	};

	return (int)sys(SYS_bind, s->fd, &to, sizeof(to));
}

static void ring_unmap(struct xdp_ring *r)
{
	if (r->map)
		sys(SYS_munmap, r->map, r->map_len);
	r->map = NULL;
}

void xdp_sock_close(struct xdp_sock *s)
{
	if (s->fd >= 0)
		sys(SYS_close, s->fd);
	s->fd = -1;
	ring_unmap(&s->rx);
	ring_unmap(&s->tx);
	ring_unmap(&s->fill);
	ring_unmap(&s->done);
	if (s->umem)
		sys(SYS_munmap, s->umem, s->umem_len);
	s->umem = NULL;
}

bool xdp_sock_kick(struct xdp_sock *s)
{
	for (int i = 0; i < KICKS_MAX; i++) {
		long rc;

		if (!xdp_ring_wants(&s->tx))
			return true;
		rc = sys(SYS_sendto, s->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
		if (rc != -EAGAIN)
			break;
	}
	return __atomic_load_n(s->tx.consumer, __ATOMIC_ACQUIRE) == s->tx.mine;
}
