/* policy_sys.h - system calls without libc; for the impure files of daemon/policy alone
 *
 * The library overrides libc's read and close, and errno belongs to the program that calls it: so files
 * are read by the system call itself. Return: as the kernel gives it, -errno on failure.
 */
#ifndef ZTCP_POLICY_SYS_H
#define ZTCP_POLICY_SYS_H

#include "stack/base/base_sys.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

static inline int policy_sys_open(const char *name, int flags)
{
	return (int)sys(SYS_openat, AT_FDCWD, name, flags | O_CLOEXEC, 0);
}

static inline long policy_sys_read(int fd, void *buf, size_t len)
{
	return sys(SYS_read, fd, buf, len);
}

static inline void policy_sys_close(int fd)
{
	sys(SYS_close, fd);
}

/** policy_sys_stat() - Return: 0 or -errno; @st is set. An fd of AT_FDCWD with a name, or an fd and "". */
static inline int policy_sys_stat(int fd, const char *name, struct stat *st)
{
	*st = (struct stat){ 0 };
	return (int)sys(SYS_newfstatat, fd, name, st, *name ? 0 : AT_EMPTY_PATH);
}

/** policy_sys_map() - Return: zeroed memory, or NULL. */
static inline void *policy_sys_map(size_t bytes)
{
	long p = sys(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);

	return p < 0 && p > -4096 ? NULL : (void *)p;
}

static inline void policy_sys_unmap(void *p, size_t bytes)
{
	if (p)
		sys(SYS_munmap, p, bytes);
}

/**
 * policy_sys_each() - call @entry with each name in a directory, "." and ".." left out
 *
 * Return: 0; what @entry returned if that was not 0; -errno of the directory.
 */
int policy_sys_each(const char *dir, int (*entry)(void *arg, const char *name), void *arg);

#endif
