/* wait.c - waiting for one attached connection */
#include "preload/sock/wait.h"

#include "preload/real.h"
#include "preload/sock/conf.h"
#include "preload/sock/lift.h"
#include "preload/sock/ready.h"
#include "preload/sock/span.h"
#include "preload/sock/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

enum {
	SPIN_STREAM = 64,       /* receives without a send between */
	SPIN_GATHER = 24,       /* pauses */
	SPIN_PAUSES = 16,       /* pauses between two looks at the clock */
	SPIN_SHIFT_MAX = 7,     /* the budget is halved at most this often */
	SPIN_PUSHED_NS = 30000, /* a gap like this means that somebody else ran */
	SPIN_CROWD_NS = 200000, /* and a gap like this that it was not the peer alone */
	SPIN_CALM_MS = 10,      /* how long nobody spins then, at first */
	SPIN_CALM_MAX_MS = 1000,
	SPIN_OPEN_NS =
		4000, /* signals are let in for so long: who is answered sooner pays nothing */
	SPIN_SHARED_NS = 20000, /* the same on a CPU that the peer shares */
	SPIN_SWITCH_NS = 1500,  /* a yield that took longer let somebody run */
	SPIN_SHARED = 32,       /* yields that let nobody run, until the CPU counts as ours alone */
	SPIN_LOOK_NS =
		100000, /* how often one that is held back is looked for: longer than most spins */
	STALL_NS = WAIT_STALL_MS * 1000000,
	LIBC_CANCEL = 32, /* libc's own signals: what they do is no matter of the program's calls */
	LIBC_SETXID = 33,
	STATUS_MAX = 2048, /* of /proc/self/status; what is asked for lies in its first half */
	LEFT_NAP_NS = 100000,
};

/* ---- signals ---- */

static uint64_t signal_bit(int sig)
{
	return UINT64_C(1) << (sig - 1);
}

void wait_signals_hold(struct wait_signals *sig)
{
	uint64_t most = ~(signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGFPE) |
			  signal_bit(SIGILL) | signal_bit(SIGTRAP) | signal_bit(SIGSYS) |
			  signal_bit(LIBC_CANCEL) | signal_bit(LIBC_SETXID));

	if (sig->held)
		return;
	sys(SYS_rt_sigprocmask, SIG_BLOCK, &most, &sig->mask, sizeof(most));
	sig->held = true;
}

/* Those that wait, while they are held, and that @mask lets in. */
static uint64_t signals_wait(const sigset_t *mask)
{
	uint64_t waiting = 0, own;

	memcpy(&own, mask, sizeof(own));
	sys(SYS_rt_sigpending, &waiting, sizeof(waiting));
	return waiting & ~own;
}

/* The hexadecimal number behind @key in @text; 0: there is none. */
static uint64_t status_set(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	uint64_t set = 0;

	for (at = at ? at + strlen(key) : ""; *at == '\t'; at++)
		;
	for (; (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'f'); at++)
		set = set << 4 | (uint64_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
	return set;
}

/* Those that wait for the whole process and that a living main thread lets in; 0 without /proc. */
static uint64_t signals_of_main(void)
{
	char text[STATUS_MAX]; /* the process's, which is its main thread's */
	long fd = sys(SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC, 0), n;

	if (fd < 0)
		return 0;
	n = sys(SYS_read, fd, text, sizeof(text) - 1);
	sys(SYS_close, fd);
	text[n > 0 ? n : 0] = 0;
	if (!strstr(text, "\nSigBlk:") || strstr(text, "\nState:\tZ"))
		return 0;
	return status_set(text, "\nShdPnd:") & ~status_set(text, "\nSigBlk:");
}

_Atomic uint32_t thread_main;

/* Of @waiting: what the kernel has woken the main thread for. One that waits for this thread as well is left once more. */
static __attribute__((noinline)) uint64_t signals_left(struct wait_signals *sig, uint64_t waiting)
{
	uint64_t now, left;

	atomic_store(&thread_main, (uint32_t)sys(SYS_getpid));
	left = atomic_load(&thread_main) == thread_tid() ? 0 : waiting & signals_of_main();
	if (!left)
		return 0;
	now = thread_now();
	if (!sig->left_since)
		sig->left_since = now;
	return now - sig->left_since < WAIT_MAIN_MS * UINT64_C(1000000) ? left : 0;
}

/* While they are held. Return: @mask, or one that keeps out what is left to the main thread. */
static const sigset_t *signals_lets(struct wait_signals *sig, const sigset_t *mask)
{
	uint64_t waiting, lets;

	if (unlikely(!atomic_load_explicit(&thread_main, memory_order_relaxed)))
		atomic_store(&thread_main, (uint32_t)sys(SYS_getpid));
	if (atomic_load_explicit(&thread_main, memory_order_relaxed) == thread_tid())
		return mask;
	waiting = signals_wait(mask);
	waiting = unlikely(waiting) ? signals_left(sig, waiting) : 0;
	if (likely(!waiting)) {
		sig->left_since = 0;
		return mask;
	}
	memcpy(&lets, mask, sizeof(lets));
	lets |= waiting;
	memcpy(&sig->lets, &lets, sizeof(lets));
	return &sig->lets;
}

const sigset_t *wait_signals_mask(struct wait_signals *sig, const sigset_t *mask, bool *left)
{
	const sigset_t *lets;

	*left = false;
	if (!sig->held)
		return mask;
	lets = signals_lets(sig, mask ? mask : &sig->mask);
	*left = lets == &sig->lets;
	return lets;
}

void wait_signals_release(struct wait_signals *sig)
{
	struct timespec nap = { 0, LEFT_NAP_NS };
	const sigset_t *lets;

	while (unlikely(sig->held)) {
		lets = signals_lets(sig, &sig->mask);
		sys(SYS_rt_sigprocmask, SIG_SETMASK, lets, 0, sizeof(uint64_t));
		sig->held = lets == &sig->lets;
		if (sig->held)
			sys(SYS_ppoll, 0, 0, &nap, 0, sizeof(uint64_t));
		nap.tv_nsec = LEFT_NAP_NS; /* the kernel writes what was left */
	}
}

void thread_signals_leave(uint64_t old)
{
	struct wait_signals sig;

	sig.held = true;
	sig.left_since = 0;
	memcpy(&sig.mask, &old, sizeof(old));
	wait_signals_release(&sig);
}

bool wait_signals_came(struct wait_signals *sig, const sigset_t *mask)
{
	struct timespec zero = { 0, 0 };
	bool left;

	if (sig->held && !signals_wait(mask ? mask : &sig->mask))
		return false;
	mask = wait_signals_mask(sig, mask, &left);
	return mask && sys(SYS_ppoll, 0, 0, &zero, mask, sizeof(uint64_t)) == -EINTR;
}

int wait_poll(struct pollfd *p, nfds_t n, struct timespec *ts, const sigset_t *mask)
{
	struct timespec soon = { 0, WAIT_DEAF_MS * 1000000 };
	int ret = real.ppoll(p, n, ts, mask);
	struct rlimit most;

	if (likely(ret >= 0 || errno != EINVAL) ||
	    sys(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &most) < 0 || most.rlim_cur >= n)
		return ret;
	for (nfds_t i = most.rlim_cur; i < n; i++)
		p[i].revents = 0;
	if (ts && !ts->tv_sec && ts->tv_nsec < soon.tv_nsec)
		soon = *ts;
	return real.ppoll(p, most.rlim_cur, &soon, mask);
}

/* ---- the spin ---- */

static uint32_t peer_cpu(const struct shm_peer *peer)
{
	const struct shm_head *head = SHM_FOLLOW(peer->head);

	/* poll() holds nobody: another thread may have closed the connection, and with it the channel */
	return head ? atomic_load_explicit(&head->pulse.cpu, memory_order_relaxed) : 0;
}

void wait_spin_begin(struct wait_spin *w, const struct shm_peer *peer, struct wait_signals *sig)
{
	int cpu = thread_cpu();
	struct shm_head *own = shm_self.arena[peer ? peer->arena : 0].head;

	w->start = w->last = w->looked = thread_now();
	w->sig = sig;
	w->budget = (uint64_t)conf.spin_us * 1000 >> thread_self.spin_shift;
	if (w->start < thread_self.crowded_until)
		w->budget = 0;
	w->turns = 0;
	w->wire = false;
	w->yields = cpu >= 0 && peer && peer_cpu(peer) == (uint32_t)cpu + 1;
	/* numbered from one: zero is "not known" */
	if (own && cpu >= 0 && own->pulse.cpu != (uint32_t)cpu + 1)
		atomic_store_explicit(&own->pulse.cpu, (uint32_t)cpu + 1, memory_order_relaxed);
}

/*
 * Programs that have nothing to do with ours want the CPU. Who yields to them, or spends a part of its time slice on
 * looking around, waits for their slices in turn, milliseconds each time; who sleeps is let in when it is woken. So for
 * a while nobody spins: for the longer, the sooner the crowd was met again.
 */
static void crowd_met(uint64_t now)
{
	struct thread *t = &thread_self;
	const uint64_t ms = 1000000;

	if (now - t->crowded_until > t->crowded_ns)
		t->crowded_ns = SPIN_CALM_MS * ms;
	else if (t->crowded_ns < SPIN_CALM_MAX_MS * ms)
		t->crowded_ns *= 2;
	t->crowded_until = now + t->crowded_ns;
}

/* Return: whether the spin may go on; a sleep lets in what has come. */
static bool spin_signals(struct wait_spin *w, uint64_t now)
{
	if (!w->sig)
		return true;
	if (!w->sig->held && now - w->start >= (w->yields ? SPIN_SHARED_NS : SPIN_OPEN_NS))
		wait_signals_hold(w->sig);
	if (!w->sig->held || now - w->looked < SPIN_LOOK_NS)
		return true;
	w->looked = now;
	return !signals_wait(&w->sig->mask);
}

void wait_spin_wire(struct wait_spin *w)
{
	w->wire = !w->yields;
	if (thread_self.spin_shared)
		w->turns = SPIN_PAUSES;
}

/* The CPU may be what the other end of a wire waits for. */
static void spin_yield(struct wait_spin *w)
{
	struct thread *t = &thread_self;
	uint64_t asked = thread_now();

	sys(SYS_sched_yield);
	if (thread_now() - asked > SPIN_SWITCH_NS)
		t->spin_shared = SPIN_SHARED;
	else if (t->spin_shared)
		t->spin_shared--;
	w->turns = t->spin_shared ? SPIN_PAUSES : 0;
}

bool wait_spin_turn(struct wait_spin *w)
{
	uint64_t now, gap;

	if (w->yields) {
		sys(SYS_sched_yield);
	} else if (++w->turns < SPIN_PAUSES) {
		thread_pause();
		return true;
	}
	w->turns = 0;
	if (w->wire)
		spin_yield(w);
	now = thread_now();
	gap = now - w->last;
	w->last = now;
	if (unlikely(gap > SPIN_CROWD_NS))
		crowd_met(now);
	return gap <= (w->yields || w->wire ? SPIN_CROWD_NS : SPIN_PUSHED_NS) &&
	       now - w->start < w->budget && spin_signals(w, now);
}

void wait_spin_end(bool paid, uint64_t slept_ns)
{
	struct thread *t = &thread_self;
	uint64_t most = (uint64_t)conf.spin_us * 1000;
	/* a sleep that a longer spin would have avoided */
	bool shorter = !paid && slept_ns + (most >> t->spin_shift) < most;

	if ((paid || shorter) && t->spin_shift > THREAD_SPIN_SHIFT)
		t->spin_shift = THREAD_SPIN_SHIFT;
	else if (shorter && t->spin_shift)
		t->spin_shift--;
	else if (!paid && !shorter && t->spin_shift < SPIN_SHIFT_MAX)
		t->spin_shift++;
}

/* ---- one connection ---- */

bool wait_ready(struct sock *s, short want)
{
	struct shm_conn *c = s->conn;

	if (SHM_READ(s->broken) || span_attention(s))
		return true;
	if (want & POLLIN) {
		/* a border that lies ahead in the kernel's bytes is the kernel's to announce */
		if (span_ahead(s) && !span_frozen(s) && !SHM_READ(c->rx.direct) &&
		    (SHM_READ(c->rx.path) == SHM_PATH_RING || s->view.ctl->lift == s->row->rx_off))
			return true;
		if (SHM_READ(c->rx.path) == SHM_PATH_RING && !span_frozen(s) &&
		    shm_ring_unread(c, s->view.ctl))
			return true;
	}
	return want & POLLOUT && SHM_READ(c->tx.path) == SHM_PATH_RING && ready_room(s);
}

void wait_watch(struct sock *s, struct shm_waker *w)
{
	struct shm_conn *c = s->conn;
	unsigned bell = shm_waker_bell(w, shm_self_arena_of(c), thread_tid());
	uint32_t bells = atomic_load_explicit(&c->ctl.bells, memory_order_relaxed);

	if (!bell)
		return;
	shm_peer_tell_bell(s->peer, bell, w->efd);
	for (;;) {
		uint32_t now = bells;
		unsigned i = 0;

		while (i < 4 && (now >> 8 * i & 0xff) != bell && (now >> 8 * i & 0xff))
			i++;
		if (i < 4 && (now >> 8 * i & 0xff) == bell)
			return;
		now = i < 4 ? now | bell << 8 * i
			    : UINT32_C(0xff); /* more than four: ring them all */
		if ((bells & 0xff) == 0xff ||
		    atomic_compare_exchange_strong(&c->ctl.bells, &bells, now))
			return;
	}
}

void wait_want_space(struct sock *s, bool want)
{
	_Atomic uint32_t *flags = &s->conn->ctl.flags_tx;

	if (!want)
		atomic_fetch_and(flags, ~(uint32_t)SHM_TX_WANT_SPACE);
	else if (!(atomic_fetch_or(flags, SHM_TX_WANT_SPACE) & SHM_TX_WANT_SPACE))
		shm_barrier(); /* a reader looks at it without a fence */
}

bool wait_unstall(struct sock *s)
{
	uint64_t head = atomic_load_explicit(&s->view.ctl->head, memory_order_relaxed);
	uint64_t since, now;

	if (SHM_READ(s->conn->tx.path) != SHM_PATH_RING || ready_room(s)) {
		SHM_WRITE(s->full_since, 0);
		return false;
	}
	now = thread_now();
	since = SHM_READ(s->full_since); /* once: another thread that waits may begin anew */
	if (!since || head != SHM_READ(s->full_head)) {
		SHM_WRITE(s->full_head, head);
		SHM_WRITE(s->full_since, now);
		return false;
	}
	if (now < since + STALL_NS)
		return false;
	SHM_WRITE(s->full_since, 0);
	span_lower(s, REASON_STALLED);
	return true;
}

uint64_t wait_left_until(uint64_t until, bool left)
{
	uint64_t soon;

	if (likely(!left))
		return until;
	soon = thread_now() + WAIT_LEFT_MS * UINT64_C(1000000);
	return until && until < soon ? until : soon;
}

static int spin_for(struct sock *s, short want, struct wait_signals *sig)
{
	struct wait_spin w;

	wait_spin_begin(&w, s->peer, sig);
	if (!w.budget)
		return -EAGAIN;
	do {
		if (wait_ready(s, want))
			return 0;
		/* a stream that flows one way: let it gather, each look takes the line from the writer */
		for (unsigned i = 0; SHM_READ(s->streak) > SPIN_STREAM && i < SPIN_GATHER; i++)
			thread_pause();
	} while (wait_spin_turn(&w));
	return -EAGAIN;
}

/* The kernel's part of the wait: what only it can say of this connection. */
static short kernel_events(const struct sock *s, short want)
{
	const struct shm_conn *c = s->conn;
	short ev = 0;

	if (want & POLLIN)
		ev |= (short)((POLLIN | POLLRDHUP) & ~(SHM_READ(s->kernel_bits) & POLLRDHUP));
	if (want & POLLOUT && SHM_READ(c->tx.path) == SHM_PATH_KERNEL)
		ev |= POLLOUT;
	return ev;
}

static long sleep_on(struct sock *s, short want, struct shm_waker *w, uint64_t until,
		     struct wait_signals *sig)
{
	struct pollfd p[3] = {
		{ .fd = sock_fd(s), .events = kernel_events(s, want) },
		{ .fd = w->efd, .events = POLLIN },
		{ .fd = shm_chan_fd(), .events = POLLIN },
	};
	struct timespec ts, *tp = NULL;
	const sigset_t *mask;
	uint64_t soon;
	bool left;
	long n;

	mask = wait_signals_mask(sig, NULL, &left);
	soon = wait_left_until(until, left);
	left = soon != until;
	until = soon;
	if (until) {
		uint64_t now = thread_now();
		uint64_t left = until > now ? until - now : 0;

		ts = (struct timespec){ (time_t)(left / 1000000000), (long)(left % 1000000000) };
		tp = &ts;
	}
	n = wait_poll(p, 3, tp, mask);
	n = n < 0 ? -errno : n;
	if (n > 0) {
		if (p[1].revents)
			shm_waker_drain(w);
		if (p[2].revents)
			lift_service();
		if (p[0].revents)
			ready_heard(s, p[0].revents);
	}
	/* there may be time left: look again */
	return n || (!left && until && thread_now() >= until) ? n : 1;
}

static int sleep_for(struct sock *s, short want, uint64_t deadline, struct wait_signals *sig)
{
	struct shm_waker *w = thread_waker();
	uint64_t begun = thread_now();
	uint64_t stall = want & POLLOUT ? begun + STALL_NS : 0;
	uint64_t until = deadline;
	long n = 1;

	if (!w)
		return -EAGAIN;
	wait_signals_hold(sig);
	wait_watch(s, w);
	if (wait_deaf(s, w))
		stall = begun + WAIT_DEAF_MS * UINT64_C(1000000);
	if (stall && (wait_deaf(s, w) || SHM_READ(s->conn->tx.path) == SHM_PATH_RING) &&
	    (!until || stall < until))
		until = stall;
	if (want & POLLOUT)
		wait_want_space(s, true);
	thread_waker_mend(w);
	shm_waker_sleep(w, thread_tid(), begun);
	if (!wait_ready(s, want))
		n = sleep_on(s, want, w, until, sig);
	shm_waker_wake(w, thread_tid());
	if (want & POLLOUT)
		wait_want_space(s, false);
	wait_spin_end(false, thread_now() - begun);
	if (n == 0 && until != deadline)
		return 0; /* time to look for a stall */
	return n == 0 ? -EAGAIN : n == -EINTR ? -EINTR : 0;
}

int wait_for(struct sock *s, short want, uint64_t deadline, struct wait_signals *sig)
{
	int err;

	if (unlikely(wait_signals_came(sig, NULL)))
		return -EINTR;
	if (spin_for(s, want, sig) == 0) {
		wait_spin_end(true, 0);
		return 0;
	}
	if (want & POLLOUT && wait_unstall(s))
		return 0;
	err = sleep_for(s, want, deadline, sig);
	/* a time-out may be shorter than it takes to see a stall, and the kernel has room where the ring has none */
	if (err == -EAGAIN && want & POLLOUT && SHM_READ(s->conn->tx.path) == SHM_PATH_RING) {
		span_lower(s, REASON_STALLED);
		return 0;
	}
	return err;
}

bool wait_restarts(const struct wait_signals *sig)
{
	/* The kernel's own struct sigaction: handler, flags, restorer, mask (rt_sigaction(2)). */
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} sa;
	uint64_t own = 0;

	if (sig && sig->held)
		memcpy(&own, &sig->mask, sizeof(own));
	else
		sys(SYS_rt_sigprocmask, SIG_BLOCK, 0, &own, sizeof(own));
	own |= signal_bit(LIBC_CANCEL) | signal_bit(LIBC_SETXID);
	for (int n = 1; n < 65; n++) {
		if (own & signal_bit(n) || sys(SYS_rt_sigaction, n, 0, &sa, 8) < 0)
			continue;
		if (sa.handler != (void *)SIG_DFL && sa.handler != (void *)SIG_IGN &&
		    !(sa.flags & SA_RESTART))
			return false;
	}
	return true;
}
