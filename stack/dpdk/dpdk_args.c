/* dpdk_args.c - the text of a device: which words are ours, which are EAL's */
#include "stack/dpdk/dpdk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct own {
	const char *name;
	uint32_t min, max;
	uint32_t *value;
};

int dpdk_args_add(struct dpdk_args *a, const char *word)
{
	if (a->argc == DPDK_ARGS_MAX)
		return -E2BIG;
	a->argv[a->argc++] = (char *)(uintptr_t)word; /* EAL wants char **, and changes nothing */
	a->argv[a->argc] = NULL;
	return 0;
}

bool dpdk_args_have(const struct dpdk_args *a, const char *start)
{
	for (int i = 1; i < a->argc; i++)
		if (!strncmp(a->argv[i], start, strlen(start)))
			return true;
	return false;
}

/* Return: 1 when @word is one of ours, 0 when not, -EINVAL. */
static int own_take(const struct own *own, unsigned int n, const char *word, struct dev_error *err)
{
	for (unsigned int i = 0; i < n; i++) {
		size_t name = strlen(own[i].name);
		unsigned long value;
		char *end;

		if (strncmp(word, own[i].name, name) || word[name] != '=')
			continue;
		errno = 0;
		value = strtoul(word + name + 1, &end, 10);
		if (errno || *end || end == word + name + 1 || word[name + 1] == '-' ||
		    value < own[i].min || value > own[i].max)
			return dev_fail(err, -EINVAL,
					"dpdk: %s must be a number from %u to %u, not \"%.40s\"",
					own[i].name, own[i].min, own[i].max, word + name + 1);
		*own[i].value = (uint32_t)value;
		return 1;
	}
	return 0;
}

int dpdk_args_parse(const char *rest, struct dpdk_args *a, struct dev_error *err)
{
	const struct own own[] = {
		{ "port", 0, 31, &a->port },     { "queue", 0, 63, &a->queue },
		{ "queues", 1, 64, &a->queues }, { "mbufs", 512, 1 << 20, &a->mbufs },
		{ "mtu", 576, 65521, &a->mtu },
	};
	char *at, *word;

	memset(a, 0, sizeof(*a));
	a->queues = 1;
	a->mbufs = 8192;
	if (strlen(rest) >= sizeof(a->text))
		return dev_fail(err, -EINVAL, "dpdk: more text than %zu bytes", sizeof(a->text));
	memcpy(a->text, rest, strlen(rest) + 1);
	dpdk_args_add(a, "ztcp");
	for (word = strtok_r(a->text, " \t", &at); word; word = strtok_r(NULL, " \t", &at)) {
		int rc = own_take(own, sizeof(own) / sizeof(own[0]), word, err);

		if (rc < 0)
			return rc;
		if (!rc && dpdk_args_add(a, word))
			return dev_fail(err, -EINVAL, "dpdk: more words than %d", DPDK_ARGS_MAX);
	}
	if (a->queue >= a->queues)
		return dev_fail(err, -EINVAL, "dpdk: queue %u of %u", a->queue, a->queues);
	return 0;
}
