/* shm_copy_test.c - every byte of a copy arrives, and none beside it */
#include "shm/shm_copy.h"

#include <criterion/criterion.h>

enum { ROOM = 4 * SHM_COPY_STREAM, GUARD = 128 };

static char from[ROOM + 64];
static _Alignas(SHM_LINE) char to[ROOM + 2 * GUARD + 64];

static void check(size_t at, size_t shift, size_t n)
{
	memset(to, 0x5a, sizeof(to));
	shm_copy(to + GUARD + at, from + shift, n);
	cr_assert_arr_eq(to + GUARD + at, from + shift, n, "%zu bytes at %zu", n, at);
	for (size_t i = 0; i < sizeof(to); i++) {
		if (i < GUARD + at || i >= GUARD + at + n)
			cr_assert_eq(to[i], 0x5a, "%zu bytes at %zu: byte %zu", n, at, i);
	}
}

Test(shm_copy, shm_copy__all_alignments_around_the_threshold)
{
	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (char)(i * 7 + i / 251);
	for (size_t at = 0; at < SHM_LINE; at += 3) {
		check(at, 5, 0);
		check(at, at / 2, 1);
		for (size_t n = SHM_COPY_STREAM - 70; n < SHM_COPY_STREAM + 70; n += 9)
			check(at, 63 - at, n);
		check(at, at, ROOM);
	}
}
