/* dpdk_show.c - what devices say of themselves, for dpdk.sh
 *
 * usage: dpdk_show SPEC...
 * Opens all of them, then prints a line for each: offloads=N mtu=N placed=N rss=ENTRIES ours=ENTRIES queue=N. Exit: 0, or 77 when one does not
 * open, which is said on standard error.
 */
#include <stdio.h>

#include "stack/dev/dev_open.h"
#include "stack/inst/inst_rss.h"
#include "stack/zbuf/zbuf.h"

#define DEVICES 8

static unsigned int ours(const struct inst_rss_config *rss)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < rss->reta_len; i++)
		n += rss->reta[i] == rss->queue;
	return n;
}

static void show(const struct dev *d)
{
	printf("offloads=%u mtu=%u placed=%d", d->offloads, d->mtu, d->placed);
	if (d->rss)
		printf(" rss=%u ours=%u queue=%u key=%02x%02x", d->rss->reta_len, ours(d->rss),
		       d->rss->queue, d->rss->key[0], d->rss->key[1]);
	printf("\n");
}

int main(int argc, char **argv)
{
	struct zbuf_mem_pool *pool = zbuf_mem_pool_new((size_t)64 << 20, ZBUF_PAGES_ORDINARY);
	struct dev *devs[DEVICES];
	struct dev_conf conf = { 0 };
	struct dev_error err;

	if (argc < 2 || argc > DEVICES || !pool)
		return 2;
	zbuf_wire_ops(pool, &conf.buf);
	for (int i = 1; i < argc; i++)
		if (dev_open(argv[i], &conf, &devs[i], &err)) {
			fprintf(stderr, "%s\n", err.text);
			return 77;
		}
	for (int i = 1; i < argc; i++)
		show(devs[i]);
	for (int i = 1; i < argc; i++)
		dev_close(devs[i]);
	return 0;
}
