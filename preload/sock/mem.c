/* mem.c - asking the kernel about the program's memory
 *
 * Two calls that look at memory and change nothing: rt_sigprocmask(2) with an operation that does not exist reads
 * a signal set before it says EINVAL, and futex(2) FUTEX_WAKE_OP can be told to "or" nothing into a word. Either
 * says EFAULT for what is not there. Any other answer, from a seccomp filter say, is no reason to distrust a pointer.
 */
#include "preload/sock/mem.h"
#include "shm/shm_sys.h"

#include <errno.h>
#include <linux/futex.h>

enum { MEM_ALL = 16 << MEM_PAGE_SHIFT }; /* up to here every page is asked about */

__thread struct mem_known mem_self[2] __attribute__((tls_model("initial-exec")));
_Atomic uint64_t mem_gen = MEM_GEN;

static bool page_readable(uintptr_t p)
{
	return sys(SYS_rt_sigprocmask, -1, p & ~(uintptr_t)7, 0, sizeof(uint64_t)) != -EFAULT;
}

static bool page_writable(uintptr_t p)
{
	static uint32_t nobody; /* waits here */

	return sys(SYS_futex, &nobody, FUTEX_WAKE_OP_PRIVATE, 0, 0, p & ~(uintptr_t)3,
		   FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_LT, -2048)) != -EFAULT;
}

/* The end of a range that is there from @p on; @end at most. */
static uintptr_t ask_pages(uintptr_t p, uintptr_t end, bool write)
{
	struct mem_known *known = &mem_self[write];

	while (p < end) {
		uintptr_t page = p >> MEM_PAGE_SHIFT;
		uint64_t key = mem_key(page); /* before asking: a change meanwhile is not missed */

		if (known->page[page % MEM_KNOWN] != key) {
			if (!(write ? page_writable(p) : page_readable(p)))
				return p;
			known->page[page % MEM_KNOWN] = key;
		}
		p = (page + 1) << MEM_PAGE_SHIFT;
	}
	return end;
}

/*
 * Of a long range the beginning and the end are asked about, and all of it only where the end is not there: a buffer
 * with a hole in its middle is hardly a mistake that programs make, and asking about each page of a large buffer costs
 * as much as copying it.
 */
static size_t there(uintptr_t p, size_t n, bool write)
{
	uintptr_t end = p + n, found;

	if (end < p || end >> 47 ||
	    p >> MEM_PAGE_SHIFT == 0) /* no address is no question, to the kernel */
		return 0;
	if (n > MEM_ALL) {
		found = ask_pages(p, p + MEM_ALL, write);
		if (found < p + MEM_ALL || ask_pages(end - 1, end, write) == end)
			return (found < p + MEM_ALL ? found : end) - p;
	}
	return ask_pages(p, end, write) - p;
}

bool mem_ask(uintptr_t p, size_t n, bool write)
{
	return there(p, n, write) == n;
}

size_t mem_prefix(const struct iovec *iov, int n, size_t limit, bool write)
{
	size_t all = 0;

	for (int i = 0; i < n && all < limit; i++) {
		size_t len = iov[i].iov_len < limit - all ? iov[i].iov_len : limit - all, good;

		good = !len || mem_there(iov[i].iov_base, len, write)
			       ? len
			       : there((uintptr_t)iov[i].iov_base, len, write);
		all += good;
		if (good < len)
			break;
	}
	return all;
}
