/* tool_tcpdump.c - ztcp tcpdump: what passes on connections of programs under ztcp
 *
 * Lifted connections as TCP packets made for the purpose: both directions are copied out by their senders, so both programs
 * must run under ztcp and be the caller's. The stack's connections by the frames that pass its devices, as they are. In a file
 * the first are one interface, and each stack is another; a filter is compiled for both link layers.
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
#include "daemon/tool/tool_frame.h"
#include "daemon/tool/tool_json.h"
#include "daemon/tool/tool_packet.h"
#include "daemon/tool/tool_pcapng.h"
#include "daemon/tool/tool_proc.h"
#include "daemon/tool/tool_tap.h"

enum {
	IFACE_LIFTED, /* the file's first interface */
	LINK_ETHERNET = 1,
	LINK_RAW = 101,
};

/* One link layer's. What can only be said of another link layer lets nothing pass. */
struct filter {
	enum { FILTER_NONE, FILTER_SOME, FILTER_ALL } kind;
	struct bpf_program program;
};

/* A stack that has been heard of. */
struct iface {
	uint32_t source, net; /* the tap, and which of its stacks */
	uint32_t number;      /* in the file, once @known */
	bool known;
	int pid;
	char name[16], program[32];
	uint64_t no, bytes;      /* as in struct tap_frame, of the next one */
	uint64_t gap, gap_bytes; /* missing before it, and not yet told */
	uint64_t shown, lost;
};

struct tcpdump {
	const char *file; /* NULL: lines of text */
	FILE *out;
	bool json;
	uint64_t count; /* 0: without end */
	uint64_t snap;  /* bytes of a packet that are kept; 0: all */
	uint64_t shown; /* of all kinds; those of lifted connections: */
	uint64_t lifted;
	uint64_t missed; /* bytes, of the packets that pass the filter */
	struct filter raw, ethernet;
	struct iface *iface;
	unsigned ifaces, known; /* those in the file */
	struct tool_taps *taps;
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

static void time_format(char *buf, size_t size, uint64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm = { .tm_mday = 1 };
	size_t n;

	localtime_r(&seconds, &tm);
	n = strftime(buf, size, "%H:%M:%S", &tm);
	snprintf(buf + n, size - n, ".%06u", (unsigned)(ns % 1000000000 / 1000));
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
	tool_json_number("missed", p->missed);
	tool_json_close('}');
	putchar('\n');
}

static void packet_text(const struct tcpdump *d, const struct tool_packet *p)
{
	char from[64], to[64], flags[9], when[32];

	end_text(from, sizeof(from), &p->from);
	end_text(to, sizeof(to), &p->to);
	tool_frame_flags(flags, p->tcp_flags);
	if (d->json) {
		packet_json(p, from, to, flags);
		return;
	}
	time_format(when, sizeof(when), p->ns);
	if (p->missed)
		printf("(%" PRIu64 " bytes before the next packet were not captured)\n", p->missed);
	printf("%s %s > %s: Flags [%s], seq %u, ack %u, length %u, %s\n", when, from, to, flags,
	       p->seq, p->ack, p->payload, p->shm ? "shm" : "kernel");
}

static bool passes(const struct filter *f, const uint8_t *bytes, uint32_t len, uint32_t whole)
{
	const struct pcap_pkthdr head = { .caplen = len, .len = whole };

	return f->kind == FILTER_NONE ||
	       (f->kind == FILTER_SOME && pcap_offline_filter(&f->program, &head, bytes) != 0);
}

static uint32_t snapped(const struct tcpdump *d, uint32_t len)
{
	return d->snap && d->snap < len ? (uint32_t)d->snap : len;
}

static int packet_write(struct tcpdump *d, const struct tool_packet *p)
{
	const char *path = p->shm ? "shm" : "kernel";
	char comment[80];
	const struct tool_block b = { .iface = IFACE_LIFTED,
				      .ns = p->ns,
				      .bytes = p->bytes,
				      .len = snapped(d, p->len),
				      .whole = p->len,
				      .comment = comment };

	if (p->missed)
		snprintf(comment, sizeof(comment),
			 "%s, %" PRIu64 " bytes before this were not captured", path, p->missed);
	else
		snprintf(comment, sizeof(comment), "%s", path);
	return tool_pcapng_packet(d->out, &b);
}

/* Return: 0 or -errno. */
static int packet_show(struct tcpdump *d, const struct tool_packet *p)
{
	if (!passes(&d->raw, p->bytes, p->len, p->len) || (d->count && d->shown == d->count))
		return 0;
	d->shown++;
	d->lifted++;
	d->missed += p->missed;
	if (d->file)
		return packet_write(d, p);
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

/* ---- frames ---- */

static struct iface *iface_of(struct tcpdump *d, const struct tool_piece *p)
{
	struct iface *f;

	for (unsigned i = 0; i < d->ifaces; i++) {
		if (d->iface[i].source == p->source && d->iface[i].net == p->rec.frame.net)
			return &d->iface[i];
	}
	d->iface = tool_grow(d->iface, d->ifaces, sizeof(*d->iface));
	f = &d->iface[d->ifaces++];
	*f = (struct iface){ .source = p->source,
			     .net = p->rec.frame.net,
			     .no = p->rec.frame.no,
			     .bytes = p->rec.frame.before };
	memcpy(f->name, p->rec.frame.name, sizeof(f->name));
	snprintf(f->program, sizeof(f->program), "%s", tool_taps_program(d->taps, p, &f->pid));
	tool_clean(f->name);
	tool_clean(f->program);
	return f;
}

/* What is missing before the frame is told with the next that is shown. */
static void iface_follow(struct iface *f, const struct tap_frame *r)
{
	if (r->no > f->no && r->before > f->bytes) {
		f->gap += r->no - f->no;
		f->gap_bytes += r->before - f->bytes;
	}
	f->no = r->no + 1;
	f->bytes = r->before + r->whole;
}

static void frame_comment(char *buf, size_t size, const struct tap_record *r, const struct iface *f)
{
	size_t n = (size_t)snprintf(buf, size, "stack");

	if (r->flags & TAP_OPEN)
		n += (size_t)snprintf(buf + n, size - n, ", checksum left to the device");
	if (r->frame.gso)
		n += (size_t)snprintf(buf + n, size - n, ", cut by the device every %u bytes",
				      r->frame.gso);
	if (f->gap)
		snprintf(buf + n, size - n,
			 ", %" PRIu64 " frames (%" PRIu64 " bytes) before this were not captured",
			 f->gap, f->gap_bytes);
}

/* Its interface comes into the file with its first frame. */
static int frame_write(struct tcpdump *d, struct iface *f, const struct tool_piece *p)
{
	const struct tap_record *r = &p->rec;
	char comment[200], about[96];
	const struct tool_block b = { .iface = f->known ? f->number : d->known + 1,
				      .ns = r->ns,
				      .bytes = p->data,
				      .len = snapped(d, p->len),
				      .whole = r->frame.whole,
				      .direction = r->flags & TAP_OUT ? 2 : 1,
				      .comment = comment };
	int err = 0;

	if (!f->known) {
		snprintf(about, sizeof(about), "stack %u of %s[%d]", f->net, f->program, f->pid);
		err = tool_pcapng_iface(d->out, LINK_ETHERNET, snapped(d, TAP_FRAME_MAX), f->name,
					about);
		f->known = true;
		f->number = ++d->known;
	}
	frame_comment(comment, sizeof(comment), r, f);
	return err ? err : tool_pcapng_packet(d->out, &b);
}

static void frame_json(const struct iface *f, const struct tool_piece *p,
		       const struct tool_frame *v)
{
	char flags[9];

	tool_frame_flags(flags, v->flags);
	tool_json_open(NULL, '{');
	tool_json_number("time_ns", p->rec.ns);
	tool_json_text("interface", f->name);
	tool_json_number("pid", (uint64_t)f->pid);
	tool_json_text("direction", p->rec.flags & TAP_OUT ? "out" : "in");
	tool_json_text("kind", v->kind);
	tool_json_text("from", v->from);
	tool_json_text("to", v->to);
	if (!strcmp(v->kind, "tcp")) {
		tool_json_text("flags", flags);
		tool_json_number("seq", v->seq);
		tool_json_number("ack", v->ack);
	} else if (v->more[0]) {
		tool_json_text("says", v->more);
	}
	tool_json_number("length", v->payload);
	tool_json_number("frame", p->rec.frame.whole);
	tool_json_text("path", "stack");
	tool_json_number("missed_frames", f->gap);
	tool_json_number("missed", f->gap_bytes);
	tool_json_close('}');
	putchar('\n');
}

static void frame_text(const struct tcpdump *d, const struct iface *f, const struct tool_piece *p)
{
	struct tool_frame v;
	char line[384], when[32];

	tool_frame_read(&v, p->data, p->len);
	if (d->json) {
		frame_json(f, p, &v);
		return;
	}
	if (f->gap)
		printf("(%" PRIu64 " frames, %" PRIu64
		       " bytes, before the next one were not captured)\n",
		       f->gap, f->gap_bytes);
	tool_frame_text(line, sizeof(line), &v);
	time_format(when, sizeof(when), p->rec.ns);
	printf("%s %s[%d] %s %s %s, stack\n", when, f->program, f->pid, f->name,
	       p->rec.flags & TAP_OUT ? "out" : "in", line);
}

static int frame_show(struct tcpdump *d, const struct tool_piece *p)
{
	struct iface *f = iface_of(d, p);
	int err = 0;

	iface_follow(f, &p->rec.frame);
	if (!passes(&d->ethernet, p->data, p->len, p->rec.frame.whole))
		return 0;
	d->shown++;
	if (d->file)
		err = frame_write(d, f, p);
	else
		frame_text(d, f, p);
	f->shown++;
	f->lost += f->gap;
	d->missed += f->gap_bytes;
	f->gap = f->gap_bytes = 0;
	return err;
}

static int record_show(struct tcpdump *d, const struct tool_piece *p)
{
	return p->rec.kind == TAP_FRAME ? frame_show(d, p) : piece_show(d, p);
}

/* ---- the run ---- */

static int listen_until_stopped(struct tcpdump *d)
{
	struct tool_taps *taps = d->taps;
	struct tool_piece piece;
	int err = 0;

	while (!err && !stopped && (!d->count || d->shown < d->count)) {
		if (tool_taps_next(taps, &piece, false)) {
			err = record_show(d, &piece);
			continue;
		}
		if (fflush(d->out))
			err = -errno;
		tool_taps_wait(taps);
	}
	tool_taps_off(taps);
	while (!err && (!d->count || d->shown < d->count) && tool_taps_next(taps, &piece, true))
		err = record_show(d, &piece);
	return err;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int file_begin(struct tcpdump *d)
{
	int err = tool_pcapng_begin(d->out);

	if (!err)
		err = tool_pcapng_iface(d->out, LINK_RAW, snapped(d, PACKET_MAX), "ztcp", NULL);
	if (!err && fflush(d->out))
		err = -errno;
	if (!err)
		tool_say("listening, packets go to %s", d->file);
	return err;
}

/* What is missing, and is no frame of a known stack, is counted with the first interface. */
static int file_end(struct tcpdump *d, uint64_t lost)
{
	uint64_t ns = now_ns();
	int err = 0;

	for (unsigned i = 0; !err && i < d->ifaces; i++) {
		const struct iface *f = &d->iface[i];

		if (!f->known)
			continue;
		lost -= f->lost < lost ? f->lost : lost;
		err = tool_pcapng_counts(d->out, f->number, ns, f->shown, f->lost);
	}
	return err ? err : tool_pcapng_counts(d->out, IFACE_LIFTED, ns, d->lifted, lost);
}

static int run(struct tcpdump *d)
{
	const int *pids = d->pids.count ? d->pids.pid : NULL;
	uint64_t lost;
	int err = 0;

	d->taps = tool_taps_open(pids, d->pids.count, (uint32_t)d->snap);
	if (!d->taps)
		return TOOL_FAILED;
	if (d->file)
		err = file_begin(d);
	if (!err)
		err = listen_until_stopped(d);
	lost = tool_taps_lost(d->taps);
	tool_taps_close(d->taps);
	if (!err && d->file)
		err = file_end(d, lost);
	tool_say("%" PRIu64 " packets, %" PRIu64 " records lost, %" PRIu64 " bytes not captured",
		 d->shown, lost, d->missed);
	if (err)
		tool_say("%s: %s", d->file ? d->file : "standard output", strerror(-err));
	return err ? TOOL_FAILED : TOOL_OK;
}

/* The words of the filter in one, as tcpdump takes them. Return: whether they fit. */
static bool words_join(char *text, size_t size, char **words)
{
	size_t used = 0;

	for (text[0] = '\0'; *words; words++) {
		used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "", *words);
		if (used >= size) {
			tool_say("the filter is too long");
			return false;
		}
	}
	return true;
}

/* @why: set where it is wrong */
static void filter_for(struct filter *f, int link, const char *text, char *why, size_t size)
{
	pcap_t *dead = pcap_open_dead(link, TAP_FRAME_MAX);

	f->kind = FILTER_ALL;
	snprintf(why, size, "%s", strerror(ENOMEM));
	if (!dead)
		return;
	if (!pcap_compile(dead, &f->program, text, 1, PCAP_NETMASK_UNKNOWN))
		f->kind = FILTER_SOME;
	else
		snprintf(why, size, "%s", pcap_geterr(dead));
	pcap_close(dead);
}

static bool filters_compile(struct tcpdump *d, char **words)
{
	char text[4096], why[PCAP_ERRBUF_SIZE];

	if (!words_join(text, sizeof(text), words))
		return false;
	if (!text[0])
		return true;
	filter_for(&d->raw, DLT_RAW, text, why, sizeof(why));
	filter_for(&d->ethernet, DLT_EN10MB, text, why, sizeof(why));
	if (d->raw.kind == FILTER_SOME || d->ethernet.kind == FILTER_SOME)
		return true;
	tool_say("filter: %s", why);
	return false;
}

static void filter_free(struct filter *f)
{
	if (f->kind == FILTER_SOME)
		pcap_freecode(&f->program);
}

static bool number_take(const char *text, char option, const char *what, uint64_t *number)
{
	if (tool_number(text, UINT32_MAX, number) && *number)
		return true;
	tool_say("-%c %s: expected a number of %s", option, text, what);
	return false;
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
	while ((opt = getopt(argc, argv, "+jw:c:s:p:")) != -1) {
		switch (opt) {
		case 'j': d->json = true; break;
		case 'w': d->file = optarg; break;
		case 'c':
			if (!number_take(optarg, 'c', "packets", &d->count))
				return false;
			break;
		case 's':
			if (!number_take(optarg, 's', "bytes", &d->snap))
				return false;
			break;
		case 'p':
			if (!pid_take(d, optarg))
				return false;
			break;
		default: return false;
		}
	}
	return filters_compile(d, argv + optind);
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
	free(d.iface);
	filter_free(&d.raw);
	filter_free(&d.ethernet);
	if (d.out != stdout && fclose(d.out)) {
		tool_say("%s: %s", d.file, strerror(errno));
		status = TOOL_FAILED;
	}
	return status;
}
