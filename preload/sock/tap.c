/* tap.c - records into the tap's ring */
#include "preload/sock/tap.h"

#include "preload/sock/diag.h"
#include "preload/sock/thread.h"
#include "shm/shm_fd.h"
#include "shm/shm_lock.h"
#include "shm/tap.h"
#include "stack/base/base_check.h"
#include "stack/base/base_list.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>

#define TAP_BEGIN_NS UINT64_C(5000000000) /* until the listener knows of this process */
#define TAP_ASKED_NS \
	UINT64_C(10000000000) /* nobody asks for longer at once: the clock was set back */

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

/* Anybody may take the name: whose it is says the kernel. */
static bool beacon_is(uint32_t uid)
{
	struct sockaddr_un sa;
	socklen_t len = tap_beacon(&sa, uid), size = sizeof(struct ucred);
	struct ucred who;
	long fd = sys(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	long err;

	if (fd < 0)
		return false;
	err = sys(SYS_connect, fd, &sa, len);
	if (!err)
		err = sys(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &who, &size);
	sys(SYS_close, fd);
	return !err && who.uid == uid;
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
	addr = shm_fd_map(fd, TAP_DATA + TAP_RING, PROT_READ | PROT_WRITE);
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

/* Whether somebody asks at @ns. Who did and was killed no longer does, and the next look is a cheap one. */
static bool asked(uint64_t ns)
{
	uint64_t until = atomic_load_explicit(&tap.head->until_ns, memory_order_relaxed);

	if (until - ns - 1 < TAP_ASKED_NS)
		return true;
	if (until)
		atomic_compare_exchange_strong(&tap.head->until_ns, &until, 0);
	return false;
}

void tap_look(void)
{
	if (tap.head && atomic_load_explicit(&tap.head->until_ns, memory_order_relaxed) &&
	    asked(real_ns()))
		conf.cold |= CONF_COLD_TAP;
	else if (tap_on())
		conf.cold &= ~(unsigned)CONF_COLD_TAP;
}

/* Bytes of the other direction that were read. */
static uint64_t ack_of(struct sock *s)
{
	const struct shm_conn *c = sock_conn(s);
	struct stats_row *row = sock_row(s);

	if (!row)
		return 0;
	return c && row->rx_path ? atomic_load(&c->ctl.head) : atomic_load(&row->rx_off);
}

struct tap_mark tap_mark(struct sock *s)
{
	struct tap_mark m = { 0, 0 };

	tap_look();
	if (tap_on())
		m = (struct tap_mark){ real_ns(), ack_of(s) };
	return m;
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

static struct tap_record record_of(struct sock *s, struct tap_mark m, uint64_t seq)
{
	struct tap_record r = {
		.kind = TAP_BYTES,
		.ns = m.ns,
		.peer = s->peer_cookie,
		.seq = seq,
		.ack = m.ack,
		.flags = s->row->role == STATS_ACCEPT ? TAP_ACCEPTED : 0,
	};

	if (!s->row->cookie)
		s->row->cookie = diag_cookie(sock_fd(s));
	r.cookie = s->row->cookie;
	diag_ends(sock_fd(s), &r.local, &r.remote);
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

void tap_ring(struct sock *s, struct tap_mark m, size_t n)
{
	struct shm_conn *c = s->conn;
	const struct shm_view own = { &c->ctl, (const char *)sock_arena(s)->head,
				      sock_arena(s)->bytes };
	uint64_t tail = atomic_load(&c->ctl.tail);
	struct tap_record r = record_of(s, m, tail - n);

	r.flags |= TAP_SHM;
	while (r.seq != tail) {
		struct shm_run run;

		if (shm_ring_peek(&own, r.seq, &run) != 1)
			break;
		put(&r, run.ptr, run.len < tail - r.seq ? run.len : tail - r.seq);
	}
}

void tap_kernel(struct sock *s, struct tap_mark m, uint64_t seq, const struct iovec *iov, int iovs,
		size_t n)
{
	struct tap_record r = record_of(s, m, seq);

	for (int i = 0; i < iovs && n; i++) {
		size_t len = iov[i].iov_len < n ? iov[i].iov_len : n;

		put(&r, iov[i].iov_base, len);
		n -= len;
	}
}

void tap_file(struct sock *s, struct tap_mark m, uint64_t seq, int in, off64_t off, size_t n)
{
	struct tap_record r = record_of(s, m, seq);
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

	if (!tap_on() || !s->row || s->row->tx_path == STATS_PATH_STACK)
		return;
	r = record_of(s, (struct tap_mark){ real_ns(), ack_of(s) },
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

/* ---- frames ---- */

/* One of @whole bytes that lie in @iov, as much of it as somebody wants. In the lock. */
static void frame_put(struct tap_net *t, struct tap_record *r, const struct iovec *iov,
		      uint32_t whole)
{
	uint32_t snap = atomic_load_explicit(&tap.head->snap, memory_order_relaxed);
	uint64_t at = tap.tail + sizeof(*r);

	r->len = BASE_MIN(whole, snap && snap < TAP_FRAME_MAX ? snap : (uint32_t)TAP_FRAME_MAX);
	r->frame.no = t->no_next++;
	r->frame.before = t->bytes;
	r->frame.whole = whole;
	t->bytes += whole;
	if (!ring_room(r->len))
		return;
	ring_put(tap.tail, r, sizeof(*r));
	for (uint32_t left = r->len; left; iov++) {
		uint32_t n = BASE_MIN(left, (uint32_t)iov->iov_len);

		ring_put(at, iov->iov_base, n);
		at += n;
		left -= n;
	}
	ring_publish(r->len);
}

static struct tap_record frame_record(const struct tap_net *t, uint64_t ns)
{
	struct tap_record r = { .kind = TAP_FRAME, .ns = ns, .frame.net = t->no };

	strncpy(r.frame.name, t->name, sizeof(r.frame.name) - 1);
	return r;
}

static void frames_came(struct ztcp_watch *w, const struct wire_frame_in *f, unsigned n)
{
	struct tap_net *t = base_container_of(w, struct tap_net, watch);
	struct tap_record r = frame_record(t, real_ns());
	struct tap_guard g;

	if (!asked(r.ns))
		return;
	g = tap_enter();
	for (; n; n--, f++) {
		const struct iovec iov = { (void *)f->data, f->len };

		frame_put(t, &r, &iov, f->len);
	}
	tap_leave(&g);
}

static void frames_went(struct ztcp_watch *w, uint64_t ns, const struct wire_frame_out *f,
			unsigned n)
{
	struct tap_net *t = base_container_of(w, struct tap_net, watch);
	struct tap_record r = frame_record(t, ns);
	struct iovec iov[1 + WIRE_TCP_IOV_MAX];
	struct tap_guard g;

	if (!asked(ns))
		return;
	g = tap_enter();
	for (; n; n--, f++) {
		iov[0] = (struct iovec){ (void *)f->hdr, f->hdr_len };
		for (unsigned i = 0; i < f->niov; i++)
			iov[1 + i] = (struct iovec){ (void *)f->iov[i].data, f->iov[i].len };
		r.flags = TAP_OUT | (f->flags & WIRE_FRAME_TCP_CSUM ? TAP_OPEN : 0u);
		r.frame.gso = f->gso_size;
		frame_put(t, &r, iov, f->hdr_len + f->len);
	}
	tap_leave(&g);
}

void tap_net_init(struct tap_net *t, unsigned no, const char *name)
{
	static const _Atomic uint64_t nobody;

	*t = (struct tap_net){
		.watch = { .on = tap.head ? &tap.head->until_ns : &nobody,
			   .clock = real_ns,
			   .came = frames_came,
			   .went = frames_went },
		.no = (uint16_t)no,
		.name = name,
	};
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
