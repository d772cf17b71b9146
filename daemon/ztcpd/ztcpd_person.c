/* ztcpd_person.c - who answers for a user id
 *
 * A person may have thousands of user ids: the subordinate ones that a user namespace maps. Limits that each id had
 * for itself would be none. The kernel remembers who made a namespace; the outermost below the initial one was made by a
 * real user. Root makes them for others (containers, services), whose ids then stand for themselves.
 */
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "daemon/ztcpd/ztcpd.h"

/* The initial namespace has no parent, and no maker that matters. Takes @ns. Return: the owner of the outermost, or 0. */
static uint32_t owner_of(int ns)
{
	uint32_t owner = 0;

	for (;;) {
		int parent = ioctl(ns, NS_GET_PARENT);
		uid_t uid;

		if (parent < 0 || ioctl(ns, NS_GET_OWNER_UID, &uid)) {
			if (parent >= 0)
				close(parent);
			close(ns);
			return owner;
		}
		owner = uid;
		close(ns);
		ns = parent;
	}
}

uint32_t person_of_space(int ns)
{
	int user = ioctl(ns, NS_GET_USERNS);

	return user >= 0 ? owner_of(user) : 0;
}

/* Whether the process has @uid among its own: a successor to its number, of another user, has not. */
static bool uid_is_of(int pid, uint32_t uid)
{
	unsigned real = 0, effective = 0, saved = 0, files = 0;
	char path[64], line[256];
	bool read = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && !read && fgets(line, sizeof(line), f))
		read = sscanf(line, "Uid: %u %u %u %u", &real, &effective, &saved, &files) == 4;
	if (f)
		fclose(f);
	return read && (real == uid || effective == uid || saved == uid || files == uid);
}

bool person_of(int pid, uint32_t uid, uint32_t *person)
{
	char path[64];
	int ns;

	*person = uid;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns >= 0) {
		uint32_t owner = owner_of(ns);

		if (owner)
			*person = owner;
	}
	/* after the namespace was read: what was read was this process's */
	return uid_is_of(pid, uid);
}
