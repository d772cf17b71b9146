/* pair.h - who may be introduced to whom: sessions, claims, channels and their limits
 *
 * What: the whole of ztcpd's judgement, without its sockets. A process claims its end of a connection; when both ends
 * of an attested connection are claimed, their sessions are told of one channel. Nothing that a message says is believed:
 * the selector's record of the socket (pair_ops.conn) must say that this very process claimed it with this secret.
 * Who calls: ztcpd's event loop, one thread; a fuzzer and unit tests with their own pair_ops.
 * Memory: sized from the limits when it is made; a user beyond its limits is refused or made to wait, alone.
 * Time is a parameter, in milliseconds of a monotonic clock.
 */
#ifndef ZTCPD_PAIR_H
#define ZTCPD_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/agent.h"

/** struct pair_limits - for the whole daemon, and for one user with all user ids it answers for */
struct pair_limits {
	uint32_t sessions, claims, channels;
	uint32_t user_sessions, user_claims, user_channels;
	uint32_t user_messages_per_s; /* and as many at once after a quiet second */
	uint32_t user_queues;         /* of interfaces, as leases (ztcpd_grant.c) */
	uint32_t claim_ms;            /* how long a claim waits for the other end's */
};

extern const struct pair_limits pair_limits_default;

/** struct pair_conn - the selector's record of an attested socket; see selector_conn_get()
 * @connected: it is the end that connected, not the one that was accepted
 */
struct pair_conn {
	uint64_t peer;
	uint64_t secret;
	uint64_t netns;
	uint32_t tgid;
	bool connected;
};

/** struct pair_ops - what pairing asks of the world
 * @conn:    the record of @cookie; -ENOENT unless it is one end of an attested connection
 * @chan:    enter a channel into the record of @cookie
 * @channel: make a channel: two descriptors and their cookies
 * @close:   give back an end that was not, or has been, handed out
 * @send:    a message to a session, with a descriptor unless @fd < 0; a session that cannot take it is to be closed later
 */
struct pair_ops {
	int (*conn)(void *arg, uint64_t cookie, struct pair_conn *conn);
	int (*chan)(void *arg, uint64_t cookie, uint64_t chan);
	int (*channel)(void *arg, int fd[2], uint64_t chan[2]);
	void (*close)(void *arg, int fd);
	int (*send)(void *arg, uint32_t session, const struct agent_msg *msg, int fd);
};

/** struct pair_counts - since the start, but for those that are now */
struct pair_counts {
	uint64_t messages, nonsense, paired, channels_made;
	uint64_t waits;                      /* turns in which messages were left for later */
	uint64_t turned_away;                /* processes, at pair_open() */
	uint64_t refused[64];                /* by enum reason */
	uint32_t sessions, claims, channels; /* now */
};

struct pair;

/** pair_make() - Return: an empty state, or NULL. @ops and @limits are copied. */
struct pair *pair_make(const struct pair_limits *limits, const struct pair_ops *ops, void *arg);
void pair_free(struct pair *p);

/**
 * pair_open() - a process has connected
 * @uid:    and @pid: as the kernel tells them of its socket
 * @person: who answers for @uid: to whom all of it is counted
 *
 * Return: the session's number, or -EUSERS: too many.
 */
int pair_open(struct pair *p, uint32_t uid, uint32_t person, uint32_t pid);

/** pair_close() - it has gone: its claims and channels with it. */
void pair_close(struct pair *p, uint32_t session);

/**
 * pair_wait_ms() - how long this session's next message must wait
 *
 * Return: 0 when it may be read now; what it sends meanwhile stays in its own socket.
 */
uint32_t pair_wait_ms(struct pair *p, uint32_t session, uint64_t now_ms);

/**
 * pair_message() - a message of a session
 * @msg: @len bytes as they came; nothing in it is trusted
 *
 * Return: 0, or -EPROTO: it makes no sense, close the session.
 */
int pair_message(struct pair *p, uint32_t session, const void *msg, size_t len, uint64_t now_ms);

/** pair_other() - a message of a session that pairing has nothing to do with: it counts like one. */
void pair_other(struct pair *p, uint32_t session, uint64_t now_ms);

/** pair_expire() - refuse claims that waited too long. Return: ms until the next is due, -1: none waits. */
int pair_expire(struct pair *p, uint64_t now_ms);

/** pair_counts_get() - Return: counters, borrowed; they move on. */
const struct pair_counts *pair_counts_get(const struct pair *p);

#endif
