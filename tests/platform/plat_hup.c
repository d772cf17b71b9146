/* plat_hup.c - the masks of poll and epoll in each order of closing, as a table
 *
 * The socket layer computes these masks itself while a connection is lifted.
 */
#include "tests/platform/plat.h"

#include <poll.h>
#include <sys/epoll.h>

enum act { MY_WR, MY_RD, PEER_WR, PEER_RD, PEER_CLOSE, PEER_RESET, DATA, NONE };

static char buf[16];

static void act(int me, int *peer, enum act what)
{
	struct linger l = { 1, 0 };

	switch (what) {
	case MY_WR: FACT(shutdown(me, SHUT_WR) == 0); break;
	case MY_RD: FACT(shutdown(me, SHUT_RD) == 0); break;
	case PEER_WR: FACT(shutdown(*peer, SHUT_WR) == 0); break;
	case PEER_RD: FACT(shutdown(*peer, SHUT_RD) == 0); break;
	case PEER_RESET:
		FACT(setsockopt(*peer, SOL_SOCKET, SO_LINGER, &l, sizeof(l)) == 0);
		/* fall through */
	case PEER_CLOSE:
		FACT(close(*peer) == 0);
		*peer = -1;
		break;
	case DATA: FACT(write(*peer, buf, 5) == 5); break;
	case NONE: break;
	}
}

static unsigned poll_mask(int fd)
{
	struct pollfd p = { fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0 };

	FACT(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static unsigned epoll_mask(int ep)
{
	struct epoll_event e = { 0, { 0 } };

	FACT(epoll_wait(ep, &e, 1, 0) >= 0);
	return e.events;
}

static void row(enum act first, enum act second, unsigned want)
{
	int fd[2], ep = epoll_create1(0);
	struct epoll_event e = { EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI, { 0 } };

	plat_pair(AF_INET, fd);
	FACT(epoll_ctl(ep, EPOLL_CTL_ADD, fd[1], &e) == 0);
	act(fd[1], &fd[0], first);
	act(fd[1], &fd[0], second);
	/* Loopback is fast and not instant: wait for the mask, then it must be exactly this. */
	for (int i = 0; i < 2000 && poll_mask(fd[1]) != want; i++)
		usleep(1000);
	if (poll_mask(fd[1]) != want || epoll_mask(ep) != want) {
		fprintf(stderr, "after %d, %d: poll %#x, epoll %#x, not %#x\n", first, second,
			poll_mask(fd[1]), epoll_mask(ep), want);
		exit(1);
	}
	close(ep);
	close(fd[1]);
	if (fd[0] >= 0)
		close(fd[0]);
}

int main(void)
{
	const unsigned in = POLLIN, outb = POLLOUT, rdhup = POLLRDHUP, hup = POLLHUP, err = POLLERR;

	alarm(50);
	row(NONE, NONE, outb);
	row(DATA, NONE, in | outb);
	row(PEER_WR, NONE, in | outb | rdhup);
	row(PEER_CLOSE, NONE, in | outb | rdhup);
	row(PEER_RD, NONE, outb);
	row(DATA, PEER_WR, in | outb | rdhup);
	row(MY_WR, NONE, outb);
	row(MY_RD, NONE, in | outb | rdhup);
	row(MY_WR, PEER_WR, in | outb | rdhup | hup);
	row(PEER_WR, MY_WR, in | outb | rdhup | hup);
	row(MY_WR, MY_RD, in | outb | rdhup | hup);
	row(MY_RD, PEER_WR, in | outb | rdhup);
	row(MY_WR, DATA, in | outb);
	row(MY_WR, PEER_CLOSE, in | outb | rdhup | hup);
	row(PEER_RESET, NONE, in | outb | rdhup | hup | err);
	row(DATA, PEER_RESET, in | outb | rdhup | hup | err);
	row(MY_WR, PEER_RESET, in | outb | rdhup | hup | err);
	return 0;
}
