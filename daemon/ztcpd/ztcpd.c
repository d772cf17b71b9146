/* ztcpd.c - start, the loop, the end
 *
 * Order of the start: selector (adopted or loaded), namespaces with their policies and the name in each, then the
 * name is told to the selector, privileges are given up, and readiness is said. A second ztcpd is refused by the lock on a
 * file; it waits for it a moment, as one that was killed just now may not have ended yet.
 */
#include "daemon/ztcpd/ztcpd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "daemon/bpf/pin_dir.h"
#include "daemon/policy/policy_load.h"

#define ZTCPD_RUN "/run/ztcp"

enum { EXIT_USAGE = 2, EVENTS = 64, LOCK_WAIT_MS = 1000, LOCK_STEP_MS = 2 };

struct arguments {
	const char *pin, *cgroup, *policy, *metrics;
	struct pair_limits limits;
	int ready_fd;
	bool detach;
};

void ztcpd_say(const char *format, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	fprintf(stderr, "ztcpd: %s\n", line);
}

uint64_t ztcpd_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int source_add(struct ztcpd *d, struct source *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	return epoll_ctl(d->epoll, EPOLL_CTL_ADD, src->fd, &ev) ? -errno : 0;
}

int source_events(struct ztcpd *d, struct source *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	return epoll_ctl(d->epoll, EPOLL_CTL_MOD, src->fd, &ev) ? -errno : 0;
}

void source_drop(struct ztcpd *d, struct source *src)
{
	if (src->fd < 0)
		return;
	epoll_ctl(d->epoll, EPOLL_CTL_DEL, src->fd, NULL);
	close(src->fd);
	src->fd = -1;
}

static void signal_ready(struct ztcpd *d, struct source *src, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(src->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP)
		spaces_look(d);
	else
		d->stop = true;
}

static int signals_start(struct ztcpd *d, struct source *src)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	*src = (struct source){ signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), signal_ready };
	return src->fd < 0 ? -errno : source_add(d, src, EPOLLIN);
}

static int sooner(int a, int b)
{
	return a < 0 ? b : b < 0 || a < b ? a : b;
}

static void loop(struct ztcpd *d)
{
	int wait = 0;

	while (!d->stop) {
		struct epoll_event ev[EVENTS];
		int n = epoll_wait(d->epoll, ev, EVENTS, wait);

		for (int i = 0; i < n; i++) {
			struct source *src = ev[i].data.ptr;

			/* one that was dropped earlier in this turn */
			if (src->fd >= 0)
				src->ready(d, src, ev[i].events);
		}
		wait = sooner(spaces_turn(d), sessions_turn(d));
		wait = sooner(wait, leases_turn(d));
		wait = sooner(wait, metrics_turn(d));
	}
}

static void report_say(const struct selector_report *r)
{
	for (unsigned i = 0; i < r->lacks; i++)
		ztcpd_say("without %s: %s", selector_part_name(r->lack[i].part), r->lack[i].why);
	if (r->adopted)
		ztcpd_say("took up the selector that was pinned");
	if (r->anew)
		ztcpd_say("the selector that was pinned is made anew: %s", r->anew);
}

/* eBPF tells processes by the ids that the initial PID namespace gives them; nothing under /proc of another has these. */
static bool pids_are_known(void)
{
	char name[32] = "";

	return readlink("/proc/self/ns/pid", name, sizeof(name) - 1) > 0 &&
	       !strcmp(name, "pid:[4026531836]"); /* PROC_PID_INIT_INO of the kernel */
}

/* Without it, what is left is served: policies are read and their errors said, metrics told. */
static void selector_start(struct ztcpd *d, const struct arguments *a)
{
	int err;

	if (!pids_are_known()) {
		ztcpd_say(
			"not in the initial PID namespace: run ztcpd on the host, or in a container with its PID namespace");
		err = -EOPNOTSUPP;
	} else {
		err = selector_open(&d->sel, a->pin, a->cgroup, &d->report);
		report_say(&d->report);
	}
	if (!err)
		return;
	d->sel = NULL;
	ztcpd_say(
		"no selector: %s; programs go by their own copy of the policy, and nobody is introduced",
		strerror(-err));
}

/* Return: whether the lock is ours. */
static bool lock_take(int fd)
{
	const struct timespec step = { .tv_nsec = LOCK_STEP_MS * 1000000 };

	for (int ms = 0; flock(fd, LOCK_EX | LOCK_NB); ms += LOCK_STEP_MS) {
		if (errno != EWOULDBLOCK || ms >= LOCK_WAIT_MS)
			return false;
		nanosleep(&step, NULL);
	}
	return true;
}

/* For tools that see another /sys than we do (pin_dir_seek()). Without it they say that they find no selector. */
static void pid_write(int fd)
{
	if (ftruncate(fd, 0) || dprintf(fd, "%d\n", (int)getpid()) < 0)
		ztcpd_say(PIN_DIR_LOCK ": %s", strerror(errno));
}

/* Two daemons would take each other's place over and over. */
static int only_one(void)
{
	int fd = mkdir(ZTCPD_RUN, 0755) && errno != EEXIST
			 ? -1
			 : open(PIN_DIR_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0 && lock_take(fd)) {
		pid_write(fd);
		return 0; /* held until the process ends */
	}
	if (errno == EWOULDBLOCK)
		ztcpd_say("cannot start: another ztcpd is running");
	else
		ztcpd_say("cannot start: " PIN_DIR_LOCK ": %s", strerror(errno));
	return ZTCPD_SAID;
}

/* A folder that was asked for and is not there is no kernel that lacks something. */
static int cgroup_check(const char *cgroup)
{
	int fd = selector_cgroup_open(cgroup);
	struct statfs fs = { 0 };

	if (fd < 0)
		ztcpd_say("--cgroup %s: %s", cgroup, strerror(-fd));
	else if (fstatfs(fd, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC)
		ztcpd_say("--cgroup %s: not a folder of cgroup v2", cgroup);
	if (fd >= 0)
		close(fd);
	return fs.f_type == CGROUP2_SUPER_MAGIC ? 0 : ZTCPD_SAID;
}

/* The folder of --cgroup: its parent is watched, as the kernel does not tell of its own end. */
struct cgroup_watch {
	struct source src;
	const char *folder;
	ino_t ino;
};

/* No process can be in it any more, and one of the same name is another one. */
static void cgroup_ready(struct ztcpd *d, struct source *src, uint32_t events)
{
	const struct cgroup_watch *w = (const struct cgroup_watch *)src;
	char told[4096];
	struct stat st;

	(void)events;
	while (read(src->fd, told, sizeof(told)) > 0)
		;
	if (!stat(w->folder, &st) && st.st_ino == w->ino)
		return;
	ztcpd_say("--cgroup %s: it has gone, and nobody is left to serve", w->folder);
	d->stop = true;
}

static int cgroup_start(struct ztcpd *d, struct cgroup_watch *w, const char *folder)
{
	char parent[PATH_MAX];
	struct stat st;

	snprintf(parent, sizeof(parent), "%s/..", folder);
	if (stat(folder, &st))
		return -errno;
	*w = (struct cgroup_watch){ { inotify_init1(IN_CLOEXEC | IN_NONBLOCK), cgroup_ready },
				    folder,
				    st.st_ino };
	if (w->src.fd < 0 || inotify_add_watch(w->src.fd, parent, IN_DELETE) < 0)
		return -errno;
	return source_add(d, &w->src, EPOLLIN);
}

static int ready_say(int fd, bool selector)
{
	notify_systemd(
		selector ? "READY=1\nSTATUS=serving"
			 : "READY=1\nSTATUS=no selector: policies are not in force in the kernel");
	if (fd < 0)
		return 0;
	if (write(fd, "\n", 1) != 1) {
		ztcpd_say("--ready-fd %d: %s", fd, strerror(errno));
		return ZTCPD_SAID;
	}
	close(fd);
	return 0;
}

static int start(struct ztcpd *d, const struct arguments *a, struct source *signals,
		 struct cgroup_watch *cgroup)
{
	struct rlimit files = { 1 << 20, 1 << 20 };
	int err;

	priority_take();
	if (setrlimit(RLIMIT_NOFILE, &files)) {
		getrlimit(RLIMIT_NOFILE, &files);
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (d->epoll < 0 || getrandom(&d->agent, sizeof(d->agent), 0) != sizeof(d->agent))
		return -errno;
	err = a->cgroup ? cgroup_check(a->cgroup) : 0;
	if (!err && a->cgroup)
		err = cgroup_start(d, cgroup, a->cgroup);
	if (!err)
		err = only_one();
	if (!err)
		err = signals_start(d, signals);
	if (!err && a->metrics) /* a wrong address leaves nothing in the kernel */
		err = metrics_start(d, a->metrics);
	if (!err) {
		selector_start(d, a);
		err = leases_start(d);
		if (!err)
			err = sessions_start(d);
	}
	if (!err)
		err = spaces_start(d);
	if (!err && d->sel)
		err = selector_agent_set(d->sel, d->agent);
	if (!err)
		err = caps_keep();
	return err ? err : ready_say(a->ready_fd, d->sel);
}

static int run(const struct arguments *a)
{
	struct ztcpd d = { .epoll = -1, .policy = a->policy, .limits = a->limits };
	struct source signals = { .fd = -1 };
	struct cgroup_watch cgroup = { .src.fd = -1 };
	int err = start(&d, a, &signals, &cgroup);

	if (err < 0)
		ztcpd_say("cannot start: %s", strerror(-err));
	if (!err)
		loop(&d);
	notify_systemd("STOPPING=1");
	metrics_stop(&d);
	spaces_stop(&d);
	sessions_stop(&d);
	leases_stop(&d);
	selector_close(d.sel);
	source_drop(&d, &signals);
	source_drop(&d, &cgroup.src);
	if (d.epoll >= 0)
		close(d.epoll);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int detach(const struct arguments *a)
{
	int err = selector_detach(a->pin);

	if (err)
		ztcpd_say("--detach: %s: %s", a->pin ? a->pin : SELECTOR_PIN_DIR,
			  pin_dir_error(err));
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int help(void)
{
	puts("usage: ztcpd [--ready-fd N] [--metrics [ADDRESS:]PORT] [--policy FILE]\n"
	     "             [--cgroup FOLDER] [--pin FOLDER] [--limit NAME=N]...\n"
	     "       ztcpd --detach [--pin FOLDER]\n\n"
	     "Keeps the policy in force in the kernel and introduces processes to each other.\n\n"
	     "  --ready-fd N      write a line to descriptor N when it serves\n"
	     "  --metrics ADDR    OpenMetrics over HTTP; without an address, on loopback\n"
	     "  --policy FILE     instead of /etc/ztcp/policy\n"
	     "  --cgroup FOLDER   of cgroup v2, instead of all processes\n"
	     "  --pin FOLDER      instead of " SELECTOR_PIN_DIR "\n"
	     "  --limit NAME=N    instead of a limit: sessions, claims, channels, of all or user-...\n"
	     "  --detach          remove everything from the kernel, and end\n"
	     "  --version, --help");
	return EXIT_SUCCESS;
}

static bool number(const char *text, int *n)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (*end || end == text || v < 0 || v > 1 << 20)
		return false;
	*n = (int)v;
	return true;
}

/* @value: of option @c. Return: false after a line. */
static bool value_take(struct arguments *a, int c, const char *value)
{
	char names[128];

	switch (c) {
	case 'r':
		if (number(value, &a->ready_fd) && fcntl(a->ready_fd, F_GETFD) >= 0)
			return true;
		ztcpd_say("--ready-fd %s: expected an open descriptor", value);
		return false;
	case 'm':
		a->metrics = value;
		if (metrics_address_is_right(value))
			return true;
		ztcpd_say("--metrics %s: expected [ADDRESS:]PORT", value);
		return false;
	case 'l':
		if (limit_read(value, &a->limits))
			return true;
		limit_names(names, sizeof(names));
		ztcpd_say("--limit %s: expected NAME=N, N from 2, NAME one of %s", value, names);
		return false;
	case 'p': a->policy = value; return true;
	case 'c': a->cgroup = value; return true;
	case 'P': a->pin = value; return true;
	default: return false; /* getopt has said it */
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "ready-fd", required_argument, NULL, 'r' },
						 { "metrics", required_argument, NULL, 'm' },
						 { "policy", required_argument, NULL, 'p' },
						 { "cgroup", required_argument, NULL, 'c' },
						 { "pin", required_argument, NULL, 'P' },
						 { "limit", required_argument, NULL, 'l' },
						 { "detach", no_argument, NULL, 'd' },
						 { "version", no_argument, NULL, 'V' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	struct arguments a = { .ready_fd = -1,
			       .policy = POLICY_DEFAULT_FILE,
			       .limits = pair_limits_default };
	static char name[] = "ztcpd";
	int c;

	argv[0] = name; /* in what getopt says */
	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (c) {
		case 'd': a.detach = true; break;
		case 'V': puts("ztcpd " ZTCP_VERSION); return EXIT_SUCCESS;
		case 'h': return help();
		default:
			if (!value_take(&a, c, optarg))
				return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		ztcpd_say("'%s' is not understood; see ztcpd --help", argv[optind]);
		return EXIT_USAGE;
	}
	return a.detach ? detach(&a) : run(&a);
}
