/* ztcpd_reset.c - resets in the name of who has died
 *
 * A raw socket takes whole packets, so that the kernel's own tables of sockets are not asked. The sequence number is the
 * one that the dead instance would have used next. Where its last packets were lost on the way the peer expects
 * an earlier one; it answers (RFC 5961 3.2), and the kernel, which has the flow by then and no socket for it, resets it
 * with the number that the answer asks for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/ztcpd/lease_rule.h"
#include "daemon/ztcpd/ztcpd.h"

enum { HOPS = 64, WAITING_BYTES = 8 << 20 /* in the kernel, of one burst */ };

static int raw(int family)
{
	const int bytes = WAITING_BYTES;
	int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	return fd;
}

void resetter_open(struct resetter *r)
{
	r->fd4 = raw(AF_INET);
	r->fd6 = raw(AF_INET6);
}

void resetter_close(struct resetter *r)
{
	if (r->fd4 >= 0)
		close(r->fd4);
	if (r->fd6 >= 0)
		close(r->fd6);
	r->fd4 = r->fd6 = -1;
}

/* Sum of 16-bit words as they lie; @len is even. */
static uint32_t sum_add(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i += 2) {
		uint16_t word;

		memcpy(&word, p + i, sizeof(word));
		sum += word;
	}
	return sum;
}

static uint16_t sum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* @sum: of both addresses */
static struct tcphdr tcp_of(const struct reset *rst, uint32_t sum)
{
	struct tcphdr tcp = {
		.source = rst->flow.lport,
		.dest = rst->flow.rport,
		.seq = htonl(rst->seq),
		.ack_seq = htonl(rst->ack),
		.doff = sizeof(tcp) / 4,
		.rst = 1,
		.ack = 1,
	};

	sum += htons(IPPROTO_TCP) + htons(sizeof(tcp));
	tcp.check = sum_fold(sum_add(sum, &tcp, sizeof(tcp)));
	return tcp;
}

static int send4(int fd, const struct reset *rst)
{
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} packet = {
		.ip = { .version = 4,
			.ihl = sizeof(packet.ip) / 4,
			.ttl = HOPS,
			.protocol = IPPROTO_TCP,
			.tot_len = htons(sizeof(packet)), /* the kernel sums it up */
			.saddr = rst->flow.local[3],
			.daddr = rst->flow.remote[3] },
	};
	const struct sockaddr_in to = { .sin_family = AF_INET,
					.sin_addr.s_addr = rst->flow.remote[3] };

	packet.tcp = tcp_of(rst, sum_add(0, &packet.ip.saddr, 8));
	return sendto(fd, &packet, sizeof(packet), 0, (const void *)&to, sizeof(to)) < 0 ? -errno
											 : 0;
}

static int send6(int fd, const struct reset *rst)
{
	struct {
		struct ip6_hdr ip;
		struct tcphdr tcp;
	} packet = { .ip = { .ip6_flow = htonl(6u << 28),
			     .ip6_plen = htons(sizeof(packet.tcp)),
			     .ip6_nxt = IPPROTO_TCP,
			     .ip6_hlim = HOPS } };
	struct sockaddr_in6 to = { .sin6_family = AF_INET6 };

	memcpy(&packet.ip.ip6_src, rst->flow.local, 16);
	memcpy(&packet.ip.ip6_dst, rst->flow.remote, 16);
	to.sin6_addr = packet.ip.ip6_dst;
	if (IN6_IS_ADDR_LINKLOCAL(&to.sin6_addr))
		to.sin6_scope_id = rst->ifindex;
	packet.tcp = tcp_of(rst, sum_add(0, &packet.ip.ip6_src, 32));
	return sendto(fd, &packet, sizeof(packet), 0, (const void *)&to, sizeof(to)) < 0 ? -errno
											 : 0;
}

int reset_send(const struct resetter *r, const struct reset *rst)
{
	return lease_is_v4(rst->flow.local) ? send4(r->fd4, rst) : send6(r->fd6, rst);
}
