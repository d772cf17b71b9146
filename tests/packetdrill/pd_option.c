/* pd_option.c - socket options and information of a host for packet scripts */
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "pd_priv.h"
#include "stack/base/base_check.h"

static const struct {
	int level, name;
	enum tcp_opt opt;
} options[] = {
	{ IPPROTO_TCP, TCP_NODELAY, TCP_OPT_SET_NODELAY },
	{ IPPROTO_TCP, TCP_CORK, TCP_OPT_SET_CORK },
	{ IPPROTO_TCP, TCP_QUICKACK, TCP_OPT_SET_QUICKACK },
	{ IPPROTO_TCP, TCP_KEEPIDLE, TCP_OPT_SET_KEEPIDLE_S },
	{ IPPROTO_TCP, TCP_KEEPINTVL, TCP_OPT_SET_KEEPINTVL_S },
	{ IPPROTO_TCP, TCP_KEEPCNT, TCP_OPT_SET_KEEPCNT },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_OPT_SET_USER_TIMEOUT_MS },
	{ IPPROTO_TCP, TCP_MAXSEG, TCP_OPT_SET_MAXSEG },
	{ IPPROTO_TCP, TCP_SYNCNT, TCP_OPT_SET_SYNCNT },
	{ IPPROTO_TCP, TCP_LINGER2, TCP_OPT_SET_LINGER2_S },
	{ SOL_SOCKET, SO_KEEPALIVE, TCP_OPT_SET_KEEPALIVE },
	{ SOL_SOCKET, SO_SNDBUF, TCP_OPT_SET_SNDBUF },
	{ SOL_SOCKET, SO_RCVBUF, TCP_OPT_SET_RCVBUF },
};

/* Of a listener only the MSS matters to children; the other options are theirs to set. */
static int listener_set(struct pd_fd *f, int name, uint32_t value)
{
	if (name == TCP_MAXSEG)
		inst_listener_tcp(f->listener)->maxseg = value;
	return 0;
}

int pd_setsockopt(struct pd_host *h, int fd, int level, int name, const void *v, socklen_t len)
{
	struct pd_fd *f = pd_fd_get(h, fd);
	int value, err;

	if (!f)
		return -EBADF;
	if (len < sizeof(int))
		return -EINVAL;
	memcpy(&value, v, sizeof(value));
	for (size_t i = 0; i < BASE_ARRAY_SIZE(options); i++) {
		if (options[i].level != level || options[i].name != name)
			continue;
		if (f->kind == PD_LISTEN)
			return listener_set(f, name, (uint32_t)value);
		err = tcp_opt_set(inst_conn_tcb(f->conn), options[i].opt, (uint32_t)value, h->now);
		inst_conn_kick(h->in, f->conn);
		pd_turn(h);
		return err;
	}
	if (level == IPPROTO_TCP && name == TCP_FASTOPEN_CONNECT) {
		f->fast_open = value;
		return 0;
	}
	if (level == IPPROTO_TCP && name == TCP_NOTSENT_LOWAT) {
		f->lowat = (uint32_t)value;
		return 0;
	}
	/* Options of the socket layer that change nothing here. */
	if (level == SOL_SOCKET && (name == SO_REUSEADDR || name == SO_REUSEPORT ||
				    name == SO_LINGER || name == SO_ZEROCOPY))
		return 0;
	return -ENOPROTOOPT;
}

static void int_put(int value, void *v, socklen_t *len)
{
	*len = BASE_MIN(*len, (socklen_t)sizeof(value));
	memcpy(v, &value, *len);
}

static void tcp_info_put(struct pd_fd *f, void *v, socklen_t *len)
{
	const struct tcb *t = inst_conn_tcb(f->conn);
	struct tcp_info_rec r;
	struct tcp_info i = { 0 };

	tcp_info(t, &r);
	i.tcpi_state = (uint8_t[]){ 7, 2, 3, 1, 4, 5, 8, 11, 9, 6 }[r.state];
	i.tcpi_ca_state = (uint8_t[]){ 0, 2, 3, 4 }[r.ca_state];
	i.tcpi_backoff = r.backoff;
	i.tcpi_probes = r.probes;
	i.tcpi_reordering = BASE_MAX(r.reordering, 3); /* the kernel begins with RFC 5681's three */
	i.tcpi_advmss = tcp_opt_get(t, TCP_OPT_SET_MAXSEG)
				? (uint32_t)tcp_opt_get(t, TCP_OPT_SET_MAXSEG)
				: r.path_mss;
	i.tcpi_sacked = r.mss ? (r.sacked + r.mss - 1) / r.mss : 0;
	i.tcpi_lost = r.mss ? (r.lost + r.retransmitted_now + r.mss - 1) / r.mss : 0;
	i.tcpi_retrans = r.mss ? (r.retransmitted_now + r.mss - 1) / r.mss : 0;
	i.tcpi_rto = r.rto_us;
	i.tcpi_rtt = r.srtt_us;
	i.tcpi_rttvar = r.rttvar_us;
	i.tcpi_snd_mss = r.mss;
	i.tcpi_rcv_mss = r.rcv_mss;
	i.tcpi_snd_cwnd = r.mss ? r.cwnd / r.mss : 0;
	i.tcpi_snd_ssthresh = r.mss && r.ssthresh != UINT32_MAX ? r.ssthresh / r.mss : INT32_MAX;
	i.tcpi_unacked = r.mss ? (r.unacked - r.unsent + r.mss - 1) / r.mss : 0;
	i.tcpi_total_retrans = r.retransmits;
	memset(v, 0, *len); /* newer kernels tell more: what is not known here is zero */
	memcpy(v, &i, BASE_MIN(*len, (socklen_t)sizeof(i)));
}

/* As the kernel's SO_MEMINFO counts, but without its overhead. */
static void meminfo_put(const struct pd_fd *f, void *v, socklen_t *len)
{
	struct tcp_info_rec r;
	uint32_t m[SK_MEMINFO_VARS] = { 0 };

	tcp_info(inst_conn_tcb(f->conn), &r);
	m[SK_MEMINFO_RMEM_ALLOC] = r.readable;
	m[SK_MEMINFO_RCVBUF] = r.rcvbuf;
	m[SK_MEMINFO_WMEM_ALLOC] = r.unacked;
	m[SK_MEMINFO_SNDBUF] = r.sndbuf;
	m[SK_MEMINFO_WMEM_QUEUED] = r.unacked;
	*len = BASE_MIN(*len, (socklen_t)sizeof(m));
	memcpy(v, m, *len);
}

/* The value in the kernel's terms: buffers count twice, an open connection's MSS is the one in force. */
static int option_value(const struct pd_fd *f, int level, int name, enum tcp_opt opt)
{
	const struct tcb *t = inst_conn_tcb(f->conn);
	int value = (int)tcp_opt_get(t, opt);
	struct tcp_info_rec r;

	if (level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_RCVBUF))
		return 2 * value;
	if (level != IPPROTO_TCP || name != TCP_MAXSEG || tcp_state(t) == TCP_ST_CLOSED)
		return value;
	tcp_info(t, &r);
	return (int)r.mss;
}

static int listener_get(const struct pd_fd *f, int level, int name, void *v, socklen_t *len)
{
	if (level == SOL_SOCKET && name == SO_ERROR)
		int_put(0, v, len);
	else if (level == IPPROTO_TCP && name == TCP_MAXSEG)
		int_put((int)inst_listener_tcp(f->listener)->maxseg, v, len);
	else
		return -ENOPROTOOPT;
	return 0;
}

/* Answers that are not one number of the table. Return: true and *@v. */
static bool special_get(struct pd_fd *f, int level, int name, void *v, socklen_t *len)
{
	if (level == SOL_SOCKET && name == SO_ERROR)
		int_put(-pd_error_take(f), v, len);
	else if (level == SOL_SOCKET && name == SO_MEMINFO)
		meminfo_put(f, v, len);
	else if (level == IPPROTO_TCP && name == TCP_INFO)
		tcp_info_put(f, v, len);
	else if (level == IPPROTO_TCP && name == TCP_CC_INFO)
		*len = 0; /* neither Reno nor CUBIC has any */
	else if (level == IPPROTO_TCP && name == TCP_NOTSENT_LOWAT)
		int_put((int)f->lowat, v, len);
	else
		return false;
	return true;
}

int pd_getsockopt(struct pd_host *h, int fd, int level, int name, void *v, socklen_t *len)
{
	struct pd_fd *f = pd_fd_get(h, fd);

	if (!f)
		return -EBADF;
	if (f->kind == PD_LISTEN)
		return listener_get(f, level, name, v, len);
	if (special_get(f, level, name, v, len))
		return 0;
	for (size_t i = 0; i < BASE_ARRAY_SIZE(options); i++) {
		if (options[i].level != level || options[i].name != name)
			continue;
		int_put(option_value(f, level, name, options[i].opt), v, len);
		return 0;
	}
	return -ENOPROTOOPT;
}
