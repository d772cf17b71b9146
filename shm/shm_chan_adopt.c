/* shm_chan_adopt.c - channels handed out by ztcpd, and the arenas that strangers read */
#include "shm/shm_chan_priv.h"
#include "shm/shm_sys.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static bool is_channel(int fd, uint64_t chan)
{
	static const struct {
		int name, want;
	} must[] = { { SO_DOMAIN, AF_UNIX }, { SO_TYPE, SOCK_SEQPACKET } };
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	for (unsigned i = 0; i < 2; i++) {
		int val = -1;
		socklen_t size = sizeof(val);

		if (sys(SYS_getsockopt, fd, SOL_SOCKET, must[i].name, &val, &size) < 0 ||
		    val != must[i].want)
			return false;
	}
	return sys(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 && cookie == chan;
}

/* The arena that peers of a domain read. Return: its index, or -errno. */
static int domain_arena(uint64_t domain)
{
	unsigned free = 0;
	int err;

	for (unsigned a = 0; a < SHM_ARENAS; a++) {
		if (shm_self.domain[a] == domain && (a == 0 || domain))
			return (int)a;
		if (!free && a && !shm_self.arena[a].head)
			free = a;
	}
	if (!free)
		return -ENOSPC;
	err = shm_arena_make(&shm_self.arena[free]);
	if (err)
		return err;
	shm_self.domain[free] = domain;
	return (int)free;
}

static struct shm_peer *adopted(uint64_t chan_cookie)
{
	for (unsigned i = 1; i < chan.peers; i++) {
		struct shm_peer *p = &chan.state->peer[i];

		if (!p->gone && chan_cookie && p->chan == chan_cookie)
			return p;
	}
	return NULL;
}

static int chan_adopt(int fd, uint64_t chan_cookie, uint64_t domain, struct shm_peer **peer)
{
	struct shm_peer *p = adopted(chan_cookie);
	int arena;

	if (fd >= 0 && (p || !is_channel(fd, chan_cookie))) {
		sys(SYS_close, fd);
		return -EPROTO;
	}
	if (!p && fd < 0)
		return -ENOENT;
	if (!p) {
		arena = domain_arena(domain);
		if (arena < 0) {
			sys(SYS_close, fd);
			return arena;
		}
		p = chan_peer_open(fd, (unsigned)arena);
		if (!p)
			return -ENOMEM;
		p->chan = chan_cookie;
		p->stranger = domain != 0;
	}
	*peer = p;
	return 0;
}

int shm_chan_adopt(int fd, uint64_t chan_cookie, uint64_t domain, struct shm_peer **peer)
{
	struct chan_guard g = chan_enter();
	int err = chan_adopt(fd, chan_cookie, domain, peer);

	chan_leave(&g);
	return err;
}

struct shm_peer *shm_chan_adopted(uint64_t chan_cookie)
{
	struct chan_guard g = chan_enter();
	struct shm_peer *p = adopted(chan_cookie);

	chan_leave(&g);
	return p;
}

void shm_chan_orphan(void)
{
	struct chan_guard g = chan_enter();

	for (unsigned i = 1; i < chan.peers; i++) {
		struct shm_peer *p = &chan.state->peer[i];

		if (p->gone || !p->chan)
			continue;
		p->stale = true;
		if (!p->refs)
			chan_peer_close(p);
	}
	chan_leave(&g);
}

int shm_chan_watch(int fd, bool on)
{
	struct chan_guard g = chan_enter();
	int err = on ? chan_epoll_join(fd, CHAN_WATCHED)
		     : (int)sys(SYS_epoll_ctl, chan.epoll, EPOLL_CTL_DEL, fd, 0);

	chan_leave(&g);
	return err;
}
