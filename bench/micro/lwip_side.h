/* lwip_side.h - a server on lwIP's raw API, for bench_inst to compare with
 *
 * What it does: one network interface with one listening port whose connections answer each request of a fixed length
 * with as many bytes. It is a shared object of its own, opened by bench_inst, since lwIP and stack/ use the same names
 * for functions. Memory: frames are lent for the call. Thread: one, and one server in a process.
 */
#ifndef LWIP_SIDE_H
#define LWIP_SIDE_H

#include <stdint.h>

struct lwip_side {
	/* Begin: station, IPv4 address in host order, listening ports, bytes of a request. */
	int (*init)(const uint8_t mac[6], uint32_t addr, uint16_t port, uint16_t ports,
		    uint32_t request);
	/* The whole of what the server does for a frame. Return: requests answered so far. */
	uint64_t (*turn)(uint8_t *frame, uint32_t len);
	/* The next frame it wants sent. Return: bytes, 0 when there is none. */
	uint32_t (*take)(uint8_t *frame, uint32_t room);
	/* What is due by the clock: not counted. */
	void (*timers)(void);
};

/** lwip_side() - the one symbol of the shared object. */
const struct lwip_side *lwip_side(void);

#endif
