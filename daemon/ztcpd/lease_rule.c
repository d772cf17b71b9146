/* lease_rule.c - what of a lease's messages and memory makes sense, without any system call */
#include "daemon/ztcpd/lease_rule.h"

#include <arpa/inet.h>
#include <string.h>

enum { ADDR = 16, STATES = 32 };

bool lease_fits(enum lease_state state, bool told, const struct lease_msg *msg, unsigned nfds)
{
	bool held = state == LEASE_LEASED || state == LEASE_WATCHED;

	if (msg->version != LEASE_VERSION)
		return false;
	switch (msg->type) {
	case LEASE_WATCH: return state == LEASE_NONE && nfds == 2;
	case LEASE_ASK: return state == LEASE_NONE && nfds == 0;
	case LEASE_BIND: return state == LEASE_ASKED && nfds == 0;
	case LEASE_TABLE: return held && !told && nfds == 1 && lease_table_is_sound(&msg->table);
	case LEASE_NAME:
	case LEASE_UNNAME:
	case LEASE_NEIGH: return state == LEASE_LEASED && nfds == 0;
	default: return false;
	}
}

static bool field_fits(const struct lease_table *t, unsigned at, unsigned len)
{
	return at + len <= t->stride;
}

bool lease_table_is_sound(const struct lease_table *t)
{
	return t->stride && t->stride <= LEASE_STRIDE_MAX && t->count <= NIC_FLOWS &&
	       t->at <= INT64_MAX - (uint64_t)NIC_FLOWS * LEASE_STRIDE_MAX &&
	       field_fits(t, t->local, ADDR) && field_fits(t, t->remote, ADDR) &&
	       field_fits(t, t->lport, 2) && field_fits(t, t->rport, 2) &&
	       field_fits(t, t->snd_nxt, 4) && field_fits(t, t->rcv_nxt, 4) &&
	       field_fits(t, t->state, 1);
}

static uint16_t port_at(const char *p)
{
	uint16_t port;

	memcpy(&port, p, sizeof(port));
	return htons(port);
}

bool lease_entry_read(const struct lease_table *t, const char *entry, struct lease_entry *out)
{
	unsigned state = (uint8_t)entry[t->state];

	if (state >= STATES || !(t->open & 1u << state))
		return false;
	memcpy(out->flow.local, entry + t->local, ADDR);
	memcpy(out->flow.remote, entry + t->remote, ADDR);
	out->flow.lport = port_at(entry + t->lport);
	out->flow.rport = port_at(entry + t->rport);
	memcpy(&out->seq, entry + t->snd_nxt, sizeof(out->seq));
	memcpy(&out->ack, entry + t->rcv_nxt, sizeof(out->ack));
	return true;
}

bool lease_is_v4(const uint32_t a[4])
{
	return !a[0] && !a[1] && a[2] == htonl(0xffff);
}

static bool is_any(const uint32_t a[4])
{
	return !a[3] && (lease_is_v4(a) || (!a[0] && !a[1] && !a[2]));
}

static bool covers(const struct nic_port *p, const struct nic_flow *flow)
{
	if (p->port != flow->lport)
		return false;
	return is_any(p->local) ? lease_is_v4(p->local) == lease_is_v4(flow->local)
				: !memcmp(p->local, flow->local, ADDR);
}

bool lease_port_covers(const struct nic_port *port, uint32_t n, const struct nic_flow *flow)
{
	for (uint32_t i = 0; i < n; i++)
		if (covers(&port[i], flow))
			return true;
	return false;
}
