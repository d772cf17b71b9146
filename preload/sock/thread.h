/* thread.h - what a thread keeps for the fast path, and the time
 *
 * Initial-exec thread-local storage: one instruction to reach. Only the thread itself touches it.
 */
#ifndef SOCK_THREAD_H
#define SOCK_THREAD_H

#include "shm/shm_bell.h"
#include "shm/shm_lock.h"
#include "shm/shm_sys.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

struct net_inst;
struct sock;

enum {
	THREAD_HOLDS = 8,
	THREAD_PIECE = 65536,
	THREAD_SPIN_SHIFT = 2, /* a thread that knows nothing yet spins for a quarter of the most */
};

/* A count that the thread has to give back: hold.h. */
struct thread_hold {
	struct sock *sock;
	_Atomic uint32_t *word; /* NULL: none */
	const void *frame;
};

/* Where the thread went into a direction's seat last: a jump out of a signal handler may leave it there (hold.h). */
struct thread_seat {
	struct sock *sock; /* NULL: nowhere since the last look */
	const void *sp;
};

struct thread {
	uint32_t seat; /* SHM_SEAT_OWNED + tid once that is known */
	uint32_t tid;
	bool waker_open;
	bool ends_here;          /* its end is ours to see */
	uint8_t net;             /* 1 + number of its instance of the stack, 0: none (net.h) */
	uint8_t at_devices;      /* asleep on the devices of these instances, a bit each (tend.h) */
	uint16_t round;          /* events of stacks that it has not answered yet (net.h), */
	const void *answers;     /* and the connection that it answers: compared alone */
	struct net_inst *inside; /* the instance whose lock it has */
	const void *inside_at;   /* the frame that took it */
	uint64_t inside_mask;    /* what the signal mask was before, if inside_quiet */
	bool inside_quiet;
	uint8_t spin_shared; /* yields until it counts as alone on its CPU again (wait_spin_wire()) */
	uint8_t spin_shift;     /* the spin budget is halved this often, by what it earned lately */
	uint64_t crowded_until; /* no spinning before, as others want the CPU: thread_now() */
	uint64_t crowded_ns;    /* how long that was from its beginning */
	struct shm_waker waker; /* for blocking calls, poll and select */
	struct thread_seat rx, tx;
	struct thread_hold *hold;
	unsigned holds, hold_max;
	struct thread_hold hold_first[THREAD_HOLDS];
	char *_Atomic piece; /* of THREAD_PIECE bytes; NULL: in use, or none yet */
	uint64_t poll_turn;  /* cycles when poll() last asked the kernel */
	uint64_t random;     /* ZTCP_CHAOS */
};

extern __thread struct thread thread_self __attribute__((tls_model("initial-exec")));

static inline uint32_t thread_tid(void)
{
	if (__builtin_expect(!thread_self.tid, 0)) {
		thread_self.tid = (uint32_t)sys(SYS_gettid);
		thread_self.seat = SHM_SEAT_OWNED | thread_self.tid;
	}
	return thread_self.tid;
}

/* Before the thread goes into a seat; thread_sits(): into one of @s. */
static inline __attribute__((always_inline)) void thread_sits_at(struct thread_seat *at)
{
#if defined(__x86_64__)
	__asm__ volatile("movq %%rsp, %0" : "=m"(at->sp));
#else
	at->sp = __builtin_frame_address(0);
#endif
}

static inline __attribute__((always_inline)) void thread_sits(struct thread_seat *at,
							      struct sock *s)
{
	at->sock = s;
	thread_sits_at(at);
}

/* The thread's waker, made on first use; NULL when there is no eventfd to be had. */
struct shm_waker *thread_waker(void);

/* The thread's waker is no longer asleep: a jump out of a signal handler left it so. */
void thread_waker_mend(struct shm_waker *w);

/* In the child after fork: the surviving thread is a new one. */
void thread_forked(void);

/* Release what a thread holds when it ends; called once at start. */
void thread_init(void (*end)(void));

/*
 * thread_piece_take() - THREAD_PIECE bytes to work with; NULL: no memory
 *
 * Kept for the thread's next call; a signal handler that comes meanwhile gets others.
 */
char *thread_piece_take(void);
void thread_piece_give(char *piece);

/* This thread holds something that is to be released. */
void thread_ends_here(void);

static inline uint64_t thread_cycles(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	uint64_t t;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
	return t;
#endif
}

/* Its low half, without an instruction for the other. */
static inline uint32_t thread_cycles_low(void)
{
#if defined(__x86_64__)
	uint32_t low;

	__asm__ volatile("rdtsc" : "=a"(low) : : "edx");
	return low;
#else
	return (uint32_t)thread_cycles();
#endif
}

static inline void thread_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield" ::: "memory");
#endif
}

/* Monotonic nanoseconds (vDSO). */
static inline uint64_t thread_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Slow paths keep signal handlers out. */
static inline uint64_t thread_signals_block(void)
{
	uint64_t all = ~UINT64_C(0), old = 0;

	sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, sizeof(all));
	return old;
}

/*
 * The program saves signal masks with its jump targets: its handlers may jump out of any call. What no jump may cut off, such as
 * the work inside a stack, keeps them out then. Never unset.
 */
extern _Atomic bool thread_jumps;

/* The main thread; 0: not known yet. Where a child was made past libc the parent's, until a signal waits: then it is looked at again. */
extern _Atomic uint32_t thread_main;

/* In other threads. */
void thread_signals_leave(uint64_t old);

/* What has come meanwhile and is the main thread's, is left to it (wait.h). */
static inline void thread_signals_restore(uint64_t old)
{
	if (__builtin_expect(
		    atomic_load_explicit(&thread_main, memory_order_relaxed) != thread_self.tid, 0))
		thread_signals_leave(old);
	else
		sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof(old));
}

/* Some thread of this process was to be cancelled: calls that only touch memory look for it, and none takes the short ways. */
extern _Atomic bool thread_cancels;

/* Where libc's call is a cancellation point, as ours may come to no system call. Nothing may be held. */
static inline void thread_cancel_point(void)
{
	if (__builtin_expect(atomic_load_explicit(&thread_cancels, memory_order_relaxed), 0))
		pthread_testcancel();
}

/* CPU the thread runs on, from the restartable-sequence area; -1 when libc has none. */
int thread_cpu(void);

#endif
