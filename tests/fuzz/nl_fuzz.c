/* nl_fuzz.c - any bytes as what the kernel says by route netlink: every message is inside them, every value in range */
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_check.h"
#include "stack/dev/dev_nl.h"

static void value_check(const struct dev_nl *m)
{
	unsigned int most = wire_addr_is_v4(&m->addr) ? 32 : 128;

	switch (m->kind) {
	case DEV_NL_ADDR:
	case DEV_NL_ROUTE: BASE_CHECK(m->bits <= most); break;
	case DEV_NL_NEIGH: BASE_CHECK(m->bits == 0); break;
	default: break;
	}
	if (m->kind == DEV_NL_ROUTE)
		BASE_CHECK(wire_addr_is_v4(&m->addr) == wire_addr_is_v4(&m->via));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1); /* so that a byte too far is seen */
	size_t at = 0, used;
	struct dev_nl m;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	while ((used = dev_nl_parse(copy + at, size - at, 2, &m)) != 0) {
		BASE_CHECK(used <= size - at);
		value_check(&m);
		at += used;
	}
	free(copy);
	return 0;
}
