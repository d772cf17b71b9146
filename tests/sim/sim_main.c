/* sim_main.c - many runs: sim_tcp [-n RUNS] [-s FIRST_SEED] [-t SECONDS] [-v]
 *
 * Quiet when well. A failing run prints its seed and the property; `-n 1 -s SEED -v` plays it again with every
 * packet. Every run is made twice, the second time without the short ways of tcp_fast.c, and both must leave the
 * same trace and the same counts: so a run also depends on nothing but its seed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

static struct sim sim, again;
static unsigned long long short_in, short_out;

struct args {
	unsigned long runs, seed, seconds;
	bool verbose;
};

static int usage(const char *name)
{
	fprintf(stderr, "usage: %s [-n RUNS] [-s FIRST_SEED] [-t SECONDS] [-v]\n", name);
	return 2;
}

static bool args_read(struct args *a, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:s:t:v")) != -1) {
		if (c == 'n')
			a->runs = strtoul(optarg, NULL, 0);
		else if (c == 's')
			a->seed = strtoul(optarg, NULL, 0);
		else if (c == 't')
			a->seconds = strtoul(optarg, NULL, 0);
		else if (c == 'v')
			a->verbose = true;
		else
			return false;
	}
	return optind == argc;
}

static double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* What both ends of every connection were doing when it went wrong. */
static void show(const struct sim *s)
{
	for (unsigned i = 0; i < 2 * s->nconn; i++) {
		const struct sim_conn *c = &s->host[i & 1].conn[i / 2];
		const struct sim_app *a = &c->app;

		printf("  %c%u %s sent %llu/%llu got %llu/%llu shut %d eof %d closed %d half %d first %d "
		       "doomed %d mss %u\n",
		       i & 1 ? 'S' : 'C', i / 2, tcp_state_name((enum tcp_state)c->t.state),
		       (unsigned long long)a->sent, (unsigned long long)a->to_send,
		       (unsigned long long)a->got, (unsigned long long)a->to_get, a->shut, a->eof,
		       a->closed, a->half_close, a->close_first, c->doomed, c->t.mss);
	}
}

static bool one(unsigned long seed)
{
	if (!sim_run(&sim, seed)) {
		printf("seed %lu: %s\n", seed, sim.why);
		if (sim.verbose)
			show(&sim);
		return false;
	}
	short_in += sim.short_in;
	short_out += sim.short_out;
	sim_run(&again, seed);
	for (unsigned h = 0; h < 2; h++)
		if (memcmp(&again.host[h].counters, &sim.host[h].counters,
			   sizeof(sim.host[h].counters)) != 0) {
			printf("seed %lu: the short way counts what the complete one does not\n",
			       seed);
			return false;
		}
	if (again.hash != sim.hash) {
		printf("seed %lu: the short way and the complete one leave different traces\n",
		       seed);
		return false;
	}
	return true;
}

/* What the runs together must have exercised, or they prove less than they claim. */
static bool covered(const struct base_counters *sum)
{
	static const enum counter must[] = {
		CNT_tcp_predicted, CNT_tcp_recovery, CNT_tcp_rto,          CNT_tcp_tlp,
		CNT_tcp_undo,      CNT_tcp_ecn_cwr,  CNT_tcp_probe_window, CNT_tcp_cookie_ok,
		CNT_tcp_tfo_in,    CNT_tcp_tfo_bad,  CNT_tcp_pmtu,         CNT_tcp_black_hole,
		CNT_tcp_no_block,  CNT_tcp_dsack_in, CNT_tcp_rst_in,       CNT_tcp_old,
		CNT_wire_tcp_csum, CNT_tcp_frto,     CNT_tcp_mtu_probe,    CNT_tcp_mtu_raised,
	};
	bool ok = true;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(must); i++)
		if (!sum->n[must[i]]) {
			printf("no run ever counted %s\n", base_counter_name(must[i]));
			ok = false;
		}
	if (!short_in || !short_out) {
		printf("no segment went a short way\n");
		ok = false;
	}
	if (!sim.lifted) {
		printf("no run ever moved a connection\n");
		ok = false;
	}
	return ok;
}

int main(int argc, char **argv)
{
	struct args a = { .runs = 1000, .seed = 1 };
	static struct base_counters sum;
	unsigned long done = 0, failed = 0;
	double start = seconds_now();

	if (!args_read(&a, argc, argv))
		return usage(argv[0]);
	sim.verbose = a.verbose;
	again.whole = true;
	while ((a.seconds ? seconds_now() - start < (double)a.seconds : done < a.runs) &&
	       failed < 10) {
		failed += !one(a.seed + done);
		done++;
		for (unsigned h = 0; h < 2; h++)
			for (unsigned i = 0; i < CNT_COUNT; i++)
				sum.n[i] += sim.host[h].counters.n[i];
	}
	if (done >= 10000 && !failed && !covered(&sum))
		failed++;
	if (a.verbose)
		for (unsigned i = 0; i < CNT_COUNT; i++)
			if (sum.n[i])
				printf("%12llu %s\n", (unsigned long long)sum.n[i],
				       base_counter_name((enum counter)i));
	if (a.verbose)
		printf("%12llu in and %llu out the short way\n", short_in, short_out);
	printf("%lu runs, %lu failed, %.1f s\n", done, failed, seconds_now() - start);
	sim_free(&sim);
	sim_free(&again);
	return failed != 0;
}
