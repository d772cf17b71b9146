/* tool_tap.h - listening to what processes send, by their taps (shm/tap.h)
 *
 * Opens the tap of each process that the caller may see, new ones as they appear, keeps them on, and hands out the
 * pieces of all of them in an order that a wire could have had: by time, and never an answer before what it answers. What
 * a process writes is checked before it is used. One thread; memory is the listener's.
 */
#ifndef ZTCP_TOOL_TAP_H
#define ZTCP_TOOL_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/tap.h"

struct tool_taps;

/** struct tool_piece - a record and its bytes; borrowed until the next call */
struct tool_piece {
	struct tap_record rec;
	const uint8_t *data;
	int pid;
};

/**
 * tool_taps_open() - begin to listen
 * @pids:  these processes; NULL: all that may be seen
 *
 * Return: the listener, or NULL after a line on standard error.
 */
struct tool_taps *tool_taps_open(const int *pids, unsigned count);

/**
 * tool_taps_next() - the next piece
 * @everything: do not wait for pieces that may come before it: the end
 *
 * Return: whether there is one; if not, tool_taps_wait() and try again.
 */
bool tool_taps_next(struct tool_taps *all, struct tool_piece *piece, bool everything);

/** tool_taps_wait() - keep the taps on, look for new processes, and sleep a little. */
void tool_taps_wait(struct tool_taps *t);

/** tool_taps_off() - processes stop copying; what they have copied can still be had. */
void tool_taps_off(struct tool_taps *t);

/** tool_taps_lost() - Return: records that did not fit, or made no sense. */
uint64_t tool_taps_lost(const struct tool_taps *t);

void tool_taps_close(struct tool_taps *t);

#endif
