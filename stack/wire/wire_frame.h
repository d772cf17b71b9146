/* wire_frame.h - a frame on its way between a device and an instance
 *
 * What it does: the two structs that cross the border. In: the device's own buffer, lent, or given
 * when it has an owner. Out: headers written in place, payload referenced, so that a device may
 * gather, copy or chain as it can. Called by inst, ip and dev; one thread.
 */
#ifndef ZTCP_WIRE_FRAME_H
#define ZTCP_WIRE_FRAME_H

#include <stdint.h>

#include "stack/wire/wire_tcp.h"

#define WIRE_FRAME_HDR_MAX 128 /* Ethernet 14, tag 4, IPv6 40, TCP 60, rounded up */

enum wire_frame_flag {
	WIRE_FRAME_IP_CSUM_OK = 0x01,  /* in: IPv4 header checksum verified by the device */
	WIRE_FRAME_TCP_CSUM_OK = 0x02, /* in: TCP checksum verified by the device */
	WIRE_FRAME_TCP_CSUM =
		0x04, /* out: the device completes the TCP checksum (pseudo header is in place) */
	WIRE_FRAME_SELF = 0x08, /* in: no device's; this instance has sent it to itself */
};

/* What a device can take from us. */
enum wire_offload {
	WIRE_OFFLOAD_TX_CSUM = 0x01,
	WIRE_OFFLOAD_TSO = 0x02, /* wants WIRE_OFFLOAD_TX_CSUM too */
	WIRE_OFFLOAD_GRO = 0x04, /* arriving segments are already merged: none is merged again */
};

/* Where reference-counted buffers come from: zbuf in the product, a few arrays in tests. */
struct wire_buf_ops {
	/*
	 * A buffer of at least @len bytes with one reference, or NULL; *data is where its bytes go.
	 */
	void *(*alloc)(void *ctx, uint32_t len, uint8_t **data);
	void (*get)(void *ctx, void *owner); /* one more reference */
	void (*put)(void *ctx, void *owner); /* one fewer */
	void *ctx;
};

struct wire_frame_in {
	const uint8_t *data; /* from the Ethernet header on */
	uint32_t len;
	uint8_t flags;
	void *owner; /* a reference that comes with the frame, or NULL: bytes are lent for the call */
};

struct wire_frame_out {
	uint16_t hdr_len; /* bytes in hdr */
	uint8_t l3_at, l4_at;
	uint8_t l4_len; /* TCP header bytes; 0 when the frame is not TCP */
	uint8_t flags;
	uint16_t gso_size; /* payload bytes a packet when the device shall split it; 0: as it is */
	uint8_t niov;
	uint32_t len; /* bytes of payload after hdr */
	struct wire_tcp_iov iov[WIRE_TCP_IOV_MAX];
	uint8_t hdr[WIRE_FRAME_HDR_MAX];
};

#endif
