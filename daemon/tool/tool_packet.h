/* tool_packet.h - TCP packets made from pieces of lifted connections
 *
 * Both ends' pieces make one conversation, with the addresses that the connecting end uses (a translated address
 * would otherwise make two). Sequence numbers count the payload from the start of the connection; a conversation that is
 * seen from its first byte begins with a handshake. Raw IP packets with right lengths and checksums. One thread.
 */
#ifndef ZTCP_TOOL_PACKET_H
#define ZTCP_TOOL_PACKET_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/tool/tool_ring.h"

enum { PACKET_MAX = 40 + 24 + TAP_PIECE };

/** struct tool_packet - an IP packet, and what it is made of for those who print it */
struct tool_packet {
	uint64_t ns;
	uint32_t len; /* of bytes */
	uint32_t payload;
	uint32_t seq, ack;
	uint64_t missed; /* bytes before this packet, of either direction, that were not captured */
	uint8_t tcp_flags;
	bool shm;
	struct shm_end from, to;
	uint8_t bytes[PACKET_MAX];
};

struct tool_flows;

struct tool_flows *tool_flows_make(void);
void tool_flows_free(struct tool_flows *f);

/** tool_flows_count() - Return: conversations that are remembered; at most 65536, and 1024 that have ended. */
unsigned tool_flows_count(const struct tool_flows *f);

/** tool_flows_farthest() - Return: how many conversations are at worst looked at to find one. */
unsigned tool_flows_farthest(const struct tool_flows *f);

/**
 * tool_packets_make() - the packets of a piece
 * @out: filled; room for four
 *
 * Return: how many, 0 to 4.
 */
unsigned tool_packets_make(struct tool_flows *f, const struct tool_piece *piece,
			   struct tool_packet *out);

#endif
