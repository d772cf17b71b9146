/* ep_item.h - what the files of epoll share: sets, items, the hot array
 *
 * Private to ep*.c. Sets and items are type-stable, like socks.
 *
 * Signal handlers. Items and entries are filled in without blocking signals, and so are system calls made
 * under e->lock; what moves entries of the hot array blocks them. So a handler that meets its own thread
 * inside finds every list whole, and may add to it.
 */
#ifndef SOCK_EP_ITEM_H
#define SOCK_EP_ITEM_H

#include "preload/sock/ep.h"
#include "preload/sock/net.h"
#include "shm/shm_fd.h"
#include "stack/base/base_list.h"

/*
 * A registration of a followed socket, found by its socket alone: a set does not know those of its members
 * that are in the kernel. What the program deletes stays for the next time, until the socket ends.
 */
struct ep_item {
	struct ep *e;
	_Atomic uint64_t
		id; /* of the set, when it was registered: another one means that it is gone */
	struct sock *s;
	struct ep_item *_Atomic next; /* of the socket */
	uint64_t data;
	int fd;
	int hot;                    /* place in the hot array and on the side, -1: neither */
	uint32_t number;            /* in the pool, from 1; for good */
	_Atomic uint32_t free_next; /* number of the next free item */
	uint32_t events;
	uint32_t out_seen; /* sock.full_gen when last reported writable */
	short kernel_seen;
	uint16_t turn;          /* counts its registrations in the kernel; part of its tag */
	bool present;           /* registered by the program */
	bool disabled;          /* oneshot, reported */
	_Atomic uint8_t direct; /* of the stack (ep_direct.c): 1 + number of its instance */
	bool queued;            /* on the list of e->woken for that */
	bool heir; /* of the parent's stack: it is in no set of the kernel's before ep_own() */
	struct base_list woken;
	bool edge; /* the kernel has reported something since */
};

/*
 * What a scan touches of an attached member: a line of ours, one of the peer's. A member has something to
 * say when *tail and *mark differ; what they point to is chosen by ep_hot_aim().
 */
struct ep_hot {
	const _Atomic uint64_t *tail; /* the peer's; or what never is, or always is the mark */
	const _Atomic uint64_t *mark; /* our head; for edges the tail that was told last */
	uint64_t data;                /* the item's */
	uint32_t plain;        /* unread bytes mean this and nothing else needs a look; 0: look */
	uint16_t edge;         /* the same, edge-triggered */
	bool odd;              /* has something to say that is not plain */
	_Atomic uint64_t seen; /* the peer's tail when last reported (edge) */
	struct ep_item *item;
	struct shm_conn *conn;
	struct sock *sock;
};

struct ep {
	/* Others may be looking while a set that ended becomes another: its new life begins behind these. */
	_Atomic uint32_t lock;
	uint32_t numbers;       /* descriptors that name it; 0: free */
	struct ep_inner *inner; /* epolls of ours that are members; a free one has none */
	struct ep_hot *hot;
	uint32_t hot_max;

	uint32_t
		hots; /* attached members; read without the lock for a guess, as until, kernel_quiet and moves are */
	uint64_t until;       /* cycles up to which the kernel's members need not be asked */
	uint32_t odd;         /* entries that have something to say that is not plain */
	bool tagged;          /* the kernel has had members by tags of ours */
	uint8_t kernel_quiet; /* how often in a row the kernel's members had nothing */
	bool kernel_last;     /* the last full answer had theirs first */
	_Atomic uint64_t id;  /* of this set and no other before or after; 0: free */
	int fd;
	int side;
	uint32_t start; /* where the next scan begins: fairness */
	uint32_t moves; /* registrations that went to the side so far */
	uint32_t heard; /* events of the side */
	uint64_t magic; /* what the kernel knows our own entry by; a fork leaves it the same */
	bool inherited; /* shared with the parent since a fork: ep_own() before use */
	bool shared;    /* the kernel's set is another process's too, which knows no tags of ours */
	uint32_t directs;                 /* members of the stack (ep_direct.c) */
	_Atomic uint32_t direct_sleepers; /* threads that sleep on the set */
	uint64_t direct_news;             /* what happened to members of the stack so far */
	bool nested;           /* a set around it has been slept on: whoever that is must be rung */
	_Atomic uint8_t insts; /* instances that members of the stack had, a bit each */
	_Atomic uint8_t armed[NET_INSTS]; /* devices of each that will wake a sleeper, a bit each */
	struct base_list woken[NET_INSTS]; /* members of each that may have something to say */
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

/* Whether any epoll of ours is a member; a guess, but under the lock of ep_nest.c. */
static inline bool ep_nests(const struct ep *e)
{
	return SHM_READ(e->inner);
}

struct ep_inner *ep_inner_alloc(void);
void ep_inner_free(struct ep_inner *in);

struct ep *ep_alloc(void);
void ep_free(struct ep *e);

/* The registration of @fd, a number of @s, in @e; NULL: there never was one. */
struct ep_item *ep_item_find(const struct ep *e, const struct sock *s, int fd);

/* A new one, not present. Under e->lock. Any thread or signal handler. NULL: no memory. */
struct ep_item *ep_item_add(struct ep *e, struct sock *s, int fd);

/*
 * What the kernel is to know a oneshot registration by, in place of the program's word: the item's number and the turn
 * that comes next. Two threads could be told of one, by the kernel and by us, if it moved while the first was bringing
 * the kernel's word. Under e->lock.
 */
uint64_t ep_item_tag(const struct ep_item *it);

/*
 * Turns tags that the kernel has told into the program's words, and leaves out what has moved to us, changed or ended
 * since. Under e->lock. Return: events left of @n.
 */
int ep_item_untag(struct ep *e, struct epoll_event *ev, int n);

/*
 * Calls @f on the sock's items, each under its set's lock, with signals blocked. Another thread may be closing the sock,
 * and its items become others': one that is still the sock's when its set is locked stays so until it is unlocked.
 */
void ep_item_each(struct sock *s, void (*f)(struct ep_item *it));

/* Whether the set that the item was registered with is still there. Under its lock, or only as a guess. */
static inline bool ep_item_lives(const struct ep_item *it)
{
	uint64_t id = atomic_load(&it->id);

	return id && id == atomic_load(&it->e->id);
}

/* Give back what ep_item_add() gave; the socket ends, nobody can find it. */
void ep_item_free(struct ep_item *it);

/* The kernel's members may have something to say: ask them with the next wait. */
static inline void ep_kernel_due(struct ep *e)
{
	SHM_WRITE(e->kernel_quiet, 0);
	SHM_WRITE(e->until, 0);
}

/* ---- ep_scan.c: the hot array; under e->lock ---- */

/* A place for an item, or none any more. Signals are blocked. Return: false when there is no memory. */
bool ep_hot_add(struct ep_item *it);
void ep_hot_remove(struct ep_item *it);

/* After the item, or something that ep_hot_aim() looks at, has changed: look at it in full next time. */
void ep_hot_aim(struct ep_hot *h, bool look);

/* What members have to say. @odd: also what moves no bytes: borders, the end, a word from the kernel. */
int ep_scan(struct ep *e, struct epoll_event *ev, int max, bool odd);

/* Whether a scan may find something; so it is while another thread has the lock, which this one takes itself if it is free. */
bool ep_changed(struct ep *e);

/* Whether a scan would find something; tells nobody, consumes no edge. */
bool ep_scan_ready(struct ep *e);

/* ---- ep.c ---- */

/* Combinations that epoll_ctl(2) refuses. */
bool ep_bad_events(int op, uint32_t events);

/* The side is there. Under e->lock. Return: 0 or -errno. */
int ep_side_open(struct ep *e);

/* What the program has registered. Under e->lock. */
void ep_item_set(struct ep_item *it, const struct epoll_event *ev);

/* ---- ep_direct.c ---- */

/* Members of the stack; without the lock a guess. */
static inline uint32_t ep_directs(const struct ep *e)
{
	return SHM_READ(e->directs);
}

int ep_direct_ctl(struct ep *e, int epfd, int op, struct sock *s, int fd, struct epoll_event *ev);

/* The item's socket ends, or the set. Under e->lock. */
void ep_direct_drop(struct ep_item *it);
void ep_direct_end(struct ep *e);

/* What members of the stack have to say, behind the first @n events. Return: events now. */
int ep_direct_collect(struct ep *e, struct epoll_event *ev, int n, int max);

/* Whether ep_direct_collect() would have something. */
bool ep_direct_ready(struct ep *e);

/* Around a sleep; @ns, negative for ever, is cut to the stacks' deadline. Return: false: look again instead. */
bool ep_direct_sleep(struct ep *e, int64_t *ns);
void ep_direct_wake(struct ep *e);

/* The side has said something by the word @from. Return: whether that is a device, which says nothing more before the next sleep. */
bool ep_direct_heard(struct ep *e, const void *from);

/* The same for an inner set whose outer one is slept on. */
bool ep_direct_nest_sleep(struct ep *e, int64_t *ns);

/* After fork, in the child: members of the parent's stack become the kernel's, and join its set. Under e->lock. */
void ep_direct_inherit(struct ep *e);

/* ---- ep_nest.c ---- */

/* epoll_ctl(2) of an inner set. Not under e->lock. */
int ep_nest_ctl(struct ep *e, int epfd, int op, int fd, struct ep *inner, struct epoll_event *ev);

/* Whether any inner set has attached members. */
bool ep_nest_lifted(const struct ep *e);

/* Turn the kernel's word on inner sets into ours. Return: events left of @n. */
int ep_nest_translate(struct ep *e, struct epoll_event *ev, int n);

/* Inner sets that are ready by memory, behind the first @n events. Return: events now. */
int ep_nest_collect(struct ep *e, struct epoll_event *ev, int n, int max);

/* Whether ep_nest_collect() may have something. */
bool ep_nest_ready(struct ep *e);

/* Bells of inner sets, all the way down, as ep_direct_sleep(). Return: false: one of them has something. */
bool ep_nest_sleep(struct ep *e, uint32_t tid, uint64_t now, int64_t *ns);
void ep_nest_wake(struct ep *e, uint32_t tid);

/* A set is closed: forget it wherever it is a member, and its own members. Not under e->lock. */
void ep_nest_forget(struct ep *e);

/* Around fork, in the parent; and in the child. */
void ep_nest_fork_lock(bool lock);
void ep_nest_forked(void);

/* Take in what the side has to say, so that the set's own entry is quiet. */
void ep_side_drain(struct ep *e);

/* The same of all members, under e->lock; connections may be attached by it. */
void ep_side_hear(struct ep *e);

/* From the program's epoll to the side, and into the hot array. Under e->lock, signals blocked. False: no memory. */
bool ep_item_lift(struct ep_item *it);

/* After fork, in the child, on first use of an inherited set. */
void ep_own(struct ep *e);
void ep_memory_forked(void);

/* Calls @f on the registrations that the kernel has of a set, until it returns false. Nothing without /proc. */
void ep_info_each(int epfd, bool (*f)(int fd, const struct epoll_event *ev, void *arg), void *arg);

/* Calls @f on each epoll set of this process. */
void ep_each(void (*f)(struct ep *e));

#endif
