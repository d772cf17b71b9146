/* net_hold.c - short answers that wait for each other, so that a device is asked to send once for several
 *
 * Theory of operation. A wait tells a thread of so many events (net_round()), and it is expected to answer each. Until the last
 * answer is there, or so many or for so long that waiting costs more than it spares, they lie in the stack unsent; what a
 * connection is given meanwhile goes in one segment: a header, and the file behind it. What has waited goes with any
 * net_drive() or net_push(), so with the thread's next wait at the latest.
 * A thread may do something else between two answers, though, for which nobody should have to wait: one that was silent
 * for long is not believed for a while.
 */
#include "preload/sock/net.h"

#include "preload/real.h"
#include "preload/sock/thread.h"
#include "stack/base/base_check.h"

enum {
	HOLD_BYTES = 4096,   /* longer answers wait for nobody */
	HOLD_MOST = 16,      /* answers that wait for each other, */
	HOLD_US = 100,       /* and for how long, while more of them come */
	SILENCE_US = 200,    /* a thread should have come back by now */
	DISTRUST_TIMES = 64, /* as long as it was silent it is not believed, */
	DISTRUST_MS = 1000,  /* for so long at most */
};

void net_round(unsigned events)
{
	thread_self.round = (uint16_t)BASE_MIN(events, UINT16_MAX);
	thread_self.answers = NULL;
}

/* A short silence is the machine's, where many run: for the longer ones the thread is distrusted as well. */
static uint64_t distrust(uint64_t silent)
{
	const uint64_t most = DISTRUST_MS * UINT64_C(1000000);

	return silent < most / DISTRUST_TIMES ? silent * DISTRUST_TIMES : most;
}

void net_held_end(struct net_inst *in)
{
	uint64_t now;

	if (likely(!in->held))
		return;
	now = thread_now();
	if (now - in->held_last > SILENCE_US * UINT64_C(1000))
		in->hold_again = now + distrust(now - in->held_last);
	in->held = 0;
}

/* An answer waits, or goes with those that have waited. */
static void hold(struct net *n, bool another)
{
	struct net_inst *in = n->of;
	uint64_t now = thread_now();

	if (!in->held)
		in->held_since = in->held_last = now;
	in->held += another || !in->held;
	if (in->held > HOLD_MOST || now < in->hold_again ||
	    now - in->held_since > HOLD_US * UINT64_C(1000))
		net_push(n);
	else
		in->held_last = now;
}

void net_push_with(struct net *n, const void *whose, size_t bytes)
{
	struct thread *t = &thread_self;
	bool another = t->answers != whose;

	if (t->round && bytes && another) {
		t->answers = whose;
		t->round--;
	}
	if (!t->round || bytes > HOLD_BYTES)
		net_push(n);
	else if (bytes)
		hold(n, another);
}
