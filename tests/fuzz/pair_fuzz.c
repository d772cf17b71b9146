/* pair_fuzz.c - ztcpd's judgement under any messages of any sessions, in any order
 *
 * Input: steps of one byte and what it asks for. 0 opens a session, 1 closes one, 2 sends raw bytes, 3 a claim made of
 * small numbers (so that claims meet), 4 lets time pass, 5 changes the selector's record of a socket. Invariants: only
 * attested claims of the session's own process are paired, both ends are told of one channel, nothing leaks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ztcpd/pair.h"

enum { SESSIONS = 8, SOCKS = 16, FIRST = 1 };

struct end {
	uint32_t session;
	uint64_t cookie, chan;
};

static struct {
	struct pair_conn conn[SOCKS];
	uint64_t chan[SOCKS];
	uint64_t next_chan;
	uint32_t pid[SESSIONS];
	bool open[SESSIONS];
	int fds;
	struct end told; /* the first of a pair */
	bool half;
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
	struct pair_conn c;

	if (op_conn(arg, cookie, &c))
		return -ENOENT;
	world.chan[cookie - FIRST] = chan;
	return 0;
}

static int op_channel(void *arg, int fd[2], uint64_t chan[2])
{
	(void)arg;
	for (unsigned i = 0; i < 2; i++) {
		chan[i] = ++world.next_chan;
		fd[i] = (int)(chan[i] & 0xffff) + 10;
		world.fds++;
	}
	return 0;
}

static void op_close(void *arg, int fd)
{
	(void)arg;
	if (fd < 10 || --world.fds < 0)
		abort();
}

static void told(uint32_t session, const struct agent_msg *msg)
{
	const struct pair_conn *c = &world.conn[msg->cookie - FIRST];

	if (c->tgid != world.pid[session] || world.chan[msg->cookie - FIRST] != msg->chan)
		abort();
	if (world.half) {
		if (c->peer != world.told.cookie || msg->chan == world.told.chan)
			abort();
	} else {
		world.told = (struct end){ session, msg->cookie, msg->chan };
	}
	world.half = !world.half;
}

static int op_send(void *arg, uint32_t session, const struct agent_msg *msg, int fd)
{
	(void)arg;
	if (session >= SESSIONS || !world.open[session] || msg->secret)
		abort();
	if (msg->type == AGENT_MSG_PAIRED)
		told(session, msg);
	else if (msg->type != AGENT_MSG_REFUSED || fd >= 0 || !msg->reason)
		abort();
	return 0;
}

static uint8_t take(const uint8_t **p, const uint8_t *end)
{
	return *p < end ? *(*p)++ : 0;
}

static int session_any(uint8_t b)
{
	return world.open[b % SESSIONS] ? b % SESSIONS : -1;
}

static void session_end(struct pair *p, int s)
{
	pair_close(p, (uint32_t)s);
	world.open[s] = false;
}

static void send_to(struct pair *p, int s, const void *msg, size_t len, uint64_t now)
{
	if (s < 0 || pair_wait_ms(p, (uint32_t)s, now))
		return;
	if (pair_message(p, (uint32_t)s, msg, len, now))
		session_end(p, s);
}

static void open_any(struct pair *p, uint8_t b)
{
	int s = pair_open(p, b % 3, b % 2, b % 4);

	if (s < 0)
		return;
	if (s >= SESSIONS || world.open[s])
		abort();
	world.open[s] = true;
	world.pid[s] = b % 4;
}

static void record_change(uint8_t which, uint8_t what)
{
	struct pair_conn *c = &world.conn[which % SOCKS];

	*c = (struct pair_conn){
		.peer = what & 128 ? 0 : ((which % SOCKS) ^ 1) + FIRST,
		.secret = what >> 4 & 3,
		.tgid = what & 3,
		.netns = what >> 2 & 1,
	};
}

static void step(struct pair *p, const uint8_t **at, const uint8_t *end, uint64_t *now)
{
	struct agent_msg m = { .type = AGENT_MSG_CLAIM, .version = AGENT_VERSION };
	uint8_t what = take(at, end), who = take(at, end);
	size_t len;

	switch (what % 6) {
	case 0: open_any(p, who); break;
	case 1:
		if (session_any(who) >= 0)
			session_end(p, session_any(who));
		break;
	case 2:
		len = take(at, end);
		if (len > (size_t)(end - *at))
			len = (size_t)(end - *at);
		send_to(p, session_any(who), *at, len, *now);
		*at += len;
		break;
	case 3:
		m.cookie = take(at, end) % (SOCKS + 2);
		m.secret = take(at, end) % 4;
		m.number = m.cookie & 0xffff;
		m.flags = who >> 7;
		m.chan = take(at, end);
		send_to(p, session_any(who), &m, sizeof(m), *now);
		break;
	case 4:
		*now += who * 16;
		pair_expire(p, *now);
		break;
	case 5: record_change(who, take(at, end)); break;
	}
	if (world.fds || world.half)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct pair_ops ops = { op_conn, op_chan, op_channel, op_close, op_send };
	static const struct pair_limits limits = {
		.sessions = SESSIONS,
		.claims = 10,
		.channels = 5,
		.user_sessions = 4,
		.user_claims = 5,
		.user_channels = 3,
		.user_messages_per_s = 1000,
		.claim_ms = 1000,
	};
	const uint8_t *end = data + size;
	uint64_t now = 0;
	struct pair *p;

	memset(&world, 0, sizeof(world));
	p = pair_make(&limits, &ops, NULL);
	while (p && data < end)
		step(p, &data, end, &now);
	pair_free(p);
	return 0;
}
