/* wire_icmp.h - ICMP (RFC 792, 1191) and ICMPv6 (RFC 4443) messages
 *
 * What it does: parse and emit; the two protocols share one form here: type, code, one 32-bit
 * word, a body. Called by ip; the message is borrowed; pure; any thread.
 */
#ifndef ZTCP_WIRE_ICMP_H
#define ZTCP_WIRE_ICMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/wire/wire_addr.h"

#define WIRE_PROTO_ICMP  1
#define WIRE_PROTO_UDP   17
#define WIRE_PROTO_ICMP6 58
#define WIRE_ICMP_LEN    8

enum wire_icmp_type {
	WIRE_ICMP_ECHO_REPLY = 0,
	WIRE_ICMP_UNREACH = 3,
	WIRE_ICMP_ECHO = 8,
	WIRE_ICMP_TIME = 11,
	WIRE_ICMP_PARAM = 12,
};

enum wire_icmp_unreach {
	WIRE_UNREACH_NET = 0,
	WIRE_UNREACH_HOST = 1,
	WIRE_UNREACH_PROTO = 2,
	WIRE_UNREACH_PORT = 3,
	WIRE_UNREACH_TOO_BIG = 4,
	WIRE_UNREACH_SRC_ROUTE = 5,
	WIRE_UNREACH_ADMIN_NET = 9,
	WIRE_UNREACH_ADMIN_HOST = 10,
	WIRE_UNREACH_ADMIN = 13,
};

enum wire_icmp6_type {
	WIRE_ICMP6_UNREACH = 1,
	WIRE_ICMP6_TOO_BIG = 2,
	WIRE_ICMP6_TIME = 3,
	WIRE_ICMP6_PARAM = 4,
	WIRE_ICMP6_ECHO = 128,
	WIRE_ICMP6_ECHO_REPLY = 129,
	WIRE_ICMP6_RS = 133,
	WIRE_ICMP6_RA = 134,
	WIRE_ICMP6_NS = 135,
	WIRE_ICMP6_NA = 136,
	WIRE_ICMP6_REDIRECT = 137,
};

enum wire_icmp6_unreach {
	WIRE_UNREACH6_ROUTE = 0,
	WIRE_UNREACH6_ADMIN = 1,
	WIRE_UNREACH6_ADDR = 3,
	WIRE_UNREACH6_PORT = 4,
};

enum wire_icmp6_param { WIRE_PARAM6_HEADER = 0, WIRE_PARAM6_NEXT = 1, WIRE_PARAM6_OPTION = 2 };

struct wire_icmp {
	uint8_t type, code;
	uint32_t word; /* echo: id << 16 | sequence; v4 too big: low 16 bits MTU; v6 too big: MTU */
	const uint8_t *body;
	uint32_t body_len;
};

/**
 * wire_icmp_parse() - read an ICMP message, checksum verified. Return: CNT_none, or the reason to
 * drop it.
 */
enum counter wire_icmp_parse(const uint8_t *bytes, size_t len, struct wire_icmp *m);

/**
 * wire_icmp6_parse() - read an ICMPv6 message, checksum verified. Return: CNT_none, or the reason
 * to drop it.
 */
enum counter wire_icmp6_parse(const uint8_t *bytes, size_t len, const union wire_addr *src,
			      const union wire_addr *dst, struct wire_icmp *m);

/**
 * wire_icmp_emit() - write the 8 bytes before the body, checksum over both included
 * @m:   body is read, not copied
 * @src: both addresses for ICMPv6, NULL for ICMP
 *
 * Return: WIRE_ICMP_LEN.
 */
unsigned int wire_icmp_emit(const struct wire_icmp *m, const union wire_addr *src,
			    const union wire_addr *dst, uint8_t *out);

#endif
