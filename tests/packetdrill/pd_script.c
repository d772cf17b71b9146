/* pd_script.c - reader of packetdrill's notation
 *
 * One event a line; a line that begins with white space goes on with the one before. Comments are
 * those of C and '#'. Lines of the form `set name=value ...` (in back quotes) before the first
 * event are settings of the host.
 */
#include "pd_script.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct pd_script *s;
	const char *file;
	unsigned int line;
	char *p;
	bool failed;
};

static void fail(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct reader *r, const char *fmt, ...)
{
	char what[100];
	va_list ap;

	if (r->failed)
		return;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	snprintf(r->s->error, sizeof(r->s->error), "%s:%u: %s", r->file, r->line, what);
	r->failed = true;
}

static void space(struct reader *r)
{
	while (isspace((unsigned char)*r->p))
		r->p++;
}

static bool eat(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	space(r);
	if (strncmp(r->p, word, n) != 0)
		return false;
	if (isalnum((unsigned char)word[n - 1]) &&
	    (isalnum((unsigned char)r->p[n]) || r->p[n] == '_'))
		return false;
	r->p += n;
	return true;
}

static void need(struct reader *r, const char *word)
{
	if (!eat(r, word))
		fail(r, "expected '%s' at '%.20s'", word, r->p);
}

static uint32_t number(struct reader *r)
{
	char *end;
	unsigned long v;

	space(r);
	v = strtoul(r->p, &end, 0);
	if (end == r->p)
		fail(r, "expected a number at '%.20s'", r->p);
	r->p = end;
	return (uint32_t)v;
}

/* Seconds with decimals, as nanoseconds. The point of "0...1" is none of the number. */
static ztime_t seconds(struct reader *r)
{
	size_t n = strspn(r->p, "0123456789");
	char text[32];
	double v;

	if (r->p[n] == '.' && r->p[n + 1] != '.')
		n += 1 + strspn(r->p + n + 1, "0123456789");
	snprintf(text, sizeof(text), "%.*s", (int)n, r->p);
	v = strtod(text, NULL);
	if (!n)
		fail(r, "expected a time at '%.20s'", r->p);
	r->p += n;
	return (ztime_t)(v * 1e9 + 0.5);
}

static void event_time(struct reader *r, struct pd_event *e)
{
	space(r);
	if (eat(r, "*")) {
		e->time = PD_TIME_ANY;
		return;
	}
	e->time = *r->p == '+' ? PD_TIME_REL : PD_TIME_ABS;
	r->p += *r->p == '+';
	e->at = seconds(r);
	/* A range of times, or a call that takes until then. */
	if (*r->p == '~' || strncmp(r->p, "...", 3) == 0) {
		r->p += *r->p == '~' ? 1 : 3;
		r->p += *r->p == '+';
		e->until = seconds(r);
	}
}

/* ---- packets */

static void flags(struct reader *r, struct pd_tcp *t)
{
	static const char letters[] = "FSRP.UEW";

	space(r);
	for (; *r->p && !isspace((unsigned char)*r->p); r->p++) {
		const char *at = strchr(letters, *r->p);

		if (*r->p == '-')
			continue;
		if (!at) {
			fail(r, "flag '%c'", *r->p);
			return;
		}
		t->seg.flags |= (uint8_t)(1u << (at - letters));
	}
}

static void sequence(struct reader *r, struct pd_tcp *t)
{
	t->seg.seq = number(r);
	need(r, ":");
	t->seg.len = number(r) - t->seg.seq;
	need(r, "(");
	if (number(r) != t->seg.len)
		fail(r, "length and sequence numbers differ");
	need(r, ")");
}

static void hex(struct reader *r, struct pd_tcp *t)
{
	space(r);
	while (isxdigit((unsigned char)r->p[0]) && isxdigit((unsigned char)r->p[1])) {
		char byte[3] = { r->p[0], r->p[1], 0 };

		if (t->seg.tfo_len == WIRE_TCP_TFO_MAX) {
			fail(r, "cookie too long");
			return;
		}
		t->seg.tfo[t->seg.tfo_len++] = (uint8_t)strtoul(byte, NULL, 16);
		r->p += 2;
	}
}

static void sack_blocks(struct reader *r, struct pd_tcp *t)
{
	space(r);
	while (isdigit((unsigned char)*r->p) && t->seg.nsack < WIRE_TCP_SACK_MAX) {
		struct wire_tcp_sack *b = &t->seg.sack[t->seg.nsack++];

		b->left = number(r);
		need(r, ":");
		b->right = number(r);
		space(r);
	}
	t->seg.opts |= TCP_OPT_SACK;
}

static void option(struct reader *r, struct pd_tcp *t)
{
	if (eat(r, "mss")) {
		t->seg.mss = (uint16_t)number(r);
		t->seg.opts |= TCP_OPT_MSS;
	} else if (eat(r, "wscale")) {
		t->seg.wscale = (uint8_t)number(r);
		t->seg.opts |= TCP_OPT_WSCALE;
	} else if (eat(r, "sackOK")) {
		t->seg.opts |= TCP_OPT_SACK_OK;
	} else if (eat(r, "sack")) {
		sack_blocks(r, t);
	} else if (eat(r, "TS val")) {
		t->seg.tsval = number(r);
		need(r, "ecr");
		t->seg.tsecr = number(r);
		t->seg.opts |= TCP_OPT_TS;
	} else if (eat(r, "FO")) {
		t->seg.opts |= TCP_OPT_TFO;
		hex(r, t);
	} else if (!eat(r, "nop") && !eat(r, "eol")) {
		fail(r, "option at '%.20s'", r->p);
	}
}

static void options(struct reader *r, struct pd_tcp *t)
{
	if (!eat(r, "<"))
		return;
	if (eat(r, "...")) {
		t->any_opts = true;
		need(r, ">");
		return;
	}
	do {
		option(r, t);
	} while (!r->failed && eat(r, ","));
	need(r, ">");
}

static void ecn(struct reader *r, struct pd_tcp *t)
{
	static const char *const names[] = { "noecn", "ect1", "ect0", "ce" };

	t->any_ecn = true;
	if (!eat(r, "["))
		return;
	for (uint8_t i = 0; i < 4; i++) {
		if (!eat(r, names[i]))
			continue;
		t->seg.ecn = i;
		t->any_ecn = false;
	}
	need(r, "]");
}

static void icmp(struct reader *r, struct pd_tcp *t)
{
	size_t n;

	t->icmp = true;
	space(r);
	eat(r, "unreachable");
	space(r);
	n = strspn(r->p, "abcdefghijklmnopqrstuvwxyz_");
	snprintf(t->icmp_type, sizeof(t->icmp_type), "%.*s", (int)n, r->p);
	r->p += n;
	if (eat(r, "mtu"))
		t->icmp_mtu = number(r);
	need(r, "[");
	sequence(r, t);
	need(r, "]");
}

static void packet(struct reader *r, struct pd_event *e)
{
	struct pd_tcp *t = &e->tcp;

	ecn(r, t);
	if (eat(r, "icmp")) {
		icmp(r, t);
		return;
	}
	flags(r, t);
	sequence(r, t);
	if (eat(r, "ack")) {
		t->seg.ack = number(r);
		t->has_ack = true;
	}
	if (eat(r, "win")) {
		t->seg.wnd = (uint16_t)number(r);
		t->has_wnd = true;
	}
	if (eat(r, "urg"))
		t->seg.urg = (uint16_t)number(r);
	options(r, t);
	space(r);
	if (*r->p)
		fail(r, "left over: '%.20s'", r->p);
}

/* ---- calls */

/* One argument: up to a comma or the closing bracket on this level. */
static char *argument(struct reader *r)
{
	int depth = 0;
	char *begin, *end;

	space(r);
	for (begin = r->p; *r->p; r->p++) {
		if (strchr("([{", *r->p))
			depth++;
		else if (strchr(")]}", *r->p) && depth-- == 0)
			break;
		else if (*r->p == ',' && depth == 0)
			break;
	}
	for (end = r->p; end > begin && isspace((unsigned char)end[-1]);)
		end--;
	return strndup(begin, (size_t)(end - begin));
}

static void call(struct reader *r, struct pd_event *e)
{
	struct pd_call *c = &e->call;
	size_t n;

	space(r);
	n = strspn(r->p, "abcdefghijklmnopqrstuvwxyz_0123456789");
	snprintf(c->name, sizeof(c->name), "%.*s", (int)n, r->p);
	r->p += n;
	need(r, "(");
	while (!r->failed && !eat(r, ")")) {
		if (c->nargs == PD_ARGS_MAX) {
			fail(r, "too many arguments");
			return;
		}
		c->args[c->nargs++] = argument(r);
		if (*r->p == ',')
			r->p++;
	}
	need(r, "=");
	space(r);
	n = strcspn(r->p, " \t\n");
	snprintf(c->result, sizeof(c->result), "%.*s", (int)n, r->p);
	r->p += n;
	space(r);
	n = strspn(r->p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
	snprintf(c->err, sizeof(c->err), "%.*s", (int)n, r->p);
}

static void event(struct reader *r)
{
	struct pd_script *s = r->s;
	struct pd_event *e;

	s->events = realloc(s->events, (s->count + 1) * sizeof(*s->events));
	e = &s->events[s->count++];
	memset(e, 0, sizeof(*e));
	e->line = r->line;
	event_time(r, e);
	if (eat(r, "<")) {
		e->kind = PD_EV_IN;
		packet(r, e);
	} else if (eat(r, ">")) {
		e->kind = PD_EV_OUT;
		packet(r, e);
	} else if (eat(r, "%{")) {
		char *end = strstr(r->p, "}%");

		e->kind = PD_EV_ASSERT;
		if (!end)
			fail(r, "%%{ without }%%");
		else
			e->text = strndup(r->p, (size_t)(end - r->p));
	} else {
		e->kind = PD_EV_CALL;
		call(r, e);
	}
}

/* ---- lines */

static void flag_line(struct reader *r)
{
	unsigned long v;

	if (sscanf(r->p, "--tolerance_usecs=%lu", &v) == 1)
		r->s->tolerance = ztime_us((int64_t)v);
	else if (strncmp(r->p, "--ip_version=ipv6", 17) == 0)
		r->s->v6 = true;
	else
		fail(r, "option '%.30s'", r->p);
}

static void settings_line(struct reader *r)
{
	size_t have = strlen(r->s->settings);
	char *end = strchr(r->p + 1, '`');

	r->p++;
	if (!end || !eat(r, "set")) {
		fail(r, "expected `set name=value ...`");
		return;
	}
	snprintf(r->s->settings + have, sizeof(r->s->settings) - have, "%.*s ", (int)(end - r->p),
		 r->p);
}

static void line(struct reader *r)
{
	space(r);
	if (*r->p == '-' && r->p[1] == '-')
		flag_line(r);
	else if (*r->p == '`')
		settings_line(r);
	else if (*r->p)
		event(r);
}

/* Comments become spaces; line ends stay. */
static void uncomment(char *p)
{
	while (*p) {
		if (p[0] == '/' && p[1] == '*') {
			while (*p && !(p[0] == '*' && p[1] == '/')) {
				*p = *p == '\n' ? '\n' : ' ';
				p++;
			}
			if (*p)
				p[0] = p[1] = ' ';
		} else if ((p[0] == '/' && p[1] == '/') || p[0] == '#') {
			while (*p && *p != '\n')
				*p++ = ' ';
		} else {
			p++;
		}
	}
}

static char *file_read(const char *file)
{
	FILE *f = fopen(file, "r");
	char *text = calloc(1, 1 << 18);

	if (!f) {
		free(text);
		return NULL;
	}
	if (fread(text, 1, (1 << 18) - 1, f) == 0)
		text[0] = 0;
	fclose(f);
	return text;
}

bool pd_script_read(struct pd_script *s, const char *file)
{
	struct reader r = { .s = s, .file = file };

	*s = (struct pd_script){ .tolerance = ztime_ms(4) };
	s->source = file_read(file);
	if (!s->source) {
		snprintf(s->error, sizeof(s->error), "%s: %s", file, strerror(errno));
		return false;
	}
	uncomment(s->source);
	for (char *at = s->source; *at && !r.failed;) {
		char *end = strchr(at, '\n');
		unsigned int lines = 1;

		/* A line that begins with white space and is not blank goes on. */
		while (end && (end[1] == ' ' || end[1] == '\t') &&
		       end[1 + strspn(end + 1, " \t")] != '\n') {
			*end = ' ';
			end = strchr(end, '\n');
			lines++;
		}
		if (end)
			*end = 0;
		r.line++;
		r.p = at;
		line(&r);
		r.line += lines - 1;
		at = end ? end + 1 : at + strlen(at);
	}
	if (!r.failed && !s->count)
		fail(&r, "no event");
	return !r.failed;
}

void pd_script_free(struct pd_script *s)
{
	for (unsigned int i = 0; i < s->count; i++) {
		for (unsigned int k = 0; k < s->events[i].call.nargs; k++)
			free(s->events[i].call.args[k]);
		free(s->events[i].text);
	}
	free(s->events);
	free(s->source);
}
