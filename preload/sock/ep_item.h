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
	uint64_t tail_seen;  /* the peer's tail when last reported (edge) */
	int fd;
	int hot;             /* place in the hot array, -1: registered with the kernel */
	uint32_t events;
	uint32_t out_seen;   /* sock.full_gen when last reported writable */
	short kernel_seen;
	bool disabled;       /* oneshot, reported */
};

/* What a scan touches of an attached member. */
struct ep_hot {
	const struct shm_ctl *peer;
	struct shm_conn *conn;
	const struct shm_pulse *pulse;
	struct ep_item *item;
	bool look; /* the bits must be computed in full */
};

struct ep {
	int fd;
	int side;
	_Atomic uint32_t lock;
	uint32_t numbers;
	struct ep_hot *hot;
	uint32_t hots, hot_max;
	uint32_t start; /* where the next scan begins: fairness */
	uint64_t kernel_turn;
	uint64_t magic;
	struct ep_item *items;
	bool inherited; /* shared with the parent since a fork: ep_own() before use */
	struct shm_waker waker;
	struct ep *next; /* free list */
};

struct ep *ep_alloc(void);
void ep_free(struct ep *e);

/* Under e->lock. */
struct ep_item *ep_item_alloc(struct ep *e, struct sock *s, int fd);
void ep_item_free(struct ep_item *it);

/* A place in the hot array. Return: false when there is no memory. */
bool ep_hot_add(struct ep_item *it);

/* From the program's epoll to the side. Under e->lock. */
void ep_item_lift(struct ep_item *it);

/* After fork, in the child, on first use of an inherited set. */
void ep_own(struct ep *e);
void ep_memory_forked(void);

/* Calls @f on each epoll set of this process. */
void ep_each(void (*f)(struct ep *e));

#endif
