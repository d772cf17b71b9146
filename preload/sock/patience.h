/* patience.h - how long, and how often, an end looks for the other end of its connection
 *
 * Most peers are not wrapped: then nobody is found and nobody calls, and the connection must soon cost what it costs
 * without us. lift.c is the caller, on any thread, inside its lock but for patience_skip(); nothing is owned.
 *
 * Theory of operation. A look comes after a number of the connection's calls (next_try), at growing intervals, and not
 * at all while another connection has just looked in vain (quiet.h). An end gives up after so many looks or calls, and
 * earlier when both have talked in turns for a while: in a turn both have made a call, so turns bound what the other
 * end had the occasion for, as calls do not (one end's large write is many of the other's reads).
 */
#ifndef SOCK_PATIENCE_H
#define SOCK_PATIENCE_H

#include "preload/sock/sock.h"

enum {
	PATIENCE_TRIES = 6,  /* times no process was found, or it refused, at doubling intervals */
	PATIENCE_CALLS = 64, /* calls between two looks for an answer grow up to this */
};

/* The next look comes after @calls more calls on the connection; or after as many as there were. */
static inline void again_after(struct sock *s, uint32_t calls)
{
	s->next_try = s->row->ops + (calls ? calls : 1);
}

static inline void again_doubled(struct sock *s)
{
	s->next_try = s->row->ops * 2 + 1;
}

/* The other end is looked for, or waited for, from now on. */
void patience_begin(struct sock *s, enum sock_stage stage);

/* Bytes were sent, or received, by the kernel. A look across threads: an answer that is not counted does no harm. */
static inline void patience_sent(struct sock *s)
{
	SHM_WRITE(s->sent, true);
}

static inline void patience_received(struct sock *s)
{
	SHM_WRITE(s->turns, (uint16_t)(SHM_READ(s->turns) + SHM_READ(s->sent)));
	SHM_WRITE(s->sent, false);
}

/* Whether an other end that can be found, or that would offer, had the occasion to show itself. */
bool patience_is_over(const struct sock *s);

/* Whether a look now would ask what was asked in vain just now; the next one is set then. */
bool patience_skip(struct sock *s);

/* Calls until the next look for an answer. */
uint32_t patience_calls(const struct sock *s);

/* Nobody was found at @port (network byte order); and whether nothing was in the channels. */
void patience_port(uint16_t port);
void patience_channels(bool vain);

#endif
