/* shm_arena_test.c - what an arena hands out, what seals forbid, and descriptors that are not arenas */
#include "shm/shm_arena.h"

#include "shm/shm_conn.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static uint32_t tid(void)
{
	return (uint32_t)gettid();
}

static struct shm_arena arena_make(void)
{
	struct shm_arena a;

	cr_assert_eq(shm_arena_make(&a), 0);
	return a;
}

Test(shm_arena, shm_arena_conn_alloc__zeroed_aligned_apart_and_reused)
{
	struct shm_arena a = arena_make();
	struct shm_conn *c[100], *again;

	for (unsigned i = 0; i < 100; i++) {
		c[i] = shm_arena_conn_alloc(&a, tid());
		cr_assert_not_null(c[i]);
		cr_expect_eq((uintptr_t)c[i] % SHM_LINE, 0);
		for (size_t k = 0; k < sizeof(*c[i]); k++)
			cr_assert_eq(((char *)c[i])[k], 0);
		memset(c[i], 0x55, sizeof(*c[i]));
	}
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(c[i]->ctl.tail, UINT64_C(0x5555555555555555), "block %u overlaps", i);
	for (unsigned i = 0; i < 100; i++)
		shm_arena_conn_free(&a, c[i], tid());
	uint64_t bump = a.head->pool.bump;

	for (unsigned i = 0; i < 100; i++) {
		again = shm_arena_conn_alloc(&a, tid());
		cr_assert_not_null(again);
		for (size_t k = 0; k < sizeof(*again); k++)
			cr_assert_eq(((char *)again)[k], 0, "reused memory is not zeroed");
	}
	cr_expect_eq(a.head->pool.bump, bump);
}

Test(shm_arena, shm_arena_ring_alloc__each_size_from_its_own_list)
{
	struct shm_arena a = arena_make();
	uint32_t ref[SHM_RING_LOG2_MAX + 1];

	for (unsigned l = SHM_RING_LOG2_MIN; l <= SHM_RING_LOG2_MAX; l++) {
		ref[l] = shm_arena_ring_alloc(&a, l, tid());
		cr_assert_neq(ref[l], 0);
		cr_expect_eq(shm_ring_log2(ref[l]), l);
		cr_expect_leq(shm_ring_offset(ref[l]) + (UINT64_C(1) << l), a.bytes);
		memset((char *)a.head + shm_ring_offset(ref[l]), (int)l, UINT64_C(1) << l);
	}
	for (unsigned l = SHM_RING_LOG2_MIN; l <= SHM_RING_LOG2_MAX; l++) {
		const char *at = (const char *)a.head + shm_ring_offset(ref[l]);

		cr_expect(at[0] == (char)l && at[(1u << l) - 1] == (char)l, "ring %u overlaps", l);
		shm_arena_ring_free(&a, ref[l], tid());
	}
	for (unsigned l = SHM_RING_LOG2_MIN; l <= SHM_RING_LOG2_MAX; l++)
		cr_expect_eq(shm_arena_ring_alloc(&a, l, tid()), ref[l]);
	shm_arena_ring_free(&a, 0, tid()); /* no ring: no effect */
}

Test(shm_arena, shm_arena_ring_alloc__ends_when_the_arena_is_full)
{
	struct shm_arena a = arena_make();
	unsigned n = 0;

	while (shm_arena_ring_alloc(&a, SHM_RING_LOG2_MAX, tid()))
		cr_assert_lt(n++, a.bytes >> SHM_RING_LOG2_MAX);
	cr_expect_geq(n, (a.bytes >> SHM_RING_LOG2_MAX) - 2);
	a.head->pool.bump = a.bytes;
	cr_expect_null(shm_arena_conn_alloc(&a, tid()));
}

Test(shm_arena, shm_arena_bell_alloc__never_none_nor_all_and_ends)
{
	struct shm_arena a = arena_make();
	bool seen[SHM_BELLS] = { false };
	unsigned n = 0, bell;

	while ((bell = shm_arena_bell_alloc(&a, tid())) != 0) {
		cr_assert(bell < SHM_BELLS - 1 && !seen[bell]);
		seen[bell] = true;
		n++;
	}
	cr_expect_eq(n, SHM_BELLS - 2);
	cr_expect_eq(shm_arena_bell_alloc(&a, tid()), 0);
}

/* ---- the border: a peer that holds the descriptor ---- */

Test(shm_arena, shm_arena_make__a_peer_has_no_way_to_write_or_cut)
{
	struct shm_arena a = arena_make();
	const struct shm_head *peer = NULL;
	char path[64], x = 1;
	int again;

	a.head->pulse.asleep = 7;
	cr_assert_eq(shm_arena_map_peer(a.fd, a.bytes, &peer), 0);
	cr_expect_eq(peer->pulse.asleep, 7);
	a.head->pulse.asleep = 8;
	cr_expect_eq(peer->pulse.asleep, 8);
	cr_expect_eq(mprotect((void *)peer, 4096, PROT_READ | PROT_WRITE), -1);
	cr_expect_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, a.fd, 0), MAP_FAILED);
	cr_expect_eq(write(a.fd, &x, 1), -1);
	cr_expect_eq(ftruncate(a.fd, 0), -1);
	cr_expect_eq(fallocate(a.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
	cr_expect_eq(madvise((void *)peer, 4096, MADV_REMOVE), -1);
	cr_expect_eq(fcntl(a.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", a.fd);
	again = open(path, O_RDWR);
	if (again >= 0) {
		cr_expect_eq(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, again, 0), MAP_FAILED);
		cr_expect_eq(pwrite(again, &x, 1, 0), -1);
		cr_expect_eq(ftruncate(again, 4096), -1);
	}
	cr_expect_eq(peer->magic, SHM_MAGIC);
	cr_expect(shm_arena_drop_peer(peer, a.bytes));
	cr_expect_eq(peer->magic, 0, "who still looks sees nothing, and lives");
	shm_arena_unmap_peer(peer, a.bytes);
}

static int memfd(size_t bytes, unsigned seals, bool magic)
{
	int fd = memfd_create("not-an-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct shm_head h = { .magic = SHM_MAGIC, .version = SHM_VERSION };

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
	if (magic)
		cr_assert_gt(pwrite(fd, &h, 64, 0), 0);
	cr_assert_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

Test(shm_arena, shm_arena_map_peer__refuses_what_is_no_arena)
{
	const uint64_t big = 1 << 20;
	const struct shm_head *h = NULL;
	int fds[2];

	cr_expect_eq(shm_arena_map_peer(memfd(big, F_SEAL_GROW, true), big, &h), -EPROTO,
		     "may shrink");
	cr_expect_eq(shm_arena_map_peer(memfd(big, F_SEAL_SHRINK, false), big, &h), -EPROTO,
		     "no magic");
	cr_expect_eq(shm_arena_map_peer(memfd(big, F_SEAL_SHRINK, true), big + 1, &h), -EPROTO,
		     "lies");
	cr_expect_eq(shm_arena_map_peer(memfd(64, F_SEAL_SHRINK, true), 64, &h), -EPROTO,
		     "too small");
	cr_expect_eq(shm_arena_map_peer(memfd(0, F_SEAL_SHRINK, false), 0, &h), -EPROTO, "empty");
	cr_expect_eq(shm_arena_map_peer(memfd((size_t)2 << 30, F_SEAL_SHRINK, true),
					UINT64_C(2) << 30, &h),
		     -EPROTO, "too large");
	cr_assert_eq(pipe(fds), 0);
	cr_expect_eq(shm_arena_map_peer(fds[0], big, &h), -EPROTO, "a pipe");
	cr_expect_eq(shm_arena_map_peer(eventfd(0, 0), big, &h), -EPROTO, "an eventfd");
	cr_expect_eq(shm_arena_map_peer(open("/dev/zero", O_RDWR), big, &h), -EPROTO, "a device");
	cr_expect_eq(shm_arena_map_peer(-1, big, &h), -EPROTO, "nothing");
	cr_expect_null(h);
}

Test(shm_arena, shm_arena_map_peer__accepts_what_is_one)
{
	const uint64_t big = 1 << 20;
	const struct shm_head *h = NULL;

	cr_expect_eq(shm_arena_map_peer(memfd(big, F_SEAL_SHRINK, true), big, &h), 0);
	cr_expect_not_null(h);
}

/* Huge pages come when touched, and a process that touches one when none is free dies. */
Test(shm_arena, shm_arena_map_peer__refuses_huge_pages)
{
	const uint64_t big = 2 << 20;
	const struct shm_head *h = NULL;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);

	if (fd < 0 || ftruncate(fd, (off_t)big) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		cr_skip_test("no huge pages in this kernel");
	cr_expect_eq(shm_arena_map_peer(fd, big, &h), -EPROTO);
}
