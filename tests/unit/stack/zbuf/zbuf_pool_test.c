/* zbuf_pool_test.c - pools, counts, callbacks, foreign regions */
#include "stack/zbuf/zbuf.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct zbuf_mem_pool *pool_make(size_t bytes)
{
	struct zbuf_mem_pool *pool = zbuf_mem_pool_new(bytes, ZBUF_PAGES_ORDINARY);

	cr_assert_not_null(pool);
	return pool;
}

static size_t pool_out(struct zbuf_mem_pool *pool)
{
	struct zbuf_stats stats;

	zbuf_stats(pool, &stats);
	return stats.buffers_out;
}

Test(zbuf_pool, zbuf_malloc__gives_the_next_size_up_aligned_and_apart)
{
	static const size_t asks[] = { 1, 256, 257, 1024, 1500, 2048, 4096, 9000, 16384, 65536 };
	static const size_t gets[] = {
		256, 256, 1024, 1024, 2048, 2048, 4096, 16384, 16384, 65536
	};
	struct zbuf_mem_pool *pool = pool_make(64 << 20);
	char *got[10];

	for (int i = 0; i < 10; i++) {
		got[i] = zbuf_malloc(pool, asks[i]);
		cr_assert_not_null(got[i]);
		cr_expect_eq((uintptr_t)got[i] % 64, 0);
		cr_expect_eq(zbuf_size(got[i]), gets[i]);
		memset(got[i], i + 1, asks[i]);
	}
	for (int i = 0; i < 10; i++) {
		for (size_t k = 0; k < asks[i]; k++)
			cr_assert_eq(got[i][k], i + 1, "buffer %d overlaps another", i);
		zbuf_free(got[i]);
	}
	cr_expect_eq(pool_out(pool), 0);
	cr_expect_eq(zbuf_mem_pool_free(pool), 0);
}

Test(zbuf_pool, zbuf_malloc__nothing_and_too_much_fail)
{
	struct zbuf_mem_pool *pool = pool_make(4 << 20);

	cr_expect_null(zbuf_malloc(pool, 0));
	cr_expect_null(zbuf_malloc(pool, ZBUF_SIZE_MAX + 1));
	cr_expect_eq(zbuf_mem_pool_free(pool), 0);
	cr_expect_null(zbuf_mem_pool_new(1000, ZBUF_PAGES_ANY));
}

Test(zbuf_pool, zbuf_malloc__stops_at_the_limit_and_goes_on_after_free)
{
	struct zbuf_mem_pool *pool = pool_make(ZBUF_ARENA_BYTES);
	void *got[64];
	int n = 0;

	while (n < 64 && (got[n] = zbuf_malloc(pool, 65536)))
		n++;
	cr_expect_eq(n, 31); /* one arena less its descriptors */
	cr_expect_eq(errno, ENOMEM);
	cr_expect_eq(zbuf_mem_pool_free(pool), -EBUSY);
	zbuf_free(got[--n]);
	got[n] = zbuf_malloc(pool, 65536);
	cr_expect_not_null(got[n]);
	for (; n >= 0; n--)
		zbuf_free(got[n]);
	cr_expect_eq(zbuf_mem_pool_free(pool), 0);
}

Test(zbuf_pool, zbuf_get__any_inner_pointer_counts)
{
	struct zbuf_mem_pool *pool = pool_make(4 << 20);
	char *buf = zbuf_malloc(pool, 2048);

	cr_expect_eq(zbuf_mem_pool(buf + 2047), pool);
	cr_expect_null(zbuf_mem_pool(&pool));
	cr_expect_eq(zbuf_get(buf + 1000), buf + 1000);
	zbuf_get(buf + 2047);
	cr_expect_eq(zbuf_refs(buf), 3);
	zbuf_free(buf + 5);
	zbuf_free(buf);
	cr_expect_eq(pool_out(pool), 1);
	zbuf_free(buf + 2047);
	cr_expect_eq(pool_out(pool), 0);
	cr_expect_eq(zbuf_mem_pool_free(pool), 0);
}

static void note_done(void *arg, void *data, size_t len)
{
	void **note = arg;

	note[0] = data;
	note[1] = (void *)(uintptr_t)len;
	note[2] = (char *)note[2] + 1;
}

Test(zbuf_pool, zbuf_done_set__runs_once_at_the_last_reference)
{
	struct zbuf_mem_pool *pool = pool_make(4 << 20);
	char *buf = zbuf_malloc(pool, 100);
	void *note[3] = { 0 };

	zbuf_done_set(buf + 7, note_done, note);
	zbuf_get(buf);
	zbuf_free(buf);
	cr_expect_null(note[0]);
	zbuf_free(buf + 99);
	cr_expect_eq(note[0], buf);
	cr_expect_eq((uintptr_t)note[1], 256);
	buf = zbuf_malloc(pool, 100);
	zbuf_free(buf);
	cr_expect_eq((uintptr_t)note[2], 1);
	cr_expect_eq(zbuf_mem_pool_free(pool), 0);
}

Test(zbuf_pool, zbuf_free__once_too_often_stops_the_program, .signal = SIGILL)
{
	struct zbuf_mem_pool *pool = pool_make(4 << 20);
	char *buf = zbuf_malloc(pool, 100);

	zbuf_free(buf);
	zbuf_free(buf);
}

Test(zbuf_region, zbuf_region_add__foreign_memory_is_counted_by_grain)
{
	void *note[3] = { 0 };
	char *mem = malloc(10000);

	cr_assert_eq(zbuf_region_add(mem, 10000, 4096, note_done, note), 0);
	cr_expect_eq(zbuf_region_add(mem + 5000, 100, 64, NULL, NULL), -EEXIST);
	cr_expect_null(zbuf_mem_pool(mem));
	zbuf_get(mem + 8192);
	zbuf_get(mem + 9999);
	cr_expect_eq(zbuf_refs(mem + 8200), 2);
	cr_expect_eq(zbuf_refs(mem), 0);
	cr_expect_eq(zbuf_region_remove(mem), -EBUSY);
	zbuf_free(mem + 9000);
	cr_expect_null(note[0]);
	zbuf_free(mem + 9000);
	cr_expect_eq(note[0], mem + 8192);
	cr_expect_eq((uintptr_t)note[1], 10000 - 8192);
	cr_expect_eq(zbuf_region_remove(mem), 0);
	cr_expect_eq(zbuf_refs(mem), 0);
	cr_expect_eq(zbuf_region_remove(mem), -ENOENT);
	free(mem);
}

Test(zbuf_region, zbuf_region_add__neighbours_in_one_granule)
{
	char *mem = aligned_alloc(4096, 16384);

	cr_assert_eq(zbuf_region_add(mem, 4096, 4096, NULL, NULL), 0);
	cr_assert_eq(zbuf_region_add(mem + 8192, 4096, 64, NULL, NULL), 0);
	zbuf_get(mem + 1);
	zbuf_get(mem + 8192 + 65);
	cr_expect_eq(zbuf_size(mem), 4096);
	cr_expect_eq(zbuf_size(mem + 4096), 0);
	cr_expect_eq(zbuf_size(mem + 8192), 64);
	cr_expect_eq(zbuf_refs(mem + 8192), 0);
	zbuf_free(mem);
	zbuf_free(mem + 8192 + 127);
	cr_expect_eq(zbuf_region_remove(mem), 0);
	cr_expect_eq(zbuf_region_remove(mem + 8192), 0);
	free(mem);
}

Test(zbuf_region, zbuf_region_add__bad_arguments)
{
	char byte[64];

	cr_expect_eq(zbuf_region_add(byte, 64, 48, NULL, NULL), -EINVAL);
	cr_expect_eq(zbuf_region_add(byte, 0, 64, NULL, NULL), -EINVAL);
	cr_expect_eq(zbuf_region_add(NULL, 64, 64, NULL, NULL), -EINVAL);
}

Test(zbuf_wire_ops, owner_is_the_buffer_that_any_pointer_into_it_leads_to)
{
	struct zbuf_mem_pool *pool = pool_make(4 << 20);
	struct wire_buf_ops ops;
	uint8_t *data;
	void *owner;

	zbuf_wire_ops(pool, &ops);
	owner = ops.alloc(ops.ctx, 1500, &data);
	cr_assert_not_null(owner);
	cr_expect_eq(zbuf_of(data + 1499), owner);
	cr_expect_null(zbuf_of(&pool));
	ops.get(ops.ctx, owner);
	ops.put(ops.ctx, zbuf_of(data + 700));
	cr_expect_eq(pool_out(pool), 1);
	zbuf_free(data + 1);
	cr_expect_eq(pool_out(pool), 0);
	cr_expect_eq(zbuf_mem_pool_free(pool), 0);
}
