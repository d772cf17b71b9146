/* real.c - finding libc's own functions */
#include "preload/real.h"
#include "shm/shm_sys.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>

/* What a stub of a variable-argument function hands on: no call of libc takes more. */
enum { VA_MAX = 6 };

#define CALL(ret, name, params, args)  \
	static ret boot_##name params  \
	{                              \
		real_init();           \
		return real.name args; \
	}
#define CALL_VOID(ret, name, params, args) \
	static ret boot_##name params      \
	{                                  \
		real_init();               \
		real.name args;            \
	}
#define CALL_VA(ret, name, params)
#define CALL_ALIAS(ret, name, target)
#define CALL_OWN(ret, name)
#include "preload/calls.def"
#undef CALL
#undef CALL_VOID
#undef CALL_VA

static int boot_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	real_init();
	return real.fcntl(fd, cmd, arg);
}

static int boot_ioctl(int fd, unsigned long req, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, req);
	arg = va_arg(ap, void *);
	va_end(ap);
	real_init();
	return real.ioctl(fd, req, arg);
}

static long boot_syscall(long number, ...)
{
	long a[VA_MAX];
	va_list ap;

	va_start(ap, number);
	for (unsigned i = 0; i < VA_MAX; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	real_init();
	return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int boot_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	void *a[3];
	va_list ap;

	va_start(ap, arg);
	for (unsigned i = 0; i < 3; i++)
		a[i] = va_arg(ap, void *);
	va_end(ap);
	real_init();
	return real.clone(fn, stack, flags, arg, a[0], a[1], a[2]);
}

/* The exec family with lists never uses these: the overrides build a vector. */
static int boot_exec_list(const char *path, const char *arg, ...)
{
	(void)path;
	(void)arg;
	errno = ENOSYS;
	return -1;
}

int __dprintf_chk(int fd, int flag, const char *format, ...);

/*
 * An allocator may call these before our constructor, from within what resolves names: they are the kernel's until
 * the table is made.
 */
static long told(long ret)
{
	if (ret < 0 && ret > -4096) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}

static void *boot_mmap64(void *addr, size_t n, int prot, int flags, int fd, off64_t off)
{
	return (void *)told(sys(SYS_mmap, addr, n, prot, flags, fd, off));
}

static int boot_munmap(void *addr, size_t n)
{
	return (int)told(sys(SYS_munmap, addr, n));
}

static int boot_mprotect(void *addr, size_t n, int prot)
{
	return (int)told(sys(SYS_mprotect, addr, n, prot));
}

static void *boot_mremap(void *addr, size_t old, size_t n, int flags, ...)
{
	va_list ap;
	void *to;

	va_start(ap, flags);
	to = va_arg(ap, void *);
	va_end(ap);
	return (void *)told(sys(SYS_mremap, addr, old, n, flags, to));
}

static int boot_shmdt(const void *addr)
{
	return (int)told(sys(SYS_shmdt, addr));
}

static long missing(void)
{
	errno = ENOSYS;
	return -1;
}

struct real_calls real = {
#define CALL(ret, name, params, args)      .name = boot_##name,
#define CALL_VOID(ret, name, params, args) .name = boot_##name,
#define CALL_VA(ret, name, params)
#include "preload/calls.def"
#undef CALL
#undef CALL_VOID
#undef CALL_VA
	.fcntl = boot_fcntl,
	.fcntl64 = boot_fcntl,
	.ioctl = boot_ioctl,
	.syscall = boot_syscall,
	.clone = boot_clone,
	.mmap64 = boot_mmap64,
	.munmap = boot_munmap,
	.mprotect = boot_mprotect,
	.mremap = boot_mremap,
	.shmdt = boot_shmdt,
	.dprintf = dprintf, /* ours */
	.__dprintf_chk = __dprintf_chk,
	.execl = boot_exec_list,
	.execlp = boot_exec_list,
	.execle = boot_exec_list,
};

static void *find(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	return f ? f : (void *)missing;
}

void real_init(void)
{
	/* Two threads may both do this before the constructor; they write the same values. */
#define CALL(ret, name, params, args)      real.name = (ret(*) params)find(#name);
#define CALL_VOID(ret, name, params, args) real.name = (ret(*) params)find(#name);
#define CALL_VA(ret, name, params)         real.name = (ret(*) params)find(#name);
#include "preload/calls.def"
#undef CALL
#undef CALL_VOID
#undef CALL_VA
}
