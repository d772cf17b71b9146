/* dpdk_gate.c - a driver whose own thread takes memory away runs when nobody uses that memory
 *
 * Theory of operation. EAL has one thread for drivers' interrupts, which waits in an epoll set. In memif's it unmaps the rings when the peer is
 * gone, without asking who reads them. So a descriptor of ours is put into that set, and what the thread calls for it sleeps: it is parked.
 * While it is, anybody may be in the driver. The loop that polls the device looks now and then whether the set has become readable; then
 * it opens a window: from then on nobody enters, the thread waits until those inside have left, does what has come up, and meets our
 * descriptor, which it has made readable before: it parks.
 *
 * Who enters says so and then looks at the state, who opens says so and then looks who is inside: one of the two must see the other. Whoever opens
 * pays for that, by a membarrier, as it happens seldom: a fence in each entry would wait until the other process had let go of the ring's lines that
 * were just written, before an answer is put into it. Where the kernel has no membarrier both have fences. Both sides write lines of their own alone
 * while packets flow.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <rte_interrupts.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

#include "stack/base/base_check.h"
#include "stack/base/base_sys.h"
#include "stack/dpdk/dpdk.h"

#define LOOK_NS 20000
#define TRIES   50000 /* some seconds */

enum { OPEN, PARKED, HELD };

static struct {
	_Alignas(64) _Atomic uint32_t state;
	_Atomic(struct dpdk_inside *) all; /* changed only while nobody is inside */
	_Atomic int set;                   /* that EAL's thread waits in; -1: it was not found */
	int fd;
	bool started;
	bool fences; /* there is no membarrier */
} gate;

static void nap(void)
{
	const struct timespec ts = { .tv_nsec = LOOK_NS };

	sys(SYS_nanosleep, &ts, NULL);
}

/* The state has changed: who enters from now on sees it, who has entered is seen. */
static void let_see(void)
{
	if (gate.fences)
		atomic_thread_fence(memory_order_seq_cst);
	else
		sys(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

static bool anybody(void)
{
	for (const struct dpdk_inside *i = atomic_load(&gate.all); i; i = i->next)
		if (atomic_load(&i->inside))
			return true;
	return false;
}

/* Return: whether @set is an epoll set with our descriptor in it. */
static bool has_us(int set)
{
	char path[48], line[128];
	bool found = false;
	FILE *f;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", set);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "tfd: %d", &fd) == 1 && fd == gate.fd;
	if (f)
		fclose(f);
	return found;
}

/* EAL makes its set anew whenever a driver adds a descriptor, mostly with the same number. */
static int set_find(int before)
{
	const struct dirent *e;
	int found = before;
	DIR *dir;

	if (before >= 0 && has_us(before))
		return before;
	found = -1;
	dir = opendir("/proc/self/fdinfo");
	while (dir && found < 0 && (e = readdir(dir)))
		if (e->d_name[0] != '.' && has_us(atoi(e->d_name)))
			found = atoi(e->d_name);
	if (dir)
		closedir(dir);
	return found;
}

/* On EAL's thread. */
static void park(void *arg)
{
	uint64_t one = 1;
	uint32_t state;

	(void)arg;
	sys(SYS_read, gate.fd, &one, sizeof(one));
	atomic_store(&gate.set, set_find(atomic_load(&gate.set)));
	atomic_store(&gate.state, PARKED);
	while ((state = atomic_load(&gate.state)) != OPEN)
		sys(SYS_futex, &gate.state, FUTEX_WAIT_PRIVATE, state, NULL, NULL, 0);
	one = 1;
	sys(SYS_write, gate.fd, &one, sizeof(one));
	let_see();
	while (anybody())
		nap();
}

int dpdk_gate_start(void)
{
	struct rte_intr_handle *handle;
	int fd, rc;

	if (gate.started)
		return 0;
	fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	gate.fd = fd;
	gate.fences = sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0;
	atomic_store(&gate.set, -1);
	handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	rc = handle ? rte_intr_fd_set(handle, fd) : -ENOMEM;
	if (!rc)
		rc = rte_intr_type_set(handle, RTE_INTR_HANDLE_EXT);
	if (!rc)
		rc = rte_intr_callback_register(handle, park, NULL);
	gate.started = !rc;
	if (!rc)
		return 0;
	if (handle)
		rte_intr_instance_free(handle);
	sys(SYS_close, fd);
	return rc;
}

bool dpdk_gate_enter(struct dpdk_inside *me)
{
	atomic_store_explicit(&me->inside, true, memory_order_relaxed);
	if (BASE_UNLIKELY(gate.fences))
		atomic_thread_fence(memory_order_seq_cst);
	atomic_signal_fence(memory_order_seq_cst);
	if (BASE_LIKELY(atomic_load_explicit(&gate.state, memory_order_acquire) == PARKED))
		return true;
	atomic_store_explicit(&me->inside, false, memory_order_release);
	return false;
}

void dpdk_gate_leave(struct dpdk_inside *me)
{
	atomic_store_explicit(&me->inside, false, memory_order_release);
}

void dpdk_gate_window(void)
{
	const struct timespec zero = { 0, 0 };
	struct pollfd p = { .fd = atomic_load_explicit(&gate.set, memory_order_relaxed),
			    .events = POLLIN };
	uint32_t parked = PARKED;

	if (p.fd >= 0 && !sys(SYS_ppoll, &p, 1, &zero, NULL, 8))
		return;
	if (atomic_compare_exchange_strong(&gate.state, &parked, OPEN))
		sys(SYS_futex, &gate.state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static bool hold(void)
{
	uint32_t parked = PARKED;

	if (!atomic_compare_exchange_strong(&gate.state, &parked, HELD))
		return false;
	let_see();
	while (anybody())
		nap();
	return true;
}

bool dpdk_gate_hold(bool patient)
{
	for (unsigned int tries = patient ? TRIES : 1; tries; tries--) {
		if (hold())
			return true;
		if (patient)
			nap();
	}
	return false;
}

void dpdk_gate_release(void)
{
	atomic_store(&gate.state, PARKED);
	dpdk_gate_window();
}

void dpdk_gate_add(struct dpdk_inside *me)
{
	bool held = dpdk_gate_hold(true);

	me->next = atomic_load(&gate.all);
	atomic_store(&gate.all, me);
	if (held)
		dpdk_gate_release();
}

void dpdk_gate_remove(struct dpdk_inside *me)
{
	bool held = dpdk_gate_hold(true);
	struct dpdk_inside *i = atomic_load(&gate.all);

	if (i == me)
		atomic_store(&gate.all, me->next);
	for (; i && i != me; i = i->next)
		if (i->next == me)
			i->next = me->next;
	if (held)
		dpdk_gate_release();
}
