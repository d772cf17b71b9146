/* plat_seal.c - F_SEAL_FUTURE_WRITE: the maker goes on writing, nobody can ever map it writable again
 *
 * The shm path shows a peer this process's memory. What must hold is that the peer, to whom the
 * descriptor was given and who runs as the same user, has no way to a writable mapping, and cannot
 * shrink the file under the maker's feet.
 */
#include "tests/platform/plat.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { SIZE = 1 << 16 };

static void *map(int fd, int prot, int flags)
{
	void *p = mmap(NULL, SIZE, prot, flags, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getppid(), fd);
	return open(path, flags);
}

/* All that a peer could try; @fd has the same number in its parent, the maker. */
static void peer(int fd)
{
	char x = 1;
	char *p = map(fd, PROT_READ, MAP_SHARED), *q;

	FACT(p && p[100] == 'm');
	FAILS(mprotect(p, SIZE, PROT_READ | PROT_WRITE), EACCES);
	FACT(!map(fd, PROT_READ | PROT_WRITE, MAP_SHARED) && errno == EPERM);
	FACT(!map(fd, PROT_WRITE, MAP_SHARED) && errno == EPERM);
	FAILS(write(fd, &x, 1), EPERM);
	FAILS(pwrite(fd, &x, 1, 100), EPERM);
	FAILS(ftruncate(fd, 0), EPERM);
	FAILS(ftruncate(fd, 2 * SIZE), EPERM);
	FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), EPERM);
	FACT(madvise(p, SIZE, MADV_REMOVE) == -1);
	FACT(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1);
	int again = reopen(fd, O_RDWR);

	if (again >= 0) {
		FACT(!map(again, PROT_READ | PROT_WRITE, MAP_SHARED) && errno == EPERM);
		FAILS(write(again, &x, 1), EPERM);
		FAILS(ftruncate(again, 0), EPERM);
	}
	again = reopen(fd, O_RDWR | O_TRUNC);
	FACT(again < 0 || lseek(again, 0, SEEK_END) == SIZE);
	q = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	FACT(q != NULL);
	q[100] = 'x';
	FACT(p[100] == 'm');
	_exit(0);
}

int main(void)
{
	int fd = memfd_create("plat_seal", MFD_CLOEXEC | MFD_ALLOW_SEALING), st;

	FACT(fd >= 0);
	FACT(ftruncate(fd, SIZE) == 0);
	char *p = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);

	FACT(p != NULL);
	p[100] = 'm';
	FACT(fcntl(fd, F_ADD_SEALS,
		   F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
	p[101] = 'n'; /* the mapping that was there first goes on */
	pid_t pid = fork();

	FACT(pid >= 0);
	if (!pid) {
		munmap(p, SIZE);
		peer(fd);
	}
	FACT(waitpid(pid, &st, 0) == pid);
	FACT(st == 0);
	FACT(p[100] == 'm' && p[101] == 'n');
	p[102] = 'o';
	char *r = map(fd, PROT_READ, MAP_SHARED);

	FACT(r && r[102] == 'o');
	/* A forked child keeps the writable mapping: fork is not a new mapping. */
	pid = fork();
	if (!pid) {
		p[103] = 'c';
		_exit(0);
	}
	FACT(waitpid(pid, &st, 0) == pid && st == 0);
	FACT(r[103] == 'c');
	return 0;
}
