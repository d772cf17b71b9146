/* ztcpd_lease.c - queues of interfaces, and what is left when who had one has died
 *
 * Theory of operation. Whoever has a queue has opened a session for it: it names the selector's maps by their descriptors, or
 * was given the queue here (ztcpd_grant.c). It hands over the memory that its connections are in (stack/base/base_lease.h). The end of the session, or of the process
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
 * Before a queue is given, what still names it is removed in the same way, a piece a turn.
 *
 * Trust. The holder says who its peers are, and can lie. It could send the same resets itself: it has the right
 * to write the maps, which is root's, or an AF_XDP socket, which sends any frame. What it hands over must be a memfd, which never blocks whom reads it; all in it is
 * taken as numbers, and bounded.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/ztcpd/ztcpd_lease.h"

enum {
	LEASE_TURN_MS = 5,  /* then others have their turn */
	LEASE_READ = 65536, /* bytes of memory read at once */
};

struct leases {
	struct lease *first;
	struct lease_counts counts;
	char *buf; /* LEASE_READ */
};

/* ---- taking one ---- */

static void lease_end(struct lease *l)
{
	if (l->stage > STAGE_HELD)
		return;
	l->stage = STAGE_PORTS;
	memset(&l->cursor, 0, sizeof(l->cursor));
}

static void process_ended(struct ztcpd *d, struct source *src, uint32_t events)
{
	struct lease *l = (struct lease *)((char *)src - offsetof(struct lease, process));

	(void)events;
	source_drop(d, src);
	lease_end(l);
}

/* In the asker's network namespace. */
static void place_look(void *arg)
{
	struct lease *l = arg;
	socklen_t len = sizeof(l->netns);

	resetter_open(&l->out);
	if (l->out.fd4 < 0 || getsockopt(l->out.fd4, SOL_SOCKET, SO_NETNS_COOKIE, &l->netns, &len))
		l->netns = 0;
	if (l->granted)
		grant_open(l);
}

static int lease_place(struct ztcpd *d, struct lease *l)
{
	int rc = spaces_visit(d, l->who.pid, place_look, l);

	if (rc)
		return rc;
	return l->netns ? nic_maps_open(l->netns, l->ifindex, &l->maps) : -EMFILE;
}

/* Return: 0, -EPERM: the maps are not those of the interface's selector. */
static int watch_prove(struct ztcpd *d, struct lease *l, const int *fds)
{
	(void)d;
	return nic_map_same(l->maps.flows, fds[0]) && nic_map_same(l->maps.ports, fds[1]) ? 0
											  : -EPERM;
}

/* What is looked up by the process's number from now on, until lease_lives(), is that of the process which connected. */
static int lease_follow(struct ztcpd *d, struct lease *l)
{
	int fd = sessions_process(d, l->who.session);

	if (fd < 0)
		return fd;
	l->process = (struct source){ fd, process_ended };
	return source_add(d, &l->process, EPOLLIN);
}

/* Return: 0, -ESRCH: it has ended, and its number may be another's. */
static int lease_lives(const struct lease *l)
{
	struct pollfd ended = { .fd = l->process.fd, .events = POLLIN };

	return poll(&ended, 1, 0) ? -ESRCH : 0;
}

static void lease_free(struct ztcpd *d, struct lease *l)
{
	source_drop(d, &l->process);
	nic_maps_close(&l->maps);
	resetter_close(&l->out);
	grant_close(l);
	if (l->memory >= 0)
		close(l->memory);
	free(l->port);
	free(l);
}

static struct lease *lease_of(struct ztcpd *d, uint32_t session)
{
	struct lease *l = d->leases->first;

	while (l && (l->who.session != session || l->stage > STAGE_HELD))
		l = l->next;
	return l;
}

static struct lease *lease_new(const struct asker *who, uint32_t ifindex, bool granted)
{
	struct lease *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->who = *who;
	l->ifindex = ifindex;
	l->granted = granted;
	l->stage = granted ? STAGE_ASKED : STAGE_HELD;
	l->maps = (struct nic_maps){ -1, -1, -1, -1 };
	l->out = (struct resetter){ -1, -1 };
	l->process.fd = l->memory = l->xsk = l->diag = l->route = -1;
	return l;
}

/* It is what was asked for, @prove says. Return: what that returns, or of the process and its place. */
static int lease_begin(struct ztcpd *d, struct lease *l,
		       int (*prove)(struct ztcpd *d, struct lease *l, const int *fds),
		       const int *fds)
{
	int rc = lease_follow(d, l);

	if (!rc)
		rc = lease_place(d, l);
	if (!rc)
		rc = prove(d, l, fds);
	if (!rc)
		rc = lease_lives(l);
	if (rc) {
		lease_free(d, l);
		return rc;
	}
	l->next = d->leases->first;
	d->leases->first = l;
	d->leases->counts.leases++;
	return 0;
}

static int on_watch(struct ztcpd *d, const struct asker *who, const struct lease_msg *msg,
		    const int fds[2])
{
	struct lease *l = lease_new(who, msg->ifindex, false);

	if (!l)
		return -ENOMEM;
	l->whose = (struct nic_lease){ .queue = msg->queue, .pid = msg->pid, .uid = NIC_ANYBODY };
	return lease_begin(d, l, watch_prove, fds);
}

static int ask_prove(struct ztcpd *d, struct lease *l, const int *fds)
{
	(void)fds;
	return grant_ask(d, l);
}

/* Whether one person has all the queues that one may have. */
static bool has_enough(const struct ztcpd *d, uint32_t person)
{
	uint32_t has = 0;

	for (const struct lease *l = d->leases->first; l; l = l->next)
		has += l->granted && l->who.person == person;
	return has >= d->limits.user_queues;
}

/* Return: 0 and *@xsk, which is ours; -errno. */
static int on_ask(struct ztcpd *d, const struct asker *who, const struct lease_msg *msg, int *xsk)
{
	struct lease *l = has_enough(d, who->person) ? NULL : lease_new(who, msg->ifindex, true);
	int rc;

	if (!l)
		return has_enough(d, who->person) ? -EDQUOT : -ENOMEM;
	l->whose = (struct nic_lease){ .pid = (uint32_t)who->pid, .uid = who->uid };
	rc = lease_begin(d, l, ask_prove, NULL);
	*xsk = rc ? -1 : l->xsk;
	return rc;
}

/* Return: 0: it is told when the queue is clear, or -errno. */
static int on_bind(struct lease *l, const struct lease_msg *msg)
{
	int rc = grant_bind(l, msg->queue);

	if (rc)
		return rc;
	l->serial = msg->name.serial;
	l->stage = STAGE_CLEAR_PORTS;
	return 0;
}

static enum lease_state state_of(const struct lease *l)
{
	if (!l)
		return LEASE_NONE;
	if (l->stage == STAGE_HELD)
		return l->granted ? LEASE_LEASED : LEASE_WATCHED;
	return l->stage == STAGE_ASKED ? LEASE_ASKED : LEASE_PENDING;
}

static int answer(struct ztcpd *d, const struct asker *who, struct lease_msg *msg, int rc, int fd)
{
	msg->type = LEASE_ANSWER;
	msg->rc = rc;
	return sessions_send(d, who->session, msg, sizeof(*msg), fd);
}

int leases_message(struct ztcpd *d, const struct asker *who, struct lease_msg *msg, int *fds,
		   unsigned n)
{
	struct lease *l = lease_of(d, who->session);
	int rc, xsk = -1;

	if (!lease_fits(state_of(l), l && l->memory >= 0, msg, n))
		return -EPROTO;
	switch (msg->type) {
	case LEASE_WATCH: return answer(d, who, msg, on_watch(d, who, msg, fds), -1);
	case LEASE_ASK: rc = on_ask(d, who, msg, &xsk); return answer(d, who, msg, rc, xsk);
	case LEASE_BIND: rc = on_bind(l, msg); return rc ? answer(d, who, msg, rc, -1) : 0;
	case LEASE_NAME: return answer(d, who, msg, grant_name(d, l, &msg->name.flow), -1);
	case LEASE_UNNAME: return answer(d, who, msg, grant_unname(l, &msg->name.flow), -1);
	case LEASE_NEIGH: grant_neigh(l, msg->name.flow.remote); return 0;
	default: break;
	}
	/* A memfd alone has seals. */
	if (fcntl(fds[0], F_GET_SEALS) < 0)
		return -EPROTO;
	l->table = msg->table;
	l->memory = fds[0];
	fds[0] = -1;
	return 0;
}

void leases_end(struct ztcpd *d, uint32_t session)
{
	struct lease *l = lease_of(d, session);

	if (l)
		lease_end(l);
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

bool lease_port_note(struct lease *l, const struct nic_port *port)
{
	struct nic_port *more = reallocarray(l->port, l->ports + 1, sizeof(*more));

	if (!more)
		return false;
	l->port = more;
	l->port[l->ports++] = *port;
	return true;
}

static bool clear_step(struct lease *l, int map, size_t bytes)
{
	char key[sizeof(struct nic_flow)];

	if (!cursor_take(&l->cursor, map, bytes, key))
		return false;
	nic_clear(map, key, l->whose.queue);
	return true;
}

/* Return: whether there is more to do in this stage, as of all steps below. */
static bool clear_ports_step(struct ztcpd *d, struct lease *l)
{
	(void)d;
	return clear_step(l, l->maps.ports, sizeof(struct nic_port));
}

static bool clear_flows_step(struct ztcpd *d, struct lease *l)
{
	(void)d;
	return clear_step(l, l->maps.flows, sizeof(struct nic_flow));
}

static bool port_step(struct ztcpd *d, struct lease *l)
{
	struct nic_port port;

	if (!cursor_take(&l->cursor, l->maps.ports, sizeof(port), &port))
		return false;
	if (nic_drop(l->maps.ports, &port, &l->whose)) {
		lease_port_note(l, &port);
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

static void entry_reset(struct ztcpd *d, struct lease *l, const char *entry)
{
	struct reset rst = { .ifindex = l->ifindex };
	struct lease_entry e;

	if (!lease_entry_read(&l->table, entry, &e))
		return;
	rst.flow = e.flow;
	rst.seq = e.seq;
	rst.ack = e.ack;
	if (nic_drop(l->maps.flows, &rst.flow, &l->whose))
		d->leases->counts.removed++;
	else if (!lease_port_covers(l->port, l->ports, &rst.flow))
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
		[STAGE_CLEAR_PORTS] = clear_ports_step,
		[STAGE_CLEAR_FLOWS] = clear_flows_step,
		[STAGE_PORTS] = port_step,
		[STAGE_MEMORY] = memory_step,
		[STAGE_FLOWS] = flow_step,
	};

	if (step[l->stage](d, l))
		return;
	l->stage++;
	memset(&l->cursor, 0, sizeof(l->cursor));
	if (l->stage == STAGE_HELD)
		grant_finish(d, l);
}

static bool rests(const struct lease *l)
{
	return l->stage == STAGE_ASKED || l->stage == STAGE_HELD || l->stage == STAGE_DONE;
}

int leases_turn(struct ztcpd *d)
{
	uint64_t until = ztcpd_now_ms() + LEASE_TURN_MS;
	struct lease **at = &d->leases->first;

	while (*at) {
		struct lease *l = *at;

		while (!rests(l)) {
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
