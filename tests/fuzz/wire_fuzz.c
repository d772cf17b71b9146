/* wire_fuzz.c - any bytes to each parser; what is accepted must be written and read back the same
 *
 * First byte: which parser. The rest: its bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/wire/wire_arp.h"
#include "stack/wire/wire_eth.h"
#include "stack/wire/wire_icmp.h"
#include "stack/wire/wire_ip4.h"
#include "stack/wire/wire_ip6.h"
#include "stack/wire/wire_nd.h"
#include "stack/wire/wire_tcp.h"

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void tcp(const uint8_t *p, size_t n)
{
	struct wire_tcp a, b;
	uint8_t hdr[WIRE_TCP_HDR_MAX];
	unsigned int len;

	if (wire_tcp_parse(p, n, &a) != CNT_none)
		return;
	must(a.len <= n && (!a.len || a.iov[0].data + a.len == p + n));
	len = wire_tcp_emit(&a, hdr);
	must(len == wire_tcp_hdr_len(&a) && len <= WIRE_TCP_HDR_MAX);
	must(wire_tcp_parse(hdr, len, &b) == CNT_none);
	must(a.seq == b.seq && a.ack == b.ack && a.flags == b.flags && a.wnd == b.wnd);
	/* A header full of options may have no room for all of them with our padding. */
	must((b.opts & ~a.opts) == 0 && (b.opts | TCP_OPT_SACK) == (a.opts | TCP_OPT_SACK));
	must(!(a.opts & TCP_OPT_MSS) || a.mss == b.mss);
	must(!(a.opts & TCP_OPT_TS) || (a.tsval == b.tsval && a.tsecr == b.tsecr));
	must(!(b.opts & TCP_OPT_SACK) || memcmp(a.sack, b.sack, b.nsack * sizeof(a.sack[0])) == 0);
}

static void ip4(const uint8_t *p, size_t n)
{
	struct wire_ip4 a, b;
	uint8_t hdr[WIRE_IP4_LEN];

	if (wire_ip4_parse(p, n, true, &a) != CNT_none)
		return;
	must(a.hdr_len <= a.total_len && a.total_len <= n);
	wire_ip4_emit(&a, hdr);
	must(wire_ip4_parse(hdr, a.total_len, false, &b) == CNT_none);
	must(a.frag_off == b.frag_off && a.mf == b.mf && a.df == b.df && a.tos == b.tos);
}

static void ip6(const uint8_t *p, size_t n)
{
	struct wire_ip6 a;

	if (wire_ip6_parse(p, n, &a) == CNT_none)
		must(a.body_at >= 40 && a.body_at <= 40u + a.payload_len &&
		     40u + a.payload_len <= n);
}

static void icmp(const uint8_t *p, size_t n)
{
	static const union wire_addr src = { .b = { 0xfd, [15] = 1 } },
				     dst = { .b = { 0xfd, [15] = 2 } };
	struct wire_icmp m;
	struct wire_nd nd;

	wire_icmp_parse(p, n, &m);
	wire_icmp6_parse(p, n, &src, &dst, &m);
	if (n < 8)
		return;
	m = (struct wire_icmp){ .type = p[0] & 1 ? WIRE_ICMP6_NS : WIRE_ICMP6_NA,
				.body = p + 8,
				.body_len = (uint32_t)(n - 8) };
	if (wire_nd_parse(&m, 255, &src, &dst, &nd) == CNT_none)
		must(!wire_addr_is_multicast(&nd.target));
}

static void link(const uint8_t *p, size_t n)
{
	struct wire_eth e;
	struct wire_arp a;

	if (wire_eth_parse(p, n, &e) == CNT_none)
		must(e.hdr_len <= n);
	wire_arp_parse(p, n, &a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *, size_t) = { tcp, ip4, ip6, icmp, link };
	uint8_t *copy;

	if (size < 1)
		return 0;
	copy = malloc(size); /* its own size, so that reading beyond it is seen */
	memcpy(copy, data + 1, size - 1);
	targets[data[0] % 5](copy, size - 1);
	free(copy);
	return 0;
}
