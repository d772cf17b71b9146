/* ep_fork.c - epoll sets after fork
 *
 * The kernel's set is shared by parent and child, and with it the doorbell inside. A child that goes on with
 * a set that has attached members gets a set of its own under the same number, filled from what the kernel
 * says is registered; sets without attached members stay shared, as the kernel has them.
 */
#include "preload/sock/ep_item.h"

#include "preload/real.h"
#include "preload/sock/thread.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { FDINFO_MAX = 1 << 16 };

/* Copy the registrations of @from to @to, our own entry aside. */
static void copy_registrations(int from, int to, uint64_t magic)
{
	static char
		text[FDINFO_MAX]; /* one thread exists just after fork; later users hold e->lock */
	char path[64];
	long fd, n, used = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", from);
	fd = sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	while (used < FDINFO_MAX - 1 &&
	       (n = sys(SYS_read, fd, text + used, FDINFO_MAX - 1 - used)) > 0)
		used += n;
	sys(SYS_close, fd);
	text[used] = '\0';
	for (const char *at = strstr(text, "tfd:"); at; at = strstr(at + 1, "tfd:")) {
		struct epoll_event ev;
		unsigned long long data;
		unsigned events;
		int tfd;

		if (sscanf(at, "tfd: %d events: %x data: %llx", &tfd, &events, &data) != 3 ||
		    data == magic)
			continue;
		ev.events = events;
		ev.data.u64 = data;
		sys(SYS_epoll_ctl, to, EPOLL_CTL_ADD, tfd, &ev);
	}
}

/* A set of the child's own in place of the shared one. */
static void ep_part(struct ep *e)
{
	long fd = sys(SYS_epoll_create1, EPOLL_CLOEXEC);
	long flags = sys(SYS_fcntl, e->fd, F_GETFD);
	uint32_t n = e->hots;

	if (fd < 0 || flags < 0)
		return;
	copy_registrations(e->fd, (int)fd, e->magic);
	sys(SYS_dup3, fd, e->fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	sys(SYS_close, fd);
	shm_fd_close(e->side);
	shm_fd_close(e->waker.efd);
	e->side = -1;
	e->waker = (struct shm_waker){ .efd = -1 };
	e->hots = e->odd = 0;
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
	e->directs = e->direct_sleepers = 0;
	e->nets = 0;
	e->woken.next = NULL;
	ep_kernel_due(e);
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
		e->inherited = false;
		ep_part(e);
	}
	shm_unlock(&e->lock, taken);
}
