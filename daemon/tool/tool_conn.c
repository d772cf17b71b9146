/* tool_conn.c - connections: the kernel's socket, the processes that hold it, and what they publish of it */
#include "daemon/tool/tool_conn.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_json.h"
#include "stack/base/base_reason.h"

#define NO_COOKIE         UINT64_MAX /* a row that is told by its descriptor */
#define STATE_ESTABLISHED 1

static int procs_read(struct tool_view *v, const int *pids, unsigned count)
{
	if (!pids) {
		v->procs_count = tool_proc_list(&v->procs);
		if (v->procs_count < 0) {
			tool_say("/proc: %s", strerror(-v->procs_count));
			return v->procs_count;
		}
		return 0;
	}
	for (unsigned i = 0; i < count; i++) {
		struct tool_proc p;
		int rc = tool_proc_named(&p, pids[i]);

		if (rc)
			return rc;
		v->procs = tool_grow(v->procs, (size_t)v->procs_count, sizeof(p));
		v->procs[v->procs_count++] = p;
	}
	return 0;
}

/* Ask each network namespace once, through the first process found in it. */
static int diags_read(struct tool_view *v)
{
	struct stat own;
	int rc;

	if (stat("/proc/self/ns/net", &own))
		own.st_ino = 0;
	for (int i = 0; i < v->procs_count; i++) {
		uint64_t ino = v->procs[i].netns_ino;
		bool seen = false;

		for (int k = 0; k < i; k++)
			seen |= v->procs[k].netns_ino == ino;
		if (seen)
			continue;
		rc = tool_diag_add(&v->diags, &v->diags_count, ino,
				   ino == own.st_ino ? 0 : v->procs[i].pid);
		if (rc && ino == own.st_ino) {
			tool_say("inet_diag: %s", strerror(-rc));
			return rc;
		}
		if (rc)
			v->unseen_netns++;
	}
	tool_diag_sort(v->diags, v->diags_count);
	return 0;
}

/* An end of a connection that the kernel does not know. Return: its family. */
static uint8_t end_take(uint8_t out[16], const uint8_t ip[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool four = memcmp(ip, mapped, sizeof(mapped)) == 0;

	memset(out, 0, 16);
	memcpy(out, ip + (four ? 12 : 0), four ? 4 : 16);
	return four ? AF_INET : AF_INET6;
}

/*
 * A connection of a stack, as its process tells it: to the kernel its socket is not connected. Of one that is, the kernel's word
 * holds. @known: so many of the sockets are the kernel's, sorted.
 */
static void stack_add(struct tool_view *v, unsigned known, const struct tool_proc *p,
		      uint64_t inode, const struct tool_row *row)
{
	const struct tool_diag *of_kernel;
	struct tool_diag d = { .cookie = NO_COOKIE,
			       .netns_ino = p->netns_ino,
			       .inode = (uint32_t)inode,
			       .sport = row->lport,
			       .dport = row->rport,
			       .state = STATE_ESTABLISHED };

	if (row->info_bytes) {
		d.state = row->info.tcpi_state;
		d.rqueue = row->rqueue;
		d.wqueue = row->wqueue;
		d.info = row->info;
		d.info_bytes = row->info_bytes;
		memcpy(d.cong, row->cong, sizeof(d.cong));
	}
	d.family = end_take(d.src, row->local);
	end_take(d.dst, row->remote);
	of_kernel = tool_diag_find(v->diags, known, d.netns_ino, d.inode);
	if (of_kernel) {
		if (!of_kernel->dport)
			v->diags[of_kernel - v->diags] = d;
		return;
	}
	v->diags = tool_grow(v->diags, v->diags_count, sizeof(d));
	v->diags[v->diags_count++] = d;
}

/* Sockets that several processes, or several descriptors, told of are kept once. */
static void diags_unite(struct tool_view *v)
{
	unsigned kept = 0;

	tool_diag_sort(v->diags, v->diags_count);
	for (unsigned i = 0; i < v->diags_count; i++) {
		const struct tool_diag *d = &v->diags[i];

		if (kept && d->inode && d->inode == v->diags[kept - 1].inode &&
		    d->netns_ino == v->diags[kept - 1].netns_ino)
			continue;
		v->diags[kept++] = *d;
	}
	v->diags_count = kept;
}

static void stacks_read(struct tool_view *v)
{
	unsigned known = v->diags_count;

	for (int k = 0; k < v->procs_count; k++) {
		const struct tool_proc *p = &v->procs[k];
		struct tool_rows rows;

		tool_rows_read(&rows, p);
		for (unsigned i = 0; i < p->socks_count; i++) {
			const struct tool_row *row = tool_rows_find(&rows, NO_COOKIE,
								    p->socks[i].fd);

			if (row && row->stack && !row->foreign)
				stack_add(v, known, p, p->socks[i].inode, row);
		}
		tool_rows_free(&rows);
	}
	diags_unite(v);
}

static struct tool_conn *conn_of(struct tool_view *v, struct tool_conn *of_diag,
				 const struct tool_diag *d)
{
	struct tool_conn *c = &of_diag[d - v->diags];

	c->diag = d;
	return c;
}

/* Enter one process's sockets. */
static void proc_join(struct tool_view *v, struct tool_conn *of_diag, const struct tool_proc *p)
{
	struct tool_rows rows;

	tool_rows_read(&rows, p);
	for (unsigned i = 0; i < p->socks_count; i++) {
		const struct tool_diag *d = tool_diag_find(v->diags, v->diags_count, p->netns_ino,
							   p->socks[i].inode);
		const struct tool_row *row = d ? tool_rows_find(&rows, d->cookie, p->socks[i].fd)
					       : NULL;
		struct tool_conn *c;

		if (!d || !d->inode)
			continue;
		c = conn_of(v, of_diag, d);
		c->holders = tool_grow(c->holders, c->holders_count, sizeof(*c->holders));
		c->holders[c->holders_count++] = (struct tool_holder){ p, p->socks[i].fd };
		if (row) {
			c->row = *row;
			c->followed = true;
		}
	}
	tool_rows_free(&rows);
}

/* Keep those that somebody holds. */
static void conns_collect(struct tool_view *v, struct tool_conn *of_diag)
{
	for (unsigned i = 0; i < v->diags_count; i++) {
		if (!of_diag[i].holders_count)
			continue;
		v->conns = tool_grow(v->conns, v->conns_count, sizeof(*v->conns));
		v->conns[v->conns_count++] = of_diag[i];
	}
}

int tool_view_read(struct tool_view *v, const int *pids, unsigned count)
{
	struct tool_conn *of_diag;
	int rc;

	*v = (struct tool_view){ 0 };
	rc = procs_read(v, pids, count);
	if (!rc)
		rc = diags_read(v);
	if (rc)
		return rc;
	stacks_read(v);
	of_diag = calloc(v->diags_count + 1, sizeof(*of_diag));
	if (!of_diag) {
		tool_say("%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	for (int i = 0; i < v->procs_count; i++)
		proc_join(v, of_diag, &v->procs[i]);
	conns_collect(v, of_diag);
	free(of_diag);
	return 0;
}

void tool_view_free(struct tool_view *v)
{
	for (unsigned i = 0; i < v->conns_count; i++)
		free(v->conns[i].holders);
	free(v->conns);
	free(v->diags);
	if (v->procs_count > 0)
		tool_proc_list_free(v->procs, v->procs_count);
}

int tool_view_show(char **pids, void (*show)(const struct tool_view *v))
{
	struct tool_pids which;
	struct tool_view v;
	int rc;

	if (!tool_pids_read(&which, pids))
		return TOOL_USAGE;
	rc = tool_view_read(&v, which.count ? which.pid : NULL, which.count);
	if (!rc)
		show(&v);
	tool_view_free(&v);
	return rc ? TOOL_FAILED : TOOL_OK;
}

uint64_t tool_conn_kernel_tx(const struct tool_conn *c)
{
	const struct tcp_info *i = &c->diag->info;

	return c->row.stack ? 0 : i->tcpi_bytes_sent - i->tcpi_bytes_retrans;
}

uint64_t tool_conn_kernel_rx(const struct tool_conn *c)
{
	return c->row.stack ? 0 : c->diag->info.tcpi_bytes_received;
}

const char *tool_conn_path(const struct tool_conn *c, bool lifted)
{
	return c->row.stack ? "stack" : lifted ? "shm" : "kernel";
}

const char *tool_conn_reason(const struct tool_conn *c)
{
	return c->followed ? reason_name(c->row.reason) : "-";
}

void tool_conn_json(const struct tool_conn *c)
{
	tool_json_bool("followed", c->followed);
	tool_json_text("path_sent", tool_conn_path(c, c->row.tx_lifted));
	tool_json_text("path_received", tool_conn_path(c, c->row.rx_lifted));
	tool_json_text("reason", tool_conn_reason(c));
	tool_json_number("shm_sent", c->row.tx_shm);
	tool_json_number("shm_received", c->row.rx_shm);
	tool_json_number("kernel_sent", tool_conn_kernel_tx(c));
	tool_json_number("kernel_received", tool_conn_kernel_rx(c));
	tool_json_number("stack_sent", c->row.tx_stack);
	tool_json_number("stack_received", c->row.rx_stack);
	tool_json_number("lifts", c->row.lifts);
	tool_json_number("lowers", c->row.lowers);
}
