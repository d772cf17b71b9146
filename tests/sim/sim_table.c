/* sim_table.c - what Reno and CUBIC get out of a link: sim_table [GOLDEN]
 *
 * Prints goodput in percent of a 10 Mbit/s link over loss x delay x router buffer, and how two flows share it.
 * With a file name, compares with the table kept there and prints the lines that differ: a change of congestion
 * control or loss recovery shows as a difference for people to judge, and the file is then renewed on purpose.
 * All arithmetic is on integers, so the table is the same everywhere.
 *
 * Where packets are lost by chance a cell is the mean of several seeds: of 20 seconds with a loss in a thousand packets
 * one says little (CUBIC gets between 28 and 85 percent out of 200 ms and 250 packets). Without losses a run is
 * the same for every seed, so two flows are averaged over when the second one begins.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/tcp/tcp_int.h"
#include "tests/sim/sim.h"

#define RATE_BPS          1250000 /* bytes a second */
#define MSS               1460
#define SECONDS_ONE       20
#define SECONDS_TWO       60
#define SECOND_FLOW_AFTER 3
#define SEEDS             8 /* of a cell with losses */
#define STARTS            4 /* of a second flow, some milliseconds apart */
#define START_STEP_MS     37

static struct sim sim;
static char text[64 * 1024];
static size_t text_len;

static void put(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void put(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_len += (size_t)vsnprintf(text + text_len, sizeof(text) - text_len, fmt, ap);
	va_end(ap);
}

struct cell {
	unsigned loss;     /* in 1/10000 */
	unsigned delay_ms; /* one way */
	unsigned packets;  /* router buffer */
	unsigned seconds;
	unsigned flows;
	bool ecn;
	const struct cc_ops *cc[2];
	unsigned turn; /* of the runs that are averaged */
};

static void link_set(struct sim_link *l, const struct cell *c, bool data)
{
	*l = (struct sim_link){
		.rate_bps = RATE_BPS,
		.delay = ztime_ms(c->delay_ms),
		.queue_bytes = data ? c->packets * 1500 : 1 << 20,
		.loss = data ? (uint16_t)c->loss : 0,
		.mark_bytes = c->ecn ? c->packets * 500 : 0,
	};
}

static void flow_set(struct sim *s, unsigned i, const struct cell *c)
{
	struct sim_conn *tx = &s->host[SIM_CLIENT].conn[i], *rx = &s->host[SIM_SERVER].conn[i];

	tx->app = (struct sim_app){ .to_send = UINT64_MAX,
				    .key = 7,
				    .peer_key = 9,
				    .write_max = 65536,
				    .read_max = 1 << 20,
				    .abort_at = UINT64_MAX };
	rx->app = (struct sim_app){ .to_get = UINT64_MAX,
				    .key = 9,
				    .peer_key = 7,
				    .write_max = 1,
				    .read_max = 1 << 20,
				    .abort_at = UINT64_MAX };
	tx->path_mss = rx->path_mss = MSS;
	tx->start_at = s->now + ztime_sec(i * SECOND_FLOW_AFTER) +
		       ztime_ms(i * c->turn * START_STEP_MS);
	tcp_init(&tx->t, &s->host[SIM_CLIENT].env);
	tcp_cc_set(&tx->t, c->cc[i]);
}

/* Run one cell. @share: bytes that each flow delivered in the second half, or in all of a single flow's time. */
static void cell_run(const struct cell *c, uint64_t share[2])
{
	struct sim *s = &sim;
	uint64_t at_half[2] = { 0, 0 };

	s->rng.s = 1 + c->turn;
	s->now = ZTIME_SEC;
	s->order = s->events = s->hash = 0;
	s->events_max = UINT64_MAX;
	s->faults = UINT32_MAX;
	s->why[0] = 0;
	s->check = s->hostile = false;
	s->forged = 0;
	s->nconn = c->flows;
	s->mtu_at = s->move_at = s->addr_at = ZTIME_NEVER;
	for (uint8_t h = 0; h < 2; h++) {
		sim_host_init(s, h);
		s->host[h].env.cfg.rcvbuf_bytes = s->host[h].env.cfg.rcvbuf_max_bytes = 8 << 20;
		s->host[h].env.cfg.ecn = c->ecn;
		link_set(&s->link[h], c, h == SIM_CLIENT);
	}
	tcp_listen_init(&s->host[SIM_SERVER].listener, &s->host[SIM_SERVER].env, 3, 3);
	for (unsigned i = 0; i < c->flows; i++)
		flow_set(s, i, c);
	s->end = s->now + ztime_sec(c->seconds / 2);
	sim_loop(s);
	for (unsigned i = 0; i < c->flows && c->flows > 1; i++)
		at_half[i] = s->host[SIM_SERVER].conn[i].app.got;
	s->why[0] = 0;
	s->end += ztime_sec(c->seconds - c->seconds / 2);
	sim_loop(s);
	for (unsigned i = 0; i < c->flows; i++)
		share[i] = s->host[SIM_SERVER].conn[i].app.got - at_half[i];
	sim_clear(s);
}

/* The mean of @turns runs. */
static void cell_mean(struct cell c, unsigned turns, uint64_t share[2])
{
	share[0] = share[1] = 0;
	for (c.turn = 0; c.turn < turns; c.turn++) {
		uint64_t one[2] = { 0, 0 };

		cell_run(&c, one);
		share[0] += one[0];
		share[1] += one[1];
	}
	share[0] /= turns;
	share[1] /= turns;
}

static const unsigned losses[] = { 0, 10, 100, 300 }, delays[] = { 5, 25, 100 },
		      buffers[] = { 10, 50, 250 };

static void goodput(const struct cc_ops *cc, bool ecn)
{
	put("goodput of one flow, percent of the link: %s%s\n", cc->name, ecn ? " with ECN" : "");
	put("%-10s", "loss");
	for (size_t d = 0; d < BASE_ARRAY_SIZE(delays); d++)
		for (size_t b = 0; b < BASE_ARRAY_SIZE(buffers); b++)
			put(" %3ums/%-4u", 2 * delays[d], buffers[b]);
	put("\n");
	for (size_t l = 0; l < BASE_ARRAY_SIZE(losses); l++) {
		put("%2u.%02u %%   ", losses[l] / 100, losses[l] % 100);
		for (size_t d = 0; d < BASE_ARRAY_SIZE(delays); d++)
			for (size_t b = 0; b < BASE_ARRAY_SIZE(buffers); b++) {
				struct cell c = { .loss = losses[l],
						  .delay_ms = delays[d],
						  .packets = buffers[b],
						  .seconds = SECONDS_ONE,
						  .flows = 1,
						  .ecn = ecn,
						  .cc = { cc, cc } };
				uint64_t got[2], tenths;

				cell_mean(c, losses[l] ? SEEDS : 1, got);
				tenths = got[0] * 1000 / ((uint64_t)RATE_BPS * SECONDS_ONE);
				put(" %5u.%u   ", (unsigned)(tenths / 10), (unsigned)(tenths % 10));
			}
		put("\n");
	}
	put("\n");
}

/* Jain's index of two shares in 1/1000. */
static unsigned jain(const uint64_t x[2])
{
	uint64_t a = x[0] >> 10, b = x[1] >> 10, squares = 2 * (a * a + b * b);

	return squares ? (unsigned)((a + b) * (a + b) * 1000 / squares) : 0;
}

static void fairness(const struct cc_ops *first, const struct cc_ops *second)
{
	put("two flows, %s then %s: first's share in percent, Jain's index, both in percent of the link\n",
	    first->name, second->name);
	for (size_t d = 0; d < BASE_ARRAY_SIZE(delays); d++)
		for (size_t b = 0; b < BASE_ARRAY_SIZE(buffers); b++) {
			struct cell c = { .delay_ms = delays[d],
					  .packets = buffers[b],
					  .seconds = SECONDS_TWO,
					  .flows = 2,
					  .cc = { first, second } };
			uint64_t got[2], sum;

			cell_mean(c, STARTS, got);
			sum = got[0] + got[1];
			put("%3ums/%-4u %3u %5u %3u\n", 2 * delays[d], buffers[b],
			    (unsigned)(got[0] * 100 / sum), jain(got),
			    (unsigned)(sum * 100 / ((uint64_t)RATE_BPS * (SECONDS_TWO / 2))));
		}
	put("\n");
}

static int compare(const char *name)
{
	static char old[sizeof(text)];
	FILE *f = fopen(name, "r");
	size_t n;
	char *a = text, *b = old;
	int differ = 0;

	if (!f) {
		perror(name);
		return 2;
	}
	n = fread(old, 1, sizeof(old) - 1, f);
	fclose(f);
	old[n] = 0;
	while (*a || *b) {
		size_t la = strcspn(a, "\n"), lb = strcspn(b, "\n");

		if (la != lb || memcmp(a, b, la)) {
			printf("was: %.*s\nnow: %.*s\n", (int)lb, b, (int)la, a);
			differ = 1;
		}
		a += la + (a[la] == '\n');
		b += lb + (b[lb] == '\n');
	}
	return differ;
}

int main(int argc, char **argv)
{
	int rc = 0;

	goodput(&cc_reno, false);
	goodput(&cc_cubic, false);
	goodput(&cc_cubic, true);
	fairness(&cc_reno, &cc_reno);
	fairness(&cc_cubic, &cc_cubic);
	fairness(&cc_cubic, &cc_reno);
	if (argc > 1)
		rc = compare(argv[1]);
	else
		fputs(text, stdout);
	sim_free(&sim);
	return rc;
}
