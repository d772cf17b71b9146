/* direct_fork.c - connections of the stack that a forked child has as well
 *
 * A child has no stack of its parent's, only the descriptors: sockets that are not connected. What it uses, the parent lowers
 * (direct_lower.c) and sends it: from then on both have the kernel's connection, and share it as the kernel has it. What it does
 * not use costs nothing: the parent's connections stay on the stack while a child writes a dump, or becomes another program.
 *
 * Each fork of a process with such connections makes a pair of sockets. The child asks by its end, with the address of the
 * connection's row, which both have in common for as long as one of them holds it; the thread that tends the stacks answers
 * (tend.h), so that the parent may be busy or asleep anywhere. A connection that the parent closes, or still has when it ends, is
 * lowered as well while a child has it, and goes to all of them unasked: it lies in the sockets of those that never look, which
 * keeps it open as a descriptor of theirs would. A child that forks takes all that is its parent's first.
 *
 * Where it cannot be lowered (a device that the kernel does not share, no privilege) it is relayed (direct_relay.c). Where the parent
 * is gone without a word, the child keeps an unconnected socket.
 */
#include "preload/sock/direct_priv.h"
#include "preload/sock/ep.h"
#include "preload/sock/thread.h"
#include "shm/shm_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
	KIDS_AT_ONCE = 64, /* mapped at a time, and asked after by one look */
	ANSWER_MS = 10000, /* a parent that is stopped for longer is taken for dead */
};

/* A child of this process. Type-stable. */
struct kid {
	struct base_list all;
	int fd;      /* our end; -1: free */
	uint32_t no; /* it has connections that were born before this fork */
};

/* Both ways: asked for; and what became of it, with the descriptor if there is one. */
struct kid_word {
	const struct stats_row *row;
};

/* In kids_lock, the last in the order of locks, with signals blocked. */
static _Atomic uint32_t kids_lock;
static struct base_list kids = { &kids, &kids };
static struct base_list spare = { &spare, &spare };
static _Atomic uint32_t kids_count;
static _Atomic uint32_t forks; /* so far */
static int asked = -1;         /* an epoll set of our ends */

/* The other side: this process is a child, and this its end. In claim_lock. */
static _Atomic uint32_t claim_lock;
static int parent = -1;
static long heir_pid;
_Atomic bool direct_heir;

static int next_parent = -1; /* between the beginning of a fork and its end */

uint32_t direct_fork_no(void)
{
	return atomic_load_explicit(&forks, memory_order_relaxed);
}

/* ---- the parent ---- */

static bool kids_map(void)
{
	long addr = sys(SYS_mmap, 0, KIDS_AT_ONCE * sizeof(struct kid), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (addr <= 0 && addr > -4096)
		return false;
	for (unsigned i = 0; i < KIDS_AT_ONCE; i++)
		base_list_push_tail(&spare, &((struct kid *)addr)[i].all);
	return true;
}

int direct_fork_asked(void)
{
	if (asked < 0)
		asked = shm_fd_hide((int)sys(SYS_epoll_create1, EPOLL_CLOEXEC));
	return asked;
}

/* In the lock. */
static void kid_free(struct kid *k)
{
	shm_fd_close(k->fd);
	k->fd = -1;
	base_list_remove(&k->all);
	base_list_push_head(&spare, &k->all);
	atomic_fetch_sub(&kids_count, 1);
}

/* In the lock. Return: the child's end, -1: there is nothing for it, or no descriptor. */
static int kid_new(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int pair[2] = { -1, -1 };
	struct kid *k;

	if (base_list_empty(&spare) && !kids_map())
		return -1;
	if (sys(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) <
	    0)
		return -1;
	k = base_container_of(base_list_pop_head(&spare), struct kid, all);
	k->fd = shm_fd_hide(pair[0]);
	k->no = atomic_fetch_add(&forks, 1) + 1;
	base_list_push_tail(&kids, &k->all);
	atomic_fetch_add(&kids_count, 1);
	ev.data.ptr = k;
	sys(SYS_epoll_ctl, asked, EPOLL_CTL_ADD, k->fd, &ev);
	return shm_fd_hide(pair[1]);
}

static bool has_connections(void)
{
	for (int n = 0; net_any() && n <= sock_highest(); n++) {
		const struct sock *s = sock_of(n);

		if (s && direct_is_connection(s))
			return true;
	}
	return false;
}

void direct_fork_lock(bool lock)
{
	static bool taken;

	if (lock) {
		taken = shm_lock(&kids_lock, thread_tid());
		next_parent = asked >= 0 && has_connections() ? kid_new() : -1;
		return;
	}
	shm_fd_close(next_parent); /* the child has it, or there is no child: then it hangs up */
	next_parent = -1;
	shm_unlock(&kids_lock, taken);
}

bool direct_fork_shared(const struct direct *d, const struct stats_row *row)
{
	const struct kid *last;
	bool taken, so;

	if (likely(!atomic_load_explicit(&kids_count, memory_order_relaxed)) ||
	    !atomic_load(&row->refs))
		return false;
	taken = shm_lock(&kids_lock, thread_tid());
	last = base_container_of(kids.prev, struct kid, all);
	so = !base_list_empty(&kids) && last->no > d->forks;
	shm_unlock(&kids_lock, taken);
	return so;
}

void direct_fork_give(uint32_t born, const struct stats_row *row, int fd)
{
	const struct kid_word word = { row };
	bool taken;

	if (likely(!atomic_load(&kids_count)))
		return;
	taken = shm_lock(&kids_lock, thread_tid());
	base_list_for_each(node, &kids)
	{
		const struct kid *k = base_container_of(node, struct kid, all);

		if (k->no > born)
			shm_fd_send(k->fd, &word, sizeof(word), fd);
	}
	shm_unlock(&kids_lock, taken);
}

struct asked_for {
	const struct stats_row *row;
	bool found;
};

static void lower_one(struct sock *s, void *arg)
{
	struct asked_for *a = arg;

	if (s->row != a->row)
		return;
	a->found = true;
	if (direct_is_connection(s))
		direct_share(s); /* which sends it to all of them */
}

/* Whether a thread is about to end it: then it goes to all children that have it. */
static bool is_ending(const struct stats_row *row)
{
	bool so = false;

	for (unsigned k = 0; k < NET_INSTS && !so; k++) {
		if (!(atomic_load(&net_opened) & 1u << k) || !net_enter(&net_insts[k]))
			continue;
		for (struct base_list *node = net_insts[k].conns.next;
		     node && node != &net_insts[k].conns && !so; node = node->next) {
			const struct direct *d = base_container_of(node, struct direct, all);

			so = d->sock && d->sock->row == row;
		}
		net_leave();
	}
	return so;
}

/* All that a child asks for. Return: false: it is gone. */
static bool answer(const struct kid *k)
{
	bool taken = shm_lock(&kids_lock, thread_tid());
	const int kid = k->fd; /* this thread alone ends it */
	struct kid_word word;
	int fd, got;

	shm_unlock(&kids_lock, taken);
	while ((got = shm_fd_receive(kid, &word, sizeof(word), &fd)) == 1) {
		struct asked_for a = { word.row, false };

		if (fd >= 0)
			sys(SYS_close, fd);
		sock_each(lower_one, &a);
		if (a.found || !is_ending(word.row))
			shm_fd_send(kid, &word, sizeof(word), -1); /* there was none */
	}
	return got == 0;
}

bool direct_fork_serve(void)
{
	struct epoll_event ev[KIDS_AT_ONCE] = { 0 };
	long n;
	bool taken;

	if (asked < 0)
		return false;
	n = sys(SYS_epoll_pwait, asked, ev, KIDS_AT_ONCE, 0, 0, 8);
	for (long i = 0; i < n; i++) { /* this thread alone takes them off the list */
		struct kid *k = ev[i].data.ptr;

		if (ev[i].data.u64 & DIRECT_RELAY_TAG) {
			direct_relay_due((struct direct *)(ev[i].data.u64 - DIRECT_RELAY_TAG));
			continue;
		}
		if (!k || answer(k))
			continue;
		taken = shm_lock(&kids_lock, thread_tid());
		kid_free(k);
		shm_unlock(&kids_lock, taken);
	}
	return direct_relay_serve();
}

/* ---- the child ---- */

/* What is the parent's parent's has been taken before the fork. */
void direct_fork_child(void)
{
	atomic_store(&kids_lock, 0);
	atomic_store(&claim_lock, 0);
	shm_fd_close(asked);
	asked = -1;
	direct_relay_forked();
	base_list_for_each_safe(node, &kids) kid_free(base_container_of(node, struct kid, all));
	shm_fd_close(parent);
	parent = next_parent;
	next_parent = -1;
	heir_pid = sys(SYS_getpid);
	atomic_store(&direct_heir, parent >= 0);
}

/* Its numbers are @fd's from now on, or stay what they are. In the lock. */
static void inherit(struct sock *s, int fd)
{
	if (fd >= 0)
		direct_numbers_move(s, fd);
	SHM_PUBLISH(s->direct, NULL);
	SHM_PUBLISH(s->stage, SOCK_SETTLED);
	atomic_fetch_or(&s->row->flags, STATS_SETTLED);
}

static void take(const struct stats_row *row, int fd)
{
	for (int n = 0; n <= sock_highest(); n++) {
		struct sock *s = sock_of(n);

		if (s && s->row == row && direct_is_connection(s)) {
			inherit(s, fd);
			break;
		}
	}
	if (fd >= 0)
		sys(SYS_close, fd);
}

/* In the lock. Return: false: the parent is gone. */
static bool take_all(void)
{
	struct kid_word word;
	int fd, got;

	while ((got = shm_fd_receive(parent, &word, sizeof(word), &fd)) == 1)
		take(word.row, fd);
	return got == 0;
}

/* In the lock. */
static void claim(struct sock *s)
{
	const uint64_t end = thread_now() + ANSWER_MS * UINT64_C(1000000);
	const struct kid_word word = { s->row };
	bool there = take_all();
	uint64_t now;

	if (!direct_is_connection(s))
		return;
	if (there)
		shm_fd_send(parent, &word, sizeof(word), -1);
	while (there && direct_is_connection(s) && (now = thread_now()) < end) {
		struct pollfd p = { .fd = parent, .events = POLLIN };
		struct timespec ts = { (time_t)((end - now) / 1000000000),
				       (long)((end - now) % 1000000000) };

		sys(SYS_ppoll, &p, 1, &ts, 0, 8);
		there = take_all();
	}
	if (direct_is_connection(s))
		inherit(s, -1);
}

bool direct_claim(struct sock *s)
{
	const struct direct *d = SHM_FOLLOW(s->direct);
	uint64_t mask;
	bool taken;

	/* a child of vfork is on our memory, but has descriptors of its own */
	if (!d || d->of || d->at || sys(SYS_getpid) != heir_pid)
		return direct_is_connection(s);
	mask = thread_signals_block();
	taken = shm_lock(&claim_lock, thread_tid());
	if (taken && SHM_FOLLOW(s->direct) == d)
		claim(s);
	shm_unlock(&claim_lock, taken);
	thread_signals_restore(mask);
	return direct_is_connection(s);
}

void direct_claim_all(void)
{
	for (int n = 0; atomic_load(&direct_heir) && n <= sock_highest(); n++) {
		struct sock *s = sock_of(n);

		if (s && direct_is_connection(s))
			direct_claim(s);
	}
}
