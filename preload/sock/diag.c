/* diag.c - inet_diag, TCP_INFO and the other questions before a lift */
#include "preload/sock/diag.h"

#include "preload/sock/sock.h"
#include "shm/shm_fd.h"
#include "shm/shm_lock.h"
#include "preload/sock/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
	DIAG_TRIES = 3,        /* counters are read one after the other while bytes arrive */
	DIAG_URING_EVERY = 64, /* lifts between two looks for io_uring */
	DIAG_TRIES_ALONE =
		1000, /* bytes that nobody takes fill the window soon, and then it is still */
	DIAG_ESTABLISHED = 1, /* tcp_info.tcpi_state */
	DIAG_FIN_WAIT1 = 4,
	DIAG_FIN_WAIT2 = 5,
};

static _Atomic uint32_t diag_lock;
static int diag_fd = -1;

static int diag_open(void)
{
	if (diag_fd < 0)
		diag_fd = shm_fd_hide((int)sys(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
					       NETLINK_SOCK_DIAG));
	return diag_fd;
}

void diag_forked(void)
{
	shm_fd_close(diag_fd);
	diag_fd = -1;
	atomic_store(&diag_lock, 0);
}

static bool end_is_v4(const struct shm_end *end)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(end->addr, v4, sizeof(v4)) == 0;
}

static int diag_ask(uint8_t family, const struct shm_end *local, const struct shm_end *remote,
		    struct diag_owner *owner)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} req = {
		.h = { .nlmsg_len = sizeof(req),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST },
		.r = { .sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u },
	};
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	union {
		struct nlmsghdr h;
		char buf[1024];
	} ans;
	const struct inet_diag_msg *m = NLMSG_DATA(&ans.h);
	unsigned skip = family == AF_INET ? 12 : 0;
	long n;

	memcpy(req.r.id.idiag_src, local->addr + skip, 16 - skip);
	memcpy(req.r.id.idiag_dst, remote->addr + skip, 16 - skip);
	req.r.id.idiag_sport = local->port;
	req.r.id.idiag_dport = remote->port;
	req.r.id.idiag_cookie[0] = req.r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	n = sys(SYS_sendto, diag_fd, &req, sizeof(req), 0, &kernel, sizeof(kernel));
	if (n < 0)
		return (int)n;
	n = sys(SYS_recvfrom, diag_fd, &ans, sizeof(ans), 0, 0, 0);
	if (n < (long)sizeof(ans.h))
		return n < 0 ? (int)n : -EPROTO;
	if (ans.h.nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = NLMSG_DATA(&ans.h);

		return e->error ? e->error : -EPROTO;
	}
	if (n < (long)NLMSG_LENGTH(sizeof(*m)))
		return -EPROTO;
	/* the lookup falls back to listening sockets */
	if (m->id.idiag_dport != remote->port || m->id.idiag_sport != local->port)
		return -ENOENT;
	owner->cookie = (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0];
	owner->uid = m->idiag_uid;
	owner->inode = m->idiag_inode;
	return 0;
}

int diag_owner(const struct shm_end *local, const struct shm_end *remote, struct diag_owner *owner)
{
	uint64_t mask = thread_signals_block();
	bool taken = shm_lock(&diag_lock, thread_tid());
	int ret = diag_open();

	if (ret >= 0) {
		ret = diag_ask(end_is_v4(local) ? AF_INET : AF_INET6, local, remote, owner);
		/* an IPv6 socket on IPv4 addresses is found by either family; be sure */
		if (ret == -ENOENT && end_is_v4(local))
			ret = diag_ask(AF_INET6, local, remote, owner);
	}
	shm_unlock(&diag_lock, taken);
	thread_signals_restore(mask);
	return ret;
}

int diag_ends(int fd, struct shm_end *local, struct shm_end *remote)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	long err = sys(SYS_getsockname, fd, &sa, &len);

	if (err < 0)
		return (int)err;
	if (!sock_end(local, (struct sockaddr *)&sa))
		return -EAFNOSUPPORT;
	len = sizeof(sa);
	err = sys(SYS_getpeername, fd, &sa, &len);
	if (err < 0)
		return (int)err;
	return sock_end(remote, (struct sockaddr *)&sa) ? 0 : -EAFNOSUPPORT;
}

uint64_t diag_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	sys(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, &cookie, &len);
	return cookie;
}

static int diag_int(int fd, int level, int name)
{
	int val = 0;
	socklen_t len = sizeof(val);

	return sys(SYS_getsockopt, fd, level, name, &val, &len) < 0 ? 0 : val;
}

static bool tcp_info(const struct sock *s, struct tcp_info *ti)
{
	socklen_t len = sizeof(*ti);

	memset(ti, 0, sizeof(*ti));
	return sys(SYS_getsockopt, sock_fd(s), IPPROTO_TCP, TCP_INFO, ti, &len) == 0;
}

static uint64_t info_sent(const struct tcp_info *ti)
{
	return ti->tcpi_bytes_sent - ti->tcpi_bytes_retrans + ti->tcpi_notsent_bytes;
}

bool diag_sent(const struct sock *s, uint64_t *bytes)
{
	struct tcp_info ti;

	if (!tcp_info(s, &ti))
		return false;
	*bytes = info_sent(&ti);
	return true;
}

/* With the unread bytes before and after. Return: whether the kernel said so. */
static bool info_between(const struct sock *s, int *before, struct tcp_info *ti, int *after)
{
	*before = *after = 0;
	return sys(SYS_ioctl, sock_fd(s), SIOCINQ, before) >= 0 && tcp_info(s, ti) &&
	       sys(SYS_ioctl, sock_fd(s), SIOCINQ, after) >= 0;
}

bool diag_taken(const struct sock *s, uint64_t *bytes)
{
	for (unsigned i = 0; i < DIAG_TRIES_ALONE; i++) {
		struct tcp_info ti;
		int before, after;

		if (!info_between(s, &before, &ti, &after))
			return false;
		if (before != after) /* some came */
			continue;
		/* the other end's FIN counts as a byte received, but not as one that can be read */
		*bytes = ti.tcpi_bytes_received - (uint64_t)before -
			 (ti.tcpi_state != DIAG_ESTABLISHED && ti.tcpi_state != DIAG_FIN_WAIT1 &&
			  ti.tcpi_state != DIAG_FIN_WAIT2);
		return true;
	}
	return false;
}

static bool counters_agree(const struct sock *s)
{
	for (unsigned i = 0; i < DIAG_TRIES; i++) {
		struct tcp_info ti;
		int before, after;
		uint64_t rx;

		if (!info_between(s, &before, &ti, &after))
			return false;
		if (ti.tcpi_state != DIAG_ESTABLISHED)
			return false;
		if (info_sent(&ti) != atomic_load(&s->row->tx_off))
			return false;
		rx = atomic_load(&s->row->rx_off);
		if (ti.tcpi_bytes_received >= rx + (uint64_t)before &&
		    ti.tcpi_bytes_received <= rx + (uint64_t)after)
			return true;
	}
	return false;
}

static enum reason options_agree(const struct sock *s)
{
	long flags = sys(SYS_fcntl, sock_fd(s), F_GETFL);
	struct timeval tv;
	char ulp[16];
	socklen_t len = 0;

	if (flags < 0)
		return REASON_UNSEEN;
	if (flags & O_ASYNC)
		return REASON_ASYNC;
	if (flags & O_NONBLOCK)
		atomic_fetch_or(&s->row->flags, STATS_NONBLOCK);
	else
		atomic_fetch_and(&s->row->flags, ~(uint32_t)STATS_NONBLOCK);
	if (diag_int(sock_fd(s), SOL_SOCKET, SO_ZEROCOPY) ||
	    diag_int(sock_fd(s), SOL_SOCKET, SO_TIMESTAMP) ||
	    diag_int(sock_fd(s), SOL_SOCKET, SO_TIMESTAMPING) ||
	    diag_int(sock_fd(s), SOL_SOCKET, SO_PEEK_OFF) > 0 ||
	    diag_int(sock_fd(s), IPPROTO_TCP, TCP_INQ) ||
	    diag_int(sock_fd(s), IPPROTO_TCP, TCP_REPAIR))
		return REASON_OPTION_SOCKET;
	if (sys(SYS_getsockopt, sock_fd(s), SOL_SOCKET, SO_GET_FILTER, 0, &len) == 0 && len > 0)
		return REASON_OPTION_SOCKET;
	memset(ulp, 0, sizeof(ulp));
	len = sizeof(ulp);
	if (sys(SYS_getsockopt, sock_fd(s), IPPROTO_TCP, TCP_ULP, ulp, &len) == 0 && ulp[0])
		return REASON_OPTION_SOCKET;
	SHM_WRITE(s->row->rcvlowat, (uint32_t)diag_int(sock_fd(s), SOL_SOCKET, SO_RCVLOWAT));
	len = sizeof(tv);
	if (sys(SYS_getsockopt, sock_fd(s), SOL_SOCKET, SO_RCVTIMEO, &tv, &len) == 0)
		s->row->rcvtimeo_us = (uint32_t)(tv.tv_sec * 1000000 + tv.tv_usec);
	len = sizeof(tv);
	if (sys(SYS_getsockopt, sock_fd(s), SOL_SOCKET, SO_SNDTIMEO, &tv, &len) == 0)
		s->row->sndtimeo_us = (uint32_t)(tv.tv_sec * 1000000 + tv.tv_usec);
	return REASON_NONE;
}

struct dirent_head { /* linux_dirent64, getdents64(2) */
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

static int fd_of(const char *name)
{
	int n = 0;

	for (; *name >= '0' && *name <= '9'; name++)
		n = n * 10 + (*name - '0');
	return *name ? -1 : n; /* "." and ".." */
}

void diag_fds(bool (*look)(int fd, void *arg), void *arg)
{
	_Alignas(8) char buf[2048];
	long dir = sys(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		       0);
	bool done = dir < 0;
	long n;

	while (!done && (n = sys(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n && !done;) {
			const struct dirent_head *d = (const struct dirent_head *)(buf + at);
			int fd = fd_of(d->name);

			done = fd >= 0 && fd != dir && look(fd, arg);
			at += d->len;
		}
	}
	if (dir >= 0)
		sys(SYS_close, dir);
}

static _Atomic bool uring_found;

void diag_uring(void)
{
	uring_found = true;
}

static bool is_uring(int fd, void *found)
{
	static const char wanted[] = "anon_inode:[io_uring]";
	char link[40], target[32];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (sys(SYS_readlink, link, target, sizeof(target)) != sizeof(wanted) - 1 ||
	    memcmp(target, wanted, sizeof(wanted) - 1) != 0)
		return false;
	return *(bool *)found = true;
}

/* liburing enters the kernel by itself, so its rings are only seen as descriptors. */
static bool process_uses_uring(void)
{
	static _Atomic uint32_t asked;
	bool found = false;

	if (uring_found || atomic_fetch_add(&asked, 1) % DIAG_URING_EVERY)
		return uring_found;
	diag_fds(is_uring, &found);
	if (found)
		uring_found = true;
	return found;
}

enum reason diag_guard(const struct sock *s)
{
	enum reason reason = options_agree(s);

	if (reason != REASON_NONE)
		return reason;
	if (process_uses_uring())
		return REASON_IO_URING;
	return counters_agree(s) ? REASON_NONE : REASON_UNSEEN;
}
