/* wire_arp.h - ARP for IPv4 over Ethernet (RFC 826)
 *
 * What it does: parse and emit. Called by ip; the message is borrowed; pure; any thread.
 */
#ifndef ZTCP_WIRE_ARP_H
#define ZTCP_WIRE_ARP_H

#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/wire/wire_addr.h"

#define WIRE_ARP_LEN 28

enum wire_arp_op { WIRE_ARP_REQUEST = 1, WIRE_ARP_REPLY = 2 };

struct wire_arp {
	enum wire_arp_op op;
	struct wire_mac sender_mac, target_mac;
	union wire_addr sender, target;
};

/**
 * wire_arp_parse() - read an ARP message
 * @arp: set on success only: a request or a reply from a station's own (not group) address
 *
 * Return: CNT_none or CNT_wire_arp_bad.
 */
enum counter wire_arp_parse(const uint8_t *bytes, size_t len, struct wire_arp *arp);

/** wire_arp_emit() - write a message. Return: WIRE_ARP_LEN. */
unsigned int wire_arp_emit(const struct wire_arp *arp, uint8_t *out);

#endif
