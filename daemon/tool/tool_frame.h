/* tool_frame.h - what an Ethernet frame is, in a line
 *
 * For those who read `ztcp tcpdump` without Wireshark: addresses, ports, TCP's flags and numbers, ARP, ICMP; of everything else what
 * kind it is. Frames come from a wire, by way of another process: any bytes, cut anywhere. Called by tool_tcpdump.c; one thread.
 */
#ifndef ZTCP_TOOL_FRAME_H
#define ZTCP_TOOL_FRAME_H

#include <stddef.h>
#include <stdint.h>

/** struct tool_frame - what can be read of it; what cannot is empty or 0 */
struct tool_frame {
	const char *kind; /* "tcp", "arp", "icmp", "icmp6", "ip", "ethernet" */
	unsigned type;    /* of Ethernet */
	unsigned proto;   /* of IP */
	char from[64], to[64];
	unsigned flags; /* of TCP */
	uint32_t seq, ack, payload;
	char more[160]; /* of ARP and ICMP: what it says */
};

/** tool_frame_read() - @len: bytes that are here. */
void tool_frame_read(struct tool_frame *f, const uint8_t *bytes, size_t len);

/** tool_frame_flags() - TCP's flags in tcpdump's letters; @buf: 9 bytes. */
void tool_frame_flags(char *buf, unsigned flags);

/** tool_frame_text() - the line, without time. */
void tool_frame_text(char *buf, size_t size, const struct tool_frame *f);

#endif
