/* ep_fork.c - epoll sets after fork
 *
 * The kernel's set is shared by parent and child, and with it the doorbell inside. A child that goes on with
 * a set that has attached members gets a set of its own under the same number, filled from what the kernel
 * says is registered; sets without attached members stay shared, as the kernel has them: what is registered in
 * them from then on is registered by the program's own words.
 */
#include "preload/sock/ep_item.h"

#include "preload/real.h"
#include "preload/sock/thread.h"

#include <fcntl.h>
#include <string.h>

struct copy {
	int to;
	uint64_t magic; /* our own entry is left out */
};

static bool copy_one(int fd, const struct epoll_event *ev, void *arg)
{
	const struct copy *c = arg;

	if (ev->data.u64 != c->magic)
		sys(SYS_epoll_ctl, c->to, EPOLL_CTL_ADD, fd, ev);
	return true;
}

/* A set of the child's own in place of the shared one. */
static void ep_part(struct ep *e)
{
	long fd = sys(SYS_epoll_create1, EPOLL_CLOEXEC);
	long flags = sys(SYS_fcntl, e->fd, F_GETFD);
	uint32_t n = e->hots;

	if (fd < 0 || flags < 0)
		return;
	ep_info_each(e->fd, copy_one, &(struct copy){ (int)fd, e->magic });
	sys(SYS_dup3, fd, e->fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	sys(SYS_close, fd);
	shm_fd_close(e->side);
	shm_fd_close(e->waker.efd);
	e->side = -1;
	e->waker = (struct shm_waker){ .efd = -1 };
	e->odd = 0;
	SHM_WRITE(e->hots, 0);
	for (uint32_t i = 0; i < n; i++) {
		struct ep_item *it = e->hot[i].item; /* its new place does not lie behind */
		struct epoll_event ev = { .events = it->events, .data.u64 = it->data };

		it->hot = -1;
		if (it->present) {
			sys(SYS_epoll_ctl, e->fd, EPOLL_CTL_ADD, it->fd, &ev);
			ep_item_lift(it);
		}
	}
}

static void part_if_lifted(struct ep *e)
{
	atomic_store(&e->lock, 0);
	e->inherited = e->hots != 0 || e->directs != 0;
	e->directs = 0;
	e->direct_sleepers = 0;
	e->insts = 0;
	memset(e->armed, 0, sizeof(e->armed));
	memset(e->woken, 0, sizeof(e->woken));
	ep_kernel_due(e);
}

static void share_if_not_lifted(struct ep *e)
{
	if (!SHM_READ(e->hots) && !SHM_READ(e->directs))
		SHM_WRITE(e->shared, true);
}

void ep_share(void)
{
	ep_each(share_if_not_lifted);
}

void ep_forked(void)
{
	ep_memory_forked();
	ep_each(part_if_lifted);
}

void ep_own(struct ep *e)
{
	bool taken = shm_lock(&e->lock, thread_tid());

	if (e->inherited) {
		SHM_WRITE(e->inherited, false);
		SHM_WRITE(e->shared, false);
		ep_part(e);
		ep_direct_inherit(e);
	}
	shm_unlock(&e->lock, taken);
}
