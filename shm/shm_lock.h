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

#define SHM_SEAT_OWNED  (UINT32_C(1) << 31)
#define SHM_SEAT_TAKING (UINT32_C(1) << 30)
#define SHM_SEAT_SHARED (UINT32_C(1) << 29)

/*
 * Every processor's earlier stores are seen before its later loads: membarrier(2), by which this process pays for the
 * fences of others. Return: false: the program has refused it (seccomp(2)), and it took a millisecond.
 */
bool shm_barrier(void);

/* What a thread without an id yet has for an id; no seat is ever its. */
#define SHM_SEAT_NOBODY (SHM_SEAT_OWNED | SHM_SEAT_TAKING)

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

/*
 * Whether *@word is @is: a relaxed load and a compare. Compilers do not make one instruction of an atomic load and
 * a compare, and the short ways of reading and writing are little else.
 */
static inline bool shm_is32(const _Atomic uint32_t *word, uint32_t is)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
	bool same;

	__asm__ volatile("cmpl %2, %1" : "=@cce"(same) : "m"(*word), "re"(is));
	return same;
#else
	return atomic_load_explicit(word, memory_order_relaxed) == is;
#endif
}

static inline bool shm_is64(const _Atomic uint64_t *word, uint64_t is)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
	bool same;

	__asm__ volatile("cmpq %2, %1" : "=@cce"(same) : "m"(*word), "r"(is));
	return same;
#else
	return atomic_load_explicit(word, memory_order_relaxed) == is;
#endif
}

/*
 * A lock with a usual holder. The first thread that uses it often owns it: it enters and leaves by plain stores,
 * where a bus lock would wait for every store before it, among them the ones that another core's cache
 * has to give up a line for. Whoever else wants it takes the ownership away for good: it says so in the
 * word, lets every processor pass a barrier (membarrier), and waits until the owner is outside.
 * From then on it is an ordinary lock.
 *
 * word is 0 (free) | tid (held) | OWNED + tid | TAKING + tid (held once the owner is outside) | SHARED (free)
 * | SHARED + tid (held). All zeroes is a free seat.
 */
struct shm_seat {
	union {
		struct {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
			_Atomic uint32_t word;
			_Atomic uint32_t inside; /* OWNED + tid of the owner while it is inside */
#else
			_Atomic uint32_t inside, word;
#endif
		};
		_Atomic uint64_t both; /* the word, when nobody is inside */
	};
};

/**
 * shm_seat_enter() - go in as the owner
 * @me: SHM_SEAT_OWNED + tid of the calling thread, or SHM_SEAT_NOBODY
 *
 * Return: false when the thread does not own the seat, or is inside already.
 */
static inline bool shm_seat_enter(struct shm_seat *l, uint32_t me)
{
	if (__builtin_expect(!shm_is64(&l->both, me), 0))
		return false;
	atomic_store_explicit(&l->inside, me, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst); /* the processor's: the taker's membarrier */
	if (__builtin_expect(shm_is32(&l->word, me), 1)) {
		atomic_signal_fence(memory_order_seq_cst);
		return true;
	}
	atomic_store_explicit(&l->inside, 0, memory_order_release);
	return false;
}

/* After shm_seat_enter() answered true. */
static inline void shm_seat_leave(struct shm_seat *l)
{
	atomic_store_explicit(&l->inside, 0, memory_order_release);
}

/* As shm_seat_enter(); a seat that nobody owns yet becomes ours, a shared one is taken if it is free. */
bool shm_seat_try(struct shm_seat *l, uint32_t me);

/* As shm_lock(): waits for the holder, robs the dead; false when a handler runs on top of the holder. */
bool shm_seat_take(struct shm_seat *l, uint32_t tid);

/*
 * After a jump out of a signal handler: whether it has left the thread inside, to be given back by shm_seat_give(). A seat
 * that it was about to take is taken.
 */
bool shm_seat_left(struct shm_seat *l, uint32_t tid);

/* Give back what shm_seat_try() or shm_seat_take() answered true for; nothing to do for false. */
void shm_seat_give(struct shm_seat *l, bool taken);

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
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
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
