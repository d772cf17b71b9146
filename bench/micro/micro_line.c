/* micro_line.c - the time a cache line takes from one core to another and back
 *
 * Two threads, one on each core, pass a number to and fro in one line. It is the floor of every
 * figure that two cores reach together, and on a guest it changes from minute to minute with the
 * place where the host runs the two virtual cores; so the benchmarks print it beside their results.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TRIPS = 400, SAMPLES = 101 };

static _Alignas(128) atomic_uint line;

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0) {
		perror("micro_line: sched_setaffinity");
		exit(1);
	}
}

/* Waits for odd numbers and answers with the next even one. */
static void *echo(void *core)
{
	unsigned n;

	pin(*(int *)core);
	for (n = 1; n < 2u * TRIPS * SAMPLES; n += 2) {
		while (atomic_load_explicit(&line, memory_order_acquire) != n)
			;
		atomic_store_explicit(&line, n + 1, memory_order_release);
	}
	return NULL;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	double took[SAMPLES];
	int cores[2], i, k;
	pthread_t thread;
	unsigned n = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: micro_line CORE CORE\n");
		return 2;
	}
	cores[0] = atoi(argv[1]);
	cores[1] = atoi(argv[2]);
	if (cores[0] == cores[1]) {
		printf("-\n");
		return 0;
	}
	pin(cores[0]);
	if (pthread_create(&thread, NULL, echo, &cores[1]) != 0)
		return 1;
	for (i = 0; i < SAMPLES; i++) {
		double start = now_ns();

		for (k = 0; k < TRIPS; k++) {
			atomic_store_explicit(&line, ++n, memory_order_release);
			++n;
			while (atomic_load_explicit(&line, memory_order_acquire) != n)
				;
		}
		took[i] = (now_ns() - start) / TRIPS;
	}
	pthread_join(thread, NULL);
	qsort(took, SAMPLES, sizeof(took[0]), by_value);
	printf("%.0f\n", took[SAMPLES / 2]);
	return 0;
}
