/* hostile.h - a peer by hand: what the cases of hostile_peer have to do evil with
 *
 * One case at a time, one thread but where a case starts another. The victim's memory is mapped as the
 * library maps it, read-only.
 */
#ifndef TESTS_HOSTILE_HOSTILE_H
#define TESTS_HOSTILE_HOSTILE_H

#include "shm/contract.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	FOE_RING = 1 << 20, /* where our ring lies in our arena */
	FOE_RING_LOG2 = 12,
	FOE_ARENA = 1 << 22,
};

struct foe {
	pid_t victim;
	int progress; /* the victim writes here after each healthy exchange */
	int tcp;      /* our end of the connection */
	int chan;     /* the channel, -1 before the victim has come */
	char *arena;  /* ours */
	int arena_fd;
	struct shm_ctl *ctl; /* our block in it */
	const char *theirs;  /* the victim's arena, NULL before its HELLO */
	uint64_t theirs_bytes;
	int theirs_fd;
	const struct shm_ctl *victim_ctl; /* its block, when it has offered */
	struct shm_msg offer;
	int bell[SHM_BELLS]; /* its eventfds, -1: none */
	uint64_t sent;       /* bytes of ours through the kernel: the offset at which we may lift */
	uint64_t seed;
	bool stop; /* for threads of a case */
};

/* What is different from a good peer before the connection is attached. */
enum foe_manner {
	FOE_GOOD,
	FOE_SILENT,       /* never answers an offer */
	FOE_HUGE,         /* its arena is of huge pages */
	FOE_WRONG_COOKIE, /* ACCEPT with ... */
	FOE_WRONG_BLOCK,
	FOE_WRONG_OFFER,
};

struct foe_case {
	const char *name;
	enum foe_manner manner;
	bool quiet; /* the victim only reads */
	/* Evil for a while. Return: NULL, or what went wrong. */
	const char *(*run)(struct foe *f);
};

extern const struct foe_case foe_cases[];

/* Healthy exchanges of the victim since the last call. */
unsigned foe_progress(struct foe *f);

/* A message with @n descriptors. Return: whether the socket took it. */
bool foe_send(struct foe *f, const struct shm_msg *m, const int *fd, unsigned n, int flags);

uint64_t foe_random(struct foe *f);

/* Pass @ms, read the channel and the connection meanwhile. */
void foe_serve(struct foe *f, unsigned ms);

/* What the victim has used so far: CPU time, and how often a thread of it has gone to sleep. */
struct foe_use {
	uint64_t cpu_ns;
	uint64_t sleeps;
};

struct foe_use foe_victim_use(const struct foe *f);

#endif
