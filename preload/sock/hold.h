/* hold.h - what a thread is counted into while a call of it may sleep
 *
 * A call that may sleep counts its thread into the sock (users, tx_busy or rx_busy), so that nobody attaches or
 * ends it meanwhile. It may never return: a signal handler jumps out of it, or the thread is cancelled. So each
 * count is also on a stack of the thread's own, with a place in the call's stack frames; what was left is given
 * back by the jump itself (call_jump.c), by a call that returns further out, or by the thread's end. Nor may one that
 * only moves bytes: then the jump takes the thread out of the seat that it was in (thread_sits()). What it was writing
 * and had not published counts as not written.
 *
 * Called by the thread itself, signal handlers included.
 */
#ifndef SOCK_HOLD_H
#define SOCK_HOLD_H

#include "preload/sock/sock.h"
#include "preload/sock/thread.h"

/* Where the thread's next count will stand: to be handed to hold_end(). */
static inline unsigned hold_mark(void)
{
	return thread_self.holds;
}

/* Room for one more count. Return: false when there is no memory. */
bool hold_more(struct thread *t);

/* hold_end() of any number. */
void hold_end_all(unsigned mark);

static inline void hold_put(struct thread *t, struct sock *s, _Atomic uint32_t *word,
			    const void *frame)
{
	struct thread_hold *h = &t->hold[t->holds++];

	/* a handler may come between any two of these, and call: the word is last */
	atomic_signal_fence(memory_order_seq_cst);
	h->sock = s;
	h->frame = frame;
	atomic_fetch_add(word, 1); /* pairs with attach(), tx_claim() and sock_end_here() */
	h->word = word;
}

/* The same, where a handler may jump away: it waits. */
void hold_put_quiet(struct thread *t, struct sock *s, _Atomic uint32_t *word, const void *frame);

/**
 * hold_begin() - count the thread into @word of @s
 *
 * Return: false when there is no memory: nothing was done, and hold_end() will do nothing.
 */
static inline bool hold_begin(struct sock *s, _Atomic uint32_t *word)
{
	struct thread *t = &thread_self;

	if (unlikely(t->holds >= t->hold_max && !hold_more(t)))
		return false;
	if (unlikely(thread_jumps))
		hold_put_quiet(t, s, word, __builtin_frame_address(0));
	else
		hold_put(t, s, word, __builtin_frame_address(0));
	return true;
}

/* Give back everything from @mark on. Keeps errno. */
static inline void hold_end(unsigned mark)
{
	if (thread_self.holds > mark)
		hold_end_all(mark);
}

/**
 * hold_attaching() - the connection is being attached, by another thread: wait how that ends
 * @fd:  by which the thread came
 * @row: of @s, taken while the thread was counted in
 *
 * Not counted into rx_busy any more, or else it would be in the way. Where two threads meet here, the other one may
 * still have seen this one's count and leave the connection as it was.
 *
 * Return: whether @s is attached; false: look again.
 */
bool hold_attaching(struct sock *s, int fd, const struct stats_row *row);

/* Whether hold_cut() has something to look at. */
static inline bool hold_may_cut(void)
{
	return thread_self.holds || thread_self.tx.sp || thread_self.rx.sock;
}

/*
 * The stack is about to be cut off at @sp: calls that lie below it never return. @handler: perhaps by a signal handler, for
 * the jump restores a signal mask.
 */
void hold_cut(const void *sp, bool handler);

/* The thread ends. */
void hold_thread_end(void);

#endif
