/* random_calls.h - what the director and the actors of the random tester say to each other
 *
 * random_calls.c is the director: it draws the calls, knows what must become of each connection, waits until it has, and
 * prints (random_director.h). random_actor.c is an actor: a process that has the sockets and makes one call at a time as it is told, by a
 * socket pair of its own. All numbers of the harness are at RC_RPC and above, so that the subject's are as in any program.
 */
#ifndef TESTS_PARITY_RANDOM_CALLS_H
#define TESTS_PARITY_RANDOM_CALLS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
	RC_PROCS = 4,     /* actors at once; the first two live as long as the run */
	RC_RPC = 200,     /* + i: actor i's end; all actors hold them all */
	RC_RIGHTS = 210,  /* + 0, + 1: a pair by which actors pass descriptors */
	RC_FDS = 8,       /* most descriptors in a set */
	RC_BYTES = 32768, /* most bytes of a call */
	RC_TEXT = 500,
};

enum rc_op {
	RC_SOCKET,
	RC_BIND,
	RC_LISTEN,
	RC_CONNECT,
	RC_ACCEPT,
	RC_READ,
	RC_WRITE,
	RC_SENDFILE,
	RC_SPLICE_IN,
	RC_SPLICE_OUT,
	RC_DUP,
	RC_DUP2,
	RC_DUPFD,
	RC_FLAGS,
	RC_NONBLOCK,
	RC_CLOEXEC,
	RC_INQ,
	RC_SETOPT,
	RC_GETOPT,
	RC_NAME,
	RC_SHUTDOWN,
	RC_CLOSE,
	RC_POLL,
	RC_SELECT,
	RC_EP_NEW,
	RC_EP_CTL,
	RC_EP_WAIT,
	RC_FORK,
	RC_EXIT,
	RC_EXEC,
	RC_GIVE,
	RC_TAKE,
	RC_STATE,
	RC_COUNTS,
};

/** One call; which fields count depends on @op (random_actor.c) */
struct rc_req {
	enum rc_op op;
	int fd;
	int a;
	int b;
	unsigned flags;
	bool apart;   /* by a thread of its own */
	int how;      /* which call of its kind */
	long n;       /* bytes */
	uint64_t key; /* of the stream that the bytes belong to */
	uint64_t off; /* of the first of them in it */
	int sets;
	int fds[RC_FDS];
	int events[RC_FDS];
	socklen_t sa_len;
	struct sockaddr_storage sa;
};

struct rc_rep {
	long ret;
	int err;     /* errno if @ret is -1 */
	int signals; /* SIGPIPEs that came meanwhile */
	int x[4];
	socklen_t sa_len;
	struct sockaddr_storage sa;
	char text[RC_TEXT];
};

/** rc_actor() - be actor @me: make calls until told to exit; @ready: say so first, as after exec() */
void rc_actor(int me, int ready) __attribute__((noreturn));

#endif
