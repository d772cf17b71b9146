/* lease_rule.h - what of a lease's messages and memory makes sense, without any system call
 *
 * What it does: says which message may come when, whether a table of connections can be read without leaving its
 * memory, and what an entry says. All of it is a stranger's, and taken as numbers. Who calls: ztcpd_lease.c, one thread; a fuzzer and
 * unit tests. Memory: the caller's.
 */
#ifndef ZTCPD_LEASE_RULE_H
#define ZTCPD_LEASE_RULE_H

#include <stdbool.h>

#include "stack/base/base_lease.h"

enum { LEASE_STRIDE_MAX = 4096 };

/** enum lease_state - how far a session has come
 * @LEASE_NONE:    it has nothing
 * @LEASE_ASKED:   a socket was handed out
 * @LEASE_PENDING: the socket is bound, and not entered yet
 * @LEASE_LEASED:  its queue is ztcpd's to name for
 * @LEASE_WATCHED: it names for itself
 */
enum lease_state {
	LEASE_NONE,
	LEASE_ASKED,
	LEASE_PENDING,
	LEASE_LEASED,
	LEASE_WATCHED,
};

/**
 * lease_fits() - may this message come now
 * @told: the session has had a TABLE
 * @nfds: descriptors that came along
 *
 * Return: false: it makes no sense, close the session.
 */
bool lease_fits(enum lease_state state, bool told, const struct lease_msg *msg, unsigned nfds);

/** lease_table_is_sound() - whether every entry lies where an offset into a file can say */
bool lease_table_is_sound(const struct lease_table *t);

/** struct lease_entry - a connection; ports in network order */
struct lease_entry {
	struct nic_flow flow;
	uint32_t seq, ack;
};

/**
 * lease_entry_read() - one entry of a table that is sound
 * @entry: t->stride bytes
 *
 * Return: false: nobody is to be told of it.
 */
bool lease_entry_read(const struct lease_table *t, const char *entry, struct lease_entry *out);

/** lease_port_covers() - whether connection @flow came by one of @n ports */
bool lease_port_covers(const struct nic_port *port, uint32_t n, const struct nic_flow *flow);

/** lease_is_v4() - whether an address is one of IPv4, mapped into IPv6 */
bool lease_is_v4(const uint32_t a[4]);

#endif
