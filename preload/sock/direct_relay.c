/* direct_relay.c - a connection of the stack that other processes have as well, and that cannot become the kernel's
 *
 * Where direct_lower.c may not or cannot make a socket of the kernel that goes on with the connection (no CAP_NET_ADMIN, a device
 * that is ours alone), all who have the descriptor get one end of a TCP connection over the loopback instead, and the process that
 * has the stack carries bytes, ends and resets between its other end and the connection, which stays on the stack. To whoever reads
 * and writes it is a connection of the kernel: threads, children, programs that know nothing of us. Its names are told from the row.
 *
 * The thread that tends the stacks does the work (tend.h): both what the program writes and what the stack tells make its
 * descriptor of direct_fork_asked() readable. So a program that has no relay pays one comparison for an event, and one that has
 * some pays a copy and two passes through the kernel for their bytes alone. A relay ends with the process that has the stack.
 *
 * Memory: the struct direct, which has no sock any more, in the instance's list of relays; used inside that instance's lock.
 */
#include "preload/sock/direct_priv.h"
#include "preload/sock/tend.h"
#include "preload/sock/thread.h"
#include "shm/shm_fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>

enum {
	RELAY_RUNS = 16,
	RELAY_PIECES = 16, /* at once; others want to be served as well */
	RELAY_MADE_MS = 1000,
	RELAY_STRANGERS = 64, /* who connect to our port before we have ourselves */
	NODELAY = 1,          /* TCP_NODELAY */
};

static _Atomic uint32_t relays_count;
static _Atomic bool rung;
static _Atomic int bell = -1; /* made once, in the lock of the first relay's instance */
static _Atomic uint32_t bell_lock;

/* ---- a connection with ourselves ---- */

static socklen_t home(bool six, struct sockaddr_storage *sa)
{
	const union wire_addr at = wire_addr_v4(INADDR_LOOPBACK);

	return direct_sockaddr_of(six, &at, 0, sa);
}

static bool same_end(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	struct shm_end x, y;

	return sock_end(&x, (const struct sockaddr *)a) &&
	       sock_end(&y, (const struct sockaddr *)b) && memcmp(&x, &y, sizeof(x)) == 0;
}

/* The connection that @from has begun, among whoever else has found the port. Return: its descriptor or -errno. */
static int accept_from(int listener, const struct sockaddr_storage *from)
{
	const struct timespec wait = { RELAY_MADE_MS / 1000, 0 };

	for (unsigned i = 0; i < RELAY_STRANGERS; i++) {
		struct pollfd p = { .fd = listener, .events = POLLIN };
		struct sockaddr_storage sa = { 0 };
		struct timespec ts = wait;
		socklen_t len = sizeof(sa);
		int fd;

		if (sys(SYS_ppoll, &p, 1, &ts, 0, 8) <= 0)
			return -ETIMEDOUT;
		fd = (int)sys(SYS_accept4, listener, &sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0 && same_end(&sa, from))
			return fd;
		if (fd >= 0)
			sys(SYS_close, fd);
	}
	return -ECONNREFUSED;
}

static int meet(int listener, int fd, bool six)
{
	struct sockaddr_storage sa;
	socklen_t len = home(six, &sa);
	long err = sys(SYS_bind, listener, &sa, len);

	err = err ? err : sys(SYS_listen, listener, 1);
	if (err || !direct_name_of(listener, &sa))
		return err ? (int)err : -EBADF;
	err = sys(SYS_connect, fd, &sa, len);
	if (err && err != -EINPROGRESS)
		return (int)err;
	return direct_name_of(fd, &sa) ? accept_from(listener, &sa) : -EBADF;
}

/* Return: the relay's end, and the program's in @theirs; -errno. */
static int pair_make(bool six, int *theirs)
{
	const int kind = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, off = 0, on = 1;
	int listener = (int)sys(SYS_socket, six ? AF_INET6 : AF_INET, kind, 0);
	int fd = (int)sys(SYS_socket, six ? AF_INET6 : AF_INET, kind, 0);
	int ours = listener < 0 ? listener : fd;

	if (six) { /* an address of IPv4 */
		sys(SYS_setsockopt, listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
		sys(SYS_setsockopt, fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	}
	if (ours >= 0)
		ours = meet(listener, fd, six);
	if (listener >= 0)
		sys(SYS_close, listener);
	if (ours < 0 && fd >= 0)
		sys(SYS_close, fd);
	if (ours < 0)
		return ours;
	sys(SYS_setsockopt, ours, IPPROTO_TCP, NODELAY, &on, sizeof(on));
	*theirs = fd;
	return shm_fd_hide(ours);
}

/* ---- bytes ---- */

/* What a turn has found. */
enum relay_state {
	RELAY_GOES_ON,
	RELAY_MORE,  /* not all was moved */
	RELAY_OVER,  /* both ends have ended */
	RELAY_RESET, /* the connection has failed */
	RELAY_LEFT,  /* nobody has the program's end any more, or it was reset */
};

/* From the stack to the program. */
static enum relay_state inwards(struct direct *d)
{
	struct tcb *t = net_stack->inst_conn_tcb(d->conn);
	struct wire_tcp_iov run[RELAY_RUNS];
	struct iovec iov[RELAY_RUNS];

	for (unsigned piece = 0; piece < RELAY_PIECES; piece++) {
		unsigned runs = net_stack->tcp_recv_peek(t, 0, run, RELAY_RUNS);
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = runs };
		long n;

		if (!runs)
			return RELAY_GOES_ON;
		for (unsigned i = 0; i < runs; i++)
			iov[i] = (struct iovec){ (void *)run[i].data, run[i].len };
		n = sys(SYS_sendmsg, d->relay, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			return n == -EAGAIN || n == -ENOBUFS || !n ? RELAY_GOES_ON : RELAY_LEFT;
		net_stack->tcp_recv_done(t, (uint32_t)n, (ztime_t)thread_now());
		net_stack->inst_conn_kick(d->net->in, d->conn);
	}
	return RELAY_MORE;
}

/* From the program to the stack. */
static enum relay_state outwards(struct direct *d, char *buf)
{
	for (unsigned piece = 0; piece < RELAY_PIECES && !d->wr_shut; piece++) {
		long n = sys(SYS_recvfrom, d->relay, buf, THREAD_PIECE, MSG_PEEK | MSG_DONTWAIT, 0,
			     0);
		int64_t sent;

		if (n < 0)
			return n == -EAGAIN ? RELAY_GOES_ON : RELAY_LEFT;
		if (n == 0) {
			d->wr_shut = true;
			net_stack->inst_shutdown(d->net->in, d->conn, (ztime_t)thread_now());
			return RELAY_GOES_ON;
		}
		sent = net_stack->inst_send(d->net->in, d->conn, buf, (size_t)n, 0,
					    (ztime_t)thread_now());
		if (sent <= 0)
			return RELAY_GOES_ON; /* there is no room; or it has failed, which is seen */
		sys(SYS_recvfrom, d->relay, 0, sent, MSG_TRUNC | MSG_DONTWAIT, 0, 0);
	}
	return d->wr_shut ? RELAY_GOES_ON : RELAY_MORE;
}

/* Whether the program's end was reset, where nothing is read from it any more. */
static bool left(const struct direct *d)
{
	struct pollfd p = { .fd = d->relay };
	struct timespec zero = { 0, 0 };

	return sys(SYS_ppoll, &p, 1, &zero, 0, 8) > 0 && p.revents & POLLERR;
}

static enum relay_state turn(struct direct *d, char *buf)
{
	enum relay_state in = inwards(d), out = outwards(d, buf);
	const struct tcb *t = net_stack->inst_conn_tcb(d->conn);

	direct_look(d);
	if (in == RELAY_LEFT || out == RELAY_LEFT || (d->wr_shut && left(d)))
		return RELAY_LEFT;
	if (in == RELAY_MORE)
		return in;
	if (!net_stack->tcp_readable(t)) {
		if (d->failed)
			return RELAY_RESET;
		if (net_stack->tcp_eof(t) && !d->relay_eof) {
			d->relay_eof = true;
			sys(SYS_shutdown, d->relay, SHUT_WR);
		}
		if (d->relay_eof && d->wr_shut)
			return RELAY_OVER;
	}
	return out;
}

static void relay_end(struct direct *d, enum relay_state how)
{
	const struct linger now = { 1, 0 };
	struct net_inst *in = d->of;
	struct epoll_event ev = { 0 };

	if (how == RELAY_RESET)
		sys(SYS_setsockopt, d->relay, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	if (how == RELAY_LEFT || how == RELAY_RESET)
		net_stack->inst_abort(d->net->in, d->conn, (ztime_t)thread_now());
	else
		net_stack->inst_close(d->net->in, d->conn, (ztime_t)thread_now());
	sys(SYS_epoll_ctl, direct_fork_asked(), EPOLL_CTL_DEL, d->relay, &ev);
	shm_fd_close(d->relay);
	shm_fd_close(d->held);
	d->relayed = false;
	d->conn = NULL;
	base_list_remove(&d->all);
	base_list_push_head(&in->spare, &d->all);
	atomic_fetch_sub(&relays_count, 1);
}

void direct_relay_due(struct direct *d)
{
	const uint64_t one = 1;

	atomic_store(&d->due, true);
	if (!atomic_exchange(&rung, true))
		sys(SYS_write, bell, &one, sizeof(one));
}

/* In the lock. Return: whether there was something to do. */
static bool relays_turn(struct net_inst *in, char *buf)
{
	bool did = false;

	if (!in->relays.next)
		return false;
	base_list_for_each_safe(node, &in->relays)
	{
		struct direct *d = base_container_of(node, struct direct, all);
		struct net *n = d->net;
		enum relay_state state;

		if (!atomic_exchange(&d->due, false))
			continue;
		did = true;
		state = turn(d, buf);
		if (state == RELAY_MORE)
			direct_relay_due(d);
		else if (state != RELAY_GOES_ON)
			relay_end(d, state);
		net_push(n);
	}
	return did;
}

bool direct_relay_serve(void)
{
	uint64_t times;
	bool did = false;
	char *buf;

	if (likely(!atomic_load(&relays_count)))
		return false;
	buf = thread_piece_take();
	if (!buf)
		return false;
	if (atomic_exchange(&rung, false))
		sys(SYS_read, bell, &times, sizeof(times));
	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (!(atomic_load(&net_opened) & 1u << k) || !net_enter(&net_insts[k]))
			continue;
		did |= relays_turn(&net_insts[k], buf);
		net_leave();
	}
	thread_piece_give(buf);
	return did;
}

/* ---- life ---- */

static bool bell_made(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	bool taken = shm_lock(&bell_lock, thread_tid());

	if (bell < 0) {
		bell = shm_fd_hide((int)sys(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
		if (bell >= 0)
			sys(SYS_epoll_ctl, direct_fork_asked(), EPOLL_CTL_ADD, bell, &ev);
	}
	shm_unlock(&bell_lock, taken);
	return bell >= 0;
}

int direct_relay_open(struct direct *d, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET,
				  .data.u64 = (uintptr_t)d | DIRECT_RELAY_TAG };
	int theirs = -1, err;

	if (!tend_runs() || direct_fork_asked() < 0 || !bell_made())
		return -EOPNOTSUPP;
	d->relay = pair_make(d->six, &theirs);
	if (d->relay < 0)
		return d->relay;
	err = (int)sys(SYS_epoll_ctl, direct_fork_asked(), EPOLL_CTL_ADD, d->relay, &ev);
	if (err) {
		shm_fd_close(d->relay);
		sys(SYS_close, theirs);
		return err;
	}
	/* what holds the port of a shared interface goes on to do so */
	d->held = d->net->shared ? shm_fd_hide((int)sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0)) : -1;
	return theirs;
}

void direct_relay_begin(struct direct *d)
{
	struct net_inst *in = d->of;

	if (!in->relays.next)
		base_list_init(&in->relays);
	d->sock = NULL;
	d->relayed = true;
	d->relay_eof = false;
	base_list_remove(&d->all);
	base_list_push_tail(&in->relays, &d->all);
	in->conns_count--;
	atomic_fetch_add(&relays_count, 1);
	direct_relay_due(d);
}

void direct_relays_close(void)
{
	struct net_inst *in = thread_self.inside;
	char *buf = in->relays.next ? thread_piece_take() : NULL;

	if (!buf)
		return;
	base_list_for_each_safe(node, &in->relays)
	{
		struct direct *d = base_container_of(node, struct direct, all);
		enum relay_state state;

		do {
			state = turn(d, buf);
		} while (state == RELAY_MORE);
		relay_end(d, state);
	}
	thread_piece_give(buf);
}

void direct_relays_forked(struct net_inst *in)
{
	if (!in->relays.next)
		return;
	base_list_for_each_safe(node, &in->relays)
	{
		struct direct *d = base_container_of(node, struct direct, all);

		shm_fd_close(d->relay);
		shm_fd_close(d->held);
		base_list_remove(node);
		base_list_push_head(&in->spare, node);
	}
}

void direct_relay_forked(void)
{
	shm_fd_close(bell);
	bell = -1;
	atomic_store(&bell_lock, 0);
	atomic_store(&rung, false);
	atomic_store(&relays_count, 0);
}

/* ---- its names ---- */

bool direct_relayed(const struct sock *s)
{
	const struct stats_row *row = sock_row(s);

	return row && SHM_READ(s->stage) == SOCK_SETTLED &&
	       SHM_READ(row->tx_path) == STATS_PATH_STACK;
}

/* Instead of the loopback's. @full: what the kernel has said of its own socket. Return: its bytes. */
socklen_t direct_relay_name(const struct sock *s, bool peer, struct sockaddr_storage *full)
{
	const struct stats_row *row = sock_row(s);
	union wire_addr a;

	memcpy(a.b, peer ? row->remote : row->local, sizeof(a.b));
	return direct_sockaddr_of(full->ss_family == AF_INET6, &a,
				  (uint16_t)(row->ports >> (peer ? 16 : 0)), full);
}
