/* iface_fuzz.c - any bytes as a file of interfaces
 *
 * What must hold: an error names a place inside the text; what was taken is whole (a device, addresses, gateways that are
 * reached without a gateway), and each interface is found by what it says of itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/policy/policy_iface.h"

#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static struct policy_addr addr_of(const struct policy_net *n)
{
	struct policy_addr a = { .family = n->family };

	memcpy(a.ip, n->ip, sizeof(a.ip));
	return a;
}

static void iface_check(const struct policy_ifaces *all, unsigned i)
{
	const struct policy_iface *f = &all->iface[i];

	MUST(f->name[0] && f->device[0] && f->line && !f->addrs == f->shared);
	MUST(strlen(f->name) <= POLICY_IFACE_NAME_MAX && strlen(f->device) <= POLICY_TEXT_MAX);
	MUST(f->addrs <= POLICY_IFACE_ADDRS_MAX && f->routes <= POLICY_IFACE_ROUTES);
	MUST(!f->mtu || (f->mtu >= POLICY_IFACE_MTU_MIN && f->mtu <= POLICY_IFACE_MTU_MAX));
	for (unsigned k = 0; k < f->addrs; k++) {
		struct policy_addr a = addr_of(&f->addr[k]);

		MUST(policy_iface_of(all, &a) == (int)i && policy_iface_to(all, &a, NULL) < 0);
	}
	for (unsigned k = 0; k < 2; k++) {
		struct policy_addr a = addr_of(&f->gateway[k]);

		if (a.family && policy_iface_of(all, &a) < 0)
			MUST(policy_iface_to(all, &a, NULL) >= 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct policy_ifaces all;
	struct policy_error err;
	char line[512];
	int rc = policy_ifaces_parse(&all, "file", (const char *)data, size, &err);

	if (rc) {
		MUST(rc == -EINVAL && err.errnum == rc && err.expected[0] && err.found[0]);
		MUST(err.line && err.line <= size + 1 && err.col && err.col <= size + 1);
		policy_error_format(&err, line, sizeof(line));
		return 0;
	}
	MUST(all.count <= POLICY_IFACES_MAX);
	for (unsigned i = 0; i < all.count; i++)
		iface_check(&all, i);
	return 0;
}
