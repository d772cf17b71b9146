/* tool_frame.c - what an Ethernet frame is, in a line */
#include "daemon/tool/tool_frame.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <net/ethernet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What is left to read. */
struct rest {
	const uint8_t *at;
	size_t len;
};

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void skip(struct rest *r, size_t n)
{
	n = n < r->len ? n : r->len;
	r->at += n;
	r->len -= n;
}

void tool_frame_flags(char *buf, unsigned flags)
{
	static const struct {
		unsigned bit;
		char letter;
	} all[] = { { 2, 'S' },  { 1, 'F' },  { 4, 'R' },   { 8, 'P' },
		    { 32, 'U' }, { 64, 'E' }, { 128, 'W' }, { 16, '.' } };

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (flags & all[i].bit)
			*buf++ = all[i].letter;
	}
	*buf = '\0';
}

static void mac_text(char *buf, size_t size, const uint8_t *m)
{
	snprintf(buf, size, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

/* Ethernet and IPv4: RFC 826. */
static void arp_read(struct tool_frame *f, struct rest r)
{
	char mac[20];

	f->kind = "arp";
	snprintf(f->more, sizeof(f->more), "cut, or not of Ethernet and IPv4");
	if (r.len < 28 || get16(r.at) != 1 || get16(r.at + 2) != ETHERTYPE_IP || r.at[4] != 6 ||
	    r.at[5] != 4)
		return;
	inet_ntop(AF_INET, r.at + 14, f->from, sizeof(f->from));
	inet_ntop(AF_INET, r.at + 24, f->to, sizeof(f->to));
	mac_text(mac, sizeof(mac), r.at + 8);
	if (get16(r.at + 6) == 1)
		snprintf(f->more, sizeof(f->more), "request who-has %s tell %s", f->to, f->from);
	else if (get16(r.at + 6) == 2)
		snprintf(f->more, sizeof(f->more), "reply %s is-at %s", f->from, mac);
	else
		snprintf(f->more, sizeof(f->more), "operation %u", get16(r.at + 6));
}

/* @len: of the whole, as IP says */
static void tcp_read(struct tool_frame *f, struct rest r, size_t len)
{
	size_t head;

	if (r.len < 20)
		return;
	f->kind = "tcp";
	snprintf(f->from + strlen(f->from), sizeof(f->from) - strlen(f->from), ".%u", get16(r.at));
	snprintf(f->to + strlen(f->to), sizeof(f->to) - strlen(f->to), ".%u", get16(r.at + 2));
	f->seq = get32(r.at + 4);
	f->ack = get32(r.at + 8);
	f->flags = r.at[13];
	head = (size_t)(r.at[12] >> 4) * 4;
	f->payload = len > head ? (uint32_t)(len - head) : 0;
}

static void icmp_read(struct tool_frame *f, struct rest r, bool six)
{
	static const struct {
		uint8_t six, type;
		const char *name;
	} all[] = {
		{ 0, 0, "echo reply" },
		{ 0, 3, "destination unreachable" },
		{ 0, 8, "echo request" },
		{ 0, 11, "time exceeded" },
		{ 1, 1, "destination unreachable" },
		{ 1, 2, "packet too big" },
		{ 1, 3, "time exceeded" },
		{ 1, 128, "echo request" },
		{ 1, 129, "echo reply" },
		{ 1, 133, "router solicitation" },
		{ 1, 134, "router advertisement" },
		{ 1, 135, "neighbor solicitation" },
		{ 1, 136, "neighbor advertisement" },
	};

	f->kind = six ? "icmp6" : "icmp";
	if (r.len < 2)
		return;
	snprintf(f->more, sizeof(f->more), "type %u code %u", r.at[0], r.at[1]);
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i].six == six && all[i].type == r.at[0])
			snprintf(f->more, sizeof(f->more), "%s", all[i].name);
	}
}

/* @part: a fragment that is not the first: what follows is no header */
static void proto_read(struct tool_frame *f, struct rest r, size_t len, bool part)
{
	f->kind = "ip";
	f->payload = (uint32_t)len;
	if (part)
		return;
	if (f->proto == IPPROTO_TCP)
		tcp_read(f, r, len);
	else if (f->proto == IPPROTO_ICMP || f->proto == IPPROTO_ICMPV6)
		icmp_read(f, r, f->proto == IPPROTO_ICMPV6);
}

static void ip4_read(struct tool_frame *f, struct rest r)
{
	size_t whole, head;
	bool part;

	if (r.len < 20)
		return;
	head = (size_t)(r.at[0] & 15) * 4;
	whole = get16(r.at + 2);
	part = get16(r.at + 6) & 0x1fff;
	f->proto = r.at[9];
	inet_ntop(AF_INET, r.at + 12, f->from, sizeof(f->from));
	inet_ntop(AF_INET, r.at + 16, f->to, sizeof(f->to));
	skip(&r, head);
	proto_read(f, r, whole > head ? whole - head : 0, part);
}

static void ip6_read(struct tool_frame *f, struct rest r)
{
	size_t len;

	if (r.len < 40)
		return;
	len = get16(r.at + 4);
	f->proto = r.at[6];
	inet_ntop(AF_INET6, r.at + 8, f->from, sizeof(f->from));
	inet_ntop(AF_INET6, r.at + 24, f->to, sizeof(f->to));
	skip(&r, 40);
	proto_read(f, r, len, false);
}

void tool_frame_read(struct tool_frame *f, const uint8_t *bytes, size_t len)
{
	struct rest r = { bytes, len };

	*f = (struct tool_frame){ .kind = "ethernet", .payload = (uint32_t)len };
	if (len < 14)
		return;
	mac_text(f->from, sizeof(f->from), bytes + 6);
	mac_text(f->to, sizeof(f->to), bytes);
	f->type = get16(bytes + 12);
	skip(&r, 14);
	if (f->type == ETHERTYPE_VLAN && r.len >= 4) {
		f->type = get16(r.at + 2);
		skip(&r, 4);
	}
	switch (f->type) {
	case ETHERTYPE_ARP: arp_read(f, r); break;
	case ETHERTYPE_IP: ip4_read(f, r); break;
	case ETHERTYPE_IPV6: ip6_read(f, r); break;
	default: break;
	}
}

void tool_frame_text(char *buf, size_t size, const struct tool_frame *f)
{
	char flags[9];

	tool_frame_flags(flags, f->flags);
	if (!strcmp(f->kind, "tcp"))
		snprintf(buf, size,
			 "%s > %s: Flags [%s], seq %" PRIu32 ", ack %" PRIu32 ", length %" PRIu32,
			 f->from, f->to, flags, f->seq, f->ack, f->payload);
	else if (!strcmp(f->kind, "arp"))
		snprintf(buf, size, "arp %s", f->more);
	else if (f->more[0])
		snprintf(buf, size, "%s > %s: %s %s, length %" PRIu32, f->from, f->to, f->kind,
			 f->more, f->payload);
	else if (!strcmp(f->kind, "ethernet"))
		snprintf(buf, size, "%s > %s: type 0x%04x, length %" PRIu32, f->from, f->to,
			 f->type, f->payload);
	else
		snprintf(buf, size, "%s > %s: %s protocol %u, length %" PRIu32, f->from, f->to,
			 f->kind, f->proto, f->payload);
}
