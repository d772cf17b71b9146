/* pd_play.c - plays packet scripts against an instance in virtual time
 *
 * usage: pd_play [--record] SCRIPT...
 * --record prints the packets that are sent instead of judging them, for writing scripts.
 * Exit: 0 when all scripts hold; 1 with one line for each that does not.
 *
 * A blocking call ("0.1...0.3 read(...)") is tried again after each later event until it has a
 * result, which must be at the time given. At the end no packet may be left that the script does
 * not name, and no buffer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "pd_host.h"
#include "pd_script.h"
#include "pd_wire.h"
#include "stack/base/base_check.h"

struct play {
	const char *file;
	struct pd_script script;
	struct pd_host *host;
	struct pd_peer peer;
	ztime_t base, last; /* script time zero; time of the event before */
	const struct pd_event *blocked;
	bool failed, record;
	int block_value;
};

static void wrong(struct play *p, const struct pd_event *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void wrong(struct play *p, const struct pd_event *e, const char *fmt, ...)
{
	va_list ap;

	if (p->failed)
		return;
	p->failed = true;
	printf("%s:%u: ", p->file, e->line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" (at %.6f)\n", (double)(pd_now(p->host) - p->base) / 1e9);
}

/* ---- calls */

struct name {
	const char *name;
	int value;
};

#define N(x)          \
	{             \
#x, x \
	}
static const struct name names[] = {
	N(EAGAIN),
	N(EWOULDBLOCK),
	N(EINPROGRESS),
	N(EALREADY),
	N(EISCONN),
	N(ENOTCONN),
	N(EPIPE),
	N(ECONNRESET),
	N(ECONNREFUSED),
	N(ETIMEDOUT),
	N(EINVAL),
	N(EBADF),
	N(EADDRINUSE),
	N(EADDRNOTAVAIL),
	N(EAFNOSUPPORT),
	N(EPROTONOSUPPORT),
	N(ENOPROTOOPT),
	N(EHOSTUNREACH),
	N(ENETUNREACH),
	N(EMSGSIZE),
	N(ECONNABORTED),
	N(EPROTO),
	N(EACCES),
	N(ENOBUFS),
	N(EMFILE),
	N(SOCK_STREAM),
	N(SOCK_DGRAM),
	N(SOCK_NONBLOCK),
	N(AF_INET),
	N(AF_INET6),
	N(AF_UNIX),
	N(IPPROTO_TCP),
	N(IPPROTO_UDP),
	N(SOL_SOCKET),
	N(SO_REUSEADDR),
	N(SO_ERROR),
	N(SO_KEEPALIVE),
	N(SO_SNDBUF),
	N(SO_RCVBUF),
	N(SO_LINGER),
	N(TCP_NODELAY),
	N(TCP_CORK),
	N(TCP_QUICKACK),
	N(TCP_KEEPIDLE),
	N(TCP_KEEPINTVL),
	N(TCP_KEEPCNT),
	N(TCP_USER_TIMEOUT),
	N(TCP_MAXSEG),
	N(TCP_SYNCNT),
	N(TCP_LINGER2),
	N(SHUT_RD),
	N(SHUT_WR),
	N(SHUT_RDWR),
	N(F_GETFL),
	N(F_SETFL),
	N(O_RDWR),
	N(O_NONBLOCK),
	N(MSG_OOB),
	N(MSG_MORE),
	N(MSG_PEEK),
	N(MSG_DONTWAIT),
	N(POLLIN),
	N(POLLOUT),
	N(POLLHUP),
	N(POLLERR),
	N(POLLRDHUP),
	N(FIONREAD),
	N(SIOCINQ),
	N(SIOCOUTQ),
	{ "SIOCOUTQNSD", SIOCOUTQNSD },
};
#undef N

static bool name_value(const char *word, size_t n, int *v)
{
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++)
		if (strlen(names[i].name) == n && strncmp(names[i].name, word, n) == 0)
			return *v = names[i].value, true;
	return false;
}

/* A number, a name, several joined by '|', or either in square brackets. */
static int value(struct play *p, const struct pd_event *e, const char *text)
{
	int sum = 0, v;

	text += strspn(text, "[ ");
	while (*text) {
		size_t n = strcspn(text, "| ],}");
		char *end;
		long number = strtol(text, &end, 0);

		if (end != text)
			v = (int)number;
		else if (!name_value(text, n, &v)) {
			wrong(p, e, "'%s' is not known", text);
			return 0;
		}
		sum |= v;
		text += n;
		text += strspn(text, "| ");
		if (*text && strchr("],}", *text))
			break;
	}
	return sum;
}

static int arg(struct play *p, const struct pd_event *e, unsigned int i)
{
	if (i >= e->call.nargs) {
		wrong(p, e, "argument %u is missing", i + 1);
		return 0;
	}
	return value(p, e, e->call.args[i]);
}

static socklen_t peer_address(const struct play *p, struct sockaddr_storage *a, bool ours)
{
	struct sockaddr_in *in = (void *)a;
	struct sockaddr_in6 *in6 = (void *)a;

	memset(a, 0, sizeof(*a));
	if (!p->script.v6) {
		in->sin_family = AF_INET;
		in->sin_port = htons(8080);
		if (!ours)
			memcpy(&in->sin_addr, p->peer.peer.b + 12, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(8080);
	if (!ours)
		memcpy(&in6->sin6_addr, p->peer.peer.b, 16);
	return sizeof(*in6);
}

static long call_address(struct play *p, const struct pd_event *e, int fd)
{
	const char *name = e->call.name;
	struct sockaddr_storage a;
	socklen_t len = peer_address(p, &a, strcmp(name, "bind") == 0);

	if (e->call.nargs > 2 && strcmp(e->call.args[2], "...") != 0)
		len = (socklen_t)arg(p, e, 2);
	if (strcmp(name, "bind") == 0)
		return pd_bind(p->host, fd, (void *)&a, len);
	if (strcmp(name, "accept") == 0)
		return pd_accept(p->host, fd, (void *)&a, &len);
	/* From here packets to and from the host belong to its own connection. */
	if (!p->peer.live)
		p->peer.peer_port = 8080;
	return pd_connect(p->host, fd, (void *)&a, len);
}

static long call_bytes(struct play *p, const struct pd_event *e, int fd)
{
	static char buf[1 << 20];
	const char *name = e->call.name;
	size_t len = BASE_MIN((size_t)arg(p, e, 2), sizeof(buf));
	int flags = e->call.nargs > 3 ? arg(p, e, 3) : 0;

	memset(buf, 0, len);
	if (strcmp(name, "read") == 0 || strcmp(name, "recv") == 0)
		return pd_read(p->host, fd, buf, len, flags);
	return pd_write(p->host, fd, buf, len, flags);
}

static long call_getsockopt(struct play *p, const struct pd_event *e, int fd)
{
	int v = 0, want = arg(p, e, 3);
	socklen_t len = sizeof(v);
	long rc = pd_getsockopt(p->host, fd, arg(p, e, 1), arg(p, e, 2), &v, &len);

	if (rc == 0 && v != want)
		wrong(p, e, "getsockopt gives %d, expected %d", v, want);
	return rc;
}

static long call_ioctl(struct play *p, const struct pd_event *e, int fd)
{
	int v = 0, want = arg(p, e, 2);
	long rc = pd_ioctl(p->host, fd, (unsigned long)arg(p, e, 1), &v);

	if (rc == 0 && v != want)
		wrong(p, e, "ioctl gives %d, expected %d", v, want);
	return rc;
}

static int field(struct play *p, const struct pd_event *e, const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? value(p, e, at + strlen(name)) : 0;
}

static long call_poll(struct play *p, const struct pd_event *e)
{
	const char *text = e->call.args[0];
	struct pollfd f = { .fd = field(p, e, text, "fd=") };
	int want = field(p, e, text, "revents="), n;

	f.events = (short)field(p, e, text, " events=");
	n = pd_poll(p->host, &f, 1);
	if (n == 0 && arg(p, e, 2) != 0 && want)
		return -EAGAIN;
	if (f.revents != want)
		wrong(p, e, "poll gives revents %#x, expected %#x", f.revents, want);
	return n;
}

static long call_make(struct play *p, const struct pd_event *e)
{
	const char *name = e->call.name;
	int fd;

	if (strcmp(name, "socket") == 0)
		return pd_socket(p->host,
				 strcmp(e->call.args[0], "...") ? arg(p, e, 0)
				 : p->script.v6                 ? AF_INET6
								: AF_INET,
				 arg(p, e, 1), arg(p, e, 2));
	if (strcmp(name, "poll") == 0)
		return call_poll(p, e);
	fd = arg(p, e, 0);
	if (strcmp(name, "bind") == 0 || strcmp(name, "accept") == 0 ||
	    strcmp(name, "connect") == 0)
		return call_address(p, e, fd);
	if (strcmp(name, "listen") == 0)
		return pd_listen(p->host, fd, arg(p, e, 1));
	if (strcmp(name, "close") == 0)
		return pd_close(p->host, fd);
	if (strcmp(name, "shutdown") == 0)
		return pd_shutdown(p->host, fd, arg(p, e, 1));
	if (strcmp(name, "fcntl") == 0)
		return pd_fcntl(p->host, fd, arg(p, e, 1), e->call.nargs > 2 ? arg(p, e, 2) : 0);
	if (strcmp(name, "ioctl") == 0)
		return call_ioctl(p, e, fd);
	if (strcmp(name, "getsockopt") == 0)
		return call_getsockopt(p, e, fd);
	if (strcmp(name, "setsockopt") == 0) {
		int v = arg(p, e, 3);

		return pd_setsockopt(p->host, fd, arg(p, e, 1), arg(p, e, 2), &v, sizeof(v));
	}
	if (strcmp(name, "read") == 0 || strcmp(name, "recv") == 0 || strcmp(name, "write") == 0 ||
	    strcmp(name, "send") == 0)
		return call_bytes(p, e, fd);
	wrong(p, e, "call '%s' is not known", name);
	return 0;
}

static void call_judge(struct play *p, const struct pd_event *e, long rc)
{
	long want = strtol(e->call.result, NULL, 0);
	int err = 0;

	if (strcmp(e->call.result, "?") == 0 || p->failed)
		return;
	if (e->call.err[0] && !name_value(e->call.err, strlen(e->call.err), &err))
		wrong(p, e, "errno '%s' is not known", e->call.err);
	else if (err && rc != -err)
		wrong(p, e, "%s gives %ld (%s), expected %s", e->call.name, rc,
		      rc < 0 ? strerrorname_np((int)-rc) : "no error", e->call.err);
	else if (!err && rc != want)
		wrong(p, e, "%s gives %ld%s%s, expected %ld", e->call.name, rc, rc < 0 ? " " : "",
		      rc < 0 ? strerrorname_np((int)-rc) : "", want);
}

static bool would_block(long rc)
{
	return rc == -EAGAIN || rc == -EINPROGRESS || rc == -EALREADY;
}

/* Try the blocked call again. */
static void blocked_again(struct play *p)
{
	const struct pd_event *e = p->blocked;
	long rc;

	if (!e)
		return;
	rc = call_make(p, e);
	if (would_block(rc))
		return;
	p->blocked = NULL;
	call_judge(p, e, rc);
	if (pd_now(p->host) - p->base + p->script.tolerance < e->until)
		wrong(p, e, "%s returns too soon", e->call.name);
}

static void play_call(struct play *p, const struct pd_event *e)
{
	long rc = call_make(p, e);

	if (e->until && would_block(rc)) {
		p->blocked = e;
		return;
	}
	call_judge(p, e, rc);
}

/* ---- assertions */

static long info_value(const struct tcp_info_rec *i, const char *name, bool *known)
{
	const struct {
		const char *name;
		long value;
	} fields[] = {
		{ "tcpi_snd_cwnd", i->mss ? (long)(i->cwnd / i->mss) : 0 },
		{ "tcpi_snd_ssthresh", i->ssthresh == UINT32_MAX
					       ? INT32_MAX
					       : (long)(i->ssthresh / (i->mss ? i->mss : 1)) },
		{ "tcpi_unacked",
		  i->mss ? (long)((i->unacked - i->unsent + i->mss - 1) / i->mss) : 0 },
		{ "tcpi_notsent_bytes", i->unsent },
		{ "tcpi_ca_state", i->ca_state },
		{ "tcpi_rto", i->rto_us },
		{ "tcpi_rtt", i->srtt_us },
		{ "tcpi_backoff", i->backoff },
		{ "tcpi_probes", i->probes },
		{ "tcpi_snd_mss", i->mss },
		{ "tcpi_total_retrans", i->retransmits },
		{ "tcpi_rcv_space", i->rcvbuf },
		{ "tcpi_snd_wnd", i->snd_wnd },
		{ "tcpi_state", i->state },
		{ "tcpi_min_rtt", i->min_rtt_us },
	};

	for (size_t k = 0; k < BASE_ARRAY_SIZE(fields); k++)
		if (strcmp(fields[k].name, name) == 0)
			return *known = true, fields[k].value;
	*known = false;
	return 0;
}

/*
 * "assert NAME OP NUMBER": a field of the newest connection's tcp_info, or a counter of the
 * instance.
 */
static void play_assert(struct play *p, const struct pd_event *e)
{
	struct tcp_info_rec info = { 0 };
	char name[40], op[3];
	long want, got;
	bool known, ok;

	if (sscanf(e->text, " assert %39[a-z_A-Z0-9] %2[<>=!] %ld", name, op, &want) != 3) {
		wrong(p, e, "expected 'assert NAME OP NUMBER'");
		return;
	}
	for (int fd = 63; fd >= 3 && !pd_info(p->host, fd, &info); fd--)
		;
	got = info_value(&info, name, &known);
	if (!known && (got = pd_counter(p->host, name)) < 0) {
		wrong(p, e, "'%s' is not known", name);
		return;
	}
	ok = strcmp(op, "==") == 0   ? got == want
	     : strcmp(op, "!=") == 0 ? got != want
	     : strcmp(op, "<") == 0  ? got < want
	     : strcmp(op, "<=") == 0 ? got <= want
	     : strcmp(op, ">") == 0  ? got > want
				     : got >= want;
	if (!ok)
		wrong(p, e, "%s is %ld, expected %s %ld", name, got, op, want);
}

/* ---- packets */

static void play_in(struct play *p, const struct pd_event *e)
{
	static uint8_t packet[PD_PACKET_MAX];

	if ((e->tcp.seg.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && p->peer.peer_port != 8080 &&
	    !e->tcp.icmp)
		pd_peer_syn(&p->peer, &e->tcp);
	pd_packet_in(p->host, packet, pd_peer_build(&p->peer, &e->tcp, packet));
}

static const char *differs(const struct play *p, const struct pd_tcp *want,
			   const struct pd_tcp *got)
{
	const struct wire_tcp *w = &want->seg, *g = &got->seg;
	uint8_t opts = (uint8_t)(w->opts & ~TCP_OPT_SACK);
	int32_t ts = (int32_t)(g->tsval - w->tsval);

	if (w->flags != g->flags)
		return "flags";
	if (w->seq != g->seq || w->len != g->len)
		return "sequence numbers";
	if (want->has_ack && w->ack != g->ack)
		return "ack";
	if (want->has_wnd && w->wnd != g->wnd)
		return "window";
	if (w->flags & TCP_URG && w->urg != g->urg)
		return "urgent pointer";
	if (!want->any_ecn && w->ecn != g->ecn)
		return "ECN";
	if (want->any_opts)
		return NULL;
	if (w->opts != g->opts)
		return "options";
	if ((opts & TCP_OPT_MSS && w->mss != g->mss) ||
	    (opts & TCP_OPT_WSCALE && w->wscale != g->wscale))
		return "option values";
	if (opts & TCP_OPT_TS && (w->tsecr != g->tsecr || ts < -(p->script.tolerance / ZTIME_MS) ||
				  ts > p->script.tolerance / ZTIME_MS))
		return "timestamps";
	if (opts & TCP_OPT_TFO && w->tfo_len != g->tfo_len && w->tfo_len)
		return "cookie";
	if (w->opts & TCP_OPT_SACK &&
	    (w->nsack != g->nsack || memcmp(w->sack, g->sack, w->nsack * sizeof(w->sack[0]))))
		return "SACK blocks";
	return NULL;
}

static ztime_t event_at(const struct play *p, const struct pd_event *e)
{
	return e->time == PD_TIME_REL ? p->last + e->at : p->base + e->at;
}

static void out_judge(struct play *p, const struct pd_event *e, struct pd_packet *k)
{
	ztime_t at = event_at(p, e), late = p->script.tolerance;
	char want[300], got[300];
	struct pd_tcp t;
	const char *what = pd_peer_read(&p->peer, k->data, k->len, &e->tcp, &t);

	pd_tcp_print(&t, got, sizeof(got));
	pd_tcp_print(&e->tcp, want, sizeof(want));
	if (!what)
		what = differs(p, &e->tcp, &t);
	if (what)
		wrong(p, e, "%s: sent %s, expected %s", what, got, want);
	else if (e->time != PD_TIME_ANY &&
		 (k->at < at - late ||
		  k->at > (e->until ? (e->time == PD_TIME_REL ? p->last : p->base) + e->until
				    : at) +
				  late))
		wrong(p, e, "time: %s sent at %.6f, expected %.6f", got,
		      (double)(k->at - p->base) / 1e9, (double)(at - p->base) / 1e9);
	p->last = e->time == PD_TIME_ANY || e->until ? k->at : at;
}

static void play_out(struct play *p, const struct pd_event *e)
{
	ztime_t at = e->time == PD_TIME_ANY ? pd_now(p->host) + 200 * ZTIME_SEC : event_at(p, e);
	struct pd_packet k;
	char want[300];

	if (e->until)
		at = (e->time == PD_TIME_REL ? p->last : p->base) + e->until;
	pd_advance(p->host, at + p->script.tolerance, true);
	k = pd_packet_out(p->host);
	if (!k.data) {
		pd_tcp_print(&e->tcp, want, sizeof(want));
		wrong(p, e, "nothing sent, expected %s", want);
		return;
	}
	out_judge(p, e, &k);
	free(k.data);
}

static void record_print(struct play *p)
{
	struct pd_packet k;
	struct pd_tcp t;
	char text[300];

	while ((k = pd_packet_out(p->host)).data) {
		const char *bad = pd_peer_read(&p->peer, k.data, k.len, NULL, &t);

		pd_tcp_print(&t, text, sizeof(text));
		printf("%.6f > %s%s%s\n", (double)(k.at - p->base) / 1e9, text, bad ? " // " : "",
		       bad ? bad : "");
		free(k.data);
	}
}

/* ---- scripts */

static void play_event(struct play *p, const struct pd_event *e)
{
	if (e->kind == PD_EV_OUT && !p->record) {
		play_out(p, e);
		return;
	}
	if (e->time != PD_TIME_ANY) {
		ztime_t at = event_at(p, e);

		pd_advance(p->host, at, false);
		p->last = at;
	}
	if (p->record)
		record_print(p);
	if (e->kind == PD_EV_IN)
		play_in(p, e);
	else if (e->kind == PD_EV_CALL)
		play_call(p, e);
	else if (e->kind == PD_EV_ASSERT)
		play_assert(p, e);
	if (p->record)
		record_print(p);
}

static void play_end(struct play *p)
{
	const struct pd_event *e = &p->script.events[p->script.count - 1];
	struct pd_packet k = pd_packet_out(p->host);
	struct pd_tcp t;
	char got[300];
	long left;

	if (p->blocked)
		wrong(p, p->blocked, "%s never returns", p->blocked->call.name);
	if (k.data) {
		pd_peer_read(&p->peer, k.data, k.len, NULL, &t);
		pd_tcp_print(&t, got, sizeof(got));
		wrong(p, e, "sent and not named by the script: %s", got);
		free(k.data);
	}
	left = pd_host_free(p->host);
	if (left && !p->failed) {
		printf("%s: %ld buffers or blocks left behind\n", p->file, left);
		p->failed = true;
	}
}

static bool play(const char *file, bool record)
{
	struct play p = { .file = file, .record = record };
	char bad[64];

	if (!pd_script_read(&p.script, file)) {
		printf("%s\n", p.script.error);
		pd_script_free(&p.script);
		return false;
	}
	p.host = pd_host_new(p.script.settings, bad);
	if (!p.host) {
		printf("%s: setting '%s' is not known\n", file, bad);
		pd_script_free(&p.script);
		return false;
	}
	pd_peer_init(&p.peer, p.script.v6);
	p.base = p.last = pd_now(p.host);
	for (unsigned int i = 0; i < p.script.count && !p.failed; i++) {
		play_event(&p, &p.script.events[i]);
		blocked_again(&p);
	}
	play_end(&p);
	pd_script_free(&p.script);
	return !p.failed;
}

int main(int argc, char **argv)
{
	bool record = argc > 1 && strcmp(argv[1], "--record") == 0;
	int failures = 0;

	for (int i = 1 + record; i < argc; i++)
		failures += !play(argv[i], record);
	return failures != 0;
}
