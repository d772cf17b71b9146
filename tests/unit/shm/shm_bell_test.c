/* shm_bell_test.c - sleeping and waking, alone and in company */
#include "shm/shm_bell.h"

#include "shm/shm_chan.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

static uint32_t tid(void)
{
	return (uint32_t)gettid();
}

static void setup(void)
{
	cr_assert_eq(shm_self_open(), 0);
}

static uint32_t seq_of(unsigned bell)
{
	return atomic_load(&shm_self.arena[0].head->bell[bell].seq);
}

/* Nanoseconds. Sleeps are seldom. */
static uint64_t now(void)
{
	static uint64_t t;

	return t += UINT64_C(1000000000);
}

static uint32_t asleep(void)
{
	return atomic_load(&shm_self.arena[0].head->pulse.asleep);
}

Test(shm_bell, shm_waker_sleep__first_in_and_last_out_turn_the_bell, .init = setup)
{
	struct shm_waker w;
	unsigned bell;

	cr_assert_eq(shm_waker_open(&w), 0);
	bell = shm_waker_bell(&w, 0, tid());
	cr_assert_neq(bell, 0);
	cr_expect_eq(shm_waker_bell(&w, 0, tid()), bell, "one bell per arena");
	shm_waker_sleep(&w, tid(), now());
	cr_expect(seq_of(bell) % 2 == 1 && asleep() == 1);
	shm_waker_sleep(&w, tid(), now());
	cr_expect(seq_of(bell) % 2 == 1 && asleep() == 1);
	shm_waker_wake(&w, tid());
	cr_expect(seq_of(bell) % 2 == 1 && asleep() == 1);
	shm_waker_wake(&w, tid());
	cr_expect(seq_of(bell) % 2 == 0 && asleep() == 0);
	shm_waker_close(&w, tid());
	/* peers know the number by its eventfd: the next waker gets both */
	cr_assert_eq(shm_waker_open(&w), 0);
	cr_expect_eq(shm_waker_bell(&w, 0, tid()), bell, "the bell was not given on");
	shm_waker_close(&w, tid());
}

Test(shm_bell, shm_waker_bell__made_while_asleep_is_asleep_at_once, .init = setup)
{
	struct shm_waker w;
	unsigned bell;

	cr_assert_eq(shm_waker_open(&w), 0);
	shm_waker_sleep(&w, tid(), now());
	cr_expect_eq(asleep(), 0);
	bell = shm_waker_bell(&w, 0, tid());
	cr_expect(seq_of(bell) % 2 == 1 && asleep() == 1);
	shm_waker_wake(&w, tid());
	cr_expect(seq_of(bell) % 2 == 0 && asleep() == 0);
}

Test(shm_bell, shm_waker_bell__one_left_asleep_by_a_dead_owner_is_woken, .init = setup)
{
	struct shm_waker dead, w;
	unsigned bell;

	cr_assert_eq(shm_waker_open(&dead), 0);
	bell = shm_waker_bell(&dead, 0, tid());
	shm_waker_sleep(&dead, tid(), now());
	shm_waker_close(&dead, tid()); /* as a thread does that is cancelled in its sleep */
	cr_assert_eq(shm_waker_open(&w), 0);
	cr_assert_eq(shm_waker_bell(&w, 0, tid()), bell);
	cr_expect(seq_of(bell) % 2 == 0 && asleep() == 0);
}

/* Who sleeps often lets its senders fence: for them it is asleep all the time. */
Test(shm_bell, shm_waker_sleep__often_keeps_senders_wary_seldom_does_not, .init = setup)
{
	struct shm_waker w;
	uint64_t t = now();
	unsigned bell;

	cr_assert_eq(shm_waker_open(&w), 0);
	bell = shm_waker_bell(&w, 0, tid());
	for (unsigned i = 0; i < 3; i++) {
		shm_waker_sleep(&w, tid(), t + i * 1000);
		cr_expect(seq_of(bell) % 2 == 1 && asleep() == (i ? 2 : 1));
		shm_waker_wake(&w, tid());
		cr_expect(seq_of(bell) % 2 == 0 && asleep() == (i ? 1 : 0));
	}
	shm_bell_forked(); /* a child relies on nothing of its parent's */
	shm_waker_sleep(&w, tid(), t + 4000);
	shm_waker_wake(&w, tid());
	cr_expect_eq(asleep(), 2);
	shm_waker_sleep(&w, tid(), now());
	shm_waker_wake(&w, tid());
	cr_expect_eq(asleep(), 1, "the parent's");
}

/* A thread of this process may be about to ring one that another has just closed. */
Test(shm_bell, shm_waker_close__an_eventfd_with_a_bell_stays_what_it_is, .init = setup)
{
	enum { MANY = 400 }; /* more than one arena has bells for */
	struct shm_waker w[MANY];
	int fd[MANY], gone = 0;

	cr_assert_eq(shm_arena_make(&shm_self.arena[1]), 0);
	for (unsigned i = 0; i < MANY; i++) {
		cr_assert_eq(shm_waker_open(&w[i]), 0);
		cr_assert_neq(shm_waker_bell(&w[i], i % 2, tid()), 0);
		fd[i] = w[i].efd;
	}
	for (unsigned i = 0; i < MANY; i++)
		shm_waker_close(&w[i], tid());
	for (unsigned i = 0; i < MANY; i++)
		gone += fcntl(fd[i], F_GETFD) < 0;
	cr_expect_eq(gone, 0, "%d were closed", gone);
}

Test(shm_bell, shm_waker_bell__there_may_be_no_more, .init = setup)
{
	struct shm_waker w;

	while (shm_arena_bell_alloc(&shm_self.arena[0], tid()))
		;
	cr_assert_eq(shm_waker_open(&w), 0);
	cr_expect_eq(shm_waker_bell(&w, 0, tid()), 0);
	shm_waker_sleep(&w, tid(), now());
	shm_waker_wake(&w, tid());
	cr_expect_eq(asleep(), 0);
}

/* The flag belongs to the description, and peers hold it too: they may take it away. */
Test(shm_bell, shm_waker_drain__never_waits_whatever_a_peer_did_to_the_eventfd, .init = setup,
     .timeout = 120)
{
	struct shm_waker w;
	eventfd_t v = 0;

	cr_assert_eq(shm_waker_open(&w), 0);
	cr_assert_eq(fcntl(w.efd, F_SETFL, 0), 0);
	cr_assert_eq(eventfd_write(w.efd, 5), 0);
	shm_waker_drain(&w);
	shm_waker_drain(&w);
	fcntl(w.efd, F_SETFL, O_NONBLOCK);
	cr_expect_eq(eventfd_read(w.efd, &v), -1, "it was not drained");
}
