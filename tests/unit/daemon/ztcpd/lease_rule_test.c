/* lease_rule_test.c - which messages of a lease make sense, and what its memory says */
#include "daemon/ztcpd/lease_rule.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

static struct lease_msg message(uint32_t type)
{
	return (struct lease_msg){ .type = type, .version = LEASE_VERSION };
}

static struct lease_table table(void)
{
	return (struct lease_table){ .stride = 48,
				     .count = 2,
				     .local = 0,
				     .remote = 16,
				     .lport = 32,
				     .rport = 34,
				     .snd_nxt = 36,
				     .rcv_nxt = 40,
				     .state = 44,
				     .open = 1u << 3 };
}

Test(lease_rule, lease_fits__each_message_in_its_state_alone)
{
	static const struct {
		uint32_t type;
		unsigned nfds;
		unsigned states; /* a bit for each in which it fits */
	} rows[] = {
		{ LEASE_WATCH, 2, 1u << LEASE_NONE },
		{ LEASE_ASK, 0, 1u << LEASE_NONE },
		{ LEASE_BIND, 0, 1u << LEASE_ASKED },
		{ LEASE_NAME, 0, 1u << LEASE_LEASED },
		{ LEASE_UNNAME, 0, 1u << LEASE_LEASED },
		{ LEASE_NEIGH, 0, 1u << LEASE_LEASED },
		{ LEASE_TABLE, 1, 1u << LEASE_LEASED | 1u << LEASE_WATCHED },
		{ LEASE_ANSWER, 0, 0 },
		{ LEASE_NEIGH + 1, 0, 0 },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (unsigned state = LEASE_NONE; state <= LEASE_WATCHED; state++)
			for (unsigned nfds = 0; nfds < 4; nfds++) {
				struct lease_msg msg = message(rows[i].type);
				bool want = rows[i].states >> state & 1 && nfds == rows[i].nfds;

				if (msg.type == LEASE_TABLE)
					msg.table = table();
				cr_expect_eq(lease_fits((enum lease_state)state, false, &msg, nfds),
					     want, "message %u in state %u with %u descriptors",
					     msg.type, state, nfds);
			}
}

Test(lease_rule, lease_fits__one_table_and_this_version)
{
	struct lease_msg msg = message(LEASE_TABLE);

	msg.table = table();
	cr_expect(lease_fits(LEASE_LEASED, false, &msg, 1));
	cr_expect_not(lease_fits(LEASE_LEASED, true, &msg, 1), "a second one");
	msg.table.state = 48;
	cr_expect_not(lease_fits(LEASE_LEASED, false, &msg, 1), "a field beyond the stride");
	msg = message(LEASE_ASK);
	msg.version++;
	cr_expect_not(lease_fits(LEASE_NONE, false, &msg, 0), "another version");
}

Test(lease_rule, lease_table_is_sound__bounds)
{
	struct lease_table t = table();

	t.stride = 0;
	cr_expect_not(lease_table_is_sound(&t));
	t.stride = LEASE_STRIDE_MAX + 1;
	cr_expect_not(lease_table_is_sound(&t));
	t = table();
	t.count = NIC_FLOWS + 1;
	cr_expect_not(lease_table_is_sound(&t));
	t = table();
	t.at = INT64_MAX;
	cr_expect_not(lease_table_is_sound(&t), "an offset that runs over");
}

Test(lease_rule, lease_entry_read__what_is_open)
{
	struct lease_table t = table();
	struct lease_entry e;
	char entry[48] = { 0 };
	const uint16_t lport = 80, rport = 4000;
	const uint32_t seq = 5, ack = 6;

	entry[t.local + 15] = 2;
	entry[t.remote + 15] = 1;
	memcpy(entry + t.lport, &lport, sizeof(lport));
	memcpy(entry + t.rport, &rport, sizeof(rport));
	memcpy(entry + t.snd_nxt, &seq, sizeof(seq));
	memcpy(entry + t.rcv_nxt, &ack, sizeof(ack));
	cr_expect_not(lease_entry_read(&t, entry, &e), "state 0 is not open");
	entry[t.state] = (char)200;
	cr_expect_not(lease_entry_read(&t, entry, &e), "there is no state 200");
	entry[t.state] = 3;
	cr_assert(lease_entry_read(&t, entry, &e));
	cr_expect(e.flow.local[3] == htonl(2) && e.flow.remote[3] == htonl(1));
	cr_expect(e.flow.lport == htons(80) && e.flow.rport == htons(4000));
	cr_expect(e.seq == 5 && e.ack == 6);
}

Test(lease_rule, lease_port_covers__address_family_and_number)
{
	const struct nic_flow v4 = { .local = { 0, 0, htonl(0xffff), htonl(0x0a000001) },
				     .lport = htons(80) };
	const struct nic_flow v6 = { .local = { htonl(0xfd090000), 0, 0, htonl(1) },
				     .lport = htons(80) };
	struct nic_port p = { .port = htons(80) };

	cr_expect(lease_port_covers(&p, 1, &v6), "the any-address of IPv6");
	cr_expect_not(lease_port_covers(&p, 1, &v4));
	p.local[2] = htonl(0xffff);
	cr_expect(lease_port_covers(&p, 1, &v4), "that of IPv4");
	cr_expect_not(lease_port_covers(&p, 1, &v6));
	p.local[3] = v4.local[3];
	cr_expect(lease_port_covers(&p, 1, &v4));
	p.local[3] = htonl(0x0a000002);
	cr_expect_not(lease_port_covers(&p, 1, &v4), "another address");
	memcpy(p.local, v4.local, sizeof(p.local));
	p.port = htons(81);
	cr_expect_not(lease_port_covers(&p, 1, &v4), "another port");
}
