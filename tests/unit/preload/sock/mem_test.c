/* mem_test.c - what is said of memory that is there, that is not, and that no longer is */
#include "preload/sock/mem.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096

static char *pages(int n, int prot)
{
	return mmap(NULL, (size_t)n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

Test(mem_readable, tells_protections_apart)
{
	char *none = pages(1, PROT_NONE), *read = pages(1, PROT_READ),
	     *both = pages(1, PROT_READ | PROT_WRITE);

	cr_assert_not(mem_readable(NULL, 1));
	cr_assert_not(mem_readable((void *)-1, 1));
	cr_assert_not(mem_readable((void *)(UINT64_C(1) << 47), 1));
	cr_assert_not(mem_readable(none, 1));
	cr_assert(mem_readable(none, 0), "no bytes are always there");
	cr_assert(mem_readable(read, PAGE));
	cr_assert_not(mem_writable(read, 1));
	cr_assert(mem_writable(both, PAGE));
	cr_assert_not(mem_readable(both, SIZE_MAX));
}

Test(mem_readable, changes_nothing)
{
	char *p = pages(1, PROT_READ | PROT_WRITE);

	memset(p, 0x5a, PAGE);
	cr_assert(mem_readable(p + 1, PAGE - 1));
	cr_assert(mem_writable(p + PAGE - 1, 1));
	for (int i = 0; i < PAGE; i++)
		cr_assert_eq(p[i], 0x5a);
}

Test(mem_readable, forgets_when_mappings_change)
{
	char *p = pages(1, PROT_READ | PROT_WRITE);

	cr_assert(mem_writable(p, 10));
	mprotect(p, PAGE, PROT_READ);
	mem_changed();
	cr_assert_not(mem_writable(p, 10));
	cr_assert(mem_readable(p, 10));
	munmap(p, PAGE);
	mem_changed();
	cr_assert_not(mem_readable(p, 10));
}

Test(mem_readable, a_count_that_comes_round_matches_nothing)
{
	char *p = pages(1, PROT_READ | PROT_WRITE);

	for (int i = 0; i < 70000; i++) {
		mem_changed();
		cr_assert_not(mem_readable(NULL, 1));
	}
	cr_assert(mem_readable(p, 1));
}

Test(mem_prefix, ends_at_the_first_hole)
{
	char *p = pages(3, PROT_READ | PROT_WRITE);
	struct iovec v[3] = { { p, 100 }, { NULL, 0 }, { p + PAGE - 50, 100 } };

	mprotect(p + PAGE, PAGE, PROT_NONE);
	cr_assert_eq(mem_prefix(v, 3, SIZE_MAX, false), 150);
	cr_assert_eq(mem_prefix(v, 3, 120, true), 120, "what is not asked about is not looked at");
	v[0].iov_base = p + PAGE;
	cr_assert_eq(mem_prefix(v, 3, SIZE_MAX, true), 0);
}

Test(mem_prefix, of_a_long_range_the_end_counts)
{
	char *p = pages(101, PROT_READ | PROT_WRITE);
	struct iovec v = { p, (size_t)101 * PAGE };

	cr_assert_eq(mem_prefix(&v, 1, SIZE_MAX, true), v.iov_len);
	mprotect(p + (size_t)100 * PAGE, PAGE, PROT_NONE);
	mem_changed();
	cr_assert_eq(mem_prefix(&v, 1, SIZE_MAX, true), (size_t)100 * PAGE);
}

Test(mem_in_window, is_a_page_for_as_long_as_mappings_stay)
{
	char *p = pages(2, PROT_READ | PROT_WRITE);
	_Atomic uint64_t window = 0;

	cr_assert_not(mem_in_window(&window, p, 128));
	cr_assert_not(mem_in_window(&window, NULL, 128));
	window = mem_window(p + 77);
	cr_assert(mem_in_window(&window, p, 128));
	cr_assert(mem_in_window(&window, p + PAGE - 128, 128));
	cr_assert_not(mem_in_window(&window, p + PAGE - 127, 128));
	cr_assert_not(mem_in_window(&window, p - 1, 128));
	cr_assert_not(mem_in_window(&window, p + PAGE, 128));
	mem_changed();
	cr_assert_not(mem_in_window(&window, p, 128));
}
