/* shm_chan.h - this process and its peers: arenas, channels, messages
 *
 * One channel per pair of processes: an AF_UNIX seqpacket socket over which each has sent the other its
 * arena's descriptor. It carries offers ("is the other end of this TCP connection yours?"), answers and
 * eventfds; no payload. It is found without a daemon by an abstract name made of user and server port, which
 * exists only in the network namespace of both; who sits behind it is asked of the kernel (SO_PEERCRED).
 * With ztcpd the socket is handed out by it (shm_chan_adopt()); a stranger, of another user or namespace, is shown an
 * arena of its own, never what this process writes for others, and gets no eventfd: two who hold one can disturb
 * each other. It rings by mail.
 *
 * All calls take the process-wide channel lock themselves, with signals blocked, and never wait for a peer.
 * Peers stay mapped while connections refer to them.
 */
#ifndef SHM_CHAN_H
#define SHM_CHAN_H

#include "shm/shm_arena.h"
#include "shm/shm_bell.h"

#include <stdbool.h>

/* Not a message: what was given to shm_chan_watch() can be read. */
enum { SHM_MSG_WATCHED = 1 << 16 };

struct shm_peer {
	const struct shm_head *head; /* its arena, read-only; NULL until its HELLO has come */
	/* of a gone peer: where its arena was, empty; until the place is used again */
	const struct shm_head *husk;
	uint64_t bytes;
	int sock;  /* hidden; -1: this process itself, or gone */
	bool gone; /* the process is dead or has closed the channel */
	bool self; /* this process, or the one it was forked from: both ends were in one program */
	bool stranger; /* of another user or namespace: rings and is rung by mail alone */
	bool untold;   /* a doorbell of ours did not reach it */
	bool shared; /* inherited over fork: messages are read by the process that made the channel */
	uint32_t refs; /* connections that use it */
	uint16_t port; /* rendezvous it was found by, host order; 0 when it came to us */
	uint16_t rank;
	uint8_t arena;                 /* which of ours it reads */
	bool stale;                    /* of a ztcpd that is gone: closed with its last use */
	uint64_t chan;                 /* SO_COOKIE of our socket when it came from ztcpd, else 0 */
	uint64_t told[SHM_BELLS / 64]; /* our bells whose eventfd it has been sent */
	int bell_fd[SHM_BELLS];        /* its eventfds, -1 when not received */
	uint32_t rung[SHM_BELLS];      /* seq of its bells for which we rang last */
};

/* This process. Arena 0 is always its own; the others are for strangers, or came over fork and serve
 * connections made before.
 */
struct shm_self {
	struct shm_arena arena[SHM_ARENAS];
	uint64_t domain
		[SHM_ARENAS]; /* who may see it, as ztcpd says; 0: this user's, or inherited */
	int why;              /* -errno when no arena can be made: nothing is ever lifted */
};
extern struct shm_self shm_self;

/* Make arena 0 unless there is one. Return: 0 or -errno (remembered). */
int shm_self_open(void);

/* Index of the arena that holds @conn. */
unsigned shm_self_arena_of(const struct shm_conn *conn);

/* Around fork, in the parent: no other thread is in the middle of a list. */
void shm_self_fork_lock(bool lock);

/* In the child after fork: a process of its own, whose inherited connections stay usable. */
void shm_self_forked(void);

/* The peer that is this process (both ends of a connection in one program). */
struct shm_peer *shm_peer_self(void);

/**
 * shm_chan_listen() - be found by peers whose connections end at local port @port
 *
 * Once per connection; the name goes with the last shm_chan_unlisten().
 *
 * Return: 0 or -errno.
 */
int shm_chan_listen(uint16_t port);
void shm_chan_unlisten(uint16_t port);

/**
 * shm_chan_find() - the @rank-th process that serves @port
 * @peer: set on success; its arena may be still to come (head is NULL)
 *
 * Return: 0, -ENOENT when there is none at that rank nor behind it, -EAGAIN when it is busy, -EPERM when
 * another user sits there, or -errno.
 */
int shm_chan_find(uint16_t port, unsigned rank, struct shm_peer **peer);

/**
 * shm_chan_adopt() - the channel that ztcpd handed out
 * @fd:     its socket, taken over; negative: it came earlier
 * @chan:   SO_COOKIE that the socket must have, as the selector says
 * @domain: who may share an arena with the peer; 0: this process's own kind
 * @peer:   set on success; its arena may be still to come
 *
 * Return: 0, -ENOENT when the earlier one is gone, -EPROTO when @fd is something else, or -errno.
 */
int shm_chan_adopt(int fd, uint64_t chan, uint64_t domain, struct shm_peer **peer);

/* The channel of ztcpd's with this cookie, or NULL. */
struct shm_peer *shm_chan_adopted(uint64_t chan);

/* The ztcpd that made the adopted channels is gone: each is closed when nothing uses it any more. */
void shm_chan_orphan(void);

/* Let shm_chan_poll() say SHM_MSG_WATCHED when @fd, a hidden one, can be read; or stop that. Return: 0 or -errno. */
int shm_chan_watch(int fd, bool on);

/* Send a message, with a descriptor unless @fd is negative. Return: 0 or -errno; never waits. */
int shm_chan_send(struct shm_peer *peer, struct shm_msg *msg, int fd);

/**
 * shm_chan_poll() - the next OFFER, ACCEPT or REFUSE from any peer, or SHM_MSG_WATCHED from nobody
 * @msg:  filled when the answer is true; numbers in it are untrusted
 * @from: the sender
 *
 * Handles new channels, HELLO, BELL and dead peers on the way.
 */
bool shm_chan_poll(struct shm_msg *msg, struct shm_peer **from);

/* Readable when shm_chan_poll() has something to do; -1 before the first channel. Never closed. */
int shm_chan_fd(void);

/* Let the peer ring @bell of the arena that it reads: sends it the eventfd, once, unless it is a stranger. */
void shm_peer_tell_bell(struct shm_peer *peer, unsigned bell, int efd);

/**
 * shm_peer_ring() - wake whoever of the peer sleeps for a connection
 * @of: the connection's bells word, in the peer's memory
 *
 * Cheap when nobody sleeps; at most one signal per bell and sleep.
 */
void shm_peer_ring(struct shm_peer *peer, const _Atomic uint32_t *of);

/* Whether any bell of the peer is asleep: the only thing a sender asks per message. */
static inline bool shm_peer_asleep(const struct shm_peer *peer)
{
	return atomic_load_explicit(&peer->head->pulse.asleep, memory_order_relaxed) != 0;
}

/* Take and give back a use of a peer. The last one of a gone peer unmaps it. */
void shm_peer_get(struct shm_peer *peer);
void shm_peer_put(struct shm_peer *peer);

/* A peer's block named in a message, bounds-checked. Return: NULL on nonsense. */
const struct shm_ctl *shm_peer_ctl(const struct shm_peer *peer, uint32_t conn);

#endif
