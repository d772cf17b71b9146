/* policy_gen.c - random policies and connections from a seed */
#include "tests/lib/policy_gen.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

uint32_t policy_gen_next(struct policy_gen *g)
{
	g->seed = g->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(g->seed >> 33);
}

static unsigned below(struct policy_gen *g, unsigned n)
{
	return policy_gen_next(g) % n;
}

struct out {
	char *at;
	size_t left;
};

static void put(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct out *o, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(o->at, o->left, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= o->left)
		n = (int)o->left - 1;
	o->at += n;
	o->left -= (size_t)n;
}

/* Numbers from few: near the borders of one another. */
static unsigned port(struct policy_gen *g)
{
	static const unsigned ports[] = { 0, 1, 22, 80, 443, 8000, 8080, 8099, 65534, 65535 };

	return below(g, 4) ? ports[below(g, 10)] : below(g, 65536);
}

static void port_put(struct policy_gen *g, struct out *o)
{
	unsigned a = port(g), b = port(g);

	if (below(g, 2))
		put(o, "%u", a);
	else
		put(o, "%u-%u", a < b ? a : b, a < b ? b : a);
}

static void ip4_bytes(struct policy_gen *g, uint8_t ip[4])
{
	static const uint8_t first[] = { 10, 127, 172, 192, 0, 255 };

	ip[0] = first[below(g, 6)];
	ip[1] = (uint8_t)(below(g, 2) ? 0 : below(g, 256));
	ip[2] = (uint8_t)below(g, 3);
	ip[3] = (uint8_t)(below(g, 2) ? 1 : below(g, 256));
}

static void ip6_bytes(struct policy_gen *g, uint8_t ip[16])
{
	static const uint8_t first[] = { 0x20, 0xfd, 0, 0xff };

	memset(ip, 0, 16);
	ip[0] = first[below(g, 4)];
	ip[1] = (uint8_t)below(g, 2);
	ip[7] = (uint8_t)below(g, 2);
	ip[8] = (uint8_t)(below(g, 3) ? 0 : 0x80);
	ip[15] = (uint8_t)(1 + below(g, 3));
}

static void bits_cut(uint8_t *ip, unsigned bytes, unsigned bits)
{
	for (unsigned i = 0; i < bytes * 8; i++)
		if (i >= bits)
			ip[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
}

static void prefix_put(struct policy_gen *g, struct out *o)
{
	uint8_t ip[16];
	unsigned bits;

	if (below(g, 2)) {
		ip4_bytes(g, ip);
		bits = below(g, 33);
		bits_cut(ip, 4, bits);
		put(o, "%u.%u.%u.%u/%u", ip[0], ip[1], ip[2], ip[3], bits);
		return;
	}
	ip6_bytes(g, ip);
	bits = below(g, 129);
	bits_cut(ip, 16, bits);
	for (unsigned i = 0; i < 8; i++)
		put(o, "%s%x", i ? ":" : "", (unsigned)(ip[2 * i] << 8 | ip[2 * i + 1]));
	put(o, "/%u", bits);
}

static void value_put(struct policy_gen *g, struct out *o, enum policy_match_kind kind)
{
	static const char *const program[] = { "redis-*", "/usr/bin/*", "**", "/usr/bin/nginx",
					       "[a-m]*" };
	static const char *const cgroup[] = { "/", "/a", "/a/b", "/a/b/c", "/system.slice" };

	switch (kind) {
	case POLICY_M_USER:
	case POLICY_M_GROUP: put(o, "%u", below(g, 4)); break;
	case POLICY_M_NETNS: put(o, "%s", below(g, 2) ? "blue" : "4026531840"); break;
	case POLICY_M_PORT:
	case POLICY_M_LOCAL_PORT:
	case POLICY_M_REMOTE_PORT: port_put(g, o); break;
	case POLICY_M_LOCAL:
	case POLICY_M_REMOTE: prefix_put(g, o); break;
	case POLICY_M_CGROUP: put(o, "%s", cgroup[below(g, 5)]); break;
	case POLICY_M_PROGRAM: put(o, "%s", program[below(g, 5)]); break;
	case POLICY_M_BPF: put(o, "%c", 'a' + (int)below(g, 3)); break;
	case POLICY_M_KINDS: break;
	}
}

static bool kind_allowed(const struct policy_gen *g, enum policy_match_kind kind)
{
	switch (kind) {
	case POLICY_M_BPF: return g->bpf;
	case POLICY_M_USER:
	case POLICY_M_GROUP:
	case POLICY_M_NETNS:
	case POLICY_M_CGROUP:
	case POLICY_M_PROGRAM: return g->process;
	default: return true;
	}
}

static void rule_put(struct policy_gen *g, struct out *o)
{
	static const char *const verdict[] = {
		"kernel", "lift", "lift path=shm threshold=7", "lift path=stack", "direct", "count"
	};
	static const char *const role[] = { "", "", " role=listen", " role=connect" };

	put(o, "%s%s", verdict[below(g, 6)], role[below(g, 4)]);
	for (unsigned kind = 0; kind < POLICY_M_KINDS; kind++) {
		if (below(g, 4) || !kind_allowed(g, (enum policy_match_kind)kind))
			continue;
		put(o, " %s=", policy_match_name((enum policy_match_kind)kind));
		for (unsigned n = below(g, 3) + 1; n; n--) {
			value_put(g, o, (enum policy_match_kind)kind);
			put(o, "%s", n > 1 ? "," : "");
		}
	}
	put(o, "\n");
}

size_t policy_gen_text(struct policy_gen *g, unsigned rules, char *text, size_t size)
{
	struct out o = { text, size };

	*text = '\0';
	while (rules--)
		rule_put(g, &o);
	return (size_t)(o.at - text);
}

struct policy_addr policy_gen_addr(struct policy_gen *g, unsigned family)
{
	struct policy_addr a = { .family = (uint8_t)family, .port = (uint16_t)port(g) };

	if (family == 4)
		ip4_bytes(g, a.ip);
	else if (family == 6)
		ip6_bytes(g, a.ip);
	return a;
}

int policy_gen_first(const struct policy *p, const struct policy_conn *c)
{
	for (unsigned i = 0; i < policy_rules(p); i++)
		if (policy_rule_match(p, i, c) > POLICY_M_KINDS)
			return (int)i;
	return -1;
}
