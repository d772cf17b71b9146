/* tool_ss.c - ztcp ss: connections as `ss -ti` shows them, with path, reason and bytes per path */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_conn.h"
#include "daemon/tool/tool_json.h"

#define STATE_LISTEN 10
#define NO_SSTHRESH  0x7fffffff

static bool json;
static bool all;

static void holders_print(const struct tool_conn *c)
{
	printf("users:(");
	for (unsigned i = 0; i < c->holders_count; i++)
		printf("%s(\"%s\",pid=%d,fd=%d)", i ? "," : "", c->holders[i].proc->comm,
		       c->holders[i].proc->pid, c->holders[i].fd);
	printf(")");
}

/* The line that ss -i prints, as far as the numbers exist in every kernel that has inet_diag. */
static void info_print(const struct tool_diag *d)
{
	const struct tcp_info *t = &d->info;

	if (d->cong[0])
		printf(" %s", d->cong);
	if (t->tcpi_options & 4)
		printf(" wscale:%u,%u", t->tcpi_snd_wscale, t->tcpi_rcv_wscale);
	printf(" rto:%g", t->tcpi_rto / 1000.0);
	if (t->tcpi_rtt)
		printf(" rtt:%g/%g", t->tcpi_rtt / 1000.0, t->tcpi_rttvar / 1000.0);
	printf(" mss:%u pmtu:%u cwnd:%u", t->tcpi_snd_mss, t->tcpi_pmtu, t->tcpi_snd_cwnd);
	if (t->tcpi_snd_ssthresh < NO_SSTHRESH)
		printf(" ssthresh:%u", t->tcpi_snd_ssthresh);
	printf(" bytes_sent:%" PRIu64 " bytes_acked:%" PRIu64 " bytes_received:%" PRIu64,
	       (uint64_t)t->tcpi_bytes_sent, (uint64_t)t->tcpi_bytes_acked,
	       (uint64_t)t->tcpi_bytes_received);
	printf(" segs_out:%u segs_in:%u lastsnd:%u lastrcv:%u", t->tcpi_segs_out, t->tcpi_segs_in,
	       t->tcpi_last_data_sent, t->tcpi_last_data_recv);
	if (t->tcpi_total_retrans)
		printf(" retrans:%u/%u", t->tcpi_retrans, t->tcpi_total_retrans);
	printf(" notsent:%u", t->tcpi_notsent_bytes);
	if (t->tcpi_pacing_rate && t->tcpi_pacing_rate != UINT64_MAX)
		printf(" pacing_rate:%" PRIu64 "bps", (uint64_t)t->tcpi_pacing_rate * 8);
	if (t->tcpi_delivery_rate)
		printf(" delivery_rate:%" PRIu64 "bps", (uint64_t)t->tcpi_delivery_rate * 8);
	if (t->tcpi_unacked)
		printf(" unacked:%u", t->tcpi_unacked);
	if (t->tcpi_backoff)
		printf(" backoff:%u", t->tcpi_backoff);
	printf(" rcv_space:%u", t->tcpi_rcv_space);
	if (t->tcpi_min_rtt && t->tcpi_min_rtt != UINT32_MAX)
		printf(" minrtt:%g", t->tcpi_min_rtt / 1000.0);
}

static void path_format(const struct tool_conn *c, char *buf, size_t size)
{
	const char *tx = tool_conn_path(c, c->row.tx_lifted);
	const char *rx = tool_conn_path(c, c->row.rx_lifted);

	if (c->row.tx_lifted == c->row.rx_lifted)
		snprintf(buf, size, "%s", tx);
	else
		snprintf(buf, size, "%s/%s", tx, rx);
}

static void conn_print(const struct tool_conn *c)
{
	const struct tool_diag *d = c->diag;
	char local[64], peer[64], path[24];

	path_format(c, path, sizeof(path));
	printf("%-10s %-7u %-7u %22s %22s %-10s %-14s ", tool_diag_state_name(d->state), d->rqueue,
	       d->wqueue, tool_diag_end_format(local, sizeof(local), d->family, d->src, d->sport),
	       tool_diag_end_format(peer, sizeof(peer), d->family, d->dst, d->dport), path,
	       tool_conn_reason(c));
	holders_print(c);
	if (d->state == STATE_LISTEN) {
		putchar('\n');
		return;
	}
	if (c->row.stack)
		printf("\n\t stack_sent:%" PRIu64 " stack_received:%" PRIu64, c->row.tx_stack,
		       c->row.rx_stack);
	else
		printf("\n\t shm_sent:%" PRIu64 " shm_received:%" PRIu64 " kernel_sent:%" PRIu64
		       " kernel_received:%" PRIu64 " lifts:%u lowers:%u",
		       c->row.tx_shm, c->row.rx_shm, tool_conn_kernel_tx(c), tool_conn_kernel_rx(c),
		       c->row.lifts, c->row.lowers);
	if (d->info_bytes)
		info_print(d);
	putchar('\n');
}

static void holders_json(const struct tool_conn *c)
{
	tool_json_open("users", '[');
	for (unsigned i = 0; i < c->holders_count; i++) {
		tool_json_open(NULL, '{');
		tool_json_text("program", c->holders[i].proc->comm);
		tool_json_number("pid", (uint64_t)c->holders[i].proc->pid);
		tool_json_number("fd", (uint64_t)c->holders[i].fd);
		tool_json_close('}');
	}
	tool_json_close(']');
}

static void end_json(const char *key, const struct tool_diag *d, const uint8_t *addr, unsigned port)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	inet_ntop(d->family, addr, ip, sizeof(ip));
	tool_json_open(key, '{');
	tool_json_text("address", ip);
	tool_json_number("port", port);
	tool_json_close('}');
}

static void info_json(const struct tool_diag *d)
{
	const struct tcp_info *t = &d->info;

	tool_json_open("tcp_info", '{');
	tool_json_text("congestion", d->cong);
	tool_json_real("rto_ms", t->tcpi_rto / 1000.0);
	tool_json_real("rtt_ms", t->tcpi_rtt / 1000.0);
	tool_json_real("rttvar_ms", t->tcpi_rttvar / 1000.0);
	tool_json_number("mss", t->tcpi_snd_mss);
	tool_json_number("pmtu", t->tcpi_pmtu);
	tool_json_number("cwnd", t->tcpi_snd_cwnd);
	if (t->tcpi_snd_ssthresh < NO_SSTHRESH)
		tool_json_number("ssthresh", t->tcpi_snd_ssthresh);
	tool_json_number("bytes_sent", t->tcpi_bytes_sent);
	tool_json_number("bytes_acked", t->tcpi_bytes_acked);
	tool_json_number("bytes_received", t->tcpi_bytes_received);
	tool_json_number("segs_out", t->tcpi_segs_out);
	tool_json_number("segs_in", t->tcpi_segs_in);
	tool_json_number("retrans", t->tcpi_total_retrans);
	tool_json_number("notsent", t->tcpi_notsent_bytes);
	tool_json_number("unacked", t->tcpi_unacked);
	if (t->tcpi_pacing_rate != UINT64_MAX)
		tool_json_number("pacing_rate", t->tcpi_pacing_rate);
	tool_json_number("delivery_rate", t->tcpi_delivery_rate);
	tool_json_number("rcv_space", t->tcpi_rcv_space);
	tool_json_real("min_rtt_ms", t->tcpi_min_rtt == UINT32_MAX ? 0 : t->tcpi_min_rtt / 1000.0);
	tool_json_close('}');
}

static void conn_json(const struct tool_conn *c)
{
	const struct tool_diag *d = c->diag;

	tool_json_open(NULL, '{');
	tool_json_text("state", tool_diag_state_name(d->state));
	tool_json_number("recv_q", d->rqueue);
	tool_json_number("send_q", d->wqueue);
	end_json("local", d, d->src, d->sport);
	end_json("peer", d, d->dst, d->dport);
	tool_conn_json(c);
	holders_json(c);
	tool_json_number("netns", d->netns_ino);
	tool_json_number("inode", d->inode);
	tool_json_number("uid", d->uid);
	if (d->info_bytes)
		info_json(d);
	tool_json_close('}');
}

static void view_print(const struct tool_view *v)
{
	if (json)
		tool_json_open(NULL, '[');
	else
		printf("%-10s %-7s %-7s %22s %22s %-10s %-14s %s\n", "State", "Recv-Q", "Send-Q",
		       "Local Address:Port", "Peer Address:Port", "Path", "Reason", "Process");
	for (unsigned i = 0; i < v->conns_count; i++) {
		const struct tool_conn *c = &v->conns[i];

		if (!all && c->diag->state == STATE_LISTEN)
			continue;
		if (json)
			conn_json(c);
		else
			conn_print(c);
	}
	if (json) {
		tool_json_close(']');
		putchar('\n');
	}
	if (v->unseen_netns)
		tool_say("%u network namespaces cannot be asked: be root", v->unseen_netns);
}

int tool_ss(int argc, char **argv)
{
	int opt;

	optind = 1;
	while ((opt = getopt(argc, argv, "+ja")) != -1) {
		if (opt == 'j')
			json = true;
		else if (opt == 'a')
			all = true;
		else
			return TOOL_USAGE;
	}
	return tool_view_show(argv + optind, view_print);
}
