/* policy_value.c - numbers, addresses, prefixes and ports, read strictly
 *
 * Own readers rather than libc's: these take no locale, no octal, no short forms (10.1), and are the
 * same for every program that the library is loaded into.
 */
#include "daemon/policy/policy_value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

bool policy_number_read(const char *text, uint64_t max, uint64_t *num)
{
	uint64_t n = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (*text < '0' || *text > '9' || n > (max - digit) / 10 || digit > max)
			return false;
		n = n * 10 + digit;
	}
	*num = n;
	return true;
}

/* Four decimal parts without leading zeros: 010 is 8 for some programs and 10 for others. */
static bool ip4_read(const char *s, const char *end, uint8_t ip[4])
{
	for (int i = 0; i < 4; i++) {
		unsigned n = 0;
		int digits = 0;

		if (i && (s == end || *s++ != '.'))
			return false;
		for (; s < end && *s >= '0' && *s <= '9'; s++, digits++) {
			n = n * 10 + (unsigned)(*s - '0');
			if (n > 255 || (digits && n < 10))
				return false;
		}
		if (!digits)
			return false;
		ip[i] = (uint8_t)n;
	}
	return s == end;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One group of up to four hex digits at @s. Return: behind it, or NULL. */
static const char *group_read(const char *s, const char *end, uint8_t out[2])
{
	unsigned n = 0;
	int digits = 0;

	for (; s < end && hex_value(*s) >= 0; s++, digits++) {
		if (digits == 4)
			return NULL;
		n = n << 4 | (unsigned)hex_value(*s);
	}
	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	return digits ? s : NULL;
}

/* Put the groups that stood behind "::" at the end. */
static bool ip6_stretch(uint8_t ip[16], unsigned have, unsigned gap)
{
	if (have == 16)
		return false; /* "::" stands for one group at least */
	memmove(ip + 16 - (have - gap), ip + gap, have - gap);
	memset(ip + gap, 0, 16 - have);
	return true;
}

static bool ip6_read(const char *s, const char *end, uint8_t ip[16])
{
	unsigned have = 0;
	int gap = -1;

	if (end - s >= 2 && s[0] == ':' && s[1] == ':') {
		gap = 0;
		s += 2;
	}
	while (s < end) {
		const char *next;

		if (have <= 12 && memchr(s, '.', (size_t)(end - s)) &&
		    !memchr(s, ':', (size_t)(end - s))) {
			if (!ip4_read(s, end, ip + have))
				return false;
			have += 4;
			break;
		}
		next = have < 16 ? group_read(s, end, ip + have) : NULL;
		if (!next)
			return false;
		have += 2;
		s = next;
		if (s == end)
			break;
		if (*s++ != ':' || s == end)
			return false;
		if (*s == ':') {
			if (gap >= 0)
				return false;
			gap = (int)have;
			s++;
		}
	}
	return gap < 0 ? have == 16 : ip6_stretch(ip, have, (unsigned)gap);
}

unsigned policy_ip_read(const char *text, size_t len, uint8_t ip[16])
{
	uint8_t tmp[16] = { 0 };
	unsigned family;

	if (memchr(text, ':', len))
		family = ip6_read(text, text + len, tmp) ? 6 : 0;
	else
		family = ip4_read(text, text + len, tmp) ? 4 : 0;
	if (family)
		memcpy(ip, tmp, sizeof(tmp));
	return family;
}

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

/* ::ffff:a.b.c.d is IPv4. */
static void addr_unmap(uint8_t *family, uint8_t ip[16])
{
	if (*family != 6 || memcmp(ip, mapped, sizeof(mapped)))
		return;
	*family = 4;
	memmove(ip, ip + 12, 4);
	memset(ip + 4, 0, 12);
}

static bool host_bits(const uint8_t *ip, unsigned bits, unsigned all)
{
	for (unsigned i = bits; i < all; i++)
		if (ip[i / 8] & (0x80 >> i % 8))
			return true;
	return false;
}

const char *policy_prefix_read(const char *text, struct policy_val *v)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	uint64_t bits;

	v->family = (uint8_t)policy_ip_read(text, len, v->ip);
	if (!v->family)
		return "an IPv4 or IPv6 prefix";
	bits = v->family == 4 ? 32 : 128;
	if (slash && !policy_number_read(slash + 1, bits, &bits))
		return v->family == 4 ? "a prefix length from 0 to 32"
				      : "a prefix length from 0 to 128";
	if (host_bits(v->ip, (unsigned)bits, v->family == 4 ? 32 : 128))
		return "a prefix with no bit set behind its length";
	if (v->family == 6 && bits >= 96) {
		addr_unmap(&v->family, v->ip);
		if (v->family == 4)
			bits -= 96;
	}
	v->bits = (uint8_t)bits;
	return NULL;
}

const char *policy_port_read(const char *text, struct policy_val *v)
{
	const char *dash = strchr(text, '-');
	char first[8] = "";
	uint64_t lo, hi;

	if (dash) {
		if (dash - text >= (long)sizeof(first))
			return "a port or range of ports, 0 to 65535";
		memcpy(first, text, (size_t)(dash - text));
	}
	if (!policy_number_read(dash ? first : text, 65535, &lo))
		return "a port or range of ports, 0 to 65535";
	hi = lo;
	if (dash && !policy_number_read(dash + 1, 65535, &hi))
		return "a port or range of ports, 0 to 65535";
	if (hi < lo)
		return "a range whose first port is not above its last";
	v->lo = (uint16_t)lo;
	v->hi = (uint16_t)hi;
	return NULL;
}

bool policy_name_check(const char *text)
{
	for (const char *s = text; *s; s++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.",
			    *s))
			return false;
	return *text && *text != '.';
}

void policy_addr_set(struct policy_addr *a, const void *sa)
{
	const struct sockaddr *any = sa;
	const struct sockaddr_in *in = sa;
	const struct sockaddr_in6 *in6 = sa;

	memset(a, 0, sizeof(*a));
	if (any->sa_family == AF_INET) {
		a->family = 4;
		a->port = ntohs(in->sin_port);
		memcpy(a->ip, &in->sin_addr, 4);
	} else if (any->sa_family == AF_INET6) {
		a->family = 6;
		a->port = ntohs(in6->sin6_port);
		memcpy(a->ip, &in6->sin6_addr, 16);
		addr_unmap(&a->family, a->ip);
	}
}

/* Split "[ip6]:port" and "ip4:port". Return: the port's text, or NULL if there is none. */
static const char *addr_split(const char **text, size_t *len)
{
	const char *end = *text + *len;
	const char *close, *colon;

	if (*len && **text == '[') {
		close = memchr(*text, ']', *len);
		if (!close || close + 1 == end || close[1] != ':')
			return NULL;
		*text += 1;
		*len = (size_t)(close - *text);
		return close + 2;
	}
	colon = memchr(*text, ':', *len);
	if (!colon || memchr(colon + 1, ':', (size_t)(end - colon - 1)))
		return NULL;
	*len = (size_t)(colon - *text);
	return colon + 1;
}

int policy_addr_parse(struct policy_addr *a, const char *text, size_t len)
{
	const char *end = text + len;
	const char *port_text = addr_split(&text, &len);
	struct policy_addr r = { 0 };
	char digits[8] = "";
	uint64_t port = 0;

	if (port_text) {
		if (end - port_text >= (long)sizeof(digits))
			return -EINVAL;
		memcpy(digits, port_text, (size_t)(end - port_text));
		if (!policy_number_read(digits, 65535, &port))
			return -EINVAL;
	}
	r.family = (uint8_t)policy_ip_read(text, len, r.ip);
	if (!r.family)
		return -EINVAL;
	r.port = (uint16_t)port;
	addr_unmap(&r.family, r.ip);
	*a = r;
	return 0;
}
