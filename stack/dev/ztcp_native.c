/* ztcp_native.c - the native interface: one device, one instance, one pool */
#include "stack/include/ztcp.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "stack/base/base_check.h"
#include "stack/base/base_lease.h"
#include "stack/base/base_sys.h"
#include "stack/dev/ztcp_group.h"

#define BATCH       32
#define DRAIN_TURNS 256 /* batches that may have waited when a port is given up */
#define STEER_EVERY \
	ZTIME_SEC /* a closed connection's packets may come here so long after it is gone */

struct ztcp {
	struct dev *dev;
	const _Atomic uint64_t *watched; /* not 0: the frames are shown to: */
	struct ztcp_watch *watch;
	struct inst *in;
	struct ztcp_box *box;           /* what other instances of the interface pass on, or NULL */
	size_t inst_at, bytes;          /* within and of the mapping */
	unsigned int unsent_at, unsent; /* frames the device has not taken yet */
	struct wire_flow *
		steered; /* connections named to a device; spare: came by a port that was given up */
	uint32_t nsteered, steered_max;
	ztime_t steered_at; /* look at them then */
	struct wire_frame_out out[BATCH];
};

/* What stands for a watch that nobody has set. */
static const _Atomic uint64_t nobody;

/* Locked by a program's mlockall(MCL_FUTURE) it would all be made at once: pages that nobody may touch are not. */
static void *map_untouched(size_t bytes, int flags, int fd)
{
	void *map = mmap(NULL, bytes, PROT_NONE, flags | MAP_NORESERVE, fd, 0);

	if (map == MAP_FAILED)
		return map;
	munlock(map, bytes);
	if (!mprotect(map, bytes, PROT_READ | PROT_WRITE))
		return map;
	munmap(map, bytes);
	return MAP_FAILED;
}

/* Of a watched device, memory that outlives the process as long as somebody holds it. Touched as connections come: a
 * large limit costs address space only. @fd: set to the memfd, or -1 */
static void *memory_map(const struct dev *dev, size_t bytes, int *fd)
{
	void *map = MAP_FAILED;

	*fd = dev->watched ? (int)sys(SYS_memfd_create, "ztcp-inst", MFD_CLOEXEC) : -1;
	if (*fd >= 0 && !sys(SYS_ftruncate, *fd, bytes))
		map = map_untouched(bytes, MAP_SHARED, *fd);
	if (map != MAP_FAILED)
		return map;
	if (*fd >= 0)
		sys(SYS_close, *fd);
	*fd = -1;
	return map_untouched(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

/* Near the device, before anything in it is touched; where the kernel cannot, it lies where it lies. */
static void memory_place(const struct dev *dev, void *map, size_t bytes)
{
	unsigned long nodes[4] = { 0 };
	const unsigned int bits = 8 * sizeof(nodes[0]);

	if (!dev->placed || dev->node >= bits * BASE_ARRAY_SIZE(nodes))
		return;
	nodes[dev->node / bits] = 1ul << dev->node % bits;
	sys(SYS_mbind, map, bytes, MPOL_PREFERRED, nodes, bits * BASE_ARRAY_SIZE(nodes) + 1, 0);
}

static void publish(struct ztcp *z, int memory)
{
	struct lease_table t;

	if (memory < 0)
		return;
	inst_table(z->in, z, &t);
	dev_publish(z->dev, memory, &t);
	sys(SYS_close, memory);
}

struct ztcp *ztcp_new(struct dev *dev, struct zbuf_mem_pool *pool, const struct inst_config *cfg,
		      ztime_t now)
{
	struct inst_config c = *cfg;
	size_t at = (sizeof(struct ztcp) + 63) & ~(size_t)63, size;
	struct ztcp *z;
	int memory;

	c.ip.mac = dev->mac;
	c.ip.mtu = dev->mtu;
	c.ip.offloads = dev->offloads;
	if (dev->rss)
		c.rss = *dev->rss;
	zbuf_wire_ops(pool, &c.buf);
	size = inst_size(&c);
	if (!size) {
		errno = EINVAL;
		return NULL;
	}
	z = memory_map(dev, at + size, &memory);
	if (z == MAP_FAILED)
		return NULL;
	memory_place(dev, z, at + size);
	z->dev = dev;
	z->watched = &nobody;
	z->inst_at = at;
	z->bytes = at + size;
	z->in = inst_init((char *)z + at, &c, now);
	publish(z, memory);
	dev_follow(dev, inst_ip(z->in),
		   now); /* where it fails there are no routes, and so no way */
	return z;
}

/* @came_by: a port that is given up: in TIME-WAIT the tuple is to be free for a new connection, which others serve */
static int name(struct ztcp *z, const struct wire_flow *flow, bool came_by)
{
	int rc;

	if (!z->dev->ops->steer)
		return 0;
	if (z->nsteered == z->steered_max) {
		uint32_t max = z->steered_max ? 2 * z->steered_max : 64;
		struct wire_flow *more = realloc(z->steered, max * sizeof(*more));

		if (!more)
			return -ENOMEM;
		z->steered = more;
		z->steered_max = max;
	}
	rc = dev_steer(z->dev, flow, true);
	if (rc)
		return rc;
	z->steered[z->nsteered] = *flow;
	z->steered[z->nsteered++].spare = came_by;
	return 0;
}

int ztcp_steer(struct ztcp *z, const struct wire_flow *flow)
{
	return name(z, flow, false);
}

static bool over(const struct ztcp *z, const struct wire_flow *f)
{
	return f->spare ? !inst_lives(z->in, f) : !inst_has(z->in, f);
}

/* @all: or only those that are gone */
static void unsteer(struct ztcp *z, bool all)
{
	for (uint32_t i = 0; i < z->nsteered;) {
		if (!all && !over(z, &z->steered[i])) {
			i++;
			continue;
		}
		dev_steer(z->dev, &z->steered[i], false);
		z->steered[i] = z->steered[--z->nsteered];
	}
}

int ztcp_join(struct ztcp *z, struct ztcp_group *g, int (*fd_keep)(int fd))
{
	struct inst_pass pass;

	z->box = ztcp_box_open(g, fd_keep);
	if (!z->box)
		return -errno;
	pass = ztcp_box_pass(z->box);
	inst_pass_set(z->in, &pass);
	return 0;
}

int ztcp_bell(const struct ztcp *z)
{
	return z->box ? ztcp_box_bell(z->box) : -1;
}

void ztcp_free(struct ztcp *z)
{
	if (z->box)
		ztcp_box_close(z->box);
	unsteer(z, true);
	free(z->steered);
	inst_fini(z->in);
	munmap(z, z->bytes);
}

struct inst *ztcp_inst(struct ztcp *z)
{
	return z->in;
}

void ztcp_watch_set(struct ztcp *z, struct ztcp_watch *w)
{
	z->watch = w;
	z->watched = w->on;
}

static inline bool is_watched(const struct ztcp *z)
{
	return BASE_UNLIKELY(atomic_load_explicit(z->watched, memory_order_relaxed) != 0);
}

/* The clock is read first: who answers reads it later. */
static __attribute__((noinline, cold)) unsigned int send_watched(
	struct ztcp *z, const struct wire_frame_out *frames, ztime_t now)
{
	uint64_t clock = z->watch->clock();
	unsigned int sent = dev_send(z->dev, frames, z->unsent, now);

	if (sent)
		z->watch->went(z->watch, clock, frames, sent);
	return sent;
}

/* @in: BATCH of them */
static inline unsigned int receive(struct ztcp *z, struct wire_frame_in *in, ztime_t now)
{
	unsigned int n = dev_recv(z->dev, in, BATCH, now);

	if (is_watched(z) && n)
		z->watch->came(z->watch, in, n);
	return n;
}

/*
 * What a full device has left over goes first: no frame is built while one waits, so its payload
 * stays good.
 */
static unsigned int flush(struct ztcp *z, ztime_t now)
{
	const struct wire_frame_out *frames = &z->out[z->unsent_at];
	unsigned int sent = is_watched(z) ? send_watched(z, frames, now)
					  : dev_send(z->dev, frames, z->unsent, now);

	z->unsent_at += sent;
	z->unsent -= sent;
	return sent;
}

static unsigned int send_ready(struct ztcp *z, ztime_t now)
{
	unsigned int moved = flush(z, now);

	while (!z->unsent && moved < 4 * BATCH) {
		z->unsent_at = 0;
		z->unsent = inst_output(z->in, z->out, BATCH, now);
		if (!z->unsent)
			break;
		moved += flush(z, now);
	}
	return moved;
}

/* All that is there, as the doorbell tells of the next only. Return: how many. */
static BASE_APART unsigned int passed(struct ztcp *z, ztime_t now)
{
	struct inst_passed p;
	unsigned int n = 0;

	ztcp_box_answer(z->box);
	for (; ztcp_box_take(z->box, &p); n++)
		inst_passed(z->in, &p, now);
	return n;
}

unsigned int ztcp_poll(struct ztcp *z, ztime_t now)
{
	struct wire_frame_in in[BATCH];
	unsigned int moved = 0, n;

	if (BASE_UNLIKELY(z->nsteered && now >= z->steered_at)) {
		z->steered_at = now + STEER_EVERY;
		unsteer(z, false);
	}
	/* Input could free what waiting frames borrow. */
	if (z->unsent && (moved = flush(z, now), z->unsent))
		return moved;
	n = receive(z, in, now);
	if (n)
		inst_input(z->in, in, n, now);
	if (BASE_UNLIKELY(z->box && ztcp_box_rung(z->box)))
		moved += passed(z, now);
	return moved + n + send_ready(z, now);
}

unsigned int ztcp_flush(struct ztcp *z, ztime_t now)
{
	unsigned int moved = z->unsent ? flush(z, now) : 0;

	return z->unsent ? moved : moved + send_ready(z, now);
}

ztime_t ztcp_deadline(const struct ztcp *z)
{
	return z->unsent ? 0 : ztime_min(inst_deadline(z->in), dev_deadline(z->dev));
}

bool ztcp_event(struct ztcp *z, struct inst_event *ev)
{
	return inst_event_take(z->in, ev);
}

bool ztcp_event_recv(struct ztcp *z, struct inst_event *ev, struct wire_tcp_iov *text, ztime_t now)
{
	return inst_event_recv(z->in, ev, text, now);
}

struct inst_conn *ztcp_connect(struct ztcp *z, const union wire_addr *to, uint16_t port, void *user,
			       ztime_t now)
{
	struct inst_conn *c = inst_conn_new(z->in, user);
	struct wire_flow flow = { .rport = port };
	int err;

	if (!c) {
		errno = ENOBUFS;
		return NULL;
	}
	flow.remote = *to;
	if (wire_addr_is_v4(to))
		flow.local = wire_addr_v4(0);
	err = inst_connect(z->in, c, &flow, now);
	if (!err)
		err = ztcp_steer(z, inst_conn_flow(c));
	if (!err)
		return c;
	inst_close(z->in, c, now);
	errno = -err;
	return NULL;
}

int ztcp_listen(struct ztcp *z, const union wire_addr *local, uint16_t port, uint32_t backlog,
		void *user, struct inst_listener **l)
{
	const struct wire_flow flow = { .local = *local, .lport = port };
	int rc = inst_listen(z->in, local, port, backlog, user, l);

	if (rc)
		return rc;
	rc = dev_steer(z->dev, &flow, true);
	if (rc)
		inst_listener_close(z->in, *l, 0);
	return rc;
}

static bool flow_came_by(const struct wire_flow *port, const struct wire_flow *flow)
{
	return flow->lport == port->lport &&
	       (wire_addr_equal(&port->local, &flow->local) || wire_addr_is_any(&port->local));
}

static void came_by_name(struct ztcp *z, const struct wire_flow *port)
{
	const struct wire_flow *flow;
	uint32_t at = 0;

	while ((flow = inst_next(z->in, &at)))
		if (flow_came_by(port, flow) && inst_lives(z->in, flow))
			name(z, flow, true);
}

/* What came by a port is named one by one before the port itself is given up. */
static void port_give_up(struct ztcp *z, const struct wire_flow *port)
{
	came_by_name(z, port);
	dev_steer(z->dev, port, false);
}

/* Input could free what waiting frames borrow. Return: whether there may be more. */
static bool take_in(struct ztcp *z, ztime_t now)
{
	struct wire_frame_in in[BATCH];
	unsigned int n;

	if (z->unsent && (flush(z, now), z->unsent))
		return false;
	n = receive(z, in, now);
	if (n)
		inst_input(z->in, in, n, now);
	return n == BATCH;
}

/* Handshakes that the last frames have begun are named before they are answered. */
void ztcp_listener_drain(struct ztcp *z, struct inst_listener *l, ztime_t now)
{
	const struct wire_flow port = inst_listener_flow(l);
	unsigned int turns = DRAIN_TURNS;

	if (!z->dev->ops->steer)
		return;
	port_give_up(z, &port);
	while (turns-- && take_in(z, now))
		;
	came_by_name(z, &port);
	inst_listener_quiet(l);
}

void ztcp_forget(struct ztcp *z, const struct wire_flow *flow)
{
	const struct wire_flow gone = *flow;

	dev_steer(z->dev, &gone, false);
	for (uint32_t i = 0; i < z->nsteered;) {
		if (wire_flow_equal(&z->steered[i], &gone))
			z->steered[i] = z->steered[--z->nsteered];
		else
			i++;
	}
}

void ztcp_listener_close(struct ztcp *z, struct inst_listener *l, ztime_t now)
{
	const struct wire_flow port = inst_listener_flow(l);

	inst_listener_close(z->in, l, now);
	if (z->dev->ops->steer)
		port_give_up(z, &port);
}

int64_t ztcp_send_ref(struct ztcp *z, struct inst_conn *c, const void *data, uint32_t len,
		      unsigned int flags, ztime_t now)
{
	const char *p = data;
	int64_t sum = 0;

	while (len) {
		/*
		 * A reference stands for one buffer or grain: a piece must not cross into the next.
		 */
		struct wire_tcp_iov iov = { .data = (const uint8_t *)p, .owner = zbuf_of(p) };
		size_t left;
		int64_t n;

		if (!iov.owner)
			return sum ? sum : -EFAULT;
		left = zbuf_left(p);
		iov.len = len < left ? len : (uint32_t)left;
		zbuf_ref(iov.owner);
		n = inst_send_iov(z->in, c, &iov, iov.len < len ? flags | TCP_SEND_MORE : flags,
				  now);
		if (n <= 0) {
			zbuf_put(iov.owner);
			return sum ? sum : n;
		}
		sum += n;
		if (n < iov.len)
			break;
		p += n;
		len -= (uint32_t)n;
	}
	return sum;
}

uint32_t ztcp_recv_ref(struct ztcp *z, struct inst_conn *c, const void **data, ztime_t now)
{
	struct wire_tcp_iov iov;

	if (!inst_recv_iov(z->in, c, &iov, now))
		return 0;
	*data = iov.data;
	return iov.len;
}
