/* agent.h - the selector's verdict on a connection, and ztcpd's introduction to the process of its other end
 *
 * Needed where two processes cannot find and check each other by themselves: different users, different network
 * namespaces, addresses rewritten between them. Called by lift.c, under its lock, signals blocked; nothing but
 * agent_greet() waits.
 * Without selector or daemon nothing here does more than one system call a connection.
 */
#ifndef SOCK_AGENT_H
#define SOCK_AGENT_H

#include "preload/sock/sock.h"
#include "shm/verdict.h"

/**
 * agent_greet() - let the selector know what kind of process this is, before its first connection
 *
 * Return: whether a selector judges this process's connections; false too where its own policy (ZTCP_POLICY) lets nothing be lifted.
 *
 * Once a process, at its first socket. A kind that the selector has never met is looked up by ztcpd; until then the
 * process's connections stay on the kernel, so this waits for it, two milliseconds at most.
 */
bool agent_greet(void);

/**
 * agent_verdict() - what the selector says of a socket
 * @accepted: it was accepted, and not connected
 * @answer:   filled when the answer is true
 *
 * Return: false when there is no selector, or one of another version.
 */
bool agent_verdict(int fd, bool accepted, struct verdict_answer *answer);

/**
 * agent_older() - an end of a connection that cannot be attested: it, or its listener, was there before the selector
 *
 * Has the selector see the listener from now on, so that what it accepts later can be attested.
 *
 * Return: the reason.
 */
enum reason agent_older(const struct sock *s);

/* The least threshold that the selector's rules were seen to ask for; -1: none. */
int agent_threshold_min(void);

/* Whether an attested connection's ends cannot find each other without ztcpd. */
bool agent_needed(const struct verdict_answer *v, const struct shm_end *local,
		  const struct shm_end *remote);

/**
 * agent_claim() - ask ztcpd for the process of the other end of an attested connection
 *
 * In any case the sock is SOCK_CLAIMED afterwards.
 *
 * Return: 0, or -errno: ztcpd does not answer, and agent_lost().
 */
int agent_claim(struct sock *s);

/* Whether nobody will answer this sock's claim: it failed, was let go, or the session is over. */
bool agent_lost(const struct sock *s);

/* The claim is over, whatever is answered. */
void agent_let_go(struct sock *s);

/**
 * agent_next() - the next sock that ztcpd has something to say of
 * @reason: REASON_NONE: introduced; s->chan, s->to and s->peer_cookie are set. Else why not.
 *
 * Return: the sock with sock_get(), NULL when there is none.
 */
struct sock *agent_next(enum reason *reason);

/*
 * A session with ztcpd for a device of the stack, which is in the lock of net.h. Return: a descriptor, close-on-exec and
 * not blocking, or -errno.
 */
int agent_lessor(void);

/* In the child after fork. */
void agent_forked(void);

#endif
