/* wire_arp.c - ARP messages */
#include "stack/wire/wire_arp.h"

#include "stack/base/base_bytes.h"
#include "stack/wire/wire_eth.h"

#define ARP_HW_ETHERNET 1

enum counter wire_arp_parse(const uint8_t *bytes, size_t len, struct wire_arp *arp)
{
	uint16_t op;

	if (len < WIRE_ARP_LEN || base_be16_get(bytes) != ARP_HW_ETHERNET ||
	    base_be16_get(bytes + 2) != WIRE_ETH_IP4 || bytes[4] != WIRE_MAC_LEN || bytes[5] != 4)
		return CNT_wire_arp_bad;
	op = base_be16_get(bytes + 6);
	if ((op != WIRE_ARP_REQUEST && op != WIRE_ARP_REPLY) || bytes[8] & 1)
		return CNT_wire_arp_bad;
	arp->op = op;
	memcpy(arp->sender_mac.b, bytes + 8, WIRE_MAC_LEN);
	memcpy(arp->target_mac.b, bytes + 18, WIRE_MAC_LEN);
	arp->sender = wire_addr_v4_bytes(bytes + 14);
	arp->target = wire_addr_v4_bytes(bytes + 24);
	return CNT_none;
}

unsigned int wire_arp_emit(const struct wire_arp *arp, uint8_t *out)
{
	base_be16_put(out, ARP_HW_ETHERNET);
	base_be16_put(out + 2, WIRE_ETH_IP4);
	out[4] = WIRE_MAC_LEN;
	out[5] = 4;
	base_be16_put(out + 6, (uint16_t)arp->op);
	memcpy(out + 8, arp->sender_mac.b, WIRE_MAC_LEN);
	memcpy(out + 14, arp->sender.b + 12, 4);
	memcpy(out + 18, arp->target_mac.b, WIRE_MAC_LEN);
	memcpy(out + 24, arp->target.b + 12, 4);
	return WIRE_ARP_LEN;
}
