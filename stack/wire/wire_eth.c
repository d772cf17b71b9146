/* wire_eth.c - Ethernet II and IEEE 802.1Q headers */
#include "stack/wire/wire_eth.h"

#include "stack/base/base_bytes.h"

enum counter wire_eth_parse(const uint8_t *frame, size_t len, struct wire_eth *eth)
{
	uint16_t type;

	if (len < WIRE_ETH_LEN)
		return CNT_wire_eth_short;
	type = base_be16_get(frame + 12);
	if (type == WIRE_ETH_VLAN && len < WIRE_ETH_LEN + WIRE_VLAN_LEN)
		return CNT_wire_eth_short;
	memcpy(eth->dst.b, frame, WIRE_MAC_LEN);
	memcpy(eth->src.b, frame + WIRE_MAC_LEN, WIRE_MAC_LEN);
	eth->vlan = WIRE_VLAN_NONE;
	eth->hdr_len = WIRE_ETH_LEN;
	if (type == WIRE_ETH_VLAN) {
		eth->vlan = base_be16_get(frame + 14) & 0x0fff;
		type = base_be16_get(frame + 16);
		eth->hdr_len += WIRE_VLAN_LEN;
	}
	eth->type = type;
	return CNT_none;
}

unsigned int wire_eth_emit(const struct wire_eth *eth, uint8_t *out)
{
	memcpy(out, eth->dst.b, WIRE_MAC_LEN);
	memcpy(out + WIRE_MAC_LEN, eth->src.b, WIRE_MAC_LEN);
	if (eth->vlan == WIRE_VLAN_NONE) {
		base_be16_put(out + 12, eth->type);
		return WIRE_ETH_LEN;
	}
	base_be16_put(out + 12, WIRE_ETH_VLAN);
	base_be16_put(out + 14, eth->vlan);
	base_be16_put(out + 16, eth->type);
	return WIRE_ETH_LEN + WIRE_VLAN_LEN;
}
