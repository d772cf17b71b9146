/* direct_found.c - listeners that this program has from the one before it (exec): they come to the stack as by listen()
 *
 * nginx that becomes a new program while the old one serves on, what systemd has opened: here nobody calls listen() for them. Called
 * once, at the start of a program that may have connections of the stack, by its only thread; one that has inherited no listener pays a
 * look at its descriptors. What is noted is direct_listen.c's, as of any listener; before an exec the ends of direct_hand.c are
 * let through with the listener, so that the programs can hand each other connections.
 */
#include "preload/sock/diag.h"
#include "preload/sock/direct_priv.h"

#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

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

static void pass(bool on)
{
	for (int n = 0; conf.direct && n <= sock_highest(); n++) {
		const struct sock *s = sock_of(n);
		const struct direct *d = s ? SHM_FOLLOW(s->direct) : NULL;
		long flags = d && d->at ? sys(SYS_fcntl, n, F_GETFD) : -1;

		if (flags >= 0 && !(flags & FD_CLOEXEC))
			direct_hand_pass(d, on);
	}
}

void direct_found_before(void)
{
	pass(true);
}

void direct_found_after(void)
{
	pass(false);
}
