/* shm_chan_test.c - two processes find each other, talk, and survive what the other sends
 *
 * Each test runs in a process of its own, which becomes two by fork before anything of the channel exists.
 * The parent listens. The child is either a process like it, or a "raw" one that speaks by hand.
 */
#include "shm/shm_conn.h"
#include "shm/shm_fd.h"
#include "tests/unit/shm/shm_chan_fix.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void listening(void)
{
	cr_assert_eq(shm_self_open(), 0);
	cr_assert_eq(shm_chan_listen(port), 0);
	let_go();
}

static struct shm_peer *child_finds(unsigned rank)
{
	struct shm_peer *peer = NULL;

	NEED(shm_self_open() == 0);
	NEED(shm_chan_find(port, rank, &peer) == 0);
	NEED(known(peer));
	return peer;
}

static long descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	long n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* ---- two processes of the same kind ---- */

static void offers(void)
{
	struct shm_msg msg = { .type = SHM_MSG_OFFER, .offer = 7, .cookie = 99, .local.port = 5 };
	struct shm_conn *c;
	struct shm_peer *peer, *from;
	const struct shm_ctl *ctl;

	child_waits();
	peer = child_finds(0);
	c = shm_arena_conn_alloc(&shm_self.arena[0], tid());
	atomic_store(&c->ctl.tail, 1234);
	msg.conn = (uint32_t)(((char *)c - (char *)shm_self.arena[0].head) / SHM_CONN_UNIT);
	NEED(shm_chan_send(peer, &msg, -1) == 0);
	NEED(heard(&msg, &from, PATIENCE_MS));
	NEED(from == peer && msg.type == SHM_MSG_ACCEPT && msg.offer == 7);
	ctl = shm_peer_ctl(peer, msg.conn);
	NEED(ctl && atomic_load(&ctl->head) == 4321);
	_exit(0);
}

Test(shm_chan, shm_chan_send__an_offer_and_its_answer_name_blocks_that_both_can_read, .init = setup)
{
	pid_t pid = split();
	struct shm_msg msg;
	struct shm_peer *from;
	struct shm_conn *c;
	const struct shm_ctl *ctl;

	if (!pid)
		offers();
	listening();
	cr_assert(heard(&msg, &from, PATIENCE_MS));
	cr_expect(msg.type == SHM_MSG_OFFER && msg.offer == 7 && msg.cookie == 99 &&
		  msg.local.port == 5);
	ctl = shm_peer_ctl(from, msg.conn);
	cr_assert_not_null(ctl);
	cr_expect_eq(atomic_load(&ctl->tail), 1234);
	c = shm_arena_conn_alloc(&shm_self.arena[0], tid());
	atomic_store(&c->ctl.head, 4321);
	msg = (struct shm_msg){ .type = SHM_MSG_ACCEPT, .offer = 7 };
	msg.conn = (uint32_t)(((char *)c - (char *)shm_self.arena[0].head) / SHM_CONN_UNIT);
	cr_expect_eq(shm_chan_send(from, &msg, -1), 0);
	child_ends_well(pid);
}

/* Bells of a connection, as its end would publish them. */
static const _Atomic uint32_t one = 1, two = 1 << 8 | 2;

static void rings(void)
{
	struct shm_peer *peer;

	child_waits();
	peer = child_finds(0);
	child_waits(); /* the parent's thread sleeps now */
	NEED(shm_peer_asleep(peer));
	shm_peer_ring(peer, &two);
	shm_peer_ring(peer, &one);
	_exit(0);
}

Test(shm_chan, shm_peer_ring__once_a_sleep_whoever_sleeps, .init = setup)
{
	pid_t pid = split();
	struct shm_waker w;
	struct shm_msg msg;
	struct shm_peer *from = NULL;
	struct pollfd p;
	eventfd_t rung = 0;

	if (!pid)
		rings();
	listening();
	cr_assert_eq(shm_waker_open(&w), 0);
	cr_assert_eq(shm_waker_bell(&w, 0, tid()), 1);
	/* the only peer there will be: slot behind this process's own */
	from = shm_peer_self() + 1;
	while (from->sock <= 0)
		shm_chan_poll(&msg, &from);
	shm_peer_tell_bell(from, 1, w.efd);
	shm_waker_sleep(&w, tid(), 1000000000);
	let_go();
	p = (struct pollfd){ .fd = w.efd, .events = POLLIN };
	cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1);
	child_ends_well(pid);
	cr_expect_eq(eventfd_read(w.efd, &rung), 0);
	cr_expect_eq(rung, 1, "one signal per sleep, not %llu", (unsigned long long)rung);
	shm_waker_wake(&w, tid());
	cr_expect_eq(shm_self.arena[0].head->pulse.asleep, 0);
}

/* Mail goes to the process that made the channel: what is told after its fork, its child does not get. */
static void rings_from_a_fork(void)
{
	struct shm_peer *peer;
	pid_t heir;
	int st = 0;

	child_waits();
	peer = child_finds(0);
	shm_self_fork_lock(true);
	heir = split();
	if (heir) {
		shm_self_fork_lock(false);
		NEED(waitpid(heir, &st, 0) == heir);
		_exit(WEXITSTATUS(st));
	}
	shm_self_forked();
	child_waits(); /* the other end's thread sleeps now */
	NEED(peer->bell_fd[1] < 0);
	NEED(shm_peer_asleep(peer));
	shm_peer_ring(peer, &one);
	shm_peer_ring(peer, &one);
	_exit(0);
}

Test(shm_chan, shm_peer_ring__a_forked_child_rings_by_mail, .init = setup, .timeout = 20)
{
	pid_t pid = split();
	struct shm_waker w;
	struct shm_msg msg;
	struct shm_peer *from = NULL;
	struct pollfd p;
	eventfd_t rung = 0;

	if (!pid)
		rings_from_a_fork();
	listening();
	cr_assert_eq(shm_waker_open(&w), 0);
	cr_assert_eq(shm_waker_bell(&w, 0, tid()), 1);
	from = shm_peer_self() + 1;
	while (!known(from))
		;
	while (!atomic_load(&from->head->forked))
		usleep(1000);
	usleep(100000); /* the fork itself: an eventfd told earlier would be inherited */
	shm_peer_tell_bell(from, 1, w.efd);
	shm_waker_sleep(&w, tid(), 1000000000);
	let_go();
	p = (struct pollfd){ .fd = shm_chan_fd(), .events = POLLIN };
	for (int i = 0; eventfd_read(w.efd, &rung) < 0 && i < 100; i++) {
		cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "a sleeper sees the mail");
		cr_expect_not(shm_chan_poll(&msg, &from));
	}
	cr_expect_eq(rung, 1, "one signal per sleep, not %llu", (unsigned long long)rung);
	child_ends_well(pid);
	shm_waker_wake(&w, tid());
}

Test(shm_chan, shm_chan_find__ranks_are_processes_of_one_port, .init = setup)
{
	struct shm_peer *peer;
	pid_t pid[2];

	for (unsigned i = 0; i < 2; i++) {
		pid[i] = split();
		if (!pid[i]) {
			NEED(shm_self_open() == 0 && shm_chan_listen(port) == 0 &&
			     shm_chan_listen(port) == 0);
			NEED(write(go[1], "x", 1) == 1);
			pause();
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		char x;

		cr_assert_eq(read(go[0], &x, 1), 1);
	}
	cr_assert_eq(shm_self_open(), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct shm_peer *again;

		cr_assert_eq(shm_chan_find(port, i, &peer), 0);
		cr_expect_eq(shm_chan_find(port, i, &again), 0);
		cr_expect_eq(peer, again, "a second channel to one process");
	}
	cr_expect_eq(shm_chan_find(port, 2, &peer), -ENOENT);
	cr_expect_eq(shm_chan_find((uint16_t)(port + 1), 0, &peer), -ENOENT);
	for (unsigned i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
}

Test(shm_chan, shm_self_forked__the_child_has_an_arena_of_its_own_and_no_name, .init = setup)
{
	pid_t pid;

	cr_assert_eq(shm_self_open(), 0);
	cr_assert_eq(shm_chan_listen(port), 0);
	pid = split();
	if (!pid) {
		struct shm_head *parent = shm_self.arena[0].head;
		struct shm_peer *peer;

		shm_self_forked();
		NEED(!shm_self.arena[0].head && shm_self.arena[1].head == parent);
		NEED(shm_self_open() == 0);
		NEED(shm_self.arena[0].head != parent);
		/* whoever answers there is the parent */
		NEED(shm_chan_find(port, 0, &peer) == 0);
		NEED(known(peer));
		NEED(peer->head->pid == (uint32_t)getppid());
		_exit(0);
	}
	for (int i = 0, st; waitpid(pid, &st, WNOHANG) == 0; i++) {
		struct shm_msg msg;
		struct shm_peer *from;

		cr_assert_lt(i, PATIENCE_MS);
		shm_chan_poll(&msg, &from);
		usleep(1000);
	}
}

/*
 * The kernel keeps an epoll registration while any copy of the socket is open: one that a child inherited
 * must not keep the parent busy with a peer that is gone.
 */
Test(shm_chan, shm_chan_poll__a_dead_peer_whose_socket_a_child_inherited_is_forgotten,
     .init = setup, .timeout = 120)
{
	pid_t peer = split(), heir;
	struct shm_msg msg;
	struct shm_peer *from;

	if (!peer) {
		child_waits();
		child_finds(0);
		child_waits();
		_exit(0);
	}
	listening();
	from = shm_peer_self() + 1;
	while (!known(from))
		;
	heir = split();
	if (!heir) {
		shm_self_forked();
		pause();
	}
	let_go();
	child_ends_well(peer);
	for (unsigned i = 0; i < 20; i++) {
		cr_expect_not(shm_chan_poll(&msg, &from));
		usleep(1000);
	}
	struct pollfd p = { .fd = shm_chan_fd(), .events = POLLIN };

	cr_expect_eq(poll(&p, 1, 0), 0, "the channels ask for attention for ever");
	kill(heir, SIGKILL);
	waitpid(heir, NULL, 0);
}

/* ---- a peer that speaks by hand ---- */

static int raw_connect(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int n = snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, "ztcp-shm%d/%u/%u/0",
			 SHM_VERSION, geteuid(), port);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	NEED(fd >= 0);
	NEED(connect(fd, (struct sockaddr *)&sa,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == 0);
	return fd;
}

static bool raw_send(int sock, const void *b, size_t n, const int *fd, unsigned fds)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} u;
	struct iovec v = { (void *)b, n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	memset(&u, 0, sizeof(u));
	if (fds) {
		m.msg_control = &u;
		m.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		u.h = (struct cmsghdr){ CMSG_LEN(fds * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&u.h), fd, fds * sizeof(int));
	}
	return sendmsg(sock, &m, MSG_NOSIGNAL) == (ssize_t)n;
}

static int raw_arena(void)
{
	struct shm_arena a;

	NEED(shm_arena_make(&a) == 0);
	return a.fd;
}

static void raw_hello(int sock)
{
	int fd = raw_arena();
	struct shm_msg m = { .type = SHM_MSG_HELLO,
			     .version = SHM_VERSION,
			     .bytes = (uint64_t)lseek(fd, 0, SEEK_END) };

	NEED(raw_send(sock, &m, sizeof(m), &fd, 1));
}

/* The other end has hung up, after its own HELLO. */
static void raw_sees_end(int sock)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	char b[200];

	for (;;) {
		ssize_t n;

		NEED(poll(&p, 1, PATIENCE_MS) == 1);
		n = recv(sock, b, sizeof(b), 0);
		if (n <= 0)
			return;
	}
}

enum raw_way {
	RAW_VERSION,
	RAW_SHORT,
	RAW_LONG,
	RAW_TYPE,
	RAW_EARLY_OFFER,
	RAW_HELLO_BARE,
	RAW_HELLO_LIES,
	RAW_HELLO_TWICE,
	RAW_BELL_BARE,
	RAW_BELL_RANGE,
	RAW_BELL_PIPE,
	RAW_BELL_FILE,
	RAW_RING_RANGE,
	RAW_OFFER_WITH_FD,
	RAW_WAYS
};

static void raw_garbage(int sock, enum raw_way way)
{
	struct shm_msg m = { .type = SHM_MSG_OFFER, .version = SHM_VERSION };
	char big[sizeof(m) + 40] = { 0 };
	int efd = eventfd(0, EFD_NONBLOCK), p[2];

	if (way > RAW_HELLO_LIES)
		raw_hello(sock);
	switch (way) {
	case RAW_VERSION:
		m.version = SHM_VERSION + 1;
		NEED(raw_send(sock, &m, sizeof(m), NULL, 0));
		return;
	case RAW_SHORT: NEED(raw_send(sock, &m, 10, NULL, 0)); return;
	case RAW_LONG:
		memcpy(big, &m, sizeof(m));
		NEED(raw_send(sock, big, sizeof(big), NULL, 0));
		return;
	case RAW_TYPE: m.type = 77; break;
	case RAW_EARLY_OFFER:
	case RAW_WAYS: break;
	case RAW_HELLO_BARE:
	case RAW_HELLO_TWICE: m.type = SHM_MSG_HELLO; break;
	case RAW_HELLO_LIES:
		m = (struct shm_msg){ .type = SHM_MSG_HELLO,
				      .version = SHM_VERSION,
				      .bytes = UINT64_MAX };
		efd = raw_arena();
		break;
	case RAW_BELL_BARE: m.type = SHM_MSG_BELL; break;
	case RAW_BELL_RANGE:
		m = (struct shm_msg){ .type = SHM_MSG_BELL,
				      .version = SHM_VERSION,
				      .bell = SHM_BELLS };
		break;
	case RAW_RING_RANGE:
		m = (struct shm_msg){ .type = SHM_MSG_RING,
				      .version = SHM_VERSION,
				      .bell = SHM_BELLS };
		break;
	case RAW_BELL_PIPE:
	case RAW_BELL_FILE:
		m = (struct shm_msg){ .type = SHM_MSG_BELL, .version = SHM_VERSION, .bell = 3 };
		NEED(pipe(p) == 0);
		efd = way == RAW_BELL_PIPE ? p[1] : memfd_create("bell", 0);
		break;
	case RAW_OFFER_WITH_FD: break;
	}
	NEED(raw_send(sock, &m, sizeof(m), &efd,
		      way == RAW_HELLO_LIES || way == RAW_BELL_RANGE || way == RAW_BELL_PIPE ||
			      way == RAW_BELL_FILE || way == RAW_OFFER_WITH_FD));
}

Test(shm_chan, shm_chan_poll__each_kind_of_garbage_closes_that_channel, .init = setup,
     .timeout = 60)
{
	for (enum raw_way way = 0; way < RAW_WAYS; way++) {
		struct shm_msg msg;
		struct shm_peer *from;
		pid_t pid = split();
		int st = 0;

		if (!pid) {
			int sock;

			child_waits();
			sock = raw_connect();
			raw_garbage(sock, way);
			raw_sees_end(sock);
			_exit(0);
		}
		listening();
		for (int i = 0; waitpid(pid, &st, WNOHANG) == 0 && i < 2 * PATIENCE_MS; i++) {
			cr_expect_not(shm_chan_poll(&msg, &from), "way %d passed for a message",
				      way);
			usleep(1000);
		}
		cr_expect_eq(st, 0, "way %d: child's status %x", way, st);
	}
}

Test(shm_chan, shm_chan_poll__no_message_leaves_a_descriptor_behind, .init = setup, .timeout = 120)
{
	struct shm_msg msg;
	struct shm_peer *from;
	long before;
	pid_t pid = split();

	if (!pid) {
		child_waits();
		for (unsigned i = 0; i < 50; i++) {
			int sock = raw_connect(), fd[3];
			struct shm_msg m = { .type = i % 7, .version = SHM_VERSION, .bell = 4 };

			raw_hello(sock);
			for (unsigned k = 0; k < 3; k++)
				fd[k] = eventfd(0, EFD_NONBLOCK);
			for (unsigned n = 1; n <= 3; n++)
				raw_send(sock, &m, sizeof(m), fd, n);
			shutdown(sock, SHUT_WR);
			raw_sees_end(sock);
			close(sock);
			for (unsigned k = 0; k < 3; k++)
				close(fd[k]);
		}
		_exit(0);
	}
	cr_assert_eq(shm_self_open(), 0);
	cr_assert_eq(shm_chan_listen(port), 0);
	before = descriptors();
	let_go();
	for (int st; waitpid(pid, &st, WNOHANG) == 0;) {
		shm_chan_poll(&msg, &from);
		usleep(200);
	}
	cr_expect_eq(descriptors(), before);
}

/* A peer that talks without end gets its share and no more: the call that reads mail comes back. */
Test(shm_chan, shm_chan_poll__a_flood_does_not_keep_the_reader, .init = setup, .timeout = 120)
{
	struct shm_msg msg;
	struct shm_peer *from;
	struct timespec a, b;
	pid_t pid[3];

	for (unsigned i = 0; i < 3; i++) {
		pid[i] = split();
		if (!pid[i]) {
			struct shm_msg m = { .type = SHM_MSG_BELL,
					     .version = SHM_VERSION,
					     .bell = 4 };
			int sock, fd = eventfd(0, EFD_NONBLOCK);

			child_waits();
			sock = raw_connect();
			raw_hello(sock);
			while (raw_send(sock, &m, sizeof(m), &fd, 1))
				;
			_exit(0);
		}
	}
	listening();
	let_go();
	let_go();
	clock_gettime(CLOCK_MONOTONIC, &a);
	do {
		alarm(10); /* the default action ends a reader that is kept */
		shm_chan_poll(&msg, &from);
		clock_gettime(CLOCK_MONOTONIC, &b);
	} while (b.tv_sec - a.tv_sec < 2);
	alarm(0);
	for (unsigned i = 0; i < 3; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
}
