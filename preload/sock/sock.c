/* sock.c - the table of sockets, their birth and their end */
#include "preload/sock/sock.h"

#include "preload/sock/agent.h"
#include "preload/sock/conf.h"
#include "preload/sock/direct.h"
#include "preload/sock/ep.h"
#include "preload/sock/explain.h"
#include "preload/sock/lift.h"
#include "preload/sock/span.h"
#include "preload/sock/tap.h"
#include "preload/sock/thread.h"
#include "shm/shm_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

struct sock *_Atomic sock_table[SOCK_TABLE];
static _Atomic int table_highest = -1;
struct shm_conn sock_nobody = { .tx.resv = SHM_TX_CLOSED };

enum {
	POOL_MAX = 1 << 20, /* socks ever in use at once: as many as descriptors */
	SLAB = 256,         /* socks mapped at a time: programs may bound their address space */
	ZOMBIES_FIRST = 256,
	REAP_AT_ONCE = 16, /* zombies looked at by one close */
	HASH_SIZE = 4096,  /* accepted socks by peer */
};

static struct {
	_Atomic uint32_t lock;
	struct sock *slab[POOL_MAX / SLAB];
	uint32_t used; /* of all slabs, in order */
	struct sock *free;
	struct sock *hash[HASH_SIZE];
	struct stats_head *stats;
	bool stats_failed;
	struct zombie {
		struct shm_conn *conn;
		const struct shm_ctl *peer_ctl;
		uint64_t peer_cookie;
		struct shm_peer *peer;
		bool rings;
	} * zombie; /* closed connections whose peers may still read */
	uint32_t zombies, zombie_max, reap_next;
	struct sock *_Atomic late; /* given back by handlers that met their own thread inside */
} pool;

/*
 * Signals are not blocked for the pool: a short connection cannot pay for it. A handler that meets its own
 * thread inside (false) changes no list: it gets no sock, and leaves what it gives back to that thread.
 */
static bool pool_enter(void)
{
	return shm_lock(&pool.lock, thread_tid());
}

static void pool_release(struct sock *s);

/* What handlers have left. Signals are blocked: more of it would not be seen. */
static void pool_release_late(void)
{
	uint64_t mask = thread_signals_block();
	struct sock *s = atomic_exchange(&pool.late, NULL), *next;

	for (; s; s = next) {
		next = s->late;
		pool_release(s);
	}
	shm_unlock(&pool.lock, true);
	thread_signals_restore(mask);
}

static void pool_leave(bool taken)
{
	if (!taken)
		return;
	shm_unlock(&pool.lock, true);
	/* after the lock: one that came before would be missed */
	while (unlikely(atomic_load_explicit(&pool.late, memory_order_relaxed)) &&
	       shm_lock(&pool.lock, thread_tid()))
		pool_release_late();
}

static void *map_anonymous(size_t bytes)
{
	long addr = sys(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return addr < 0 && addr > -4096 ? NULL : (void *)addr;
}

/* The first to ask makes it. */
static __attribute__((noinline, cold)) struct stats_head *stats_first(void)
{
	uint64_t mask;
	bool taken;

	if (SHM_READ(pool.stats_failed))
		return NULL;
	mask = thread_signals_block();
	taken = pool_enter();
	if (!pool.stats && !pool.stats_failed) {
		struct stats_head *stats = stats_make();

		SHM_WRITE(pool.stats_failed, !stats);
		tap_make();
		SHM_PUBLISH(pool.stats, stats);
	}
	pool_leave(taken);
	thread_signals_restore(mask);
	return SHM_FOLLOW(pool.stats);
}

struct stats_head *sock_stats(void)
{
	struct stats_head *stats = SHM_FOLLOW(pool.stats);

	return likely(stats) ? stats : stats_first();
}

/* Under the pool's lock; @index is below pool.used. */
static struct sock *sock_of_index(uint32_t index)
{
	return &pool.slab[index / SLAB][index % SLAB];
}

/* One that was never used. Under the pool's lock. */
static struct sock *sock_fresh(void)
{
	struct sock **slab = &pool.slab[pool.used / SLAB];

	if (pool.used == POOL_MAX)
		return NULL;
	if (!*slab)
		*slab = map_anonymous(SLAB * sizeof(**slab));
	if (!*slab)
		return NULL;
	SHM_PUBLISH(pool.used, pool.used + 1); /* sock_each() looks without the lock */
	return sock_of_index(pool.used - 1);
}

/* Nothing is known of a peer. */
static void sock_detach(struct sock *s)
{
	sock_stir(s);
	SHM_WRITE(s->conn, NULL);
	SHM_WRITE(s->hot, &sock_nobody);
	SHM_WRITE(s->view.ctl, &sock_nobody.ctl);
}

static struct sock *sock_alloc(void)
{
	struct sock *s;

	if (unlikely(!pool_enter()))
		return NULL;
	s = pool.free;
	if (likely(s))
		pool.free = s->next;
	else
		s = sock_fresh();
	pool_leave(true);
	if (s) {
		sock_detach(s); /* at once: a thread that is late in closing it may look */
		atomic_fetch_and(&s->users,
				 ~(uint32_t)SOCK_DEAD); /* before ended: nobody ends it yet */
		memset(&s->writer, 0, sizeof(*s) - offsetof(struct sock, writer));
	}
	return s;
}

static unsigned end_hash(const struct shm_end *end)
{
	uint32_t h = end->port * 2654435761u;

	for (unsigned i = 12; i < 16; i++)
		h = (h ^ end->addr[i]) * 16777619u;
	return (h >> 8) % HASH_SIZE;
}

static bool end_equal(const struct shm_end *a, const struct shm_end *b)
{
	return a->port == b->port && memcmp(a->addr, b->addr, sizeof(a->addr)) == 0;
}

bool sock_end(struct shm_end *end, const struct sockaddr *sa)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };

	memset(end, 0, sizeof(*end));
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		memcpy(end->addr, v4, sizeof(v4));
		memcpy(end->addr + 12, &in->sin_addr, 4);
		end->port = in->sin_port;
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

		memcpy(end->addr, &in6->sin6_addr, 16);
		end->port = in6->sin6_port;
		return true;
	}
	return false;
}

int sock_highest(void)
{
	return atomic_load_explicit(&table_highest, memory_order_relaxed);
}

static void table_set(int fd, struct sock *s)
{
	int highest = sock_highest();

	while (fd > highest && !atomic_compare_exchange_weak(&table_highest, &highest, fd))
		;
	atomic_store_explicit(&sock_table[fd], s, memory_order_release);
}

struct sock *sock_open(int fd)
{
	struct sock *s;

	if ((unsigned)fd >= SOCK_TABLE || conf.out || (!agent_greet() && conf.off))
		return NULL;
	if (sock_of(fd))
		sock_close(fd); /* closed behind our back */
	s = sock_alloc();
	if (!s)
		return NULL;
	SHM_WRITE(s->fd, fd);
	SHM_PUBLISH(s->numbers, 1);
	table_set(fd, s);
	return s;
}

/* Return: false: nobody would find it. */
static bool hash_insert(struct sock *s)
{
	unsigned h = end_hash(&s->remote);

	if (unlikely(!pool_enter()))
		return false;
	s->next = pool.hash[h];
	pool.hash[h] = s;
	s->hashed = true;
	pool_leave(true);
	return true;
}

/* Under the pool's lock. */
static void hash_remove(struct sock *s)
{
	struct sock **p = &pool.hash[end_hash(&s->remote)];

	while (*p && *p != s)
		p = &(*p)->next;
	if (*p)
		*p = s->next;
	s->hashed = false;
}

static uint16_t local_port(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct shm_end end;

	if (sys(SYS_getsockname, fd, &sa, &len) < 0 || !sock_end(&end, (struct sockaddr *)&sa))
		return 0;
	return end.port;
}

/*
 * One user more, unless the sock is closed: from then on it may be ended at any moment, and not even the thread that
 * does it knows who is still looking. Under the pool's lock: it is not given to another connection meanwhile.
 */
static bool sock_try_get(struct sock *s)
{
	uint32_t users = atomic_load(&s->users);

	do {
		if (users & SOCK_DEAD)
			return false;
	} while (!atomic_compare_exchange_weak(&s->users, &users, users + 1));
	return true;
}

struct sock *sock_find(const struct shm_end *remote, uint16_t port)
{
	bool taken = pool_enter();
	struct sock *s = pool.hash[end_hash(remote)];

	/* got after its descriptor was looked at: so that was its own */
	while (s && !(end_equal(&s->remote, remote) && local_port(sock_fd(s)) == port &&
		      sock_try_get(s)))
		s = s->next;
	pool_leave(taken);
	return s;
}

uint32_t sock_index(const struct sock *s)
{
	uint32_t i = 0;

	/* few slabs, and asked once a lift */
	while (s < pool.slab[i] || s >= pool.slab[i] + SLAB)
		i++;
	return i * SLAB + (uint32_t)(s - pool.slab[i]);
}

struct sock *sock_at(uint32_t index)
{
	bool taken = pool_enter();
	struct sock *s = index < pool.used ? sock_of_index(index) : NULL;

	if (s && (!SHM_FOLLOW(s->numbers) || !sock_row(s) || !sock_try_get(s)))
		s = NULL;
	pool_leave(taken);
	return s;
}

void sock_each(void (*f)(struct sock *s, void *arg), void *arg)
{
	for (uint32_t i = 0; i < SHM_FOLLOW(pool.used); i++) {
		struct sock *s = sock_at(i); /* other threads may end it meanwhile */

		if (s) {
			f(s, arg);
			sock_put(s);
		}
	}
}

void sock_connected(struct sock *s, enum stats_role role, const struct sockaddr *remote)
{
	struct stats_head *table = sock_stats();
	struct stats_row *row = table ? stats_row_alloc(table) : NULL;

	if (!row) {
		sock_close(s->fd);
		return;
	}
	SHM_WRITE(s->rank, 0);
	SHM_WRITE(row->fd, s->fd);
	SHM_WRITE(row->role, (uint8_t)role);
	SHM_WRITE(row->reason, s->why ? s->why : REASON_WARMING);
	SHM_PUBLISH(s->row, row);
	s->next_try = lift_first_look();
	if (role == STATS_ACCEPT && remote && sock_end(&s->remote, remote) && !hash_insert(s))
		sock_settle(s, REASON_BUSY);
	if (conf.path == OPTIONS_PATH_KERNEL)
		sock_settle(s, REASON_OPTION_PATH);
}

void sock_dup(struct sock *s, int fd)
{
	if ((unsigned)fd >= SOCK_TABLE) {
		/* a number that we cannot follow */
		direct_hold_end(s);
		if (s->row)
			sock_settle(s, REASON_PASSED);
		else
			SHM_WRITE(s->fresh, 0);
		return;
	}
	if (sock_of(fd) == s)
		return;
	if (sock_of(fd))
		sock_close(fd);
	SHM_ADD(s->numbers, 1);
	table_set(fd, s);
}

void sock_settle(struct sock *s, enum reason reason)
{
	SHM_WRITE(s->pinned, true);
	if (direct_relayed(s))
		return;
	if (SHM_READ(s->stage) == SOCK_DIRECT) {
		direct_soil(s);
		return; /* there is no other path for it */
	}
	if (s->conn) {
		SHM_WRITE(s->row->reason, (uint16_t)reason);
		span_lower(s, reason);
		return;
	}
	SHM_WRITE(s->stage, SOCK_SETTLED);
	SHM_WRITE(s->row->reason, (uint16_t)reason);
	atomic_fetch_or(&s->row->flags, STATS_SETTLED);
}

void sock_get(struct sock *s)
{
	atomic_fetch_add_explicit(&s->users, 1, memory_order_acquire);
}

static bool zombies_grow(void)
{
	uint32_t max = pool.zombie_max ? 2 * pool.zombie_max : ZOMBIES_FIRST;
	struct zombie *z = max <= POOL_MAX ? map_anonymous(max * sizeof(*z)) : NULL;

	if (!z)
		return false;
	if (pool.zombie) {
		memcpy(z, pool.zombie, pool.zombies * sizeof(*z));
		sys(SYS_munmap, pool.zombie, pool.zombie_max * sizeof(*z));
	}
	pool.zombie = z;
	pool.zombie_max = max;
	return true;
}

/* Under the pool's lock. */
static void zombie_add(struct sock *s)
{
	struct zombie *z;

	if (pool.zombies == pool.zombie_max && !zombies_grow()) {
		shm_peer_put(
			s->peer); /* the block is lost to us, which is better than given to two */
		return;
	}
	z = &pool.zombie[pool.zombies];
	SHM_WRITE(pool.zombies, pool.zombies + 1);
	*z = (struct zombie){ .conn = s->conn,
			      .peer_ctl = s->view.ctl,
			      .peer_cookie = s->peer_cookie,
			      .peer = s->peer,
			      .rings = true };
}

/* Whether the peer will never look at our block again. */
static bool zombie_left(const struct zombie *z)
{
	return SHM_READ(z->peer->gone) ||
	       atomic_load_explicit(&z->peer_ctl->state, memory_order_acquire) !=
		       SHM_CONN_ATTACHED ||
	       z->peer_ctl->cookie != z->peer_cookie;
}

void sock_reap(void)
{
	uint64_t mask;
	uint32_t tid;

	if (likely(!SHM_READ(pool.zombies)))
		return;
	mask = thread_signals_block();
	if (!pool_enter()) {
		thread_signals_restore(mask);
		return;
	}
	tid = thread_tid();
	for (uint32_t n = 0; n < REAP_AT_ONCE && pool.zombies; n++) {
		uint32_t i = pool.reap_next++ % pool.zombies;
		struct zombie *z = &pool.zombie[i];
		struct shm_arena *arena = &shm_self.arena[shm_self_arena_of(z->conn)];
		bool left = zombie_left(z);

		if (z->rings &&
		    (left || atomic_load(&z->peer_ctl->head) == atomic_load(&z->conn->ctl.tail))) {
			shm_ring_close(arena, z->conn, tid);
			z->rings = false;
		}
		if (left) {
			shm_arena_conn_free(arena, z->conn, tid);
			shm_peer_put(z->peer);
			SHM_WRITE(pool.zombies, pool.zombies - 1);
			*z = pool.zombie[pool.zombies];
		}
	}
	pool_leave(true);
	thread_signals_restore(mask);
}

/* Under the pool's lock; with signals blocked where the connection was offered or attached. */
static void pool_release(struct sock *s)
{
	if (s->hashed)
		hash_remove(s);
	if (s->conn) {
		if (s->last)
			zombie_add(s);
		else
			shm_peer_put(s->peer);
		sock_detach(s);
	} else if (s->own) {
		shm_arena_conn_free(&shm_self.arena[shm_self_arena_of(s->own)], s->own,
				    thread_tid());
	}
	s->own = NULL;
	if (s->row && s->last)
		atomic_store(&s->row->refs, 0);
	SHM_WRITE(s->row, NULL);
	s->next = pool.free;
	pool.free = s;
}

static void sock_free(struct sock *s)
{
	bool taken = pool_enter();
	struct sock *first;

	if (likely(taken)) {
		pool_release(s);
		pool_leave(true);
		return;
	}
	first = atomic_load(&pool.late);
	do
		s->late = first;
	while (!atomic_compare_exchange_weak(&pool.late, &first, s));
}

/* One holder fewer, unless this is the last: it keeps the row until it is done. Return: whether it is. */
static bool row_leave(struct stats_row *row)
{
	uint32_t refs = row ? atomic_load(&row->refs) : 1;

	while (refs > 1 && !atomic_compare_exchange_weak(&row->refs, &refs, refs - 1))
		;
	return refs <= 1;
}

/*
 * Whether the connection has never left the kernel, nor tried to, or was never there: then all that its end touches may
 * be interrupted by a handler (of the stack's it is done inside its lock), and no system call is spent on signals.
 */
static inline __attribute__((always_inline)) bool sock_is_plain(const struct sock *s)
{
	unsigned stage = SHM_READ(s->stage);

	return !sock_conn(s) && !SHM_READ(s->own) &&
	       (stage == SOCK_NEW || stage == SOCK_SETTLED || stage == SOCK_DIRECT);
}

/* Nobody is inside any more: the connection ends as the kernel would end it. @known: it may have a peer. */
static void sock_finish(struct sock *s, bool known)
{
	int kept = s->fd;

	s->last = row_leave(s->row);
	if (s->row && s->last) {
		tap_fin(s);
		explain_closed(s);
		if (s->conn)
			span_close(s);
	}
	if (unlikely(s->direct))
		direct_end(s);
	direct_hold_end(s);
	if (s->found_at)
		shm_chan_unlisten(s->found_at);
	sock_free(s);
	if (SHM_READ(pool.zombies) || known)
		lift_service(); /* which peers have died since */
	if (unlikely(shm_fd_hidden(kept)))
		shm_fd_close(kept);
}

static void sock_finish_if_last(struct sock *s)
{
	bool ended = false, plain;
	uint64_t mask = 0;

	if (atomic_load(&s->users) != SOCK_DEAD || atomic_load(&s->tx_busy) ||
	    atomic_load(&s->rx_busy) || !atomic_compare_exchange_strong(&s->ended, &ended, true))
		return;
	plain = sock_is_plain(s);
	if (!plain)
		mask = thread_signals_block();
	sock_finish(s, !plain);
	if (!plain)
		thread_signals_restore(mask);
}

void sock_leave(struct sock *s, _Atomic uint32_t *word)
{
	if ((atomic_fetch_sub(word, 1) & ~(uint32_t)SOCK_DEAD) == 1)
		sock_finish_if_last(s);
}

void sock_put(struct sock *s)
{
	sock_leave(s, &s->users);
}

/* Whoever came in by a descriptor that is now gone from the table has left, or is counted. */
static void short_ways_end(struct sock *s)
{
	uint32_t tid = thread_tid();
	struct shm_conn *c;

	atomic_thread_fence(memory_order_seq_cst); /* pairs with hold_begin() */
	c = sock_conn(s);
	if (!c)
		return;
	shm_seat_give(&c->tx.seat, shm_seat_take(&c->tx.seat, tid));
	shm_seat_give(&c->rx.seat, shm_seat_take(&c->rx.seat, tid));
}

/*
 * The last number in this process is gone. Threads that are inside go on, as they do in the kernel: the
 * description stays open under a number of ours until they leave.
 */
static void sock_end_here(struct sock *s)
{
	short_ways_end(s);
	ep_forget(s);
	sock_get(s);
	if (atomic_fetch_or(&s->users, SOCK_DEAD) > 1 || atomic_load(&s->tx_busy) ||
	    atomic_load(&s->rx_busy)) {
		int kept = shm_fd_hide((int)sys(SYS_fcntl, s->fd, F_DUPFD_CLOEXEC, 0));

		if (kept >= 0)
			SHM_WRITE(s->fd, kept);
	}
	sock_put(s);
	sock_reap();
}

void sock_close(int fd)
{
	struct sock *s = sock_of(fd);

	if (!s)
		return;
	atomic_store_explicit(&sock_table[fd], NULL, memory_order_release);
	if (SHM_SUB(s->numbers, 1) == 0) {
		bool plain = sock_is_plain(s);
		uint64_t mask = plain ? 0 : thread_signals_block();

		sock_end_here(s);
		if (!plain)
			thread_signals_restore(mask);
	} else if (sock_fd(s) == fd) {
		for (int other = 0; other <= sock_highest(); other++) {
			if (sock_of(other) == s) {
				struct stats_row *row = sock_row(s);

				SHM_WRITE(s->fd, other);
				if (row)
					SHM_WRITE(row->fd, other);
				break;
			}
		}
	}
}

static void forked_one(struct sock *s)
{
	/* the other threads stayed in the parent */
	atomic_store(&s->users, 0);
	atomic_store(&s->tx_busy, 0);
	atomic_store(&s->rx_busy, 0);
	s->found_at = 0;
	if (s->direct) {
		ep_direct_forked(s);
		direct_forked(s);
	}
	/* what was under way is the parent's business */
	if (s->stage > SOCK_NEW && s->stage < SOCK_ATTACHED) {
		SHM_WRITE(s->stage, SOCK_NEW);
		s->own = NULL;
		s->peer = NULL;
		s->attested = false;
		s->chan = 0;
	}
}

static void share_one(struct sock *s, void *arg)
{
	atomic_fetch_add(&s->row->refs, *(int *)arg);
	sock_stir(s); /* O_NONBLOCK is no longer ours alone to change */
}

static _Atomic bool has_forked;

bool sock_has_forked(void)
{
	return atomic_load_explicit(&has_forked, memory_order_relaxed);
}

void sock_share(int sign)
{
	atomic_store(&has_forked, true);
	for (uint32_t i = 0; i < SHM_FOLLOW(pool.used); i++) {
		struct sock *s = sock_of_index(i);

		if (!s->direct &&
		    !s->row) /* the other may bind it, or set what this one connects with */
			SHM_WRITE(s->fresh, 0);
	}
	sock_each(share_one, &sign);
}

void sock_fork_lock(bool lock)
{
	static bool taken;

	if (lock)
		taken = shm_lock(&pool.lock, thread_tid());
	else
		shm_unlock(&pool.lock, taken);
}

void sock_forked(void)
{
	/* a new process publishes its own table; inherited rows stay where they are */
	atomic_store(&pool.lock, 0);
	pool.stats = NULL;
	pool.stats_failed = false;
	tap_forked();
	atomic_store(&pool.late, NULL);
	pool.zombies = 0; /* the parent's to give back */
	for (uint32_t i = 0; i < pool.used; i++) {
		struct sock *s = sock_of_index(i);

		if (s->numbers && (s->row || s->direct))
			forked_one(s);
	}
}
