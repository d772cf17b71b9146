/* dev_open.c - open the device that a line of text names */
#include "stack/dev/dev_open.h"

#include <errno.h>
#include <string.h>

#include "stack/dev/dev_dpdk.h"
#include "stack/dev/dev_tap.h"
#include "stack/dev/dev_xdp.h"

static const struct {
	const char *name;
	int (*open)(const char *rest, const struct dev_conf *conf, struct dev **out,
		    struct dev_error *err);
} kinds[] = {
	{ "tap", dev_tap_open },
	{ "xdp", dev_xdp_open },
	{ "dpdk", dev_dpdk_open },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

int dev_open(const char *spec, const struct dev_conf *conf, struct dev **out, struct dev_error *err)
{
	size_t len = strcspn(spec, ":");

	for (unsigned int i = 0; i < KINDS; i++)
		if (strlen(kinds[i].name) == len && !memcmp(kinds[i].name, spec, len) && spec[len])
			return kinds[i].open(spec + len + 1, conf, out, err);
	return dev_fail(err, -EINVAL, "\"%.*s\" is no kind of device in \"%.80s\"",
			(int)(len < 20 ? len : 20), spec, spec);
}
