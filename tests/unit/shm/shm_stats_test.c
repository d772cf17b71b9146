/* shm_stats_test.c - the table that others read */
#include "shm/stats.h"

#include "shm/shm_fd.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

Test(shm_stats, stats_make__is_found_under_its_name_and_read_only)
{
	struct stats_head *t = stats_make();
	size_t bytes = STATS_END_AT;
	const struct stats_head *seen;
	char path[64], name[64] = "";
	int fd = shm_fd_next_hidden(0);

	cr_assert_not_null(t);
	cr_assert_geq(fd, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	cr_assert_gt(readlink(path, name, sizeof(name) - 1), 0);
	cr_expect_not_null(strstr(name, "ztcp-stats"));
	cr_expect_eq(lseek(fd, 0, SEEK_END), (off_t)bytes);
	cr_expect_eq(mmap(NULL, bytes, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	cr_expect_eq(write(fd, "x", 1), -1);
	cr_expect_eq(ftruncate(fd, 0), -1);
	seen = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	cr_assert_neq(seen, MAP_FAILED);
	cr_expect(seen->magic == STATS_MAGIC && seen->version == STATS_VERSION &&
		  seen->pid == (uint32_t)getpid());
	cr_expect_eq(seen->rows, STATS_ROWS);
	stats_row_alloc(t)->ops = 5;
	cr_expect(seen->used == 1 && seen->row[0].ops == 5 && seen->row[0].refs == 1);
}

Test(shm_stats, stats_row_alloc__zeroed_and_reused)
{
	struct stats_head *t = stats_make();
	struct stats_row *a = stats_row_alloc(t), *b = stats_row_alloc(t);

	cr_assert(a && b && a != b);
	memset((char *)a + 4, 0xee, sizeof(*a) - 4);
	atomic_store(&a->refs, 0);
	cr_expect_eq(stats_row_alloc(t), a);
	for (size_t i = 4; i < sizeof(*a); i++)
		cr_assert_eq(((unsigned char *)a)[i], 0);
	cr_expect_eq(t->used, 2);
}

Test(shm_stats, stats_row_alloc__full_and_again_free)
{
	struct stats_head *t = stats_make();
	struct stats_row *last = NULL, *row;
	unsigned n = 0;

	while ((row = stats_row_alloc(t)) != NULL) {
		last = row;
		n++;
	}
	cr_expect_eq(n, STATS_ROWS);
	atomic_store(&last->refs, 0);
	cr_expect_eq(stats_row_alloc(t), last);
	cr_expect_null(stats_row_alloc(t));
}

static void *takes(void *arg)
{
	struct stats_head *t = arg;

	for (unsigned i = 0; i < 20000; i++) {
		struct stats_row *row = stats_row_alloc(t);

		cr_assert_not_null(row);
		cr_assert_eq(row->ops, 0, "two threads got one row");
		row->ops = 1;
		row->ops = 0;
		atomic_store(&row->refs, 0);
	}
	return NULL;
}

Test(shm_stats, stats_row_alloc__threads_get_rows_of_their_own, .timeout = 120)
{
	struct stats_head *t = stats_make();
	pthread_t th[3];

	for (unsigned i = 0; i < 3; i++)
		pthread_create(&th[i], NULL, takes, t);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(th[i], NULL);
	cr_expect_leq(t->used, 256);
}
