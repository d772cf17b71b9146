/* pd_host.c - sockets over one instance in virtual time
 *
 * Settings (as words, all optional): mtu= sack= timestamps= window_scale= ecn= cc=reno|cubic
 * init_cwnd= rto_min_ms= rto_initial_ms= delack_ms= rcvbuf= rcvbuf_max= sndbuf=
 * cookies=auto|always|never backlog_syn= tfo_max= pacing= keep_idle_s= time_wait_ms= autotune=
 * idle_restart= host_sysctls= fd_base=.
 * Without any, options are those of the Linux defaults: all on, ECN off.
 */
#include "pd_host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "pd_priv.h"
#include "pd_sysctl.h"
#include "stack/base/base_check.h"
#include "stack/cc/cc.h"
#include "stack/wire/wire_eth.h"

static const struct wire_mac mac_ours = { { 2, 0, 0, 0, 0, 1 } };
static const struct wire_mac mac_gateway = { { 2, 0, 0, 0, 0, 2 } };

/* ---- settings */

static bool setting_tcp(struct tcp_config *t, const char *name, uint32_t v)
{
	const struct {
		const char *name;
		uint32_t *at;
		uint32_t times;
	} words[] = {
		{ "rto_min_ms", &t->rto_min_us, 1000 },
		{ "rto_initial_ms", &t->rto_initial_us, 1000 },
		{ "delack_ms", &t->delack_us, 1000 },
		{ "rcvbuf", &t->rcvbuf_bytes, 1 },
		{ "rcvbuf_max", &t->rcvbuf_max_bytes, 1 },
		{ "sndbuf", &t->sndbuf_bytes, 1 },
		{ "time_wait_ms", &t->time_wait_ms, 1 },
		{ "gso", &t->gso_max_bytes, 1 },
		{ "user_timeout_ms", &t->user_timeout_ms, 1 },
	};
	const struct {
		const char *name;
		bool *at;
	} bits[] = {
		{ "sack", &t->sack },
		{ "timestamps", &t->timestamps },
		{ "window_scale", &t->window_scale },
		{ "ecn", &t->ecn },
		{ "pacing", &t->pacing },
		{ "autotune", &t->autotune },
		{ "idle_restart", &t->idle_restart },
	};

	for (size_t i = 0; i < BASE_ARRAY_SIZE(words); i++)
		if (strcmp(name, words[i].name) == 0)
			return *words[i].at = v * words[i].times, true;
	for (size_t i = 0; i < BASE_ARRAY_SIZE(bits); i++)
		if (strcmp(name, bits[i].name) == 0)
			return *bits[i].at = v, true;
	if (strcmp(name, "init_cwnd") == 0)
		return t->init_cwnd = (uint8_t)v, true;
	if (strcmp(name, "keep_idle_s") == 0)
		return t->keep_idle_s = (uint16_t)v, true;
	if (strcmp(name, "syn_retries") == 0)
		return t->syn_retries = (uint8_t)v, true;
	if (strcmp(name, "synack_retries") == 0)
		return t->synack_retries = (uint8_t)v, true;
	if (strcmp(name, "data_retries") == 0)
		return t->data_retries = (uint8_t)v, true;
	return false;
}

static bool setting(struct pd_host *h, struct inst_config *cfg, char *word)
{
	char *value = strchr(word, '=');
	uint32_t v;

	if (!value)
		return false;
	*value++ = 0;
	v = (uint32_t)strtoul(value, NULL, 0);
	if (setting_tcp(&cfg->tcp, word, v))
		return true;
	if (strcmp(word, "mtu") == 0)
		cfg->ip.mtu = (uint16_t)v;
	else if (strcmp(word, "cc") == 0)
		cfg->tcp.cc = strcmp(value, "reno") == 0 ? &cc_reno : &cc_cubic;
	else if (strcmp(word, "backlog_syn") == 0)
		cfg->syn_max = v;
	else if (strcmp(word, "cookies") == 0)
		h->cookies = *value == 'n'     ? TCP_COOKIES_NEVER
			     : value[1] == 'l' ? TCP_COOKIES_ALWAYS
					       : TCP_COOKIES_AUTO;
	else if (strcmp(word, "tfo_max") == 0)
		cfg->tcp.tfo_server = (h->tfo_max = v) != 0;
	else if (strcmp(word, "fd_base") == 0)
		h->fd_base = (int)v;
	else if (strcmp(word, "host_sysctls") == 0)
		h->host_sysctls = v;
	else
		return false;
	return true;
}

static bool settings_read(struct pd_host *h, struct inst_config *cfg, const char *settings,
			  char bad[64])
{
	char *copy = strdup(settings ? settings : ""), *save = NULL;
	bool ok = true;

	for (char *w = strtok_r(copy, " ,\n", &save); w && ok; w = strtok_r(NULL, " ,\n", &save)) {
		snprintf(bad, 64, "%s", w);
		ok = setting(h, cfg, w);
	}
	free(copy);
	return ok;
}

/* ---- life */

static const union wire_addr gw6 = { .b = { 0xfd, 0x3d, [15] = 0xfe } };

static void gateways_answer(struct pd_host *h)
{
	union wire_addr gw4 = wire_addr_v4(0xc0a8fffe);

	ip_neigh_add(inst_ip(h->in), &gw4, &mac_gateway, h->now);
	ip_neigh_add(inst_ip(h->in), &gw6, &mac_gateway, h->now);
}

static void network(struct pd_host *h)
{
	union wire_addr a4 = wire_addr_v4(0xc0a80001), gw4 = wire_addr_v4(0xc0a8fffe);
	union wire_addr a6 = { .b = { 0xfd, 0x3d, [15] = 1 } };
	union wire_addr any4 = wire_addr_v4(0), any6 = { .q = { 0, 0 } };
	struct ip *ip = inst_ip(h->in);

	ip_addr_add(ip, &a4, 16, h->now);
	ip_addr_add(ip, &a6, 64, h->now);
	ip_route_add(ip, &any4, 0, &gw4, 0);
	ip_route_add(ip, &any6, 0, &gw6, 0);
	gateways_answer(h);
}

struct pd_host *pd_host_new(const char *settings, char bad[64])
{
	struct pd_host *h = calloc(1, sizeof(*h));
	struct inst_config cfg;
	size_t size;

	inst_config_defaults(&cfg);
	cfg.conns_max = 256;
	h->cookies = TCP_COOKIES_AUTO;
	if (!settings_read(h, &cfg, settings, bad)) {
		free(h);
		return NULL;
	}
	h->now = 1000 * ZTIME_SEC;
	h->bufs.buffers_fail_after = -1;
	cfg.buf = inst_pair_buf_ops(&h->bufs);
	cfg.key = (struct base_hash_key){ 0x70616b, 0x746472 };
	cfg.ip.mac = mac_ours;
	size = (inst_size(&cfg) + 63) & ~(size_t)63;
	h->mem = aligned_alloc(64, size);
	memset(h->mem, 0, size);
	h->in = inst_init(h->mem, &cfg, h->now);
	network(h);
	pd_advance(h, h->now, false);
	return h;
}

long pd_host_free(struct pd_host *h)
{
	long left;

	for (; h->got != h->put; h->got++)
		free(h->queue[h->got % PD_QUEUE_MAX].data);
	inst_fini(h->in);
	left = (long)h->bufs.buffers + inst_pool_used(h->in);
	free(h->mem);
	free(h);
	return left;
}

ztime_t pd_now(const struct pd_host *h)
{
	return h->now;
}

/* ---- packets */

static void packet_keep(struct pd_host *h, const struct wire_frame_out *f)
{
	struct pd_packet *p = &h->queue[h->put % PD_QUEUE_MAX];
	uint8_t *flat;
	size_t len;

	bool arp = f->hdr[12] == 0x08 && f->hdr[13] == 0x06;

	/* Neither ARP nor neighbour discovery is a business of scripts: the gateways have answered. */
	if (arp || (f->hdr[12] == 0x86 && f->l4_len == 0)) {
		gateways_answer(h);
		return;
	}
	if (h->put - h->got == PD_QUEUE_MAX)
		return;
	flat = malloc(f->hdr_len + f->len);
	len = dev_flatten(f, flat) - f->l3_at;
	memmove(flat, flat + f->l3_at, len);
	*p = (struct pd_packet){ .at = h->now, .len = (uint32_t)len, .data = flat };
	h->put++;
}

void pd_turn(struct pd_host *h)
{
	struct wire_frame_out out[16];
	struct inst_event ev;
	unsigned int n;

	while ((n = inst_output(h->in, out, 16, h->now)) != 0)
		for (unsigned int i = 0; i < n; i++)
			packet_keep(h, &out[i]);
	while (inst_event_take(h->in, &ev)) {
		if (ev.events & TCP_EV_TFO && ev.conn)
			h->tfo_len = tcp_tfo_cookie(inst_conn_tcb(ev.conn), h->tfo_cookie);
		if (ev.user)
			((struct pd_fd *)ev.user)->edges++;
	}
}

void pd_advance(struct pd_host *h, ztime_t to, bool until_packet)
{
	pd_turn(h);
	while (!(until_packet && h->put != h->got)) {
		ztime_t at = inst_deadline(h->in);

		if (at > to)
			break;
		h->now = ztime_max(at, h->now + 1);
		pd_turn(h);
	}
	if (h->now < to && !(until_packet && h->put != h->got))
		h->now = to;
}

void pd_packet_in(struct pd_host *h, const uint8_t *packet, size_t len)
{
	uint8_t *frame = malloc(WIRE_ETH_LEN + len);
	struct wire_eth eth = { .dst = mac_ours, .src = mac_gateway, .vlan = WIRE_VLAN_NONE };
	struct wire_frame_in in = { .data = frame, .len = (uint32_t)(WIRE_ETH_LEN + len) };

	eth.type = packet[0] >> 4 == 6 ? WIRE_ETH_IP6 : WIRE_ETH_IP4;
	memcpy(frame + wire_eth_emit(&eth, frame), packet, len);
	inst_input(h->in, &in, 1, h->now);
	free(frame);
	pd_turn(h);
}

struct pd_packet pd_packet_out(struct pd_host *h)
{
	if (h->got == h->put)
		return (struct pd_packet){ 0 };
	return h->queue[h->got++ % PD_QUEUE_MAX];
}

/* ---- addresses and descriptors */

struct pd_fd *pd_fd_get(struct pd_host *h, int fd)
{
	fd -= h->fd_base;
	if (fd < FD_FIRST || fd >= FDS || h->fds[fd].kind == PD_FREE)
		return NULL;
	return &h->fds[fd];
}

static int addr_read(const struct pd_fd *f, const struct sockaddr *a, socklen_t len,
		     union wire_addr *addr, uint16_t *port)
{
	if (!f->v6 && len >= sizeof(struct sockaddr_in) && a->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)a;

		*addr = wire_addr_v4_bytes(&in->sin_addr);
		*port = ntohs(in->sin_port);
		return 0;
	}
	if (f->v6 && len >= sizeof(struct sockaddr_in6) && a->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)a;

		*addr = wire_addr_v6_bytes(&in6->sin6_addr);
		*port = ntohs(in6->sin6_port);
		return 0;
	}
	return len < sizeof(sa_family_t) ? -EINVAL : -EAFNOSUPPORT;
}

static void addr_write(const union wire_addr *addr, uint16_t port, bool v6, struct sockaddr *a,
		       socklen_t *len)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	socklen_t full = v6 ? sizeof(in6) : sizeof(in);

	if (!a || !len)
		return;
	memcpy(&in.sin_addr, addr->b + 12, 4);
	memcpy(&in6.sin6_addr, addr->b, 16);
	memcpy(a, v6 ? (void *)&in6 : (void *)&in, BASE_MIN(*len, full));
	*len = full;
}

/* Return: an index into fds[], or -EMFILE. */
static int fd_new(struct pd_host *h, enum pd_kind kind)
{
	for (int fd = FD_FIRST; fd < FDS; fd++) {
		if (h->fds[fd].kind != PD_FREE)
			continue;
		memset(&h->fds[fd], 0, sizeof(h->fds[fd]));
		h->fds[fd].kind = kind;
		return fd;
	}
	return -EMFILE;
}

bool pd_nonblocking(const struct pd_host *h, int fd)
{
	fd -= h->fd_base;
	return fd < FD_FIRST || fd >= FDS || h->fds[fd].nonblock;
}

static struct inst_conn *conn_new(struct pd_host *h)
{
	struct inst_conn *c = inst_conn_new(h->in, NULL);

	if (!c || !h->host_sysctls)
		return c;
	pd_sysctl_read(inst_conn_tcb(c)); /* holds for connections made from now on */
	inst_close(h->in, c, h->now);
	return inst_conn_new(h->in, NULL);
}

int pd_socket(struct pd_host *h, int domain, int type, int protocol)
{
	int fd;

	if (domain != AF_INET && domain != AF_INET6)
		return -EAFNOSUPPORT;
	if ((type & 0xf) != SOCK_STREAM || (protocol && protocol != IPPROTO_TCP))
		return -EPROTONOSUPPORT;
	fd = fd_new(h, PD_NEW);
	if (fd < 0)
		return fd;
	h->fds[fd].v6 = domain == AF_INET6;
	h->fds[fd].nonblock = type & SOCK_NONBLOCK;
	if (domain == AF_INET)
		h->fds[fd].local = wire_addr_v4(0);
	h->fds[fd].conn = conn_new(h);
	inst_conn_user_set(h->fds[fd].conn, &h->fds[fd]);
	return h->fd_base + fd;
}

int pd_bind(struct pd_host *h, int fd, const struct sockaddr *a, socklen_t len)
{
	struct pd_fd *f = pd_fd_get(h, fd);
	union wire_addr addr;
	uint16_t port;
	int err;

	if (!f)
		return -EBADF;
	if (f->kind != PD_NEW || f->bound)
		return -EINVAL;
	err = addr_read(f, a, len, &addr, &port);
	if (err)
		return err;
	if (!wire_addr_is_any(&addr) && !ip_addr_local(inst_ip(h->in), &addr))
		return -EADDRNOTAVAIL;
	f->local = addr;
	f->port = port;
	f->bound = true;
	return 0;
}

int pd_listen(struct pd_host *h, int fd, int backlog)
{
	struct pd_fd *f = pd_fd_get(h, fd);
	int err;

	if (!f)
		return -EBADF;
	if (f->kind == PD_LISTEN)
		return 0;
	if (f->kind != PD_NEW || f->connecting)
		return -EINVAL;
	err = inst_listen(h->in, &f->local, f->port, (uint32_t)backlog, f, &f->listener);
	if (err)
		return err;
	inst_listener_tcp(f->listener)->cookies = h->cookies;
	inst_listener_tcp(f->listener)->tfo_max = h->tfo_max;
	inst_close(h->in, f->conn, h->now);
	f->conn = NULL;
	f->kind = PD_LISTEN;
	return 0;
}

int pd_accept(struct pd_host *h, int fd, struct sockaddr *a, socklen_t *len)
{
	struct pd_fd *f = pd_fd_get(h, fd);
	struct inst_conn *c;
	int child;

	if (!f)
		return -EBADF;
	if (f->kind != PD_LISTEN)
		return -EINVAL;
	c = inst_accept(h->in, f->listener, NULL);
	if (!c)
		return -EAGAIN;
	child = fd_new(h, PD_CONN);
	if (child < 0) {
		inst_abort(h->in, c, h->now);
		return child;
	}
	h->fds[child].conn = c;
	h->fds[child].v6 = f->v6;
	addr_write(&inst_conn_flow(c)->remote, inst_conn_flow(c)->rport, f->v6, a, len);
	inst_conn_user_set(c, &h->fds[child]);
	return h->fd_base + child;
}

/* The error of a connection is told once (SO_ERROR), by whichever call comes first. */
int pd_error_take(struct pd_fd *f)
{
	int err = tcp_error(inst_conn_tcb(f->conn));

	if (!err || f->error_told)
		return 0;
	f->error_told = true;
	return -err;
}

static int connect_again(struct pd_fd *f)
{
	enum tcp_state s = tcp_state(inst_conn_tcb(f->conn));
	int err = pd_error_take(f);

	if (err) {
		f->connecting = false;
		return err;
	}
	if (s == TCP_ST_SYN_SENT || s == TCP_ST_SYN_RCVD)
		return -EALREADY;
	if (f->connecting && s != TCP_ST_CLOSED) {
		f->connecting = false;
		return 0;
	}
	return s == TCP_ST_CLOSED ? -ECONNABORTED : -EISCONN;
}

/* TCP_FASTOPEN_CONNECT. Return: true when a cookie is there, and the first write connects. */
static bool connect_later(struct pd_host *h, struct pd_fd *f, const struct sockaddr *a,
			  socklen_t len)
{
	f->fast_open = false;
	if (!h->tfo_len || len > sizeof(f->later)) {
		tcp_tfo_use(inst_conn_tcb(f->conn), NULL, 0);
		return false;
	}
	memcpy(&f->later, a, len);
	f->later_len = len;
	return true;
}

int pd_connect(struct pd_host *h, int fd, const struct sockaddr *a, socklen_t len)
{
	struct pd_fd *f = pd_fd_get(h, fd);
	struct wire_flow flow;
	int err;

	if (!f)
		return -EBADF;
	if (f->kind == PD_LISTEN)
		return -EISCONN;
	if (f->kind == PD_CONN)
		return connect_again(f);
	if (f->fast_open && connect_later(h, f, a, len))
		return 0;
	memset(&flow, 0, sizeof(flow));
	err = addr_read(f, a, len, &flow.remote, &flow.rport);
	if (err)
		return err;
	flow.local = f->local;
	if (wire_addr_is_any(&f->local) && wire_addr_is_v4(&flow.remote))
		flow.local = wire_addr_v4(0); /* a v6 socket to a mapped address */
	flow.lport = f->port;
	err = inst_connect(h->in, f->conn, &flow, h->now);
	if (err)
		return err;
	f->kind = PD_CONN;
	f->connecting = true;
	pd_turn(h);
	return -EINPROGRESS;
}

/* ---- bytes */

static bool reading_over(struct pd_fd *f)
{
	struct tcb *t = inst_conn_tcb(f->conn);

	return tcp_eof(t) || f->shut_rd || tcp_state(t) == TCP_ST_CLOSED;
}

static ssize_t peek(struct pd_fd *f, uint8_t *to, size_t len)
{
	struct wire_tcp_iov iov[16];
	unsigned int n = tcp_recv_peek(inst_conn_tcb(f->conn), 0, iov, 16);
	size_t done = 0;

	for (unsigned int i = 0; i < n && done < len; i++) {
		size_t part = BASE_MIN((size_t)iov[i].len, len - done);

		memcpy(to + done, iov[i].data, part);
		done += part;
	}
	return (ssize_t)done;
}

ssize_t pd_read(struct pd_host *h, int fd, void *buf, size_t len, int flags)
{
	struct pd_fd *f = pd_fd_get(h, fd);
	ssize_t n;
	int err;

	if (!f)
		return -EBADF;
	if (!buf && len)
		return -EFAULT;
	if (f->kind != PD_CONN)
		return -ENOTCONN;
	n = flags & MSG_PEEK ? peek(f, buf, len)
			     : (ssize_t)inst_recv(h->in, f->conn, buf, len, h->now);
	pd_turn(h);
	if (n || len == 0)
		return n;
	err = pd_error_take(f);
	if (err)
		return err;
	return reading_over(f) ? 0 : -EAGAIN;
}

ssize_t pd_fast_open(struct pd_host *h, int fd, const struct sockaddr *a, socklen_t alen,
		     const void *buf, size_t len, int flags)
{
	struct pd_fd *f = pd_fd_get(h, fd);
	int64_t n = 0;
	int err;

	if (!f)
		return -EBADF;
	if (!buf && len)
		return -EFAULT;
	if (f->kind != PD_NEW)
		return pd_write(h, fd, buf, len, flags);
	f->fast_open = false;
	tcp_tfo_use(inst_conn_tcb(f->conn), h->tfo_cookie, h->tfo_len);
	if (h->tfo_len)
		n = inst_send(h->in, f->conn, buf, len, 0, h->now);
	if (n < 0)
		return n;
	err = pd_connect(h, fd, a, alen);
	return n && err == -EINPROGRESS ? n : err;
}

ssize_t pd_write(struct pd_host *h, int fd, const void *buf, size_t len, int flags)
{
	struct pd_fd *f = pd_fd_get(h, fd);
	unsigned int tcp_flags = (flags & MSG_MORE ? TCP_SEND_MORE : 0u) |
				 (flags & MSG_OOB ? TCP_SEND_URGENT : 0u);
	int64_t n;
	int err;

	if (!f)
		return -EBADF;
	if (!buf && len)
		return -EFAULT;
	if (f->kind == PD_NEW && f->later_len)
		return pd_fast_open(h, fd, (struct sockaddr *)&f->later, f->later_len, buf, len,
				    flags);
	if (f->kind != PD_CONN)
		return f->kind == PD_LISTEN ? -EPIPE : -ENOTCONN;
	err = pd_error_take(f);
	if (err)
		return err;
	if (f->shut_wr)
		return -EPIPE;
	if (f->connecting && tcp_state(inst_conn_tcb(f->conn)) == TCP_ST_SYN_SENT)
		return -EAGAIN;
	n = inst_send(h->in, f->conn, buf, len, tcp_flags, h->now);
	pd_turn(h);
	return n;
}

int pd_shutdown(struct pd_host *h, int fd, int how)
{
	struct pd_fd *f = pd_fd_get(h, fd);
	int err = 0;

	if (!f)
		return -EBADF;
	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	if (f->kind != PD_CONN || tcp_state(inst_conn_tcb(f->conn)) == TCP_ST_CLOSED)
		return -ENOTCONN;
	if (how != SHUT_WR)
		f->shut_rd =
			true; /* as Linux does: nobody waits any more, what comes can still be read */
	if (how != SHUT_RD) {
		err = inst_shutdown(h->in, f->conn, h->now);
		f->shut_wr = true;
	}
	pd_turn(h);
	return err;
}

int pd_close(struct pd_host *h, int fd)
{
	struct pd_fd *f = pd_fd_get(h, fd);

	if (!f)
		return -EBADF;
	if (f->kind == PD_LISTEN)
		inst_listener_close(h->in, f->listener, h->now);
	else
		inst_close(h->in, f->conn, h->now);
	f->kind = PD_FREE;
	pd_turn(h);
	return 0;
}

int pd_fcntl(struct pd_host *h, int fd, int cmd, long arg)
{
	struct pd_fd *f = pd_fd_get(h, fd);

	if (!f)
		return -EBADF;
	switch (cmd) {
	case F_GETFL: return O_RDWR | (f->nonblock ? O_NONBLOCK : 0);
	case F_SETFL: f->nonblock = arg & O_NONBLOCK; return 0;
	default: return -EINVAL;
	}
}

int pd_ioctl(struct pd_host *h, int fd, unsigned long request, int *arg)
{
	struct pd_fd *f = pd_fd_get(h, fd);

	if (!f)
		return -EBADF;
	if (f->kind != PD_CONN)
		return -EINVAL;
	switch (request) {
	case FIONREAD: *arg = (int)tcp_readable(inst_conn_tcb(f->conn)); return 0;
	case SIOCOUTQ: *arg = (int)tcp_unacked(inst_conn_tcb(f->conn)); return 0;
	case SIOCOUTQNSD: *arg = (int)tcp_unsent(inst_conn_tcb(f->conn)); return 0;
	default: return -EINVAL;
	}
}

/* ---- readiness */

static bool writable(const struct pd_fd *f)
{
	const struct tcb *t = inst_conn_tcb(f->conn);

	return tcp_send_space(t) && (!f->lowat || tcp_unsent(t) < f->lowat);
}

static short ready(struct pd_host *h, struct pd_fd *f)
{
	struct tcb *t;
	short r = 0;

	(void)h;
	if (f->kind == PD_LISTEN)
		return inst_listener_tcp(f->listener)->n_ready ? POLLIN | POLLRDNORM : 0;
	t = inst_conn_tcb(f->conn);
	if (f->kind == PD_NEW || tcp_state(t) == TCP_ST_CLOSED)
		r = POLLOUT | POLLHUP | POLLWRNORM |
		    (f->kind == PD_CONN ? POLLIN | POLLRDNORM | POLLRDHUP : 0);
	else if (tcp_state(t) == TCP_ST_SYN_SENT)
		return 0;
	else if (f->shut_wr || writable(f))
		r |= POLLOUT | POLLWRNORM;
	if (tcp_readable(t) || tcp_eof(t))
		r |= POLLIN | POLLRDNORM;
	if (tcp_eof(t) || f->shut_rd)
		r |= POLLIN | POLLRDNORM | POLLRDHUP;
	if (f->shut_wr && tcp_eof(t))
		r |= POLLHUP;
	if (tcp_error(t) && !f->error_told)
		r |= POLLERR;
	return r;
}

int pd_poll(struct pd_host *h, struct pollfd *fds, unsigned int n)
{
	int count = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct pd_fd *f = pd_fd_get(h, fds[i].fd);

		fds[i].revents = f ? ready(h, f) & (short)(fds[i].events | POLLERR | POLLHUP)
				   : POLLNVAL;
		count += fds[i].revents != 0;
	}
	return count;
}

uint32_t pd_edges(struct pd_host *h, int fd)
{
	struct pd_fd *f = pd_fd_get(h, fd);

	return f ? f->edges : 0;
}

bool pd_info(struct pd_host *h, int fd, struct tcp_info_rec *info)
{
	struct pd_fd *f = pd_fd_get(h, fd);

	if (!f || f->kind != PD_CONN)
		return false;
	tcp_info(inst_conn_tcb(f->conn), info);
	return true;
}

long pd_counter(const struct pd_host *h, const char *name)
{
	for (int i = 0; i < CNT_COUNT; i++)
		if (strcmp(name, base_counter_name(i)) == 0)
			return (long)inst_counters(h->in)->n[i];
	return -1;
}
