/* shm_arena.c - making, mapping and sharing out an arena */
#include "shm/shm_arena.h"

#include "shm/shm_conn.h"
#include "shm/shm_fd.h"
#include "shm/shm_lock.h"
#include "shm/shm_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Address space, not memory: pages come as they are touched. Tried in this order. */
static const uint64_t arena_sizes[] = { UINT64_C(1) << 30, UINT64_C(1) << 27, UINT64_C(1) << 24 };

enum {
	ARENA_SIZES = sizeof(arena_sizes) / sizeof(arena_sizes[0]),
	ARENA_SEALS = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL,
	ARENA_SEALS_PEER = F_SEAL_SHRINK,
	/* Where a free block has the next one: of no use to a peer, or to a thread that is late in leaving. */
	CONN_LINK = offsetof(struct shm_conn, tx.recall),
};

static void head_init(struct shm_head *head, uint64_t bytes)
{
	head->magic = SHM_MAGIC;
	head->version = SHM_VERSION;
	head->pid = (uint32_t)sys(SYS_getpid);
	head->bytes = bytes;
	head->pool.bump = (sizeof(*head) + SHM_RING_UNIT - 1) / SHM_RING_UNIT * SHM_RING_UNIT;
	head->pool.bell_used[0] = 1;                                  /* 0 means none */
	head->pool.bell_used[SHM_BELLS / 64 - 1] = UINT64_C(1) << 63; /* 0xff means all */
}

static int arena_map(int fd, uint64_t bytes, struct shm_head **head)
{
	long addr;
	long err = shm_fd_size(fd, bytes);

	if (err < 0)
		return (int)err;
	addr = shm_fd_map(fd, bytes, PROT_READ | PROT_WRITE);
	if (addr < 0 && addr > -4096)
		return (int)addr;
	*head = (struct shm_head *)addr;
	return 0;
}

int shm_arena_prepare(void)
{
	return (int)sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
}

int shm_arena_make(struct shm_arena *arena)
{
	struct shm_head *head = NULL;
	uint64_t bytes = 0;
	long fd, err;

	err = shm_arena_prepare();
	if (err < 0)
		return (int)err;
	fd = sys(SYS_memfd_create, "ztcp-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fd = shm_fd_hide((int)fd);
	if (fd < 0)
		return (int)fd;
	for (unsigned i = 0; i < ARENA_SIZES; i++) {
		bytes = arena_sizes[i];
		err = arena_map((int)fd, bytes, &head);
		if (err == 0)
			break;
	}
	if (err == 0) {
		err = sys(SYS_fcntl, fd, F_ADD_SEALS, ARENA_SEALS);
		if (err < 0)
			sys(SYS_munmap, head, bytes);
	}
	if (err < 0) {
		shm_fd_close((int)fd);
		return (int)err;
	}
	head_init(head, bytes);
	*arena = (struct shm_arena){ .head = head, .bytes = bytes, .fd = (int)fd };
	return 0;
}

int shm_arena_map_peer(int fd, uint64_t bytes, const struct shm_head **head)
{
	struct stat st;
	const struct shm_head *h;
	long seals = sys(SYS_fcntl, fd, F_GET_SEALS);
	struct statfs fs;
	long addr;

	if (seals < 0 || (seals & ARENA_SEALS_PEER) != ARENA_SEALS_PEER)
		return -EPROTO;
	/* huge pages may be missing when they are touched */
	if (sys(SYS_fstatfs, fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		return -EPROTO;
	if (sys(SYS_fstat, fd, &st) < 0 || st.st_size < 0 || (uint64_t)st.st_size != bytes ||
	    bytes < sizeof(*h) || bytes > arena_sizes[0])
		return -EPROTO;
	addr = shm_fd_map(fd, bytes, PROT_READ);
	if (addr < 0 && addr > -4096)
		return (int)addr;
	h = (const struct shm_head *)addr;
	if (h->magic != SHM_MAGIC || h->version != SHM_VERSION) {
		sys(SYS_munmap, addr, bytes);
		return -EPROTO;
	}
	*head = h;
	return 0;
}

void shm_arena_unmap_peer(const struct shm_head *head, uint64_t bytes)
{
	sys(SYS_munmap, head, bytes);
}

bool shm_arena_drop_peer(const struct shm_head *head, uint64_t bytes)
{
	return sys(SYS_mmap, head, bytes, PROT_READ,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == (long)head;
}

/* Bytes never handed out before; 0 when the arena is full. Under the pool's lock. */
static uint64_t pool_bump(struct shm_arena *arena, uint64_t bytes, uint64_t align)
{
	struct shm_pool *pool = &arena->head->pool;
	uint64_t at = (pool->bump + align - 1) / align * align;

	if (at + bytes > arena->bytes)
		return 0;
	pool->bump = at + bytes;
	return at;
}

static char *arena_at(struct shm_arena *arena, uint64_t offset)
{
	return (char *)arena->head + offset;
}

struct shm_conn *shm_arena_conn_alloc(struct shm_arena *arena, uint32_t tid)
{
	struct shm_pool *pool = &arena->head->pool;
	bool taken = shm_lock(&pool->lock, tid);
	uint64_t at = (uint64_t)pool->conn_free * SHM_LINE;
	struct shm_conn *conn;

	if (at)
		memcpy(&pool->conn_free, arena_at(arena, at + CONN_LINK), 4);
	else
		at = pool_bump(arena, sizeof(*conn), SHM_LINE);
	shm_unlock(&pool->lock, taken);
	if (!at)
		return NULL;
	conn = (struct shm_conn *)arena_at(arena, at);
	memset(conn, 0, sizeof(*conn));
	return conn;
}

void shm_arena_conn_free(struct shm_arena *arena, struct shm_conn *conn, uint32_t tid)
{
	struct shm_pool *pool = &arena->head->pool;
	uint64_t at = (uint64_t)((char *)conn - (char *)arena->head);
	bool taken = shm_lock(&pool->lock, tid);

	memcpy((char *)conn + CONN_LINK, &pool->conn_free, 4);
	pool->conn_free = (uint32_t)(at / SHM_LINE);
	shm_unlock(&pool->lock, taken);
}

uint32_t shm_arena_ring_alloc(struct shm_arena *arena, unsigned log2, uint32_t tid)
{
	struct shm_pool *pool = &arena->head->pool;
	bool taken = shm_lock(&pool->lock, tid);
	uint64_t at = (uint64_t)pool->ring_free[log2] * SHM_RING_UNIT;

	if (at)
		memcpy(&pool->ring_free[log2], arena_at(arena, at), 4);
	else
		at = pool_bump(arena, UINT64_C(1) << log2, SHM_RING_UNIT);
	shm_unlock(&pool->lock, taken);
	return at ? shm_ring_ref(at, log2) : 0;
}

void shm_arena_ring_free(struct shm_arena *arena, uint32_t ref, uint32_t tid)
{
	struct shm_pool *pool = &arena->head->pool;
	uint64_t at = shm_ring_offset(ref);
	unsigned log2 = shm_ring_log2(ref);
	bool taken;

	if (!ref)
		return;
	taken = shm_lock(&pool->lock, tid);
	memcpy(arena_at(arena, at), &pool->ring_free[log2], 4);
	pool->ring_free[log2] = (uint32_t)(at / SHM_RING_UNIT);
	shm_unlock(&pool->lock, taken);
}

unsigned shm_arena_bell_alloc(struct shm_arena *arena, uint32_t tid)
{
	struct shm_pool *pool = &arena->head->pool;
	bool taken = shm_lock(&pool->lock, tid);
	unsigned bell = 0;

	for (unsigned w = 0; w < SHM_BELLS / 64 && !bell; w++) {
		uint64_t used = pool->bell_used[w];

		if (~used) {
			bell = w * 64 + (unsigned)__builtin_ctzll(~used);
			pool->bell_used[w] |= UINT64_C(1) << bell % 64;
		}
	}
	shm_unlock(&pool->lock, taken);
	return bell;
}
