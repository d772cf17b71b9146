/* wire_tcp.h - a TCP segment: any bytes in, only valid values out, and back (RFC 9293 3.1)
 *
 * What it does: wire_tcp_parse() judges bytes and fills a struct tcp_seg; wire_tcp_emit() writes a header for
 * one. Called by ip/inst on the way in and by inst on the way out; pure; any thread. A tcp_seg borrows its
 * payload: it is good as long as the frame (in) or the send buffer (out) is.
 */
#ifndef ZTCP_WIRE_TCP_H
#define ZTCP_WIRE_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/wire/wire_addr.h"

#define WIRE_PROTO_TCP 6
#define TCP_HDR_LEN 20     /* without options */
#define TCP_HDR_LEN_MAX 60
#define TCP_SACK_MAX 4
#define TCP_COOKIE_MAX 16 /* RFC 7413 2: 4 to 16 bytes, even */
#define TCP_WS_MAX 14     /* RFC 7323 2.3: a larger shift is read as 14 */

enum tcp_flag {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_URG = 0x20,
	TCP_ECE = 0x40,
	TCP_CWR = 0x80,
};

/* Which options a segment carries. */
enum tcp_opt {
	TCP_OPT_MSS = 0x01,
	TCP_OPT_WS = 0x02,
	TCP_OPT_SACK_OK = 0x04,
	TCP_OPT_SACK = 0x08,
	TCP_OPT_TS = 0x10,
	TCP_OPT_TFO = 0x20, /* Fast Open: a cookie, or a request for one when cookie_len is 0 */
	TCP_OPT_TFO_EXP = 0x40, /* with TCP_OPT_TFO: in the experimental coding (kind 254, 0xf989) */
};

/* The two ECN bits of the IP header (RFC 3168 5). */
enum ip_ecn {
	IP_ECN_NOT = 0,
	IP_ECN_ECT1 = 1,
	IP_ECN_ECT0 = 2,
	IP_ECN_CE = 3,
};

struct tcp_sack {
	uint32_t left, right; /* [left, right) is held by the receiver */
};

/* All numbers in host order. */
struct tcp_seg {
	uint32_t seq, ack;
	uint16_t sport, dport;
	uint16_t wnd; /* as on the wire: not scaled */
	uint16_t urg; /* meaningful with TCP_URG */
	uint8_t flags; /* enum tcp_flag */
	uint8_t opts;  /* enum tcp_opt: which of the fields below are set */
	uint8_t ecn;   /* enum ip_ecn of the packet */
	uint8_t ws;
	uint32_t tsval, tsecr;
	uint16_t mss;
	uint8_t nsack;
	uint8_t cookie_len;
	uint32_t len;	     /* payload bytes */
	const uint8_t *data; /* payload, borrowed; may be NULL when len is 0 */
	uint32_t gso_size;   /* out: split into segments of this many bytes, 0 = as it is; in: GRO joined such */
	void *zbuf;	     /* owner of @data where it is a zbuf, else NULL; opaque to wire */
	struct tcp_sack sack[TCP_SACK_MAX];
	uint8_t cookie[TCP_COOKIE_MAX];
};

/** tcp_seg_space() - Return: sequence numbers that @s takes: payload, SYN and FIN. */
static inline uint32_t tcp_seg_space(const struct tcp_seg *s)
{
	return s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
}

/** tcp_seg_end() - Return: the sequence number after the last that @s takes. */
static inline uint32_t tcp_seg_end(const struct tcp_seg *s)
{
	return s->seq + tcp_seg_space(s);
}

/**
 * wire_tcp_parse() - read a segment
 * @bytes: the TCP header and all after it, as long as the IP header says; borrowed by @seg
 * @len:   bytes
 * @seg:   set whole on success only; ecn, gso_size and zbuf are 0
 *
 * Unknown options are skipped (RFC 9293 MUST-6). An option that repeats counts as its first. A malformed SACK
 * option is ignored; any other impossible length refuses the segment. The checksum is not looked at: see
 * wire_tcp_csum_ok().
 *
 * Return: CNT_none, or the reason to drop the bytes.
 */
enum counter wire_tcp_parse(const uint8_t *bytes, size_t len, struct tcp_seg *seg);

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
unsigned int wire_tcp_hdr_len(const struct tcp_seg *seg);

/**
 * wire_tcp_emit() - write the header of @seg, checksum 0
 * @seg: ports, numbers and options to write; its payload is not touched
 * @hdr: TCP_HDR_LEN_MAX bytes of room
 *
 * Return: bytes written, as wire_tcp_hdr_len().
 */
unsigned int wire_tcp_emit(const struct tcp_seg *seg, uint8_t *hdr);

/**
 * wire_tcp_csum_set() - put the checksum into an emitted header
 * @hdr:     header of @hdr_len bytes with checksum 0
 * @payload: borrowed, @len bytes; read
 */
void wire_tcp_csum_set(uint8_t *hdr, unsigned int hdr_len, const void *payload, uint32_t len,
		       const union wire_addr *src, const union wire_addr *dst);

/**
 * wire_tcp_csum_offload() - put what a device with checksum offload expects: the folded pseudo header
 * @len: bytes of payload after the header
 */
void wire_tcp_csum_offload(uint8_t *hdr, unsigned int hdr_len, uint32_t len,
			   const union wire_addr *src, const union wire_addr *dst);

#endif
