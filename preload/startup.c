/* startup.c - what happens when the library is loaded, around fork, and at the end
 *
 * The order is a list with a reason per line; nothing here opens, allocates or starts anything that a
 * program without TCP connections would pay for.
 */
#include "preload/call.h"
#include "preload/sock/conf.h"
#include "preload/sock/diag.h"
#include "preload/sock/direct.h"
#include "preload/sock/ep.h"
#include "preload/sock/explain.h"
#include "preload/sock/hold.h"
#include "preload/sock/lift.h"
#include "preload/sock/net.h"
#include "preload/sock/thread.h"
#include "shm/shm_arena.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void call_before_fork(void)
{
	/* while the parent still holds everything: a child may close before it is counted otherwise */
	if (!call_is_foreign()) {
		direct_before_fork(true);
		direct_soil_all();
		sock_share(1);
		direct_listen_share(1);
		ep_share();
	}
	ep_fork_lock(true); /* in the order of locks */
	net_fork_lock(true);
	sock_fork_lock(true);
	shm_self_fork_lock(true);
	direct_fork_lock(true); /* which makes what the child asks by */
}

void call_fork_parent(void)
{
	direct_fork_lock(false);
	shm_self_fork_lock(false);
	sock_fork_lock(false);
	net_fork_lock(false);
	ep_fork_lock(false);
	direct_soil_all(); /* other threads have gone on meanwhile */
}

/* The handlers have counted a child that is not. */
void call_fork_failed(void)
{
	sock_share(-1);
	direct_listen_share(-1);
}

void call_fork_child(void)
{
	call_pid = (int)sys(SYS_getpid);
	thread_forked();   /* a new thread id, before any lock is taken */
	shm_self_forked(); /* an arena of its own for what it will lift */
	lift_forked();     /* no session with ztcpd */
	net_forked();      /* no stack: before socks, which ask whether there is one */
	direct_fork_child();
	sock_forked(); /* a table of its own for what it will open */
	diag_forked();
	ep_forked(); /* sets that are shared with the parent become its own on first use */
}

/* ZTCP_ONLY: take ourselves out of LD_PRELOAD, so that programs started from here are plain. */
static void leave_environment(void)
{
	const char *list = getenv("LD_PRELOAD");
	size_t size, used = 0;
	char *rest, *out;

	if (!list)
		return;
	rest = strdup(list);
	size = strlen(list) + 1;
	out = calloc(1, size);
	if (rest && out) {
		for (char *save = NULL, *item = strtok_r(rest, " :", &save); item;
		     item = strtok_r(NULL, " :", &save)) {
			if (strstr(item, "libztcp_preload.so"))
				continue;
			if (*out)
				used += (size_t)snprintf(out + used, size - used, ":");
			used += (size_t)snprintf(out + used, size - used, "%s", item);
		}
		if (*out)
			setenv("LD_PRELOAD", out, 1);
		else
			unsetenv("LD_PRELOAD");
	}
	free(rest);
	free(out);
	unsetenv("ZTCP_ONLY");
}

static void thread_leaves(void)
{
	hold_thread_end();
	net_thread_end();
}

__attribute__((constructor)) static void startup(void)
{
	const char *only = getenv("ZTCP_ONLY");

	real_init();                     /* libc's functions, before anything may call one */
	call_pid = (int)sys(SYS_getpid); /* whose state this is */
	thread_init(thread_leaves);      /* a key for the ends of threads */
	conf_init();                     /* options, policy */
	shm_arena_prepare();             /* while there is one thread: it takes long later */
	direct_found(); /* who waits for what it has inherited waits for the stack, too */
	pthread_atfork(call_before_fork, call_fork_parent, call_fork_child);
	if (only && strcmp(only, "1") == 0)
		leave_environment();
}

/*
 * A program built with gcc's -fsanitize=address ends at once where another library was loaded before libasan. Ours may be: it
 * calls libc by what comes next, which are then the sanitizer's functions. ASAN_OPTIONS and the program's own default come first.
 */
EXPORT const char *__asan_default_options(void);
EXPORT __attribute__((no_sanitize("address"))) const char *__asan_default_options(void)
{
	return "verify_asan_link_order=0";
}

static void share_drop(struct sock *s, void *arg)
{
	(void)arg;
	if (atomic_load(&s->row->refs) > 1)
		atomic_fetch_sub(&s->row->refs, 1);
}

void call_before_exit(void)
{
	static bool ended; /* _exit() in a handler of exit() */

	if (call_is_foreign())
		return;
	explain_exit();
	net_exit(); /* what was written is delivered, as the kernel would */
	if (!ended)
		direct_listen_share(-1);
	ended = true;
	sock_each(share_drop, NULL); /* those who still hold them are one fewer */
}

__attribute__((destructor)) static void finish(void)
{
	call_before_exit();
}
