/* policy_self.c - the calling process as rules see it: program, cgroup, namespace, user */
#include <errno.h>
#include <string.h>

#include "daemon/policy/policy_load.h"
#include "daemon/policy/policy_sys.h"
#include "daemon/policy/policy_value.h"

/* As the kernel writes it into the buffer of getdents64. */
struct dirent64_head {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
} __attribute__((packed));

static int entries_each(char *buf, long n, int (*entry)(void *arg, const char *name), void *arg)
{
	int rc = 0;

	for (long at = 0; !rc && at < n;) {
		const struct dirent64_head *d = (const void *)(buf + at);

		if (strcmp(d->name, ".") && strcmp(d->name, ".."))
			rc = entry(arg, d->name);
		at += d->reclen;
	}
	return rc;
}

int policy_sys_each(const char *dir, int (*entry)(void *arg, const char *name), void *arg)
{
	char buf[4096] __attribute__((aligned(8))) = "";
	int fd = policy_sys_open(dir, O_RDONLY | O_DIRECTORY);
	int rc = 0;

	if (fd < 0)
		return fd;
	while (!rc) {
		long n = sys(SYS_getdents64, fd, buf, sizeof(buf));

		if (n <= 0) {
			rc = (int)n;
			break;
		}
		rc = entries_each(buf, n, entry, arg);
	}
	policy_sys_close(fd);
	return rc;
}

static void program_read(struct policy_self *self)
{
	long n = sys(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", self->program,
		     sizeof(self->program) - 1);

	self->program[n > 0 ? n : 0] = '\0';
}

/* Its line of cgroup v2 is "0::/path". */
static void cgroup_read(struct policy_self *self)
{
	char buf[4096];
	int fd = policy_sys_open("/proc/self/cgroup", O_RDONLY);
	long n = fd < 0 ? 0 : policy_sys_read(fd, buf, sizeof(buf) - 1);
	char *line = buf;

	if (fd >= 0)
		policy_sys_close(fd);
	buf[n > 0 ? n : 0] = '\0';
	for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		size_t len = strcspn(line, "\n");

		if (strncmp(line, "0::", 3) || len - 3 >= sizeof(self->cgroup))
			continue;
		memcpy(self->cgroup, line + 3, len - 3);
		self->cgroup[len - 3] = '\0';
	}
}

/* "net:[4026531840]" */
static uint64_t netns_ino_read(void)
{
	char link[64] = "";
	char digits[24] = "";
	uint64_t ino = 0;
	long n = sys(SYS_readlinkat, AT_FDCWD, "/proc/self/ns/net", link, sizeof(link) - 1);
	char *open = n > 0 ? strchr(link, '[') : NULL;
	char *close = open ? strchr(open, ']') : NULL;

	if (!close || (size_t)(close - open) > sizeof(digits))
		return 0;
	memcpy(digits, open + 1, (size_t)(close - open) - 1);
	return policy_number_read(digits, UINT64_MAX, &ino) ? ino : 0;
}

static int netns_name_try(void *arg, const char *name)
{
	static const char dir[] = "/run/netns/";
	struct policy_self *self = arg;
	char path[sizeof(dir) + POLICY_TEXT_MAX];
	size_t len = strlen(name);
	struct stat st;

	if (len > POLICY_TEXT_MAX)
		return 0;
	memcpy(path, dir, sizeof(dir) - 1);
	memcpy(path + sizeof(dir) - 1, name, len + 1);
	if (policy_sys_stat(AT_FDCWD, path, &st) || st.st_ino != self->proc.netns_ino)
		return 0;
	memcpy(self->netns, name, len + 1);
	return 1;
}

void policy_self_read(struct policy_self *self, unsigned needs)
{
	self->program[0] = self->cgroup[0] = self->netns[0] = '\0';
	self->proc = (struct policy_proc){
		.program = self->program,
		.cgroup = self->cgroup,
		.netns = self->netns,
		.uid = (uint32_t)sys(SYS_geteuid),
		.gid = (uint32_t)sys(SYS_getegid),
	};
	if (needs & 1u << POLICY_M_PROGRAM)
		program_read(self);
	if (needs & 1u << POLICY_M_CGROUP)
		cgroup_read(self);
	if (needs & 1u << POLICY_M_NETNS) {
		self->proc.netns_ino = netns_ino_read();
		policy_sys_each("/run/netns", netns_name_try, self);
	}
}
