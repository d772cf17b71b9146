/* opt.c - options of a followed connection */
#include "preload/sock/opt.h"

#include "preload/sock/direct.h"
#include "preload/sock/ep.h"
#include "preload/sock/mem.h"
#include "preload/sock/ready.h"
#include "preload/sock/span.h"
#include "preload/sock/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/time.h>

enum { OPT_RELEASE_MS = 100 };

/* Options whose effect only the kernel's own queues can have. */
static bool kernel_only(int level, int name)
{
	if (level == SOL_SOCKET) {
		switch (name) {
		case SO_ZEROCOPY:
		case SO_TIMESTAMP:
		case SO_TIMESTAMPNS:
		case SO_TIMESTAMPING:
		case SO_PEEK_OFF:
		case SO_OOBINLINE:
		case SO_ATTACH_FILTER:
		case SO_ATTACH_BPF:
		case SO_MAX_PACING_RATE: return true;
		default: return false;
		}
	}
	if (level == IPPROTO_TCP)
		return name == TCP_ULP || name == TCP_REPAIR || name == TCP_INQ ||
		       name == TCP_MD5SIG;
	return false;
}

void opt_before_set(struct sock *s, int level, int name)
{
	if (sock_conn(s) && kernel_only(level, name))
		span_release(s, REASON_OPTION_SOCKET, OPT_RELEASE_MS);
}

static uint32_t timeout_us(const void *val, socklen_t len)
{
	const struct timeval *tv = val;
	uint64_t us;

	if (len < sizeof(*tv))
		return 0;
	us = (uint64_t)tv->tv_sec * 1000000 + (uint64_t)tv->tv_usec;
	return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* The kernel has taken it, and has made of it what it does. */
static void set_rcvlowat(struct sock *s)
{
	int value = 1;
	socklen_t len = sizeof(value);
	uint64_t mask;

	sys(SYS_getsockopt, sock_fd(s), SOL_SOCKET, SO_RCVLOWAT, &value, &len);
	SHM_WRITE(s->row->rcvlowat, (uint32_t)value);
	if (!sock_conn(s))
		return;
	mask = thread_signals_block();
	ready_look(s);
	ep_look(s);
	thread_signals_restore(mask);
}

void opt_after_set(struct sock *s, int level, int name, const void *val, socklen_t len)
{
	if (!sock_row(s) && SHM_READ(s->fresh) & SOCK_FRESH_OPTIONS &&
	    direct_opt_matters(level, name))
		SHM_WRITE(s->fresh, SHM_READ(s->fresh) & ~SOCK_FRESH_OPTIONS);
	if (direct_at(s))
		direct_opt_set(s, level, name);
	if (!sock_row(s))
		return;
	/* one that was not lifted stays so only if the kernel took the option: TCP_ULP, say, is often just tried */
	if (!SHM_READ(s->pinned) && kernel_only(level, name))
		span_release(s, REASON_OPTION_SOCKET, OPT_RELEASE_MS);
	if (level != SOL_SOCKET)
		return;
	if (name == SO_RCVLOWAT)
		set_rcvlowat(s);
	else if (name == SO_RCVTIMEO)
		SHM_WRITE(s->row->rcvtimeo_us, timeout_us(val, len));
	else if (name == SO_SNDTIMEO)
		SHM_WRITE(s->row->sndtimeo_us, timeout_us(val, len));
}

void opt_error(struct sock *s, int *err)
{
	if (!*err && sock_conn(s) && sock_error_waits(s))
		*err = sock_error_take(s);
	if (*err && sock_conn(s))
		sock_reset_tell(s);
	if (!*err && sock_conn(s) && SHM_READ(s->kernel_bits) && !sock_reset_told(s) &&
	    ready_reset(s) && sock_reset_tell(s))
		*err = ECONNRESET;
}

void opt_tcp_info(struct sock *s, void *val, socklen_t len)
{
	struct tcp_info *ti = val;
	struct stats_row *r = s->row;
	uint64_t tx, rx;

	if (!sock_conn(s) ||
	    len < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(ti->tcpi_bytes_received))
		return;
	tx = SHM_READ(r->tx_shm) + (SHM_READ(r->tx_path) ? s->conn->ctl.tail - r->tx_off : 0);
	rx = SHM_READ(r->rx_shm) + (SHM_READ(r->rx_path) ? s->conn->ctl.head - r->rx_off : 0) +
	     ready_ring_bytes(s); /* received, to TCP, though not by the program */
	ti->tcpi_bytes_acked += tx;
	ti->tcpi_bytes_received += rx;
	if (len >= offsetof(struct tcp_info, tcpi_bytes_sent) + sizeof(ti->tcpi_bytes_sent))
		ti->tcpi_bytes_sent += tx;
}

/* The same without the seat. Return: false where a border or a recall makes it less simple. */
static bool readable_ring(const struct sock *s, int *n)
{
	const struct shm_conn *c = s->conn;
	/* head first: another thread may read on between the two */
	uint64_t head = atomic_load_explicit(&c->ctl.head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&s->view.ctl->tail, memory_order_acquire);

	*n = (int)(tail - head < span_left(s, head) ? tail - head : span_left(s, head));
	/* a border is announced before anything lies behind it: the kernel holds nothing */
	return SHM_READ(c->rx.path) == SHM_PATH_RING && !SHM_READ(c->rx.frozen) && !span_ahead(s);
}

/* Bytes that a receive would find without waiting. */
static int readable(struct sock *s)
{
	struct shm_conn *c = s->conn;
	uint64_t mask = thread_signals_block();
	bool taken = shm_seat_take(&c->rx.seat, thread_tid());
	uint64_t limit;

	span_cross(s, &limit); /* nonsense is found by the next receive */
	shm_seat_give(&c->rx.seat, taken);
	thread_signals_restore(mask);
	return (int)ready_bytes(s);
}

static bool ring_unread(const struct sock *s)
{
	return SHM_READ(s->conn->rx.path) == SHM_PATH_RING && shm_ring_unread(s->conn, s->view.ctl);
}

/* What lies in the ring has gone as far as it can for now. A smaller one is full sooner than the kernel's buffers would be. */
static bool ring_holds_all(struct sock *s)
{
	return SHM_READ(s->conn->tx.path) == SHM_PATH_RING &&
	       SHM_READ(s->conn->tx.mask) >= (UINT32_C(1) << SHM_RING_LOG2_GROW) - 1 &&
	       !ready_room(s);
}

bool opt_ioctl(struct sock *s, unsigned long req, void *arg, int *ret)
{
	int n;

	if (direct_has(s) && mem_writable(arg, sizeof(int))) {
		*ret = 0;
		return direct_ioctl(s, req, arg);
	}
	if (!sock_conn(s) || !mem_writable(arg, sizeof(int)))
		return false;
	if (req == FIONREAD)
		*(int *)arg = readable_ring(s, &n) ? n : readable(s);
	else if (req == SIOCATMARK && ring_unread(s))
		*(int *)arg = 0; /* the mark lies in the kernel, behind these */
	else if (req == SIOCOUTQ && ring_holds_all(s))
		*(int *)arg = (int)(s->conn->ctl.tail - s->view.ctl->head);
	else
		return false; /* what lies in a ring with room is in the peer's reach: acknowledged, to TCP */
	*ret = 0;
	return true;
}

void opt_set_nonblock(struct sock *s, bool on)
{
	if (!sock_row(s))
		return;
	if (on)
		atomic_fetch_or(&s->row->flags, STATS_NONBLOCK);
	else
		atomic_fetch_and(&s->row->flags, ~(uint32_t)STATS_NONBLOCK);
	sock_stir(s);
}

void opt_set_flags(struct sock *s, long flags)
{
	if (!sock_row(s))
		return;
	opt_set_nonblock(s, flags & O_NONBLOCK);
	if (flags & O_ASYNC)
		span_release(s, REASON_ASYNC, OPT_RELEASE_MS);
}
