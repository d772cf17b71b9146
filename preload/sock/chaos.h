/* chaos.h - ZTCP_CHAOS: lift and lower at random, so that tests cross every border */
#ifndef SOCK_CHAOS_H
#define SOCK_CHAOS_H

#include "preload/sock/conf.h"
#include "preload/sock/sock.h"

/* Whether calls must take the longer way: chaos, or a tap (tap.h). */
static inline bool chaos_on(void)
{
	return __builtin_expect(conf.cold != 0, 0);
}

/* Perhaps lower the direction that we send. */
void chaos(struct sock *s);

#endif
