/* inst_table_test.c - what a stranger reads of an instance's memory is what its connections are */
#include "stack/base/base_lease.h"
#include "tests/lib/inst_pair.h"

#include <criterion/criterion.h>
#include <string.h>

#define PORT 80

static uint32_t word_at(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Return: the only entry of side @side that says it is open, or NULL. */
static const char *open_entry(const struct inst_pair *p, unsigned int side)
{
	const char *mem = p->mem[side], *found = NULL;
	struct lease_table t;

	inst_table(p->in[side], mem, &t);
	for (uint32_t i = 0; i < t.count; i++) {
		const char *entry = mem + t.at + (size_t)i * t.stride;

		if (!(t.open & 1u << (uint8_t)entry[t.state]))
			continue;
		cr_assert_null(found);
		found = entry;
	}
	return found;
}

Test(inst_table, inst_table__tells_flow_and_numbers_of_what_is_open)
{
	struct inst_pair_config cfg;
	struct inst_pair p;
	struct inst_listener *l;
	struct inst_conn *c;
	struct lease_table t;
	const char *mine, *theirs;
	union wire_addr any = wire_addr_v4(0);

	inst_pair_defaults(&cfg);
	inst_pair_init(&p, &cfg);
	cr_assert_eq(inst_listen(p.in[1], &any, PORT, 5, NULL, &l), 0);
	cr_assert_null(open_entry(&p, 0));
	c = inst_pair_connect(&p, PORT, false, NULL);
	inst_pair_run(&p, p.now + ZTIME_SEC);
	cr_assert_eq(inst_send(p.in[0], c, "hello", 5, 0, p.now), 5);
	inst_pair_run(&p, p.now + ZTIME_SEC);

	inst_table(p.in[0], p.mem[0], &t);
	mine = open_entry(&p, 0);
	theirs = open_entry(&p, 1);
	cr_assert(mine && theirs);
	cr_assert_arr_eq(mine + t.local, &p.addr4[0], 16);
	cr_assert_arr_eq(mine + t.remote, &p.addr4[1], 16);
	cr_assert_arr_eq(mine + t.lport, &inst_conn_flow(c)->lport, 2);
	cr_assert_arr_eq(mine + t.rport, &(uint16_t){ PORT }, 2);
	cr_assert_eq(word_at(mine + t.snd_nxt), word_at(theirs + t.rcv_nxt));
	cr_assert_eq(word_at(mine + t.rcv_nxt), word_at(theirs + t.snd_nxt));

	inst_abort(p.in[0], c, p.now);
	inst_pair_run(&p, p.now + ZTIME_SEC);
	cr_assert_null(open_entry(&p, 0));
	inst_pair_fini(&p);
}
