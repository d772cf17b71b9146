/* fuzz_inst.h - a small instance whose frames, calls and time a fuzzer's input decides
 *
 * What it does: reads the input byte by byte, makes an instance with an address of each family and little room, hands it
 * frames in memory of their own size, and sees at the end that all memory is back. Who calls: fuzzers of instances.
 * Memory: the caller owns the struct; the instance's is kept from input to input. One thread.
 */
#ifndef ZTCP_TESTS_FUZZ_INST_H
#define ZTCP_TESTS_FUZZ_INST_H

#include "tests/lib/inst_pair.h"

struct fuzz_inst {
	const uint8_t *p, *end; /* of the input: what has not been taken */
	struct inst_pair bufs;  /* only its counted buffers */
	struct inst *in;
	ztime_t now;
	union wire_addr us[2], them[2]; /* IPv4, IPv6 */
};

extern const struct wire_mac fuzz_inst_mac, fuzz_inst_peer;

/** fuzz_inst_start() - an instance with its addresses, at one second; @f is zeroed first. */
void fuzz_inst_start(struct fuzz_inst *f, const uint8_t *data, size_t size);

/** fuzz_inst_take() - Return: the next @n bytes of the input as a number, those beyond its end left out. */
uint32_t fuzz_inst_take(struct fuzz_inst *f, unsigned int n);

/** fuzz_inst_frame() - a lent frame of just @len bytes, so that reading beyond it is seen */
void fuzz_inst_frame(struct fuzz_inst *f, const uint8_t *data, size_t len);

/** fuzz_inst_end() - the end of the instance; aborts if it has kept anything. */
void fuzz_inst_end(struct fuzz_inst *f);

#endif
