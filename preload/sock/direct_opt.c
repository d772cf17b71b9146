/* direct_opt.c - options of connections that the stack of this process makes itself
 *
 * What most programs set on each connection is checked and kept here. The kernel's unconnected socket checks and keeps the
 * rest, so that a program reads back what it wrote; what changes the connection is handed on to the stack.
 */
#include "preload/sock/direct_priv.h"
#include "preload/sock/mem.h"
#include "preload/sock/thread.h"
#include "stack/base/base_check.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>

static const struct {
	int level, name, opt;
} options[] = {
	{ IPPROTO_TCP, TCP_NODELAY, TCP_OPT_SET_NODELAY },
	{ IPPROTO_TCP, TCP_CORK, TCP_OPT_SET_CORK },
	{ IPPROTO_TCP, TCP_QUICKACK, TCP_OPT_SET_QUICKACK },
	{ IPPROTO_TCP, TCP_KEEPIDLE, TCP_OPT_SET_KEEPIDLE_S },
	{ IPPROTO_TCP, TCP_KEEPINTVL, TCP_OPT_SET_KEEPINTVL_S },
	{ IPPROTO_TCP, TCP_KEEPCNT, TCP_OPT_SET_KEEPCNT },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_OPT_SET_USER_TIMEOUT_MS },
	{ SOL_SOCKET, SO_KEEPALIVE, TCP_OPT_SET_KEEPALIVE },
	{ SOL_SOCKET, SO_SNDBUF, TCP_OPT_SET_SNDBUF },
	{ SOL_SOCKET, SO_SNDBUFFORCE, TCP_OPT_SET_SNDBUF },
	{ SOL_SOCKET, SO_RCVBUF, TCP_OPT_SET_RCVBUF },
	{ SOL_SOCKET, SO_RCVBUFFORCE, TCP_OPT_SET_RCVBUF },
};

enum {
	OPTIONS = sizeof(options) / sizeof(options[0]),
	LOWAT_MAX = 4 << 20,
};

bool direct_opt_allowed(struct sock *s, int level, int name)
{
	(void)s;
	if ((level == SOL_SOCKET &&
	     (name == SO_ZEROCOPY || name == SO_PEEK_OFF || name == SO_TIMESTAMPING)) ||
	    (level == IPPROTO_TCP && (name == TCP_INQ || name == TCP_REPAIR))) {
		errno = EOPNOTSUPP;
		return false;
	}
	return true;
}

bool direct_opt_matters(int level, int name)
{
	for (unsigned i = 0; i < OPTIONS; i++) {
		if (options[i].level == level && options[i].name == name)
			return true;
	}
	if (level != SOL_SOCKET)
		return false;
	switch (name) {
	case SO_LINGER:
	case SO_RCVLOWAT:
	case SO_RCVTIMEO:
	case SO_SNDTIMEO:
	case SO_BUF_LOCK:
	case SO_BINDTODEVICE:
	case SO_BINDTOIFINDEX: return true;
	default: return false;
	}
}

/* Values that are not @least to @most are refused; of what has no range it matters whether it is 0. As the kernel has it. */
static const struct {
	int level, name, opt, least, most;
} keeps[DIRECT_KEPT] = {
	{ IPPROTO_TCP, TCP_NODELAY, TCP_OPT_SET_NODELAY, 0, 0 },
	{ SOL_SOCKET, SO_KEEPALIVE, TCP_OPT_SET_KEEPALIVE, 0, 0 },
	{ IPPROTO_TCP, TCP_KEEPIDLE, TCP_OPT_SET_KEEPIDLE_S, 1, 32767 },
	{ IPPROTO_TCP, TCP_KEEPINTVL, TCP_OPT_SET_KEEPINTVL_S, 1, 32767 },
	{ IPPROTO_TCP, TCP_KEEPCNT, TCP_OPT_SET_KEEPCNT, 1, 127 },
};

static unsigned keeps_find(int level, int name)
{
	unsigned i = 0;

	while (i < DIRECT_KEPT && (keeps[i].level != level || keeps[i].name != name))
		i++;
	return i;
}

int direct_opt_keep(struct sock *s, int level, int name, const void *val, socklen_t len)
{
	const unsigned i = keeps_find(level, name);
	struct direct *d;
	int v, err;

	if (i == DIRECT_KEPT)
		return DIRECT_NOT_OURS;
	if ((int)len < (int)sizeof(v))
		return -EINVAL;
	if (!mem_readable(val, sizeof(v)))
		return -EFAULT;
	memcpy(&v, val, sizeof(v));
	if (keeps[i].most && (v < keeps[i].least || v > keeps[i].most))
		return -EINVAL;
	d = direct_enter(s, &err);
	if (!d)
		return DIRECT_NOT_OURS;
	d->kept |= (uint8_t)(1u << i);
	d->kept_val[i] = keeps[i].most ? v : !!v;
	net_stack->tcp_opt_set(net_stack->inst_conn_tcb(d->conn), (enum tcp_opt)keeps[i].opt,
			       (uint32_t)d->kept_val[i], (ztime_t)thread_now());
	net_stack->inst_conn_kick(d->net->in, d->conn);
	net_push(d->net);
	net_leave();
	return 0;
}

int direct_opt_kept(struct sock *s, int level, int name, void *val, socklen_t *len)
{
	const unsigned i = keeps_find(level, name);
	const struct direct *d = SHM_FOLLOW(s->direct);
	socklen_t n;

	if (i == DIRECT_KEPT || !d || !(SHM_READ(d->kept) & 1u << i))
		return DIRECT_NOT_OURS;
	if (!mem_writable(len, sizeof(*len)))
		return -EFAULT;
	if ((int)*len < 0)
		return -EINVAL;
	n = *len < sizeof(int) ? *len : (socklen_t)sizeof(int);
	if (!mem_writable(val, n))
		return -EFAULT;
	memcpy(val, &d->kept_val[i], n);
	*len = n;
	return 0;
}

void direct_opt_pour(const struct direct *d, int fd)
{
	for (unsigned i = 0; i < DIRECT_KEPT; i++) {
		if (d->kept & 1u << i)
			sys(SYS_setsockopt, fd, keeps[i].level, keeps[i].name, &d->kept_val[i],
			    sizeof(int));
	}
}

/* The kernel's value becomes the connection's. In the lock. */
static void hand_on(struct direct *d, int fd, unsigned i)
{
	int val = 0, name = options[i].name;
	socklen_t len = sizeof(val);

	name = name == SO_SNDBUFFORCE && options[i].level == SOL_SOCKET   ? SO_SNDBUF
	       : name == SO_RCVBUFFORCE && options[i].level == SOL_SOCKET ? SO_RCVBUF
									  : name;
	if (sys(SYS_getsockopt, fd, options[i].level, name, &val, &len) < 0 || val < 0)
		return;
	net_stack->tcp_opt_set(net_stack->inst_conn_tcb(d->conn), (enum tcp_opt)options[i].opt,
			       (uint32_t)val, (ztime_t)thread_now());
	net_stack->inst_conn_kick(d->net->in, d->conn);
}

static void linger_read(struct direct *d, int fd)
{
	struct linger l = { 0, 0 };
	socklen_t len = sizeof(l);

	sys(SYS_getsockopt, fd, SOL_SOCKET, SO_LINGER, &l, &len);
	d->linger_s = l.l_onoff ? l.l_linger : -1;
}

static int value_of(int fd, int level, int name)
{
	int val = 0;
	socklen_t len = sizeof(val);

	sys(SYS_getsockopt, fd, level, name, &val, &len);
	return val;
}

/* So many bytes must find room, or they would be waited for in vain. */
static void lowat_read(struct direct *d, int fd)
{
	struct tcb *t = net_stack->inst_conn_tcb(d->conn);
	int val = value_of(fd, SOL_SOCKET, SO_RCVLOWAT);

	d->lowat = val < 1 ? 1 : val < LOWAT_MAX ? (uint32_t)val : LOWAT_MAX;
	if (net_stack->tcp_opt_get(t, TCP_OPT_SET_RCVBUF) < 2 * (int64_t)d->lowat)
		net_stack->tcp_opt_set(t, TCP_OPT_SET_RCVBUF, 2 * d->lowat, (ztime_t)thread_now());
}

void direct_opt_all(struct direct *d, int fd)
{
	bool keep = value_of(fd, SOL_SOCKET, SO_KEEPALIVE);

	for (unsigned i = 0; i < OPTIONS; i++) {
		int opt = options[i].opt;

		/* defaults of the stack stay where the program said nothing */
		if (opt == TCP_OPT_SET_NODELAY || opt == TCP_OPT_SET_CORK ||
		    (keep && (opt == TCP_OPT_SET_KEEPALIVE || opt == TCP_OPT_SET_KEEPIDLE_S ||
			      opt == TCP_OPT_SET_KEEPINTVL_S || opt == TCP_OPT_SET_KEEPCNT)))
			hand_on(d, fd, i);
	}
	linger_read(d, fd);
	lowat_read(d, fd);
}

void direct_opt_set(struct sock *s, int level, int name)
{
	int err;
	struct direct *d = direct_enter(s, &err);

	if (!d)
		return;
	for (unsigned i = 0; d->conn && i < OPTIONS; i++) {
		if (options[i].level == level && options[i].name == name)
			hand_on(d, s->fd, i);
	}
	if (level == SOL_SOCKET && name == SO_LINGER)
		linger_read(d, s->fd);
	if (d->conn && level == SOL_SOCKET && name == SO_RCVLOWAT) {
		lowat_read(d, s->fd);
		direct_event(d, 0); /* who waits looks again */
	}
	if (d->conn)
		net_push(d->net);
	net_leave();
}

/* The kernel's number of a state (its headers for these numbers and for struct tcp_info exclude each other). */
static uint8_t kernel_state(enum tcp_state s)
{
	static const uint8_t of[TCP_ST_COUNT] = {
		[TCP_ST_CLOSED] = 7,      [TCP_ST_SYN_SENT] = 2,   [TCP_ST_SYN_RCVD] = 3,
		[TCP_ST_ESTABLISHED] = 1, [TCP_ST_FIN_WAIT_1] = 4, [TCP_ST_FIN_WAIT_2] = 5,
		[TCP_ST_CLOSE_WAIT] = 8,  [TCP_ST_CLOSING] = 11,   [TCP_ST_LAST_ACK] = 9,
		[TCP_ST_TIME_WAIT] = 6,
	};

	return of[s];
}

static const char *info_fill(struct direct *d, struct tcp_info *ti)
{
	const struct stats_row *row = d->sock->row;
	struct tcp_info_rec r;

	net_stack->tcp_info(net_stack->inst_conn_tcb(d->conn), &r);
	memset(ti, 0, sizeof(*ti));
	ti->tcpi_state = kernel_state(r.state);
	ti->tcpi_ca_state = r.ca_state;
	ti->tcpi_backoff = r.backoff;
	ti->tcpi_probes = r.probes;
	ti->tcpi_options = (uint8_t)((r.timestamps ? 1 : 0) | (r.sack ? 2 : 0) |
				     (r.wscale ? 4 : 0) | (r.ecn ? 8 : 0));
	ti->tcpi_snd_wscale = r.snd_wscale & 15;
	ti->tcpi_rcv_wscale = r.rcv_wscale & 15;
	ti->tcpi_rto = r.rto_us;
	ti->tcpi_rtt = r.srtt_us;
	ti->tcpi_rttvar = r.rttvar_us;
	ti->tcpi_min_rtt = r.min_rtt_us;
	ti->tcpi_snd_mss = r.mss;
	ti->tcpi_rcv_mss = r.rcv_mss;
	ti->tcpi_advmss = r.path_mss;
	ti->tcpi_pmtu = r.path_mss + 40;
	ti->tcpi_snd_cwnd = r.mss ? r.cwnd / r.mss : 0;
	ti->tcpi_snd_ssthresh = r.mss && r.ssthresh != UINT32_MAX ? r.ssthresh / r.mss : INT32_MAX;
	ti->tcpi_rcv_space = r.rcvbuf;
	ti->tcpi_unacked = r.mss ? (r.unacked - r.unsent + r.mss - 1) / r.mss : 0;
	ti->tcpi_notsent_bytes = r.unsent;
	ti->tcpi_total_retrans = r.retransmits;
	ti->tcpi_pacing_rate = r.pacing_rate;
	ti->tcpi_bytes_sent = row->tx_off - r.unsent;
	ti->tcpi_bytes_acked = row->tx_off - r.unacked;
	ti->tcpi_bytes_received = row->rx_off + r.readable;
	ti->tcpi_snd_wnd = r.snd_wnd;
	return r.cc;
}

uint32_t direct_info(struct direct *d, void *info, size_t size, char *cong, size_t cong_size)
{
	struct tcp_info ti;
	const char *cc = info_fill(d, &ti);

	size = BASE_MIN(size, sizeof(ti));
	memcpy(info, &ti, size);
	strncpy(cong, cc, cong_size - 1);
	return (uint32_t)size;
}

void direct_opt_get(struct sock *s, int level, int name, void *val, socklen_t *len)
{
	const bool error = level == SOL_SOCKET && name == SO_ERROR;
	const bool info = level == IPPROTO_TCP && name == TCP_INFO;
	struct tcp_info ti;
	struct direct *d;
	int err;

	if (!error && !info)
		return;
	d = direct_enter(s, &err);
	if (!d)
		return;
	if (d->conn && error && *len >= sizeof(int)) {
		direct_look(d);
		*(int *)val = -direct_error_take(d);
	} else if (d->conn && info) {
		info_fill(d, &ti);
		memcpy(val, &ti, *len < sizeof(ti) ? *len : sizeof(ti));
	}
	net_leave();
}

bool direct_ioctl(struct sock *s, unsigned long req, int *arg)
{
	const struct tcb *t;
	struct direct *d;
	int err;

	if (req != FIONREAD && req != SIOCOUTQ && req != SIOCATMARK && req != SIOCOUTQNSD)
		return false;
	d = direct_enter(s, &err);
	if (!d)
		return false;
	net_drive();
	t = d->conn ? net_stack->inst_conn_tcb(d->conn) : NULL;
	if (t)
		*arg = req == FIONREAD      ? (int)net_stack->tcp_readable(t)
		       : req == SIOCOUTQ    ? (int)net_stack->tcp_unacked(t)
		       : req == SIOCOUTQNSD ? (int)net_stack->tcp_unsent(t)
					    : 0;
	net_leave();
	return t;
}
