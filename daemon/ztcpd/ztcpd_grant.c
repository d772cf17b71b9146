/* ztcpd_grant.c - queues of interfaces for processes without privileges
 *
 * Theory of operation. An AF_XDP socket needs CAP_NET_RAW to be made, and nothing to be given memory, to have its rings
 * mapped, and to be sent by. So it is made here, in the asker's network namespace, and handed out. It comes back by name only: when
 * its rings are mapped it is bound here, to the queue that is given, and entered into the selector once nothing of an earlier
 * owner names that queue. Then our copy is closed, so that the socket ends with the process.
 *
 * Who. A queue goes to a process for which the policy of its namespace has a rule `direct` that names users or groups, be the
 * process root's or not; each port and each connection that it wants must be one for which that verdict falls. No rule, no
 * queue: with it goes the right to send any frame (docs/security.md).
 *
 * Whose packets. What is named must not be anybody's: the kernel is asked who would have a packet of it (inet_diag). A port needs a listener of
 * the asker's own user; a connection must be unknown to the kernel, and not of a port where another user listens. The
 * program on the interface asks the same at each packet, since all of this can change later.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <linux/inet_diag.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/ztcpd/ztcpd_lease.h"

enum {
	NAMES_MAX = 1 << 15, /* of one lease */
	PORTS_MAX = 256,
};

/* ---- the socket ---- */

static int netlink(int protocol)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
}

void grant_open(struct lease *l)
{
	l->xsk = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	l->diag = netlink(NETLINK_SOCK_DIAG);
	l->route = netlink(NETLINK_ROUTE);
}

void grant_close(struct lease *l)
{
	const int fds[] = { l->xsk, l->diag, l->route };

	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	l->xsk = l->diag = l->route = -1;
}

int grant_ask(struct ztcpd *d, struct lease *l)
{
	int rc = selector_direct(d->sel, l->who.pid, l->who.uid, l->netns, NULL);

	if (rc)
		return rc;
	return l->xsk < 0 || l->diag < 0 || l->route < 0 ? -EMFILE : 0;
}

static int bind_to(const struct lease *l, uint32_t queue)
{
	const struct sockaddr_xdp to = {
		.sxdp_family = AF_XDP,
		.sxdp_flags = XDP_USE_NEED_WAKEUP,
		.sxdp_ifindex = l->ifindex,
		.sxdp_queue_id = queue,
	};

	return bind(l->xsk, (const struct sockaddr *)&to, sizeof(to)) ? -errno : 0;
}

int grant_bind(struct lease *l, uint32_t queue)
{
	uint32_t q = queue == LEASE_QUEUE_ANY ? 0 : queue;
	uint32_t last = queue == LEASE_QUEUE_ANY ? NIC_QUEUES - 1 : queue;
	int rc = q < NIC_QUEUES ? -EBUSY : -EINVAL;

	for (; rc == -EBUSY && q <= last; q++) {
		rc = bind_to(l, q);
		if (!rc)
			l->whose.queue = q;
		else if (rc == -EINVAL && queue == LEASE_QUEUE_ANY && q) /* there are no more */
			return -EBUSY;
	}
	return rc;
}

void grant_finish(struct ztcpd *d, struct lease *l)
{
	struct lease_msg msg = {
		.type = LEASE_ANSWER,
		.version = LEASE_VERSION,
		.queue = l->whose.queue,
		.name.serial = l->serial,
	};

	msg.rc = nic_enter(&l->maps, &l->whose, l->xsk);
	close(l->xsk);
	l->xsk = -1;
	sessions_send(d, l->who.session, &msg, sizeof(msg), -1);
}

/* ---- who has it ---- */

enum holder {
	HOLDER_NONE,
	HOLDER_LISTENER,
	HOLDER_CONNECTION,
	HOLDER_UNKNOWN,
};

static bool is_zero(const uint32_t a[4])
{
	return !a[0] && !a[1] && !a[2] && !a[3];
}

static void question_of(const struct lease *l, const struct nic_flow *flow,
			struct inet_diag_req_v2 *q)
{
	bool v4 = lease_is_v4(flow->local);

	*q = (struct inet_diag_req_v2){
		.sdiag_family = v4 ? AF_INET : AF_INET6,
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_states = UINT32_MAX,
		.id = { .idiag_sport = flow->lport,
			.idiag_dport = flow->rport,
			.idiag_if = l->ifindex,
			.idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } },
	};
	memcpy(q->id.idiag_src, v4 ? &flow->local[3] : flow->local, v4 ? 4 : 16);
	memcpy(q->id.idiag_dst, v4 ? &flow->remote[3] : flow->remote, v4 ? 4 : 16);
}

/* The answer is there when the question has been sent. */
static enum holder holder_read(int fd, uint32_t *uid)
{
	_Alignas(struct nlmsghdr) char buf[1024];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);
	const struct nlmsghdr *h = (const void *)buf;
	const struct inet_diag_msg *m;

	if (n < (ssize_t)sizeof(*h))
		return HOLDER_UNKNOWN;
	if (h->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = NLMSG_DATA(h);

		return (size_t)n >= NLMSG_LENGTH(sizeof(*e)) && e->error == -ENOENT
			       ? HOLDER_NONE
			       : HOLDER_UNKNOWN;
	}
	m = NLMSG_DATA(h);
	if ((size_t)n < NLMSG_LENGTH(sizeof(*m)) || h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return HOLDER_UNKNOWN;
	*uid = m->idiag_uid;
	return m->idiag_state == TCP_LISTEN ? HOLDER_LISTENER : HOLDER_CONNECTION;
}

/* Which socket would have a packet of @flow; of a port: the first of a new connection. */
static enum holder holder_of(const struct lease *l, const struct nic_flow *flow, uint32_t *uid)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 q;
	} req = { .h = { .nlmsg_len = sizeof(req),
			 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			 .nlmsg_flags = NLM_F_REQUEST } };
	char left[64];

	question_of(l, flow, &req.q);
	while (recv(l->diag, left, sizeof(left), MSG_TRUNC) >= 0)
		;
	if (send(l->diag, &req, sizeof(req), 0) != sizeof(req))
		return HOLDER_UNKNOWN;
	return holder_read(l->diag, uid);
}

static int holder_check(const struct lease *l, const struct nic_flow *flow)
{
	uint32_t uid = NIC_ANYBODY;
	enum holder holder = holder_of(l, flow, &uid);
	bool own = holder == HOLDER_LISTENER && uid == l->who.uid;

	if (own || (holder == HOLDER_NONE && flow->rport))
		return 0;
	return -EACCES;
}

/* ---- naming ---- */

static void addr_of(struct policy_addr *a, const uint32_t ip[4], uint16_t port)
{
	bool v4 = lease_is_v4(ip);

	memset(a, 0, sizeof(*a));
	a->family = v4 ? 4 : 6;
	a->port = ntohs(port);
	memcpy(a->ip, v4 ? &ip[3] : ip, v4 ? 4 : 16);
}

static int rule_check(struct ztcpd *d, const struct lease *l, const struct nic_flow *flow)
{
	bool listens = !flow->rport || lease_port_covers(l->port, l->ports, flow);
	struct policy_conn c = { .role = listens ? POLICY_ROLE_LISTEN : POLICY_ROLE_CONNECT };

	addr_of(&c.local, flow->local, flow->lport);
	if (flow->rport)
		addr_of(&c.remote, flow->remote, flow->rport);
	return selector_direct(d->sel, l->who.pid, l->who.uid, l->netns, &c);
}

static struct nic_port port_of(const struct lease *l, const struct nic_flow *flow)
{
	struct nic_port port = { .port = flow->lport, .queue = (uint16_t)l->whose.queue };

	memcpy(port.local, flow->local, sizeof(port.local));
	return port;
}

static int port_name(struct lease *l, const struct nic_flow *flow)
{
	const struct nic_port port = port_of(l, flow);
	int rc = l->ports < PORTS_MAX ? nic_name(l->maps.ports, &port, &l->whose) : -EDQUOT;

	if (rc)
		return rc > 0 ? 0 : rc;
	if (lease_port_note(l, &port))
		return 0;
	nic_drop(l->maps.ports, &port, &l->whose);
	return -ENOMEM;
}

int grant_name(struct ztcpd *d, struct lease *l, const struct nic_flow *flow)
{
	int rc = flow->lport ? holder_check(l, flow) : -EINVAL;

	if (!rc && flow->rport && is_zero(flow->remote))
		rc = -EINVAL;
	if (!rc)
		rc = rule_check(d, l, flow);
	if (rc)
		return rc;
	if (!flow->rport)
		return port_name(l, flow);
	if (l->names >= NAMES_MAX)
		return -EDQUOT;
	rc = nic_name(l->maps.flows, flow, &l->whose);
	l->names += !rc;
	return rc > 0 ? 0 : rc;
}

int grant_unname(struct lease *l, const struct nic_flow *flow)
{
	const struct nic_port port = port_of(l, flow);

	if (flow->rport) {
		if (!nic_drop(l->maps.flows, flow, &l->whose))
			return -ENOENT;
		l->names--;
		return 0;
	}
	for (uint32_t i = 0; i < l->ports; i++) {
		if (memcmp(&l->port[i], &port, sizeof(port)) != 0)
			continue;
		l->port[i] = l->port[--l->ports];
		nic_drop(l->maps.ports, &port, &l->whose);
		return 0;
	}
	return -ENOENT;
}

/* The entry is used: the kernel verifies it, or finds out. Who asks hears of it as everybody may. */
void grant_neigh(struct lease *l, const uint32_t addr[4])
{
	bool v4 = lease_is_v4(addr);
	size_t len = v4 ? 4 : 16;
	struct {
		struct nlmsghdr h;
		struct ndmsg n;
		struct rtattr a;
		uint8_t addr[16];
	} q = {
		.h = { .nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof(struct ndmsg)) +
					       RTA_LENGTH(len)),
		       .nlmsg_type = RTM_NEWNEIGH,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE },
		.n = { .ndm_family = v4 ? AF_INET : AF_INET6,
		       .ndm_flags = NTF_USE,
		       .ndm_ifindex = (int)l->ifindex },
		.a = { .rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = NDA_DST },
	};
	char left[64];

	memcpy(q.addr, v4 ? &addr[3] : addr, len);
	send(l->route, &q, q.h.nlmsg_len, 0);
	while (recv(l->route, left, sizeof(left), MSG_TRUNC) >= 0)
		;
}
