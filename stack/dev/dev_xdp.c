/* dev_xdp.c - one queue of a kernel interface as a device, by AF_XDP, shared with the kernel */
#include "stack/dev/dev_xdp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "stack/base/base_bytes.h"
#include "stack/base/base_check.h"
#include "stack/base/base_list.h"
#include "stack/base/base_nic.h"
#include "stack/base/base_sys.h"
#include "stack/dev/dev_kernel.h"
#include "stack/dev/dev_lease.h"
#include "stack/dev/dev_link.h"
#include "stack/dev/dev_xdp_sock.h"
#include "stack/ip/ip_gso.h"
#include "stack/wire/wire_csum.h"
#include "stack/wire/wire_eth.h"
#include "stack/wire/wire_ip4.h"
#include "stack/wire/wire_ip6.h"
#include "stack/zbuf/zbuf.h"

#define CHUNK_SMALL   2048u
#define CHUNK_LARGE   4096u
#define HEADROOM      256u /* the kernel's, in front of each received frame */
#define TX_CHUNKS     1024u
#define BURST_MAX     256u
#define PIECES_MAX    64u /* packets of one frame, at least: DEV_FRAME_MAX in Ethernets of 1500 */
#define CHUNK_NONE    UINT32_MAX
#define QUEUE_ANY     UINT32_MAX
#define BIND_TRIES    40
#define BIND_PAUSE_NS 5000000
#define TCP_CSUM_AT   16
#define TCP_HDR_LEN   20
#define PROTO_TCP     6

struct xdp {
	struct dev dev;
	struct xdp_sock sock;
	struct dev_link link;
	uint32_t queue;
	uint32_t ns;                    /* as in struct nic_lease */
	int flows, ports, xsks, queues; /* maps; -1 of a lease */
	int lease;                      /* session with ztcpd, which cleans up after us, or -1 */
	bool leased;                    /* it has given us the queue, and names for us */
	struct dev_kernel *kernel;
	bool partial; /* checksums may be unfilled */
	bool unsent;  /* the tx ring holds what the kernel has not taken */
	uint32_t out; /* chunks that the stack holds, as far as this thread knows */
	uint32_t lent[BURST_MAX], nlent; /* until the next recv() */
	uint32_t tx_free[TX_CHUNKS], ntx_free;

	/* Chunks given back, by any thread: a list by number, taken whole. */
	_Alignas(64) _Atomic uint32_t back;
	_Atomic uint32_t refs; /* chunks out, and the device itself */
	uint32_t next[];       /* by chunk */
};

static uint32_t chunk_of(const struct xdp *x, const void *data)
{
	return (uint32_t)((size_t)((const uint8_t *)data - x->sock.umem) / x->sock.chunk_bytes);
}

/* ---- memory */

static void xdp_unref(struct xdp *x, uint32_t n)
{
	if (atomic_fetch_sub_explicit(&x->refs, n, memory_order_acq_rel) != n)
		return;
	zbuf_region_remove(x->sock.umem); /* -ENOENT when opening failed before it was added */
	xdp_sock_close(&x->sock);
	free(x);
}

/* The last reference to a received buffer is gone: on whatever thread. */
static void chunk_back(void *arg, void *data, size_t len)
{
	struct xdp *x = arg;
	uint32_t i = chunk_of(x, data), head = atomic_load_explicit(&x->back, memory_order_relaxed);

	(void)len;
	do
		x->next[i] = head;
	while (!atomic_compare_exchange_weak_explicit(&x->back, &head, i, memory_order_release,
						      memory_order_relaxed));
	xdp_unref(x, 1);
}

/* The rings hold as many entries as there are chunks to receive in: there is always room. */
static void chunk_fill(struct xdp *x, uint32_t i)
{
	*xdp_ring_addr(&x->sock.fill, x->sock.fill.mine++) = (uint64_t)i * x->sock.chunk_bytes;
}

static void chunks_refill(struct xdp *x)
{
	uint32_t i;

	for (uint32_t k = 0; k < x->nlent; k++)
		chunk_fill(x, x->lent[k]);
	x->nlent = 0;
	if (atomic_load_explicit(&x->back, memory_order_relaxed) == CHUNK_NONE)
		return;
	i = atomic_exchange_explicit(&x->back, CHUNK_NONE, memory_order_acquire);
	for (; i != CHUNK_NONE; i = x->next[i]) {
		chunk_fill(x, i);
		x->out--;
	}
}

/* ---- receiving */

static bool l4_unfilled(const uint8_t *tcp, uint64_t pseudo)
{
	/* The field holds the sum itself, the fold its complement. */
	return base_word16(tcp + TCP_CSUM_AT) + wire_csum_fold(pseudo) == 0xffff;
}

static bool csum4_ok(const uint8_t *ip, uint32_t len)
{
	uint32_t hdr, total;

	if (len < WIRE_IP4_LEN || ip[0] >> 4 != 4 || ip[9] != PROTO_TCP)
		return false;
	hdr = (ip[0] & 15u) * 4;
	total = base_be16_get(ip + 2);
	if (hdr < WIRE_IP4_LEN || total > len || total < hdr + TCP_HDR_LEN)
		return false;
	return l4_unfilled(ip + hdr, wire_csum_pseudo4(base_word32(ip + 12), base_word32(ip + 16),
						       PROTO_TCP, total - hdr));
}

static bool csum6_ok(const uint8_t *ip, uint32_t len)
{
	union wire_addr src, dst;
	uint32_t payload;

	if (len < WIRE_IP6_LEN || ip[0] >> 4 != 6 || ip[6] != PROTO_TCP)
		return false;
	payload = base_be16_get(ip + 4);
	if (payload + WIRE_IP6_LEN > len || payload < TCP_HDR_LEN)
		return false;
	src = wire_addr_v6_bytes(ip + 8);
	dst = wire_addr_v6_bytes(ip + 24);
	return l4_unfilled(ip + WIRE_IP6_LEN, wire_csum_pseudo6(&src, &dst, PROTO_TCP, payload));
}

bool dev_xdp_csum_ok(const uint8_t *frame, uint32_t len)
{
	if (len < WIRE_ETH_LEN)
		return false;
	switch (base_be16_get(frame + 12)) {
	case WIRE_ETH_IP4: return csum4_ok(frame + WIRE_ETH_LEN, len - WIRE_ETH_LEN);
	case WIRE_ETH_IP6: return csum6_ok(frame + WIRE_ETH_LEN, len - WIRE_ETH_LEN);
	default: return false;
	}
}

/* With few chunks left the frame is lent: what is to stay of it is copied by the stack. */
static void frame_take(struct xdp *x, const struct xdp_desc *d, struct wire_frame_in *f)
{
	uint8_t *data = x->sock.umem + d->addr;

	*f = (struct wire_frame_in){ .data = data, .len = d->len };
	if (x->partial && dev_xdp_csum_ok(data, d->len))
		f->flags = WIRE_FRAME_TCP_CSUM_OK;
	if (x->out < x->sock.rx_chunks / 4 * 3) {
		f->owner = zbuf_ref(zbuf_of(data));
		x->out++;
	} else {
		x->lent[x->nlent++] = chunk_of(x, data);
	}
}

static unsigned int frames_take(struct xdp *x, struct wire_frame_in *frames, uint32_t max)
{
	struct xdp_ring *rx = &x->sock.rx;
	uint32_t n = xdp_ring_filled(rx), out = x->out;

	n = n < max ? n : max;
	for (uint32_t i = 0; i < n; i++)
		frame_take(x, xdp_ring_desc(rx, rx->mine++), &frames[i]);
	if (n)
		xdp_ring_consumed(rx);
	if (x->out != out) /* before any of them can come back: the caller has not seen them yet */
		atomic_fetch_add_explicit(&x->refs, x->out - out, memory_order_relaxed);
	return n;
}

static void fill_publish(struct xdp *x, uint32_t was)
{
	if (x->sock.fill.mine == was)
		return;
	xdp_ring_produced(&x->sock.fill);
	if (xdp_ring_wants(&x->sock.fill))
		sys(SYS_recvfrom, x->sock.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static unsigned int xdp_recv(struct dev *d, struct wire_frame_in *frames, unsigned int max,
			     ztime_t now)
{
	struct xdp *x = base_container_of(d, struct xdp, dev);
	uint32_t was = x->sock.fill.mine;

	dev_kernel_tick(x->kernel, now);
	chunks_refill(x);
	fill_publish(x, was);
	if (BASE_UNLIKELY(x->unsent))
		x->unsent = !xdp_sock_kick(&x->sock);
	return frames_take(x, frames, max < BURST_MAX ? max : BURST_MAX);
}

/* ---- sending */

static void tx_reap(struct xdp *x)
{
	struct xdp_ring *done = &x->sock.done;
	uint32_t n = xdp_ring_filled(done);

	for (uint32_t i = 0; i < n; i++)
		x->tx_free[x->ntx_free++] = (uint32_t)(*xdp_ring_addr(done, done->mine++) /
						       x->sock.chunk_bytes);
	if (n)
		xdp_ring_consumed(done);
}

static void piece_put(struct xdp *x, const struct wire_frame_out *piece)
{
	struct xdp_ring *tx = &x->sock.tx;
	uint64_t addr;

	if (piece->hdr_len + piece->len > x->sock.chunk_bytes)
		return; /* longer than the interface takes: lost, as on any link */
	addr = (uint64_t)x->tx_free[--x->ntx_free] * x->sock.chunk_bytes;
	*xdp_ring_desc(tx, tx->mine++) = (struct xdp_desc){
		.addr = addr,
		.len = (uint32_t)dev_flatten(piece, x->sock.umem + addr),
	};
}

static bool frame_fits(const struct xdp *x, const struct wire_frame_out *f)
{
	return x->ntx_free >= (f->gso_size ? (f->len + f->gso_size - 1) / f->gso_size : 1);
}

static unsigned int xdp_send(struct dev *d, const struct wire_frame_out *frames, unsigned int n,
			     ztime_t now)
{
	struct xdp *x = base_container_of(d, struct xdp, dev);
	uint32_t was = x->sock.tx.mine;
	unsigned int i;

	(void)now;
	if (x->ntx_free < PIECES_MAX)
		tx_reap(x);
	for (i = 0; i < n; i++) {
		struct wire_frame_out piece;
		struct ip_gso g;

		if (dev_kernel_takes(x->kernel, &frames[i]))
			continue;
		if (!frame_fits(x, &frames[i])) {
			tx_reap(x);
			if (!frame_fits(x, &frames[i]))
				break;
		}
		ip_gso_start(&g, &frames[i]);
		while (ip_gso_next(&g, &piece, true))
			piece_put(x, &piece);
	}
	if (x->sock.tx.mine != was)
		xdp_ring_produced(&x->sock.tx);
	if (x->sock.tx.mine != was || x->unsent)
		x->unsent = !xdp_sock_kick(&x->sock);
	return i;
}

static ztime_t xdp_deadline(const struct dev *d)
{
	(void)d;
	return ZTIME_NEVER;
}

static int xdp_fd(const struct dev *d)
{
	return base_container_of(d, const struct xdp, dev)->sock.fd;
}

static int xdp_fd_tables(const struct dev *d)
{
	return dev_kernel_fd(base_container_of(d, const struct xdp, dev)->kernel);
}

static int xdp_follow(struct dev *d, struct ip *ip, ztime_t now)
{
	return dev_kernel_follow(base_container_of(d, struct xdp, dev)->kernel, ip, now);
}

/* ---- whose packets come here */

/* Processes in containers have the same numbers. */
static uint32_t pid_namespace(void)
{
	struct statx st = { 0 };

	return sys(SYS_statx, AT_FDCWD, "/proc/self/ns/pid", 0, STATX_INO, &st)
		       ? 0
		       : (uint32_t)st.stx_ino;
}

static struct nic_lease own(const struct xdp *x)
{
	return (struct nic_lease){
		.queue = x->queue, .pid = (uint32_t)sys(SYS_getpid), .ns = x->ns, .uid = NIC_ANYBODY
	};
}

static int named(const struct xdp *x, int map, const void *key, bool on)
{
	const struct nic_lease lease = own(x);

	return on ? dev_map_set(map, key, &lease) : dev_map_drop(map, key);
}

static int xdp_steer(struct dev *d, const struct wire_flow *flow, bool on)
{
	struct xdp *x = base_container_of(d, struct xdp, dev);
	struct nic_flow key = { .lport = __builtin_bswap16(flow->lport),
				.rport = __builtin_bswap16(flow->rport) };
	struct nic_port port = { .port = key.lport, .queue = (uint16_t)x->queue };

	memcpy(key.local, flow->local.b, sizeof(key.local));
	memcpy(key.remote, flow->remote.b, sizeof(key.remote));
	memcpy(port.local, flow->local.b, sizeof(port.local));
	if (x->leased)
		return dev_lease_name(x->lease, &key, on);
	return flow->rport ? named(x, x->flows, &key, on) : named(x, x->ports, &port, on);
}

/* What names this queue is a predecessor's that died, or our own: nobody else can have the queue. */
static void map_sweep(int map, uint32_t queue, size_t key_bytes)
{
	_Alignas(8) char key[sizeof(struct nic_flow)], next[sizeof(struct nic_flow)];
	struct nic_lease lease;
	int rc = dev_map_next(map, NULL, next);

	for (uint32_t i = 0; !rc && i < NIC_FLOWS; i++) {
		memcpy(key, next, key_bytes);
		rc = dev_map_next(map, key, next);
		if (!dev_map_get(map, key, &lease) && lease.queue == queue)
			dev_map_drop(map, key);
	}
}

static void leases_sweep(struct xdp *x)
{
	map_sweep(x->ports, x->queue, sizeof(struct nic_port));
	map_sweep(x->flows, x->queue, sizeof(struct nic_flow));
}

/* ---- life */

static void others_close(struct xdp *x)
{
	const int fds[] = { x->flows, x->ports, x->xsks, x->queues, x->lease };

	dev_kernel_close(x->kernel);
	for (unsigned int i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			sys(SYS_close, fds[i]);
}

/*
 * The socket's end takes it out of the selector's map: from then on the kernel answers for the
 * queue. The memory stays as long as somebody holds a received buffer.
 */
static void xdp_close(struct dev *d)
{
	struct xdp *x = base_container_of(d, struct xdp, dev);

	if (!x->leased)
		leases_sweep(x);
	others_close(x);
	sys(SYS_close, x->sock.fd);
	x->sock.fd = -1;
	xdp_unref(x, 1);
}

static void xdp_publish(struct dev *d, int memory, const struct lease_table *t)
{
	dev_lease_table(base_container_of(d, struct xdp, dev)->lease, memory, t);
}

static const struct dev_ops xdp_ops = {
	.recv = xdp_recv,
	.send = xdp_send,
	.deadline = xdp_deadline,
	.fd = xdp_fd,
	.fd_tables = xdp_fd_tables,
	.steer = xdp_steer,
	.follow = xdp_follow,
	.publish = xdp_publish,
	.close = xdp_close,
};

static struct xdp *xdp_new(uint32_t rx_chunks, uint32_t chunk_bytes)
{
	size_t size = sizeof(struct xdp) + (rx_chunks + TX_CHUNKS) * sizeof(uint32_t);
	struct xdp *x = aligned_alloc(64, (size + 63) & ~(size_t)63);

	if (!x)
		return NULL;
	memset(x, 0, size);
	x->dev.ops = &xdp_ops;
	x->sock.fd = x->flows = x->ports = x->xsks = x->queues = x->lease = -1;
	x->sock.chunk_bytes = chunk_bytes;
	x->sock.rx_chunks = rx_chunks;
	x->sock.tx_chunks = TX_CHUNKS;
	atomic_init(&x->back, CHUNK_NONE);
	atomic_init(&x->refs, 1);
	return x;
}

static const char no_selector[] =
	"xdp:%s: the selector is not on this interface (ztcp nic attach %s, as root)";

static int maps_open(struct xdp *x, const struct dev_conf *conf, struct dev_error *err)
{
	const char *const names[] = { "nic_flows", "nic_ports", "nic_xsks", "nic_queues" };
	int *const maps[] = { &x->flows, &x->ports, &x->xsks, &x->queues };

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		*maps[i] = dev_link_map(&x->link, names[i]);
		if (*maps[i] == -ENOENT)
			return dev_fail(err, -ENOENT, no_selector, x->link.name, x->link.name);
		if (*maps[i] < 0)
			return dev_fail(err, *maps[i], "xdp:%s: map %s of the selector: %s%s",
					x->link.name, names[i], strerror(-*maps[i]),
					*maps[i] == -EPERM ? " (it needs CAP_BPF)" : "");
		*maps[i] = dev_fd_keep(conf, *maps[i]);
	}
	return 0;
}

/* Who must not take a queue asks for one. Return: 0; -ENOTCONN: there is nobody to ask; another -errno and @err. */
static int lease_ask(struct xdp *x, const struct dev_conf *conf, struct dev_error *err)
{
	int rc = dev_lease_ask(conf, x->link.ifindex, &x->lease);

	if (rc >= 0) {
		/* The session last, so that it ends first: the socket's end takes the kernel a while. */
		x->sock.fd = dev_fd_keep(conf, rc);
		x->lease = dev_fd_keep(conf, x->lease);
		x->leased = true;
		dev_kernel_lease(x->kernel, x->lease);
		return 0;
	}
	switch (rc) {
	case -ENOTCONN: return rc;
	case -ENOENT: return dev_fail(err, rc, no_selector, x->link.name, x->link.name);
	case -EACCES:
		return dev_fail(err, -EKEYREJECTED,
				"xdp:%s: no rule \"direct\" names this user, and the process may "
				"not take a queue itself",
				x->link.name);
	case -EDQUOT:
		return dev_fail(err, rc, "xdp:%s: ztcpd gives this user no more queues",
				x->link.name);
	default:
		return dev_fail(err, rc, "xdp:%s: a queue from ztcpd: %s", x->link.name,
				strerror(-rc));
	}
}

static int sock_fail(const struct xdp *x, const char *step, int rc, struct dev_error *err)
{
	const char *hint = rc == -EPERM          ? " (it needs CAP_NET_RAW)"
			   : rc == -EAFNOSUPPORT ? " (this kernel is without AF_XDP)"
						 : "";

	char queue[24] = "";

	if (rc == -EBUSY && x->queue == QUEUE_ANY)
		return dev_fail(err, rc, "xdp:%s: all queues are taken by other AF_XDP sockets",
				x->link.name);
	if (rc == -EBUSY)
		return dev_fail(err, rc, "xdp:%s: queue %u is taken by another AF_XDP socket",
				x->link.name, x->queue);
	if (rc == -EINVAL)
		return dev_fail(err, rc, "xdp:%s: no queue %u on this interface (%s)", x->link.name,
				x->queue == QUEUE_ANY ? 0 : x->queue, step);
	if (x->queue != QUEUE_ANY)
		snprintf(queue, sizeof(queue), ",queue=%u", x->queue);
	return dev_fail(err, rc, "xdp:%s%s: %s: %s%s", x->link.name, queue, step, strerror(-rc),
			hint);
}

/* To the queue that is wanted, or to the first that nobody has. Return: 0; -EBUSY; another -errno. */
static int bind_once(struct xdp *x)
{
	uint32_t first = x->queue == QUEUE_ANY ? 0 : x->queue;
	uint32_t last = x->queue == QUEUE_ANY ? NIC_QUEUES - 1 : x->queue;
	int rc = -EBUSY;

	if (x->leased)
		return dev_lease_bind(x->lease, &x->queue);
	for (uint32_t q = first; rc == -EBUSY && q <= last; q++) {
		rc = xdp_sock_bind(&x->sock, x->link.ifindex, q);
		if (!rc)
			x->queue = q;
		else if (rc == -EINVAL && q > first) /* there are no more */
			return -EBUSY;
	}
	return rc;
}

/* The kernel lets a closed socket's queue go some time after close() has returned. */
static int bind_patiently(struct xdp *x, bool hasty)
{
	const struct timespec pause = { .tv_nsec = BIND_PAUSE_NS };
	int rc = -EBUSY, most = hasty ? 1 : BIND_TRIES;

	for (int tries = 0; rc == -EBUSY && tries < most; tries++) {
		if (tries)
			sys(SYS_nanosleep, &pause, NULL);
		rc = bind_once(x);
	}
	return rc;
}

static int sock_open(struct xdp *x, const struct dev_conf *conf, struct dev_error *err)
{
	const char *step = "make an AF_XDP socket";
	int rc = x->leased ? 0 : (int)sys(SYS_socket, AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (rc < 0)
		return sock_fail(x, step, rc, err);
	if (!x->leased)
		x->sock.fd = dev_fd_keep(conf, rc);
	rc = xdp_sock_open(&x->sock, &step);
	if (!rc) {
		step = "register memory for packets as buffers";
		rc = zbuf_region_add(x->sock.umem, (size_t)x->sock.rx_chunks * x->sock.chunk_bytes,
				     x->sock.chunk_bytes, chunk_back, x);
	}
	if (!rc) {
		step = "bind";
		rc = bind_patiently(x, conf->hasty);
	}
	return rc ? sock_fail(x, step, rc, err) : 0;
}

/* All chunks to the kernel, then the queue's place in the selector. */
static int queue_take(struct xdp *x, struct dev_error *err)
{
	const struct nic_lease lease = own(x);
	uint32_t fd = (uint32_t)x->sock.fd;
	int rc;

	for (uint32_t i = 0; i < x->sock.rx_chunks; i++)
		chunk_fill(x, i);
	for (uint32_t i = 0; i < TX_CHUNKS; i++)
		x->tx_free[x->ntx_free++] = x->sock.rx_chunks + i;
	fill_publish(x, 0);
	if (x->leased)
		return 0;
	leases_sweep(x);
	rc = dev_map_set(x->queues, &x->queue, &lease);
	if (!rc)
		rc = dev_map_set(x->xsks, &x->queue, &fd);
	return rc ? sock_fail(x, "enter the socket into the selector", rc, err) : 0;
}

/* The right to a queue: the selector's maps, or ztcpd's leave. Return: 0 or -errno and @err. */
static int queue_right(struct xdp *x, const struct dev_conf *conf, struct dev_error *err)
{
	struct dev_error refused;
	int rc = maps_open(x, conf, err), asked;

	if (rc != -EPERM && rc != -EACCES && rc != -ENOENT)
		return rc;
	asked = lease_ask(x, conf, &refused);
	if (asked == -ENOTCONN || (rc == -ENOENT && asked))
		return rc;
	if (asked)
		*err = refused;
	return asked;
}

static int xdp_start(struct xdp *x, const struct dev_conf *conf, struct dev_error *err)
{
	int rc = dev_kernel_open(&x->link, conf, &x->kernel, err);

	if (!rc)
		rc = queue_right(x, conf, err);
	if (!rc)
		rc = sock_open(x, conf, err);
	if (!rc)
		rc = queue_take(x, err);
	if (!rc && !x->leased)
		x->lease = dev_lease_watch(conf, x->link.ifindex, x->queue, x->flows, x->ports);
	x->dev.watched = x->lease >= 0;
	if (rc) {
		others_close(x);
		xdp_unref(x, 1);
	}
	return rc;
}

int dev_xdp_open(const char *rest, const struct dev_conf *conf, struct dev **out,
		 struct dev_error *err)
{
	uint32_t queue = QUEUE_ANY, chunks = 2048;
	const struct dev_option options[] = { { "queue", 0, NIC_QUEUES - 1, &queue },
					      { "chunks", 256, 65536, &chunks } };
	char name[DEV_NAME_MAX];
	struct dev_link link;
	struct xdp *x;
	int rc = dev_spec_parse(rest, name, options, 2, err);

	if (!rc && chunks & (chunks - 1))
		rc = dev_fail(err, -EINVAL, "xdp:%s: chunks must be a power of two", name);
	if (!rc)
		rc = dev_link_get(name, &link, err);
	if (rc)
		return rc;
	if (link.mtu + WIRE_ETH_LEN + WIRE_VLAN_LEN + HEADROOM > CHUNK_LARGE)
		return dev_fail(err, -EMSGSIZE, "xdp:%s: MTU %u is over AF_XDP's limit of %u", name,
				link.mtu, CHUNK_LARGE - HEADROOM - WIRE_ETH_LEN - WIRE_VLAN_LEN);
	x = xdp_new(chunks, link.mtu + WIRE_ETH_LEN + WIRE_VLAN_LEN + HEADROOM > CHUNK_SMALL
				    ? CHUNK_LARGE
				    : CHUNK_SMALL);
	if (!x)
		return dev_fail(err, -ENOMEM, "xdp:%s: no memory", name);
	x->link = link;
	x->queue = queue;
	x->ns = pid_namespace();
	x->partial = dev_link_virtual(&link);
	x->dev.mac = link.mac;
	x->dev.mtu = (uint16_t)link.mtu;
	rc = xdp_start(x, conf, err);
	if (!rc)
		*out = &x->dev;
	return rc;
}
