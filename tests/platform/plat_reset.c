/* plat_reset.c - what is read after a reset: first what had arrived, then ECONNRESET once, then 0
 *
 * The shm path must give the bytes of a ring whose writer is dead or has reset, and then the error
 * that TCP would give. Also: which error it is depends on the state at the moment of the reset.
 */
#include "tests/platform/plat.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

static char buf[1 << 16];

static void reset(int fd)
{
	struct linger l = { 1, 0 };

	FACT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)) == 0);
	FACT(close(fd) == 0);
}

static int mask(int fd, int wait_for)
{
	struct pollfd p = { fd, POLLIN | POLLOUT | POLLRDHUP, 0 };

	for (int i = 0; i < 2000; i++) {
		FACT(poll(&p, 1, 0) >= 0);
		if ((p.revents & wait_for) == wait_for)
			break;
		usleep(1000);
	}
	return p.revents;
}

static void queued_then_reset(void)
{
	int fd[2];

	plat_pair(AF_INET, fd);
	FACT(write(fd[0], buf, 5000) == 5000);
	reset(fd[0]);
	FACT(mask(fd[1], POLLERR) == (POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP));
	FACT(recv(fd[1], buf, 3000, 0) == 3000);
	FACT(recv(fd[1], buf, 3000, MSG_WAITALL) == 2000);
	FAILS(recv(fd[1], buf, 3000, 0), ECONNRESET);
	FACT(recv(fd[1], buf, 3000, 0) == 0);
	FAILS(send(fd[1], buf, 1, MSG_NOSIGNAL), EPIPE);
}

static void unread_then_close(void)
{
	int fd[2];

	plat_pair(AF_INET, fd);
	FACT(write(fd[1], buf, 1) == 1);
	FACT(write(fd[0], buf, 700) == 700);
	FACT(mask(fd[0], POLLIN) & POLLIN);
	FACT(close(fd[0]) == 0); /* with a byte unread: a reset, not a FIN */
	FACT(mask(fd[1], POLLERR) & POLLERR);
	FACT(recv(fd[1], buf, 1000, 0) == 700);
	FAILS(recv(fd[1], buf, 1000, 0), ECONNRESET);
}

static void end_then_reset(void)
{
	int fd[2];

	/* After the peer's FIN (CLOSE_WAIT) a reset is EPIPE for a writer and the end for a reader. */
	plat_pair(AF_INET, fd);
	FACT(close(fd[0]) == 0);
	FACT(mask(fd[1], POLLRDHUP) == (POLLIN | POLLOUT | POLLRDHUP));
	FACT(send(fd[1], buf, 1, MSG_NOSIGNAL) == 1);
	FACT(mask(fd[1], POLLHUP) == (POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP));
	FAILS(send(fd[1], buf, 1, MSG_NOSIGNAL), EPIPE);
	FACT(recv(fd[1], buf, 1, 0) == 0);
}

static void so_error_takes_it(void)
{
	int fd[2], err = 0;
	socklen_t len = sizeof(err);

	plat_pair(AF_INET, fd);
	reset(fd[0]);
	FACT(mask(fd[1], POLLERR) & POLLERR);
	FACT(getsockopt(fd[1], SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == ECONNRESET);
	FACT(recv(fd[1], buf, 1, 0) == 0);
}

static void killed(int unread)
{
	int fd[2], st;

	plat_pair(AF_INET, fd);
	pid_t pid = fork();

	if (!pid) {
		close(fd[1]);
		FACT(write(fd[0], buf, 900) == 900);
		pause();
	}
	close(fd[0]);
	if (unread)
		FACT(write(fd[1], buf, 10) == 10);
	FACT(mask(fd[1], POLLIN) & POLLIN);
	kill(pid, SIGKILL);
	FACT(waitpid(pid, &st, 0) == pid);
	FACT(mask(fd[1], POLLRDHUP) & POLLRDHUP);
	FACT(recv(fd[1], buf, 1000, MSG_WAITALL) == 900);
	if (unread)
		FAILS(recv(fd[1], buf, 1, 0), ECONNRESET);
	else
		FACT(recv(fd[1], buf, 1, 0) == 0);
}

int main(void)
{
	alarm(50);
	queued_then_reset();
	unread_then_close();
	end_then_reset();
	so_error_takes_it();
	killed(0);
	killed(1);
	return 0;
}
