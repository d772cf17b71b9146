/* direct_priv.h - what the files of direct share
 *
 * Private to direct*.c and ep_direct.c. All fields are used inside the lock of the connection's instance unless they are said to be
 * constant. A listener has one part for each instance, which is used inside that one's lock; who ends it goes through all locks.
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

/* A listener in one instance. */
struct direct_at {
	_Alignas(64) struct inst_listener *listener[NET_MAX][2];
	uint32_t gen; /* events so far */
	uint16_t why; /* enum reason for the kernel alone */
	bool armed;   /* it was waited for */
};

struct direct {
	struct base_list all; /* of the instance, or listeners; also the free list */
	struct sock *sock;
	struct net_inst *of;    /* a connection's; constant */
	struct direct_at *at;   /* a listener's, NET_INSTS of them; constant. NULL: a connection */
	struct net *net;        /* a connection's */
	struct inst_conn *conn; /* a connection's */
	struct wire_flow flow;  /* constant once connected or accepted */
	uint32_t gen;           /* events so far */
	int error;              /* not yet told */
	int linger_s;           /* -1: SO_LINGER is off */
	uint32_t lowat;         /* SO_RCVLOWAT, at least 1 */
	int backlog;
	uint8_t stage;    /* enum direct_stage */
	uint8_t nets;     /* a listener's: a bit for each interface */
	uint8_t families; /* a listener's wildcard: 1 IPv4, 2 IPv6 */
	_Atomic unsigned
		strays; /* a listener's: instances whose connections anybody may take, a bit each */
	bool six;       /* the descriptor is AF_INET6; constant */
	bool rd_shut, wr_shut, failed, told;
};

/*
 * Into the lock, for a sock that is still direct: of a connection's instance, of the thread's own for a listener. Return: NULL, and
 * errno-like @err: not in the lock.
 */
struct direct *direct_enter(struct sock *s, int *err);

/* Of the instance that the thread is inside of. */
struct direct *direct_alloc(void);

/* Each connection of this instance in turn; there is one at least. */
struct direct *direct_next(void);

/* getsockopt(TCP_INFO) of a connection into @info, and the name of its congestion control. Return: bytes. */
uint32_t direct_info(struct direct *d, void *info, size_t size, char *cong, size_t cong_size);
void direct_free(struct direct *d);

/* What has failed is taken over into d->error, once. */
void direct_look(struct direct *d);

/* The error that a call is to return, once. Return: 0 or -errno. */
int direct_error_take(struct direct *d);

/* Whether the connection is over, for calls that the kernel answers with ENOTCONN then. */
bool direct_gone(const struct direct *d);

/* Bits of a connection or listener. */
short direct_bits(struct direct *d);

/* Options of the kernel's socket become the connection's. */
void direct_opt_all(struct direct *d, int fd);

/**
 * direct_wait() - in the lock: wait for something to happen in this instance; the lock is left and not taken again
 * @fd:    also wait for this descriptor to be readable, or -1
 * @until: thread_now() time, 0: for ever
 *
 * Return: 0 to look again, -EAGAIN at @until, -EINTR.
 */
int direct_wait(int fd, uint64_t until);

/* Linux keeps this option for both families: the address need not be the kernel's. */
void direct_freebind(int fd, bool six, int on);

/* ---- direct.c and direct_name.c, for the others ---- */

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

/* ---- direct_listen.c, for direct.c and ep_direct.c; in the lock ---- */

/* Whether one waits in this instance's queue, or strays. */
bool direct_waiting(const struct direct *d);
/* It is waited for: what stacks this instance can have it gets. */
void direct_listen_arm(struct direct *d);
/* All its listeners in this instance. */
void direct_listen_close(struct direct *d);
/* Devices of our own that this instance has open take connections for every listener from now on, waited for or not. */
void direct_listen_open(void);
/* Interfaces that listeners are reached by, a bit each. Outside of instances. */
unsigned direct_listened(void);
/* Events so far. */
uint32_t direct_gen(const struct direct *d);
/* Something waits in this instance's queue; @told: a set of it tells its thread. */
void direct_listen_event(struct direct *d, bool told);
/* The sock of a listener ends. Outside the lock. */
void direct_listen_end(struct direct *d);
/* In the child after fork. */
void direct_listen_forked(struct direct *d);

#endif
