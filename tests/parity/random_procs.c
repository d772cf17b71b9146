/* random_procs.c - the director's actors: begun, forked, ended, another program; descriptors passed between them */
#include "tests/parity/random_director.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void rd_start(void)
{
	int pair[2];

	for (int p = 0; p < RC_PROCS; p++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
			rd_fail("no socket pair");
		rd_procs[p].rpc = fcntl(pair[0], F_DUPFD_CLOEXEC, 100);
		if (dup2(pair[1], RC_RPC + p) < 0)
			rd_fail("no socket pair");
		close(pair[0]);
		close(pair[1]);
		memset(rd_procs[p].fd, -1, sizeof(rd_procs[p].fd));
	}
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    dup2(pair[0], RC_RIGHTS) < 0 || dup2(pair[1], RC_RIGHTS + 1) < 0)
		rd_fail("no socket pair");
	close(pair[0]);
	close(pair[1]);
	for (int p = 0; p < 2; p++) {
		rd_procs[p].pid = fork();
		if (rd_procs[p].pid == 0) {
			execl("/proc/self/exe", "random_calls", "--actor", p ? "1" : "0",
			      (char *)NULL);
			_exit(99);
		}
		rd_procs[p].alive = true;
		rd_answer(p);
	}
}

void op_fork(int p)
{
	struct rc_req q = { .op = RC_FORK };

	for (q.a = 2; q.a < RC_PROCS && rd_procs[q.a].alive; q.a++)
		;
	if (q.a == RC_PROCS)
		return;
	rd_call(p, &q);
	rd_procs[q.a].pid = (pid_t)rd_rep.ret;
	rd_procs[q.a].alive = true;
	for (int fd = 0; fd < FDS; fd++) {
		rd_procs[q.a].fd[fd] = rd_procs[p].fd[fd];
		rd_procs[q.a].cloexec[fd] = rd_procs[p].cloexec[fd];
		if (rd_procs[p].fd[fd] >= 0)
			rd_descs[rd_procs[p].fd[fd]].refs++;
	}
	rd_answer(q.a);
	printf("%d p%d fork: p%d\n", rd_now, p, q.a);
}

void op_exit(int p)
{
	struct rc_req q = { .op = RC_EXIT };
	int pidfd = (int)syscall(SYS_pidfd_open, rd_procs[p].pid, 0);
	struct pollfd pfd = { pidfd, POLLIN, 0 };

	if (rd_one_in(4))
		kill(rd_procs[p].pid, SIGKILL);
	else
		send(rd_procs[p].rpc, &q, sizeof(q), MSG_NOSIGNAL);
	if (pidfd >= 0 && poll(&pfd, 1, 20000) != 1)
		rd_fail("an actor does not end");
	close(pidfd);
	printf("%d p%d exit\n", rd_now, p);
	rd_proc_gone(p);
}

static bool unread_in(int p)
{
	for (int fd = 0; fd < FDS; fd++)
		if (rd_desc(p, fd) && rd_desc(p, fd)->kind == K_CONN &&
		    rd_side(rd_desc(p, fd))->unread)
			return true;
	return false;
}

/* Not with unread bytes: known_differences.txt, exec_unread. */
void op_exec(int p)
{
	struct rc_req q = { .op = RC_EXEC };

	if (unread_in(p))
		return;
	rd_call(p, &q);
	printf("%d p%d exec\n", rd_now, p);
	for (int fd = 0; fd < FDS; fd++)
		if (rd_procs[p].fd[fd] >= 0 && rd_procs[p].cloexec[fd])
			rd_fd_drop(p, fd);
		else if (rd_procs[p].fd[fd] >= 0)
			rd_descs[rd_procs[p].fd[fd]].handed = true;
}

void op_pass(int p, int fd)
{
	struct rc_req q = { .op = RC_GIVE, .fd = fd };
	int to = rd_any_proc(), d = rd_procs[p].fd[fd];

	if (rd_numbers(to) >= FDS - 16 || unread_in(p))
		return;
	rd_call(p, &q);
	rd_say(p, "give(%d)", fd);
	if (rd_rep.ret < 0)
		return;
	rd_descs[d].refs++;
	rd_descs[d].handed = true;
	if (rd_one_in(3))
		op_close(p, fd);
	q.op = RC_TAKE;
	q.flags = rd_one_in(2) ? MSG_CMSG_CLOEXEC : 0;
	rd_call(to, &q);
	rd_say(to, "take");
	if (rd_rep.ret >= 0)
		rd_fd_set(to, rd_rep.ret, d, q.flags);
	rd_desc_put(d);
}
