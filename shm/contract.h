/* contract.h - every byte that crosses a process border on the shm path
 *
 * Each process owns one arena: a memfd that only it can write (F_SEAL_FUTURE_WRITE), mapped read-only by
 * its peers. All that a process says to a peer lies in its own arena; all that it hears it reads from the
 * peer's. Whatever is read from a peer is untrusted: loaded once, bounds-checked, then used.
 *
 * An arena holds a head, bells, and blocks handed out by shm_arena.c: connection blocks (struct shm_conn)
 * and rings. Offsets, never pointers, cross the border. Numbers are in host byte order: both ends are on
 * one machine.
 *
 * The stream of one direction is counted in bytes from the start of the TCP connection ("offset"). It is
 * a sequence of spans carried by the kernel or by a ring. The sender owns the switch:
 *
 *   span   even: the sender writes to the kernel; odd: to its ring. Goes up by one at each switch.
 *   lift   offset at which the latest odd span began
 *   lower  offset at which the latest even span began (meaningful from span 2 on)
 *
 * A sender may lower at any time. It may lift again only when the receiver has crossed every earlier
 * border (span_ack == span), so two borders are all that is ever outstanding.
 */
#ifndef SHM_CONTRACT_H
#define SHM_CONTRACT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SHM_LINE 64

enum {
	SHM_VERSION = 4,
	SHM_BELLS = 256,          /* bells in an arena; number 0 is never used */
	SHM_RING_UNIT = 128,      /* rings are aligned to this */
	SHM_RING_LOG2_MIN = 7,    /* smallest ring: 128 bytes */
	SHM_RING_LOG2_MAX = 20,   /* largest ring: 1 MiB */
	SHM_CONN_UNIT = SHM_LINE, /* connection blocks are aligned to this */
};

#define SHM_MAGIC 0x7a7463702d73686dULL /* "ztcp-shm" */

/* What every sender to this process looks at after each publication: read-mostly, one line. */
struct shm_pulse {
	_Alignas(SHM_LINE) _Atomic uint32_t asleep; /* bells whose owner sleeps in the kernel now */
	_Atomic uint32_t close_gen; /* goes up whenever one of our connections changes state */
	_Atomic uint32_t cpu;       /* CPU on which a thread of ours last waited */
};

/* A doorbell: seq is odd while its owner sleeps. Its eventfd, or the ringing, travels over the channel's socket. */
struct shm_bell {
	_Alignas(SHM_LINE) _Atomic uint32_t seq;
};

/* Allocator state; only the owner's family of processes (fork) uses it, a peer has no reason to look. */
struct shm_pool {
	_Alignas(SHM_LINE) _Atomic uint32_t lock; /* tid of the holder */
	uint32_t conn_free; /* offset / SHM_LINE of a free connection block, 0 = none */
	uint64_t bump;      /* first byte never handed out */
	uint32_t ring_free[SHM_RING_LOG2_MAX + 1]; /* offset / SHM_RING_UNIT, 0 = none */
	uint64_t bell_used[SHM_BELLS / 64];        /* bitmap of allocated bells */
};

struct shm_head {
	uint64_t magic;
	uint32_t version;
	uint32_t pid; /* of the process that made the arena, in its own PID namespace */
	uint64_t bytes;
	_Atomic uint32_t forked; /* other processes may hold our ends of connections too */
	struct shm_pulse pulse;
	struct shm_pool pool;
	struct shm_bell bell[SHM_BELLS];
};

enum shm_state {
	SHM_CONN_FREE,
	SHM_CONN_OFFERED,  /* made, its peer has not agreed yet */
	SHM_CONN_ATTACHED, /* both ends read each other's block */
	SHM_CONN_CLOSED,   /* this end is gone: nothing will be published any more */
};

enum shm_tx_flag {
	SHM_TX_WANT_SPACE = 1, /* the sender waits: ring it when head moves */
	SHM_TX_FIN = 2,        /* no byte after tail will come: look at the kernel socket */
	SHM_TX_KEPT =
		4, /* a recall came too late: the kernel has newer bytes, or the end; read the ring */
};

enum shm_rx_flag {
	SHM_RX_RECALL =
		1, /* the receiver stops at head for good: send [head, tail) through the kernel */
	/*
	 * It is shut down both ways: it stops at the offset whose low bits are in the rest of this word, which was the tail
	 * when it did that. The kernel answers what comes later by a reset.
	 */
	SHM_RX_STOP = 2,
	SHM_RX_STOP_SHIFT = 8,
	SHM_RX_STOP_MASK = 0xffffff, /* of the offset: more than two rings hold */
};

/*
 * Line 0 is all that a peer touches per message; what is behind it changes only when a path does. Begins a line; the
 * owner has what only it needs in the rest of line 1 (shm_conn.h).
 */
struct shm_ctl {
	_Atomic uint64_t tail;    /* sender: offset up to which the ring holds bytes */
	_Atomic uint64_t head;    /* receiver: offset up to which it has consumed */
	_Atomic uint64_t base[2]; /* sender: ring[i] serves offsets from base[i] on */
	_Atomic uint32_t
		ring[2];       /* sender: shm_ring_ref(); the one with the larger base <= offset */
	_Atomic uint32_t span; /* sender */
	_Atomic uint32_t flags_tx; /* sender: SHM_TX_*; read together with span */
	_Atomic uint32_t span_ack; /* receiver: last span of the peer that it has crossed */
	_Atomic uint32_t flags_rx; /* receiver: SHM_RX_* */
	_Atomic uint32_t bells;    /* up to four bell numbers, a byte each; 0xff: all bells */

	_Atomic uint64_t lift;  /* sender */
	_Atomic uint64_t lower; /* sender */
	uint64_t cookie;        /* SO_COOKIE of the owner's kernel socket */
	_Atomic uint32_t state; /* enum shm_state */
	uint32_t checked;       /* the owner's own, of struct shm_rx */
};

static inline uint32_t shm_ring_ref(uint64_t offset, unsigned log2)
{
	return (uint32_t)(offset / SHM_RING_UNIT) << 5 | log2;
}

/* In a ring's word: it ends at a border. A reader that remembers the words sees that there is something new. */
#define SHM_RING_ENDS (UINT32_C(1) << 31)

static inline uint64_t shm_ring_offset(uint32_t ref)
{
	return (uint64_t)((ref & ~SHM_RING_ENDS) >> 5) * SHM_RING_UNIT;
}

static inline unsigned shm_ring_log2(uint32_t ref)
{
	return ref & 31;
}

/* ---- messages on a channel's AF_UNIX SOCK_SEQPACKET socket ---- */

enum shm_msg_type {
	SHM_MSG_HELLO = 1, /* with the arena's descriptor */
	SHM_MSG_BELL,      /* with one eventfd */
	SHM_MSG_OFFER,     /* "is the other end of this connection yours?" */
	SHM_MSG_ACCEPT,    /* "yes, here is my block" */
	SHM_MSG_REFUSE,    /* "no", with a reason */
	SHM_MSG_RING, /* "ring this bell of yours": from who has no eventfd of it, a forked child or a stranger */
};

/* Address and port of one end, IPv4 as v4-mapped IPv6, network byte order. */
struct shm_end {
	uint8_t addr[16];
	uint16_t port;
};

struct shm_msg {
	uint32_t type;
	uint32_t version;
	uint32_t pid;
	uint32_t bell;   /* BELL, RING: its number */
	uint64_t bytes;  /* HELLO: size of the arena */
	uint32_t offer;  /* OFFER, ACCEPT, REFUSE: the offerer's number for it */
	uint32_t conn;   /* OFFER, ACCEPT: block of the sender, offset / SHM_CONN_UNIT */
	uint64_t cookie; /* OFFER, ACCEPT: SO_COOKIE of the sender's kernel socket */
	uint32_t reason; /* REFUSE: enum reason */
	uint32_t to;     /* OFFER on a channel of ztcpd's: the receiver's number of its end */
	struct shm_end local, remote; /* OFFER on any other: as the offerer sees them */
};

_Static_assert(offsetof(struct shm_ctl, span) % 8 == 0 && offsetof(struct shm_ctl, ring) % 8 == 0,
	       "pairs are read in one go");
_Static_assert(offsetof(struct shm_pulse, asleep) == 0 &&
		       offsetof(struct shm_pulse, close_gen) == 4,
	       "the pulse is read in one go");
_Static_assert(offsetof(struct shm_ctl, lift) == SHM_LINE, "line 0 of a connection is full");
_Static_assert(sizeof(struct shm_ctl) == 3 * SHM_LINE / 2, "a line and a half");
_Static_assert(sizeof(struct shm_msg) == 88, "messages have one size");

#endif
