/* bpf_lib.c - a bpffs and a cgroup for one test of the selector */
#include "tests/bpf/bpf_lib.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/policy/policy_load.h"

struct bpf_lib lib;

static void skip(const char *why)
{
	printf("skip: %s\n", why);
	bpf_lib_end();
	exit(77);
}

/* A selector on the root of the hierarchy answers for all cgroups below: wait for the end of such a test. */
static void alone(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct verdict_answer a;

	for (unsigned tries = 0; tries < 600; tries++) {
		socklen_t len = sizeof(a);

		if (getsockopt(fd, VERDICT_LEVEL, VERDICT_ANSWER, &a, &len)) {
			close(fd);
			return;
		}
		usleep(100000);
	}
	fprintf(stderr, "a selector on the whole machine is in force: end ztcpd first\n");
	exit(1);
}

static bool put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

static bool cgroup_root(char *out, size_t size)
{
	char line[4096], where[100], type[64];
	FILE *f = fopen("/proc/self/mounts", "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		found = sscanf(line, "%*s %99s %63s", where, type) == 2 && !strcmp(type, "cgroup2");
		if (found)
			snprintf(out, size, "%s", where);
	}
	if (f)
		fclose(f);
	return found;
}

/* What a test of this name left that was killed: its cgroup, if nobody is in it, its bpffs and all that is pinned there. */
static void leftovers(const char *root, const char *name)
{
	char pattern[256], mounted[96];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/ztcp_%s_*", root, name);
	if (glob(pattern, GLOB_NOSORT, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		int pid = atoi(strrchr(found.gl_pathv[i], '_') + 1);

		if (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH || rmdir(found.gl_pathv[i]))
			continue;
		printf("left by a test that was killed: %s\n", found.gl_pathv[i]);
		snprintf(mounted, sizeof(mounted), "/tmp/ztcp_%s_%d", name, pid);
		umount2(mounted, MNT_DETACH);
		rmdir(mounted);
	}
	globfree(&found);
}

void bpf_lib_begin(const char *name)
{
	char root[100], file[256], pid[16];
	int rc;

	if (geteuid())
		skip("needs root");
	if (!cgroup_root(root, sizeof(root)))
		skip("no cgroup v2 is mounted");
	alone();
	leftovers(root, name);
	snprintf(lib.cgroup, sizeof(lib.cgroup), "%s/ztcp_%s_%d", root, name, (int)getpid());
	snprintf(lib.mount, sizeof(lib.mount), "/tmp/ztcp_%s_%d", name, (int)getpid());
	snprintf(lib.pins, sizeof(lib.pins), "%s/pins", lib.mount);
	if (mkdir(lib.cgroup, 0755))
		skip("no cgroup can be made");
	snprintf(file, sizeof(file), "%s/cgroup.procs", lib.cgroup);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (!put(file, pid))
		skip("no process can be moved into a cgroup");
	mkdir(lib.mount, 0755);
	if (mount("bpf", lib.mount, "bpf", 0, NULL))
		skip("no bpffs can be mounted");
	rc = selector_open(&lib.sel, lib.pins, lib.cgroup, &lib.report);
	if (rc == -EPERM || rc == -ENOSYS)
		skip("the kernel does not let this user load eBPF programs");
	for (unsigned i = 0; i < lib.report.lacks; i++)
		printf("lacking: %s: %s\n", selector_part_name(lib.report.lack[i].part),
		       lib.report.lack[i].why);
	CHECK(!rc, "selector_open: %s", strerror(-rc));
	CHECK(!lib.report.lacks);
	CHECK(!selector_policy_set(lib.sel, 0, NULL));
}

void bpf_lib_end(void)
{
	char root[100], file[256], pid[16];

	selector_close(lib.sel);
	lib.sel = NULL;
	if (*lib.pins)
		selector_detach(lib.pins);
	if (*lib.mount) {
		umount2(lib.mount, MNT_DETACH);
		rmdir(lib.mount);
	}
	if (*lib.cgroup && cgroup_root(root, sizeof(root))) {
		snprintf(file, sizeof(file), "%s/cgroup.procs", root);
		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		put(file, pid);
		rmdir(lib.cgroup);
	}
}

struct policy *bpf_lib_policy_load(const char *text)
{
	char file[] = "/tmp/ztcp_policy_XXXXXX", line[600];
	struct policy_error err;
	struct policy *p = NULL;
	int fd = mkstemp(file), rc;

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	rc = policy_load(file, &p, &err);
	unlink(file);
	CHECK(!rc, "%s", policy_error_format(&err, line, sizeof(line)));
	return p;
}

int bpf_lib_policy(uint64_t netns, const char *text)
{
	struct policy *p = bpf_lib_policy_load(text);
	int rc = selector_policy_set(lib.sel, netns, p);

	policy_unload(p);
	return rc;
}

struct verdict_answer bpf_lib_answer(int fd)
{
	struct verdict_answer a = { 0 };

	for (unsigned tries = 0; tries < 100; tries++) {
		socklen_t len = sizeof(a);

		CHECK(!getsockopt(fd, VERDICT_LEVEL, VERDICT_ANSWER, &a, &len), "%s",
		      strerror(errno));
		CHECK(len == sizeof(a) && a.version == VERDICT_VERSION);
		if (!(a.flags & VERDICT_PENDING))
			return a;
		selector_poll(lib.sel, NULL, NULL);
	}
	CHECK(false, "the kind of this process is never learnt");
	return a;
}

void bpf_lib_pair(const char *ip, int fd[2])
{
	struct sockaddr_storage sa = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&sa;
	int family = strchr(ip, ':') ? AF_INET6 : AF_INET;
	socklen_t len = family == AF_INET ? sizeof(*in) : sizeof(*in6);
	int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.ss_family = (sa_family_t)family;
	CHECK(inet_pton(family, ip,
			family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr) == 1);
	CHECK(!bind(listener, (struct sockaddr *)&sa, len) && !listen(listener, 8));
	CHECK(!getsockname(listener, (struct sockaddr *)&sa, &len));
	fd[0] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(!connect(fd[0], (struct sockaddr *)&sa, len), "%s", strerror(errno));
	fd[1] = accept(listener, NULL, NULL);
	CHECK(fd[1] >= 0);
	close(listener);
}

uint64_t bpf_lib_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len);
	return cookie;
}

bool bpf_lib_pids_seen(void)
{
	char name[32] = "";

	if (readlink("/proc/self/ns/pid", name, sizeof(name) - 1) > 0 &&
	    !strcmp(name, "pid:[4026531836]"))
		return true;
	puts("skip: eBPF tells processes by their ids in the initial PID namespace");
	return false;
}
