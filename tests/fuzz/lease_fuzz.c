/* lease_fuzz.c - what ztcpd reads of a lease: any messages in any order, any table over any memory
 *
 * Input: first a table and a memory of the rest's bytes; then the same bytes again as messages of one session. Invariants: no entry
 * of a table that is sound is read outside of it, a message that fits is one that its state knows, and a port covers only
 * connections of its own number and address.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/ztcpd/lease_rule.h"

static void table_try(const uint8_t *data, size_t size)
{
	struct lease_table t;
	struct lease_entry e;
	char *entry;

	if (size < sizeof(t))
		return;
	memcpy(&t, data, sizeof(t));
	data += sizeof(t);
	size -= sizeof(t);
	t.stride %= 2 * LEASE_STRIDE_MAX;
	if (!lease_table_is_sound(&t))
		return;
	entry = malloc(t.stride); /* no byte more, for the sanitizer */
	if (!entry)
		abort();
	for (uint32_t i = 0; i < t.count && size; i++) {
		size_t n = size < t.stride ? size : t.stride;

		memset(entry, 0, t.stride);
		memcpy(entry, data, n);
		data += n;
		size -= n;
		if (lease_entry_read(&t, entry, &e) &&
		    memcmp(e.flow.local, entry + t.local, sizeof(e.flow.local)) != 0)
			abort();
	}
	free(entry);
}

/* Where a session is after a message that fits, and has gone well. */
static enum lease_state after(enum lease_state state, uint32_t type)
{
	switch (type) {
	case LEASE_WATCH: return LEASE_WATCHED;
	case LEASE_ASK: return LEASE_ASKED;
	case LEASE_BIND: return LEASE_PENDING;
	default: return state;
	}
}

static void messages_try(const uint8_t *data, size_t size)
{
	enum lease_state state = LEASE_NONE;
	struct lease_msg msg;
	bool told = false;

	for (; size > sizeof(msg); data += sizeof(msg) + 1, size -= sizeof(msg) + 1) {
		unsigned nfds = data[sizeof(msg)] & 3;

		memcpy(&msg, data, sizeof(msg));
		msg.type %= LEASE_NEIGH + 2;
		if (!lease_fits(state, told, &msg, nfds)) {
			state = state == LEASE_PENDING ? LEASE_LEASED : state;
			continue;
		}
		if (msg.version != LEASE_VERSION || state == LEASE_PENDING || nfds > 2)
			abort();
		if (msg.type >= LEASE_NAME && state != LEASE_LEASED)
			abort();
		told |= msg.type == LEASE_TABLE;
		state = after(state, msg.type);
	}
}

static void port_try(const uint8_t *data, size_t size)
{
	struct nic_port p;
	struct nic_flow f;

	if (size < sizeof(p) + sizeof(f))
		return;
	memcpy(&p, data, sizeof(p));
	memcpy(&f, data + sizeof(p), sizeof(f));
	if (lease_port_covers(&p, 1, &f) && p.port != f.lport)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	table_try(data, size);
	messages_try(data, size);
	port_try(data, size);
	return 0;
}
