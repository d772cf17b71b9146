/* shm_agent.c - connecting to ztcpd, and its messages in and out */
#include "shm/shm_agent.h"

#include "shm/shm_chan.h"
#include "shm/shm_fd.h"
#include "shm/shm_sys.h"
#include "shm/shm_user.h"

#include <errno.h>
#include <stdbool.h>

static struct {
	int fd;
	uint64_t agent;
	uint64_t secret;
} session = { .fd = -1 };

static void session_close(void)
{
	if (session.fd < 0)
		return;
	shm_chan_watch(session.fd, false); /* a forked child may hold it too */
	shm_fd_close(session.fd);
	session.fd = -1;
	shm_chan_orphan();
}

/* Also of the host, seen from a user namespace without it. Not a proof, for the name may be heard in one: the channel it hands out is proved by the selector. */
static bool is_root(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return sys(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	       (cred.uid == 0 || cred.uid == SHM_USER_UNMAPPED);
}

int shm_agent_connect(uint64_t agent)
{
	struct sockaddr_un sa;
	long fd, err;

	fd = sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return (int)fd;
	err = sys(SYS_connect, fd, &sa, agent_name(&sa, agent));
	if (!err && !is_root((int)fd))
		err = -EPERM;
	if (!err)
		return (int)fd;
	sys(SYS_close, fd);
	return (int)err;
}

int shm_agent_open(uint64_t agent)
{
	long fd, err;

	if (session.fd >= 0 && session.agent == agent)
		return 0;
	session_close();
	fd = shm_agent_connect(agent);
	if (fd >= 0)
		fd = shm_fd_hide((int)fd);
	if (fd < 0)
		return (int)fd;
	err = shm_chan_watch((int)fd, true);
	if (err) {
		shm_fd_close((int)fd);
		return (int)err;
	}
	session.fd = (int)fd;
	session.agent = agent;
	return 0;
}

uint64_t shm_agent_secret(void)
{
	if (!session.secret && sys(SYS_getrandom, &session.secret, sizeof(session.secret), 0) !=
				       (long)sizeof(session.secret))
		session.secret = 0;
	return session.secret;
}

int shm_agent_send(struct agent_msg *msg)
{
	long n;

	if (session.fd < 0)
		return -ENOTCONN;
	msg->version = AGENT_VERSION;
	n = sys(SYS_sendto, session.fd, msg, sizeof(*msg), MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
	if (n < 0 && n != -EAGAIN && n != -EINTR && n != -ENOBUFS)
		session_close();
	return n < 0 ? (int)n : 0;
}

int shm_agent_receive(struct agent_msg *msg, int *fd)
{
	int got;

	if (session.fd < 0)
		return -ENOTCONN;
	got = shm_fd_receive(session.fd, msg, sizeof(*msg), fd);
	if (!got || (got > 0 && msg->version == AGENT_VERSION))
		return got;
	if (*fd >= 0)
		sys(SYS_close, *fd);
	session_close();
	return -ENOTCONN;
}

void shm_agent_forked(void)
{
	shm_fd_close(session.fd);
	session.fd = -1;
	session.secret = 0;
}
