/* call_aio.c - overrides of asynchronous reads and writes: POSIX's aio_*(3) and the kernel's io_submit(2)
 *
 * Both use a descriptor behind the library: libc's aio from threads that call the kernel by themselves, and the
 * kernel's own by number. So a connection is the kernel's for good from its first request on. Requests on what
 * is no connection of ours, which are nearly all (files), cost a look into the table of descriptors. They run on the
 * program's threads and own nothing.
 */
#include "preload/call.h"
#include "preload/call_aio.h"
#include "preload/sock/direct.h"
#include "preload/sock/mem.h"
#include "preload/sock/span.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>

enum { AIO_RELEASE_MS = 100 };

static void leave(int fd)
{
	struct sock *s = sock_of(fd);
	int saved = errno;

	if (likely(!s) || call_is_foreign())
		return;
	if (!direct_has(s) || !direct_lower(s, REASON_UNSEEN))
		span_release(s, REASON_UNSEEN, AIO_RELEASE_MS);
	errno = saved;
}

EXPORT int aio_read(struct aiocb *cb)
{
	leave(cb->aio_fildes);
	return real.aio_read(cb);
}

EXPORT int aio_write(struct aiocb *cb)
{
	leave(cb->aio_fildes);
	return real.aio_write(cb);
}

EXPORT int lio_listio(int mode, struct aiocb *const list[], int n, struct sigevent *sig)
{
	for (int i = 0; i < n; i++)
		if (list[i])
			leave(list[i]->aio_fildes);
	return real.lio_listio(mode, list, n, sig);
}

long call_io_submit(const long *a)
{
	struct iocb *const *list = (struct iocb *const *)a[2];

	/* no socket is ours: nothing to look for; what cannot be read, the kernel refuses */
	for (long i = 0; sock_highest() >= 0 && i < a[1]; i++) {
		if (!mem_readable(&list[i], sizeof(*list)) ||
		    !mem_readable(list[i], sizeof(**list)))
			break;
		leave((int)list[i]->aio_fildes);
	}
	return real.syscall(SYS_io_submit, a[0], a[1], a[2]);
}

/* libaio's, which enters the kernel by itself and returns the error. */
EXPORT int io_submit(aio_context_t ctx, long n, struct iocb **list)
{
	const long a[] = { (long)ctx, n, (long)list };
	int saved = errno;
	long ret = call_io_submit(a);

	if (ret < 0) {
		ret = -errno;
		errno = saved;
	}
	return (int)ret;
}

/* With 64-bit offsets, which they have anyway here. */
EXPORT int aio_read64(struct aiocb64 *cb)
{
	return aio_read((struct aiocb *)cb);
}

EXPORT int aio_write64(struct aiocb64 *cb)
{
	return aio_write((struct aiocb *)cb);
}

EXPORT int lio_listio64(int mode, struct aiocb64 *const list[], int n, struct sigevent *sig)
{
	return lio_listio(mode, (struct aiocb *const *)list, n, sig);
}
