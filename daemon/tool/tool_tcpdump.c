/* tool_tcpdump.c - ztcp tcpdump: what passes on connections of programs under ztcp, as TCP packets
 *
 * Both directions are copied out by their senders, so both programs must run under ztcp and be the caller's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_json.h"
#include "daemon/tool/tool_packet.h"
#include "daemon/tool/tool_proc.h"
#include "daemon/tool/tool_tap.h"

struct tcpdump {
	const char *file; /* NULL: lines of text */
	FILE *out;
	bool json;
	uint64_t count; /* 0: without end */
	uint64_t shown;
	bool filtered;
	struct bpf_program filter;
	struct tool_pids pids;
	struct tool_flows *flows;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

/* ---- output ---- */

static void end_text(char *buf, size_t size, const struct shm_end *e)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
	bool four = memcmp(e->addr, v4, sizeof(v4)) == 0;
	char addr[INET6_ADDRSTRLEN] = "?";

	inet_ntop(four ? AF_INET : AF_INET6, e->addr + (four ? 12 : 0), addr, sizeof(addr));
	snprintf(buf, size, "%s.%u", addr, ntohs(e->port));
}

static void flags_text(char *buf, unsigned flags)
{
	static const struct {
		unsigned bit;
		char letter;
	} all[] = { { 2, 'S' }, { 1, 'F' }, { 8, 'P' }, { 16, '.' } };

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (flags & all[i].bit)
			*buf++ = all[i].letter;
	}
	*buf = '\0';
}

static void packet_json(const struct tool_packet *p, const char *from, const char *to,
			const char *flags)
{
	tool_json_open(NULL, '{');
	tool_json_number("time_ns", p->ns);
	tool_json_text("from", from);
	tool_json_text("to", to);
	tool_json_text("flags", flags);
	tool_json_number("seq", p->seq);
	tool_json_number("ack", p->ack);
	tool_json_number("length", p->payload);
	tool_json_text("path", p->shm ? "shm" : "kernel");
	tool_json_close('}');
	putchar('\n');
}

static void packet_text(const struct tcpdump *d, const struct tool_packet *p)
{
	char from[64], to[64], flags[8], when[16];
	time_t seconds = (time_t)(p->ns / 1000000000);
	struct tm tm;

	end_text(from, sizeof(from), &p->from);
	end_text(to, sizeof(to), &p->to);
	flags_text(flags, p->tcp_flags);
	if (d->json) {
		packet_json(p, from, to, flags);
		return;
	}
	localtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%H:%M:%S", &tm);
	printf("%s.%06" PRIu64 " %s > %s: Flags [%s], seq %u, ack %u, length %u, %s\n", when,
	       p->ns % 1000000000 / 1000, from, to, flags, p->seq, p->ack, p->payload,
	       p->shm ? "shm" : "kernel");
}

static bool packet_passes(const struct tcpdump *d, const struct tool_packet *p)
{
	const struct pcap_pkthdr head = { .caplen = p->len, .len = p->len };

	return !d->filtered || pcap_offline_filter(&d->filter, &head, p->bytes) != 0;
}

/* Return: 0 or -errno. */
static int packet_show(struct tcpdump *d, const struct tool_packet *p)
{
	if (!packet_passes(d, p) || (d->count && d->shown == d->count))
		return 0;
	d->shown++;
	if (d->file)
		return tool_pcapng_packet(d->out, p);
	packet_text(d, p);
	return 0;
}

static int piece_show(struct tcpdump *d, const struct tool_piece *piece)
{
	static struct tool_packet packet[4];
	unsigned n = tool_packets_make(d->flows, piece, packet);

	for (unsigned i = 0; i < n; i++) {
		int err = packet_show(d, &packet[i]);

		if (err)
			return err;
	}
	return 0;
}

/* ---- the run ---- */

static int listen_until_stopped(struct tcpdump *d, struct tool_taps *taps)
{
	struct tool_piece piece;
	int err = 0;

	while (!err && !stopped && (!d->count || d->shown < d->count)) {
		if (tool_taps_next(taps, &piece, false)) {
			err = piece_show(d, &piece);
			continue;
		}
		if (fflush(d->out))
			err = -errno;
		tool_taps_wait(taps);
	}
	tool_taps_off(taps);
	while (!err && tool_taps_next(taps, &piece, true))
		err = piece_show(d, &piece);
	return err;
}

static int run(struct tcpdump *d)
{
	const int *pids = d->pids.count ? d->pids.pid : NULL;
	struct tool_taps *taps = tool_taps_open(pids, d->pids.count);
	uint64_t lost;
	int err;

	if (!taps)
		return TOOL_FAILED;
	if (d->file) {
		err = tool_pcapng_begin(d->out);
		if (!err && fflush(d->out))
			err = -errno;
		tool_say("listening, packets go to %s", d->file);
	} else {
		err = 0;
	}
	if (!err)
		err = listen_until_stopped(d, taps);
	lost = tool_taps_lost(taps);
	tool_taps_close(taps);
	tool_say("%" PRIu64 " packets, %" PRIu64 " records lost", d->shown, lost);
	if (err)
		tool_say("%s: %s", d->file ? d->file : "standard output", strerror(-err));
	return err ? TOOL_FAILED : TOOL_OK;
}

/* The words of the filter in one, as tcpdump takes them. */
static bool filter_compile(struct tcpdump *d, char **words)
{
	char text[4096] = "";
	size_t used = 0;
	pcap_t *dead;

	for (; *words; words++) {
		int n = snprintf(text + used, sizeof(text) - used, "%s%s", used ? " " : "", *words);

		used += (size_t)n;
		if (used >= sizeof(text)) {
			tool_say("the filter is too long");
			return false;
		}
	}
	if (!used)
		return true;
	dead = pcap_open_dead(DLT_RAW, PACKET_MAX);
	d->filtered = dead && !pcap_compile(dead, &d->filter, text, 1, PCAP_NETMASK_UNKNOWN);
	if (!d->filtered)
		tool_say("filter: %s", dead ? pcap_geterr(dead) : strerror(ENOMEM));
	if (dead)
		pcap_close(dead);
	return d->filtered;
}

static bool pid_take(struct tcpdump *d, const char *text)
{
	char *one[2] = { (char *)text, NULL };
	struct tool_pids p;

	if (!tool_pids_read(&p, one))
		return false;
	if (d->pids.count == sizeof(d->pids.pid) / sizeof(d->pids.pid[0])) {
		tool_say("at most %u processes", d->pids.count);
		return false;
	}
	d->pids.pid[d->pids.count++] = p.pid[0];
	return true;
}

static bool pids_are_there(const struct tool_pids *pids)
{
	for (unsigned i = 0; i < pids->count; i++) {
		struct tool_proc p;

		if (tool_proc_named(&p, pids->pid[i]))
			return false;
		tool_proc_free(&p);
	}
	return true;
}

/* Return: whether the options are right. */
static bool options_read(struct tcpdump *d, int argc, char **argv)
{
	int opt;

	optind = 1;
	while ((opt = getopt(argc, argv, "+jw:c:p:")) != -1) {
		switch (opt) {
		case 'j': d->json = true; break;
		case 'w': d->file = optarg; break;
		case 'c':
			if (!tool_number(optarg, UINT32_MAX, &d->count) || !d->count) {
				tool_say("-c %s: expected a number of packets", optarg);
				return false;
			}
			break;
		case 'p':
			if (!pid_take(d, optarg))
				return false;
			break;
		default: return false;
		}
	}
	return filter_compile(d, argv + optind);
}

int tool_tcpdump(int argc, char **argv)
{
	const struct sigaction stop = { .sa_handler = on_signal };
	struct tcpdump d = { .out = stdout };
	int status;

	if (!options_read(&d, argc, argv))
		return TOOL_USAGE;
	if (!pids_are_there(&d.pids))
		return TOOL_FAILED;
	if (d.file && strcmp(d.file, "-") != 0)
		d.out = fopen(d.file, "we");
	if (!d.out) {
		tool_say("%s: %s", d.file, strerror(errno));
		return TOOL_FAILED;
	}
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	d.flows = tool_flows_make();
	status = d.flows ? run(&d) : TOOL_FAILED;
	tool_flows_free(d.flows);
	if (d.filtered)
		pcap_freecode(&d.filter);
	if (d.out != stdout && fclose(d.out)) {
		tool_say("%s: %s", d.file, strerror(errno));
		status = TOOL_FAILED;
	}
	return status;
}
