/* shm_arena.h - the memory that one process writes and its peers can only read
 *
 * Made on the first lift, never before. Blocks in it are handed out by offset; the allocator's state lies
 * in the arena itself, so that a process and its forked children, who share the mapping, share it too.
 * Memory given back is kept for reuse: sealed memory cannot be returned page by page. Any thread may call.
 */
#ifndef SHM_ARENA_H
#define SHM_ARENA_H

#include "shm/contract.h"

#include <stdbool.h>

struct shm_conn;

struct shm_arena {
	struct shm_head *head; /* NULL: no arena */
	uint64_t bytes;
	int fd; /* hidden; handed to peers, who map it read-only */
};

/*
 * Let barriers of other processes reach this one (membarrier), which making an arena needs. While a process has one thread
 * this is a flag; with more the kernel lets a grace period of RCU pass, in which the caller, mostly in the middle of its
 * work by then, stands still for 10 to 25 ms. So the library does it when it is loaded. Return: 0 or -errno.
 */
int shm_arena_prepare(void);

/**
 * shm_arena_make() - create, map and seal an arena
 * @arena: filled on success only
 *
 * Return: 0, or -errno of memfd_create, ftruncate, mmap, sealing or membarrier registration.
 */
int shm_arena_make(struct shm_arena *arena);

/**
 * shm_arena_map_peer() - map another process's arena read-only
 * @fd:    received from the peer; borrowed
 * @bytes: what the peer says it is; must be what fstat says, sealed against shrinking
 * @head:  set on success
 *
 * Return: 0 or -errno (-EPROTO: not an arena).
 */
int shm_arena_map_peer(int fd, uint64_t bytes, const struct shm_head **head);
void shm_arena_unmap_peer(const struct shm_head *head, uint64_t bytes);

/* Let the memory go but keep the addresses, which then read as zero. Return: whether they are kept. */
bool shm_arena_drop_peer(const struct shm_head *head, uint64_t bytes);

/* A zeroed connection block, or NULL when the arena is full. */
struct shm_conn *shm_arena_conn_alloc(struct shm_arena *arena, uint32_t tid);
void shm_arena_conn_free(struct shm_arena *arena, struct shm_conn *conn, uint32_t tid);

/* A ring of 2^@log2 bytes as a shm_ring_ref(), 0 when the arena is full. Contents are stale. */
uint32_t shm_arena_ring_alloc(struct shm_arena *arena, unsigned log2, uint32_t tid);
void shm_arena_ring_free(struct shm_arena *arena, uint32_t ref, uint32_t tid);

/* A bell number (1..SHM_BELLS-2), for good, or 0 when there are no more. */
unsigned shm_arena_bell_alloc(struct shm_arena *arena, uint32_t tid);

#endif
