/* wire_eth.h - Ethernet header with an optional 802.1Q tag
 *
 * What it does: parse and emit. Called by ip on both ways; the frame is borrowed; pure; any thread.
 */
#ifndef ZTCP_WIRE_ETH_H
#define ZTCP_WIRE_ETH_H

#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/wire/wire_addr.h"

#define WIRE_ETH_LEN   14
#define WIRE_VLAN_LEN  4
#define WIRE_VLAN_NONE 0xffff /* not a VLAN id */
#define WIRE_VLAN_MAX  4094

enum wire_eth_type {
	WIRE_ETH_IP4 = 0x0800,
	WIRE_ETH_ARP = 0x0806,
	WIRE_ETH_VLAN = 0x8100,
	WIRE_ETH_IP6 = 0x86dd,
};

struct wire_eth {
	struct wire_mac dst, src;
	uint16_t type; /* of what follows the tag */
	uint16_t vlan; /* WIRE_VLAN_NONE without a tag; 0 for a priority tag */
	uint8_t hdr_len;
};

/**
 * wire_eth_parse() - read the header of a frame
 * @eth: set on success only
 *
 * Return: CNT_none or CNT_wire_eth_short.
 */
enum counter wire_eth_parse(const uint8_t *frame, size_t len, struct wire_eth *eth);

/**
 * wire_eth_emit() - write a header, tagged unless @eth->vlan is WIRE_VLAN_NONE. Return: 14 or 18
 * bytes written.
 */
unsigned int wire_eth_emit(const struct wire_eth *eth, uint8_t *out);

#endif
