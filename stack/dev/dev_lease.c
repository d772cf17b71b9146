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
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)),
	};
	struct cmsghdr *c;

	memset(&control, 0, sizeof(control));
	c = CMSG_FIRSTHDR(&mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	msg->version = LEASE_VERSION;
	return (int)sys(SYS_sendmsg, session, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* An earlier ztcpd ends the session over what it does not know. Return: its answer, or -errno. */
static int answer(int session)
{
	struct pollfd p = { .fd = session, .events = POLLIN };
	struct timespec wait = { .tv_sec = WAIT_S };
	struct lease_msg msg;

	if (sys(SYS_ppoll, &p, 1, &wait, NULL, 8) <= 0)
		return -ETIMEDOUT;
	if (sys(SYS_recvfrom, session, &msg, sizeof(msg), MSG_DONTWAIT, NULL, NULL) !=
		    sizeof(msg) ||
	    msg.version != LEASE_VERSION || msg.type != LEASE_ANSWER)
		return -EPROTO;
	return msg.rc;
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
	int session = conf->agent ? conf->agent() : -1;

	if (session < 0)
		return -1;
	if (send_with(session, &msg, maps, 2) > 0 && answer(session) == 0)
		return dev_fd_keep(conf, session);
	sys(SYS_close, session);
	return -1;
}

void dev_lease_table(int session, int memory, const struct lease_table *t)
{
	struct lease_msg msg = { .type = LEASE_TABLE, .table = *t };

	send_with(session, &msg, &memory, 1);
}
