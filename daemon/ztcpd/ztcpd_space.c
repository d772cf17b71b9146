/* ztcpd_space.c - network namespaces: the name that processes find ztcpd by, and the policy in force
 *
 * Abstract socket names belong to a network namespace, so ztcpd binds its name in each one it knows of: its own, those
 * under /run/netns, those of the processes at its start, and of processes that the selector meets later (containers).
 * A listening socket would keep a namespace alive: one without a name under /run/netns is let go when no process is
 * left in it, which the exit of a representative tells.
 *
 * Any change in a folder that matters (inotify) has everything looked at again: names, files, watches. A file
 * that is wrong is said so and leaves the policy as it is.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/policy/policy_load.h"
#include "daemon/ztcpd/ztcpd.h"

#define NETNS_RUN "/run/netns"
#define NETNS_ETC "/etc/netns"

enum {
	SPACES_MAX = 4096,
	SPACES_PERSON = 256, /* of one who is not root, by user namespaces */
	SPACE_BACKLOG = 1024,
	SPACE_TURN = 64, /* processes that are let in before others have their turn */
	SPACE_RETRY_MS = 50,
	SPACE_ORPHANS_MS = 100, /* between two looks at all processes */
	SPACE_RETRIES = 40,     /* a name appears a moment before the namespace is mounted on it */
	WATCH = IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE |
		IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR,
};

struct space {
	struct source listener;
	struct source process; /* pidfd of the representative; -1: none */
	uint64_t cookie, ino;
	uint32_t person;         /* who made it; 0: root */
	char name[NAME_MAX + 1]; /* under /run/netns; "": none */
	bool own_policy;
	bool seen;      /* in this look at /run/netns */
	bool gone;      /* to be closed at the end of the turn */
	char said[512]; /* the error that was last said of its policy */
};

struct spaces {
	struct source inotify;
	struct source events; /* the selector's */
	struct space *space[SPACES_MAX];
	unsigned count;
	int own; /* the daemon's own namespace */
	int spare; /* given up for a moment to turn away who comes when there are no descriptors left */
	int retries;
	uint64_t retry_ms;
	uint64_t orphans_ms; /* not before then, all processes are looked at again */
	bool look;
	bool orphans; /* there may be namespaces without a name and without a representative */
	uint64_t reloads, failures;
	char said[512];
};

/* ---- the name ---- */

static int name_bind(struct ztcpd *d, uint64_t *cookie)
{
	struct sockaddr_un sa;
	socklen_t len = sizeof(*cookie);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len) ||
	    bind(fd, (struct sockaddr *)&sa, agent_name(&sa, d->agent)) ||
	    listen(fd, SPACE_BACKLOG)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/* Unless @ns is our own namespace, this thread goes there and back. */
static int visit(struct ztcpd *d, int ns, void (*f)(void *arg), void *arg)
{
	struct stat there, here;
	bool own = !fstat(ns, &there) && !fstat(d->spaces->own, &here) &&
		   there.st_ino == here.st_ino;

	if (!own && setns(ns, CLONE_NEWNET))
		return -errno;
	f(arg);
	if (!own && setns(d->spaces->own, CLONE_NEWNET)) {
		ztcpd_say("cannot return to my network namespace: %s", strerror(errno));
		abort();
	}
	return 0;
}

int spaces_visit(struct ztcpd *d, int pid, void (*f)(void *arg), void *arg)
{
	char path[64];
	int ns, rc;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return -errno;
	rc = visit(d, ns, f, arg);
	close(ns);
	return rc;
}

struct binding {
	struct ztcpd *d;
	uint64_t *cookie;
	int fd;
};

static void name_bind_here(void *arg)
{
	struct binding *b = arg;

	b->fd = name_bind(b->d, b->cookie);
}

/* A listening socket in the namespace @ns. */
static int name_bind_in(struct ztcpd *d, int ns, uint64_t *cookie)
{
	struct binding b = { d, cookie, -1 };
	int rc = visit(d, ns, name_bind_here, &b);

	return rc ? rc : b.fd;
}

/* Left in the queue, it would have us come back at once, and for nothing. Return: whether somebody was turned away. */
static bool turn_away(struct spaces *all, int listener)
{
	int fd;

	if ((errno != EMFILE && errno != ENFILE) || all->spare < 0)
		return false;
	close(all->spare);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	all->spare = fcntl(all->own, F_DUPFD_CLOEXEC, 0);
	return fd >= 0;
}

static void listener_ready(struct ztcpd *d, struct source *src, uint32_t events)
{
	(void)events;
	for (unsigned i = 0; i < SPACE_TURN; i++) {
		int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct ucred cred;
		socklen_t len = sizeof(cred);

		if (fd < 0 && turn_away(d->spaces, src->fd))
			continue;
		if (fd < 0)
			return;
		if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.pid > 0)
			selector_process_add(d->sel, cred.pid);
		sessions_accept(d, fd);
	}
}

/* ---- which process stands for a namespace ---- */

static uint64_t process_space(int pid)
{
	char path[64], link[64];
	unsigned long long ino;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return 0;
	link[n] = '\0';
	return sscanf(link, "net:[%llu]", &ino) == 1 ? ino : 0;
}

/* Calls @f with each process until it says true. */
static void processes_each(bool (*f)(void *arg, int pid), void *arg)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		char *end;
		long pid = strtol(e->d_name, &end, 10);

		if (pid > 0 && !*end && f(arg, (int)pid))
			break;
	}
	if (dir)
		closedir(dir);
}

static void process_ready(struct ztcpd *d, struct source *src, uint32_t events);

/* @pid stands for it from now on, if it is still in it. */
static bool space_represent(struct ztcpd *d, struct space *s, int pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return false;
	s->process = (struct source){ fd, process_ready };
	if (process_space(pid) != s->ino || source_add(d, &s->process, EPOLLIN)) {
		close(fd);
		s->process.fd = -1;
		return false;
	}
	return true;
}

static struct space *space_find(struct ztcpd *d, uint64_t ino);

static bool orphan_represent(void *arg, int pid)
{
	struct ztcpd *d = arg;
	struct space *s = space_find(d, process_space(pid));

	if (s && !s->name[0] && s->process.fd < 0)
		space_represent(d, s, pid);
	return false;
}

/*
 * A namespace that nobody names stays while a process is in it. For all of them at once, and not all the time: otherwise one
 * with many processes that end one after the other would keep us busy.
 */
static void orphans_look(struct ztcpd *d, uint64_t now)
{
	struct spaces *all = d->spaces;

	if (!all->orphans || now < all->orphans_ms)
		return;
	processes_each(orphan_represent, d);
	for (unsigned i = 0; i < all->count; i++) {
		struct space *s = all->space[i];

		s->gone = !s->name[0] && s->process.fd < 0;
		all->look |= s->gone;
	}
	all->orphans = false;
	all->orphans_ms = now + SPACE_ORPHANS_MS;
}

static void process_ready(struct ztcpd *d, struct source *src, uint32_t events)
{
	struct space *s = (struct space *)((char *)src - offsetof(struct space, process));

	(void)events;
	source_drop(d, &s->process);
	d->spaces->orphans |= !s->name[0];
}

/* ---- namespaces ---- */

static struct space *space_find(struct ztcpd *d, uint64_t ino)
{
	for (unsigned i = 0; i < d->spaces->count; i++) {
		if (d->spaces->space[i]->ino == ino)
			return d->spaces->space[i];
	}
	return NULL;
}

/* Whether one more can be served: nobody but root may have many. */
static bool space_fits(const struct ztcpd *d, uint32_t person)
{
	unsigned has = 0;

	for (unsigned i = 0; person && i < d->spaces->count; i++)
		has += d->spaces->space[i]->person == person;
	return d->spaces->count < SPACES_MAX && has < SPACES_PERSON;
}

static struct space *space_open(struct ztcpd *d, int ns, uint64_t ino)
{
	struct spaces *all = d->spaces;
	uint32_t person = person_of_space(ns);
	struct space *s = space_fits(d, person) ? calloc(1, sizeof(*s)) : NULL;
	int fd;

	if (!s)
		return NULL;
	fd = name_bind_in(d, ns, &s->cookie);
	s->ino = ino;
	s->person = person;
	s->process.fd = -1;
	s->listener = (struct source){ fd, listener_ready };
	if (fd < 0 || source_add(d, &s->listener, EPOLLIN)) {
		ztcpd_say("network namespace %llu cannot be served: %s", (unsigned long long)ino,
			  strerror(fd < 0 ? -fd : errno));
		free(s);
		return NULL;
	}
	all->space[all->count++] = s;
	return s;
}

/* From now on it has that of all others. */
static void space_policy_drop(struct ztcpd *d, struct space *s)
{
	if (s->own_policy)
		selector_policy_set(d->sel, s->cookie, NULL);
	s->own_policy = false;
}

static void space_close(struct ztcpd *d, unsigned i)
{
	struct space *s = d->spaces->space[i];

	space_policy_drop(d, s);
	source_drop(d, &s->listener);
	source_drop(d, &s->process);
	d->spaces->space[i] = d->spaces->space[--d->spaces->count];
	free(s);
}

void spaces_meet(struct ztcpd *d, int pid)
{
	uint64_t ino = process_space(pid);
	char path[64];
	struct space *s;
	int ns;

	if (!ino || space_find(d, ino))
		return;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return;
	s = space_open(d, ns, ino);
	close(ns);
	if (s && !space_represent(d, s, pid))
		d->spaces->orphans = true;
}

static bool meet_each(void *arg, int pid)
{
	spaces_meet(arg, pid);
	return false;
}

static void meet(void *arg, int pid)
{
	spaces_meet(arg, pid);
}

/* ---- names under /run/netns ---- */

static void space_rename(struct ztcpd *d, struct space *s, const char *name)
{
	if (strcmp(s->name, name) == 0)
		return;
	snprintf(s->name, sizeof(s->name), "%s", name);
	selector_netns_name(d->sel, s->cookie, s->ino, *name ? name : NULL);
}

/* Return: false when the name is there and its namespace is not yet. */
static bool name_look(struct ztcpd *d, int dir, const char *name)
{
	int ns = openat(dir, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct statfs fs;
	struct stat st;
	struct space *s;
	bool ready;

	if (ns < 0)
		return errno == ENOENT;
	ready = !fstatfs(ns, &fs) && !fstat(ns, &st) && fs.f_type == NSFS_MAGIC;
	s = ready ? space_find(d, st.st_ino) : NULL;
	if (ready && !s)
		s = space_open(d, ns, st.st_ino);
	if (s) {
		space_rename(d, s, name);
		s->seen = true;
		s->gone = false;
	}
	close(ns);
	return ready;
}

static void names_look(struct ztcpd *d)
{
	struct spaces *all = d->spaces;
	DIR *dir = opendir(NETNS_RUN);
	bool ready = true;
	struct dirent *e;

	for (unsigned i = 0; i < all->count; i++)
		all->space[i]->seen = false;
	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] != '.')
			ready &= name_look(d, dirfd(dir), e->d_name);
	}
	if (dir)
		closedir(dir);
	for (unsigned i = 0; i < all->count; i++) {
		struct space *s = all->space[i];

		if (!s->seen && s->name[0]) {
			space_rename(d, s, "");
			all->orphans |= s->process.fd < 0;
		}
	}
	all->retries = ready ? 0 : all->retries + 1;
	all->retry_ms = !ready && all->retries < SPACE_RETRIES ? ztcpd_now_ms() + SPACE_RETRY_MS
							       : 0;
}

/* ---- policies ---- */

static void watch(struct ztcpd *d, const char *folder)
{
	inotify_add_watch(d->spaces->inotify.fd, folder, WATCH);
}

/* The folder, or the nearest one above it that exists: it may come. */
static void watch_or_above(struct ztcpd *d, const char *folder)
{
	char path[PATH_MAX];
	char *slash;

	snprintf(path, sizeof(path), "%s", folder);
	while (inotify_add_watch(d->spaces->inotify.fd, path, WATCH) < 0 &&
	       (slash = strrchr(path, '/')) && slash != path)
		*slash = '\0';
}

/* The folder of a file, and those below it: rules of a policy.d. */
static void watch_folder_of(struct ztcpd *d, const char *file)
{
	char path[PATH_MAX], below[PATH_MAX + NAME_MAX + 1];
	char *slash;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s", file);
	slash = strrchr(path, '/');
	if (!slash)
		return;
	*slash = '\0';
	watch_or_above(d, path);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
		watch(d, below);
	}
	if (dir)
		closedir(dir);
}

static void watch_includes(struct ztcpd *d, const struct policy *p)
{
	unsigned last = UINT32_MAX;

	for (unsigned i = 0; i < policy_rules(p); i++) {
		const struct policy_rule *r = policy_rule_get(p, i);

		if (r->file != last)
			watch_folder_of(d, policy_file_name(p, r->file));
		last = r->file;
	}
}

/* Say it once; a file that is right again is said too. @then: what holds in its place. */
static void policy_say(struct ztcpd *d, char *said, size_t size, const char *file, const char *text,
		       const char *then)
{
	if (strcmp(said, text) == 0)
		return;
	snprintf(said, size, "%s", text);
	if (*text) {
		d->spaces->failures++;
		ztcpd_say("%s; %s", text, then);
	} else {
		ztcpd_say("%s is right again", file);
	}
}

/* Return: what holds where the policy could not be put into force. */
static const char *policy_close(struct ztcpd *d, uint64_t cookie, const char *why)
{
	switch (-selector_policy_close(d->sel, cookie, why)) {
	case 0: return "nothing is lifted until it is right";
	case EEXIST: return "the policy before stays in force";
	case EOPNOTSUPP: return "programs that read it lift nothing"; /* no selector */
	default: return "and the selector cannot be told";
	}
}

/* Return: whether the file exists, right or wrong. */
static bool policy_apply(struct ztcpd *d, const char *file, uint64_t cookie, char *said,
			 size_t size)
{
	struct policy_error err;
	const char *then = "";
	struct policy *p = NULL;
	char text[512] = "";
	int ret = policy_load(file, &p, &err);

	watch_folder_of(d, file);
	if (ret == -ENOENT && err.line == 0) {
		policy_say(d, said, size, file, "", "");
		return false;
	}
	if (ret == 0) {
		watch_includes(d, p);
		ret = selector_policy_set(d->sel, cookie, p);
		if (ret == -EOPNOTSUPP) /* no selector: programs read it themselves */
			ret = 0;
		if (ret == -ENOENT) {
			snprintf(text, sizeof(text),
				 "%s: a bpf= match is not loaded and matches nothing", file);
			then = "the policy is in force";
		} else if (ret)
			snprintf(text, sizeof(text), "%s: %s", file, strerror(-ret));
		policy_unload(p);
	} else {
		policy_error_format(&err, text, sizeof(text));
	}
	if (*text && !*then)
		then = policy_close(d, cookie, text);
	policy_say(d, said, size, file, text, then);
	return true;
}

static bool space_has_policy(void *arg, uint64_t cookie)
{
	const struct spaces *all = arg;

	for (unsigned i = 0; i < all->count; i++) {
		if (all->space[i]->cookie == cookie)
			return all->space[i]->own_policy;
	}
	return false;
}

static void policies_look(struct ztcpd *d)
{
	struct spaces *all = d->spaces;

	watch_or_above(d, NETNS_RUN);
	watch_or_above(d, NETNS_ETC);
	if (!policy_apply(d, d->policy, 0, all->said, sizeof(all->said)))
		selector_policy_set(d->sel, 0, NULL);
	for (unsigned i = 0; i < all->count; i++) {
		struct space *s = all->space[i];
		char file[PATH_MAX];
		bool is;

		if (!s->name[0]) {
			space_policy_drop(d, s);
			continue;
		}
		snprintf(file, sizeof(file), NETNS_ETC "/%s/ztcp/policy", s->name);
		is = policy_apply(d, file, s->cookie, s->said, sizeof(s->said));
		if (!is)
			space_policy_drop(d, s);
		s->own_policy = is;
	}
	/* those of namespaces that have gone, and what was loaded by hand where there is no file */
	selector_policies_keep(d->sel, space_has_policy, all);
	all->reloads++;
}

void spaces_look(struct ztcpd *d)
{
	d->spaces->look = true;
	d->spaces->retries = 0;
}

/* ---- events ---- */

static void inotify_ready(struct ztcpd *d, struct source *src, uint32_t events)
{
	char buf[16384];

	(void)events;
	while (read(src->fd, buf, sizeof(buf)) > 0)
		;
	spaces_look(d);
}

static void selector_ready(struct ztcpd *d, struct source *src, uint32_t events)
{
	(void)src;
	(void)events;
	selector_poll(d->sel, meet, d);
}

static int ms_until(uint64_t when, uint64_t now)
{
	return when > now ? (int)(when - now) : 0;
}

int spaces_turn(struct ztcpd *d)
{
	struct spaces *all = d->spaces;
	uint64_t now = ztcpd_now_ms();
	int wait, retry;

	orphans_look(d, now);
	if (all->look || (all->retry_ms && all->retry_ms <= now)) {
		all->look = false;
		names_look(d);
		policies_look(d);
		for (unsigned i = all->count; i-- > 0;) {
			if (all->space[i]->gone)
				space_close(d, i);
		}
	}
	wait = all->orphans ? ms_until(all->orphans_ms, now) : -1;
	retry = all->retry_ms ? ms_until(all->retry_ms, now) : -1;
	return wait < 0 || (retry >= 0 && retry < wait) ? retry : wait;
}

unsigned spaces_count(const struct ztcpd *d)
{
	return d->spaces->count;
}

uint64_t spaces_reloads(const struct ztcpd *d, bool failed)
{
	return failed ? d->spaces->failures : d->spaces->reloads;
}

int spaces_start(struct ztcpd *d)
{
	struct spaces *all = calloc(1, sizeof(*all));
	int fd = selector_fd(d->sel);

	if (!all)
		return -ENOMEM;
	d->spaces = all;
	all->own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	all->spare = fcntl(all->own, F_DUPFD_CLOEXEC, 0);
	all->inotify = (struct source){ inotify_init1(IN_CLOEXEC | IN_NONBLOCK), inotify_ready };
	all->events = (struct source){ fd, selector_ready };
	if (all->own < 0 || all->inotify.fd < 0 || source_add(d, &all->inotify, EPOLLIN) ||
	    (fd >= 0 && source_add(d, &all->events, EPOLLIN)))
		return -errno;
	spaces_meet(d, getpid());
	if (!all->count)
		return -EADDRINUSE;
	names_look(d);
	processes_each(meet_each, d);
	policies_look(d);
	return 0;
}

void spaces_stop(struct ztcpd *d)
{
	struct spaces *all = d->spaces;

	if (!all)
		return;
	while (all->count) {
		struct space *s = all->space[all->count - 1];

		s->own_policy = false; /* what is pinned goes on */
		space_close(d, all->count - 1);
	}
	source_drop(d, &all->inotify);
	close(all->own);
	close(all->spare);
	free(all);
	d->spaces = NULL;
}
