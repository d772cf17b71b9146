/* tap.h - what a process copies out for `ztcp tcpdump`, while somebody asks for it
 *
 * A memfd named "ztcp-tap" in each process that has TCP connections: a head, and a ring of records. `ztcp tcpdump` finds it
 * under /proc/PID/fd and maps it for writing, which the kernel allows to the owner's user and to root: it says until
 * when it wants to be told, how much of a frame, and how far it has read. The process then appends a record for each piece
 * that it sends on the paths shm and kernel, and one for each frame that passes a device of its stacks, in or out; what does
 * not fit is counted and left out. Nobody waits for the other, and neither believes the other's numbers: a reader checks
 * every record, the process uses `head`, `until` and `snap` alone. Who asked and was killed asks no longer when `until` has
 * passed; the process then clears it.
 *
 * Records are in the order in which one process wrote them; `ns` was read before the bytes were published or the frame was
 * given to the device, so what a peer answers has a later one. That of a frame which came in was read after it was there.
 */
#ifndef SHM_TAP_H
#define SHM_TAP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "shm/contract.h"

#define TAP_MAGIC UINT64_C(0x7a7463702d746170) /* "ztcp-tap" */

enum {
	TAP_VERSION = 2,
	TAP_RING = 1 << 24, /* bytes; memory as it is touched */
	TAP_DATA = 4096,    /* where the ring begins */
	TAP_ALIGN = 8,
	TAP_PIECE = 32768, /* payload of one record at most */
	TAP_FRAME_MAX =
		65536 +
		128, /* bytes of a frame at most: one that a device cuts has its headers besides */
};

enum tap_kind {
	TAP_BYTES = 1,
	TAP_FIN,   /* no more bytes of this direction */
	TAP_FRAME, /* passed a device of a stack */
};

enum tap_flag {
	TAP_SHM = 1,      /* the piece went through shared memory */
	TAP_ACCEPTED = 2, /* the sender's end was accepted */
	TAP_UNKNOWN = 4,  /* the bytes themselves could not be had: len of them went by */
	TAP_OUT = 8,      /* the frame went out; else it came in */
	TAP_OPEN = 16,    /* its TCP checksum is left to the device */
};

struct tap_head {
	uint64_t magic;
	uint32_t version;
	uint32_t pid;                           /* as the process sees itself */
	uint64_t bytes;                         /* TAP_RING */
	_Alignas(64) _Atomic uint64_t until_ns; /* reader: CLOCK_REALTIME; 0: nobody reads */
	_Atomic uint64_t head;                  /* reader: records before it may be overwritten */
	_Atomic uint32_t snap;                  /* reader: bytes of a frame that it wants; 0: all */
	_Alignas(64) _Atomic uint64_t tail;     /* process: records before it are whole */
	_Atomic uint64_t lost;                  /* process: records that did not fit */
};

/* Of a stack's frame. Numbers go on with those that did not fit, so that a gap tells how many, and how long, they were. */
struct tap_frame {
	uint64_t no;     /* 0 is the first that was asked for */
	uint64_t before; /* bytes of all before it */
	uint32_t whole;  /* bytes of it */
	uint16_t gso;    /* payload bytes a packet where the device cuts it; 0: it is a packet */
	uint16_t net;    /* number of the stack in the process's table (stats.h) */
	char name[16];   /* of its interface */
};

/*
 * A record; len bytes follow, filled up to TAP_ALIGN. It may wrap. Offsets count the payload of one direction, and are those
 * of its sender.
 */
struct tap_record {
	uint32_t kind; /* enum tap_kind */
	uint32_t len;
	uint64_t ns;    /* CLOCK_REALTIME */
	uint32_t flags; /* TAP_* */
	uint32_t spare;
	union {
		struct {                 /* TAP_BYTES, TAP_FIN */
			uint64_t cookie; /* SO_COOKIE of the sender's socket */
			uint64_t peer;   /* of the other end's, when known; else 0 */
			uint64_t seq;    /* offset of the first byte */
			uint64_t
				ack; /* offset up to which the sender has read the other direction */
			struct shm_end local, remote;
			uint32_t spare2;
		};
		struct tap_frame frame; /* TAP_FRAME */
	};
};

_Static_assert(sizeof(struct tap_record) % TAP_ALIGN == 0, "records are aligned");
_Static_assert(sizeof(struct tap_head) <= TAP_DATA, "the head lies before the ring");

/*
 * While somebody with this user id listens, this abstract name is bound in its network namespace: a process that makes its
 * first connection then begins with its tap on. Anybody may take a name: it counts if who listens has that user id, as SO_PEERCRED
 * says. Return: length for bind() and connect().
 */
static inline socklen_t tap_beacon(struct sockaddr_un *sa, uint32_t uid)
{
	int n = snprintf(sa->sun_path + 1, sizeof(sa->sun_path) - 1, "ztcp-tap/%u", uid);

	sa->sun_family = AF_UNIX;
	sa->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (unsigned)n);
}

#endif
