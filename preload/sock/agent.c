/* agent.c - asking the selector, claiming a socket, hearing whom ztcpd introduces
 *
 * Nobody's word is taken. That the other end is on this host, and who may be handed a channel for it, is the
 * selector's record; that the descriptor which arrives is the channel that ztcpd made for this very socket is checked by
 * its cookie, which the record names. So a false ztcpd can give nothing that is taken, and is told nothing but cookies.
 */
#include "preload/sock/agent.h"

#include "preload/sock/conf.h"
#include "preload/sock/diag.h"
#include "preload/sock/thread.h"
#include "shm/shm_agent.h"
#include "shm/shm_user.h"

#include <errno.h>

enum {
	AGENT_BUDGET = 32, /* messages about nobody of ours, read in one go */
	AGENT_GREET_US = 100,
	AGENT_GREET_TRIES = 20,
};

static uint32_t session; /* goes up when a session ends: claims made in it are void */
static int threshold_min = -1;

bool agent_greet(void)
{
	static _Atomic bool greeted, judges;
	const struct timespec pause = { 0, AGENT_GREET_US * 1000 };
	struct verdict_answer v;
	long fd;

	if (atomic_load_explicit(&greeted, memory_order_relaxed) || atomic_exchange(&greeted, true))
		return atomic_load_explicit(&judges, memory_order_relaxed);
	if (conf.policy_own && conf.off)
		return false;
	fd = sys(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	for (unsigned i = 0; i < AGENT_GREET_TRIES; i++) {
		atomic_store(&judges, agent_verdict((int)fd, false, &v));
		if (!atomic_load(&judges) || !(v.flags & VERDICT_PENDING))
			break;
		sys(SYS_nanosleep, &pause, 0);
	}
	sys(SYS_close, fd);
	return atomic_load(&judges);
}

bool agent_verdict(int fd, bool accepted, struct verdict_answer *answer)
{
	int name = VERDICT_ANSWER | (accepted ? VERDICT_ACCEPTED : 0);
	socklen_t len = sizeof(*answer);

	if (sys(SYS_getsockopt, fd, VERDICT_LEVEL, name, answer, &len) < 0 ||
	    len != sizeof(*answer) || answer->version != VERDICT_VERSION)
		return false;
	if (answer->threshold >= 0 && (threshold_min < 0 || answer->threshold < threshold_min))
		threshold_min = answer->threshold;
	return true;
}

enum reason agent_older(const struct sock *s)
{
	if (s->row->role == STATS_ACCEPT)
		sys(SYS_setsockopt, s->listener, VERDICT_LEVEL, VERDICT_LISTEN, NULL, 0);
	return REASON_OLDER;
}

static bool verdict_of(const struct sock *s, struct verdict_answer *v)
{
	return agent_verdict(sock_fd(s), s->row->role == STATS_ACCEPT, v);
}

int agent_threshold_min(void)
{
	return threshold_min;
}

bool agent_needed(const struct verdict_answer *v, const struct shm_end *local,
		  const struct shm_end *remote)
{
	struct diag_owner owner;

	return diag_owner(remote, local, &owner) < 0 || owner.cookie != v->peer ||
	       !shm_user_is_own(owner.uid);
}

int agent_claim(struct sock *s)
{
	uint64_t secret = shm_agent_secret();
	struct agent_msg msg = {
		.type = AGENT_MSG_CLAIM,
		.secret = secret,
		.number = sock_index(s),
		.flags = s->chan ? AGENT_FRESH : 0,
		.chan = s->chan,
	};
	struct verdict_answer v;
	int err;

	SHM_WRITE(s->stage, SOCK_CLAIMED);
	agent_let_go(s);
	if (!secret || !verdict_of(s, &v) || !(v.flags & VERDICT_ATTESTED) || !v.agent)
		return -ENOENT;
	err = shm_agent_open(v.agent);
	if (err)
		return err;
	err = (int)sys(SYS_setsockopt, sock_fd(s), VERDICT_LEVEL, VERDICT_CLAIM, &secret,
		       sizeof(secret));
	if (err)
		return err;
	msg.cookie = v.cookie;
	err = shm_agent_send(&msg);
	if (err)
		return err;
	s->row->cookie = v.cookie;
	s->to = session;
	return 0;
}

bool agent_lost(const struct sock *s)
{
	return s->to != session;
}

void agent_let_go(struct sock *s)
{
	s->to = session - 1;
}

/* The channel named is the one that ztcpd has entered for this socket; from now on it is the sock's. */
static enum reason adopt(struct sock *s, const struct agent_msg *msg, int fd)
{
	struct verdict_answer v;
	struct shm_peer *peer;
	int err;

	if (!verdict_of(s, &v) || !(v.flags & VERDICT_ATTESTED) || v.cookie != msg->cookie ||
	    !msg->chan || v.chan != msg->chan) {
		if (fd >= 0)
			sys(SYS_close, fd);
		return REASON_UNVERIFIED;
	}
	s->chan = msg->chan;
	err = shm_chan_adopt(fd, msg->chan, msg->domain, &peer);
	if (err)
		return err == -ENOSPC || err == -ENOMEM ? REASON_NO_MEMORY : REASON_NO_CHANNEL;
	s->to = msg->peer;
	s->peer_cookie = v.peer;
	return REASON_NONE;
}

/* The sock that a message is about, with sock_get(); NULL when it is closed or has gone on. */
static struct sock *claimed(const struct agent_msg *msg)
{
	struct sock *s = sock_at(msg->number);

	if (s && s->stage == SOCK_CLAIMED && s->row->cookie == msg->cookie)
		return s;
	if (s)
		sock_put(s);
	return NULL;
}

struct sock *agent_next(enum reason *reason)
{
	struct agent_msg msg;
	int fd, got;

	for (unsigned i = 0; i < AGENT_BUDGET; i++) {
		struct sock *s;

		got = shm_agent_receive(&msg, &fd);
		if (got < 0)
			session++;
		if (got <= 0)
			return NULL;
		s = claimed(&msg);
		if (s && msg.type == AGENT_MSG_PAIRED) {
			*reason = adopt(s, &msg, fd);
			return s;
		}
		if (fd >= 0)
			sys(SYS_close, fd);
		*reason = msg.reason && msg.reason < REASON_COUNT ? (enum reason)msg.reason
								  : REASON_PEER_REFUSED;
		if (s)
			return s;
	}
	return NULL;
}

int agent_lessor(void)
{
	struct verdict_answer v = { 0 };
	long fd = sys(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool told = fd >= 0 && agent_verdict((int)fd, false, &v);

	if (fd >= 0)
		sys(SYS_close, fd);
	return told && v.agent ? shm_agent_connect(v.agent) : -ENOENT;
}

void agent_forked(void)
{
	shm_agent_forked();
	session++;
}
