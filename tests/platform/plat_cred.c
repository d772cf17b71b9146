/* plat_cred.c - SO_PEERCRED on an abstract AF_UNIX socket is the kernel's word, for both ends
 *
 * Two processes find each other through an abstract name. What the one is told of the other is
 * taken when the connection is made, cannot be forged, and stays when a descriptor is passed on.
 */
#include "tests/platform/plat.h"

#include <stddef.h>
#include <sys/un.h>
#include <sys/wait.h>

static struct ucred cred(int fd)
{
	struct ucred c = { 0, 0, 0 };
	socklen_t len = sizeof(c);

	FACT(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) == 0);
	return c;
}

int main(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len = offsetof(struct sockaddr_un, sun_path) +
			snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, "plat_cred.%d",
				 getpid()) +
			1;
	int l = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), st;
	pid_t me = getpid();

	alarm(50);
	FACT(l >= 0 && bind(l, (struct sockaddr *)&sa, len) == 0 && listen(l, 4) == 0);
	/* The name is taken: nobody else can bind it while the socket lives. */
	int again = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	FAILS(bind(again, (struct sockaddr *)&sa, len), EADDRINUSE);
	pid_t pid = fork();

	FACT(pid >= 0);
	if (!pid) {
		int c = socket(AF_UNIX, SOCK_SEQPACKET, 0);

		FACT(connect(c, (struct sockaddr *)&sa, len) == 0);
		FACT(cred(c).pid == me && cred(c).uid == getuid());
		/* A grandchild that writes does not change who connected. */
		pid_t grand = fork();

		if (!grand) {
			FACT(write(c, "x", 1) == 1);
			_exit(0);
		}
		FACT(waitpid(grand, &st, 0) == grand && st == 0);
		char x;

		FACT(read(c, &x, 1) == 1);
		_exit(0);
	}
	int a = accept(l, NULL, NULL);
	char x;

	FACT(a >= 0 && read(a, &x, 1) == 1);
	FACT(cred(a).pid == pid && cred(a).uid == getuid() && cred(a).gid == getgid());
	FACT(write(a, "x", 1) == 1);
	FACT(waitpid(pid, &st, 0) == pid && st == 0);
	FACT(cred(a).pid == pid); /* also when it is dead */
	/* The name dies with its socket. */
	close(l);
	FACT(bind(again, (struct sockaddr *)&sa, len) == 0);
	return 0;
}
