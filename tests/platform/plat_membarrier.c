/* plat_membarrier.c - GLOBAL_EXPEDITED membarrier orders another process's store before its load
 *
 * The sender on the shm path stores its tail and then loads the receiver's "asleep" word with no
 * fence between; the sleeper stores "asleep", calls membarrier and loads the tail. Never may both
 * miss the other's store. Two processes race for it here; a run without membarrier is the control:
 * it may show the miss, and need not.
 */
#include "tests/platform/plat.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { TURNS = 20000 };

struct shared {
	_Alignas(64) atomic_uint x;
	_Alignas(64) atomic_uint y;
	_Alignas(64) atomic_uint turn_a;
	_Alignas(64) atomic_uint turn_b;
	unsigned saw_a[TURNS + 1], saw_b[TURNS + 1];
};

static int membarrier(int cmd)
{
	return syscall(SYS_membarrier, cmd, 0, 0);
}

/* The other side may share this core: spin a while, then let it run. */
static void meet(atomic_uint *mine, atomic_uint *other, unsigned turn)
{
	atomic_store_explicit(mine, turn, memory_order_release);
	for (unsigned i = 0; atomic_load_explicit(other, memory_order_acquire) < turn; i++)
		if (i > 1000)
			sched_yield();
}

/* The sender: store, load, and nothing but the compiler held back between them. */
static void side_a(struct shared *s)
{
	for (unsigned i = 1; i <= TURNS; i++) {
		meet(&s->turn_a, &s->turn_b, i);
		atomic_store_explicit(&s->x, i, memory_order_relaxed);
		atomic_signal_fence(memory_order_seq_cst);
		s->saw_a[i] = atomic_load_explicit(&s->y, memory_order_relaxed) == i;
	}
}

static void side_b(struct shared *s, int barrier)
{
	for (unsigned i = 1; i <= TURNS; i++) {
		meet(&s->turn_b, &s->turn_a, i);
		atomic_store_explicit(&s->y, i, memory_order_relaxed);
		if (barrier)
			membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
		else
			atomic_signal_fence(memory_order_seq_cst);
		s->saw_b[i] = atomic_load_explicit(&s->x, memory_order_relaxed) == i;
	}
}

static int misses(int barrier)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int st, both = 0;

	FACT(s != MAP_FAILED);
	pid_t pid = fork();

	FACT(pid >= 0);
	if (!pid) {
		alarm(50);
		FACT(membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0);
		side_a(s);
		_exit(0);
	}
	side_b(s, barrier);
	FACT(waitpid(pid, &st, 0) == pid && st == 0);
	for (unsigned i = 1; i <= TURNS; i++)
		both += !s->saw_a[i] && !s->saw_b[i];
	munmap(s, sizeof(*s));
	return both;
}

int main(void)
{
	int have = membarrier(MEMBARRIER_CMD_QUERY);

	alarm(50);
	if (have < 0)
		plat_skip("no membarrier");
	FACT(have & MEMBARRIER_CMD_GLOBAL_EXPEDITED);
	FACT(have & MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
	/* The caller need not be registered; it is the one who may be interrupted that must be. */
	FACT(membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0);
	printf("both missed, without: %d of %d\n", misses(0), TURNS);
	FACT(misses(1) == 0);
	return 0;
}
