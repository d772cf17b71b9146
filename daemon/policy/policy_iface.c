/* policy_iface.c - interfaces of the stack: their devices, addresses and routes, by lines in text
 *
 * Theory of operation: a line is blank, a comment, or "interface NAME" and key=value words; a comma separates values,
 * and double quotes keep blanks in one.
 * What belongs together (a gateway and the network that it lies in, a route and its gateway) is checked when the
 * line is whole. The first error ends the parse and names its column.
 */
#include "daemon/policy/policy_iface.h"

#include <errno.h>
#include <string.h>

#include "daemon/policy/policy_value.h"

struct reader {
	struct policy_ifaces *all;
	struct policy_iface *now; /* of this line */
	struct policy_error *err;
	const char *file;
	const char *line, *end, *at;
	unsigned line_no, seen;
};

struct key {
	const char *name;
	bool list;
	int (*read)(struct reader *r, const char *value, const char *at);
};

static void text_set(char *out, size_t size, const char *s, size_t len)
{
	if (len >= size)
		len = size - 1;
	memcpy(out, s, len);
	out[len] = '\0';
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static int wrong(struct reader *r, const char *at, const char *expected)
{
	struct policy_error *e = r->err;
	const char *end = at;

	memset(e, 0, sizeof(*e));
	text_set(e->file, sizeof(e->file), r->file, strlen(r->file));
	text_set(e->expected, sizeof(e->expected), expected, strlen(expected));
	e->line = r->line_no;
	e->col = (unsigned)(at - r->line) + 1;
	e->errnum = -EINVAL;
	while (end < r->end && !blank(*end))
		end++;
	if (end == at)
		text_set(e->found, sizeof(e->found), "nothing", 7);
	else
		text_set(e->found, sizeof(e->found), at, (size_t)(end - at));
	for (size_t i = 0; i + 1 < sizeof(e->found) && i < (size_t)(end - at); i++)
		if ((unsigned char)e->found[i] < 0x20 || e->found[i] == 0x7f)
			e->found[i] = '?';
	return -EINVAL;
}

/* Return: whether a word follows. */
static bool blanks_skip(struct reader *r)
{
	while (r->at < r->end && blank(*r->at))
		r->at++;
	return r->at < r->end && *r->at != '#';
}

/* One value: in double quotes, or up to @stop, a blank or the end of the line. */
static int value_read(struct reader *r, char *buf, size_t size, char stop)
{
	const char *start = r->at, *from = start, *to;

	if (from < r->end && *from == '"') {
		from++;
		to = memchr(from, '"', (size_t)(r->end - from));
		if (!to)
			return wrong(r, start, "a closing quote");
		r->at = to + 1;
	} else {
		while (r->at < r->end && !blank(*r->at) && *r->at != stop)
			r->at++;
		to = r->at;
	}
	if (to == from)
		return wrong(r, start, "a value");
	if ((size_t)(to - from) >= size)
		return wrong(r, start, "a value of at most 255 bytes");
	if (memchr(from, '\0', (size_t)(to - from)))
		return wrong(r, start, "a value without a zero byte");
	text_set(buf, size, from, (size_t)(to - from));
	return 0;
}

static int key_device(struct reader *r, const char *value, const char *at)
{
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return wrong(r, at, "a device without control characters");
	text_set(r->now->device, sizeof(r->now->device), value, strlen(value));
	r->now->shared = strncmp(value, "xdp:", 4) == 0;
	return 0;
}

/* An address that a host can have. */
static bool host_address(const struct policy_net *n)
{
	static const uint8_t none[16];
	const uint8_t *ip = n->ip;

	if (n->family == 4)
		return ip[0] != 0 && ip[0] != 127 && ip[0] < 224;
	return ip[0] != 0xff && memcmp(ip, none, 15) != 0;
}

/* The bits behind the prefix stay: they are the host's. */
static bool net_read(const char *value, struct policy_net *n, bool *whole)
{
	const char *slash = strchr(value, '/');
	size_t len = slash ? (size_t)(slash - value) : strlen(value);
	uint64_t bits;

	*n = (struct policy_net){ 0 };
	n->family = (uint8_t)policy_ip_read(value, len, n->ip);
	bits = n->family == 4 ? 32 : 128;
	*whole = !slash;
	if (!n->family || (slash && !policy_number_read(slash + 1, bits, &bits)))
		return false;
	n->bits = (uint8_t)bits;
	return true;
}

static int key_address(struct reader *r, const char *value, const char *at)
{
	struct policy_iface *i = r->now;
	struct policy_addr a = { 0 };
	struct policy_net n;
	bool whole;

	if (!net_read(value, &n, &whole) || whole || !host_address(&n))
		return wrong(r, at, "a host's address with the length of its prefix: 10.0.0.2/24");
	a.family = n.family;
	memcpy(a.ip, n.ip, 16);
	if (policy_iface_of(r->all, &a) >= 0)
		return wrong(r, at, "an address that was not given before");
	if (i->addrs == POLICY_IFACE_ADDRS_MAX)
		return wrong(r, at, "at most 8 addresses");
	i->addr[i->addrs++] = n;
	return 0;
}

static int key_gateway(struct reader *r, const char *value, const char *at)
{
	struct policy_net n;
	bool whole;

	if (!net_read(value, &n, &whole) || !whole || !host_address(&n))
		return wrong(r, at, "the address of a gateway");
	if (r->now->gateway[n.family == 6].family)
		return wrong(r, at, "one gateway for each of IPv4 and IPv6");
	r->now->gateway[n.family == 6] = n;
	return 0;
}

static int key_route(struct reader *r, const char *value, const char *at)
{
	struct policy_iface *i = r->now;
	struct policy_val v = { 0 };
	const char *expected = policy_prefix_read(value, &v);

	if (expected)
		return wrong(r, at, expected);
	if (i->routes == POLICY_IFACE_ROUTES)
		return wrong(r, at, "at most 16 routes");
	i->route[i->routes] = (struct policy_net){ .family = v.family, .bits = v.bits };
	memcpy(i->route[i->routes++].ip, v.ip, 16);
	return 0;
}

static int key_mtu(struct reader *r, const char *value, const char *at)
{
	uint64_t n;

	if (!policy_number_read(value, POLICY_IFACE_MTU_MAX, &n) || n < POLICY_IFACE_MTU_MIN)
		return wrong(r, at, "bytes from 576 to 65535");
	r->now->mtu = (unsigned)n;
	return 0;
}

static const struct key keys[] = {
	{ "device", false, key_device },  { "address", true, key_address },
	{ "gateway", true, key_gateway }, { "route", true, key_route },
	{ "mtu", false, key_mtu },
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

static const struct key *key_find(const struct reader *r)
{
	for (unsigned i = 0; i < KEYS; i++) {
		size_t len = strlen(keys[i].name);

		if ((size_t)(r->end - r->at) > len && r->at[len] == '=' &&
		    memcmp(r->at, keys[i].name, len) == 0)
			return &keys[i];
	}
	return NULL;
}

static int key_value_read(struct reader *r)
{
	const struct key *k = key_find(r);
	char value[POLICY_TEXT_MAX + 1];
	int rc;

	if (!k)
		return wrong(r, r->at, "device=, address=, gateway=, route= or mtu=");
	if (r->seen & 1u << (k - keys))
		return wrong(r, r->at, "each key once; more values go behind a comma");
	r->seen |= 1u << (k - keys);
	r->at += strlen(k->name);
	do {
		const char *at = ++r->at; /* over '=' or ',' */

		rc = value_read(r, value, sizeof(value), k->list ? ',' : ' ');
		if (!rc)
			rc = k->read(r, value, at);
	} while (!rc && k->list && r->at < r->end && *r->at == ',');
	return rc;
}

static bool net_holds(const struct policy_net *n, unsigned family, const uint8_t *ip)
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	if (n->family != family || memcmp(n->ip, ip, whole) != 0)
		return false;
	return !rest || (uint8_t)(n->ip[whole] ^ ip[whole]) >> (8 - rest) == 0;
}

static bool on_link(const struct policy_iface *i, unsigned family, const uint8_t *ip)
{
	for (unsigned k = 0; k < i->addrs; k++)
		if (net_holds(&i->addr[k], family, ip))
			return true;
	return false;
}

static bool has_route(const struct policy_iface *i, unsigned family)
{
	for (unsigned k = 0; k < i->routes; k++)
		if (i->route[k].family == family)
			return true;
	return false;
}

/* What no word alone can tell. */
static int whole_check(struct reader *r)
{
	const struct policy_iface *i = r->now;
	bool six = false;

	if (!i->device[0])
		return wrong(r, r->end, "device=");
	if (i->shared &&
	    (i->addrs || i->routes || i->mtu || i->gateway[0].family || i->gateway[1].family))
		return wrong(
			r, r->end,
			"nothing else: addresses, routes and MTU of an xdp: device are the kernel's");
	if (!i->shared && !i->addrs)
		return wrong(r, r->end, "address=");
	for (unsigned k = 0; k < i->addrs; k++)
		six |= i->addr[k].family == 6;
	if (six && i->mtu && i->mtu < 1280)
		return wrong(r, r->end, "an mtu of at least 1280, as there is an IPv6 address");
	for (unsigned k = 0; k < 2; k++) {
		const struct policy_net *g = &i->gateway[k];

		if (g->family && !on_link(i, g->family, g->ip))
			return wrong(r, r->end, "gateways inside the networks of its addresses");
		if (!g->family && has_route(i, k ? 6 : 4))
			return wrong(r, r->end, "a gateway of the family of each route");
	}
	return 0;
}

static int interface_read(struct reader *r)
{
	static const char word[] = "interface";
	const size_t len = sizeof(word) - 1;
	struct policy_ifaces *all = r->all;
	const char *at;
	int rc;

	if ((size_t)(r->end - r->at) <= len || memcmp(r->at, word, len) != 0 || !blank(r->at[len]))
		return wrong(r, r->at, "interface");
	if (all->count == POLICY_IFACES_MAX)
		return wrong(r, r->at, "at most 8 interfaces");
	r->now = &all->iface[all->count];
	r->now->line = r->line_no;
	r->seen = 0;
	r->at += len;
	if (!blanks_skip(r))
		return wrong(r, r->at, "a name for the interface");
	at = r->at;
	rc = value_read(r, r->now->name, sizeof(r->now->name), ' ');
	if (rc || !policy_name_check(r->now->name))
		return wrong(r, at, "a name of at most 15 letters, digits, '_', '-' and '.'");
	for (unsigned i = 0; i < all->count; i++)
		if (strcmp(all->iface[i].name, r->now->name) == 0)
			return wrong(r, at, "a name that was not given before");
	all->count++;
	while (!rc && blanks_skip(r))
		rc = key_value_read(r);
	return rc ? rc : whole_check(r);
}

int policy_ifaces_parse(struct policy_ifaces *out, const char *file, const char *text, size_t len,
			struct policy_error *err)
{
	struct reader r = { .all = out, .err = err, .file = file };
	const char *end = text + len, *s = text;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	while (!rc && s < end) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));

		r.line = r.at = s;
		r.end = nl ? nl : end;
		r.line_no++;
		s = r.end + 1;
		if (blanks_skip(&r))
			rc = interface_read(&r);
	}
	return rc;
}

int policy_iface_of(const struct policy_ifaces *all, const struct policy_addr *addr)
{
	for (unsigned i = 0; i < all->count; i++)
		for (unsigned k = 0; k < all->iface[i].addrs; k++) {
			const struct policy_net *n = &all->iface[i].addr[k];

			if (n->family == addr->family &&
			    memcmp(n->ip, addr->ip, n->family == 4 ? 4 : 16) == 0)
				return (int)i;
		}
	return -1;
}

/* Return: length of the longest prefix of the interface that holds @to, -1: none. */
static int prefix_to(const struct policy_iface *i, const struct policy_addr *to, bool *linked)
{
	int best = -1;

	*linked = false;
	for (unsigned k = 0; k < i->addrs; k++)
		if (net_holds(&i->addr[k], to->family, to->ip) && i->addr[k].bits > best) {
			best = i->addr[k].bits;
			*linked = true;
		}
	for (unsigned k = 0; k < i->routes; k++)
		if (net_holds(&i->route[k], to->family, to->ip) && i->route[k].bits > best) {
			best = i->route[k].bits;
			*linked = false;
		}
	if (best < 0 && i->gateway[to->family == 6].family && !has_route(i, to->family))
		best = 0;
	return best;
}

int policy_iface_to(const struct policy_ifaces *all, const struct policy_addr *to, bool *linked)
{
	int best = -1, index = -1;

	if ((to->family != 4 && to->family != 6) || policy_iface_of(all, to) >= 0)
		return -1;
	for (unsigned i = 0; i < all->count; i++) {
		bool on;
		int bits = prefix_to(&all->iface[i], to, &on);

		if (bits <= best)
			continue;
		best = bits;
		index = (int)i;
		if (linked)
			*linked = on;
	}
	return index;
}
