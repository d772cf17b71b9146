/* shm_ring_test.c - wrapping, growing, interrupted commits, and a peer that publishes nonsense */
#include "shm/shm_ring.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

/* A sender and a receiver, each with an arena of its own, as in two processes. */
struct pair {
	struct shm_arena arena[2];
	struct shm_conn *tx, *rx;
	struct shm_view view; /* what the receiver sees of the sender */
	uint64_t put, got;    /* bytes so far; the content follows from the offset */
	uint64_t start;
};

static uint32_t tid(void)
{
	return (uint32_t)gettid();
}

static unsigned char byte_at(uint64_t offset)
{
	return (unsigned char)(offset * 7 + (offset >> 8) * 3 + (offset >> 16));
}

static struct pair pair_new(uint64_t offset)
{
	struct pair p = { .put = offset, .got = offset, .start = offset };

	cr_assert_eq(shm_arena_make(&p.arena[0]), 0);
	cr_assert_eq(shm_arena_make(&p.arena[1]), 0);
	p.tx = shm_arena_conn_alloc(&p.arena[0], tid());
	p.rx = shm_arena_conn_alloc(&p.arena[1], tid());
	cr_assert(p.tx && p.rx);
	atomic_store(&p.tx->ctl.tail, offset);
	atomic_store(&p.tx->tx.resv, offset);
	atomic_store(&p.rx->ctl.head, offset);
	p.tx->tx.head_seen = offset;
	cr_assert_eq(shm_ring_open(&p.arena[0], p.tx, tid()), 0);
	p.view = (struct shm_view){ &p.tx->ctl, (const char *)p.arena[0].head, p.arena[0].bytes };
	return p;
}

/* With a ring of 512 bytes. */
static struct pair pair_at(uint64_t offset)
{
	struct pair p = pair_new(offset);

	cr_assert(shm_ring_grow(&p.arena[0], p.tx, &p.rx->ctl, 512, tid()));
	cr_assert_eq(p.tx->tx.mask + 1, 512);
	return p;
}

static ssize_t put(struct pair *p, size_t n)
{
	unsigned char b[70000];
	ssize_t done;

	cr_assert_leq(n, sizeof(b));
	for (size_t i = 0; i < n; i++)
		b[i] = byte_at(p->put + i);
	done = shm_ring_write(p->tx, &p->rx->ctl, b, n);
	if (done > 0)
		p->put += (uint64_t)done;
	return done;
}

static ssize_t get(struct pair *p, size_t n)
{
	unsigned char b[70000];
	ssize_t done;

	cr_assert_leq(n, sizeof(b));
	done = shm_ring_read(p->rx, &p->view, b, n);
	for (ssize_t i = 0; i < done; i++)
		cr_assert_eq(b[i], byte_at(p->got + (uint64_t)i), "byte %llu is wrong",
			     (unsigned long long)(p->got + (uint64_t)i));
	if (done > 0)
		p->got += (uint64_t)done;
	return done;
}

static void get_all(struct pair *p)
{
	while (p->got < p->put)
		cr_assert_gt(get(p, 4096), 0);
	cr_assert_eq(get(p, 1), 0);
}

static void put_all(struct pair *p, size_t n)
{
	uint64_t end = p->put + n;

	while (p->put < end) {
		ssize_t done = put(p, end - p->put);

		cr_assert_geq(done, 0);
		if (!done)
			cr_assert(shm_ring_grow(&p->arena[0], p->tx, &p->rx->ctl, end - p->put,
						tid()));
	}
}

Test(shm_ring, shm_ring_write__full_ring_takes_no_more_and_room_comes_back)
{
	struct pair p = pair_at(0);

	cr_expect_eq(put(&p, 512), 512);
	cr_expect_eq(put(&p, 1), 0);
	cr_expect_eq(get(&p, 100), 100);
	cr_expect_eq(put(&p, 512), 100);
	get_all(&p);
}

enum { FIRST = 1 << SHM_RING_LOG2_MIN };

Test(shm_ring, shm_ring_open__the_first_ring_is_small)
{
	struct pair p = pair_new(7);

	cr_expect_eq(put(&p, 1000), FIRST);
	get_all(&p);
	for (unsigned i = 1; i < 100; i++) {
		cr_assert_eq(put(&p, i), i);
		get_all(&p);
	}
	cr_expect_eq(p.tx->tx.mask + 1, FIRST);
}

Test(shm_ring, shm_ring_grow__to_a_large_message_or_for_many_small_ones)
{
	struct pair large = pair_new(0), many = pair_new(0);

	cr_assert_eq(put(&large, FIRST), FIRST);
	cr_assert(shm_ring_grow(&large.arena[0], large.tx, &large.rx->ctl, FIRST + 1, tid()));
	cr_expect_eq(large.tx->tx.mask + 1, 4 * FIRST);
	cr_assert_eq(put(&many, FIRST), FIRST);
	cr_assert(shm_ring_grow(&many.arena[0], many.tx, &many.rx->ctl, 1, tid()));
	cr_expect_eq(many.tx->tx.mask + 1, 1 << SHM_RING_LOG2_MANY);
}

Test(shm_ring, shm_ring_read__wraps_at_every_place)
{
	for (uint64_t start = 0; start < 512; start += 17) {
		struct pair p = pair_at(start);

		for (unsigned i = 1; i < 60; i++) {
			cr_assert_eq(put(&p, i * 8), i * 8);
			get_all(&p);
		}
		munmap(p.arena[0].head, p.arena[0].bytes);
		munmap(p.arena[1].head, p.arena[1].bytes);
		close(p.arena[0].fd);
		close(p.arena[1].fd);
	}
}

Test(shm_ring, shm_ring_read__offsets_may_begin_anywhere)
{
	static const uint64_t starts[] = { 1, 511, UINT32_MAX - 5ull, UINT64_C(1) << 40,
					   INT64_MAX - 100ull };

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		struct pair p = pair_at(starts[i]);

		for (unsigned k = 0; k < 20; k++) {
			cr_assert_eq(put(&p, 300), 300);
			get_all(&p);
		}
	}
}

Test(shm_ring, shm_ring_grow__with_bytes_unread_both_rings_are_live)
{
	struct pair p = pair_at(100);

	cr_assert_eq(put(&p, 512), 512);
	cr_assert(shm_ring_grow(&p.arena[0], p.tx, &p.rx->ctl, 1000, tid()));
	cr_expect_neq(p.tx->ctl.ring[0], 0);
	cr_expect_neq(p.tx->ctl.ring[1], 0);
	cr_assert_eq(put(&p, 1000), 1000);
	/* not a third one while the reader is in the first */
	cr_expect_not(shm_ring_grow(&p.arena[0], p.tx, &p.rx->ctl, 100000, tid()));
	/* a read ends at the border, the next goes on behind it */
	cr_expect_eq(get(&p, 412), 412);
	cr_expect_eq(get(&p, 4096), 100);
	cr_expect_eq(get(&p, 4096), 1000);
	cr_expect(shm_ring_grow(&p.arena[0], p.tx, &p.rx->ctl, 100000, tid()));
	put_all(&p, 60000);
	get_all(&p);
}

Test(shm_ring, shm_ring_grow__before_the_first_byte_replaces_in_place)
{
	struct pair p = pair_at(0);

	cr_assert(shm_ring_grow(&p.arena[0], p.tx, &p.rx->ctl, 60000, tid()));
	put_all(&p, 60000);
	get_all(&p);
}

Test(shm_ring, shm_ring_grow__ends_at_the_largest_size)
{
	struct pair p = pair_at(0);
	unsigned grown = 0;

	while (shm_ring_grow(&p.arena[0], p.tx, &p.rx->ctl, 1, tid())) {
		cr_assert_lt(++grown, 20);
		put_all(&p, 100);
		get_all(&p);
	}
	cr_expect_eq(p.tx->tx.mask + 1, UINT64_C(1) << SHM_RING_LOG2_GROW);
}

Test(shm_ring, shm_ring_grow__again_and_again_gives_every_byte_once)
{
	struct pair p = pair_at(12345);
	unsigned seed = 1;

	for (unsigned i = 0; i < 4000; i++) {
		size_t n = (size_t)rand_r(&seed) % 3000 + 1;
		ssize_t done = put(&p, n);

		cr_assert_geq(done, 0);
		if ((size_t)done < n && rand_r(&seed) % 8 == 0)
			shm_ring_grow(&p.arena[0], p.tx, &p.rx->ctl, n, tid());
		if (rand_r(&seed) % 2)
			cr_assert_geq(get(&p, (size_t)rand_r(&seed) % 4000 + 1), 0);
	}
	get_all(&p);
}

Test(shm_ring, shm_ring_close__gives_rings_back_for_reuse)
{
	struct pair p = pair_at(0);
	uint64_t bump = p.arena[0].head->pool.bump;

	for (unsigned i = 0; i < 1000; i++) {
		shm_ring_close(&p.arena[0], p.tx, tid());
		cr_assert_eq(shm_ring_open(&p.arena[0], p.tx, tid()), 0);
	}
	cr_expect_eq(p.arena[0].head->pool.bump, bump);
}

Test(shm_ring, shm_ring_grow__a_full_arena_says_no_and_the_old_ring_serves_on)
{
	struct pair p = pair_at(0);

	cr_assert_eq(put(&p, 512), 512);
	p.arena[0].head->pool.bump = p.arena[0].bytes;
	cr_expect_not(shm_ring_grow(&p.arena[0], p.tx, &p.rx->ctl, 4096, tid()));
	cr_expect_eq(get(&p, 512), 512);
	cr_expect_eq(put(&p, 10), 10);
	get_all(&p);
}

/* ---- interrupted by a signal handler that uses the same direction ---- */

Test(shm_ring, shm_commit__fails_when_a_nested_writer_was_faster)
{
	struct pair p = pair_at(0);
	uint64_t before = atomic_load(&p.tx->ctl.tail);

	/* the outer writer has copied 4 bytes to @before, then the handler's write comes and completes */
	shm_ring_copy_in(p.tx, before, "OUTR", 4);
	cr_assert_eq(put(&p, 8), 8);
	cr_expect_not(shm_commit(&p.tx->ctl.tail, before, before + 4));
	cr_expect_eq(atomic_load(&p.tx->ctl.tail), 8);
	/* so the outer one begins again behind it */
	cr_assert_eq(put(&p, 4), 4);
	get_all(&p);
}

Test(shm_ring, shm_commit__a_nested_reader_takes_bytes_once)
{
	struct pair p = pair_at(0);
	uint64_t head = 0;

	cr_assert_eq(put(&p, 20), 20);
	cr_assert_eq(get(&p, 5), 5); /* the handler */
	cr_expect_not(shm_commit(&p.rx->ctl.head, head, head + 20));
	cr_expect_eq(atomic_load(&p.rx->ctl.head), 5);
	get_all(&p);
}

enum { RECORD = 512, RECORDS = 200000, MARGIN = 16 * RECORD };

static struct pair signalled;
static uint32_t signalled_tid;

/* As a write() of the library does it; the room was looked at before. */
static void record_write(char what)
{
	char b[RECORD];
	bool taken;

	memset(b, what, sizeof(b));
	taken = shm_seat_take(&signalled.tx->tx.seat, signalled_tid);
	if (shm_ring_write(signalled.tx, &signalled.rx->ctl, b, sizeof(b)) != sizeof(b))
		abort();
	shm_seat_give(&signalled.tx->tx.seat, taken);
}

static bool record_fits(void)
{
	return shm_ring_room(signalled.tx, &signalled.rx->ctl, MARGIN) >= MARGIN;
}

static void record_handler(int sig)
{
	(void)sig;
	if (record_fits())
		record_write('h');
}

static void *records_write(void *arg)
{
	struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { 0 };

	sigset_t alarm_only;

	signalled_tid = tid();
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (unsigned i = 0; i < RECORDS; i++) {
		while (!record_fits())
			sched_yield();
		record_write('m');
	}
	setitimer(ITIMER_REAL, &never, NULL);
	return arg;
}

Test(shm_ring, shm_ring_write__a_handler_on_top_of_it_spoils_no_record, .timeout = 60)
{
	pthread_t t;
	sigset_t alarm_only;
	char b[RECORD];
	uint64_t from_handler = 0;

	signalled = pair_at(0);
	cr_assert(
		shm_ring_grow(&signalled.arena[0], signalled.tx, &signalled.rx->ctl, 65536, tid()));
	signal(SIGALRM, record_handler);
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarm_only, NULL);
	cr_assert_eq(pthread_create(&t, NULL, records_write, NULL), 0);
	for (uint64_t n = 0, got = 0; n < RECORDS + from_handler;) {
		ssize_t r = shm_ring_read(signalled.rx, &signalled.view, b + got, RECORD - got);

		cr_assert_geq(r, 0);
		if (!r)
			sched_yield();
		got += (uint64_t)r;
		if (got < RECORD)
			continue;
		got = 0;
		n++;
		from_handler += b[0] == 'h';
		for (unsigned i = 1; i < RECORD; i++)
			cr_assert_eq(b[i], b[0], "record %llu is spoiled at %u",
				     (unsigned long long)n, i);
	}
	pthread_join(t, NULL);
	cr_expect_gt(from_handler, 0, "no signal came");
}

/* ---- nonsense from the receiver ---- */

Test(shm_ring, shm_ring_room__a_head_ahead_of_the_tail_is_nonsense)
{
	static const uint64_t heads[] = { 513, 1u << 20, INT64_MAX, UINT64_MAX };

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct pair p = pair_at(0);

		cr_assert_eq(put(&p, 512), 512);
		atomic_store(&p.rx->ctl.head, heads[i]);
		cr_expect_eq(put(&p, 1), -EPROTO);
		cr_expect_not(shm_ring_grow(&p.arena[0], p.tx, &p.rx->ctl, 4096, tid()));
	}
}

Test(shm_ring, shm_ring_room__a_head_that_goes_back_gives_nothing_away)
{
	struct pair p = pair_at(1000);

	cr_assert_eq(put(&p, 512), 512);
	get_all(&p);
	cr_assert_eq(put(&p, 300), 300);
	atomic_store(&p.rx->ctl.head, 0);
	/* the room that was granted stays, no more comes */
	cr_expect_eq(put(&p, 512), 212);
	cr_expect_eq(put(&p, 512), 0);
}

/* ---- nonsense from the sender ---- */

static void expect_harmless(struct pair *p, const char *what)
{
	struct shm_run run = { 0 };
	int found = shm_ring_peek(&p->view, atomic_load(&p->rx->ctl.head), &run);

	cr_assert(found == 0 || found == 1 || found == -EPROTO, "%s", what);
	if (found == 1) {
		cr_assert_geq(run.ptr, p->view.base, "%s", what);
		cr_assert_leq(run.len, p->view.bytes, "%s", what);
		cr_assert_leq((uint64_t)(run.ptr - p->view.base), p->view.bytes - run.len, "%s",
			      what);
	}
}

Test(shm_ring, shm_ring_peek__a_tail_far_ahead_or_behind_is_nonsense)
{
	static const uint64_t tails[] = { 600, 513 + 10, UINT32_MAX, INT64_MAX, UINT64_MAX, 9, 0 };

	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		struct pair p = pair_at(10);

		atomic_store(&p.tx->ctl.tail, tails[i]);
		cr_expect_eq(get(&p, 100), -EPROTO, "tail %llu", (unsigned long long)tails[i]);
		cr_expect_eq(atomic_load(&p.rx->ctl.head), 10);
	}
}

Test(shm_ring, shm_ring_peek__rings_outside_the_arena_are_nonsense)
{
	struct pair p = pair_at(0);
	uint64_t pages = p.arena[0].bytes;
	const uint32_t refs[] = {
		shm_ring_ref(pages - 256, 9), /* the last half ring */
		shm_ring_ref(pages, 9),       /* just behind */
		shm_ring_ref(0, 21),          /* too large a size */
		shm_ring_ref(0, 31),           UINT32_MAX,
		shm_ring_ref(pages - 512, 20), /* large, at the end */
	};

	cr_assert_eq(put(&p, 50), 50);
	p.view.bytes = pages - 256;
	atomic_store(&p.tx->ctl.ring[0], refs[0]);
	cr_expect_eq(get(&p, 10), -EPROTO);
	p.view.bytes = pages;
	for (size_t i = 1; i < sizeof(refs) / sizeof(refs[0]); i++) {
		atomic_store(&p.tx->ctl.ring[0], refs[i]);
		cr_expect_eq(get(&p, 10), -EPROTO, "ring %08x", refs[i]);
	}
}

Test(shm_ring, shm_ring_peek__no_field_leads_out_of_the_arena)
{
	struct pair p = pair_at(4096);
	unsigned seed = 5;

	for (unsigned i = 0; i < 200000; i++) {
		uint64_t near = 4096 + (uint64_t)(rand_r(&seed) % 2048) - 1024;
		uint64_t far = (uint64_t)rand_r(&seed) << 33 ^ (uint64_t)rand_r(&seed);

		switch (rand_r(&seed) % 5) {
		case 0: atomic_store(&p.tx->ctl.tail, rand_r(&seed) % 2 ? near : far); break;
		case 1:
			atomic_store(&p.tx->ctl.base[rand_r(&seed) % 2],
				     rand_r(&seed) % 2 ? near : far);
			break;
		case 2: atomic_store(&p.tx->ctl.ring[rand_r(&seed) % 2], (uint32_t)far); break;
		case 3: atomic_store(&p.rx->ctl.head, near); break;
		default:
			atomic_store(&p.tx->ctl.ring[rand_r(&seed) % 2],
				     shm_ring_ref(near / 512 * 512, 9));
			break;
		}
		expect_harmless(&p, "random fields");
	}
}

/* ---- the short ways ---- */

Test(shm_ring, shm_ring_put__and_get_carry_what_is_simple_and_leave_the_rest)
{
	struct pair p = pair_at(0);
	char out[600], in[600];

	memset(out, 'q', sizeof(out));
	cr_expect_not(shm_ring_put(p.tx, out, 10), "no room is known yet");
	cr_assert_eq(put(&p, 10), 10);
	cr_expect_eq(shm_ring_get(p.rx, &p.view, in, sizeof(in)), 0, "no ring is known yet");
	shm_ring_learn(p.rx, &p.view, 0);
	cr_expect_eq(shm_ring_get(p.rx, &p.view, in, 4), 4);
	cr_expect_eq(shm_ring_get(p.rx, &p.view, in, sizeof(in)), 6);
	cr_expect_eq(shm_ring_get(p.rx, &p.view, in, sizeof(in)), 0);
	cr_expect(shm_ring_put(p.tx, out, 300));
	cr_expect_not(shm_ring_put(p.tx, out, 300), "more than there is room for");
	cr_expect_eq(shm_ring_get(p.rx, &p.view, in, sizeof(in)), 300);
	cr_expect_eq(memcmp(in, out, 300), 0);
	/* a ring that was replaced is not read any more */
	cr_expect(shm_ring_put(p.tx, out, 100));
	cr_assert(shm_ring_grow(&p.arena[0], p.tx, &p.rx->ctl, 4096, tid()));
	cr_expect_eq(shm_ring_get(p.rx, &p.view, in, sizeof(in)), 0);
	/* nonsense is left to those who can say so */
	atomic_store(&p.tx->ctl.tail, UINT64_MAX / 2);
	cr_expect_eq(shm_ring_get(p.rx, &p.view, in, sizeof(in)), 0);
}

struct toggle {
	struct shm_ctl *ctl;
	uint32_t ref[2];
	_Atomic bool stop;
};

static void *toggles(void *arg)
{
	struct toggle *t = arg;

	for (unsigned i = 0; !t->stop; i++) {
		atomic_store(&t->ctl->ring[0], t->ref[i & 1]);
		for (unsigned k = 0; k < (i >> 1) % 8; k++)
			__asm__ volatile("" ::: "memory");
	}
	return NULL;
}

/* Both references lead to the same byte, but one of them is of a ring that goes on behind the arena. */
Test(shm_ring, shm_ring_learn__believes_no_ring_that_changed_after_it_was_checked, .timeout = 120)
{
	struct pair p = pair_at(5);
	struct toggle t = { .ctl = &p.tx->ctl };
	uint64_t last = p.arena[0].bytes - 512;
	pthread_t thread;

	t.ref[0] = shm_ring_ref(last, 9);
	t.ref[1] = shm_ring_ref(last, 20);
	cr_assert_eq(put(&p, 50), 50);
	cr_assert_eq(pthread_create(&thread, NULL, toggles, &t), 0);
	for (unsigned i = 0; i < 20000000; i++) {
		shm_ring_learn(p.rx, &p.view, 5);
		if (!p.rx->rx.ring)
			continue;
		cr_assert_leq((uint64_t)(p.rx->rx.ring - p.view.base) + p.rx->rx.mask + 1,
			      p.view.bytes, "the ring ends outside the arena");
	}
	t.stop = true;
	pthread_join(thread, NULL);
}

Test(shm_ring, shm_stop__is_found_from_both_sides_wherever_the_low_bits_wrap)
{
	const uint64_t stops[] = { 0, 1, 0xffffff, 0x1000000, 0x1000001, 0x7fffffffffff };

	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		uint32_t flags = shm_stop_at(stops[i]);

		cr_expect(flags & SHM_RX_STOP && !(flags & SHM_RX_RECALL));
		cr_expect_eq(shm_stop_left(flags, stops[i]), 0);
		cr_expect_eq(shm_stop_behind(flags, stops[i]), 0);
		cr_expect_eq(shm_stop_behind(flags, stops[i] + (1 << 21)), 1 << 21);
		if (stops[i] >= 1 << 21)
			cr_expect_eq(shm_stop_left(flags, stops[i] - (1 << 21)), 1 << 21);
	}
}
