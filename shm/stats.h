/* stats.h - what each process publishes about its connections
 *
 * A memfd named "ztcp-stats" that `ztcp` finds under /proc/PID/fd (possibly several: a forked child holds its
 * parent's too) and maps read-only; the kernel decides who may. Nobody has to answer, so it works on a
 * stopped or spinning process. Written by the process and, after fork, by its children: the table is also
 * where processes that share a socket agree on its state. A reader treats all of it as untrusted.
 *
 * A row is one open connection, whatever the number of descriptors. Byte counts on the shm path lie in the
 * connection's block while it is lifted (`conn`, in the memfd "ztcp-arena" of the process `pid`):
 *   sent through shm  = tx_shm + (tx_path ? ctl.tail - tx_off : 0)
 *   received by shm   = rx_shm + (rx_path ? ctl.head - rx_off : 0)
 */
#ifndef SHM_STATS_H
#define SHM_STATS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define STATS_MAGIC 0x7a74637073746174ULL /* "ztcpstat" */

enum {
	STATS_VERSION = 2,
	STATS_ROWS = 65536, /* address space, not memory */
	STATS_NETS = 64,
	STATS_COUNTERS = 192, /* at least those of counters.def */
	STATS_NEIGHS = 64,
	STATS_INFO = 256,
};

enum stats_role { STATS_CONNECT, STATS_ACCEPT };

enum stats_path { STATS_PATH_KERNEL, STATS_PATH_SHM, STATS_PATH_STACK };

enum stats_flag {
	STATS_NONBLOCK = 1,  /* O_NONBLOCK, as set through the library */
	STATS_ATTACHED = 2,  /* both ends read each other's block */
	STATS_SETTLED = 4,   /* stays on the kernel for good: no longer counted exactly */
	STATS_EXPLAINED = 8, /* a line was written about it */
};

struct stats_row {
	_Atomic uint32_t refs;    /* processes that hold it; 0: the row is free */
	int32_t fd;               /* a descriptor in the process that made the row */
	uint64_t cookie;          /* SO_COOKIE of the kernel socket */
	uint16_t reason;          /* enum reason */
	uint8_t role;             /* enum stats_role */
	uint8_t tx_path, rx_path; /* enum stats_path; of the stack both or neither */
	uint8_t recv_error; /* the kernel's, told to the library before the program may hear of it; < 256 */
	uint8_t send_error;     /* the same, for the rest of a send whose beginning had gone */
	uint8_t reset_told;     /* a killed peer's unread bytes: ECONNRESET was returned once */
	_Atomic uint32_t flags; /* STATS_* */
	_Atomic uint32_t ops;   /* calls that moved bytes on the kernel path */
	_Atomic uint64_t tx_off,
		rx_off; /* stream offset where the current kernel span stands, or ended */
	uint32_t rcvtimeo_us, sndtimeo_us; /* SO_RCVTIMEO, SO_SNDTIMEO; 0: none */
	uint32_t ports;    /* of a connection of the stack: local, remote in the upper half */
	uint32_t rcvlowat; /* SO_RCVLOWAT, once that was asked */
	union {
		struct {                         /* kernel and shm */
			uint32_t conn;           /* offset / 64 in the arena, 0: none */
			uint32_t pid;            /* owner of that arena */
			uint64_t tx_shm, rx_shm; /* bytes of finished shm spans */
			uint32_t lifts, lowers;
		};
		struct {                               /* stack */
			uint8_t local[16], remote[16]; /* IPv4 as v4-mapped */
		};
	};
};

/*
 * The TCP of a connection of the stack, in a second table by the row's number; and what is known of each stack, in a third.
 * Written every few milliseconds while the stacks are driven, not with each packet.
 */
struct stats_tcp {
	_Alignas(64) _Atomic uint32_t turn; /* odd: it is being written; 0: it never was */
	uint32_t info_bytes;
	uint32_t rqueue, wqueue; /* bytes unread, and not yet acknowledged */
	uint64_t at_ns;          /* CLOCK_MONOTONIC */
	char cong[16];
	uint8_t info[STATS_INFO]; /* struct tcp_info, as getsockopt(TCP_INFO) gives it */
};

struct stats_neigh {
	uint8_t addr[16]; /* IPv4 as v4-mapped */
	uint8_t mac[6];
	uint8_t spare[2];
	uint32_t age_ms; /* since it was last heard, or asked */
	char state[12];
};

struct stats_net {
	_Alignas(64) _Atomic uint32_t turn; /* as above */
	uint32_t open;
	uint64_t at_ns;
	char name[16];   /* of the interface, as its file says */
	char device[64]; /* cut where it is longer */
	uint8_t mac[6];
	uint16_t mtu;
	uint32_t shared;   /* with the kernel */
	uint32_t offloads; /* enum wire_offload */
	uint32_t conns, blocks;
	uint64_t bytes_huge, bytes_ordinary, buffers_out, refills, returns;
	uint32_t counters; /* in use of: */
	uint32_t neighs;
	uint64_t counter[STATS_COUNTERS]; /* enum counter */
	struct stats_neigh neigh[STATS_NEIGHS];
};

struct stats_head {
	uint64_t magic;
	uint32_t version;
	uint32_t pid;
	uint32_t rows;         /* STATS_ROWS */
	_Atomic uint32_t used; /* rows ever used: none behind is */
	uint32_t spare;
	uint32_t free_hint;       /* where the next search begins; any value is right */
	uint64_t lifted, lowered; /* connections in all, dead ones included */
	_Alignas(64) struct stats_row row[];
};

_Static_assert(sizeof(struct stats_row) == 96, "two rows in three lines");
_Static_assert(offsetof(struct stats_head, row) == 64, "rows begin after one line");

#define STATS_TCP_AT (sizeof(struct stats_head) + STATS_ROWS * sizeof(struct stats_row))
#define STATS_NET_AT (STATS_TCP_AT + STATS_ROWS * sizeof(struct stats_tcp))
#define STATS_END_AT (STATS_NET_AT + STATS_NETS * sizeof(struct stats_net))

static inline struct stats_tcp *stats_tcp_of(struct stats_head *t, const struct stats_row *row)
{
	return (struct stats_tcp *)((char *)t + STATS_TCP_AT) + (row - t->row);
}

static inline struct stats_net *stats_net_of(struct stats_head *t, unsigned i)
{
	return (struct stats_net *)((char *)t + STATS_NET_AT) + i;
}

/* Around writing what others may be reading; one writer at a time. */
static inline void stats_turn_begin(_Atomic uint32_t *turn)
{
	atomic_store_explicit(turn, atomic_load_explicit(turn, memory_order_relaxed) | 1,
			      memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

static inline void stats_turn_end(_Atomic uint32_t *turn)
{
	atomic_store_explicit(turn, atomic_load_explicit(turn, memory_order_relaxed) + 1,
			      memory_order_release);
}

/**
 * stats_make() - create and map the table
 *
 * Return: the table, or NULL (no memfd, no address space).
 */
struct stats_head *stats_make(void);

/* A zeroed row with one reference, or NULL when full. Any thread or signal handler, without a lock. */
struct stats_row *stats_row_alloc(struct stats_head *table);

#endif
