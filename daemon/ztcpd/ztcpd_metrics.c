/* ztcpd_metrics.c - GET /metrics
 *
 * libmicrohttpd without threads of its own: its epoll descriptor is one more source of the loop. A slow reader
 * holds its own connection and nothing else; there are few, and each is dropped when it is silent. An eager one gets
 * the same page for a second. Who asks when it is older waits until the processes have been looked at.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "daemon/ztcpd/ztcpd.h"
#include "stack/base/base_reason.h"

enum {
	CLIENTS = 32,
	CLIENT_TIMEOUT_S = 10,
	PAGE_MS = 1000, /* asked more often, it is the same: all of /proc is read for it */
};

struct metrics {
	struct source src;
	struct survey survey;
	struct MHD_Daemon *http;
	struct MHD_Connection *waiting[CLIENTS];
	unsigned waits;
	char *page; /* the last one; NULL: none */
	size_t len;
	uint64_t made_ms;
};

static void value(FILE *out, const char *name, const char *type, const char *help, uint64_t v)
{
	bool total = strcmp(type, "counter") == 0;

	fprintf(out, "# TYPE %s %s\n# HELP %s %s\n%s%s %" PRIu64 "\n", name, type, name, help, name,
		total ? "_total" : "", v);
}

static void daemon_print(struct ztcpd *d, FILE *out)
{
	const struct pair_counts *c = sessions_counts(d);
	const struct lease_counts *l = leases_counts(d);

	value(out, "ztcpd_sessions", "gauge", "Processes that are connected.", c->sessions);
	value(out, "ztcpd_claims", "gauge", "Connections whose other end has not asked yet.",
	      c->claims);
	value(out, "ztcpd_channels", "gauge", "Pairs of processes that were introduced.",
	      c->channels);
	value(out, "ztcpd_network_namespaces", "gauge", "Network namespaces served.",
	      spaces_count(d));
	value(out, "ztcpd_messages", "counter", "Messages of processes.", c->messages);
	value(out, "ztcpd_nonsense", "counter", "Messages that ended their session.", c->nonsense);
	value(out, "ztcpd_waits", "counter",
	      "Turns in which messages of a user who sends too fast were left for later.",
	      c->waits);
	value(out, "ztcpd_turned_away", "counter",
	      "Processes that could not connect, since their user has too many.", c->turned_away);
	value(out, "ztcpd_introductions", "counter", "Connections whose ends were introduced.",
	      c->paired);
	value(out, "ztcpd_leases", "gauge", "Queues of interfaces that processes have.", l->leases);
	value(out, "ztcpd_leases_ended", "counter", "Queues given back, or left by the dead.",
	      l->ended);
	value(out, "ztcpd_resets", "counter", "Peers of dead processes that were told.", l->resets);
	value(out, "ztcpd_policy_reloads", "counter", "Looks at the policy files.",
	      spaces_reloads(d, false));
	value(out, "ztcpd_policy_errors", "counter", "Policy files that were found wrong.",
	      spaces_reloads(d, true));
	fputs("# TYPE ztcpd_refusals counter\n# HELP ztcpd_refusals Connections not introduced.\n",
	      out);
	for (unsigned i = 0; i < REASON_COUNT; i++) {
		if (c->refused[i])
			fprintf(out, "ztcpd_refusals_total{reason=\"%s\"} %" PRIu64 "\n",
				reason_name(i), c->refused[i]);
	}
}

static void quoted(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			putc('\\', out);
		putc((unsigned char)*text < ' ' ? '?' : *text, out);
	}
}

static void rule_print(void *arg, const struct selector_rule *r)
{
	FILE *out = arg;

	fprintf(out, "ztcp_rule_connections_total{netns=\"%" PRIu64 "\",rule=\"", r->netns);
	if (r->rule == UINT32_MAX)
		fputs("default", out);
	else
		fprintf(out, "%" PRIu32, r->rule + 1);
	fputs("\",text=\"", out);
	quoted(out, r->text ? r->text : "");
	fprintf(out, "\"} %" PRIu64 "\n", r->hits);
}

static char *page_make(struct ztcpd *d, size_t *len)
{
	char *page = NULL;
	FILE *out = open_memstream(&page, len);

	if (!out)
		return NULL;
	daemon_print(d, out);
	fputs("# TYPE ztcp_rule_connections counter\n"
	      "# HELP ztcp_rule_connections Connections that each rule of the policies in force decided.\n",
	      out);
	selector_each_rule(d->sel, rule_print, out);
	value(out, "ztcpd_survey_good", "gauge",
	      "Whether the connections of processes are on this page: 0 where they took too long, or too much.",
	      d->metrics->survey.good);
	fwrite(d->metrics->survey.text, 1, d->metrics->survey.len, out);
	fputs("# EOF\n", out);
	fclose(out);
	return page;
}

static bool page_is_fresh(const struct metrics *m)
{
	return m->page && ztcpd_now_ms() - m->made_ms < PAGE_MS;
}

/* With what the last survey has found. */
static void page_renew(struct ztcpd *d)
{
	struct metrics *m = d->metrics;

	free(m->page);
	m->page = page_make(d, &m->len);
	m->made_ms = ztcpd_now_ms();
	while (m->waits)
		MHD_resume_connection(m->waiting[--m->waits]);
}

/* Return: false: there is a page; true: it is told when there is. */
static bool page_await(struct ztcpd *d, struct MHD_Connection *c)
{
	struct metrics *m = d->metrics;

	if (page_is_fresh(m))
		return false;
	if (m->waits == CLIENTS || survey_begin(d, &m->survey)) {
		page_renew(d);
		return false;
	}
	m->waiting[m->waits++] = c;
	MHD_suspend_connection(c);
	return true;
}

static struct MHD_Response *response(struct ztcpd *d, unsigned status)
{
	static const char elsewhere[] = "see /metrics\n";

	if (status != MHD_HTTP_OK)
		return MHD_create_response_from_buffer(sizeof(elsewhere) - 1, (void *)elsewhere,
						       MHD_RESPMEM_PERSISTENT);
	return d->metrics->page ? MHD_create_response_from_buffer(d->metrics->len, d->metrics->page,
								  MHD_RESPMEM_MUST_COPY)
				: NULL;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *c, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *size, void **state)
{
	bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
	unsigned status = !get                      ? MHD_HTTP_METHOD_NOT_ALLOWED
			  : strcmp(url, "/metrics") ? MHD_HTTP_NOT_FOUND
						    : MHD_HTTP_OK;
	struct MHD_Response *r;
	enum MHD_Result ret;

	(void)version;
	(void)data;
	(void)state;
	*size = 0;
	if (status == MHD_HTTP_OK && page_await(arg, c))
		return MHD_YES;
	r = response(arg, status);
	if (!r)
		return MHD_NO;
	MHD_add_response_header(
		r, MHD_HTTP_HEADER_CONTENT_TYPE,
		status == MHD_HTTP_OK ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
				      : "text/plain");
	ret = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ret;
}

/* metrics_turn() follows every turn. */
static void metrics_ready(struct ztcpd *d, struct source *src, uint32_t events)
{
	(void)d;
	(void)src;
	(void)events;
}

int metrics_turn(struct ztcpd *d)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (!d->metrics)
		return -1;
	MHD_run(d->metrics->http); /* drops who is silent for too long */
	if (MHD_get_timeout(d->metrics->http, &ms) != MHD_YES)
		return -1;
	return ms < 1000 ? (int)ms : 1000;
}

/* Return: 0 and a socket address, or -EINVAL. */
static int address_read(const char *text, struct sockaddr_storage *sa)
{
	struct policy_addr a = { .family = 4, .ip = { 127, 0, 0, 1 } };
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (!*end && end != text)
		a.port = port <= UINT16_MAX ? (uint16_t)port : 0;
	else if (policy_addr_parse(&a, text, strlen(text)))
		return -EINVAL;
	if (!a.port)
		return -EINVAL;
	memset(sa, 0, sizeof(*sa));
	if (a.family == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)sa;

		in->sin_family = AF_INET;
		in->sin_port = htons(a.port);
		memcpy(&in->sin_addr, a.ip, 4);
	} else {
		struct sockaddr_in6 *in = (struct sockaddr_in6 *)sa;

		in->sin6_family = AF_INET6;
		in->sin6_port = htons(a.port);
		memcpy(&in->sin6_addr, a.ip, 16);
	}
	return 0;
}

bool metrics_address_is_right(const char *address)
{
	struct sockaddr_storage sa;

	return !address_read(address, &sa);
}

int metrics_start(struct ztcpd *d, const char *address)
{
	const union MHD_DaemonInfo *info;
	struct sockaddr_storage sa;
	struct metrics *m;

	if (address_read(address, &sa))
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	d->metrics = m;
	m->src.fd = -1;
	m->survey = (struct survey){ .src.fd = -1, .done = page_renew };
	m->http = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
					   (sa.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0),
				   0, NULL, NULL, answer, d, MHD_OPTION_SOCK_ADDR, &sa,
				   MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS,
				   MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CLIENT_TIMEOUT_S,
				   MHD_OPTION_END);
	info = m->http ? MHD_get_daemon_info(m->http, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info) {
		ztcpd_say("--metrics %s: %s", address, strerror(errno));
		return ZTCPD_SAID;
	}
	m->src = (struct source){ info->epoll_fd, metrics_ready };
	return source_add(d, &m->src, EPOLLIN);
}

void metrics_stop(struct ztcpd *d)
{
	if (!d->metrics)
		return;
	survey_stop(d, &d->metrics->survey); /* nobody waits any more */
	if (d->metrics->http)
		MHD_stop_daemon(d->metrics->http); /* closes its descriptors */
	free(d->metrics->page);
	free(d->metrics);
	d->metrics = NULL;
}
