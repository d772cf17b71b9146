/* tool_proc.h - processes as /proc shows them: their sockets and what they publish
 *
 * Only processes whose descriptors the kernel lets the caller see: one's own, or all for root. Everything
 * read may change or vanish meanwhile; what does is left out. Memory is the table's. One thread.
 */
#ifndef ZTCP_TOOL_PROC_H
#define ZTCP_TOOL_PROC_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/** struct tool_fd - a descriptor of interest
 * @inode: sockets: of the socket; else of the memfd
 */
struct tool_fd {
	int fd;
	uint64_t inode;
};

/** struct tool_proc - a process that publishes statistics
 * @own_pid: its id as it sees it itself, in its own PID namespace
 */
struct tool_proc {
	int pid;
	int own_pid;
	uint64_t netns_ino;
	char comm[32];
	struct tool_fd *socks;
	unsigned socks_count;
	struct tool_fd *tables; /* memfds "ztcp-stats" */
	unsigned tables_count;
	struct tool_fd *arenas; /* memfds "ztcp-arena" */
	unsigned arenas_count;
	struct tool_fd *taps; /* memfds "ztcp-tap" */
	unsigned taps_count;
};

/**
 * tool_proc_read() - one process
 * @p:   filled on success, to be given back by tool_proc_free()
 * @pid: process id
 *
 * Return: 0; -ENOENT no such process; -EACCES not one's own.
 */
int tool_proc_read(struct tool_proc *p, int pid);

/** tool_proc_named() - the same, of a process that the caller has named: what is wrong is said. */
int tool_proc_named(struct tool_proc *p, int pid);

void tool_proc_free(struct tool_proc *p);

/**
 * tool_proc_list() - all processes that publish statistics
 * @list: set; to be given back by tool_proc_list_free()
 *
 * Return: their number, or -errno if /proc cannot be read.
 */
int tool_proc_list(struct tool_proc **list);

void tool_proc_list_free(struct tool_proc *list, int count);

/** tool_proc_memfd_open() - open a memfd of another process, to read or to write too. Return: descriptor or -errno. */
int tool_proc_memfd_open(int pid, const struct tool_fd *fd, bool write);

/** struct tool_proc_facts - what policy rules ask of a process */
struct tool_proc_facts {
	char program[PATH_MAX];
	char cgroup[PATH_MAX];
	uint64_t netns_ino;
	uid_t uid;
	gid_t gid;
};

/** tool_proc_facts_read() - Return: 0, or -errno if the process cannot be seen. */
int tool_proc_facts_read(struct tool_proc_facts *f, int pid);

#endif
