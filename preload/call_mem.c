/* call_mem.c - overrides of the calls after which memory may not be there any more, or too much of it
 *
 * Those of the first kind are libc's own; they only have to be noticed (preload/sock/mem.h).
 */
#include "preload/call.h"
#include "preload/sock/mem.h"
#include "preload/sock/sock.h"
#include "shm/shm_sys.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MAPS_PIECE = 4096 + 256 }; /* of /proc/self/maps: a line with the longest name there is */

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

/* A line of /proc/self/maps: "start-end perms offset device inode name". */
static void lock_mapping(const char *line)
{
	char *at;
	unsigned long from = strtoul(line, &at, 16);
	unsigned long to = *at == '-' ? strtoul(at + 1, &at, 16) : from;

	if (strstr(at, "/memfd:ztcp-"))
		munlock((void *)from, to - from);
	else
		mlock((void *)from, to - from);
}

static void lock_mappings(int maps)
{
	char text[MAPS_PIECE + 1];
	size_t have = 0;
	long n;

	while ((n = sys(SYS_read, maps, text + have, MAPS_PIECE - have)) > 0) {
		char *line = text, *end;

		have += (size_t)n;
		text[have] = 0;
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = 0;
			lock_mapping(line);
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
	}
}

/*
 * What the processes share here is far larger than what is in it, and locking all that is mapped would make all of it. So
 * the kernel locks what has been touched, then the program's own mappings are locked whole, and ours not at all.
 */
EXPORT int mlockall(int flags)
{
	long maps;
	int ret;

	if (!(flags & MCL_CURRENT) || flags & MCL_ONFAULT || sock_highest() < 0)
		return real.mlockall(flags);
	maps = sys(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	if (maps < 0)
		return real.mlockall(flags);
	ret = real.mlockall(flags | MCL_ONFAULT);
	if (!ret && flags & MCL_FUTURE)
		ret = real.mlockall(MCL_FUTURE); /* what is mapped from now on is locked whole */
	if (!ret)
		lock_mappings((int)maps);
	sys(SYS_close, maps);
	return ret;
}

EXPORT void *mmap(void *addr, size_t n, int prot, int flags, int fd, off_t off)
	__attribute__((alias("mmap64")));
