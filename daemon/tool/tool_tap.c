/* tool_tap.c - listening to what processes send
 *
 * Records are copied out of the rings as soon as they are there and wait in an array sorted by time for WINDOW_NS or longer, so
 * that those of another process can still come before them. Where clocks of two processors differ, or a record's writer was
 * held up between the look at the clock and the send, the acknowledged offset says what the order was.
 *
 * A tap that no process has any more is read to its end and then given back: who listens for days hears of many.
 */
#include "daemon/tool/tool_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_proc.h"

enum {
	LOOK_NS = 20000000, /* between two looks for new processes */
	WINDOW_NS = 50000000,
	SLEEP_NS = 1000000,
	DEPTH = 64, /* pieces found to come before one another */
	FRESH_NS = 250000000,
	GONE_NS = 500000000, /* no process has had it for so long */
};

/* A sender may get no turn for so long between its look at the clock and the one at what it has read. */
#define HELD_UP_NS UINT64_C(2000000000)

/* On a busy machine we may get no turn for long. As long go on processes whose listener was killed. */
#define KEEP_ON_NS UINT64_C(5000000000)

struct tap {
	uint32_t id; /* pieces' source */
	uint64_t seen_ns;
	int pid;
	int fd;
	uint64_t ino;
	struct tool_ring ring;
	char program[32];
	uint64_t lost_before; /* by another listener */
};

struct tool_taps {
	struct tap *tap;
	unsigned count;
	uint32_t made;
	uint64_t lost_gone; /* by those that were given back */
	const int *pids;
	unsigned pids_count;
	uint32_t snap;
	struct tool_piece **wait; /* sorted by time */
	unsigned waiting, room, first;
	struct tool_piece *given;
	uint64_t looked_ns;
	int beacon;
};

static void tap_close(const struct tap *t);
static uint64_t tap_lost(const struct tap *t);

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- processes ---- */

static bool tap_map(struct tap *t)
{
	struct stat st;
	int seals = fcntl(t->fd, F_GET_SEALS);
	void *p;

	/* one that could shrink would take us down with it */
	if (fstat(t->fd, &st) || st.st_size != TAP_DATA + TAP_RING || seals < 0 ||
	    !(seals & F_SEAL_SHRINK))
		return false;
	p = mmap(NULL, TAP_DATA + TAP_RING, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
	if (p == MAP_FAILED)
		return false;
	t->ring.map = p;
	if (t->ring.map->magic != TAP_MAGIC || t->ring.map->version != TAP_VERSION) {
		munmap(p, TAP_DATA + TAP_RING);
		return false;
	}
	return true;
}

static bool tap_known(const struct tool_taps *all, uint64_t ino, uint64_t now)
{
	for (unsigned i = 0; i < all->count; i++) {
		if (all->tap[i].ino == ino) {
			all->tap[i].seen_ns = now;
			return true;
		}
	}
	return false;
}

/* Whether another listener is there: it renews its time. */
static bool tap_taken(const struct tap_head *map)
{
	return atomic_load(&map->until_ns) > now_ns() + KEEP_ON_NS - FRESH_NS;
}

static void tap_add(struct tool_taps *all, const struct tool_proc *p, const struct tool_fd *fd,
		    uint64_t now)
{
	struct tap t = { .pid = p->pid, .ino = fd->inode, .seen_ns = now };

	if (tap_known(all, fd->inode, now))
		return;
	t.fd = tool_proc_memfd_open(p->pid, fd, true);
	if (t.fd < 0)
		return;
	if (!tap_map(&t)) {
		close(t.fd);
		return;
	}
	/* records before the first look are of its own start, unless another listener has left them */
	t.ring.head = atomic_load(&t.ring.map->head);
	if (all->looked_ns == 0)
		t.ring.head = atomic_load(&t.ring.map->tail);
	if (all->looked_ns == 0 && tap_taken(t.ring.map))
		tool_say("process %d: somebody else listens to it too", p->pid);
	atomic_store(&t.ring.map->head, t.ring.head);
	atomic_store(&t.ring.map->snap, all->snap);
	t.lost_before = all->looked_ns == 0 ? atomic_load(&t.ring.map->lost) : 0;
	snprintf(t.program, sizeof(t.program), "%s", p->comm);
	t.id = all->made++;
	all->tap = tool_grow(all->tap, all->count, sizeof(t));
	all->tap[all->count++] = t;
}

static bool pid_wanted(const struct tool_taps *all, int pid)
{
	for (unsigned i = 0; i < all->pids_count; i++) {
		if (all->pids[i] == pid)
			return true;
	}
	return !all->pids_count;
}

static bool tap_waits(const struct tool_taps *all, uint32_t id)
{
	for (unsigned i = all->first; i < all->first + all->waiting; i++) {
		if (all->wait[i]->source == id)
			return true;
	}
	return false;
}

/* What can be read of it has been, and handed out. */
static bool tap_over(const struct tool_taps *all, const struct tap *t, uint64_t now)
{
	return now > t->seen_ns + GONE_NS &&
	       (t->ring.broken || atomic_load(&t->ring.map->tail) == t->ring.head) &&
	       !tap_waits(all, t->id);
}

static void taps_drop(struct tool_taps *all, uint64_t now)
{
	for (unsigned i = all->count; i-- > 0;) {
		struct tap *t = &all->tap[i];

		if (!tap_over(all, t, now))
			continue;
		all->lost_gone += tap_lost(t);
		tap_close(t);
		*t = all->tap[--all->count];
	}
}

static void taps_look(struct tool_taps *all, uint64_t now)
{
	struct tool_proc *list;
	int n = tool_proc_list(&list);

	for (int i = 0; i < n; i++) {
		for (unsigned k = 0; pid_wanted(all, list[i].pid) && k < list[i].taps_count; k++)
			tap_add(all, &list[i], &list[i].taps[k], now);
	}
	if (n < 0)
		return;
	tool_proc_list_free(list, n);
	taps_drop(all, now);
}

static void taps_on(struct tool_taps *all, uint64_t until)
{
	for (unsigned i = 0; i < all->count; i++) {
		if (!all->tap[i].ring.broken)
			atomic_store(&all->tap[i].ring.map->until_ns, until);
	}
}

/* ---- records ---- */

static bool is_frame(const struct tool_piece *p)
{
	return p->rec.kind == TAP_FRAME;
}

/* Two records of one stream whose order is told by other than time: threads may look at the clock, which may be set, as they like. */
static bool is_behind(const struct tool_piece *a, const struct tool_piece *b)
{
	if (is_frame(a) != is_frame(b))
		return false;
	if (is_frame(a))
		return a->source == b->source && a->rec.frame.net == b->rec.frame.net &&
		       a->rec.frame.no > b->rec.frame.no;
	return a->rec.cookie == b->rec.cookie && a->rec.seq > b->rec.seq;
}

static bool is_before(const struct tool_piece *a, const struct tool_piece *b)
{
	return a->rec.ns < b->rec.ns && !is_behind(a, b);
}

static void wait_insert(struct tool_taps *all, struct tool_piece *p)
{
	unsigned at;

	if (all->first + all->waiting == all->room) {
		if (all->first) {
			memmove(all->wait, all->wait + all->first,
				all->waiting * sizeof(*all->wait));
			all->first = 0;
		} else {
			all->room = all->room ? 2 * all->room : 1024;
			all->wait = realloc(all->wait, all->room * sizeof(*all->wait));
			if (!all->wait) {
				tool_say("%s", strerror(ENOMEM));
				exit(TOOL_FAILED);
			}
		}
	}
	at = all->first + all->waiting++;
	while (at > all->first && is_before(p, all->wait[at - 1])) {
		all->wait[at] = all->wait[at - 1];
		at--;
	}
	all->wait[at] = p;
}

static struct tool_piece *wait_take(struct tool_taps *all, unsigned at)
{
	struct tool_piece *p = all->wait[at];

	memmove(all->wait + all->first + 1, all->wait + all->first,
		(at - all->first) * sizeof(*all->wait));
	all->first++;
	all->waiting--;
	return p;
}

static bool tap_read(struct tool_taps *all, struct tap *t, uint64_t now)
{
	struct tool_piece *p = tool_ring_next(&t->ring);

	if (!p)
		return false;
	p->source = t->id;
	p->read_ns = now;
	if (p->rec.ns > now + WINDOW_NS)
		p->rec.ns = now; /* of tomorrow: it would wait until then, and take memory */
	wait_insert(all, p);
	return true;
}

static void taps_read(struct tool_taps *all)
{
	for (unsigned i = 0; i < all->count; i++) {
		uint64_t now = now_ns();

		for (unsigned k = 0; k < 65536 && tap_read(all, &all->tap[i], now); k++)
			;
	}
}

/* ---- the order ---- */

static bool same_end(const struct shm_end *a, const struct shm_end *b)
{
	return a->port == b->port && memcmp(a->addr, b->addr, sizeof(a->addr)) == 0;
}

static bool opposite(const struct tap_record *a, const struct tap_record *b)
{
	if (a->peer && b->cookie)
		return a->peer == b->cookie;
	return same_end(&a->local, &b->remote) && same_end(&a->remote, &b->local);
}

/* The first waiting piece that @at's sender had read when it sent, or @at. */
static unsigned earliest(struct tool_taps *all, unsigned at)
{
	for (unsigned depth = 0; depth < DEPTH && !is_frame(all->wait[at]); depth++) {
		const struct tap_record *r = &all->wait[at]->rec;
		unsigned before = at;

		for (unsigned i = all->first; i < all->first + all->waiting; i++) {
			const struct tap_record *o = &all->wait[i]->rec;

			if (o->ns > r->ns + HELD_UP_NS)
				break;
			if (i != at && o->kind == TAP_BYTES && opposite(r, o) && o->seq < r->ack) {
				before = i;
				break;
			}
		}
		if (before == at)
			break;
		at = before;
	}
	return at;
}

/* Another's may still come before it. A record may be old when it is written: its sender waited for room. */
static bool is_fresh(const struct tool_piece *p)
{
	uint64_t last = p->rec.ns > p->read_ns ? p->rec.ns : p->read_ns;

	return last + WINDOW_NS > now_ns();
}

bool tool_taps_next(struct tool_taps *all, struct tool_piece *piece, bool everything)
{
	taps_read(all);
	free(all->given);
	all->given = NULL;
	if (!all->waiting)
		return false;
	if (!everything && is_fresh(all->wait[all->first]))
		return false;
	all->given = wait_take(all, earliest(all, all->first));
	*piece = *all->given;
	return true;
}

/* Who asks only wants to see whose it is. */
static void beacon_answer(int beacon)
{
	int fd;

	while (beacon >= 0 && (fd = accept4(beacon, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
}

void tool_taps_wait(struct tool_taps *all)
{
	const struct timespec pause = { 0, SLEEP_NS };
	uint64_t now = now_ns();

	if (now - all->looked_ns > LOOK_NS) {
		taps_look(all, now);
		all->looked_ns = now;
	}
	beacon_answer(all->beacon);
	taps_on(all, now + KEEP_ON_NS);
	taps_read(all);
	nanosleep(&pause, NULL);
}

/* Anybody may take an abstract name. Who has one of ours is believed by nobody, but keeps us from it. */
static void beacon_taken(const struct sockaddr_un *sa, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred who = { .uid = geteuid() };
	socklen_t size = sizeof(who);

	if (fd >= 0 && !connect(fd, (const struct sockaddr *)sa, len))
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size);
	if (fd >= 0)
		close(fd);
	if (who.uid != geteuid())
		tool_say(
			"process %d of user %u has taken the name @%s: the first packets of processes that start "
			"from now on may be missing",
			(int)who.pid, (unsigned)who.uid, sa->sun_path + 1);
}

/* Processes that start while it is bound have their tap on from the beginning. */
static int beacon_open(void)
{
	struct sockaddr_un sa = { 0 };
	socklen_t len = tap_beacon(&sa, (uint32_t)geteuid());
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && (bind(fd, (struct sockaddr *)&sa, len) || listen(fd, SOMAXCONN))) {
		if (errno == EADDRINUSE)
			beacon_taken(&sa, len);
		close(fd);
		fd = -1;
	}
	return fd;
}

struct tool_taps *tool_taps_open(const int *pids, unsigned count, uint32_t snap)
{
	struct tool_taps *all = calloc(1, sizeof(*all));

	if (!all) {
		tool_say("%s", strerror(ENOMEM));
		return NULL;
	}
	all->pids = pids;
	all->pids_count = count;
	all->snap = snap;
	all->beacon = beacon_open();
	taps_look(all, now_ns());
	all->looked_ns = now_ns();
	taps_on(all, all->looked_ns + KEEP_ON_NS);
	return all;
}

void tool_taps_off(struct tool_taps *all)
{
	taps_read(all);
	taps_on(all, 0);
	if (all->beacon >= 0)
		close(all->beacon);
	all->beacon = -1;
}

static uint64_t tap_lost(const struct tap *t)
{
	return atomic_load(&t->ring.map->lost) - t->lost_before + t->ring.lost + t->ring.broken;
}

uint64_t tool_taps_lost(const struct tool_taps *all)
{
	uint64_t lost = all->lost_gone;

	for (unsigned i = 0; i < all->count; i++)
		lost += tap_lost(&all->tap[i]);
	return lost;
}

const char *tool_taps_program(const struct tool_taps *all, const struct tool_piece *p, int *pid)
{
	for (unsigned i = 0; i < all->count; i++) {
		if (all->tap[i].id == p->source) {
			*pid = all->tap[i].pid;
			return all->tap[i].program;
		}
	}
	*pid = 0;
	return "";
}

static void tap_close(const struct tap *t)
{
	/* give the memory back to the system */
	fallocate(t->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, TAP_DATA, TAP_RING);
	munmap(t->ring.map, TAP_DATA + TAP_RING);
	close(t->fd);
}

void tool_taps_close(struct tool_taps *all)
{
	for (unsigned i = 0; i < all->count; i++)
		tap_close(&all->tap[i]);
	while (all->waiting)
		free(wait_take(all, all->first));
	free(all->given);
	free(all->wait);
	free(all->tap);
	free(all);
}
