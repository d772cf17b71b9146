/* diag.h - asking the kernel about TCP sockets
 *
 * System calls only; no state but one hidden netlink socket. Any thread.
 */
#ifndef SOCK_DIAG_H
#define SOCK_DIAG_H

#include "shm/contract.h"
#include "stack/base/base_reason.h"

#include <stdbool.h>
#include <stdint.h>

struct sock;

/* What inet_diag says of one socket. */
struct diag_owner {
	uint64_t cookie;
	uint32_t uid;
	uint32_t inode;
};

/**
 * diag_owner() - who holds the TCP socket whose own end is @local and whose peer is @remote
 *
 * Return: 0, -ENOENT when there is no such socket in this network namespace, or -errno.
 */
int diag_owner(const struct shm_end *local, const struct shm_end *remote, struct diag_owner *owner);

/* Both ends of a descriptor. Return: 0 or -errno. */
int diag_ends(int fd, struct shm_end *local, struct shm_end *remote);

/* SO_COOKIE of a descriptor, 0 when there is none. */
uint64_t diag_cookie(int fd);

/**
 * diag_guard() - whether a connection can be lifted without losing or doubling a byte
 *
 * The kernel's counters equal what the library has counted; no option is set and no mechanism is in use that
 * only the kernel serves.
 *
 * Return: REASON_NONE when nothing stands against it.
 */
enum reason diag_guard(const struct sock *s);

/* Bytes that the program has given the kernel's socket to send. Return: whether that is known. */
bool diag_sent(const struct sock *s, uint64_t *bytes);

/* Bytes that were taken from the kernel's socket; nobody may take some meanwhile. Return: as above. */
bool diag_taken(const struct sock *s, uint64_t *bytes);

/* Each open descriptor of the process, until one is what is looked for. */
void diag_fds(bool (*look)(int fd, void *arg), void *arg);

/* The process has opened an io_uring: diag_guard() stands against every lift from now on. */
void diag_uring(void);

/* In the child after fork. */
void diag_forked(void);

#endif
