/* ztcp_group.h - the instances of one process on one interface, and the rings between them; for stack/dev alone
 *
 * What it does: each member has a ring that the others fill with what arrived at the wrong instance, and a doorbell for when it
 * sleeps. Called by ztcp_native.c; the calls on a box come from the thread that drives its instance. Memory: the group's;
 * it outlives its members.
 *
 * Theory of operation. Any member may fill a ring, one empties it: a cell's number says whose turn it is, so that
 * nobody waits for anybody. What finds no room is the sender's to drop. As long as nothing is passed on, members only read
 * lines that nobody writes.
 */
#ifndef ZTCP_GROUP_H
#define ZTCP_GROUP_H

#include "stack/include/ztcp.h"

struct ztcp_box;

/** ztcp_box_open() - as ztcp_join(). Return: it, or NULL and errno. */
struct ztcp_box *ztcp_box_open(struct ztcp_group *g, int (*fd_keep)(int fd));

/** ztcp_box_close() - nothing comes any more; what has come is kept for its next owner. */
void ztcp_box_close(struct ztcp_box *box);

/** ztcp_box_pass() - the way from this member to the others. */
struct inst_pass ztcp_box_pass(struct ztcp_box *box);

/** ztcp_box_bell() - Return: what a sleeper waits on for the others, or -1 while there are none. */
int ztcp_box_bell(const struct ztcp_box *box);

/** ztcp_box_rung() - Return: whether something may have come since the last ztcp_box_answer(). */
bool ztcp_box_rung(const struct ztcp_box *box);

/** ztcp_box_answer() - the doorbell has been heard; ztcp_box_take() until it says false is due. */
void ztcp_box_answer(struct ztcp_box *box);

/** ztcp_box_take() - the next thing that has come. Return: false when there is none. */
bool ztcp_box_take(struct ztcp_box *box, struct inst_passed *p);

#endif
