/* chaos.h - ZTCP_CHAOS: lift and lower at random, and be slow at times, so that tests cross every border at every moment */
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

/* Perhaps sleep, where what was looked at may change before it is used. */
void chaos_linger(void);

#endif
