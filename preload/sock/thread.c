/* thread.c - per-thread state: birth, fork, death */
#include "preload/sock/thread.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/rseq.h>

__thread struct thread thread_self
	__attribute__((tls_model("initial-exec"))) = { .seat = SHM_SEAT_NOBODY,
						       .spin_shift = THREAD_SPIN_SHIFT };

_Atomic bool thread_cancels;
#if defined(__x86_64__)
_Atomic bool thread_jumps;
#else
_Atomic bool thread_jumps = true; /* nobody tells (call_jump.c) */
#endif

static pthread_key_t thread_key;
static bool thread_key_made;
static void (*thread_end_more)(void);

static void piece_free(char *piece)
{
	if (piece)
		sys(SYS_munmap, piece, THREAD_PIECE);
}

static void thread_end(void *arg)
{
	struct thread *t = arg;

	/* a thread that was cancelled in a blocking call leaves by here */
	if (t->waker_open)
		shm_waker_close(&t->waker, t->tid);
	t->waker_open = false;
	t->ends_here = false;
	piece_free(atomic_exchange(&t->piece, NULL));
	thread_end_more();
}

void thread_ends_here(void)
{
	if (thread_self.ends_here || !thread_key_made)
		return;
	thread_self.ends_here = true;
	pthread_setspecific(thread_key, &thread_self);
}

char *thread_piece_take(void)
{
	char *piece = atomic_exchange(&thread_self.piece, NULL);
	long at;

	if (piece)
		return piece;
	at = sys(SYS_mmap, 0, THREAD_PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0);
	if (at < 0 && at > -4096)
		return NULL;
	thread_ends_here();
	return (char *)at;
}

void thread_piece_give(char *piece)
{
	piece_free(atomic_exchange(&thread_self.piece, piece));
}

void thread_init(void (*end)(void))
{
	thread_end_more = end;
	thread_key_made = pthread_key_create(&thread_key, thread_end) == 0;
}

struct shm_waker *thread_waker(void)
{
	struct thread *t = &thread_self;

	thread_tid();
	if (!t->waker_open) {
		if (shm_waker_open(&t->waker) < 0)
			return NULL;
		t->waker_open = true;
		thread_ends_here();
	}
	return &t->waker;
}

void thread_waker_mend(struct shm_waker *w)
{
	while (w->sleepers)
		shm_waker_wake(w, thread_tid());
}

void thread_forked(void)
{
	struct thread *t = &thread_self;

	t->tid = 0;
	atomic_store(&thread_main, 0); /* it is this thread now */
	t->seat = SHM_SEAT_NOBODY;
	t->holds = 0; /* sock_forked() forgets the counts */
	for (unsigned i = 0; i < t->hold_max; i++)
		t->hold[i].word = NULL;
	if (t->waker_open) {
		/* the bells stay the parent's; only our copy of the eventfd goes */
		memset(t->waker.bell, 0, sizeof(t->waker.bell));
		shm_waker_close(&t->waker, thread_tid());
		t->waker_open = false;
	}
}

int thread_cpu(void)
{
	const struct rseq *rs;

	if (!__rseq_size)
		return -1;
	rs = (const struct rseq *)((const char *)__builtin_thread_pointer() + __rseq_offset);
	return (int)*(const volatile uint32_t *)&rs->cpu_id;
}
