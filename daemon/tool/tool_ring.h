/* tool_ring.h - records out of a tap's ring (shm/tap.h), checked
 *
 * The ring is another process's memory, which may change at any time and hold anything: each record is copied out, checked,
 * and only then looked at. Called by tool_tap.c; a piece is the caller's, to be given back by free(). One thread.
 */
#ifndef ZTCP_TOOL_RING_H
#define ZTCP_TOOL_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/tap.h"

/** struct tool_piece - a record and its bytes */
struct tool_piece {
	struct tap_record rec;
	uint32_t len;    /* bytes of data, at most those that the record speaks of */
	uint32_t source; /* the caller's: which tap */
	const uint8_t *data;
	uint64_t read_ns; /* the caller's: when it was found */
};

struct tool_ring {
	struct tap_head *map;
	uint64_t head;
	uint64_t lost; /* of those that were there: no memory for a copy */
	bool broken;   /* made no sense: nothing more is read */
};

/** tool_ring_next() - the next record, taken out. Return: the piece, or NULL: none is there, or the ring is broken. */
struct tool_piece *tool_ring_next(struct tool_ring *r);

#endif
