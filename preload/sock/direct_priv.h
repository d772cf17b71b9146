/* direct_priv.h - what the files of direct share
 *
 * Private to direct*.c and ep_direct.c. All fields are used inside the lock of the connection's instance unless they are said to be
 * constant. A listener has one part for each instance, which is used inside that one's lock; who ends it goes through all locks.
 */
#ifndef SOCK_DIRECT_PRIV_H
#define SOCK_DIRECT_PRIV_H

#include "preload/sock/direct.h"
#include "preload/sock/net.h"
#include "preload/sock/wait.h"
#include "stack/base/base_list.h"

enum { DIRECT_KEPT = 5 }; /* options */

enum direct_stage {
	DIRECT_LISTENING,
	DIRECT_CONNECTING, /* SYN sent */
	DIRECT_CONNECTED,  /* was told to the program, or is about to be */
};

/* A listener in one instance. */
struct direct_at {
	_Alignas(64) struct inst_listener *listener[NET_MAX][2];
	uint32_t gen;  /* events so far */
	uint16_t why;  /* enum reason for the kernel alone */
	bool armed;    /* it was waited for */
	bool serves;   /* it is counted by direct_hand_serves() */
	bool given_up; /* the ports are the kernel's; what came before can be accepted */
};

struct direct {
	struct base_list all; /* of the instance, or listeners; also the free list */
	struct sock *sock;
	struct net_inst
		*of;    /* a connection's; constant. NULL: in the parent's stack (direct_fork.c) */
	uint32_t forks; /* of this process before it was made */
	struct direct_at *at;   /* a listener's, NET_INSTS of them; constant. NULL: a connection */
	struct net *net;        /* a connection's */
	struct inst_conn *conn; /* a connection's */
	struct wire_flow flow;  /* constant once connected or accepted */
	uint32_t gen;           /* events so far */
	int error;              /* not yet told */
	int linger_s;           /* -1: SO_LINGER is off */
	uint32_t lowat;         /* SO_RCVLOWAT, at least 1 */
	int backlog;
	uint8_t kept; /* options of which the connection has the value, a bit each */
	int kept_val[DIRECT_KEPT];
	uint8_t stage;    /* enum direct_stage */
	uint8_t nets;     /* a listener's: a bit for each interface */
	uint8_t families; /* a listener's wildcard: 1 IPv4, 2 IPv6 */
	_Atomic unsigned
		strays; /* a listener's: instances whose connections anybody may take, a bit each */
	struct direct_hand *hand; /* a listener's on an interface that the kernel shares, or NULL */
	int give, take;           /* with it */
	bool six;                 /* the descriptor is AF_INET6; constant */
	bool rd_shut, wr_shut, failed, told;
	bool relayed,
		relay_eof; /* direct_relay.c: it has no sock any more; the peer's end was passed on */
	union {
		int relay; /* then: our end */
		int page;  /* a listener's: what @hand lies in */
	};
	int held;         /* of a relay: what holds the port */
	_Atomic bool due; /* likewise: something is to be done */
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

/* Options that the connection keeps become those of a socket of the kernel. */
void direct_opt_pour(const struct direct *d, int fd);

/**
 * direct_wait() - in the lock: wait for something to happen in this instance; the lock is left and not taken again
 * @p:     @np descriptors to wait for as well, NET_SLEEP_OWN at most
 * @until: thread_now() time, 0: for ever
 * @sig:   of the whole call; held from here on
 *
 * Return: 0 to look again, -EAGAIN at @until, -EINTR.
 */
int direct_wait(struct pollfd *p, unsigned np, uint64_t until, struct wait_signals *sig);

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

/* Options that an accepted socket has from its listener. */
void direct_inherit(int from, int to);

/* The sock is a direct connection from now on; @nonblock: O_NONBLOCK. In the lock. Return: false: it cannot be followed. */
bool direct_become(struct sock *s, struct direct *d, enum stats_role role, bool nonblock);

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
/* The process becomes another program, which takes what waits here. Outside the lock. */
void direct_listen_hand(struct direct *d);

/* ---- direct_hand.c, for direct_listen.c ---- */

/* What processes that share a listener need to hand each other connections. */
/* @found: perhaps by the program before this one. */
void direct_hand_open(struct direct *d, bool found);
void direct_hand_close(struct direct *d);
/* One process more that has it, or one fewer. */
void direct_hand_share(const struct direct *d, int sign);

/* Who has the listener when this process has become another program. */
enum direct_hand_next {
	DIRECT_HAND_NOBODY,
	DIRECT_HAND_HEIR,     /* it takes what is handed to it */
	DIRECT_HAND_STRANGER, /* it knows the kernel's queue alone */
};

/* Before exec; and after one that has failed. Outside of instances. */
void direct_hand_leave(struct direct *d, enum direct_hand_next next);
void direct_hand_stay(struct direct *d, enum direct_hand_next next);
/* Whether a stranger has it: nobody is to take connections that it could not be given. */
bool direct_hand_stranger(const struct direct *d);
/* In the lock: this instance has listeners, or none any more. */
void direct_hand_serves(const struct direct *d, bool on);
/* In the lock: the ports become the kernel's in this instance. */
void direct_hand_give_up(struct direct *d);
/* One at a time of the processes, between a look into the kernel's queue and accept(2). Return: for direct_hand_unlock(). */
bool direct_hand_lock(const struct direct *d);
void direct_hand_unlock(const struct direct *d, bool taken);
/* Whether one waits that another process has handed over. */
bool direct_handed(const struct direct *d);
/* It, a connection of the kernel. @flags: of accept4(2). Return: its descriptor, -1: none. */
int direct_hand_take(struct direct *d, int flags);
/* Whether other processes have the listener. */
bool direct_hand_shared(const struct direct *d);
/* In the lock, which is kept: what waits in this instance, or is about to, goes to them. The listeners are closed by the caller. */
void direct_hand_over(struct direct *d);
/* What waits in this instance goes to them, where it can become the kernel's; the listener goes on. */
void direct_hand_waiting(struct direct *d);

/* ---- direct_fork.c ---- */

/* Forks of this process so far that concerned connections. */
uint32_t direct_fork_no(void);
/* Whether children may have it. Anywhere. */
bool direct_fork_shared(const struct direct *d, const struct stats_row *row);
/* To all children that were forked since @born: the row's connection is the kernel's now, @fd, which is kept. */
void direct_fork_give(uint32_t born, const struct stats_row *row, int fd);

/* ---- direct_relay.c ---- */

enum { DIRECT_RELAY_TAG = 1 }; /* in the word of a relay in the set of direct_fork_asked() */

/* In the lock. @fd: a number of it. Return: what the program and others are to have in its place, -errno: there is no such thing. */
int direct_relay_open(struct direct *d, int fd);
/* Then, when they have it: the relay begins, and @d belongs to it. */
void direct_relay_begin(struct direct *d);
/* Something has happened to it. In the lock, or anywhere when @d may be over. */
void direct_relay_due(struct direct *d);
/* By the thread that tends. Return: whether it has driven an instance. */
bool direct_relay_serve(void);
/* In the lock, at the end of the process: those of this instance. */
void direct_relays_close(void);
/* Of a sock whose bytes go through a relay, here or in its parent. */
socklen_t direct_relay_name(const struct sock *s, bool peer, struct sockaddr_storage *full);

/* ---- direct_spare.c, for direct*.c ---- */

/**
 * direct_spare_accept() - a socket for a connection that is to be accepted. In the lock
 * @flags: SOCK_NONBLOCK, SOCK_CLOEXEC
 * @as_made: nothing is done to it at once: it may be one that was used before, or be used again
 * @fd:    set to its number, or -errno
 *
 * Return: its sock, NULL: none.
 */
struct sock *direct_spare_accept(bool six, int flags, bool as_made, int *fd);
/* The socket is as it was made, and is to be used again after this connection. */
void direct_hold(struct sock *s, int fd);
/* The connection is over, the program's last number is about to go. In the lock. */
void direct_spare_give(const struct direct *d, struct sock *s);

/* ---- direct_lower.c ---- */

/**
 * direct_lower_conn() - make a connection of the stack one of the kernel. In the lock.
 *
 * Return: its descriptor, close-on-exec, blocking; -errno, and @c is as before; -ECONNABORTED: it is gone.
 */
int direct_lower_conn(struct net *n, bool six, struct inst_conn *c);

/* Whether connections of this interface can become the kernel's. */
bool direct_lower_possible(const struct net *n);

/*
 * In the lock: one that this process has no descriptor of any more is lowered, or relayed, for its children. @ends: the process does, which
 * relays nothing then. Return: whether they have it; d->relayed says how.
 */
bool direct_lower_away(struct direct *d, struct sock *s, bool ends);

/** direct_numbers_move() - all numbers of the sock refer to the socket @fd from now on; each keeps its FD_CLOEXEC. Any thread. */
void direct_numbers_move(const struct sock *s, int fd);

#endif
