/* shm_fd.c - descriptors that the program does not know of */
#include "shm/shm_fd.h"

#include "shm/shm_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
	FD_MAX = 1 << 20,
	WORD_BITS = 64,
	FD_LEAST = 256,
	FD_ROOM = 512, /* how far below the limit we start when there is nothing above it */
};

static _Atomic uint64_t hidden[FD_MAX / WORD_BITS];
static _Atomic int hidden_count;

static void hidden_set(int fd)
{
	atomic_fetch_or(&hidden[fd / WORD_BITS], UINT64_C(1) << fd % WORD_BITS);
	atomic_fetch_add(&hidden_count, 1);
}

bool shm_fd_hidden(int fd)
{
	if ((unsigned)fd >= FD_MAX)
		return false;
	return atomic_load_explicit(&hidden[fd / WORD_BITS], memory_order_relaxed) >>
		       fd % WORD_BITS &
	       1;
}

int shm_fd_next_hidden(int from)
{
	if (from < 0)
		from = 0;
	if (atomic_load_explicit(&hidden_count, memory_order_relaxed) == 0)
		return -1;
	for (unsigned w = (unsigned)from / WORD_BITS; w < FD_MAX / WORD_BITS; w++) {
		uint64_t bits = atomic_load_explicit(&hidden[w], memory_order_relaxed);

		if (w == (unsigned)from / WORD_BITS)
			bits &= ~UINT64_C(0) << from % WORD_BITS;
		if (bits)
			return (int)(w * WORD_BITS) + __builtin_ctzll(bits);
	}
	return -1;
}

/* Numbers from the soft limit up are out of the program's reach; using them takes the limit away a moment. */
static int dup_above_limit(int fd, struct rlimit *soft)
{
	struct rlimit wide = { soft->rlim_max, soft->rlim_max };
	int high;

	if (soft->rlim_cur >= soft->rlim_max || soft->rlim_cur >= FD_MAX - FD_ROOM)
		return -EINVAL;
	if (sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &wide, 0) < 0)
		return -EPERM;
	high = (int)sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, soft->rlim_cur);
	sys(SYS_prlimit64, 0, RLIMIT_NOFILE, soft, 0);
	return high;
}

static int dup_below_limit(int fd, struct rlimit *soft)
{
	long limit = soft->rlim_cur < FD_MAX ? (long)soft->rlim_cur : FD_MAX;
	long from = limit > 2 * FD_ROOM ? limit - FD_ROOM : limit * 3 / 4;

	if (limit < FD_LEAST) /* the program needs them all */
		return -EMFILE;

	return (int)sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, from);
}

int shm_fd_hide(int fd)
{
	struct rlimit limit;
	int high = -EINVAL;

	if (fd < 0)
		return fd;
	if (sys(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit) == 0) {
		high = dup_above_limit(fd, &limit);
		if (high < 0)
			high = dup_below_limit(fd, &limit);
	}
	sys(SYS_close, fd);
	if (high >= FD_MAX) {
		sys(SYS_close, high);
		high = -EMFILE;
	}
	if (high >= 0)
		hidden_set(high);
	return high;
}

int shm_fd_size(int fd, uint64_t bytes)
{
	struct rlimit limit;

	if (sys(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit) == 0 && limit.rlim_cur < bytes)
		return -EFBIG;
	return (int)sys(SYS_ftruncate, fd, bytes);
}

long shm_fd_map(int fd, uint64_t bytes, int prot)
{
	/* pages that nobody may touch are not made, and the lock is off before they may be */
	long addr = sys(SYS_mmap, 0, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0), err;

	if (addr < 0 && addr > -4096)
		return addr;
	sys(SYS_munlock, addr, bytes);
	err = sys(SYS_mprotect, addr, bytes, prot);
	if (!err)
		return addr;
	sys(SYS_munmap, addr, bytes);
	return err;
}

static int fd_of(struct msghdr *mh)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(mh);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int shm_fd_receive(int sock, void *msg, size_t size, int *fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { msg, size };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = CMSG_LEN(sizeof(int)) }; /* room for one, not two */
	long n = sys(SYS_recvmsg, sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*fd = -1;
	/* it went with mail of ours unread; what it had sent is behind that */
	if (n == -ECONNRESET)
		n = sys(SYS_recvmsg, sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n < 0)
		return (int)n;
	*fd = fd_of(&mh); /* an empty message may bring one, too */
	if (n == (long)size && !(mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 1;
	if (*fd >= 0)
		sys(SYS_close, *fd);
	*fd = -1;
	return n ? -EPROTO : -ENOTCONN;
}

int shm_fd_send(int sock, const void *msg, size_t size, int fd)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} c = { .h = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { (void *)msg, size };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = fd >= 0 ? &c : NULL,
			    .msg_controllen = fd >= 0 ? sizeof(c) : 0 };
	long n;

	memcpy(CMSG_DATA(&c.h), &fd, sizeof(fd));
	n = sys(SYS_sendmsg, sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	return n < 0 ? (int)n : 0;
}

void shm_fd_forget(int fd)
{
	if (!shm_fd_hidden(fd))
		return;
	atomic_fetch_and(&hidden[fd / WORD_BITS], ~(UINT64_C(1) << fd % WORD_BITS));
	atomic_fetch_sub(&hidden_count, 1);
}

void shm_fd_close(int fd)
{
	if (fd < 0)
		return;
	shm_fd_forget(fd);
	sys(SYS_close, fd);
}
