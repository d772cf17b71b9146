/* dev_lease.c - a device's session with ztcpd */
#include "stack/dev/dev_lease.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "stack/base/base_sys.h"

enum { FDS_MAX = 2, WAIT_S = 1 };

static int send_with(int session, struct lease_msg *msg, const int *fds, unsigned int n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { msg, sizeof(*msg) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	msg->version = LEASE_VERSION;
	if (n) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	return (int)sys(SYS_sendmsg, session, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* One message, and the descriptor that came with it. Return: bytes, or -errno. */
static int receive(int session, struct lease_msg *msg, int *fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { msg, sizeof(*msg) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf) };
	int n = (int)sys(SYS_recvmsg, session, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&mh) : NULL;

	*fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return n;
}

/* An earlier ztcpd ends the session over what it does not know. An answer that came too late was to another question. */
static int answer(int session, struct lease_msg *msg, int *fd)
{
	const struct timespec wait = { .tv_sec = WAIT_S };
	struct pollfd p = { .fd = session, .events = POLLIN };
	uint32_t serial = msg->name.serial;

	for (;;) {
		long n = sys(SYS_ppoll, &p, 1, &wait, NULL, 8);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return -ETIMEDOUT;
		if (receive(session, msg, fd) != sizeof(*msg) || msg->version != LEASE_VERSION ||
		    msg->type != LEASE_ANSWER)
			return -EPROTO;
		if (msg->name.serial == serial)
			return msg->rc;
		if (*fd >= 0)
			sys(SYS_close, *fd);
	}
}

/* Return: the answer, with a descriptor if one came, or -errno. */
static int question(int session, struct lease_msg *msg, int *fd)
{
	static uint32_t serial;
	int rc;

	msg->name.serial = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
	rc = send_with(session, msg, NULL, 0);
	*fd = -1;
	rc = rc < 0 ? rc : answer(session, msg, fd);
	if (rc && *fd >= 0) {
		sys(SYS_close, *fd);
		*fd = -1;
	}
	return rc;
}

int dev_lease_watch(const struct dev_conf *conf, uint32_t ifindex, uint32_t queue, int flows,
		    int ports)
{
	struct lease_msg msg = {
		.type = LEASE_WATCH,
		.ifindex = ifindex,
		.queue = queue,
		.pid = (uint32_t)sys(SYS_getpid),
	};
	const int maps[] = { flows, ports };
	int session = conf->agent ? conf->agent() : -1, none = -1;

	if (session < 0)
		return -1;
	if (send_with(session, &msg, maps, 2) > 0 && answer(session, &msg, &none) == 0)
		return dev_fd_keep(conf, session);
	sys(SYS_close, session);
	return -1;
}

void dev_lease_table(int session, int memory, const struct lease_table *t)
{
	struct lease_msg msg = { .type = LEASE_TABLE, .table = *t };

	send_with(session, &msg, &memory, 1);
}

int dev_lease_ask(const struct dev_conf *conf, uint32_t ifindex, int *session)
{
	struct lease_msg msg = { .type = LEASE_ASK, .ifindex = ifindex };
	int s = conf->agent ? conf->agent() : -1, fd = -1, rc;

	if (s < 0)
		return -ENOTCONN;
	rc = question(s, &msg, &fd);
	if (!rc && fd >= 0) {
		*session = s;
		return fd;
	}
	sys(SYS_close, s);
	return rc == -EPROTO || rc == -ETIMEDOUT || rc >= 0 ? -ENOTCONN : rc;
}

int dev_lease_bind(int session, uint32_t *queue)
{
	struct lease_msg msg = { .type = LEASE_BIND, .queue = *queue };
	int none, rc = question(session, &msg, &none);

	if (!rc)
		*queue = msg.queue;
	return rc;
}

int dev_lease_name(int session, const struct nic_flow *flow, bool on)
{
	struct lease_msg msg = { .type = on ? LEASE_NAME : LEASE_UNNAME, .name.flow = *flow };
	int none;

	return question(session, &msg, &none);
}

void dev_lease_neigh(int session, const uint8_t addr[16])
{
	struct lease_msg msg = { .type = LEASE_NEIGH };

	memcpy(msg.name.flow.remote, addr, 16);
	send_with(session, &msg, NULL, 0);
}
