/* tool_stat.c - ztcp stat: the open connections of each process, added up; and what its stacks count */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_json.h"
#include "daemon/tool/tool_sum.h"
#include "stack/base/base_counters.h"
#include "stack/base/base_reason.h"

static bool json;

static void sum_print(const struct tool_sum *s)
{
	printf("%7d %-15s %7u %7u %16" PRIu64 " %16" PRIu64 " %16" PRIu64 " %16" PRIu64 " %7" PRIu64
	       " %7" PRIu64 "\n",
	       s->proc->pid, s->proc->comm, s->conns, s->lifted, s->shm_tx, s->shm_rx, s->kernel_tx,
	       s->kernel_rx, s->lifts, s->lowers);
}

static void reasons_json(const struct tool_sums *by_reason, const struct tool_proc *proc)
{
	tool_json_open("reasons", '{');
	for (unsigned i = 0; i < by_reason->count; i++)
		if (by_reason->sum[i].proc == proc)
			tool_json_number(reason_name(by_reason->sum[i].reason),
					 by_reason->sum[i].conns);
	tool_json_close('}');
}

static void sum_json(const struct tool_sum *s, const struct tool_sums *by_reason)
{
	tool_json_open(NULL, '{');
	tool_json_number("pid", (uint64_t)s->proc->pid);
	tool_json_text("program", s->proc->comm);
	tool_json_number("connections", s->conns);
	tool_json_number("lifted", s->lifted);
	tool_json_number("shm_sent", s->shm_tx);
	tool_json_number("shm_received", s->shm_rx);
	tool_json_number("kernel_sent", s->kernel_tx);
	tool_json_number("kernel_received", s->kernel_rx);
	tool_json_number("lifts", s->lifts);
	tool_json_number("lowers", s->lowers);
	reasons_json(by_reason, s->proc);
	tool_json_close('}');
}

static void view_print(const struct tool_view *v)
{
	struct tool_sums sums, by_reason;

	tool_sums_make(&sums, v, false);
	tool_sums_make(&by_reason, v, true);
	if (json) {
		tool_json_open(NULL, '[');
		for (unsigned i = 0; i < sums.count; i++)
			sum_json(&sums.sum[i], &by_reason);
		tool_json_close(']');
		putchar('\n');
	} else {
		printf("%7s %-15s %7s %7s %16s %16s %16s %16s %7s %7s\n", "Pid", "Program", "Conns",
		       "Lifted", "Shm-Sent", "Shm-Received", "Kernel-Sent", "Kernel-Received",
		       "Lifts", "Lowers");
		for (unsigned i = 0; i < sums.count; i++)
			sum_print(&sums.sum[i]);
	}
	tool_sums_free(&by_reason);
	tool_sums_free(&sums);
}

/* ---- what stacks count ---- */

/* The first word that tells counters of one kind from the others. */
static bool counts_for(const char *name, const char *prefix)
{
	return !strncmp(name, prefix, strlen(prefix));
}

static uint64_t counter_of(const struct stats_net *n, enum counter what)
{
	return (unsigned)what < n->counters ? n->counter[what] : 0;
}

/* What was refused below TCP: its sentence says so. */
static uint64_t drops_of(const struct stats_net *n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < CNT_tcp_closed && i < n->counters; i++)
		if (strstr(base_counter_text((enum counter)i), "dropped"))
			sum += n->counter[i];
	return sum;
}

static void mac_format(char *buf, size_t size, const uint8_t *mac)
{
	snprintf(buf, size, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
}

static void addr_format(char *buf, size_t size, const uint8_t *addr)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool four = !memcmp(addr, mapped, sizeof(mapped));

	inet_ntop(four ? AF_INET : AF_INET6, addr + (four ? 12 : 0), buf, (socklen_t)size);
}

static void tcp_print(const struct tool_proc *p, const struct stats_net *n)
{
	printf("%s[%d] %s: %u connections\n", p->comm, p->pid, n->name, n->conns);
	for (unsigned i = 1; i < CNT_COUNT && i < n->counters; i++) {
		const char *name = base_counter_name((enum counter)i);

		if (n->counter[i] && (counts_for(name, "tcp_") || counts_for(name, "inst_") ||
				      counts_for(name, "wire_tcp_")))
			printf("    %12" PRIu64 " %-24s %s\n", n->counter[i], name,
			       base_counter_text((enum counter)i));
	}
}

static void tcp_json(const struct stats_net *n)
{
	tool_json_number("connections", n->conns);
	tool_json_open("counters", '{');
	for (unsigned i = 1; i < CNT_COUNT && i < n->counters; i++)
		tool_json_number(base_counter_name((enum counter)i), n->counter[i]);
	tool_json_close('}');
}

static void netdev_print(const struct tool_proc *p, const struct stats_net *n)
{
	char mac[24];

	mac_format(mac, sizeof(mac), n->mac);
	printf("%7d %-15s %-10s %-24s %-17s %5u %-7s %14" PRIu64 " %14" PRIu64 " %10" PRIu64 "\n",
	       p->pid, p->comm, n->name, n->device, mac, n->mtu, n->shared ? "shared" : "own",
	       counter_of(n, CNT_inst_rx_frames), counter_of(n, CNT_inst_tx_frames), drops_of(n));
}

static void netdev_json(const struct stats_net *n)
{
	char mac[24];

	mac_format(mac, sizeof(mac), n->mac);
	tool_json_text("device", n->device);
	tool_json_text("mac", mac);
	tool_json_number("mtu", n->mtu);
	tool_json_bool("shared", n->shared);
	tool_json_number("offloads", n->offloads);
	tool_json_number("received", counter_of(n, CNT_inst_rx_frames));
	tool_json_number("sent", counter_of(n, CNT_inst_tx_frames));
	tool_json_number("dropped", drops_of(n));
}

static void arp_print(const struct tool_proc *p, const struct stats_net *n)
{
	char mac[24], addr[INET6_ADDRSTRLEN];

	for (uint32_t i = 0; i < n->neighs; i++) {
		mac_format(mac, sizeof(mac), n->neigh[i].mac);
		addr_format(addr, sizeof(addr), n->neigh[i].addr);
		printf("%7d %-15s %-10s %-39s %-17s %-10s %8.1f\n", p->pid, p->comm, n->name, addr,
		       mac, n->neigh[i].state, n->neigh[i].age_ms / 1000.0);
	}
}

static void arp_json(const struct stats_net *n)
{
	char mac[24], addr[INET6_ADDRSTRLEN];

	tool_json_open("neighbours", '[');
	for (uint32_t i = 0; i < n->neighs; i++) {
		mac_format(mac, sizeof(mac), n->neigh[i].mac);
		addr_format(addr, sizeof(addr), n->neigh[i].addr);
		tool_json_open(NULL, '{');
		tool_json_text("address", addr);
		tool_json_text("mac", mac);
		tool_json_text("state", n->neigh[i].state);
		tool_json_number("age_ms", n->neigh[i].age_ms);
		tool_json_close('}');
	}
	tool_json_close(']');
}

static void mem_print(const struct tool_proc *p, const struct stats_net *n)
{
	printf("%7d %-15s %-10s %14" PRIu64 " %14" PRIu64 " %10" PRIu64 " %8u %8u %10" PRIu64
	       " %10" PRIu64 "\n",
	       p->pid, p->comm, n->name, n->bytes_huge, n->bytes_ordinary, n->buffers_out, n->conns,
	       n->blocks, n->refills, n->returns);
}

static void mem_json(const struct stats_net *n)
{
	tool_json_number("bytes_huge", n->bytes_huge);
	tool_json_number("bytes_ordinary", n->bytes_ordinary);
	tool_json_number("buffers_out", n->buffers_out);
	tool_json_number("connections", n->conns);
	tool_json_number("blocks", n->blocks);
	tool_json_number("refills", n->refills);
	tool_json_number("returns", n->returns);
}

static const struct topic {
	const char *name;
	const char *head; /* NULL: none */
	void (*print)(const struct tool_proc *p, const struct stats_net *n);
	void (*json)(const struct stats_net *n);
} topics[] = {
	{ "tcp", NULL, tcp_print, tcp_json },
	{ "netdev",
	  "    Pid Program         Interface  Device                   Station             MTU Use     "
	  "      Received           Sent    Dropped",
	  netdev_print, netdev_json },
	{ "arp",
	  "    Pid Program         Interface  Address                                 Station           "
	  "State       Seconds",
	  arp_print, arp_json },
	{ "mem",
	  "    Pid Program         Interface      Huge-Bytes Ordinary-Bytes    Buffers    Conns   Blocks "
	  "   Refills    Returns",
	  mem_print, mem_json },
};

#define TOPICS (sizeof(topics) / sizeof(topics[0]))

static const struct topic *topic;

static void stack_show(const struct tool_proc *p, const struct stats_net *n)
{
	if (!json) {
		topic->print(p, n);
		return;
	}
	tool_json_open(NULL, '{');
	tool_json_number("pid", (uint64_t)p->pid);
	tool_json_text("program", p->comm);
	tool_json_text("interface", n->name);
	topic->json(n);
	tool_json_close('}');
}

static void stacks_print(const struct tool_view *v)
{
	if (json)
		tool_json_open(NULL, '[');
	else if (topic->head)
		puts(topic->head);
	for (int k = 0; k < v->procs_count; k++) {
		struct stats_net *nets;
		unsigned count = tool_nets_read(&nets, &v->procs[k]);

		for (unsigned i = 0; i < count; i++)
			stack_show(&v->procs[k], &nets[i]);
		free(nets);
	}
	if (json) {
		tool_json_close(']');
		putchar('\n');
	}
}

int tool_stat(int argc, char **argv)
{
	int opt;

	optind = 1;
	while ((opt = getopt(argc, argv, "+j")) != -1) {
		if (opt != 'j')
			return TOOL_USAGE;
		json = true;
	}
	for (unsigned i = 0; argv[optind] && i < TOPICS; i++) {
		if (!strcmp(argv[optind], topics[i].name)) {
			topic = &topics[i];
			return tool_view_show(argv + optind + 1, stacks_print);
		}
	}
	return tool_view_show(argv + optind, view_print);
}
