/* lift.h - from a connection in the kernel to an attached one
 *
 * Called from the slow path of calls on connections that are not attached yet, at growing intervals; never
 * waits for a peer. What it finds out ends in s->stage and row->reason.
 */
#ifndef SOCK_LIFT_H
#define SOCK_LIFT_H

#include "preload/sock/sock.h"

/* Calls that must be seen on a connection before it is worth a lift. */
uint32_t lift_threshold(void);

/* Calls after which a new connection is first looked at: a rule may ask for less than the default. */
uint32_t lift_first_look(void);

/* A call has moved bytes through the kernel and the row's count has reached next_try: one step on. */
void lift_step(struct sock *s);

/* Read the channels: answer offers, take answers. Cheap when there is nothing. */
void lift_service(void);

/* In the child after fork. */
void lift_forked(void);

#endif
