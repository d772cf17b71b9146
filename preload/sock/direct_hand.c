/* direct_hand.c - connections that nobody has accepted go to the other processes that have the listener
 *
 * A server that is told to end, or to read its configuration again, closes its listening socket while others go on with the
 * same one: forked workers, their successors. What waits in the kernel's queue is theirs then, and so is what waits in the
 * stack's. The port is given up, handshakes under way are finished, and each connection becomes one of the kernel
 * (direct_lower.c), whose descriptor goes through a socket that all processes with this listener have since listen(). Who waits
 * for the listener waits for that socket, too: in the same epoll set, by the same word. What lies in it when the last of the
 * processes ends is closed by the kernel. A program that has the listener by exec (direct_found.c) has the socket, too: it finds
 * the memory by its name, in that the listener's cookie, and the ends by their inodes.
 */
#include "preload/sock/diag.h"
#include "preload/sock/direct_priv.h"
#include "preload/sock/thread.h"
#include "shm/shm_fd.h"
#include "stack/base/base_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
	HAND_BYTES = 4 << 20, /* room for connections on their way; the backlog is never as long */
	HAND_OVER_MS = 1000,  /* a handshake that takes longer is given up */
	HAND_QUIET_MS = 5,
	HAND_LOOK_MS = 1,
	HAND_LEAVE_MS = 1000, /* before a stranger comes, for the others to accept what they have */
	HAND_KNOCK_MS = 5,
};

/* In memory that the processes share. */
struct direct_hand {
	_Atomic uint32_t lock;    /* by who looks into the kernel's queue */
	_Atomic uint32_t holders; /* processes; one too many when one was killed */
	_Atomic uint32_t on_way;  /* connections in the socket, or about to be */
	_Atomic uint32_t serving; /* instances that have its ports; as above */
	/* a program that takes none has the listener, which is the kernel's alone */
	_Atomic uint32_t stranger;
	uint64_t cookie;     /* the listener's; this and the rest: constant */
	uint64_t take, give; /* inodes */
};

#define HAND_NAME "ztcp-hand"
#define HAND_SEALS                     \
	(F_SEAL_SHRINK | F_SEAL_GROW | \
	 F_SEAL_SEAL) /* a worker must not cut it off under its master */

static uint64_t inode_of(int fd)
{
	struct stat st = { .st_ino = 0 };

	return sys(SYS_fstat, fd, &st) ? 0 : st.st_ino;
}

static struct direct_hand *page_map(int fd)
{
	long page = shm_fd_map(fd, sizeof(struct direct_hand), PROT_READ | PROT_WRITE);

	return page < 0 ? NULL : (struct direct_hand *)page;
}

/* ---- by exec ---- */

struct heirloom {
	struct direct *d;
	uint64_t cookie;
};

/* Return: true: it is this listener's. */
static bool page_look(int fd, void *arg)
{
	static const char wanted[] = "/memfd:" HAND_NAME;
	const struct heirloom *h = arg;
	struct direct_hand *hand;
	char link[40], name[64];
	struct stat st;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (sys(SYS_readlink, link, name, sizeof(name)) < (long)sizeof(wanted) ||
	    memcmp(name, wanted, sizeof(wanted) - 1) != 0 ||
	    (sys(SYS_fcntl, fd, F_GET_SEALS) & HAND_SEALS) != HAND_SEALS ||
	    sys(SYS_fstat, fd, &st) || st.st_size != sizeof(*hand))
		return false;
	hand = page_map(fd);
	if (hand && hand->cookie == h->cookie) {
		h->d->page = shm_fd_hide(fd);
		h->d->hand = hand;
		return true;
	}
	if (hand)
		sys(SYS_munmap, hand, sizeof(*hand));
	return false;
}

/* Return: true: both ends are known. */
static bool end_look(int fd, void *arg)
{
	struct direct *d = arg;
	const uint64_t inode = inode_of(fd);

	if (d->take < 0 && inode == d->hand->take)
		d->take = shm_fd_hide(fd);
	else if (d->give < 0 && inode == d->hand->give)
		d->give = shm_fd_hide(fd);
	return d->take >= 0 && d->give >= 0;
}

/* What the program before this one had for the same listener. */
static bool inherited(struct direct *d, uint64_t cookie)
{
	struct heirloom h = { d, cookie };

	diag_fds(page_look, &h);
	if (!d->hand)
		return false;
	diag_fds(end_look, d);
	if (d->take >= 0 && d->give >= 0)
		return true;
	direct_hand_close(d);
	return false;
}

/* Both ends, and the memory. */
static bool made(struct direct *d, int page, uint64_t cookie)
{
	int pair[2] = { -1, -1 }, room = HAND_BYTES;

	if (shm_fd_size(page, sizeof(struct direct_hand)) ||
	    sys(SYS_fcntl, page, F_ADD_SEALS, HAND_SEALS) ||
	    sys(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) <
		    0)
		return false;
	d->hand = page_map(page);
	sys(SYS_setsockopt, pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	d->take = shm_fd_hide(pair[0]);
	d->give = shm_fd_hide(pair[1]);
	if (!d->hand) {
		shm_fd_close(d->take);
		shm_fd_close(d->give);
		return false;
	}
	d->page = shm_fd_hide(page);
	atomic_store(&d->hand->holders, 1);
	d->hand->cookie = cookie;
	d->hand->take = inode_of(d->take);
	d->hand->give = inode_of(d->give);
	return true;
}

void direct_hand_open(struct direct *d, bool found)
{
	uint64_t cookie = diag_cookie(d->sock->fd);
	int page;

	d->give = d->take = -1;
	if (found && inherited(d, cookie))
		return;
	page = (int)sys(SYS_memfd_create, HAND_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (page >= 0 && !made(d, page, cookie)) {
		sys(SYS_close, page);
		d->give = d->take = -1;
	}
}

void direct_hand_close(struct direct *d)
{
	if (!d->hand)
		return;
	atomic_fetch_sub(&d->hand->holders, 1);
	shm_fd_close(d->give);
	shm_fd_close(d->take);
	shm_fd_close(d->page);
	sys(SYS_munmap, d->hand, sizeof(struct direct_hand));
	d->hand = NULL;
	d->give = d->take = -1;
}

void direct_hand_share(const struct direct *d, int sign)
{
	if (d->hand)
		atomic_fetch_add(&d->hand->holders, (uint32_t)sign);
}

static void pass(const struct direct *d, bool on)
{
	const int all[] = { d->page, d->take, d->give };

	for (unsigned i = 0; i < BASE_ARRAY_SIZE(all); i++)
		sys(SYS_fcntl, all[i], F_SETFD, on ? 0 : FD_CLOEXEC);
}

static void give(struct direct *d, int fd)
{
	char byte = 0;

	atomic_fetch_add(&d->hand->on_way, 1);
	if (shm_fd_send(d->give, &byte, 1, fd))
		atomic_fetch_sub(&d->hand->on_way, 1);
	if (fd >= 0)
		sys(SYS_close, fd);
}

/* From now on no connection comes to the stack by it; what has come is accepted before the stranger is there. */
static void strangers_place(struct direct *d)
{
	const uint64_t end = thread_now() + HAND_LEAVE_MS * UINT64_C(1000000);

	atomic_store(&d->hand->stranger, 1);
	direct_listen_hand(d);
	while (atomic_load(&d->hand->serving) && thread_now() < end) {
		struct timespec ts = { 0, HAND_KNOCK_MS * 1000000 };

		give(d, -1); /* who waits for the listener comes, and sees */
		sys(SYS_ppoll, NULL, 0, &ts, 0, 8);
	}
}

void direct_hand_leave(struct direct *d, enum direct_hand_next next)
{
	if (next == DIRECT_HAND_HEIR) {
		pass(d, true);
		direct_listen_hand(d);
		return;
	}
	direct_hand_share(d, -1);
	if (next == DIRECT_HAND_STRANGER)
		strangers_place(d);
}

void direct_hand_stay(struct direct *d, enum direct_hand_next next)
{
	if (next == DIRECT_HAND_STRANGER)
		atomic_store(&d->hand->stranger, 0);
	if (next == DIRECT_HAND_HEIR)
		pass(d, false);
	else
		direct_hand_share(d, 1);
}

static void ports_give_up(const struct direct_at *at)
{
	for (unsigned i = 0; i < NET_MAX; i++) {
		for (unsigned k = 0; k < 2; k++) {
			if (at->listener[i][k])
				net_stack->ztcp_listener_drain(thread_self.inside->net[i].z,
							       at->listener[i][k],
							       (ztime_t)thread_now());
		}
	}
}

bool direct_hand_stranger(const struct direct *d)
{
	return d->hand && unlikely(atomic_load_explicit(&d->hand->stranger, memory_order_relaxed));
}

static bool listens_here(const struct direct_at *at)
{
	for (unsigned i = 0; i < NET_MAX; i++) {
		if (at->listener[i][0] || at->listener[i][1])
			return true;
	}
	return false;
}

/* Whether something waits to be accepted, or is about to. */
static bool comes_here(const struct direct_at *at)
{
	for (unsigned n = 0; n < NET_MAX * 2; n++) {
		struct inst_listener *one = at->listener[n / 2][n % 2];
		const struct tcp_listener *l = one ? net_stack->inst_listener_tcp(one) : NULL;

		if (l && (l->n_ready || l->n_syn))
			return true;
	}
	return false;
}

void direct_hand_give_up(struct direct *d)
{
	struct direct_at *at = &d->at[net_no(thread_self.inside)];

	if (!at->given_up)
		ports_give_up(at);
	at->given_up = true;
	if (listens_here(at) && !comes_here(at))
		direct_listen_close(d);
}

void direct_hand_serves(const struct direct *d, bool on)
{
	struct direct_at *at = &d->at[net_no(thread_self.inside)];

	if (!d->hand || at->serves == on)
		return;
	at->serves = on;
	atomic_fetch_add(&d->hand->serving, on ? 1u : -1u);
}

bool direct_hand_shared(const struct direct *d)
{
	return d->hand && atomic_load(&d->hand->holders) > 1;
}

/* ---- taking ---- */

bool direct_hand_lock(const struct direct *d)
{
	return shm_lock(&d->hand->lock, thread_tid());
}

void direct_hand_unlock(const struct direct *d, bool taken)
{
	shm_unlock(&d->hand->lock, taken);
}

bool direct_handed(const struct direct *d)
{
	struct pollfd p = { .fd = d->take, .events = POLLIN };
	struct timespec zero = { 0, 0 };

	return d->hand && unlikely(atomic_load_explicit(&d->hand->on_way, memory_order_relaxed)) &&
	       sys(SYS_ppoll, &p, 1, &zero, 0, 8) > 0;
}

int direct_hand_take(struct direct *d, int flags)
{
	char byte;
	int fd;

	if (!d->hand || likely(!atomic_load_explicit(&d->hand->on_way, memory_order_relaxed)) ||
	    shm_fd_receive(d->take, &byte, 1, &fd) != 1)
		return -1;
	atomic_fetch_sub(&d->hand->on_way, 1);
	if (fd < 0) /* a knock */
		return -1;
	if (!(flags & SOCK_CLOEXEC))
		sys(SYS_fcntl, fd, F_SETFD, 0);
	if (flags & SOCK_NONBLOCK)
		sys(SYS_fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK);
	return fd;
}

int direct_hand_fd(struct sock *s)
{
	const struct direct *d = SHM_FOLLOW(s->direct);

	return d && d->hand ? d->take : -1;
}

void direct_hand_ctl(struct sock *s, int epfd, int op, struct epoll_event *ev)
{
	struct epoll_event all = { 0 };
	int take = direct_hand_fd(s);

	if (take < 0)
		return;
	/* one that is about to close the listener, too, must not be the only one to be woken */
	if (ev)
		all = (struct epoll_event){ ev->events & ~(uint32_t)EPOLLEXCLUSIVE, ev->data };
	sys(SYS_epoll_ctl, epfd, op, take, &all);
}

/* ---- giving ---- */

/* What a listener has in this instance. */
enum hand_state {
	HAND_EMPTY,
	HAND_COMING, /* handshakes are under way */
	HAND_MOVED,  /* some have just been handed over */
};

/* In the lock. */
static enum hand_state hand_queue(struct direct *d, struct net *n, struct inst_listener *l)
{
	enum hand_state state = HAND_EMPTY;
	struct inst_conn *c;
	int fd;

	while ((c = net_stack->inst_accept(n->in, l, NULL))) {
		fd = direct_lower_conn(n, d->six, c);
		if (fd >= 0)
			give(d, fd);
		else if (fd != -ECONNABORTED) /* it has not gone yet */
			net_stack->inst_abort(n->in, c, (ztime_t)thread_now());
		if (fd == -EPERM || fd == -EOPNOTSUPP)
			return HAND_EMPTY; /* the rest is reset with the listener */
		state = HAND_MOVED;
	}
	return state == HAND_EMPTY && net_stack->inst_listener_tcp(l)->n_syn ? HAND_COMING : state;
}

static enum hand_state hand_queues(struct direct *d)
{
	struct direct_at *at = &d->at[net_no(thread_self.inside)];
	enum hand_state state = HAND_EMPTY, one;

	for (unsigned i = 0; i < NET_MAX; i++) {
		for (unsigned k = 0; k < 2; k++) {
			if (!at->listener[i][k])
				continue;
			one = hand_queue(d, &thread_self.inside->net[i], at->listener[i][k]);
			state = BASE_MAX(state, one);
		}
	}
	return state;
}

void direct_hand_waiting(struct direct *d)
{
	const struct direct_at *at = &d->at[net_no(thread_self.inside)];

	if (!direct_hand_shared(d))
		return;
	for (unsigned i = 0; i < NET_MAX; i++) {
		struct net *n = &thread_self.inside->net[i];

		for (unsigned k = 0; k < 2; k++) {
			if (at->listener[i][k] &&
			    net_stack->inst_listener_tcp(at->listener[i][k])->n_ready &&
			    direct_lower_possible(n))
				hand_queue(d, n, at->listener[i][k]);
		}
	}
}

void direct_hand_over(struct direct *d)
{
	const struct direct_at *at = &d->at[net_no(thread_self.inside)];
	const uint64_t begun = thread_now(), end = begun + HAND_OVER_MS * UINT64_C(1000000);
	uint64_t moved = begun, now = begun;
	bool coming = true;

	if (!direct_hand_shared(d) || !listens_here(at))
		return;
	ports_give_up(at);
	/* What was on its way to the stack when it lost a port or a connection is not to be answered by a reset. */
	while (now - moved < HAND_QUIET_MS * UINT64_C(1000000) || (coming && now < end)) {
		struct pollfd set[NET_FDS];
		struct timespec ts = { 0, HAND_LOOK_MS * 1000000 };
		enum hand_state state;

		net_drive();
		state = hand_queues(d);
		sys(SYS_ppoll, set, net_fds(set, 1u << net_no(thread_self.inside)), &ts, 0, 8);
		now = thread_now();
		moved = state == HAND_MOVED ? now : moved;
		coming = state == HAND_COMING;
	}
	net_drive();
}
