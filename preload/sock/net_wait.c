/* net_wait.c - threads that wait for the stacks of this process: whom to ring, how long and on what to sleep */
#include "preload/sock/net.h"

#include "preload/sock/tend.h"
#include "preload/sock/thread.h"
#include "preload/sock/wait.h"
#include "stack/base/base_check.h"

#include <errno.h>
#include <string.h>

enum {
	NET_DEAF_MS = 1,
};

void net_ring(void)
{
	struct net_inst *in = thread_self.inside;
	const uint64_t one = 1;

	if (likely(!in->happened))
		return;
	in->happened = false;
	for (unsigned i = 0; i < NET_WAITERS; i++) {
		if (in->waiters[i].tid && in->waiters[i].tid != thread_tid())
			sys(SYS_write, in->waiters[i].efd, &one, sizeof(one));
	}
}

static struct net_waiter *waiter_of(struct net_inst *in, uint32_t tid)
{
	for (unsigned i = 0; i < NET_WAITERS; i++) {
		if (in->waiters[i].tid == tid)
			return &in->waiters[i];
	}
	return NULL;
}

void net_waiter_add(int efd)
{
	struct net_inst *in = thread_self.inside;
	struct net_waiter *w = waiter_of(in, thread_tid());

	if (!w)
		w = waiter_of(in, 0);
	in->waiters_full = !w;
	if (w)
		*w = (struct net_waiter){ thread_tid(), efd };
}

void net_waiter_remove(void)
{
	struct net_waiter *w = waiter_of(thread_self.inside, thread_tid());

	if (w)
		w->tid = 0;
}

void net_waiters_add(unsigned insts, int efd)
{
	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (!(insts & 1u << k) || !net_enter(&net_insts[k]))
			continue;
		if (efd >= 0)
			net_waiter_add(efd);
		net_leave();
	}
	tend_sleep(insts);
}

void net_waiters_remove(unsigned insts)
{
	tend_sleep(0);
	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (!(insts & 1u << k) || !net_enter(&net_insts[k]))
			continue;
		net_waiter_remove();
		net_leave();
	}
}

/* In the lock. */
static uint64_t deadline_of(const struct net_inst *in)
{
	uint64_t at = in->again ? in->again : UINT64_MAX;

	if (in->publish_at && in->publish_at < at)
		at = in->publish_at;

	for (unsigned i = 0; i < NET_MAX; i++) {
		const struct net *n = &in->net[i];
		ztime_t d = n->z ? net_stack->ztcp_deadline(n->z) : ZTIME_NEVER;
		uint64_t t = d == ZTIME_NEVER ? UINT64_MAX : d < 0 ? 0 : (uint64_t)d;

		/* a device that nothing can sleep on is looked at again and again */
		if (n->z && (n->fd < 0 || in->waiters_full))
			t = BASE_MIN(t, thread_now() + NET_DEAF_MS * UINT64_C(1000000));
		at = t < at ? t : at;
	}
	return at;
}

uint64_t net_deadline(unsigned insts)
{
	uint64_t at = UINT64_MAX, t;

	for (unsigned k = 0; k < NET_INSTS; k++) {
		if (!(insts & 1u << k))
			continue;
		if (!net_enter(&net_insts[k]))
			return 0;
		t = deadline_of(&net_insts[k]);
		at = t < at ? t : at;
		net_leave();
	}
	return at;
}

unsigned net_fds(struct pollfd *p, unsigned insts)
{
	unsigned n = 0;

	for (unsigned k = 0; k < NET_INSTS; k++) {
		unsigned open = insts & 1u << k ? atomic_load(&net_insts[k].open) : 0;

		for (unsigned i = 0; open && i < NET_MAX; i++) {
			const struct net *at = &net_insts[k].net[i];

			if (!(open & 1u << i))
				continue;
			if (at->fd >= 0)
				p[n++] = (struct pollfd){ .fd = at->fd, .events = POLLIN };
			if (at->fd_tables >= 0)
				p[n++] = (struct pollfd){ .fd = at->fd_tables, .events = POLLIN };
			if (at->bell >= 0)
				p[n++] = (struct pollfd){ .fd = at->bell, .events = POLLIN };
		}
	}
	return n;
}

int net_sleep(struct pollfd *p, unsigned np, uint64_t until, unsigned insts, const sigset_t *mask)
{
	struct shm_waker *w = thread_waker();
	struct pollfd set[NET_SLEEP_OWN + NET_FDS + 1];
	uint64_t at = net_deadline(insts), now = thread_now();
	struct timespec ts;
	unsigned n = np;
	int ret, err;

	memcpy(set, p, np * sizeof(*p));
	n += net_fds(set + n, insts);
	if (w)
		set[n++] = (struct pollfd){ .fd = w->efd, .events = POLLIN };
	if (until && until < at)
		at = until;
	at = at > now ? at - now : 0;
	ts = (struct timespec){ (time_t)(at / 1000000000), (long)(at % 1000000000) };
	ret = wait_poll(set, n, at == UINT64_MAX - now ? NULL : &ts, mask);
	err = ret < 0 ? -errno : 0;
	for (unsigned i = 0; i < np; i++)
		p[i].revents = ret > 0 ? set[i].revents : 0;
	if (ret > 0 && w && set[n - 1].revents)
		shm_waker_drain(w);
	return err == -EINTR ? err : 0;
}
