/* call_mem.c - overrides of the calls after which memory may not be there any more
 *
 * Each is libc's own; it only has to be noticed (preload/sock/mem.h).
 */
#include "preload/call.h"
#include "preload/sock/mem.h"

#include <sys/mman.h>

EXPORT void *mmap64(void *addr, size_t n, int prot, int flags, int fd, off64_t off)
{
	void *at = real.mmap64(addr, n, prot, flags, fd, off);

	/* in place of other memory, or where libc has given some back without a word */
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) ||
	    (prot & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE))
		mem_changed();
	return at;
}

EXPORT int munmap(void *addr, size_t n)
{
	int ret = real.munmap(addr, n);

	mem_changed();
	return ret;
}

EXPORT int mprotect(void *addr, size_t n, int prot)
{
	int ret = real.mprotect(addr, n, prot);

	mem_changed();
	return ret;
}

EXPORT void *mremap(void *addr, size_t old, size_t n, int flags, ...)
{
	va_list ap;
	void *to;

	va_start(ap, flags);
	to = va_arg(
		ap,
		void *); /* nonsense where the flags do not ask for it, and then not looked at */
	va_end(ap);
	to = real.mremap(addr, old, n, flags, to);
	mem_changed();
	return to;
}

EXPORT int shmdt(const void *addr)
{
	int ret = real.shmdt(addr);

	mem_changed();
	return ret;
}

EXPORT void *mmap(void *addr, size_t n, int prot, int flags, int fd, off_t off)
	__attribute__((alias("mmap64")));
