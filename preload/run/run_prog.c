/* run_prog.c - will the loader put a library into this program, and if not, why */
#include "preload/run/run_prog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "preload/run/run_elf.h"

#define SCRIPT_DEPTH_MAX 5   /* as the kernel's */
#define SCRIPT_LINE_MAX  256 /* as the kernel's */

struct file {
	const char *at;
	size_t len;
	struct stat st;
};

static int file_map(struct file *f, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int rc = -1;

	*f = (struct file){ 0 };
	if (fd < 0)
		return -1;
	if (!fstat(fd, &f->st) && S_ISREG(f->st.st_mode) && f->st.st_size > 0) {
		void *at = mmap(NULL, (size_t)f->st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

		if (at != MAP_FAILED) {
			f->at = at;
			f->len = (size_t)f->st.st_size;
			rc = 0;
		}
	}
	close(fd);
	return rc;
}

static void file_unmap(struct file *f)
{
	munmap((void *)f->at, f->len);
}

static bool executable(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) &&
	       !faccessat(AT_FDCWD, path, X_OK, AT_EACCESS);
}

/* As execvp() searches; @path is set to the file it would take. */
static bool path_find(const char *name, char *path, size_t size)
{
	const char *dirs = getenv("PATH");

	if (strchr(name, '/')) {
		snprintf(path, size, "%s", name);
		return executable(path);
	}
	if (!dirs)
		dirs = "/bin:/usr/bin";
	for (;;) {
		size_t len = strcspn(dirs, ":");

		snprintf(path, size, "%.*s%s%s", (int)len, dirs, len ? "/" : "", name);
		if (executable(path))
			return true;
		if (!dirs[len])
			return false;
		dirs += len + 1;
	}
}

/* The loader of this very program: what links to another one uses another C library. */
static void own_interp(char *name, size_t size)
{
	struct run_elf e;
	struct file f;

	name[0] = '\0';
	if (file_map(&f, "/proc/self/exe"))
		return;
	if (!run_elf_read(&e, f.at, f.len)) {
		const char *slash = strrchr(e.interp, '/');

		snprintf(name, size, "%s", slash ? slash + 1 : e.interp);
	}
	file_unmap(&f);
}

#if defined(__x86_64__)
#define OWN_MACHINE 62 /* EM_X86_64 */
#elif defined(__aarch64__)
#define OWN_MACHINE 183 /* EM_AARCH64 */
#else
#error "which machine is this?"
#endif

static void elf_judge(struct run_prog *prog, const struct run_elf *e)
{
	const char *slash = strrchr(e->interp, '/');
	const char *machine = run_elf_machine_name(e->machine, e->class64);
	char own[64];

	if (e->machine != OWN_MACHINE || !e->class64 || !e->little) {
		prog->why = RUN_WHY_MACHINE;
		prog->preload = false; /* its loader would complain, at each start of each child */
		if (machine)
			snprintf(prog->detail, sizeof(prog->detail), "%s", machine);
		else
			snprintf(prog->detail, sizeof(prog->detail), "machine %u", e->machine);
		return;
	}
	own_interp(own, sizeof(own));
	if (e->go) {
		prog->why = RUN_WHY_GO;
	} else if (!*e->interp && !e->loader) {
		prog->why = RUN_WHY_STATIC;
	}
	if (*e->interp && *own && strcmp(slash ? slash + 1 : e->interp, own)) {
		prog->why = RUN_WHY_LIBC;
		prog->preload = false; /* glibc inside another libc's process ends it */
		snprintf(prog->detail, sizeof(prog->detail), "%s", e->interp);
	}
}

/* As the kernel sets AT_SECURE: only ids that really change count, and not where set-id bits are void. */
static void privilege_judge(struct run_prog *prog, const struct stat *st)
{
	char caps[64];
	struct statvfs fs;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
	    (!statvfs(prog->path, &fs) && (fs.f_flag & ST_NOSUID)))
		return;
	if ((st->st_mode & S_ISUID) && st->st_uid != getuid())
		prog->why = RUN_WHY_SETUID;
	else if ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
		 st->st_gid != getgid())
		prog->why = RUN_WHY_SETGID;
	else if (getuid() && getxattr(prog->path, "security.capability", caps, sizeof(caps)) > 0)
		prog->why = RUN_WHY_CAPS;
}

/* Of "#! interpreter argument" the interpreter. */
static bool script_interpreter(const struct file *f, char *out, size_t size)
{
	size_t max = f->len < SCRIPT_LINE_MAX ? f->len : SCRIPT_LINE_MAX;
	const char *nl = memchr(f->at, '\n', max);
	const char *end = nl ? nl : f->at + max;
	const char *s = f->at + 2;
	size_t len;

	while (s < end && (*s == ' ' || *s == '\t'))
		s++;
	for (len = 0; s + len < end && s[len] != ' ' && s[len] != '\t' && s[len]; len++)
		;
	snprintf(out, size, "%.*s", (int)len, s);
	return len;
}

/* Return: whether another file, now in prog->path, is to be looked at. */
static bool file_judge(struct run_prog *prog)
{
	struct run_elf e;
	struct file f;
	bool more = false;

	if (file_map(&f, prog->path)) {
		/* it may run though it may not be read */
		if (!stat(prog->path, &f.st))
			privilege_judge(prog, &f.st);
		return false;
	}
	if (f.len > 2 && f.at[0] == '#' && f.at[1] == '!') {
		more = script_interpreter(&f, prog->path, sizeof(prog->path));
	} else if (!run_elf_read(&e, f.at, f.len)) {
		elf_judge(prog, &e);
		privilege_judge(prog, &f.st);
	} else if (memcmp(f.at, "\177ELF", f.len < 4 ? f.len : 4)) {
		snprintf(prog->path, sizeof(prog->path), "/bin/sh"); /* as execvp() does */
		more = true;
	}
	file_unmap(&f);
	return more;
}

void run_prog_inspect(struct run_prog *prog, const char *name)
{
	prog->why = RUN_WHY_FINE;
	prog->preload = true;
	prog->detail[0] = '\0';
	if (!path_find(name, prog->path, sizeof(prog->path)))
		return;
	for (int depth = 0; depth < SCRIPT_DEPTH_MAX && file_judge(prog); depth++)
		;
}

char *run_prog_sentence(const struct run_prog *prog, char *buf, unsigned size)
{
	static const char *const words[] = {
		[RUN_WHY_FINE] = "is accelerated",
		[RUN_WHY_STATIC] = "is linked statically and loads no library",
		[RUN_WHY_GO] = "is a Go program, which makes system calls without libc",
		[RUN_WHY_SETUID] = "is setuid, for which the loader ignores LD_PRELOAD",
		[RUN_WHY_SETGID] = "is setgid, for which the loader ignores LD_PRELOAD",
		[RUN_WHY_CAPS] = "has file capabilities, for which the loader ignores LD_PRELOAD",
		[RUN_WHY_MACHINE] = "is a program for",
		[RUN_WHY_LIBC] = "uses another C library, with the loader",
	};

	snprintf(buf, size, "%s %s%s%s", prog->path, words[prog->why], *prog->detail ? " " : "",
		 prog->detail);
	return buf;
}
