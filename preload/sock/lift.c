/* lift.c - finding the other end and agreeing with its process
 *
 * The connecting end offers, the accepting end answers; each asks the kernel who holds the other end before
 * it believes the other (DESIGN: both ends verified). An accepted connection makes its process findable
 * under its local port. Between the ends of one process nothing needs to be sent. Where the two cannot find
 * each other like that but the selector attests them, both ask ztcpd first (agent.h) and go on over its channel.
 *
 *   connecting: NEW -> (CLAIMED ->) FINDING -> OFFERED -> (ACCEPTED ->) ATTACHED | SETTLED
 *   accepting:  NEW -> (CLAIMED ->) WAITING -> (ASKED ->) ATTACHED | SETTLED
 */
#include "preload/sock/lift.h"

#include "preload/sock/agent.h"
#include "preload/sock/conf.h"
#include "preload/sock/diag.h"
#include "preload/sock/ep.h"
#include "preload/sock/patience.h"
#include "preload/sock/span.h"
#include "preload/sock/thread.h"
#include "shm/shm_user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

enum {
	LIFT_CALLS = 8,  /* see docs/performance.md for how this was chosen */
	LIFT_RANKS = 16, /* names tried under one port */
	LIFT_UNSEEN_TRIES = 32,
	LIFT_BUDGET = 64, /* messages answered in one call */
};

static _Atomic uint32_t lift_lock;

uint32_t lift_threshold(void)
{
	return conf.lift >= 0 ? (uint32_t)conf.lift : LIFT_CALLS;
}

uint32_t lift_first_look(void)
{
	const int least[2] = { conf.policy ? policy_threshold_min(conf.policy) : -1,
			       agent_threshold_min() };
	uint32_t look = lift_threshold();

	for (unsigned i = 0; i < 2; i++) {
		if (least[i] >= 0 && (uint32_t)least[i] < look)
			look = (uint32_t)least[i];
	}
	return look;
}

static enum reason reason_of_errno(int err)
{
	switch (err) {
	case -EMFILE:
	case -ENFILE: return REASON_NO_EVENTFD;
	case -ENOMEM:
	case -EFBIG: return REASON_NO_MEMFD;
	default: return REASON_NO_MEMFD;
	}
}

static bool is_loopback(const struct shm_end *end)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
	static const uint8_t one[16] = { [15] = 1 };

	if (memcmp(end->addr, v4, 12) == 0)
		return end->addr[12] == 127;
	return memcmp(end->addr, one, 16) == 0;
}

/* Whether the other end lies on this host, in this network namespace. */
static bool is_here(const struct shm_end *local, const struct shm_end *remote)
{
	struct diag_owner owner;

	return is_loopback(remote) || memcmp(local->addr, remote->addr, 16) == 0 ||
	       diag_owner(remote, local, &owner) == 0;
}

static enum reason judged(unsigned verdict, unsigned paths, int threshold, uint32_t *calls)
{
	if (threshold >= 0)
		*calls = (uint32_t)threshold;
	else if (verdict == POLICY_DIRECT)
		*calls = 0; /* as soon as it can be had */
	return (verdict == POLICY_LIFT || verdict == POLICY_DIRECT) && paths & POLICY_PATH_SHM
		       ? REASON_NONE
		       : REASON_POLICY;
}

/* By this process's own copy of the rules. */
static enum reason judge(const struct sock *s, const struct shm_end *local,
			 const struct shm_end *remote, uint32_t *calls)
{
	struct policy_conn pc = {
		.proc = &conf.self.proc,
		.role = s->row->role == STATS_CONNECT ? POLICY_ROLE_CONNECT : POLICY_ROLE_LISTEN,
	};
	const struct shm_end *end[2] = { local, remote };
	struct policy_addr *addr[2] = { &pc.local, &pc.remote };
	struct policy_answer a;

	if (!conf.policy)
		return REASON_NONE;
	for (unsigned i = 0; i < 2; i++) {
		static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
		bool four = memcmp(end[i]->addr, v4, 12) == 0;

		addr[i]->family = four ? 4 : 6;
		addr[i]->port = ntohs(end[i]->port);
		memcpy(addr[i]->ip, end[i]->addr + (four ? 12 : 0), four ? 4 : 16);
	}
	a = policy_match(conf.policy, &conf.cls, &pc);
	return judged(a.verdict, a.paths, a.threshold, calls);
}

static uint32_t conn_number(const struct shm_conn *c)
{
	const char *base = (const char *)shm_self.arena[shm_self_arena_of(c)].head;

	return (uint32_t)(((const char *)c - base) / SHM_CONN_UNIT);
}

/* Both ends read each other from now on. Nobody may be inside a kernel receive: it would sleep there. */
static bool attach(struct sock *s, struct shm_conn *c, struct shm_peer *peer,
		   const struct shm_ctl *ctl, uint64_t cookie)
{
	struct stats_row *row = s->row;

	atomic_fetch_or(&row->flags, STATS_ATTACHED);
	atomic_thread_fence(
		memory_order_seq_cst); /* pairs with the counting in io_kernel_enter() */
	if (atomic_load(&s->rx_busy)) {
		atomic_fetch_and(&row->flags, ~(uint32_t)STATS_ATTACHED);
		return false;
	}
	SHM_PUBLISH(s->view.ctl, ctl);
	s->view.base = (const char *)peer->head;
	s->view.bytes = peer->bytes;
	s->peer = peer;
	s->peer_cookie = cookie;
	s->full_since = 0;
	s->tail_checked = 0;
	SHM_WRITE(s->own, NULL);
	shm_peer_get(peer);
	SHM_WRITE(row->conn, conn_number(c));
	SHM_WRITE(row->pid, shm_self.arena[shm_self_arena_of(c)].head->pid);
	s->pulse = &peer->head->pulse;
	SHM_WRITE(s->gen, atomic_load(&s->pulse->close_gen) - 1);
	SHM_WRITE(s->stage, SOCK_ATTACHED);
	SHM_WRITE(row->reason, REASON_WARMING); /* no longer for want of a peer */
	atomic_store_explicit(&c->ctl.state, SHM_CONN_ATTACHED, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	SHM_PUBLISH(s->hot, c);
	SHM_PUBLISH(s->conn, c);
	ep_attached(s);
	return true;
}

/* In the arena that @peer reads. */
static struct shm_conn *conn_make(struct sock *s, const struct shm_peer *peer)
{
	struct shm_conn *c = shm_arena_conn_alloc(&shm_self.arena[peer->arena], thread_tid());

	if (!c)
		return NULL;
	c->ctl.cookie = s->row->cookie = diag_cookie(sock_fd(s));
	atomic_store(&c->ctl.state, SHM_CONN_OFFERED);
	return c;
}

/* A block in an arena that @peer does not read is of no use. */
static bool own_make(struct sock *s, const struct shm_peer *peer)
{
	struct shm_arena *of = s->own ? &shm_self.arena[shm_self_arena_of(s->own)] : NULL;

	if (of && of != &shm_self.arena[peer->arena]) {
		shm_arena_conn_free(of, s->own, thread_tid());
		SHM_WRITE(s->own, NULL);
	}
	if (!s->own)
		SHM_WRITE(s->own, conn_make(s, peer));
	return s->own;
}

static bool may_attach(struct sock *s)
{
	return s->row && s->stage < SOCK_ATTACHED && !SHM_READ(s->pinned) &&
	       atomic_load(&s->row->refs) == 1;
}

/* What speaks against lifting this end now; a final reason also settles it. */
static enum reason check_end(struct sock *s)
{
	enum reason reason;
	bool passed;

	if (atomic_load(&s->row->refs) != 1)
		return REASON_SHARED;
	if (atomic_load(&s->tx_busy) || atomic_load(&s->rx_busy))
		return REASON_BUSY;
	/* a process that shared it has let others have it, and is gone */
	passed = atomic_load(&s->row->flags) & STATS_SETTLED;
	reason = passed ? REASON_PASSED : diag_guard(s);
	/* counters are read while bytes may arrive: one disagreement is no proof */
	if (reason == REASON_UNSEEN && ++s->unseen < LIFT_UNSEEN_TRIES)
		return REASON_BUSY;
	if (reason != REASON_NONE)
		sock_settle(s, reason);
	return reason;
}

/* ---- both ends in this process ---- */

/* @a joins now, in a call of its own; @b in its next one: it may sleep in the kernel at this moment. */
static bool attach_pair(struct sock *a, struct sock *b)
{
	struct shm_peer *self = shm_peer_self();

	if (check_end(a) != REASON_NONE)
		return false;
	if (!own_make(a, self) || !own_make(b, self)) {
		sock_settle(a, REASON_NO_MEMORY);
		return false;
	}
	a->twin = sock_index(b);
	b->twin = sock_index(a);
	b->peer = self;
	b->theirs = conn_number(a->own);
	b->peer_cookie = a->own->ctl.cookie;
	if (!attach(a, a->own, self, &b->own->ctl, b->own->ctl.cookie))
		return false;
	SHM_WRITE(b->stage, SOCK_ACCEPTED);
	b->next_try = 0;
	return true;
}

/* ---- the connecting end ---- */

static void offer(struct sock *s, struct shm_peer *peer)
{
	struct shm_msg msg = { .type = SHM_MSG_OFFER };
	enum reason reason;

	if (!SHM_FOLLOW(peer->head)) { /* its HELLO is on the way */
		again_after(s, 1);
		return;
	}
	reason = check_end(s);
	if (reason != REASON_NONE) {
		if (reason == REASON_BUSY)
			again_after(s, 1);
		else
			again_doubled(s);
		return;
	}
	if (s->attested) {
		msg.to = s->to;
	} else if (diag_ends(sock_fd(s), &msg.local, &msg.remote) < 0) {
		sock_settle(s, REASON_CLOSED_EARLY);
		return;
	}
	if (!own_make(s, peer)) {
		sock_settle(s, REASON_NO_MEMORY);
		return;
	}
	s->offer++;
	msg.offer = sock_index(s) << 8 | s->offer;
	msg.conn = conn_number(s->own);
	msg.cookie = s->own->ctl.cookie;
	if (shm_chan_send(peer, &msg, -1) < 0) {
		again_doubled(s);
		return;
	}
	s->peer = peer;
	SHM_WRITE(s->stage, SOCK_OFFERED);
	again_after(s, 1);
}

/* Another time that the peer was not found, or turned away what was offered. */
static bool tried_too_often(struct sock *s)
{
	SHM_WRITE(s->tries, s->tries + 1);
	return s->tries > PATIENCE_TRIES;
}

static void find(struct sock *s)
{
	struct shm_end local, remote;
	enum reason reason;
	struct shm_peer *peer;
	bool often;
	int err;

	if (diag_ends(sock_fd(s), &local, &remote) < 0) {
		sock_settle(s, REASON_CLOSED_EARLY);
		return;
	}
	err = shm_chan_find(ntohs(remote.port), s->rank, &peer);
	if (err == 0) {
		offer(s, peer);
		return;
	}
	if (err == -EPERM && s->rank < LIFT_RANKS) { /* another user's: ours may sit behind */
		SHM_WRITE(s->rank, s->rank + 1);
		s->foreign = true;
		again_after(s, 1);
		return;
	}
	if (err == -ENOENT && !s->rank) {
		SHM_WRITE(s->remote.port, remote.port);
		patience_port(remote.port);
	}
	SHM_WRITE(s->rank, 0);
	reason = s->foreign       ? REASON_PEER_USER
		 : err == -ENOENT ? REASON_PEER_PLAIN
				  : REASON_NO_CHANNEL;
	SHM_WRITE(s->row->reason, reason);
	often = tried_too_often(s);
	if (err == -ENOENT ? patience_is_over(s) : often)
		sock_settle(s, reason);
	else
		again_doubled(s);
}

/* ---- either end, when ztcpd has to introduce them ---- */

static void claim(struct sock *s)
{
	if (agent_claim(s) == 0) {
		SHM_WRITE(s->row->reason, REASON_INTRODUCING);
		again_after(s, 1);
	} else {
		SHM_WRITE(s->row->reason, REASON_NO_DAEMON); /* it may come back */
		again_doubled(s);
	}
}

static void find_introduced(struct sock *s)
{
	struct shm_peer *peer = shm_chan_adopted(s->chan);

	if (peer)
		offer(s, peer);
	else
		claim(s);
}

static void on_introduced(struct sock *s, enum reason reason)
{
	if (reason == REASON_NONE) {
		SHM_WRITE(s->row->reason, REASON_WARMING);
		patience_begin(s, s->row->role == STATS_ACCEPT ? SOCK_WAITING : SOCK_FINDING);
		if (s->stage == SOCK_FINDING)
			find_introduced(s);
		else
			again_after(s, 1);
	} else if (reason == REASON_PEER_PLAIN || tried_too_often(s)) {
		sock_settle(s, reason);
	} else {
		SHM_WRITE(s->row->reason, (uint16_t)reason);
		agent_let_go(s);
		again_doubled(s);
	}
}

static void introductions(void)
{
	enum reason reason;
	struct sock *s;

	while ((s = agent_next(&reason))) {
		on_introduced(s, reason);
		sock_put(s);
	}
}

/* ---- first step of either end ---- */

static enum reason prepare(struct sock *s, struct shm_end *local, struct shm_end *remote)
{
	uint32_t calls = lift_threshold();
	struct verdict_answer v;
	enum reason reason;
	bool asked;
	int err;

	if (diag_ends(sock_fd(s), local, remote) < 0)
		return REASON_CLOSED_EARLY;
	asked = agent_verdict(sock_fd(s), s->row->role == STATS_ACCEPT, &v);
	if (asked && v.flags & VERDICT_PENDING) {
		SHM_WRITE(s->row->reason, REASON_UNJUDGED);
		again_doubled(s);
		return REASON_WARMING;
	}
	if (SHM_READ(s->row->reason) == REASON_UNJUDGED)
		SHM_WRITE(s->row->reason, REASON_WARMING);
	reason = asked ? judged(v.verdict, v.paths, v.threshold, &calls) : REASON_NONE;
	/* a file of the user's own may forbid more, but allows nothing */
	if (reason == REASON_NONE && !asked && conf.off)
		reason = REASON_POLICY; /* the selector that let us follow it has gone */
	if (reason == REASON_NONE && (!asked || conf.policy_own))
		reason = judge(s, local, remote, &calls);
	if (reason != REASON_NONE)
		return reason;
	if (s->row->ops < calls) {
		again_after(s, calls - s->row->ops);
		return REASON_WARMING;
	}
	SHM_WRITE(s->attested,
		  asked && v.flags & VERDICT_ATTESTED && agent_needed(&v, local, remote));
	if (!s->attested && !is_here(local, remote))
		return asked && v.flags & VERDICT_OLDER ? agent_older(s)
		       : s->why                         ? (enum reason)s->why
							: REASON_PEER_REMOTE;
	err = shm_self_open();
	if (err)
		return err == -EPERM || err == -ENOSYS ? REASON_NO_MEMBARRIER
						       : reason_of_errno(err);
	if (!thread_waker())
		return REASON_NO_EVENTFD;
	return REASON_NONE;
}

static void begin(struct sock *s)
{
	struct shm_end local, remote;
	enum reason reason = prepare(s, &local, &remote);
	struct sock *other;

	if (reason == REASON_WARMING)
		return;
	if (reason != REASON_NONE) {
		sock_settle(s, reason);
		return;
	}
	if (s->attested) {
		claim(s);
		return;
	}
	if (s->row->role == STATS_ACCEPT) {
		if (shm_chan_listen(ntohs(local.port)) < 0) {
			sock_settle(s, REASON_NO_CHANNEL);
			return;
		}
		s->found_at = ntohs(local.port);
		patience_begin(s, SOCK_WAITING);
		SHM_WRITE(s->row->reason, REASON_PEER_QUIET);
		again_after(s, 1);
		return;
	}
	other = sock_find(&local, remote.port);
	if (other) {
		if (!may_attach(other) || !attach_pair(s, other))
			again_after(s, 1 + s->row->ops / 4);
		sock_put(other);
		return;
	}
	patience_begin(s, SOCK_FINDING);
	find(s);
}

static void answer(struct sock *s);
static void attach_accepted(struct sock *s);
static void service(void);

static void step(struct sock *s)
{
	if (atomic_load(&s->row->refs) != 1) {
		SHM_WRITE(s->row->reason, REASON_SHARED);
		again_doubled(s);
		return;
	}
	if (SHM_READ(s->row->reason) == REASON_SHARED)
		SHM_WRITE(s->row->reason, REASON_WARMING);
	switch ((enum sock_stage)s->stage) {
	case SOCK_NEW: begin(s); break;
	case SOCK_WAITING:
		service();
		if (s->stage != SOCK_WAITING)
			break;
		if (patience_is_over(s))
			sock_settle(s, REASON_PEER_PLAIN);
		else if (s->attested && !shm_chan_adopted(s->chan))
			claim(s);
		else
			again_after(s, patience_calls(s));
		break;
	case SOCK_FINDING:
		service(); /* a HELLO, perhaps */
		if (s->attested)
			find_introduced(s);
		else
			find(s);
		break;
	case SOCK_CLAIMED:
		service();
		if (s->stage != SOCK_CLAIMED)
			break;
		if (agent_lost(s))
			claim(s);
		else
			again_after(s, patience_calls(s));
		break;
	case SOCK_OFFERED:
		service();
		if (s->stage != SOCK_OFFERED)
			break;
		if (SHM_READ(s->peer->gone)) {
			s->peer = NULL;
			SHM_WRITE(s->stage, SOCK_FINDING);
		}
		again_after(s, s->row->ops < PATIENCE_CALLS ? 1 : PATIENCE_CALLS / 4);
		break;
	case SOCK_ASKED: answer(s); break;
	case SOCK_ACCEPTED: attach_accepted(s); break;
	case SOCK_ATTACHED:
	case SOCK_DIRECT:
	case SOCK_SETTLED: break;
	}
}

void lift_step(struct sock *s)
{
	uint32_t tid = thread_tid();
	uint32_t free = 0;
	uint64_t mask;

	if (patience_skip(s))
		return;
	if (!atomic_compare_exchange_strong(&lift_lock, &free, tid))
		return; /* another thread, or the one that we interrupt, is at it */
	mask = thread_signals_block();
	if (SHM_READ(s->stage) != SOCK_ATTACHED && SHM_READ(s->stage) != SOCK_SETTLED)
		step(s);
	atomic_store(&lift_lock, 0);
	thread_signals_restore(mask);
}

/* ---- messages ---- */

static void refuse(struct shm_peer *from, uint32_t offer_number, enum reason reason)
{
	struct shm_msg msg = { .type = SHM_MSG_REFUSE, .offer = offer_number, .reason = reason };

	shm_chan_send(from, &msg, -1);
}

/* Whether the kernel agrees that the socket behind @end belongs to this user and has this cookie. */
static enum reason verify(const struct shm_end *end, const struct shm_end *peer_of_end,
			  uint64_t cookie)
{
	struct diag_owner owner;
	int err = diag_owner(end, peer_of_end, &owner);

	if (err)
		return err == -ENOENT ? REASON_UNVERIFIED : REASON_NO_DIAG;
	if (!shm_user_is_own(owner.uid))
		return REASON_PEER_USER;
	return owner.cookie == cookie ? REASON_NONE : REASON_UNVERIFIED;
}

/* An offer was made for this end and verified: join, when no thread is inside the socket. */
static void answer(struct sock *s)
{
	const struct shm_ctl *theirs = shm_peer_ctl(s->peer, s->theirs);
	struct shm_msg ans = { .type = SHM_MSG_ACCEPT, .offer = s->asked };
	struct shm_peer *from = s->peer;
	enum reason reason = theirs && !SHM_READ(from->gone) ? check_end(s) : REASON_CLOSED_EARLY;

	if (reason == REASON_NONE && own_make(s, from)) {
		ans.conn = conn_number(s->own);
		ans.cookie = s->own->ctl.cookie;
		if (!attach(s, s->own, from, theirs, s->peer_cookie))
			reason = REASON_BUSY;
	}
	if (reason == REASON_BUSY) {
		s->next_try = 0; /* in the next call on it */
		return;
	}
	if (!s->conn) {
		refuse(from, s->asked, reason ? reason : REASON_NO_MEMORY);
		s->peer = NULL;
		if (s->stage == SOCK_ASKED)
			SHM_WRITE(s->stage, SOCK_WAITING);
	} else if (shm_chan_send(from, &ans, -1) < 0) {
		sock_settle(
			s,
			REASON_NO_CHANNEL); /* attached to a block that will stay silent: harmless */
	}
}

/* Whether ztcpd named this channel for the sock, and the selector this cookie for its other end. */
static bool introduced(const struct sock *s, const struct shm_peer *peer, uint64_t cookie)
{
	return s->attested && s->stage != SOCK_CLAIMED && s->stage != SOCK_NEW &&
	       s->chan == peer->chan && s->peer_cookie == cookie;
}

static void on_offer(const struct shm_msg *m, struct shm_peer *from)
{
	struct sock *s = from->chan ? sock_at(m->to) : sock_find(&m->local, m->remote.port);
	enum reason reason = REASON_PEER_REFUSED;

	if (s && from->chan && !introduced(s, from, m->cookie)) {
		sock_put(s);
		s = NULL;
	}
	if (s)
		reason = s->stage == SOCK_SETTLED ? (enum reason)SHM_READ(s->row->reason)
			 : !may_attach(s)         ? REASON_PEER_SHARED
			 : s->attested            ? REASON_NONE
						  : verify(&m->local, &m->remote, m->cookie);
	if (reason == REASON_NONE) {
		s->peer = from;
		s->asked = m->offer;
		s->theirs = m->conn;
		s->peer_cookie = m->cookie;
		SHM_WRITE(s->stage, SOCK_ASKED);
		answer(s);
	} else {
		refuse(from, m->offer, reason);
	}
	if (s)
		sock_put(s);
}

/* The offer that a message answers; with sock_get(). */
static struct sock *offered(uint32_t number, const struct shm_peer *from)
{
	struct sock *s = sock_at(number >> 8);

	if (s && s->stage == SOCK_OFFERED && s->peer == from && s->offer == (number & 0xff))
		return s;
	if (s)
		sock_put(s);
	return NULL;
}

/* The peer has agreed; this end joins when no thread is inside the socket. */
static void attach_accepted(struct sock *s)
{
	const struct shm_ctl *theirs = shm_peer_ctl(s->peer, s->theirs);
	enum reason reason;

	if (!theirs || SHM_READ(s->peer->gone) || theirs->cookie != s->peer_cookie ||
	    atomic_load_explicit(&theirs->state, memory_order_acquire) != SHM_CONN_ATTACHED) {
		sock_settle(s, REASON_CLOSED_EARLY);
		return;
	}
	reason = check_end(s);
	if (reason != REASON_NONE && reason != REASON_BUSY)
		return; /* settled, or shared for ever */
	if (reason == REASON_BUSY || !attach(s, s->own, s->peer, theirs, s->peer_cookie))
		again_after(s, 1);
}

static void on_accept(const struct shm_msg *m, struct shm_peer *from)
{
	struct sock *s = offered(m->offer, from);
	struct shm_end local, remote;
	enum reason reason = REASON_CLOSED_EARLY;

	if (!s)
		return;
	if (s->attested)
		reason = introduced(s, from, m->cookie) ? REASON_NONE : REASON_UNVERIFIED;
	else if (diag_ends(sock_fd(s), &local, &remote) == 0)
		reason = verify(&remote, &local, m->cookie);
	if (reason != REASON_NONE) {
		sock_settle(s, reason);
	} else {
		s->theirs = m->conn;
		s->peer_cookie = m->cookie;
		SHM_WRITE(s->stage, SOCK_ACCEPTED);
		attach_accepted(s);
	}
	sock_put(s);
}

static void on_refuse(const struct shm_msg *m, struct shm_peer *from)
{
	struct sock *s = offered(m->offer, from);

	if (!s)
		return;
	s->peer = NULL;
	SHM_WRITE(s->stage, SOCK_FINDING);
	if (m->reason == REASON_PEER_REFUSED && !s->attested) {
		SHM_WRITE(s->rank, s->rank + 1); /* another process that serves the port, perhaps */
		again_after(s, 1);
	} else if (tried_too_often(s)) {
		sock_settle(s, m->reason < REASON_COUNT ? (enum reason)m->reason
							: REASON_PEER_REFUSED);
	} else {
		again_doubled(s);
	}
	sock_put(s);
}

/* Under lift_lock, signals blocked. */
static void service(void)
{
	struct shm_msg msg;
	struct shm_peer *from;
	unsigned budget = LIFT_BUDGET;

	for (; budget && shm_chan_poll(&msg, &from); budget--) {
		if (msg.type == SHM_MSG_OFFER)
			on_offer(&msg, from);
		else if (msg.type == SHM_MSG_ACCEPT)
			on_accept(&msg, from);
		else if (msg.type == SHM_MSG_WATCHED)
			introductions();
		else
			on_refuse(&msg, from);
	}
	patience_channels(budget == LIFT_BUDGET);
}

void lift_service(void)
{
	uint32_t free = 0;
	uint64_t mask;

	if (!atomic_compare_exchange_strong(&lift_lock, &free, thread_tid()))
		return;
	mask = thread_signals_block();
	service();
	atomic_store(&lift_lock, 0);
	thread_signals_restore(mask);
}

void lift_forked(void)
{
	atomic_store(&lift_lock, 0);
	agent_forked();
}
