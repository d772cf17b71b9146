/* shm_chan_priv.h - what the files of shm_chan share
 *
 * Private to shm_chan*.c: the process's channels, under one lock, with signals blocked while it is held.
 */
#ifndef SHM_CHAN_PRIV_H
#define SHM_CHAN_PRIV_H

#include "shm/shm_chan.h"

enum {
	CHAN_PEERS = 256, /* processes that this one has channels with */
	CHAN_PORTS = 64,  /* server ports under which it can be found */
	CHAN_RANKS = 64,  /* processes that share one server port */
	CHAN_BACKLOG = 64,
	CHAN_BUDGET = 64,  /* messages handled in one call: a flood must not hold the program up */
	CHAN_PENDING = 64, /* messages read in passing while a bell was looked for */
	CHAN_LISTENER = 1 << 16, /* epoll data: listeners above, peers below */
	CHAN_WATCHED = 1 << 17,
};

/* Big and rarely used: mapped with the first channel. */
struct chan_state {
	struct shm_peer peer[CHAN_PEERS];
	struct {
		struct shm_msg msg;
		struct shm_peer *from;
	} pending[CHAN_PENDING];
	unsigned pending_first, pending_count;
	int stranger_fd[SHM_ARENAS][SHM_BELLS]; /* eventfd + 1 of our bells in strangers' arenas */
};

struct chan {
	_Atomic uint32_t lock;
	int epoll; /* listeners and channel sockets */
	struct chan_state *state;
	unsigned peers; /* slots ever used */
	struct {
		uint16_t port; /* 0: free */
		int fd;
		uint32_t users;
	} listener[CHAN_PORTS];
};

extern struct chan chan;

/* Slot 0 is this process itself. */
enum { PEER_SELF = 0 };

struct chan_guard {
	uint64_t mask;
	uint32_t tid;
	bool taken;
};

struct chan_guard chan_enter(void);
void chan_leave(const struct chan_guard *g);

/* A slot for a channel over @fd, which is taken over; the peer will read @arena. NULL when there is none. */
struct shm_peer *chan_peer_open(int fd, unsigned arena);
void chan_peer_close(struct shm_peer *p);

/* Into the set that a sleeper waits on; @data: a peer's number, or CHAN_LISTENER and CHAN_WATCHED. */
int chan_epoll_join(int fd, uint64_t data);

#endif
