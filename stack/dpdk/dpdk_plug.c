/* dpdk_plug.c - the one symbol of libztcp_dpdk.so, and the one EAL of the process
 *
 * Theory of operation: EAL takes over what it is not told otherwise: threads on all processors, the affinity of the
 * thread that starts it, hugepages, files. It is told: one lcore that may run wherever this thread
 * may, nothing in the file system, no scan for PCI devices unless one is named.
 */
#include <errno.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "stack/dpdk/dpdk.h"

#define LCORES_BYTES 512
#define HUGE_BYTES   ((size_t)64 << 20)

const struct dev_dpdk_host *dpdk_host;

static char started[2048]; /* the words EAL was started with; "": it was not */
static char lcores[LCORES_BYTES];

static void words_join(const struct dpdk_args *a, char *to, size_t size)
{
	size_t at = 0;

	to[0] = '\0';
	for (int i = 1; i < a->argc && at < size; i++)
		at += (size_t)snprintf(to + at, size - at, "%s ", a->argv[i]);
}

/* One lcore, on any processor that this thread has. */
static const char *lcores_text(const cpu_set_t *cpus)
{
	size_t at = (size_t)snprintf(lcores, sizeof(lcores), "0@(");
	const char *comma = "";

	for (int cpu = 0; cpu < CPU_SETSIZE && at < sizeof(lcores) - 16; cpu++)
		if (CPU_ISSET(cpu, cpus)) {
			at += (size_t)snprintf(lcores + at, sizeof(lcores) - at, "%s%d", comma,
					       cpu);
			comma = ",";
		}
	snprintf(lcores + at, sizeof(lcores) - at, ")");
	return lcores;
}

/* Whether there are as many as EAL takes at least: free, and not promised to anybody else. */
static bool hugepages_free(void)
{
	void *all = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (all == MAP_FAILED)
		return false;
	munmap(all, HUGE_BYTES);
	return true;
}

static int defaults_add(struct dpdk_args *a, const cpu_set_t *cpus)
{
	bool none = dpdk_args_have(a, "--no-huge") || !hugepages_free();
	const struct {
		bool wanted;
		const char *first, *second;
	} add[] = {
		{ !dpdk_args_have(a, "-l") && !dpdk_args_have(a, "--lcores") &&
			  !dpdk_args_have(a, "-c"),
		  "--lcores", lcores_text(cpus) },
		{ true, "--no-telemetry", NULL },
		{ none && !dpdk_args_have(a, "--no-huge"), "--no-huge", NULL },
		{ none, "--no-shconf", NULL }, /* --in-memory is refused without hugepages */
		{ !none, "--in-memory", NULL },
		{ !dpdk_args_have(a, "-a") && !dpdk_args_have(a, "--allow") &&
			  !dpdk_args_have(a, "--no-pci"),
		  "--no-pci", NULL },
		{ !dpdk_args_have(a, "--log-level"), "--log-level", "error" },
	};
	int rc = 0;

	for (unsigned int i = 0; !rc && i < sizeof(add) / sizeof(add[0]); i++) {
		if (!add[i].wanted)
			continue;
		rc = dpdk_args_add(a, add[i].first);
		if (!rc && add[i].second)
			rc = dpdk_args_add(a, add[i].second);
	}
	return rc;
}

int dpdk_eal_start(struct dpdk_args *a, struct dev_error *err)
{
	char words[sizeof(started)];
	cpu_set_t cpus;
	int rc;

	words_join(a, words, sizeof(words));
	if (*started) {
		if (strcmp(words, started))
			return dev_fail(err, -EINVAL,
					"dpdk: EAL runs already, with other arguments: %.120s",
					started);
		if (rte_lcore_id() == LCORE_ID_ANY)
			rte_thread_register(); /* without an lcore the pools have no cache: slower */
		return 0;
	}
	if (pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus))
		return dev_fail(err, -EIO, "dpdk: this thread's processors");
	rc = defaults_add(a, &cpus);
	if (rc)
		return dev_fail(err, rc, "dpdk: too many arguments");
	dpdk_args_clear(a);
	rc = rte_eal_init(a->argc, a->argv);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	if (rc < 0)
		return dev_fail(err, -rte_errno, "dpdk: EAL does not start with \"%.120s\": %s",
				words, rte_strerror(rte_errno));
	memcpy(started, *words ? words : " ", *words ? strlen(words) + 1 : 2);
	return 0;
}

/* EAL's own words are behind ours. */
static int start_quiet(struct dpdk_args *args, struct dpdk_queue *q, struct dev_error *err)
{
	const char *said;
	size_t len;
	int rc;

	dpdk_quiet_begin(args);
	rc = dpdk_eal_start(args, err);
	if (!rc)
		rc = dpdk_queue_open(args, q, err);
	said = dpdk_quiet_end();
	len = strlen(err->text);
	if (rc && *said)
		snprintf(err->text + len, sizeof(err->text) - len, " (%s)", said);
	return rc;
}

static int open_quiet(const char *rest, const struct dev_conf *conf, struct dev **out,
		      struct dev_error *err)
{
	struct dpdk_args args;
	struct dpdk_queue q;
	int rc = dpdk_args_parse(rest, &args, err);

	if (!rc)
		rc = start_quiet(&args, &q, err);
	if (rc)
		return rc;
	*out = dpdk_dev_new(&q, conf);
	if (*out)
		return 0;
	dpdk_queue_close(&q);
	return dev_fail(err, -ENOMEM, "dpdk: no memory");
}

/* Threads that EAL and drivers start have our signal mask for ever: the program's signals are none of theirs. */
static int plug_open(const char *rest, const struct dev_conf *conf,
		     const struct dev_dpdk_host *host, struct dev **out, struct dev_error *err)
{
	sigset_t all, old;
	int rc;

	dpdk_host = host;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = open_quiet(rest, conf, out, err);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

__attribute__((visibility("default"))) const struct dev_dpdk_plug ztcp_dpdk = {
	.bytes = sizeof(ztcp_dpdk),
	.open = plug_open,
};
