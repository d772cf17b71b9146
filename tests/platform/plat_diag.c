/* plat_diag.c - inet_diag's exact lookup, without privilege, tells owner, inode and cookie of a socket
 *
 * A process that says "the other end of your connection is mine" gives a cookie. The kernel says
 * whose socket that end is and what its cookie is: one netlink exchange, no privilege.
 */
#include "tests/platform/plat.h"

#include <grp.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct answer {
	int err;
	unsigned uid, inode, state;
	uint64_t cookie;
};

static void id_of(struct inet_diag_sockid *id, int family, int fd)
{
	struct sockaddr_in6 s, p;
	socklen_t sl = sizeof(s), pl = sizeof(p);

	FACT(getsockname(fd, (struct sockaddr *)&s, &sl) == 0);
	FACT(getpeername(fd, (struct sockaddr *)&p, &pl) == 0);
	memset(id, 0, sizeof(*id));
	id->idiag_sport = s.sin6_port; /* at the same place in sockaddr_in */
	id->idiag_dport = p.sin6_port;
	if (family == AF_INET) {
		id->idiag_src[0] = ((struct sockaddr_in *)&s)->sin_addr.s_addr;
		id->idiag_dst[0] = ((struct sockaddr_in *)&p)->sin_addr.s_addr;
	} else {
		memcpy(id->idiag_src, &s.sin6_addr, 16);
		memcpy(id->idiag_dst, &p.sin6_addr, 16);
	}
	id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

static struct answer ask(int family, const struct inet_diag_sockid *id)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = { { sizeof(q), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0 },
		{ .sdiag_family = family,
		  .sdiag_protocol = IPPROTO_TCP,
		  .idiag_states = -1u,
		  .id = *id } };
	union {
		struct nlmsghdr h;
		char room[4096];
	} a;
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (nl < 0)
		plat_skip("no NETLINK_SOCK_DIAG");
	FACT(send(nl, &q, sizeof(q), 0) == sizeof(q));
	ssize_t n = recv(nl, &a, sizeof(a), 0);

	FACT(n >= (ssize_t)sizeof(struct nlmsghdr));
	close(nl);
	if (a.h.nlmsg_type == NLMSG_ERROR)
		return (struct answer){ .err = -((struct nlmsgerr *)NLMSG_DATA(&a.h))->error };
	struct inet_diag_msg *m = NLMSG_DATA(&a.h);

	return (struct answer){ 0, m->idiag_uid, m->idiag_inode, m->idiag_state,
				m->id.idiag_cookie[0] | (uint64_t)m->id.idiag_cookie[1] << 32 };
}

static uint64_t cookie_of(int fd)
{
	uint64_t v = 0;
	socklen_t len = sizeof(v);

	FACT(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &v, &len) == 0);
	return v;
}

static void swap(struct inet_diag_sockid *id)
{
	struct inet_diag_sockid t = *id;

	id->idiag_sport = t.idiag_dport;
	id->idiag_dport = t.idiag_sport;
	memcpy(id->idiag_src, t.idiag_dst, 16);
	memcpy(id->idiag_dst, t.idiag_src, 16);
}

/* Whose is the other end of fd[0]? It must be what is true of fd[1]. */
static void looked_up(int family)
{
	int fd[2];
	struct inet_diag_sockid id;
	struct stat st;

	plat_pair(family, fd);
	id_of(&id, family, fd[0]);
	struct answer self = ask(family, &id);

	FACT(self.err == 0 && self.cookie == cookie_of(fd[0]));
	swap(&id);
	struct answer peer = ask(family, &id);

	FACT(peer.err == 0);
	FACT(fstat(fd[1], &st) == 0);
	FACT(peer.inode == st.st_ino);
	FACT(peer.uid == getuid());
	FACT(peer.state == 1);
	FACT(peer.cookie == cookie_of(fd[1]));
	FACT(peer.cookie != self.cookie);
	/* A cookie in the question must fit, or there is no such socket. */
	id.idiag_cookie[0] = (uint32_t)peer.cookie;
	id.idiag_cookie[1] = (uint32_t)(peer.cookie >> 32);
	FACT(ask(family, &id).err == 0);
	id.idiag_cookie[0]++;
	FACT(ask(family, &id).err == ENOENT);
	id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	/* After a reset there is no such socket. */
	struct linger l = { 1, 0 };

	setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd[1]);
	FACT(ask(family, &id).err == ENOENT);
	close(fd[0]);
}

int main(void)
{
	int st;

	alarm(50);
	/* As an ordinary user, whoever started this. */
	if (getuid() == 0) {
		FACT(setgroups(0, NULL) == 0);
		FACT(setgid(65534) == 0);
		FACT(setuid(65534) == 0);
	}
	looked_up(AF_INET);
	looked_up(AF_INET6);
	/* The cookie stays with the socket across fork, dup and SCM_RIGHTS: it is the socket's. */
	int fd[2];

	plat_pair(AF_INET, fd);
	uint64_t before = cookie_of(fd[0]);
	pid_t pid = fork();

	if (!pid)
		_exit(cookie_of(dup(fd[0])) != before);
	FACT(waitpid(pid, &st, 0) == pid && st == 0);
	return 0;
}
