/* shm_lock.c - waiting for a lock's holder, dead ones included */
#include "shm/shm_lock.h"

#include "shm/shm_sys.h"

#include <errno.h>

enum {
	LOCK_SPINS = 200,
	LOCK_YIELDS_PER_CHECK = 64,
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
