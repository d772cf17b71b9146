/* pair_test.c - who is introduced to whom, and what each user may cost */
#include "daemon/ztcpd/pair.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "stack/base/base_reason.h"

/* The world: sockets 100..., of which 100 + 2n and 101 + 2n are the ends of one connection. */
enum { SOCKS = 20000, FIRST = 100, SENT = 64 };

static struct {
	struct pair_conn conn[SOCKS];
	uint64_t chan[SOCKS];
	struct {
		uint32_t session;
		struct agent_msg msg;
		int fd;
	} sent[SENT];
	unsigned count;
	int open; /* channel ends that are neither handed out nor closed */
	uint64_t next_chan;
	bool no_channel;
} world;

static int op_conn(void *arg, uint64_t cookie, struct pair_conn *conn)
{
	(void)arg;
	if (cookie < FIRST || cookie >= FIRST + SOCKS || !world.conn[cookie - FIRST].peer)
		return -ENOENT;
	*conn = world.conn[cookie - FIRST];
	return 0;
}

static int op_chan(void *arg, uint64_t cookie, uint64_t chan)
{
	(void)arg;
	if (cookie < FIRST || cookie >= FIRST + SOCKS)
		return -ENOENT;
	world.chan[cookie - FIRST] = chan;
	return 0;
}

static int op_channel(void *arg, int fd[2], uint64_t chan[2])
{
	(void)arg;
	if (world.no_channel)
		return -EMFILE;
	for (unsigned i = 0; i < 2; i++) {
		chan[i] = ++world.next_chan;
		fd[i] = 1000 + (int)chan[i];
		world.open++;
	}
	return 0;
}

static void op_close(void *arg, int fd)
{
	(void)arg;
	cr_assert_gt(fd, 1000);
	world.open--;
}

static int op_send(void *arg, uint32_t session, const struct agent_msg *msg, int fd)
{
	(void)arg;
	world.sent[world.count % SENT].session = session;
	world.sent[world.count % SENT].msg = *msg;
	world.sent[world.count % SENT].fd = fd;
	world.count++;
	return 0;
}

static const struct pair_ops ops = { op_conn, op_chan, op_channel, op_close, op_send };

static const struct pair_limits small = {
	.sessions = 8,
	.claims = 32,
	.channels = 8,
	.user_sessions = 4,
	.user_claims = 8,
	.user_channels = 3,
	.user_messages_per_s = 100,
	.claim_ms = 1000,
};

/* Socket @cookie is attested, and process @tgid has claimed it. */
static void sock(uint64_t cookie, uint32_t tgid, uint64_t secret, uint64_t netns)
{
	world.conn[cookie - FIRST] = (struct pair_conn){ .peer = ((cookie - FIRST) ^ 1) + FIRST,
							 .secret = secret,
							 .netns = netns,
							 .tgid = tgid,
							 .connected = !((cookie - FIRST) & 1) };
}

static int claim_as(struct pair *p, int session, struct agent_msg m, uint64_t now)
{
	m.type = AGENT_MSG_CLAIM;
	m.version = AGENT_VERSION;
	return pair_message(p, (uint32_t)session, &m, sizeof(m), now);
}

static void claim(struct pair *p, int session, uint64_t cookie, uint64_t secret, uint32_t number)
{
	cr_assert_eq(claim_as(p, session,
			      (struct agent_msg){
				      .cookie = cookie, .secret = secret, .number = number },
			      0),
		     0);
}

static void expect_refused(unsigned at, int session, uint64_t cookie, enum reason reason)
{
	cr_assert_lt(at, world.count);
	cr_assert_eq(world.sent[at].session, (uint32_t)session);
	cr_assert_eq(world.sent[at].msg.type, AGENT_MSG_REFUSED);
	cr_assert_eq(world.sent[at].msg.cookie, cookie);
	cr_assert_eq(world.sent[at].msg.reason, reason, "%s",
		     reason_name(world.sent[at].msg.reason));
	cr_assert_eq(world.sent[at].fd, -1);
}

static struct pair *fresh(const struct pair_limits *limits)
{
	memset(&world, 0, sizeof(world));
	return pair_make(limits, &ops, NULL);
}

static void done(struct pair *p)
{
	cr_assert_eq(world.open, 0, "every end of a channel is closed here once it is handed out");
	pair_free(p);
}

Test(pair, both_ends_claimed__one_channel_for_two)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11), b = pair_open(p, 2000, 2000, 22);

	sock(100, 11, 7, 1);
	sock(101, 22, 8, 2);
	claim(p, a, 100, 7, 5);
	cr_assert_eq(world.count, 0u);
	claim(p, b, 101, 8, 6);
	cr_assert_eq(world.count, 2u);
	for (unsigned i = 0; i < 2; i++) {
		const struct agent_msg *m = &world.sent[i].msg;
		bool to_a = world.sent[i].session == (uint32_t)a;

		cr_assert_eq(m->type, AGENT_MSG_PAIRED);
		cr_assert_eq(m->cookie, to_a ? 100u : 101u);
		cr_assert_eq(m->number, to_a ? 5u : 6u);
		cr_assert_eq(m->peer, to_a ? 6u : 5u);
		cr_assert_eq(m->chan, world.chan[to_a ? 0 : 1]);
		cr_assert_eq((uint64_t)world.sent[i].fd, 1000 + m->chan);
		cr_assert_neq(m->domain, 0u, "they are strangers");
		cr_assert_eq(m->secret, 0u, "nobody is told a secret");
	}
	cr_assert_eq(pair_counts_get(p)->claims, 0u);
	/* the next connection of the two: the same channel, no descriptor */
	sock(102, 11, 7, 1);
	sock(103, 22, 8, 2);
	claim(p, b, 103, 8, 1);
	claim(p, a, 102, 7, 2);
	cr_assert_eq(world.count, 4u);
	cr_assert_eq(world.sent[2].fd, -1);
	cr_assert_eq(world.chan[2], world.chan[0]);
	cr_assert_eq(world.chan[3], world.chan[1]);
	cr_assert_eq(pair_counts_get(p)->channels_made, 1u);
	done(p);
}

Test(pair, same_user_and_namespace__same_domain)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11), b = pair_open(p, 1000, 1000, 22),
	    c = pair_open(p, 1000, 1000, 33);
	uint64_t other;

	sock(100, 11, 7, 1);
	sock(101, 22, 8, 1);
	claim(p, a, 100, 7, 5);
	claim(p, b, 101, 8, 6);
	cr_assert_eq(world.sent[0].msg.domain, 0u);
	cr_assert_eq(world.sent[1].msg.domain, 0u);
	/* the same user in another namespace is a stranger, always the same one */
	sock(102, 11, 7, 1);
	sock(103, 33, 9, 2);
	claim(p, c, 103, 9, 5);
	claim(p, a, 102, 7, 6);
	other = world.sent[2].msg.domain;
	cr_assert_neq(other, 0u);
	pair_close(p, (uint32_t)a);
	a = pair_open(p, 1000, 1000, 11);
	sock(104, 11, 7, 1);
	sock(105, 33, 9, 2);
	claim(p, c, 105, 9, 5);
	claim(p, a, 104, 7, 6);
	cr_assert_eq(world.sent[4].msg.domain, other);
	done(p);
}

Test(pair, forged__refused)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11), evil = pair_open(p, 666, 666, 66);

	sock(100, 11, 7, 1);
	sock(101, 22, 8, 2);
	claim(p, evil, 100, 7, 1); /* the right secret, another process */
	expect_refused(0, evil, 100, REASON_UNVERIFIED);
	claim(p, a, 100, 6, 1); /* the right process, another secret */
	expect_refused(1, a, 100, REASON_UNVERIFIED);
	claim(p, a, 100, 0, 1);
	expect_refused(2, a, 100, REASON_UNVERIFIED);
	claim(p, a, 101, 8, 1); /* its peer's socket */
	expect_refused(3, a, 101, REASON_UNVERIFIED);
	claim(p, a, 150, 8, 1); /* no such socket */
	expect_refused(4, a, 150, REASON_UNVERIFIED);
	cr_assert_eq(pair_counts_get(p)->claims, 0u);
	done(p);
}

Test(pair, claimed_anew_by_another__the_old_claim_is_void)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11), b = pair_open(p, 2000, 2000, 22);

	sock(100, 11, 7, 1);
	claim(p, a, 100, 7, 1);
	sock(100, 12, 9, 1); /* a child of it has the socket now */
	sock(101, 22, 8, 2);
	claim(p, b, 101, 8, 1);
	cr_assert_eq(world.count, 0u,
		     "the first is not handed a channel for a socket that it gave away");
	done(p);
}

Test(pair, pid_used_again__the_session_ended_with_its_process)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11), b = pair_open(p, 2000, 2000, 22);

	sock(100, 11, 7, 1);
	claim(p, a, 100, 7, 1);
	pair_close(p, (uint32_t)a);
	a = pair_open(p, 666, 666, 11); /* another user's process under the old number */
	sock(101, 22, 8, 2);
	claim(p, b, 101, 8, 1);
	cr_assert_eq(world.count, 0u);
	claim(p, a, 100, 5, 1);
	expect_refused(0, a, 100, REASON_UNVERIFIED);
	done(p);
}

Test(pair, closed_session__its_channel_is_not_named_again)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11), b = pair_open(p, 2000, 2000, 22);

	sock(100, 11, 7, 1);
	sock(101, 22, 8, 2);
	claim(p, a, 100, 7, 1);
	claim(p, b, 101, 8, 1);
	pair_close(p, (uint32_t)a);
	cr_assert_eq(pair_counts_get(p)->channels, 0u);
	a = pair_open(p, 1000, 1000, 11);
	claim(p, b, 101, 8, 1);
	claim(p, a, 100, 7, 1);
	cr_assert_eq(pair_counts_get(p)->channels_made, 2u);
	done(p);
}

Test(pair, channel_lost__a_fresh_one_unless_there_is_a_newer)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11), b = pair_open(p, 2000, 2000, 22);
	uint64_t lost;

	sock(100, 11, 7, 1);
	sock(101, 22, 8, 2);
	claim(p, a, 100, 7, 1);
	claim(p, b, 101, 8, 1);
	lost = world.chan[0];
	for (unsigned i = 0; i < 2; i++) {
		claim_as(p, a,
			 (struct agent_msg){
				 .cookie = 100, .secret = 7, .flags = AGENT_FRESH, .chan = lost },
			 0);
		claim(p, b, 101, 8, 1);
		cr_assert_neq(world.chan[0], lost);
	}
	cr_assert_eq(pair_counts_get(p)->channels_made, 2u, "the second time the newer one serves");
	done(p);
}

Test(pair, nobody_at_the_other_end__refused_in_time)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11);

	cr_assert_eq(pair_expire(p, 0), -1);
	sock(100, 11, 7, 1);
	claim(p, a, 100, 7, 1);
	cr_assert_eq(pair_expire(p, 400), 600);
	cr_assert_eq(world.count, 0u);
	cr_assert_eq(pair_expire(p, 1000), -1);
	expect_refused(0, a, 100, REASON_PEER_PLAIN);
	done(p);
}

Test(pair, nonsense__the_session_is_to_be_closed)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11);
	struct agent_msg m = { .type = AGENT_MSG_CLAIM, .version = AGENT_VERSION };

	cr_assert_eq(pair_message(p, (uint32_t)a, &m, sizeof(m) - 1, 0), -EPROTO);
	cr_assert_eq(pair_message(p, (uint32_t)a, &m, 0, 0), -EPROTO);
	cr_assert_eq(pair_message(p, (uint32_t)a, &m, 1 << 20, 0), -EPROTO);
	m.version++;
	cr_assert_eq(pair_message(p, (uint32_t)a, &m, sizeof(m), 0), -EPROTO);
	m.version--;
	m.type = AGENT_MSG_PAIRED;
	cr_assert_eq(pair_message(p, (uint32_t)a, &m, sizeof(m), 0), -EPROTO);
	m.type = AGENT_MSG_CLAIM;
	m.flags = 2;
	cr_assert_eq(pair_message(p, (uint32_t)a, &m, sizeof(m), 0), -EPROTO);
	cr_assert_eq(pair_counts_get(p)->nonsense, 6u);
	done(p);
}

Test(pair, many_claims__the_user_is_refused_and_others_are_served)
{
	struct pair *p = fresh(&small);
	int evil = pair_open(p, 666, 666, 66), a = pair_open(p, 1000, 1000, 11),
	    b = pair_open(p, 2000, 2000, 22);

	for (uint64_t c = 0; c < 10; c++) {
		sock(100 + 2 * c, 66, 3, 1);
		claim(p, evil, 100 + 2 * c, 3, 1);
	}
	cr_assert_eq(world.count, 2u);
	expect_refused(0, evil, 116, REASON_DAEMON_LIMIT);
	sock(200, 11, 7, 1);
	sock(201, 22, 8, 1);
	claim(p, a, 200, 7, 1);
	claim(p, b, 201, 8, 1);
	cr_assert_eq(world.sent[3].msg.type, AGENT_MSG_PAIRED);
	/* its connections end: there is room again */
	memset(&world.conn[0], 0, sizeof(world.conn[0]));
	claim(p, evil, 118, 3, 1);
	cr_assert_eq(world.count, 4u);
	done(p);
}

Test(pair, at_its_limit__a_claim_whose_other_end_waits_needs_no_room)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11), b = pair_open(p, 2000, 2000, 22);

	for (uint64_t c = 0; c < 8; c++) {
		sock(100 + 2 * c, 11, 3, 1);
		claim(p, a, 100 + 2 * c, 3, 1);
	}
	sock(200, 22, 8, 1);
	sock(201, 11, 7, 1);
	claim(p, b, 200, 8, 1);
	claim(p, a, 201, 7, 1);
	cr_assert_eq(world.count, 2u);
	cr_assert_eq(world.sent[0].msg.type, AGENT_MSG_PAIRED);
	cr_assert_eq(world.sent[1].msg.type, AGENT_MSG_PAIRED);
	done(p);
}

/* Session @from connects to a session of @to's, and both claim. Return: what both were told. */
static uint32_t meet(struct pair *p, int from, uint32_t from_pid, int to, uint32_t to_pid,
		     uint64_t cookie)
{
	unsigned at = world.count;

	sock(cookie, from_pid, 3, 1);
	sock(cookie + 1, to_pid, 7, 1);
	claim(p, to, cookie + 1, 7, 1);
	claim(p, from, cookie, 3, 1);
	cr_assert_eq(world.count, at + 2);
	cr_assert_eq(world.sent[at].msg.type, world.sent[at + 1].msg.type);
	if (world.sent[at].msg.type == AGENT_MSG_REFUSED)
		cr_assert_eq(world.sent[at].msg.reason, REASON_DAEMON_LIMIT);
	return world.sent[at].msg.type;
}

Test(pair, many_channels__who_connects_is_refused_and_others_are_served)
{
	struct pair *p = fresh(&small);
	int evil[4], a = pair_open(p, 1000, 1000, 11), b = pair_open(p, 2000, 2000, 22);

	for (uint32_t i = 0; i < 4; i++) {
		evil[i] = pair_open(p, 666, 666, 60 + i);
		cr_assert_geq(evil[i], 0);
		cr_assert_eq(meet(p, evil[i], 60 + i, a, 11, 100 + 2 * i),
			     i < 3 ? AGENT_MSG_PAIRED : AGENT_MSG_REFUSED);
	}
	/* it has used up nothing of the server's */
	cr_assert_eq(meet(p, b, 22, a, 11, 120), AGENT_MSG_PAIRED);
	cr_assert_eq(pair_open(p, 666, 666, 70), -EUSERS, "and it may have no more sessions");
	cr_assert_geq(pair_open(p, 1000, 1000, 70), 0);
	/* a session ends: there is room again */
	pair_close(p, (uint32_t)evil[0]);
	cr_assert_eq(meet(p, evil[3], 63, a, 11, 122), AGENT_MSG_PAIRED);
	done(p);
}

Test(pair, many_user_ids_of_one_person__count_together_and_share_no_memory)
{
	struct pair *p = pair_make(&small, &ops, NULL);
	int a = pair_open(p, 100001, 1000, 11), b = pair_open(p, 100002, 1000, 22);

	cr_assert_geq(pair_open(p, 100003, 1000, 33), 0);
	cr_assert_geq(pair_open(p, 1000, 1000, 44), 0);
	cr_assert_eq(pair_open(p, 100004, 1000, 55), -EUSERS);
	cr_assert_eq(pair_counts_get(p)->turned_away, 1u);
	cr_assert_geq(pair_open(p, 100001, 2000, 66), 0, "an id is not who it was counted to");
	sock(100, 11, 5, 1);
	sock(101, 22, 6, 1);
	claim(p, a, 100, 5, 1);
	claim(p, b, 101, 6, 2);
	cr_assert_eq(pair_counts_get(p)->paired, 1u);
	for (unsigned i = 0; i < world.count; i++)
		cr_assert_neq(world.sent[i].msg.domain, 0u, "two ids are strangers");
	pair_free(p);
}

Test(pair, no_descriptors__both_are_told)
{
	struct pair *p = fresh(&small);
	int a = pair_open(p, 1000, 1000, 11), b = pair_open(p, 2000, 2000, 22);

	world.no_channel = true;
	sock(100, 11, 7, 1);
	sock(101, 22, 8, 2);
	claim(p, a, 100, 7, 1);
	claim(p, b, 101, 8, 1);
	expect_refused(0, b, 101, REASON_NO_CHANNEL);
	expect_refused(1, a, 100, REASON_NO_CHANNEL);
	done(p);
}

Test(pair, many_messages__the_user_waits_in_all_its_sessions_and_others_do_not)
{
	struct pair *p = fresh(&small);
	int evil = pair_open(p, 666, 666, 66), also = pair_open(p, 666, 666, 67),
	    a = pair_open(p, 1000, 1000, 11);

	for (unsigned i = 0; i < 100; i++) {
		cr_assert_eq(pair_wait_ms(p, (uint32_t)evil, 5000), 0u, "%u", i);
		claim_as(p, evil, (struct agent_msg){ .cookie = 5, .secret = 1 }, 5000);
	}
	cr_assert_eq(pair_counts_get(p)->waits, 0u);
	cr_assert_eq(pair_wait_ms(p, (uint32_t)evil, 5000), 10u);
	cr_assert_eq(pair_counts_get(p)->waits, 1u);
	cr_assert_eq(pair_wait_ms(p, (uint32_t)also, 5005), 5u);
	cr_assert_eq(pair_wait_ms(p, (uint32_t)a, 5005), 0u);
	cr_assert_eq(pair_wait_ms(p, (uint32_t)evil, 5010), 0u);
	/* a new session does not help */
	claim_as(p, evil, (struct agent_msg){ .cookie = 5, .secret = 1 }, 5010);
	pair_close(p, (uint32_t)evil);
	evil = pair_open(p, 666, 666, 68);
	cr_assert_eq(pair_wait_ms(p, (uint32_t)evil, 5010), 10u);
	done(p);
}
