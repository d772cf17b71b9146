/* pin_dir.c - make and find folders of bpffs */
#include "daemon/bpf/pin_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
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
