/* plat_death.c - what a process that is killed leaves: its shared memory's bytes, its socket's end
 *
 * A peer that dies by SIGKILL runs no code. Its stores to shared memory are there for the others;
 * its AF_UNIX and TCP sockets hang up within milliseconds; an eventfd that it shared lives on.
 */
#include "tests/platform/plat.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

static void child(int unix_fd, int tcp, int ev, volatile unsigned *m)
{
	FACT(write(tcp, "abc", 3) == 3);
	FACT(write(unix_fd, "abc", 3) == 3);
	FACT(eventfd_write(ev, 5) == 0);
	for (unsigned i = 1;; i++)
		*m = i;
}

int main(void)
{
	int s[2], t[2], st, ev = eventfd(0, EFD_NONBLOCK);
	char buf[16];
	eventfd_t value;
	volatile unsigned *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				    -1, 0);

	alarm(50);
	FACT(m != MAP_FAILED);
	FACT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) == 0);
	plat_pair(AF_INET, t);
	pid_t pid = fork();

	if (!pid) {
		close(s[0]);
		close(t[0]);
		child(s[1], t[1], ev, m);
	}
	close(s[1]);
	close(t[1]);
	while (*m < 1000)
		usleep(1000);
	kill(pid, SIGKILL);
	struct pollfd p[2] = { { s[0], POLLRDHUP, 0 }, { t[0], POLLRDHUP, 0 } };

	while (!(p[0].revents & POLLHUP) || !(p[1].revents & POLLRDHUP))
		FACT(poll(p, 2, 10000) > 0);
	unsigned last = *m;

	FACT(waitpid(pid, &st, 0) == pid && WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	FACT(*m >= last && *m >= 1000);
	FACT(recv(s[0], buf, 16, 0) == 3);
	FACT(recv(s[0], buf, 16, 0) == 0);
	FACT(recv(t[0], buf, 16, 0) == 3);
	FACT(recv(t[0], buf, 16, 0) == 0);
	FACT(eventfd_read(ev, &value) == 0 && value == 5);
	return 0;
}
