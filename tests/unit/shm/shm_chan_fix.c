/* shm_chan_fix.c - what the tests of channels share */
#include "tests/unit/shm/shm_chan_fix.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

uint16_t port;
int go[2];

uint32_t tid(void)
{
	return (uint32_t)gettid();
}

void setup(void)
{
	port = (uint16_t)(20000 + getpid() % 40000);
	cr_assert_eq(pipe(go), 0);
}

void let_go(void)
{
	cr_assert_eq(write(go[1], "x", 1), 1);
}

void child_waits(void)
{
	char x;

	NEED(read(go[0], &x, 1) == 1);
}

void child_ends_well(pid_t pid)
{
	int st = 0;

	cr_assert_eq(waitpid(pid, &st, 0), pid);
	cr_assert(WIFEXITED(st), "child died by signal %d", WTERMSIG(st));
	cr_assert_eq(WEXITSTATUS(st), 0, "child failed at a line = %d modulo 250",
		     WEXITSTATUS(st) - 1);
}

pid_t split(void)
{
	pid_t pid = fork();

	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

bool heard(struct shm_msg *msg, struct shm_peer **from, int ms)
{
	for (int i = 0; i < ms; i++) {
		if (shm_chan_poll(msg, from))
			return true;
		usleep(1000);
	}
	return false;
}

bool known(const struct shm_peer *peer)
{
	struct shm_msg msg;
	struct shm_peer *from;

	for (int i = 0; i < PATIENCE_MS && !peer->head; i++) {
		shm_chan_poll(&msg, &from);
		usleep(1000);
	}
	return peer->head;
}
