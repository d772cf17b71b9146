/* sock.h - a TCP connection of the program, whatever the path its bytes take
 *
 * One struct sock per open file description and process, shared by its dup'ed numbers; the part that forked
 * processes must agree on is its row in the statistics table, the part that the peer reads is its block in
 * the arena. Any thread may call at any time. Socks are type-stable: their memory is reused for other socks
 * and for nothing else, so a thread that lost a race with close() sees a sock that is not its own any more
 * (sock_of(fd) differs) and never freed memory.
 *
 * Locks, in this order: ep.lock, conn.tx.seat, conn.rx.seat, the channel's, the arena's. Slow paths block
 * signals; the two hot ones (shm_ring_write, shm_ring_read) may be interrupted and nested.
 */
#ifndef SOCK_H
#define SOCK_H

#include "shm/shm_chan.h"
#include "shm/shm_ring.h"
#include "shm/shm_word.h"
#include "shm/stats.h"
#include "stack/base/base_reason.h"

#include <stdbool.h>
#include <sys/socket.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

struct direct;
struct ep_item;

/* How far a sock is on its way to being lifted. */
enum sock_stage {
	SOCK_NEW,      /* not connected, or too few calls */
	SOCK_WAITING,  /* accepted: the other end will offer */
	SOCK_FINDING,  /* connected: looking for the process of the other end */
	SOCK_ASKED,    /* accepted: an offer came while threads were inside the socket */
	SOCK_OFFERED,  /* an offer is out */
	SOCK_CLAIMED,  /* ztcpd was asked for the process of the other end */
	SOCK_ACCEPTED, /* the peer agreed; other threads were inside the socket at that moment */
	SOCK_ATTACHED, /* each direction is lifted and lowered by its sender */
	SOCK_SETTLED,  /* stays on the kernel; row->reason says why */
	SOCK_DIRECT,   /* made by the stack of this process (direct.h) */
};

/* What is known of a descriptor that was made here. What another process does to it after a fork is not seen in a listener. */
enum {
	SOCK_FRESH_OPTIONS = 1, /* none of direct_opt_matters() was ever set */
	SOCK_FRESH_NAME = 2,    /* not bound */
	SOCK_FRESH_AS_MADE = 4, /* and nothing else was done to it, but for O_NONBLOCK */
};

/* In sock.users: closed, and ended when the last thread inside leaves. Nobody who seeks a sock gets it any more. */
enum { SOCK_DEAD = 1 << 30 };

/* What lies before writer outlives a use: threads that lost a race with close() may still look at it. */
struct sock {
	/* One line for the short ways of io_hot.h. Where there is no connection, sock_nobody stands for it. */
	_Alignas(SHM_LINE) struct shm_view view; /* the peer's block */
	struct shm_conn *hot;                    /* conn, or sock_nobody's */
	_Atomic uint64_t quiet_tail;             /* the peer's tail when all of it had been read, */
	_Atomic uint64_t quiet_pair;             /* its span and flags_tx then, */
	uint32_t quiet_from;                     /* and the time: low half of the cycle counter */
	uint32_t gen;                            /* the peer's close_gen as last acted on */
	const struct shm_pulse *pulse;           /* the peer's, when conn is set */

	struct shm_conn *conn;  /* set while attached */
	_Atomic uint32_t users; /* threads in a slow path of it; SOCK_DEAD */
	/* threads inside a kernel call that sends, before it is attached or lowered; and one that receives */
	_Atomic uint32_t tx_busy, rx_busy;
	_Atomic uint32_t writer; /* tid of a thread in the middle of a blocking send: others wait */
	uint32_t streak;         /* receives that had to wait since the last send */
	int fd;                  /* one of its numbers */
	_Atomic uint64_t rx_window, tx_window; /* mem_window() of the buffer last used */
	struct shm_peer *peer;
	struct shm_conn *own;          /* our block while an offer is out */
	uint64_t peer_cookie;          /* SO_COOKIE of the other end, as the kernel confirmed it */
	struct stats_row *row;         /* NULL until connected */
	struct ep_item *_Atomic items; /* registrations in epolls of ours */
	struct sock *next;             /* in the registry, or the free list */
	struct direct *direct;         /* of the stack: the connection, or a listener */
	union {
		struct {
			uint64_t chan;   /* attested: the channel that ztcpd named, 0: none yet */
			uint32_t asked;  /* SOCK_ASKED: the peer's number for its offer */
			uint32_t theirs; /* SOCK_ASKED, SOCK_ACCEPTED: number of the peer's block */
		};                       /* until it is attached */
		struct {
			uint64_t full_since; /* ns; the receiver has not moved since */
			uint64_t full_head;
		};                 /* then */
		struct sock *late; /* given back by a handler inside the registry's lock */
	};
	struct shm_end remote;
	uint16_t numbers; /* descriptors that name it in this process */
	union {
		int listener; /* accepted: from this one, which may be another by now */
		_Atomic int
			backing; /* < 0: it is held for use after this one (direct_spare.c), by ~backing */
	};
	short kernel_bits;         /* POLLRDHUP, POLLHUP, POLLERR once the kernel has said them */
	_Atomic uint32_t full_gen; /* times a send found no room */
	_Atomic uint32_t next_try; /* row->ops at which to look at lifting again */
	uint32_t waits_from;       /* SOCK_FINDING, SOCK_WAITING: row->ops when that began */
	union {
		uint32_t waits_since; /* and when, in units of patience.c */
		uint32_t
			tail_checked; /* attached: low half of the tail when conn->tx.checked was set */
	};
	union {
		uint32_t to;   /* attested: the peer's number for its end */
		uint32_t twin; /* when both ends are ours: sock_index() of the other */
	};
	uint16_t
		found_at; /* port under which our process can be found because of this sock; 0: none */
	union {
		uint16_t rank; /* of the process asked */
		uint16_t
			fresh; /* until it has a row: SOCK_FRESH_*, for which the kernel need not be asked */
	};
	uint16_t tries;     /* how often none was found */
	uint16_t turns;     /* since waits_from: times that bytes came after bytes were sent */
	uint16_t why;       /* enum reason for not being direct; NONE: it was not asked for */
	bool sent;          /* bytes were sent since bytes came */
	uint8_t offer;      /* times this sock was offered: answers to older ones are stale */
	uint8_t unseen;     /* times the kernel's counters disagreed with ours */
	uint8_t stage;      /* enum sock_stage */
	uint8_t pinned;     /* never lifted again */
	uint8_t broken;     /* the peer's memory made no sense */
	_Atomic bool ended; /* one of the threads that were inside when it was closed does it */
	_Atomic uint8_t asked_to; /* direct: connect() has said that it is under way */
	bool hashed;
	bool burst; /* more was sent at once than its rings could hold: the next span begins with a large one */
	bool foreign;  /* another user's process was found where the peer's was sought */
	bool attested; /* the other end is found by ztcpd (agent.h) */
	bool last;     /* no other process holds it: set when it is finished */
};

_Static_assert(sizeof(struct sock) == 4 * SHM_LINE, "a connection at rest is small");

extern struct sock *_Atomic sock_table[];
enum { SOCK_TABLE = 1 << 20 };

/* The sock of a descriptor, or NULL: not ours. One load, one compare. */
static inline struct sock *sock_of(int fd)
{
	if (unlikely((unsigned)fd >= SOCK_TABLE))
		return NULL;
	return atomic_load_explicit(&sock_table[fd], memory_order_relaxed);
}

/* What a sock without a connection has for one: a ring with nothing in it that nobody may enter. */
extern struct shm_conn sock_nobody;

static inline bool sock_is_dead(const struct sock *s)
{
	return atomic_load_explicit(&s->users, memory_order_relaxed) & SOCK_DEAD;
}

/* Set while attached; what belongs to it is there as well. */
static inline __attribute__((nonnull)) struct shm_conn *sock_conn(const struct sock *s)
{
	return SHM_FOLLOW(s->conn);
}

static inline __attribute__((nonnull)) struct stats_row *sock_row(const struct sock *s)
{
	return SHM_FOLLOW(s->row);
}

/* No thread may conclude any more from an earlier look that there is nothing to read. */
static inline void sock_stir(struct sock *s)
{
	atomic_store(&s->quiet_pair, UINT64_MAX);
}

/* One of its numbers; a close of that one, of several, changes it. */
static inline int sock_fd(const struct sock *s)
{
	return SHM_READ(s->fd);
}

/* Stays in the kernel for good, and has always been there: nothing of it is ever looked at. */
static inline bool sock_is_settled(const struct sock *s)
{
	return SHM_READ(s->stage) == SOCK_SETTLED && !sock_conn(s);
}

/* The process-wide statistics table, made with the first connection; NULL when it cannot be. */
struct stats_head *sock_stats(void);

/* A TCP socket was made: follow it. @fd's entry is replaced. NULL when there is no memory. */
struct sock *sock_open(int fd);

/**
 * sock_connected() - the connection exists (or is under way): give it a row
 * @role:   which end made it
 * @remote: the peer's address when known, or NULL
 */
void sock_connected(struct sock *s, enum stats_role role, const struct sockaddr *remote);

/* No followed descriptor has a higher number. */
int sock_highest(void);

/* Another number for the same description. An older entry of @fd is dropped. */
void sock_dup(struct sock *s, int fd);

/**
 * sock_close() - forget @fd's entry, before the kernel closes the number
 *
 * The last number of the last process ends the connection as the kernel would: what was written stays
 * readable for the peer, unread bytes make the kernel send RST instead of FIN.
 */
void sock_close(int fd);

/* Stay on the kernel from now on, and say why. Attached connections lower what they send. */
void sock_settle(struct sock *s, enum reason reason);

/* Keep the sock's memory and block alive across a wait. */
void sock_get(struct sock *s);
void sock_put(struct sock *s);

/* A thread leaves a call that it was counted in: @word is users, tx_busy or rx_busy. */
void sock_leave(struct sock *s, _Atomic uint32_t *word);

/* The accepted sock whose peer is @remote and whose local port is @port, or NULL; with sock_get(). */
struct sock *sock_find(const struct shm_end *remote, uint16_t port);
/* The open sock with this number in the pool (sock_index), or NULL; with sock_get(). */
struct sock *sock_at(uint32_t index);
uint32_t sock_index(const struct sock *s);

/* Calls @f on each open sock of this process. */
void sock_each(void (*f)(struct sock *s, void *arg), void *arg);

/* The arena that holds the sock's block. */
static inline struct shm_arena *sock_arena(const struct sock *s)
{
	return &shm_self.arena[shm_self_arena_of(s->conn)];
}

static inline bool sock_nonblock(const struct sock *s)
{
	return atomic_load_explicit(&sock_row(s)->flags, memory_order_relaxed) & STATS_NONBLOCK;
}

/* An error of the connection's is told once, to whichever process that holds it asks first. */
static inline bool sock_error_waits(const struct sock *s)
{
	const struct stats_row *row = sock_row(s);

	return row && SHM_READ(row->recv_error); /* none: another thread has closed it */
}

static inline void sock_error_keep(const struct sock *s, int err)
{
	struct stats_row *row = sock_row(s);

	if (row)
		SHM_WRITE(row->recv_error, (uint8_t)err);
}

/* Return: 0 if another thread was just told. */
static inline int sock_error_take(const struct sock *s)
{
	struct stats_row *row = sock_row(s);

	return row ? __atomic_exchange_n(&row->recv_error, 0, __ATOMIC_RELAXED) : 0;
}

static inline bool sock_reset_told(const struct sock *s)
{
	const struct stats_row *row = sock_row(s);

	return row && SHM_READ(row->reset_told);
}

/* Return: whether it is for the caller to tell: nobody has. */
static inline bool sock_reset_tell(const struct sock *s)
{
	struct stats_row *row = sock_row(s);

	return row && !__atomic_exchange_n(&row->reset_told, true, __ATOMIC_RELAXED);
}

/* Bytes that make a receive return and a wait see them: SO_RCVLOWAT. */
static inline uint32_t sock_rcvlowat(const struct sock *s)
{
	const struct stats_row *row = sock_row(s);

	return row ? SHM_READ(row->rcvlowat) : 1; /* none: another thread has closed it */
}

/* Give the blocks of closed connections back once their peers are done with them. */
void sock_reap(void);

/* Whether this process has forked, or was forked, since it had connections. */
bool sock_has_forked(void);

/* Around fork, in the parent: no other thread is in the middle of a list. */
void sock_fork_lock(bool lock);

/* In the child after fork. */
void sock_forked(void);
/* In the parent before fork: what both will hold. @sign: +1, or -1 when fork failed. */
void sock_share(int sign);

/* IPv4 as v4-mapped; false for other families. */
bool sock_end(struct shm_end *end, const struct sockaddr *sa);

#endif
