/* call_proc.c - overrides that make, replace and end processes */
#include "preload/call.h"
#include "preload/call_aio.h"
#include "preload/sock/diag.h"
#include "preload/sock/direct.h"
#include "preload/sock/ep.h"
#include "preload/sock/explain.h"
#include "preload/sock/mem.h"
#include "preload/sock/net.h"
#include "preload/sock/span.h"
#include "preload/sock/thread.h"

#include <alloca.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

enum { EXEC_RELEASE_MS = 100 };

extern char **environ;

int call_pid;

/* Set when a call is made that may leave somebody else on our memory: only then is the kernel asked who we are. */
static _Atomic bool foreign_possible;

bool call_is_foreign(void)
{
	return unlikely(atomic_load_explicit(&foreign_possible, memory_order_relaxed)) &&
	       sys(SYS_getpid) != call_pid;
}

/* A child comes that libc calls no handlers for, and that has our descriptors. */
static void child_unseen(void)
{
	if (!call_is_foreign())
		direct_soil_all();
	atomic_store(&foreign_possible, true); /* what it inherited is its parent's */
}

/* Return: libc's own vfork(). */
__attribute__((used, visibility("hidden"))) void *call_vforks(void)
{
	if (!call_is_foreign())
		direct_before_fork(false);
	child_unseen();
	if (!call_pid) /* before our constructor: a stub would be returned from twice */
		real_init();
	return (void *)real.vfork;
}

static void pass(int fd)
{
	struct sock *s = sock_of(fd);

	if (!call_is_foreign())
		direct_soil(s);
	/* a child of vfork has descriptors of its own */
	if (s && direct_has(s) && !call_is_foreign() && direct_share(s))
		return;
	if (s && direct_relayed(s)) /* to everybody a connection of the kernel */
		return;
	if (s && sock_row(s))
		span_release(s, REASON_PASSED, EXEC_RELEASE_MS);
	else if (s)
		SHM_WRITE(s->pinned, true);
}

void call_passing(const struct msghdr *msg)
{
	const char *end = (const char *)msg->msg_control + msg->msg_controllen;

	if (!mem_readable(msg->msg_control, msg->msg_controllen))
		return; /* the kernel refuses it */
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		if (c->cmsg_len < CMSG_LEN(0) || c->cmsg_len > (size_t)(end - (char *)c))
			return; /* and this */
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0);
		     at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
			pass(fd);
		}
	}
}

void call_before_exec(void)
{
	if (!call_is_foreign())
		direct_before_exec();
	for (int fd = 0; fd <= sock_highest(); fd++) {
		long flags;

		if (likely(!sock_of(fd)))
			continue;
		flags = sys(SYS_fcntl, fd, F_GETFD);
		if (flags >= 0 && !(flags & FD_CLOEXEC))
			pass(fd);
	}
}

static void before_exec(void)
{
	int saved = errno;

	call_before_exec();
	errno = saved;
}

EXPORT pid_t fork(void)
{
	pid_t pid = real.fork();

	if (pid < 0)
		call_fork_failed();
	return pid;
}

/* vfork() returns twice: no frame of ours may lie below it. */
__asm__(".pushsection .text\n"
	".globl vfork\n"
	".type vfork, @function\n"
	"vfork:\n"
	"	sub $8, %rsp\n"
	"	call call_vforks\n"
	"	add $8, %rsp\n"
	"	jmp *%rax\n"
	".size vfork, . - vfork\n"
	".popsection");

/* A fork that libc calls no handlers for. Return: whether there is something to do after it. */
static bool fork_begin(void)
{
	if (net_any())
		call_before_fork();
	else
		child_unseen();
	return net_any();
}

static void fork_end(bool due, long pid)
{
	if (!due)
		return;
	if (!pid)
		call_fork_child();
	else
		call_fork_parent();
	if (pid < 0)
		call_fork_failed();
}

EXPORT pid_t _Fork(void)
{
	bool due = fork_begin();
	pid_t pid = real._Fork();

	fork_end(due, pid);
	return pid;
}

EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	void *a[3];
	va_list ap;

	va_start(ap, arg);
	for (unsigned i = 0; i < 3; i++)
		a[i] = va_arg(ap, void *);
	va_end(ap);
	if (!(flags & CLONE_THREAD))
		child_unseen();
	return real.clone(fn, stack, flags, arg, a[0], a[1], a[2]);
}

EXPORT int daemon(int nochdir, int noclose)
{
	if (!noclose) {
		for (int fd = 0; fd < 3; fd++) {
			if (sock_of(fd))
				sock_close(fd);
		}
	}
	return real.daemon(nochdir, noclose);
}

static void leave_one(struct sock *s, void *arg)
{
	(void)arg;
	s->last = atomic_load(&s->row->refs) > 1;
	if (s->last)
		atomic_fetch_sub(&s->row->refs, 1);
}

static void stay_one(struct sock *s, void *arg)
{
	(void)arg;
	if (s->last)
		atomic_fetch_add(&s->row->refs, 1);
	s->last = false;
}

/* Who still holds a connection is one fewer: the last one tells of it. */
static void leave(char *const envp[])
{
	before_exec();
	if (call_is_foreign())
		return;
	explain_exec();
	sock_each(leave_one, NULL);
	direct_found_before(envp);
}

/* The program could not be started. */
static int stay(int ret)
{
	int saved = errno;

	if (!call_is_foreign()) {
		sock_each(stay_one, NULL);
		direct_found_after();
	}
	errno = saved;
	return ret;
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	leave(envp);
	return stay(real.execve(path, argv, envp));
}

EXPORT int execv(const char *path, char *const argv[])
{
	leave(environ);
	return stay(real.execv(path, argv));
}

EXPORT int execvp(const char *file, char *const argv[])
{
	leave(environ);
	return stay(real.execvp(file, argv));
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	leave(envp);
	return stay(real.execvpe(file, argv, envp));
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	leave(envp);
	return stay(real.fexecve(fd, argv, envp));
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	leave(envp);
	return stay(real.execveat(dir, path, argv, envp, flags));
}

static size_t count_args(va_list ap)
{
	size_t n = 1;

	while (va_arg(ap, const char *))
		n++;
	return n;
}

/* The list becomes a vector on the stack: after vfork the heap is not ours. */
#define ARGV_OF_LIST(argv, arg, ap)                          \
	va_list ap;                                          \
	char **argv;                                         \
	va_start(ap, arg);                                   \
	argv = alloca((count_args(ap) + 1) * sizeof(*argv)); \
	va_end(ap);                                          \
	va_start(ap, arg);                                   \
	argv[0] = (char *)arg;                               \
	for (size_t i = 0; argv[i]; i++)                     \
	argv[i + 1] = va_arg(ap, char *)

EXPORT int execl(const char *path, const char *arg, ...)
{
	ARGV_OF_LIST(argv, arg, ap);
	va_end(ap);
	return execve(path, argv, environ);
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
	ARGV_OF_LIST(argv, arg, ap);
	va_end(ap);
	return execvp(file, argv);
}

EXPORT int execle(const char *path, const char *arg, ...)
{
	char **envp;

	ARGV_OF_LIST(argv, arg, ap);
	envp = va_arg(ap, char **);
	va_end(ap);
	return execve(path, argv, envp);
}

/* The copy loses FD_CLOEXEC, and what the actions hold cannot be read back. */
EXPORT int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *acts, int fd, int to)
{
	int saved = errno;

	pass(fd);
	errno = saved;
	return real.posix_spawn_file_actions_adddup2(acts, fd, to);
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *acts,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	before_exec();
	return real.posix_spawn(pid, path, acts, attr, argv, envp);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *acts,
			const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	before_exec();
	return real.posix_spawnp(pid, file, acts, attr, argv, envp);
}

static void stir_one(struct sock *s, void *arg)
{
	(void)arg;
	sock_stir(s);
}

/* The thread may be in calls that find all they want in memory, and come to no cancellation point of libc's. */
EXPORT int pthread_cancel(pthread_t thread)
{
	if (!call_is_foreign() && !atomic_exchange(&thread_cancels, true)) {
		mem_changed();
		sock_each(stir_one, NULL);
		ep_no_short_ways();
	}
	return real.pthread_cancel(thread);
}

EXPORT int system(const char *cmd)
{
	if (cmd)
		before_exec();
	return real.system(cmd);
}

EXPORT FILE *popen(const char *cmd, const char *mode)
{
	before_exec();
	return real.popen(cmd, mode);
}

EXPORT void _exit(int status)
{
	call_before_exit();
	real._exit(status);
	__builtin_unreachable();
}

/* pselect6(2): the last argument points to a mask and its size. */
static long call_pselect6(const long *a)
{
	const struct {
		const sigset_t *mask;
		size_t size;
	} *sig = (const void *)a[5];

	return pselect((int)a[0], (fd_set *)a[1], (fd_set *)a[2], (fd_set *)a[3],
		       (const struct timespec *)a[4], sig ? sig->mask : NULL);
}

static void release_one(struct sock *s, void *arg)
{
	(void)arg;
	if (!direct_has(s) || !direct_lower(s, REASON_IO_URING))
		span_release(s, REASON_IO_URING, EXEC_RELEASE_MS);
}

/* A ring may be told to use any descriptor without another call. */
static long call_uring_setup(const long *a)
{
	long fd = real.syscall(SYS_io_uring_setup, a[0], a[1]);
	int saved = errno;

	if (fd >= 0) {
		diag_uring();
		sock_each(release_one, NULL);
	}
	errno = saved;
	return fd;
}

static long call_fork(long number, const long *a)
{
	bool due = fork_begin();
	long pid = real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);

	fork_end(due, pid);
	return pid;
}

/* syscall(2) for what the table overrides by name; everything else as it is. */
EXPORT long syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	switch (number) {
	case SYS_clone:
		if (!(a[0] & (CLONE_VM | CLONE_FILES)))
			return call_fork(number, a);
		child_unseen();
		break;
	case SYS_fork: return call_fork(number, a);
	case SYS_exit_group: call_before_exit(); break;
	case SYS_clone3:
	case SYS_vfork: child_unseen(); break;
	default: break;
	}
	switch (number) {
#define PASS(name, call) \
	case SYS_##name: \
		return (long)(call)
#include "preload/call_syscall.def"
#undef PASS
	default: return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	}
}

EXPORT pid_t __fork(void) __attribute__((alias("fork"), copy(fork)));
EXPORT void _Exit(int status) __attribute__((alias("_exit")));
