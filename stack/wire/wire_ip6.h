/* wire_ip6.h - IPv6 header and its extension headers (RFC 8200)
 *
 * What it does: parse up to the upper layer or to a fragment, judge and emit. Called by ip on both
 * ways; the packet is borrowed; pure; any thread.
 */
#ifndef ZTCP_WIRE_IP6_H
#define ZTCP_WIRE_IP6_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/wire/wire_addr.h"

#define WIRE_IP6_LEN      40
#define WIRE_IP6_FRAG_LEN 8
#define WIRE_IP6_EXT_MAX  8 /* extension headers looked at: more is an attack */

enum wire_ip6_proto {
	WIRE_IP6_HOP_BY_HOP = 0,
	WIRE_IP6_ROUTING = 43,
	WIRE_IP6_FRAGMENT = 44,
	WIRE_IP6_NONE = 59,
	WIRE_IP6_DEST = 60,
};

struct wire_ip6 {
	union wire_addr src, dst;
	uint32_t frag_id;
	uint16_t payload_len; /* of the header: extension headers and upper layer */
	uint16_t
		body_at; /* bytes from the start of the packet to the upper layer or the fragment's part */
	uint16_t frag_off; /* bytes, a multiple of 8 */
	uint8_t tclass;    /* DSCP and ECN */
	uint8_t hops;
	uint8_t proto;     /* of what stands at body_at; of the fragmentable part for a fragment */
	uint16_t proto_at; /* the byte that says so */
	bool fragment;     /* a fragment header was there */
	bool mf;
	uint8_t problem; /* enum wire_icmp6_param */
	uint16_t
		problem_at; /* byte of the packet that the sender is to be told of (RFC 4443 3.4); else 0 */
};

/**
 * wire_ip6_parse() - read a header and all extension headers
 * @bytes: the packet; @len may exceed its length (Ethernet padding)
 * @ip:    set on success only; body_at <= 40 + payload_len <= @len
 *
 * Refused: a routing header with segments left (RFC 5095), hop-by-hop not in first place, unknown
 * options that ask for it by their two high bits (RFC 8200 4.2). With CNT_wire_ip6_ext @ip is set too when its
 * problem_at is: then the sender is to be told.
 *
 * What follows a fragment header is read only when the fragment is the whole datagram (RFC 6946); else it is a part's,
 * and wire_ip6_upper() reads it once all is there.
 *
 * Return: CNT_none, or the reason to drop the packet.
 */
enum counter wire_ip6_parse(const uint8_t *bytes, size_t len, struct wire_ip6 *ip);

/**
 * wire_ip6_upper() - from the start of a datagram's fragmentable part to its upper layer
 * @bytes: that part, or its first fragment
 * @proto: of the first header there; set to the upper layer's
 * @at:    set to where that begins, at most @len
 *
 * Return: CNT_none, or CNT_wire_ip6_ext as wire_ip6_parse(), also when the headers do not end within @len.
 */
enum counter wire_ip6_upper(const uint8_t *bytes, uint32_t len, uint8_t *proto, uint32_t *at);

/** wire_ip6_emit() - write a header without extension headers. Return: WIRE_IP6_LEN. */
unsigned int wire_ip6_emit(const struct wire_ip6 *ip, uint8_t *out);

#endif
