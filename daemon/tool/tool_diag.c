/* tool_diag.c - the kernel's TCP sockets, by inet_diag (NETLINK_SOCK_DIAG)
 *
 * One dump for each family and network namespace. A netlink socket belongs to the namespace it was made in,
 * so that another one is visited for the moment of making it.
 */
#include "daemon/tool/tool_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/tool/tool.h"

#define BUFFER_BYTES (1 << 16)

static int netlink_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	return fd < 0 ? -errno : fd;
}

/* A netlink socket in the namespace of @pid. */
static int netlink_open_of(int pid)
{
	char path[64];
	int own, other, fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	other = open(path, O_RDONLY | O_CLOEXEC);
	if (own < 0 || other < 0 || setns(other, CLONE_NEWNET)) {
		fd = -errno;
	} else {
		fd = netlink_open();
		if (setns(own, CLONE_NEWNET)) {
			perror("ztcp: back to one's own network namespace");
			exit(TOOL_FAILED);
		}
	}
	if (own >= 0)
		close(own);
	if (other >= 0)
		close(other);
	return fd;
}

static int dump_ask(int fd, int family)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 req;
	} msg = {
		.head = { .nlmsg_len = sizeof(msg),
			  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.req = { .sdiag_family = (uint8_t)family,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_ext = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1),
			 .idiag_states = ~0u },
	};

	return send(fd, &msg, sizeof(msg), 0) == sizeof(msg) ? 0 : -errno;
}

static void attributes_take(struct tool_diag *d, const struct inet_diag_msg *m, unsigned len)
{
	for (struct rtattr *a = (struct rtattr *)(m + 1); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		unsigned bytes = (unsigned)RTA_PAYLOAD(a);

		if (a->rta_type == INET_DIAG_INFO) {
			d->info_bytes = bytes < sizeof(d->info) ? bytes : (unsigned)sizeof(d->info);
			memcpy(&d->info, RTA_DATA(a), d->info_bytes);
		} else if (a->rta_type == INET_DIAG_CONG) {
			snprintf(d->cong, sizeof(d->cong), "%.*s", (int)bytes,
				 (const char *)RTA_DATA(a));
		}
	}
}

static void message_take(struct tool_diag *d, const struct nlmsghdr *h, uint64_t netns_ino)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);

	*d = (struct tool_diag){
		.cookie = (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0],
		.netns_ino = netns_ino,
		.inode = m->idiag_inode,
		.uid = m->idiag_uid,
		.rqueue = m->idiag_rqueue,
		.wqueue = m->idiag_wqueue,
		.ifindex = m->id.idiag_if,
		.sport = ntohs(m->id.idiag_sport),
		.dport = ntohs(m->id.idiag_dport),
		.family = m->idiag_family,
		.state = m->idiag_state,
	};
	memcpy(d->src, m->id.idiag_src, 16);
	memcpy(d->dst, m->id.idiag_dst, 16);
	attributes_take(d, m, (unsigned)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m))));
}

/* Whoever is root in the namespace can send messages too: where the kernel is not alone to answer, nothing is believed. */
static int dump_take(int fd, struct tool_diag **table, unsigned *count, uint64_t netns_ino)
{
	static char buf[BUFFER_BYTES] __attribute__((aligned(8)));

	for (;;) {
		struct sockaddr_nl from = { .nl_pid = UINT32_MAX };
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);
		struct nlmsghdr *h = (struct nlmsghdr *)buf;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPROTO;
		if (from.nl_pid)
			return -EPERM;
		for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
				continue;
			*table = tool_grow(*table, *count, sizeof(**table));
			message_take(&(*table)[(*count)++], h, netns_ino);
		}
	}
}

int tool_diag_add(struct tool_diag **table, unsigned *count, uint64_t netns_ino, int pid)
{
	static const int families[] = { AF_INET, AF_INET6 };
	int fd = pid ? netlink_open_of(pid) : netlink_open();
	int rc = fd < 0 ? fd : 0;

	for (int i = 0; !rc && i < 2; i++) {
		rc = dump_ask(fd, families[i]);
		if (!rc)
			rc = dump_take(fd, table, count, netns_ino);
		if (rc == -ENOENT)
			rc = 0; /* a kernel without this family */
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static int compare(const void *a, const void *b)
{
	const struct tool_diag *x = a;
	const struct tool_diag *y = b;

	if (x->netns_ino != y->netns_ino)
		return x->netns_ino < y->netns_ino ? -1 : 1;
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

void tool_diag_sort(struct tool_diag *table, unsigned count)
{
	if (count)
		qsort(table, count, sizeof(*table), compare);
}

const struct tool_diag *tool_diag_find(const struct tool_diag *table, unsigned count,
				       uint64_t netns_ino, uint64_t inode)
{
	const struct tool_diag key = { .netns_ino = netns_ino, .inode = (uint32_t)inode };

	if (!count || inode > UINT32_MAX)
		return NULL;
	return bsearch(&key, table, count, sizeof(*table), compare);
}

const char *tool_diag_state_name(unsigned state)
{
	static const char *const names[] = { "UNKNOWN",     "ESTAB",      "SYN-SENT",  "SYN-RECV",
					     "FIN-WAIT-1",  "FIN-WAIT-2", "TIME-WAIT", "UNCONN",
					     "CLOSE-WAIT",  "LAST-ACK",   "LISTEN",    "CLOSING",
					     "NEW-SYN-RECV" };

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "UNKNOWN";
}

char *tool_diag_end_format(char *buf, unsigned size, unsigned family, const uint8_t *addr,
			   unsigned port)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	inet_ntop((int)family, addr, ip, sizeof(ip));
	snprintf(buf, size, family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip, port);
	return buf;
}
