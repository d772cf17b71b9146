/* tool_top.c - ztcp top: connections by what they carry now
 *
 * Two views are compared; a connection is known again by namespace and cookie. On a terminal ncurses draws
 * until 'q'; with -b, or where there is no terminal, frames are printed one below the other; with -j as JSON, a line each.
 */
#include <errno.h>
#include <math.h>
#include <ncurses.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_conn.h"
#include "daemon/tool/tool_json.h"

#define DELAY_MS_MAX 3600000

/** One connection's rates, in bytes a second. */
struct line {
	const struct tool_conn *conn;
	double shm;
	double kernel;
};

struct frame {
	struct line *line;
	unsigned count;
	unsigned lifted;
	double shm;
	double kernel;
};

static double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int same_socket(const void *a, const void *b)
{
	const struct tool_diag *x = ((const struct tool_conn *)a)->diag;
	const struct tool_diag *y = ((const struct tool_conn *)b)->diag;

	if (x->netns_ino != y->netns_ino)
		return x->netns_ino < y->netns_ino ? -1 : 1;
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static const struct tool_conn *conn_before(const struct tool_view *old, const struct tool_conn *c)
{
	const struct tool_conn *b = old->conns_count ? bsearch(c, old->conns, old->conns_count,
							       sizeof(*c), same_socket)
						     : NULL;

	return b && b->diag->cookie == c->diag->cookie ? b : NULL;
}

/* Torn counts may seem to go back; that is no rate. */
static double rate(uint64_t now, uint64_t before, double seconds)
{
	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static int compare(const void *a, const void *b)
{
	const struct line *x = a;
	const struct line *y = b;
	double dx = x->shm + x->kernel;
	double dy = y->shm + y->kernel;

	return dx > dy ? -1 : dx < dy;
}

static void frame_make(struct frame *f, const struct tool_view *now, const struct tool_view *old,
		       double seconds)
{
	*f = (struct frame){ 0 };
	for (unsigned i = 0; i < now->conns_count; i++) {
		const struct tool_conn *c = &now->conns[i];
		const struct tool_conn *b = conn_before(old, c);
		struct line l = { .conn = c };

		if (!c->followed)
			continue;
		if (b) {
			l.shm = rate(c->row.tx_shm + c->row.rx_shm, b->row.tx_shm + b->row.rx_shm,
				     seconds);
			l.kernel = rate(tool_conn_kernel_tx(c) + tool_conn_kernel_rx(c),
					tool_conn_kernel_tx(b) + tool_conn_kernel_rx(b), seconds);
		}
		f->shm += l.shm;
		f->kernel += l.kernel;
		f->lifted += c->row.tx_lifted || c->row.rx_lifted;
		f->line = tool_grow(f->line, f->count, sizeof(l));
		f->line[f->count++] = l;
	}
	if (f->count)
		qsort(f->line, f->count, sizeof(*f->line), compare);
}

/* "12.3M" */
static void rate_format(char *buf, size_t size, double bytes)
{
	static const char units[] = " KMGT";
	unsigned unit = 0;

	while (bytes >= 1000 && unit + 2 < sizeof(units)) {
		bytes /= 1000;
		unit++;
	}
	if (unit)
		snprintf(buf, size, "%.1f%c", bytes, units[unit]);
	else
		snprintf(buf, size, "%.0f", floor(bytes));
}

static void head_format(const struct frame *f, char *buf, size_t size)
{
	char shm[16], kernel[16];

	rate_format(shm, sizeof(shm), f->shm);
	rate_format(kernel, sizeof(kernel), f->kernel);
	snprintf(buf, size, "%u connections, %u lifted; bytes/s: %s by shm, %s by the kernel",
		 f->count, f->lifted, shm, kernel);
}

static void line_format(const struct line *l, char *buf, size_t size)
{
	const struct tool_conn *c = l->conn;
	const struct tool_diag *d = c->diag;
	char local[64], peer[64], shm[16], kernel[16];

	rate_format(shm, sizeof(shm), l->shm);
	rate_format(kernel, sizeof(kernel), l->kernel);
	snprintf(buf, size, "%7d %-15s %9s %9s %-10s %-14s %22s %22s", c->holders[0].proc->pid,
		 c->holders[0].proc->comm, shm, kernel,
		 tool_conn_path(c, c->row.tx_lifted || c->row.rx_lifted), tool_conn_reason(c),
		 tool_diag_end_format(local, sizeof(local), d->family, d->src, d->sport),
		 tool_diag_end_format(peer, sizeof(peer), d->family, d->dst, d->dport));
}

static void line_json(const struct line *l)
{
	const struct tool_conn *c = l->conn;
	const struct tool_diag *d = c->diag;
	char end[64];

	tool_json_open(NULL, '{');
	tool_json_number("pid", (uint64_t)c->holders[0].proc->pid);
	tool_json_text("program", c->holders[0].proc->comm);
	tool_json_real("shm_per_second", l->shm);
	tool_json_real("kernel_per_second", l->kernel);
	tool_json_text("path", tool_conn_path(c, c->row.tx_lifted || c->row.rx_lifted));
	tool_json_text("reason", tool_conn_reason(c));
	tool_json_text("local",
		       tool_diag_end_format(end, sizeof(end), d->family, d->src, d->sport));
	tool_json_text("peer", tool_diag_end_format(end, sizeof(end), d->family, d->dst, d->dport));
	tool_json_close('}');
}

/* A line for each frame, whose end a reader can see. */
static void frame_json(const struct frame *f)
{
	tool_json_open(NULL, '[');
	for (unsigned i = 0; i < f->count; i++)
		line_json(&f->line[i]);
	tool_json_close(']');
	putchar('\n');
	fflush(stdout);
}

static const char columns[] =
	"    Pid Program             Shm/s  Kernel/s Path       Reason             "
	"Local Address:Port      Peer Address:Port";

static void frame_print(const struct frame *f)
{
	char text[512];

	head_format(f, text, sizeof(text));
	printf("%s\n%s\n", text, columns);
	for (unsigned i = 0; i < f->count; i++) {
		line_format(&f->line[i], text, sizeof(text));
		puts(text);
	}
	putchar('\n');
	fflush(stdout);
}

static void frame_draw(const struct frame *f)
{
	char text[512];

	erase();
	head_format(f, text, sizeof(text));
	mvaddnstr(0, 0, text, COLS);
	attron(A_REVERSE);
	mvaddnstr(1, 0, columns, COLS);
	attroff(A_REVERSE);
	for (unsigned i = 0; i < f->count && (int)i + 2 < LINES; i++) {
		line_format(&f->line[i], text, sizeof(text));
		mvaddnstr((int)i + 2, 0, text, COLS);
	}
	refresh();
}

enum show { LINES_OF_TEXT, JSON, DRAWN };

static void (*const show_frame[])(const struct frame *f) = { frame_print, frame_json, frame_draw };

/* Wait for the next frame. Return: false to end. */
static bool pause_plain(unsigned delay_ms)
{
	struct timespec ts = { delay_ms / 1000, (long)(delay_ms % 1000) * 1000000 };

	return !nanosleep(&ts, NULL);
}

static bool pause_screen(unsigned delay_ms)
{
	double end = seconds_now() + delay_ms / 1000.0;

	for (;;) {
		double left = end - seconds_now();
		int key;

		if (left <= 0)
			return true;
		timeout((int)(left * 1000) + 1);
		key = getch();
		if (key == 'q' || key == 'Q')
			return false;
		if (key == KEY_RESIZE)
			return true;
	}
}

static int frames(enum show show, unsigned delay_ms, uint64_t count)
{
	struct tool_view old, now;
	double before = seconds_now();
	int rc = tool_view_read(&old, NULL, 0);

	for (uint64_t i = 0; !rc && i < count; i++) {
		struct frame f;
		double at;

		if (!(show == DRAWN ? pause_screen(delay_ms) : pause_plain(delay_ms)))
			break;
		at = seconds_now();
		rc = tool_view_read(&now, NULL, 0);
		if (rc) {
			tool_view_free(&now);
			break;
		}
		frame_make(&f, &now, &old, at - before);
		show_frame[show](&f);
		free(f.line);
		tool_view_free(&old);
		old = now;
		before = at;
	}
	tool_view_free(&old);
	return rc;
}

/* "0.5", "2": into milliseconds */
static bool delay_read(const char *text, unsigned *ms)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0.1) || seconds > DELAY_MS_MAX / 1000.0)
		return false;
	*ms = (unsigned)lround(seconds * 1000);
	return true;
}

int tool_top(int argc, char **argv)
{
	enum show show = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) ? DRAWN : LINES_OF_TEXT;
	uint64_t count = UINT64_MAX;
	unsigned delay_ms = 1000;
	int opt, rc;

	optind = 1;
	while ((opt = getopt(argc, argv, "+bjd:n:")) != -1) {
		if (opt == 'b')
			show = show == DRAWN ? LINES_OF_TEXT : show;
		else if (opt == 'j')
			show = JSON;
		else if (opt == 'd' && !delay_read(optarg, &delay_ms))
			return tool_usage("-d: expected seconds from 0.1 to 3600, found '%s'",
					  optarg);
		else if (opt == 'n' && (!tool_number(optarg, UINT64_MAX, &count) || !count))
			return tool_usage("-n: expected a number of frames, found '%s'", optarg);
		else if (opt == '?')
			return TOOL_USAGE;
	}
	if (optind < argc)
		return tool_usage("usage: ztcp top [-b | -j] [-d SECONDS] [-n FRAMES]");
	if (show != DRAWN)
		return frames(show, delay_ms, count) ? TOOL_FAILED : TOOL_OK;
	if (!initscr())
		return TOOL_FAILED;
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	rc = frames(DRAWN, delay_ms, count);
	endwin();
	return rc ? TOOL_FAILED : TOOL_OK;
}
