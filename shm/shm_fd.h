/* shm_fd.h - descriptors that the program does not know of
 *
 * What ztcp opens in a process (arena, doorbells, channel sockets) is moved out of the way of the program's
 * own descriptor numbers, and the program's close(), dup2() and close_range() leave it alone. Any thread.
 */
#ifndef SHM_FD_H
#define SHM_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * shm_fd_hide() - move a descriptor of ours to a high number, close-on-exec
 * @fd: taken over (closed) on success and on failure; a negative value is handed through
 *
 * Above the soft RLIMIT_NOFILE where the hard one leaves room, else just below the limit: so the
 * program's own numbers stay the lowest free ones.
 *
 * Return: the new descriptor, or -errno.
 */
int shm_fd_hide(int fd);

/* ftruncate() of a memfd; a file size limit (RLIMIT_FSIZE) is an error, not a signal. Return: 0 or -errno. */
int shm_fd_size(int fd, uint64_t bytes);

/*
 * mmap() of a memfd, shared. A process that locks what it will map (mlockall(2), MCL_FUTURE) does not get all of it as
 * memory at once. Return: the address, or -errno.
 */
long shm_fd_map(int fd, uint64_t bytes, int prot);

/**
 * shm_fd_receive() - a message from a SOCK_SEQPACKET socket, at once
 * @size: bytes of @msg, and of the message
 * @fd:   set to the descriptor that came with it, for the caller to take over, or to -1
 *
 * Return: 1; 0 when there is none; -errno when the other end has gone, -EPROTO when it sent something else.
 */
int shm_fd_receive(int sock, void *msg, size_t size, int *fd);

/* The same at once the other way; a negative @fd: none. The caller keeps @fd. Return: 0 or -errno. */
int shm_fd_send(int sock, const void *msg, size_t size, int fd);

/* Close a hidden descriptor; negative ones are ignored. */
void shm_fd_close(int fd);

/* A hidden descriptor was closed by its user. */
void shm_fd_forget(int fd);

/* Whether the program must not touch this number. */
bool shm_fd_hidden(int fd);

/* The lowest hidden descriptor >= @from, or -1: lets close_range() step over ours. */
int shm_fd_next_hidden(int from);

#endif
