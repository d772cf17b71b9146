/* policy_sys.h - system calls without libc; for the impure files of daemon/policy alone
 *
 * The library overrides libc's read and close, and errno belongs to the program that calls it: so files
 * are read by the system call itself. Return: as the kernel gives it, -errno on failure.
 */
#ifndef ZTCP_POLICY_SYS_H
#define ZTCP_POLICY_SYS_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static inline long policy_sys(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
#else
#error "policy_sys() needs the system call instruction of this machine"
#endif
}

static inline int policy_sys_open(const char *name, int flags)
{
	return (int)policy_sys(SYS_openat, AT_FDCWD, (long)name, flags | O_CLOEXEC, 0, 0, 0);
}

static inline long policy_sys_read(int fd, void *buf, size_t len)
{
	return policy_sys(SYS_read, fd, (long)buf, (long)len, 0, 0, 0);
}

static inline void policy_sys_close(int fd)
{
	policy_sys(SYS_close, fd, 0, 0, 0, 0, 0);
}

/** policy_sys_stat() - Return: 0 or -errno; @st is set. An fd of AT_FDCWD with a name, or an fd and "". */
static inline int policy_sys_stat(int fd, const char *name, struct stat *st)
{
	*st = (struct stat){ 0 };
	return (int)policy_sys(SYS_newfstatat, fd, (long)name, (long)st, *name ? 0 : AT_EMPTY_PATH,
			       0, 0);
}

/** policy_sys_map() - Return: zeroed memory, or NULL. */
static inline void *policy_sys_map(size_t bytes)
{
	long p = policy_sys(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p < 0 && p > -4096 ? NULL : (void *)p;
}

static inline void policy_sys_unmap(void *p, size_t bytes)
{
	if (p)
		policy_sys(SYS_munmap, (long)p, (long)bytes, 0, 0, 0, 0);
}

/**
 * policy_sys_each() - call @entry with each name in a directory, "." and ".." left out
 *
 * Return: 0; what @entry returned if that was not 0; -errno of the directory.
 */
int policy_sys_each(const char *dir, int (*entry)(void *arg, const char *name), void *arg);

#endif
