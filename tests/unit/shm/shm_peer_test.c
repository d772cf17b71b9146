/* shm_peer_test.c - what of a peer's arena can be a block */
#include "shm/shm_chan.h"
#include "shm/shm_conn.h"

#include <criterion/criterion.h>

Test(shm_peer, shm_peer_ctl__only_whole_blocks_inside_the_arena)
{
	struct shm_head h = { .magic = 0 };
	struct shm_peer p = { .head = &h, .bytes = 1 << 20 };
	uint32_t first = (sizeof(h) + SHM_CONN_UNIT - 1) / SHM_CONN_UNIT;
	uint32_t last = ((1 << 20) - sizeof(struct shm_conn)) / SHM_CONN_UNIT;

	cr_expect_null(shm_peer_ctl(&p, 0));
	cr_expect_null(shm_peer_ctl(&p, first - 1));
	cr_expect_not_null(shm_peer_ctl(&p, first));
	cr_expect_not_null(shm_peer_ctl(&p, last));
	cr_expect_null(shm_peer_ctl(&p, last + 1));
	cr_expect_null(shm_peer_ctl(&p, UINT32_MAX));
	p.head = NULL;
	cr_expect_null(shm_peer_ctl(&p, first));
}
