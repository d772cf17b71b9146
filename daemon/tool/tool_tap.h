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

#include "daemon/tool/tool_ring.h"

struct tool_taps;

/**
 * tool_taps_open() - begin to listen
 * @pids:  these processes; NULL: all that may be seen
 * @snap:  bytes of a frame that are wanted; 0: all
 *
 * Return: the listener, or NULL after a line on standard error.
 */
struct tool_taps *tool_taps_open(const int *pids, unsigned count, uint32_t snap);

/**
 * tool_taps_next() - the next piece, borrowed until the next call
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

/** tool_taps_program() - Return: name of the process that has written @p; @pid: set. Good until the next look. */
const char *tool_taps_program(const struct tool_taps *t, const struct tool_piece *p, int *pid);

void tool_taps_close(struct tool_taps *t);

#endif
