/* ztcpd_lease.c - queues of interfaces, and what is left when who had one has died
 *
 * Theory of operation. Whoever has a queue opens a session for it, names the selector's maps by their descriptors, and
 * hands over the memory that its connections are in (stack/base/base_lease.h). The end of the session, or of the process
 * (another may hold a copy of its socket), is the end of the lease. Then, a piece a turn so that nobody else waits long:
 *
 *   the ports that it has named are removed and noted;
 *   its memory is read, and whoever is at the other end of an open connection over one of these ports, or of one
 *   that was named itself, is reset;
 *   flows that are still named go.
 *
 * From its death on the kernel has all of its packets, so that the order does not matter to anybody. Its queue may have an
 * owner again before all is done: nic_drop() leaves alone what this one has named.
 *
 * Trust. The holder says who its peers are, and can lie. It could send the same resets itself: it has the right
 * to write the maps, which is root's. What it hands over must be a memfd, which never blocks whom reads it; all in it is
 * taken as numbers, and bounded.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/ztcpd/ztcpd.h"
#include "stack/base/base_lease.h"

enum {
	LEASE_TURN_MS = 5,  /* then others have their turn */
	LEASE_READ = 65536, /* bytes of memory read at once */
	LEASE_STRIDE_MAX = 4096,
	ADDR = 16,
};

enum stage {
	STAGE_HELD,
	STAGE_PORTS,
	STAGE_MEMORY,
	STAGE_FLOWS,
	STAGE_DONE,
};

/* A walk through a map. */
struct cursor {
	bool begun, more;
	uint32_t taken;
	char next[sizeof(struct nic_flow)];
};

struct lease {
	struct source process; /* pidfd */
	struct lease *next;
	uint32_t session;
	uint32_t ifindex;
	struct nic_lease whose;
	struct nic_maps maps;
	struct resetter out;
	struct lease_table table;
	int memory;     /* -1: not told */
	uint32_t entry; /* of the table: the next to look at */
	uint32_t ports;
	struct nic_port *port; /* that it had */
	struct cursor cursor;
	enum stage stage;
};

struct leases {
	struct lease *first;
	struct lease_counts counts;
	char *buf; /* LEASE_READ */
};

/* ---- taking one ---- */

static void process_ended(struct ztcpd *d, struct source *src, uint32_t events)
{
	struct lease *l = (struct lease *)((char *)src - offsetof(struct lease, process));

	(void)events;
	source_drop(d, src);
	if (l->stage == STAGE_HELD)
		l->stage = STAGE_PORTS;
}

struct place {
	struct lease *l;
	uint64_t netns;
};

static void place_look(void *arg)
{
	struct place *p = arg;
	socklen_t len = sizeof(p->netns);

	resetter_open(&p->l->out);
	if (p->l->out.fd4 < 0 ||
	    getsockopt(p->l->out.fd4, SOL_SOCKET, SO_NETNS_COOKIE, &p->netns, &len))
		p->netns = 0;
}

/* Return: 0, -EPERM: the maps are not those of the interface's selector, -errno. */
static int lease_prove(struct ztcpd *d, struct lease *l, int pid, const int fds[2])
{
	struct place p = { .l = l };
	int rc = spaces_visit(d, pid, place_look, &p);

	if (!rc)
		rc = nic_maps_open(p.netns, l->ifindex, &l->maps);
	if (!rc && !(nic_map_same(l->maps.flows, fds[0]) && nic_map_same(l->maps.ports, fds[1])))
		rc = -EPERM;
	return rc;
}

static int lease_follow(struct ztcpd *d, struct lease *l, int pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return -errno;
	l->process = (struct source){ fd, process_ended };
	return source_add(d, &l->process, EPOLLIN);
}

static void lease_free(struct ztcpd *d, struct lease *l)
{
	source_drop(d, &l->process);
	nic_maps_close(&l->maps);
	resetter_close(&l->out);
	if (l->memory >= 0)
		close(l->memory);
	free(l->port);
	free(l);
}

static struct lease *lease_of(struct ztcpd *d, uint32_t session)
{
	struct lease *l = d->leases->first;

	while (l && (l->session != session || l->stage != STAGE_HELD))
		l = l->next;
	return l;
}

static int watch(struct ztcpd *d, uint32_t session, int pid, const struct lease_msg *msg,
		 const int fds[2])
{
	struct lease *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return -ENOMEM;
	l->session = session;
	l->ifindex = msg->ifindex;
	l->whose = (struct nic_lease){ .queue = msg->queue, .pid = msg->pid };
	l->maps = (struct nic_maps){ -1, -1 };
	l->out = (struct resetter){ -1, -1 };
	l->process.fd = l->memory = -1;
	rc = lease_prove(d, l, pid, fds);
	if (!rc)
		rc = lease_follow(d, l, pid);
	if (rc) {
		lease_free(d, l);
		return rc;
	}
	l->next = d->leases->first;
	d->leases->first = l;
	d->leases->counts.leases++;
	return 0;
}

static bool field_fits(const struct lease_table *t, unsigned at, unsigned len)
{
	return at + len <= t->stride;
}

static bool table_is_sound(const struct lease_table *t)
{
	return t->stride && t->stride <= LEASE_STRIDE_MAX && t->count <= NIC_FLOWS &&
	       t->at <= INT64_MAX - (uint64_t)NIC_FLOWS * LEASE_STRIDE_MAX &&
	       field_fits(t, t->local, ADDR) && field_fits(t, t->remote, ADDR) &&
	       field_fits(t, t->lport, 2) && field_fits(t, t->rport, 2) &&
	       field_fits(t, t->snd_nxt, 4) && field_fits(t, t->rcv_nxt, 4) &&
	       field_fits(t, t->state, 1);
}

int leases_message(struct ztcpd *d, uint32_t number, int pid, struct lease_msg *msg, int *fds,
		   unsigned n)
{
	struct lease *l = lease_of(d, number);

	if (msg->version != LEASE_VERSION)
		return -EPROTO;
	if (msg->type == LEASE_WATCH && n == 2 && !l) {
		msg->type = LEASE_ANSWER;
		msg->rc = watch(d, number, pid, msg, fds);
		return 1;
	}
	/* A memfd alone has seals. */
	if (msg->type == LEASE_TABLE && n == 1 && l && l->memory < 0 &&
	    fcntl(fds[0], F_GET_SEALS) >= 0 && table_is_sound(&msg->table)) {
		l->table = msg->table;
		l->memory = fds[0];
		fds[0] = -1;
		return 0;
	}
	return -EPROTO;
}

void leases_end(struct ztcpd *d, uint32_t number)
{
	struct lease *l = lease_of(d, number);

	if (l)
		l->stage = STAGE_PORTS;
}

/* ---- cleaning up ---- */

/* The next key of a map: it may be removed, and others go on changing the map. Return: false at the end. */
static bool cursor_take(struct cursor *c, int map, size_t bytes, void *key)
{
	if (!c->begun)
		c->more = nic_next(map, NULL, c->next);
	c->begun = true;
	if (!c->more || c->taken++ >= 2 * NIC_FLOWS)
		return false;
	memcpy(key, c->next, bytes);
	c->more = nic_next(map, key, c->next);
	return true;
}

static void port_note(struct lease *l, const struct nic_port *port)
{
	struct nic_port *more = reallocarray(l->port, l->ports + 1, sizeof(*more));

	if (!more)
		return;
	l->port = more;
	l->port[l->ports++] = *port;
}

/* Return: whether there is more to do in this stage, as of all steps below. */
static bool port_step(struct ztcpd *d, struct lease *l)
{
	struct nic_port port;

	if (!cursor_take(&l->cursor, l->maps.ports, sizeof(port), &port))
		return false;
	if (nic_drop(l->maps.ports, &port, &l->whose)) {
		port_note(l, &port);
		d->leases->counts.removed++;
	}
	return true;
}

static bool flow_step(struct ztcpd *d, struct lease *l)
{
	struct nic_flow flow;

	if (!cursor_take(&l->cursor, l->maps.flows, sizeof(flow), &flow))
		return false;
	d->leases->counts.removed += nic_drop(l->maps.flows, &flow, &l->whose);
	return true;
}

static bool is_any(const uint32_t a[4])
{
	return !a[0] && !a[1] && !a[3] && (!a[2] || a[2] == htonl(0xffff));
}

static bool came_by_port(const struct lease *l, const struct nic_flow *flow)
{
	for (uint32_t i = 0; i < l->ports; i++) {
		const struct nic_port *p = &l->port[i];

		if (p->port == flow->lport &&
		    (is_any(p->local) || !memcmp(p->local, flow->local, ADDR)))
			return true;
	}
	return false;
}

static uint16_t port_at(const char *p)
{
	uint16_t port;

	memcpy(&port, p, sizeof(port));
	return htons(port);
}

static void entry_reset(struct ztcpd *d, struct lease *l, const char *entry)
{
	const struct lease_table *t = &l->table;
	struct reset rst = { .ifindex = l->ifindex };
	unsigned state = (uint8_t)entry[t->state];

	if (state >= 32 || !(t->open & 1u << state))
		return;
	memcpy(rst.flow.local, entry + t->local, ADDR);
	memcpy(rst.flow.remote, entry + t->remote, ADDR);
	rst.flow.lport = port_at(entry + t->lport);
	rst.flow.rport = port_at(entry + t->rport);
	memcpy(&rst.seq, entry + t->snd_nxt, sizeof(rst.seq));
	memcpy(&rst.ack, entry + t->rcv_nxt, sizeof(rst.ack));
	if (nic_drop(l->maps.flows, &rst.flow, &l->whose))
		d->leases->counts.removed++;
	else if (!came_by_port(l, &rst.flow))
		return;
	d->leases->counts.resets += !reset_send(&l->out, &rst);
}

/* Where entry @i lies. */
static off_t entry_at(const struct lease_table *t, uint64_t i)
{
	return (off_t)(t->at + i * t->stride);
}

/* As many entries as one read takes; what was never used is not there. */
static bool memory_step(struct ztcpd *d, struct lease *l)
{
	const struct lease_table *t = &l->table;
	uint64_t skip;
	uint32_t n;
	off_t data;
	ssize_t got;

	if (l->memory < 0 || !t->stride || l->entry >= t->count)
		return false;
	data = lseek(l->memory, entry_at(t, l->entry), SEEK_DATA);
	if (data < 0)
		return false;
	skip = (uint64_t)(data - entry_at(t, l->entry)) / t->stride;
	if (skip >= t->count - l->entry)
		return false;
	l->entry += (uint32_t)skip;
	n = LEASE_READ / t->stride;
	n = n < t->count - l->entry ? n : t->count - l->entry;
	got = pread(l->memory, d->leases->buf, (size_t)n * t->stride, entry_at(t, l->entry));
	n = got > 0 ? (uint32_t)got / t->stride : 0;
	for (uint32_t i = 0; i < n; i++)
		entry_reset(d, l, d->leases->buf + (size_t)i * t->stride);
	l->entry += n;
	return n;
}

/* A piece of the work. */
static void lease_step(struct ztcpd *d, struct lease *l)
{
	static bool (*const step[])(struct ztcpd * d, struct lease * l) = {
		[STAGE_PORTS] = port_step, [STAGE_MEMORY] = memory_step, [STAGE_FLOWS] = flow_step
	};

	if (step[l->stage](d, l))
		return;
	l->stage++;
	memset(&l->cursor, 0, sizeof(l->cursor));
}

int leases_turn(struct ztcpd *d)
{
	uint64_t until = ztcpd_now_ms() + LEASE_TURN_MS;
	struct lease **at = &d->leases->first;

	while (*at) {
		struct lease *l = *at;

		while (l->stage != STAGE_HELD && l->stage != STAGE_DONE) {
			if (ztcpd_now_ms() >= until)
				return 0;
			lease_step(d, l);
		}
		if (l->stage == STAGE_DONE) {
			*at = l->next;
			d->leases->counts.leases--;
			d->leases->counts.ended++;
			lease_free(d, l);
		} else {
			at = &l->next;
		}
	}
	return -1;
}

/* ---- start and end ---- */

const struct lease_counts *leases_counts(const struct ztcpd *d)
{
	return &d->leases->counts;
}

int leases_start(struct ztcpd *d)
{
	d->leases = calloc(1, sizeof(*d->leases));
	if (!d->leases)
		return -ENOMEM;
	d->leases->buf = malloc(LEASE_READ);
	return d->leases->buf ? 0 : -ENOMEM;
}

/* Who lives on lives on, without somebody who looks after it. */
void leases_stop(struct ztcpd *d)
{
	if (!d->leases)
		return;
	while (d->leases->first) {
		struct lease *l = d->leases->first;

		d->leases->first = l->next;
		lease_free(d, l);
	}
	free(d->leases->buf);
	free(d->leases);
	d->leases = NULL;
}
