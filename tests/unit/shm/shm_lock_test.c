/* shm_lock_test.c - nesting in signal handlers, dead holders, many threads and processes */
#include "shm/shm_lock.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct shared {
	_Atomic uint32_t lock;
	uint64_t count; /* guarded by lock */
	_Atomic uint32_t ready;
};

static struct shared *shared_map(void)
{
	struct shared *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
				0);

	cr_assert_neq(s, MAP_FAILED);
	return s;
}

static uint32_t tid(void)
{
	return (uint32_t)gettid();
}

Test(shm_lock, shm_lock__taken_and_given_back)
{
	_Atomic uint32_t lock = 0;
	bool taken = shm_lock(&lock, tid());

	cr_expect(taken);
	cr_expect_eq(lock, tid());
	shm_unlock(&lock, taken);
	cr_expect_eq(lock, 0);
}

Test(shm_lock, shm_lock__nested_goes_in_and_leaves_it_to_the_outer_one)
{
	_Atomic uint32_t lock = 0;
	bool outer = shm_lock(&lock, tid());
	bool inner = shm_lock(&lock, tid());

	cr_expect(outer);
	cr_expect_not(inner);
	shm_unlock(&lock, inner);
	cr_expect_eq(lock, tid(), "the inner one must not give back what it did not take");
	shm_unlock(&lock, outer);
	cr_expect_eq(lock, 0);
}

static struct shared *handled;

static void handler(int sig)
{
	bool taken = shm_lock(&handled->lock, tid());

	(void)sig;
	handled->count += 1;
	shm_unlock(&handled->lock, taken);
}

Test(shm_lock, shm_lock__a_handler_on_the_holder_does_not_deadlock, .timeout = 120)
{
	bool taken;

	handled = shared_map();
	signal(SIGUSR1, handler);
	taken = shm_lock(&handled->lock, tid());
	raise(SIGUSR1);
	cr_expect_eq(handled->count, 1);
	cr_expect_eq(handled->lock, tid());
	shm_unlock(&handled->lock, taken);
}

Test(shm_lock, shm_lock__a_dead_holder_is_robbed, .timeout = 120)
{
	struct shared *s = shared_map();
	pid_t pid = fork();

	if (!pid) {
		shm_lock(&s->lock, tid());
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	cr_assert_eq(s->lock, (uint32_t)pid);
	cr_expect(shm_lock(&s->lock, tid()));
	cr_expect_eq(s->lock, tid());
}

Test(shm_lock, shm_lock__a_living_holder_is_waited_for, .timeout = 60)
{
	struct shared *s = shared_map();
	pid_t pid = fork();
	int st;

	if (!pid) {
		bool taken = shm_lock(&s->lock, tid());

		s->ready = 1;
		usleep(50000);
		s->count = 1;
		shm_unlock(&s->lock, taken);
		_exit(0);
	}
	while (!s->ready)
		usleep(100);
	cr_expect(shm_lock(&s->lock, tid()));
	cr_expect_eq(s->count, 1, "the holder was robbed while it lived");
	cr_assert_eq(waitpid(pid, &st, 0), pid);
}

static void *adds(void *arg)
{
	struct shared *s = arg;

	for (unsigned i = 0; i < 20000; i++) {
		bool taken = shm_lock(&s->lock, tid());

		s->count++;
		shm_unlock(&s->lock, taken);
	}
	return NULL;
}

Test(shm_lock, shm_lock__threads_of_two_processes_exclude_each_other, .timeout = 120)
{
	struct shared *s = shared_map();
	pthread_t t[2];
	pid_t pid = fork();
	int st = 0;

	for (unsigned i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, adds, s);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	if (!pid)
		_exit(0);
	cr_assert_eq(waitpid(pid, &st, 0), pid);
	cr_expect_eq(s->count, 80000);
}

Test(shm_lock, shm_commit__only_from_the_value_that_was_read)
{
	_Atomic uint64_t word = 10;

	cr_expect(shm_commit(&word, 10, 15));
	cr_expect_eq(word, 15);
	cr_expect_not(shm_commit(&word, 10, 20));
	cr_expect_eq(word, 15);
	cr_expect(shm_commit(&word, 15, UINT64_MAX));
	cr_expect(shm_commit(&word, UINT64_MAX, 0));
}
