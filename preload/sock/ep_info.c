/* ep_info.c - what the kernel knows of the registrations of an epoll set */
#include "preload/sock/ep_item.h"
#include "preload/sock/thread.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { INFO_PIECE = 4096 };

/* Return: false when it was one, and @f has had enough. */
static bool info_line(const char *line, bool (*f)(int, const struct epoll_event *, void *),
		      void *arg)
{
	unsigned long long data;
	struct epoll_event ev;
	unsigned events;
	int fd;

	if (sscanf(line, "tfd: %d events: %x data: %llx", &fd, &events, &data) != 3)
		return true;
	ev.events = events;
	ev.data.u64 = data;
	return f(fd, &ev, arg);
}

void ep_info_each(int epfd, bool (*f)(int fd, const struct epoll_event *ev, void *arg), void *arg)
{
	char text[INFO_PIECE], *line, *end;
	size_t have = 0;
	bool more = true;
	long fd, n;

	snprintf(text, sizeof(text), "/proc/self/fdinfo/%d", epfd);
	fd = sys(SYS_openat, AT_FDCWD, text, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	while (more && (n = sys(SYS_read, fd, text + have, sizeof(text) - 1 - have)) > 0) {
		have += (size_t)n;
		text[have] = '\0';
		for (line = text; more && (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			more = info_line(line, f, arg);
		}
		have = strlen(line);
		memmove(text, line, have);
	}
	sys(SYS_close, fd);
}
