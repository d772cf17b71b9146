/* ztcpd_survey.c - what processes publish of their connections, read for the page of metrics
 *
 * Theory of operation. How much there is to read, and of what kind, is for each user to choose. So it is read by a child, which
 * has a nice value, little memory and little time, and nothing of ours open but a pipe; what it writes is collected
 * as it comes. A child that fails, or writes too much, costs the page this part, and nobody else anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/tool/tool_metrics.h"
#include "daemon/ztcpd/ztcpd.h"

enum {
	OUT_FD = 3,
	NICE = 10,
	SECONDS = 5,
	MEMORY_BYTES = 256 << 20,
	TEXT_BYTES = 16 << 20,
};

static void child_limit(rlim_t what, rlim_t most)
{
	const struct rlimit limit = { most, most };

	setrlimit((__rlimit_resource_t)what, &limit);
}

/* What is closed here stays open in the daemon, and what the daemon closes must not stay open here. */
static void child_run(int fd)
{
	FILE *out;
	bool good;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd != OUT_FD && dup2(fd, OUT_FD) < 0)
		_exit(EXIT_FAILURE);
	close_range(OUT_FD + 1, ~0U, 0);
	setpriority(PRIO_PROCESS, 0, NICE);
	child_limit(RLIMIT_DATA, MEMORY_BYTES);
	child_limit(RLIMIT_CORE, 0);
	alarm(SECONDS);
	out = fdopen(OUT_FD, "w");
	good = out && !metrics_print(out);
	good &= out && !fclose(out);
	_exit(good ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* It has written all that it will. */
static void survey_end(struct ztcpd *d, struct survey *s, bool good)
{
	int status;

	source_drop(d, &s->src);
	if (!good)
		kill(s->child, SIGKILL);
	while (waitpid(s->child, &status, 0) < 0 && errno == EINTR)
		;
	s->child = 0;
	s->good = good && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
	if (!s->good)
		s->len = 0;
	s->done(d);
}

static bool survey_room(struct survey *s)
{
	size_t room = s->room ? 2 * s->room : 1 << 16;
	char *text;

	if (s->len < s->room)
		return true;
	text = room <= TEXT_BYTES ? realloc(s->text, room) : NULL;
	if (!text)
		return false;
	s->text = text;
	s->room = room;
	return true;
}

static void survey_ready(struct ztcpd *d, struct source *src, uint32_t events)
{
	struct survey *s = (struct survey *)src;
	ssize_t n;

	(void)events;
	if (!survey_room(s)) {
		survey_end(d, s, false);
		return;
	}
	n = read(src->fd, s->text + s->len, s->room - s->len);
	if (n > 0)
		s->len += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		survey_end(d, s, n == 0);
}

int survey_begin(struct ztcpd *d, struct survey *s)
{
	int fd[2], err;

	if (s->child)
		return 0;
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	s->len = 0;
	s->src = (struct source){ fd[0], survey_ready };
	err = source_add(d, &s->src, EPOLLIN);
	fcntl(fd[1], F_SETFL, 0);
	s->child = err ? -1 : fork();
	if (!s->child)
		child_run(fd[1]);
	if (s->child < 0) {
		err = err ? err : -errno;
		source_drop(d, &s->src);
		s->child = 0;
	}
	close(fd[1]);
	return err;
}

void survey_stop(struct ztcpd *d, struct survey *s)
{
	if (s->child)
		survey_end(d, s, false);
	free(s->text);
	s->text = NULL;
}
