/* shm_stats.c - the table of connections that a process publishes */
#include "shm/stats.h"

#include "shm/shm_fd.h"
#include "shm/shm_sys.h"
#include "shm/shm_word.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>

struct stats_head *stats_make(void)
{
	const uint64_t bytes = STATS_END_AT;
	int fd = shm_fd_hide(
		(int)sys(SYS_memfd_create, "ztcp-stats", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	struct stats_head *table;
	long addr;

	if (fd < 0)
		return NULL;
	if (shm_fd_size(fd, bytes) < 0)
		goto fail;
	addr = shm_fd_map(fd, bytes, PROT_READ | PROT_WRITE);
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

static bool row_claim(struct stats_row *row)
{
	uint32_t free = 0;

	return atomic_load_explicit(&row->refs, memory_order_relaxed) == 0 &&
	       atomic_compare_exchange_strong(&row->refs, &free, 1);
}

/* No lock: a handler may come in between, and processes share the table. */
static struct stats_row *row_find(struct stats_head *t)
{
	uint32_t used = atomic_load_explicit(&t->used, memory_order_relaxed);
	uint32_t first = SHM_READ(t->free_hint);

	for (uint32_t n = 0; n < used; n++) {
		uint32_t i = (first + n) % used;

		if (row_claim(&t->row[i])) {
			SHM_WRITE(t->free_hint, i + 1);
			return &t->row[i];
		}
		/* a full table is not searched from end to end for each connection */
		if (n == 64 && used < STATS_ROWS)
			break;
	}
	SHM_WRITE(t->free_hint, 0);
	while (used < STATS_ROWS) {
		if (atomic_compare_exchange_strong(&t->used, &used, used + 1) &&
		    row_claim(&t->row[used]))
			return &t->row[used];
	}
	return NULL;
}

struct stats_row *stats_row_alloc(struct stats_head *table)
{
	struct stats_row *row = row_find(table);

	if (row)
		memset((char *)row + sizeof(row->refs), 0, sizeof(*row) - sizeof(row->refs));
	return row;
}
