/* tap.c - records into the tap's ring */
#include "preload/sock/tap.h"

#include "preload/sock/diag.h"
#include "preload/sock/thread.h"
#include "shm/shm_fd.h"
#include "shm/shm_lock.h"
#include "shm/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>

enum {
	TAP_BEGIN_NS = 500000000,
	TAP_ASKED_NS =
		2000000000, /* nobody asks for longer than this at once: the clock was set back */
};

static struct {
	struct tap_head *head;
	int fd;
	_Atomic uint32_t lock;
	uint64_t tail; /* ours: the one in the segment is for the reader */
} tap = { .fd = -1 };

static uint64_t real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool beacon_is(uint32_t uid)
{
	struct sockaddr_un sa;
	socklen_t len = tap_beacon(&sa, uid);
	long fd = sys(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	long err;

	if (fd < 0)
		return false;
	err = sys(SYS_connect, fd, &sa, len);
	sys(SYS_close, fd);
	return err == 0 || err == -EAGAIN;
}

/* Somebody listens who cannot know of this process yet. */
static void tap_begin(void)
{
	uint32_t uid = (uint32_t)sys(SYS_geteuid);

	if (beacon_is(uid) || (uid && beacon_is(0)))
		atomic_store(&tap.head->until_ns, real_ns() + TAP_BEGIN_NS);
}

void tap_make(void)
{
	int fd = shm_fd_hide(
		(int)sys(SYS_memfd_create, "ztcp-tap", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	long addr;

	if (fd < 0 || tap.head)
		goto fail;
	if (shm_fd_size(fd, TAP_DATA + TAP_RING) < 0)
		goto fail;
	addr = sys(SYS_mmap, 0, TAP_DATA + TAP_RING, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (addr < 0 && addr > -4096)
		goto fail;
	sys(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	tap.head = (struct tap_head *)addr;
	tap.head->magic = TAP_MAGIC;
	tap.head->version = TAP_VERSION;
	tap.head->pid = (uint32_t)sys(SYS_getpid);
	tap.head->bytes = TAP_RING;
	tap.fd = fd;
	tap_begin();
	return;
fail:
	shm_fd_close(fd);
}

void tap_look(void)
{
	uint64_t until = tap.head ? atomic_load_explicit(&tap.head->until_ns, memory_order_relaxed)
				  : 0;

	if (until && until - real_ns() - 1 < TAP_ASKED_NS)
		conf.cold |= CONF_COLD_TAP;
	else if (tap_on())
		conf.cold &= ~(unsigned)CONF_COLD_TAP;
}

uint64_t tap_time(void)
{
	tap_look();
	return tap_on() ? real_ns() : 0;
}

/* ---- the ring; under tap.lock ---- */

static void ring_put(uint64_t at, const void *from, size_t n)
{
	char *base = (char *)tap.head + TAP_DATA;
	uint64_t pos = at % TAP_RING;
	size_t first = n < TAP_RING - pos ? n : TAP_RING - pos;

	memcpy(base + pos, from, first);
	memcpy(base, (const char *)from + first, n - first);
}

static uint64_t padded(size_t n)
{
	return (n + TAP_ALIGN - 1) / TAP_ALIGN * TAP_ALIGN;
}

/* Room for a record of @len bytes, at tap.tail. What the reader says of itself is only believed if it makes sense. */
static bool ring_room(size_t len)
{
	uint64_t head = atomic_load_explicit(&tap.head->head, memory_order_acquire);
	uint64_t need = sizeof(struct tap_record) + padded(len);

	if (head <= tap.tail && tap.tail - head <= TAP_RING && TAP_RING - (tap.tail - head) >= need)
		return true;
	atomic_fetch_add(&tap.head->lost, 1);
	return false;
}

static void ring_publish(size_t len)
{
	tap.tail += sizeof(struct tap_record) + padded(len);
	atomic_store_explicit(&tap.head->tail, tap.tail, memory_order_release);
}

/* ---- records ---- */

static struct tap_record record_of(struct sock *s, uint64_t ns, uint64_t seq)
{
	struct tap_record r = {
		.kind = TAP_BYTES,
		.ns = ns,
		.peer = s->peer_cookie,
		.seq = seq,
		.ack = s->conn && s->row->rx_path ? atomic_load(&s->conn->ctl.head)
						  : atomic_load(&s->row->rx_off),
		.flags = s->row->role == STATS_ACCEPT ? TAP_ACCEPTED : 0,
	};

	if (!s->row->cookie)
		s->row->cookie = diag_cookie(s->fd);
	r.cookie = s->row->cookie;
	diag_ends(s->fd, &r.local, &r.remote);
	return r;
}

struct tap_guard {
	uint64_t mask;
	bool taken;
};

static struct tap_guard tap_enter(void)
{
	struct tap_guard g = { .mask = thread_signals_block() };

	g.taken = shm_lock(&tap.lock, thread_tid());
	return g;
}

static void tap_leave(const struct tap_guard *g)
{
	shm_unlock(&tap.lock, g->taken);
	thread_signals_restore(g->mask);
}

/* @r with its bytes in pieces; the bytes are @data, or not to be had. */
static void put(struct tap_record *r, const char *data, size_t n)
{
	struct tap_guard g = tap_enter();

	while (n) {
		r->len = (uint32_t)(n < TAP_PIECE ? n : TAP_PIECE);
		if (ring_room(data ? r->len : 0)) {
			ring_put(tap.tail, r, sizeof(*r));
			if (data)
				ring_put(tap.tail + sizeof(*r), data, r->len);
			ring_publish(data ? r->len : 0);
		}
		r->seq += r->len;
		if (data)
			data += r->len;
		n -= r->len;
	}
	tap_leave(&g);
}

void tap_ring(struct sock *s, uint64_t ns, size_t n)
{
	struct shm_conn *c = s->conn;
	const struct shm_view own = { &c->ctl, (const char *)sock_arena(s)->head,
				      sock_arena(s)->bytes };
	uint64_t tail = atomic_load(&c->ctl.tail);
	struct tap_record r = record_of(s, ns, tail - n);

	r.flags |= TAP_SHM;
	while (r.seq != tail) {
		struct shm_run run;

		if (shm_ring_peek(&own, r.seq, &run) != 1)
			break;
		put(&r, run.ptr, run.len < tail - r.seq ? run.len : tail - r.seq);
	}
}

void tap_kernel(struct sock *s, uint64_t ns, uint64_t seq, const struct iovec *iov, int iovs,
		size_t n)
{
	struct tap_record r = record_of(s, ns, seq);

	for (int i = 0; i < iovs && n; i++) {
		size_t len = iov[i].iov_len < n ? iov[i].iov_len : n;

		put(&r, iov[i].iov_base, len);
		n -= len;
	}
}

void tap_file(struct sock *s, uint64_t ns, uint64_t seq, int in, off64_t off, size_t n)
{
	struct tap_record r = record_of(s, ns, seq);
	char buf[4096];

	while (n) {
		long got = sys(SYS_pread64, in, buf, n < sizeof(buf) ? n : sizeof(buf), off);

		if (got <= 0)
			break;
		put(&r, buf, (size_t)got);
		off += got;
		n -= (size_t)got;
	}
	r.flags |= TAP_UNKNOWN;
	put(&r, NULL, n);
}

void tap_fin(struct sock *s)
{
	struct tap_record r;
	struct tap_guard g;

	if (!tap_on() || !s->row)
		return;
	r = record_of(s, real_ns(),
		      s->conn && s->row->tx_path ? atomic_load(&s->conn->ctl.tail)
						 : atomic_load(&s->row->tx_off));
	r.kind = TAP_FIN;
	g = tap_enter();
	if (ring_room(0)) {
		ring_put(tap.tail, &r, sizeof(r));
		ring_publish(0);
	}
	tap_leave(&g);
}

void tap_forked(void)
{
	if (tap.head)
		sys(SYS_munmap, tap.head, TAP_DATA + TAP_RING);
	shm_fd_close(tap.fd);
	tap.head = NULL;
	tap.fd = -1;
	tap.tail = 0;
	atomic_store(&tap.lock, 0);
	conf.cold &= ~(unsigned)CONF_COLD_TAP;
}
