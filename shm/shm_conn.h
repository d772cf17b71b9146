/* shm_conn.h - one end of a lifted connection: what the peer reads, and what only this side needs
 *
 * Lies in the arena of the process that owns the end, so that forked children share it. What is private is
 * split by direction: a thread that reads and a thread that writes do not meet. The reader's part shares a line with
 * what a peer looks at when a path changes, and then only.
 */
#ifndef SHM_CONN_H
#define SHM_CONN_H

#include "shm/contract.h"
#include "shm/shm_lock.h"

#include <stdbool.h>

enum shm_path {
	SHM_PATH_KERNEL,
	SHM_PATH_RING,
};

/* Private to the sender side; under tx.seat. */
struct shm_tx {
	_Alignas(SHM_LINE) struct shm_seat seat;
	uint8_t path; /* enum shm_path: where the next byte goes */
	uint8_t slot; /* ctl.ring[slot] is being filled */
	uint8_t recalled; /* [recall, tail) still has to go through the kernel, in order, before anything else */
	uint8_t doubt;  /* a call into the kernel never returned: what it sent is not counted */
	uint32_t mask;  /* of the ring: its size less one */
	uint64_t limit; /* offset up to which the ring is known to have room; 0: it is not in use */
	uint64_t head_seen; /* the peer's head as last read: never later than the truth */
	uint64_t recall;
	uint64_t checked; /* cycle counter when the kernel socket was last looked at */
	char *ring;       /* first byte of ctl.ring[slot] */
	_Atomic uint64_t
		resv; /* writers have taken the ring up to here; the tail, but inside a write */
};

/*
 * Private to the receiver side; under rx.seat. Belongs to it, too: ctl.checked, low half of the cycle counter when the
 * kernel socket was last looked at.
 */
struct shm_rx {
	struct shm_seat seat;
	uint8_t path;   /* enum shm_path: where the next byte comes from */
	uint8_t frozen; /* recall asked for: read the ring no more */
	uint8_t direct; /* released: the kernel alone, for good */
	uint32_t mask;  /* of the ring */
	uint64_t
		rings; /* the peer's ring[0..1] as last read: while they stay, so does what follows */
	const char *ring; /* the ring that serves all offsets from here on; NULL: look */
};

struct shm_conn {
	_Alignas(SHM_LINE) struct shm_ctl ctl;
	struct shm_rx rx;
	struct shm_tx tx;
};

_Static_assert(offsetof(struct shm_conn, tx) == 2 * SHM_LINE && sizeof(struct shm_tx) == SHM_LINE,
	       "the sender's private state is a line of its own");

#endif
