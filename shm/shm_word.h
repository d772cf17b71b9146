/* shm_word.h - words that change under a lock and are looked at without it
 *
 * A word that is only looked at by who holds its lock is plain. Where others look at it too, for a guess, a hint or a
 * state that they check again, its writes and their reads go through these, so that each is one access; the holder's
 * own reads may stay plain. Relaxed unless the name says otherwise; for an order that a fence gives, see the fence.
 * Any thread and signal handlers.
 */
#ifndef SHM_WORD_H
#define SHM_WORD_H

#include <stdint.h>

#define SHM_READ(word)         __atomic_load_n(&(word), __ATOMIC_RELAXED)
#define SHM_WRITE(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELAXED)

/* For a pointer, or a state, that leads to other words: what was written before it is seen after it. */
#define SHM_FOLLOW(word)         __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define SHM_PUBLISH(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)

/* For counts that several threads move. */
#define SHM_ADD(word, n) __atomic_add_fetch(&(word), (n), __ATOMIC_ACQ_REL)
#define SHM_SUB(word, n) __atomic_sub_fetch(&(word), (n), __ATOMIC_ACQ_REL)

/* @now less the low half of the word: compilers make two instructions of an atomic load and a subtraction. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define SHM_SINCE(now, word)                                              \
	({                                                                \
		uint32_t since_ = (now);                                  \
		__asm__("subl %1, %0" : "+r"(since_) : "m"(word) : "cc"); \
		since_;                                                   \
	})
#else
#define SHM_SINCE(now, word) ((uint32_t)(now) - (uint32_t)SHM_READ(word))
#endif

#endif
