/* shm_agent.h - this process's session with ztcpd
 *
 * Opened when a connection needs an introduction, and again when ztcpd has been restarted; one for the whole
 * process, hidden from the program. Called by the socket layer, one thread at a time (under its lift lock), signals
 * blocked. Nothing waits for ztcpd: a message that cannot be sent at once is an error.
 */
#ifndef SHM_AGENT_SESSION_H
#define SHM_AGENT_SESSION_H

#include "shm/agent.h"

/**
 * shm_agent_open() - have a session with the ztcpd that calls itself @agent
 *
 * Needs shm_self_open() before. A session with an earlier one ends; its channels go on until they are idle.
 *
 * Return: 0, -ECONNREFUSED when it does not run, -EPERM when the name is held by somebody else, or -errno.
 */
int shm_agent_open(uint64_t agent);

/**
 * shm_agent_connect() - a session that is the caller's own, for messages of another kind
 *
 * Any thread. Return: a descriptor, close-on-exec and not blocking, or what shm_agent_open() returns.
 */
int shm_agent_connect(uint64_t agent);

/* What this process claims its sockets with: random, never 0; 0 when there is no randomness. */
uint64_t shm_agent_secret(void);

/* Send a message. Return: 0 or -errno; a broken session is closed. */
int shm_agent_send(struct agent_msg *msg);

/**
 * shm_agent_receive() - the next message of ztcpd's
 * @msg: filled when the answer is 1
 * @fd:  the descriptor that came with it, for the caller to take over, or -1
 *
 * Return: 1, 0 when there is none, -ENOTCONN when the session has ended (or never was).
 */
int shm_agent_receive(struct agent_msg *msg, int *fd);

/* In the child after fork: it has no session. */
void shm_agent_forked(void);

#endif
