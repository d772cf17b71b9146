/* tool_stats.c - what a process publishes of its connections, read with suspicion
 *
 * Theory of operation: a table is copied whole as far as it is used. For a lifted direction the bytes since
 * the lift stand in the connection's block in the arena; row, block and row again are read until both copies
 * of the row agree, a few times at most: a row that keeps changing is shown as last seen. A process asks for
 * a socket's cookie only when it may be lifted; until then its row is told by the descriptor.
 */
#include "daemon/tool/tool_stats.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "shm/contract.h"
#include "shm/stats.h"

#define TRIES     3
#define ROWS_MAX  (1u << 19) /* of a process: eight whole tables */
#define READS_MAX (1u << 22) /* of arenas: a process can name a thousand in each of its rows */
#define BYTES_MAX (UINT64_C(1) << 60) /* more than a connection ever carried */

/* The arenas of a process, open. */
struct arena {
	int fd;
	uint32_t pid;
};

struct reader {
	const struct tool_proc *proc;
	struct tool_rows *rows;
	struct arena *arenas;
	unsigned arenas_count;
	unsigned reads; /* of arenas, so far */
};

static bool read_at(int fd, uint64_t off, void *out, size_t size)
{
	return off < BYTES_MAX && pread(fd, out, size, (off_t)off) == (ssize_t)size;
}

static void arenas_open(struct reader *r)
{
	for (unsigned i = 0; i < r->proc->arenas_count; i++) {
		struct shm_head head;
		int fd = tool_proc_memfd_open(r->proc->pid, &r->proc->arenas[i], false);

		if (fd < 0)
			continue;
		if (!read_at(fd, 0, &head, sizeof(head)) || head.magic != SHM_MAGIC ||
		    head.version != SHM_VERSION) {
			close(fd);
			continue;
		}
		r->arenas = tool_grow(r->arenas, r->arenas_count, sizeof(*r->arenas));
		r->arenas[r->arenas_count++] = (struct arena){ fd, head.pid };
	}
}

static void arenas_close(struct reader *r)
{
	for (unsigned i = 0; i < r->arenas_count; i++)
		close(r->arenas[i].fd);
	free(r->arenas);
}

/* The block that belongs to a row, told by the socket's cookie in it. */
static bool block_read(struct reader *r, const struct stats_row *row, struct shm_ctl *ctl)
{
	for (unsigned i = 0; i < r->arenas_count; i++)
		if (r->arenas[i].pid == row->pid && r->reads++ < READS_MAX &&
		    read_at(r->arenas[i].fd, (uint64_t)row->conn * SHM_CONN_UNIT, ctl,
			    sizeof(*ctl)) &&
		    ctl->cookie == row->cookie)
			return true;
	return false;
}

static uint64_t span(uint64_t from, uint64_t to)
{
	return to >= from && to - from < BYTES_MAX ? to - from : 0;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a < BYTES_MAX ? a + b : b;
}

static bool same_spans(const struct stats_row *a, const struct stats_row *b)
{
	return a->cookie == b->cookie && a->tx_path == b->tx_path && a->rx_path == b->rx_path &&
	       a->tx_off == b->tx_off && a->rx_off == b->rx_off && a->tx_shm == b->tx_shm &&
	       a->rx_shm == b->rx_shm && a->conn == b->conn;
}

static void bytes_count(struct reader *r, int fd, uint64_t at, struct stats_row *row,
			struct tool_row *out)
{
	struct stats_row again;
	struct shm_ctl ctl;

	for (int i = 0; i < TRIES; i++) {
		bool block;

		if (row->tx_path == STATS_PATH_STACK)
			return;
		block = (row->tx_path || row->rx_path) && block_read(r, row, &ctl);

		out->tx_shm = sum(row->tx_shm,
				  block && row->tx_path ? span(row->tx_off, ctl.tail) : 0);
		out->rx_shm = sum(row->rx_shm,
				  block && row->rx_path ? span(row->rx_off, ctl.head) : 0);
		if (!read_at(fd, at, &again, sizeof(again)) || same_spans(row, &again))
			return;
		*row = again;
	}
}

static void ends_take(const struct stats_row *row, struct tool_row *out)
{
	out->tx_stack = row->tx_off;
	out->rx_stack = row->rx_off;
	memcpy(out->local, row->local, sizeof(out->local));
	memcpy(out->remote, row->remote, sizeof(out->remote));
	out->lport = (uint16_t)row->ports;
	out->rport = (uint16_t)(row->ports >> 16);
}

/* One record of a writer that may be at it. Return: false: it never was written, or never holds still. */
static bool turn_read(int fd, uint64_t at, void *record, size_t size, const _Atomic uint32_t *turn)
{
	for (int i = 0; i < TRIES; i++) {
		uint32_t again;

		if (!read_at(fd, at, record, size) || !*turn)
			return false;
		if (!(*turn & 1) &&
		    read_at(fd, at + (uint64_t)((const char *)turn - (const char *)record), &again,
			    sizeof(again)) &&
		    again == *turn)
			return true;
	}
	return false;
}

static void tcp_take(int fd, uint32_t index, struct tool_row *out)
{
	struct stats_tcp t;

	if (!turn_read(fd, STATS_TCP_AT + (uint64_t)index * sizeof(t), &t, sizeof(t), &t.turn))
		return;
	out->info_bytes = t.info_bytes < sizeof(t.info) ? t.info_bytes : sizeof(t.info);
	if (out->info_bytes > sizeof(out->info))
		out->info_bytes = sizeof(out->info);
	memcpy(&out->info, t.info, out->info_bytes);
	out->rqueue = t.rqueue;
	out->wqueue = t.wqueue;
	memcpy(out->cong, t.cong, sizeof(out->cong) - 1);
	tool_clean(out->cong);
}

static void row_take(struct reader *r, int fd, uint32_t index, struct stats_row *row, bool foreign)
{
	uint64_t at = sizeof(struct stats_head) + (uint64_t)index * sizeof(*row);
	struct tool_row out;

	/* an inherited row counts while the process that made it and this one both hold the socket */
	if (!row->refs || (foreign && row->refs < 2 && !row->cookie))
		return;
	memset(&out, 0, sizeof(out));
	bytes_count(r, fd, at, row, &out);
	out.cookie = row->cookie;
	out.fd = row->cookie ? 0 : row->fd;
	out.foreign = foreign;
	out.reason = row->reason;
	out.accepted = row->role == STATS_ACCEPT;
	out.stack = row->tx_path == STATS_PATH_STACK;
	out.tx_lifted = row->tx_path && !out.stack;
	out.rx_lifted = row->rx_path && !out.stack;
	if (out.stack) {
		ends_take(row, &out);
		tcp_take(fd, index, &out);
	}
	out.ops = row->ops;
	out.lifts = out.stack ? 0 : row->lifts;
	out.lowers = out.stack ? 0 : row->lowers;
	r->rows->row = tool_grow(r->rows->row, r->rows->count, sizeof(out));
	r->rows->row[r->rows->count++] = out;
}

static void table_take(struct reader *r, int fd)
{
	static struct stats_row chunk[256];
	struct stats_head head;
	uint32_t used;

	if (!read_at(fd, 0, &head, sizeof(head)) || head.magic != STATS_MAGIC ||
	    head.version != STATS_VERSION)
		return;
	used = head.used < STATS_ROWS ? head.used : STATS_ROWS;
	for (uint32_t i = 0; i < used; i += 256) {
		uint32_t n = used - i < 256 ? used - i : 256;
		uint64_t at = sizeof(head) + (uint64_t)i * sizeof(chunk[0]);

		if (!read_at(fd, at, chunk, n * sizeof(chunk[0])))
			return;
		for (uint32_t k = 0; k < n; k++)
			row_take(r, fd, i + k, &chunk[k], head.pid != (uint32_t)r->proc->own_pid);
	}
}

static int compare(const void *a, const void *b)
{
	const struct tool_row *x = a;
	const struct tool_row *y = b;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	if (x->fd != y->fd)
		return x->fd < y->fd ? -1 : 1;
	return x->foreign - y->foreign;
}

void tool_rows_read(struct tool_rows *rows, const struct tool_proc *p)
{
	struct reader r = { .proc = p, .rows = rows };

	*rows = (struct tool_rows){ 0 };
	arenas_open(&r);
	for (unsigned i = 0; i < p->tables_count && rows->count < ROWS_MAX; i++) {
		int fd = tool_proc_memfd_open(p->pid, &p->tables[i], false);

		if (fd < 0)
			continue;
		table_take(&r, fd);
		close(fd);
	}
	arenas_close(&r);
	if (rows->count >= ROWS_MAX || r.reads > READS_MAX)
		tool_say("process %d publishes more than is read", p->pid);
	if (rows->count)
		qsort(rows->row, rows->count, sizeof(*rows->row), compare);
}

/* Its words are shown to people, and its numbers used. Return: whether there is a stack in it. */
static bool net_mend(struct stats_net *n)
{
	n->name[sizeof(n->name) - 1] = n->device[sizeof(n->device) - 1] = '\0';
	tool_clean(n->name);
	tool_clean(n->device);
	if (n->counters > STATS_COUNTERS)
		n->counters = STATS_COUNTERS;
	if (n->neighs > STATS_NEIGHS)
		n->neighs = STATS_NEIGHS;
	for (uint32_t i = 0; i < n->neighs; i++) {
		n->neigh[i].state[sizeof(n->neigh[i].state) - 1] = '\0';
		tool_clean(n->neigh[i].state);
	}
	return n->open;
}

static void nets_take(int fd, uint32_t pid, struct stats_net **nets, unsigned *count)
{
	struct stats_head head;
	struct stats_net n;

	if (!read_at(fd, 0, &head, sizeof(head)) || head.magic != STATS_MAGIC ||
	    head.version != STATS_VERSION || head.pid != pid)
		return;
	for (uint32_t i = 0; i < STATS_NETS; i++) {
		if (!turn_read(fd, STATS_NET_AT + i * sizeof(n), &n, sizeof(n), &n.turn) ||
		    !net_mend(&n))
			continue;
		*nets = tool_grow(*nets, *count, sizeof(n));
		(*nets)[(*count)++] = n;
	}
}

unsigned tool_nets_read(struct stats_net **nets, const struct tool_proc *p)
{
	unsigned count = 0;

	*nets = NULL;
	for (unsigned i = 0; i < p->tables_count; i++) {
		int fd = tool_proc_memfd_open(p->pid, &p->tables[i], false);

		if (fd < 0)
			continue;
		nets_take(fd, (uint32_t)p->own_pid, nets, &count);
		close(fd);
	}
	return count;
}

void tool_rows_free(struct tool_rows *rows)
{
	free(rows->row);
}

const struct tool_row *tool_rows_find(const struct tool_rows *rows, uint64_t cookie, int fd)
{
	const struct tool_row keys[] = {
		{ .cookie = cookie },
		{ .cookie = cookie, .foreign = true },
		{ .fd = fd },
		{ .fd = fd, .foreign = true },
	};
	const struct tool_row *found = NULL;

	for (unsigned i = 0; rows->count && !found && i < sizeof(keys) / sizeof(keys[0]); i++)
		found = bsearch(&keys[i], rows->row, rows->count, sizeof(keys[0]), compare);
	return found;
}
