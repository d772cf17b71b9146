/* real.h - libc's own functions behind the names that the library overrides
 *
 * One table of function pointers made from calls.def. Every entry starts as a stub that resolves the whole
 * table, so a call made before our constructor (from another library's) works and later calls cost one
 * indirect jump. Never changed after that; any thread.
 */
#ifndef PRELOAD_REAL_H
#define PRELOAD_REAL_H

#include <aio.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct real_calls {
#define CALL(ret, name, params, args)      ret(*name) params;
#define CALL_VOID(ret, name, params, args) ret(*name) params;
#define CALL_VA(ret, name, params)         ret(*name) params;
#define CALL_ALIAS(ret, name, target)
#define CALL_OWN(ret, name)
#include "preload/calls.def"
#undef CALL
#undef CALL_VOID
#undef CALL_VA
#undef CALL_ALIAS
#undef CALL_OWN
};

extern struct real_calls real __attribute__((visibility("hidden")));

/* Resolve the table; harmless to repeat. A name that this libc lacks answers ENOSYS. */
void real_init(void);

#endif
