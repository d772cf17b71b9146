/* direct_priv.h - what the files of direct share
 *
 * Private to direct*.c. All fields are used inside the lock of net.h unless they are said to be constant.
 */
#ifndef SOCK_DIRECT_PRIV_H
#define SOCK_DIRECT_PRIV_H

#include "preload/sock/direct.h"
#include "preload/sock/net.h"
#include "stack/base/base_list.h"

enum direct_stage {
	DIRECT_LISTENING,
	DIRECT_CONNECTING, /* SYN sent */
	DIRECT_CONNECTED,  /* was told to the program, or is about to be */
};

struct direct {
	struct base_list all; /* of the process; also the free list */
	struct sock *sock;
	struct net *net;        /* a connection's */
	struct inst_conn *conn; /* NULL: a listener */
	struct inst_listener *listener[NET_MAX][2];
	struct wire_flow flow; /* constant once connected or accepted */
	_Atomic uint32_t gen;  /* events so far */
	int error;             /* not yet told */
	int linger_s;          /* -1: SO_LINGER is off */
	int backlog;
	uint16_t why;     /* enum reason for the kernel alone */
	uint8_t stage;    /* enum direct_stage */
	uint8_t nets;     /* a listener's: a bit for each interface */
	uint8_t families; /* a listener's wildcard: 1 IPv4, 2 IPv6 */
	bool six;         /* the descriptor is AF_INET6; constant */
	bool armed;       /* a listener that was waited for */
	bool rd_shut, wr_shut, failed, told;
};

/* Into the lock, for a sock that is still direct. Return: NULL, and errno-like @err: not in the lock. */
struct direct *direct_enter(struct sock *s, int *err);

struct direct *direct_alloc(void);
void direct_free(struct direct *d);

/* What has failed is taken over into d->error, once. */
void direct_look(struct direct *d);

/* The error that a call is to return, once. Return: 0 or -errno. */
int direct_error_take(struct direct *d);

/* Bits of a connection or listener. */
short direct_bits(struct direct *d);

/* Options of the kernel's socket become the connection's. */
void direct_opt_all(struct direct *d, int fd);

/**
 * direct_wait() - in the lock: wait for something to happen; the lock is left and not taken again
 * @fd:    also wait for this descriptor to be readable, or -1
 * @until: thread_now() time, 0: for ever
 *
 * Return: 0 to look again, -EAGAIN at @until, -EINTR.
 */
int direct_wait(int fd, uint64_t until);

/* ---- direct.c, for direct_listen.c ---- */

union wire_addr direct_wire_of(const struct policy_addr *a);

/* getsockname(2) of the kernel's socket. */
bool direct_name_of(int fd, struct sockaddr_storage *sa);

/* One end as the program's kind of socket has it. Return: its bytes. */
socklen_t direct_sockaddr_of(bool six, const union wire_addr *a, uint16_t port,
			     struct sockaddr_storage *out);

/* Into the caller's memory, as far as there is room; @len says how much there is, then how long it is. */
void direct_name_copy(struct sockaddr *sa, socklen_t *len, const struct sockaddr_storage *from,
		      socklen_t bytes);

/* Whether a rule, or --path, wants the stack for it. Else @why, NONE: nobody has asked for it. */
bool direct_wanted(enum policy_role role, const struct policy_addr *local,
		   const struct policy_addr *remote, enum reason *why);

/* The sock is a direct connection from now on. In the lock. Return: false: it cannot be followed. */
bool direct_become(struct sock *s, struct direct *d, enum stats_role role);

/* ---- direct_listen.c, for direct.c ---- */

/* Connections in the stack's queue. */
unsigned direct_waiting(const struct direct *d);
/* It is waited for: what stacks it can have it gets. In the lock. */
void direct_listen_arm(struct direct *d);
void direct_listen_end(struct direct *d, ztime_t now);

#endif
