/* direct_lower.c - a connection of the stack becomes one of the kernel (TCP_REPAIR)
 *
 * Where others go on with what this process has begun: its listener is closed while other processes share it, or the descriptor
 * of a connection goes to another process. The stack gives its state away (inst_release()), a socket of the kernel is made
 * from it, and the selector lets the packets pass. What arrives in between is not answered, and sent again by the peer.
 *
 * Only on an interface that the kernel shares, which has its addresses and routes, and with CAP_NET_ADMIN. A connection that one side
 * has begun to end goes on, too, where a raw socket can be had (CAP_NET_RAW).
 */
#include "preload/sock/direct_priv.h"
#include "preload/sock/ep.h"
#include "preload/sock/publish.h"
#include "preload/sock/tend.h"
#include "preload/sock/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>

enum {
	LOWER_RUNS = 4096, /* pieces of what it has received, and of what it has to send */
	RECEIVED = 1, /* TCP_REPAIR_QUEUE: <netinet/tcp.h> and <linux/tcp.h> exclude each other */
	SENT = 2,
	ROOM_ALWAYS = 4096,
	MAXSEG_MOST = 32767,
	FIN_NONE = INT32_MIN,
	OPT_MSS = 2,
	OPT_WINDOW_SCALE = 3,
	OPT_SACK_PERMITTED = 4,
	OPT_TIMESTAMPS = 8,
};

/* A connection between two owners. */
struct lowered {
	int fin; /* to repeat the peer's FIN by, FIN_NONE: there was none */
	struct tcp_record rec;
	struct wire_flow flow;
	struct wire_buf_ops buf;
	unsigned unread, unacked;
	struct wire_tcp_iov in[LOWER_RUNS], out[LOWER_RUNS];
};

static int opt(int fd, int name, const void *val, socklen_t len)
{
	return (int)sys(SYS_setsockopt, fd, IPPROTO_TCP, name, val, len);
}

static int opt_int(int fd, int name, int val)
{
	return opt(fd, name, &val, sizeof(val));
}

static int sequence_set(int fd, int queue, uint32_t seq)
{
	int err = opt_int(fd, TCP_REPAIR_QUEUE, queue);

	return err ? err : opt(fd, TCP_QUEUE_SEQ, &seq, sizeof(seq));
}

static int ends_set(int fd, bool six, const struct wire_flow *flow)
{
	struct sockaddr_storage sa;
	socklen_t len = direct_sockaddr_of(six, &flow->local, flow->lport, &sa);
	int err = (int)sys(SYS_bind, fd, &sa, len);

	if (err)
		return err;
	len = direct_sockaddr_of(six, &flow->remote, flow->rport, &sa);
	return (int)sys(SYS_connect, fd, &sa, len);
}

static int options_set(int fd, const struct tcp_record *r)
{
	struct tcp_repair_opt o[4];
	unsigned n = 0;
	int err;

	o[n++] = (struct tcp_repair_opt){ OPT_MSS, r->mss };
	if (r->wscale_ok)
		o[n++] = (struct tcp_repair_opt){ OPT_WINDOW_SCALE,
						  r->snd_wscale | (uint32_t)r->rcv_wscale << 16 };
	if (r->sack_ok)
		o[n++] = (struct tcp_repair_opt){ OPT_SACK_PERMITTED, 0 };
	if (r->ts_ok)
		o[n++] = (struct tcp_repair_opt){ OPT_TIMESTAMPS, 0 };
	err = opt(fd, TCP_REPAIR_OPTIONS, o, n * (socklen_t)sizeof(o[0]));
	/* an even number: to the kernel, too, a unit is a millisecond */
	return err || !r->ts_ok ? err : opt_int(fd, TCP_TIMESTAMP, (int)((r->ts_val + 1) & ~1u));
}

static int window_set(int fd, const struct lowered *l)
{
	const struct tcp_record *r = &l->rec;
	const struct tcp_repair_window w = {
		.snd_wl1 = r->snd_wl1,
		.snd_wnd = r->snd_wnd,
		.max_window = r->max_wnd > r->snd_wnd ? r->max_wnd : r->snd_wnd,
		.rcv_wnd = r->rcv_wnd,
		.rcv_wup = r->rcv_wup - (l->fin != FIN_NONE),
	};

	return opt(fd, TCP_REPAIR_WINDOW, &w, sizeof(w));
}

/* The first @most bytes of the runs, from byte @skip on. */
static int bytes_put(int fd, const struct wire_tcp_iov *run, unsigned runs, uint32_t skip,
		     uint32_t most)
{
	for (unsigned i = 0; i < runs; i++) {
		uint32_t from = skip < run[i].len ? skip : run[i].len;
		uint32_t n = run[i].len - from < most ? run[i].len - from : most;

		skip -= from;
		most -= n;
		if (n && sys(SYS_sendto, fd, run[i].data + from, n, MSG_DONTWAIT | MSG_NOSIGNAL, 0,
			     0) != (long)n)
			return -ENOBUFS;
	}
	return 0;
}

static uint32_t bytes_of(const struct wire_tcp_iov *run, unsigned runs)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < runs; i++)
		sum += run[i].len;
	return sum;
}

/* Room for all that there is, where the kernel would not begin with as much; it goes on to choose the size by itself. */
static void room_make(int fd, int option, uint32_t bytes)
{
	int room = (int)bytes, locks = 0;

	if (bytes <= ROOM_ALWAYS)
		return;
	sys(SYS_setsockopt, fd, SOL_SOCKET, option, &room, sizeof(room));
	sys(SYS_setsockopt, fd, SOL_SOCKET, SO_BUF_LOCK, &locks, sizeof(locks));
}

static bool fin_sent(const struct tcp_record *r)
{
	return r->state == TCP_ST_FIN_WAIT_1 || r->state == TCP_ST_FIN_WAIT_2 ||
	       r->state == TCP_ST_CLOSING || r->state == TCP_ST_LAST_ACK;
}

static bool fin_came(enum tcp_state s)
{
	return s == TCP_ST_CLOSE_WAIT || s == TCP_ST_CLOSING || s == TCP_ST_LAST_ACK;
}

/* A segment that only ends the stream, behind what its checksum covers as well. */
struct fin {
	union wire_addr from, to;
	uint32_t len, next;
	struct tcphdr tcp;
};

static uint16_t fin_sum(const struct fin *f)
{
	const unsigned char *p = (const unsigned char *)f;
	uint32_t sum = 0;

	for (unsigned i = 0; i < sizeof(*f); i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t) ~((sum & 0xffff) + (sum >> 16)));
}

/* Return: a raw socket that sends from the peer's address, -errno. */
static int fin_socket(const struct wire_flow *flow)
{
	const bool six = !wire_addr_is_v4(&flow->local);
	int fd = (int)sys(SYS_socket, six ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC,
			  IPPROTO_TCP);
	struct sockaddr_storage sa;
	socklen_t len = direct_sockaddr_of(six, &flow->remote, 0, &sa);
	int on = 1, err;

	if (fd < 0)
		return fd;
	err = (int)(six ? sys(SYS_setsockopt, fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on))
			: sys(SYS_setsockopt, fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)));
	err = err ? err : (int)sys(SYS_bind, fd, &sa, len);
	if (err)
		sys(SYS_close, fd);
	return err ? err : fd;
}

/* The kernel's socket cannot be told of a FIN that has come: it is sent one, on this host. */
static int fin_repeat(const struct lowered *l)
{
	const struct tcp_record *r = &l->rec;
	const struct wire_flow *flow = &l->flow;
	struct fin f = {
		.from = flow->remote,
		.to = flow->local,
		.len = htonl(sizeof(f.tcp)),
		.next = htonl(IPPROTO_TCP),
		.tcp = { .source = htons(flow->rport),
			 .dest = htons(flow->lport),
			 .seq = htonl(r->rcv_nxt - 1),
			 .ack_seq = htonl(r->snd_una),
			 .doff = sizeof(f.tcp) / 4,
			 .fin = 1,
			 .ack = 1,
			 .window = htons((uint16_t)(r->snd_wnd >> r->snd_wscale)) },
	};
	struct sockaddr_storage sa;
	socklen_t len = direct_sockaddr_of(!wire_addr_is_v4(&flow->local), &flow->local, 0, &sa);
	long n;

	f.tcp.check = fin_sum(&f);
	n = sys(SYS_sendto, l->fin, &f.tcp, sizeof(f.tcp), 0, &sa, len);
	return n < 0 ? (int)n : 0;
}

/* @fd: in repair. What was sent and not acknowledged goes in as such; what was not sent yet is sent. */
static int kernel_fill(int fd, bool six, const struct lowered *l)
{
	const struct tcp_record *r = &l->rec;
	const uint32_t unread = bytes_of(l->in, l->unread), flight = r->snd_nxt - r->snd_una;
	const uint32_t una = r->snd_una - (r->state == TCP_ST_FIN_WAIT_2);
	int err;

	room_make(fd, SO_RCVBUFFORCE, unread);
	room_make(fd, SO_SNDBUFFORCE, bytes_of(l->out, l->unacked));
	/* connect() takes the size of segments from it, and does not look again */
	err = opt_int(fd, TCP_MAXSEG, r->mss < MAXSEG_MOST ? r->mss : MAXSEG_MOST);
	err = err ? err : sequence_set(fd, SENT, una);
	err = err ? err : sequence_set(fd, RECEIVED, r->rcv_nxt - (l->fin != FIN_NONE) - unread);
	err = err ? err : ends_set(fd, six, &l->flow);
	err = err ? err : options_set(fd, r);
	err = err ? err : opt_int(fd, TCP_REPAIR_QUEUE, RECEIVED);
	err = err ? err : bytes_put(fd, l->in, l->unread, 0, UINT32_MAX);
	err = err ? err : opt_int(fd, TCP_REPAIR_QUEUE, SENT);
	err = err ? err : bytes_put(fd, l->out, l->unacked, 0, flight);
	return err ? err : window_set(fd, l);
}

/* If the process is killed from here on, the kernel resets the peer: a socket in repair would go without a word. */
static int kernel_mortal(int fd)
{
	const struct linger now = { .l_onoff = 1 };
	int err = (int)sys(SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));

	return err ? err : opt_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
}

/* It speaks, and the peer answers. What has begun to end here ends there: our FIN is sent once more, the peer's is repeated. */
static int kernel_go(int fd, const struct lowered *l)
{
	const struct tcp_record *r = &l->rec;
	const struct linger none = { 0 };
	/* the end of a repair, also of one that is over, asks the peer what it has got: answers to the stack were lost meanwhile */
	int err = opt_int(fd, TCP_REPAIR, TCP_REPAIR_OFF), on = 1;

	/* it has lost it by the repair; without it nobody could listen on the port again while it lives */
	sys(SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	err = err ? err : bytes_put(fd, l->out, l->unacked, r->snd_nxt - r->snd_una, UINT32_MAX);
	if (!err && l->fin != FIN_NONE)
		err = fin_repeat(l);
	if (!err && fin_sent(r))
		sys(SYS_shutdown, fd, SHUT_WR);
	/* only with all that was under way: what was cut short ends with a reset, never like a whole stream */
	return err ? err : (int)sys(SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

static void runs_put(const struct lowered *l, const struct wire_tcp_iov *run, unsigned runs)
{
	for (unsigned i = 0; i < runs; i++) {
		if (run[i].owner)
			l->buf.put(l->buf.ctx, run[i].owner);
	}
}

/* Return: a socket that is in repair, -errno: there is no such thing here. */
static int repair_socket(const struct net *n, bool six)
{
	int fd, err;

	if (!n->shared)
		return -EOPNOTSUPP;
	fd = (int)sys(SYS_socket, six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	err = fd < 0 ? fd : opt_int(fd, TCP_REPAIR, 1);
	if (err < 0 && fd >= 0)
		sys(SYS_close, fd);
	return err < 0 ? err : fd;
}

/* The stack has it no more. Until its packets are the kernel's ztcpd resets the peer of a process that dies. */
static int lower_released(struct net *n, bool six, int fd, struct lowered *l)
{
	int err = kernel_fill(fd, six, l);

	err = err ? err : kernel_mortal(fd);
	net_stack->ztcp_forget(n->z, &l->flow);
	err = err ? err : kernel_go(fd, l);
	runs_put(l, l->in, l->unread);
	runs_put(l, l->out, l->unacked);
	return err ? -ECONNABORTED : 0;
}

static int lower_with(struct net *n, bool six, struct inst_conn *c, int fd, struct lowered *l)
{
	ztime_t now = (ztime_t)thread_now();
	int err;

	l->unread = l->unacked = LOWER_RUNS;
	l->flow = *net_stack->inst_conn_flow(c);
	l->fin = fin_came(net_stack->tcp_state(net_stack->inst_conn_tcb(c))) ? fin_socket(&l->flow)
									     : FIN_NONE;
	if (l->fin < 0 && l->fin != FIN_NONE)
		return l->fin;
	net_stack->zbuf_wire_ops(n->pool, &l->buf);
	err = net_stack->inst_release(n->in, c, &l->rec, l->in, &l->unread, l->out, &l->unacked,
				      now);
	if (!err)
		err = lower_released(n, six, fd, l);
	if (l->fin != FIN_NONE)
		sys(SYS_close, l->fin);
	return err;
}

int direct_lower_conn(struct net *n, bool six, struct inst_conn *c)
{
	int fd = repair_socket(n, six), err = fd < 0 ? fd : -ENOMEM;
	long l;

	if (fd < 0)
		return err;
	l = sys(SYS_mmap, 0, sizeof(struct lowered), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (l > 0 || l <= -4096) {
		err = lower_with(n, six, c, fd, (struct lowered *)l);
		sys(SYS_munmap, l, sizeof(struct lowered));
	}
	if (!err)
		return fd;
	sys(SYS_close, fd);
	return err;
}

/* ---- a connection that the program has ---- */

/* Nothing is left to be told that the kernel would not tell. In the lock. */
static bool can_move(struct direct *d)
{
	if (d->at)
		return false;
	direct_look(d);
	return d->stage == DIRECT_CONNECTED && !d->failed && !d->error;
}

/* As the program has set the socket, before any process uses it. */
static void like(const struct sock *s, const struct direct *d, int fd)
{
	long mode = sys(SYS_fcntl, s->fd, F_GETFL);

	direct_inherit(s->fd, fd);
	direct_opt_pour(d, fd);
	if (mode > 0)
		sys(SYS_fcntl, fd, F_SETFL, mode);
	if (d->rd_shut)
		sys(SYS_shutdown, fd, SHUT_RD);
	if (d->wr_shut)
		sys(SYS_shutdown, fd, SHUT_WR);
}

void direct_numbers_move(const struct sock *s, int fd)
{
	for (int n = 0; n <= sock_highest(); n++) {
		if (sock_of(n) != s)
			continue;
		sys(SYS_dup3, fd, n, sys(SYS_fcntl, n, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0);
	}
}

/* What stood there is the stack's, and the socket is another. */
static void row_lowered(const struct sock *s, int fd, enum reason why)
{
	struct stats_row *row = s->row;
	socklen_t len = sizeof(row->cookie);

	row->conn = row->pid = row->lifts = 0;
	row->tx_shm = row->rx_shm = 0;
	row->lowers = 1;
	row->tx_path = row->rx_path = STATS_PATH_KERNEL;
	row->reason = (uint16_t)why;
	sys(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, &row->cookie, &len);
}

/* In the lock. Nobody follows it any more. */
static void leave_stack(struct sock *s, struct direct *d, enum reason why)
{
	row_lowered(s, s->fd, why);
	SHM_PUBLISH(s->direct, NULL);
	SHM_PUBLISH(s->stage, SOCK_SETTLED);
	direct_hold_end(s);
	direct_free(d);
}

bool direct_lower_possible(const struct net *n)
{
	int fd = repair_socket(n, false);

	if (fd >= 0)
		sys(SYS_close, fd);
	return fd >= 0;
}

/* In the lock. Return: a socket of the kernel that goes on with it, or that is relayed, -errno. */
static int successor(struct direct *d, int fd, bool relay, bool *relayed)
{
	int to = -ENOTCONN;

	*relayed = false;
	net_drive();
	if (!can_move(d))
		return to;
	to = direct_lower_conn(d->net, d->six, d->conn);
	if (to >= 0 || to == -ECONNABORTED || !relay)
		return to;
	to = direct_relay_open(d, fd);
	*relayed = to >= 0;
	return to;
}

/* In the lock. Where it stands, and what its addresses are, remains. */
static void row_relayed(const struct sock *s, int fd)
{
	struct stats_row *row = s->row;
	socklen_t len = sizeof(row->cookie);

	row->reason = REASON_RELAYED;
	atomic_fetch_or(&row->flags, STATS_SETTLED);
	sys(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, &row->cookie, &len);
}

/* In the lock. Nobody follows it any more but the relay. */
static void leave_relayed(struct sock *s, struct direct *d)
{
	row_relayed(s, s->fd);
	SHM_PUBLISH(s->direct, NULL);
	SHM_PUBLISH(s->stage, SOCK_SETTLED);
	direct_hold_end(s);
	direct_relay_begin(d);
}

static bool lower(struct sock *s, enum reason why, bool relay)
{
	int fd = -ENOTCONN, err;
	uint64_t mask = thread_signals_block();
	struct direct *d = direct_enter(s, &err);
	bool relayed;

	if (d) {
		fd = successor(d, s->fd, relay, &relayed);
		if (fd >= 0) {
			like(s, d, fd);
			direct_numbers_move(s, fd);
			direct_fork_give(d->forks, s->row, fd);
			sys(SYS_close, fd);
		}
		if (relayed)
			leave_relayed(s, d);
		else if (fd >= 0 || fd == -ECONNABORTED)
			leave_stack(s, d, why);
		thread_self.inside->happened = true; /* who waits for it has to look elsewhere */
		net_ring();
		net_leave();
	}
	if (fd >= 0)
		ep_direct_lowered(s);
	thread_signals_restore(mask);
	return fd >= 0;
}

bool direct_lower(struct sock *s, enum reason why)
{
	return lower(s, why, false);
}

bool direct_share(struct sock *s)
{
	return lower(s, REASON_PASSED, true);
}

bool direct_lower_away(struct direct *d, struct sock *s, bool ends)
{
	bool relayed;
	int fd = successor(d, s->fd, !ends, &relayed);

	if (fd < 0)
		return false;
	like(s, d, fd);
	if (relayed)
		row_relayed(s, fd);
	else
		row_lowered(s, fd, REASON_PASSED);
	direct_hold_end(s);
	direct_fork_give(d->forks, s->row, fd);
	sys(SYS_close, fd);
	if (relayed)
		direct_relay_begin(d);
	return true;
}

static void lower_shared(struct sock *s, void *arg)
{
	const struct direct *d = SHM_FOLLOW(s->direct);

	(void)arg;
	if (d && direct_is_connection(s) && direct_fork_shared(d, s->row))
		direct_lower(s, REASON_PASSED);
}

void direct_before_exec(void)
{
	if (net_any())
		sock_each(lower_shared, NULL);
}

static bool is_unused(const struct stats_row *row)
{
	return !atomic_load_explicit(&row->rx_off, memory_order_relaxed) &&
	       !atomic_load_explicit(&row->tx_off, memory_order_relaxed);
}

/* Without the thread that tends nobody would answer the child. */
void direct_before_fork(bool asks)
{
	direct_claim_all();
	for (int n = 0; net_any() && n <= sock_highest(); n++) {
		struct sock *s = sock_of(n);

		if (s && SHM_READ(s->stage) == SOCK_DIRECT && (!tend_runs() || is_unused(s->row)))
			lower(s, REASON_PASSED, !asks);
	}
}
