/* direct_found.c - listeners that this program has from the one before it (exec): they come to the stack as by listen()
 *
 * nginx that becomes a new program while the old one serves on, what systemd has opened: here nobody calls listen() for them. Called
 * once, at the start of a program that may have connections of the stack, by its only thread; one that has inherited no listener pays a
 * look at its descriptors. What is noted is direct_listen.c's, as of any listener; before an exec the ends of direct_hand.c are
 * let through with the listener, so that the programs can hand each other connections. A program whose environment says that it
 * will know nothing of this (a stranger) could take none: before it comes the listener is left to the kernel, by all who have it.
 */
#include "preload/sock/diag.h"
#include "preload/sock/direct_priv.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* ---- at the start ---- */

static bool is_set(int fd, int name, int want)
{
	socklen_t len = sizeof(int);
	int val = 0;

	return sys(SYS_getsockopt, fd, SOL_SOCKET, name, &val, &len) == 0 && val == want;
}

/* What listen() was given: of a listener TCP_INFO tells it here. */
static int backlog_of(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	return sys(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, &info, &len) ? 0
									   : (int)info.tcpi_sacked;
}

/* Another number of the same socket, which is followed already. */
static struct sock *same_as(int fd)
{
	const uint64_t cookie = diag_cookie(fd);

	for (int n = 0; n <= sock_highest(); n++) {
		struct sock *s = sock_of(n);

		if (s && diag_cookie(n) == cookie)
			return s;
	}
	return NULL;
}

static bool look(int fd, void *arg)
{
	struct sock *s;

	(void)arg;
	if (!is_set(fd, SO_ACCEPTCONN, 1) || !is_set(fd, SO_PROTOCOL, IPPROTO_TCP))
		return false;
	s = same_as(fd);
	if (s) {
		sock_dup(s, fd);
		return false;
	}
	s = sock_open(fd);
	if (s)
		direct_listen(s, fd, backlog_of(fd), true);
	return false;
}

void direct_found(void)
{
	if (conf.direct)
		diag_fds(look, NULL);
}

/* ---- before an exec ---- */

static const char *value_in(char *const envp[], const char *name)
{
	const size_t len = strlen(name);

	for (; envp && *envp; envp++) {
		if (strncmp(*envp, name, len) == 0 && (*envp)[len] == '=')
			return *envp + len + 1;
	}
	return NULL;
}

static bool has(char *const envp[], enum options_id option, const char *what)
{
	const char *value = value_in(envp, options_table()[option].env);

	return value && (!what || strcmp(value, what) == 0);
}

static bool has_library(char *const envp[])
{
	const char *list = value_in(envp, "LD_PRELOAD");
	Dl_info self;

	return (list && strstr(list, "libztcp_preload.so")) ||
	       (dladdr(&conf, &self) && strstr(self.dli_fname, CONF_LIBRARY_EVERYWHERE));
}

/* Whether a program with this environment comes to the stack as this one does: nginx leaves its successor none of it unasked. */
static bool is_heir(char *const envp[])
{
	return has_library(envp) &&
	       (conf.path != OPTIONS_PATH_STACK || has(envp, OPTIONS_path, "stack")) &&
	       (!conf.interfaces || has(envp, OPTIONS_interfaces, NULL)) &&
	       (!conf.policy_own || has(envp, OPTIONS_policy, NULL));
}

/* A listener, and whether the next program has it; not more than once for all its numbers. */
static struct direct *listener_at(int n, bool *passed)
{
	const struct sock *s = sock_of(n);
	struct direct *d = s ? SHM_FOLLOW(s->direct) : NULL;

	if (!d || !d->at || !d->hand)
		return NULL;
	*passed = false;
	for (int k = 0; k <= sock_highest(); k++) {
		if (sock_of(k) != s)
			continue;
		if (k < n)
			return NULL;
		*passed |= !(sys(SYS_fcntl, k, F_GETFD) & FD_CLOEXEC);
	}
	return d;
}

static void each_listener(void (*f)(struct direct *d, enum direct_hand_next next), bool heir)
{
	for (int n = 0; conf.direct && n <= sock_highest(); n++) {
		bool passed;
		struct direct *d = listener_at(n, &passed);

		if (!d)
			continue;
		f(d, !passed ? DIRECT_HAND_NOBODY : heir ? DIRECT_HAND_HEIR : DIRECT_HAND_STRANGER);
	}
}

static bool heir_comes; /* in the process that execs alone */

void direct_found_before(char *const envp[])
{
	heir_comes = is_heir(envp);
	each_listener(direct_hand_leave, heir_comes);
}

void direct_found_after(void)
{
	each_listener(direct_hand_stay, heir_comes);
}
