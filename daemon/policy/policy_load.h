/* policy_load.h - a policy from files, and what rules ask of this process
 *
 * What: opens the policy file and its includes (pattern in the last part of the name, sorted by bytes,
 * dot files left out), resolves user and group names by /etc/passwd and /etc/group, and reads program,
 * cgroup and network namespace of the calling process.
 * Who calls: the preload library at the first socket, ztcp_run, ztcpd, `ztcp policy`.
 * System calls are made raw, without libc's wrappers: inside the library those names are overridden.
 * errno is never touched. No malloc: memory is mmap'ed; policy_unload() gives it back.
 * Threads: any; no state is kept.
 */
#ifndef ZTCP_POLICY_LOAD_H
#define ZTCP_POLICY_LOAD_H

#include "daemon/policy/policy.h"
#include "daemon/policy/policy_iface.h"

#define POLICY_DEFAULT_FILE   "/etc/ztcp/policy"
#define POLICY_IFACES_FILE    "/etc/ztcp/interfaces"
#define POLICY_FILE_BYTES_MAX (4u << 20) /* one file */

/**
 * policy_load() - read and parse a policy file
 * @file: its name
 * @out:  set only on success: a policy for policy_match(), given back by policy_unload()
 * @err:  filled on error
 *
 * Return: 0; -ENOENT: there is no such file (then every connection may be lifted); -EINVAL: wrong text;
 * another -errno: a file cannot be read, or there is no memory.
 */
int policy_load(const char *file, struct policy **out, struct policy_error *err);

/**
 * policy_ifaces_load() - read and parse a file of interfaces
 * @file: its name
 * @out:  filled only on success
 * @err:  filled on error
 *
 * Return: as policy_load(); -ENOENT: there is no such file, and no interface.
 */
int policy_ifaces_load(const char *file, struct policy_ifaces *out, struct policy_error *err);

/** policy_unload() - give back what policy_load() made; NULL is harmless. */
void policy_unload(struct policy *p);

/**
 * struct policy_self - the calling process as rules see it
 * @proc: for struct policy_conn; its strings point into this object, which must not be copied
 */
struct policy_self {
	struct policy_proc proc;
	char program[4096];
	char cgroup[512];
	char netns[POLICY_TEXT_MAX + 1];
};

/**
 * policy_self_read() - fill in what rules ask of this process
 * @self:  filled; what cannot be read stays unknown and matches nothing
 * @needs: policy_needs(): only these files of /proc are opened
 */
void policy_self_read(struct policy_self *self, unsigned needs);

#endif
