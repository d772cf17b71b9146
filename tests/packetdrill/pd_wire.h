/* pd_wire.h - the peer of a packet script: script numbers to wire numbers and back
 *
 * What it does: builds the packets a script sends, and turns what the host sends into the script's
 * own numbers. Called by the player; one thread; memory: the struct's.
 */
#ifndef ZTCP_TESTS_PD_WIRE_H
#define ZTCP_TESTS_PD_WIRE_H

#include "pd_script.h"

/* One connection as the script sees it. */
struct pd_peer {
	union wire_addr host, peer;
	uint16_t host_port, peer_port;
	bool live;      /* ports are known */
	bool isn_known; /* the host's first sequence number */
	uint32_t isn;   /* added to script numbers of the host's side */
	bool ts_known;
	uint32_t ts_offset; /* added to script timestamps of the host's clock */
	bool syn_known;
	uint32_t syn_seq; /* the script's own SYN */
	bool established;
};

/** pd_peer_init() - a peer at 192.0.2.1 or 2001:db8::1. */
void pd_peer_init(struct pd_peer *p, bool v6);

/**
 * pd_peer_syn() - the script sends a SYN to a listening port: a new connection, unless it repeats
 * the last.
 */
void pd_peer_syn(struct pd_peer *p, const struct pd_tcp *t);

/**
 * pd_peer_build() - the IP packet for @t
 * @out: room for 65600 bytes
 *
 * Return: its length.
 */
size_t pd_peer_build(const struct pd_peer *p, const struct pd_tcp *t, uint8_t *out);

/**
 * pd_peer_read() - a packet of the host, in script numbers
 * @want: what the script expects, or NULL; teaches the first timestamp
 * @t:    set
 *
 * Return: NULL, or what is wrong with the packet.
 */
const char *pd_peer_read(struct pd_peer *p, const uint8_t *packet, size_t len,
			 const struct pd_tcp *want, struct pd_tcp *t);

/** pd_tcp_print() - @t in the script's notation. */
void pd_tcp_print(const struct pd_tcp *t, char *to, size_t room);

#endif
