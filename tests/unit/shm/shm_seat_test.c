/* shm_seat_test.c - owning, nesting, taking away: threads, handlers, processes, the dead */
#include "shm/shm_lock.h"

#include "shm/shm_sys.h"

#include <criterion/criterion.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEATS = 300, TURNS = 200 };

/* One after the other: an ownership can be taken away only once. */
struct row {
	struct shm_seat seat;
	uint64_t count; /* guarded by the seat */
	_Atomic uint32_t ready;
};

static struct row *rows_map(void)
{
	struct row *r = mmap(NULL, SEATS * sizeof(*r), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(r, MAP_FAILED);
	/* as every process with an arena has done; inherited by fork */
	cr_assert_eq(sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0), 0);
	return r;
}

static uint32_t tid(void)
{
	return (uint32_t)gettid();
}

static uint32_t me(void)
{
	return SHM_SEAT_OWNED | tid();
}

Test(shm_seat, shm_seat_try__the_first_one_owns_it)
{
	struct shm_seat seat = { 0 };

	cr_expect_not(shm_seat_enter(&seat, me()), "nobody owns it yet");
	cr_expect_not(shm_seat_try(&seat, SHM_SEAT_NOBODY));
	cr_assert(shm_seat_try(&seat, me()));
	shm_seat_give(&seat, true);
	cr_assert(shm_seat_enter(&seat, me()), "owned, and nobody inside");
	shm_seat_leave(&seat);
	cr_expect_eq(seat.both, me());
}

Test(shm_seat, shm_seat_take__does_not_make_an_owner)
{
	struct shm_seat seat = { 0 };
	bool taken = shm_seat_take(&seat, tid());

	cr_assert(taken);
	cr_expect_eq(seat.word, tid());
	cr_expect_not(shm_seat_try(&seat, me()));
	cr_expect_not(shm_seat_take(&seat, tid()), "nested");
	shm_seat_give(&seat, taken);
	cr_expect_eq(seat.both, 0);
}

Test(shm_seat, shm_seat_take__the_owner_stays_the_owner)
{
	struct shm_seat seat = { 0 };

	cr_assert(shm_seat_try(&seat, me()));
	cr_expect_not(shm_seat_take(&seat, tid()), "nested in the short way");
	shm_seat_give(&seat, true);
	cr_assert(shm_seat_take(&seat, tid()));
	cr_expect_not(shm_seat_enter(&seat, me()), "a handler on top of it");
	cr_expect_not(shm_seat_take(&seat, tid()), "the same, the long way");
	shm_seat_give(&seat, true);
	cr_expect_eq(seat.both, me());
}

static void *takes_it_away(void *arg)
{
	struct row *r = arg;
	bool taken = shm_seat_take(&r->seat, tid());

	r->count++;
	shm_seat_give(&r->seat, taken);
	return NULL;
}

Test(shm_seat, shm_seat_take__by_another_thread_ends_the_ownership, .timeout = 120)
{
	struct row *r = rows_map();
	pthread_t t;

	cr_assert(shm_seat_try(&r->seat, me()));
	shm_seat_give(&r->seat, true);
	pthread_create(&t, NULL, takes_it_away, r);
	pthread_join(t, NULL);
	cr_expect_eq(r->seat.both, SHM_SEAT_SHARED);
	cr_expect_not(shm_seat_enter(&r->seat, me()));
	cr_assert(shm_seat_try(&r->seat, me()), "free for whoever comes first");
	cr_expect_eq(r->seat.word, SHM_SEAT_SHARED | tid());
	shm_seat_give(&r->seat, true);
	cr_expect_eq(r->seat.both, SHM_SEAT_SHARED);
}

Test(shm_seat, shm_seat_take__waits_until_the_owner_is_outside, .timeout = 120)
{
	struct row *r = rows_map();
	pthread_t t;

	cr_assert(shm_seat_try(&r->seat, me()));
	pthread_create(&t, NULL, takes_it_away, r);
	while (!(r->seat.word & SHM_SEAT_TAKING))
		sched_yield();
	usleep(20000);
	cr_expect_eq(r->count, 0, "it went in beside the owner");
	cr_expect_not(shm_seat_take(&r->seat, tid()), "a handler on top of the owner");
	r->count = 10;
	shm_seat_give(&r->seat, true);
	pthread_join(t, NULL);
	cr_expect_eq(r->count, 11);
	cr_expect_eq(r->seat.both, SHM_SEAT_SHARED);
}

Test(shm_seat, shm_seat_take__an_owner_that_died_inside_is_no_more, .timeout = 120)
{
	struct row *r = rows_map();
	pid_t pid = fork();

	if (!pid) {
		shm_seat_try(&r->seat, me());
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	cr_assert_eq(r->seat.inside, SHM_SEAT_OWNED | (uint32_t)pid);
	cr_expect(shm_seat_take(&r->seat, tid()));
	cr_expect_eq(r->seat.both, SHM_SEAT_SHARED | tid());
}

Test(shm_seat, shm_seat_take__one_that_died_while_it_took_is_robbed, .timeout = 120)
{
	struct row *r = rows_map();
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	r->seat.word = SHM_SEAT_TAKING | (uint32_t)pid;
	cr_expect(shm_seat_take(&r->seat, tid()));
	shm_seat_give(&r->seat, true);
	cr_expect_eq(r->seat.both, SHM_SEAT_SHARED);
	r->seat.word = SHM_SEAT_SHARED | (uint32_t)pid;
	cr_expect(shm_seat_take(&r->seat, tid()));
	shm_seat_give(&r->seat, true);
	cr_expect_eq(r->seat.both, SHM_SEAT_SHARED);
}

/* The usual user of each seat in turn; somebody else takes it away in between. */
static void *uses(void *arg)
{
	struct row *r = arg;

	for (unsigned i = 0; i < SEATS; i++) {
		for (unsigned k = 0; k < TURNS; k++) {
			bool quick = shm_seat_enter(&r[i].seat, me());

			while (!quick && !shm_seat_try(&r[i].seat, me()))
				sched_yield();
			atomic_store(&r[i].ready, 1);
			r[i].count++;
			if (quick)
				shm_seat_leave(&r[i].seat);
			else
				shm_seat_give(&r[i].seat, true);
		}
	}
	return NULL;
}

static void takes_all(struct row *r)
{
	for (unsigned i = 0; i < SEATS; i++) {
		while (!atomic_load(&r[i].ready))
			sched_yield();
		for (unsigned k = 0; k < TURNS; k++) {
			bool taken = shm_seat_take(&r[i].seat, tid());

			r[i].count++;
			shm_seat_give(&r[i].seat, taken);
		}
	}
}

Test(shm_seat, shm_seat_take__owner_and_others_exclude_each_other, .timeout = 300)
{
	struct row *r = rows_map();
	pid_t pid = fork();
	pthread_t t;

	if (!pid) {
		takes_all(r);
		_exit(0);
	}
	pthread_create(&t, NULL, uses, r);
	takes_all(r);
	pthread_join(t, NULL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	for (unsigned i = 0; i < SEATS; i++) {
		cr_assert_eq(r[i].count, 3 * TURNS, "seat %u", i);
		cr_assert_eq(r[i].seat.both, SHM_SEAT_SHARED);
	}
}
