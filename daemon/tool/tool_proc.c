/* tool_proc.c - processes as /proc shows them: their sockets and what they publish
 *
 * A memfd is trusted to be one only after the kernel says so: in a mount namespace of its own a user can give any file the
 * name that /proc shows for a memfd. Of a file system that the user serves (FUSE) every question can hang, statfs() too; so the
 * kernel is asked for what it knows by itself, and the device must be that of memfds.
 */
#include "daemon/tool/tool_proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/tool/tool.h"

enum { MEMORIES_MAX = 1024 /* of a kind in one process */ };

static void fd_add(struct tool_fd **list, unsigned *count, int fd, uint64_t inode)
{
	*list = tool_grow(*list, *count, sizeof(**list));
	(*list)[(*count)++] = (struct tool_fd){ fd, inode };
}

/* Memory that has several descriptors is read once; of what a process can make any number of, some. */
static void memory_add(struct tool_fd **list, unsigned *count, int fd, uint64_t inode)
{
	for (unsigned i = 0; i < *count; i++)
		if ((*list)[i].inode == inode)
			return;
	if (*count < MEMORIES_MAX)
		fd_add(list, count, fd, inode);
}

/* The device that memfds lie on. */
static dev_t memory_dev(void)
{
	static dev_t dev;
	struct stat st;
	int fd = dev ? -1 : memfd_create("ztcp-device", MFD_CLOEXEC);

	if (fd >= 0 && !fstat(fd, &st))
		dev = st.st_dev;
	if (fd >= 0)
		close(fd);
	return dev;
}

/* @name in @dir, or @dir itself if it is "": whether it is a memfd; its inode. Asks no file system that might not answer. */
static bool is_memory(int dir, const char *name, uint64_t *inode)
{
	struct statx sx;

	if (statx(dir, name, AT_STATX_DONT_SYNC | (*name ? 0 : AT_EMPTY_PATH),
		  STATX_TYPE | STATX_INO, &sx))
		return false;
	*inode = sx.stx_ino;
	return S_ISREG(sx.stx_mode) && makedev(sx.stx_dev_major, sx.stx_dev_minor) == memory_dev();
}

/* Sort one descriptor in by what its link says. */
static void fd_take(struct tool_proc *p, int dir, const char *name)
{
	char link[64] = "";
	uint64_t inode;
	int fd = atoi(name);

	if (readlinkat(dir, name, link, sizeof(link) - 1) <= 0)
		return;
	if (sscanf(link, "socket:[%" SCNu64 "]", &inode) == 1) {
		fd_add(&p->socks, &p->socks_count, fd, inode);
	} else if (!strncmp(link, "/memfd:ztcp-", 12)) {
		if (!is_memory(dir, name, &inode))
			return;
		if (!strcmp(link, "/memfd:ztcp-stats (deleted)"))
			memory_add(&p->tables, &p->tables_count, fd, inode);
		else if (!strcmp(link, "/memfd:ztcp-arena (deleted)"))
			memory_add(&p->arenas, &p->arenas_count, fd, inode);
		else if (!strcmp(link, "/memfd:ztcp-tap (deleted)"))
			memory_add(&p->taps, &p->taps_count, fd, inode);
	}
}

static uint64_t netns_read(int pid)
{
	char path[64];
	char link[64] = "";
	uint64_t ino = 0;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	if (readlink(path, link, sizeof(link) - 1) > 0 &&
	    sscanf(link, "net:[%" SCNu64 "]", &ino) != 1)
		ino = 0;
	return ino;
}

/* The last number of "NSpid:" is the id in the innermost namespace. */
static int own_pid_read(int pid)
{
	char path[64];
	char line[256];
	int own = pid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "NSpid:", 6))
			own = atoi(strrchr(line, '\t') ? strrchr(line, '\t') : line + 6);
	if (f)
		fclose(f);
	return own;
}

static void comm_read(struct tool_proc *p)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", p->pid);
	f = fopen(path, "re");
	if (!f || !fgets(p->comm, sizeof(p->comm), f))
		p->comm[0] = '\0';
	if (f)
		fclose(f);
	p->comm[strcspn(p->comm, "\n")] = '\0';
	tool_clean(p->comm);
}

int tool_proc_read(struct tool_proc *p, int pid)
{
	char path[64];
	struct dirent *d;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ENOENT : -EACCES;
	if (fstat(dirfd(dir), &st) || (geteuid() && st.st_uid != geteuid())) {
		closedir(dir);
		return -EACCES;
	}
	*p = (struct tool_proc){ .pid = pid, .netns_ino = netns_read(pid) };
	while ((d = readdir(dir)))
		if (isdigit((unsigned char)d->d_name[0]))
			fd_take(p, dirfd(dir), d->d_name);
	closedir(dir);
	if (p->tables_count)
		p->own_pid = own_pid_read(pid);
	comm_read(p);
	return 0;
}

int tool_proc_named(struct tool_proc *p, int pid)
{
	int rc = tool_proc_read(p, pid);

	if (rc)
		tool_say("process %d: %s", pid,
			 rc == -ENOENT ? "there is none" : "it is not yours");
	return rc;
}

void tool_proc_free(struct tool_proc *p)
{
	free(p->socks);
	free(p->tables);
	free(p->arenas);
	free(p->taps);
}

int tool_proc_list(struct tool_proc **list)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;
	int count = 0;

	*list = NULL;
	if (!dir)
		return -errno;
	while ((d = readdir(dir))) {
		struct tool_proc p;
		uint64_t pid;

		if (!tool_number(d->d_name, INT_MAX, &pid) || tool_proc_read(&p, (int)pid))
			continue;
		if (!p.tables_count) {
			tool_proc_free(&p);
			continue;
		}
		*list = tool_grow(*list, (size_t)count, sizeof(**list));
		(*list)[count++] = p;
	}
	closedir(dir);
	return count;
}

void tool_proc_list_free(struct tool_proc *list, int count)
{
	for (int i = 0; i < count; i++)
		tool_proc_free(&list[i]);
	free(list);
}

int tool_proc_memfd_open(int pid, const struct tool_fd *fd, bool write)
{
	char path[64];
	uint64_t inode;
	int place, opened;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd->fd);
	place = open(path, O_PATH | O_CLOEXEC); /* asks nothing of the file yet */
	if (place < 0)
		return -errno;
	if (!is_memory(place, "", &inode) || inode != fd->inode) {
		close(place);
		return -ESTALE;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
	opened = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (opened < 0)
		opened = -errno;
	close(place);
	return opened;
}

/* The line "0::/path" of cgroup v2. */
static void cgroup_read(char *out, size_t size, int pid)
{
	char path[64];
	char line[PATH_MAX];
	FILE *f;

	out[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "0::", 3))
			snprintf(out, size, "%s", line + 3);
	}
	fclose(f);
}

static int ids_read(struct tool_proc_facts *f, int pid)
{
	char path[64];
	char line[256];
	unsigned uid, gid;
	int found = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Uid: %*u %u", &uid) == 1) {
			f->uid = uid;
			found |= 1;
		} else if (sscanf(line, "Gid: %*u %u", &gid) == 1) {
			f->gid = gid;
			found |= 2;
		}
	}
	fclose(file);
	return found == 3 ? 0 : -ENOENT;
}

int tool_proc_facts_read(struct tool_proc_facts *f, int pid)
{
	char path[64];
	ssize_t n;
	int rc = ids_read(f, pid);

	if (rc)
		return rc;
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, f->program, sizeof(f->program) - 1);
	f->program[n > 0 ? n : 0] = '\0';
	cgroup_read(f->cgroup, sizeof(f->cgroup), pid);
	f->netns_ino = netns_read(pid);
	return 0;
}
