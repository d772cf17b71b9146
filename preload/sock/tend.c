/* tend.c - a thread that tends the stacks while the program's own threads do not */
#include "preload/sock/tend.h"

#include "preload/sock/direct.h"
#include "preload/sock/net.h"
#include "preload/sock/thread.h"
#include "shm/shm_fd.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

enum {
	TEND_LOOK_MS =
		20, /* nobody has driven for so long: it steps in. Delayed acknowledgements take longer */
	TEND_STACK_BYTES = 256 << 10,
};

_Atomic unsigned tend_asleep;
static int bell = -1;
static bool started;

static void bell_drain(void)
{
	uint64_t rung;

	atomic_store(&tend_asleep, 0);
	sys(SYS_read, bell, &rung, sizeof(rung));
}

/* Instances on whose devices no thread of the program sleeps. */
static unsigned awake(void)
{
	unsigned insts = atomic_load(&net_opened);

	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (insts & 1u << k && atomic_load(&net_insts[k].sleepers))
			insts &= ~(1u << k);
	}
	return insts;
}

/* The bell, and children that ask for their parent's connections. */
enum { TEND_CALLS = 2 };

static void calls(struct pollfd p[TEND_CALLS])
{
	p[0] = (struct pollfd){ .fd = bell, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = direct_fork_asked(), .events = POLLIN };
}

/* As long as somebody else sleeps on the devices. */
static void park(void)
{
	struct pollfd p[TEND_CALLS];

	calls(p);
	atomic_store(&tend_asleep, ~0u);
	while (net_any() && !awake()) {
		long n = sys(SYS_ppoll, p, TEND_CALLS, 0, 0, 8);

		if (n > 0 && p[1].revents)
			direct_fork_serve();
		if (n > 0 && p[0].revents)
			break;
	}
	bell_drain();
}

static void driven_read(uint64_t seen[NET_INSTS])
{
	for (unsigned k = 0; k < NET_INSTS; k++)
		seen[k] = atomic_load_explicit(&net_insts[k].driven, memory_order_relaxed);
}

/* Of @insts those that nobody has driven since @seen. */
static unsigned left_alone(unsigned insts, const uint64_t seen[NET_INSTS])
{
	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (atomic_load_explicit(&net_insts[k].driven, memory_order_relaxed) != seen[k])
			insts &= ~(1u << k);
	}
	return insts & awake();
}

/* Until nobody has driven some for a while, or somebody sleeps on each. Return: which. */
static unsigned look(void)
{
	const struct timespec pause = { 0, TEND_LOOK_MS * 1000000 };
	struct pollfd asked = { .fd = direct_fork_asked(), .events = POLLIN };
	uint64_t seen[NET_INSTS];
	unsigned alone;

	do {
		struct timespec ts = pause;

		driven_read(seen);
		while (sys(SYS_ppoll, &asked, 1, &ts, 0, 8) > 0) { /* which leaves the rest */
			if (direct_fork_serve())
				driven_read(seen); /* that was this thread */
		}
		alone = left_alone(atomic_load(&net_opened), seen);
	} while (net_any() && !alone && awake());
	return alone;
}

/* Until somebody else drives one of them. */
static void serve(unsigned insts)
{
	uint64_t mine[NET_INSTS];

	driven_read(mine);
	while (insts && left_alone(insts, mine) == insts) {
		struct pollfd p[TEND_CALLS];

		calls(p);
		for (unsigned k = 0; k < NET_INSTS; k++) {
			if (!(insts & 1u << k) || !net_enter(&net_insts[k]))
				continue;
			net_drive();
			direct_left_alone();
			mine[k] = atomic_load_explicit(&net_insts[k].driven, memory_order_relaxed);
			net_leave();
		}
		atomic_store(&tend_asleep, insts);
		if (left_alone(insts, mine) == insts)
			net_sleep(p, TEND_CALLS, 0, insts, NULL);
		if (direct_fork_serve())
			driven_read(mine); /* that was this thread */
		bell_drain();
	}
}

static void *tend(void *arg)
{
	while (net_any()) {
		park();
		serve(look());
	}
	return arg;
}

/* @stack_bytes: 0: as the program's threads have it. Return: whether it runs. */
static bool thread_make(size_t stack_bytes)
{
	pthread_attr_t attr;
	pthread_t id;
	int err;

	if (pthread_attr_init(&attr))
		return false;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (stack_bytes)
		pthread_attr_setstacksize(&attr, stack_bytes);
	err = pthread_create(&id, &attr, tend, NULL);
	pthread_attr_destroy(&attr);
	return err == 0;
}

/* A program's thread-local variables lie in the stack, too, and may be more than a small one holds. */
static bool thread_start(void)
{
	sigset_t all, old;
	bool runs;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	runs = thread_make(TEND_STACK_BYTES) || thread_make(0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return runs;
}

void tend_start(void)
{
	if (started)
		return;
	if (bell < 0)
		bell = shm_fd_hide((int)sys(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
	direct_fork_asked(); /* now: the program may fork before the thread has run at all */
	started = bell >= 0 && thread_start();
}

bool tend_runs(void)
{
	return started;
}

void tend_forked(void)
{
	shm_fd_close(bell);
	bell = -1;
	started = false;
	atomic_store(&tend_asleep, 0);
	thread_self.at_devices = 0;
}

void tend_rouse(void)
{
	const uint64_t one = 1;

	if (atomic_exchange(&tend_asleep, 0))
		sys(SYS_write, bell, &one, sizeof(one));
}

void tend_sleep(unsigned insts)
{
	unsigned were = thread_self.at_devices;

	if (were == insts)
		return;
	thread_self.at_devices = (uint8_t)insts;
	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (insts & ~were & 1u << k)
			atomic_fetch_add(&net_insts[k].sleepers, 1);
		else if (were & ~insts & 1u << k)
			atomic_fetch_sub(&net_insts[k].sleepers, 1);
	}
	tend_driven(insts | were);
}
