/* hostile_cases.c - what a peer can do wrong once it is attached, one function each */
#include "tests/hostile/hostile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* TURNS of 10 ms are the patience with a busy machine: what is waited for comes at once on an idle one. */
enum { EVIL_MS = 400, QUIET_NS = 50000, QUIET_EXCHANGES = 400, TURNS = 3000 };

static void announce(struct foe *f)
{
	atomic_fetch_add(&((struct shm_head *)f->arena)->pulse.close_gen, 1);
}

static void lift(struct foe *f, uint64_t at)
{
	atomic_store(&f->ctl->tail, at);
	atomic_store(&f->ctl->base[0], at);
	atomic_store(&f->ctl->lift, at);
	atomic_store(&f->ctl->span, f->ctl->span + 1);
}

static void ring_all(struct foe *f)
{
	for (unsigned i = 0; i < SHM_BELLS; i++) {
		if (f->bell[i] >= 0)
			eventfd_write(f->bell[i], 1);
	}
}

/* Whether the victim comes to @offset in our ring. */
static bool consumed(struct foe *f, uint64_t offset)
{
	for (unsigned i = 0; i < TURNS; i++) {
		if (atomic_load(&f->victim_ctl->head) == offset)
			return true;
		ring_all(f);
		foe_serve(f, 10);
	}
	return false;
}

/* Whether the victim has given the connection up: we see its reset or its end. */
static bool given_up(struct foe *f)
{
	for (unsigned i = 0; i < TURNS; i++) {
		char b[4096];
		ssize_t n = recv(f->tcp, b, sizeof(b), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
		ring_all(f);
		usleep(10000);
	}
	return false;
}

/* Serve the victim until its healthy connection has made so many exchanges. */
static bool exchanges(struct foe *f, unsigned least)
{
	unsigned n = foe_progress(f);

	for (unsigned i = 0; n < least && i < TURNS; i++) {
		foe_serve(f, 10);
		n += foe_progress(f);
	}
	return n >= least;
}

static const char *goes_on(struct foe *f)
{
	foe_serve(f, EVIL_MS);
	return exchanges(f, EVIL_MS / 50) ? NULL : "the healthy connection is held up";
}

/* Not evil: that the others mean something. */
static const char *polite(struct foe *f)
{
	lift(f, f->sent);
	memset(f->arena + FOE_RING, 'x', 1 << FOE_RING_LOG2);
	atomic_store(&f->ctl->tail, f->sent + 100);
	if (!consumed(f, f->sent + 100))
		return "the victim does not read a good ring";
	atomic_store(&f->ctl->lower, f->sent + 100);
	atomic_store(&f->ctl->span, 2);
	ring_all(f);
	for (unsigned i = 0; i < TURNS && f->victim_ctl->span_ack != 2; i++)
		foe_serve(f, 10);
	return f->victim_ctl->span_ack == 2 ? NULL : "the victim does not cross a good border";
}

static const char *border_behind_tail(struct foe *f)
{
	lift(f, f->sent);
	ring_all(f);
	foe_serve(f, 50);
	atomic_store(&f->ctl->lower, f->sent + 100);
	atomic_store(&f->ctl->span, 2);
	announce(f);
	return given_up(f) ? NULL : "the end of a ring behind its last byte was believed";
}

/*
 * What a thread of the victim takes from one sleep to the next. It looks for the border again and again, so that a busy
 * machine, which makes the exchanges longer, makes it take more: but not more at a time, as one that spins does.
 */
static bool ns_between_sleeps(struct foe *f, uint64_t *ns)
{
	struct foe_use start = foe_victim_use(f), end;
	bool went_on = exchanges(f, QUIET_EXCHANGES);

	end = foe_victim_use(f);
	*ns = (end.cpu_ns - start.cpu_ns) / (end.sleeps - start.sleeps + 1);
	return went_on;
}

static const char *border_ahead(struct foe *f)
{
	uint64_t before, after;
	bool went_on;

	foe_progress(f);
	went_on = ns_between_sleeps(f, &before);
	atomic_store(&f->ctl->lift, f->sent + 100000);
	atomic_store(&f->ctl->span, 1);
	ring_all(f);
	if (!ns_between_sleeps(f, &after) || !went_on)
		return "the healthy connection is held up";
	return after < 3 * before + QUIET_NS ? NULL
					     : "a border that never comes keeps the victim busy";
}

static const char *border_back(struct foe *f)
{
	lift(f, f->sent - 10);
	announce(f);
	return given_up(f) ? NULL : "a border before the reader was believed";
}

static const char *tail_far(struct foe *f)
{
	lift(f, f->sent);
	atomic_store(&f->ctl->tail, f->sent + (1 << FOE_RING_LOG2) + 1);
	return given_up(f) ? NULL : "more bytes than the ring holds were believed";
}

static const char *ring_outside(struct foe *f)
{
	atomic_store(&f->ctl->ring[0], shm_ring_ref(FOE_ARENA - 512, 12));
	lift(f, f->sent);
	atomic_store(&f->ctl->tail, f->sent + 10);
	return given_up(f) ? NULL : "a ring outside the arena was believed";
}

static const char *head_far(struct foe *f)
{
	atomic_store(&f->ctl->head, UINT64_MAX / 2);
	for (unsigned i = 0; i < 40; i++)
		foe_serve(f, 10);
	return NULL;
}

/* ---- as fast as it goes, from another thread ---- */

struct storm {
	struct foe *f;
	void (*turn)(struct foe *f, unsigned i);
};

static void *storm(void *arg)
{
	const struct storm *s = arg;

	for (unsigned i = 0; !__atomic_load_n(&s->f->stop, __ATOMIC_RELAXED); i++)
		s->turn(s->f, i);
	return NULL;
}

static const char *under_storm(struct foe *f, void (*turn)(struct foe *f, unsigned i))
{
	struct storm s = { f, turn };
	const char *wrong;
	pthread_t t;

	if (pthread_create(&t, NULL, storm, &s))
		return "no thread";
	wrong = goes_on(f);
	__atomic_store_n(&f->stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	return wrong;
}

static void turn_spans(struct foe *f, unsigned i)
{
	atomic_store(&f->ctl->span, f->victim_ctl->span_ack + 1 + i % 2);
}

static const char *spans(struct foe *f)
{
	lift(f, f->sent);
	atomic_store(&f->ctl->lower, f->sent);
	return under_storm(f, turn_spans);
}

static void turn_recall(struct foe *f, unsigned i)
{
	atomic_store(&f->ctl->flags_rx, i % 2 ? SHM_RX_RECALL : 0);
	atomic_store(&f->ctl->head, f->victim_ctl->tail - i % 3);
	announce(f);
}

static const char *recalls(struct foe *f)
{
	return under_storm(f, turn_recall);
}

static void turn_state(struct foe *f, unsigned i)
{
	atomic_store(&f->ctl->state, i % 5);
	atomic_store(&f->ctl->flags_tx, i % 4);
	atomic_store(&f->ctl->head, f->victim_ctl->tail);
	announce(f);
}

static const char *states(struct foe *f)
{
	return under_storm(f, turn_state);
}

static void turn_bytes(struct foe *f, unsigned i)
{
	atomic_store(&f->ctl->tail, f->victim_ctl->head + 1 + i % 4000);
}

static const char *bytes_without_end(struct foe *f)
{
	lift(f, f->sent);
	return under_storm(f, turn_bytes);
}

static uint64_t odd_number(struct foe *f, uint64_t near)
{
	uint64_t r = foe_random(f);

	switch (r % 5) {
	case 0: return near + (r >> 8) % 5000;
	case 1: return near - (r >> 8) % 5000;
	case 2: return UINT64_MAX - (r >> 8) % 3;
	case 3: return near + (UINT64_C(1) << (r >> 8) % 64);
	default: return foe_random(f);
	}
}

static void turn_random(struct foe *f, unsigned i)
{
	struct shm_ctl *c = f->ctl;
	uint64_t v = odd_number(f, f->victim_ctl->head);

	switch (foe_random(f) % 12) {
	case 0: atomic_store(&c->tail, v); break;
	case 1: atomic_store(&c->head, odd_number(f, f->victim_ctl->tail)); break;
	case 2: atomic_store(&c->base[v & 1], v); break;
	case 3: atomic_store(&c->ring[v & 1], (uint32_t)v); break;
	case 4: atomic_store(&c->span, f->victim_ctl->span_ack + (uint32_t)(v % 4)); break;
	case 5: atomic_store(&c->span_ack, (uint32_t)v); break;
	case 6: atomic_store(&c->flags_tx, (uint32_t)v); break;
	case 7: atomic_store(&c->flags_rx, (uint32_t)v & 1); break;
	case 8: atomic_store(&c->bells, (uint32_t)v); break;
	case 9: atomic_store(&c->lift, v); break;
	case 10: atomic_store(&c->lower, v); break;
	default: memcpy(f->arena + (v % FOE_ARENA & ~UINT64_C(7)), &v, 8); break;
	}
	if (i % 16 == 0)
		announce(f);
	if (i % 64 == 0)
		usleep(100);
}

static const char *random_fields(struct foe *f)
{
	return under_storm(f, turn_random);
}

/* ---- messages and doorbells ---- */

/* The victim has to ring us for whatever it publishes. */
static void seem_asleep(struct foe *f, const unsigned char bell[4])
{
	struct shm_head *h = (struct shm_head *)f->arena;

	for (unsigned i = 0; i < 4; i++)
		atomic_fetch_or(&h->bell[bell[i]].seq, 1);
	atomic_store(&f->ctl->bells,
		     bell[0] | bell[1] << 8 | bell[2] << 16 | (uint32_t)bell[3] << 24);
	atomic_store(&h->pulse.asleep, 4);
}

static const char *bells_of(struct foe *f, int fd)
{
	static const unsigned char bell[4] = { 1, 2, 3, 4 };

	for (unsigned i = 0; i < 4; i++) {
		struct shm_msg m = { .type = SHM_MSG_BELL,
				     .version = SHM_VERSION,
				     .bell = bell[i] };

		foe_send(f, &m, &fd, 1, 0);
	}
	close(fd);
	seem_asleep(f, bell);
	return goes_on(f);
}

static const char *bell_broken_pipe(struct foe *f)
{
	int p[2];

	if (pipe(p))
		return "no pipe";
	close(p[0]);
	return bells_of(f, p[1]);
}

static const char *bell_full_pipe(struct foe *f)
{
	const char *wrong;
	char b[4096];
	int p[2];

	if (pipe(p))
		return "no pipe";
	fcntl(p[1], F_SETFL, O_NONBLOCK);
	memset(b, 0, sizeof(b));
	while (write(p[1], b, sizeof(b)) > 0)
		;
	fcntl(p[1], F_SETFL, 0);
	wrong = bells_of(f, p[1]);
	close(p[0]);
	return wrong;
}

static const char *bell_full(struct foe *f)
{
	int fd = eventfd(0, 0);

	if (fd < 0 || eventfd_write(fd, UINT64_MAX - 1))
		return "no eventfd";
	return bells_of(f, fd);
}

/* The others go on serving meanwhile, and may be told of another bell. */
static void turn_steal(struct foe *f, unsigned i)
{
	uint64_t v;

	for (unsigned b = 0; b < SHM_BELLS; b++) {
		int fd = __atomic_load_n(&f->bell[b], __ATOMIC_ACQUIRE);

		if (fd < 0)
			continue;
		fcntl(fd, F_SETFL, i % 2 ? O_NONBLOCK : 0);
		if (i % 2 == 1 && read(fd, &v, sizeof(v)) < 0 && errno == EAGAIN)
			usleep(10);
	}
}

/* The victim's own bells, whose description we share. */
static const char *bells_stolen(struct foe *f)
{
	const char *wrong = under_storm(f, turn_steal);

	for (unsigned b = 0; b < SHM_BELLS; b++) {
		if (f->bell[b] >= 0)
			fcntl(f->bell[b], F_SETFL, 0);
	}
	return wrong;
}

static unsigned descriptors(const struct foe *f)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", f->victim);
	d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static const char *two_descriptors(struct foe *f)
{
	struct shm_msg m = { .type = SHM_MSG_REFUSE, .version = SHM_VERSION };
	unsigned before = descriptors(f);
	int fd[2] = { eventfd(0, 0), eventfd(0, 0) };

	for (unsigned i = 0; i < 100; i++)
		foe_send(f, &m, fd, 2, MSG_DONTWAIT);
	foe_serve(f, 200);
	close(fd[0]);
	close(fd[1]);
	return descriptors(f) <= before + 4 ? NULL
					    : "descriptors of messages stay open in the victim";
}

static void turn_offers(struct foe *f, unsigned i)
{
	struct shm_msg m = f->offer;

	m.type = i % 3 == 0 ? SHM_MSG_REFUSE : SHM_MSG_OFFER;
	m.local = f->offer.remote;
	m.remote = f->offer.local;
	m.offer += i % 7;
	if (__atomic_load_n(&f->chan, __ATOMIC_ACQUIRE) >= 0)
		foe_send(f, &m, NULL, 0, 0);
}

static const char *message_flood(struct foe *f)
{
	return under_storm(f, turn_offers);
}

static const char *unanswered(struct foe *f)
{
	uint64_t before = f->sent;

	foe_serve(f, EVIL_MS);
	return f->sent > before || f->sent ? NULL : "the connection does not go on in the kernel";
}

/* ---- the victim's memory ---- */

static const char *writable(struct foe *f)
{
	char path[64];
	int fds[3] = { f->theirs_fd, -1, -1 };

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->theirs_fd);
	fds[1] = open(path, O_RDWR);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)f->theirs,
		 (unsigned long)(f->theirs + f->theirs_bytes));
	fds[2] = open(path, O_RDWR);
	if (mprotect((void *)f->theirs, 4096, PROT_READ | PROT_WRITE) == 0)
		return "mprotect made the victim's memory writable";
	if (madvise((void *)f->theirs, 4096, MADV_REMOVE) == 0)
		return "pages of the victim were removed";
	for (unsigned i = 0; i < 3; i++) {
		if (fds[i] < 0)
			continue;
		if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0) != MAP_FAILED ||
		    mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fds[i], 0) != MAP_FAILED)
			return "the victim's memory was mapped writable";
		if (pwrite(fds[i], "x", 1, 0) == 1)
			return "the victim's memory was written";
		if (ftruncate(fds[i], 0) == 0 || ftruncate(fds[i], (off_t)f->theirs_bytes * 2) == 0)
			return "the victim's memory was resized";
		if (fallocate(fds[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0)
			return "a hole was punched in the victim's memory";
		if (fcntl(fds[i], F_ADD_SEALS, F_SEAL_WRITE) == 0)
			return "a seal of the victim's memory was changed";
		if (i)
			close(fds[i]);
	}
	return goes_on(f);
}

const struct foe_case foe_cases[] = {
	{ .name = "polite", .run = polite },
	{ .name = "silent", .manner = FOE_SILENT, .run = unanswered },
	{ .name = "wrong_cookie", .manner = FOE_WRONG_COOKIE, .run = unanswered },
	{ .name = "wrong_block", .manner = FOE_WRONG_BLOCK, .run = unanswered },
	{ .name = "wrong_offer", .manner = FOE_WRONG_OFFER, .run = unanswered },
	{ .name = "huge_arena", .manner = FOE_HUGE, .run = unanswered },
	{ .name = "border_behind_tail", .quiet = true, .run = border_behind_tail },
	{ .name = "border_ahead", .quiet = true, .run = border_ahead },
	{ .name = "border_back", .quiet = true, .run = border_back },
	{ .name = "tail_far", .quiet = true, .run = tail_far },
	{ .name = "ring_outside", .quiet = true, .run = ring_outside },
	{ .name = "head_far", .run = head_far },
	{ .name = "spans", .run = spans },
	{ .name = "recalls", .run = recalls },
	{ .name = "states", .run = states },
	{ .name = "bytes_without_end", .run = bytes_without_end },
	{ .name = "random_fields", .run = random_fields },
	{ .name = "bell_broken_pipe", .run = bell_broken_pipe },
	{ .name = "bell_full_pipe", .run = bell_full_pipe },
	{ .name = "bell_full", .run = bell_full },
	{ .name = "bells_stolen", .run = bells_stolen },
	{ .name = "two_descriptors", .run = two_descriptors },
	{ .name = "message_flood", .run = message_flood },
	{ .name = "writable", .run = writable },
	{ .name = NULL },
};
