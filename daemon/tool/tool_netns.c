/* tool_netns.c - network namespaces by their names under /run/netns */
#include "daemon/tool/tool_netns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/tool/tool.h"

#define NETNS_RUN "/run/netns"

struct named {
	uint64_t cookie;
	char name[NAME_MAX + 1];
};

static struct named *names;
static unsigned count;

static uint64_t cookie_here(void)
{
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (sock < 0)
		return 0;
	if (getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		cookie = 0;
	close(sock);
	return cookie;
}

/* Goes into @ns and comes back. */
static uint64_t cookie_in(int ns, int own)
{
	uint64_t cookie;

	if (setns(ns, CLONE_NEWNET))
		return 0;
	cookie = cookie_here();
	if (setns(own, CLONE_NEWNET)) {
		tool_say("cannot return to my network namespace: %s", strerror(errno));
		exit(TOOL_FAILED);
	}
	return cookie;
}

/* What lies under a name may be no namespace, or something that hangs who opens it to read. */
static uint64_t cookie_of(const char *name, int own)
{
	char path[sizeof(NETNS_RUN) + NAME_MAX + 1];
	uint64_t cookie = 0;
	struct statfs fs;
	int ns;

	if (snprintf(path, sizeof(path), NETNS_RUN "/%s", name) >= (int)sizeof(path))
		return 0;
	ns = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (ns < 0)
		return 0;
	if (!fstatfs(ns, &fs) && fs.f_type == NSFS_MAGIC)
		cookie = cookie_in(ns, own);
	close(ns);
	return cookie;
}

uint64_t tool_netns_cookie(const char *name)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	uint64_t cookie = own < 0 ? 0 : cookie_of(name, own);

	if (own >= 0)
		close(own);
	return cookie;
}

static void names_read(void)
{
	DIR *dir = opendir(NETNS_RUN);
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct dirent *e;

	while (own >= 0 && dir && (e = readdir(dir))) {
		uint64_t cookie = e->d_name[0] == '.' ? 0 : cookie_of(e->d_name, own);

		if (!cookie)
			continue;
		names = tool_grow(names, count, sizeof(*names));
		names[count].cookie = cookie;
		snprintf(names[count].name, sizeof(names[count].name), "%s", e->d_name);
		tool_clean(names[count++].name);
	}
	if (own >= 0)
		close(own);
	if (dir)
		closedir(dir);
}

const char *tool_netns_name(uint64_t cookie)
{
	static bool are_read;

	if (!are_read)
		names_read();
	are_read = true;
	for (unsigned i = 0; i < count; i++) {
		if (names[i].cookie == cookie)
			return names[i].name;
	}
	return NULL;
}
