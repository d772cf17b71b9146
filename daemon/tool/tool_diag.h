/* tool_diag.h - the kernel's TCP sockets, by inet_diag
 *
 * Called by tool_conn.c; one thread; the table's memory is the caller's to free.
 */
#ifndef ZTCP_TOOL_DIAG_H
#define ZTCP_TOOL_DIAG_H

#include <linux/tcp.h>
#include <stdint.h>

/** struct tool_diag - one socket, as ss shows it
 * @family:  AF_INET or AF_INET6
 * @state:   1 ESTAB ... 12 (TCP_* of the kernel)
 * @src, @dst: network byte order; IPv4 in the first four bytes
 * @sport, @dport: host byte order
 * @rqueue, @wqueue: as the kernel counts them
 * @info:    zero behind @info_bytes
 */
struct tool_diag {
	uint64_t cookie;
	uint64_t netns_ino;
	uint32_t inode;
	uint32_t uid;
	uint32_t rqueue;
	uint32_t wqueue;
	uint32_t ifindex;
	uint16_t sport;
	uint16_t dport;
	uint8_t family;
	uint8_t state;
	uint8_t src[16];
	uint8_t dst[16];
	char cong[16];
	unsigned info_bytes;
	struct tcp_info info;
};

/**
 * tool_diag_add() - add the TCP sockets of a network namespace to a table
 * @table:     NULL or an earlier result; free() gives it back
 * @count:     its elements, updated
 * @netns_ino: inode of the namespace
 * @pid:       a process in it; 0: the caller's own
 *
 * Return: 0, or -errno (-EPERM: another namespace needs CAP_SYS_ADMIN).
 */
int tool_diag_add(struct tool_diag **table, unsigned *count, uint64_t netns_ino, int pid);

/** tool_diag_sort() - by namespace and inode, for tool_diag_find(). */
void tool_diag_sort(struct tool_diag *table, unsigned count);

/** tool_diag_find() - Return: the socket with this inode, or NULL. */
const struct tool_diag *tool_diag_find(const struct tool_diag *table, unsigned count,
				       uint64_t netns_ino, uint64_t inode);

/** tool_diag_state_name() - Return: "ESTAB", as ss says it. */
const char *tool_diag_state_name(unsigned state);

/** tool_diag_end_format() - "127.0.0.1:80", "[::1]:80". Return: @buf. */
char *tool_diag_end_format(char *buf, unsigned size, unsigned family, const uint8_t *addr,
			   unsigned port);

#endif
