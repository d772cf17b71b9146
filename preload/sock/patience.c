/* patience.c - how long, and how often, an end looks for the other end of its connection */
#include "preload/sock/patience.h"

#include "preload/sock/quiet.h"
#include "preload/sock/thread.h"

enum {
	WAIT_CALLS = 1 << 10, /* twice as many as a peer needs to give up: nobody will offer */
	UNIT = 14,            /* log2 of cycles: about 6 us */
	FIND_TURNS = 16,      /* a peer that has answered so often, */
	FIND_UNITS = 1 << 10, /* for so long, could be found if it were there to be found */
	WAIT_TURNS = 48,      /* and one that was answered so often would have offered: */
	WAIT_UNITS = 1 << 12, /* more than twice what it needs for its last look */
	QUIET_CHANNELS = 16,  /* times QUIET_CYCLES: how long channels are left alone at most */
	QUIET_PORT = 1024,    /* and a port */
};

static struct quiet quiet_channels; /* nothing was in them */
static struct quiet quiet_port;     /* nobody was found at the port that follows */
static _Atomic uint16_t quiet_port_number;

static uint32_t units_now(void)
{
	return (uint32_t)(thread_cycles() >> UNIT);
}

void patience_begin(struct sock *s, enum sock_stage stage)
{
	SHM_WRITE(s->stage, stage);
	s->waits_from = s->row->ops;
	SHM_WRITE(s->waits_since, units_now());
	SHM_WRITE(s->turns, 0);
}

static bool talked(const struct sock *s, uint16_t turns, uint32_t units)
{
	return SHM_READ(s->turns) >= turns && units_now() - SHM_READ(s->waits_since) >= units;
}

bool patience_is_over(const struct sock *s)
{
	if (SHM_READ(s->stage) == SOCK_FINDING)
		return SHM_READ(s->tries) > PATIENCE_TRIES || talked(s, FIND_TURNS, FIND_UNITS);
	/* ztcpd has seen an attested one's other end, which has messages of its own to wait for */
	return s->row->ops - s->waits_from > WAIT_CALLS ||
	       (!s->attested && talked(s, WAIT_TURNS, WAIT_UNITS));
}

uint32_t patience_calls(const struct sock *s)
{
	return s->row->ops < PATIENCE_CALLS ? 1 : s->row->ops / 8;
}

/* Whether a step would ask what was asked in vain just now. */
static bool is_vain(const struct sock *s)
{
	unsigned stage = SHM_READ(s->stage);
	uint16_t port = SHM_READ(s->remote.port);

	if (SHM_READ(s->attested))
		return false;
	if (stage == SOCK_WAITING)
		return is_quiet(&quiet_channels);
	return stage == SOCK_FINDING && port &&
	       port == atomic_load_explicit(&quiet_port_number, memory_order_relaxed) &&
	       is_quiet(&quiet_port);
}

/*
 * A look for a port counts as taken though it is not, because another connection has just looked; but the last one,
 * with which the connection settles, is its own.
 */
bool patience_skip(struct sock *s)
{
	uint16_t tries = SHM_READ(s->tries);

	if (!is_vain(s))
		return false;
	if (SHM_READ(s->stage) == SOCK_WAITING) {
		again_after(s, patience_calls(s));
		return true;
	}
	if (tries >= PATIENCE_TRIES || talked(s, FIND_TURNS, FIND_UNITS))
		return false;
	SHM_WRITE(s->tries, tries + 1);
	again_doubled(s);
	return true;
}

void patience_port(uint16_t port)
{
	bool same = atomic_exchange(&quiet_port_number, port) == port;

	quiet_note(&quiet_port, same, QUIET_PORT);
}

void patience_channels(bool vain)
{
	quiet_note(&quiet_channels, vain, QUIET_CHANNELS);
}
