/* shm_lock.c - waiting for a lock's holder, dead ones included */
#include "shm/shm_lock.h"

#include "shm/shm_sys.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <time.h>

enum {
	LOCK_SPINS = 200,
	LOCK_YIELDS_PER_CHECK = 64,
	SEAT_TIDS = (1 << 22) - 1, /* thread ids are smaller (PID_MAX_LIMIT) */
};

static bool lock_try(_Atomic uint32_t *lock, uint32_t from, uint32_t tid)
{
	return atomic_compare_exchange_strong_explicit(lock, &from, tid, memory_order_acquire,
						       memory_order_relaxed);
}

bool shm_lock_wait(_Atomic uint32_t *lock, uint32_t tid)
{
	for (unsigned i = 0; i < LOCK_SPINS; i++) {
		__builtin_ia32_pause();
		if (!atomic_load_explicit(lock, memory_order_relaxed) && lock_try(lock, 0, tid))
			return true;
	}
	for (unsigned i = 1;; i++) {
		uint32_t holder = atomic_load_explicit(lock, memory_order_relaxed);

		if (!holder && lock_try(lock, 0, tid))
			return true;
		if (holder && i % LOCK_YIELDS_PER_CHECK == 0 &&
		    sys(SYS_tkill, holder, 0) == -ESRCH && lock_try(lock, holder, tid))
			return true;
		sys(SYS_sched_yield);
	}
}

bool shm_barrier(void)
{
	struct timespec ts = { 0, 1000000 };

	if (sys(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) >= 0)
		return true;
	/* no store stays in a processor's buffer for so long */
	sys(SYS_nanosleep, &ts, 0);
	return false;
}

/* The ownership has ended: wait until the owner has left, or is no more. */
static void seat_empty(struct shm_seat *l)
{
	for (unsigned i = 1;; i++) {
		uint32_t owner = atomic_load_explicit(&l->inside, memory_order_acquire);

		if (!owner)
			return;
		if (i < LOCK_SPINS)
			__builtin_ia32_pause();
		else if (i % LOCK_YIELDS_PER_CHECK == 0 &&
			 sys(SYS_tkill, owner & SEAT_TIDS, 0) == -ESRCH)
			atomic_compare_exchange_strong(&l->inside, &owner, 0);
		else
			sys(SYS_sched_yield);
	}
}

/* The word is TAKING + @tid. */
static bool seat_taken_over(struct shm_seat *l, uint32_t tid)
{
	shm_barrier();
	seat_empty(l);
	atomic_store_explicit(&l->word, SHM_SEAT_SHARED | tid, memory_order_release);
	return true;
}

bool shm_seat_try(struct shm_seat *l, uint32_t me)
{
	uint32_t word = atomic_load_explicit(&l->word, memory_order_relaxed);

	if (me == SHM_SEAT_NOBODY)
		return false;
	if (word == SHM_SEAT_SHARED)
		return lock_try(&l->word, word, SHM_SEAT_SHARED | (me & SEAT_TIDS));
	if (!word)
		lock_try(&l->word, 0, me);
	return shm_seat_enter(l, me);
}

/* Somebody else has the seat, or had it and died. Return: 1 taken, 0 nested, -1 not yet. */
static int seat_contend(struct shm_seat *l, uint32_t word, uint32_t tid, bool look)
{
	uint32_t holder = word & SEAT_TIDS;

	if (holder == tid) {
		if (word & SHM_SEAT_TAKING) /* a handler on top of the one who takes it */
			seat_empty(l);
		return 0;
	}
	if (word & SHM_SEAT_OWNED)
		return lock_try(&l->word, word, SHM_SEAT_TAKING | tid) ? seat_taken_over(l, tid)
								       : -1;
	if (!look || sys(SYS_tkill, holder, 0) != -ESRCH)
		return -1;
	if (word & SHM_SEAT_TAKING)
		return lock_try(&l->word, word, SHM_SEAT_TAKING | tid) ? seat_taken_over(l, tid)
								       : -1;
	return lock_try(&l->word, word, (word & SHM_SEAT_SHARED) | tid) ? 1 : -1;
}

bool shm_seat_take(struct shm_seat *l, uint32_t tid)
{
	for (unsigned i = 1;; i++) {
		uint32_t word = atomic_load_explicit(&l->word, memory_order_relaxed);
		int got;

		/* ours to enter, or inside already: a handler on top of the owner */
		if (atomic_load_explicit(&l->inside, memory_order_relaxed) ==
		    (SHM_SEAT_OWNED | tid))
			return false;
		if (word == (SHM_SEAT_OWNED | tid)) {
			if (shm_seat_enter(l, word))
				return true;
			continue;
		}
		if (!(word & SEAT_TIDS)) {
			if (lock_try(&l->word, word, word | tid))
				return true;
			continue;
		}
		got = seat_contend(l, word, tid, i % LOCK_YIELDS_PER_CHECK == 0);
		if (got >= 0)
			return got;
		if (i < LOCK_SPINS)
			__builtin_ia32_pause();
		else
			sys(SYS_sched_yield);
	}
}

bool shm_seat_left(struct shm_seat *l, uint32_t tid)
{
	uint32_t word = atomic_load_explicit(&l->word, memory_order_relaxed);

	if (word == (SHM_SEAT_TAKING | tid))
		return seat_taken_over(l, tid);
	return word == tid || word == (SHM_SEAT_SHARED | tid) ||
	       atomic_load_explicit(&l->inside, memory_order_relaxed) == (SHM_SEAT_OWNED | tid);
}

void shm_seat_give(struct shm_seat *l, bool taken)
{
	uint32_t word = atomic_load_explicit(&l->word, memory_order_relaxed);

	if (!taken)
		return;
	if (word & (SHM_SEAT_OWNED | SHM_SEAT_TAKING))
		atomic_store_explicit(&l->inside, 0, memory_order_release);
	else
		atomic_store_explicit(&l->word, word & SHM_SEAT_SHARED, memory_order_release);
}
