/* random_calls.c - some hundred random calls on TCP connections, from a seed, each with its result printed
 *
 * usage: random_calls SEED [COUNT [SKIP,SKIP...]]        (COUNT calls; the numbered ones are left out: run_random.py shrinks so)
 *
 * Theory of operation. The director (this file, and what random_director.h lists) has no socket. It draws each call from the seed and the call's number alone,
 * so that leaving one out leaves the others as they were, as far as what they need is still there. Actors (random_actor.c),
 * processes that are forked, end and exec() on the way, make the calls, one at a time. The director keeps what must be
 * true of every connection: who has its ends, what is unread, which way was shut, who reset it. After a call it waits until
 * the kernel says so too, so that what the next call returns does not depend on time. No call is drawn that could wait.
 *
 * What is not compared: writability while the peer has unread bytes, and edges of it: a ring is smaller than the kernel's
 * buffers, which take over only for a program that waits. Descriptors that go to another program (exec, SCM_RIGHTS) with
 * unread bytes: known_differences.txt. Several messages to a peer that is closed, corked or not: the reset may come between them.
 *
 * What is printed: the call, its result, errno, bytes that are not the pattern's, events. Ports and pids are not.
 */
#include "tests/parity/random_director.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static void step_on(int p, int fd, int what)
{
	struct desc *x = rd_desc(p, fd);
	struct side *me = x->kind == K_CONN ? rd_side(x) : NULL;

	if (what < 26)
		op_write(p, fd, op_some_bytes(), RC_WRITE);
	else if (what < 50)
		op_read(p, fd, rd_one_in(3));
	else if (what < 53)
		op_more(p, fd);
	else if (what < 56)
		op_write(p, fd, op_some_bytes(), RC_SENDFILE);
	else if (what < 58)
		op_write(p, fd, 1 + rd_rnd(4000), RC_SPLICE_IN);
	else if (what < 61)
		op_splice_out(p, fd);
	else if (what < 67)
		op_dup(p, fd);
	else if (what < 73)
		op_flags(p, fd);
	else if (what < 81)
		op_option(p, fd);
	else if (what < 83)
		op_linger(p, fd);
	else if (what < 85)
		op_name(p, fd);
	else if (what < 89)
		op_shutdown(p, fd);
	else if (what < 93)
		op_close(p, fd);
	else if (what < 96)
		op_pass(p, fd);
	else if (what < 97)
		op_bind(p, fd);
	else if (what < 98)
		op_listen(p, fd);
	else if (op_any_listener() >= 0)
		op_connect(p, fd, op_any_listener());
	if (me && me->unread < 0)
		rd_fail("more was read than was there");
}

static void step(void)
{
	int p = rd_any_proc(), what = rd_rnd(rd_more ? 180 : 150), fd;

	if (what < 96) {
		fd = rd_any_fd(p, rd_one_in(12) ? M_ALL : 1 << K_CONN);
		if (fd >= 0)
			step_on(p, fd, rd_rnd(100));
	} else if (what < 106) {
		op_poll(p);
	} else if (what < 109) {
		op_ep_new(p);
	} else if (what < 119) {
		op_ep_ctl(p);
	} else if (what < 130) {
		fd = rd_any_fd(p, 1 << K_EPOLL);
		if (fd >= 0)
			op_ep_wait(p, fd);
	} else if (what < 135) {
		op_new_connection();
	} else if (what < 136) {
		op_listener(rd_one_in(2) ? AF_INET : AF_INET6);
	} else if (what < 138) {
		fd = rd_any_fd(p, 1 << K_LISTEN);
		if (fd >= 0)
			op_accept(p, fd);
	} else if (what < 145) {
		op_chat();
	} else if (what < 147) {
		op_fork(p);
	} else if (what < 149) {
		if (p >= 2)
			op_exit(p);
	} else if (what < 150) {
		op_exec(p);
	} else {
		op_later(p, what - 150);
	}
}

static void first_steps(int i)
{
	if (i == 0)
		op_listener(AF_INET);
	else if (i == 1)
		op_listener(AF_INET6);
	else if (i < 5)
		op_new_connection();
	else
		op_chat();
}

static bool skipped(const char *list, int i)
{
	while (list && *list) {
		char *rest;
		long a = strtol(list, &rest, 10), b = a;

		if (*rest == '-')
			b = strtol(rest + 1, &rest, 10);
		if (i >= a && i <= b)
			return true;
		list = *rest ? rest + 1 : NULL;
	}
	return false;
}

int main(int argc, char **argv)
{
	uint64_t seed;
	int count = argc > 2 ? atoi(argv[2]) : 200;

	if (argc > 2 && !strcmp(argv[1], "--actor"))
		rc_actor(atoi(argv[2]), 1);
	if (argc < 2) {
		fprintf(stderr, "usage: random_calls SEED [COUNT [SKIP,SKIP...]]\n");
		return 2;
	}
	seed = strtoull(argv[1], NULL, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	rd_start();
	for (rd_now = 0; rd_now < count; rd_now++) {
		rd_seed(seed, rd_now);
		if (skipped(argc > 3 ? argv[3] : NULL, rd_now))
			continue;
		if (rd_now < 9)
			first_steps(rd_now);
		else
			step();
		rd_settle();
	}
	for (int p = RC_PROCS - 1; p >= 0; p--)
		if (rd_procs[p].alive)
			op_exit(p);
	return 0;
}
