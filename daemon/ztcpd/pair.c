/* pair.c - sessions, claims, channels and their limits
 *
 * All objects lie in arrays of the limits' sizes and are found by hash chains of indices; 0 ends a chain, so object 0
 * is never used. Claims stand in the order of their age. A claim is counted to the user of its session, a channel to
 * the user of the end that connected: strangers cannot use up what a server's user may have. A user here is a person: many
 * user ids that one answers for count together, and are told apart only where memory is shared.
 */
#include "daemon/ztcpd/pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_hash.h"
#include "stack/base/base_list.h"
#include "stack/base/base_reason.h"

const struct pair_limits pair_limits_default = {
	.sessions = 8192,
	.claims = 65536,
	.channels = 16384,
	.user_sessions = 1024,
	.user_claims = 4096,
	.user_channels = 2048,
	.user_messages_per_s = 20000,
	.user_queues = 8,
	.claim_ms = 30000,
};

enum { PAIR_USERS = 1024, PAIR_SWEEP = 256 };

/* Nobody chooses cookies; and a user's domain must be the same after a restart of ztcpd. */
static const struct base_hash_key key = { 0x7a74637064, 1 };

_Static_assert((int)REASON_COUNT <=
		       (int)(sizeof(((struct pair_counts *)0)->refused) / sizeof(uint64_t)),
	       "refusals are counted by reason");

struct user {
	uint32_t uid; /* of the person */
	uint32_t sessions, claims, channels;
	uint64_t tokens; /* thousandths of a message */
	uint64_t filled_ms;
	bool used;
};

struct session {
	uint32_t pid, uid;
	uint32_t user;
	bool used;
	struct base_list claims;
	struct base_list ends; /* of channels */
};

struct claim {
	uint32_t next; /* in the hash chain */
	uint32_t session;
	uint32_t number;
	uint64_t cookie;
	uint64_t gone; /* the channel that the process lost; 0: none */
	uint64_t since_ms;
	struct base_list of_session;
	struct base_list by_age;
};

struct channel_end {
	uint32_t session;
	uint64_t chan;
	struct base_list of_session;
};

struct channel {
	uint32_t next; /* free list */
	uint32_t user; /* who connected */
	struct channel_end end[2];
};

struct pair {
	struct pair_limits limits;
	struct pair_ops ops;
	void *arg;
	struct pair_counts counts;
	struct user user[PAIR_USERS];
	struct session *session;
	struct claim *claim;
	struct channel *channel;
	uint32_t *claim_hash;
	uint32_t claim_mask;
	uint32_t claim_free, channel_free, session_next;
	struct base_list age; /* claims, oldest first */
};

/* ---- users ---- */

static struct user *user_find(struct pair *p, uint32_t uid, uint32_t *index)
{
	struct user *free = NULL;

	for (uint32_t i = 0; i < PAIR_USERS; i++) {
		struct user *u = &p->user[(uid + i) % PAIR_USERS];

		if (u->used && u->uid == uid)
			free = u;
		else if (!free && (!u->used || !u->sessions))
			free = u; /* nobody else's now; taken unless the user turns up */
		else
			continue;
		if (free->used && free->uid == uid)
			break;
	}
	if (!free)
		return NULL;
	if (!free->used || free->uid != uid)
		*free = (struct user){ .used = true,
				       .uid = uid,
				       .tokens = p->limits.user_messages_per_s * UINT64_C(1000) };
	*index = (uint32_t)(free - p->user);
	return free;
}

static struct user *user_of(struct pair *p, uint32_t session)
{
	return &p->user[p->session[session].user];
}

static void tokens_fill(const struct pair *p, struct user *u, uint64_t now_ms)
{
	uint64_t rate = p->limits.user_messages_per_s;
	uint64_t gone = now_ms > u->filled_ms ? now_ms - u->filled_ms : 0;

	if (gone > 1000)
		gone = 1000;
	u->tokens += gone * rate;
	if (u->tokens > rate * 1000)
		u->tokens = rate * 1000;
	u->filled_ms = now_ms;
}

uint32_t pair_wait_ms(struct pair *p, uint32_t session, uint64_t now_ms)
{
	struct user *u = user_of(p, session);
	uint64_t rate = p->limits.user_messages_per_s;

	tokens_fill(p, u, now_ms);
	if (u->tokens >= 1000)
		return 0;
	p->counts.waits++;
	return (uint32_t)((1000 - u->tokens + rate - 1) / rate);
}

/* ---- claims ---- */

static uint32_t *claim_bucket(struct pair *p, uint64_t cookie)
{
	return &p->claim_hash[base_hash_sip24_words(&key, &cookie, 1) & p->claim_mask];
}

static struct claim *claim_find(struct pair *p, uint64_t cookie)
{
	for (uint32_t i = *claim_bucket(p, cookie); i; i = p->claim[i].next) {
		if (p->claim[i].cookie == cookie)
			return &p->claim[i];
	}
	return NULL;
}

static void claim_drop(struct pair *p, struct claim *c)
{
	uint32_t *at = claim_bucket(p, c->cookie);
	uint32_t index = (uint32_t)(c - p->claim);

	while (*at != index)
		at = &p->claim[*at].next;
	*at = c->next;
	base_list_remove(&c->of_session);
	base_list_remove(&c->by_age);
	user_of(p, c->session)->claims--;
	p->counts.claims--;
	c->next = p->claim_free;
	p->claim_free = index;
}

static struct claim *claim_add(struct pair *p, uint32_t session, const struct agent_msg *m,
			       uint64_t now_ms)
{
	uint32_t *bucket = claim_bucket(p, m->cookie);
	uint32_t index = p->claim_free;
	struct claim *c = &p->claim[index];

	if (!index)
		return NULL;
	p->claim_free = c->next;
	c->session = session;
	c->number = m->number;
	c->cookie = m->cookie;
	c->gone = m->flags & AGENT_FRESH ? m->chan : 0;
	c->since_ms = now_ms;
	c->next = *bucket;
	*bucket = index;
	base_list_push_tail(&p->session[session].claims, &c->of_session);
	base_list_push_tail(&p->age, &c->by_age);
	user_of(p, session)->claims++;
	p->counts.claims++;
	return c;
}

/* ---- channels ---- */

static void channel_drop(struct pair *p, struct channel *ch)
{
	for (unsigned i = 0; i < 2; i++)
		base_list_remove(&ch->end[i].of_session);
	p->user[ch->user].channels--;
	p->counts.channels--;
	ch->next = p->channel_free;
	p->channel_free = (uint32_t)(ch - p->channel);
}

/* The channel of an end: ends lie in pairs. */
static struct channel *channel_of(struct pair *p, const struct channel_end *end)
{
	size_t at = (size_t)((const char *)end - (const char *)p->channel);

	return &p->channel[at / sizeof(struct channel)];
}

/* The channel that leads from @c's process to @d's, @end being @c's; NULL when it must be a new one. */
static struct channel *channel_find(struct pair *p, const struct claim *c, const struct claim *d,
				    unsigned *end)
{
	base_list_for_each(at, &p->session[c->session].ends)
	{
		struct channel_end *e = base_list_entry(at, struct channel_end, of_session);
		struct channel *ch = channel_of(p, e);
		unsigned i = (unsigned)(e - ch->end);

		if (ch->end[!i].session != d->session)
			continue;
		if (c->gone == e->chan || d->gone == ch->end[!i].chan) {
			channel_drop(p, ch);
			return NULL;
		}
		*end = i;
		return ch;
	}
	return NULL;
}

static struct channel *channel_add(struct pair *p, uint32_t user, const uint32_t session[2],
				   const uint64_t chan[2])
{
	uint32_t index = p->channel_free;
	struct channel *ch = &p->channel[index];

	p->channel_free = ch->next;
	ch->user = user;
	p->user[user].channels++;
	for (unsigned i = 0; i < 2; i++) {
		ch->end[i].session = session[i];
		ch->end[i].chan = chan[i];
		base_list_push_tail(&p->session[session[i]].ends, &ch->end[i].of_session);
	}
	p->counts.channels++;
	p->counts.channels_made++;
	return ch;
}

/* ---- pairing ---- */

static void refuse(struct pair *p, uint32_t session, uint64_t cookie, uint32_t number,
		   enum reason reason)
{
	struct agent_msg msg = {
		.type = AGENT_MSG_REFUSED,
		.version = AGENT_VERSION,
		.cookie = cookie,
		.number = number,
		.reason = reason,
	};

	p->counts.refused[reason]++;
	p->ops.send(p->arg, session, &msg, -1);
}

/* What the selector knows of a socket that a session claims; false: it is not this process's claim. */
static bool claim_holds(struct pair *p, uint32_t session, uint64_t cookie, uint64_t secret,
			struct pair_conn *conn)
{
	return p->ops.conn(p->arg, cookie, conn) == 0 && conn->peer && conn->secret &&
	       conn->tgid == p->session[session].pid && (!secret || conn->secret == secret);
}

/* Processes of one user in one namespace may share an arena; to all others a stranger is a number. */
static uint64_t domain_of(struct pair *p, const struct claim *me, const struct pair_conn *my,
			  const struct claim *other, const struct pair_conn *its)
{
	uint64_t who[2] = { p->session[other->session].uid, its->netns };

	if (p->session[me->session].uid == who[0] && my->netns == who[1])
		return 0;
	return base_hash_sip24_words(&key, who, 2) | 1;
}

static void tell(struct pair *p, const struct claim *c, const struct claim *other, uint64_t chan,
		 uint64_t domain, int fd)
{
	struct agent_msg msg = {
		.type = AGENT_MSG_PAIRED,
		.version = AGENT_VERSION,
		.cookie = c->cookie,
		.chan = chan,
		.domain = domain,
		.number = c->number,
		.peer = other->number,
	};

	p->ops.send(p->arg, c->session, &msg, fd);
}

/* A channel for the two claims, @first connected; @fd stays -1 where the process has its end already. */
static enum reason channel_get(struct pair *p, struct claim *c[2], bool first, uint64_t chan[2],
			       int fd[2])
{
	const uint32_t session[2] = { c[0]->session, c[1]->session };
	uint32_t user = p->session[session[!first]].user;
	unsigned end;
	struct channel *ch = channel_find(p, c[0], c[1], &end);

	if (ch) {
		chan[0] = ch->end[end].chan;
		chan[1] = ch->end[!end].chan;
		return REASON_NONE;
	}
	if (!p->channel_free || p->user[user].channels >= p->limits.user_channels)
		return REASON_DAEMON_LIMIT;
	if (p->ops.channel(p->arg, fd, chan))
		return REASON_NO_CHANNEL;
	channel_add(p, user, session, chan);
	return REASON_NONE;
}

static void introduce(struct pair *p, struct claim *c[2], const struct pair_conn conn[2])
{
	uint64_t chan[2];
	int fd[2] = { -1, -1 };
	enum reason reason = channel_get(p, c, conn[0].connected, chan, fd);

	if (reason == REASON_NONE && (p->ops.chan(p->arg, c[0]->cookie, chan[0]) ||
				      p->ops.chan(p->arg, c[1]->cookie, chan[1])))
		reason = REASON_CLOSED_EARLY;
	for (unsigned i = 0; i < 2; i++) {
		if (reason != REASON_NONE)
			refuse(p, c[i]->session, c[i]->cookie, c[i]->number, reason);
		else
			tell(p, c[i], c[!i], chan[i],
			     domain_of(p, c[i], &conn[i], c[!i], &conn[!i]), fd[i]);
		if (fd[i] >= 0)
			p->ops.close(p->arg, fd[i]);
	}
	p->counts.paired += reason == REASON_NONE;
	claim_drop(p, c[0]);
	claim_drop(p, c[1]);
}

/* A user at its limit: claims of connections that are closed give way. */
static bool claim_room(struct pair *p, uint32_t session)
{
	struct user *u = user_of(p, session);
	unsigned looked = 0;

	while (u->claims >= p->limits.user_claims || !p->claim_free) {
		struct base_list *first = p->session[session].claims.next;
		struct claim *c = base_list_entry(first, struct claim, of_session);
		struct pair_conn conn;

		if (first == &p->session[session].claims || ++looked > PAIR_SWEEP ||
		    p->ops.conn(p->arg, c->cookie, &conn) == 0)
			return false;
		claim_drop(p, c);
	}
	return true;
}

static void on_claim(struct pair *p, uint32_t session, const struct agent_msg *m, uint64_t now_ms)
{
	struct pair_conn conn[2];
	struct claim *c[2];
	struct claim *old;

	if (!m->secret || !claim_holds(p, session, m->cookie, m->secret, &conn[0])) {
		refuse(p, session, m->cookie, m->number, REASON_UNVERIFIED);
		return;
	}
	old = claim_find(p, m->cookie);
	if (old)
		claim_drop(p, old);
	/* one whose other end waits goes at once, and needs no room */
	c[0] = claim_find(p, conn[0].peer) || claim_room(p, session)
		       ? claim_add(p, session, m, now_ms)
		       : NULL;
	if (!c[0]) {
		refuse(p, session, m->cookie, m->number, REASON_DAEMON_LIMIT);
		return;
	}
	c[1] = claim_find(p, conn[0].peer);
	/* the other end may have been claimed anew by a child of the process meanwhile */
	if (c[1] && c[1] != c[0] && claim_holds(p, c[1]->session, c[1]->cookie, 0, &conn[1]) &&
	    conn[1].peer == m->cookie)
		introduce(p, c, conn);
}

void pair_other(struct pair *p, uint32_t session, uint64_t now_ms)
{
	struct user *u = user_of(p, session);

	tokens_fill(p, u, now_ms);
	u->tokens -= u->tokens < 1000 ? u->tokens : 1000;
	p->counts.messages++;
}

int pair_message(struct pair *p, uint32_t session, const void *data, size_t len, uint64_t now_ms)
{
	struct agent_msg msg;

	pair_other(p, session, now_ms);
	if (len == sizeof(msg)) {
		memcpy(&msg, data, sizeof(msg));
		if (msg.version == AGENT_VERSION && msg.type == AGENT_MSG_CLAIM &&
		    !(msg.flags & ~(uint32_t)AGENT_FRESH)) {
			on_claim(p, session, &msg, now_ms);
			return 0;
		}
	}
	p->counts.nonsense++;
	return -EPROTO;
}

int pair_expire(struct pair *p, uint64_t now_ms)
{
	while (!base_list_empty(&p->age)) {
		struct claim *c = base_list_entry(p->age.next, struct claim, by_age);
		uint64_t due = c->since_ms + p->limits.claim_ms;

		if (due > now_ms)
			return (int)(due - now_ms);
		refuse(p, c->session, c->cookie, c->number, REASON_PEER_PLAIN);
		claim_drop(p, c);
	}
	return -1;
}

/* ---- sessions ---- */

/* Return: a place that is free, or the number of places. */
static uint32_t session_free(const struct pair *p)
{
	for (uint32_t i = 0; i < p->limits.sessions; i++) {
		uint32_t index = (p->session_next + i) % p->limits.sessions;

		if (!p->session[index].used)
			return index;
	}
	return p->limits.sessions;
}

int pair_open(struct pair *p, uint32_t uid, uint32_t person, uint32_t pid)
{
	uint32_t user, index = session_free(p);
	struct user *u = user_find(p, person, &user);
	struct session *s = &p->session[index];

	if (!u || u->sessions >= p->limits.user_sessions || index == p->limits.sessions) {
		p->counts.turned_away++;
		return -EUSERS;
	}
	p->session_next = index + 1;
	*s = (struct session){ .used = true, .pid = pid, .uid = uid, .user = user };
	base_list_init(&s->claims);
	base_list_init(&s->ends);
	u->sessions++;
	p->counts.sessions++;
	return (int)index;
}

void pair_close(struct pair *p, uint32_t session)
{
	struct session *s = &p->session[session];

	while (!base_list_empty(&s->claims))
		claim_drop(p, base_list_entry(s->claims.next, struct claim, of_session));
	while (!base_list_empty(&s->ends))
		channel_drop(p, channel_of(p, base_list_entry(s->ends.next, struct channel_end,
							      of_session)));
	user_of(p, session)->sessions--;
	p->counts.sessions--;
	s->used = false;
}

const struct pair_counts *pair_counts_get(const struct pair *p)
{
	return &p->counts;
}

static void free_lists(struct pair *p)
{
	for (uint32_t i = 1; i < p->limits.claims; i++)
		p->claim[i].next = i + 1 < p->limits.claims ? i + 1 : 0;
	for (uint32_t i = 1; i < p->limits.channels; i++)
		p->channel[i].next = i + 1 < p->limits.channels ? i + 1 : 0;
	p->claim_free = p->limits.claims > 1;
	p->channel_free = p->limits.channels > 1;
}

struct pair *pair_make(const struct pair_limits *limits, const struct pair_ops *ops, void *arg)
{
	struct pair *p = calloc(1, sizeof(*p));
	uint32_t buckets = 16;

	if (!p)
		return NULL;
	while (buckets < limits->claims)
		buckets *= 2;
	p->limits = *limits;
	p->ops = *ops;
	p->arg = arg;
	p->claim_mask = buckets - 1;
	p->session = calloc(limits->sessions, sizeof(*p->session));
	p->claim = calloc(limits->claims, sizeof(*p->claim));
	p->channel = calloc(limits->channels, sizeof(*p->channel));
	p->claim_hash = calloc(buckets, sizeof(*p->claim_hash));
	base_list_init(&p->age);
	if (!p->session || !p->claim || !p->channel || !p->claim_hash) {
		pair_free(p);
		return NULL;
	}
	free_lists(p);
	return p;
}

void pair_free(struct pair *p)
{
	if (!p)
		return;
	free(p->session);
	free(p->claim);
	free(p->channel);
	free(p->claim_hash);
	free(p);
}
