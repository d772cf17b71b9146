/* pin_dir.c - make and find folders of bpffs */
#include "daemon/bpf/pin_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BPFFS_USUAL "/sys/fs/bpf"

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

int pin_dir_find(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct statfs fs;
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) || fstat(fd, &st))
		rc = -errno;
	else if ((unsigned long)fs.f_type != BPF_FS_MAGIC)
		rc = -EMEDIUMTYPE;
	else if ((st.st_uid && st.st_uid != geteuid()) || st.st_mode & (S_IWGRP | S_IWOTH))
		rc = -EKEYREJECTED;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

/* As process @pid sees it. */
static int find_at(long pid, char *dir, size_t size)
{
	char path[512];
	int n = snprintf(path, sizeof(path), "/proc/%ld/root%s", pid, dir);
	int fd = n > 0 && (size_t)n < sizeof(path) && (size_t)n < size ? pin_dir_find(path)
								       : -ENAMETOOLONG;

	if (fd >= 0)
		memcpy(dir, path, (size_t)n + 1);
	return fd;
}

static long lock_pid(void)
{
	int fd = open(PIN_DIR_LOCK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char text[24] = "";

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strtol(text, NULL, 10);
}

int pin_dir_seek(char *dir, size_t size)
{
	int fd = pin_dir_find(dir), there = fd;
	long pid;

	if (fd != -ENOENT && fd != -EMEDIUMTYPE)
		return fd;
	pid = lock_pid();
	if (pid > 0)
		there = find_at(pid, dir, size);
	if (there < 0)
		there = find_at(1, dir, size);
	return there < 0 ? fd : there;
}

/* Whether what is mounted here stays when the caller ends: who started it is here too. */
static bool mounts_stay(void)
{
	struct stat own, parent;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)getppid());
	return stat("/proc/self/ns/mnt", &own) || stat(path, &parent) ||
	       (own.st_ino == parent.st_ino && own.st_dev == parent.st_dev);
}

bool pin_dir_usual(char at[PIN_DIR_AT])
{
	const long others[] = { 1, lock_pid(), getppid() };
	char path[PIN_DIR_AT + sizeof(BPFFS_USUAL)];

	*at = '\0';
	if (is_bpffs(BPFFS_USUAL))
		return true;
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%ld/root" BPFFS_USUAL, others[i]);
		if (others[i] > 0 && is_bpffs(path)) {
			snprintf(at, PIN_DIR_AT, "/proc/%ld/root", others[i]);
			return true;
		}
	}
	return mounts_stay();
}

int pin_dir_make(const char *dir)
{
	char parent[256];
	char *slash;

	if (strlen(dir) >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, dir, strlen(dir) + 1);
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return -EMEDIUMTYPE;
	*slash = '\0';
	if (!is_bpffs(parent)) {
		if (strcmp(parent, BPFFS_USUAL))
			return -EMEDIUMTYPE;
		if (mkdir(parent, 0755) && errno != EEXIST)
			return -errno;
		if (mount("bpf", parent, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755"))
			return -errno;
	}
	if (mkdir(dir, 0700) && errno != EEXIST)
		return -errno;
	return pin_dir_find(dir);
}

const char *pin_dir_error(int err)
{
	switch (-err) {
	case EMEDIUMTYPE: return "not in a bpf file system";
	case ENOTEMPTY: return "others have something in it";
	case EKEYREJECTED: return "another user has made it, or may write to it";
	default: return strerror(-err);
	}
}
