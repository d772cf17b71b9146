/* tool_stats_fuzz.c - any bytes as a published table and as an arena
 *
 * The first byte is the share of the input that is the table; the rest is the arena. Both are memfds of this
 * very process, as long as the input and no longer. What must hold: rows are sorted, found again, and carry
 * no count that a connection cannot have.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/tool/tool_stats.h"
#include "shm/contract.h"
#include "shm/stats.h"

#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tool_fd memory(const char *name)
{
	struct stat st;
	int fd = memfd_create(name, MFD_CLOEXEC);

	MUST(fd >= 0 && !fstat(fd, &st));
	return (struct tool_fd){ fd, st.st_ino };
}

static void fill(int fd, const uint8_t *data, size_t size)
{
	MUST(!ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tool_fd table, arena;
	struct tool_rows rows;
	struct tool_proc p = { .pid = getpid(), .own_pid = 1 };
	size_t cut;

	if (!table.inode) {
		table = memory("ztcp-stats");
		arena = memory("ztcp-arena");
	}
	if (!size)
		return 0;
	cut = (size - 1) * data[0] / 255;
	fill(table.fd, data + 1, cut);
	fill(arena.fd, data + 1 + cut, size - 1 - cut);
	p.tables = &table;
	p.arenas = &arena;
	p.tables_count = p.arenas_count = 1;
	tool_rows_read(&rows, &p);
	for (unsigned i = 0; i < rows.count; i++) {
		const struct tool_row *r = &rows.row[i];

		MUST(!i || r[-1].cookie <= r->cookie);
		MUST(tool_rows_find(&rows, r->cookie, r->fd));
		MUST(r->tx_shm < UINT64_C(1) << 62 && r->rx_shm < UINT64_C(1) << 62);
	}
	MUST(rows.count <= size / sizeof(struct stats_row));
	tool_rows_free(&rows);
	return 0;
}
