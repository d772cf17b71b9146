/* ztcpd_session.c - the sockets of sessions: reading what pair.c judges, sending what it says
 *
 * A session is read until its user has used up its messages; then it is left alone, and what it goes on sending waits in
 * its own socket. A session that does not take an answer is closed: its process asks again when it wants to. Both
 * cost nobody else anything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/ztcpd/pair.h"
#include "daemon/ztcpd/ztcpd.h"
#include "stack/base/base_lease.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* not in Debian 12's headers */
#endif

enum { SESSION_TURN = 32 /* messages read before others have their turn */ };

struct session {
	struct source src;
	struct asker who;
	bool dying;
	bool waiting;
	uint64_t until_ms;
};

struct sessions {
	struct pair *pair;
	struct session **session; /* by number */
	uint32_t max, dying, waiting;
};

/* ---- what pairing asks of the world ---- */

static int op_conn(void *arg, uint64_t cookie, struct pair_conn *conn)
{
	struct ztcpd *d = arg;
	struct selector_conn c;
	int err = selector_conn_get(d->sel, cookie, &c);

	if (err)
		return err;
	if (!c.attested)
		return -ENOENT;
	*conn = (struct pair_conn){ .peer = c.peer,
				    .secret = c.secret,
				    .netns = c.netns,
				    .tgid = c.tgid,
				    .connected = c.role == POLICY_ROLE_CONNECT };
	return 0;
}

static int op_chan(void *arg, uint64_t cookie, uint64_t chan)
{
	struct ztcpd *d = arg;

	return selector_chan_set(d->sel, cookie, chan);
}

static int op_channel(void *arg, int fd[2], uint64_t chan[2])
{
	(void)arg;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
		return -errno;
	for (unsigned i = 0; i < 2; i++) {
		socklen_t len = sizeof(chan[i]);

		if (getsockopt(fd[i], SOL_SOCKET, SO_COOKIE, &chan[i], &len)) {
			int err = -errno;

			close(fd[0]);
			close(fd[1]);
			fd[0] = fd[1] = -1;
			return err;
		}
	}
	return 0;
}

static void op_close(void *arg, int fd)
{
	(void)arg;
	close(fd);
}

static void session_dies(struct sessions *all, struct session *s)
{
	if (!s->dying)
		all->dying++;
	s->dying = true;
}

int sessions_send(struct ztcpd *d, uint32_t session, const void *msg, size_t len, int fd)
{
	struct session *s = d->sessions->session[session];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { .buf = { 0 } };
	struct iovec iov = { (void *)msg, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (s->dying)
		return -ENOTCONN;
	if (fd >= 0) {
		struct cmsghdr *c;

		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(s->src.fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	session_dies(d->sessions, s);
	return -errno;
}

static int op_send(void *arg, uint32_t number, const struct agent_msg *msg, int fd)
{
	return sessions_send(arg, number, msg, sizeof(*msg), fd);
}

/* Before Linux 6.5 it is found by its number, which may be its successor's by now if it has ended. */
int sessions_process(const struct ztcpd *d, uint32_t session)
{
	const struct session *s = d->sessions->session[session];
	int fd;
	socklen_t len = sizeof(fd);

	if (!getsockopt(s->src.fd, SOL_SOCKET, SO_PEERPIDFD, &fd, &len))
		return fd;
	if (errno != ENOPROTOOPT)
		return -errno;
	fd = (int)syscall(SYS_pidfd_open, s->who.pid, 0);
	return fd < 0 ? -errno : fd;
}

/* ---- reading ---- */

static void session_wait(struct ztcpd *d, struct session *s, uint32_t ms)
{
	if (source_events(d, &s->src, 0))
		session_dies(d->sessions, s);
	if (!s->waiting)
		d->sessions->waiting++;
	s->waiting = true;
	s->until_ms = ztcpd_now_ms() + ms;
}

enum { SESSION_FDS = 2 };

/* One message, and descriptors that came with it; those beyond SESSION_FDS the kernel has dropped. */
static ssize_t message_read(int fd, void *buf, size_t size, int fds[SESSION_FDS], unsigned *n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(SESSION_FDS * sizeof(int))];
	} control;
	struct iovec iov = { buf, size };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control) };
	ssize_t len = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = len < 0 ? NULL : CMSG_FIRSTHDR(&mh); /* an empty one brings them too */

	*n = 0;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		*n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), *n * sizeof(int));
	}
	return len;
}

/* Return: 0 or -errno: the session is to be closed. */
static int message_take(struct ztcpd *d, struct session *s, const void *buf, size_t len, int *fds,
			unsigned n, uint64_t now)
{
	struct lease_msg msg;

	if (len != sizeof(msg))
		return pair_message(d->sessions->pair, s->who.session, buf, len, now);
	pair_other(d->sessions->pair, s->who.session, now);
	memcpy(&msg, buf, sizeof(msg));
	return leases_message(d, &s->who, &msg, fds, n);
}

static void session_ready(struct ztcpd *d, struct source *src, uint32_t events)
{
	struct session *s = (struct session *)src;
	uint64_t now = ztcpd_now_ms();
	char buf[2 * sizeof(struct agent_msg)];

	(void)events;
	for (unsigned i = 0; i < SESSION_TURN && !s->dying; i++) {
		uint32_t wait = pair_wait_ms(d->sessions->pair, s->who.session, now);
		int fds[SESSION_FDS];
		unsigned nfds;
		ssize_t n;

		if (wait) {
			session_wait(d, s, wait);
			return;
		}
		n = message_read(s->src.fd, buf, sizeof(buf), fds, &nfds);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || message_take(d, s, buf, (size_t)n, fds, nfds, now) < 0)
			session_dies(d->sessions, s);
		for (unsigned k = 0; k < nfds; k++) {
			if (fds[k] >= 0)
				close(fds[k]);
		}
	}
}

static void session_close(struct ztcpd *d, struct session *s)
{
	struct sessions *all = d->sessions;

	leases_end(d, s->who.session);
	pair_close(all->pair, s->who.session);
	all->session[s->who.session] = NULL;
	all->dying -= s->dying;
	all->waiting -= s->waiting;
	source_drop(d, &s->src);
	free(s);
}

void sessions_accept(struct ztcpd *d, int fd)
{
	struct sessions *all = d->sessions;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	uint32_t person;
	struct session *s = calloc(1, sizeof(*s));
	int number = -1;

	if (s && !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.pid > 0 &&
	    person_of(cred.pid, cred.uid, &person))
		number = pair_open(all->pair, cred.uid, person, (uint32_t)cred.pid);
	if (number < 0) {
		free(s);
		close(fd);
		return;
	}
	*s = (struct session){ .src = { fd, session_ready },
			       .who = { .session = (uint32_t)number,
					.uid = cred.uid,
					.person = person,
					.pid = cred.pid } };
	all->session[number] = s;
	if (source_add(d, &s->src, EPOLLIN))
		session_dies(all, s);
}

/* ---- the turn ---- */

static void session_turn(struct ztcpd *d, struct session *s, uint64_t now, int *next_ms)
{
	if (s->dying) {
		session_close(d, s);
		return;
	}
	if (!s->waiting)
		return;
	if (s->until_ms <= now) {
		s->waiting = false;
		d->sessions->waiting--;
		if (source_events(d, &s->src, EPOLLIN))
			session_dies(d->sessions, s);
	} else if (*next_ms < 0 || s->until_ms - now < (uint64_t)*next_ms) {
		*next_ms = (int)(s->until_ms - now);
	}
}

int sessions_turn(struct ztcpd *d)
{
	struct sessions *all = d->sessions;
	uint64_t now = ztcpd_now_ms();
	int next = pair_expire(all->pair, now);

	for (uint32_t i = 0; i < all->max && (all->dying || all->waiting); i++) {
		if (all->session[i])
			session_turn(d, all->session[i], now, &next);
	}
	return all->dying ? 0 : next;
}

const struct pair_counts *sessions_counts(const struct ztcpd *d)
{
	return pair_counts_get(d->sessions->pair);
}

int sessions_start(struct ztcpd *d)
{
	static const struct pair_ops ops = { op_conn, op_chan, op_channel, op_close, op_send };
	struct sessions *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	d->sessions = all;
	all->max = d->limits.sessions;
	all->session = calloc(all->max, sizeof(struct session *));
	all->pair = pair_make(&d->limits, &ops, d);
	return all->session && all->pair ? 0 : -ENOMEM;
}

void sessions_stop(struct ztcpd *d)
{
	struct sessions *all = d->sessions;

	if (!all)
		return;
	for (uint32_t i = 0; all->session && i < all->max; i++) {
		if (all->session[i])
			session_close(d, all->session[i]);
	}
	free(all->session);
	pair_free(all->pair);
	free(all);
	d->sessions = NULL;
}
