/* shm_chan.c - channels: being found, finding, messages in and out */
#include "shm/shm_chan.h"

#include "shm/shm_chan_priv.h"
#include "shm/shm_conn.h"
#include "shm/shm_fd.h"
#include "shm/shm_lock.h"
#include "shm/shm_sys.h"
#include "shm/shm_user.h"
#include "shm/shm_word.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

struct shm_self shm_self = { .arena[0] = { .fd = -1 } };

struct chan chan = { .epoll = -1 };

struct chan_guard chan_enter(void)
{
	struct chan_guard g = { .tid = (uint32_t)sys(SYS_gettid) };
	uint64_t all = ~UINT64_C(0);

	sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, &g.mask, sizeof(all));
	g.taken = shm_lock(&chan.lock, g.tid);
	return g;
}

void chan_leave(const struct chan_guard *g)
{
	shm_unlock(&chan.lock, g->taken);
	sys(SYS_rt_sigprocmask, SIG_SETMASK, &g->mask, 0, sizeof(g->mask));
}

static void peer_init(struct shm_peer *p)
{
	if (p->husk)
		shm_arena_unmap_peer(p->husk, p->bytes);
	*p = (struct shm_peer){ .sock = -1 };
	for (unsigned i = 0; i < SHM_BELLS; i++)
		p->bell_fd[i] = -1;
}

static int state_open(void)
{
	long addr;

	if (chan.state)
		return 0;
	addr = sys(SYS_mmap, 0, sizeof(*chan.state), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (addr < 0 && addr > -4096)
		return (int)addr;
	chan.epoll = shm_fd_hide((int)sys(SYS_epoll_create1, EPOLL_CLOEXEC));
	if (chan.epoll < 0) {
		sys(SYS_munmap, addr, sizeof(*chan.state));
		return chan.epoll;
	}
	chan.state = (struct chan_state *)addr;
	chan.peers = 1;
	peer_init(&chan.state->peer[PEER_SELF]);
	chan.state->peer[PEER_SELF].self = true;
	chan.state->peer[PEER_SELF].head = shm_self.arena[0].head;
	chan.state->peer[PEER_SELF].bytes = shm_self.arena[0].bytes;
	return 0;
}

int shm_self_open(void)
{
	struct chan_guard g;

	if (shm_self.arena[0].head || shm_self.why)
		return shm_self.why;
	g = chan_enter();
	if (!shm_self.arena[0].head && !shm_self.why) {
		struct shm_arena arena;

		shm_self.why = shm_arena_make(&arena);
		if (!shm_self.why) {
			shm_self.arena[0] = arena;
			shm_self.why = state_open();
			if (shm_self.why) {
				sys(SYS_munmap, arena.head, arena.bytes);
				shm_fd_close(arena.fd);
				shm_self.arena[0] = (struct shm_arena){ .fd = -1 };
			}
		}
	}
	chan_leave(&g);
	return shm_self.why;
}

unsigned shm_self_arena_of(const struct shm_conn *conn)
{
	for (unsigned a = 1; a < SHM_ARENAS; a++) {
		const char *base = (const char *)shm_self.arena[a].head;

		if (base && (const char *)conn >= base &&
		    (const char *)conn < base + shm_self.arena[a].bytes)
			return a;
	}
	return 0;
}

struct shm_peer *shm_peer_self(void)
{
	return chan.state ? &chan.state->peer[PEER_SELF] : NULL;
}

/* Connections keep pointing at the old peers. Our bells have other eventfds than the parent's. */
static void peers_forked(struct chan_state *old)
{
	for (unsigned i = 0; i < chan.peers; i++) {
		old->peer[i].shared = true;
		memset(old->peer[i].told, 0, sizeof(old->peer[i].told));
	}
	for (unsigned bell = 0; bell < SHM_BELLS; bell++)
		old->peer[PEER_SELF].bell_fd[bell] = -1;
}

/* The parent's arena moves up; connections in it go on. The parent keeps its names and its mail. */
void shm_self_forked(void)
{
	shm_self.why = 0;
	atomic_store(&chan.lock, 0);
	shm_bell_forked();
	if (!shm_self.arena[0].head)
		return;
	for (unsigned a = SHM_ARENAS - 1; a > 0; a--)
		shm_self.arena[a] = shm_self.arena[a - 1];
	shm_self.arena[0] = (struct shm_arena){ .fd = -1 };
	memset(shm_self.domain, 0, sizeof(shm_self.domain));
	for (unsigned i = 0; i < CHAN_PORTS; i++) {
		if (chan.listener[i].port)
			shm_fd_close(chan.listener[i].fd);
		chan.listener[i].port = 0;
	}
	shm_fd_close(chan.epoll);
	chan.epoll = -1;
	if (chan.state)
		peers_forked(chan.state);
	chan.state = NULL;
	chan.peers = 0;
}

static int chan_name(struct sockaddr_un *sa, uint16_t port, unsigned rank)
{
	int n = snprintf(sa->sun_path + 1, sizeof(sa->sun_path) - 1, "ztcp-shm%d/%u/%u/%u",
			 SHM_VERSION, (unsigned)sys(SYS_geteuid), port, rank);

	sa->sun_family = AF_UNIX;
	sa->sun_path[0] = '\0';
	return (int)offsetof(struct sockaddr_un, sun_path) + 1 + n;
}

int chan_epoll_join(int fd, uint64_t data)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP, .data.u64 = data };

	return (int)sys(SYS_epoll_ctl, chan.epoll, EPOLL_CTL_ADD, fd, &ev);
}

static int listen_at(uint16_t port, unsigned slot)
{
	long fd = sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa;
	long err = -EADDRINUSE;

	if (fd < 0)
		return (int)fd;
	for (unsigned rank = 0; rank < CHAN_RANKS && err == -EADDRINUSE; rank++)
		err = sys(SYS_bind, fd, &sa, chan_name(&sa, port, rank));
	if (!err)
		err = sys(SYS_listen, fd, CHAN_BACKLOG);
	if (err) {
		sys(SYS_close, fd);
		return (int)err;
	}
	fd = shm_fd_hide((int)fd);
	if (fd < 0)
		return (int)fd;
	err = chan_epoll_join((int)fd, CHAN_LISTENER + slot);
	if (err) {
		shm_fd_close((int)fd);
		return (int)err;
	}
	chan.listener[slot].port = port;
	chan.listener[slot].fd = (int)fd;
	chan.listener[slot].users = 1;
	return 0;
}

/* The place of a port, or of port 0: a free one. Return: CHAN_PORTS when there is none. */
static unsigned listener_of(uint16_t port)
{
	unsigned i = 0;

	while (i < CHAN_PORTS && chan.listener[i].port != port)
		i++;
	return i;
}

int shm_chan_listen(uint16_t port)
{
	struct chan_guard g = chan_enter();
	unsigned i = listener_of(port);
	int err = 0;

	if (i < CHAN_PORTS)
		chan.listener[i].users++;
	else
		err = listener_of(0) < CHAN_PORTS ? listen_at(port, listener_of(0)) : -ENOSPC;
	chan_leave(&g);
	return err;
}

void shm_chan_unlisten(uint16_t port)
{
	struct chan_guard g = chan_enter();
	unsigned i = listener_of(port);

	if (i < CHAN_PORTS && --chan.listener[i].users == 0) {
		/* a forked child may hold it too */
		sys(SYS_epoll_ctl, chan.epoll, EPOLL_CTL_DEL, chan.listener[i].fd, 0);
		shm_fd_close(chan.listener[i].fd);
		chan.listener[i].port = 0;
	}
	chan_leave(&g);
}

static bool same_user(int sock)
{
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(cred);

	return sys(SYS_getsockopt, sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	       shm_user_is_own(cred.uid);
}

static int chan_send(struct shm_peer *peer, struct shm_msg *msg, int fd)
{
	if (SHM_READ(peer->gone) || peer->sock < 0)
		return -ENOTCONN;
	msg->version = SHM_VERSION;
	return shm_fd_send(peer->sock, msg, sizeof(*msg), fd);
}

int shm_chan_send(struct shm_peer *peer, struct shm_msg *msg, int fd)
{
	struct chan_guard g = chan_enter();
	int err = chan_send(peer, msg, fd);

	chan_leave(&g);
	return err;
}

static int say_hello(struct shm_peer *peer)
{
	struct shm_msg hello = {
		.type = SHM_MSG_HELLO,
		.pid = (uint32_t)sys(SYS_getpid),
		.bytes = shm_self.arena[peer->arena].bytes,
	};

	return chan_send(peer, &hello, shm_self.arena[peer->arena].fd);
}

static void pending_forget(const struct shm_peer *p)
{
	struct chan_state *st = chan.state;

	for (unsigned i = 0; st && i < st->pending_count; i++) {
		if (st->pending[(st->pending_first + i) % CHAN_PENDING].from == p)
			st->pending[(st->pending_first + i) % CHAN_PENDING].from = NULL;
	}
}

/* A thread whose connection another one closes in this moment may still look into the peer's memory. */
static void peer_empty(struct shm_peer *p)
{
	const struct shm_head *head = p->head;
	uint64_t bytes = p->bytes;

	SHM_WRITE(p->head, NULL);
	peer_init(p);
	if (!head)
		return;
	if (shm_arena_drop_peer(head, bytes)) {
		p->husk = head;
		p->bytes = bytes;
	} else {
		shm_arena_unmap_peer(head, bytes);
	}
}

/* Wake whoever of this process sleeps at a bell that @p sees; @bell 0: at any of them. */
static void ring_own(const struct shm_peer *p, unsigned bell)
{
	const struct shm_head *head = shm_self.arena[p->arena].head;
	unsigned first = bell ? bell : 1, last = bell ? bell : SHM_BELLS - 1;
	uint64_t one = 1;

	for (unsigned b = first; b <= last; b++) {
		int efd = p->arena ? SHM_READ(chan.state->stranger_fd[p->arena][b]) - 1
				   : SHM_READ(chan.state->peer[PEER_SELF].bell_fd[b]);

		if (efd >= 0 && atomic_load_explicit(&head->bell[b].seq, memory_order_acquire) & 1)
			sys(SYS_write, efd, &one, sizeof(one));
	}
}

void chan_peer_close(struct shm_peer *p)
{
	if (p->stranger && !p->shared && !p->gone)
		ring_own(p, 0); /* it cannot any more */
	pending_forget(p);      /* the slot may be another's before its turn comes */
	/* a forked child may hold the socket too: closing ours does not take it out */
	if (p->sock >= 0 && !p->shared)
		sys(SYS_epoll_ctl, chan.epoll, EPOLL_CTL_DEL, p->sock, 0);
	shm_fd_close(p->sock);
	SHM_WRITE(p->sock, -1);
	SHM_WRITE(p->gone, true);
	if (p->refs)
		return;
	for (unsigned i = 0; i < SHM_BELLS; i++)
		shm_fd_close(p->bell_fd[i]);
	peer_empty(p);
	p->gone = true;
}

struct shm_peer *chan_peer_open(int fd, unsigned arena)
{
	struct shm_peer *p = NULL;
	unsigned i;

	for (i = 1; i < chan.peers && !p; i++) {
		if (chan.state->peer[i].gone && !chan.state->peer[i].refs)
			p = &chan.state->peer[i];
	}
	if (!p && chan.peers < CHAN_PEERS)
		p = &chan.state->peer[chan.peers++];
	if (!p) {
		sys(SYS_close, fd);
		return NULL;
	}
	peer_init(p);
	p->arena = (uint8_t)arena;
	p->sock = shm_fd_hide(fd);
	if (p->sock < 0 || chan_epoll_join(p->sock, (uint64_t)(p - chan.state->peer)) ||
	    say_hello(p)) {
		chan_peer_close(p);
		return NULL;
	}
	return p;
}

static int chan_connect(uint16_t port, unsigned rank, struct shm_peer **peer)
{
	long fd = sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa;
	struct shm_peer *p;
	long err;

	if (fd < 0)
		return (int)fd;
	err = sys(SYS_connect, fd, &sa, chan_name(&sa, port, rank));
	if (!err && !same_user((int)fd))
		err = -EPERM;
	if (err) {
		sys(SYS_close, fd);
		return (int)err;
	}
	p = chan_peer_open((int)fd, 0);
	if (!p)
		return -ENOMEM;
	p->port = port;
	p->rank = (uint16_t)rank;
	*peer = p;
	return 0;
}

int shm_chan_find(uint16_t port, unsigned rank, struct shm_peer **peer)
{
	struct chan_guard g = chan_enter();
	int err = -ENOENT;

	for (unsigned i = 1; i < chan.peers; i++) {
		struct shm_peer *p = &chan.state->peer[i];

		if (!SHM_READ(p->gone) && !p->chan && p->port == port && p->rank == rank) {
			*peer = p;
			chan_leave(&g);
			return 0;
		}
	}
	if (rank < CHAN_RANKS)
		err = chan_connect(port, rank, peer);
	chan_leave(&g);
	return err == -ECONNREFUSED ? -ENOENT : err;
}

static void accept_one(int listener)
{
	long fd = sys(SYS_accept4, listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (same_user((int)fd))
		chan_peer_open((int)fd, 0);
	else
		sys(SYS_close, fd);
}

static bool on_hello(struct shm_peer *p, const struct shm_msg *msg, int fd)
{
	const struct shm_head *head;

	if (p->head || fd < 0 || shm_arena_map_peer(fd, msg->bytes, &head))
		return false;
	p->bytes = msg->bytes;
	SHM_PUBLISH(p->head, head); /* last: others see by it that the rest is there */
	sys(SYS_close, fd);
	return true;
}

/* Something that a write cannot kill us by: no pipe, no socket, no terminal. */
static bool is_eventfd(int fd)
{
	struct stat st;

	return sys(SYS_fstat, fd, &st) == 0 && (st.st_mode & S_IFMT) == 0;
}

static bool on_bell(struct shm_peer *p, const struct shm_msg *msg, int fd)
{
	if (fd < 0 || p->stranger || msg->bell >= SHM_BELLS || !is_eventfd(fd)) {
		sys(SYS_close, fd);
		return false;
	}
	if (p->bell_fd[msg->bell] >= 0) {
		/* another thread may be about to ring: the number stays, and is nothing else in between */
		sys(SYS_dup3, fd, p->bell_fd[msg->bell], O_CLOEXEC);
		sys(SYS_close, fd);
	} else {
		fd = shm_fd_hide(fd);
		if (fd < 0)
			return false;
		SHM_WRITE(p->bell_fd[msg->bell], fd);
	}
	SHM_WRITE(p->rung[msg->bell], 0);
	return true;
}

/* From a stranger, or from a forked child of the peer, who has no eventfd of this bell. */
static bool on_ring(const struct shm_peer *p, const struct shm_msg *msg)
{
	if (!msg->bell || msg->bell >= SHM_BELLS)
		return false;
	ring_own(p, msg->bell);
	return true;
}

enum chan_got { GOT_NOTHING, GOT_DONE, GOT_MESSAGE, GOT_NONSENSE };

/* One message. HELLO, BELL and RING are done with here. */
static enum chan_got receive_one(struct shm_peer *p, struct shm_msg *msg)
{
	int fd, got = shm_fd_receive(p->sock, msg, sizeof(*msg), &fd);

	if (!got)
		return GOT_NOTHING;
	if (got < 0 || msg->version != SHM_VERSION)
		goto nonsense;
	switch (msg->type) {
	case SHM_MSG_HELLO:
		if (on_hello(p, msg, fd))
			return GOT_DONE;
		break;
	case SHM_MSG_BELL:
		if (on_bell(p, msg, fd))
			return GOT_DONE;
		return GOT_NONSENSE;
	case SHM_MSG_RING:
		if (fd < 0 && on_ring(p, msg))
			return GOT_DONE;
		break;
	case SHM_MSG_OFFER:
	case SHM_MSG_ACCEPT:
	case SHM_MSG_REFUSE:
		if (fd >= 0 || !p->head)
			break;
		if (p->stranger)
			ring_own(p, 0); /* its RING may have found no room beside this */
		return GOT_MESSAGE;
	default: break;
	}
nonsense:
	if (fd >= 0)
		sys(SYS_close, fd);
	return GOT_NONSENSE;
}

static bool chan_poll(struct shm_msg *msg, struct shm_peer **from)
{
	struct chan_state *st = chan.state;
	struct epoll_event ev;
	unsigned budget = CHAN_BUDGET;

	while (st->pending_count) {
		unsigned i = st->pending_first++ % CHAN_PENDING;

		st->pending_count--;
		*msg = st->pending[i].msg;
		*from = st->pending[i].from;
		if (*from)
			return true;
	}
	while (budget-- && sys(SYS_epoll_pwait, chan.epoll, &ev, 1, 0, 0, 8) == 1) {
		struct shm_peer *p;

		if (ev.data.u64 == CHAN_WATCHED) {
			*msg = (struct shm_msg){ .type = SHM_MSG_WATCHED };
			*from = NULL;
			return true;
		}
		if (ev.data.u64 >= CHAN_LISTENER) {
			accept_one(chan.listener[ev.data.u64 - CHAN_LISTENER].fd);
			continue;
		}
		p = &chan.state->peer[ev.data.u64];
		switch (receive_one(p, msg)) {
		case GOT_MESSAGE: *from = p; return true;
		case GOT_NONSENSE: /* or the end: read returned 0 */ chan_peer_close(p); break;
		case GOT_NOTHING:
		case GOT_DONE: break;
		}
	}
	return false;
}

bool shm_chan_poll(struct shm_msg *msg, struct shm_peer **from)
{
	struct chan_guard g;
	bool found;

	if (chan.epoll < 0)
		return false;
	g = chan_enter();
	found = chan_poll(msg, from);
	chan_leave(&g);
	return found;
}

int shm_chan_fd(void)
{
	return chan.epoll;
}

/* Return: whether the peer can ring @bell from now on. */
static bool tell_bell(struct shm_peer *peer, unsigned bell, int efd)
{
	struct shm_msg msg = { .type = SHM_MSG_BELL, .bell = bell };

	if (peer->self)
		return true;
	/* A stranger could read an eventfd empty, or fill it. Its mail comes to the process that made the channel. */
	if (peer->stranger)
		return !peer->shared;
	return shm_chan_send(peer, &msg, efd) == 0;
}

void shm_peer_tell_bell(struct shm_peer *peer, unsigned bell, int efd)
{
	uint64_t bit = UINT64_C(1) << bell % 64;

	if (SHM_READ(peer->told[bell / 64]) & bit)
		return;
	if (peer->arena && !peer->shared)
		SHM_WRITE(chan.state->stranger_fd[peer->arena][bell], efd + 1);
	else if (!peer->shared)
		SHM_WRITE(chan.state->peer[PEER_SELF].bell_fd[bell], efd);
	if (tell_bell(peer, bell, efd))
		__atomic_fetch_or(&peer->told[bell / 64], bit, __ATOMIC_RELAXED);
	else
		SHM_WRITE(peer->untold, true); /* it cannot ring us: we look for ourselves */
}

/*
 * To a stranger, who gives no eventfds; and where they went to the parent after a fork, who reads the mail: sending is
 * open to both. There may be no room: then mail lies there unread, and wakes who sleeps.
 */
static void ring_by_mail(struct shm_peer *peer, unsigned bell, uint32_t seq)
{
	struct shm_msg msg = { .type = SHM_MSG_RING, .bell = bell };

	if ((peer->stranger || peer->shared) && shm_chan_send(peer, &msg, -1) == 0)
		SHM_WRITE(peer->rung[bell], seq);
}

static void ring_one(struct shm_peer *peer, unsigned bell)
{
	uint32_t seq = atomic_load_explicit(&peer->head->bell[bell].seq, memory_order_acquire);
	struct pollfd p = { .fd = SHM_READ(peer->bell_fd[bell]), .events = POLLOUT };
	struct timespec zero = { 0, 0 };
	uint64_t one = 1;

	if (!(seq & 1) || SHM_READ(peer->rung[bell]) == seq)
		return;
	if (p.fd < 0) {
		ring_by_mail(peer, bell, seq);
		return;
	}
	/* the peer owns it: a full one would block us */
	if (sys(SYS_ppoll, &p, 1, &zero, 0, 8) == 1 && p.revents & POLLOUT)
		sys(SYS_write, p.fd, &one, sizeof(one));
	/* last: a handler that comes before may jump away */
	SHM_WRITE(peer->rung[bell], seq);
}

/* Eventfds wait in the channel's socket until somebody needs one; other mail is kept for its turn. */
static void fetch_bells(struct shm_peer *peer, unsigned bell)
{
	struct chan_state *st = chan.state;
	enum chan_got got = GOT_DONE;

	for (unsigned budget = CHAN_BUDGET; budget && SHM_READ(peer->bell_fd[bell]) < 0 &&
					    got != GOT_NOTHING && st->pending_count < CHAN_PENDING;
	     budget--) { /* no peer has a bell 0: then all are fetched */
		unsigned i = (st->pending_first + st->pending_count) % CHAN_PENDING;

		got = receive_one(peer, &st->pending[i].msg);
		if (got == GOT_NONSENSE) {
			chan_peer_close(peer);
			break;
		}
		if (got == GOT_MESSAGE) {
			st->pending[i].from = peer;
			st->pending_count++;
		}
	}
}

static void peer_fetch_bells(struct shm_peer *peer, unsigned bell)
{
	struct chan_guard g;

	if (SHM_READ(peer->sock) < 0 || peer->shared || peer->stranger)
		return;
	g = chan_enter();
	fetch_bells(peer, bell);
	chan_leave(&g);
}

/* From here on peers know that a bell told now may reach one of two processes. The child gets the earlier ones. */
static void before_fork(void)
{
	for (unsigned a = 0; a < SHM_ARENAS; a++) {
		if (shm_self.arena[a].head)
			atomic_store(&shm_self.arena[a].head->forked, 1);
	}
	for (unsigned i = 1; i < chan.peers; i++) {
		if (chan.state->peer[i].sock >= 0)
			fetch_bells(&chan.state->peer[i], 0);
	}
}

void shm_self_fork_lock(bool lock)
{
	static bool taken;

	if (lock) {
		taken = shm_lock(&chan.lock, (uint32_t)sys(SYS_gettid));
		before_fork();
	} else {
		shm_unlock(&chan.lock, taken);
	}
}

void shm_peer_ring(struct shm_peer *peer, const _Atomic uint32_t *of)
{
	uint32_t bells;

	atomic_thread_fence(memory_order_seq_cst); /* pairs with shm_waker_sleep() */
	bells = atomic_load_explicit(of, memory_order_relaxed);
	if ((bells & 0xff) == 0xff) {
		peer_fetch_bells(peer, 0);
		for (unsigned bell = 1; bell < SHM_BELLS - 1; bell++)
			ring_one(peer, bell);
		return;
	}
	for (; bells; bells >>= 8) {
		unsigned bell = bells & 0xff;

		if (!bell)
			continue;
		if (SHM_READ(peer->bell_fd[bell]) < 0)
			peer_fetch_bells(peer, bell);
		ring_one(peer, bell);
	}
}

void shm_peer_get(struct shm_peer *peer)
{
	struct chan_guard g = chan_enter();

	peer->refs++;
	chan_leave(&g);
}

void shm_peer_put(struct shm_peer *peer)
{
	struct chan_guard g = chan_enter();

	if (--peer->refs == 0 && (SHM_READ(peer->gone) || peer->stale))
		chan_peer_close(peer);
	chan_leave(&g);
}

const struct shm_ctl *shm_peer_ctl(const struct shm_peer *peer, uint32_t conn)
{
	uint64_t at = (uint64_t)conn * SHM_CONN_UNIT;

	if (!SHM_FOLLOW(peer->head) || at < sizeof(struct shm_head) ||
	    at + sizeof(struct shm_conn) > peer->bytes)
		return NULL;
	return (const struct shm_ctl *)((const char *)peer->head + at);
}
