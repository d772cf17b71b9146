/* dev_pcap.h - a device around any other that writes a capture of both directions
 *
 * What it does: pcap with nanosecond time stamps, link type Ethernet, for tcpdump and Wireshark.
 * Called like any device; one thread. Memory: its own; the inner device is closed with it, the
 * stream is not.
 */
#ifndef ZTCP_DEV_PCAP_H
#define ZTCP_DEV_PCAP_H

#include <stdio.h>

#include "stack/dev/dev.h"

/**
 * dev_pcap_new() - wrap @inner
 * @out: binary stream; the header is written at once; errors show in ferror()
 *
 * Return: the device, or NULL without memory.
 */
struct dev *dev_pcap_new(struct dev *inner, FILE *out);

#endif
