/* call.h - what the files with overrides share
 *
 * call_*.c hold one short function per name of calls.def: look up the descriptor, hand over to sock/ or to
 * libc's own. They run on the program's threads, in its signal handlers, before and after main.
 */
#ifndef PRELOAD_CALL_H
#define PRELOAD_CALL_H

#include "preload/real.h"
#include "preload/sock/sock.h"

#define EXPORT __attribute__((visibility("default")))

/* A vfork child, or one made by a raw clone(), runs on the parent's memory: it must not change our state. */
bool call_is_foreign(void);

/* Descriptors leave the process in SCM_RIGHTS: theirs is the kernel path from now on. */
void call_passing(const struct msghdr *msg);

/* libc declares it since 2.36, in <sys/pidfd.h>. */
int pidfd_getfd(int pidfd, int fd, unsigned flags);

/* A program is about to be started: what it inherits goes back to the kernel. */
void call_before_exec(void);

/* Around fork, for libc to call; and for forks that it calls nothing for. */
void call_before_fork(void);
void call_fork_parent(void);
void call_fork_failed(void);
void call_fork_child(void);

/* The process is about to end without exit(). */
void call_before_exit(void);

/* The process id our state belongs to. */
extern int call_pid;

#endif
