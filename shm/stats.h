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
};

enum stats_role { STATS_CONNECT, STATS_ACCEPT };

enum stats_path { STATS_PATH_KERNEL, STATS_PATH_SHM, STATS_PATH_STACK };

enum stats_flag {
	STATS_NONBLOCK = 1, /* O_NONBLOCK, as set through the library */
	STATS_ATTACHED = 2, /* both ends read each other's block */
	STATS_SETTLED = 4,  /* stays on the kernel for good: no longer counted exactly */
};

struct stats_row {
	_Atomic uint32_t refs;    /* processes that hold it; 0: the row is free */
	int32_t fd;               /* a descriptor in the process that made the row */
	uint64_t cookie;          /* SO_COOKIE of the kernel socket */
	uint16_t reason;          /* enum reason */
	uint8_t role;             /* enum stats_role */
	uint8_t tx_path, rx_path; /* enum stats_path; of the stack both or neither */
	uint8_t spare[3];
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

/**
 * stats_make() - create and map the table
 *
 * Return: the table, or NULL (no memfd, no address space).
 */
struct stats_head *stats_make(void);

/* A zeroed row with one reference, or NULL when full. Any thread or signal handler, without a lock. */
struct stats_row *stats_row_alloc(struct stats_head *table);

#endif
