/* tool_pcapng.h - a pcapng file
 *
 * Blocks of the format in the order of their writing; an interface has the number of those before it. Called by
 * tool_tcpdump.c. All return 0 or -errno.
 */
#ifndef ZTCP_TOOL_PCAPNG_H
#define ZTCP_TOOL_PCAPNG_H

#include <stdint.h>
#include <stdio.h>

/** struct tool_block - a packet of the file */
struct tool_block {
	uint32_t iface;
	uint64_t ns;
	const uint8_t *bytes;
	uint32_t len, whole; /* bytes that are here, and that it had */
	uint32_t direction;  /* 0: not known; 1: in; 2: out */
	const char *comment;
};

/** tool_pcapng_begin() - what a file begins with. */
int tool_pcapng_begin(FILE *f);

/**
 * tool_pcapng_iface() - an interface; time is in nanoseconds
 * @link:  type of its packets' link layer, LINKTYPE_*
 * @snap:  bytes of a packet at most
 * @about: NULL or what there is to say
 */
int tool_pcapng_iface(FILE *f, uint16_t link, uint32_t snap, const char *name, const char *about);

int tool_pcapng_packet(FILE *f, const struct tool_block *b);

/** tool_pcapng_counts() - what an interface's capture ends with: packets that are there, and that are missing. */
int tool_pcapng_counts(FILE *f, uint32_t iface, uint64_t ns, uint64_t packets, uint64_t lost);

#endif
