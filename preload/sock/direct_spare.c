/* direct_spare.c - the kernel's sockets behind connections of the stack, used again
 *
 * Theory of operation. To make a TCP socket and to end it is the dearest of what a short connection costs, though
 * nobody ever connects the one behind a connection of the stack. So some of them are held by a hidden number besides the
 * program's (sock.backing). When the connection ends, the program's number goes, and the socket waits in the instance's list
 * for accept() or socket() to give it a number again. No two have it at a time.
 *
 * It is as it was made, but for O_NONBLOCK, which is set anew: before the program does anything else to such a descriptor, or another
 * process may get it, direct_soil() is called. A connection's then ends with it. One that socket() has given, and that nobody
 * has connected yet, is exchanged for a new one under the same numbers: a socket that is used again never reaches the kernel's
 * network, so that it makes no difference who made it, where and when.
 */
#include "preload/sock/direct_priv.h"
#include "preload/sock/conf.h"
#include "preload/sock/thread.h"
#include "shm/shm_fd.h"

#include <fcntl.h>
#include <sys/socket.h>

static _Atomic int held; /* of this process */

static int made(bool six, int flags)
{
	return (int)sys(SYS_socket, six ? AF_INET6 : AF_INET, SOCK_STREAM | flags, 0);
}

void direct_hold(struct sock *s, int fd)
{
	int hidden;

	if (atomic_load(&s->backing) < 0 || atomic_load(&held) >= NET_SPARES)
		return;
	hidden = shm_fd_hide((int)sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0));
	if (hidden < 0)
		return;
	atomic_fetch_add(&held, 1);
	atomic_store(&s->backing, ~hidden);
}

/* Return: the hidden number, which is the caller's now; negative: there is none. */
static int hold_take(struct sock *s)
{
	return atomic_load(&s->backing) < 0 ? ~atomic_exchange(&s->backing, 0) : -1;
}

static void hidden_end(int hidden)
{
	if (hidden < 0)
		return;
	atomic_fetch_sub(&held, 1);
	shm_fd_close(hidden);
}

void direct_hold_end(struct sock *s)
{
	hidden_end(hold_take(s));
}

/* In the lock of the thread's instance. Return: a number for the program, its @hidden one is set; -errno; DIRECT_NOT_OURS: none waits. */
static int again(bool six, int flags, int *hidden)
{
	struct net_spares *all = &thread_self.inside->spares[six];
	const bool nonblock = flags & SOCK_NONBLOCK;
	const struct net_spare *spare;
	int fd;

	if (!all->n)
		return DIRECT_NOT_OURS;
	spare = &all->spare[all->n - 1];
	fd = (int)sys(SYS_fcntl, spare->hidden, flags & SOCK_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD,
		      0);
	if (fd < 0)
		return fd;
	all->n--;
	if (spare->nonblock != nonblock)
		sys(SYS_fcntl, fd, F_SETFL, O_RDWR | (nonblock ? O_NONBLOCK : 0));
	*hidden = spare->hidden;
	return fd;
}

/* A new socket's sock, which holds what it is made from. Return: NULL: nobody follows it. */
static struct sock *opened(int fd, int hidden)
{
	struct sock *s = sock_open(fd);

	if (!s)
		hidden_end(hidden);
	else if (hidden >= 0)
		atomic_store(&s->backing, ~hidden);
	return s;
}

struct sock *direct_spare_accept(bool six, int flags, bool as_made, int *fd)
{
	int hidden = -1;
	struct sock *s;

	*fd = as_made ? again(six, flags, &hidden) : DIRECT_NOT_OURS;
	if (*fd == DIRECT_NOT_OURS)
		*fd = made(six, flags);
	s = *fd < 0 ? NULL : opened(*fd, hidden);
	if (s && as_made)
		direct_hold(s, *fd);
	return s;
}

int direct_socket(bool six, int flags)
{
	struct net_inst *in = net_mine();
	int hidden, fd;
	struct sock *s;

	if (!net_any() || !in->spares[six].n || !net_enter(in))
		return DIRECT_NOT_OURS;
	fd = again(six, flags, &hidden);
	net_leave();
	s = fd < 0 ? NULL : opened(fd, hidden);
	if (s)
		SHM_WRITE(s->fresh, SOCK_FRESH_OPTIONS | SOCK_FRESH_NAME | SOCK_FRESH_AS_MADE);
	return fd;
}

void direct_spare_give(const struct direct *d, struct sock *s)
{
	struct net_spares *all = &d->of->spares[d->six];
	int hidden = hold_take(s);

	if (hidden >= 0) /* there is room: no more are held */
		all->spare[all->n++] = (struct net_spare){ hidden, sock_nonblock(s) };
}

/* A new socket under the numbers of one that is not connected. */
static void renew(struct sock *s, int hidden)
{
	int family = AF_INET, fd;
	socklen_t len = sizeof(family);
	long mode = sys(SYS_fcntl, hidden, F_GETFL);

	sys(SYS_getsockopt, hidden, SOL_SOCKET, SO_DOMAIN, &family, &len);
	fd = made(family == AF_INET6, SOCK_CLOEXEC | (mode & O_NONBLOCK ? SOCK_NONBLOCK : 0));
	if (fd < 0)
		return; /* it is at its limit: better a socket that was used than none */
	direct_numbers_move(s, fd);
	sys(SYS_close, fd);
}

void direct_soil_it(struct sock *s)
{
	const bool connected = SHM_FOLLOW(s->direct) || sock_row(s);
	int hidden;

	if (!connected)
		SHM_WRITE(s->fresh, s->fresh & ~SOCK_FRESH_AS_MADE);
	hidden = hold_take(s);
	if (hidden >= 0 && !connected)
		renew(s, hidden);
	hidden_end(hidden);
}

void direct_soil_all(void)
{
	for (int n = 0; conf.direct && n <= sock_highest(); n++)
		direct_soil(sock_of(n));
}

void direct_hold_forked(struct sock *s)
{
	shm_fd_close(hold_take(s));
}

void direct_spares_forked(struct net_inst *in)
{
	for (unsigned six = 0; six < 2; six++) {
		for (unsigned i = 0; i < in->spares[six].n; i++)
			shm_fd_close(in->spares[six].spare[i].hidden);
	}
	atomic_store(&held, 0);
}
