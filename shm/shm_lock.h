/* shm_lock.h - a lock that a signal handler may meet and a dying process may leave behind
 *
 * The word holds the thread id of the holder. A thread that meets its own id is a signal handler running
 * on top of its own critical section: it goes in without taking the lock and whoever was interrupted
 * notices at its commit (shm_commit) that the world has moved, and redoes its work. A holder that no
 * longer exists is robbed. Memory may be private or shared by a family of forked processes.
 */
#ifndef SHM_LOCK_H
#define SHM_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Out of line part of shm_lock(): waits for the holder, yields, robs the dead. */
bool shm_lock_wait(_Atomic uint32_t *lock, uint32_t tid);

/**
 * shm_lock() - take a lock
 * @lock: zero when free
 * @tid:  of the calling thread, never 0
 *
 * Return: true when taken and to be given back; false when this thread holds it already.
 */
static inline bool shm_lock(_Atomic uint32_t *lock, uint32_t tid)
{
	uint32_t holder = 0;

	if (__builtin_expect(atomic_compare_exchange_strong_explicit(lock, &holder, tid,
								     memory_order_acquire,
								     memory_order_relaxed),
			     1))
		return true;
	if (holder == tid)
		return false;
	return shm_lock_wait(lock, tid);
}

/* Give back what shm_lock() answered true for; nothing to do for false. */
static inline void shm_unlock(_Atomic uint32_t *lock, bool taken)
{
	if (taken)
		atomic_store_explicit(lock, 0, memory_order_release);
}

/**
 * shm_commit() - publish a value unless a signal handler on this thread was faster
 *
 * Atomic against signal handlers of the calling thread, a release store for everybody else. Other threads
 * are kept out by the lock, so no bus lock is needed where the instruction set has such a form.
 *
 * Return: false when *@word is no longer @was; nothing was written.
 */
static inline bool shm_commit(_Atomic uint64_t *word, uint64_t was, uint64_t now)
{
#if defined(__x86_64__)
	bool done;

	__asm__ volatile("cmpxchgq %3, %1"
			 : "=@ccz"(done), "+m"(*word), "+a"(was)
			 : "r"(now)
			 : "memory");
	return done;
#else
	return atomic_compare_exchange_strong_explicit(word, &was, now, memory_order_release,
						       memory_order_relaxed);
#endif
}

#endif
