/* plat.h - how the platform programs check: a fact that does not hold ends the program with its text
 *
 * Each program here proves something about Linux that the design rests on. It uses nothing of ours,
 * runs natively, exits 0 if every fact holds, 77 if this kernel cannot show it, 1 otherwise.
 */
#ifndef TESTS_PLATFORM_PLAT_H
#define TESTS_PLATFORM_PLAT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/** FACT() - what must be true on this kernel */
#define FACT(cond)                                                                            \
	do {                                                                                  \
		errno = 0;                                                                    \
		if (!(cond)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s (errno %s)\n", __FILE__, __LINE__, \
				#cond, strerrorname_np(errno));                               \
			exit(1);                                                              \
		}                                                                             \
	} while (0)

/** FAILS() - a call that must fail with this errno */
#define FAILS(call, err) FACT((long)(call) == -1 && errno == (err))

static inline void plat_skip(const char *why)
{
	fprintf(stderr, "skipped: %s\n", why);
	exit(77);
}

/** plat_pair() - two ends of a TCP connection over loopback: @fd[0] connected, @fd[1] accepted */
static inline void plat_pair(int family, int fd[2])
{
	struct sockaddr_storage sa = { .ss_family = family };
	socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in)
					  : sizeof(struct sockaddr_in6);

	if (family == AF_INET)
		((struct sockaddr_in *)&sa)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&sa)->sin6_addr = in6addr_loopback;
	int l = socket(family, SOCK_STREAM, 0);

	FACT(l >= 0);
	FACT(bind(l, (struct sockaddr *)&sa, len) == 0);
	FACT(listen(l, 4) == 0);
	FACT(getsockname(l, (struct sockaddr *)&sa, &len) == 0);
	fd[0] = socket(family, SOCK_STREAM, 0);
	FACT(connect(fd[0], (struct sockaddr *)&sa, len) == 0);
	fd[1] = accept(l, NULL, NULL);
	FACT(fd[1] >= 0);
	close(l);
}

#endif
