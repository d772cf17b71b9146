/* tend.c - a thread that tends the stacks while the program's own threads do not */
#include "preload/sock/tend.h"

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

_Atomic bool tend_asleep;
static _Atomic uint32_t sleepers; /* threads of the program */
static int bell = -1;
static bool started;

static void bell_drain(void)
{
	uint64_t rung;

	atomic_store(&tend_asleep, false);
	sys(SYS_read, bell, &rung, sizeof(rung));
}

/* As long as somebody else sleeps on the devices. */
static void park(void)
{
	struct pollfd p = { .fd = bell, .events = POLLIN };

	atomic_store(&tend_asleep, true);
	while (net_any() && atomic_load(&sleepers) && sys(SYS_ppoll, &p, 1, 0, 0, 8) <= 0)
		;
	bell_drain();
}

/* Until nobody has driven the stacks for a while, or somebody sleeps on them. */
static void look(void)
{
	const struct timespec pause = { 0, TEND_LOOK_MS * 1000000 };
	uint64_t seen;

	do {
		seen = net_driven();
		sys(SYS_nanosleep, &pause, 0);
	} while (net_any() && net_driven() != seen && !atomic_load(&sleepers));
}

/* Until somebody else drives them. */
static void serve(void)
{
	uint64_t mine = net_driven();

	while (net_any() && net_driven() == mine && !atomic_load(&sleepers)) {
		struct pollfd p = { .fd = bell, .events = POLLIN };

		if (!net_enter())
			return;
		net_drive();
		mine = net_driven();
		atomic_store(&tend_asleep, true);
		net_leave();
		net_sleep(&p, 0);
		bell_drain();
	}
}

static void *tend(void *arg)
{
	while (net_any()) {
		park();
		look();
		serve();
	}
	return arg;
}

static bool thread_start(void)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t id;
	int err;

	if (pthread_attr_init(&attr))
		return false;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, TEND_STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&id, &attr, tend, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return err == 0;
}

void tend_start(void)
{
	if (started)
		return;
	if (bell < 0)
		bell = shm_fd_hide((int)sys(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
	started = bell >= 0 && thread_start();
}

void tend_forked(void)
{
	shm_fd_close(bell);
	bell = -1;
	started = false;
	atomic_store(&tend_asleep, false);
	atomic_store(&sleepers, 0);
	thread_self.at_devices = false;
}

void tend_rouse(void)
{
	const uint64_t one = 1;

	if (atomic_exchange(&tend_asleep, false))
		sys(SYS_write, bell, &one, sizeof(one));
}

void tend_sleep(bool begins)
{
	if (thread_self.at_devices == begins)
		return;
	thread_self.at_devices = begins;
	if (begins)
		atomic_fetch_add(&sleepers, 1);
	else
		atomic_fetch_sub(&sleepers, 1);
	tend_driven();
}
