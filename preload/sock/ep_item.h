/* ep_item.h - memory of epoll sets: sets, items, the hot array
 *
 * Private to ep*.c. Sets and items are type-stable, like socks.
 */
#ifndef SOCK_EP_ITEM_H
#define SOCK_EP_ITEM_H

#include "preload/sock/ep.h"
#include "shm/shm_fd.h"

/* A registration of a followed socket. */
struct ep_item {
	struct ep *e;
	struct sock *s;
	struct ep_item *next_of_sock;
	struct ep_item *next, *prev; /* of the set; next also chains free items */
	uint64_t data;
	uint64_t tail_seen; /* the peer's tail when last reported (edge) */
	int fd;
	int hot; /* place in the hot array, -1: not attached, or deleted by the program */
	uint32_t events;
	uint32_t out_seen; /* sock.full_gen when last reported writable */
	short kernel_seen;
	bool disabled; /* oneshot, reported */
	bool edge;     /* the kernel has reported something since */
	bool beside;   /* registered with the side; stays so when the program deletes it */
};

/* What a scan touches of an attached member. */
struct ep_hot {
	const struct shm_ctl *peer;
	struct shm_conn *conn;
	struct sock *sock;
	struct ep_item *item;
	uint64_t data; /* the item's */
	uint32_t
		plain; /* what unread bytes mean where nothing else needs a look: EPOLLIN, level; 0: look */
	bool look; /* the bits must be computed in full */
};

struct ep {
	int fd;
	int side;
	_Atomic uint32_t lock;
	uint32_t numbers;
	struct ep_hot *hot;
	uint32_t hots, hot_max;
	uint32_t start;         /* where the next scan begins: fairness */
	uint64_t kernel_turn;   /* cycles when the kernel's members were last asked */
	uint32_t moves;         /* registrations that went to the side so far */
	uint8_t kernel_quiet;   /* how often in a row they had nothing */
	bool kernel_last;       /* the last full answer had theirs first */
	struct ep_inner *inner; /* epolls of ours that are members */
	uint64_t magic;
	struct ep_item *items;
	bool inherited; /* shared with the parent since a fork: ep_own() before use */
	struct shm_waker waker;
	struct ep *next; /* free list */
};

/* An epoll of ours that is a member of another. */
struct ep_inner {
	struct ep *e; /* the inner one */
	int fd;
	uint32_t events;
	uint64_t data;  /* the program's */
	uint64_t magic; /* what the kernel knows it by */
	uint64_t seen;  /* ep_sum() when last reported (edge) */
	bool disabled;  /* oneshot, reported */
	struct ep_inner *next;
};

struct ep_inner *ep_inner_alloc(void);
void ep_inner_free(struct ep_inner *in);

struct ep *ep_alloc(void);
void ep_free(struct ep *e);

/* Under e->lock. */
struct ep_item *ep_item_alloc(struct ep *e, struct sock *s, int fd);
void ep_item_free(struct ep_item *it);

/* A place in the hot array. Return: false when there is no memory. */
bool ep_hot_add(struct ep_item *it);

/* ---- ep_nest.c ---- */

/* epoll_ctl(2) of an inner set. */
int ep_nest_ctl(struct ep *e, int epfd, int op, int fd, struct ep *inner, struct epoll_event *ev);

/* Whether any inner set has attached members. */
bool ep_nest_lifted(const struct ep *e);

/* Turn the kernel's word on inner sets into ours. Return: events left of @n. */
int ep_nest_translate(struct ep *e, struct epoll_event *ev, int n);

/* Inner sets that are ready by memory, behind the first @n events. Return: events now. */
int ep_nest_collect(struct ep *e, struct epoll_event *ev, int n, int max);

/* Whether ep_nest_collect() may have something. */
bool ep_nest_ready(struct ep *e);

/* Bells of inner sets, all the way down. */
void ep_nest_sleep(struct ep *e, uint32_t tid);
void ep_nest_wake(struct ep *e, uint32_t tid);

/* A set is closed: forget it wherever it is a member, and its own members. */
void ep_nest_forget(struct ep *e);

/* Take in what the side has to say, so that the set's own entry is quiet. */
void ep_side_drain(struct ep *e);

/* From the program's epoll to the side, and into the hot array. Under e->lock. Return: false: no memory. */
bool ep_item_lift(struct ep_item *it);

/* Out of the hot array; the item stays. */
void ep_hot_remove(struct ep_item *it);

/* After fork, in the child, on first use of an inherited set. */
void ep_own(struct ep *e);
void ep_memory_forked(void);

/* Calls @f on each epoll set of this process. */
void ep_each(void (*f)(struct ep *e));

#endif
