/* explain.c - a line for each connection */
#include "preload/sock/explain.h"

#include "preload/sock/conf.h"
#include "preload/sock/diag.h"
#include "preload/sock/net.h"
#include "preload/sock/sock.h"
#include "shm/shm_sys.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int end_print(char *buf, size_t size, const struct shm_end *end)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
	char addr[INET6_ADDRSTRLEN] = "?";

	if (memcmp(end->addr, v4, 12) == 0)
		inet_ntop(AF_INET, end->addr + 12, addr, sizeof(addr));
	else
		inet_ntop(AF_INET6, end->addr, addr, sizeof(addr));
	return snprintf(buf, size, strchr(addr, ':') ? "[%s]:%u" : "%s:%u", addr, ntohs(end->port));
}

/* As the row of a connection of the stack tells them. */
static void stats_ends(const struct stats_row *r, struct shm_end *local, struct shm_end *remote)
{
	memcpy(local->addr, r->local, 16);
	memcpy(remote->addr, r->remote, 16);
	local->port = htons((uint16_t)r->ports);
	remote->port = htons((uint16_t)(r->ports >> 16));
}

static void explain_write(const char *line, size_t len)
{
	long fd = 2;

	if (strcmp(conf.explain, "1") != 0)
		fd = sys(SYS_openat, AT_FDCWD, conf.explain,
			 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0)
		return;
	sys(SYS_write, fd, line, len);
	if (fd != 2)
		sys(SYS_close, fd);
}

/* Bytes by path: what finished spans left in the row, and the span under way. */
static void explain(const struct sock *s)
{
	const struct stats_row *r = s->row;
	const struct shm_conn *c = sock_conn(s);
	const bool stack = SHM_READ(r->tx_path) == STATS_PATH_STACK;
	const bool tx_path = SHM_READ(r->tx_path), rx_path = SHM_READ(r->rx_path);
	const uint16_t reason = SHM_READ(r->reason);
	uint64_t tx = r->tx_off, rx = r->rx_off;
	uint64_t tx_shm = stack ? 0 : SHM_READ(r->tx_shm);
	uint64_t rx_shm = stack ? 0 : SHM_READ(r->rx_shm);
	struct shm_end local, remote;
	char l[64] = "?", p[64] = "?", line[512];
	int n;

	if (c && tx_path) {
		tx_shm += c->ctl.tail - tx;
		tx = c->ctl.tail;
	}
	if (c && rx_path) {
		rx_shm += c->ctl.head - rx;
		rx = c->ctl.head;
	}
	if (stack) {
		stats_ends(r, &local, &remote);
		end_print(l, sizeof(l), &local);
		end_print(p, sizeof(p), &remote);
	} else if (diag_ends(sock_fd(s), &local, &remote) == 0) {
		end_print(l, sizeof(l), &local);
		end_print(p, sizeof(p), &remote);
	}
	n = snprintf(
		line, sizeof(line),
		"ztcp: %ld:%d path=%s reason=%s(%u) tx=%llu rx=%llu shm_tx=%llu shm_rx=%llu lifts=%u "
		"lowers=%u local=%s remote=%s\n",
		sys(SYS_getpid), sock_fd(s),
		stack                                    ? "stack"
		: tx_shm || rx_shm || tx_path || rx_path ? "shm"
							 : "kernel",
		reason_name(reason), reason, (unsigned long long)tx, (unsigned long long)rx,
		(unsigned long long)tx_shm, (unsigned long long)rx_shm,
		stack ? 0 : SHM_READ(r->lifts), stack ? 0 : SHM_READ(r->lowers), l, p);
	if (n > 0)
		explain_write(line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

void explain_closed(const struct sock *s)
{
	if (conf.explain && !(atomic_fetch_or(&s->row->flags, STATS_EXPLAINED) & STATS_EXPLAINED))
		explain(s);
}

static void explain_one(struct sock *s, void *arg)
{
	(void)arg;
	if (atomic_load(&s->row->refs) == 1)
		explain_closed(s);
}

void explain_exec(void)
{
	if (conf.explain)
		sock_each(explain_one, NULL);
}

static void explain_inst(const struct net_inst *in)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "ztcp: %ld instance=%u threads=%u crossed=%llu\n",
			 sys(SYS_getpid), net_no(in), (unsigned)atomic_load(&in->joined),
			 (unsigned long long)atomic_load(&in->crossed));

	if (n > 0)
		explain_write(line, (size_t)n);
}

void explain_exit(void)
{
	if (!conf.explain)
		return;
	sock_each(explain_one, NULL);
	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (atomic_load(&net_opened) & 1u << k)
			explain_inst(&net_insts[k]);
	}
}
