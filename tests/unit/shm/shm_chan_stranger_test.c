/* shm_chan_stranger_test.c - channels that ztcpd handed out, to a process of another user or namespace */
#include "tests/unit/shm/shm_chan_fix.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { DOMAIN = 5 };

static int handed_out[2];
static const _Atomic uint32_t one = 1;

static struct shm_peer *adopt(int fd)
{
	struct shm_peer *peer = NULL;
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (shm_self_open() || getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ||
	    shm_chan_adopt(fd, cookie, DOMAIN, &peer))
		return NULL;
	return known(peer) ? peer : NULL;
}

static void stranger_setup(void)
{
	setup();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, handed_out), 0);
}

/* The child's end of the channel. */
static struct shm_peer *child_adopts(void)
{
	struct shm_peer *peer;

	close(handed_out[0]);
	peer = adopt(handed_out[1]);
	NEED(peer);
	return peer;
}

/* The test's. */
static struct shm_peer *parent_adopts(void)
{
	struct shm_peer *peer;

	close(handed_out[1]);
	peer = adopt(handed_out[0]);
	cr_assert(peer && peer->arena, "a stranger reads an arena of its own");
	return peer;
}

/* A waker that sleeps for @peer. */
static void sleeps_for(struct shm_waker *w, struct shm_peer *peer)
{
	cr_assert_eq(shm_waker_open(w), 0);
	cr_assert_eq(shm_waker_bell(w, peer->arena, tid()), 1);
	shm_peer_tell_bell(peer, 1, w->efd);
	shm_waker_sleep(w, tid(), 1000000000);
}

static void stranger_rings(void)
{
	struct shm_peer *peer = child_adopts();
	struct shm_msg none;

	child_waits(); /* the parent's thread sleeps now */
	NEED(!shm_chan_poll(&none, &peer));
	for (unsigned i = 0; i < SHM_BELLS; i++)
		NEED(peer->bell_fd[i] < 0);
	NEED(shm_peer_asleep(peer));
	shm_peer_ring(peer, &one);
	shm_peer_ring(peer, &one);
	_exit(0);
}

Test(shm_chan_stranger, shm_peer_ring__a_stranger_gets_no_eventfd_and_rings_by_mail,
     .init = stranger_setup, .timeout = 120)
{
	pid_t pid = split();
	struct shm_peer *peer, *from;
	struct shm_waker w;
	struct shm_msg msg;
	struct pollfd p;
	eventfd_t rung = 0;

	if (!pid)
		stranger_rings();
	peer = parent_adopts();
	sleeps_for(&w, peer);
	cr_expect_not(peer->untold);
	let_go();
	child_ends_well(pid);
	p = (struct pollfd){ .fd = shm_chan_fd(), .events = POLLIN };
	cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "a sleeper sees the mail");
	cr_expect_not(shm_chan_poll(&msg, &from));
	cr_expect_eq(eventfd_read(w.efd, &rung), 0);
	cr_expect_geq(rung, 1, "whichever thread has read the mail");
	shm_waker_wake(&w, tid());
}

static void stranger_fills(void)
{
	struct shm_msg offer = { .type = SHM_MSG_OFFER, .offer = 1 };
	struct shm_peer *peer = child_adopts();

	child_waits(); /* the parent's thread sleeps now */
	while (shm_chan_send(peer, &offer, -1) == 0)
		;
	shm_peer_ring(peer, &one);
	NEED(!peer->rung[1]);
	child_waits();
	_exit(0);
}

Test(shm_chan_stranger, shm_peer_ring__other_mail_wakes_where_there_is_no_room_to_ring,
     .init = stranger_setup, .timeout = 120)
{
	pid_t pid = split();
	struct shm_peer *peer, *from;
	struct shm_waker w;
	struct shm_msg msg;
	eventfd_t rung = 0;

	if (!pid)
		stranger_fills();
	peer = parent_adopts();
	sleeps_for(&w, peer);
	let_go();
	cr_assert(heard(&msg, &from, PATIENCE_MS));
	cr_expect_eq(eventfd_read(w.efd, &rung), 0);
	shm_waker_wake(&w, tid());
	let_go();
	child_ends_well(pid);
}

static void stranger_tells_a_bell(void)
{
	struct shm_msg bell = { .type = SHM_MSG_BELL, .bell = 3 };
	struct shm_peer *peer = child_adopts();

	NEED(shm_chan_send(peer, &bell, eventfd(0, 0)) == 0);
	child_waits();
	_exit(0);
}

Test(shm_chan_stranger, shm_chan_poll__an_eventfd_of_a_stranger_closes_the_channel,
     .init = stranger_setup, .timeout = 120)
{
	pid_t pid = split();
	struct shm_peer *peer, *from;
	struct shm_waker w;
	struct shm_msg msg;
	eventfd_t rung = 0;

	if (!pid)
		stranger_tells_a_bell();
	peer = parent_adopts();
	shm_peer_get(peer); /* a connection that it has */
	sleeps_for(&w, peer);
	for (int i = 0; i < PATIENCE_MS && !peer->gone; i++) {
		cr_expect_not(shm_chan_poll(&msg, &from));
		usleep(1000);
	}
	cr_expect(peer->gone);
	cr_expect_lt(peer->bell_fd[3], 0);
	cr_expect_eq(eventfd_read(w.efd, &rung), 0, "who sleeps for it must look for itself now");
	shm_waker_wake(&w, tid());
	let_go();
	child_ends_well(pid);
}
