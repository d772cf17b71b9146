/* wire_tcp.h - a TCP segment as values: any bytes in, only valid values out, and back (RFC 9293
 * 3.1)
 *
 * What it does: one struct for both directions. wire_tcp_parse() fills it from bytes, the TCP core
 * in stack/tcp fills it to send, wire_tcp_emit() writes the header and options. Only valid values
 * are representable once parsed. Owner of the memory: the caller; @data is borrowed from whoever
 * @owner stands for. Any thread.
 */
#ifndef ZTCP_WIRE_TCP_H
#define ZTCP_WIRE_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/wire/wire_addr.h"
#include "stack/wire/wire_csum.h"

#define WIRE_PROTO_TCP 6

/* Header flags as they lie in byte 13. */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_ECE 0x40
#define TCP_CWR 0x80

/* Which options a segment carries; the fields below are meaningful only where the bit is set. */
#define TCP_OPT_MSS     0x01
#define TCP_OPT_WSCALE  0x02
#define TCP_OPT_SACK_OK 0x04
#define TCP_OPT_TS      0x08
#define TCP_OPT_SACK    0x10
#define TCP_OPT_TFO     0x20

#define WIRE_TCP_SACK_MAX   4
#define WIRE_TCP_TFO_MAX    16
#define WIRE_TCP_IOV_MAX    8
#define WIRE_TCP_HDR_LEN    20
#define WIRE_TCP_CSUM_AT    16
#define WIRE_TCP_OPT_MAX    40
#define WIRE_TCP_HDR_MAX    60
#define WIRE_TCP_WSCALE_MAX 14 /* RFC 7323 2.3: a larger shift is read as 14 */

struct wire_tcp_sack {
	uint32_t left, right; /* [left, right) has arrived */
};

/* A run of payload. @owner is opaque here: whoever made it can find the reference count from it. */
struct wire_tcp_iov {
	const uint8_t *data;
	uint32_t len;
	void *owner;
};

/* One segment. Filled field by field: a field whose option bit is clear holds nothing. */
struct wire_tcp {
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint16_t wnd;  /* as on the wire, unscaled */
	uint16_t urg;  /* urgent pointer, offset from seq */
	uint8_t flags; /* TCP_FIN ... */
	uint8_t opts;  /* TCP_OPT_... */
	uint8_t ecn;   /* IP ECN codepoint: 0 not-ECT, 1 ECT(1), 2 ECT(0), 3 CE */
	uint8_t nsack;
	uint32_t tsval, tsecr;
	uint32_t len; /* payload bytes: the sum over iov */
	uint16_t
		gso_size; /* out: payload bytes per packet when the whole is longer; 0: one packet */
	uint8_t niov;     /* in: 0 or 1; more when several packets were merged */
	uint8_t wscale;
	uint16_t mss;
	uint8_t tfo_len; /* 0: a cookie request */
	struct wire_tcp_iov iov[WIRE_TCP_IOV_MAX];
	struct wire_tcp_sack sack[WIRE_TCP_SACK_MAX];
	uint8_t tfo[WIRE_TCP_TFO_MAX];
};

/** wire_tcp_space() - Return: sequence numbers that @s takes: payload, SYN and FIN. */
static inline uint32_t wire_tcp_space(const struct wire_tcp *s)
{
	return s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
}

/**
 * wire_tcp_parse() - read a segment
 * @bytes: the TCP header and all after it, as long as the IP header says; borrowed by @seg->iov[0]
 * @len:   bytes
 * @seg:   on success set, but for the fields whose option bit is clear; ecn and gso_size are 0,
 *         owner NULL
 *
 * Unknown options are skipped (RFC 9293 MUST-6). An option that repeats counts as its first. A
 * malformed
 * SACK list and a Fast Open cookie of an illegal length are ignored; any other impossible length
 * refuses the segment. The checksum is not looked at: see wire_tcp_csum_ok().
 *
 * Return: CNT_none, or the reason to drop the bytes.
 */
enum counter wire_tcp_parse(const uint8_t *bytes, size_t len, struct wire_tcp *seg);

/** wire_tcp_csum_ok() - Return: true when the checksum of @len bytes from @src to @dst is right. */
bool wire_tcp_csum_ok(const uint8_t *bytes, size_t len, const union wire_addr *src,
		      const union wire_addr *dst);

/**
 * wire_tcp_hdr_len() - bytes that wire_tcp_emit() will write
 *
 * SACK blocks that do not fit in 60 bytes beside the other options are not counted and not written.
 *
 * Return: 20 to 60, a multiple of 4.
 */
unsigned int wire_tcp_hdr_len(const struct wire_tcp *seg);

/**
 * wire_tcp_emit() - write the header of @seg, checksum 0
 * @seg: ports, numbers and options to write; its payload is not touched
 * @hdr: WIRE_TCP_HDR_MAX bytes of room
 *
 * Return: bytes written, as wire_tcp_hdr_len().
 */
unsigned int wire_tcp_emit(const struct wire_tcp *seg, uint8_t *hdr);

/**
 * wire_tcp_csum_set() - put the checksum into an emitted header
 * @hdr: header of @hdr_len bytes with checksum 0
 * @seg: its payload is read
 */
void wire_tcp_csum_set(uint8_t *hdr, unsigned int hdr_len, const struct wire_tcp *seg,
		       const union wire_addr *src, const union wire_addr *dst);

/** wire_tcp_csum_runs() - the same for @len bytes of payload in @niov runs. */
void wire_tcp_csum_runs(uint8_t *hdr, unsigned int hdr_len, const struct wire_tcp_iov *iov,
			unsigned int niov, uint32_t len, const union wire_addr *src,
			const union wire_addr *dst);

/**
 * wire_tcp_csum_offload() - put what a device with checksum offload expects: the folded pseudo
 * header
 * @len: bytes of payload after the header
 */
static inline void wire_tcp_csum_offload(uint8_t *hdr, unsigned int hdr_len, uint32_t len,
					 const union wire_addr *src, const union wire_addr *dst)
{
	uint16_t csum = (uint16_t)~wire_csum_fold(
		wire_csum_pseudo(src, dst, WIRE_PROTO_TCP, hdr_len + len));

	memcpy(hdr + WIRE_TCP_CSUM_AT, &csum, sizeof(csum));
}

#endif
