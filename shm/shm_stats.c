/* shm_stats.c - the table of connections that a process publishes */
#include "shm/stats.h"

#include "shm/shm_fd.h"
#include "shm/shm_lock.h"
#include "shm/shm_sys.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>

struct stats_head *stats_make(void)
{
	const uint64_t bytes = sizeof(struct stats_head) + STATS_ROWS * sizeof(struct stats_row);
	int fd = shm_fd_hide(
		(int)sys(SYS_memfd_create, "ztcp-stats", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	struct stats_head *table;
	long addr;

	if (fd < 0)
		return NULL;
	if (shm_fd_size(fd, bytes) < 0)
		goto fail;
	addr = sys(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (addr < 0 && addr > -4096)
		goto fail;
	/* the kernel lets root and this user open it for writing through /proc: seal that too */
	sys(SYS_fcntl, fd, F_ADD_SEALS,
	    F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	table = (struct stats_head *)addr;
	table->magic = STATS_MAGIC;
	table->version = STATS_VERSION;
	table->pid = (uint32_t)sys(SYS_getpid);
	table->rows = STATS_ROWS;
	return table;
fail:
	shm_fd_close(fd);
	return NULL;
}

static struct stats_row *row_find(struct stats_head *t)
{
	uint32_t used = atomic_load_explicit(&t->used, memory_order_relaxed);

	for (uint32_t n = 0; n < used; n++) {
		uint32_t i = (t->free_hint + n) % used;

		if (atomic_load_explicit(&t->row[i].refs, memory_order_relaxed) == 0) {
			t->free_hint = i + 1;
			return &t->row[i];
		}
		/* a full table is not searched from end to end for each connection */
		if (n == 64 && used < STATS_ROWS)
			break;
	}
	if (used == STATS_ROWS)
		return NULL;
	t->free_hint = 0;
	atomic_store_explicit(&t->used, used + 1, memory_order_release);
	return &t->row[used];
}

struct stats_row *stats_row_alloc(struct stats_head *table, uint32_t tid)
{
	bool taken = shm_lock(&table->lock, tid);
	struct stats_row *row = row_find(table);

	if (row) {
		memset(row, 0, sizeof(*row));
		atomic_store_explicit(&row->refs, 1, memory_order_release);
	}
	shm_unlock(&table->lock, taken);
	return row;
}
