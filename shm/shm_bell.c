/* shm_bell.c - going to sleep so that a peer notices */
#include "shm/shm_bell.h"

#include "shm/shm_chan.h"
#include "shm/shm_fd.h"
#include "shm/shm_lock.h"
#include "shm/shm_sys.h"
#include "shm/shm_word.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

/* A bell and its eventfd are never parted: peers keep the eventfd that they were sent with a number. What
 * closed wakers leave is given as a whole to the next one.
 */
static struct {
	_Atomic uint32_t lock;
	unsigned count;
	struct shm_waker waker[SHM_BELLS];
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

static bool spare_keep(const struct shm_waker *w, uint32_t tid)
{
	bool taken = shm_lock(&spare.lock, tid);
	bool kept = spare.count < SHM_BELLS;

	if (kept) {
		struct shm_waker *to = &spare.waker[spare.count++];

		*to = (struct shm_waker){ .efd = w->efd };
		memcpy(to->bell, w->bell, sizeof(to->bell));
	}
	shm_unlock(&spare.lock, taken);
	return kept;
}

void shm_bell_forked(void)
{
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
	if (w->efd >= 0 && has_bell(w) && spare_keep(w, tid)) {
		*w = (struct shm_waker){ .efd = -1 };
		return;
	}
	for (unsigned a = 0; a < SHM_ARENAS; a++) {
		if (!w->bell[a] || !shm_self.arena[a].head)
			continue;
		shm_peer_forget_bell(w->bell[a]);
		shm_arena_bell_free(&shm_self.arena[a], w->bell[a], tid);
	}
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

void shm_waker_sleep(struct shm_waker *w, uint32_t tid)
{
	bool taken = shm_lock(&w->lock, tid);

	SHM_WRITE(w->sleepers, w->sleepers + 1);
	if (w->sleepers == 1)
		waker_turn(w, 1);
	shm_unlock(&w->lock, taken);
	sys(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
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
