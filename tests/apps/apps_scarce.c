/* apps_scarce.c - run a program where something is missing: calls that are refused, limits, no /proc, a full /dev/shm
 *
 *     apps_scarce [--deny NAME]... [--as BYTES] [--fsize BYTES] [--nofile SOFT[:HARD]] [--no-proc] [--full-shm]
 *                 [--] PROGRAM [ARGUMENT...]
 *
 * --deny refuses a call by a seccomp filter, with the errno that a kernel or a container would give.
 * --no-proc and --full-shm take effect in a mount namespace of their own and need root.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ANY           0xffffffffu
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* a call is refused when (argument & mask) == value; the low half of an argument is enough here */
static const struct refusal {
	const char *name;
	int nr, arg;
	unsigned mask, value;
	int err;
} refusals[] = {
	{ "memfd_create", SYS_memfd_create, 0, 0, 0, ENOSYS },
	{ "memfd_create-perm", SYS_memfd_create, 0, 0, 0, EPERM },
	{ "memfd_create-nofile", SYS_memfd_create, 0, 0, 0, EMFILE },
	{ "eventfd", SYS_eventfd2, 0, 0, 0, EPERM },
	{ "membarrier", SYS_membarrier, 0, 0, 0, EPERM },
	{ "mmap-shared", SYS_mmap, 3, MAP_SHARED, MAP_SHARED, ENOMEM },
	{ "ftruncate", SYS_ftruncate, 0, 0, 0, ENOMEM },
	{ "seals", SYS_fcntl, 1, ANY, F_ADD_SEALS, EPERM },
	{ "socket-unix", SYS_socket, 0, ANY, AF_UNIX, EACCES },
	{ "socket-netlink", SYS_socket, 0, ANY, AF_NETLINK, EPERM },
	{ "epoll-pwait2", SYS_epoll_pwait2, 0, 0, 0, ENOSYS },
	{ "futex-wake", SYS_futex, 1, ANY, 1, EPERM },
	{ "process", SYS_pidfd_open, 0, 0, 0, EPERM },
	{ "getrandom", SYS_getrandom, 0, 0, 0, ENOSYS },
	{ "sched_yield", SYS_sched_yield, 0, 0, 0, EPERM },
	{ "close_range", SYS_close_range, 0, 0, 0, ENOSYS },
};

static void die(const char *what)
{
	fprintf(stderr, "apps_scarce: %s: %s\n", what, strerror(errno));
	exit(125);
}

static void refuse(const char *name)
{
	const struct refusal *r = refusals;
	struct sock_fprog prog;

	while (strcmp(r->name, name) != 0)
		if (++r == refusals + ARRAY_SIZE(refusals)) {
			errno = EINVAL;
			die(name);
		}
	prog.len = 7;
	prog.filter = (struct sock_filter[]){
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)r->nr, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args) + 8 * r->arg),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, r->mask),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, r->value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)r->err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		die("seccomp");
}

/* limit "SOFT" or "SOFT:HARD" */
static void limit(int what, const char *text)
{
	struct rlimit l;
	char *end;

	l.rlim_cur = strtoull(text, &end, 0);
	l.rlim_max = *end == ':' ? strtoull(end + 1, NULL, 0) : l.rlim_cur;
	if (setrlimit(what, &l))
		die("setrlimit");
}

static void own_mounts(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("mount namespace");
}

static void full_shm(void)
{
	static const char page[4096];
	int fd;

	own_mounts();
	if (mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=16k"))
		die("/dev/shm");
	fd = open("/dev/shm/filler", O_WRONLY | O_CREAT, 0600);
	while (write(fd, page, sizeof(page)) > 0)
		;
	if (errno != ENOSPC)
		die("/dev/shm");
	close(fd);
}

static void no_proc(void)
{
	own_mounts();
	if (mount("tmpfs", "/proc", "tmpfs", MS_RDONLY, NULL))
		die("/proc");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "deny", required_argument, NULL, 'd' },
		{ "as", required_argument, NULL, 'a' },
		{ "fsize", required_argument, NULL, 'f' },
		{ "nofile", required_argument, NULL, 'n' },
		{ "no-proc", no_argument, NULL, 'p' },
		{ "full-shm", no_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (c) {
		case 'd': refuse(optarg); break;
		case 'a': limit(RLIMIT_AS, optarg); break;
		case 'f': limit(RLIMIT_FSIZE, optarg); break;
		case 'n': limit(RLIMIT_NOFILE, optarg); break;
		case 'p': no_proc(); break;
		case 's': full_shm(); break;
		default: return 125;
		}
	}
	if (!argv[optind]) {
		fprintf(stderr, "apps_scarce: no program\n");
		return 125;
	}
	execvp(argv[optind], argv + optind);
	die(argv[optind]);
}
