/* shm_fuzz.c - any numbers in a peer's block, between any calls of ours on that connection
 *
 * The input is a program: each step writes one field of the peer's memory or makes one call on our side (read,
 * peek, write, grow, cross, lift, lower, attend). The peer's arena ends at a page that nobody may touch. What
 * must hold after every step: what is read lies inside the peer's arena, what is written inside our ring, our
 * own offsets never go back, and a ring never holds more than its size.
 */
#include "preload/sock/span.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PEER_BYTES = 1 << 16, PEER_CTL = 1 << 14, IO_MAX = 3000, PAGE = 4096 };

#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input, taken number by number; zeroes behind its end. */
struct input {
	const uint8_t *at, *end;
};

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | (in->at < in->end ? *in->at++ : 0);
	return v;
}

struct world {
	char *peer_mem;
	struct shm_ctl *ctl; /* the peer's */
	struct shm_peer peer;
	struct stats_row row;
	struct sock s;
	struct shm_pool pool; /* our arena's allocator as it was when new */
	uint64_t tail, head;  /* ours after the last step */
	uint32_t ack;
};

static struct world w;

static void world_make(void)
{
	MUST(shm_arena_make(&shm_self.arena[0]) == 0);
	w.pool = shm_self.arena[0].head->pool;
	w.peer_mem = mmap(NULL, PEER_BYTES + PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(w.peer_mem != MAP_FAILED);
	MUST(mprotect(w.peer_mem + PEER_BYTES, PAGE, PROT_NONE) == 0);
}

static void world_reset(uint64_t start)
{
	struct shm_conn *c;

	shm_self.arena[0].head->pool = w.pool;
	memset(w.peer_mem + PEER_CTL, 0, sizeof(*w.ctl));
	memset(w.peer_mem, 0, sizeof(struct shm_head));
	w.ctl = (struct shm_ctl *)(w.peer_mem + PEER_CTL);
	w.ctl->state = SHM_CONN_ATTACHED;
	w.ctl->base[1] = UINT64_MAX;
	w.ctl->ring[0] = shm_ring_ref(PEER_BYTES / 2, 10);
	w.ctl->lift = w.ctl->base[0] = w.ctl->tail = w.ctl->head = start;
	w.peer = (struct shm_peer){ .head = (const struct shm_head *)w.peer_mem,
				    .bytes = PEER_BYTES,
				    .sock = -1 };
	memset(w.peer.bell_fd, 0xff, sizeof(w.peer.bell_fd));
	memset(&w.row, 0, sizeof(w.row));
	atomic_store(&w.row.refs, 1);
	atomic_store(&w.row.tx_off, start);
	atomic_store(&w.row.rx_off, start);
	c = shm_arena_conn_alloc(&shm_self.arena[0], (uint32_t)gettid());
	MUST(c);
	c->ctl.state = SHM_CONN_ATTACHED;
	w.s = (struct sock){ .conn = c,
			     .view = { w.ctl, w.peer_mem, PEER_BYTES },
			     .peer = &w.peer,
			     .pulse = &w.peer.head->pulse,
			     .row = &w.row,
			     .fd = -1,
			     .numbers = 1,
			     .stage = SOCK_ATTACHED };
	w.tail = w.head = 0;
	w.ack = 0;
}

/* Numbers near what the reader stands at find more than numbers from anywhere. */
static uint64_t take_offset(struct input *in)
{
	const struct shm_ctl *own = &w.s.conn->ctl;

	switch (take(in, 1) % 8) {
	case 0: return own->head + take(in, 2);
	case 1: return own->head - take(in, 1);
	case 2: return own->tail + take(in, 1);
	case 3: return own->tail - take(in, 2);
	case 4: return w.row.rx_off + take(in, 1);
	case 5: return w.ctl->tail + take(in, 1);
	case 6: return UINT64_MAX - take(in, 1);
	default: return take(in, 8);
	}
}

static void peer_writes(struct input *in)
{
	struct shm_head *h = (struct shm_head *)w.peer_mem;
	uint64_t which = take(in, 1) % 13;

	switch (which) {
	case 0: w.ctl->tail = take_offset(in); break;
	case 1: w.ctl->head = take_offset(in); break;
	case 2: w.ctl->base[take(in, 1) % 2] = take_offset(in); break;
	case 3: w.ctl->ring[take(in, 1) % 2] = (uint32_t)take(in, 4); break;
	case 4: w.ctl->ring[take(in, 1) % 2] = shm_ring_ref(take(in, 2), take(in, 1) % 18); break;
	case 5: w.ctl->span = w.s.conn->ctl.span_ack + (uint32_t)take(in, 1) % 4; break;
	case 6: w.ctl->span_ack = w.s.conn->ctl.span + (uint32_t)take(in, 1) % 3 - 1; break;
	case 7: w.ctl->flags_tx = (uint32_t)take(in, 1); break;
	case 8: w.ctl->flags_rx = (uint32_t)take(in, 1); break;
	case 9: w.ctl->lift = take_offset(in); break;
	case 10: w.ctl->lower = take_offset(in); break;
	case 11: w.ctl->state = (uint32_t)take(in, 1) % 5; break;
	default:
		h->pulse.close_gen++;
		h->pulse.asleep = (uint32_t)take(in, 1);
		w.ctl->bells = (uint32_t)take(in, 4);
		break;
	}
}

static void reads(struct input *in)
{
	static char b[IO_MAX];
	size_t n = take(in, 2) % IO_MAX;
	struct shm_run run;
	uint64_t limit;
	bool taken;

	taken = shm_seat_take(&w.s.conn->rx.seat, (uint32_t)gettid());
	if (span_cross(&w.s, &limit) == 0 && w.s.conn->rx.path == SHM_PATH_RING &&
	    !w.s.conn->rx.frozen) {
		if (shm_ring_peek(&w.s.view, w.s.conn->ctl.head, &run) == 1) {
			MUST(run.len && run.ptr >= w.peer_mem);
			MUST(run.ptr + run.len <= w.peer_mem + PEER_BYTES);
		}
		MUST(shm_ring_read(w.s.conn, &w.s.view, b, n) <= (ssize_t)n);
	}
	shm_seat_give(&w.s.conn->rx.seat, taken);
}

static void writes(struct input *in)
{
	static const char b[IO_MAX];
	struct shm_conn *c = w.s.conn;
	size_t n = take(in, 2) % IO_MAX + 1;
	bool grow = take(in, 1) % 2;
	ssize_t done;

	if (c->tx.path != SHM_PATH_RING && !span_lift(&w.s))
		return;
	done = shm_ring_write(c, w.ctl, b, n);
	MUST(done <= (ssize_t)n);
	if (done == 0 && grow)
		shm_ring_grow(&shm_self.arena[0], c, w.ctl, n, (uint32_t)gettid());
	MUST(done == -EPROTO || c->ctl.tail - c->tx.head_seen <= c->tx.mask + 1 ||
	     c->ctl.ring[!c->tx.slot]);
}

static void step(struct input *in)
{
	switch (take(in, 1) % 8) {
	case 0: reads(in); break;
	case 1: writes(in); break;
	case 2: span_attend(&w.s); break;
	case 3: span_lower(&w.s, REASON_LIFTED); break;
	case 4: span_lift(&w.s); break;
	default: peer_writes(in); break;
	}
}

static void check(void)
{
	const struct shm_conn *c = w.s.conn;
	const char *own = (const char *)shm_self.arena[0].head;

	MUST(c->ctl.tail >= w.tail);
	MUST(c->ctl.span_ack >= w.ack);
	if (c->tx.ring)
		MUST(c->tx.ring > own && c->tx.ring + c->tx.mask < own + shm_self.arena[0].bytes);
	MUST(!c->tx.seat.inside && !c->rx.seat.inside);
	w.tail = c->ctl.tail;
	w.ack = c->ctl.span_ack;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };

	if (!w.peer_mem)
		world_make();
	world_reset(take(&in, 1) % 2 ? take(&in, 4) : 0);
	while (in.at < in.end) {
		step(&in);
		check();
	}
	return 0;
}
