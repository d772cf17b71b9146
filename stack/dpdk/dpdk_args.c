/* dpdk_args.c - the text of a device: which words are ours, which are EAL's */
#include "stack/dpdk/dpdk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "stack/base/base_sys.h"

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

/* Whether @word makes a driver listen; @path is what its socket is called. */
static bool listens_at(const char *word, const char **path)
{
	static const struct {
		const char *driver, *key, *with, *without;
	} kinds[] = {
		{ "net_memif", ",socket=", "", "role=client" },
		{ "net_memif", ",socket=", "", "role=slave" },
		{ "net_vhost", ",iface=", "", "client=1" },
		{ "net_virtio_user", ",path=", "server=1", "server=0" },
	};
	bool listens = false;

	if (!strncmp(word, "--vdev=", 7))
		word += 7;
	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *at = strstr(word, kinds[i].key);

		if (!at || strncmp(word, kinds[i].driver, strlen(kinds[i].driver)))
			continue;
		if (!strstr(word, kinds[i].with) || strstr(word, kinds[i].without))
			return false;
		*path = at + strlen(kinds[i].key);
		listens = true;
	}
	return listens;
}

/* Return: whether @sa is the name of a socket that was left behind. */
static bool is_dead(const struct sockaddr_un *sa)
{
	struct stat st;
	long fd, rc;

	if (stat(sa->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	rc = sys(SYS_connect, fd, sa, sizeof(*sa));
	if (rc == -EPROTOTYPE) { /* a vhost's, alive or dead */
		sys(SYS_close, fd);
		fd = sys(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		rc = fd < 0 ? fd : sys(SYS_connect, fd, sa, sizeof(*sa));
	}
	if (fd >= 0)
		sys(SYS_close, fd);
	return rc == -ECONNREFUSED;
}

void dpdk_args_clear(const struct dpdk_args *a)
{
	for (int i = 1; i < a->argc; i++) {
		struct sockaddr_un sa = { .sun_family = AF_UNIX };
		const char *path;
		size_t len;

		if (!listens_at(a->argv[i], &path))
			continue;
		len = strcspn(path, ",");
		if (len == 0 || len >= sizeof(sa.sun_path))
			continue;
		memcpy(sa.sun_path, path, len);
		if (is_dead(&sa))
			unlink(sa.sun_path);
	}
}

/* -h, also behind -v, and what getopt_long() takes for --help. */
static bool asks_for_help(const char *word)
{
	if (!strncmp(word, "--", 2))
		return !strncmp(word, "--he", 4) && !strncmp(word, "--help", strlen(word));
	return word[0] == '-' && word[1 + strspn(word + 1, "v")] == 'h';
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
	a->queue = DPDK_QUEUE_ANY;
	a->queues = 1;
	if (strlen(rest) >= sizeof(a->text))
		return dev_fail(err, -EINVAL, "dpdk: more text than %zu bytes", sizeof(a->text));
	memcpy(a->text, rest, strlen(rest) + 1);
	dpdk_args_add(a, "ztcp");
	for (word = strtok_r(a->text, " \t", &at); word; word = strtok_r(NULL, " \t", &at)) {
		int rc = own_take(own, sizeof(own) / sizeof(own[0]), word, err);

		if (rc < 0)
			return rc;
		if (!rc && asks_for_help(word))
			return dev_fail(err, -EINVAL, "dpdk: EAL ends the program after \"%.20s\"",
					word);
		if (!rc && dpdk_args_add(a, word))
			return dev_fail(err, -EINVAL, "dpdk: more words than %d", DPDK_ARGS_MAX);
	}
	if (a->queue != DPDK_QUEUE_ANY && a->queue >= a->queues)
		return dev_fail(err, -EINVAL, "dpdk: queue %u of %u", a->queue, a->queues);
	return 0;
}
