/* shm_bell.c - going to sleep so that a peer notices */
#include "shm/shm_bell.h"

#include "shm/shm_chan.h"
#include "shm/shm_fd.h"
#include "shm/shm_lock.h"
#include "shm/shm_sys.h"
#include "shm/shm_word.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

/* A bell and its eventfd are never parted: peers keep the eventfd that they were sent with a number, and a thread of
 * this process may be about to ring it. What closed wakers leave is given as a whole to the next one, so no eventfd
 * that has a bell is ever closed; there is room for one with each bell that there can be.
 */
static struct {
	_Atomic uint32_t lock;
	unsigned count;
	struct shm_waker waker[SHM_ARENAS * SHM_BELLS];
} spare;

static bool spare_take(struct shm_waker *w, uint32_t tid)
{
	bool taken = shm_lock(&spare.lock, tid);
	bool found = spare.count > 0;

	if (found)
		*w = spare.waker[--spare.count];
	shm_unlock(&spare.lock, taken);
	if (found)
		shm_waker_drain(w);
	return found;
}

static void spare_keep(const struct shm_waker *w, uint32_t tid)
{
	bool taken = shm_lock(&spare.lock, tid);
	struct shm_waker *to = &spare.waker[spare.count++];

	*to = (struct shm_waker){ .efd = w->efd };
	memcpy(to->bell, w->bell, sizeof(to->bell));
	shm_unlock(&spare.lock, taken);
}

/*
 * A process that sleeps often is wary: for each arena it holds pulse.asleep up by one, so that every sender takes the
 * longer way, with a fence of its own, and a sleep needs no membarrier. The one that began it has let every processor
 * see the count above zero, and it does not come down to zero while somebody is wary or asleep.
 */
enum wary { WARY_NO, WARY_BEGINS, WARY };

enum {
	WARY_OFTEN_NS =
		100000, /* two sleeps so close: a membarrier each would cost more than the fences */
	WARY_SELDOM_NS = 2000000, /* and so far apart: not any more */
};

static _Atomic int wary[SHM_ARENAS];
static _Atomic uint64_t last_sleep; /* ns */
static _Atomic bool refused;        /* there is no membarrier any more: wary for good */

void shm_bell_forked(void)
{
	/* what the parent holds up it may let go: not ours to rely on */
	for (unsigned a = 0; a < SHM_ARENAS; a++)
		atomic_store(&wary[a], WARY_NO);
	atomic_store(&spare.lock, 0);
	while (spare.count)
		shm_fd_close(spare.waker[--spare.count].efd);
}

static bool has_bell(const struct shm_waker *w)
{
	for (unsigned a = 0; a < SHM_ARENAS; a++) {
		if (w->bell[a])
			return true;
	}
	return false;
}

int shm_waker_open(struct shm_waker *w)
{
	int fd;

	if (spare_take(w, (uint32_t)sys(SYS_gettid)))
		return 0;
	fd = shm_fd_hide((int)sys(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));

	*w = (struct shm_waker){ .efd = fd < 0 ? -1 : fd };
	return fd < 0 ? fd : 0;
}

void shm_waker_close(struct shm_waker *w, uint32_t tid)
{
	if (w->sleepers) { /* its thread was cancelled in its sleep */
		w->sleepers = 1;
		shm_waker_wake(w, tid);
	}
	if (w->efd >= 0 && has_bell(w))
		spare_keep(w, tid);
	else
		shm_fd_close(w->efd);
	*w = (struct shm_waker){ .efd = -1 };
}

unsigned shm_waker_bell(struct shm_waker *w, unsigned arena, uint32_t tid)
{
	if (!w->bell[arena]) {
		unsigned bell = shm_arena_bell_alloc(&shm_self.arena[arena], tid);
		bool taken = shm_lock(&w->lock, tid);

		/* A bell that comes into being between two sleeps of other threads joins at the next one. */
		w->bell[arena] = (uint8_t)bell;
		if (bell) {
			_Atomic uint32_t *seq = &shm_self.arena[arena].head->bell[bell].seq;

			/* left odd by an owner that died asleep */
			if (atomic_load(seq) & 1) {
				atomic_fetch_add(seq, 1);
				atomic_fetch_sub(&shm_self.arena[arena].head->pulse.asleep, 1);
			}
			if (w->sleepers) {
				atomic_fetch_add(seq, 1);
				atomic_fetch_add(&shm_self.arena[arena].head->pulse.asleep, 1);
			}
		}
		shm_unlock(&w->lock, taken);
	}
	return w->bell[arena];
}

/* Bells from even to odd or back; seq and the count of sleepers move together. */
static void waker_turn(struct shm_waker *w, uint32_t count)
{
	for (unsigned a = 0; a < SHM_ARENAS; a++) {
		struct shm_head *head = shm_self.arena[a].head;

		if (!w->bell[a] || !head)
			continue;
		atomic_fetch_add(&head->bell[w->bell[a]].seq, 1);
		atomic_fetch_add(&head->pulse.asleep, count);
	}
}

/* Others still sleep: a new, odd seq lets the bell ring once more. */
static void waker_again(struct shm_waker *w)
{
	for (unsigned a = 0; a < SHM_ARENAS; a++) {
		if (w->bell[a] && shm_self.arena[a].head)
			atomic_fetch_add(&shm_self.arena[a].head->bell[w->bell[a]].seq, 2);
	}
}

/* Return: whether senders to each of the waker's arenas see it asleep without a membarrier. */
static bool wary_enough(const struct shm_waker *w)
{
	for (unsigned a = 0; a < SHM_ARENAS; a++) {
		if (w->bell[a] && shm_self.arena[a].head && atomic_load(&wary[a]) != WARY)
			return false;
	}
	return true;
}

static void wary_end(void)
{
	for (unsigned a = 0; a < SHM_ARENAS; a++) {
		int was = WARY;

		if (shm_self.arena[a].head &&
		    atomic_compare_exchange_strong(&wary[a], &was, WARY_NO))
			atomic_fetch_sub(&shm_self.arena[a].head->pulse.asleep, 1);
	}
}

/* A membarrier; with it the waker's arenas become wary. */
static void wary_begin(const struct shm_waker *w)
{
	bool begins[SHM_ARENAS] = { 0 };

	for (unsigned a = 0; a < SHM_ARENAS; a++) {
		int was = WARY_NO;

		begins[a] = w->bell[a] && shm_self.arena[a].head &&
			    atomic_compare_exchange_strong(&wary[a], &was, WARY_BEGINS);
		if (begins[a])
			atomic_fetch_add(&shm_self.arena[a].head->pulse.asleep, 1);
	}
	if (!shm_barrier())
		atomic_store(&refused, true);
	for (unsigned a = 0; a < SHM_ARENAS; a++) {
		if (begins[a])
			atomic_store(&wary[a], WARY);
	}
}

void shm_waker_sleep(struct shm_waker *w, uint32_t tid, uint64_t now)
{
	uint64_t since = now - atomic_exchange(&last_sleep, now);
	bool taken = shm_lock(&w->lock, tid);

	SHM_WRITE(w->sleepers, w->sleepers + 1);
	if (w->sleepers == 1)
		waker_turn(w, 1);
	shm_unlock(&w->lock, taken);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with shm_peer_ring() */
	if (!wary_enough(w)) {
		if (since < WARY_OFTEN_NS || atomic_load(&refused))
			wary_begin(w);
		else if (!shm_barrier())
			atomic_store(&refused, true);
	} else if (since > WARY_SELDOM_NS && !atomic_load(&refused)) {
		wary_end();
	}
}

void shm_waker_wake(struct shm_waker *w, uint32_t tid)
{
	bool taken = shm_lock(&w->lock, tid);

	/* a set that came to life while its threads slept without it was never put to sleep */
	if (w->sleepers) {
		SHM_WRITE(w->sleepers, w->sleepers - 1);
		if (w->sleepers)
			waker_again(w);
		else
			waker_turn(w, UINT32_MAX);
	}
	shm_unlock(&w->lock, taken);
}

void shm_waker_drain(struct shm_waker *w)
{
	uint64_t count;
	struct iovec iov = { &count, sizeof(count) };

	/* peers hold the same description: its O_NONBLOCK is not ours alone */
	sys(SYS_preadv2, w->efd, &iov, 1, -1, -1, RWF_NOWAIT);
}
