/* hold.c - counts of calls that may never return */
#include "preload/sock/hold.h"

#include "preload/sock/io.h"
#include "preload/sock/span.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Return: false when there is no memory. The new place is no holder of anything yet: its word is NULL. */
static bool hold_grow(struct thread *t)
{
	unsigned max = t->hold_max ? t->hold_max * 4 : THREAD_HOLDS;
	struct thread_hold *more;
	long addr;

	if (!t->hold_max) {
		t->hold = t->hold_first;
		t->hold_max = max;
		return true;
	}
	addr = sys(SYS_mmap, 0, max * sizeof(*more), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (addr < 0 && addr > -4096)
		return false;
	more = (struct thread_hold *)addr;
	memcpy(more, t->hold, t->holds * sizeof(*more));
	if (t->hold != t->hold_first)
		sys(SYS_munmap, t->hold, t->hold_max * sizeof(*more));
	t->hold = more;
	t->hold_max = max;
	return true;
}

bool hold_more(struct thread *t)
{
	uint64_t mask;
	bool room;

	mask = thread_signals_block();
	room = hold_grow(t);
	thread_signals_restore(mask);
	if (room)
		thread_ends_here();
	return room;
}

void hold_put_quiet(struct thread *t, struct sock *s, _Atomic uint32_t *word, const void *frame)
{
	uint64_t mask = thread_signals_block();

	hold_put(t, s, word, frame);
	thread_signals_restore(mask);
}

static void hold_drop(struct thread *t)
{
	struct thread_hold *h = &t->hold[t->holds - 1];
	const bool quiet = thread_jumps;
	uint64_t mask = quiet ? thread_signals_block() : 0;
	_Atomic uint32_t *word = h->word;
	struct sock *s = h->sock;

	h->word = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	t->holds--;
	if (word)
		sock_leave(s, word);
	if (quiet)
		thread_signals_restore(mask);
}

/* A call through the kernel that never returns may have sent bytes. */
static void doubt(const struct thread_hold *h)
{
	struct shm_conn *c;

	if (!h->word || h->word != &h->sock->tx_busy)
		return;
	c = sock_conn(h->sock); /* none: a difference is found before one comes (diag_guard()) */
	if (c)
		SHM_WRITE(c->tx.doubt, true);
}

void hold_end_all(unsigned mark)
{
	struct thread *t = &thread_self;
	int saved = errno;

	while (t->holds > mark) {
		if (t->holds > mark + 1) /* left by a jump that was not seen */
			doubt(&t->hold[t->holds - 1]);
		hold_drop(t);
	}
	errno = saved;
}

bool hold_attaching(struct sock *s, int fd, const struct stats_row *row)
{
	unsigned mark = hold_mark();
	bool attached;

	if (!hold_begin(s, &s->users))
		return false;
	while (!sock_conn(s) && sock_of(fd) == s && atomic_load(&row->flags) & STATS_ATTACHED)
		sys(SYS_sched_yield);
	attached = sock_conn(s) && sock_of(fd) == s;
	hold_end(mark);
	return attached;
}

/*
 * Takes the thread out of the seats of @s. What it had published and not told, the peer is told. Unless it is @held, it is
 * the seat that keeps the sock from its end.
 */
static void seats_leave(struct sock *s, bool held)
{
	struct shm_conn *c = sock_conn(s);
	bool tx, rx;

	if (!c)
		return;
	tx = shm_seat_left(&c->tx.seat, thread_tid());
	rx = shm_seat_left(&c->rx.seat, thread_tid());
	if (tx)
		shm_ring_unwrite(c);
	if (rx)
		span_recount(s);
	if (tx || rx || held)
		span_ring_peer(s);
	shm_seat_give(&c->tx.seat, tx);
	shm_seat_give(&c->rx.seat, rx);
}

static void seat_cut(struct thread_seat *at, const void *sp)
{
	struct sock *s = at->sock;

	if (!s || at->sp >= sp)
		return;
	at->sock = NULL;
	seats_leave(s, false);
}

/* Of a call of the thread's that never returns; one further out on the same connection may sit in its seats itself. */
static void abandon(struct thread *t)
{
	struct sock *s = t->hold[t->holds - 1].sock;

	doubt(&t->hold[t->holds - 1]);
	for (unsigned i = 0; i + 1 < t->holds; i++) {
		if (t->hold[i].sock == s)
			return;
	}
	io_abandoned(s);
	seats_leave(s, true);
}

static void cut_one(struct sock *s, void *arg)
{
	(void)arg;
	if (sock_conn(s) && shm_seat_left(&sock_conn(s)->tx.seat, thread_tid()))
		seats_leave(s, true);
}

void hold_cut(const void *sp, bool handler)
{
	struct thread *t = &thread_self;

	if (handler && t->tx.sp && t->tx.sp < sp) { /* the short way of writing names nobody */
		t->tx.sp = NULL;
		sock_each(cut_one, NULL);
	}
	seat_cut(&t->tx, sp);
	seat_cut(&t->rx, sp);
	while (t->holds && t->hold[t->holds - 1].frame < sp) {
		abandon(t);
		hold_drop(t);
	}
}

void hold_thread_end(void)
{
	struct thread *t = &thread_self;

	hold_cut((const void *)UINTPTR_MAX, false);
	if (t->hold && t->hold != t->hold_first)
		sys(SYS_munmap, t->hold, t->hold_max * sizeof(*t->hold));
	t->hold = NULL;
	t->hold_max = 0;
}
